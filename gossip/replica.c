/* One hash table of items by key; beside it, lists by kind, by app and by image, buckets' digests, a queue of what to
 * tell, and a memory of signatures that verified. */
#define UNIMESH_UTHASH
#include "gossip/replica.h"

#include "gossip/entry_table.h"
#include "gossip/limits.h"
#include "store/base/bytes.h"

#include <stddef.h>
#include <string.h>

enum {
    VERIFIED_SIZE = 1024, /* hashes of records whose signature verified; a power of two */
    SEEN_SIZE = 2048,     /* marks of records that came lately; a power of two */
    HLC_BITS = 16,
    TELL_SCAN_MAX = 16,   /* items looked at for one packet */
    TELL_ROOM_MIN = 112   /* less than this fits no announcement, and hardly a record */
};

struct item {
    struct item *news_prev, *news_next; /* in the queue of its `told` */
    bool news;
    uint8_t told;
    uint32_t packet; /* the last one that it went out on */
    uint32_t bucket;
    uint8_t *bytes;
    size_t size; /* of bytes: what a version before may have needed */
    struct item *kind_prev, *kind_next;
    struct item *group_prev, *group_next;
    struct item *bucket_prev, *bucket_next;
    struct entry entry;
};

struct group { /* the records of one app, or the holders of images whose hashes begin alike */
    struct uid uid;
    struct item *first;
    UT_hash_handle hh;
};

struct removed {
    struct record_key key;
    struct removed *next;
};

struct replica {
    struct mem *mem;
    const struct crypto *crypto;
    struct replica_config cfg;
    struct entry_table table;
    struct item *kinds[RECORD_KIND_END];
    struct group *apps, *images;
    struct item *buckets[REPLICA_BUCKETS];
    uint64_t digests[REPLICA_BUCKETS];
    uint64_t root;
    struct item *news_first[TOLD_MAX + 1], *news_last[TOLD_MAX + 1];
    uint32_t news_count;
    uint32_t packet;
    struct removed *removed;
    uint64_t clock;
    struct hash verified[VERIFIED_SIZE];
    struct mark {
        uint64_t low, high;
    } seen[SEEN_SIZE];
};

struct replica_config replica_config_default(void)
{
    return (struct replica_config){
        .records_max = 200000, .retransmit_mult = 4, .skew_max_ms = 60000};
}

enum err replica_new(struct replica **out, struct mem *mem, const struct crypto *crypto,
                     const struct replica_config *cfg)
{
    struct replica *r = mem_alloc(mem, sizeof *r);
    if (!r)
        return ERR_NOMEM;
    r->mem = mem;
    r->crypto = crypto;
    r->cfg = *cfg;
    *out = r;
    return ERR_OK;
}

/* ---- Lists ---------------------------------------------------------------------------------------- */

#define LIST_ADD(head, x, prev, next)                                                              \
    do {                                                                                           \
        (x)->prev = NULL;                                                                          \
        (x)->next = (head);                                                                        \
        if (head)                                                                                  \
            (head)->prev = (x);                                                                    \
        (head) = (x);                                                                              \
    } while (0)
#define LIST_REMOVE(head, x, prev, next)                                                           \
    do {                                                                                           \
        if ((x)->prev)                                                                             \
            (x)->prev->next = (x)->next;                                                           \
        else                                                                                       \
            (head) = (x)->next;                                                                    \
        if ((x)->next)                                                                             \
            (x)->next->prev = (x)->prev;                                                           \
        (x)->prev = (x)->next = NULL;                                                              \
    } while (0)

static bool of_app(const struct record_key *k)
{
    return k->kind != RECORD_NODE && k->kind != RECORD_HOLDER;
}

static bool grouped(const struct record_key *k)
{
    return k->kind != RECORD_NODE;
}

static struct group **groups_of(struct replica *r, const struct record_key *k)
{
    return k->kind == RECORD_HOLDER ? &r->images : &r->apps;
}

/* What a key begins with: an app's uid, or half of an image's hash. */
static struct uid group_uid(const struct record_key *k)
{
    struct uid uid;
    memcpy(uid.b, k->b, sizeof uid.b);
    return uid;
}

static struct group *group_find(struct group *head, const struct uid *uid)
{
    struct group *g;
    HASH_FIND(hh, head, uid, sizeof *uid, g);
    return g;
}

