/* node/loop/stream against strangers, and members that misbehave: what they send costs little and
 * ends soon, and honest peers go on meanwhile. */
#define _GNU_SOURCE
#include "tests/unit/stream_nodes.h"

#include "node/loop/sockaddr.h"

#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNTERS(n) streams_counters((n)->streams)

static struct stream_config config(void)
{
    return stream_config_default();
}

static struct raw *raw_new(void)
{
    struct raw *r = calloc(1, sizeof *r);
    assert_non_null(r);
    return r;
}

static void raw_free(struct raw *r)
{
    raw_close(r);
    free(r);
}

static void assert_works(struct node *n)
{
    struct node *peer = node_start(3, 0, NULL);
    call(peer, 1, n, "x", 1);
    RUN_UNTIL(peer->answers == 1);
    assert_int_equal(peer->answer[1].err, ERR_OK);
}

/* ---- Strangers ------------------------------------------------------------------------------- */

static void garbage_is_hung_up_on_without_a_word(void **state)
{
    (void)state;
    static const char *const garbage[] = {"GET / HTTP/1.1\r\n\r\n", "\x16\x03\x01", "u", "UMS\x02",
                                          "UMSx"};
    struct node *b = node_start(1, 0, NULL);
    for (size_t i = 0; i < sizeof garbage / sizeof *garbage; i++) {
        struct raw *r = raw_new();
        raw_connect(r, b);
        raw_send(r, garbage[i], strlen(garbage[i]));
        RUN_UNTIL(r->ended);
        assert_int_equal(r->total, 0);
        assert_int_equal(COUNTERS(b).handshakes_failed, i + 1);
        raw_free(r);
    }
    assert_int_equal(COUNTERS(b).inbound_now, 0);
    assert_works(b);
}

static void without_the_mesh_key_the_first_message_is_the_last(void **state)
{
    (void)state;
    struct node *b = node_start(1, 0, NULL);
    struct raw *r = raw_new();
    raw_first(r, b, 2, 1); /* another mesh's key */
    RUN_UNTIL(r->ended);
    assert_int_equal(r->total, WIRE_LENGTH_SIZE);
    assert_int_equal(wire_u16(r->in), 0);
    assert_int_equal(COUNTERS(b).unknown_key, 1);
    raw_free(r);

    uint8_t guess[WIRE_PREAMBLE_SIZE + WIRE_LENGTH_SIZE + NOISE_OVERHEAD_1] = {
        0}; /* its id, not its key */
    wire_preamble(node_crypto_interface(b->crypto)->key_id, guess);
    wire_put_u16(guess + WIRE_PREAMBLE_SIZE, NOISE_OVERHEAD_1);
    r = raw_new();
    raw_connect(r, b);
    raw_send(r, guess, sizeof guess);
    RUN_UNTIL(r->ended);
    assert_int_equal(r->total, WIRE_LENGTH_SIZE);
    assert_int_equal(COUNTERS(b).handshakes_failed, 2);
    assert_int_equal(COUNTERS(b).unknown_key, 1);
    raw_free(r);
}

static void who_says_nothing_is_hung_up_on(void **state)
{
    (void)state;
    struct stream_config cfg = config();
    cfg.handshake_timeout_ms = 100;
    struct node *b = node_start(1, 0, &cfg);
    struct raw *r = raw_new(), *half = raw_new();
    raw_connect(r, b);
    raw_first(half, b, 2, 0); /* and nothing after the first message */
    RUN_UNTIL(r->ended && half->ended);
    assert_int_equal(COUNTERS(b).handshake_timeouts, 2);
    assert_int_equal(COUNTERS(b).handshaking_now, 0);
    assert_int_equal(r->total, 0);
    raw_free(r);
    raw_free(half);
}

static void trickling_buys_no_time(void **state)
{
    (void)state;
    struct stream_config cfg = config();
    cfg.handshake_timeout_ms = 150;
    struct node *b = node_start(1, 0, &cfg);
    struct raw *r = raw_new();
    uint8_t hello[WIRE_PREAMBLE_SIZE + WIRE_LENGTH_SIZE + NOISE_OVERHEAD_1] = {0};
    wire_preamble(node_crypto_interface(b->crypto)->key_id, hello);
    wire_put_u16(hello + WIRE_PREAMBLE_SIZE, NOISE_OVERHEAD_1);
    raw_connect(r, b);
    for (size_t i = 0; i < sizeof hello - 1 && !r->ended; i++) {
        raw_send(r, hello + i, 1);
        run_for(10);
    }
    assert_true(r->ended);
    assert_int_equal(COUNTERS(b).handshake_timeouts, 1);
    raw_free(r);
}

