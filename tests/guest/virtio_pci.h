/* Virtio devices of a PC by their legacy interface: what Solo5's virtio guests speak, and what
 * QEMU's transitional devices offer. Follows "Virtual I/O Device (VIRTIO) Version 1.1", the
 * sections on the legacy interface: 4.1.4.8 (the registers, behind BAR 0), 2.6 and 2.6.2 (split
 * queues, their layout in memory). Memory is mapped one to one. */
#ifndef UNIMESH_TESTS_GUEST_VIRTIO_PCI_H
#define UNIMESH_TESTS_GUEST_VIRTIO_PCI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum virtio_kind { VIRTIO_NET = 1, VIRTIO_BLOCK = 2 };

struct virtio {
    uint16_t registers;
};

/* The n-th of its kind, from 0, in the order of the bus; reset, and its interrupt line open. A
 * manifest's devices of a kind are given in that order. False: there is none. */
bool virtio_find(struct virtio *v, enum virtio_kind kind, unsigned n);
/* Which of these features it has; they are in use from then on. */
uint32_t virtio_features(struct virtio *v, uint32_t wanted);
/* Of the device's own registers. */
uint8_t virtio_config8(const struct virtio *v, unsigned at);
uint32_t virtio_config32(const struct virtio *v, unsigned at);
void virtio_ready(struct virtio *v);

enum {
    VIRTQ_SIZE_MAX = 1024, /* the device fixes the size; QEMU's are 128 or 256 by default */
    VIRTQ_BYTES = 16 * VIRTQ_SIZE_MAX + 4096 + 4096 + 8 * VIRTQ_SIZE_MAX + 4096
};

struct virtq {
    uint16_t size, index, seen, registers;
    volatile struct virtq_descriptor *descriptor;
    volatile struct virtq_available *available;
    volatile struct virtq_used *used;
    uint8_t memory[VIRTQ_BYTES] __attribute__((aligned(4096)));
};

enum virtq_direction { VIRTQ_READ_BY_DEVICE = 0, VIRTQ_WRITTEN_BY_DEVICE = 2 };

struct virtq_part {
    void *p;
    uint32_t len;
    enum virtq_direction direction;
};

/* Between virtio_features and virtio_ready. False: the device has no such queue, or one that is too
 * large. */
bool virtq_open(struct virtq *q, const struct virtio *v, uint16_t index);
/* Give the device these parts, as descriptors from `first` on; take care that they are free. Tell
 * it with virtq_kick. */
void virtq_give(struct virtq *q, uint16_t first, const struct virtq_part *parts, unsigned count);
void virtq_kick(const struct virtq *q);
/* Something that the device is done with: its first descriptor, and how many bytes it wrote. */
bool virtq_take(struct virtq *q, uint16_t *first, uint32_t *len);

#endif
