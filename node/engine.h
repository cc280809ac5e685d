/* The engine: all of a node that thinks. Events in, effects out; it never acts.
 *
 *     engine_new → engine_load (every record on disk) → engine_image (every image on disk)
 *                → engine_step(EVENT_UNIT_FOUND …) → engine_step(…) for ever
 *
 * It composes membership (gossip/swim.h), the records (gossip/replica.h), placement (placement/placement.h),
 * and the host side (units.c). The daemon (node/loop) and the simulator (tests/sim) run this same engine. After
 * each step the caller executes the effects in order, and sets one timer to engine_deadline_ms().
 *
 * What waits for the disk waits in here: an offer is answered, a command acknowledged, a guest started only
 * when the write behind it came back as EVENT_WRITTEN. A ping never waits. */
#ifndef UNIMESH_NODE_ENGINE_H
#define UNIMESH_NODE_ENGINE_H

#include "gossip/crypto.h"
#include "gossip/replica.h"
#include "gossip/swim.h"
#include "node/effects.h"
#include "node/event.h"
#include "store/base/mem.h"
#include "store/base/rng.h"

struct engine_config {
    char name[NAME_SIZE];
    uint64_t boot;           /* reserved on disk already */
    uint32_t address_count;  /* where peers reach us; the first is preferred */
    struct address addresses[ADDRESSES_MAX];
    uint32_t capacity_mib;   /* memory that guests may take together */
    uint32_t cpus;
    char arch[16];
    struct labels labels;
    struct swim_config swim;
    struct replica_config replica;
    uint32_t gossip_interval_ms;  /* 100: while there is news */
    uint32_t gossip_fanout;       /* 3 */
    uint32_t sync_interval_ms;    /* 2000: least time between two exchanges while roots differ */
    uint32_t notary_delay_ms;     /* 600: a later notary waits rank × this (rule 3) */
    uint32_t boot_wait_ms;        /* 10000: then a node that found no peer starts its own (rule 3) */
    uint32_t stable_ms;           /* 30000: members unchanged so long are the stable membership (rule 8) */
    uint32_t offer_retry_ms;      /* 250 */
    uint32_t guest_deadline_ms;   /* 20000: a guest whose meshd is gone outlives it so long */
    uint32_t away_ms;             /* 60000 */
    /* 600000: a guest whose app's records nobody has, while we are with a majority, ends then */
    uint32_t orphan_ms;
    uint32_t backoff_min_ms;      /* 1000: the first restart waits so long; doubled each time … */
    uint32_t backoff_max_ms;      /* 60000 … up to this; forgotten after backoff_reset_ms of running */
    uint32_t backoff_reset_ms;    /* 60000 */
    uint32_t copies;              /* 3: nodes that keep an acknowledged app and its images */
    uint32_t read_only_permille;  /* 800: a store fuller than this takes no new apps (engine_store_fill) */
    uint32_t lonely;              /* 1: neither --join nor --discover: with no peers on disk, nobody is waited for */
    const struct networks *networks; /* of this host, borrowed; NULL: none */
    uint32_t bugs;                /* simulator: planted bugs to switch on (node/bugs.h); 0 */
};
struct engine_config engine_config_default(void);

struct engine;

/* crypto and mem are borrowed for the engine's life. `seed`: chance (app uids come from it: the daemon
 * gives entropy). now: the time of creation. ERR_NOMEM. */
enum err engine_new(struct engine **out, struct mem *mem, const struct crypto *crypto,
                    const struct engine_config *cfg, uint64_t seed, uint64_t mono_ms,
                    uint64_t wall_ms) MUST_USE;
void engine_free(struct engine *e);

/* Before the first step: a record's value from disk (what EFFECT_WRITE gave), an image that is whole. A record
 * that is refused (damaged, of a newer format) is counted and left to the peers. */
void engine_load(struct engine *e, const void *bytes, size_t len);
void engine_image(struct engine *e, const struct hash *image, uint64_t size_bytes);
void engine_volume(struct engine *e, const struct unit_id *volume); /* one that is on disk: app, slot, its epoch */

