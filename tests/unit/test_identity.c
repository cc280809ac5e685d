/* node/crypto/identity: one key, a boot number that only grows, alone on one machine; and every way
 * in which opening it fails. */
#define _GNU_SOURCE
#include "node/crypto/identity.h"

#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { WALL = 1764000000 };

static char base[64], state_dir[96], machine_id[96], why[512];
static struct identity *opened;

static const char *in_state(const char *name)
{
    static char path[160];
    snprintf(path, sizeof path, "%s/%s", state_dir, name);
    return path;
}

static void write_at(const char *path, const void *p, size_t len)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0 && write(fd, p, len) == (ssize_t)len);
    close(fd);
}

static size_t read_at(const char *path, char *out, size_t size)
{
    int fd = open(path, O_RDONLY);
    assert_true(fd >= 0);
    ssize_t n = read(fd, out, size);
    assert_true(n >= 0);
    close(fd);
    return (size_t)n;
}

static enum err try_open(enum identity_mode mode, uint64_t wall_ms)
{
    const struct identity_config cfg = {
        .dir = state_dir, .machine_id_path = machine_id, .mode = mode, .wall_ms = wall_ms};
    memset(why, '?', sizeof why - 1);
    return identity_open(&opened, &cfg, why, sizeof why);
}

static void open_ok(uint64_t wall_ms)
{
    assert_int_equal(try_open(IDENTITY_KEEP, wall_ms), ERR_OK);
    assert_string_equal(why, "");
}

static void reopen(uint64_t wall_ms)
{
    identity_close(&opened);
    assert_null(opened);
    open_ok(wall_ms);
}

static void be_machine(const char *text)
{
    write_at(machine_id, text, strlen(text));
}

static int set_up(void **state)
{
    (void)state;
    strcpy(base, "/tmp/unimesh-identity-XXXXXX");
    if (!mkdtemp(base) || chmod(base, 0755) < 0)
        return -1;
    snprintf(state_dir, sizeof state_dir, "%s/state", base);
    snprintf(machine_id, sizeof machine_id, "%s/machine-id", base);
    be_machine("0123456789abcdef0123456789abcdef\n");
    return 0;
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st, (void)flag, (void)ftw;
    return remove(path);
}

