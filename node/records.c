/* Records in: merged, written, told to the parts that care. Records out: signed, written, and spread only
 * once they are on disk, so that nobody knows of us what we could forget. */
#include "node/engine_internal.h"

#include <string.h>

static enum replica_spread spread_of(enum origin origin)
{
    return origin == ORIGIN_DISK ? REPLICA_QUIET : REPLICA_SPREAD;
}

static uint64_t write_record(struct engine *e, const struct record_key *key, struct slice bytes)
{
    struct effect *f = effects_add(e->fx, EFFECT_WRITE);
    f->seq = ++e->write_seq;
    f->key = *key;
    f->bytes = effects_copy(e->fx, bytes.p, bytes.len);
    e->count.writes++;
    return f->seq;
}

static void unsynced_push(struct engine *e, uint64_t seq, const struct record_key *key, uint64_t clock,
                          bool own)
{
    if (e->unsynced_count == e->unsynced_size) {
        size_t size = e->unsynced_size ? 2 * e->unsynced_size : 64;
        struct unsynced *ring = mem_alloc(e->mem, size * sizeof *ring);
        if (!ring) { /* spread it early rather than never */
            if (own)
                replica_spread(e->replica, key);
            return;
        }
        for (size_t i = 0; i < e->unsynced_count; i++)
            ring[i] = e->unsynced[(e->unsynced_head + i) % e->unsynced_size];
        mem_free(e->mem, e->unsynced);
        e->unsynced = ring;
        e->unsynced_size = size;
        e->unsynced_head = 0;
    }
    size_t at = (e->unsynced_head + e->unsynced_count++) % e->unsynced_size;
    e->unsynced[at] = (struct unsynced){.seq = seq, .clock = clock, .own = own, .key = *key};
}

/* Held is a spec of ours that lost before it was on disk: its history waits for that, too. */
static void write_merged(struct engine *e, const struct entry *entry)
{
    const struct record_key *key = &entry->record.key;
    unsynced_push(e, write_record(e, key, entry->record.bytes), key, entry->record.version.clock, entry->held);
}

static void erase_removed(struct engine *e)
{
    struct record_key key;
    while (effects_room(e->fx, 0) && replica_removed_next(e->replica, &key)) {
        struct effect *f = effects_add(e->fx, EFFECT_ERASE);
        f->seq = ++e->write_seq;
        f->key = key;
    }
}

/* Who in the engine cares about a record of this kind. */
static void tell(struct engine *e, const struct entry *entry, enum origin origin)
{
    const struct record_key *key = &entry->record.key;
    struct holder_body holder;
    e->app_changes += is_of_app(key);
    switch ((enum record_kind)key->kind) {
    case RECORD_NODE:
        if (record_key_owner(key) == e->crypto->node)
            self_on_own_record(e, entry);
        else
            peers_on_node_record(e, entry, origin);
        break;
    case RECORD_SPEC:
    case RECORD_REPLICAS:
    case RECORD_WANTED:
    case RECORD_DELETED:
        apps_on_record(e, key);
        break;
    case RECORD_UNIT:
        apps_on_unit(e, entry);
        if (record_key_owner(key) == e->crypto->node)
            claims_on_own_record(e, entry, origin);
        if (origin != ORIGIN_DISK) /* those are looked at together, once the engine is ready */
            addresses_on_unit(e, entry);
        break;
    case RECORD_HOLDER:
        if (!holder_body_decode(entry->record.body, &holder) && !holder.present)
            copies_soon(e);
        break;
    case RECORD_HISTORY:
    case RECORD_KEY:
    case RECORD_REVOCATION:
    case RECORD_KIND_END:
        break;
    }
}

static void recall(struct engine *e, const uint8_t *bytes, size_t len)
{
    struct record r;
    if (len < 2 || bytes[1] != RECORD_UNIT || record_decode(bytes, len, &r)) /* the kind: few are decoded twice */
        return;
    if (record_key_owner(&r.key) == e->crypto->node)
        claims_recall(e, &r);
}

enum err records_merge(struct engine *e, const void *bytes, size_t len, enum origin origin)
{
    struct merged m;
    if (origin == ORIGIN_PEER)
        recall(e, bytes, len);
    enum err err = replica_merge(e->replica, bytes, len, e->wall, spread_of(origin), &m);
    if (err == ERR_STALE)
        return err;
    if (err) {
        if (origin == ORIGIN_DISK)
            e->count.load_refused++;
        else
            e->count.records_refused++;
        return err;
    }
    e->count.records_merged++;
    if (origin == ORIGIN_PEER && m.entry && m.entry->record.key.kind == RECORD_UNIT &&
        record_key_owner(&m.entry->record.key) == e->crypto->node && claims_overrule(e, m.entry))
        return ERR_OK;
    if (origin == ORIGIN_PEER) {
        const struct entry *history = m.conflict ? replica_find(e->replica, &m.history) : NULL;
        if (history) /* before what it lost to: a disk that has the winner has it, too */
            write_merged(e, history);
        if (m.entry)
            write_merged(e, m.entry);
        erase_removed(e);
        peers_news(e);
    }
    if (m.entry)
        tell(e, m.entry, origin);
    return ERR_OK;
}

