/* The host: which of our claims should run here, what runs here, and every step between the two.
 *
 *   wish       what the records ask of a claim of ours (unit_wish)
 *   run state  what is there: NONE → STARTING → UP → STOPPING → ENDED → NONE
 *   reconcile  one step from the second towards the first, whenever something changed
 *
 * A guest starts only when its claim is on disk under the run's name; its exit record is dropped only when its
 * end is on disk. Memory is reserved before a claim is made and freed when the guest is seen dead. Admission is
 * in admission.c, what follows an end in restarts.c, addresses in addresses.c, images in images.c. */
#include "node/engine_internal.h"

#include <stdio.h>
#include <string.h>

struct unit *unit_find(const struct engine *e, const struct uid *app, uint16_t slot)
{
    struct unit_key key = {.app = *app, .slot = slot};
    struct unit *u;
    HASH_FIND(hh, e->units, &key, sizeof key, u);
    return u;
}

struct unit *unit_add(struct engine *e, const struct uid *app, uint16_t slot)
{
    struct unit *u = unit_find(e, app, slot);
    if (u)
        return u;
    struct mem *mem = e->mem;
    u = mem_alloc(mem, sizeof *u);
    if (!u)
        return NULL;
    u->key = (struct unit_key){.app = *app, .slot = slot};
    u->body.exit_status = -1;
    u->found = e->scanned;
    volumes_recall(e, u);
    HASH_ADD(hh, e->units, key, sizeof u->key, u);
    if (!u->hh.tbl) {
        mem_free(mem, u);
        return NULL;
    }
    return u;
}

static void unit_drop(struct engine *e, struct unit *u)
{
    struct mem *mem = e->mem;
    CHECK(u->run == RUN_NONE);
    unit_reserve(e, u, 0);
    if (u->body.address_count)
        addresses_freed(e);
    HASH_DEL(e->units, u);
    mem_free(mem, u);
}

void units_dirty(struct engine *e)
{
    e->units_dirty = true;
}

bool units_any(const struct engine *e)
{
    for (const struct unit *u = e->units; u; u = u->hh.next)
        if (u->run != RUN_NONE)
            return true;
    return false;
}

/* ---- Small things -------------------------------------------------------------------------------- */

static struct unit_id run_id(const struct unit *u)
{
    return (struct unit_id){.app = u->key.app, .slot = u->key.slot, .epoch = u->body.run};
}

void unit_reserve(struct engine *e, struct unit *u, uint32_t mib)
{
    if (u->reserved_mib == mib)
        return;
    bool room = mib < u->reserved_mib;
    e->reserved_mib = e->reserved_mib - u->reserved_mib + mib;
    u->reserved_mib = mib;
    self_changed(e);
    if (room)
        self_room(e);
}

void unit_enter(struct engine *e, struct unit *u, enum unit_state state, const char *reason)
{
    if (u->body.state != state)
        u->body.since_ms = e->wall;
    u->body.state = state;
    snprintf(u->body.reason, sizeof u->body.reason, "%s", reason);
}

enum err unit_publish(struct engine *e, struct unit *u, uint64_t *seq)
{
    uint8_t body[2048 + REASON_SIZE];
    struct pack k;
    if (u->run == RUN_NONE && u->reserved_mib) /* of the next run; what runs keeps what it was started with */
        u->body.memory_mib = u->reserved_mib;
    u->body.boot = e->cfg.boot;
    pack_init(&k, body, sizeof body);
    const struct record_key key = record_key_unit(&u->key.app, u->key.slot, e->crypto->node);
    enum err err = unit_body_encode(&u->body, &k);
    if (!err)
        err = records_publish(e, &key, (struct slice){.p = body, .len = k.len}, seq);
    if (err && err != ERR_STALE)
        effects_log(e->fx, LOG_WARN, "unit.unpublished", "slot=%u err=%s", u->key.slot, err_name(err));
    return err;
}

/* Published for people and peers; nothing here waits for it. A deleted app takes no more records: that's fine. */
static void unit_tell(struct engine *e, struct unit *u)
{
    uint64_t seq;
    enum err err = unit_publish(e, u, &seq);
    (void)err;
}

