/* Real tenders, those that are on PATH: examples/hello on each, and, where UNIMESH_SOLO5_TESTS names the folder with
 * them, the guests of Solo5's own test suite. What is not there is skipped. */
#define _GNU_SOURCE
#include "node/runtime/tender.h"
#include "tests/support/runtime_world.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static struct world w;
static enum target target; /* of the tests that follow */
static char hello[SCRATCH_PATH];
static uint64_t epochs;

static bool on_path(const char *name)
{
    char path[4096], *rest = path, *folder, file[4400];
    snprintf(path, sizeof path, "%s", getenv("PATH"));
    while ((folder = strsep(&rest, ":")) != NULL) {
        snprintf(file, sizeof file, "%s/%s", folder, name);
        if (access(file, X_OK) == 0)
            return true;
    }
    return false;
}

static bool available(enum target t)
{
    return on_path(tender_program(t)) && (t != TARGET_HVT || access("/dev/kvm", R_OK | W_OK) == 0);
}

static int set_up(void **state)
{
    char name[64];
    (void)state;
    world_set_up(&w);
    for (int t = TARGET_HVT; t <= TARGET_VIRTIO; t++)
        w.cfg.tender[t] = NULL;
    snprintf(name, sizeof name, "examples/hello/hello.%s", target_name(target));
    (void)scratch_program(hello, name);
    assert_int_equal(world_open(&w), ERR_OK);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    world_tear_down(&w);
    return 0;
}

#define HELLO(...) world_start(&w, ++epochs, target, hello, __VA_ARGS__, (char *)NULL)

static void ended(struct world_run *r, enum end_cause cause, int status)
{
    world_ended(&w, r);
    if (r->end.cause != cause || r->end.status != status)
        fail_msg("%s: cause %d, status %d, \"%s\"; console:\n%s", target_name(r->target), (int)r->end.cause,
                 (int)r->end.status, r->text, world_console(&w, r));
}

static void it_beats_until_it_is_stopped(void **state)
{
    (void)state;
    if (!available(target))
        skip();
    uint64_t from = scratch_now_ms();
    struct world_run *r = HELLO("--interval=20", "--hello=wide world");
    world_console_has(&w, r, "\n");
    print_message("%s: first line after %u ms\n", target_name(target), (unsigned)(scratch_now_ms() - from));
    world_console_has(&w, r, "beat 5\n");
    assert_non_null(strstr(world_console(&w, r), "hello: arguments: --interval=20 --hello=wide\\ world\n"));
    runtime_stop(w.rt, &r->id);
    ended(r, END_STOPPED, -1);
}

static void its_status_is_its_own(void **state)
{
    (void)state;
    if (!available(target))
        skip();
    ended(HELLO("--beats=2", "--interval=1", "--exit=0"), END_EXIT, 0);
    ended(HELLO("--exit=7"), END_EXIT, 7);
    ended(HELLO("--exit=83"), END_EXIT, 83);
    ended(HELLO("--exit=255"), END_EXIT, 255);
    ended(HELLO("--exit=64"), END_IMAGE, 64);
    ended(HELLO("--abort"), END_CRASH, 255);
}

static void a_fault_is_a_crash(void **state)
{
    (void)state;
    if (!available(target))
        skip();
    struct world_run *r = HELLO("--fault");
    world_ended(&w, r);
    assert_int_equal(r->end.cause, END_CRASH);
    assert_int_equal(r->end.signal, target == TARGET_SPT ? SIGSEGV : 0);
}

static void it_fills_its_memory_and_no_more(void **state)
{
    (void)state;
    unsigned kib;
    if (!available(target))
        skip();
    struct world_run *r = HELLO("--fill", "--exit=0");
    ended(r, END_EXIT, 0);
    const char *line = strstr(world_console(&w, r), "filled ");
    assert_non_null(line);
    assert_int_equal(sscanf(line, "filled %u KiB", &kib), 1);
    assert_in_range(kib, 6 * 1024, 8 * 1024); /* of 8 MiB, less what lies below the image */
}

