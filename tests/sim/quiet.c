/* What is asked of a mesh that has been left in peace. Every seed is asked whether it settles, and whether a join, a
 * death and a partition move what they should and nothing else; some are asked more. */
#include "tests/sim/scenario_internal.h"

#include <string.h>

enum {
    SETTLE_MS = 180000,  /* healed, all must be right within this */
    HOLD_MS = 3000,      /* … and stay so */
    QUIET_MS = 25000,    /* what a join, a death or a cut does is done by then */
    STABLE_MS = 35000,   /* so long without a change, and the membership is the stable one */
    MINORITY_DETECT_MS = 25000,
    OFFERS_UNDER_WAY_HOSTS = 25, /* so many hosts, and one offer may be under way at any time */
    SLOW_COMMIT_MS = 1000,
    SMALL_MIB = 16,
    RETURNED_MS = 6000           /* so long after its return, a host offers like any other */
};

/* 6: in time, and it stays so. */
static void settle(struct scenario *s, const char *when)
{
    struct world *w = s->w;
    uint64_t end = w->now + SETTLE_MS;
    const char *wrong = "";
    while (wrong && w->now < end && !w->failed) {
        world_run_until(w, w->now + 1000);
        scenario_hosts_gone(s);
        scenario_hosts_back(s);
        if (w->failed)
            return;
        wrong = check_settled(s->check);
        if (!wrong) {
            world_run_until(w, w->now + HOLD_MS);
            wrong = w->failed ? NULL : check_settled(s->check);
        }
    }
    if (wrong)
        world_fail(w, "%s, after %d s: %s", when, SETTLE_MS / 1000, wrong);
}

static void wait_ms(struct scenario *s, uint64_t ms)
{
    world_run_until(s->w, s->w->now + ms);
}

/* ---- What there is ---------------------------------------------------------------------------------- */

struct units {
    struct world *w;
    uint32_t pending, missing, surplus;
    uint64_t seen, chosen; /* one that runs, by chance */
    struct rng *rng;
    char app[NAME_SIZE];
    uint16_t slot;
};

static uint32_t instances_at(const struct host *h, const struct unit_view *v)
{
    uint32_t n = 0;
    for (const struct guest *g = h ? h->guests : NULL; g; g = g->next)
        n += g->state != GUEST_ENDED && uid_equal(&g->run.app, &v->app) && g->run.slot == v->slot;
    return n;
}

static void unit_visit(void *ctx, const struct unit_view *v)
{
    struct units *u = ctx;
    uint32_t instances = check_instances(u->w, &v->app, v->slot);
    bool first = v->winner || v->node == 0; /* each slot is shown once so, and for each overtaken one that runs */
    if (!first)
        return;
    u->pending += v->body.state == UNIT_PENDING;
    u->missing += instances == 0 && v->body.state != UNIT_STOPPED && v->body.state != UNIT_DONE &&
                  v->body.state != UNIT_FAILED;
    u->surplus += instances > 1 ? instances - 1 : 0;
    if (instances == 1 && v->body.state == UNIT_RUNNING && rng_below(u->rng, ++u->seen) == 0) {
        snprintf(u->app, sizeof u->app, "%s", v->app_name);
        u->slot = v->slot;
    }
}

static struct host *view_host(struct scenario *s)
{
    for (uint32_t i = 0; i < s->w->host_count; i++)
        if (host_runs(s->w, &s->w->hosts[i]) && !s->w->hosts[i].gone)
            return &s->w->hosts[i];
    return NULL;
}

static struct units units_now(struct scenario *s)
{
    struct units u = {.w = s->w, .rng = s->rng};
    struct host *h = view_host(s);
    if (h)
        engine_each_unit(h->engine, NULL, unit_visit, &u);
    return u;
}

struct moving {
    struct world *w;
    const struct host *host;
    uint32_t count;
};

static void moving_visit(void *ctx, const struct unit_view *v)
{
    struct moving *m = ctx;
    bool claimed = v->winner && v->node == m->host->use->node &&
                   (v->body.state == UNIT_FETCHING || v->body.state == UNIT_STARTING);
    m->count += claimed && instances_at(m->host, v) == 0 && check_instances(m->w, &v->app, v->slot) > 0;
}

/* Slots claimed by a host that doesn't run them yet, while another does. By the word of each: others may not have heard
 * of it. */
static uint32_t moving_now(struct scenario *s)
{
    struct moving m = {.w = s->w};
    for (uint32_t i = 0; i < s->w->host_count; i++) {
        m.host = &s->w->hosts[i];
        if (m.host->engine && !m.host->gone)
            engine_each_unit(m.host->engine, NULL, moving_visit, &m);
    }
    return m.count;
}

