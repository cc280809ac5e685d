/* Records: keys, versions, form, signing, history. */
#include "tests/support/records.h"

#include "store/base/rng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static uint8_t buffer[RECORD_BYTES_MAX];

/* A record of these parts, put together by hand, to be wrong in one place. */
struct parts {
    uint64_t kind;
    struct record_key key;
    struct version version;
    uint32_t key_size, signature_size;
};

static struct parts good_parts(void)
{
    return (struct parts){.kind = RECORD_NODE,
                          .key = record_key_node(5),
                          .version = {.clock = 1, .author = 5},
                          .key_size = PUBLIC_KEY_SIZE,
                          .signature_size = SIGNATURE_SIZE};
}

static enum err decode_parts(const struct parts *p, uint32_t elements)
{
    static const uint8_t zeros[128];
    struct record r;
    struct pack k;
    pack_init(&k, buffer, sizeof buffer);
    pack_array(&k, elements);
    pack_uint(&k, p->kind);
    pack_bin(&k, p->key.b, p->key.len);
    pack_uint(&k, p->version.clock);
    pack_uint(&k, p->version.author);
    pack_bin(&k, zeros, p->key_size);
    pack_array(&k, 0);
    pack_bin(&k, zeros, p->signature_size);
    if (elements > 7)
        pack_uint(&k, 1);
    assert_int_equal(pack_end(&k), ERR_OK);
    return record_decode(buffer, k.len, &r);
}

/* ---- Keys ---------------------------------------------------------------------------------------- */

static void a_key_gives_back_its_parts(void **state)
{
    (void)state;
    const struct uid uid = sample_uid();
    const struct hash image = sample_image();
    const node_id owner = UINT64_C(0xfedcba9876543210);
    struct record_key k = record_key_unit(&uid, 65535, owner);
    struct uid u = record_key_uid(&k);
    assert_true(uid_equal(&u, &uid));
    assert_int_equal(record_key_slot(&k), 65535);
    assert_true(record_key_owner(&k) == owner);
    k = record_key_holder(&image, owner);
    struct hash h = record_key_image(&k);
    assert_true(hash_equal(&h, &image));
    assert_true(record_key_owner(&k) == owner);
    k = record_key_node(owner);
    assert_true(record_key_owner(&k) == owner);
    k = record_key_history(&uid, (struct version){.clock = 1, .author = 2});
    u = record_key_uid(&k);
    assert_true(uid_equal(&u, &uid));
    assert_int_equal(k.len, 32);
}

static void keys_sort_as_their_numbers_do(void **state)
{
    (void)state;
    const struct uid uid = sample_uid();
    struct record_key a = record_key_unit(&uid, 255, 9), b = record_key_unit(&uid, 256, 1);
    assert_true(record_key_compare(&a, &b) < 0);
    assert_true(record_key_compare(&b, &a) > 0);
    assert_int_equal(record_key_compare(&a, &a), 0);
    assert_true(record_key_equal(&a, &a));
    assert_false(record_key_equal(&a, &b));
    a = record_key_node(UINT64_MAX);
    b = record_key_app(RECORD_SPEC, &uid);
    assert_true(record_key_compare(&a, &b) < 0); /* the kind first */
    a = record_key_app(RECORD_WANTED, &uid);
    assert_false(record_key_equal(&a, &b));
}

static void a_version_is_its_clock_then_its_author(void **state)
{
    (void)state;
    const struct version a = {1, 9}, b = {2, 1}, c = {2, 2};
    assert_true(version_compare(a, b) < 0);
    assert_true(version_compare(b, c) < 0);
    assert_true(version_compare(c, a) > 0);
    assert_int_equal(version_compare(b, b), 0);
}

/* ---- Form ---------------------------------------------------------------------------------------- */

