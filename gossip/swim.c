/* SWIM with Lifeguard's additions; the header says what follows whom.
 *
 * One member a round is probed. A probe's life: ping → (probe_timeout_ms) → ping-req to a few, and another ping →
 * (the end of the round) → suspicion. A member that others begin to suspect is looked at by a few of those who hear it,
 * at once and beside the rounds: a check is such a probe, and ends after twice the timeout, so that confirmations come
 * while the suspicion is young. Every wait is stretched by our own health. If a tick comes much later than it was asked
 * for, it was we who were asleep: probes are dropped, suspicions wait longer, nobody is accused for it. */
#define UNIMESH_UTHASH
#include "gossip/swim.h"

#include "gossip/charges.h"
#include "gossip/limits.h"
#include "gossip/suspicion.h"
#include "store/base/list.h"

#include <string.h>

enum {
    RELAYS_MAX = 64,
    RELAY_MS = 5000,
    HEALTH_MAX = 8,
    DISK_SUSPICION_MS = 10000, /* a member that only our disk knows has so long to be heard from */
    DEAD_PROBE_MS = 5000,      /* between two tries whether a dead member is back */
    CHECKS_MAX = 4             /* suspects that we look at ourselves at one time */
};

struct accused {
    struct node *node;
    uint32_t count;
    struct charge charges[ACCUSERS_MAX];
    uint64_t since_ms, deadline_ms; /* of the suspicion */
    uint64_t least_ms, most_ms;
    uint32_t expected;
    bool from_disk;                 /* nobody accuses: it just hasn't been heard from */
    bool waits;                     /* is in `suspects` */
    struct accused *prev, *next;
};

struct node {
    UT_hash_handle hh;       /* beside the id, which a look-up reads next */
    struct member m;
    struct accused *accused; /* while suspect or dead */
    uint64_t poked_ms;       /* dead, but heard: told of its death at this time */
};

struct relay { /* a ping-req that we answer for */
    uint32_t seq, their_seq;
    node_id from;
    uint64_t until_ms;
};

struct probe {
    struct node *node; /* NULL: none is out */
    uint32_t seq;
    bool asked_others, acked;
    uint64_t incarnation; /* of the member when it began: who has spoken of itself since is not accused */
    uint64_t timeout_ms, failed_ms; /* then others are asked; then it has failed */
};

struct swim {
    struct mem *mem;
    const struct crypto *crypto;
    struct swim_config cfg;
    struct rng rng;
    uint64_t incarnation;
    struct node *nodes;             /* by id */
    struct node **all;              /* in the order of joining */
    struct node **order;            /* of this round's probes */
    size_t count, size, next;
    struct accused *suspects;       /* until they are dead or refute it */
    struct charge_queues news;
    uint64_t expiry_ms;             /* no suspicion ends before; UINT64_MAX: there is none */
    uint32_t counts[MEMBER_STATE_COUNT];
    uint64_t generation, removals;
    uint32_t health;
    uint32_t seq;
    struct probe probe;     /* this round's */
    struct probe checks[CHECKS_MAX];
    uint64_t round_ms;      /* the next probe is due */
    uint64_t dead_probe_ms;
    uint64_t asked_ms;      /* the deadline that we gave last */
    struct relay relays[RELAYS_MAX];
    uint32_t relay_next;
};

struct swim_config swim_config_default(void)
{
    return (struct swim_config){
        .probe_interval_ms = 500,
        .probe_timeout_ms = 200,
        .indirect_probes = 3,
        .suspicion_mult = 3,
        .suspicion_max_mult = 3,
        .retransmit_mult = 4,
        .members_max = 4096,
        .dead_forget_ms = 24 * 3600 * 1000,
    };
}

const char *member_state_text(enum member_state s)
{
    static const char *const text[] = {
#define X(name, number, text) [MEMBER_##name] = text,
        MEMBER_STATE_LIST(X)
#undef X
    };
    return (unsigned)s < MEMBER_STATE_COUNT ? text[s] : "unknown";
}

