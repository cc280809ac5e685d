/* What a Solo5 image can be built for, as far as this mesh runs it. Numbers are Solo5's own (elf_abi.h) and are
 * on the wire. */
#ifndef UNIMESH_MODEL_TARGET_H
#define UNIMESH_MODEL_TARGET_H

#include "store/base/err.h"

enum target { TARGET_NONE = 0, TARGET_HVT = 1, TARGET_SPT = 2, TARGET_VIRTIO = 3, TARGET_COUNT = 4 };

const char *target_name(enum target t); /* "hvt", "spt", "virtio"; "" for none */
enum err target_parse(const char *text, enum target *out) MUST_USE; /* ERR_NOT_FOUND */

#endif
