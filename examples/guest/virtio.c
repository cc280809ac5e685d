/* The virtio target: a PC that QEMU boots by multiboot. Serial port, a timer that interrupts, isa-debug-exit. */
#include "guest.h"
#include "pc.h"

extern uint8_t _end[];
extern void interrupt_timer(void);
extern void interrupt_device(void);

enum {
    COM1 = 0x3f8,
    PIC1 = 0x20,
    PIC2 = 0xa0,
    PIT = 0x40,
    PIT_HZ = 1193182,
    PIT_GATE = 0x61, /* of the PIT's channel 2 */
    DEBUG_EXIT = 0x501,
    DEBUG_EXIT_VALUE = 41, /* QEMU ends with 2 × 41 + 1 = 83 */
    VECTOR_TIMER = 0x20
};

void guest_write(const char *p, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        while ((in8(COM1 + 5) & 0x20) == 0)
            ;
        out8(COM1, (uint8_t)p[i]);
    }
}

struct gate {
    uint16_t low, selector;
    uint8_t stack, type;
    uint16_t middle;
    uint32_t high, zero;
};
static struct gate gates[256];

/* The processor's exceptions come by 0…31: abort, as Solo5's bindings do. */
__attribute__((used)) _Noreturn void on_exception(void)
{
    static const char text[] = "Solo5: ABORT: the guest faulted\n";
    guest_write(text, sizeof text - 1);
    guest_halt(255);
}
extern void interrupt_exception(void);

static void gate_set(unsigned vector, void (*handler)(void))
{
    uint64_t at = (uint64_t)handler;
    gates[vector] = (struct gate){.low = (uint16_t)at, .selector = 8, .type = 0x8e,
                                  .middle = (uint16_t)(at >> 16), .high = (uint32_t)(at >> 32)};
}

static void interrupts_init(void)
{
    for (unsigned i = 0; i < 32; i++)
        gate_set(i, interrupt_exception);
    gate_set(VECTOR_TIMER, interrupt_timer);
    for (unsigned line = 1; line < 16; line++)
        gate_set(VECTOR_TIMER + line, interrupt_device);
    struct __attribute__((packed)) {
        uint16_t limit;
        uint64_t base;
    } idt = {sizeof gates - 1, (uint64_t)gates};
    __asm__ volatile("lidt %0" : : "m"(idt));
    static const uint8_t init[][2] = {{PIC1, 0x11}, {PIC2, 0x11}, {PIC1 + 1, VECTOR_TIMER},
                                      {PIC2 + 1, VECTOR_TIMER + 8},
                                      {PIC1 + 1, 4}, {PIC2 + 1, 2}, {PIC1 + 1, 1}, {PIC2 + 1, 1},
                                      {PIC1 + 1, 0xfe} /* the timer only */, {PIC2 + 1, 0xff}};
    for (unsigned i = 0; i < sizeof init / sizeof init[0]; i++)
        out8(init[i][0], init[i][1]);
}

static void (*device_handler)(void);

/* By boot.S, from interrupt_device. */
__attribute__((used)) void on_device(void)
{
    if (device_handler != NULL)
        device_handler();
}

void pc_interrupt(unsigned line, void (*handler)(void))
{
    uint16_t mask = in8(PIC1 + 1) | (uint16_t)(in8(PIC2 + 1) << 8);
    device_handler = handler;
    mask &= (uint16_t)~((1u << line) | (1u << 2) /* the second controller's */);
    out8(PIC1 + 1, (uint8_t)mask);
    out8(PIC2 + 1, (uint8_t)(mask >> 8));
}

static uint64_t cycles(void)
{
    uint32_t low, high;
    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
    return (uint64_t)high << 32 | low;
}

/* The PIT's channel 2 and the cycle counter at one moment: of a few readings the one that took the shortest, since this
 * PC's own host may be busy with others meanwhile. */
