/* A runtime on a loop of its own, in a scratch folder, that writes down what it is told. */
#ifndef UNIMESH_TESTS_SUPPORT_RUNTIME_WORLD_H
#define UNIMESH_TESTS_SUPPORT_RUNTIME_WORLD_H

#include "node/runtime/runtime.h"
#include "tests/support/scratch.h"

enum { WORLD_RUNS = 64 };

struct world_run {
    struct unit_id id;
    unsigned found, started, ended;
    uint32_t pid;
    int pid_fd; /* of the tender */
    enum target target;
    struct unit_end end;
    char text[256];
};

struct world {
    char dir[SCRATCH_PATH], run[SCRATCH_PATH], image[SCRATCH_PATH], tender[SCRATCH_PATH], cache[SCRATCH_PATH];
    char volumes[SCRATCH_PATH];
    char priv[SCRATCH_PATH], shim[SCRATCH_PATH], why[256];
    uv_loop_t loop;
    struct runtime *rt;
    struct runtime_config cfg;
    struct world_run runs[WORLD_RUNS];
    unsigned run_count, priv_lost, host_told, gone, news;
    struct host_facts host;
    char host_text[4096];
};

/* A script stands for every tender; its arguments say what to do:
 *   say=TEXT  exit=N  signal=NAME  sleep  ignore (SIGTERM)  fill (600 KB of x)  wait=FIFO (until it is written to) */
void world_set_up(struct world *w);
void world_tear_down(struct world *w); /* ends the guests too */
enum err world_open(struct world *w);  /* a runtime, with a mesh-priv of its own */
void world_close(struct world *w);     /* guests stay */

struct unit_id world_unit(uint64_t epoch);
struct world_run *world_run(struct world *w, const struct unit_id *id); /* made if missing */
/* Start world_unit(epoch) for target with these arguments (NULL-ended). */
struct world_run *world_start(struct world *w, uint64_t epoch, enum target target, const char *image, ...);
void world_step(struct world *w); /* until something happens; the test fails when nothing does */
void world_started(struct world *w, struct world_run *r); /* step until it is told */
void world_ended(struct world *w, struct world_run *r);
/* All of a run's console, NUL-ended; in static memory. */
const char *world_console(struct world *w, const struct world_run *r);
void world_console_has(struct world *w, struct world_run *r, const char *text); /* step until it does */

#endif
