#include "store/model/access.h"

#include <stdio.h>
#include <string.h>

enum { ACCESS_FIELDS = 2, PORT_FIELDS = 4, PEER_FIELDS = 3, GUEST_FIELDS = 3, SOURCE_FIELDS = 2, WORD_SIZE = 64 };

/* ---- Words --------------------------------------------------------------------------------------- */

static enum err refuse(char *text, size_t size, const char *key, const char *word, const char *what)
{
    snprintf(text, size, "%s: \"%.60s\" %s", key, word, what);
    return ERR_INVALID;
}

/* A number of 1 to 65535 at *s, which moves behind it. */
static bool number(const char **s, uint16_t *out)
{
    uint32_t v = 0;
    const char *p = *s;
    for (; *p >= '0' && *p <= '9' && v <= UINT16_MAX; p++)
        v = v * 10 + (uint32_t)(*p - '0');
    if (p == *s || **s == '0' || v > UINT16_MAX)
        return false;
    *s = p;
    *out = (uint16_t)v;
    return true;
}

/* "/tcp", "/udp" or nothing. */
static bool protocol(const char *s, enum port_protocol *out)
{
    *out = strcmp(s, "/udp") == 0 ? PORT_UDP : PORT_TCP;
    return !*s || strcmp(s, "/tcp") == 0 || *out == PORT_UDP;
}

static enum err port_add(struct access *a, const struct port_ref *p, const char *key, char *text, size_t size)
{
    if (a->port_count == PORTS_MAX) {
        snprintf(text, size, "%s: more than %d ports are given", key, PORTS_MAX);
        return ERR_FULL;
    }
    a->ports[a->port_count++] = *p;
    return ERR_OK;
}

enum err access_add_port(struct access *a, const char *word, char *text, size_t size)
{
    static const char what[] = "is no port; write 80/tcp, 8000-8010/tcp, 53/udp or icmp";
    struct port_ref p = {.protocol = PORT_ICMP};
    const char *s = word;
    if (strcmp(word, "icmp") != 0) {
        if (!number(&s, &p.first))
            return refuse(text, size, "ports", word, what);
        p.last = p.first;
        if (*s == '-' && (s++, !number(&s, &p.last) || p.last < p.first))
            return refuse(text, size, "ports", word, what);
        if (!protocol(s, &p.protocol))
            return refuse(text, size, "ports", word, what);
    }
    return port_add(a, &p, "ports", text, size);
}

enum err access_add_published(struct access *a, const char *word, char *text, size_t size)
{
    static const char what[] = "is nothing to publish; write 8080:80/tcp, the host's port first";
    struct port_ref p = {0};
    const char *s = word;
    if (!number(&s, &p.published) || *s++ != ':' || !number(&s, &p.first) || !protocol(s, &p.protocol))
        return refuse(text, size, "publish", word, what);
    p.last = p.first;
    return port_add(a, &p, "publish", text, size);
}

static bool is_subnet(const char *word, struct subnet *out)
{
    struct ip ip;
    if (subnet_parse(word, out) == ERR_OK)
        return true;
    if (ip_parse(word, &ip))
        return false;
    *out = (struct subnet){.base = ip, .bits = ip_is4(&ip) ? 32 : 128};
    return true;
}

enum err access_add_peer(struct access *a, enum peer_wish wish, const char *word, char *text, size_t size)
{
    const char *key = wish == PEER_ALLOW ? "allow" : "deny";
    struct peer_ref p = {.wish = wish};
    if (a->peer_count == PEERS_MAX) {
        snprintf(text, size, "%s: more than %d are given", key, PEERS_MAX);
        return ERR_FULL;
    }
    if (!is_subnet(word, &p.subnet)) {
        const char *colon = strchr(word, ':'), *name = colon ? colon + 1 : word;
        p.kind = strncmp(word, "network:", 8) == 0 ? PEER_NETWORK : PEER_APP;
        if ((colon && p.kind == PEER_APP && strncmp(word, "app:", 4) != 0) || !name_valid(name))
            return refuse(text, size, key, word, "is neither an app, network:NAME nor a subnet such as 10.0.0.0/24");
        snprintf(p.name, sizeof p.name, "%s", name);
    }
    a->peers[a->peer_count++] = p;
    return ERR_OK;
}