static void unit_log(struct engine *e, const struct unit *u, enum log_level level, const char *event)
{
    const struct app *a = app_find(e, &u->key.app);
    char uid[UID_TEXT];
    uid_text(&u->key.app, uid); /* for what is found before the app's records are read */
    effects_log(e->fx, level, event, "app=%s slot=%u epoch=%llu%s state=%s reason=\"%s\"",
                a && a->name[0] ? a->name : uid, u->key.slot, (unsigned long long)u->body.epoch,
                u->body.surrogate ? " surrogate=1" : "", unit_state_text(u->body.state),
                u->body.reason);
}

void unit_release(struct engine *e, struct unit *u, const char *reason)
{
    u->body.released = 1;
    unit_enter(e, u, u->run == RUN_UP ? UNIT_RUNNING : UNIT_STOPPED, reason);
    unit_log(e, u, LOG_INFO, "unit.released");
    unit_tell(e, u);
    units_dirty(e);
}

void unit_fault(struct engine *e, const struct unit *u)
{
    struct app *a = app_find(e, &u->key.app);
    if (a) {
        a->fault_until_ms = e->now + HOST_FAULT_MS;
        e->faults_ms = 0;
    }
}

void unit_pass_on(struct engine *e, struct unit *u, const char *reason)
{
    unit_fault(e, u);
    unit_release(e, u, reason);
}

void unit_stop(struct engine *e, struct unit *u)
{
    if (u->run != RUN_UP && u->run != RUN_STARTING)
        return;
    struct effect *f = effects_add(e->fx, EFFECT_UNIT_STOP);
    f->unit = run_id(u);
    u->run = RUN_STOPPING;
    unit_enter(e, u, UNIT_STOPPING, "");
    unit_tell(e, u);
    if (bug(e, BUG_FREE_BEFORE_DEAD))
        unit_reserve(e, u, 0);
}

/* ---- What is wished ------------------------------------------------------------------------------ */

enum wish {
    WISH_KEEP,    /* not known: leave things as they are */
    WISH_GONE,    /* the app was deleted */
    WISH_RELEASE, /* nobody wants it now */
    WISH_PAUSE,   /* this host ends its guests, and keeps its claims */
    WISH_YIELD,   /* the slot is another's, or nobody's: go on until a winner is ready */
    WISH_RUN
};

/* Whoever deployed it was lost before the records were anywhere else, and then we lost them, too. */
static enum wish unknown_wish(struct engine *e, struct app *a)
{
    if (!a->unknown_ms || !e->synced || side_minority(e) || side_undecided(e))
        a->unknown_ms = e->now;
    if (e->now >= a->unknown_ms + e->cfg.orphan_ms)
        return WISH_RELEASE;
    e->units_next_ms = min_u64(e->units_next_ms, a->unknown_ms + e->cfg.orphan_ms);
    return WISH_KEEP;
}

static enum wish unit_wish(struct engine *e, const struct unit *u, struct app *a,
                           const struct slot_claim **holder)
{
    *holder = NULL;
    if (!a)
        return WISH_KEEP;
    if (a->deleted)
        return bug(e, BUG_IGNORE_DELETED) ? WISH_KEEP : WISH_GONE;
    if (!a->has_spec)
        return unknown_wish(e, a);
    a->unknown_ms = 0;
    if (e->stopping == STOP_ENDING_GUESTS)
        return WISH_PAUSE;
    if (a->shadowed || a->wanted == WANTED_STOPPED || u->key.slot >= a->replicas)
        return WISH_RELEASE;
    *holder = slot_holder(e, a, u->key.slot);
    const struct slot_claim *c = *holder;
    if (c && c->owner == e->crypto->node && c->epoch == u->body.epoch &&
        c->surrogate == u->body.surrogate)
        return WISH_RUN;
    return bug(e, BUG_NEVER_YIELD) ? WISH_KEEP : WISH_YIELD;
}

/* ---- Starting ------------------------------------------------------------------------------------ */

static const struct image_ref *image_for(const struct spec_body *spec, enum target target)
{
    for (uint32_t i = 0; i < spec->image_count; i++)
        if (spec->images[i].target == target)
            return &spec->images[i];
    return NULL;
}

/* Is the image here? If not, what became of having it. */
static bool have_image(struct engine *e, struct unit *u, const struct image_ref *ref)
{
    if (units_want_image(e, &ref->image, ref->size_bytes, u->offer_from))
        return true;
    const struct image *im = image_find(e, &ref->image);
    if (im && !im->fetching)
        e->units_next_ms = min_u64(e->units_next_ms, im->next_ms);
    return false;
}

