/* The notary's work (docs/placement.md): empty slots are offered to hosts, one at a time, at the next epoch; units
 * are moved by the same offers.
 *
 * Owns in struct engine: plan_*, candidates; in struct app: the refusals, rank; in struct slot: epoch_max,
 * empty_since_ms, retry_ms, nobody, turn_ms, runner, offer; in struct peer: app_units. */
#include "node/engine_internal.h"

#include <stdio.h>
#include <string.h>

enum {
    ACCEPTED_WAIT_MS = 2000,
    STALE_WAIT_MS = 250,
    LEARN_WAIT_MS = 3000,
    RETURNED_MS = 5000,
    BUG_TRIES = 2
};

void planner_all(struct engine *e)
{
    e->plan_all = true;
    e->room_generation++;
}

/* Apps whose slots have owners, none of them this one, stay as they are. */
void planner_member(struct engine *e, node_id member)
{
    e->plan_owners |= owner_bit(member);
    e->plan_all |= bug(e, BUG_MOVE_ON_JOIN);
    e->room_generation++;
}

void planner_room(struct engine *e)
{
    e->plan_room = true;
    e->room_generation++;
}

void planner_alive(struct engine *e)
{
    e->alive_generation++;
    planner_room(e); /* whom to offer to has changed, too, */
    copies_soon(e); /* and how many copies there should be */
}

/* A host that returns is hardly ever the only one, and what it synced with may not know all that happened: what the
 * others run is not ours to give away before they are here. Other notaries do meanwhile. */
void planner_returned(struct engine *e)
{
    e->fill_from_ms = e->now + RETURNED_MS;
}

/* … but whose owner's death we saw ourselves, in this life, is empty. */
static bool saw_it_die(const struct engine *e, const struct slot *s)
{
    const struct peer *p = s->real.owner && !s->real.released ? s->real.peer : NULL;
    return p && p->heard && !peer_live(e, p->node);
}

void planner_app(struct engine *e, struct app *a)
{
    if (a->plan)
        return;
    a->plan = true;
    a->plan_next = e->plan_apps;
    e->plan_apps = a;
}

static void plan_at(struct engine *e, uint64_t at)
{
    e->plan_next_ms = min_u64(e->plan_next_ms, at);
}

/* ---- Who could carry it -------------------------------------------------------------------------- */

static uint32_t max_u32(uint32_t a, uint32_t b)
{
    return a > b ? a : b;
}

/* A refusal may speak of a later sequence than the record that we have: it came straight. */
static bool refused_by(const struct engine *e, const struct app *a, node_id node, uint64_t room_seq)
{
    for (uint32_t i = 0; i < a->refusal_count; i++)
        if (a->refusals[i].node == node &&
            (bug(e, BUG_REOFFER_REFUSED) ? room_seq == a->refusals[i].room_seq : room_seq <= a->refusals[i].room_seq))
            return true;
    return false;
}

static void refusal_add(struct app *a, node_id node, uint64_t room_seq, const char *reason)
{
    struct refusal *r = NULL;
    for (uint32_t i = 0; i < a->refusal_count; i++)
        if (a->refusals[i].node == node)
            r = &a->refusals[i];
    if (!r) {
        r = &a->refusals[a->refusal_next];
        a->refusal_next = (a->refusal_next + 1) % REFUSALS_MAX;
        if (a->refusal_count < REFUSALS_MAX)
            a->refusal_count++;
    }
    *r = (struct refusal){.node = node, .room_seq = room_seq};
    snprintf(r->reason, sizeof r->reason, "%s", reason);
}

/* One app's planning, while it lasts. */
struct plan {
    struct app *app;
    struct spec_body spec;
    uint32_t target_mask;
    uint64_t key;
    bool have_spec;
    uint32_t self_units;
    uint32_t units_max;
};

