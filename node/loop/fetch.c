/* Images between nodes, over a channel (SERVICE_IMAGE):
 *
 *   ->  1 ‖ image's hash (32)                    the opening message
 *   <-  list                                     the first answer: store/images.h has its form
 *   <-  index u32 LE ‖ chunk                     … each, in order; then the channel ends
 *   <-  (nothing, and the end)                   it isn't there
 *
 * Disks are only touched on libuv's workers, one job a transfer at a time; while it runs, the
 * channel is paused. A chunk is verified before it is written, so a liar costs its connection and
 * nothing else. */
#define _GNU_SOURCE
#include "node/loop/node_internal.h"

#include <stdlib.h>
#include <string.h>

enum {
    OPEN_SIZE = 1 + 32,
    CHUNK_HEADER = 4,
    BATCH_CHUNKS = 8, /* a job's; 512 KiB */
    CONNECT_MS = 5000,
    STALL_MS = 15000, /* without a chunk */
    SERVES_MAX = 64
};

/* ---- From a peer ----------------------------------------------------------------------------- */

struct fetch {
    struct node *node;
    struct fetch *next;
    struct channel *channel; /* NULL: it has ended */
    struct hash image;
    uint64_t size_limit; /* what the app says it weighs; 0: not known */
    uint64_t size_bytes;
    struct image_part *part;
    struct batch { /* messages that the worker is to take */
        uint8_t *bytes;
        size_t len;
    } batch[BATCH_CHUNKS];
    size_t batch_count;
    bool listed; /* the list came */
    bool busy, closed, given_up;
    enum err err;
    const char *text;
    uv_work_t work;
    uv_timer_t stall;
};

static void fetch_free(uv_handle_t *h)
{
    struct fetch *f = h->data;
    struct node *n = f->node;
    if (f->given_up)
        node_gone(n);
    free(f);
}

static void fetch_end(struct fetch *f)
{
    struct node *n = f->node;
    CHECK(!f->busy);
    if (f->channel)
        channel_close(f->channel, CHANNEL_NOW);
    f->channel = NULL;
    for (size_t i = 0; i < f->batch_count; i++)
        free(f->batch[i].bytes);
    if (f->part)
        image_part_abort(&f->part);
    for (struct fetch **at = &n->fetches; *at; at = &(*at)->next)
        if (*at == f) {
            *at = f->next;
            break;
        }
    struct event ev = {.kind = EVENT_IMAGE,
                       .image = f->image,
                       .size_bytes = f->size_bytes,
                       .err = f->err,
                       .text = f->text ? f->text : ""};
    if (!f->given_up)
        node_step(n, &ev);
    uv_close((uv_handle_t *)&f->stall, fetch_free);
}

static void fetch_fail(struct fetch *f, enum err err, const char *text)
{
    CHECK(!f->busy); /* the worker owns err meanwhile */
    if (!f->err) {
        f->err = err;
        f->text = text;
    }
    fetch_end(f);
}

