/* The control socket as its users see it: meshctl itself, run as a program, and raw bytes, against
 * control.c and logs.c over nodes that have real engines (tests/support/fake_node.h). */
#define _GNU_SOURCE
#include "ctl/control.h"
#include "node/loop/control.h"
#include "tests/support/elf_image.h"
#include "tests/support/fake_node.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <setjmp.h>

#include <cmocka.h>

enum { DEADLINE_MS = 30000, OUT_MAX = 1024 * 1024 };

struct world {
    uv_loop_t loop;
    char dir[64], socket[96];
    struct fake_mesh *mesh;
    struct node *a, *b;
    struct control *control; /* of a */
    char meshctl[PATH_MAX];
};

static struct world w;

/* ---- Set-up -------------------------------------------------------------------------------- */

static void path_in(char *out, size_t size, const char *name)
{
    assert_true(snprintf(out, size, "%s/%s", w.dir, name) < (int)size);
}

static int set_up(void **state)
{
    (void)state;
    char why[256], images[2][80];
    memset(&w, 0, sizeof w);
    assert_int_equal(uv_loop_init(&w.loop), 0);
    snprintf(w.dir, sizeof w.dir, "/tmp/unimesh-test-XXXXXX");
    assert_non_null(mkdtemp(w.dir));
    path_in(w.socket, sizeof w.socket, "ctl.sock");
    path_in(images[0], sizeof images[0], "images-a");
    path_in(images[1], sizeof images[1], "images-b");
    ssize_t n = readlink("/proc/self/exe", w.meshctl, sizeof w.meshctl - 16);
    assert_true(n > 0);
    w.meshctl[n] = '\0';
    snprintf(strrchr(w.meshctl, '/') + 1, 16, "meshctl");
    w.mesh = fake_mesh_new(&w.loop);
    w.a = fake_node_add(w.mesh, "ant", images[0], 256);
    w.b = fake_node_add(w.mesh, "bee", images[1], 256);
    assert_int_equal(control_new(&w.control, w.a, w.socket, why, sizeof why), ERR_OK);
    return 0;
}

static bool gone;

static void on_gone(void *ctx)
{
    (void)ctx;
    gone = true;
}

static void remove_dir(const char *path)
{
    DIR *d = opendir(path);
    for (const struct dirent *e; d && (e = readdir(d));) {
        char inner[512];
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        snprintf(inner, sizeof inner, "%s/%s", path, e->d_name);
        if (unlink(inner) < 0)
            remove_dir(inner);
    }
    if (d)
        closedir(d);
    rmdir(path);
}

static void close_control(void)
{
    gone = false;
    control_close(&w.control, on_gone, NULL);
    while (!gone)
        uv_run(&w.loop, UV_RUN_ONCE);
}

static int tear_down(void **state)
{
    (void)state;
    if (w.control)
        close_control();
    fake_mesh_free(w.mesh);
    uv_run(&w.loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&w.loop), 0); /* nothing is left behind */
    remove_dir(w.dir);
    return 0;
}

static void file_write(const char *name, const void *p, size_t len, char *path, size_t size)
{
    path_in(path, size, name);
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    assert_int_equal(fwrite(p, 1, len, f), len);
    assert_int_equal(fclose(f), 0);
}

/* An image of the virtio target; `extra` bytes after what it says make it another. */
static size_t image_bytes(uint8_t *out, size_t extra, uint8_t fill)
{
    const struct solo5_image like = {.target = TARGET_VIRTIO, .abi_version = 1, .arch = "x86_64"};
    size_t n = elf_image(&like, out);
    memset(out + n, fill, extra);
    return n + extra;
}

enum { IMAGE_TEST_MAX = ELF_IMAGE_MAX + 3 * IMAGE_CHUNK };

static const char *image_file(const char *name, size_t extra, uint8_t fill)
{
    static char path[128];
    uint8_t *bytes = malloc(IMAGE_TEST_MAX);
    assert_non_null(bytes);
    file_write(name, bytes, image_bytes(bytes, extra, fill), path, sizeof path);
    free(bytes);
    return path;
}

/* ---- The loop, until something is so
 * -------------------------------------------------------------- */

static void on_wake(uv_timer_t *t)
{
    *(bool *)t->data = true;
}

