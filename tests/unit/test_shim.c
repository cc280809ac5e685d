/* node/runtime/shim.c: real shims, with a shell in the tender's place. */
#define _GNU_SOURCE
#include "node/runtime/proc.h"
#include "node/runtime/shim_protocol.h"
#include "tests/support/scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static struct {
    char dir[SCRATCH_PATH], shim[SCRATCH_PATH];
    const char *tender;
    rlim_t file_size; /* of the shim; 0: no limit */
    bool kvm;         /* the tender is started as QEMU with KVM is */
    int ready;
    pid_t pid;        /* the shim's */
    struct shim_status status;
    struct shim_exit exit;
} t;

static int set_up(void **state)
{
    (void)state;
    memset(&t, 0, sizeof t);
    scratch_new(t.dir);
    (void)scratch_program(t.shim, "mesh-shim");
    t.tender = "/bin/sh";
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    if (t.pid > 0 && waitpid(t.pid, NULL, WNOHANG) == 0) {
        kill(t.pid, SIGKILL);
        (void)waitpid(t.pid, NULL, 0);
    }
    close(t.ready);
    scratch_remove(t.dir);
    return 0;
}

static _Noreturn void exec_shim(const char *script, uint64_t deadline_ms, int ready)
{
    char deadline[32], fd[16];
    const struct rlimit limit = {t.file_size, t.file_size};
    snprintf(deadline, sizeof deadline, "%llu", (unsigned long long)deadline_ms);
    if (dup2(ready, 3) < 0 || close_range(4, ~0u, 0) < 0)
        _exit(97);
    snprintf(fd, sizeof fd, "%d", 3);
    if (chdir(t.dir) < 0 || (t.file_size != 0 && setrlimit(RLIMIT_FSIZE, &limit) < 0))
        _exit(99);
    setsid();
    execl(t.shim, t.shim, "3", deadline, fd, "0:0:0:0:0", t.tender, "-c", script, t.kvm ? "-accel" : (char *)NULL,
          "kvm", (char *)NULL);
    _exit(98);
}

/* Start it; what it says first is left in t.ready. */
static void shim_fork(const char *script, uint64_t deadline_ms)
{
    int p[2];
    assert_int_equal(pipe(p), 0);
    t.pid = fork();
    assert_true(t.pid >= 0);
    if (t.pid == 0) {
        close(p[0]);
        exec_shim(script, deadline_ms, p[1]);
    }
    close(p[1]);
    t.ready = p[0];
}

static void shim_start_until(const char *script, uint64_t deadline_ms)
{
    uint8_t bytes[SHIM_EXIT_SIZE], more;
    shim_fork(script, deadline_ms);
    assert_int_equal(read(t.ready, bytes, sizeof bytes), SHIM_STATUS_SIZE);
    assert_true(shim_status_decode(bytes, SHIM_STATUS_SIZE, &t.status));
    assert_int_equal(read(t.ready, &more, 1), 0); /* one message, and nobody holds the pipe */
}

static void shim_start(const char *script)
{
    shim_start_until(script, 0);
}

static int dial(void)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    snprintf(at.sun_path, sizeof at.sun_path, "%.90s/sock", t.dir);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&at, sizeof at), 0);
    return fd;
}

static void say(int fd, enum shim_verb verb, uint64_t argument)
{
    uint8_t bytes[SHIM_REQUEST_SIZE];
    shim_request_encode(&(struct shim_request){verb, argument}, bytes);
    assert_int_equal(send(fd, bytes, sizeof bytes, MSG_NOSIGNAL), sizeof bytes);
}

static struct shim_status ask(int fd, enum shim_verb verb, uint64_t argument)
{
    uint8_t bytes[SHIM_STATUS_SIZE];
    struct shim_status status;
    say(fd, verb, argument);
    assert_int_equal(recv(fd, bytes, sizeof bytes, 0), SHIM_STATUS_SIZE);
    assert_true(shim_status_decode(bytes, sizeof bytes, &status));
    return status;
}

