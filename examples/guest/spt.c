/* The spt target: a handful of Linux's system calls (Solo5's spt_abi.h, version 2). */
#include "guest.h"

struct boot_info {
    uint64_t memory_size, kernel_end;
    const char *command_line;
    const void *manifest;
    int epoll, timer;
};

enum { SYS_WRITE = 1, SYS_EXIT_GROUP = 231, SYS_EPOLL_PWAIT = 281 };

static long system_call(long number, long a, long b, long c, long d, long e)
{
    long result;
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = 8;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}

static const struct boot_info *boot;

void guest_write(const char *p, size_t len)
{
    while (len > 0) {
        long n = system_call(SYS_WRITE, 1, (long)p, (long)len, 0, 0);
        if (n <= 0)
            return;
        p += n;
        len -= (size_t)n;
    }
}

void guest_sleep_ms(uint64_t ms)
{
    struct __attribute__((packed)) {
        uint32_t events;
        uint64_t data;
    } event;
    (void)system_call(SYS_EPOLL_PWAIT, boot->epoll, (long)&event, 1, (long)ms, 0);
}

void guest_halt(int status)
{
    for (;;)
        (void)system_call(SYS_EXIT_GROUP, status, 0, 0, 0, 0);
}

void guest_memory(uint8_t **start, uint64_t *len)
{
    *start = (uint8_t *)((boot->kernel_end + 4095) & ~UINT64_C(4095));
    *len = boot->memory_size - (uint64_t)*start - 65536; /* the stack is at the end */
}

void _start(const struct boot_info *info)
{
    boot = info;
    guest_main(info->command_line);
}
