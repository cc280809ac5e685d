/* meshctl as its users see it: run as a program against nodes that have real engines. */
#define _GNU_SOURCE
#include "tests/unit/ctl_world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* ---- What meshctl shows
 * ---------------------------------------------------------------------------- */

static void members_are_listed(void **state)
{
    (void)state;
    until(two_alive, NULL);
    json_t *j = json_of(meshctl("members", "-o", "json", NULL));
    assert_int_equal(json_array_size(j), 2);
    const json_t *self = json_array_get(j, 0), *other = json_array_get(j, 1);
    assert_string_equal(text_of(self, "name"), "ant");
    assert_string_equal(text_of(other, "name"), "bee");
    assert_string_equal(text_of(other, "state"), "alive");
    assert_string_equal(text_of(other, "address"), "127.0.0.2:7946");
    assert_int_equal(strlen(text_of(other, "id")), 16);
    assert_int_equal(
        json_integer_value(json_object_get(json_object_get(self, "memory"), "capacity")), 256);
    assert_string_equal(json_string_value(json_array_get(json_object_get(self, "targets"), 0)),
                        "virtio");
    assert_true(json_is_false(json_object_get(other, "conflict")));
    assert_true(json_is_false(json_object_get(other, "away")));
    assert_true(json_is_object(json_object_get(other, "labels")));
    json_decref(j);
    const struct run *r = meshctl("members", NULL);
    succeeds(r);
    assert_non_null(strstr(r->out, "NAME"));
    assert_non_null(strstr(r->out, "bee"));
    r = meshctl("members", "-o", "name", NULL);
    assert_string_equal(r->out, "ant\nbee\n");
}

static void what_guests_take_is_shown(void **state)
{
    (void)state;
    deploy("web", "2"); /* one here, one on the other node */
    json_t *j = json_of(meshctl("top", "-o", "json", NULL));
    assert_int_equal(json_array_size(j), 1);
    const json_t *u = json_array_get(j, 0);
    assert_string_equal(text_of(u, "app"), "web");
    assert_true(json_integer_value(json_object_get(u, "pid")) > 0);
    assert_int_equal(json_integer_value(json_object_get(u, "rss_kib")), 5120);
    assert_in_range(json_integer_value(json_object_get(u, "cpu_permille")), 450, 550);
    assert_int_equal(json_integer_value(json_object_get(json_object_get(u, "net"), "in_packets")), 7);
    json_decref(j);
    const struct run *r = meshctl("top", "-o", "wide", NULL);
    succeeds(r);
    assert_non_null(strstr(r->out, "CPU"));
    assert_non_null(strstr(r->out, "5.0M"));
    assert_non_null(strstr(r->out, "3.0M"));
}

static void a_deployed_app_runs_and_is_shown(void **state)
{
    (void)state;
    deploy("web", "2");
    json_t *j = json_of(meshctl("ps", "-o", "json", NULL));
    assert_int_equal(json_array_size(j), 2);
    const json_t *u = json_array_get(j, 1);
    assert_string_equal(text_of(u, "app"), "web");
    assert_string_equal(text_of(u, "state"), "running");
    assert_string_equal(text_of(u, "target"), "virtio");
    assert_int_equal(json_integer_value(json_object_get(u, "slot")), 1);
    assert_int_equal(json_integer_value(json_object_get(u, "revision")), 1);
    assert_true(json_integer_value(json_object_get(u, "memory")) >= 16);
    assert_true(json_is_null(json_object_get(u, "exit")));
    assert_true(json_is_integer(json_object_get(u, "epoch")));
    assert_true(json_is_integer(json_object_get(u, "restarts")));
    assert_true(json_is_string(json_object_get(u, "reason")));
    assert_true(json_is_string(json_object_get(u, "node")));
    json_decref(j);
    j = json_of(meshctl("inspect", "web", "-o", "json", NULL));
    assert_int_equal(json_integer_value(json_object_get(j, "replicas")), 2);
    assert_string_equal(text_of(j, "wanted"), "running");
    assert_int_equal(json_integer_value(json_object_get(j, "copies")), 2);
    const json_t *spec = json_object_get(j, "spec");
    assert_int_equal(json_integer_value(json_object_get(spec, "memory")), 16);
    assert_string_equal(json_string_value(json_array_get(json_object_get(spec, "args"), 0)),
                        "--hello=world");
    u = json_array_get(json_object_get(j, "units"), 0);
    assert_true(json_integer_value(json_object_get(u, "pid")) > 0);
    json_decref(j);
    assert_non_null(strstr(meshctl("apps", NULL)->out, "web"));
    assert_non_null(strstr(meshctl("image", "ls", NULL)->out, "web"));
    assert_non_null(strstr(meshctl("inspect", "web", NULL)->out, "--hello=world"));
}

