/* Images on disk, content-addressed.
 *
 * An image is cut into chunks of IMAGE_CHUNK bytes (the last may be shorter). Its list is
 *   "unimesh image 1\n" ‖ size u64 LE ‖ BLAKE2b-256 of each chunk
 * and its name is the BLAKE2b-256 of the list. So a list can be checked against the name, a chunk against the list,
 * and a whole is never trusted before every chunk was.
 *
 *   DIR/HEX.list   the list         DIR/HEX.image   the file that a tender loads
 *   DIR/HEX.part   one being filled (name of a temporary; renamed when whole and on disk)
 *
 * Synchronous, meant for a worker thread (uv_queue_work) when large; no libuv in here. */
#ifndef UNIMESH_STORE_IMAGES_H
#define UNIMESH_STORE_IMAGES_H

#include "store/base/err.h"
#include "store/base/id.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    IMAGE_CHUNK = 64 * 1024,
    IMAGE_BYTES_MAX = 256 * 1024 * 1024,
    IMAGE_CHUNKS_MAX = IMAGE_BYTES_MAX / IMAGE_CHUNK,
    IMAGE_LIST_BYTES_MAX = 24 + IMAGE_CHUNKS_MAX * 32
};

struct images;
enum err images_open(struct images **out, const char *dir) MUST_USE; /* makes dir; removes stale parts */
void images_close(struct images *im);

bool images_has(const struct images *im, const struct hash *image);
/* Visit what is there. */
void images_each(const struct images *im, void (*visit)(void *ctx, const struct hash *image, uint64_t size),
                 void *ctx);
/* DIR/HEX.image, for a tender. ERR_TOO_LARGE. */
enum err images_path(const struct images *im, const struct hash *image, char *out, size_t size) MUST_USE;
enum err images_remove(struct images *im, const struct hash *image) MUST_USE;

/* The list's bytes, and one chunk's, for a peer. The buffer is IMAGE_LIST_BYTES_MAX / IMAGE_CHUNK long. */
enum err images_read_list(const struct images *im, const struct hash *image, void *out, size_t size,
                          size_t *len) MUST_USE;
enum err images_read_chunk(const struct images *im, const struct hash *image, uint32_t index, void *out,
                           size_t *len) MUST_USE;

/* Check a list against its name and read it. */
enum err image_list_check(const void *list, size_t len, const struct hash *image, uint64_t *size_bytes,
                          uint32_t *chunks) MUST_USE;

/* Make the list of bytes: image_list_len of them, and the name. ERR_INVALID: no bytes; ERR_TOO_LARGE. */
size_t image_list_len(uint64_t size_bytes);
enum err image_list_make(const void *bytes, size_t len, void *list, struct hash *image) MUST_USE;

/* Filling one. begin with a checked list; chunks in any order, each verified; commit when all are there:
 * fsync, rename, fsync folder. ERR_CORRUPT: a chunk that is not what the list says. ERR_DISK_FULL: nothing is left
 * behind. abort removes the part. Space is allocated at begin. */
struct image_part;
enum err image_part_begin(struct images *im, const struct hash *image, const void *list, size_t len,
                          struct image_part **out) MUST_USE;
enum err image_part_put(struct image_part *p, uint32_t index, const void *chunk, size_t len) MUST_USE;
uint32_t image_part_missing(const struct image_part *p, uint32_t *first); /* how many; which is first */
enum err image_part_commit(struct image_part **p) MUST_USE;
void image_part_abort(struct image_part **p);

/* Take a whole file's bytes: names it and stores it (for deploy). */
enum err images_add(struct images *im, const void *bytes, size_t len, struct hash *image) MUST_USE;
/* The name that bytes would have. */
void image_name(const void *bytes, size_t len, struct hash *image);
/* Read every chunk again against the list. ERR_CORRUPT: damaged: the caller removes and fetches it. */
enum err images_verify(const struct images *im, const struct hash *image) MUST_USE;

#endif
