#include "gossip/message.h"

#include "store/base/rng.h"
#include "tests/support/fake_crypto.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static uint8_t buffer[CALL_BYTES_MAX];

static const struct unit_id UNIT = {.app = {.b = {1, 2, 3}}, .slot = 300, .epoch = 70000};

static struct accusation an_accusation(void)
{
    struct accusation a = {
        .kind = ACCUSE_DEAD, .subject = UINT64_MAX, .incarnation = 1700000000000, .accuser = 5};
    memset(a.signature, 0xab, sizeof a.signature);
    return a;
}

/* ---- Datagrams --------------------------------------------------------------------------------------- */

static void a_probe_has_these_bytes(void **state)
{
    (void)state;
    static const uint8_t golden[] = {0x93, 0xcd, 0x01, 0x2c, 0x07, 0xcf, 0x01, 0x02,
                                     0x03, 0x04, 0x05, 0x06, 0x07, 0x08};
    const struct message_probe m = {.seq = 300, .subject = 7, .root = UINT64_C(0x0102030405060708)};
    struct message_probe out;
    struct pack k;
    struct cursor c;
    pack_init(&k, buffer, sizeof buffer);
    message_probe_encode(&m, &k);
    assert_int_equal(k.len, sizeof golden);
    assert_memory_equal(buffer, golden, sizeof golden);
    cursor_init(&c, golden, sizeof golden);
    assert_int_equal(message_probe_decode(&c, &out), ERR_OK);
    assert_int_equal(cursor_end(&c), ERR_OK);
    assert_int_equal(out.seq, m.seq);
    assert_int_equal(out.subject, m.subject);
    assert_int_equal(out.root, m.root);
}

static void an_accusation_has_these_bytes(void **state)
{
    (void)state;
    static const uint8_t head[] = {0x96, 0x00, 0x02, 0xcf, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                                   0xff, 0xcf, 0x00, 0x00, 0x01, 0x8b, 0xcf, 0xe5, 0x68, 0x00, 0x05,
                                   0xc4, 0x40, 0xab};
    const struct accusation a = an_accusation();
    struct accusation out;
    struct pack k;
    struct cursor c;
    pack_init(&k, buffer, sizeof buffer);
    accusation_encode(&a, &k);
    assert_true(k.len <= ACCUSATION_BYTES_MAX);
    assert_memory_equal(buffer, head, sizeof head);
    cursor_init(&c, buffer, k.len);
    assert_int_equal(accusation_decode(&c, &out), ERR_OK);
    assert_int_equal(cursor_end(&c), ERR_OK);
    assert_int_equal(out.kind, a.kind);
    assert_int_equal(out.subject, a.subject);
    assert_int_equal(out.incarnation, a.incarnation);
    assert_int_equal(out.accuser, a.accuser);
    assert_memory_equal(out.signature, a.signature, sizeof a.signature);
}

static void the_longest_accusation_fits_its_bound(void **state)
{
    (void)state;
    const struct accusation a = {.kind = ACCUSE_DEAD,
                                 .subject = UINT64_MAX,
                                 .incarnation = UINT64_MAX,
                                 .accuser = UINT64_MAX};
    struct pack k;
    pack_init(&k, buffer, ACCUSATION_BYTES_MAX);
    accusation_encode(&a, &k);
    assert_int_equal(pack_end(&k), ERR_OK);
}

static void offers_and_their_answers_come_back_as_they_were(void **state)
{
    (void)state;
    const struct message_offer o = {.id = UNIT,
                                    .spec = {.clock = 11, .author = 12},
                                    .previous = 13,
                                    .kind = OFFER_MOVE,
                                    .surrogate = 1};
    const struct message_offer_answer a = {.id = UNIT,
                                           .verdict = OFFER_STALE,
                                           .room_seq = 9,
                                           .epoch = 70001,
                                           .reason = "no memory: 5 MiB are free"};
    struct message_offer o2;
    struct message_offer_answer a2;
    struct pack k;
    struct cursor c;
    pack_init(&k, buffer, sizeof buffer);
    message_offer_encode(&o, &k);
    message_offer_answer_encode(&a, &k);
    assert_int_equal(pack_end(&k), ERR_OK);
    cursor_init(&c, buffer, k.len);
    assert_int_equal(message_offer_decode(&c, &o2), ERR_OK);
    assert_int_equal(message_offer_answer_decode(&c, &a2), ERR_OK);
    assert_int_equal(cursor_end(&c), ERR_OK);
    assert_true(uid_equal(&o2.id.app, &UNIT.app));
    assert_int_equal(o2.id.slot, UNIT.slot);
    assert_int_equal(o2.id.epoch, UNIT.epoch);
    assert_int_equal(o2.spec.clock, 11);
    assert_int_equal(o2.spec.author, 12);
    assert_int_equal(o2.previous, 13);
    assert_int_equal(o2.kind, OFFER_MOVE);
    assert_int_equal(o2.surrogate, 1);
    assert_int_equal(a2.verdict, OFFER_STALE);
    assert_int_equal(a2.room_seq, 9);
    assert_int_equal(a2.epoch, 70001);
    assert_string_equal(a2.reason, a.reason);
}

