/* Volumes of simulated hosts, and what must hold of them: a guest starts on its slot's volume, with all that was
 * written to it; two instances of a slot that has one are never knowingly there at once (placement.md, 3); and where
 * the app waits for a lost host, no host that knows of a volume makes another.
 *
 * What two hosts did before either heard of the other, as in a split, is nobody's fault. */
#include "tests/sim/world_internal.h"

#include <stdlib.h>
#include <string.h>

enum { MAKE_FAILS_PERMILLE = 20 };

struct written { /* what was written to a volume last, wherever it is */
    struct unit_id id; /* as it was made */
    uint32_t maker;
    uint64_t content;
    struct written *next;
};

static struct volume *volume_find(const struct host *h, const struct unit_id *id)
{
    for (struct volume *v = h->volumes; v; v = v->next)
        if (uid_equal(&v->id.app, &id->app) && v->id.slot == id->slot && v->id.epoch == id->epoch)
            return v;
    return NULL;
}

static struct written *written_find(struct world *w, const struct volume *v)
{
    const struct unit_id made = {.app = v->id.app, .slot = v->id.slot, .epoch = v->made}, *id = &made;
    struct written *x = w->written;
    while (x && !(x->maker == v->maker && uid_equal(&x->id.app, &id->app) && x->id.slot == id->slot &&
                  x->id.epoch == id->epoch))
        x = x->next;
    if (x)
        return x;
    x = calloc(1, sizeof *x);
    CHECK(x);
    *x = (struct written){.id = *id, .maker = v->maker, .next = w->written};
    w->written = x;
    return x;
}

void volumes_tell(const struct host *h)
{
    for (const struct volume *v = h->volumes; v; v = v->next)
        engine_volume(h->engine, &v->id);
}

void volumes_free(struct host *h)
{
    while (h->volumes) {
        struct volume *v = h->volumes;
        h->volumes = v->next;
        free(v);
    }
}

void volumes_forget(struct world *w)
{
    while (w->written) {
        struct written *x = w->written;
        w->written = x->next;
        free(x);
    }
}

static bool app_waits(const struct host *h, const struct uid *app)
{
    const struct record_key key = record_key_app(RECORD_SPEC, app);
    const struct entry *entry = replica_find(engine_records(h->engine), &key);
    struct spec_body spec;
    return entry && !spec_body_decode(entry->record.body, &spec) && spec.volume_lost == VOLUME_LOST_WAIT;
}

/* Does h know that this one has claimed the slot, and has that volume? */
static bool knows(const struct host *h, const struct host *other, const struct unit_id *id, uint64_t volume)
{
    const struct record_key key = record_key_unit(&id->app, id->slot, other->use->node);
    const struct entry *entry = replica_find(engine_records(h->engine), &key);
    struct unit_body u;
    return entry && !unit_body_decode(entry->record.body, &u) && u.volume == volume && !u.released;
}

static bool holds_live(const struct host *h, const struct host *other)
{
    const struct member *m = swim_find(engine_members(h->engine), other->use->node);
    return m && m->state == MEMBER_ALIVE;
}

struct home {
    const struct uid *app;
    uint16_t slot;
    struct claim volume, claim;
    bool released;
};

static void home_visit(void *ctx, const struct entry *entry)
{
    struct home *s = ctx;
    struct unit_body u;
    if (entry->record.key.kind != RECORD_UNIT || record_key_slot(&entry->record.key) != s->slot ||
        unit_body_decode(entry->record.body, &u))
        return;
    struct claim c = {.id = {.app = *s->app, .slot = s->slot, .epoch = u.epoch},
                      .owner = record_key_owner(&entry->record.key),
                      .surrogate = u.surrogate};
    if (!c.surrogate && (!s->claim.owner || claim_compare(&c, &s->claim) > 0)) {
        s->claim = c;
        s->released = u.released;
    }
    c.surrogate = 0;
    c.id.epoch = u.volume;
    if (u.volume && (!s->volume.owner || claim_compare(&c, &s->volume) > 0))
        s->volume = c;
}

const struct host *volume_home(struct world *w, const struct host *view, const struct uid *app, uint16_t slot)
{
    struct home s = {.app = app, .slot = slot};
    replica_each_of_app(engine_records(view->engine), app, home_visit, &s);
    node_id home = s.volume.owner ? s.volume.owner : s.released ? 0 : s.claim.owner;
    return home ? world_host_of(w, home) : NULL;
}

static void on_make(struct world *w, const struct host *h, const struct unit_id *id)
{
    const struct host *home = volume_home(w, h, &id->app, id->slot);
    if (home && home != h && (app_waits(h, &id->app) || holds_live(h, home)))
        world_fail(w, "host %u makes a volume for slot %u, and knows of the one on host %u", h->index, id->slot,
                   home->index);
}

static void volume_ask(struct world *w, struct host *h, const struct effect *f)
{
    bool make = f->kind == EFFECT_VOLUME_MAKE;
    if (make)
        on_make(w, h, &f->unit);
    struct event_node *n = world_later(w, 1 + rng_below(&w->volume_rng, 200), NODE_VOLUME, h, NULL, 0);
    n->unit = f->unit;
    n->id = make;
    bool fails = make && w->guest_fails_permille && world_chance(&w->volume_rng, MAKE_FAILS_PERMILLE);
    n->err = fails ? ERR_DISK_FULL : ERR_OK;
}

