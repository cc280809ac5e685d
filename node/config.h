/* What meshd is told, one thing at a time: by a YAML file, and by options of the same names on its command line,
 * through the same checks.
 *
 *     name: attic                     # this host's; else its host name
 *     bind: 0.0.0.0:7946              # UDP and TCP
 *     advertise: 203.0.113.7:7946     # where peers reach us, if it isn't what we bind
 *     join: [front.example:7946]      # DNS names, too: all their addresses, asked again later
 *     discover: true                  # find peers on the local link
 *     memory: 4G                      # what guests may take together
 *     volumes: 10G                    # what their volumes may be together; else what the disk has
 *     labels: {zone: attic}
 *     key-file: /etc/unimesh/mesh.key
 *     state: /var/lib/unimesh
 *     run: /run/unimesh
 *     socket: /run/unimesh/ctl.sock
 *     mesh: unimesh                   # keeps meshes apart that share a key by mistake
 *     log-format: logfmt              # or json
 *     log-level: info                 # debug, info, warn, error
 *     tenders: {hvt: /usr/bin/solo5-hvt, spt: /usr/bin/solo5-spt, virtio: /usr/bin/qemu-system-x86_64}
 *     programs: /usr/lib/unimesh      # where mesh-priv and mesh-shim are
 *     networks:                       # that guests can be wired to; {public: br0} is short for a bridge alone
 *       public: {bridge: br0, subnet: 10.0.0.0/24, gateway: 10.0.0.1, range: 10.0.0.100-10.0.0.199}
 *     jail: on                        # or off: guests run as mesh-priv does, which may be root
 *     user: unimesh                   # whom meshd is, started as root
 *     guest-uids: 1879048192-1879113727 # each guest has one of its own */
#ifndef UNIMESH_NODE_CONFIG_H
#define UNIMESH_NODE_CONFIG_H

#include "ctl/yaml_doc.h"
#include "node/effects.h"
#include "node/jail_config.h"
#include "store/model/networks.h"
#include "store/base/err.h"
#include "store/base/id.h"
#include "store/model/bodies.h"

#include <stdbool.h>

#define CONFIG_PORT_DEFAULT "7946"
enum {
    CONFIG_JOIN_MAX = 32,
    CONFIG_HOST_SIZE = 256,
    CONFIG_PATH_SIZE = 4096,
    CONFIG_MESH_SIZE = 64,
    CONFIG_USER_SIZE = 33
};

struct peer_name { /* an address, or a DNS name whose addresses are all tried */
    char host[CONFIG_HOST_SIZE];
    char port[8];
};

enum config_log_format { CONFIG_LOGFMT = 0, CONFIG_LOG_JSON = 1 };

struct config { /* zeros: nothing was said */
    char name[NAME_SIZE];
    bool bind_given, advertise_given, memory_given, log_format_given, log_level_given;
    struct address bind, advertise;
    uint32_t join_count;
    struct peer_name join[CONFIG_JOIN_MAX];
    bool discover;
    uint32_t memory_mib;
    uint32_t volumes_mib; /* all volumes together; 0: what the disk has */
    struct labels labels;
    char key_file[CONFIG_PATH_SIZE];
    char state[CONFIG_PATH_SIZE];
    char run[CONFIG_PATH_SIZE];
    char socket[CONFIG_PATH_SIZE];
    char programs[CONFIG_PATH_SIZE];
    char mesh[CONFIG_MESH_SIZE];
    enum config_log_format log_format;
    enum log_level log_level;
    char tender[TARGET_COUNT][CONFIG_PATH_SIZE];
    struct networks networks;
    struct jail_config jail;
    char user[CONFIG_USER_SIZE];
};

/* Say one thing: `key` as in the file ("join", "labels.zone", "tenders.hvt", "networks.public"), `value` as text;
 * "label" takes "zone=attic", "tender" takes "hvt=PATH", "network" takes "public=br0". Joins add up; of all else, also
 * of one label, the last word holds.
 * ERR_NOT_FOUND: there is no such key. `why` begins with the key. */
enum err config_set(struct config *c, const char *key, const char *value, char *why, size_t why_size) MUST_USE;

/* Add what a file says. Paths in it are as they are: not relative to it. ERR_NOT_FOUND, ERR_DENIED, ERR_IO: can't be
 * opened; ERR_TOO_LARGE, ERR_INVALID: with its line. */
enum err config_read(struct config *c, const char *path, struct yaml_error *error) MUST_USE;
enum err config_parse(struct config *c, const char *name, const void *bytes, size_t len,
                      struct yaml_error *error) MUST_USE;

/* "host:port", "[v6]:port", "host" (the default port). ERR_INVALID. */
enum err peer_name_parse(const char *text, struct peer_name *out) MUST_USE;

#endif
