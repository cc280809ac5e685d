/* Volumes: where a slot's is, and who may run the slot (docs/placement.md).
 *
 * Who starts a slot first makes its volume, which is named by the epoch of that claim; its unit record says from then
 * on that the volume is there, whatever becomes of the claim. That host is the slot's home: nobody else is offered the
 * slot, or takes it, while the home may live. An unreleased claim makes a home, too, as its owner may have made the
 * volume meanwhile. Of several volumes, as of two sides of a split or of an app that took an empty one for a lost one,
 * the highest is the slot's, in the order of claims; the others stay on their disks, and nothing starts with them.
 *
 * Owns in struct engine: volumes; in struct slot: volume; in struct unit: volume_asked, volume_here. */
#include "node/engine_internal.h"

#include <stdio.h>
#include <string.h>

static struct claim volume_claim(const struct app *a, uint32_t slot, const struct slot_volume *v)
{
    return (struct claim){.id = {.app = a->uid, .slot = (uint16_t)slot, .epoch = v->epoch}, .owner = v->owner};
}

void slot_volume_see(struct app *a, uint32_t slot, node_id owner, uint64_t epoch, node_id from)
{
    const struct slot_volume v = {.owner = owner, .epoch = epoch, .from = from};
    struct slot_volume *best = &a->slots[slot].volume;
    const struct claim ours = volume_claim(a, slot, &v), theirs = volume_claim(a, slot, best);
    if (epoch && (!best->owner || claim_compare(&ours, &theirs) > 0))
        *best = v;
}

/* 0: it has none. */
static node_id home_of(const struct app *a, uint32_t slot)
{
    const struct slot *s = &a->slots[slot];
    if (s->volume.owner)
        return s->volume.owner;
    return s->real.owner && !s->real.released ? s->real.owner : 0;
}

enum volume_place volumes_place(const struct engine *e, const struct app *a, uint32_t slot, node_id *home)
{
    *home = home_of(a, slot);
    if (side_minority(e))
        return VOLUME_NOWHERE;
    if (!*home)
        return VOLUME_ANYWHERE;
    if (peer_live(e, *home))
        return VOLUME_HOME;
    bool left_behind = a->volume_lost == VOLUME_LOST_EMPTY || bug(e, BUG_LEAVE_VOLUME);
    return left_behind ? VOLUME_ANYWHERE : VOLUME_NOWHERE;
}

static void home_text(const struct engine *e, node_id home, char *text, size_t size)
{
    struct node_body n;
    char id[NODE_ID_TEXT];
    node_id_text(home, id);
    snprintf(text, size, "its volume is on %s", engine_node(e, home, &n) ? id : n.name);
}

bool volumes_reason(const struct engine *e, const struct app *a, uint32_t slot, char *text, size_t size)
{
    node_id home;
    if (!a->blocks || slot >= a->slot_count)
        return false;
    enum volume_place place = volumes_place(e, a, slot, &home);
    if (place == VOLUME_ANYWHERE)
        return false;
    if (!home) {
        snprintf(text, size, "this side of the mesh is a minority, which makes no volumes");
        return true;
    }
    home_text(e, home, text, size);
    const struct peer *p = peer_find(e, home);
    size_t len = strlen(text);
    if (!peer_live(e, home)) {
        snprintf(text + len, size - len, ", which %s", p && (p->flags & NODE_LEFT) ? "has left the mesh" : "is dead");
        return true;
    }
    for (uint32_t i = 0; i < a->refusal_count; i++)
        if (a->refusals[i].node == home)
            snprintf(text + len, size - len, ": %.80s", a->refusals[i].reason);
    return true;
}

bool volumes_refuse(const struct engine *e, const struct app *a, const struct message_offer *o, char *why, size_t size)
{
    node_id home;
    if (!a->blocks)
        return false;
    enum volume_place place = volumes_place(e, a, o->id.slot, &home);
    bool ours = home == e->crypto->node || carry_source(e, a, o);
    bool takes = place == VOLUME_ANYWHERE || (place == VOLUME_HOME && ours);
    if (takes && !o->surrogate)
        return false;
    snprintf(why, size, "a minority makes no volumes");
    if (home)
        home_text(e, home, why, size);
    return true;
}