static struct group *group_add(struct replica *r, const struct record_key *key)
{
    struct mem *mem = r->mem;
    struct group **head = groups_of(r, key);
    const struct uid uid = group_uid(key);
    struct group *g = group_find(*head, &uid);
    if (g)
        return g;
    g = mem_alloc(mem, sizeof *g);
    if (!g)
        return NULL;
    g->uid = uid;
    HASH_ADD(hh, *head, uid, sizeof g->uid, g);
    if (!g->hh.tbl) {
        mem_free(mem, g);
        return NULL;
    }
    return g;
}

static void group_tidy(struct replica *r, const struct record_key *key, struct group *g)
{
    struct mem *mem = r->mem;
    struct group **head = groups_of(r, key);
    if (g->first)
        return;
    HASH_DEL(*head, g);
    mem_free(mem, g);
}

/* FNV-1a over the key's bytes: the same bucket everywhere. */
static unsigned bucket_of(const struct record_key *k)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325) ^ k->kind;
    for (unsigned i = 0; i < k->len; i++)
        h = (h ^ k->b[i]) * UINT64_C(0x100000001b3);
    return (unsigned)(mix64(h) % REPLICA_BUCKETS);
}

static uint64_t hash_word(const struct hash *h)
{
    return bytes_get64(h->b);
}

/* What a bucket adds to the root: nothing while it is empty. */
static uint64_t root_share(const struct replica *r, unsigned bucket)
{
    uint64_t salt = (bucket + 1) * UINT64_C(0x9e3779b97f4a7c15);
    return mix64(r->digests[bucket] ^ salt) - mix64(salt);
}

static void digest_flip(struct replica *r, const struct item *it)
{
    r->root -= root_share(r, it->bucket);
    r->digests[it->bucket] ^= hash_word(&it->entry.hash);
    r->root += root_share(r, it->bucket);
}

static struct item *item_find(const struct replica *r, const struct record_key *key)
{
    struct entry *e = entry_table_find(&r->table, key);
    return e ? (struct item *)((char *)e - offsetof(struct item, entry)) : NULL;
}

/* ---- What to tell: a queue for each number of times that it was told ------------------------------- */

static void news_remove(struct replica *r, struct item *it)
{
    if (!it->news)
        return;
    if (it->news_prev)
        it->news_prev->news_next = it->news_next;
    else
        r->news_first[it->told] = it->news_next;
    if (it->news_next)
        it->news_next->news_prev = it->news_prev;
    else
        r->news_last[it->told] = it->news_prev;
    it->news_prev = it->news_next = NULL;
    it->news = false;
    r->news_count--;
}

static void news_add(struct replica *r, struct item *it, uint32_t told)
{
    news_remove(r, it);
    it->news = true;
    it->told = (uint8_t)told;
    it->news_prev = r->news_last[told];
    it->news_next = NULL;
    if (it->news_prev)
        it->news_prev->news_next = it;
    else
        r->news_first[told] = it;
    r->news_last[told] = it;
    r->news_count++;
}

bool replica_has_news(const struct replica *r)
{
    return r->news_count > 0;
}

void replica_spread(struct replica *r, const struct record_key *key)
{
    struct item *it = item_find(r, key);
    if (!it)
        return;
    it->entry.held = false;
    news_add(r, it, 0);
}

static void announce(const struct item *it, struct pack *k)
{
    const struct record *rec = &it->entry.record;
    pack_array(k, 6);
    pack_uint(k, 2);
    pack_uint(k, rec->key.kind);
    pack_bin(k, rec->key.b, rec->key.len);
    pack_uint(k, rec->version.clock);
    pack_uint(k, rec->version.author);
    pack_bin(k, it->entry.hash.b, sizeof it->entry.hash.b);
}

bool replica_item_encode(const struct entry *e, struct pack *k)
{
    if (e->record.bytes.len > REPLICA_INLINE_MAX)
        return false;
    pack_array(k, 2);
    pack_uint(k, 1);
    pack_bin(k, e->record.bytes.p, e->record.bytes.len);
    return !pack_end(k);
}

