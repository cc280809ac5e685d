/* A volume is carried here: each device compared with the original piece by piece, over a channel a device
 * (volume_service.h, DIFF), and what differs is written. The copy lies aside until the last pass has ended well. */
#define _GNU_SOURCE
#include "node/loop/node_internal.h"

#include "node/loop/volume_service.h"
#include "store/disk.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { STALL_MS = 30000 };

struct carrying {
    struct node *node;
    char dir[OPTION_PATH_SIZE + 16], app[NAME_SIZE];
    struct unit_id id;
    node_id peer;
    uint64_t theirs; /* the number that the volume has there */
    enum volume_pass pass;
    uint32_t count, device, quota_mib; /* of the blocks, the one that is at it */
    struct block_ref blocks[BLOCKS_MAX];
    struct channel *channel; /* NULL: there is none */
    enum carrying_step { STEP_OPEN, STEP_SIZE, STEP_WRITE, STEP_SYNC } step;
    uv_work_t work;
    uv_timer_t stall;
    bool busy, over;
    int fd;
    uint64_t size, next; /* bytes; the first piece that hasn't been compared */
    uint32_t hash_count, piece_count;
    uint8_t hashes[VOLUME_BATCH * VOLUME_HASH];
    struct piece {
        uint64_t offset;
        size_t len;
    } pieces[VOLUME_BATCH];
    uint8_t *bytes; /* VOLUME_BATCH pieces */
    enum err err;
    char text[VOLUME_TEXT];
};

static void on_timer_closed(uv_handle_t *h)
{
    struct carrying *c = h->data;
    free(c->bytes);
    free(c);
}

static void carrying_end(struct carrying *c, enum err err, const char *text)
{
    struct event ev = {.kind = EVENT_VOLUME_FETCHED, .unit = c->id, .id = (uint64_t)c->pass, .err = err, .text = text};
    CHECK(!c->busy);
    c->over = true;
    if (c->channel)
        channel_close(c->channel, CHANNEL_NOW);
    c->channel = NULL;
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
    if (err)
        node_log(c->node, LOG_WARN, "volume.failed", "app=%s slot=%u what=\"%s\"", c->app, c->id.slot, text);
    else if (c->pass == VOLUME_LAST_PASS)
        node_log(c->node, LOG_INFO, "volume.carried", "app=%s slot=%u volume=%llx", c->app, c->id.slot,
                 (unsigned long long)c->id.epoch);
    node_step(c->node, &ev); /* of a node that ends: nothing */
    uv_close((uv_handle_t *)&c->stall, on_timer_closed);
}

/* ---- On a worker --------------------------------------------------------------------------------- */

static void pieces_hash(struct carrying *c)
{
    uint64_t pieces = (c->size + VOLUME_CHUNK - 1) / VOLUME_CHUNK;
    uint32_t n = 0;
    for (; n < VOLUME_BATCH && c->next + n < pieces && !c->err; n++) {
        size_t got;
        c->err = disk_read_at(c->fd, c->bytes, VOLUME_CHUNK, (c->next + n) * VOLUME_CHUNK, &got);
        volume_hash(c->bytes, got, c->hashes + (size_t)n * VOLUME_HASH);
    }
    c->hash_count = n;
}

static void pieces_write(struct carrying *c)
{
    for (uint32_t i = 0; i < c->piece_count && !c->err; i++)
        c->err = disk_write_at(c->fd, c->bytes + (size_t)i * VOLUME_CHUNK, c->pieces[i].len, c->pieces[i].offset);
    c->piece_count = 0;
    c->next += c->hash_count;
}

static void on_work(uv_work_t *w)
{
    struct carrying *c = w->data;
    const struct block_ref *b = &c->blocks[c->device];
    switch (c->step) {
    case STEP_OPEN:
        c->err = volume_aside_open(c->dir, &c->id, c->app, b, c->quota_mib, &c->fd, c->text, sizeof c->text);
        break;
    case STEP_SIZE:
        c->err = volume_aside_size(c->fd, c->size, b->sparse);
        if (!c->err)
            pieces_hash(c);
        break;
    case STEP_WRITE:
        pieces_write(c);
        if (!c->err)
            pieces_hash(c);
        break;
    case STEP_SYNC:
        c->err = fsync(c->fd) == 0 ? ERR_OK : ERR_IO;
        if (!c->err && c->pass == VOLUME_LAST_PASS && c->device + 1 == c->count)
            c->err = volume_aside_keep(c->dir, &c->id);
        break;
    }
    if (c->err && !c->text[0])
        snprintf(c->text, sizeof c->text, "its volume can't be written here: %s", err_text(c->err));
}

/* ---- In the loop --------------------------------------------------------------------------------- */

static void work_begin(struct carrying *c, enum carrying_step step);
static void device_ask(struct carrying *c);

static void hashes_send(struct carrying *c)
{
    struct volume_say s = {.word = VOLUME_END};
    if (c->hash_count > 0)
        s = (struct volume_say){.word = VOLUME_HASHES,
                                .offset = c->next,
                                .bytes = {.p = c->hashes, .len = (size_t)c->hash_count * VOLUME_HASH}};
    enum err err = volume_say_send(c->channel, &s);
    if (err)
        carrying_end(c, err, "its volume's host takes no questions");
}

