/* Names as in the specification (noiseprotocol.org, revision 34, sections 5 and 9): mix_hash,
 * mix_key, split … */
#include "node/crypto/noise.h"

#include <assert.h>
#include <sodium.h>
#include <string.h>

static const char PROTOCOL[] = "Noise_XXpsk0_25519_ChaChaPoly_BLAKE2b";

enum {
    HASH_BLOCK_SIZE = 128, /* BLAKE2b's */
    STEP_DONE = 3,
    STEP_DEAD = 4
};
static_assert(sizeof PROTOCOL - 1 <= NOISE_HASH_SIZE, "a longer name would have to be hashed");
static_assert((int)NOISE_KEY_SIZE == (int)crypto_scalarmult_curve25519_BYTES, "X25519");
static_assert((int)NOISE_KEY_SIZE == (int)crypto_aead_chacha20poly1305_ietf_KEYBYTES, "ChaChaPoly");
static_assert((int)NOISE_TAG_SIZE == (int)crypto_aead_chacha20poly1305_ietf_ABYTES, "ChaChaPoly");

/* ---- Hash ------------------------------------------------------------------------------------ */

static void hash2(const void *a, size_t a_len, const void *b, size_t b_len,
                  uint8_t out[static NOISE_HASH_SIZE])
{
    crypto_generichash_state st;
    crypto_generichash_init(&st, NULL, 0, NOISE_HASH_SIZE);
    crypto_generichash_update(&st, a, a_len);
    crypto_generichash_update(&st, b, b_len);
    crypto_generichash_final(&st, out, NOISE_HASH_SIZE);
    sodium_memzero(&st, sizeof st);
}

/* RFC 2104 over BLAKE2b, as Noise demands, though BLAKE2b has a keyed mode of its own. The key is a
 * hash in all uses; the input comes in two parts. out may be a part of the input. */
static void hmac(const uint8_t key[static NOISE_HASH_SIZE], const void *a, size_t a_len,
                 const void *b, size_t b_len, uint8_t out[static NOISE_HASH_SIZE])
{
    uint8_t pad[HASH_BLOCK_SIZE], inner[NOISE_HASH_SIZE];
    crypto_generichash_state st;
    memset(pad, 0x36, sizeof pad);
    for (unsigned i = 0; i < NOISE_HASH_SIZE; i++)
        pad[i] ^= key[i];
    crypto_generichash_init(&st, NULL, 0, NOISE_HASH_SIZE);
    crypto_generichash_update(&st, pad, sizeof pad);
    crypto_generichash_update(&st, a, a_len);
    crypto_generichash_update(&st, b, b_len);
    crypto_generichash_final(&st, inner, sizeof inner);
    for (unsigned i = 0; i < HASH_BLOCK_SIZE; i++)
        pad[i] ^= 0x36 ^ 0x5c;
    hash2(pad, sizeof pad, inner, sizeof inner, out);
    sodium_memzero(&st, sizeof st);
    sodium_memzero(pad, sizeof pad);
    sodium_memzero(inner, sizeof inner);
}

/* out[0 … count - 1]; ck may be out[0]. */
static void hkdf(const uint8_t ck[static NOISE_HASH_SIZE], const uint8_t *input, size_t len,
                 uint8_t (*out)[NOISE_HASH_SIZE], uint8_t count)
{
    uint8_t temp[NOISE_HASH_SIZE];
    hmac(ck, input, len, NULL, 0, temp);
    for (uint8_t i = 0; i < count; i++) {
        const uint8_t number = (uint8_t)(i + 1);
        hmac(temp, i > 0 ? out[i - 1] : NULL, i > 0 ? NOISE_HASH_SIZE : 0, &number, 1, out[i]);
    }
    sodium_memzero(temp, sizeof temp);
}

/* ---- Cipher ---------------------------------------------------------------------------------- */

