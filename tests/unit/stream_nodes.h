/* Nodes for the tests of streams: several in one loop, each with a key of its own, that remember what they are told.
 * And a raw TCP client that can say anything. */
#ifndef UNIMESH_TESTS_UNIT_STREAM_NODES_H
#define UNIMESH_TESTS_UNIT_STREAM_NODES_H

#include "node/loop/stream_internal.h"

#include <stdbool.h>

enum { ANSWERS_MAX = 4096, HELD_MAX = 64, TAPES_MAX = 8, NODES_MAX = 4 };

enum on_call_mode {
    CALL_ECHO, /* the answer is the call */
    CALL_HOLD  /* the test answers */
};

/* What one end of a channel has seen. */
struct tape {
    struct channel *ch; /* NULL: closed */
    size_t bytes, messages, in_order; /* in_order: so many of them were number 0, 1, 2 … */
    uint8_t *last;      /* a copy of the last message, or NULL */
    size_t last_len;
    unsigned drains, closes;
    enum err err;       /* of the end */
    bool pause_at_each; /* pause after each message */
};

struct node {
    struct node_crypto *crypto;
    struct streams *streams;
    node_id id;
    struct address at;
    unsigned gone; /* on_gone was called */

    enum on_call_mode mode;
    uint64_t held[HELD_MAX];
    unsigned held_count;
    struct stream_peer caller; /* of the last call or channel */
    size_t call_len;           /* of the last call */

    struct {
        unsigned count;
        enum err err;
        node_id node;
        size_t len;
        uint8_t first;
    } answer[ANSWERS_MAX]; /* by id */
    unsigned answers, answers_ok;

    bool refuse_channels;
    struct tape tape[TAPES_MAX]; /* of accepted channels */
    unsigned tapes;
    bool inside; /* in a function of stream.h, where no callback may come */
};

extern uv_loop_t loop;
extern const struct channel_handler TAPE_HANDLER; /* its ctx: a struct tape */

int nodes_set_up(void **state);
int nodes_tear_down(void **state); /* fails if anything of libuv is left over */

/* Node number i (its key, too), with mesh key `mesh`, on a port of its own at 127.0.0.1. cfg NULL: the default. */
struct node *node_start(unsigned i, unsigned mesh, const struct stream_config *cfg);
struct node *node_start_with(unsigned i, const struct mesh_keys *keys, const struct stream_config *cfg,
                             const struct stream_callbacks *cb);
extern const struct stream_callbacks NODE_CALLBACKS;
void node_stop(struct node *n); /* streams_close, and runs the loop until it is gone */

void call(struct node *from, uint64_t id, const struct node *to, const void *p, size_t len);
void call_within(struct node *from, uint64_t id, const struct node *to, const void *p, size_t len,
                 uint64_t timeout_ms);
void open_tape(struct node *from, const struct node *to, struct tape *t, const char *first);
void send_numbered(struct tape *t, size_t number, size_t len); /* a message that in_order counts */
enum err try_send_numbered(struct tape *t, size_t number, size_t len);

/* Run the loop until the condition holds; a test that waits for too long fails. */
#define RUN_UNTIL(condition)                                                                       \
    do {                                                                                           \
        wait_begin(#condition, __FILE__, __LINE__);                                                \
        while (!(condition))                                                                       \
            uv_run(&loop, UV_RUN_ONCE);                                                            \
        wait_end();                                                                                \
    } while (0)
void wait_begin(const char *what, const char *file, int line);
void wait_end(void);
void run_for(uint64_t ms); /* only to see that something does NOT come */

/* ---- The raw client ---- */

struct raw {
    uv_tcp_t tcp;
    uv_connect_t connect;
    struct noise noise;
    struct node_crypto *crypto;
    uint8_t in[64 * 1024];
    size_t in_len, total;
    uint8_t *keep; /* a copy of what raw_first sends, or NULL */
    bool connected, ended, closed, one_by_one;
};

void raw_connect(struct raw *r, const struct node *to); /* and waits for it */
void raw_send(struct raw *r, const void *p, size_t len);
void raw_close(struct raw *r);
/* Everything up to the handshake's end, as node i; then raw_record sends what it likes, well sealed. */
void raw_first(struct raw *r, const struct node *to, unsigned i, unsigned mesh);
void raw_join(struct raw *r, const struct node *to, unsigned i, enum link_kind kind);
void raw_finish(struct raw *r, const uint8_t *proof, uint8_t kind); /* message 2 is read, 3 sent */
void raw_record(struct raw *r, unsigned type, const void *p, size_t len);

#endif
