#define _GNU_SOURCE
#include "node/runtime/priv_jail.h"

#include "node/runtime/fault.h"
#include "node/runtime/uids.h"
#include "store/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    PATH_BYTES = 4096,
    /* What the kernel keeps for a process is counted in its group, too: page tables, pipes, files that it read. It
     * isn't the guest's, and a guest that uses all of its memory must not end for it. */
    KERNEL_MIB = 8,
    KERNEL_PART = 64,
    PIDS_SOLO5 = 8,
    PIDS_QEMU = 64
};

static struct {
    struct jail_config cfg;
    char program[PATH_BYTES], root[PATH_BYTES];
    int units_fd;
    bool looked;
    enum err err;
    char why[256];
    struct jail_facts facts;
    struct cgroups groups;
    int group_number[CGROUP_TREES]; /* of the start that is being made */
} jails = {.units_fd = -1};

void priv_jail_begin(const struct jail_config *cfg, const char *shim, const char *run_dir, int units_fd)
{
    const char *slash = strrchr(shim, '/');
    jails.cfg = *cfg;
    jails.units_fd = units_fd;
    (void)snprintf(jails.program, sizeof jails.program, "%.*s/mesh-jail", slash ? (int)(slash - shim) : 0, shim);
    (void)snprintf(jails.root, sizeof jails.root, "%s/jail", run_dir);
}

/* Named by the folder's inode, so that several nodes of one machine know their own. */
static void groups_open(void)
{
    char name[CGROUP_NAME], lack[128];
    struct stat st;
    if (jails.facts.can == 0 || fstat(jails.units_fd, &st) < 0)
        return;
    (void)snprintf(name, sizeof name, "unimesh-%lx-%lx", (unsigned long)st.st_dev, (unsigned long)st.st_ino);
    cgroups_open(&jails.groups, name, lack, sizeof lack);
    size_t at = strlen(jails.facts.text);
    if (lack[0] != '\0')
        (void)snprintf(jails.facts.text + at, sizeof jails.facts.text - at, "%s%s", at > 0 ? "\n" : "", lack);
}

enum err priv_jail_look(const char **lack, char *why, size_t why_size)
{
    if (!jails.looked) {
        jails.err = mkdir(jails.root, 0700) < 0 && errno != EEXIST ? disk_err(errno) : ERR_OK;
        if (jails.err)
            (void)snprintf(jails.why, sizeof jails.why, "%.120s can't be made: %s", jails.root, strerror(errno));
        else
            jails.err = jail_look(&jails.cfg, jails.program, jails.root, &jails.facts, jails.why, sizeof jails.why);
        if (!jails.err)
            groups_open();
        jails.looked = !jails.err; /* what is missing may come */
    }
    (void)snprintf(why, why_size, "%s", jails.why);
    *lack = jails.facts.text;
    return jails.err;
}

enum err priv_jail_new(struct jail *j, const char *run, char *why, size_t why_size)
{
    const char *lack;
    uint32_t uid = 0;
    enum err err = priv_jail_look(&lack, why, why_size);
    jail_init(j, &jails.facts, 0);
    if (err || jails.facts.can == 0)
        return err;
    err = uids_find(&jails.cfg, jails.units_fd, run, &uid);
    if (err)
        (void)snprintf(why, why_size, "no user is left for it: %s", err_text(err));
    jail_init(j, &jails.facts, uid);
    return err;
}

bool priv_jail_tender(const char *path, char *why, size_t size)
{
    struct stat st;
    const char *name = strrchr(path, '/') + 1; /* the path is absolute */
    if (stat(path, &st) < 0)
        (void)snprintf(why, size, "%s: %s", name, strerror(errno));
    else if (!S_ISREG(st.st_mode) || access(path, X_OK) < 0)
        (void)snprintf(why, size, "%s is not a program", name);
    else if ((st.st_uid != 0 && st.st_uid != geteuid()) || (st.st_mode & S_IWOTH) != 0)
        (void)snprintf(why, size, "%s belongs to another user, or anybody may write to it", name);
    else
        return true;
    return false;
}

enum err priv_jail_image(struct jail *j, const char *path, int *fd, char *why, size_t why_size)
{
    struct stat st;
    char name[JAIL_NAME + 2];
    *fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (*fd < 0 || fstat(*fd, &st) < 0)
        (void)snprintf(why, why_size, "the image's file can't be read: %s", strerror(errno));
    else if (!S_ISREG(st.st_mode))
        (void)snprintf(why, why_size, "the image is not a file");
    else if (j->uid != 0 && (st.st_mode & S_IROTH) == 0)
        (void)snprintf(why, why_size, "the image's file may not be read by the guest's user; make it readable for all");
    else if ((j->can & JAIL_CAN_ROOT) == 0)
        return ERR_OK;
    else {
        int dup = fcntl(*fd, F_DUPFD_CLOEXEC, 0);
        if (dup >= 0 && jail_file_add(j, dup, "image", JAIL_READ, name, sizeof name) == ERR_OK)
            return ERR_OK;
        (void)snprintf(why, why_size, "the image can't be put into its jail");
    }
    if (*fd >= 0)
        close(*fd);
    return ERR_DENIED;
}

enum err priv_jail_plan(struct jail *j, const struct jail_tender *t, char *why, size_t why_size)
{
    enum err err = ERR_OK;
    for (uint32_t i = 0; j->can != 0 && i < jails.groups.count && !err; i++)
        err = jail_group(j, &jails.group_number[i]);
    if (!err)
        err = jail_plan(j, t, jails.program, jails.root, why, why_size);
    return err;
}

enum err priv_jail_make(struct jail *j, const char *run, int folder, uint64_t memory_mib, enum target target,
                        int *oom_fd, char *why, size_t why_size)
{
    const struct cgroup_limits limits = {.memory_bytes =
                                             (memory_mib + memory_mib / KERNEL_PART + KERNEL_MIB) * 1024 * 1024,
                                         .processes = target == TARGET_VIRTIO ? PIDS_QEMU : PIDS_SOLO5};
    int fds[CGROUP_TREES];
    uint32_t count;
    gid_t reader = jails.cfg.client_gid;
    *oom_fd = -1;
    if (j->can == 0 && reader == 0)
        return ERR_OK;
    if (fchown(folder, j->uid, reader != 0 ? reader : j->uid) < 0 || (reader != 0 && fchmod(folder, 0750) < 0)) {
        (void)snprintf(why, why_size, "its folder can't be given to its user: %s", strerror(errno));
        return disk_err(errno);
    }
    fault_point("priv.folder-given");
    if (j->can == 0)
        return ERR_OK;
    enum err err = cgroup_make(&jails.groups, run, &limits, fds, &count, oom_fd, why, why_size);
    for (uint32_t i = 0; i < count && !err; i++)
        jail_fill(j, jails.group_number[i], fds[i]);
    return err;
}

uint32_t priv_jail_reader(void)
{
    return jails.cfg.client_gid;
}

void priv_jail_remove(const char *run)
{
    (void)!cgroup_remove(&jails.groups, run);
}

/* A run's folder is made before its groups, and goes after them. */
static bool run_there(void *ctx, const char *run)
{
    struct stat st;
    (void)ctx;
    return fstatat(jails.units_fd, run, &st, AT_SYMLINK_NOFOLLOW) == 0 || errno != ENOENT;
}

void priv_jail_sweep(void)
{
    cgroups_sweep(&jails.groups, run_there, NULL);
}

void priv_jail_end(void)
{
    cgroups_close(&jails.groups);
}
