/* Consoles and events: what may go on for as long as the client stays. */
#define _GNU_SOURCE
#include "node/loop/control_internal.h"

#include "node/loop/logs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Consoles ------------------------------------------------------------------------------ */

struct console {
    struct conn *c;
    struct logs *logs;
    bool paused;
};

static void console_cancel(struct conn *c, void *task)
{
    (void)c;
    struct console *k = task;
    logs_close(&k->logs);
    free(k);
}

static void console_drain(struct conn *c, void *task)
{
    struct console *k = task;
    if (!k->paused || !conn_has_room(c))
        return;
    k->paused = false;
    logs_resume(k->logs);
}

static const struct conn_task console_ops = {.on_drain = console_drain, .cancel = console_cancel};

static void on_bytes(void *ctx, const struct unit_id *run, node_id node, uint64_t offset,
                     uint64_t skipped, const void *p, size_t len)
{
    struct console *k = ctx;
    const uint8_t *at = p;
    do {
        size_t n = len < CONTROL_OUTPUT_MAX ? len : CONTROL_OUTPUT_MAX;
        const struct control_message m = {.type = CONTROL_OUTPUT,
                                          .output = {.run = *run,
                                                     .node = node,
                                                     .offset = offset,
                                                     .skipped = skipped,
                                                     .bytes = {.p = at, .len = n}}};
        conn_send(k->c, &m);
        at += n;
        offset += n;
        len -= n;
        skipped = 0;
    } while (len > 0);
    if (!conn_has_room(k->c) && !k->paused) {
        k->paused = true;
        logs_pause(k->logs);
    }
}

static void on_end(void *ctx, enum err err, const char *text)
{
    struct console *k = ctx;
    struct conn *c = k->c;
    struct control_message m = control_end(err, "%s", text && text[0] ? text : err_text(err));
    logs_close(&k->logs);
    free(k);
    conn_end_message(c, &m);
}

static const struct logs_callbacks console_callbacks = {.on_bytes = on_bytes, .on_end = on_end};

void control_logs(struct conn *c, const struct control_logs *l)
{
    struct node *n = c->control->node;
    struct uid uid;
    if (engine_find_app(node_engine(n), l->app, &uid)) {
        conn_end(c, ERR_NOT_FOUND, "no app is called %s; `meshctl apps` lists them", l->app);
        return;
    }
    struct console *k = calloc(1, sizeof *k);
    enum err err = ERR_NOMEM;
    if (k) {
        k->c = c;
        err = logs_open(&k->logs, n, &uid, l->slot, l->lines, l->follow ? LOGS_FOLLOW : LOGS_ONCE,
                        &console_callbacks, k);
    }
    if (err) {
        free(k);
        conn_end(c, err,
                 err == ERR_NOT_FOUND ? "%s has no slot %u; `meshctl ps %s` lists them"
                                      : "the node is out of memory",
                 l->app, l->slot, l->app);
        return;
    }
    conn_begin(c, &console_ops, k);
}

/* ---- Events -------------------------------------------------------------------------------- */

struct events {
    struct conn *c;
    struct node_listener listener;
    uint64_t next;
    bool follow;
};

static void events_free(struct events *v)
{
    if (v->follow)
        node_unlisten(v->c->control->node, &v->listener);
    free(v);
}

static void events_cancel(struct conn *c, void *task)
{
    (void)c;
    events_free(task);
}

static void event_send(struct conn *c, const struct node_event *e)
{
    struct control_message m = {.type = CONTROL_EVENT,
                                .event = {.seq = e->seq, .wall_ms = e->wall_ms, .level = e->level}};
    memcpy(m.event.event, e->event, sizeof m.event.event);
    m.event.event[sizeof m.event.event - 1] = '\0';
    memcpy(m.event.fields, e->fields, sizeof m.event.fields);
    m.event.fields[sizeof m.event.fields - 1] = '\0';
    conn_send(c, &m);
}

_Static_assert(sizeof((struct control_event *)NULL)->event ==
                   sizeof((struct node_event *)NULL)->event,
               "as long");
_Static_assert(sizeof((struct control_event *)NULL)->fields ==
                   sizeof((struct node_event *)NULL)->fields,
               "as long");

/* As many as there is room for; a follower that is too slow finds a gap in the numbers. */
static void events_on(struct conn *c, void *task)
{
    struct events *v = task;
    const struct node_event *e;
    while (conn_has_room(c) && (e = node_events_next(c->control->node, v->next))) {
        v->next = e->seq + 1;
        event_send(c, e);
    }
    if (v->follow || !conn_has_room(c))
        return;
    events_free(v);
    conn_end(c, ERR_OK, "ok");
}

static void on_event(void *ctx)
{
    struct events *v = ctx;
    events_on(v->c, v);
}

static const struct conn_task events_ops = {.on_drain = events_on, .cancel = events_cancel};

void control_events(struct conn *c, const struct control_events *ask)
{
    struct node *n = c->control->node;
    struct events *v = calloc(1, sizeof *v);
    if (!v) {
        conn_end(c, ERR_NOMEM, "the node is out of memory");
        return;
    }
    uint64_t last = node_events_last(n);
    *v = (struct events){
        .c = c, .follow = ask->follow, .next = last > ask->count ? last - ask->count + 1 : 1};
    v->listener = (struct node_listener){.on_event = on_event, .ctx = v};
    if (v->follow)
        node_listen(n, &v->listener);
    conn_begin(c, &events_ops, v);
    events_on(c, v);
}
