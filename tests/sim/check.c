#include "tests/sim/check.h"

#include "placement/placement.h"

#include <stdlib.h>
#include <string.h>

struct claim_key { /* zero-filled: it is hashed as bytes */
    struct uid app;
    uint32_t slot;
    uint32_t host, life;
    uint64_t epoch;
};

struct seen { /* a number remembered under a key */
    struct claim_key key;
    uint64_t value;
    UT_hash_handle hh;
};

struct kept { /* an app that was acknowledged, or removed */
    struct uid app;
    struct version version; /* of the spec */
    struct kept *next;
};

struct check {
    struct world *w;
    struct seen *epochs;   /* each owner's highest real epoch of each slot */
    struct seen *offers;   /* to whom a notary offered a (slot, epoch) */
    struct seen *ceilings; /* while a minority is watched: the highest epoch of each slot when it began */
    struct seen *specs;    /* the clock of each revision of an app that a host wrote */
    struct seen *claims;   /* while they are counted: the epoch of a slot's first new real claim */
    bool counting;
    bool watching;
    uint32_t watched_side;
    struct kept *acknowledged, *removed;
    uint64_t lost_ms[HOSTS_MAX]; /* when each host lost its disk last; 0: never */
    uint64_t marked_starts, marked_stops, marked_readdressed;
    bool slot_watched;
    struct uid watched_app;
    uint16_t watched_slot;
};

static struct seen *seen_find(struct seen *head, const struct claim_key *key)
{
    struct seen *s;
    HASH_FIND(hh, head, key, sizeof *key, s);
    return s;
}

static struct seen *seen_add(struct seen **head, const struct claim_key *key)
{
    struct seen *s = seen_find(*head, key);
    if (s)
        return s;
    s = calloc(1, sizeof *s);
    CHECK(s);
    s->key = *key;
    HASH_ADD(hh, *head, key, sizeof s->key, s);
    return s;
}

static void seen_free(struct seen **head)
{
    struct seen *s, *next;
    HASH_ITER (hh, *head, s, next) {
        HASH_DEL(*head, s);
        free(s);
    }
}

static struct claim_key slot_key(const struct uid *app, uint32_t slot)
{
    struct claim_key k;
    memset(&k, 0, sizeof k);
    k.app = *app;
    k.slot = slot;
    return k;
}

/* ---- On every effect ------------------------------------------------------------------------------- */

struct rivals {
    node_id self;
    uint16_t slot;
    uint64_t epoch; /* the highest real one of another's */
};

static void rival_visit(void *ctx, const struct entry *entry)
{
    struct rivals *r = ctx;
    struct unit_body u;
    if (entry->record.key.kind != RECORD_UNIT || record_key_slot(&entry->record.key) != r->slot ||
        record_key_owner(&entry->record.key) == r->self || unit_body_decode(entry->record.body, &u) ||
        u.surrogate)
        return;
    if (u.epoch > r->epoch)
        r->epoch = u.epoch;
}

static bool claim_on_disk(const struct host *h, const struct unit_id *id, struct unit_body *out)
{
    struct record r;
    const struct record_key key = record_key_unit(&id->app, id->slot, h->use->node);
    return disk_find(h, &key, &r) && !unit_body_decode(r.body, out);
}