static bool plan_load(struct engine *e, struct plan *p)
{
    if (p->have_spec)
        return true;
    if (app_spec(e, p->app, &p->spec))
        return false;
    for (uint32_t i = 0; i < p->spec.image_count; i++)
        p->target_mask |= 1u << p->spec.images[i].target;
    p->key = placement_key(p->spec.affinity[0] ? p->spec.affinity : p->spec.name);
    p->have_spec = true;
    return true;
}

/* Ours is the number of live members that come before us. One that comes back from being away says so; until then,
 * though its time be over, it is as good as away. */
uint32_t planner_rank(const struct engine *e, struct app *a)
{
    if (a->rank_generation == e->alive_generation + 1)
        return a->rank;
    a->rank_generation = e->alive_generation + 1; /* never 0 */
    a->rank = 0;
    uint64_t ours = placement_notary_score(&a->uid, e->crypto->node);
    for (uint32_t i = 0; i < e->alive_count && a->rank < NOTARIES; i++) {
        const node_id node = e->alive[i];
        uint64_t score = placement_notary_score(&a->uid, node);
        a->rank += score < ours || (score == ours && node < e->crypto->node);
    }
    return a->rank;
}

/* The live ones that come first, in no order; returns how many. */
static size_t notaries(const struct engine *e, const struct uid *app, node_id out[static NOTARIES])
{
    uint64_t scores[NOTARIES];
    size_t n = 0;
    for (uint32_t i = 0; i < e->alive_count; i++) {
        const node_id node = e->alive[i];
        uint64_t score = placement_notary_score(app, node);
        size_t at = n < NOTARIES ? n++ : NOTARIES;
        while (at > 0 && score < scores[at - 1]) {
            at--;
            if (at + 1 < NOTARIES) {
                scores[at + 1] = scores[at];
                out[at + 1] = out[at];
            }
        }
        if (at < NOTARIES) {
            scores[at] = score;
            out[at] = node;
        }
    }
    return n;
}

void planner_tell_notaries(struct engine *e, const struct app *a, uint32_t slot)
{
    const struct record_key key = record_key_unit(&a->uid, (uint16_t)slot, e->crypto->node);
    const struct entry *entry = replica_find(e->replica, &key);
    uint8_t buffer[REPLICA_INLINE_MAX + 8];
    struct pack k;
    pack_init(&k, buffer, sizeof buffer);
    if (!entry || entry->held || !replica_item_encode(entry, &k))
        return; /* gossip brings it, a little later */
    node_id to[NOTARIES];
    size_t n = notaries(e, &a->uid, to);
    for (size_t i = 0; i < n; i++)
        peers_send(e, to[i], MESSAGE_GOSSIP, &k);
}

static void count_app_units(struct engine *e, struct plan *p)
{
    p->self_units = p->units_max = 0;
    for (struct peer *q = e->peers; q; q = q->hh.next)
        q->app_units = 0;
    for (uint32_t i = 0; i < p->app->slot_count; i++) {
        const struct slot_claim *c = slot_holder(e, p->app, i);
        node_id to = c ? c->owner : p->app->slots[i].offer.to;
        struct peer *q = c ? c->peer : to ? peer_find(e, to) : NULL;
        uint32_t *count = q ? &q->app_units : to == e->crypto->node ? &p->self_units : NULL;
        if (count && ++*count > p->units_max)
            p->units_max = *count;
    }
}

static bool candidates_room(struct engine *e)
{
    size_t need = (size_t)HASH_COUNT(e->peers) + 1;
    if (need <= e->candidates_size)
        return true;
    size_t size = 2 * need;
    struct candidate *v = mem_alloc(e->mem, size * sizeof *v);
    if (!v)
        return false;
    mem_free(e->mem, e->candidates);
    e->candidates = v;
    e->candidates_size = size;
    return true;
}