enum err swim_new(struct swim **out, struct mem *mem, const struct crypto *crypto,
                  const struct swim_config *cfg, const struct rng *root)
{
    struct swim *s = mem_alloc(mem, sizeof *s);
    if (!s)
        return ERR_NOMEM;
    s->mem = mem;
    s->crypto = crypto;
    s->cfg = *cfg;
    s->expiry_ms = UINT64_MAX;
    rng_fork(&s->rng, root, "swim");
    *out = s;
    return ERR_OK;
}

static void suspects_add(struct swim *s, struct accused *a)
{
    if (!a->waits)
        DL_PREPEND(s->suspects, a);
    a->waits = true;
}

static void suspects_remove(struct swim *s, struct accused *a)
{
    if (a->waits)
        DL_DELETE(s->suspects, a);
    a->waits = false;
}

static void charges_clear(struct swim *s, struct accused *a)
{
    for (uint32_t i = 0; i < a->count; i++)
        charge_drop(&s->news, &a->charges[i]);
    a->count = 0;
}

static void accused_free(struct swim *s, struct node *n)
{
    struct accused *a = n->accused;
    if (!a)
        return;
    suspects_remove(s, a);
    charges_clear(s, a);
    n->accused = NULL;
    mem_free(s->mem, a);
}

void swim_free(struct swim *s)
{
    if (!s)
        return;
    struct mem *mem = s->mem;
    HASH_CLEAR(hh, s->nodes);
    for (size_t i = 0; i < s->count; i++) {
        accused_free(s, s->all[i]);
        mem_free(mem, s->all[i]);
    }
    mem_free(mem, s->all);
    mem_free(mem, s->order);
    mem_free(mem, s);
}

void swim_self(struct swim *s, uint64_t incarnation)
{
    s->incarnation = incarnation;
}

/* ---- Small things --------------------------------------------------------------------------------- */

static struct node *node_find(const struct swim *s, node_id id)
{
    struct node *n;
    HASH_FIND(hh, s->nodes, &id, sizeof id, n);
    return n;
}

static uint32_t live_count(const struct swim *s)
{
    return 1 + s->counts[MEMBER_ALIVE] + s->counts[MEMBER_SUSPECT];
}

static bool away(const struct node *n, uint64_t now_ms)
{
    return n->m.away_until_ms > now_ms;
}

/* NULL: the list is full; what isn't sent now is as good as lost on the way. */
static struct swim_effect *effect(struct swim_effects *out, enum swim_effect_kind kind)
{
    if (out->count == SWIM_EFFECTS_MAX)
        return NULL;
    struct swim_effect *f = &out->v[out->count++];
    *f = (struct swim_effect){.kind = kind};
    return f;
}

static void send(struct swim_effects *out, enum swim_effect_kind kind, node_id to, uint32_t seq,
                 node_id subject)
{
    struct swim_effect *f = effect(out, kind);
    if (f) {
        f->to = to;
        f->seq = seq;
        f->subject = subject;
    }
}

static void enter(struct swim *s, struct node *n, enum member_state state, uint64_t now_ms,
                  struct swim_effects *out)
{
    enum member_state from = n->m.state;
    if (from == state)
        return;
    s->counts[from]--;
    s->counts[state]++;
    n->m.state = state;
    n->m.since_ms = now_ms;
    if (member_state_live(from) != member_state_live(state))
        s->generation++;
    struct swim_effect *f = effect(out, SWIM_CHANGED);
    if (f) {
        f->subject = n->m.node;
        f->from = from;
        f->state = state;
    }
}

static void expiry_find(struct swim *s)
{
    const struct accused *a;
    s->expiry_ms = UINT64_MAX;
    DL_FOREACH(s->suspects, a)
        if (a->deadline_ms < s->expiry_ms)
            s->expiry_ms = a->deadline_ms;
}

