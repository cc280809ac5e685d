/* The table of commands, their options, help and completion. */
#define _GNU_SOURCE
#include "ctl/cli.h"
#include "ctl/appfile.h"
#include "ctl/show.h"
#include "ctl/text.h"

#include <getopt.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- Options ------------------------------------------------------------------------------- */

/* What getopt_long gives; every option has a place in OPTIONS and, if it isn't global, a bit in a
 * command's set. */
enum option_id {
    OPT_HELP = 'h',
    OPT_OUTPUT = 'o',
    OPT_FOLLOW = 'f',
    OPT_SOCKET = 256,
    OPT_LINES,
    OPT_NAME,
    OPT_REPLICAS,
    OPT_MEMORY,
    OPT_ARG,
    OPT_RESTART,
    OPT_REQUIRE,
    OPT_NET,
    OPT_BLOCK,
    OPT_PORT,
    OPT_PUBLISH,
    OPT_ALLOW,
    OPT_DENY,
    OPT_VOLUME_LOST,
    OPT_AFFINITY,
    OPT_ACK,
    OPT_WAIT,
    OPT_NO_WAIT,
    OPT_TIMEOUT,
    OPT_DRY_RUN,
    OPT_GUESTS,
    OPT_LIVE,
    OPT_VERSION
};

enum { /* sets */
       SET_OUTPUT = 1,
       SET_FOLLOW = 2,
       SET_LINES = 4,
       SET_APP = 8, /* what an app file could say, too */
       SET_ACK = 16,
       SET_WAIT = 32,
       SET_GUESTS = 64,
       SET_LIVE = 256,
       SET_ALL = 128 /* --socket, --help */
};

static const struct option_row {
    const char *name;
    const char *value; /* NULL: none */
    const char *summary;
    enum option_id id;
    unsigned set;
} OPTIONS[] = {
    {"help", NULL, "say this", OPT_HELP, SET_ALL},
    {"version", NULL, "say which meshctl this is", OPT_VERSION, SET_ALL},
    {"socket", "PATH", "the node's control socket; else MESHCTL_SOCKET, else " CONTROL_SOCKET_DEFAULT, OPT_SOCKET,
     SET_ALL},
    {"output", "table|wide|json|name", "how to print", OPT_OUTPUT, SET_OUTPUT},
    {"follow", NULL, "go on with what comes", OPT_FOLLOW, SET_FOLLOW},
    {"lines", "N", "begin with the last N; all: with everything there is", OPT_LINES, SET_LINES},
    {"name", "NAME", "the app's name", OPT_NAME, SET_APP},
    {"replicas", "N", "how many (as it is; 1 for a new app)", OPT_REPLICAS, SET_APP},
    {"memory", "SIZE", "of each: 32M, 1G (32M)", OPT_MEMORY, SET_APP},
    {"arg", "ARG", "an argument for the guest; again for each", OPT_ARG, SET_APP},
    {"restart", "always|on-failure|never", "when a guest has ended (always)", OPT_RESTART, SET_APP},
    {"require", "LABEL=VALUE", "run only on hosts with that label; again for each", OPT_REQUIRE, SET_APP},
    {"net", "DEVICE=NETWORK", "the network of one of its devices; again for each", OPT_NET, SET_APP},
    {"block", "DEVICE=SIZE[,sparse][,sector=N]", "the volume of one of its devices; again for each", OPT_BLOCK,
     SET_APP},
    {"volume-lost", "wait|empty", "when the volume's host is dead: wait for it (default), or start with an empty one",
     OPT_VOLUME_LOST, SET_APP},
    {"port", "80/tcp|icmp", "what comes in on its nets; again for each", OPT_PORT, SET_APP},
    {"publish", "8080:80/tcp", "the host's port that leads to one of the guest's; again for each", OPT_PUBLISH,
     SET_APP},
    {"allow", "APP|network:NAME|SUBNET", "who may come in (everybody); again for each", OPT_ALLOW, SET_APP},
    {"deny", "APP|network:NAME|SUBNET", "who may not; again for each", OPT_DENY, SET_APP},
    {"affinity", "NAME", "apps of one affinity go to the same hosts", OPT_AFFINITY, SET_APP},
    {"ack", "N", "answer when N nodes have it on disk (3, or all of fewer)", OPT_ACK, SET_ACK},
    {"wait", NULL, "wait until every slot runs (the default)", OPT_WAIT, SET_WAIT},
    {"no-wait", NULL, "don't", OPT_NO_WAIT, SET_WAIT},
    {"dry-run", NULL, "check everything, change nothing", OPT_DRY_RUN, SET_WAIT},
    {"timeout", "SECONDS", "give up after so long", OPT_TIMEOUT, SET_ACK},
    {"guests", NULL, "end its guests, too", OPT_GUESTS, SET_GUESTS},
    {"live", NULL, "though a guest is writing to it: what comes out may be torn", OPT_LIVE, SET_LIVE},
};
enum { OPTION_COUNT = sizeof OPTIONS / sizeof *OPTIONS };

