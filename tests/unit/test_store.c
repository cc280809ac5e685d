/* store/store: what is acknowledged is kept, in order; what is damaged is noticed; what is full
 * says so. */
#define _GNU_SOURCE
#include "store/store.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum {
    MAP = 4 * 1024 * 1024,
    SMALL_MAP = 1024 * 1024,
    ACKS_MAX = 8192,
    KEYS_MAX = 4096,
    VALUE = 1000
};

static char dir[64];
static char store_dir[96];

static struct acks {
    pthread_mutex_t mutex;
    pthread_cond_t more;
    unsigned count, failed;
    bool in_order;
    uint64_t seq;
    enum err worst;
} acks = {.mutex = PTHREAD_MUTEX_INITIALIZER, .more = PTHREAD_COND_INITIALIZER};

static void done(void *ctx, uint64_t seq, enum err err)
{
    struct acks *a = ctx;
    pthread_mutex_lock(&a->mutex);
    a->count++;
    a->in_order = a->in_order && seq > a->seq;
    a->seq = seq;
    if (err) {
        a->failed++;
        a->worst = err;
    }
    pthread_cond_signal(&a->more);
    pthread_mutex_unlock(&a->mutex);
}

static void acks_reset(void)
{
    acks.count = acks.failed = 0;
    acks.in_order = true;
    acks.seq = 0;
    acks.worst = ERR_OK;
}

static void wait_for(uint64_t seq)
{
    pthread_mutex_lock(&acks.mutex);
    while (acks.seq < seq)
        pthread_cond_wait(&acks.more, &acks.mutex);
    pthread_mutex_unlock(&acks.mutex);
}

/* What opening gave: keys are "k%05u". */
static struct loaded {
    uint32_t count;
    bool in_order;
    char last[16];
    bool have[KEYS_MAX];
    size_t bytes;
} loaded;

static void load(void *ctx, const void *key, size_t key_len, const void *value, size_t len)
{
    struct loaded *l = ctx;
    char k[16] = {0};
    if (key_len >= sizeof k)
        return;
    memcpy(k, key, key_len);
    l->count++;
    l->in_order = l->in_order && strcmp(l->last, k) < 0;
    memcpy(l->last, k, sizeof k);
    unsigned n = (unsigned)strtoul(k + 1, NULL, 10);
    if (n < KEYS_MAX && (len == 0 || memcmp(value, key, len < key_len ? len : key_len) == 0))
        l->have[n] = true;
    l->bytes += len;
}

static enum err try_open(struct store **s, size_t map, struct store_report *r)
{
    struct store_config cfg = {.dir = store_dir, .map_bytes = map, .done = done, .ctx = &acks};
    memset(&loaded, 0, sizeof loaded);
    loaded.in_order = true;
    acks_reset();
    return store_open(s, &cfg, load, &loaded, r);
}

static struct store *open_store(size_t map, struct store_report *r)
{
    struct store *s = NULL;
    struct store_report own;
    assert_int_equal(try_open(&s, map, r ? r : &own), ERR_OK);
    return s;
}

static enum err put(struct store *s, uint64_t seq, unsigned n, size_t len)
{
    char key[16];
    uint8_t value[VALUE];
    size_t k = (size_t)snprintf(key, sizeof key, "k%05u", n);
    memset(value, (int)n, sizeof value);
    memcpy(value, key, k);
    return store_put(s, seq, key, k, value, len);
}

static enum err del(struct store *s, uint64_t seq, unsigned n)
{
    char key[16];
    size_t k = (size_t)snprintf(key, sizeof key, "k%05u", n);
    return store_delete(s, seq, key, k);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *f)
{
    (void)st;
    (void)type;
    (void)f;
    return remove(path);
}

