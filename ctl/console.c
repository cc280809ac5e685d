/* meshctl logs: one unit's console as it is, or several with a name before each line. A connection
 * for each. */
#define _GNU_SOURCE
#include "ctl/cli.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CONSOLES_MAX = 32, LINE_MAX_BYTES = 4096 };

struct console {
    struct client *client;
    char title[NAME_SIZE + 8];
    uint16_t slot;
    bool titled; /* lines get the title */
    bool ended;
    bool plain; /* a person reads it: escape sequences and control characters are left out */
    enum { ESCAPE_NONE, ESCAPE_BEGUN, ESCAPE_CSI } escape;
    size_t len; /* of a line that isn't complete */
    char line[LINE_MAX_BYTES];
};

struct slots {
    uint32_t count;
    bool more;
    uint16_t v[CONSOLES_MAX];
};

static void slot_row(void *ctx, const struct control_message *m)
{
    struct slots *s = ctx;
    if (m->type != CONTROL_UNIT)
        return;
    for (uint32_t i = 0; i < s->count; i++)
        if (s->v[i] == m->unit.slot)
            return;
    if (s->count < CONSOLES_MAX)
        s->v[s->count++] = m->unit.slot;
    else
        s->more = true;
}

static void line_end(struct console *c)
{
    if (c->len == 0)
        return;
    printf("%s | %.*s\n", c->title, (int)c->len, c->line);
    c->len = 0;
}

/* A guest is not to command the terminal that it is looked at with (and a PC's firmware resets it).
 */
static bool shown(struct console *c, uint8_t b)
{
    if (!c->plain)
        return true;
    if (c->escape == ESCAPE_BEGUN) {
        c->escape = b == '[' ? ESCAPE_CSI : ESCAPE_NONE;
        return false;
    }
    if (c->escape == ESCAPE_CSI) {
        c->escape = b >= 0x40 && b <= 0x7e ? ESCAPE_NONE : ESCAPE_CSI;
        return false;
    }
    if (b == 0x1b)
        c->escape = ESCAPE_BEGUN;
    return b == '\n' || b == '\t' || (b >= 0x20 && b != 0x7f);
}

static void print(struct console *c, const struct control_output *o)
{
    if (o->skipped) {
        line_end(c);
        printf("%s%s[%" PRIu64 " bytes skipped]\n", c->titled ? c->title : "",
               c->titled ? " | " : "", o->skipped);
    }
    if (!c->titled && !c->plain) {
        fwrite(o->bytes.p, 1, o->bytes.len, stdout);
        return;
    }
    for (size_t i = 0; i < o->bytes.len; i++) {
        char b = (char)o->bytes.p[i];
        if (!shown(c, o->bytes.p[i]))
            continue;
        if (!c->titled) {
            putchar(b);
            continue;
        }
        if (b != '\n' && b != '\r')
            c->line[c->len++] = b;
        if (b == '\n' && c->len == 0)
            printf("%s |\n", c->title);
        else if (b == '\n' || c->len == sizeof c->line)
            line_end(c);
    }
}

static enum cli_status console_open(struct cli *cli, struct console *c, const char *app)
{
    struct control_message m = {
        .type = CONTROL_LOGS,
        .logs = {.slot = c->slot, .lines = cli->lines, .follow = cli->follow}};
    snprintf(m.logs.app, sizeof m.logs.app, "%s", app);
    snprintf(c->title, sizeof c->title, "%s/%u", app, c->slot);
    enum err err = client_open(&c->client, cli->socket);
    if (!err)
        err = client_send(c->client, &m);
    return err ? cli_fail_connection(err) : CLI_OK;
}

/* What one connection has to say now. *status keeps the first thing that went wrong. */
static void console_read(struct console *c, enum cli_status *status)
{
    do {
        struct control_message m;
        enum cli_status said = CLI_OK;
        enum err err = client_receive(c->client, CLIENT_FOREVER, &m);
        if (err)
            said = cli_fail_connection(err);
        else if (m.type == CONTROL_OUTPUT)
            print(c, &m.output);
        else if (m.type == CONTROL_END && m.end.err)
            said = cli_fail(cli_status_of(m.end.err), "%s: %s", c->title, m.end.text);
        c->ended = err || m.type == CONTROL_END;
        if (!*status)
            *status = said;
    } while (!c->ended && client_has_message(c->client));
    if (c->ended)
        line_end(c);
}

static enum cli_status consoles_read(struct console *consoles, uint32_t count)
{
    enum cli_status status = CLI_OK;
    for (;;) {
        struct pollfd polls[CONSOLES_MAX];
        struct console *whose[CONSOLES_MAX];
        nfds_t n = 0;
        for (uint32_t i = 0; i < count; i++) {
            if (consoles[i].ended)
                continue;
            whose[n] = &consoles[i];
            polls[n++] = (struct pollfd){.fd = consoles[i].client->fd, .events = POLLIN};
        }
        fflush(stdout);
        if (n == 0)
            return status;
        if (poll(polls, n, -1) < 0 && errno != EINTR)
            return cli_fail(CLI_FAILED, "poll: %s", strerror(errno));
        for (nfds_t i = 0; i < n; i++)
            if (polls[i].revents)
                console_read(whose[i], &status);
        if (ferror(stdout))
            return CLI_FAILED;
    }
}

/* Without a slot: all that there are. */
static enum cli_status slots_find(struct cli *cli, const char *app, int32_t slot, struct slots *out)
{
    struct control_message m = {.type = CONTROL_UNITS};
    struct control_end end;
    enum cli_status status = cli_connect(cli);
    if (status || slot >= 0) {
        out->v[0] = (uint16_t)slot;
        out->count = 1;
        return status;
    }
    snprintf(m.app, sizeof m.app, "%s", app);
    status = cli_ask(cli, &m, CLIENT_TIMEOUT_MS, slot_row, out, &end);
    if (status || end.err)
        return status ? status : cli_fail_end(&end);
    if (out->count == 0)
        return cli_fail(CLI_NOT_FOUND, "%s has no replicas; `meshctl scale %s 1` gives it one", app,
                        app);
    if (out->more)
        fprintf(stderr, "meshctl: only the first %d slots are shown; name one: %s/SLOT\n",
                CONSOLES_MAX, app);
    return CLI_OK;
}

enum cli_status cli_logs(struct cli *cli, int argc, char **argv)
{
    (void)argc;
    char app[NAME_SIZE];
    int32_t slot;
    struct slots slots = {0};
    if (cli_unit_parse(argv[0], app, &slot))
        return cli_fail(CLI_USAGE,
                        "\"%s\" is no unit; write APP or APP/SLOT, as `meshctl ps` shows them",
                        argv[0]);
    enum cli_status status = slots_find(cli, app, slot, &slots);
    if (status)
        return status;
    struct console *consoles = calloc(slots.count, sizeof *consoles);
    if (!consoles)
        return cli_fail(CLI_FAILED, "out of memory");
    for (uint32_t i = 0; i < slots.count && !status; i++) {
        consoles[i].slot = slots.v[i];
        consoles[i].titled = slots.count > 1;
        consoles[i].plain = isatty(STDOUT_FILENO);
        status = console_open(cli, &consoles[i], app);
    }
    if (!status)
        status = consoles_read(consoles, slots.count);
    for (uint32_t i = 0; i < slots.count; i++)
        client_close(&consoles[i].client);
    free(consoles);
    return status;
}
