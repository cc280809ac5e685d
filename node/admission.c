/* Only the host admits (docs/placement.md, rule 2): an offer is taken when what it needs is known, fits and has
 * room here; the memory is reserved and the claim on disk before the notary hears of it. */
#include "node/engine_internal.h"

#include <stdio.h>
#include <string.h>

uint64_t unit_run_name(const struct unit_body *b)
{
    return b->surrogate ? RUN_SURROGATE | b->surrogate : b->epoch;
}

/* With the answer travels the claim that made the offer stale. */
static void tell_claim(struct engine *e, const struct app *a, uint16_t slot)
{
    if (!a || slot >= a->slot_count || !a->slots[slot].real.owner)
        return;
    const struct record_key key = record_key_unit(&a->uid, slot, a->slots[slot].real.owner);
    const struct entry *entry = replica_find(e->replica, &key);
    if (entry && !entry->held)
        replica_spread(e->replica, &key);
}

void admission_answer(struct engine *e, node_id to, const struct message_offer *o,
                      enum offer_verdict verdict, const char *reason)
{
    const struct app *a = app_find(e, &o->id.app);
    struct message_offer_answer m = {.id = o->id, .verdict = verdict, .room_seq = e->room_seq};
    if (a && o->id.slot < a->slot_count)
        m.epoch = a->slots[o->id.slot].epoch_seen;
    snprintf(m.reason, sizeof m.reason, "%s", reason);
    if (verdict == OFFER_STALE)
        tell_claim(e, a, o->id.slot);
    if (verdict == OFFER_ACCEPTED)
        e->count.offers_accepted++;
    else if (verdict == OFFER_REFUSED)
        e->count.offers_refused++;
    if (to == e->crypto->node) {
        planner_on_answer(e, to, &m);
        return;
    }
    uint8_t buffer[512];
    struct pack k;
    pack_init(&k, buffer, sizeof buffer);
    message_offer_answer_encode(&m, &k);
    CHECK(!k.err);
    peers_send(e, to, MESSAGE_OFFER_ANSWER, &k);
}

/* Do we know what the offer speaks of? What is missing is asked for. */
static bool known(struct engine *e, node_id from, const struct message_offer *o, struct app **app)
{
    apps_refresh(e);
    struct app *a = app_find(e, &o->id.app);
    *app = a;
    if (a && a->deleted)
        return true;
    struct version have = a && a->has_spec ? a->spec_version : (struct version){0};
    if (a && a->has_spec && version_compare(have, o->spec) >= 0 && o->id.slot < a->replicas)
        return true;
    static const enum record_kind kinds[] = {RECORD_SPEC, RECORD_REPLICAS, RECORD_WANTED};
    for (size_t i = 0; from != e->crypto->node && i < sizeof kinds / sizeof kinds[0]; i++) {
        const struct record_key key = record_key_app(kinds[i], &o->id.app);
        sync_want(e, from, &key);
    }
    return false;
}

/* As our own claim that we gave up says. */
static void fault_text(const struct engine *e, const struct app *a, uint16_t slot, char *why, size_t size)
{
    const struct record_key key = record_key_unit(&a->uid, slot, e->crypto->node);
    const struct entry *entry = replica_find(e->replica, &key);
    struct unit_body b;
    bool told = entry && !unit_body_decode(entry->record.body, &b) && b.released && b.reason[0];
    snprintf(why, size, "%s", told ? b.reason : "its host failed to run it a moment ago");
}

static enum err admit(struct engine *e, const struct app *a, uint16_t slot, const struct unit *u,
                      const struct spec_body *spec, enum target *target, uint32_t *need, char *why,
                      size_t size)
{
    if (!self_takes_units(e)) {
        snprintf(why, size, "its host is going");
        return ERR_NOT_READY;
    }
    if (e->self.flags & NODE_READ_ONLY) {
        snprintf(why, size, "its host's store takes no more");
        return ERR_FULL;
    }
    if (a->fault_until_ms > e->now) {
        const char *missing = images_failed(e, spec);
        if (missing)
            snprintf(why, size, "%s", missing);
        else
            fault_text(e, a, slot, why, size);
        volumes_fault(e, a, slot, why, size);
        return ERR_NO_ROOM;
    }
    enum err err = placement_fits(spec, &e->self, target, why, size);
    if (!err && access_published(e, &a->uid, slot, spec, why, size))
        err = ERR_NO_ROOM;
    if (err)
        return err;
    *need = placement_reserve_mib(spec, *target);
    uint32_t others = e->reserved_mib - (u ? u->reserved_mib : 0);
    if ((*need > e->self.capacity_mib || others > e->self.capacity_mib - *need) &&
        !bug(e, BUG_ADMIT_WITHOUT_ROOM)) {
        snprintf(why, size, "no room for %u MiB: %u of %u MiB are reserved", *need, others,
                 e->self.capacity_mib);
        return ERR_NO_ROOM;
    }
    return ERR_OK;
}

/* The slot's last claim says which it has, be it ours or another's. */
static enum err claim_addresses(struct engine *e, struct unit *u, const struct spec_body *spec, char *why, size_t size)
{
    struct unit_body before;
    bool changed;
    unit_body_copy(&before, &u->body);
    u->body.address_count = 0;
    enum err err = addresses_settle(e, u, spec, &changed, why, size);
    if (err) {
        unit_body_copy(&u->body, &before);
        if (u->body.epoch == 0 && !u->body.surrogate)
            u->body.released = 1; /* it was never a claim */
    }
    return err;
}

