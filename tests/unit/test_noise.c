/* node/crypto/noise: published vectors both ways, and what must fail does. */
#include "node/crypto/noise.h"

#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* ---- Published vectors ----------------------------------------------------------------------- */

/* Numbers of https://github.com/flynn/noise, vectors.txt (commit 4d9f71cd), all four for
 * Noise_XXpsk0_25519_ChaChaPoly_BLAKE2b. Their keys are the same in all. */
static const char INITIATOR_STATIC[] =
    "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
static const char RESPONDER_STATIC[] =
    "0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20";
static const char INITIATOR_EPHEMERAL[] =
    "202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f";
static const char RESPONDER_EPHEMERAL[] =
    "4142434445464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e5f60";
static const char PSK[] = "2176657279736563726574766572797365637265747665727973656372657421";

static const struct vector {
    const char *prologue;
    struct {
        const char *payload, *sealed;
    } message[5];
} VECTORS[] = {
    {.prologue = "",
     .message =
         {
             {"", "358072d6365880d1aeea329adf9121383851ed21a28e3b75e965d0d2cd166254e89ad728d1b3555e"
                  "8affba774c455ecf"},
             {"", "64b101b1d0be5a8704bd078f9895001fc03e8e9f9522f188dd128d9846d48466def8302a4ce14b6d"
                  "8679764f5605d198853b8968688d7432e591c0371dbd9c271e7509b3366c251d193c2b6173162f24"
                  "bfb214c9912e36dbc2bebcd0c5a41310"},
             {"", "7ae518aa6a3882fac6b6d6fcd88954cccf404ea1aa2a075d533916de39720ebbd5a2fc7c5df275e6"
                  "d9ac02a752f651f67f737345e8c1310db32861d8fb0233f9"},
             {"79656c6c6f777375626d6172696e65",
              "fd0638db68611323934a1dc1c26175ddc9abfbf887629ce59b4303156bcaa1"},
             {"7375626d6172696e6579656c6c6f77",
              "3d9c9f74481ef29d381234288ecb1d26afa997692fff8407cbf6da726a5725"},
         }},
    {.prologue = "",
     .message =
         {
             {"746573745f6d73675f30",
              "358072d6365880d1aeea329adf9121383851ed21a28e3b75e965d0d2cd1662541fe2db7a97bbe9c0"
              "027b7090cb11725f0947318b6d1f1ad08ce7"},
             {"746573745f6d73675f31",
              "64b101b1d0be5a8704bd078f9895001fc03e8e9f9522f188dd128d9846d48466def8302a4ce14b6d"
              "8679764f5605d198853b8968688d7432e591c0371dbd9c27e50840bb3f7e4c87ca8f5414ba3078aa"
              "5c032641bc1cdaccd5aa58bfd328b2972ff47f99ced9a6b7aef3"},
             {"746573745f6d73675f32",
              "7ae518aa6a3882fac6b6d6fcd88954cccf404ea1aa2a075d533916de39720ebb186eba1bc5bdad09"
              "bcab5739864ca692519efda7f74013ae0602622d1accdeb04f261e1eb1ada91b5a00"},
             {"79656c6c6f777375626d6172696e65",
              "fd0638db68611323934a1dc1c26175ddc9abfbf887629ce59b4303156bcaa1"},
             {"7375626d6172696e6579656c6c6f77",
              "3d9c9f74481ef29d381234288ecb1d26afa997692fff8407cbf6da726a5725"},
         }},
    {.prologue = "6e6f74736563726574",
     .message =
         {
             {"", "358072d6365880d1aeea329adf9121383851ed21a28e3b75e965d0d2cd166254daabd705d9da7c80"
                  "c426df55902fb9cc"},
             {"", "64b101b1d0be5a8704bd078f9895001fc03e8e9f9522f188dd128d9846d48466def8302a4ce14b6d"
                  "8679764f5605d198853b8968688d7432e591c0371dbd9c27c142d82a45eca7997eeec4e81381209c"
                  "d1cc75dc52230a6ad5dc90432748d6df"},
             {"", "7ae518aa6a3882fac6b6d6fcd88954cccf404ea1aa2a075d533916de39720ebb5a679823352dc4b0"
                  "bbbb47c9dc418fbf6185f09c57410138d19557733bdfd046"},
             {"79656c6c6f777375626d6172696e65",
              "fd0638db68611323934a1dc1c26175ddc9abfbf887629ce59b4303156bcaa1"},
             {"7375626d6172696e6579656c6c6f77",
              "3d9c9f74481ef29d381234288ecb1d26afa997692fff8407cbf6da726a5725"},
         }},
    {.prologue = "6e6f74736563726574",
     .message =
         {
             {"746573745f6d73675f30",
              "358072d6365880d1aeea329adf9121383851ed21a28e3b75e965d0d2cd1662541fe2db7a97bbe9c0"
              "027b1f62071910cfd2266573bb14a7de4342"},
             {"746573745f6d73675f31",
              "64b101b1d0be5a8704bd078f9895001fc03e8e9f9522f188dd128d9846d48466def8302a4ce14b6d"
              "8679764f5605d198853b8968688d7432e591c0371dbd9c27c0e397d4a328006c00af1dc428f95bc5"
              "5c032641bc1cdaccd5aae41c3d70b1d39ac256cf6c07a7430831"},
             {"746573745f6d73675f32",
              "7ae518aa6a3882fac6b6d6fcd88954cccf404ea1aa2a075d533916de39720ebb1eaeb854d104e73a"
              "1406c7ff4ad6beed519efda7f74013ae060269ba43ed1a294c9c44cff50595ad1324"},
             {"79656c6c6f777375626d6172696e65",
              "fd0638db68611323934a1dc1c26175ddc9abfbf887629ce59b4303156bcaa1"},
             {"7375626d6172696e6579656c6c6f77",
              "3d9c9f74481ef29d381234288ecb1d26afa997692fff8407cbf6da726a5725"},
         }},
};

