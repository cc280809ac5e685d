/* Consoles, here or through a channel.
 *
 * The channel (SERVICE_LOGS). The reader's one message, after the service's byte:
 *     [version 1, app (bin 16), slot, run, lines, offset, mode]
 * lines: begin with the last so many; 2^32 - 1: begin at `offset`. mode: enum logs_mode. The node
 * with the console then says [1, offset, skipped, bytes (bin, at most 32 KiB)]    as often as there
 * is something [2, err, text]                                       at the end of the run (or of
 * what there is), and closes Arrays grow at their ends. One run a channel: whoever follows a unit
 * looks where it runs next, and opens another. A slow reader lets the channel fill; what the
 * console's ring loses meanwhile is counted as skipped. */
#define _GNU_SOURCE
#include "node/loop/logs.h"

#include "node/loop/console_reader.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    LOGS_VERSION = 1,
    MESSAGE_DATA = 1,
    MESSAGE_END = 2,
    DATA_BYTES_MAX = 32 * 1024,
    END_TEXT_SIZE = 256,
    SERVED_MAX = 64, /* consoles that peers read from us at once */
    OPEN_TIMEOUT_MS = 5000,
    LOOK_MS = 250,   /* where does it run next? */
    WATCH_MS = 1000, /* is its host alive still? */
    SILENT_MAX = 10  /* LOGS_ONCE: so many WATCH_MS without an answer are the end */
};

struct place { /* a run, told from the one before it */
    node_id node;
    uint64_t run;
    uint32_t restarts;
    bool alive; /* it has a tender */
};

struct logs {
    struct node *node;
    struct unit_id unit; /* epoch: of the run that is read */
    struct place at;
    bool seen_any; /* `at` is, or was, read */
    uint32_t lines;
    uint64_t next; /* of the run: where to go on if the channel breaks */
    enum logs_mode mode;
    struct logs_callbacks cb;
    void *ctx;
    struct console_reader *reader;
    struct channel *channel;
    uv_timer_t timer;
    bool paused, ended, closed;
    uint32_t silent;
};

/* ---- Where it runs ------------------------------------------------------------------------- */

struct look {
    uint16_t slot;
    bool there; /* the slot is */
    struct place place;
    enum unit_state state;
    char app[NAME_SIZE];
    char reason[REASON_SIZE];
};

static void look_unit(void *ctx, const struct unit_view *v)
{
    struct look *k = ctx;
    if (v->slot != k->slot || (k->there && !v->winner))
        return;
    k->there = true;
    k->place = (struct place){.node = v->node,
                              .run = v->body.run,
                              .restarts = v->body.restarts,
                              .alive = v->body.pid != 0};
    k->state = v->body.state;
    snprintf(k->app, sizeof k->app, "%s", v->app_name);
    memcpy(k->reason, v->body.reason, sizeof k->reason);
}

static struct look look(const struct logs *l)
{
    struct look k = {.slot = l->unit.slot};
    engine_each_unit(node_engine(l->node), &l->unit.app, look_unit, &k);
    return k;
}

static bool node_is_gone(const struct logs *l, node_id node)
{
    struct engine *e = node_engine(l->node);
    if (node == 0 || node == engine_self(e))
        return false;
    const struct member *m = swim_find(engine_members(e), node);
    return !m || m->state == MEMBER_DEAD || m->state == MEMBER_LEFT;
}

static void node_title(const struct logs *l, node_id node, char out[static NAME_SIZE])
{
    struct node_body b;
    if (!engine_node(node_engine(l->node), node, &b))
        memcpy(out, b.name, NAME_SIZE);
    else
        node_id_text(node, out);
}

/* ---- The end ------------------------------------------------------------------------------- */

static void detach(struct logs *l)
{
    console_reader_close(&l->reader);
    if (l->channel)
        channel_close(l->channel, CHANNEL_NOW);
    l->channel = NULL;
}

__attribute__((format(printf, 3, 4))) static void end(struct logs *l, enum err err,
                                                      const char *format, ...)
{
    char text[512];
    va_list ap;
    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    detach(l);
    l->ended = true;
    uv_timer_stop(&l->timer);
    l->cb.on_end(l->ctx, err, text);
}

static void on_timer(uv_timer_t *t);

static void look_again(struct logs *l, uint64_t ms)
{
    if (!l->closed && !l->ended)
        uv_timer_start(&l->timer, on_timer, ms, 0);
}

