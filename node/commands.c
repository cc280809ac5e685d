/* What operators ask. A command becomes records; it is acknowledged when they, and the images they name, are on
 * as many disks as it asks for; a command whose own write fails is undone. */
#include "node/engine_internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { COMMAND_TIMEOUT_MS = 15000 };

void commands_reply(struct engine *e, uint64_t client, enum err err, const struct uid *app,
                    uint32_t revision, const char *text)
{
    size_t len = strlen(text);
    const char *copy = (const char *)effects_copy(e->fx, text, len + 1).p;
    struct effect *f = effects_add(e->fx, EFFECT_REPLY);
    f->id = client;
    f->reply = (struct effect_reply){.err = err, .text = copy, .revision = revision};
    if (app)
        f->reply.app = *app;
}

__attribute__((format(printf, 4, 5))) static void refuse(struct engine *e, uint64_t client,
                                                         enum err err, const char *format, ...)
{
    char text[512];
    va_list ap;
    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    commands_reply(e, client, err, NULL, 0, text);
}

/* ---- Pending ------------------------------------------------------------------------------------- */

static struct pending *pending_find(struct engine *e, uint64_t client)
{
    for (size_t i = 0; i < COMMANDS_MAX; i++)
        if (e->commands[i].client == client)
            return &e->commands[i];
    return NULL;
}

static void pending_end(struct engine *e, struct pending *p)
{
    for (uint32_t i = 0; i < p->undo_count; i++)
        mem_free(e->mem, p->undo[i].bytes);
    memset(p, 0, sizeof *p);
    e->command_count--;
}

static void pending_reply(struct engine *e, struct pending *p, enum err err)
{
    char text[sizeof p->text + 128];
    if (!err)
        snprintf(text, sizeof text, "%s; kept by %u node%s", p->text, p->copies,
                 p->copies == 1 ? "" : "s");
    else if (err == ERR_PARTIAL)
        snprintf(text, sizeof text, "%s, but only %u of %u nodes say that they keep it", p->text,
                 p->copies, p->need);
    else
        snprintf(text, sizeof text, "not done: the write to this node's disk failed; nothing changed");
    commands_reply(e, p->client, err, &p->app, p->revision, text);
    pending_end(e, p);
}

struct lost {
    struct version given;
    const struct entry *entry; /* NULL: none */
};

static void lost_visit(void *ctx, const struct entry *entry)
{
    struct lost *l = ctx;
    struct record r;
    struct spec_body spec;
    struct cursor c;
    if (entry->record.key.kind != RECORD_HISTORY)
        return;
    cursor_init(&c, entry->record.body.p, entry->record.body.len);
    const struct slice inner = cursor_bin(&c, RECORD_BYTES_MAX);
    if (c.err || record_decode(inner.p, inner.len, &r) || spec_body_decode(r.body, &spec))
        return;
    if (version_equal(r.version, l->given) || version_compare(spec.parent, l->given) >= 0)
        l->entry = entry;
}

/* Whoever is asked gets the app's spec of now. That may be one which was deployed elsewhere meanwhile and won: then
 * ours, or one that was written over it, is in the history, and is kept as that. */
static const struct entry *lost(struct engine *e, const struct pending *p)
{
    struct lost l = {.given = p->spec};
    if (p->spec.clock)
        replica_each_of_app(e->replica, &p->app, lost_visit, &l);
    return l.entry;
}

static void ask_keepers(struct engine *e, struct pending *p)
{
    const struct app *a = p->durable ? app_find(e, &p->app) : NULL; /* what can be undone is not given away */
    if (e->now >= p->hedge_ms)
        p->asked = 0;
    while (a && p->copies + p->asked < p->need && p->tried_count < TRIED_MAX) {
        node_id keeper = a->deleted ? peers_any_staying(e, p->tried, p->tried_count)
                                    : copies_keeper(e, a, p->tried, p->tried_count);
        if (keeper == 0 || keeper == e->crypto->node) /* all hold the images: then any takes the records */
            keeper = peers_any_staying(e, p->tried, p->tried_count);
        if (keeper == 0 || !sync_keep(e, keeper, &p->app, lost(e, p), PURPOSE_KEEP_COMMAND, p->client))
            return;
        p->tried[p->tried_count++] = keeper;
        p->asked++;
        p->hedge_ms = e->now + KEEP_HEDGE_MS;
    }
}

static void pending_check(struct engine *e, struct pending *p)
{
    if (bug(e, BUG_ACK_BEFORE_DISK) || (p->durable && p->copies >= p->need))
        pending_reply(e, p, ERR_OK);
    else if (e->now >= p->until_ms)
        pending_reply(e, p, p->durable ? ERR_PARTIAL : ERR_TIMEOUT);
    else
        ask_keepers(e, p);
}

