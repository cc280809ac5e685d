/* What meshctl's commands share: errors, asking, small texts. */
#define _GNU_SOURCE
#include "ctl/cli.h"

#include "ctl/text.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum cli_status cli_fail(enum cli_status status, const char *format, ...)
{
    va_list ap;
    fflush(stdout);
    fputs("meshctl: ", stderr);
    va_start(ap, format);
    vfprintf(stderr, format, ap);
    va_end(ap);
    fputc('\n', stderr);
    return status;
}

enum cli_status cli_status_of(enum err err)
{
    switch (err) {
    case ERR_OK:
        return CLI_OK;
    case ERR_NOT_FOUND:
        return CLI_NOT_FOUND;
    case ERR_DENIED:
    case ERR_AUTH:
        return CLI_DENIED;
    case ERR_TIMEOUT:
        return CLI_TIMEOUT;
    case ERR_PARTIAL:
    case ERR_UNREACHABLE:
        return CLI_PARTIAL;
    case ERR_CONFLICT:
    case ERR_EXISTS:
    case ERR_BUSY:
    case ERR_FULL:
    case ERR_NO_ROOM:
    case ERR_MAP_FULL:
    case ERR_DISK_FULL:
        return CLI_CONFLICT;
    case ERR_NOMEM:
    case ERR_INVALID:
    case ERR_TRUNCATED:
    case ERR_TOO_LARGE:
    case ERR_STALE:
    case ERR_REPLAYED:
    case ERR_CLOCK:
    case ERR_UNSUPPORTED:
    case ERR_IO:
    case ERR_CORRUPT:
    case ERR_CLOSED:
    case ERR_NOT_READY:
        break;
    }
    return CLI_FAILED;
}

enum cli_status cli_fail_end(const struct control_end *e)
{
    return cli_fail(cli_status_of(e->err), "%s", e->text[0] ? e->text : err_text(e->err));
}

enum cli_status cli_fail_connection(enum err err)
{
    if (err == ERR_TIMEOUT)
        return cli_fail(CLI_TIMEOUT,
                        "the node doesn't answer in time; try again, or give --timeout SECONDS");
    if (err == ERR_CLOSED)
        return cli_fail(CLI_FAILED, "the node hung up before it had answered; look at its log");
    if (err == ERR_UNSUPPORTED)
        return cli_fail(CLI_FAILED, "the node speaks another version of the control protocol than "
                                    "this meshctl; use its own");
    return cli_fail(CLI_FAILED, "the node's answer can't be read: %s", err_text(err));
}

enum cli_status cli_connect(struct cli *cli)
{
    if (cli->client)
        return CLI_OK;
    errno = 0;
    enum err err = client_open(&cli->client, cli->socket);
    if (!err)
        return CLI_OK;
    if (err == ERR_TOO_LARGE)
        return cli_fail(CLI_USAGE, "%s: is longer than a socket's path may be (107 bytes)",
                        cli->socket);
    if (err == ERR_DENIED)
        return cli_fail(CLI_DENIED,
                        "%s: you may not open it; be root, or of the group that meshd runs as",
                        cli->socket);
    if (err == ERR_UNREACHABLE)
        return cli_fail(CLI_FAILED,
                        "no node answers at %s (%s); start one (`meshd --help`), or say where it "
                        "is: --socket PATH or "
                        "MESHCTL_SOCKET",
                        cli->socket, strerror(errno));
    return cli_fail(CLI_FAILED, "%s: %s", cli->socket, err_text(err));
}

enum cli_status cli_ask(struct cli *cli, const struct control_message *request, int timeout_ms,
                        cli_row_fn *row, void *ctx, struct control_end *end)
{
    enum cli_status status = cli_connect(cli);
    if (status)
        return status;
    enum err err = client_send(cli->client, request);
    while (!err || err == ERR_CLOSED) { /* who hangs up may have said why */
        struct control_message m;
        err = client_receive(cli->client, timeout_ms, &m);
        if (err)
            break;
        if (m.type == CONTROL_END) {
            *end = m.end;
            return CLI_OK;
        }
        if (row)
            row(ctx, &m);
    }
    return cli_fail_connection(err);
}

enum err cli_unit_parse(const char *text, char app[static NAME_SIZE], int32_t *slot)
{
    const char *slash = strchr(text, '/');
    size_t n = slash ? (size_t)(slash - text) : strlen(text);
    uint64_t v = 0;
    if (n >= NAME_SIZE)
        return ERR_INVALID;
    memcpy(app, text, n);
    app[n] = '\0';
    if (!name_valid(app) || (slash && number_parse(slash + 1, UINT16_MAX, &v)))
        return ERR_INVALID;
    *slot = slash ? (int32_t)v : -1;
    return ERR_OK;
}

bool cli_colors(void)
{
    const char *no = getenv("NO_COLOR");
    return isatty(STDOUT_FILENO) && !(no && no[0]);
}

void cli_age_text(uint64_t since_ms, char out[static SINCE_TEXT])
{
    uint64_t now = (uint64_t)time(NULL);
    uint64_t s = since_ms / 1000 < now ? now - since_ms / 1000 : 0;
    if (since_ms == 0)
        snprintf(out, SINCE_TEXT, "-");
    else if (s < 60)
        snprintf(out, SINCE_TEXT, "%" PRIu64 "s", s);
    else if (s < 3600)
        snprintf(out, SINCE_TEXT, "%" PRIu64 "m%02" PRIu64 "s", s / 60, s % 60);
    else if (s < 48 * 3600)
        snprintf(out, SINCE_TEXT, "%" PRIu64 "h%02" PRIu64 "m", s / 3600, s / 60 % 60);
    else
        snprintf(out, SINCE_TEXT, "%" PRIu64 "d", s / 86400 % 1000000);
}

void cli_time_text(uint64_t wall_ms, char out[static TIME_TEXT])
{
    time_t s = (time_t)(wall_ms / 1000);
    struct tm tm;
    char date[24];
    if (wall_ms / 1000 > UINT64_C(253402300799) || !gmtime_r(&s, &tm) ||
        !strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &tm))
        snprintf(date, sizeof date, "?");
    snprintf(out, TIME_TEXT, "%s.%03uZ", date, (unsigned)(wall_ms % 1000));
}

void cli_exit_text(const struct control_unit *u, char out[static SINCE_TEXT])
{
    if (u->exit_status >= 0)
        snprintf(out, SINCE_TEXT, "%d", u->exit_status);
    else if (u->exit_signal)
        snprintf(out, SINCE_TEXT, "signal %u", u->exit_signal % 1000);
    else
        snprintf(out, SINCE_TEXT, "-");
}