static void a_record_is_read_as_it_was_written(void **state)
{
    (void)state;
    const struct signer signer = sample_signer();
    const struct record_key key = record_key_node(SAMPLE_AUTHOR);
    static const uint8_t body[] = {0x92, 0x01, 0xc4, 0x02, 0xaa, 0xbb};
    struct record r;
    struct pack k;
    pack_init(&k, buffer, sizeof buffer);
    assert_int_equal(record_encode(&signer, &key, 77, (struct slice){body, sizeof body}, &k), ERR_OK);
    assert_int_equal(record_decode(buffer, k.len, &r), ERR_OK);
    assert_true(record_key_equal(&r.key, &key));
    assert_true(r.version.clock == 77 && r.version.author == SAMPLE_AUTHOR);
    assert_memory_equal(r.author_key, signer.public_key, PUBLIC_KEY_SIZE);
    assert_int_equal(r.body.len, sizeof body);
    assert_memory_equal(r.body.p, body, sizeof body);
    assert_ptr_equal(r.bytes.p, buffer);
    assert_int_equal(r.bytes.len, k.len);
    /* signed: everything behind the array's head and before the signature's */
    assert_ptr_equal(r.signed_bytes.p, buffer + 1);
    assert_int_equal(r.signed_bytes.len, k.len - 1 - 2 - SIGNATURE_SIZE);
    assert_int_equal(r.signature[63], RECORD_NODE);
}

static void every_part_has_its_form(void **state)
{
    (void)state;
    struct parts p = good_parts();
    assert_int_equal(decode_parts(&p, 7), ERR_OK);
    assert_int_not_equal(decode_parts(&p, 6), ERR_OK);
    assert_int_not_equal(decode_parts(&p, 8), ERR_OK);
    p.key_size--;
    assert_int_equal(decode_parts(&p, 7), ERR_INVALID);
    p = good_parts();
    p.signature_size++;
    assert_int_equal(decode_parts(&p, 7), ERR_TOO_LARGE);
    p = good_parts();
    p.version.clock = 0;
    assert_int_equal(decode_parts(&p, 7), ERR_INVALID);
    p = good_parts();
    p.version.author = 0;
    p.key = record_key_node(0);
    assert_int_equal(decode_parts(&p, 7), ERR_INVALID);
    p = good_parts();
    p.key.len--;
    assert_int_equal(decode_parts(&p, 7), ERR_INVALID);
}

static void a_kind_of_a_newer_build_is_unsupported_not_malformed(void **state)
{
    (void)state;
    static const uint64_t kinds[] = {0, RECORD_KEY, RECORD_REVOCATION, RECORD_KIND_END, 200, 255};
    struct parts p = good_parts();
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        p.kind = kinds[i];
        assert_int_equal(decode_parts(&p, 7), ERR_UNSUPPORTED);
    }
}

static void only_the_owner_writes_its_node_unit_and_holder(void **state)
{
    (void)state;
    const struct uid uid = sample_uid();
    const struct hash image = sample_image();
    const struct record_key keys[] = {record_key_node(6), record_key_unit(&uid, 0, 6),
                                      record_key_holder(&image, 6)};
    for (unsigned i = 0; i < 3; i++) {
        struct parts p = good_parts();
        p.kind = keys[i].kind;
        p.key = keys[i];
        assert_int_equal(decode_parts(&p, 7), ERR_INVALID);
        p.version.author = 6;
        assert_int_equal(decode_parts(&p, 7), ERR_OK);
    }
    struct parts p = good_parts(); /* an app's registers: anyone */
    p.kind = RECORD_REPLICAS;
    p.key = record_key_app(RECORD_REPLICAS, &uid);
    assert_int_equal(decode_parts(&p, 7), ERR_OK);
}

static void a_body_has_its_bound(void **state)
{
    (void)state;
    static uint8_t body[RECORD_BODY_MAX + 1] = {0xc5, 0x2f, 0xfd};
    const struct signer signer = sample_signer();
    const struct record_key key = record_key_node(SAMPLE_AUTHOR);
    struct record r;
    struct pack k;
    pack_init(&k, buffer, sizeof buffer);
    assert_int_equal(record_encode(&signer, &key, 1, (struct slice){body, sizeof body}, &k),
                     ERR_TOO_LARGE);
    assert_int_equal(3 + 0x2ffd, RECORD_BODY_MAX);
    pack_init(&k, buffer, sizeof buffer);
    assert_int_equal(record_encode(&signer, &key, 1, (struct slice){body, RECORD_BODY_MAX}, &k), ERR_OK);
    assert_int_equal(record_decode(buffer, k.len, &r), ERR_OK);
    pack_init(&k, buffer, 100);
    assert_int_equal(record_encode(&signer, &key, 1, (struct slice){body, RECORD_BODY_MAX}, &k),
                     ERR_TOO_LARGE);
    static const uint8_t huge[RECORD_BYTES_MAX + 1];
    assert_int_equal(record_decode(huge, sizeof huge, &r), ERR_TOO_LARGE);
}