static int set_up(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "%s", "/tmp/test_store.XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    snprintf(store_dir, sizeof store_dir, "%s/store", dir);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    return nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static int open_data(void)
{
    char path[128];
    snprintf(path, sizeof path, "%s/data.mdb", store_dir);
    int fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    return fd;
}

static bool exists(const char *name)
{
    char path[160];
    snprintf(path, sizeof path, "%s/%s", store_dir, name);
    return access(path, F_OK) == 0;
}

/* ---- Ordinary use
 * -------------------------------------------------------------------------------- */

static void what_was_put_is_loaded_in_key_order(void **state)
{
    (void)state;
    struct store_report r;
    struct store *s = open_store(MAP, &r);
    assert_true(r.was_clean);
    assert_int_equal(r.records, 0);
    for (unsigned i = 0; i < 200; i++)
        assert_int_equal(put(s, i + 1, (i * 77) % 200, VALUE), ERR_OK);
    assert_int_equal(del(s, 201, 13), ERR_OK);
    assert_int_equal(del(s, 202, 3999), ERR_OK); /* was never there */
    assert_int_equal(put(s, 203, 14, 0), ERR_OK);
    store_close(s);
    assert_int_equal(acks.seq, 203); /* closing flushes */
    assert_int_equal(acks.failed, 0);
    s = open_store(MAP, &r);
    assert_true(r.was_clean);
    assert_false(r.set_aside);
    assert_int_equal(r.records, 199);
    assert_int_equal(r.damaged, 0);
    assert_int_equal(loaded.count, 199);
    assert_true(loaded.in_order);
    assert_false(loaded.have[13]);
    assert_int_equal(loaded.bytes, 198 * VALUE);
    store_close(s);
}

static void acknowledgements_come_in_order_and_groups(void **state)
{
    (void)state;
    struct store *s = open_store(MAP, NULL);
    for (unsigned i = 0; i < 3000; i++)
        assert_int_equal(put(s, 10 + i, i % 50, 100), ERR_OK);
    wait_for(3009);
    assert_true(acks.in_order);
    assert_int_equal(acks.failed, 0);
    assert_true(acks.count < 3000);
    store_close(s);
}

static void bad_keys_and_sizes_are_refused(void **state)
{
    (void)state;
    static const uint8_t big[MAP];
    struct store *s = open_store(MAP, NULL);
    assert_int_equal(store_put(s, 1, big, 0, big, 1), ERR_INVALID);
    assert_int_equal(store_put(s, 1, big, 512, big, 1), ERR_TOO_LARGE);
    assert_int_equal(store_put(s, 1, big, 8, big, MAP), ERR_TOO_LARGE);
    assert_int_equal(store_delete(s, 1, big, 0), ERR_INVALID);
    store_close(s);
    struct store_config cfg = {.dir = store_dir, .map_bytes = 1000};
    assert_int_equal(store_open(&s, &cfg, NULL, NULL, NULL), ERR_INVALID);
}

static void a_second_opener_is_told_busy(void **state)
{
    (void)state;
    struct store_report r;
    struct store *s = open_store(MAP, NULL), *t;
    assert_int_equal(try_open(&t, MAP, &r), ERR_BUSY);
    assert_int_equal(put(s, 1, 1, 10), ERR_OK);
    wait_for(1);
    store_close(s);
    s = open_store(MAP, &r);
    assert_int_equal(r.records, 1);
    store_close(s);
}

static void the_file_is_as_large_as_the_map_from_the_start(void **state)
{
    (void)state;
    struct store *s = open_store(MAP, NULL);
    struct stat st;
    int fd = open_data();
    assert_int_equal(fstat(fd, &st), 0);
    close(fd);
    assert_true(st.st_size >= MAP);
    assert_true(st.st_blocks * 512 >= MAP);
    store_close(s);
}

/* ---- Damage
 * -------------------------------------------------------------------------------------- */

/* Flip a bit in the value of key n: in each page that holds it, since pages of older transactions
 * still do. */
static void flip_value(int fd, unsigned n)
{
    char key[16];
    static char file[MAP];
    int found = 0;
    size_t k = (size_t)snprintf(key, sizeof key, "k%05u", n);
    ssize_t got = pread(fd, file, sizeof file, 0);
    assert_true(got > 0);
    /* the key stands before the sum (16 bytes), after which the value starts with the key again */
    for (ssize_t i = 0; i + 64 < got; i++) {
        if (memcmp(file + i, key, k) != 0 || memcmp(file + i + k + 16, key, k) != 0)
            continue;
        char b = (char)(file[i + 60] ^ 0x10);
        assert_int_equal(pwrite(fd, &b, 1, i + 60), 1);
        found++;
    }
    assert_true(found > 0);
}

static void a_flipped_bit_drops_one_value_and_is_counted(void **state)
{
    (void)state;
    struct store_report r;
    struct store *s = open_store(MAP, NULL);
    for (unsigned i = 0; i < 40; i++)
        assert_int_equal(put(s, i + 1, i, 200), ERR_OK);
    store_close(s);
    int fd = open_data();
    flip_value(fd, 17);
    close(fd);
    s = open_store(MAP, &r);
    assert_false(r.set_aside);
    assert_int_equal(r.damaged, 1);
    assert_int_equal(r.records, 39);
    assert_false(loaded.have[17]);
    assert_non_null(strstr(r.text, "1 damaged"));
    assert_int_equal(put(s, 1, 17, 200), ERR_OK); /* a peer had it */
    store_close(s);
    s = open_store(MAP, &r);
    assert_int_equal(r.damaged, 0);
    assert_int_equal(r.records, 40);
    store_close(s);
}

static void fill_then_write(off_t from, off_t to, int byte)
{
    struct store *s = open_store(MAP, NULL);
    for (unsigned i = 0; i < 500; i++)
        assert_int_equal(put(s, i + 1, i, 500), ERR_OK);
    store_close(s);
    int fd = open_data();
    for (off_t at = from; at < to; at++) {
        uint8_t b = (uint8_t)(byte >= 0 ? byte : (int)((at * 2654435761u) >> 7 & 0xff));
        assert_int_equal(pwrite(fd, &b, 1, at), 1);
    }
    close(fd);
}

static void expect_set_aside_and_works(const char *name)
{
    struct store_report r;
    struct store *s = open_store(MAP, &r);
    assert_true(r.set_aside);
    assert_int_equal(r.records, 0);
    assert_true(exists(name));
    assert_non_null(strstr(r.text, name));
    assert_int_equal(put(s, 1, 5, 100), ERR_OK);
    wait_for(1);
    assert_int_equal(acks.failed, 0);
    store_close(s);
    s = open_store(MAP, &r);
    assert_false(r.set_aside);
    assert_int_equal(r.records, 1);
    store_close(s);
}

static void damaged_files_are_set_aside_one_by_one(void **state)
{
    (void)state;
    fill_then_write(0, 8192, 0xa5); /* both meta pages */
    expect_set_aside_and_works("data.mdb.damaged-1");
    fill_then_write(8192, 128 * 1024, -1); /* garbage in the tree */
    expect_set_aside_and_works("data.mdb.damaged-2");
    fill_then_write(8192, 128 * 1024, 0xff);
    expect_set_aside_and_works("data.mdb.damaged-3");
    fill_then_write(0, 128 * 1024, 0);
    expect_set_aside_and_works("data.mdb.damaged-4");
    assert_false(exists("data.mdb.damaged-1")); /* three are kept */
    assert_true(exists("data.mdb.damaged-2"));
}

static void a_file_cut_short_is_set_aside(void **state)
{
    (void)state;
    fill_then_write(0, 0, 0);
    int fd = open_data();
    assert_int_equal(ftruncate(fd, 64 * 1024), 0);
    close(fd);
    expect_set_aside_and_works("data.mdb.damaged-1");
}

static void an_empty_file_is_a_new_store(void **state)
{
    (void)state;
    struct store_report r;
    store_close(open_store(MAP, NULL));
    int fd = open_data();
    assert_int_equal(ftruncate(fd, 0), 0);
    close(fd);
    struct store *s = open_store(MAP, &r);
    assert_false(r.set_aside);
    store_close(s);
}

/* ---- Full
 * ---------------------------------------------------------------------------------------- */

static void a_full_map_refuses_puts_and_lets_deletions_through(void **state)
{
    (void)state;
    struct store_report r;
    struct store *s = open_store(SMALL_MAP, NULL);
    unsigned n = 0;
    while (n < KEYS_MAX && !acks.failed) {
        assert_int_equal(put(s, n + 1, n, VALUE), ERR_OK);
        wait_for(++n);
    }
    assert_int_equal(acks.worst, ERR_MAP_FULL);
    assert_true(store_fill_permille(s) > 700);
    unsigned kept = n - 1;
    uint64_t seq = n;
    assert_int_equal(put(s, ++seq, 4000, VALUE), ERR_OK);
    wait_for(seq);
    assert_int_equal(acks.failed, 2);
    for (unsigned i = 0; i < kept; i += 2) /* a few at a time, and many at once */
        assert_int_equal(del(s, ++seq, i), ERR_OK);
    wait_for(seq);
    assert_int_equal(acks.failed, 2);
    for (unsigned i = 1; i < kept; i += 2) {
        assert_int_equal(del(s, ++seq, i), ERR_OK);
        wait_for(seq);
    }
    assert_int_equal(acks.failed, 2);
    assert_true(store_fill_permille(s) < 100);
    for (unsigned i = 0; i < 100; i++) /* and there is room again */
        assert_int_equal(put(s, ++seq, i, VALUE), ERR_OK);
    wait_for(seq);
    assert_int_equal(acks.failed, 2);
    assert_true(acks.in_order);
    store_close(s);
    s = open_store(SMALL_MAP, &r);
    assert_int_equal(r.records, 100);
    store_close(s);
}

/* Puts smaller and smaller values until none fits: no free page is left below the reserve. The
 * number of keys. */
static unsigned exhaust(struct store *s, uint64_t *seq)
{
    static const size_t sizes[] = {VALUE, 300, 60, 6};
    unsigned n = 0;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        unsigned failed = acks.failed;
        while (acks.failed < failed + 3 && n < KEYS_MAX) {
            assert_int_equal(put(s, ++*seq, n++, sizes[i]), ERR_OK);
            wait_for(*seq);
        }
    }
    assert_int_equal(acks.worst, ERR_MAP_FULL);
    return n;
}

