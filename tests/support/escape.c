/* Tries to get out. It stands in a tender's place (tests/integration/escape), as what a guest that has taken over its
 * tender could do; and runs as it is, where each attempt must succeed, or it would prove nothing.
 *
 *   escape serve DIR        be there to be attacked: prints `serving PID PORT`, until it is ended
 *   escape … NAME=VALUE…    a line each: `escape: NAME: succeeded`, or `failed: WHY`, or `absent` (there is no such
 *                           thing in this kernel); then `escape: done, N of M succeeded`
 *
 * What it is told: pid= and port= of who serves; dir= its folder; tap= another's; units= where run folders are. As a
 * tender it is told so by its guest's arguments; with --probe among them, it only ends well; with --eat, it takes a GiB
 * of memory; with --hold, it stays. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/bpf.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <linux/netlink.h>
#include <linux/perf_event.h>
#include <linux/vm_sockets.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define ABSTRACT "unimesh-escape"
enum { MANY = 200, FDS = 1024 };

static const char *dir = "/nowhere", *tap = "nowhere", *units = "/nowhere";
static pid_t victim = 1, parent;
static int all; /* what signalling all that we may said, before there were any of ours */
static uint16_t port = 1;
static uint64_t passed; /* descriptors that our words name */

/* What an attempt says: 0 it came through, else an errno. */
static int result(long r)
{
    return r < 0 ? errno : 0;
}

static int opened(const char *path, int flags)
{
    int fd = open(path, flags | O_CLOEXEC | O_NONBLOCK, 0644);
    int error = result(fd);
    if (fd >= 0)
        close(fd);
    return error;
}

static int in(const char *folder, const char *name, int flags)
{
    char path[4400];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    return opened(path, flags);
}

/* In a process of its own, so that what succeeds harms nobody. */
static int apart(int (*attempt)(void))
{
    int status;
    pid_t pid = fork();
    if (pid == 0)
        _exit(attempt());
    if (pid < 0 || waitpid(pid, &status, 0) < 0)
        return errno;
    return WIFEXITED(status) ? WEXITSTATUS(status) : EINTR;
}

/* ---- files --------------------------------------------------------------------------------------- */

static int read_file(void)
{
    return in(dir, "secret", O_RDONLY);
}
static int read_passwd(void)
{
    return opened("/etc/passwd", O_RDONLY);
}
static int read_above(void)
{
    return opened("../../../../../../../../../../etc/passwd", O_RDONLY);
}
static int read_units(void)
{
    return opened(units, O_RDONLY | O_DIRECTORY);
}
static int write_image(void)
{
    return opened("image", O_WRONLY);
}
static int write_exit(void)
{
    return opened("exit", O_WRONLY);
}
static int write_run(void)
{
    return opened("run", O_WRONLY);
}
static int read_console(void)
{
    return opened("console", O_RDONLY);
}

static int write_anywhere(void)
{
    const char *folders[] = {dir,    ".",        "/",    "/dev", "/dev/net", "/dev/shm",
                             "/tmp", "/var/tmp", "/run", "/usr", "/usr/lib", "/etc"};
    int error = ENOENT;
    for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++) {
        char path[4200];
        (void)snprintf(path, sizeof path, "%s/escaped", folders[i]);
        error = opened(path, O_WRONLY | O_CREAT);
        if (error == 0) {
            (void)unlink(path);
            return 0;
        }
    }
    return error;
}

static int handle(void)
{
    union {
        struct file_handle h;
        char room[sizeof(struct file_handle) + MAX_HANDLE_SZ];
    } u = {.h = {.handle_bytes = MAX_HANDLE_SZ}};
    int id;
    return result(name_to_handle_at(AT_FDCWD, ".", &u.h, &id, 0));
}

/* ---- /proc, /sys ---------------------------------------------------------------------------------- */

static int proc_self(void)
{
    return opened("/proc/self/status", O_RDONLY);
}
static int proc_oom(void)
{
    return opened("/proc/self/oom_score_adj", O_WRONLY);
}
static int proc_other(void)
{
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/%d/environ", (int)victim);
    return opened(path, O_RDONLY);
}
static int sys_kernel(void)
{
    return opened("/sys/kernel", O_RDONLY);
}
static int sys_cgroup(void)
{
    return opened("/sys/fs/cgroup/cgroup.procs", O_WRONLY) && opened("/sys/fs/cgroup/memory/cgroup.procs", O_WRONLY)
               ? errno
               : 0;
}