/* 4: epochs don't fall, and a new claim is above all that its owner knows. 9: a minority raises none. */
static void on_claim(struct check *c, struct host *h, const struct effect *f)
{
    struct record r;
    struct unit_body u;
    if (record_decode(f->bytes.p, f->bytes.len, &r) || unit_body_decode(r.body, &u)) {
        world_fail(c->w, "host %u writes a record that can't be read", h->index);
        return;
    }
    if (record_key_owner(&r.key) != h->use->node || u.surrogate)
        return;
    const struct uid app = record_key_uid(&r.key);
    uint16_t slot = record_key_slot(&r.key);
    struct claim_key key = slot_key(&app, slot);
    const struct seen *ceiling = seen_find(c->ceilings, &key);
    if (c->watching && h->side == c->watched_side && u.epoch > (ceiling ? ceiling->value : 0))
        world_fail(c->w, "host %u, in a minority, raises the epoch of slot %u to %llu", h->index, slot,
                   (unsigned long long)u.epoch);
    key.host = h->index + 1;
    struct seen *last = seen_add(&c->epochs, &key);
    const struct unit_id id = {.app = app, .slot = slot};
    struct unit_body durable;
    if (claim_on_disk(h, &id, &durable) && !durable.surrogate && u.epoch < durable.epoch)
        world_fail(c->w, "host %u: the epoch of its claim on slot %u falls from %llu to %llu", h->index,
                   slot, (unsigned long long)durable.epoch, (unsigned long long)u.epoch);
    if (u.epoch > last->value && !u.released) {
        struct rivals rivals = {.self = h->use->node, .slot = slot};
        replica_each_of_app(engine_records(h->engine), &app, rival_visit, &rivals);
        if (rivals.epoch >= u.epoch)
            world_fail(c->w, "host %u claims slot %u at epoch %llu, and knows a claim at %llu", h->index,
                       slot, (unsigned long long)u.epoch, (unsigned long long)rivals.epoch);
        const struct claim_key of_slot = slot_key(&app, slot);
        /* Notaries that don't see the same members yet may offer one epoch twice: a tie, which the claims' hash
         * settles. An epoch after that is a second change. */
        struct seen *first = c->counting ? seen_add(&c->claims, &of_slot) : NULL;
        if (first && first->value == 0)
            first->value = u.epoch;
        if (first && u.epoch > first->value)
            world_fail(c->w, "host %u claims slot %u, which has a new owner already", h->index, slot);
    }
    if (u.epoch > last->value) /* one that lost its records learns of its claims again, the older ones too */
        last->value = u.epoch;
}

static bool spec_of(const struct host *h, const struct uid *app, struct spec_body *out)
{
    const struct record_key key = record_key_app(RECORD_SPEC, app);
    const struct entry *entry = replica_find(engine_records(h->engine), &key);
    return entry && !spec_body_decode(entry->record.body, out);
}

static bool deleted_at(const struct host *h, const struct uid *app)
{
    const struct record_key key = record_key_app(RECORD_DELETED, app);
    return replica_find(engine_records(h->engine), &key) != NULL;
}

static bool has_labels(const struct labels *host, const struct labels *want)
{
    for (uint32_t i = 0; i < want->count; i++) {
        bool found = false;
        for (uint32_t j = 0; j < host->count; j++)
            found |= strcmp(host->v[j].key, want->v[i].key) == 0 &&
                     strcmp(host->v[j].value, want->v[i].value) == 0;
        if (!found)
            return false;
    }
    return true;
}

/* A guest starts when its claim is on disk under the run's name, and (11) where its constraints hold. */
static void on_start(struct check *c, struct host *h, const struct effect *f)
{
    struct unit_body u;
    struct spec_body spec;
    if (!claim_on_disk(h, &f->unit, &u) || u.run != f->unit.epoch)
        world_fail(c->w, "host %u starts run %llx of slot %u before its claim is on disk", h->index,
                   (unsigned long long)f->unit.epoch, f->unit.slot);
    if (spec_of(h, &f->unit.app, &spec) && !has_labels(&h->cfg.labels, &spec.require))
        world_fail(c->w, "host %u starts an app whose labels it doesn't have", h->index);
    if (f->start.net_count > 0 && !h->wired_told)
        world_fail(c->w, "host %u starts an app whose network it doesn't have", h->index);
    if (f->start.net_count > 0 && (u.address_count != 1 || !ip_equal(&u.addresses[0].ip, &f->start.nets[0].ip[IP4])))
        world_fail(c->w, "host %u starts a guest with an address that isn't on disk", h->index);
}

