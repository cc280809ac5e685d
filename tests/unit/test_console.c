/* node/runtime/console: rings as files, and a reader beside a real writer. */
#define _GNU_SOURCE
#include "node/runtime/console.h"

#include "node/runtime/shim_protocol.h"
#include "tests/support/runtime_world.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { RING = SHIM_CONSOLE_CHUNK + 1000 };

static char dir[SCRATCH_PATH];
static int fd;

static int set_up(void **state)
{
    char path[SCRATCH_PATH];
    (void)state;
    scratch_new(dir);
    fd = open(scratch_path(path, "%.90s/console", dir), O_RDWR | O_CREAT, 0600);
    return fd < 0;
}

static int tear_down(void **state)
{
    (void)state;
    close(fd);
    scratch_remove(dir);
    return 0;
}

/* The byte that a console has at this offset here. */
static char at(uint64_t offset)
{
    return (char)(offset % 61 == 60 ? '\n' : 'a' + offset % 26);
}

static void ring_write(uint32_t ring_bytes, uint64_t written)
{
    uint8_t header[SHIM_CONSOLE_HEADER];
    shim_console_encode(&(struct shim_console){ring_bytes, written}, header);
    assert_int_equal(pwrite(fd, header, sizeof header, 0), sizeof header);
    for (uint64_t o = written > RING ? written - RING : 0; o < written; o++) {
        char c = at(o);
        assert_int_equal(pwrite(fd, &c, 1, (off_t)(SHIM_CONSOLE_HEADER + o % RING)), 1);
    }
}

static void reads(enum console_writer writer, uint64_t offset, size_t size, uint64_t from, size_t len)
{
    static char out[2 * RING];
    size_t got;
    uint64_t skipped, next;
    assert_int_equal(console_read(fd, writer, offset, out, size, &got, &skipped, &next), ERR_OK);
    assert_int_equal(got, len);
    assert_int_equal(skipped, from - offset);
    assert_int_equal(next, from + len);
    for (size_t i = 0; i < len; i++)
        assert_int_equal(out[i], at(from + i));
}

static void a_young_console_is_all_there(void **state)
{
    (void)state;
    ring_write(RING, 0);
    reads(CONSOLE_LIVE, 0, 100, 0, 0);
    ring_write(RING, 500);
    reads(CONSOLE_LIVE, 0, 100, 0, 100);
    reads(CONSOLE_LIVE, 100, 1000, 100, 400);
    reads(CONSOLE_LIVE, 500, 1000, 500, 0);
    reads(CONSOLE_LIVE, 900, 1000, 900, 0); /* of a run before this one, perhaps */
    reads(CONSOLE_LIVE, 0, 0, 0, 0);
}

static void beside_a_writer_the_oldest_chunk_is_not_trusted(void **state)
{
    (void)state;
    ring_write(RING, 3 * RING + 17);
    reads(CONSOLE_LIVE, 5, 2 * RING, 3 * RING + 17 - 1000, 1000);
    reads(CONSOLE_ENDED, 5, 2 * RING, 2 * RING + 17, RING);
    reads(CONSOLE_ENDED, 3 * RING - 10, 20, 3 * RING - 10, 20); /* over the seam */
}

static void lines_are_counted_from_the_end(void **state)
{
    (void)state;
    uint64_t offset;
    ring_write(RING, 610); /* ten lines of 61 */
    assert_int_equal(console_tail(fd, CONSOLE_LIVE, 1, &offset), ERR_OK);
    assert_int_equal(offset, 549);
    assert_int_equal(console_tail(fd, CONSOLE_LIVE, 10, &offset), ERR_OK);
    assert_int_equal(offset, 0);
    assert_int_equal(console_tail(fd, CONSOLE_LIVE, 1000, &offset), ERR_OK);
    assert_int_equal(offset, 0);
    ring_write(RING, 615); /* and a piece of one */
    assert_int_equal(console_tail(fd, CONSOLE_LIVE, 2, &offset), ERR_OK);
    assert_int_equal(offset, 549);
    ring_write(RING, 61 * RING); /* lost ones can't be counted */
    assert_int_equal(console_tail(fd, CONSOLE_LIVE, 1000, &offset), ERR_OK);
    assert_int_equal(offset, 61 * (uint64_t)RING - 1000);
}

static void a_damaged_ring_is_refused(void **state)
{
    (void)state;
    char out[100];
    size_t got;
    uint64_t skipped, next, offset;
    static const uint32_t sizes[] = {0, SHIM_CONSOLE_CHUNK, UINT32_MAX};
    assert_int_equal(console_read(fd, CONSOLE_LIVE, 0, out, sizeof out, &got, &skipped, &next), ERR_CORRUPT);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        ring_write(sizes[i], 10);
        assert_int_equal(console_read(fd, CONSOLE_LIVE, 0, out, sizeof out, &got, &skipped, &next), ERR_CORRUPT);
        assert_int_equal(console_tail(fd, CONSOLE_LIVE, 5, &offset), ERR_CORRUPT);
        assert_int_equal(got, 0);
    }
    ring_write(RING, 10);
    assert_int_equal(ftruncate(fd, SHIM_CONSOLE_HEADER + 5), 0);
    assert_int_equal(console_read(fd, CONSOLE_LIVE, 0, out, sizeof out, &got, &skipped, &next), ERR_CORRUPT);
    assert_int_equal(pwrite(fd, "X", 1, 0), 1);
    assert_int_equal(console_tail(fd, CONSOLE_LIVE, 5, &offset), ERR_CORRUPT);
}

/* The guest writes lines of ten bytes that say where they are, many times around the ring. */
static void what_is_read_beside_a_writer_is_what_was_written(void **state)
{
    (void)state;
    enum { LINES = 400000, LINE = 10 };
    static struct world w;
    static char text[50000];
    uint64_t offset = 0, skipped, next, read_bytes = 0, lost = 0;
    size_t got;
    int over = 0;
    world_set_up(&w);
    scratch_write(w.tender, 0755, "#!/bin/sh\nexec seq -f '%09.0f' 0 399999\n");
    assert_int_equal(world_open(&w), ERR_OK);
    struct world_run *r = world_start(&w, 1, TARGET_SPT, w.image, (char *)NULL);
    while (!over || got > 0) {
        if (r->ended == 0)
            (void)uv_run(&w.loop, UV_RUN_NOWAIT);
        assert_int_equal(runtime_console_read(w.rt, &r->id, offset, text, sizeof text, &got, &skipped, &next, &over),
                         ERR_OK);
        for (size_t i = 0; i < got; i++) {
            uint64_t o = next - got + i;
            char line[16];
            snprintf(line, sizeof line, "%09u\n", (unsigned)(o / LINE));
            assert_int_equal(text[i], line[o % LINE]);
        }
        read_bytes += got;
        lost += skipped;
        offset = next;
    }
    assert_int_equal(offset, LINES * LINE);
    assert_int_equal(read_bytes + lost, LINES * LINE);
    print_message("read %llu bytes, lost %llu\n", (unsigned long long)read_bytes, (unsigned long long)lost);
    world_tear_down(&w);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_young_console_is_all_there),
        TEST(beside_a_writer_the_oldest_chunk_is_not_trusted),
        TEST(lines_are_counted_from_the_end),
        TEST(a_damaged_ring_is_refused),
        TEST(what_is_read_beside_a_writer_is_what_was_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
