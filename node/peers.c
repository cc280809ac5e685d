/* Datagrams: keys and windows by peer, SWIM's wishes made packets, news made gossip. */
#include "node/engine_internal.h"

#include <string.h>

/* ---- Who we know -------------------------------------------------------------------------------- */

struct peer *peer_find(const struct engine *e, node_id node)
{
    struct peer *p;
    HASH_FIND(hh, e->peers, &node, sizeof node, p);
    return p;
}

/* So that listing those alive needs no memory. */
static bool alive_room(struct engine *e)
{
    if (HASH_COUNT(e->peers) < e->alive_size)
        return true;
    uint32_t size = e->alive_size ? 2 * e->alive_size : 16;
    node_id *v = mem_grow(e->mem, e->alive, size * sizeof *v);
    if (!v)
        return false;
    e->alive = v;
    e->alive_size = size;
    return true;
}

static struct peer *peer_add(struct engine *e, node_id node)
{
    struct mem *mem = e->mem;
    struct peer *p = peer_find(e, node);
    if (p)
        return p;
    p = alive_room(e) ? mem_alloc(mem, sizeof *p) : NULL;
    if (!p)
        return NULL;
    p->node = node;
    HASH_ADD(hh, e->peers, node, sizeof p->node, p);
    if (!p->hh.tbl) {
        mem_free(mem, p);
        return NULL;
    }
    return p;
}

const struct member *peer_member(const struct engine *e, struct peer *p)
{
    uint64_t removals = swim_removals(e->swim);
    if (!p->member || p->member_removals != removals) {
        p->member = swim_find(e->swim, p->node);
        p->member_removals = removals;
    }
    return p->member;
}

static bool member_alive(const struct engine *e, const struct member *m)
{
    return m && m->state == MEMBER_ALIVE && m->away_until_ms <= e->now;
}

bool peer_is_alive(const struct engine *e, struct peer *p)
{
    return member_alive(e, peer_member(e, p));
}

static bool member_live(const struct member *m)
{
    return m && member_state_live(m->state);
}

bool peer_is_live(const struct engine *e, struct peer *p)
{
    return member_live(peer_member(e, p));
}

/* Whoever is away says so, and when it is back, too: until then it isn't alive, though its time be over. */
static void alive_note(struct engine *e, struct peer *p)
{
    bool alive = peer_is_alive(e, p);
    if (alive == (p->alive_at > 0))
        return;
    if (alive) {
        e->alive[e->alive_count++] = p->node;
        p->alive_at = e->alive_count;
        return;
    }
    struct peer *last = peer_find(e, e->alive[--e->alive_count]);
    e->alive[p->alive_at - 1] = last->node;
    last->alive_at = p->alive_at;
    p->alive_at = 0;
}

bool peer_live(const struct engine *e, node_id node)
{
    return node == e->crypto->node || member_live(swim_find(e->swim, node));
}

bool peer_alive(const struct engine *e, node_id node)
{
    if (node == e->crypto->node)
        return true;
    return member_alive(e, swim_find(e->swim, node));
}

uint32_t peers_live_count(const struct engine *e)
{
    uint32_t n = 1;
    size_t i = 0;
    for (const struct member *m; (m = swim_next(e->swim, &i));)
        n += member_alive(e, m);
    return n;
}

uint32_t peers_known_count(const struct engine *e)
{
    return 1 + swim_count(e->swim, MEMBER_ALIVE) + swim_count(e->swim, MEMBER_SUSPECT) +
           swim_count(e->swim, MEMBER_DEAD);
}

static bool stays(const struct engine *e, struct peer *p)
{
    return peer_is_alive(e, p) && !(p->flags & (NODE_DRAINING | NODE_LEFT));
}

bool peer_stays(const struct engine *e, node_id node)
{
    struct peer *p = peer_find(e, node);
    return p && stays(e, p);
}

uint32_t peers_staying_count(const struct engine *e)
{
    uint32_t n = peers_live_count(e);
    for (struct peer *p = e->peers; p; p = p->hh.next)
        n -= peer_is_alive(e, p) && !stays(e, p);
    return n;
}

