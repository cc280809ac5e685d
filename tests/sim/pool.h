/* Runs of many seeds, in as many processes as are asked for; a crash costs one seed. */
#ifndef UNIMESH_TESTS_SIM_POOL_H
#define UNIMESH_TESTS_SIM_POOL_H

#include "tests/sim/scenario.h"

struct outcome {
    uint64_t seed;
    bool failed;       /* an invariant broke; or the run crashed */
    char failure[512];
    uint64_t failed_ms;
    uint64_t trace_hash;
    double seconds;
    struct totals total;
};

/* One run, in this process; what went wrong and the last events are told on standard error unless quiet. */
struct outcome pool_one(const struct scenario_config *cfg, bool quiet);

/* Seeds from..from+count-1, `jobs` at a time (1: in this process). done(ctx, outcome) is called as they end, in
 * whatever order; false stops the rest. */
void pool_run(const struct scenario_config *cfg, uint64_t count, uint32_t jobs, bool quiet,
              bool (*done)(void *ctx, const struct outcome *o), void *ctx);

#endif
