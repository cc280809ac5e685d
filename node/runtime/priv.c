#define _GNU_SOURCE
#include "node/runtime/priv.h"

#include "node/runtime/priv_protocol.h"
#include "store/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CLIENT_FD = 3 /* where mesh-priv looks for its socket */, BUFFER = 1024 * 1024 };

extern char **environ;

/* posix_spawn: the caller may be large and have threads, and is not copied. */
static int spawn(const char *path, const char *run_dir, const char *shim_path, const struct networks *networks,
                 const char *volumes_dir, const struct jail_config *jail, unsigned wait_ms, int socket, pid_t *pid)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none, all;
    char wait[16], uids[40], client[40], words[NETWORKS_MAX][NAME_SIZE + NETWORK_WORDS];
    char *argv[5 + 2 + NETWORKS_MAX + 1] = {(char *)(size_t)path, (char *)(size_t)run_dir, (char *)(size_t)shim_path,
                                            wait, (char *)(size_t)volumes_dir};
    size_t argc = 5;
    if (jail->off)
        argv[argc++] = (char *)(size_t)"--no-jail";
    else if (jail->uid_count > 0 && snprintf(uids, sizeof uids, "--uids=%u-%u", jail->uid_first,
                                             jail->uid_first + jail->uid_count - 1) > 0)
        argv[argc++] = uids;
    if (jail->client_uid != 0 &&
        snprintf(client, sizeof client, "--client=%u:%u", jail->client_uid, jail->client_gid) > 0)
        argv[argc++] = client;
    for (uint32_t i = 0; i < networks->count; i++) {
        int n = snprintf(words[i], NAME_SIZE + 1, "%s=", networks->v[i].name);
        network_words(&networks->v[i], words[i] + n);
        argv[argc++] = words[i];
    }
    (void)snprintf(wait, sizeof wait, "%u", wait_ms);
    sigemptyset(&none);
    sigfillset(&all);
    int error = posix_spawn_file_actions_init(&actions);
    if (error)
        return error;
    error = posix_spawnattr_init(&attributes);
    if (error)
        goto undo_actions;
    error = posix_spawn_file_actions_adddup2(&actions, socket, CLIENT_FD);
    if (!error)
        error = posix_spawnattr_setsigmask(&attributes, &none);
    if (!error)
        error = posix_spawnattr_setsigdefault(&attributes, &all);
    if (!error)
        error = posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    if (!error)
        error = posix_spawn(pid, path, &actions, &attributes, argv, environ);
    (void)posix_spawnattr_destroy(&attributes);
undo_actions:
    (void)posix_spawn_file_actions_destroy(&actions);
    return error;
}

/* The first process ends as soon as the second has begun, or when it can't. */
static enum err begun(pid_t pid, int fd, const char *path, char *why, size_t why_size)
{
    uint8_t bytes[PRIV_ANSWER_MAX];
    struct priv_answer a;
    int status;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR) {
            status = 0; /* somebody reaped it for us: the socket will tell */
            break;
        }
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return ERR_OK;
    ssize_t n = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT);
    if (n > 0 && priv_answer_decode(bytes, (size_t)n, &a) == ERR_OK && a.err != ERR_OK) {
        (void)snprintf(why, why_size, "%s", a.text);
        return a.err;
    }
    (void)snprintf(why, why_size, "%s ended at once (status %d)", path, status);
    return ERR_IO;
}

enum err priv_spawn(const char *path, const char *run_dir, const char *shim_path, const struct networks *networks,
                    const char *volumes_dir, const struct jail_config *jail, unsigned wait_ms, int *fd, char *why,
                    size_t why_size)
{
    int pair[2], size = BUFFER;
    pid_t pid = -1;
    if (access(path, X_OK) < 0 || access(shim_path, X_OK) < 0) {
        enum err err = disk_err(errno);
        (void)snprintf(why, why_size, "%s can't be run: %s", access(path, X_OK) < 0 ? path : shim_path,
                       strerror(errno));
        return err;
    }
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
        (void)snprintf(why, why_size, "no socket for mesh-priv: %s", strerror(errno));
        return ERR_IO;
    }
    (void)setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    int error = spawn(path, run_dir, shim_path, networks, volumes_dir, jail, wait_ms, pair[1], &pid);
    close(pair[1]);
    enum err err = disk_err(error);
    if (err)
        (void)snprintf(why, why_size, "%s can't be started: %s", path, strerror(error));
    else
        err = begun(pid, pair[0], path, why, why_size);
    if (err) {
        close(pair[0]);
        return err;
    }
    *fd = pair[0];
    return ERR_OK;
}

/* ---- one that listens --------------------------------------------------------------------------- */

enum err priv_socket_path(const char *run_dir, char *out, size_t size)
{
    int n = snprintf(out, size, "%s/priv.sock", run_dir);
    return n < 0 || (size_t)n >= size ? ERR_TOO_LARGE : ERR_OK;
}

enum err priv_connect(const char *run_dir, unsigned wait_ms, int *fd, char *why, size_t why_size)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    uint8_t bytes[PRIV_ANSWER_MAX];
    struct priv_answer a;
    enum err err = priv_socket_path(run_dir, at.sun_path, sizeof at.sun_path);
    if (err) {
        (void)snprintf(why, why_size, "the run folder's path is too long for a socket in it");
        return err;
    }
    *fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (*fd < 0 || connect(*fd, (struct sockaddr *)&at, sizeof at) < 0) {
        int error = errno;
        (void)snprintf(why, why_size, "mesh-priv can't be reached at %s: %s", at.sun_path, strerror(error));
        if (*fd >= 0)
            close(*fd);
        *fd = -1;
        return error == ECONNREFUSED ? ERR_CLOSED : error == EAGAIN ? ERR_BUSY : disk_err(error);
    }
    struct pollfd p = {*fd, POLLIN, 0};
    ssize_t n = poll(&p, 1, (int)wait_ms) > 0 ? recv(*fd, bytes, sizeof bytes, 0) : -1;
    if (n > 0 && priv_answer_decode(bytes, (size_t)n, &a) == ERR_OK && a.err == ERR_OK)
        return ERR_OK;
    close(*fd);
    *fd = -1;
    (void)snprintf(why, why_size, n == 0 ? "mesh-priv doesn't serve this user"
                                         : "mesh-priv is busy with another's requests, or hangs");
    return n == 0 ? ERR_DENIED : ERR_BUSY;
}

enum err priv_open(const char *path, const char *run_dir, const char *shim_path, const struct networks *networks,
                   const char *volumes_dir, const struct jail_config *jail, unsigned wait_ms, int *fd, char *why,
                   size_t why_size)
{
    enum err err = priv_connect(run_dir, wait_ms, fd, why, why_size);
    bool ours = err == ERR_NOT_FOUND || err == ERR_TOO_LARGE || (err == ERR_CLOSED && geteuid() == 0);
    if (!ours || jail->client_uid != 0)
        return err;
    return priv_spawn(path, run_dir, shim_path, networks, volumes_dir, jail, wait_ms, fd, why, why_size);
}
