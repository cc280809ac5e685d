/* A unit's console, wherever it runs: read here, or through a channel from the node that has it.
 *
 * A source gives chunks in order, each with the offset of its first byte, so that a reader knows
 * what it missed. With LOGS_FOLLOW it goes on until it is closed; a unit that is restarted or moves
 * is followed to its next run. */
#ifndef UNIMESH_NODE_LOOP_LOGS_H
#define UNIMESH_NODE_LOOP_LOGS_H

#include "node/loop/node.h"

struct logs;

enum logs_mode { LOGS_ONCE = 0, LOGS_FOLLOW = 1 };

struct logs_callbacks {
    /* `skipped` bytes were lost before p. run: whose console this is (a restart begins a new one at
     * offset 0). */
    void (*on_bytes)(void *ctx, const struct unit_id *run, node_id node, uint64_t offset,
                     uint64_t skipped, const void *p, size_t len);
    /* The end: ERR_OK all was read (LOGS_ONCE); ERR_NOT_FOUND, ERR_UNREACHABLE: text says what. The
     * last callback. */
    void (*on_end)(void *ctx, enum err err, const char *text);
};

/* lines: begin with the last so many; UINT32_MAX: all there is. ERR_NOT_FOUND: no such app or slot;
 * ERR_NOMEM. */
enum err logs_open(struct logs **out, struct node *n, const struct uid *app, uint16_t slot,
                   uint32_t lines, enum logs_mode mode, const struct logs_callbacks *cb,
                   void *ctx) MUST_USE;
void logs_pause(struct logs *l); /* a slow reader: no more on_bytes until … */
void logs_resume(struct logs *l);
void logs_close(struct logs **l);

/* A peer asks for a console that is ours (SERVICE_LOGS): takes the channel, or lets it be closed.
 */
void logs_serve(struct node *n, struct channel *ch, const struct stream_peer *peer, const void *p,
                size_t len);

#endif
