/* node/runtime/runtime_probe: what a host can run, with scripts in the tenders' places and examples/hello to boot. */
#define _GNU_SOURCE
#include "tests/support/runtime_world.h"

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static struct world w;
static char tender[TARGET_COUNT][SCRATCH_PATH], image[TARGET_COUNT][SCRATCH_PATH], calls[SCRATCH_PATH];
static bool kvm; /* it depends on the machine whether KVM is tried at all */

/* What each writes and how it ends; each call leaves a line in `calls`. */
static void tender_write(enum target t, const char *body)
{
    char script[SCRATCH_PATH * 3];
    snprintf(script, sizeof script, "#!/bin/sh\necho %s \"$@\" >>%s\n%s\n", target_name(t), calls, body);
    scratch_write(tender[t], 0755, script);
}

static int set_up(void **state)
{
    (void)state;
    world_set_up(&w);
    (void)scratch_path(calls, "%.90s/calls", w.dir);
    scratch_write(calls, 0644, "");
    kvm = access("/dev/kvm", R_OK | W_OK) == 0;
    for (int t = TARGET_HVT; t <= TARGET_VIRTIO; t++) {
        char name[64];
        snprintf(name, sizeof name, "examples/hello/hello.%s", target_name((enum target)t));
        w.cfg.probe_image[t] = scratch_program(image[t], name);
        w.cfg.tender[t] = scratch_path(tender[t], "%.90s/tender-%s", w.dir, target_name((enum target)t));
    }
    tender_write(TARGET_SPT, "echo 'probe: ok'; exit 0");
    tender_write(TARGET_HVT, "echo 'solo5-hvt: KVM: internal error exit: suberror=0x1'; exit 1");
    tender_write(TARGET_VIRTIO, "echo 'Solo5: solo5_exit(0) called'; exit 83");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    world_tear_down(&w);
    return 0;
}

static void probe(void)
{
    assert_int_equal(world_open(&w), ERR_OK);
    w.host_told = 0;
    runtime_probe(w.rt);
    assert_int_equal(w.host_told, 0);
    do
        world_step(&w);
    while (w.host_told == 0 || strstr(w.host_text, "being tried") != NULL);
}

static unsigned calls_of(const char *what)
{
    char text[8192];
    unsigned n = 0;
    int fd = open(calls, O_RDONLY);
    ssize_t len = read(fd, text, sizeof text - 1);
    assert_true(len >= 0);
    close(fd);
    text[len] = '\0';
    for (const char *p = text; (p = strstr(p, what)) != NULL; p++)
        n++;
    return n;
}

static bool trial_folders(void)
{
    char path[SCRATCH_PATH];
    struct dirent *entry;
    bool found = false;
    DIR *dir = opendir(scratch_path(path, "%.90s/units", w.run));
    assert_non_null(dir);
    while ((entry = readdir(dir)) != NULL)
        found = found || strncmp(entry->d_name, "00000000", 8) == 0;
    closedir(dir);
    return found;
}

static void nothing_is_left_of_trials(void)
{
    for (uint64_t epoch = 1; trial_folders(); epoch++) {
        struct world_run *r = world_start(&w, epoch, TARGET_SPT, w.image, (char *)NULL);
        world_ended(&w, r); /* mesh-priv answers in order: it has done what it was asked before */
    }
}

static void what_boots_is_what_the_host_can_run(void **state)
{
    (void)state;
    probe();
    assert_int_equal(w.host.targets, 1u << TARGET_SPT | 1u << TARGET_VIRTIO);
    assert_int_equal(w.host.target_abi[TARGET_SPT], 2);
    assert_int_equal(w.host.target_abi[TARGET_HVT], 0);
    assert_int_equal(w.host.target_abi[TARGET_VIRTIO], 1);
    assert_non_null(strstr(w.host_text, "spt: yes: solo5-spt boots in "));
    const char *hvt = kvm ? "\nhvt: no: solo5-hvt a trial boot failed: solo5-hvt: KVM: internal error"
                      : scratch_exists("/dev/kvm") ? "\nhvt: no: solo5-hvt may not use /dev/kvm"
                                                   : "\nhvt: no: solo5-hvt finds no /dev/kvm";
    assert_non_null(strstr(w.host_text, hvt));
    assert_non_null(strstr(w.host_text, "\nvirtio: yes: qemu-system-x86_64 boots in "));
    assert_int_equal(calls_of("spt --mem=8 -- image --probe\n"), 1);
    assert_int_equal(w.run_count, 0); /* trials are nobody's runs */
    nothing_is_left_of_trials();
}

static void what_was_found_is_remembered(void **state)
{
    (void)state;
    probe();
    struct host_facts first = w.host;
    for (int i = 0; i < 2; i++) {
        world_close(&w);
        probe();
        assert_memory_equal(&w.host, &first, sizeof first);
        assert_int_equal(w.host_told, 1);
    }
    assert_int_equal(calls_of("spt "), 1);
    assert_int_equal(calls_of("hvt "), kvm);
    assert_int_equal(calls_of("virtio "), 1 + kvm);
}