static uint16_t both_clocks(uint64_t *at)
{
    uint64_t shortest = UINT64_MAX;
    uint16_t count = 0;
    for (unsigned i = 0; i < 8; i++) {
        uint64_t before = cycles();
        out8(PIT + 3, 0x80); /* hold channel 2's count */
        uint64_t took = cycles() - before;
        uint16_t low = in8(PIT + 2);
        uint16_t held = (uint16_t)(low | in8(PIT + 2) << 8);
        if (took < shortest) {
            shortest = took;
            count = held;
            *at = before + took / 2;
        }
    }
    return count;
}

static uint64_t cycles_per_ms(void)
{
    for (;;) {
        uint64_t from, until;
        uint16_t first, last;
        out8(PIT_GATE, (uint8_t)((in8(PIT_GATE) & ~2) | 1)); /* it counts, the speaker is off */
        out8(PIT + 3, 0xb0);
        out8(PIT + 2, 0xff);
        out8(PIT + 2, 0xff);
        first = both_clocks(&from);
        do
            last = both_clocks(&until);
        while (first - last < PIT_HZ / 100 && (in8(PIT_GATE) & 0x20) == 0);
        if ((in8(PIT_GATE) & 0x20) == 0 && first > last) /* not over yet: it can't have gone round */
            return (until - from) * (PIT_HZ / 1000) / (uint64_t)(first - last);
    }
}

uint64_t pc_now_us(void)
{
    static uint64_t began, per_ms;
    if (per_ms == 0) {
        per_ms = cycles_per_ms();
        began = cycles();
    }
    return (cycles() - began) * 1000 / per_ms;
}

static void pit_once(uint64_t count)
{
    out8(PIT + 3, 0x30); /* it stands still until it has a count */
    if (count == 0)
        return;
    out8(PIT, (uint8_t)count);
    out8(PIT, (uint8_t)(count >> 8));
}

void pc_wait_until(uint64_t us)
{
    uint64_t now = us == PC_FOREVER ? 0 : pc_now_us(), count = 0;
    if (us <= now)
        return;
    if (us != PC_FOREVER)
        count = us - now > 50000 ? 65535 : (us - now) * PIT_HZ / 1000000 + 1;
    pit_once(count);
    __asm__ volatile("sti; hlt; cli" : : : "memory");
}

/* One-shot: the longest is 65535 / PIT_HZ = 54 ms. */
void guest_sleep_ms(uint64_t ms)
{
    uint64_t left = ms * PIT_HZ / 1000;
    while (left > 0) {
        uint64_t count = left < 65535 ? left : 65535;
        left -= count;
        pit_once(count);
        __asm__ volatile("sti; hlt; cli" : : : "memory");
    }
}

/* The status is on the console already: QEMU's own is 83 whatever it was. */
void guest_halt(int status)
{
    (void)status;
    out16(DEBUG_EXIT, DEBUG_EXIT_VALUE);
    for (;;)
        __asm__ volatile("cli; hlt");
}

static uint64_t memory_end;

void guest_memory(uint8_t **start, uint64_t *len)
{
    *start = _end;
    *len = memory_end > (uint64_t)_end ? memory_end - (uint64_t)_end : 0;
}

/* From boot.S: with the multiboot information. The command line begins with the image's name. It lies behind the image,
 * in memory that is the guest's to use: take a copy. */
void guest_start(const uint32_t *multiboot)
{
    static const char none[] = "";
    static char copy[8192];
    out8(COM1 + 1, 0);
    interrupts_init();
    memory_end = 0x100000 + (uint64_t)multiboot[2] * 1024;
    const char *command_line = (multiboot[0] & 4) != 0 ? (const char *)(uint64_t)multiboot[4] : none;
    while (*command_line != '\0' && *command_line != ' ')
        command_line++;
    while (*command_line == ' ')
        command_line++;
    for (size_t i = 0; i < sizeof copy - 1 && command_line[i] != '\0'; i++)
        copy[i] = command_line[i];
    guest_main(copy);
}
