/* node/runtime: real shims and helpers, a script in the tender's place. */
#define _GNU_SOURCE
#include "node/runtime/runtime.h"

#include "node/runtime/proc.h"
#include "node/runtime/shim_protocol.h"
#include "node/runtime/unit_name.h"
#include "tests/support/runtime_world.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static struct world w;

static int set_up(void **state)
{
    (void)state;
    world_set_up(&w);
    assert_int_equal(world_open(&w), ERR_OK);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    world_tear_down(&w);
    return 0;
}

#define START(epoch, ...) world_start(&w, epoch, TARGET_SPT, w.image, __VA_ARGS__, (char *)NULL)

static struct world_run *start_sleeper(uint64_t epoch)
{
    struct world_run *r = START(epoch, "say=ready", "sleep");
    world_started(&w, r);
    return r;
}

static const char *folder(char out[static SCRATCH_PATH], uint64_t epoch)
{
    char name[UNIT_NAME_SIZE];
    const struct unit_id id = world_unit(epoch);
    unit_name(&id, name);
    return scratch_path(out, "%.90s/units/%s", w.run, name);
}

static uint32_t shim_of(const struct world_run *r)
{
    struct proc_stat stat;
    assert_true(proc_stat(r->pid, &stat));
    return stat.parent;
}

static void wait_gone(struct world_run *r)
{
    scratch_kill_fd(&r->pid_fd); /* it may be gone already */
}

/* ---- starts and ends ------------------------------------------------------------------------------------ */

static void a_guest_starts_writes_and_exits(void **state)
{
    (void)state;
    char path[SCRATCH_PATH];
    struct world_run *r = START(1, "say=hello world", "exit=3");
    assert_int_equal(r->started + r->ended, 0); /* never from inside a call */
    world_ended(&w, r);
    assert_int_equal(r->started, 1);
    assert_int_equal(r->target, TARGET_SPT);
    assert_int_equal(r->end.cause, END_EXIT);
    assert_int_equal(r->end.status, 3);
    assert_string_equal(world_console(&w, r), "hello\\ world\n");
    assert_true(scratch_exists(folder(path, 1)));
    runtime_forget(w.rt, &r->id);
    struct world_run *again = START(1, "exit=0"); /* the same name: after the removal */
    r->started = r->ended = 0;
    world_ended(&w, again);
    assert_int_equal(again->end.status, 0);
}

static void a_crash_is_told_from_an_exit(void **state)
{
    (void)state;
    struct world_run *r = START(1, "signal=SEGV");
    world_ended(&w, r);
    assert_int_equal(r->end.cause, END_CRASH);
    assert_int_equal(r->end.signal, SIGSEGV);
    assert_int_equal(r->end.status, -1);
}

static void a_stop_ends_it(void **state)
{
    (void)state;
    struct world_run *r = start_sleeper(1);
    runtime_stop(w.rt, &r->id);
    assert_int_equal(r->ended, 0);
    world_ended(&w, r);
    assert_int_equal(r->end.cause, END_STOPPED);
    runtime_stop(w.rt, &r->id); /* and once more is answered once more */
    while (r->ended < 2)
        world_step(&w);
    assert_int_equal(r->end.cause, END_STOPPED);
}

static void a_stop_of_what_is_not_there_is_answered(void **state)
{
    (void)state;
    const struct unit_id id = world_unit(99);
    struct world_run *r = world_run(&w, &id);
    runtime_stop(w.rt, &id);
    assert_int_equal(r->ended, 0);
    world_ended(&w, r);
    assert_int_equal(r->end.cause, END_STOPPED);
    assert_int_equal(r->end.status, -1);
    runtime_forget(w.rt, &id);
    struct world_run *real = START(99, "exit=5"); /* the answer left nothing behind */
    r->ended = 0;
    world_ended(&w, real);
    assert_int_equal(real->end.status, 5);
}

static void a_stop_may_overtake_the_start(void **state)
{
    (void)state;
    struct world_run *r = START(1, "sleep");
    runtime_stop(w.rt, &r->id);
    world_ended(&w, r);
    assert_int_equal(r->end.cause, END_STOPPED);
}

static void who_ignores_a_stop_is_killed(void **state)
{
    (void)state;
    world_close(&w);
    w.cfg.stop_grace_ms = 50;
    assert_int_equal(world_open(&w), ERR_OK);
    struct world_run *r = START(1, "ignore", "say=ready", "sleep");
    world_console_has(&w, r, "ready");
    runtime_stop(w.rt, &r->id);
    world_ended(&w, r);
    assert_int_equal(r->end.cause, END_STOPPED);
}