static enum err refuse(void *ctx, const char *label, const void *p, size_t len,
                       uint8_t signature[static SIGNATURE_SIZE])
{
    (void)ctx, (void)label, (void)p, (void)len, (void)signature;
    return ERR_IO;
}

static void a_signer_that_fails_makes_no_record(void **state)
{
    (void)state;
    static const uint8_t body[] = {0x90};
    struct signer signer = sample_signer();
    const struct record_key key = record_key_node(SAMPLE_AUTHOR);
    struct pack k;
    signer.sign = refuse;
    pack_init(&k, buffer, sizeof buffer);
    assert_int_equal(record_encode(&signer, &key, 1, (struct slice){body, 1}, &k), ERR_IO);
}

/* ---- History ------------------------------------------------------------------------------------- */

static void history_carries_what_the_spec_signed(void **state)
{
    (void)state;
    uint8_t spec_bytes[RECORD_BYTES_MAX];
    struct record spec, r;
    struct pack s, k;
    pack_init(&s, spec_bytes, sizeof spec_bytes);
    sample_record(RECORD_SPEC, &s);
    assert_int_equal(record_decode(spec_bytes, s.len, &spec), ERR_OK);
    pack_init(&k, buffer, sizeof buffer);
    assert_int_equal(record_history_encode(&spec, &k), ERR_OK);
    assert_int_equal(record_decode(buffer, k.len, &r), ERR_OK);
    const struct uid uid = sample_uid();
    const struct record_key key = record_key_history(&uid, spec.version);
    assert_true(record_key_equal(&r.key, &key));
    assert_int_equal(version_compare(r.version, spec.version), 0);
    assert_int_equal(r.signed_bytes.len, spec.signed_bytes.len);
    assert_memory_equal(r.signed_bytes.p, spec.signed_bytes.p, spec.signed_bytes.len);
    assert_memory_equal(r.signature, spec.signature, SIGNATURE_SIZE);
    assert_int_equal(body_check(&r), ERR_OK);
}

/* Whatever a stranger changes outside of what is signed shows. */
static void no_byte_around_a_history_can_be_changed(void **state)
{
    (void)state;
    struct record r, good;
    struct pack k;
    pack_init(&k, buffer, sizeof buffer);
    sample_record(RECORD_HISTORY, &k);
    assert_int_equal(record_decode(buffer, k.len, &good), ERR_OK);
    size_t from = (size_t)(good.signed_bytes.p - buffer), to = from + good.signed_bytes.len;
    for (size_t i = 0; i < k.len; i++) {
        if (i >= from && i < to)
            continue; /* the signature is about these */
        for (unsigned bit = 0; bit < 8; bit++) {
            buffer[i] ^= (uint8_t)(1u << bit);
            assert_int_not_equal(record_decode(buffer, k.len, &r), ERR_OK);
            buffer[i] ^= (uint8_t)(1u << bit);
        }
    }
}

static void history_holds_a_spec_and_nothing_else(void **state)
{
    (void)state;
    static const enum record_kind kinds[] = {RECORD_REPLICAS, RECORD_WANTED, RECORD_DELETED,
                                             RECORD_NODE,     RECORD_UNIT,   RECORD_HISTORY};
    for (unsigned i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        uint8_t inner[RECORD_BYTES_MAX];
        struct record in, r;
        struct pack s, k;
        pack_init(&s, inner, sizeof inner);
        sample_record(kinds[i], &s);
        assert_int_equal(record_decode(inner, s.len, &in), ERR_OK);
        const struct uid uid = sample_uid();
        const struct record_key key = record_key_history(&uid, in.version);
        pack_init(&k, buffer, sizeof buffer);
        pack_array(&k, 7);
        pack_uint(&k, RECORD_HISTORY);
        pack_bin(&k, key.b, key.len);
        pack_uint(&k, in.version.clock);
        pack_uint(&k, in.version.author);
        pack_bin(&k, in.author_key, PUBLIC_KEY_SIZE);
        pack_bin(&k, inner, s.len);
        pack_bin(&k, in.signature, SIGNATURE_SIZE);
        assert_int_equal(pack_end(&k), ERR_OK);
        assert_int_equal(record_decode(buffer, k.len, &r), ERR_INVALID);
    }
}

