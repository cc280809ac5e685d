/* mesh-priv as a server at RUN/priv.sock: one client at a time, each served by a process of its own, and the next one
 * when what the last one asked for is done. */
#ifndef UNIMESH_NODE_RUNTIME_PRIV_LISTEN_H
#define UNIMESH_NODE_RUNTIME_PRIV_LISTEN_H

#include "store/base/err.h"

#include <stddef.h>
#include <stdint.h>

/* The socket, the client's alone to connect to; one that is there already is replaced. */
enum err priv_listen_open(const char *run_dir, uint32_t uid, uint32_t gid, int *fd, char *why,
                          size_t why_size) MUST_USE;

/* Until `lifeline` closes (-1: for ever). Who isn't `uid` or root is turned away. serve() has its client, and doesn't
 * return before that is gone. */
void priv_listen(int fd, int lifeline, uint32_t uid, void (*serve)(int client));

#endif
