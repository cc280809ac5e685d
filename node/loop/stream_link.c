/* One TCP connection: connecting, handshake, records in and out, its end. docs/streams.md has the
 * bytes.
 *
 * Memory: a connection that has not proven itself costs its struct and nothing else; its handshake
 * fits in `small`. What libuv may still touch is freed when both handles are closed. */
#define _GNU_SOURCE
#include "node/loop/stream_internal.h"

#include "node/loop/sockaddr.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

enum {
    IN_SIZE = 2 * WIRE_RECORD_MAX,
    KEEPALIVE_S = 30, /* a silent peer is asked after so long … */
    KEEPALIVE_ASK_S = 10,
    KEEPALIVE_ASKS = 3 /* … so often */
};

static void feed(struct channel *ch);

/* ---- Life ------------------------------------------------------------------------------------ */

static void link_free(struct channel *ch)
{
    struct streams *s = ch->s;
    wire_message_release(&ch->message);
    if (ch->in != ch->small)
        free(ch->in);
    free(ch);
    stream_handle_gone(s);
}

static void on_handle_closed(uv_handle_t *h)
{
    struct channel *ch = h->data;
    if (--ch->handles == 0)
        link_free(ch);
}

static struct channel *link_new(struct streams *s, enum link_direction direction)
{
    struct channel *ch = calloc(1, sizeof *ch);
    if (!ch)
        return NULL;
    if (uv_tcp_init(s->loop, &ch->tcp) != 0) {
        free(ch);
        return NULL;
    }
    CHECK(uv_timer_init(s->loop, &ch->timer) == 0);
    ch->s = s;
    ch->tcp.data = ch->timer.data = ch;
    ch->handles = 2;
    ch->direction = direction;
    ch->state = direction == LINK_IN ? LINK_HANDSHAKE : LINK_CONNECTING;
    ch->in = ch->small;
    ch->in_size = sizeof ch->small;
    ch->pending_last = &ch->pending;
    s->handles++;
    DL_APPEND(s->channels, ch);
    if (direction == LINK_IN) {
        s->n.inbound_now++;
        s->n.handshaking_now++;
    } else {
        s->n.outbound_now++;
    }
    return ch;
}

static void set_state(struct channel *ch, enum link_state state)
{
    if (ch->direction == LINK_IN && ch->state == LINK_HANDSHAKE && state != LINK_HANDSHAKE)
        ch->s->n.handshaking_now--;
    ch->state = state;
}

static void close_how(struct channel *ch, enum err err, enum channel_end how)
{
    if (ch->state == LINK_CLOSED)
        return;
    struct streams *s = ch->s;
    set_state(ch, LINK_CLOSED);
    DL_DELETE(s->channels, ch);
    if (ch->direction == LINK_IN)
        s->n.inbound_now--;
    else
        s->n.outbound_now--;
    noise_release(&ch->noise);
    for (struct link_out *o = ch->pending; o; o = ch->pending) {
        ch->pending = o->next;
        free(o);
    }
    ch->pending_last = &ch->pending;
    if (how == CHANNEL_FLUSH || uv_tcp_close_reset(&ch->tcp, on_handle_closed) != 0)
        uv_close((uv_handle_t *)&ch->tcp, on_handle_closed);
    uv_close((uv_handle_t *)&ch->timer, on_handle_closed);
    stream_on_end(ch, err);
}

void link_end(struct channel *ch, enum err err)
{
    close_how(ch, err, CHANNEL_FLUSH);
}

void link_reset(struct channel *ch)
{
    close_how(ch, ERR_CLOSED, CHANNEL_NOW);
}

/* ---- Its timer ------------------------------------------------------------------------------- */

static void on_handshake_timeout(struct channel *ch)
{
    const bool connecting = ch->state == LINK_CONNECTING;
    if (connecting)
        ch->s->n.connects_failed++;
    else
        ch->s->n.handshake_timeouts++;
    link_end(ch, connecting ? ERR_UNREACHABLE : ERR_TIMEOUT);
}

static void on_timer(uv_timer_t *t)
{
    struct channel *ch = t->data;
    const enum link_timer purpose = ch->purpose;
    ch->purpose = TIMER_NONE;
    switch (purpose) {
    case TIMER_NONE:
        break;
    case TIMER_HANDSHAKE:
        on_handshake_timeout(ch);
        break;
    case TIMER_IDLE:
    case TIMER_KEEP:
        stream_on_timer(ch, purpose);
        break;
    case TIMER_LINGER:
    case TIMER_BROKEN:
        link_end(ch, ERR_IO);
        break;
    case TIMER_RESUME:
        feed(ch);
        break;
    case TIMER_DOOM:
        link_end(ch, ch->doom);
        break;
    }
}

