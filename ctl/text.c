#include "ctl/text.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum err number_parse(const char *text, uint64_t max, uint64_t *out)
{
    uint64_t v = 0;
    if (!*text)
        return ERR_INVALID;
    for (const char *p = text; *p; p++) {
        if (*p < '0' || *p > '9')
            return ERR_INVALID;
        uint64_t digit = (uint64_t)(*p - '0');
        if (v > (UINT64_MAX - digit) / 10)
            return ERR_TOO_LARGE;
        v = v * 10 + digit;
    }
    if (v > max)
        return ERR_TOO_LARGE;
    *out = v;
    return ERR_OK;
}

enum err size_parse_mib(const char *text, uint32_t *mib)
{
    char digits[24];
    size_t n = strspn(text, "0123456789");
    if (n == 0)
        return ERR_INVALID;
    if (n >= sizeof digits)
        return ERR_TOO_LARGE;
    memcpy(digits, text, n);
    digits[n] = '\0';
    const char *unit = text + n;
    unsigned shift; /* from KiB */
    if (*unit == 'k' || *unit == 'K')
        shift = 0;
    else if (*unit == 'm' || *unit == 'M' || !*unit)
        shift = 10;
    else if (*unit == 'g' || *unit == 'G')
        shift = 20;
    else if (*unit == 't' || *unit == 'T')
        shift = 30;
    else
        return ERR_INVALID;
    if (*unit && strcmp(unit + 1, "") != 0 && strcmp(unit + 1, "iB") != 0 &&
        strcmp(unit + 1, "i") != 0 && strcmp(unit + 1, "B") != 0)
        return ERR_INVALID;
    uint64_t v;
    enum err err = number_parse(digits, UINT64_MAX >> 31, &v);
    if (err)
        return err;
    v <<= shift;
    if (v % 1024 != 0)
        return ERR_INVALID;
    if (v / 1024 > UINT32_MAX)
        return ERR_TOO_LARGE;
    *mib = (uint32_t)(v / 1024);
    return ERR_OK;
}

static bool label_text_ok(const char *s)
{
    char clean[LABEL_SIZE];
    if (strlen(s) >= LABEL_SIZE)
        return false;
    text_clean(clean, sizeof clean, s);
    return strcmp(clean, s) == 0;
}

enum err labels_add(struct labels *l, const char *key, const char *value)
{
    if (!*key || !label_text_ok(key) || !label_text_ok(value))
        return ERR_INVALID;
    uint32_t at = 0;
    while (at < l->count && strcmp(l->v[at].key, key) < 0)
        at++;
    if (at < l->count && strcmp(l->v[at].key, key) == 0)
        return ERR_EXISTS;
    if (l->count == LABELS_MAX)
        return ERR_FULL;
    memmove(&l->v[at + 1], &l->v[at], (l->count - at) * sizeof l->v[0]);
    l->v[at] = (struct label){0};
    snprintf(l->v[at].key, LABEL_SIZE, "%s", key);
    snprintf(l->v[at].value, LABEL_SIZE, "%s", value);
    l->count++;
    return ERR_OK;
}

enum err nets_add(struct spec_body *s, const char *device, const char *network, char *text, size_t size)
{
    if (s->net_count == NETS_MAX) {
        snprintf(text, size, "nets: more than %d are given", NETS_MAX);
        return ERR_FULL;
    }
    struct net_ref *n = &s->nets[s->net_count];
    if (strlen(device) >= sizeof n->device || strlen(network) >= sizeof n->network) {
        snprintf(text, size, "nets.%.64s: the name of a device has up to %d bytes, that of a network up to %d", device,
                 DEVICE_SIZE - 1, NAME_MAX_LEN);
        return ERR_INVALID;
    }
    snprintf(n->device, sizeof n->device, "%s", device);
    snprintf(n->network, sizeof n->network, "%s", network);
    s->net_count++;
    return nets_check(s->nets, s->net_count, text, size);
}

enum err blocks_add(struct spec_body *s, const struct block_ref *b, char *text, size_t size)
{
    if (s->block_count == BLOCKS_MAX) {
        snprintf(text, size, "blocks: more than %d are given", BLOCKS_MAX);
        return ERR_FULL;
    }
    s->blocks[s->block_count++] = *b;
    return blocks_check(s->blocks, s->block_count, text, size);
}

