/* A small mesh of SWIM cores in one process, with a network that delays, loses and can be cut in two. Node records
 * are modelled by their numbers: every packet carries what its sender knows of all. One seed, one history. */
#ifndef UNIMESH_TESTS_UNIT_SWIM_MESH_H
#define UNIMESH_TESTS_UNIT_SWIM_MESH_H

#include "gossip/swim.h"
#include "tests/support/fake_crypto.h"

enum { MESH_NODES_MAX = 24 };

struct mesh;

struct mesh *mesh_new(uint64_t seed, uint32_t nodes, uint32_t loss_permille); /* all know all */
void mesh_free(struct mesh *m); /* checks that every core gave back its memory */
void mesh_run(struct mesh *m, uint64_t ms);
uint64_t mesh_now(const struct mesh *m);

void mesh_kill(struct mesh *m, uint32_t node);    /* silence: no packet, no reset */
void mesh_restart(struct mesh *m, uint32_t node); /* a higher boot; the others are known from disk */
void mesh_cut(struct mesh *m, uint32_t side);     /* bit i: node i is on the one side; 0: healed */
void mesh_away(struct mesh *m, uint32_t node, uint64_t for_ms);
void mesh_accuse(struct mesh *m, uint32_t accuser, enum accusation_kind kind, uint32_t subject);

uint64_t mesh_incarnation(const struct mesh *m, uint32_t node);
/* How many of the other running nodes see it in this state. */
uint32_t mesh_seen_in(const struct mesh *m, uint32_t node, enum member_state state);
/* How often any node declared any other dead. */
uint32_t mesh_deaths(const struct mesh *m);

/* Is the accusation signed by `accuser`, as `by` checks it? */
bool mesh_verify(struct fake_crypto *by, const struct fake_crypto *accuser, const struct accusation *a);

#endif