static bool tell(const struct item *it, struct pack *k, size_t room)
{
    struct pack part;
    size_t len = it->entry.record.bytes.len;
    if (len <= REPLICA_INLINE_MAX && len > room)
        return false;
    pack_init(&part, k->p + k->len, room < k->size - k->len ? room : k->size - k->len);
    if (!replica_item_encode(&it->entry, &part) && !part.err)
        announce(it, &part);
    if (pack_end(&part))
        return false;
    k->len += part.len;
    return true;
}

uint32_t replica_piggyback(struct replica *r, uint32_t members, struct pack *k, size_t room)
{
    uint32_t limit = told_limit(r->cfg.retransmit_mult, members), count = 0, looked = 0;
    size_t from = k->len;
    r->packet++;
    for (uint32_t told = 0; told < limit && told <= TOLD_MAX; told++) {
        struct item *next;
        for (struct item *it = r->news_first[told]; it && looked < TELL_SCAN_MAX; it = next) {
            size_t left = room - (k->len - from);
            if (left < TELL_ROOM_MIN)
                return count;
            next = it->news_next;
            looked++;
            if (it->packet == r->packet || !tell(it, k, left))
                continue;
            count++;
            it->packet = r->packet;
            if (told + 1 >= limit)
                news_remove(r, it);
            else
                news_add(r, it, told + 1);
        }
    }
    return count;
}

/* ---- Items ---------------------------------------------------------------------------------------- */

static void item_remove(struct replica *r, struct item *it)
{
    struct mem *mem = r->mem;
    const struct record_key key = it->entry.record.key;
    digest_flip(r, it);
    news_remove(r, it);
    LIST_REMOVE(r->kinds[key.kind], it, kind_prev, kind_next);
    LIST_REMOVE(r->buckets[it->bucket], it, bucket_prev, bucket_next);
    if (grouped(&key)) {
        const struct uid uid = group_uid(&key);
        struct group *g = group_find(*groups_of(r, &key), &uid);
        LIST_REMOVE(g->first, it, group_prev, group_next);
        group_tidy(r, &key, g);
    }
    entry_table_remove(&r->table, &key);
    mem_free(mem, it->bytes);
    mem_free(mem, it);
}

void replica_free(struct replica *r)
{
    if (!r)
        return;
    struct mem *mem = r->mem;
    for (int kind = 0; kind < RECORD_KIND_END; kind++)
        while (r->kinds[kind])
            item_remove(r, r->kinds[kind]);
    while (r->removed) {
        struct removed *x = r->removed;
        r->removed = x->next;
        mem_free(mem, x);
    }
    entry_table_release(&r->table, mem);
    mem_free(mem, r);
}

/* `rec` was decoded from `from`; now it is of the same bytes at `to`. */
static void record_moved(struct record *rec, const uint8_t *from, const uint8_t *to)
{
    rec->body.p = to + (rec->body.p - from);
    rec->signed_bytes.p = to + (rec->signed_bytes.p - from);
    rec->bytes.p = to;
}

/* An item that is in no list yet, with its own copy of the bytes. */
static enum err item_new(struct replica *r, const struct record *rec, const struct hash *h,
                         struct item **out)
{
    struct mem *mem = r->mem;
    struct item *it = mem_alloc(mem, sizeof *it);
    if (!it)
        return ERR_NOMEM;
    it->bytes = mem_copy(mem, rec->bytes.p, rec->bytes.len);
    if (!it->bytes) {
        mem_free(mem, it);
        return ERR_NOMEM;
    }
    it->size = rec->bytes.len;
    it->entry.record = *rec;
    record_moved(&it->entry.record, rec->bytes.p, it->bytes);
    it->entry.hash = *h;
    it->bucket = bucket_of(&rec->key);
    *out = it;
    return ERR_OK;
}

static enum err item_insert(struct replica *r, struct item *it)
{
    const struct record_key *key = &it->entry.record.key;
    struct group *g = grouped(key) ? group_add(r, key) : NULL;
    if (grouped(key) && !g)
        return ERR_NOMEM;
    if (!entry_table_room(&r->table, r->mem)) { /* the last that can fail, so that a failure leaves nothing grown */
        if (g)
            group_tidy(r, key, g);
        return ERR_NOMEM;
    }
    entry_table_put(&r->table, &it->entry);
    if (g)
        LIST_ADD(g->first, it, group_prev, group_next);
    LIST_ADD(r->kinds[key->kind], it, kind_prev, kind_next);
    LIST_ADD(r->buckets[it->bucket], it, bucket_prev, bucket_next);
    digest_flip(r, it);
    return ERR_OK;
}

