/* The world that the engines of a simulation live in: one clock, a network, a disk and a hypervisor a host.
 *
 * All chance comes from one seed; the same seed gives the same trace. Nothing here knows what engines should
 * do: that is check.c's, and what befalls them scenario.c's. */
#ifndef UNIMESH_TESTS_SIM_WORLD_H
#define UNIMESH_TESTS_SIM_WORLD_H

#define _GNU_SOURCE
#include "node/bugs.h"
#include "gossip/packet.h"
#include "node/engine.h"
#include "placement/placement.h"
#include "node/crypto/node_crypto.h"
#include "tests/support/fake_crypto.h"

#include <stdio.h>
/* uthash with our hash of words; its memory is the C library's here. */
#define HASH_FUNCTION(key, len, hashv) ((hashv) = mem_hash((key), (len)))
#include <uthash.h>
#undef HASH_BKT_CAPACITY_THRESH
#define HASH_BKT_CAPACITY_THRESH 4U

enum { COMMIT_MAX_MS = 20 /* of a disk that is well */ };

enum { HOSTS_MAX = 1024, TRACE_LINES = 64, TRACE_LINE = 240 };

struct value { /* a record on a disk */
    struct record_key key;
    uint8_t *bytes;
    size_t len;
    UT_hash_handle hh;
};

struct write { /* one that the disk has not made durable */
    uint64_t seq;
    struct record_key key;
    uint8_t *bytes; /* NULL: an erasure */
    size_t len;
    struct write *next;
};

struct held { /* an image on a disk */
    struct hash image;
    uint64_t size_bytes;
    UT_hash_handle hh;
};

enum guest_state { GUEST_STARTING, GUEST_RUNNING, GUEST_ENDED /* its exit record waits */ };

struct guest {
    struct unit_id run;
    enum guest_state state;
    bool stopping;
    uint32_t pid;
    uint32_t memory_mib; /* with what its tender takes */
    enum target target;
    uint64_t volume; /* 0: it has none */
    uint64_t deadline_ms;
    struct unit_end end;
    char end_text[64];
    uint32_t let_in_count; /* by address, of those who are allowed */
    struct ip let_in[64];
    struct ip ip; /* on SIM_NETWORK; zeros: it isn't there */
    struct guest *next;
};

struct volume {
    struct unit_id id;  /* app, slot, the epoch it was made at */
    uint32_t maker;     /* the host that made it: two sides of a split may make one at the same epoch */
    uint64_t made;      /* … and at which epoch, wherever it has been carried since */
    uint64_t content;   /* what was written last: grows with every write anywhere */
    struct volume *next;
};

struct written;

struct host {
    uint32_t index;
    struct fake_crypto crypto;
    struct node_crypto *real; /* NULL: fake */
    const struct crypto *use; /* crypto.crypto, or the real thing */
    struct mem mem;
    struct engine *engine; /* NULL: the daemon is down */
    struct engine_config cfg;
    struct address address;
    uint32_t life;         /* of the daemon: events to an earlier one are lost */
    uint64_t boot;
    int64_t skew_ms;       /* of its wall clock */
    bool powered;
    bool gone;             /* for good: left, or lost */
    bool quit;             /* the daemon ended by itself … */
    bool left;             /* … and said before that it left */
    uint32_t side;         /* of a partition; equal sides talk */
    bool mute, deaf;       /* nothing that it sends arrives; nothing arrives at it */
    uint64_t paused_until_ms; /* its daemon stands still; what comes waits */
    uint32_t commit_max_ms;   /* its disk takes up to so long to make writes durable */
    uint64_t timer_ms;
    struct value *disk;
    struct write *writes, **writes_end;
    bool committing;
    uint64_t disk_fails_until_ms;
    bool wired, wired_told;   /* to SIM_NETWORK; and its daemon knows */
    struct held *images;
    struct guest *guests;
    struct volume *volumes;
    uint64_t steps_now, steps_at_ms; /* to notice an engine that spins */
};

