/* Virtio's block device, 5.2 of its specification: a request is a header, the data and a byte for
 * the verdict. */
#include "tests/guest/disk.h"

#include "examples/guest/pc.h"

enum {
    FEATURE_READ_ONLY = 1 << 5,
    FEATURE_SECTOR_SIZE = 1 << 6,
    FEATURE_FLUSH = 1 << 9,
    CONFIG_CAPACITY = 0,
    CONFIG_SECTOR_SIZE = 20,
    REQUEST_READ = 0,
    REQUEST_WRITE = 1,
    REQUEST_FLUSH = 4
};

bool disk_open(struct disk *d)
{
    if (!virtio_find(&d->device, VIRTIO_BLOCK, 0))
        return false;
    uint32_t has =
        virtio_features(&d->device, FEATURE_READ_ONLY | FEATURE_SECTOR_SIZE | FEATURE_FLUSH);
    d->read_only = (has & FEATURE_READ_ONLY) != 0;
    d->flushes = (has & FEATURE_FLUSH) != 0;
    d->sector_size = (has & FEATURE_SECTOR_SIZE) != 0
                         ? virtio_config32(&d->device, CONFIG_SECTOR_SIZE)
                         : DISK_SECTOR;
    /* The capacity counts 512 bytes, whatever a sector is. */
    uint64_t low = virtio_config32(&d->device, CONFIG_CAPACITY);
    uint64_t high = virtio_config32(&d->device, CONFIG_CAPACITY + 4);
    if (d->sector_size < DISK_SECTOR || d->sector_size > DISK_SECTOR_MAX ||
        d->sector_size % DISK_SECTOR != 0 || !virtq_open(&d->queue, &d->device, 0) ||
        d->queue.size < 3)
        return false;
    d->sectors = (high << 32 | low) / (d->sector_size / DISK_SECTOR);
    virtio_ready(&d->device);
    return true;
}

static unsigned request(struct disk *d, uint32_t type, uint64_t sector, void *p, uint32_t len)
{
    static struct {
        uint32_t type, reserved;
        uint64_t sector;
    } header;
    static volatile uint8_t verdict;
    header.type = type;
    header.sector = sector * (d->sector_size / DISK_SECTOR);
    verdict = 255;
    struct virtq_part parts[3] = {{&header, sizeof header, VIRTQ_READ_BY_DEVICE}};
    unsigned count = 1;
    if (len > 0)
        parts[count++] = (struct virtq_part){
            p, len, type == REQUEST_READ ? VIRTQ_WRITTEN_BY_DEVICE : VIRTQ_READ_BY_DEVICE};
    parts[count++] = (struct virtq_part){(void *)&verdict, 1, VIRTQ_WRITTEN_BY_DEVICE};
    virtq_give(&d->queue, 0, parts, count);
    virtq_kick(&d->queue);
    uint16_t first;
    uint32_t written;
    while (!virtq_take(&d->queue, &first, &written))
        pc_wait_until(PC_FOREVER);
    return verdict;
}

unsigned disk_read(struct disk *d, uint64_t sector, void *p, uint32_t len)
{
    return request(d, REQUEST_READ, sector, p, len);
}

unsigned disk_write(struct disk *d, uint64_t sector, const void *p, uint32_t len)
{
    unsigned wrong = request(d, REQUEST_WRITE, sector, (void *)p, len);
    return wrong != 0 || !d->flushes ? wrong : request(d, REQUEST_FLUSH, 0, NULL, 0);
}
