/* Calls between nodes: hello and the exchange of what differs, pulls of what was announced, copies kept for
 * others. The streams below are the shell's; here is one message there and one back.
 *
 *   HELLO, SYNC   ours: digests → theirs: what they hold in the buckets that differ, and their digests.
 *                 We merge that and PUSH what they lack; where either was cut, once more.
 *                 One that leaves is answered when all of it is on the other's disk
 *   PULL          keys → records
 *   KEEP          records, images → answered when all of it is on the other's disk */
#include "node/engine_internal.h"

#include <string.h>

enum {
    RECORDS_BYTES_MAX = 384 * 1024, /* of records in one message */
    ACCUSATIONS_SEND_MAX = 512,
    KEEP_TRIES_MAX = 3
};

/* ---- Lists of records ---------------------------------------------------------------------------- */

struct list {
    struct slice v[CALL_RECORDS_MAX];
    uint32_t count;
    size_t bytes;
    uint32_t cut;  /* 1: not all fitted */
    uint32_t held; /* left out for now: see list_visit */
};

static void list_add(struct list *l, struct slice bytes)
{
    if (l->count == CALL_RECORDS_MAX || l->bytes + bytes.len > RECORDS_BYTES_MAX) {
        l->cut = 1;
        return;
    }
    l->v[l->count++] = bytes;
    l->bytes += bytes.len + 5;
}

/* What is not on our disk yet is not passed on: a power cut would make us forget what others know of us. */
static void list_visit(void *ctx, const struct entry *entry)
{
    struct list *l = ctx;
    if (entry->held)
        l->held++;
    else
        list_add(l, entry->record.bytes);
}

static void list_init(struct list *l)
{
    l->count = l->cut = l->held = 0; /* not all of its 100 KiB */
    l->bytes = 0;
}

/* Why not all of it is held now; the rest comes with the next exchange. */
static enum err merge_list(struct engine *e, struct cursor list, uint32_t count)
{
    enum err refused = ERR_OK;
    for (uint32_t i = 0; i < count; i++) {
        struct slice record = cursor_bin(&list, RECORD_BYTES_MAX);
        if (list.err)
            return list.err;
        if (!effects_room(e->fx, 2 * RECORD_BYTES_MAX))
            return ERR_BUSY;
        enum err err = records_merge(e, record.p, record.len, ORIGIN_PEER);
        if (err && err != ERR_STALE)
            refused = err;
    }
    return refused;
}

/* ---- Calls out ----------------------------------------------------------------------------------- */

static struct out_call *call_free(struct engine *e)
{
    for (size_t i = 0; i < CALLS_MAX; i++)
        if (e->calls[i].id == 0)
            return &e->calls[i];
    return NULL;
}

static bool call_possible(struct engine *e)
{
    return call_free(e) && effects_room(e->fx, CALL_BYTES_MAX);
}

/* Between the two the caller encodes into *k. */
static void call_begin(struct engine *e, struct pack *k)
{
    effects_pack(e->fx, k, CALL_BYTES_MAX);
}

static struct out_call *call_send(struct engine *e, const struct pack *k, enum call_purpose purpose,
                                  node_id node, const struct address *address, uint32_t timeout_ms)
{
    CHECK(!k->err);
    struct out_call *c = call_free(e);
    CHECK(c);
    *c = (struct out_call){
        .id = ++e->call_id, .purpose = purpose, .node = node, .address = *address, .at_ms = e->now};
    struct slice bytes = effects_packed(e->fx, k);
    struct effect *f = effects_add(e->fx, EFFECT_CALL);
    f->id = c->id;
    f->peer = node;
    f->address = *address;
    f->bytes = bytes;
    f->timeout_ms = timeout_ms;
    e->count.calls_out++;
    return c;
}

static struct slice own_record(const struct engine *e)
{
    const struct record_key key = record_key_node(e->crypto->node);
    const struct entry *entry = replica_find(e->replica, &key);
    return entry ? entry->record.bytes : (struct slice){0};
}

