#include "tests/sim/pool.h"

#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
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

/* A process that runs one seed after another; so its memory, once taken from the kernel, serves many worlds. */
struct worker {
    pid_t pid; /* 0: there is none */
    int fd;    /* takes a seed, gives its outcome */
    uint64_t seed;
    bool busy;
};

/* In one piece, so that the words of two runs don't mix. */
static struct outcome run_and_tell(const struct scenario_config *cfg, bool quiet)
{
    char *text = NULL;
    size_t len = 0;
    FILE *real = stderr, *kept = cfg->verbose ? NULL : open_memstream(&text, &len);
    stderr = kept ? kept : real;
    const struct outcome o = pool_one(cfg, quiet);
    stderr = real;
    if (!kept)
        return o;
    fclose(kept);
    for (size_t at = 0; at < len;) {
        ssize_t n = write(STDERR_FILENO, text + at, len - at);
        if (n <= 0)
            break;
        at += (size_t)n;
    }
    free(text);
    return o;
}

static void work(const struct scenario_config *cfg, bool quiet, int fd)
{
    struct scenario_config mine = *cfg;
    while (recv(fd, &mine.seed, sizeof mine.seed, 0) == sizeof mine.seed) {
        const struct outcome o = run_and_tell(&mine, quiet);
        if (send(fd, &o, sizeof o, MSG_NOSIGNAL) != sizeof o)
            break;
    }
    _exit(0);
}

static void worker_start(struct worker *w, const struct scenario_config *cfg, bool quiet)
{
    int ends[2];
    CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0);
    w->pid = fork();
    CHECK(w->pid >= 0);
    if (w->pid == 0) {
        close(ends[0]);
        work(cfg, quiet, ends[1]);
    }
    close(ends[1]);
    w->fd = ends[0];
}

/* Its status, as waitpid gives it. */
static int worker_end(struct worker *w)
{
    int status = 0;
    shutdown(w->fd, SHUT_RDWR); /* closing alone ends nothing: those started later hold it too */
    close(w->fd);
    CHECK(waitpid(w->pid, &status, 0) == w->pid);
    *w = (struct worker){0};
    return status;
}

static struct outcome crashed(uint64_t seed, int status)
{
    struct outcome o = {.seed = seed, .failed = true};
    if (WIFSIGNALED(status))
        snprintf(o.failure, sizeof o.failure, "the run was ended by signal %d", WTERMSIG(status));
    else
        snprintf(o.failure, sizeof o.failure, "the run ended with status %d", WEXITSTATUS(status));
    return o;
}

/* Waits for one to be done. */
static struct outcome outcome_next(struct worker *workers, uint32_t count)
{
    struct pollfd polls[JOBS_MAX];
    for (uint32_t i = 0; i < count; i++)
        polls[i] = (struct pollfd){.fd = workers[i].busy ? workers[i].fd : -1, .events = POLLIN};
    CHECK(poll(polls, count, -1) > 0);
    uint32_t at = 0;
    while (!polls[at].revents)
        at++;
    struct worker *w = &workers[at];
    struct outcome o;
    w->busy = false;
    if (recv(w->fd, &o, sizeof o, 0) == sizeof o)
        return o;
    uint64_t seed = w->seed; /* it died of this one; another process takes the next */
    return crashed(seed, worker_end(w));
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
    struct worker workers[JOBS_MAX] = {{0}};
    uint32_t jobs = jobs_max < JOBS_MAX ? jobs_max : JOBS_MAX, busy = 0;
    uint64_t next = 0;
    if (jobs <= 1) {
        in_turn(cfg, count, quiet, done, ctx);
        return;
    }
    fflush(NULL);
    for (bool going = true; going && (busy > 0 || next < count);) {
        for (uint32_t i = 0; i < jobs && next < count; i++) {
            struct worker *w = &workers[i];
            if (w->busy)
                continue;
            if (!w->pid)
                worker_start(w, cfg, quiet);
            w->seed = cfg->seed + next++;
            w->busy = send(w->fd, &w->seed, sizeof w->seed, MSG_NOSIGNAL) == sizeof w->seed;
            CHECK(w->busy);
            busy++;
        }
        const struct outcome o = outcome_next(workers, jobs);
        busy--;
        going = done(ctx, &o);
    }
    for (uint32_t i = 0; i < jobs; i++) {
        if (workers[i].busy)
            kill(workers[i].pid, SIGKILL);
        if (workers[i].pid)
            (void)worker_end(&workers[i]);
    }
}
