/* --join: addresses and DNS names, resolved when we start and asked again later, so that a name's
 * new addresses are tried, too.
 *
 * An address needs no asking. A name is looked up by a thread of its own that nobody waits for: a
 * name server that doesn't answer holds getaddrinfo for half a minute, and neither the node's end
 * nor libuv's few workers, which read and write images, may hang on that. It writes what it found
 * into a pipe, whole or not at all; when the node has ended meanwhile, it writes to nobody. */
#define _GNU_SOURCE
#include "node/loop/node_internal.h"

#include "node/loop/sockaddr.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    AGAIN_ALONE_MS = 5000,
    AGAIN_MS = 60000,
    ADDRESSES_OF_A_NAME_MAX = 16,
    STACK_BYTES = 512 * 1024 /* glibc's resolver and the modules that it loads */
};

struct found_addresses {
    int status; /* of getaddrinfo */
    uint32_t count;
    struct address v[ADDRESSES_OF_A_NAME_MAX];
};
_Static_assert(sizeof(struct found_addresses) <= PIPE_BUF, "written at once");

struct lookup { /* one that a thread is at; lives until its handle is closed */
    struct node *node;
    struct lookup **slot; /* NULL: closing */
    const struct peer_name *name;
    int fd;
    uv_poll_t poll;
};

struct resolver {
    struct node *node;
    uv_timer_t timer;
    struct lookup *lookups[OPTION_JOINS_MAX]; /* NULL: not under way */
};

/* ---- Asking ---------------------------------------------------------------------------------- */

static void ask(const struct peer_name *name, int flags, struct found_addresses *out)
{
    const struct addrinfo hints = {
        .ai_family = AF_UNSPEC, .ai_socktype = SOCK_DGRAM, .ai_flags = AI_NUMERICSERV | flags};
    struct addrinfo *result = NULL;
    memset(out, 0, sizeof *out);
    out->status = getaddrinfo(name->host, name->port, &hints, &result);
    if (out->status)
        return;
    for (const struct addrinfo *a = result; a && out->count < ADDRESSES_OF_A_NAME_MAX;
         a = a->ai_next)
        if (!sockaddr_to(a->ai_addr, &out->v[out->count]))
            out->count++;
    freeaddrinfo(result);
}

struct job { /* the thread's own */
    struct peer_name name;
    int fd;
};

static void *job_run(void *arg)
{
    struct job *j = arg;
    struct found_addresses found;
    ask(&j->name, 0, &found);
    (void)!write(j->fd, &found, sizeof found); /* SIGPIPE is ignored */
    close(j->fd);
    free(j);
    return NULL;
}

static bool job_start(const struct peer_name *name, int fd)
{
    pthread_attr_t attributes;
    pthread_t thread;
    struct job *j = malloc(sizeof *j);
    if (!j)
        return false;
    *j = (struct job){.name = *name, .fd = fd};
    if (pthread_attr_init(&attributes)) {
        free(j);
        return false;
    }
    (void)pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    (void)pthread_attr_setstacksize(&attributes, STACK_BYTES);
    bool began = pthread_create(&thread, &attributes, job_run, j) == 0;
    (void)pthread_attr_destroy(&attributes);
    if (!began)
        free(j);
    return began;
}

/* ---- What was found -------------------------------------------------------------------------- */

static void tell(struct node *n, const struct peer_name *name, const struct found_addresses *found)
{
    if (found->status)
        node_log(n, LOG_WARN, "join.unresolved", "name=%s why=\"%s\"", name->host,
                 gai_strerror(found->status));
    for (uint32_t i = 0; i < found->count; i++) {
        struct event ev = {.kind = EVENT_JOIN, .address = found->v[i]};
        node_step(n, &ev);
    }
}

static void on_lookup_closed(uv_handle_t *h)
{
    struct lookup *l = h->data;
    close(l->fd);
    node_gone(l->node);
    free(l);
}

static void lookup_close(struct lookup *l)
{
    *l->slot = NULL;
    l->slot = NULL;
    l->node->closing++;
    uv_close((uv_handle_t *)&l->poll, on_lookup_closed);
}

static void on_found(uv_poll_t *poll, int status, int events)
{
    struct lookup *l = poll->data;
    struct found_addresses found = {.status = EAI_SYSTEM};
    (void)status;
    (void)events;
    ssize_t len = read(l->fd, &found, sizeof found);
    if (len < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (len != (ssize_t)sizeof found)
        found = (struct found_addresses){.status = EAI_SYSTEM};
    struct node *n = l->node;
    const struct peer_name *name = l->name;
    lookup_close(l);
    tell(n, name, &found);
}

/* ---- When ------------------------------------------------------------------------------------ */

static void look_up(struct resolver *r, uint32_t i)
{
    const struct peer_name *name = &r->node->options->joins[i];
    struct found_addresses found;
    int fd[2];
    if (r->lookups[i]) /* still at it */
        return;
    ask(name, AI_NUMERICHOST, &found);
    if (found.status == 0) {
        tell(r->node, name, &found);
        return;
    }
    struct lookup *l = calloc(1, sizeof *l);
    if (!l || pipe2(fd, O_CLOEXEC | O_NONBLOCK) < 0) {
        free(l);
        return; /* the next time */
    }
    *l = (struct lookup){.node = r->node, .slot = &r->lookups[i], .name = name, .fd = fd[0]};
    if (uv_poll_init(r->node->loop, &l->poll, fd[0])) {
        close(fd[0]);
        close(fd[1]);
        free(l);
        return;
    }
    l->poll.data = l;
    r->lookups[i] = l;
    if (uv_poll_start(&l->poll, UV_READABLE, on_found) || !job_start(name, fd[1])) {
        close(fd[1]);
        lookup_close(l);
    }
}

static void on_timer(uv_timer_t *t)
{
    struct resolver *r = t->data;
    for (uint32_t i = 0; i < r->node->options->join_count; i++)
        look_up(r, i);
    uv_timer_start(t, on_timer, engine_synced(r->node->engine) ? AGAIN_MS : AGAIN_ALONE_MS, 0);
}

enum err resolver_new(struct resolver **out, struct node *n)
{
    if (n->options->join_count == 0)
        return ERR_OK;
    struct resolver *r = calloc(1, sizeof *r);
    if (!r)
        return ERR_NOMEM;
    r->node = n;
    CHECK(uv_timer_init(n->loop, &r->timer) == 0);
    r->timer.data = r;
    CHECK(uv_timer_start(&r->timer, on_timer, 0, 0) == 0);
    *out = r;
    return ERR_OK;
}

static void on_closed(uv_handle_t *h)
{
    struct resolver *r = h->data;
    node_gone(r->node);
    free(r);
}

void resolver_close(struct resolver **rp)
{
    struct resolver *r = *rp;
    *rp = NULL;
    if (!r)
        return;
    for (uint32_t i = 0; i < OPTION_JOINS_MAX; i++)
        if (r->lookups[i])
            lookup_close(r->lookups[i]);
    r->node->closing++;
    uv_close((uv_handle_t *)&r->timer, on_closed);
}
