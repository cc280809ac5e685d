/* Commands that show: members, apps, ps, inspect, image ls, events, version. Rows are gathered,
 * then printed as a table or as JSON. */
#define _GNU_SOURCE
#include "ctl/cli.h"

#include "ctl/show.h"
#include "ctl/text.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---- Tables -------------------------------------------------------------------------------- */

struct libscols_table *table_new(const struct column *columns, bool wide)
{
    struct libscols_table *t = scols_new_table();
    if (!t)
        return NULL;
    for (const struct column *c = columns; c->name; c++)
        if (wide || !c->wide)
            scols_table_new_column(t, c->name, 0, c->right ? SCOLS_FL_RIGHT : 0);
    scols_table_enable_colors(t, cli_colors());
    return t;
}

struct libscols_line *table_line(struct table *t)
{
    t->next = 0;
    t->column = 0;
    t->line = t->table ? scols_table_new_line(t->table, NULL) : NULL;
    return t->line;
}

void table_cell(struct table *t, const char *text)
{
    const struct column *c = &t->columns[t->next++];
    if (!t->line || (c->wide && !t->wide))
        return;
    scols_line_set_data(t->line, t->column, text);
    t->column++;
}

void table_color(struct table *t, const char *color)
{
    if (t->line && t->column > 0 && color)
        scols_cell_set_color(scols_line_get_cell(t->line, t->column - 1), color);
}

void table_number(struct table *t, uint64_t v)
{
    char text[24];
    snprintf(text, sizeof text, "%" PRIu64, v);
    table_cell(t, text);
}

void table_print(struct table *t)
{
    if (!t->table)
        return;
    scols_print_table(t->table);
    scols_unref_table(t->table);
    t->table = NULL;
}

/* ---- JSON ---------------------------------------------------------------------------------- */

void json_print(json_t *j)
{
    json_dumpf(j, stdout, JSON_INDENT(2) | JSON_ENSURE_ASCII);
    fputc('\n', stdout);
    json_decref(j);
}

void json_put(json_t *object, const char *key, json_t *value)
{
    json_object_set_new(object, key, value ? value : json_null());
}

json_t *json_text(const char *text)
{
    return text[0] ? json_string(text) : json_null();
}

json_t *json_u64(uint64_t v)
{
    return json_integer((json_int_t)(v > INT64_MAX ? INT64_MAX : v));
}

json_t *json_node_id(node_id id)
{
    char text[NODE_ID_TEXT];
    node_id_text(id, text);
    return id ? json_string(text) : json_null();
}

json_t *json_labels(const struct labels *l)
{
    json_t *o = json_object();
    for (uint32_t i = 0; i < l->count; i++)
        json_put(o, l->v[i].key, json_string(l->v[i].value));
    return o;
}

static json_t *json_time(uint64_t wall_ms)
{
    char text[TIME_TEXT];
    cli_time_text(wall_ms, text);
    return wall_ms ? json_string(text) : json_null();
}

/* ---- Members ------------------------------------------------------------------------------- */

static json_t *networks_json(const struct control_member *m)
{
    json_t *a = json_array();
    for (uint32_t i = 0; i < m->network_count; i++)
        json_array_append_new(a, json_string(m->networks[i]));
    return a;
}

static bool is_away(const struct control_member *m)
{
    return m->away_until_ms > (uint64_t)time(NULL) * 1000;
}

static void addresses_text(const struct control_member *m, bool all, char *out, size_t size)
{
    size_t at = 0;
    out[0] = '\0';
    for (uint32_t i = 0; i < m->address_count && (all || i == 0); i++) {
        char text[ADDRESS_TEXT];
        address_text(&m->addresses[i], text);
        at += (size_t)snprintf(out + at, size - at, "%s%s", i ? "," : "", text);
    }
}

static void targets_text(const struct control_member *m, char *out, size_t size)
{
    size_t at = 0;
    snprintf(out, size, "-");
    for (int t = TARGET_NONE + 1; t < TARGET_COUNT; t++)
        if (m->targets & 1u << t)
            at += (size_t)snprintf(out + at, size - at, "%s%s", at ? "," : "",
                                   target_name((enum target)t));
}

