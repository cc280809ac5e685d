/* What happens, as the loop's callbacks hear it, made into events: packets, calls, guests, the
 * timer, signals. */
#define _GNU_SOURCE
#include "node/loop/node_internal.h"

#include "node/loop/logs.h"
#include "node/loop/sockaddr.h"
#include "node/loop/volume_service.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    DATAGRAM_MAX = 2048 /* more than any packet of ours: what is larger is counted as garbage */
};

void events_on_timer(uv_poll_t *poll, int status, int events)
{
    struct node *n = poll->data;
    uint64_t times;
    (void)status;
    (void)events;
    (void)!read(n->timer_fd, &times, sizeof times);
    n->timer_ms = 0; /* it is spent, whatever comes next */
    struct event ev = {.kind = EVENT_TICK};
    node_step(n, &ev);
}

void events_datagram_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *out)
{
    static char buffer[DATAGRAM_MAX];
    (void)h;
    (void)suggested;
    *out = uv_buf_init(buffer, sizeof buffer);
}

void events_on_datagram(uv_udp_t *udp, ssize_t len, const uv_buf_t *b, const struct sockaddr *from,
                        unsigned flags)
{
    struct event ev = {.kind = EVENT_DATAGRAM};
    (void)flags;
    if (len < 0 || !from || sockaddr_to(from, &ev.address))
        return;
    ev.bytes = (struct slice){.p = (const uint8_t *)b->base, .len = (size_t)len};
    node_step(udp->data, &ev);
}

static void on_answer(void *ctx, uint64_t id, enum err err, const struct stream_peer *peer,
                      const void *p, size_t len)
{
    struct event ev = {.kind = EVENT_ANSWER,
                       .id = id,
                       .err = err,
                       .text = "",
                       .bytes = {.p = p, .len = len},
                       .node = peer ? peer->node : 0};
    if (peer)
        ev.address = peer->address;
    node_step(ctx, &ev);
}

static void on_call(void *ctx, uint64_t conn, const struct stream_peer *peer, const void *p,
                    size_t len)
{
    struct event ev = {.kind = EVENT_CALL,
                       .id = conn,
                       .bytes = {.p = p, .len = len},
                       .node = peer->node,
                       .address = peer->address};
    node_step(ctx, &ev);
}

static void on_open(void *ctx, struct channel *ch, const struct stream_peer *peer, const void *p,
                    size_t len)
{
    const uint8_t *b = p;
    if (len > 0 && b[0] == SERVICE_IMAGE)
        fetch_serve(ctx, ch, peer, p, len);
    else if (len > 0 && b[0] == SERVICE_LOGS)
        logs_serve(ctx, ch, peer, p, len);
    else if (len > 0 && b[0] == SERVICE_VOLUME)
        volume_serve(ctx, ch, p, len);
}

static void found_add(struct node *n, const struct event *ev)
{
    struct found *f = realloc(n->found, (n->found_count + 1) * sizeof *f);
    CHECK(f);
    n->found = f;
    f += n->found_count++;
    f->event = *ev;
    snprintf(f->text, sizeof f->text, "%s", ev->end.text ? ev->end.text : "");
}

/* While the runtime is being made it must not be called: what it finds waits. */
static void unit_event(struct node *n, struct event *ev)
{
    if (n->runtime)
        node_step(n, ev);
    else
        found_add(n, ev);
}

static void on_unit_found(void *ctx, const struct unit_id *unit, uint32_t pid, enum target target)
{
    struct event ev = {.kind = EVENT_UNIT_FOUND, .unit = *unit, .pid = pid, .target = target};
    unit_event(ctx, &ev);
}

static void on_unit_started(void *ctx, const struct unit_id *unit, uint32_t pid, enum target target)
{
    struct event ev = {.kind = EVENT_UNIT_STARTED, .unit = *unit, .pid = pid, .target = target};
    unit_event(ctx, &ev);
}

static void on_unit_ended(void *ctx, const struct unit_id *unit, const struct unit_end *end)
{
    struct event ev = {.kind = EVENT_UNIT_ENDED, .unit = *unit, .end = *end};
    unit_event(ctx, &ev);
}

static void on_host(void *ctx, const struct host_facts *facts, const char *text)
{
    struct node *n = ctx;
    char runs[64] = "";
    for (int t = 1; t < TARGET_COUNT; t++)
        if (facts->targets & 1u << t)
            snprintf(runs + strlen(runs), sizeof runs - strlen(runs), "%s%s", runs[0] ? "," : "",
                     target_name((enum target)t));
    node_log(n, runs[0] ? LOG_INFO : LOG_WARN, "host.targets", "runs=%s",
             runs[0] ? runs : "nothing");
    for (const char *line = text; line && *line;) {
        const char *end = strchrnul(line, '\n');
        if (end > line)
            node_log(n, LOG_INFO, "host.lacks", "what=\"%.*s\"", (int)(end - line), line);
        line = *end ? end + 1 : end;
    }
    struct event ev = {.kind = EVENT_HOST, .host = facts};
    node_step(n, &ev);
}

static void on_priv_lost(void *ctx)
{
    node_log(ctx, LOG_ERROR, "priv.lost",
             "what=\"mesh-priv ended; it is started again, guests run on\"");
}

void events_on_signal(uv_signal_t *s, int number)
{
    struct node *n = s->data;
    node_log(n, LOG_INFO, "node.stopping", "signal=%d", number);
    struct event ev = {.kind = EVENT_STOPPING};
    node_step(n, &ev);
}

const struct stream_callbacks events_of_streams = {
    .on_answer = on_answer, .on_call = on_call, .on_open = on_open};

const struct runtime_callbacks events_of_runtime = {.on_found = on_unit_found,
                                                    .on_started = on_unit_started,
                                                    .on_ended = on_unit_ended,
                                                    .on_host = on_host,
                                                    .on_priv_lost = on_priv_lost};
