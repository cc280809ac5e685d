/* node/loop/stream between honest nodes: calls and channels, their limits and their ends. */
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
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define COUNTERS(n) streams_counters((n)->streams)

static struct stream_config config(void)
{
    return stream_config_default();
}

/* ---- Calls ----------------------------------------------------------------------------------- */

static void a_call_is_answered_by_a_proven_peer(void **state)
{
    (void)state;
    struct node *a = node_start(0, 0, NULL), *b = node_start(1, 0, NULL);
    call(a, 7, b, "hello", 5);
    RUN_UNTIL(a->answers == 1);
    assert_int_equal(a->answer[7].err, ERR_OK);
    assert_int_equal(a->answer[7].len, 5);
    assert_true(a->answer[7].node == b->id);
    const struct crypto *c = node_crypto_interface(a->crypto);
    assert_true(b->caller.node == a->id);
    assert_memory_equal(b->caller.public_key, c->public_key, PUBLIC_KEY_SIZE);
    assert_memory_equal(b->caller.x25519, c->x25519, 32);
    assert_memory_equal(b->caller.address.ip, a->at.ip, 16);
    struct stream_counters there = COUNTERS(a), here = COUNTERS(b);
    assert_int_equal(there.calls_out, 1);
    assert_int_equal(there.handshakes, 1);
    assert_int_equal(there.outbound_now, 1); /* kept */
    assert_int_equal(there.calls_now, 0);
    assert_int_equal(here.calls_in, 1);
    assert_int_equal(here.inbound_now, 1);
    assert_int_equal(here.handshaking_now, 0);
}

static void calls_go_both_ways_in_parallel_over_few_connections(void **state)
{
    (void)state;
    enum { CALLS = 400 };
    struct node *a = node_start(0, 0, NULL), *b = node_start(1, 0, NULL);
    for (unsigned i = 0; i < CALLS; i++) {
        const uint8_t byte = (uint8_t)i;
        call(a, i, b, &byte, 1);
        call(b, i, a, &byte, 1);
    }
    RUN_UNTIL(a->answers == CALLS && b->answers == CALLS);
    for (unsigned i = 0; i < CALLS; i++) {
        assert_int_equal(a->answer[i].count, 1);
        assert_int_equal(b->answer[i].count, 1);
        assert_int_equal(a->answer[i].first, (uint8_t)i); /* its own answer, not another's */
        assert_int_equal(b->answer[i].first, (uint8_t)i);
    }
    assert_int_equal(a->answers_ok + b->answers_ok, 2 * CALLS);
    assert_int_equal(COUNTERS(a).connects, 4);
    assert_int_equal(COUNTERS(b).connects, 4);
    assert_int_equal(COUNTERS(a).reused, CALLS - 4);
}

static void several_nodes_call_each_other(void **state)
{
    (void)state;
    enum { CALLS = 30 };
    struct node *n[NODES_MAX];
    unsigned answers = 0;
    for (unsigned i = 0; i < NODES_MAX; i++)
        n[i] = node_start(i, 0, NULL);
    for (unsigned k = 0; k < CALLS; k++)
        for (unsigned i = 0; i < NODES_MAX; i++)
            call(n[i], k, n[(i + 1 + k % (NODES_MAX - 1)) % NODES_MAX], "x", 1);
    RUN_UNTIL((answers = n[0]->answers + n[1]->answers + n[2]->answers + n[3]->answers) ==
              CALLS * NODES_MAX);
    for (unsigned i = 0; i < NODES_MAX; i++)
        assert_int_equal(n[i]->answers_ok, CALLS);
}

static void a_node_may_call_itself(void **state)
{
    (void)state;
    struct node *a = node_start(0, 0, NULL);
    call(a, 1, a, "me", 2);
    RUN_UNTIL(a->answers == 1);
    assert_int_equal(a->answer[1].err, ERR_OK);
    assert_true(a->answer[1].node == a->id);
}

