/* How often news is told: retransmit_mult × log10(n + 1), rounded up, times (SWIM's λ·log n). */
#ifndef UNIMESH_GOSSIP_LIMITS_H
#define UNIMESH_GOSSIP_LIMITS_H

#include <stdint.h>

enum { TOLD_MAX = 63 };

static inline uint32_t told_limit(uint32_t mult, uint32_t members)
{
    uint32_t digits = 1;
    for (uint64_t ten = 10; ten < (uint64_t)members + 1; ten *= 10)
        digits++;
    uint64_t limit = (uint64_t)mult * digits;
    return limit < TOLD_MAX ? (uint32_t)limit : TOLD_MAX;
}

#endif