static void a_flood_of_half_open_connections_drops_the_oldest(void **state)
{
    (void)state;
    enum { MAX = 8, FLOOD = 20 };
    struct stream_config cfg = config();
    struct raw *r[FLOOD];
    cfg.handshaking_max = MAX;
    struct node *b = node_start(1, 0, &cfg);
    for (unsigned i = 0; i < FLOOD; i++) {
        r[i] = raw_new();
        raw_connect(r[i], b);
        RUN_UNTIL(COUNTERS(b).accepts == i + 1);
        assert_true(COUNTERS(b).handshaking_now <= MAX);
    }
    assert_int_equal(COUNTERS(b).evicted, FLOOD - MAX);
    assert_works(b);
    for (unsigned i = 0; i < FLOOD; i++) {
        const bool old = i < FLOOD - MAX + 1; /* the honest one took a place */
        RUN_UNTIL(r[i]->ended || !old);
        assert_int_equal(r[i]->ended, old);
        raw_free(r[i]);
    }
}

static void connections_of_others_are_bounded(void **state)
{
    (void)state;
    struct stream_config cfg = config();
    struct raw *r[5];
    cfg.inbound_per_address_max = 4;
    struct node *b = node_start(1, 0, &cfg);
    cfg = config();
    cfg.inbound_max = 4;
    struct node *c = node_start(2, 0, &cfg), *const n[] = {b, c};
    for (unsigned k = 0; k < 2; k++) {
        for (unsigned i = 0; i < 5; i++) {
            r[i] = raw_new();
            raw_connect(r[i], n[k]);
            RUN_UNTIL(COUNTERS(n[k]).accepts == i + 1);
        }
        RUN_UNTIL(r[4]->ended);
        assert_int_equal(COUNTERS(n[k]).refused, 1);
        assert_int_equal(COUNTERS(n[k]).inbound_now, 4);
        for (unsigned i = 0; i < 5; i++)
            raw_free(r[i]);
        RUN_UNTIL(COUNTERS(n[k]).inbound_now == 0);
    }
    assert_works(b);
}

static void any_flipped_bit_of_the_first_bytes_is_refused(void **state)
{
    (void)state;
    struct node *b = node_start(1, 0, NULL);
    struct raw *good = raw_new();
    uint8_t bytes[WIRE_PREAMBLE_SIZE + WIRE_LENGTH_SIZE + NOISE_OVERHEAD_1];
    good->keep = bytes;
    raw_first(good, b, 2, 0);
    for (size_t i = 0; i < sizeof bytes; i++) {
        struct raw *r = raw_new();
        bytes[i] ^= 0x10;
        raw_connect(r, b);
        raw_send(r, bytes, sizeof bytes);
        bytes[i] ^= 0x10;
        RUN_UNTIL(r->ended);
        assert_true(r->total <= WIRE_LENGTH_SIZE);
        raw_free(r);
    }
    assert_int_equal(COUNTERS(b).handshakes_failed, sizeof bytes);
    raw_free(good);
}

/* ---- Members that misbehave ------------------------------------------------------------------ */

static void another_s_proof_proves_nothing(void **state)
{
    (void)state;
    struct node *a = node_start(0, 0, NULL), *b = node_start(1, 0, NULL);
    struct raw *r = raw_new();
    raw_first(r, b, 2, 0);
    raw_finish(r, node_crypto_proof(a->crypto), LINK_CALLS);
    RUN_UNTIL(r->ended);
    assert_int_equal(COUNTERS(b).handshakes, 0);
    assert_int_equal(COUNTERS(b).handshakes_failed, 1);
    raw_free(r);
    r = raw_new();
    raw_first(r, b, 2, 0);
    raw_finish(r, NULL, 3); /* a kind of a later version */
    RUN_UNTIL(r->ended);
    assert_int_equal(COUNTERS(b).handshakes, 0);
    raw_free(r);
}