static void a_shim_that_hangs_does_not_hold_up_a_stop_for_ever(void **state)
{
    (void)state;
    world_close(&w);
    w.cfg.stop_grace_ms = 50;
    assert_int_equal(world_open(&w), ERR_OK);
    struct world_run *r = start_sleeper(1);
    kill((pid_t)shim_of(r), SIGSTOP);
    runtime_stop(w.rt, &r->id);
    world_ended(&w, r);
    assert_int_equal(r->end.cause, END_STOPPED);
}

static void the_first_deadline_comes_with_the_start(void **state)
{
    (void)state;
    const struct unit_id id = world_unit(1);
    const struct effect_start start = {.target = TARGET_SPT, .memory_mib = 8, .args_count = 1,
                                       .args = {(const uint8_t *)"\xa5sleep", 6},
                                       .boottime_ms = scratch_now_ms() + 200};
    runtime_start(w.rt, &id, &start, w.image);
    struct world_run *r = world_run(&w, &id);
    world_ended(&w, r);
    assert_int_equal(r->end.cause, END_STOPPED);
    assert_string_equal(r->text, "its deadline passed: nobody renewed it");
}

static void the_deadline_moves(void **state)
{
    (void)state;
    struct world_run *early = START(1, "sleep");
    runtime_deadline(w.rt, &early->id, 1); /* before it has started */
    struct world_run *r = start_sleeper(2);
    runtime_deadline(w.rt, &r->id, scratch_now_ms() + 3600000);
    runtime_deadline(w.rt, &r->id, 0);
    world_ended(&w, early);
    assert_int_equal(early->end.cause, END_STOPPED);
    assert_int_equal(r->ended, 0);
    runtime_deadline(w.rt, &r->id, 1);
    world_ended(&w, r);
    assert_int_equal(r->end.cause, END_STOPPED);
}

static void many_at_once(void **state)
{
    (void)state;
    enum { GUESTS = 40 };
    struct world_run *r[GUESTS];
    for (uint64_t i = 0; i < GUESTS; i++)
        r[i] = START(i + 1, "sleep");
    for (int i = 0; i < GUESTS; i++)
        world_started(&w, r[i]);
    for (int i = 0; i < GUESTS; i++)
        runtime_stop(w.rt, &r[i]->id);
    for (int i = 0; i < GUESTS; i++)
        world_ended(&w, r[i]);
}

/* ---- starts that fail ---------------------------------------------------------------------------------- */

static void fails(struct world_run *r, enum end_cause cause, const char *text)
{
    world_ended(&w, r);
    assert_int_equal(r->started, 0);
    assert_int_equal(r->end.cause, cause);
    assert_string_equal(r->text, text);
    runtime_forget(w.rt, &r->id);
}

static void a_host_that_can_not_is_told_from_an_image_that_can_not(void **state)
{
    (void)state;
    char missing[SCRATCH_PATH];
    fails(world_start(&w, 1, TARGET_SPT, scratch_path(missing, "%.90s/none", w.dir), (char *)NULL), END_HOST,
          "the image's file can't be read: No such file or directory");
    const struct unit_id id = world_unit(2);
    const struct effect_start big = {.target = TARGET_HVT, .memory_mib = 8192};
    runtime_start(w.rt, &id, &big, w.image);
    fails(world_run(&w, &id), END_IMAGE, "a guest for hvt takes 2 to 4096 MiB of memory, not 8192");
    scratch_write(w.tender, 0755, "#!/nowhere/sh\n");
    fails(START(3, "x"), END_HOST, "tender: No such file or directory");
    scratch_write(w.tender, 0644, "");
    fails(START(4, "x"), END_HOST, "tender is not a program");
}

static void a_missing_tender_is_the_hosts(void **state)
{
    (void)state;
    world_close(&w);
    w.cfg.tender[TARGET_HVT] = NULL;
    char *path = strdup(getenv("PATH"));
    setenv("PATH", "/nowhere", 1);
    enum err err = world_open(&w);
    setenv("PATH", path, 1);
    free(path);
    assert_int_equal(err, ERR_OK);
    fails(world_start(&w, 1, TARGET_HVT, w.image, (char *)NULL), END_HOST,
          "no tender for hvt: solo5-hvt is not on PATH");
}

