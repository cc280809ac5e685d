/* Rows of the control protocol, from the engine's views. Members, apps and images are told in one
 * go; units, of which there may be a great many, app by app, as fast as the client reads. */
#define _GNU_SOURCE
#include "node/loop/control_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void control_node_name(struct engine *e, node_id node, char out[static NAME_SIZE])
{
    struct node_body b;
    out[0] = '\0';
    if (node && !engine_node(e, node, &b))
        memcpy(out, b.name, NAME_SIZE);
}

/* ---- Members ------------------------------------------------------------------------------- */

static void member_send(struct conn *c, node_id node, enum member_state state,
                        const struct address *spoken_from)
{
    struct engine *e = node_engine(c->control->node);
    struct control_message m = {.type = CONTROL_MEMBER};
    struct control_member *r = &m.member;
    struct node_body b = {0};
    enum err err = engine_node(e, node, &b);
    r->node = node;
    r->state = state;
    if (node == engine_self(e)) {
        r->flags |= CONTROL_SELF;
        snprintf(r->version, sizeof r->version, "%s", node_version());
    }
    if (engine_name_conflict(e, node))
        r->flags |= CONTROL_CONFLICT;
    if (err && spoken_from) {
        r->address_count = 1;
        r->addresses[0] = *spoken_from;
    } else {
        r->address_count = b.address_count;
        memcpy(r->addresses, b.addresses, sizeof r->addresses);
    }
    memcpy(r->name, b.name, sizeof r->name);
    memcpy(r->target_abi, b.target_abi, sizeof r->target_abi);
    memcpy(r->arch, b.arch, sizeof r->arch);
    r->node_flags = b.flags;
    r->targets = b.targets;
    r->capacity_mib = b.capacity_mib;
    r->used_mib = b.used_mib;
    r->boot = b.boot;
    r->incarnation = b.incarnation;
    r->away_until_ms = b.away_until_ms;
    r->cpus = b.cpus;
    r->labels = b.labels;
    r->network_count = b.network_count;
    memcpy(r->networks, b.networks, sizeof r->networks);
    conn_send(c, &m);
}

void control_members(struct conn *c)
{
    struct engine *e = node_engine(c->control->node);
    const struct swim *s = engine_members(e);
    node_id self = engine_self(e);
    size_t i = 0;
    member_send(c, self, MEMBER_ALIVE, NULL);
    for (const struct member *m; (m = swim_next(s, &i));)
        if (m->node != self)
            member_send(c, m->node, m->state, &m->address);
    conn_end(c, ERR_OK, "ok");
}

/* ---- Apps ---------------------------------------------------------------------------------- */

struct apps {
    struct conn *c;
    const struct uid *only; /* NULL: all */
    bool with_spec;
    uint32_t sent;
};

static void app_send(void *ctx, const struct app_view *v)
{
    struct apps *a = ctx;
    struct engine *e = node_engine(a->c->control->node);
    if (a->only && !uid_equal(a->only, &v->uid))
        return;
    struct control_message m = {.type = CONTROL_APP};
    struct control_app *r = &m.app_row;
    r->uid = v->uid;
    r->version = v->version;
    r->revision = v->spec.revision;
    r->memory_mib = v->spec.memory_mib;
    r->replicas = v->replicas;
    r->running = v->running;
    r->copies = v->copies;
    r->conflicts = v->conflicts;
    r->wanted = v->wanted;
    r->shadowed = v->shadowed;
    memcpy(r->name, v->spec.name, sizeof r->name);
    if (a->with_spec) {
        const struct record_key key = record_key_app(RECORD_SPEC, &v->uid);
        const struct entry *entry = replica_find(engine_records(e), &key);
        if (entry)
            r->spec = entry->record.body;
    }
    a->sent++;
    conn_send(a->c, &m);
}

void control_apps(struct conn *c)
{
    struct apps a = {.c = c};
    engine_each_app(node_engine(c->control->node), app_send, &a);
    conn_end(c, ERR_OK, "ok");
}

/* ---- Units --------------------------------------------------------------------------------- */

struct walk {
    uint32_t count, next, size;
    struct uid *apps;
};

static void walk_app(void *ctx, const struct app_view *v)
{
    struct walk *w = ctx;
    if (w->count == w->size) {
        uint32_t size = w->size ? w->size * 2 : 64;
        struct uid *apps = realloc(w->apps, size * sizeof *apps);
        if (!apps)
            return; /* what is told is then less than all; there is no memory for more */
        w->apps = apps;
        w->size = size;
    }
    w->apps[w->count++] = v->uid;
}

