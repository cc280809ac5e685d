#include "gossip/message.h"

#include <string.h>

enum {
    PROBE_FIELDS = 3,
    OFFER_FIELDS = 8,
    ANSWER_FIELDS = 7, /* of an offer's answer */
    ACCUSATION_FIELDS = 6,
    RECORD_FIELDS = 2,
    ANNOUNCEMENT_FIELDS = 6,
    CALL_ANSWER_FIELDS = 7
};

static void exactly(struct cursor *c, uint32_t fields)
{
    if (cursor_array(c, fields) != fields)
        cursor_fail(c, ERR_INVALID);
}

static uint32_t u32(struct cursor *c)
{
    return (uint32_t)cursor_uint(c, UINT32_MAX);
}

/* ---- Datagrams ------------------------------------------------------------------------------------ */

void message_probe_encode(const struct message_probe *m, struct pack *k)
{
    pack_array(k, PROBE_FIELDS);
    pack_uint(k, m->seq);
    pack_uint(k, m->subject);
    pack_uint(k, m->root);
}

enum err message_probe_decode(struct cursor *c, struct message_probe *out)
{
    struct message_probe m;
    uint32_t more = cursor_array_from(c, PROBE_FIELDS);
    m.seq = u32(c);
    m.subject = cursor_uint(c, UINT64_MAX);
    m.root = cursor_uint(c, UINT64_MAX);
    cursor_skip_n(c, more);
    if (!c->err)
        *out = m;
    return c->err;
}

static void unit_id_encode(const struct unit_id *id, struct pack *k)
{
    pack_bin(k, id->app.b, sizeof id->app.b);
    pack_uint(k, id->slot);
    pack_uint(k, id->epoch);
}

static void unit_id_decode(struct cursor *c, struct unit_id *out)
{
    cursor_fixed(c, out->app.b, sizeof out->app.b);
    out->slot = (uint16_t)cursor_uint(c, UINT16_MAX);
    out->epoch = cursor_uint(c, UINT64_MAX);
}

void message_offer_encode(const struct message_offer *m, struct pack *k)
{
    pack_array(k, OFFER_FIELDS);
    unit_id_encode(&m->id, k);
    pack_uint(k, m->spec.clock);
    pack_uint(k, m->spec.author);
    pack_uint(k, m->previous);
    pack_uint(k, m->kind);
    pack_uint(k, m->surrogate);
}

enum err message_offer_decode(struct cursor *c, struct message_offer *out)
{
    struct message_offer m;
    uint32_t more = cursor_array_from(c, OFFER_FIELDS);
    unit_id_decode(c, &m.id);
    m.spec.clock = cursor_uint(c, UINT64_MAX);
    m.spec.author = cursor_uint(c, UINT64_MAX);
    m.previous = cursor_uint(c, UINT64_MAX);
    m.kind = (enum offer_kind)cursor_uint(c, OFFER_MOVE);
    m.surrogate = (uint32_t)cursor_uint(c, 1);
    cursor_skip_n(c, more);
    if (!c->err)
        *out = m;
    return c->err;
}

void message_offer_answer_encode(const struct message_offer_answer *m, struct pack *k)
{
    pack_array(k, ANSWER_FIELDS);
    unit_id_encode(&m->id, k);
    pack_uint(k, m->verdict);
    pack_uint(k, m->room_seq);
    pack_uint(k, m->epoch);
    pack_text(k, m->reason, sizeof m->reason);
}

enum err message_offer_answer_decode(struct cursor *c, struct message_offer_answer *out)
{
    struct message_offer_answer m;
    uint32_t more = cursor_array_from(c, ANSWER_FIELDS);
    unit_id_decode(c, &m.id);
    m.verdict = (enum offer_verdict)cursor_uint(c, OFFER_WAIT);
    m.room_seq = cursor_uint(c, UINT64_MAX);
    m.epoch = cursor_uint(c, UINT64_MAX);
    cursor_text(c, m.reason, sizeof m.reason);
    cursor_skip_n(c, more);
    if (!c->err && m.verdict < OFFER_ACCEPTED)
        cursor_fail(c, ERR_INVALID);
    if (!c->err)
        *out = m;
    return c->err;
}

/* ---- The tail ------------------------------------------------------------------------------------- */

void accusation_encode(const struct accusation *a, struct pack *k)
{
    pack_array(k, ACCUSATION_FIELDS);
    pack_uint(k, TAIL_ACCUSATION);
    pack_uint(k, a->kind);
    pack_uint(k, a->subject);
    pack_uint(k, a->incarnation);
    pack_uint(k, a->accuser);
    pack_bin(k, a->signature, sizeof a->signature);
}