static void device_done(struct carrying *c)
{
    close(c->fd);
    c->fd = -1;
    if (++c->device == c->count)
        carrying_end(c, ERR_OK, "");
    else
        work_begin(c, STEP_OPEN);
}

static void on_worked(uv_work_t *w, int status)
{
    struct carrying *c = w->data;
    (void)status;
    c->busy = false;
    uv_timer_again(&c->stall);
    if (c->err)
        carrying_end(c, c->err, c->text);
    else if (c->node->quitting)
        carrying_end(c, ERR_CLOSED, "");
    else if (c->step == STEP_OPEN)
        device_ask(c);
    else if (c->step == STEP_SYNC)
        device_done(c);
    else if (!c->channel)
        carrying_end(c, ERR_UNREACHABLE, "its volume's host broke off");
    else
        hashes_send(c);
    if (!c->over && !c->busy && c->channel)
        channel_resume(c->channel);
}

static void work_begin(struct carrying *c, enum carrying_step step)
{
    c->step = step;
    c->busy = true;
    c->work.data = c;
    if (c->channel)
        channel_pause(c->channel);
    CHECK(uv_queue_work(c->node->loop, &c->work, on_work, on_worked) == 0);
}

static void piece_take(struct carrying *c, const struct volume_say *s)
{
    bool fits = c->piece_count < c->hash_count && s->offset < c->size && s->bytes.len <= c->size - s->offset;
    if (!fits) {
        carrying_end(c, ERR_INVALID, "its volume's host sends what it was not asked for");
        return;
    }
    if (s->bytes.len)
        memcpy(c->bytes + (size_t)c->piece_count * VOLUME_CHUNK, s->bytes.p, s->bytes.len);
    c->pieces[c->piece_count++] = (struct piece){.offset = s->offset, .len = s->bytes.len};
}

static void on_message(void *ctx, struct channel *ch, const void *p, size_t len)
{
    struct carrying *c = ctx;
    struct volume_say s;
    enum err err = volume_say_decode(p, len, &s);
    uv_timer_again(&c->stall);
    if (err) {
        carrying_end(c, err, "what its volume's host sends can't be read");
    } else if (s.word == VOLUME_ROW) {
        c->size = s.device.size_bytes;
        c->next = 0;
        work_begin(c, STEP_SIZE);
    } else if (s.word == VOLUME_DATA) {
        piece_take(c, &s);
    } else if (s.word == VOLUME_MORE) {
        work_begin(c, STEP_WRITE);
    } else if (s.word == VOLUME_END && s.err) {
        carrying_end(c, s.err, s.text);
    } else if (s.word == VOLUME_END) {
        c->channel = NULL;
        channel_close(ch, CHANNEL_NOW);
        work_begin(c, STEP_SYNC);
    }
}

static void on_closed(void *ctx, struct channel *ch, enum err err)
{
    struct carrying *c = ctx;
    (void)ch;
    c->channel = NULL;
    if (!c->busy && !c->over)
        carrying_end(c, err == ERR_CLOSED ? ERR_UNREACHABLE : err, "its volume's host broke off");
}

static void device_ask(struct carrying *c)
{
    static const struct channel_handler handler = {.on_message = on_message, .on_closed = on_closed};
    struct volume_ask ask = {.op = VOLUME_DIFF, .id = c->id, .live = c->pass == VOLUME_FIRST_PASS};
    ask.id.epoch = c->theirs;
    memcpy(ask.device, c->blocks[c->device].device, sizeof ask.device);
    enum err err = volume_ask_open(c->node, c->peer, &ask, &handler, c, &c->channel);
    if (err) {
        c->channel = NULL;
        carrying_end(c, err, "its volume's host can't be reached");
    }
}

static void on_stall(uv_timer_t *t)
{
    struct carrying *c = t->data;
    if (!c->busy && !c->over) /* a slow disk here is not the peer's fault */
        carrying_end(c, ERR_TIMEOUT, "its volume's host sends no more");
}

void volume_fetch(struct node *n, const struct effect *f)
{
    struct carrying *c = calloc(1, sizeof *c);
    CHECK(c && f->start.block_count > 0 && f->start.block_count <= BLOCKS_MAX);
    c->node = n;
    c->fd = -1;
    c->id = f->unit;
    c->peer = f->peer;
    c->theirs = f->seq;
    c->pass = (enum volume_pass)f->id;
    c->count = f->start.block_count;
    c->quota_mib = n->options->volumes_mib;
    c->bytes = malloc((size_t)VOLUME_BATCH * VOLUME_CHUNK);
    CHECK(c->bytes);
    memcpy(c->blocks, f->start.blocks, c->count * sizeof c->blocks[0]);
    snprintf(c->app, sizeof c->app, "%s", f->start.app);
    snprintf(c->dir, sizeof c->dir, "%s/volumes", n->options->state_dir);
    CHECK(uv_timer_init(n->loop, &c->stall) == 0);
    c->stall.data = c;
    uv_unref((uv_handle_t *)&c->stall);
    CHECK(uv_timer_start(&c->stall, on_stall, STALL_MS, STALL_MS) == 0);
    work_begin(c, STEP_OPEN);
}
