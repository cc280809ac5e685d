/* Apps and their slots, as the records say: derived, never authoritative. A record marks its app dirty;
 * apps_refresh works the slots out again, before anything looks at them. */
#include "node/engine_internal.h"

#include <stdio.h>
#include <string.h>

struct app *app_find(const struct engine *e, const struct uid *uid)
{
    struct app *a;
    HASH_FIND(hh, e->apps, uid, sizeof *uid, a);
    return a;
}

struct app *app_by_name(const struct engine *e, const char *name)
{
    for (struct app *a = e->apps; a; a = a->hh.next)
        if (a->has_spec && !a->deleted && !a->shadowed && strcmp(a->name, name) == 0)
            return a;
    return NULL;
}

static bool passed_room(struct engine *e)
{
    if (HASH_COUNT(e->apps) < e->passed_size)
        return true;
    uint32_t size = e->passed_size ? 2 * e->passed_size : 16;
    struct passed *v = mem_grow(e->mem, e->passed, size * sizeof *v);
    if (!v)
        return false;
    e->passed = v;
    e->passed_size = size;
    return true;
}

static struct app *app_add(struct engine *e, const struct uid *uid)
{
    struct app *a = app_find(e, uid);
    if (a)
        return a;
    struct mem *mem = e->mem;
    a = passed_room(e) ? mem_alloc(mem, sizeof *a) : NULL;
    if (!a)
        return NULL;
    a->uid = *uid;
    a->index = HASH_COUNT(e->apps);
    HASH_ADD(hh, e->apps, uid, sizeof a->uid, a);
    if (!a->hh.tbl) {
        mem_free(mem, a);
        return NULL;
    }
    e->passed[a->index] = (struct passed){.app = a};
    return a;
}

static void app_dirty(struct engine *e, struct app *a)
{
    if (a->dirty)
        return;
    a->dirty = true;
    a->dirty_next = e->apps_dirty;
    e->apps_dirty = a;
}

void apps_on_record(struct engine *e, const struct record_key *key)
{
    const struct uid uid = record_key_uid(key);
    struct app *a = app_add(e, &uid);
    if (!a) {
        effects_log(e->fx, LOG_ERROR, "app.nomem", "apps=%u", HASH_COUNT(e->apps));
        return;
    }
    a->registers_dirty = true;
    app_dirty(e, a);
}

static void slot_dirty(struct app *a, struct slot *s)
{
    s->dirty = true;
    a->slots_dirty = true;
}

uint64_t owner_bit(node_id owner)
{
    return UINT64_C(1) << (mix64(owner) & 63);
}

void apps_on_liveness(struct engine *e, node_id member)
{
    uint64_t mask = member ? owner_bit(member) : UINT64_MAX;
    for (uint32_t app = 0; app < HASH_COUNT(e->apps); app++) {
        struct app *a = e->passed[app].app;
        if (!(e->passed[app].surrogates & mask))
            continue;
        for (uint32_t i = 0; i < a->slot_count; i++)
            if (a->slots[i].surrogates & mask)
                slot_dirty(a, &a->slots[i]);
        app_dirty(e, a);
    }
}

static const struct entry *register_of(const struct engine *e, const struct uid *uid,
                                       enum record_kind kind)
{
    const struct record_key key = record_key_app(kind, uid);
    return replica_find(e->replica, &key);
}

enum err app_spec(const struct engine *e, const struct app *a, struct spec_body *out)
{
    const struct entry *entry = register_of(e, &a->uid, RECORD_SPEC);
    return entry ? spec_body_decode(entry->record.body, out) : ERR_NOT_FOUND;
}

bool app_uses_image(const struct engine *e, const struct app *a, const struct hash *image)
{
    struct spec_body spec;
    if (a->deleted || app_spec(e, a, &spec))
        return false;
    for (uint32_t i = 0; i < spec.image_count; i++)
        if (hash_equal(&spec.images[i].image, image))
            return true;
    return false;
}

/* ---- Slots --------------------------------------------------------------------------------------- */

/* Slots are never dropped: one that is not wanted for a while keeps its epochs. */
static bool slots_grow(struct engine *e, struct app *a, uint32_t count)
{
    if (count <= a->slot_count)
        return true;
    struct slot *v = mem_alloc(e->mem, count * sizeof *v);
    if (!v)
        return false;
    if (a->slot_count > 0)
        memcpy(v, a->slots, a->slot_count * sizeof *v);
    mem_free(e->mem, a->slots);
    a->slots = v;
    a->slot_count = count;
    return true;
}

