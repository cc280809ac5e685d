/* The networks that a host is told of: a name that apps use, the bridge that it is here, and the addresses that guests
 * get on it. In words, as an option says it and as mesh-priv is told:
 *
 *   br0,subnet=10.0.0.0/24,gateway=10.0.0.1,range=10.0.0.100-10.0.0.199,subnet=fd00:1::/64
 *
 *   br0,uplink=eth1,mtu=9000,…     a bridge that is made where there is none
 *
 * Of each family one subnet, gateway and range. Without a subnet guests get no address from us. Without a range it is
 * all of the subnet but its ends and its gateway. Pure. */
#ifndef UNIMESH_MODEL_NETWORKS_H
#define UNIMESH_MODEL_NETWORKS_H

#include "store/base/err.h"
#include "store/base/ip.h"
#include "store/model/bodies.h"

#include <stddef.h>

enum {
    LINK_SIZE = 16, /* an interface's name, with its NUL */
    NETWORK_WORDS = 512 /* of a network, with its NUL */
};

enum ip_family { IP4, IP6, IP_FAMILIES };

struct network_addresses { /* of one family */
    struct subnet subnet; /* zeros: none, and so is the rest */
    struct ip gateway;    /* zeros: none */
    struct ip first, last; /* what guests get */
};

struct network { /* of this host */
    char name[NAME_SIZE];
    char bridge[LINK_SIZE];
    char uplink[LINK_SIZE]; /* we make the bridge, with that on it; "": it is there, or isn't */
    uint32_t mtu;           /* of both then; 0: as the uplink has it */
    struct network_addresses addresses[IP_FAMILIES];
};

struct guest_net { /* a guest's device, and what it has there */
    struct net_ref ref;
    struct ip ip[IP_FAMILIES]; /* zeros: none that we know of */
};

struct networks {
    uint32_t count;
    struct network v[NETWORKS_MAX]; /* by name, ascending; no name twice */
};

/* A network more, or other words for one that is there. ERR_FULL; ERR_INVALID: `why` says what and what to write. */
enum err networks_add(struct networks *n, const char *name, const char *words, char *why, size_t why_size) MUST_USE;
const struct network *networks_find(const struct networks *n, const char *name); /* NULL: none */

/* Is it one that guests get there? Zeros are. */
bool network_may_give(const struct network *n, const struct ip *ip);

/* The words that make it. */
void network_words(const struct network *n, char out[static NETWORK_WORDS]);

#endif