static void an_exhausted_map_can_be_emptied_and_used_again(void **state)
{
    (void)state;
    struct store_report r;
    struct store *s = open_store(SMALL_MAP, NULL);
    uint64_t seq = 0;
    unsigned n = exhaust(s, &seq), failed = acks.failed;
    pthread_mutex_lock(
        &acks.mutex); /* the writer waits in done: what is queued meanwhile is one group */
    for (unsigned i = 0; i <= n; i++)
        assert_int_equal(del(s, ++seq, i ? i - 1 : 4000), ERR_OK);
    pthread_mutex_unlock(&acks.mutex);
    wait_for(seq);
    assert_int_equal(acks.failed, failed);
    static const uint8_t large[100 * 1024]; /* needs pages that the deletion just freed */
    assert_int_equal(store_put(s, ++seq, "k00001", 6, large, sizeof large), ERR_OK);
    wait_for(seq);
    assert_int_equal(acks.failed, failed);
    for (unsigned i = 0; i < 200; i++)
        assert_int_equal(put(s, ++seq, i, VALUE), ERR_OK);
    wait_for(seq);
    assert_int_equal(acks.failed, failed);
    store_close(s);
    s = open_store(SMALL_MAP, &r);
    assert_int_equal(r.records, 200);
    store_close(s);
}