static void bytes_one_by_one_are_as_good_as_all_at_once(void **state)
{
    (void)state;
    struct node *b = node_start(1, 0, NULL);
    struct raw *r = raw_new();
    r->one_by_one = true;
    raw_join(r, b, 2, LINK_CALLS);
    raw_record(r, WIRE_FINAL, "hello", 5);
    RUN_UNTIL(r->in_len == 5 + WIRE_OVERHEAD);
    assert_int_equal(COUNTERS(b).calls_in, 1);
    raw_free(r);
}

enum crime {
    RECORD_SHORT,
    RECORD_LONG,
    RECORD_FLIPPED,
    RECORD_TYPE,
    RECORD_NOT_FULL,
    END_INSIDE,
    END_WITH_DATA,
    CALL_BEFORE_ANSWER,
    CRIMES
};

static void commit(struct raw *r, enum crime crime)
{
    static uint8_t data[WIRE_DATA_MAX];
    uint8_t bytes[64] = {0};
    switch (crime) {
    case RECORD_SHORT:
        wire_put_u16(bytes, NOISE_TAG_SIZE);
        raw_send(r, bytes, sizeof bytes);
        break;
    case RECORD_LONG:
        wire_put_u16(bytes, WIRE_RECORD_MAX - WIRE_LENGTH_SIZE + 1);
        raw_send(r, bytes, WIRE_LENGTH_SIZE); /* its length is enough */
        break;
    case RECORD_FLIPPED:
        wire_lay("x", 1, bytes);
        assert_int_equal(wire_seal(&r->noise, bytes, wire_size(1)), ERR_OK);
        bytes[5] ^= 1;
        raw_send(r, bytes, wire_size(1));
        break;
    case RECORD_TYPE:
        raw_record(r, 3, "x", 1);
        break;
    case RECORD_NOT_FULL:
        raw_record(r, WIRE_MORE, data, WIRE_DATA_MAX - 1);
        break;
    case END_INSIDE:
        raw_record(r, WIRE_MORE, data, WIRE_DATA_MAX);
        raw_record(r, WIRE_END, NULL, 0);
        break;
    case END_WITH_DATA:
        raw_record(r, WIRE_END, "x", 1);
        break;
    case CALL_BEFORE_ANSWER:
        raw_record(r, WIRE_FINAL, "one", 3);
        raw_record(r, WIRE_FINAL, "two", 3);
        break;
    case CRIMES:
        break;
    }
}

static void records_that_are_none_end_the_connection(void **state)
{
    (void)state;
    struct node *b = node_start(1, 0, NULL);
    b->mode = CALL_HOLD;
    for (enum crime crime = 0; crime < CRIMES; crime++) {
        struct raw *r = raw_new();
        raw_join(r, b, 2, LINK_CALLS);
        commit(r, crime);
        RUN_UNTIL(r->ended);
        assert_int_equal(COUNTERS(b).records_bad, crime + 1);
        assert_int_equal(COUNTERS(b).inbound_now, 0);
        raw_free(r);
    }
    assert_int_equal(COUNTERS(b).calls_in, 1);
    b->mode = CALL_ECHO;
    assert_works(b);
}

static void the_same_in_a_channel_tells_its_owner(void **state)
{
    (void)state;
    struct node *b = node_start(1, 0, NULL);
    for (enum crime crime = 0; crime < CALL_BEFORE_ANSWER; crime++) {
        struct raw *r = raw_new();
        raw_join(r, b, 2, LINK_CHANNEL);
        raw_record(r, WIRE_FINAL, "open", 4);
        commit(r, crime);
        RUN_UNTIL(r->ended && b->tapes == (unsigned)crime + 1);
        assert_int_equal(b->tape[crime].closes, 1);
        assert_int_equal(b->tape[crime].err, ERR_AUTH);
        assert_int_equal(b->tape[crime].messages, 1);
        raw_free(r);
    }
}

