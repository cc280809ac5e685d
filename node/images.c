/* Images on this host: wanted, on their way, here; and the holder records that say so. */
#include "node/engine_internal.h"
#include "store/base/list.h"

#include <stdio.h>
#include <string.h>

enum { IMAGE_RETRY_MIN_MS = 500, IMAGE_RETRY_MAX_MS = 30000 };

struct image *image_find(const struct engine *e, const struct hash *h)
{
    struct image *im;
    HASH_FIND(hh, e->images, h, sizeof *h, im);
    return im;
}

struct image *image_add(struct engine *e, const struct hash *h)
{
    struct image *im = image_find(e, h);
    if (im)
        return im;
    struct mem *mem = e->mem;
    im = mem_alloc(mem, sizeof *im);
    if (!im)
        return NULL;
    im->hash = *h;
    HASH_ADD(hh, e->images, hash, sizeof im->hash, im);
    if (!im->hh.tbl) {
        mem_free(mem, im);
        return NULL;
    }
    return im;
}

static void missing_add(struct engine *e, struct image *im)
{
    DL_PREPEND2(e->images_missing, im, missing_prev, missing_next);
}

static void missing_remove(struct engine *e, struct image *im)
{
    DL_DELETE2(e->images_missing, im, missing_prev, missing_next);
}

struct sources {
    const struct engine *e;
    struct rng *rng;
    node_id chosen;
    uint32_t seen;
};

/* One of the live holders, at random: a bad one isn't asked twice in a row for long. */
static void source_visit(void *ctx, const struct entry *entry)
{
    struct sources *s = ctx;
    node_id node = record_key_owner(&entry->record.key);
    struct holder_body body;
    if (node == s->e->crypto->node || !peer_alive(s->e, node) || holder_body_decode(entry->record.body, &body) ||
        !body.present)
        return;
    if (rng_below(s->rng, ++s->seen) == 0)
        s->chosen = node;
}

static void fetch(struct engine *e, struct image *im, uint64_t size_bytes, node_id hint)
{
    struct sources s = {.e = e, .rng = &e->rng};
    replica_each_of_image(e->replica, &im->hash, source_visit, &s);
    if (hint && hint != e->crypto->node && im->tries % 2 == 0)
        s.chosen = hint; /* who asked us has it, and said so before its record came */
    const struct member *m = s.chosen ? swim_find(e->swim, s.chosen) : NULL;
    if (!m) {
        im->next_ms = e->now + NEVER_RETRY_MS;
        snprintf(im->reason, sizeof im->reason, "no live node has the image");
        return;
    }
    struct effect *f = effects_add(e->fx, EFFECT_IMAGE_FETCH);
    f->image = im->hash;
    f->peer = m->node;
    f->address = m->address;
    f->size_bytes = size_bytes;
    im->fetching = true;
}

bool units_want_image(struct engine *e, const struct hash *image, uint64_t size, node_id hint)
{
    struct image *im = image_add(e, image);
    if (!im)
        return false;
    if (im->have)
        return true;
    if (!im->wanted)
        missing_add(e, im);
    im->wanted = true;
    if (hint)
        im->hint = hint;
    if (!im->fetching && e->now >= im->next_ms)
        fetch(e, im, size, im->hint);
    return false;
}

void units_keep(struct engine *e, const struct app *a)
{
    struct spec_body spec;
    if (app_spec(e, a, &spec))
        return;
    for (uint32_t i = 0; i < spec.image_count; i++)
        (void)units_want_image(e, &spec.images[i].image, spec.images[i].size_bytes, 0);
}

void images_publish(struct engine *e, const struct image *im)
{
    uint8_t buffer[64];
    struct pack k;
    pack_init(&k, buffer, sizeof buffer);
    const struct holder_body h = {.present = im->have, .size_bytes = im->size_bytes};
    const struct record_key key = record_key_holder(&im->hash, e->crypto->node);
    uint64_t seq;
    enum err err = holder_body_encode(&h, &k);
    if (!err)
        err = records_publish(e, &key, (struct slice){.p = buffer, .len = k.len}, &seq);
    if (err)
        effects_log(e->fx, LOG_WARN, "image.unpublished", "err=%s", err_name(err));
}