/* An exit record goes when the end is on disk. */
static void on_forget(struct check *c, struct host *h, const struct effect *f)
{
    struct unit_body u;
    const struct guest *g = h->guests;
    while (g && !(uid_equal(&g->run.app, &f->unit.app) && g->run.slot == f->unit.slot &&
                  g->run.epoch == f->unit.epoch))
        g = g->next;
    if (!g || deleted_at(h, &f->unit.app) || !claim_on_disk(h, &f->unit, &u) ||
        u.run != f->unit.epoch)
        return;
    /* as a stranger is, whose record comes when it is too late: nobody asks */
    bool stopped = g->end.cause == END_STOPPED;
    if (u.pid != 0 || (!stopped && u.exit_status != g->end.status))
        world_fail(c->w, "host %u forgets the end of slot %u before it is on disk: pid %u, status %d of %d",
                   h->index, f->unit.slot, u.pid, u.exit_status, g->end.status);
}

/* One notary offers one (slot, epoch) to one host. */
static void on_offer(struct check *c, struct host *h, const char *fields)
{
    char uid[UID_TEXT];
    unsigned slot, surrogate;
    unsigned long long epoch, to;
    struct uid app;
    if (sscanf(fields, "app=%32s slot=%u epoch=%llu to=%llx surrogate=%u", uid, &slot, &epoch, &to,
               &surrogate) != 5 ||
        uid_parse(uid, &app) || surrogate)
        return;
    struct claim_key key = slot_key(&app, slot);
    key.host = h->index;
    key.life = h->life + 1;
    key.epoch = epoch;
    struct seen *s = seen_add(&c->offers, &key);
    if (s->value && s->value != to)
        world_fail(c->w, "host %u offers slot %u at epoch %llu to two hosts", h->index, slot, epoch);
    s->value = to;
}

static struct claim_key revision_key(const struct host *h, const struct uid *app, uint32_t revision)
{
    struct claim_key key = slot_key(app, 0);
    key.host = h->index;
    key.epoch = revision;
    return key;
}

static void on_spec(struct check *c, const struct host *h, const struct effect *f)
{
    struct record r;
    struct spec_body spec;
    if (record_decode(f->bytes.p, f->bytes.len, &r) || spec_body_decode(r.body, &spec) ||
        r.version.author != h->use->node)
        return;
    const struct uid app = record_key_uid(&r.key);
    const struct claim_key key = revision_key(h, &app, spec.revision);
    seen_add(&c->specs, &key)->value = r.version.clock;
}

static void on_effect(struct world *w, struct host *h, const struct effect *f)
{
    struct check *c = w->check;
    if (f->kind == EFFECT_WRITE && f->key.kind == RECORD_UNIT)
        on_claim(c, h, f);
    else if (f->kind == EFFECT_WRITE && f->key.kind == RECORD_SPEC)
        on_spec(c, h, f);
    else if (f->kind == EFFECT_UNIT_START)
        on_start(c, h, f);
    else if (f->kind == EFFECT_UNIT_FORGET)
        on_forget(c, h, f);
    else if (f->kind == EFFECT_LOG && strcmp(f->log.event, "offer.sent") == 0)
        on_offer(c, h, f->log.fields);
}

static bool watched_is_ready(const struct check *c)
{
    for (uint32_t i = 0; i < c->w->host_count; i++)
        for (const struct guest *g = c->w->hosts[i].guests; g; g = g->next)
            if (g->state == GUEST_RUNNING && !g->stopping && g->run.slot == c->watched_slot &&
                uid_equal(&g->run.app, &c->watched_app))
                return true;
    return false;
}

/* 1: neither what is reserved nor what runs takes more than there is. What runs takes more only by an effect. */
static void on_step(struct world *w, struct host *h)
{
    uint32_t runs = 0;
    for (const struct guest *g = w->fx.count > 0 ? h->guests : NULL; g; g = g->next)
        runs += g->state == GUEST_ENDED ? 0 : g->memory_mib;
    uint32_t reserved = engine_reserved_mib(h->engine);
    if (reserved > h->cfg.capacity_mib || runs > h->cfg.capacity_mib)
        world_fail(w, "host %u of %u MiB: %u are reserved, guests take %u", h->index, h->cfg.capacity_mib,
                   reserved, runs);
    if (w->check->slot_watched && !watched_is_ready(w->check))
        world_fail(w, "slot %u is moved, and no instance of it is ready", w->check->watched_slot);
}