enum err access_add(struct access *a, const char *key, const char *word, char *text, size_t size)
{
    if (strcmp(key, "ports") == 0)
        return access_add_port(a, word, text, size);
    if (strcmp(key, "publish") == 0)
        return access_add_published(a, word, text, size);
    return access_add_peer(a, strcmp(key, "allow") == 0 ? PEER_ALLOW : PEER_DENY, word, text, size);
}

void port_text(const struct port_ref *p, char out[static PORT_TEXT])
{
    const char *name = p->protocol == PORT_UDP ? "udp" : "tcp";
    if (p->protocol == PORT_ICMP)
        snprintf(out, PORT_TEXT, "icmp");
    else if (p->published)
        snprintf(out, PORT_TEXT, "%u:%u/%s", p->published, p->first, name);
    else if (p->first == p->last)
        snprintf(out, PORT_TEXT, "%u/%s", p->first, name);
    else
        snprintf(out, PORT_TEXT, "%u-%u/%s", p->first, p->last, name);
}

void peer_text(const struct peer_ref *p, char out[static NAME_SIZE + 16])
{
    char subnet[SUBNET_TEXT];
    subnet_text(&p->subnet, subnet);
    snprintf(out, NAME_SIZE + 16, "%s%s", p->kind == PEER_NETWORK ? "network:" : "",
             p->kind == PEER_SUBNET ? subnet : p->name);
}

/* ---- Checks -------------------------------------------------------------------------------------- */

static bool port_valid(const struct port_ref *p)
{
    if (p->protocol == PORT_ICMP)
        return p->first == 0 && p->last == 0 && p->published == 0;
    return (p->protocol == PORT_TCP || p->protocol == PORT_UDP) && p->first > 0 && p->first <= p->last &&
           (!p->published || p->first == p->last);
}

/* The same port may be open, and published as several of the host's. */
static bool ports_clash(const struct port_ref *p, const struct port_ref *q)
{
    if (p->protocol != q->protocol || (p->published != 0) != (q->published != 0))
        return false;
    return p->published ? p->published == q->published : p->first <= q->last && q->first <= p->last;
}

enum err access_check(const struct access *a, char *text, size_t size)
{
    char port[PORT_TEXT];
    for (uint32_t i = 0; i < a->port_count; i++) {
        port_text(&a->ports[i], port);
        if (!port_valid(&a->ports[i]))
            return refuse(text, size, "ports", port, "is no port");
        for (uint32_t j = 0; j < i; j++)
            if (ports_clash(&a->ports[i], &a->ports[j]))
                return refuse(text, size, a->ports[i].published ? "publish" : "ports", port, "is there twice");
    }
    for (uint32_t i = 0; i < a->peer_count; i++) {
        const struct peer_ref *p = &a->peers[i];
        if (p->kind == PEER_SUBNET ? !subnet_given(&p->subnet) && p->name[0] : !name_valid(p->name))
            return refuse(text, size, p->wish == PEER_ALLOW ? "allow" : "deny", p->name, "is no name");
    }
    return ERR_OK;
}

bool access_empty(const struct access *a)
{
    return a->port_count == 0 && a->peer_count == 0;
}

/* ---- Bytes --------------------------------------------------------------------------------------- */

static void ports_encode(const struct port_ref *ports, uint32_t count, struct pack *k)
{
    pack_array(k, count);
    for (uint32_t i = 0; i < count; i++) {
        pack_array(k, PORT_FIELDS);
        pack_uint(k, ports[i].protocol);
        pack_uint(k, ports[i].first);
        pack_uint(k, ports[i].last);
        pack_uint(k, ports[i].published);
    }
}

static uint32_t ports_decode(struct cursor *c, struct port_ref out[static PORTS_MAX])
{
    uint32_t count = cursor_array(c, PORTS_MAX);
    for (uint32_t i = 0; i < count && !c->err; i++) {
        uint32_t more = cursor_array_from(c, PORT_FIELDS);
        out[i].protocol = (enum port_protocol)cursor_uint(c, UINT8_MAX);
        out[i].first = (uint16_t)cursor_uint(c, UINT16_MAX);
        out[i].last = (uint16_t)cursor_uint(c, UINT16_MAX);
        out[i].published = (uint16_t)cursor_uint(c, UINT16_MAX);
        cursor_skip_n(c, more);
        if (!c->err && !port_valid(&out[i]))
            cursor_fail(c, ERR_INVALID);
    }
    return count;
}

