/* A volume is carried to another host: `volume move` (docs/placement.md).
 *
 *   the mover   offers the slot to the new host, as for any move
 *   the host    copies the volume while its guest writes on, and answers WAIT meanwhile; then it claims
 *   the owner   sees the claim, and ends its guest at once
 *   the host    hears that nothing runs there, copies what differs, and only then has the volume: its record says so,
 *               and from whom it came
 *   the owner   reads that, and drops its own
 *
 * Until the host's record says so the slot's volume is the old one: whatever fails before, the claim is given up, and
 * the slot goes home.
 *
 * Owns in struct engine: carries; in struct unit: carry_from, carry_volume. */
#include "node/engine_internal.h"

#include <stdio.h>
#include <string.h>

enum { FORGOTTEN_MS = 60000 /* an offer that is not sent again */ };

/* ---- Asking for a copy --------------------------------------------------------------------------- */

static bool fetch(struct engine *e, const struct app *a, const struct unit_id *volume, node_id from, uint64_t theirs,
                  enum volume_pass pass)
{
    struct spec_body spec;
    const struct member *m = swim_find(e->swim, from);
    if (!m || app_spec(e, a, &spec))
        return false;
    const char *name = (const char *)effects_copy(e->fx, a->name, sizeof a->name).p;
    struct block_ref *blocks = effects_bytes(e->fx, spec.block_count * sizeof *blocks);
    memcpy(blocks, spec.blocks, spec.block_count * sizeof *blocks);
    struct effect *f = effects_add(e->fx, EFFECT_VOLUME_FETCH);
    f->unit = *volume;
    f->peer = from;
    f->address = m->address;
    f->seq = theirs;
    f->id = pass;
    f->start.app = name;
    f->start.block_count = spec.block_count;
    f->start.blocks = blocks;
    return true;
}

static void drop(struct engine *e, const struct unit_id *volume)
{
    struct effect *f = effects_add(e->fx, EFFECT_VOLUME_DROP);
    f->unit = *volume;
    engine_volume_gone(e, volume);
}

/* ---- The first pass: before the claim ------------------------------------------------------------ */

static bool is_of(const struct carry *c, const struct unit_id *id)
{
    return c->state != CARRY_NONE && uid_equal(&c->volume.app, &id->app) && c->volume.slot == id->slot &&
           c->volume.epoch == id->epoch;
}

static struct carry *carry_find(struct engine *e, const struct unit_id *id)
{
    for (size_t i = 0; i < CARRIES_MAX; i++)
        if (is_of(&e->carries[i], id))
            return &e->carries[i];
    return NULL;
}

static struct carry *carry_room(struct engine *e)
{
    for (size_t i = 0; i < CARRIES_MAX; i++) {
        struct carry *c = &e->carries[i];
        bool forgotten = c->state != CARRY_COPYING && e->now >= c->asked_ms + FORGOTTEN_MS;
        if (forgotten && c->state == CARRY_COPIED)
            drop(e, &c->volume);
        if (c->state == CARRY_NONE || forgotten)
            return c;
    }
    return NULL;
}

node_id carry_source(const struct engine *e, const struct app *a, const struct message_offer *o)
{
    const struct slot_volume *v = &a->slots[o->id.slot].volume;
    bool carried = a->blocks && o->kind == OFFER_MOVE && v->owner && v->owner == o->previous;
    return carried && v->owner != e->crypto->node ? v->owner : 0;
}

static bool images_here(struct engine *e, node_id from, const struct spec_body *spec, enum target target)
{
    for (uint32_t i = 0; i < spec->image_count; i++)
        if (spec->images[i].target == target)
            return units_want_image(e, &spec->images[i].image, spec->images[i].size_bytes, from);
    return false;
}

