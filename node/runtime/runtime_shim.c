/* A run's folder, and the shim that listens in it. */
#define _GNU_SOURCE
#include "node/runtime/console.h"
#include "node/runtime/runtime_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int run_open(const struct run *r, const char *file)
{
    char name[UNIT_NAME_SIZE], path[UNIT_NAME_SIZE + 16];
    unit_name(&r->id, name);
    (void)snprintf(path, sizeof path, "%s/%.12s", name, file);
    return openat(r->rt->units_fd, path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
}

static bool file_read(const struct run *r, const char *file, void *out, size_t size)
{
    int fd = run_open(r, file);
    if (fd < 0)
        return false;
    ssize_t n = read(fd, out, size);
    close(fd);
    return n == (ssize_t)size;
}

bool shim_wrote(const struct run *r, struct shim_status *out)
{
    uint8_t bytes[SHIM_STATUS_SIZE];
    return file_read(r, "run", bytes, sizeof bytes) && shim_status_decode(bytes, sizeof bytes, out) &&
           out->target > TARGET_NONE && out->target < TARGET_COUNT;
}

/* Its tender ran, or its start has failed: what it has to say is in its folder. */
static bool run_began(const struct run *r)
{
    uint8_t bytes[SHIM_EXIT_SIZE];
    struct shim_exit e;
    struct shim_status s;
    return shim_wrote(r, &s) ||
           (file_read(r, "exit", bytes, sizeof bytes) && shim_exit_decode(bytes, sizeof bytes, &e));
}

/* ---- the connection ------------------------------------------------------------------------------- */

enum err shim_connect(struct run *r)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    struct ucred peer = {.pid = 0};
    socklen_t len = sizeof peer;
    char name[UNIT_NAME_SIZE];
    bool ran = run_began(r); /* before we knock: a shim writes `run` when it listens already */
    unit_name(&r->id, name);
    int dir = openat(r->rt->units_fd, name, O_DIRECTORY | O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (dir < 0)
        return ERR_NOT_FOUND;
    /* A socket's path has 107 bytes at most; this one is short wherever RUN is. */
    (void)snprintf(at.sun_path, sizeof at.sun_path, "/proc/self/fd/%d/sock", dir);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int error = fd < 0 || connect(fd, (struct sockaddr *)&at, sizeof at) < 0 ? errno : 0;
    close(dir);
    struct shim_link *l = error == 0 ? calloc(1, sizeof *l) : NULL;
    if (l == NULL) {
        if (fd >= 0)
            close(fd);
        return error != ENOENT && error != ECONNREFUSED ? ERR_BUSY : ran ? ERR_CLOSED : ERR_NOT_FOUND;
    }
    (void)getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len);
    *l = (struct shim_link){.rt = r->rt, .run = r, .fd = fd, .peer = (uint32_t)peer.pid};
    r->link = l;
    return ERR_OK;
}

static void on_link_closed(uv_handle_t *h)
{
    struct shim_link *l = h->data;
    struct runtime *rt = l->rt;
    close(l->fd);
    free(l);
    handle_closed(rt);
}

void shim_unlink(struct run *r)
{
    struct shim_link *l = r->link;
    r->link = NULL;
    if (l == NULL)
        return;
    l->run = NULL;
    if (l->poll.data == NULL) { /* never watched */
        close(l->fd);
        free(l);
        return;
    }
    uv_close((uv_handle_t *)&l->poll, on_link_closed);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct shim_link *l = poll->data;
    struct run *r = l->run;
    struct runtime *rt = l->rt;
    (void)events;
    if (r == NULL)
        return;
    enum err err = status < 0 ? ERR_CLOSED : shim_hear(r);
    if (err == ERR_CLOSED) {
        run_over(r);
    } else if (!err && r->phase == PHASE_ASKED) {
        if (shim_verified(r))
            run_up(r);
        else
            run_failed(r, END_HOST, "what answers in its folder is not its shim");
    }
    deliver(rt);
}

