/* What is derived, and from what. All of it is BLAKE2b with a key; every use has a label of its
 * own.
 *
 *   X25519 secret   = BLAKE2b(seed; "unimesh x25519 1")
 *   key id          = BLAKE2b(mesh key; "unimesh key id 1" ‖ mesh label), 4 bytes of it
 *   psk             = BLAKE2b(mesh key; "unimesh stream psk 1" ‖ mesh label)
 *   pair key        = BLAKE2b(mesh key; X25519(a, b) ‖ id from ‖ id to ‖ "unimesh pair key 1" ‖
 * mesh label)
 */
#include "node/crypto/node_crypto.h"

#include <assert.h>
#include <sodium.h>
#include <string.h>

enum { SIGNED_BYTES_MAX = RECORD_BYTES_MAX + 64 }; /* label ‖ message: a whole record and a label */

static_assert((int)SEAL_KEY_SIZE == (int)crypto_aead_xchacha20poly1305_ietf_KEYBYTES, "sealing");
static_assert((int)SEAL_NONCE_SIZE == (int)crypto_aead_xchacha20poly1305_ietf_NPUBBYTES, "sealing");
static_assert((int)SEAL_TAG_SIZE == (int)crypto_aead_xchacha20poly1305_ietf_ABYTES, "sealing");
static_assert((int)PUBLIC_KEY_SIZE == (int)crypto_sign_PUBLICKEYBYTES, "signing");
static_assert((int)SIGNATURE_SIZE == (int)crypto_sign_BYTES, "signing");
static_assert((int)NODE_SEED_SIZE == (int)crypto_sign_SEEDBYTES, "signing");

struct mesh_secret {
    uint8_t id[KEY_ID_SIZE];
    uint8_t key[MESH_KEY_SIZE];
    uint8_t psk[PSK_SIZE];
};

struct node_crypto { /* all of it in sodium_malloc's memory, read-only once made */
    struct crypto interface;
    uint8_t sign_secret[crypto_sign_SECRETKEYBYTES];
    uint8_t x25519_secret[32];
    uint8_t proof[NODE_PROOF_SIZE];
    char label[MESH_LABEL_MAX + 1];
    uint32_t mesh_count;
    struct mesh_secret mesh[MESH_KEYS_MAX];
};

/* ---- Derivations ----------------------------------------------------------------------------- */

static void derive(const uint8_t key[static 32], const char *purpose, const char *label,
                   uint8_t *out, size_t size)
{
    crypto_generichash_state st;
    uint8_t full[32];
    crypto_generichash_init(&st, key, 32, sizeof full);
    crypto_generichash_update(&st, (const uint8_t *)purpose, strlen(purpose));
    crypto_generichash_update(&st, (const uint8_t *)label, strlen(label));
    crypto_generichash_final(&st, full, sizeof full);
    memcpy(out, full, size);
    sodium_memzero(full, sizeof full);
    sodium_memzero(&st, sizeof st);
}

static const struct mesh_secret *mesh_find(const struct node_crypto *c,
                                           const uint8_t id[static KEY_ID_SIZE])
{
    for (uint32_t i = 0; i < c->mesh_count; i++)
        if (memcmp(c->mesh[i].id, id, KEY_ID_SIZE) == 0)
            return &c->mesh[i];
    return NULL;
}

/* ---- The five operations --------------------------------------------------------------------- */

static void hash(const void *p, size_t len, struct hash *out)
{
    crypto_generichash(out->b, sizeof out->b, p, len, NULL, 0);
}

static void update_id(crypto_generichash_state *st, node_id id)
{
    uint8_t b[8];
    for (unsigned i = 0; i < 8; i++)
        b[i] = (uint8_t)(id >> (8 * i));
    crypto_generichash_update(st, b, sizeof b);
}

static enum err pair_key(void *ctx, const uint8_t key_id[static KEY_ID_SIZE],
                         const uint8_t peer_x25519[static 32], node_id from, node_id to,
                         uint8_t key[static SEAL_KEY_SIZE])
{
    static const char purpose[] = "unimesh pair key 1";
    const struct node_crypto *c = ctx;
    const struct mesh_secret *mesh = mesh_find(c, key_id);
    uint8_t shared[32];
    if (!mesh)
        return ERR_NOT_FOUND;
    if (crypto_scalarmult_curve25519(shared, c->x25519_secret, peer_x25519) != 0)
        return ERR_AUTH;
    crypto_generichash_state st;
    crypto_generichash_init(&st, mesh->key, sizeof mesh->key, SEAL_KEY_SIZE);
    crypto_generichash_update(&st, shared, sizeof shared);
    update_id(&st, from);
    update_id(&st, to);
    crypto_generichash_update(&st, (const uint8_t *)purpose, sizeof purpose - 1);
    crypto_generichash_update(&st, (const uint8_t *)c->label, strlen(c->label));
    crypto_generichash_final(&st, key, SEAL_KEY_SIZE);
    sodium_memzero(shared, sizeof shared);
    sodium_memzero(&st, sizeof st);
    return ERR_OK;
}

static void seal(const uint8_t key[static SEAL_KEY_SIZE],
                 const uint8_t nonce[static SEAL_NONCE_SIZE], const void *ad, size_t ad_len,
                 const void *in, size_t len, uint8_t *out)
{
    crypto_aead_xchacha20poly1305_ietf_encrypt(out, NULL, in, len, ad, ad_len, NULL, nonce, key);
}

static enum err open_sealed(const uint8_t key[static SEAL_KEY_SIZE],
                            const uint8_t nonce[static SEAL_NONCE_SIZE], const void *ad,
                            size_t ad_len, const uint8_t *in, size_t len, void *out)
{
    if (len < SEAL_TAG_SIZE)
        return ERR_AUTH;
    return crypto_aead_xchacha20poly1305_ietf_decrypt(out, NULL, NULL, in, len, ad, ad_len, nonce,
                                                      key) == 0
               ? ERR_OK
               : ERR_AUTH;
}