static size_t unhex(const char *hex, uint8_t *out, size_t size)
{
    size_t len;
    assert_int_equal(sodium_hex2bin(out, size, hex, strlen(hex), NULL, &len, NULL), 0);
    return len;
}

static void start(struct noise *n, enum noise_role role, const char *prologue)
{
    uint8_t s[32], e[32], psk[32], p[64];
    unhex(role == NOISE_INITIATOR ? INITIATOR_STATIC : RESPONDER_STATIC, s, sizeof s);
    unhex(role == NOISE_INITIATOR ? INITIATOR_EPHEMERAL : RESPONDER_EPHEMERAL, e, sizeof e);
    unhex(PSK, psk, sizeof psk);
    size_t len = unhex(prologue, p, sizeof p);
    noise_init(n, role, s, psk, p, len);
    noise_fix_ephemeral(n, e);
}

static void published_vectors_come_out_at_both_ends(void **state)
{
    (void)state;
    for (size_t v = 0; v < sizeof VECTORS / sizeof *VECTORS; v++) {
        struct noise ends[2];
        start(&ends[0], NOISE_INITIATOR, VECTORS[v].prologue);
        start(&ends[1], NOISE_RESPONDER, VECTORS[v].prologue);
        for (unsigned i = 0; i < 5; i++) {
            const unsigned writer =
                i < 3 ? i % 2 : i - 3; /* in these the initiator also speaks first after */
            struct noise *from = &ends[writer], *to = &ends[1 - writer];
            uint8_t payload[64], expected[256], sealed[256], opened[64];
            size_t payload_len = unhex(VECTORS[v].message[i].payload, payload, sizeof payload);
            size_t expected_len = unhex(VECTORS[v].message[i].sealed, expected, sizeof expected);
            size_t len = payload_len + NOISE_TAG_SIZE, opened_len = payload_len;
            if (i < 3) {
                assert_true(noise_writes_next(from) && !noise_writes_next(to));
                assert_int_equal(
                    noise_write(from, payload, payload_len, sealed, sizeof sealed, &len), ERR_OK);
                assert_int_equal(
                    noise_read(to, expected, expected_len, opened, sizeof opened, &opened_len),
                    ERR_OK);
            } else {
                assert_true(noise_done(from) && noise_done(to));
                assert_int_equal(noise_seal(from, payload, payload_len, sealed), ERR_OK);
                assert_int_equal(noise_open(to, expected, expected_len, opened), ERR_OK);
            }
            assert_int_equal(len, expected_len);
            assert_memory_equal(sealed, expected, len);
            assert_int_equal(opened_len, payload_len);
            assert_memory_equal(opened, payload, payload_len);
        }
        noise_release(&ends[0]);
        noise_release(&ends[1]);
    }
}

