/* Guests and images of a simulated host: what starting, stopping and fetching do there. */
#include "tests/sim/world_internal.h"

#include <stdlib.h>
#include <string.h>

struct guest *guest_find(const struct host *h, const struct unit_id *run)
{
    for (struct guest *g = h->guests; g; g = g->next)
        if (uid_equal(&g->run.app, &run->app) && g->run.slot == run->slot && g->run.epoch == run->epoch)
            return g;
    return NULL;
}

static void let_in(struct guest *g, const struct guest_access *a);

void guest_start(struct world *w, struct host *h, const struct effect *f)
{
    if (guest_find(h, &f->unit)) {
        world_fail(w, "host %u: run %llu of slot %u is started twice", h->index,
                   (unsigned long long)f->unit.epoch, f->unit.slot);
        return;
    }
    if (!host_has_image(h, &f->start.image)) {
        world_fail(w, "host %u: a guest is started without its image", h->index);
        return;
    }
    if (f->start.block_count > 0)
        volume_start(w, h, f);
    struct guest *g = calloc(1, sizeof *g);
    CHECK(g);
    g->run = f->unit;
    g->volume = f->start.volume;
    g->target = f->start.target;
    g->pid = ++w->pids;
    g->deadline_ms = f->start.boottime_ms;
    if (f->start.net_count > 0)
        g->ip = f->start.nets[0].ip[IP4];
    let_in(g, f->start.access);
    const struct spec_body spec = {.memory_mib = f->start.memory_mib};
    g->memory_mib = placement_reserve_mib(&spec, g->target);
    g->next = h->guests;
    h->guests = g;
    w->total.starts++;
    bool fails = world_chance(&w->guest_rng, w->guest_fails_permille) || (f->start.net_count > 0 && !h->wired);
    struct event_node *n = world_later(w, 5 + rng_below(&w->guest_rng, 60),
                                 fails ? NODE_GUEST_ENDED : NODE_GUEST_STARTED, h, NULL, 0);
    n->unit = g->run;
    n->id = END_HOST;
    if (g->deadline_ms) {
        n = world_later(w, g->deadline_ms > w->now ? g->deadline_ms - w->now : 0, NODE_GUEST_DEADLINE, h, NULL, 0);
        n->unit = g->run;
        n->id = g->deadline_ms;
    }
}

static void let_in(struct guest *g, const struct guest_access *a)
{
    g->let_in_count = 0;
    for (uint32_t i = 0; a && i < a->source_count && g->let_in_count < sizeof g->let_in / sizeof g->let_in[0]; i++)
        if (a->sources[i].wish == PEER_ALLOW)
            g->let_in[g->let_in_count++] = a->sources[i].subnet.base;
}

void guest_access(struct host *h, const struct effect *f)
{
    struct guest *g = guest_find(h, &f->unit);
    if (g)
        let_in(g, f->start.access);
}

static void tell_ended(struct world *w, struct host *h, struct guest *g)
{
    struct event ev = {.kind = EVENT_UNIT_ENDED, .unit = g->run, .end = g->end};
    ev.end.text = g->end_text;
    if (host_runs(w, h)) {
        host_step(w, h, &ev);
    } else if (h->engine) { /* its deadline passed while the daemon stands still */
        struct event_node *n = world_later(w, h->paused_until_ms - w->now, NODE_GUEST_KILLED, h, NULL, 0);
        n->unit = g->run;
    }
}

void guest_end(struct world *w, struct host *h, const struct unit_id *run, enum end_cause cause,
                      int32_t status)
{
    struct guest *g = guest_find(h, run);
    if (!g || g->state == GUEST_ENDED)
        return;
    g->state = GUEST_ENDED;
    g->end = (struct unit_end){.cause = g->stopping ? END_STOPPED : cause, .status = status};
    snprintf(g->end_text, sizeof g->end_text, "%s",
             cause == END_HOST ? "no tender" : cause == END_STOPPED ? "" : "the guest ended");
    w->total.exits++;
    tell_ended(w, h, g);
}

