/* Crypto as an argument. The cores know these five operations and no library: the daemon gives them
 * libsodium (node/crypto), the simulator keyed hashes, and for some seeds libsodium too.
 *
 * None of them allocates or blocks. Keys live behind ctx. */
#ifndef UNIMESH_GOSSIP_CRYPTO_H
#define UNIMESH_GOSSIP_CRYPTO_H

#include "store/base/err.h"
#include "store/base/id.h"
#include "store/model/record.h"

enum { SEAL_KEY_SIZE = 32, SEAL_NONCE_SIZE = 24, SEAL_TAG_SIZE = 16, KEY_ID_SIZE = 4 };

struct crypto {
    void *ctx;

    /* Our own node: id, public keys. */
    node_id node;
    uint8_t public_key[PUBLIC_KEY_SIZE]; /* Ed25519 */
    uint8_t x25519[32];                  /* public */
    uint8_t key_id[KEY_ID_SIZE];         /* of the primary mesh key: a hash of it */

    /* The key for packets from `from` to `to` (one of them is us; `peer_x25519` is the other's):
     * BLAKE2b(mesh key, X25519 ‖ id from ‖ id to ‖ label). Expensive (50 µs): the caller caches it.
     * ERR_NOT_FOUND: no mesh key of that id. ERR_AUTH: the peer's X25519 key is of low order. */
    enum err (*pair_key)(void *ctx, const uint8_t key_id[static KEY_ID_SIZE],
                         const uint8_t peer_x25519[static 32], node_id from, node_id to,
                         uint8_t key[static SEAL_KEY_SIZE]);

    /* XChaCha20-Poly1305. out has len + SEAL_TAG_SIZE bytes and may not overlap in. */
    void (*seal)(const uint8_t key[static SEAL_KEY_SIZE], const uint8_t nonce[static SEAL_NONCE_SIZE],
                 const void *ad, size_t ad_len, const void *in, size_t len, uint8_t *out);
    /* len counts the tag; out has len - SEAL_TAG_SIZE bytes. ERR_AUTH: not opened. */
    enum err (*open)(const uint8_t key[static SEAL_KEY_SIZE],
                     const uint8_t nonce[static SEAL_NONCE_SIZE], const void *ad, size_t ad_len,
                     const uint8_t *in, size_t len, void *out);

    /* Ed25519 over label ‖ message, by our node key; and anyone's checked (100 µs: remember by hash).
     * ERR_TOO_LARGE: more than RECORD_BYTES_MAX + 64 bytes, label and message. ERR_AUTH: not by that key. */
    enum err (*sign)(void *ctx, const char *label, const void *p, size_t len,
                     uint8_t signature[static SIGNATURE_SIZE]);
    enum err (*verify)(void *ctx, const uint8_t public_key[static PUBLIC_KEY_SIZE], const char *label,
                       const void *p, size_t len, const uint8_t signature[static SIGNATURE_SIZE]);

    /* BLAKE2b-256. */
    void (*hash)(const void *p, size_t len, struct hash *out);
};

/* The id that a public key has. */
node_id crypto_node_id(const struct crypto *c, const uint8_t public_key[static PUBLIC_KEY_SIZE]);

#endif
