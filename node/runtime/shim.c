/* mesh-shim: one guest's parent. Started by mesh-priv in the unit's folder, it starts the tender, drains its console
 * into the ring, answers on `sock`, stops the tender when asked or when the deadline passes, and leaves the exit
 * record. It needs neither meshd nor mesh-priv once it runs. Static, no library but libc, no allocation after the
 * start.
 *
 *   mesh-shim TARGET DEADLINE_MS READY_FD TENDER ARGUMENT…
 *
 * READY_FD gets one exit record's bytes if the start failed, else it is closed when the tender runs.
 * The place for dropping to the guest's user is child_exec(), before the death signal. */
#define _GNU_SOURCE
#include "node/runtime/shim_protocol.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { CLIENTS_MAX = 8, STOP_GRACE_MS = 3000 };

static struct {
    struct shim_status status;
    struct shim_exit exit;
    struct shim_console console;
    int console_fd, exit_fd, listen_fd, pipe_fd, signal_fd, timer_fd, ready_fd;
    int clients[CLIENTS_MAX];
    uint64_t kill_at_ms; /* 0: not stopping */
    bool ended;
} s;

static uint64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_BOOTTIME, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* ---- the end ------------------------------------------------------------------------------------ */

static void record_exit(void)
{
    uint8_t bytes[SHIM_EXIT_SIZE];
    s.exit.target = s.status.target;
    s.exit.ended_ms = now_ms();
    s.exit.console_end = s.console.written;
    shim_exit_encode(&s.exit, bytes);
    if (s.exit_fd >= 0 && pwrite(s.exit_fd, bytes, sizeof bytes, 0) == (ssize_t)sizeof bytes)
        (void)fsync(s.exit_fd);
    if (s.exit.end == SHIM_END_NOT_STARTED && s.ready_fd >= 0)
        (void)!write(s.ready_fd, bytes, sizeof bytes);
}

static _Noreturn void not_started(const char *what, int error)
{
    s.exit.end = SHIM_END_NOT_STARTED;
    s.exit.error = (uint32_t)error;
    (void)snprintf(s.exit.text, sizeof s.exit.text, "%s: %s", what, strerror(error));
    record_exit();
    _exit(1);
}

/* ---- the console -------------------------------------------------------------------------------- */

static void console_write(const uint8_t *p, size_t len)
{
    uint8_t header[SHIM_CONSOLE_HEADER];
    uint64_t at = s.console.written;
    for (size_t done = 0; done < len;) {
        size_t offset = (size_t)((at + done) % SHIM_CONSOLE_RING);
        size_t room = SHIM_CONSOLE_RING - offset;
        size_t n = len - done < room ? len - done : room;
        ssize_t r = pwrite(s.console_fd, p + done, n, (off_t)(SHIM_CONSOLE_HEADER + offset));
        if (r <= 0)
            break; /* the file is preallocated; a broken disk must not stop the guest */
        done += (size_t)r;
    }
    s.console.written = at + len;
    shim_console_encode(&s.console, header);
    (void)!pwrite(s.console_fd, header, sizeof header, 0);
}

/* false: nothing more is there now, or ever. */
static bool console_drain(void)
{
    uint8_t bytes[16384];
    ssize_t n = read(s.pipe_fd, bytes, sizeof bytes);
    if (n > 0) {
        console_write(bytes, (size_t)n);
        return true;
    }
    if (n == 0) {
        close(s.pipe_fd);
        s.pipe_fd = -1;
    }
    return false;
}

/* ---- the tender --------------------------------------------------------------------------------- */

static _Noreturn void child_exec(char **argv, int out, int failed)
{
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    int null = open("/dev/null", O_RDONLY);
    if (null < 0 || dup2(null, 0) < 0 || dup2(out, 1) < 0 || dup2(out, 2) < 0)
        goto fail;
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        goto fail;
    if (getppid() != (pid_t)s.status.shim_pid) /* it died before the signal was set */
        _exit(127);
    execv(argv[0], argv);
fail:;
    int error = errno;
    (void)!write(failed, &error, sizeof error);
    _exit(127);
}

