/* libFuzzer: a record and its body, as a stranger sends them. The first byte chooses: a whole record, or a body
 * inside a good record of some kind.
 *
 * What is read must pack to the same bytes: a record as a whole, a body in every field that this build knows (fields of
 * a newer build are skipped, so they may follow). */
#include "tests/support/records.h"

#include <stdlib.h>
#include <string.h>

static size_t array_head(const uint8_t *p)
{
    return (*p & 0xf0) == 0x90 ? 1 : *p == 0xdc ? 3 : 5;
}

/* The last field of a node and of a unit is reserved: written as [], read as anything. */
static size_t reserved(uint8_t kind)
{
    return kind == RECORD_NODE || kind == RECORD_UNIT ? 1 : 0;
}

static void body_is_one_value(const struct record *r)
{
    static uint8_t buffer[RECORD_BODY_MAX];
    struct pack k;
    pack_init(&k, buffer, sizeof buffer);
    enum err err = body_reencode(r, &k);
    if (r->key.kind == RECORD_HISTORY)
        return;
    CHECK((err == ERR_OK) == (body_check(r) == ERR_OK));
    if (err)
        return;
    const size_t ours = array_head(buffer), theirs = array_head(r->body.p);
    const size_t len = k.len - ours - reserved(r->key.kind);
    CHECK(len <= r->body.len - theirs && memcmp(buffer + ours, r->body.p + theirs, len) == 0);
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
