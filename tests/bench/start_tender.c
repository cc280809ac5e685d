/* Stands in a tender's place (scripts/bench start), and boots nothing: says when it has come to be, and stays.
 *
 *   began BOOTTIME WALL       nanoseconds of CLOCK_BOOTTIME, microseconds of CLOCK_REALTIME
 *
 * With --probe among its arguments (meshd's trial boot) or --once, it ends well instead of staying. */
#define _GNU_SOURCE
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    struct timespec boot, wall;
    clock_gettime(CLOCK_BOOTTIME, &boot);
    clock_gettime(CLOCK_REALTIME, &wall);
    char line[96];
    int n = snprintf(line, sizeof line, "began %lld%09ld %lld%06ld\n", (long long)boot.tv_sec, boot.tv_nsec,
                     (long long)wall.tv_sec, wall.tv_nsec / 1000);
    (void)!write(STDOUT_FILENO, line, (size_t)n);
    for (int i = 1; i < argc; i++)
        if (strstr(argv[i], "--probe") != NULL || strstr(argv[i], "--once") != NULL)
            return 0;
    return pause();
}