static bool hello(struct engine *e, node_id node, const struct address *a)
{
    struct slice record = own_record(e);
    if (record.len == 0 || !call_possible(e))
        return false;
    const struct peer *p = node ? peer_find(e, node) : NULL;
    uint8_t digests[REPLICA_DIGESTS_MAX];
    const struct slice d = {.p = digests, .len = replica_digests(e->replica, digests)};
    struct pack k;
    call_begin(e, &k);
    call_hello_encode(&k, record, p ? p->boot : 0, d);
    call_send(e, &k, PURPOSE_HELLO, node, a, CALL_TIMEOUT_MS);
    return true;
}

void sync_hello_peer(struct engine *e, node_id node)
{
    struct peer *p = peer_find(e, node);
    const struct member *m = swim_find(e->swim, node);
    if (!p || !m || e->now < p->hello_next_ms)
        return;
    if (hello(e, node, &m->address))
        p->hello_next_ms = e->now + HELLO_PEER_MS;
}

static bool is_own_address(const struct engine *e, const struct address *a)
{
    for (uint32_t i = 0; i < e->cfg.address_count; i++)
        if (address_equal(a, &e->cfg.addresses[i]))
            return true;
    return false;
}

void sync_on_join(struct engine *e, const struct address *a)
{
    if (is_own_address(e, a))
        return;
    for (uint32_t i = 0; i < e->join_count; i++)
        if (address_equal(a, &e->joins[i].address))
            return;
    if (e->join_count == JOINS_MAX) {
        effects_log(e->fx, LOG_WARN, "join.full", "max=%d", JOINS_MAX);
        return;
    }
    e->joins[e->join_count++] = (struct join){.address = *a, .next_ms = e->now};
}

/* Whoever lives at an address of --join needs no hello: probes and gossip reach it. */
static bool lives_there(const struct engine *e, const struct address *a)
{
    size_t i = 0;
    for (const struct member *m; (m = swim_next(e->swim, &i));)
        if (m->state == MEMBER_ALIVE && address_equal(a, &m->address))
            return true;
    return false;
}

static bool exchange(struct engine *e, node_id node)
{
    const struct member *m = swim_find(e->swim, node);
    if (!m || !call_possible(e))
        return false;
    uint8_t digests[REPLICA_DIGESTS_MAX];
    const struct slice d = {.p = digests, .len = replica_digests(e->replica, digests)};
    struct pack k;
    call_begin(e, &k);
    call_sync_encode(&k, d);
    call_send(e, &k, PURPOSE_SYNC, node, &m->address, CALL_TIMEOUT_MS);
    e->count.syncs++;
    return true;
}

void sync_on_root(struct engine *e, node_id from, uint64_t root)
{
    if (bug(e, BUG_NO_ANTI_ENTROPY))
        return;
    if (root == replica_root(e->replica)) {
        if (e->sync_peer == from)
            e->sync_due_ms = 0;
        return;
    }
    /* News under way make roots differ for a while: give them one interval. */
    if (!e->sync_due_ms && !e->sync_busy) {
        e->sync_peer = from;
        e->sync_due_ms = e->now + e->cfg.sync_interval_ms;
    }
}

void sync_want(struct engine *e, node_id from, const struct record_key *key)
{
    for (uint32_t i = 0; i < e->pull_count; i++)
        if (record_key_equal(&e->pulls[i].key, key))
            return;
    if (e->pull_count < PULLS_MAX)
        e->pulls[e->pull_count++] = (struct pull){.from = from, .key = *key};
}

/* All that is wanted of the first one's source, in one call. */
static bool pull(struct engine *e)
{
    node_id from = e->pulls[0].from;
    const struct member *m = swim_find(e->swim, from);
    if (m && !call_possible(e))
        return false;
    struct record_key keys[PULLS_MAX];
    uint32_t n = 0, kept = 0;
    for (uint32_t i = 0; i < e->pull_count; i++) {
        if (e->pulls[i].from == from)
            keys[n++] = e->pulls[i].key;
        else
            e->pulls[kept++] = e->pulls[i];
    }
    e->pull_count = kept;
    if (!m)
        return true; /* forgotten since; anti-entropy has it */
    struct pack k;
    call_begin(e, &k);
    call_pull_encode(&k, keys, n);
    call_send(e, &k, PURPOSE_PULL, from, &m->address, CALL_TIMEOUT_MS);
    e->count.pulls++;
    return true;
}

