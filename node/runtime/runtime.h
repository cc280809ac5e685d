/* Running guests on this host: the daemon's side. It forks nothing: mesh-priv starts shims (priv.h), a shim is a
 * guest's parent (shim_protocol.h), and this finds them, watches them, and says what happened in the engine's words.
 *
 *   RUN/units/UID.SLOT.EPOCH/   one a run: sock, console, exit, image; see shim_protocol.h
 *   RUN/owner                   the id of the node whose guests these are; locked while it runs
 *
 * Order: runtime_new → on_found and on_ended for each run that is there, from inside it → runtime_probe, requests.
 * From then on callbacks come from the loop only, never from inside a function of this header. Every start is followed
 * by on_started and on_ended, or on_ended alone; every stop by on_ended, also of a run that isn't known.
 * One loop, one thread. */
#ifndef UNIMESH_NODE_RUNTIME_RUNTIME_H
#define UNIMESH_NODE_RUNTIME_RUNTIME_H

#include "node/effects.h"
#include "node/event.h"
#include "node/jail_config.h"
#include "store/model/networks.h"
#include "store/base/err.h"
#include "store/base/id.h"

#include <stddef.h>
#include <stdint.h>
#include <uv.h>

struct runtime;

struct runtime_config {
    const char *run_dir;                 /* RUN; absolute, made if missing */
    const char *shim_path;               /* the mesh-shim program */
    const char *tender[TARGET_COUNT];    /* NULL: solo5-hvt, solo5-spt, qemu-system-x86_64 on PATH */
    const char *probe_image[TARGET_COUNT]; /* what a trial boot boots (examples/hello); NULL: the target is not tried */
    const char *cache_path;              /* STATE/targets: what trial boots found, by boot id and tender */
    node_id node;                        /* ours: runs of another's are stopped before anything else */
    uint32_t stop_grace_ms;              /* 3000: from SIGTERM to SIGKILL */
    int priv_fd;                         /* of priv_spawn; the runtime owns it from here, also when runtime_new fails */
    struct networks networks;            /* those that mesh-priv was told of */
    const char *volumes_dir;             /* likewise; absolute. NULL: guests get no volumes */
    struct jail_config jail;             /* likewise */
    const char *priv_path;               /* to start mesh-priv again should it end; NULL: starts fail from then on */
};
struct runtime_config runtime_config_default(void);

struct runtime_callbacks {
    /* A run that is alive: adopted. Its identity was verified (boot id, pid, start time). */
    void (*on_found)(void *ctx, const struct unit_id *unit, uint32_t pid, enum target target);
    void (*on_started)(void *ctx, const struct unit_id *unit, uint32_t pid, enum target target);
    /* end.text is borrowed. The exit record stays until runtime_forget. */
    void (*on_ended)(void *ctx, const struct unit_id *unit, const struct unit_end *end);
    /* Trial boots are done (or were remembered): what this host runs, and in words, a line each, what it lacks and why.
     * Comes once more, with other words, when a trial boot with KVM took its time, and when a network comes or goes:
     * mesh-priv looks each minute. */
    void (*on_host)(void *ctx, const struct host_facts *facts, const char *text);
    /* mesh-priv ended: starts fail until it is back (it is started again). May be NULL. */
    void (*on_priv_lost)(void *ctx);
};

/* Runs of another node in RUN are stopped and removed before it returns (stop_grace_ms and a little); for a shim that
 * hangs it waits three seconds.
 * ERR_BUSY: another node uses RUN; ERR_DENIED, ERR_IO, ERR_NOMEM, ERR_INVALID, ERR_TOO_LARGE (a path). `why`: what and
 * what to do. */
enum err runtime_new(struct runtime **out, uv_loop_t *loop, const struct runtime_config *cfg,
                     const struct runtime_callbacks *cb, void *ctx, char *why, size_t why_size) MUST_USE;
/* Stop watching; guests run on. `on_gone` when the last handle is closed: run the loop until then. */
void runtime_close(struct runtime **rt, void (*on_gone)(void *ctx));

/* Boot the probe images, one after the other; answers by on_host. Remembered results answer at once. */
void runtime_probe(struct runtime *rt);

/* image_path: the file that the tender loads. start is borrowed for the call. */
void runtime_start(struct runtime *rt, const struct unit_id *unit, const struct effect_start *start,
                   const char *image_path);
void runtime_stop(struct runtime *rt, const struct unit_id *unit);
void runtime_deadline(struct runtime *rt, const struct unit_id *unit, uint64_t boottime_ms); /* 0: never */
/* What comes in to it from now on: start->nets, start->access. */
void runtime_access(struct runtime *rt, const struct unit_id *unit, const struct effect_start *start);
/* Its end is on disk: drop its folder. */
void runtime_forget(struct runtime *rt, const struct unit_id *unit);

/* Read the console of a run, alive or not yet forgotten, from byte `offset` on (counted since its start). *skipped: how
 * many bytes after `offset` are gone, overwritten by newer ones. *next: where to go on; *got is 0 when nothing is there
 * yet. *ended: it has ended, and there will be no more than this.
 * ERR_NOT_FOUND: no such run here; ERR_CORRUPT; ERR_IO. */
enum err runtime_console_read(struct runtime *rt, const struct unit_id *unit, uint64_t offset, void *out, size_t size,
                              size_t *got, uint64_t *skipped, uint64_t *next, int *ended) MUST_USE;
/* The last `lines` lines begin at *offset. */
enum err runtime_console_tail(struct runtime *rt, const struct unit_id *unit, uint32_t lines,
                              uint64_t *offset) MUST_USE;

/* Call back (from the loop) when the console grew or ended; cheap, may be spurious. Stop with runtime_console_unwatch,
 * before runtime_close; a forgotten run calls back once more. */
struct console_watch;
enum err runtime_console_watch(struct runtime *rt, const struct unit_id *unit, void (*on_more)(void *ctx), void *ctx,
                               struct console_watch **out) MUST_USE;
void runtime_console_unwatch(struct console_watch **w);

#endif