/* The run that was read gives no more. */
static void run_over(struct logs *l, enum err err, const char *text)
{
    char title[NAME_SIZE];
    detach(l);
    if (l->mode == LOGS_FOLLOW) {
        look_again(l, LOOK_MS);
        return;
    }
    node_title(l, l->at.node, title);
    if (err == ERR_NOT_FOUND) {
        const struct look k = look(l);
        end(l, err, "%s/%u is %s%s%s; nothing of its console is kept on %s", k.app, l->unit.slot,
            unit_state_text(k.state), k.reason[0] ? ": " : "", k.reason, title);
        return;
    }
    if (err)
        end(l, err, "%s, where it runs, says: %s", title, text);
    else
        end(l, ERR_OK, "ok");
}

/* The channel broke. */
static void out_of_reach(struct logs *l, enum err err)
{
    char title[NAME_SIZE];
    l->channel = NULL;
    detach(l);
    if (l->mode == LOGS_FOLLOW) {
        l->seen_any = false; /* the same run is worth another try, from where we are */
        look_again(l, WATCH_MS);
        return;
    }
    node_title(l, l->at.node, title);
    end(l, ERR_UNREACHABLE, "%s, where it runs, can't be reached: %s", title, err_text(err));
}

static void bytes_came(struct logs *l, uint64_t offset, uint64_t skipped, const void *p, size_t len)
{
    l->next = offset + len;
    l->lines = UINT32_MAX; /* of the runs that follow, all */
    l->cb.on_bytes(l->ctx, &l->unit, l->at.node, offset, skipped, p, len);
}

/* ---- From here ----------------------------------------------------------------------------- */

static bool on_local_bytes(void *ctx, uint64_t offset, uint64_t skipped, const void *p, size_t len)
{
    struct logs *l = ctx;
    bytes_came(l, offset, skipped, p, len);
    return true;
}

static void on_local_over(void *ctx, enum err err)
{
    run_over(ctx, err, err_text(err));
}

static const struct console_reader_callbacks local_callbacks = {.on_bytes = on_local_bytes,
                                                                .on_over = on_local_over};

/* ---- From a peer --------------------------------------------------------------------------- */

static enum err remote_data(struct logs *l, struct cursor *c, uint32_t more)
{
    uint64_t offset = cursor_uint(c, UINT64_MAX), skipped = cursor_uint(c, UINT64_MAX);
    struct slice bytes = cursor_bin(c, DATA_BYTES_MAX);
    cursor_skip_n(c, more);
    enum err err = cursor_end(c);
    if (err)
        return err;
    bytes_came(l, offset, skipped, bytes.p, bytes.len);
    return ERR_OK;
}

static enum err remote_end(struct logs *l, struct cursor *c, uint32_t more)
{
    char text[END_TEXT_SIZE];
    enum err said = (enum err)cursor_uint(c, UINT16_MAX);
    cursor_text(c, text, sizeof text);
    cursor_skip_n(c, more);
    enum err err = cursor_end(c);
    if (!err)
        run_over(l, said, text);
    return err;
}

static void on_remote_message(void *ctx, struct channel *ch, const void *p, size_t len)
{
    (void)ch;
    struct logs *l = ctx;
    struct cursor c;
    cursor_init(&c, p, len);
    uint32_t n = cursor_array_from(&c, 3);
    uint64_t type = cursor_uint(&c, UINT32_MAX);
    enum err err = ERR_OK;
    l->silent = 0;
    if (!c.err && type == MESSAGE_DATA && n >= 1)
        err = remote_data(l, &c, n - 1);
    else if (!c.err && type == MESSAGE_END)
        err = remote_end(l, &c, n);
    else if (c.err || type == MESSAGE_DATA)
        err = ERR_INVALID;
    if (err && l->channel) {
        channel_close(l->channel, CHANNEL_NOW);
        out_of_reach(l, err);
    }
}

static void on_remote_closed(void *ctx, struct channel *ch, enum err err)
{
    (void)ch;
    out_of_reach(ctx, err);
}

static const struct channel_handler remote_handler = {.on_message = on_remote_message,
                                                      .on_closed = on_remote_closed};