static bool one_writer(enum record_kind kind)
{
    return kind == RECORD_NODE || kind == RECORD_UNIT || kind == RECORD_HOLDER;
}

enum err records_publish(struct engine *e, const struct record_key *key, struct slice body,
                         uint64_t *seq)
{
    const struct entry *held = replica_find(e->replica, key);
    uint64_t clock = one_writer((enum record_kind)key->kind)
                         ? (held ? held->record.version.clock + 1 : 1)
                         : replica_clock_next(e->replica, e->wall);
    if (key->kind == RECORD_NODE && clock < e->cfg.boot)
        clock = e->cfg.boot;
    uint8_t bytes[RECORD_BYTES_MAX];
    struct pack k;
    pack_init(&k, bytes, sizeof bytes);
    enum err err = record_encode(&e->signer, key, clock, body, &k);
    if (err)
        return err;
    /* Our node record need not wait for the disk: its clock begins at the boot number, which is on disk. */
    bool spread = key->kind == RECORD_NODE;
    struct merged m;
    err = replica_merge(e->replica, bytes, k.len, e->wall, spread ? REPLICA_SPREAD : REPLICA_HELD, &m);
    if (err)
        return err;
    *seq = write_record(e, key, (struct slice){.p = bytes, .len = k.len});
    if (spread)
        peers_news(e);
    unsynced_push(e, *seq, key, clock, !spread);
    erase_removed(e);
    if (m.entry && key->kind != RECORD_NODE && key->kind != RECORD_UNIT)
        tell(e, m.entry, ORIGIN_DISK);
    if (m.entry && key->kind == RECORD_UNIT) {
        apps_on_unit(e, m.entry);
        addresses_on_unit(e, m.entry);
    }
    return ERR_OK;
}

static void write_again(struct engine *e, uint64_t from, uint64_t to)
{
    size_t n = e->unsynced_count;
    for (size_t i = 0; i < n; i++) {
        struct unsynced *u = &e->unsynced[(e->unsynced_head + i) % e->unsynced_size];
        if (u->seq > from && u->seq <= to)
            u->seq = 0; /* due again: records_tick */
    }
    e->rewrite_ms = e->now + NEVER_RETRY_MS;
}

static void spread_durable(struct engine *e, uint64_t seq)
{
    bool any = false;
    while (e->unsynced_count > 0) {
        const struct unsynced *u = &e->unsynced[e->unsynced_head];
        if (u->seq == 0 || u->seq > seq)
            break;
        const struct entry *entry = u->own ? replica_find(e->replica, &u->key) : NULL;
        if (entry && entry->record.version.clock == u->clock) {
            replica_spread(e->replica, &u->key);
            any = true;
        }
        e->unsynced_head = (e->unsynced_head + 1) % e->unsynced_size;
        e->unsynced_count--;
    }
    if (any)
        peers_news(e);
}

void records_on_written(struct engine *e, uint64_t seq, enum err err)
{
    uint64_t from = e->durable_seq;
    if (seq <= from)
        return;
    e->durable_seq = seq;
    e->write_failed = err != ERR_OK;
    self_read_only(e);
    if (err) {
        e->count.writes_failed++;
        effects_log(e->fx, LOG_ERROR, "store.failed", "err=%s writes=%llu", err_name(err),
                    (unsigned long long)(seq - from));
        write_again(e, from, seq);
        units_on_write_failed(e, from, seq);
        sync_on_write_failed(e, from, seq);
    } else {
        spread_durable(e, seq);
    }
    commands_on_written(e, from, seq, err);
    if (!err) {
        units_on_durable(e);
        sync_keeps_check(e);
    }
}

bool records_app_on_disk(const struct engine *e, const struct uid *app)
{
    for (size_t i = 0; i < e->unsynced_count; i++) {
        const struct record_key *key = &e->unsynced[(e->unsynced_head + i) % e->unsynced_size].key;
        const struct uid uid = record_key_uid(key);
        if (is_of_app(key) && uid_equal(&uid, app))
            return false;
    }
    return true;
}

/* Records whose write failed: the newest copy of each, once more. */
void records_tick(struct engine *e)
{
    if (!e->rewrite_ms || e->now < e->rewrite_ms)
        return;
    e->rewrite_ms = 0;
    size_t n = e->unsynced_count;
    for (size_t i = 0; i < n; i++) {
        struct unsynced u = e->unsynced[e->unsynced_head];
        e->unsynced_head = (e->unsynced_head + 1) % e->unsynced_size;
        e->unsynced_count--;
        const struct entry *entry = replica_find(e->replica, &u.key);
        if (!entry)
            continue;
        if (u.seq == 0 && effects_room(e->fx, RECORD_BYTES_MAX)) {
            u.seq = write_record(e, &u.key, entry->record.bytes);
            u.clock = entry->record.version.clock;
        } else if (u.seq == 0) {
            e->rewrite_ms = e->now;
        }
        unsynced_push(e, u.seq, &u.key, u.clock, u.own);
    }
    /* The ring stays ordered by sequence: what was in flight is older than what was written just now, and a
     * record in it twice spreads twice, harmlessly. */
    units_dirty(e);
}

uint64_t records_deadline(const struct engine *e)
{
    return e->rewrite_ms ? e->rewrite_ms : UINT64_MAX;
}