static void until(bool (*so)(void *ctx), void *ctx)
{
    uv_timer_t timer, tick;
    bool late = false, dummy = false;
    uv_timer_init(&w.loop, &timer);
    uv_timer_init(&w.loop, &tick);
    timer.data = &late;
    tick.data = &dummy;
    uv_timer_start(&timer, on_wake, DEADLINE_MS, 0);
    uv_timer_start(&tick, on_wake, 20, 20);
    while (!so(ctx) && !late)
        uv_run(&w.loop, UV_RUN_ONCE);
    uv_close((uv_handle_t *)&timer, NULL);
    uv_close((uv_handle_t *)&tick, NULL);
    while (uv_is_active((uv_handle_t *)&timer) || uv_is_active((uv_handle_t *)&tick))
        uv_run(&w.loop, UV_RUN_NOWAIT);
    uv_run(&w.loop, UV_RUN_NOWAIT);
    assert_false(late);
}

/* ---- meshctl ------------------------------------------------------------------------------- */

struct run {
    uv_process_t process;
    uv_pipe_t out_pipe, err_pipe;
    bool ended;
    int64_t status;
    unsigned pipes;
    size_t out_len, err_len;
    char *out, *err;
};

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *buf)
{
    struct run *r = h->data;
    (void)suggested;
    bool out = h == (uv_handle_t *)&r->out_pipe;
    size_t len = out ? r->out_len : r->err_len;
    *buf = uv_buf_init((out ? r->out : r->err) + len, (unsigned)(OUT_MAX - 1 - len));
}

static void on_output(uv_stream_t *s, ssize_t n, const uv_buf_t *buf)
{
    struct run *r = s->data;
    (void)buf;
    size_t *len = s == (uv_stream_t *)&r->out_pipe ? &r->out_len : &r->err_len;
    char *text = s == (uv_stream_t *)&r->out_pipe ? r->out : r->err;
    if (n < 0) {
        r->pipes--;
        uv_close((uv_handle_t *)s, NULL);
        return;
    }
    *len += (size_t)n;
    text[*len] = '\0';
}

static void on_exit_status(uv_process_t *p, int64_t status, int signal)
{
    struct run *r = p->data;
    r->ended = true;
    r->status = signal ? 1000 + signal : status;
    uv_close((uv_handle_t *)p, NULL);
}

static void spawn(struct run *r, char **argv)
{
    memset(r, 0, sizeof *r);
    r->out = calloc(1, OUT_MAX);
    r->err = calloc(1, OUT_MAX);
    assert_true(r->out && r->err);
    uv_pipe_init(&w.loop, &r->out_pipe, 0);
    uv_pipe_init(&w.loop, &r->err_pipe, 0);
    r->process.data = r->out_pipe.data = r->err_pipe.data = r;
    uv_stdio_container_t io[3] = {
        {.flags = UV_IGNORE},
        {.flags = UV_CREATE_PIPE | UV_WRITABLE_PIPE, .data.stream = (uv_stream_t *)&r->out_pipe},
        {.flags = UV_CREATE_PIPE | UV_WRITABLE_PIPE, .data.stream = (uv_stream_t *)&r->err_pipe}};
    uv_process_options_t o = {
        .file = w.meshctl, .args = argv, .stdio = io, .stdio_count = 3, .exit_cb = on_exit_status};
    assert_int_equal(uv_spawn(&w.loop, &r->process, &o), 0);
    r->pipes = 2;
    uv_read_start((uv_stream_t *)&r->out_pipe, on_alloc, on_output);
    uv_read_start((uv_stream_t *)&r->err_pipe, on_alloc, on_output);
}

static bool run_is_over(void *ctx)
{
    const struct run *r = ctx;
    return r->ended && r->pipes == 0;
}

enum { ARGV_MAX = 24 };

static void spawn_args(struct run *r, const char *first, va_list ap)
{
    char *argv[ARGV_MAX] = {w.meshctl, "--socket", w.socket};
    int n = 3;
    for (const char *a = first; a; a = va_arg(ap, const char *)) {
        assert_true(n < ARGV_MAX - 1);
        argv[n++] = (char *)(uintptr_t)a;
    }
    spawn(r, argv);
}

/* Run meshctl to its end. The arguments end with NULL. Returns the run, whose texts are good until
 * the next one. */