static void a_message_without_end_is_too_large(void **state)
{
    (void)state;
    static uint8_t data[WIRE_DATA_MAX];
    struct stream_config cfg = config();
    cfg.message_bytes_max = 100000;
    struct node *b = node_start(1, 0, &cfg);
    struct raw *r = raw_new();
    raw_join(r, b, 2, LINK_CALLS);
    for (unsigned i = 0; i < 7 && !r->ended; i++)
        raw_record(r, WIRE_MORE, data, sizeof data);
    RUN_UNTIL(r->ended);
    assert_int_equal(COUNTERS(b).messages_too_large, 1);
    assert_int_equal(COUNTERS(b).messages_in, 0);
    raw_free(r);
}

static void a_member_that_stays_silent_is_hung_up_on(void **state)
{
    (void)state;
    struct stream_config cfg = config();
    cfg.idle_timeout_ms = 100;
    struct node *b = node_start(1, 0, &cfg);
    struct raw *r = raw_new(), *q = raw_new();
    raw_join(r, b, 2, LINK_CALLS);
    raw_join(q, b, 2, LINK_CHANNEL); /* without its first message */
    RUN_UNTIL(r->ended && q->ended);
    assert_int_equal(COUNTERS(b).idle_closed, 2);
    assert_int_equal(b->tapes, 0);
    raw_free(r);
    raw_free(q);
}

static void a_trickled_call_buys_no_time_either(void **state)
{
    (void)state;
    static uint8_t data[WIRE_DATA_MAX];
    struct stream_config cfg = config();
    cfg.idle_timeout_ms = 150;
    struct node *b = node_start(1, 0, &cfg);
    struct raw *r = raw_new();
    raw_join(r, b, 2, LINK_CALLS);
    for (unsigned i = 0; i < 60 && !r->ended; i++) {
        raw_record(r, WIRE_MORE, data, sizeof data);
        run_for(10);
    }
    assert_true(r->ended);
    assert_int_equal(COUNTERS(b).idle_closed, 1);
    assert_int_equal(COUNTERS(b).calls_in, 0);
    raw_free(r);
}

static void who_never_reads_its_answers_is_hung_up_on(void **state)
{
    (void)state;
    enum { CALL_SIZE = 60 * WIRE_DATA_MAX, CALLS = 40 };
    struct stream_config cfg = config();
    cfg.idle_timeout_ms = 200;
    struct node *b = node_start(1, 0, &cfg);
    struct raw *r = raw_new();
    static uint8_t data[WIRE_DATA_MAX];
    raw_join(r, b, 2, LINK_CALLS);
    RUN_UNTIL(COUNTERS(b).handshakes == 1);
    uv_read_stop((uv_stream_t *)&r->tcp);
    for (unsigned i = 0; i < CALLS && COUNTERS(b).inbound_now > 0; i++) {
        for (unsigned k = 1; k < 60; k++)
            raw_record(r, WIRE_MORE, data, sizeof data);
        raw_record(r, WIRE_FINAL, data, sizeof data);
        RUN_UNTIL(COUNTERS(b).calls_in == i + 1 || COUNTERS(b).inbound_now == 0);
    }
    RUN_UNTIL(COUNTERS(b).inbound_now == 0);
    assert_int_equal(COUNTERS(b).idle_closed, 1);
    raw_free(r);
}

static void an_answer_that_nobody_asked_for_ends_the_connection(void **state)
{
    (void)state;
    struct node *a = node_start(0, 0, NULL), *b = node_start(1, 0, NULL);
    call(a, 1, b, "x", 1);
    RUN_UNTIL(a->answers == 1);
    struct channel *ch = b->streams->channels;
    assert_int_equal(link_send(ch, "and another thing", 17), ERR_OK);
    RUN_UNTIL(COUNTERS(a).outbound_now == 0);
    assert_int_equal(COUNTERS(a).records_bad, 1);
    assert_int_equal(a->answers, 1);
}

/* ---- Servers that are none ------------------------------------------------------------------- */

enum server_mode { SERVER_SILENT, SERVER_GARBAGE, SERVER_HANGS_UP, SERVER_REFUSES };

struct server {
    uv_tcp_t listener, conn[4];
    unsigned conns;
    enum server_mode mode;
    struct node as_node; /* its address alone */
};

static void server_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *buf)
{
    static char scratch[65536];
    (void)h, (void)suggested;
    *buf = uv_buf_init(scratch, sizeof scratch);
}