void shim_watch(struct run *r)
{
    struct shim_link *l = r->link;
    if (uv_poll_init(r->rt->loop, &l->poll, l->fd) == 0) {
        l->poll.data = l;
        handle_opened(r->rt);
        if (uv_poll_start(&l->poll, UV_READABLE, on_readable) == 0)
            return;
    }
    shim_unlink(r);
    r->adopt_until_ms = boottime_ms() + ADOPT_MS; /* no descriptors left, perhaps: again soon */
    tick_want(r->rt);
}

void shim_say(struct run *r, enum shim_verb verb, uint64_t argument)
{
    uint8_t bytes[SHIM_REQUEST_SIZE];
    const struct shim_request request = {verb, argument};
    shim_request_encode(&request, bytes);
    if (r->link != NULL) /* a shim whose queue is full hangs; the time limit of a stop deals with it */
        (void)!send(r->link->fd, bytes, sizeof bytes, MSG_NOSIGNAL | MSG_DONTWAIT);
}

enum err shim_hear(struct run *r)
{
    uint8_t bytes[SHIM_STATUS_SIZE * 2];
    struct shim_status status;
    enum err result = ERR_BUSY;
    for (;;) {
        ssize_t n = recv(r->link->fd, bytes, sizeof bytes, MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return result;
        if (n <= 0)
            return ERR_CLOSED;
        if (shim_status_decode(bytes, (size_t)n, &status)) {
            r->status = status;
            result = ERR_OK;
        }
    }
}

bool shim_verified(const struct run *r)
{
    const struct shim_status *s = &r->status;
    static const uint8_t unknown[BOOT_ID_SIZE];
    struct proc_stat tender;
    if (memcmp(s->boot, r->rt->boot, BOOT_ID_SIZE) != 0 && memcmp(s->boot, unknown, BOOT_ID_SIZE) != 0)
        return false;
    if (r->link->peer != 0 && r->link->peer != s->shim_pid)
        return false;
    if (s->target == TARGET_NONE || s->target >= TARGET_COUNT)
        return false;
    if (!proc_stat(s->pid, &tender)) /* it has just ended (the connection will too), or there is no /proc */
        return true;
    return tender.parent == s->shim_pid && (s->start_ticks == 0 || tender.start_ticks == s->start_ticks);
}

/* ---- the end ---------------------------------------------------------------------------------------- */

size_t console_end(const struct run *r, char *out, size_t size)
{
    size_t got = 0;
    uint64_t skipped, next;
    int fd = run_open(r, "console");
    struct shim_console c;
    uint8_t header[SHIM_CONSOLE_HEADER];
    if (fd < 0)
        return 0;
    enum console_writer writer = r->phase == PHASE_OVER ? CONSOLE_ENDED : CONSOLE_LIVE;
    if (pread(fd, header, sizeof header, 0) == (ssize_t)sizeof header &&
        shim_console_decode(header, sizeof header, &c) &&
        console_read(fd, writer, c.written > size ? c.written - size : 0, out, size, &got, &skipped, &next))
        got = 0;
    close(fd);
    return got;
}

/* A tender whose shim was killed gets the same signal; be sure of it. */
static void tender_gone(const struct shim_status *s)
{
    struct proc_stat stat;
    if (s->start_ticks != 0 && proc_stat(s->pid, &stat) && stat.start_ticks == s->start_ticks)
        (void)kill((pid_t)s->pid, SIGKILL);
}

void shim_end(struct run *r)
{
    uint8_t bytes[SHIM_EXIT_SIZE];
    char tail[TENDER_CONSOLE_TAIL];
    struct shim_exit e;
    struct shim_status s;
    const char *text = "its shim was killed";
    r->phase = PHASE_OVER;
    if (file_read(r, "exit", bytes, sizeof bytes) && shim_exit_decode(bytes, sizeof bytes, &e)) {
        tender_end(&e, tail, console_end(r, tail, sizeof tail), &r->end, r->text, sizeof r->text);
        return;
    }
    if (!shim_wrote(r, &s))
        text = "its start was interrupted";
    else if (memcmp(s.boot, r->rt->boot, BOOT_ID_SIZE) != 0)
        text = "its host was started again";
    else
        tender_gone(&s);
    r->end = (struct unit_end){.cause = r->stop_wanted ? END_STOPPED : END_HOST, .status = -1, .text = r->text};
    (void)snprintf(r->text, sizeof r->text, "%s", text);
}
