/* The node: one engine, and the shell that does what it wants done. Events come from the loop's
 * callbacks, each is one step, and its effects are executed before the callback returns. */
#define _GNU_SOURCE
#include "node/loop/node_internal.h"

#include "node/loop/sockaddr.h"
#include "node/runtime/fault.h"
#include "node/runtime/notify.h"
#include "node/runtime/trace.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum {
    WHY = 512,
    TWIN_YOUNG_MS = 60000, /* of two that run with one key, who began so lately goes */
    TWIN_REBOOTS_MAX = 8   /* … and who has outbid the other so often */
};

/* ---- Clocks ---------------------------------------------------------------------------------- */

static uint64_t clock_ms(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

uint64_t clock_boottime_ms(void)
{
    return clock_ms(CLOCK_BOOTTIME);
}

uint64_t clock_wall_ms(void)
{
    return clock_ms(CLOCK_REALTIME);
}

/* ---- What servants ask ----------------------------------------------------------------------- */

uv_loop_t *node_loop(struct node *n)
{
    return n->loop;
}

struct engine *node_engine(struct node *n)
{
    return n->engine;
}

struct images *node_images(struct node *n)
{
    return n->images;
}

void node_units_dir(const struct node *n, char *out, size_t size)
{
    (void)snprintf(out, size, "%s/units", n->options ? n->options->run_dir : "");
}

struct runtime *node_runtime(struct node *n)
{
    return n->runtime;
}

struct consoles *node_consoles(struct node *n)
{
    return &n->consoles;
}

struct streams *node_streams(struct node *n)
{
    return n->streams;
}

uint64_t node_events_last(const struct node *n)
{
    return log_last(n->log);
}

const struct node_event *node_events_next(const struct node *n, uint64_t from)
{
    return log_next(n->log, from);
}

void node_each_counter(struct node *n, void (*visit)(void *ctx, const char *name, uint64_t value),
                       void *ctx)
{
    const struct engine_counters *e = engine_counters(n->engine);
    const struct stream_counters s = streams_counters(n->streams);
#define X(name) visit(ctx, #name, e->name);
    COUNTER_LIST(X)
#undef X
#define X(name) visit(ctx, "stream_" #name, s.name);
    STREAM_COUNTER_LIST(X)
    X(inbound_now)
    X(outbound_now) X(handshaking_now) X(calls_now)
#undef X
        visit(ctx, "datagrams_unsent", n->dropped_datagrams);
    visit(ctx, "engine_memory_bytes", n->mem.used_bytes);
}

/* ---- Later: what must not happen inside a call ----------------------------------------------- */

static struct client *client_take(struct node *n, uint64_t id)
{
    for (struct client **at = &n->clients; *at; at = &(*at)->next)
        if ((*at)->id == id) {
            struct client *c = *at;
            *at = c->next;
            return c;
        }
    return NULL;
}

static void replies_give(struct node *n)
{
    struct reply *r = n->replies;
    n->replies = NULL;
    n->replies_end = &n->replies;
    while (r) {
        struct reply *next = r->next;
        struct client *c = client_take(n, r->id);
        if (c)
            c->on_reply(c->ctx, &r->reply);
        free(c);
        free(r);
        r = next;
    }
}

static void listeners_tell(struct node *n)
{
    if (n->told_events == log_last(n->log))
        return;
    n->told_events = log_last(n->log);
    for (struct node_listener *l = n->listeners, *next; l; l = next) {
        next = l->next; /* one may unlisten itself, and only itself, in there */
        l->on_event(l->ctx);
    }
}

static void on_later(uv_idle_t *idle)
{
    struct node *n = idle->data;
    uv_idle_stop(idle);
    replies_give(n);
    listeners_tell(n);
}

static void later(struct node *n)
{
    if (n->later.loop && !n->quitting)
        uv_idle_start(&n->later, on_later);
}

void node_listen(struct node *n, struct node_listener *l)
{
    l->next = n->listeners;
    n->listeners = l;
}

void node_unlisten(struct node *n, struct node_listener *l)
{
    for (struct node_listener **at = &n->listeners; *at; at = &(*at)->next)
        if (*at == l) {
            *at = l->next;
            return;
        }
}

void node_log(struct node *n, enum log_level level, const char *event, const char *format, ...)
{
    char fields[1024];
    va_list ap;
    va_start(ap, format);
    vsnprintf(fields, sizeof fields, format, ap);
    va_end(ap);
    log_line(n->log, level, event, fields);
    if (n->listeners)
        later(n);
}

uint64_t node_command(struct node *n, const struct command *c, node_reply_fn *on_reply, void *ctx)
{
    struct client *client = calloc(1, sizeof *client);
    CHECK(client);
    uint64_t id = ++n->last_client;
    *client = (struct client){.id = id, .on_reply = on_reply, .ctx = ctx, .next = n->clients};
    n->clients = client;
    struct event ev = {.kind = EVENT_COMMAND, .id = id, .command = *c};
    node_step(n, &ev);
    return id;
}

void node_forget(struct node *n, uint64_t id)
{
    free(client_take(n, id));
}

void node_stop(struct node *n)
{
    struct event ev = {.kind = EVENT_STOPPING};
    node_step(n, &ev);
}

void node_image_added(struct node *n, const struct hash *image, uint64_t size_bytes)
{
    struct event ev = {.kind = EVENT_IMAGE, .image = *image, .size_bytes = size_bytes};
    node_step(n, &ev);
}

/* ---- Effects --------------------------------------------------------------------------------- */

static void do_datagram(struct node *n, const struct effect *f)
{
    struct sockaddr_storage to;
    uv_buf_t b = uv_buf_init((char *)(uintptr_t)f->bytes.p, (unsigned)f->bytes.len);
    sockaddr_from(&f->address, &to);
    if (uv_udp_try_send(&n->udp, &b, 1, (struct sockaddr *)&to) < 0)
        n->dropped_datagrams++; /* as the network does */
}

static void do_start(struct node *n, const struct effect *f)
{
    char path[OPTION_PATH_SIZE];
    CHECK(n->runtime); /* without one this host has no targets, and takes no units */
    trace_mark("effect");
    enum err err = images_path(n->images, &f->start.image, path, sizeof path);
    CHECK(!err);
    fault_point("meshd.start-wanted");
    runtime_start(n->runtime, &f->unit, &f->start, path);
    fault_point("meshd.start-asked");
}

static void do_stop(struct node *n, const struct effect *f)
{
    CHECK(n->runtime);
    fault_point("meshd.stop-wanted");
    runtime_stop(n->runtime, &f->unit);
    fault_point("meshd.stop-asked");
}

static void do_image_drop(struct node *n, const struct effect *f)
{
    char text[HASH_TEXT];
    enum err err = images_remove(n->images, &f->image);
    hash_text(&f->image, text);
    if (err && err != ERR_NOT_FOUND)
        node_log(n, LOG_WARN, "image.unremoved", "image=%.16s err=%s", text, err_name(err));
}

static void do_reply(struct node *n, const struct effect *f)
{
    size_t len = strlen(f->reply.text) + 1;
    struct reply *r = calloc(1, sizeof *r + len);
    CHECK(r);
    r->id = f->id;
    r->reply = f->reply;
    memcpy(r->text, f->reply.text, len);
    r->reply.text = r->text;
    *n->replies_end = r;
    n->replies_end = &r->next;
    later(n);
}

static void quit(struct node *n, uint64_t min_boot)
{
    if (n->quitting)
        return;
    n->again = min_boot != 0;
    n->min_boot = min_boot;
    n->quitting = true; /* from here on no step is taken; replies are given by node_run */
    uv_stop(n->loop);
}

/* Our boot number is too low. Told so by the first whom we meet, our state is an older one (a
 * backup): we go on above it. But whoever was taken for this node a moment ago, and now is not, has
 * a twin that runs with the same key: two of them would outbid each other for ever, and write the
 * same records. */
static void reboot(struct node *n, uint64_t min_boot)
{
    static unsigned outbid;
    if (n->was_synced) {
        bool young = clock_boottime_ms() - n->process_ms < TWIN_YOUNG_MS;
        bool goes = young || ++outbid > TWIN_REBOOTS_MAX;
        node_log(n, LOG_ERROR, "node.twin",
                 "what=\"another meshd runs with this node's key: its state was copied; stop one "
                 "of the two, or start "
                 "one with an empty --state; this one %s\"",
                 goes ? "ends" : "goes on");
        if (goes) { /* the number is taken, so that a start by hand is not told the same of this
                       one's own past */
            n->failed = true;
            if (identity_boot_at_least(n->identity, min_boot + 1))
                node_log(n, LOG_WARN, "node.boot", "what=\"it could not be written\"");
            quit(n, 0);
            return;
        }
    }
    node_log(n, LOG_WARN, "node.reboot", "above=%llu", (unsigned long long)min_boot);
    quit(n, min_boot);
}

static void effect_do(struct node *n, const struct effect *f)
{
    switch (f->kind) {
    case EFFECT_DATAGRAM:
        do_datagram(n, f);
        break;
    case EFFECT_CALL:
        streams_call(n->streams, f->id, &f->address, f->peer, f->bytes.p, f->bytes.len,
                     f->timeout_ms);
        break;
    case EFFECT_ANSWER:
        streams_answer(n->streams, f->id, f->bytes.p, f->bytes.len);
        break;
    case EFFECT_WRITE:
    case EFFECT_ERASE:
        if (f->key.kind == RECORD_UNIT)
            trace_mark("claim");
        writer_put(n, f);
        break;
    case EFFECT_UNIT_START:
        do_start(n, f);
        break;
    case EFFECT_UNIT_STOP:
        do_stop(n, f);
        break;
    case EFFECT_UNIT_DEADLINE:
        if (n->runtime)
            runtime_deadline(n->runtime, &f->unit, f->boottime_ms);
        break;
    case EFFECT_UNIT_ACCESS:
        if (n->runtime)
            runtime_access(n->runtime, &f->unit, &f->start);
        break;
    case EFFECT_UNIT_FORGET:
        if (n->runtime) {
            consoles_keep(&n->consoles, n->runtime, &f->unit);
            fault_point("meshd.console-kept");
            runtime_forget(n->runtime, &f->unit);
            fault_point("meshd.forgotten");
        }
        break;
    case EFFECT_VOLUME_MAKE:
    case EFFECT_VOLUME_CHECK:
    case EFFECT_VOLUME_FETCH:
    case EFFECT_VOLUME_DROP:
        volumes_see(n, f);
        break;
    case EFFECT_IMAGE_FETCH:
        fetch_start(n, f);
        break;
    case EFFECT_IMAGE_DROP:
        do_image_drop(n, f);
        break;
    case EFFECT_REPLY:
        do_reply(n, f);
        break;
    case EFFECT_LOG:
        node_log(n, f->log.level, f->log.event, "%s", f->log.fields);
        break;
    case EFFECT_REBOOT:
        reboot(n, f->min_boot);
        break;
    case EFFECT_QUIT:
        quit(n, 0);
        break;
    }
}

static void timer_set(struct node *n)
{
    uint64_t at = engine_deadline_ms(n->engine);
    if (at == 0)
        at = 1;
    if (at == n->timer_ms)
        return;
    n->timer_ms = at;
    struct itimerspec spec = {0};
    if (at != UINT64_MAX)
        spec.it_value = (struct timespec){.tv_sec = (time_t)(at / 1000),
                                          .tv_nsec = (long)(at % 1000) * 1000000};
    CHECK(timerfd_settime(n->timer_fd, TFD_TIMER_ABSTIME, &spec, NULL) == 0);
}

void node_step(struct node *n, struct event *ev)
{
    if (n->quitting)
        return;
    CHECK(!n->stepping);
    n->stepping = true;
    n->was_synced = engine_synced(n->engine);
    ev->mono_ms = clock_boottime_ms();
    ev->wall_ms = clock_wall_ms();
    effects_reset(&n->fx);
    engine_step(n->engine, ev, &n->fx);
    for (size_t i = 0; i < n->fx.count && !n->quitting; i++)
        effect_do(n, &n->fx.v[i]);
    n->stepping = false;
    if (!n->quitting)
        timer_set(n);
}

/* ---- The end --------------------------------------------------------------------------------- */

void node_gone(struct node *n)
{
    CHECK(n->closing > 0);
    n->closing--;
}

static void on_part_gone(void *ctx)
{
    node_gone(ctx);
}

static void on_handle_closed(uv_handle_t *h)
{
    node_gone(h->data);
}

static void handle_close(struct node *n, uv_handle_t *h)
{
    if (!h->loop)
        return;
    h->data = n;
    n->closing++;
    uv_close(h, on_handle_closed);
}

static void node_end(struct node *n)
{
    n->quitting = true;
    discover_close(&n->discover);
    resolver_close(&n->resolver);
    fetch_close_all(n);
    if (n->control) {
        n->closing++;
        control_close(&n->control, on_part_gone, n);
    }
    if (n->streams) {
        n->closing++;
        streams_close(&n->streams, on_part_gone);
    }
    if (n->runtime) {
        n->closing++;
        runtime_close(&n->runtime, on_part_gone);
    }
    handle_close(n, (uv_handle_t *)&n->udp);
    handle_close(n, (uv_handle_t *)&n->timer);
    handle_close(n, (uv_handle_t *)&n->later);
    handle_close(n, (uv_handle_t *)&n->sigterm);
    handle_close(n, (uv_handle_t *)&n->sigint);
    handle_close(n, (uv_handle_t *)&n->watchdog);
    writer_close(n); /* what was queued is on disk after this */
    uv_run(n->loop, UV_RUN_DEFAULT);
    CHECK(n->closing == 0);
    if (n->timer_fd >= 0)
        close(n->timer_fd);
    if (n->priv_fd >= 0)
        close(n->priv_fd);
    free(n->found);
    engine_free(n->engine);
    images_close(n->images);
    consoles_release(&n->consoles);
    node_crypto_free(n->crypto);
    identity_close(&n->identity);
    while (n->clients)
        free(client_take(n, n->clients->id));
    free(n->fx.v);
    free(n->fx.buffer);
}

int node_run(const struct options *o, int priv_fd, enum err priv_err, const char *priv_why,
             bool *again)
{
    static uint64_t min_boot; /* of the run before, where this one follows a reboot */
    static uint64_t process_ms;
    char why[WHY] = "";
    uv_loop_t loop;
    struct node *n = calloc(1, sizeof *n);
    *again = false;
    if (!n || uv_loop_init(&loop) || log_new(&n->log, o->log_format, o->log_level)) {
        fprintf(stderr, "meshd: out of memory\n");
        free(n);
        return 1;
    }
    n->loop = &loop;
    n->options = o;
    n->timer_fd = -1;
    n->priv_fd = priv_fd;
    n->priv_err = priv_err;
    n->priv_why = priv_why;
    n->replies_end = &n->replies;
    n->min_boot = min_boot;
    n->process_ms = process_ms = process_ms ? process_ms : clock_boottime_ms();
    int status = 0;
    if (node_begin(n, why, sizeof why)) {
        fprintf(stderr, "meshd: %s\n", why);
        status = 1;
    } else {
        struct event ev = {.kind = EVENT_TICK};
        node_step(n, &ev);
        if (n->runtime)
            runtime_probe(n->runtime);
        scrub_begin(n);
        notify("READY=1");
        uv_run(&loop, UV_RUN_DEFAULT);
        notify("STOPPING=1");
        replies_give(n);
        *again = n->again;
        min_boot = n->min_boot;
        status = n->failed;
        node_log(n, LOG_INFO, "node.stopped", "again=%d", *again);
    }
    node_end(n);
    CHECK(uv_loop_close(&loop) == 0);
    log_free(n->log);
    free(n);
    return status;
}