static void registers_read(struct engine *e, struct app *a)
{
    a->deleted = register_of(e, &a->uid, RECORD_DELETED) != NULL;
    if (a->deleted)
        addresses_freed(e);
    if (e->cfg.networks)
        access_look(e);
    a->has_spec = false;
    a->wanted = WANTED_RUNNING;
    uint32_t replicas = 0;
    const struct entry *entry = register_of(e, &a->uid, RECORD_SPEC);
    struct spec_body spec;
    if (!a->deleted && entry && !spec_body_decode(entry->record.body, &spec)) {
        bool changed = !version_equal(a->spec_version, entry->record.version);
        a->has_spec = true;
        a->spec_version = entry->record.version;
        a->revision = spec.revision;
        a->memory_mib = spec.memory_mib;
        memcpy(a->name, spec.name, sizeof a->name);
        a->blocks = spec.block_count > 0;
        a->volume_lost = spec.volume_lost;
        if (changed) { /* who refused the old one may take this one */
            a->refusal_count = a->refusal_next = 0;
            a->fault_until_ms = e->faults_ms = 0;
        }
    }
    struct replicas_body r;
    entry = register_of(e, &a->uid, RECORD_REPLICAS);
    if (entry && !replicas_body_decode(entry->record.body, &r))
        replicas = r.replicas;
    else
        a->has_spec = false; /* half an app, as after damage on disk: nothing is stopped for that */
    struct wanted_body w;
    entry = register_of(e, &a->uid, RECORD_WANTED);
    if (entry && !wanted_body_decode(entry->record.body, &w))
        a->wanted = w.wanted;
    a->replicas = replicas;
    if (!slots_grow(e, a, replicas))
        a->replicas = a->slot_count;
}

struct refresh {
    struct engine *e;
    struct app *app;
};

static struct claim claim_of(const struct app *a, uint32_t slot, const struct slot_claim *c)
{
    return (struct claim){
        .id = {.app = a->uid, .slot = (uint16_t)slot, .epoch = c->epoch},
        .owner = c->owner,
        .surrogate = c->surrogate,
    };
}

static void epoch_see(struct slot *s, uint64_t epoch)
{
    if (epoch > s->epoch_seen)
        s->epoch_seen = epoch;
    if (epoch > s->epoch_max)
        s->epoch_max = epoch;
}

static struct slot_claim slot_claim_of(const struct entry *entry, const struct unit_body *u)
{
    return (struct slot_claim){
        .owner = record_key_owner(&entry->record.key),
        .epoch = u->epoch,
        .surrogate = u->surrogate,
        .released = u->released != 0,
        .state = u->state,
        .boot = u->boot,
        .volume = u->volume,
        .volume_from = u->volume_from,
        .spec = u->spec,
    };
}

static void unit_visit(void *ctx, const struct entry *entry)
{
    const struct refresh *r = ctx;
    if (entry->record.key.kind != RECORD_UNIT)
        return;
    r->app->ours |= record_key_owner(&entry->record.key) == r->e->crypto->node;
    uint32_t slot = record_key_slot(&entry->record.key);
    struct unit_body u;
    struct slot *s = slot < r->app->slot_count ? &r->app->slots[slot] : NULL;
    if (!s || !s->dirty || unit_body_decode(entry->record.body, &u))
        return;
    const struct slot_claim c = slot_claim_of(entry, &u);
    if (c.surrogate && !c.released)
        s->surrogates |= owner_bit(c.owner);
    epoch_see(s, c.epoch);
    slot_volume_see(r->app, slot, c.owner, c.volume, c.volume_from);
    struct slot_claim *best = c.surrogate ? &s->surrogate : &s->real;
    /* Among surrogates one that lives goes before one that doesn't: they have no epoch to order them. */
    if (c.surrogate && (c.released || !peer_live(r->e, c.owner)))
        return;
    const struct claim ours = claim_of(r->app, slot, &c);
    const struct claim theirs = claim_of(r->app, slot, best);
    if (best->owner == 0 || claim_compare(&ours, &theirs) > 0)
        *best = c;
}

bool slot_at_rest(const struct app *a, const struct slot_claim *c)
{
    return (c->state == UNIT_DONE || c->state == UNIT_FAILED) &&
           version_equal(c->spec, a->spec_version);
}

