/* Our own node record: who we are, what we can carry, that we are away, that we leave. */
#include "node/engine_internal.h"

#include <string.h>

enum {
    TELL_AT_ONCE_MAX = 64,   /* members that hear at once that we go */
    END_GUESTS_MS = 20000    /* … after which we go without */
};

static void publish(struct engine *e)
{
    uint8_t body[RECORD_BODY_MAX];
    struct pack k;
    pack_init(&k, body, sizeof body);
    uint64_t seq;
    e->self.used_mib = e->reserved_mib;
    e->self.room_seq = e->room_seq;
    e->self.published_ms = e->wall;
    enum err err = node_body_encode(&e->self, &k);
    const struct record_key key = record_key_node(e->crypto->node);
    if (!err)
        err = records_publish(e, &key, (struct slice){.p = body, .len = k.len}, &seq);
    if (err) {
        effects_log(e->fx, LOG_ERROR, "self.unpublished", "err=%s", err_name(err));
        e->self_next_ms = e->now + NEVER_RETRY_MS;
        return;
    }
    e->self_published_ms = e->now;
    e->self_next_ms = e->now + SELF_AGAIN_MS;
    swim_self(e->swim, e->self.incarnation);
}

void self_init(struct engine *e)
{
    struct node_body *n = &e->self;
    memcpy(n->x25519, e->crypto->x25519, sizeof n->x25519);
    memcpy(n->name, e->cfg.name, sizeof n->name);
    memcpy(n->arch, e->cfg.arch, sizeof n->arch);
    memcpy(n->addresses, e->cfg.addresses, sizeof n->addresses);
    n->address_count = e->cfg.address_count;
    n->boot = e->cfg.boot;
    n->incarnation = e->cfg.boot;
    n->capacity_mib = e->cfg.capacity_mib;
    n->cpus = e->cfg.cpus;
    n->labels = e->cfg.labels;
    n->placement_version = PLACEMENT_VERSION;
    e->room_seq = e->cfg.boot; /* as the boot number grows, so does what each life begins with */
    e->self_next_ms = e->now;
    swim_self(e->swim, n->incarnation);
}

void self_changed(struct engine *e)
{
    uint64_t at = e->self_published_ms + SELF_PUBLISH_MS;
    if (at < e->now)
        at = e->now;
    if (at < e->self_next_ms)
        e->self_next_ms = at;
}

void self_changed_now(struct engine *e)
{
    e->self_next_ms = e->now;
}

void self_room(struct engine *e)
{
    e->room_seq++;
    self_changed(e);
    planner_room(e);
}

void self_refute(struct engine *e, uint64_t incarnation)
{
    if (incarnation < e->self.incarnation)
        return;
    if (!bug(e, BUG_REFUTE_SAME_INCARNATION))
        e->self.incarnation = incarnation + 1;
    e->count.refutations++;
    effects_log(e->fx, LOG_WARN, "self.accused", "incarnation=%llu",
                (unsigned long long)e->self.incarnation);
    publish(e);
}

/* A copy of our own record that is newer than ours: what we said before we lost our disk, or an older
 * life's. We continue above it. */
void self_on_own_record(struct engine *e, const struct entry *entry)
{
    struct node_body n;
    if (node_body_decode(entry->record.body, &n))
        return;
    if (n.incarnation >= e->self.incarnation)
        e->self.incarnation = n.incarnation + 1;
    if (n.room_seq >= e->room_seq)
        e->room_seq = n.room_seq + 1;
    if (n.boot > e->cfg.boot && e->fx) {
        struct effect *f = effects_add(e->fx, EFFECT_REBOOT);
        f->min_boot = n.boot;
    }
    self_changed_now(e);
}

void self_read_only(struct engine *e)
{
    bool was = (e->self.flags & NODE_READ_ONLY) != 0;
    bool is = e->write_failed || e->store_permille > e->cfg.read_only_permille;
    if (was == is)
        return;
    e->self.flags = is ? e->self.flags | NODE_READ_ONLY : e->self.flags & ~(uint32_t)NODE_READ_ONLY;
    self_changed_now(e);
    if (!is)
        self_room(e);
}

void self_on_host(struct engine *e, const struct host_facts *h)
{
    e->host_known = true;
    units_dirty(e);
    if (memcmp(&e->host, h, sizeof *h) == 0)
        return;
    e->host = *h;
    e->host_changes++;
    e->self.targets = h->targets;
    e->self.network_count = h->network_count;
    memcpy(e->self.networks, h->networks, sizeof e->self.networks);
    memcpy(e->self.target_abi, h->target_abi, sizeof e->self.target_abi);
    e->room_seq++;
    self_changed_now(e);
    planner_all(e);
    units_dirty(e);
}

bool self_takes_units(const struct engine *e)
{
    return e->stopping == STOP_NOT && !(e->self.flags & (NODE_DRAINING | NODE_LEFT));
}

/* ---- Going -------------------------------------------------------------------------------------- */

static void tell_at_once(struct engine *e)
{
    size_t i = 0;
    uint32_t n = 0;
    for (const struct member *m; n < TELL_AT_ONCE_MAX && (m = swim_next(e->swim, &i));)
        if (member_state_live(m->state)) {
            peers_send(e, m->node, MESSAGE_GOSSIP, NULL);
            n++;
        }
}

/* Do we hold images of an app that no other node holds which answers? One that is only suspected may long be dead: who
 * has just started takes all those for suspects that its disk knows. */
static bool only_copies_here(struct engine *e)
{
    for (const struct app *a = e->apps; a; a = a->hh.next) {
        struct spec_body spec;
        if (!a->has_spec || a->deleted || copies_elsewhere(e, a) || app_spec(e, a, &spec))
            continue;
        for (uint32_t i = 0; i < spec.image_count; i++)
            if (engine_has_image(e, &spec.images[i].image))
                return true;
    }
    return false;
}

