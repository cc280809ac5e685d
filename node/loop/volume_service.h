/* Volumes, asked for by a peer (or by this node's own control socket, the same way), over a channel (SERVICE_VOLUME).
 * The opening message, after the service's byte, and what follows it; arrays grow at their ends:
 *
 *     ->  [1, op, app (bin 16), slot, epoch, device, live]
 *     <-  [1, app, slot, epoch, app's name, device, bytes, bytes on disk, held]   LIST: a row for each device
 *     <-> [3, offset, bytes]           READ: what isn't zeros, in order; WRITE: one after each MORE
 *     <-  [4]                          WRITE: MORE
 *     <-  a row of what it is          DIFF: first of all, for its size
 *     ->  [5, first, hashes]           DIFF: what the asker has of up to VOLUME_BATCH pieces; a 3 for each that differs
 *                                      follows, and a 4
 *     <-> [2, err, text]               the end; of a WRITE or DIFF said by the asker first, and answered
 *
 * READ, WRITE and DIFF lock the device, so that no guest starts with it meanwhile; a live READ or DIFF doesn't. A piece
 * is VOLUME_CHUNK bytes, its hash BLAKE2b-256. */
#ifndef UNIMESH_NODE_LOOP_VOLUME_SERVICE_H
#define UNIMESH_NODE_LOOP_VOLUME_SERVICE_H

#include "node/loop/node.h"
#include "node/loop/stream.h"
#include "node/runtime/volume.h"

enum volume_op { VOLUME_LIST = 1, VOLUME_REMOVE = 2, VOLUME_READ = 3, VOLUME_WRITE = 4, VOLUME_DIFF = 5 };

struct volume_ask {
    enum volume_op op;
    struct unit_id id; /* app, slot, epoch; LIST: nothing */
    char device[DEVICE_SIZE];
    bool live;
};

enum volume_word { VOLUME_ROW = 1, VOLUME_END = 2, VOLUME_DATA = 3, VOLUME_MORE = 4, VOLUME_HASHES = 5 };
enum { VOLUME_VERSION = 1, VOLUME_ASK_FIELDS = 7, VOLUME_CHUNK = 64 * 1024, VOLUME_TEXT = 256,
       VOLUME_BATCH = 32 /* pieces: less than a channel queues */, VOLUME_HASH = 32 };

struct volume_say {
    enum volume_word word;
    struct unit_id id; /* ROW */
    char app[NAME_SIZE];
    struct volume_device device;
    bool held;
    enum err err; /* END */
    char text[VOLUME_TEXT];
    uint64_t offset; /* DATA; HASHES: the first piece */
    struct slice bytes;
};
enum err volume_say_decode(const void *p, size_t len, struct volume_say *out) MUST_USE;
enum err volume_say_send(struct channel *ch, const struct volume_say *s) MUST_USE; /* as channel_send */

/* Ask a node. As streams_open; ERR_UNREACHABLE: its address isn't known. */
enum err volume_ask_open(struct node *n, node_id to, const struct volume_ask *a, const struct channel_handler *h,
                         void *ctx, struct channel **out) MUST_USE;
void volume_hash(const void *p, size_t len, uint8_t out[static VOLUME_HASH]);
/* Takes the channel, or lets it be closed. */
void volume_serve(struct node *n, struct channel *ch, const void *p, size_t len);

#endif
