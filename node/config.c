#define _GNU_SOURCE
#include "node/config.h"

#include "ctl/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- One thing ------------------------------------------------------------------------------ */

struct said {
    struct config *c;
    const char *key; /* as it was given, for messages */
    const char *value;
    char *why;
    size_t why_size;
};

__attribute__((format(printf, 3, 4))) static enum err refuse(const struct said *s, enum err err,
                                                             const char *format, ...)
{
    char text[512];
    va_list ap;
    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    snprintf(s->why, s->why_size, "%s: %s", s->key, text);
    return err;
}

static enum err set_name(const struct said *s)
{
    if (!name_valid(s->value))
        return refuse(s, ERR_INVALID,
                      "\"%.70s\" is no name; take 1 to %d of a-z, 0-9, - and ., beginning and "
                      "ending with a letter or digit",
                      s->value, NAME_MAX_LEN);
    snprintf(s->c->name, sizeof s->c->name, "%s", s->value);
    return ERR_OK;
}

/* Without a port: the default one. */
static enum err address_set(const struct said *s, struct address *out)
{
    char with_port[128];
    snprintf(with_port, sizeof with_port, "%.100s:%s", s->value, CONFIG_PORT_DEFAULT);
    if (address_parse(s->value, out) && address_parse(with_port, out))
        return refuse(s, ERR_INVALID,
                      "\"%.80s\" is no ADDRESS:PORT; write 192.0.2.1:%s or [2001:db8::1]:%s",
                      s->value, CONFIG_PORT_DEFAULT, CONFIG_PORT_DEFAULT);
    return ERR_OK;
}

static enum err set_bind(const struct said *s)
{
    enum err err = address_set(s, &s->c->bind);
    s->c->bind_given |= !err;
    return err;
}

static enum err set_advertise(const struct said *s)
{
    enum err err = address_set(s, &s->c->advertise);
    s->c->advertise_given |= !err;
    return err;
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
    uint64_t port;
    if (number_parse(colon ? colon + 1 : CONFIG_PORT_DEFAULT, UINT16_MAX, &port) || port == 0 ||
        len == 0 || len >= sizeof out->host)
        return ERR_INVALID;
    for (size_t i = 0; i < len; i++) /* what names and addresses have */
        if (!((host[i] >= 'a' && host[i] <= 'z') || (host[i] >= 'A' && host[i] <= 'Z') ||
              (host[i] >= '0' && host[i] <= '9') || strchr(".-_:%", host[i])))
            return ERR_INVALID;
    memcpy(out->host, host, len);
    snprintf(out->port, sizeof out->port, "%u", (unsigned)port);
    return ERR_OK;
}

static enum err set_join(const struct said *s)
{
    if (s->c->join_count == CONFIG_JOIN_MAX)
        return refuse(s, ERR_FULL, "more than %d peers are given", CONFIG_JOIN_MAX);
    if (peer_name_parse(s->value, &s->c->join[s->c->join_count]))
        return refuse(s, ERR_INVALID,
                      "\"%.80s\" is no HOST:PORT; write front.example:%s or [2001:db8::1]:%s",
                      s->value, CONFIG_PORT_DEFAULT, CONFIG_PORT_DEFAULT);
    s->c->join_count++;
    return ERR_OK;
}

static enum err switch_set(const struct said *s, bool *out)
{
    static const char *const words[2][3] = {{"false", "no", "off"}, {"true", "yes", "on"}};
    for (int v = 0; v < 2; v++) {
        for (int i = 0; i < 3; i++) {
            if (strcmp(s->value, words[v][i]) == 0) {
                *out = v;
                return ERR_OK;
            }
        }
    }
    return refuse(s, ERR_INVALID, "\"%.32s\" is neither true nor false", s->value);
}

static enum err set_discover(const struct said *s)
{
    return switch_set(s, &s->c->discover);
}

static enum err set_jail(const struct said *s)
{
    bool on = true;
    enum err err = switch_set(s, &on);
    s->c->jail.off = !on;
    return err;
}

static enum err set_user(const struct said *s)
{
    if (s->value[0] == '\0' || strlen(s->value) >= sizeof s->c->user || s->value[0] == '-')
        return refuse(s, ERR_INVALID, "\"%.40s\" is no user's name", s->value);
    snprintf(s->c->user, sizeof s->c->user, "%s", s->value);
    return ERR_OK;
}

