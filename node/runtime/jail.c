#define _GNU_SOURCE
#include "node/runtime/jail.h"

#include "store/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    LOOK_MS = 5000,
    HIGH_FD = 512, /* above all that mesh-priv has open */
    FILES_SOLO5 = 64,
    PROCS_SOLO5 = 16,
    FILES_QEMU = 1024,
    PROCS_QEMU = 128
};

extern char **environ;

/* ---- looking ------------------------------------------------------------------------------------ */

static const struct {
    unsigned bit;
    const char *lack;
} lacks[] = {
    {JAIL_CAN_UIDS, "guests share a user: uids can't be changed"},
    {JAIL_CAN_ROOT, "guests see the host's files: no mount namespaces"},
    {JAIL_CAN_NODES, "guests get no devices: device files can't be made or used"},
    {JAIL_CAN_PIDS, "guests see the host's processes: no pid namespaces"},
    {JAIL_CAN_NET, "guests share the host's network: no network namespaces"},
    {JAIL_CAN_IPC, "guests share the host's IPC: no IPC or UTS namespaces"},
    {JAIL_CAN_FILTER, "no filter of system calls: no seccomp"},
    {JAIL_CAN_LANDLOCK, "no Landlock in this kernel"},
};

__attribute__((format(printf, 2, 3))) static void say(struct jail_facts *f, const char *format, ...)
{
    size_t at = strlen(f->text);
    va_list args;
    if (at > 0 && at + 1 < sizeof f->text)
        f->text[at++] = '\n';
    va_start(args, format);
    (void)vsnprintf(f->text + at, sizeof f->text - at, format, args);
    va_end(args);
}

/* What mesh-jail prints; -1: nothing that can be used. */
static long look_run(const char *program, const char *root, int *error)
{
    char text[32] = "", *argv[] = {(char *)(size_t)program, (char *)(size_t) "look", (char *)(size_t)root, NULL};
    posix_spawn_file_actions_t actions;
    int out[2];
    pid_t pid;
    *error = pipe2(out, O_CLOEXEC) < 0 ? errno : 0;
    if (*error)
        return -1;
    (void)posix_spawn_file_actions_init(&actions);
    (void)posix_spawn_file_actions_adddup2(&actions, out[1], STDOUT_FILENO);
    *error = posix_spawn(&pid, program, &actions, NULL, argv, environ);
    (void)posix_spawn_file_actions_destroy(&actions);
    close(out[1]);
    struct pollfd p = {out[0], POLLIN, 0};
    ssize_t n = *error == 0 && poll(&p, 1, LOOK_MS) > 0 ? read(out[0], text, sizeof text - 1) : 0;
    close(out[0]);
    if (*error == 0)
        (void)waitpid(pid, NULL, n > 0 ? 0 : WNOHANG); /* one that hangs is left behind */
    if (n <= 0)
        return -1;
    text[n] = '\0';
    return strtol(text, NULL, 10);
}

enum err jail_look(const struct jail_config *cfg, const char *program, const char *root, struct jail_facts *out,
                   char *why, size_t why_size)
{
    int error = 0;
    *out = (struct jail_facts){.can = 0};
    if (cfg->off || geteuid() != 0) {
        say(out, "%s",
            cfg->off ? "none: it was turned off, so guests run as mesh-priv does"
                     : "none: mesh-priv is not root, so guests run as its user and see its files");
        return ERR_OK;
    }
    long can = look_run(program, root, &error);
    if (can < 0) {
        (void)snprintf(why, why_size, "%.120s can't be run: %s", program, error ? strerror(error) : "it says nothing");
        return error ? disk_err(error) : ERR_IO;
    }
    out->can = (unsigned)can & JAIL_CAN_ALL;
    if ((out->can & JAIL_CAN_UIDS) == 0)
        out->can = 0; /* the rest holds nobody who is root */
    if ((out->can & JAIL_CAN_NODES) == 0)
        out->can &= ~(unsigned)JAIL_CAN_ROOT; /* a root without /dev/kvm and taps would be of no use */
    for (size_t i = 0; i < sizeof lacks / sizeof lacks[0]; i++)
        if ((out->can & lacks[i].bit) == 0)
            say(out, "%s", lacks[i].lack);
    return ERR_OK;
}

/* ---- what is put into it ------------------------------------------------------------------------ */

void jail_init(struct jail *j, const struct jail_facts *facts, uint32_t uid)
{
    *j = (struct jail){.can = facts->can, .uid = facts->can != 0 ? uid : 0};
}

void jail_release(struct jail *j)
{
    while (j->count-- > 0)
        if (j->files[j->count].fd >= 0)
            close(j->files[j->count].fd);
    j->count = 0;
}

static enum err add(struct jail *j, int fd, enum jail_use use, enum jail_access access, const char *name)
{
    if (j->count == JAIL_FILES || strlen(name) >= JAIL_NAME) {
        if (fd >= 0)
            close(fd);
        return ERR_FULL;
    }
    j->files[j->count].fd = fd;
    j->files[j->count].use = use;
    j->files[j->count].access = access;
    memcpy(j->files[j->count].name, name, strlen(name) + 1);
    j->count++;
    return ERR_OK;
}

static bool rooted(const struct jail *j)
{
    return (j->can & JAIL_CAN_ROOT) != 0;
}