node_id peers_random_staying(struct engine *e)
{
    node_id chosen = 0;
    uint64_t seen = 0;
    for (struct peer *p = e->peers; p; p = p->hh.next)
        if (stays(e, p) && rng_below(&e->rng, ++seen) == 0)
            chosen = p->node;
    return chosen;
}

node_id peers_any_staying(const struct engine *e, const node_id *not, uint32_t not_count)
{
    for (struct peer *p = e->peers; p; p = p->hh.next) {
        bool skip = !stays(e, p);
        for (uint32_t i = 0; i < not_count; i++)
            skip |= not[i] == p->node;
        if (!skip)
            return p->node;
    }
    return 0;
}

/* True: it may have room now, or takes part again. */
static bool peer_learn(struct engine *e, struct peer *p, const struct node_body *n)
{
    if (p->away_until_ms != n->away_until_ms)
        planner_alive(e);
    bool room = p->room_seq != n->room_seq || p->targets != n->targets || p->flags != n->flags ||
                p->capacity_mib != n->capacity_mib || p->away_until_ms != n->away_until_ms;
    if (!p->keyed || memcmp(p->x25519, n->x25519, sizeof p->x25519) != 0) {
        memcpy(p->x25519, n->x25519, sizeof p->x25519);
        p->keyed = !e->crypto->pair_key(e->crypto->ctx, e->crypto->key_id, n->x25519,
                                        e->crypto->node, p->node, p->send_key) &&
                   !e->crypto->pair_key(e->crypto->ctx, e->crypto->key_id, n->x25519, p->node,
                                        e->crypto->node, p->recv_key);
    }
    if (n->boot > p->boot)
        p->boot = n->boot;
    p->capacity_mib = n->capacity_mib;
    p->used_mib = n->used_mib;
    p->targets = n->targets;
    p->flags = n->flags;
    p->room_seq = n->room_seq;
    p->away_until_ms = n->away_until_ms;
    p->record_boot = n->boot;
    p->published_ms = n->published_ms;
    return room;
}

void peers_on_node_record(struct engine *e, const struct entry *entry, enum origin origin)
{
    struct node_body n;
    if (node_body_decode(entry->record.body, &n))
        return; /* the replica checked the form; a body of a newer kind of node is nobody to talk to */
    node_id node = record_key_owner(&entry->record.key);
    struct peer *p = peer_add(e, node);
    if (!p)
        return;
    bool room = peer_learn(e, p, &n);
    struct swim_record r = {
        .node = node,
        .boot = n.boot,
        .incarnation = n.incarnation,
        .presence = n.flags & NODE_LEFT ? SWIM_LEFT : SWIM_PRESENT,
        .source = origin == ORIGIN_DISK ? SWIM_FROM_DISK : SWIM_NEWS,
    };
    if (n.address_count > 0)
        r.address = n.addresses[0];
    if (n.away_until_ms > e->wall)
        r.away_until_ms = e->now + (n.away_until_ms - e->wall);
    struct swim_effects out = {0};
    enum err err = swim_member(e->swim, &r, e->now, &out);
    if (err)
        effects_log(e->fx, LOG_WARN, "member.refused", "node=%016llx err=%s",
                    (unsigned long long)node, err_name(err));
    if (e->fx)
        peers_run_swim(e, &out);
    alive_note(e, p);
    side_peer(e, p);
    if (room) {
        planner_room(e);
        copies_soon(e);
    }
}

/* ---- Out ---------------------------------------------------------------------------------------- */

static void send_payload(struct engine *e, struct peer *p, const struct member *m,
                         enum message_type type, const struct pack *payload)
{
    struct packet_header h = {
        .type = (uint8_t)type,
        .sender = e->crypto->node,
        .boot = e->cfg.boot,
        .counter = ++e->counter,
    };
    memcpy(h.key_id, e->crypto->key_id, KEY_ID_SIZE);
    size_t len;
    uint8_t *packet = effects_bytes(e->fx, PACKET_SIZE_MAX);
    if (packet_seal(e->crypto, p->send_key, &h, p->node, p->boot, payload->p, payload->len, packet,
                    &len))
        return;
    struct effect *f = effects_add(e->fx, EFFECT_DATAGRAM);
    f->address = m->address;
    f->peer = p->node;
    f->bytes = (struct slice){.p = packet, .len = len};
    e->count.packets_out++;
}

