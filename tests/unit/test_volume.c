/* node/runtime/volume: volumes on a disk. */
#define _GNU_SOURCE
#include "node/runtime/volume.h"

#include "node/runtime/block.h"
#include "tests/support/scratch.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char top[SCRATCH_PATH], dir[SCRATCH_PATH], why[256];
static const struct unit_id id = {.app = {{1, 2}}, .slot = 3, .epoch = 7};

static int set_up(void **state)
{
    (void)state;
    scratch_new(top);
    (void)scratch_path(dir, "%.90s/volumes", top);
    return volumes_open(dir);
}

static int tear_down(void **state)
{
    (void)state;
    scratch_remove(top);
    return 0;
}

static struct block_ref block(const char *device, uint32_t mib, uint32_t sparse)
{
    struct block_ref b = {.size_mib = mib, .sector_bytes = 512, .sparse = sparse};
    snprintf(b.device, sizeof b.device, "%s", device);
    return b;
}

static struct {
    uint32_t count;
    struct volume_info v;
} seen;

static void see(void *ctx, const struct volume_info *v)
{
    (void)ctx;
    seen.count++;
    seen.v = *v;
}

static const struct volume_info *look(uint32_t count)
{
    seen.count = 0;
    volumes_each(dir, see, NULL);
    assert_int_equal(seen.count, count);
    return &seen.v;
}

