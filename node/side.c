/* Which side of a split we are on (docs/placement.md, rule 8).
 *
 * The stable set: who was there before. A member that comes belongs to it at once, which only makes a majority harder
 * to have; one that dies leaves it after stable_ms, and only on the majority's side; one that leaves, at once. After
 * a restart it is what our disk knows, but for those who
 *   - published nothing for a day: long dead, and nobody said `leave` for them
 *   - were never heard in this life, while a live peer has been with the majority all along: it knows better
 * so that a mesh that shrank, and then restarts, has a majority again.
 *
 * Owns in struct engine: generation_planned, alive_counted, minority, undecided, stable_settled,
 * membership_changed_ms; in struct peer: stable, heard. */
#include "node/engine_internal.h"

enum {
    /* A split heals one member after the other: what those who aren't back yet run is not up for grabs. */
    HEALING_MS = 5000,
    /* It also begins one member after the other. When several, and over VANISHED_PERCENT of all, stop answering within
     * moments, we are probably the ones cut off, and shall know in a few seconds (rule 10). */
    VANISHED_MIN = 2,
    VANISHED_PERCENT = 20,
    VANISHED_MS = 3000,
    AGAIN_MS = 500
};

bool side_minority(const struct engine *e)
{
    return e->minority && !bug(e, BUG_MINORITY_CLAIMS);
}

bool side_undecided(const struct engine *e)
{
    return e->undecided;
}

/* Has a peer that is here kept the majority since before we came? */
static bool settled_peer(const struct engine *e)
{
    for (struct peer *p = e->peers; p; p = p->hh.next)
        if ((p->flags & NODE_SETTLED) && p->record_boot == p->boot && peer_is_alive(e, p))
            return true;
    return false;
}

static bool counts(const struct engine *e, struct peer *p, bool trust)
{
    if (!p->stable)
        return false;
    if (p->heard || peer_is_live(e, p))
        return true;
    return !trust && p->published_ms + LONG_DEAD_MS > e->wall;
}

static bool lost(uint32_t here, uint32_t all, bool lowest_here)
{
    return 2 * here < all || (2 * here == all && !lowest_here);
}

static void compute(struct engine *e)
{
    uint64_t lowest = mix64(e->crypto->node);
    bool lowest_live = true, lowest_alive = true, trust = settled_peer(e);
    uint32_t all = 1, live = 1, alive = 1, vanished = 0;
    e->alive_counted = e->alive_generation;
    for (struct peer *p = e->peers; p; p = p->hh.next) {
        const struct member *m = peer_member(e, p);
        p->heard |= m && m->state == MEMBER_ALIVE;
        if (!counts(e, p, trust))
            continue;
        bool is_live = peer_is_live(e, p), is_alive = m && m->state == MEMBER_ALIVE;
        all++;
        live += is_live;
        alive += is_alive;
        vanished += is_live ? !is_alive : m && e->now < m->since_ms + VANISHED_MS;
        if (mix64(p->node) < lowest) {
            lowest = mix64(p->node);
            lowest_live = is_live;
            lowest_alive = is_alive;
        }
    }
    bool minority = lost(live, all, lowest_live);
    if (e->minority && !minority)
        e->healing_ms = e->now + HEALING_MS;
    bool vanishing = vanished >= VANISHED_MIN && 100 * vanished > VANISHED_PERCENT * all;
    bool undecided = !minority && (vanishing || lost(alive, all, lowest_alive) || e->now < e->healing_ms);
    e->side_next_ms = undecided ? e->now + AGAIN_MS : UINT64_MAX;
    if (minority == e->minority && undecided == e->undecided)
        return;
    if (minority != e->minority)
        effects_log(e->fx, LOG_WARN, minority ? "mesh.minority" : "mesh.majority", "live=%u of=%u", live, all);
    e->minority = minority;
    e->undecided = undecided;
    planner_all(e);
    units_dirty(e);
}

/* Which surrogate counts depends on who lives. */
static void surrogates_dirty(struct engine *e)
{
    for (struct app *a = e->apps; a; a = a->hh.next)
        if (a->surrogates)
            app_slots_dirty(e, a);
}

static void members_changed(struct engine *e)
{
    e->membership_changed_ms = e->now;
    e->stable_settled = false;
    for (struct peer *p = e->peers; p; p = p->hh.next) {
        const struct member *m = peer_member(e, p);
        if (!m || m->state == MEMBER_LEFT)
            p->stable = false;
        else if (m->state != MEMBER_DEAD)
            p->stable = true;
    }
    compute(e);
    surrogates_dirty(e);
    planner_all(e);
    units_dirty(e);
    copies_soon(e);
}

/* Once for this life: others, restarted, go by it. */
static void tell_settled(struct engine *e, bool settled)
{
    uint32_t flags = settled ? e->self.flags | NODE_SETTLED : e->self.flags & ~(uint32_t)NODE_SETTLED;
    if (flags == e->self.flags)
        return;
    e->self.flags = flags;
    self_changed(e);
}

void side_tick(struct engine *e)
{
    uint64_t generation = swim_generation(e->swim);
    if (generation != e->generation_planned) {
        e->generation_planned = generation;
        members_changed(e);
    } else if (e->alive_counted != e->alive_generation || e->now >= e->side_next_ms) {
        compute(e);
    }
    if (e->minority)
        tell_settled(e, false);
    if (e->stable_settled || e->minority || e->now < e->membership_changed_ms + e->cfg.stable_ms)
        return;
    e->stable_settled = true;
    for (struct peer *p = e->peers; p; p = p->hh.next)
        p->stable = p->stable && peer_is_live(e, p);
    tell_settled(e, true);
    compute(e);
}

uint64_t side_deadline(const struct engine *e)
{
    return e->stable_settled || e->minority
               ? e->side_next_ms
               : min_u64(e->side_next_ms, e->membership_changed_ms + e->cfg.stable_ms);
}
