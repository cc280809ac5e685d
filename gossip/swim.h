/* SWIM: who is alive (Das, Gupta, Motivala 2002), with Lifeguard's local health (Dadgar, Phillips,
 * Currey 2018) and suspicions that shrink with independent confirmations.
 *
 * Every probe_interval_ms the next member of a shuffled round is pinged; without its ack in time,
 * INDIRECT_PROBES others are asked to ping it; without any by the end of the interval it is suspected.
 * A suspicion is signed by the accuser and spreads on packets; its subject refutes it with a higher
 * incarnation in its own signed node record. Unrefuted in time, the member is dead: told likewise, and
 * every node's own timer concludes the same.
 *
 * A member exists here if and only if its node record is known: the engine calls swim_member for each
 * record that the replica takes. So "alive" needs no message of its own. States live here, texts and
 * addresses' changes in the record.
 *
 * Pure: events in, struct swim_effects out. Nothing here knows of packets: the engine encodes. */
#ifndef UNIMESH_GOSSIP_SWIM_H
#define UNIMESH_GOSSIP_SWIM_H

#include "gossip/crypto.h"
#include "store/base/cursor.h"
#include "store/base/mem.h"
#include "store/base/pack.h"
#include "store/base/rng.h"

struct swim_config {
    uint32_t probe_interval_ms;  /* 500: one member is probed each */
    uint32_t probe_timeout_ms;   /* 200: then others are asked; ≤ interval / 2 */
    uint32_t indirect_probes;    /* 3 */
    uint32_t suspicion_mult;     /* 3: least wait = mult × max(1, log10 n) × interval */
    uint32_t suspicion_max_mult; /* 3: without confirmations it is so many times the least */
    uint32_t retransmit_mult;    /* 4: a message is sent so many × log10(n+1), rounded up, times */
    uint32_t members_max;        /* 4096 */
    uint32_t dead_forget_ms;     /* 24 h: a dead or left member's entry is kept so long */
};
struct swim_config swim_config_default(void);

#define MEMBER_STATE_LIST(X)                                                                       \
    X(ALIVE, 0, "alive")                                                                           \
    X(SUSPECT, 1, "suspect")                                                                       \
    X(DEAD, 2, "dead")                                                                             \
    X(LEFT, 3, "left")
enum member_state {
#define X(name, number, text) MEMBER_##name = number,
    MEMBER_STATE_LIST(X)
#undef X
    MEMBER_STATE_COUNT
};
const char *member_state_text(enum member_state s);

/* Not known to be dead: a suspect may yet answer, and what it runs is taken to run. */
static inline bool member_state_live(enum member_state s)
{
    return s == MEMBER_ALIVE || s == MEMBER_SUSPECT;
}

/* One member, as others may read it. */
struct member {
    node_id node;
    struct address address; /* where its packets go: the record's first, or where it last spoke from */
    uint64_t boot;
    uint64_t incarnation;
    uint64_t since_ms;      /* mono, when the state was entered */
    uint64_t away_until_ms; /* mono; a silent member is not suspected before this. 0: not away */
    enum member_state state;
};

/* What a node record says that matters here. */
struct swim_record {
    node_id node;
    struct address address;
    uint64_t boot;
    uint64_t incarnation;
    uint64_t away_until_ms; /* mono (the engine converts); 0: not away */
    enum { SWIM_PRESENT, SWIM_LEFT } presence;
    /* How we heard: fresh news counts as alive; what our own disk says starts as suspect until the member
     * is heard from; what a peer's state exchange says of a member that it holds dead arrives with a
     * swim_accuse after it. */
    enum { SWIM_NEWS, SWIM_FROM_DISK } source;
};

/* A signed accusation, as it travels on packets: [kind, subject, incarnation, accuser, signature]. */
enum accusation_kind { ACCUSE_SUSPECT = 1, ACCUSE_DEAD = 2 };
struct accusation {
    enum accusation_kind kind;
    node_id subject;
    uint64_t incarnation; /* of the subject, as the accuser knows it */
    node_id accuser;
    uint8_t signature[SIGNATURE_SIZE];
};
enum { ACCUSATION_BYTES_MAX = 112 };
#define ACCUSATION_LABEL "unimesh accusation 1"
void accusation_encode(const struct accusation *a, struct pack *k);
enum err accusation_decode(struct cursor *c, struct accusation *out) MUST_USE;