static void tender_start(char **argv)
{
    int console[2], failed[2];
    if (pipe2(console, O_CLOEXEC) < 0 || pipe2(failed, O_CLOEXEC) < 0)
        not_started("pipe", errno);
    s.pipe_fd = console[0];
    (void)fcntl(s.pipe_fd, F_SETFL, O_NONBLOCK);
    s.status.shim_pid = (uint32_t)getpid();
    pid_t pid = fork();
    if (pid < 0)
        not_started("fork", errno);
    if (pid == 0)
        child_exec(argv, console[1], failed[1]);
    close(console[1]);
    close(failed[1]);
    int error = 0;
    if (read(failed[0], &error, sizeof error) == (ssize_t)sizeof error)
        not_started(argv[0], error);
    close(failed[0]);
    s.status.pid = (uint32_t)pid;
    s.status.started_ms = now_ms();
}

static void tender_reap(void)
{
    struct signalfd_siginfo info;
    while (read(s.signal_fd, &info, sizeof info) == (ssize_t)sizeof info)
        ;
    int status;
    if (s.ended || waitpid((pid_t)s.status.pid, &status, WNOHANG) != (pid_t)s.status.pid)
        return;
    s.ended = true;
    if (WIFEXITED(status)) {
        s.exit.end = SHIM_END_EXITED;
        s.exit.status = WEXITSTATUS(status);
    } else {
        s.exit.end = SHIM_END_SIGNALED;
        s.exit.signal = (uint32_t)WTERMSIG(status);
    }
}

static void timer_set(void)
{
    uint64_t at = s.kill_at_ms != 0 ? s.kill_at_ms : s.status.deadline_ms;
    struct itimerspec spec = {.it_value = {.tv_sec = (time_t)(at / 1000), .tv_nsec = (long)(at % 1000) * 1000000}};
    (void)timerfd_settime(s.timer_fd, TFD_TIMER_ABSTIME, &spec, NULL);
}

static void tender_stop(enum shim_intent intent, uint64_t grace_ms)
{
    if (s.ended)
        return;
    if (s.exit.intent == SHIM_INTENT_NONE)
        s.exit.intent = intent;
    if (s.kill_at_ms == 0)
        s.kill_at_ms = now_ms() + (grace_ms > 0 ? grace_ms : STOP_GRACE_MS);
    kill((pid_t)s.status.pid, SIGTERM);
    kill((pid_t)s.status.pid, SIGCONT);
    timer_set();
}

static void timer_fired(void)
{
    uint64_t expirations;
    (void)!read(s.timer_fd, &expirations, sizeof expirations);
    uint64_t now = now_ms();
    if (s.kill_at_ms != 0 && now >= s.kill_at_ms)
        kill((pid_t)s.status.pid, SIGKILL);
    else if (s.kill_at_ms == 0 && s.status.deadline_ms != 0 && now >= s.status.deadline_ms)
        tender_stop(SHIM_INTENT_DEADLINE, 0);
}

/* ---- who watches -------------------------------------------------------------------------------- */

