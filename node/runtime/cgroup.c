#define _GNU_SOURCE
#include "node/runtime/cgroup.h"

#include "node/runtime/fault.h"
#include "node/runtime/unit_name.h"
#include "store/disk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH_BYTES = 4096, LINE_BYTES = 8192, KINDS = 3 };

static const char *const controllers[KINDS] = {"memory", "cpu", "pids"}; /* by their bits */

/* Is `word` one of these, which are parted by one of `parts`? */
static bool listed(const char *list, const char *word, const char *parts)
{
    size_t len = strlen(word);
    for (const char *p = list; *p != '\0'; p += strspn(p, parts)) {
        size_t n = strcspn(p, parts);
        if (n == len && strncmp(p, word, len) == 0)
            return true;
        p += n;
    }
    return false;
}

static unsigned kinds_in(const char *list, const char *parts)
{
    unsigned has = 0;
    for (unsigned k = 0; k < KINDS; k++)
        if (listed(list, controllers[k], parts))
            has |= 1u << k;
    return has;
}

static bool file_write(int dir, const char *name, const char *text)
{
    int fd = openat(dir, name, O_WRONLY | O_CLOEXEC);
    bool ok = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    if (fd >= 0)
        close(fd);
    return ok;
}

static bool file_read(int dir, const char *name, char *out, size_t size)
{
    int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, out, size - 1);
    if (fd >= 0)
        close(fd);
    out[n > 0 ? n : 0] = '\0';
    return n >= 0;
}

/* ---- where they are ----------------------------------------------------------------------------- */

/* A line of /proc/self/mountinfo: 36 35 98:0 ROOT POINT OPTIONS … - TYPE SOURCE SUPER */
struct mount {
    char root[PATH_BYTES], point[PATH_BYTES], type[32], super[512];
};

static bool mount_parse(const char *line, struct mount *m)
{
    const char *dash = strstr(line, " - ");
    return dash != NULL && sscanf(line, "%*s %*s %*s %4095s %4095s", m->root, m->point) == 2 &&
           sscanf(dash, " - %31s %*s %511s", m->type, m->super) == 2;
}

/* Where this process is, of that version 1 hierarchy. */
static bool own_path(unsigned kind, char out[static PATH_BYTES])
{
    char line[LINE_BYTES], list[256];
    FILE *f = fopen("/proc/self/cgroup", "re");
    bool found = false;
    while (f != NULL && !found && fgets(line, sizeof line, f) != NULL)
        found = sscanf(line, "%*u:%255[^:]:%4095[^\n]", list, out) == 2 && listed(list, controllers[kind], ",");
    if (f != NULL)
        (void)fclose(f);
    return found;
}

static void tree_add(struct cgroups *c, const char *base, const char *name, unsigned has, bool v2)
{
    int parent = open(base, O_DIRECTORY | O_RDONLY | O_CLOEXEC), fd = -1;
    if (parent < 0)
        return;
    if (mkdirat(parent, name, 0755) == 0 || errno == EEXIST)
        fd = openat(parent, name, O_DIRECTORY | O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) {
        close(parent);
        return;
    }
    c->tree[c->count].fd = fd;
    c->tree[c->count].parent = parent;
    c->tree[c->count].has = has;
    c->tree[c->count++].v2 = v2;
    c->has |= has;
}

/* The controllers that children of this folder can have, asked for. */
static unsigned v2_enable(int dir)
{
    char list[512], word[16];
    unsigned has = file_read(dir, "cgroup.controllers", list, sizeof list) ? kinds_in(list, " \n") : 0;
    for (unsigned k = 0; k < KINDS; k++) {
        (void)snprintf(word, sizeof word, "+%s", controllers[k]);
        if ((has & 1u << k) != 0 && !file_write(dir, "cgroup.subtree_control", word))
            has &= ~(1u << k);
    }
    return has;
}

/* At its root, beside systemd's slices: whatever a service's own group holds must go before the service can start
 * again, and guests outlive us. */