enum err jail_file_add(struct jail *j, int fd, const char *name, enum jail_access access, char *path, size_t size)
{
    if (rooted(j))
        (void)snprintf(path, size, "/%s", name);
    else
        (void)snprintf(path, size, "/dev/fd/%u", (unsigned)JAIL_FD + j->count);
    /* Its group stays, and may do what it could: that is meshd's. */
    if (access == JAIL_WRITE && j->uid != 0 && (fchown(fd, j->uid, (gid_t)-1) < 0 || fchmod(fd, 0660) < 0)) {
        enum err err = disk_err(errno);
        close(fd);
        return err;
    }
    return add(j, fd, rooted(j) ? JAIL_USE_FILE : JAIL_USE_KEEP, access, name);
}

enum err jail_keep(struct jail *j, int *number)
{
    *number = JAIL_FD + (int)j->count;
    return add(j, -1, JAIL_USE_KEEP, JAIL_READ, "");
}

enum err jail_group(struct jail *j, int *number)
{
    *number = JAIL_FD + (int)j->count;
    return add(j, -1, JAIL_USE_GROUP, JAIL_READ, "");
}

void jail_fill(struct jail *j, int number, int fd)
{
    j->files[number - JAIL_FD].fd = fd;
}

/* ---- the words ---------------------------------------------------------------------------------- */

__attribute__((format(printf, 2, 3))) static void word(struct jail *j, const char *format, ...)
{
    size_t left = sizeof j->text - j->used;
    va_list args;
    va_start(args, format);
    int n = vsnprintf(j->text + j->used, left, format, args);
    va_end(args);
    if (n < 0 || (size_t)n >= left || j->words == JAIL_WORDS) {
        j->words = JAIL_WORDS + 1; /* jail_plan sees it */
        return;
    }
    j->word[j->words++] = j->text + j->used;
    j->used += (size_t)n + 1;
}

/* QEMU's firmware and modules, wherever it was installed; the loader's libraries. */
static void trees(struct jail *j, enum target t)
{
    static const char *const libraries[] = {"/usr/lib", "/usr/lib64", "/usr/lib32",      "/usr/local/lib",
                                            "/lib",     "/lib64",     "/etc/ld.so.cache"};
    static const char *const qemu[] = {"/usr/share/qemu", "/usr/share/seabios", "/usr/local/share/qemu"};
    for (size_t i = 0; i < sizeof libraries / sizeof libraries[0]; i++)
        word(j, "tree=%s", libraries[i]);
    for (size_t i = 0; t == TARGET_VIRTIO && i < sizeof qemu / sizeof qemu[0]; i++)
        word(j, "tree=%s", qemu[i]);
}

static void uses(struct jail *j)
{
    static const char access[] = {[JAIL_READ] = 'r', [JAIL_RUN] = 'x', [JAIL_WRITE] = 'w'};
    for (uint32_t i = 0; i < j->count; i++) {
        unsigned fd = (unsigned)JAIL_FD + i;
        switch (j->files[i].use) {
        case JAIL_USE_FILE:
            word(j, "file=%u:%c:%s", fd, access[j->files[i].access], j->files[i].name);
            if (j->files[i].access == JAIL_WRITE)
                word(j, "keep=%u", fd);
            break;
        case JAIL_USE_KEEP:
            word(j, "keep=%u", fd);
            break;
        case JAIL_USE_GROUP:
            word(j, "group=%u", fd);
            break;
        }
    }
}

enum err jail_plan(struct jail *j, const struct jail_tender *t, const char *jail_program, const char *root, char *why,
                   size_t why_size)
{
    bool qemu = t->target == TARGET_VIRTIO;
    j->words = j->used = 0;
    if (j->can == 0)
        return ERR_OK;
    j->host_net = t->taps;
    if (rooted(j)) {
        char path[JAIL_NAME + 2];
        int fd = open(t->program, O_PATH | O_CLOEXEC);
        if (fd < 0 || jail_file_add(j, fd, t->program + 1, JAIL_RUN, path, sizeof path)) {
            (void)snprintf(why, why_size, "its tender can't be put into its jail: %s",
                           fd < 0 ? strerror(errno) : "its path is too long");
            return ERR_IO;
        }
    }
    word(j, "%s", jail_program);
    word(j, "can=%u", j->can);
    word(j, "uid=%u", j->uid);
    word(j, "files=%u", qemu ? (unsigned)FILES_QEMU : (unsigned)FILES_SOLO5);
    word(j, "procs=%u", qemu ? (unsigned)PROCS_QEMU : (unsigned)PROCS_SOLO5);
    if (j->host_net)
        word(j, "net=host");
    uses(j);
    if (rooted(j)) {
        word(j, "root=%s", root);
        trees(j, t->target);
        if (t->kvm)
            word(j, "node=/dev/kvm");
        if (t->taps)
            word(j, "node=/dev/net/tun");
    }
    word(j, "--");
    if (j->words > JAIL_WORDS) {
        (void)snprintf(why, why_size, "too much is to be put into its jail");
        return ERR_FULL;
    }
    return ERR_OK;
}

int jail_pass(const struct jail *j, int *oom_fd)
{
    int high[JAIL_FILES + 1], n = (int)j->count;
    for (int i = 0; i < n; i++)
        if ((high[i] = fcntl(j->files[i].fd, F_DUPFD_CLOEXEC, HIGH_FD)) < 0)
            return errno; /* also of one that nobody filled */
    high[n] = *oom_fd < 0 ? -1 : fcntl(*oom_fd, F_DUPFD_CLOEXEC, HIGH_FD);
    for (int i = 0; i <= n; i++)
        if (high[i] >= 0 && dup2(high[i], JAIL_FD + i) < 0)
            return errno;
    *oom_fd = high[n] < 0 ? -1 : JAIL_FD + n;
    return 0;
}