void link_timer_start(struct channel *ch, enum link_timer purpose, uint64_t ms)
{
    if (ch->state == LINK_CLOSED || ch->purpose == TIMER_DOOM)
        return;
    ch->purpose = purpose;
    CHECK(uv_timer_start(&ch->timer, on_timer, ms, 0) == 0);
}

void link_timer_stop(struct channel *ch)
{
    if (ch->purpose == TIMER_DOOM)
        return;
    ch->purpose = TIMER_NONE;
    uv_timer_stop(&ch->timer);
}

void link_doom(struct channel *ch, enum err err)
{
    ch->doom = err;
    link_timer_start(ch, TIMER_DOOM, 0);
}

/* ---- Out ------------------------------------------------------------------------------------- */

static void on_written(uv_write_t *request, int status)
{
    struct link_out *o = request->data;
    struct channel *ch = o->ch;
    const size_t counted = o->counted;
    if (status == 0)
        ch->s->n.bytes_out += o->len;
    free(o);
    ch->queued -= counted;
    if (ch->state == LINK_CLOSED)
        return;
    if (status == 0) {
        if (counted > 0)
            stream_on_sent(ch);
        return;
    }
    /* What the peer said before it broke is still to be read; then reading tells the end. */
    ch->broken = true;
    if (ch->state != LINK_OPEN)
        link_end(ch, ERR_IO);
    else if (!ch->paused)
        link_timer_start(ch, TIMER_BROKEN, ch->s->cfg.linger_ms);
}

static struct link_out *out_new(struct channel *ch, size_t len)
{
    struct link_out *o = malloc(sizeof *o + len);
    if (!o)
        return NULL;
    memset(o, 0, sizeof *o);
    o->request.data = o;
    o->ch = ch;
    o->len = len;
    return o;
}

/* Takes o. */
static void write_out(struct channel *ch, struct link_out *o)
{
    uv_buf_t buf = uv_buf_init((char *)o->bytes, (unsigned)o->len);
    if (uv_write(&o->request, (uv_stream_t *)&ch->tcp, &buf, 1, on_written) == 0)
        return;
    ch->queued -= o->counted;
    free(o);
    link_doom(ch, ERR_IO);
}

static void seal_and_write(struct channel *ch, struct link_out *o)
{
    enum err err = wire_seal(&ch->noise, o->bytes, o->len);
    if (!err) {
        write_out(ch, o);
        return;
    }
    ch->queued -= o->counted;
    free(o);
    link_doom(ch, ERR_IO); /* 2^64 records */
}

enum err link_write(struct channel *ch, const void *a, size_t a_len, const void *b, size_t b_len)
{
    struct link_out *o = out_new(ch, a_len + b_len);
    if (!o)
        return ERR_NOMEM;
    memcpy(o->bytes, a, a_len);
    memcpy(o->bytes + a_len, b, b_len);
    write_out(ch, o);
    return ERR_OK;
}

enum err link_send(struct channel *ch, const void *p, size_t len)
{
    CHECK(ch->state <= LINK_OPEN);
    struct link_out *o = out_new(ch, wire_size(len));
    if (!o)
        return ERR_NOMEM;
    ch->s->n.messages_out++;
    if (ch->broken) {
        free(o);
        return ERR_OK;
    }
    wire_lay(p, len, o->bytes);
    o->counted = o->len;
    ch->queued += o->counted;
    if (ch->state == LINK_OPEN) {
        seal_and_write(ch, o);
    } else {
        *ch->pending_last = o;
        ch->pending_last = &o->next;
    }
    return ERR_OK;
}

static void send_pending(struct channel *ch)
{
    for (struct link_out *o = ch->pending; o; o = ch->pending) {
        ch->pending = o->next;
        seal_and_write(ch, o);
    }
    ch->pending_last = &ch->pending;
}