/* Those that hold `units` of the app already and look as if they had room, unranked. */
static size_t candidates_collect(struct engine *e, const struct plan *p, uint32_t units, node_id not)
{
    size_t n = 0;
    const struct app *a = p->app;
    uint32_t used = max_u32(e->reserved_mib, e->self_claimed_mib);
    node_id self = e->crypto->node;
    if (self != not && self_takes_units(e) && p->self_units == units &&
        (e->host.targets & p->target_mask) && e->self.capacity_mib >= a->memory_mib &&
        e->self.capacity_mib - a->memory_mib >= used && !refused_by(e, a, self, e->room_seq))
        e->candidates[n++] = (struct candidate){
            .node = self, .capacity_mib = e->self.capacity_mib, .used_mib = used};
    for (struct peer *q = e->peers; q; q = q->hh.next) {
        used = max_u32(q->used_mib, q->claimed_mib);
        if (q->node == not || q->app_units != units || !(q->targets & p->target_mask) ||
            (q->flags & (NODE_DRAINING | NODE_READ_ONLY | NODE_LEFT)) ||
            q->capacity_mib < a->memory_mib || q->capacity_mib - a->memory_mib < used ||
            refused_by(e, a, q->node, q->room_seq) || !peer_is_alive(e, q))
            continue;
        e->candidates[n++] =
            (struct candidate){.node = q->node, .capacity_mib = q->capacity_mib, .used_mib = used};
    }
    return n;
}

/* The first PLACEMENT_FIRST_FIT that really fit, by their records. */
static size_t candidates_fit(struct engine *e, const struct plan *p, size_t n)
{
    size_t fit = 0;
    for (size_t i = 0; i < n && fit < PLACEMENT_FIRST_FIT; i++) {
        struct node_body body;
        enum target target;
        char why[REASON_SIZE];
        struct candidate c = e->candidates[i];
        if (engine_node(e, c.node, &body) ||
            placement_fits(&p->spec, &body, &target, why, sizeof why) ||
            c.capacity_mib - c.used_mib < placement_reserve_mib(&p->spec, target))
            continue;
        e->candidates[fit++] = c;
    }
    return fit;
}

/* The slot is its volume's host's alone: whether there is room, it says itself, as what it has of the unit already
 * counts for that. 0: it can't be asked now. */
static node_id home_choose(const struct engine *e, const struct app *a, node_id home)
{
    struct peer *q = peer_find(e, home);
    if (home == e->crypto->node)
        return self_takes_units(e) && !refused_by(e, a, home, e->room_seq) ? home : 0;
    bool takes = q && peer_is_alive(e, q) && !(q->flags & (NODE_DRAINING | NODE_READ_ONLY | NODE_LEFT));
    return takes && !refused_by(e, a, home, q->room_seq) ? home : 0;
}

/* Whom to offer a slot to: those with the fewest units of the app first, so that replicas spread. 0: nobody. */
static node_id candidate_choose(struct engine *e, struct plan *p, node_id not)
{
    if (!plan_load(e, p))
        return 0;
    if (!candidates_room(e)) {
        e->room_generation++; /* as if all were full; again in a while */
        plan_at(e, e->now + NEVER_RETRY_MS);
        return 0;
    }
    count_app_units(e, p);
    for (uint32_t units = 0; units <= p->units_max; units++) {
        size_t n = candidates_collect(e, p, units, not);
        placement_rank(p->key, e->candidates, n);
        n = candidates_fit(e, p, n);
        size_t at = placement_choose(e->candidates, n);
        if (at != SIZE_MAX)
            return e->candidates[at].node;
    }
    return 0;
}

/* ---- Offers --------------------------------------------------------------------------------------- */

