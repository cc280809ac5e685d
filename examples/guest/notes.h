/* What every Solo5 image carries: an interpreter that no host has (so that nobody runs it by
 * mistake), the ABI note and the manifest note (Solo5's elf_abi.h and mft_abi.h, version 1).
 * ABI_TARGET and ABI_VERSION come from the build.
 *
 * Once in a guest, at file scope: GUEST_NOTES(GUEST_DEVICE("service", GUEST_NET)), or GUEST_NOTES()
 * for no devices. */
#ifndef UNIMESH_EXAMPLES_GUEST_NOTES_H
#define UNIMESH_EXAMPLES_GUEST_NOTES_H

#include <stdint.h>

struct abi_note {
    uint32_t name_size, content_size, type;
    char name[8];
    uint32_t target, version, reserved[2];
};

struct manifest_entry {
    char name[68];
    uint32_t type;
    uint8_t device[16], backing[8], attached, pad[7];
};

struct manifest_head {
    uint32_t name_size, content_size, type;
    char name[8];
    uint32_t pad; /* the manifest is aligned to 8 */
    uint32_t version, entries;
};

_Static_assert(sizeof(struct abi_note) == 36, "as elf_abi.h lays it out");
_Static_assert(sizeof(struct manifest_entry) == 104, "as mft_abi.h lays it out");
_Static_assert(sizeof(struct manifest_head) == 24 + 8, "as mft_abi.h lays it out");

enum { GUEST_BLOCK = 1, GUEST_NET = 2 };

#define GUEST_DEVICE(device_name, device_type)                                                     \
    {                                                                                              \
        .name = device_name, .type = device_type                                                   \
    }
/* The first entry is reserved. */
#define GUEST_ENTRIES(...)                                                                         \
    {                                                                                              \
        {.type = 1u << 30}, __VA_ARGS__                                                            \
    }
#define GUEST_COUNT(...)                                                                           \
    (sizeof((struct manifest_entry[])GUEST_ENTRIES(__VA_ARGS__)) / sizeof(struct manifest_entry))
#define GUEST_NOTES(...)                                                                           \
    __attribute__((used, section(".interp"))) static const char interpreter[] =                    \
        "/nonexistent/solo5/";                                                                     \
    __attribute__((used, section(".note.solo5.abi"),                                               \
                   aligned(4))) static const struct abi_note abi = {                               \
        sizeof "Solo5", 16, 0x31494241, "Solo5", ABI_TARGET, ABI_VERSION, {0, 0}};                 \
    __attribute__((used, section(".note.solo5.manifest"), aligned(4))) static const struct {       \
        struct manifest_head head;                                                                 \
        struct manifest_entry entry[GUEST_COUNT(__VA_ARGS__)];                                     \
    } manifest = {{sizeof "Solo5", 4 + 8 + 104 * GUEST_COUNT(__VA_ARGS__), 0x3154464d, "Solo5", 0, \
                   1, GUEST_COUNT(__VA_ARGS__)},                                                   \
                  GUEST_ENTRIES(__VA_ARGS__)};

#endif
