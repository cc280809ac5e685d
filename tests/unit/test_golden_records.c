/* The bytes of every kind of record, held in tests/golden/record-KIND.txt (hex; # begins a comment). A change here is
 * a change of the wire and of the store: add a vector, keep the old one readable, note it in docs/records.md. */
#define _GNU_SOURCE
#include "tests/support/records.h"

#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct {
    enum record_kind kind;
    const char *name;
} KINDS[] = {
    {RECORD_NODE, "node"},       {RECORD_SPEC, "spec"},       {RECORD_REPLICAS, "replicas"},
    {RECORD_WANTED, "wanted"},   {RECORD_DELETED, "deleted"}, {RECORD_UNIT, "unit"},
    {RECORD_HOLDER, "holder"},   {RECORD_HISTORY, "history"},
};
enum { KIND_COUNT = sizeof KINDS / sizeof *KINDS };

static int hex_digit(int c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static size_t golden_read(const char *name, uint8_t *out, size_t size)
{
    const char *dir = getenv("srcdir"); /* automake's test driver sets it */
    char path[512], line[256];
    size_t len = 0;
    snprintf(path, sizeof path, "%s/tests/golden/record-%s.txt", dir ? dir : ".", name);
    FILE *f = fopen(path, "r");
    if (!f)
        fail_msg("%s: can't be opened; run from the top of the source, or set srcdir", path);
    while (fgets(line, sizeof line, f)) {
        for (const char *p = line; *p && *p != '#'; p++) {
            if (isspace((unsigned char)*p))
                continue;
            int high = hex_digit(p[0]), low = hex_digit(p[1]);
            if (high < 0 || low < 0 || len == size)
                fail_msg("%s: not hex: %s", path, line);
            out[len++] = (uint8_t)(high << 4 | low);
            p++;
        }
    }
    fclose(f);
    return len;
}

static void what_is_written_is_the_golden_bytes(void **state)
{
    (void)state;
    for (unsigned i = 0; i < KIND_COUNT; i++) {
        uint8_t golden[RECORD_BYTES_MAX], buffer[RECORD_BYTES_MAX];
        struct pack k;
        size_t len = golden_read(KINDS[i].name, golden, sizeof golden);
        pack_init(&k, buffer, sizeof buffer);
        sample_record(KINDS[i].kind, &k);
        if (k.len != len || memcmp(buffer, golden, len) != 0)
            fail_msg("a %s record's bytes changed", KINDS[i].name);
    }
}

static void the_golden_bytes_are_read_whole(void **state)
{
    (void)state;
    const struct uid uid = sample_uid();
    for (unsigned i = 0; i < KIND_COUNT; i++) {
        uint8_t golden[RECORD_BYTES_MAX], buffer[RECORD_BODY_MAX];
        struct record r;
        struct pack k;
        size_t len = golden_read(KINDS[i].name, golden, sizeof golden);
        assert_int_equal(record_decode(golden, len, &r), ERR_OK);
        assert_int_equal(r.key.kind, KINDS[i].kind);
        assert_true(r.version.clock == SAMPLE_CLOCK && r.version.author == SAMPLE_AUTHOR);
        assert_int_equal(body_check(&r), ERR_OK);
        if (r.key.kind != RECORD_NODE && r.key.kind != RECORD_HOLDER) {
            const struct uid of = record_key_uid(&r.key);
            assert_true(uid_equal(&of, &uid));
        }
        if (r.key.kind == RECORD_HISTORY)
            continue;
        pack_init(&k, buffer, sizeof buffer);
        assert_int_equal(body_reencode(&r, &k), ERR_OK);
        assert_int_equal(k.len, r.body.len);
        assert_memory_equal(buffer, r.body.p, k.len);
    }
}

static void no_golden_record_survives_a_cut(void **state)
{
    (void)state;
    for (unsigned i = 0; i < KIND_COUNT; i++) {
        uint8_t golden[RECORD_BYTES_MAX];
        struct record r;
        size_t len = golden_read(KINDS[i].name, golden, sizeof golden);
        for (size_t cut = 0; cut < len; cut++)
            assert_int_not_equal(record_decode(golden, cut, &r), ERR_OK);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_the_golden_bytes),
        cmocka_unit_test(the_golden_bytes_are_read_whole),
        cmocka_unit_test(no_golden_record_survives_a_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