static uint32_t guests_of(const struct host *h)
{
    uint32_t n = 0;
    for (const struct guest *g = h->guests; g; g = g->next)
        n += g->state != GUEST_ENDED;
    return n;
}

static struct host *busy_host(struct scenario *s, uint32_t side)
{
    struct host *best = NULL;
    for (uint32_t i = 2; i < s->w->host_count; i++) {
        struct host *h = &s->w->hosts[i];
        if (h->engine && !h->gone && h->side == side && (!best || guests_of(h) > guests_of(best)))
            best = h;
    }
    return best;
}

/* Who gives way to another's address is stopped, and started again with one of its own. */
static void at_most(struct scenario *s, const char *what, uint64_t starts, uint64_t stops)
{
    if (s->w->scarce)
        return; /* somebody waits for an address, and whoever frees one lets it start */
    starts += check_readdressed(s->check);
    stops += check_readdressed(s->check);
    if (!s->w->failed && check_starts(s->check) > starts)
        world_fail(s->w, "%s: %llu guests were started, %llu had reason to be", what,
                   (unsigned long long)check_starts(s->check), (unsigned long long)starts);
    if (!s->w->failed && check_stops(s->check) > stops)
        world_fail(s->w, "%s: %llu guests were stopped, %llu had reason to be", what,
                   (unsigned long long)check_stops(s->check), (unsigned long long)stops);
}

/* ---- Asked of every seed ---------------------------------------------------------------------------- */

/* 7: what waits for room may start; nothing else moves. */
static void a_join_moves_nothing(struct scenario *s)
{
    const struct units before = units_now(s);
    check_mark(s->check);
    scenario_host_make(s);
    wait_ms(s, 3000);
    scenario_hosts_back(s);
    wait_ms(s, QUIET_MS);
    at_most(s, "a host joined", before.pending, 0);
    settle(s, "after a join");
}

struct kept_address {
    struct unit_id run;
    struct ip ip;
};

static uint32_t addresses_of(const struct host *h, struct kept_address *out, uint32_t size)
{
    uint32_t n = 0;
    for (const struct guest *g = h->guests; g && n < size; g = g->next)
        if (g->state != GUEST_ENDED && !ip_is_zero(&g->ip))
            out[n++] = (struct kept_address){g->run, g->ip};
    return n;
}

/* Wherever it runs now. */
static void address_is_kept(struct scenario *s, const struct kept_address *k)
{
    for (uint32_t i = 0; i < s->w->host_count; i++)
        for (const struct guest *g = s->w->hosts[i].guests; g; g = g->next)
            if (!s->w->hosts[i].gone && g->state == GUEST_RUNNING && uid_equal(&g->run.app, &k->run.app) &&
                g->run.slot == k->run.slot && !ip_equal(&g->ip, &k->ip) && !s->w->failed)
                world_fail(s->w, "a host died, and a guest's address changed: it was 10.0.0.%u, and is 10.0.0.%u",
                           k->ip.b[15], g->ip.b[15]);
}

static uint32_t volumes_of(const struct host *h, const struct uid *app, uint16_t slot)
{
    uint32_t n = 0;
    for (const struct volume *v = h->volumes; v; v = v->next)
        n += uid_equal(&v->id.app, app) && v->id.slot == slot;
    return n;
}

struct stranded {
    struct world *w;
    uint32_t count;
};

static void stranded_visit(void *ctx, const struct unit_view *v)
{
    struct stranded *d = ctx;
    uint32_t volumes = 0;
    for (uint32_t i = 0; i < d->w->host_count; i++)
        volumes += volumes_of(&d->w->hosts[i], &v->app, v->slot);
    d->count += v->body.state == UNIT_PENDING && volumes > 0;
}

/* What waits for the host that has its volume, and couldn't run it: in a minute that is asked again; and should it be
 * gone, the app may say that an empty volume will do elsewhere. */
static uint32_t stranded_now(struct scenario *s)
{
    struct stranded d = {.w = s->w};
    struct host *view = view_host(s);
    if (view)
        engine_each_unit(view->engine, NULL, stranded_visit, &d);
    return d.count;
}

