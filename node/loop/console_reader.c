#define _GNU_SOURCE
#include "node/loop/console_reader.h"

#include <stdlib.h>
#include <string.h>

enum {
    READ_BYTES = 32 * 1024,
    READS_A_TURN = 8 /* then the loop's others have theirs */
};

struct console_reader {
    struct node *node;
    struct unit_id run;
    uint32_t lines;
    uint64_t offset, skipped;
    enum logs_mode mode;
    struct console_reader_callbacks cb;
    void *ctx;
    struct console_watch *watch;
    uv_timer_t timer; /* for the next turn */
    bool begun, paused, over, closed;
};

static void on_turn(uv_timer_t *t);

static void turn_soon(struct console_reader *r)
{
    if (!r->over && !r->closed)
        uv_timer_start(&r->timer, on_turn, 0, 0);
}

static void over(struct console_reader *r, enum err err)
{
    r->over = true;
    if (r->watch)
        runtime_console_unwatch(&r->watch);
    r->cb.on_over(r->ctx, err);
}

static void on_more(void *ctx)
{
    struct console_reader *r = ctx;
    if (!r->paused)
        turn_soon(r);
}

/* Where it is that we read: it runs, or is not forgotten; or it is kept. */
static enum err tail(struct console_reader *r)
{
    struct runtime *rt = node_runtime(r->node);
    enum err err = rt ? runtime_console_tail(rt, &r->run, r->lines, &r->offset) : ERR_NOT_FOUND;
    return err == ERR_NOT_FOUND
               ? consoles_tail(node_consoles(r->node), &r->run, r->lines, &r->offset)
               : err;
}

static enum err read_some(struct console_reader *r, void *out, size_t size, size_t *got,
                          uint64_t *skipped, uint64_t *next, int *ended)
{
    struct runtime *rt = node_runtime(r->node);
    enum err err = ERR_NOT_FOUND;
    if (rt)
        err = runtime_console_read(rt, &r->run, r->offset, out, size, got, skipped, next, ended);
    if (err != ERR_NOT_FOUND)
        return err;
    *ended = 1;
    return consoles_read(node_consoles(r->node), &r->run, r->offset, out, size, got, skipped, next);
}

static enum err begin(struct console_reader *r)
{
    struct runtime *rt = node_runtime(r->node);
    enum err err = r->lines != UINT32_MAX ? tail(r) : ERR_OK;
    r->begun = true;
    if (!err && rt && r->mode == LOGS_FOLLOW) {
        err = runtime_console_watch(rt, &r->run, on_more, r, &r->watch);
        if (err == ERR_NOT_FOUND) /* it may be kept: the reading tells */
            err = ERR_OK;
    }
    return err;
}

/* One piece. False: no more this turn. */
static bool read_one(struct console_reader *r)
{
    uint8_t bytes[READ_BYTES];
    size_t got = 0;
    uint64_t skipped = 0, next = r->offset;
    int ended = 0;
    enum err err = read_some(r, bytes, sizeof bytes, &got, &skipped, &next, &ended);
    if (err) { /* what we have been reading is forgotten when its end is on disk */
        over(r, err == ERR_NOT_FOUND && r->mode == LOGS_FOLLOW && r->watch ? ERR_OK : err);
        return false;
    }
    if (got == 0) {
        r->skipped += skipped;
        r->offset = next;
        if (ended || r->mode == LOGS_ONCE)
            over(r, ERR_OK);
        return false;
    }
    if (!r->cb.on_bytes(r->ctx, next - got, r->skipped + skipped, bytes, got)) {
        r->paused = true;
        return false;
    }
    r->offset = next;
    r->skipped = 0;
    return !r->paused && !r->closed;
}

static void on_turn(uv_timer_t *t)
{
    struct console_reader *r = t->data;
    if (r->over || r->closed || r->paused)
        return;
    enum err err = r->begun ? ERR_OK : begin(r);
    if (err) {
        over(r, err);
        return;
    }
    for (unsigned i = 0; i < READS_A_TURN; i++)
        if (!read_one(r))
            return;
    turn_soon(r);
}

enum err console_reader_new(struct console_reader **out, struct node *n, const struct unit_id *run,
                            uint32_t lines, uint64_t offset, enum logs_mode mode,
                            const struct console_reader_callbacks *cb, void *ctx)
{
    struct console_reader *r = calloc(1, sizeof *r);
    if (!r)
        return ERR_NOMEM;
    *r = (struct console_reader){.node = n,
                                 .run = *run,
                                 .lines = lines,
                                 .offset = offset,
                                 .mode = mode,
                                 .cb = *cb,
                                 .ctx = ctx};
    CHECK(uv_timer_init(node_loop(n), &r->timer) == 0);
    r->timer.data = r;
    turn_soon(r);
    *out = r;
    return ERR_OK;
}

void console_reader_pause(struct console_reader *r)
{
    r->paused = true;
}

void console_reader_resume(struct console_reader *r)
{
    if (!r->paused)
        return;
    r->paused = false;
    turn_soon(r);
}

static void on_timer_closed(uv_handle_t *h)
{
    free(h->data);
}

void console_reader_close(struct console_reader **pr)
{
    struct console_reader *r = *pr;
    *pr = NULL;
    if (!r)
        return;
    r->closed = true;
    if (r->watch)
        runtime_console_unwatch(&r->watch);
    uv_close((uv_handle_t *)&r->timer, on_timer_closed);
}
