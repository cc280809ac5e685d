#define _DEFAULT_SOURCE
#include "tests/support/fake_crypto.h"

#include "store/base/rng.h"

#include <endian.h>
#include <string.h>

/* Little endian, whatever the host. */
static uint64_t load8(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return le64toh(v);
}

static uint64_t load(const uint8_t *p, size_t len)
{
    uint64_t v = 0;
    memcpy(&v, p, len < sizeof v ? len : sizeof v);
    return le64toh(v);
}

static void store8(uint8_t *p, uint64_t v)
{
    v = htole64(v);
    memcpy(p, &v, sizeof v);
}

static void store(uint8_t *p, uint64_t v, size_t len)
{
    v = htole64(v);
    memcpy(p, &v, len < sizeof v ? len : sizeof v);
}

static uint64_t round_of(uint64_t h, uint64_t word)
{
    h = (h ^ word) * UINT64_C(0x9fb21c651e98df25);
    return h ^ h >> 35;
}

uint64_t fake_hash64(uint64_t seed, const void *p, size_t len)
{
    const uint8_t *b = p;
    uint64_t h = mix64(seed ^ (uint64_t)len * UINT64_C(0x2545f4914f6cdd1d));
    for (; len >= 8; b += 8, len -= 8)
        h = round_of(h, load8(b));
    if (len > 0)
        h = round_of(h, load(b, len) ^ UINT64_C(0x8000000000000000));
    return mix64(h);
}

/* size bytes that depend on all of the input. */
static void expand(uint64_t seed, const void *p, size_t len, uint8_t *out, size_t size)
{
    /* fake_hash64 with two seeds, side by side */
    const uint8_t *in = p;
    uint64_t start = (uint64_t)len * UINT64_C(0x2545f4914f6cdd1d);
    uint64_t a = mix64(seed ^ start), b = mix64(seed ^ UINT64_C(0x5851f42d4c957f2d) ^ start);
    for (; len >= 8; in += 8, len -= 8) {
        a = round_of(a, load8(in));
        b = round_of(b, load8(in));
    }
    if (len > 0) {
        a = round_of(a, load(in, len) ^ UINT64_C(0x8000000000000000));
        b = round_of(b, load(in, len) ^ UINT64_C(0x8000000000000000));
    }
    a = mix64(a);
    b = mix64(b);
    for (size_t i = 0; i < size; i += 8)
        store(out + i, mix64(a + i * b), size - i);
}

static void hash(const void *p, size_t len, struct hash *out)
{
    expand(1, p, len, out->b, sizeof out->b);
}

static uint64_t label_seed(const char *label)
{
    return fake_hash64(2, label, strlen(label));
}

static uint64_t signing_seed(const uint8_t *public_key, const char *label)
{
    return fake_hash64(label_seed(label), public_key, PUBLIC_KEY_SIZE);
}

static enum err sign(void *ctx, const char *label, const void *p, size_t len,
                     uint8_t signature[static SIGNATURE_SIZE])
{
    struct fake_crypto *f = ctx;
    f->signs++;
    if (f->sign_fails)
        return f->sign_fails;
    expand(signing_seed(f->crypto.public_key, label), p, len, signature, SIGNATURE_SIZE);
    return ERR_OK;
}

static enum err verify(void *ctx, const uint8_t public_key[static PUBLIC_KEY_SIZE], const char *label,
                       const void *p, size_t len, const uint8_t signature[static SIGNATURE_SIZE])
{
    struct fake_crypto *f = ctx;
    f->verifies++;
    uint8_t expected[SIGNATURE_SIZE];
    expand(signing_seed(public_key, label), p, len, expected, sizeof expected);
    return memcmp(expected, signature, sizeof expected) == 0 ? ERR_OK : ERR_AUTH;
}

static enum err pair_key(void *ctx, const uint8_t key_id[static KEY_ID_SIZE],
                         const uint8_t peer_x25519[static 32], node_id from, node_id to,
                         uint8_t key[static SEAL_KEY_SIZE])
{
    struct fake_crypto *f = ctx;
    f->pair_keys++;
    if (memcmp(key_id, f->crypto.key_id, KEY_ID_SIZE) != 0)
        return ERR_NOT_FOUND;
    uint8_t in[32 + 32 + 16];
    memcpy(in, f->mesh_key, 32);
    for (unsigned i = 0; i < 32; i++) /* alike from both ends, as a Diffie-Hellman is */
        in[32 + i] = (uint8_t)(peer_x25519[i] + f->crypto.x25519[i]);
    store(in + 64, from, 8);
    store(in + 72, to, 8);
    expand(3, in, sizeof in, key, SEAL_KEY_SIZE);
    return ERR_OK;
}

