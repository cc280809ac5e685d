/* A bridge of our own, with an uplink: for a host where nobody made one. It stays when we go. */
#ifndef UNIMESH_NODE_RUNTIME_BRIDGE_H
#define UNIMESH_NODE_RUNTIME_BRIDGE_H

#include "store/base/err.h"
#include "store/model/networks.h"

#include <stddef.h>

enum bridge_before { BRIDGE_UNKNOWN, BRIDGE_LOOKED_AT };

/* Can guests be wired to the network's bridge? One with an uplink is made if it isn't there, up, with the uplink on it.
 * A bridge that is made again, as it was looked at before, has lost its taps: the network is told as gone once, so that
 * who was on it is wired anew. ERR_NOT_FOUND: there is no such bridge or uplink; ERR_CONFLICT: the name is another
 * link's, or the uplink has an address, which the host would lose; ERR_DENIED, ERR_IO. `why` says what, and what to
 * do. */
enum err bridge_usable(const struct network *n, enum bridge_before before, char *why, size_t why_size) MUST_USE;

#endif
