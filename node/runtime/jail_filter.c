#define _GNU_SOURCE
#include "node/runtime/jail_filter.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined __x86_64__
#define ARCH AUDIT_ARCH_X86_64
#elif defined __aarch64__
#define ARCH AUDIT_ARCH_AARCH64
#else
#error "say here which architecture this is"
#endif

/* Answered with EPERM. By what they reach: other processes; the kernel's own code and programs for it; the clock and
 * the machine; files by handle; old doors that are still there. */
static const uint16_t denied_to_all[] = {
    SYS_ptrace,
    SYS_process_vm_readv,
    SYS_process_vm_writev,
    SYS_kcmp,
    SYS_pidfd_getfd,
    SYS_process_madvise,
    SYS_perf_event_open,
    SYS_bpf,
    SYS_userfaultfd,
    SYS_io_uring_setup,
    SYS_io_uring_enter,
    SYS_io_uring_register,
    SYS_init_module,
    SYS_finit_module,
    SYS_delete_module,
    SYS_kexec_load,
#ifdef SYS_kexec_file_load
    SYS_kexec_file_load,
#endif
    SYS_clock_settime,
    SYS_settimeofday,
    SYS_clock_adjtime,
    SYS_adjtimex,
    SYS_reboot,
    SYS_swapon,
    SYS_swapoff,
    SYS_acct,
    SYS_syslog,
    SYS_quotactl,
    SYS_vhangup,
    SYS_name_to_handle_at,
    SYS_open_by_handle_at,
    SYS_fanotify_init,
    SYS_add_key,
    SYS_request_key,
    SYS_migrate_pages,
    SYS_move_pages,
#ifdef __x86_64__
    SYS_iopl,
    SYS_ioperm,
    SYS_modify_ldt,
    SYS_uselib,
    SYS_ustat,
    SYS__sysctl,
#endif
};

/* And to who has no privilege, mounts, namespaces, users, keys, and what others of its uid could be found by. */
static const uint16_t denied_to_most[] = {
    SYS_pidfd_open,    SYS_pidfd_send_signal,
    SYS_mount,         SYS_umount2,
    SYS_pivot_root,    SYS_chroot,
    SYS_unshare,       SYS_setns,
    SYS_open_tree,     SYS_move_mount,
    SYS_fsopen,        SYS_fsconfig,
    SYS_fsmount,       SYS_fspick,
    SYS_mount_setattr, SYS_keyctl,
    SYS_sethostname,   SYS_setdomainname,
    SYS_mknodat,       SYS_setuid,
    SYS_setgid,        SYS_setreuid,
    SYS_setregid,      SYS_setresuid,
    SYS_setresgid,     SYS_setgroups,
    SYS_capset,        SYS_shmget,
    SYS_semget,        SYS_msgget,
    SYS_mq_open,
#ifdef __x86_64__
    SYS_mknod,
#endif
};

enum {
    DENIED_TO_ALL = sizeof denied_to_all / sizeof denied_to_all[0],
    DENIED_TO_MOST = sizeof denied_to_most / sizeof denied_to_most[0],
    NETLINK_ADDRESS = 12,    /* sizeof(struct sockaddr_nl), which no address of the internet has */
    NAMESPACES = 0x7e020000, /* all of CLONE_NEW… that clone() knows */
    X32 = 0x40000000,
    MOST = 2 * (DENIED_TO_ALL + DENIED_TO_MOST) + 96
};

struct program {
    struct sock_filter v[MOST];
    unsigned short len;
};

static void add(struct program *p, struct sock_filter f)
{
    if (p->len < MOST)
        p->v[p->len] = f;
    p->len++; /* one that doesn't fit is met at the end */
}

static void end(struct program *p, uint32_t action)
{
    add(p, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, action));
}

static void load(struct program *p, size_t offset)
{
    add(p, (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset));
}

/* The lower half: what we compare has no upper one, or the kernel looks at the lower alone. */
static void load_argument(struct program *p, unsigned i)
{
    load(p, offsetof(struct seccomp_data, args) + i * sizeof(uint64_t));
}

/* When what is loaded isn't k, the next `skip` are left out. */
static void unless(struct program *p, uint32_t k, unsigned skip)
{
    add(p, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, k, 0, (uint8_t)skip));
}

