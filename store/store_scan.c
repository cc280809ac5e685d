#define _GNU_SOURCE
#include "store/store_file.h"

#include "store/disk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    FREE_DBI = 0, /* LMDB's list of free pages is a database of its own, always number 0 */
    META_PAGES = 2,
    SCAN_CPU_SECONDS = 60 /* 256 MiB take half a second; pages that point in circles must end too */
};

/* ---- Values
 * -------------------------------------------------------------------------------------- */

void store_sum(const void *key, size_t key_len, const void *value, size_t len,
               uint8_t out[static STORE_SUM_BYTES])
{
    uint8_t n[2] = {(uint8_t)key_len, (uint8_t)(key_len >> 8)};
    crypto_generichash_state st;
    crypto_generichash_init(&st, NULL, 0, STORE_SUM_BYTES);
    crypto_generichash_update(&st, n, sizeof n);
    crypto_generichash_update(&st, key, key_len);
    crypto_generichash_update(&st, value, len);
    crypto_generichash_final(&st, out, STORE_SUM_BYTES);
}

bool store_value_sound(const MDB_val *key, const MDB_val *stored)
{
    uint8_t is[STORE_SUM_BYTES];
    if (stored->mv_size < STORE_SUM_BYTES)
        return false;
    const uint8_t *p = stored->mv_data;
    store_sum(key->mv_data, key->mv_size, p + STORE_SUM_BYTES, stored->mv_size - STORE_SUM_BYTES,
              is);
    return memcmp(is, p, STORE_SUM_BYTES) == 0;
}

enum err store_err(int rc)
{
    switch (rc) {
    case MDB_MAP_FULL:
        return ERR_MAP_FULL;
    case MDB_NOTFOUND:
        return ERR_NOT_FOUND;
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
    case MDB_CURSOR_FULL:
    case MDB_INVALID:
    case MDB_VERSION_MISMATCH:
        return ERR_CORRUPT;
    case MDB_TXN_FULL:
        return ERR_FULL;
    default:
        return rc > 0 ? disk_err(rc) : rc == 0 ? ERR_OK : ERR_IO;
    }
}

/* ---- The child
 * ----------------------------------------------------------------------------------- */

static bool key_ascends(const MDB_val *a, const MDB_val *b)
{
    size_t n = a->mv_size < b->mv_size ? a->mv_size : b->mv_size;
    int c = memcmp(a->mv_data, b->mv_data, n);
    return c < 0 || (c == 0 && a->mv_size < b->mv_size);
}

static enum err scan_values(MDB_txn *txn)
{
    MDB_dbi dbi;
    MDB_cursor *cur;
    MDB_stat st;
    MDB_val key, value, before = {0, NULL};
    int rc = mdb_dbi_open(txn, NULL, 0, &dbi);
    if (rc == 0)
        rc = mdb_stat(txn, dbi, &st);
    if (rc == 0)
        rc = mdb_cursor_open(txn, dbi, &cur);
    if (rc)
        return store_err(rc);
    size_t seen = 0;
    while ((rc = mdb_cursor_get(cur, &key, &value, MDB_NEXT)) == 0) {
        if (key.mv_size == 0 || key.mv_size > STORE_KEY_MAX || ++seen > st.ms_entries)
            return ERR_CORRUPT;
        if (before.mv_data && !key_ascends(&before, &key))
            return ERR_CORRUPT;
        before = key;
        (void)store_value_sound(&key,
                                &value); /* for its reading every byte that opening will read */
    }
    return rc != MDB_NOTFOUND || seen != st.ms_entries ? ERR_CORRUPT : ERR_OK;
}

/* A free list's item: a count, then as many page numbers, falling. A page that is free twice, or
 * outside the file, would be written over while in use. */
static enum err scan_free(MDB_txn *txn, size_t pages)
{
    MDB_cursor *cur;
    MDB_val key, value;
    if (pages / 8 + 1 > SIZE_MAX / 2)
        return ERR_CORRUPT;
    uint8_t *seen = calloc(pages / 8 + 1, 1);
    if (!seen)
        return ERR_NOMEM;
    int rc = mdb_cursor_open(txn, FREE_DBI, &cur);
    enum err err = store_err(rc);
    while (!err && (rc = mdb_cursor_get(cur, &key, &value, MDB_NEXT)) == 0) {
        size_t count, page;
        if (key.mv_size != sizeof(size_t) || value.mv_size < sizeof count) {
            err = ERR_CORRUPT;
            break;
        }
        memcpy(&count, value.mv_data, sizeof count);
        if (count > value.mv_size / sizeof count - 1)
            err = ERR_CORRUPT;
        for (size_t i = 1; !err && i <= count; i++) {
            memcpy(&page, (const char *)value.mv_data + i * sizeof page, sizeof page);
            if (page < META_PAGES || page >= pages || (seen[page / 8] & 1u << page % 8))
                err = ERR_CORRUPT;
            else
                seen[page / 8] |= (uint8_t)(1u << page % 8);
        }
    }
    free(seen);
    return err ? err : rc == MDB_NOTFOUND ? ERR_OK : ERR_CORRUPT;
}

