/* mesh-priv: the one process that may do what needs privilege. A dozen fixed verbs over
 * SOCK_SEQPACKET (priv_protocol.h); every argument is checked again in there. What exists today:
 * start a shim, with its taps and its jail; remove a run's folder, and what was made for it; kill a shim that
 * hangs; look which networks there are, and what jails lack.
 *
 * meshd starts it before anything else (priv_spawn) and it ends when its socket closes; guests
 * stay. With a client_uid in `jail`, it listens for that user (priv_connect), and what priv_spawn gives back is
 * only what its life hangs on. As a service it is started by itself: mesh-priv --listen. */
#ifndef UNIMESH_NODE_RUNTIME_PRIV_H
#define UNIMESH_NODE_RUNTIME_PRIV_H

#include "node/jail_config.h"
#include "store/model/networks.h"
#include "store/base/err.h"

#include <stddef.h>

/* Start the program `path` for `run_dir` (absolute; made if missing, its parent is there) with
 * `shim_path` (absolute), allowed to wire guests to these networks and to give them what lies in
 * `volumes_dir` (absolute; "": nothing), with jails so configured, and give the socket to it. It
 * is nobody's child afterwards: there is nothing to reap. Waits for it to begin, some milliseconds;
 * and, where another still works in
 * run_dir, for that to end, at most wait_ms. ERR_NOT_FOUND: no such program; ERR_BUSY: another
 * still works in run_dir; ERR_DENIED, ERR_IO. `why` says what and what to do. */
enum {
    PRIV_WAIT_MS = 1500 /* for one whose meshd was just killed: it ends what it has begun, before
                           peers give the host up */
};
enum err priv_spawn(const char *path, const char *run_dir, const char *shim_path,
                    const struct networks *networks, const char *volumes_dir,
                    const struct jail_config *jail, unsigned wait_ms, int *fd,
                    char *why, size_t why_size) MUST_USE;

/* Where mesh-priv is a service of its own, or was started by a meshd that has given up root since, it listens at
 * RUN/priv.sock for whom it serves. Connect, and wait until it is our turn: the one before us has had done what it
 * asked for. ERR_NOT_FOUND: there is no such socket; ERR_CLOSED: nobody listens there; ERR_BUSY: it serves another;
 * ERR_DENIED, ERR_IO. */
enum err priv_connect(const char *run_dir, unsigned wait_ms, int *fd, char *why, size_t why_size) MUST_USE;

/* Connect where there is one; else start one, if that is ours to do. */
enum err priv_open(const char *path, const char *run_dir, const char *shim_path, const struct networks *networks,
                   const char *volumes_dir, const struct jail_config *jail, unsigned wait_ms, int *fd, char *why,
                   size_t why_size) MUST_USE;

/* RUN/priv.sock. */
enum err priv_socket_path(const char *run_dir, char *out, size_t size) MUST_USE;

#endif