bool volumes_yield(const struct engine *e, const struct app *a, const struct unit *u, const struct slot_claim *winner)
{
    if (!a || !a->blocks || u->key.slot >= a->slot_count)
        return false;
    node_id home = home_of(a, u->key.slot);
    return winner || (home && home != e->crypto->node);
}

/* ---- What is on this disk ------------------------------------------------------------------------ */

static bool here(const struct engine *e, const struct unit_id *id)
{
    for (uint32_t i = 0; i < e->volume_count; i++) {
        const struct unit_id *v = &e->volumes[i];
        if (uid_equal(&v->app, &id->app) && v->slot == id->slot && v->epoch == id->epoch)
            return true;
    }
    return false;
}

static void here_add(struct engine *e, const struct unit_id *id)
{
    if (here(e, id))
        return;
    if (e->volume_count == e->volume_size) {
        uint32_t size = e->volume_size ? 2 * e->volume_size : 16;
        struct unit_id *v = mem_grow(e->mem, e->volumes, size * sizeof *v);
        if (!v)
            return; /* its record knows of it, all the same */
        e->volumes = v;
        e->volume_size = size;
    }
    e->volumes[e->volume_count++] = *id;
}

void engine_volume(struct engine *e, const struct unit_id *volume)
{
    here_add(e, volume);
}

void engine_volume_gone(struct engine *e, const struct unit_id *volume)
{
    for (uint32_t i = 0; i < e->volume_count; i++) {
        struct unit_id *v = &e->volumes[i];
        if (uid_equal(&v->app, &volume->app) && v->slot == volume->slot && v->epoch == volume->epoch)
            *v = e->volumes[--e->volume_count];
    }
}

enum volume_use engine_volume_use(struct engine *e, const struct unit_id *volume, node_id node)
{
    apps_refresh(e);
    const struct app *a = app_find(e, &volume->app);
    if (!a || a->deleted || !a->has_spec)
        return VOLUME_USE_NONE;
    const struct slot_volume *v = volume->slot < a->slot_count ? &a->slots[volume->slot].volume : NULL;
    if (!v || v->owner != node || v->epoch != volume->epoch)
        return VOLUME_USE_OLD;
    bool wanted = a->blocks && !a->shadowed && a->wanted == WANTED_RUNNING && volume->slot < a->replicas;
    return wanted ? VOLUME_USE_WANTED : VOLUME_USE_KEPT;
}

/* The highest of a slot; 0: none. */
static uint64_t here_last(const struct engine *e, const struct unit_key *key)
{
    uint64_t last = 0;
    for (uint32_t i = 0; i < e->volume_count; i++) {
        const struct unit_id *v = &e->volumes[i];
        if (uid_equal(&v->app, &key->app) && v->slot == key->slot && v->epoch > last)
            last = v->epoch;
    }
    return last;
}

static bool own_record(const struct engine *e, const struct uid *app, uint16_t slot, struct unit_body *out)
{
    const struct record_key key = record_key_unit(app, slot, e->crypto->node);
    const struct entry *entry = replica_find(e->replica, &key);
    return entry && !unit_body_decode(entry->record.body, out);
}

void volumes_recall(const struct engine *e, struct unit *u)
{
    struct unit_body body;
    if (!own_record(e, &u->key.app, u->key.slot, &body))
        return;
    u->body.volume = body.volume;
    u->body.volume_from = body.volume_from;
}

void volumes_fault(const struct engine *e, const struct app *a, uint16_t slot, char *why, size_t size)
{
    struct unit_body body;
    if (a->blocks && own_record(e, &a->uid, slot, &body) && body.reason[0])
        snprintf(why, size, "%s", body.reason);
}

/* ---- Starting with one --------------------------------------------------------------------------- */

/* The one to start with; 0: it is to be made. What lies here of a slot of which no record tells a volume is that of
 * records that were lost. */
static uint64_t volume_to_use(const struct engine *e, const struct unit *u, const struct app *a)
{
    const struct slot_volume *v = &a->slots[u->key.slot].volume;
    if (v->owner == e->crypto->node)
        return v->epoch;
    return v->owner ? 0 : here_last(e, &u->key);
}