static json_t *member_json(const struct control_member *m)
{
    char text[ADDRESS_TEXT];
    json_t *o = json_object(), *addresses = json_array(), *targets = json_array(),
           *memory = json_object();
    for (uint32_t i = 0; i < m->address_count; i++) {
        address_text(&m->addresses[i], text);
        json_array_append_new(addresses, json_string(text));
    }
    for (int t = TARGET_NONE + 1; t < TARGET_COUNT; t++)
        if (m->targets & 1u << t)
            json_array_append_new(targets, json_string(target_name((enum target)t)));
    json_put(memory, "capacity", json_u64(m->capacity_mib));
    json_put(memory, "used", json_u64(m->used_mib));
    json_put(o, "id", json_node_id(m->node));
    json_put(o, "name", json_string(m->name));
    json_put(o, "state", json_string(member_state_text(m->state)));
    json_put(o, "address", json_incref(json_array_get(addresses, 0)));
    json_put(o, "addresses", addresses);
    json_put(o, "targets", targets);
    json_put(o, "memory", memory);
    json_put(o, "self", json_boolean(m->flags & CONTROL_SELF));
    json_put(o, "conflict", json_boolean(m->flags & CONTROL_CONFLICT));
    json_put(o, "away", json_boolean(is_away(m)));
    json_put(o, "away_until", json_time(m->away_until_ms));
    json_put(o, "draining", json_boolean(m->node_flags & NODE_DRAINING));
    json_put(o, "read_only", json_boolean(m->node_flags & NODE_READ_ONLY));
    json_put(o, "version", json_text(m->version));
    json_put(o, "labels", json_labels(&m->labels));
    json_put(o, "networks", networks_json(m));
    json_put(o, "arch", json_text(m->arch));
    json_put(o, "cpus", json_u64(m->cpus));
    json_put(o, "boot", json_u64(m->boot));
    json_put(o, "incarnation", json_u64(m->incarnation));
    return o;
}

static const char *member_color(enum member_state s)
{
    return s == MEMBER_ALIVE     ? "green"
           : s == MEMBER_SUSPECT ? "yellow"
           : s == MEMBER_DEAD    ? "red"
                                 : NULL;
}

static const struct column MEMBER_COLUMNS[] = {
    {"NAME", false, false},    {"ID", false, false},      {"STATE", false, false},
    {"ADDRESS", false, false}, {"TARGETS", false, false}, {"MEMORY", true, false},
    {"CPUS", true, true},      {"ARCH", false, true},     {"LABELS", false, true},
    {"NETWORKS", false, true}, {"BOOT", true, true},      {"NOTES", false, false},   {NULL, false, false}};

static void member_notes(const struct control_member *m, char *out, size_t size)
{
    snprintf(out, size, "%s%s%s%s%s", m->flags & CONTROL_SELF ? "this node " : "",
             m->flags & CONTROL_CONFLICT ? "NAME CONFLICT: another live node has this name " : "",
             is_away(m) ? "away " : "", m->node_flags & NODE_DRAINING ? "draining " : "",
             m->node_flags & NODE_READ_ONLY ? "store is full " : "");
    size_t n = strlen(out);
    if (n)
        out[n - 1] = '\0';
}

static void member_line(struct listing *l, const struct control_member *m)
{
    struct table *t = &l->table;
    char text[512], labels[LABELS_MAX * 2 * LABEL_SIZE];
    size_t at = 0;
    table_line(t);
    table_cell(t, m->name);
    node_id_text(m->node, text);
    table_cell(t, text);
    table_cell(t, member_state_text(m->state));
    table_color(t, member_color(m->state));
    addresses_text(m, t->wide, text, sizeof text);
    table_cell(t, text);
    targets_text(m, text, sizeof text);
    table_cell(t, text);
    snprintf(text, sizeof text, "%u/%uM", m->used_mib, m->capacity_mib);
    table_cell(t, text);
    table_number(t, m->cpus);
    table_cell(t, m->arch);
    labels[0] = '\0';
    for (uint32_t i = 0; i < m->labels.count; i++)
        at += (size_t)snprintf(labels + at, sizeof labels - at, "%s%s=%s", i ? "," : "",
                               m->labels.v[i].key, m->labels.v[i].value);
    table_cell(t, labels);
    labels[0] = '\0';
    at = 0;
    for (uint32_t i = 0; i < m->network_count; i++)
        at += (size_t)snprintf(labels + at, sizeof labels - at, "%s%s", i ? "," : "", m->networks[i]);
    table_cell(t, labels);
    table_number(t, m->boot);
    member_notes(m, text, sizeof text);
    table_cell(t, text);
}