/* Room for `len` bytes, so that item_replace can't fail; what is held moves there. */
static enum err item_room(struct replica *r, struct item *held, size_t len)
{
    if (len <= held->size)
        return ERR_OK;
    uint8_t *grown = mem_alloc(r->mem, len);
    if (!grown)
        return ERR_NOMEM;
    memcpy(grown, held->bytes, held->entry.record.bytes.len);
    record_moved(&held->entry.record, held->bytes, grown);
    mem_free(r->mem, held->bytes);
    held->bytes = grown;
    held->size = len;
    return ERR_OK;
}

/* The new version takes the old one's place in every list, and its memory. */
static void item_replace(struct replica *r, struct item *held, const struct record *rec, const struct hash *h)
{
    digest_flip(r, held);
    memcpy(held->bytes, rec->bytes.p, rec->bytes.len);
    held->entry.record = *rec;
    record_moved(&held->entry.record, rec->bytes.p, held->bytes);
    held->entry.hash = *h;
    digest_flip(r, held);
}

/* ---- Merging --------------------------------------------------------------------------------------- */

static int copy_compare(const struct record *a, const struct hash *ah, const struct record *b,
                        const struct hash *bh)
{
    int order = version_compare(a->version, b->version);
    return order ? order : memcmp(ah, bh, sizeof *ah);
}

/* Older, or the very same: most of what an exchange brings. A spec that lost is looked at more closely. */
static bool plainly_stale(const struct record *rec, const struct record *held)
{
    int order = version_compare(rec->version, held->version);
    return (order < 0 && rec->key.kind != RECORD_SPEC) ||
           (order == 0 && rec->bytes.len == held->bytes.len &&
            memcmp(rec->bytes.p, held->bytes.p, held->bytes.len) == 0);
}

static bool hybrid(uint8_t kind)
{
    return kind == RECORD_SPEC || kind == RECORD_REPLICAS || kind == RECORD_WANTED ||
           kind == RECORD_DELETED || kind == RECORD_HISTORY;
}

static enum err signature_check(struct replica *r, const struct record *rec, const struct hash *h)
{
    struct hash *seen = &r->verified[hash_word(h) % VERIFIED_SIZE];
    if (hash_equal(seen, h))
        return ERR_OK;
    if (crypto_node_id(r->crypto, rec->author_key) != rec->version.author)
        return ERR_AUTH;
    enum err err = r->crypto->verify(r->crypto->ctx, rec->author_key, RECORD_LABEL, rec->signed_bytes.p,
                                     rec->signed_bytes.len, rec->signature);
    if (!err)
        *seen = *h;
    return err;
}

/* Two Ed25519 keys of one id: the first seen is the one. */
static bool key_pinned_otherwise(const struct replica *r, const struct record *rec)
{
    const struct record_key key = record_key_node(rec->version.author);
    const struct item *it = item_find(r, &key);
    return it && memcmp(it->entry.record.author_key, rec->author_key, PUBLIC_KEY_SIZE) != 0;
}

/* What is on our own disk already passed a clock once: a host that starts with a wrong one loses nothing. */
static enum err checked(struct replica *r, const struct record *rec, const struct hash *h,
                        uint64_t wall_ms, enum replica_spread spread)
{
    enum err err = body_check(rec);
    if (err)
        return err;
    if (spread == REPLICA_SPREAD && hybrid(rec->key.kind) &&
        hlc_wall_ms(rec->version.clock) > wall_ms + r->cfg.skew_max_ms)
        return ERR_CLOCK;
    if (key_pinned_otherwise(r, rec))
        return ERR_AUTH;
    return signature_check(r, rec, h);
}

static bool app_deleted(const struct replica *r, const struct record_key *key)
{
    if (!of_app(key) || key->kind == RECORD_DELETED)
        return false;
    const struct uid uid = record_key_uid(key);
    const struct record_key deleted = record_key_app(RECORD_DELETED, &uid);
    return item_find(r, &deleted) != NULL;
}

static void removals_drop(struct replica *r, struct removed *list)
{
    while (list) {
        struct removed *x = list;
        list = x->next;
        mem_free(r->mem, x);
    }
}

