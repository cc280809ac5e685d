#include "tests/guest/virtio_pci.h"

#include "examples/guest/guest.h"
#include "examples/guest/pc.h"

/* ---- the bus --------------------------------------------------------------------------------- */

enum {
    PCI_ADDRESS = 0xcf8,
    PCI_DATA = 0xcfc,
    PCI_ID = 0x00,
    PCI_COMMAND = 0x04,
    PCI_BAR0 = 0x10,
    PCI_LINE = 0x3c,
    COMMAND_PORTS = 1,
    COMMAND_MASTER = 4,
    COMMAND_NO_INTERRUPT = 1 << 10,
    VENDOR_VIRTIO = 0x1af4,
    DEVICE_TRANSITIONAL = 0x1000 /* + kind - 1 */
};

static uint32_t pci_read(unsigned slot, unsigned at)
{
    out32(PCI_ADDRESS, 0x80000000u | slot << 11 | at);
    return in32(PCI_DATA);
}

static void pci_write(unsigned slot, unsigned at, uint32_t v)
{
    out32(PCI_ADDRESS, 0x80000000u | slot << 11 | at);
    out32(PCI_DATA, v);
}

/* ---- a device -------------------------------------------------------------------------------- */

enum {
    DEVICE_FEATURES = 0,
    GUEST_FEATURES = 4,
    QUEUE_PAGE = 8,
    QUEUE_SIZE = 12,
    QUEUE_SELECT = 14,
    QUEUE_NOTIFY = 16,
    STATUS = 18,
    INTERRUPT = 19,
    CONFIG = 20, /* without MSI-X */
    STATUS_ACKNOWLEDGE = 1,
    STATUS_DRIVER = 2,
    STATUS_DRIVER_OK = 4
};

enum { DEVICES_MAX = 8 };
static uint16_t devices[DEVICES_MAX];
static unsigned device_count;

/* A line may be that of several devices. Reading the register quiets one. */
static void on_interrupt(void)
{
    for (unsigned i = 0; i < device_count; i++)
        (void)in8(devices[i] + INTERRUPT);
}

static bool begin(struct virtio *v, unsigned slot)
{
    uint32_t bar = pci_read(slot, PCI_BAR0), line = pci_read(slot, PCI_LINE) & 0xff;
    if ((bar & 1) == 0 || line == 0 || line > 15 || device_count == DEVICES_MAX) {
        say("virtio: a device without a legacy interface or an interrupt\n");
        return false;
    }
    uint32_t command = pci_read(slot, PCI_COMMAND) & 0xffff & ~(uint32_t)COMMAND_NO_INTERRUPT;
    pci_write(slot, PCI_COMMAND, command | COMMAND_PORTS | COMMAND_MASTER);
    v->registers = (uint16_t)(bar & ~3u);
    out8(v->registers + STATUS, 0);
    out8(v->registers + STATUS, STATUS_ACKNOWLEDGE);
    out8(v->registers + STATUS, STATUS_ACKNOWLEDGE | STATUS_DRIVER);
    devices[device_count++] = v->registers;
    pc_interrupt(line, on_interrupt);
    return true;
}

bool virtio_find(struct virtio *v, enum virtio_kind kind, unsigned n)
{
    uint32_t id = (uint32_t)(DEVICE_TRANSITIONAL + kind - 1) << 16 | VENDOR_VIRTIO;
    for (unsigned slot = 0; slot < 32; slot++)
        if (pci_read(slot, PCI_ID) == id && n-- == 0)
            return begin(v, slot);
    return false;
}

uint32_t virtio_features(struct virtio *v, uint32_t wanted)
{
    uint32_t both = in32(v->registers + DEVICE_FEATURES) & wanted;
    out32(v->registers + GUEST_FEATURES, both);
    return both;
}

uint8_t virtio_config8(const struct virtio *v, unsigned at)
{
    return in8((uint16_t)(v->registers + CONFIG + at));
}

uint32_t virtio_config32(const struct virtio *v, unsigned at)
{
    return in32((uint16_t)(v->registers + CONFIG + at));
}

void virtio_ready(struct virtio *v)
{
    out8(v->registers + STATUS, STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_DRIVER_OK);
}

/* ---- a queue --------------------------------------------------------------------------------- */

struct virtq_descriptor {
    uint64_t address;
    uint32_t len;
    uint16_t flags, next;
};

struct virtq_available {
    uint16_t flags, index, ring[];
};

struct virtq_used {
    uint16_t flags, index;
    struct {
        uint32_t first, len;
    } ring[];
};

enum { DESCRIPTOR_NEXT = 1 };

/* What was written lies in memory before what follows: on this processor only the compiler could
 * change that. */
static void in_order(void)
{
    __asm__ volatile("" : : : "memory");
}

bool virtq_open(struct virtq *q, const struct virtio *v, uint16_t index)
{
    out16(v->registers + QUEUE_SELECT, index);
    q->size = in16(v->registers + QUEUE_SIZE);
    if (q->size == 0 || q->size > VIRTQ_SIZE_MAX)
        return false;
    q->index = index;
    q->registers = v->registers;
    q->descriptor = (void *)q->memory;
    q->available = (void *)(q->memory + 16u * q->size);
    uint64_t until = 16u * q->size + 6u + 2u * q->size;
    q->used = (void *)(q->memory + ((until + 4095) & ~UINT64_C(4095)));
    out32(v->registers + QUEUE_PAGE, (uint32_t)((uint64_t)q->memory / 4096));
    return true;
}

void virtq_give(struct virtq *q, uint16_t first, const struct virtq_part *parts, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        volatile struct virtq_descriptor *d = &q->descriptor[first + i];
        d->address = (uint64_t)parts[i].p;
        d->len = parts[i].len;
        d->flags =
            (uint16_t)((unsigned)parts[i].direction | (i + 1 < count ? DESCRIPTOR_NEXT : 0u));
        d->next = (uint16_t)(first + i + 1);
    }
    q->available->ring[q->available->index % q->size] = first;
    in_order();
    q->available->index++;
    in_order();
}

void virtq_kick(const struct virtq *q)
{
    out16(q->registers + QUEUE_NOTIFY, q->index);
}

bool virtq_take(struct virtq *q, uint16_t *first, uint32_t *len)
{
    if (q->used->index == q->seen)
        return false;
    in_order();
    *first = (uint16_t)q->used->ring[q->seen % q->size].first;
    *len = q->used->ring[q->seen % q->size].len;
    q->seen++;
    return true;
}
