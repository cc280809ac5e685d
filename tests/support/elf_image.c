#include "tests/support/elf_image.h"

#include <string.h>

enum { ENTRY = 104, PHDR = 56 };

static void put(uint8_t *p, uint64_t v, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        p[i] = (uint8_t)(v >> (8 * i));
}

static void phdr(uint8_t *p, uint32_t type, size_t offset, size_t size)
{
    put(p, type, 4);
    put(p + 8, offset, 8);
    put(p + 32, size, 8);
}

static void note(uint8_t *p, uint32_t type, size_t content)
{
    put(p, 6, 4);
    put(p + 4, content, 4);
    put(p + 8, type, 4);
    memcpy(p + 12, "Solo5", 6);
}

size_t elf_image_manifest(const struct solo5_image *like, const void *content, size_t len,
                          uint8_t out[static ELF_IMAGE_MAX])
{
    static const uint8_t ident[] = {0x7f, 'E', 'L', 'F', 2, 1, 1};
    const size_t size = ELF_IMAGE_MFT_DATA + len;
    CHECK(len <= 8192);
    memset(out, 0, size);
    memcpy(out, ident, sizeof ident);
    put(out + 16, 2, 2); /* an executable */
    put(out + 18, strcmp(like->arch, "aarch64") == 0 ? 183 : strcmp(like->arch, "ppc64le") == 0 ? 21 : 62, 2);
    put(out + 32, ELF_IMAGE_PHDRS, 8);
    put(out + 54, PHDR, 2);
    put(out + 56, 3, 2);
    phdr(out + ELF_IMAGE_PHDRS, 1, 0, size);
    phdr(out + ELF_IMAGE_PHDRS + PHDR, 4, ELF_IMAGE_ABI_NOTE, ELF_IMAGE_MFT_NOTE - ELF_IMAGE_ABI_NOTE);
    phdr(out + ELF_IMAGE_PHDRS + 2 * PHDR, 4, ELF_IMAGE_MFT_NOTE, size - ELF_IMAGE_MFT_NOTE);
    note(out + ELF_IMAGE_ABI_NOTE, ELF_IMAGE_ABI, 16);
    put(out + ELF_IMAGE_ABI_DATA, like->target, 4);
    put(out + ELF_IMAGE_ABI_DATA + 4, like->abi_version, 4);
    note(out + ELF_IMAGE_MFT_NOTE, ELF_IMAGE_MANIFEST, 4 + len);
    if (len > 0)
        memcpy(out + ELF_IMAGE_MFT_DATA, content, len);
    return size;
}

size_t elf_image(const struct solo5_image *like, uint8_t out[static ELF_IMAGE_MAX])
{
    uint8_t content[8 + (SOLO5_DEVICES_MAX + 1) * ENTRY] = {0};
    const uint32_t entries = like->device_count + 1;
    put(content, 1, 4);
    put(content + 4, entries, 4);
    put(content + 8 + 68, 1u << 30, 4);
    for (uint32_t i = 0; i < like->device_count; i++) {
        uint8_t *e = content + 8 + (size_t)(i + 1) * ENTRY;
        memcpy(e, like->devices[i].name, SOLO5_NAME_SIZE);
        put(e + SOLO5_NAME_SIZE, like->devices[i].type, 4);
    }
    return elf_image_manifest(like, content, 8 + (size_t)entries * ENTRY, out);
}
