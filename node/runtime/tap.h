/* Taps, as mesh-priv makes them: persistent, on a bridge, without an address of the host's on them. By ioctl: each of
 * these is one system call, and the process that may make them needs no netlink library for it. */
#ifndef UNIMESH_NODE_RUNTIME_TAP_H
#define UNIMESH_NODE_RUNTIME_TAP_H

#include "store/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Can guests be wired to it? ERR_NOT_FOUND: there is no such bridge; ERR_DENIED: we may not make taps, or there is no
 * /dev/net/tun. */
enum err tap_bridge_usable(const char *bridge, char *why, size_t why_size) MUST_USE;

/* Up, on the bridge, with its MTU; `mac` is the guest's, as text; `owner`, if it isn't 0, is the one uid that may open
 * it, beside whoever has privileges. One that is there under the name is taken over, unless it is in use: ERR_BUSY. On
 * error there is none. */
enum err tap_make(const char *name, const char *bridge, const char *mac, uint32_t owner, char *why,
                  size_t why_size) MUST_USE;

/* Frames go in and out by this descriptor, from whichever network namespace. -1, and errno: EBUSY: somebody has it. */
int tap_open(const char *name);

bool tap_exists(const char *name);

/* ERR_OK: it is gone, or never was. ERR_BUSY: a guest has it. */
enum err tap_remove(const char *name) MUST_USE;

/* Those whose name begins with the prefix. */
void tap_each(const char *prefix, void (*each)(void *ctx, const char *name), void *ctx);

#endif
