#include "store/model/args.h"

#include "store/model/solo5.h"

#include <stdio.h>
#include <string.h>

enum value { VALUE_SLOT, VALUE_NODE, VALUE_APP, VALUE_IP, VALUE_CIDR, VALUE_GATEWAY };

enum { WORD_SIZE = 128, NAME_ROOM = 16 /* of "-ipv4-gateway" */ };

/* Those with a family are of a device, whose name follows a dot. */
static const struct template {
    const char *word;
    enum value value;
    enum ip_family family; /* IP_FAMILIES: of none */
    size_t most; /* bytes of its value */
} templates[] = {
    {"slot", VALUE_SLOT, IP_FAMILIES, 5},
    {"node", VALUE_NODE, IP_FAMILIES, NAME_MAX_LEN},
    {"app", VALUE_APP, IP_FAMILIES, NAME_MAX_LEN},
    {"ipv4", VALUE_IP, IP4, IP_TEXT},
    {"ipv6", VALUE_IP, IP6, IP_TEXT},
    {"ipv4-cidr", VALUE_CIDR, IP4, SUBNET_TEXT},
    {"ipv6-cidr", VALUE_CIDR, IP6, SUBNET_TEXT},
    {"ipv4-gateway", VALUE_GATEWAY, IP4, IP_TEXT},
    {"ipv6-gateway", VALUE_GATEWAY, IP6, IP_TEXT},
};

struct found { /* a word in double braces */
    size_t at, len; /* braces and all */
    const struct template *t; /* NULL: none of ours */
    struct slice device;
};

static void recognize(const uint8_t *p, size_t len, struct found *f)
{
    const uint8_t *dot = len ? memchr(p, '.', len) : NULL;
    size_t word = dot ? (size_t)(dot - p) : len;
    f->t = NULL;
    f->device = (struct slice){.p = dot ? dot + 1 : NULL, .len = dot ? len - word - 1 : 0};
    for (size_t i = 0; i < sizeof templates / sizeof templates[0] && !f->t; i++)
        if (strlen(templates[i].word) == word && memcmp(templates[i].word, p, word) == 0 &&
            (templates[i].family != IP_FAMILIES) == (f->device.len > 0) && (dot != NULL) == (f->device.len > 0))
            f->t = &templates[i];
}

/* The next word in double braces from `from` on. Spaces within the braces don't count. false: there is none. */
static bool next(struct slice arg, size_t from, struct found *f)
{
    for (size_t i = from; i + 4 <= arg.len; i++) {
        if (arg.p[i] != '{' || arg.p[i + 1] != '{')
            continue;
        size_t begin = i + 2, end = begin;
        while (end + 2 <= arg.len && !(arg.p[end] == '}' && arg.p[end + 1] == '}'))
            end++;
        if (end + 2 > arg.len)
            return false; /* it is never closed */
        f->at = i;
        f->len = end + 2 - i;
        while (begin < end && arg.p[begin] == ' ')
            begin++;
        while (end > begin && arg.p[end - 1] == ' ')
            end--;
        recognize(arg.p + begin, end - begin, f);
        return true;
    }
    return false;
}

static bool same(struct slice s, const char *text)
{
    return strlen(text) == s.len && memcmp(text, s.p, s.len) == 0;
}

enum err arg_check(const char *arg, const struct spec_body *spec, char *text, size_t size)
{
    const struct slice s = {.p = (const uint8_t *)arg, .len = strlen(arg)};
    struct found f;
    for (size_t at = 0; next(s, at, &f); at = f.at + f.len) {
        uint32_t i = 0;
        int shown = (int)(f.len < 90 ? f.len : 90);
        if (!f.t) {
            snprintf(text, size,
                     "args: %.*s is nothing that can be filled in; there are {{slot}}, {{node}}, {{app}}, "
                     "{{ipv4.DEVICE}}, "
                     "{{ipv4-cidr.DEVICE}}, {{ipv4-gateway.DEVICE}} and the same of ipv6",
                     shown, arg + f.at);
            return ERR_INVALID;
        }
        while (spec && i < spec->net_count && !same(f.device, spec->nets[i].device))
            i++;
        if (!spec || f.t->family == IP_FAMILIES || i < spec->net_count)
            continue;
        snprintf(text, size, "args: %.*s: the app gives no network to a device of that name", shown, arg + f.at);
        return ERR_INVALID;
    }
    return ERR_OK;
}

size_t arg_len_most(struct slice arg)
{
    struct found f;
    size_t most = arg.len;
    for (size_t at = 0; next(arg, at, &f); at = f.at + f.len)
        if (f.t && f.t->most > f.len)
            most += f.t->most - f.len;
    return most;
}

static const struct arg_net *net_find(const struct arg_values *v, struct slice device)
{
    for (uint32_t i = 0; i < v->net_count; i++)
        if (same(device, v->nets[i].device))
            return &v->nets[i];
    return NULL;
}

/* The device's address, or its network's gateway; NULL: there is none. */
static const struct ip *ip_of(const struct found *f, const struct arg_net *n)
{
    const struct ip *ip = n == NULL                        ? NULL
                          : f->t->value == VALUE_GATEWAY   ? &n->gateway[f->t->family]
                                                           : &n->ip[f->t->family];
    return ip && !ip_is_zero(ip) ? ip : NULL;
}

static void cidr_text(const struct arg_net *n, enum ip_family f, char out[static WORD_SIZE])
{
    const struct subnet s = {n->ip[f], n->bits[f]};
    subnet_text(&s, out);
}

