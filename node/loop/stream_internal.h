/* Inside streams, in three layers:
 *
 *   stream_wire.c        records and messages as bytes; pure
 *   stream_link.c        one TCP connection: connecting, records in and out, its end
 *   stream_handshake.c   its handshake
 *   stream.c             calls and channels on such connections, and the limits that hold for all of them
 *
 * A link tells the layer above by the stream_on_* functions; nothing else goes up. */
#ifndef UNIMESH_NODE_LOOP_STREAM_INTERNAL_H
#define UNIMESH_NODE_LOOP_STREAM_INTERNAL_H

#include "node/crypto/noise.h"
#include "node/loop/stream.h"

#include <stdbool.h>

/* ---- stream_wire.c ---- */

enum {
    WIRE_PREAMBLE_SIZE = 8, /* magic, version, key id */
    WIRE_LENGTH_SIZE = 2,
    WIRE_DATA_MAX = 16 * 1024, /* of a record */
    WIRE_OVERHEAD = WIRE_LENGTH_SIZE + 1 + NOISE_TAG_SIZE,
    WIRE_RECORD_MAX = WIRE_DATA_MAX + WIRE_OVERHEAD,
    WIRE_END_SIZE = WIRE_OVERHEAD
};

enum wire_type { WIRE_MORE = 0, WIRE_FINAL = 1, WIRE_END = 2 };

void wire_preamble(const uint8_t key_id[static KEY_ID_SIZE], uint8_t out[static WIRE_PREAMBLE_SIZE]);
/* The first len bytes may begin a preamble of ours. */
bool wire_preamble_fits(const uint8_t *p, size_t len);

uint16_t wire_u16(const uint8_t *p);
void wire_put_u16(uint8_t *p, size_t v);

size_t wire_size(size_t len); /* that a message of len bytes takes */
/* Lay a message out as records that are yet to be sealed; out has wire_size(len) bytes. */
void wire_lay(const void *p, size_t len, uint8_t *out);
void wire_lay_end(uint8_t out[static WIRE_END_SIZE]);
/* Seal what was laid out, in place. ERR_CLOSED. */
enum err wire_seal(struct noise *n, uint8_t *bytes, size_t len) MUST_USE;

struct wire_record {
    enum wire_type type;
    const uint8_t *p; /* in the bytes given */
    size_t len;
};
/* Open the record that bytes begin with, in place; *used is its length. ERR_TRUNCATED: more bytes are needed,
 * nothing has changed. ERR_INVALID, ERR_AUTH, ERR_CLOSED: no record. */
enum err wire_open(struct noise *n, uint8_t *bytes, size_t len, struct wire_record *out,
                   size_t *used) MUST_USE;

/* A message that comes in records. Zeroed is empty. */
struct wire_message {
    uint8_t *p;
    size_t len, size;
    bool begun; /* a record has come, and the final one hasn't */
};
/* Add a record. On ERR_OK *complete says whether (*p, *len) is the message: it lies in m or, if it came in one
 * record, in r, and is good until m's next use. ERR_TOO_LARGE: more than max; ERR_NOMEM; ERR_INVALID: an
 * end inside a message. */
enum err wire_message_add(struct wire_message *m, const struct wire_record *r, size_t max,
                          bool *complete, const uint8_t **p, size_t *len) MUST_USE;
void wire_message_done(struct wire_message *m); /* what was complete is used; gives large memory back */
void wire_message_release(struct wire_message *m);

/* ---- The structs ---- */

enum link_direction { LINK_IN, LINK_OUT };
/* What it is for; the numbers are on the wire, in the handshake's last message. 0: not known yet. */
enum link_kind { LINK_CALLS = 1, LINK_CHANNEL = 2 };

/* CONNECTING -> HANDSHAKE -> OPEN -> LINGER -> CLOSED, and from each to CLOSED. */
enum link_state {
    LINK_CONNECTING,
    LINK_HANDSHAKE,
    LINK_OPEN,
    LINK_LINGER, /* the end is said; what is queued goes out, what comes is dropped */
    LINK_CLOSED  /* gone but for its handles */
};

enum link_timer { /* what the link's one timer is for */
    TIMER_NONE,
    TIMER_HANDSHAKE,
    TIMER_IDLE,
    TIMER_KEEP,
    TIMER_LINGER,
    TIMER_BROKEN, /* sending failed; reading must end soon */
    TIMER_RESUME, /* now: what was held back */
    TIMER_DOOM    /* now: the end, which no function of stream.h may tell itself */
};

struct link_out { /* a message on its way out */
    uv_write_t request;
    struct channel *ch;
    struct link_out *next;
    size_t len, counted; /* counted: in the channel's queue; 0 for the handshake */
    uint8_t bytes[];
};