void engine_step(struct engine *e, const struct event *ev, struct effects *out);
/* When to step with EVENT_TICK at the latest (mono). */
uint64_t engine_deadline_ms(const struct engine *e);

/* The store's fill, when the shell learns it: refuses new apps above read_only_permille. */
void engine_store_fill(struct engine *e, uint32_t permille);

/* ---- What can be read between steps ------------------------------------------------------------- */

node_id engine_self(const struct engine *e);
const struct swim *engine_members(const struct engine *e);
const struct replica *engine_records(const struct engine *e);
const struct mem *engine_mem(const struct engine *e);
/* A member's record (ours too), decoded. ERR_NOT_FOUND. */
enum err engine_node(const struct engine *e, node_id node, struct node_body *out) MUST_USE;
/* Does another live node carry this one's name? */
bool engine_name_conflict(const struct engine *e, node_id node);
/* By name or by 16 hex digits (at least 4 of them, if unambiguous). ERR_NOT_FOUND, ERR_CONFLICT. */
enum err engine_find_node(const struct engine *e, const char *name, node_id *out) MUST_USE;

struct app_view {
    struct uid uid;
    struct spec_body spec;   /* args borrow from the replica: valid until the next step */
    struct version version;
    uint32_t replicas;
    enum wanted wanted;
    bool shadowed;           /* another app owns the name; this one is stopped */
    uint32_t conflicts;      /* concurrent specs that lost, in history */
    uint32_t running;        /* slots whose winner runs */
    uint32_t copies;         /* live nodes that hold all its images */
};
struct unit_view {
    struct uid app;
    const char *app_name;
    uint16_t slot;
    node_id node;            /* 0: nobody (pending) */
    bool winner;             /* false: an overtaken one that still runs */
    struct unit_body body;   /* pending: state, reason, the highest epoch known */
};
typedef void app_view_fn(void *ctx, const struct app_view *v);
typedef void unit_view_fn(void *ctx, const struct unit_view *v);
/* Apps in order of name; the units of one app (or all apps: NULL) in order of slot. Reasons of pending slots
 * are worked out from what this node knows. */
void engine_each_app(struct engine *e, app_view_fn *visit, void *ctx);
void engine_each_unit(struct engine *e, const struct uid *app, unit_view_fn *visit, void *ctx);
enum err engine_find_app(struct engine *e, const char *name, struct uid *out) MUST_USE;
enum volume_use engine_volume_use(struct engine *e, const struct unit_id *volume, node_id node);
void engine_volume_gone(struct engine *e, const struct unit_id *volume); /* from this disk */
/* This host's runs: what is started and not known to have ended (the simulator's invariants read it too). */
struct run_view {
    struct unit_id id; /* the run's name, as in EFFECT_UNIT_START */
    node_id owner;     /* us */
    uint32_t pid;
    uint32_t reserved_mib;
};
void engine_each_run(const struct engine *e, void (*visit)(void *ctx, const struct run_view *v), void *ctx);
uint32_t engine_reserved_mib(const struct engine *e);
bool engine_has_image(const struct engine *e, const struct hash *image);
bool engine_synced(const struct engine *e);

/* Counters: what was dropped, refused, repaired. Append-only; names are metrics'. */
#define COUNTER_LIST(X)                                                                            \
    X(packets_in) X(packets_out) X(packets_garbage) X(packets_stranger) X(packets_key)             \
    X(packets_auth) X(packets_replayed) X(packets_malformed) X(records_refused) X(records_merged)  \
    X(accusations_refused) X(calls_in) X(calls_out) X(calls_failed) X(calls_malformed)             \
    X(syncs) X(pulls) X(pushes) X(keeps) X(offers_sent) X(offers_accepted) X(offers_refused)       \
    X(claims) X(surrogates) X(takeovers) X(handovers) X(starts) X(ends) X(restarts)                \
    X(refutations) X(deaths_seen) X(writes) X(writes_failed) X(overtaken) X(load_refused) \
    X(readdressed)
struct engine_counters {
#define X(name) uint64_t name;
    COUNTER_LIST(X)
#undef X
};
const struct engine_counters *engine_counters(const struct engine *e);

#endif