/* Said to be here in an earlier life: if the disk no longer has it, images_announce takes that back. */
static void own_holder_visit(void *ctx, const struct entry *entry)
{
    struct engine *e = ctx;
    const struct hash image = record_key_image(&entry->record.key);
    if (record_key_owner(&entry->record.key) == e->crypto->node)
        (void)image_add(e, &image);
}

/* What our disk holds and the records don't say, and the other way round: after the start. */
void images_announce(struct engine *e)
{
    replica_each(e->replica, RECORD_HOLDER, own_holder_visit, e);
    for (struct image *im = e->images; im && effects_room(e->fx, RECORD_BYTES_MAX); im = im->hh.next) {
        const struct record_key key = record_key_holder(&im->hash, e->crypto->node);
        const struct entry *entry = replica_find(e->replica, &key);
        struct holder_body h = {0};
        if (entry && holder_body_decode(entry->record.body, &h))
            h.present = 0;
        if ((h.present != 0) != im->have)
            images_publish(e, im);
    }
}

const char *images_failed(const struct engine *e, const struct spec_body *spec)
{
    for (uint32_t i = 0; i < spec->image_count; i++) {
        const struct image *im = image_find(e, &spec->images[i].image);
        if (im && !im->have && im->tries >= IMAGE_TRIES)
            return im->reason;
    }
    return NULL;
}

/* What units were passed on for want of is here: the reason not to take them back is gone. */
static void fault_over(struct engine *e, const struct hash *image)
{
    e->faults_ms = 0;
    for (struct app *a = e->apps; a; a = a->hh.next) {
        struct spec_body spec;
        if (!a->fault_until_ms || app_spec(e, a, &spec))
            continue;
        for (uint32_t i = 0; i < spec.image_count; i++)
            if (hash_equal(&spec.images[i].image, image))
                a->fault_until_ms = e->now; /* units_tick does the rest */
    }
}

void units_on_image(struct engine *e, const struct event *ev)
{
    struct image *im = image_add(e, &ev->image);
    if (!im)
        return;
    im->fetching = false;
    if (!ev->err) {
        if (im->wanted && !im->have)
            missing_remove(e, im);
        im->have = true;
        if (im->tries >= IMAGE_TRIES)
            fault_over(e, &im->hash);
        im->tries = 0;
        im->next_ms = 0;
        if (ev->size_bytes)
            im->size_bytes = ev->size_bytes;
        images_publish(e, im);
    } else if (im->have) { /* its copy was damaged, and went */
        im->have = false;
        if (im->wanted)
            missing_add(e, im);
        images_publish(e, im);
        effects_log(e->fx, LOG_WARN, "image.lost", "err=%s why=\"%s\"", err_name(ev->err), ev->text);
    } else {
        uint64_t wait = IMAGE_RETRY_MIN_MS;
        for (uint32_t i = 0; i < im->tries && wait < IMAGE_RETRY_MAX_MS; i++)
            wait *= 2;
        im->tries++;
        im->next_ms = e->now + min_u64(wait, IMAGE_RETRY_MAX_MS);
        snprintf(im->reason, sizeof im->reason, "the image could not be had: %.90s",
                 ev->text && ev->text[0] ? ev->text : err_text(ev->err));
        effects_log(e->fx, LOG_WARN, "image.failed", "err=%s why=\"%s\"", err_name(ev->err),
                    im->reason);
    }
    sync_keeps_check(e);
    units_dirty(e);
}

/* Drop ours, on an operator's word: refused by commands.c where an app needs it. */
void images_drop(struct engine *e, struct image *im)
{
    im->have = im->wanted = false;
    struct effect *f = effects_add(e->fx, EFFECT_IMAGE_DROP);
    f->image = im->hash;
    images_publish(e, im);
}

void images_tick(struct engine *e)
{
    const struct image *im;
    DL_FOREACH2(e->images_missing, im, missing_next)
        if (!im->fetching && im->next_ms > e->now)
            e->units_next_ms = min_u64(e->units_next_ms, im->next_ms);
}

void engine_image(struct engine *e, const struct hash *image, uint64_t size_bytes)
{
    struct image *im = image_add(e, image);
    if (!im)
        return;
    im->have = true;
    im->size_bytes = size_bytes;
}

bool engine_has_image(const struct engine *e, const struct hash *image)
{
    const struct image *im = image_find(e, image);
    return im && im->have;
}
