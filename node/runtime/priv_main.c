/* mesh-priv: see priv.h. One loop over its only client's socket and the pipes of starts under way.
 *
 *   mesh-priv RUN SHIM WAIT_MS VOLUMES [WORD]…   with the client's socket as descriptor 3
 *   mesh-priv --listen RUN [WORD]…                as a service; the shim is beside this program
 *
 * A WORD is --no-jail, --uids=FIRST-LAST, --client=UID:GID, --user=NAME, --config=FILE, --volumes=DIR or
 * NETWORK=BRIDGE. With a client or a user it listens at RUN/priv.sock, and descriptor 3 is only what its life hangs on.
 *
 * It goes to the background by itself: who started it has nothing to reap, and a terminal's signals don't reach it. If
 * it can't begin, it says so in an answer of id 0 and ends with 1.
 *
 * What is on its command line is its configuration: a client that was taken over can wire a guest to these bridges and
 * to no others, and give it volumes of its own slot that lie there ("": none), and has no say in guests' users and
 * jails. */
#define _GNU_SOURCE
#include "node/config.h"
#include "node/runtime/block.h"
#include "node/runtime/bridge.h"
#include "node/runtime/fault.h"
#include "node/runtime/filter.h"
#include "node/runtime/jail_filter.h"
#include "node/runtime/notify.h"
#include "node/runtime/priv.h"
#include "node/runtime/priv_jail.h"
#include "node/runtime/priv_listen.h"
#include "node/runtime/priv_protocol.h"
#include "node/runtime/publish.h"
#include "node/runtime/shim_protocol.h"
#include "node/runtime/tap.h"
#include "node/runtime/tap_sweep.h"
#include "node/runtime/trace.h"
#include "node/runtime/unit_name.h"
#include "placement/placement.h"
#include "store/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { CLIENT_FD = 3, READY_FD = 3 /* the shim's */, START_LIMIT_MS = 30000, LOCK_STEP_MS = 5 };

struct pending { /* a shim that has not said yet how its start went */
    int fd;      /* -1: free */
    pid_t shim;
    uint64_t id;
    uint64_t limit_ms;
};

static struct {
    const char *shim, *volumes;
    int units_fd;
    struct networks networks;
    struct jail_config jail_config;
    bool filters; /* nftables can be used */
    enum bridge_before looked; /* at the networks */
    char tap_prefix[TAP_PREFIX + 1];
    struct pending pending[PRIV_STARTS_MAX];
    struct priv_request request; /* the one that is being looked at */
    struct tender_command command;
    struct jail jail; /* of it */
} p;

static uint64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_BOOTTIME, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* ---- answers ------------------------------------------------------------------------------------ */

static void answer_send(const struct priv_answer *a)
{
    uint8_t bytes[PRIV_ANSWER_MAX];
    size_t len;
    if (priv_answer_encode(a, bytes, sizeof bytes, &len) == ERR_OK)
        (void)!send(CLIENT_FD, bytes, len, MSG_NOSIGNAL); /* waits for a slow client: it has asked for this */
}

__attribute__((format(printf, 3, 4))) static void answer(uint64_t id, enum err err, const char *format, ...)
{
    struct priv_answer a = {.id = id, .err = err};
    va_list args;
    va_start(args, format);
    (void)vsnprintf(a.text, sizeof a.text, format, args);
    va_end(args);
    answer_send(&a);
}

/* ---- nets --------------------------------------------------------------------------------------- */

/* A tap has its filter from before its tender runs until after that is gone, and no filter outlives its tap: so what a
 * crash leaves is found by the taps alone. */
static enum err net_make(const struct tender_net *n, const struct guest_net *asked, char *why, size_t size)
{
    enum err err = publish_ready(networks_find(&p.networks, asked->ref.network)->bridge, &asked->ip[IP4],
                                 &p.request.access, why, size);
    if (!err)
        err = tap_make(n->tap, networks_find(&p.networks, asked->ref.network)->bridge, n->mac, p.jail.uid, why, size);
    trace_mark("tap");
    fault_point("priv.tap-made");
    if (!err && p.filters)
        err = filter_add(n->tap, n->mac, asked->ip, &p.request.access, why, size);
    trace_mark("filter");
    fault_point("priv.filter-made");
    return err;
}

