/* meshd: see options.c for what it is told, node.c for what it does. */
#define _GNU_SOURCE
#include "node/loop/node_internal.h"

#include "node/runtime/priv.h"

#include <errno.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

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

int main(int argc, char **argv)
{
    static struct options o;
    char priv[OPTION_PATH_SIZE + 32], shim[OPTION_PATH_SIZE + 32], volumes[OPTION_PATH_SIZE + 32], why[WHY];
    bool again;
    int status;
    options_read(&o, argc, argv);
    if (sodium_init() < 0) {
        fprintf(stderr,
                "meshd: libsodium can't be used on this host: it found no source of chance\n");
        return 1;
    }
    signal(SIGPIPE, SIG_IGN);
    make_or_die("state", o.state_dir, 0700);
    make_or_die("run", o.run_dir, 0755);
    snprintf(priv, sizeof priv, "%s/mesh-priv", o.programs);
    snprintf(shim, sizeof shim, "%s/mesh-shim", o.programs);
    snprintf(volumes, sizeof volumes, "%s/volumes", o.state_dir);
    do {
        int fd = -1;
        enum err err = priv_spawn(priv, o.run_dir, shim, &o.networks, volumes, &o.jail, PRIV_WAIT_MS, &fd, why, sizeof why);
        status = node_run(&o, fd, err, err ? why : "", &again);
    } while (again);
    return status;
}
