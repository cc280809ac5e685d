/* The reader of untrusted bytes: held against msgpack-c on what msgpack-c wrote, and against lists of what it must
 * refuse. */
#include "store/base/cursor.h"
#include "store/base/pack.h"
#include "store/base/rng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <msgpack.h>

static struct cursor over(const void *p, size_t len)
{
    struct cursor c;
    cursor_init(&c, p, len);
    return c;
}

/* ---- Beside msgpack-c ----------------------------------------------------------------------------- */

static uint64_t any_width(struct rng *r)
{
    return rng_u64(r) >> rng_below(r, 64);
}

/* A random value of the kinds that we write; each array's children follow. */
static void write_value(struct rng *r, struct pack *k, unsigned depth)
{
    static const uint8_t zeros[70000];
    char text[600];
    switch (rng_below(r, depth < CURSOR_DEPTH_MAX ? 6 : 5)) {
    case 0:
        pack_uint(k, any_width(r));
        break;
    case 1:
        pack_int(k, -(int64_t)(any_width(r) >> 1) - 1);
        break;
    case 2:
        pack_bool(k, rng_below(r, 2) == 1);
        break;
    case 3:
        pack_bin(k, zeros, rng_below(r, 20) ? rng_below(r, 300) : rng_below(r, sizeof zeros));
        break;
    case 4:
        memset(text, 'a', sizeof text);
        text[rng_below(r, sizeof text)] = '\0';
        pack_str(k, text);
        break;
    default: {
        uint32_t count = (uint32_t)rng_below(r, depth == 0 ? 40 : 4);
        pack_array(k, count);
        for (uint32_t i = 0; i < count; i++)
            write_value(r, k, depth + 1);
    }
    }
}

/* Read with the cursor what msgpack-c says is there. */
static void read_value(struct cursor *c, const msgpack_object *o)
{
    struct slice s;
    switch ((int)o->type) {
    case MSGPACK_OBJECT_POSITIVE_INTEGER:
        assert_true(cursor_uint(c, UINT64_MAX) == o->via.u64);
        break;
    case MSGPACK_OBJECT_NEGATIVE_INTEGER:
        assert_true(cursor_int(c) == o->via.i64);
        break;
    case MSGPACK_OBJECT_BOOLEAN:
        assert_int_equal(cursor_bool(c), o->via.boolean);
        break;
    case MSGPACK_OBJECT_BIN:
        s = cursor_bin(c, SIZE_MAX);
        assert_int_equal(s.len, o->via.bin.size);
        assert_memory_equal(s.p, o->via.bin.ptr, s.len);
        break;
    case MSGPACK_OBJECT_STR:
        s = cursor_str(c, SIZE_MAX);
        assert_int_equal(s.len, o->via.str.size);
        assert_memory_equal(s.p, o->via.str.ptr, s.len);
        break;
    case MSGPACK_OBJECT_ARRAY:
        assert_int_equal(cursor_array(c, UINT32_MAX), o->via.array.size);
        for (uint32_t i = 0; i < o->via.array.size; i++)
            read_value(c, &o->via.array.ptr[i]);
        break;
    default:
        fail_msg("a type that is never written: %d", (int)o->type);
    }
    assert_int_equal(c->err, ERR_OK);
}

static void reads_what_msgpack_c_reads(void **state)
{
    (void)state;
    static uint8_t buffer[1 << 20];
    struct rng r;
    unsigned read = 0;
    rng_init(&r, 20);
    for (int i = 0; i < 1500; i++) {
        struct pack k;
        pack_init(&k, buffer, sizeof buffer);
        write_value(&r, &k, 0);
        if (pack_end(&k))
            continue;
        msgpack_unpacked u;
        size_t at = 0;
        msgpack_unpacked_init(&u);
        assert_int_equal(msgpack_unpack_next(&u, (const char *)buffer, k.len, &at),
                         MSGPACK_UNPACK_SUCCESS);
        struct cursor c = over(buffer, k.len), skip = c;
        read_value(&c, &u.data);
        assert_int_equal(cursor_end(&c), ERR_OK);
        cursor_skip(&skip);
        assert_int_equal(cursor_end(&skip), ERR_OK);
        msgpack_unpacked_destroy(&u);
        read++;
    }
    assert_true(read > 1400);
}

