#define _GNU_SOURCE
#include "store/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

enum err disk_err(int number)
{
    switch (number) {
    case 0:
        return ERR_OK;
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
        return ERR_DISK_FULL;
    case ENOENT:
        return ERR_NOT_FOUND;
    case EEXIST:
        return ERR_EXISTS;
    case EACCES:
    case EPERM:
    case EROFS:
        return ERR_DENIED;
    case ENOMEM:
        return ERR_NOMEM;
    case EAGAIN:
    case EBUSY:
        return ERR_BUSY;
    default:
        return ERR_IO;
    }
}

enum err disk_sync_dir(int dir_fd)
{
    return fsync(dir_fd) == 0 ? ERR_OK : disk_err(errno);
}

enum err disk_open_dir(const char *dir, int *fd)
{
    int made = mkdir(dir, 0755);
    if (made < 0 && errno != EEXIST)
        return disk_err(errno);
    int d = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (d < 0)
        return disk_err(errno);
    if (made == 0) {
        int parent = openat(d, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        enum err err = parent < 0 ? disk_err(errno) : disk_sync_dir(parent);
        if (parent >= 0)
            close(parent);
        if (err) {
            close(d);
            return err;
        }
    }
    *fd = d;
    return ERR_OK;
}

enum err disk_write_at(int fd, const void *bytes, size_t len, uint64_t offset)
{
    const char *p = bytes;
    while (len > 0) {
        ssize_t n = pwrite(fd, p, len, (off_t)offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? disk_err(errno) : ERR_IO;
        p += n;
        len -= (size_t)n;
        offset += (uint64_t)n;
    }
    return ERR_OK;
}

enum err disk_read_at(int fd, void *out, size_t len, uint64_t offset, size_t *got)
{
    char *p = out;
    *got = 0;
    while (*got < len) {
        ssize_t n = pread(fd, p + *got, len - *got, (off_t)(offset + *got));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return disk_err(errno);
        if (n == 0)
            break;
        *got += (size_t)n;
    }
    return ERR_OK;
}

static enum err write_zeros(int fd, uint64_t size_bytes)
{
    static const char zeros[64 * 1024];
    struct stat st;
    if (fstat(fd, &st) < 0)
        return disk_err(errno);
    for (uint64_t at = (uint64_t)st.st_size; at < size_bytes;) {
        uint64_t n = size_bytes - at < sizeof zeros ? size_bytes - at : sizeof zeros;
        enum err err = disk_write_at(fd, zeros, (size_t)n, at);
        if (err)
            return err;
        at += n;
    }
    return ERR_OK;
}

enum err disk_preallocate(int fd, uint64_t size_bytes)
{
    int r;
    do
        r = fallocate(fd, 0, 0, (off_t)size_bytes);
    while (r < 0 && errno == EINTR);
    if (r == 0)
        return ERR_OK;
    if (errno == EOPNOTSUPP || errno == ENOSYS)
        return write_zeros(fd, size_bytes);
    return disk_err(errno);
}