static void deny(struct program *p, uint32_t number)
{
    unless(p, number, 1);
    end(p, SECCOMP_RET_ERRNO | EPERM);
}

/* Only with this many bytes of address: a netlink socket's. */
static void only_netlink(struct program *p, uint32_t number, unsigned argument)
{
    unless(p, number, 4);
    load_argument(p, argument);
    unless(p, NETLINK_ADDRESS, 1);
    end(p, SECCOMP_RET_ALLOW);
    end(p, SECCOMP_RET_ERRNO | EPERM);
}

/* socket(AF_NETLINK, …, NETLINK_ROUTE), socket(AF_INET, a datagram's). */
static void look_sockets(struct program *p)
{
    unless(p, SYS_socket, 12);
    load_argument(p, 0);
    unless(p, AF_NETLINK, 4);
    load_argument(p, 2);
    unless(p, 0, 1);
    end(p, SECCOMP_RET_ALLOW);
    end(p, SECCOMP_RET_ERRNO | EPERM);
    unless(p, AF_INET, 4); /* to the last of these */
    load_argument(p, 1);
    add(p, (struct sock_filter)BPF_STMT(BPF_ALU | BPF_AND | BPF_K, ~(uint32_t)(SOCK_CLOEXEC | SOCK_NONBLOCK)));
    unless(p, SOCK_DGRAM, 1);
    end(p, SECCOMP_RET_ALLOW);
    end(p, SECCOMP_RET_ERRNO | EPERM);
    static const uint16_t sends[] = {SYS_connect,    SYS_listen, SYS_sendmsg, SYS_sendmmsg,
                                     SYS_setsockopt, SYS_accept, SYS_accept4, SYS_socketpair};
    for (size_t i = 0; i < sizeof sends / sizeof sends[0]; i++)
        deny(p, sends[i]);
    only_netlink(p, SYS_bind, 2);
    only_netlink(p, SYS_sendto, 5);
}

static void no_namespaces(struct program *p)
{
    unless(p, SYS_clone3, 1); /* its flags lie in memory; the C library takes clone() then */
    end(p, SECCOMP_RET_ERRNO | ENOSYS);
    unless(p, SYS_clone, 4);
    load_argument(p, 0);
    add(p, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, NAMESPACES, 0, 1));
    end(p, SECCOMP_RET_ERRNO | EPERM);
    end(p, SECCOMP_RET_ALLOW);
}

static void build(struct program *p, enum jail_process process)
{
    load(p, offsetof(struct seccomp_data, arch));
    add(p, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCH, 1, 0));
    end(p, SECCOMP_RET_KILL_PROCESS);
    load(p, offsetof(struct seccomp_data, nr));
    add(p, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, X32, 0, 1));
    end(p, SECCOMP_RET_KILL_PROCESS);
    for (size_t i = 0; i < DENIED_TO_ALL; i++)
        deny(p, denied_to_all[i]);
    for (size_t i = 0; i < DENIED_TO_MOST && process != JAIL_PRIV; i++)
        deny(p, denied_to_most[i]);
    if (process != JAIL_PRIV)
        no_namespaces(p);
    switch (process) {
    case JAIL_TENDER:
        deny(p, SYS_socket);
        deny(p, SYS_socketpair);
        break;
    case JAIL_TENDER_TAPS:
        look_sockets(p);
        break;
    case JAIL_MESHD:
        deny(p, SYS_execve);
        deny(p, SYS_execveat);
        break;
    case JAIL_PRIV:
        break;
    }
    end(p, SECCOMP_RET_ALLOW);
}

/* The sanitizers look for leaks by tracing the process that ends: in such a build our own programs go unfiltered. */
#if defined __has_feature
#if __has_feature(address_sanitizer)
#define TRACED 1
#endif
#endif
#if defined __SANITIZE_ADDRESS__ && !defined TRACED
#define TRACED 1
#elif !defined TRACED
#define TRACED 0
#endif

int jail_filter(enum jail_process process)
{
    struct program p = {.len = 0};
    if (TRACED && (process == JAIL_MESHD || process == JAIL_PRIV))
        return 0;
    build(&p, process);
    if (p.len > MOST)
        return E2BIG;
    const struct sock_fprog program = {p.len, p.v};
    return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0 ? errno : 0;
}
