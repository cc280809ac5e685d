/* unimesh-sim: runs seeds; see tests/sim/README.md. */
#include "tests/sim/scenario.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { BUG_SEEDS = 200, FLOOR_HOSTS = 30 };

static const struct {
    const char *name;
    uint32_t bit;
} bugs[] = {
#define X(name, bit, text) {#name, 1u << (bit)},
    BUG_LIST(X)
#undef X
};
enum { BUG_COUNT = sizeof bugs / sizeof bugs[0] };

static void print_run(const struct world *w, const struct scenario_config *cfg, double seconds)
{
    const struct totals *t = &w->total;
    printf("seed=%llu nodes=%u apps=%u trace_hash=%016llx seconds=%.1f events=%llu datagrams=%llu lost=%llu "
           "duplicated=%llu replayed=%llu corrupted=%llu crashes=%llu power_cuts=%llu lost_writes=%llu "
           "failed_writes=%llu partitions=%llu aways=%llu leaves=%llu deaths_seen=%llu refutations=%llu "
           "takeovers=%llu handovers=%llu surrogates=%llu overtaken=%llu offers_refused=%llu starts=%llu "
           "restarts=%llu stops=%llu fetches=%llu commands=%llu acknowledged=%llu refused=%llu\n",
           (unsigned long long)cfg->seed, cfg->hosts, cfg->apps, (unsigned long long)w->trace_hash, seconds,
           (unsigned long long)t->events, (unsigned long long)t->datagrams, (unsigned long long)t->lost,
           (unsigned long long)t->duplicated, (unsigned long long)t->replayed,
           (unsigned long long)t->corrupted, (unsigned long long)t->daemon_crashes,
           (unsigned long long)t->power_cuts, (unsigned long long)t->lost_writes,
           (unsigned long long)t->failed_writes, (unsigned long long)t->partitions,
           (unsigned long long)t->aways, (unsigned long long)t->leaves, (unsigned long long)t->deaths,
           (unsigned long long)t->refutations, (unsigned long long)t->takeovers,
           (unsigned long long)t->handovers, (unsigned long long)t->surrogates,
           (unsigned long long)t->overtaken, (unsigned long long)t->offers_refused,
           (unsigned long long)t->starts, (unsigned long long)t->restarts, (unsigned long long)t->stops,
           (unsigned long long)t->fetches, (unsigned long long)t->commands,
           (unsigned long long)t->acknowledged, (unsigned long long)t->refused_commands);
    fflush(stdout);
}

/* An empty world can't pass. Small ones may well be spared this or that. */
static const char *floor_missed(const struct totals *t)
{
    if (t->daemon_crashes == 0)
        return "no daemon was killed";
    if (t->power_cuts == 0)
        return "no power was cut";
    if (t->lost_writes == 0)
        return "no write was lost";
    if (t->partitions == 0)
        return "there was no partition";
    if (t->takeovers == 0)
        return "nothing was taken over";
    if (t->acknowledged == 0)
        return "nothing was acknowledged";
    return t->starts == 0 ? "nothing was started" : NULL;
}

static double now(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void print_failure(const struct world *w, const struct scenario_config *cfg)
{
    fprintf(stderr, "seed %llu failed at %llu.%03llu s: %s\nthe last events:\n",
            (unsigned long long)cfg->seed, (unsigned long long)(w->now / 1000),
            (unsigned long long)(w->now % 1000), w->failure);
    uint64_t from = w->trace_next > TRACE_LINES ? w->trace_next - TRACE_LINES : 0;
    for (uint64_t i = from; i < w->trace_next; i++)
        fprintf(stderr, "  %s\n", w->trace[i % TRACE_LINES]);
    fprintf(stderr, "again: scripts/sim --seed %llu --nodes %u --apps %u\n", (unsigned long long)cfg->seed,
            cfg->hosts, cfg->apps);
}

/* True if all was well. */
static bool run(const struct scenario_config *cfg)
{
    double from = now();
    struct world *w = scenario_run(cfg);
    const char *floor = w->failed || cfg->hosts < FLOOR_HOSTS ? NULL : floor_missed(&w->total);
    print_run(w, cfg, now() - from);
    if (w->failed)
        print_failure(w, cfg);
    if (floor)
        fprintf(stderr, "seed %llu shows nothing: %s\n", (unsigned long long)cfg->seed, floor);
    bool ok = !w->failed && !floor;
    world_free(w);
    return ok;
}

/* Each planted bug must be found. */
static int find_bugs(struct scenario_config cfg, const char *only)
{
    int missed = 0;
    for (int i = 0; i < BUG_COUNT; i++) {
        if (only && strcmp(only, bugs[i].name) != 0)
            continue;
        uint64_t seed = 0;
        bool found = false;
        while (!found && seed < BUG_SEEDS) {
            cfg.seed = ++seed;
            cfg.bugs = bugs[i].bit;
            struct world *w = scenario_run(&cfg);
            found = w->failed;
            if (found)
                printf("bug=%s found_by_seed=%llu: %s\n", bugs[i].name, (unsigned long long)seed, w->failure);
            world_free(w);
        }
        if (!found)
            printf("bug=%s found_by_seed=none of %d\n", bugs[i].name, BUG_SEEDS);
        fflush(stdout);
        missed += !found;
    }
    return missed ? 1 : 0;
}

static int usage(void)
{
    fprintf(stderr, "usage: sim [--seed N] [--count N] [--nodes N] [--apps N] [--chaos-ms N] [--verbose]\n"
                    "       sim --find-bugs [--bug NAME] [--nodes N] [--apps N]\n");
    return 2;
}

int main(int argc, char **argv)
{
    struct scenario_config cfg = {.seed = 1, .hosts = 50, .apps = 200, .chaos_ms = 60000};
    uint64_t count = 1;
    bool find = false;
    const char *bug = NULL;
    static const struct option options[] = {
        {"seed", required_argument, NULL, 's'},     {"count", required_argument, NULL, 'c'},
        {"nodes", required_argument, NULL, 'n'},    {"apps", required_argument, NULL, 'a'},
        {"chaos-ms", required_argument, NULL, 'm'}, {"verbose", no_argument, NULL, 'v'},
        {"find-bugs", no_argument, NULL, 'f'},      {"bug", required_argument, NULL, 'b'},
        {NULL, 0, NULL, 0},
    };
    for (int o; (o = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (o) {
        case 's':
            cfg.seed = strtoull(optarg, NULL, 0);
            break;
        case 'c':
            count = strtoull(optarg, NULL, 0);
            break;
        case 'n':
            cfg.hosts = (uint32_t)strtoul(optarg, NULL, 0);
            break;
        case 'a':
            cfg.apps = (uint32_t)strtoul(optarg, NULL, 0);
            break;
        case 'm':
            cfg.chaos_ms = (uint32_t)strtoul(optarg, NULL, 0);
            break;
        case 'v':
            cfg.verbose = true;
            break;
        case 'f':
            find = true;
            break;
        case 'b':
            bug = optarg;
            break;
        default:
            return usage();
        }
    }
    if (optind != argc || cfg.hosts < 3 || cfg.hosts > 1000 || cfg.apps > 2000 || cfg.apps == 0)
        return usage();
    if (find)
        return find_bugs(cfg, bug);
    uint32_t planted = 0;
    for (int i = 0; bug && i < BUG_COUNT; i++)
        if (strcmp(bug, bugs[i].name) == 0)
            planted = bugs[i].bit;
    cfg.bugs = planted;
    bool ok = true;
    for (uint64_t i = 0; i < count; i++, cfg.seed++)
        ok &= run(&cfg);
    return ok ? 0 : 1;
}
