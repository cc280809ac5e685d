/* The addresses that our units' guests have on their networks, without a server that gives them.
 *
 * An address is the slot's: whoever claims the slot takes over what its last claim says. Where there is none, it is
 * derived: from app and slot, so that an app's replicas stand side by side, then from a hash, until one is free as far
 * as we know. It is recorded with the claim, on disk before the guest starts.
 *
 * Two who pick at once, or on two sides of a split, may pick the same. Both see it in the other's record, and agree
 * without a word who keeps it: who chose first, then the lower app and slot. The other one chooses again, and its
 * guest is started again with that. */
#include "node/engine_internal.h"
#include "store/base/rng.h"

#include <stdio.h>
#include <string.h>

enum { POOL_MAX = 65536 /* of a range; more are not looked at */, JUMPS = 8 };

struct pool { /* of one network and family, and what of it is taken */
    struct engine *e;
    const struct unit *u;
    const struct network *network;
    enum ip_family family;
    uint32_t size;
    uint8_t taken[POOL_MAX / 8];
    /* Who else has the address that we would take over. */
    struct unit_address ours;
    bool lost;
};

static const struct network_addresses *range_of(const struct network *n, enum ip_family f)
{
    return &n->addresses[f];
}

/* Does somebody use the addresses of this claim? Also one that was overtaken may run yet, and one of a dead host
 * returns. */
static bool uses(const struct engine *e, const struct record_key *key, const struct unit_body *b)
{
    const struct uid app = record_key_uid(key);
    const struct app *a = app_find(e, &app);
    return a && !a->deleted && !b->released;
}

/* … or are they kept for whoever takes the slot next? */
static bool reserves(const struct engine *e, const struct record_key *key)
{
    const struct uid app = record_key_uid(key);
    const struct app *a = app_find(e, &app);
    uint16_t slot = record_key_slot(key);
    if (!a || a->deleted || slot >= a->slot_count || slot >= a->replicas)
        return false;
    const struct slot_claim *c = &a->slots[slot].real;
    return !c->owner || c->released;
}

static bool same_slot(const struct unit *u, const struct record_key *key)
{
    const struct uid app = record_key_uid(key);
    return uid_equal(&app, &u->key.app) && record_key_slot(key) == u->key.slot;
}

/* Of two that have the same: does theirs keep it? */
static bool theirs_keeps(const struct unit *u, const struct unit_address *ours, const struct record_key *key,
                         const struct unit_address *theirs)
{
    const struct uid app = record_key_uid(key);
    if (ours->since_ms != theirs->since_ms)
        return theirs->since_ms < ours->since_ms;
    int by_app = memcmp(&app, &u->key.app, sizeof app);
    return by_app ? by_app < 0 : record_key_slot(key) < u->key.slot;
}

static bool same_address(const struct unit_address *a, const struct unit_address *b)
{
    return ip_equal(&a->ip, &b->ip) && strcmp(a->network, b->network) == 0;
}

/* ---- Choosing ------------------------------------------------------------------------------------ */

/* Where in the pool it is; UINT64_MAX: it isn't of this network and family, or nobody gets it. */
static uint64_t place(const struct pool *p, const struct unit_address *a)
{
    if (strcmp(a->network, p->network->name) != 0 || ip_is4(&a->ip) != (p->family == IP4) ||
        !network_may_give(p->network, &a->ip))
        return UINT64_MAX;
    return ip_distance(&range_of(p->network, p->family)->first, &a->ip);
}

static void take(struct pool *p, uint64_t at)
{
    if (at < p->size)
        p->taken[at / 8] |= (uint8_t)(1u << at % 8);
}

static void taken_visit(void *ctx, const struct entry *entry)
{
    struct pool *p = ctx;
    const struct record_key *key = &entry->record.key;
    struct unit_body b;
    if (same_slot(p->u, key) || unit_body_decode(entry->record.body, &b) || b.address_count == 0)
        return;
    bool used = uses(p->e, key, &b);
    if (!used && !reserves(p->e, key))
        return;
    for (uint32_t i = 0; i < b.address_count; i++) {
        const struct unit_address *a = &b.addresses[i];
        take(p, place(p, a));
        p->lost |= used && same_address(a, &p->ours) && theirs_keeps(p->u, &p->ours, key, a);
    }
}

