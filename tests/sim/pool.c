#include "tests/sim/pool.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { JOBS_MAX = 64 };

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
    fprintf(stderr, "again: scripts/sim --seed %llu --nodes %u --apps %u --chaos-ms %u\n",
            (unsigned long long)cfg->seed, cfg->hosts, cfg->apps, cfg->chaos_ms);
}

struct outcome pool_one(const struct scenario_config *cfg, bool quiet)
{
    struct outcome o = {.seed = cfg->seed};
    double from = now();
    struct world *w = scenario_run(cfg);
    o.seconds = now() - from;
    o.failed = w->failed;
    o.failed_ms = w->now;
    o.trace_hash = w->trace_hash;
    o.total = w->total;
    memcpy(o.failure, w->failure, sizeof o.failure);
    if (w->failed && !quiet)
        print_failure(w, cfg);
    world_free(w);
    return o;
}

struct job {
    pid_t pid; /* 0: free */
    uint64_t seed;
};

static void child(const struct scenario_config *cfg, uint64_t seed, bool quiet, struct outcome *out)
{
    struct scenario_config mine = *cfg;
    char *text = NULL;
    size_t len = 0;
    FILE *real = stderr;
    mine.seed = seed;
    if (!mine.verbose) /* in one piece, so that two runs' words don't mix */
        stderr = open_memstream(&text, &len);
    if (!stderr)
        stderr = real;
    *out = pool_one(&mine, quiet);
    if (stderr != real) {
        fclose(stderr);
        for (size_t at = 0; at < len;) {
            ssize_t n = write(STDERR_FILENO, text + at, len - at);
            if (n <= 0)
                break;
            at += (size_t)n;
        }
    }
    _exit(0);
}

static void crashed(struct outcome *o, uint64_t seed, int status)
{
    *o = (struct outcome){.seed = seed, .failed = true};
    if (WIFSIGNALED(status))
        snprintf(o->failure, sizeof o->failure, "the run was ended by signal %d", WTERMSIG(status));
    else
        snprintf(o->failure, sizeof o->failure, "the run ended with status %d", WEXITSTATUS(status));
}

/* Waits for one to end; its place in jobs. */
static uint32_t reap(struct job *jobs, uint32_t count, struct outcome *outcomes)
{
    for (;;) {
        int status;
        pid_t pid = waitpid(-1, &status, 0);
        CHECK(pid > 0);
        for (uint32_t i = 0; i < count; i++) {
            if (jobs[i].pid != pid)
                continue;
            if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
                crashed(&outcomes[i], jobs[i].seed, status);
            jobs[i].pid = 0;
            return i;
        }
    }
}

static void in_turn(const struct scenario_config *cfg, uint64_t count, bool quiet,
                    bool (*done)(void *ctx, const struct outcome *o), void *ctx)
{
    struct scenario_config mine = *cfg;
    for (uint64_t i = 0; i < count; i++, mine.seed++) {
        const struct outcome o = pool_one(&mine, quiet);
        if (!done(ctx, &o))
            return;
    }
}

void pool_run(const struct scenario_config *cfg, uint64_t count, uint32_t jobs_max, bool quiet,
              bool (*done)(void *ctx, const struct outcome *o), void *ctx)
{
    struct job jobs[JOBS_MAX] = {{0}};
    uint32_t jobs_count = jobs_max < JOBS_MAX ? jobs_max : JOBS_MAX, running = 0;
    uint64_t next = 0;
    if (jobs_count <= 1) {
        in_turn(cfg, count, quiet, done, ctx);
        return;
    }
    size_t size = jobs_count * sizeof(struct outcome);
    struct outcome *outcomes = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(outcomes != MAP_FAILED);
    fflush(NULL);
    bool going = true;
    while (running > 0 || (going && next < count)) {
        for (uint32_t i = 0; going && i < jobs_count && next < count; i++) {
            if (jobs[i].pid)
                continue;
            jobs[i].seed = cfg->seed + next++;
            jobs[i].pid = fork();
            CHECK(jobs[i].pid >= 0);
            if (jobs[i].pid == 0)
                child(cfg, jobs[i].seed, quiet, &outcomes[i]);
            running++;
        }
        uint32_t i = reap(jobs, jobs_count, outcomes);
        running--;
        if (going && !done(ctx, &outcomes[i])) {
            going = false;
            for (uint32_t j = 0; j < jobs_count; j++)
                if (jobs[j].pid)
                    kill(jobs[j].pid, SIGKILL);
        }
    }
    munmap(outcomes, size);
}
