#include "store/model/networks.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum {
    WORD_SIZE = 128,
    MTU_LEAST = 576,
    MTU_MOST = 65521,
    IP4_BITS_LEAST = 8,
    IP4_BITS_MOST = 30,
    IP6_BITS_LEAST = 16,
    IP6_BITS_MOST = 120
};

struct reader {
    struct network *n;
    bool ranged[IP_FAMILIES];
    char *why;
    size_t why_size;
};

__attribute__((format(printf, 2, 3))) static enum err refuse(const struct reader *r, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vsnprintf(r->why, r->why_size, format, args);
    va_end(args);
    return ERR_INVALID;
}

static bool link_valid(const char *name)
{
    size_t n = strlen(name);
    if (n == 0 || n >= LINK_SIZE || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return false;
    for (size_t i = 0; i < n; i++)
        if (name[i] <= ' ' || name[i] > '~' || strchr("/:=,", name[i]) != NULL)
            return false;
    return true;
}

static struct network_addresses *of(struct network *n, const struct ip *ip)
{
    return &n->addresses[ip_is4(ip) ? IP4 : IP6];
}

/* ---- One word each ------------------------------------------------------------------------------- */

static enum err set_subnet(struct reader *r, const char *value)
{
    struct subnet s;
    if (subnet_parse(value, &s))
        return refuse(r, "\"%.60s\" is no subnet; write subnet=10.0.0.0/24, with zeros behind the prefix", value);
    bool v4 = ip_is4(&s.base);
    if (s.bits < (v4 ? IP4_BITS_LEAST : IP6_BITS_LEAST) || s.bits > (v4 ? IP4_BITS_MOST : IP6_BITS_MOST))
        return refuse(r, "the subnet %.60s is too %s to take guests' addresses from", value,
                      s.bits < (v4 ? IP4_BITS_LEAST : IP6_BITS_LEAST) ? "large" : "small");
    if (subnet_given(&of(r->n, &s.base)->subnet))
        return refuse(r, "a second subnet, %.60s; a network has one of IPv4 and one of IPv6", value);
    of(r->n, &s.base)->subnet = s;
    return ERR_OK;
}

static enum err set_gateway(struct reader *r, const char *value)
{
    struct ip ip;
    if (ip_parse(value, &ip) || ip_is_zero(&ip))
        return refuse(r, "\"%.60s\" is no address; write gateway=10.0.0.1", value);
    of(r->n, &ip)->gateway = ip;
    return ERR_OK;
}

static enum err set_range(struct reader *r, const char *value)
{
    struct ip first, last;
    const char *at = value;
    if (!ip_scan(&at, &first) || *at++ != '-' || ip_parse(at, &last) || ip_is4(&first) != ip_is4(&last) ||
        ip_compare(&first, &last) > 0)
        return refuse(r, "\"%.90s\" is no range; write range=10.0.0.100-10.0.0.199", value);
    of(r->n, &first)->first = first;
    of(r->n, &first)->last = last;
    r->ranged[ip_is4(&first) ? IP4 : IP6] = true;
    return ERR_OK;
}

static enum err set_uplink(struct reader *r, const char *value)
{
    if (!link_valid(value))
        return refuse(r, "\"%.40s\" is no link's name; write uplink=eth1", value);
    (void)snprintf(r->n->uplink, sizeof r->n->uplink, "%s", value);
    return ERR_OK;
}

static enum err set_mtu(struct reader *r, const char *value)
{
    uint32_t v = 0;
    for (const char *c = value; *c >= '0' && *c <= '9' && v <= MTU_MOST; c++)
        v = v * 10 + (uint32_t)(*c - '0');
    if (value[strspn(value, "0123456789")] != '\0' || v < MTU_LEAST || v > MTU_MOST)
        return refuse(r, "\"%.40s\" is no MTU; write mtu=1500, %d to %d", value, MTU_LEAST, MTU_MOST);
    r->n->mtu = v;
    return ERR_OK;
}

static enum err word_read(struct reader *r, const char *word)
{
    static const struct {
        const char *key;
        enum err (*set)(struct reader *r, const char *value);
    } keys[] = {{"subnet", set_subnet},
                {"gateway", set_gateway},
                {"range", set_range},
                {"uplink", set_uplink},
                {"mtu", set_mtu}};
    const char *is = strchr(word, '=');
    for (size_t i = 0; is != NULL && i < sizeof keys / sizeof keys[0]; i++)
        if (strlen(keys[i].key) == (size_t)(is - word) && strncmp(word, keys[i].key, (size_t)(is - word)) == 0)
            return keys[i].set(r, is + 1);
    return refuse(
        r, "\"%.40s\" is nothing that a network has; there are subnet=, gateway=, range=, uplink= and mtu=", word);
}

/* ---- All together -------------------------------------------------------------------------------- */

static enum err family_check(const struct reader *r, enum ip_family f)
{
    struct network_addresses *a = &r->n->addresses[f];
    const char *name = f == IP4 ? "IPv4" : "IPv6";
    char text[SUBNET_TEXT];
    if (!subnet_given(&a->subnet)) {
        bool none = ip_is_zero(&a->gateway) && !r->ranged[f];
        return none ? ERR_OK : refuse(r, "there is a gateway or a range, and no subnet, of %s", name);
    }
    subnet_text(&a->subnet, text);
    if (!ip_is_zero(&a->gateway) && !subnet_has(&a->subnet, &a->gateway))
        return refuse(r, "the gateway is not in the subnet %s", text);
    if (!r->ranged[f]) {
        const struct ip last = subnet_last(&a->subnet);
        a->first = ip_add(&a->subnet.base, 1);
        a->last = ip_add(&a->subnet.base, ip_distance(&a->subnet.base, &last) - (f == IP4)); /* but the broadcast's */
    }
    if (!subnet_has(&a->subnet, &a->first) || !subnet_has(&a->subnet, &a->last))
        return refuse(r, "the range is not in the subnet %s", text);
    return ERR_OK;
}

static enum err words_read(struct network *n, const char *words, char *why, size_t why_size)
{
    struct reader r = {.n = n, .why = why, .why_size = why_size};
    size_t len = strcspn(words, ",");
    enum err err = ERR_OK;
    (void)snprintf(n->bridge, sizeof n->bridge, "%.*s", (int)len, words);
    if (len >= sizeof n->bridge || !link_valid(n->bridge))
        return refuse(&r, "\"%.*s\" is no bridge's name; `ip link show type bridge` lists what is there",
                      (int)(len < 40 ? len : 40), words);
    for (const char *at = words + len; *at == ',' && !err; at += len) {
        char word[WORD_SIZE];
        len = strcspn(++at, ",");
        (void)snprintf(word, sizeof word, "%.*s", (int)len, at);
        err = word_read(&r, word);
    }
    if (!err && n->mtu && !n->uplink[0])
        err = refuse(&r, "mtu: is for a bridge that is made here; name its uplink, or set the bridge's own");
    for (int f = IP4; f < IP_FAMILIES && !err; f++)
        err = family_check(&r, (enum ip_family)f);
    return err;
}

enum err networks_add(struct networks *n, const char *name, const char *words, char *why, size_t why_size)
{
    struct network read = {0};
    if (!name_valid(name)) {
        (void)snprintf(why, why_size, "\"%.70s\" is no network's name; take what an app may be called", name);
        return ERR_INVALID;
    }
    enum err err = words_read(&read, words, why, why_size);
    if (err)
        return err;
    uint32_t at = 0;
    while (at < n->count && strcmp(n->v[at].name, name) < 0)
        at++;
    if (at == n->count || strcmp(n->v[at].name, name) != 0) {
        if (n->count == NETWORKS_MAX) {
            (void)snprintf(why, why_size, "more than %d networks are given", NETWORKS_MAX);
            return ERR_FULL;
        }
        memmove(&n->v[at + 1], &n->v[at], (n->count - at) * sizeof n->v[0]);
        n->count++;
    }
    (void)snprintf(read.name, sizeof read.name, "%s", name);
    n->v[at] = read;
    return ERR_OK;
}

const struct network *networks_find(const struct networks *n, const char *name)
{
    for (uint32_t i = 0; i < n->count; i++)
        if (strcmp(n->v[i].name, name) == 0)
            return &n->v[i];
    return NULL;
}

bool network_may_give(const struct network *n, const struct ip *ip)
{
    const struct network_addresses *a = &n->addresses[ip_is4(ip) ? IP4 : IP6];
    if (ip_is_zero(ip))
        return true;
    return subnet_given(&a->subnet) && ip_compare(&a->first, ip) <= 0 && ip_compare(ip, &a->last) <= 0 &&
           !ip_equal(ip, &a->gateway);
}

void network_words(const struct network *n, char out[static NETWORK_WORDS])
{
    size_t at = (size_t)snprintf(out, NETWORK_WORDS, "%s", n->bridge);
    if (n->uplink[0])
        at += (size_t)snprintf(out + at, NETWORK_WORDS - at, ",uplink=%s", n->uplink);
    if (n->mtu)
        at += (size_t)snprintf(out + at, NETWORK_WORDS - at, ",mtu=%u", n->mtu);
    for (int f = IP4; f < IP_FAMILIES; f++) {
        const struct network_addresses *a = &n->addresses[f];
        char subnet[SUBNET_TEXT], gateway[IP_TEXT], first[IP_TEXT], last[IP_TEXT];
        if (!subnet_given(&a->subnet))
            continue;
        subnet_text(&a->subnet, subnet);
        ip_text(&a->first, first);
        ip_text(&a->last, last);
        at += (size_t)snprintf(out + at, NETWORK_WORDS - at, ",subnet=%s,range=%s-%s", subnet, first, last);
        if (ip_is_zero(&a->gateway))
            continue;
        ip_text(&a->gateway, gateway);
        at += (size_t)snprintf(out + at, NETWORK_WORDS - at, ",gateway=%s", gateway);
    }
}