/* ---- In -------------------------------------------------------------------------------------- */

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *buf)
{
    struct channel *ch = h->data;
    (void)suggested;
    if (ch->in_at > 0) {
        memmove(ch->in, ch->in + ch->in_at, ch->in_len);
        ch->in_at = 0;
    }
    *buf = uv_buf_init((char *)ch->in + ch->in_len, (unsigned)(ch->in_size - ch->in_len));
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct channel *ch = stream->data;
    (void)buf;
    if (n == 0)
        return;
    if (n < 0) {
        if (ch->state == LINK_HANDSHAKE)
            ch->s->n.handshakes_failed++;
        link_end(ch, ch->state == LINK_HANDSHAKE ? ERR_CLOSED : ERR_IO);
        return;
    }
    ch->s->n.bytes_in += (uint64_t)n;
    if (ch->state == LINK_LINGER)
        return; /* dropped */
    ch->in_len += (size_t)n;
    feed(ch);
}

static void reading(struct channel *ch)
{
    const bool wanted = ch->state == LINK_LINGER || ch->state == LINK_HANDSHAKE ||
                        (ch->state == LINK_OPEN && !ch->paused);
    if (ch->state == LINK_CLOSED || wanted == ch->reading)
        return;
    ch->reading = wanted;
    if (!wanted)
        uv_read_stop((uv_stream_t *)&ch->tcp);
    else if (uv_read_start((uv_stream_t *)&ch->tcp, on_alloc, on_read) != 0)
        link_doom(ch, ERR_IO);
}

void link_pause(struct channel *ch)
{
    ch->paused = true;
    reading(ch);
}

void link_resume(struct channel *ch)
{
    if (!ch->paused)
        return;
    ch->paused = false;
    if (ch->state == LINK_OPEN)
        link_timer_start(ch, TIMER_RESUME, 0);
}

void link_opened(struct channel *ch)
{
    uint8_t *in = malloc(IN_SIZE);
    if (!in) {
        link_end(ch, ERR_NOMEM);
        return;
    }
    memcpy(in, ch->in + ch->in_at, ch->in_len);
    ch->in = in;
    ch->in_at = 0;
    ch->in_size = IN_SIZE;
    ch->proven = true;
    ch->s->n.handshakes++;
    set_state(ch, LINK_OPEN);
    link_timer_stop(ch);
    send_pending(ch);
    if (ch->flush)
        link_linger(ch);
    else
        stream_on_open(ch);
}

/* ---- Records --------------------------------------------------------------------------------- */

static void record_bad(struct channel *ch)
{
    ch->s->n.records_bad++;
    link_end(ch, ERR_AUTH);
}

static bool feed_record(struct channel *ch)
{
    struct wire_record r;
    size_t used, len = 0;
    bool complete;
    const uint8_t *p = NULL;
    enum err err = wire_open(&ch->noise, ch->in + ch->in_at, ch->in_len, &r, &used);
    if (err == ERR_TRUNCATED)
        return false;
    if (err) {
        record_bad(ch);
        return false;
    }
    ch->in_at += used;
    ch->in_len -= used;
    err = wire_message_add(&ch->message, &r, ch->s->cfg.message_bytes_max, &complete, &p, &len);
    if (err == ERR_INVALID) {
        record_bad(ch);
    } else if (err) {
        ch->s->n.messages_too_large += err == ERR_TOO_LARGE;
        link_end(ch, err);
    } else if (r.type == WIRE_END) {
        link_end(ch, ERR_CLOSED);
    } else if (complete) {
        ch->s->n.messages_in++;
        stream_on_message(ch, p, len);
        wire_message_done(&ch->message);
    }
    return true;
}

/* Everything that has come; until the channel is paused, or its end. */
static void feed(struct channel *ch)
{
    bool more = true;
    while (more) {
        if (ch->state == LINK_HANDSHAKE)
            more = handshake_feed(ch);
        else if (ch->state == LINK_OPEN && !ch->paused && ch->purpose != TIMER_DOOM)
            more = feed_record(ch);
        else
            more = false;
    }
    if (ch->state == LINK_OPEN && ch->broken && !ch->paused && ch->purpose != TIMER_BROKEN)
        link_timer_start(ch, TIMER_BROKEN, ch->s->cfg.linger_ms);
    reading(ch);
}

/* ---- The end, said --------------------------------------------------------------------------- */

static void on_shutdown(uv_shutdown_t *request, int status)
{
    (void)request, (void)status; /* reading tells what becomes of it */
}