/* ---- What the scenario tells ------------------------------------------------------------------------ */

struct check *check_new(struct world *w)
{
    struct check *c = calloc(1, sizeof *c);
    CHECK(c);
    c->w = w;
    w->check = c;
    w->on_effect = on_effect;
    w->on_step = on_step;
    return c;
}

static void kept_free(struct kept *k)
{
    while (k) {
        struct kept *next = k->next;
        free(k);
        k = next;
    }
}

void check_free(struct check *c)
{
    seen_free(&c->epochs);
    seen_free(&c->offers);
    seen_free(&c->ceilings);
    seen_free(&c->claims);
    seen_free(&c->specs);
    kept_free(c->acknowledged);
    kept_free(c->removed);
    free(c);
}

static struct kept *keep(struct kept **list, const struct uid *app)
{
    struct kept *k = calloc(1, sizeof *k);
    CHECK(k);
    *k = (struct kept){.app = *app, .next = *list};
    *list = k;
    return k;
}

void check_removed(struct check *c, const struct uid *app)
{
    keep(&c->removed, app);
}

static bool keeps_deleted(const struct host *h, const struct uid *app)
{
    struct record r;
    const struct record_key deleted = record_key_app(RECORD_DELETED, app);
    return disk_find(h, &deleted, &r);
}

/* That very one, or one that was written over it, or over what it lost to. */
static bool continues(const struct record *r, const struct spec_body *spec, const struct kept *k)
{
    return version_compare(r->version, k->version) == 0 || version_compare(spec->parent, k->version) >= 0;
}

static bool in_history(const struct host *h, const struct kept *k)
{
    for (const struct value *v = h->disk; v; v = v->hh.next) {
        struct record r;
        struct spec_body spec;
        struct cursor c;
        if (v->key.kind != RECORD_HISTORY || record_decode(v->bytes, v->len, &r))
            continue;
        const struct uid uid = record_key_uid(&r.key);
        cursor_init(&c, r.body.p, r.body.len);
        const struct slice inner = cursor_bin(&c, RECORD_BYTES_MAX);
        if (uid_equal(&uid, &k->app) && !c.err && !record_decode(inner.p, inner.len, &r) &&
            !spec_body_decode(r.body, &spec) && continues(&r, &spec, k))
            return true;
    }
    return false;
}

/* Or it is in the history, as it lost to one that was written without knowing of it. */
static bool keeps_spec(const struct host *h, const struct kept *k, struct spec_body *spec)
{
    struct record r;
    const struct record_key key = record_key_app(RECORD_SPEC, &k->app);
    return disk_find(h, &key, &r) && !spec_body_decode(r.body, spec) && (continues(&r, spec, k) || in_history(h, k));
}

static bool keeps_app(const struct host *h, const struct kept *k)
{
    struct spec_body spec;
    if (keeps_deleted(h, &k->app))
        return true;
    if (!keeps_spec(h, k, &spec))
        return false;
    for (uint32_t i = 0; i < spec.image_count; i++)
        if (!host_has_image(h, &spec.images[i].image))
            return false;
    return true;
}

void check_acknowledged(struct check *c, const struct host *h, const struct uid *app, uint32_t revision,
                        uint32_t need, uint64_t since_ms)
{
    struct kept *k = keep(&c->acknowledged, app);
    const struct claim_key given = revision_key(h, app, revision);
    const struct seen *written = seen_find(c->specs, &given);
    uint32_t copies = 0;
    if (!written) {
        world_fail(c->w, "host %u acknowledges a deploy that it never wrote", h->index);
        return;
    }
    k->version = (struct version){.clock = written->value, .author = h->use->node};
    for (uint32_t i = 0; i < c->w->host_count; i++)
        copies += keeps_app(&c->w->hosts[i], k) || (c->lost_ms[i] && c->lost_ms[i] >= since_ms);
    if (copies < need)
        world_fail(c->w, "a deploy is acknowledged, and kept by %u of %u disks", copies, need);
}

