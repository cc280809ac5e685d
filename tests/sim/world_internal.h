/* Between the parts of the world: its queue of events, and the hypervisor. For tests/sim alone. */
#ifndef UNIMESH_TESTS_SIM_WORLD_INTERNAL_H
#define UNIMESH_TESTS_SIM_WORLD_INTERNAL_H

#include "tests/sim/world.h"

enum event_node_kind {
    NODE_TIMER = 1,
    NODE_DATAGRAM,
    NODE_CALL,
    NODE_ANSWER,
    NODE_CALL_TIMEOUT,
    NODE_COMMIT,
    NODE_GUEST_STARTED,
    NODE_GUEST_ENDED,
    NODE_GUEST_KILLED,
    NODE_GUEST_DEADLINE,
    NODE_IMAGE,
    NODE_HOST,
    NODE_VOLUME,
    NODE_VOLUME_FETCHED,
    NODE_RESTART
};

struct event_node {
    struct event_node *spare_next;
    uint64_t at, order;
    enum event_node_kind kind;
    uint32_t host, life, from;
    uint64_t id;
    struct unit_id unit;
    struct hash image;
    enum err err;
    size_t len;
    uint8_t bytes[];
};

struct guest *guest_find(const struct host *h, const struct unit_id *run);
void guest_start(struct world *w, struct host *h, const struct effect *f);
void guest_end(struct world *w, struct host *h, const struct unit_id *run, enum end_cause cause,
               int32_t status);
void guest_started(struct world *w, struct host *h, const struct unit_id *run);
void guest_stop(struct world *w, struct host *h, const struct unit_id *run);
void guest_killed(struct world *w, struct host *h, const struct unit_id *run);
void guest_access(struct host *h, const struct effect *f);
void guest_forget(struct world *w, struct host *h, const struct unit_id *run);
void guest_deadline(struct world *w, struct host *h, const struct effect *f);
void volume_effect(struct world *w, struct host *h, const struct effect *f); /* EFFECT_VOLUME_… */
void volume_event(struct world *w, struct host *h, const struct event_node *n); /* NODE_VOLUME, …_FETCHED */
void volume_start(struct world *w, struct host *h, const struct effect *f); /* a guest that has one starts */
void volumes_tell(const struct host *h); /* to its engine, before its first step */
void volumes_free(struct host *h);
void volumes_forget(struct world *w);
void host_tell(struct world *w, struct host *h); /* what it can run */
void image_fetch(struct world *w, struct host *h, const struct effect *f);
void image_drop(struct host *h, const struct hash *image);
bool world_chance(struct rng *r, uint32_t permille);
struct event_node *world_later(struct world *w, uint64_t in_ms, enum event_node_kind kind,
                                const struct host *h, const void *bytes, size_t len);
struct host *host_at(struct world *w, const struct address *a);

#endif