static void messages_of_every_size_arrive_whole(void **state)
{
    (void)state;
    struct stream_config cfg = config();
    const size_t sizes[] = {0,
                            1,
                            WIRE_DATA_MAX - 1,
                            WIRE_DATA_MAX,
                            WIRE_DATA_MAX + 1,
                            2 * WIRE_DATA_MAX,
                            2 * WIRE_DATA_MAX + 1,
                            100000,
                            cfg.message_bytes_max - 1,
                            cfg.message_bytes_max};
    struct node *a = node_start(0, 0, NULL), *b = node_start(1, 0, NULL);
    uint8_t *p = malloc(cfg.message_bytes_max + 1);
    assert_non_null(p);
    memset(p, 'x', cfg.message_bytes_max + 1);
    for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        call(a, i, b, p, sizes[i]);
        RUN_UNTIL(a->answers == i + 1);
        assert_int_equal(a->answer[i].err, ERR_OK);
        assert_int_equal(a->answer[i].len, sizes[i]);
        assert_int_equal(b->call_len, sizes[i]);
    }
    call(a, 100, b, p, cfg.message_bytes_max + 1);
    assert_int_equal(a->answer[100].count, 0); /* told, but not inside */
    RUN_UNTIL(a->answer[100].count == 1);
    assert_int_equal(a->answer[100].err, ERR_TOO_LARGE);
    free(p);
}

static void a_message_beyond_the_receiver_s_limit_ends_its_call_alone(void **state)
{
    (void)state;
    struct stream_config cfg = config();
    cfg.message_bytes_max = 50000;
    struct node *a = node_start(0, 0, NULL), *b = node_start(1, 0, &cfg);
    uint8_t *p = calloc(1, 60000);
    call(a, 1, b, p, 50001); /* more than b takes */
    call(a, 2, b, p, 50000);
    RUN_UNTIL(a->answers == 2);
    assert_int_equal(a->answer[1].err, ERR_CLOSED);
    assert_int_equal(a->answer[2].err, ERR_OK);
    assert_int_equal(COUNTERS(b).messages_too_large, 1);
    a->mode = b->mode = CALL_HOLD;
    call(b, 1, a, "x", 1);
    RUN_UNTIL(a->held_count == 1);
    streams_answer(a->streams, a->held[0], p, 60000); /* more than b takes, as an answer */
    RUN_UNTIL(b->answers == 1);
    assert_int_equal(b->answer[1].err, ERR_TOO_LARGE);
    call(a, 3, b, p, 1);
    RUN_UNTIL(b->held_count == 1);
    streams_answer(b->streams, b->held[0], p, 60000); /* more than b may say */
    RUN_UNTIL(a->answers == 3);
    assert_int_equal(a->answer[3].err, ERR_CLOSED);
    free(p);
}

static void calls_beyond_calls_max_are_refused(void **state)
{
    (void)state;
    struct stream_config cfg = config();
    cfg.calls_max = 3;
    struct node *a = node_start(0, 0, &cfg), *b = node_start(1, 0, NULL);
    for (unsigned i = 0; i < 5; i++)
        call(a, i, b, "x", 1);
    assert_int_equal(a->answers, 0);
    RUN_UNTIL(a->answers == 5);
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(a->answer[i].err, i < 3 ? ERR_OK : ERR_FULL);
    call(a, 6, b, "x", 1);
    RUN_UNTIL(a->answers == 6);
    assert_int_equal(a->answer[6].err, ERR_OK);
}

static void another_mesh_s_node_is_not_admitted(void **state)
{
    (void)state;
    struct node *a = node_start(0, 1, NULL), *b = node_start(1, 2, NULL);
    call(a, 1, b, "x", 1);
    RUN_UNTIL(a->answers == 1);
    assert_int_equal(a->answer[1].err, ERR_AUTH);
    assert_int_equal(COUNTERS(b).unknown_key, 1);
    assert_int_equal(COUNTERS(b).calls_in, 0);
    struct tape t = {0};
    open_tape(a, b, &t, "x");
    assert_null(channel_peer(t.ch));
    RUN_UNTIL(t.closes == 1);
    assert_int_equal(t.err, ERR_AUTH);
}

static void a_second_mesh_key_admits_too(void **state)
{
    (void)state;
    struct mesh_keys old = {.count = 1, .key = {{1}}}, both = {.count = 2, .key = {{2}, {1}}};
    struct node *a = node_start_with(0, &old, NULL, &NODE_CALLBACKS);
    struct node *b = node_start_with(1, &both, NULL, &NODE_CALLBACKS);
    call(a, 1, b, "x", 1);
    RUN_UNTIL(a->answers == 1);
    assert_int_equal(a->answer[1].err, ERR_OK);
    call(b, 1, a, "x", 1); /* begins with the new key, which a lacks */
    RUN_UNTIL(b->answers == 1);
    assert_int_equal(b->answer[1].err, ERR_AUTH);
}

