#define _GNU_SOURCE
#include "tests/support/scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

void scratch_new(char out[static SCRATCH_PATH])
{
    strcpy(out, "/tmp/unimesh-XXXXXX");
    assert_non_null(mkdtemp(out));
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    (void)remove(path);
    return 0;
}

void scratch_remove(const char *dir)
{
    (void)nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

const char *scratch_path(char out[static SCRATCH_PATH], const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = vsnprintf(out, SCRATCH_PATH, format, args);
    va_end(args);
    assert_in_range(n, 0, SCRATCH_PATH - 1);
    return out;
}

const char *scratch_program(char out[static SCRATCH_PATH], const char *name)
{
    ssize_t n = readlink("/proc/self/exe", out, SCRATCH_PATH - 1);
    assert_true(n > 0);
    out[n] = '\0';
    char *slash = strrchr(out, '/');
    assert_true((size_t)(slash - out) + strlen(name) + 2 < SCRATCH_PATH);
    strcpy(slash + 1, name);
    return out;
}

void scratch_write(const char *path, unsigned mode, const char *content)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, content, strlen(content)), strlen(content));
    assert_int_equal(fchmod(fd, mode), 0);
    close(fd);
}

bool scratch_exists(const char *path)
{
    return access(path, F_OK) == 0;
}

uint64_t scratch_now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_BOOTTIME, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

int scratch_pid_fd(uint32_t pid)
{
    int fd = (int)syscall(SYS_pidfd_open, (pid_t)pid, 0u);
    if (fd < 0)
        assert_int_equal(errno, ESRCH);
    return fd;
}

static void wait_gone(int fd)
{
    struct pollfd p = {fd, POLLIN, 0};
    assert_int_equal(poll(&p, 1, SCRATCH_WAIT_MS), 1);
    close(fd);
}

void scratch_wait_gone(uint32_t pid)
{
    int fd = scratch_pid_fd(pid);
    if (fd >= 0)
        wait_gone(fd);
}

void scratch_kill_fd(int *pid_fd)
{
    (void)syscall(SYS_pidfd_send_signal, *pid_fd, SIGKILL, NULL, 0u);
    wait_gone(*pid_fd);
    *pid_fd = -1;
}
