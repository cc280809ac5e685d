#define _GNU_SOURCE
#include "node/runtime/trace.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

int trace_fd = -1;

void trace_open(void)
{
    const char *path = getenv("UNIMESH_TRACE");
    if (trace_fd < 0 && path != NULL)
        trace_fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
}

void trace_write(const char *step)
{
    char line[64];
    struct timespec t;
    int error = errno;
    clock_gettime(CLOCK_BOOTTIME, &t);
    int n = snprintf(line, sizeof line, "%lld%09ld %s\n", (long long)t.tv_sec, t.tv_nsec, step);
    if (n > 0 && (size_t)n < sizeof line)
        (void)!write(trace_fd, line, (size_t)n);
    errno = error;
}
