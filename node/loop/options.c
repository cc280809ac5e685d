#define _GNU_SOURCE
#include "node/loop/options.h"

#include "node/loop/node.h"

#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define STATE_DEFAULT "/var/lib/unimesh"
#define RUN_DEFAULT   "/run/unimesh"
#define KEY_DEFAULT   "/etc/unimesh/mesh.key"

enum option_id {
    OPT_STATE = 256,
    OPT_RUN,
    OPT_KEY_FILE,
    OPT_BIND,
    OPT_ADVERTISE,
    OPT_NAME,
    OPT_JOIN,
    OPT_DISCOVER,
    OPT_MEMORY,
    OPT_VOLUMES,
    OPT_LABEL,
    OPT_MESH_LABEL,
    OPT_SOCKET,
    OPT_CONFIG,
    OPT_NEW_IDENTITY,
    OPT_LOG_FORMAT,
    OPT_LOG_LEVEL,
    OPT_TENDER,
    OPT_PROGRAMS,
    OPT_NETWORK,
    OPT_JAIL,
    OPT_USER,
    OPT_GUEST_UIDS,
    OPT_HELP,
    OPT_VERSION
};

static const struct {
    enum option_id id;
    const char *name, *value, *help;
} table[] = {
    {OPT_STATE, "state", "DIR", "what must survive: keys, records, images (" STATE_DEFAULT ")"},
    {OPT_RUN, "run", "DIR",
     "what lives as long as the host is up: guests, sockets (" RUN_DEFAULT ")"},
    {OPT_KEY_FILE, "key-file", "FILE",
     "the mesh's key; meshctl keygen makes one (" KEY_DEFAULT ")"},
    {OPT_BIND, "bind", "ADDR:PORT",
     "where to listen, UDP and TCP (0.0.0.0:" OPTION_PORT_DEFAULT ")"},
    {OPT_ADVERTISE, "advertise", "ADDR[:PORT]",
     "where others reach this node, if not where it listens"},
    {OPT_NAME, "name", "NAME", "this node's name (the host's)"},
    {OPT_JOIN, "join", "HOST[:PORT]",
     "a member of the mesh, or a DNS name of some; may be repeated"},
    {OPT_DISCOVER, "discover", NULL, "find members on the local link by multicast"},
    {OPT_MEMORY, "memory", "SIZE",
     "for guests, all together: 512M, 8G (three quarters of the host's)"},
    {OPT_VOLUMES, "volumes", "SIZE", "for volumes, all together: 10G (what the disk has)"},
    {OPT_LABEL, "label", "KEY=VALUE", "what apps may require of a host; may be repeated"},
    {OPT_MESH_LABEL, "mesh", "LABEL", "keeps meshes apart that share a key (unimesh)"},
    {OPT_SOCKET, "socket", "PATH", "for meshctl (RUN/ctl.sock)"},
    {OPT_CONFIG, "config", "FILE", "all of these, in YAML; arguments win"},
    {OPT_NEW_IDENTITY, "new-identity", NULL,
     "the state was copied from another machine: become a new node"},
    {OPT_LOG_FORMAT, "log-format", "FORMAT", "logfmt or json"},
    {OPT_LOG_LEVEL, "log-level", "LEVEL", "debug, info, warn or error (info)"},
    {OPT_TENDER, "tender", "TARGET=PATH",
     "the program that runs guests of hvt, spt or virtio; may be repeated"},
    {OPT_NETWORK, "network", "NAME=BRIDGE",
     "a network that guests can be wired to; may be repeated"},
    {OPT_JAIL, "jail", "on|off", "whether guests are shut in; off is for trying things out (on)"},
    {OPT_USER, "user", "NAME", "started as root, be this one (unimesh, if there is one; root: stay so)"},
    {OPT_GUEST_UIDS, "guest-uids", "FIRST-LAST", "each guest has a uid of its own, of these"},
    {OPT_PROGRAMS, "programs", "DIR", "where mesh-priv and mesh-shim are (beside meshd)"},
    {OPT_HELP, "help", NULL, "this"},
    {OPT_VERSION, "version", NULL, "which version this is"},
};
enum { OPTIONS = sizeof table / sizeof table[0] };

__attribute__((format(printf, 1, 2))) static _Noreturn void usage(const char *format, ...)
{
    va_list ap;
    fprintf(stderr, "meshd: ");
    va_start(ap, format);
    vfprintf(stderr, format, ap);
    va_end(ap);
    fprintf(stderr, "\nmeshd --help tells what there is\n");
    exit(2);
}

static _Noreturn void help(void)
{
    printf("usage: meshd [OPTION…]\n\nOne node of a mesh that runs unikernels. It stays in the "
           "foreground; SIGTERM ends it, and leaves "
           "its guests running.\n\n");
    for (size_t i = 0; i < OPTIONS; i++) {
        char left[48];
        snprintf(left, sizeof left, "--%s %s", table[i].name, table[i].value ? table[i].value : "");
        printf("  %-24s %s\n", left, table[i].help);
    }
    exit(0);
}

