/* What this node's guests take of it. The engine says which run; /proc, read in a worker, says the rest. */
#define _GNU_SOURCE
#include "node/loop/control_internal.h"

#include "node/runtime/usage.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct looked { /* a run */
    struct unit_id id;
    bool there;
    struct control_usage row;
};

struct top {
    char units_dir[4096];
    uint32_t count, size;
    struct looked *runs;
};

static void top_free(struct top *t)
{
    free(t->runs);
    free(t);
}

static void top_cancel(struct conn *c, void *task)
{
    (void)c;
    top_free(task);
}

static void note_run(void *ctx, const struct run_view *v)
{
    struct top *t = ctx;
    if (t->count == t->size) {
        uint32_t size = t->size ? 2 * t->size : 64;
        struct looked *more = realloc(t->runs, size * sizeof *more);
        if (more == NULL)
            return; /* the others are told */
        t->runs = more;
        t->size = size;
    }
    struct looked *r = &t->runs[t->count++];
    *r = (struct looked){.id = v->id};
    r->row.slot = v->id.slot;
    r->row.pid = v->pid;
    r->row.memory_mib = v->reserved_mib;
}

static void name_app(void *ctx, const struct app_view *v)
{
    struct top *t = ctx;
    for (uint32_t i = 0; i < t->count; i++)
        if (uid_equal(&t->runs[i].id.app, &v->uid))
            memcpy(t->runs[i].row.app, v->spec.name, sizeof t->runs[i].row.app);
}

static void top_look(void *task)
{
    struct top *t = task;
    for (uint32_t i = 0; i < t->count; i++) {
        struct looked *r = &t->runs[i];
        struct usage u;
        struct timespec now;
        r->there = usage_read(t->units_dir, &r->id, r->row.pid, &u);
        clock_gettime(CLOCK_BOOTTIME, &now);
        r->row.at_ms = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
        r->row.cpu_ms = u.cpu_ms;
        r->row.rss_kib = u.rss_kib;
        r->row.in_bytes = u.in_bytes;
        r->row.in_packets = u.in_packets;
        r->row.out_bytes = u.out_bytes;
        r->row.out_packets = u.out_packets;
    }
}

static int by_name(const void *a, const void *b)
{
    const struct control_usage *p = &((const struct looked *)a)->row, *q = &((const struct looked *)b)->row;
    int names = strcmp(p->app, q->app);
    return names ? names : (int)p->slot - (int)q->slot;
}

static void top_looked(struct conn *c, void *task)
{
    struct top *t = task;
    if (t->count > 0)
        qsort(t->runs, t->count, sizeof t->runs[0], by_name);
    for (uint32_t i = 0; i < t->count; i++) {
        const struct control_message m = {.type = CONTROL_USAGE, .usage = t->runs[i].row};
        if (t->runs[i].there)
            conn_send(c, &m);
    }
    top_free(t);
    conn_end(c, ERR_OK, "ok");
}

static const struct conn_task top_ops = {.cancel = top_cancel};

void control_top(struct conn *c)
{
    struct top *t = calloc(1, sizeof *t);
    if (t == NULL) {
        conn_end(c, ERR_NOMEM, "the node is out of memory");
        return;
    }
    node_units_dir(c->control->node, t->units_dir, sizeof t->units_dir);
    engine_each_run(node_engine(c->control->node), note_run, t);
    engine_each_app(node_engine(c->control->node), name_app, t);
    conn_begin(c, &top_ops, t);
    conn_work(c, top_look, top_looked);
}