/* ---- Sessions of our own --------------------------------------------------------------------- */

struct pair {
    struct noise a, b;
    uint8_t message[256];
    size_t len;
    uint8_t payload[256];
    size_t payload_len;
};

static const uint8_t KEY_A[32] = {1, 2, 3}, KEY_B[32] = {4, 5, 6}, KEY_MESH[32] = {7, 8, 9};

static void pair_init(struct pair *p)
{
    noise_init(&p->a, NOISE_INITIATOR, KEY_A, KEY_MESH, "hello", 5);
    noise_init(&p->b, NOISE_RESPONDER, KEY_B, KEY_MESH, "hello", 5);
}

static struct noise *writer(struct pair *p, unsigned step)
{
    return step % 2 == 0 ? &p->a : &p->b;
}

static struct noise *reader(struct pair *p, unsigned step)
{
    return step % 2 == 0 ? &p->b : &p->a;
}

static void write_step(struct pair *p, unsigned step)
{
    assert_int_equal(
        noise_write(writer(p, step), "payload", 7, p->message, sizeof p->message, &p->len), ERR_OK);
}

static enum err read_step(struct pair *p, unsigned step)
{
    return noise_read(reader(p, step), p->message, p->len, p->payload, sizeof p->payload,
                      &p->payload_len);
}

static void steps(struct pair *p, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        write_step(p, i);
        assert_int_equal(read_step(p, i), ERR_OK);
    }
}

static void assert_dead(struct noise *n)
{
    uint8_t out[256];
    size_t len;
    assert_false(noise_writes_next(n));
    assert_false(noise_done(n));
    assert_int_equal(noise_write(n, NULL, 0, out, sizeof out, &len), ERR_CLOSED);
    assert_int_equal(noise_read(n, out, 200, out, sizeof out, &len), ERR_CLOSED);
    assert_int_equal(noise_seal(n, "x", 1, out), ERR_CLOSED);
    assert_int_equal(noise_open(n, out, 17, out), ERR_CLOSED);
    assert_true(sodium_is_zero(n->ck, sizeof n->ck));
    assert_true(sodium_is_zero(n->psk, sizeof n->psk));
    assert_true(sodium_is_zero(n->s_secret, sizeof n->s_secret));
    assert_true(sodium_is_zero(n->e_secret, sizeof n->e_secret));
    assert_true(sodium_is_zero((const uint8_t *)&n->out, sizeof n->out));
    assert_true(sodium_is_zero((const uint8_t *)&n->in, sizeof n->in));
}

static void both_ends_learn_the_other_s_key_and_one_transcript(void **state)
{
    (void)state;
    struct pair p, q;
    uint8_t a[32], b[32];
    crypto_scalarmult_curve25519_base(a, KEY_A);
    crypto_scalarmult_curve25519_base(b, KEY_B);
    pair_init(&p);
    pair_init(&q);
    steps(&p, 2);
    assert_memory_equal(noise_remote_static(&p.a), b, 32);
    assert_false(noise_done(&p.a));
    write_step(&p, 2);
    assert_true(noise_done(&p.a) && !noise_done(&p.b));
    assert_int_equal(read_step(&p, 2), ERR_OK);
    assert_true(noise_done(&p.b));
    assert_memory_equal(noise_remote_static(&p.b), a, 32);
    assert_memory_equal(noise_handshake_hash(&p.a), noise_handshake_hash(&p.b), NOISE_HASH_SIZE);
    steps(&q, 3);
    assert_memory_not_equal(noise_handshake_hash(&p.a), noise_handshake_hash(&q.a),
                            NOISE_HASH_SIZE);
    assert_int_equal(p.payload_len, 7);
    assert_memory_equal(p.payload, "payload", 7);
}

