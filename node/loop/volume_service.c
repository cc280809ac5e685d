#define _GNU_SOURCE
#include "node/loop/volume_service.h"

#include "node/loop/node_internal.h"
#include "store/base/cursor.h"
#include "store/disk.h"

#include <poll.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    SERVED_MAX = 16,
    LOCK_TRIES = 100, /* a shim that has told its end has its lock for a moment still */
    LOCK_STEP_MS = 20,
    SKIP_BYTES = 32 * 1024 * 1024 /* of zeros, in one piece of work */
};

static enum err ask_decode(const uint8_t *p, size_t len, struct volume_ask *out)
{
    struct cursor c;
    cursor_init(&c, p + 1, len - 1); /* after the service's byte */
    memset(out, 0, sizeof *out);
    uint32_t more = cursor_array_from(&c, VOLUME_ASK_FIELDS);
    uint64_t version = cursor_uint(&c, UINT32_MAX);
    out->op = (enum volume_op)cursor_uint(&c, VOLUME_DIFF);
    cursor_fixed(&c, out->id.app.b, sizeof out->id.app.b);
    out->id.slot = (uint16_t)cursor_uint(&c, UINT16_MAX);
    out->id.epoch = cursor_uint(&c, UINT64_MAX);
    cursor_text(&c, out->device, sizeof out->device);
    out->live = cursor_bool(&c);
    cursor_skip_n(&c, more);
    enum err err = cursor_end(&c);
    return err ? err : version != VOLUME_VERSION ? ERR_UNSUPPORTED : ERR_OK;
}

struct served {
    struct node *node;
    struct channel *channel; /* NULL: it has ended */
    struct volume_ask ask;
    char dir[OPTION_PATH_SIZE + 16];
    enum { STEP_OPEN, STEP_GO, STEP_SYNC } step; /* what the worker is at */
    uv_work_t work;
    bool busy, drop_folder;
    int fd;
    uint64_t size, offset, at; /* of the device; read so far; where `bytes` are */
    uint8_t *bytes; /* a piece; DIFF: a batch of them */
    size_t len;
    uint8_t hashes[VOLUME_BATCH * VOLUME_HASH]; /* DIFF: of the pieces from `at` on, as the asker has them */
    bool differs[VOLUME_BATCH];
    struct volume_say *rows; /* LIST */
    size_t row_count;
    enum err err;
    char text[VOLUME_TEXT];
};

static unsigned served_count; /* of this process, which is one node */

static void served_free(struct served *s)
{
    if (s->fd >= 0)
        close(s->fd);
    free(s->bytes);
    free(s->rows);
    free(s);
    served_count--;
}

static void served_end(struct served *s)
{
    struct volume_say end = {.word = VOLUME_END, .err = s->err};
    memcpy(end.text, s->text, sizeof end.text);
    if (s->err && !end.text[0])
        snprintf(end.text, sizeof end.text, "%s", err_text(s->err));
    if (s->channel) {
        enum err err = volume_say_send(s->channel, &end);
        channel_close(s->channel, err ? CHANNEL_NOW : CHANNEL_FLUSH);
    }
    served_free(s);
}

static void row_add(void *ctx, const struct volume_info *v)
{
    struct served *s = ctx;
    for (uint32_t i = 0; i < v->device_count; i++) {
        struct volume_say *rows = realloc(s->rows, (s->row_count + 1) * sizeof *rows);
        if (!rows)
            return;
        s->rows = rows;
        rows += s->row_count++;
        *rows = (struct volume_say){.word = VOLUME_ROW, .id = v->id, .device = v->devices[i], .held = v->held};
        memcpy(rows->app, v->app, sizeof rows->app);
    }
}

static bool all_zero(const uint8_t *p, size_t len)
{
    return len == 0 || (p[0] == 0 && memcmp(p, p + 1, len - 1) == 0);
}

/* The next piece that isn't all zeros, if it comes soon. */
static void read_on(struct served *s)
{
    uint64_t until = s->offset + SKIP_BYTES;
    s->len = 0;
    while (!s->err && s->len == 0 && s->offset < s->size && s->offset < until) {
        size_t want = s->size - s->offset < VOLUME_CHUNK ? (size_t)(s->size - s->offset) : (size_t)VOLUME_CHUNK, got;
        s->at = s->offset;
        s->err = disk_read_at(s->fd, s->bytes, want, s->at, &got);
        if (!s->err && got < want)
            s->err = ERR_TRUNCATED;
        s->offset += want;
        s->len = s->err || all_zero(s->bytes, want) ? 0 : want;
    }
}

void volume_hash(const void *p, size_t len, uint8_t out[static VOLUME_HASH])
{
    CHECK(crypto_generichash(out, VOLUME_HASH, p, len, NULL, 0) == 0);
}

