/* node/loop/options and log: what people write, and what the daemon says. */
#define _GNU_SOURCE
#include "node/loop/log.h"
#include "node/loop/options.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static void peers_are_named_by_address_or_name(void **state)
{
    (void)state;
    static const struct {
        const char *text, *host, *port;
    } good[] = {
        {"192.0.2.1:99", "192.0.2.1", "99"},
        {"192.0.2.1", "192.0.2.1", OPTION_PORT_DEFAULT},
        {"mesh.example:80", "mesh.example", "80"},
        {"mesh.example", "mesh.example", OPTION_PORT_DEFAULT},
        {"[2001:db8::1]:5", "2001:db8::1", "5"},
        {"[2001:db8::1]", "2001:db8::1", OPTION_PORT_DEFAULT},
        {"2001:db8::1", "2001:db8::1", OPTION_PORT_DEFAULT},
    };
    static const char *const bad[] = {"",           ":",       ":80",  "host:",  "host:0",
                                      "host:65536", "host:8x", "[::1", "[::1]5", "[]:5"};
    struct peer_name p;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_int_equal(peer_name_parse(good[i].text, &p), ERR_OK);
        assert_string_equal(p.host, good[i].host);
        assert_string_equal(p.port, good[i].port);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(peer_name_parse(bad[i], &p), ERR_INVALID);
    char longest[OPTION_HOST_SIZE + 1];
    memset(longest, 'a', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    assert_int_equal(peer_name_parse(longest, &p), ERR_INVALID);
}

static enum err memory_of(const char *text, uint32_t *mib)
{
    static struct config c;
    char why[256];
    enum err err = config_set(&c, "memory", text, why, sizeof why);
    *mib = c.memory_mib;
    return err;
}

/* The file is under the arguments, wherever --config stands among them. */
static void arguments_win_over_the_file(void **state)
{
    (void)state;
    static struct options o;
    char dir[] = "/tmp/unimesh-test-XXXXXX", path[64];
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/meshd.yaml", dir);
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    fprintf(f, "name: attic\nmemory: 4G\njoin: a.example:1\nlabels: {zone: attic, disk: "
               "ssd}\nlog-level: warn\n"
               "state: /from/file\ntenders: {spt: /opt/spt}\n");
    assert_int_equal(fclose(f), 0);
    char *argv[] = {(char[]){"meshd"},
                    (char[]){"--name"},
                    (char[]){"cellar"},
                    (char[]){"--join"},
                    (char[]){"b.example"},
                    (char[]){"--label"},
                    (char[]){"zone=cellar"},
                    (char[]){"--config"},
                    path,
                    (char[]){"--discover"},
                    NULL};
    options_read(&o, 10, argv);
    assert_string_equal(o.name, "cellar");
    assert_int_equal(o.memory_mib, 4096);
    assert_int_equal(o.join_count, 2);
    assert_string_equal(o.joins[0].host, "a.example");
    assert_string_equal(o.joins[1].host, "b.example");
    assert_int_equal(o.labels.count, 2);
    assert_string_equal(o.labels.v[1].value, "cellar");
    assert_int_equal(o.log_level, LOG_WARN);
    assert_string_equal(o.state_dir, "/from/file");
    assert_string_equal(o.run_dir, "/run/unimesh");
    assert_string_equal(o.tender[TARGET_SPT], "/opt/spt");
    assert_int_equal(o.bind.port, 7946);
    assert_true(o.discover);
    unlink(path);
    rmdir(dir);
}

static void memory_is_in_mebibytes_unless_said(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint32_t mib;
    } good[] = {{"1", 1}, {"32M", 32}, {"32m", 32}, {"32MiB", 32}, {"2G", 2048}, {"2GB", 2048}};
    static const char *const bad[] = {"",   "0",    "M",    "-1",           " 1",
                                      "1K", "1.5G", "32Mx", "99999999999G", "0G"};
    uint32_t mib;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_int_equal(memory_of(good[i].text, &mib), ERR_OK);
        assert_int_equal(mib, good[i].mib);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_not_equal(memory_of(bad[i], &mib), ERR_OK);
}