/* ---- Commands ------------------------------------------------------------------------------ */

static const struct command_row {
    const char *name;
    const char *args;
    const char *summary;
    unsigned sets;
    int min, max; /* arguments */
    cli_command_fn *run;
} COMMANDS[] = {
    {"members", "", "the nodes of the mesh, as this one sees them", SET_OUTPUT, 0, 0, cli_members},
    {"deploy", "FILE.yaml | IMAGE --name NAME", "run an app, or change the one of that name",
     SET_APP | SET_ACK | SET_WAIT | SET_OUTPUT, 1, 1, cli_deploy},
    {"ps", "[APP]", "units: what runs where, and what waits for what", SET_OUTPUT, 0, 1, cli_ps},
    {"top", "", "what the guests of this node take of it: CPU, memory, traffic", SET_OUTPUT, 0, 0, cli_top},
    {"apps", "", "apps", SET_OUTPUT, 0, 0, cli_apps},
    {"inspect", "APP", "all about an app", SET_OUTPUT, 1, 1, cli_inspect},
    {"logs", "APP[/SLOT]", "a guest's console, wherever it runs", SET_FOLLOW | SET_LINES, 1, 1,
     cli_logs},
    {"scale", "APP REPLICAS", "change how many there are", SET_ACK, 2, 2, cli_scale},
    {"stop", "APP", "end its guests; the app stays", SET_ACK, 1, 1, cli_stop},
    {"start", "APP", "run it again", SET_ACK, 1, 1, cli_start},
    {"rm", "APP", "end its guests and forget it", SET_ACK, 1, 1, cli_remove},
    {"move", "APP/SLOT [NODE]", "hand a unit to another node", SET_ACK, 1, 2, cli_move},
    {"events", "", "what happened lately at this node", SET_FOLLOW | SET_LINES | SET_OUTPUT, 0, 0,
     cli_events},
    {"counters", "", "what this node has counted since it began", SET_OUTPUT, 0, 0, cli_counters},
    {"image ls", "", "the images that this node keeps", SET_OUTPUT, 0, 0, cli_images},
    {"image rm", "IMAGE", "drop one that no app needs from this node", SET_ACK, 1, 1,
     cli_image_remove},
    {"volume ls", "", "volumes, on all hosts", SET_OUTPUT, 0, 0, cli_volumes},
    {"volume export", "VOLUME FILE", "write what it holds to a new file", SET_LIVE, 2, 2, cli_volume_export},
    {"volume import", "VOLUME FILE", "fill it with what a file of its size holds", 0, 2, 2, cli_volume_import},
    {"volume move", "APP/SLOT [NODE]", "carry a unit's volume to another node, and the unit with it", SET_ACK, 1, 2,
     cli_volume_move},
    {"volume rm", "VOLUME", "remove it, and what is on it", 0, 1, 1, cli_volume_remove},
    {"leave", "", "hand this node's guests over, and leave the mesh", SET_ACK, 0, 0, cli_leave},
    {"node stop", "", "end this node for a while; its guests run on", SET_GUESTS | SET_ACK, 0, 0,
     cli_node_stop},
    {"keygen", "[FILE]", "make a mesh key", 0, 0, 1, cli_keygen},
    {"version", "", "of meshctl, and of the node", SET_OUTPUT, 0, 0, cli_version},
    {"completion", "bash|zsh|fish", "a script that completes commands", 0, 1, 1, cli_completion},
    {"help", "[COMMAND]", "say more of a command", 0, 0, 2, cli_help},
};
enum { COMMAND_COUNT = sizeof COMMANDS / sizeof *COMMANDS };

