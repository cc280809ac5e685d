/* The names of what is made for a guest's nets. Pure. */
#ifndef UNIMESH_NODE_RUNTIME_NET_H
#define UNIMESH_NODE_RUNTIME_NET_H

#include "store/model/networks.h"
#include "store/base/id.h"
#include "store/model/bodies.h"

#include <stdint.h>

enum { MAC_TEXT = 18, TAP_PREFIX = 6 };

/* A guest's address on its link: from the app, the slot and the device, so it is the same on every host. Locally
 * administered, one station. */
void net_mac_text(const struct uid *app, uint16_t slot, const char *device, char out[static MAC_TEXT]);

/* The tap of a run's i-th net. The first TAP_PREFIX bytes are those of the run folder, so that several nodes of one
 * machine know their own. */
void net_tap_prefix(const char *units_dir, char out[static TAP_PREFIX + 1]);
void net_tap_name(const char *prefix, const char *run, uint32_t i, char out[static LINK_SIZE]);

#endif
