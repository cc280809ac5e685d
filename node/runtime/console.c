#define _GNU_SOURCE
#include "node/runtime/console.h"

#include "node/runtime/shim_protocol.h"
#include "store/disk.h"

#include <stdlib.h>
#include <string.h>

enum { RING_MAX = 64 * 1024 * 1024, TRIES = 8 };

static enum err header_read(int fd, struct shim_console *out)
{
    uint8_t bytes[SHIM_CONSOLE_HEADER];
    size_t got;
    enum err err = disk_read_at(fd, bytes, sizeof bytes, 0, &got);
    if (err)
        return err;
    if (!shim_console_decode(bytes, got, out) || out->ring_bytes <= SHIM_CONSOLE_CHUNK || out->ring_bytes > RING_MAX)
        return ERR_CORRUPT;
    return ERR_OK;
}

/* The oldest byte that is still there, as of that header. */
static uint64_t first(const struct shim_console *c, enum console_writer writer)
{
    uint64_t kept = writer == CONSOLE_LIVE ? c->ring_bytes - SHIM_CONSOLE_CHUNK : c->ring_bytes;
    return c->written > kept ? c->written - kept : 0;
}

static enum err ring_read(int fd, const struct shim_console *c, uint64_t at, uint8_t *out, size_t len)
{
    while (len > 0) {
        size_t offset = (size_t)(at % c->ring_bytes), room = c->ring_bytes - offset, got;
        size_t n = len < room ? len : room;
        enum err err = disk_read_at(fd, out, n, SHIM_CONSOLE_HEADER + offset, &got);
        if (err)
            return err;
        if (got != n)
            return ERR_CORRUPT;
        at += n;
        out += n;
        len -= n;
    }
    return ERR_OK;
}

enum err console_read(int fd, enum console_writer writer, uint64_t offset, void *out, size_t size, size_t *got,
                      uint64_t *skipped, uint64_t *next)
{
    struct shim_console c;
    uint64_t at = offset;
    enum err err = header_read(fd, &c);
    *got = 0;
    for (int i = 0; !err && i < TRIES && at < c.written && size > 0; i++) {
        if (at < first(&c, writer))
            at = first(&c, writer);
        size_t n = c.written - at < size ? (size_t)(c.written - at) : size;
        err = ring_read(fd, &c, at, out, n);
        if (!err)
            err = header_read(fd, &c);
        if (err)
            break;
        /* What the writer has overtaken meanwhile is not what it was. */
        uint64_t valid = first(&c, writer);
        if (valid >= at + n) {
            at = valid;
            continue;
        }
        size_t lost = valid > at ? (size_t)(valid - at) : 0;
        memmove(out, (uint8_t *)out + lost, n - lost);
        at += lost;
        *got = n - lost;
        break;
    }
    *skipped = at - offset;
    *next = at + *got;
    return err;
}

enum err console_tail(int fd, enum console_writer writer, uint32_t lines, uint64_t *offset)
{
    struct shim_console c;
    enum err err = header_read(fd, &c);
    if (err)
        return err;
    uint64_t from = first(&c, writer);
    size_t len = (size_t)(c.written - from);
    *offset = lines == 0 ? c.written : from;
    if (lines == 0 || lines == UINT32_MAX || len == 0)
        return ERR_OK;
    uint8_t *bytes = malloc(len);
    if (bytes == NULL)
        return ERR_NOMEM;
    err = ring_read(fd, &c, from, bytes, len);
    size_t at = len;
    if (!err && bytes[at - 1] == '\n')
        at--; /* it ends the last line and begins none */
    while (!err && at > 0 && (bytes[at - 1] != '\n' || --lines > 0))
        at--;
    *offset = from + at;
    free(bytes);
    return err;
}
