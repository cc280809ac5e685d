/* store/base: errors, memory, chance, packing, names; and the targets of store/model. */
#include "store/base/cursor.h"
#include "store/base/err.h"
#include "store/base/id.h"
#include "store/base/mem.h"
#include "store/base/pack.h"
#include "store/base/rng.h"
#include "store/model/target.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* ---- Errors -------------------------------------------------------------------------------------- */

static void an_error_has_a_name_and_a_text(void **state)
{
    (void)state;
    assert_string_equal(err_text(ERR_OK), "ok");
    assert_string_equal(err_name(ERR_STALE), "STALE");
    assert_string_equal(err_text(ERR_PARTIAL), "done in part");
}

/* Numbers are on the wire: a change here is a change of the protocol. */
static void an_errors_number_is_fixed(void **state)
{
    (void)state;
    assert_int_equal(ERR_OK, 0);
    assert_int_equal(ERR_INVALID, 3);
    assert_int_equal(ERR_CLOCK, 13);
    assert_int_equal(ERR_CORRUPT, 20);
    assert_int_equal(ERR_PARTIAL, 25);
}

static void a_newer_peers_error_still_has_a_text(void **state)
{
    (void)state;
    assert_string_equal(err_text((enum err)250), "unknown error");
    assert_string_equal(err_name((enum err)250), "UNKNOWN");
}

/* ---- Memory -------------------------------------------------------------------------------------- */

static void memory_is_zeroed_counted_and_given_back(void **state)
{
    (void)state;
    struct mem m;
    mem_init(&m, 0);
    uint8_t *p = mem_alloc(&m, 100);
    assert_non_null(p);
    for (int i = 0; i < 100; i++)
        assert_int_equal(p[i], 0);
    assert_true(m.used_bytes >= 100);
    assert_int_equal((uintptr_t)p % _Alignof(max_align_t), 0);
    mem_free(&m, p);
    mem_free(&m, NULL);
    assert_int_equal(m.used_bytes, 0);
    assert_true(m.peak_bytes >= 100);
}

static void a_budget_is_not_exceeded(void **state)
{
    (void)state;
    struct mem m;
    mem_init(&m, 1000);
    void *p = mem_alloc(&m, 600);
    assert_non_null(p);
    assert_null(mem_alloc(&m, 600));
    assert_null(mem_grow(&m, p, 2000));
    assert_null(mem_alloc(&m, SIZE_MAX));
    assert_null(mem_alloc(&m, SIZE_MAX - 8));
    assert_int_equal(m.failed, 4);
    assert_true(m.used_bytes <= 1000);
    mem_free(&m, p);
    p = mem_alloc(&m, 900);
    assert_non_null(p);
    mem_free(&m, p);
}

static void the_nth_allocation_fails_on_request(void **state)
{
    (void)state;
    struct mem m;
    mem_init(&m, 0);
    m.fail_at = 2;
    void *a = mem_alloc(&m, 8);
    assert_non_null(a);
    assert_null(mem_grow(&m, a, 16));
    void *b = mem_copy(&m, "abc", 4);
    assert_string_equal(b, "abc");
    assert_int_equal(m.failed, 1);
    mem_free(&m, a);
    mem_free(&m, b);
    assert_int_equal(m.used_bytes, 0);
}

static void growing_keeps_what_was_there(void **state)
{
    (void)state;
    struct mem m;
    mem_init(&m, 4096);
    char *p = mem_grow(&m, NULL, 4);
    assert_non_null(p);
    memcpy(p, "abc", 4);
    p = mem_grow(&m, p, 2000);
    assert_non_null(p);
    assert_string_equal(p, "abc");
    size_t large = m.used_bytes;
    p = mem_grow(&m, p, 4);
    assert_non_null(p);
    assert_string_equal(p, "abc");
    assert_true(m.used_bytes < large);
    mem_free(&m, p);
    assert_int_equal(m.used_bytes, 0);
}

/* ---- Chance -------------------------------------------------------------------------------------- */

/* xoshiro256** from state {1, 2, 3, 4}: the first outputs of the published algorithm, worked out by hand:
 * rotl(2 * 5, 7) * 9 = 11520, and so on. */
static void the_generator_is_xoshiro256(void **state)
{
    (void)state;
    struct rng r = {.s = {1, 2, 3, 4}};
    assert_true(rng_u64(&r) == 11520);
    assert_true(rng_u64(&r) == 0);
    assert_true(rng_u64(&r) == 1509978240);
    assert_true(rng_u64(&r) == UINT64_C(1215971899390074240));
}