/* After the leading number. */
static enum err accusation_fields(struct cursor *c, struct accusation *out)
{
    struct accusation a;
    a.kind = (enum accusation_kind)cursor_uint(c, ACCUSE_DEAD);
    a.subject = cursor_uint(c, UINT64_MAX);
    a.incarnation = cursor_uint(c, UINT64_MAX);
    a.accuser = cursor_uint(c, UINT64_MAX);
    cursor_fixed(c, a.signature, sizeof a.signature);
    if (!c->err && a.kind < ACCUSE_SUSPECT)
        cursor_fail(c, ERR_INVALID);
    if (!c->err)
        *out = a;
    return c->err;
}

enum err accusation_decode(struct cursor *c, struct accusation *out)
{
    exactly(c, ACCUSATION_FIELDS);
    if (cursor_uint(c, TAIL_ANNOUNCEMENT) != TAIL_ACCUSATION)
        cursor_fail(c, ERR_INVALID);
    return c->err ? c->err : accusation_fields(c, out);
}

enum err tail_next(struct cursor *c, struct tail_item *out)
{
    static const uint32_t fields[] = {
        [TAIL_ACCUSATION] = ACCUSATION_FIELDS,
        [TAIL_RECORD] = RECORD_FIELDS,
        [TAIL_ANNOUNCEMENT] = ANNOUNCEMENT_FIELDS,
    };
    if (!c->err && c->left == 0)
        return ERR_NOT_FOUND;
    uint32_t n = cursor_array(c, UINT32_MAX);
    uint64_t kind = cursor_uint(c, TAIL_ANNOUNCEMENT);
    if (!c->err && n != fields[kind])
        cursor_fail(c, ERR_INVALID);
    if (c->err)
        return c->err;
    out->kind = (enum tail_kind)kind;
    switch (out->kind) {
    case TAIL_ACCUSATION:
        return accusation_fields(c, &out->accusation);
    case TAIL_RECORD:
        out->record = cursor_bin(c, RECORD_BYTES_MAX);
        return c->err;
    case TAIL_ANNOUNCEMENT:
        return announcement_decode(c, &out->announcement);
    }
    return ERR_INVALID;
}

/* ---- Calls ---------------------------------------------------------------------------------------- */

static struct slice digests_decode(struct cursor *c)
{
    struct slice d = cursor_bin(c, REPLICA_DIGESTS_MAX);
    if (!c->err && !replica_digests_size_ok(d.len))
        cursor_fail(c, ERR_INVALID);
    return d;
}

/* A list's elements are walked once here, so that whoever reads them later can trust the count. */
static void list_decode(struct cursor *c, struct cursor *list, uint32_t *count)
{
    *count = cursor_array(c, CALL_RECORDS_MAX);
    *list = *c;
    cursor_skip_n(c, *count);
    list->left = c->err ? 0 : list->left - c->left;
}

static void images_decode(struct cursor *c, uint32_t n, struct call *out)
{
    if (!c->err && n > TARGET_COUNT)
        cursor_fail(c, ERR_TOO_LARGE);
    for (uint32_t i = 0; i < n && !c->err; i++)
        cursor_fixed(c, out->images[i].b, sizeof out->images[i].b);
    out->image_count = n;
}

enum err call_decode(const void *p, size_t len, struct call *out)
{
    struct cursor c;
    struct call m = {0};
    if (len > CALL_BYTES_MAX)
        return ERR_TOO_LARGE;
    cursor_init(&c, p, len);
    uint32_t fields = cursor_array(&c, UINT32_MAX);
    m.type = (enum call_type)cursor_uint(&c, CALL_ORDER);
    static const uint32_t known[] = {[CALL_HELLO] = 4, [CALL_SYNC] = 2, [CALL_PUSH] = 2,
                                     [CALL_PULL] = 2,  [CALL_KEEP] = 2, [CALL_ORDER] = 5};
    if (!c.err && (m.type < CALL_HELLO || fields < known[m.type]))
        cursor_fail(&c, ERR_INVALID);
    if (c.err)
        return c.err;
    uint32_t more = fields - known[m.type];
    switch (m.type) {
    case CALL_HELLO:
        m.record = cursor_bin(&c, RECORD_BYTES_MAX);
        m.your_boot = cursor_uint(&c, UINT64_MAX);
        m.digests = digests_decode(&c);
        break;
    case CALL_SYNC:
        m.digests = digests_decode(&c);
        break;
    case CALL_PUSH:
    case CALL_PULL:
        list_decode(&c, &m.list, &m.list_count);
        break;
    case CALL_KEEP:
        list_decode(&c, &m.list, &m.list_count);
        images_decode(&c, more, &m);
        more = 0;
        break;
    case CALL_ORDER:
        unit_id_decode(&c, &m.unit);
        m.to = cursor_uint(&c, UINT64_MAX);
        break;
    }
    cursor_skip_n(&c, more);
    enum err err = cursor_end(&c);
    if (!err)
        *out = m;
    return err;
}