static int tear_down(void **state)
{
    (void)state;
    identity_close(&opened);
    return nftw(base, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* ---- What it keeps --------------------------------------------------------------------------- */

static void the_first_start_makes_a_key_that_later_ones_find(void **state)
{
    (void)state;
    uint8_t seed[NODE_SEED_SIZE];
    struct stat st;
    open_ok(WALL);
    assert_int_equal(identity_origin(opened), IDENTITY_MADE);
    memcpy(seed, identity_seed(opened), sizeof seed);
    assert_int_equal(stat(state_dir, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    assert_int_equal(stat(in_state("node.key"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(st.st_size, NODE_SEED_SIZE);
    reopen(WALL);
    assert_int_equal(identity_origin(opened), IDENTITY_FOUND);
    assert_memory_equal(seed, identity_seed(opened), sizeof seed);
}

static void folders_that_are_missing_are_made(void **state)
{
    (void)state;
    snprintf(state_dir, sizeof state_dir, "%s/var//lib/state/", base);
    open_ok(WALL);
    assert_int_equal(access(in_state("node.key"), F_OK), 0);
}

static void every_state_has_a_key_of_its_own(void **state)
{
    (void)state;
    uint8_t seed[NODE_SEED_SIZE];
    open_ok(WALL);
    memcpy(seed, identity_seed(opened), sizeof seed);
    identity_close(&opened);
    snprintf(state_dir, sizeof state_dir, "%s/other", base);
    open_ok(WALL);
    assert_memory_not_equal(seed, identity_seed(opened), sizeof seed);
}

static void a_boot_number_is_the_clock_or_one_more_than_the_last(void **state)
{
    (void)state;
    open_ok(WALL);
    assert_true(identity_boot(opened) == WALL);
    reopen(WALL);
    assert_true(identity_boot(opened) == WALL + 1);
    reopen(WALL + 5);
    assert_true(identity_boot(opened) == WALL + 5);
    reopen(3); /* a clock that went back */
    assert_true(identity_boot(opened) == WALL + 6);
    reopen(UINT64_MAX); /* one before 1970 */
    assert_true(identity_boot(opened) == WALL + 7);
}

static void a_boot_number_can_be_raised_and_stays_raised(void **state)
{
    (void)state;
    open_ok(WALL);
    assert_int_equal(identity_boot_at_least(opened, WALL + 100), ERR_OK);
    assert_true(identity_boot(opened) == WALL + 100);
    assert_int_equal(identity_boot_at_least(opened, 5), ERR_OK); /* never down */
    assert_true(identity_boot(opened) == WALL + 101);
    assert_int_equal(identity_boot_at_least(opened, UINT64_C(1) << 63), ERR_INVALID);
    assert_true(identity_boot(opened) == WALL + 101);
    reopen(WALL);
    assert_true(identity_boot(opened) == WALL + 102);
    assert_int_equal(identity_boot_at_least(opened, INT64_MAX), ERR_OK);
    assert_int_equal(identity_boot_at_least(opened, 0), ERR_INVALID);
    assert_true(identity_boot(opened) == INT64_MAX);
}

static void a_raise_that_can_t_be_written_changes_nothing(void **state)
{
    (void)state;
    open_ok(WALL);
    assert_int_equal(unlink(in_state("boot.spare")), 0);
    assert_int_equal(mkdir(in_state("boot.new"), 0700), 0);
    assert_int_equal(identity_boot_at_least(opened, WALL + 100), ERR_IO);
    assert_true(identity_boot(opened) == WALL);
    assert_int_equal(rmdir(in_state("boot.new")), 0);
    assert_int_equal(identity_boot_at_least(opened, WALL + 100), ERR_OK);
}

/* As on a full disk: nothing more can be made, and the number is taken all the same. */
static void with_its_spare_file_a_number_needs_no_room(void **state)
{
    (void)state;
    open_ok(WALL);
    assert_int_equal(mkdir(in_state("boot.new"), 0700), 0);
    reopen(WALL);
    assert_true(identity_boot(opened) == WALL + 1);
    assert_int_equal(identity_boot_at_least(opened, WALL + 100), ERR_OK);
    write_at(in_state("boot.spare"), "a longer text than a number with its checksum, half written", 59);
    reopen(WALL);
    assert_true(identity_boot(opened) == WALL + 101);
    reopen(WALL);
    assert_true(identity_boot(opened) == WALL + 102);
    assert_int_equal(rmdir(in_state("boot.new")), 0);
}

static void what_a_crash_left_half_written_is_not_taken(void **state)
{
    (void)state;
    uint8_t seed[NODE_SEED_SIZE];
    open_ok(WALL);
    memcpy(seed, identity_seed(opened), sizeof seed);
    write_at(in_state("node.key.new"), "half", 4);
    write_at(in_state("boot.new"), "", 0);
    write_at(in_state("machine.new"), "0", 1);
    reopen(WALL);
    assert_memory_equal(seed, identity_seed(opened), sizeof seed);
    assert_true(identity_boot(opened) == WALL + 1);
    unlink(in_state("boot")); /* the first start ended before its boot number was there */
    reopen(WALL + 9);
    assert_memory_equal(seed, identity_seed(opened), sizeof seed);
    assert_true(identity_boot(opened) == WALL + 9);
    unlink(in_state("node.key")); /* … and before its key was */
    reopen(WALL);
    assert_int_equal(identity_origin(opened), IDENTITY_MADE);
}

/* ---- On another machine ---------------------------------------------------------------------- */

static void a_copied_state_is_refused(void **state)
{
    (void)state;
    char before[96], after[96];
    open_ok(WALL);
    identity_close(&opened);
    size_t len = read_at(in_state("boot"), before, sizeof before);
    be_machine("ffffffffffffffffffffffffffffffff\n");
    assert_int_equal(try_open(IDENTITY_KEEP, WALL + 50), ERR_CONFLICT);
    assert_null(opened);
    assert_non_null(strstr(why, state_dir));
    assert_non_null(strstr(why, "--new-identity"));
    assert_int_equal(read_at(in_state("boot"), after, sizeof after), len); /* nothing was written */
    assert_memory_equal(before, after, len);
    be_machine(
        "0123456789abcdef0123456789abcdef"); /* at home again; blanks at the end don't count */
    open_ok(WALL);
}

static void a_copied_state_becomes_someone_new_when_asked(void **state)
{
    (void)state;
    uint8_t seed[NODE_SEED_SIZE];
    char aside[64];
    open_ok(WALL);
    memcpy(seed, identity_seed(opened), sizeof seed);
    for (int i = 1; i <= 2; i++) {
        identity_close(&opened);
        be_machine(i == 1 ? "first" : "second");
        assert_int_equal(try_open(IDENTITY_NEW, WALL), ERR_OK);
        assert_int_equal(identity_origin(opened), IDENTITY_MADE);
        assert_memory_not_equal(seed, identity_seed(opened), sizeof seed);
        assert_true(identity_boot(opened) == WALL + (unsigned)i);
        snprintf(aside, sizeof aside, "node.key.old-%d", i);
        assert_int_equal(access(in_state(aside), F_OK), 0);
    }
    assert_int_equal(read_at(in_state("node.key.old-1"), aside, sizeof aside), NODE_SEED_SIZE);
    assert_memory_equal(aside, seed, sizeof seed);
    reopen(WALL);
    assert_int_equal(identity_origin(opened), IDENTITY_FOUND);
}

static void asking_for_a_new_identity_at_home_changes_nothing(void **state)
{
    (void)state;
    uint8_t seed[NODE_SEED_SIZE];
    open_ok(WALL);
    memcpy(seed, identity_seed(opened), sizeof seed);
    identity_close(&opened);
    assert_int_equal(try_open(IDENTITY_NEW, WALL), ERR_OK);
    assert_int_equal(identity_origin(opened), IDENTITY_FOUND);
    assert_memory_equal(seed, identity_seed(opened), sizeof seed);
}

static void a_machine_without_an_id_is_not_compared(void **state)
{
    (void)state;
    static const char *const none[] = {"", "\n", "uninitialized\n"};
    open_ok(WALL);
    for (size_t i = 0; i < 3; i++) {
        be_machine(none[i]);
        reopen(WALL);
        assert_int_equal(identity_origin(opened), IDENTITY_FOUND);
    }
    unlink(machine_id);
    reopen(WALL);
    be_machine("0123456789abcdef0123456789abcdef\n"); /* still remembered */
    reopen(WALL);
    be_machine("other");
    identity_close(&opened);
    assert_int_equal(try_open(IDENTITY_KEEP, WALL), ERR_CONFLICT);
}

static void a_state_from_before_the_machine_had_an_id_becomes_its_own(void **state)
{
    (void)state;
    unlink(machine_id);
    open_ok(WALL);
    assert_int_not_equal(access(in_state("machine"), F_OK), 0);
    be_machine("one");
    reopen(WALL);
    assert_int_equal(identity_origin(opened), IDENTITY_FOUND);
    be_machine("two");
    identity_close(&opened);
    assert_int_equal(try_open(IDENTITY_KEEP, WALL), ERR_CONFLICT);
}

/* ---- Failures -------------------------------------------------------------------------------- */

static void a_state_in_use_is_busy(void **state)
{
    (void)state;
    open_ok(WALL);
    struct identity *first = opened;
    opened = NULL;
    assert_int_equal(try_open(IDENTITY_KEEP, WALL), ERR_BUSY);
    assert_non_null(strstr(why, "another meshd"));
    assert_null(opened);
    identity_close(&first);
    open_ok(WALL);
}

static void a_damaged_key_is_corrupt(void **state)
{
    (void)state;
    static const char bad[3][33] = {"short", "0123456789012345678901234567890", ""};
    static const size_t len[] = {5, 33, 32}; /* cut, longer, zeros */
    open_ok(WALL);
    identity_close(&opened);
    for (int i = 0; i < 3; i++) {
        write_at(in_state("node.key"), bad[i], len[i]);
        assert_int_equal(try_open(IDENTITY_KEEP, WALL), ERR_CORRUPT);
        assert_non_null(strstr(why, in_state("node.key")));
        assert_int_equal(try_open(IDENTITY_NEW, WALL), ERR_CORRUPT); /* at home: not ours to drop */
    }
    write_at(in_state("node.key"), "", 0);
    assert_int_equal(try_open(IDENTITY_KEEP, WALL), ERR_CORRUPT);
    assert_null(opened);
}

/* Flip a bit of every byte, cut at every length, and append. */
static void assert_damage_is_seen(const char *name)
{
    char good[128], bad[129];
    size_t len = read_at(in_state(name), good, sizeof good);
    for (size_t i = 0; i < 2 * len + 1; i++) {
        size_t n = i < len ? len : i < 2 * len ? i - len : len + 1;
        memcpy(bad, good, len);
        bad[len] = '\n';
        if (i < len)
            bad[i] ^= 1;
        write_at(in_state(name), bad, n);
        assert_int_equal(try_open(IDENTITY_KEEP, WALL), ERR_CORRUPT);
        assert_non_null(strstr(why, in_state(name)));
    }
    write_at(in_state(name), good, len);
    open_ok(WALL);
    identity_close(&opened);
}

static void a_damaged_boot_number_or_machine_is_corrupt(void **state)
{
    (void)state;
    open_ok(WALL);
    identity_close(&opened);
    assert_damage_is_seen("boot");
    assert_damage_is_seen("machine");
    write_at(in_state("machine"), "?", 1);
    assert_int_equal(try_open(IDENTITY_NEW, WALL), ERR_OK); /* can't be told, and was asked for */
    assert_int_equal(identity_origin(opened), IDENTITY_MADE);
    assert_int_equal(identity_boot_at_least(opened, INT64_MAX), ERR_OK);
    identity_close(&opened);
    assert_int_equal(try_open(IDENTITY_KEEP, WALL), ERR_CORRUPT); /* none is left to take */
}

static void what_is_no_folder_or_no_file_is_an_io_error(void **state)
{
    (void)state;
    write_at(state_dir, "", 0);
    assert_int_equal(try_open(IDENTITY_KEEP, WALL), ERR_IO);
    assert_non_null(strstr(why, state_dir));
    unlink(state_dir);
    open_ok(WALL);
    identity_close(&opened);
    unlink(in_state("node.key"));
    assert_int_equal(mkdir(in_state("node.key"), 0700), 0);
    assert_int_equal(try_open(IDENTITY_KEEP, WALL), ERR_IO);
    assert_non_null(strstr(why, "node.key"));
    state_dir[0] = '\0';
    assert_int_equal(try_open(IDENTITY_KEEP, WALL), ERR_IO);
}

/* Opened in a child that `limit` has put at a disadvantage; its error is the child's exit status.
 */
static enum err open_in_child(void (*limit)(void))
{
    int status;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        limit();
        _exit((int)try_open(IDENTITY_KEEP, WALL));
    }
    assert_true(waitpid(pid, &status, 0) == pid && WIFEXITED(status));
    return (enum err)WEXITSTATUS(status);
}

static void be_nobody(void)
{
    if (geteuid() == 0 &&
        (setresgid(65534, 65534, 65534) < 0 || setresuid(65534, 65534, 65534) < 0))
        _exit(255);
}

static void without_permission_it_is_denied(void **state)
{
    (void)state;
    assert_int_equal(mkdir(state_dir, 0555), 0);
    assert_int_equal(open_in_child(be_nobody), ERR_DENIED); /* can't write there */
    assert_int_equal(chmod(state_dir, 0755), 0);
    if (geteuid() != 0)
        return;
    open_ok(WALL);
    identity_close(&opened);
    assert_int_equal(open_in_child(be_nobody), ERR_DENIED); /* can't read the lock */
}

static void write_nothing(void)
{
    const struct rlimit none = {0, 0};
    signal(SIGXFSZ, SIG_IGN);
    if (setrlimit(RLIMIT_FSIZE, &none) < 0)
        _exit(255);
}

static void without_room_the_disk_is_full_and_the_state_as_before(void **state)
{
    (void)state;
    assert_int_equal(open_in_child(write_nothing), ERR_DISK_FULL);
    assert_int_not_equal(access(in_state("node.key"), F_OK), 0);
    open_ok(WALL);
    assert_int_equal(identity_origin(opened), IDENTITY_MADE);
    identity_close(&opened);
    assert_int_equal(open_in_child(write_nothing), ERR_DISK_FULL);
    open_ok(WALL);
    assert_int_equal(identity_origin(opened), IDENTITY_FOUND);
    assert_true(identity_boot(opened) == WALL + 1);
    assert_int_not_equal(access(in_state("boot.new"), F_OK), 0); /* nothing lies about */
}

#if defined(__SANITIZE_ADDRESS__)
#define WITHOUT_LIMIT /* it needs terabytes of addresses itself */
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WITHOUT_LIMIT
#endif
#endif

static void have_no_memory(void)
{
    const struct rlimit none = {0, 0};
    if (setrlimit(RLIMIT_AS, &none) < 0)
        _exit(255);
}

static void without_memory_it_says_so(void **state)
{
    (void)state;
#ifdef WITHOUT_LIMIT
    (void)have_no_memory;
    skip();
#else
    assert_int_equal(open_in_child(have_no_memory), ERR_NOMEM);
#endif
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_first_start_makes_a_key_that_later_ones_find),
        TEST(folders_that_are_missing_are_made),
        TEST(every_state_has_a_key_of_its_own),
        TEST(a_boot_number_is_the_clock_or_one_more_than_the_last),
        TEST(a_boot_number_can_be_raised_and_stays_raised),
        TEST(a_raise_that_can_t_be_written_changes_nothing),
        TEST(with_its_spare_file_a_number_needs_no_room),
        TEST(what_a_crash_left_half_written_is_not_taken),
        TEST(a_copied_state_is_refused),
        TEST(a_copied_state_becomes_someone_new_when_asked),
        TEST(asking_for_a_new_identity_at_home_changes_nothing),
        TEST(a_machine_without_an_id_is_not_compared),
        TEST(a_state_from_before_the_machine_had_an_id_becomes_its_own),
        TEST(a_state_in_use_is_busy),
        TEST(a_damaged_key_is_corrupt),
        TEST(a_damaged_boot_number_or_machine_is_corrupt),
        TEST(what_is_no_folder_or_no_file_is_an_io_error),
        TEST(without_permission_it_is_denied),
        TEST(without_room_the_disk_is_full_and_the_state_as_before),
        TEST(without_memory_it_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