static void v2_open(struct cgroups *c, const struct mount *m, const char *name)
{
    int root = open(m->point, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
    unsigned has = root < 0 ? 0 : v2_enable(root) & ~c->has;
    if (root >= 0)
        close(root);
    if (has == 0 || c->count == CGROUP_TREES)
        return;
    tree_add(c, m->point, name, has, true);
    if ((c->has & has) == has)
        (void)v2_enable(c->tree[c->count - 1].fd);
}

static void v1_open(struct cgroups *c, const struct mount *m, const char *name)
{
    char own[PATH_BYTES], base[2 * PATH_BYTES];
    unsigned has = kinds_in(m->super, ",") & ~c->has;
    if (has == 0 || c->count == CGROUP_TREES)
        return;
    unsigned kind = (has & 1u) != 0 ? 0 : (has & 2u) != 0 ? 1 : 2;
    if (!own_path(kind, own))
        return;
    size_t root = strcmp(m->root, "/") == 0 ? 0 : strlen(m->root);
    const char *below = strncmp(own, m->root, root) == 0 ? own + root : ""; /* the mount may show a part of it only */
    (void)snprintf(base, sizeof base, "%s%s", m->point, below);
    tree_add(c, base, name, has, false);
}

void cgroups_open(struct cgroups *c, const char *name, char *lack, size_t size)
{
    static struct mount m;
    static char line[LINE_BYTES];
    size_t at = 0;
    *c = (struct cgroups){.has = 0};
    (void)snprintf(c->name, sizeof c->name, "%s", name);
    FILE *f = fopen("/proc/self/mountinfo", "re");
    while (f != NULL && fgets(line, sizeof line, f) != NULL) {
        if (mount_parse(line, &m) && strcmp(m.type, "cgroup2") == 0)
            v2_open(c, &m, name);
        else if (strcmp(m.type, "cgroup") == 0)
            v1_open(c, &m, name);
    }
    if (f != NULL)
        (void)fclose(f);
    lack[0] = '\0';
    for (unsigned k = 0; k < KINDS; k++)
        if ((c->has & 1u << k) == 0 && at < size)
            at += (size_t)snprintf(lack + at, size - at, "%s%s", at > 0 ? ", " : "no control groups for ",
                                   controllers[k]);
}

void cgroups_close(struct cgroups *c)
{
    while (c->count > 0) {
        close(c->tree[--c->count].fd);
        (void)unlinkat(c->tree[c->count].parent, c->name, AT_REMOVEDIR);
        close(c->tree[c->count].parent);
    }
}

/* ---- a run's ------------------------------------------------------------------------------------ */

static bool number_write(int dir, const char *file, uint64_t value)
{
    char text[24];
    (void)snprintf(text, sizeof text, "%llu", (unsigned long long)value);
    return file_write(dir, file, text);
}

/* Each guest has the same weight where they compete. Swap would only hide that a guest takes more than it has. */
static bool limits_set(int dir, unsigned has, bool v2, const struct cgroup_limits *l)
{
    bool ok = true;
    if ((has & CGROUP_MEMORY) != 0 && v2) {
        ok = number_write(dir, "memory.max", l->memory_bytes);
        (void)file_write(dir, "memory.swap.max", "0");
        (void)file_write(dir, "memory.oom.group", "1");
    } else if ((has & CGROUP_MEMORY) != 0) {
        ok = number_write(dir, "memory.limit_in_bytes", l->memory_bytes);
        (void)number_write(dir, "memory.memsw.limit_in_bytes", l->memory_bytes);
    }
    if ((has & CGROUP_CPU) != 0)
        (void)(v2 ? file_write(dir, "cpu.weight", "100") : file_write(dir, "cpu.shares", "1024"));
    if ((has & CGROUP_PIDS) != 0)
        ok = number_write(dir, "pids.max", l->processes) && ok;
    return ok;
}

static bool run_make(const struct cgroups *c, uint32_t i, const char *run, const struct cgroup_limits *l, int *procs,
                     int *oom_fd)
{
    if (mkdirat(c->tree[i].fd, run, 0755) < 0 && /* another's of that name, with its limits: it is empty, or we fail */
        (errno != EEXIST || unlinkat(c->tree[i].fd, run, AT_REMOVEDIR) < 0 || mkdirat(c->tree[i].fd, run, 0755) < 0))
        return false;
    int dir = openat(c->tree[i].fd, run, O_DIRECTORY | O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (dir < 0)
        return false;
    fault_point("priv.group-made");
    bool ok = limits_set(dir, c->tree[i].has, c->tree[i].v2, l);
    /* Version 1 lets a thread move itself without waiting for all processors (tens of milliseconds on a busy host), and
     * who goes in has one. */
    *procs = ok ? openat(dir, c->tree[i].v2 ? "cgroup.procs" : "tasks", O_WRONLY | O_CLOEXEC) : -1;
    if (ok && (c->tree[i].has & CGROUP_MEMORY) != 0)
        *oom_fd = openat(dir, c->tree[i].v2 ? "memory.events" : "memory.oom_control", O_RDONLY | O_CLOEXEC);
    int error = errno;
    close(dir);
    errno = error;
    return *procs >= 0;
}

enum err cgroup_make(struct cgroups *c, const char *run, const struct cgroup_limits *l, int fds[static CGROUP_TREES],
                     uint32_t *count, int *oom_fd, char *why, size_t why_size)
{
    *oom_fd = -1;
    for (*count = 0; *count < c->count; ++*count)
        if (!run_make(c, *count, run, l, &fds[*count], oom_fd)) {
            enum err err = disk_err(errno);
            (void)snprintf(why, why_size, "its control group: %s", strerror(errno));
            while (*count > 0)
                close(fds[--*count]);
            if (*oom_fd >= 0)
                close(*oom_fd);
            *oom_fd = -1;
            (void)!cgroup_remove(c, run);
            return err;
        }
    return ERR_OK;
}

enum err cgroup_remove(const struct cgroups *c, const char *run)
{
    enum err err = ERR_OK;
    for (uint32_t i = 0; i < c->count; i++)
        if (unlinkat(c->tree[i].fd, run, AT_REMOVEDIR) < 0 && errno != ENOENT && errno != ENOTDIR)
            err = errno == EBUSY ? ERR_BUSY : disk_err(errno);
    return err;
}

void cgroups_sweep(const struct cgroups *c, bool (*there)(void *ctx, const char *run), void *ctx)
{
    for (uint32_t i = 0; i < c->count; i++) {
        int fd = openat(c->tree[i].fd, ".", O_DIRECTORY | O_RDONLY | O_CLOEXEC);
        DIR *dir = fd < 0 ? NULL : fdopendir(fd);
        struct unit_id unit;
        if (dir == NULL && fd >= 0)
            close(fd);
        for (const struct dirent *d; dir != NULL && (d = readdir(dir)) != NULL;)
            if (unit_name_parse(d->d_name, &unit) == ERR_OK && !there(ctx, d->d_name))
                (void)unlinkat(c->tree[i].fd, d->d_name, AT_REMOVEDIR); /* in use still: the next look */
        if (dir != NULL)
            (void)closedir(dir);
    }
}
