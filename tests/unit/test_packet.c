#include "gossip/packet.h"

#include "store/base/rng.h"
#include "tests/support/fake_crypto.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

enum { BOOT_A = 7, BOOT_B = 9 };

struct fixture {
    struct fake_crypto a, b;
    uint8_t key[SEAL_KEY_SIZE];
    uint8_t packet[PACKET_SIZE_MAX];
    size_t len;
};

static const char PAYLOAD[] = "all is well";

static struct packet_header header_of(const struct fake_crypto *f, uint64_t counter)
{
    struct packet_header h = {
        .type = 3, .sender = f->crypto.node, .boot = BOOT_A, .counter = counter};
    memcpy(h.key_id, f->crypto.key_id, KEY_ID_SIZE);
    return h;
}

/* From a to b. */
static void set_up(struct fixture *f)
{
    fake_crypto_init(&f->a, 1, 1);
    fake_crypto_init(&f->b, 2, 1);
    const struct crypto *c = &f->a.crypto;
    assert_int_equal(
        c->pair_key(c->ctx, c->key_id, f->b.crypto.x25519, c->node, f->b.crypto.node, f->key), ERR_OK);
    struct packet_header h = header_of(&f->a, 41);
    assert_int_equal(packet_seal(c, f->key, &h, f->b.crypto.node, BOOT_B, PAYLOAD, sizeof PAYLOAD,
                                 f->packet, &f->len),
                     ERR_OK);
}

static enum err open_as(const struct fixture *f, const struct fake_crypto *who, uint64_t boot)
{
    uint8_t out[PACKET_PAYLOAD_MAX];
    size_t len = 0;
    enum err err = packet_open(&who->crypto, f->key, boot, f->packet, f->len, out, &len);
    if (!err) {
        assert_int_equal(len, sizeof PAYLOAD);
        assert_memory_equal(out, PAYLOAD, sizeof PAYLOAD);
    }
    return err;
}

static void what_was_sealed_opens_at_the_receiver(void **state)
{
    (void)state;
    struct fixture f;
    set_up(&f);
    uint8_t key[SEAL_KEY_SIZE];
    const struct crypto *c = &f.b.crypto;
    assert_int_equal(
        c->pair_key(c->ctx, c->key_id, f.a.crypto.x25519, f.a.crypto.node, c->node, key), ERR_OK);
    assert_memory_equal(key, f.key, sizeof key);
    assert_int_equal(open_as(&f, &f.b, BOOT_B), ERR_OK);
}

static void the_header_s_bytes_are_as_documented(void **state)
{
    (void)state;
    struct fixture f;
    set_up(&f);
    assert_int_equal(f.len, 32 + sizeof PAYLOAD + 16);
    assert_int_equal(f.packet[0], 1);
    assert_int_equal(f.packet[1], 3);
    assert_int_equal(f.packet[2], 0);
    assert_int_equal(f.packet[3], 0);
    assert_memory_equal(f.packet + 4, f.a.crypto.key_id, 4);
    for (unsigned i = 0; i < 8; i++)
        assert_int_equal(f.packet[8 + i], (uint8_t)(f.a.crypto.node >> (8 * i)));
    static const uint8_t boot[8] = {BOOT_A}, counter[8] = {41};
    assert_memory_equal(f.packet + 16, boot, 8);
    assert_memory_equal(f.packet + 24, counter, 8);
    struct packet_header h;
    assert_int_equal(packet_header_decode(f.packet, f.len, &h), ERR_OK);
    assert_int_equal(h.type, 3);
    assert_int_equal(h.sender, f.a.crypto.node);
    assert_int_equal(h.boot, BOOT_A);
    assert_int_equal(h.counter, 41);
}

static void every_flipped_bit_is_noticed(void **state)
{
    (void)state;
    struct fixture f;
    set_up(&f);
    for (size_t i = 0; i < 8 * f.len; i++) {
        f.packet[i / 8] ^= (uint8_t)(1u << (i % 8));
        assert_int_not_equal(open_as(&f, &f.b, BOOT_B), ERR_OK);
        f.packet[i / 8] ^= (uint8_t)(1u << (i % 8));
    }
}

