/* One thread writes: it takes what is queued, in order and up to a limit, as one transaction, and
 * tells the last sequence when LMDB has it on disk.
 *
 * A full map makes even deletions fail, since LMDB writes copies of the pages it changes. So the
 * environment is opened with less than the map (`soft`); the rest is lent to deletions that find no
 * room. */
#define _GNU_SOURCE
#include "store/store.h"

#include "store/disk.h"
#include "store/store_file.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    GROUP_OPS = 1024,
    GROUP_BYTES = 4 * 1024 * 1024,
    QUEUE_BYTES_MAX = 64 * 1024 * 1024,
    MAP_BYTES_MIN = 256 * 1024,
    SLACK_PAGES = 16 /* fewer free ones than this are not worth two commits */
};

struct op {
    struct op *next;
    uint64_t seq;
    bool is_delete;
    uint16_t key_len;
    size_t len;      /* of the stored value, with its sum */
    uint8_t bytes[]; /* key, stored value */
};

struct store {
    struct store_config cfg;
    char *dir;
    int dir_fd, lock_fd;
    MDB_env *env;
    MDB_dbi dbi;
    size_t soft_bytes, page_bytes;
    atomic_uint fill_pages;
    struct op *group[GROUP_OPS]; /* the thread's */
    pthread_t thread;
    pthread_mutex_t mutex; /* what follows */
    pthread_cond_t work;
    struct op *first, **last;
    size_t queued_bytes;
    uint64_t seq;
    bool closing;
};

/* ---- Writing (the thread)
 * ------------------------------------------------------------------------ */

static void env_close(struct store *s)
{
    if (s->env)
        mdb_env_close(s->env);
    s->env = NULL;
}

static int env_open(struct store *s)
{
    MDB_txn *txn;
    int rc = mdb_env_create(&s->env);
    if (rc) {
        s->env = NULL;
        return rc;
    }
    rc = mdb_env_set_mapsize(s->env, s->soft_bytes);
    if (rc == 0)
        rc = mdb_env_open(s->env, s->dir, 0, 0644);
    if (rc == 0)
        rc = mdb_txn_begin(s->env, NULL, MDB_RDONLY, &txn);
    if (rc == 0) {
        rc = mdb_dbi_open(txn, NULL, 0, &s->dbi);
        mdb_txn_abort(txn);
    }
    if (rc)
        env_close(s);
    return rc;
}

static void count_pages(struct store *s, MDB_txn *txn)
{
    MDB_stat st;
    size_t pages = 2;
    const MDB_dbi both[] = {0, s->dbi};
    for (int i = 0; i < 2; i++)
        if (mdb_stat(txn, both[i], &st) == 0)
            pages += st.ms_branch_pages + st.ms_leaf_pages + st.ms_overflow_pages;
    atomic_store(&s->fill_pages, (unsigned)pages);
}

static int apply(struct store *s, MDB_txn *txn, struct op *op)
{
    MDB_val key = {op->key_len, op->bytes}, value = {op->len, op->bytes + op->key_len};
    if (!op->is_delete)
        return mdb_put(txn, s->dbi, &key, &value, 0);
    int rc = mdb_del(txn, s->dbi, &key, NULL);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

static int commit(struct store *s, struct op **ops, size_t n)
{
    MDB_txn *txn;
    int rc = s->env ? mdb_txn_begin(s->env, NULL, 0, &txn) : MDB_PANIC;
    if (rc ==
        MDB_PANIC) { /* a commit failed half-way, before this one: start from what is on disk */
        env_close(s);
        rc = env_open(s);
        if (rc == 0)
            rc = mdb_txn_begin(s->env, NULL, 0, &txn);
    }
    if (rc)
        return rc;
    for (size_t i = 0; i < n && rc == 0; i++)
        rc = apply(s, txn, ops[i]);
    if (rc) {
        mdb_txn_abort(txn);
        return rc;
    }
    count_pages(s, txn);
    return mdb_txn_commit(txn);
}

/* Pages that a transaction freed are used again two transactions later, and one that fails doesn't
 * count: after a large deletion in a full map the next put would fail for ever. So: two commits
 * that change nothing. */
static void advance(struct store *s)
{
    uint8_t scratch[STORE_KEY_MAX];
    memset(scratch, 0xff, sizeof scratch);
    for (int i = 0; i < 2 && s->env; i++) {
        MDB_txn *txn;
        MDB_val key = {sizeof scratch, scratch}, value = {1, scratch};
        if (mdb_txn_begin(s->env, NULL, 0, &txn))
            return;
        if (mdb_put(txn, s->dbi, &key, &value, MDB_NOOVERWRITE) ||
            mdb_del(txn, s->dbi, &key, NULL)) {
            mdb_txn_abort(txn);
            return;
        }
        if (mdb_txn_commit(txn))
            return;
    }
}

/* Once more with the reserve in the map. */
static int commit_with_reserve(struct store *s, struct op **ops, size_t n, bool deletes)
{
    int rc = MDB_MAP_FULL;
    if (!s->env || mdb_env_set_mapsize(s->env, s->cfg.map_bytes))
        return rc;
    if (deletes)
        rc = commit(s, ops, n);
    else
        advance(s);
    /* commit may have lost the environment, or opened it again; its size is then the soft one
     * already */
    if (s->env && mdb_env_set_mapsize(s->env, s->soft_bytes))
        env_close(s);
    return deletes ? rc : commit(s, ops, n);
}

static bool only_deletes(struct op **ops, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!ops[i]->is_delete)
            return false;
    return true;
}

