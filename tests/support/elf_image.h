/* ELF files with Solo5's notes, as small as they can be, to show to solo5_inspect: right ones from what it would read,
 * and wrong ones from any bytes as a note's content. */
#ifndef UNIMESH_TESTS_SUPPORT_ELF_IMAGE_H
#define UNIMESH_TESTS_SUPPORT_ELF_IMAGE_H

#include "store/model/solo5.h"

enum {
    ELF_IMAGE_ABI = 0x31494241,
    ELF_IMAGE_MANIFEST = 0x3154464d,
    ELF_IMAGE_MAX = 16 * 1024,
    /* Where things lie in what elf_image makes. */
    ELF_IMAGE_PHDRS = 64,
    ELF_IMAGE_ABI_NOTE = 64 + 3 * 56,
    ELF_IMAGE_ABI_DATA = ELF_IMAGE_ABI_NOTE + 20,
    ELF_IMAGE_MFT_NOTE = ELF_IMAGE_ABI_DATA + 16,
    ELF_IMAGE_MFT_DATA = ELF_IMAGE_MFT_NOTE + 24
};

/* The file that says what `like` says. Returns its size. */
size_t elf_image(const struct solo5_image *like, uint8_t out[static ELF_IMAGE_MAX]);
/* The same file with a manifest note whose content (from the version on) is these bytes. len ≤ 8192. */
size_t elf_image_manifest(const struct solo5_image *like, const void *content, size_t len,
                          uint8_t out[static ELF_IMAGE_MAX]);

#endif