static enum err set_guest_uids(const struct said *s)
{
    if (jail_uids_parse(s->value, &s->c->jail))
        return refuse(s, ERR_INVALID, "\"%.32s\" is no FIRST-LAST of uids from 1000 on; write %u-%u", s->value,
                      (unsigned)JAIL_UID_FIRST, (unsigned)(JAIL_UID_FIRST + JAIL_UID_COUNT - 1));
    return ERR_OK;
}

static enum err set_memory(const struct said *s)
{
    uint32_t mib;
    enum err err = size_parse_mib(s->value, &mib);
    if (err == ERR_TOO_LARGE)
        return refuse(s, err, "%.32s is more than any host has", s->value);
    if (err || mib == 0)
        return refuse(s, ERR_INVALID, "\"%.32s\" is no size in whole MiB; write 512M or 8G",
                      s->value);
    s->c->memory_mib = mib;
    s->c->memory_given = true;
    return ERR_OK;
}

static enum err set_volumes(const struct said *s)
{
    enum err err = size_parse_mib(s->value, &s->c->volumes_mib);
    if (err == ERR_TOO_LARGE)
        return refuse(s, err, "%.32s is more than any host has", s->value);
    if (err || s->c->volumes_mib == 0)
        return refuse(s, ERR_INVALID, "\"%.32s\" is no size in whole MiB; write 10G", s->value);
    return ERR_OK;
}

static enum err path_set(const struct said *s, char out[static CONFIG_PATH_SIZE])
{
    if (s->value[0] == '\0')
        return refuse(s, ERR_INVALID, "is empty; write a path");
    if (strlen(s->value) >= CONFIG_PATH_SIZE)
        return refuse(s, ERR_TOO_LARGE, "is longer than a path may be");
    snprintf(out, CONFIG_PATH_SIZE, "%s", s->value);
    return ERR_OK;
}

static enum err set_key_file(const struct said *s)
{
    return path_set(s, s->c->key_file);
}

static enum err set_state(const struct said *s)
{
    return path_set(s, s->c->state);
}

static enum err set_run(const struct said *s)
{
    return path_set(s, s->c->run);
}

static enum err set_socket(const struct said *s)
{
    return path_set(s, s->c->socket);
}

static enum err set_programs(const struct said *s)
{
    return path_set(s, s->c->programs);
}

static enum err set_mesh(const struct said *s)
{
    char clean[CONFIG_MESH_SIZE];
    text_clean(clean, sizeof clean, s->value);
    if (s->value[0] == '\0' || strcmp(clean, s->value) != 0)
        return refuse(s, ERR_INVALID, "\"%.80s\" is no label of 1 to %d bytes of text", s->value,
                      CONFIG_MESH_SIZE - 1);
    memcpy(s->c->mesh, clean, sizeof clean);
    return ERR_OK;
}

static enum err set_log_format(const struct said *s)
{
    if (strcmp(s->value, "logfmt") != 0 && strcmp(s->value, "json") != 0)
        return refuse(s, ERR_INVALID, "\"%.32s\" is neither logfmt nor json", s->value);
    s->c->log_format = strcmp(s->value, "json") == 0 ? CONFIG_LOG_JSON : CONFIG_LOGFMT;
    s->c->log_format_given = true;
    return ERR_OK;
}

static enum err set_log_level(const struct said *s)
{
    static const char *const names[] = {"debug", "info", "warn", "error"};
    for (int i = 0; i < 4; i++) {
        if (strcmp(s->value, names[i]) == 0) {
            s->c->log_level = (enum log_level)i;
            s->c->log_level_given = true;
            return ERR_OK;
        }
    }
    return refuse(s, ERR_INVALID, "\"%.32s\" is none of debug, info, warn and error", s->value);
}

static enum err label_set(const struct said *s, const char *key, const char *value)
{
    struct labels *l = &s->c->labels;
    for (uint32_t i = 0; i < l->count; i++) { /* the last word holds */
        if (strcmp(l->v[i].key, key) != 0)
            continue;
        memmove(&l->v[i], &l->v[i + 1], (l->count - i - 1) * sizeof l->v[0]);
        memset(&l->v[--l->count], 0, sizeof l->v[0]);
    }
    enum err err = labels_add(l, key, value);
    return err ? refuse(s, err, "%.64s %s", key, labels_error(err)) : ERR_OK;
}