/* Memory for noting every record of the app that goes, taken before anything changes. */
static enum err removals_reserve(struct replica *r, const struct group *a, struct removed **out)
{
    struct mem *mem = r->mem;
    struct removed *list = NULL;
    for (const struct item *it = a ? a->first : NULL; it; it = it->group_next) {
        if (it->entry.record.key.kind == RECORD_DELETED)
            continue;
        struct removed *x = mem_alloc(mem, sizeof *x);
        if (!x) {
            removals_drop(r, list);
            return ERR_NOMEM;
        }
        x->key = it->entry.record.key;
        x->next = list;
        list = x;
    }
    *out = list;
    return ERR_OK;
}

static void removals_do(struct replica *r, struct removed *list)
{
    while (list) {
        struct removed *x = list;
        list = x->next;
        struct item *it = item_find(r, &x->key);
        if (it)
            item_remove(r, it);
        x->next = r->removed;
        r->removed = x;
    }
}

bool replica_removed_next(struct replica *r, struct record_key *out)
{
    struct mem *mem = r->mem;
    struct removed *x = r->removed;
    if (!x)
        return false;
    *out = x->key;
    r->removed = x->next;
    mem_free(mem, x);
    return true;
}

/* Written over another than the one that it meets: neither knew of the other. */
static bool concurrent(const struct record *a, const struct record *b)
{
    struct spec_body sa, sb;
    if (spec_body_decode(a->body, &sa) || spec_body_decode(b->body, &sb))
        return false;
    const struct record *later = version_compare(a->version, b->version) > 0 ? a : b;
    const struct record *earlier = later == a ? b : a;
    const struct spec_body *s = later == a ? &sa : &sb;
    return version_compare(s->parent, earlier->version) < 0 && (s->parent.clock != 0 || s->revision == 1);
}

/* Keep a spec that lost as history. What can't be kept for want of memory is not worth refusing the winner for. */
static void history_keep(struct replica *r, const struct record *lost, enum replica_spread spread,
                         struct merged *out)
{
    uint8_t bytes[RECORD_BYTES_MAX];
    struct pack k;
    struct record rec;
    struct hash h;
    struct item *it;
    pack_init(&k, bytes, sizeof bytes);
    if (record_history_encode(lost, &k) || record_decode(bytes, k.len, &rec) ||
        item_find(r, &rec.key) || r->table.count >= r->cfg.records_max)
        return;
    r->crypto->hash(bytes, k.len, &h);
    if (item_new(r, &rec, &h, &it))
        return;
    if (item_insert(r, it)) {
        mem_free(r->mem, it->bytes);
        mem_free(r->mem, it);
        return;
    }
    it->entry.held = spread == REPLICA_HELD;
    if (spread == REPLICA_SPREAD)
        news_add(r, it, 0);
    out->conflict = true;
    out->history = rec.key;
}

/* News comes a dozen times over. What came lately is known by the end of its signature, before it is decoded: whoever
 * makes another record with the same end gains nothing but that this one isn't passed on. The first bytes tell a spec
 * from its history, which carries the same signature. */
static struct mark mark_of(const uint8_t *bytes, size_t len)
{
    struct mark m;
    memcpy(&m.low, bytes + len - 16, 8);
    memcpy(&m.high, bytes + len - 8, 8);
    m.high ^= (uint64_t)len << 8 | bytes[1];
    return m;
}

static bool seen_before(const struct replica *r, const struct mark *m)
{
    const struct mark *seen = &r->seen[mix64(m->low) % SEEN_SIZE];
    return seen->low == m->low && seen->high == m->high;
}

static void clock_see(struct replica *r, const struct record *rec)
{
    if (hybrid(rec->key.kind) && rec->version.clock > r->clock)
        r->clock = rec->version.clock;
}

/* A tombstone of what we hold makes room: it is never refused. */
static bool full(const struct replica *r, const struct record_key *key)
{
    if (r->table.count < r->cfg.records_max)
        return false;
    const struct uid uid = record_key_uid(key);
    return key->kind != RECORD_DELETED || !group_find(r->apps, &uid);
}

