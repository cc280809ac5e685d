#include "store/model/record.h"

#include <string.h>

enum { ELEMENTS = 7 };

/* ---- Keys ---------------------------------------------------------------------------------------- */

static void put_big_endian(struct record_key *k, uint64_t v, int bytes)
{
    for (int i = bytes - 1; i >= 0; i--)
        k->b[k->len++] = (uint8_t)(v >> (8 * i));
}

static uint64_t get_big_endian(const struct record_key *k, size_t at, size_t bytes)
{
    uint64_t v = 0;
    for (size_t i = 0; i < bytes; i++)
        v = v << 8 | k->b[at + i];
    return v;
}

static void put_bytes(struct record_key *k, const void *p, size_t len)
{
    memcpy(k->b + k->len, p, len);
    k->len = (uint8_t)(k->len + len);
}

struct record_key record_key_node(node_id node)
{
    struct record_key k = {.kind = RECORD_NODE};
    put_big_endian(&k, node, 8);
    return k;
}

struct record_key record_key_app(enum record_kind kind, const struct uid *app)
{
    struct record_key k = {.kind = (uint8_t)kind};
    CHECK(kind >= RECORD_SPEC && kind <= RECORD_DELETED);
    put_bytes(&k, app->b, sizeof app->b);
    return k;
}

struct record_key record_key_unit(const struct uid *app, uint16_t slot, node_id owner)
{
    struct record_key k = {.kind = RECORD_UNIT};
    put_bytes(&k, app->b, sizeof app->b);
    put_big_endian(&k, slot, 2);
    put_big_endian(&k, owner, 8);
    return k;
}

struct record_key record_key_holder(const struct hash *image, node_id node)
{
    struct record_key k = {.kind = RECORD_HOLDER};
    put_bytes(&k, image->b, sizeof image->b);
    put_big_endian(&k, node, 8);
    return k;
}

struct record_key record_key_history(const struct uid *app, struct version v)
{
    struct record_key k = {.kind = RECORD_HISTORY};
    put_bytes(&k, app->b, sizeof app->b);
    put_big_endian(&k, v.clock, 8);
    put_big_endian(&k, v.author, 8);
    return k;
}

bool record_key_equal(const struct record_key *a, const struct record_key *b)
{
    return memcmp(a, b, sizeof *a) == 0;
}

int record_key_compare(const struct record_key *a, const struct record_key *b)
{
    if (a->kind != b->kind)
        return a->kind < b->kind ? -1 : 1;
    return memcmp(a->b, b->b, sizeof a->b);
}

struct uid record_key_uid(const struct record_key *k)
{
    struct uid uid;
    memcpy(uid.b, k->b, sizeof uid.b);
    return uid;
}

uint16_t record_key_slot(const struct record_key *k)
{
    return (uint16_t)get_big_endian(k, 16, 2);
}

node_id record_key_owner(const struct record_key *k)
{
    return get_big_endian(k, k->len - 8u, 8);
}

struct hash record_key_image(const struct record_key *k)
{
    struct hash h;
    memcpy(h.b, k->b, sizeof h.b);
    return h;
}

int version_compare(struct version a, struct version b)
{
    if (a.clock != b.clock)
        return a.clock < b.clock ? -1 : 1;
    if (a.author != b.author)
        return a.author < b.author ? -1 : 1;
    return 0;
}

/* ---- Records ------------------------------------------------------------------------------------- */

/* A kind's key length; 0: not a kind of this build. */
static size_t key_len(uint64_t kind)
{
    static const uint8_t lens[RECORD_KIND_END] = {
        [RECORD_NODE] = 8,     [RECORD_SPEC] = 16, [RECORD_REPLICAS] = 16, [RECORD_WANTED] = 16,
        [RECORD_DELETED] = 16, [RECORD_UNIT] = 26, [RECORD_HOLDER] = 40,   [RECORD_HISTORY] = 32,
    };
    return kind < RECORD_KIND_END ? lens[kind] : 0;
}

static bool one_writer(uint8_t kind)
{
    return kind == RECORD_NODE || kind == RECORD_UNIT || kind == RECORD_HOLDER;
}

/* What was lost to a concurrent spec is kept as it was: the body is the whole spec record, and what was signed is
 * what is inside, so that anyone can move a spec into history and everyone can check it. */