static enum err net_remove(const char *tap)
{
    if (!tap_exists(tap))
        return ERR_OK;
    filter_remove(tap);
    fault_point("priv.filter-removed");
    return tap_remove(tap);
}

/* ERR_BUSY: a tender has one still. */
static enum err nets_remove(const char *run)
{
    char tap[LINK_SIZE];
    enum err err = ERR_OK;
    for (uint32_t i = 0; i < NETS_MAX; i++) {
        net_tap_name(p.tap_prefix, run, i, tap);
        enum err this = net_remove(tap);
        err = err ? err : this;
    }
    return err;
}

/* QEMU takes a tap that is open already, so it needs no network to look for it in. */
static bool taps_are_passed(void)
{
    return p.request.target == TARGET_VIRTIO && (p.jail.can & JAIL_CAN_NET) != 0;
}

/* A tap each, in `nets` for the command line. */
static enum err nets_name(const char *run, struct tender_net *nets, char *why, size_t size)
{
    const struct priv_request *r = &p.request;
    for (uint32_t i = 0; i < r->net_count; i++) {
        const struct network *n = networks_find(&p.networks, r->nets[i].ref.network);
        if (n == NULL) {
            (void)snprintf(why, size, "this host has no network %.63s", r->nets[i].ref.network);
            return ERR_NOT_FOUND;
        }
        if (!network_may_give(n, &r->nets[i].ip[IP4]) || !network_may_give(n, &r->nets[i].ip[IP6])) {
            (void)snprintf(why, size, "an address is not one of the network %.63s", r->nets[i].ref.network);
            return ERR_DENIED;
        }
        memcpy(nets[i].device, r->nets[i].ref.device, sizeof nets[i].device);
        net_tap_name(p.tap_prefix, run, i, nets[i].tap);
        net_mac_text(&r->unit.app, r->unit.slot, r->nets[i].ref.device, nets[i].mac);
        nets[i].fd = 0;
        enum err err = taps_are_passed() ? jail_keep(&p.jail, &nets[i].fd) : ERR_OK;
        if (err)
            return err;
    }
    return ERR_OK;
}

static enum err nets_make(const char *run, const struct tender_net *nets, char *why, size_t size)
{
    const struct priv_request *r = &p.request;
    enum err err = ERR_OK;
    for (uint32_t i = 0; i < r->net_count && !err; i++)
        err = net_make(&nets[i], &r->nets[i], why, size);
    for (uint32_t i = 0; i < r->net_count && !err && taps_are_passed(); i++) {
        int fd = tap_open(nets[i].tap);
        if (fd < 0) {
            err = disk_err(errno);
            (void)snprintf(why, size, "its tap can't be opened: %s", strerror(errno));
        } else {
            jail_fill(&p.jail, nets[i].fd, fd);
        }
    }
    if (err)
        (void)nets_remove(run);
    return err;
}

/* false: there are networks, and nothing to filter them with. */
static bool filters_look(char *why, size_t size)
{
    p.filters = p.networks.count > 0 && filter_usable(why, size) == ERR_OK;
    return p.filters || p.networks.count == 0;
}

static void networks_look(void)
{
    struct priv_answer a = {.id = p.request.id};
    char why[PRIV_TEXT_SIZE];
    const char *lack;
    size_t at = 0;
    if (priv_jail_look(&lack, why, sizeof why))
        lack = why;
    (void)snprintf(a.jail, sizeof a.jail, "%.*s", (int)sizeof a.jail - 1, lack);
    if (!filters_look(why, sizeof why))
        at += (size_t)snprintf(a.text, sizeof a.text, "filters: none, guests can forge their addresses: %s", why);
    for (uint32_t i = 0; i < p.networks.count; i++) {
        const struct network *n = &p.networks.v[i];
        if (bridge_usable(n, p.looked, why, sizeof why) == ERR_OK)
            a.networks |= 1u << i;
        else if (at < sizeof a.text)
            at += (size_t)snprintf(a.text + at, sizeof a.text - at, "%s%s: %s", at > 0 ? "\n" : "", n->name, why);
    }
    p.looked = BRIDGE_LOOKED_AT;
    taps_sweep(p.units_fd, p.tap_prefix, net_remove);
    priv_jail_sweep();
    answer_send(&a);
}

/* ---- folders ------------------------------------------------------------------------------------ */

