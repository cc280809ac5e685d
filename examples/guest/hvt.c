/* The hvt target: hypercalls by port (Solo5's hvt_abi.h, version 2). */
#include "guest.h"

struct boot_info {
    uint64_t memory_size, kernel_end, cycle_hz;
    const char *command_line;
    const void *manifest;
};

enum { PORT = 0x500, CALL_PUTS = 2, CALL_POLL = 3, CALL_HALT = 8 };

static void hypercall(unsigned number, volatile void *argument)
{
    __asm__ volatile("outl %0, %1"
                     :
                     : "a"((uint32_t)(uint64_t)argument), "d"((uint16_t)(PORT + number))
                     : "memory");
}

static const struct boot_info *boot;

void guest_write(const char *p, size_t len)
{
    struct {
        const char *data;
        uint64_t len;
    } puts = {p, len};
    hypercall(CALL_PUTS, &puts);
}

void guest_sleep_ms(uint64_t ms)
{
    struct {
        uint64_t timeout_ns, ready;
        int result;
    } poll = {ms * 1000000, 0, 0};
    hypercall(CALL_POLL, &poll);
}

void guest_halt(int status)
{
    struct {
        void *cookie;
        int status;
    } halted = {NULL, status};
    for (;;)
        hypercall(CALL_HALT, &halted);
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
