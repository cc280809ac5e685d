#define _GNU_SOURCE
#include "node/runtime/uids.h"

#include "store/disk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { RUNS_MAX = 8192 };

static int uid_compare(const void *a, const void *b)
{
    uint32_t x, y;
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return x < y ? -1 : x > y;
}

/* FNV-1a: spread, no secret. */
static uint32_t spread(const char *run)
{
    uint32_t h = 2166136261u;
    for (; *run != '\0'; run++)
        h = (h ^ (uint8_t)*run) * 16777619u;
    return h;
}

/* The uids that folders have, ascending. */
static enum err taken(int units_fd, uint32_t *uids, size_t *count)
{
    int fd = openat(units_fd, ".", O_DIRECTORY | O_RDONLY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    struct stat st;
    *count = 0;
    if (dir == NULL) {
        enum err err = disk_err(errno);
        if (fd >= 0)
            close(fd);
        return err;
    }
    for (const struct dirent *d; (d = readdir(dir)) != NULL;) {
        if (d->d_name[0] == '.' || fstatat(units_fd, d->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
            continue;
        if (*count == RUNS_MAX) {
            (void)closedir(dir);
            return ERR_FULL;
        }
        uids[(*count)++] = st.st_uid;
    }
    (void)closedir(dir);
    qsort(uids, *count, sizeof uids[0], uid_compare);
    return ERR_OK;
}

enum err uids_find(const struct jail_config *cfg, int units_fd, const char *run, uint32_t *out)
{
    static uint32_t uids[RUNS_MAX];
    uint32_t first = cfg->uid_count > 0 ? cfg->uid_first : JAIL_UID_FIRST;
    uint32_t range = cfg->uid_count > 0 ? cfg->uid_count : JAIL_UID_COUNT;
    size_t count;
    enum err err = taken(units_fd, uids, &count);
    if (err)
        return err;
    for (uint32_t i = 0, at = spread(run) % range; i < range; i++, at = at + 1 < range ? at + 1 : 0) {
        uint32_t uid = first + at;
        if (bsearch(&uid, uids, count, sizeof uid, uid_compare) == NULL) {
            *out = uid;
            return ERR_OK;
        }
    }
    return ERR_FULL;
}
