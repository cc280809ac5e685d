/* Calls and channels over links (stream_internal.h), and the limits that hold for all of them.
 *
 * A call looks for a connection in this order: one that is kept for its address and idle; a new
 * one, if its address and all of us have room; else it waits, and whoever becomes idle or makes
 * room takes the oldest that it can serve. */
#define _GNU_SOURCE
#include "node/loop/stream_internal.h"

#include "node/loop/sockaddr.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

enum { BACKLOG = 256, RETRY_ACCEPT_MS = 100 };

struct stream_config stream_config_default(void)
{
    return (struct stream_config){.message_bytes_max = 1024 * 1024,
                                  .queue_bytes_max = 4 * 1024 * 1024,
                                  .inbound_max = 512,
                                  .inbound_per_address_max = 128,
                                  .handshaking_max = 64,
                                  .outbound_max = 512,
                                  .outbound_per_peer_max = 4,
                                  .calls_max = 1024,
                                  .handshake_timeout_ms = 5000,
                                  .idle_timeout_ms = 60000,
                                  .keep_ms = 10000,
                                  .linger_ms = 5000};
}

/* ---- Life ------------------------------------------------------------------------------------ */

void stream_handle_gone(struct streams *s)
{
    if (--s->handles > 0)
        return;
    void (*on_gone)(void *) = s->on_gone;
    void *ctx = s->ctx;
    free(s);
    if (on_gone)
        on_gone(ctx);
}

static void on_own_closed(uv_handle_t *h)
{
    stream_handle_gone(h->data);
}

static void close_own(struct streams *s)
{
    uv_close((uv_handle_t *)&s->listener, on_own_closed);
    uv_close((uv_handle_t *)&s->retry, on_own_closed);
}

static void on_retry(uv_timer_t *t);

static void accept_one(struct streams *s)
{
    if (link_accept(s)) {
        s->n.accepts_failed++;
        CHECK(uv_timer_start(&s->retry, on_retry, RETRY_ACCEPT_MS, 0) == 0);
    }
}

static void on_retry(uv_timer_t *t)
{
    accept_one(t->data);
}

static void on_connection(uv_stream_t *listener, int status)
{
    struct streams *s = listener->data;
    if (status != 0)
        s->n.accepts_failed++; /* no descriptors: libuv has dropped it */
    else
        accept_one(s);
}

static enum err listen_err(int status)
{
    switch (status) {
    case 0:
        return ERR_OK;
    case UV_EADDRINUSE:
        return ERR_EXISTS;
    case UV_EADDRNOTAVAIL:
    case UV_EAFNOSUPPORT:
        return ERR_UNREACHABLE;
    case UV_EACCES:
    case UV_EPERM:
        return ERR_DENIED;
    case UV_ENOMEM:
    case UV_ENOBUFS:
        return ERR_NOMEM;
    default:
        return ERR_IO;
    }
}

static enum err start_listening(struct streams *s, const struct address *bind)
{
    struct sockaddr_storage sa;
    int len = sizeof sa;
    sockaddr_from(bind, &sa);
    int status = uv_tcp_bind(&s->listener, (const struct sockaddr *)&sa, 0);
    if (status == 0)
        status = uv_listen((uv_stream_t *)&s->listener, BACKLOG, on_connection);
    if (status == 0)
        status = uv_tcp_getsockname(&s->listener, (struct sockaddr *)&sa, &len);
    return status != 0 ? listen_err(status) : sockaddr_to((struct sockaddr *)&sa, &s->bound);
}

/* libuv writes to sockets as to files: a peer that has gone would end the process. */
static void ignore_sigpipe(void)
{
    struct sigaction now;
    if (sigaction(SIGPIPE, NULL, &now) == 0 && now.sa_handler == SIG_DFL)
        signal(SIGPIPE, SIG_IGN);
}