static void fields_of_a_newer_version_are_skipped(void **state)
{
    (void)state;
    struct message_probe out;
    struct pack k;
    struct cursor c;
    pack_init(&k, buffer, sizeof buffer);
    pack_array(&k, 5);
    for (uint64_t i = 1; i <= 3; i++)
        pack_uint(&k, i);
    pack_str(&k, "new");
    pack_array(&k, 1);
    pack_bool(&k, true);
    cursor_init(&c, buffer, k.len);
    assert_int_equal(message_probe_decode(&c, &out), ERR_OK);
    assert_int_equal(cursor_end(&c), ERR_OK);
    assert_int_equal(out.root, 3);
}

static void unknown_verdicts_kinds_and_accusations_are_refused(void **state)
{
    (void)state;
    struct message_offer_answer answer = {.id = UNIT, .verdict = (enum offer_verdict)0};
    struct message_offer offer = {.id = UNIT, .kind = (enum offer_kind)2};
    struct accusation a = an_accusation();
    struct pack k;
    struct cursor c;
    pack_init(&k, buffer, sizeof buffer);
    message_offer_answer_encode(&answer, &k);
    cursor_init(&c, buffer, k.len);
    assert_int_not_equal(message_offer_answer_decode(&c, &answer), ERR_OK);
    pack_init(&k, buffer, sizeof buffer);
    message_offer_encode(&offer, &k);
    cursor_init(&c, buffer, k.len);
    assert_int_not_equal(message_offer_decode(&c, &offer), ERR_OK);
    for (unsigned kind = 0; kind <= 3; kind += 3) {
        a.kind = (enum accusation_kind)kind;
        pack_init(&k, buffer, sizeof buffer);
        accusation_encode(&a, &k);
        cursor_init(&c, buffer, k.len);
        assert_int_not_equal(accusation_decode(&c, &a), ERR_OK);
    }
}

/* ---- The tail ---------------------------------------------------------------------------------------- */

static void a_tail_is_read_item_by_item_to_its_end(void **state)
{
    (void)state;
    const struct accusation a = an_accusation();
    static const uint8_t record[] = {1, 2, 3};
    const struct hash h = {.b = {9}};
    struct tail_item item;
    struct pack k;
    struct cursor c;
    pack_init(&k, buffer, sizeof buffer);
    accusation_encode(&a, &k);
    pack_array(&k, 2);
    pack_uint(&k, TAIL_RECORD);
    pack_bin(&k, record, sizeof record);
    pack_array(&k, 6);
    pack_uint(&k, TAIL_ANNOUNCEMENT);
    pack_uint(&k, RECORD_NODE);
    pack_bin(&k, "12345678", 8);
    pack_uint(&k, 4);
    pack_uint(&k, 5);
    pack_bin(&k, h.b, sizeof h.b);
    cursor_init(&c, buffer, k.len);
    assert_int_equal(tail_next(&c, &item), ERR_OK);
    assert_int_equal(item.kind, TAIL_ACCUSATION);
    assert_int_equal(item.accusation.incarnation, a.incarnation);
    assert_int_equal(tail_next(&c, &item), ERR_OK);
    assert_int_equal(item.kind, TAIL_RECORD);
    assert_int_equal(item.record.len, sizeof record);
    assert_memory_equal(item.record.p, record, sizeof record);
    assert_int_equal(tail_next(&c, &item), ERR_OK);
    assert_int_equal(item.kind, TAIL_ANNOUNCEMENT);
    assert_int_equal(item.announcement.key.kind, RECORD_NODE);
    assert_int_equal(item.announcement.key.len, 8);
    assert_int_equal(item.announcement.version.clock, 4);
    assert_int_equal(item.announcement.version.author, 5);
    assert_memory_equal(item.announcement.hash.b, h.b, sizeof h.b);
    assert_int_equal(tail_next(&c, &item), ERR_NOT_FOUND);
    assert_int_equal(tail_next(&c, &item), ERR_NOT_FOUND);
}