static uint64_t stream_seed(const uint8_t *key, const uint8_t *nonce)
{
    return fake_hash64(fake_hash64(4, key, SEAL_KEY_SIZE), nonce, SEAL_NONCE_SIZE);
}

static void stream_xor(uint64_t seed, const uint8_t *in, size_t len, uint8_t *out)
{
    size_t i = 0;
    for (; i + 8 <= len; i += 8)
        store8(out + i, load8(in + i) ^ mix64(seed + i));
    if (i < len)
        store(out + i, load(in + i, len - i) ^ mix64(seed + i), len - i);
}

/* Of a datagram, which is long: four words at a time, as none of the four waits for another. */
static uint64_t hash_wide(uint64_t seed, const uint8_t *p, size_t len)
{
    uint64_t lane[4] = {seed, seed ^ UINT64_C(0x5851f42d4c957f2d), seed ^ UINT64_C(0x2545f4914f6cdd1d), ~seed};
    for (; len >= 32; p += 32, len -= 32)
        for (int i = 0; i < 4; i++)
            lane[i] = round_of(lane[i], load8(p + (ptrdiff_t)(8 * i)));
    uint64_t h = fake_hash64(seed, p, len);
    for (int i = 0; i < 4; i++)
        h = round_of(h, lane[i]);
    return mix64(h);
}

static void make_tag(uint64_t seed, const void *ad, size_t ad_len, const uint8_t *sealed, size_t len,
                     uint8_t tag[static SEAL_TAG_SIZE])
{
    uint64_t a = fake_hash64(seed ^ 5, ad, ad_len);
    uint64_t b = hash_wide(a, sealed, len);
    store(tag, b, 8);
    store(tag + 8, mix64(a ^ b ^ seed), 8);
}

static void seal(const uint8_t key[static SEAL_KEY_SIZE], const uint8_t nonce[static SEAL_NONCE_SIZE],
                 const void *ad, size_t ad_len, const void *in, size_t len, uint8_t *out)
{
    uint64_t seed = stream_seed(key, nonce);
    stream_xor(seed, in, len, out);
    make_tag(seed, ad, ad_len, out, len, out + len);
}

static enum err open_sealed(const uint8_t key[static SEAL_KEY_SIZE],
                            const uint8_t nonce[static SEAL_NONCE_SIZE], const void *ad, size_t ad_len,
                            const uint8_t *in, size_t len, void *out)
{
    if (len < SEAL_TAG_SIZE)
        return ERR_AUTH;
    uint64_t seed = stream_seed(key, nonce);
    uint8_t expected[SEAL_TAG_SIZE];
    make_tag(seed, ad, ad_len, in, len - SEAL_TAG_SIZE, expected);
    if (memcmp(expected, in + len - SEAL_TAG_SIZE, SEAL_TAG_SIZE) != 0)
        return ERR_AUTH;
    stream_xor(seed, in, len - SEAL_TAG_SIZE, out);
    return ERR_OK;
}

void fake_crypto_init(struct fake_crypto *f, uint64_t node_seed, uint64_t mesh_seed)
{
    memset(f, 0, sizeof *f);
    uint8_t in[8];
    store(in, mesh_seed, 8);
    expand(6, in, sizeof in, f->mesh_key, sizeof f->mesh_key);
    expand(7, f->mesh_key, sizeof f->mesh_key, f->crypto.key_id, KEY_ID_SIZE);
    store(in, node_seed, 8);
    expand(8, in, sizeof in, f->crypto.public_key, PUBLIC_KEY_SIZE);
    expand(9, in, sizeof in, f->crypto.x25519, sizeof f->crypto.x25519);
    f->crypto.ctx = f;
    f->crypto.pair_key = pair_key;
    f->crypto.seal = seal;
    f->crypto.open = open_sealed;
    f->crypto.sign = sign;
    f->crypto.verify = verify;
    f->crypto.hash = hash;
    f->crypto.node = crypto_node_id(&f->crypto, f->crypto.public_key);
}

struct signer fake_signer(struct fake_crypto *f)
{
    struct signer s = {.ctx = f, .node = f->crypto.node, .sign = sign};
    memcpy(s.public_key, f->crypto.public_key, PUBLIC_KEY_SIZE);
    return s;
}
