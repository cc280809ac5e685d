/* The pure half of proc.h, for mesh-shim too: it needs nothing of the C library. */
#include "node/runtime/proc.h"

/* The decimal at *p, which then points behind it. */
static uint64_t decimal(const char **p, const char *end)
{
    uint64_t v = 0;
    for (; *p < end && **p >= '0' && **p <= '9'; (*p)++)
        v = v * 10 + (uint64_t)(**p - '0');
    return v;
}

bool proc_stat_parse(const char *text, size_t len, struct proc_stat *out)
{
    const char *p = text + len, *end = p;
    while (p > text && p[-1] != ')') /* the last one: the name may hold more */
        p--;
    if (p == text || end - p < 4)
        return false;
    out->state = p[1]; /* field 3 */
    p += 3;
    out->parent = (uint32_t)decimal(&p, end);
    for (int field = 4; field < 22; field++) {
        while (p < end && *p != ' ')
            p++;
        if (p == end)
            return false;
        p++;
    }
    out->start_ticks = decimal(&p, end);
    return p < end && *p == ' ';
}

bool proc_boot_id_parse(const char *text, size_t len, uint8_t out[static BOOT_ID_SIZE])
{
    size_t digits = 0;
    for (size_t i = 0; i < len && digits < 2 * (size_t)BOOT_ID_SIZE; i++) {
        char c = text[i];
        int v = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
        if (v < 0)
            continue; /* 8-4-4-4-12 hex digits */
        out[digits / 2] = (uint8_t)(out[digits / 2] << 4 | v);
        digits++;
    }
    return digits == 2 * (size_t)BOOT_ID_SIZE;
}