static void registers_visit(void *ctx, const struct entry *entry)
{
    switch ((enum record_kind)entry->record.key.kind) {
    case RECORD_SPEC:
    case RECORD_REPLICAS:
    case RECORD_WANTED:
    case RECORD_DELETED:
        list_visit(ctx, entry);
        break;
    case RECORD_NODE:
    case RECORD_UNIT:
    case RECORD_HOLDER:
    case RECORD_KEY:
    case RECORD_REVOCATION:
    case RECORD_HISTORY:
    case RECORD_KIND_END:
        break;
    }
}

bool sync_keep(struct engine *e, node_id node, const struct uid *uid, const struct entry *lost,
               enum call_purpose purpose, uint64_t command)
{
    const struct member *m = swim_find(e->swim, node);
    if (!m || !call_possible(e))
        return false;
    struct list l;
    list_init(&l);
    replica_each_of_app(e->replica, uid, registers_visit, &l);
    if (lost && !bug(e, BUG_KEEP_WINNER_ONLY))
        list_visit(&l, lost);
    if (l.held > 0)
        return false; /* written again meanwhile; once that is on disk */
    struct hash images[TARGET_COUNT];
    uint32_t image_count = 0;
    const struct app *a = app_find(e, uid);
    struct spec_body spec;
    if (a && !a->deleted && !app_spec(e, a, &spec))
        for (; image_count < spec.image_count; image_count++)
            images[image_count] = spec.images[image_count].image;
    struct pack k;
    call_begin(e, &k);
    call_keep_encode(&k, l.v, l.count, images, image_count);
    struct out_call *c = call_send(e, &k, purpose, node, &m->address, KEEP_TIMEOUT_MS);
    c->command = command;
    c->app = *uid;
    return true;
}

/* ---- Calls in ------------------------------------------------------------------------------------ */

static void answer(struct engine *e, uint64_t conn, const struct answer_parts *parts)
{
    struct pack k;
    effects_pack(e->fx, &k, CALL_BYTES_MAX);
    answer_encode(&k, parts);
    CHECK(!k.err);
    struct slice bytes = effects_packed(e->fx, &k);
    struct effect *f = effects_add(e->fx, EFFECT_ANSWER);
    f->id = conn;
    f->bytes = bytes;
}

static void answer_error(struct engine *e, uint64_t conn, enum err err, const char *text)
{
    const struct answer_parts parts = {.err = err, .text = text};
    answer(e, conn, &parts);
}

static uint32_t accusations(const struct engine *e, const struct accusation **out)
{
    uint32_t n = 0;
    size_t i = 0;
    for (const struct member *m; n < ACCUSATIONS_SEND_MAX && (m = swim_next(e->swim, &i));) {
        const struct accusation *a = swim_accusation(e->swim, m->node);
        if (a)
            out[n++] = a;
    }
    return n;
}

static void answer_exchange(struct engine *e, uint64_t conn, const struct call *c, uint64_t min_boot)
{
    struct list l;
    list_init(&l);
    replica_each_differing(e->replica, c->digests, list_visit, &l);
    uint8_t digests[REPLICA_DIGESTS_MAX];
    const struct accusation *accused[ACCUSATIONS_SEND_MAX];
    struct answer_parts parts = {
        .min_boot = min_boot,
        .more = l.cut,
        .digests = {.p = digests, .len = replica_digests(e->replica, digests)},
        .records = l.v,
        .record_count = l.count,
        .accusations = accused,
        .accusation_count = accusations(e, accused),
    };
    answer(e, conn, &parts);
}