static bool kept_elsewhere(const struct check *c, const struct host *h, const struct kept *k, bool removed)
{
    for (uint32_t i = 0; i < c->w->host_count; i++) {
        const struct host *other = &c->w->hosts[i];
        if (other != h && !other->gone &&
            (removed ? keeps_deleted(other, &k->app) : keeps_app(other, k)))
            return true;
    }
    return false;
}

static void excuse(const struct check *c, const struct host *h, struct kept **list, bool removed)
{
    while (*list) {
        struct kept *k = *list;
        if (kept_elsewhere(c, h, k, removed)) {
            list = &k->next;
            continue;
        }
        *list = k->next;
        free(k);
    }
}

void check_records_lost(struct check *c, const struct host *h)
{
    c->lost_ms[h->index] = c->w->now;
}

void check_disk_lost(struct check *c, const struct host *h)
{
    check_records_lost(c, h);
    excuse(c, h, &c->acknowledged, false);
    excuse(c, h, &c->removed, true);
}

static bool recorded_elsewhere(const struct check *c, const struct host *h, const struct kept *k)
{
    struct spec_body spec;
    for (uint32_t i = 0; i < c->w->host_count; i++) {
        const struct host *o = &c->w->hosts[i];
        if (o != h && !o->gone && (keeps_deleted(o, &k->app) || keeps_spec(o, k, &spec)))
            return true;
    }
    return false;
}

static bool image_elsewhere(const struct check *c, const struct host *h, const struct hash *image)
{
    for (uint32_t i = 0; i < c->w->host_count; i++)
        if (&c->w->hosts[i] != h && !c->w->hosts[i].gone && host_has_image(&c->w->hosts[i], image))
            return true;
    return false;
}

/* What h kept of it, and no other disk keeps; NULL: nothing. One disk may have the records, and another the images. */
static const char *took_along(const struct check *c, const struct host *h, const struct kept *k, bool removed)
{
    struct spec_body spec;
    if (removed)
        return keeps_deleted(h, &k->app) && !kept_elsewhere(c, h, k, true) ? "tombstone" : NULL;
    if (keeps_deleted(h, &k->app) || !keeps_spec(h, k, &spec))
        return NULL;
    if (!recorded_elsewhere(c, h, k))
        return "records";
    for (uint32_t i = 0; i < spec.image_count; i++)
        if (host_has_image(h, &spec.images[i].image) && !image_elsewhere(c, h, &spec.images[i].image))
            return "image";
    return NULL;
}

static void left_with(const struct check *c, const struct host *h, struct kept **list, bool removed, bool excused)
{
    while (*list) {
        struct kept *k = *list;
        const char *what = took_along(c, h, k, removed);
        if (!what) {
            list = &k->next;
            continue;
        }
        if (!excused)
            world_fail(c->w, "host %u left, and the %s of an app that was %s only on its disk", h->index, what,
                       removed ? "removed is" : "acknowledged is");
        *list = k->next;
        free(k);
    }
}

void check_left(struct check *c, const struct host *h, uint64_t since_ms)
{
    bool excused = false;
    for (uint32_t i = 0; i < c->w->host_count; i++)
        excused |= c->lost_ms[i] && c->lost_ms[i] >= since_ms;
    left_with(c, h, &c->acknowledged, false, excused);
    left_with(c, h, &c->removed, true, excused);
}

void check_mark(struct check *c)
{
    c->marked_starts = c->w->total.starts;
    c->marked_stops = c->w->total.stops;
    c->marked_readdressed = c->w->total.readdressed;
}

uint64_t check_readdressed(const struct check *c)
{
    return c->w->total.readdressed - c->marked_readdressed;
}

uint64_t check_stops(const struct check *c)
{
    return c->w->total.stops - c->marked_stops;
}

void check_claims_begin(struct check *c)
{
    c->counting = true;
}

void check_claims_end(struct check *c)
{
    c->counting = false;
    seen_free(&c->claims);
}

