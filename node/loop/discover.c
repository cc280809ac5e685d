/* --discover: peers on the local link find each other by authenticated multicast.
 *
 *   beacon   "UMD1" ‖ key id (4) ‖ nonce (24) ‖ sealed { sender u64, ip 16, port u16, wall ms u64 }
 *
 * little endian, to 239.255.77.68 and ff02::554d, port 7947, on every interface that can. The key
 * is a hash of the mesh key's stream psk with a label of its own. What a beacon says is where its
 * sender is reached: it is told as a possible peer (EVENT_JOIN). No more than that follows from
 * one, so a replayed beacon costs a failed call. Beacons go out often while we know nobody, and
 * every half minute after that. */
#define _GNU_SOURCE
#include "node/loop/node_internal.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    BEACON_PORT = 7947,
    BEACON_BODY = 8 + 16 + 2 + 8,
    BEACON_HEAD = 4 + KEY_ID_SIZE + SEAL_NONCE_SIZE,
    BEACON_SIZE = BEACON_HEAD + BEACON_BODY + SEAL_TAG_SIZE,
    ALONE_MS = 1000,
    KNOWN_MS = 30000,
    AGE_MAX_MS = 120000, /* clocks of a mesh are within a minute of each other */
    HEARD_MAX = 20       /* beacons a second that are looked at */
};

#define BEACON_MAGIC "UMD1"
#define GROUP_V4     "239.255.77.68"
#define GROUP_V6     "ff02::554d"

struct discover {
    struct node *node;
    uv_udp_t v4, v6;
    bool has_v4, has_v6;
    uv_timer_t timer;
    uint8_t key[SEAL_KEY_SIZE];
    unsigned closing;
    uint64_t heard_second, heard;
};

static void u64_put(uint8_t *p, uint64_t v)
{
    for (int i = 0; i < 8; i++)
        p[i] = (uint8_t)(v >> (8 * i));
}

static uint64_t u64_get(const uint8_t *p)
{
    uint64_t v = 0;
    for (int i = 7; i >= 0; i--)
        v = v << 8 | p[i];
    return v;
}

static void beacon_write(const struct discover *d, uint8_t out[static BEACON_SIZE])
{
    const struct crypto *c = node_crypto_interface(d->node->crypto);
    struct node_body us;
    uint8_t body[BEACON_BODY];
    enum err err = engine_node(d->node->engine, c->node, &us);
    CHECK(!err);
    memcpy(out, BEACON_MAGIC, 4);
    memcpy(out + 4, c->key_id, KEY_ID_SIZE);
    randombytes_buf(out + 4 + KEY_ID_SIZE, SEAL_NONCE_SIZE);
    u64_put(body, c->node);
    memcpy(body + 8, us.addresses[0].ip, 16);
    body[24] = (uint8_t)us.addresses[0].port;
    body[25] = (uint8_t)(us.addresses[0].port >> 8);
    u64_put(body + 26, clock_wall_ms());
    c->seal(d->key, out + 4 + KEY_ID_SIZE, out, BEACON_HEAD, body, sizeof body, out + BEACON_HEAD);
}

static bool beacon_read(const struct discover *d, const uint8_t *p, size_t len,
                        struct address *from)
{
    const struct crypto *c = node_crypto_interface(d->node->crypto);
    uint8_t body[BEACON_BODY];
    if (len != BEACON_SIZE || memcmp(p, BEACON_MAGIC, 4) != 0 ||
        memcmp(p + 4, c->key_id, KEY_ID_SIZE) != 0 ||
        c->open(d->key, p + 4 + KEY_ID_SIZE, p, BEACON_HEAD, p + BEACON_HEAD, len - BEACON_HEAD,
                body))
        return false;
    uint64_t sent = u64_get(body + 26), now = clock_wall_ms();
    memcpy(from->ip, body + 8, 16);
    from->port = (uint16_t)(body[24] | body[25] << 8);
    return u64_get(body) != c->node && from->port != 0 && sent < now + AGE_MAX_MS &&
           now < sent + AGE_MAX_MS;
}

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *out)
{
    static char buffer[BEACON_SIZE + 1];
    (void)h, (void)suggested;
    *out = uv_buf_init(buffer, sizeof buffer);
}

static void on_beacon(uv_udp_t *udp, ssize_t len, const uv_buf_t *b, const struct sockaddr *from,
                      unsigned flags)
{
    struct discover *d = udp->data;
    struct event ev = {.kind = EVENT_JOIN};
    uint64_t second = clock_boottime_ms() / 1000;
    (void)flags;
    if (second != d->heard_second) {
        d->heard_second = second;
        d->heard = 0;
    }
    if (len <= 0 || !from || ++d->heard > HEARD_MAX ||
        !beacon_read(d, (const uint8_t *)b->base, (size_t)len, &ev.address))
        return;
    node_step(d->node, &ev);
}

