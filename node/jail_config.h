/* What a host is told of privileges: whether guests have jails, which uids they get, and whom mesh-priv serves. */
#ifndef UNIMESH_NODE_JAIL_CONFIG_H
#define UNIMESH_NODE_JAIL_CONFIG_H

#include "store/base/err.h"

#include <stdbool.h>
#include <stdint.h>

/* The default range: neither people, services nor containers have it (systemd's table of uids; what useradd gives out
 * as subordinate ends far below), and no file system takes it for negative. */
#define JAIL_UID_FIRST UINT32_C(1879048192)
#define JAIL_UID_COUNT UINT32_C(65536)

struct jail_config {                 /* zeros: the default */
    bool off;                        /* no jail, though there could be one: guests run as mesh-priv does */
    uint32_t uid_first, uid_count;   /* count 0: the default range */
    uint32_t client_uid, client_gid; /* meshd's, where it isn't root: it may read guests' folders; 0: root */
};

/* "FIRST-LAST", no uid below 1000. ERR_INVALID. */
enum err jail_uids_parse(const char *text, struct jail_config *out) MUST_USE;
/* "UID:GID", neither of them 0. ERR_INVALID. */
enum err jail_client_parse(const char *text, struct jail_config *out) MUST_USE;

#endif