void guest_started(struct world *w, struct host *h, const struct unit_id *run)
{
    struct guest *g = guest_find(h, run);
    if (!g || g->state != GUEST_STARTING)
        return;
    g->state = GUEST_RUNNING;
    if (world_chance(&w->guest_rng, w->guest_exits_permille)) {
        struct event_node *n = world_later(w, 100 + rng_below(&w->guest_rng, 10000), NODE_GUEST_ENDED, h, NULL, 0);
        n->unit = g->run;
        n->id = rng_below(&w->guest_rng, 3) ? END_EXIT : END_CRASH;
        n->len = 0;
    }
    struct event ev = {.kind = EVENT_UNIT_STARTED, .unit = g->run, .pid = g->pid, .target = g->target};
    if (h->engine)
        host_step(w, h, &ev);
}

void guest_stop(struct world *w, struct host *h, const struct unit_id *run)
{
    struct guest *g = guest_find(h, run);
    w->total.stops++;
    if (g && g->state != GUEST_ENDED)
        g->stopping = true;
    struct event_node *n = world_later(w, 1 + rng_below(&w->guest_rng, 100), NODE_GUEST_KILLED, h, NULL, 0);
    n->unit = *run;
}

void guest_killed(struct world *w, struct host *h, const struct unit_id *run)
{
    struct guest *g = guest_find(h, run);
    if (g && g->state != GUEST_ENDED) {
        guest_end(w, h, run, END_STOPPED, -1);
    } else if (g) {
        tell_ended(w, h, g);
    } else if (h->engine) {
        struct event ev = {
            .kind = EVENT_UNIT_ENDED, .unit = *run, .end = {.cause = END_STOPPED, .status = -1, .text = ""}};
        host_step(w, h, &ev);
    }
}

void guest_forget(struct world *w, struct host *h, const struct unit_id *run)
{
    for (struct guest **at = &h->guests; *at; at = &(*at)->next) {
        struct guest *g = *at;
        if (!uid_equal(&g->run.app, &run->app) || g->run.slot != run->slot || g->run.epoch != run->epoch)
            continue;
        if (g->state != GUEST_ENDED) {
            world_fail(w, "host %u: a guest that runs is forgotten", h->index);
            return;
        }
        *at = g->next;
        free(g);
        return;
    }
}

void guest_deadline(struct world *w, struct host *h, const struct effect *f)
{
    struct guest *g = guest_find(h, &f->unit);
    if (!g)
        return;
    g->deadline_ms = f->boottime_ms;
    if (!g->deadline_ms)
        return;
    struct event_node *n =
        world_later(w, g->deadline_ms > w->now ? g->deadline_ms - w->now : 0, NODE_GUEST_DEADLINE, h, NULL, 0);
    n->unit = g->run;
    n->id = g->deadline_ms;
}

void image_fetch(struct world *w, struct host *h, const struct effect *f)
{
    struct host *from = host_at(w, &f->address);
    bool ok = from && hosts_talk(h, from) && from->engine && host_has_image(from, &f->image) &&
              !world_chance(&w->guest_rng, w->fetch_fails_permille);
    struct event_node *n = world_later(w, 10 + rng_below(&w->guest_rng, 300), NODE_IMAGE, h, NULL, 0);
    n->image = f->image;
    n->id = f->size_bytes;
    n->from = from ? from->index : h->index;
    n->err = ok ? ERR_OK : rng_below(&w->guest_rng, 2) ? ERR_UNREACHABLE : ERR_CORRUPT;
    w->total.fetches++;
    w->total.fetch_failures += !ok;
}

void image_drop(struct host *h, const struct hash *image)
{
    struct held *im;
    HASH_FIND(hh, h->images, image, sizeof *image, im);
    if (im) {
        HASH_DEL(h->images, im);
        free(im);
    }
}

void host_tell(struct world *w, struct host *h)
{
    struct host_facts facts = {.targets = 1u << TARGET_VIRTIO | 1u << TARGET_SPT, .networks_known = 1};
    if (h->wired)
        snprintf(facts.networks[facts.network_count++], NAME_SIZE, "%s", SIM_NETWORK);
    h->wired_told = h->wired;
    struct event ev = {.kind = EVENT_HOST, .host = &facts};
    host_step(w, h, &ev);
}

void host_wire(struct world *w, struct host *h, bool wired)
{
    if (h->wired == wired)
        return;
    h->wired = wired;
    w->total.networks_gone += !wired;
    if (h->engine)
        world_later(w, 0, NODE_HOST, h, NULL, 0);
}
