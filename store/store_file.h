/* The store's file, for store.c alone: what a value looks like in it, and whether it can be
 * trusted.
 *
 * A value in LMDB is BLAKE2b-128 of (key's length u16 LE ‖ key ‖ value), then the value: so a
 * flipped bit in either, or a value under another's key, is seen. */
#ifndef UNIMESH_STORE_STORE_FILE_H
#define UNIMESH_STORE_STORE_FILE_H

#include "store/base/err.h"

#include <lmdb.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    STORE_SUM_BYTES = 16,
    STORE_KEY_MAX = 511, /* LMDB's own */
    STORE_ASIDE_KEPT = 3 /* damaged files kept; each is as large as the map */
};

void store_sum(const void *key, size_t key_len, const void *value, size_t len,
               uint8_t out[static STORE_SUM_BYTES]);
bool store_value_sound(const MDB_val *key, const MDB_val *stored);

enum err store_err(int rc); /* of LMDB's or errno's numbers */

/* Read all of dir/data.mdb (tree, free list, values) in a child, which a damaged page may kill.
 * ERR_CORRUPT: it did, or the pages don't fit each other; damaged values alone are no reason.
 * ERR_NOT_FOUND: no file, or an empty one. Other errors: it can't be told. Waits for the child;
 * needs no SIGCHLD handling and leaves none of it to the caller's. */
enum err store_scan(int dir_fd, const char *dir, size_t map_bytes) MUST_USE;

/* Rename data.mdb to data.mdb.damaged-N, N one more than the largest there; the oldest beyond
 * STORE_ASIDE_KEPT go. */
enum err store_set_aside(int dir_fd, unsigned *number) MUST_USE;

#endif