/* ---- life after meshd ------------------------------------------------------------------------------------ */

static void a_new_meshd_adopts_what_runs(void **state)
{
    (void)state;
    struct world_run *r = start_sleeper(1);
    uint32_t pid = r->pid;
    for (unsigned i = 1; i <= 3; i++) {
        world_close(&w);
        assert_int_equal(world_open(&w), ERR_OK);
        assert_int_equal(r->found, i); /* from inside runtime_new */
        assert_int_equal(r->pid, pid);
        assert_int_equal(r->target, TARGET_SPT);
    }
    assert_int_equal(r->ended, 0);
    world_console_has(&w, r, "ready");
    runtime_stop(w.rt, &r->id);
    world_ended(&w, r);
    assert_int_equal(r->end.cause, END_STOPPED);
}

static void what_ended_meanwhile_is_told_with_its_status(void **state)
{
    (void)state;
    char fifo[SCRATCH_PATH], arg[SCRATCH_PATH + 8];
    assert_int_equal(mkfifo(scratch_path(fifo, "%.90s/fifo", w.dir), 0600), 0);
    snprintf(arg, sizeof arg, "wait=%s", fifo);
    struct world_run *r = START(1, "say=before", arg, "say=after", "exit=7");
    world_started(&w, r);
    uint32_t shim = shim_of(r);
    int shim_fd = scratch_pid_fd(shim);
    world_close(&w);
    int fd = open(fifo, O_WRONLY);
    assert_int_equal(write(fd, "\n", 1), 1);
    close(fd);
    close(shim_fd);
    scratch_wait_gone(shim);
    for (unsigned i = 1; i <= 2; i++) { /* until it is forgotten, each meshd is told */
        assert_int_equal(world_open(&w), ERR_OK);
        assert_int_equal(r->ended, i);
        assert_int_equal(r->found, 0);
        assert_int_equal(r->end.cause, END_EXIT);
        assert_int_equal(r->end.status, 7);
        assert_string_equal(world_console(&w, r), "before\nafter\n");
        if (i == 1)
            world_close(&w);
    }
    runtime_forget(w.rt, &r->id);
    (void)start_sleeper(2); /* mesh-priv answers in order: the removal is done */
    char path[SCRATCH_PATH];
    assert_false(scratch_exists(folder(path, 1)));
}

static void a_killed_shim_is_the_hosts_fault(void **state)
{
    (void)state;
    struct world_run *watched = start_sleeper(1), *away = start_sleeper(2);
    kill((pid_t)shim_of(watched), SIGKILL);
    world_ended(&w, watched);
    assert_int_equal(watched->end.cause, END_HOST);
    assert_string_equal(watched->text, "its shim was killed");
    wait_gone(watched);
    uint32_t shim = shim_of(away);
    world_close(&w);
    kill((pid_t)shim, SIGKILL);
    scratch_wait_gone(shim);
    assert_int_equal(world_open(&w), ERR_OK);
    assert_int_equal(away->found, 0);
    assert_int_equal(away->ended, 1);
    assert_int_equal(away->end.cause, END_HOST);
}

static void make_old(const char *path)
{
    const struct timespec past[2] = {{1000000000, 0}, {1000000000, 0}};
    assert_int_equal(utimensat(AT_FDCWD, path, past, 0), 0);
}

static void an_interrupted_start_is_the_hosts_fault(void **state)
{
    (void)state;
    char path[SCRATCH_PATH];
    world_close(&w);
    assert_int_equal(mkdir(folder(path, 5), 0700), 0);
    make_old(path);
    assert_int_equal(world_open(&w), ERR_OK);
    const struct unit_id id = world_unit(5);
    struct world_run *r = world_run(&w, &id);
    assert_int_equal(r->ended, 1);
    assert_int_equal(r->end.cause, END_HOST);
    assert_string_equal(r->text, "its start was interrupted");
}