static size_t piece_len(const struct served *s, uint64_t piece)
{
    uint64_t from = piece * VOLUME_CHUNK;
    return s->size - from < VOLUME_CHUNK ? (size_t)(s->size - from) : (size_t)VOLUME_CHUNK;
}

static void pieces_compare(struct served *s)
{
    uint8_t hash[VOLUME_HASH];
    for (uint32_t i = 0; i < s->len / VOLUME_HASH && !s->err; i++) {
        uint8_t *piece = s->bytes + (size_t)i * VOLUME_CHUNK;
        size_t len = piece_len(s, s->at + i), got;
        s->err = disk_read_at(s->fd, piece, len, (s->at + i) * VOLUME_CHUNK, &got);
        volume_hash(piece, len, hash);
        s->differs[i] = memcmp(hash, s->hashes + (size_t)i * VOLUME_HASH, sizeof hash) != 0;
    }
}

static void device_open(struct served *s)
{
    struct stat st;
    int tries = s->ask.op == VOLUME_DIFF ? LOCK_TRIES : 1;
    s->bytes = malloc((size_t)(s->ask.op == VOLUME_DIFF ? VOLUME_BATCH : 1) * VOLUME_CHUNK);
    do {
        if (s->err == ERR_BUSY)
            (void)poll(NULL, 0, LOCK_STEP_MS); /* on a worker: nothing tells of a lock that goes */
        s->err = volume_device_open(s->dir, &s->ask.id, s->ask.device, s->ask.live ? VOLUME_LIVE : VOLUME_LOCKED,
                                    &s->fd);
    } while (s->err == ERR_BUSY && --tries > 0);
    if (s->err == ERR_BUSY)
        snprintf(s->text, sizeof s->text, "it is in use: stop its app first%s",
                 s->ask.op == VOLUME_READ ? ", or take it as it is just now, in the middle of writing: --live" : "");
    if (!s->err && (!s->bytes || fstat(s->fd, &st) < 0))
        s->err = ERR_IO;
    if (!s->err)
        s->size = (uint64_t)st.st_size;
}

static void on_work(uv_work_t *w)
{
    struct served *s = w->data;
    if (s->ask.op == VOLUME_LIST) {
        volumes_each(s->dir, row_add, s);
    } else if (s->ask.op == VOLUME_REMOVE) {
        s->err = volume_remove(s->dir, &s->ask.id, s->ask.device, s->drop_folder ? VOLUME_WHOLE : VOLUME_KEEP_PLACE);
        if (s->err == ERR_BUSY)
            snprintf(s->text, sizeof s->text, "it is in use: stop its app first");
    } else if (s->step == STEP_OPEN) {
        device_open(s);
        if (!s->err && s->ask.op == VOLUME_READ)
            read_on(s);
    } else if (s->step == STEP_SYNC) {
        s->err = fsync(s->fd) == 0 ? ERR_OK : ERR_IO;
    } else if (s->ask.op == VOLUME_READ) {
        read_on(s);
    } else if (s->ask.op == VOLUME_DIFF) {
        pieces_compare(s);
    } else {
        s->err = disk_write_at(s->fd, s->bytes, s->len, s->at);
    }
}

static void work_begin(struct served *s);

static void read_send(struct served *s)
{
    const struct volume_say data = {.word = VOLUME_DATA, .offset = s->at, .bytes = {.p = s->bytes, .len = s->len}};
    if (s->len > 0) {
        enum err err = volume_say_send(s->channel, &data);
        if (err == ERR_FULL)
            return; /* on_drain comes back */
        s->err = err;
        s->len = 0;
    }
    if (s->err || s->offset == s->size)
        served_end(s);
    else
        work_begin(s);
}

static void diff_send(struct served *s, bool opened)
{
    struct volume_say say = {.word = VOLUME_ROW, .id = s->ask.id, .device = {.size_bytes = s->size}};
    memcpy(say.device.device, s->ask.device, sizeof say.device.device);
    if (!opened) {
        say.word = VOLUME_DATA;
        for (uint32_t i = 0; i < s->len / VOLUME_HASH && !s->err; i++) {
            say.offset = (s->at + i) * VOLUME_CHUNK;
            say.bytes = (struct slice){.p = s->bytes + (size_t)i * VOLUME_CHUNK, .len = piece_len(s, s->at + i)};
            if (s->differs[i])
                s->err = volume_say_send(s->channel, &say);
        }
        say.word = VOLUME_MORE;
    }
    if (!s->err)
        s->err = volume_say_send(s->channel, &say);
    if (s->err)
        served_end(s);
    else
        channel_resume(s->channel);
}

static void list_send(struct served *s)
{
    for (size_t i = 0; i < s->row_count && !s->err; i++)
        s->err = volume_say_send(s->channel, &s->rows[i]);
    served_end(s);
}