void check_watch(struct check *c, const struct uid *app, uint16_t slot)
{
    c->slot_watched = true;
    c->watched_app = *app;
    c->watched_slot = slot;
}

void check_watch_end(struct check *c)
{
    c->slot_watched = false;
}

uint64_t check_starts(const struct check *c)
{
    return c->w->total.starts - c->marked_starts;
}

void check_minority_begin(struct check *c, uint32_t side)
{
    struct seen *s, *next;
    HASH_ITER (hh, c->epochs, s, next) {
        struct claim_key key = s->key;
        key.host = 0;
        struct seen *ceiling = seen_add(&c->ceilings, &key);
        if (s->value > ceiling->value)
            ceiling->value = s->value;
    }
    c->watching = true;
    c->watched_side = side;
}

void check_minority_end(struct check *c)
{
    c->watching = false;
    seen_free(&c->ceilings);
}

/* ---- Healed and quiet -------------------------------------------------------------------------------- */

uint32_t check_instances(const struct world *w, const struct uid *app, uint16_t slot)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < w->host_count; i++)
        for (const struct guest *g = w->hosts[i].guests; g; g = g->next)
            n += g->state != GUEST_ENDED && uid_equal(&g->run.app, app) && g->run.slot == slot;
    return n;
}

struct settle {
    struct check *c;
    struct host *view;
    uint64_t expected; /* guests that should run */
    char text[256];
};

static bool says(const struct settle *s)
{
    return s->text[0] != '\0';
}

static bool fits_on(const struct host *h, const struct spec_body *spec)
{
    struct node_body n;
    enum target target;
    char why[REASON_SIZE];
    return h->engine && !h->gone && !engine_node(h->engine, h->use->node, &n) &&
           !placement_fits(spec, &n, &target, why, sizeof why) &&
           n.capacity_mib - n.used_mib >= placement_reserve_mib(spec, target);
}

static bool fits_somewhere(const struct world *w, const struct spec_body *spec)
{
    for (uint32_t i = 0; i < w->host_count && !(spec->net_count && w->scarce); i++)
        if (fits_on(&w->hosts[i], spec))
            return true;
    return false;
}

uint32_t check_nets_on(const struct check *c, const struct host *h)
{
    uint32_t n = 0;
    struct spec_body spec;
    for (const struct guest *g = h->guests; g; g = g->next)
        n += g->state != GUEST_ENDED && spec_of(h, &g->run.app, &spec) && spec.net_count > 0 &&
             fits_somewhere(c->w, &spec);
    return n;
}

static bool lost_image(const struct check *c, const struct uid *app, const struct spec_body *spec)
{
    for (uint32_t i = 0; i < c->w->host_count; i++)
        if (!c->w->hosts[i].gone && host_has_image(&c->w->hosts[i], &spec->images[0].image))
            return false;
    for (const struct kept *k = c->acknowledged; k; k = k->next)
        if (uid_equal(&k->app, app))
            return false;
    return true;
}

enum { EPOCHS_MOST = 100 /* that a slot of these worlds goes through: a third of it was seen */ };
/* One that has a volume runs where that is, and if that is gone it waits, or takes an empty one. */
static bool may_run(const struct settle *s, const struct unit_view *v, const struct spec_body *spec)
{
    const struct host *home = spec->block_count > 0 ? volume_home(s->c->w, s->view, &v->app, v->slot) : NULL;
    if (home && (!home->gone || spec->volume_lost == VOLUME_LOST_WAIT))
        return fits_on(home, spec) && !(spec->net_count && s->c->w->scarce);
    return fits_somewhere(s->c->w, spec);
}

