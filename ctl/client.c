#define _GNU_SOURCE
#include "ctl/client.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum err client_open(struct client **out, const char *path)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof sa.sun_path)
        return ERR_TOO_LARGE;
    snprintf(sa.sun_path, sizeof sa.sun_path, "%s", path);
    struct client *c = calloc(1, sizeof *c);
    if (!c)
        return ERR_NOMEM;
    c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0 || connect(c->fd, (const struct sockaddr *)&sa, sizeof sa) < 0) {
        int e = errno;
        client_close(&c);
        errno = e;
        return e == EACCES || e == EPERM ? ERR_DENIED : ERR_UNREACHABLE;
    }
    *out = c;
    return ERR_OK;
}

void client_close(struct client **c)
{
    if (*c && (*c)->fd >= 0)
        close((*c)->fd);
    free(*c);
    *c = NULL;
}

enum err client_send(struct client *c, const struct control_message *m)
{
    struct pack k;
    pack_init(&k, c->out, sizeof c->out);
    enum err err = control_encode(m, &k);
    if (err)
        return err;
    for (size_t at = 0; at < k.len;) {
        ssize_t n = send(c->fd, k.p + at, k.len - at, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EPIPE || errno == ECONNRESET ? ERR_CLOSED : ERR_IO;
        at += (size_t)n;
    }
    return ERR_OK;
}

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static enum err wait_for(int fd, int64_t until_ms)
{
    for (;;) {
        int64_t left = until_ms < 0 ? -1 : until_ms - now_ms();
        struct pollfd p = {.fd = fd, .events = POLLIN};
        int n = poll(&p, 1, left < 0 ? (until_ms < 0 ? -1 : 0) : (int)left);
        if (n > 0)
            return ERR_OK;
        if (n == 0)
            return ERR_TIMEOUT;
        if (errno != EINTR)
            return ERR_IO;
    }
}

static enum err whole(const struct client *c, size_t *len)
{
    if (c->in_len - c->in_used < CONTROL_HEAD)
        return ERR_TRUNCATED;
    enum err err = control_length(c->in + c->in_used, len);
    if (err)
        return err;
    return c->in_len - c->in_used - CONTROL_HEAD < *len ? ERR_TRUNCATED : ERR_OK;
}

bool client_has_message(const struct client *c)
{
    size_t len;
    return whole(c, &len) != ERR_TRUNCATED;
}

enum err client_receive(struct client *c, int timeout_ms, struct control_message *out)
{
    int64_t until = timeout_ms < 0 ? -1 : now_ms() + timeout_ms;
    size_t len;
    enum err err;
    while ((err = whole(c, &len)) == ERR_TRUNCATED) {
        if (c->in_used > 0) {
            memmove(c->in, c->in + c->in_used, c->in_len - c->in_used);
            c->in_len -= c->in_used;
            c->in_used = 0;
        }
        err = wait_for(c->fd, until);
        if (err)
            return err;
        ssize_t n = recv(c->fd, c->in + c->in_len, sizeof c->in - c->in_len, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n == 0 || errno == ECONNRESET ? ERR_CLOSED : ERR_IO;
        c->in_len += (size_t)n;
    }
    if (err)
        return err;
    const uint8_t *frame = c->in + c->in_used + CONTROL_HEAD;
    c->in_used += CONTROL_HEAD + len;
    return control_decode(frame, len, out);
}
