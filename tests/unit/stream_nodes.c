#define _GNU_SOURCE
#include "tests/unit/stream_nodes.h"

#include "node/loop/sockaddr.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { TOO_LONG_MS = 30000, TICK_MS = 10, CALL_TIMEOUT_MS = 20000 };

uv_loop_t loop;
static struct node nodes[NODES_MAX];
static uv_timer_t watchdog, tick;

/* ---- Waiting --------------------------------------------------------------------------------- */

static struct {
    const char *what, *file;
    int line;
} waiting;

static void on_too_long(uv_timer_t *t)
{
    (void)t;
    fprintf(stderr, "waited for too long: %s\n", waiting.what);
    _fail(waiting.file, waiting.line);
}

/* uv_run waits for the next event also after a timer of ours has made the condition true. */
static void on_tick(uv_timer_t *t)
{
    (void)t;
}

void wait_begin(const char *what, const char *file, int line)
{
    waiting.what = what;
    waiting.file = file;
    waiting.line = line;
    uv_update_time(&loop);
    uv_timer_start(&watchdog, on_too_long, TOO_LONG_MS, 0);
    uv_timer_start(&tick, on_tick, TICK_MS, TICK_MS);
}

void wait_end(void)
{
    uv_timer_stop(&watchdog);
    uv_timer_stop(&tick);
}

static void on_over(uv_timer_t *t)
{
    *(bool *)t->data = true;
}

void run_for(uint64_t ms)
{
    bool over = false;
    uv_update_time(&loop);
    watchdog.data = &over;
    uv_timer_start(&watchdog, on_over, ms, 0);
    while (!over)
        uv_run(&loop, UV_RUN_ONCE);
}

/* ---- Channels -------------------------------------------------------------------------------- */

static size_t number_of(const uint8_t *p, size_t len)
{
    size_t n = 0;
    if (len >= sizeof n)
        memcpy(&n, p, sizeof n);
    return n;
}

static void tape_message(void *ctx, struct channel *ch, const void *p, size_t len)
{
    struct tape *t = ctx;
    assert_ptr_equal(ch, t->ch);
    t->messages++;
    t->bytes += len;
    t->in_order += len >= sizeof(size_t) && number_of(p, len) == t->in_order;
    free(t->last);
    t->last = malloc(len + 1);
    assert_non_null(t->last);
    memcpy(t->last, p, len);
    t->last[len] = '\0';
    t->last_len = len;
    if (t->pause_at_each)
        channel_pause(ch);
}

static void tape_drain(void *ctx, struct channel *ch)
{
    struct tape *t = ctx;
    assert_ptr_equal(ch, t->ch);
    t->drains++;
}

static void tape_closed(void *ctx, struct channel *ch, enum err err)
{
    struct tape *t = ctx;
    assert_ptr_equal(ch, t->ch);
    t->ch = NULL;
    t->closes++;
    t->err = err;
}

const struct channel_handler TAPE_HANDLER = {
    .on_message = tape_message, .on_drain = tape_drain, .on_closed = tape_closed};

void open_tape(struct node *from, const struct node *to, struct tape *t, const char *first)
{
    from->inside = true;
    assert_int_equal(streams_open(from->streams, &to->at, to->id, first, strlen(first),
                                  CALL_TIMEOUT_MS, &TAPE_HANDLER, t, &t->ch),
                     ERR_OK);
    from->inside = false;
}

enum err try_send_numbered(struct tape *t, size_t number, size_t len)
{
    uint8_t *p = calloc(1, len);
    assert_true(p && len >= sizeof number);
    memcpy(p, &number, sizeof number);
    enum err err = channel_send(t->ch, p, len);
    free(p);
    return err;
}

void send_numbered(struct tape *t, size_t number, size_t len)
{
    assert_int_equal(try_send_numbered(t, number, len), ERR_OK);
}

/* ---- Nodes ----------------------------------------------------------------------------------- */

static void on_answer(void *ctx, uint64_t id, enum err err, const struct stream_peer *peer,
                      const void *p, size_t len)
{
    struct node *n = ctx;
    assert_false(n->inside);
    assert_true(id < ANSWERS_MAX);
    n->answer[id].count++;
    n->answer[id].err = err;
    n->answer[id].node = err ? 0 : peer->node;
    n->answer[id].len = len;
    n->answer[id].first = len > 0 ? *(const uint8_t *)p : 0;
    n->answers++;
    n->answers_ok += err == ERR_OK;
}

static void on_call(void *ctx, uint64_t conn, const struct stream_peer *peer, const void *p,
                    size_t len)
{
    struct node *n = ctx;
    assert_false(n->inside);
    n->caller = *peer;
    n->call_len = len;
    if (n->mode == CALL_ECHO) {
        streams_answer(n->streams, conn, p, len);
    } else {
        assert_true(n->held_count < HELD_MAX);
        n->held[n->held_count++] = conn;
    }
}