static void a_packet_to_another_node_does_not_open(void **state)
{
    (void)state;
    struct fixture f;
    set_up(&f);
    struct fake_crypto other;
    fake_crypto_init(&other, 3, 1);
    assert_int_equal(open_as(&f, &other, BOOT_B), ERR_AUTH);
}

static void a_packet_to_another_life_does_not_open(void **state)
{
    (void)state;
    struct fixture f;
    set_up(&f);
    assert_int_equal(open_as(&f, &f.b, BOOT_B + 1), ERR_AUTH);
    assert_int_equal(open_as(&f, &f.b, BOOT_B - 1), ERR_AUTH);
}

static void the_way_back_has_another_key(void **state)
{
    (void)state;
    struct fixture f;
    set_up(&f);
    uint8_t back[SEAL_KEY_SIZE];
    const struct crypto *c = &f.a.crypto;
    assert_int_equal(
        c->pair_key(c->ctx, c->key_id, f.b.crypto.x25519, f.b.crypto.node, c->node, back), ERR_OK);
    assert_memory_not_equal(back, f.key, sizeof back);
}

static void wrong_lengths_versions_and_flags_are_refused(void **state)
{
    (void)state;
    struct fixture f;
    struct packet_header h;
    set_up(&f);
    uint8_t big[PACKET_SIZE_MAX + 1] = {0};
    memcpy(big, f.packet, f.len);
    for (size_t len = 0; len < PACKET_HEADER_SIZE + SEAL_TAG_SIZE; len++)
        assert_int_equal(packet_header_decode(big, len, &h), ERR_TRUNCATED);
    assert_int_equal(packet_header_decode(big, PACKET_HEADER_SIZE + SEAL_TAG_SIZE, &h), ERR_OK);
    assert_int_equal(packet_header_decode(big, PACKET_SIZE_MAX, &h), ERR_OK);
    assert_int_equal(packet_header_decode(big, PACKET_SIZE_MAX + 1, &h), ERR_TOO_LARGE);
    big[0] = 2;
    assert_int_equal(packet_header_decode(big, f.len, &h), ERR_UNSUPPORTED);
    big[0] = 1;
    big[3] = 0x80;
    assert_int_equal(packet_header_decode(big, f.len, &h), ERR_UNSUPPORTED);
}

static void the_largest_payload_fits_and_one_byte_more_does_not(void **state)
{
    (void)state;
    struct fixture f;
    set_up(&f);
    uint8_t payload[PACKET_PAYLOAD_MAX + 1] = {1, 2, 3}, out[PACKET_PAYLOAD_MAX];
    struct packet_header h = header_of(&f.a, 42);
    size_t len = 0;
    assert_int_equal(packet_seal(&f.a.crypto, f.key, &h, f.b.crypto.node, BOOT_B, payload,
                                 PACKET_PAYLOAD_MAX + 1, f.packet, &f.len),
                     ERR_TOO_LARGE);
    assert_int_equal(packet_seal(&f.a.crypto, f.key, &h, f.b.crypto.node, BOOT_B, payload,
                                 PACKET_PAYLOAD_MAX, f.packet, &f.len),
                     ERR_OK);
    assert_int_equal(f.len, PACKET_SIZE_MAX);
    assert_int_equal(packet_open(&f.b.crypto, f.key, BOOT_B, f.packet, f.len, out, &len), ERR_OK);
    assert_int_equal(len, PACKET_PAYLOAD_MAX);
    assert_memory_equal(out, payload, len);
}

/* ---- The replay window ----------------------------------------------------------------------------- */

static void a_counter_is_taken_once(void **state)
{
    (void)state;
    struct window w = {0};
    for (uint64_t i = 1; i < 500; i++) {
        assert_int_equal(window_check(&w, 1, i), ERR_OK);
        window_accept(&w, 1, i);
        assert_int_equal(window_check(&w, 1, i), ERR_REPLAYED);
    }
}