void peers_send(struct engine *e, node_id to, enum message_type type, const struct pack *fields)
{
    struct peer *p = peer_find(e, to);
    const struct member *m = p ? peer_member(e, p) : NULL;
    if (!m || !p->keyed || !effects_room(e->fx, PACKET_SIZE_MAX))
        return; /* as if lost: whoever sends repeats */
    uint8_t payload[PACKET_PAYLOAD_MAX];
    struct pack k;
    pack_init(&k, payload, sizeof payload);
    if (fields)
        pack_raw(&k, fields->p, fields->len);
    if (pack_end(&k))
        return;
    uint32_t items = swim_piggyback(e->swim, to, &k, sizeof payload - k.len);
    items += replica_piggyback(e->replica, peers_known_count(e), &k, sizeof payload - k.len);
    if (k.len == 0 || (!fields && items == 0))
        return; /* nothing to tell */
    send_payload(e, p, m, type, &k);
}

static void send_probe(struct engine *e, node_id to, enum message_type type, uint32_t seq,
                       node_id subject)
{
    uint8_t buffer[64];
    struct pack k;
    pack_init(&k, buffer, sizeof buffer);
    struct message_probe m = {.seq = seq, .subject = subject, .root = replica_root(e->replica)};
    message_probe_encode(&m, &k);
    CHECK(!k.err);
    peers_send(e, to, type, &k);
}

static void on_changed(struct engine *e, const struct swim_effect *f)
{
    enum log_level level = f->state == MEMBER_ALIVE || f->state == MEMBER_LEFT ? LOG_INFO : LOG_WARN;
    struct node_body n;
    effects_log(e->fx, level, f->from == f->state ? "member.joined" : "member.changed",
                "node=%016llx name=%s from=%s state=%s",
                (unsigned long long)f->subject,
                engine_node(e, f->subject, &n) ? "" : n.name, member_state_text(f->from),
                member_state_text(f->state));
    if (f->state == MEMBER_DEAD)
        e->count.deaths_seen++;
    struct peer *p = peer_find(e, f->subject);
    if (p)
        alive_note(e, p);
    side_changed(e, f);
    planner_alive(e); /* a suspect is no notary, and is offered nothing */
    peers_news(e);
}

void peers_run_swim(struct engine *e, const struct swim_effects *out)
{
    for (size_t i = 0; i < out->count; i++) {
        const struct swim_effect *f = &out->v[i];
        switch (f->kind) {
        case SWIM_SEND_PING:
            send_probe(e, f->to, MESSAGE_PING, f->seq, f->to);
            break;
        case SWIM_SEND_PING_REQ:
            send_probe(e, f->to, MESSAGE_PING_REQ, f->seq, f->subject);
            break;
        case SWIM_SEND_ACK:
            send_probe(e, f->to, MESSAGE_ACK, f->seq, 0);
            break;
        case SWIM_CHANGED:
            on_changed(e, f);
            break;
        case SWIM_REFUTE:
            self_refute(e, f->incarnation);
            break;
        case SWIM_GREET:
            sync_hello_peer(e, f->to);
            break;
        }
    }
}

/* ---- In ----------------------------------------------------------------------------------------- */