static void nonce_bytes(uint64_t nonce, uint8_t out[static 12])
{
    memset(out, 0, 4);
    for (unsigned i = 0; i < 8; i++)
        out[4 + i] = (uint8_t)(nonce >> (8 * i));
}

static enum err cipher_seal(struct noise_cipher *c, const void *ad, size_t ad_len, const void *in,
                            size_t len, uint8_t *out)
{
    uint8_t nonce[12];
    if (c->nonce == UINT64_MAX)
        return ERR_CLOSED;
    nonce_bytes(c->nonce++, nonce);
    crypto_aead_chacha20poly1305_ietf_encrypt(out, NULL, in, len, ad, ad_len, NULL, nonce, c->key);
    return ERR_OK;
}

static enum err cipher_open(struct noise_cipher *c, const void *ad, size_t ad_len,
                            const uint8_t *in, size_t len, void *out)
{
    uint8_t nonce[12];
    if (c->nonce == UINT64_MAX)
        return ERR_CLOSED;
    nonce_bytes(c->nonce++, nonce);
    return crypto_aead_chacha20poly1305_ietf_decrypt(out, NULL, NULL, in, len, ad, ad_len, nonce,
                                                     c->key) == 0
               ? ERR_OK
               : ERR_AUTH;
}

static void cipher_init(struct noise_cipher *c, const uint8_t *key)
{
    memcpy(c->key, key, NOISE_KEY_SIZE);
    c->nonce = 0;
    c->has_key = true;
}

/* ---- Symmetric state ------------------------------------------------------------------------- */

static void mix_hash(struct noise *n, const void *p, size_t len)
{
    hash2(n->h, sizeof n->h, p, len, n->h);
}

static void mix_key(struct noise *n, const uint8_t *input, size_t len)
{
    uint8_t out[2][NOISE_HASH_SIZE];
    hkdf(n->ck, input, len, out, 2);
    memcpy(n->ck, out[0], sizeof n->ck);
    cipher_init(&n->handshake, out[1]);
    sodium_memzero(out, sizeof out);
}

static void mix_key_and_hash(struct noise *n, const uint8_t *input, size_t len)
{
    uint8_t out[3][NOISE_HASH_SIZE];
    hkdf(n->ck, input, len, out, 3);
    memcpy(n->ck, out[0], sizeof n->ck);
    mix_hash(n, out[1], NOISE_HASH_SIZE);
    cipher_init(&n->handshake, out[2]);
    sodium_memzero(out, sizeof out);
}

/* Every handshake message begins with or follows a psk, so there is always a key. */
static enum err encrypt_and_hash(struct noise *n, const void *p, size_t len, uint8_t *out)
{
    CHECK(n->handshake.has_key);
    enum err err = cipher_seal(&n->handshake, n->h, sizeof n->h, p, len, out);
    if (!err)
        mix_hash(n, out, len + NOISE_TAG_SIZE);
    return err;
}

static enum err decrypt_and_hash(struct noise *n, const uint8_t *p, size_t len, void *out)
{
    uint8_t h[NOISE_HASH_SIZE];
    CHECK(n->handshake.has_key && len >= NOISE_TAG_SIZE);
    hash2(n->h, sizeof n->h, p, len, h); /* before the output may overwrite the input */
    enum err err = cipher_open(&n->handshake, n->h, sizeof n->h, p, len, out);
    memcpy(n->h, h, sizeof n->h);
    return err;
}

static void split(struct noise *n)
{
    uint8_t out[2][NOISE_HASH_SIZE];
    hkdf(n->ck, NULL, 0, out, 2);
    const bool first = n->role == NOISE_INITIATOR;
    cipher_init(&n->out, out[first ? 0 : 1]);
    cipher_init(&n->in, out[first ? 1 : 0]);
    sodium_memzero(out, sizeof out);
    sodium_memzero(n->ck, sizeof n->ck);
    sodium_memzero(&n->handshake, sizeof n->handshake);
    sodium_memzero(n->psk, sizeof n->psk);
    sodium_memzero(n->s_secret, sizeof n->s_secret);
    sodium_memzero(n->e_secret, sizeof n->e_secret);
}

