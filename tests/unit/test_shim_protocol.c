/* node/runtime/shim_protocol: these bytes are between programs of different ages, and on disk: they never change. */
#include "node/runtime/shim_protocol.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void a_request_has_these_bytes(void **state)
{
    (void)state;
    static const uint8_t golden[SHIM_REQUEST_SIZE] = {1, 3, 0, 0, 0, 0, 0, 0, 8, 7, 6, 5, 4, 3, 2, 1};
    const struct shim_request r = {SHIM_DEADLINE, UINT64_C(0x0102030405060708)};
    struct shim_request out;
    uint8_t bytes[SHIM_REQUEST_SIZE];
    shim_request_encode(&r, bytes);
    assert_memory_equal(bytes, golden, sizeof golden);
    assert_true(shim_request_decode(golden, sizeof golden, &out));
    assert_int_equal(out.verb, r.verb);
    assert_int_equal(out.argument, r.argument);
    assert_int_equal(SHIM_ASK, 1);
    assert_int_equal(SHIM_STOP, 2);
    assert_int_equal(SHIM_KILL, 4);
}

static void a_status_has_these_bytes(void **state)
{
    (void)state;
    static const uint8_t golden[SHIM_STATUS_SIZE] = {
        1,    0,    0,    0,    3,    0,    0,    0,    0x39, 0x30, 0,    0,    0x38, 0x30, 0,    0,
        0xe8, 3,    0,    0,    0,    0,    0,    0,    0xd0, 7,    0,    0,    0,    0,    0,    0,
        0x4d, 0,    0,    0,    0,    0,    0,    0,    0xb0, 0xb1, 0xb2, 0xb3, 0xb4, 0xb5, 0xb6, 0xb7,
        0xb8, 0xb9, 0xba, 0xbb, 0xbc, 0xbd, 0xbe, 0xbf, 0x17, 0x4f, 0xec, 0x77, 0xe5, 0x48, 0xbe, 0xa3};
    struct shim_status s = {.target = 3, .pid = 12345, .shim_pid = 12344, .started_ms = 1000, .deadline_ms = 2000,
                            .start_ticks = 77};
    struct shim_status out;
    uint8_t bytes[SHIM_STATUS_SIZE];
    for (size_t i = 0; i < SHIM_BOOT_SIZE; i++)
        s.boot[i] = (uint8_t)(0xb0 + i);
    shim_status_encode(&s, bytes);
    assert_memory_equal(bytes, golden, sizeof golden);
    assert_true(shim_status_decode(golden, sizeof golden, &out));
    assert_memory_equal(&out, &s, sizeof s);
}

static void an_exit_record_has_these_bytes(void **state)
{
    (void)state;
    static const uint8_t golden[SHIM_EXIT_SIZE] = {
        'U',  'M',  'E',  'X',  'I',  'T',  '1',  0,    1,    0,    2,    1,    0xff, 0xff, 0xff, 0xff,
        11,   0,    0,    0,    2,    0,    0,    0,    1,    0,    0,    0,    0,    0,    0,    0,
        0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11, 0,    0,    4,    0,    0,    0,    0,    0,
        'w',  'h',  'y',  0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,
        0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,
        0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,
        0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,
        0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0};
    const struct shim_exit e = {.end = SHIM_END_SIGNALED, .status = -1, .signal = 11, .error = 2,
                                .intent = SHIM_INTENT_STOP, .target = 1, .ended_ms = UINT64_C(0x1122334455667788),
                                .console_end = 262144, .text = "why"};
    struct shim_exit out;
    uint8_t bytes[SHIM_EXIT_SIZE];
    shim_exit_encode(&e, bytes);
    assert_memory_equal(bytes, golden, 120);
    static const uint8_t sum[8] = {0x3c, 0xb4, 0x44, 0x13, 0x5d, 0x15, 0x0c, 0x0c};
    assert_memory_equal(bytes + 120, sum, sizeof sum);
    assert_true(shim_exit_decode(bytes, sizeof bytes, &out));
    assert_memory_equal(&out, &e, sizeof e);
}

