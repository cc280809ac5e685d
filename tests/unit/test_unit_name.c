#include "node/runtime/unit_name.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void a_name_is_written_and_read(void **state)
{
    (void)state;
    const struct unit_id u = {.app = {.b = {0xab, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 0xff}},
                              .slot = 65535, .epoch = UINT64_C(0x8000000000000001)};
    struct unit_id out;
    char name[UNIT_NAME_SIZE];
    unit_name(&u, name);
    assert_string_equal(name, "ab0102030405060708090a0b0c0d0eff.65535.8000000000000001");
    assert_int_equal(strlen(name), UNIT_NAME_SIZE - 1);
    assert_int_equal(unit_name_parse(name, &out), ERR_OK);
    assert_true(uid_equal(&out.app, &u.app));
    assert_int_equal(out.slot, u.slot);
    assert_int_equal(out.epoch, u.epoch);
}

static void only_what_is_written_is_read(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "", ".", "..", "owner", "ab0102030405060708090a0b0c0d0eff", "ab0102030405060708090a0b0c0d0eff.1",
        "ab0102030405060708090a0b0c0d0eff.01.0000000000000001",   /* a leading zero */
        "ab0102030405060708090a0b0c0d0eff.1.1",                   /* short */
        "ab0102030405060708090a0b0c0d0eff.1.000000000000000A",    /* upper case */
        "ab0102030405060708090a0b0c0d0eff.65536.0000000000000001", /* no slot */
        "ab0102030405060708090a0b0c0d0eff.-1.0000000000000001",
        "ab0102030405060708090a0b0c0d0eff.1.0000000000000001x",
        "ab0102030405060708090a0b0c0d0eff.1.0000000000000001/..",
        "ab0102030405060708090a0b0c0d0ef.1.0000000000000001",
        " ab0102030405060708090a0b0c0d0ef.1.0000000000000001",
        "ab0102030405060708090a0b0c0d0eff. 1.0000000000000001",
        "ab0102030405060708090a0b0c0d0eff.1.0x00000000000001"};
    struct unit_id out;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        assert_int_equal(unit_name_parse(wrong[i], &out), ERR_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_name_is_written_and_read),
        cmocka_unit_test(only_what_is_written_is_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
