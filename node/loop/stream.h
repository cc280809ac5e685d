/* Streams: messages between nodes over TCP, each connection a Noise handshake and sealed records
 * (docs/streams.md). Two things ride on it:
 *
 *   calls     one message there, one back; exactly one on_answer a call, whatever happens
 *   channels  messages both ways for as long as both want, with backpressure: logs -f, images
 *
 * Both are messages on a `struct channel`; a call is a channel that the layer keeps and reuses.
 *
 * A peer is known by its node id, proven: inside the handshake it shows its node key's signature over its
 * stream key. A connection without the mesh key gets no further than its first message.
 *
 * Rules that hold for all of it:
 * - No callback runs inside a function of this header, except those of streams_close.
 * - Bytes given to a callback, and the peer, are borrowed until it returns. Bytes given to a function are copied.
 * - Close ends the function: after channel_close(ch, …) the channel is gone for the caller and calls back no
 *   more; so after it, return. on_closed says the same of a channel that the peer or a fault has ended.
 * - One loop, one thread.
 *
 * A call that found its kept connection broken is sent once more on a new one: calls are at least once.
 * SIGPIPE is set to be ignored, unless the process handles it: libuv needs that. */
#ifndef UNIMESH_NODE_LOOP_STREAM_H
#define UNIMESH_NODE_LOOP_STREAM_H

#include "node/crypto/node_crypto.h"
#include "store/base/err.h"
#include "store/base/id.h"

#include <stddef.h>
#include <stdint.h>
#include <uv.h>

struct streams;
struct channel;

/* Who is at the other end; all of it proven but the address, which is where the packets come from
 * (for inbound connections its port says nothing). */
struct stream_peer {
    node_id node;
    uint8_t public_key[PUBLIC_KEY_SIZE]; /* Ed25519 */
    uint8_t x25519[32];
    struct address address;
};

struct stream_callbacks {
    /* The end of the call `id`. err OK: the peer's answer. Else peer and p may be NULL:
     * ERR_UNREACHABLE no connection; ERR_TIMEOUT; ERR_AUTH not a member, or not the expected node;
     * ERR_CLOSED the peer hung up; ERR_TOO_LARGE; ERR_FULL calls_max; ERR_NOMEM. */
    void (*on_answer)(void *ctx, uint64_t id, enum err err, const struct stream_peer *peer,
                      const void *p, size_t len);
    /* A peer calls: answer it as `conn`, at any time. */
    void (*on_call)(void *ctx, uint64_t conn, const struct stream_peer *peer, const void *p,
                    size_t len);
    /* A peer opens a channel with the message p. channel_accept it before returning; else it is closed.
     * NULL: none are taken. */
    void (*on_open)(void *ctx, struct channel *ch, const struct stream_peer *peer, const void *p,
                    size_t len);
};

struct stream_config {
    size_t message_bytes_max;          /* 1 MiB: both ways */
    size_t queue_bytes_max;            /* 4 MiB: what a channel holds for a slow peer */
    uint32_t inbound_max;              /* 512: connections that others opened */
    uint32_t inbound_per_address_max;  /* 128 of them from one IP address */
    uint32_t handshaking_max;          /* 64 of them not yet authenticated; beyond, the oldest is dropped */
    uint32_t outbound_max;             /* 512: connections that we opened */
    uint32_t outbound_per_peer_max;    /* 4 of them for calls to one address; further calls wait */
    uint32_t calls_max;                /* 1024 under way */
    uint32_t handshake_timeout_ms;     /* 5000: from accept or connect to the peer's proof */
    uint32_t idle_timeout_ms;          /* 60000: an inbound connection for calls without any; an answer due */
    uint32_t keep_ms;                  /* 10000: an outbound connection waits so long for the next call */
    uint32_t linger_ms;                /* 5000: closing, until what is queued has been sent */
};
struct stream_config stream_config_default(void);

#define STREAM_COUNTER_LIST(X)                                                                     \
    X(connects) X(connects_failed) X(accepts) X(accepts_failed) X(refused) X(evicted)              \
    X(handshakes) X(handshakes_failed) X(handshake_timeouts) X(unknown_key) X(wrong_peer)          \
    X(records_bad) X(messages_too_large) X(messages_in) X(messages_out) X(bytes_in) X(bytes_out)   \
    X(calls_out) X(calls_failed) X(calls_in) X(answers_late) X(reused) X(channels_in)              \
    X(channels_out) X(idle_closed)
