/* A net device: frames out and in. */
#ifndef UNIMESH_TESTS_GUEST_NIC_H
#define UNIMESH_TESTS_GUEST_NIC_H

#include "tests/guest/virtio_pci.h"

enum { FRAME_MAX = 1514, NIC_SLOTS = 32, NIC_HEADER = 10 };

struct nic {
    uint8_t mac[6];
    struct virtio device;
    struct virtq receive, transmit;
    struct nic_buffer {
        uint8_t header[NIC_HEADER];
        uint8_t frame[FRAME_MAX];
    } in[NIC_SLOTS], out[NIC_SLOTS];
    uint32_t out_busy; /* a bit a slot */
};

/* The n-th net device; false: there is none, or it can't be used. The nic is zeroed before, and
 * stays where it is. */
bool nic_open(struct nic *n, unsigned index);
/* Copies it. Waits while all slots are busy. */
void nic_send(struct nic *n, const uint8_t *frame, size_t len);
/* Returns when all that was sent has left. */
void nic_flush(struct nic *n);
/* A frame that came, into `frame`: its length; 0: none. */
size_t nic_receive(struct nic *n, uint8_t frame[static FRAME_MAX]);

#endif
