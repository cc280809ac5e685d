/* Between our addresses and the system's: IPv4 is ::ffff:a.b.c.d here and AF_INET there. */
#ifndef UNIMESH_NODE_LOOP_SOCKADDR_H
#define UNIMESH_NODE_LOOP_SOCKADDR_H

#include "store/base/err.h"
#include "store/base/id.h"

#include <sys/socket.h>

void sockaddr_from(const struct address *a, struct sockaddr_storage *out);
/* ERR_UNSUPPORTED: neither AF_INET nor AF_INET6. */
enum err sockaddr_to(const struct sockaddr *sa, struct address *out) MUST_USE;

#endif
