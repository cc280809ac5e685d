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
    OPT_LABEL,
    OPT_MESH_LABEL,
    OPT_SOCKET,
    OPT_CONFIG,
    OPT_NEW_IDENTITY,
    OPT_LOG_FORMAT,
    OPT_LOG_LEVEL,
    OPT_TENDER,
    OPT_PROGRAMS,
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

enum err peer_name_parse(const char *text, struct peer_name *out)
{
    const char *colon = strrchr(text, ':'), *host = text;
    size_t len = strlen(text);
    memset(out, 0, sizeof *out);
    if (text[0] == '[') {
        const char *end = strchr(text, ']');
        if (!end || (end[1] && end[1] != ':'))
            return ERR_INVALID;
        host = text + 1;
        len = (size_t)(end - host);
        colon = end[1] ? end + 1 : NULL;
    } else if (colon && strchr(text, ':') != colon) {
        colon = NULL; /* an IPv6 address without a port */
    } else if (colon) {
        len = (size_t)(colon - text);
    }
    const char *port = colon ? colon + 1 : OPTION_PORT_DEFAULT;
    char *end;
    unsigned long number = strtoul(port, &end, 10);
    if (len == 0 || len >= sizeof out->host || *end || number == 0 || number > 65535)
        return ERR_INVALID;
    memcpy(out->host, host, len);
    snprintf(out->port, sizeof out->port, "%lu", number);
    return ERR_OK;
}

enum err memory_parse(const char *text, uint32_t *mib)
{
    char *end;
    if (text[0] < '0' || text[0] > '9')
        return ERR_INVALID;
    unsigned long long v = strtoull(text, &end, 10);
    unsigned long long unit = *end == 'G' || *end == 'g' ? 1024 : 1;
    bool known =
        *end == '\0' || ((*end == 'M' || *end == 'm' || *end == 'G' || *end == 'g') &&
                         (!end[1] || strcmp(end + 1, "iB") == 0 || strcmp(end + 1, "B") == 0));
    if (!known || v == 0 || v > UINT32_MAX / 1024)
        return ERR_INVALID;
    *mib = (uint32_t)(v * unit);
    return ERR_OK;
}

static void path_set(char out[static OPTION_PATH_SIZE], const char *name, const char *value)
{
    if (value[0] == '/') {
        if (strlen(value) >= OPTION_PATH_SIZE)
            usage("--%s: the path is too long", name);
        snprintf(out, OPTION_PATH_SIZE, "%s", value);
        return;
    }
    char cwd[OPTION_PATH_SIZE];
    int n = getcwd(cwd, sizeof cwd) ? snprintf(out, OPTION_PATH_SIZE, "%s/%s", cwd, value)
                                    : OPTION_PATH_SIZE;
    if (n >= OPTION_PATH_SIZE)
        usage("--%s: the path is too long", name);
}

static void label_add(struct options *o, const char *text)
{
    const char *eq = strchr(text, '=');
    if (!eq || eq == text || (size_t)(eq - text) >= LABEL_SIZE || strlen(eq + 1) >= LABEL_SIZE)
        usage("--label %s: write KEY=VALUE, each of at most %d bytes", text, LABEL_SIZE - 1);
    struct label l = {0};
    memcpy(l.key, text, (size_t)(eq - text));
    snprintf(l.value, sizeof l.value, "%s", eq + 1);
    uint32_t at = 0;
    while (at < o->labels.count && strcmp(o->labels.v[at].key, l.key) < 0)
        at++;
    if (at < o->labels.count && strcmp(o->labels.v[at].key, l.key) == 0) {
        o->labels.v[at] = l;
        return;
    }
    if (o->labels.count == LABELS_MAX)
        usage("--label: at most %d", LABELS_MAX);
    memmove(&o->labels.v[at + 1], &o->labels.v[at], (o->labels.count - at) * sizeof l);
    o->labels.v[at] = l;
    o->labels.count++;
}

static void tender_set(struct options *o, const char *text)
{
    char name[16];
    enum target t;
    const char *eq = strchr(text, '=');
    if (!eq || eq[1] != '/' || (size_t)(eq - text) >= sizeof name)
        usage("--tender %s: write TARGET=/PATH", text);
    snprintf(name, sizeof name, "%.*s", (int)(eq - text), text);
    if (target_parse(name, &t) || t == TARGET_NONE)
        usage("--tender %s: the target is none of hvt, spt, virtio", text);
    path_set(o->tender[t], "tender", eq + 1);
}