static void a_death_moves_its_orphans(struct scenario *s)
{
    struct host *h = busy_host(s, 0);
    struct kept_address kept[64];
    if (!h || s->w->failed)
        return;
    uint32_t orphans = guests_of(h) + stranded_now(s);
    uint32_t with_address = addresses_of(h, kept, sizeof kept / sizeof kept[0]);
    check_mark(s->check);
    host_cut_power(s->w, h);
    h->gone = true;
    wait_ms(s, QUIET_MS);
    at_most(s, "a host died", orphans, 0);
    settle(s, "after a death");
    for (uint32_t i = 0; i < with_address; i++)
        address_is_kept(s, &kept[i]);
    h->gone = false;
    const struct units before = units_now(s);
    check_mark(s->check);
    if (!s->w->failed)
        host_start(s->w, h);
    settle(s, "after its return");
    at_most(s, "a host returned", before.pending, 0);
}

/* 9: a minority raises no epoch. 8: when it is healed, at most the surplus is stopped, and what is missing started. */
static void a_minority_raises_no_epoch(struct scenario *s)
{
    struct world *w = s->w;
    uint32_t cut = 0, want = w->host_count / 3;
    if (want < 2 || w->failed)
        return;
    wait_ms(s, STABLE_MS);
    for (uint32_t i = w->host_count; i > 0 && cut < want; i--)
        if (!w->hosts[i - 1].gone) {
            w->hosts[i - 1].side = 1;
            cut++;
        }
    w->total.partitions++;
    world_note(w, "%u hosts are cut off", cut);
    wait_ms(s, MINORITY_DETECT_MS);
    check_minority_begin(s->check, 1);
    struct host *h = busy_host(s, 1);
    if (h)
        host_cut_power(w, h);
    wait_ms(s, QUIET_MS);
    check_minority_end(s->check);
    scenario_heal(s);
    if (h && !w->failed)
        host_start(w, h);
    /* While they find each other again, both sides still act as such: each member that is back is an event. */
    for (int i = 0; i < 600 && !check_all_alive(s->check) && !w->failed; i++)
        wait_ms(s, TICK_MS);
    check_claims_begin(s->check);
    const struct units before = units_now(s);
    uint32_t moving = moving_now(s);
    check_mark(s->check);
    settle(s, "after a minority was cut off");
    check_claims_end(s->check);
    /* What waits for room on the majority's side is offered to the first host that is back; that its owner, or one that
     * runs it as a stand-in, was to be back a moment later, nobody could know. Some are claimed, and still fetch their
     * image; in a large mesh, some are on their way. */
    uint32_t under_way = moving + w->host_count / OFFERS_UNDER_WAY_HOSTS;
    at_most(s, "a minority returned", before.missing + under_way, before.surplus + under_way);
}

/* ---- Asked of some ---------------------------------------------------------------------------------- */

/* Guests outlive every daemon, where it is back before anybody can take it for dead. */
static void daemons_restart_and_guests_run_on(struct scenario *s)
{
    const struct units before = units_now(s);
    check_mark(s->check);
    for (uint32_t i = 0; i < s->w->host_count; i++) {
        struct host *h = &s->w->hosts[i];
        if (!h->engine)
            continue;
        host_kill_daemon(s->w, h);
        s->back_ms[i] = s->w->now + 100 + rng_below(s->rng, 1000);
    }
    for (int i = 0; i < 15 && !s->w->failed; i++) {
        wait_ms(s, TICK_MS);
        scenario_hosts_back(s);
    }
    settle(s, "after all daemons were killed");
    at_most(s, "all daemons were killed", before.pending, 0);
}

/* All comes back by itself, also when one host doesn't; and when that one comes at last, nothing moves. */
static void a_blackout_ends(struct scenario *s)
{
    struct host *missing = busy_host(s, 0);
    s->w->total.blackouts++;
    for (uint32_t i = 0; i < s->w->host_count; i++) {
        struct host *h = &s->w->hosts[i];
        if (h->gone)
            continue;
        host_cut_power(s->w, h);
        s->back_ms[i] = s->w->now + 500 + rng_below(s->rng, 20000);
    }
    if (missing)
        missing->gone = true;
    wait_ms(s, 20500);
    settle(s, "after a blackout");
    if (!missing || s->w->failed)
        return;
    const struct units before = units_now(s);
    check_mark(s->check);
    missing->gone = false;
    host_start(s->w, missing);
    settle(s, "after the last one's return");
    at_most(s, "the last one returned after a blackout", before.pending, 0);
}

static bool done(struct scenario *s, struct host *h, struct command *c)
{
    scenario_command(s, h, c);
    for (int i = 0; i < 600 && s->reply.client != s->clients && !s->w->failed; i++)
        wait_ms(s, TICK_MS);
    return s->reply.client == s->clients && s->reply.err == ERR_OK;
}