static void an_unexpected_node_gets_nothing(void **state)
{
    (void)state;
    struct node *a = node_start(0, 0, NULL), *b = node_start(1, 0, NULL),
                *c = node_start(2, 0, NULL);
    streams_call(a->streams, 1, &b->at, c->id, "x", 1, 10000);
    RUN_UNTIL(a->answers == 1);
    assert_int_equal(a->answer[1].err, ERR_AUTH);
    assert_int_equal(COUNTERS(a).wrong_peer, 1);
    streams_call(a->streams, 2, &b->at, 0, "x", 1, 10000); /* anyone */
    RUN_UNTIL(a->answers == 2);
    assert_int_equal(a->answer[2].err, ERR_OK);
    assert_true(a->answer[2].node == b->id);
    streams_call(a->streams, 3, &b->at, c->id, "x", 1,
                 10000); /* a kept connection doesn't do either */
    RUN_UNTIL(a->answers == 3);
    assert_int_equal(a->answer[3].err, ERR_AUTH);
    assert_int_equal(COUNTERS(b).calls_in, 1);
}

/* With one connection an address, taken by whom it isn't for. */
static void an_idle_connection_of_another_node_gives_way(void **state)
{
    (void)state;
    struct stream_config cfg = config();
    cfg.outbound_per_peer_max = 1;
    struct node *a = node_start(0, 0, &cfg), *b = node_start(1, 0, NULL),
                *c = node_start(2, 0, NULL);
    call(a, 1, b, "x", 1);
    streams_call(a->streams, 2, &b->at, c->id, "x", 1, 10000);
    call(a, 3, b, "x", 1);
    RUN_UNTIL(a->answers == 3);
    assert_int_equal(a->answer[1].err, ERR_OK);
    assert_int_equal(a->answer[2].err, ERR_AUTH);
    assert_int_equal(a->answer[3].err, ERR_OK);
}

static struct address closed_port(void)
{
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof sa;
    struct address a;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(fd >= 0 && bind(fd, (struct sockaddr *)&sa, sizeof sa) == 0 &&
                getsockname(fd, (struct sockaddr *)&sa, &len) == 0);
    close(fd);
    assert_int_equal(sockaddr_to((struct sockaddr *)&sa, &a), ERR_OK);
    return a;
}

static void where_nobody_listens_is_unreachable(void **state)
{
    (void)state;
    struct node *a = node_start(0, 0, NULL), nowhere = {.at = closed_port()};
    for (unsigned i = 0; i < 20; i++) /* more than connections: those that wait are told, too */
        call(a, i, &nowhere, "x", 1);
    struct tape t = {0};
    open_tape(a, &nowhere, &t, "x");
    RUN_UNTIL(a->answers == 20 && t.closes == 1);
    for (unsigned i = 0; i < 20; i++)
        assert_int_equal(a->answer[i].err, ERR_UNREACHABLE);
    assert_int_equal(t.err, ERR_UNREACHABLE);
    assert_int_equal(COUNTERS(a).connects_failed, 21);
    assert_int_equal(COUNTERS(a).outbound_now, 0);
}

static void an_answer_that_doesn_t_come_is_a_timeout(void **state)
{
    (void)state;
    struct node *a = node_start(0, 0, NULL), *b = node_start(1, 0, NULL);
    b->mode = CALL_HOLD;
    call_within(a, 1, b, "x", 1, 150);
    RUN_UNTIL(a->answers == 1);
    assert_int_equal(a->answer[1].err, ERR_TIMEOUT);
    RUN_UNTIL(COUNTERS(b).inbound_now == 0); /* its answer would be taken for the next call's */
    assert_int_equal(b->held_count, 1);
    streams_answer(b->streams, b->held[0], "late", 4);
    assert_int_equal(COUNTERS(b).answers_late, 1);
    b->mode = CALL_ECHO;
    call(a, 2, b, "x", 1);
    RUN_UNTIL(a->answers == 2);
    assert_int_equal(a->answer[2].err, ERR_OK);
    assert_int_equal(a->answer[1].count, 1);
}

static void calls_that_wait_for_a_connection_time_out_too(void **state)
{
    (void)state;
    struct node *a = node_start(0, 0, NULL), *b = node_start(1, 0, NULL);
    b->mode = CALL_HOLD;
    for (unsigned i = 0; i < 10; i++)
        call_within(a, i, b, "x", 1, 200);
    RUN_UNTIL(a->answers == 10);
    for (unsigned i = 0; i < 10; i++)
        assert_int_equal(a->answer[i].err, ERR_TIMEOUT);
    assert_int_equal(COUNTERS(a).calls_now, 0);
}