static void tell(struct store *s, uint64_t seq, int rc)
{
    if (s->cfg.done)
        s->cfg.done(s->cfg.ctx, seq, store_err(rc));
}

/* As one transaction; where there is no room for all, as two halves, so that what fits is kept and
 * the rest told one by one. Depth: log2(GROUP_OPS). */
static void write_group(struct store *s, struct op **ops, size_t n)
{
    int rc = commit(s, ops, n);
    bool no_room = rc == MDB_MAP_FULL || rc == MDB_TXN_FULL;
    if (no_room && only_deletes(ops, n)) {
        rc = commit_with_reserve(s, ops, n, true);
    } else if (no_room && n == 1) {
        size_t used = atomic_load(&s->fill_pages) + ops[0]->len / s->page_bytes + SLACK_PAGES;
        if (used < s->soft_bytes / s->page_bytes)
            rc = commit_with_reserve(s, ops, n, false);
    }
    if ((rc == MDB_MAP_FULL || rc == MDB_TXN_FULL) && n > 1) {
        write_group(s, ops, n / 2);
        write_group(s, ops + n / 2, n - n / 2);
        return;
    }
    tell(s, ops[n - 1]->seq, rc);
}

/* Takes a group; 0 when closing and nothing is left. */
static size_t take_group(struct store *s)
{
    size_t n = 0, bytes = 0;
    pthread_mutex_lock(&s->mutex);
    while (!s->first && !s->closing)
        pthread_cond_wait(&s->work, &s->mutex);
    while (s->first && n < GROUP_OPS && bytes < GROUP_BYTES) {
        struct op *op = s->first;
        s->first = op->next;
        bytes += sizeof *op + op->key_len + op->len;
        s->group[n++] = op;
    }
    if (!s->first)
        s->last = &s->first;
    s->queued_bytes -= bytes;
    pthread_mutex_unlock(&s->mutex);
    return n;
}

static void *writer(void *arg)
{
    struct store *s = arg;
    size_t n;
    while ((n = take_group(s)) > 0) {
        write_group(s, s->group, n);
        for (size_t i = 0; i < n; i++)
            free(s->group[i]);
    }
    return NULL;
}

/* ---- Opening
 * ------------------------------------------------------------------------------------- */

/* Everything sound goes to load; with drop, what isn't is removed instead (and load isn't called).
 */