static struct run *meshctl(const char *first, ...)
{
    static struct run r;
    va_list ap;
    free(r.out);
    free(r.err);
    va_start(ap, first);
    spawn_args(&r, first, ap);
    va_end(ap);
    until(run_is_over, &r);
    return &r;
}

static void run_free(struct run *r)
{
    free(r->out);
    free(r->err);
    r->out = r->err = NULL;
}

static void start_meshctl(struct run *r, const char *first, ...)
{
    va_list ap;
    va_start(ap, first);
    spawn_args(r, first, ap);
    va_end(ap);
}

static json_t *json_of(const struct run *r)
{
    json_error_t e;
    json_t *j = json_loads(r->out, 0, &e);
    if (!j)
        fail_msg("%s: %s (%s)", e.text, r->out, r->err);
    return j;
}

static void succeeds(const struct run *r)
{
    if (r->status != 0)
        fail_msg("status %d: %s%s", (int)r->status, r->out, r->err);
}

/* It fails with this status, and says this on one line of stderr, and nothing on stdout. */
static void fails(const struct run *r, int status, const char *says)
{
    if (r->status != status || !strstr(r->err, says) || r->out_len > 0)
        fail_msg("status %d: %s%s (should say: %s)", (int)r->status, r->out, r->err, says);
    assert_ptr_equal(strchr(r->err, '\n'), r->err + r->err_len - 1);
}

static const char *text_of(const json_t *object, const char *key)
{
    const char *s = json_string_value(json_object_get(object, key));
    return s ? s : "";
}

static bool two_alive(void *ctx)
{
    (void)ctx;
    return swim_count(engine_members(node_engine(w.a)), MEMBER_ALIVE) >= 1 &&
           swim_count(engine_members(node_engine(w.b)), MEMBER_ALIVE) >= 1 &&
           engine_synced(node_engine(w.b));
}

static void deploy(const char *name, const char *replicas)
{
    until(two_alive, NULL);
    succeeds(meshctl("deploy", image_file("guest.virtio", 100, 1), "--name", name, "--replicas",
                     replicas, "--memory", "16M", "--arg", "--hello=world", "--timeout", "20",
                     NULL));
}

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
    fails(meshctl("deploy", path, "--name", "x", NULL), 1, "net \"service\"");
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
    close_control();
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

/* ---- Raw bytes
 * --------------------------------------------------------------------------------------- */

struct raw {
    int fd;
    size_t len;
    bool closed;
    uint8_t bytes[512 * 1024];
    struct control_message last; /* the last END */
    unsigned ends, wants;
};

static void raw_open(struct raw *r)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    memset(r, 0, sizeof *r);
    snprintf(sa.sun_path, sizeof sa.sun_path, "%s", w.socket);
    r->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_true(r->fd >= 0);
    assert_int_equal(connect(r->fd, (struct sockaddr *)&sa, sizeof sa), 0);
}

static void raw_write(struct raw *r, const void *p, size_t len)
{
    const uint8_t *b = p;
    while (len > 0) {
        ssize_t n = send(r->fd, b, len, MSG_NOSIGNAL);
        if (n < 0 && errno == EPIPE)
            return;
        assert_true(n > 0 || errno == EAGAIN);
        if (n > 0) {
            b += n;
            len -= (size_t)n;
        }
        uv_run(&w.loop, UV_RUN_NOWAIT);
    }
}

static void raw_send(struct raw *r, const struct control_message *m)
{
    uint8_t *buffer = malloc(CONTROL_HEAD + CONTROL_FRAME_MAX);
    struct pack k;
    assert_non_null(buffer);
    pack_init(&k, buffer, CONTROL_HEAD + CONTROL_FRAME_MAX);
    assert_int_equal(control_encode(m, &k), ERR_OK);
    raw_write(r, k.p, k.len);
    free(buffer);
}

static void raw_read(struct raw *r)
{
    ssize_t n = recv(r->fd, r->bytes + r->len, sizeof r->bytes - r->len, 0);
    r->closed |= n == 0 || (n < 0 && errno != EAGAIN);
    r->len += n > 0 ? (size_t)n : 0;
    size_t frame;
    while (r->len >= CONTROL_HEAD && !control_length(r->bytes, &frame) &&
           r->len - CONTROL_HEAD >= frame) {
        struct control_message m;
        assert_int_equal(control_decode(r->bytes + CONTROL_HEAD, frame, &m), ERR_OK);
        if (m.type == CONTROL_END) {
            r->last = m;
            r->ends++;
        }
        r->wants += m.type == CONTROL_WANT;
        memmove(r->bytes, r->bytes + CONTROL_HEAD + frame, r->len - CONTROL_HEAD - frame);
        r->len -= CONTROL_HEAD + frame;
    }
}

