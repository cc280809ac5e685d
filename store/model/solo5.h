/* What a Solo5 image says of itself: the two ELF notes (Solo5's elf_abi.h and mft_abi.h, ABI 1).
 *
 * Pure and bounded: reads an image that is all in memory, trusts nothing in it. */
#ifndef UNIMESH_MODEL_SOLO5_H
#define UNIMESH_MODEL_SOLO5_H

#include "store/model/target.h"
#include "store/base/err.h"

#include <stddef.h>
#include <stdint.h>

enum { SOLO5_DEVICES_MAX = 63, SOLO5_NAME_SIZE = 68 };

/* What its code shows of the arguments that MirageOS's network stacks take (Mirage_runtime_network). A stack that takes
 * fewer may be linked all the same: who gives them tries again with less when the guest refuses. */
enum solo5_mirage {
    MIRAGE_IPV4 = 1, /* --ipv4, --ipv4-gateway */
    MIRAGE_IPV6 = 2, /* --ipv6, --ipv6-gateway */
    MIRAGE_ONLY = 4  /* --ipv4-only, --ipv6-only */
};

enum solo5_device_type { SOLO5_BLOCK = 1, SOLO5_NET = 2 };

struct solo5_device {
    char name[SOLO5_NAME_SIZE];
    enum solo5_device_type type;
};

struct solo5_image {
    enum target target;
    uint32_t abi_version;
    char arch[16]; /* "x86_64", "aarch64", … of the ELF header */
    uint32_t mirage; /* enum solo5_mirage */
    uint32_t device_count;
    struct solo5_device devices[SOLO5_DEVICES_MAX];
};

/* Read both notes. On error `text` says what is wrong with the file, in words for people:
 * ERR_INVALID (not ELF, notes malformed), ERR_TRUNCATED (cut short: a segment or note lies beyond the end),
 * ERR_NOT_FOUND (an ELF without Solo5's notes), ERR_UNSUPPORTED (a target or ABI that no tender of ours runs). */
enum err solo5_inspect(const void *image, size_t len, struct solo5_image *out, char *text,
                       size_t text_size) MUST_USE;

#endif