static void address_set(struct address *out, const char *name, const char *value)
{
    char with_port[128];
    if (!address_parse(value, out))
        return;
    snprintf(with_port, sizeof with_port, "%s:%s", value, OPTION_PORT_DEFAULT);
    if (address_parse(with_port, out))
        usage("--%s %s: write ADDRESS:PORT, as in 192.0.2.1:%s or [2001:db8::1]:%s", name, value,
              OPTION_PORT_DEFAULT, OPTION_PORT_DEFAULT);
}

static void log_level_set(struct options *o, const char *value)
{
    static const char *const names[] = {"debug", "info", "warn", "error"};
    for (int i = 0; i < 4; i++)
        if (strcmp(value, names[i]) == 0) {
            o->log_level = (enum log_level)i;
            return;
        }
    usage("--log-level %s: debug, info, warn or error", value);
}

static void option_set(struct options *o, enum option_id id, const char *value)
{
    switch (id) {
    case OPT_STATE:
        path_set(o->state_dir, "state", value);
        break;
    case OPT_RUN:
        path_set(o->run_dir, "run", value);
        break;
    case OPT_KEY_FILE:
        path_set(o->key_file, "key-file", value);
        break;
    case OPT_BIND:
        address_set(&o->bind, "bind", value);
        break;
    case OPT_ADVERTISE:
        address_set(&o->advertise, "advertise", value);
        o->advertised = true;
        break;
    case OPT_NAME:
        if (!name_valid(value))
            usage("--name %s: lower case letters, digits, dots and hyphens, at most %d, a letter "
                  "or digit at both ends",
                  value, NAME_MAX_LEN);
        snprintf(o->name, sizeof o->name, "%s", value);
        break;
    case OPT_JOIN:
        if (o->join_count == OPTION_JOINS_MAX)
            usage("--join: at most %d", OPTION_JOINS_MAX);
        if (peer_name_parse(value, &o->joins[o->join_count++]))
            usage("--join %s: write HOST, HOST:PORT or [IPV6]:PORT", value);
        break;
    case OPT_DISCOVER:
        o->discover = true;
        break;
    case OPT_MEMORY:
        if (memory_parse(value, &o->memory_mib))
            usage("--memory %s: write a size, as in 512M or 8G", value);
        break;
    case OPT_LABEL:
        label_add(o, value);
        break;
    case OPT_MESH_LABEL:
        if (!value[0] || strlen(value) >= sizeof o->mesh_label)
            usage("--mesh: a label of 1 to %zu bytes", sizeof o->mesh_label - 1);
        snprintf(o->mesh_label, sizeof o->mesh_label, "%s", value);
        break;
    case OPT_SOCKET:
        path_set(o->socket, "socket", value);
        break;
    case OPT_NEW_IDENTITY:
        o->new_identity = true;
        break;
    case OPT_LOG_FORMAT:
        if (strcmp(value, "logfmt") != 0 && strcmp(value, "json") != 0)
            usage("--log-format %s: logfmt or json", value);
        o->log_format = strcmp(value, "json") == 0 ? LOG_FORMAT_JSON : LOG_FORMAT_LOGFMT;
        break;
    case OPT_LOG_LEVEL:
        log_level_set(o, value);
        break;
    case OPT_TENDER:
        tender_set(o, value);
        break;
    case OPT_PROGRAMS:
        path_set(o->programs, "programs", value);
        break;
    case OPT_CONFIG: /* read before */
        break;
    case OPT_HELP:
        help();
    case OPT_VERSION:
        printf("meshd %s\n", node_version());
        exit(0);
    }
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
    memset(o, 0, sizeof *o);
    snprintf(o->state_dir, sizeof o->state_dir, STATE_DEFAULT);
    snprintf(o->run_dir, sizeof o->run_dir, RUN_DEFAULT);
    snprintf(o->key_file, sizeof o->key_file, KEY_DEFAULT);
    o->log_level = LOG_INFO;
    address_set(&o->bind, "bind", "0.0.0.0:" OPTION_PORT_DEFAULT);
    opterr = 0;
    while ((id = getopt_long(argc, argv, "h", longs, NULL)) != -1) {
        if (id == 'h')
            help();
        if (id == '?')
            usage("%s: there is no such option, or it wants a value", argv[optind - 1]);
        option_set(o, (enum option_id)id, optarg);
    }
    if (optind < argc)
        usage("%s: arguments are options only", argv[optind]);
    if (!o->programs[0])
        programs_default(o);
}