static uint64_t guest_deadline(const struct engine *e)
{
    return peers_known_count(e) > 1 ? e->now + e->cfg.guest_deadline_ms : 0;
}

static void unit_start(struct engine *e, struct unit *u, const struct app *a,
                       const struct spec_body *spec, const struct image_ref *ref)
{
    struct start_args args;
    char why[REASON_SIZE];
    if (app_args(e, a, spec, u, &args, why, sizeof why)) {
        unit_pass_on(e, u, why);
        return;
    }
    const char *name = (const char *)effects_copy(e->fx, a->name, sizeof a->name).p;
    const struct guest_net *nets = addresses_for_start(e, u, spec);
    struct block_ref *blocks = effects_bytes(e->fx, spec->block_count * sizeof *blocks);
    memcpy(blocks, spec->blocks, spec->block_count * sizeof *blocks);
    struct effect *f = effects_add(e->fx, EFFECT_UNIT_START);
    f->unit = run_id(u);
    f->start = (struct effect_start){
        .image = ref->image,
        .target = u->body.target,
        .memory_mib = spec->memory_mib,
        .args_count = args.count,
        .args = args.packed,
        .net_count = spec->net_count,
        .nets = nets,
        .volume = u->body.volume,
        .block_count = spec->block_count,
        .blocks = blocks,
        .access = access_for_start(e, u, spec),
        .boottime_ms = guest_deadline(e),
        .app = name,
    };
    u->deadline_set = f->start.boottime_ms != 0;
    u->deadline_next_ms = e->now + e->cfg.guest_deadline_ms / 3;
    u->run = RUN_STARTING;
    u->inherited = u->volume_here = false;
    u->run_started_ms = e->now;
    unit_enter(e, u, UNIT_STARTING, "");
    unit_log(e, u, LOG_INFO, "unit.starting");
    unit_tell(e, u);
}

/* A new spec under our own claim: the next epoch, so that its run has a name of its own. */
static void unit_renew(struct engine *e, struct unit *u, const struct app *a, enum target target,
                       uint32_t need_mib)
{
    if (u->body.surrogate || side_minority(e)) /* which raises no epoch */
        u->body.surrogate++;
    else
        u->body.epoch++;
    u->body.run = unit_run_name(&u->body);
    u->body.spec = a->spec_version;
    u->body.revision = a->revision;
    u->body.target = target;
    u->body.exit_status = -1;
    u->body.exit_signal = 0;
    u->body.restarts = 0;
    u->failures = 0;
    u->backoff_until_ms = 0;
    unit_reserve(e, u, need_mib);
    unit_enter(e, u, UNIT_FETCHING, "");
    e->count.claims++;
    if (unit_publish(e, u, &u->claim_seq))
        u->claim_seq = UINT64_MAX; /* republished by units_tick */
}

static bool at_rest(const struct unit *u, const struct app *a)
{
    return (u->body.state == UNIT_DONE || u->body.state == UNIT_FAILED) &&
           version_equal(u->body.spec, a->spec_version);
}

/* Does the spec as it is now fit here, with what we hold already? */
static enum err fits_here(struct engine *e, const struct unit *u, const struct spec_body *spec,
                          enum target *target, uint32_t *need_mib, char *why, size_t size)
{
    enum err err = placement_fits(spec, &e->self, target, why, size);
    if (err)
        return err;
    *need_mib = placement_reserve_mib(spec, *target);
    uint32_t others = e->reserved_mib - u->reserved_mib;
    if (*need_mib > e->self.capacity_mib || others > e->self.capacity_mib - *need_mib) {
        snprintf(why, size, "its host has no room for %u MiB", *need_mib);
        return ERR_NO_ROOM;
    }
    return ERR_OK;
}

/* Ours does not run, but a surrogate of another's does: made while we were away on a minority's side. It goes on
 * there, and is given a claim above ours (planner.c); starting ours would only move the unit. */
static bool stand_in_runs(const struct engine *e, const struct unit *u, const struct app *a)
{
    const struct slot_claim *c = &a->slots[u->key.slot].surrogate;
    return u->inherited && !u->body.surrogate && c->owner && c->owner != e->crypto->node && c->state == UNIT_RUNNING &&
           peer_alive(e, c->owner) && version_equal(c->spec, a->spec_version);
}