static void on_hello(struct engine *e, const struct event *ev, const struct call *c)
{
    struct record r;
    struct node_body n;
    if (record_decode(c->record.p, c->record.len, &r) || r.key.kind != RECORD_NODE ||
        record_key_owner(&r.key) != ev->node || node_body_decode(r.body, &n)) {
        answer_error(e, ev->id, ERR_INVALID, "a hello carries the caller's own node record");
        return;
    }
    const struct peer *p = peer_find(e, ev->node);
    uint64_t min_boot = p && p->boot > n.boot ? p->boot : 0;
    enum err err = records_merge(e, c->record.p, c->record.len, ORIGIN_PEER);
    if (err && err != ERR_STALE) {
        answer_error(e, ev->id, err, "your node record was refused");
        return;
    }
    if (c->your_boot > e->cfg.boot) {
        struct effect *f = effects_add(e->fx, EFFECT_REBOOT);
        f->min_boot = c->your_boot;
    }
    answer_exchange(e, ev->id, c, min_boot);
}

static void on_pull(struct engine *e, const struct event *ev, struct call *c)
{
    struct list l;
    list_init(&l);
    for (uint32_t i = 0; i < c->list_count; i++) {
        struct record_key key;
        if (call_key_next(&c->list, &key)) {
            e->count.calls_malformed++;
            break;
        }
        const struct entry *entry = replica_find(e->replica, &key);
        if (entry)
            list_visit(&l, entry);
    }
    const struct answer_parts parts = {.records = l.v, .record_count = l.count, .more = l.cut};
    answer(e, ev->id, &parts);
}

static enum err keep_note(struct keep *k, const struct record_key *key)
{
    const struct uid uid = record_key_uid(key);
    for (uint32_t i = 0; i < k->app_count; i++)
        if (uid_equal(&k->apps[i], &uid))
            return ERR_OK;
    if (!is_of_app(key) || k->app_count == KEEP_APPS_MAX)
        return ERR_INVALID; /* a call asks to keep an app's registers, and a spec of it that lost */
    k->apps[k->app_count++] = uid;
    return ERR_OK;
}

static struct keep *keep_free(struct engine *e)
{
    for (size_t i = 0; i < KEEPS_MAX; i++)
        if (e->keeps[i].conn == 0)
            return &e->keeps[i];
    return NULL;
}

/* It is answered when what was written until now is on disk. */
static void keep_begin(struct engine *e, struct keep *k, uint64_t conn)
{
    k->conn = conn;
    k->seq = e->write_seq;
    e->keep_count++;
}

/* Who leaves asks whether its records are on a disk that stays. Others don't wait for that. */
static void on_push(struct engine *e, const struct event *ev, const struct call *c)
{
    const struct peer *p = peer_find(e, ev->node);
    e->count.pushes++;
    enum err err = merge_list(e, c->list, c->list_count);
    if (!p || !(p->flags & NODE_DRAINING)) {
        answer_error(e, ev->id, ERR_OK, "");
        return;
    }
    struct keep *keep = keep_free(e);
    if (!err && self_leaves(e))
        err = ERR_NOT_READY;
    if (!err && e->rewrite_ms)
        err = ERR_IO;
    if (!err && !keep)
        err = ERR_BUSY;
    if (err) {
        answer_error(e, ev->id, err, "the records are not on this node's disk");
        return;
    }
    *keep = (struct keep){.push = true, .from = ev->node, .until_ms = e->now + CALL_TIMEOUT_MS};
    keep_begin(e, keep, ev->id);
    sync_keeps_check(e);
}

/* Every one of them, or it is refused. */
static enum err keep_merge(struct engine *e, struct keep *k, const struct call *c)
{
    struct cursor list = c->list;
    for (uint32_t i = 0; i < c->list_count; i++) {
        struct record r;
        struct slice bytes = cursor_bin(&list, RECORD_BYTES_MAX);
        if (list.err)
            return list.err;
        if (!effects_room(e->fx, 2 * RECORD_BYTES_MAX))
            return ERR_BUSY;
        enum err err = record_decode(bytes.p, bytes.len, &r);
        if (!err)
            err = keep_note(k, &r.key);
        if (!err)
            err = records_merge(e, bytes.p, bytes.len, ORIGIN_PEER);
        if (err && err != ERR_STALE)
            return err;
    }
    return ERR_OK;
}