/* One that ends, or that gets more time, leaves expiry_ms too early: whoever wakes for it finds the right one. */
static void deadline_is(struct swim *s, struct accused *a, uint64_t at)
{
    a->deadline_ms = at;
    if (at < s->expiry_ms)
        s->expiry_ms = at;
}

static void health_change(struct swim *s, int by)
{
    if (by > 0 && s->health < HEALTH_MAX)
        s->health++;
    else if (by < 0 && s->health > 0)
        s->health--;
}

/* ---- Accusations ----------------------------------------------------------------------------------- */

static struct accused *accused_add(struct swim *s, struct node *n)
{
    if (n->accused)
        return n->accused;
    struct accused *a = mem_alloc(s->mem, sizeof *a);
    if (!a)
        return NULL;
    a->node = n;
    a->deadline_ms = UINT64_MAX;
    n->accused = a;
    return a;
}

/* Where to put it. NULL: said already, or enough have said so. Who suspected first and says dead now says something
 * new. */
static struct charge *charge_place(struct accused *a, const struct accusation *by)
{
    for (uint32_t i = 0; i < a->count; i++) {
        struct charge *c = &a->charges[i];
        if (c->a.accuser == by->accuser)
            return c->a.kind != ACCUSE_DEAD && by->kind == ACCUSE_DEAD ? c : NULL;
    }
    return a->count < ACCUSERS_MAX ? &a->charges[a->count] : NULL;
}

static bool charge_add(struct swim *s, struct accused *a, const struct accusation *by)
{
    struct charge *c = charge_place(a, by);
    if (!c)
        return false;
    charge_set(&s->news, c, by);
    if (c == &a->charges[a->count])
        a->count++;
    return true;
}

static bool accuse(struct swim *s, enum accusation_kind kind, const struct node *n,
                   struct accusation *out)
{
    uint8_t message[64];
    struct pack k;
    *out = (struct accusation){.kind = kind,
                               .subject = n->m.node,
                               .incarnation = n->m.incarnation,
                               .accuser = s->crypto->node};
    pack_init(&k, message, sizeof message);
    pack_array(&k, 4);
    pack_uint(&k, out->kind);
    pack_uint(&k, out->subject);
    pack_uint(&k, out->incarnation);
    pack_uint(&k, out->accuser);
    return !s->crypto->sign(s->crypto->ctx, ACCUSATION_LABEL, message, k.len, out->signature);
}

static const struct accusation *said_dead(const struct accused *a)
{
    for (uint32_t i = 0; i < a->count; i++)
        if (a->charges[i].a.kind == ACCUSE_DEAD)
            return &a->charges[i].a;
    return NULL;
}

static void deadline_set(struct swim *s, struct accused *a)
{
    uint32_t confirmations = a->count > 0 ? a->count - 1 : 0;
    uint64_t wait_ms = suspicion_wait_ms(a->least_ms, a->most_ms, confirmations, a->expected);
    deadline_is(s, a, a->since_ms + (said_dead(a) ? a->least_ms : wait_ms));
}

static void probe_start(struct swim *s, struct probe *p, struct node *n, uint64_t now_ms, uint64_t failed_ms,
                        struct swim_effects *out)
{
    *p = (struct probe){
        .node = n,
        .seq = ++s->seq,
        .incarnation = n->m.incarnation,
        .timeout_ms = now_ms + (uint64_t)s->cfg.probe_timeout_ms * (s->health + 1),
        .failed_ms = failed_ms,
    };
    send(out, SWIM_SEND_PING, n->m.node, p->seq, n->m.node);
}

/* A few of all that hear of a suspicion look for themselves, and soon confirm it or don't. Where that many are looked
 * at already, as by whoever healed from a split and accuses dozens, the suspect is at least told at once. */