static void offer_send(struct engine *e, struct app *a, uint32_t slot)
{
    struct slot *s = &a->slots[slot];
    struct message_offer o = {
        .id = {.app = a->uid, .slot = (uint16_t)slot, .epoch = s->offer.epoch},
        .spec = a->spec_version,
        .previous = s->real.owner,
        .kind = s->offer.kind,
        .surrogate = s->offer.surrogate,
    };
    s->offer.next_ms = e->now + e->cfg.offer_retry_ms;
    s->offer.tries++;
    e->count.offers_sent++;
    char uid[UID_TEXT];
    uid_text(&a->uid, uid);
    effects_log(e->fx, LOG_DEBUG, "offer.sent", "app=%s slot=%u epoch=%llu to=%016llx surrogate=%u",
                uid, slot, (unsigned long long)s->offer.epoch, (unsigned long long)s->offer.to,
                o.surrogate);
    if (s->offer.to == e->crypto->node) {
        units_on_offer(e, e->crypto->node, &o);
        return;
    }
    uint8_t buffer[256];
    struct pack k;
    pack_init(&k, buffer, sizeof buffer);
    message_offer_encode(&o, &k);
    CHECK(!k.err);
    peers_send(e, s->offer.to, MESSAGE_OFFER, &k);
}

static void offer_begin(struct engine *e, struct app *a, uint32_t slot, node_id to,
                        enum offer_kind kind)
{
    struct slot *s = &a->slots[slot];
    bool surrogate = side_minority(e);
    uint64_t epoch = surrogate ? s->epoch_max : s->epoch_max + 1;
    s->epoch_max = epoch;
    s->offer.to = to;
    s->offer.epoch = epoch;
    s->offer.kind = kind;
    s->offer.surrogate = surrogate;
    s->offer.tries = 0;
    slot_account(e, a, s);
    offer_send(e, a, slot);
}

static void offer_clear(struct engine *e, const struct app *a, struct slot *s)
{
    s->offer.to = 0;
    s->offer.client = 0;
    s->offer.tries = 0;
    slot_account(e, a, s);
}

/* MOVE: tell whoever asked, and be done. */
static void move_end(struct engine *e, struct app *a, struct slot *s, enum err err, const char *text)
{
    uint64_t client = s->offer.client;
    offer_clear(e, a, s);
    if (client)
        commands_reply(e, client, err, &a->uid, a->revision, text);
}

static void offer_continue(struct engine *e, struct app *a, uint32_t slot)
{
    struct slot *s = &a->slots[slot];
    bool move = s->offer.kind == OFFER_MOVE;
    if (!peer_live(e, s->offer.to)) {
        if (move)
            move_end(e, a, s, ERR_UNREACHABLE, "the host it was to move to died");
        else
            offer_clear(e, a, s);
        return;
    }
    if (move && e->now >= s->offer.until_ms) {
        move_end(e, a, s, ERR_TIMEOUT, "the host it was to move to does not answer");
        return;
    }
    if (bug(e, BUG_REOFFER_SAME_EPOCH) && !move && s->offer.tries > BUG_TRIES) {
        refusal_add(a, s->offer.to, peer_find(e, s->offer.to) ? peer_find(e, s->offer.to)->room_seq : 0,
                    "does not answer");
        s->epoch_max = s->offer.epoch - 1;
        offer_clear(e, a, s);
        return;
    }
    if (e->now >= s->offer.next_ms)
        offer_send(e, a, slot);
    if (s->offer.to)
        plan_at(e, s->offer.next_ms);
}

static enum err move_begin(struct engine *e, struct app *a, uint16_t slot, node_id to, uint64_t client, char *text,
                           size_t size);