static void an_app_file_is_deployed(void **state)
{
    (void)state;
    static const char yaml[] =
        "app: front\nimage: {virtio: guest.virtio}\nreplicas: 1\nmemory: 16M\n";
    char path[128];
    until(two_alive, NULL);
    image_file("guest.virtio", 0, 0);
    file_write("front.yaml", yaml, sizeof yaml - 1, path, sizeof path);
    const struct run *r = meshctl("deploy", path, "--dry-run", NULL);
    succeeds(r);
    assert_non_null(strstr(r->out, "would create front"));
    assert_string_equal(meshctl("apps", "-o", "name", NULL)->out, "");
    succeeds(meshctl("deploy", path, NULL));
    assert_string_equal(meshctl("ps", "-o", "name", NULL)->out, "front/0\n");
}

static void scale_stop_start_move_and_rm_work(void **state)
{
    (void)state;
    struct node *before, *after;
    deploy("web", "1");
    assert_non_null(fake_run_find(w.mesh, "web", 0, &before));
    succeeds(meshctl("move", "web/0", before == w.a ? "bee" : "ant", NULL));
    assert_non_null(fake_run_find(w.mesh, "web", 0, &after));
    succeeds(meshctl("scale", "web", "3", NULL));
    json_t *j = json_of(meshctl("ps", "web", "-o", "json", NULL));
    size_t winners = 0; /* the one that was moved may still be ending where it was */
    for (size_t i = 0; i < json_array_size(j); i++)
        winners += json_is_false(json_object_get(json_array_get(j, i), "overtaken"));
    assert_int_equal(winners, 3);
    json_decref(j);
    succeeds(meshctl("stop", "web", NULL));
    j = json_of(meshctl("apps", "-o", "json", NULL));
    assert_string_equal(text_of(json_array_get(j, 0), "wanted"), "stopped");
    json_decref(j);
    succeeds(meshctl("start", "web", NULL));
    succeeds(meshctl("rm", "web", NULL));
    assert_string_equal(meshctl("apps", "-o", "name", NULL)->out, "");
    fails(meshctl("rm", "web", NULL), 3, "no app is called web");
    fails(meshctl("inspect", "web", NULL), 3, "no app is called web");
    fails(meshctl("scale", "web", "10000", NULL), 2, "10000");
}

static void what_fits_nowhere_is_pending_with_the_reason(void **state)
{
    (void)state;
    until(two_alive, NULL);
    struct run *r = meshctl("deploy", image_file("guest.virtio", 0, 0), "--name", "big", "--memory",
                            "512G", "--timeout", "2", NULL);
    assert_int_equal(r->status, 5);
    assert_non_null(strstr(r->err, "big/0 is pending"));
    json_t *j = json_of(meshctl("ps", "-o", "json", NULL));
    assert_string_equal(text_of(json_array_get(j, 0), "state"), "pending");
    assert_true(strlen(text_of(json_array_get(j, 0), "reason")) > 0);
    assert_true(json_is_null(json_object_get(json_array_get(j, 0), "node")));
    json_decref(j);
}

