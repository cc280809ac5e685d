/* What a line of the log looks like, whatever it is made of. */
#define _GNU_SOURCE
#include "node/loop/log.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char line[8192];

/* What is written to standard error for one event. */
static const char *logged(enum log_format format, const char *fields)
{
    struct log *l;
    char name[] = "/tmp/unimesh-log.XXXXXX";
    int fd = mkstemp(name), saved = dup(STDERR_FILENO);
    assert_true(fd >= 0 && saved >= 0 && unlink(name) == 0);
    assert_int_equal(log_new(&l, format, LOG_INFO), ERR_OK);
    assert_true(dup2(fd, STDERR_FILENO) >= 0);
    log_line(l, LOG_WARN, "test.event", fields);
    fflush(stderr);
    assert_true(dup2(saved, STDERR_FILENO) >= 0);
    ssize_t n = pread(fd, line, sizeof line - 1, 0);
    assert_true(n > 0);
    line[n] = '\0';
    close(fd);
    close(saved);
    log_free(l);
    return line;
}

static void an_event_is_one_line(void **state)
{
    (void)state;
    const char *l = logged(LOG_FORMAT_LOGFMT, "what=\"a\nfake info line\x1b[2J\" n=1");
    assert_non_null(strstr(l, " warn test.event what=\"a?fake info line?[2J\" n=1\n"));
    assert_ptr_equal(strchr(l, '\n'), l + strlen(l) - 1);
}

static void json_takes_what_is_no_text(void **state)
{
    (void)state;
    json_error_t error;
    json_t *o = json_loads(logged(LOG_FORMAT_JSON, "what=\"/srv/\xfc/x, cut \xe2\x80\" n=1"), 0, &error);
    assert_non_null(o);
    assert_string_equal(json_string_value(json_object_get(o, "event")), "test.event");
    assert_string_equal(json_string_value(json_object_get(o, "what")), "/srv/?/x, cut ??");
    assert_string_equal(json_string_value(json_object_get(o, "n")), "1");
    json_decref(o);
}

static void a_long_value_is_cut_between_two_characters(void **state)
{
    (void)state;
    json_error_t error;
    for (size_t shift = 0; shift < 3; shift++) {
        char fields[4096] = "what=";
        memset(fields + 5, 'x', shift);
        for (size_t at = 5 + shift; at + 3 < sizeof fields; at += 3)
            memcpy(fields + at, "\xe2\x80\xa6", 4);
        json_t *o = json_loads(logged(LOG_FORMAT_JSON, fields), 0, &error);
        assert_non_null(o);
        assert_null(strchr(json_string_value(json_object_get(o, "what")), '?'));
        json_decref(o);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_event_is_one_line),
        cmocka_unit_test(json_takes_what_is_no_text),
        cmocka_unit_test(a_long_value_is_cut_between_two_characters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
