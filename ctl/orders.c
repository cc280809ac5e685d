/* Commands that change something, other than deploy. */
#define _GNU_SOURCE
#include "ctl/cli.h"
#include "ctl/text.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { ORDER_TIMEOUT_MS = 60000, ENDING_TIMEOUT_MS = 180000, VOLUME_TIMEOUT_MS = 24 * 3600 * 1000 };

/* Send it, print what came of it. */
static enum cli_status give(struct cli *cli, struct control_command *o)
{
    struct control_message m = {.type = CONTROL_COMMAND};
    struct control_end end;
    bool ends = o->kind == COMMAND_LEAVE || o->kind == COMMAND_NODE_STOP;
    o->ack = cli->ack;
    o->timeout_ms = cli->timeout_ms;
    m.command = *o;
    int wait = cli->timeout_ms ? (int)cli->timeout_ms + 1000
               : ends          ? ENDING_TIMEOUT_MS
                               : ORDER_TIMEOUT_MS;
    enum cli_status status = cli_ask(cli, &m, wait, NULL, NULL, &end);
    if (status)
        return status;
    if (end.err)
        return cli_fail_end(&end);
    printf("%s\n", end.text);
    return CLI_OK;
}

static enum cli_status named(struct control_command *o, const char *app)
{
    if (!name_valid(app))
        return cli_fail(CLI_NOT_FOUND, "no app is called %s; `meshctl apps` lists them", app);
    snprintf(o->app, sizeof o->app, "%s", app);
    return CLI_OK;
}

static enum cli_status give_app(struct cli *cli, enum command_kind kind, const char *app)
{
    struct control_command o = {.kind = kind};
    enum cli_status status = named(&o, app);
    return status ? status : give(cli, &o);
}

enum cli_status cli_scale(struct cli *cli, int argc, char **argv)
{
    (void)argc;
    struct control_command o = {.kind = COMMAND_SCALE};
    uint64_t replicas;
    enum err err = number_parse(argv[1], REPLICAS_MAX, &replicas);
    if (err)
        return cli_fail(CLI_USAGE, "replicas: \"%s\" is no number of at most %d", argv[1],
                        REPLICAS_MAX);
    o.replicas = (uint32_t)replicas;
    enum cli_status status = named(&o, argv[0]);
    return status ? status : give(cli, &o);
}

enum cli_status cli_stop(struct cli *cli, int argc, char **argv)
{
    (void)argc;
    return give_app(cli, COMMAND_STOP, argv[0]);
}

enum cli_status cli_start(struct cli *cli, int argc, char **argv)
{
    (void)argc;
    return give_app(cli, COMMAND_START, argv[0]);
}

enum cli_status cli_remove(struct cli *cli, int argc, char **argv)
{
    (void)argc;
    return give_app(cli, COMMAND_REMOVE, argv[0]);
}

static enum cli_status move(struct cli *cli, enum command_kind kind, int argc, char **argv)
{
    struct control_command o = {.kind = kind};
    int32_t slot;
    if (cli_unit_parse(argv[0], o.app, &slot) || slot < 0)
        return cli_fail(CLI_USAGE, "\"%s\" is no unit; write APP/SLOT, as `meshctl ps` shows them",
                        argv[0]);
    o.slot = (uint16_t)slot;
    if (argc > 1 && strlen(argv[1]) >= sizeof o.node)
        return cli_fail(CLI_NOT_FOUND, "no live node is called %s; `meshctl members` lists them",
                        argv[1]);
    if (argc > 1)
        snprintf(o.node, sizeof o.node, "%s", argv[1]);
    return give(cli, &o);
}

enum cli_status cli_move(struct cli *cli, int argc, char **argv)
{
    return move(cli, COMMAND_MOVE, argc, argv);
}

/* It takes as long as the copy does. */
enum cli_status cli_volume_move(struct cli *cli, int argc, char **argv)
{
    if (!cli->timeout_ms)
        cli->timeout_ms = VOLUME_TIMEOUT_MS;
    return move(cli, COMMAND_VOLUME_MOVE, argc, argv);
}

enum cli_status cli_leave(struct cli *cli, int argc, char **argv)
{
    (void)argc, (void)argv;
    struct control_command o = {.kind = COMMAND_LEAVE};
    return give(cli, &o);
}

enum cli_status cli_node_stop(struct cli *cli, int argc, char **argv)
{
    (void)argc, (void)argv;
    struct control_command o = {.kind = COMMAND_NODE_STOP, .guests = cli->guests};
    return give(cli, &o);
}

/* ---- image rm ------------------------------------------------------------------------------ */

struct prefix {
    const char *digits;
    struct hash found;
    uint32_t count;
};

static void prefix_row(void *ctx, const struct control_message *m)
{
    struct prefix *p = ctx;
    char text[HASH_TEXT];
    if (m->type != CONTROL_IMAGE)
        return;
    hash_text(&m->image.image, text);
    if (strncmp(text, p->digits, strlen(p->digits)) == 0) {
        p->found = m->image.image;
        p->count++;
    }
}

enum cli_status cli_image_remove(struct cli *cli, int argc, char **argv)
{
    (void)argc;
    struct control_command o = {.kind = COMMAND_IMAGE_REMOVE};
    const struct control_message images = {.type = CONTROL_IMAGES};
    struct prefix p = {.digits = argv[0]};
    struct control_end end;
    if (strlen(argv[0]) < 4 || strlen(argv[0]) >= HASH_TEXT ||
        strspn(argv[0], "0123456789abcdef") != strlen(argv[0]))
        return cli_fail(
            CLI_USAGE,
            "\"%s\" is no image; write 4 digits or more of one that `meshctl image ls` shows",
            argv[0]);
    enum cli_status status = cli_ask(cli, &images, CLIENT_TIMEOUT_MS, prefix_row, &p, &end);
    if (status || end.err)
        return status ? status : cli_fail_end(&end);
    if (p.count == 0)
        return cli_fail(CLI_NOT_FOUND, "this node has no image %s; `meshctl image ls` lists them",
                        argv[0]);
    if (p.count > 1)
        return cli_fail(CLI_CONFLICT, "%u images begin with %s; write more digits", p.count,
                        argv[0]);
    o.image = p.found;
    return give(cli, &o);
}

/* ---- keygen -------------------------------------------------------------------------------- */

/* A line of 64 hex digits, as node/crypto reads it. */
enum cli_status cli_keygen(struct cli *cli, int argc, char **argv)
{
    (void)cli;
    uint8_t key[32];
    char line[66];
    randombytes_buf(key, sizeof key);
    sodium_bin2hex(line, sizeof line, key, sizeof key);
    sodium_memzero(key, sizeof key);
    line[64] = '\n';
    line[65] = '\0';
    if (argc == 0) {
        fputs(line, stdout);
        return CLI_OK;
    }
    errno = 0;
    int fd = open(argv[0], O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0 && errno == EEXIST)
        return cli_fail(CLI_CONFLICT,
                        "%s: is there already, and may be a mesh's key; give another name",
                        argv[0]);
    if (fd < 0)
        return cli_fail(errno == EACCES ? CLI_DENIED : CLI_FAILED, "%s: %s", argv[0],
                        strerror(errno));
    bool ok = write(fd, line, 65) == 65 && fsync(fd) == 0;
    int e = errno;
    ok &= close(fd) == 0;
    sodium_memzero(line, sizeof line);
    if (ok)
        return CLI_OK;
    unlink(argv[0]);
    return cli_fail(CLI_FAILED, "%s: can't be written: %s", argv[0], strerror(e));
}