static void pool_look(struct pool *p)
{
    const struct network_addresses *range = range_of(p->network, p->family);
    uint64_t more = ip_distance(&range->first, &range->last);
    p->size = more < POOL_MAX - 1 ? (uint32_t)more + 1 : POOL_MAX;
    memset(p->taken, 0, sizeof p->taken);
    p->lost = false;
    replica_each(p->e->replica, RECORD_UNIT, taken_visit, p);
    for (uint32_t i = 0; i < p->u->body.address_count; i++) /* its own, of another device */
        take(p, place(p, &p->u->body.addresses[i]));
}

static bool pool_free(const struct pool *p, uint32_t at, struct ip *out)
{
    const struct network_addresses *range = range_of(p->network, p->family);
    *out = ip_add(&range->first, at);
    return !(p->taken[at / 8] & 1u << at % 8) && network_may_give(p->network, out);
}

static uint64_t words_of(const struct uid *app)
{
    uint64_t h = 0;
    for (size_t i = 0; i < sizeof app->b; i++)
        h = mix64(h ^ app->b[i]);
    return h;
}

/* Its place among its app's, then places that only it jumps to, then whatever is free. */
static bool pool_pick(const struct pool *p, struct ip *out)
{
    uint64_t app = words_of(&p->u->key.app), h = app + p->u->key.slot;
    for (uint32_t i = 0; i < JUMPS; i++) {
        if (pool_free(p, (uint32_t)(h % p->size), out))
            return true;
        h = mix64(app ^ ((uint64_t)p->u->key.slot << 32 | (i + 1)));
    }
    for (uint32_t i = 0; i < p->size; i++)
        if (pool_free(p, (uint32_t)((h + i) % p->size), out))
            return true;
    return false;
}

/* ---- Taking over --------------------------------------------------------------------------------- */

struct last { /* the slot's last claim that tells of addresses */
    struct engine *e;
    const struct unit *u;
    struct claim claim;
    struct unit_body body;
};

static void last_visit(void *ctx, const struct entry *entry)
{
    struct last *l = ctx;
    const struct record_key *key = &entry->record.key;
    struct unit_body b;
    if (key->kind != RECORD_UNIT || !same_slot(l->u, key) || unit_body_decode(entry->record.body, &b) ||
        b.address_count == 0)
        return;
    const struct claim c = {
        .id = {.app = l->u->key.app, .slot = l->u->key.slot, .epoch = b.epoch},
        .owner = record_key_owner(key),
        .surrogate = b.surrogate,
    };
    if (l->body.address_count && claim_compare(&c, &l->claim) <= 0)
        return;
    l->claim = c;
    unit_body_copy(&l->body, &b);
}

/* The n-th of the network and family. */
static const struct unit_address *find(const struct unit_body *b, const char *network, enum ip_family f, uint32_t n)
{
    for (uint32_t i = 0; i < b->address_count; i++)
        if (strcmp(b->addresses[i].network, network) == 0 && ip_is4(&b->addresses[i].ip) == (f == IP4) && n-- == 0)
            return &b->addresses[i];
    return NULL;
}

/* How many of the spec's nets before the i-th are on its network. */
static uint32_t nth_on_network(const struct spec_body *spec, uint32_t i)
{
    uint32_t nth = 0;
    for (uint32_t j = 0; j < i; j++)
        nth += strcmp(spec->nets[j].network, spec->nets[i].network) == 0;
    return nth;
}

static enum err settle_one(struct engine *e, struct unit *u, const struct last *last, const struct network *n,
                           enum ip_family f, uint32_t nth, char *why, size_t size)
{
    struct unit_body *b = &u->body;
    struct pool p = {.e = e, .u = u, .network = n, .family = f};
    const struct unit_address *before = find(&last->body, n->name, f, nth);
    struct unit_address a = {.since_ms = e->wall};
    if (!subnet_given(&range_of(n, f)->subnet))
        return ERR_OK;
    if (before && network_may_give(n, &before->ip))
        p.ours = *before;
    pool_look(&p);
    if (p.ours.network[0] && !p.lost) {
        a = p.ours;
    } else if (!pool_pick(&p, &a.ip)) {
        char first[IP_TEXT], end[IP_TEXT];
        ip_text(&range_of(n, f)->first, first);
        ip_text(&range_of(n, f)->last, end);
        e->addresses_short = true;
        snprintf(why, size, "no address is free on the network %.40s: %s to %s are taken", n->name, first, end);
        return ERR_FULL;
    }
    memcpy(a.network, n->name, sizeof a.network);
    b->addresses[b->address_count++] = a;
    return ERR_OK;
}