static size_t file_read(const char *name, void *out, size_t size)
{
    char path[SCRATCH_PATH];
    int fd = open(scratch_path(path, "%.90s/%s", t.dir, name), O_RDONLY);
    if (fd < 0)
        return 0;
    ssize_t n = read(fd, out, size);
    close(fd);
    return n < 0 ? 0 : (size_t)n;
}

/* The shim's end, by its exit status, and what it left. */
static void shim_wait(int exit_status)
{
    int status;
    uint8_t bytes[SHIM_EXIT_SIZE + 1];
    assert_int_equal(waitpid(t.pid, &status, 0), t.pid);
    t.pid = 0;
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), exit_status);
    assert_int_equal(file_read("exit", bytes, sizeof bytes), SHIM_EXIT_SIZE);
    assert_true(shim_exit_decode(bytes, SHIM_EXIT_SIZE, &t.exit));
}

static uint8_t console[SHIM_CONSOLE_HEADER + SHIM_CONSOLE_RING + 1];

static struct shim_console console_read(void)
{
    struct shim_console c;
    assert_int_equal(file_read("console", console, sizeof console), sizeof console - 1);
    assert_true(shim_console_decode(console, sizeof console, &c));
    return c;
}

static void wait_for_console(const char *text)
{
    char path[SCRATCH_PATH];
    int watch = inotify_init();
    struct pollfd p = {watch, POLLIN, 0};
    assert_true(inotify_add_watch(watch, scratch_path(path, "%.90s/console", t.dir), IN_MODIFY) >= 0);
    for (;;) {
        struct shim_console c = console_read();
        console[SHIM_CONSOLE_HEADER + c.written] = '\0';
        if (strstr((char *)console + SHIM_CONSOLE_HEADER, text) != NULL)
            break;
        char event[4096];
        assert_int_equal(poll(&p, 1, SCRATCH_WAIT_MS), 1);
        assert_true(read(watch, event, sizeof event) > 0);
    }
    close(watch);
}

static void the_exit_status_and_the_console_are_kept(void **state)
{
    (void)state;
    shim_start("echo out; echo err >&2; exit 7");
    shim_wait(0);
    assert_int_equal(t.exit.end, SHIM_END_EXITED);
    assert_int_equal(t.exit.status, 7);
    assert_int_equal(t.exit.intent, SHIM_INTENT_NONE);
    assert_int_equal(t.exit.target, 3);
    assert_int_equal(t.exit.console_end, 8);
    assert_true(t.exit.ended_ms >= t.status.started_ms);
    assert_int_equal(console_read().written, 8);
    assert_memory_equal(console + SHIM_CONSOLE_HEADER, "out\nerr\n", 8);
}

static void a_signal_is_kept(void **state)
{
    (void)state;
    shim_start("kill -SEGV $$");
    shim_wait(0);
    assert_int_equal(t.exit.end, SHIM_END_SIGNALED);
    assert_int_equal(t.exit.signal, SIGSEGV);
    char path[SCRATCH_PATH];
    assert_false(scratch_exists(scratch_path(path, "%.90s/core", t.dir)));
}

/* QEMU pauses a guest that the host's KVM can't run, and stays. */
static void a_kvm_that_gives_up_is_an_end(void **state)
{
    (void)state;
    t.kvm = true;
    shim_start("echo 'a KVM internal error'; printf 'KVM internal'; sleep 0.1; printf ' error. Suberror: 1\\n'; "
               "exec sleep 1000");
    shim_wait(0);
    assert_int_equal(t.exit.end, SHIM_END_SIGNALED);
    assert_int_equal(t.exit.signal, SIGKILL);
    assert_int_equal(t.exit.intent, SHIM_INTENT_NONE);
}

static void words_of_kvm_are_only_words_without_it(void **state)
{
    (void)state;
    shim_start("echo 'KVM internal error. Suberror: 1'; sleep 0.2; exit 3");
    shim_wait(0);
    assert_int_equal(t.exit.end, SHIM_END_EXITED);
    assert_int_equal(t.exit.status, 3);
}