static void member_row(void *ctx, const struct control_message *m)
{
    struct listing *l = ctx;
    if (m->type != CONTROL_MEMBER)
        return;
    if (l->cli->output == OUTPUT_JSON)
        json_array_append_new(l->array, member_json(&m->member));
    else if (l->cli->output == OUTPUT_NAME)
        printf("%s\n", m->member.name);
    else
        member_line(l, &m->member);
}

static enum cli_status list(struct cli *cli, const struct control_message *request,
                            const struct column *columns, cli_row_fn *row)
{
    struct listing l = {.cli = cli,
                        .table = {.columns = columns, .wide = cli->output == OUTPUT_WIDE}};
    struct control_end end;
    if (cli->output == OUTPUT_JSON)
        l.array = json_array();
    else if (cli->output != OUTPUT_NAME)
        l.table.table = table_new(columns, l.table.wide);
    enum cli_status status = cli_ask(cli, request, CLIENT_TIMEOUT_MS, row, &l, &end);
    if (!status && end.err)
        status = cli_fail_end(&end);
    if (status) {
        json_decref(l.array);
        scols_unref_table(l.table.table);
        return status;
    }
    if (l.array)
        json_print(l.array);
    table_print(&l.table);
    return CLI_OK;
}

enum cli_status cli_members(struct cli *cli, int argc, char **argv)
{
    (void)argc, (void)argv;
    const struct control_message m = {.type = CONTROL_MEMBERS};
    return list(cli, &m, MEMBER_COLUMNS, member_row);
}

/* ---- Apps ---------------------------------------------------------------------------------- */

static const struct column APP_COLUMNS[] = {
    {"APP", false, false}, {"REPLICAS", true, false}, {"RUNNING", true, false},
    {"REV", true, false},  {"MEMORY", true, false},   {"COPIES", true, true},
    {"UID", false, true},  {"NOTES", false, false},   {NULL, false, false}};

static json_t *app_json(const struct control_app *a)
{
    char uid[UID_TEXT];
    json_t *o = json_object();
    uid_text(&a->uid, uid);
    json_put(o, "app", json_string(a->name));
    json_put(o, "uid", json_string(uid));
    json_put(o, "revision", json_u64(a->revision));
    json_put(o, "replicas", json_u64(a->replicas));
    json_put(o, "running", json_u64(a->running));
    json_put(o, "wanted", json_string(a->wanted == WANTED_RUNNING ? "running" : "stopped"));
    json_put(o, "memory", json_u64(a->memory_mib));
    json_put(o, "copies", json_u64(a->copies));
    json_put(o, "conflicts", json_u64(a->conflicts));
    json_put(o, "shadowed", json_boolean(a->shadowed));
    return o;
}

static void app_notes(const struct control_app *a, char *out, size_t size)
{
    char conflicts[64] = "";
    if (a->conflicts)
        snprintf(conflicts, sizeof conflicts, "; %u concurrent deploy%s lost", a->conflicts,
                 a->conflicts == 1 ? "" : "s");
    snprintf(out, size, "%s%s%s", a->wanted == WANTED_STOPPED ? "; stopped" : "",
             a->shadowed ? "; another app has this name" : "", conflicts);
    if (out[0])
        memmove(out, out + 2, strlen(out + 2) + 1);
}

static void app_row(void *ctx, const struct control_message *m)
{
    struct listing *l = ctx;
    const struct control_app *a = &m->app_row;
    struct table *t = &l->table;
    char text[160];
    if (m->type != CONTROL_APP)
        return;
    if (l->cli->output == OUTPUT_JSON) {
        json_array_append_new(l->array, app_json(a));
        return;
    }
    if (l->cli->output == OUTPUT_NAME) {
        printf("%s\n", a->name);
        return;
    }
    table_line(t);
    table_cell(t, a->name);
    table_number(t, a->replicas);
    table_number(t, a->running);
    table_color(t, a->running < a->replicas && a->wanted == WANTED_RUNNING ? "yellow" : NULL);
    table_number(t, a->revision);
    snprintf(text, sizeof text, "%uM", a->memory_mib);
    table_cell(t, text);
    table_number(t, a->copies);
    uid_text(&a->uid, text);
    table_cell(t, text);
    app_notes(a, text, sizeof text);
    table_cell(t, text);
}