static enum err tender_set(const struct said *s, const char *target, const char *path)
{
    enum target t;
    const struct said at = {s->c, s->key, path, s->why, s->why_size};
    if (target_parse(target, &t) || t == TARGET_NONE)
        return refuse(s, ERR_INVALID, "\"%.32s\" is no target; there are hvt, spt and virtio",
                      target);
    return path_set(&at, s->c->tender[t]);
}

/* "KEY=VALUE" */
static enum err pair_set(const struct said *s,
                         enum err (*set)(const struct said *, const char *, const char *))
{
    char key[LABEL_SIZE];
    const char *is = strchr(s->value, '=');
    if (!is || is == s->value || (size_t)(is - s->value) >= sizeof key)
        return refuse(s, ERR_INVALID, "\"%.80s\" is not KEY=VALUE", s->value);
    memcpy(key, s->value, (size_t)(is - s->value));
    key[is - s->value] = '\0';
    return set(s, key, is + 1);
}

static enum err set_label(const struct said *s)
{
    return pair_set(s, label_set);
}

static enum err set_tender(const struct said *s)
{
    return pair_set(s, tender_set);
}

static enum err network_set(const struct said *s, const char *name, const char *bridge)
{
    char why[256];
    enum err err = networks_add(&s->c->networks, name, bridge, why, sizeof why);
    return err ? refuse(s, err, "%s", why) : ERR_OK;
}

static enum err set_network(const struct said *s)
{
    return pair_set(s, network_set);
}

static const struct {
    const char *key;
    enum err (*set)(const struct said *s);
} KEYS[] = {
    {"name", set_name},
    {"bind", set_bind},
    {"advertise", set_advertise},
    {"join", set_join},
    {"discover", set_discover},
    {"memory", set_memory},
    {"volumes", set_volumes},
    {"key-file", set_key_file},
    {"state", set_state},
    {"run", set_run},
    {"socket", set_socket},
    {"programs", set_programs},
    {"mesh", set_mesh},
    {"log-format", set_log_format},
    {"log-level", set_log_level},
    {"label", set_label},
    {"tender", set_tender},
    {"network", set_network},
    {"jail", set_jail},
    {"user", set_user},
    {"guest-uids", set_guest_uids},
};

enum err config_set(struct config *c, const char *key, const char *value, char *why,
                    size_t why_size)
{
    const struct said s = {c, key, value, why, why_size};
    for (size_t i = 0; i < sizeof KEYS / sizeof *KEYS; i++)
        if (strcmp(KEYS[i].key, key) == 0)
            return KEYS[i].set(&s);
    if (strncmp(key, "labels.", 7) == 0)
        return label_set(&s, key + 7, value);
    if (strncmp(key, "tenders.", 8) == 0)
        return tender_set(&s, key + 8, value);
    if (strncmp(key, "networks.", 9) == 0)
        return network_set(&s, key + 9, value);
    return refuse(&s, ERR_NOT_FOUND, "there is no such key");
}

/* ---- A file -----------------------------------------------------------------------------------
 */

/* libcyaml builds this; its values are then said one by one. */
struct raw_tenders {
    char *target[TARGET_COUNT];
};

enum { TEXTS = 17 }; /* keys of one value; and the place of a join that is one */

struct raw {
    char *text[TEXTS + 1]; /* by the fields' order */
    char **join;
    uint32_t join_count;
    struct raw_tenders *tenders;
};

enum { OPTIONAL = CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL };

static const cyaml_schema_value_t text_schema = {
    CYAML_VALUE_STRING(CYAML_FLAG_POINTER, char, 0, CYAML_UNLIMITED)};

static const cyaml_schema_field_t tender_fields[] = {
    CYAML_FIELD_STRING_PTR("hvt", OPTIONAL, struct raw_tenders, target[TARGET_HVT], 0,
                           CYAML_UNLIMITED),
    CYAML_FIELD_STRING_PTR("spt", OPTIONAL, struct raw_tenders, target[TARGET_SPT], 0,
                           CYAML_UNLIMITED),
    CYAML_FIELD_STRING_PTR("virtio", OPTIONAL, struct raw_tenders, target[TARGET_VIRTIO], 0,
                           CYAML_UNLIMITED),
    CYAML_FIELD_END,
};

#define TEXT_FIELD(key, n)                                                                         \
    CYAML_FIELD_STRING_PTR(key, OPTIONAL, struct raw, text[n], 0, CYAML_UNLIMITED)
enum { FIELD_JOIN = TEXTS, FIELD_COUNT = TEXTS + 5 };