static void account(struct engine *e, struct account *at, node_id node, uint32_t mib)
{
    if (at->claimed_mib)
        *at->claimed_mib -= at->mib;
    struct peer *p = node && mib ? peer_find(e, node) : NULL;
    at->claimed_mib = p ? &p->claimed_mib : node == e->crypto->node ? &e->self_claimed_mib : NULL;
    at->mib = mib;
    if (at->claimed_mib)
        *at->claimed_mib += mib;
}

/* Those whose life decides who holds the slot. */
static uint64_t owners_of(const struct slot *s)
{
    return (s->real.owner ? owner_bit(s->real.owner) : 0) | (s->surrogate.owner ? owner_bit(s->surrogate.owner) : 0);
}

/* The same host counts once. Whether it lives doesn't matter: nothing is offered to one that doesn't. */
void slot_account(struct engine *e, const struct app *a, struct slot *s)
{
    bool gone = a->deleted || !a->has_spec;
    bool real = s->real.owner && !s->real.released && !slot_at_rest(a, &s->real);
    node_id first = real ? s->real.owner : 0;
    node_id second = s->surrogate.owner == first ? 0 : s->surrogate.owner;
    node_id third = s->offer.to == first || s->offer.to == second ? 0 : s->offer.to;
    account(e, &s->accounts[0], first, gone ? 0 : a->memory_mib);
    account(e, &s->accounts[1], second, gone ? 0 : a->memory_mib);
    account(e, &s->accounts[2], third, gone ? 0 : a->memory_mib);
    e->passed[a->index].owners |= owners_of(s);
}

static void slots_refresh(struct engine *e, struct app *a)
{
    for (uint32_t i = 0; i < a->slot_count; i++) {
        struct slot *s = &a->slots[i];
        s->dirty |= a->registers_dirty;
        if (!s->dirty)
            continue;
        s->real = s->surrogate = (struct slot_claim){0};
        s->volume = (struct slot_volume){0};
        s->surrogates = 0;
    }
    struct refresh r = {.e = e, .app = a};
    replica_each_of_app(e->replica, &a->uid, unit_visit, &r);
    struct passed *passed = &e->passed[a->index];
    passed->surrogates = passed->owners = 0;
    for (uint32_t i = 0; i < a->slot_count; i++) {
        struct slot *s = &a->slots[i];
        if (s->dirty)
            slot_account(e, a, s);
        s->dirty = false;
        passed->surrogates |= s->surrogates;
        passed->owners |= owners_of(s);
    }
}

/* One claim is new, and all others are as they were. False: that doesn't tell who has the slot now, since the
 * claim's owner gave up one that counted for it. */
static bool slot_take(struct app *a, uint32_t slot, const struct slot_claim *c)
{
    struct slot *s = &a->slots[slot];
    struct slot_claim *best = &s->real;
    if (c->surrogate || s->surrogate.owner == c->owner || (best->owner == c->owner && c->epoch < best->epoch))
        return false;
    if (s->volume.owner == c->owner && c->volume != s->volume.epoch)
        return false;
    epoch_see(s, c->epoch);
    slot_volume_see(a, slot, c->owner, c->volume, c->volume_from);
    const struct claim ours = claim_of(a, slot, c);
    const struct claim theirs = claim_of(a, slot, best);
    if (best->owner == c->owner) {
        struct peer *peer = best->peer;
        *best = *c;
        best->peer = peer;
    } else if (best->owner == 0 || claim_compare(&ours, &theirs) > 0) {
        *best = *c;
    }
    return true;
}

void apps_on_unit(struct engine *e, const struct entry *entry)
{
    const struct uid uid = record_key_uid(&entry->record.key);
    struct app *a = app_add(e, &uid);
    struct unit_body u;
    if (!a) {
        effects_log(e->fx, LOG_ERROR, "app.nomem", "apps=%u", HASH_COUNT(e->apps));
        return;
    }
    app_dirty(e, a);
    uint32_t slot = record_key_slot(&entry->record.key);
    struct slot *s = slot < a->slot_count ? &a->slots[slot] : NULL;
    if (!s) {
        a->ours |= record_key_owner(&entry->record.key) == e->crypto->node;
        return; /* of no replica that is wanted */
    }
    if (s->dirty || a->registers_dirty || unit_body_decode(entry->record.body, &u)) {
        slot_dirty(a, s);
        return;
    }
    const struct slot_claim c = slot_claim_of(entry, &u);
    a->ours |= c.owner == e->crypto->node;
    if (c.released || slot_at_rest(a, &c))
        planner_room(e);
    if (slot_take(a, slot, &c))
        slot_account(e, a, s);
    else
        slot_dirty(a, s);
}