enum err streams_new(struct streams **out, uv_loop_t *loop, const struct node_crypto *crypto,
                     const struct address *bind, const struct stream_config *cfg,
                     const struct stream_callbacks *cb, void *ctx)
{
    struct streams *s = calloc(1, sizeof *s);
    if (!s)
        return ERR_NOMEM;
    s->loop = loop;
    s->crypto = crypto;
    s->cfg = cfg ? *cfg : stream_config_default();
    s->cb = *cb;
    s->ctx = ctx;
    if (uv_tcp_init(loop, &s->listener) != 0) {
        free(s);
        return ERR_NOMEM;
    }
    CHECK(uv_timer_init(loop, &s->retry) == 0);
    s->listener.data = s->retry.data = s;
    s->handles = 2;
    ignore_sigpipe();
    enum err err = start_listening(s, bind);
    if (err)
        close_own(s); /* it goes while the loop runs */
    else
        *out = s;
    return err;
}

struct address streams_address(const struct streams *s)
{
    return s->bound;
}

struct stream_counters streams_counters(const struct streams *s)
{
    return s->n;
}

/* ---- Calls out ------------------------------------------------------------------------------- */

static void on_call_closed(uv_handle_t *h)
{
    struct call *call = h->data;
    struct streams *s = call->s;
    free(call);
    stream_handle_gone(s);
}

/* The one place where a call ends. The caller has let go of call->ch. */
static void call_done(struct call *call, enum err err, const struct stream_peer *peer,
                      const void *p, size_t len)
{
    struct streams *s = call->s;
    CHECK(!call->ch);
    DL_DELETE(s->calls, call);
    if (call->counted)
        s->n.calls_now--;
    s->n.calls_failed += err != ERR_OK;
    const uint64_t id = call->id;
    uv_close((uv_handle_t *)&call->timer, on_call_closed);
    s->cb.on_answer(s->ctx, id, err, peer, p, len);
}

static struct channel *call_detach(struct call *call)
{
    struct channel *ch = call->ch;
    if (ch) {
        ch->call = NULL;
        call->ch = NULL;
    }
    return ch;
}

/* A timeout, or what streams_call could not tell. Its connection would bring the answer to the next
 * call. */
static void on_call_timer(uv_timer_t *t)
{
    struct call *call = t->data;
    struct channel *ch = call_detach(call);
    if (!call->doom)
        call->doom = ERR_TIMEOUT; /* so that it doesn't wait for a connection */
    if (ch)
        link_end(ch, ERR_TIMEOUT);
    call_done(call, call->doom, NULL, NULL, 0);
}

static void call_doom(struct call *call, enum err err)
{
    call->doom = err;
    CHECK(uv_timer_start(&call->timer, on_call_timer, 0, 0) == 0);
}

static bool serves(const struct channel *ch, const struct address *to)
{
    return ch->direction == LINK_OUT && ch->kind == LINK_CALLS &&
           address_equal(&ch->peer.address, to);
}

static bool is_idle(const struct channel *ch)
{
    return ch->direction == LINK_OUT && ch->kind == LINK_CALLS && ch->state == LINK_OPEN &&
           !ch->call && !ch->broken && ch->purpose == TIMER_KEEP;
}

/* On an open connection, which has none now. */
static void call_send(struct call *call, struct channel *ch)
{
    call->ch = ch;
    ch->call = call;
    link_timer_stop(ch);
    enum err err = link_send(ch, call->bytes, call->len);
    if (err) {
        call_detach(call);
        call_doom(call, err);
        link_doom(ch, err);
    }
}

static struct channel *find_idle(struct streams *s, const struct address *to, node_id expected)
{
    struct channel *ch;
    DL_FOREACH(s->channels, ch)
    if (is_idle(ch) && (!to || serves(ch, to)) && (expected == 0 || expected == ch->peer.node))
        return ch;
    return NULL;
}

/* Its place is for the one who asks, not for whoever waits. */
static void give_way(struct channel *ch)
{
    struct streams *s = ch->s;
    s->making_room = true;
    link_end(ch, ERR_FULL);
    s->making_room = false;
}

