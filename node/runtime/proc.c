#define _GNU_SOURCE
#include "node/runtime/proc.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static size_t read_whole(const char *path, char *out, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    ssize_t n = read(fd, out, size);
    close(fd);
    return n < 0 ? 0 : (size_t)n;
}

bool proc_stat(uint32_t pid, struct proc_stat *out)
{
    char path[32], text[1024];
    (void)snprintf(path, sizeof path, "/proc/%u/stat", pid);
    size_t len = read_whole(path, text, sizeof text);
    return proc_stat_parse(text, len, out);
}

bool proc_boot_id(uint8_t out[static BOOT_ID_SIZE])
{
    char text[64];
    size_t len = read_whole(PROC_BOOT_ID, text, sizeof text);
    memset(out, 0, BOOT_ID_SIZE);
    return proc_boot_id_parse(text, len, out);
}