static void a_value_cut_anywhere_is_refused(void **state)
{
    (void)state;
    static uint8_t buffer[1 << 20];
    struct rng r;
    rng_init(&r, 21);
    for (int i = 0; i < 200; i++) {
        struct pack k;
        pack_init(&k, buffer, sizeof buffer);
        write_value(&r, &k, 0);
        for (size_t len = k.len > 400 ? k.len - 400 : 0; len < k.len && !k.err; len++) {
            struct cursor c = over(buffer, len);
            cursor_skip(&c);
            assert_int_not_equal(cursor_end(&c), ERR_OK);
        }
    }
}

/* ---- One value, one encoding ---------------------------------------------------------------------- */

#define BYTES(...) (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__})

struct bytes {
    const uint8_t *p;
    size_t len;
};

static void longer_forms_than_needed_are_refused(void **state)
{
    (void)state;
    static const uint8_t bin256[3 + 255] = {0xc5, 0x00, 0xff}, str31[2 + 31] = {0xd9, 31},
                         array15[3 + 15] = {0xdc, 0x00, 15};
    const struct bytes bad[] = {
        {BYTES(0xcc, 0x7f)},
        {BYTES(0xcd, 0x00, 0xff)},
        {BYTES(0xce, 0x00, 0x00, 0xff, 0xff)},
        {BYTES(0xcf, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff)},
        {BYTES(0xd0, 0x01)},
        {BYTES(0xd0, 0xe0)},
        {BYTES(0xd1, 0xff, 0x80)},
        {BYTES(0xd1, 0x01, 0x00)},
        {BYTES(0xd2, 0xff, 0xff, 0x80, 0x00)},
        {BYTES(0xd3, 0xff, 0xff, 0xff, 0xff, 0x80, 0, 0, 0)},
        {BYTES(0xd3, 0, 0, 0, 1, 0, 0, 0, 0)},
        {bin256, sizeof bin256},
        {BYTES(0xc6, 0, 0, 0, 0)},
        {str31, sizeof str31},
        {BYTES(0xda, 0, 0)},
        {BYTES(0xdb, 0, 0, 0, 0)},
        {array15, sizeof array15},
        {BYTES(0xdd, 0, 0, 0, 0)},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct cursor c = over(bad[i].p, bad[i].len);
        cursor_skip(&c);
        assert_int_equal(cursor_end(&c), ERR_INVALID);
    }
}

static void kinds_that_we_never_write_are_refused(void **state)
{
    (void)state;
    /* nil, reserved, floats, maps, extensions */
    static const uint8_t firsts[] = {0xc0, 0xc1, 0xc7, 0xc8, 0xc9, 0xca, 0xcb, 0xd4, 0xd5,
                                     0xd6, 0xd7, 0xd8, 0xde, 0xdf, 0x80, 0x8f};
    for (size_t i = 0; i < sizeof firsts; i++) {
        uint8_t b[40] = {firsts[i]};
        struct cursor c = over(b, sizeof b);
        cursor_skip(&c);
        assert_int_equal(c.err, ERR_INVALID);
    }
}

static void numbers_at_the_edges_are_read(void **state)
{
    (void)state;
    static const int64_t edges[] = {0,          -1,         -32,       -33,       INT8_MIN, INT8_MIN - 1,
                                    INT16_MIN,  INT16_MIN - 1, INT32_MIN, INT64_MIN, INT64_MAX,
                                    (int64_t)INT32_MIN - 1, 127, 128, 255, 256, 65535, 65536};
    for (size_t i = 0; i < sizeof edges / sizeof *edges; i++) {
        uint8_t b[9];
        struct pack k;
        pack_init(&k, b, sizeof b);
        pack_int(&k, edges[i]);
        struct cursor c = over(b, k.len);
        assert_true(cursor_int(&c) == edges[i]);
        assert_int_equal(cursor_end(&c), ERR_OK);
    }
    struct cursor c = over(BYTES(0xcf, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff));
    (void)cursor_int(&c); /* does not fit */
    assert_int_equal(c.err, ERR_INVALID);
    c = over(BYTES(0x0b));
    assert_int_equal(cursor_uint(&c, 10), 0);
    assert_int_equal(c.err, ERR_INVALID);
}

/* ---- Bounds --------------------------------------------------------------------------------------- */

