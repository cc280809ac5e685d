/* The one LMDB user: records on disk, written by one thread in groups, in order.
 *
 * Caveats first. The file is preallocated to the map's size, so that a disk that fills up later can't fail a
 * commit; never on NFS. Values carry their own checksum, because LMDB has none. Reading happens at open only,
 * before the thread starts: afterwards the replica in memory is what is read.
 *
 * store_put/store_delete queue and return at once; `done` is called on the store thread after the commit (so a
 * caller with an event loop hands it over, e.g. with uv_async_send), with the highest sequence that is durable.
 * A commit that fails calls done with its error and the range that failed; later writes are tried afresh. */
#ifndef UNIMESH_STORE_STORE_H
#define UNIMESH_STORE_STORE_H

#include "store/base/err.h"
#include "store/base/id.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct store;

struct store_config {
    const char *dir;       /* STATE/store, made if missing */
    size_t map_bytes;      /* 256 MiB; preallocated */
    /* After writes up to `seq` are on disk (err OK), or those of (previous, seq] failed. On the store thread. */
    void (*done)(void *ctx, uint64_t seq, enum err err);
    void *ctx;
};

/* What opening found. */
struct store_report {
    bool was_clean;          /* the last process closed it */
    bool set_aside;          /* the file was damaged: renamed to data.mdb.damaged-N, a new one is in place */
    uint32_t records;        /* read well */
    uint32_t damaged;        /* values whose checksum did not match: dropped, to be had from peers again */
    char text[256];          /* for the log */
};

/* Open, scanning in a child process first if the last end was unclean. `load` gets every value that is sound, in
 * key order. ERR_DISK_FULL: the map can't be preallocated; ERR_BUSY: another process has it; ERR_IO. */
typedef void store_load_fn(void *ctx, const void *key, size_t key_len, const void *value, size_t len);
enum err store_open(struct store **out, const struct store_config *cfg, store_load_fn *load, void *ctx,
                    struct store_report *report) MUST_USE;
/* Flush what is queued, stop the thread, mark the file clean. */
void store_close(struct store *s);

/* Copies key and value. seq grows by the caller. Never blocks on the disk. */
enum err store_put(struct store *s, uint64_t seq, const void *key, size_t key_len, const void *value,
                   size_t len) MUST_USE;
enum err store_delete(struct store *s, uint64_t seq, const void *key, size_t key_len) MUST_USE;

/* How full the map is, in per mille (pages in use against the map's size). New records are refused at 800,
 * tombstones and deletions never. */
uint32_t store_fill_permille(struct store *s);

#endif