/* Ed25519 wants its message in one piece, and nothing here allocates. */
static enum err join(const char *label, const void *p, size_t len,
                     uint8_t out[static SIGNED_BYTES_MAX], size_t *out_len)
{
    const size_t label_len = strlen(label);
    if (label_len > SIGNED_BYTES_MAX || len > SIGNED_BYTES_MAX - label_len)
        return ERR_TOO_LARGE;
    memcpy(out, label, label_len);
    if (len > 0)
        memcpy(out + label_len, p, len);
    *out_len = label_len + len;
    return ERR_OK;
}

static enum err sign(void *ctx, const char *label, const void *p, size_t len,
                     uint8_t signature[static SIGNATURE_SIZE])
{
    const struct node_crypto *c = ctx;
    uint8_t message[SIGNED_BYTES_MAX];
    size_t message_len;
    enum err err = join(label, p, len, message, &message_len);
    if (!err)
        crypto_sign_detached(signature, NULL, message, message_len, c->sign_secret);
    return err;
}

static enum err verify(void *ctx, const uint8_t public_key[static PUBLIC_KEY_SIZE],
                       const char *label, const void *p, size_t len,
                       const uint8_t signature[static SIGNATURE_SIZE])
{
    (void)ctx;
    uint8_t message[SIGNED_BYTES_MAX];
    size_t message_len;
    enum err err = join(label, p, len, message, &message_len);
    if (err)
        return err;
    return crypto_sign_verify_detached(signature, message, message_len, public_key) == 0 ? ERR_OK
                                                                                         : ERR_AUTH;
}

/* ---- Life ------------------------------------------------------------------------------------ */

static void set_keys(struct node_crypto *c, const uint8_t *seed, const struct mesh_keys *keys)
{
    struct crypto *i = &c->interface;
    crypto_sign_seed_keypair(i->public_key, c->sign_secret, seed);
    derive(seed, "unimesh x25519 1", "", c->x25519_secret, sizeof c->x25519_secret);
    crypto_scalarmult_curve25519_base(i->x25519, c->x25519_secret);
    c->mesh_count = keys->count;
    for (uint32_t k = 0; k < keys->count; k++) {
        struct mesh_secret *m = &c->mesh[k];
        memcpy(m->key, keys->key[k], sizeof m->key);
        derive(m->key, "unimesh key id 1", c->label, m->id, sizeof m->id);
        derive(m->key, "unimesh stream psk 1", c->label, m->psk, sizeof m->psk);
    }
    memcpy(i->key_id, c->mesh[0].id, KEY_ID_SIZE);
}

enum err node_crypto_new(struct node_crypto **out, const uint8_t seed[static NODE_SEED_SIZE],
                         const struct mesh_keys *keys, const char *label)
{
    if (!label)
        label = MESH_LABEL_DEFAULT;
    const size_t label_len = strlen(label);
    if (label_len == 0 || label_len > MESH_LABEL_MAX || keys->count == 0 ||
        keys->count > MESH_KEYS_MAX)
        return ERR_INVALID;
    CHECK(sodium_init() >= 0);
    struct node_crypto *c = sodium_malloc(sizeof *c);
    if (!c)
        return ERR_NOMEM;
    memset(c, 0, sizeof *c);
    memcpy(c->label, label, label_len);
    set_keys(c, seed, keys);
    struct crypto *i = &c->interface;
    i->ctx = c;
    i->pair_key = pair_key;
    i->seal = seal;
    i->open = open_sealed;
    i->sign = sign;
    i->verify = verify;
    i->hash = hash;
    i->node = crypto_node_id(i, i->public_key);
    memcpy(c->proof, i->public_key, PUBLIC_KEY_SIZE);
    enum err err =
        sign(c, NODE_PROOF_LABEL, i->x25519, sizeof i->x25519, c->proof + PUBLIC_KEY_SIZE);
    CHECK(!err);
    (void)sodium_mprotect_readonly(c); /* where it can't be, it stays writable */
    *out = c;
    return ERR_OK;
}

void node_crypto_free(struct node_crypto *c)
{
    if (c)
        sodium_free(c); /* wipes */
}

const struct crypto *node_crypto_interface(const struct node_crypto *c)
{
    return &c->interface;
}

/* ---- For streams ----------------------------------------------------------------------------- */

enum err node_crypto_psk(const struct node_crypto *c, const uint8_t key_id[static KEY_ID_SIZE],
                         uint8_t psk[static PSK_SIZE])
{
    const struct mesh_secret *m = mesh_find(c, key_id);
    if (!m)
        return ERR_NOT_FOUND;
    memcpy(psk, m->psk, PSK_SIZE);
    return ERR_OK;
}

const uint8_t *node_crypto_x25519_secret(const struct node_crypto *c)
{
    return c->x25519_secret;
}

const uint8_t *node_crypto_proof(const struct node_crypto *c)
{
    return c->proof;
}

enum err node_crypto_proof_check(const struct node_crypto *c,
                                 const uint8_t proof[static NODE_PROOF_SIZE],
                                 const uint8_t x25519[static 32], node_id *node)
{
    enum err err =
        verify(c->interface.ctx, proof, NODE_PROOF_LABEL, x25519, 32, proof + PUBLIC_KEY_SIZE);
    if (err)
        return ERR_AUTH;
    *node = crypto_node_id(&c->interface, proof);
    return *node != 0 ? ERR_OK : ERR_AUTH; /* 0 is nobody */
}