static void a_console_header_has_these_bytes(void **state)
{
    (void)state;
    static const uint8_t golden[SHIM_CONSOLE_HEADER] = {
        'U', 'M', 'C', 'O', 'N', 'S', '1', 0, 1, 0, 0, 0, 0, 0, 4, 0, 0x10, 0x32, 0x54, 0x76, 0x98, 0, 0, 0};
    const struct shim_console c = {.ring_bytes = SHIM_CONSOLE_RING, .written = UINT64_C(0x9876543210)};
    struct shim_console out;
    uint8_t bytes[SHIM_CONSOLE_HEADER];
    shim_console_encode(&c, bytes);
    assert_memory_equal(bytes, golden, sizeof golden);
    assert_true(shim_console_decode(golden, sizeof golden, &out));
    assert_int_equal(out.ring_bytes, c.ring_bytes);
    assert_int_equal(out.written, c.written);
}

/* Whatever grows at the end, an older reader takes what it knows. */
static void longer_messages_are_read(void **state)
{
    (void)state;
    uint8_t bytes[SHIM_EXIT_SIZE * 2] = {0};
    struct shim_request request;
    struct shim_status status;
    struct shim_exit end;
    shim_request_encode(&(struct shim_request){SHIM_ASK, 5}, bytes);
    bytes[0] = 9; /* a later version */
    bytes[1] = 77; /* a verb that we don't know */
    assert_true(shim_request_decode(bytes, sizeof bytes, &request));
    assert_int_equal((int)request.verb, 77);
    shim_status_encode(&(struct shim_status){.pid = 5}, bytes);
    assert_true(shim_status_decode(bytes, sizeof bytes, &status));
    assert_int_equal(status.pid, 5);
    shim_exit_encode(&(struct shim_exit){.status = 5}, bytes);
    assert_true(shim_exit_decode(bytes, sizeof bytes, &end));
    assert_int_equal(end.status, 5);
}

static void cut_short_is_refused(void **state)
{
    (void)state;
    uint8_t bytes[SHIM_EXIT_SIZE];
    struct shim_request request;
    struct shim_status status;
    struct shim_exit end;
    struct shim_console console;
    shim_request_encode(&(struct shim_request){SHIM_ASK, 5}, bytes);
    for (size_t len = 0; len < SHIM_REQUEST_SIZE; len++)
        assert_false(shim_request_decode(bytes, len, &request));
    shim_status_encode(&(struct shim_status){.pid = 5}, bytes);
    for (size_t len = 0; len < SHIM_STATUS_SIZE; len++)
        assert_false(shim_status_decode(bytes, len, &status));
    shim_console_encode(&(struct shim_console){.ring_bytes = 5}, bytes);
    for (size_t len = 0; len < SHIM_CONSOLE_HEADER; len++)
        assert_false(shim_console_decode(bytes, len, &console));
    shim_exit_encode(&(struct shim_exit){.status = 5}, bytes);
    for (size_t len = 0; len < SHIM_EXIT_SIZE; len++)
        assert_false(shim_exit_decode(bytes, len, &end));
}

static void every_flipped_bit_of_a_record_is_noticed(void **state)
{
    (void)state;
    uint8_t bytes[SHIM_EXIT_SIZE];
    struct shim_status status;
    struct shim_exit end;
    shim_exit_encode(&(struct shim_exit){.end = SHIM_END_EXITED, .status = 3, .text = "x"}, bytes);
    for (size_t bit = 0; bit < 8 * sizeof bytes; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_false(shim_exit_decode(bytes, sizeof bytes, &end));
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    shim_status_encode(&(struct shim_status){.pid = 5, .shim_pid = 4}, bytes);
    for (size_t bit = 0; bit < 8 * (size_t)SHIM_STATUS_SIZE; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_false(shim_status_decode(bytes, SHIM_STATUS_SIZE, &status));
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    memset(bytes, 0, sizeof bytes);
    assert_false(shim_exit_decode(bytes, sizeof bytes, &end)); /* preallocated: not there yet */
}

static void a_console_without_a_ring_is_refused(void **state)
{
    (void)state;
    uint8_t bytes[SHIM_CONSOLE_HEADER];
    struct shim_console console;
    shim_console_encode(&(struct shim_console){.ring_bytes = 0, .written = 9}, bytes);
    assert_false(shim_console_decode(bytes, sizeof bytes, &console));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_has_these_bytes),
        cmocka_unit_test(a_status_has_these_bytes),
        cmocka_unit_test(an_exit_record_has_these_bytes),
        cmocka_unit_test(a_console_header_has_these_bytes),
        cmocka_unit_test(longer_messages_are_read),
        cmocka_unit_test(cut_short_is_refused),
        cmocka_unit_test(every_flipped_bit_of_a_record_is_noticed),
        cmocka_unit_test(a_console_without_a_ring_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