static void secrets_are_wiped_when_the_handshake_is_over(void **state)
{
    (void)state;
    struct pair p;
    pair_init(&p);
    steps(&p, 3);
    assert_true(sodium_is_zero(p.a.ck, sizeof p.a.ck));
    assert_true(sodium_is_zero(p.a.psk, sizeof p.a.psk));
    assert_true(sodium_is_zero(p.a.s_secret, sizeof p.a.s_secret));
    assert_true(sodium_is_zero(p.b.e_secret, sizeof p.b.e_secret));
    noise_release(&p.a);
    assert_dead(&p.a);
}

static void any_flipped_bit_of_a_handshake_message_ends_it(void **state)
{
    (void)state;
    static const size_t overheads[] = {NOISE_OVERHEAD_1, NOISE_OVERHEAD_2, NOISE_OVERHEAD_3};
    for (unsigned step = 0; step < 3; step++) {
        for (size_t i = 0; i < overheads[step] + 7; i++) {
            struct pair p;
            pair_init(&p);
            steps(&p, step);
            write_step(&p, step);
            assert_int_equal(p.len, overheads[step] + 7);
            p.message[i] ^=
                (uint8_t)(1u << (i % 7)); /* X25519 ignores its highest bit; the hash doesn't */
            assert_int_equal(read_step(&p, step), ERR_AUTH);
            assert_dead(reader(&p, step));
        }
    }
}

static void a_truncated_handshake_message_ends_it(void **state)
{
    (void)state;
    for (unsigned step = 0; step < 3; step++) {
        for (size_t cut = 1;; cut++) {
            struct pair p;
            pair_init(&p);
            steps(&p, step);
            write_step(&p, step);
            if (cut > p.len)
                break;
            p.len -= cut;
            assert_int_equal(read_step(&p, step), cut <= 7 ? ERR_AUTH : ERR_TRUNCATED);
            assert_dead(reader(&p, step));
        }
    }
}

static void a_payload_without_room_is_too_large(void **state)
{
    (void)state;
    struct pair p;
    pair_init(&p);
    assert_int_equal(noise_write(&p.a, "payload", 7, p.message, NOISE_OVERHEAD_1 + 6, &p.len),
                     ERR_TOO_LARGE);
    assert_int_equal(noise_write(&p.a, "", 0, p.message, NOISE_OVERHEAD_1 - 1, &p.len),
                     ERR_TOO_LARGE);
    assert_int_equal(noise_write(&p.a, "payload", NOISE_MESSAGE_MAX - NOISE_OVERHEAD_1 + 1,
                                 p.message, SIZE_MAX, &p.len),
                     ERR_TOO_LARGE);
    write_step(&p, 0); /* nothing had changed */
    assert_int_equal(noise_read(&p.b, p.message, p.len, p.payload, 6, &p.payload_len),
                     ERR_TOO_LARGE);
    assert_dead(&p.b);
}

static void another_psk_prologue_or_order_is_refused(void **state)
{
    (void)state;
    struct pair p, q;
    pair_init(&p);
    noise_init(&p.b, NOISE_RESPONDER, KEY_B, KEY_A, "hello", 5);
    write_step(&p, 0);
    assert_int_equal(read_step(&p, 0), ERR_AUTH);
    assert_dead(&p.b);

    pair_init(&p);
    noise_init(&p.b, NOISE_RESPONDER, KEY_B, KEY_MESH, "hellp", 5);
    write_step(&p, 0);
    assert_int_equal(read_step(&p, 0), ERR_AUTH);

    pair_init(&p); /* the first message in place of the third */
    steps(&p, 2);
    pair_init(&q);
    write_step(&q, 0);
    memcpy(p.message, q.message, q.len);
    p.len = q.len;
    assert_int_equal(read_step(&p, 2), ERR_TRUNCATED);

    pair_init(&p); /* another session's third message */
    pair_init(&q);
    steps(&p, 2);
    steps(&q, 2);
    write_step(&q, 2);
    memcpy(p.message, q.message, q.len);
    p.len = q.len;
    assert_int_equal(read_step(&p, 2), ERR_AUTH);
    assert_dead(&p.b);
}

/* With such a key the shared secret would be zeros, whatever ours is. */
static void a_key_of_low_order_is_refused(void **state)
{
    (void)state;
    struct pair p;
    pair_init(&p);
    memset(p.a.e_public, 0, sizeof p.a.e_public);
    steps(&p, 1);
    assert_int_equal(noise_write(&p.b, "", 0, p.message, sizeof p.message, &p.len), ERR_AUTH);
    assert_dead(&p.b);
}

