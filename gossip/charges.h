/* What accusers say of members, and how often each of it was told: least told goes first (SWIM, §4.1), so that nothing
 * new waits for what everybody knows. Private to gossip/. */
#ifndef UNIMESH_GOSSIP_CHARGES_H
#define UNIMESH_GOSSIP_CHARGES_H

#include "gossip/limits.h"
#include "gossip/swim.h"

struct charge { /* one accuser's word; whoever holds it drops it from its queue before it goes */
    struct accusation a;
    uint8_t told;
    bool queued;
    uint32_t packet; /* the last one that it went out on */
    struct charge *prev, *next;
};

struct charge_queues { /* by how often it was told; all zeros is empty */
    struct charge *told[TOLD_MAX + 1];
    uint32_t packet;
};

/* What was there, is no longer to be told; `by` is, from the beginning. */
void charge_set(struct charge_queues *q, struct charge *c, const struct accusation *by);
void charge_drop(struct charge_queues *q, struct charge *c);

/* False: no room for it. */
bool accusation_put(const struct accusation *a, struct pack *k, size_t room);
/* As many as fit, but none of `not`; what has been told `limit` times is dropped. Returns how many. */
uint32_t charges_put(struct charge_queues *q, uint32_t limit, node_id not, struct pack *k, size_t room);

#endif