static enum err remote_open(struct logs *l, uint64_t offset, uint32_t lines)
{
    struct engine *e = node_engine(l->node);
    const struct member *m = swim_find(engine_members(e), l->at.node);
    struct node_body b;
    struct address to;
    if (!engine_node(e, l->at.node, &b) && b.address_count > 0)
        to = b.addresses[0];
    else if (m)
        to = m->address;
    else
        return ERR_UNREACHABLE;
    uint8_t message[128] = {SERVICE_LOGS};
    struct pack k;
    pack_init(&k, message + 1, sizeof message - 1);
    pack_array(&k, 7);
    pack_uint(&k, LOGS_VERSION);
    pack_bin(&k, l->unit.app.b, sizeof l->unit.app.b);
    pack_uint(&k, l->unit.slot);
    pack_uint(&k, l->unit.epoch);
    pack_uint(&k, lines);
    pack_uint(&k, offset);
    pack_uint(&k, l->mode);
    CHECK(!pack_end(&k));
    return streams_open(node_streams(l->node), &to, l->at.node, message, 1 + k.len, OPEN_TIMEOUT_MS,
                        &remote_handler, l, &l->channel);
}

/* ---- Looking, reading, looking again ------------------------------------------------------- */

static bool same_run(const struct place *a, const struct place *b)
{
    return a->node == b->node && a->run == b->run && a->restarts == b->restarts;
}

static void attach(struct logs *l, const struct place *p)
{
    bool goes_on = l->next > 0 && same_run(p, &l->at);
    uint64_t offset = goes_on ? l->next : 0;
    uint32_t lines = goes_on ? UINT32_MAX : l->lines;
    l->at = *p;
    l->seen_any = true;
    l->next = offset;
    l->unit.epoch = p->run;
    l->silent = 0;
    enum err err = p->node == engine_self(node_engine(l->node))
                       ? console_reader_new(&l->reader, l->node, &l->unit, lines, offset, l->mode,
                                            &local_callbacks, l)
                       : remote_open(l, offset, lines);
    if (err) {
        l->channel = NULL;
        out_of_reach(l, err);
        return;
    }
    if (l->paused)
        logs_pause(l);
    look_again(l, WATCH_MS);
}

static void watch(struct logs *l)
{
    if (l->channel && node_is_gone(l, l->at.node)) {
        channel_close(l->channel, CHANNEL_NOW);
        out_of_reach(l, ERR_UNREACHABLE);
        return;
    }
    if (l->mode == LOGS_ONCE && l->channel && !l->paused && ++l->silent > SILENT_MAX) {
        channel_close(l->channel, CHANNEL_NOW);
        out_of_reach(l, ERR_TIMEOUT);
        return;
    }
    look_again(l, WATCH_MS);
}

static void on_timer(uv_timer_t *t)
{
    struct logs *l = t->data;
    if (l->reader || l->channel) {
        watch(l);
        return;
    }
    struct look k = look(l);
    if (!k.there) {
        end(l, ERR_NOT_FOUND, "the slot is there no more");
        return;
    }
    bool gone = node_is_gone(l, k.place.node);
    bool ran = k.place.alive || l->mode == LOGS_ONCE ||
               (k.state != UNIT_FETCHING && k.state != UNIT_STARTING);
    bool other = !l->seen_any || (k.place.alive && !(l->at.alive && same_run(&k.place, &l->at)));
    if (k.place.node && k.place.run && !gone && ran && other) {
        attach(l, &k.place);
        return;
    }
    if (l->mode == LOGS_FOLLOW) {
        look_again(l, LOOK_MS);
        return;
    }
    if (k.place.node && gone) {
        char title[NAME_SIZE];
        node_title(l, k.place.node, title);
        end(l, ERR_UNREACHABLE, "%s, where %s/%u ran, is dead", title, k.app, l->unit.slot);
        return;
    }
    end(l, ERR_NOT_FOUND, "%s/%u is %s%s%s: it has no console yet", k.app, l->unit.slot,
        unit_state_text(k.state), k.reason[0] ? ": " : "", k.reason);
}

enum err logs_open(struct logs **out, struct node *n, const struct uid *app, uint16_t slot,
                   uint32_t lines, enum logs_mode mode, const struct logs_callbacks *cb, void *ctx)
{
    struct logs *l = calloc(1, sizeof *l);
    if (!l)
        return ERR_NOMEM;
    *l = (struct logs){.node = n,
                       .unit = {.app = *app, .slot = slot},
                       .lines = lines,
                       .mode = mode,
                       .cb = *cb,
                       .ctx = ctx};
    if (!look(l).there) {
        free(l);
        return ERR_NOT_FOUND;
    }
    CHECK(uv_timer_init(node_loop(n), &l->timer) == 0);
    l->timer.data = l;
    look_again(l, 0);
    *out = l;
    return ERR_OK;
}

void logs_pause(struct logs *l)
{
    l->paused = true;
    if (l->reader)
        console_reader_pause(l->reader);
    if (l->channel)
        channel_pause(l->channel);
}

