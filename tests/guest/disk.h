/* A block device, one request at a time. */
#ifndef UNIMESH_TESTS_GUEST_DISK_H
#define UNIMESH_TESTS_GUEST_DISK_H

#include "tests/guest/virtio_pci.h"

enum { DISK_SECTOR = 512, DISK_SECTOR_MAX = 4096 };

struct disk {
    uint32_t sector_size; /* 512 to 4096 */
    uint64_t sectors;
    bool read_only;
    bool flushes; /* a write stays only if a flush follows */
    struct virtio device;
    struct virtq queue;
};

/* The first block device; false: there is none, or it can't be used. The disk is zeroed before, and
 * stays where it is. */
bool disk_open(struct disk *d);
/* Whole sectors. They return 0, or what the device says: 1 for an error, 2 for what it doesn't do.
 */
unsigned disk_read(struct disk *d, uint64_t sector, void *p, uint32_t len);
/* It is kept, once this returns 0. */
unsigned disk_write(struct disk *d, uint64_t sector, const void *p, uint32_t len);

#endif
