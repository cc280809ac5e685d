#include "store/model/solo5.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* What we read of ELF (System V gABI, little endian, 64 bits). */
enum {
    ELF_HEADER = 64,
    ELF_PHOFF = 32,
    ELF_PHENTSIZE = 54,
    ELF_PHNUM = 56,
    ELF_TYPE = 16,
    ELF_MACHINE = 18,
    PHDR_SIZE = 56,
    PT_LOAD = 1,
    PT_NOTE = 4,
    PHDRS_MAX = 64,
    EM_X86_64 = 62,
    EM_AARCH64 = 183,
    EM_PPC64 = 21,
    ET_EXEC = 2,
    ET_DYN = 3
};

/* Solo5's notes. */
enum {
    NOTE_HEADER = 12,
    MFT_TYPE = 0x3154464d,
    ABI_TYPE = 0x31494241,
    ABI_SIZE = 16,
    MFT_PAD = 4, /* the content is aligned to 8 */
    MFT_HEAD = 8,
    MFT_ENTRY = 104,
    MFT_ENTRIES_MAX = 64,
    MFT_VERSION = 1,
    MFT_TYPE_RESERVED = 1 << 30
};

struct image {
    const uint8_t *p;
    size_t len;
    char *text;
    size_t text_size;
};

__attribute__((format(printf, 3, 4))) static enum err fail(const struct image *im, enum err err,
                                                           const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    vsnprintf(im->text, im->text_size, format, ap);
    va_end(ap);
    return err;
}

static uint64_t little_endian(const uint8_t *p, size_t bytes)
{
    uint64_t v = 0;
    for (size_t i = bytes; i > 0; i--)
        v = v << 8 | p[i - 1];
    return v;
}

static uint32_t u16(const uint8_t *p)
{
    return (uint32_t)little_endian(p, 2);
}

static uint32_t u32(const uint8_t *p)
{
    return (uint32_t)little_endian(p, 4);
}

static bool inside(const struct image *im, uint64_t at, uint64_t len)
{
    return at <= im->len && len <= im->len - at;
}

static enum err header_check(const struct image *im, struct solo5_image *out)
{
    static const uint8_t magic[4] = {0x7f, 'E', 'L', 'F'};
    if (im->len < sizeof magic || memcmp(im->p, magic, sizeof magic) != 0)
        return fail(im, ERR_INVALID, "it is not an ELF file");
    if (im->len < ELF_HEADER)
        return fail(im, ERR_TRUNCATED, "it is cut short: %zu bytes are less than an ELF header", im->len);
    if (im->p[4] != 2 || im->p[5] != 1)
        return fail(im, ERR_UNSUPPORTED,
                    "it is not a 64-bit little-endian ELF file");
    uint32_t type = u16(im->p + ELF_TYPE), machine = u16(im->p + ELF_MACHINE);
    if (type != ET_EXEC && type != ET_DYN)
        return fail(im, ERR_INVALID, "it is an ELF file, but not an executable");
    const char *arch = machine == EM_X86_64    ? "x86_64"
                       : machine == EM_AARCH64 ? "aarch64"
                       : machine == EM_PPC64   ? "ppc64le"
                                               : NULL;
    if (!arch)
        return fail(im, ERR_UNSUPPORTED, "it is built for a processor that Solo5 doesn't run on (ELF machine %u)",
                    machine);
    snprintf(out->arch, sizeof out->arch, "%s", arch);
    return ERR_OK;
}

static enum err abi_read(const struct image *im, const uint8_t *p, size_t len, struct solo5_image *out)
{
    if (len != ABI_SIZE)
        return fail(im, ERR_INVALID, "its Solo5 ABI note is malformed");
    uint32_t target = u32(p);
    out->abi_version = u32(p + 4);
    if (u32(p + 8) != 0 || u32(p + 12) != 0)
        return fail(im, ERR_INVALID, "its Solo5 ABI note is malformed");
    static const char *const others[] = {"muen", "genode", "xen"};
    if (target >= TARGET_COUNT || target == TARGET_NONE) {
        uint32_t other = target - TARGET_COUNT;
        return fail(im, ERR_UNSUPPORTED, "it is built for Solo5's target %s, which is not run here; "
                    "build it for hvt, spt or virtio",
                    target != TARGET_NONE && other < 3 ? others[other] : "(unknown)");
    }
    static const uint32_t versions[TARGET_COUNT] = {
        [TARGET_HVT] = 2, [TARGET_SPT] = 2, [TARGET_VIRTIO] = 1};
    if (out->abi_version != versions[target])
        return fail(im, ERR_UNSUPPORTED, "its Solo5 ABI is %s version %u; version %u is what is run here",
                    target_name((enum target)target), out->abi_version, versions[target]);
    out->target = (enum target)target;
    return ERR_OK;
}

static bool device_name_ok(const uint8_t *name)
{
    size_t n = 0;
    while (n < SOLO5_NAME_SIZE && name[n])
        n++;
    if (n == 0 || n == SOLO5_NAME_SIZE)
        return false;
    for (size_t i = 0; i < n; i++)
        if (!((name[i] >= '0' && name[i] <= '9') || (name[i] >= 'A' && name[i] <= 'Z') ||
              (name[i] >= 'a' && name[i] <= 'z')))
            return false;
    return true;
}

