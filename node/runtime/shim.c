/* mesh-shim: one guest's parent. Started by mesh-priv in the unit's folder, it starts the tender, drains its console
 * into the ring, answers on `sock`, stops the tender when asked or when the deadline passes, and leaves the exit
 * record. It needs neither meshd nor mesh-priv once it runs. No C library (bare.h), no allocation.
 *
 *   mesh-shim TARGET DEADLINE_MS READY_FD JAIL TENDER ARGUMENT…
 *
 * READY_FD gets one message: the status when the tender runs, or the exit record if the start failed.
 * A shim that is told to end (SIGTERM) stops its guest first. One that is killed takes the guest along, by the death
 * signal.
 *
 * Where guests have jails (jail_words.h), it begins as root, takes the guest's uid as soon as the tender's process is
 * there, and what it starts is mesh-jail, which becomes the tender. The tender's pid namespace has a first process of
 * ours, which waits for the shim's end and takes all with it. */
#define _GNU_SOURCE
#include "node/runtime/bare.h"
#include "node/runtime/fault.h"
#include "node/runtime/jail_words.h"
#include "node/runtime/proc.h"
#include "node/runtime/shim_filter.h"
#include "node/runtime/shim_protocol.h"
#include "store/model/target.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>

enum {
    CLIENTS_MAX = 8,
    BACKLOG = 16,
    STOP_GRACE_MS = 3000,
    FAR_MS = 0x7fffffff, /* a grace is at most that: 24 days */
    JOIN_SESSION_KEYRING = 1
};
_Static_assert((int)SHIM_BOOT_SIZE == (int)BOOT_ID_SIZE, "one boot id");

static struct {
    struct shim_status status;
    struct shim_exit exit;
    struct shim_console console;
    char **environment;
    int console_fd, run_fd, exit_fd, listen_fd, pipe_fd, signal_fd, timer_fd, ready_fd;
    int clients[CLIENTS_MAX];
    uint32_t uid, passed, pids; /* of the jail's word */
    int oom_fd, alive_fd; /* alive: whose other end the namespace's first process waits at */
    uint64_t kill_at_ms; /* 0: not stopping */
    bool ended;
    bool kvm;         /* the tender is a QEMU with KVM */
    int kvm_error_at; /* so much of kvm_error stands at the end of the console; -1: not from a line's begin */
} s;

/* QEMU says so of a guest that the host's KVM can't run, pauses it, and stays: it would look alive for ever. */
static const char kvm_error[] = "KVM internal error";

static uint64_t now_ms(void)
{
    struct timespec t = {0, 0};
    (void)BARE(clock_gettime, CLOCK_BOOTTIME, &t, 0, 0, 0);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static int file_open(const char *name, int flags)
{
    return (int)BARE(openat, AT_FDCWD, name, flags | O_CLOEXEC, 0660, 0);
}

static void file_close(int *fd)
{
    (void)BARE(close, *fd, 0, 0, 0, 0);
    *fd = -1;
}

static uint64_t decimal_at(const char **p)
{
    uint64_t v = 0;
    for (; **p >= '0' && **p <= '9'; ++*p)
        v = v * 10 + (uint64_t)(**p - '0');
    return v;
}

static uint64_t decimal(const char *p)
{
    return decimal_at(&p);
}

/* ---- the end ------------------------------------------------------------------------------------ */

/* The kernel has killed something in the guest's control group for lack of memory. */
static bool oom_killed(void)
{
    static const char word[] = "oom_kill ";
    char text[512];
    long n = s.oom_fd < 0 ? 0 : BARE(pread64, s.oom_fd, text, sizeof text - 1, 0, 0);
    text[n > 0 ? n : 0] = '\0';
    for (const char *p = text; *p != '\0'; p++)
        if ((p == text || p[-1] == '\n') && memcmp(p, word, strnlen(p, sizeof word - 1)) == 0 &&
            strnlen(p, sizeof word) == sizeof word)
            return decimal(p + sizeof word - 1) > 0;
    return false;
}

static void record_exit(void)
{
    uint8_t bytes[SHIM_EXIT_SIZE];
    if (s.exit.end == SHIM_END_SIGNALED && s.exit.signal == SIGKILL && oom_killed())
        s.exit.error = ENOMEM;
    s.exit.target = s.status.target;
    s.exit.ended_ms = now_ms();
    s.exit.console_end = s.console.written;
    shim_exit_encode(&s.exit, bytes);
    if (s.exit_fd >= 0 && BARE(pwrite64, s.exit_fd, bytes, sizeof bytes, 0, 0) == (long)sizeof bytes)
        (void)BARE(fsync, s.exit_fd, 0, 0, 0, 0);
    fault_point("shim.exit-written");
    if (s.exit.end == SHIM_END_NOT_STARTED && s.ready_fd >= 0)
        (void)BARE(write, s.ready_fd, bytes, sizeof bytes, 0, 0);
}

static _Noreturn void leave(int status)
{
    for (;;)
        (void)BARE(exit_group, status, 0, 0, 0, 0);
}

/* error: negative, as the kernel says it. */
static _Noreturn void not_started(const char *what, long error)
{
    s.exit.end = SHIM_END_NOT_STARTED;
    s.exit.error = (uint32_t)-error;
    memcpy(s.exit.text, what, strnlen(what, sizeof s.exit.text - 1));
    record_exit();
    leave(1);
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
        long r = BARE(pwrite64, s.console_fd, p + done, n, SHIM_CONSOLE_HEADER + offset, 0);
        if (r <= 0)
            break; /* the file is preallocated; a broken disk must not stop the guest */
        done += (size_t)r;
    }
    s.console.written = at + len;
    shim_console_encode(&s.console, header);
    (void)BARE(pwrite64, s.console_fd, header, sizeof header, 0, 0);
}