static void what_is_no_image_fails_everywhere(void **state)
{
    (void)state;
    char cut[SCRATCH_PATH], bytes[5000];
    static const enum target other[TARGET_COUNT] = {
        [TARGET_HVT] = TARGET_SPT, [TARGET_SPT] = TARGET_HVT, [TARGET_VIRTIO] = TARGET_SPT};
    if (!available(target))
        skip();
    int fd = open(hello, O_RDONLY);
    assert_int_equal(read(fd, bytes, sizeof bytes), sizeof bytes);
    close(fd);
    fd = open(scratch_path(cut, "%.90s/cut", w.dir), O_WRONLY | O_CREAT, 0644);
    assert_int_equal(write(fd, bytes, sizeof bytes), sizeof bytes);
    close(fd);
    struct world_run *r = world_start(&w, ++epochs, target, cut, (char *)NULL);
    world_ended(&w, r);
    assert_int_equal(r->end.cause, END_IMAGE);
    strcpy(strrchr(hello, '.') + 1, target_name(other[target]));
    r = HELLO("--exit=0");
    world_ended(&w, r);
    assert_int_equal(r->end.cause, END_IMAGE);
}

static void killed_from_outside_is_the_hosts(void **state)
{
    (void)state;
    static const int signals[] = {SIGKILL, SIGTERM};
    if (!available(target))
        skip();
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++) {
        struct world_run *r = HELLO("--interval=1000");
        world_console_has(&w, r, "beat 1\n");
        kill((pid_t)r->pid, signals[i]);
        world_ended(&w, r);
        assert_int_equal(r->end.cause, END_HOST);
    }
}

/* What the trial boots find with the tenders that are here. */
static void the_host_says_what_it_runs(void **state)
{
    (void)state;
    char image[TARGET_COUNT][SCRATCH_PATH];
    if (target != TARGET_VIRTIO)
        skip(); /* once will do */
    world_close(&w);
    for (int t = TARGET_HVT; t <= TARGET_VIRTIO; t++) {
        char name[64];
        snprintf(name, sizeof name, "examples/hello/hello.%s", target_name((enum target)t));
        w.cfg.probe_image[t] = scratch_program(image[t], name);
    }
    assert_int_equal(world_open(&w), ERR_OK);
    uint64_t from = scratch_now_ms();
    runtime_probe(w.rt);
    while (w.host_told == 0)
        world_step(&w);
    print_message("told after %u ms:\n%s\n", (unsigned)(scratch_now_ms() - from), w.host_text);
    while (strstr(w.host_text, "being tried") != NULL)
        world_step(&w);
    print_message("after %u ms:\n%s\n", (unsigned)(scratch_now_ms() - from), w.host_text);
    assert_int_equal(w.host.targets >> TARGET_SPT & 1, available(TARGET_SPT));
    assert_int_equal(w.host.targets >> TARGET_VIRTIO & 1, available(TARGET_VIRTIO));
}

/* ---- Solo5's own ---------------------------------------------------------------------------------------------- */

