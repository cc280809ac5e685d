#include "store/base/text.h"

#include "store/base/err.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* The length of the UTF-8 sequence at p (RFC 3629) that is not a control character, or 0. */
static size_t sequence(const uint8_t *p)
{
    static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};
    if (p[0] < 0x80)
        return p[0] >= 0x20 && p[0] != 0x7f;
    size_t n = (p[0] & 0xe0) == 0xc0   ? 2
               : (p[0] & 0xf0) == 0xe0 ? 3
               : (p[0] & 0xf8) == 0xf0 ? 4
                                       : 0;
    if (n == 0)
        return 0;
    uint32_t v = p[0] & (0xffu >> (n + 1));
    for (size_t i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80) /* the NUL ends it here */
            return 0;
        v = v << 6 | (p[i] & 0x3fu);
    }
    bool bad =
        v < least[n] || v > 0x10ffff || (v >= 0xd800 && v < 0xe000) || (v >= 0x80 && v < 0xa0);
    return bad ? 0 : n;
}

void text_clean(char *out, size_t size, const char *src)
{
    CHECK(size > 0);
    size_t at = 0;
    for (const uint8_t *p = (const uint8_t *)src; *p;) {
        size_t n = sequence(p);
        size_t len = n ? n : 1;
        if (at + len >= size)
            break;
        if (n)
            memcpy(out + at, p, n);
        else
            out[at] = '?';
        at += len;
        p += len;
    }
    out[at] = '\0';
}

int text_hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}
