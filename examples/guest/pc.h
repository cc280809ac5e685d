/* What the virtio target, a PC, has beyond guest.h, for drivers. Interrupts come only while the
 * guest waits, so nothing between two waits needs to fear them, and one that comes before a wait
 * ends that at once. */
#ifndef UNIMESH_EXAMPLES_GUEST_PC_H
#define UNIMESH_EXAMPLES_GUEST_PC_H

#include <stdint.h>

#define PC_FOREVER UINT64_MAX

/* Let this line (0 to 15) interrupt; the handler, one for all lines, quiets the device. */
void pc_interrupt(unsigned line, void (*handler)(void));
/* Time since the first call, which takes 10 ms. */
uint64_t pc_now_us(void);
/* Halt until something interrupts, or until then; it may be sooner than that. */
void pc_wait_until(uint64_t us);

static inline void out8(uint16_t port, uint8_t v)
{
    __asm__ volatile("outb %0, %1" : : "a"(v), "Nd"(port));
}
static inline void out16(uint16_t port, uint16_t v)
{
    __asm__ volatile("outw %0, %1" : : "a"(v), "Nd"(port));
}
static inline void out32(uint16_t port, uint32_t v)
{
    __asm__ volatile("outl %0, %1" : : "a"(v), "Nd"(port));
}
static inline uint8_t in8(uint16_t port)
{
    uint8_t v;
    __asm__ volatile("inb %1, %0" : "=a"(v) : "Nd"(port));
    return v;
}
static inline uint16_t in16(uint16_t port)
{
    uint16_t v;
    __asm__ volatile("inw %1, %0" : "=a"(v) : "Nd"(port));
    return v;
}
static inline uint32_t in32(uint16_t port)
{
    uint32_t v;
    __asm__ volatile("inl %1, %0" : "=a"(v) : "Nd"(port));
    return v;
}

#endif