enum err block_size_parse(const char *device, const char *value, struct block_ref *b, char *text, size_t size)
{
    enum err err = size_parse_mib(value, &b->size_mib);
    if (err == ERR_TOO_LARGE || (!err && b->size_mib > BLOCK_MIB_MAX))
        snprintf(text, size, "blocks.%.64s: %.32s is more than the 16T that a volume may have", device, value);
    else if (err)
        snprintf(text, size, "blocks.%.64s: \"%.32s\" is no size in whole MiB; write 64M or 1G", device, value);
    return err || b->size_mib > BLOCK_MIB_MAX ? ERR_INVALID : ERR_OK;
}

enum err block_sector_parse(const char *device, const char *value, struct block_ref *b, char *text, size_t size)
{
    uint64_t v;
    if (number_parse(value, BLOCK_SECTOR_MAX, &v)) {
        snprintf(text, size, "blocks.%.64s: \"%.32s\" is no sector's size; write 512, 1024, 2048 or 4096", device,
                 value);
        return ERR_INVALID;
    }
    b->sector_bytes = (uint32_t)v;
    return ERR_OK;
}

enum err block_parse(const char *device, const char *words, struct block_ref *b, char *text, size_t size)
{
    *b = (struct block_ref){.sector_bytes = BLOCK_SECTOR_MIN};
    if (strlen(device) >= sizeof b->device) {
        snprintf(text, size, "blocks.%.64s: the name of a device has up to %d bytes", device, DEVICE_SIZE - 1);
        return ERR_INVALID;
    }
    snprintf(b->device, sizeof b->device, "%s", device);
    enum err err = ERR_OK;
    for (const char *at = words; !err; at++) {
        char word[32];
        size_t len = strcspn(at, ",");
        snprintf(word, sizeof word, "%.*s", (int)(len < sizeof word ? len : sizeof word - 1), at);
        if (at == words)
            err = block_size_parse(device, word, b, text, size);
        else if (strcmp(word, "sparse") == 0)
            b->sparse = 1;
        else if (strncmp(word, "sector=", 7) == 0)
            err = block_sector_parse(device, word + 7, b, text, size);
        else
            err = ERR_NOT_FOUND;
        if (err == ERR_NOT_FOUND)
            snprintf(text, size, "blocks.%.64s: \"%.31s\" is neither sparse nor sector=N", device, word);
        at += len;
        if (!*at)
            break;
    }
    return err ? ERR_INVALID : ERR_OK;
}

const char *volume_lost_text(enum volume_lost v)
{
    return v == VOLUME_LOST_EMPTY ? "empty" : "wait";
}

enum err volume_lost_parse(const char *text, enum volume_lost *out)
{
    for (int v = VOLUME_LOST_WAIT; v <= VOLUME_LOST_EMPTY; v++) {
        if (strcmp(text, volume_lost_text((enum volume_lost)v)) == 0) {
            *out = (enum volume_lost)v;
            return ERR_OK;
        }
    }
    return ERR_NOT_FOUND;
}

const char *labels_error(enum err err)
{
    return err == ERR_EXISTS ? "is there twice"
           : err == ERR_FULL ? "is one label too many; 16 is the most"
                             : "is no label: a key and a value of at most 63 bytes of text each";
}

void size_text(uint64_t bytes, char out[static SIZE_TEXT])
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    size_t unit = 0;
    uint64_t tenths = bytes > UINT64_MAX / 10 ? UINT64_MAX : bytes * 10;
    while (tenths >= 10240 && unit + 1 < sizeof units / sizeof *units) {
        tenths /= 1024;
        unit++;
    }
    if (unit == 0 || tenths % 10 == 0)
        snprintf(out, SIZE_TEXT, "%" PRIu64 " %s", tenths / 10, units[unit]);
    else
        snprintf(out, SIZE_TEXT, "%" PRIu64 ".%" PRIu64 " %s", tenths / 10, tenths % 10,
                 units[unit]);
}
