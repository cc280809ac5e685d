/* unimesh-sim: runs seeds; see tests/README.md. */
#include "tests/sim/pool.h"

#include <getopt.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BUG_SEEDS = 200, FLOOR_HOSTS = 30, FLOOR_SEEDS = 20, FAILURES_SHOWN = 20 };

/* Each planted bug, and a world that shows it soon. */
static const struct {
    const char *name;
    uint32_t bit;
    uint32_t hosts, apps, chaos_ms;
} bugs[] = {
#define X(name, bit, text) {#name, 1u << (bit), 7, 15, 40000},
    BUG_LIST(X)
#undef X
};
enum { BUG_COUNT = sizeof bugs / sizeof bugs[0] };

struct options {
    struct scenario_config cfg;
    uint64_t count;
    uint32_t jobs;
    bool find, twice, sized;
    const char *bug, *list;
};

#define TOTALS(X)                                                                                              \
    X(events) X(datagrams) X(lost) X(duplicated) X(replayed) X(corrupted) X(calls) X(daemon_crashes)           \
    X(power_cuts) X(lost_writes) X(failed_writes) X(disk_faults) X(partitions) X(aways) X(leaves) X(deaths)    \
    X(refutations) X(takeovers) X(handovers) X(surrogates) X(overtaken) X(offers_refused) X(starts)            \
    X(restarts) X(stops) X(exits) X(fetches) X(fetch_failures) X(commands) X(acknowledged) X(refused_commands) \
    X(merged) X(syncs) X(pauses) X(half_links) X(clock_steps) X(node_stops) X(lost_stores) X(lost_records)     \
    X(lost_hosts) X(blackouts) X(read_onlys) X(networks_gone) X(readdressed) X(volumes) X(volumes_carried)

static void print_totals(const struct totals *t)
{
#define X(name) printf(" " #name "=%llu", (unsigned long long)t->name);
    TOTALS(X)
#undef X
    putchar('\n');
    fflush(stdout);
}

static void totals_add(struct totals *sum, const struct totals *t)
{
#define X(name) sum->name += t->name;
    TOTALS(X)
#undef X
}

/* An empty world can't pass. One small world may well be spared this or that; many of them together aren't. */
static const char *floor_missed(const struct totals *t)
{
    static const struct {
        size_t at;
        const char *text;
    } floors[] = {
        {offsetof(struct totals, daemon_crashes), "no daemon was killed"},
        {offsetof(struct totals, power_cuts), "no power was cut"},
        {offsetof(struct totals, lost_writes), "no write was lost"},
        {offsetof(struct totals, failed_writes), "no write failed"},
        {offsetof(struct totals, partitions), "there was no partition"},
        {offsetof(struct totals, lost), "no datagram was lost"},
        {offsetof(struct totals, takeovers), "nothing was taken over"},
        {offsetof(struct totals, offers_refused), "no offer was refused"},
        {offsetof(struct totals, acknowledged), "nothing was acknowledged"},
        {offsetof(struct totals, starts), "nothing was started"},
    };
    for (size_t i = 0; i < sizeof floors / sizeof floors[0]; i++)
        if (*(const uint64_t *)((const char *)t + floors[i].at) == 0)
            return floors[i].text;
    return NULL;
}

struct seeds {
    const struct options *o;
    uint64_t passed, failed;
    struct totals sum;
    struct {
        uint64_t seed;
        char text[512];
    } failures[FAILURES_SHOWN]; /* told once more at the end, where they are not lost among a thousand lines */
};

static bool seed_done(void *ctx, const struct outcome *r)
{
    struct seeds *s = ctx;
    const struct scenario_config *cfg = &s->o->cfg;
    const char *floor = r->failed || cfg->hosts < FLOOR_HOSTS ? NULL : floor_missed(&r->total);
    printf("seed=%llu nodes=%u apps=%u trace_hash=%016llx seconds=%.1f", (unsigned long long)r->seed, cfg->hosts,
           cfg->apps, (unsigned long long)r->trace_hash, r->seconds);
    print_totals(&r->total);
    if (r->failed)
        fprintf(stderr, "seed %llu failed: %s\n", (unsigned long long)r->seed, r->failure);
    if (floor)
        fprintf(stderr, "seed %llu shows nothing: %s\n", (unsigned long long)r->seed, floor);
    totals_add(&s->sum, &r->total);
    if ((r->failed || floor) && s->failed < FAILURES_SHOWN) {
        s->failures[s->failed].seed = r->seed;
        snprintf(s->failures[s->failed].text, sizeof s->failures[0].text, "%s", r->failed ? r->failure : floor);
    }
    s->passed += !r->failed && !floor;
    s->failed += r->failed || floor;
    return true;
}