/* A copy that loses: nothing to do, unless it is a spec that was written beside ours. */
static enum err merge_stale(struct replica *r, const struct record *rec, const struct item *held,
                            const struct hash *h, uint64_t wall_ms, enum replica_spread spread,
                            struct merged *out)
{
    if (rec->key.kind != RECORD_SPEC || hash_equal(h, &held->entry.hash) ||
        !concurrent(rec, &held->entry.record) || checked(r, rec, h, wall_ms, spread))
        return ERR_STALE;
    history_keep(r, rec, spread, out);
    if (!out->conflict)
        return ERR_STALE;
    out->entry = &held->entry;
    out->how = MERGED_NEWER;
    return ERR_OK;
}

/* One whose key is new here. On error nothing changed. */
static enum err merge_new(struct replica *r, const struct record *rec, const struct hash *h, struct item **now)
{
    struct removed *removals = NULL;
    enum err err = item_new(r, rec, h, now);
    if (err)
        return err;
    if (rec->key.kind == RECORD_DELETED) {
        const struct uid uid = record_key_uid(&rec->key);
        err = removals_reserve(r, group_find(r->apps, &uid), &removals);
    }
    if (!err)
        err = item_insert(r, *now);
    if (!err) {
        removals_do(r, removals);
        return ERR_OK;
    }
    removals_drop(r, removals);
    mem_free(r->mem, (*now)->bytes);
    mem_free(r->mem, *now);
    return err;
}

static enum err merge(struct replica *r, const void *bytes, size_t len, uint64_t wall_ms,
                      enum replica_spread spread, struct merged *out)
{
    struct record rec;
    struct hash h;
    enum err err = record_decode(bytes, len, &rec);
    if (err)
        return err;
    struct item *held = item_find(r, &rec.key), *now = held;
    if (held && plainly_stale(&rec, &held->entry.record))
        return ERR_STALE;
    r->crypto->hash(bytes, len, &h);
    if (held && copy_compare(&rec, &h, &held->entry.record, &held->entry.hash) <= 0)
        return merge_stale(r, &rec, held, &h, wall_ms, spread, out);
    if (app_deleted(r, &rec.key))
        return ERR_STALE;
    if (!held && full(r, &rec.key))
        return ERR_FULL;
    err = checked(r, &rec, &h, wall_ms, spread);
    if (!err)
        err = held ? item_room(r, held, len) : merge_new(r, &rec, &h, &now);
    if (err)
        return err;
    clock_see(r, &rec);
    if (held && rec.key.kind == RECORD_SPEC && concurrent(&rec, &held->entry.record))
        history_keep(r, &held->entry.record, held->entry.held ? REPLICA_HELD : spread, out);
    if (held)
        item_replace(r, held, &rec, &h);
    now->entry.held = spread == REPLICA_HELD;
    if (spread == REPLICA_SPREAD)
        news_add(r, now, 0);
    else
        news_remove(r, now);
    out->entry = &now->entry;
    out->how = held ? MERGED_NEWER : MERGED_NEW;
    out->removed_app = rec.key.kind == RECORD_DELETED;
    return ERR_OK;
}

enum err replica_merge(struct replica *r, const void *bytes, size_t len, uint64_t wall_ms,
                       enum replica_spread spread, struct merged *out)
{
    *out = (struct merged){0};
    if (spread != REPLICA_SPREAD || len < SIGNATURE_SIZE)
        return merge(r, bytes, len, wall_ms, spread, out);
    const struct mark m = mark_of(bytes, len);
    if (seen_before(r, &m))
        return ERR_STALE;
    enum err err = merge(r, bytes, len, wall_ms, spread, out);
    if (!err || err == ERR_STALE)
        r->seen[mix64(m.low) % SEEN_SIZE] = m;
    return err;
}

void replica_drop(struct replica *r, const struct record_key *key)
{
    struct item *it = item_find(r, key);
    if (!it)
        return;
    memset(r->seen, 0, sizeof r->seen); /* should it come again, it is new; so is what was stale beside it alone */
    item_remove(r, it);
}

/* ---- Reading --------------------------------------------------------------------------------------- */

const struct entry *replica_find(const struct replica *r, const struct record_key *key)
{
    const struct item *it = item_find(r, key);
    return it ? &it->entry : NULL;
}