static void check_begin(struct swim *s, struct node *n, uint64_t now_ms, struct swim_effects *out)
{
    struct probe *free_one = NULL;
    bool looked_at = s->probe.node == n;
    for (size_t i = 0; i < CHECKS_MAX; i++) {
        looked_at |= s->checks[i].node == n;
        if (!s->checks[i].node)
            free_one = &s->checks[i];
    }
    if (looked_at || !free_one)
        send(out, SWIM_SEND_PING, n->m.node, ++s->seq, n->m.node);
    else
        probe_start(s, free_one, n, now_ms, now_ms + 2 * (uint64_t)s->cfg.probe_timeout_ms * (s->health + 1), out);
}

static void suspect(struct swim *s, struct node *n, const struct accusation *by, uint64_t now_ms,
                    struct swim_effects *out)
{
    bool first = n->m.state == MEMBER_ALIVE || !n->accused || n->accused->from_disk;
    struct accused *a = accused_add(s, n);
    if (!a)
        return;
    if (first) {
        charges_clear(s, a);
        a->from_disk = false;
        a->since_ms = now_ms;
        a->least_ms = suspicion_least_ms(&s->cfg, live_count(s));
        a->most_ms = suspicion_most_ms(&s->cfg, a->least_ms, s->health);
        a->expected = suspicion_expected(live_count(s));
    }
    suspects_add(s, a);
    if (charge_add(s, a, by))
        deadline_set(s, a);
    if (first && by->accuser != s->crypto->node &&
        rng_below(&s->rng, live_count(s)) < 2 * CONFIRMATIONS_MAX)
        check_begin(s, n, now_ms, out);
    enter(s, n, MEMBER_SUSPECT, now_ms, out);
}

static void declare_dead(struct swim *s, struct node *n, const struct accusation *by, uint64_t now_ms,
                         struct swim_effects *out)
{
    struct accused *a = n->accused;
    charges_clear(s, a); /* `by` may be one of them: its words stay until charge_set has read them */
    charge_set(&s->news, &a->charges[a->count++], by);
    a->from_disk = false;
    suspects_remove(s, a);
    enter(s, n, MEMBER_DEAD, now_ms, out);
}

static bool accusable(const struct node *n, const struct accusation *a, uint64_t now_ms)
{
    return n && a->incarnation >= n->m.incarnation && member_state_live(n->m.state) && !away(n, now_ms);
}

bool swim_wants_accusation(const struct swim *s, const struct accusation *a, uint64_t now_ms)
{
    if (a->subject == s->crypto->node)
        return a->incarnation >= s->incarnation;
    const struct node *n = node_find(s, a->subject);
    return accusable(n, a, now_ms) &&
           (!n->accused || n->accused->from_disk || charge_place(n->accused, a) || a->kind == ACCUSE_DEAD);
}

/* Nobody dies of another's word alone: after a partition both sides call each other dead, and whoever was cut off
 * calls everybody so. "Dead" shortens the wait; the subject still has the least one to refute it. */
void swim_on_accusation(struct swim *s, const struct accusation *a, uint64_t now_ms,
                        struct swim_effects *out)
{
    if (a->subject == s->crypto->node) {
        if (a->incarnation < s->incarnation)
            return;
        health_change(s, 1);
        struct swim_effect *f = effect(out, SWIM_REFUTE);
        if (f)
            f->incarnation = a->incarnation;
        return;
    }
    struct node *n = node_find(s, a->subject);
    if (!accusable(n, a, now_ms) || (a->accuser != s->crypto->node && !node_find(s, a->accuser)))
        return;
    const struct accused *known = n->m.state == MEMBER_SUSPECT ? n->accused : NULL;
    if (a->kind == ACCUSE_DEAD && known && !known->from_disk && now_ms >= known->since_ms + known->least_ms)
        declare_dead(s, n, a, now_ms, out);
    else
        suspect(s, n, a, now_ms, out);
}

const struct accusation *swim_accusation(const struct swim *s, node_id subject)
{
    const struct node *n = node_find(s, subject);
    return n && n->accused && n->accused->count > 0 ? &n->accused->charges[0].a : NULL;
}