static bool option_of(const struct option_row *o, const struct command_row *c)
{
    return o->set == SET_ALL || (c && (c->sets & o->set));
}

/* ---- Help ---------------------------------------------------------------------------------- */

static void option_print(FILE *f, const struct option_row *o)
{
    char head[64], shown[8] = "    ";
    if (o->id < 128)
        snprintf(shown, sizeof shown, "-%c, ", (char)o->id);
    snprintf(head, sizeof head, "%s--%s%s%s", shown, o->name, o->value ? " " : "",
             o->value ? o->value : "");
    fprintf(f, "  %-32s %s\n", head, o->summary);
}

static void help_all(FILE *f)
{
    fprintf(f, "usage: meshctl [--socket PATH] COMMAND [ARGUMENT…] [OPTION…]\n\n");
    for (int i = 0; i < COMMAND_COUNT; i++) {
        char head[64];
        snprintf(head, sizeof head, "%s %s", COMMANDS[i].name, COMMANDS[i].args);
        fprintf(f, "  %-40s %s\n", head, COMMANDS[i].summary);
    }
    fprintf(f, "\n");
    for (int i = 0; i < OPTION_COUNT; i++)
        if (OPTIONS[i].set == SET_ALL)
            option_print(f, &OPTIONS[i]);
    fprintf(f, "\nExit status: 0 ok, 1 failed, 2 usage, 3 not found, 4 denied, 5 timeout, 6 done "
               "in part, 7 conflict or no "
               "room.\n`meshctl help COMMAND` says more of one.\n");
}

static void help_one(FILE *f, const struct command_row *c)
{
    fprintf(f, "usage: meshctl %s %s%s\n%s\n\n", c->name, c->args,
            c->args[0] ? " [OPTION…]" : "[OPTION…]", c->summary);
    for (int i = 0; i < OPTION_COUNT; i++)
        if (option_of(&OPTIONS[i], c))
            option_print(f, &OPTIONS[i]);
}

/* By one word or two; *words says how many. */
static const struct command_row *command_find(int argc, char **argv, int *words)
{
    for (int i = 0; i < COMMAND_COUNT && argc > 0; i++) {
        const char *space = strchr(COMMANDS[i].name, ' ');
        size_t first = space ? (size_t)(space - COMMANDS[i].name) : strlen(COMMANDS[i].name);
        if (strlen(argv[0]) != first || strncmp(argv[0], COMMANDS[i].name, first) != 0)
            continue;
        *words = space ? 2 : 1;
        if (!space || (argc > 1 && strcmp(argv[1], space + 1) == 0))
            return &COMMANDS[i];
    }
    return NULL;
}

enum cli_status cli_help(struct cli *cli, int argc, char **argv)
{
    (void)cli;
    int words;
    if (argc == 0) {
        help_all(stdout);
        return CLI_OK;
    }
    const struct command_row *c = command_find(argc, argv, &words);
    if (!c)
        return cli_fail(CLI_USAGE, "there is no command %s; `meshctl help` lists them", argv[0]);
    help_one(stdout, c);
    return CLI_OK;
}

static void words_print(const char *separator)
{
    const char *before = "";
    for (int i = 0; i < COMMAND_COUNT; i++) {
        size_t first = strcspn(COMMANDS[i].name, " ");
        if (i > 0 && strcspn(COMMANDS[i - 1].name, " ") == first &&
            strncmp(COMMANDS[i - 1].name, COMMANDS[i].name, first) == 0)
            continue;
        printf("%s%.*s", before, (int)first, COMMANDS[i].name);
        before = separator;
    }
}