static void answers_come_in_any_order(void **state)
{
    (void)state;
    struct node *a = node_start(0, 0, NULL), *b = node_start(1, 0, NULL);
    b->mode = CALL_HOLD;
    for (unsigned i = 0; i < 4; i++)
        call(a, i, b, "x", 1);
    RUN_UNTIL(b->held_count == 4);
    for (unsigned i = 4; i-- > 0;)
        streams_answer(b->streams, b->held[i], "y", 1);
    streams_answer(b->streams, b->held[0], "twice", 5); /* once is enough */
    streams_answer(b->streams, 0, "none", 4);
    RUN_UNTIL(a->answers_ok == 4);
    assert_int_equal(COUNTERS(b).answers_late, 2);
}

static void a_peer_that_dies_during_a_call_closes_it(void **state)
{
    (void)state;
    struct node *a = node_start(0, 0, NULL), *b = node_start(1, 0, NULL);
    b->mode = CALL_HOLD;
    call(a, 1, b, "x", 1);
    RUN_UNTIL(b->held_count == 1);
    node_stop(b);
    RUN_UNTIL(a->answers == 1);
    assert_int_equal(a->answer[1].err, ERR_CLOSED);
}

static struct channel *first_inbound(struct node *n)
{
    struct channel *ch = n->streams->channels;
    while (ch && ch->direction != LINK_IN)
        ch = ch->next;
    return ch;
}

static void a_call_whose_kept_connection_breaks_is_sent_once_more(void **state)
{
    (void)state;
    struct node *a = node_start(0, 0, NULL), *b = node_start(1, 0, NULL);
    call(a, 1, b, "x", 1);
    RUN_UNTIL(a->answers == 1);
    b->mode = CALL_HOLD;
    call(a, 2, b, "x", 1);
    RUN_UNTIL(b->held_count == 1);
    link_reset(first_inbound(b));
    RUN_UNTIL(b->held_count == 2);
    assert_int_equal(a->answers, 1);
    streams_answer(b->streams, b->held[1], "y", 1);
    RUN_UNTIL(a->answers == 2);
    assert_int_equal(a->answer[2].err, ERR_OK);
    call(a, 3, b, "x", 1);
    for (unsigned i = 3; i <= 4; i++) { /* but not for ever */
        RUN_UNTIL(b->held_count == i);
        link_reset(first_inbound(b));
    }
    RUN_UNTIL(a->answers == 3);
    assert_int_equal(a->answer[3].err, ERR_CLOSED);
    assert_int_equal(b->held_count, 4);
}

static void connections_are_kept_for_a_while(void **state)
{
    (void)state;
    struct stream_config cfg = config();
    cfg.keep_ms = 50;
    struct node *a = node_start(0, 0, &cfg), *b = node_start(1, 0, NULL);
    call(a, 1, b, "x", 1);
    RUN_UNTIL(a->answers == 1);
    call(a, 2, b, "x", 1);
    RUN_UNTIL(a->answers == 2);
    assert_int_equal(COUNTERS(a).connects, 1);
    RUN_UNTIL(COUNTERS(a).outbound_now == 0 && COUNTERS(b).inbound_now == 0);
    assert_int_equal(COUNTERS(a).idle_closed, 1);
    cfg.idle_timeout_ms = 50;
    struct node *c = node_start(2, 0, &cfg);
    call(b, 1, c, "x", 1); /* b would keep it longer than c does */
    RUN_UNTIL(b->answers == 1);
    RUN_UNTIL(COUNTERS(b).outbound_now == 0);
    assert_int_equal(COUNTERS(c).idle_closed, 1);
}

static void an_answer_that_is_never_given_costs_the_connection_in_the_end(void **state)
{
    (void)state;
    struct stream_config cfg = config();
    cfg.idle_timeout_ms = 100;
    struct node *a = node_start(0, 0, NULL), *b = node_start(1, 0, &cfg);
    b->mode = CALL_HOLD;
    call(a, 1, b, "x", 1);
    RUN_UNTIL(a->answers == 1);
    assert_int_equal(a->answer[1].err, ERR_CLOSED);
    streams_answer(b->streams, b->held[0], "late", 4);
    assert_int_equal(COUNTERS(b).answers_late, 1);
}

