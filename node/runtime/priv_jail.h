/* The jails of one mesh-priv: what this host lets them be, and what is made for each run and goes with it. */
#ifndef UNIMESH_NODE_RUNTIME_PRIV_JAIL_H
#define UNIMESH_NODE_RUNTIME_PRIV_JAIL_H

#include "node/runtime/cgroup.h"
#include "node/runtime/jail.h"
#include "node/runtime/tender.h"

/* mesh-jail is looked for beside the shim; both paths are absolute. Nothing is tried yet. */
void priv_jail_begin(const struct jail_config *cfg, const char *shim, const char *run_dir, int units_fd);

/* What jails lack here, a line each; tried once. ERR_…: there is no mesh-jail, so nothing may be started; `why`. */
enum err priv_jail_look(const char **lack, char *why, size_t why_size) MUST_USE;

/* A run's jail, with a uid that no other has, and places for its control groups. */
enum err priv_jail_new(struct jail *j, const char *run, char *why, size_t why_size) MUST_USE;

/* May the program at this absolute path be a tender? It is root's or ours, and not anybody's to write to. */
bool priv_jail_tender(const char *path, char *why, size_t size);
/* The image: looked at, opened, and put into the jail as "image". *fd: to link it by; the jail's, or the caller's if
 * there is no root (then *own). */
enum err priv_jail_image(struct jail *j, const char *path, int *fd, char *why, size_t why_size) MUST_USE;

/* All words on the shim's command line that stand before the tender's own. */
enum err priv_jail_plan(struct jail *j, const struct jail_tender *t, char *why, size_t why_size) MUST_USE;

/* The folder is the guest's, and there are control groups for it; oom_fd: -1, or the shim's to have. */
enum err priv_jail_make(struct jail *j, const char *run, int folder, uint64_t memory_mib, enum target target,
                        int *oom_fd, char *why, size_t why_size) MUST_USE;

/* The group that may look into runs' folders; 0: none. */
uint32_t priv_jail_reader(void);

/* What is still in use then goes with the next sweep. */
void priv_jail_remove(const char *run);
void priv_jail_sweep(void);
void priv_jail_end(void);

#endif