static int walk(struct store *s, store_load_fn *load, void *ctx, struct store_report *r, bool drop)
{
    MDB_txn *txn;
    MDB_cursor *cur;
    MDB_val key, value;
    int rc = mdb_txn_begin(s->env, NULL, drop ? 0 : MDB_RDONLY, &txn);
    if (rc)
        return rc;
    rc = mdb_cursor_open(txn, s->dbi, &cur);
    if (rc) {
        mdb_txn_abort(txn);
        return rc;
    }
    while ((rc = mdb_cursor_get(cur, &key, &value, MDB_NEXT)) == 0) {
        bool sound = store_value_sound(&key, &value);
        if (drop) {
            if (!sound && (rc = mdb_cursor_del(cur, 0)) != 0)
                break;
        } else if (sound) {
            r->records++;
            if (load)
                load(ctx, key.mv_data, key.mv_size,
                     (const uint8_t *)value.mv_data + STORE_SUM_BYTES,
                     value.mv_size - STORE_SUM_BYTES);
        } else {
            r->damaged++;
        }
    }
    mdb_cursor_close(cur);
    rc = rc == MDB_NOTFOUND ? 0 : rc;
    count_pages(s, txn);
    if (drop && rc == 0)
        return mdb_txn_commit(txn);
    mdb_txn_abort(txn);
    return rc;
}

