/* What meshd is told: by its arguments, and under them by its file. */
#ifndef UNIMESH_NODE_LOOP_OPTIONS_H
#define UNIMESH_NODE_LOOP_OPTIONS_H

#include "node/config.h"
#include "node/loop/log.h"
#include "store/base/err.h"
#include "store/base/id.h"
#include "store/model/bodies.h"

#include <stdbool.h>

enum {
    OPTION_JOINS_MAX = CONFIG_JOIN_MAX,
    OPTION_HOST_SIZE = CONFIG_HOST_SIZE,
    OPTION_PATH_SIZE = CONFIG_PATH_SIZE
};

struct options {
    char state_dir[OPTION_PATH_SIZE];
    char run_dir[OPTION_PATH_SIZE];
    char key_file[OPTION_PATH_SIZE];
    char socket[OPTION_PATH_SIZE]; /* "": RUN/ctl.sock */
    char name[NAME_SIZE];          /* "": the host's */
    char mesh_label[64];           /* "": the default */
    struct address bind;           /* port 0: any */
    bool bind_any;                 /* no address was given: all of them */
    struct address advertise;      /* port 0: as bound */
    bool advertised;
    uint32_t join_count;
    struct peer_name joins[OPTION_JOINS_MAX];
    bool discover;
    uint32_t memory_mib; /* 0: what the host has, less what it needs itself */
    uint32_t volumes_mib; /* 0: what the disk has */
    struct labels labels;
    struct networks networks;
    struct jail_config jail;
    char user[CONFIG_USER_SIZE]; /* "": unimesh, where there is one */
    bool new_identity;
    enum log_format log_format;
    enum log_level log_level;
    char tender[TARGET_COUNT][OPTION_PATH_SIZE]; /* "": looked for on PATH */
    char programs[OPTION_PATH_SIZE]; /* where mesh-priv, mesh-shim and the probes' images are; "":
                                        beside meshd */
};

/* Read the arguments and the file that they name. Ends the process with 0 after --help and
 * --version, and with 2 after saying what is wrong. */
void options_read(struct options *o, int argc, char **argv);

#define OPTION_PORT_DEFAULT CONFIG_PORT_DEFAULT

#endif
