/* Which uid a run gets: the folder's owner says which one it has, so nothing else is to be remembered. */
#ifndef UNIMESH_NODE_RUNTIME_UIDS_H
#define UNIMESH_NODE_RUNTIME_UIDS_H

#include "node/runtime/jail.h"

/* One of the range that no folder in units_fd has, for the run of that name; from its name, so that what has just been
 * left is seldom taken again. ERR_FULL: there are as many runs as uids; ERR_IO. */
enum err uids_find(const struct jail_config *cfg, int units_fd, const char *run, uint32_t *out) MUST_USE;

#endif
