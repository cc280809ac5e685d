#include "store/base/cursor.h"

#include <string.h>

void cursor_init(struct cursor *c, const void *p, size_t len)
{
    *c = (struct cursor){.p = p, .left = len};
}

void cursor_fail(struct cursor *c, enum err e)
{
    if (!c->err)
        c->err = e;
    c->left = 0;
}

enum err cursor_end(const struct cursor *c)
{
    if (c->err)
        return c->err;
    return c->left == 0 ? ERR_OK : ERR_INVALID;
}

/* n bytes, or NULL and a failure. */
static const uint8_t *take(struct cursor *c, size_t n)
{
    if (c->err)
        return NULL;
    if (n > c->left) {
        cursor_fail(c, ERR_TRUNCATED);
        return NULL;
    }
    const uint8_t *p = c->p;
    c->p += n;
    c->left -= n;
    return p;
}

static uint64_t big_endian(struct cursor *c, size_t bytes)
{
    const uint8_t *p = take(c, bytes);
    uint64_t v = 0;
    for (size_t i = 0; p && i < bytes; i++)
        v = v << 8 | p[i];
    return v;
}

/* A number of `bytes` bytes that does not fit fewer: the shortest form is the only one. */
static uint64_t shortest(struct cursor *c, size_t bytes, uint64_t at_least)
{
    uint64_t v = big_endian(c, bytes);
    if (!c->err && v < at_least)
        cursor_fail(c, ERR_INVALID);
    return c->err ? 0 : v;
}

/* What msgpack calls a format, decoded: its family, and its value or length. */
enum family { FAMILY_UINT, FAMILY_NEGATIVE, FAMILY_BOOL, FAMILY_BIN, FAMILY_STR, FAMILY_ARRAY, FAMILY_BAD };
struct head {
    enum family family;
    uint64_t value; /* NEGATIVE: two's complement */
};

static struct head head_negative(struct cursor *c, size_t bytes, int64_t at_most)
{
    uint64_t v = big_endian(c, bytes);
    unsigned shift = 64 - 8 * (unsigned)bytes;
    int64_t s = (int64_t)(v << shift) >> shift;
    if (!c->err && s > at_most)
        cursor_fail(c, ERR_INVALID);
    return (struct head){FAMILY_NEGATIVE, (uint64_t)s};
}

static struct head head_read(struct cursor *c)
{
    const uint8_t *p = take(c, 1);
    if (!p)
        return (struct head){FAMILY_BAD, 0};
    uint8_t b = *p;
    if (b < 0x80)
        return (struct head){FAMILY_UINT, b};
    if (b >= 0xe0)
        return (struct head){FAMILY_NEGATIVE, (uint64_t)(int64_t)(int8_t)b};
    if ((b & 0xf0) == 0x90)
        return (struct head){FAMILY_ARRAY, b & 0x0f};
    if ((b & 0xe0) == 0xa0)
        return (struct head){FAMILY_STR, b & 0x1f};
    switch (b) {
    case 0xc2:
    case 0xc3:
        return (struct head){FAMILY_BOOL, b & 1};
    case 0xc4:
        return (struct head){FAMILY_BIN, big_endian(c, 1)};
    case 0xc5:
        return (struct head){FAMILY_BIN, shortest(c, 2, 0x100)};
    case 0xc6:
        return (struct head){FAMILY_BIN, shortest(c, 4, 0x10000)};
    case 0xcc:
        return (struct head){FAMILY_UINT, shortest(c, 1, 0x80)};
    case 0xcd:
        return (struct head){FAMILY_UINT, shortest(c, 2, 0x100)};
    case 0xce:
        return (struct head){FAMILY_UINT, shortest(c, 4, 0x10000)};
    case 0xcf:
        return (struct head){FAMILY_UINT, shortest(c, 8, UINT64_C(0x100000000))};
    case 0xd0:
        return head_negative(c, 1, -33);
    case 0xd1:
        return head_negative(c, 2, INT8_MIN - 1);
    case 0xd2:
        return head_negative(c, 4, INT16_MIN - 1);
    case 0xd3:
        return head_negative(c, 8, (int64_t)INT32_MIN - 1);
    case 0xd9:
        return (struct head){FAMILY_STR, shortest(c, 1, 0x20)};
    case 0xda:
        return (struct head){FAMILY_STR, shortest(c, 2, 0x100)};
    case 0xdb:
        return (struct head){FAMILY_STR, shortest(c, 4, 0x10000)};
    case 0xdc:
        return (struct head){FAMILY_ARRAY, shortest(c, 2, 0x10)};
    case 0xdd:
        return (struct head){FAMILY_ARRAY, shortest(c, 4, 0x10000)};
    default: /* nil, floats, maps, extensions: we write none */
        cursor_fail(c, ERR_INVALID);
        return (struct head){FAMILY_BAD, 0};
    }
}

static struct head head_of(struct cursor *c, enum family family)
{
    struct head h = head_read(c);
    if (!c->err && h.family != family)
        cursor_fail(c, ERR_INVALID);
    if (c->err)
        h.value = 0;
    return h;
}

