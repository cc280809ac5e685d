#include "tests/unit/swim_mesh.h"

#include <stdlib.h>
#include <string.h>

enum { PACKETS_MAX = 4096, PACKET_BYTES = 1000, FANOUT = 3, GOSSIP_MS = 100, GOSSIP_FOR_MS = 1000 };

struct known { /* what a node record would say */
    uint64_t boot, incarnation, away_until_ms;
};

struct sent {
    uint64_t at_ms;
    uint32_t from, to;
    enum swim_effect_kind kind; /* 0: gossip alone */
    uint32_t seq;
    node_id subject;
    struct known known[MESH_NODES_MAX];
    uint8_t bytes[PACKET_BYTES];
    size_t len;
};

struct host {
    struct fake_crypto crypto;
    struct mem mem;
    struct swim *swim;
    bool up;
    struct known known[MESH_NODES_MAX];
    uint64_t gossip_ms, gossip_until_ms;
};

struct mesh {
    uint64_t now;
    uint32_t nodes, loss_permille, side, deaths;
    struct rng rng;
    struct host hosts[MESH_NODES_MAX];
    uint32_t in_flight;
    struct sent *sent[PACKETS_MAX]; /* in the order of sending */
};

static uint32_t index_of(const struct mesh *m, node_id node)
{
    uint32_t i = 0;
    while (i < m->nodes && m->hosts[i].crypto.crypto.node != node)
        i++;
    CHECK(i < m->nodes);
    return i;
}

bool mesh_verify(struct fake_crypto *by, const struct fake_crypto *accuser, const struct accusation *a)
{
    uint8_t message[64];
    struct pack k;
    pack_init(&k, message, sizeof message);
    pack_array(&k, 4);
    pack_uint(&k, a->kind);
    pack_uint(&k, a->subject);
    pack_uint(&k, a->incarnation);
    pack_uint(&k, a->accuser);
    return !by->crypto.verify(by, accuser->crypto.public_key, ACCUSATION_LABEL, message, k.len,
                              a->signature);
}

/* ---- The network ------------------------------------------------------------------------------------- */

static bool connected(const struct mesh *m, uint32_t a, uint32_t b)
{
    return (m->side >> a & 1) == (m->side >> b & 1);
}

static void transmit(struct mesh *m, uint32_t from, uint32_t to, enum swim_effect_kind kind, uint32_t seq,
                     node_id subject)
{
    struct host *h = &m->hosts[from];
    struct pack k;
    struct sent *p = calloc(1, sizeof *p);
    CHECK(p && m->in_flight < PACKETS_MAX);
    pack_init(&k, p->bytes, sizeof p->bytes);
    (void)swim_piggyback(h->swim, m->hosts[to].crypto.crypto.node, &k, sizeof p->bytes);
    if (rng_below(&m->rng, 1000) < m->loss_permille) {
        free(p);
        return;
    }
    m->sent[m->in_flight++] = p;
    p->at_ms = m->now + rng_between(&m->rng, 1, 20);
    p->from = from;
    p->to = to;
    p->kind = kind;
    p->seq = seq;
    p->subject = subject;
    p->len = k.len;
    memcpy(p->known, h->known, sizeof p->known);
}

static void act(struct mesh *m, uint32_t at, const struct swim_effects *fx);

static struct swim_record record_of(const struct mesh *m, uint32_t node, const struct known *k)
{
    return (struct swim_record){
        .node = m->hosts[node].crypto.crypto.node,
        .address = {.port = (uint16_t)(1 + node)},
        .boot = k->boot,
        .incarnation = k->incarnation,
        .away_until_ms = k->away_until_ms,
        .presence = SWIM_PRESENT,
        .source = SWIM_NEWS,
    };
}

static void news(struct mesh *m, struct host *h)
{
    h->gossip_until_ms = m->now + GOSSIP_FOR_MS;
    if (h->gossip_ms < m->now)
        h->gossip_ms = m->now;
}

static void learn(struct mesh *m, uint32_t at, const struct known *theirs)
{
    struct host *h = &m->hosts[at];
    for (uint32_t i = 0; i < m->nodes; i++) {
        struct known *ours = &h->known[i];
        bool newer = theirs[i].incarnation > ours->incarnation ||
                     (theirs[i].incarnation == ours->incarnation &&
                      theirs[i].away_until_ms > ours->away_until_ms);
        if (i == at || !newer)
            continue;
        *ours = theirs[i];
        struct swim_record r = record_of(m, i, ours);
        struct swim_effects fx = {0};
        CHECK(!swim_member(h->swim, &r, m->now, &fx));
        news(m, h);
        act(m, at, &fx);
    }
}