static const char *const files[] = {"image", "sock", "console", "run", "exit"}; /* the exit record goes last */

static enum err folder_remove(const char *name)
{
    enum err err = nets_remove(name); /* before the folder, which says whose they are */
    if (err)
        return err;
    fault_point("priv.taps-removed");
    int fd = openat(p.units_fd, name, O_DIRECTORY | O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? ERR_OK : disk_err(errno);
    block_files_unlink(fd);
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++)
        (void)unlinkat(fd, files[i], 0);
    close(fd);
    fault_point("priv.files-removed");
    priv_jail_remove(name);
    fault_point("priv.groups-removed");
    return unlinkat(p.units_fd, name, AT_REMOVEDIR) == 0 ? ERR_OK : disk_err(errno);
}

static bool image_link(int image, const char *path, int folder)
{
    char by_fd[32];
    (void)snprintf(by_fd, sizeof by_fd, "/proc/self/fd/%d", image);
    return linkat(AT_FDCWD, by_fd, folder, "image", AT_SYMLINK_FOLLOW) == 0 || symlinkat(path, folder, "image") == 0;
}

/* The folder of a run, with the image in it. A link keeps the image while it runs, though the store may drop it;
 * on another filesystem it is a name only, which is enough: a jail has the file itself, and tenders read it once. */
static enum err folder_make(const char *name, int image, int *fd, int *oom_fd, char *why, size_t size)
{
    const struct priv_request *r = &p.request;
    static struct spec_body spec; /* large */
    if (mkdirat(p.units_fd, name, 0700) < 0) {
        enum err err = disk_err(errno);
        (void)snprintf(why, size, "its folder can't be made: %s", strerror(errno));
        return err;
    }
    fault_point("priv.folder-made");
    spec.memory_mib = r->memory_mib;
    spec.net_count = r->net_count;
    *fd = openat(p.units_fd, name, O_DIRECTORY | O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    enum err err = ERR_OK;
    if (*fd < 0 || !image_link(image, r->image, *fd)) {
        err = disk_err(errno);
        (void)snprintf(why, size, "its image can't be linked: %s", strerror(errno));
    }
    trace_mark("folder");
    fault_point("priv.image-linked");
    if (!err)
        err = priv_jail_make(&p.jail, name, *fd, placement_reserve_mib(&spec, r->target), r->target, oom_fd, why, size);
    if (!err)
        return ERR_OK;
    if (*fd >= 0)
        close(*fd);
    (void)folder_remove(name);
    return err;
}

/* The process that listens on the run's socket; 0: nobody does. */
static pid_t folder_shim(const char *name)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    struct ucred peer = {.pid = 0};
    socklen_t len = sizeof peer;
    int dir = openat(p.units_fd, name, O_DIRECTORY | O_PATH | O_NOFOLLOW | O_CLOEXEC);
    (void)snprintf(at.sun_path, sizeof at.sun_path, "/proc/self/fd/%d/sock", dir);
    int fd = dir < 0 ? -1 : socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&at, sizeof at) == 0)
        (void)getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len);
    else if (fd >= 0 && errno == EAGAIN) /* its backlog is full, so it is there */
        peer.pid = -1;
    if (fd >= 0)
        close(fd);
    if (dir >= 0)
        close(dir);
    return peer.pid;
}