static void unit_visit(void *ctx, const struct unit_view *v)
{
    struct settle *s = ctx;
    struct world *w = s->c->w;
    struct spec_body spec;
    if (says(s))
        return;
    const char *name = v->app_name;
    uint32_t instances = check_instances(w, &v->app, v->slot);
    enum unit_state state = v->body.state;
    if (v->body.epoch > EPOCHS_MOST)
        world_fail(w, "%s/%u is at epoch %llu: it is offered again and again", name, v->slot,
                   (unsigned long long)v->body.epoch);
    if (!v->winner && v->node) {
        const struct host *h = world_host_of(w, v->node);
        snprintf(s->text, sizeof s->text, "%s/%u: an overtaken one is still there: on host %d, %s at epoch %llu", name,
                 v->slot, h ? (int)h->index : -1, unit_state_text(state), (unsigned long long)v->body.epoch);
    } else if (state == UNIT_RUNNING) {
        s->expected++;
        if (instances != 1)
            snprintf(s->text, sizeof s->text, "%s/%u: %u instances of one that runs", name, v->slot,
                     instances);
    } else if (state == UNIT_PENDING) {
        if (spec_of(s->view, &v->app, &spec) && may_run(s, v, &spec) && !lost_image(s->c, &v->app, &spec))
            snprintf(s->text, sizeof s->text, "%s/%u is pending, and there is room: %s", name, v->slot,
                     v->body.reason);
    } else if (state == UNIT_FETCHING && spec_of(s->view, &v->app, &spec) && lost_image(s->c, &v->app, &spec)) {
        return; /* never acknowledged, and gone with the only host that had it */
    } else if (state != UNIT_DONE && state != UNIT_FAILED && (state != UNIT_STOPPED || v->node)) {
        snprintf(s->text, sizeof s->text, "%s/%u is still %s: %s", name, v->slot, unit_state_text(state),
                 v->body.reason);
    }
}

static void members_check(struct settle *s, const struct host *h)
{
    struct world *w = s->c->w;
    for (uint32_t i = 0; i < w->host_count; i++) {
        const struct host *other = &w->hosts[i];
        if (other == h)
            continue;
        const struct member *m = swim_find(engine_members(h->engine), other->use->node);
        bool should = !other->gone;
        bool is = m && m->state == MEMBER_ALIVE;
        if (should != is) {
            snprintf(s->text, sizeof s->text, "host %u holds host %u %s", h->index, i,
                     m ? member_state_text(m->state) : "unknown");
            return;
        }
    }
}

bool check_all_alive(struct check *c)
{
    struct settle s = {.c = c};
    for (uint32_t i = 0; i < c->w->host_count && !says(&s); i++)
        if (c->w->hosts[i].engine && !c->w->hosts[i].gone)
            members_check(&s, &c->w->hosts[i]);
    return !says(&s);
}

static void kept_check(struct settle *s)
{
    const struct check *c = s->c;
    for (const struct kept *k = c->acknowledged; k && !says(s); k = k->next) {
        struct spec_body spec;
        if (!deleted_at(s->view, &k->app) && (!spec_of(s->view, &k->app, &spec) || !keeps_spec(s->view, k, &spec)))
            snprintf(s->text, sizeof s->text, "an acknowledged deploy is lost");
    }
    for (const struct kept *k = c->removed; k && !says(s); k = k->next) {
        struct spec_body spec;
        if (!deleted_at(s->view, &k->app) || spec_of(s->view, &k->app, &spec))
            snprintf(s->text, sizeof s->text, "a removed app is back");
    }
}

/* Which one shouldn't run: for the one who reads the failure. */
static void stray_note(struct settle *s)
{
    for (uint32_t i = 0; i < s->c->w->host_count; i++) {
        const struct host *h = &s->c->w->hosts[i];
        for (const struct guest *g = h->guests; g; g = g->next) {
            struct unit_body u;
            struct spec_body spec;
            if (g->state == GUEST_ENDED || (claim_on_disk(h, &g->run, &u) && u.run == g->run.epoch && u.pid == g->pid))
                continue;
            char uid[UID_TEXT];
            uid_text(&g->run.app, uid);
            snprintf(s->text, sizeof s->text, "host %u runs %s/%u (run %llx) that its records don't tell of", i,
                     spec_of(s->view, &g->run.app, &spec) ? spec.name : uid, g->run.slot,
                     (unsigned long long)g->run.epoch);
            return;
        }
    }
}