static void very_many_units_are_listed(void **state)
{
    (void)state;
    until(two_alive, NULL);
    for (int i = 0; i < 3; i++) {
        char name[16];
        snprintf(name, sizeof name, "many-%d", i);
        succeeds(meshctl("deploy", image_file("guest.virtio", 0, 0), "--name", name, "--memory",
                         "512G", "--replicas", "1000", "--no-wait", NULL));
    }
    json_t *j = json_of(meshctl("ps", "-o", "json", NULL));
    assert_int_equal(json_array_size(j), 3000);
    assert_string_equal(text_of(json_array_get(j, 2999), "app"), "many-2");
    json_decref(j);
}

/* ---- What meshctl refuses
 * --------------------------------------------------------------------------- */

static void images_that_cannot_run_are_refused(void **state)
{
    (void)state;
    uint8_t bytes[ELF_IMAGE_MAX];
    char path[128];
    struct solo5_image like = {.target = TARGET_VIRTIO, .abi_version = 1, .arch = "x86_64"};
    size_t n = elf_image(&like, bytes);
    file_write("cut", bytes, n / 2, path, sizeof path);
    fails(meshctl("deploy", path, "--name", "x", NULL), 1, "cut short");
    file_write("text", "hello, world, this is text", 26, path, sizeof path);
    fails(meshctl("deploy", path, "--name", "x", NULL), 1, "not an ELF file");
    file_write("empty", "", 0, path, sizeof path);
    fails(meshctl("deploy", path, "--name", "x", NULL), 1, "is empty");
    like.device_count = 1;
    like.devices[0] = (struct solo5_device){.name = "service", .type = SOLO5_NET};
    file_write("net", bytes, elf_image(&like, bytes), path, sizeof path);
    fails(meshctl("deploy", path, "--name", "x", NULL), 1, "net device \"service\", and no network is given");
    fails(meshctl("deploy", path, "--name", "x", "--net", "admin=lan", NULL), 1, "net device \"service\"");
    fails(meshctl("deploy", path, "--name", "x", "--net", "service", NULL), 2, "is not DEVICE=NETWORK");
    like.device_count = 0;
    snprintf(like.arch, sizeof like.arch, "aarch64");
    file_write("arm", bytes, elf_image(&like, bytes), path, sizeof path);
    fails(meshctl("deploy", path, "--name", "x", NULL), 1, "built for aarch64");
    fails(meshctl("deploy", "/nowhere/at.all", "--name", "x", NULL), 3, "can't be opened");
    fails(meshctl("deploy", image_file("ok", 0, 0), NULL), 2, "--name");
    fails(meshctl("deploy", image_file("ok", 0, 0), "--name", "-x-", NULL), 2, "is no name");
    fails(meshctl("deploy", image_file("ok", 0, 0), "--name", "x", "--memory", "0", NULL), 2,
          "below");
    fails(meshctl("deploy", image_file("ok", 0, 0), "--name", "x", "--memory", "1M", NULL), 2,
          "below");
    fails(meshctl("deploy", image_file("ok", 0, 0), "--name", "x", "--memory", "2M", NULL), 1,
          "virtio");
    fails(meshctl("deploy", image_file("ok", 0, 0), "--name", "x", "--replicas", "10000", NULL), 2,
          "1000");
}

static void an_app_file_of_ten_megabytes_is_refused(void **state)
{
    (void)state;
    char path[128];
    size_t len = 10 * 1024 * 1024;
    char *big = malloc(len);
    assert_non_null(big);
    memset(big, '#', len);
    file_write("big.yaml", big, len, path, sizeof path);
    free(big);
    fails(meshctl("deploy", path, NULL), 1, "10485760 bytes are more than");
}

static void without_a_node_it_says_so(void **state)
{
    (void)state;
    close_control(&w.control);
    fails(meshctl("members", NULL), 1, "no node answers at");
    fails(meshctl("nonsense", NULL), 2, "there is no command nonsense");
    fails(meshctl("ps", "--nonsense", NULL), 2, "no option --nonsense");
    fails(meshctl("move", "web", NULL), 2, "is no unit");
}

/* ---- Consoles
 * --------------------------------------------------------------------------------------- */

