/* Between the fake node's two files: what waits for its turn, channels, runs. */
#ifndef UNIMESH_TESTS_SUPPORT_FAKE_NODE_INTERNAL_H
#define UNIMESH_TESTS_SUPPORT_FAKE_NODE_INTERNAL_H

#include "tests/support/fake_crypto.h"
#include "tests/support/fake_node.h"

enum later_kind {
    LATER_DATAGRAM = 1,
    LATER_CALL,
    LATER_ANSWER,
    LATER_WRITTEN,
    LATER_STARTED,
    LATER_ENDED,
    LATER_FETCH,
    LATER_REPLY,
    LATER_LISTENERS,
    LATER_CONSOLE, /* a run's watchers */
    LATER_OPEN,    /* a channel's other end */
    LATER_MESSAGE,
    LATER_DRAIN,
    LATER_CLOSED
};

struct later {
    enum later_kind kind;
    struct later *next;
    struct node *node, *from;
    uint64_t id;
    enum err err;
    struct unit_id unit;
    struct hash image;
    struct unit_end end;
    struct effect_reply reply;
    struct channel *channel;
    size_t len;
    uint8_t bytes[];
};

struct fake_run {
    struct fake_run *next;
    struct node *node;
    struct unit_id unit;
    char app[NAME_SIZE];
    uint32_t pid;
    bool alive;
    uint64_t written;
    uint8_t ring[FAKE_CONSOLE_RING];
};

struct console_watch {
    struct console_watch *next;
    struct fake_run *run; /* NULL: forgotten */
    void (*on_more)(void *ctx);
    void *ctx;
};

struct channel {
    struct channel *next; /* in the mesh */
    struct node *node;
    struct channel *peer; /* NULL: closed */
    struct channel_handler handler;
    void *ctx;
    struct stream_peer who;
    size_t queued; /* what we sent and the peer hasn't taken */
    bool paused, open, full, closed;
};

struct runtime {
    struct node *node;
};

struct streams {
    struct node *node;
};

struct waiting { /* a command */
    struct waiting *next;
    uint64_t id;
    node_reply_fn *on_reply;
    void *ctx;
};

struct node {
    struct fake_mesh *mesh;
    struct fake_crypto crypto;
    struct mem mem;
    struct engine *engine;
    struct engine_config cfg;
    struct images *images;
    struct consoles consoles;
    struct runtime runtime;
    struct streams streams;
    struct effects fx;
    struct address address;
    struct fake_run *runs;
    struct console_watch *watches;
    struct waiting *commands;
    uint64_t ids;
    bool stopped, cut;
    struct node_event events[NODE_EVENTS_KEPT];
    uint64_t events_last;
    struct node_listener *listeners;
};

struct fake_mesh {
    uv_loop_t *loop;
    uv_timer_t timer;
    struct node *nodes[FAKE_NODES_MAX];
    uint32_t count;
    struct later *queue, **queue_end;
    struct channel *channels;
    uint32_t pids;
    bool closing;
};

extern struct fake_mesh *the_mesh; /* the last one made: a watch doesn't know its node */

/* Something for the next turn of the loop; the bytes are copied. */
struct later *later(struct node *n, enum later_kind kind, const void *p, size_t len);
struct node *node_at(const struct fake_mesh *m, const struct address *a); /* NULL: nobody */
bool talk(const struct node *a, const struct node *b);
struct fake_run *run_of(const struct node *n, const struct unit_id *u);
void run_ended(struct node *n, const struct unit_id *u, enum end_cause cause, int32_t status);

void channel_event(struct fake_mesh *m, struct later *l);
void channel_free(struct fake_mesh *m, struct channel *ch);
void closed_later(struct channel *ch, enum err err);
bool unlink_watch(struct node *n, struct console_watch *w);

#endif