static void one_seed_gives_one_stream(void **state)
{
    (void)state;
    struct rng a, b, c;
    rng_init(&a, 42);
    rng_init(&b, 42);
    rng_init(&c, 43);
    int same = 0;
    for (int i = 0; i < 100; i++) {
        uint64_t x = rng_u64(&a);
        assert_true(x == rng_u64(&b));
        same += x == rng_u64(&c);
    }
    assert_int_equal(same, 0);
}

static void a_fork_leaves_its_root_and_differs_by_purpose(void **state)
{
    (void)state;
    struct rng root, before, a, again, b;
    rng_init(&root, 7);
    before = root;
    rng_fork(&a, &root, "swim.probe");
    rng_fork(&again, &root, "swim.probe");
    rng_fork(&b, &root, "swim.gossip");
    assert_memory_equal(&root, &before, sizeof root);
    assert_memory_equal(&a, &again, sizeof a);
    assert_true(rng_u64(&a) != rng_u64(&b));
}

static void numbers_stay_in_range_and_reach_its_ends(void **state)
{
    (void)state;
    struct rng r;
    unsigned seen[10] = {0};
    rng_init(&r, 1);
    for (int i = 0; i < 10000; i++) {
        uint64_t x = rng_between(&r, 5, 14);
        assert_true(x >= 5 && x <= 14);
        seen[x - 5]++;
    }
    for (int i = 0; i < 10; i++)
        assert_in_range(seen[i], 850, 1150);
    assert_int_equal(rng_below(&r, 1), 0);
    assert_int_equal(rng_between(&r, 9, 9), 9);
    (void)rng_between(&r, 0, UINT64_MAX);
}

/* ---- Packing ------------------------------------------------------------------------------------- */

static void packing_beyond_the_buffer_fails_and_stays_failed(void **state)
{
    (void)state;
    uint8_t buffer[4 + 1] = {0, 0, 0, 0, 0xee};
    struct pack k;
    pack_init(&k, buffer, 4);
    pack_uint(&k, 70000); /* five bytes */
    assert_int_equal(pack_end(&k), ERR_TOO_LARGE);
    pack_uint(&k, 1);
    assert_int_equal(pack_end(&k), ERR_TOO_LARGE);
    assert_true(k.len <= 4);
    assert_int_equal(buffer[4], 0xee);
}

static void packing_to_the_last_byte_fits(void **state)
{
    (void)state;
    static const uint8_t expected[] = {0x92, 0xc4, 0x02, 'h', 'i', 0xa1, 'x', 0xc3, 0xd0, 0xdf};
    uint8_t buffer[sizeof expected];
    struct pack k;
    pack_init(&k, buffer, sizeof buffer);
    pack_array(&k, 2);
    pack_bin(&k, "hi", 2);
    pack_str(&k, "x");
    pack_bool(&k, true);
    pack_int(&k, -33);
    assert_int_equal(pack_end(&k), ERR_OK);
    assert_int_equal(k.len, sizeof expected);
    assert_memory_equal(buffer, expected, sizeof expected);
}

/* ---- Names --------------------------------------------------------------------------------------- */

static void ids_are_written_and_read_back(void **state)
{
    (void)state;
    char node[NODE_ID_TEXT], uid[UID_TEXT], hash[HASH_TEXT];
    struct uid u = {.b = {0x01, 0xab, [15] = 0xff}}, u2;
    struct hash h = {.b = {[0] = 0x80, [31] = 0x01}}, h2;
    node_id id;
    node_id_text(UINT64_C(0x0123456789abcdef), node);
    assert_string_equal(node, "0123456789abcdef");
    assert_int_equal(node_id_parse("0123456789ABCDEF", &id), ERR_OK);
    assert_true(id == UINT64_C(0x0123456789abcdef));
    uid_text(&u, uid);
    assert_string_equal(uid, "01ab00000000000000000000000000ff");
    assert_int_equal(uid_parse(uid, &u2), ERR_OK);
    assert_true(uid_equal(&u, &u2));
    hash_text(&h, hash);
    assert_int_equal(hash_parse(hash, &h2), ERR_OK);
    assert_true(hash_equal(&h, &h2));
    assert_false(hash_is_zero(&h));
    assert_true(hash_is_zero(&(struct hash){0}));
}

static void what_is_not_an_id_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "", "0", "0123456789abcde", "0123456789abcdef0", "0123456789abcdeg", " 123456789abcdef",
        "0x23456789abcdef"};
    node_id id;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(node_id_parse(bad[i], &id), ERR_INVALID);
}

