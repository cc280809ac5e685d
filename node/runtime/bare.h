/* System calls and a start for mesh-shim, which is built without the C library: a static program with one has several
 * hundred KiB of it mapped as soon as it runs, times the guests on a host; this one has a dozen pages.
 *
 * Calls return what the kernel does: negative errors. Structures and constants are the system headers'; 64-bit only. */
#ifndef UNIMESH_NODE_RUNTIME_BARE_H
#define UNIMESH_NODE_RUNTIME_BARE_H

#include <stdint.h>
#include <sys/syscall.h>

#if defined __x86_64__
static inline long bare_call(long number, long a, long b, long c, long d, long e)
{
    long result;
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = 0;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}
#elif defined __aarch64__
static inline long bare_call(long number, long a, long b, long c, long d, long e)
{
    register long x8 __asm__("x8") = number;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    register long x4 __asm__("x4") = e;
    register long x5 __asm__("x5") = 0;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory");
    return x0;
}
#else
#error "say here how this processor calls the kernel, and in bare.c how a program starts"
#endif

#define BARE(name, a, b, c, d, e) bare_call(SYS_##name, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e))

/* The program; what it returns is its exit status. */
int bare_main(int argc, char **argv, char **environment);

#endif