void commands_on_kept(struct engine *e, uint64_t client, enum err err)
{
    struct pending *p = client ? pending_find(e, client) : NULL;
    if (!p)
        return;
    p->asked -= p->asked > 0;
    if (!err)
        p->copies++;
    pending_check(e, p);
}

/* The write failed: what was merged goes, what was there before comes back. It never spread. What came from elsewhere
 * and took its place stays. */
static void undo(struct engine *e, struct pending *p)
{
    for (uint32_t i = 0; i < p->undo_count; i++) {
        const struct entry *entry = replica_find(e->replica, &p->undo[i].key);
        const struct record_key lost = record_key_history(&p->app, p->undo[i].written);
        if (p->undo[i].key.kind == RECORD_SPEC)
            replica_drop(e->replica, &lost);
        if (!entry || !version_equal(entry->record.version, p->undo[i].written))
            continue;
        replica_drop(e->replica, &p->undo[i].key);
        if (p->undo[i].bytes) {
            struct merged m;
            if (replica_merge(e->replica, p->undo[i].bytes, p->undo[i].len, e->wall, REPLICA_QUIET, &m))
                effects_log(e->fx, LOG_ERROR, "command.undo", "app=%s", p->text);
        }
        apps_on_record(e, &p->undo[i].key);
    }
}

void commands_on_written(struct engine *e, uint64_t from, uint64_t to, enum err err)
{
    for (size_t i = 0; e->command_count > 0 && i < COMMANDS_MAX; i++) {
        struct pending *p = &e->commands[i];
        if (p->client == 0 || p->durable || p->first_seq > to || p->seq <= from)
            continue;
        if (err) { /* any of them */
            undo(e, p);
            pending_reply(e, p, err);
        } else if (p->seq <= to) {
            p->durable = true;
            p->copies++;
            pending_check(e, p);
        }
    }
}

void commands_tick(struct engine *e)
{
    for (size_t i = 0; e->command_count > 0 && i < COMMANDS_MAX; i++) {
        struct pending *p = &e->commands[i];
        if (p->client && e->now >= min_u64(p->next_ms, p->until_ms) && effects_room(e->fx, CALL_BYTES_MAX)) {
            p->next_ms = e->now + NEVER_RETRY_MS;
            pending_check(e, p);
        }
    }
}

uint64_t commands_deadline(const struct engine *e)
{
    uint64_t at = UINT64_MAX;
    for (size_t i = 0; e->command_count > 0 && i < COMMANDS_MAX; i++)
        if (e->commands[i].client)
            at = min_u64(at, min_u64(e->commands[i].next_ms, e->commands[i].until_ms));
    return at;
}

/* A free place for a command; NULL: refused already. */
static struct pending *pending_begin(struct engine *e, uint64_t client, const struct command *c,
                                     const struct uid *app)
{
    struct pending *p = pending_find(e, 0);
    if (!p) {
        refuse(e, client, ERR_FULL, "%d commands are under way at this node; try again", COMMANDS_MAX);
        return NULL;
    }
    e->command_count++;
    uint32_t live = peers_staying_count(e);
    uint32_t want = c->ack == ACK_DEFAULT ? e->cfg.copies : c->ack;
    *p = (struct pending){
        .client = client,
        .kind = c->kind,
        .app = *app,
        .need = want < live ? want : live,
        .until_ms = e->now + (c->timeout_ms ? c->timeout_ms : COMMAND_TIMEOUT_MS),
        .next_ms = e->now + NEVER_RETRY_MS,
    };
    return p;
}

/* Publish one register of the app, remembering what it replaces. */
static enum err put(struct engine *e, struct pending *p, enum record_kind kind, const struct pack *body)
{
    const struct record_key key = record_key_app(kind, &p->app);
    const struct entry *old = replica_find(e->replica, &key);
    struct undo u = {.key = key};
    if (old) {
        u.len = old->record.bytes.len;
        u.bytes = mem_copy(e->mem, old->record.bytes.p, u.len);
        if (!u.bytes)
            return ERR_NOMEM;
    }
    uint64_t seq;
    enum err err = records_publish(e, &key, (struct slice){.p = body->p, .len = body->len}, &seq);
    if (err) {
        mem_free(e->mem, u.bytes);
        return err;
    }
    CHECK(p->undo_count < UNDO_MAX);
    u.written = replica_find(e->replica, &key)->record.version;
    p->undo[p->undo_count++] = u;
    if (kind == RECORD_SPEC)
        p->spec = u.written;
    if (!p->first_seq)
        p->first_seq = seq;
    p->seq = seq;
    return ERR_OK;
}

