/* Between what befalls a world (scenario.c) and what is asked of it afterwards (quiet.c). */
#ifndef UNIMESH_TESTS_SIM_SCENARIO_INTERNAL_H
#define UNIMESH_TESTS_SIM_SCENARIO_INTERNAL_H

#include "tests/sim/check.h"
#include "tests/sim/scenario.h"

enum {
    APPS_MAX = 2048,
    COMMANDS_OPEN_MAX = 1024,
    TICK_MS = 100 /* between two strokes of fate */
};

struct app {
    char name[NAME_SIZE];
    struct hash image;
    struct spec_body spec;
    bool deployed;
};

struct open_command {
    uint64_t client;
    enum command_kind kind;
    uint32_t host;
    uint32_t need;
    uint64_t at_ms;
};

struct scenario {
    struct world *w;
    struct check *check;
    const struct scenario_config *cfg;
    struct rng *rng;
    struct app apps[APPS_MAX];
    uint32_t app_count;
    struct open_command open[COMMANDS_OPEN_MAX];
    uint64_t clients;
    uint64_t back_ms[HOSTS_MAX]; /* a host that is down comes back then; 0: it isn't to */
    uint64_t heal_ms;            /* a partition ends then */
    uint64_t peace_ms;           /* all that is bad ends then */
    uint64_t well_ms[HOSTS_MAX]; /* what ails a host (links, disk, store) is over then; 0: nothing does */
    uint64_t leave_ms[HOSTS_MAX]; /* when a host was last asked to leave */
    uint32_t left, lost;
    struct rng net_rng;          /* of its own, so that large worlds, which have no networks, go on as they were */
    struct networks networks;
    struct rng volume_rng;       /* likewise */
    struct {
        uint64_t client; /* of the last command that was answered */
        enum err err;
        struct uid app;
    } reply;
};

void scenario_host_make(struct scenario *s);
void scenario_hosts_back(struct scenario *s); /* those whose time has come */
void scenario_hosts_gone(struct scenario *s); /* notes which have left for good */
void scenario_heal(struct scenario *s);
bool scenario_has_networks(const struct scenario *s);
struct app *scenario_app_make(struct scenario *s);
void scenario_deploy(struct scenario *s, struct app *a); /* through any host that runs */
void scenario_command(struct scenario *s, struct host *h, struct command *c);
void scenario_leave(struct scenario *s, struct host *h);

/* All is over: does it become right, and is what doesn't concern it left alone? */
void quiet_questions(struct scenario *s);

#endif