struct stream_counters {
#define X(name) uint64_t name;
    STREAM_COUNTER_LIST(X)
#undef X
    uint64_t inbound_now, outbound_now, handshaking_now, calls_now; /* gauges */
};

/* Listen at `bind` (port 0: any; streams_address tells which) and be ready to call. loop and crypto are
 * borrowed for its life. cfg NULL: the default. ERR_EXISTS: the address is in use; ERR_UNREACHABLE: it isn't
 * ours; ERR_DENIED; ERR_NOMEM; ERR_IO. On failure, too, memory goes while the loop runs. */
enum err streams_new(struct streams **out, uv_loop_t *loop, const struct node_crypto *crypto,
                     const struct address *bind, const struct stream_config *cfg,
                     const struct stream_callbacks *cb, void *ctx) MUST_USE;

/* End everything: each call under way gets its on_answer (ERR_CLOSED) and each channel its on_closed before this
 * returns; these must not call or open anew. The memory goes while the loop runs on: `on_gone` (may be NULL) is
 * called when the last handle is closed, so run the loop until then. */
void streams_close(struct streams **s, void (*on_gone)(void *ctx));

struct address streams_address(const struct streams *s); /* as bound */
struct stream_counters streams_counters(const struct streams *s);

/* ---- Calls ---------------------------------------------------------------------------------------- */

/* Say p to whoever is at `to` (`expected`: only if it is that node; 0: any member) and bring its answer as
 * on_answer `id`, within timeout_ms. Ids are the caller's; they need not be unique. */
void streams_call(struct streams *s, uint64_t id, const struct address *to, node_id expected,
                  const void *p, size_t len, uint64_t timeout_ms);

/* Answer the on_call `conn`, once. If the caller has gone meanwhile, nothing happens (answers_late). An answer
 * beyond message_bytes_max is none: the caller gets ERR_CLOSED (messages_too_large). */
void streams_answer(struct streams *s, uint64_t conn, const void *p, size_t len);

/* ---- Channels ------------------------------------------------------------------------------------- */

struct channel_handler {
    void (*on_message)(void *ctx, struct channel *ch, const void *p, size_t len);
    /* The queue has fallen to half of queue_bytes_max or below after channel_send said ERR_FULL, or
     * channel_queued was above it. May be NULL. */
    void (*on_drain)(void *ctx, struct channel *ch);
    /* The end: ERR_CLOSED the peer closed it and everything it sent has been delivered; else what
     * went wrong, as in on_answer (ERR_IO: the connection broke). The last callback; ch is gone. */
    void (*on_closed)(void *ctx, struct channel *ch, enum err err);
};

/* Open a channel with a first message. It can be sent to at once; on failure, also of the connecting, within
 * timeout_ms until the peer has proven itself, on_closed comes. The handler is copied.
 * ERR_FULL: outbound_max; ERR_TOO_LARGE; ERR_NOMEM. */
enum err streams_open(struct streams *s, const struct address *to, node_id expected, const void *p,
                      size_t len, uint64_t timeout_ms, const struct channel_handler *h, void *ctx,
                      struct channel **out) MUST_USE;

/* Take a channel that on_open shows, inside it. The handler is copied. */
void channel_accept(struct channel *ch, const struct channel_handler *h, void *ctx);

/* Queue a message. ERR_FULL: it would exceed queue_bytes_max: wait for on_drain (a message that is
 * larger than that is taken when the queue is empty). ERR_TOO_LARGE; ERR_NOMEM. */
enum err channel_send(struct channel *ch, const void *p, size_t len) MUST_USE;

size_t channel_queued(const struct channel *ch); /* bytes that the system has not taken yet */

/* Stop and resume on_message, so that a fast sender waits for a slow reader. While paused, the peer's end
 * is not seen either. */
void channel_pause(struct channel *ch);
void channel_resume(struct channel *ch);

/* NULL until the peer is proven. */
const struct stream_peer *channel_peer(const struct channel *ch);

enum channel_end {
    CHANNEL_FLUSH, /* what is queued goes out, within linger_ms, and the peer learns that this is the end */
    CHANNEL_NOW    /* the connection is reset; the peer sees ERR_IO */
};
void channel_close(struct channel *ch, enum channel_end how);

#endif
