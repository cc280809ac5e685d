/* The control protocol's bytes. */
#include "tests/unit/control_samples.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static uint8_t buffer[CONTROL_HEAD + CONTROL_FRAME_MAX];

static size_t encode(const struct control_message *m)
{
    struct pack k;
    size_t len;
    pack_init(&k, buffer, sizeof buffer);
    assert_int_equal(control_encode(m, &k), ERR_OK);
    assert_int_equal(control_length(buffer, &len), ERR_OK);
    assert_int_equal(len, k.len - CONTROL_HEAD);
    return k.len;
}

static void samples_come_back_as_they_went(void **state)
{
    (void)state;
    for (int i = 0; i < CONTROL_SAMPLES; i++) {
        struct control_message m = control_sample(i), out;
        uint8_t first[4096];
        size_t len = encode(&m);
        memcpy(first, buffer, len);
        assert_int_equal(control_decode(first + CONTROL_HEAD, len - CONTROL_HEAD, &out), ERR_OK);
        assert_int_equal(out.type, m.type);
        assert_int_equal(encode(&out), len);
        assert_memory_equal(buffer, first, len);
    }
}

static void fields_are_where_they_belong(void **state)
{
    (void)state;
    for (int i = 0; i < CONTROL_SAMPLES; i++) {
        struct control_message m = control_sample(i), out;
        size_t len = encode(&m);
        assert_int_equal(control_decode(buffer + CONTROL_HEAD, len - CONTROL_HEAD, &out), ERR_OK);
        if (m.type == CONTROL_MEMBER)
            assert_memory_equal(&out.member, &m.member, sizeof m.member);
        if (m.type == CONTROL_UNIT)
            assert_memory_equal(&out.unit, &m.unit, sizeof m.unit);
        if (m.type == CONTROL_COMMAND)
            assert_memory_equal(&out.command, &m.command, sizeof m.command);
        if (m.type == CONTROL_END)
            assert_memory_equal(&out.end, &m.end, sizeof m.end);
    }
}

static void what_is_cut_short_is_refused(void **state)
{
    (void)state;
    for (int i = 0; i < CONTROL_SAMPLES; i++) {
        struct control_message m = control_sample(i), out;
        size_t len = encode(&m) - CONTROL_HEAD;
        for (size_t n = 0; n < len; n++) {
            uint8_t *exact = malloc(n + 1); /* so that a sanitizer sees the first byte too many */
            assert_non_null(exact);
            memcpy(exact, buffer + CONTROL_HEAD, n);
            assert_int_not_equal(control_decode(exact, n, &out), ERR_OK);
            free(exact);
        }
        buffer[CONTROL_HEAD + len] = 0;
        assert_int_not_equal(control_decode(buffer + CONTROL_HEAD, len + 1, &out), ERR_OK);
    }
}