/* RUN_NONE and it should run: one step nearer. */
static void run_none(struct engine *e, struct unit *u, const struct app *a)
{
    struct spec_body spec;
    enum target target;
    uint32_t need;
    char why[REASON_SIZE];
    bool renewed = !version_equal(u->body.spec, a->spec_version), changed;
    if (at_rest(u, a)) {
        unit_reserve(e, u, 0);
        return;
    }
    if (!e->ready || !e->scanned || e->stranger_count > 0 || app_spec(e, a, &spec))
        return;
    if (stand_in_runs(e, u, a)) {
        unit_release(e, u, "its stand-in runs on");
        return;
    }
    if (!renewed && e->now < u->backoff_until_ms) {
        e->units_next_ms = min_u64(e->units_next_ms, u->backoff_until_ms);
        return;
    }
    if (e->host.targets == 0 && !e->host_known)
        return; /* the trial boots are under way */
    if (fits_here(e, u, &spec, &target, &need, why, sizeof why)) {
        unit_release(e, u, why); /* no fault: it takes the app again as soon as that fits */
        return;
    }
    if (renewed || target != u->body.target) {
        unit_renew(e, u, a, target, need);
        return;
    }
    unit_reserve(e, u, need);
    const struct image_ref *ref = image_for(&spec, target);
    CHECK(ref); /* placement_fits chose a target that has one */
    if (!have_image(e, u, ref)) {
        const struct image *im = image_find(e, &ref->image);
        if (im && im->tries >= IMAGE_TRIES)
            unit_pass_on(e, u, im->reason);
        return;
    }
    if (addresses_settle(e, u, &spec, &changed, why, sizeof why)) {
        unit_release(e, u, why); /* not the host's fault: it takes the app again as soon as one is free */
        return;
    }
    if (changed && unit_publish(e, u, &u->claim_seq))
        u->claim_seq = UINT64_MAX; /* published again by units_tick */
    if (!volumes_ready(e, u, a, &spec))
        return;
    u->waits = u->claim_seq > e->durable_seq;
    if (u->waits && !bug(e, BUG_START_BEFORE_DISK))
        return;
    unit_start(e, u, a, &spec, ref);
}

/* A bridge went, and the guest's wires with it. It ends, as one that is started again is wired again, here or
 * elsewhere: run_none sees where. */
static bool nets_lost(struct engine *e, struct unit *u, const struct app *a)
{
    struct spec_body spec;
    enum target target;
    char why[REASON_SIZE];
    bool seen = u->host_seen == e->host_changes || !e->host.networks_known || bug(e, BUG_KEEP_LOST_NETWORK);
    if (seen || app_spec(e, a, &spec))
        return false;
    if (spec.net_count > 0 && placement_fits(&spec, &e->self, &target, why, sizeof why))
        return true;
    u->host_seen = e->host_changes;
    return false;
}

static void unit_readdressed(struct engine *e, const struct unit *u)
{
    e->count.readdressed++;
    unit_log(e, u, LOG_WARN, "unit.readdressed");
}

/* It runs and should. Is it what should run? First all that the new one needs, then the old one ends. */
static void run_up(struct engine *e, struct unit *u, const struct app *a)
{
    struct spec_body spec;
    enum target target;
    uint32_t need;
    char why[REASON_SIZE];
    bool known = e->host.targets != 0 || e->host_known; /* else the trial boots are under way */
    if (!version_equal(u->body.spec, a->spec_version) && e->ready && known && !app_spec(e, a, &spec)) {
        if (fits_here(e, u, &spec, &target, &need, why, sizeof why)) {
            unit_release(e, u, why); /* and goes on until somebody else is ready */
            return;
        }
        if (have_image(e, u, image_for(&spec, target)))
            unit_stop(e, u);
        return;
    }
    if (e->ready && (nets_lost(e, u, a) || u->readdress)) {
        if (u->readdress)
            unit_readdressed(e, u);
        unit_stop(e, u);
        return;
    }
    if (u->body.state == UNIT_RUNNING && u->failures > 0 &&
        e->now - u->run_started_ms >= e->cfg.backoff_reset_ms)
        u->failures = 0;
}

