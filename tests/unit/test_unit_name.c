#include "node/runtime/unit_name.h"

#include "node/runtime/net.h"
#include "node/runtime/usage.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
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

static void what_a_run_takes_is_read(void **state)
{
    (void)state;
    static const char stat[] = "4711 (a ) (b) S 1 2 3 4 5 6 7 8 9 10 120 34 11 12 20 0 1 0 900";
    const struct unit_id run = {.app = {.b = {7}}, .slot = 1, .epoch = 3}, other = {.app = {.b = {8}}, .epoch = 3};
    struct usage u = {0};
    uint64_t ticks;
    char prefix[TAP_PREFIX + 1], name[UNIT_NAME_SIZE], tap[2][LINK_SIZE], text[1024];
    assert_true(usage_stat_parse(stat, sizeof stat - 1, &ticks));
    assert_int_equal(ticks, 154);
    assert_false(usage_stat_parse("4711 (a) S 1 2 3", 16, &ticks));
    assert_false(usage_stat_parse("", 0, &ticks));
    net_tap_prefix("/run/units", prefix);
    unit_name(&run, name);
    net_tap_name(prefix, name, 0, tap[0]);
    net_tap_name(prefix, name, 1, tap[1]);
    snprintf(text, sizeof text,
             "Inter-|   Receive\n face |bytes\n    lo:  1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n"
             "%s: 100 2 0 0 0 0 0 0 3000 40 0 0 0 0 0 0\n  %s:    5 1 0 0 0 0 0 0 60 7 0 0 0 0 0 0\n%s: 9\n",
             tap[0], tap[1], tap[0]);
    usage_net_parse(text, "/run/units", &run, &u);
    assert_int_equal(u.out_bytes, 105);
    assert_int_equal(u.out_packets, 3);
    assert_int_equal(u.in_bytes, 3060);
    assert_int_equal(u.in_packets, 47);
    u = (struct usage){0};
    usage_net_parse(text, "/run/units", &other, &u);
    assert_int_equal(u.in_bytes + u.out_bytes, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_name_is_written_and_read),
        cmocka_unit_test(only_what_is_written_is_read),
        cmocka_unit_test(what_a_run_takes_is_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