static void a_count_beyond_the_bytes_left_is_refused(void **state)
{
    (void)state;
    struct cursor c = over(BYTES(0xdd, 0x10, 0, 0, 0));
    assert_int_equal(cursor_array(&c, UINT32_MAX), 0);
    assert_int_equal(c.err, ERR_TRUNCATED);
    c = over(BYTES(0x93, 1, 2)); /* by one */
    assert_int_equal(cursor_array(&c, UINT32_MAX), 0);
    assert_int_equal(c.err, ERR_TRUNCATED);
    c = over(BYTES(0xdd, 0xff, 0xff, 0xff, 0xff, 0x01));
    cursor_skip(&c);
    assert_int_not_equal(c.err, ERR_OK);
    c = over(BYTES(0xc6, 0xff, 0xff, 0xff, 0xff, 0x01));
    (void)cursor_bin(&c, SIZE_MAX);
    assert_int_equal(c.err, ERR_TRUNCATED);
    c = over(BYTES(0x93, 1, 2, 3));
    assert_int_equal(cursor_array(&c, 2), 0);
    assert_int_equal(c.err, ERR_TOO_LARGE);
}

static void nesting_is_read_to_its_bound_and_no_deeper(void **state)
{
    (void)state;
    uint8_t b[CURSOR_DEPTH_MAX + 2];
    memset(b, 0x91, sizeof b);
    b[CURSOR_DEPTH_MAX] = 0x01;
    struct cursor c = over(b, CURSOR_DEPTH_MAX + 1);
    cursor_skip(&c);
    assert_int_equal(cursor_end(&c), ERR_OK);
    b[CURSOR_DEPTH_MAX] = 0x91;
    b[CURSOR_DEPTH_MAX + 1] = 0x01;
    c = over(b, CURSOR_DEPTH_MAX + 2);
    cursor_skip(&c);
    assert_int_equal(cursor_end(&c), ERR_INVALID);
}

static void the_first_failure_sticks_and_later_reads_give_zeros(void **state)
{
    (void)state;
    struct cursor c = over(BYTES(0xc3, 0x05, 0xa1, 'x'));
    char text[4] = "zzz";
    uint8_t fixed[2] = {1, 1};
    assert_int_equal(cursor_uint(&c, 9), 0);
    cursor_fail(&c, ERR_TOO_LARGE);
    assert_int_equal(cursor_uint(&c, 9), 0);
    assert_int_equal(cursor_int(&c), 0);
    assert_false(cursor_bool(&c));
    assert_int_equal(cursor_bin(&c, 9).len, 0);
    cursor_text(&c, text, sizeof text);
    assert_string_equal(text, "");
    cursor_fixed(&c, fixed, sizeof fixed);
    assert_int_equal(fixed[0] | fixed[1], 0);
    assert_int_equal(cursor_array(&c, 9), 0);
    assert_int_equal(cursor_array_from(&c, 0), 0);
    cursor_skip_n(&c, UINT32_MAX); /* and this ends at once */
    assert_int_equal(cursor_end(&c), ERR_INVALID);
}

static void bytes_left_over_are_refused(void **state)
{
    (void)state;
    struct cursor c = over(BYTES(0x01, 0x02));
    assert_int_equal(cursor_uint(&c, 9), 1);
    assert_int_equal(cursor_end(&c), ERR_INVALID);
    c = over(NULL, 0);
    assert_int_equal(cursor_end(&c), ERR_OK);
    cursor_skip(&c);
    assert_int_equal(cursor_end(&c), ERR_TRUNCATED);
}

static void a_grown_array_is_read_by_who_knows_less(void **state)
{
    (void)state;
    struct cursor c = over(BYTES(0x94, 0x01, 0x02, 0x92, 0xa1, 'n', 0x91, 0x03, 0xc2));
    uint32_t more = cursor_array_from(&c, 2);
    assert_int_equal(more, 2);
    assert_int_equal(cursor_uint(&c, 9), 1);
    assert_int_equal(cursor_uint(&c, 9), 2);
    cursor_skip_n(&c, more);
    assert_int_equal(cursor_end(&c), ERR_OK);
    c = over(BYTES(0x91, 0x01));
    assert_int_equal(cursor_array_from(&c, 2), 0);
    assert_int_equal(c.err, ERR_INVALID);
}

static void a_fixed_blob_has_its_exact_length(void **state)
{
    (void)state;
    uint8_t out[2];
    struct cursor c = over(BYTES(0xc4, 2, 7, 8));
    cursor_fixed(&c, out, 2);
    assert_int_equal(cursor_end(&c), ERR_OK);
    assert_int_equal(out[1], 8);
    c = over(BYTES(0xc4, 1, 7));
    cursor_fixed(&c, out, 2);
    assert_int_equal(c.err, ERR_INVALID);
    c = over(BYTES(0xc4, 3, 7, 8, 9));
    cursor_fixed(&c, out, 2);
    assert_int_equal(c.err, ERR_TOO_LARGE);
}

/* ---- Text ----------------------------------------------------------------------------------------- */

