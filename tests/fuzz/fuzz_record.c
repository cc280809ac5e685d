/* libFuzzer: a record and its body, as a stranger sends them. The first byte chooses: a whole record, or a body
 * inside a good record of some kind.
 *
 * What is read must pack to the same bytes: a record as a whole, a body in every field that this build knows (fields of
 * a newer build are skipped, so they may follow). */
#include "tests/support/records.h"

#include <stdlib.h>
#include <string.h>

/* The next field, as it stands. */
static struct slice field(struct cursor *c)
{
    const uint8_t *at = c->p;
    cursor_skip(c);
    CHECK(!c->err);
    return (struct slice){at, (size_t)(c->p - at)};
}

/* The field before the last of a node (networks) and of a unit (addresses) is reserved: written as [], read as
 * anything. */
static bool reserved(uint8_t kind, uint32_t index, uint32_t fields)
{
    return (kind == RECORD_NODE || kind == RECORD_UNIT) && index + 2 == fields;
}

static void body_is_one_value(const struct record *r)
{
    static uint8_t buffer[RECORD_BODY_MAX];
    struct pack k;
    struct cursor ours, theirs;
    pack_init(&k, buffer, sizeof buffer);
    enum err err = body_reencode(r, &k);
    if (r->key.kind == RECORD_HISTORY)
        return;
    CHECK((err == ERR_OK) == (body_check(r) == ERR_OK));
    if (err)
        return;
    cursor_init(&ours, buffer, k.len);
    cursor_init(&theirs, r->body.p, r->body.len);
    const uint32_t fields = cursor_array(&ours, UINT32_MAX);
    cursor_array_from(&theirs, fields);
    for (uint32_t i = 0; i < fields; i++) {
        const struct slice a = field(&ours), b = field(&theirs);
        CHECK(reserved(r->key.kind, i, fields) || (a.len == b.len && memcmp(a.p, b.p, a.len) == 0));
    }
    CHECK(cursor_end(&ours) == ERR_OK);
}

static void record_is_one_value(const struct record *r)
{
    static uint8_t buffer[RECORD_BYTES_MAX];
    struct pack k;
    pack_init(&k, buffer, sizeof buffer);
    pack_array(&k, 7);
    pack_uint(&k, r->key.kind);
    pack_bin(&k, r->key.b, r->key.len);
    pack_uint(&k, r->version.clock);
    pack_uint(&k, r->version.author);
    pack_bin(&k, r->author_key, sizeof r->author_key);
    pack_raw(&k, r->body.p, r->body.len);
    pack_bin(&k, r->signature, sizeof r->signature);
    CHECK(pack_end(&k) == ERR_OK && k.len == r->bytes.len && memcmp(buffer, r->bytes.p, k.len) == 0);
}

/* What lost a race is moved into history whole, and comes out as it went in. */
static void history_keeps(const struct record *spec)
{
    static uint8_t buffer[RECORD_BYTES_MAX];
    struct record h;
    struct pack k;
    pack_init(&k, buffer, sizeof buffer);
    CHECK(record_history_encode(spec, &k) == ERR_OK);
    CHECK(record_decode(buffer, k.len, &h) == ERR_OK);
    CHECK(h.signed_bytes.len == spec->signed_bytes.len &&
          memcmp(h.signed_bytes.p, spec->signed_bytes.p, h.signed_bytes.len) == 0);
    CHECK((body_check(&h) == ERR_OK) == (body_check(spec) == ERR_OK));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct record r;
    if (size < 2)
        return 0;
    const uint8_t choice = data[0] % (RECORD_HOLDER + 1);
    if (choice == 0) {
        if (record_decode(data + 1, size - 1, &r))
            return 0;
        record_is_one_value(&r);
        body_is_one_value(&r);
        if (r.key.kind == RECORD_SPEC)
            history_keeps(&r);
        return 0;
    }
    r = (struct record){.key = {.kind = choice}, .body = {.p = data + 1, .len = size - 1}};
    if (size - 1 <= RECORD_BODY_MAX)
        body_is_one_value(&r);
    return 0;
}