enum cli_status cli_completion(struct cli *cli, int argc, char **argv)
{
    (void)cli, (void)argc;
    if (strcmp(argv[0], "fish") == 0) {
        for (int i = 0; i < COMMAND_COUNT; i++)
            if (!strchr(COMMANDS[i].name, ' '))
                printf("complete -c meshctl -n __fish_use_subcommand -a %s -d '%s'\n",
                       COMMANDS[i].name, COMMANDS[i].summary);
        printf("complete -c meshctl -n __fish_use_subcommand -a image\ncomplete -c meshctl -n "
               "__fish_use_subcommand -a node\n");
        for (int i = 0; i < OPTION_COUNT; i++)
            printf("complete -c meshctl -l %s -d '%s'\n", OPTIONS[i].name,
                   OPTIONS[i].value ? OPTIONS[i].value : "");
        return CLI_OK;
    }
    bool zsh = strcmp(argv[0], "zsh") == 0;
    if (!zsh && strcmp(argv[0], "bash") != 0)
        return cli_fail(CLI_USAGE,
                        "completion: %s is no shell that is known here; there are bash, zsh, fish",
                        argv[0]);
    if (zsh)
        printf("autoload -U +X bashcompinit && bashcompinit\n");
    printf("_meshctl() {\n    local here=${COMP_WORDS[COMP_CWORD]} first=${COMP_WORDS[1]} words\n"
           "    if [ \"$COMP_CWORD\" = 1 ]; then\n        words='");
    words_print(" ");
    printf("'\n    else\n        case $first in\n        image) words='ls rm' ;;\n        node) "
           "words='stop' ;;\n"
           "        *) words='' ;;\n        esac\n        words=\"$words");
    for (int i = 0; i < OPTION_COUNT; i++)
        printf(" --%s", OPTIONS[i].name);
    printf("\"\n    fi\n    COMPREPLY=($(compgen -W \"$words\" -- \"$here\") $(compgen -f -- "
           "\"$here\"))\n}\n"
           "complete -F _meshctl meshctl\n");
    return CLI_OK;
}

/* ---- Reading the command line -------------------------------------------------------------- */

static enum cli_status bad_value(const char *option, const char *value, const char *write)
{
    return cli_fail(CLI_USAGE, "--%s: \"%s\" %s", option, value, write);
}

static enum cli_status number_option(const char *option, const char *value, uint64_t max,
                                     uint32_t *out)
{
    uint64_t v;
    char text[96];
    enum err err = number_parse(value, max, &v);
    if (err == ERR_TOO_LARGE) {
        snprintf(text, sizeof text, "is more than the %llu that it may be",
                 (unsigned long long)max);
        return bad_value(option, value, text);
    }
    if (err)
        return bad_value(option, value, "is no number");
    *out = (uint32_t)v;
    return CLI_OK;
}

static enum cli_status output_option(struct cli *cli, const char *value)
{
    static const char *const names[] = {"table", "wide", "json", "name"};
    for (int i = 0; i < 4; i++) {
        if (strcmp(value, names[i]) == 0) {
            cli->output = (enum cli_output)i;
            return CLI_OK;
        }
    }
    return bad_value("output", value, "is none of table, wide, json and name");
}

static enum cli_status memory_option(struct cli *cli, const char *value)
{
    enum err err = size_parse_mib(value, &cli->memory_mib);
    if (err == ERR_TOO_LARGE || (!err && cli->memory_mib > MEMORY_MIB_MAX))
        return bad_value("memory", value, "is more than the 1T that an app may have");
    if (err)
        return bad_value("memory", value, "is no size in whole MiB; write 32M or 1G");
    if (cli->memory_mib < MEMORY_MIB_MIN)
        return bad_value("memory", value,
                         "is below the 2M that the smallest guest needs; write 32M");
    cli->memory_given = true;
    return CLI_OK;
}

static enum cli_status require_option(struct cli *cli, const char *value)
{
    char key[LABEL_SIZE];
    const char *is = strchr(value, '=');
    if (!is || (size_t)(is - value) >= sizeof key)
        return bad_value("require", value, "is not LABEL=VALUE");
    memcpy(key, value, (size_t)(is - value));
    key[is - value] = '\0';
    enum err err = labels_add(&cli->require, key, is + 1);
    return err ? bad_value("require", value, labels_error(err)) : CLI_OK;
}

static enum cli_status net_option(struct cli *cli, const char *value)
{
    char device[DEVICE_SIZE], text[256];
    const char *is = strchr(value, '=');
    if (!is || (size_t)(is - value) >= sizeof device)
        return bad_value("net", value, "is not DEVICE=NETWORK");
    memcpy(device, value, (size_t)(is - value));
    device[is - value] = '\0';
    enum err err = nets_add(&cli->nets, device, is + 1, text, sizeof text);
    return err ? bad_value("net", value, text) : CLI_OK;
}

