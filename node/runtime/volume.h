/* Volumes on this host's disk, as meshd makes and removes them; block.h gives them to guests.
 *
 *   VOLUMES/UID.SLOT.EPOCH/   one a slot and making (volume_name)
 *     DEVICE                  one a block device: the sectors, raw
 *     .app                    the app's name when it was made: for people, as its records may be gone
 *
 * A folder appears whole or not at all: it is made aside, under a name that begins with a dot, and renamed. Everything
 * here waits for the disk: not for the loop's thread. */
#ifndef UNIMESH_NODE_RUNTIME_VOLUME_H
#define UNIMESH_NODE_RUNTIME_VOLUME_H

#include "store/base/err.h"
#include "store/base/id.h"
#include "store/model/bodies.h"

#include <stddef.h>

/* Have the folder, without what a crash left half made. */
enum err volumes_open(const char *dir) MUST_USE;

/* Make it, on disk when this returns; one that is there already is looked at as volume_check does. quota_mib: what all
 * volumes together may have, as their guests see them; 0: no bound. ERR_FULL: it would be more; ERR_DISK_FULL: and
 * nothing is left of it. `why` is a sentence. Of two at once, neither sees the other: one at a time. */
enum err volume_make(const char *dir, const struct unit_id *id, const char *app, const struct block_ref *blocks,
                     uint32_t count, uint32_t quota_mib, char *why, size_t size) MUST_USE;
/* It is there, each device as large as asked at least: what is smaller grows, a device that is new gets its file.
 * ERR_NOT_FOUND: it isn't there; ERR_FULL, ERR_DISK_FULL, ERR_DENIED, ERR_IO. */
enum err volume_check(const char *dir, const struct unit_id *id, const struct block_ref *blocks, uint32_t count,
                      uint32_t quota_mib, char *why, size_t size) MUST_USE;
/* One device of it. WHOLE: with the last one its folder goes, too, and it is no more; KEEP_PLACE: it stays, so that the
 * next start gets an empty one. ERR_BUSY: a guest has it; ERR_NOT_FOUND, ERR_DENIED, ERR_IO. */
enum volume_removal { VOLUME_WHOLE, VOLUME_KEEP_PLACE };
enum err volume_remove(const char *dir, const struct unit_id *id, const char *device,
                       enum volume_removal how) MUST_USE;

/* For reading and writing; the caller closes *fd. LOCKED: no guest has it, nor gets it before that; ERR_BUSY: one does.
 * ERR_NOT_FOUND, ERR_DENIED, ERR_IO. */
enum volume_lock { VOLUME_LOCKED, VOLUME_LIVE };
enum err volume_device_open(const char *dir, const struct unit_id *id, const char *device, enum volume_lock lock,
                            int *fd) MUST_USE;

/* A copy of another's volume lies aside until it is kept. Open one of its devices, made if missing, and the folder,
 * too; the caller closes *fd. Errors as volume_make's, of this device. */
enum err volume_aside_open(const char *dir, const struct unit_id *id, const char *app, const struct block_ref *b,
                           uint32_t quota_mib, int *fd, char *why, size_t size) MUST_USE;
/* It gets that size, and its room, if it isn't sparse. ERR_DISK_FULL, ERR_IO. */
enum err volume_aside_size(int fd, uint64_t size_bytes, uint32_t sparse) MUST_USE;
enum err volume_aside_keep(const char *dir, const struct unit_id *id) MUST_USE; /* its files are on disk already */
/* Whole or aside, it goes. ERR_BUSY: a guest has it. */
enum err volume_drop(const char *dir, const struct unit_id *id) MUST_USE;

struct volume_info {
    struct unit_id id; /* app, slot, epoch */
    char app[NAME_SIZE]; /* "": not known */
    uint32_t device_count;
    struct volume_device {
        char device[DEVICE_SIZE];
        uint64_t size_bytes, disk_bytes; /* as the guest sees it; what it takes */
    } devices[BLOCKS_MAX]; /* ascending */
    bool held; /* a guest has it, or something that copies it */
};
void volumes_each(const char *dir, void (*visit)(void *ctx, const struct volume_info *v), void *ctx);

#endif
