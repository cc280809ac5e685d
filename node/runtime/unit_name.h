/* The folder name of a run: UID.SLOT.EPOCH, as 32 hex digits, a decimal, 16 hex digits. */
#ifndef UNIMESH_NODE_RUNTIME_UNIT_NAME_H
#define UNIMESH_NODE_RUNTIME_UNIT_NAME_H

#include "store/base/err.h"
#include "store/base/id.h"

enum { UNIT_NAME_SIZE = 32 + 1 + 5 + 1 + 16 + 1 };

void unit_name(const struct unit_id *u, char out[static UNIT_NAME_SIZE]);
enum err unit_name_parse(const char *s, struct unit_id *out) MUST_USE; /* ERR_INVALID; exactly what unit_name writes */

#endif