/* On a worker: the list, or chunks. */
static enum err take(struct fetch *f, const uint8_t *p, size_t len)
{
    if (!f->part) {
        uint32_t chunks;
        enum err err = image_list_check(p, len, &f->image, &f->size_bytes, &chunks);
        if (!err && f->size_limit && f->size_bytes != f->size_limit)
            err = ERR_CORRUPT;
        if (!err)
            err = image_part_begin(f->node->images, &f->image, p, len, &f->part);
        return err;
    }
    if (len < CHUNK_HEADER)
        return ERR_TRUNCATED;
    uint32_t index =
        (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
    return image_part_put(f->part, index, p + CHUNK_HEADER, len - CHUNK_HEADER);
}

static void fetch_work(uv_work_t *w)
{
    struct fetch *f = w->data;
    uint32_t first;
    for (size_t i = 0; i < f->batch_count && !f->err; i++)
        f->err = take(f, f->batch[i].bytes, f->batch[i].len);
    if (!f->err && f->part && image_part_missing(f->part, &first) == 0)
        f->err = image_part_commit(&f->part);
    else if (!f->err)
        return;
    f->closed = true; /* done, or broken */
}

static const char *fetch_text(enum err err)
{
    return err == ERR_CORRUPT     ? "what the peer sent is not the image"
           : err == ERR_DISK_FULL ? "this host's disk is full"
           : err == ERR_BUSY      ? "it is being filled already"
                                  : err_text(err);
}

static void batch_run(struct fetch *f);

static void fetch_worked(uv_work_t *w, int status)
{
    struct fetch *f = w->data;
    (void)status;
    f->busy = false;
    for (size_t i = 0; i < f->batch_count; i++)
        free(f->batch[i].bytes);
    f->batch_count = 0;
    if (f->err == ERR_EXISTS)
        f->err = ERR_OK; /* it came another way meanwhile */
    if (f->err && !f->text)
        f->text = fetch_text(f->err);
    if (f->closed || f->given_up || !f->channel) {
        if (!f->closed && !f->err)
            fetch_fail(f, ERR_CLOSED, "the peer broke off");
        else
            fetch_end(f);
        return;
    }
    channel_resume(f->channel);
}

static void batch_run(struct fetch *f)
{
    f->busy = true;
    f->work.data = f;
    if (f->channel)
        channel_pause(f->channel);
    if (uv_queue_work(f->node->loop, &f->work, fetch_work, fetch_worked)) {
        f->busy = false;
        fetch_fail(f, ERR_NOMEM, "no worker could be had");
    }
}

static void on_stall(uv_timer_t *t)
{
    struct fetch *f = t->data;
    if (!f->busy) /* a slow disk is not the peer's fault */
        fetch_fail(f, ERR_TIMEOUT, "the peer sends no more");
}

static void on_fetch_message(void *ctx, struct channel *ch, const void *p, size_t len)
{
    struct fetch *f = ctx;
    (void)ch;
    uint8_t *copy = malloc(len ? len : 1);
    if (!copy) {
        fetch_fail(f, ERR_NOMEM, "out of memory");
        return;
    }
    memcpy(copy, p, len);
    f->batch[f->batch_count++] = (struct batch){.bytes = copy, .len = len};
    uv_timer_again(&f->stall);
    bool first = !f->listed;
    f->listed = true;
    /* The last chunk is not known to be the last until the worker has looked: short batches run at
     * once. */
    if (first || f->batch_count == BATCH_CHUNKS || len < CHUNK_HEADER + IMAGE_CHUNK)
        batch_run(f);
}

static void on_fetch_closed(void *ctx, struct channel *ch, enum err err)
{
    struct fetch *f = ctx;
    (void)ch;
    f->channel = NULL;
    if (f->busy)
        return; /* fetch_worked sees it */
    if (err == ERR_CLOSED && f->batch_count > 0) {
        batch_run(f); /* an image of whole chunks only */
        return;
    }
    fetch_fail(f, err, err == ERR_CLOSED ? "the peer does not have it" : err_text(err));
}

void fetch_start(struct node *n, const struct effect *e)
{
    static const struct channel_handler handler = {.on_message = on_fetch_message,
                                                   .on_closed = on_fetch_closed};
    struct fetch *f = calloc(1, sizeof *f);
    CHECK(f);
    f->node = n;
    f->image = e->image;
    f->size_limit = e->size_bytes;
    CHECK(uv_timer_init(n->loop, &f->stall) == 0);
    f->stall.data = f;
    f->next = n->fetches;
    n->fetches = f;
    uint8_t open[OPEN_SIZE];
    open[0] = SERVICE_IMAGE;
    memcpy(open + 1, e->image.b, sizeof e->image.b);
    enum err err = streams_open(n->streams, &e->address, e->peer, open, sizeof open, CONNECT_MS,
                                &handler, f, &f->channel);
    if (err) { /* told by the timer: not from inside a step */
        f->err = err;
        f->text = err_text(err);
        f->channel = NULL;
    }
    CHECK(uv_timer_start(&f->stall, on_stall, err ? 0 : STALL_MS, STALL_MS) == 0);
}

void fetch_close_all(struct node *n)
{
    while (n->fetches) {
        struct fetch *f = n->fetches;
        n->fetches = f->next;
        f->given_up = true;
        n->closing++;
        if (f->channel) {
            channel_close(f->channel, CHANNEL_NOW);
            f->channel = NULL;
        }
        if (!f->busy)
            fetch_end(f);
    }
}

/* ---- To a peer ------------------------------------------------------------------------------- */

struct serve {
    struct node *node;
    struct channel *channel; /* NULL: it has ended */
    struct hash image;
    uint64_t size_bytes;
    uint32_t chunks, next;
    bool busy, listed;
    enum err err;
    uint8_t *bytes; /* what the worker read: one message */
    size_t len;
    uv_work_t work;
};

static unsigned serves;

static void serve_end(struct serve *s)
{
    if (s->channel)
        channel_close(s->channel, s->err && s->err != ERR_NOT_FOUND ? CHANNEL_NOW : CHANNEL_FLUSH);
    free(s->bytes);
    free(s);
    serves--;
}

static void serve_work(uv_work_t *w)
{
    struct serve *s = w->data;
    if (!s->listed) {
        s->err =
            images_read_list(s->node->images, &s->image, s->bytes, IMAGE_LIST_BYTES_MAX, &s->len);
        if (!s->err)
            s->err = image_list_check(s->bytes, s->len, &s->image, &s->size_bytes, &s->chunks);
        return;
    }
    for (int i = 0; i < 4; i++)
        s->bytes[i] = (uint8_t)(s->next >> (8 * i));
    s->err =
        images_read_chunk(s->node->images, &s->image, s->next, s->bytes + CHUNK_HEADER, &s->len);
    s->len += CHUNK_HEADER;
}

static void serve_go_on(struct serve *s);

static void serve_send(struct serve *s)
{
    enum err err = channel_send(s->channel, s->bytes, s->len);
    if (err == ERR_FULL)
        return; /* on_drain comes back */
    s->len = 0;
    if (err) {
        s->err = err;
        serve_end(s);
        return;
    }
    if (s->listed)
        s->next++;
    s->listed = true;
    serve_go_on(s);
}

static void serve_worked(uv_work_t *w, int status)
{
    struct serve *s = w->data;
    (void)status;
    s->busy = false;
    if (s->err || !s->channel)
        serve_end(s);
    else
        serve_send(s);
}

static void serve_go_on(struct serve *s)
{
    if (s->listed && s->next == s->chunks) {
        serve_end(s);
        return;
    }
    s->busy = true;
    s->work.data = s;
    if (uv_queue_work(s->node->loop, &s->work, serve_work, serve_worked)) {
        s->busy = false;
        s->err = ERR_NOMEM;
        serve_end(s);
    }
}

static void on_serve_message(void *ctx, struct channel *ch, const void *p, size_t len)
{
    (void)ctx, (void)ch, (void)p, (void)len; /* nothing more is asked on this channel */
}

static void on_serve_drain(void *ctx, struct channel *ch)
{
    struct serve *s = ctx;
    (void)ch;
    if (!s->busy && s->len)
        serve_send(s);
}

static void on_serve_closed(void *ctx, struct channel *ch, enum err err)
{
    struct serve *s = ctx;
    (void)ch, (void)err;
    s->channel = NULL;
    if (!s->busy)
        serve_end(s);
}

void fetch_serve(struct node *n, struct channel *ch, const struct stream_peer *peer, const void *p,
                 size_t len)
{
    static const struct channel_handler handler = {
        .on_message = on_serve_message, .on_drain = on_serve_drain, .on_closed = on_serve_closed};
    (void)peer;
    if (len != OPEN_SIZE || serves >= SERVES_MAX)
        return;
    struct serve *s = calloc(1, sizeof *s);
    uint8_t *bytes = malloc(IMAGE_LIST_BYTES_MAX > IMAGE_CHUNK + CHUNK_HEADER
                                ? (size_t)IMAGE_LIST_BYTES_MAX
                                : (size_t)IMAGE_CHUNK + CHUNK_HEADER);
    if (!s || !bytes) {
        free(s);
        free(bytes);
        return;
    }
    serves++;
    s->node = n;
    s->channel = ch;
    s->bytes = bytes;
    memcpy(s->image.b, (const uint8_t *)p + 1, sizeof s->image.b);
    channel_accept(ch, &handler, s);
    serve_go_on(s);
}