static void renew_deadline(struct engine *e, struct unit *u)
{
    if (u->run != RUN_UP || e->stopping == STOP_TOLD)
        return;
    uint64_t deadline = guest_deadline(e);
    if (e->now >= u->deadline_next_ms && (deadline || u->deadline_set)) {
        struct effect *f = effects_add(e->fx, EFFECT_UNIT_DEADLINE);
        f->unit = run_id(u);
        f->boottime_ms = deadline;
        u->deadline_set = deadline != 0;
        u->deadline_next_ms = e->now + e->cfg.guest_deadline_ms / 3;
    }
    if (e->now >= u->deadline_next_ms)
        u->deadline_next_ms = e->now + e->cfg.guest_deadline_ms / 3;
    e->units_next_ms = min_u64(e->units_next_ms, u->deadline_next_ms);
}

/* ---- Reconcile ----------------------------------------------------------------------------------- */

/* One that went down with its host says that it runs until its owner, up again, has looked. */
static bool winner_ready(const struct engine *e, const struct slot_claim *c)
{
    if (!c)
        return false;
    if (c->state == UNIT_DONE || c->state == UNIT_FAILED)
        return true;
    uint64_t boot = c->peer ? c->peer->boot : e->cfg.boot;
    return c->state == UNIT_RUNNING && c->boot >= boot;
}

/* Nothing runs, and nothing should: what is left of it? False: the unit is gone. */
static void rest_none(struct engine *e, struct unit *u, enum wish wish)
{
    if (!u->found || u->answer_to)
        return;
    unit_reserve(e, u, 0);
    if (wish == WISH_PAUSE || u->claim_seq == UINT64_MAX)
        return; /* the latter: its release is unwritten, and the claim that the records show would stay for ever */
    if (wish == WISH_RELEASE && !u->body.released) {
        u->body.released = 1;
        unit_enter(e, u, UNIT_STOPPED, "");
        unit_tell(e, u);
    } else if (wish == WISH_YIELD && !u->body.released) {
        u->body.released = 1; /* so that it never wins again, should the winner's claim go */
        unit_enter(e, u, UNIT_STOPPED, "");
        unit_tell(e, u);
    }
    unit_drop(e, u);
}

/* One step; u may be gone afterwards. */
static void unit_reconcile(struct engine *e, struct unit *u)
{
    apps_refresh(e);
    struct app *a = app_find(e, &u->key.app);
    const struct slot_claim *c;
    enum wish wish = unit_wish(e, u, a, &c);
    renew_deadline(e, u);
    switch (u->run) {
    case RUN_NONE:
        if (wish == WISH_RUN)
            run_none(e, u, a);
        else if (wish != WISH_KEEP)
            rest_none(e, u, wish);
        break;
    case RUN_STARTING:
    case RUN_UP:
        if (wish == WISH_RUN)
            run_up(e, u, a);
        else if (wish == WISH_GONE || wish == WISH_RELEASE || wish == WISH_PAUSE)
            unit_stop(e, u);
        else if (wish == WISH_YIELD && e->ready && (winner_ready(e, c) || volumes_yield(e, a, u, c))) {
            e->count.overtaken++;
            unit_stop(e, u);
        }
        break;
    case RUN_STOPPING:
    case RUN_ENDED:
        break; /* their events come */
    }
}

/* ---- Events -------------------------------------------------------------------------------------- */

void unit_adopt(struct engine *e, struct unit *u, uint32_t pid)
{
    u->run = RUN_UP;
    u->found = true;
    u->run_started_ms = e->now;
    u->deadline_next_ms = e->now;
    u->deadline_set = true;
    unit_reserve(e, u, u->body.memory_mib);
    u->body.pid = pid;
    unit_enter(e, u, UNIT_RUNNING, "");
    unit_log(e, u, LOG_INFO, "unit.adopted");
    unit_tell(e, u); /* of this life */
    units_dirty(e);
}

void units_on_found(struct engine *e, const struct event *ev)
{
    struct unit *u = unit_find(e, &ev->unit.app, ev->unit.slot);
    if (u && u->body.run == ev->unit.epoch && u->run == RUN_NONE) {
        unit_adopt(e, u, ev->pid);
        return;
    }
    if (e->stranger_count == STRANGERS_MAX) {
        struct effect *f = effects_add(e->fx, EFFECT_UNIT_STOP);
        f->unit = ev->unit;
        return;
    }
    e->strangers[e->stranger_count++] =
        (struct stranger){.unit = ev->unit, .target = ev->target, .pid = ev->pid};
}