uint32_t swim_piggyback(struct swim *s, node_id to, struct pack *k, size_t room)
{
    const struct node *subject = node_find(s, to);
    size_t from = k->len;
    uint32_t count = 0;
    if (subject && subject->accused && subject->accused->count > 0)
        count += accusation_put(&subject->accused->charges[0].a, k, room);
    return count + charges_put(&s->news, told_limit(s->cfg.retransmit_mult, live_count(s)), to, k,
                               room - (k->len - from));
}

/* ---- Members --------------------------------------------------------------------------------------- */

static bool arrays_room(struct swim *s)
{
    if (s->count < s->size)
        return true;
    size_t size = s->size ? 2 * s->size : 16;
    struct node **all = mem_grow(s->mem, s->all, size * sizeof *all);
    if (!all)
        return false;
    s->all = all;
    struct node **order = mem_grow(s->mem, s->order, size * sizeof *order);
    if (!order)
        return false;
    s->order = order;
    s->size = size;
    return true;
}

static enum err node_add(struct swim *s, const struct swim_record *r, uint64_t now_ms,
                         struct swim_effects *out)
{
    struct mem *mem = s->mem;
    if (s->count >= s->cfg.members_max)
        return ERR_FULL;
    struct node *n = arrays_room(s) ? mem_alloc(mem, sizeof *n) : NULL;
    if (!n)
        return ERR_NOMEM;
    n->m = (struct member){
        .node = r->node,
        .address = r->address,
        .boot = r->boot,
        .incarnation = r->incarnation,
        .since_ms = now_ms,
        .away_until_ms = r->away_until_ms,
        .state = r->presence == SWIM_LEFT ? MEMBER_LEFT : MEMBER_ALIVE,
    };
    HASH_ADD(hh, s->nodes, m.node, sizeof n->m.node, n);
    if (!n->hh.tbl) {
        mem_free(mem, n);
        return ERR_NOMEM;
    }
    /* Into this round at a place by chance, among those that are still to come. */
    size_t at = s->next + rng_below(&s->rng, s->count - s->next + 1);
    memmove(s->order + at + 1, s->order + at, (s->count - at) * sizeof *s->order);
    s->order[at] = n;
    s->all[s->count++] = n;
    s->counts[n->m.state]++;
    s->generation++;
    struct swim_effect *f = effect(out, SWIM_CHANGED);
    if (f) {
        f->subject = r->node;
        f->from = f->state = n->m.state;
    }
    if (r->source == SWIM_FROM_DISK && n->m.state == MEMBER_ALIVE) {
        struct accused *a = accused_add(s, n);
        if (a) {
            a->from_disk = true;
            a->since_ms = now_ms;
            suspects_add(s, a);
            deadline_is(s, a, now_ms + DISK_SUSPICION_MS);
            enter(s, n, MEMBER_SUSPECT, now_ms, out);
        } /* no memory: alive, until a probe fails */
    }
    return ERR_OK;
}

enum err swim_member(struct swim *s, const struct swim_record *r, uint64_t now_ms,
                     struct swim_effects *out)
{
    struct node *n = node_find(s, r->node);
    if (!n)
        return node_add(s, r, now_ms, out);
    bool newer = r->incarnation > n->m.incarnation || r->boot > n->m.boot;
    if (r->address.port)
        n->m.address = r->address;
    n->m.away_until_ms = r->away_until_ms;
    if (r->boot > n->m.boot)
        n->m.boot = r->boot;
    if (r->incarnation > n->m.incarnation)
        n->m.incarnation = r->incarnation;
    if (r->presence == SWIM_LEFT) {
        accused_free(s, n);
        enter(s, n, MEMBER_LEFT, now_ms, out);
    } else if (newer) {
        /* Back from the dead: it may hold us dead in turn, as after a partition. A packet from the dead has it poke
         * us, and we refute. */
        if (n->m.state == MEMBER_DEAD)
            send(out, SWIM_SEND_PING, n->m.node, ++s->seq, n->m.node);
        accused_free(s, n);
        enter(s, n, MEMBER_ALIVE, now_ms, out);
    }
    return ERR_OK;
}

