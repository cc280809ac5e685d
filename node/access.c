/* Whom our units' guests let in: the apps and networks that their specs name, as addresses. An app's units move and
 * grow in number; whoever lets them in is told. */
#include "node/engine_internal.h"
#include "store/base/rng.h"

#include <stdio.h>

enum { LOOK_MS = 100 /* between two looks, however much changes */ };

struct resolving {
    struct engine *e;
    struct guest_access *out;
    enum peer_wish wish;
    bool full;
};

static void add(struct resolving *r, const struct subnet *s)
{
    r->full |= subnet_given(s) && guest_access_add(r->out, r->wish, s) == ERR_FULL;
}

static void unit_visit(void *ctx, const struct entry *entry)
{
    struct resolving *r = ctx;
    struct unit_body b;
    if (entry->record.key.kind != RECORD_UNIT || unit_body_decode(entry->record.body, &b) || b.released)
        return;
    for (uint32_t i = 0; i < b.address_count; i++) {
        const struct subnet one = {b.addresses[i].ip, ip_is4(&b.addresses[i].ip) ? 32 : 128};
        add(r, &one);
    }
}

static void add_app(struct resolving *r, const char *name)
{
    const struct app *a = app_by_name(r->e, name);
    if (a)
        replica_each_of_app(r->e->replica, &a->uid, unit_visit, r);
}

static void add_network(struct resolving *r, const char *name)
{
    const struct network *n = r->e->cfg.networks ? networks_find(r->e->cfg.networks, name) : NULL;
    for (int f = IP4; n && f < IP_FAMILIES; f++)
        add(r, &n->addresses[f].subnet);
}

/* What doesn't fit is left out; of those who are denied, nobody is. */
static void resolve(struct engine *e, const struct access *a, struct guest_access *out)
{
    struct resolving r = {.e = e, .out = out};
    *out = (struct guest_access){.port_count = a->port_count};
    for (uint32_t i = 0; i < a->port_count; i++)
        out->ports[i] = a->ports[i];
    for (int wish = PEER_DENY; wish >= PEER_ALLOW; wish--) {
        r.wish = (enum peer_wish)wish;
        for (uint32_t i = 0; i < a->peer_count; i++) {
            const struct peer_ref *p = &a->peers[i];
            if (p->wish != r.wish)
                continue;
            out->limited |= p->wish == PEER_ALLOW;
            if (p->kind == PEER_APP)
                add_app(&r, p->name);
            else if (p->kind == PEER_NETWORK)
                add_network(&r, p->name);
            else
                add(&r, &p->subnet);
        }
    }
    if (r.full)
        effects_log(e->fx, LOG_WARN, "access.cut", "sources=%d", SOURCES_MAX);
}

static uint64_t hash(const struct guest_access *g)
{
    uint64_t h = g->limited;
    for (uint32_t i = 0; i < g->source_count; i++) {
        const struct source *s = &g->sources[i];
        h = mix64(h ^ (uint64_t)s->wish << 8 ^ s->subnet.bits);
        for (size_t j = 0; j < sizeof s->subnet.base.b; j++)
            h = mix64(h ^ s->subnet.base.b[j]);
    }
    return h;
}

static bool names_apps(const struct access *a)
{
    bool names = false;
    for (uint32_t i = 0; i < a->peer_count; i++)
        names |= a->peers[i].kind == PEER_APP;
    return names;
}

const struct guest_access *access_for_start(struct engine *e, struct unit *u, const struct spec_body *spec)
{
    if (spec->net_count == 0)
        return NULL;
    struct guest_access *g = effects_bytes(e->fx, sizeof *g);
    resolve(e, &spec->access, g);
    u->access_hash = hash(g);
    u->access_names = names_apps(&spec->access);
    return g;
}

void access_look(struct engine *e)
{
    e->access_look = true;
    e->units_next_ms = min_u64(e->units_next_ms, e->now > e->access_next_ms ? e->now : e->access_next_ms);
}

/* What runs, and lets in whom it names. */
static void follow(struct engine *e, struct unit *u)
{
    static const size_t effect_bytes = sizeof(struct guest_access) + NETS_MAX * sizeof(struct guest_net);
    const struct app *a = app_find(e, &u->key.app);
    struct spec_body spec;
    if (!effects_room(e->fx, effect_bytes)) {
        access_look(e);
        return;
    }
    if (!a || app_spec(e, a, &spec) || !version_equal(u->body.spec, a->spec_version) || spec.net_count == 0)
        return;
    u->access_names = names_apps(&spec.access);
    if (!u->access_names) {
        u->access_hash = 1; /* it was looked at */
        return;
    }
    uint64_t before = u->access_hash;
    const struct guest_access *g = access_for_start(e, u, &spec);
    if (u->access_hash == before)
        return;
    struct effect *f = effects_add(e->fx, EFFECT_UNIT_ACCESS);
    f->unit = (struct unit_id){.app = u->key.app, .slot = u->key.slot, .epoch = u->body.run};
    f->start.net_count = spec.net_count;
    f->start.nets = addresses_for_start(e, u, &spec);
    f->start.access = g;
}

void access_tick(struct engine *e)
{
    if (!e->access_look || !e->ready || bug(e, BUG_KEEP_OLD_ACCESS))
        return;
    if (e->now < e->access_next_ms) {
        e->units_next_ms = min_u64(e->units_next_ms, e->access_next_ms);
        return;
    }
    e->access_look = false;
    e->access_next_ms = e->now + LOOK_MS;
    apps_refresh(e);
    for (struct unit *u = e->units; u; u = u->hh.next)
        if (u->run == RUN_UP && (u->access_names || !u->access_hash))
            follow(e, u);
}

/* ---- Published ports --------------------------------------------------------------------------------- */

static const struct port_ref *clash(const struct access *a, const struct access *b)
{
    for (uint32_t i = 0; i < a->port_count; i++)
        for (uint32_t j = 0; j < b->port_count; j++)
            if (a->ports[i].published && a->ports[i].published == b->ports[j].published &&
                a->ports[i].protocol == b->ports[j].protocol)
                return &a->ports[i];
    return NULL;
}

static bool publishes(const struct access *a)
{
    bool any = false;
    for (uint32_t i = 0; i < a->port_count; i++)
        any |= a->ports[i].published != 0;
    return any;
}

bool access_published(const struct engine *e, const struct uid *app, uint16_t slot, const struct spec_body *spec,
                      char *why, size_t size)
{
    struct spec_body other;
    for (const struct unit *u = publishes(&spec->access) ? e->units : NULL; u; u = u->hh.next) {
        const struct app *a = app_find(e, &u->key.app);
        bool itself = u->key.slot == slot && uid_equal(&u->key.app, app);
        if (itself || u->reserved_mib == 0 || !a || app_spec(e, a, &other))
            continue;
        const struct port_ref *p = clash(&spec->access, &other.access);
        if (!p)
            continue;
        snprintf(why, size, "port %u/%s of its host is published by %.40s/%u already", p->published,
                 p->protocol == PORT_TCP ? "tcp" : "udp", a->name, u->key.slot);
        return true;
    }
    return false;
}