static void another_tender_is_tried_anew(void **state)
{
    (void)state;
    probe();
    world_close(&w);
    tender_write(TARGET_SPT, "echo 'solo5-spt: Error allocating guest memory: Cannot allocate memory'; exit 1");
    probe();
    assert_int_equal(w.host.targets, 1u << TARGET_VIRTIO);
    world_close(&w);
    probe(); /* which is not a lasting answer */
    assert_int_equal(calls_of("spt "), 3);
}

static void a_damaged_memory_is_no_memory(void **state)
{
    (void)state;
    probe();
    world_close(&w);
    scratch_write(w.cache, 0644, "spt\nspt \t1 2\n\t\t\t\nhvt 0123 1 \t99999999999999999999 9 9 x\n");
    probe();
    assert_int_equal(w.host.targets, 1u << TARGET_SPT | 1u << TARGET_VIRTIO);
    assert_int_equal(calls_of("spt "), 2);
}

static void a_kvm_that_works_is_used(void **state)
{
    (void)state;
    if (!kvm)
        skip();
    probe();
    assert_non_null(strstr(w.host_text, "; with KVM: boots in "));
    struct world_run *r = world_start(&w, 1, TARGET_VIRTIO, w.image, "x", (char *)NULL);
    world_ended(&w, r);
    assert_int_equal(calls_of("-accel kvm"), 2);
}

static void a_kvm_that_hangs_is_not(void **state)
{
    (void)state;
    if (!kvm)
        skip();
    tender_write(TARGET_VIRTIO, "case $* in *kvm*) echo 'KVM internal error. Suberror: 1'; exec sleep 1000 ;; esac\n"
                                "echo 'Solo5: solo5_exit(0) called'; exit 83");
    probe();
    assert_true(w.host.targets & 1u << TARGET_VIRTIO);
    assert_non_null(strstr(w.host_text, "; emulated: a trial boot failed: KVM internal error"));
    struct world_run *r = world_start(&w, 1, TARGET_VIRTIO, w.image, "x", (char *)NULL);
    world_ended(&w, r);
    assert_int_equal(calls_of("-accel kvm"), 1);
    assert_int_equal(calls_of("-accel tcg"), 2);
    world_close(&w);
    probe(); /* nobody waits for it twice */
    assert_int_equal(calls_of("-accel kvm"), 1);
}

static void what_is_missing_is_named(void **state)
{
    (void)state;
    char *path = strdup(getenv("PATH"));
    w.cfg.tender[TARGET_SPT] = w.cfg.tender[TARGET_HVT] = NULL;
    w.cfg.probe_image[TARGET_VIRTIO] = "/nowhere/hello.virtio";
    setenv("PATH", "/nowhere", 1);
    probe();
    setenv("PATH", path, 1);
    free(path);
    assert_int_equal(w.host.targets, 0);
    assert_string_equal(w.host_text,
                        "spt: no: solo5-spt is not on PATH\nhvt: no: solo5-hvt is not on PATH\n"
                        "virtio: no: qemu-system-x86_64 was not tried: the probe image /nowhere/hello.virtio can't be "
                        "read\njail: none: it was turned off, so guests run as mesh-priv does");
}

static void what_has_no_probe_image_is_not_tried(void **state)
{
    (void)state;
    w.cfg.probe_image[TARGET_HVT] = w.cfg.probe_image[TARGET_VIRTIO] = NULL;
    w.cfg.probe_image[TARGET_SPT] = image[TARGET_HVT];
    probe();
    assert_int_equal(w.host.targets, 0);
    assert_non_null(strstr(w.host_text, "spt: no: solo5-spt was not tried: the probe image "));
    assert_non_null(strstr(w.host_text, " is not for spt"));
    assert_int_equal(calls_of("\n"), 0);
}

/* meshd died in the middle of a trial boot. */
static void a_trial_left_behind_is_ended(void **state)
{
    (void)state;
    tender_write(TARGET_SPT, "echo waiting; exec sleep 1000");
    assert_int_equal(world_open(&w), ERR_OK);
    runtime_probe(w.rt);
    while (calls_of("spt ") == 0)
        world_step(&w);
    world_close(&w);
    tender_write(TARGET_SPT, "exit 0");
    probe();
    assert_true(w.host.targets & 1u << TARGET_SPT);
    assert_int_equal(w.run_count, 0);
    nothing_is_left_of_trials();
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(what_boots_is_what_the_host_can_run),
        TEST(what_was_found_is_remembered),
        TEST(another_tender_is_tried_anew),
        TEST(a_damaged_memory_is_no_memory),
        TEST(a_kvm_that_works_is_used),
        TEST(a_kvm_that_hangs_is_not),
        TEST(what_is_missing_is_named),
        TEST(what_has_no_probe_image_is_not_tried),
        TEST(a_trial_left_behind_is_ended),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