static bool same_addresses(const struct unit_body *a, const struct unit_body *b)
{
    bool same = a->address_count == b->address_count;
    for (uint32_t i = 0; i < a->address_count && same; i++)
        same = same_address(&a->addresses[i], &b->addresses[i]) && a->addresses[i].since_ms == b->addresses[i].since_ms;
    return same;
}

enum err addresses_settle(struct engine *e, struct unit *u, const struct spec_body *spec, bool *changed, char *why,
                          size_t size)
{
    struct unit_body before;
    struct last last; /* large at its end */
    enum err err = ERR_OK;
    *changed = false;
    u->readdress = false;
    if (!e->cfg.networks || (spec->net_count == 0 && u->body.address_count == 0))
        return ERR_OK;
    unit_body_copy(&before, &u->body);
    last.e = e;
    last.u = u;
    unit_body_copy(&last.body, &u->body);
    if (u->body.address_count == 0)
        replica_each_of_app(e->replica, &u->key.app, last_visit, &last);
    u->body.address_count = 0;
    for (uint32_t i = 0; i < spec->net_count && !err; i++) {
        const struct network *n = networks_find(e->cfg.networks, spec->nets[i].network);
        uint32_t nth = nth_on_network(spec, i);
        for (int f = IP4; n && f < IP_FAMILIES && !err; f++)
            err = settle_one(e, u, &last, n, (enum ip_family)f, nth, why, size);
    }
    if (err)
        unit_body_copy(&u->body, &before);
    *changed = !same_addresses(&before, &u->body);
    return err;
}

void addresses_freed(struct engine *e)
{
    if (!e->addresses_short)
        return;
    e->addresses_short = false;
    self_room(e); /* as if there were memory again: who was refused is offered here once more */
}

/* ---- Clashes ------------------------------------------------------------------------------------- */

void addresses_on_unit(struct engine *e, const struct entry *entry)
{
    const struct record_key *key = &entry->record.key;
    struct unit_body b;
    if (!e->cfg.networks || unit_body_decode(entry->record.body, &b) || b.address_count == 0)
        return;
    access_look(e);
    if (b.released)
        addresses_freed(e);
    if (!uses(e, key, &b) || bug(e, BUG_KEEP_TAKEN_ADDRESS))
        return;
    for (struct unit *u = e->units; u; u = u->hh.next)
        for (uint32_t i = 0; i < u->body.address_count && !same_slot(u, key); i++)
            for (uint32_t j = 0; j < b.address_count; j++)
                if (same_address(&u->body.addresses[i], &b.addresses[j]) &&
                    theirs_keeps(u, &u->body.addresses[i], key, &b.addresses[j])) {
                    u->readdress = true;
                    units_dirty(e);
                }
}

static void look_visit(void *ctx, const struct entry *entry)
{
    addresses_on_unit(ctx, entry);
}

void addresses_look(struct engine *e)
{
    e->addresses_looked = true;
    if (e->cfg.networks)
        replica_each(e->replica, RECORD_UNIT, look_visit, e);
}

/* ---- Starting ------------------------------------------------------------------------------------ */

void addresses_of_nets(const struct engine *e, const struct unit *u, const struct spec_body *spec,
                       struct arg_net out[static NETS_MAX])
{
    memset(out, 0, NETS_MAX * sizeof out[0]);
    for (uint32_t i = 0; i < spec->net_count; i++) {
        const struct network *n = e->cfg.networks ? networks_find(e->cfg.networks, spec->nets[i].network) : NULL;
        uint32_t nth = nth_on_network(spec, i);
        out[i].device = spec->nets[i].device;
        for (int f = IP4; n && f < IP_FAMILIES; f++) {
            const struct unit_address *a = find(&u->body, n->name, (enum ip_family)f, nth);
            if (!a)
                continue;
            out[i].ip[f] = a->ip;
            out[i].gateway[f] = range_of(n, (enum ip_family)f)->gateway;
            out[i].bits[f] = range_of(n, (enum ip_family)f)->subnet.bits;
        }
    }
}

const struct guest_net *addresses_for_start(struct engine *e, const struct unit *u, const struct spec_body *spec)
{
    struct arg_net of[NETS_MAX];
    struct guest_net *nets = effects_bytes(e->fx, spec->net_count * sizeof *nets);
    addresses_of_nets(e, u, spec, of);
    for (uint32_t i = 0; i < spec->net_count; i++) {
        nets[i].ref = spec->nets[i];
        memcpy(nets[i].ip, of[i].ip, sizeof nets[i].ip);
    }
    return nets;
}
