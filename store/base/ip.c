#include "store/base/ip.h"

#include "store/base/text.h"

#include <stdio.h>
#include <string.h>

enum { BYTES = 16, GROUPS = 8, V4_BITS = 32, V6_BITS = 128, V4_OFFSET_BITS = V6_BITS - V4_BITS };

static const uint8_t v4_prefix[IP4_AT] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

bool ip_is4(const struct ip *ip)
{
    return memcmp(ip->b, v4_prefix, sizeof v4_prefix) == 0;
}

bool ip_is_zero(const struct ip *ip)
{
    static const struct ip zero;
    return memcmp(ip, &zero, sizeof zero) == 0;
}

bool ip_equal(const struct ip *a, const struct ip *b)
{
    return memcmp(a, b, sizeof *a) == 0;
}

int ip_compare(const struct ip *a, const struct ip *b)
{
    return memcmp(a->b, b->b, sizeof a->b);
}

/* ---- Text ---------------------------------------------------------------------------------------- */

/* RFC 5952: the longest run of two or more zero groups becomes "::". */
static void ip6_text(const struct ip *ip, char out[static IP_TEXT])
{
    unsigned group[GROUPS], best = GROUPS, best_len = 1;
    for (unsigned i = 0; i < GROUPS; i++)
        group[i] = (unsigned)ip->b[2 * i] << 8 | ip->b[2 * i + 1];
    for (unsigned i = 0; i < GROUPS; i++) {
        unsigned n = 0;
        while (i + n < GROUPS && group[i + n] == 0)
            n++;
        if (n > best_len) {
            best = i;
            best_len = n;
        }
    }
    size_t used = 0;
    for (unsigned i = 0; i < GROUPS; i++) {
        if (i == best) {
            used += (size_t)snprintf(out + used, IP_TEXT - used, "::");
            i += best_len - 1;
            continue;
        }
        bool colon = i > 0 && i != best + best_len;
        used += (size_t)snprintf(out + used, IP_TEXT - used, colon ? ":%x" : "%x", group[i]);
    }
}