static bool kvm_error_seen(const uint8_t *p, size_t len)
{
    bool seen = false;
    for (size_t i = 0; i < len; i++) {
        if (p[i] == '\n')
            s.kvm_error_at = 0;
        else if (s.kvm_error_at >= 0 && p[i] == (uint8_t)kvm_error[s.kvm_error_at])
            s.kvm_error_at++;
        else
            s.kvm_error_at = -1;
        if (s.kvm_error_at == (int)sizeof kvm_error - 1) {
            s.kvm_error_at = -1;
            seen = true;
        }
    }
    return seen;
}

static void tender_kill(int signal)
{
    (void)BARE(kill, s.status.pid, signal, 0, 0, 0);
}

/* false: nothing more is there now, or ever. */
static bool console_drain(void)
{
    static uint8_t bytes[SHIM_CONSOLE_CHUNK];
    long n = BARE(read, s.pipe_fd, bytes, sizeof bytes, 0, 0);
    if (n > 0) {
        console_write(bytes, (size_t)n);
        if (s.kvm && kvm_error_seen(bytes, (size_t)n) && !s.ended)
            tender_kill(SIGKILL);
        return true;
    }
    if (n == 0)
        file_close(&s.pipe_fd);
    return false;
}

/* ---- the tender --------------------------------------------------------------------------------- */

/* The kernel's struct sigaction and mask: the C library's are another shape. */
struct action {
    void (*handler)(int);
    unsigned long flags;
    void (*restorer)(void);
    uint64_t mask;
};

static const int ignored[] = {SIGHUP, SIGINT, SIGQUIT, SIGPIPE, SIGXFSZ};

enum { SIGNALS = 64 };

/* Handlers of all signals but these are the default, whatever was inherited. */
static void signals_set(void (*handler)(int), uint64_t blocked)
{
    const struct action action = {.handler = handler}, none = {.handler = SIG_DFL};
    for (int i = 1; i <= SIGNALS; i++)
        (void)BARE(rt_sigaction, i, &none, NULL, sizeof none.mask, 0);
    for (size_t i = 0; i < sizeof ignored / sizeof ignored[0]; i++)
        (void)BARE(rt_sigaction, ignored[i], &action, NULL, sizeof action.mask, 0);
    (void)BARE(rt_sigprocmask, SIG_SETMASK, &blocked, NULL, sizeof blocked, 0);
}

/* ---- the jail's part ---------------------------------------------------------------------------- */