static void addresses_are_written_as_they_are_read(void **state)
{
    (void)state;
    static const char *const same[] = {
        "1.2.3.4:5",     "0.0.0.0:0",         "255.255.255.255:65535", "[::]:1",
        "[::1]:65535",   "[1::]:2",           "[2001:db8::1:0:0:1]:3", "[1:2:3:4:5:6:7:8]:9",
        "[fe80::1]:7700", "[1:0:2:0:3:0:4:0]:1", "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535"};
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        struct address a;
        char text[ADDRESS_TEXT];
        assert_int_equal(address_parse(same[i], &a), ERR_OK);
        address_text(&a, text);
        assert_string_equal(text, same[i]);
    }
    struct address a, b;
    assert_int_equal(address_parse("[::FFFF:102:304]:5", &a), ERR_OK);
    assert_int_equal(address_parse("1.2.3.4:5", &b), ERR_OK);
    assert_true(address_equal(&a, &b));
    assert_int_equal(address_parse("1.2.3.4:6", &b), ERR_OK);
    assert_false(address_equal(&a, &b));
}

static void what_is_not_an_address_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",          "1.2.3.4",    "1.2.3.4:",     "1.2.3:5",      "1.2.3.256:5",   "01.2.3.4:5",
        "1.2.3.4:65536", "1.2.3.4:5x", "1.2.3.4.5:6", "host:5",     "::1:5",         "[::1]",
        "[::1]:", "[::1:5", "[]:5", "[1]:5", "[1:2:3:4::5:6:7:8]:9", "[1::2::3]:5", "[12345::]:5",
        "[1:2:3:4:5:6:7:8:9]:5", "[1:2:3:4:5:6:7::8]:5x", "[1:]:5", "[:1]:5", "[:::]:5", "[::1]:00"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct address a;
        if (address_parse(bad[i], &a) != ERR_INVALID)
            fail_msg("%s was taken for an address", bad[i]);
    }
}

static void names_are_as_a_host_name_would_be(void **state)
{
    (void)state;
    char longest[NAME_MAX_LEN + 2];
    memset(longest, 'a', sizeof longest);
    longest[NAME_MAX_LEN] = '\0';
    assert_true(name_valid("a"));
    assert_true(name_valid("0web-1.example"));
    assert_true(name_valid(longest));
    longest[NAME_MAX_LEN] = 'a';
    longest[NAME_MAX_LEN + 1] = '\0';
    assert_false(name_valid(longest));
    static const char *const bad[] = {"", "-a", "a-", ".a", "a.", "A", "a_b", "a b", "a/b", "\xc3\xa9"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(name_valid(bad[i]));
}

static void targets_have_the_names_that_files_end_with(void **state)
{
    (void)state;
    enum target t;
    for (unsigned i = 1; i < TARGET_COUNT; i++) {
        assert_int_equal(target_parse(target_name((enum target)i), &t), ERR_OK);
        assert_int_equal(t, i);
    }
    assert_string_equal(target_name(TARGET_VIRTIO), "virtio");
    assert_string_equal(target_name(TARGET_NONE), "");
    assert_string_equal(target_name((enum target)9), "");
    assert_int_equal(target_parse("", &t), ERR_NOT_FOUND);
    assert_int_equal(target_parse("xen", &t), ERR_NOT_FOUND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_error_has_a_name_and_a_text),
        cmocka_unit_test(an_errors_number_is_fixed),
        cmocka_unit_test(a_newer_peers_error_still_has_a_text),
        cmocka_unit_test(memory_is_zeroed_counted_and_given_back),
        cmocka_unit_test(a_budget_is_not_exceeded),
        cmocka_unit_test(the_nth_allocation_fails_on_request),
        cmocka_unit_test(growing_keeps_what_was_there),
        cmocka_unit_test(the_generator_is_xoshiro256),
        cmocka_unit_test(one_seed_gives_one_stream),
        cmocka_unit_test(a_fork_leaves_its_root_and_differs_by_purpose),
        cmocka_unit_test(numbers_stay_in_range_and_reach_its_ends),
        cmocka_unit_test(packing_beyond_the_buffer_fails_and_stays_failed),
        cmocka_unit_test(packing_to_the_last_byte_fits),
        cmocka_unit_test(ids_are_written_and_read_back),
        cmocka_unit_test(what_is_not_an_id_is_refused),
        cmocka_unit_test(addresses_are_written_as_they_are_read),
        cmocka_unit_test(what_is_not_an_address_is_refused),
        cmocka_unit_test(names_are_as_a_host_name_would_be),
        cmocka_unit_test(targets_have_the_names_that_files_end_with),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