enum cli_status cli_apps(struct cli *cli, int argc, char **argv)
{
    (void)argc, (void)argv;
    const struct control_message m = {.type = CONTROL_APPS};
    return list(cli, &m, APP_COLUMNS, app_row);
}

/* ---- Units --------------------------------------------------------------------------------- */

const struct column UNIT_COLUMNS[] = {
    {"UNIT", false, false}, {"NODE", false, false},   {"STATE", false, false},
    {"REV", true, false},   {"TARGET", false, false}, {"RESTARTS", true, false},
    {"EXIT", true, false},  {"SINCE", true, false},   {"MEMORY", true, true},
    {"EPOCH", true, true},  {"PID", true, true},      {"ADDRESSES", false, true},
    {"REASON", false, false}, {NULL, false, false}};

/* By network; a list, as a guest may have several there. */
static json_t *unit_addresses_json(const struct control_unit *u)
{
    json_t *o = json_object();
    for (uint32_t i = 0; i < u->address_count; i++) {
        char text[IP_TEXT];
        json_t *list = json_object_get(o, u->addresses[i].network);
        if (!list)
            json_put(o, u->addresses[i].network, list = json_array());
        ip_text(&u->addresses[i].ip, text);
        json_array_append_new(list, json_string(text));
    }
    return o;
}

static void unit_addresses_text(const struct control_unit *u, char *out, size_t size)
{
    size_t at = 0;
    out[0] = '\0';
    for (uint32_t i = 0; i < u->address_count && at < size; i++) {
        char text[IP_TEXT];
        ip_text(&u->addresses[i].ip, text);
        at += (size_t)snprintf(out + at, size - at, "%s%s", i ? "," : "", text);
    }
}

json_t *unit_json(const struct control_unit *u)
{
    json_t *o = json_object();
    json_put(o, "app", json_string(u->app_name));
    json_put(o, "slot", json_u64(u->slot));
    json_put(o, "node", json_text(u->node_name));
    json_put(o, "node_id", json_node_id(u->node));
    json_put(o, "state", json_string(unit_state_text(u->state)));
    json_put(o, "revision", json_u64(u->revision));
    json_put(o, "epoch", json_u64(u->epoch));
    json_put(o, "surrogate", json_boolean(u->surrogate != 0));
    json_put(o, "overtaken", json_boolean(u->node != 0 && !u->winner));
    json_put(o, "target", json_text(target_name(u->target)));
    json_put(o, "restarts", json_u64(u->restarts));
    json_put(o, "exit",
             u->exit_status >= 0   ? json_integer(u->exit_status)
             : u->exit_signal != 0 ? json_u64(128 + (uint64_t)u->exit_signal)
                                   : json_null());
    json_put(o, "signal", u->exit_signal ? json_u64(u->exit_signal) : json_null());
    json_put(o, "reason", json_string(u->reason));
    json_put(o, "memory", json_u64(u->memory_mib));
    json_put(o, "since", json_time(u->since_ms));
    json_put(o, "addresses", unit_addresses_json(u));
    return o;
}

static const char *unit_color(enum unit_state s)
{
    return s == UNIT_RUNNING                                              ? "green"
           : s == UNIT_FAILED                                             ? "red"
           : s == UNIT_PENDING || s == UNIT_BACKOFF || s == UNIT_STOPPING ? "yellow"
                                                                          : NULL;
}

void unit_line(struct table *t, const struct control_unit *u)
{
    char text[NAME_SIZE + 16], since[SINCE_TEXT], addresses[UNIT_ADDRESSES_MAX * IP_TEXT];
    bool overtaken = u->node && !u->winner;
    table_line(t);
    snprintf(text, sizeof text, "%s/%u", u->app_name, u->slot);
    table_cell(t, text);
    if (u->node && !u->node_name[0])
        node_id_text(u->node, text);
    else
        snprintf(text, sizeof text, "%s", u->node ? u->node_name : "-");
    table_cell(t, text);
    snprintf(text, sizeof text, "%s%s", unit_state_text(u->state), overtaken ? " (overtaken)" : "");
    table_cell(t, text);
    table_color(t, unit_color(u->state));
    table_number(t, u->revision);
    table_cell(t, u->target ? target_name(u->target) : "-");
    table_number(t, u->restarts);
    cli_exit_text(u, since);
    table_cell(t, since);
    cli_age_text(u->since_ms, since);
    table_cell(t, since);
    snprintf(text, sizeof text, "%uM", u->memory_mib);
    table_cell(t, text);
    snprintf(text, sizeof text, "%" PRIu64 "%s", u->epoch, u->surrogate ? "s" : "");
    table_cell(t, text);
    table_number(t, u->pid);
    unit_addresses_text(u, addresses, sizeof addresses);
    table_cell(t, addresses);
    table_cell(t, u->reason);
}