/* Not even to find out what it is: so decoding never goes deeper than one record in another. */
static void what_is_no_spec_in_history_is_not_opened(void **state)
{
    (void)state;
    struct record r;
    struct pack k;
    pack_init(&k, buffer, sizeof buffer);
    sample_record(RECORD_HISTORY, &k);
    assert_int_equal(record_decode(buffer, k.len, &r), ERR_OK);
    size_t inner_kind = (size_t)(r.signed_bytes.p - buffer);
    assert_int_equal(buffer[inner_kind], RECORD_SPEC);
    buffer[inner_kind] = 99; /* alone, it would be unsupported */
    assert_int_equal(record_decode(buffer, k.len, &r), ERR_INVALID);
}

static void the_largest_spec_fits_into_history(void **state)
{
    (void)state;
    static uint8_t body[RECORD_BODY_MAX] = {0xc5, 0x2f, 0xfd}, spec_bytes[RECORD_BYTES_MAX];
    const struct uid uid = sample_uid();
    const struct record_key key = record_key_app(RECORD_SPEC, &uid);
    struct signer signer = sample_signer();
    struct record spec, r;
    struct pack s, k;
    signer.node = UINT64_MAX;
    pack_init(&s, spec_bytes, sizeof spec_bytes);
    assert_int_equal(record_encode(&signer, &key, UINT64_MAX, (struct slice){body, sizeof body}, &s),
                     ERR_OK);
    assert_int_equal(record_decode(spec_bytes, s.len, &spec), ERR_OK);
    pack_init(&k, buffer, sizeof buffer);
    assert_int_equal(record_history_encode(&spec, &k), ERR_OK);
    assert_int_equal(record_decode(buffer, k.len, &r), ERR_OK);
    assert_int_not_equal(body_check(&r), ERR_OK); /* a blob is no spec, wherever it stands */
}

/* A damaged record is refused, or read as one that would pack to the same bytes: one value, one encoding. */
static void a_record_that_is_read_packs_to_the_same_bytes(void **state)
{
    (void)state;
    struct rng rng;
    unsigned read = 0;
    rng_init(&rng, 31);
    for (int i = 0; i < 20000; i++) {
        static const enum record_kind kinds[] = {RECORD_NODE, RECORD_SPEC, RECORD_UNIT, RECORD_HOLDER};
        uint8_t again[RECORD_BYTES_MAX];
        struct record r;
        struct pack k, a;
        pack_init(&k, buffer, sizeof buffer);
        sample_record(kinds[rng_below(&rng, 4)], &k);
        buffer[rng_below(&rng, k.len)] ^= (uint8_t)(1u << rng_below(&rng, 8));
        if (record_decode(buffer, k.len, &r))
            continue;
        read++;
        pack_init(&a, again, sizeof again);
        pack_array(&a, 7);
        pack_uint(&a, r.key.kind);
        pack_bin(&a, r.key.b, r.key.len);
        pack_uint(&a, r.version.clock);
        pack_uint(&a, r.version.author);
        pack_bin(&a, r.author_key, PUBLIC_KEY_SIZE);
        pack_raw(&a, r.body.p, r.body.len);
        pack_bin(&a, r.signature, SIGNATURE_SIZE);
        assert_int_equal(a.len, k.len);
        assert_memory_equal(again, buffer, k.len);
    }
    assert_true(read > 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_key_gives_back_its_parts),
        cmocka_unit_test(keys_sort_as_their_numbers_do),
        cmocka_unit_test(a_version_is_its_clock_then_its_author),
        cmocka_unit_test(a_record_is_read_as_it_was_written),
        cmocka_unit_test(every_part_has_its_form),
        cmocka_unit_test(a_kind_of_a_newer_build_is_unsupported_not_malformed),
        cmocka_unit_test(only_the_owner_writes_its_node_unit_and_holder),
        cmocka_unit_test(a_body_has_its_bound),
        cmocka_unit_test(a_signer_that_fails_makes_no_record),
        cmocka_unit_test(history_carries_what_the_spec_signed),
        cmocka_unit_test(no_byte_around_a_history_can_be_changed),
        cmocka_unit_test(history_holds_a_spec_and_nothing_else),
        cmocka_unit_test(what_is_no_spec_in_history_is_not_opened),
        cmocka_unit_test(the_largest_spec_fits_into_history),
        cmocka_unit_test(a_record_that_is_read_packs_to_the_same_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