/* ---- Handshake ------------------------------------------------------------------------------- */

void noise_init(struct noise *n, enum noise_role role,
                const uint8_t s_secret[static NOISE_KEY_SIZE],
                const uint8_t psk[static NOISE_KEY_SIZE], const void *prologue, size_t prologue_len)
{
    CHECK(sodium_init() >= 0);
    memset(n, 0, sizeof *n);
    n->role = role;
    memcpy(n->h, PROTOCOL, sizeof PROTOCOL - 1);
    memcpy(n->ck, n->h, sizeof n->ck);
    mix_hash(n, prologue, prologue_len);
    memcpy(n->psk, psk, sizeof n->psk);
    memcpy(n->s_secret, s_secret, sizeof n->s_secret);
    crypto_scalarmult_curve25519_base(n->s_public, n->s_secret);
    randombytes_buf(n->e_secret, sizeof n->e_secret);
    crypto_scalarmult_curve25519_base(n->e_public, n->e_secret);
}

void noise_fix_ephemeral(struct noise *n, const uint8_t e_secret[static NOISE_KEY_SIZE])
{
    CHECK(n->step < STEP_DONE);
    memcpy(n->e_secret, e_secret, sizeof n->e_secret);
    crypto_scalarmult_curve25519_base(n->e_public, n->e_secret);
}

void noise_release(struct noise *n)
{
    sodium_memzero(n, sizeof *n);
    n->step = STEP_DEAD;
}

bool noise_writes_next(const struct noise *n)
{
    return n->step < STEP_DONE && (n->step % 2 == 0) == (n->role == NOISE_INITIATOR);
}

static size_t overhead(unsigned step)
{
    static const size_t of[] = {NOISE_OVERHEAD_1, NOISE_OVERHEAD_2, NOISE_OVERHEAD_3};
    CHECK(step < STEP_DONE);
    return of[step];
}

static enum err mix_dh(struct noise *n, const uint8_t *secret, const uint8_t *public)
{
    uint8_t shared[NOISE_KEY_SIZE];
    enum err err = crypto_scalarmult_curve25519(shared, secret, public) == 0 ? ERR_OK : ERR_AUTH;
    if (!err)
        mix_key(n, shared, sizeof shared);
    sodium_memzero(shared, sizeof shared);
    return err;
}

/* The tokens, alike for both roles: what one calls its own is the other's remote. */
static enum err mix_ee(struct noise *n)
{
    return mix_dh(n, n->e_secret, n->re);
}

static enum err mix_es(struct noise *n)
{
    return n->role == NOISE_INITIATOR ? mix_dh(n, n->e_secret, n->rs)
                                      : mix_dh(n, n->s_secret, n->re);
}

static enum err mix_se(struct noise *n)
{
    return n->role == NOISE_INITIATOR ? mix_dh(n, n->s_secret, n->re)
                                      : mix_dh(n, n->e_secret, n->rs);
}

/* "e", which is also mixed into the key where there is a psk (section 9.2). */
static void mix_e(struct noise *n, const uint8_t e[static NOISE_KEY_SIZE])
{
    mix_hash(n, e, NOISE_KEY_SIZE);
    mix_key(n, e, NOISE_KEY_SIZE);
}

static enum err write_tokens(struct noise *n, uint8_t **at)
{
    enum err err = ERR_OK;
    if (n->step == 0)
        mix_key_and_hash(n, n->psk, sizeof n->psk);
    if (n->step < 2) {
        memcpy(*at, n->e_public, NOISE_KEY_SIZE);
        *at += NOISE_KEY_SIZE;
        mix_e(n, n->e_public);
    }
    if (n->step == 0)
        return ERR_OK;
    if (n->step == 1)
        err = mix_ee(n);
    if (!err)
        err = encrypt_and_hash(n, n->s_public, NOISE_KEY_SIZE, *at);
    *at += NOISE_KEY_SIZE + NOISE_TAG_SIZE;
    if (!err)
        err = n->step == 1 ? mix_es(n) : mix_se(n);
    return err;
}