static void server_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct server *s = stream->data;
    static char zeros[2], text[] = "HTTP/1.1 400 Bad Request\r\n\r\n";
    uv_buf_t out = uv_buf_init(s->mode == SERVER_REFUSES ? zeros : text,
                               s->mode == SERVER_REFUSES ? sizeof zeros : sizeof text);
    (void)buf;
    if (n > 0 && s->mode == SERVER_HANGS_UP && !uv_is_closing((uv_handle_t *)stream))
        uv_close((uv_handle_t *)stream, NULL);
    else if (n > 0 && s->mode != SERVER_SILENT)
        (void)uv_try_write(stream, &out, 1);
}

static void server_accept(uv_stream_t *listener, int status)
{
    struct server *s = listener->data;
    uv_tcp_t *c = &s->conn[s->conns++];
    assert_int_equal(status, 0);
    assert_int_equal(uv_tcp_init(&loop, c), 0);
    c->data = s;
    assert_int_equal(uv_accept(listener, (uv_stream_t *)c), 0);
    uv_read_start((uv_stream_t *)c, server_alloc, server_read);
}

static void server_start(struct server *s)
{
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int len = sizeof sa;
    memset(s, 0, sizeof *s);
    assert_int_equal(uv_tcp_init(&loop, &s->listener), 0);
    s->listener.data = s;
    assert_int_equal(uv_tcp_bind(&s->listener, (struct sockaddr *)&sa, 0), 0);
    assert_int_equal(uv_listen((uv_stream_t *)&s->listener, 8, server_accept), 0);
    assert_int_equal(uv_tcp_getsockname(&s->listener, (struct sockaddr *)&sa, &len), 0);
    assert_int_equal(sockaddr_to((struct sockaddr *)&sa, &s->as_node.at), ERR_OK);
}

static void server_stop(struct server *s)
{
    uv_close((uv_handle_t *)&s->listener, NULL);
    for (unsigned i = 0; i < s->conns; i++)
        if (!uv_is_closing((uv_handle_t *)&s->conn[i]))
            uv_close((uv_handle_t *)&s->conn[i], NULL);
    run_for(1); /* until they are gone */
}

static void a_server_of_something_else_is_told_apart(void **state)
{
    (void)state;
    static const enum err expected[] = {ERR_TIMEOUT, ERR_AUTH, ERR_CLOSED, ERR_AUTH};
    struct stream_config cfg = config();
    cfg.handshake_timeout_ms = 150;
    struct node *a = node_start(0, 0, &cfg);
    static struct server s;
    server_start(&s);
    for (unsigned mode = SERVER_SILENT; mode <= SERVER_REFUSES; mode++) {
        s.mode = (enum server_mode)mode;
        call(a, mode, &s.as_node, "x", 1);
        RUN_UNTIL(a->answers == mode + 1);
        assert_int_equal(a->answer[mode].err, expected[mode]);
    }
    assert_int_equal(COUNTERS(a).handshake_timeouts, 1);
    assert_int_equal(COUNTERS(a).handshakes_failed, 3);
    assert_int_equal(COUNTERS(a).outbound_now, 0);
    server_stop(&s);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, nodes_set_up, nodes_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(garbage_is_hung_up_on_without_a_word),
        TEST(without_the_mesh_key_the_first_message_is_the_last),
        TEST(who_says_nothing_is_hung_up_on),
        TEST(trickling_buys_no_time),
        TEST(a_flood_of_half_open_connections_drops_the_oldest),
        TEST(connections_of_others_are_bounded),
        TEST(any_flipped_bit_of_the_first_bytes_is_refused),
        TEST(another_s_proof_proves_nothing),
        TEST(bytes_one_by_one_are_as_good_as_all_at_once),
        TEST(records_that_are_none_end_the_connection),
        TEST(the_same_in_a_channel_tells_its_owner),
        TEST(a_message_without_end_is_too_large),
        TEST(a_member_that_stays_silent_is_hung_up_on),
        TEST(a_trickled_call_buys_no_time_either),
        TEST(who_never_reads_its_answers_is_hung_up_on),
        TEST(an_answer_that_nobody_asked_for_ends_the_connection),
        TEST(a_server_of_something_else_is_told_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
