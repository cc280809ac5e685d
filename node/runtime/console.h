/* Reading a console's ring, beside the shim that writes it. Where and how a ring lies: shim_protocol.h. */
#ifndef UNIMESH_NODE_RUNTIME_CONSOLE_H
#define UNIMESH_NODE_RUNTIME_CONSOLE_H

#include "store/base/err.h"

#include <stddef.h>
#include <stdint.h>

enum console_writer { CONSOLE_LIVE, CONSOLE_ENDED /* nobody writes any more: all of the ring can be trusted */ };

/* As runtime_console_read, on the ring's file. */
enum err console_read(int fd, enum console_writer writer, uint64_t offset, void *out, size_t size, size_t *got,
                      uint64_t *skipped, uint64_t *next) MUST_USE;
/* The last `lines` lines begin at *offset; what is lost of the first of them, is. ERR_NOMEM. */
enum err console_tail(int fd, enum console_writer writer, uint32_t lines, uint64_t *offset) MUST_USE;

#endif
