/* Which side of a split we are on (docs/placement.md, rule 8).
 *
 * The stable set: who was there before. A member that comes belongs to it at once, which only makes a majority harder
 * to have; one that dies leaves it after stable_ms, and only on the majority's side; one that leaves, at once. After
 * a restart it is what our disk knows, but for those who
 *   - published nothing for a day: long dead, and nobody said `leave` for them
 *   - were never heard in this life, while a live peer has been with the majority all along: it knows better
 * so that a mesh that shrank, and then restarts, has a majority again.
 *
 * Owns in struct engine: side*, minority, undecided, healing_ms, stable_settled, membership_changed_ms; in struct peer:
 * stable, heard, side. */
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

/* ---- Counting: a peer at a time, as meshes are large and changes many -------------------------------- */

enum { /* struct peer: side */
    SIDE_COUNTS = 1,
    SIDE_LIVE = 2,
    SIDE_ALIVE = 4,
    SIDE_VANISHED = 8, /* a moment ago; noticed to be over by the next recount */
    SIDE_SETTLED = 16  /* it has kept the majority since before we came */
};

static bool counts(const struct engine *e, struct peer *p, bool live)
{
    if (!p->stable)
        return false;
    if (p->heard || live)
        return true;
    return e->side.settled == 0 && p->published_ms + LONG_DEAD_MS > e->wall;
}

static uint8_t bits_of(const struct engine *e, struct peer *p)
{
    const struct member *m = peer_member(e, p);
    bool live = peer_is_live(e, p), alive = m && m->state == MEMBER_ALIVE, vanished;
    uint8_t bits = 0;
    p->heard |= alive;
    if (live || !m || m->state == MEMBER_LEFT)
        p->stable = live;
    if ((p->flags & NODE_SETTLED) && p->record_boot == p->boot && peer_is_alive(e, p))
        bits |= SIDE_SETTLED;
    if (!counts(e, p, live))
        return bits;
    vanished = live ? !alive : m && e->now < m->since_ms + VANISHED_MS;
    return bits | SIDE_COUNTS | (live ? SIDE_LIVE : 0) | (alive ? SIDE_ALIVE : 0) | (vanished ? SIDE_VANISHED : 0);
}

static void count(struct side *s, uint8_t bits, uint32_t by)
{
    s->count += bits & SIDE_COUNTS ? by : 0;
    s->live += bits & SIDE_LIVE ? by : 0;
    s->alive += bits & SIDE_ALIVE ? by : 0;
    s->vanished += bits & SIDE_VANISHED ? by : 0;
    s->settled += bits & SIDE_SETTLED ? by : 0;
}

static bool comes_first(const struct side *s, const struct peer *p)
{
    return !s->lowest || mix64(p->node) < mix64(s->lowest->node);
}

static void recount(struct engine *e)
{
    struct side *s = &e->side;
    bool again;
    do { /* whether one is settled decides who counts, and not the other way round: twice at most */
        uint32_t settled = s->settled;
        *s = (struct side){.settled = settled, .removals = swim_removals(e->swim), .recounted_ms = e->now};
        uint32_t found = 0;
        for (struct peer *p = e->peers; p; p = p->hh.next) {
            p->side = bits_of(e, p);
            found += p->side & SIDE_SETTLED ? 1 : 0;
            count(s, p->side & (uint8_t)~SIDE_SETTLED, 1);
            if ((p->side & SIDE_COUNTS) && comes_first(s, p))
                s->lowest = p;
        }
        s->settled = found;
        again = (found > 0) != (settled > 0);
    } while (again);
}

void side_peer(struct engine *e, struct peer *p)
{
    struct side *s = &e->side;
    bool trusted = s->settled > 0;
    uint8_t before = p->side, bits = bits_of(e, p);
    if (bits == before)
        return;
    count(s, before, UINT32_MAX); /* one less */
    count(s, bits, 1);
    p->side = bits;
    if (trusted != (s->settled > 0) || ((before & SIDE_COUNTS) && !(bits & SIDE_COUNTS) && s->lowest == p))
        recount(e);
    else if ((bits & SIDE_COUNTS) && comes_first(s, p))
        s->lowest = p;
}

/* ---- Deciding ---------------------------------------------------------------------------------------- */

static bool lost(uint32_t here, uint32_t all, bool lowest_here)
{
    return 2 * here < all || (2 * here == all && !lowest_here);
}

static bool vanishing(const struct side *s)
{
    return s->vanished >= VANISHED_MIN && 100 * s->vanished > VANISHED_PERCENT * (s->count + 1);
}

static void decide(struct engine *e)
{
    const struct side *s = &e->side;
    if (vanishing(s) && e->now >= s->recounted_ms + AGAIN_MS)
        recount(e);
    const struct peer *lowest = s->lowest && mix64(s->lowest->node) < mix64(e->crypto->node) ? s->lowest : NULL;
    bool minority = lost(s->live + 1, s->count + 1, !lowest || (lowest->side & SIDE_LIVE));
    if (e->minority && !minority)
        e->healing_ms = e->now + HEALING_MS;
    bool undecided = !minority && (vanishing(s) || e->now < e->healing_ms ||
                                   lost(s->alive + 1, s->count + 1, !lowest || (lowest->side & SIDE_ALIVE)));
    e->side_next_ms = undecided ? e->now + AGAIN_MS : UINT64_MAX;
    if (minority == e->minority && undecided == e->undecided)
        return;
    if (minority != e->minority)
        effects_log(e->fx, LOG_WARN, minority ? "mesh.minority" : "mesh.majority", "live=%u of=%u", s->live + 1,
                    s->count + 1);
    e->minority = minority;
    e->undecided = undecided;
    planner_all(e);
    units_dirty(e);
}

/* Somebody lives, or is known, who did not, or the other way round. */
static void members_changed(struct engine *e)
{
    e->membership_changed_ms = e->now;
    e->stable_settled = false;
    units_dirty(e);
    copies_soon(e);
}

void side_changed(struct engine *e, const struct swim_effect *f)
{
    struct peer *p = peer_find(e, f->subject);
    if (p)
        side_peer(e, p);
    if (f->from == f->state || member_state_live(f->from) != member_state_live(f->state)) {
        apps_on_liveness(e, f->subject); /* which surrogate counts depends on it */
        planner_member(e, f->subject);
        members_changed(e);
        e->side_generation++; /* as SWIM's, unless there was no room for one of these */
    }
    decide(e);
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
    bool forgotten = e->side.removals != swim_removals(e->swim);
    if (forgotten)
        apps_on_liveness(e, 0);
    if (forgotten || e->now >= e->side_next_ms)
        recount(e);
    if (e->side_generation != swim_generation(e->swim)) {
        e->side_generation = swim_generation(e->swim);
        planner_all(e);
        members_changed(e);
    }
    decide(e);
    if (e->minority)
        tell_settled(e, false);
    if (e->stable_settled || e->minority || e->now < e->membership_changed_ms + e->cfg.stable_ms)
        return;
    e->stable_settled = true;
    for (struct peer *p = e->peers; p; p = p->hh.next)
        p->stable = p->stable && peer_is_live(e, p);
    tell_settled(e, true);
    recount(e);
    decide(e);
}

uint64_t side_deadline(const struct engine *e)
{
    return e->stable_settled || e->minority
               ? e->side_next_ms
               : min_u64(e->side_next_ms, e->membership_changed_ms + e->cfg.stable_ms);
}