uint64_t cursor_uint(struct cursor *c, uint64_t max)
{
    uint64_t v = head_of(c, FAMILY_UINT).value;
    if (v > max) {
        cursor_fail(c, ERR_INVALID);
        return 0;
    }
    return v;
}

int64_t cursor_int(struct cursor *c)
{
    struct head h = head_read(c);
    if (!c->err && (h.family == FAMILY_NEGATIVE || (h.family == FAMILY_UINT && h.value <= INT64_MAX)))
        return (int64_t)h.value;
    cursor_fail(c, ERR_INVALID);
    return 0;
}

bool cursor_bool(struct cursor *c)
{
    return head_of(c, FAMILY_BOOL).value != 0;
}

static struct slice bytes_of(struct cursor *c, enum family family, size_t len_max)
{
    uint64_t len = head_of(c, family).value;
    if (!c->err && len > len_max)
        cursor_fail(c, ERR_TOO_LARGE);
    const uint8_t *p = take(c, (size_t)len);
    return p ? (struct slice){.p = p, .len = (size_t)len} : (struct slice){0};
}

struct slice cursor_bin(struct cursor *c, size_t len_max)
{
    return bytes_of(c, FAMILY_BIN, len_max);
}

/* The length of the UTF-8 sequence at p (RFC 3629: no overlong forms, no surrogates), or 0. */
static size_t utf8_sequence(const uint8_t *p, size_t left)
{
    static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};
    size_t n = p[0] < 0x80 ? 1 : (p[0] & 0xe0) == 0xc0 ? 2 : (p[0] & 0xf0) == 0xe0 ? 3
                             : (p[0] & 0xf8) == 0xf0   ? 4
                                                       : 0;
    if (n == 1)
        return p[0] >= 0x20 && p[0] != 0x7f;
    if (n == 0 || n > left)
        return 0;
    uint32_t v = p[0] & (0xffu >> (n + 1));
    for (size_t i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
        v = v << 6 | (p[i] & 0x3fu);
    }
    bool bad = v < least[n] || v > 0x10ffff || (v >= 0xd800 && v < 0xe000) || (v >= 0x80 && v < 0xa0);
    return bad ? 0 : n;
}

struct slice cursor_str(struct cursor *c, size_t len_max)
{
    struct slice s = bytes_of(c, FAMILY_STR, len_max);
    for (size_t i = 0; i < s.len;) {
        size_t n = utf8_sequence(s.p + i, s.len - i);
        if (n == 0) {
            cursor_fail(c, ERR_INVALID);
            return (struct slice){0};
        }
        i += n;
    }
    return s;
}

void cursor_fixed(struct cursor *c, void *out, size_t len)
{
    struct slice s = cursor_bin(c, len);
    if (!c->err && s.len != len)
        cursor_fail(c, ERR_INVALID);
    if (c->err)
        memset(out, 0, len);
    else if (len)
        memcpy(out, s.p, len);
}

void cursor_text(struct cursor *c, char *out, size_t size)
{
    CHECK(size > 0);
    struct slice s = cursor_str(c, size - 1);
    if (c->err)
        s.len = 0;
    if (s.len > 0)
        memcpy(out, s.p, s.len);
    out[s.len] = '\0';
}

uint32_t cursor_array(struct cursor *c, uint32_t count_max)
{
    uint64_t n = head_of(c, FAMILY_ARRAY).value;
    if (!c->err && n > c->left) /* an element takes a byte at least */
        cursor_fail(c, ERR_TRUNCATED);
    if (!c->err && n > count_max)
        cursor_fail(c, ERR_TOO_LARGE);
    return c->err ? 0 : (uint32_t)n;
}

/* Depth by a small stack of counts, not by recursion. */
void cursor_skip(struct cursor *c)
{
    uint64_t open[CURSOR_DEPTH_MAX];
    size_t depth = 0;
    for (;;) {
        struct head h = head_read(c);
        if (c->err)
            return;
        if (h.family == FAMILY_BIN || h.family == FAMILY_STR) {
            (void)take(c, (size_t)h.value);
        } else if (h.family == FAMILY_ARRAY && h.value > 0) {
            if (depth == CURSOR_DEPTH_MAX || h.value > c->left) {
                cursor_fail(c, ERR_INVALID);
                return;
            }
            open[depth++] = h.value;
            continue;
        }
        while (depth > 0 && --open[depth - 1] == 0)
            depth--;
        if (depth == 0)
            return;
    }
}

uint32_t cursor_array_from(struct cursor *c, uint32_t known)
{
    uint32_t n = cursor_array(c, UINT32_MAX);
    if (!c->err && n < known)
        cursor_fail(c, ERR_INVALID);
    return c->err ? 0 : n - known;
}

void cursor_skip_n(struct cursor *c, uint32_t n)
{
    for (uint32_t i = 0; i < n && !c->err; i++)
        cursor_skip(c);
}
