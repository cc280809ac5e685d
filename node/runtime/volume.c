#define _GNU_SOURCE
#include "node/runtime/volume.h"

#include "node/runtime/block.h"
#include "node/runtime/fault.h"
#include "node/runtime/unit_name.h"
#include "store/disk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char about[] = ".app";

enum { ASIDE_SIZE = 1 + VOLUME_NAME_SIZE, BLOCK_UNIT = 512 /* of st_blocks */ };

__attribute__((format(printf, 4, 5))) static enum err say(char *why, size_t size, enum err err, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vsnprintf(why, size, format, args);
    va_end(args);
    return err;
}

static void folder_drop(int top, const char *name)
{
    int fd = openat(top, name, O_DIRECTORY | O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    if (!d) {
        if (fd >= 0)
            close(fd);
        return;
    }
    for (const struct dirent *e; (e = readdir(d)) != NULL;)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            (void)unlinkat(dirfd(d), e->d_name, 0);
    closedir(d);
    (void)unlinkat(top, name, AT_REMOVEDIR);
}

enum err volumes_open(const char *dir)
{
    int top;
    enum err err = disk_open_dir(dir, &top);
    DIR *d = err ? NULL : fdopendir(top);
    if (err || !d)
        return err ? err : ERR_NOMEM;
    (void)fchmod(top, 0700);
    for (const struct dirent *e; (e = readdir(d)) != NULL;)
        if (e->d_name[0] == '.' && strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            folder_drop(top, e->d_name);
    closedir(d);
    return ERR_OK;
}

/* ---- Looking -------------------------------------------------------------------------------------- */

static bool file_held(int folder, const char *device)
{
    int fd = openat(folder, device, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    bool held = fd >= 0 && block_locked(fd);
    if (fd >= 0)
        close(fd);
    return held;
}

static int device_compare(const void *a, const void *b)
{
    return strcmp(((const struct volume_device *)a)->device, ((const struct volume_device *)b)->device);
}

/* What is looked at of each volume: a file more is opened for each thing that isn't a size. */
enum look { LOOK_SIZES, LOOK_ALL };

static void devices_read(int folder, struct volume_info *v, enum look look)
{
    DIR *d = fdopendir(folder);
    if (!d) {
        close(folder);
        return;
    }
    for (const struct dirent *e; (e = readdir(d)) != NULL && v->device_count < BLOCKS_MAX;) {
        struct volume_device *at = &v->devices[v->device_count];
        struct stat st;
        if (e->d_name[0] == '.' || strlen(e->d_name) >= sizeof at->device ||
            fstatat(folder, e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode))
            continue;
        (void)snprintf(at->device, sizeof at->device, "%s", e->d_name);
        at->size_bytes = (uint64_t)st.st_size;
        at->disk_bytes = (uint64_t)st.st_blocks * BLOCK_UNIT;
        v->held = v->held || (look == LOOK_ALL && file_held(folder, e->d_name));
        v->device_count++;
    }
    closedir(d);
    qsort(v->devices, v->device_count, sizeof v->devices[0], device_compare);
}

static void app_read(int folder, char out[static NAME_SIZE])
{
    char name[NAME_SIZE] = "";
    size_t got = 0;
    int fd = openat(folder, about, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    out[0] = '\0';
    if (fd >= 0 && disk_read_at(fd, name, sizeof name - 1, 0, &got) == ERR_OK && name_valid(name))
        memcpy(out, name, sizeof name);
    if (fd >= 0)
        close(fd);
}

static void each(const char *dir, enum look look, void (*visit)(void *ctx, const struct volume_info *v), void *ctx)
{
    DIR *d = opendir(dir);
    for (const struct dirent *e; d && (e = readdir(d)) != NULL;) {
        struct volume_info v = {.device_count = 0};
        int folder = unit_name_parse(e->d_name, &v.id)
                         ? -1
                         : openat(dirfd(d), e->d_name, O_DIRECTORY | O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
        if (folder < 0)
            continue;
        if (look == LOOK_ALL)
            app_read(folder, v.app);
        devices_read(folder, &v, look); /* closes it */
        visit(ctx, &v);
    }
    if (d)
        closedir(d);
}

void volumes_each(const char *dir, void (*visit)(void *ctx, const struct volume_info *v), void *ctx)
{
    each(dir, LOOK_ALL, visit, ctx);
}

/* ---- The quota ----------------------------------------------------------------------------------- */

struct quota {
    const struct unit_id *id;
    const struct block_ref *blocks;
    uint32_t count;
    uint64_t used, more; /* by all that there is; and what these blocks want beyond what they have */
};

static uint64_t beyond(const struct block_ref *b, const struct volume_info *v)
{
    uint64_t want = (uint64_t)b->size_mib << 20;
    for (uint32_t i = 0; v && i < v->device_count; i++)
        if (strcmp(v->devices[i].device, b->device) == 0)
            return want > v->devices[i].size_bytes ? want - v->devices[i].size_bytes : 0;
    return want;
}

static void quota_visit(void *ctx, const struct volume_info *v)
{
    struct quota *q = ctx;
    for (uint32_t i = 0; i < v->device_count; i++)
        q->used += v->devices[i].size_bytes;
    if (!uid_equal(&v->id.app, &q->id->app) || v->id.slot != q->id->slot || v->id.epoch != q->id->epoch)
        return;
    q->more = 0;
    for (uint32_t i = 0; i < q->count; i++)
        q->more += beyond(&q->blocks[i], v);
}

static enum err quota_check(const char *dir, const struct unit_id *id, const struct block_ref *blocks, uint32_t count,
                            uint32_t quota_mib, char *why, size_t size)
{
    struct quota q = {.id = id, .blocks = blocks, .count = count};
    for (uint32_t i = 0; i < count; i++)
        q.more += beyond(&blocks[i], NULL);
    if (quota_mib == 0)
        return ERR_OK;
    each(dir, LOOK_SIZES, quota_visit, &q);
    if (q.more == 0 || q.used + q.more <= (uint64_t)quota_mib << 20)
        return ERR_OK;
    return say(why, size, ERR_FULL, "%lluM of volumes are more than its host's quota of %uM leaves, with %lluM taken",
               (unsigned long long)(q.more >> 20), quota_mib, (unsigned long long)(q.used >> 20));
}

/* ---- Making ------------------------------------------------------------------------------------- */

static enum err file_grow(int fd, const struct block_ref *b)
{
    struct stat st;
    uint64_t bytes = (uint64_t)b->size_mib << 20;
    if (fstat(fd, &st) < 0)
        return disk_err(errno);
    if ((uint64_t)st.st_size >= bytes)
        return ERR_OK;
    enum err err = b->sparse ? ERR_OK : disk_preallocate(fd, bytes);
    if (!err && b->sparse && ftruncate(fd, (off_t)bytes) < 0)
        err = disk_err(errno);
    if (!err && fsync(fd) < 0)
        err = disk_err(errno);
    if (err)
        (void)!ftruncate(fd, st.st_size); /* what was there stays, and nothing else */
    return err;
}

/* A file that is new appears whole, as a volume does. */
static enum err file_make(int folder, const struct block_ref *b)
{
    char aside[1 + DEVICE_SIZE];
    (void)snprintf(aside, sizeof aside, ".%s", b->device);
    int fd = openat(folder, aside, O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return disk_err(errno);
    enum err err = file_grow(fd, b);
    close(fd);
    if (!err && renameat(folder, aside, folder, b->device) < 0)
        err = disk_err(errno);
    if (err)
        (void)unlinkat(folder, aside, 0);
    return err;
}

static enum err file_have(int folder, const struct block_ref *b)
{
    int fd = openat(folder, b->device, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return file_make(folder, b);
    if (fd < 0)
        return disk_err(errno);
    enum err err = file_grow(fd, b);
    close(fd);
    return err;
}

static enum err files_have(int folder, const struct block_ref *blocks, uint32_t count, char *why, size_t size)
{
    enum err err = ERR_OK;
    for (uint32_t i = 0; i < count && !err; i++) {
        err = file_have(folder, &blocks[i]);
        if (err == ERR_DISK_FULL)
            (void)say(why, size, err, "no room on its host's disk for the volume %.40s of %uM", blocks[i].device,
                      blocks[i].size_mib);
        else if (err)
            (void)say(why, size, err, "the volume %.40s can't be made on its host's disk: %s", blocks[i].device,
                      err_text(err));
    }
    return err ? err : disk_sync_dir(folder);
}

static enum err about_write(int folder, const char *app)
{
    int fd = openat(folder, about, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    enum err err = fd < 0 ? disk_err(errno) : disk_write_at(fd, app, strlen(app), 0);
    if (!err && fsync(fd) < 0)
        err = disk_err(errno);
    if (fd >= 0)
        close(fd);
    return err;
}

static enum err aside_make(int top, const char *aside, const char *app, const struct block_ref *blocks, uint32_t count,
                           char *why, size_t size)
{
    folder_drop(top, aside);
    int folder = mkdirat(top, aside, 0700) < 0 ? -1 : openat(top, aside, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
    if (folder < 0)
        return say(why, size, disk_err(errno), "its volume can't be made on its host's disk: %s", strerror(errno));
    enum err err = about_write(folder, app);
    if (err)
        (void)say(why, size, err, "its volume can't be made on its host's disk: %s", err_text(err));
    else
        err = files_have(folder, blocks, count, why, size);
    close(folder);
    return err;
}

static int top_open(const char *dir)
{
    return open(dir, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
}

enum err volume_make(const char *dir, const struct unit_id *id, const char *app, const struct block_ref *blocks,
                     uint32_t count, uint32_t quota_mib, char *why, size_t size)
{
    char name[VOLUME_NAME_SIZE], aside[ASIDE_SIZE];
    enum err err = volume_check(dir, id, blocks, count, quota_mib, why, size);
    if (err == ERR_NOT_FOUND)
        err = quota_check(dir, id, blocks, count, quota_mib, why, size);
    else
        return err;
    if (err)
        return err;
    volume_name(&id->app, id->slot, id->epoch, name);
    (void)snprintf(aside, sizeof aside, ".%s", name);
    int top = top_open(dir);
    if (top < 0)
        return say(why, size, disk_err(errno), "the volumes' folder can't be used: %s", strerror(errno));
    err = aside_make(top, aside, app, blocks, count, why, size);
    fault_point("meshd.volume-aside");
    if (!err && renameat(top, aside, top, name) < 0)
        err = say(why, size, disk_err(errno), "its volume can't be made on its host's disk: %s", strerror(errno));
    fault_point("meshd.volume-named");
    if (!err)
        err = disk_sync_dir(top);
    if (err)
        folder_drop(top, aside);
    close(top);
    return err;
}

static int folder_open(const char *dir, const struct unit_id *id)
{
    char name[VOLUME_NAME_SIZE];
    volume_name(&id->app, id->slot, id->epoch, name);
    int top = top_open(dir);
    int folder = top < 0 ? -1 : openat(top, name, O_DIRECTORY | O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    int error = errno;
    if (top >= 0)
        close(top);
    errno = error;
    return folder;
}

enum err volume_check(const char *dir, const struct unit_id *id, const struct block_ref *blocks, uint32_t count,
                      uint32_t quota_mib, char *why, size_t size)
{
    int folder = folder_open(dir, id);
    if (folder < 0)
        return say(why, size, disk_err(errno), "its volume is not on its host's disk: %s", strerror(errno));
    enum err err = quota_check(dir, id, blocks, count, quota_mib, why, size);
    if (!err)
        err = files_have(folder, blocks, count, why, size);
    close(folder);
    return err;
}

/* ---- Removing --------------------------------------------------------------------------------------------------- */

static bool device_named(const char *device)
{
    size_t n = strspn(device, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789");
    return n > 0 && device[n] == '\0';
}

enum err volume_device_open(const char *dir, const struct unit_id *id, const char *device, enum volume_lock lock,
                            int *fd)
{
    if (!device_named(device))
        return ERR_NOT_FOUND;
    int folder = folder_open(dir, id);
    if (folder < 0)
        return disk_err(errno);
    *fd = openat(folder, device, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
    enum err err = *fd < 0 ? disk_err(errno) : lock == VOLUME_LOCKED ? block_lock(*fd) : ERR_OK;
    if (err && *fd >= 0)
        close(*fd);
    if (err)
        *fd = -1;
    close(folder);
    return err;
}

/* If nothing but its name is left in it. */
static void folder_drop_empty(const char *dir, const struct unit_id *id)
{
    char name[VOLUME_NAME_SIZE], aside[ASIDE_SIZE];
    struct volume_info v = {.device_count = 0};
    int folder = folder_open(dir, id), top = top_open(dir);
    if (folder >= 0)
        devices_read(folder, &v, LOOK_ALL); /* closes it */
    volume_name(&id->app, id->slot, id->epoch, name);
    (void)snprintf(aside, sizeof aside, ".%s", name);
    if (top >= 0 && v.device_count == 0 && renameat(top, name, top, aside) == 0) {
        folder_drop(top, aside);
        (void)!fsync(top);
    }
    if (top >= 0)
        close(top);
}

enum err volume_remove(const char *dir, const struct unit_id *id, const char *device, enum volume_removal how)
{
    int fd = -1;
    enum err err = volume_device_open(dir, id, device, VOLUME_LOCKED, &fd);
    if (err)
        return err;
    int folder = folder_open(dir, id);
    if (folder < 0 || unlinkat(folder, device, 0) < 0)
        err = disk_err(errno);
    if (!err)
        err = disk_sync_dir(folder);
    if (folder >= 0)
        close(folder);
    close(fd);
    if (!err && how == VOLUME_WHOLE)
        folder_drop_empty(dir, id);
    return err;
}

/* ---- Copies of another's ------------------------------------------------------------------------- */

enum err volume_aside_open(const char *dir, const struct unit_id *id, const char *app, const struct block_ref *b,
                           uint32_t quota_mib, int *fd, char *why, size_t size)
{
    char name[VOLUME_NAME_SIZE], aside[ASIDE_SIZE];
    enum err err = quota_check(dir, id, b, 1, quota_mib, why, size);
    int top = err ? -1 : top_open(dir), folder = -1;
    *fd = -1;
    if (err)
        return err;
    volume_name(&id->app, id->slot, id->epoch, name);
    (void)snprintf(aside, sizeof aside, ".%s", name);
    if (top >= 0 && (mkdirat(top, aside, 0700) == 0 || errno == EEXIST))
        folder = openat(top, aside, O_DIRECTORY | O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    err = folder < 0 ? disk_err(errno) : about_write(folder, app);
    if (!err) {
        *fd = openat(folder, b->device, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
        err = *fd < 0 ? disk_err(errno) : ERR_OK;
    }
    if (folder >= 0)
        close(folder);
    if (top >= 0)
        close(top);
    return err ? say(why, size, err, "its volume can't be copied to this disk: %s", err_text(err)) : ERR_OK;
}

enum err volume_aside_size(int fd, uint64_t size_bytes, uint32_t sparse)
{
    enum err err = sparse ? ERR_OK : disk_preallocate(fd, size_bytes);
    return !err && ftruncate(fd, (off_t)size_bytes) < 0 ? disk_err(errno) : err;
}

enum err volume_aside_keep(const char *dir, const struct unit_id *id)
{
    char name[VOLUME_NAME_SIZE], aside[ASIDE_SIZE];
    volume_name(&id->app, id->slot, id->epoch, name);
    (void)snprintf(aside, sizeof aside, ".%s", name);
    int top = top_open(dir), folder = top < 0 ? -1 : openat(top, aside, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
    enum err err = folder < 0 ? disk_err(errno) : disk_sync_dir(folder);
    if (!err && renameat(top, aside, top, name) < 0)
        err = disk_err(errno);
    if (!err)
        err = disk_sync_dir(top);
    if (folder >= 0)
        close(folder);
    if (top >= 0)
        close(top);
    return err;
}

enum err volume_drop(const char *dir, const struct unit_id *id)
{
    char name[VOLUME_NAME_SIZE], aside[ASIDE_SIZE];
    struct volume_info v = {.device_count = 0};
    int folder = folder_open(dir, id), top = top_open(dir);
    bool whole = folder >= 0;
    volume_name(&id->app, id->slot, id->epoch, name);
    (void)snprintf(aside, sizeof aside, ".%s", name);
    if (whole)
        devices_read(folder, &v, LOOK_ALL); /* closes it */
    enum err err = top < 0 ? disk_err(errno) : v.held ? ERR_BUSY : ERR_OK;
    if (!err && whole && renameat(top, name, top, aside) < 0)
        err = disk_err(errno);
    if (!err)
        folder_drop(top, aside);
    if (!err)
        err = disk_sync_dir(top);
    if (top >= 0)
        close(top);
    return err;
}