static void subnet_encode(const struct subnet *s, struct pack *k)
{
    char text[SUBNET_TEXT];
    subnet_text(s, text);
    pack_str(k, text);
}

static void subnet_decode(struct slice s, struct cursor *c, struct subnet *out)
{
    char text[SUBNET_TEXT] = "";
    if (s.len > 0 && s.len < sizeof text)
        memcpy(text, s.p, s.len);
    if (!c->err && subnet_parse(text, out))
        cursor_fail(c, ERR_INVALID);
}

void access_encode(const struct access *a, struct pack *k)
{
    pack_array(k, ACCESS_FIELDS);
    ports_encode(a->ports, a->port_count, k);
    pack_array(k, a->peer_count);
    for (uint32_t i = 0; i < a->peer_count; i++) {
        const struct peer_ref *p = &a->peers[i];
        pack_array(k, PEER_FIELDS);
        pack_uint(k, p->wish);
        pack_uint(k, p->kind);
        if (p->kind == PEER_SUBNET)
            subnet_encode(&p->subnet, k);
        else
            pack_str(k, p->name);
    }
}

void access_decode(struct cursor *c, struct access *out)
{
    uint32_t more = cursor_array_from(c, ACCESS_FIELDS);
    out->port_count = ports_decode(c, out->ports);
    out->peer_count = cursor_array(c, PEERS_MAX);
    for (uint32_t i = 0; i < out->peer_count && !c->err; i++) {
        struct peer_ref *p = &out->peers[i];
        uint32_t beyond = cursor_array_from(c, PEER_FIELDS);
        p->wish = (enum peer_wish)cursor_uint(c, PEER_DENY);
        p->kind = (enum peer_kind)cursor_uint(c, PEER_NETWORK);
        if (p->kind == PEER_SUBNET)
            subnet_decode(cursor_str(c, SUBNET_TEXT - 1), c, &p->subnet);
        else
            cursor_text(c, p->name, sizeof p->name);
        cursor_skip_n(c, beyond);
    }
    cursor_skip_n(c, more);
}

/* ---- On a host ----------------------------------------------------------------------------------- */

static bool within(const struct subnet *a, const struct subnet *b)
{
    return ip_is4(&a->base) == ip_is4(&b->base) && a->bits >= b->bits && subnet_has(b, &a->base);
}

enum err guest_access_add(struct guest_access *g, enum peer_wish wish, const struct subnet *s)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < g->source_count; i++)
        if (g->sources[i].wish == wish && within(s, &g->sources[i].subnet))
            return ERR_OK;
    for (uint32_t i = 0; i < g->source_count; i++)
        if (g->sources[i].wish != wish || !within(&g->sources[i].subnet, s))
            g->sources[kept++] = g->sources[i];
    g->source_count = kept;
    if (g->source_count == SOURCES_MAX)
        return ERR_FULL;
    g->sources[g->source_count++] = (struct source){wish, *s};
    return ERR_OK;
}

void guest_access_encode(const struct guest_access *g, struct pack *k)
{
    pack_array(k, GUEST_FIELDS);
    ports_encode(g->ports, g->port_count, k);
    pack_uint(k, g->limited);
    pack_array(k, g->source_count);
    for (uint32_t i = 0; i < g->source_count; i++) {
        pack_array(k, SOURCE_FIELDS);
        pack_uint(k, g->sources[i].wish);
        subnet_encode(&g->sources[i].subnet, k);
    }
}

void guest_access_decode(struct cursor *c, struct guest_access *out)
{
    uint32_t more = cursor_array_from(c, GUEST_FIELDS);
    out->port_count = ports_decode(c, out->ports);
    out->limited = (uint32_t)cursor_uint(c, 1);
    out->source_count = cursor_array(c, SOURCES_MAX);
    for (uint32_t i = 0; i < out->source_count && !c->err; i++) {
        uint32_t beyond = cursor_array_from(c, SOURCE_FIELDS);
        out->sources[i].wish = (enum peer_wish)cursor_uint(c, PEER_DENY);
        subnet_decode(cursor_str(c, SUBNET_TEXT - 1), c, &out->sources[i].subnet);
        cursor_skip_n(c, beyond);
    }
    cursor_skip_n(c, more);
}
