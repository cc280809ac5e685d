/* Images and records get the copies they should have: the app's first notary asks nodes to keep them, and asks again
 * when a death took some. Owns in struct engine: copies_next_ms. */
#include "node/engine_internal.h"

enum {
    COPIES_RETRY_MS = 5000,
    KEEPERS_MAX = 16 /* nodes asked at a time to keep one app */
};

static bool holds_from(const struct engine *e, const struct spec_body *spec, uint32_t first, node_id node)
{
    for (uint32_t i = first; i < spec->image_count; i++) {
        const struct hash *image = &spec->images[i].image;
        if (node == e->crypto->node) {
            if (!engine_has_image(e, image))
                return false;
            continue;
        }
        const struct record_key key = record_key_holder(image, node);
        const struct entry *entry = replica_find(e->replica, &key);
        struct holder_body h;
        if (!entry || holder_body_decode(entry->record.body, &h) || !h.present)
            return false;
    }
    return true;
}

static bool holds_all(const struct engine *e, const struct spec_body *spec, node_id node)
{
    return holds_from(e, spec, 0, node);
}

struct copies {
    const struct engine *e;
    const struct spec_body *spec;
    uint32_t count, staying;
};

static void copy_visit(void *ctx, const struct entry *entry)
{
    struct copies *c = ctx;
    node_id node = record_key_owner(&entry->record.key);
    struct peer *q = node == c->e->crypto->node ? NULL : peer_find(c->e, node);
    struct holder_body h;
    if (!q || (q->flags & NODE_DRAINING) || !peer_is_live(c->e, q) || holder_body_decode(entry->record.body, &h) ||
        !h.present || !holds_from(c->e, c->spec, 1, node))
        return;
    c->count++;
    c->staying += peer_stays(c->e, node);
}

uint32_t copies_count(const struct engine *e, const struct app *a)
{
    struct spec_body spec;
    if (app_spec(e, a, &spec) || spec.image_count == 0)
        return 0;
    struct copies c = {.e = e, .spec = &spec};
    c.count = e->stopping == STOP_NOT && holds_all(e, &spec, e->crypto->node);
    replica_each_of_image(e->replica, &spec.images[0].image, copy_visit, &c);
    return c.count;
}

bool copies_elsewhere(const struct engine *e, const struct app *a)
{
    struct spec_body spec;
    struct copies c = {.e = e, .spec = &spec};
    if (app_spec(e, a, &spec))
        return false;
    if (spec.image_count > 0)
        replica_each_of_image(e->replica, &spec.images[0].image, copy_visit, &c);
    return c.staying > 0;
}

node_id copies_keeper(struct engine *e, const struct app *a, const node_id *not, uint32_t not_count)
{
    struct spec_body spec;
    if (app_spec(e, a, &spec))
        return 0;
    uint64_t key = placement_key(spec.affinity[0] ? spec.affinity : spec.name);
    node_id best = 0;
    uint64_t best_score = UINT64_MAX;
    for (struct peer *q = e->peers; q; q = q->hh.next) {
        bool skip = !peer_is_alive(e, q) || (q->flags & (NODE_READ_ONLY | NODE_DRAINING | NODE_LEFT)) ||
                    holds_all(e, &spec, q->node);
        for (uint32_t i = 0; i < not_count; i++)
            skip |= not[i] == q->node;
        uint64_t score = skip ? UINT64_MAX : placement_score(key, q->node, 1);
        if (!skip && (best == 0 || score < best_score || (score == best_score && q->node < best))) {
            best = q->node;
            best_score = score;
        }
    }
    bool self = !holds_all(e, &spec, e->crypto->node);
    for (uint32_t i = 0; i < not_count; i++)
        self &= not[i] != e->crypto->node;
    if (self && (best == 0 || placement_score(key, e->crypto->node, 1) < best_score))
        best = e->crypto->node;
    return best;
}

/* Those that were asked to keep the app and haven't answered; *hopeful: so many of them may yet. */
static uint32_t keepers_asked(const struct engine *e, const struct uid *app, node_id out[static KEEPERS_MAX],
                              uint32_t *hopeful)
{
    uint32_t n = 0;
    *hopeful = 0;
    for (size_t i = 0; i < CALLS_MAX && n < KEEPERS_MAX; i++) {
        const struct out_call *c = &e->calls[i];
        if (!c->id || c->purpose != PURPOSE_KEEP_COPY || !uid_equal(&c->app, app))
            continue;
        *hopeful += peer_alive(e, c->node) && e->now < c->at_ms + KEEP_HEDGE_MS;
        out[n++] = c->node;
    }
    return n;
}

static void copies_make(struct engine *e, struct app *a, uint32_t missing)
{
    node_id asked[KEEPERS_MAX];
    uint32_t hopeful, n = keepers_asked(e, &a->uid, asked, &hopeful);
    for (; hopeful < missing && n < KEEPERS_MAX; hopeful++) {
        node_id keeper = copies_keeper(e, a, asked, n);
        if (keeper == e->crypto->node)
            units_keep(e, a);
        else if (!keeper || !sync_keep(e, keeper, &a->uid, NULL, PURPOSE_KEEP_COPY, 0))
            return;
        asked[n++] = keeper;
    }
}

void copies_tick(struct engine *e)
{
    if (!e->copies_next_ms || e->now < e->copies_next_ms)
        return;
    e->copies_next_ms = 0;
    uint32_t live = peers_live_count(e);
    uint32_t need = e->cfg.copies < live ? e->cfg.copies : live;
    for (struct app *a = e->apps; a; a = a->hh.next) {
        if (!a->has_spec || a->deleted || a->shadowed || planner_rank(e, a) != 0)
            continue;
        uint32_t copies = copies_count(e, a);
        if (copies >= need)
            continue;
        e->copies_next_ms = e->now + COPIES_RETRY_MS;
        copies_make(e, a, need - copies);
    }
}

void copies_soon(struct engine *e)
{
    if (!e->copies_next_ms)
        e->copies_next_ms = e->now + COPIES_CHECK_MS;
}