static int run_seeds(const struct options *o)
{
    struct seeds s = {.o = o};
    pool_run(&o->cfg, o->count, o->jobs, false, seed_done, &s);
    const char *floor = o->count >= FLOOR_SEEDS ? floor_missed(&s.sum) : NULL;
    if (floor)
        fprintf(stderr, "all these seeds together show nothing: %s\n", floor);
    for (uint64_t i = 0; o->count > 1 && i < s.failed && i < FAILURES_SHOWN; i++)
        fprintf(stderr, "failed: seed %llu: %s\n", (unsigned long long)s.failures[i].seed, s.failures[i].text);
    if (o->count > 1) {
        printf("seeds=%llu nodes=%u apps=%u failed=%llu", (unsigned long long)o->count, o->cfg.hosts, o->cfg.apps,
               (unsigned long long)s.failed);
        print_totals(&s.sum);
    }
    return s.failed > 0 || floor ? 1 : 0;
}

/* 14: the same seed twice, the same trace. */
static int run_twice(const struct options *o)
{
    struct scenario_config cfg = o->cfg;
    int differ = 0;
    for (uint64_t i = 0; i < o->count; i++, cfg.seed++) {
        const struct outcome first = pool_one(&cfg, false), second = pool_one(&cfg, false);
        bool same = first.trace_hash == second.trace_hash;
        printf("seed=%llu trace_hash=%016llx again=%016llx%s\n", (unsigned long long)cfg.seed,
               (unsigned long long)first.trace_hash, (unsigned long long)second.trace_hash,
               same ? "" : " DIFFERENT");
        differ += !same || first.failed;
    }
    return differ ? 1 : 0;
}

/* Lines of nodes, apps, seed and words; # begins a comment. False: it is none of them. */
static bool line_parse(const char *line, struct scenario_config *cfg, int *words)
{
    unsigned nodes, apps;
    unsigned long long seed;
    if (sscanf(line, "%u %u %llu %n", &nodes, &apps, &seed, words) != 3 || nodes == 0 || nodes > 1000 || apps == 0)
        return false;
    cfg->hosts = nodes;
    cfg->apps = apps;
    cfg->seed = seed;
    return true;
}

/* Seeds that showed something before. */
static int run_list(const struct options *o)
{
    FILE *f = fopen(o->list, "r");
    struct scenario_config cfg = o->cfg;
    char line[256];
    unsigned run = 0, failed = 0, unread = 0;
    int words = 0;
    while (f && fgets(line, sizeof line, f)) {
        if (line[0] == '#' || line[0] == '\n')
            continue;
        if (!line_parse(line, &cfg, &words)) {
            fprintf(stderr, "%s: not \"NODES APPS SEED WORDS\": %s", o->list, line);
            unread++;
            continue;
        }
        const struct outcome r = pool_one(&cfg, false);
        run++;
        failed += r.failed;
        if (r.failed)
            fprintf(stderr, "seed %llu of %u nodes failed: %s; before: %s", (unsigned long long)r.seed, cfg.hosts,
                    r.failure, line + words);
    }
    if (f)
        fclose(f);
    printf("listed=%u failed=%u unread=%u\n", run, failed, unread);
    return run == 0 || failed || unread ? 1 : 0;
}

struct hunt {
    bool found;
    uint64_t seed, tried;
    char failure[512];
};

static bool hunt_done(void *ctx, const struct outcome *r)
{
    struct hunt *h = ctx;
    h->tried++;
    if (!r->failed)
        return true;
    h->found = true;
    h->seed = r->seed;
    memcpy(h->failure, r->failure, sizeof h->failure);
    return false;
}