static void on_keep(struct engine *e, const struct event *ev, const struct call *c)
{
    struct keep *keep = keep_free(e);
    if (self_leaves(e)) {
        answer_error(e, ev->id, ERR_NOT_READY, "this node leaves");
        return;
    }
    if (!keep || (e->self.flags & NODE_READ_ONLY)) {
        answer_error(e, ev->id, ERR_FULL, keep ? "the store takes no more" : "too busy keeping");
        return;
    }
    *keep = (struct keep){
        .from = ev->node,
        .image_count = c->image_count,
        .until_ms = e->now + KEEP_TIMEOUT_MS,
    };
    memcpy(keep->images, c->images, c->image_count * sizeof c->images[0]);
    enum err err = keep_merge(e, keep, c);
    if (err) {
        answer_error(e, ev->id, err, "a record was refused");
        return;
    }
    keep_begin(e, keep, ev->id);
    e->count.keeps++;
    sync_keeps_check(e);
}

void sync_on_call(struct engine *e, const struct event *ev)
{
    struct call c;
    e->count.calls_in++;
    if (call_decode(ev->bytes.p, ev->bytes.len, &c)) {
        e->count.calls_malformed++;
        answer_error(e, ev->id, ERR_INVALID, "the call is malformed");
        return;
    }
    switch (c.type) {
    case CALL_HELLO:
        on_hello(e, ev, &c);
        break;
    case CALL_SYNC:
        answer_exchange(e, ev->id, &c, 0);
        break;
    case CALL_PUSH:
        on_push(e, ev, &c);
        break;
    case CALL_PULL:
        on_pull(e, ev, &c);
        break;
    case CALL_KEEP:
        on_keep(e, ev, &c);
        break;
    case CALL_ORDER:
        answer_error(e, ev->id, ERR_UNSUPPORTED, "orders are not taken by this version");
        break;
    }
}

/* ---- Copies that we keep for others -------------------------------------------------------------- */

static bool keep_failed(struct engine *e, const struct keep *k, const char **why)
{
    for (uint32_t i = 0; i < k->image_count; i++) {
        const struct image *im = image_find(e, &k->images[i]);
        if (im && !im->have && im->tries >= KEEP_TRIES_MAX) {
            *why = im->reason;
            return true;
        }
    }
    *why = "it took too long";
    return e->now >= k->until_ms;
}

static void keep_end(struct engine *e, struct keep *k, enum err err, const char *text)
{
    answer_error(e, k->conn, err, text);
    k->conn = 0;
    e->keep_count--;
}

void sync_keeps_check(struct engine *e)
{
    for (size_t i = 0; e->keep_count > 0 && i < KEEPS_MAX; i++) {
        struct keep *k = &e->keeps[i];
        if (k->conn == 0)
            continue;
        if (!effects_room(e->fx, CALL_BYTES_MAX))
            return; /* the tick comes back */
        bool have = true;
        for (uint32_t j = 0; j < k->image_count; j++)
            have &= units_want_image(e, &k->images[j], 0, k->from) || bug(e, BUG_KEEP_BEFORE_IMAGE);
        const char *why;
        bool on_disk = have && k->seq <= e->durable_seq;
        for (uint32_t j = 0; on_disk && j < k->app_count; j++)
            on_disk = records_app_on_disk(e, &k->apps[j]);
        if (have && (on_disk || bug(e, BUG_ACK_BEFORE_DISK))) {
            keep_end(e, k, ERR_OK, "");
        } else if (keep_failed(e, k, &why)) {
            keep_end(e, k, ERR_IO, why);
        }
    }
}

void sync_on_write_failed(struct engine *e, uint64_t from, uint64_t to)
{
    for (size_t i = 0; e->keep_count > 0 && i < KEEPS_MAX; i++) {
        struct keep *k = &e->keeps[i];
        bool concerned = k->push || (k->seq > from && k->seq <= to);
        if (k->conn == 0 || !concerned || !effects_room(e->fx, CALL_BYTES_MAX))
            continue;
        keep_end(e, k, ERR_IO, "the write to disk failed");
    }
}

