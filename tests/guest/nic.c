/* Virtio's net device, 5.1 of its specification: queue 0 receives, queue 1 transmits, each frame
 * behind a header that says nothing here, since no offload is agreed on. A legacy device wants the
 * header in a descriptor of its own. */
#include "tests/guest/nic.h"

#include "examples/guest/pc.h"

enum { FEATURE_MAC = 1 << 5 };

_Static_assert(NIC_SLOTS == 8 * sizeof(((struct nic *)0)->out_busy), "a bit a slot");

static void give_in(struct nic *n, unsigned slot)
{
    struct nic_buffer *b = &n->in[slot];
    const struct virtq_part parts[] = {{b->header, sizeof b->header, VIRTQ_WRITTEN_BY_DEVICE},
                                       {b->frame, sizeof b->frame, VIRTQ_WRITTEN_BY_DEVICE}};
    virtq_give(&n->receive, (uint16_t)(2 * slot), parts, 2);
}

bool nic_open(struct nic *n, unsigned index)
{
    if (!virtio_find(&n->device, VIRTIO_NET, index) ||
        virtio_features(&n->device, FEATURE_MAC) == 0 || !virtq_open(&n->receive, &n->device, 0) ||
        !virtq_open(&n->transmit, &n->device, 1) || n->receive.size < 2 * NIC_SLOTS ||
        n->transmit.size < 2 * NIC_SLOTS)
        return false;
    for (unsigned i = 0; i < sizeof n->mac; i++)
        n->mac[i] = virtio_config8(&n->device, i);
    for (unsigned slot = 0; slot < NIC_SLOTS; slot++)
        give_in(n, slot);
    virtio_ready(&n->device);
    virtq_kick(&n->receive);
    return true;
}

static void sent(struct nic *n)
{
    uint16_t first;
    uint32_t len;
    while (virtq_take(&n->transmit, &first, &len))
        n->out_busy &= ~(1u << first / 2);
}

void nic_send(struct nic *n, const uint8_t *frame, size_t len)
{
    for (sent(n); n->out_busy == UINT32_MAX; sent(n))
        pc_wait_until(PC_FOREVER);
    unsigned slot = (unsigned)__builtin_ctz(~n->out_busy);
    struct nic_buffer *b = &n->out[slot];
    for (size_t i = 0; i < len; i++)
        b->frame[i] = frame[i];
    const struct virtq_part parts[] = {{b->header, sizeof b->header, VIRTQ_READ_BY_DEVICE},
                                       {b->frame, (uint32_t)len, VIRTQ_READ_BY_DEVICE}};
    n->out_busy |= 1u << slot;
    virtq_give(&n->transmit, (uint16_t)(2 * slot), parts, 2);
    virtq_kick(&n->transmit);
}

void nic_flush(struct nic *n)
{
    for (sent(n); n->out_busy != 0; sent(n))
        pc_wait_until(PC_FOREVER);
}

size_t nic_receive(struct nic *n, uint8_t frame[static FRAME_MAX])
{
    uint16_t first;
    uint32_t len;
    if (!virtq_take(&n->receive, &first, &len))
        return 0;
    const struct nic_buffer *b = &n->in[first / 2];
    len = len < NIC_HEADER ? 0 : len - NIC_HEADER;
    len = len < FRAME_MAX ? len : FRAME_MAX;
    for (uint32_t i = 0; i < len; i++)
        frame[i] = b->frame[i];
    give_in(n, first / 2);
    virtq_kick(&n->receive);
    return len;
}
