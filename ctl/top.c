/* meshctl top: what the guests of the node that is asked take of it, since a second ago; on a terminal again each
 * second, until it is interrupted. */
#define _GNU_SOURCE
#include "ctl/show.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { INTERVAL_MS = 1000, RATE_TEXT = 24 };

struct sample {
    uint32_t count, size;
    struct control_usage *v;
    bool full; /* out of memory */
};

static void sample_row(void *ctx, const struct control_message *m)
{
    struct sample *s = ctx;
    if (m->type != CONTROL_USAGE)
        return;
    if (s->count == s->size) {
        uint32_t size = s->size ? 2 * s->size : 64;
        struct control_usage *more = realloc(s->v, size * sizeof *more);
        s->full |= more == NULL;
        if (more == NULL)
            return;
        s->v = more;
        s->size = size;
    }
    s->v[s->count++] = m->usage;
}

static enum cli_status sample_take(struct cli *cli, struct sample *s)
{
    static const struct control_message ask = {.type = CONTROL_TOP};
    struct control_end end;
    s->count = 0;
    enum cli_status status = cli_ask(cli, &ask, CLIENT_TIMEOUT_MS, sample_row, s, &end);
    if (!status && end.err)
        status = cli_fail_end(&end);
    if (!status && s->full)
        status = cli_fail(CLI_FAILED, "out of memory");
    return status;
}

/* The same tender, a while ago; NULL: it wasn't there. */
static const struct control_usage *before(const struct sample *s, const struct control_usage *u)
{
    for (uint32_t i = 0; i < s->count; i++)
        if (s->v[i].pid == u->pid && s->v[i].slot == u->slot && strcmp(s->v[i].app, u->app) == 0)
            return &s->v[i];
    return NULL;
}

/* Of a second. */
static uint64_t rate(uint64_t now, uint64_t then, uint64_t ms)
{
    return ms && now > then ? (now - then) * 1000 / ms : 0;
}

static void size_text(uint64_t bytes, const char *unit, char out[static RATE_TEXT])
{
    static const char *const prefixes[] = {"", "k", "M", "G", "T"};
    uint64_t whole = bytes, part = 0;
    size_t i = 0;
    for (; whole >= 1024 && i + 1 < sizeof prefixes / sizeof prefixes[0]; i++) {
        part = whole % 1024 * 10 / 1024;
        whole /= 1024;
    }
    if (i > 0 && whole < 10)
        snprintf(out, RATE_TEXT, "%u.%u%s%s", (unsigned)whole, (unsigned)part, prefixes[i], unit);
    else
        snprintf(out, RATE_TEXT, "%llu%s%s", (unsigned long long)whole, prefixes[i], unit);
}

static const struct column COLUMNS[] = {
    {"UNIT", false, false}, {"PID", true, false},      {"CPU", true, false},   {"MEMORY", true, false},
    {"RESERVED", true, false}, {"IN", true, false},    {"OUT", true, false},   {"IN TOTAL", true, true},
    {"OUT TOTAL", true, true}, {"CPU TIME", true, true}, {NULL, false, false}};

static void line(struct table *t, const struct control_usage *u, const struct control_usage *then)
{
    char text[NAME_SIZE + 16];
    uint64_t ms = then ? u->at_ms - then->at_ms : 0, cpu = then ? rate(u->cpu_ms, then->cpu_ms, ms) : 0;
    table_line(t);
    snprintf(text, sizeof text, "%s/%u", u->app, u->slot);
    table_cell(t, text);
    table_number(t, u->pid);
    snprintf(text, sizeof text, "%u.%u%%", (unsigned)(cpu / 10), (unsigned)(cpu % 10));
    table_cell(t, then ? text : "-");
    size_text(u->rss_kib * 1024, "", text);
    table_cell(t, text);
    snprintf(text, sizeof text, "%uM", u->memory_mib);
    table_cell(t, text);
    size_text(then ? rate(u->in_bytes, then->in_bytes, ms) : 0, "/s", text);
    table_cell(t, text);
    size_text(then ? rate(u->out_bytes, then->out_bytes, ms) : 0, "/s", text);
    table_cell(t, text);
    size_text(u->in_bytes, "", text);
    table_cell(t, text);
    size_text(u->out_bytes, "", text);
    table_cell(t, text);
    snprintf(text, sizeof text, "%llu.%01us", (unsigned long long)(u->cpu_ms / 1000),
             (unsigned)(u->cpu_ms % 1000 / 100));
    table_cell(t, text);
}

static json_t *usage_json(const struct control_usage *u, const struct control_usage *then)
{
    uint64_t ms = then ? u->at_ms - then->at_ms : 0;
    json_t *o = json_object(), *net = json_object();
    json_put(o, "app", json_string(u->app));
    json_put(o, "slot", json_u64(u->slot));
    json_put(o, "pid", json_u64(u->pid));
    json_put(o, "cpu_ms", json_u64(u->cpu_ms));
    json_put(o, "cpu_permille", then ? json_u64(rate(u->cpu_ms, then->cpu_ms, ms)) : json_null());
    json_put(o, "rss_kib", json_u64(u->rss_kib));
    json_put(o, "reserved", json_u64(u->memory_mib));
    json_put(net, "in_bytes", json_u64(u->in_bytes));
    json_put(net, "in_packets", json_u64(u->in_packets));
    json_put(net, "out_bytes", json_u64(u->out_bytes));
    json_put(net, "out_packets", json_u64(u->out_packets));
    json_put(o, "net", net);
    return o;
}

static void show(const struct cli *cli, const struct sample *now, const struct sample *then)
{
    struct table t = {.columns = COLUMNS, .wide = cli->output == OUTPUT_WIDE};
    json_t *array = cli->output == OUTPUT_JSON ? json_array() : NULL;
    if (!array && cli->output != OUTPUT_NAME)
        t.table = table_new(COLUMNS, t.wide);
    for (uint32_t i = 0; i < now->count; i++) {
        const struct control_usage *u = &now->v[i], *was = before(then, u);
        if (array)
            json_array_append_new(array, usage_json(u, was));
        else if (cli->output == OUTPUT_NAME)
            printf("%s/%u\n", u->app, u->slot);
        else
            line(&t, u, was);
    }
    if (array)
        json_print(array);
    table_print(&t);
    fflush(stdout);
}

enum cli_status cli_top(struct cli *cli, int argc, char **argv)
{
    struct sample samples[2] = {{0}, {0}};
    bool live = isatty(STDOUT_FILENO) && (cli->output == OUTPUT_TABLE || cli->output == OUTPUT_WIDE);
    (void)argc, (void)argv;
    enum cli_status status = sample_take(cli, &samples[0]);
    for (uint32_t at = 1; !status; at = 1 - at) {
        (void)poll(NULL, 0, INTERVAL_MS);
        status = sample_take(cli, &samples[at]);
        if (status)
            break;
        if (live)
            printf("\033[H\033[J"); /* from the top */
        show(cli, &samples[at], &samples[1 - at]);
        if (!live)
            break;
    }
    free(samples[0].v);
    free(samples[1].v);
    return status;
}
