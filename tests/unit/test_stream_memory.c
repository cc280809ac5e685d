/* node/loop/stream without memory: fail the n-th allocation, then the n+1-th, until none fails any
 * more. Each call still has one answer and each channel one end, and nothing is left over. Linked
 * with --wrap=malloc and the like, so that what streams ask for comes here. */
#define _GNU_SOURCE
#include "tests/unit/stream_nodes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *p, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *p, size_t size);

static unsigned long allocations, fail_at; /* 0: none */

static bool fails(void)
{
    return fail_at > 0 && ++allocations == fail_at;
}

void *__wrap_malloc(size_t size)
{
    return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fails() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *p, size_t size)
{
    return fails() ? NULL : __real_realloc(p, size);
}

enum { CALLS = 3, BIG = 100000 };
static uint8_t big[BIG];

/* What the story has come to; nothing in it allocates. */
static struct {
    unsigned answers[CALLS], answered, good;
    struct channel *ours, *theirs;
    unsigned our_ends, their_ends, messages;
} seen;

static void on_answer(void *ctx, uint64_t id, enum err err, const struct stream_peer *peer,
                      const void *p, size_t len)
{
    (void)ctx, (void)peer, (void)p, (void)len;
    seen.answers[id]++;
    seen.answered++;
    seen.good += err == ERR_OK;
}

static void on_call(void *ctx, uint64_t conn, const struct stream_peer *peer, const void *p,
                    size_t len)
{
    struct node *n = ctx;
    (void)peer;
    streams_answer(n->streams, conn, p, len);
}

static void on_message(void *ctx, struct channel *ch, const void *p, size_t len)
{
    (void)ctx, (void)p, (void)len;
    seen.messages++;
    if (ch != seen.theirs)
        return;
    seen.theirs = NULL;
    seen.their_ends++;
    channel_close(ch, channel_send(ch, big, BIG) == ERR_OK ? CHANNEL_FLUSH : CHANNEL_NOW);
}

static void on_closed(void *ctx, struct channel *ch, enum err err)
{
    (void)ctx, (void)err;
    assert_true(ch == seen.ours || ch == seen.theirs);
    if (ch == seen.ours) {
        seen.ours = NULL;
        seen.our_ends++;
    } else {
        seen.theirs = NULL;
        seen.their_ends++;
    }
}

static const struct channel_handler HANDLER = {.on_message = on_message, .on_closed = on_closed};

static void on_open(void *ctx, struct channel *ch, const struct stream_peer *peer, const void *p,
                    size_t len)
{
    (void)ctx, (void)peer, (void)p, (void)len;
    assert_null(seen.theirs);
    seen.theirs = ch;
    channel_accept(ch, &HANDLER, NULL);
}

/* Calls on new and kept connections; a channel with large messages both ways, which its acceptor
 * closes. */
static void story(struct node *a, struct node *b)
{
    memset(&seen, 0, sizeof seen);
    streams_call(a->streams, 0, &b->at, b->id, big, BIG, 10000);
    RUN_UNTIL(seen.answered == 1);
    streams_call(a->streams, 1, &b->at, b->id, "x", 1, 10000);
    streams_call(a->streams, 2, &b->at, b->id, big, BIG, 10000);
    enum err err =
        streams_open(a->streams, &b->at, b->id, "open", 4, 10000, &HANDLER, NULL, &seen.ours);
    if (!err && channel_send(seen.ours, big, BIG)) {
        channel_close(seen.ours, CHANNEL_NOW);
        seen.ours = NULL;
        err = ERR_NOMEM;
    }
    RUN_UNTIL(seen.answered == CALLS && (err || seen.our_ends == 1));
}

static void every_allocation_may_fail_once(void **state)
{
    (void)state;
    const struct stream_callbacks cb = {
        .on_answer = on_answer, .on_call = on_call, .on_open = on_open};
    struct mesh_keys keys = {.count = 1, .key = {{1}}};
    unsigned long n = 0;
    do {
        struct node *a = node_start_with(0, &keys, NULL, &cb),
                    *b = node_start_with(1, &keys, NULL, &cb);
        allocations = 0;
        fail_at = ++n;
        story(a, b);
        fail_at = 0;
        for (unsigned i = 0; i < CALLS; i++)
            assert_int_equal(seen.answers[i], 1);
        assert_true(seen.our_ends <= 1);
        node_stop(a);
        node_stop(b);
        assert_null(seen.ours);
        assert_null(seen.theirs);
    } while (allocations >= n);
    assert_true(n > 20);
    assert_int_equal(seen.good, CALLS); /* the last time nothing failed */
    assert_int_equal(seen.messages, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_allocation_may_fail_once, nodes_set_up,
                                        nodes_tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