static void unit_row(void *ctx, const struct control_message *m)
{
    struct listing *l = ctx;
    if (m->type != CONTROL_UNIT)
        return;
    if (l->cli->output == OUTPUT_JSON)
        json_array_append_new(l->array, unit_json(&m->unit));
    else if (l->cli->output == OUTPUT_NAME)
        printf("%s/%u\n", m->unit.app_name, m->unit.slot);
    else
        unit_line(&l->table, &m->unit);
}

enum cli_status cli_ps(struct cli *cli, int argc, char **argv)
{
    struct control_message m = {.type = CONTROL_UNITS};
    if (argc > 0)
        snprintf(m.app, sizeof m.app, "%s", name_valid(argv[0]) ? argv[0] : "");
    if (argc > 0 && !m.app[0])
        return cli_fail(CLI_NOT_FOUND, "no app is called %s", argv[0]);
    return list(cli, &m, UNIT_COLUMNS, unit_row);
}

/* ---- Images -------------------------------------------------------------------------------- */

static const struct column IMAGE_COLUMNS[] = {
    {"IMAGE", false, false}, {"SIZE", true, false}, {"APPS", false, false}, {NULL, false, false}};

static void image_row(void *ctx, const struct control_message *m)
{
    struct listing *l = ctx;
    const struct control_image *i = &m->image;
    char hash[HASH_TEXT], size[SIZE_TEXT], users[CONTROL_USERS_MAX * (NAME_SIZE + 2) + 16];
    if (m->type != CONTROL_IMAGE)
        return;
    hash_text(&i->image, hash);
    uint32_t listed = i->user_count < CONTROL_USERS_MAX ? i->user_count : CONTROL_USERS_MAX;
    if (l->cli->output == OUTPUT_NAME) {
        printf("%s\n", hash);
        return;
    }
    if (l->cli->output == OUTPUT_JSON) {
        json_t *o = json_object(), *apps = json_array();
        for (uint32_t n = 0; n < listed; n++)
            json_array_append_new(apps, json_string(i->users[n]));
        json_put(o, "image", json_string(hash));
        json_put(o, "size", json_u64(i->size_bytes));
        json_put(o, "app_count", json_u64(i->user_count));
        json_put(o, "apps", apps);
        json_array_append_new(l->array, o);
        return;
    }
    size_t at = 0;
    users[0] = '\0';
    for (uint32_t n = 0; n < listed; n++)
        at += (size_t)snprintf(users + at, sizeof users - at, "%s%s", n ? ", " : "", i->users[n]);
    if (i->user_count > listed)
        snprintf(users + at, sizeof users - at, ", …");
    size_text(i->size_bytes, size);
    table_line(&l->table);
    if (l->cli->output == OUTPUT_TABLE)
        hash[16] = '\0';
    table_cell(&l->table, hash);
    table_cell(&l->table, size);
    table_cell(&l->table, users);
}

enum cli_status cli_images(struct cli *cli, int argc, char **argv)
{
    (void)argc, (void)argv;
    const struct control_message m = {.type = CONTROL_IMAGES};
    return list(cli, &m, IMAGE_COLUMNS, image_row);
}

/* ---- Volumes ------------------------------------------------------------------------------- */

enum cli_status cli_volumes(struct cli *cli, int argc, char **argv)
{
    (void)argc, (void)argv;
    const struct control_message m = {.type = CONTROL_VOLUMES};
    return list(cli, &m, VOLUME_COLUMNS, volume_row);
}

/* ---- Counters ------------------------------------------------------------------------------ */

static const struct column COUNTER_COLUMNS[] = {
    {"COUNTER", false, false}, {"VALUE", true, false}, {NULL, false, false}};