static void on_open(void *ctx, struct channel *ch, const struct stream_peer *peer, const void *p,
                    size_t len)
{
    struct node *n = ctx;
    assert_false(n->inside);
    n->caller = *peer;
    if (n->refuse_channels)
        return;
    assert_true(n->tapes < TAPES_MAX);
    struct tape *t = &n->tape[n->tapes++];
    t->ch = ch;
    channel_accept(ch, &TAPE_HANDLER, t);
    tape_message(t, ch, p, len);
}

const struct stream_callbacks NODE_CALLBACKS = {
    .on_answer = on_answer, .on_call = on_call, .on_open = on_open};

static struct node_crypto *crypto_of(unsigned i, const struct mesh_keys *keys)
{
    uint8_t seed[NODE_SEED_SIZE];
    struct node_crypto *c = NULL;
    memset(seed, (int)(i + 1), sizeof seed);
    assert_int_equal(node_crypto_new(&c, seed, keys, NULL), ERR_OK);
    return c;
}

static struct mesh_keys one_key(unsigned mesh)
{
    struct mesh_keys keys = {.count = 1};
    memset(keys.key[0], (int)(0x80 + mesh), MESH_KEY_SIZE);
    return keys;
}

struct node *node_start_with(unsigned i, const struct mesh_keys *keys,
                             const struct stream_config *cfg, const struct stream_callbacks *cb)
{
    struct node *n = &nodes[i];
    struct address any;
    assert_int_equal(address_parse("127.0.0.1:0", &any), ERR_OK);
    n->crypto = crypto_of(i, keys);
    n->id = node_crypto_interface(n->crypto)->node;
    assert_int_equal(streams_new(&n->streams, &loop, n->crypto, &any, cfg, cb, n), ERR_OK);
    n->at = streams_address(n->streams);
    assert_int_not_equal(n->at.port, 0);
    return n;
}

struct node *node_start(unsigned i, unsigned mesh, const struct stream_config *cfg)
{
    struct mesh_keys keys = one_key(mesh);
    return node_start_with(i, &keys, cfg, &NODE_CALLBACKS);
}

static void on_gone(void *ctx)
{
    struct node *n = ctx;
    n->gone++;
}

void node_stop(struct node *n)
{
    if (n->streams) {
        const unsigned before = n->gone;
        streams_close(&n->streams, on_gone);
        assert_null(n->streams);
        assert_int_equal(n->gone, before);
        RUN_UNTIL(n->gone == before + 1);
    }
    node_crypto_free(n->crypto);
    n->crypto = NULL;
}

void call_within(struct node *from, uint64_t id, const struct node *to, const void *p, size_t len,
                 uint64_t timeout_ms)
{
    from->inside = true;
    streams_call(from->streams, id, &to->at, to->id, p, len, timeout_ms);
    from->inside = false;
}

void call(struct node *from, uint64_t id, const struct node *to, const void *p, size_t len)
{
    call_within(from, id, to, p, len, CALL_TIMEOUT_MS);
}

int nodes_set_up(void **state)
{
    (void)state;
    memset(nodes, 0, sizeof nodes);
    return uv_loop_init(&loop) != 0 || uv_timer_init(&loop, &watchdog) != 0 ||
           uv_timer_init(&loop, &tick) != 0;
}

int nodes_tear_down(void **state)
{
    (void)state;
    for (unsigned i = 0; i < NODES_MAX; i++) {
        node_stop(&nodes[i]);
        for (unsigned t = 0; t < TAPES_MAX; t++)
            free(nodes[i].tape[t].last);
    }
    uv_close((uv_handle_t *)&watchdog, NULL);
    uv_close((uv_handle_t *)&tick, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    return uv_loop_close(&loop);
}

/* ---- The raw client -------------------------------------------------------------------------- */

static void raw_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *buf)
{
    struct raw *r = h->data;
    (void)suggested;
    if (r->in_len == sizeof r->in)
        r->in_len = 0; /* nobody looks at so much */
    *buf = uv_buf_init((char *)r->in + r->in_len, (unsigned)(sizeof r->in - r->in_len));
}

static void raw_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct raw *r = stream->data;
    (void)buf;
    if (n < 0) {
        r->ended = true;
        uv_read_stop(stream);
        return;
    }
    r->in_len += (size_t)n;
    r->total += (size_t)n;
}

static void raw_connected(uv_connect_t *c, int status)
{
    struct raw *r = c->data;
    assert_int_equal(status, 0);
    r->connected = true;
    assert_int_equal(uv_tcp_nodelay(&r->tcp, 1), 0);
    assert_int_equal(uv_read_start((uv_stream_t *)&r->tcp, raw_alloc, raw_read), 0);
}

void raw_connect(struct raw *r, const struct node *to)
{
    struct sockaddr_storage sa;
    sockaddr_from(&to->at, &sa);
    assert_int_equal(uv_tcp_init(&loop, &r->tcp), 0);
    r->tcp.data = r->connect.data = r;
    assert_int_equal(uv_tcp_connect(&r->connect, &r->tcp, (struct sockaddr *)&sa, raw_connected),
                     0);
    RUN_UNTIL(r->connected);
}