static void path_set(char out[static OPTION_PATH_SIZE], const char *name, const char *value)
{
    if (value[0] == '/' || !value[0]) {
        snprintf(out, OPTION_PATH_SIZE, "%s", value);
        return;
    }
    char cwd[OPTION_PATH_SIZE];
    int n = getcwd(cwd, sizeof cwd) ? snprintf(out, OPTION_PATH_SIZE, "%s/%s", cwd, value)
                                    : OPTION_PATH_SIZE;
    if (n >= OPTION_PATH_SIZE)
        usage("--%s: the path is too long", name);
}

/* What was said, over the defaults. */
static void options_take(struct options *o, const struct config *c)
{
    path_set(o->state_dir, "state", c->state[0] ? c->state : STATE_DEFAULT);
    path_set(o->run_dir, "run", c->run[0] ? c->run : RUN_DEFAULT);
    path_set(o->key_file, "key-file", c->key_file[0] ? c->key_file : KEY_DEFAULT);
    path_set(o->socket, "socket", c->socket);
    path_set(o->programs, "programs", c->programs);
    for (int t = TARGET_NONE + 1; t < TARGET_COUNT; t++)
        path_set(o->tender[t], "tender", c->tender[t]);
    memcpy(o->name, c->name, sizeof o->name);
    memcpy(o->mesh_label, c->mesh, sizeof o->mesh_label);
    o->bind = c->bind;
    o->advertise = c->advertise;
    o->advertised = c->advertise_given;
    o->join_count = c->join_count;
    memcpy(o->joins, c->join, sizeof o->joins);
    o->discover = c->discover;
    o->memory_mib = c->memory_mib;
    o->volumes_mib = c->volumes_mib;
    o->labels = c->labels;
    o->networks = c->networks;
    o->jail = c->jail;
    memcpy(o->user, c->user, sizeof o->user);
    o->log_format = c->log_format == CONFIG_LOG_JSON ? LOG_FORMAT_JSON : LOG_FORMAT_LOGFMT;
    o->log_level = c->log_level_given ? c->log_level : LOG_INFO;
}

static void say(struct config *c, const char *key, const char *value)
{
    char why[512];
    if (config_set(c, key, value, why, sizeof why))
        usage("--%s", why);
}

static void option_set(struct options *o, struct config *c, enum option_id id, const char *value)
{
    switch (id) {
    case OPT_DISCOVER:
        c->discover = true;
        return;
    case OPT_NEW_IDENTITY:
        o->new_identity = true;
        return;
    case OPT_CONFIG: /* read before */
        return;
    case OPT_HELP:
        help();
    case OPT_VERSION:
        printf("meshd %s\n", node_version());
        exit(0);
    case OPT_STATE:
    case OPT_RUN:
    case OPT_KEY_FILE:
    case OPT_BIND:
    case OPT_ADVERTISE:
    case OPT_NAME:
    case OPT_JOIN:
    case OPT_MEMORY:
    case OPT_VOLUMES:
    case OPT_LABEL:
    case OPT_MESH_LABEL:
    case OPT_SOCKET:
    case OPT_LOG_FORMAT:
    case OPT_LOG_LEVEL:
    case OPT_TENDER:
    case OPT_PROGRAMS:
    case OPT_NETWORK:
    case OPT_JAIL:
    case OPT_USER:
    case OPT_GUEST_UIDS:
        break;
    }
    for (size_t i = 0; i < OPTIONS; i++)
        if (table[i].id == id)
            say(c, table[i].name, value);
}

/* The file first, so that the arguments win. */
static void file_read(struct config *c, const char *path)
{
    struct yaml_error error;
    if (!config_read(c, path, &error))
        return;
    fprintf(stderr, "meshd: %s\n", error.text);
    exit(2);
}

/* Where this program is: the others are beside it, in a build and when installed. */
static void programs_default(struct options *o)
{
    ssize_t n = readlink("/proc/self/exe", o->programs, sizeof o->programs - 1);
    o->programs[n > 0 ? n : 0] = '\0';
    char *slash = strrchr(o->programs, '/');
    if (slash)
        *slash = '\0';
}

const char *node_version(void)
{
    return PACKAGE_VERSION;
}

void options_read(struct options *o, int argc, char **argv)
{
    struct option longs[OPTIONS + 1] = {0};
    int id;
    for (size_t i = 0; i < OPTIONS; i++)
        longs[i] = (struct option){
            .name = table[i].name, .has_arg = table[i].value != NULL, .val = (int)table[i].id};
    static struct config c;
    memset(o, 0, sizeof *o);
    memset(&c, 0, sizeof c);
    say(&c, "bind", "0.0.0.0:" OPTION_PORT_DEFAULT);
    opterr = 0;
    for (int pass = 0; pass < 2; pass++) {
        optind = 0;
        while ((id = getopt_long(argc, argv, "h", longs, NULL)) != -1) {
            if (id == 'h')
                help();
            if (id == '?')
                usage("%s: there is no such option, or it wants a value", argv[optind - 1]);
            if (pass == 0 && id == OPT_CONFIG)
                file_read(&c, optarg);
            else if (pass == 1)
                option_set(o, &c, (enum option_id)id, optarg);
        }
    }
    if (optind < argc)
        usage("%s: arguments are options only", argv[optind]);
    options_take(o, &c);
    if (!o->programs[0])
        programs_default(o);
}
