/* A running node without a daemon: node.h over a real engine with fake crypto, in the caller's
 * loop. Several in one loop are a mesh: datagrams, calls and channels (stream.h) go from one to the
 * other in memory; disks take a turn of the loop; guests are a state and a console of bytes. For
 * tests of what stands on node.h (control.c, logs.c). */
#ifndef UNIMESH_TESTS_SUPPORT_FAKE_NODE_H
#define UNIMESH_TESTS_SUPPORT_FAKE_NODE_H

#include "node/loop/node.h"

struct fake_mesh;

enum { FAKE_NODES_MAX = 4, FAKE_CONSOLE_RING = 64 * 1024, FAKE_CHANNEL_QUEUE = 96 * 1024 };

struct fake_mesh *fake_mesh_new(uv_loop_t *loop);
void fake_mesh_free(
    struct fake_mesh *m); /* frees its nodes; run the loop until it is empty afterwards */

/* memory_mib: its capacity. dir: for its images; borrowed. All join the first. */
struct node *fake_node_add(struct fake_mesh *m, const char *name, const char *dir,
                           uint32_t memory_mib);
/* What node_stop was called for. */
bool fake_node_stopped(const struct node *n);
/* From now on it hears and says nothing. */
void fake_node_cut(struct node *n);
uint32_t
fake_node_commands(const struct node *n); /* waiting for their replies, and not forgotten */
uint32_t fake_mesh_channels(const struct fake_mesh *m);

/* The run of app/slot that is alive anywhere. NULL: none. *at: whose. */
struct fake_run;
struct fake_run *fake_run_find(struct fake_mesh *m, const char *app, uint16_t slot,
                               struct node **at);
uint32_t fake_mesh_alive(const struct fake_mesh *m); /* runs */
uint32_t fake_run_pid(const struct fake_run *r);
void fake_run_print(struct fake_run *r, const void *p, size_t len);
void fake_run_end(struct fake_run *r, enum end_cause cause, int32_t status);

void fake_event(struct node *n, enum log_level level, const char *event, const char *fields);

#endif
