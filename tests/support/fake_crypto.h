/* struct crypto without cryptography: keyed 64-bit mixes, deterministic and fast, for unit tests, fuzzing and
 * the simulator. It keeps the real thing's shape: a packet opens only with the pair's key, nonce and associated
 * data; a signature is checked from the public key alone and fails when a bit changed. It resists accidents and
 * bit flips, and nobody who means harm. */
#ifndef UNIMESH_TESTS_SUPPORT_FAKE_CRYPTO_H
#define UNIMESH_TESTS_SUPPORT_FAKE_CRYPTO_H

#include "gossip/crypto.h"

struct fake_crypto {
    struct crypto crypto; /* give &f.crypto to a core; its ctx is this struct, which must not move */
    uint8_t mesh_key[32];
    uint64_t signs, verifies, pair_keys; /* calls so far */
    enum err sign_fails;                 /* not ERR_OK: what sign returns */
};

/* A node of its own for every node_seed; nodes of one mesh_seed can talk. */
void fake_crypto_init(struct fake_crypto *f, uint64_t node_seed, uint64_t mesh_seed);
/* To sign records as this node; borrows f. */
struct signer fake_signer(struct fake_crypto *f);

/* The mix itself, keyed by seed: for whoever needs a quick hash of bytes. */
uint64_t fake_hash64(uint64_t seed, const void *p, size_t len);

#endif