/* Is there room for one more connection of ours? An idle one gives way. */
static bool make_room(struct streams *s)
{
    if (s->n.outbound_now < s->cfg.outbound_max)
        return true;
    struct channel *ch = find_idle(s, NULL, 0);
    if (!ch)
        return false;
    give_way(ch);
    return true;
}

/* As the top of this file says. False: it waits. */
static bool call_place(struct call *call)
{
    struct streams *s = call->s;
    struct channel *ch = call->again ? NULL : find_idle(s, &call->to, call->expected);
    if (ch) {
        s->n.reused++;
        ch->reused = true;
        call_send(call, ch);
        return true;
    }
    uint32_t count = 0;
    DL_FOREACH(s->channels, ch)
    count += serves(ch, &call->to);
    if (count >= s->cfg.outbound_per_peer_max) {
        ch = find_idle(s, &call->to, 0); /* of another node than expected, or old */
        if (!ch)
            return false;
        give_way(ch);
    } else if (!make_room(s)) {
        return false;
    }
    ch = link_dial(s, &call->to, call->expected, LINK_CALLS, UINT64_MAX);
    if (ch) {
        call->ch = ch;
        ch->call = call;
    } else {
        call_doom(call, ERR_NOMEM);
    }
    return true;
}

static bool is_waiting(const struct call *call)
{
    return call->counted && !call->ch && !call->doom;
}

/* A connection to `at` has become idle or is gone: the oldest call there takes its place, else, if
 * we were full, the oldest anywhere that can. */
static void place_next(struct streams *s, const struct address *at, bool was_full)
{
    struct call *call;
    if (s->closing || s->making_room)
        return;
    DL_FOREACH(s->calls, call)
    if (is_waiting(call) && address_equal(&call->to, at) && call_place(call))
        return;
    if (!was_full)
        return;
    DL_FOREACH(s->calls, call)
    if (is_waiting(call) && call_place(call))
        return;
}

static struct call *call_new(struct streams *s, uint64_t id, size_t len)
{
    struct call *call = malloc(sizeof *call + len);
    if (!call)
        return NULL;
    memset(call, 0, sizeof *call);
    CHECK(uv_timer_init(s->loop, &call->timer) == 0);
    call->timer.data = call;
    call->s = s;
    call->id = id;
    call->len = len;
    s->handles++;
    DL_APPEND(s->calls, call);
    return call;
}

static void call_reject(struct streams *s, uint64_t id, enum err err)
{
    struct call *call = call_new(s, id, 0);
    CHECK(call); /* every call is answered, and there is no memory left to remember this one */
    call_doom(call, err);
}

void streams_call(struct streams *s, uint64_t id, const struct address *to, node_id expected,
                  const void *p, size_t len, uint64_t timeout_ms)
{
    CHECK(!s->closing && s->cb.on_answer);
    s->n.calls_out++;
    if (len > s->cfg.message_bytes_max || s->n.calls_now >= s->cfg.calls_max) {
        call_reject(s, id, len > s->cfg.message_bytes_max ? ERR_TOO_LARGE : ERR_FULL);
        return;
    }
    struct call *call = call_new(s, id, len);
    if (!call) {
        call_reject(s, id, ERR_NOMEM);
        return;
    }
    if (len > 0)
        memcpy(call->bytes, p, len);
    call->to = *to;
    call->expected = expected;
    call->counted = true;
    s->n.calls_now++;
    CHECK(uv_timer_start(&call->timer, on_call_timer, timeout_ms, 0) == 0);
    (void)call_place(call);
}