static void accused(struct mesh *m, uint32_t at, const struct accusation *a)
{
    struct host *h = &m->hosts[at];
    struct swim_effects fx = {0};
    CHECK(mesh_verify(&h->crypto, &m->hosts[index_of(m, a->accuser)].crypto, a));
    swim_on_accusation(h->swim, a, m->now, &fx);
    act(m, at, &fx);
}

/* A hello by stream: both learn all that the other knows. */
static void greet(struct mesh *m, uint32_t a, uint32_t b)
{
    if (!m->hosts[b].up || !connected(m, a, b))
        return;
    for (int way = 0; way < 2; way++) {
        uint32_t from = way ? b : a, to = way ? a : b;
        struct host *f = &m->hosts[from], *t = &m->hosts[to];
        struct swim_effects fx = {0};
        learn(m, to, f->known);
        swim_on_heard(t->swim, f->crypto.crypto.node, NULL, f->known[from].boot, m->now, &fx);
        act(m, to, &fx);
        for (uint32_t i = 0; i < m->nodes; i++) {
            const struct accusation *x = swim_accusation(f->swim, m->hosts[i].crypto.crypto.node);
            if (x) {
                struct accusation copy = *x;
                accused(m, to, &copy);
            }
        }
    }
}

static void act(struct mesh *m, uint32_t at, const struct swim_effects *fx)
{
    struct host *h = &m->hosts[at];
    for (size_t i = 0; i < fx->count; i++) {
        const struct swim_effect *f = &fx->v[i];
        switch (f->kind) {
        case SWIM_SEND_PING:
        case SWIM_SEND_PING_REQ:
        case SWIM_SEND_ACK:
            transmit(m, at, index_of(m, f->to), f->kind, f->seq, f->subject);
            break;
        case SWIM_CHANGED:
            m->deaths += f->state == MEMBER_DEAD && f->from != MEMBER_DEAD;
            news(m, h);
            break;
        case SWIM_REFUTE:
            h->known[at].incarnation = f->incarnation + 1;
            swim_self(h->swim, h->known[at].incarnation);
            news(m, h);
            break;
        case SWIM_GREET:
            greet(m, at, index_of(m, f->to));
            break;
        }
    }
}

static void deliver(struct mesh *m, struct sent *p)
{
    struct host *h = &m->hosts[p->to];
    const node_id from = m->hosts[p->from].crypto.crypto.node;
    struct address address = {.port = (uint16_t)(1 + p->from)};
    struct swim_effects fx = {0};
    if (!h->up || !connected(m, p->from, p->to))
        return;
    swim_on_heard(h->swim, from, &address, p->known[p->from].boot, m->now, &fx);
    act(m, p->to, &fx);
    learn(m, p->to, p->known);
    struct cursor c;
    cursor_init(&c, p->bytes, p->len);
    while (c.left > 0) {
        struct accusation a;
        CHECK(!accusation_decode(&c, &a));
        accused(m, p->to, &a);
    }
    fx.count = 0;
    if (p->kind == SWIM_SEND_PING)
        swim_on_ping(h->swim, from, p->seq, m->now, &fx);
    else if (p->kind == SWIM_SEND_ACK)
        swim_on_ack(h->swim, from, p->seq, m->now, &fx);
    else if (p->kind == SWIM_SEND_PING_REQ)
        swim_on_ping_req(h->swim, from, p->subject, p->seq, m->now, &fx);
    act(m, p->to, &fx);
}

/* ---- Time -------------------------------------------------------------------------------------------- */

static void gossip(struct mesh *m, uint32_t at)
{
    struct host *h = &m->hosts[at];
    if (m->now >= h->gossip_until_ms || m->now < h->gossip_ms)
        return;
    h->gossip_ms = m->now + GOSSIP_MS;
    for (int i = 0; i < FANOUT; i++) {
        uint32_t to = (uint32_t)rng_below(&m->rng, m->nodes);
        if (to != at)
            transmit(m, at, to, (enum swim_effect_kind)0, 0, 0);
    }
}

static void millisecond(struct mesh *m)
{
    m->now++;
    for (uint32_t i = 0; i < m->in_flight;) {
        struct sent *p = m->sent[i];
        if (p->at_ms > m->now) {
            i++;
            continue;
        }
        m->in_flight--;
        memmove(m->sent + i, m->sent + i + 1, (m->in_flight - i) * sizeof *m->sent);
        deliver(m, p); /* what it causes to be sent comes later than now, at the end */
        free(p);
    }
    for (uint32_t i = 0; i < m->nodes; i++) {
        struct host *h = &m->hosts[i];
        if (!h->up)
            continue;
        if (m->now >= swim_deadline_ms(h->swim)) {
            struct swim_effects fx = {0};
            swim_tick(h->swim, m->now, &fx);
            act(m, i, &fx);
        }
        gossip(m, i);
    }
}

