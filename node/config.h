/* What meshd is told: a YAML file, and options of the same names on its command line, through the same checks.
 *
 *     name: attic                     # this host's; else its host name
 *     bind: 0.0.0.0:7946              # UDP and TCP
 *     advertise: [203.0.113.7:7946]   # where peers reach us, if it isn't what we bind
 *     join: [front.example:7946]      # DNS names, too: all their addresses, asked again later
 *     discover: true                  # find peers on the local link
 *     memory: 4G                      # what guests may take together
 *     labels: {zone: attic}
 *     key-file: /etc/unimesh/mesh.key
 *     state: /var/lib/unimesh
 *     run: /run/unimesh
 *     mesh: unimesh                   # keeps meshes apart that share a key by mistake
 *     log-format: logfmt              # or json
 *     tenders: {hvt: /usr/bin/solo5-hvt, spt: /usr/bin/solo5-spt, virtio: /usr/bin/qemu-system-x86_64} */
#ifndef UNIMESH_NODE_CONFIG_H
#define UNIMESH_NODE_CONFIG_H

#include "ctl/yaml_doc.h"
#include "store/base/err.h"
#include "store/base/id.h"
#include "store/model/bodies.h"

#include <stdbool.h>

enum {
    CONFIG_JOIN_MAX = 32,
    CONFIG_HOST_SIZE = 272, /* a DNS name's 253, a port, brackets */
    CONFIG_PATH_SIZE = 4096,
    CONFIG_MESH_SIZE = 65
};

enum config_log_format { CONFIG_LOGFMT = 0, CONFIG_LOG_JSON = 1 };

struct config { /* zeros: nothing was said */
    char name[NAME_SIZE];
    bool bind_given;
    struct address bind;
    uint32_t advertise_count;
    struct address advertise[ADDRESSES_MAX];
    uint32_t join_count;
    char join[CONFIG_JOIN_MAX][CONFIG_HOST_SIZE]; /* "HOST:PORT", "[v6]:PORT" */
    bool discover;
    bool memory_given;
    uint32_t memory_mib;
    struct labels labels;
    char key_file[CONFIG_PATH_SIZE];
    char state[CONFIG_PATH_SIZE];
    char run[CONFIG_PATH_SIZE];
    char mesh[CONFIG_MESH_SIZE];
    enum config_log_format log_format;
    char tender[TARGET_COUNT][CONFIG_PATH_SIZE];
};

/* Say one thing: `key` as in the file ("join", "labels.zone", "tenders.hvt"), `value` as text; "label" takes
 * "zone=attic", "tender" takes "hvt=PATH". Lists grow. ERR_NOT_FOUND: there is no such key; else `why` begins with the key:
 * "memory: \"6X\" is no size …". */
enum err config_set(struct config *c, const char *key, const char *value, char *why, size_t why_size) MUST_USE;

/* Add what a file says. Paths in it are as they are: not relative to it. ERR_NOT_FOUND, ERR_DENIED, ERR_IO: can't be
 * opened; ERR_TOO_LARGE, ERR_INVALID: with its line. */
enum err config_read(struct config *c, const char *path, struct yaml_error *error) MUST_USE;
enum err config_parse(struct config *c, const char *name, const void *bytes, size_t len,
                      struct yaml_error *error) MUST_USE;

/* "front.example:7946", "[fe80::1]:7946" → host without brackets, port. ERR_INVALID. */
enum err config_host_split(const char *text, char host[static CONFIG_HOST_SIZE], uint16_t *port) MUST_USE;

#endif