static void a_run_of_an_earlier_boot_has_ended(void **state)
{
    (void)state;
    char path[SCRATCH_PATH * 2], dir[SCRATCH_PATH];
    uint8_t bytes[SHIM_STATUS_SIZE];
    struct shim_status s;
    struct world_run *r = start_sleeper(1);
    uint32_t shim = shim_of(r);
    world_close(&w);
    kill((pid_t)shim, SIGKILL);
    scratch_wait_gone(shim);
    snprintf(path, sizeof path, "%s/run", folder(dir, 1));
    int fd = open(path, O_RDWR);
    assert_int_equal(read(fd, bytes, sizeof bytes), sizeof bytes);
    assert_true(shim_status_decode(bytes, sizeof bytes, &s));
    memset(s.boot, 1, sizeof s.boot);
    shim_status_encode(&s, bytes);
    assert_int_equal(pwrite(fd, bytes, sizeof bytes, 0), sizeof bytes);
    close(fd);
    assert_int_equal(world_open(&w), ERR_OK);
    assert_int_equal(r->end.cause, END_HOST);
    assert_string_equal(r->text, "its host was started again");
}

static void a_shim_that_does_not_answer_is_ended(void **state)
{
    (void)state;
    struct world_run *r = start_sleeper(1);
    uint32_t shim = shim_of(r);
    world_close(&w);
    kill((pid_t)shim, SIGSTOP);
    assert_int_equal(world_open(&w), ERR_OK);
    world_ended(&w, r);
    assert_int_equal(r->end.cause, END_HOST);
    scratch_wait_gone(shim);
}

static void guests_of_another_node_are_stopped_first(void **state)
{
    (void)state;
    char path[SCRATCH_PATH];
    struct world_run *r = start_sleeper(1);
    world_close(&w);
    w.cfg.node = 78;
    assert_int_equal(world_open(&w), ERR_OK);
    assert_int_equal(r->found + r->ended, 0); /* none of ours */
    wait_gone(r);
    (void)start_sleeper(2);
    assert_false(scratch_exists(folder(path, 1)));
}

static void one_node_a_run_folder(void **state)
{
    (void)state;
    static struct world other;
    char expected[SCRATCH_PATH * 2];
    world_set_up(&other);
    other.cfg.run_dir = w.run;
    assert_int_equal(world_open(&other), ERR_BUSY);
    snprintf(expected, sizeof expected, "another node uses the run folder %s: give this one its own (--run)", w.run);
    assert_string_equal(other.why, expected);
    world_tear_down(&other);
}

/* A meshd that starts one guest after the other, in a process of its own. */
static _Noreturn void be_meshd(uint64_t from)
{
    static struct world child;
    child = w;
    if (uv_loop_init(&child.loop) != 0 || world_open(&child) != ERR_OK)
        _exit(1);
    for (uint64_t i = from; i < from + 3; i++)
        (void)world_start(&child, i, TARGET_SPT, child.image, "sleep", (char *)NULL);
    for (;;)
        (void)uv_run(&child.loop, UV_RUN_DEFAULT);
}

static void meshd_may_be_killed_at_any_moment(void **state)
{
    (void)state;
    enum { ROUNDS = 15 };
    uint32_t chance = 12345;
    struct world_run *r[ROUNDS * 3];
    uint32_t pid[ROUNDS * 3] = {0};
    for (unsigned i = 0; i < ROUNDS; i++) {
        world_close(&w);
        pid_t meshd = fork();
        if (meshd == 0)
            be_meshd(1 + 3 * (uint64_t)i);
        chance = chance * 1664525 + 1013904223;
        usleep((chance >> 16) % 25000); /* a moment, any */
        kill(meshd, SIGKILL);
        assert_int_equal(waitpid(meshd, NULL, 0), meshd);
        assert_int_equal(world_open(&w), ERR_OK);
        for (unsigned j = 0; j < 3 * i + 3; j++) {
            const struct unit_id id = world_unit(j + 1);
            r[j] = world_run(&w, &id);
            if (pid[j] == 0)
                pid[j] = r[j]->pid;
            assert_int_equal(r[j]->pid, pid[j]);
            assert_int_equal(r[j]->ended, 0); /* whatever was begun became a guest */
        }
    }
    unsigned guests = 0;
    for (unsigned j = 0; j < 3 * ROUNDS; j++) {
        if (r[j]->found == 0)
            continue; /* it had not come to that */
        guests++;
        runtime_stop(w.rt, &r[j]->id);
        world_ended(&w, r[j]);
    }
    print_message("%u of %u guests were begun\n", guests, 3 * ROUNDS);
}

/* ---- mesh-priv -------------------------------------------------------------------------------------------- */