/* false: there is no such value. */
static bool value_text(const struct found *f, const struct arg_values *v, char out[static WORD_SIZE])
{
    const struct arg_net *n = f->t->family == IP_FAMILIES ? NULL : net_find(v, f->device);
    const struct ip *ip = f->t->family == IP_FAMILIES ? NULL : ip_of(f, n);
    switch (f->t->value) {
    case VALUE_SLOT:
        snprintf(out, WORD_SIZE, "%u", (unsigned)v->slot);
        return true;
    case VALUE_NODE:
        snprintf(out, WORD_SIZE, "%s", v->node);
        return true;
    case VALUE_APP:
        snprintf(out, WORD_SIZE, "%s", v->app);
        return true;
    case VALUE_CIDR:
        if (n && ip)
            cidr_text(n, f->t->family, out);
        return n && ip;
    case VALUE_IP:
    case VALUE_GATEWAY:
        break;
    }
    if (ip)
        ip_text(ip, out);
    return ip;
}

enum err arg_expand(struct slice arg, const struct arg_values *v, struct pack *k, char *text, size_t size)
{
    char out[ARGS_BYTES_MAX + 1], value[WORD_SIZE];
    size_t used = 0, from = 0;
    struct found f;
    for (size_t at = 0; next(arg, at, &f); at = f.at + f.len) {
        if (f.t && !value_text(&f, v, value)) {
            snprintf(text, size, "args: there is no %.*s on its host", (int)(f.len < 90 ? f.len : 90),
                     (const char *)arg.p + f.at);
            return ERR_NOT_FOUND;
        }
        size_t before = f.t ? f.at - from : f.at + f.len - from, more = f.t ? strlen(value) : 0;
        if (used + before + more > ARGS_BYTES_MAX)
            break; /* arg_len_most said so */
        memcpy(out + used, arg.p + from, before);
        used += before;
        memcpy(out + used, value, more);
        used += more;
        from = f.at + f.len;
    }
    size_t rest = arg.len - from < ARGS_BYTES_MAX - used ? arg.len - from : ARGS_BYTES_MAX - used;
    if (rest)
        memcpy(out + used, arg.p + from, rest);
    out[used + rest] = '\0';
    pack_str(k, out);
    return ERR_OK;
}

/* ---- MirageOS's ------------------------------------------------------------------------------------ */

struct mirage {
    const struct spec_body *spec;
    struct pack *k;
    uint32_t *count;
    char prefix[DEVICE_SIZE + 1]; /* "admin-" */
};

/* Its own arguments say it: --WORD, or --WORD=… */
static bool says_itself(const struct spec_body *s, const char *word)
{
    struct slice rest = s->args, arg;
    size_t len = strlen(word);
    while (spec_arg_next(&rest, &arg))
        if (arg.len >= len && memcmp(arg.p, word, len) == 0 && (arg.len == len || arg.p[len] == '='))
            return true;
    return false;
}

static void say(struct mirage *m, const char *name, const char *value)
{
    char word[DEVICE_SIZE + NAME_ROOM], whole[DEVICE_SIZE + NAME_ROOM + NAME_SIZE + 8];
    snprintf(word, sizeof word, "--%s%s", m->prefix, name);
    if (says_itself(m->spec, word))
        return;
    snprintf(whole, sizeof whole, "%s=%s", word, value);
    pack_str(m->k, whole);
    ++*m->count;
}

static void say_family(struct mirage *m, const struct arg_net *n, enum ip_family f)
{
    char text[WORD_SIZE];
    if (ip_is_zero(&n->ip[f]) || !(m->spec->mirage & (uint32_t)(f == IP4 ? MIRAGE_IPV4 : MIRAGE_IPV6)))
        return;
    cidr_text(n, f, text);
    say(m, f == IP4 ? "ipv4" : "ipv6", text);
    if (ip_is_zero(&n->gateway[f]))
        return;
    ip_text(&n->gateway[f], text);
    say(m, f == IP4 ? "ipv4-gateway" : "ipv6-gateway", text);
}

void arg_mirage(const struct spec_body *spec, const struct arg_values *v, enum arg_words words, struct pack *k,
                uint32_t *count)
{
    struct mirage m = {.spec = spec, .k = k, .count = count};
    char name[NAME_SIZE + 8];
    if (!spec->mirage || words == ARG_WORDS_NONE)
        return;
    snprintf(name, sizeof name, "%s-%u", v->app, (unsigned)v->slot);
    if (words == ARG_WORDS_ALL)
        say(&m, "name", name);
    for (uint32_t i = 0; i < v->net_count; i++) {
        const struct arg_net *n = &v->nets[i];
        bool only4 = ip_is_zero(&n->ip[IP6]), only6 = ip_is_zero(&n->ip[IP4]);
        bool plain = v->net_count == 1 || strcmp(n->device, "service") == 0;
        snprintf(m.prefix, sizeof m.prefix, "%s%s", plain ? "" : n->device, plain ? "" : "-");
        say_family(&m, n, IP4);
        say_family(&m, n, IP6);
        /* A stack of both waits a second for an IPv6 address that it won't use. */
        if (only4 != only6 && words < ARG_WORDS_ADDRESSES && (spec->mirage & MIRAGE_ONLY) != 0)
            say(&m, only4 ? "ipv4-only" : "ipv6-only", "true");
    }
}