static void connections_that_we_open_are_bounded(void **state)
{
    (void)state;
    struct stream_config cfg = config();
    cfg.outbound_max = 2;
    struct node *a = node_start(0, 0, &cfg), *b = node_start(1, 0, NULL),
                *c = node_start(2, 0, NULL);
    for (unsigned i = 0; i < 40; i++)
        call(a, i, i % 4 < 2 ? b : c, "x", 1);
    assert_int_equal(COUNTERS(a).outbound_now, 2);
    while (a->answers < 40) {
        const unsigned before = a->answers;
        RUN_UNTIL(a->answers > before);
        assert_true(COUNTERS(a).outbound_now <= 2);
    }
    assert_int_equal(a->answers_ok, 40);
    struct tape t[3] = {{0}};
    open_tape(a, b, &t[0], "x"); /* the kept ones give way */
    open_tape(a, c, &t[1], "x");
    assert_int_equal(
        streams_open(a->streams, &b->at, 0, "x", 1, 1000, &TAPE_HANDLER, &t[2], &t[2].ch),
        ERR_FULL);
    call(a, 50, b, "x", 1); /* waits until a channel ends */
    RUN_UNTIL(b->tapes == 1);
    assert_int_equal(a->answer[50].count, 0);
    channel_close(t[0].ch, CHANNEL_FLUSH);
    RUN_UNTIL(a->answer[50].count == 1);
    assert_int_equal(a->answer[50].err, ERR_OK);
    channel_close(t[1].ch, CHANNEL_NOW);
}

/* ---- Channels -------------------------------------------------------------------------------- */

static void a_channel_carries_messages_both_ways_in_order(void **state)
{
    (void)state;
    enum { MESSAGES = 300 };
    struct node *a = node_start(0, 0, NULL), *b = node_start(1, 0, NULL);
    struct tape t = {0};
    open_tape(a, b, &t, "open");
    for (size_t i = 0; i < MESSAGES; i++) /* before it is connected, too */
        send_numbered(&t, i, 8 + i * 7);
    RUN_UNTIL(b->tapes == 1 && b->tape[0].messages == 1 + MESSAGES);
    assert_int_equal(b->tape[0].in_order, MESSAGES);
    assert_true(channel_peer(t.ch)->node == b->id);
    assert_true(channel_peer(b->tape[0].ch)->node == a->id);
    for (size_t i = 0; i < MESSAGES; i++)
        send_numbered(&b->tape[0], i, 8 + i * 7);
    RUN_UNTIL(t.messages == MESSAGES);
    assert_int_equal(t.in_order, MESSAGES);
    assert_int_equal(channel_queued(t.ch), 0);
    channel_close(t.ch, CHANNEL_FLUSH);
    RUN_UNTIL(b->tape[0].closes == 1);
    assert_int_equal(b->tape[0].err, ERR_CLOSED);
    RUN_UNTIL(COUNTERS(a).outbound_now == 0 && COUNTERS(b).inbound_now == 0);
    assert_int_equal(t.closes, 0); /* who closes is told no more */
    free(t.last);
}

static void closing_with_flush_delivers_everything_first(void **state)
{
    (void)state;
    struct node *a = node_start(0, 0, NULL), *b = node_start(1, 0, NULL);
    struct tape t = {0};
    open_tape(a, b, &t, "open"); /* at once, before it is connected */
    for (size_t i = 0; i < 20; i++)
        send_numbered(&t, i, 100000);
    channel_close(t.ch, CHANNEL_FLUSH);
    RUN_UNTIL(b->tapes == 1 && b->tape[0].closes == 1);
    assert_int_equal(b->tape[0].err, ERR_CLOSED);
    assert_int_equal(b->tape[0].in_order, 20);

    open_tape(a, b, &t, "open"); /* by the one who accepted */
    RUN_UNTIL(b->tapes == 2);
    for (size_t i = 0; i < 20; i++)
        send_numbered(&b->tape[1], i, 100000);
    channel_close(b->tape[1].ch, CHANNEL_FLUSH);
    RUN_UNTIL(t.closes == 1);
    assert_int_equal(t.err, ERR_CLOSED);
    assert_int_equal(t.in_order, 20);
    free(t.last);
}

static void closing_now_breaks_the_connection(void **state)
{
    (void)state;
    struct node *a = node_start(0, 0, NULL), *b = node_start(1, 0, NULL);
    struct tape t = {0};
    open_tape(a, b, &t, "open");
    RUN_UNTIL(b->tapes == 1);
    channel_close(t.ch, CHANNEL_NOW);
    RUN_UNTIL(b->tape[0].closes == 1);
    assert_int_equal(b->tape[0].err, ERR_IO);
    open_tape(a, b, &t, "open"); /* before it is connected */
    channel_close(t.ch, CHANNEL_NOW);
    call(a, 1, b, "x", 1);
    RUN_UNTIL(a->answers == 1);
    assert_int_equal(b->tapes, 1);
}