static void the_status_names_the_tender_beyond_doubt(void **state)
{
    (void)state;
    uint8_t boot[BOOT_ID_SIZE], bytes[SHIM_STATUS_SIZE];
    struct proc_stat stat;
    struct shim_status run;
    shim_start("exec sleep 1000");
    int fd = dial();
    struct shim_status s = ask(fd, SHIM_ASK, 0);
    assert_int_equal(s.shim_pid, t.pid);
    assert_int_equal(s.target, 3);
    assert_true(proc_stat(s.pid, &stat));
    assert_int_equal(stat.parent, t.pid);
    assert_int_equal(stat.start_ticks, s.start_ticks);
    assert_true(proc_boot_id(boot));
    assert_memory_equal(s.boot, boot, sizeof boot);
    assert_int_equal(file_read("run", bytes, sizeof bytes), sizeof bytes);
    assert_true(shim_status_decode(bytes, sizeof bytes, &run));
    assert_memory_equal(&run, &t.status, sizeof run);
    struct ucred peer;
    socklen_t len = sizeof peer;
    assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len), 0);
    assert_int_equal(peer.pid, t.pid);
    close(fd);
}

static void the_ring_holds_the_last_bytes(void **state)
{
    (void)state;
    shim_start("seq -f 'line %04.0f' 0 9999 | head -c 90000; i=0; while [ $i -lt 91 ]; do i=$((i + 1)); "
               "head -c 10000 /dev/zero | tr '\\0' a; done; echo; echo the end");
    shim_wait(0);
    struct shim_console c = console_read();
    assert_int_equal(c.written, 90000 + 910000 + 9);
    assert_int_equal(t.exit.console_end, c.written);
    size_t end = (size_t)(c.written % SHIM_CONSOLE_RING);
    assert_memory_equal(console + SHIM_CONSOLE_HEADER + end - 9, "\nthe end\n", 9);
    for (size_t i = 0; i < SHIM_CONSOLE_RING - 9; i++)
        assert_int_equal(console[SHIM_CONSOLE_HEADER + (end + i) % SHIM_CONSOLE_RING], 'a');
}

static void a_stop_is_a_signal_first(void **state)
{
    (void)state;
    char byte;
    shim_start("exec sleep 1000");
    int fd = dial();
    (void)ask(fd, SHIM_STOP, 60000);
    assert_int_equal(recv(fd, &byte, 1, 0), 0); /* who watches sees the end of the connection */
    shim_wait(0);
    assert_int_equal(t.exit.end, SHIM_END_SIGNALED);
    assert_int_equal(t.exit.signal, SIGTERM);
    assert_int_equal(t.exit.intent, SHIM_INTENT_STOP);
    close(fd);
}

static void who_ignores_a_stop_is_killed_after_the_grace(void **state)
{
    (void)state;
    shim_start("trap '' TERM; echo ready; exec sleep 1000");
    wait_for_console("ready");
    int fd = dial();
    uint64_t from = scratch_now_ms();
    (void)ask(fd, SHIM_STOP, 100);
    shim_wait(0);
    assert_true(scratch_now_ms() - from >= 100);
    assert_int_equal(t.exit.signal, SIGKILL);
    assert_int_equal(t.exit.intent, SHIM_INTENT_STOP);
    close(fd);
}

static void a_kill_does_not_wait(void **state)
{
    (void)state;
    shim_start("trap '' TERM; echo ready; exec sleep 1000");
    wait_for_console("ready");
    int fd = dial();
    (void)ask(fd, SHIM_KILL, 0);
    shim_wait(0);
    assert_int_equal(t.exit.signal, SIGKILL);
    assert_int_equal(t.exit.intent, SHIM_INTENT_STOP);
    close(fd);
}

static void the_deadline_stops_the_guest_without_anybody(void **state)
{
    (void)state;
    uint64_t deadline = scratch_now_ms() + 150;
    shim_start_until("exec sleep 1000", deadline);
    shim_wait(0);
    assert_true(t.exit.ended_ms >= deadline);
    assert_int_equal(t.exit.intent, SHIM_INTENT_DEADLINE);
}

