/* Noise_XXpsk0_25519_ChaChaPoly_BLAKE2b (noiseprotocol.org, revision 34) over libsodium: a state machine
 * over the caller's memory, without I/O.
 *
 *     -> psk, e          noise_write   noise_read
 *     <- e, ee, s, es    noise_read    noise_write
 *     -> s, se           noise_write   noise_read
 *     split              noise_done, then noise_seal and noise_open
 *
 * A failed read or open ends the session: it is wiped, and every later call is ERR_CLOSED. */
#ifndef UNIMESH_NODE_CRYPTO_NOISE_H
#define UNIMESH_NODE_CRYPTO_NOISE_H

#include "store/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    NOISE_MESSAGE_MAX = 65535,
    NOISE_KEY_SIZE = 32,
    NOISE_TAG_SIZE = 16,
    NOISE_HASH_SIZE = 64,
    /* What the three handshake messages weigh beside their payloads. */
    NOISE_OVERHEAD_1 = NOISE_KEY_SIZE + NOISE_TAG_SIZE,
    NOISE_OVERHEAD_2 = 2 * NOISE_KEY_SIZE + 2 * NOISE_TAG_SIZE,
    NOISE_OVERHEAD_3 = NOISE_KEY_SIZE + 2 * NOISE_TAG_SIZE
};

enum noise_role { NOISE_INITIATOR = 0, NOISE_RESPONDER = 1 };

struct noise_cipher {
    uint8_t key[NOISE_KEY_SIZE];
    uint64_t nonce;
    bool has_key;
};

struct noise { /* private to noise.c; here so that it can lie in the caller's memory. Wipe with noise_release */
    enum noise_role role;
    unsigned step; /* handshake messages done, 0 … 3; 4 failed or released */
    uint8_t h[NOISE_HASH_SIZE];
    uint8_t ck[NOISE_HASH_SIZE];
    struct noise_cipher handshake, out, in;
    uint8_t psk[NOISE_KEY_SIZE];
    uint8_t s_secret[NOISE_KEY_SIZE], s_public[NOISE_KEY_SIZE];
    uint8_t e_secret[NOISE_KEY_SIZE], e_public[NOISE_KEY_SIZE];
    uint8_t rs[NOISE_KEY_SIZE], re[NOISE_KEY_SIZE];
};

/* s_secret: our static X25519 key. Everything is copied. */
void noise_init(struct noise *n, enum noise_role role, const uint8_t s_secret[static NOISE_KEY_SIZE],
                const uint8_t psk[static NOISE_KEY_SIZE], const void *prologue, size_t prologue_len);
/* For published vectors: the ephemeral key instead of a random one. */
void noise_fix_ephemeral(struct noise *n, const uint8_t e_secret[static NOISE_KEY_SIZE]);
void noise_release(struct noise *n); /* wipes */

/* Is it our turn to write the next handshake message? */
bool noise_writes_next(const struct noise *n);

/* Write the next handshake message with its payload (may be empty) to out; *out_len is payload_len + its overhead.
 * ERR_TOO_LARGE: size (or NOISE_MESSAGE_MAX) is too small; nothing has changed. ERR_AUTH: the peer's key is of low
 * order. ERR_CLOSED. Out of turn is a CHECK. */
enum err noise_write(struct noise *n, const void *payload, size_t payload_len, uint8_t *out,
                     size_t size, size_t *out_len) MUST_USE;
/* Read one; the payload goes to `payload` (size: at least len - its overhead). ERR_TRUNCATED, ERR_TOO_LARGE, ERR_AUTH,
 * ERR_CLOSED. */
enum err noise_read(struct noise *n, const uint8_t *message, size_t len, void *payload, size_t size,
                    size_t *payload_len) MUST_USE;

bool noise_done(const struct noise *n); /* the handshake is over: seal and open */
/* The peer's static key; known to the initiator after message 2, to the responder after message 3. */
const uint8_t *noise_remote_static(const struct noise *n);
/* The transcript's hash: the same at both ends, different in every session. */
const uint8_t *noise_handshake_hash(const struct noise *n); /* NOISE_HASH_SIZE bytes */

/* Transport messages, in order, each way a counter of its own. out has len + NOISE_TAG_SIZE bytes (≤
 * NOISE_MESSAGE_MAX: CHECK) and may be `in`. ERR_CLOSED: failed before, or 2^64 - 1 messages are used up. */
enum err noise_seal(struct noise *n, const void *in, size_t len, uint8_t *out) MUST_USE;
/* len counts the tag; out has len - NOISE_TAG_SIZE bytes and may be `in`. ERR_TRUNCATED, ERR_AUTH, ERR_CLOSED. */
enum err noise_open(struct noise *n, const uint8_t *in, size_t len, void *out) MUST_USE;

#endif