static void a_channel_that_is_not_accepted_is_closed(void **state)
{
    (void)state;
    struct stream_callbacks none = NODE_CALLBACKS;
    none.on_open = NULL;
    none.on_call = NULL;
    struct mesh_keys keys = {.count = 1};
    memset(keys.key[0], 0x80, MESH_KEY_SIZE);
    struct node *a = node_start(0, 0, NULL), *b = node_start(1, 0, NULL);
    struct node *c = node_start_with(2, &keys, NULL, &none);
    struct tape t = {0}, u = {0};
    b->refuse_channels = true;
    open_tape(a, b, &t, "open");
    open_tape(a, c, &u, "open");
    call(a, 1, c, "x", 1);
    RUN_UNTIL(t.closes == 1 && u.closes == 1 && a->answers == 1);
    assert_int_equal(t.err, ERR_CLOSED);
    assert_int_equal(u.err, ERR_CLOSED);
    assert_int_equal(a->answer[1].err, ERR_CLOSED);
}

static void a_slow_reader_holds_the_sender_back(void **state)
{
    (void)state;
    enum { MESSAGES = 400, SIZE = 60000 };
    struct stream_config cfg = config();
    cfg.queue_bytes_max = 256 * 1024;
    struct node *a = node_start(0, 0, &cfg), *b = node_start(1, 0, NULL);
    struct tape t = {0};
    size_t sent = 0;
    open_tape(a, b, &t, "open");
    RUN_UNTIL(b->tapes == 1);
    channel_pause(b->tape[0].ch);
    bool full = false;
    while (!full || t.drains > 0) { /* until the system's buffers are full, too */
        t.drains = 0;
        full = false;
        while (sent < MESSAGES && !full)
            full = try_send_numbered(&t, sent, SIZE) == ERR_FULL || !++sent;
        assert_true(channel_queued(t.ch) <= cfg.queue_bytes_max);
        assert_true(full); /* MESSAGES are more than they hold */
        run_for(50);
    }
    assert_int_equal(b->tape[0].in_order, 0);
    channel_resume(b->tape[0].ch);
    while (sent < MESSAGES) {
        RUN_UNTIL(t.drains > 0);
        assert_true(channel_queued(t.ch) <= cfg.queue_bytes_max / 2);
        t.drains = 0;
        while (sent < MESSAGES && try_send_numbered(&t, sent, SIZE) == ERR_OK)
            sent++;
    }
    RUN_UNTIL(b->tape[0].in_order == MESSAGES);
    channel_close(t.ch, CHANNEL_NOW);
}

static void a_message_larger_than_the_queue_is_taken_when_it_is_empty(void **state)
{
    (void)state;
    struct stream_config cfg = config();
    cfg.queue_bytes_max = 1000;
    struct node *a = node_start(0, 0, &cfg), *b = node_start(1, 0, NULL);
    struct tape t = {0};
    open_tape(a, b, &t, "open");
    assert_int_equal(try_send_numbered(&t, 0, 500000), ERR_FULL);
    RUN_UNTIL(t.drains == 1);
    assert_int_equal(channel_queued(t.ch), 0);
    send_numbered(&t, 0, 500000);
    assert_int_equal(try_send_numbered(&t, 1, 8), ERR_FULL);
    assert_int_equal(try_send_numbered(&t, 1, 2000000), ERR_TOO_LARGE);
    RUN_UNTIL(t.drains == 2);
    send_numbered(&t, 1, 8);
    RUN_UNTIL(b->tape[0].in_order == 2);
    channel_close(t.ch, CHANNEL_NOW);
}

static void a_paused_channel_says_nothing_until_resumed(void **state)
{
    (void)state;
    struct node *a = node_start(0, 0, NULL), *b = node_start(1, 0, NULL);
    struct tape t = {.pause_at_each = true};
    open_tape(a, b, &t, "open");
    RUN_UNTIL(b->tapes == 1);
    for (size_t i = 0; i < 5; i++)
        send_numbered(&b->tape[0], i, 8);
    channel_close(b->tape[0].ch, CHANNEL_FLUSH);
    for (size_t i = 1; i <= 5; i++) { /* they came at once, and are told one by one */
        RUN_UNTIL(t.messages == i);
        run_for(20);
        assert_int_equal(t.messages, i);
        assert_int_equal(t.closes, 0);
        channel_resume(t.ch);
        assert_int_equal(t.messages, i); /* not inside */
    }
    RUN_UNTIL(t.closes == 1);
    assert_int_equal(t.in_order, 5);
    assert_int_equal(t.err, ERR_CLOSED);
    free(t.last);
}