static bool raw_has_end(void *ctx)
{
    struct raw *r = ctx;
    raw_read(r);
    return r->ends > 0;
}

static bool raw_has_want(void *ctx)
{
    struct raw *r = ctx;
    raw_read(r);
    return r->wants > 0 || r->ends > 0;
}

static bool raw_is_closed(void *ctx)
{
    struct raw *r = ctx;
    raw_read(r);
    return r->closed;
}

static void raw_end(struct raw *r, enum err err, const char *says)
{
    until(raw_has_end, r);
    if (r->last.end.err != err || !strstr(r->last.end.text, says))
        fail_msg("%s: %s", err_name(r->last.end.err), r->last.end.text);
    r->ends = 0;
}

static struct raw raw, raw2;

static void garbage_is_answered_and_ends_the_connection(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "\0\0\0\5garba", "\xff\xff\xff\xff",     "\0\0\0\0",
        "\0\0\0\1\x90",  "\0\0\0\3\x92\x01\x7f", "GET / HTTP/1.0\r\n\r\n"};
    static const size_t len[] = {9, 4, 4, 5, 7, 18};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        raw_open(&raw);
        raw_write(&raw, bad[i], len[i]);
        until(raw_has_end, &raw);
        assert_true(raw.last.end.err == ERR_INVALID || raw.last.end.err == ERR_TOO_LARGE ||
                    raw.last.end.err == ERR_UNSUPPORTED || raw.last.end.err == ERR_TRUNCATED);
        until(raw_is_closed, &raw);
        close(raw.fd);
    }
    raw_open(&raw); /* another version */
    raw_write(&raw, "\0\0\0\3\x92\x02\x01", 7);
    raw_end(&raw, ERR_UNSUPPORTED, "speaks version 1");
    until(raw_is_closed, &raw);
    close(raw.fd);
    succeeds(meshctl("version", NULL));
}

static void requests_may_follow_each_other_in_one_write(void **state)
{
    (void)state;
    uint8_t bytes[256];
    struct pack k;
    const struct control_message hello = {.type = CONTROL_HELLO}, apps = {.type = CONTROL_APPS};
    pack_init(&k, bytes, sizeof bytes);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(control_encode(&hello, &k), ERR_OK);
        assert_int_equal(control_encode(&apps, &k), ERR_OK);
    }
    raw_open(&raw);
    for (size_t i = 0; i < k.len; i++)
        raw_write(&raw, bytes + i, 1);
    while (raw.ends < 6)
        until(raw_has_end, &raw);
    close(raw.fd);
}

static void put_image(struct raw *r, const uint8_t *bytes, size_t len, uint32_t chunks)
{
    static uint8_t list[IMAGE_LIST_BYTES_MAX];
    struct control_message m = {.type = CONTROL_IMAGE_PUT};
    assert_int_equal(image_list_make(bytes, len, list, &m.image_put.image), ERR_OK);
    m.image_put.list = (struct slice){.p = list, .len = image_list_len(len)};
    raw_send(r, &m);
    until(raw_has_want, r);
    for (uint32_t i = 0; i < chunks && r->ends == 0; i++) {
        size_t at = (size_t)i * IMAGE_CHUNK;
        struct control_message c = {.type = CONTROL_CHUNK, .chunk = {.index = i}};
        c.chunk.bytes =
            (struct slice){.p = bytes + at, .len = len - at < IMAGE_CHUNK ? len - at : IMAGE_CHUNK};
        raw_send(r, &c);
    }
}

static unsigned files_in(const char *name, const char *suffix)
{
    char path[128];
    unsigned n = 0;
    path_in(path, sizeof path, name);
    DIR *d = opendir(path);
    assert_non_null(d);
    for (const struct dirent *e; (e = readdir(d));) {
        size_t len = strlen(e->d_name), tail = strlen(suffix);
        n += len > tail && strcmp(e->d_name + len - tail, suffix) == 0;
    }
    closedir(d);
    return n;
}

