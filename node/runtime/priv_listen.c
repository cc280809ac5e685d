#define _GNU_SOURCE
#include "node/runtime/priv_listen.h"

#include "node/runtime/priv.h"
#include "store/disk.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum { BACKLOG = 8 };

enum err priv_listen_open(const char *run_dir, uint32_t uid, uint32_t gid, int *fd, char *why, size_t why_size)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    enum err err = priv_socket_path(run_dir, at.sun_path, sizeof at.sun_path);
    if (err) {
        (void)snprintf(why, why_size, "the run folder's path is too long for a socket in it");
        return err;
    }
    (void)unlink(at.sun_path); /* nobody listens there: the run folder's lock is ours */
    *fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    mode_t before = umask(0177); /* nobody else's for a moment, either */
    if (*fd < 0 || bind(*fd, (struct sockaddr *)&at, sizeof at) < 0 || listen(*fd, BACKLOG) < 0 ||
        lchown(at.sun_path, uid, gid) < 0) {
        err = disk_err(errno);
        (void)snprintf(why, why_size, "%.150s can't be listened at: %s", at.sun_path, strerror(errno));
        if (*fd >= 0)
            close(*fd);
    }
    (void)umask(before);
    return err;
}

static bool allowed(int client, uint32_t uid)
{
    struct ucred peer;
    socklen_t len = sizeof peer;
    return getsockopt(client, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 && (peer.uid == uid || peer.uid == 0);
}

/* When this process ends, so does the one that serves. */
static void served(int client, int listener, int lifeline, void (*serve)(int client))
{
    pid_t parent = getpid(), pid = fork();
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGTERM);
        if (getppid() != parent)
            _exit(1);
        close(listener);
        if (lifeline >= 0)
            close(lifeline);
        serve(client);
        _exit(0);
    }
    close(client);
    while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        ;
}

void priv_listen(int fd, int lifeline, uint32_t uid, void (*serve)(int client))
{
    signal(SIGCHLD, SIG_DFL);
    for (;;) {
        struct pollfd p[2] = {{fd, POLLIN, 0}, {lifeline, POLLIN, 0}};
        if (poll(p, 2, -1) < 0)
            continue;
        if (p[1].revents != 0)
            return;
        int client = p[0].revents != 0 ? accept4(fd, NULL, NULL, SOCK_CLOEXEC) : -1;
        if (client < 0)
            continue;
        if (allowed(client, uid))
            served(client, fd, lifeline, serve);
        else
            close(client);
    }
}
