/* What the control socket's files share. A connection reads a request, and answers it at once or by a task:
 *
 *   control.c         the socket, connections, frames, what is bounded
 *   control_views.c   rows: members, apps, units, images
 *   control_deploy.c  commands; images taken chunk by chunk; deploy's own look at an image
 *   control_follow.c  consoles and events
 *   control_volumes.c volumes, on whatever host they are
 */
#ifndef UNIMESH_NODE_LOOP_CONTROL_INTERNAL_H
#define UNIMESH_NODE_LOOP_CONTROL_INTERNAL_H

#include "ctl/control.h"
#include "node/loop/control.h"

#include <stdarg.h>

enum {
    CONTROL_CONNECTIONS_MAX = 64,
    CONTROL_UPLOADS_MAX = 4,
    CONTROL_OUT_SOFT = 256 * 1024,       /* a task gives no more until this has gone out */
    CONTROL_OUT_MAX = 16 * 1024 * 1024,  /* a connection's answer that is longer ends it */
    CONTROL_OUT_TOTAL = 64 * 1024 * 1024, /* all connections' together */
    CONTROL_TICK_MS = 1000,
    CONTROL_STALL_MS = 30000,            /* a client that reads nothing for so long is dropped */
    CONTROL_IDLE_MS = 60000,             /* … and one that says nothing where it should */
    CONTROL_LINGER_MS = 1000             /* ending: last words may take so long */
};

struct conn;

/* What answers a request that takes a while. */
struct conn_task {
    /* A frame came; NULL: none is expected (it waits until the task has ended). */
    void (*on_message)(struct conn *c, void *task, const struct control_message *m);
    /* What was sent has gone out. May be NULL. */
    void (*on_drain)(struct conn *c, void *task);
    /* Never ended, because the client went, or the node ends: free the task. No conn_ function may be called. */
    void (*cancel)(struct conn *c, void *task);
    /* What to say when the node ends. */
    enum err closing_err;
    const char *closing_text; /* NULL: as for all */
};

struct conn {
    struct control *control;
    struct conn *next, *prev;
    uv_pipe_t pipe;
    enum { CONN_OPEN, CONN_ENDING, CONN_CLOSED } state; /* ENDING: last words, then closed */
    bool doomed;                 /* it broke a bound: closed at the next tick, not in the middle of something */
    bool handling;               /* conn_next is at work */
    const struct conn_task *ops; /* NULL: the next request may be read */
    void *task;
    bool working;                /* a worker thread has the task, and the first frame */
    size_t in_len, in_used;      /* bytes read; the first frame's length, while it is being handled */
    bool reading;
    uint8_t *out;                /* not yet given to the system */
    size_t out_len, out_size;
    bool writing;
    size_t queue_before;         /* bytes that the system had not taken at the last progress */
    uint64_t progress_ms;        /* of the loop's clock */
    uv_write_t write;
    uint8_t *writing_bytes;
    size_t writing_len;
    uv_work_t work;
    void (*work_run)(void *task);
    void (*work_done)(struct conn *c, void *task);
    uint8_t in[CONTROL_HEAD + CONTROL_FRAME_MAX];
};

struct control {
    struct node *node;
    uv_pipe_t listener;
    uv_timer_t timer;
    struct conn *conns;
    uint32_t conn_count, upload_count;
    size_t out_bytes;
    unsigned handles;
    bool closing;
    uint64_t closing_ms;
    char path[108];
    void (*on_gone)(void *ctx);
    void *on_gone_ctx;
};

/* Queue a message. What doesn't fit the bounds drops the connection. */
void conn_send(struct conn *c, const struct control_message *m);
/* May a task give more, or should it wait for on_drain? */
bool conn_has_room(const struct conn *c);
/* The request is answered: END. The task, if there is one, is the caller's to free before. */
void conn_end(struct conn *c, enum err err, const char *format, ...) __attribute__((format(printf, 3, 4)));
void conn_end_message(struct conn *c, const struct control_message *m);
void conn_begin(struct conn *c, const struct conn_task *ops, void *task);
/* run(task) in a worker thread, then done in the loop, unless the connection went meanwhile (then cancel). */
void conn_work(struct conn *c, void (*run)(void *task), void (*done)(struct conn *c, void *task));

/* Each answers the message, now or by a task. */
void control_members(struct conn *c);
void control_apps(struct conn *c);
void control_units(struct conn *c, const char *app);
void control_inspect(struct conn *c, const char *app);
void control_images(struct conn *c);
void control_counters(struct conn *c);
void control_top(struct conn *c);
void control_deploy(struct conn *c, const struct control_deploy *d);
void control_command(struct conn *c, const struct control_command *o);
void control_image_put(struct conn *c, const struct control_image_put *p);
void control_logs(struct conn *c, const struct control_logs *l);
void control_volumes(struct conn *c);
void control_volume_ask(struct conn *c, const struct control_volume_ask *a);
void control_events(struct conn *c, const struct control_events *e);

void control_node_name(struct engine *e, node_id node, char out[static NAME_SIZE]);

#endif