static bool no_parts(void *ctx)
{
    (void)ctx;
    return files_in("images-a", ".part") == 0;
}

static void an_upload_that_breaks_off_leaves_nothing(void **state)
{
    (void)state;
    static uint8_t bytes[IMAGE_TEST_MAX];
    size_t len = image_bytes(bytes, 2 * IMAGE_CHUNK, 7);
    raw_open(&raw);
    put_image(&raw, bytes, len, 1);
    assert_int_equal(files_in("images-a", ".part"), 1);
    close(raw.fd);
    until(no_parts, NULL);
    raw_open(&raw); /* and it can be uploaded again */
    put_image(&raw, bytes, len, 3);
    raw_end(&raw, ERR_OK, "stored");
    assert_int_equal(files_in("images-a", ".image"), 1);
    put_image(&raw, bytes, len, 0);
    raw_end(&raw, ERR_OK, "has it already");
    close(raw.fd);
}

static void wrong_chunks_are_refused(void **state)
{
    (void)state;
    static uint8_t bytes[IMAGE_TEST_MAX];
    size_t len = image_bytes(bytes, 2 * IMAGE_CHUNK, 7);
    raw_open(&raw);
    put_image(&raw, bytes, len, 1);
    struct control_message c = {.type = CONTROL_CHUNK, .chunk = {.index = 1}};
    c.chunk.bytes = (struct slice){.p = bytes, .len = IMAGE_CHUNK}; /* the first one's */
    raw_send(&raw, &c);
    raw_end(&raw, ERR_CORRUPT, "chunk 1");
    put_image(&raw, bytes, len, 1);
    c.chunk.index = 2;
    raw_send(&raw, &c);
    raw_end(&raw, ERR_INVALID, "in their order");
    struct control_message put = {.type = CONTROL_IMAGE_PUT,
                                  .image_put = {.list = {.p = bytes, .len = 24}}};
    raw_send(&raw, &put);
    raw_end(&raw, ERR_CORRUPT, "list");
    close(raw.fd);
    until(no_parts, NULL);
}

/* A client that is not meshctl: the node looks for itself. */
static void the_node_checks_images_again(void **state)
{
    (void)state;
    static uint8_t bytes[IMAGE_TEST_MAX];
    struct solo5_image like = {
        .target = TARGET_VIRTIO, .abi_version = 1, .arch = "x86_64", .device_count = 1};
    like.devices[0] = (struct solo5_device){.name = "storage", .type = SOLO5_BLOCK};
    uint8_t body[RECORD_BODY_MAX];
    size_t len[3] = {elf_image(&like, bytes), 26, 0};
    const char *says[3] = {"block \"storage\"", "not an ELF file", "is not at this node"};
    for (int i = 0; i < 3; i++) {
        struct spec_body s = {.name = "raw", .revision = 1, .image_count = 1, .memory_mib = 16};
        struct control_message m = {.type = CONTROL_DEPLOY, .deploy = {.replicas = 1}};
        struct pack k;
        raw_open(&raw);
        if (len[i]) {
            put_image(&raw, bytes, len[i], 1);
            until(raw_has_end, &raw);
            raw.ends = 0;
        }
        s.images[0] = (struct image_ref){.target = TARGET_VIRTIO, .size_bytes = 1, .image.b = {1}};
        if (len[i])
            image_name(bytes, len[i], &s.images[0].image);
        pack_init(&k, body, sizeof body);
        assert_int_equal(spec_body_encode(&s, NULL, 0, &k), ERR_OK);
        m.deploy.spec = (struct slice){.p = body, .len = k.len};
        raw_send(&raw, &m);
        until(raw_has_end, &raw);
        if (!strstr(raw.last.end.text, says[i]) || !raw.last.end.err)
            fail_msg("%s", raw.last.end.text);
        close(raw.fd);
        memcpy(bytes, "hello, world, this is text", 26);
    }
    assert_string_equal(meshctl("apps", "-o", "name", NULL)->out, "");
}

static bool nobody_waits(void *ctx)
{
    (void)ctx;
    return fake_node_commands(w.a) == 0;
}