enum err peers_accuse(struct engine *e, const struct accusation *a)
{
    if (!swim_wants_accusation(e->swim, a, e->now))
        return ERR_STALE; /* not worth a verification */
    const struct record_key key = record_key_node(a->accuser);
    const struct entry *accuser = replica_find(e->replica, &key);
    if (!accuser)
        return ERR_NOT_FOUND; /* a stranger's word */
    uint8_t message[64];
    struct pack k;
    pack_init(&k, message, sizeof message);
    pack_array(&k, 4);
    pack_uint(&k, a->kind);
    pack_uint(&k, a->subject);
    pack_uint(&k, a->incarnation);
    pack_uint(&k, a->accuser);
    enum err err = e->crypto->verify(e->crypto->ctx, accuser->record.author_key, ACCUSATION_LABEL,
                                     message, k.len, a->signature);
    if (err) {
        e->count.accusations_refused++;
        return err;
    }
    struct swim_effects out = {0};
    swim_on_accusation(e->swim, a, e->now, &out);
    peers_run_swim(e, &out);
    return ERR_OK;
}

/* Somebody holds against us what we refuted already, so it missed that, and would bury us before long. */
static void tell_own_record(struct engine *e, node_id to)
{
    const struct record_key key = record_key_node(e->crypto->node);
    const struct entry *entry = replica_find(e->replica, &key);
    uint8_t buffer[REPLICA_INLINE_MAX + 8];
    struct pack k;
    pack_init(&k, buffer, sizeof buffer);
    if (entry && replica_item_encode(entry, &k)) {
        peers_send(e, to, MESSAGE_GOSSIP, &k);
        return;
    }
    replica_spread(e->replica, &key); /* too large for a packet: announced again */
    peers_news(e);
}

static void on_accusation(struct engine *e, node_id from, const struct accusation *a)
{
    if (a->subject == e->crypto->node && a->incarnation < e->self.incarnation)
        tell_own_record(e, from);
    else
        (void)peers_accuse(e, a);
}

static void on_tail(struct engine *e, node_id from, struct cursor *c)
{
    struct tail_item item;
    enum err err;
    while (!(err = tail_next(c, &item))) {
        switch (item.kind) {
        case TAIL_ACCUSATION:
            on_accusation(e, from, &item.accusation);
            break;
        case TAIL_RECORD:
            (void)records_merge(e, item.record.p, item.record.len, ORIGIN_PEER);
            break;
        case TAIL_ANNOUNCEMENT:
            if (replica_wants(e->replica, &item.announcement))
                sync_want(e, from, &item.announcement.key);
            break;
        }
    }
    if (err != ERR_NOT_FOUND)
        e->count.packets_malformed++;
}

static enum err on_probe(struct engine *e, node_id from, enum message_type type, struct cursor *c)
{
    struct message_probe m;
    enum err err = message_probe_decode(c, &m);
    if (err)
        return err;
    if (type == MESSAGE_PING && m.subject != e->crypto->node)
        return ERR_INVALID;
    on_tail(e, from, c); /* news first: an accusation of us is refuted in the ack */
    struct swim_effects out = {0};
    if (type == MESSAGE_PING)
        swim_on_ping(e->swim, from, m.seq, e->now, &out);
    else if (type == MESSAGE_ACK)
        swim_on_ack(e->swim, from, m.seq, e->now, &out);
    else
        swim_on_ping_req(e->swim, from, m.subject, m.seq, e->now, &out);
    peers_run_swim(e, &out);
    if (type != MESSAGE_PING_REQ)
        sync_on_root(e, from, m.root);
    return ERR_OK;
}

static enum err on_message(struct engine *e, node_id from, enum message_type type, struct cursor *c)
{
    struct message_offer offer;
    struct message_offer_answer answer;
    enum err err = ERR_OK;
    switch (type) {
    case MESSAGE_PING:
    case MESSAGE_ACK:
    case MESSAGE_PING_REQ:
        return on_probe(e, from, type, c);
    case MESSAGE_GOSSIP:
        break;
    case MESSAGE_OFFER:
        err = message_offer_decode(c, &offer);
        break;
    case MESSAGE_OFFER_ANSWER:
        err = message_offer_answer_decode(c, &answer);
        break;
    case MESSAGE_CANCEL:
    case MESSAGE_GRANT:
    default:
        return ERR_UNSUPPORTED;
    }
    if (err)
        return err;
    on_tail(e, from, c); /* the tail may bring the spec that the offer needs */
    if (type == MESSAGE_OFFER)
        units_on_offer(e, from, &offer);
    else if (type == MESSAGE_OFFER_ANSWER)
        planner_on_answer(e, from, &answer);
    return ERR_OK;
}

