/* Between the engine's writes and the store's thread. */
#define _GNU_SOURCE
#include "node/loop/node_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* On the store's thread. */
static void on_store(void *ctx, uint64_t seq, enum err err)
{
    struct node *n = ctx;
    struct writer *w = &n->writer;
    pthread_mutex_lock(&w->mutex);
    if (w->count > 0 && w->done[w->count - 1].err == err) {
        w->done[w->count - 1].seq = seq;
    } else {
        if (w->count == w->size) {
            size_t size = w->size ? 2 * w->size : 16;
            struct written *done = realloc(w->done, size * sizeof *done);
            CHECK(done);
            w->done = done;
            w->size = size;
        }
        w->done[w->count++] = (struct written){.seq = seq, .err = err};
    }
    pthread_mutex_unlock(&w->mutex);
    uv_async_send(&w->async);
}

static void tell(struct node *n, uint64_t seq, enum err err)
{
    struct event ev = {.kind = EVENT_WRITTEN, .seq = seq, .err = err};
    node_step(n, &ev);
}

static void on_async(uv_async_t *async)
{
    struct node *n = async->data;
    struct writer *w = &n->writer;
    if (!w->store)
        return;
    pthread_mutex_lock(&w->mutex);
    struct written *done = w->done;
    size_t count = w->count;
    w->done = NULL;
    w->count = w->size = 0;
    pthread_mutex_unlock(&w->mutex);
    if (!n->quitting)
        engine_store_fill(n->engine,
                          store_fill_permille(w->store)); /* the step that follows acts on it */
    for (size_t i = 0; i < count; i++)
        tell(n, done[i].seq, done[i].err);
    free(done);
    if (w->refused_seq) { /* what is still on its way before it is told as failed with it, and
                             written again */
        uint64_t seq = w->refused_seq;
        w->refused_seq = 0;
        tell(n, seq, w->refused_err);
    }
}

static void on_load(void *ctx, const void *key, size_t key_len, const void *value, size_t len)
{
    struct node *n = ctx;
    (void)key;
    (void)key_len;
    engine_load(n->engine, value, len);
}

enum err writer_open(struct node *n, char *why, size_t size)
{
    struct writer *w = &n->writer;
    char dir[OPTION_PATH_SIZE + 8];
    struct store_report report = {0};
    snprintf(dir, sizeof dir, "%s/store", n->options->state_dir);
    const struct store_config cfg = {
        .dir = dir, .map_bytes = (size_t)256 * 1024 * 1024, .done = on_store, .ctx = n};
    pthread_mutex_init(&w->mutex, NULL);
    if (uv_async_init(n->loop, &w->async, on_async)) {
        snprintf(why, size, "the event loop could not be set up");
        return ERR_IO;
    }
    w->async.data = n;
    enum err err = store_open(&w->store, &cfg, on_load, n, &report);
    if (err) {
        snprintf(why, size, "%s: %s%s", dir, report.text[0] ? report.text : err_text(err),
                 err == ERR_DISK_FULL
                     ? "; the store wants 256 MiB of its own from the start: make room"
                     : "");
        return err;
    }
    bool well = !report.set_aside && report.damaged == 0;
    node_log(n, well ? LOG_INFO : LOG_WARN, "store.opened", "records=%u damaged=%u clean=%d%s%s%s",
             report.records, report.damaged, report.was_clean, report.text[0] ? " what=\"" : "",
             report.text, report.text[0] ? "\"" : "");
    engine_store_fill(n->engine, store_fill_permille(w->store));
    return ERR_OK;
}

void writer_put(struct node *n, const struct effect *f)
{
    struct writer *w = &n->writer;
    uint8_t key[1 + RECORD_KEY_MAX];
    key[0] = f->key.kind;
    memcpy(key + 1, f->key.b, f->key.len);
    size_t key_len = 1 + (size_t)f->key.len;
    if (w->refused_seq) { /* "up to" must stay true: nothing is taken until the refusal has been
                             told */
        w->refused_seq = f->seq;
        return;
    }
    enum err err = f->kind == EFFECT_WRITE
                       ? store_put(w->store, f->seq, key, key_len, f->bytes.p, f->bytes.len)
                       : store_delete(w->store, f->seq, key, key_len);
    if (!err)
        return;
    w->refused_seq = f->seq;
    w->refused_err = err;
    uv_async_send(&w->async);
}

static void on_closed(uv_handle_t *h)
{
    node_gone(h->data);
}

void writer_close(struct node *n)
{
    struct writer *w = &n->writer;
    if (!w->async.loop)
        return;
    if (w->store)
        store_close(w->store);
    w->store = NULL;
    n->closing++;
    w->async.data = n;
    uv_close((uv_handle_t *)&w->async, on_closed);
    free(w->done);
    w->done = NULL;
    pthread_mutex_destroy(&w->mutex);
}