static void on_answer(struct channel *ch, const uint8_t *p, size_t len)
{
    struct streams *s = ch->s;
    struct call *call = ch->call;
    if (!call) { /* nobody asked */
        s->n.records_bad++;
        link_end(ch, ERR_AUTH);
        return;
    }
    call_detach(call);
    link_timer_start(ch, TIMER_KEEP, s->cfg.keep_ms);
    call_done(call, ERR_OK, &ch->peer, p, len);
    if (is_idle(ch))
        place_next(s, &ch->peer.address, s->n.outbound_now >= s->cfg.outbound_max);
}

static void on_call_link_end(struct channel *ch, enum err err)
{
    struct call *call = ch->call;
    if (!call)
        return;
    call_detach(call);
    if (err == ERR_IO && ch->reused && !call->again) { /* broken, maybe long before this call */
        call->again = true;
        (void)call_place(call);
    } else {
        call_done(call, err == ERR_IO ? ERR_CLOSED : err, NULL, NULL, 0);
    }
}

/* ---- Calls in -------------------------------------------------------------------------------- */

static void on_call(struct channel *ch, const uint8_t *p, size_t len)
{
    struct streams *s = ch->s;
    if (ch->conn != 0) { /* one at a time */
        s->n.records_bad++;
        link_end(ch, ERR_AUTH);
        return;
    }
    s->n.calls_in++;
    ch->conn = ++s->last_conn;
    link_timer_start(ch, TIMER_IDLE, s->cfg.idle_timeout_ms);
    s->cb.on_call(s->ctx, ch->conn, &ch->peer, p, len);
}

void streams_answer(struct streams *s, uint64_t conn, const void *p, size_t len)
{
    struct channel *ch;
    DL_FOREACH(s->channels, ch)
    if (ch->conn == conn && conn != 0)
        break;
    if (!ch || ch->state != LINK_OPEN) {
        s->n.answers_late++;
        return;
    }
    ch->conn = 0;
    enum err err = len > s->cfg.message_bytes_max ? ERR_TOO_LARGE : link_send(ch, p, len);
    if (err == ERR_TOO_LARGE) { /* the caller learns that there will be none, and doesn't ask again */
        s->n.messages_too_large++;
        link_linger(ch);
    } else if (err) {
        link_doom(ch, err);
    } else {
        link_timer_start(ch, TIMER_IDLE, s->cfg.idle_timeout_ms);
    }
}

/* ---- Channels -------------------------------------------------------------------------------- */

enum err streams_open(struct streams *s, const struct address *to, node_id expected, const void *p,
                      size_t len, uint64_t timeout_ms, const struct channel_handler *h, void *ctx,
                      struct channel **out)
{
    CHECK(!s->closing && h->on_message && h->on_closed);
    if (len > s->cfg.message_bytes_max)
        return ERR_TOO_LARGE;
    if (!make_room(s))
        return ERR_FULL;
    struct channel *ch = link_dial(s, to, expected, LINK_CHANNEL, timeout_ms);
    if (!ch)
        return ERR_NOMEM;
    if (link_send(ch, p, len)) {
        link_end(ch, ERR_NOMEM);
        return ERR_NOMEM;
    }
    s->n.channels_out++;
    ch->shown = ch->owned = true;
    ch->handler = *h;
    ch->ctx = ctx;
    *out = ch;
    return ERR_OK;
}

void channel_accept(struct channel *ch, const struct channel_handler *h, void *ctx)
{
    CHECK(ch->direction == LINK_IN && ch->kind == LINK_CHANNEL && ch->shown && !ch->owned);
    CHECK(h->on_message && h->on_closed);
    ch->owned = true;
    ch->handler = *h;
    ch->ctx = ctx;
}

static void on_first_message(struct channel *ch, const uint8_t *p, size_t len)
{
    struct streams *s = ch->s;
    ch->shown = true;
    s->n.channels_in++;
    link_timer_stop(ch);
    s->cb.on_open(s->ctx, ch, &ch->peer, p, len);
    if (!ch->owned && ch->state == LINK_OPEN)
        link_linger(ch);
}

