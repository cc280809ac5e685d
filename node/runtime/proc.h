/* What /proc knows of a process: enough to say that a pid still means the process that it was written down for.
 * A pid alone is used again; with the boot and the time of its start it is not. */
#ifndef UNIMESH_NODE_RUNTIME_PROC_H
#define UNIMESH_NODE_RUNTIME_PROC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { BOOT_ID_SIZE = 16 };
#define PROC_BOOT_ID "/proc/sys/kernel/random/boot_id"

struct proc_stat {
    char state;           /* R, S, …; Z: ended, not yet reaped */
    uint32_t parent;
    uint64_t start_ticks; /* field 22: since boot; never 0 for a process that can be asked about */
};

/* false: no such process (or no /proc). */
bool proc_stat(uint32_t pid, struct proc_stat *out);
/* A line of /proc/PID/stat. The name in it may hold anything, parentheses and newlines too. */
bool proc_stat_parse(const char *text, size_t len, struct proc_stat *out);
/* false, and zeros: no /proc. */
bool proc_boot_id(uint8_t out[static BOOT_ID_SIZE]);
bool proc_boot_id_parse(const char *text, size_t len, uint8_t out[static BOOT_ID_SIZE]);

#endif
