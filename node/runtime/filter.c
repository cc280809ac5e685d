#define _GNU_SOURCE
#include "node/runtime/filter.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <unistd.h>

enum { REQUEST_SIZE = 16384, ANSWER_SIZE = 256, PATH_BYTES = 4096, LIMIT_MS = 5000 };

extern char **environ;

static struct {
    int fd;    /* -1: none runs */
    int pidfd; /* nobody waits for it, so its pid may be another's by now */
} filter = {.fd = -1, .pidfd = -1};

/* Beside this program. */
static int program(char out[static PATH_BYTES])
{
    static const char name[] = "mesh-filter";
    ssize_t n = readlink("/proc/self/exe", out, PATH_BYTES - sizeof name);
    out[n > 0 ? n : 0] = '\0';
    char *slash = strrchr(out, '/');
    if (slash == NULL)
        return ENOENT;
    memcpy(slash + 1, name, sizeof name);
    return 0;
}

/* 0, or an errno. */
static int begin(void)
{
    char path[PATH_BYTES], *argv[] = {(char *)"mesh-filter", NULL};
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t all;
    pid_t pid;
    int pair[2], error = program(path);
    if (!error && socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        error = errno;
    if (error)
        return error;
    sigfillset(&all);
    (void)posix_spawn_file_actions_init(&actions);
    (void)posix_spawnattr_init(&attributes);
    error = posix_spawn_file_actions_adddup2(&actions, pair[1], STDIN_FILENO);
    if (!error)
        error = posix_spawnattr_setsigdefault(&attributes, &all);
    if (!error)
        error = posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF);
    if (!error)
        error = posix_spawn(&pid, path, &actions, &attributes, argv, environ);
    (void)posix_spawnattr_destroy(&attributes);
    (void)posix_spawn_file_actions_destroy(&actions);
    close(pair[1]);
    if (error) {
        close(pair[0]);
        return error;
    }
    filter.fd = pair[0];
    filter.pidfd = pidfd_open(pid, 0);
    return 0;
}

static void end(void)
{
    if (filter.pidfd >= 0) {
        (void)pidfd_send_signal(filter.pidfd, SIGKILL, NULL, 0);
        close(filter.pidfd);
    }
    close(filter.fd);
    filter.fd = filter.pidfd = -1;
}

/* false: it is gone, or hangs. */
static bool exchange(const char *request, char answer[static ANSWER_SIZE])
{
    struct pollfd p = {filter.fd, POLLIN, 0};
    if (send(filter.fd, request, strlen(request), MSG_NOSIGNAL) < 0 || poll(&p, 1, LIMIT_MS) <= 0)
        return false;
    ssize_t n = recv(filter.fd, answer, ANSWER_SIZE - 1, 0);
    if (n <= 0)
        return false;
    answer[n] = '\0';
    return true;
}

__attribute__((format(printf, 3, 4))) static enum err ask(char *why, size_t why_size, const char *format, ...)
{
    static char request[REQUEST_SIZE];
    char answer[ANSWER_SIZE];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(request, sizeof request, format, args);
    va_end(args);
    for (int tries = 0; tries < 2; tries++) {
        int error = filter.fd < 0 ? begin() : 0;
        if (error) {
            (void)snprintf(why, why_size, "mesh-filter can't be started: %s", strerror(error));
            return ERR_UNSUPPORTED;
        }
        if (exchange(request, answer)) {
            (void)snprintf(why, why_size, "%s", answer);
            return answer[0] == '\0' ? ERR_OK : ERR_UNSUPPORTED;
        }
        end();
    }
    (void)snprintf(why, why_size, "mesh-filter ended, or did not answer");
    return ERR_UNSUPPORTED;
}

enum err filter_usable(char *why, size_t why_size)
{
    return ask(why, why_size, "look");
}

/* "-": it has none of the family. */
static const char *text_of(const struct ip *ip, char out[static IP_TEXT])
{
    if (ip_is_zero(ip))
        return "-";
    ip_text(ip, out);
    return out;
}

/* As mesh-filter reads it (filter_main.c). */
static void access_words(const struct guest_access *a, char *out, size_t size)
{
    char port[PORT_TEXT], subnet[SUBNET_TEXT];
    size_t at = 0;
    out[0] = '\0';
    for (uint32_t i = 0; i < a->port_count && at < size; i++) {
        port_text(&a->ports[i], port);
        at += (size_t)snprintf(out + at, size - at, " %s", port);
    }
    if (a->limited && at < size)
        at += (size_t)snprintf(out + at, size - at, " limited");
    for (uint32_t i = 0; i < a->source_count && at < size; i++) {
        subnet_text(&a->sources[i].subnet, subnet);
        at += (size_t)snprintf(out + at, size - at, " %c%s", a->sources[i].wish == PEER_ALLOW ? '+' : '-', subnet);
    }
}

enum err filter_add(const char *tap, const char *mac, const struct ip ip[static IP_FAMILIES],
                    const struct guest_access *access, char *why, size_t why_size)
{
    char ip4[IP_TEXT], ip6[IP_TEXT];
    static char words[REQUEST_SIZE - 256];
    access_words(access, words, sizeof words);
    return ask(why, why_size, "add %s %s %s %s%s", tap, mac, text_of(&ip[IP4], ip4), text_of(&ip[IP6], ip6), words);
}

void filter_remove(const char *tap)
{
    char why[ANSWER_SIZE];
    (void)!ask(why, sizeof why, "remove %s", tap); /* no nftables: there is no filter */
}