static const char *where(const char *app, uint16_t slot, struct fake_run **run)
{
    struct node *at;
    *run = fake_run_find(w.mesh, app, slot, &at);
    assert_non_null(*run);
    return at == w.a ? "ant" : "bee";
}

static void consoles_are_read_wherever_they_are(void **state)
{
    (void)state;
    struct fake_run *run[2];
    deploy("web", "2");
    assert_string_not_equal(where("web", 0, &run[0]), where("web", 1, &run[1]));
    fake_run_print(run[0], "one\ntwo\nthree\n", 14);
    fake_run_print(run[1], "eins\nzwei\n", 10);
    assert_string_equal(meshctl("logs", "web/0", NULL)->out, "one\ntwo\nthree\n");
    assert_string_equal(meshctl("logs", "web/1", NULL)->out, "eins\nzwei\n");
    assert_string_equal(meshctl("logs", "--lines", "2", "web/0", NULL)->out, "two\nthree\n");
    assert_string_equal(meshctl("logs", "--lines", "1", "web/1", NULL)->out, "zwei\n");
    const struct run *both = meshctl("logs", "web", NULL);
    assert_non_null(strstr(both->out, "web/0 | three\n"));
    assert_non_null(strstr(both->out, "web/1 | eins\n"));
    fails(meshctl("logs", "web/7", NULL), 3, "no slot 7");
    fails(meshctl("logs", "wobble", NULL), 3, "no app is called wobble");
    assert_int_equal(fake_mesh_channels(w.mesh), 0);
}

static void a_long_console_comes_whole_and_a_lost_part_is_counted(void **state)
{
    (void)state;
    struct fake_run *run[2];
    deploy("web", "2");
    char *text = malloc(3 * FAKE_CONSOLE_RING);
    assert_non_null(text);
    for (size_t i = 0; i < 3 * FAKE_CONSOLE_RING; i++)
        text[i] = i % 64 == 63 ? '\n' : (char)('a' + i / 64 % 26);
    for (uint16_t slot = 0; slot < 2; slot++) {
        char name[16];
        where("web", slot, &run[slot]);
        fake_run_print(run[slot], text, 3 * FAKE_CONSOLE_RING);
        snprintf(name, sizeof name, "web/%u", slot);
        const struct run *r = meshctl("logs", name, NULL);
        succeeds(r);
        assert_memory_equal(r->out, "[131072 bytes skipped]\n", 23);
        assert_int_equal(r->out_len, 23 + FAKE_CONSOLE_RING);
        assert_memory_equal(r->out + 23, text + 2 * FAKE_CONSOLE_RING, FAKE_CONSOLE_RING);
    }
    free(text);
}

struct says {
    const struct run *run;
    const char *text;
};

static bool run_says(void *ctx)
{
    const struct says *s = ctx;
    return strstr(s->run->out, s->text) != NULL;
}

static void until_says(const struct run *r, const char *text)
{
    struct says s = {.run = r, .text = text};
    until(run_says, &s);
}

static bool runs_alone(void *ctx)
{
    struct node *at = NULL;
    const struct fake_run *run = fake_run_find(w.mesh, "web", 0, &at);
    return run && at == (strcmp(ctx, "ant") == 0 ? w.a : w.b) && fake_mesh_alive(w.mesh) == 1;
}

static bool runs_again(void *ctx)
{
    const uint32_t *before = ctx;
    const struct fake_run *now = fake_run_find(w.mesh, "web", 0, NULL);
    return now && fake_run_pid(now) != *before;
}

