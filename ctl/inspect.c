/* meshctl inspect: all about an app. */
#define _GNU_SOURCE
#include "ctl/appfile.h"
#include "ctl/show.h"
#include "ctl/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct inspection {
    struct cli *cli;
    bool have;
    struct control_app app;
    struct spec_body spec;
    uint8_t spec_bytes[RECORD_BODY_MAX];
    bool spec_read;
    json_t *units;
    struct table table;
};

static void inspect_row(void *ctx, const struct control_message *m)
{
    struct inspection *i = ctx;
    if (m->type == CONTROL_APP) {
        i->have = true;
        i->app = m->app_row;
        memcpy(i->spec_bytes, m->app_row.spec.p, m->app_row.spec.len);
        i->app.spec.p = i->spec_bytes;
        i->spec_read = spec_body_decode(i->app.spec, &i->spec) == ERR_OK;
    } else if (m->type == CONTROL_UNIT && i->units) {
        json_t *u = unit_json(&m->unit);
        json_put(u, "pid", m->unit.pid ? json_u64(m->unit.pid) : json_null());
        json_array_append_new(i->units, u);
    } else if (m->type == CONTROL_UNIT) {
        unit_line(&i->table, &m->unit);
    }
}

static json_t *args_json(const struct spec_body *s)
{
    json_t *a = json_array();
    struct slice rest = s->args, arg;
    while (spec_arg_next(&rest, &arg))
        json_array_append_new(a, json_stringn((const char *)arg.p, arg.len));
    return a;
}

static json_t *images_json(const struct spec_body *s)
{
    json_t *a = json_array();
    for (uint32_t i = 0; i < s->image_count; i++) {
        char hash[HASH_TEXT];
        json_t *o = json_object();
        hash_text(&s->images[i].image, hash);
        json_put(o, "target", json_string(target_name(s->images[i].target)));
        json_put(o, "image", json_string(hash));
        json_put(o, "size", json_u64(s->images[i].size_bytes));
        json_array_append_new(a, o);
    }
    return a;
}

static json_t *nets_json(const struct spec_body *s)
{
    json_t *o = json_object();
    for (uint32_t i = 0; i < s->net_count; i++)
        json_put(o, s->nets[i].device, json_string(s->nets[i].network));
    return o;
}

static json_t *ports_json(const struct access *a, bool published)
{
    json_t *list = json_array();
    char text[PORT_TEXT];
    for (uint32_t i = 0; i < a->port_count; i++) {
        if ((a->ports[i].published != 0) != published)
            continue;
        port_text(&a->ports[i], text);
        json_array_append_new(list, json_string(text));
    }
    return list;
}

static json_t *peers_json(const struct access *a, enum peer_wish wish)
{
    json_t *list = json_array();
    char text[NAME_SIZE + 16];
    for (uint32_t i = 0; i < a->peer_count; i++) {
        if (a->peers[i].wish != wish)
            continue;
        peer_text(&a->peers[i], text);
        json_array_append_new(list, json_string(text));
    }
    return list;
}

static void print_access(const struct access *a)
{
    char text[NAME_SIZE + 16];
    for (uint32_t i = 0; i < a->port_count; i++) {
        port_text(&a->ports[i], text);
        printf("%s %s\n", a->ports[i].published ? "publish  " : "port     ", text);
    }
    for (uint32_t i = 0; i < a->peer_count; i++) {
        peer_text(&a->peers[i], text);
        printf("%s %s\n", a->peers[i].wish == PEER_ALLOW ? "allow    " : "deny     ", text);
    }
}

static json_t *blocks_json(const struct spec_body *s)
{
    json_t *o = json_object();
    for (uint32_t i = 0; i < s->block_count; i++) {
        json_t *b = json_object();
        json_put(b, "size", json_u64(s->blocks[i].size_mib));
        json_put(b, "sector", json_u64(s->blocks[i].sector_bytes));
        json_put(b, "sparse", json_boolean(s->blocks[i].sparse));
        json_put(o, s->blocks[i].device, b);
    }
    return o;
}

static json_t *spec_json(const struct spec_body *s)
{
    json_t *o = json_object(), *codes = json_array();
    for (uint32_t i = 0; i < s->exit_code_count; i++)
        json_array_append_new(codes, json_u64(s->exit_codes[i]));
    json_put(o, "app", json_string(s->name));
    json_put(o, "images", images_json(s));
    json_put(o, "memory", json_u64(s->memory_mib));
    json_put(o, "args", args_json(s));
    json_put(o, "restart", json_string(restart_text(s->restart)));
    json_put(o, "codes", codes);
    json_put(o, "require", json_labels(&s->require));
    json_put(o, "nets", nets_json(s));
    json_put(o, "ports", ports_json(&s->access, false));
    json_put(o, "publish", ports_json(&s->access, true));
    json_put(o, "allow", peers_json(&s->access, PEER_ALLOW));
    json_put(o, "deny", peers_json(&s->access, PEER_DENY));
    json_put(o, "blocks", blocks_json(s));
    json_put(o, "volume_lost", s->block_count ? json_string(volume_lost_text(s->volume_lost)) : json_null());
    json_put(o, "affinity", json_text(s->affinity));
    json_put(o, "policy", json_string(s->policy == POLICY_AVAILABLE ? "available" : "quorum"));
    return o;
}

