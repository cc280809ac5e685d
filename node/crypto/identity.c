/* What lies in STATE, and in which order it is written on a first start: machine, key, boot. A
 * crash between them leaves no key, or a key whose boot number is still to come; both are taken up
 * by the next start.
 *
 * "machine" and "boot" are a line of text each: the value, a space, and 16 hex digits of a
 * checksum.
 *
 * "boot.spare" is room for the next boot number, so that a node can begin again on a full disk: the
 * number is written into it, and the two change names. */
#define _GNU_SOURCE
#include "node/crypto/identity.h"

#include "store/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define KEY_FILE     "node.key"
#define BOOT_FILE    "boot"
#define BOOT_SPARE   "boot.spare"
#define MACHINE_FILE "machine"
#define LOCK_FILE    "lock"
#define MACHINE_ID   "/etc/machine-id"

enum {
    SUM_SIZE = 8,
    VALUE_MAX = 64, /* a hash in hex */
    LINE_MAX_LEN = VALUE_MAX + 1 + 2 * SUM_SIZE + 1,
    MACHINE_ID_MAX = 256,
    ASIDE_MAX = 1000
};
#define BOOT_MAX ((uint64_t)INT64_MAX)

struct identity { /* in sodium_malloc's memory */
    uint8_t seed[NODE_SEED_SIZE];
    uint64_t boot;
    enum identity_origin origin;
    int dir_fd, lock_fd;
};

struct report { /* where `why` goes, and what it begins with */
    const char *dir;
    char *why;
    size_t size;
};

__attribute__((format(printf, 3, 4))) static enum err say(const struct report *r, enum err err,
                                                          const char *format, ...)
{
    va_list args;
    if (r && r->size > 0) {
        va_start(args, format);
        vsnprintf(r->why, r->size, format, args);
        va_end(args);
    }
    return err;
}

/* Of what the system refused. */
static enum err say_errno(const struct report *r, const char *name, const char *what)
{
    const int number = errno;
    enum err err = disk_err(number);
    const char *advice = "";
    if (err == ERR_DENIED)
        advice = "; give the folder to the user that meshd runs as";
    else if (err == ERR_DISK_FULL)
        advice = "; make room on its disk";
    else if (err != ERR_NOMEM)
        err = ERR_IO;
    return say(r, err, "%s/%s: can't be %s: %s%s", r ? r->dir : "", name, what, strerror(number),
               advice);
}

/* ---- Files ----------------------------------------------------------------------------------- */

/* Write aside, flush, rename, flush the folder: after a crash the file is the old one or the new
 * one. */