static void unit_send(void *ctx, const struct unit_view *v)
{
    struct conn *c = ctx;
    struct control_message m = {.type = CONTROL_UNIT};
    struct control_unit *r = &m.unit;
    r->app = v->app;
    snprintf(r->app_name, sizeof r->app_name, "%s", v->app_name);
    r->slot = v->slot;
    r->node = v->node;
    control_node_name(node_engine(c->control->node), v->node, r->node_name);
    r->winner = v->winner;
    r->state = v->body.state;
    r->epoch = v->body.epoch;
    r->surrogate = v->body.surrogate;
    r->revision = v->body.revision;
    r->target = v->body.target;
    r->restarts = v->body.restarts;
    r->exit_status = v->body.exit_status;
    r->exit_signal = v->body.exit_signal;
    r->since_ms = v->body.since_ms;
    r->pid = v->body.pid;
    r->memory_mib = v->body.memory_mib;
    memcpy(r->reason, v->body.reason, sizeof r->reason);
    r->address_count = v->body.address_count;
    for (uint32_t i = 0; i < r->address_count; i++) {
        memcpy(r->addresses[i].network, v->body.addresses[i].network, sizeof r->addresses[i].network);
        r->addresses[i].ip = v->body.addresses[i].ip;
    }
    conn_send(c, &m);
}

static void walk_free(struct walk *w)
{
    free(w->apps);
    free(w);
}

static void walk_on(struct conn *c, void *task)
{
    struct walk *w = task;
    while (w->next < w->count && conn_has_room(c))
        engine_each_unit(node_engine(c->control->node), &w->apps[w->next++], unit_send, c);
    if (w->next == w->count) {
        walk_free(w);
        conn_end(c, ERR_OK, "ok");
    }
}

static void walk_cancel(struct conn *c, void *task)
{
    (void)c;
    walk_free(task);
}

static const struct conn_task walk_ops = {.on_drain = walk_on, .cancel = walk_cancel};

static void no_such_app(struct conn *c, const char *app)
{
    conn_end(c, ERR_NOT_FOUND, "no app is called %s; `meshctl apps` lists them", app);
}

void control_units(struct conn *c, const char *app)
{
    struct engine *e = node_engine(c->control->node);
    struct uid uid;
    if (app[0]) {
        if (engine_find_app(e, app, &uid)) {
            no_such_app(c, app);
            return;
        }
        engine_each_unit(e, &uid, unit_send, c);
        conn_end(c, ERR_OK, "ok");
        return;
    }
    struct walk *w = calloc(1, sizeof *w);
    if (!w) {
        conn_end(c, ERR_NOMEM, "the node is out of memory");
        return;
    }
    engine_each_app(e, walk_app, w);
    conn_begin(c, &walk_ops, w);
    walk_on(c, w);
}

void control_inspect(struct conn *c, const char *app)
{
    struct engine *e = node_engine(c->control->node);
    struct uid uid;
    if (engine_find_app(e, app, &uid)) {
        no_such_app(c, app);
        return;
    }
    struct apps a = {.c = c, .only = &uid, .with_spec = true};
    engine_each_app(e, app_send, &a);
    if (a.sent == 0) {
        conn_end(c, ERR_NOT_READY,
                 "what this node has of %s is damaged; it will be had from a peer again", app);
        return;
    }
    engine_each_unit(e, &uid, unit_send, c);
    conn_end(c, ERR_OK, "ok");
}

/* ---- Images -------------------------------------------------------------------------------- */

static void image_user(void *ctx, const struct app_view *v)
{
    struct control_image *row = ctx;
    for (uint32_t i = 0; i < v->spec.image_count; i++) {
        if (!hash_equal(&v->spec.images[i].image, &row->image))
            continue;
        if (row->user_count < CONTROL_USERS_MAX)
            memcpy(row->users[row->user_count], v->spec.name, NAME_SIZE);
        row->user_count++;
        return;
    }
}

static void image_send(void *ctx, const struct hash *image, uint64_t size)
{
    struct conn *c = ctx;
    struct control_message m = {.type = CONTROL_IMAGE};
    m.image.image = *image;
    m.image.size_bytes = size;
    engine_each_app(node_engine(c->control->node), image_user, &m.image);
    conn_send(c, &m);
}

void control_images(struct conn *c)
{
    images_each(node_images(c->control->node), image_send, c);
    conn_end(c, ERR_OK, "ok");
}

/* ---- Counters ------------------------------------------------------------------------------ */

static void counter_send(void *ctx, const char *name, uint64_t value)
{
    struct control_message m = {.type = CONTROL_COUNTER, .counter = {.value = value}};
    snprintf(m.counter.name, sizeof m.counter.name, "%s", name);
    conn_send(ctx, &m);
}

void control_counters(struct conn *c)
{
    node_each_counter(c->control->node, counter_send, c);
    conn_end(c, ERR_OK, "ok");
}