/* ---- Answers ------------------------------------------------------------------------------------- */

static void exchange_done(struct engine *e)
{
    e->sync_busy = false;
    e->sync_due_ms = 0;
    e->sync_next_ms = e->now + e->cfg.sync_interval_ms;
}

static void synced(struct engine *e)
{
    if (e->synced)
        return;
    e->synced = true;
    effects_log(e->fx, LOG_INFO, "mesh.synced", "members=%u records=%u", peers_known_count(e),
                replica_count(e->replica));
    planner_all(e);
    units_dirty(e);
}

bool sync_handed(const struct engine *e)
{
    return e->handed_to && e->handed_changes == e->app_changes && peer_stays(e, e->handed_to);
}

/* A node that leaves has to know that somebody has its records, and that one's disk. What comes later is handed over,
 * too. */
static void handed(struct engine *e, const struct out_call *c)
{
    if (!self_leaves(e) || !c->all || c->at_ms < e->stop_began_ms)
        return;
    e->handed_to = c->node;
    e->handed_changes = c->changes;
}

static void push_what_differs(struct engine *e, const struct out_call *c, const struct answer *a)
{
    struct list l;
    list_init(&l);
    replica_each_differing(e->replica, a->digests, list_visit, &l);
    bool nothing = l.count == 0 && !self_leaves(e); /* who leaves asks for the disk's word */
    if (nothing || !call_possible(e)) {
        if (!a->more)
            synced(e);
        exchange_done(e);
        return;
    }
    struct pack k;
    call_begin(e, &k);
    call_push_encode(&k, l.v, l.count);
    struct out_call *push = call_send(e, &k, PURPOSE_PUSH, c->node, &c->address, CALL_TIMEOUT_MS);
    push->again = a->more || l.cut;
    push->all = !l.cut && !l.held;
    push->changes = e->app_changes;
    if (!a->more)
        synced(e);
}

static void on_exchanged(struct engine *e, const struct out_call *c, const struct event *ev,
                         const struct answer *a)
{
    if (a->min_boot > e->cfg.boot) {
        struct effect *f = effects_add(e->fx, EFFECT_REBOOT);
        f->min_boot = a->min_boot;
    }
    (void)merge_list(e, a->records, a->record_count);
    struct cursor list = a->accusations;
    for (uint32_t i = 0; i < a->accusation_count; i++) {
        struct accusation accused;
        if (accusation_decode(&list, &accused))
            break;
        (void)peers_accuse(e, &accused);
    }
    struct out_call call = *c;
    call.node = ev->node;
    if (c->purpose == PURPOSE_HELLO) {
        struct swim_effects out = {0};
        swim_on_heard(e->swim, ev->node, NULL, 0, e->now, &out);
        peers_run_swim(e, &out);
    }
    if (a->digests.len > 0)
        push_what_differs(e, &call, a);
    else
        exchange_done(e);
}

static void call_failed(struct engine *e, const struct out_call *c, enum err err, const char *text)
{
    e->count.calls_failed++;
    switch (c->purpose) {
    case PURPOSE_HELLO:
        effects_log(e->fx, LOG_DEBUG, "hello.failed", "err=%s why=\"%s\"", err_name(err), text);
        break;
    case PURPOSE_SYNC:
    case PURPOSE_PUSH:
        exchange_done(e);
        break;
    case PURPOSE_KEEP_COMMAND:
        commands_on_kept(e, c->command, err);
        break;
    case PURPOSE_PULL:
    case PURPOSE_KEEP_COPY:
        break;
    }
}

static void join_answered(struct engine *e, const struct address *a)
{
    for (uint32_t i = 0; i < e->join_count; i++)
        if (address_equal(a, &e->joins[i].address))
            e->joins[i].next_ms = e->now + HELLO_IDLE_MS;
}