static void late_packets_inside_the_window_are_taken(void **state)
{
    (void)state;
    struct window w = {0};
    window_accept(&w, 1, 1000);
    assert_int_equal(window_check(&w, 1, 1000 - 127), ERR_OK);
    assert_int_equal(window_check(&w, 1, 1000 - 128), ERR_REPLAYED);
    window_accept(&w, 1, 1000 - 127);
    assert_int_equal(window_check(&w, 1, 1000 - 127), ERR_REPLAYED);
    assert_int_equal(window_check(&w, 1, 1000 - 126), ERR_OK);
}

/* Against the plain truth: a set of all that was seen. */
static void the_window_agrees_with_a_set(void **state)
{
    (void)state;
    enum { COUNTERS = 4096 };
    static uint8_t seen[COUNTERS];
    struct window w = {0};
    struct rng rng;
    uint64_t top = 0;
    rng_init(&rng, 5);
    for (int i = 0; i < 20000; i++) {
        uint64_t base = (uint64_t)i / 5;
        uint64_t counter = rng_below(&rng, 300) + (base > 150 ? base - 150 : 0);
        if (counter >= COUNTERS)
            continue;
        bool fresh = counter > top || (top - counter < 128 && !seen[counter]);
        if (i == 0)
            fresh = true;
        assert_int_equal(window_check(&w, 3, counter), fresh ? ERR_OK : ERR_REPLAYED);
        if (!fresh)
            continue;
        window_accept(&w, 3, counter);
        seen[counter] = 1;
        if (counter > top)
            top = counter;
    }
    assert_true(top > 3000);
}

static void a_lower_boot_is_refused_for_ever(void **state)
{
    (void)state;
    struct window w = {0};
    window_accept(&w, 5, 10);
    assert_int_equal(window_check(&w, 4, 11), ERR_REPLAYED);
    window_accept(&w, 4, 11);
    assert_int_equal(w.boot, 5);
    assert_int_equal(w.top, 10);
}

static void a_higher_boot_starts_afresh(void **state)
{
    (void)state;
    struct window w = {0};
    window_accept(&w, 5, 1000);
    assert_int_equal(window_check(&w, 6, 1), ERR_OK);
    window_accept(&w, 6, 1);
    assert_int_equal(window_check(&w, 6, 1), ERR_REPLAYED);
    assert_int_equal(window_check(&w, 6, 2), ERR_OK);
    assert_int_equal(window_check(&w, 5, 2000), ERR_REPLAYED);
}

static void the_last_counter_of_all_works(void **state)
{
    (void)state;
    struct window w = {0};
    window_accept(&w, 1, UINT64_MAX);
    assert_int_equal(window_check(&w, 1, UINT64_MAX), ERR_REPLAYED);
    assert_int_equal(window_check(&w, 1, UINT64_MAX - 1), ERR_OK);
    assert_int_equal(window_check(&w, 1, 0), ERR_REPLAYED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_sealed_opens_at_the_receiver),
        cmocka_unit_test(the_header_s_bytes_are_as_documented),
        cmocka_unit_test(every_flipped_bit_is_noticed),
        cmocka_unit_test(a_packet_to_another_node_does_not_open),
        cmocka_unit_test(a_packet_to_another_life_does_not_open),
        cmocka_unit_test(the_way_back_has_another_key),
        cmocka_unit_test(wrong_lengths_versions_and_flags_are_refused),
        cmocka_unit_test(the_largest_payload_fits_and_one_byte_more_does_not),
        cmocka_unit_test(a_counter_is_taken_once),
        cmocka_unit_test(late_packets_inside_the_window_are_taken),
        cmocka_unit_test(the_window_agrees_with_a_set),
        cmocka_unit_test(a_lower_boot_is_refused_for_ever),
        cmocka_unit_test(a_higher_boot_starts_afresh),
        cmocka_unit_test(the_last_counter_of_all_works),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
