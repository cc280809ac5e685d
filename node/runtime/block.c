#define _GNU_SOURCE
#include "node/runtime/block.h"

#include "store/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void volume_name(const struct uid *app, uint16_t slot, uint64_t volume, char out[static VOLUME_NAME_SIZE])
{
    const struct unit_id id = {.app = *app, .slot = slot, .epoch = volume};
    unit_name(&id, out);
}

static struct flock first_byte(void)
{
    return (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 1};
}

enum err block_lock(int fd)
{
    struct flock l = first_byte();
    return fcntl(fd, F_OFD_SETLK, &l) == 0 ? ERR_OK : disk_err(errno);
}

bool block_locked(int fd)
{
    struct flock l = first_byte();
    return fcntl(fd, F_OFD_GETLK, &l) == 0 && l.l_type != F_UNLCK;
}

/* Names are ours (volume_name) or a manifest's (letters and digits): no path leads out of the folder. */
static int file_open(const char *volumes_dir, const char *volume, const char *device)
{
    int error, fd = -1, dir = -1, top = open(volumes_dir, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
    if (top >= 0)
        dir = openat(top, volume, O_DIRECTORY | O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (dir >= 0)
        fd = openat(dir, device, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
    error = errno;
    if (dir >= 0)
        close(dir);
    if (top >= 0)
        close(top);
    errno = error;
    return fd;
}

static enum err file_check(int fd, const struct tender_block *block, char *why, size_t size)
{
    struct stat st;
    enum err err = block_lock(fd);
    if (err) {
        (void)snprintf(why, size, "its volume %.67s can't be had: %s", block->device,
                       err == ERR_BUSY ? "another guest has it still" : strerror(errno));
        return err;
    }
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0 && st.st_size % block->sector_bytes == 0)
        return ERR_OK;
    (void)snprintf(why, size, "its volume %.67s is no file of whole sectors of %u bytes", block->device,
                   block->sector_bytes);
    return ERR_INVALID;
}

enum err block_files_open(struct block_files *b, const char *volumes_dir, const char *volume,
                          const struct tender_block *blocks, uint32_t count, char *why, size_t size)
{
    b->count = 0;
    for (uint32_t i = 0; i < count; i++) {
        int fd = file_open(volumes_dir, volume, blocks[i].device);
        enum err err = fd < 0 ? disk_err(errno) : ERR_OK;
        if (err)
            (void)snprintf(why, size, "its volume %.67s is not to be had on this host: %s", blocks[i].device,
                           strerror(errno));
        else
            b->fd[b->count++] = fd;
        if (!err)
            err = file_check(fd, &blocks[i], why, size);
        if (err) {
            block_files_close(b);
            return err;
        }
    }
    return ERR_OK;
}

enum err block_files_link(const char *volumes_dir, const char *volume, const struct tender_block *blocks,
                          uint32_t count, int folder)
{
    char path[4096], name[TENDER_BLOCK_FILE];
    for (uint32_t i = 0; i < count; i++) {
        tender_block_file(i, name);
        if ((size_t)snprintf(path, sizeof path, "%s/%s/%s", volumes_dir, volume, blocks[i].device) >= sizeof path)
            return ERR_TOO_LARGE;
        if (symlinkat(path, folder, name) < 0)
            return disk_err(errno);
    }
    return ERR_OK;
}

void block_files_unlink(int folder)
{
    char name[TENDER_BLOCK_FILE];
    for (uint32_t i = 0; i < BLOCKS_MAX; i++) {
        tender_block_file(i, name);
        (void)unlinkat(folder, name, 0);
    }
}

/* Each may be where another is to be: first out of the way, then into place. */
void block_files_close(struct block_files *b)
{
    for (uint32_t i = 0; i < b->count; i++)
        if (b->fd[i] >= 0)
            close(b->fd[i]);
    b->count = 0;
}