void link_linger(struct channel *ch)
{
    if (ch->state < LINK_OPEN) {
        ch->flush = true;
        link_timer_start(ch, TIMER_HANDSHAKE, ch->s->cfg.linger_ms);
        return;
    }
    struct link_out *o = out_new(ch, WIRE_END_SIZE);
    if (!o || ch->broken || ch->purpose == TIMER_DOOM) {
        free(o);
        link_end(ch, ERR_CLOSED);
        return;
    }
    wire_lay_end(o->bytes);
    seal_and_write(ch, o);
    set_state(ch, LINK_LINGER);
    ch->in_at = ch->in_len = 0;
    reading(ch);
    link_timer_start(ch, TIMER_LINGER, ch->s->cfg.linger_ms);
    if (uv_shutdown(&ch->shutdown, (uv_stream_t *)&ch->tcp, on_shutdown) != 0)
        link_doom(ch, ERR_IO);
}

/* ---- Connecting and accepting ---------------------------------------------------------------- */

static void set_options(struct channel *ch)
{
    const int ask_s = KEEPALIVE_ASK_S, asks = KEEPALIVE_ASKS;
    uv_os_fd_t fd;
    (void)uv_tcp_nodelay(&ch->tcp, 1);
    (void)uv_tcp_keepalive(&ch->tcp, 1, KEEPALIVE_S);
    if (uv_fileno((uv_handle_t *)&ch->tcp, &fd) == 0) {
        (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &ask_s, sizeof ask_s);
        (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &asks, sizeof asks);
    }
}

static void on_connected(uv_connect_t *request, int status)
{
    struct channel *ch = request->data;
    if (ch->state == LINK_CLOSED)
        return;
    if (status != 0) {
        ch->s->n.connects_failed++;
        link_end(ch, ERR_UNREACHABLE);
        return;
    }
    ch->s->n.connects++;
    set_options(ch);
    set_state(ch, LINK_HANDSHAKE);
    handshake_begin(ch);
    reading(ch);
}

struct channel *link_dial(struct streams *s, const struct address *to, node_id expected,
                          enum link_kind kind, uint64_t timeout_ms)
{
    struct sockaddr_storage sa;
    struct channel *ch = link_new(s, LINK_OUT);
    if (!ch)
        return NULL;
    ch->kind = kind;
    ch->expected = expected;
    ch->peer.address = *to;
    ch->connect.data = ch;
    sockaddr_from(to, &sa);
    if (uv_tcp_connect(&ch->connect, &ch->tcp, (const struct sockaddr *)&sa, on_connected) != 0) {
        s->n.connects_failed++;
        link_doom(ch, ERR_UNREACHABLE);
    } else {
        const uint64_t ms = s->cfg.handshake_timeout_ms;
        link_timer_start(ch, TIMER_HANDSHAKE, timeout_ms < ms ? timeout_ms : ms);
    }
    return ch;
}

static enum err peer_address(struct channel *ch)
{
    struct sockaddr_storage sa;
    int len = sizeof sa;
    if (uv_tcp_getpeername(&ch->tcp, (struct sockaddr *)&sa, &len) != 0)
        return ERR_CLOSED;
    return sockaddr_to((const struct sockaddr *)&sa, &ch->peer.address);
}

static uint32_t count_from(const struct streams *s, const uint8_t ip[static 16])
{
    const struct channel *ch;
    uint32_t count = 0;
    DL_FOREACH(s->channels, ch)
    count += ch->direction == LINK_IN && memcmp(ch->peer.address.ip, ip, 16) == 0;
    return count;
}

static void evict_oldest(struct streams *s)
{
    struct channel *ch;
    DL_FOREACH(s->channels, ch)
    {
        if (ch->direction == LINK_IN && ch->state == LINK_HANDSHAKE) {
            s->n.evicted++;
            link_end(ch, ERR_FULL);
            return;
        }
    }
}

enum err link_accept(struct streams *s)
{
    struct channel *ch = link_new(s, LINK_IN);
    if (!ch)
        return ERR_NOMEM;
    if (uv_accept((uv_stream_t *)&s->listener, (uv_stream_t *)&ch->tcp) != 0 || peer_address(ch)) {
        s->n.accepts_failed++;
        link_end(ch, ERR_IO);
        return ERR_OK;
    }
    s->n.accepts++;
    if (s->n.inbound_now > s->cfg.inbound_max ||
        count_from(s, ch->peer.address.ip) > s->cfg.inbound_per_address_max) {
        s->n.refused++;
        link_end(ch, ERR_FULL);
        return ERR_OK;
    }
    if (s->n.handshaking_now > s->cfg.handshaking_max)
        evict_oldest(s);
    set_options(ch);
    link_timer_start(ch, TIMER_HANDSHAKE, s->cfg.handshake_timeout_ms);
    reading(ch);
    return ERR_OK;
}