static void no_flipped_bit_does_harm(void **state)
{
    (void)state;
    for (int i = 0; i < CONTROL_SAMPLES; i++) {
        struct control_message m = control_sample(i), out;
        size_t len = encode(&m) - CONTROL_HEAD;
        for (size_t bit = 0; bit < len * 8; bit++) {
            buffer[CONTROL_HEAD + bit / 8] ^= (uint8_t)(1u << bit % 8);
            (void)!control_decode(buffer + CONTROL_HEAD, len, &out);
            buffer[CONTROL_HEAD + bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
        assert_int_equal(control_decode(buffer + CONTROL_HEAD, len, &out), ERR_OK);
    }
}

static void fields_of_a_newer_writer_are_skipped(void **state)
{
    (void)state;
    const struct control_message m = control_sample(CONTROL_EVENTS - 1);
    struct control_message out;
    uint8_t longer[256];
    size_t len = encode(&m) - CONTROL_HEAD;
    memcpy(longer, buffer + CONTROL_HEAD, len);
    longer[0]++; /* a fixarray of one more */
    memcpy(longer + len, "\xa3new", 4);
    assert_int_equal(control_decode(longer, len + 4, &out), ERR_OK);
    assert_int_equal(out.events.count, 20);
}

static void another_version_or_type_is_told_apart(void **state)
{
    (void)state;
    struct control_message out;
    assert_int_equal(control_decode("\x92\x01\x01", 3, &out), ERR_OK);
    assert_int_equal(control_decode("\x92\x02\x01", 3, &out), ERR_UNSUPPORTED);
    assert_int_equal(control_decode("\x92\x01\x12", 3, &out), ERR_UNSUPPORTED);
    assert_int_equal(control_decode("\x92\x01\x00", 3, &out), ERR_UNSUPPORTED);
    assert_int_equal(control_decode("\x92\x01\x3f", 3, &out), ERR_UNSUPPORTED);
    assert_int_equal(control_decode("\x92\x01\x4c", 3, &out), ERR_UNSUPPORTED);
    assert_int_equal(control_decode("\x92\x01\x04", 3, &out), ERR_INVALID); /* a field is missing */
    assert_int_equal(control_decode("\x90", 1, &out), ERR_INVALID);
    assert_int_equal(control_decode("", 0, &out), ERR_TRUNCATED);
}

static void lengths_are_bounded(void **state)
{
    (void)state;
    size_t len;
    assert_int_equal(control_length((const uint8_t *)"\0\0\0\1", &len), ERR_OK);
    assert_int_equal(len, 1);
    assert_int_equal(control_length((const uint8_t *)"\0\3\0\0", &len), ERR_OK);
    assert_int_equal(len, CONTROL_FRAME_MAX);
    assert_int_equal(control_length((const uint8_t *)"\0\3\0\1", &len), ERR_TOO_LARGE);
    assert_int_equal(control_length((const uint8_t *)"\xff\xff\xff\xff", &len), ERR_TOO_LARGE);
    assert_int_equal(control_length((const uint8_t *)"\0\0\0\0", &len), ERR_TOO_LARGE);
}

static void a_frame_that_does_not_fit_leaves_the_pack_as_it_was(void **state)
{
    (void)state;
    const struct control_message end = control_end(ERR_OK, "ok");
    uint8_t small[64];
    struct pack k;
    pack_init(&k, small, sizeof small);
    assert_int_equal(control_encode(&end, &k), ERR_OK);
    size_t before = k.len;
    struct control_message chunk = {.type = CONTROL_CHUNK,
                                    .chunk = {.bytes = {.p = buffer, .len = IMAGE_CHUNK}}};
    assert_int_equal(control_encode(&chunk, &k), ERR_TOO_LARGE);
    assert_int_equal(k.len, before);
    assert_int_equal(pack_end(&k), ERR_OK);
}

/* The longest of each kind fit. */
static void the_longest_messages_fit_a_frame(void **state)
{
    (void)state;
    uint8_t *bytes = calloc(1, IMAGE_LIST_BYTES_MAX);
    assert_non_null(bytes);
    struct control_message m = {.type = CONTROL_IMAGE_PUT}, out;
    m.image_put.list = (struct slice){.p = bytes, .len = IMAGE_LIST_BYTES_MAX};
    size_t len = encode(&m);
    assert_int_equal(control_decode(buffer + CONTROL_HEAD, len - CONTROL_HEAD, &out), ERR_OK);
    assert_int_equal(out.image_put.list.len, IMAGE_LIST_BYTES_MAX);
    m = (struct control_message){.type = CONTROL_OUTPUT};
    m.output.bytes = (struct slice){.p = bytes, .len = CONTROL_OUTPUT_MAX};
    len = encode(&m);
    assert_int_equal(control_decode(buffer + CONTROL_HEAD, len - CONTROL_HEAD, &out), ERR_OK);
    free(bytes);
}

static void texts_that_are_no_text_are_mended(void **state)
{
    (void)state;
    struct control_message m = control_end(ERR_OK, "a\nb\xff%s", "\xc3"),
                           out; /* cut in a character */
    size_t len = encode(&m);
    assert_int_equal(control_decode(buffer + CONTROL_HEAD, len - CONTROL_HEAD, &out), ERR_OK);
    assert_string_equal(out.end.text, "a?b??");
    m = control_end(ERR_OK, "%s", "naïve … 🐝");
    len = encode(&m);
    assert_int_equal(control_decode(buffer + CONTROL_HEAD, len - CONTROL_HEAD, &out), ERR_OK);
    assert_string_equal(out.end.text, "naïve … 🐝");
}

static void golden(int sample, const char *hex)
{
    const struct control_message m = control_sample(sample);
    size_t len = encode(&m);
    char text[2048];
    for (size_t i = 0; i < len; i++)
        snprintf(text + 2 * i, 3, "%02x", buffer[i]);
    assert_string_equal(text, hex);
}

/* The bytes of version 1, as they are for good. */
static void bytes_stay_as_they_are(void **state)
{
    (void)state;
    golden(CONTROL_HELLO - 1, "00000003920101");
    golden(CONTROL_LOGS - 1, "0000000e96010ba377656201ceffffffffc3");
    golden(CONTROL_COMMAND - 1,
           "000000359b010706a377656203"
           "02a3626565"
           "c420404142434445464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e5f"
           "01cd2328c3");
    golden(CONTROL_VOLUME_ASK - 1, "0000002299010f0307c410101112131415161718191a1b1c1d1e1f0109a773746f72616765c3");
    golden(CONTROL_TOP + CONTROL_VOLUME - CONTROL_ABOUT,
           "000000329d014a07a3616e74c410101112131415161718191a1b1c1d1e1f"
           "0109a3776562a773746f72616765ce00100000cd1000c303");
    golden(CONTROL_TOP + CONTROL_END - CONTROL_ABOUT,
           "0000003f96014819d926776562206465706c6f7965642c2062757420"
           "31206f662033206e6f646573206b656570206974c410101112131415161718191a1b1c1d1e1f03");
    golden(
        CONTROL_TOP + CONTROL_UNIT - CONTROL_ABOUT,
        "0000004ddc00150143c410101112131415161718191a1b1c1d1e1fa37765620207a3616e74c3060901030304"
        "ff0bcf0000018bcfe56800cd126730b465786974"
        "20313b20616761696e20696e2032207390");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(samples_come_back_as_they_went),
        cmocka_unit_test(fields_are_where_they_belong),
        cmocka_unit_test(what_is_cut_short_is_refused),
        cmocka_unit_test(no_flipped_bit_does_harm),
        cmocka_unit_test(fields_of_a_newer_writer_are_skipped),
        cmocka_unit_test(another_version_or_type_is_told_apart),
        cmocka_unit_test(lengths_are_bounded),
        cmocka_unit_test(a_frame_that_does_not_fit_leaves_the_pack_as_it_was),
        cmocka_unit_test(the_longest_messages_fit_a_frame),
        cmocka_unit_test(texts_that_are_no_text_are_mended),
        cmocka_unit_test(bytes_stay_as_they_are),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