void planner_on_answer(struct engine *e, node_id from, const struct message_offer_answer *m)
{
    struct app *a = app_find(e, &m->id.app);
    if (!a || m->id.slot >= a->slot_count)
        return;
    struct slot *s = &a->slots[m->id.slot];
    if (s->offer.to != from || s->offer.epoch != m->id.epoch)
        return; /* late, or twice */
    bool move = s->offer.kind == OFFER_MOVE;
    planner_app(e, a);
    switch (m->verdict) {
    case OFFER_ACCEPTED:
        if (move)
            move_end(e, a, s, ERR_OK, "handed over");
        else
            s->offer.next_ms = e->now + ACCEPTED_WAIT_MS; /* its claim is on its way */
        break;
    case OFFER_REFUSED:
        refusal_add(a, from, m->room_seq, m->reason);
        if (move && s->offer.anywhere) {
            uint64_t client = s->offer.client;
            char text[REASON_SIZE];
            offer_clear(e, a, s);
            apps_refresh(e);
            enum err err = move_begin(e, a, m->id.slot, 0, client, text, sizeof text);
            if (err && client)
                commands_reply(e, client, err, &a->uid, a->revision, text);
        } else if (move) {
            move_end(e, a, s, ERR_NO_ROOM, m->reason);
        } else {
            offer_clear(e, a, s);
        }
        break;
    case OFFER_STALE:
        if (m->epoch > s->epoch_max)
            s->epoch_max = m->epoch;
        s->retry_ms = e->now + STALE_WAIT_MS;
        s->learn_epoch = m->epoch; /* so as not to take the slot from a claim that we haven't heard of */
        s->learn_ms = e->now + LEARN_WAIT_MS;
        if (move)
            move_end(e, a, s, ERR_CONFLICT, "its place has just changed; ask again");
        else
            offer_clear(e, a, s);
        break;
    case OFFER_WAIT:
        if (move && a->blocks)
            s->offer.until_ms = e->now + MOVE_TIMEOUT_MS; /* a large volume is copied */
        break;
    }
}

static enum err move_begin(struct engine *e, struct app *a, uint16_t slot, node_id to, uint64_t client, char *text,
                           size_t size)
{
    const struct slot_claim *c = slot < a->replicas ? slot_holder(e, a, slot) : NULL;
    struct slot *s = c ? &a->slots[slot] : NULL;
    if (!c) {
        snprintf(text, size, "%s/%u runs nowhere, so there is nothing to move", a->name, slot);
        return ERR_NOT_FOUND;
    }
    if (c->surrogate || side_minority(e)) {
        snprintf(text, size, "this side of the mesh is a minority: nothing is moved until it heals");
        return ERR_NOT_READY;
    }
    if (side_undecided(e)) {
        snprintf(text, size, "too many nodes don't answer: nothing is moved until it is clear which are alive");
        return ERR_NOT_READY;
    }
    if (to == c->owner) {
        snprintf(text, size, "%s/%u is there already", a->name, slot);
        return ERR_EXISTS;
    }
    if (s->offer.to) {
        snprintf(text, size, "%s/%u is being placed already", a->name, slot);
        return ERR_BUSY;
    }
    struct plan p = {.app = a};
    bool anywhere = to == 0;
    if (anywhere)
        to = candidate_choose(e, &p, c->owner);
    if (to == 0) {
        planner_reason(e, a, slot, text, size);
        return ERR_NO_ROOM;
    }
    s->offer.client = client;
    s->offer.until_ms = e->now + MOVE_TIMEOUT_MS;
    s->offer.anywhere = anywhere;
    e->count.handovers++;
    planner_app(e, a);
    offer_begin(e, a, slot, to, OFFER_MOVE);
    return ERR_OK;
}

enum err planner_move(struct engine *e, struct app *a, uint16_t slot, node_id to, uint64_t client, char *text,
                      size_t size)
{
    apps_refresh(e);
    if (!a->blocks)
        return move_begin(e, a, slot, to, client, text, size);
    snprintf(text, size, "%.40s/%u has a volume, and stays where that is (meshctl volume move)", a->name, slot);
    return ERR_CONFLICT;
}

enum err planner_carry(struct engine *e, struct app *a, uint16_t slot, node_id to, uint64_t client, char *text,
                       size_t size)
{
    apps_refresh(e);
    const struct slot_claim *c = slot < a->replicas ? slot_holder(e, a, slot) : NULL;
    if (a->blocks && c && a->slots[slot].volume.owner == c->owner)
        return move_begin(e, a, slot, to, client, text, size);
    if (a->blocks && slot < a->slot_count && a->slots[slot].volume.owner)
        snprintf(text, size, "%s/%u doesn't run where its volume is; start it first", a->name, slot);
    else
        snprintf(text, size, "%s/%u has no volume to move", a->name, slot);
    return ERR_NOT_FOUND;
}

/* ---- The pass -------------------------------------------------------------------------------------- */