static void go(struct engine *e)
{
    if (e->stop_how == STOP_LEAVE) {
        e->self.flags |= NODE_LEFT;
        e->left_handed = sync_handed(e) || bug(e, BUG_LEAVE_AT_ONCE);
        e->left_images = only_copies_here(e) && !bug(e, BUG_LEAVE_AT_ONCE);
    } else {
        e->self.away_until_ms = e->wall + e->cfg.away_ms;
        for (struct unit *u = e->units; u; u = u->hh.next)
            if (u->run == RUN_UP || u->run == RUN_STARTING) {
                struct effect *f = effects_add(e->fx, EFFECT_UNIT_DEADLINE);
                f->unit = (struct unit_id){
                    .app = u->key.app, .slot = u->key.slot, .epoch = u->body.run};
                f->boottime_ms = peers_known_count(e) > 1 ? e->now + e->cfg.away_ms : 0;
            }
    }
    publish(e);
    tell_at_once(e);
    e->stopping = STOP_TOLD;
    e->stop_until_ms = e->now + AWAY_LINGER_MS;
    effects_log(e->fx, LOG_INFO, e->stop_how == STOP_LEAVE ? "self.left" : "self.away", "units=%u",
                HASH_COUNT(e->units));
}

/* What keeps a node from leaving: guests to hand over, images that nobody else has, records that nobody heard of. */
static bool has_to_hand_over(struct engine *e)
{
    bool others = peers_live_count(e) > 1;
    if (bug(e, BUG_LEAVE_AT_ONCE))
        return units_any(e);
    return units_any(e) || (others && only_copies_here(e)) || (!sync_handed(e) && peers_known_count(e) > 1);
}

static void hand_over(struct engine *e)
{
    for (struct unit *u = e->units; u; u = u->hh.next) {
        struct app *a = app_find(e, &u->key.app);
        char text[REASON_SIZE];
        if (!a || u->body.released || u->body.surrogate)
            continue;
        if (planner_move(e, a, u->key.slot, 0, 0, text, sizeof text))
            unit_release(e, u, "its host leaves, and no other can take it");
        if (a->blocks)
            unit_stop(e, u); /* nobody takes it over */
    }
}

bool self_leaves(const struct engine *e)
{
    return e->stopping != STOP_NOT && e->stop_how == STOP_LEAVE;
}

void self_stop(struct engine *e, enum stop_how how, uint64_t client)
{
    if (e->stopping != STOP_NOT) {
        if (client)
            commands_reply(e, client, ERR_BUSY, NULL, 0, "the node is stopping already");
        return;
    }
    e->stop_how = how;
    e->stop_client = client;
    e->stop_began_ms = e->now;
    switch (how) {
    case STOP_AWAY:
        go(e);
        return;
    case STOP_GUESTS:
        e->stopping = STOP_ENDING_GUESTS;
        e->stop_until_ms = e->now + END_GUESTS_MS;
        break;
    case STOP_LEAVE:
        e->stopping = STOP_HANDING_OVER;
        e->stop_until_ms = e->now + MOVE_TIMEOUT_MS;
        e->self.flags |= NODE_DRAINING;
        publish(e);
        apps_refresh(e);
        hand_over(e);
        copies_soon(e);
        break;
    }
    units_dirty(e);
}

static void stop_reply(struct engine *e)
{
    bool leaves = e->stop_how == STOP_LEAVE && peers_known_count(e) > 1;
    enum err err = ERR_PARTIAL;
    const char *text;
    if (leaves && !e->left_handed) {
        text = "left the mesh, but no other node could take its records: what it alone knew is only on its disk";
    } else if (leaves && e->left_images) {
        text = "left the mesh, but no other node could take a copy of all its images: some are only on its disk";
    } else if (leaves && e->volume_count > 0) {
        text = "left the mesh, and volumes stay on its disk: what they belong to waits for this node";
    } else {
        text = e->stop_how == STOP_LEAVE ? "left the mesh" : "stopped";
        err = ERR_OK;
    }
    commands_reply(e, e->stop_client, err, NULL, 0, text);
}

static void stop_tick(struct engine *e)
{
    if (e->stopping == STOP_TOLD) {
        if (e->now < e->stop_until_ms)
            return;
        if (e->stop_client)
            stop_reply(e);
        e->stop_client = 0;
        e->stop_until_ms = UINT64_MAX;
        effects_add(e->fx, EFFECT_QUIT);
        return;
    }
    bool late = e->now >= e->stop_until_ms;
    if (!late && (e->stopping == STOP_HANDING_OVER ? has_to_hand_over(e) : units_any(e)))
        return;
    if (e->stopping == STOP_HANDING_OVER && late && units_any(e)) {
        for (struct unit *u = e->units; u; u = u->hh.next)
            if (!u->body.released)
                unit_release(e, u, "its host leaves");
        e->stopping = STOP_ENDING_GUESTS;
        e->stop_until_ms = e->now + END_GUESTS_MS;
        units_dirty(e);
        return;
    }
    go(e);
}

void self_tick(struct engine *e)
{
    if (e->stopping != STOP_NOT)
        stop_tick(e);
    if (e->now >= e->self_next_ms && e->stopping != STOP_TOLD)
        publish(e);
}

uint64_t self_deadline(const struct engine *e)
{
    uint64_t at = UINT64_MAX;
    if (e->stopping != STOP_NOT)
        at = e->stopping == STOP_HANDING_OVER ? min_u64(e->stop_until_ms, e->now + NEVER_RETRY_MS)
                                              : e->stop_until_ms;
    if (e->stopping != STOP_TOLD)
        at = min_u64(at, e->self_next_ms);
    return at;
}
