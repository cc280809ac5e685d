/* What the engine wants done: a list that one step fills and the shell (or the simulator) executes in order.
 *
 * The caller owns the list and its buffer, gives them to every step, and resets them between. Nothing is
 * allocated while stepping: what does not fit is refused, and the engine keeps such work for its next step
 * (its deadline is then now). Pointers in an effect borrow the list's buffer and die with the reset. */
#ifndef UNIMESH_NODE_EFFECTS_H
#define UNIMESH_NODE_EFFECTS_H

#include "store/base/err.h"
#include "store/base/id.h"
#include "store/base/pack.h"
#include "store/model/bodies.h"
#include "store/model/networks.h"
#include "store/model/record.h"
#include "store/model/target.h"

enum effect_kind {
    EFFECT_DATAGRAM = 1, /* send `bytes` to `address`; loss is normal */
    EFFECT_CALL,         /* open a stream to `address`, say `bytes`, bring the answer as EVENT_ANSWER `id`,
                            or its failure within timeout_ms; always exactly one */
    EFFECT_ANSWER,       /* answer the EVENT_CALL `id` with `bytes` */
    EFFECT_WRITE,        /* put `bytes` under `key`; EVENT_WRITTEN says when up to `seq` is on disk */
    EFFECT_ERASE,        /* delete `key`, likewise */
    EFFECT_UNIT_START,   /* start a guest: `unit`, `start`; EVENT_UNIT_STARTED, then EVENT_UNIT_ENDED, or the
                            latter alone, follow */
    EFFECT_UNIT_STOP,    /* stop it; EVENT_UNIT_ENDED follows, also if it isn't known */
    EFFECT_UNIT_DEADLINE, /* stop it by itself at `boottime_ms`; 0: never */
    EFFECT_UNIT_FORGET,  /* its end is on disk: drop its exit record */
    EFFECT_IMAGE_FETCH,  /* have `image` on disk, from `address` (node `peer`); EVENT_IMAGE answers */
    EFFECT_IMAGE_DROP,   /* remove `image` from disk */
    EFFECT_REPLY,        /* to the client `id`'s command: `reply` */
    EFFECT_LOG,          /* something to tell: `log` */
    EFFECT_REBOOT,       /* our boot number is too low: take one above `min_boot` and begin again */
    EFFECT_QUIT,         /* we have left, or told our peers that we are away: end */
    EFFECT_VOLUME_MAKE,  /* make the volume `unit` (app, slot, the epoch that it is made at): start.blocks, start.app;
                            one that is there already is kept. EVENT_VOLUME answers */
    EFFECT_VOLUME_CHECK, /* it is there, and has what start.blocks say, or gets it: a file that is new, or larger.
                            EVENT_VOLUME answers */
    EFFECT_VOLUME_FETCH, /* have the volume `unit` be as that of the same slot on the node `peer` at `address`, which
                            was made at epoch `seq`, with what start.blocks say; `id` is the enum volume_pass.
                            EVENT_VOLUME_FETCHED answers */
    EFFECT_VOLUME_DROP,  /* the volume `unit` goes from this disk, half copied or whole */
    EFFECT_UNIT_ACCESS   /* what comes in to the guest from now on: start.nets, start.access */
};

enum volume_pass {
    VOLUME_FIRST_PASS = 1, /* a guest writes on there: most of it, so that the last pass is short */
    VOLUME_LAST_PASS = 2   /* no guest has it: all of it, compared piece by piece; only then it is there */
};

enum log_level { LOG_DEBUG = 0, LOG_INFO = 1, LOG_WARN = 2, LOG_ERROR = 3 };

struct effect_start {
    struct hash image;
    enum target target;
    uint32_t memory_mib;
    uint32_t args_count;
    struct slice args;       /* read with spec_arg_next */
    uint32_t net_count;
    const struct guest_net *nets;
    uint64_t volume;         /* which of its slot's: the epoch that it was made at */
    uint32_t block_count;
    const struct block_ref *blocks;
    const struct guest_access *access; /* NULL: it has no nets */
    uint64_t boottime_ms;    /* its first deadline; 0: none */
    const char *app;         /* the app's name, for logs */
};

struct effect_reply {
    enum err err;
    const char *text;        /* for people: what was done, or what is wrong and what to do */
    struct uid app;
    uint32_t revision;
};

struct effect_log {
    enum log_level level;
    const char *event;       /* "unit.started": a dotted name that stays the same */
    const char *fields;      /* logfmt: `app=web slot=1 node=…` */
};

struct effect {
    enum effect_kind kind;
    uint64_t id;             /* CALL, ANSWER, REPLY */
    struct address address;  /* DATAGRAM, CALL, IMAGE_FETCH */
    node_id peer;            /* CALL (0: whoever answers), IMAGE_FETCH */
    struct slice bytes;
    uint64_t seq;            /* WRITE, ERASE */
    struct record_key key;
    struct unit_id unit;     /* UNIT_…: the run's name: (app, slot, epoch or surrogate number) */
    struct hash image;       /* IMAGE_… */
    uint64_t size_bytes;     /* IMAGE_FETCH: what the app says it weighs; the list decides */
    uint64_t boottime_ms;    /* UNIT_DEADLINE */
    uint32_t timeout_ms;     /* CALL */
    uint64_t min_boot;       /* REBOOT */
    struct effect_start start;
    struct effect_reply reply;
    struct effect_log log;
};

struct effects {
    struct effect *v;
    size_t count, size;
    uint8_t *buffer;
    size_t used, buffer_size;
};

enum { EFFECTS_SIZE = 8192, EFFECTS_BUFFER = 8 * 1024 * 1024 };

void effects_init(struct effects *fx, struct effect *v, size_t size, void *buffer, size_t buffer_size);
void effects_reset(struct effects *fx);
/* Is there room for a few more effects of up to `bytes` in all? */
bool effects_room(const struct effects *fx, size_t bytes);
/* A zeroed effect at the end; there is always one (the engine keeps a reserve by effects_room). */
struct effect *effects_add(struct effects *fx, enum effect_kind kind);
/* Bytes that live as long as the list. */
void *effects_bytes(struct effects *fx, size_t len);
/* Write msgpack of up to `size` bytes straight into the buffer; effects_packed gives the rest of it back. */
void effects_pack(struct effects *fx, struct pack *k, size_t size);
struct slice effects_packed(struct effects *fx, const struct pack *k);
struct slice effects_copy(struct effects *fx, const void *p, size_t len);
void effects_log(struct effects *fx, enum log_level level, const char *event, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

#endif
