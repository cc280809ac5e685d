#define _GNU_SOURCE
#include "node/runtime/usage.h"

#include "node/runtime/net.h"
#include "node/runtime/unit_name.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { STAT_SIZE = 1024, UTIME_FIELD = 14, DEV_GROW = 65536, DEV_MAX = 4 * 1024 * 1024 };

/* The name before it may hold anything, so fields are counted from the last parenthesis, behind which is the third. */
bool usage_stat_parse(const char *text, size_t len, uint64_t *ticks)
{
    const char *at = memrchr(text, ')', len), *end = text + len;
    uint64_t utime = 0, stime = 0;
    int field = 2;
    for (; at != NULL && at < end && field < UTIME_FIELD; field++) {
        at = memchr(at, ' ', (size_t)(end - at));
        at = at == NULL ? NULL : at + 1;
    }
    if (at == NULL || at >= end || sscanf(at, "%" SCNu64 " %" SCNu64, &utime, &stime) != 2)
        return false;
    *ticks = utime + stime;
    return true;
}

/* The host receives what the guest sends. */
static void add_line(const char *line, struct usage *out)
{
    uint64_t v[10] = {0};
    if (sscanf(line,
               "%" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64
               " %" SCNu64 " %" SCNu64,
               &v[0], &v[1], &v[2], &v[3], &v[4], &v[5], &v[6], &v[7], &v[8], &v[9]) != 10)
        return;
    out->out_bytes += v[0];
    out->out_packets += v[1];
    out->in_bytes += v[8];
    out->in_packets += v[9];
}

void usage_net_parse(const char *text, const char *units_dir, const struct unit_id *run, struct usage *out)
{
    char prefix[TAP_PREFIX + 1], name[UNIT_NAME_SIZE], tap[NETS_MAX][LINK_SIZE];
    net_tap_prefix(units_dir, prefix);
    unit_name(run, name);
    for (uint32_t i = 0; i < NETS_MAX; i++)
        net_tap_name(prefix, name, i, tap[i]);
    for (const char *line = text; *line != '\0'; line += strcspn(line, "\n"), line += *line == '\n') {
        const char *link = line + strspn(line, " ");
        size_t len = strcspn(link, ":\n");
        if (link[len] != ':' || strncmp(link, prefix, TAP_PREFIX) != 0)
            continue;
        for (uint32_t i = 0; i < NETS_MAX; i++)
            if (strlen(tap[i]) == len && memcmp(tap[i], link, len) == 0)
                add_line(link + len + 1, out);
    }
}

/* Of some pages at most; NUL-ended. NULL: it can't be read. */
static char *file_read(const char *path)
{
    size_t size = 0, used = 0;
    char *text = NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    for (ssize_t n = 1; fd >= 0 && n > 0 && used < DEV_MAX;) {
        if (size - used < 2) {
            char *more = realloc(text, size += DEV_GROW);
            if (more == NULL)
                break;
            text = more;
        }
        n = read(fd, text + used, size - used - 1);
        used += n > 0 ? (size_t)n : 0;
    }
    if (fd >= 0)
        close(fd);
    if (text != NULL)
        text[used] = '\0';
    return text;
}

bool usage_read(const char *units_dir, const struct unit_id *run, uint32_t pid, struct usage *out)
{
    char path[64];
    uint64_t ticks = 0, pages = 0;
    *out = (struct usage){0};
    (void)snprintf(path, sizeof path, "/proc/%u/stat", pid);
    char *stat = pid == 0 ? NULL : file_read(path);
    (void)snprintf(path, sizeof path, "/proc/%u/statm", pid);
    char *memory = stat == NULL ? NULL : file_read(path);
    bool there = stat != NULL && memory != NULL && usage_stat_parse(stat, strlen(stat), &ticks) &&
                 sscanf(memory, "%*u %" SCNu64, &pages) == 1;
    free(stat);
    free(memory);
    if (!there)
        return false;
    out->cpu_ms = ticks * 1000 / (uint64_t)sysconf(_SC_CLK_TCK);
    out->rss_kib = pages * (uint64_t)sysconf(_SC_PAGESIZE) / 1024;
    char *links = file_read("/proc/net/dev");
    if (links != NULL)
        usage_net_parse(links, units_dir, run, out);
    free(links);
    return true;
}