static bool app_wants(const struct app *a)
{
    return a->has_spec && !a->deleted && !a->shadowed && a->wanted == WANTED_RUNNING;
}

/* BUG_MOVE_ON_JOIN: what a naive planner does. */
static void bug_move_on_join(struct engine *e, struct plan *p, uint32_t slot,
                             const struct slot_claim *c)
{
    if (planner_rank(e, p->app) != 0 || !plan_load(e, p) || c->state != UNIT_RUNNING)
        return;
    uint64_t ours = placement_score(p->key, c->owner, 1);
    for (const struct peer *q = e->peers; q; q = q->hh.next) {
        char text[REASON_SIZE];
        if (q->node != c->owner && peer_alive(e, q->node) && placement_score(p->key, q->node, 1) < ours) {
            enum err err = planner_move(e, p->app, (uint16_t)slot, q->node, 0, text, sizeof text);
            (void)err;
            return;
        }
    }
}

struct runner {
    const struct engine *e;
    const struct app *app;
    uint32_t slot;
    struct claim best;
    bool unheard; /* there is one on a host that is suspected, or has not been heard since we started */
};

static void runner_visit(void *ctx, const struct entry *entry)
{
    struct runner *r = ctx;
    struct unit_body u;
    const struct record_key *key = &entry->record.key;
    if (key->kind != RECORD_UNIT || record_key_slot(key) != r->slot || unit_body_decode(entry->record.body, &u))
        return;
    bool runs = u.pid != 0 || (u.surrogate && !u.released);
    const struct claim c = {
        .id = {.app = r->app->uid, .slot = (uint16_t)r->slot, .epoch = u.epoch},
        .owner = record_key_owner(key),
        .surrogate = u.surrogate,
    };
    if (!runs || !peer_live(r->e, c.owner))
        return;
    if (!peer_alive(r->e, c.owner))
        r->unheard = true;
    else if (!r->best.owner || claim_compare(&c, &r->best) > 0)
        r->best = c;
}

/* What a minority started, or one whose winner gave the slot up, goes on under a claim of its own, where it can: it has
 * its memory already. 0: there is none, or it was offered the slot, and nothing has changed since; or, with *wait, it
 * is not yet clear whether its host lives. */
static node_id runner_choose(struct engine *e, const struct app *a, uint32_t slot, bool *wait)
{
    struct slot *s = &a->slots[slot];
    struct runner r = {.e = e, .app = a, .slot = slot};
    *wait = false;
    if (side_minority(e))
        return 0;
    replica_each_of_app(e->replica, &a->uid, runner_visit, &r);
    *wait = !r.best.owner && r.unheard;
    if (!r.best.owner || (s->runner == r.best.owner && s->runner_generation == e->room_generation))
        return 0;
    s->runner = r.best.owner;
    s->runner_generation = e->room_generation;
    return s->runner;
}

/* Nobody could carry the slot. Once that may have changed it is the first notary's turn; the others look when they
 * would have offered a slot that is newly empty. */
static bool turn_has_come(struct engine *e, struct slot *s, uint32_t rank)
{
    if (s->nobody == e->room_generation)
        return false;
    if (s->nobody && rank > 0) {
        if (!s->turn_ms)
            s->turn_ms = e->now + (uint64_t)rank * e->cfg.notary_delay_ms;
        if (e->now < s->turn_ms) {
            plan_at(e, s->turn_ms);
            return false;
        }
    }
    s->turn_ms = 0;
    return true;
}

/* 0: nobody; or, with *wait, it isn't clear yet. */
static node_id taker_choose(struct engine *e, struct plan *p, uint32_t slot, bool *wait)
{
    node_id home, to = 0;
    enum volume_place place = VOLUME_ANYWHERE;
    *wait = false;
    if (p->app->blocks)
        place = volumes_place(e, p->app, slot, &home);
    else
        to = runner_choose(e, p->app, slot, wait);
    if (place == VOLUME_HOME)
        return home_choose(e, p->app, home);
    return to || *wait || place == VOLUME_NOWHERE ? to : candidate_choose(e, p, 0);
}