static enum err put_replicas(struct engine *e, struct pending *p, uint32_t replicas)
{
    uint8_t buffer[16];
    struct pack k;
    pack_init(&k, buffer, sizeof buffer);
    const struct replicas_body body = {.replicas = replicas};
    enum err err = replicas_body_encode(&body, &k);
    return err ? err : put(e, p, RECORD_REPLICAS, &k);
}

static enum err put_wanted(struct engine *e, struct pending *p, enum wanted wanted)
{
    uint8_t buffer[16];
    struct pack k;
    pack_init(&k, buffer, sizeof buffer);
    const struct wanted_body body = {.wanted = wanted};
    enum err err = wanted_body_encode(&body, &k);
    return err ? err : put(e, p, RECORD_WANTED, &k);
}

static void put_failed(struct engine *e, struct pending *p, enum err err)
{
    undo(e, p);
    commands_reply(e, p->client, err, &p->app, 0,
                   err == ERR_TOO_LARGE ? "the app's arguments and labels take more than a record holds"
                   : err == ERR_CLOCK   ? "this host's clock is too far from its peers'; set it right"
                                        : err_text(err));
    pending_end(e, p);
}

/* ---- The commands -------------------------------------------------------------------------------- */

/* What is written by a node that goes may have nobody else to keep it. */
static bool stays(struct engine *e, uint64_t client)
{
    if (e->stopping != STOP_NOT)
        refuse(e, client, ERR_NOT_READY, "this node is going; ask another");
    return e->stopping == STOP_NOT;
}

static bool writable(struct engine *e, uint64_t client)
{
    if (!stays(e, client))
        return false;
    if (e->write_failed) {
        refuse(e, client, ERR_IO, "this node can't write to its disk; ask another, or see to it");
        return false;
    }
    if (e->store_permille > e->cfg.read_only_permille) {
        refuse(e, client, ERR_MAP_FULL,
               "this node's store is %u%% full; remove apps, or give it a larger map",
               e->store_permille / 10);
        return false;
    }
    return true;
}

static bool replicas_ok(struct engine *e, uint64_t client, uint32_t replicas)
{
    if (replicas <= REPLICAS_MAX)
        return true;
    refuse(e, client, ERR_INVALID, "replicas: %u is more than the %d that an app may have", replicas,
           REPLICAS_MAX);
    return false;
}

static bool images_ok(struct engine *e, uint64_t client, const struct spec_body *spec)
{
    for (uint32_t i = 0; i < spec->image_count; i++) {
        char text[HASH_TEXT];
        hash_text(&spec->images[i].image, text);
        if (!engine_has_image(e, &spec->images[i].image)) {
            refuse(e, client, ERR_NOT_FOUND, "image %.16s… is not at this node; upload it first", text);
            return false;
        }
    }
    return true;
}

static void new_uid(struct engine *e, struct uid *out)
{
    for (size_t i = 0; i < sizeof out->b; i += 8) {
        uint64_t v = rng_u64(&e->rng);
        memcpy(out->b + i, &v, 8);
    }
}

static void deploy(struct engine *e, uint64_t client, const struct command *c)
{
    char text[256];
    struct spec_body spec = *c->spec;
    uint32_t replicas = c->replicas;
    enum err err = spec_check(&spec, text, sizeof text);
    if (err) {
        refuse(e, client, err, "%s", text);
        return;
    }
    if (!writable(e, client) || (replicas != REPLICAS_KEEP && !replicas_ok(e, client, replicas)) ||
        !images_ok(e, client, &spec))
        return;
    const struct app *a = app_by_name(e, spec.name);
    struct uid uid;
    spec.revision = a ? a->revision + 1 : 1;
    spec.parent = a ? a->spec_version : (struct version){0};
    bool stopped = a && a->wanted == WANTED_STOPPED;
    if (a)
        uid = a->uid;
    else
        new_uid(e, &uid);
    if (!a && replicas == REPLICAS_KEEP)
        replicas = 1;
    struct pending *p = pending_begin(e, client, c, &uid);
    if (!p)
        return;
    p->revision = spec.revision;
    snprintf(p->text, sizeof p->text, "%s revision %u deployed", spec.name, spec.revision);
    uint8_t body[RECORD_BODY_MAX];
    struct pack k;
    pack_init(&k, body, sizeof body);
    err = spec_body_encode(&spec, c->args, c->args_count, &k);
    if (!err)
        err = put(e, p, RECORD_SPEC, &k);
    if (!err && replicas != REPLICAS_KEEP)
        err = put_replicas(e, p, replicas);
    if (!err && stopped)
        err = put_wanted(e, p, WANTED_RUNNING);
    if (err)
        put_failed(e, p, err);
    else
        pending_check(e, p);
}