/* ---- mounts and namespaces ------------------------------------------------------------------------ */

static int mounting(void)
{
    (void)unshare(CLONE_NEWNS);
    (void)mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
    return result(mount("x", "/usr", "tmpfs", 0, NULL));
}
static int remounting(void)
{
    (void)unshare(CLONE_NEWNS);
    (void)mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
    return result(mount(NULL, "/usr", "", MS_BIND, NULL) < 0 && mount("/usr", "/usr", NULL, MS_BIND, NULL) < 0
                      ? -1
                      : mount(NULL, "/usr", NULL, MS_REMOUNT | MS_BIND, NULL));
}
static int mount_proc(void)
{
    (void)unshare(CLONE_NEWNS);
    (void)mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
    return result(mount("proc", "/usr", "proc", 0, NULL));
}
static int mount_new(void)
{
    return result(syscall(SYS_fsopen, "tmpfs", 0));
}
static int rooting(void)
{
    return result(chroot("/usr"));
}
static int user_namespace(void)
{
    return result(unshare(CLONE_NEWUSER));
}
static int user_namespace_by_clone(void)
{
    long pid = syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, NULL, NULL, NULL, NULL);
    if (pid == 0)
        _exit(0);
    int error = result(pid);
    if (pid > 0)
        (void)waitpid((pid_t)pid, NULL, 0);
    return error;
}
static int host_namespace(void)
{
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/%d/ns/mnt", (int)victim);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    return fd < 0 ? errno : result(setns(fd, CLONE_NEWNS));
}

/* ---- processes ------------------------------------------------------------------------------------ */

static int kill_victim(void)
{
    return result(kill(victim, SIGCONT));
}
static int kill_all(void)
{
    return all;
}
static int kill_parent(void)
{
    return parent == 0 ? ESRCH : result(kill(parent, 0));
}
static int pidfd(void)
{
    return result(syscall(SYS_pidfd_open, victim, 0));
}
static int nice_victim(void)
{
    return result(setpriority(PRIO_PROCESS, (id_t)victim, 0));
}
static int trace(void)
{
    int error = result(ptrace(PTRACE_SEIZE, victim, NULL, NULL));
    if (error == 0)
        (void)ptrace(PTRACE_DETACH, victim, NULL, NULL);
    return error;
}
static int trace_first(void)
{
    return getpid() == 2 ? result(ptrace(PTRACE_SEIZE, 1, NULL, NULL)) : trace(); /* ours is of our uid */
}
static int read_memory(void)
{
    char byte;
    struct iovec local = {&byte, 1}, remote = {(void *)dir, 1};
    int error = result(process_vm_readv(victim, &local, 1, &remote, 1, 0));
    return error == EFAULT ? 0 : error; /* it may, and there is nothing there */
}
static int many(void)
{
    pid_t pids[MANY];
    int n = 0, error = 0;
    for (; n < MANY && error == 0; n++) {
        pids[n] = fork();
        if (pids[n] == 0) {
            (void)pause();
            _exit(0);
        }
        error = result(pids[n]);
    }
    while (n > 0)
        if (pids[--n] > 0) {
            (void)kill(pids[n], SIGKILL);
            (void)waitpid(pids[n], NULL, 0);
        }
    return error;
}

/* ---- sockets -------------------------------------------------------------------------------------- */