static bool folder_has_end(const char *name)
{
    uint8_t bytes[SHIM_EXIT_SIZE];
    struct shim_exit e;
    char path[UNIT_NAME_SIZE + 8];
    (void)snprintf(path, sizeof path, "%s/exit", name);
    int fd = openat(p.units_fd, path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t n = read(fd, bytes, sizeof bytes);
    close(fd);
    return n > 0 && shim_exit_decode(bytes, (size_t)n, &e);
}

/* ---- start -------------------------------------------------------------------------------------- */

static _Noreturn void shim_exec(int folder, int ready, int oom_fd)
{
    char target[16], deadline[32], fd[16], jail[64];
    const char *argv[5 + JAIL_WORDS + TENDER_ARGV_MAX + 1] = {p.shim, target, deadline, fd, jail};
    size_t argc = 5;
    int error = 0, null;
    fault_point("shim.to-be");
    /* A session of its own: no terminal, no group to be signalled with. Nothing of ours stays open in it. */
    if (setsid() < 0 || fchdir(folder) < 0 || (null = open("/dev/null", O_RDWR)) < 0)
        goto fail;
    if (dup2(null, 0) < 0 || dup2(null, 1) < 0 || dup2(null, 2) < 0)
        goto fail;
    int high = fcntl(ready, F_DUPFD_CLOEXEC, PRIV_STARTS_MAX);
    if (high < 0 || (error = jail_pass(&p.jail, &oom_fd)) != 0 || dup2(high, READY_FD) < 0)
        goto fail;
    ready = READY_FD;
    if (close_range((unsigned)JAIL_FD + p.jail.count + (oom_fd >= 0), ~0u, 0) < 0 || fcntl(READY_FD, F_SETFD, 0) < 0)
        goto fail;
    (void)snprintf(target, sizeof target, "%u", (unsigned)p.request.target);
    (void)snprintf(deadline, sizeof deadline, "%llu", (unsigned long long)p.request.deadline_ms);
    (void)snprintf(fd, sizeof fd, "%d", (int)READY_FD);
    (void)snprintf(jail, sizeof jail, "%u:%u:%d:%d:%u", p.jail.uid, p.jail.count, oom_fd >= 0 ? oom_fd : 0,
                   (p.jail.can & JAIL_CAN_PIDS) != 0, priv_jail_reader());
    for (size_t i = 0; i < p.jail.words; i++)
        argv[argc++] = p.jail.word[i];
    memcpy(argv + argc, p.command.argv, (p.command.argc + 1) * sizeof argv[0]);
    signal(SIGCHLD, SIG_DFL);
    execv(p.shim, (char *const *)argv);
fail:
    if (error == 0)
        error = errno;
    (void)!write(ready, &error, sizeof error);
    _exit(127);
}

static enum err blocks_link(int folder, char *why, size_t size)
{
    const struct priv_request *r = &p.request;
    char volume[VOLUME_NAME_SIZE];
    volume_name(&r->unit.app, r->unit.slot, r->volume, volume);
    enum err err = block_files_link(p.volumes, volume, r->blocks, r->block_count, folder);
    if (err)
        (void)snprintf(why, size, "its volumes can't be linked: %s", err_text(err));
    return err;
}

static enum err shim_fork(const char *name, int image, const struct tender_net *nets, struct pending *at, char *why,
                          size_t size)
{
    int folder = -1, oom_fd = -1, pipe_fd[2];
    enum err err = folder_make(name, image, &folder, &oom_fd, why, size);
    if (err)
        return err;
    fault_point("priv.groups-made");
    err = blocks_link(folder, why, size);
    trace_mark("groups");
    fault_point("priv.volumes-linked");
    if (!err)
        err = nets_make(name, nets, why, size);
    int error = !err && pipe2(pipe_fd, O_CLOEXEC) < 0 ? errno : 0;
    pid_t pid = err || error ? -1 : fork();
    if (pid == 0)
        shim_exec(folder, pipe_fd[1], oom_fd);
    fault_point("priv.shim-forked");
    if (!err && !error) {
        error = pid < 0 ? errno : 0;
        close(pipe_fd[1]);
        if (error)
            close(pipe_fd[0]);
    }
    trace_mark("forked");
    close(folder);
    if (oom_fd >= 0)
        close(oom_fd);
    if (error) {
        (void)snprintf(why, size, "its shim can't be started: %s", strerror(error));
        err = disk_err(error);
    }
    if (err) {
        jail_release(&p.jail); /* a tap that is open can't be removed */
        (void)folder_remove(name);
        return err;
    }
    *at = (struct pending){pipe_fd[0], pid, p.request.id, now_ms() + START_LIMIT_MS};
    return ERR_OK;
}

/* The files of its volumes: locked, in its jail, and its own while it runs. */
static enum err blocks_put(const char *volume, char *why, size_t size)
{
    const struct priv_request *r = &p.request;
    struct block_files blocks = {0};
    char name[TENDER_BLOCK_FILE], path[JAIL_NAME + 2];
    enum err err = block_files_open(&blocks, p.volumes, volume, r->blocks, r->block_count, why, size);
    for (uint32_t i = 0; i < blocks.count && !err; i++) {
        tender_block_file(i, name);
        err = jail_file_add(&p.jail, blocks.fd[i], name, JAIL_WRITE, path, sizeof path);
        blocks.fd[i] = -1;
        if (err)
            (void)snprintf(why, size, "its volumes can't be put into its jail: %s", err_text(err));
    }
    block_files_close(&blocks);
    return err;
}

static enum err jail_prepare(int *image, char *why, size_t size)
{
    const struct priv_request *r = &p.request;
    const struct jail_tender tender = {.target = r->target,
                                       .kvm = r->target == TARGET_HVT || r->accel == ACCEL_KVM,
                                       .taps = r->net_count > 0 && !taps_are_passed(),
                                       .program = r->tender};
    enum err err = priv_jail_image(&p.jail, r->image, image, why, size);
    if (err)
        return err;
    err = priv_jail_plan(&p.jail, &tender, why, size);
    if (err)
        close(*image);
    return err;
}

/* Was it started by a mesh-priv that was killed before it could say so? Its guest has its volumes, then. */
static bool folder_there(const char *name)
{
    struct stat st;
    return fstatat(p.units_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

static void start(const char *name)
{
    struct priv_request *r = &p.request;
    char why[PRIV_TEXT_SIZE] = "";
    struct tender_net nets[NETS_MAX];
    const struct tender_guest guest = {r->target, r->accel, r->tender, "image", r->memory_mib, r->args_count, r->args,
                                       r->net_count, nets, r->block_count, r->blocks};
    char volume[VOLUME_NAME_SIZE];
    struct pending *at = p.pending;
    int image = -1;
    trace_mark("taken");
    fault_point("priv.start-taken");
    if (folder_there(name)) {
        answer(r->id, ERR_EXISTS, "it was started before");
        return;
    }
    while (at->fd >= 0)
        at++; /* there is one: we don't read requests otherwise */
    enum err err = priv_jail_new(&p.jail, name, why, sizeof why);
    if (!err)
        err = nets_name(name, nets, why, sizeof why);
    if (!err)
        err = tender_command(&guest, &p.command, why, sizeof why);
    if (!err && !priv_jail_tender(r->tender, why, sizeof why))
        err = ERR_DENIED;
    volume_name(&r->unit.app, r->unit.slot, r->volume, volume);
    if (!err)
        err = blocks_put(volume, why, sizeof why);
    trace_mark("lock");
    fault_point("priv.volumes-locked");
    if (!err)
        err = jail_prepare(&image, why, sizeof why);
    trace_mark("plan");
    if (!err) {
        err = shim_fork(name, image, nets, at, why, sizeof why);
        close(image);
    }
    jail_release(&p.jail);
    if (err)
        answer(r->id, err, "%s", why);
}

/* The shim has said how it went; or it is gone. */
static void start_done(struct pending *at)
{
    uint8_t bytes[SHIM_EXIT_SIZE];
    struct shim_status status;
    struct shim_exit e;
    int error;
    ssize_t n = read(at->fd, bytes, sizeof bytes);
    if (n < 0 && errno == EINTR)
        return;
    if (n == SHIM_STATUS_SIZE && shim_status_decode(bytes, (size_t)n, &status)) {
        const struct priv_answer a = {.id = at->id, .pid = status.pid, .shim_pid = status.shim_pid};
        trace_mark("told");
        fault_point("priv.start-known");
        answer_send(&a);
    } else if (n == SHIM_EXIT_SIZE && shim_exit_decode(bytes, (size_t)n, &e)) {
        enum err err = disk_err((int)e.error);
        answer(at->id, err ? err : ERR_IO, "%s: %s", e.text, strerror((int)e.error));
    } else if (n == (ssize_t)sizeof error) {
        memcpy(&error, bytes, sizeof error);
        answer(at->id, ERR_NOT_FOUND, "the shim %s can't be run: %s", p.shim, strerror(error));
    } else {
        answer(at->id, ERR_IO, "its shim ended before the tender ran");
    }
    close(at->fd);
    at->fd = -1;
}

/* ---- the other verbs ---------------------------------------------------------------------------- */

static void remove_run(const char *name)
{
    fault_point("priv.remove-taken");
    enum err err = !folder_has_end(name) && folder_shim(name) != 0 ? ERR_BUSY : folder_remove(name);
    fault_point("priv.folder-removed");
    answer(p.request.id, err, "%s", err == ERR_BUSY ? "it is still alive" : err_text(err));
}

static void kill_run(const char *name)
{
    pid_t shim = folder_shim(name);
    if (shim > 0 && kill(shim, SIGKILL) == 0)
        answer(p.request.id, ERR_OK, "killed");
    else
        answer(p.request.id, ERR_NOT_FOUND, "no shim answers there");
}

/* Of a run that ends meanwhile the taps are gone, or go with their filters. */
static void access_change(const char *name)
{
    const struct priv_request *r = &p.request;
    struct tender_net nets[NETS_MAX];
    char why[PRIV_TEXT_SIZE] = "it has no tap";
    enum err err = nets_name(name, nets, why, sizeof why);
    for (uint32_t i = 0; i < r->net_count && !err && p.filters; i++)
        err = tap_exists(nets[i].tap) ? filter_add(nets[i].tap, nets[i].mac, r->nets[i].ip, &r->access, why, sizeof why)
                                      : ERR_NOT_FOUND;
    answer(r->id, err, "%s", err ? why : "changed");
}

/* ---- the loop ----------------------------------------------------------------------------------- */

/* false: the client is gone. */
static bool request_take(void)
{
    static uint8_t bytes[PRIV_MESSAGE_MAX];
    char name[UNIT_NAME_SIZE];
    ssize_t n = recv(CLIENT_FD, bytes, sizeof bytes, MSG_DONTWAIT | MSG_TRUNC);
    /* ECONNRESET, once: it left answers unread. What it asked for before it went is still to be read. */
    if (n < 0 && (errno == EAGAIN || errno == EINTR || errno == ECONNRESET))
        return true;
    if (n <= 0)
        return false;
    if ((size_t)n > sizeof bytes || priv_request_decode(bytes, (size_t)n, &p.request)) {
        answer(p.request.id, ERR_INVALID, "mesh-priv was asked for something malformed");
        return true;
    }
    unit_name(&p.request.unit, name);
    switch ((uint32_t)p.request.verb) {
    case PRIV_START:
        start(name);
        break;
    case PRIV_REMOVE:
        remove_run(name);
        break;
    case PRIV_KILL:
        kill_run(name);
        break;
    case PRIV_NETWORKS:
        networks_look();
        break;
    case PRIV_ACCESS:
        access_change(name);
        break;
    default:
        answer(p.request.id, ERR_UNSUPPORTED, "mesh-priv is older than meshd: it doesn't know this request");
        break;
    }
    return true;
}

static void loop(void)
{
    trace_open();
    for (;;) {
        struct pollfd fds[1 + PRIV_STARTS_MAX];
        bool room = false, waiting = false;
        for (int i = 0; i < PRIV_STARTS_MAX; i++) {
            fds[1 + i] = (struct pollfd){p.pending[i].fd, POLLIN, 0};
            *(p.pending[i].fd < 0 ? &room : &waiting) = true;
        }
        fds[0] = (struct pollfd){room ? CLIENT_FD : -1, POLLIN, 0};
        if (poll(fds, 1 + PRIV_STARTS_MAX, waiting ? 1000 : -1) < 0)
            continue;
        uint64_t now = now_ms();
        for (int i = 0; i < PRIV_STARTS_MAX; i++) {
            if (p.pending[i].fd >= 0 && fds[1 + i].revents != 0)
                start_done(&p.pending[i]);
            else if (p.pending[i].fd >= 0 && now > p.pending[i].limit_ms)
                kill(p.pending[i].shim, SIGKILL); /* its pipe closes */
        }
        if (fds[0].revents != 0 && !request_take())
            return; /* guests stay, and so do shims that are starting */
    }
}

/* One mesh-priv a run folder. That of a meshd which has just been killed may have a start left to do: whoever scans the
 * folder next has to see it, so the next one waits. */
static bool units_lock(uint64_t wait_ms)
{
    for (uint64_t limit = now_ms() + wait_ms; flock(p.units_fd, LOCK_EX | LOCK_NB) < 0;) {
        if (now_ms() >= limit)
            return false;
        (void)poll(NULL, 0, LOCK_STEP_MS);
    }
    return true;
}

/* The run folder is the client's to make sockets and files in, and ours to keep what is ours (it is sticky). Guests'
 * folders are ours alone, and the client's to look into. */
static bool folders_share(const char *run)
{
    const struct jail_config *c = &p.jail_config;
    struct stat st;
    if (fstat(p.units_fd, &st) < 0)
        return false;
    if (st.st_uid != geteuid()) {
        errno = EPERM;
        return false;
    }
    return c->client_uid == 0 || (chown(run, 0, c->client_gid) == 0 && chmod(run, 01775) == 0 &&
                                  fchown(p.units_fd, 0, c->client_gid) == 0 && fchmod(p.units_fd, 0750) == 0);
}

static enum err begin(const char *run, uint64_t wait_ms, char *why, size_t size)
{
    char units[PRIV_PATH_SIZE];
    if (mkdir(run, 0755) < 0 && errno != EEXIST) {
        (void)snprintf(why, size, "the run folder %.100s can't be made: %s", run, strerror(errno));
        return ERR_IO;
    }
    if ((size_t)snprintf(units, sizeof units, "%s/units", run) >= sizeof units)
        errno = ENAMETOOLONG;
    else if (mkdir(units, 0700) == 0 || errno == EEXIST)
        p.units_fd = open(units, O_DIRECTORY | O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (p.units_fd < 0 || !folders_share(run)) {
        (void)snprintf(why, size, "%.100s can't be used: %s", units, strerror(errno));
        return ERR_IO;
    }
    net_tap_prefix(units, p.tap_prefix);
    priv_jail_begin(&p.jail_config, p.shim, run, p.units_fd);
    (void)filters_look(why, size); /* whoever asks for the networks is told */
    if (!units_lock(wait_ms)) {
        (void)snprintf(why, size, "another node uses the run folder %.90s: give this one its own (--run)", run);
        return ERR_BUSY;
    }
    return ERR_OK;
}

static enum err user_word(const char *name, char *why, size_t size)
{
    const struct passwd *user = getpwnam(name);
    if (user == NULL || user->pw_uid == 0 || user->pw_gid == 0) {
        (void)snprintf(why, size, "mesh-priv: there is no user %.40s, or it is root", name);
        return ERR_NOT_FOUND;
    }
    p.jail_config.client_uid = user->pw_uid;
    p.jail_config.client_gid = user->pw_gid;
    return ERR_OK;
}

/* meshd's own file, of which only root's words count. */
static enum err config_word(const char *path, char *why, size_t size)
{
    static struct config c;
    struct yaml_error error;
    struct stat st;
    if (stat(path, &st) == 0 && (st.st_uid != geteuid() || (st.st_mode & (S_IWGRP | S_IWOTH)) != 0)) {
        (void)snprintf(why, size, "mesh-priv: %.100s must be root's, and nobody else's to write", path);
        return ERR_DENIED;
    }
    enum err err = config_read(&c, path, &error);
    if (err)
        (void)snprintf(why, size, "%.180s", error.text);
    p.networks = c.networks;
    p.jail_config.off |= c.jail.off;
    if (c.jail.uid_count > 0) {
        p.jail_config.uid_first = c.jail.uid_first;
        p.jail_config.uid_count = c.jail.uid_count;
    }
    return err;
}

static enum err word_read(char *word, char *why, size_t size)
{
    enum err err;
    if (strcmp(word, "--no-jail") == 0) {
        p.jail_config.off = true;
        return ERR_OK;
    }
    if (strncmp(word, "--user=", 7) == 0)
        return user_word(word + 7, why, size);
    if (strncmp(word, "--volumes=/", 11) == 0) {
        p.volumes = word + 10;
        return ERR_OK;
    }
    if (strncmp(word, "--config=", 9) == 0)
        return config_word(word + 9, why, size);
    if (strncmp(word, "--uids=", 7) == 0)
        err = jail_uids_parse(word + 7, &p.jail_config);
    else if (strncmp(word, "--client=", 9) == 0)
        err = jail_client_parse(word + 9, &p.jail_config);
    else {
        char *is = strchr(word, '=');
        if (is != NULL && word[0] != '-') {
            *is = '\0';
            return networks_add(&p.networks, word, is + 1, why, size);
        }
        err = ERR_INVALID;
    }
    if (err)
        (void)snprintf(why, size, "mesh-priv: %.60s is no word for it", word);
    return err;
}

static enum err words_read(char **words, char *why, size_t size)
{
    enum err err = ERR_OK;
    for (; *words != NULL && !err; words++)
        err = word_read(*words, why, size);
    return err;
}

/* In a process of its own. The client is told when it is its turn. */
static void serve(int client)
{
    if (client != CLIENT_FD && dup2(client, CLIENT_FD) < 0)
        return;
    (void)fcntl(CLIENT_FD, F_SETFD, FD_CLOEXEC);
    if (client != CLIENT_FD)
        close(client);
    signal(SIGCHLD, SIG_IGN);
    answer(0, ERR_OK, "%s", "");
    loop();
}

static char *shim_beside(void)
{
    static char path[PRIV_PATH_SIZE];
    static const char name[] = "mesh-shim";
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - sizeof name);
    path[n > 0 ? n : 0] = '\0';
    char *slash = strrchr(path, '/');
    if (slash != NULL)
        memcpy(slash + 1, name, sizeof name);
    return path;
}

static int service(const char *run, char **words)
{
    char why[PRIV_TEXT_SIZE] = "";
    const char *lack;
    int fd = -1;
    while ((fd = open("/dev/null", O_RDWR)) >= 0 && fd < CLIENT_FD)
        ; /* that number is to be the client's, and the lower ones nobody's */
    p.shim = shim_beside();
    enum err err = words_read(words, why, sizeof why);
    if (!err && p.jail_config.client_uid == 0) {
        err = ERR_INVALID;
        (void)snprintf(why, sizeof why, "say whom to serve: --user=NAME");
    }
    if (!err)
        err = begin(run, PRIV_WAIT_MS, why, sizeof why);
    if (!err)
        err = priv_listen_open(run, p.jail_config.client_uid, p.jail_config.client_gid, &fd, why, sizeof why);
    if (err) {
        (void)fprintf(stderr, "mesh-priv: %s\n", why);
        return 1;
    }
    if (priv_jail_look(&lack, why, sizeof why))
        (void)fprintf(stderr, "mesh-priv: %s\n", why);
    notify("READY=1");
    priv_listen(fd, -1, p.jail_config.client_uid, serve);
    return 0;
}

/* All that comes of this process has it, too. A kernel without filters runs guests all the same; priv_jail_look() says
 * that there are none. */
static void filter_set(void)
{
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0)
        (void)jail_filter(JAIL_PRIV);
}

int main(int argc, char **argv)
{
    char why[PRIV_TEXT_SIZE];
    const char *lack;
    struct stat st;
    int fd = -1;
    p.units_fd = -1;
    p.volumes = "";
    for (int i = 0; i < PRIV_STARTS_MAX; i++)
        p.pending[i].fd = -1;
    (void)umask(022);
    filter_set();
    if (argc >= 3 && strcmp(argv[1], "--listen") == 0)
        return service(argv[2], argv + 3);
    if (argc < 5 || fstat(CLIENT_FD, &st) < 0 || !S_ISSOCK(st.st_mode)) {
        (void)fprintf(stderr, "mesh-priv is started by meshd, or as a service: mesh-priv --listen RUN --user=NAME\n");
        return 2;
    }
    (void)close_range(CLIENT_FD + 1, ~0u, 0);
    (void)fcntl(CLIENT_FD, F_SETFD, FD_CLOEXEC);
    p.shim = argv[2];
    p.volumes = argv[4];
    enum err err = words_read(argv + 5, why, sizeof why);
    if (!err)
        err = begin(argv[1], strtoul(argv[3], NULL, 10), why, sizeof why);
    if (!err && p.jail_config.client_uid != 0)
        err = priv_listen_open(argv[1], p.jail_config.client_uid, p.jail_config.client_gid, &fd, why, sizeof why);
    if (err) {
        answer(0, err, "%s", why);
        return 1;
    }
    pid_t pid = fork();
    if (pid != 0)
        return pid < 0;
    (void)setsid();
    (void)!chdir("/");
    if (fd >= 0) {
        int lifeline = fcntl(CLIENT_FD, F_DUPFD_CLOEXEC, CLIENT_FD + 1);
        close(CLIENT_FD);
        (void)!priv_jail_look(&lack, why, sizeof why); /* once, not by each that serves */
        priv_listen(fd, lifeline, p.jail_config.client_uid, serve);
        priv_jail_end();
        return 0;
    }
    signal(SIGCHLD, SIG_IGN); /* shims are reaped as they end: what they have to say is in their exit records */
    loop();
    priv_jail_end();
    return 0;
}
