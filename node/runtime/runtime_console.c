/* Consoles, for who reads and who waits. */
#define _GNU_SOURCE
#include "node/runtime/console.h"
#include "node/runtime/runtime_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static enum err ring_open(struct runtime *rt, const struct unit_id *unit, int *fd, enum console_writer *writer,
                          const struct run **run)
{
    const struct run *r = run_find(rt, unit);
    if (r == NULL || r->stray)
        return ERR_NOT_FOUND;
    *run = r;
    *writer = r->phase == PHASE_OVER ? CONSOLE_ENDED : CONSOLE_LIVE;
    /* While it starts, the file may be half made; if it never did, there is none. */
    *fd = r->phase == PHASE_ASKED ? -1 : run_open(r, "console");
    return ERR_OK;
}

enum err runtime_console_read(struct runtime *rt, const struct unit_id *unit, uint64_t offset, void *out, size_t size,
                              size_t *got, uint64_t *skipped, uint64_t *next, int *ended)
{
    int fd;
    enum console_writer writer;
    const struct run *r;
    enum err err = ring_open(rt, unit, &fd, &writer, &r);
    *got = 0;
    *skipped = 0;
    *next = offset;
    *ended = 0;
    if (err)
        return err;
    if (fd >= 0)
        err = console_read(fd, writer, offset, out, size, got, skipped, next);
    if (fd >= 0)
        close(fd);
    *ended = r->phase == PHASE_OVER;
    return err;
}

enum err runtime_console_tail(struct runtime *rt, const struct unit_id *unit, uint32_t lines, uint64_t *offset)
{
    int fd;
    enum console_writer writer;
    const struct run *r;
    enum err err = ring_open(rt, unit, &fd, &writer, &r);
    *offset = 0;
    if (!err && fd >= 0) {
        err = console_tail(fd, writer, lines, offset);
        close(fd);
    }
    return err;
}

/* ---- watching ----------------------------------------------------------------------------------------- */

void watches_due(struct run *r)
{
    for (struct console_watch *w = r->rt->watches; w != NULL; w = w->next)
        if (w->run == r) {
            w->due = true;
            tell_soon(r->rt);
        }
}

void watches_lose(struct run *r)
{
    watches_due(r);
    for (struct console_watch *w = r->rt->watches; w != NULL; w = w->next)
        if (w->run == r)
            w->run = NULL;
    file_unwatch(r);
}

/* Somebody watches, and the kernel doesn't tell us (no inotify left): look at every tick. */
bool watches_polled(const struct runtime *rt)
{
    for (const struct console_watch *w = rt->watches; w != NULL; w = w->next)
        if (w->run != NULL && w->run->file_watch == NULL && w->run->phase != PHASE_OVER)
            return true;
    return false;
}

static void on_watch_closed(uv_handle_t *h)
{
    struct file_watch *f = h->data;
    struct runtime *rt = (struct runtime *)f->run; /* left there by file_unwatch */
    free(f);
    handle_closed(rt);
}

void file_unwatch(struct run *r)
{
    struct file_watch *f = r->file_watch;
    r->file_watch = NULL;
    if (f == NULL)
        return;
    f->run = (struct run *)r->rt;
    uv_close((uv_handle_t *)&f->event, on_watch_closed);
}

static void on_file(uv_fs_event_t *event, const char *name, int events, int status)
{
    struct file_watch *f = event->data;
    (void)name;
    (void)events;
    (void)status;
    watches_due(f->run);
}

static void file_watch(struct run *r)
{
    char path[RUN_PATH + UNIT_NAME_SIZE + 32], name[UNIT_NAME_SIZE];
    if (r->file_watch != NULL || r->phase != PHASE_UP)
        return;
    struct file_watch *f = calloc(1, sizeof *f);
    if (f == NULL || uv_fs_event_init(r->rt->loop, &f->event) != 0) {
        free(f);
        return;
    }
    f->run = r;
    f->event.data = f;
    r->file_watch = f;
    handle_opened(r->rt);
    unit_name(&r->id, name);
    (void)snprintf(path, sizeof path, "%s/units/%s/console", r->rt->run_dir, name);
    if (uv_fs_event_start(&f->event, on_file, path, 0) != 0)
        file_unwatch(r);
}

enum err runtime_console_watch(struct runtime *rt, const struct unit_id *unit, void (*on_more)(void *ctx), void *ctx,
                               struct console_watch **out)
{
    struct run *r = run_find(rt, unit);
    struct console_watch *w = r == NULL || r->stray ? NULL : calloc(1, sizeof *w);
    if (w == NULL)
        return r == NULL || r->stray ? ERR_NOT_FOUND : ERR_NOMEM;
    *w = (struct console_watch){.next = rt->watches, .run = r, .rt = rt, .on_more = on_more, .ctx = ctx};
    rt->watches = w;
    file_watch(r);
    if (r->phase == PHASE_OVER)
        watches_due(r); /* nothing will come: let the watcher see that */
    tick_want(rt);
    *out = w;
    return ERR_OK;
}

void runtime_console_unwatch(struct console_watch **watch)
{
    struct console_watch *w = *watch;
    *watch = NULL;
    if (w == NULL)
        return;
    bool more = false;
    for (struct console_watch **at = &w->rt->watches, *other; (other = *at) != NULL;) {
        if (other == w) {
            *at = w->next;
            continue;
        }
        more = more || (w->run != NULL && other->run == w->run);
        at = &other->next;
    }
    if (w->run != NULL && !more)
        file_unwatch(w->run);
    free(w);
}