static void on_worked(uv_work_t *w, int status)
{
    struct served *s = w->data;
    const struct volume_say more = {.word = VOLUME_MORE};
    (void)status;
    s->busy = false;
    if (s->ask.op == VOLUME_REMOVE && s->drop_folder && !s->err && !s->node->quitting)
        engine_volume_gone(s->node->engine, &s->ask.id);
    if (!s->channel) {
        served_free(s);
        return;
    }
    bool sync = s->step == STEP_SYNC, opened = s->step == STEP_OPEN;
    s->step = STEP_GO;
    if (s->err || sync || s->ask.op == VOLUME_REMOVE) {
        served_end(s);
    } else if (s->ask.op == VOLUME_LIST) {
        list_send(s);
    } else if (s->ask.op == VOLUME_READ) {
        read_send(s);
    } else if (s->ask.op == VOLUME_DIFF) {
        diff_send(s, opened);
    } else {
        s->err = volume_say_send(s->channel, &more);
        if (s->err)
            served_end(s);
        else
            channel_resume(s->channel);
    }
}

static void work_begin(struct served *s)
{
    s->busy = true;
    s->work.data = s;
    if (s->ask.op == VOLUME_WRITE || s->ask.op == VOLUME_DIFF)
        channel_pause(s->channel);
    CHECK(uv_queue_work(s->node->loop, &s->work, on_work, on_worked) == 0);
}

/* What is said in its turn, and fits. */
static bool turn_check(struct served *s, const struct volume_say *say)
{
    uint64_t pieces = (s->size + VOLUME_CHUNK - 1) / VOLUME_CHUNK, len = say->bytes.len;
    if (say->word == VOLUME_END)
        return say->err == ERR_OK;
    if (s->ask.op == VOLUME_DIFF)
        return say->word == VOLUME_HASHES && len > 0 && len <= sizeof s->hashes && len % VOLUME_HASH == 0 &&
               say->offset < pieces && len / VOLUME_HASH <= pieces - say->offset;
    if (say->word == VOLUME_DATA && (say->offset > s->size || len > s->size - say->offset))
        snprintf(s->text, sizeof s->text, "it is larger than the volume");
    return say->word == VOLUME_DATA && !s->text[0];
}

static void on_message(void *ctx, struct channel *ch, const void *p, size_t len)
{
    struct served *s = ctx;
    struct volume_say say;
    (void)ch;
    if ((s->ask.op != VOLUME_WRITE && s->ask.op != VOLUME_DIFF) || s->busy)
        return;
    s->err = volume_say_decode(p, len, &say);
    if (!s->err && !turn_check(s, &say))
        s->err = ERR_INVALID;
    if (s->err) {
        served_end(s);
        return;
    }
    s->step = say.word == VOLUME_END ? STEP_SYNC : STEP_GO;
    s->at = say.offset;
    s->len = say.bytes.len;
    if (s->len)
        memcpy(s->ask.op == VOLUME_DIFF ? s->hashes : s->bytes, say.bytes.p, s->len);
    work_begin(s);
}

static void on_drain(void *ctx, struct channel *ch)
{
    struct served *s = ctx;
    (void)ch;
    if (!s->busy && s->ask.op == VOLUME_READ && s->len > 0)
        read_send(s);
}

static void on_closed(void *ctx, struct channel *ch, enum err err)
{
    struct served *s = ctx;
    (void)ch, (void)err;
    s->channel = NULL;
    if (!s->busy)
        served_free(s);
}

/* What an app wants now is not taken from it. */
static bool removable(struct served *s)
{
    enum volume_use use = engine_volume_use(s->node->engine, &s->ask.id, engine_self(s->node->engine));
    s->drop_folder = use == VOLUME_USE_OLD || use == VOLUME_USE_NONE;
    if (use != VOLUME_USE_WANTED)
        return true;
    s->err = ERR_BUSY;
    snprintf(s->text, sizeof s->text, "its app is to run with it: stop that first, or remove it");
    return false;
}

void volume_serve(struct node *n, struct channel *ch, const void *p, size_t len)
{
    static const struct channel_handler handler = {
        .on_message = on_message, .on_drain = on_drain, .on_closed = on_closed};
    struct volume_ask ask;
    if (served_count == SERVED_MAX || ask_decode(p, len, &ask) || ask.op < VOLUME_LIST)
        return; /* not accepted, it is closed */
    struct served *s = calloc(1, sizeof *s);
    if (!s)
        return;
    served_count++;
    *s = (struct served){.node = n, .channel = ch, .ask = ask, .fd = -1};
    snprintf(s->dir, sizeof s->dir, "%s/volumes", n->options->state_dir);
    channel_accept(ch, &handler, s);
    if (ask.op == VOLUME_REMOVE && !removable(s))
        served_end(s);
    else
        work_begin(s);
}