static int connected(int family, int type, int protocol, const void *to, socklen_t len)
{
    int fd = socket(family, type | SOCK_CLOEXEC, protocol), error = result(fd);
    if (fd >= 0) {
        error = result(type == SOCK_DGRAM ? sendto(fd, "x", 1, 0, to, len) : connect(fd, to, len));
        close(fd);
    }
    return error;
}
static struct sockaddr_in loopback(void)
{
    return (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
}
static int tcp(void)
{
    const struct sockaddr_in to = loopback();
    return connected(AF_INET, SOCK_STREAM, 0, &to, sizeof to);
}
static int udp(void)
{
    const struct sockaddr_in to = loopback();
    return connected(AF_INET, SOCK_DGRAM, 0, &to, sizeof to);
}
static int udp_connected(void)
{
    const struct sockaddr_in to = loopback();
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (const struct sockaddr *)&to, sizeof to) < 0)
        return errno;
    return result(send(fd, "x", 1, 0));
}
static int udp_message(void)
{
    struct sockaddr_in to = loopback();
    struct iovec v = {(void *)(size_t) "x", 1};
    const struct msghdr m = {.msg_name = &to, .msg_namelen = sizeof to, .msg_iov = &v, .msg_iovlen = 1};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    return fd < 0 ? errno : result(sendmsg(fd, &m, 0));
}
static int udp_bound(void)
{
    const struct sockaddr_in at = {.sin_family = AF_INET};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    return fd < 0 ? errno : result(bind(fd, (const struct sockaddr *)&at, sizeof at));
}
static int listening(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    return fd < 0 ? errno : result(listen(fd, 1));
}
static int unix_path(void)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    (void)snprintf(to.sun_path, sizeof to.sun_path, "%.90s/sock", dir);
    return connected(AF_UNIX, SOCK_STREAM, 0, &to, sizeof to);
}
static int unix_abstract(void)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    memcpy(to.sun_path + 1, ABSTRACT, sizeof ABSTRACT);
    return connected(AF_UNIX, SOCK_STREAM, 0, &to, sizeof to);
}
static int made(int family, int type, int protocol)
{
    int fd = socket(family, type | SOCK_CLOEXEC, protocol), error = result(fd);
    if (fd >= 0)
        close(fd);
    return error;
}
static int raw(void)
{
    return made(AF_INET, SOCK_RAW, IPPROTO_ICMP);
}
static int packet(void)
{
    return made(AF_PACKET, SOCK_RAW, htons(ETH_P_ALL));
}
static int vsock(void)
{
    return made(AF_VSOCK, SOCK_STREAM, 0);
}
static int alg(void)
{
    return made(AF_ALG, SOCK_SEQPACKET, 0);
}
static int uevents(void)
{
    return made(AF_NETLINK, SOCK_RAW, NETLINK_KOBJECT_UEVENT);
}
static int netfilter(void)
{
    return made(AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER);
}
static int change_link(void)
{
    struct ifreq r = {.ifr_name = "lo", .ifr_mtu = 65536};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    return fd < 0 ? errno : result(ioctl(fd, SIOCSIFMTU, &r));
}
static int uring(void)
{
    char parameters[256] = {0};
    return result(syscall(SYS_io_uring_setup, 1, parameters));
}

/* ---- devices -------------------------------------------------------------------------------------- */

static int tun(const char *name)
{
    struct ifreq r = {.ifr_flags = IFF_TAP | IFF_NO_PI};
    int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
    (void)snprintf(r.ifr_name, sizeof r.ifr_name, "%.15s", name);
    int error = fd < 0 ? errno : result(ioctl(fd, TUNSETIFF, &r));
    if (fd >= 0)
        close(fd);
    return error;
}
static int other_tap(void)
{
    return tun(tap);
}
static int new_tap(void)
{
    return tun("escaped");
}
static int kernel_log(void)
{
    return opened("/dev/kmsg", O_RDONLY);
}
static int terminal(void)
{
    return opened("/dev/ptmx", O_RDWR);
}
static int shared_memory(void)
{
    return in("/dev/shm", "escaped", O_RDWR | O_CREAT) ? errno : result(unlink("/dev/shm/escaped"));
}
static int make_device(void)
{
    const char *folders[] = {dir, "/", "/dev", "/dev/net"};
    int error = ENOENT;
    for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++) {
        char path[4200];
        (void)snprintf(path, sizeof path, "%s/escaped", folders[i]);
        error = result(mknod(path, S_IFCHR | 0600, makedev(1, 1)));
        if (error == 0) {
            (void)unlink(path);
            return 0;
        }
    }
    return error;
}
static int ports(void)
{
#ifdef SYS_ioperm
    return result(syscall(SYS_ioperm, 0x80, 1, 1));
#else
    return ENOSYS;
#endif
}

/* ---- privileges, and the kernel ------------------------------------------------------------------- */