/* A packet of a member that doesn't open may be to, or from, a life of which one of us doesn't know. */
static void maybe_unknown_boot(struct engine *e, struct peer *p)
{
    if (e->now >= p->hello_next_ms)
        sync_hello_peer(e, p->node);
}

void peers_on_datagram(struct engine *e, const struct event *ev)
{
    struct packet_header h;
    e->count.packets_in++;
    if (packet_header_decode(ev->bytes.p, ev->bytes.len, &h)) {
        e->count.packets_garbage++;
        return;
    }
    struct peer *p = h.sender == e->crypto->node ? NULL : peer_find(e, h.sender);
    if (!p || !p->keyed) {
        e->count.packets_stranger++;
        return;
    }
    if (memcmp(h.key_id, e->crypto->key_id, KEY_ID_SIZE) != 0) {
        e->count.packets_key++;
        return;
    }
    if (h.boot < p->boot || window_check(&p->window, h.boot, h.counter)) {
        e->count.packets_replayed++;
        return;
    }
    uint8_t payload[PACKET_PAYLOAD_MAX];
    size_t len;
    if (packet_open(e->crypto, p->recv_key, e->cfg.boot, ev->bytes.p, ev->bytes.len, payload, &len)) {
        e->count.packets_auth++;
        maybe_unknown_boot(e, p);
        return;
    }
    window_accept(&p->window, h.boot, h.counter);
    if (h.boot != p->boot) {
        p->boot = h.boot;
        side_peer(e, p);
    }
    struct swim_effects out = {0};
    swim_on_heard(e->swim, h.sender, &ev->address, h.boot, e->now, &out);
    peers_run_swim(e, &out);
    struct cursor c;
    cursor_init(&c, payload, len);
    if (on_message(e, h.sender, (enum message_type)h.type, &c))
        e->count.packets_malformed++;
}

/* ---- Gossip: while there is news, to a few at random --------------------------------------------- */

void peers_news(struct engine *e)
{
    if (e->gossip_next_ms)
        return;
    e->gossip_next_ms = e->now;
    e->gossip_at = rng_below(&e->rng, swim_members(e->swim) + 1u);
}

/* The next ones around the circle. So what is told a few times goes to as many different members; by chance, one in
 * a hundred suspicions missed a member of a small mesh, which was late to know of a death then. */
static size_t choose(struct engine *e, node_id *out, size_t want)
{
    size_t n = 0, i = e->gossip_at;
    for (uint32_t looked = 0; n < want && looked < swim_members(e->swim); looked++) {
        const struct member *m = swim_next(e->swim, &i);
        if (!m) {
            i = 0;
            m = swim_next(e->swim, &i);
        }
        if (member_live(m)) /* news is told a few times only: none of them to the dead */
            out[n++] = m->node;
    }
    e->gossip_at = i;
    return n;
}

void peers_tick(struct engine *e)
{
    struct swim_effects out = {0};
    if (e->now >= swim_deadline_ms(e->swim)) {
        swim_tick(e->swim, e->now, &out);
        peers_run_swim(e, &out);
    }
    if (!e->gossip_next_ms || e->now < e->gossip_next_ms)
        return;
    node_id to[8];
    size_t want = e->cfg.gossip_fanout < 8 ? e->cfg.gossip_fanout : 8;
    size_t n = choose(e, to, want);
    uint64_t sent = e->count.packets_out;
    for (size_t i = 0; i < n; i++)
        peers_send(e, to[i], MESSAGE_GOSSIP, NULL);
    bool more = replica_has_news(e->replica) || e->count.packets_out != sent;
    e->gossip_next_ms = more && n > 0 ? e->now + e->cfg.gossip_interval_ms : 0;
}

uint64_t peers_deadline(const struct engine *e)
{
    uint64_t at = swim_deadline_ms(e->swim);
    return e->gossip_next_ms ? min_u64(at, e->gossip_next_ms) : at;
}