static void a_client_that_goes_is_forgotten(void **state)
{
    (void)state;
    deploy("web", "1");
    fake_node_cut(w.b); /* so that the acknowledgement takes its time */
    struct control_message m = {.type = CONTROL_COMMAND,
                                .command = {.kind = COMMAND_SCALE, .replicas = 2, .ack = 2}};
    snprintf(m.command.app, sizeof m.command.app, "web");
    raw_open(&raw);
    raw_send(&raw, &m);
    struct control_message logs = {.type = CONTROL_LOGS,
                                   .logs = {.lines = CONTROL_ALL_LINES, .follow = true}};
    snprintf(logs.logs.app, sizeof logs.logs.app, "web");
    raw_open(&raw2);
    raw_send(&raw2, &logs);
    for (int i = 0; i < 20; i++)
        uv_run(&w.loop, UV_RUN_NOWAIT);
    assert_int_equal(fake_node_commands(w.a), 1);
    close(raw.fd);
    close(raw2.fd);
    until(nobody_waits, NULL);
}

static void who_waits_is_told_when_the_node_ends(void **state)
{
    (void)state;
    deploy("web", "1");
    fake_node_cut(w.b);
    struct control_message m = {.type = CONTROL_COMMAND,
                                .command = {.kind = COMMAND_SCALE, .replicas = 2, .ack = 2}};
    snprintf(m.command.app, sizeof m.command.app, "web");
    raw_open(&raw);
    raw_send(&raw, &m);
    m.command = (struct control_command){.kind = COMMAND_NODE_STOP};
    raw_open(&raw2);
    raw_send(&raw2, &m);
    for (int i = 0; i < 20; i++)
        uv_run(&w.loop, UV_RUN_NOWAIT);
    assert_true(fake_node_stopped(w.a));
    close_control();
    raw_end(&raw, ERR_CLOSED, "the node ended before it was done");
    raw_end(&raw2, ERR_OK, "the node has ended");
    until(raw_is_closed, &raw);
    close(raw.fd);
    close(raw2.fd);
    assert_int_equal(access(w.socket, F_OK), -1);
}

/* ---- The socket
 * ---------------------------------------------------------------------------------------- */

static void a_socket_in_use_is_left_alone_and_a_stale_one_replaced(void **state)
{
    (void)state;
    struct control *second;
    struct stat st;
    char why[256], path[256], stale[96];
    assert_int_equal(stat(w.socket, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0660);
    assert_int_equal(control_new(&second, w.b, w.socket, why, sizeof why), ERR_BUSY);
    assert_non_null(strstr(why, "another node answers"));
    memset(path, 'x', sizeof path);
    path[0] = '/';
    path[200] = '\0';
    assert_int_equal(control_new(&second, w.b, path, why, sizeof why), ERR_TOO_LARGE);
    path_in(stale, sizeof stale, "file");
    file_write("file", "x", 1, path, sizeof path);
    assert_int_equal(control_new(&second, w.b, stale, why, sizeof why), ERR_IO);
    assert_non_null(strstr(why, "is no socket"));
    path_in(stale, sizeof stale, "stale.sock");
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    snprintf(sa.sun_path, sizeof sa.sun_path, "%s", stale);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof sa), 0);
    close(fd);
    assert_int_equal(control_new(&second, w.b, stale, why, sizeof why), ERR_OK);
    gone = false;
    control_close(&second, on_gone, NULL);
    while (!gone)
        uv_run(&w.loop, UV_RUN_ONCE);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(members_are_listed),
        T(a_deployed_app_runs_and_is_shown),
        T(an_app_file_is_deployed),
        T(scale_stop_start_move_and_rm_work),
        T(what_fits_nowhere_is_pending_with_the_reason),
        T(images_that_cannot_run_are_refused),
        T(an_app_file_of_ten_megabytes_is_refused),
        T(without_a_node_it_says_so),
        T(consoles_are_read_wherever_they_are),
        T(a_long_console_comes_whole_and_a_lost_part_is_counted),
        T(a_follower_sees_a_restart),
        T(events_are_told_and_followed),
        T(garbage_is_answered_and_ends_the_connection),
        T(requests_may_follow_each_other_in_one_write),
        T(an_upload_that_breaks_off_leaves_nothing),
        T(wrong_chunks_are_refused),
        T(the_node_checks_images_again),
        T(a_client_that_goes_is_forgotten),
        T(who_waits_is_told_when_the_node_ends),
        T(a_socket_in_use_is_left_alone_and_a_stale_one_replaced),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