static bool named(const struct app *a, const char *name)
{
    return a->has_spec && !a->deleted && strcmp(a->name, name) == 0;
}

static bool owns_name_before(const struct app *a, const struct app *b)
{
    return a->spec_version.clock != b->spec_version.clock ? a->spec_version.clock > b->spec_version.clock
                                                          : memcmp(&a->uid, &b->uid, sizeof a->uid) > 0;
}

/* A name that several uids use goes to the higher (clock, uid); the others are shadowed. Every node computes the
 * same from the same records. */
static void name_resolve(struct engine *e, const char *name)
{
    struct app *owner = NULL;
    for (struct app *a = e->apps; a; a = a->hh.next)
        if (named(a, name) && (!owner || owns_name_before(a, owner)))
            owner = a;
    for (struct app *a = e->apps; a; a = a->hh.next) {
        bool shadowed = named(a, name) && a != owner;
        if (a->shadowed == shadowed || strcmp(a->name, name) != 0)
            continue;
        a->shadowed = shadowed;
        planner_app(e, a);
        units_dirty(e);
    }
}

void apps_refresh(struct engine *e)
{
    while (e->apps_dirty) {
        struct app *a = e->apps_dirty;
        char name[NAME_SIZE];
        e->apps_dirty = a->dirty_next;
        a->dirty = false;
        struct version before = a->spec_version;
        bool had = a->has_spec, was_ours = a->ours;
        memcpy(name, a->name, sizeof name);
        if (a->registers_dirty)
            registers_read(e, a);
        if (a->registers_dirty || a->slots_dirty) {
            slots_refresh(e, a);
            planner_room(e);
        }
        a->registers_dirty = a->slots_dirty = false;
        if (had != a->has_spec || !version_equal(before, a->spec_version)) {
            if (had && strcmp(name, a->name) != 0)
                name_resolve(e, name);
            name_resolve(e, a->name);
            copies_soon(e);
        }
        planner_app(e, a);
        if (a->ours || was_ours)
            units_dirty(e);
    }
}

static bool owner_live(const struct engine *e, struct slot_claim *c)
{
    if (!c->peer && c->owner != e->crypto->node)
        c->peer = peer_find(e, c->owner); /* its node record may have come since */
    return c->peer ? peer_is_live(e, c->peer) : c->owner == e->crypto->node;
}

const struct slot_claim *slot_holder(const struct engine *e, const struct app *a, uint32_t slot)
{
    struct slot *s = &a->slots[slot];
    if (s->real.owner && !s->real.released && (owner_live(e, &s->real) || slot_at_rest(a, &s->real)))
        return &s->real;
    if (side_minority(e) && s->surrogate.owner && owner_live(e, &s->surrogate))
        return &s->surrogate;
    return NULL;
}

/* ---- What others may read ------------------------------------------------------------------------ */

enum err engine_find_app(struct engine *e, const char *name, struct uid *out)
{
    apps_refresh(e);
    const struct app *a = app_by_name(e, name);
    if (!a)
        return ERR_NOT_FOUND;
    *out = a->uid;
    return ERR_OK;
}

static void history_visit(void *ctx, const struct entry *entry)
{
    struct app_view *v = ctx;
    v->conflicts += entry->record.key.kind == RECORD_HISTORY;
}

static void app_visit(struct engine *e, const struct app *a, app_view_fn *visit, void *ctx)
{
    struct app_view v = {
        .uid = a->uid,
        .version = a->spec_version,
        .replicas = a->replicas,
        .wanted = a->wanted,
        .shadowed = a->shadowed,
        .copies = copies_count(e, a),
    };
    if (app_spec(e, a, &v.spec))
        return;
    replica_each_of_app(e->replica, &a->uid, history_visit, &v);
    for (uint32_t i = 0; i < a->replicas; i++) {
        const struct slot_claim *c = slot_holder(e, a, i);
        v.running += c && c->state == UNIT_RUNNING;
    }
    visit(ctx, &v);
}

static int app_order(const struct app *a, const struct app *b)
{
    int order = strcmp(a->name, b->name);
    return order ? order : memcmp(&a->uid, &b->uid, sizeof a->uid);
}

void engine_each_app(struct engine *e, app_view_fn *visit, void *ctx)
{
    apps_refresh(e);
    HASH_SORT(e->apps, app_order);
    for (struct app *a = e->apps; a; a = a->hh.next)
        if (a->has_spec && !a->deleted)
            app_visit(e, a, visit, ctx);
}