/* Out of every interface: the system would choose one. */
static void beacon_send(struct discover *d)
{
    uint8_t bytes[BEACON_SIZE];
    uv_interface_address_t *v;
    int count;
    uv_buf_t b = uv_buf_init((char *)bytes, sizeof bytes);
    beacon_write(d, bytes);
    if (uv_interface_addresses(&v, &count))
        return;
    for (int i = 0; i < count; i++) {
        char ip[64];
        struct sockaddr_storage to;
        bool is4 = v[i].address.address4.sin_family == AF_INET;
        if (v[i].is_internal || (is4 ? !d->has_v4 : !d->has_v6))
            continue;
        if (is4) {
            uv_ip4_name(&v[i].address.address4, ip, sizeof ip);
            uv_ip4_addr(GROUP_V4, BEACON_PORT, (struct sockaddr_in *)&to);
        } else {
            char zone[96];
            snprintf(zone, sizeof zone, "%s%%%s", GROUP_V6, v[i].name);
            snprintf(ip, sizeof ip, "::%%%s", v[i].name);
            if (uv_ip6_addr(zone, BEACON_PORT, (struct sockaddr_in6 *)&to))
                continue;
        }
        uv_udp_t *udp = is4 ? &d->v4 : &d->v6;
        if (uv_udp_set_multicast_interface(udp, ip) == 0)
            (void)uv_udp_try_send(udp, &b, 1, (struct sockaddr *)&to);
    }
    uv_free_interface_addresses(v, count);
}

/* Interfaces come and go: being in the group already is no fault. */
static void groups_join(struct discover *d)
{
    uv_interface_address_t *v;
    int count;
    if (uv_interface_addresses(&v, &count))
        return;
    for (int i = 0; i < count; i++) {
        char ip[64], zone[96];
        if (v[i].is_internal)
            continue;
        if (v[i].address.address4.sin_family == AF_INET && d->has_v4) {
            uv_ip4_name(&v[i].address.address4, ip, sizeof ip);
            (void)uv_udp_set_membership(&d->v4, GROUP_V4, ip, UV_JOIN_GROUP);
        } else if (d->has_v6) {
            snprintf(zone, sizeof zone, "::%%%s", v[i].name);
            (void)uv_udp_set_membership(&d->v6, GROUP_V6, zone, UV_JOIN_GROUP);
        }
    }
    uv_free_interface_addresses(v, count);
}

static void on_timer(uv_timer_t *t)
{
    struct discover *d = t->data;
    groups_join(d);
    beacon_send(d);
    uint64_t next = engine_synced(d->node->engine) ? KNOWN_MS : ALONE_MS;
    uv_timer_start(t, on_timer, next + randombytes_uniform(ALONE_MS), 0);
}

static bool udp_begin(struct discover *d, uv_udp_t *udp, const char *any)
{
    struct sockaddr_storage at;
    int on = 1, fd;
    if (strchr(any, ':'))
        uv_ip6_addr(any, BEACON_PORT, (struct sockaddr_in6 *)&at);
    else
        uv_ip4_addr(any, BEACON_PORT, (struct sockaddr_in *)&at);
    if (uv_udp_init_ex(d->node->loop, udp, at.ss_family))
        return false; /* a host without IPv6 has no such sockets */
    udp->data = d;
    d->closing++;
    if (uv_fileno((uv_handle_t *)udp, &fd) == 0) /* several nodes on one host */
        (void)setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
    return uv_udp_bind(udp, (struct sockaddr *)&at,
                       UV_UDP_REUSEADDR | (at.ss_family == AF_INET6 ? UV_UDP_IPV6ONLY : 0)) == 0 &&
           uv_udp_recv_start(udp, on_alloc, on_beacon) == 0;
}

static void key_make(struct discover *d)
{
    static const char label[] = "unimesh beacon 1";
    const struct crypto *c = node_crypto_interface(d->node->crypto);
    uint8_t psk[PSK_SIZE];
    enum err err = node_crypto_psk(d->node->crypto, c->key_id, psk);
    CHECK(!err); /* our primary key */
    CHECK(crypto_generichash(d->key, sizeof d->key, (const uint8_t *)label, sizeof label - 1, psk,
                             sizeof psk) == 0);
    sodium_memzero(psk, sizeof psk);
}

enum err discover_new(struct discover **out, struct node *n, char *why, size_t size)
{
    struct discover *d = calloc(1, sizeof *d);
    if (!d)
        return ERR_NOMEM;
    d->node = n;
    key_make(d);
    CHECK(uv_timer_init(n->loop, &d->timer) == 0);
    d->timer.data = d;
    d->closing = 1;
    d->has_v4 = udp_begin(d, &d->v4, "0.0.0.0");
    d->has_v6 = udp_begin(d, &d->v6, "::");
    *out = d;
    if (!d->has_v4 && !d->has_v6) {
        snprintf(why, size, "no multicast: UDP port %d can't be shared on this host", BEACON_PORT);
        discover_close(out);
        return ERR_BUSY;
    }
    CHECK(uv_timer_start(&d->timer, on_timer, 0, 0) == 0);
    return ERR_OK;
}

static void on_closed(uv_handle_t *h)
{
    struct discover *d = h->data;
    if (--d->closing > 0)
        return;
    node_gone(d->node);
    sodium_memzero(d->key, sizeof d->key);
    free(d);
}

void discover_close(struct discover **dp)
{
    struct discover *d = *dp;
    *dp = NULL;
    if (!d)
        return;
    d->node->closing++;
    uv_close((uv_handle_t *)&d->timer, on_closed);
    if (d->v4.data)
        uv_close((uv_handle_t *)&d->v4, on_closed);
    if (d->v6.data)
        uv_close((uv_handle_t *)&d->v6, on_closed);
}