static enum err manifest_read(const struct image *im, const uint8_t *p, size_t len,
                              struct solo5_image *out)
{
    static const char malformed[] = "its Solo5 manifest is malformed";
    if (len < MFT_PAD + MFT_HEAD)
        return fail(im, ERR_INVALID, "%s", malformed);
    p += MFT_PAD;
    uint32_t version = u32(p), entries = u32(p + 4);
    if (version != MFT_VERSION)
        return fail(im, ERR_UNSUPPORTED, "its Solo5 manifest is of version %u; version %d is understood",
                    version, MFT_VERSION);
    if (entries == 0 || entries > MFT_ENTRIES_MAX ||
        len != MFT_PAD + MFT_HEAD + (size_t)entries * MFT_ENTRY)
        return fail(im, ERR_INVALID, "%s", malformed);
    p += MFT_HEAD;
    if (p[0] != 0 || u32(p + 68) != MFT_TYPE_RESERVED)
        return fail(im, ERR_INVALID, "%s", malformed);
    out->device_count = 0;
    for (uint32_t i = 1; i < entries; i++) {
        const uint8_t *e = p + (size_t)i * MFT_ENTRY;
        uint32_t type = u32(e + 68);
        if (!device_name_ok(e) || e[96] != 0 || (type != SOLO5_BLOCK && type != SOLO5_NET))
            return fail(im, ERR_INVALID, "%s", malformed);
        struct solo5_device *d = &out->devices[out->device_count++];
        memcpy(d->name, e, sizeof d->name);
        d->type = (enum solo5_device_type)type;
        for (uint32_t j = 0; j + 1 < out->device_count; j++)
            if (strcmp(out->devices[j].name, d->name) == 0)
                return fail(im, ERR_INVALID, "its manifest names the device %s twice", d->name);
    }
    return ERR_OK;
}

struct notes {
    bool abi, manifest;
};

static enum err notes_read(const struct image *im, uint64_t at, uint64_t len, struct solo5_image *out,
                           struct notes *seen)
{
    while (len >= NOTE_HEADER) {
        const uint8_t *p = im->p + at;
        uint64_t name = u32(p), desc = u32(p + 4), type = u32(p + 8);
        uint64_t name_padded = (name + 3) & ~UINT64_C(3), desc_padded = (desc + 3) & ~UINT64_C(3);
        uint64_t whole = NOTE_HEADER + name_padded + desc;
        if (whole > len)
            return fail(im, ERR_INVALID, "a note in it is malformed");
        const uint8_t *content = p + NOTE_HEADER + name_padded;
        enum err err = ERR_OK;
        bool ours = name == 6 && memcmp(p + NOTE_HEADER, "Solo5", 6) == 0;
        if (ours && type == ABI_TYPE && !seen->abi) {
            seen->abi = true;
            err = abi_read(im, content, (size_t)desc, out);
        } else if (ours && type == MFT_TYPE && !seen->manifest) {
            seen->manifest = true;
            err = manifest_read(im, content, (size_t)desc, out);
        }
        if (err)
            return err;
        uint64_t step = NOTE_HEADER + name_padded + desc_padded;
        if (step > len)
            break;
        at += step;
        len -= step;
    }
    return ERR_OK;
}

static enum err segments_read(const struct image *im, struct solo5_image *out, struct notes *seen)
{
    uint64_t at = little_endian(im->p + ELF_PHOFF, 8);
    uint32_t count = u16(im->p + ELF_PHNUM);
    if (u16(im->p + ELF_PHENTSIZE) != PHDR_SIZE || count == 0 || count > PHDRS_MAX)
        return fail(im, ERR_INVALID, "its ELF program headers are malformed");
    if (!inside(im, at, (uint64_t)count * PHDR_SIZE))
        return fail(im, ERR_TRUNCATED, "it is cut short: its program headers lie beyond its end");
    for (uint32_t i = 0; i < count; i++) {
        const uint8_t *ph = im->p + at + (uint64_t)i * PHDR_SIZE;
        uint32_t type = u32(ph);
        uint64_t offset = little_endian(ph + 8, 8), size = little_endian(ph + 32, 8);
        if (type != PT_LOAD && type != PT_NOTE)
            continue;
        if (!inside(im, offset, size))
            return fail(im, ERR_TRUNCATED, "it is cut short: a segment ends at byte %llu, the file at %zu",
                        (unsigned long long)(offset + size), im->len);
        enum err err = type == PT_NOTE ? notes_read(im, offset, size, out, seen) : ERR_OK;
        if (err)
            return err;
    }
    return ERR_OK;
}

static bool says(const struct image *im, const char *word)
{
    size_t len = strlen(word);
    const uint8_t *at = im->p, *end = im->p + im->len;
    while ((at = memchr(at, word[0], (size_t)(end - at))) != NULL) {
        if ((size_t)(end - at) < len)
            return false;
        if (memcmp(at, word, len) == 0)
            return true;
        at++;
    }
    return false;
}

static uint32_t mirage_words(const struct image *im)
{
    static const struct {
        const char *word;
        enum solo5_mirage bit;
    } words[] = {{"ipv4-gateway", MIRAGE_IPV4}, {"ipv6-gateway", MIRAGE_IPV6}, {"ipv4-only", MIRAGE_ONLY}};
    uint32_t found = 0;
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (says(im, words[i].word))
            found |= words[i].bit;
    return found;
}

enum err solo5_inspect(const void *image, size_t len, struct solo5_image *out, char *text,
                       size_t text_size)
{
    const struct image im = {.p = image, .len = len, .text = text, .text_size = text_size};
    struct notes seen = {0};
    memset(out, 0, sizeof *out);
    enum err err = header_check(&im, out);
    if (!err)
        err = segments_read(&im, out, &seen);
    if (err)
        return err;
    if (!seen.abi || !seen.manifest)
        return fail(&im, ERR_NOT_FOUND, "it has no Solo5 %s note: it is not a Solo5 image (was it stripped?)",
                    seen.abi ? "manifest" : "ABI");
    out->mirage = mirage_words(&im);
    return ERR_OK;
}