struct call {
    struct streams *s;
    struct call *prev, *next; /* s->calls, oldest first */
    uv_timer_t timer;
    uint64_t id;
    struct address to;
    node_id expected;
    struct channel *ch; /* carries it; NULL: it waits for a connection */
    enum err doom;      /* how it ends; ERR_OK: not known yet */
    bool counted;       /* within calls_max; else it is but an error to be told */
    bool again;         /* the second attempt: on a new connection only */
    size_t len;
    uint8_t bytes[];
};

struct channel {
    struct streams *s;
    struct channel *prev, *next; /* s->channels, oldest first, until it is closed */
    uv_tcp_t tcp;
    uv_timer_t timer;
    uv_connect_t connect;
    uv_shutdown_t shutdown;
    unsigned handles; /* not closed yet */
    enum link_direction direction;
    enum link_kind kind;
    enum link_state state;
    enum link_timer purpose;
    enum err doom;

    struct noise noise;
    bool has_noise;
    uint8_t preamble[WIRE_PREAMBLE_SIZE];
    bool preamble_seen;
    struct stream_peer peer;
    node_id expected; /* 0: any */
    bool proven;

    uint8_t small[256]; /* holds any handshake message */
    uint8_t *in;        /* small, or the heap's once the peer is proven */
    size_t in_at, in_len, in_size;
    bool reading, paused;
    struct wire_message message;

    struct link_out *pending, **pending_last; /* until the peer is proven */
    size_t queued;
    bool broken;     /* sending failed */
    bool flush;      /* linger as soon as it is open */
    bool wants_drain;

    struct call *call; /* LINK_OUT, LINK_CALLS: under way on it */
    bool reused;       /* it has carried a call before this one */
    uint64_t conn;     /* LINK_IN, LINK_CALLS: the call to be answered; 0: none */

    bool shown; /* LINK_CHANNEL: the first message was delivered */
    bool owned; /* somebody has the channel, and handler is set */
    struct channel_handler handler;
    void *ctx;
};

struct streams {
    uv_loop_t *loop;
    const struct node_crypto *crypto;
    struct stream_config cfg;
    struct stream_callbacks cb;
    void *ctx;
    uv_tcp_t listener;
    uv_timer_t retry; /* an accept for which there was no memory */
    struct address bound;
    unsigned handles;
    bool closing, making_room;
    void (*on_gone)(void *ctx);
    struct channel *channels;
    struct call *calls;
    uint64_t last_conn;
    struct stream_counters n; /* with the gauges */
};

/* ---- stream_link.c ---- */

/* NULL for want of memory. A failure to connect comes later, as stream_on_end. */
struct channel *link_dial(struct streams *s, const struct address *to, node_id expected,
                          enum link_kind kind, uint64_t timeout_ms);
/* Take the connection that the listener has. ERR_NOMEM: it has it still. */
enum err link_accept(struct streams *s) MUST_USE;

/* Queue a message, whatever the queue's length. ERR_NOMEM; other failures come later. */
enum err link_send(struct channel *ch, const void *p, size_t len) MUST_USE;
void link_timer_start(struct channel *ch, enum link_timer purpose, uint64_t ms);
void link_timer_stop(struct channel *ch);
void link_doom(struct channel *ch, enum err err); /* end it, but not now */
void link_pause(struct channel *ch);
void link_resume(struct channel *ch);
void link_linger(struct channel *ch); /* say the end and go, once what is queued is out */
void link_reset(struct channel *ch);
void link_end(struct channel *ch, enum err err);

/* For the handshake: bytes as they are; and the peer is proven. */
enum err link_write(struct channel *ch, const void *a, size_t a_len, const void *b,
                    size_t b_len) MUST_USE;
void link_opened(struct channel *ch);

/* ---- stream_handshake.c ---- */

void handshake_begin(struct channel *ch); /* as the one who connected */
/* Take the next message from ch->in, if it is all there: true if there was one. It may end or open the link. */
bool handshake_feed(struct channel *ch);

/* ---- stream.c: what a link tells ---- */

void stream_on_open(struct channel *ch); /* the peer is proven */
void stream_on_message(struct channel *ch, const uint8_t *p, size_t len);
void stream_on_sent(struct channel *ch); /* the queue has become shorter */
void stream_on_timer(struct channel *ch, enum link_timer purpose); /* IDLE, KEEP */
/* It is gone, and no longer in s->channels. ERR_CLOSED: the peer said the end; ERR_IO: broken. */
void stream_on_end(struct channel *ch, enum err err);
/* A handle of s, or of what belongs to it, is gone. */
void stream_handle_gone(struct streams *s);

#endif