static const cyaml_schema_field_t fields_of_all[FIELD_COUNT] = {
    TEXT_FIELD("name", 0),
    TEXT_FIELD("bind", 1),
    TEXT_FIELD("advertise", 2),
    TEXT_FIELD("discover", 3),
    TEXT_FIELD("memory", 4),
    TEXT_FIELD("key-file", 5),
    TEXT_FIELD("state", 6),
    TEXT_FIELD("run", 7),
    TEXT_FIELD("socket", 8),
    TEXT_FIELD("programs", 9),
    TEXT_FIELD("mesh", 10),
    TEXT_FIELD("log-format", 11),
    TEXT_FIELD("log-level", 12),
    TEXT_FIELD("volumes", 13),
    TEXT_FIELD("jail", 14),
    TEXT_FIELD("guest-uids", 15),
    TEXT_FIELD("user", 16),
    CYAML_FIELD_SEQUENCE("join", OPTIONAL, struct raw, join, &text_schema, 0, CONFIG_JOIN_MAX),
    CYAML_FIELD_MAPPING_PTR("tenders", OPTIONAL, struct raw, tenders, tender_fields),
    CYAML_FIELD_IGNORE("labels", CYAML_FLAG_OPTIONAL), /* its keys are the user's */
    CYAML_FIELD_IGNORE("networks", CYAML_FLAG_OPTIONAL), /* likewise */
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t join_one = TEXT_FIELD("join", FIELD_JOIN); /* one needs no list */

struct reading {
    struct config *c;
    const struct yaml_doc *doc;
    const struct raw *raw;
    struct yaml_error *error;
};

static enum err say(const struct reading *r, const struct yaml_node *at, const char *key,
                    const char *value)
{
    char why[YAML_ERROR_SIZE];
    enum err err = config_set(r->c, key, value, why, sizeof why);
    return err ? yaml_fail(r->doc, at ? at->line : 0, r->error, err, "%s", why) : ERR_OK;
}

static enum err say_list(const struct reading *r, const char *key, char **values, uint32_t count)
{
    const struct yaml_node *list = yaml_find(yaml_doc_root(r->doc), key);
    const struct yaml_node *n = list ? list->child : NULL;
    for (uint32_t i = 0; i < count; i++, n = n ? n->next : NULL) {
        enum err err = say(r, n, key, values[i]);
        if (err)
            return err;
    }
    return ERR_OK;
}

static enum err say_tenders(const struct reading *r)
{
    const struct yaml_node *map = yaml_find(yaml_doc_root(r->doc), "tenders");
    for (int t = TARGET_NONE + 1; r->raw->tenders && t < TARGET_COUNT; t++) {
        char key[32];
        const char *name = target_name((enum target)t), *path = r->raw->tenders->target[t];
        snprintf(key, sizeof key, "tenders.%s", name);
        enum err err = path ? say(r, yaml_find(map, name), key, path) : ERR_OK;
        if (err)
            return err;
    }
    return ERR_OK;
}

static enum err say_labels(const struct reading *r)
{
    const struct yaml_node *map = yaml_find(yaml_doc_root(r->doc), "labels");
    if (map && map->kind != YAML_TREE_MAPPING)
        return yaml_fail(r->doc, map->line, r->error, ERR_INVALID,
                         "labels: is no mapping; write labels: {LABEL: VALUE}");
    for (const struct yaml_node *n = map ? map->child : NULL; n; n = n->next) {
        if (n->kind != YAML_TREE_SCALAR)
            return yaml_fail(r->doc, n->line, r->error, ERR_INVALID,
                             "labels.%.64s: is to be one value", n->key);
        enum err err = labels_add(&r->c->labels, n->key, n->value);
        if (err)
            return yaml_fail(r->doc, n->line, r->error, err, "labels.%.64s: %s", n->key,
                             labels_error(err));
    }
    return ERR_OK;
}

/* A network's words; of a list one each. */
static enum err network_key(const struct reading *r, const struct yaml_node *n, char *words, size_t size)
{
    static const char *const keys[] = {"subnet", "gateway", "range", "uplink", "mtu"};
    size_t i = 0, at = strlen(words);
    while (i < sizeof keys / sizeof keys[0] && strcmp(keys[i], n->key) != 0)
        i++;
    if (i == sizeof keys / sizeof keys[0])
        return yaml_fail(
            r->doc, n->line, r->error, ERR_INVALID,
            "networks: %.64s: there is no such key; a network has bridge, subnet, gateway, range, uplink and mtu",
            n->key);
    if (n->kind == YAML_TREE_MAPPING)
        return yaml_fail(r->doc, n->line, r->error, ERR_INVALID, "networks: %s: is to be one value, or a list of them",
                         keys[i]);
    for (const struct yaml_node *v = n->kind == YAML_TREE_SEQUENCE ? n->child : n; v; v = v == n ? NULL : v->next) {
        if (v->kind != YAML_TREE_SCALAR || strchr(v->value, ',') || at >= size)
            return yaml_fail(r->doc, v->line, r->error, ERR_INVALID,
                             "networks: %s: is to be one value, or a list of them", keys[i]);
        at += (size_t)snprintf(words + at, size - at, ",%s=%.100s", keys[i], v->value);
    }
    return ERR_OK;
}

static enum err say_network(const struct reading *r, const struct yaml_node *n)
{
    char key[128], words[2 * NETWORK_WORDS];
    const struct yaml_node *bridge = n->kind == YAML_TREE_MAPPING ? yaml_find(n, "bridge") : n;
    if (!bridge || bridge->kind != YAML_TREE_SCALAR)
        return yaml_fail(r->doc, n->line, r->error, ERR_INVALID,
                         "networks.%.64s: write networks: {%.64s: {bridge: BRIDGE}}", n->key, n->key);
    snprintf(words, sizeof words, "%.100s", bridge->value);
    for (const struct yaml_node *k = n->kind == YAML_TREE_MAPPING ? n->child : NULL; k; k = k->next) {
        enum err err = k == bridge ? ERR_OK : network_key(r, k, words, sizeof words);
        if (err)
            return err;
    }
    snprintf(key, sizeof key, "networks.%.100s", n->key);
    return say(r, bridge, key, words);
}

static enum err say_networks(const struct reading *r)
{
    const struct yaml_node *map = yaml_find(yaml_doc_root(r->doc), "networks");
    if (map && map->kind != YAML_TREE_MAPPING)
        return yaml_fail(r->doc, map->line, r->error, ERR_INVALID,
                         "networks: is no mapping; write networks: {NETWORK: BRIDGE}");
    enum err err = ERR_OK;
    for (const struct yaml_node *n = map ? map->child : NULL; n && !err; n = n->next)
        err = say_network(r, n);
    return err;
}

static enum err say_all(const struct reading *r)
{
    enum err err = ERR_OK;
    for (size_t i = 0; i <= FIELD_JOIN && !err; i++) {
        const char *key = fields_of_all[i].key;
        if (r->raw->text[i])
            err = say(r, yaml_find(yaml_doc_root(r->doc), key), key, r->raw->text[i]);
    }
    if (!err)
        err = say_list(r, "join", r->raw->join, r->raw->join_count);
    if (!err)
        err = say_tenders(r);
    if (!err)
        err = say_labels(r);
    return err ? err : say_networks(r);
}

static enum err document_read(struct config *c, const struct yaml_doc *doc,
                              struct yaml_error *error)
{
    cyaml_schema_field_t fields[FIELD_COUNT];
    const struct yaml_node *join = yaml_find(yaml_doc_root(doc), "join");
    memcpy(fields, fields_of_all, sizeof fields);
    if (join && join->kind == YAML_TREE_SCALAR)
        fields[FIELD_JOIN] = join_one;
    const cyaml_schema_value_t schema = {
        CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct raw, fields)};
    void *raw;
    enum err err = yaml_load(doc, &schema, "the daemon's configuration", &raw, error);
    if (err)
        return err;
    const struct reading r = {.c = c, .doc = doc, .raw = raw, .error = error};
    err = say_all(&r);
    yaml_unload(&schema, raw);
    return err;
}

enum err config_read(struct config *c, const char *path, struct yaml_error *error)
{
    struct yaml_doc *doc;
    enum err err = yaml_doc_read(&doc, path, error);
    if (err)
        return err;
    err = document_read(c, doc, error);
    yaml_doc_free(doc);
    return err;
}

enum err config_parse(struct config *c, const char *name, const void *bytes, size_t len,
                      struct yaml_error *error)
{
    struct yaml_doc *doc;
    enum err err = yaml_doc_parse(&doc, name, bytes, len, error);
    if (err)
        return err;
    err = document_read(c, doc, error);
    yaml_doc_free(doc);
    return err;
}