static void plan_slot(struct engine *e, struct plan *p, uint32_t slot)
{
    struct app *a = p->app;
    struct slot *s = &a->slots[slot];
    const struct slot_claim *c = slot_holder(e, a, slot);
    bool wants = app_wants(a) && slot < a->replicas;
    bool changed_sides = s->offer.surrogate != side_minority(e); /* a host of the other side would give it up at once */
    if (s->offer.to && s->offer.kind == OFFER_FILL && (c || !wants || changed_sides))
        offer_clear(e, a, s);
    a->pending |= s->offer.to != 0;
    if (s->offer.to)
        offer_continue(e, a, slot);
    if (c || !wants) {
        s->empty_since_ms = s->nobody = s->turn_ms = 0;
        if (c && bug(e, BUG_MOVE_ON_JOIN))
            bug_move_on_join(e, p, slot, c);
        return;
    }
    if (!s->empty_since_ms)
        s->empty_since_ms = e->now;
    e->passed[a->index].open = true;
    uint32_t rank = planner_rank(e, a);
    if (rank >= NOTARIES)
        return; /* until the membership changes */
    a->pending = true;
    if (s->offer.to)
        return;
    uint64_t behind = (uint64_t)rank * e->cfg.notary_delay_ms;
    uint64_t due = s->empty_since_ms + behind;
    if (due < s->retry_ms)
        due = s->retry_ms;
    if (due < e->fill_from_ms + behind && !saw_it_die(e, s)) /* many may have returned in one moment */
        due = e->fill_from_ms + behind;
    if (due < s->learn_ms && s->epoch_seen < s->learn_epoch)
        due = s->learn_ms;
    if (e->now < due) {
        plan_at(e, due);
        return;
    }
    if (!effects_room(e->fx, 4 * RECORD_BYTES_MAX)) {
        planner_app(e, a);
        return;
    }
    if (side_undecided(e) || !turn_has_come(e, s, rank))
        return;
    uint64_t generation = e->room_generation;
    bool wait;
    node_id to = taker_choose(e, p, slot, &wait);
    if (wait)
        return; /* until that changes */
    s->nobody = to ? 0 : generation;
    if (to)
        offer_begin(e, a, slot, to, OFFER_FILL);
    if (s->offer.to)
        plan_at(e, s->offer.next_ms);
}

static void pending_list(struct engine *e, struct app *a)
{
    bool in = e->pending_apps == a || a->pending_prev;
    if (in == a->pending)
        return;
    if (a->pending) {
        a->pending_next = e->pending_apps;
        if (a->pending_next)
            a->pending_next->pending_prev = a;
        e->pending_apps = a;
        return;
    }
    if (a->pending_prev)
        a->pending_prev->pending_next = a->pending_next;
    else
        e->pending_apps = a->pending_next;
    if (a->pending_next)
        a->pending_next->pending_prev = a->pending_prev;
    a->pending_prev = a->pending_next = NULL;
}

static void plan_app(struct engine *e, struct app *a)
{
    struct plan p = {.app = a};
    a->pending = e->passed[a->index].open = false;
    for (uint32_t i = 0; i < a->slot_count; i++)
        plan_slot(e, &p, i);
    e->passed[a->index].open |= a->pending;
    pending_list(e, a);
}

/* What is to be planned besides the apps that changed. */
static void plan_list(struct engine *e)
{
    uint64_t owners = e->plan_all ? UINT64_MAX : e->plan_owners;
    if (!owners && !e->plan_room && e->now < e->plan_next_ms)
        return;
    for (uint32_t i = 0; owners && i < HASH_COUNT(e->apps); i++) {
        const struct passed *passed = &e->passed[i];
        if (e->plan_all || passed->open || (passed->owners & owners))
            planner_app(e, passed->app);
    }
    for (struct app *a = owners ? NULL : e->pending_apps; a; a = a->pending_next)
        planner_app(e, a);
    e->plan_all = e->plan_room = false;
    e->plan_owners = 0;
    e->plan_next_ms = UINT64_MAX;
}