static void a_broken_tail_ends_with_an_error(void **state)
{
    (void)state;
    static const uint8_t bad[][4] = {{0x93, 0x01, 0xc4, 0x00}, {0x92, 0x03, 0x00, 0x00}, {0x90}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct tail_item item;
        struct cursor c;
        enum err err;
        cursor_init(&c, bad[i], sizeof bad[i]);
        while (!(err = tail_next(&c, &item)))
            ;
        assert_int_not_equal(err, ERR_NOT_FOUND);
    }
}

/* ---- Calls ------------------------------------------------------------------------------------------- */

static uint8_t digests[REPLICA_BUCKETS_MIN * 8];
static const struct slice DIGESTS = {.p = digests, .len = sizeof digests};
static const struct slice RECORDS[] = {{.p = (const uint8_t *)"abc", .len = 3},
                                       {.p = (const uint8_t *)"defgh", .len = 5}};

static void expect_records(struct cursor list, uint32_t count)
{
    assert_int_equal(count, 2);
    for (uint32_t i = 0; i < count; i++) {
        struct slice s = cursor_bin(&list, RECORD_BYTES_MAX);
        assert_int_equal(s.len, RECORDS[i].len);
        assert_memory_equal(s.p, RECORDS[i].p, s.len);
    }
    assert_int_equal(cursor_end(&list), ERR_OK);
}

static struct pack a_call(enum call_type type)
{
    const struct uid uid = {.b = {8}};
    const struct record_key keys[] = {record_key_node(77), record_key_app(RECORD_SPEC, &uid)};
    const struct hash images[] = {{.b = {1}}, {.b = {2}}};
    struct pack k;
    for (size_t i = 0; i < sizeof digests; i++)
        digests[i] = (uint8_t)i;
    pack_init(&k, buffer, sizeof buffer);
    switch (type) {
    case CALL_HELLO:
        call_hello_encode(&k, RECORDS[1], 99, DIGESTS);
        break;
    case CALL_SYNC:
        call_sync_encode(&k, DIGESTS);
        break;
    case CALL_PUSH:
        call_push_encode(&k, RECORDS, 2);
        break;
    case CALL_PULL:
        call_pull_encode(&k, keys, 2);
        break;
    case CALL_KEEP:
        call_keep_encode(&k, RECORDS, 2, images, 2);
        break;
    case CALL_ORDER:
        call_order_encode(&k, &UNIT, 66);
        break;
    }
    assert_int_equal(pack_end(&k), ERR_OK);
    return k;
}

static void calls_come_back_as_they_were(void **state)
{
    (void)state;
    for (enum call_type type = CALL_HELLO; type <= CALL_ORDER; type++) {
        struct pack k = a_call(type);
        struct call c;
        assert_int_equal(call_decode(k.p, k.len, &c), ERR_OK);
        assert_int_equal(c.type, type);
        if (type == CALL_HELLO) {
            assert_int_equal(c.your_boot, 99);
            assert_int_equal(c.record.len, RECORDS[1].len);
        }
        if (type == CALL_HELLO || type == CALL_SYNC) {
            assert_int_equal(c.digests.len, sizeof digests);
            assert_memory_equal(c.digests.p, digests, sizeof digests);
        }
        if (type == CALL_PUSH || type == CALL_KEEP)
            expect_records(c.list, c.list_count);
        if (type == CALL_KEEP) {
            assert_int_equal(c.image_count, 2);
            assert_int_equal(c.images[1].b[0], 2);
        }
        if (type == CALL_ORDER) {
            assert_int_equal(c.unit.slot, UNIT.slot);
            assert_int_equal(c.unit.epoch, UNIT.epoch);
            assert_int_equal(c.to, 66);
        }
        if (type == CALL_PULL) {
            struct record_key key, node = record_key_node(77);
            assert_int_equal(c.list_count, 2);
            assert_int_equal(call_key_next(&c.list, &key), ERR_OK);
            assert_true(record_key_equal(&key, &node));
            assert_int_equal(call_key_next(&c.list, &key), ERR_OK);
            assert_int_equal(key.kind, RECORD_SPEC);
            assert_int_equal(cursor_end(&c.list), ERR_OK);
        }
    }
}