static const struct row {
    const char *name;
    const char *console; /* it says so */
    struct {
        enum end_cause cause;
        int status;
    } hvt, spt, virtio;
} rows[] = {
    {"hello", "Hello, World", {END_EXIT, 0}, {END_EXIT, 0}, {END_EXIT, 0}},
    {"time", "SUCCESS", {END_EXIT, 0}, {END_EXIT, 0}, {END_EXIT, 0}},
    {"globals", "SUCCESS", {END_EXIT, 0}, {END_EXIT, 0}, {END_EXIT, 0}},
    {"tls", "SUCCESS", {END_EXIT, 0}, {END_EXIT, 0}, {END_EXIT, 0}},
    {"quiet", "SUCCESS", {END_EXIT, 0}, {END_EXIT, 0}, {END_EXIT, 0}},
    {"output", "", {END_EXIT, 0}, {END_EXIT, 0}, {END_EXIT, 0}},
    {"exception", "", {END_CRASH, 255}, {END_CRASH, -1}, {END_CRASH, 255}},
    {"zeropage", "", {END_CRASH, 255}, {END_CRASH, -1}, {END_CRASH, 255}},
    {"notls", "", {END_CRASH, 255}, {END_CRASH, -1}, {END_CRASH, 255}},
    {"ssp", "Stack corruption detected", {END_CRASH, 255}, {END_CRASH, 255}, {END_CRASH, 255}},
    {"xnow", "", {END_CRASH, 1}, {END_CRASH, -1}, {END_EXIT, 1}}, /* virtio does not protect its code: FAILURE */
    {"rnow", "", {END_CRASH, 1}, {END_CRASH, -1}, {END_EXIT, 1}},
    {"wnox", "", {END_EXIT, 1}, {END_CRASH, -1}, {END_EXIT, 1}},
    {"blk", "", {END_IMAGE, 1}, {END_IMAGE, 1}, {END_IMAGE, 255}}, /* a device that it isn't given */
    {"seccomp", "", {END_EXIT, 0}, {END_CRASH, -1}, {END_EXIT, 0}}, /* spt only */
};

static void the_suite_ends_as_the_table_says(void **state)
{
    (void)state;
    const char *dir = getenv("UNIMESH_SOLO5_TESTS");
    char path[SCRATCH_PATH];
    if (!available(target) || dir == NULL)
        skip();
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        (void)scratch_path(path, "%.400s/test_%s.%s", dir, rows[i].name, target_name(target));
        if (!scratch_exists(path))
            continue;
        struct world_run *r = world_start(&w, ++epochs, target, path, (char *)NULL);
        if (target == TARGET_HVT)
            ended(r, rows[i].hvt.cause, rows[i].hvt.status);
        else if (target == TARGET_SPT)
            ended(r, rows[i].spt.cause, rows[i].spt.status);
        else
            ended(r, rows[i].virtio.cause, rows[i].virtio.status);
        assert_non_null(strstr(world_console(&w, r), rows[i].console));
        print_message("%s on %s: %s\n", rows[i].name, target_name(target), r->text);
    }
}

/* SSE: every OCaml guest uses it, and some nested KVMs can't. Then it is the host's fault. */
static void fpu_works_or_the_host_is_blamed(void **state)
{
    (void)state;
    const char *dir = getenv("UNIMESH_SOLO5_TESTS");
    char path[SCRATCH_PATH];
    if (!available(target) || dir == NULL)
        skip();
    (void)scratch_path(path, "%.400s/test_fpu.%s", dir, target_name(target));
    struct world_run *r = world_start(&w, ++epochs, target, path, (char *)NULL);
    world_ended(&w, r);
    if (target != TARGET_HVT || r->end.cause != END_HOST)
        ended(r, END_EXIT, 0);
    print_message("fpu on %s: %s\n", target_name(target), r->text);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(it_beats_until_it_is_stopped),
        TEST(its_status_is_its_own),
        TEST(a_fault_is_a_crash),
        TEST(it_fills_its_memory_and_no_more),
        TEST(what_is_no_image_fails_everywhere),
        TEST(killed_from_outside_is_the_hosts),
        TEST(the_host_says_what_it_runs),
        TEST(the_suite_ends_as_the_table_says),
        TEST(fpu_works_or_the_host_is_blamed),
    };
    int failed = 0;
    for (int t = TARGET_HVT; t <= TARGET_VIRTIO; t++) {
        target = (enum target)t;
        print_message("%s:\n", target_name(target));
        failed += cmocka_run_group_tests_name(target_name(target), tests, NULL, NULL);
    }
    return failed;
}
