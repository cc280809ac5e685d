#include "store/base/rng.h"

#include "store/base/err.h"

/* SplitMix64 (Steele, Lea, Flood 2014) spreads the seed over the state. */
void rng_init(struct rng *r, uint64_t seed)
{
    for (int i = 0; i < 4; i++) {
        seed += UINT64_C(0x9e3779b97f4a7c15);
        r->s[i] = mix64(seed);
    }
}

/* FNV-1a of the purpose, mixed with the root's state; the root itself does not move. */
void rng_fork(struct rng *r, const struct rng *root, const char *purpose)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325);
    for (const char *c = purpose; *c; c++)
        h = (h ^ (uint8_t)*c) * UINT64_C(0x100000001b3);
    rng_init(r, mix64(h ^ root->s[0]) ^ mix64(root->s[1] + h) ^ root->s[2] ^ mix64(root->s[3]));
}

static uint64_t rotl(uint64_t x, int k)
{
    return (x << k) | (x >> (64 - k));
}

uint64_t rng_u64(struct rng *r)
{
    uint64_t *s = r->s;
    const uint64_t result = rotl(s[1] * 5, 7) * 9;
    const uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotl(s[3], 45);
    return result;
}

uint64_t rng_below(struct rng *r, uint64_t n)
{
    CHECK(n > 0);
    uint64_t reject = (UINT64_MAX - n + 1) % n; /* 2^64 mod n: what would come up once too often */
    for (;;) {
        uint64_t x = rng_u64(r);
        if (x >= reject)
            return x % n;
    }
}

uint64_t rng_between(struct rng *r, uint64_t low, uint64_t high)
{
    CHECK(low <= high);
    uint64_t span = high - low;
    return span == UINT64_MAX ? rng_u64(r) : low + rng_below(r, span + 1);
}