static void an_answer_comes_back_as_it_was(void **state)
{
    (void)state;
    const struct accusation a = an_accusation(), *accusations[] = {&a, &a};
    const struct answer_parts parts = {.err = ERR_BUSY,
                                       .text = "later",
                                       .min_boot = 4,
                                       .more = 1,
                                       .digests = DIGESTS,
                                       .records = RECORDS,
                                       .record_count = 2,
                                       .accusations = accusations,
                                       .accusation_count = 2};
    struct answer out;
    struct accusation one;
    struct pack k;
    pack_init(&k, buffer, sizeof buffer);
    answer_encode(&k, &parts);
    assert_int_equal(answer_decode(k.p, k.len, &out), ERR_OK);
    assert_int_equal(out.err, ERR_BUSY);
    assert_string_equal(out.text, "later");
    assert_int_equal(out.min_boot, 4);
    assert_int_equal(out.more, 1);
    assert_int_equal(out.digests.len, sizeof digests);
    expect_records(out.records, out.record_count);
    assert_int_equal(out.accusation_count, 2);
    assert_int_equal(accusation_decode(&out.accusations, &one), ERR_OK);
    assert_int_equal(accusation_decode(&out.accusations, &one), ERR_OK);
    assert_int_equal(cursor_end(&out.accusations), ERR_OK);
    const struct answer_parts nothing = {.err = ERR_OK};
    pack_init(&k, buffer, sizeof buffer);
    answer_encode(&k, &nothing);
    assert_int_equal(answer_decode(k.p, k.len, &out), ERR_OK);
    assert_int_equal(out.digests.len, 0);
    assert_int_equal(out.record_count, 0);
}

static void what_is_cut_short_or_too_long_is_refused(void **state)
{
    (void)state;
    for (enum call_type type = CALL_HELLO; type <= CALL_ORDER; type++) {
        struct pack k = a_call(type);
        struct call c;
        for (size_t len = 0; len < k.len; len++)
            assert_int_not_equal(call_decode(k.p, len, &c), ERR_OK);
        buffer[k.len] = 0;
        assert_int_not_equal(call_decode(k.p, k.len + 1, &c), ERR_OK);
    }
    struct answer a;
    const struct answer_parts parts = {.err = ERR_OK, .records = RECORDS, .record_count = 2};
    struct pack k;
    pack_init(&k, buffer, sizeof buffer);
    answer_encode(&k, &parts);
    for (size_t len = 0; len < k.len; len++)
        assert_int_not_equal(answer_decode(k.p, len, &a), ERR_OK);
}

/* Whatever is changed, decoding ends, reads nothing that isn't there (the sanitizers look), and what is taken
 * stays inside the input. */
static void changed_bytes_are_refused_or_harmless(void **state)
{
    (void)state;
    static uint8_t copy[8192];
    struct rng rng;
    rng_init(&rng, 1);
    for (int round = 0; round < 20000; round++) {
        struct pack k = a_call((enum call_type)(1 + rng_below(&rng, 6)));
        struct call c;
        assert_true(k.len <= sizeof copy);
        memcpy(copy, k.p, k.len);
        for (uint64_t n = 1 + rng_below(&rng, 3); n > 0; n--)
            copy[rng_below(&rng, k.len < 64 ? k.len : 64)] = (uint8_t)rng_u64(&rng);
        if (call_decode(copy, k.len, &c))
            continue;
        assert_true(c.image_count <= TARGET_COUNT);
        assert_true(c.list_count <= CALL_RECORDS_MAX);
        assert_true(c.list.left <= k.len);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_probe_has_these_bytes),
        cmocka_unit_test(an_accusation_has_these_bytes),
        cmocka_unit_test(the_longest_accusation_fits_its_bound),
        cmocka_unit_test(offers_and_their_answers_come_back_as_they_were),
        cmocka_unit_test(fields_of_a_newer_version_are_skipped),
        cmocka_unit_test(unknown_verdicts_kinds_and_accusations_are_refused),
        cmocka_unit_test(a_tail_is_read_item_by_item_to_its_end),
        cmocka_unit_test(a_broken_tail_ends_with_an_error),
        cmocka_unit_test(calls_come_back_as_they_were),
        cmocka_unit_test(an_answer_comes_back_as_it_was),
        cmocka_unit_test(what_is_cut_short_or_too_long_is_refused),
        cmocka_unit_test(changed_bytes_are_refused_or_harmless),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