static int be_root(void)
{
    return result(setuid(0));
}
static int be_roots_group(void)
{
    return result(setgroups(0, NULL));
}
static int be_another(void)
{
    return result(setresuid(4242, 4242, 4242));
}
static int limits(void)
{
    const struct rlimit l = {RLIM_INFINITY, RLIM_INFINITY};
    return result(setrlimit(RLIMIT_NPROC, &l)) && result(setrlimit(RLIMIT_CORE, &l)) ? errno : 0;
}
static int add_key(void)
{
    return result(syscall(SYS_add_key, "user", "escaped", "x", 1, -4 /* the user's keyring */));
}
static int session_key(void)
{
    return result(syscall(SYS_keyctl, 0 /* its id */, -3 /* of the session */, 0));
}
static int module(void)
{
    int error = result(syscall(SYS_init_module, "x", 1, ""));
    return error == EPERM || error == ENOSYS ? error : 0; /* it is looked at */
}
static int bpf_map(void)
{
    union bpf_attr a = {.map_type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = 4, .max_entries = 1};
    return result(syscall(SYS_bpf, BPF_MAP_CREATE, &a, sizeof a));
}
static int perf(void)
{
    struct perf_event_attr a = {.type = PERF_TYPE_SOFTWARE, .size = sizeof a, .config = PERF_COUNT_SW_CPU_CLOCK};
    return result(syscall(SYS_perf_event_open, &a, 0, -1, -1, 0));
}
static int faults(void)
{
    return result(syscall(SYS_userfaultfd, 0));
}
static int kernel_words(void)
{
    return result(syscall(SYS_syslog, 10 /* its size */, NULL, 0));
}
static int host_name(void)
{
    char name[256] = "";
    (void)gethostname(name, sizeof name - 1);
    return result(sethostname(name, strlen(name)));
}
static int system_v(void)
{
    int id = shmget(0x6d657368, 4096, IPC_CREAT | 0600);
    int error = result(id);
    if (id >= 0)
        (void)shmctl(id, IPC_RMID, NULL);
    return error;
}

/* ---- what it was left ----------------------------------------------------------------------------- */

static int descriptors(void)
{
    for (int fd = 3; fd < FDS; fd++)
        if (fcntl(fd, F_GETFD) >= 0 && (fd >= 64 || (passed & UINT64_C(1) << fd) == 0))
            return 0;
    return EBADF;
}

static int environment(void)
{
    return environ != NULL && environ[0] != NULL ? 0 : ENOENT;
}

static const struct {
    const char *name;
    int (*attempt)(void);
} attempts[] = {
#define A(name)                                                                                                        \
    {                                                                                                                  \
#name, name                                                                                                    \
    }
    A(descriptors),
    A(environment),
    A(read_file),
    A(read_passwd),
    A(read_above),
    A(read_units),
    A(read_console),
    A(write_image),
    A(write_exit),
    A(write_run),
    A(write_anywhere),
    A(handle),
    A(proc_self),
    A(proc_oom),
    A(proc_other),
    A(sys_kernel),
    A(sys_cgroup),
    A(mounting),
    A(remounting),
    A(mount_proc),
    A(mount_new),
    A(rooting),
    A(user_namespace),
    A(user_namespace_by_clone),
    A(host_namespace),
    A(kill_victim),
    A(kill_all),
    A(kill_parent),
    A(pidfd),
    A(nice_victim),
    A(trace),
    A(trace_first),
    A(read_memory),
    A(many),
    A(tcp),
    A(udp),
    A(udp_connected),
    A(udp_message),
    A(udp_bound),
    A(listening),
    A(unix_path),
    A(unix_abstract),
    A(raw),
    A(packet),
    A(vsock),
    A(alg),
    A(uevents),
    A(netfilter),
    A(change_link),
    A(uring),
    A(other_tap),
    A(new_tap),
    A(kernel_log),
    A(terminal),
    A(shared_memory),
    A(make_device),
    A(ports),
    A(be_root),
    A(be_roots_group),
    A(be_another),
    A(limits),
    A(add_key),
    A(session_key),
    A(module),
    A(bpf_map),
    A(perf),
    A(faults),
    A(kernel_words),
    A(host_name),
    A(system_v),
};

