/* --join: addresses and DNS names, resolved when we start and asked again later, so that a name's
 * new addresses are tried, too. */
#define _GNU_SOURCE
#include "node/loop/node_internal.h"

#include "node/loop/sockaddr.h"

#include <netdb.h>
#include <stdlib.h>
#include <string.h>

enum { AGAIN_ALONE_MS = 5000, AGAIN_MS = 60000, ADDRESSES_OF_A_NAME_MAX = 16 };

struct lookup {
    struct resolver *resolver; /* NULL: the node ends; only to be freed */
    struct node *node;
    const struct peer_name *name;
    bool busy;
    uv_getaddrinfo_t request;
};

struct resolver {
    struct node *node;
    uv_timer_t timer;
    struct lookup *lookups[OPTION_JOINS_MAX];
};

static void lookup_ended(uv_getaddrinfo_t *request, int status, struct addrinfo *result)
{
    struct lookup *l = request->data;
    l->busy = false;
    if (!l->resolver) {
        node_gone(l->node);
        free(l);
        uv_freeaddrinfo(result);
        return;
    }
    if (status)
        node_log(l->node, LOG_WARN, "join.unresolved", "name=%s why=\"%s\"", l->name->host,
                 uv_strerror(status));
    int count = 0;
    for (const struct addrinfo *a = result; a && count < ADDRESSES_OF_A_NAME_MAX;
         a = a->ai_next, count++) {
        struct event ev = {.kind = EVENT_JOIN};
        if (!sockaddr_to(a->ai_addr, &ev.address))
            node_step(l->node, &ev);
    }
    uv_freeaddrinfo(result);
}

static void look_up(struct lookup *l)
{
    const struct addrinfo hints = {
        .ai_family = AF_UNSPEC, .ai_socktype = SOCK_DGRAM, .ai_flags = AI_NUMERICSERV};
    if (l->busy)
        return;
    l->request.data = l;
    l->busy = uv_getaddrinfo(l->node->loop, &l->request, lookup_ended, l->name->host, l->name->port,
                             &hints) == 0;
}

static void on_timer(uv_timer_t *t)
{
    struct resolver *r = t->data;
    for (uint32_t i = 0; i < r->node->options->join_count; i++)
        look_up(r->lookups[i]);
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
    for (uint32_t i = 0; i < n->options->join_count; i++) {
        struct lookup *l = calloc(1, sizeof *l);
        CHECK(l);
        *l = (struct lookup){.resolver = r, .node = n, .name = &n->options->joins[i]};
        r->lookups[i] = l;
    }
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
    for (uint32_t i = 0; i < r->node->options->join_count; i++) {
        struct lookup *l = r->lookups[i];
        l->resolver = NULL;
        if (l->busy) {
            r->node->closing++;
            (void)uv_cancel((uv_req_t *)&l->request);
        } else {
            free(l);
        }
    }
    r->node->closing++;
    uv_close((uv_handle_t *)&r->timer, on_closed);
}
