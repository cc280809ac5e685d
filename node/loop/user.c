#define _GNU_SOURCE
#include "node/loop/user.h"

#include "store/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILES_AT_ONCE = 16, KEY_BYTES = 16 * 1024, LAST_CAP = 63 };

enum err user_find(const char *name, struct user *out, char *why, size_t why_size)
{
    *out = (struct user){0};
    if (geteuid() != 0 || strcmp(name, "root") == 0)
        return ERR_OK;
    const struct passwd *p = getpwnam(name[0] != '\0' ? name : USER_DEFAULT);
    if (p == NULL && name[0] == '\0')
        return ERR_OK;
    if (p == NULL) {
        (void)snprintf(why, why_size, "--user %.40s: there is no such user; make it, or name another", name);
        return ERR_NOT_FOUND;
    }
    out->uid = p->pw_uid;
    out->gid = p->pw_gid;
    return ERR_OK;
}

static struct user owner; /* nftw hands nothing through */

static int own(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st;
    (void)type;
    (void)at;
    return lchown(path, owner.uid, owner.gid) < 0 ? errno : 0;
}

/* A copy that only this process has: the user may not read the file itself. */
static void key_take(struct options *o, const struct user *u)
{
    char bytes[KEY_BYTES];
    int from = open(o->key_file, O_RDONLY | O_CLOEXEC);
    ssize_t n = from < 0 ? -1 : read(from, bytes, sizeof bytes);
    int to = n < 0 ? -1 : memfd_create("mesh key", MFD_CLOEXEC);
    if (to >= 0 && write(to, bytes, (size_t)n) == n && fchmod(to, 0600) == 0 && fchown(to, u->uid, u->gid) == 0)
        (void)snprintf(o->key_file, sizeof o->key_file, "/proc/self/fd/%d", to);
    explicit_bzero(bytes, sizeof bytes);
    if (from >= 0)
        close(from);
}

enum err user_prepare(struct options *o, const struct user *u, char *why, size_t why_size)
{
    struct stat st;
    if (u->uid == 0)
        return ERR_OK;
    owner = *u;
    int error = stat(o->state_dir, &st) < 0 ? errno : 0;
    if (!error && st.st_uid != u->uid)
        error =
            nftw(o->state_dir, own, FILES_AT_ONCE, FTW_PHYS | FTW_MOUNT | FTW_DEPTH); /* the folder itself is last */
    if (error) {
        (void)snprintf(why, why_size, "--state %.200s can't be given to the user: %s", o->state_dir,
                       error > 0 ? strerror(error) : strerror(errno));
        return error > 0 ? disk_err(error) : ERR_IO;
    }
    key_take(o, u);
    return ERR_OK;
}

enum err user_become(const struct user *u, char *why, size_t why_size)
{
    if (u->uid == 0)
        return ERR_OK;
    for (int c = 0; c <= LAST_CAP; c++)
        if (prctl(PR_CAPBSET_DROP, c, 0, 0, 0) < 0)
            break; /* there are no more */
    if (setgroups(0, NULL) < 0 || setresgid(u->gid, u->gid, u->gid) < 0 || setresuid(u->uid, u->uid, u->uid) < 0 ||
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) {
        (void)snprintf(why, why_size, "root can't be given up: %s", strerror(errno));
        return disk_err(errno);
    }
    if (setuid(0) == 0) {
        (void)snprintf(why, why_size, "root was given up, and came back");
        return ERR_DENIED;
    }
    (void)prctl(PR_SET_DUMPABLE, 1, 0, 0, 0); /* /proc/self is ours again */
    return ERR_OK;
}