static void counter_row(void *ctx, const struct control_message *m)
{
    struct listing *l = ctx;
    char value[24];
    if (m->type != CONTROL_COUNTER)
        return;
    if (l->cli->output == OUTPUT_NAME) {
        printf("%s\n", m->counter.name);
        return;
    }
    if (l->cli->output == OUTPUT_JSON) {
        json_t *o = json_object();
        json_put(o, "counter", json_string(m->counter.name));
        json_put(o, "value", json_u64(m->counter.value));
        json_array_append_new(l->array, o);
        return;
    }
    if (l->cli->output == OUTPUT_TABLE && m->counter.value == 0)
        return;
    snprintf(value, sizeof value, "%llu", (unsigned long long)m->counter.value);
    table_line(&l->table);
    table_cell(&l->table, m->counter.name);
    table_cell(&l->table, value);
}

enum cli_status cli_counters(struct cli *cli, int argc, char **argv)
{
    (void)argc, (void)argv;
    const struct control_message m = {.type = CONTROL_COUNTERS};
    return list(cli, &m, COUNTER_COLUMNS, counter_row);
}

/* ---- Events -------------------------------------------------------------------------------- */

static const char *level_text(enum log_level level)
{
    return level == LOG_DEBUG  ? "debug"
           : level == LOG_INFO ? "info"
           : level == LOG_WARN ? "warn"
                               : "error";
}

static void event_row(void *ctx, const struct control_message *m)
{
    const struct cli *cli = ctx;
    const struct control_event *e = &m->event;
    char time[TIME_TEXT];
    if (m->type != CONTROL_EVENT)
        return;
    cli_time_text(e->wall_ms, time);
    if (cli->output == OUTPUT_JSON) { /* an object a line: it may go on for ever */
        json_t *o = json_object();
        json_put(o, "seq", json_u64(e->seq));
        json_put(o, "time", json_string(time));
        json_put(o, "level", json_string(level_text(e->level)));
        json_put(o, "event", json_string(e->event));
        json_put(o, "fields", json_string(e->fields));
        json_dumpf(o, stdout, JSON_COMPACT | JSON_ENSURE_ASCII);
        putchar('\n');
        json_decref(o);
    } else if (cli->output == OUTPUT_NAME) {
        printf("%s\n", e->event);
    } else {
        printf("%s %-5s %s %s\n", time, level_text(e->level), e->event, e->fields);
    }
    if (cli->follow && !client_has_message(cli->client))
        fflush(stdout);
}

enum cli_status cli_events(struct cli *cli, int argc, char **argv)
{
    (void)argc, (void)argv;
    struct control_end end;
    const struct control_message m = {.type = CONTROL_EVENTS,
                                      .events = {.count = cli->lines, .follow = cli->follow}};
    enum cli_status status =
        cli_ask(cli, &m, cli->follow ? CLIENT_FOREVER : CLIENT_TIMEOUT_MS, event_row, cli, &end);
    return status ? status : end.err ? cli_fail_end(&end) : CLI_OK;
}

/* ---- Version ------------------------------------------------------------------------------- */

static void about_row(void *ctx, const struct control_message *m)
{
    if (m->type == CONTROL_ABOUT)
        *(struct control_about *)ctx = m->about;
}

enum cli_status cli_version(struct cli *cli, int argc, char **argv)
{
    (void)argc, (void)argv;
    const struct control_message m = {.type = CONTROL_HELLO};
    struct control_about about = {{0}, 0, {0}};
    struct control_end end;
    char id[NODE_ID_TEXT];
    if (cli->output != OUTPUT_JSON)
        printf("meshctl %s\n", UNIMESH_VERSION);
    enum cli_status status = cli_ask(cli, &m, CLIENT_TIMEOUT_MS, about_row, &about, &end);
    if (status || end.err)
        return status ? status : cli_fail_end(&end);
    node_id_text(about.node, id);
    if (cli->output == OUTPUT_JSON) {
        json_t *o = json_object();
        json_put(o, "meshctl", json_string(UNIMESH_VERSION));
        json_put(o, "node", json_string(about.version));
        json_put(o, "id", json_string(id));
        json_put(o, "name", json_string(about.name));
        json_print(o);
        return CLI_OK;
    }
    printf("node %s (%s, %s)\n", about.version, about.name, id);
    return CLI_OK;
}