/* 13: the new one is ready before the old one ends. */
static void a_move_leaves_no_gap(struct scenario *s)
{
    struct units u = units_now(s);
    struct host *h = view_host(s);
    struct uid app;
    if (!h || !u.seen || engine_find_app(h->engine, u.app, &app))
        return;
    struct command c = {.kind = COMMAND_MOVE, .app = u.app, .slot = u.slot};
    check_mark(s->check);
    check_watch(s->check, &app, u.slot);
    bool moved = done(s, h, &c);
    settle(s, "after a move");
    check_watch_end(s->check);
    at_most(s, "a unit was moved", u.pending + (moved ? 1 : 0), moved ? 1 : 0); /* it leaves room */
}

/* A small app that fits anywhere; NULL: there are enough. */
static struct app *small_app(struct scenario *s)
{
    struct app *a = s->app_count < APPS_MAX ? scenario_app_make(s) : NULL;
    if (!a)
        return NULL;
    a->spec.memory_mib = SMALL_MIB;
    a->spec.net_count = a->spec.require.count = a->spec.block_count = 0;
    a->spec.restart = RESTART_ALWAYS;
    return a;
}

static bool deployed(struct scenario *s, struct host *h, struct app *a, uint32_t replicas)
{
    struct command c = {.kind = COMMAND_DEPLOY, .spec = &a->spec, .replicas = replicas};
    host_give_image(s->w, h, &a->image, a->spec.images[0].size_bytes);
    if (!done(s, h, &c))
        world_fail(s->w, "host %u refuses a deploy in peace: %s", h->index, err_name(s->reply.err));
    settle(s, "after a deploy");
    return !s->w->failed;
}

/* 11, in the large: replicas of an app are on hosts of their own, where there are enough. Not of one that comes just
 * after hosts have returned: these offer nothing for a while, another notary does in their place, and where the while
 * ends in that very moment, the offers of both cross. */
static void a_new_app_spreads(struct scenario *s)
{
    wait_ms(s, RETURNED_MS);
    struct host *h = view_host(s);
    struct app *a = h ? small_app(s) : NULL;
    if (!a || !deployed(s, h, a, 3))
        return;
    uint32_t on = 0, fit = 0, guests = 0;
    for (uint32_t i = 0; i < s->w->host_count; i++) {
        const struct host *o = &s->w->hosts[i];
        uint32_t here = 0;
        for (const struct guest *g = o->guests; g; g = g->next)
            here += g->state != GUEST_ENDED && uid_equal(&g->run.app, &s->reply.app);
        on += here > 0;
        guests += here;
        fit += o->engine && (here > 0 || engine_reserved_mib(o->engine) + 64 <= o->cfg.capacity_mib);
    }
    if (!s->w->failed && on < guests && on < fit)
        world_fail(s->w, "a new app's %u replicas run on %u hosts, and %u have room", guests, on, fit);
    struct command c = {.kind = COMMAND_REMOVE, .app = a->name};
    if (!s->w->failed && done(s, h, &c))
        settle(s, "after a removal");
}

static bool is_open(const struct scenario *s, uint64_t client)
{
    return s->open[client % COMMANDS_OPEN_MAX].client == client;
}

/* Two hosts are given another version of an app at once, and again. Both are acknowledged, so both are kept: the one
 * that loses as history, also where its host learns of that before its own disk is ready. */
static void two_deploys_at_once(struct scenario *s)
{
    struct host *slow = busy_host(s, 0), *h = view_host(s);
    struct app *a = slow && slow != h ? small_app(s) : NULL;
    if (!a || !deployed(s, h, a, 1))
        return;
    struct command c = {.kind = COMMAND_DEPLOY, .spec = &a->spec, .replicas = REPLICAS_KEEP};
    host_give_image(s->w, slow, &a->image, a->spec.images[0].size_bytes);
    slow->commit_max_ms = SLOW_COMMIT_MS;
    for (int round = 0; round < 5; round++) {
        scenario_command(s, slow, &c);
        scenario_command(s, h, &c);
        uint64_t last = s->clients;
        for (int i = 0; i < 600 && (is_open(s, last) || is_open(s, last - 1)) && !s->w->failed; i++)
            wait_ms(s, TICK_MS);
    }
    slow->commit_max_ms = COMMIT_MAX_MS;
    settle(s, "after two deploys at once");
}

/* What is on a volume stays with its host, which says so: that is another question. */
static struct host *busy_host_without_volumes(struct scenario *s)
{
    struct host *best = NULL;
    for (uint32_t i = 2; i < s->w->host_count; i++) {
        struct host *h = &s->w->hosts[i];
        if (h->engine && !h->gone && !h->volumes && (!best || guests_of(h) > guests_of(best)))
            best = h;
    }
    return best;
}

