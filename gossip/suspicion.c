#include "gossip/suspicion.h"

static uint32_t log2_floor(uint32_t n)
{
    uint32_t bits = 0;
    while (n >>= 1)
        bits++;
    return bits;
}

uint64_t suspicion_least_ms(const struct swim_config *cfg, uint32_t members)
{
    uint64_t log10_milli = (uint64_t)log2_floor(members ? members : 1) * 301;
    if (log10_milli < 1000)
        log10_milli = 1000;
    return cfg->suspicion_mult * log10_milli * cfg->probe_interval_ms / 1000;
}

uint64_t suspicion_most_ms(const struct swim_config *cfg, uint64_t least_ms, uint32_t health)
{
    return least_ms * cfg->suspicion_max_mult * (health + 1);
}

/* All but the suspect and the first accuser can confirm. */
uint32_t suspicion_expected(uint32_t members)
{
    uint32_t others = members > 2 ? members - 2 : 0;
    return others < CONFIRMATIONS_MAX ? others : CONFIRMATIONS_MAX;
}

uint64_t suspicion_wait_ms(uint64_t least_ms, uint64_t most_ms, uint32_t confirmations, uint32_t expected)
{
    /* log(c + 1) / log(k + 1), in thousandths */
    static const uint16_t share[CONFIRMATIONS_MAX + 1][CONFIRMATIONS_MAX + 1] = {
        {1000, 1000, 1000, 1000}, {0, 1000, 1000, 1000}, {0, 631, 1000, 1000}, {0, 500, 792, 1000}};
    if (expected > CONFIRMATIONS_MAX)
        expected = CONFIRMATIONS_MAX;
    if (confirmations > expected)
        confirmations = expected;
    return most_ms - (most_ms - least_ms) * share[expected][confirmations] / 1000;
}