static void array_remove(struct node **v, size_t *count, const struct node *n)
{
    for (size_t i = 0; i < *count; i++) {
        if (v[i] != n)
            continue;
        memmove(v + i, v + i + 1, (*count - i - 1) * sizeof *v);
        (*count)--;
        return;
    }
}

void swim_remove(struct swim *s, node_id node, struct swim_effects *out)
{
    (void)out;
    struct mem *mem = s->mem;
    struct node *n = node_find(s, node);
    if (!n)
        return;
    accused_free(s, n);
    if (s->probe.node == n)
        s->probe.node = NULL;
    for (size_t i = 0; i < CHECKS_MAX; i++)
        if (s->checks[i].node == n)
            s->checks[i].node = NULL;
    size_t count = s->count;
    array_remove(s->order, &count, n);
    array_remove(s->all, &s->count, n);
    if (s->next > s->count)
        s->next = s->count;
    s->counts[n->m.state]--;
    s->generation++;
    s->removals++;
    HASH_DEL(s->nodes, n);
    mem_free(mem, n);
}

void swim_on_heard(struct swim *s, node_id from, const struct address *address, uint64_t boot,
                   uint64_t now_ms, struct swim_effects *out)
{
    struct node *n = node_find(s, from);
    if (!n)
        return;
    if (boot > n->m.boot)
        n->m.boot = boot;
    if (address && address->port)
        n->m.address = *address;
    if (n->m.state == MEMBER_SUSPECT && (!n->accused || n->accused->from_disk)) {
        accused_free(s, n);
        enter(s, n, MEMBER_ALIVE, now_ms, out);
    }
    /* Dead, and talks: the accusation rides on this ping, and it refutes. */
    if (n->m.state == MEMBER_DEAD && now_ms - n->poked_ms >= s->cfg.probe_interval_ms) {
        n->poked_ms = now_ms;
        send(out, SWIM_SEND_PING, from, ++s->seq, from);
    }
}

/* ---- Probes ---------------------------------------------------------------------------------------- */

void swim_on_ping(struct swim *s, node_id from, uint32_t seq, uint64_t now_ms, struct swim_effects *out)
{
    (void)s;
    (void)now_ms;
    send(out, SWIM_SEND_ACK, from, seq, 0);
}

void swim_on_ping_req(struct swim *s, node_id from, node_id subject, uint32_t seq, uint64_t now_ms,
                      struct swim_effects *out)
{
    struct node *n = node_find(s, subject);
    if (!n || subject == from)
        return;
    struct relay *r = &s->relays[s->relay_next++ % RELAYS_MAX];
    *r = (struct relay){.seq = ++s->seq, .their_seq = seq, .from = from, .until_ms = now_ms + RELAY_MS};
    send(out, SWIM_SEND_PING, subject, r->seq, subject);
}

void swim_on_ack(struct swim *s, node_id from, uint32_t seq, uint64_t now_ms, struct swim_effects *out)
{
    for (size_t i = 0; i < RELAYS_MAX; i++) {
        struct relay *r = &s->relays[i];
        if (r->from && r->seq == seq && now_ms < r->until_ms) {
            send(out, SWIM_SEND_ACK, r->from, r->their_seq, 0);
            r->from = 0;
            return;
        }
    }
    /* From the member itself, or from one that we asked to ping it: the number is what counts. */
    (void)from;
    if (s->probe.node && s->probe.seq == seq && !s->probe.acked) {
        s->probe.acked = true;
        health_change(s, -1);
    }
    for (size_t i = 0; i < CHECKS_MAX; i++)
        if (s->checks[i].node && s->checks[i].seq == seq)
            s->checks[i].node = NULL;
}

static void shuffle(struct swim *s)
{
    memcpy(s->order, s->all, s->count * sizeof *s->order);
    for (size_t i = s->count; i > 1; i--) {
        size_t j = rng_below(&s->rng, i);
        struct node *swap = s->order[i - 1];
        s->order[i - 1] = s->order[j];
        s->order[j] = swap;
    }
    s->next = 0;
}

