#include "store/base/id.h"

#include <stdio.h>
#include <string.h>

bool uid_equal(const struct uid *a, const struct uid *b)
{
    return memcmp(a, b, sizeof *a) == 0;
}

bool hash_equal(const struct hash *a, const struct hash *b)
{
    return memcmp(a, b, sizeof *a) == 0;
}

bool hash_is_zero(const struct hash *h)
{
    static const struct hash zero;
    return hash_equal(h, &zero);
}

bool address_equal(const struct address *a, const struct address *b)
{
    return memcmp(a->ip, b->ip, sizeof a->ip) == 0 && a->port == b->port;
}

static void to_hex(const uint8_t *p, size_t n, char *out)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < n; i++) {
        out[2 * i] = digits[p[i] >> 4];
        out[2 * i + 1] = digits[p[i] & 15];
    }
    out[2 * n] = '\0';
}

static int digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

static enum err from_hex(const char *s, uint8_t *out, size_t n)
{
    if (strlen(s) != 2 * n)
        return ERR_INVALID;
    for (size_t i = 0; i < n; i++) {
        int high = digit(s[2 * i]), low = digit(s[2 * i + 1]);
        if (high < 0 || low < 0)
            return ERR_INVALID;
        out[i] = (uint8_t)(high << 4 | low);
    }
    return ERR_OK;
}

void node_id_text(node_id id, char out[static NODE_ID_TEXT])
{
    uint8_t b[8];
    for (int i = 0; i < 8; i++)
        b[i] = (uint8_t)(id >> (56 - 8 * i));
    to_hex(b, sizeof b, out);
}

void uid_text(const struct uid *u, char out[static UID_TEXT])
{
    to_hex(u->b, sizeof u->b, out);
}

void hash_text(const struct hash *h, char out[static HASH_TEXT])
{
    to_hex(h->b, sizeof h->b, out);
}

enum err node_id_parse(const char *s, node_id *out)
{
    uint8_t b[8];
    enum err err = from_hex(s, b, sizeof b);
    if (err)
        return err;
    *out = 0;
    for (int i = 0; i < 8; i++)
        *out = *out << 8 | b[i];
    return ERR_OK;
}

enum err uid_parse(const char *s, struct uid *out)
{
    return from_hex(s, out->b, sizeof out->b);
}

enum err hash_parse(const char *s, struct hash *out)
{
    return from_hex(s, out->b, sizeof out->b);
}

/* ---- Addresses ----------------------------------------------------------------------------------- */

static const uint8_t v4_prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

/* RFC 5952: the longest run of two or more zero groups becomes "::". */
static size_t ip6_text(const uint8_t ip[16], char *out, size_t size)
{
    unsigned group[8], best = 8, best_len = 1;
    for (unsigned i = 0; i < 8; i++)
        group[i] = (unsigned)ip[2 * i] << 8 | ip[2 * i + 1];
    for (unsigned i = 0; i < 8; i++) {
        unsigned n = 0;
        while (i + n < 8 && group[i + n] == 0)
            n++;
        if (n > best_len) {
            best = i;
            best_len = n;
        }
    }
    size_t used = 0;
    for (unsigned i = 0; i < 8; i++) {
        if (i == best) {
            used += (size_t)snprintf(out + used, size - used, "::");
            i += best_len - 1;
            continue;
        }
        bool colon = i > 0 && i != best + best_len;
        used += (size_t)snprintf(out + used, size - used, colon ? ":%x" : "%x", group[i]);
    }
    return used;
}

void address_text(const struct address *a, char out[static ADDRESS_TEXT])
{
    if (memcmp(a->ip, v4_prefix, sizeof v4_prefix) == 0) {
        snprintf(out, ADDRESS_TEXT, "%u.%u.%u.%u:%u", a->ip[12], a->ip[13], a->ip[14], a->ip[15],
                 a->port);
        return;
    }
    char ip[48];
    ip6_text(a->ip, ip, sizeof ip);
    snprintf(out, ADDRESS_TEXT, "[%s]:%u", ip, a->port);
}

/* A decimal number of at most `max`, without leading zeros; *s moves behind it. */
static bool decimal(const char **s, unsigned max, unsigned *out)
{
    const char *p = *s;
    unsigned v = 0;
    if (*p < '0' || *p > '9' || (p[0] == '0' && p[1] >= '0' && p[1] <= '9'))
        return false;
    for (; *p >= '0' && *p <= '9'; p++) {
        v = v * 10 + (unsigned)(*p - '0');
        if (v > max)
            return false;
    }
    *s = p;
    *out = v;
    return true;
}

static bool ip4_parse(const char **s, uint8_t out[4])
{
    for (int i = 0; i < 4; i++) {
        unsigned v;
        if (i > 0 && *(*s)++ != '.')
            return false;
        if (!decimal(s, 255, &v))
            return false;
        out[i] = (uint8_t)v;
    }
    return true;
}

/* Groups of an IPv6 address up to ']'. A dotted tail is not taken: write such an address as IPv4. */
static bool ip6_parse(const char **s, uint8_t out[16])
{
    unsigned group[8], n = 0, gap = 9;
    const char *p = *s;
    if (p[0] == ':' && p[1] == ':') {
        gap = 0;
        p += 2;
    }
    while (*p != ']') {
        unsigned v = 0, digits = 0;
        if (n == 8)
            return false;
        for (; digit(*p) >= 0; p++) {
            v = v << 4 | (unsigned)digit(*p);
            if (++digits > 4)
                return false;
        }
        if (digits == 0)
            return false;
        group[n++] = v;
        if (*p == ']')
            break;
        if (*p++ != ':')
            return false;
        if (*p == ':') {
            if (gap != 9)
                return false;
            gap = n;
            p++;
        } else if (*p == ']') {
            return false;
        }
    }
    if (gap == 9 ? n != 8 : n > 7)
        return false;
    memset(out, 0, 16);
    for (unsigned i = 0; i < n; i++) {
        unsigned at = i < gap ? i : 8 - n + i;
        out[2 * at] = (uint8_t)(group[i] >> 8);
        out[2 * at + 1] = (uint8_t)group[i];
    }
    *s = p;
    return true;
}

enum err address_parse(const char *s, struct address *out)
{
    struct address a = {0};
    if (*s == '[') {
        s++;
        if (!ip6_parse(&s, a.ip) || *s++ != ']')
            return ERR_INVALID;
    } else {
        memcpy(a.ip, v4_prefix, sizeof v4_prefix);
        if (!ip4_parse(&s, a.ip + 12))
            return ERR_INVALID;
    }
    unsigned port;
    if (*s++ != ':' || !decimal(&s, 65535, &port) || *s)
        return ERR_INVALID;
    a.port = (uint16_t)port;
    *out = a;
    return ERR_OK;
}

bool name_valid(const char *s)
{
    size_t len = 0;
    while (len < NAME_SIZE && s[len])
        len++;
    if (len == 0 || len > NAME_MAX_LEN)
        return false;
    for (size_t i = 0; i < len; i++) {
        bool letter = (s[i] >= 'a' && s[i] <= 'z') || (s[i] >= '0' && s[i] <= '9');
        bool inner = s[i] == '-' || s[i] == '.';
        if (!letter && !(inner && i > 0 && i + 1 < len))
            return false;
    }
    return true;
}
