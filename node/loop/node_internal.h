/* What node.c and its servants share; node.h is what others see. */
#ifndef UNIMESH_NODE_LOOP_NODE_INTERNAL_H
#define UNIMESH_NODE_LOOP_NODE_INTERNAL_H

#include "node/crypto/identity.h"
#include "node/crypto/node_crypto.h"
#include "node/loop/control.h"
#include "node/loop/log.h"
#include "node/loop/node.h"
#include "node/loop/options.h"
#include "store/store.h"

#include <pthread.h>

struct fetch;
struct discover;
struct resolver;

/* Writes that the store thread has finished, on their way to the loop. */
struct writer {
    struct store *store;
    uv_async_t async;
    pthread_mutex_t mutex;
    struct written {
        uint64_t seq;
        enum err err;
    } * done;
    size_t count, size;
    uint64_t refused_seq; /* the store did not take it: told as failed from the loop. 0: none */
    enum err refused_err;
};

struct client { /* a command whose reply is awaited */
    uint64_t id;
    node_reply_fn *on_reply;
    void *ctx;
    struct client *next;
};

struct reply { /* one that is due from the loop */
    uint64_t id;
    struct effect_reply reply;
    struct reply *next;
    char text[];
};

struct found { /* what was there when we came, until the engine has heard */
    struct event event;
    char text[160];
};

struct node {
    uv_loop_t *loop;
    const struct options *options;
    struct log *log;
    struct identity *identity;
    struct node_crypto *crypto;
    struct mem mem;
    struct engine *engine;
    struct effects fx;
    bool stepping;
    struct writer writer;
    struct images *images;
    int priv_fd; /* to mesh-priv, until the runtime has it; -1, and why */
    enum err priv_err;
    const char *priv_why;
    struct runtime *runtime;
    struct consoles consoles;
    struct streams *streams;
    struct control *control;
    struct discover *discover;
    struct resolver *resolver;
    struct fetch *fetches;
    uv_udp_t udp;
    uv_poll_t timer; /* a timerfd on CLOCK_BOOTTIME, so that a suspend is seen */
    int timer_fd;
    uint64_t timer_ms; /* what it is set to; 0: nothing */
    uv_signal_t sigterm, sigint;
    uv_timer_t watchdog; /* systemd's */
    uv_idle_t later; /* runs while replies or listeners wait */
    uint64_t last_client;
    struct client *clients;
    struct reply *replies, **replies_end;
    struct node_listener *listeners;
    uint64_t told_events;
    struct found *found;
    size_t found_count;
    bool quitting;
    bool again; /* it is to begin afresh, above min_boot */
    uint64_t min_boot;
    uint64_t process_ms; /* when this process began; a reboot is not that */
    bool was_synced;     /* before the step that is being done */
    bool failed;         /* it ends for a reason that is no order */
    unsigned closing;           /* parts that have not said that they are gone */
    uint64_t dropped_datagrams; /* that the system would not take */
};

uint64_t clock_boottime_ms(void);
uint64_t clock_wall_ms(void);

/* Have the engine take an event, and do what it wants done. Not from inside itself. */
void node_step(struct node *n, struct event *ev);
void node_log(struct node *n, enum log_level level, const char *event, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
void node_gone(struct node *n); /* a part that was closing is gone */

/* ---- events.c ----------------------------------------------------------------------------------
 */

extern const struct stream_callbacks events_of_streams;
extern const struct runtime_callbacks
    events_of_runtime; /* before n->runtime is set, what it finds waits */
void events_on_timer(uv_poll_t *poll, int status, int events);
void events_datagram_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *out);
void events_on_datagram(uv_udp_t *udp, ssize_t len, const uv_buf_t *b, const struct sockaddr *from,
                        unsigned flags);
void events_on_signal(uv_signal_t *s, int number);

/* ---- start.c -----------------------------------------------------------------------------------
 */

/* Everything until the loop may run. On failure `why` says what is wrong; node_end tidies up. */
enum err node_begin(struct node *n, char *why, size_t why_size) MUST_USE;

/* ---- writer.c -------------------------------------------------------------------------------- */

/* Open the store and feed what it holds to the engine. */
enum err writer_open(struct node *n, char *why, size_t why_size) MUST_USE;
void writer_put(struct node *n, const struct effect *f); /* WRITE or ERASE */
void writer_close(struct node *n);

/* ---- fetch.c: images to and from peers ------------------------------------------------------- */

void fetch_start(struct node *n, const struct effect *f);
void fetch_serve(struct node *n, struct channel *ch, const struct stream_peer *peer, const void *p,
                 size_t len);
void fetch_close_all(struct node *n);

/* ---- scrub.c ----------------------------------------------------------------------------------- */

void scrub_begin(struct node *n);

/* ---- volumes.c ---------------------------------------------------------------------------------- */

enum err volumes_begin(struct node *n, char *why, size_t size) MUST_USE;
void volumes_see(struct node *n, const struct effect *f); /* EFFECT_VOLUME_… */

/* ---- volume_fetch.c ----------------------------------------------------------------------------- */

void volume_fetch(struct node *n, const struct effect *f);

/* ---- resolver.c: --join ---------------------------------------------------------------------- */

enum err resolver_new(struct resolver **out, struct node *n) MUST_USE;
void resolver_close(struct resolver **r);

/* ---- discover.c: --discover ------------------------------------------------------------------ */

enum err discover_new(struct discover **out, struct node *n, char *why, size_t why_size) MUST_USE;
void discover_close(struct discover **d);

/* ---- node.c ---------------------------------------------------------------------------------- */

/* Run a node until it ends. *again: it wants to begin afresh (its boot number was too low). Returns
 * the exit status. priv_fd: of priv_spawn; or -1, and why there is none. */
int node_run(const struct options *o, int priv_fd, enum err priv_err, const char *priv_why,
             bool *again);

#endif