void planner_tick(struct engine *e)
{
    side_tick(e);
    if (!e->ready || e->stopping == STOP_TOLD)
        return;
    copies_tick(e);
    plan_list(e);
    struct app *list = e->plan_apps;
    e->plan_apps = NULL;
    while (list) {
        struct app *a = list;
        list = a->plan_next;
        a->plan = false;
        plan_app(e, a);
    }
}

uint64_t planner_deadline(const struct engine *e)
{
    uint64_t at = side_deadline(e);
    if (!e->ready || e->stopping == STOP_TOLD)
        return at;
    if (e->plan_all || e->plan_owners || e->plan_room || e->plan_apps)
        return e->now;
    if (e->copies_next_ms)
        at = min_u64(at, e->copies_next_ms);
    return min_u64(at, e->plan_next_ms);
}

/* ---- Words and counts ------------------------------------------------------------------------------ */

struct reasons {
    uint32_t hosts, no_target, constrained, full, refused, fit;
    uint32_t most_free_mib, need_mib; /* of those that are full */
    char constraint[REASON_SIZE], refusal[REASON_SIZE];
};

static void reason_of(struct engine *e, const struct plan *p, node_id node, struct reasons *r)
{
    struct node_body n;
    enum target target;
    char why[REASON_SIZE];
    if (engine_node(e, node, &n) || n.flags & (NODE_DRAINING | NODE_READ_ONLY | NODE_LEFT))
        return;
    r->hosts++;
    uint32_t used = node == e->crypto->node ? e->reserved_mib : n.used_mib;
    uint32_t free_mib = n.capacity_mib > used ? n.capacity_mib - used : 0;
    if (placement_fits(&p->spec, &n, &target, why, sizeof why)) {
        r->constrained++;
        snprintf(r->constraint, sizeof r->constraint, "%s", why);
        return;
    }
    uint64_t room_seq = node == e->crypto->node ? e->room_seq : n.room_seq;
    uint32_t need_mib = placement_reserve_mib(&p->spec, target);
    if (free_mib < need_mib) {
        r->full++;
        r->most_free_mib = max_u32(r->most_free_mib, free_mib);
        r->need_mib = r->need_mib == 0 || need_mib < r->need_mib ? need_mib : r->need_mib;
    } else if (refused_by(e, p->app, node, room_seq)) {
        r->refused++;
        for (uint32_t i = 0; i < p->app->refusal_count; i++)
            if (p->app->refusals[i].node == node)
                snprintf(r->refusal, sizeof r->refusal, "%s", p->app->refusals[i].reason);
    } else {
        r->fit++;
    }
}

void planner_reason(struct engine *e, struct app *a, uint32_t slot, char *text, size_t size)
{
    struct plan p = {.app = a};
    if (volumes_reason(e, a, slot, text, size))
        return;
    struct reasons r = {0};
    if (!plan_load(e, &p)) {
        snprintf(text, size, "its spec has not arrived");
        return;
    }
    reason_of(e, &p, e->crypto->node, &r);
    for (const struct peer *q = e->peers; q; q = q->hh.next)
        if (peer_alive(e, q->node))
            reason_of(e, &p, q->node, &r);
    if (r.fit > 0)
        snprintf(text, size, "%s", e->ready ? "being placed" : "this node is still starting up");
    else if (r.refused > 0)
        snprintf(text, size, "refused: %.90s%s", r.refusal, r.full ? "; others have no room" : "");
    else if (r.full > 0)
        snprintf(text, size, "no host has room: %u MiB are needed, the most free is %u MiB%s",
                 r.need_mib, r.most_free_mib, r.constrained ? " (others don't fit)" : "");
    else if (r.constrained > 0)
        snprintf(text, size, "no host fits: %.100s", r.constraint);
    else
        snprintf(text, size, "no host takes units now");
}
