/* The consoles of runs that have ended here and are forgotten: of each slot the last one's, so that one can read what a
 * guest said before it exited. In memory, bounded; the oldest goes first. A restart of meshd loses them. */
#ifndef UNIMESH_NODE_LOOP_CONSOLES_H
#define UNIMESH_NODE_LOOP_CONSOLES_H

#include "node/runtime/runtime.h"

enum { CONSOLES_BYTES_MAX = 8 * 1024 * 1024, CONSOLE_BYTES_MAX = 256 * 1024 };

struct consoles { /* zeros: none yet */
    struct kept_console *first; /* the youngest */
    size_t bytes;
};

/* The run is about to be forgotten. What can't be kept isn't. */
void consoles_keep(struct consoles *c, struct runtime *rt, const struct unit_id *run);
void consoles_release(struct consoles *c);

/* As runtime_console_read and runtime_console_tail; a kept one has always ended. ERR_NOT_FOUND. */
enum err consoles_read(const struct consoles *c, const struct unit_id *run, uint64_t offset, void *out, size_t size,
                       size_t *got, uint64_t *skipped, uint64_t *next) MUST_USE;
enum err consoles_tail(const struct consoles *c, const struct unit_id *run, uint32_t lines, uint64_t *offset) MUST_USE;

#endif