void sync_on_answer(struct engine *e, const struct event *ev)
{
    struct out_call c = {0};
    for (size_t i = 0; ev->id != 0 && i < CALLS_MAX; i++)
        if (e->calls[i].id == ev->id) {
            c = e->calls[i];
            e->calls[i].id = 0;
        }
    if (c.id == 0)
        return;
    struct answer a = {.err = ev->err};
    if (!ev->err && answer_decode(ev->bytes.p, ev->bytes.len, &a)) {
        e->count.calls_malformed++;
        a.err = ERR_INVALID;
    }
    if (a.err) {
        call_failed(e, &c, a.err, ev->err ? err_text(ev->err) : a.text);
        return;
    }
    switch (c.purpose) {
    case PURPOSE_HELLO:
        join_answered(e, &c.address);
        on_exchanged(e, &c, ev, &a);
        break;
    case PURPOSE_SYNC:
        on_exchanged(e, &c, ev, &a);
        break;
    case PURPOSE_PUSH:
        exchange_done(e);
        handed(e, &c);
        if (c.again && exchange(e, c.node))
            e->sync_busy = true;
        break;
    case PURPOSE_PULL:
        (void)merge_list(e, a.records, a.record_count);
        break;
    case PURPOSE_KEEP_COMMAND:
        commands_on_kept(e, c.command, ERR_OK);
        break;
    case PURPOSE_KEEP_COPY:
        break;
    }
}

/* ---- Time ---------------------------------------------------------------------------------------- */

/* Whom our disk knows: one at random, until somebody answered. */
static void hello_from_disk(struct engine *e)
{
    e->disk_hello_ms = e->now + HELLO_RETRY_MS;
    size_t i = 0;
    uint32_t seen = 0;
    node_id chosen = 0;
    for (const struct member *m; (m = swim_next(e->swim, &i));)
        if (m->state != MEMBER_LEFT && rng_below(&e->rng, ++seen) == 0)
            chosen = m->node;
    if (chosen)
        sync_hello_peer(e, chosen);
}

void sync_tick(struct engine *e)
{
    for (uint32_t i = 0; i < e->join_count; i++) {
        struct join *j = &e->joins[i];
        if (e->now < j->next_ms)
            continue;
        j->next_ms = e->now + (e->synced ? HELLO_IDLE_MS : HELLO_RETRY_MS);
        if (!e->synced || !lives_there(e, &j->address))
            (void)hello(e, 0, &j->address);
    }
    if (e->disk_members > 0 && !e->synced && e->now >= e->disk_hello_ms)
        hello_from_disk(e);
    while (e->pull_count > 0 && pull(e))
        ;
    if (e->sync_due_ms && !e->sync_busy && e->now >= e->sync_due_ms && e->now >= e->sync_next_ms) {
        e->sync_due_ms = 0;
        e->sync_busy = exchange(e, e->sync_peer);
    }
    bool hands_over = self_leaves(e) && e->stopping != STOP_TOLD && !sync_handed(e);
    if (hands_over && !e->sync_busy && e->now >= e->sync_next_ms) {
        node_id peer = peers_random_staying(e);
        e->sync_busy = peer && exchange(e, peer);
    }
    sync_keeps_check(e);
}

uint64_t sync_deadline(const struct engine *e)
{
    uint64_t at = UINT64_MAX;
    for (uint32_t i = 0; i < e->join_count; i++)
        at = min_u64(at, e->joins[i].next_ms);
    if (e->disk_members > 0 && !e->synced)
        at = min_u64(at, e->disk_hello_ms);
    if (e->sync_due_ms && !e->sync_busy)
        at = min_u64(at, e->sync_due_ms > e->sync_next_ms ? e->sync_due_ms : e->sync_next_ms);
    for (size_t i = 0; e->keep_count > 0 && i < KEEPS_MAX; i++)
        if (e->keeps[i].conn)
            at = min_u64(at, e->keeps[i].until_ms);
    if (e->pull_count > 0)
        at = min_u64(at, e->now + NEVER_RETRY_MS); /* calls are busy: their answers step us, too */
    return at;
}