static enum cli_status block_option(struct cli *cli, const char *value)
{
    char device[DEVICE_SIZE], text[256];
    struct block_ref b;
    const char *is = strchr(value, '=');
    if (!is || (size_t)(is - value) >= sizeof device)
        return bad_value("block", value, "is not DEVICE=SIZE");
    memcpy(device, value, (size_t)(is - value));
    device[is - value] = '\0';
    enum err err = block_parse(device, is + 1, &b, text, sizeof text);
    if (!err)
        err = blocks_add(&cli->nets, &b, text, sizeof text);
    return err ? bad_value("block", value, text) : CLI_OK;
}

static enum cli_status access_option(struct cli *cli, const char *option, const char *key, const char *value)
{
    char text[256];
    if (access_add(&cli->nets.access, key, value, text, sizeof text))
        return cli_fail(CLI_USAGE, "--%s: %s", option, text + strlen(key) + 2);
    return CLI_OK;
}

static enum cli_status volume_lost_option(struct cli *cli, const char *value)
{
    enum volume_lost v;
    if (volume_lost_parse(value, &v))
        return bad_value("volume-lost", value, "is neither wait nor empty");
    cli->volume_lost = value;
    return CLI_OK;
}

static enum cli_status timeout_option(struct cli *cli, const char *value)
{
    uint32_t seconds = 0;
    enum cli_status status = number_option("timeout", value, 86400, &seconds);
    if (!status && seconds == 0)
        return bad_value("timeout", value, "is no time to do anything in; write 1 or more");
    cli->timeout_ms = seconds * 1000;
    return status;
}

static enum cli_status take_option(struct cli *cli, int id, const char *value)
{
    enum restart_mode mode;
    switch ((enum option_id)id) {
    case OPT_SOCKET:
        cli->socket = value;
        break;
    case OPT_OUTPUT:
        return output_option(cli, value);
    case OPT_FOLLOW:
        cli->follow = true;
        break;
    case OPT_LINES:
        if (strcmp(value, "all") != 0)
            return number_option("lines", value, UINT32_MAX - 1, &cli->lines);
        cli->lines = CONTROL_ALL_LINES;
        break;
    case OPT_NAME:
        if (!name_valid(value))
            return bad_value(
                "name", value,
                "is no name; take 1 to 63 of a-z, 0-9, - and ., beginning and ending with a "
                "letter or digit");
        cli->name = value;
        break;
    case OPT_REPLICAS:
        return number_option("replicas", value, REPLICAS_MAX, &cli->replicas);
    case OPT_MEMORY:
        return memory_option(cli, value);
    case OPT_ARG:
        if (cli->args_count == ARGS_MAX)
            return bad_value("arg", value, "is one more than the 64 that a guest may have");
        cli->args[cli->args_count++] = value;
        break;
    case OPT_RESTART:
        if (restart_parse(value, &mode))
            return bad_value("restart", value, "is none of always, on-failure and never");
        cli->restart = value;
        break;
    case OPT_REQUIRE:
        return require_option(cli, value);
    case OPT_NET:
        return net_option(cli, value);
    case OPT_BLOCK:
        return block_option(cli, value);
    case OPT_PORT:
        return access_option(cli, "port", "ports", value);
    case OPT_PUBLISH:
        return access_option(cli, "publish", "publish", value);
    case OPT_ALLOW:
        return access_option(cli, "allow", "allow", value);
    case OPT_DENY:
        return access_option(cli, "deny", "deny", value);
    case OPT_VOLUME_LOST:
        return volume_lost_option(cli, value);
    case OPT_AFFINITY:
        if (!name_valid(value))
            return bad_value("affinity", value, "is no name");
        cli->affinity = value;
        break;
    case OPT_ACK:
        return number_option("ack", value, 1000, &cli->ack);
    case OPT_WAIT:
        cli->wait = true;
        break;
    case OPT_NO_WAIT:
        cli->wait = false;
        break;
    case OPT_TIMEOUT:
        return timeout_option(cli, value);
    case OPT_DRY_RUN:
        cli->dry_run = true;
        break;
    case OPT_GUESTS:
        cli->guests = true;
        break;
    case OPT_LIVE:
        cli->live = true;
        break;
    case OPT_HELP:
    case OPT_VERSION:
        break;
    }
    return CLI_OK;
}

