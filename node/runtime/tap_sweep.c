#define _GNU_SOURCE
#include "node/runtime/tap_sweep.h"

#include "node/runtime/net.h"
#include "node/runtime/tap.h"
#include "node/runtime/tender.h"
#include "node/runtime/unit_name.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TAPS_MAX = 2048 }; /* of this run folder; should there be more, the rest waits for the next look */

struct taps {
    size_t count;
    char name[TAPS_MAX][LINK_SIZE];
    bool owned[TAPS_MAX];
};

static void tap_note(void *ctx, const char *name)
{
    struct taps *t = ctx;
    if (t->count < TAPS_MAX)
        (void)snprintf(t->name[t->count++], LINK_SIZE, "%s", name);
}

static int tap_compare(const void *a, const void *b)
{
    return strcmp(a, b);
}

static void run_owns(struct taps *t, const char *prefix, const char *run)
{
    char name[LINK_SIZE];
    struct unit_id unit;
    if (unit_name_parse(run, &unit))
        return;
    for (uint32_t i = 0; i < NETS_MAX; i++) {
        net_tap_name(prefix, run, i, name);
        const char(*at)[LINK_SIZE] = bsearch(name, t->name, t->count, LINK_SIZE, tap_compare);
        if (at != NULL)
            t->owned[at - (const char(*)[LINK_SIZE])t->name] = true;
    }
}

void taps_sweep(int units_fd, const char *prefix, enum err (*remove)(const char *tap))
{
    static struct taps t;
    memset(&t, 0, sizeof t);
    tap_each(prefix, tap_note, &t);
    if (t.count == 0)
        return;
    qsort(t.name, t.count, LINK_SIZE, tap_compare);
    int fd = openat(units_fd, ".", O_DIRECTORY | O_RDONLY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (dir == NULL) {
        if (fd >= 0)
            close(fd);
        return; /* whose they are isn't known: they stay */
    }
    for (const struct dirent *d; (d = readdir(dir)) != NULL;)
        run_owns(&t, prefix, d->d_name);
    closedir(dir);
    for (size_t i = 0; i < t.count; i++)
        if (!t.owned[i])
            (void)!remove(t.name[i]); /* in use still: the next look */
}
