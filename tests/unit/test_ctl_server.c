/* The control socket by raw bytes: what meshctl would not say, and clients that break off. */
#define _GNU_SOURCE
#include "tests/unit/ctl_world.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* ---- Raw bytes
 * --------------------------------------------------------------------------------------- */

struct raw {
    int fd;
    size_t len;
    bool closed;
    uint8_t bytes[512 * 1024];
    struct control_message last; /* the last END */
    unsigned ends, wants;
    uint64_t output, skipped; /* console bytes, had and lost */
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
        if (m.type == CONTROL_OUTPUT) {
            assert_int_equal(m.output.offset, r->output + r->skipped + m.output.skipped);
            r->output += m.output.bytes.len;
            r->skipped += m.output.skipped;
        }
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
    const char *says[3] = {"block device \"storage\"", "not an ELF file", "is not at this node"};
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

enum { SLOW_PRINTS = 100, SLOW_PRINT_BYTES = 40000 };

static bool raw_has_all(void *ctx)
{
    struct raw *r = ctx;
    raw_read(r);
    return r->output + r->skipped == (uint64_t)SLOW_PRINTS * SLOW_PRINT_BYTES;
}

/* The ring goes on without a reader that doesn't keep up; what it missed is counted, and nothing is
 * held for it. */
static void a_slow_reader_is_not_waited_for(void **state)
{
    (void)state;
    static char text[SLOW_PRINT_BYTES];
    deploy("web", "2");
    for (uint16_t slot = 0; slot < 2; slot++) { /* here, and on the other node */
        struct fake_run *run = fake_run_find(w.mesh, "web", slot, NULL);
        struct control_message logs = {
            .type = CONTROL_LOGS,
            .logs = {.slot = slot, .lines = CONTROL_ALL_LINES, .follow = true}};
        assert_non_null(run);
        snprintf(logs.logs.app, sizeof logs.logs.app, "web");
        raw_open(&raw);
        raw_send(&raw, &logs);
        for (int i = 0; i < SLOW_PRINTS; i++) {
            fake_run_print(run, text, sizeof text);
            for (int turn = 0; turn < 20; turn++)
                uv_run(&w.loop, UV_RUN_NOWAIT);
        }
        until(raw_has_all, &raw);
        assert_true(raw.skipped > 0);
        assert_true(raw.output >= FAKE_CONSOLE_RING);
        close(raw.fd);
    }
}

static void one_client_too_many_is_told_so(void **state)
{
    (void)state;
    int fds[64];
    for (int i = 0; i < 64; i++) {
        raw_open(&raw);
        fds[i] = raw.fd;
        uv_run(&w.loop, UV_RUN_NOWAIT);
    }
    raw_open(&raw2);
    raw_end(&raw2, ERR_BUSY, "try again");
    until(raw_is_closed, &raw2);
    close(raw2.fd);
    close(fds[0]);
    for (int i = 0; i < 10; i++)
        uv_run(&w.loop, UV_RUN_NOWAIT);
    succeeds(meshctl("version", NULL));
    for (int i = 1; i < 64; i++)
        close(fds[i]);
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
    close_control(&w.control);
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
    close_control(&second);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(garbage_is_answered_and_ends_the_connection),
        T(requests_may_follow_each_other_in_one_write),
        T(an_upload_that_breaks_off_leaves_nothing),
        T(wrong_chunks_are_refused),
        T(the_node_checks_images_again),
        T(a_slow_reader_is_not_waited_for),
        T(one_client_too_many_is_told_so),
        T(a_client_that_goes_is_forgotten),
        T(who_waits_is_told_when_the_node_ends),
        T(a_socket_in_use_is_left_alone_and_a_stale_one_replaced),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