/* Who leaves takes nothing along: not even what it was told just before, and what nobody else has. */
static void a_leave_takes_nothing_along(struct scenario *s)
{
    struct host *h = busy_host_without_volumes(s);
    struct app *a = h ? small_app(s) : NULL;
    if (!a)
        return;
    host_give_image(s->w, h, &a->image, a->spec.images[0].size_bytes);
    struct command c = {.kind = COMMAND_DEPLOY, .spec = &a->spec, .replicas = 1, .ack = 1};
    scenario_command(s, h, &c);
    scenario_leave(s, h);
    for (int i = 0; i < 600 && !h->gone && !s->w->failed; i++) {
        wait_ms(s, TICK_MS);
        scenario_hosts_gone(s);
    }
    if (s->w->failed)
        return;
    if (!h->gone)
        world_fail(s->w, "host %u doesn't leave", h->index);
    else if (s->reply.client != s->clients || s->reply.err)
        world_fail(s->w, "host %u leaves, and says that it couldn't hand all over: %s", h->index,
                   err_name(s->reply.err));
    settle(s, "after a leave");
}

static struct host *with_a_net(struct scenario *s)
{
    for (uint32_t i = 0; i < s->w->host_count; i++) {
        struct host *h = &s->w->hosts[i];
        if (h->engine && h->wired && check_nets_on(s->check, h) > 0)
            return h;
    }
    return NULL;
}

/* What runs on a network that goes moves to where it is. */
static void a_network_goes(struct scenario *s)
{
    struct host *h = with_a_net(s);
    if (!h)
        return;
    host_wire(s->w, h, false);
    settle(s, "after a network went");
    if (!s->w->failed && check_nets_on(s->check, h) > 0)
        world_fail(s->w, "host %u lost its network, and runs what needs it, though there is room elsewhere", h->index);
    host_wire(s->w, h, true);
    settle(s, "after it came back");
}

/* A guest that has a volume, on a host that runs. */
static const struct guest *with_a_volume(struct scenario *s, const struct host **on)
{
    for (uint32_t i = 0; i < s->w->host_count; i++)
        for (const struct guest *g = s->w->hosts[i].guests; g; g = g->next)
            if (g->state == GUEST_RUNNING && !g->stopping && g->volume) {
                *on = &s->w->hosts[i];
                return g;
            }
    return NULL;
}

/* Where it is carried it has all that it had (volumes.c checks that as its guest starts); where it was, it is gone. */
static void a_volume_is_carried(struct scenario *s)
{
    const struct host *from = NULL;
    const struct guest *g = with_a_volume(s, &from);
    struct host *h = view_host(s);
    struct spec_body spec;
    struct command c = {.kind = COMMAND_VOLUME_MOVE};
    if (!g || !h)
        return;
    const struct unit_id unit = g->run;
    const struct record_key key = record_key_app(RECORD_SPEC, &unit.app);
    const struct entry *entry = replica_find(engine_records(h->engine), &key);
    if (!entry || spec_body_decode(entry->record.body, &spec))
        return;
    uint32_t had = volumes_of(from, &unit.app, unit.slot);
    uint64_t carried = s->w->total.volumes_carried;
    c.app = spec.name;
    c.slot = unit.slot;
    bool moved = done(s, h, &c);
    settle(s, "after a volume was moved");
    if (s->w->failed || !moved)
        return;
    if (s->w->total.volumes_carried == carried)
        world_fail(s->w, "%s/%u was moved with its volume, and the volume was not carried", spec.name, unit.slot);
    else if (volumes_of(from, &unit.app, unit.slot) >= had)
        world_fail(s->w, "%s/%u was carried away from host %u, which keeps its volume", spec.name, unit.slot,
                   from->index);
}

void quiet_questions(struct scenario *s)
{
    static void (*const more[])(struct scenario *) = {
        daemons_restart_and_guests_run_on, a_blackout_ends, a_move_leaves_no_gap, a_new_app_spreads,
        a_leave_takes_nothing_along, two_deploys_at_once};
    settle(s, "healed");
    if (!s->w->failed)
        a_join_moves_nothing(s);
    if (!s->w->failed)
        a_death_moves_its_orphans(s);
    if (!s->w->failed)
        a_minority_raises_no_epoch(s);
    for (uint32_t i = 0; i < sizeof more / sizeof more[0]; i++)
        if (!s->w->failed && rng_below(s->rng, 3) == 0)
            more[i](s);
    if (!s->w->failed && scenario_has_networks(s) && rng_below(&s->net_rng, 3) == 0)
        a_network_goes(s);
    if (!s->w->failed && scenario_has_networks(s) && rng_below(&s->volume_rng, 3) == 0)
        a_volume_is_carried(s);
}
