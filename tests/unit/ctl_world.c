#define _GNU_SOURCE
#include "tests/unit/ctl_world.h"

#include <dirent.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { DEADLINE_MS = 30000 };

struct world w;

/* ---- Set-up -------------------------------------------------------------------------------- */

void path_in(char *out, size_t size, const char *name)
{
    assert_true(snprintf(out, size, "%s/%s", w.dir, name) < (int)size);
}

int set_up(void **state)
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

void close_control(struct control **c)
{
    gone = false;
    control_close(c, on_gone, NULL);
    while (!gone)
        uv_run(&w.loop, UV_RUN_ONCE);
}

int tear_down(void **state)
{
    (void)state;
    if (w.control)
        close_control(&w.control);
    fake_mesh_free(w.mesh);
    uv_run(&w.loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&w.loop), 0); /* nothing is left behind */
    remove_dir(w.dir);
    return 0;
}

void file_write(const char *name, const void *p, size_t len, char *path, size_t size)
{
    path_in(path, size, name);
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    assert_int_equal(fwrite(p, 1, len, f), len);
    assert_int_equal(fclose(f), 0);
}

/* An image of the virtio target; `extra` bytes after what it says make it another. */
size_t image_bytes(uint8_t *out, size_t extra, uint8_t fill)
{
    const struct solo5_image like = {.target = TARGET_VIRTIO, .abi_version = 1, .arch = "x86_64"};
    size_t n = elf_image(&like, out);
    memset(out + n, fill, extra);
    return n + extra;
}

const char *image_file(const char *name, size_t extra, uint8_t fill)
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

void until(bool (*so)(void *ctx), void *ctx)
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

bool run_is_over(void *ctx)
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
struct run *meshctl(const char *first, ...)
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

void run_free(struct run *r)
{
    free(r->out);
    free(r->err);
    r->out = r->err = NULL;
}

void start_meshctl(struct run *r, const char *first, ...)
{
    va_list ap;
    va_start(ap, first);
    spawn_args(r, first, ap);
    va_end(ap);
}

json_t *json_of(const struct run *r)
{
    json_error_t e;
    json_t *j = json_loads(r->out, 0, &e);
    if (!j)
        fail_msg("%s: %s (%s)", e.text, r->out, r->err);
    return j;
}

void succeeds(const struct run *r)
{
    if (r->status != 0)
        fail_msg("status %d: %s%s", (int)r->status, r->out, r->err);
}

/* It fails with this status, and says this on one line of stderr, and nothing on stdout. */
void fails(const struct run *r, int status, const char *says)
{
    if (r->status != status || !strstr(r->err, says) || r->out_len > 0)
        fail_msg("status %d: %s%s (should say: %s)", (int)r->status, r->out, r->err, says);
    assert_ptr_equal(strchr(r->err, '\n'), r->err + r->err_len - 1);
}

const char *text_of(const json_t *object, const char *key)
{
    const char *s = json_string_value(json_object_get(object, key));
    return s ? s : "";
}

bool two_alive(void *ctx)
{
    (void)ctx;
    return swim_count(engine_members(node_engine(w.a)), MEMBER_ALIVE) >= 1 &&
           swim_count(engine_members(node_engine(w.b)), MEMBER_ALIVE) >= 1 &&
           engine_synced(node_engine(w.b));
}

void deploy(const char *name, const char *replicas)
{
    until(two_alive, NULL);
    succeeds(meshctl("deploy", image_file("guest.virtio", 100, 1), "--name", name, "--replicas",
                     replicas, "--memory", "16M", "--arg", "--hello=world", "--timeout", "20",
                     NULL));
}