static struct node *probe_next(struct swim *s)
{
    for (size_t looked = 0; looked <= s->count; looked++) {
        if (s->next >= s->count) {
            if (s->count == 0)
                return NULL;
            shuffle(s);
        }
        struct node *n = s->order[s->next++];
        if (member_state_live(n->m.state))
            return n;
    }
    return NULL;
}

static void probe_begin(struct swim *s, uint64_t now_ms, struct swim_effects *out)
{
    s->round_ms = now_ms + (uint64_t)s->cfg.probe_interval_ms * (s->health + 1);
    struct node *n = probe_next(s);
    s->probe.node = NULL;
    if (n)
        probe_start(s, &s->probe, n, now_ms, s->round_ms, out);
}

/* Ask a few live members, chosen by chance, to ping it; and try once more ourselves. */
static void probe_indirect(struct swim *s, struct probe *p, struct swim_effects *out)
{
    struct node *chosen[8];
    uint32_t want = s->cfg.indirect_probes < 8 ? s->cfg.indirect_probes : 8, seen = 0;
    p->asked_others = true;
    for (size_t i = 0; want > 0 && i < s->count; i++) {
        struct node *n = s->all[i];
        if (n == p->node || n->m.state != MEMBER_ALIVE)
            continue;
        uint64_t at = seen < want ? seen : rng_below(&s->rng, seen + 1);
        if (at < want)
            chosen[at] = n;
        seen++;
    }
    for (uint32_t i = 0; i < want && i < seen; i++)
        send(out, SWIM_SEND_PING_REQ, chosen[i]->m.node, p->seq, p->node->m.node);
    send(out, SWIM_SEND_PING, p->node->m.node, p->seq, p->node->m.node);
}

static void probe_failed(struct swim *s, struct probe *p, uint64_t now_ms, struct swim_effects *out)
{
    struct node *n = p->node;
    struct accusation a;
    p->node = NULL;
    if (!member_state_live(n->m.state) || n->m.incarnation > p->incarnation)
        return;
    send(out, SWIM_GREET, n->m.node, 0, n->m.node);
    if (!away(n, now_ms) && accuse(s, ACCUSE_SUSPECT, n, &a))
        suspect(s, n, &a, now_ms, out);
}

static uint32_t gone_count(const struct swim *s)
{
    return s->counts[MEMBER_DEAD] + s->counts[MEMBER_LEFT];
}

/* A dead member may have come back, or a partition healed. One by chance is asked; one that is gone for long is
 * forgotten. */
static void dead_probe(struct swim *s, uint64_t now_ms, struct swim_effects *out)
{
    struct node *chosen = NULL, *forget = NULL;
    uint32_t seen = 0;
    s->dead_probe_ms = now_ms + DEAD_PROBE_MS;
    for (size_t i = 0; i < s->count; i++) {
        struct node *n = s->all[i];
        if (member_state_live(n->m.state))
            continue;
        if (now_ms - n->m.since_ms > s->cfg.dead_forget_ms)
            forget = n;
        else if (n->m.state == MEMBER_DEAD && rng_below(&s->rng, ++seen) == 0)
            chosen = n;
    }
    if (forget)
        swim_remove(s, forget->m.node, out);
    if (!chosen)
        return;
    send(out, SWIM_SEND_PING, chosen->m.node, ++s->seq, chosen->m.node);
    send(out, SWIM_GREET, chosen->m.node, 0, chosen->m.node);
}

