/* Reads the console of one run on this host, from a place on: for a client here, or for a peer (logs.c). */
#ifndef UNIMESH_NODE_LOOP_CONSOLE_READER_H
#define UNIMESH_NODE_LOOP_CONSOLE_READER_H

#include "node/loop/logs.h"

struct console_reader;

struct console_reader_callbacks {
    /* False: not taken; it comes again after console_reader_resume. */
    bool (*on_bytes)(void *ctx, uint64_t offset, uint64_t skipped, const void *p, size_t len);
    /* No more comes. ERR_OK: all was read (LOGS_ONCE), or the run has ended. ERR_NOT_FOUND: there is no such console
     * here. The last callback; the reader may be closed in it. */
    void (*on_over)(void *ctx, enum err err);
};

/* Callbacks come from the loop alone. lines: begin with the last so many; UINT32_MAX: begin at `offset`. */
enum err console_reader_new(struct console_reader **out, struct node *n, const struct unit_id *run, uint32_t lines,
                            uint64_t offset, enum logs_mode mode, const struct console_reader_callbacks *cb,
                            void *ctx) MUST_USE;
void console_reader_pause(struct console_reader *r);
void console_reader_resume(struct console_reader *r);
void console_reader_close(struct console_reader **r); /* also from inside a callback */

#endif
