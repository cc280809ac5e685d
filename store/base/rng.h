/* Chance as an argument: a small seeded generator (xoshiro256**, Blackman and Vigna 2018).
 * Never for secrets. The same seed gives the same stream on every machine. */
#ifndef UNIMESH_BASE_RNG_H
#define UNIMESH_BASE_RNG_H

#include <stdint.h>

struct rng {
    uint64_t s[4];
};

void rng_init(struct rng *r, uint64_t seed);
/* A stream of its own for one purpose, so that a new user of chance doesn't shift the others. */
void rng_fork(struct rng *r, const struct rng *root, const char *purpose);
uint64_t rng_u64(struct rng *r);
uint64_t rng_below(struct rng *r, uint64_t n);                  /* 0 ≤ x < n, unbiased; n > 0 */
uint64_t rng_between(struct rng *r, uint64_t low, uint64_t high); /* low ≤ x ≤ high */

/* SplitMix64's finalizer: a good 64-bit mix for hashing integers. */
static inline uint64_t mix64(uint64_t x)
{
    x ^= x >> 30;
    x *= UINT64_C(0xbf58476d1ce4e5b9);
    x ^= x >> 27;
    x *= UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

#endif
