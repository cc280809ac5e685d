/* What was in the run folder before us: whose it is, and which runs are alive. It happens before the loop turns, so
 * it waits by itself; all shims are asked at once. */
#define _GNU_SOURCE
#include "node/runtime/runtime_internal.h"
#include "store/disk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { STEP_MS = 10, ANSWER_MS = 3000, FRESH_S = 20, KILL_MS = 2000 };

static enum err folder_read(struct runtime *rt)
{
    struct unit_id id;
    struct dirent *entry;
    int fd = openat(rt->units_fd, ".", O_DIRECTORY | O_RDONLY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    enum err err = ERR_OK;
    if (dir == NULL)
        return disk_err(errno);
    while (!err && (entry = readdir(dir)) != NULL) {
        if (unit_name_parse(entry->d_name, &id) != ERR_OK)
            continue;
        struct run *r = run_new(rt, &id);
        if (r != NULL)
            r->untold = true;
        else
            err = ERR_NOMEM;
    }
    (void)closedir(dir);
    return err;
}

/* Its folder is young, so its shim may not have come to listening yet. */
static bool fresh(const struct run *r)
{
    char name[UNIT_NAME_SIZE];
    struct stat st;
    struct timespec now;
    unit_name(&r->id, name);
    clock_gettime(CLOCK_REALTIME, &now);
    return fstatat(r->rt->units_fd, name, &st, 0) == 0 && now.tv_sec - st.st_mtim.tv_sec < FRESH_S;
}

/* One look at a run that isn't decided: connect, or hear. */
static void look(struct run *r, bool last)
{
    if (r->link == NULL) {
        enum err err = shim_connect(r);
        if (!err)
            shim_say(r, SHIM_ASK, 0);
        else if (err == ERR_CLOSED || last || (err == ERR_NOT_FOUND && !fresh(r)))
            shim_end(r);
        return;
    }
    enum err err = shim_hear(r);
    if (err == ERR_CLOSED || (!err && !shim_verified(r))) {
        shim_unlink(r);
        shim_end(r);
    } else if (!err) {
        r->phase = PHASE_UP;
        r->target = (enum target)r->status.target;
    }
}

static unsigned undecided(const struct runtime *rt)
{
    unsigned n = 0;
    for (const struct run *r = rt->runs; r != NULL; r = r->next)
        n += r->phase == PHASE_ASKED;
    return n;
}

static void pause_ms(int ms)
{
    (void)poll(NULL, 0, ms);
}

static void decide(struct runtime *rt)
{
    uint64_t limit = boottime_ms() + ANSWER_MS;
    for (bool last = false; undecided(rt) > 0 && !last;) {
        last = boottime_ms() >= limit;
        for (struct run *r = rt->runs; r != NULL; r = r->next)
            if (r->phase == PHASE_ASKED)
                look(r, last);
        if (undecided(rt) > 0 && !last)
            pause_ms(STEP_MS);
    }
    /* What accepts a connection and says nothing is alive, but hangs: it is killed, and its end comes by the loop. */
    for (struct run *r = rt->runs; r != NULL; r = r->next)
        if (r->phase == PHASE_ASKED) {
            struct priv_request kill_it = {.verb = PRIV_KILL, .unit = r->id};
            r->phase = PHASE_UP;
            if (shim_wrote(r, &r->status))
                r->target = (enum target)r->status.target;
            helper_call(rt, &kill_it);
        }
}

/* Stop what is alive, and wait for it. */
static void stop_all(struct runtime *rt)
{
    uint64_t limit = boottime_ms() + rt->cfg.stop_grace_ms + KILL_MS;
    bool alive = true;
    for (struct run *r = rt->runs; r != NULL; r = r->next)
        if (r->phase == PHASE_UP)
            shim_say(r, SHIM_STOP, rt->cfg.stop_grace_ms);
    while (alive) {
        alive = false;
        for (struct run *r = rt->runs; r != NULL; r = r->next) {
            if (r->phase == PHASE_UP && shim_hear(r) == ERR_CLOSED)
                r->phase = PHASE_OVER;
            alive = alive || r->phase == PHASE_UP;
        }
        if (boottime_ms() >= limit)
            for (struct run *r = rt->runs; r != NULL; r = r->next)
                if (r->phase == PHASE_UP && r->link->peer != 0)
                    (void)kill((pid_t)r->link->peer, SIGKILL);
        if (alive && boottime_ms() >= limit + KILL_MS)
            return; /* not even that: its folder stays */
        if (alive)
            pause_ms(STEP_MS);
    }
}

static void stop_strangers(struct runtime *rt, const char *owner)
{
    unsigned alive = 0;
    for (const struct run *r = rt->runs; r != NULL; r = r->next)
        alive += r->phase == PHASE_UP;
    stop_all(rt);
    for (struct run *r = rt->runs, *next; r != NULL; r = next) {
        struct priv_request remove = {.verb = PRIV_REMOVE, .unit = r->id};
        next = r->next;
        helper_call(rt, &remove);
        run_free(r);
    }
    if (alive > 0)
        (void)snprintf(rt->strangers, sizeof rt->strangers,
                       "stopped %u guest%s of node %.16s, which had this run folder", alive, alive == 1 ? "" : "s",
                       owner);
}

/* RUN/owner: locked for our life, so that two nodes don't adopt each other's guests. */
static enum err owner_open(struct runtime *rt, char owner[static NODE_ID_TEXT], char *why, size_t why_size)
{
    char path[RUN_PATH + 16];
    (void)snprintf(path, sizeof path, "%s/owner", rt->run_dir);
    rt->owner_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (rt->owner_fd < 0) {
        (void)snprintf(why, why_size, "%s can't be opened: %s", path, strerror(errno));
        return disk_err(errno);
    }
    if (flock(rt->owner_fd, LOCK_EX | LOCK_NB) < 0) {
        (void)snprintf(why, why_size, "another node uses the run folder %s: give this one its own (--run)",
                       rt->run_dir);
        return ERR_BUSY;
    }
    ssize_t n = pread(rt->owner_fd, owner, NODE_ID_TEXT - 1, 0);
    owner[n > 0 ? n : 0] = '\0';
    return ERR_OK;
}

enum err scan(struct runtime *rt, char *why, size_t why_size)
{
    char owner[NODE_ID_TEXT] = "", ours[NODE_ID_TEXT], path[RUN_PATH + 16];
    enum err err = owner_open(rt, owner, why, why_size);
    if (err)
        return err;
    (void)snprintf(path, sizeof path, "%s/units", rt->run_dir);
    if (mkdir(path, 0700) == 0 || errno == EEXIST)
        rt->units_fd = open(path, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
    err = rt->units_fd < 0 ? disk_err(errno) : folder_read(rt);
    if (err) {
        (void)snprintf(why, why_size, "%s can't be read: %s", path, err_text(err));
        return err;
    }
    decide(rt);
    node_id_text(rt->cfg.node, ours);
    if (owner[0] != '\0' && strcmp(owner, ours) != 0)
        stop_strangers(rt, owner);
    if (strcmp(owner, ours) != 0 && (pwrite(rt->owner_fd, ours, NODE_ID_TEXT - 1, 0) != NODE_ID_TEXT - 1 ||
                                     ftruncate(rt->owner_fd, NODE_ID_TEXT - 1) < 0)) {
        (void)snprintf(why, why_size, "%s/owner can't be written: %s", rt->run_dir, strerror(errno));
        return disk_err(errno);
    }
    return ERR_OK;
}