static void transport_messages_open_once_and_in_order(void **state)
{
    (void)state;
    struct pair p;
    uint8_t first[32], second[32], out[32];
    pair_init(&p);
    steps(&p, 3);
    assert_int_equal(noise_seal(&p.a, "one", 3, first), ERR_OK);
    assert_int_equal(noise_seal(&p.a, "two", 3, second), ERR_OK);
    assert_int_equal(noise_open(&p.b, first, 3 + NOISE_TAG_SIZE, out), ERR_OK);
    assert_memory_equal(out, "one", 3);
    assert_int_equal(noise_seal(&p.b, "", 0, out), ERR_OK); /* the ways are independent */
    assert_int_equal(noise_open(&p.a, out, NOISE_TAG_SIZE, out), ERR_OK);
    struct noise replayed = p.b, skipped = p.b, reflected = p.a, shortened = p.b, cut = p.b;
    assert_int_equal(noise_open(&p.b, second, 3 + NOISE_TAG_SIZE, second), ERR_OK);
    assert_memory_equal(second, "two", 3);
    assert_int_equal(noise_open(&replayed, first, 3 + NOISE_TAG_SIZE, out), ERR_AUTH);
    assert_dead(&replayed);
    assert_int_equal(noise_seal(&p.a, "three", 5, second), ERR_OK);
    assert_int_equal(noise_open(&skipped, second, 5 + NOISE_TAG_SIZE, out), ERR_AUTH);
    assert_dead(&skipped);
    assert_int_equal(noise_open(&reflected, second, 5 + NOISE_TAG_SIZE, out), ERR_AUTH);
    assert_int_equal(noise_open(&shortened, second, 4 + NOISE_TAG_SIZE, out), ERR_AUTH);
    assert_int_equal(noise_open(&cut, second, NOISE_TAG_SIZE - 1, out), ERR_TRUNCATED);
    assert_dead(&cut);
}

static void a_message_of_the_greatest_size_is_sealed_in_place(void **state)
{
    (void)state;
    static uint8_t big[NOISE_MESSAGE_MAX];
    struct pair p;
    pair_init(&p);
    steps(&p, 3);
    memset(big, 'x', sizeof big);
    assert_int_equal(noise_seal(&p.a, big, sizeof big - NOISE_TAG_SIZE, big), ERR_OK);
    assert_int_equal(noise_open(&p.b, big, sizeof big, big), ERR_OK);
    for (size_t i = 0; i < sizeof big - NOISE_TAG_SIZE; i++)
        assert_int_equal(big[i], 'x');
}

static void a_counter_never_comes_round(void **state)
{
    (void)state;
    struct pair p;
    uint8_t out[32];
    pair_init(&p);
    steps(&p, 3);
    p.a.out.nonce = p.b.in.nonce = UINT64_MAX - 1;
    assert_int_equal(noise_seal(&p.a, "x", 1, out), ERR_OK);
    assert_int_equal(noise_open(&p.b, out, 1 + NOISE_TAG_SIZE, out), ERR_OK);
    assert_int_equal(noise_seal(&p.a, "x", 1, out), ERR_CLOSED);
    assert_int_equal(noise_open(&p.b, out, 1 + NOISE_TAG_SIZE, out), ERR_CLOSED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_vectors_come_out_at_both_ends),
        cmocka_unit_test(both_ends_learn_the_other_s_key_and_one_transcript),
        cmocka_unit_test(secrets_are_wiped_when_the_handshake_is_over),
        cmocka_unit_test(any_flipped_bit_of_a_handshake_message_ends_it),
        cmocka_unit_test(a_truncated_handshake_message_ends_it),
        cmocka_unit_test(a_payload_without_room_is_too_large),
        cmocka_unit_test(another_psk_prologue_or_order_is_refused),
        cmocka_unit_test(a_key_of_low_order_is_refused),
        cmocka_unit_test(transport_messages_open_once_and_in_order),
        cmocka_unit_test(a_message_of_the_greatest_size_is_sealed_in_place),
        cmocka_unit_test(a_counter_never_comes_round),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