static void suspicions_expire(struct swim *s, uint64_t now_ms, struct swim_effects *out)
{
    struct accused *a, *next;
    if (now_ms < s->expiry_ms)
        return;
    DL_FOREACH_SAFE(s->suspects, a, next) {
        struct node *n = a->node;
        struct accusation by;
        if (now_ms < a->deadline_ms || out->count > SWIM_EFFECTS_MAX - 8)
            continue;
        if (away(n, now_ms))
            a->deadline_ms = n->m.away_until_ms + a->least_ms;
        else if (said_dead(a))
            declare_dead(s, n, said_dead(a), now_ms, out);
        else if (accuse(s, ACCUSE_DEAD, n, &by))
            declare_dead(s, n, &by, now_ms, out);
        else
            a->deadline_ms = now_ms + s->cfg.probe_interval_ms;
    }
    expiry_find(s);
}

/* We were asleep, or starved: what did not come meanwhile says nothing of others. */
static void slept(struct swim *s, uint64_t now_ms)
{
    uint64_t slept_ms = now_ms - s->asked_ms;
    health_change(s, 1);
    s->probe.node = NULL;
    for (size_t i = 0; i < CHECKS_MAX; i++)
        s->checks[i].node = NULL;
    s->round_ms = now_ms;
    struct accused *a;
    DL_FOREACH(s->suspects, a)
        if (a->deadline_ms != UINT64_MAX)
            a->deadline_ms += slept_ms;
    expiry_find(s);
}

static void probe_step(struct swim *s, struct probe *p, uint64_t now_ms, struct swim_effects *out)
{
    if (!p->node || p->acked)
        return;
    if (!p->asked_others && now_ms >= p->timeout_ms)
        probe_indirect(s, p, out);
    if (now_ms >= p->failed_ms)
        probe_failed(s, p, now_ms, out);
}

/* UINT64_MAX: nothing to wait for. */
static uint64_t probe_deadline(const struct probe *p)
{
    return !p->node || p->acked ? UINT64_MAX : p->asked_others ? p->failed_ms : p->timeout_ms;
}

void swim_tick(struct swim *s, uint64_t now_ms, struct swim_effects *out)
{
    if (s->asked_ms && s->round_ms && now_ms > s->asked_ms + s->cfg.probe_interval_ms)
        slept(s, now_ms);
    probe_step(s, &s->probe, now_ms, out);
    for (size_t i = 0; i < CHECKS_MAX; i++)
        probe_step(s, &s->checks[i], now_ms, out);
    suspicions_expire(s, now_ms, out);
    if (now_ms >= s->round_ms && s->count > 0)
        probe_begin(s, now_ms, out);
    if (gone_count(s) > 0 && now_ms >= s->dead_probe_ms)
        dead_probe(s, now_ms, out);
    s->asked_ms = swim_deadline_ms(s);
    if (s->asked_ms == UINT64_MAX)
        s->asked_ms = 0;
}

uint64_t swim_deadline_ms(const struct swim *s)
{
    if (s->count == 0)
        return UINT64_MAX;
    uint64_t at = s->round_ms;
    if (probe_deadline(&s->probe) < at)
        at = probe_deadline(&s->probe);
    for (size_t i = 0; i < CHECKS_MAX; i++)
        if (probe_deadline(&s->checks[i]) < at)
            at = probe_deadline(&s->checks[i]);
    if (s->expiry_ms < at)
        at = s->expiry_ms;
    if (gone_count(s) > 0 && s->dead_probe_ms < at)
        at = s->dead_probe_ms;
    return at;
}

/* ---- Reading --------------------------------------------------------------------------------------- */

const struct member *swim_find(const struct swim *s, node_id node)
{
    const struct node *n = node_find(s, node);
    return n ? &n->m : NULL;
}

const struct member *swim_next(const struct swim *s, size_t *i)
{
    return *i < s->count ? &s->all[(*i)++]->m : NULL;
}

uint32_t swim_count(const struct swim *s, enum member_state state)
{
    return s->counts[state];
}

uint32_t swim_members(const struct swim *s)
{
    return (uint32_t)s->count;
}

uint64_t swim_generation(const struct swim *s)
{
    return s->generation;
}

uint64_t swim_removals(const struct swim *s)
{
    return s->removals;
}

uint32_t swim_health(const struct swim *s)
{
    return s->health;
}