static long guest_become(void)
{
    long error = BARE(setgroups, 0, NULL, 0, 0, 0);
    if (error >= 0)
        error = BARE(setresgid, s.uid, s.uid, s.uid, 0, 0);
    if (error >= 0)
        error = BARE(setresuid, s.uid, s.uid, s.uid, 0, 0);
    if (error >= 0)
        error = BARE(prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    (void)BARE(keyctl, JOIN_SESSION_KEYRING, NULL, 0, 0, 0);
    return error;
}

/* The first process of a pid namespace: when it ends, the kernel ends the others. It waits for the other end of a pipe
 * to close, which is the shim's end, however that comes. What it need not reap, it doesn't hear of. */
static _Noreturn void first_wait(int fd)
{
    char byte;
    if (BARE(dup3, fd, 0, 0, 0, 0) >= 0 && BARE(close_range, 1, ~0u, 0, 0, 0) >= 0 && guest_become() >= 0) {
        signals_set(SIG_IGN, 0);
        (void)shim_filter_first();
        while (BARE(read, 0, &byte, 1, 0, 0) == -EINTR)
            ;
    }
    leave(0);
}

static void pids_begin(void)
{
    int alive[2] = {-1, -1};
    long error = BARE(pipe2, alive, O_CLOEXEC, 0, 0, 0);
    if (error >= 0)
        error = BARE(unshare, CLONE_NEWPID, 0, 0, 0, 0);
    if (error >= 0)
        error = BARE(clone, SIGCHLD, 0, 0, 0, 0);
    if (error == 0)
        first_wait(alive[0]);
    if (error < 0)
        not_started("pid namespace", error);
    file_close(&alive[0]);
    s.alive_fd = alive[1];
}

static _Noreturn void child_exec(char **argv, int out, int failed)
{
    static const struct rlimit no_core = {0, 0}; /* a crashing tender would dump its guest's memory */
    signals_set(SIG_DFL, 0);                     /* what this process ignores or blocks, the tender must not inherit */
    (void)BARE(prlimit64, 0, RLIMIT_CORE, &no_core, NULL, 0);
    long error = file_open("/dev/null", O_RDONLY);
    if (error >= 0)
        error = BARE(dup3, error, 0, 0, 0, 0);
    if (error >= 0)
        error = BARE(dup3, out, 1, 0, 0, 0);
    if (error >= 0)
        error = BARE(dup3, out, 2, 0, 0, 0);
    if (error >= 0 && s.uid != 0) { /* mesh-jail says how it went */
        (void)BARE(setfsuid, 0, 0, 0, 0, 0);
        (void)BARE(setfsgid, 0, 0, 0, 0, 0);
        error = BARE(dup3, failed, JAIL_FAILED_FD, 0, 0, 0);
        failed = JAIL_FAILED_FD;
    }
    if (error >= 0)
        error = BARE(prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    if (error >= 0 && s.uid == 0)
        error = BARE(prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (error >= 0 && s.pids == 0 && BARE(getppid, 0, 0, 0, 0, 0) != (long)s.status.shim_pid)
        leave(127); /* it died before the signal was set; in a pid namespace, the first process ends us */
    fault_point("tender.to-be");
    if (error >= 0)
        error = BARE(execve, argv[0], argv, s.environment, 0, 0);
    (void)BARE(write, failed, &error, sizeof error, 0, 0);
    leave(127);
}

static uint64_t tender_start_ticks(uint32_t pid)
{
    char path[32] = "/proc/", text[1024], digits[12];
    size_t at = 6, n = 0;
    struct proc_stat stat;
    for (; pid > 0; pid /= 10)
        digits[n++] = (char)('0' + pid % 10);
    while (n > 0)
        path[at++] = digits[--n];
    memcpy(path + at, "/stat", 6);
    int fd = file_open(path, O_RDONLY);
    long len = BARE(read, fd, text, sizeof text, 0, 0);
    file_close(&fd);
    return len > 0 && proc_stat_parse(text, (size_t)len, &stat) ? stat.start_ticks : 0;
}

static bool same(const char *a, const char *b)
{
    while (*a != '\0' && *a == *b) {
        a++;
        b++;
    }
    return *a == *b;
}

static bool asks_for_kvm(char **argv)
{
    for (; argv[0] != NULL && argv[1] != NULL; argv++)
        if (same(argv[0], "-accel") && same(argv[1], "kvm"))
            return true;
    return false;
}

/* Until the tender runs, or doesn't. */
static void failure_hear(int fd, const char *program)
{
    struct jail_failure f = {.error = 0};
    long n = BARE(read, fd, &f, sizeof f, 0, 0);
    const char *name = program;
    if (n < (long)sizeof f.error)
        return;
    for (const char *p = name; *p != '\0'; p++)
        if (*p == '/')
            name = p + 1;
    f.what[JAIL_WHAT - 1] = '\0';
    not_started(n > (long)sizeof f.error ? f.what : name, f.error);
}

static void tender_start(char **argv)
{
    int console[2] = {-1, -1}, failed[2] = {-1, -1};
    long error = BARE(pipe2, console, O_CLOEXEC, 0, 0, 0);
    if (error >= 0)
        error = BARE(pipe2, failed, O_CLOEXEC, 0, 0, 0);
    if (error < 0)
        not_started("pipe", error);
    if (s.pids != 0)
        pids_begin();
    fault_point("shim.pids-begun");
    s.pipe_fd = console[0];
    (void)BARE(fcntl, s.pipe_fd, F_SETFL, O_RDONLY | O_NONBLOCK, 0, 0);
    s.status.shim_pid = (uint32_t)BARE(getpid, 0, 0, 0, 0, 0);
    long pid = BARE(clone, SIGCHLD, 0, 0, 0, 0); /* fork */
    if (pid < 0)
        not_started("fork", pid);
    if (pid == 0)
        child_exec(argv, console[1], failed[1]);
    fault_point("shim.tender-forked");
    file_close(&console[1]);
    file_close(&failed[1]);
    for (uint32_t i = 0; i < s.passed; i++)
        (void)BARE(close, JAIL_FD + i, 0, 0, 0, 0);
    error = s.uid != 0 ? guest_become() : 0;
    if (error < 0)
        not_started("the guest's user", error); /* and the tender's process goes with us */
    failure_hear(failed[0], argv[0]);
    file_close(&failed[0]);
    s.status.pid = (uint32_t)pid;
    s.status.started_ms = now_ms();
    s.status.start_ticks = tender_start_ticks(s.status.pid);
}

/* Who watches may read it when this process is no more; and who started it waits for it. */
static void status_tell(void)
{
    uint8_t bytes[SHIM_STATUS_SIZE];
    char text[64];
    int fd = file_open(PROC_BOOT_ID, O_RDONLY);
    long len = BARE(read, fd, text, sizeof text, 0, 0);
    file_close(&fd);
    if (len > 0)
        (void)proc_boot_id_parse(text, (size_t)len, s.status.boot);
    shim_status_encode(&s.status, bytes);
    (void)BARE(write, s.run_fd, bytes, sizeof bytes, 0, 0);
    file_close(&s.run_fd);
    fault_point("shim.run-written");
    (void)BARE(write, s.ready_fd, bytes, sizeof bytes, 0, 0);
    file_close(&s.ready_fd);
}

static void tender_reap(void)
{
    int status = 0;
    if (s.ended || BARE(wait4, s.status.pid, &status, WNOHANG, NULL, 0) != (long)s.status.pid)
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
    if (at > INT64_MAX)
        at = INT64_MAX;
    struct itimerspec spec = {.it_value = {.tv_sec = (time_t)(at / 1000), .tv_nsec = (long)(at % 1000) * 1000000}};
    (void)BARE(timerfd_settime, s.timer_fd, TFD_TIMER_ABSTIME, &spec, NULL, 0);
}

static void tender_stop(enum shim_intent intent, uint64_t grace_ms)
{
    fault_point("shim.stop-taken");
    if (s.exit.intent == SHIM_INTENT_NONE)
        s.exit.intent = intent;
    if (grace_ms == 0)
        grace_ms = STOP_GRACE_MS;
    if (s.kill_at_ms == 0)
        s.kill_at_ms = now_ms() + (grace_ms < FAR_MS ? grace_ms : FAR_MS);
    tender_kill(SIGTERM);
    tender_kill(SIGCONT);
    timer_set();
}

static void timer_fired(void)
{
    uint64_t expirations;
    (void)BARE(read, s.timer_fd, &expirations, sizeof expirations, 0, 0);
    uint64_t now = now_ms();
    if (s.kill_at_ms != 0 && now >= s.kill_at_ms)
        tender_kill(SIGKILL);
    else if (s.kill_at_ms == 0 && s.status.deadline_ms != 0 && now >= s.status.deadline_ms)
        tender_stop(SHIM_INTENT_DEADLINE, 0);
}

static void signals_take(void)
{
    struct signalfd_siginfo info = {0};
    while (BARE(read, s.signal_fd, &info, sizeof info, 0, 0) == (long)sizeof info)
        if (info.ssi_signo == SIGTERM)
            tender_stop(SHIM_INTENT_STOP, 0);
    tender_reap();
}

/* ---- who watches -------------------------------------------------------------------------------- */

static void client_accept(void)
{
    int fd = (int)BARE(accept4, s.listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return;
    for (int i = 0; i < CLIENTS_MAX; i++)
        if (s.clients[i] < 0) {
            s.clients[i] = fd;
            return;
        }
    file_close(&s.clients[0]); /* the oldest has had its time */
    memmove(s.clients, s.clients + 1, sizeof s.clients - sizeof s.clients[0]);
    s.clients[CLIENTS_MAX - 1] = fd;
}

static void client_step(int *client)
{
    uint8_t in[SHIM_REQUEST_SIZE * 2], out[SHIM_STATUS_SIZE];
    struct shim_request request = {SHIM_ASK, 0};
    long n = BARE(recvfrom, *client, in, sizeof in, 0, NULL);
    if (n == -EAGAIN || n == -EINTR)
        return;
    if (n <= 0 || !shim_request_decode(in, (size_t)n, &request)) {
        file_close(client);
        return;
    }
    if (request.verb == SHIM_STOP)
        tender_stop(SHIM_INTENT_STOP, request.argument);
    if (request.verb == SHIM_DEADLINE) {
        s.status.deadline_ms = request.argument;
        timer_set();
    }
    if (request.verb == SHIM_KILL) {
        if (s.exit.intent == SHIM_INTENT_NONE)
            s.exit.intent = SHIM_INTENT_STOP;
        tender_kill(SIGKILL);
    }
    shim_status_encode(&s.status, out);
    (void)BARE(sendto, *client, out, sizeof out, MSG_NOSIGNAL | MSG_DONTWAIT, NULL);
}

static void loop(void)
{
    while (!s.ended) {
        struct pollfd p[4 + CLIENTS_MAX] = {
            {s.pipe_fd, POLLIN, 0}, {s.signal_fd, POLLIN, 0}, {s.timer_fd, POLLIN, 0}, {s.listen_fd, POLLIN, 0}};
        for (int i = 0; i < CLIENTS_MAX; i++)
            p[4 + i] = (struct pollfd){s.clients[i], POLLIN, 0};
        if (BARE(ppoll, p, 4 + CLIENTS_MAX, NULL, NULL, 0) < 0)
            continue;
        if (p[0].revents != 0)
            (void)console_drain();
        if (p[2].revents != 0)
            timer_fired();
        for (int i = 0; i < CLIENTS_MAX; i++)
            if (p[4 + i].revents != 0)
                client_step(&s.clients[i]);
        if (p[3].revents != 0)
            client_accept();
        if (p[1].revents != 0)
            signals_take();
    }
    while (s.pipe_fd >= 0 && console_drain())
        ;
}

/* ---- the start ---------------------------------------------------------------------------------- */

/* Room for the whole file, so that a full disk is met now and not in the middle. */
static long preallocate(int fd, size_t size)
{
    static const uint8_t zeros[4096];
    long r = BARE(fallocate, fd, 0, 0, size, 0);
    if (r != -EOPNOTSUPP)
        return r;
    for (size_t at = 0; at < size; at += (size_t)r) {
        size_t n = size - at < sizeof zeros ? size - at : sizeof zeros;
        r = BARE(pwrite64, fd, zeros, n, at, 0);
        if (r <= 0)
            return r < 0 ? r : -EIO;
    }
    return 0;
}

static void files_open(void)
{
    uint8_t header[SHIM_CONSOLE_HEADER];
    s.exit_fd = file_open("exit", O_RDWR | O_CREAT);
    long error = s.exit_fd < 0 ? s.exit_fd : preallocate(s.exit_fd, SHIM_EXIT_SIZE);
    if (error < 0)
        not_started("exit record", error);
    s.run_fd = file_open("run", O_WRONLY | O_CREAT); /* written when the tender runs */
    if (s.run_fd < 0)
        not_started("run", s.run_fd);
    s.console_fd = file_open("console", O_RDWR | O_CREAT);
    error = s.console_fd < 0 ? s.console_fd : preallocate(s.console_fd, SHIM_CONSOLE_HEADER + SHIM_CONSOLE_RING);
    s.console.ring_bytes = SHIM_CONSOLE_RING;
    shim_console_encode(&s.console, header);
    if (error >= 0)
        error = BARE(pwrite64, s.console_fd, header, sizeof header, 0, 0);
    if (error < 0)
        not_started("console", error);
    static const struct sockaddr_un at = {.sun_family = AF_UNIX, .sun_path = "sock"};
    s.listen_fd = (int)BARE(socket, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, 0, 0);
    error = s.listen_fd < 0 ? s.listen_fd : BARE(bind, s.listen_fd, &at, sizeof at, 0, 0);
    if (error >= 0)
        error = BARE(listen, s.listen_fd, BACKLOG, 0, 0, 0);
    if (error < 0)
        not_started("socket", error);
}

/* UID:PASSED:OOM:PIDS:GID. From here on, files are made as the guest's. */
static void jail_word(const char *p)
{
    uint64_t v[5];
    for (size_t i = 0; i < sizeof v / sizeof v[0]; i++) {
        v[i] = decimal_at(&p);
        p += *p == ':';
    }
    s.uid = (uint32_t)v[0];
    s.passed = (uint32_t)v[1];
    s.oom_fd = v[2] != 0 ? (int)v[2] : -1;
    s.pids = (uint32_t)v[3];
    if (s.oom_fd >= 0)
        (void)BARE(fcntl, s.oom_fd, F_SETFD, FD_CLOEXEC, 0, 0);
    if (s.uid != 0 || v[4] != 0)
        (void)BARE(setfsgid, v[4] != 0 ? v[4] : s.uid, 0, 0, 0, 0);
    if (s.uid != 0)
        (void)BARE(setfsuid, s.uid, 0, 0, 0, 0);
}

int bare_main(int argc, char **argv, char **environment)
{
    static const char usage[] = "mesh-shim is started by mesh-priv, not by hand\n";
    const uint64_t taken = UINT64_C(1) << (SIGCHLD - 1) | UINT64_C(1) << (SIGTERM - 1);
    s.oom_fd = s.alive_fd = -1;
    s.run_fd = s.console_fd = s.exit_fd = s.listen_fd = s.pipe_fd = s.signal_fd = s.timer_fd = s.ready_fd = -1;
    for (int i = 0; i < CLIENTS_MAX; i++)
        s.clients[i] = -1;
    if (argc < 6) {
        (void)BARE(write, 2, usage, sizeof usage - 1, 0, 0);
        return 2;
    }
    fault_point("shim.begun");
    s.environment = environment;
    s.status.target = (uint32_t)decimal(argv[1]);
    s.status.deadline_ms = decimal(argv[2]);
    s.ready_fd = (int)decimal(argv[3]);
    (void)BARE(fcntl, s.ready_fd, F_SETFD, FD_CLOEXEC, 0, 0);
    (void)BARE(umask, 007, 0, 0, 0, 0); /* the folder says whose group may look */
    jail_word(argv[4]);
    signals_set(SIG_IGN, taken);
    s.signal_fd = (int)BARE(signalfd4, -1, &taken, sizeof taken, SFD_CLOEXEC | SFD_NONBLOCK, 0);
    s.timer_fd = (int)BARE(timerfd_create, CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK, 0, 0, 0);
    if (s.signal_fd < 0 || s.timer_fd < 0)
        not_started("signals", s.signal_fd < 0 ? s.signal_fd : s.timer_fd);
    files_open();
    fault_point("shim.files-made");
    timer_set();
    s.kvm = s.status.target == TARGET_VIRTIO && asks_for_kvm(argv + 5);
    tender_start(argv + 5);
    status_tell();
    fault_point("shim.started");
    (void)BARE(prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    (void)shim_filter(s.status.pid); /* a kernel without filters runs guests, too */
    loop();
    fault_point("shim.tender-ended");
    record_exit();
    return 0;
}