static int listener(int family, int type, const void *at, socklen_t len)
{
    int fd = socket(family, type, 0);
    if (fd < 0 || bind(fd, at, len) < 0 || (type == SOCK_STREAM && listen(fd, 64) < 0)) {
        perror("escape: serve");
        exit(1);
    }
    return fd;
}

static _Noreturn void serve(const char *folder)
{
    struct sockaddr_in in4 = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    struct sockaddr_un path = {.sun_family = AF_UNIX}, abstract = {.sun_family = AF_UNIX};
    socklen_t len = sizeof in4;
    (void)snprintf(path.sun_path, sizeof path.sun_path, "%.90s/sock", folder);
    memcpy(abstract.sun_path + 1, ABSTRACT, sizeof ABSTRACT);
    int fd = listener(AF_INET, SOCK_STREAM, &in4, sizeof in4);
    (void)getsockname(fd, (struct sockaddr *)&in4, &len);
    (void)listener(AF_INET, SOCK_DGRAM, &in4, sizeof in4);
    (void)listener(AF_UNIX, SOCK_STREAM, &path, sizeof path);
    (void)listener(AF_UNIX, SOCK_STREAM, &abstract, sizeof abstract);
    (void)chmod(path.sun_path, 0777);
    (void)printf("serving %d %u\n", (int)getpid(), ntohs(in4.sin_port));
    (void)fflush(stdout);
    for (;;)
        (void)pause();
}

static void told(const char *word)
{
    const char *fd = strstr(word, "fd=");
    if (strncmp(word, "dir=", 4) == 0)
        dir = word + 4;
    else if (strncmp(word, "tap=", 4) == 0 && strchr(word, ',') == NULL)
        tap = word + 4;
    else if (strncmp(word, "units=", 6) == 0)
        units = word + 6;
    else if (strncmp(word, "pid=", 4) == 0)
        victim = atoi(word + 4);
    else if (strncmp(word, "port=", 5) == 0)
        port = (uint16_t)atoi(word + 5);
    else if (strncmp(word, "tap,", 4) == 0 && fd != NULL) /* QEMU's */
        passed |= UINT64_C(1) << (atoi(fd + 3) & 63);
}

/* QEMU gets its guest's words as one. */
static void told_all(char *words)
{
    for (char *w = strtok(words, " "); w != NULL; w = strtok(NULL, " "))
        told(w);
}

static int eat(void)
{
    for (int i = 0; i < 1024; i++) {
        char *p = malloc(1024 * 1024);
        if (p == NULL)
            break;
        memset(p, i, 1024 * 1024);
        p[0] = *(volatile char *)(p + 1); /* it is used */
    }
    (void)printf("escape: full\n");
    return 0;
}

/* As the tender whose name we have ends well. */
static int probed(const char *name)
{
    if (strstr(name, "qemu") == NULL)
        return 0;
    (void)printf("solo5_exit(0) called\n");
    return 83;
}

int main(int argc, char **argv)
{
    unsigned came = 0;
    if (argc == 3 && strcmp(argv[1], "serve") == 0)
        serve(argv[2]);
    for (int i = 1; i < argc; i++)
        if (strstr(argv[i], "--probe") != NULL)
            return probed(argv[0]);
        else if (strstr(argv[i], "--eat") != NULL)
            return eat();
        else if (strstr(argv[i], "--hold") != NULL)
            return pause();
    parent = getppid();
    all = result(kill(-1, 0));
    for (int i = 1; i < argc; i++)
        told_all(argv[i]);
    for (size_t i = 0; i < sizeof attempts / sizeof attempts[0]; i++) {
        int error = apart(attempts[i].attempt);
        came += error == 0;
        if (error == 0)
            (void)printf("escape: %s: succeeded\n", attempts[i].name);
        else if (error == ENOSYS || error == EAFNOSUPPORT || error == EPROTONOSUPPORT)
            (void)printf("escape: %s: absent\n", attempts[i].name);
        else
            (void)printf("escape: %s: failed: %s\n", attempts[i].name, strerror(error));
    }
    (void)printf("escape: done, %u of %zu succeeded\n", came, sizeof attempts / sizeof attempts[0]);
    return 0;
}
