/* What a guest may send, and what comes in to it, by nftables: frames from its own address on the link and, where we
 * gave it one, its own IP address, with ARP that says so, and no word of a router's or an address server's. One
 * atomic change a tap, in a table of our own (`bridge unimesh`), which other rules neither see nor lose by.
 *
 * The nftables library is in a program of its own, mesh-filter (filter_main.c), which mesh-priv starts when there are
 * networks: it is large, it is under the GPL, and should it crash, it is started again and asked again. */
#ifndef UNIMESH_NODE_RUNTIME_FILTER_H
#define UNIMESH_NODE_RUNTIME_FILTER_H

#include "store/base/err.h"
#include "store/model/access.h"
#include "store/model/networks.h"

#include <stddef.h>

/* Is there nftables for bridges here, and may we use it? Makes the table, and what was added and is gone since, as
 * after a flush of all rules. ERR_UNSUPPORTED: `why` says what is missing. */
enum err filter_usable(char *why, size_t why_size) MUST_USE;

/* From now on for frames from and to the tap; there already: the same anew. mac: as text, the guest's. ip: its
 * addresses; zeros of both: any. ERR_UNSUPPORTED. */
enum err filter_add(const char *tap, const char *mac, const struct ip ip[static IP_FAMILIES],
                    const struct guest_access *access, char *why, size_t why_size) MUST_USE;

/* There is none: nothing happens. */
void filter_remove(const char *tap);

#endif
