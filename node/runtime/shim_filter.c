#define _GNU_SOURCE
#include "node/runtime/shim_filter.h"

#include "node/runtime/bare.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>

#if defined __x86_64__
#define ARCH AUDIT_ARCH_X86_64
#else
#define ARCH AUDIT_ARCH_AARCH64
#endif

static const uint16_t shims[] = {SYS_ppoll,    SYS_read,       SYS_write,           SYS_pread64,
                                 SYS_pwrite64, SYS_close,      SYS_accept4,         SYS_recvfrom,
                                 SYS_sendto,   SYS_wait4,      SYS_timerfd_settime, SYS_clock_gettime,
                                 SYS_fsync,    SYS_exit_group, SYS_rt_sigreturn,    SYS_restart_syscall};
static const uint16_t firsts[] = {SYS_read, SYS_exit_group, SYS_rt_sigreturn, SYS_restart_syscall};

enum { SHIMS = sizeof shims / sizeof shims[0], FIRSTS = sizeof firsts / sizeof firsts[0], MOST = 2 * SHIMS + 12 };

struct program {
    struct sock_filter v[MOST];
    unsigned short len;
};

static void add(struct program *p, uint16_t code, uint32_t k, uint8_t yes, uint8_t no)
{
    const struct sock_filter f = {code, yes, no, k};
    p->v[p->len++] = f;
}

static void allow(struct program *p, const uint16_t *numbers, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        add(p, BPF_JMP | BPF_JEQ | BPF_K, numbers[i], 0, 1);
        add(p, BPF_RET | BPF_K, SECCOMP_RET_ALLOW, 0, 0);
    }
}

static void begin(struct program *p)
{
    add(p, BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch), 0, 0);
    add(p, BPF_JMP | BPF_JEQ | BPF_K, ARCH, 1, 0);
    add(p, BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS, 0, 0);
    add(p, BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr), 0, 0);
}

static long set(struct program *p)
{
    add(p, BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM, 0, 0);
    const struct sock_fprog program = {p->len, p->v};
    return BARE(prctl, PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0);
}

long shim_filter(uint32_t tender)
{
    static struct program p;
    begin(&p);
    allow(&p, shims, SHIMS);
    add(&p, BPF_JMP | BPF_JEQ | BPF_K, SYS_kill, 0, 3);
    add(&p, BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args), 0,
        0); /* the lower half: a pid has no other */
    add(&p, BPF_JMP | BPF_JEQ | BPF_K, tender, 0, 1);
    add(&p, BPF_RET | BPF_K, SECCOMP_RET_ALLOW, 0, 0);
    return set(&p);
}

long shim_filter_first(void)
{
    static struct program p;
    begin(&p);
    allow(&p, firsts, FIRSTS);
    return set(&p);
}