static void a_group_that_does_not_fit_fails_only_in_part(void **state)
{
    (void)state;
    struct store_report r;
    struct store *s = open_store(SMALL_MAP, NULL);
    for (unsigned i = 0; i < 2000; i++)
        assert_int_equal(put(s, i + 1, i, VALUE), ERR_OK);
    assert_int_equal(del(s, 2001, 0), ERR_OK);
    wait_for(2001);
    assert_true(acks.in_order);
    assert_int_equal(acks.worst, ERR_MAP_FULL);
    store_close(s);
    s = open_store(SMALL_MAP, &r);
    assert_true(r.records > 300);
    assert_false(loaded.have[0]);
    assert_true(loaded.have[1]);
    store_close(s);
}

static void fill_disk(void)
{
    char path[128];
    static const char zeros[4096];
    snprintf(path, sizeof path, "%s/ballast", dir);
    int fd = open(path, O_CREAT | O_WRONLY, 0644);
    assert_true(fd >= 0);
    while (write(fd, zeros, sizeof zeros) > 0)
        ;
    assert_int_equal(errno, ENOSPC);
    close(fd);
}

static void a_full_disk_is_told_at_opening_and_does_no_harm_later(void **state)
{
    (void)state;
    if (geteuid() != 0 || unshare(CLONE_NEWNS) < 0 ||
        mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("tmpfs", dir, "tmpfs", 0, "size=8m") < 0)
        skip();
    struct store_report r;
    struct store *s = NULL;
    assert_int_equal(try_open(&s, 16 * 1024 * 1024, &r), ERR_DISK_FULL);
    s = open_store(MAP, &r);
    assert_false(r.set_aside);
    fill_disk();
    for (unsigned i = 0; i < 1000; i++)
        assert_int_equal(put(s, i + 1, i, VALUE), ERR_OK);
    wait_for(1000);
    assert_int_equal(acks.failed, 0);
    store_close(s);
    s = open_store(MAP, &r);
    assert_int_equal(r.records, 1000);
    store_close(s);
    assert_int_equal(umount(dir), 0);
}

