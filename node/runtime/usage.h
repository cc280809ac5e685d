/* What a guest takes of its host, as /proc tells: nobody needs privilege for that. */
#ifndef UNIMESH_NODE_RUNTIME_USAGE_H
#define UNIMESH_NODE_RUNTIME_USAGE_H

#include "store/base/id.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct usage {
    uint64_t cpu_ms;  /* of its tender, all threads, since its start */
    uint64_t rss_kib; /* memory that it really has */
    uint64_t in_bytes, in_packets, out_bytes, out_packets; /* as the guest sees it, all nets together */
};

/* Reads files: on a worker. units_dir: where its run folder is, by which its taps are named. false: it is gone. */
bool usage_read(const char *units_dir, const struct unit_id *run, uint32_t pid, struct usage *out);

/* Pure: a line of /proc/PID/stat, its CPU time in ticks; the taps of a run in /proc/net/dev. */
bool usage_stat_parse(const char *text, size_t len, uint64_t *ticks);
void usage_net_parse(const char *text, const char *units_dir, const struct unit_id *run, struct usage *out);

#endif
