/* A guest's volumes, as mesh-priv gives them to it: files of the volumes folder, one a device, in the folder of the
 * slot's volume (volume_name). A guest has its volumes for itself: each file is locked before the shim is forked, the
 * tender inherits the descriptor (jail_file_add) and nobody else keeps it, so the lock goes with it, whatever became of
 * meshd and mesh-priv. It is a lock of an open file's (fcntl, OFD) on the first byte: QEMU's own are on
 * others, and whether it is held can be asked without taking it. */
#ifndef UNIMESH_NODE_RUNTIME_BLOCK_H
#define UNIMESH_NODE_RUNTIME_BLOCK_H

#include "node/runtime/tender.h"
#include "node/runtime/unit_name.h"
#include "store/base/err.h"
#include "store/base/id.h"

enum { VOLUME_NAME_SIZE = UNIT_NAME_SIZE };

/* UID.SLOT.EPOCH: whose it is, and the epoch at which it was made. */
void volume_name(const struct uid *app, uint16_t slot, uint64_t volume, char out[static VOLUME_NAME_SIZE]);

enum err block_lock(int fd) MUST_USE; /* for as long as the file is open, here or in who inherits it. ERR_BUSY */
bool block_locked(int fd);            /* by another */

struct block_files {
    uint32_t count;
    int fd[BLOCKS_MAX];
};

/* Open and lock them. ERR_NOT_FOUND: it is not on this disk; ERR_BUSY: a guest has it; ERR_INVALID: not a file of whole
 * sectors; ERR_DENIED, ERR_IO. `why` says which, and what. */
enum err block_files_open(struct block_files *b, const char *volumes_dir, const char *volume,
                          const struct tender_block *blocks, uint32_t count, char *why, size_t size) MUST_USE;
/* Give them the names of tender_block_file() in the run's folder. ERR_DISK_FULL, ERR_IO. */
enum err block_files_link(const char *volumes_dir, const char *volume, const struct tender_block *blocks,
                          uint32_t count, int folder) MUST_USE;
void block_files_unlink(int folder);
/* Of those that nobody has taken (-1). */
void block_files_close(struct block_files *b);

#endif