#define SIM_NETWORK "lan"
/* Narrow, so that guests come across each other; or so narrow that some get no address. */
#define SIM_NETWORK_NARROW "lan0,subnet=10.0.0.0/26,gateway=10.0.0.1,range=10.0.0.2-10.0.0.33"
#define SIM_NETWORK_WIDE   "lan0,subnet=10.0.0.0/25,gateway=10.0.0.1"
#define SIM_NETWORK_SCARCE "lan0,subnet=10.0.0.0/28,gateway=10.0.0.1,range=10.0.0.1-10.0.0.6"

struct totals {
    uint64_t events, datagrams, lost, duplicated, replayed, corrupted, calls;
    uint64_t daemon_crashes, power_cuts, lost_writes, failed_writes, partitions, disk_faults, aways, leaves;
    uint64_t pauses, half_links, clock_steps, node_stops, lost_stores, lost_records, lost_hosts, blackouts, read_onlys;
    uint64_t commands, acknowledged, refused_commands, starts, stops, exits, fetches, fetch_failures;
    uint64_t takeovers, offers_refused, surrogates, overtaken, restarts, refutations, deaths, handovers;
    uint64_t merged, syncs;
    uint64_t networks_gone, readdressed, volumes, volumes_carried;
};

struct event_node;
struct heap_cell;

struct world {
    uint64_t seed, now, order;
    struct rng rng, net_rng, guest_rng, volume_rng;
    struct written *written; /* to the volumes, by slot */
    uint64_t writes;
    struct host *hosts;
    uint32_t host_count, hosts_max;
    struct heap_cell *heap;
    size_t heap_count, heap_size;
    struct event_node *spare;
    struct effects fx;
    struct totals total;
    uint64_t trace_hash;
    char trace[TRACE_LINES][TRACE_LINE];
    uint64_t trace_next;
    bool verbose;
    bool scarce; /* addresses are: who has none waits */
    /* What the network and the guests do now. */
    uint32_t loss_permille, duplicate_permille, corrupt_permille, replay_permille;
    uint32_t delay_min_ms, delay_max_ms;
    uint32_t guest_exits_permille;  /* of the guests that start: these end by themselves */
    uint32_t guest_fails_permille;  /* … and these don't start, by the host's fault */
    uint32_t fetch_fails_permille;
    struct pending_call *calls;
    uint64_t call_ids;
    uint32_t pids;
    /* What went wrong. */
    bool failed;
    char failure[512];
    /* Scenario's and check's own. */
    struct check *check;
    struct scenario *scenario;
    void (*on_reply)(struct world *w, uint64_t client, const struct effect_reply *r);
    void (*on_effect)(struct world *w, struct host *h, const struct effect *f); /* before it is done */
    void (*on_step)(struct world *w, struct host *h);                           /* after all are done */
};

struct world *world_new(uint64_t seed, uint32_t hosts_max);
void world_free(struct world *w);
/* The first failure counts. */
void world_fail(struct world *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
void world_note(struct world *w, const char *format, ...) __attribute__((format(printf, 2, 3)));

struct host *world_add_host(struct world *w, const struct engine_config *cfg);
void host_start(struct world *w, struct host *h); /* power it, and start its daemon */
void host_wire(struct world *w, struct host *h, bool wired); /* its bridge goes, or comes back; its daemon hears */
void host_kill_daemon(struct world *w, struct host *h); /* SIGKILL: guests go on */
void host_cut_power(struct world *w, struct host *h);   /* unsynced writes and guests are lost */
void host_step(struct world *w, struct host *h, struct event *ev);
void host_lose_records(struct world *w, struct host *h); /* its store is set aside; identity, boot and images stay */
void host_lose_record(struct world *w, struct host *h, const struct record_key *key);
void host_give_image(struct world *w, struct host *h, const struct hash *image, uint64_t size);
bool host_has_image(const struct host *h, const struct hash *image);
struct host *world_host_of(struct world *w, node_id node);
bool hosts_talk(const struct host *a, const struct host *b); /* both ways: streams need that */
bool host_reaches(const struct host *from, const struct host *to);
bool host_runs(const struct world *w, const struct host *h); /* its daemon does, and isn't paused */
/* The record on the disk that a power cut would leave. False: none. */
bool disk_find(const struct host *h, const struct record_key *key, struct record *out);

/* Let time pass: until `ms`, or a failure. */
void world_run_until(struct world *w, uint64_t ms);

#endif
