/* Our own claims as the disk and the peers tell of them. We alone write them; but who lost its disk, or a part of it,
 * hears of what it wrote before. */
#include "node/engine_internal.h"

/* A peer knows of a claim of ours that we don't remember, though we have made another since, or something runs. What
 * is higher counts; what runs is what we see, whatever that record said of it. */
static void own_record_beside(struct engine *e, struct unit *u, const struct unit_body *theirs)
{
    struct unit_body *b = &u->body;
    bool claiming = u->claim_seq > e->durable_seq, ending = u->run == RUN_ENDED && u->end_seq > e->durable_seq;
    uint64_t seq;
    if (b->surrogate && theirs->surrogate >= b->surrogate) {
        b->surrogate = theirs->surrogate + 1;
        if (u->run == RUN_NONE)
            b->run = unit_run_name(b);
    }
    if (theirs->epoch >= b->epoch && (b->surrogate || !theirs->surrogate)) { /* a surrogate's epoch is another's */
        b->epoch = theirs->epoch;
        b->released |= theirs->released;
    }
    if (theirs->volume > b->volume) {
        b->volume = theirs->volume;
        b->volume_from = theirs->volume_from;
    }
    if (unit_publish(e, u, &seq))
        seq = UINT64_MAX; /* units_tick tries again */
    if (claiming || seq == UINT64_MAX)
        u->claim_seq = seq;
    if (ending)
        u->end_seq = seq;
    units_dirty(e);
}

void claims_recall(struct engine *e, const struct record *theirs)
{
    const struct entry *held = replica_find(e->replica, &theirs->key);
    const struct uid app = record_key_uid(&theirs->key);
    uint16_t slot = record_key_slot(&theirs->key);
    struct unit_body before, after;
    if (!held || unit_find(e, &app, slot) || version_compare(theirs->version, held->record.version) <= 0 ||
        unit_body_decode(held->record.body, &before) || unit_body_decode(theirs->body, &after))
        return;
    bool falls = !before.surrogate && (after.surrogate || after.epoch <= before.epoch);
    struct unit *u = falls ? unit_add(e, &app, slot) : NULL;
    if (u)
        unit_body_copy(&u->body, &before);
}

bool claims_overrule(struct engine *e, const struct entry *entry)
{
    struct unit_body theirs;
    const struct uid app = record_key_uid(&entry->record.key);
    struct unit *u = unit_find(e, &app, record_key_slot(&entry->record.key));
    if (!u || unit_body_decode(entry->record.body, &theirs))
        return false;
    bool higher = theirs.epoch >= u->body.epoch && !theirs.surrogate;
    if (u->answer_to && higher) { /* we would not have taken the offer, had we known */
        admission_answer(e, u->answer_to, &u->offer, OFFER_STALE, "");
        u->answer_to = 0;
        if (u->run == RUN_NONE)
            return false;
    }
    own_record_beside(e, u, &theirs);
    return true;
}

/* Our own claim, from disk or, if we lost our disk, from a peer. */
void claims_on_own_record(struct engine *e, const struct entry *entry, enum origin origin)
{
    struct unit_body body;
    const struct uid app = record_key_uid(&entry->record.key);
    uint16_t slot = record_key_slot(&entry->record.key);
    struct unit *u = unit_body_decode(entry->record.body, &body) ? NULL : unit_add(e, &app, slot);
    if (!u)
        return;
    unit_body_copy(&u->body, &body);
    u->inherited = true;
    e->addresses_looked = false; /* who else has its addresses is to be seen */
    u->claim_seq = origin == ORIGIN_DISK ? 0 : e->write_seq; /* of this very record */
    for (uint32_t i = 0; i < e->stranger_count; i++) {
        const struct stranger s = e->strangers[i];
        if (s.stopping || !uid_equal(&s.unit.app, &app) || s.unit.slot != slot || s.unit.epoch != body.run)
            continue;
        e->strangers[i] = e->strangers[--e->stranger_count];
        unit_adopt(e, u, s.pid);
        return;
    }
    if (e->scanned)
        unit_not_running(e, u);
    units_dirty(e);
}
