/* Where the time of a start goes: a line for each step that meshd, mesh-priv and mesh-jail have come to, in the file
 * that UNIMESH_TRACE names in their environment:
 *
 *   NANOSECONDS STEP      CLOCK_BOOTTIME, so that lines of several processes are in one order
 *
 * A tender in a jail has no environment. Steps don't say whose start they are of: it is for one start at a time, as
 * tests/bench/start makes them. Without the variable, a mark is one comparison. */
#ifndef UNIMESH_RUNTIME_TRACE_H
#define UNIMESH_RUNTIME_TRACE_H

extern int trace_fd; /* -1: no trace; closed by exec */

/* Once in each process. What can't be opened is not written. */
void trace_open(void);
/* A short word. Keeps errno. */
void trace_write(const char *step);

static inline void trace_mark(const char *step)
{
    if (trace_fd >= 0)
        trace_write(step);
}

#endif