void ip_text(const struct ip *ip, char out[static IP_TEXT])
{
    const uint8_t *v4 = ip->b + IP4_AT;
    if (ip_is4(ip))
        snprintf(out, IP_TEXT, "%u.%u.%u.%u", v4[0], v4[1], v4[2], v4[3]);
    else
        ip6_text(ip, out);
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

static bool ip4_scan(const char **s, struct ip *out)
{
    const char *p = *s;
    memcpy(out->b, v4_prefix, sizeof v4_prefix);
    for (unsigned i = 0; i < 4; i++) {
        unsigned v;
        if ((i > 0 && *p++ != '.') || !decimal(&p, 255, &v))
            return false;
        out->b[IP4_AT + i] = (uint8_t)v;
    }
    *s = p;
    return true;
}

/* One to four hexadecimal digits. */
static bool group_scan(const char **s, unsigned *out)
{
    unsigned v = 0, digits = 0;
    for (; text_hex_digit(**s) >= 0; (*s)++) {
        v = v << 4 | (unsigned)text_hex_digit(**s);
        if (++digits > 4)
            return false;
    }
    *out = v;
    return digits > 0;
}

static bool ip6_scan(const char **s, struct ip *out)
{
    unsigned group[GROUPS], n = 0, gap = GROUPS + 1;
    const char *p = *s;
    if (p[0] == ':' && p[1] == ':') {
        gap = 0;
        p += 2;
    }
    while (text_hex_digit(*p) >= 0) {
        if (n == GROUPS || !group_scan(&p, &group[n++]))
            return false;
        if (*p != ':')
            break;
        p++;
        if (*p == ':') {
            if (gap <= GROUPS)
                return false;
            gap = n;
            p++;
        } else if (text_hex_digit(*p) < 0) {
            return false;
        }
    }
    if (gap > GROUPS ? n != GROUPS : n >= GROUPS)
        return false;
    memset(out, 0, sizeof *out);
    for (unsigned i = 0; i < n; i++) {
        unsigned at = i < gap ? i : GROUPS - n + i;
        out->b[2 * at] = (uint8_t)(group[i] >> 8);
        out->b[2 * at + 1] = (uint8_t)group[i];
    }
    *s = p;
    return true;
}

bool ip_scan(const char **s, struct ip *out)
{
    size_t word = strspn(*s, "0123456789abcdefABCDEF");
    return (*s)[word] == '.' ? ip4_scan(s, out) : ip6_scan(s, out);
}

enum err ip_parse(const char *s, struct ip *out)
{
    struct ip ip;
    if (!ip_scan(&s, &ip) || *s)
        return ERR_INVALID;
    *out = ip;
    return ERR_OK;
}

/* ---- Subnets ------------------------------------------------------------------------------------- */

/* Of 128. */
static unsigned prefix_bits(const struct subnet *n)
{
    return ip_is4(&n->base) ? n->bits + V4_OFFSET_BITS : n->bits;
}

/* The byte's bits that are behind the prefix. */
static uint8_t behind(unsigned prefix, unsigned byte)
{
    unsigned bits = prefix <= 8 * byte ? 0xff : prefix >= 8 * byte + 8 ? 0 : 0xffu >> (prefix - 8 * byte);
    return (uint8_t)bits;
}

bool subnet_given(const struct subnet *n)
{
    return !ip_is_zero(&n->base) || n->bits != 0;
}

enum err subnet_parse(const char *s, struct subnet *out)
{
    struct subnet n;
    unsigned bits;
    if (!ip_scan(&s, &n.base) || *s++ != '/' || !decimal(&s, ip_is4(&n.base) ? V4_BITS : V6_BITS, &bits) || *s)
        return ERR_INVALID;
    n.bits = (uint8_t)bits;
    for (unsigned i = 0; i < BYTES; i++)
        if ((n.base.b[i] & behind(prefix_bits(&n), i)) != 0)
            return ERR_INVALID;
    *out = n;
    return ERR_OK;
}

void subnet_text(const struct subnet *n, char out[static SUBNET_TEXT])
{
    char ip[IP_TEXT];
    ip_text(&n->base, ip);
    snprintf(out, SUBNET_TEXT, "%s/%u", ip, n->bits);
}

bool subnet_has(const struct subnet *n, const struct ip *ip)
{
    for (unsigned i = 0; i < BYTES; i++)
        if (((n->base.b[i] ^ ip->b[i]) & (uint8_t)~behind(prefix_bits(n), i)) != 0)
            return false;
    return true;
}

struct ip subnet_last(const struct subnet *n)
{
    struct ip last = n->base;
    for (unsigned i = 0; i < BYTES; i++)
        last.b[i] |= behind(prefix_bits(n), i);
    return last;
}

/* ---- Counting ------------------------------------------------------------------------------------ */

struct ip ip_add(const struct ip *ip, uint64_t n)
{
    struct ip sum = *ip;
    unsigned carry = 0;
    for (unsigned i = BYTES; i-- > 0; n >>= 8) {
        carry += sum.b[i] + (unsigned)(n & 0xff);
        sum.b[i] = (uint8_t)carry;
        carry >>= 8;
    }
    return sum;
}

uint64_t ip_distance(const struct ip *a, const struct ip *b)
{
    uint8_t d[BYTES];
    int borrow = 0;
    for (unsigned i = BYTES; i-- > 0;) {
        int v = b->b[i] - a->b[i] - borrow;
        borrow = v < 0;
        d[i] = (uint8_t)v;
    }
    uint64_t low = 0;
    for (unsigned i = 0; i < BYTES; i++) {
        if (i < 8 && d[i] != 0)
            return UINT64_MAX;
        low = low << 8 | d[i];
    }
    return low;
}