static enum err text_err(const char *s, size_t len)
{
    uint8_t b[40];
    assert_true(len < 32);
    b[0] = (uint8_t)(0xa0 | len);
    memcpy(b + 1, s, len);
    struct cursor c = over(b, len + 1);
    (void)cursor_str(&c, 32);
    return cursor_end(&c);
}

static void text_is_utf8_without_control_characters(void **state)
{
    (void)state;
#define TEXT(s) text_err(s, sizeof s - 1)
    assert_int_equal(TEXT(""), ERR_OK);
    assert_int_equal(TEXT("plain ~"), ERR_OK);
    assert_int_equal(TEXT("\xc2\xa0\xc3\xa9\xdf\xbf"), ERR_OK);
    assert_int_equal(TEXT("\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbf"), ERR_OK);
    assert_int_equal(TEXT("\xf0\x90\x80\x80\xf4\x8f\xbf\xbf"), ERR_OK);
    assert_int_equal(TEXT("a\0b"), ERR_INVALID);
    assert_int_equal(TEXT("\n"), ERR_INVALID);
    assert_int_equal(TEXT("\x1b[31m"), ERR_INVALID);
    assert_int_equal(TEXT("\x7f"), ERR_INVALID);
    assert_int_equal(TEXT("\xc2\x9b"), ERR_INVALID);         /* a control character above ASCII */
    assert_int_equal(TEXT("\x80"), ERR_INVALID);             /* a tail alone */
    assert_int_equal(TEXT("\xc3"), ERR_INVALID);             /* cut */
    assert_int_equal(TEXT("\xc3("), ERR_INVALID);
    assert_int_equal(TEXT("\xc1\xbf"), ERR_INVALID);         /* longer than needed */
    assert_int_equal(TEXT("\xe0\x9f\xbf"), ERR_INVALID);
    assert_int_equal(TEXT("\xf0\x8f\xbf\xbf"), ERR_INVALID);
    assert_int_equal(TEXT("\xed\xa0\x80"), ERR_INVALID);     /* a surrogate */
    assert_int_equal(TEXT("\xf4\x90\x80\x80"), ERR_INVALID); /* beyond Unicode */
    assert_int_equal(TEXT("\xff"), ERR_INVALID);
#undef TEXT
}

static void a_text_fits_with_its_nul_or_is_refused(void **state)
{
    (void)state;
    char out[4];
    struct cursor c = over(BYTES(0xa3, 'a', 'b', 'c'));
    cursor_text(&c, out, sizeof out);
    assert_int_equal(cursor_end(&c), ERR_OK);
    assert_string_equal(out, "abc");
    c = over(BYTES(0xa4, 'a', 'b', 'c', 'd'));
    cursor_text(&c, out, sizeof out);
    assert_int_equal(c.err, ERR_TOO_LARGE);
    assert_string_equal(out, "");
}

/* Any bytes at all: the cursor stays inside (the sanitizers watch) and comes to an end. */
static void noise_is_survived(void **state)
{
    (void)state;
    struct rng r;
    rng_init(&r, 22);
    for (int i = 0; i < 20000; i++) {
        uint8_t b[48];
        size_t len = rng_below(&r, sizeof b + 1);
        for (size_t j = 0; j < len; j++)
            b[j] = rng_below(&r, 3) ? (uint8_t)(0x90 + rng_below(&r, 0x60)) : (uint8_t)rng_u64(&r);
        struct cursor c = over(b, len);
        while (!c.err && c.left > 0) {
            size_t before = c.left;
            cursor_skip(&c);
            assert_true(c.left < before);
            assert_true(c.p >= b && c.p <= b + len);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_msgpack_c_reads),
        cmocka_unit_test(a_value_cut_anywhere_is_refused),
        cmocka_unit_test(longer_forms_than_needed_are_refused),
        cmocka_unit_test(kinds_that_we_never_write_are_refused),
        cmocka_unit_test(numbers_at_the_edges_are_read),
        cmocka_unit_test(a_count_beyond_the_bytes_left_is_refused),
        cmocka_unit_test(nesting_is_read_to_its_bound_and_no_deeper),
        cmocka_unit_test(the_first_failure_sticks_and_later_reads_give_zeros),
        cmocka_unit_test(bytes_left_over_are_refused),
        cmocka_unit_test(a_grown_array_is_read_by_who_knows_less),
        cmocka_unit_test(a_fixed_blob_has_its_exact_length),
        cmocka_unit_test(text_is_utf8_without_control_characters),
        cmocka_unit_test(a_text_fits_with_its_nul_or_is_refused),
        cmocka_unit_test(noise_is_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