static void volume_done(struct world *w, struct host *h, const struct event_node *n)
{
    struct event ev = {.kind = EVENT_VOLUME, .unit = n->unit, .err = n->err, .text = "no room on its disk"};
    struct volume *v = volume_find(h, &n->unit);
    if (!v && !n->err && n->id) {
        v = calloc(1, sizeof *v);
        CHECK(v);
        *v = (struct volume){.id = n->unit, .maker = h->index, .made = n->unit.epoch, .next = h->volumes};
        h->volumes = v;
        w->total.volumes++;
    } else if (!v && !n->err) {
        world_fail(w, "host %u is to have volume %llx of slot %u, and hasn't", h->index,
                   (unsigned long long)n->unit.epoch, n->unit.slot);
    }
    host_step(w, h, &ev);
}

/* What the other's volume holds when the copy ends. */
static void volume_fetch(struct world *w, struct host *h, const struct effect *f)
{
    const struct host *from = world_host_of(w, f->peer);
    struct event_node *n =
        world_later(w, 20 + rng_below(&w->volume_rng, 2000), NODE_VOLUME_FETCHED, h, &f->seq, sizeof f->seq);
    n->unit = f->unit;
    n->id = f->id;
    n->from = from ? from->index : h->index;
}

static bool in_use(const struct host *h, const struct unit_id *id)
{
    for (const struct guest *g = h->guests; g; g = g->next)
        if (g->state != GUEST_ENDED && uid_equal(&g->run.app, &id->app) && g->run.slot == id->slot &&
            g->volume == id->epoch)
            return true;
    return false;
}

static void volume_fetched(struct world *w, struct host *h, const struct event_node *n)
{
    const struct host *from = &w->hosts[n->from];
    struct unit_id theirs = n->unit;
    memcpy(&theirs.epoch, n->bytes, sizeof theirs.epoch);
    const struct volume *source = volume_find(from, &theirs);
    bool last = n->id == VOLUME_LAST_PASS;
    bool ok = source && from != h && from->engine && hosts_talk(h, from) && !(last && in_use(from, &theirs));
    struct volume *v = volume_find(h, &n->unit);
    if (ok && last && !v) {
        v = calloc(1, sizeof *v);
        CHECK(v);
        *v = (struct volume){.id = n->unit, .maker = source->maker, .made = source->made, .next = h->volumes};
        h->volumes = v;
        w->total.volumes_carried++;
    }
    if (ok && last)
        v->content = source->content;
    struct event ev = {.kind = EVENT_VOLUME_FETCHED, .unit = n->unit, .id = n->id,
                       .err = ok ? ERR_OK : ERR_UNREACHABLE, .text = ok ? "" : "its host broke off"};
    host_step(w, h, &ev);
}

static void volume_drop(struct world *w, struct host *h, const struct unit_id *id)
{
    if (in_use(h, id))
        world_fail(w, "host %u drops volume %llx of slot %u, which a guest has", h->index,
                   (unsigned long long)id->epoch, id->slot);
    for (struct volume **at = &h->volumes; *at; at = &(*at)->next) {
        struct volume *v = *at;
        if (!uid_equal(&v->id.app, &id->app) || v->id.slot != id->slot || v->id.epoch != id->epoch)
            continue;
        *at = v->next;
        free(v);
        return;
    }
}

static void overlap_check(struct world *w, const struct host *h, const struct effect *f)
{
    for (uint32_t i = 0; i < w->host_count; i++) {
        const struct host *other = &w->hosts[i];
        for (const struct guest *g = other->guests; g; g = g->next) {
            bool same = uid_equal(&g->run.app, &f->unit.app) && g->run.slot == f->unit.slot;
            if (!same || g->state == GUEST_ENDED || g->volume == 0)
                continue;
            if (other == h || (knows(h, other, &f->unit, g->volume) && holds_live(h, other)))
                world_fail(w, "host %u starts slot %u, which has a volume and runs on host %u", h->index,
                           f->unit.slot, i);
        }
    }
}

void volume_start(struct world *w, struct host *h, const struct effect *f)
{
    const struct unit_id id = {.app = f->unit.app, .slot = f->unit.slot, .epoch = f->start.volume};
    struct volume *v = volume_find(h, &id);
    if (!v) {
        world_fail(w, "host %u starts slot %u without its volume", h->index, f->unit.slot);
        return;
    }
    overlap_check(w, h, f);
    struct written *last = written_find(w, v);
    const struct host *home = volume_home(w, h, &id.app, id.slot);
    if (home != h)
        world_fail(w, "host %u starts slot %u, and knows that its volume is on host %d", h->index, f->unit.slot,
                   home ? (int)home->index : -1);
    if (last->content != v->content)
        world_fail(w, "host %u starts slot %u on a copy of its volume that lacks what was written to another", h->index,
                   f->unit.slot);
    v->content = last->content = ++w->writes;
}

void volume_effect(struct world *w, struct host *h, const struct effect *f)
{
    if (f->kind == EFFECT_VOLUME_FETCH)
        volume_fetch(w, h, f);
    else if (f->kind == EFFECT_VOLUME_DROP)
        volume_drop(w, h, &f->unit);
    else
        volume_ask(w, h, f);
}

void volume_event(struct world *w, struct host *h, const struct event_node *n)
{
    if (n->kind == NODE_VOLUME_FETCHED)
        volume_fetched(w, h, n);
    else
        volume_done(w, h, n);
}