bool carry_first(struct engine *e, node_id from, const struct message_offer *o, const struct app *a,
                 const struct spec_body *spec, enum target target)
{
    node_id source = carry_source(e, a, o);
    struct carry *c = carry_find(e, &o->id);
    if (!source)
        return false;
    if (!c && (c = carry_room(e)) != NULL) {
        *c = (struct carry){.volume = o->id, .state = CARRY_COPYING};
        if (!fetch(e, a, &o->id, source, a->slots[o->id.slot].volume.epoch, VOLUME_FIRST_PASS))
            *c = (struct carry){
                .volume = o->id, .state = CARRY_FAILED, .reason = "its volume's host is not known here"};
    }
    bool here = images_here(e, from, spec, target);
    if (c)
        c->asked_ms = e->now;
    if (c && c->state == CARRY_FAILED) {
        admission_answer(e, from, o, OFFER_REFUSED, c->reason);
        c->state = CARRY_NONE;
        return true;
    }
    if (!c || c->state == CARRY_COPYING || !here) {
        admission_answer(e, from, o, OFFER_WAIT, "");
        return true;
    }
    c->state = CARRY_NONE;
    return false;
}

void carry_claimed(struct engine *e, struct unit *u, const struct app *a, const struct message_offer *o)
{
    u->carry_from = carry_source(e, a, o);
    u->carry_volume = o->id.epoch;
    u->volume_here = false;
}

/* ---- The last pass: nothing writes any more ------------------------------------------------------ */

void carry_last(struct engine *e, struct unit *u, const struct app *a)
{
    const struct slot_volume *v = &a->slots[u->key.slot].volume;
    const struct unit_id volume = {.app = u->key.app, .slot = u->key.slot, .epoch = u->carry_volume};
    if (v->owner == u->carry_from && fetch(e, a, &volume, u->carry_from, v->epoch, VOLUME_LAST_PASS)) {
        u->volume_asked = u->carry_volume;
        return;
    }
    u->carry_from = 0;
    drop(e, &volume);
    unit_release(e, u, "its volume's host was lost while it was carried over");
}

static void first_ended(struct engine *e, const struct event *ev)
{
    struct carry *c = carry_find(e, &ev->unit);
    if (!c) {
        drop(e, &ev->unit); /* nobody waits for it any more */
        return;
    }
    c->state = ev->err ? CARRY_FAILED : CARRY_COPIED;
    snprintf(c->reason, sizeof c->reason, "%s", ev->text);
}

static void last_ended(struct engine *e, const struct event *ev)
{
    struct unit *u = unit_find(e, &ev->unit.app, ev->unit.slot);
    bool wanted = u && u->volume_asked == ev->unit.epoch && u->carry_from && u->run == RUN_NONE && !u->body.released;
    if (u && u->volume_asked == ev->unit.epoch)
        u->volume_asked = 0;
    units_dirty(e);
    if (wanted && !ev->err) {
        u->body.volume_from = u->carry_from;
        u->carry_from = 0;
        volume_have(e, u, ev->unit.epoch);
        return;
    }
    drop(e, &ev->unit);
    if (wanted) {
        u->carry_from = 0;
        unit_release(e, u, ev->text);
    }
}

void carry_on_event(struct engine *e, const struct event *ev)
{
    if (ev->id == VOLUME_FIRST_PASS)
        first_ended(e, ev);
    else
        last_ended(e, ev);
}

/* ---- What was carried away ----------------------------------------------------------------------- */

void carry_tick(struct engine *e)
{
    for (uint32_t i = e->volume_count; i > 0; i--) {
        const struct unit_id ours = e->volumes[i - 1];
        const struct app *a = app_find(e, &ours.app);
        const struct slot_volume *v = a && ours.slot < a->slot_count ? &a->slots[ours.slot].volume : NULL;
        bool carried = v && v->owner != e->crypto->node && v->from == e->crypto->node && v->epoch > ours.epoch;
        struct unit *u = carried ? unit_find(e, &ours.app, ours.slot) : NULL;
        if (carried && !(u && u->run != RUN_NONE))
            drop(e, &ours);
    }
}