static void print_json(struct inspection *i)
{
    char text[UID_TEXT];
    json_t *o = json_object();
    uid_text(&i->app.uid, text);
    json_put(o, "app", json_string(i->app.name));
    json_put(o, "uid", json_string(text));
    json_put(o, "revision", json_u64(i->app.revision));
    json_put(o, "replicas", json_u64(i->app.replicas));
    json_put(o, "running", json_u64(i->app.running));
    json_put(o, "wanted", json_string(i->app.wanted == WANTED_RUNNING ? "running" : "stopped"));
    json_put(o, "conflicts", json_u64(i->app.conflicts));
    json_put(o, "shadowed", json_boolean(i->app.shadowed));
    json_put(o, "copies", json_u64(i->app.copies));
    json_put(o, "author", json_node_id(i->app.version.author));
    json_put(o, "images", i->spec_read ? images_json(&i->spec) : json_array());
    json_put(o, "spec", i->spec_read ? spec_json(&i->spec) : json_null());
    json_put(o, "units", i->units);
    i->units = NULL;
    json_print(o);
}

static void print_spec(const struct spec_body *s)
{
    struct slice rest = s->args, arg;
    for (uint32_t n = 0; n < s->image_count; n++) {
        char hash[HASH_TEXT], size[SIZE_TEXT];
        hash_text(&s->images[n].image, hash);
        size_text(s->images[n].size_bytes, size);
        printf("image     %s %s (%s)\n", target_name(s->images[n].target), hash, size);
    }
    printf("memory    %uM\nrestart   %s", s->memory_mib, restart_text(s->restart));
    for (uint32_t n = 0; n < s->exit_code_count; n++)
        printf("%s%u", n ? ", " : ", for ", s->exit_codes[n]);
    printf("\n");
    for (uint32_t n = 0; n < s->require.count; n++)
        printf("require   %s=%s\n", s->require.v[n].key, s->require.v[n].value);
    for (uint32_t n = 0; n < s->net_count; n++)
        printf("net       %s on %s\n", s->nets[n].device, s->nets[n].network);
    print_access(&s->access);
    for (uint32_t n = 0; n < s->block_count; n++)
        printf("block     %s %uM, sectors of %u%s\n", s->blocks[n].device, s->blocks[n].size_mib,
               s->blocks[n].sector_bytes, s->blocks[n].sparse ? ", sparse" : "");
    if (s->block_count && s->volume_lost != VOLUME_LOST_WAIT)
        printf("lost      %s\n", volume_lost_text(s->volume_lost));
    if (s->affinity[0])
        printf("affinity  %s\n", s->affinity);
    while (spec_arg_next(&rest, &arg))
        printf("arg       %.*s\n", (int)arg.len, (const char *)arg.p);
}

static void print_text(struct inspection *i)
{
    char uid[UID_TEXT];
    uid_text(&i->app.uid, uid);
    printf("app       %s\nuid       %s\nrevision  %u\nreplicas  %u, %u of them running%s\ncopies   "
           " %u node%s\n",
           i->app.name, uid, i->app.revision, i->app.replicas, i->app.running,
           i->app.wanted == WANTED_STOPPED ? "; stopped by wish" : "", i->app.copies,
           i->app.copies == 1 ? "" : "s");
    if (i->app.conflicts)
        printf("conflicts %u concurrent deploys lost to this one\n", i->app.conflicts);
    if (i->spec_read)
        print_spec(&i->spec);
    printf("\n");
    table_print(&i->table);
}

enum cli_status cli_inspect(struct cli *cli, int argc, char **argv)
{
    (void)argc;
    struct control_message m = {.type = CONTROL_INSPECT};
    struct control_end end;
    if (!name_valid(argv[0]))
        return cli_fail(CLI_NOT_FOUND, "no app is called %s", argv[0]);
    snprintf(m.app, sizeof m.app, "%s", argv[0]);
    struct inspection *i = calloc(1, sizeof *i);
    if (!i)
        return cli_fail(CLI_FAILED, "out of memory");
    i->cli = cli;
    i->table = (struct table){.columns = UNIT_COLUMNS, .wide = true};
    if (cli->output == OUTPUT_JSON)
        i->units = json_array();
    else if (cli->output != OUTPUT_NAME)
        i->table.table = table_new(UNIT_COLUMNS, true);
    enum cli_status status = cli_ask(cli, &m, CLIENT_TIMEOUT_MS, inspect_row, i, &end);
    if (!status && end.err)
        status = cli_fail_end(&end);
    if (status || !i->have)
        ;
    else if (i->units)
        print_json(i);
    else if (cli->output == OUTPUT_NAME)
        printf("%s\n", i->app.name);
    else
        print_text(i);
    json_decref(i->units);
    scols_unref_table(i->table.table);
    free(i);
    return status;
}
