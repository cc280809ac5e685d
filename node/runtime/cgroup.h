/* A control group a run: what it may take of memory, of the processor where guests compete, and of processes. Version 2
 * where its controllers are, in a folder of ours at its root; version 1 below where mesh-priv is, which is bounded
 * already. A group that a crash leaves behind is found by its name, which is its run's. Needs root. */
#ifndef UNIMESH_NODE_RUNTIME_CGROUP_H
#define UNIMESH_NODE_RUNTIME_CGROUP_H

#include "store/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CGROUP_TREES = 3, CGROUP_NAME = 32 };
enum { CGROUP_MEMORY = 1, CGROUP_CPU = 2, CGROUP_PIDS = 4, CGROUP_ALL = 7 }; /* bits */

struct cgroups {
    unsigned has; /* CGROUP_…, of all trees */
    uint32_t count;
    char name[CGROUP_NAME];
    struct {
        int fd;     /* our folder in it */
        int parent; /* what that is in */
        unsigned has;
        bool v2;
    } tree[CGROUP_TREES];
};

struct cgroup_limits {
    uint64_t memory_bytes;
    uint32_t processes;
};

/* What this host has; `name` is our folder's. `lack` gets what it lacks, for people; "" if nothing. */
void cgroups_open(struct cgroups *c, const char *name, char *lack, size_t size);

/* Our folders go, where no guest is in them. */
void cgroups_close(struct cgroups *c);

/* Make a run's. fds: a file each, to which who goes in writes "0", as many as *count; oom_fd: the file for
 * cgroup_oom_kills, or -1. The caller closes them. On error there is none, and `why`. */
enum err cgroup_make(struct cgroups *c, const char *run, const struct cgroup_limits *l, int fds[static CGROUP_TREES],
                     uint32_t *count, int *oom_fd, char *why, size_t why_size) MUST_USE;

/* ERR_BUSY: somebody is in it still. There is none: ERR_OK. */
enum err cgroup_remove(const struct cgroups *c, const char *run) MUST_USE;

/* Remove those of runs that are not there any more. */
void cgroups_sweep(const struct cgroups *c, bool (*there)(void *ctx, const char *run), void *ctx);

#endif
