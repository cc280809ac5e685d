/* The running node as its servants see it (control.c, logs.c, images): the engine between two
 * steps, and the parts of the shell beside it. node.c owns all of it, steps the engine and executes
 * its effects.
 *
 * Nothing in here may be called from another thread. */
#ifndef UNIMESH_NODE_LOOP_NODE_H
#define UNIMESH_NODE_LOOP_NODE_H

#include "node/engine.h"
#include "node/loop/consoles.h"
#include "node/loop/stream.h"
#include "node/runtime/runtime.h"
#include "store/images.h"

#include <uv.h>

struct node;

uv_loop_t *node_loop(struct node *n);
struct engine *node_engine(struct node *n);
struct images *node_images(struct node *n);
void node_units_dir(const struct node *n, char *out, size_t size); /* where its guests' run folders are */
struct runtime *node_runtime(struct node *n); /* NULL: this host runs no guests */
struct streams *node_streams(struct node *n);
struct consoles *node_consoles(struct node *n); /* consoles.h */
const char *node_version(void);

/* Have the engine do c (borrowed for the call). on_reply comes exactly once, never from inside this
 * call, unless node_forget was called with the id before. */
typedef void node_reply_fn(void *ctx, const struct effect_reply *reply);
uint64_t node_command(struct node *n, const struct command *c, node_reply_fn *on_reply, void *ctx);
void node_forget(struct node *n, uint64_t id);

/* End, as SIGTERM says to: the peers learn that we are away, guests run on. Returns at once. */
void node_stop(struct node *n);

/* An image was put on disk by an upload. */
void node_image_added(struct node *n, const struct hash *image, uint64_t size_bytes);

/* What was counted since the start: the engine's counters, the streams' with stream_ before their names, and this
 * shell's own. */
void node_each_counter(struct node *n, void (*visit)(void *ctx, const char *name, uint64_t value), void *ctx);

/* ---- What happened lately: the engine's and the shell's logs, info and above, the last
 * NODE_EVENTS_KEPT ------ */

enum { NODE_EVENTS_KEPT = 1024, NODE_EVENT_FIELDS = 400 };
struct node_event {
    uint64_t seq; /* from 1, without gaps */
    uint64_t wall_ms;
    enum log_level level;
    char event[48];                 /* "unit.started" */
    char fields[NODE_EVENT_FIELDS]; /* logfmt */
};
uint64_t node_events_last(const struct node *n); /* 0: none yet */
/* The first that is there with seq ≥ `from`; NULL: none. Valid until the loop turns. */
const struct node_event *node_events_next(const struct node *n, uint64_t from);
struct node_listener { /* the listener's memory */
    void (*on_event)(
        void *ctx); /* there is at least one more; from the loop, not from inside a call */
    void *ctx;
    struct node_listener *next;
};
void node_listen(struct node *n, struct node_listener *l);
void node_unlisten(struct node *n, struct node_listener *l);

/* ---- Channels between nodes (stream.h): the first byte of the opening message names the service
 * ------------- */

enum node_service {
    SERVICE_IMAGE = 1, /* images.c */
    SERVICE_LOGS = 2,  /* logs.c */
    SERVICE_VOLUME = 3 /* volume_service.c */
};

#endif