static void what_came_before_a_reset_is_still_told(void **state)
{
    (void)state;
    struct stream_config cfg = config();
    cfg.linger_ms = 50;
    struct node *a = node_start(0, 0, NULL), *b = node_start(1, 0, &cfg);
    struct tape t = {0};
    open_tape(a, b, &t, "open");
    RUN_UNTIL(b->tapes == 1);
    channel_pause(t.ch);
    send_numbered(&b->tape[0], 0, 8);
    channel_close(b->tape[0].ch, CHANNEL_FLUSH);
    RUN_UNTIL(COUNTERS(b).inbound_now == 0); /* it has waited for our end long enough */
    while (!t.ch->broken) {                  /* nobody reads these any more */
        send_numbered(&t, 0, 8);
        run_for(5);
    }
    send_numbered(&t, 0, 8);
    assert_int_equal(t.closes, 0);
    channel_resume(t.ch);
    RUN_UNTIL(t.closes == 1);
    assert_int_equal(t.in_order, 1);
    assert_int_equal(t.err, ERR_CLOSED);
    free(t.last);
}

static void closing_does_not_wait_for_a_reader_that_never_reads(void **state)
{
    (void)state;
    struct stream_config cfg = config();
    cfg.linger_ms = 100;
    struct node *a = node_start(0, 0, &cfg), *b = node_start(1, 0, NULL);
    struct tape t = {0};
    open_tape(a, b, &t, "open");
    RUN_UNTIL(b->tapes == 1);
    channel_pause(b->tape[0].ch);
    size_t sent = 0;
    do {
        while (try_send_numbered(&t, sent, 1000000) == ERR_OK)
            sent++;
        run_for(20);
    } while (t.drains > 0 && (t.drains = 0, true));
    channel_close(t.ch, CHANNEL_FLUSH);
    RUN_UNTIL(COUNTERS(a).outbound_now == 0);
    channel_resume(b->tape[0].ch);
    RUN_UNTIL(b->tape[0].closes == 1);
    assert_int_equal(b->tape[0].err, ERR_IO); /* cut short, and it knows */
    assert_true(b->tape[0].in_order < sent);
}

/* ---- The end of it all ----------------------------------------------------------------------- */

static void closing_ends_everything_once(void **state)
{
    (void)state;
    struct node *a = node_start(0, 0, NULL), *b = node_start(1, 0, NULL),
                nowhere = {.at = closed_port()};
    struct tape t[3] = {{0}};
    b->mode = CALL_HOLD;
    call(a, 0, b, "kept", 4);
    RUN_UNTIL(b->held_count == 1);
    streams_answer(b->streams, b->held[0], "x", 1);
    RUN_UNTIL(a->answers == 1);
    for (unsigned i = 1; i <= 10; i++) /* under way, and waiting */
        call(a, i, b, "x", 1);
    RUN_UNTIL(b->held_count == 5);
    call(b, 1, a, "x", 1);
    open_tape(a, b, &t[0], "x");
    RUN_UNTIL(b->tapes == 1 && b->answers == 1);
    call(a, 11, &nowhere, "x", 1); /* connecting, refused, queued, lingering */
    call(a, 12, b, NULL, 2000000);
    open_tape(a, b, &t[1], "x");
    send_numbered(&t[0], 0, 500000);
    open_tape(a, b, &t[2], "x");
    channel_close(t[2].ch, CHANNEL_FLUSH);
    node_stop(a);
    assert_int_equal(a->answers, 13);
    for (unsigned i = 1; i <= 12; i++) {
        assert_int_equal(a->answer[i].count, 1);
        assert_int_equal(a->answer[i].err, i == 12 ? ERR_TOO_LARGE : ERR_CLOSED);
    }
    assert_int_equal(t[0].closes, 1);
    assert_int_equal(t[0].err, ERR_CLOSED);
    assert_int_equal(t[1].closes, 1);
    assert_int_equal(t[2].closes, 0);
    RUN_UNTIL(b->tape[0].closes == 1 && COUNTERS(b).inbound_now == 0);
    streams_answer(b->streams, b->held[1], "late", 4);
}

