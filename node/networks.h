/* The networks that a host is told of: a name that apps use, and the bridge that it is here. */
#ifndef UNIMESH_NODE_NETWORKS_H
#define UNIMESH_NODE_NETWORKS_H

#include "store/base/err.h"
#include "store/model/bodies.h"

#include <stddef.h>

enum { LINK_SIZE = 16 /* an interface's name, with its NUL */ };

struct network { /* of this host */
    char name[NAME_SIZE];
    char bridge[LINK_SIZE];
};

struct networks {
    uint32_t count;
    struct network v[NETWORKS_MAX]; /* by name, ascending; no name twice */
};

/* A network more, or another bridge for one that is there. ERR_FULL; ERR_INVALID: `why` says what and what to write. */
enum err networks_add(struct networks *n, const char *name, const char *bridge, char *why, size_t why_size) MUST_USE;
const struct network *networks_find(const struct networks *n, const char *name); /* NULL: none */

#endif