static void the_deadline_moves(void **state)
{
    (void)state;
    uint64_t deadline = scratch_now_ms() + 3600 * 1000;
    shim_start_until("exec sleep 1000", deadline);
    int fd = dial();
    assert_int_equal(ask(fd, SHIM_ASK, 0).deadline_ms, deadline);
    assert_int_equal(ask(fd, SHIM_DEADLINE, 0).deadline_ms, 0);
    assert_int_equal(ask(fd, SHIM_DEADLINE, UINT64_MAX).deadline_ms, UINT64_MAX);
    assert_int_equal(ask(fd, SHIM_DEADLINE, 1).deadline_ms, 1); /* long past */
    shim_wait(0);
    assert_int_equal(t.exit.intent, SHIM_INTENT_DEADLINE);
    close(fd);
}

static void a_killed_shim_takes_its_guest_along(void **state)
{
    (void)state;
    shim_start("trap '' TERM HUP; exec sleep 1000");
    kill(t.pid, SIGKILL);
    scratch_wait_gone(t.status.pid);
    assert_int_equal(waitpid(t.pid, NULL, 0), t.pid);
    t.pid = 0;
    uint8_t bytes[SHIM_EXIT_SIZE];
    assert_int_equal(file_read("exit", bytes, sizeof bytes), sizeof bytes);
    assert_false(shim_exit_decode(bytes, sizeof bytes, &t.exit)); /* nothing was recorded, which says it all */
}

static void a_shim_that_is_told_to_end_stops_its_guest(void **state)
{
    (void)state;
    shim_start("exec sleep 1000");
    kill(t.pid, SIGHUP);
    kill(t.pid, SIGINT);
    kill(t.pid, SIGTERM);
    shim_wait(0);
    assert_int_equal(t.exit.signal, SIGTERM);
    assert_int_equal(t.exit.intent, SHIM_INTENT_STOP);
}

static void not_started(int error, const char *text)
{
    uint8_t bytes[SHIM_EXIT_SIZE + 1];
    struct shim_exit said;
    assert_int_equal(read(t.ready, bytes, sizeof bytes), SHIM_EXIT_SIZE);
    assert_true(shim_exit_decode(bytes, SHIM_EXIT_SIZE, &said));
    assert_int_equal(said.end, SHIM_END_NOT_STARTED);
    assert_int_equal(said.error, error);
    assert_string_equal(said.text, text);
    shim_wait(1);
    assert_memory_equal(&t.exit, &said, sizeof said);
}

static void a_missing_tender_is_named(void **state)
{
    (void)state;
    t.tender = "/nowhere/solo5-hvt";
    shim_fork("", 0);
    not_started(ENOENT, "solo5-hvt");
}

static void what_is_no_program_is_named(void **state)
{
    (void)state;
    char path[SCRATCH_PATH];
    t.tender = scratch_path(path, "%.90s/tender", t.dir);
    scratch_write(path, 0755, "");
    shim_fork("", 0);
    not_started(ENOEXEC, "tender");
}

static void no_room_for_a_console_is_named(void **state)
{
    (void)state;
    t.file_size = 10000;
    shim_fork("exit 0", 0);
    not_started(EFBIG, "console");
}

static void it_outlives_who_started_it(void **state)
{
    (void)state;
    int p[2];
    uint8_t bytes[SHIM_STATUS_SIZE];
    assert_int_equal(pipe(p), 0);
    pid_t starter = fork();
    if (starter == 0) {
        close(p[0]);
        pid_t shim = fork();
        if (shim == 0)
            exec_shim("echo ready; exec sleep 1000", 0, p[1]);
        raise(SIGKILL);
    }
    close(p[1]);
    t.ready = p[0];
    assert_int_equal(waitpid(starter, NULL, 0), starter);
    assert_int_equal(read(t.ready, bytes, sizeof bytes), SHIM_STATUS_SIZE);
    assert_true(shim_status_decode(bytes, SHIM_STATUS_SIZE, &t.status));
    wait_for_console("ready");
    int fd = dial();
    assert_int_equal(ask(fd, SHIM_ASK, 0).pid, t.status.pid);
    (void)ask(fd, SHIM_KILL, 0);
    scratch_wait_gone(t.status.shim_pid);
    close(fd);
}

