/* console-watch TEXT RUN…: a line each time that a run's console has TEXT in it for the first time:
 *
 *   MILLISECONDS RUN UNIT          CLOCK_BOOTTIME, the folder as given, UID.SLOT.EPOCH
 *
 * By inotify, so that a benchmark sees guests speak without asking anybody in the mesh. What a
 * firmware says before the guest has come does not count: hence TEXT. */
#define _GNU_SOURCE
#include "node/runtime/shim_protocol.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <time.h>
#include <unistd.h>

enum { WATCHES_MAX = 4096 };

static struct watch {
    const char *run;         /* NULL: none */
    char unit[NAME_MAX + 1]; /* "": the units folder itself */
} watches[WATCHES_MAX];

static const char *text;

static void look(int fd, int wd)
{
    char path[PATH_MAX + 64];
    static uint8_t bytes[SHIM_CONSOLE_HEADER + 4096]; /* a guest speaks first at its beginning */
    struct shim_console c;
    struct watch *w = &watches[wd];
    snprintf(path, sizeof path, "%s/units/%s/console", w->run, w->unit);
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return;
    ssize_t n = read(file, bytes, sizeof bytes);
    if (n > SHIM_CONSOLE_HEADER && shim_console_decode(bytes, SHIM_CONSOLE_HEADER, &c) &&
        memmem(bytes, (size_t)n, text, strlen(text)) != NULL) {
        struct timespec t;
        clock_gettime(CLOCK_BOOTTIME, &t);
        printf("%lld %s %s\n", (long long)t.tv_sec * 1000 + t.tv_nsec / 1000000, w->run, w->unit);
        fflush(stdout);
        inotify_rm_watch(fd, wd);
        w->run = NULL;
    }
    close(file);
}

static void unit_add(int fd, const char *run, const char *unit)
{
    char path[PATH_MAX + 64];
    snprintf(path, sizeof path, "%s/units/%s", run, unit);
    int wd = inotify_add_watch(fd, path, IN_CREATE | IN_MODIFY | IN_ONLYDIR);
    if (wd < 0 || wd >= WATCHES_MAX)
        return;
    watches[wd].run = run;
    snprintf(watches[wd].unit, sizeof watches[wd].unit, "%s", unit);
    look(fd, wd);
}

int main(int argc, char **argv)
{
    int fd = inotify_init1(IN_CLOEXEC);
    if (fd < 0 || argc < 3) {
        fprintf(stderr, "usage: console-watch TEXT RUN…\n");
        return 2;
    }
    text = argv[1];
    for (int i = 2; i < argc; i++) {
        char path[PATH_MAX + 64];
        snprintf(path, sizeof path, "%s/units", argv[i]);
        int wd = inotify_add_watch(fd, path, IN_CREATE | IN_ONLYDIR);
        if (wd < 0 || wd >= WATCHES_MAX) {
            perror(path);
            return 1;
        }
        watches[wd].run = argv[i];
    }
    for (;;) {
        _Alignas(struct inotify_event) char buffer[65536];
        ssize_t n = read(fd, buffer, sizeof buffer);
        if (n <= 0)
            return 1;
        for (char *p = buffer; p < buffer + n;) {
            const struct inotify_event *e = (const struct inotify_event *)p;
            p += sizeof *e + e->len;
            if (e->wd <= 0 || e->wd >= WATCHES_MAX || !watches[e->wd].run)
                continue;
            if (watches[e->wd].unit[0])
                look(fd, e->wd);
            else if (e->mask & IN_ISDIR)
                unit_add(fd, watches[e->wd].run, e->name);
        }
    }
}