static enum err read_tokens(struct noise *n, const uint8_t **at)
{
    enum err err = ERR_OK;
    if (n->step == 0)
        mix_key_and_hash(n, n->psk, sizeof n->psk);
    if (n->step < 2) {
        memcpy(n->re, *at, NOISE_KEY_SIZE);
        *at += NOISE_KEY_SIZE;
        mix_e(n, n->re);
    }
    if (n->step == 0)
        return ERR_OK;
    if (n->step == 1)
        err = mix_ee(n);
    if (!err)
        err = decrypt_and_hash(n, *at, NOISE_KEY_SIZE + NOISE_TAG_SIZE, n->rs);
    *at += NOISE_KEY_SIZE + NOISE_TAG_SIZE;
    if (!err)
        err = n->step == 1 ? mix_es(n) : mix_se(n);
    return err;
}

static enum err step_ends(struct noise *n, enum err err)
{
    if (err)
        noise_release(n);
    else if (++n->step == STEP_DONE)
        split(n);
    return err;
}

enum err noise_write(struct noise *n, const void *payload, size_t payload_len, uint8_t *out,
                     size_t size, size_t *out_len)
{
    if (n->step == STEP_DEAD)
        return ERR_CLOSED;
    CHECK(noise_writes_next(n));
    const size_t extra = overhead(n->step),
                 most = size < NOISE_MESSAGE_MAX ? size : NOISE_MESSAGE_MAX;
    if (most < extra || payload_len > most - extra)
        return ERR_TOO_LARGE;
    uint8_t *at = out;
    enum err err = write_tokens(n, &at);
    if (!err)
        err = encrypt_and_hash(n, payload, payload_len, at);
    if (!err)
        *out_len = payload_len + extra;
    return step_ends(n, err);
}

enum err noise_read(struct noise *n, const uint8_t *message, size_t len, void *payload, size_t size,
                    size_t *payload_len)
{
    if (n->step == STEP_DEAD)
        return ERR_CLOSED;
    CHECK(n->step < STEP_DONE && !noise_writes_next(n));
    const size_t extra = overhead(n->step);
    if (len < extra)
        return step_ends(n, ERR_TRUNCATED);
    if (len > NOISE_MESSAGE_MAX || len - extra > size)
        return step_ends(n, ERR_TOO_LARGE);
    const uint8_t *at = message;
    enum err err = read_tokens(n, &at);
    if (!err)
        err = decrypt_and_hash(n, at, len - (size_t)(at - message), payload);
    if (!err)
        *payload_len = len - extra;
    return step_ends(n, err);
}

bool noise_done(const struct noise *n)
{
    return n->step == STEP_DONE;
}

const uint8_t *noise_remote_static(const struct noise *n)
{
    return n->rs;
}

const uint8_t *noise_handshake_hash(const struct noise *n)
{
    return n->h;
}

/* ---- Transport ------------------------------------------------------------------------------- */

enum err noise_seal(struct noise *n, const void *in, size_t len, uint8_t *out)
{
    if (n->step == STEP_DEAD)
        return ERR_CLOSED;
    CHECK(noise_done(n) && len <= NOISE_MESSAGE_MAX - NOISE_TAG_SIZE);
    return cipher_seal(&n->out, NULL, 0, in, len, out);
}

enum err noise_open(struct noise *n, const uint8_t *in, size_t len, void *out)
{
    if (n->step == STEP_DEAD)
        return ERR_CLOSED;
    CHECK(noise_done(n));
    enum err err =
        len < NOISE_TAG_SIZE ? ERR_TRUNCATED : cipher_open(&n->in, NULL, 0, in, len, out);
    if (err)
        noise_release(n);
    return err;
}