enum swim_effect_kind {
    SWIM_SEND_PING = 1,     /* to `to`, asking for an ack of `seq` */
    SWIM_SEND_PING_REQ = 2, /* to `to`: ping `subject` for us, seq */
    SWIM_SEND_ACK = 3,      /* to `to`, seq */
    SWIM_CHANGED = 4,       /* subject went from `from` to `state`; equal for one that is new */
    SWIM_REFUTE = 5,        /* we are accused at `incarnation`: publish a higher one */
    SWIM_GREET = 6          /* `to` doesn't answer: its boot or ours may be unknown to the other; say
                               hello by stream (rate-limited here, once a suspicion) */
};
struct swim_effect {
    enum swim_effect_kind kind;
    node_id to;
    node_id subject;
    uint32_t seq;
    uint64_t incarnation;
    enum member_state from, state;
};
enum { SWIM_EFFECTS_MAX = 64 };
struct swim_effects {
    size_t count;
    struct swim_effect v[SWIM_EFFECTS_MAX];
};

struct swim;

/* crypto and mem are borrowed. ERR_NOMEM. */
enum err swim_new(struct swim **out, struct mem *mem, const struct crypto *crypto,
                  const struct swim_config *cfg, const struct rng *root) MUST_USE;
void swim_free(struct swim *s);

/* Our own incarnation, so that we know what refutes what. */
void swim_self(struct swim *s, uint64_t incarnation);

/* A node record was taken (new, or newer than the one known). A higher incarnation or boot makes the
 * member alive again; the same or a lower one changes address and away only. ERR_FULL: members_max. */
enum err swim_member(struct swim *s, const struct swim_record *r, uint64_t now_ms,
                     struct swim_effects *out) MUST_USE;
/* The member is to be forgotten (its identity was removed). */
void swim_remove(struct swim *s, node_id node, struct swim_effects *out);

/* Authenticated packets. on_heard: any packet that opened (its boot is proven), or a stream: clears the
 * suspicion that came from disk, and notes the address it came from. */
void swim_on_heard(struct swim *s, node_id from, const struct address *address, uint64_t boot,
                   uint64_t now_ms, struct swim_effects *out);
void swim_on_ping(struct swim *s, node_id from, uint32_t seq, uint64_t now_ms,
                  struct swim_effects *out);
void swim_on_ping_req(struct swim *s, node_id from, node_id subject, uint32_t seq, uint64_t now_ms,
                      struct swim_effects *out);
void swim_on_ack(struct swim *s, node_id from, uint32_t seq, uint64_t now_ms,
                 struct swim_effects *out);
/* Does it say something new, so that its signature is worth being verified? */
bool swim_wants_accusation(const struct swim *s, const struct accusation *a, uint64_t now_ms);
/* The signature has been verified by the caller (engine caches); an accusation of or by a stranger is ignored.
 * ACCUSE_DEAD kills nobody at once: it starts a suspicion, or shortens the one there is to its least wait. */
void swim_on_accusation(struct swim *s, const struct accusation *a, uint64_t now_ms,
                        struct swim_effects *out);

/* Timers. Call at or after the deadline; UINT64_MAX: nothing to wait for. At most SWIM_EFFECTS_MAX effects a
 * call; what is left keeps the deadline at now. */
void swim_tick(struct swim *s, uint64_t now_ms, struct swim_effects *out);
uint64_t swim_deadline_ms(const struct swim *s);

/* Put accusations into a packet to `to`: first those of `to` itself, every time, so that it can refute them
 * (Lifeguard's buddy system); then those due for sending, as many as fit in `room` bytes, least sent first. Returns
 * how many. */
uint32_t swim_piggyback(struct swim *s, node_id to, struct pack *k, size_t room);
/* All that a newcomer must hear: accusations that hold now (state suspect or dead). ctx-style iteration. */
const struct accusation *swim_accusation(const struct swim *s, node_id subject); /* NULL: none */

const struct member *swim_find(const struct swim *s, node_id node);
/* Iterate in the order of joining: *i starts at 0. NULL at the end. */
const struct member *swim_next(const struct swim *s, size_t *i);
uint32_t swim_count(const struct swim *s, enum member_state state);
uint32_t swim_members(const struct swim *s); /* of whatever state */
/* Grows whenever a member's liveness (alive or suspect against dead or left) or the set changes. */
uint64_t swim_generation(const struct swim *s);
uint64_t swim_removals(const struct swim *s); /* a member that was found holds until this changes */
uint32_t swim_health(const struct swim *s); /* Lifeguard's local health multiplier, 0 is well */

#endif
