/* What befalls a world: hosts that crash, lose power, are cut off, leave and come back; apps that are deployed,
 * scaled, moved and removed meanwhile. Then it heals, and must become right. Then three quiet questions: does a
 * join move anything, does a death move more than its orphans, does a minority raise an epoch. */
#ifndef UNIMESH_TESTS_SIM_SCENARIO_H
#define UNIMESH_TESTS_SIM_SCENARIO_H

#include "tests/sim/world.h"

struct scenario_config {
    uint64_t seed;
    uint32_t hosts, apps;
    uint32_t chaos_ms; /* how long it is bad */
    uint32_t bugs;     /* node/bugs.h */
    bool verbose;
};

/* A world that has run through; look at ->failed, ->total, ->trace_hash; world_free it. */
struct world *scenario_run(const struct scenario_config *cfg);

#endif