static void a_dead_mesh_priv_is_started_again(void **state)
{
    (void)state;
    struct world_run *r = start_sleeper(1);
    struct proc_stat shim;
    assert_true(proc_stat(shim_of(r), &shim));
    kill((pid_t)shim.parent, SIGKILL);
    struct world_run *next = START(2, "sleep"); /* asked of the dead one, or of the new one */
    while (w.priv_lost == 0)
        world_step(&w);
    world_started(&w, next);
    assert_int_equal(r->ended, 0);
    assert_int_equal(w.priv_lost, 1);
}

static void without_mesh_priv_starts_fail_at_once(void **state)
{
    (void)state;
    world_close(&w);
    w.cfg.priv_path = NULL;
    assert_int_equal(world_open(&w), ERR_OK);
    struct world_run *r = start_sleeper(1);
    struct proc_stat shim;
    assert_true(proc_stat(shim_of(r), &shim));
    kill((pid_t)shim.parent, SIGKILL);
    while (w.priv_lost == 0)
        world_step(&w);
    struct world_run *next = START(2, "sleep");
    world_ended(&w, next);
    assert_int_equal(next->end.cause, END_HOST);
    assert_string_equal(next->text, "mesh-priv, which starts guests, is gone");
    runtime_stop(w.rt, &r->id); /* what runs can still be stopped */
    world_ended(&w, r);
}

/* A start that came from elsewhere, behind our back: the folder is there, and the shim will be. */
static void what_was_started_already_is_adopted(void **state)
{
    (void)state;
    char path[SCRATCH_PATH], word;
    int begin[2];
    assert_int_equal(mkdir(folder(path, 1), 0700), 0);
    assert_int_equal(pipe(begin), 0);
    pid_t shim = fork();
    if (shim == 0) {
        close(begin[1]);
        if (read(begin[0], &word, 1) >= 0 && chdir(path) == 0)
            execl(w.shim, w.shim, "2", "0", "0", "0:0:0:0:0", "/bin/sleep", "1000", (char *)NULL);
        _exit(99);
    }
    struct world_run *r = START(1, "exit=9");
    world_started(&w, start_sleeper(2)); /* so that the answer to the first has come, too */
    assert_int_equal(r->started + r->ended, 0);
    close(begin[0]);
    close(begin[1]);
    world_started(&w, r);
    assert_int_equal(shim_of(r), shim);
    assert_int_equal(r->target, TARGET_SPT);
    r->started = 0;
    (void)START(1, "exit=9"); /* and we know it ourselves */
    world_started(&w, r);
    runtime_stop(w.rt, &r->id);
    world_ended(&w, r);
    assert_int_equal(r->end.cause, END_STOPPED);
    assert_int_equal(waitpid(shim, NULL, 0), shim);
}

/* ---- consoles ----------------------------------------------------------------------------------------------- */

struct seen {
    unsigned more;
};

static void count_more(void *ctx)
{
    ((struct seen *)ctx)->more++;
}

static void a_console_is_followed(void **state)
{
    (void)state;
    char fifo[SCRATCH_PATH], arg[SCRATCH_PATH + 8], text[64];
    struct seen seen = {0};
    struct console_watch *watch;
    size_t got;
    uint64_t skipped, next;
    int ended;
    assert_int_equal(mkfifo(scratch_path(fifo, "%.90s/fifo", w.dir), 0600), 0);
    snprintf(arg, sizeof arg, "wait=%s", fifo);
    struct world_run *r = START(1, "say=one", arg, "say=two", "exit=0");
    world_started(&w, r);
    world_console_has(&w, r, "one\n");
    assert_int_equal(runtime_console_watch(w.rt, &r->id, count_more, &seen, &watch), ERR_OK);
    assert_int_equal(runtime_console_read(w.rt, &r->id, 4, text, sizeof text, &got, &skipped, &next, &ended), ERR_OK);
    assert_int_equal(got, 0);
    assert_int_equal(next, 4);
    assert_false(ended);
    int fd = open(fifo, O_WRONLY);
    assert_int_equal(write(fd, "\n", 1), 1);
    close(fd);
    while (!ended) {
        world_step(&w);
        enum err err = runtime_console_read(w.rt, &r->id, 4, text, sizeof text, &got, &skipped, &next, &ended);
        assert_int_equal(err, ERR_OK);
    }
    assert_true(seen.more > 0);
    assert_int_equal(got, 4);
    assert_memory_equal(text, "two\n", 4);
    assert_int_equal(runtime_console_read(w.rt, &r->id, 8, text, sizeof text, &got, &skipped, &next, &ended), ERR_OK);
    assert_int_equal(got, 0);
    assert_true(ended);
    unsigned before = seen.more;
    runtime_forget(w.rt, &r->id);
    while (seen.more == before)
        world_step(&w);
    assert_int_equal(runtime_console_read(w.rt, &r->id, 0, text, sizeof text, &got, &skipped, &next, &ended),
                     ERR_NOT_FOUND);
    runtime_console_unwatch(&watch);
    assert_null(watch);
}