static enum err history_decode(struct record *r)
{
    struct cursor c;
    cursor_init(&c, r->body.p, r->body.len);
    struct slice inner = cursor_bin(&c, RECORD_BYTES_MAX);
    struct record spec;
    enum err err = cursor_end(&c);
    if (err)
        return err;
    if (inner.len < 2 || inner.p[1] != RECORD_SPEC) /* before going in: history holds no history */
        return ERR_INVALID;
    err = record_decode(inner.p, inner.len, &spec);
    if (err)
        return err;
    const struct uid uid = record_key_uid(&spec.key);
    const struct record_key key = record_key_history(&uid, spec.version);
    if (spec.key.kind != RECORD_SPEC || !record_key_equal(&key, &r->key) ||
        version_compare(spec.version, r->version) != 0 ||
        memcmp(spec.author_key, r->author_key, sizeof r->author_key) != 0 ||
        memcmp(spec.signature, r->signature, sizeof r->signature) != 0)
        return ERR_INVALID;
    r->signed_bytes = spec.signed_bytes;
    return ERR_OK;
}

enum err record_decode(const void *bytes, size_t len, struct record *out)
{
    struct cursor c;
    struct record r = {0};
    if (len > RECORD_BYTES_MAX)
        return ERR_TOO_LARGE;
    cursor_init(&c, bytes, len);
    if (cursor_array(&c, ELEMENTS) != ELEMENTS)
        return c.err ? c.err : ERR_INVALID;
    const uint8_t *signed_from = c.p;
    uint64_t kind = cursor_uint(&c, UINT8_MAX);
    if (!c.err && key_len(kind) == 0)
        return ERR_UNSUPPORTED;
    struct slice key = cursor_bin(&c, RECORD_KEY_MAX);
    if (!c.err && key.len != key_len(kind))
        return ERR_INVALID;
    r.version.clock = cursor_uint(&c, UINT64_MAX);
    r.version.author = cursor_uint(&c, UINT64_MAX);
    cursor_fixed(&c, r.author_key, sizeof r.author_key);
    r.body.p = c.p;
    cursor_skip(&c);
    r.body.len = c.err ? 0 : (size_t)(c.p - r.body.p);
    r.signed_bytes = (struct slice){.p = signed_from, .len = c.err ? 0 : (size_t)(c.p - signed_from)};
    cursor_fixed(&c, r.signature, sizeof r.signature);
    enum err err = cursor_end(&c);
    if (err)
        return err;
    if (kind != RECORD_HISTORY && r.body.len > RECORD_BODY_MAX)
        return ERR_TOO_LARGE;
    r.key.kind = (uint8_t)kind;
    put_bytes(&r.key, key.p, key.len);
    r.bytes = (struct slice){.p = bytes, .len = len};
    if (r.version.author == 0 || r.version.clock == 0 ||
        (one_writer(r.key.kind) && record_key_owner(&r.key) != r.version.author))
        return ERR_INVALID;
    if (kind == RECORD_HISTORY && (err = history_decode(&r)))
        return err;
    *out = r;
    return ERR_OK;
}

static void pack_head(struct pack *k, const struct record_key *key, struct version v,
                      const uint8_t author_key[static PUBLIC_KEY_SIZE])
{
    pack_array(k, ELEMENTS);
    pack_uint(k, key->kind);
    pack_bin(k, key->b, key->len);
    pack_uint(k, v.clock);
    pack_uint(k, v.author);
    pack_bin(k, author_key, PUBLIC_KEY_SIZE);
}

enum err record_encode(const struct signer *s, const struct record_key *key, uint64_t clock,
                       struct slice body, struct pack *out)
{
    enum { ARRAY_HEAD = 1 };
    size_t from = out->len;
    if (body.len > RECORD_BODY_MAX)
        return ERR_TOO_LARGE;
    pack_head(out, key, (struct version){.clock = clock, .author = s->node}, s->public_key);
    pack_raw(out, body.p, body.len);
    if (out->err)
        return out->err;
    uint8_t signature[SIGNATURE_SIZE];
    enum err err = s->sign(s->ctx, RECORD_LABEL, out->p + from + ARRAY_HEAD,
                           out->len - from - ARRAY_HEAD, signature);
    if (err)
        return err;
    pack_bin(out, signature, sizeof signature);
    return pack_end(out);
}

enum err record_history_encode(const struct record *spec, struct pack *out)
{
    CHECK(spec->key.kind == RECORD_SPEC);
    const struct uid uid = record_key_uid(&spec->key);
    const struct record_key key = record_key_history(&uid, spec->version);
    pack_head(out, &key, spec->version, spec->author_key);
    pack_bin(out, spec->bytes.p, spec->bytes.len);
    pack_bin(out, spec->signature, sizeof spec->signature);
    return pack_end(out);
}