static void raw_written(uv_write_t *w, int status)
{
    (void)status;
    free(w);
}

static void send_piece(struct raw *r, const uint8_t *p, size_t len)
{
    struct {
        uv_write_t w;
        uint8_t bytes[];
    } *o = malloc(sizeof *o + len);
    assert_non_null(o);
    if (len > 0)
        memcpy(o->bytes, p, len);
    uv_buf_t buf = uv_buf_init((char *)o->bytes, (unsigned)len);
    assert_int_equal(uv_write(&o->w, (uv_stream_t *)&r->tcp, &buf, 1, raw_written), 0);
}

void raw_send(struct raw *r, const void *p, size_t len)
{
    if (!r->one_by_one) {
        send_piece(r, p, len);
        return;
    }
    for (size_t i = 0; i < len; i++) {
        send_piece(r, (const uint8_t *)p + i, 1);
        for (unsigned k = 0; k < 4; k++) /* the node reads it before the next */
            uv_run(&loop, UV_RUN_NOWAIT);
    }
}

static void raw_gone(uv_handle_t *h)
{
    struct raw *r = h->data;
    r->closed = true;
}

void raw_close(struct raw *r)
{
    node_crypto_free(r->crypto);
    uv_close((uv_handle_t *)&r->tcp, raw_gone);
    RUN_UNTIL(r->closed);
}

void raw_first(struct raw *r, const struct node *to, unsigned i, unsigned mesh)
{
    struct mesh_keys keys = one_key(mesh);
    uint8_t bytes[WIRE_PREAMBLE_SIZE + WIRE_LENGTH_SIZE + NOISE_OVERHEAD_1], psk[PSK_SIZE];
    size_t len;
    r->crypto = crypto_of(i, &keys);
    const uint8_t *key_id = node_crypto_interface(r->crypto)->key_id;
    assert_int_equal(node_crypto_psk(r->crypto, key_id, psk), ERR_OK);
    wire_preamble(key_id, bytes);
    noise_init(&r->noise, NOISE_INITIATOR, node_crypto_x25519_secret(r->crypto), psk, bytes,
               WIRE_PREAMBLE_SIZE);
    assert_int_equal(noise_write(&r->noise, NULL, 0, bytes + WIRE_PREAMBLE_SIZE + WIRE_LENGTH_SIZE,
                                 NOISE_OVERHEAD_1, &len),
                     ERR_OK);
    wire_put_u16(bytes + WIRE_PREAMBLE_SIZE, len);
    if (r->keep)
        memcpy(r->keep, bytes, sizeof bytes);
    raw_connect(r, to);
    raw_send(r, bytes, sizeof bytes);
}

void raw_finish(struct raw *r, const uint8_t *proof, uint8_t kind)
{
    const size_t theirs = NOISE_OVERHEAD_2 + NODE_PROOF_SIZE;
    uint8_t payload[NODE_PROOF_SIZE + 1], bytes[512];
    size_t len;
    RUN_UNTIL(r->in_len >= WIRE_LENGTH_SIZE + theirs || r->ended);
    assert_false(r->ended);
    assert_int_equal(wire_u16(r->in), theirs);
    assert_int_equal(
        noise_read(&r->noise, r->in + WIRE_LENGTH_SIZE, theirs, payload, sizeof payload, &len),
        ERR_OK);
    memcpy(payload, proof ? proof : node_crypto_proof(r->crypto), NODE_PROOF_SIZE);
    payload[NODE_PROOF_SIZE] = kind;
    assert_int_equal(noise_write(&r->noise, payload, sizeof payload, bytes + WIRE_LENGTH_SIZE,
                                 sizeof bytes - WIRE_LENGTH_SIZE, &len),
                     ERR_OK);
    wire_put_u16(bytes, len);
    r->in_len = 0;
    raw_send(r, bytes, WIRE_LENGTH_SIZE + len);
}

void raw_join(struct raw *r, const struct node *to, unsigned i, enum link_kind kind)
{
    raw_first(r, to, i, 0);
    raw_finish(r, NULL, (uint8_t)kind);
}

void raw_record(struct raw *r, unsigned type, const void *p, size_t len)
{
    uint8_t *bytes = malloc(len + WIRE_OVERHEAD);
    assert_non_null(bytes);
    wire_put_u16(bytes, 1 + len + NOISE_TAG_SIZE);
    bytes[WIRE_LENGTH_SIZE] = (uint8_t)type;
    if (len > 0)
        memcpy(bytes + WIRE_LENGTH_SIZE + 1, p, len);
    assert_int_equal(wire_seal(&r->noise, bytes, len + WIRE_OVERHEAD), ERR_OK);
    raw_send(r, bytes, len + WIRE_OVERHEAD);
    free(bytes);
}
