/* How long a suspicion waits (Lifeguard, §IV.B): from `most` without confirmations down to `least` when enough
 * independent members say the same. Private to gossip/. */
#ifndef UNIMESH_GOSSIP_SUSPICION_H
#define UNIMESH_GOSSIP_SUSPICION_H

#include "gossip/swim.h"

enum { CONFIRMATIONS_MAX = 3, ACCUSERS_MAX = CONFIRMATIONS_MAX + 1 };

/* members: how many are alive, with us. Milliseconds. */
uint64_t suspicion_least_ms(const struct swim_config *cfg, uint32_t members);
/* health: our own multiplier. It stretches only what our own word is good for: what enough others say, too, is no less
 * true for our being unwell, and the subject has the least wait to refute it either way. */
uint64_t suspicion_most_ms(const struct swim_config *cfg, uint64_t least_ms, uint32_t health);
/* Confirmations that can be expected at all. */
uint32_t suspicion_expected(uint32_t members);
uint64_t suspicion_wait_ms(uint64_t least_ms, uint64_t most_ms, uint32_t confirmations, uint32_t expected);

#endif
