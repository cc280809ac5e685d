#define _GNU_SOURCE
#include "node/loop/consoles.h"

#include <stdlib.h>
#include <string.h>

enum { READ_BYTES = 16 * 1024 };

struct kept_console {
    struct kept_console *next;
    struct unit_id run;
    uint64_t offset; /* of the first byte that is kept */
    size_t len;
    uint8_t bytes[];
};

static struct kept_console *find(const struct consoles *c, const struct unit_id *run)
{
    for (struct kept_console *k = c->first; k; k = k->next)
        if (uid_equal(&k->run.app, &run->app) && k->run.slot == run->slot &&
            k->run.epoch == run->epoch)
            return k;
    return NULL;
}

static void drop(struct consoles *c, struct kept_console **at)
{
    struct kept_console *k = *at;
    *at = k->next;
    c->bytes -= k->len;
    free(k);
}

static void drop_slot(struct consoles *c, const struct unit_id *run)
{
    for (struct kept_console **at = &c->first; *at;) {
        if (uid_equal(&(*at)->run.app, &run->app) && (*at)->run.slot == run->slot)
            drop(c, at);
        else
            at = &(*at)->next;
    }
}

static void make_room(struct consoles *c, size_t len)
{
    while (c->first && c->bytes + len > CONSOLES_BYTES_MAX) {
        struct kept_console **at = &c->first;
        while ((*at)->next)
            at = &(*at)->next;
        drop(c, at);
    }
}

void consoles_keep(struct consoles *c, struct runtime *rt, const struct unit_id *run)
{
    struct kept_console *k = calloc(1, sizeof *k + CONSOLE_BYTES_MAX);
    uint64_t at = 0;
    if (!k)
        return;
    k->run = *run;
    while (CONSOLE_BYTES_MAX - k->len > 0) {
        size_t left = CONSOLE_BYTES_MAX - k->len, got;
        uint64_t skipped;
        int ended;
        if (runtime_console_read(rt, run, at, k->bytes + k->len,
                                 left < READ_BYTES ? left : READ_BYTES, &got, &skipped, &at,
                                 &ended) ||
            got == 0)
            break;
        if (k->len == 0)
            k->offset = at - got;
        k->len += got;
    }
    struct kept_console *fits = k->len ? realloc(k, sizeof *k + k->len) : NULL;
    if (!fits) { /* nothing was said; what an earlier run said is kept */
        free(k);
        return;
    }
    drop_slot(c, run);
    make_room(c, fits->len);
    fits->next = c->first;
    c->first = fits;
    c->bytes += fits->len;
}

void consoles_release(struct consoles *c)
{
    while (c->first)
        drop(c, &c->first);
}

enum err consoles_read(const struct consoles *c, const struct unit_id *run, uint64_t offset,
                       void *out, size_t size, size_t *got, uint64_t *skipped, uint64_t *next)
{
    const struct kept_console *k = find(c, run);
    if (!k)
        return ERR_NOT_FOUND;
    uint64_t end = k->offset + k->len;
    uint64_t from = offset < k->offset ? k->offset : offset < end ? offset : end;
    *skipped = from > offset ? from - offset : 0;
    *got = end - from < size ? (size_t)(end - from) : size;
    if (*got)
        memcpy(out, k->bytes + (from - k->offset), *got);
    *next = from + *got;
    return ERR_OK;
}

enum err consoles_tail(const struct consoles *c, const struct unit_id *run, uint32_t lines,
                       uint64_t *offset)
{
    const struct kept_console *k = find(c, run);
    if (!k)
        return ERR_NOT_FOUND;
    size_t at = k->len;
    uint32_t seen = 0;
    if (lines == 0) {
        *offset = k->offset + k->len;
        return ERR_OK;
    }
    for (; at > 0; at--)
        if (k->bytes[at - 1] == '\n' && at < k->len && ++seen == lines)
            break;
    *offset = k->offset + at;
    return ERR_OK;
}
