/* Files, for the store and the images: whole reads and writes, allocation ahead, durable names.
 * Every errno becomes an enum err here. Nothing is retried but EINTR. */
#ifndef UNIMESH_STORE_DISK_H
#define UNIMESH_STORE_DISK_H

#include "store/base/err.h"

#include <stddef.h>
#include <stdint.h>

enum err disk_err(int number); /* of an errno; ERR_IO for what has no better word */

/* Open a folder, made (mode 0755, its name on disk) if missing; its parent must exist. The caller
 * closes *fd. */
enum err disk_open_dir(const char *dir, int *fd) MUST_USE;
/* What was renamed, made or removed in the folder is on disk. */
enum err disk_sync_dir(int dir_fd) MUST_USE;

/* Blocks for the first size_bytes of the file, so that writing there can't fail for lack of room;
 * what is in it stays. Where the filesystem can't, zeros are written after the file's end.
 * ERR_DISK_FULL, ERR_IO. */
enum err disk_preallocate(int fd, uint64_t size_bytes) MUST_USE;

enum err disk_write_at(int fd, const void *bytes, size_t len, uint64_t offset) MUST_USE;
/* *got is less than len at the file's end only. */
enum err disk_read_at(int fd, void *out, size_t len, uint64_t offset, size_t *got) MUST_USE;

#endif