/* Its record says that it runs, and it doesn't: it went down with its host. */
void unit_not_running(struct engine *e, struct unit *u)
{
    u->found = true;
    if (u->body.pid == 0)
        return;
    u->body.pid = 0;
    if (!u->body.released)
        unit_enter(e, u, UNIT_BACKOFF, "its host was restarted");
    unit_tell(e, u);
}

/* The scan is over: what was running and wasn't found went down with its host. */
void units_scanned(struct engine *e)
{
    e->scanned = true;
    for (struct unit *u = e->units; u; u = u->hh.next) {
        if (!u->found && u->run == RUN_NONE)
            unit_not_running(e, u);
        u->found = true;
    }
    /* Claims that go on hold their memory before anything new is let in. */
    for (struct unit *u = e->units; u; u = u->hh.next) {
        struct app *a = app_find(e, &u->key.app);
        struct spec_body spec;
        const struct slot_claim *c;
        if (u->run == RUN_NONE && a && unit_wish(e, u, a, &c) == WISH_RUN && !at_rest(u, a) &&
            !app_spec(e, a, &spec))
            unit_reserve(e, u, placement_reserve_mib(&spec, u->body.target));
    }
    units_dirty(e);
}

static void stop_strangers(struct engine *e)
{
    for (uint32_t i = 0; i < e->stranger_count && effects_room(e->fx, 0); i++) {
        struct stranger *s = &e->strangers[i];
        if (s->stopping)
            continue;
        s->stopping = true;
        struct effect *f = effects_add(e->fx, EFFECT_UNIT_STOP);
        f->unit = s->unit;
        effects_log(e->fx, LOG_WARN, "unit.stranger", "slot=%u run=%llx", f->unit.slot,
                    (unsigned long long)f->unit.epoch);
    }
}

static struct unit *unit_of_run(const struct engine *e, const struct unit_id *id)
{
    struct unit *u = unit_find(e, &id->app, id->slot);
    return u && u->body.run == id->epoch ? u : NULL;
}

void units_on_started(struct engine *e, const struct event *ev)
{
    struct unit *u = unit_of_run(e, &ev->unit);
    if (!u || (u->run != RUN_STARTING && u->run != RUN_STOPPING))
        return;
    u->body.pid = ev->pid;
    e->count.starts++;
    if (u->run == RUN_STARTING) {
        u->run = RUN_UP;
        unit_enter(e, u, UNIT_RUNNING, "");
        unit_log(e, u, LOG_INFO, "unit.running");
    }
    unit_tell(e, u);
    units_dirty(e);
}

static void forget(struct engine *e, const struct unit_id *id)
{
    struct effect *f = effects_add(e->fx, EFFECT_UNIT_FORGET);
    f->unit = *id;
}

static void stranger_ended(struct engine *e, const struct unit_id *id)
{
    for (uint32_t i = 0; i < e->stranger_count; i++) {
        const struct unit_id *s = &e->strangers[i].unit;
        if (!uid_equal(&s->app, &id->app) || s->slot != id->slot || s->epoch != id->epoch)
            continue;
        e->strangers[i] = e->strangers[--e->stranger_count];
        units_dirty(e);
        return;
    }
}

void units_on_ended(struct engine *e, const struct event *ev)
{
    struct unit *u = unit_of_run(e, &ev->unit);
    stranger_ended(e, &ev->unit);
    if (u && u->run == RUN_ENDED)
        return; /* told twice, as after a stop that came too late: forgotten once the end is on disk */
    if (!u || (u->run == RUN_NONE && u->found)) {
        forget(e, &ev->unit);
        return;
    }
    const struct unit_end *end = &ev->end;
    bool ours = u->run == RUN_STOPPING;
    e->count.ends++;
    u->found = true;
    u->run = RUN_ENDED;
    u->body.exit_status = end->status;
    u->body.exit_signal = end->signal;
    if (ours)
        unit_enter(e, u, UNIT_STOPPED, "");
    else
        unit_ended_by_itself(e, u, end);
    u->body.pid = 0;
    unit_log(e, u, ours ? LOG_INFO : LOG_WARN, "unit.ended");
    enum err err = unit_publish(e, u, &u->end_seq);
    if (err == ERR_NOMEM || err == ERR_FULL)
        u->end_seq = UINT64_MAX; /* units_tick tries again */
    else if (err || bug(e, BUG_FORGET_BEFORE_DISK))
        u->end_seq = 0; /* its app is deleted: nobody will ask */
    units_on_durable(e);
    units_dirty(e);
}