static void client_accept(void)
{
    int fd = accept4(s.listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return;
    for (int i = 0; i < CLIENTS_MAX; i++)
        if (s.clients[i] < 0) {
            s.clients[i] = fd;
            return;
        }
    close(s.clients[0]); /* the oldest has had its time */
    memmove(s.clients, s.clients + 1, sizeof s.clients - sizeof s.clients[0]);
    s.clients[CLIENTS_MAX - 1] = fd;
}

static void client_step(int *client)
{
    uint8_t in[SHIM_REQUEST_SIZE * 2], out[SHIM_STATUS_SIZE];
    struct shim_request request;
    ssize_t n = recv(*client, in, sizeof in, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0 || !shim_request_decode(in, (size_t)n, &request)) {
        close(*client);
        *client = -1;
        return;
    }
    if (request.verb == SHIM_STOP)
        tender_stop(SHIM_INTENT_STOP, request.argument);
    if (request.verb == SHIM_DEADLINE) {
        s.status.deadline_ms = request.argument;
        timer_set();
    }
    if (request.verb == SHIM_KILL) {
        s.exit.intent = SHIM_INTENT_STOP;
        kill((pid_t)s.status.pid, SIGKILL);
    }
    shim_status_encode(&s.status, out);
    (void)send(*client, out, sizeof out, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void loop(void)
{
    while (!s.ended) {
        struct pollfd p[4 + CLIENTS_MAX] = {
            {s.pipe_fd, POLLIN, 0}, {s.signal_fd, POLLIN, 0}, {s.timer_fd, POLLIN, 0}, {s.listen_fd, POLLIN, 0}};
        for (int i = 0; i < CLIENTS_MAX; i++)
            p[4 + i] = (struct pollfd){s.clients[i], POLLIN, 0};
        if (poll(p, 4 + CLIENTS_MAX, -1) < 0)
            continue;
        if (p[0].revents != 0)
            (void)console_drain();
        if (p[2].revents != 0)
            timer_fired();
        for (int i = 0; i < CLIENTS_MAX; i++)
            if (p[4 + i].revents != 0 && p[4 + i].fd == s.clients[i])
                client_step(&s.clients[i]);
        if (p[3].revents != 0)
            client_accept();
        if (p[1].revents != 0)
            tender_reap();
    }
    while (s.pipe_fd >= 0 && console_drain())
        ;
}

/* ---- the start ---------------------------------------------------------------------------------- */

static void files_open(void)
{
    uint8_t header[SHIM_CONSOLE_HEADER];
    s.exit_fd = open("exit", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    int error = s.exit_fd < 0 ? errno : posix_fallocate(s.exit_fd, 0, SHIM_EXIT_SIZE);
    if (error != 0)
        not_started("exit record", error);
    s.console_fd = open("console", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    error = s.console_fd < 0 ? errno : posix_fallocate(s.console_fd, 0, SHIM_CONSOLE_HEADER + SHIM_CONSOLE_RING);
    if (error != 0)
        not_started("console", error);
    s.console.ring_bytes = SHIM_CONSOLE_RING;
    shim_console_encode(&s.console, header);
    if (pwrite(s.console_fd, header, sizeof header, 0) != (ssize_t)sizeof header)
        not_started("console", errno);
    struct sockaddr_un at = {.sun_family = AF_UNIX, .sun_path = "sock"};
    s.listen_fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (s.listen_fd < 0 || bind(s.listen_fd, (struct sockaddr *)&at, sizeof at) < 0 || listen(s.listen_fd, 4) < 0)
        not_started("socket", errno);
}

int main(int argc, char **argv)
{
    s.console_fd = s.exit_fd = s.listen_fd = s.pipe_fd = s.signal_fd = s.timer_fd = s.ready_fd = -1;
    for (int i = 0; i < CLIENTS_MAX; i++)
        s.clients[i] = -1;
    if (argc < 5) {
        (void)!write(2, "mesh-shim is started by mesh-priv, not by hand\n", 47);
        return 2;
    }
    s.status.target = (uint32_t)strtoul(argv[1], NULL, 10);
    s.status.deadline_ms = strtoull(argv[2], NULL, 10);
    s.ready_fd = (int)strtol(argv[3], NULL, 10);
    (void)fcntl(s.ready_fd, F_SETFD, FD_CLOEXEC);
    (void)umask(077);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGCHLD, SIG_DFL);
    sigset_t child;
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    sigprocmask(SIG_BLOCK, &child, NULL);
    s.signal_fd = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
    s.timer_fd = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);
    if (s.signal_fd < 0 || s.timer_fd < 0)
        not_started("signals", errno);
    files_open();
    timer_set();
    tender_start(argv + 4);
    close(s.ready_fd);
    s.ready_fd = -1;
    loop();
    record_exit();
    return 0;
}