/* ---- Sudden ends
 * --------------------------------------------------------------------------------- */

static void tell_pipe(void *ctx, uint64_t seq, enum err err)
{
    if (err || write(*(int *)ctx, &seq, sizeof seq) != sizeof seq)
        _exit(3);
}

static _Noreturn void write_until_killed(int fd)
{
    struct store *s;
    struct store_config cfg = {.dir = store_dir, .map_bytes = MAP, .done = tell_pipe, .ctx = &fd};
    if (store_open(&s, &cfg, NULL, NULL, NULL))
        _exit(2);
    for (unsigned i = 0; i < KEYS_MAX; i++)
        if (put(s, i + 1, i, 300))
            _exit(4);
    for (;;)
        pause();
}

static void acknowledged_writes_survive_a_kill(void **state)
{
    (void)state;
    for (int round = 0; round < 3; round++) {
        int fds[2], status;
        uint64_t seq = 0, acked = 0;
        assert_int_equal(pipe(fds), 0);
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
            close(fds[0]);
            write_until_killed(fds[1]);
        }
        close(fds[1]);
        for (int i = 0; i <= round; i++)
            assert_int_equal(read(fds[0], &acked, sizeof acked), sizeof acked);
        kill(pid, SIGKILL);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status));
        while (read(fds[0], &seq, sizeof seq) == sizeof seq)
            acked = seq;
        close(fds[0]);
        struct store_report r;
        struct store *s = open_store(MAP, &r);
        assert_false(r.was_clean);
        assert_false(r.set_aside);
        assert_int_equal(r.damaged, 0);
        for (unsigned i = 0; i < acked; i++)
            assert_true(loaded.have[i]);
        store_close(s);
    }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_was_put_is_loaded_in_key_order),
        TEST(acknowledgements_come_in_order_and_groups),
        TEST(bad_keys_and_sizes_are_refused),
        TEST(a_second_opener_is_told_busy),
        TEST(the_file_is_as_large_as_the_map_from_the_start),
        TEST(a_flipped_bit_drops_one_value_and_is_counted),
        TEST(damaged_files_are_set_aside_one_by_one),
        TEST(a_file_cut_short_is_set_aside),
        TEST(an_empty_file_is_a_new_store),
        TEST(a_full_map_refuses_puts_and_lets_deletions_through),
        TEST(an_exhausted_map_can_be_emptied_and_used_again),
        TEST(a_group_that_does_not_fit_fails_only_in_part),
        TEST(acknowledged_writes_survive_a_kill),
        TEST(a_full_disk_is_told_at_opening_and_does_no_harm_later),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