static void garbage_costs_only_its_sender_the_connection(void **state)
{
    (void)state;
    char byte;
    shim_start("exec sleep 1000");
    int good = dial(), bad = dial();
    (void)ask(good, SHIM_ASK, 0);
    assert_int_equal(send(bad, "x", 1, MSG_NOSIGNAL), 1);
    assert_int_equal(recv(bad, &byte, 1, 0), 0);
    assert_int_equal(ask(good, (enum shim_verb)200, 5).pid, t.status.pid); /* a verb of the future: the status */
    close(good);
    close(bad);
}

static void too_many_watchers_push_out_the_oldest(void **state)
{
    (void)state;
    enum { WATCHERS = 20 };
    int fd[WATCHERS];
    char byte;
    shim_start("exec sleep 1000");
    for (int i = 0; i < WATCHERS; i++) {
        fd[i] = dial();
        (void)ask(fd[i], SHIM_ASK, 0);
    }
    assert_int_equal(recv(fd[0], &byte, 1, 0), 0);
    (void)ask(fd[WATCHERS - 1], SHIM_ASK, 0);
    for (int i = 0; i < WATCHERS; i++)
        close(fd[i]);
}

static void the_tender_starts_clean(void **state)
{
    (void)state;
    shim_start("grep -E 'SigBlk|SigIgn|NoNewPrivs' /proc/self/status; ls -l /proc/self/fd | grep -c socket; "
               "readlink /proc/self/fd/0; exit 0");
    shim_wait(0);
    struct shim_console c = console_read();
    console[SHIM_CONSOLE_HEADER + c.written] = '\0';
    assert_string_equal((char *)console + SHIM_CONSOLE_HEADER,
                        "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\nNoNewPrivs:\t1\n0\n/dev/null\n");
}

static void it_is_small(void **state)
{
    (void)state;
    char path[SCRATCH_PATH], text[4096];
    shim_start("exec sleep 1000");
    int fd = dial();
    (void)ask(fd, SHIM_ASK, 0);
    FILE *f = fopen(scratch_path(path, "/proc/%d/smaps_rollup", t.pid), "r");
    assert_non_null(f);
    unsigned kib = 0;
    while (fgets(text, sizeof text, f) != NULL)
        if (sscanf(text, "Pss: %u kB", &kib) == 1)
            break;
    (void)fclose(f);
    close(fd);
    print_message("mesh-shim: %u KiB\n", kib);
    assert_in_range(kib, 1, 150);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(the_exit_status_and_the_console_are_kept),
        TEST(a_signal_is_kept),
        TEST(a_kvm_that_gives_up_is_an_end),
        TEST(words_of_kvm_are_only_words_without_it),
        TEST(the_status_names_the_tender_beyond_doubt),
        TEST(the_ring_holds_the_last_bytes),
        TEST(a_stop_is_a_signal_first),
        TEST(who_ignores_a_stop_is_killed_after_the_grace),
        TEST(a_kill_does_not_wait),
        TEST(the_deadline_stops_the_guest_without_anybody),
        TEST(the_deadline_moves),
        TEST(a_killed_shim_takes_its_guest_along),
        TEST(a_shim_that_is_told_to_end_stops_its_guest),
        TEST(a_missing_tender_is_named),
        TEST(what_is_no_program_is_named),
        TEST(no_room_for_a_console_is_named),
        TEST(it_outlives_who_started_it),
        TEST(garbage_costs_only_its_sender_the_connection),
        TEST(too_many_watchers_push_out_the_oldest),
        TEST(the_tender_starts_clean),
        TEST(it_is_small),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
