/* May a guest's ports be published on this host? */
#ifndef UNIMESH_NODE_RUNTIME_PUBLISH_H
#define UNIMESH_NODE_RUNTIME_PUBLISH_H

#include "store/base/err.h"
#include "store/model/access.h"

#include <stddef.h>

/* What is published needs the guest's IPv4 address, one of ours on its bridge, from which answers come back, ports that
 * nobody here listens on, and forwarding, which is switched on. Nothing published: nothing is asked. ERR_UNSUPPORTED,
 * ERR_BUSY, ERR_DENIED: `why` says what is missing, and what to do. */
enum err publish_ready(const char *bridge, const struct ip *ip, const struct guest_access *access, char *why,
                       size_t why_size) MUST_USE;

#endif
