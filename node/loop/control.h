/* The control socket: what meshctl asks for (ctl/control.h has the messages), answered from the
 * engine and by it.
 *
 * RUN/ctl.sock (0660): who may open it, may command the node. Each connection: bounded memory, one
 * request at a time. A client that doesn't read is dropped, never waited for. */
#ifndef UNIMESH_NODE_LOOP_CONTROL_H
#define UNIMESH_NODE_LOOP_CONTROL_H

#include "node/loop/node.h"

struct control;

/* ERR_BUSY: another node answers there; ERR_TOO_LARGE: the path is longer than a socket's may be
 * (107 bytes); ERR_DENIED; ERR_IO. A stale socket is replaced. */
enum err control_new(struct control **out, struct node *n, const char *path, char *why,
                     size_t why_size) MUST_USE;
/* Closes connections (those that wait for a reply are told that the node ends) and removes the
 * socket. */
void control_close(struct control **c, void (*on_gone)(void *ctx), void *ctx);

#endif
