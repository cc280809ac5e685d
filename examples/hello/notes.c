/* What every Solo5 image carries: an interpreter that no host has (so that nobody runs it by mistake), the ABI note and
 * the manifest note (Solo5's elf_abi.h and mft_abi.h, version 1). No devices. ABI_TARGET and ABI_VERSION come from
 * the build. */
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

struct manifest_note {
    uint32_t name_size, content_size, type;
    char name[8];
    uint32_t pad; /* the manifest is aligned to 8 */
    uint32_t version, entries;
    struct manifest_entry entry[1];
};

_Static_assert(sizeof(struct abi_note) == 36, "as elf_abi.h lays it out");
_Static_assert(sizeof(struct manifest_entry) == 104, "as mft_abi.h lays it out");
_Static_assert(sizeof(struct manifest_note) == 24 + 8 + 104, "as mft_abi.h lays it out");

__attribute__((used, section(".interp"))) static const char interpreter[] = "/nonexistent/solo5/";

__attribute__((used, section(".note.solo5.abi"))) static const struct abi_note abi = {
    sizeof "Solo5", 16, 0x31494241, "Solo5", ABI_TARGET, ABI_VERSION, {0, 0}};

__attribute__((used, section(".note.solo5.manifest"))) static const struct manifest_note manifest = {
    sizeof "Solo5", 4 + 8 + 104, 0x3154464d, "Solo5", 0, 1, 1, {{.type = 1u << 30}}};