void units_on_durable(struct engine *e)
{
    for (struct unit *u = e->units; u; u = u->hh.next) {
        if (u->run == RUN_ENDED && u->end_seq <= e->durable_seq) {
            const struct unit_id id = run_id(u);
            forget(e, &id);
            u->run = RUN_NONE;
            units_dirty(e);
        }
        if (u->answer_to && u->claim_seq <= e->durable_seq) {
            const struct app *a = app_find(e, &u->key.app);
            admission_answer(e, u->answer_to, &u->offer, OFFER_ACCEPTED, "");
            u->answer_to = 0;
            if (a)
                planner_tell_notaries(e, a, u->key.slot);
            units_dirty(e);
        }
        if (u->waits && u->claim_seq <= e->durable_seq)
            units_dirty(e);
    }
}

/* Neither a claim nor an end got to the disk. An offer is refused; the rest is written again. */
void units_on_write_failed(struct engine *e, uint64_t from, uint64_t to)
{
    for (struct unit *u = e->units; u; u = u->hh.next) {
        if (u->claim_seq > from && u->claim_seq <= to) {
            u->claim_seq = UINT64_MAX;
            if (u->answer_to)
                admission_answer(e, u->answer_to, &u->offer, OFFER_REFUSED,
                                 "its host can't write to its disk");
            if (u->answer_to)
                u->body.released = 1;
            u->answer_to = 0;
        }
        if (u->run == RUN_ENDED && u->end_seq > from && u->end_seq <= to)
            u->end_seq = UINT64_MAX;
    }
    e->units_next_ms = min_u64(e->units_next_ms, e->now + NEVER_RETRY_MS);
}

static void publish_again(struct engine *e, struct unit *u)
{
    if (u->claim_seq != UINT64_MAX && (u->run != RUN_ENDED || u->end_seq != UINT64_MAX))
        return;
    uint64_t seq;
    enum err err = e->rewrite_ms ? ERR_BUSY : unit_publish(e, u, &seq);
    if (err == ERR_BUSY || err == ERR_NOMEM || err == ERR_FULL) {
        e->units_next_ms = min_u64(e->units_next_ms, e->now + NEVER_RETRY_MS);
        return;
    }
    if (err)
        seq = 0;
    if (u->claim_seq == UINT64_MAX)
        u->claim_seq = seq;
    if (u->run == RUN_ENDED && u->end_seq == UINT64_MAX)
        u->end_seq = seq;
}

static void faults_expire(struct engine *e)
{
    uint64_t next_ms = UINT64_MAX;
    for (struct app *a = e->now >= e->faults_ms ? e->apps : NULL; a; a = a->hh.next) {
        if (a->fault_until_ms && e->now >= a->fault_until_ms) {
            a->fault_until_ms = 0;
            self_room(e);
        }
        if (a->fault_until_ms)
            next_ms = min_u64(next_ms, a->fault_until_ms);
    }
    if (e->now >= e->faults_ms)
        e->faults_ms = next_ms;
    e->units_next_ms = min_u64(e->units_next_ms, e->faults_ms);
}

void units_tick(struct engine *e)
{
    if (!e->units_dirty && e->now < e->units_next_ms)
        return;
    e->units_dirty = false;
    e->units_next_ms = UINT64_MAX;
    faults_expire(e);
    carry_tick(e);
    if (e->ready)
        stop_strangers(e);
    if (e->ready && !e->addresses_looked)
        addresses_look(e);
    struct unit *next;
    for (struct unit *u = e->units; u; u = next) {
        next = u->hh.next;
        if (!effects_room(e->fx, 4 * RECORD_BYTES_MAX)) {
            e->units_dirty = true;
            return;
        }
        publish_again(e, u);
        unit_reconcile(e, u);
    }
    access_tick(e);
    images_tick(e);
}

uint64_t units_deadline(const struct engine *e)
{
    return e->units_dirty ? e->now : e->units_next_ms;
}