static void claim(struct engine *e, node_id from, const struct message_offer *o, const struct app *a,
                  struct unit *u, const struct spec_body *spec, enum target target, uint32_t need)
{
    struct unit_body *b = &u->body;
    char why[REASON_SIZE];
    /* What runs with this very spec goes on under the new claim, whatever name it was started by. */
    bool goes_on = u->run == RUN_UP && version_equal(b->spec, a->spec_version);
    bool other = o->previous && o->previous != e->crypto->node;
    if (!goes_on && claim_addresses(e, u, spec, why, sizeof why)) {
        admission_answer(e, from, o, OFFER_REFUSED, why);
        units_dirty(e);
        return;
    }
    b->surrogate = o->surrogate ? b->surrogate + 1 : 0;
    if (o->id.epoch > b->epoch)
        b->epoch = o->id.epoch;
    b->released = 0;
    u->inherited = false;
    unit_reserve(e, u, need);
    if (!goes_on) {
        b->run = unit_run_name(b);
        b->target = target;
        b->exit_status = -1;
        b->exit_signal = 0;
        b->restarts = 0;
        b->state = UNIT_FETCHING;
        b->since_ms = e->wall;
        u->failures = 0;
        u->backoff_until_ms = 0;
    }
    b->reason[0] = '\0';
    b->spec = a->spec_version;
    b->revision = a->revision;
    u->offer = *o;
    u->offer_from = from;
    u->answer_to = from;
    if (unit_publish(e, u, &u->claim_seq)) {
        b->released = 1;
        u->answer_to = 0;
        u->claim_seq = 0;
        admission_answer(e, from, o, OFFER_REFUSED, "its host could not record the claim");
    } else {
        e->count.claims++;
        e->count.surrogates += o->surrogate;
        e->count.takeovers += other && o->kind == OFFER_FILL;
        effects_log(e->fx, LOG_INFO, "unit.claimed", "app=%s slot=%u epoch=%llu%s", a->name,
                    u->key.slot, (unsigned long long)b->epoch, b->surrogate ? " surrogate=1" : "");
    }
    units_dirty(e);
}

/* An offer that we took already, sent again. */
static bool taken_before(const struct unit *u, const struct message_offer *o)
{
    if (!u || u->body.released || (u->body.surrogate != 0) != (o->surrogate != 0))
        return false;
    return o->surrogate || u->body.epoch == o->id.epoch;
}

static bool stale(const struct engine *e, const struct app *a, const struct message_offer *o)
{
    const struct slot *s = &a->slots[o->id.slot];
    if (bug(e, BUG_ACCEPT_STALE_OFFER))
        return false;
    const struct slot_claim *c = &s->real;
    bool held = c->owner && !c->released && peer_live(e, c->owner);
    if (o->surrogate)
        return held;
    /* A later notary may not have heard of what the first one's offer led to. */
    bool unheard = held && o->kind == OFFER_FILL && c->owner != o->previous && c->owner != e->crypto->node;
    return unheard || o->id.epoch <= s->epoch_seen;
}

/* What runs here for the slot is a revision that was given up, and nobody else took it since. It makes way once all
 * that the new one needs is here; the offer comes again meanwhile. */
static void make_way(struct engine *e, node_id from, const struct message_offer *o, struct unit *u,
                     const struct spec_body *spec, enum target target)
{
    for (uint32_t i = 0; i < spec->image_count; i++) {
        const struct image_ref *ref = &spec->images[i];
        if (ref->target != target || units_want_image(e, &ref->image, ref->size_bytes, from))
            continue;
        const struct image *im = image_find(e, &ref->image);
        bool hopeless = !im || im->tries >= IMAGE_TRIES;
        admission_answer(e, from, o, hopeless ? OFFER_REFUSED : OFFER_WAIT,
                         im ? im->reason : "its host is out of memory");
        return;
    }
    unit_stop(e, u);
    admission_answer(e, from, o, OFFER_WAIT, "");
}

void units_on_offer(struct engine *e, node_id from, const struct message_offer *o)
{
    struct app *a;
    struct spec_body spec;
    enum target target;
    uint32_t need;
    char why[REASON_SIZE];
    bool other_side = o->surrogate && !side_minority(e); /* one of us will learn where we are */
    if (!e->ready || e->stranger_count > 0 || other_side || !known(e, from, o, &a)) {
        admission_answer(e, from, o, OFFER_WAIT, "");
        return;
    }
    struct unit *u = unit_find(e, &o->id.app, o->id.slot);
    if (a->deleted || o->id.slot >= a->replicas || app_spec(e, a, &spec)) {
        admission_answer(e, from, o, OFFER_REFUSED, "the app was removed");
    } else if (taken_before(u, o)) {
        if (u->claim_seq <= e->durable_seq)
            admission_answer(e, from, o, OFFER_ACCEPTED, "");
        else
            u->answer_to = from;
    } else if (stale(e, a, o)) {
        admission_answer(e, from, o, OFFER_STALE, "");
    } else if (u && (u->run == RUN_STOPPING || u->run == RUN_ENDED || u->run == RUN_STARTING)) {
        admission_answer(e, from, o, OFFER_WAIT, "");
    } else if (volumes_refuse(e, a, o, why, sizeof why)) {
        admission_answer(e, from, o, OFFER_REFUSED, why);
    } else if (admit(e, a, o->id.slot, u, &spec, &target, &need, why, sizeof why)) {
        admission_answer(e, from, o, OFFER_REFUSED, why);
    } else if (carry_first(e, from, o, a, &spec, target)) {
        return;
    } else if (u && u->run == RUN_UP && !version_equal(u->body.spec, a->spec_version)) {
        make_way(e, from, o, u, &spec, target);
    } else if (!(u = unit_add(e, &o->id.app, o->id.slot))) {
        admission_answer(e, from, o, OFFER_REFUSED, "its host is out of memory for more units");
    } else {
        u->found = true;
        carry_claimed(e, u, a, o);
        claim(e, from, o, a, u, &spec, target, need);
    }
}