static void close_inside(void *ctx, uint64_t conn, const struct stream_peer *peer, const void *p,
                         size_t len)
{
    struct node *n = ctx;
    (void)peer, (void)p, (void)len;
    streams_answer(n->streams, conn, "bye", 3);
    streams_close(&n->streams, NULL);
}

static void closing_inside_a_callback_is_fine(void **state)
{
    (void)state;
    struct stream_callbacks cb = NODE_CALLBACKS;
    struct mesh_keys keys = {.count = 1};
    memset(keys.key[0], 0x80, MESH_KEY_SIZE);
    cb.on_call = close_inside;
    struct node *a = node_start(0, 0, NULL), *b = node_start_with(1, &keys, NULL, &cb);
    call(a, 1, b, "x", 1);
    RUN_UNTIL(a->answers == 1);
    assert_null(b->streams);
}

static void a_bad_address_to_listen_at_is_told(void **state)
{
    (void)state;
    struct node *a = node_start(0, 0, NULL);
    struct streams *s = NULL;
    struct address other;
    assert_int_equal(streams_new(&s, &loop, a->crypto, &a->at, NULL, &NODE_CALLBACKS, NULL),
                     ERR_EXISTS);
    assert_int_equal(address_parse("192.0.2.1:0", &other), ERR_OK);
    assert_int_equal(streams_new(&s, &loop, a->crypto, &other, NULL, &NODE_CALLBACKS, NULL),
                     ERR_UNREACHABLE);
    assert_null(s);
}

static void addresses_pass_to_the_system_and_back(void **state)
{
    (void)state;
    static const char *const texts[] = {"127.0.0.1:80", "[::1]:7777", "0.0.0.0:0", "[::]:1",
                                        "[2001:db8::1]:65535"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct address in, out;
        struct sockaddr_storage sa;
        assert_int_equal(address_parse(texts[i], &in), ERR_OK);
        sockaddr_from(&in, &sa);
        assert_int_equal(sa.ss_family, texts[i][0] == '[' ? AF_INET6 : AF_INET);
        assert_int_equal(sockaddr_to((struct sockaddr *)&sa, &out), ERR_OK);
        assert_true(address_equal(&in, &out));
    }
    struct sockaddr_storage local = {.ss_family = AF_UNIX};
    struct address out;
    assert_int_equal(sockaddr_to((struct sockaddr *)&local, &out), ERR_UNSUPPORTED);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, nodes_set_up, nodes_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_call_is_answered_by_a_proven_peer),
        TEST(calls_go_both_ways_in_parallel_over_few_connections),
        TEST(several_nodes_call_each_other),
        TEST(a_node_may_call_itself),
        TEST(messages_of_every_size_arrive_whole),
        TEST(a_message_beyond_the_receiver_s_limit_ends_its_call_alone),
        TEST(calls_beyond_calls_max_are_refused),
        TEST(another_mesh_s_node_is_not_admitted),
        TEST(a_second_mesh_key_admits_too),
        TEST(an_unexpected_node_gets_nothing),
        TEST(an_idle_connection_of_another_node_gives_way),
        TEST(where_nobody_listens_is_unreachable),
        TEST(an_answer_that_doesn_t_come_is_a_timeout),
        TEST(calls_that_wait_for_a_connection_time_out_too),
        TEST(answers_come_in_any_order),
        TEST(a_peer_that_dies_during_a_call_closes_it),
        TEST(a_call_whose_kept_connection_breaks_is_sent_once_more),
        TEST(connections_are_kept_for_a_while),
        TEST(an_answer_that_is_never_given_costs_the_connection_in_the_end),
        TEST(connections_that_we_open_are_bounded),
        TEST(a_channel_carries_messages_both_ways_in_order),
        TEST(closing_with_flush_delivers_everything_first),
        TEST(closing_now_breaks_the_connection),
        TEST(a_channel_that_is_not_accepted_is_closed),
        TEST(a_slow_reader_holds_the_sender_back),
        TEST(a_message_larger_than_the_queue_is_taken_when_it_is_empty),
        TEST(a_paused_channel_says_nothing_until_resumed),
        TEST(what_came_before_a_reset_is_still_told),
        TEST(closing_does_not_wait_for_a_reader_that_never_reads),
        TEST(closing_ends_everything_once),
        TEST(closing_inside_a_callback_is_fine),
        TEST(a_bad_address_to_listen_at_is_told),
        TEST(addresses_pass_to_the_system_and_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