/* Each planted bug must be found. */
static int find_bugs(const struct options *o)
{
    int missed = 0;
    for (int i = 0; i < BUG_COUNT; i++) {
        if (o->bug && strcmp(o->bug, bugs[i].name) != 0)
            continue;
        struct scenario_config cfg = o->cfg;
        struct hunt h = {0};
        if (!o->sized) {
            cfg.hosts = bugs[i].hosts;
            cfg.apps = bugs[i].apps;
            cfg.chaos_ms = bugs[i].chaos_ms;
        }
        cfg.bugs = bugs[i].bit;
        pool_run(&cfg, BUG_SEEDS, o->jobs, true, hunt_done, &h);
        if (h.found)
            printf("bug=%s nodes=%u found_by_seed=%llu: %s\n", bugs[i].name, cfg.hosts,
                   (unsigned long long)h.seed, h.failure);
        else
            printf("bug=%s nodes=%u found_by_seed=none of %llu\n", bugs[i].name, cfg.hosts,
                   (unsigned long long)h.tried);
        fflush(stdout);
        missed += !h.found;
    }
    printf("bugs=%d missed=%d\n", o->bug ? 1 : BUG_COUNT, missed);
    return missed ? 1 : 0;
}

static int usage(void)
{
    fprintf(stderr,
            "usage: scripts/sim [--seed N] [--count N] [--jobs N] [--nodes N] [--apps N] [--chaos-ms N] [--bug NAME]\n"
            "                   [--verbose]\n"
            "       scripts/sim --twice [--seed N] [--count N] …   same seed, same trace?\n"
            "       scripts/sim --list FILE                        seeds that showed something: tests/sim/seeds\n"
            "       scripts/sim --find-bugs [--bug NAME] [--jobs N] [--nodes N --apps N --chaos-ms N]\n");
    return 2;
}

static bool parse(int argc, char **argv, struct options *o)
{
    static const struct option options[] = {
        {"seed", required_argument, NULL, 's'},     {"count", required_argument, NULL, 'c'},
        {"jobs", required_argument, NULL, 'j'},     {"nodes", required_argument, NULL, 'n'},
        {"apps", required_argument, NULL, 'a'},     {"chaos-ms", required_argument, NULL, 'm'},
        {"verbose", no_argument, NULL, 'v'},        {"find-bugs", no_argument, NULL, 'f'},
        {"list", required_argument, NULL, 'l'},
        {"twice", no_argument, NULL, 't'},          {"bug", required_argument, NULL, 'b'},
        {NULL, 0, NULL, 0},
    };
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        uint64_t number = optarg ? strtoull(optarg, NULL, 0) : 0;
        switch (c) {
        case 's': o->cfg.seed = number; break;
        case 'c': o->count = number; break;
        case 'j': o->jobs = (uint32_t)number; break;
        case 'n': o->cfg.hosts = (uint32_t)number; o->sized = true; break;
        case 'a': o->cfg.apps = (uint32_t)number; o->sized = true; break;
        case 'm': o->cfg.chaos_ms = (uint32_t)number; o->sized = true; break;
        case 'v': o->cfg.verbose = true; break;
        case 'f': o->find = true; break;
        case 't': o->twice = true; break;
        case 'b': o->bug = optarg; break;
        case 'l': o->list = optarg; break;
        default: return false;
        }
    }
    return optind == argc && o->cfg.hosts >= 1 && o->cfg.hosts <= 1000 && o->cfg.apps <= 2000 && o->cfg.apps > 0;
}

/* A large world's nodes take gigabytes and are looked up all over: with huge pages a tenth less time goes by. The C
 * library reads this before main. */
static void ask_for_huge_pages(char **argv)
{
    if (!getenv("GLIBC_TUNABLES") && !setenv("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1", 1))
        execv("/proc/self/exe", argv);
}

int main(int argc, char **argv)
{
    ask_for_huge_pages(argv);
    struct options o = {
        .cfg = {.seed = 1, .hosts = 50, .apps = 200, .chaos_ms = 60000}, .count = 1, .jobs = 1};
    if (!parse(argc, argv, &o))
        return usage();
    mallopt(M_TRIM_THRESHOLD, 1 << 30); /* daemons come and go: the kernel need not clear the same pages again */
    mallopt(M_MMAP_THRESHOLD, 1 << 24);
    for (int i = 0; o.bug && i < BUG_COUNT; i++)
        if (strcmp(o.bug, bugs[i].name) == 0)
            o.cfg.bugs = bugs[i].bit;
    if (o.bug && !o.cfg.bugs)
        return usage();
    return o.list ? run_list(&o) : o.find ? find_bugs(&o) : o.twice ? run_twice(&o) : run_seeds(&o);
}
