/* Which node should carry which replica: pure functions of what all nodes know.
 *
 * Weighted rendezvous hashing (Thaler and Ravishankar 1998; weights as Schindelhauer and Schomaker 2005:
 * the least −log2(u)/w wins) in integers, so that every architecture ranks alike. docs/placement.md has the
 * reasons and figures. Nothing here allocates; nothing here knows of records or packets. */
#ifndef UNIMESH_PLACEMENT_PLACEMENT_H
#define UNIMESH_PLACEMENT_PLACEMENT_H

#include "store/base/err.h"
#include "store/base/id.h"
#include "store/model/bodies.h"

enum { PLACEMENT_VERSION = 1, PLACEMENT_FIRST_FIT = 4, NOTARIES = 3 };

/* −log2(u / 2^64) in fixed point, 32 fractional bits, for u in 1..2^64−1 (0 counts as 1); exact to 2^-30, the
 * same bits everywhere. */
uint64_t placement_neg_log2(uint64_t u);

/* The key that an app hashes by: its affinity key if it has one, else its name. */
uint64_t placement_key(const char *affinity_or_name);

/* A node as placement sees it. */
struct candidate {
    node_id node;
    uint32_t capacity_mib; /* its weight; 0 carries nothing */
    uint32_t used_mib;
    uint64_t score;        /* out: lower is earlier */
};

/* The distance of a node for a key: lower is better; ties break by id. Weight 0: UINT64_MAX. */
uint64_t placement_score(uint64_t key, node_id node, uint32_t weight);
/* Unweighted, for notaries: lower is earlier. */
uint64_t placement_notary_score(const struct uid *app, node_id node);

/* Sort candidates by their score for the key (fills score); ties by id. */
void placement_rank(uint64_t key, struct candidate *v, size_t n);

/* Of a ranked list (those that fit, best first): the index to offer to: of the first PLACEMENT_FIRST_FIT
 * the least used by used/capacity (compared exactly, in integers), then rank. SIZE_MAX when n is 0. */
size_t placement_choose(const struct candidate *ranked, size_t n);

/* Does the node (its record) meet what the app asks, memory aside? On no, `why` names the constraint. Picks the
 * target the unit would run as: the first of spt, hvt, virtio that both have. */
enum err placement_fits(const struct spec_body *spec, const struct node_body *node,
                        enum target *target, char *why, size_t why_size) MUST_USE;
/* Memory a unit reserves on a host: the guest's and what its tender takes beside. MiB. */
uint32_t placement_reserve_mib(const struct spec_body *spec, enum target target);

#endif