void logs_resume(struct logs *l)
{
    l->paused = false;
    if (l->reader)
        console_reader_resume(l->reader);
    if (l->channel)
        channel_resume(l->channel);
}

static void on_closed(uv_handle_t *h)
{
    free(h->data);
}

void logs_close(struct logs **pl)
{
    struct logs *l = *pl;
    *pl = NULL;
    if (!l)
        return;
    l->closed = true;
    detach(l);
    uv_close((uv_handle_t *)&l->timer, on_closed);
}

/* ---- For a peer ---------------------------------------------------------------------------- */

struct served {
    struct channel *channel;
    struct console_reader *reader;
};

static unsigned served_count; /* of this process, which is one node */

static void served_free(struct served *s)
{
    console_reader_close(&s->reader);
    served_count--;
    free(s);
}

static bool served_bytes(void *ctx, uint64_t offset, uint64_t skipped, const void *p, size_t len)
{
    struct served *s = ctx;
    uint8_t message[DATA_BYTES_MAX + 64];
    struct pack k;
    pack_init(&k, message, sizeof message);
    pack_array(&k, 4);
    pack_uint(&k, MESSAGE_DATA);
    pack_uint(&k, offset);
    pack_uint(&k, skipped);
    pack_bin(&k, p, len);
    CHECK(!pack_end(&k));
    return channel_send(s->channel, message, k.len) == ERR_OK; /* else it waits for on_drain */
}

static void end_send(struct channel *ch, enum err err)
{
    uint8_t message[END_TEXT_SIZE];
    struct pack k;
    pack_init(&k, message, sizeof message);
    pack_array(&k, 3);
    pack_uint(&k, MESSAGE_END);
    pack_uint(&k, err);
    pack_str(&k, err_text(err));
    CHECK(!pack_end(&k));
    enum err sent = channel_send(ch, message, k.len);
    channel_close(ch, sent ? CHANNEL_NOW : CHANNEL_FLUSH); /* cut off, the reader asks again */
}

static void served_over(void *ctx, enum err err)
{
    struct served *s = ctx;
    struct channel *ch = s->channel;
    served_free(s);
    end_send(ch, err);
}

static void served_message(void *ctx, struct channel *ch, const void *p, size_t len)
{
    (void)ctx, (void)ch, (void)p, (void)len; /* a reader has nothing more to say */
}

static void served_drain(void *ctx, struct channel *ch)
{
    (void)ch;
    struct served *s = ctx;
    console_reader_resume(s->reader);
}

static void served_closed(void *ctx, struct channel *ch, enum err err)
{
    (void)ch, (void)err;
    served_free(ctx);
}

static const struct console_reader_callbacks served_callbacks = {.on_bytes = served_bytes,
                                                                 .on_over = served_over};
static const struct channel_handler served_handler = {
    .on_message = served_message, .on_drain = served_drain, .on_closed = served_closed};

void logs_serve(struct node *n, struct channel *ch, const struct stream_peer *peer, const void *p,
                size_t len)
{
    (void)peer; /* a member: it may */
    struct cursor c;
    struct unit_id run;
    const uint8_t *bytes = p;
    if (len > 0 && bytes[0] == SERVICE_LOGS) { /* no array begins so */
        bytes++;
        len--;
    }
    cursor_init(&c, bytes, len);
    uint32_t more = cursor_array_from(&c, 7);
    uint64_t version = cursor_uint(&c, UINT32_MAX);
    cursor_fixed(&c, run.app.b, sizeof run.app.b);
    run.slot = (uint16_t)cursor_uint(&c, UINT16_MAX);
    run.epoch = cursor_uint(&c, UINT64_MAX);
    uint32_t lines = (uint32_t)cursor_uint(&c, UINT32_MAX);
    uint64_t offset = cursor_uint(&c, UINT64_MAX);
    enum logs_mode mode = (enum logs_mode)cursor_uint(&c, LOGS_FOLLOW);
    cursor_skip_n(&c, more);
    if (cursor_end(&c) || version != LOGS_VERSION || served_count == SERVED_MAX)
        return; /* not accepted, it is closed */
    struct served *s = calloc(1, sizeof *s);
    if (!s)
        return;
    s->channel = ch;
    if (console_reader_new(&s->reader, n, &run, lines, offset, mode, &served_callbacks, s)) {
        free(s);
        return;
    }
    served_count++;
    channel_accept(ch, &served_handler, s);
}