/* No two guests have one address. */
static void addresses_check(struct settle *s)
{
    static const struct guest *owner[256]; /* of the subnet's last byte */
    memset(owner, 0, sizeof owner);
    for (uint32_t i = 0; i < s->c->w->host_count; i++) {
        for (const struct guest *g = s->c->w->hosts[i].guests; g && !says(s); g = g->next) {
            if (g->state == GUEST_ENDED || ip_is_zero(&g->ip))
                continue;
            const struct guest **o = &owner[g->ip.b[sizeof g->ip.b - 1]];
            if (*o)
                snprintf(s->text, sizeof s->text,
                         "two guests have the address 10.0.0.%u: %02x%02x/%u and %02x%02x/%u, the latter on host %u",
                         g->ip.b[sizeof g->ip.b - 1], (*o)->run.app.b[0], (*o)->run.app.b[1], (*o)->run.slot,
                         g->run.app.b[0], g->run.app.b[1], g->run.slot, i);
            *o = g;
        }
    }
}

static bool lets_in(const struct guest *g, const struct ip *ip)
{
    for (uint32_t i = 0; i < g->let_in_count; i++)
        if (ip_equal(&g->let_in[i], ip))
            return true;
    return false;
}

/* Who allows an app lets all of its guests in, wherever they are. */
static void access_check_one(struct settle *s, struct host *h, const struct guest *g)
{
    struct spec_body spec;
    struct uid app;
    if (g->state == GUEST_ENDED || !spec_of(h, &g->run.app, &spec) || spec.access.peer_count == 0 ||
        spec.net_count == 0 || engine_find_app(s->view->engine, spec.access.peers[0].name, &app))
        return;
    for (uint32_t i = 0; i < s->c->w->host_count; i++)
        for (const struct guest *o = s->c->w->hosts[i].guests; o && !says(s); o = o->next)
            if (o->state != GUEST_ENDED && uid_equal(&o->run.app, &app) && !ip_is_zero(&o->ip) && !lets_in(g, &o->ip))
                snprintf(s->text, sizeof s->text, "host %u: %s/%u doesn't let %s/%u in, whom it allows", h->index,
                         spec.name, g->run.slot, spec.access.peers[0].name, o->run.slot);
}

static void guests_access_check(struct settle *s)
{
    for (uint32_t i = 0; i < s->c->w->host_count && !says(s); i++)
        for (const struct guest *g = s->c->w->hosts[i].guests; g && !says(s); g = g->next)
            access_check_one(s, &s->c->w->hosts[i], g);
}

const char *check_settled(struct check *c)
{
    static struct settle s;
    struct world *w = c->w;
    s = (struct settle){.c = c};
    uint64_t guests = 0;
    for (uint32_t i = 0; i < w->host_count && !says(&s); i++) {
        struct host *h = &w->hosts[i];
        if (h->gone)
            continue;
        if (!h->engine) {
            snprintf(s.text, sizeof s.text, "host %u is down", i);
            continue;
        }
        struct node_body n;
        if (engine_node(h->engine, h->use->node, &n) || n.flags & NODE_DRAINING)
            snprintf(s.text, sizeof s.text, "host %u is still leaving", i);
        if (!s.view)
            s.view = h;
        if (says(&s))
            break;
        if (replica_root(engine_records(h->engine)) != replica_root(engine_records(s.view->engine)))
            snprintf(s.text, sizeof s.text, "hosts %u and %u hold different records", s.view->index, i);
        else
            members_check(&s, h);
        for (const struct guest *g = h->guests; g; g = g->next)
            guests += g->state != GUEST_ENDED;
    }
    if (!says(&s))
        engine_each_unit(s.view->engine, NULL, unit_visit, &s);
    if (!says(&s) && guests != s.expected)
        stray_note(&s);
    if (!says(&s) && guests != s.expected)
        snprintf(s.text, sizeof s.text, "%llu guests run, %llu should", (unsigned long long)guests,
                 (unsigned long long)s.expected);
    if (!says(&s))
        addresses_check(&s);
    if (!says(&s))
        guests_access_check(&s);
    if (!says(&s))
        kept_check(&s);
    return says(&s) ? s.text : NULL;
}