/* On this node (the one that is asked), then on the other. */
static void a_follower_sees_a_restart(void **state)
{
    (void)state;
    struct fake_run *run;
    deploy("web", "1");
    for (int i = 0; i < 2; i++) {
        struct run follower;
        if (strcmp(where("web", 0, &run), i == 0 ? "ant" : "bee") != 0)
            succeeds(meshctl("move", "web/0", i == 0 ? "ant" : "bee", NULL));
        until(runs_alone, (void *)(uintptr_t)(i == 0 ? "ant" : "bee"));
        where("web", 0, &run);
        fake_run_print(run, "first\n", 6);
        start_meshctl(&follower, "logs", "-f", "web/0", NULL);
        until_says(&follower, "first\n");
        fake_run_print(run, "more\n", 5);
        until_says(&follower, "more\n");
        fake_run_print(run, "last words\n", 11);
        uint32_t pid = fake_run_pid(run);
        fake_run_end(run, END_EXIT, 3);
        until(runs_again, &pid);
        where("web", 0, &run);
        fake_run_print(run, "second life\n", 12);
        until_says(&follower, "second life\n");
        assert_string_equal(follower.out, "first\nmore\nlast words\nsecond life\n");
        uv_process_kill(&follower.process, 15);
        until(run_is_over, &follower);
        run_free(&follower);
    }
}

static bool is_done(void *ctx)
{
    (void)ctx;
    json_t *j = json_of(meshctl("ps", "-o", "json", NULL));
    bool done = strcmp(text_of(json_array_get(j, 0), "state"), "done") == 0;
    json_decref(j);
    return done;
}

/* What a guest said before it ended is what one wants to know then. */
static void the_console_of_one_that_has_ended_is_kept(void **state)
{
    (void)state;
    struct fake_run *run;
    until(two_alive, NULL);
    succeeds(meshctl("deploy", image_file("guest.virtio", 0, 0), "--name", "brief", "--restart",
                     "never", NULL));
    where("brief", 0, &run);
    fake_run_print(run, "one\ntwo\n", 8);
    fake_run_end(run, END_EXIT, 0);
    until(is_done, NULL);
    assert_int_equal(fake_mesh_alive(w.mesh), 0);
    assert_string_equal(meshctl("logs", "brief", NULL)->out, "one\ntwo\n");
    assert_string_equal(meshctl("logs", "brief", "--lines", "1", NULL)->out, "two\n");
    json_t *j = json_of(meshctl("ps", "-o", "json", NULL));
    assert_int_equal(json_integer_value(json_object_get(json_array_get(j, 0), "exit")), 0);
    assert_true(json_is_integer(json_object_get(json_array_get(j, 0), "exit")));
    json_decref(j);
}

/* ---- Events
 * ----------------------------------------------------------------------------------------- */

static void events_are_told_and_followed(void **state)
{
    (void)state;
    struct run follower;
    until(two_alive, NULL);
    for (int i = 0; i < 30; i++)
        fake_event(w.a, LOG_INFO, "test.event", "early=1");
    fake_event(w.a, LOG_INFO, "test.event", "marker=1");
    const struct run *r = meshctl("events", "--lines", "2", NULL);
    succeeds(r);
    assert_non_null(strstr(r->out, "early=1"));
    assert_non_null(strstr(r->out, "marker=1"));
    start_meshctl(&follower, "events", "-f", "--lines", "1", NULL);
    until_says(&follower, "marker=1");
    fake_event(w.a, LOG_WARN, "test.later", "x=\"1\"");
    until_says(&follower, "test.later x=\"1\"\n");
    assert_null(strstr(follower.out, "early=1"));
    uv_process_kill(&follower.process, 15);
    until(run_is_over, &follower);
    run_free(&follower);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(members_are_listed),
        T(a_deployed_app_runs_and_is_shown),
        T(what_guests_take_is_shown),
        T(an_app_file_is_deployed),
        T(scale_stop_start_move_and_rm_work),
        T(what_fits_nowhere_is_pending_with_the_reason),
        T(very_many_units_are_listed),
        T(images_that_cannot_run_are_refused),
        T(an_app_file_of_ten_megabytes_is_refused),
        T(without_a_node_it_says_so),
        T(consoles_are_read_wherever_they_are),
        T(a_long_console_comes_whole_and_a_lost_part_is_counted),
        T(a_follower_sees_a_restart),
        T(the_console_of_one_that_has_ended_is_kept),
        T(events_are_told_and_followed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