/* Whether it is for want of memory, not for a size in the file that is nonsense, that it can't be
 * mapped. */
static bool memory_is_short(size_t map_bytes)
{
    void *p = mmap(NULL, map_bytes, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED)
        return true;
    munmap(p, map_bytes);
    return false;
}

/* The child's whole life: everything here may crash. No lock file: the parent holds the folder's
 * lock. */
static enum err scan(int dir_fd, const char *dir, size_t map_bytes)
{
    struct stat file;
    MDB_env *env;
    MDB_txn *txn;
    MDB_envinfo info;
    MDB_stat st;
    if (fstatat(dir_fd, "data.mdb", &file, 0) < 0)
        return disk_err(errno);
    int rc = mdb_env_create(&env);
    if (rc == 0)
        rc = mdb_env_open(env, dir, MDB_RDONLY | MDB_NOLOCK, 0);
    if (rc == ENOMEM || rc == EINVAL || rc == EIO)
        return memory_is_short(map_bytes) ? ERR_NOMEM : ERR_CORRUPT;
    if (rc == 0)
        rc = mdb_env_info(env, &info);
    if (rc == 0)
        rc = mdb_env_stat(env, &st);
    if (rc == 0)
        rc = mdb_txn_begin(env, NULL, MDB_RDONLY, &txn);
    if (rc)
        return store_err(rc);
    size_t file_pages = (size_t)file.st_size / st.ms_psize;
    if (info.me_last_pgno >= file_pages)
        return ERR_CORRUPT; /* cut short */
    enum err err = scan_values(txn);
    return err ? err : scan_free(txn, info.me_last_pgno + 1);
}

static _Noreturn void child(int dir_fd, const char *dir, size_t map_bytes, int verdict_fd,
                            pid_t parent)
{
    static const int deadly[] = {SIGSEGV, SIGBUS, SIGABRT, SIGILL, SIGFPE, SIGXCPU};
    struct rlimit no_core = {0, 0}, cpu = {SCAN_CPU_SECONDS, SCAN_CPU_SECONDS + 1};
    for (size_t i = 0; i < sizeof deadly / sizeof *deadly; i++)
        signal(deadly[i], SIG_DFL);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(1);
    setrlimit(RLIMIT_CORE, &no_core);
    setrlimit(RLIMIT_CPU, &cpu);
    int null = open("/dev/null", O_WRONLY); /* LMDB's assertions talk */
    if (null >= 0)
        dup2(null, STDERR_FILENO);
    uint8_t verdict = (uint8_t)scan(dir_fd, dir, map_bytes);
    ssize_t n = write(verdict_fd, &verdict, 1);
    _exit(n == 1 ? 0 : 1);
}

enum err store_scan(int dir_fd, const char *dir, size_t map_bytes)
{
    struct stat st;
    if (faccessat(dir_fd, "data.mdb", R_OK | W_OK, 0) < 0 ||
        fstatat(dir_fd, "data.mdb", &st, 0) < 0)
        return disk_err(errno);
    if (st.st_size == 0)
        return ERR_NOT_FOUND; /* made, and no more */
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) < 0)
        return disk_err(errno);
    pid_t parent = getpid(), pid = fork();
    if (pid < 0) {
        enum err err = disk_err(errno);
        close(fds[0]);
        close(fds[1]);
        return err;
    }
    if (pid == 0)
        child(dir_fd, dir, map_bytes, fds[1], parent);
    close(fds[1]);
    /* The verdict comes by the pipe, so that it doesn't matter who else waits for children. */
    uint8_t verdict = ERR_CORRUPT;
    ssize_t n;
    do
        n = read(fds[0], &verdict, 1);
    while (n < 0 && errno == EINTR);
    close(fds[0]);
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        ;
    return n == 1 ? (enum err)verdict : ERR_CORRUPT;
}

/* ---- Setting aside
 * ------------------------------------------------------------------------------- */

static const char ASIDE[] = "data.mdb.damaged-";

static unsigned aside_number(const char *name)
{
    size_t n = sizeof ASIDE - 1;
    if (strncmp(name, ASIDE, n) != 0 || name[n] < '1' || name[n] > '9' || strlen(name + n) > 8)
        return 0;
    return (unsigned)strtoul(name + n, NULL, 10);
}

enum err store_set_aside(int dir_fd, unsigned *number)
{
    int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    if (!d) {
        enum err err = disk_err(errno);
        if (fd >= 0)
            close(fd);
        return err;
    }
    unsigned last = 0;
    for (const struct dirent *e; (e = readdir(d));)
        if (aside_number(e->d_name) > last)
            last = aside_number(e->d_name);
    *number = last + 1;
    rewinddir(d);
    for (const struct dirent *e; (e = readdir(d));) {
        unsigned n = aside_number(e->d_name);
        if (n && n + STORE_ASIDE_KEPT <= *number)
            unlinkat(dir_fd, e->d_name, 0);
    }
    closedir(d);
    char name[64];
    snprintf(name, sizeof name, "%s%u", ASIDE, *number);
    if (renameat(dir_fd, "data.mdb", dir_fd, name) < 0)
        return disk_err(errno);
    return disk_sync_dir(dir_fd);
}