static const struct app *named(struct engine *e, uint64_t client, const char *name)
{
    const struct app *a = app_by_name(e, name);
    if (!a)
        refuse(e, client, ERR_NOT_FOUND, "no app is called %s", name);
    return a;
}

static void set_register(struct engine *e, uint64_t client, const struct command *c)
{
    const struct app *a = named(e, client, c->app);
    if (!a || !writable(e, client) ||
        (c->kind == COMMAND_SCALE && !replicas_ok(e, client, c->replicas)))
        return;
    struct pending *p = pending_begin(e, client, c, &a->uid);
    if (!p)
        return;
    p->revision = a->revision;
    enum err err;
    if (c->kind == COMMAND_SCALE) {
        snprintf(p->text, sizeof p->text, "%s scaled to %u", a->name, c->replicas);
        err = put_replicas(e, p, c->replicas);
    } else {
        bool stop = c->kind == COMMAND_STOP;
        snprintf(p->text, sizeof p->text, "%s %s", a->name, stop ? "stopped" : "started");
        err = put_wanted(e, p, stop ? WANTED_STOPPED : WANTED_RUNNING);
    }
    if (err)
        put_failed(e, p, err);
    else
        pending_check(e, p);
}

/* Allowed on a full store, too: it makes room. Not undone: a tombstone only grows. */
static void remove_app(struct engine *e, uint64_t client, const struct command *c)
{
    const struct app *a = named(e, client, c->app);
    struct pending *p = a && stays(e, client) ? pending_begin(e, client, c, &a->uid) : NULL;
    if (!p)
        return;
    snprintf(p->text, sizeof p->text, "%s removed", a->name);
    struct deleted_body body = {.wall_ms = e->wall};
    memcpy(body.name, a->name, sizeof body.name);
    uint8_t buffer[128];
    struct pack k;
    pack_init(&k, buffer, sizeof buffer);
    const struct record_key key = record_key_app(RECORD_DELETED, &p->app);
    enum err err = deleted_body_encode(&body, &k);
    if (!err)
        err = records_publish(e, &key, (struct slice){.p = k.p, .len = k.len}, &p->seq);
    p->first_seq = p->seq;
    if (err)
        put_failed(e, p, err);
    else
        pending_check(e, p);
}

static void move(struct engine *e, uint64_t client, const struct command *c)
{
    const struct app *named_app = named(e, client, c->app);
    if (!named_app)
        return;
    if (c->node && c->node != e->crypto->node && !peer_alive(e, c->node)) {
        refuse(e, client, ERR_NOT_FOUND, "the node to move to is not alive");
        return;
    }
    char text[REASON_SIZE];
    struct app *a = app_find(e, &named_app->uid);
    enum err err = c->kind == COMMAND_VOLUME_MOVE
                       ? planner_carry(e, a, c->slot, c->node, client, text, sizeof text)
                       : planner_move(e, a, c->slot, c->node, client, text, sizeof text);
    if (err)
        refuse(e, client, err, "%s", text);
}

static void image_remove(struct engine *e, uint64_t client, const struct command *c)
{
    struct image *im = image_find(e, &c->image);
    if (!im || !im->have) {
        refuse(e, client, ERR_NOT_FOUND, "this node has no such image");
        return;
    }
    for (const struct app *a = e->apps; a; a = a->hh.next)
        if (app_uses_image(e, a, &c->image)) {
            refuse(e, client, ERR_BUSY, "%s needs it; remove the app first", a->name);
            return;
        }
    images_drop(e, im);
    commands_reply(e, client, ERR_OK, NULL, 0, "image removed from this node");
}

void commands_on_command(struct engine *e, uint64_t client, const struct command *c)
{
    apps_refresh(e);
    switch (c->kind) {
    case COMMAND_DEPLOY:
        deploy(e, client, c);
        break;
    case COMMAND_SCALE:
    case COMMAND_STOP:
    case COMMAND_START:
        set_register(e, client, c);
        break;
    case COMMAND_REMOVE:
        remove_app(e, client, c);
        break;
    case COMMAND_MOVE:
    case COMMAND_VOLUME_MOVE:
        move(e, client, c);
        break;
    case COMMAND_LEAVE:
        self_stop(e, STOP_LEAVE, client);
        break;
    case COMMAND_NODE_STOP:
        self_stop(e, STOP_GUESTS, client);
        break;
    case COMMAND_IMAGE_REMOVE:
        image_remove(e, client, c);
        break;
    }
}