void mesh_run(struct mesh *m, uint64_t ms)
{
    for (uint64_t until = m->now + ms; m->now < until;)
        millisecond(m);
}

uint64_t mesh_now(const struct mesh *m)
{
    return m->now;
}

/* ---- Set-up and what happens ----------------------------------------------------------------------------- */

static void start(struct mesh *m, uint32_t at, int source)
{
    struct host *h = &m->hosts[at];
    const struct swim_config cfg = swim_config_default();
    struct rng root;
    rng_init(&root, rng_u64(&m->rng));
    mem_init(&h->mem, 0);
    CHECK(!swim_new(&h->swim, &h->mem, &h->crypto.crypto, &cfg, &root));
    h->known[at].boot = h->known[at].incarnation = m->now + 1000;
    h->known[at].away_until_ms = 0;
    swim_self(h->swim, h->known[at].incarnation);
    h->up = true;
    for (uint32_t i = 0; i < m->nodes; i++) {
        struct swim_record r = record_of(m, i, &h->known[i]);
        struct swim_effects fx = {0};
        r.source = source ? SWIM_FROM_DISK : SWIM_NEWS;
        if (i != at)
            CHECK(!swim_member(h->swim, &r, m->now, &fx));
    }
}

struct mesh *mesh_new(uint64_t seed, uint32_t nodes, uint32_t loss_permille)
{
    struct mesh *m = calloc(1, sizeof *m);
    CHECK(m && nodes <= MESH_NODES_MAX);
    m->nodes = nodes;
    m->loss_permille = loss_permille;
    rng_init(&m->rng, seed);
    for (uint32_t i = 0; i < nodes; i++)
        fake_crypto_init(&m->hosts[i].crypto, 1000 + i, 1);
    for (uint32_t i = 0; i < nodes; i++)
        for (uint32_t j = 0; j < nodes; j++)
            m->hosts[i].known[j].boot = m->hosts[i].known[j].incarnation = 1000;
    for (uint32_t i = 0; i < nodes; i++)
        start(m, i, 0);
    return m;
}

void mesh_free(struct mesh *m)
{
    for (uint32_t i = 0; i < m->nodes; i++) {
        swim_free(m->hosts[i].swim);
        CHECK(m->hosts[i].mem.used_bytes == 0);
    }
    while (m->in_flight > 0)
        free(m->sent[--m->in_flight]);
    free(m);
}

void mesh_kill(struct mesh *m, uint32_t node)
{
    m->hosts[node].up = false;
    swim_free(m->hosts[node].swim);
    m->hosts[node].swim = NULL;
}

void mesh_restart(struct mesh *m, uint32_t node)
{
    start(m, node, 1);
}

void mesh_cut(struct mesh *m, uint32_t side)
{
    m->side = side;
}

void mesh_away(struct mesh *m, uint32_t node, uint64_t for_ms)
{
    m->hosts[node].known[node].away_until_ms = m->now + for_ms;
    news(m, &m->hosts[node]);
}

void mesh_accuse(struct mesh *m, uint32_t accuser, enum accusation_kind kind, uint32_t subject)
{
    struct fake_crypto *f = &m->hosts[accuser].crypto;
    struct accusation a = {.kind = kind,
                           .subject = m->hosts[subject].crypto.crypto.node,
                           .incarnation = m->hosts[accuser].known[subject].incarnation,
                           .accuser = f->crypto.node};
    uint8_t message[64];
    struct pack k;
    pack_init(&k, message, sizeof message);
    pack_array(&k, 4);
    pack_uint(&k, a.kind);
    pack_uint(&k, a.subject);
    pack_uint(&k, a.incarnation);
    pack_uint(&k, a.accuser);
    CHECK(!f->crypto.sign(f, ACCUSATION_LABEL, message, k.len, a.signature));
    for (uint32_t i = 0; i < m->nodes; i++)
        if (i != accuser && i != subject)
            accused(m, i, &a);
}

/* ---- Reading ----------------------------------------------------------------------------------------- */

uint64_t mesh_incarnation(const struct mesh *m, uint32_t node)
{
    return m->hosts[node].known[node].incarnation;
}

uint32_t mesh_seen_in(const struct mesh *m, uint32_t node, enum member_state state)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < m->nodes; i++) {
        const struct host *h = &m->hosts[i];
        if (i == node || !h->up)
            continue;
        const struct member *x = swim_find(h->swim, m->hosts[node].crypto.crypto.node);
        n += x && x->state == state;
    }
    return n;
}

uint32_t mesh_deaths(const struct mesh *m)
{
    return m->deaths;
}