struct asked {
    bool help, version;
};

/* getopt_long over the options that hold for c (NULL: those that hold for all, before the command).
 * */
static enum cli_status options_read(struct cli *cli, const struct command_row *c, int argc,
                                    char **argv, struct asked *asked)
{
    struct option list[OPTION_COUNT + 1] = {0};
    char shorts[3 + 2 * OPTION_COUNT] = "+:";
    int n = 0;
    size_t at = c ? 1 : 2;
    if (c)
        shorts[0] = ':';
    for (int i = 0; i < OPTION_COUNT; i++) {
        if (!option_of(&OPTIONS[i], c))
            continue;
        list[n++] =
            (struct option){OPTIONS[i].name, OPTIONS[i].value ? required_argument : no_argument,
                            NULL, (int)OPTIONS[i].id};
        if (OPTIONS[i].id < 128) {
            shorts[at++] = (char)OPTIONS[i].id;
            if (OPTIONS[i].value)
                shorts[at++] = ':';
        }
    }
    shorts[at] = '\0';
    opterr = 0;
    optind = 0;
    for (int id; (id = getopt_long(argc, argv, shorts, list, NULL)) != -1;) {
        if (id == ':')
            return cli_fail(CLI_USAGE, "%s wants a value; see `meshctl help%s%s`", argv[optind - 1],
                            c ? " " : "", c ? c->name : "");
        if (id == '?')
            return cli_fail(CLI_USAGE, "%s%s has no option %s; see `meshctl help%s%s`",
                            c ? "" : "meshctl", c ? c->name : "", argv[optind - 1], c ? " " : "",
                            c ? c->name : "");
        if (id == OPT_HELP || id == OPT_VERSION)
            *(id == OPT_HELP ? &asked->help : &asked->version) = true;
        enum cli_status status = take_option(cli, id, optarg);
        if (status)
            return status;
    }
    return CLI_OK;
}

static enum cli_status command_run(struct cli *cli, int argc, char **argv)
{
    struct asked asked = {false, false};
    int words;
    enum cli_status status = options_read(cli, NULL, argc, argv, &asked);
    if (status)
        return status;
    argc -= optind;
    argv += optind;
    if (asked.version) {
        printf("meshctl %s\n", UNIMESH_VERSION);
        return CLI_OK;
    }
    if (asked.help || argc == 0) {
        help_all(asked.help ? stdout : stderr);
        return asked.help ? CLI_OK : CLI_USAGE;
    }
    const struct command_row *c = command_find(argc, argv, &words);
    if (!c)
        return cli_fail(CLI_USAGE, "there is no command %s%s%s; `meshctl help` lists them", argv[0],
                        argc > 1 ? " " : "", argc > 1 ? argv[1] : "");
    argc -= words - 1; /* what is left at argv[0] is taken for the program's name */
    argv += words - 1;
    cli->lines = c->run == cli_logs ? CONTROL_ALL_LINES : 20;
    status = options_read(cli, c, argc, argv, &asked);
    if (status)
        return status;
    if (asked.help) {
        help_one(stdout, c);
        return CLI_OK;
    }
    argc -= optind;
    argv += optind;
    if (argc < c->min || argc > c->max)
        return cli_fail(CLI_USAGE, "usage: meshctl %s %s", c->name, c->args);
    return c->run(cli, argc, argv);
}

int main(int argc, char **argv)
{
    const char *socket = getenv("MESHCTL_SOCKET");
    struct cli cli = {.socket = socket && socket[0] ? socket : CONTROL_SOCKET_DEFAULT,
                      .replicas = REPLICAS_KEEP,
                      .wait = true};
    if (sodium_init() < 0)
        return (int)cli_fail(CLI_FAILED, "libsodium can't start");
    enum cli_status status = command_run(&cli, argc, argv);
    client_close(&cli.client);
    if (fflush(stdout) != 0 || ferror(stdout))
        return (int)(status ? status : cli_fail(CLI_FAILED, "what is printed can't be written"));
    return (int)status;
}
