/* What the engine asks of volumes, done by a worker: a large one takes its time, and neither the loop nor the store's
 * thread, which everybody's writes wait for, is to stand still for it. */
#define _GNU_SOURCE
#include "node/loop/node_internal.h"

#include "node/runtime/volume.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct volume_job {
    struct node *node;
    uv_work_t work;
    enum effect_kind kind;
    struct unit_id id;
    char dir[OPTION_PATH_SIZE + 16], app[NAME_SIZE];
    uint32_t count, quota_mib;
    struct block_ref blocks[BLOCKS_MAX];
    enum err err;
    char why[REASON_SIZE];
};

/* One at a time: each sees what the others took of the quota. */
static pthread_mutex_t making = PTHREAD_MUTEX_INITIALIZER;

static void on_work(uv_work_t *w)
{
    struct volume_job *j = w->data;
    pthread_mutex_lock(&making);
    if (j->kind == EFFECT_VOLUME_MAKE)
        j->err = volume_make(j->dir, &j->id, j->app, j->blocks, j->count, j->quota_mib, j->why, sizeof j->why);
    else if (j->kind == EFFECT_VOLUME_DROP)
        j->err = volume_drop(j->dir, &j->id);
    else
        j->err = volume_check(j->dir, &j->id, j->blocks, j->count, j->quota_mib, j->why, sizeof j->why);
    pthread_mutex_unlock(&making);
}

static void on_worked(uv_work_t *w, int status)
{
    struct volume_job *j = w->data;
    struct event ev = {.kind = EVENT_VOLUME, .unit = j->id, .err = j->err, .text = j->why};
    (void)status;
    if (j->err && !j->why[0])
        snprintf(j->why, sizeof j->why, "%s", err_text(j->err));
    if (j->err)
        node_log(j->node, LOG_WARN, "volume.failed", "app=%s slot=%u what=\"%s\"", j->app, j->id.slot, j->why);
    else if (j->kind == EFFECT_VOLUME_MAKE)
        node_log(j->node, LOG_INFO, "volume.made", "app=%s slot=%u volume=%llx", j->app, j->id.slot,
                 (unsigned long long)j->id.epoch);
    if (j->kind != EFFECT_VOLUME_DROP)
        node_step(j->node, &ev); /* of a node that ends: nothing */
    free(j);
}

void volumes_see(struct node *n, const struct effect *f)
{
    if (f->kind == EFFECT_VOLUME_FETCH) {
        volume_fetch(n, f);
        return;
    }
    struct volume_job *j = calloc(1, sizeof *j);
    CHECK(j && f->start.block_count <= BLOCKS_MAX);
    j->node = n;
    j->kind = f->kind;
    j->id = f->unit;
    j->count = f->start.block_count;
    j->quota_mib = n->options->volumes_mib;
    if (j->count > 0)
        memcpy(j->blocks, f->start.blocks, j->count * sizeof j->blocks[0]);
    snprintf(j->app, sizeof j->app, "%s", f->start.app ? f->start.app : "");
    snprintf(j->dir, sizeof j->dir, "%s/volumes", n->options->state_dir);
    j->work.data = j;
    CHECK(uv_queue_work(n->loop, &j->work, on_work, on_worked) == 0);
}

static void volume_found(void *ctx, const struct volume_info *v)
{
    struct node *n = ctx;
    engine_volume(n->engine, &v->id);
}

enum err volumes_begin(struct node *n, char *why, size_t size)
{
    char dir[OPTION_PATH_SIZE + 16];
    snprintf(dir, sizeof dir, "%s/volumes", n->options->state_dir);
    enum err err = volumes_open(dir);
    if (err)
        snprintf(why, size, "%.300s: %s", dir, err_text(err));
    else
        volumes_each(dir, volume_found, n);
    return err;
}