void replica_each(const struct replica *r, enum record_kind kind, replica_visit_fn *visit, void *ctx)
{
    for (const struct item *it = r->kinds[kind]; it; it = it->kind_next)
        visit(ctx, &it->entry);
}

void replica_each_of_app(const struct replica *r, const struct uid *app, replica_visit_fn *visit,
                         void *ctx)
{
    const struct group *g = group_find(r->apps, app);
    for (const struct item *it = g ? g->first : NULL; it; it = it->group_next)
        visit(ctx, &it->entry);
}

void replica_each_of_image(const struct replica *r, const struct hash *image, replica_visit_fn *visit,
                           void *ctx)
{
    struct uid uid;
    memcpy(uid.b, image->b, sizeof uid.b);
    const struct group *g = group_find(r->images, &uid);
    for (const struct item *it = g ? g->first : NULL; it; it = it->group_next)
        if (memcmp(it->entry.record.key.b, image->b, sizeof image->b) == 0)
            visit(ctx, &it->entry);
}

uint32_t replica_count(const struct replica *r)
{
    return r->table.count;
}

enum err announcement_decode(struct cursor *c, struct announcement *out)
{
    struct announcement a = {0};
    a.key.kind = (uint8_t)cursor_uint(c, UINT8_MAX);
    struct slice b = cursor_bin(c, RECORD_KEY_MAX);
    a.version.clock = cursor_uint(c, UINT64_MAX);
    a.version.author = cursor_uint(c, UINT64_MAX);
    cursor_fixed(c, a.hash.b, sizeof a.hash.b);
    if (c->err)
        return c->err;
    if (b.len > 0)
        memcpy(a.key.b, b.p, b.len);
    a.key.len = (uint8_t)b.len;
    *out = a;
    return ERR_OK;
}

bool replica_wants(const struct replica *r, const struct announcement *a)
{
    const struct item *it = item_find(r, &a->key);
    if (a->key.kind == 0 || a->key.kind >= RECORD_KIND_END)
        return false; /* a newer kind than this build's: it couldn't be kept */
    if (!it)
        return !app_deleted(r, &a->key);
    int order = version_compare(a->version, it->entry.record.version);
    return order > 0 || (order == 0 && memcmp(&a->hash, &it->entry.hash, sizeof a->hash) > 0);
}

uint64_t replica_root(const struct replica *r)
{
    return r->root;
}

/* One bucket of n, folded out of ours. */
static uint64_t digest_of(const struct replica *r, size_t n, size_t bucket)
{
    uint64_t digest = 0;
    for (size_t i = bucket; i < REPLICA_BUCKETS; i += n)
        digest ^= r->digests[i];
    return digest;
}

size_t replica_digests(const struct replica *r, uint8_t out[static REPLICA_DIGESTS_MAX])
{
    size_t n = REPLICA_BUCKETS_MIN;
    while (n < REPLICA_BUCKETS && n < 2 * (size_t)r->table.count)
        n *= 2;
    for (size_t i = 0; i < n; i++)
        bytes_put64(out + 8 * i, digest_of(r, n, i));
    return 8 * n;
}

bool replica_digests_size_ok(size_t len)
{
    size_t n = len / 8;
    return len % 8 == 0 && n >= REPLICA_BUCKETS_MIN && n <= REPLICA_BUCKETS && (n & (n - 1)) == 0;
}

void replica_each_differing(const struct replica *r, struct slice theirs, replica_visit_fn *visit, void *ctx)
{
    CHECK(replica_digests_size_ok(theirs.len));
    size_t n = theirs.len / 8;
    for (size_t i = 0; i < n; i++) {
        if (bytes_get64(theirs.p + 8 * i) == digest_of(r, n, i))
            continue;
        for (size_t bucket = i; bucket < REPLICA_BUCKETS; bucket += n)
            for (const struct item *it = r->buckets[bucket]; it; it = it->bucket_next)
                visit(ctx, &it->entry);
    }
}

/* ---- The clock ------------------------------------------------------------------------------------- */

uint64_t replica_clock_next(struct replica *r, uint64_t wall_ms)
{
    uint64_t wall = wall_ms << HLC_BITS;
    r->clock = wall > r->clock ? wall : r->clock + 1;
    return r->clock;
}

uint64_t hlc_wall_ms(uint64_t clock)
{
    return clock >> HLC_BITS;
}