static void records_encode(struct pack *k, const struct slice *records, uint32_t count)
{
    pack_array(k, count);
    for (uint32_t i = 0; i < count; i++)
        pack_bin(k, records[i].p, records[i].len);
}

static void call_head(struct pack *k, uint32_t fields, enum call_type type)
{
    pack_array(k, fields);
    pack_uint(k, type);
}

void call_hello_encode(struct pack *k, struct slice record, uint64_t your_boot, struct slice digests)
{
    call_head(k, 4, CALL_HELLO);
    pack_bin(k, record.p, record.len);
    pack_uint(k, your_boot);
    pack_bin(k, digests.p, digests.len);
}

void call_sync_encode(struct pack *k, struct slice digests)
{
    call_head(k, 2, CALL_SYNC);
    pack_bin(k, digests.p, digests.len);
}

void call_push_encode(struct pack *k, const struct slice *records, uint32_t count)
{
    call_head(k, 2, CALL_PUSH);
    records_encode(k, records, count);
}

void call_pull_encode(struct pack *k, const struct record_key *keys, uint32_t count)
{
    call_head(k, 2, CALL_PULL);
    pack_array(k, count);
    for (uint32_t i = 0; i < count; i++) {
        pack_array(k, 2);
        pack_uint(k, keys[i].kind);
        pack_bin(k, keys[i].b, keys[i].len);
    }
}

void call_keep_encode(struct pack *k, const struct slice *records, uint32_t count,
                      const struct hash *images, uint32_t image_count)
{
    call_head(k, 2 + image_count, CALL_KEEP);
    records_encode(k, records, count);
    for (uint32_t i = 0; i < image_count; i++)
        pack_bin(k, images[i].b, sizeof images[i].b);
}

void call_order_encode(struct pack *k, const struct unit_id *unit, node_id to)
{
    call_head(k, 5, CALL_ORDER);
    unit_id_encode(unit, k);
    pack_uint(k, to);
}

enum err call_key_next(struct cursor *list, struct record_key *out)
{
    struct record_key key = {0};
    exactly(list, 2);
    key.kind = (uint8_t)cursor_uint(list, UINT8_MAX);
    struct slice b = cursor_bin(list, RECORD_KEY_MAX);
    if (list->err)
        return list->err;
    memcpy(key.b, b.p, b.len);
    key.len = (uint8_t)b.len;
    *out = key;
    return ERR_OK;
}

void answer_encode(struct pack *k, const struct answer_parts *a)
{
    pack_array(k, CALL_ANSWER_FIELDS);
    pack_uint(k, a->err);
    pack_text(k, a->text ? a->text : "", PACK_TEXT_SIZE);
    pack_uint(k, a->min_boot);
    pack_uint(k, a->more);
    pack_bin(k, a->digests.p, a->digests.len);
    records_encode(k, a->records, a->record_count);
    pack_array(k, a->accusation_count);
    for (uint32_t i = 0; i < a->accusation_count; i++)
        accusation_encode(a->accusations[i], k);
}

enum err answer_decode(const void *p, size_t len, struct answer *out)
{
    struct cursor c;
    struct answer a = {0};
    if (len > CALL_BYTES_MAX)
        return ERR_TOO_LARGE;
    cursor_init(&c, p, len);
    uint32_t more = cursor_array_from(&c, CALL_ANSWER_FIELDS);
    a.err = (enum err)cursor_uint(&c, UINT16_MAX);
    cursor_text(&c, a.text, sizeof a.text);
    a.min_boot = cursor_uint(&c, UINT64_MAX);
    a.more = (uint32_t)cursor_uint(&c, 1);
    a.digests = cursor_bin(&c, REPLICA_DIGESTS_MAX);
    list_decode(&c, &a.records, &a.record_count);
    list_decode(&c, &a.accusations, &a.accusation_count);
    cursor_skip_n(&c, more);
    enum err err = cursor_end(&c);
    if (!err && a.digests.len != 0 && !replica_digests_size_ok(a.digests.len))
        err = ERR_INVALID;
    if (!err)
        *out = a;
    return err;
}