static int device_open(const char *device)
{
    char name[VOLUME_NAME_SIZE], path[SCRATCH_PATH];
    volume_name(&id.app, id.slot, id.epoch, name);
    int fd = open(scratch_path(path, "%.90s/%s/%s", dir, name, device), O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

static void one_is_made_whole_with_its_room(void **state)
{
    (void)state;
    const struct block_ref blocks[] = {block("storage", 2, 0), block("log", 3, 1)};
    assert_int_equal(volume_check(dir, &id, blocks, 2, 0, why, sizeof why), ERR_NOT_FOUND);
    assert_int_equal(volume_make(dir, &id, "web", blocks, 2, 0, why, sizeof why), ERR_OK);
    const struct volume_info *v = look(1);
    assert_memory_equal(&v->id.app, &id.app, sizeof id.app);
    assert_int_equal(v->id.slot, 3);
    assert_int_equal(v->id.epoch, 7);
    assert_string_equal(v->app, "web");
    assert_int_equal(v->device_count, 2);
    assert_string_equal(v->devices[0].device, "log");
    assert_int_equal(v->devices[0].size_bytes, 3 << 20);
    assert_true(v->devices[0].disk_bytes < 1 << 20);
    assert_string_equal(v->devices[1].device, "storage");
    assert_int_equal(v->devices[1].size_bytes, 2 << 20);
    assert_true(v->devices[1].disk_bytes >= 2 << 20);
    assert_false(v->held);
}

static void what_is_written_stays_when_it_is_made_again_or_grows(void **state)
{
    (void)state;
    struct block_ref blocks[] = {block("storage", 2, 0), block("more", 1, 0)};
    char bytes[8] = "";
    assert_int_equal(volume_make(dir, &id, "web", blocks, 1, 0, why, sizeof why), ERR_OK);
    int fd = device_open("storage");
    assert_int_equal(pwrite(fd, "written", 8, 1 << 20), 8);
    assert_int_equal(volume_make(dir, &id, "web", blocks, 1, 0, why, sizeof why), ERR_OK);
    blocks[0].size_mib = 4;
    assert_int_equal(volume_check(dir, &id, blocks, 2, 0, why, sizeof why), ERR_OK);
    assert_int_equal(look(1)->device_count, 2);
    assert_int_equal(seen.v.devices[1].size_bytes, 4 << 20);
    blocks[0].size_mib = 1; /* it doesn't shrink */
    assert_int_equal(volume_check(dir, &id, blocks, 2, 0, why, sizeof why), ERR_OK);
    assert_int_equal(look(1)->devices[1].size_bytes, 4 << 20);
    assert_int_equal(pread(fd, bytes, 8, 1 << 20), 8);
    assert_string_equal(bytes, "written");
    close(fd);
}

/* More than any disk has. */
static void a_full_disk_leaves_nothing_half_made(void **state)
{
    (void)state;
    struct block_ref blocks[] = {block("storage", 1, 0), block("huge", BLOCK_MIB_MAX, 0)};
    enum err err = volume_make(dir, &id, "web", blocks, 2, 0, why, sizeof why);
    if (err == ERR_OK)
        skip(); /* a filesystem without bounds */
    assert_int_equal(err, ERR_DISK_FULL);
    assert_string_equal(why, "no room on its host's disk for the volume huge of 16777216M");
    (void)look(0);
    assert_int_equal(volume_make(dir, &id, "web", blocks, 1, 0, why, sizeof why), ERR_OK);
    blocks[0].size_mib = BLOCK_MIB_MAX; /* nor does one that can't grow change */
    assert_int_equal(volume_check(dir, &id, blocks, 1, 0, why, sizeof why), ERR_DISK_FULL);
    assert_int_equal(look(1)->devices[0].size_bytes, 1 << 20);
}

static void what_a_crash_left_half_made_goes(void **state)
{
    (void)state;
    char path[SCRATCH_PATH];
    assert_int_equal(mkdir(scratch_path(path, "%.90s/.half", dir), 0700), 0);
    scratch_write(scratch_path(path, "%.90s/.half/storage", dir), 0600, "x");
    assert_int_equal(volumes_open(dir), ERR_OK);
    assert_int_equal(access(scratch_path(path, "%.90s/.half", dir), F_OK), -1);
}

static void one_that_is_held_is_not_removed(void **state)
{
    (void)state;
    const struct block_ref b = block("storage", 1, 1);
    assert_int_equal(volume_remove(dir, &id, "storage", VOLUME_WHOLE), ERR_NOT_FOUND);
    assert_int_equal(volume_make(dir, &id, "web", &b, 1, 0, why, sizeof why), ERR_OK);
    int fd = device_open("storage");
    assert_int_equal(block_lock(fd), ERR_OK);
    assert_true(look(1)->held);
    assert_int_equal(volume_remove(dir, &id, "storage", VOLUME_WHOLE), ERR_BUSY);
    (void)look(1);
    close(fd);
    assert_int_equal(volume_remove(dir, &id, "../x", VOLUME_WHOLE), ERR_NOT_FOUND);
    assert_int_equal(volume_remove(dir, &id, "storage", VOLUME_KEEP_PLACE), ERR_OK);
    assert_int_equal(look(1)->device_count, 0);
    assert_int_equal(volume_check(dir, &id, &b, 1, 0, why, sizeof why), ERR_OK); /* an empty one */
    assert_int_equal(volume_remove(dir, &id, "storage", VOLUME_WHOLE), ERR_OK);
    (void)look(0);
}

static void the_quota_counts_all_of_them(void **state)
{
    (void)state;
    struct block_ref b = block("storage", 6, 1);
    const struct unit_id other = {.app = {{1, 2}}, .slot = 4, .epoch = 7};
    assert_int_equal(volume_make(dir, &id, "web", &b, 1, 10, why, sizeof why), ERR_OK);
    assert_int_equal(volume_make(dir, &other, "web", &b, 1, 10, why, sizeof why), ERR_FULL);
    assert_string_equal(why, "6M of volumes are more than its host's quota of 10M leaves, with 6M taken");
    (void)look(1);
    b.size_mib = 10; /* it may grow */
    assert_int_equal(volume_check(dir, &id, &b, 1, 10, why, sizeof why), ERR_OK);
    b.size_mib = 11;
    assert_int_equal(volume_check(dir, &id, &b, 1, 10, why, sizeof why), ERR_FULL);
    assert_int_equal(look(1)->devices[0].size_bytes, 10 << 20);
    assert_int_equal(volume_check(dir, &id, &b, 1, 0, why, sizeof why), ERR_OK);
}

static void a_copy_lies_aside_until_it_is_kept(void **state)
{
    (void)state;
    const struct block_ref b = block("storage", 1, 0);
    int fd;
    assert_int_equal(volume_aside_open(dir, &id, "web", &b, 0, &fd, why, sizeof why), ERR_OK);
    assert_int_equal(volume_aside_size(fd, 2 << 20, 0), ERR_OK);
    assert_int_equal(pwrite(fd, "x", 1, 0), 1);
    close(fd);
    (void)look(0);
    assert_int_equal(volume_aside_open(dir, &id, "web", &b, 0, &fd, why, sizeof why), ERR_OK); /* again */
    assert_int_equal(lseek(fd, 0, SEEK_END), 2 << 20);
    close(fd);
    assert_int_equal(volume_aside_keep(dir, &id), ERR_OK);
    assert_string_equal(look(1)->app, "web");
    assert_int_equal(seen.v.devices[0].size_bytes, 2 << 20);
    fd = device_open("storage");
    assert_int_equal(block_lock(fd), ERR_OK);
    assert_int_equal(volume_drop(dir, &id), ERR_BUSY);
    close(fd);
    assert_int_equal(volume_drop(dir, &id), ERR_OK);
    (void)look(0);
    assert_int_equal(volume_aside_open(dir, &id, "web", &b, 0, &fd, why, sizeof why), ERR_OK);
    close(fd);
    assert_int_equal(volume_drop(dir, &id), ERR_OK); /* what was never whole, too */
    assert_int_equal(volume_aside_keep(dir, &id), ERR_NOT_FOUND);
    (void)look(0);
    assert_int_equal(volume_aside_open(dir, &id, "web", &b, 1, &fd, why, sizeof why), ERR_OK);
    close(fd);
    assert_int_equal(volume_drop(dir, &id), ERR_OK);
    const struct block_ref large = block("storage", 2, 0);
    assert_int_equal(volume_aside_open(dir, &id, "web", &large, 1, &fd, why, sizeof why), ERR_FULL);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(one_is_made_whole_with_its_room),
        TEST(what_is_written_stays_when_it_is_made_again_or_grows),
        TEST(a_full_disk_leaves_nothing_half_made),
        TEST(what_a_crash_left_half_made_goes),
        TEST(one_that_is_held_is_not_removed),
        TEST(the_quota_counts_all_of_them),
        TEST(a_copy_lies_aside_until_it_is_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
