/* meshd: see options.c for what it is told, node.c for what it does. */
#define _GNU_SOURCE
#include "node/loop/node_internal.h"

#include "node/loop/user.h"
#include "node/runtime/jail_filter.h"
#include "node/runtime/priv.h"
#include "node/runtime/trace.h"

#include <errno.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { WHY = 512 };

/* DIR and what leads to it. */
static int dirs_make(const char *path, mode_t mode)
{
    char at[OPTION_PATH_SIZE];
    snprintf(at, sizeof at, "%s", path);
    for (char *p = at + 1; *p; p++) {
        if (*p != '/')
            continue;
        *p = '\0';
        if (mkdir(at, 0755) < 0 && errno != EEXIST)
            return -1;
        *p = '/';
    }
    return mkdir(at, mode) < 0 && errno != EEXIST ? -1 : 0;
}

static void make_or_die(const char *what, const char *path, mode_t mode)
{
    if (dirs_make(path, mode) == 0)
        return;
    fprintf(stderr, "meshd: --%s %s: %s; name a folder that this user may make, or make it\n", what,
            path, strerror(errno));
    exit(1);
}

static _Noreturn void die(const char *why)
{
    fprintf(stderr, "meshd: %s\n", why);
    exit(1);
}

/* mesh-priv, which keeps root where we give it up: it is started with the first node of this process, and then listens.
 * What its life hangs on is ours until we end. */
static enum err priv_begin(const struct options *o, const struct user *u, int *fd, char *why)
{
    static int lifeline = -1;
    char priv[OPTION_PATH_SIZE + 32], shim[OPTION_PATH_SIZE + 32], volumes[OPTION_PATH_SIZE + 32];
    struct jail_config jail = o->jail;
    snprintf(volumes, sizeof volumes, "%s/volumes", o->state_dir);
    snprintf(priv, sizeof priv, "%s/mesh-priv", o->programs);
    snprintf(shim, sizeof shim, "%s/mesh-shim", o->programs);
    enum err err = priv_open(priv, o->run_dir, shim, &o->networks, volumes, &jail, PRIV_WAIT_MS, fd, why, WHY);
    if (u->uid == 0 || lifeline >= 0 || (err != ERR_NOT_FOUND && err != ERR_CLOSED))
        return err;
    err = priv_spawn(priv, o->run_dir, shim, &o->networks, volumes, &jail, PRIV_WAIT_MS, &lifeline, why, WHY);
    return err ? err : priv_connect(o->run_dir, PRIV_WAIT_MS, fd, why, WHY);
}

/* Whom mesh-priv serves, if it is another user than its own: the one we are to be, or the one that we are where it is a
 * service. */
static void client_set(struct options *o, const struct user *u)
{
    char path[OPTION_PATH_SIZE + 16];
    struct stat st;
    o->jail.client_uid = u->uid;
    o->jail.client_gid = u->gid;
    if (geteuid() != 0 && priv_socket_path(o->run_dir, path, sizeof path) == ERR_OK && stat(path, &st) == 0) {
        o->jail.client_uid = geteuid();
        o->jail.client_gid = getegid();
    }
}

int main(int argc, char **argv)
{
    static struct options o;
    char why[WHY];
    struct user user;
    bool again, filtered = false; /* a kernel without filters runs nodes, too */
    int status;
    options_read(&o, argc, argv);
    if (sodium_init() < 0)
        die("libsodium can't be used on this host: it found no source of chance");
    signal(SIGPIPE, SIG_IGN);
    if (user_find(o.user, &user, why, sizeof why))
        die(why);
    make_or_die("state", o.state_dir, 0700);
    make_or_die("run", o.run_dir, 0755);
    if (user_prepare(&o, &user, why, sizeof why))
        die(why);
    client_set(&o, &user);
    trace_open();
    do {
        int fd = -1;
        why[0] = '\0';
        enum err err = priv_begin(&o, &user, &fd, why);
        char priv_why[WHY];
        snprintf(priv_why, sizeof priv_why, "%s", err ? why : "");
        if (geteuid() == 0 && user_become(&user, why, sizeof why))
            die(why);
        if (!filtered && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0)
            filtered = jail_filter(o.jail.client_uid != 0 ? JAIL_MESHD : JAIL_PRIV) == 0;
        status = node_run(&o, fd, err, priv_why, &again);
    } while (again);
    return status;
}