enum err channel_send(struct channel *ch, const void *p, size_t len)
{
    const struct stream_config *cfg = &ch->s->cfg;
    CHECK(ch->owned && ch->state <= LINK_OPEN);
    if (len > cfg->message_bytes_max)
        return ERR_TOO_LARGE;
    const size_t size = wire_size(len);
    if (ch->queued > 0 &&
        (size > cfg->queue_bytes_max || ch->queued > cfg->queue_bytes_max - size)) {
        ch->wants_drain = true;
        return ERR_FULL;
    }
    enum err err = link_send(ch, p, len);
    if (ch->queued > cfg->queue_bytes_max / 2)
        ch->wants_drain = true;
    return err;
}

size_t channel_queued(const struct channel *ch)
{
    return ch->queued;
}

void channel_pause(struct channel *ch)
{
    CHECK(ch->owned);
    link_pause(ch);
}

void channel_resume(struct channel *ch)
{
    CHECK(ch->owned);
    link_resume(ch);
}

const struct stream_peer *channel_peer(const struct channel *ch)
{
    return ch->proven ? &ch->peer : NULL;
}

void channel_close(struct channel *ch, enum channel_end how)
{
    CHECK(ch->shown && ch->state <= LINK_OPEN);
    ch->owned = false;
    if (how == CHANNEL_NOW)
        link_reset(ch);
    else
        link_linger(ch);
}

/* ---- What links tell ------------------------------------------------------------------------- */

void stream_on_open(struct channel *ch)
{
    const struct streams *s = ch->s;
    if (ch->direction == LINK_IN) {
        if (ch->kind == LINK_CHANNEL ? !s->cb.on_open : !s->cb.on_call)
            link_linger(ch);
        else
            link_timer_start(ch, TIMER_IDLE, s->cfg.idle_timeout_ms);
    } else if (ch->kind == LINK_CALLS) {
        call_send(ch->call, ch);
    }
}

void stream_on_message(struct channel *ch, const uint8_t *p, size_t len)
{
    if (ch->kind == LINK_CALLS && ch->direction == LINK_OUT)
        on_answer(ch, p, len);
    else if (ch->kind == LINK_CALLS)
        on_call(ch, p, len);
    else if (!ch->shown)
        on_first_message(ch, p, len);
    else
        ch->handler.on_message(ch->ctx, ch, p, len);
}

void stream_on_sent(struct channel *ch)
{
    if (!ch->owned || !ch->wants_drain || ch->queued > ch->s->cfg.queue_bytes_max / 2)
        return;
    ch->wants_drain = false;
    if (ch->handler.on_drain)
        ch->handler.on_drain(ch->ctx, ch);
}

void stream_on_timer(struct channel *ch, enum link_timer purpose)
{
    (void)purpose;
    ch->s->n.idle_closed++;
    link_end(ch, ERR_TIMEOUT);
}

void stream_on_end(struct channel *ch, enum err err)
{
    struct streams *s = ch->s;
    const bool was_full = s->n.outbound_now + 1 >= s->cfg.outbound_max;
    if (ch->direction == LINK_OUT && ch->kind == LINK_CALLS)
        on_call_link_end(ch, err);
    if (ch->owned) {
        ch->owned = false;
        ch->handler.on_closed(ch->ctx, ch, err);
    }
    if (ch->direction == LINK_OUT)
        place_next(s, &ch->peer.address, was_full);
}

/* ---- The end of it all ----------------------------------------------------------------------- */

void streams_close(struct streams **sp, void (*on_gone)(void *ctx))
{
    struct streams *s = *sp;
    if (!s || s->closing)
        return;
    s->closing = true;
    s->on_gone = on_gone;
    while (s->calls) {
        struct call *call = s->calls;
        call_detach(call);
        call_done(call, call->doom ? call->doom : ERR_CLOSED, NULL, NULL, 0);
    }
    while (s->channels)
        link_end(s->channels, ERR_CLOSED);
    close_own(s);
    *sp = NULL;
}