/* What a log prints while `say` runs, as text. */
static void printed(enum log_format format, enum log_level least, void (*say)(struct log *l),
                    char *out, size_t size)
{
    struct log *l;
    int old = dup(2), pipe_fd[2];
    assert_int_equal(pipe(pipe_fd), 0);
    assert_int_equal(log_new(&l, format, least), ERR_OK);
    dup2(pipe_fd[1], 2);
    say(l);
    fflush(stderr);
    dup2(old, 2);
    close(old);
    close(pipe_fd[1]);
    size_t n = 0;
    ssize_t got;
    while (n < size - 1 && (got = read(pipe_fd[0], out + n, size - 1 - n)) > 0)
        n += (size_t)got;
    out[n] = '\0';
    close(pipe_fd[0]);
    log_free(l);
}

static void one_of_each(struct log *l)
{
    log_event(l, LOG_DEBUG, "some.detail", "n=%d", 1);
    log_event(l, LOG_INFO, "unit.started", "app=%s reason=\"two \"quoted\" words\"", "web");
}

static void lines_have_time_level_event_and_fields(void **state)
{
    (void)state;
    char out[4096];
    printed(LOG_FORMAT_LOGFMT, LOG_INFO, one_of_each, out, sizeof out);
    assert_null(strstr(out, "some.detail"));
    assert_non_null(strstr(out, "Z info unit.started app=web reason=\"two \"quoted\" words\"\n"));
    printed(LOG_FORMAT_JSON, LOG_DEBUG, one_of_each, out, sizeof out);
    assert_non_null(strstr(out, "\"level\":\"debug\",\"event\":\"some.detail\",\"n\":\"1\"}"));
    assert_non_null(strstr(out, "\"app\":\"web\",\"reason\":\"two \\\"quoted\\\" words\"}"));
}

static void a_flood(struct log *l)
{
    for (int i = 0; i < 10 * LOG_BURST; i++)
        log_event(l, LOG_WARN, "packet.bad", "n=%d", i);
}

static void a_flood_of_one_event_is_bounded(void **state)
{
    (void)state;
    char out[65536 / 2];
    size_t lines = 0;
    printed(LOG_FORMAT_LOGFMT, LOG_INFO, a_flood, out, sizeof out);
    for (const char *p = out; (p = strchr(p, '\n')); p++)
        lines++;
    assert_in_range(lines, LOG_BURST, 2 * LOG_BURST); /* the second may turn in between */
}

static void the_ring_keeps_the_last(void **state)
{
    (void)state;
    struct log *l;
    assert_int_equal(log_new(&l, LOG_FORMAT_LOGFMT, LOG_ERROR), ERR_OK);
    assert_null(log_next(l, 0));
    for (int i = 1; i <= NODE_EVENTS_KEPT + 10; i++)
        log_event(l, LOG_INFO, "tick", "n=%d", i);
    log_event(l, LOG_DEBUG, "unkept", "n=0");
    assert_int_equal(log_last(l), NODE_EVENTS_KEPT + 10);
    const struct node_event *e = log_next(l, 0);
    assert_int_equal(e->seq, 11);
    assert_string_equal(e->fields, "n=11");
    assert_int_equal(log_next(l, NODE_EVENTS_KEPT + 10)->seq, NODE_EVENTS_KEPT + 10);
    assert_null(log_next(l, NODE_EVENTS_KEPT + 11));
    log_free(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(peers_are_named_by_address_or_name),
        cmocka_unit_test(memory_is_in_mebibytes_unless_said),
        cmocka_unit_test(arguments_win_over_the_file),
        cmocka_unit_test(lines_have_time_level_event_and_fields),
        cmocka_unit_test(a_flood_of_one_event_is_bounded),
        cmocka_unit_test(the_ring_keeps_the_last),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