static enum err file_write(int dir_fd, const struct report *r, const char *name, const void *p,
                           size_t len)
{
    char aside[32];
    snprintf(aside, sizeof aside, "%s.new", name);
    int fd = openat(dir_fd, aside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return say_errno(r, aside, "made");
    enum err err = disk_write_at(fd, p, len, 0);
    if (err || fsync(fd) < 0)
        err = say_errno(r, aside, "written");
    if (close(fd) < 0 && !err)
        err = say_errno(r, aside, "written");
    if (!err && renameat(dir_fd, aside, dir_fd, name) < 0)
        err = say_errno(r, name, "replaced");
    if (err) {
        unlinkat(dir_fd, aside, 0);
        return err;
    }
    return disk_sync_dir(dir_fd) ? say_errno(r, name, "flushed to disk") : ERR_OK;
}

/* At most size bytes; *len is size if there may be more. ERR_NOT_FOUND says nothing in `why`. */
static enum err file_read(int dir_fd, const struct report *r, const char *name, void *out,
                          size_t size, size_t *len)
{
    int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return errno == ENOENT ? ERR_NOT_FOUND : say_errno(r, name, "opened");
    enum err err = disk_read_at(fd, out, size, 0, len);
    if (err)
        err = say_errno(r, name, "read");
    const int number = errno;
    close(fd);
    errno = number;
    return err;
}

static void line_sum(const char *name, const char *value, char hex[static 2 * SUM_SIZE + 1])
{
    uint8_t full[32];
    crypto_generichash_state st;
    crypto_generichash_init(&st, NULL, 0, sizeof full);
    crypto_generichash_update(&st, (const uint8_t *)name, strlen(name) + 1);
    crypto_generichash_update(&st, (const uint8_t *)value, strlen(value));
    crypto_generichash_final(&st, full, sizeof full);
    sodium_bin2hex(hex, 2 * SUM_SIZE + 1, full, SUM_SIZE);
}

static size_t line_make(char line[static LINE_MAX_LEN + 1], const char *name, const char *value)
{
    char sum[2 * SUM_SIZE + 1];
    line_sum(name, value, sum);
    int len = snprintf(line, LINE_MAX_LEN + 1, "%s %s\n", value, sum);
    CHECK(len > 0 && len <= LINE_MAX_LEN);
    return (size_t)len;
}

static enum err line_write(int dir_fd, const struct report *r, const char *name, const char *value)
{
    char line[LINE_MAX_LEN + 1];
    return file_write(dir_fd, r, name, line, line_make(line, name, value));
}

/* ERR_CORRUPT says nothing in `why`. */
static enum err line_read(int dir_fd, const struct report *r, const char *name,
                          char value[static VALUE_MAX + 1])
{
    char line[LINE_MAX_LEN + 1], sum[2 * SUM_SIZE + 1];
    size_t len = 0;
    enum err err = file_read(dir_fd, r, name, line, sizeof line, &len);
    if (err)
        return err;
    const size_t tail = 1 + 2 * SUM_SIZE + 1;
    if (len <= tail || len > LINE_MAX_LEN || line[len - 1] != '\n' || line[len - tail] != ' ' ||
        memchr(line, '\0', len))
        return ERR_CORRUPT;
    memcpy(value, line, len - tail);
    value[len - tail] = '\0';
    line_sum(name, value, sum);
    return memcmp(sum, line + len - tail + 1, 2 * SUM_SIZE) == 0 ? ERR_OK : ERR_CORRUPT;
}

/* ---- The folder and its lock ----------------------------------------------------------------- */

/* Each part of the path that is missing, and its name on disk. */
static enum err make_folders(const struct report *r)
{
    char path[4096];
    const size_t len = strlen(r->dir);
    if (len == 0 || len >= sizeof path)
        return say(r, ERR_IO, "'%s': this is no name of a folder; give another state folder",
                   r->dir);
    for (size_t i = 1; i <= len; i++) {
        if (r->dir[i] != '/' && r->dir[i] != '\0')
            continue;
        memcpy(path, r->dir, i);
        path[i] = '\0';
        if (mkdir(path, 0700) == 0) {
            strncat(path, "/..", sizeof path - i - 1);
            int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
            if (fd < 0 || disk_sync_dir(fd)) {
                enum err err = say_errno(r, "", "made");
                if (fd >= 0)
                    close(fd);
                return err;
            }
            close(fd);
        } else if (errno != EEXIST && r->dir[i] == '\0') {
            return say_errno(r, "", "made");
        }
    }
    return ERR_OK;
}

static enum err open_locked(struct identity *id, const struct report *r)
{
    enum err err = make_folders(r);
    if (err)
        return err;
    id->dir_fd = open(r->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (id->dir_fd < 0)
        return say_errno(r, "", "opened");
    id->lock_fd = openat(id->dir_fd, LOCK_FILE, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (id->lock_fd < 0)
        return say_errno(r, LOCK_FILE, "opened");
    if (flock(id->lock_fd, LOCK_EX | LOCK_NB) == 0)
        return ERR_OK;
    if (errno == EWOULDBLOCK)
        return say(r, ERR_BUSY,
                   "%s: another meshd runs with this state; stop it, or give this one a state "
                   "folder of its own",
                   r->dir);
    return say_errno(r, LOCK_FILE, "locked");
}

/* ---- The machine ----------------------------------------------------------------------------- */

/* Its hash in hex; "" if the machine has no id. */
static enum err machine_now(const struct report *r, const char *path,
                            char out[static VALUE_MAX + 1])
{
    static const char label[] = "unimesh machine 1";
    char text[MACHINE_ID_MAX];
    uint8_t full[32];
    size_t len = 0;
    out[0] = '\0';
    enum err err = file_read(AT_FDCWD, NULL, path, text, sizeof text, &len);
    if (err == ERR_NOT_FOUND)
        return ERR_OK;
    if (err)
        return say(r, err, "%s: can't be read: %s; let meshd's user read it", path,
                   strerror(errno));
    while (len > 0 && (text[len - 1] == '\n' || text[len - 1] == ' '))
        len--;
    if (len == 0 || (len == 13 && memcmp(text, "uninitialized", len) == 0)) /* systemd: not yet */
        return ERR_OK;
    crypto_generichash_state st;
    crypto_generichash_init(&st, NULL, 0, sizeof full);
    crypto_generichash_update(&st, (const uint8_t *)label, sizeof label - 1);
    crypto_generichash_update(&st, (const uint8_t *)text, len);
    crypto_generichash_final(&st, full, sizeof full);
    sodium_bin2hex(out, VALUE_MAX + 1, full, sizeof full);
    return ERR_OK;
}

static bool key_exists(const struct identity *id)
{
    struct stat st;
    return fstatat(id->dir_fd, KEY_FILE, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

static enum err key_put_aside(const struct identity *id, const struct report *r)
{
    char name[32];
    for (unsigned i = 1; i <= ASIDE_MAX; i++) {
        snprintf(name, sizeof name, KEY_FILE ".old-%u", i);
        if (renameat2(id->dir_fd, KEY_FILE, id->dir_fd, name, RENAME_NOREPLACE) == 0)
            return disk_sync_dir(id->dir_fd) ? say_errno(r, name, "flushed to disk") : ERR_OK;
        if (errno != EEXIST)
            return say_errno(r, KEY_FILE, "put aside");
    }
    return say(r, ERR_IO, "%s: too many old keys (node.key.old-N); remove some", r->dir);
}

/* Is the state this machine's? If not, refuse, or put its key aside. Afterwards it is this
 * machine's. */
static enum err machine_check(const struct identity *id, const struct report *r,
                              const struct identity_config *cfg)
{
    char now[VALUE_MAX + 1], stored[VALUE_MAX + 1];
    enum err err = machine_now(r, cfg->machine_id_path ? cfg->machine_id_path : MACHINE_ID, now);
    if (err || now[0] == '\0')
        return err;
    err = line_read(id->dir_fd, r, MACHINE_FILE, stored);
    if (err == ERR_OK && strcmp(now, stored) == 0)
        return ERR_OK;
    if (err == ERR_CORRUPT && key_exists(id) && cfg->mode == IDENTITY_KEEP)
        return say(r, err,
                   "%s/" MACHINE_FILE
                   ": damaged, so whose state this is can't be told; remove the file if it was "
                   "made on this machine, or start with --new-identity",
                   r->dir);
    if (err == ERR_OK && key_exists(id) && cfg->mode == IDENTITY_KEEP)
        return say(r, ERR_CONFLICT,
                   "%s: this state was made on another machine, and two nodes of one identity harm "
                   "both; if it "
                   "is a copy, start with --new-identity; if the machine's id has changed, remove "
                   "%s/" MACHINE_FILE,
                   r->dir, r->dir);
    if (err && err != ERR_NOT_FOUND && err != ERR_CORRUPT)
        return err;
    if (err != ERR_NOT_FOUND && key_exists(id)) {
        err = key_put_aside(id, r);
        if (err)
            return err;
    }
    return line_write(id->dir_fd, r, MACHINE_FILE, now);
}

/* ---- Key and boot number --------------------------------------------------------------------- */

static enum err key_load(struct identity *id, const struct report *r)
{
    uint8_t bytes[NODE_SEED_SIZE + 1];
    size_t len = 0;
    enum err err = file_read(id->dir_fd, r, KEY_FILE, bytes, sizeof bytes, &len);
    if (err == ERR_NOT_FOUND) {
        randombytes_buf(id->seed, sizeof id->seed);
        id->origin = IDENTITY_MADE;
        return file_write(id->dir_fd, r, KEY_FILE, id->seed, sizeof id->seed);
    }
    if (!err && (len != NODE_SEED_SIZE || sodium_is_zero(bytes, NODE_SEED_SIZE)))
        err = say(r, ERR_CORRUPT,
                  "%s/" KEY_FILE
                  ": damaged: not 32 bytes, or zeros; restore it, or move it away to start as a "
                  "new node",
                  r->dir);
    if (!err)
        memcpy(id->seed, bytes, sizeof id->seed);
    id->origin = IDENTITY_FOUND;
    sodium_memzero(bytes, sizeof bytes);
    return err;
}

static bool boot_parse(const char *text, uint64_t *out)
{
    uint64_t v = 0;
    if (*text == '\0')
        return false;
    for (; *text; text++) {
        if (*text < '0' || *text > '9' || v > (BOOT_MAX - (uint64_t)(*text - '0')) / 10)
            return false;
        v = v * 10 + (uint64_t)(*text - '0');
    }
    *out = v;
    return true;
}

/* Into the spare file, whose block it has already; flags: O_CREAT makes it. */
static bool spare_write(int dir_fd, const char *value, int flags)
{
    char line[LINE_MAX_LEN + 1];
    size_t len = line_make(line, BOOT_FILE, value);
    int fd = openat(dir_fd, BOOT_SPARE, O_WRONLY | O_CLOEXEC | O_NOFOLLOW | flags, 0600);
    if (fd < 0)
        return false;
    bool well = !disk_write_at(fd, line, len, 0) && ftruncate(fd, (off_t)len) == 0 &&
                fsync(fd) == 0;
    return close(fd) == 0 && well;
}

static bool spare_swap(int dir_fd, const char *value)
{
    return spare_write(dir_fd, value, 0) &&
           renameat2(dir_fd, BOOT_SPARE, dir_fd, BOOT_FILE, RENAME_EXCHANGE) == 0 &&
           !disk_sync_dir(dir_fd);
}

static enum err boot_write(struct identity *id, const struct report *r, uint64_t boot)
{
    char value[VALUE_MAX + 1];
    snprintf(value, sizeof value, "%" PRIu64, boot);
    if (!spare_swap(id->dir_fd, value)) {
        enum err err = line_write(id->dir_fd, r, BOOT_FILE, value);
        if (err)
            return err;
        if (!spare_write(id->dir_fd, value, O_CREAT)) /* no room: the next time */
            (void)unlinkat(id->dir_fd, BOOT_SPARE, 0);
    }
    id->boot = boot;
    return ERR_OK;
}

static enum err boot_take(struct identity *id, const struct report *r, uint64_t wall_ms)
{
    char value[VALUE_MAX + 1];
    uint64_t stored = 0;
    enum err err = line_read(id->dir_fd, r, BOOT_FILE, value);
    if (!err && (!boot_parse(value, &stored) || stored == BOOT_MAX))
        err = ERR_CORRUPT;
    if (err == ERR_CORRUPT)
        return say(
            r, err,
            "%s/" BOOT_FILE
            ": damaged; remove it if the clock is right: the next number comes from the clock",
            r->dir);
    if (err && err != ERR_NOT_FOUND)
        return err;
    if (wall_ms > BOOT_MAX)
        wall_ms = 0; /* a clock before 1970 */
    return boot_write(id, r, wall_ms > stored + 1 ? wall_ms : stored + 1);
}

/* ---- Life ------------------------------------------------------------------------------------ */

enum err identity_open(struct identity **out, const struct identity_config *cfg, char *why,
                       size_t why_size)
{
    const struct report r = {cfg->dir, why, why_size};
    CHECK(sodium_init() >= 0);
    (void)say(&r, ERR_OK, "%s", "");
    struct identity *id = sodium_malloc(sizeof *id);
    if (!id)
        return say(&r, ERR_NOMEM,
                   "no memory for the node's key; free some, or raise the limit (ulimit -v)");
    memset(id, 0, sizeof *id);
    id->dir_fd = id->lock_fd = -1;
    enum err err = open_locked(id, &r);
    if (!err)
        err = machine_check(id, &r, cfg);
    if (!err)
        err = key_load(id, &r);
    if (!err)
        err = boot_take(id, &r, cfg->wall_ms);
    if (err)
        identity_close(&id);
    else
        *out = id;
    return err;
}

void identity_close(struct identity **id)
{
    if (!*id)
        return;
    if ((*id)->lock_fd >= 0)
        close((*id)->lock_fd);
    if ((*id)->dir_fd >= 0)
        close((*id)->dir_fd);
    sodium_free(*id); /* wipes */
    *id = NULL;
}

const uint8_t *identity_seed(const struct identity *id)
{
    return id->seed;
}

uint64_t identity_boot(const struct identity *id)
{
    return id->boot;
}

enum identity_origin identity_origin(const struct identity *id)
{
    return id->origin;
}

enum err identity_boot_at_least(struct identity *id, uint64_t min)
{
    if (min > BOOT_MAX || id->boot == BOOT_MAX)
        return ERR_INVALID;
    return boot_write(id, NULL, min > id->boot ? min : id->boot + 1);
}
