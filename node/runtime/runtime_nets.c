/* The networks that guests can be wired to here: asked of mesh-priv, which alone can try, each minute, and at once when
 * the kernel says that one of the bridges came or went. */
#define _GNU_SOURCE
#include "node/runtime/runtime_internal.h"

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { LOOK_MS = 60000, SOON_MS = 50, NETLINK_BUFFER = 32768 };

struct link_watch {
    struct runtime *rt;
    uv_poll_t poll;
    int fd;
};

static bool asked(const struct runtime *rt)
{
    const struct call *c = rt->calls;
    while (c != NULL && c->verb != PRIV_NETWORKS)
        c = c->next;
    return c != NULL;
}

static void on_look(uv_timer_t *timer)
{
    struct runtime *rt = timer->data;
    static struct priv_request request; /* large */
    if (asked(rt)) { /* what changed since is seen by the next one */
        (void)uv_timer_start(timer, on_look, SOON_MS, LOOK_MS);
        return;
    }
    request = (struct priv_request){.verb = PRIV_NETWORKS};
    helper_call(rt, &request);
    deliver(rt);
}

static bool is_ours(const struct runtime *rt, const struct nlmsghdr *m)
{
    bool of_link = m->nlmsg_type == RTM_NEWLINK || m->nlmsg_type == RTM_DELLINK;
    if (!of_link || m->nlmsg_len < NLMSG_LENGTH(sizeof(struct ifinfomsg)))
        return false;
    const char *at = (const char *)m + NLMSG_SPACE(sizeof(struct ifinfomsg)), *end = (const char *)m + m->nlmsg_len;
    struct rtattr a;
    for (; at < end && (size_t)(end - at) >= sizeof a; at += RTA_ALIGN(a.rta_len)) {
        memcpy(&a, at, sizeof a);
        if (a.rta_len < sizeof a || a.rta_len > (size_t)(end - at))
            break; /* the kernel writes no such thing */
        for (uint32_t i = 0; a.rta_type == IFLA_IFNAME && i < rt->cfg.networks.count; i++)
            if (strncmp(at + sizeof a, rt->cfg.networks.v[i].bridge, a.rta_len - sizeof a) == 0)
                return true;
    }
    return false;
}

static void on_links(uv_poll_t *poll, int status, int events)
{
    struct link_watch *w = poll->data;
    static _Alignas(struct nlmsghdr) uint8_t bytes[NETLINK_BUFFER];
    bool ours = false;
    (void)events;
    ssize_t n = recv(w->fd, bytes, sizeof bytes, MSG_DONTWAIT);
    if (n < 0) /* ENOBUFS: more came than we took, so look */
        ours = status >= 0;
    for (ssize_t at = 0; at + (ssize_t)sizeof(struct nlmsghdr) <= n && !ours;) {
        const struct nlmsghdr *m = (const void *)(bytes + at);
        if (m->nlmsg_len < sizeof *m || m->nlmsg_len > (size_t)(n - at))
            break;
        ours = is_ours(w->rt, m);
        at += (ssize_t)NLMSG_ALIGN(m->nlmsg_len);
    }
    if (ours) /* once for a burst */
        (void)uv_timer_start(&w->rt->look, on_look, SOON_MS, LOOK_MS);
}

static void on_links_closed(uv_handle_t *h)
{
    struct link_watch *w = h->data;
    struct runtime *rt = w->rt;
    close(w->fd);
    free(w);
    handle_closed(rt);
}

static void links_watch(struct runtime *rt)
{
    const struct sockaddr_nl at = {.nl_family = AF_NETLINK, .nl_groups = RTMGRP_LINK};
    struct link_watch *w = calloc(1, sizeof *w);
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
    if (w == NULL || fd < 0 || bind(fd, (const struct sockaddr *)&at, sizeof at) < 0 ||
        uv_poll_init(rt->loop, &w->poll, fd) != 0) {
        if (fd >= 0)
            close(fd);
        free(w);
        return;
    }
    w->rt = rt;
    w->fd = fd;
    w->poll.data = w;
    rt->links = w;
    handle_opened(rt);
    (void)uv_poll_start(&w->poll, UV_READABLE, on_links);
}

void nets_begin(struct runtime *rt)
{
    if (rt->cfg.networks.count > 0)
        links_watch(rt);
    (void)uv_timer_start(&rt->look, on_look, 0, LOOK_MS);
}

void nets_end(struct runtime *rt)
{
    if (rt->links != NULL)
        uv_close((uv_handle_t *)&rt->links->poll, on_links_closed);
    rt->links = NULL;
}

void nets_answer(struct runtime *rt, const struct priv_answer *a)
{
    bool first = !rt->networks_known;
    uint32_t up = a->err ? 0 : a->networks;
    if (!first && up == rt->networks_up)
        return;
    rt->networks_known = true;
    rt->networks_up = up;
    (void)snprintf(rt->networks_lack, sizeof rt->networks_lack, "%s", a->text);
    (void)snprintf(rt->jail_lack, sizeof rt->jail_lack, "%s", a->jail);
    if (first && probe_busy(rt))
        return; /* told when that is done */
    rt->tell_host = true;
    tell_later(rt);
}

bool nets_known(const struct runtime *rt)
{
    return rt->networks_known || rt->helper == NULL;
}

void nets_facts(const struct runtime *rt, struct host_facts *facts)
{
    facts->networks_known = rt->networks_known && rt->cfg.networks.count > 0;
    for (uint32_t i = 0; i < rt->cfg.networks.count; i++)
        if ((rt->networks_up & 1u << i) != 0)
            memcpy(facts->networks[facts->network_count++], rt->cfg.networks.v[i].name, NAME_SIZE);
}

/* Each of these lines, with a word before it. */
static size_t lines(const char *text, const char *before, char *out, size_t size, size_t at)
{
    for (const char *line = text; *line != '\0' && at < size; line += line[strcspn(line, "\n")] != '\0') {
        int len = (int)strcspn(line, "\n");
        at += (size_t)snprintf(out + at, size - at, "%s %.*s\n", before, len, line);
        line += len;
    }
    return at;
}

size_t nets_words(const struct runtime *rt, char *out, size_t size)
{
    size_t at = 0;
    for (uint32_t i = 0; i < rt->cfg.networks.count && at < size; i++) {
        const struct network *n = &rt->cfg.networks.v[i];
        if ((rt->networks_up & 1u << i) != 0)
            at += (size_t)snprintf(out + at, size - at, "network %s: yes: bridge %s\n", n->name, n->bridge);
    }
    at = lines(rt->networks_lack, "network", out, size, at);
    at = lines(rt->jail_lack, "jail:", out, size, at);
    return at < size ? at : size - 1;
}