static void volume_ask(struct engine *e, struct unit *u, const struct app *a, const struct spec_body *spec)
{
    uint64_t use = volume_to_use(e, u, a);
    const char *name = (const char *)effects_copy(e->fx, a->name, sizeof a->name).p;
    struct block_ref *blocks = effects_bytes(e->fx, spec->block_count * sizeof *blocks);
    memcpy(blocks, spec->blocks, spec->block_count * sizeof *blocks);
    struct effect *f = effects_add(e->fx, use ? EFFECT_VOLUME_CHECK : EFFECT_VOLUME_MAKE);
    u->volume_asked = use ? use : u->body.epoch;
    u->volume_made = !use;
    f->unit = (struct unit_id){.app = u->key.app, .slot = u->key.slot, .epoch = u->volume_asked};
    f->start.app = name;
    f->start.block_count = spec->block_count;
    f->start.blocks = blocks;
}

struct other_run {
    const struct engine *e;
    const struct unit *unit;
    bool found;
};

static void other_run_visit(void *ctx, const struct entry *entry)
{
    struct other_run *o = ctx;
    struct unit_body body;
    const struct record_key *key = &entry->record.key;
    if (key->kind != RECORD_UNIT || record_key_slot(key) != o->unit->key.slot ||
        unit_body_decode(entry->record.body, &body))
        return;
    node_id owner = record_key_owner(key);
    bool may_run = body.pid != 0 || !body.released;
    o->found |= may_run && owner != o->e->crypto->node && peer_live(o->e, owner);
}

/* Another's claim that lost to ours: its owner ends what it runs for it at once, gives the claim up, and says so. Until
 * then it may be starting. */
static bool other_runs(const struct engine *e, const struct unit *u)
{
    struct other_run o = {.e = e, .unit = u};
    replica_each_of_app(e->replica, &u->key.app, other_run_visit, &o);
    return o.found;
}

bool volumes_ready(struct engine *e, struct unit *u, const struct app *a, const struct spec_body *spec)
{
    node_id home;
    char why[REASON_SIZE];
    if (spec->block_count == 0)
        return true;
    if (u->carry_from) {
        if (!u->volume_asked && !other_runs(e, u))
            carry_last(e, u, a);
        return false;
    }
    enum volume_place place = volumes_place(e, a, u->key.slot, &home);
    bool elsewhere = home && home != e->crypto->node && place != VOLUME_ANYWHERE;
    if (u->body.surrogate || elsewhere) {
        snprintf(why, sizeof why, "a minority makes no volumes");
        if (home)
            home_text(e, home, why, sizeof why);
        unit_release(e, u, why);
        return false;
    }
    if (u->volume_here)
        return !other_runs(e, u);
    if (!u->volume_asked)
        volume_ask(e, u, a, spec);
    return false;
}

/* It is told of before anything starts with it: the write of that is waited for as the claim's is. */
void volume_have(struct engine *e, struct unit *u, uint64_t volume)
{
    here_add(e, &(struct unit_id){.app = u->key.app, .slot = u->key.slot, .epoch = volume});
    u->volume_here = true;
    units_dirty(e);
    if (u->body.volume == volume)
        return;
    u->body.volume = volume;
    if (unit_publish(e, u, &u->claim_seq))
        u->claim_seq = UINT64_MAX; /* published again by units_tick */
}

void volumes_on_event(struct engine *e, const struct event *ev)
{
    struct unit *u = unit_find(e, &ev->unit.app, ev->unit.slot);
    if (!ev->err)
        here_add(e, &ev->unit);
    if (!u || u->volume_asked != ev->unit.epoch)
        return;
    u->volume_asked = 0;
    units_dirty(e);
    if (u->run != RUN_NONE || u->body.released)
        return; /* given up meanwhile: what was made is empty, and nobody's */
    if (!ev->err) {
        if (u->volume_made)
            u->body.volume_from = 0;
        volume_have(e, u, ev->unit.epoch);
    } else if (u->volume_made) {
        unit_pass_on(e, u, ev->text);
    } else {
        unit_retry(e, u, ev->text);
    }
}