static void a_console_tells_what_is_lost_of_it(void **state)
{
    (void)state;
    static char text[400 * 1024];
    size_t got;
    uint64_t skipped, next, tail;
    int ended;
    struct world_run *r = START(1, "say=first", "fill", "say=", "say=last but one", "say=last", "exit=0");
    world_ended(&w, r);
    uint64_t total = 6 + 600000 + 1 + 15 + 5; /* two backslashes in the middle */
    assert_int_equal(runtime_console_read(w.rt, &r->id, 2, text, sizeof text, &got, &skipped, &next, &ended), ERR_OK);
    assert_int_equal(got, SHIM_CONSOLE_RING);
    assert_int_equal(skipped, total - SHIM_CONSOLE_RING - 2);
    assert_int_equal(next, total);
    assert_memory_equal(text + got - 5, "last\n", 5);
    assert_int_equal(runtime_console_tail(w.rt, &r->id, 1, &tail), ERR_OK);
    assert_int_equal(tail, total - 5);
    assert_int_equal(runtime_console_tail(w.rt, &r->id, 2, &tail), ERR_OK);
    assert_int_equal(tail, total - 5 - 15);
    assert_int_equal(runtime_console_tail(w.rt, &r->id, 0, &tail), ERR_OK);
    assert_int_equal(tail, total);
    assert_int_equal(runtime_console_tail(w.rt, &r->id, UINT32_MAX, &tail), ERR_OK);
    assert_int_equal(tail, total - SHIM_CONSOLE_RING);
}

static void a_watch_may_outlive_nothing(void **state)
{
    (void)state;
    struct seen seen = {0};
    struct console_watch *a, *b;
    const struct unit_id none = world_unit(50);
    assert_int_equal(runtime_console_watch(w.rt, &none, count_more, &seen, &a), ERR_NOT_FOUND);
    struct world_run *r = start_sleeper(1);
    assert_int_equal(runtime_console_watch(w.rt, &r->id, count_more, &seen, &a), ERR_OK);
    assert_int_equal(runtime_console_watch(w.rt, &r->id, count_more, &seen, &b), ERR_OK);
    runtime_console_unwatch(&a);
    runtime_stop(w.rt, &r->id);
    world_ended(&w, r);
    while (seen.more == 0)
        world_step(&w);
    runtime_console_unwatch(&b);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_guest_starts_writes_and_exits),
        TEST(a_crash_is_told_from_an_exit),
        TEST(a_stop_ends_it),
        TEST(a_stop_of_what_is_not_there_is_answered),
        TEST(a_stop_may_overtake_the_start),
        TEST(who_ignores_a_stop_is_killed),
        TEST(a_shim_that_hangs_does_not_hold_up_a_stop_for_ever),
        TEST(the_first_deadline_comes_with_the_start),
        TEST(the_deadline_moves),
        TEST(many_at_once),
        TEST(a_host_that_can_not_is_told_from_an_image_that_can_not),
        TEST(a_missing_tender_is_the_hosts),
        TEST(a_new_meshd_adopts_what_runs),
        TEST(what_ended_meanwhile_is_told_with_its_status),
        TEST(a_killed_shim_is_the_hosts_fault),
        TEST(an_interrupted_start_is_the_hosts_fault),
        TEST(a_run_of_an_earlier_boot_has_ended),
        TEST(a_shim_that_does_not_answer_is_ended),
        TEST(guests_of_another_node_are_stopped_first),
        TEST(one_node_a_run_folder),
        TEST(meshd_may_be_killed_at_any_moment),
        TEST(a_dead_mesh_priv_is_started_again),
        TEST(without_mesh_priv_starts_fail_at_once),
        TEST(what_was_started_already_is_adopted),
        TEST(a_console_is_followed),
        TEST(a_console_tells_what_is_lost_of_it),
        TEST(a_watch_may_outlive_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