struct unit_visit {
    struct engine *e;
    const struct app *app;
    uint32_t slot;
    const struct slot_claim *holder;
    unit_view_fn *visit;
    void *ctx;
    bool shown;
};

/* The slot's winner, and overtaken ones that still run. */
static void claim_visit(void *ctx, const struct entry *entry)
{
    struct unit_visit *uv = ctx;
    if (entry->record.key.kind != RECORD_UNIT || record_key_slot(&entry->record.key) != uv->slot)
        return;
    struct unit_view v = {
        .app = uv->app->uid,
        .app_name = uv->app->name,
        .slot = (uint16_t)uv->slot,
        .node = record_key_owner(&entry->record.key),
    };
    if (unit_body_decode(entry->record.body, &v.body))
        return;
    v.winner = uv->holder && uv->holder->owner == v.node;
    if (v.winner || (v.body.pid != 0 && peer_live(uv->e, v.node))) {
        uv->shown |= v.winner;
        uv->visit(uv->ctx, &v);
    }
}

static void pending_visit(struct unit_visit *uv)
{
    struct app *a = app_find(uv->e, &uv->app->uid);
    struct unit_view v = {.app = a->uid, .app_name = a->name, .slot = (uint16_t)uv->slot};
    v.body.state = UNIT_PENDING;
    v.body.epoch = a->slots[uv->slot].epoch_max;
    v.body.revision = a->revision;
    v.body.exit_status = -1;
    if (a->wanted == WANTED_STOPPED || a->shadowed) {
        v.body.state = UNIT_STOPPED;
        snprintf(v.body.reason, sizeof v.body.reason, "%s",
                 a->shadowed ? "another app has this name" : "stopped by wish");
    } else {
        planner_reason(uv->e, a, uv->slot, v.body.reason, sizeof v.body.reason);
    }
    uv->visit(uv->ctx, &v);
}

static void slots_visit(void *ctx, const struct entry *entry)
{
    uint32_t *end = ctx;
    if (entry->record.key.kind == RECORD_UNIT && record_key_slot(&entry->record.key) >= *end)
        *end = record_key_slot(&entry->record.key) + 1u;
}

static uint32_t slots_claimed(const struct engine *e, const struct app *a)
{
    uint32_t end = 0;
    replica_each_of_app(e->replica, &a->uid, slots_visit, &end);
    return end;
}

static void units_of(struct engine *e, const struct app *a, unit_view_fn *visit, void *ctx)
{
    uint32_t end = slots_claimed(e, a);
    for (uint32_t i = 0; i < end || i < a->replicas; i++) {
        struct unit_visit uv = {
            .e = e,
            .app = a,
            .slot = i,
            .holder = i < a->replicas ? slot_holder(e, a, i) : NULL,
            .visit = visit,
            .ctx = ctx,
        };
        replica_each_of_app(e->replica, &a->uid, claim_visit, &uv);
        if (!uv.shown && i < a->replicas)
            pending_visit(&uv);
    }
}

void engine_each_unit(struct engine *e, const struct uid *app, unit_view_fn *visit, void *ctx)
{
    apps_refresh(e);
    if (app) {
        const struct app *a = app_find(e, app);
        if (a && a->has_spec && !a->deleted)
            units_of(e, a, visit, ctx);
        return;
    }
    HASH_SORT(e->apps, app_order);
    for (struct app *a = e->apps; a; a = a->hh.next)
        if (a->has_spec && !a->deleted)
            units_of(e, a, visit, ctx);
}

/* The decoder bounds what the app's may become. */
enum err app_args(struct engine *e, const struct app *a, const struct spec_body *spec, const struct unit *u,
                  struct start_args *out, char *why, size_t size)
{
    struct arg_net nets[NETS_MAX];
    const struct arg_values values = {.slot = u->key.slot, .node = e->self.name, .app = a->name,
                                      .net_count = spec->net_count, .nets = nets};
    struct slice rest = spec->args, arg;
    struct pack k;
    enum err err = ERR_OK;
    addresses_of_nets(e, u, spec, nets);
    *out = (struct start_args){.count = spec->args_count};
    effects_pack(e->fx, &k, ARGS_BYTES_MAX + 4 * ARGS_MAX + ARG_MIRAGE_BYTES);
    arg_mirage(spec, &values, u->words, &k, &out->count);
    while (!err && spec_arg_next(&rest, &arg))
        err = arg_expand(arg, &values, &k, why, size);
    CHECK(!k.err);
    out->packed = effects_packed(e->fx, &k);
    return err;
}