/* One process at a time; the file is never removed, so that all lock the same one. */
static enum err lock_dir(struct store *s)
{
    s->lock_fd = openat(s->dir_fd, "owner.lock", O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (s->lock_fd < 0)
        return disk_err(errno);
    return flock(s->lock_fd, LOCK_EX | LOCK_NB) < 0 ? disk_err(errno) : ERR_OK;
}

/* The mark of a clean end goes before anything is read: should reading kill us, the next start
 * knows. */
static enum err take_clean_mark(struct store *s, bool *was_clean)
{
    struct stat st;
    bool is_new = fstatat(s->dir_fd, "data.mdb", &st, 0) < 0 && errno == ENOENT;
    bool marked = unlinkat(s->dir_fd, "clean", 0) == 0;
    if (!marked && errno != ENOENT)
        return disk_err(errno);
    *was_clean = marked || is_new;
    return marked ? disk_sync_dir(s->dir_fd) : ERR_OK;
}

static enum err preallocate(struct store *s)
{
    int fd = openat(s->dir_fd, "data.mdb", O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return disk_err(errno);
    enum err err = disk_preallocate(fd, s->cfg.map_bytes);
    if (!err && fsync(fd) < 0)
        err = disk_err(errno);
    close(fd);
    return err ? err : disk_sync_dir(s->dir_fd);
}

/* The scan is made after a clean end as well: it costs half a second at most, and a page that
 * rotted meanwhile would otherwise end the process at every second start. */
static enum err open_file(struct store *s, struct store_report *r)
{
    unsigned number = 0;
    enum err err = take_clean_mark(s, &r->was_clean);
    if (err)
        return err;
    err = store_scan(s->dir_fd, s->dir, s->cfg.map_bytes);
    if (err == ERR_CORRUPT) {
        err = store_set_aside(s->dir_fd, &number);
        r->set_aside = true;
    } else if (err == ERR_NOT_FOUND) {
        err = ERR_OK;
    }
    if (err)
        return err;
    int rc = env_open(s);
    if (rc)
        return store_err(rc);
    MDB_stat st;
    rc = mdb_env_stat(s->env, &st);
    if (rc)
        return store_err(rc);
    s->page_bytes = st.ms_psize;
    if (r->set_aside)
        snprintf(r->text, sizeof r->text,
                 "data.mdb was damaged: kept as data.mdb.damaged-%u, started anew", number);
    return preallocate(s);
}

static enum err load_all(struct store *s, store_load_fn *load, void *ctx, struct store_report *r)
{
    int rc = walk(s, load, ctx, r, false);
    if (rc)
        return store_err(rc);
    if (r->damaged) /* should this fail, they are found and counted again next time */
        rc = walk(s, NULL, NULL, r, true);
    if (!r->set_aside)
        snprintf(r->text, sizeof r->text, "%u records, %u damaged ones dropped%s, last end %s",
                 r->records, r->damaged, rc ? " (not yet from the file)" : "",
                 r->was_clean ? "clean" : "unclean");
    return ERR_OK;
}

/* Signals are for the threads that expect them. */
static enum err start_thread(struct store *s)
{
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int rc = pthread_create(&s->thread, NULL, writer, s);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return disk_err(rc);
}

static void store_free(struct store *s)
{
    env_close(s);
    if (s->lock_fd >= 0)
        close(s->lock_fd); /* and the lock with it */
    if (s->dir_fd >= 0)
        close(s->dir_fd);
    pthread_cond_destroy(&s->work);
    pthread_mutex_destroy(&s->mutex);
    free(s->dir);
    free(s);
}

enum err store_open(struct store **out, const struct store_config *cfg, store_load_fn *load,
                    void *ctx, struct store_report *report)
{
    struct store_report own;
    struct store_report *r = report ? report : &own;
    *r = (struct store_report){0};
    if (cfg->map_bytes < MAP_BYTES_MIN)
        return ERR_INVALID;
    if (sodium_init() < 0)
        return ERR_UNSUPPORTED;
    struct store *s = calloc(1, sizeof *s);
    if (!s)
        return ERR_NOMEM;
    size_t map = cfg->map_bytes, page = (size_t)sysconf(_SC_PAGESIZE);
    s->cfg = *cfg;
    s->soft_bytes = (map - map / 8) / page * page;
    s->dir_fd = s->lock_fd = -1;
    s->last = &s->first;
    pthread_mutex_init(&s->mutex, NULL);
    pthread_cond_init(&s->work, NULL);
    s->dir = strdup(cfg->dir);
    enum err err = s->dir ? disk_open_dir(s->dir, &s->dir_fd) : ERR_NOMEM;
    if (!err)
        err = lock_dir(s);
    if (!err)
        err = open_file(s, r);
    if (!err)
        err = load_all(s, load, ctx, r);
    if (!err)
        err = start_thread(s);
    if (err) {
        store_free(s);
        return err;
    }
    *out = s;
    return ERR_OK;
}

void store_close(struct store *s)
{
    if (!s)
        return;
    pthread_mutex_lock(&s->mutex);
    s->closing = true;
    pthread_cond_signal(&s->work);
    pthread_mutex_unlock(&s->mutex);
    pthread_join(s->thread, NULL);
    env_close(s);
    int fd = openat(s->dir_fd, "clean", O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    if (fd >= 0) { /* without the mark the next start says "unclean", no more */
        close(fd);
        fsync(s->dir_fd);
    }
    store_free(s);
}

/* ---- Queueing
 * ------------------------------------------------------------------------------------ */

static enum err enqueue(struct store *s, struct op *op)
{
    size_t bytes = sizeof *op + op->key_len + op->len;
    pthread_mutex_lock(&s->mutex);
    CHECK(op->seq > s->seq);
    if (s->queued_bytes + bytes > QUEUE_BYTES_MAX) {
        pthread_mutex_unlock(&s->mutex);
        free(op);
        return ERR_FULL;
    }
    s->seq = op->seq;
    s->queued_bytes += bytes;
    *s->last = op;
    s->last = &op->next;
    pthread_cond_signal(&s->work);
    pthread_mutex_unlock(&s->mutex);
    return ERR_OK;
}

static enum err op_new(uint64_t seq, const void *key, size_t key_len, size_t len, struct op **out)
{
    if (key_len == 0)
        return ERR_INVALID;
    if (key_len > STORE_KEY_MAX)
        return ERR_TOO_LARGE;
    struct op *op = malloc(sizeof *op + key_len + len);
    if (!op)
        return ERR_NOMEM;
    *op = (struct op){.seq = seq, .key_len = (uint16_t)key_len, .len = len};
    memcpy(op->bytes, key, key_len);
    *out = op;
    return ERR_OK;
}

enum err store_put(struct store *s, uint64_t seq, const void *key, size_t key_len,
                   const void *value, size_t len)
{
    if (len > s->cfg.map_bytes / 4)
        return ERR_TOO_LARGE;
    struct op *op;
    enum err err = op_new(seq, key, key_len, STORE_SUM_BYTES + len, &op);
    if (err)
        return err;
    store_sum(key, key_len, value, len, op->bytes + key_len);
    if (len)
        memcpy(op->bytes + key_len + STORE_SUM_BYTES, value, len);
    return enqueue(s, op);
}

enum err store_delete(struct store *s, uint64_t seq, const void *key, size_t key_len)
{
    struct op *op;
    enum err err = op_new(seq, key, key_len, 0, &op);
    if (err)
        return err;
    op->is_delete = true;
    return enqueue(s, op);
}

uint32_t store_fill_permille(struct store *s)
{
    uint64_t used = (uint64_t)atomic_load(&s->fill_pages) * s->page_bytes;
    uint64_t permille = used * 1000 / s->cfg.map_bytes;
    return permille > 1000 ? 1000 : (uint32_t)permille;
}
