/* What packets and streams carry: one struct a message, numbers explicit and append-only.
 *
 * A datagram's payload is  [fields of its type …] then the tail: accusations and record items until the end,
 * each one msgpack value: accusation [0, …], inline record [1, …], announcement [2, …].
 * A stream's message is [type, fields …]. docs/protocol.md lists them. */
#ifndef UNIMESH_GOSSIP_MESSAGE_H
#define UNIMESH_GOSSIP_MESSAGE_H

#include "gossip/packet.h"
#include "gossip/replica.h"
#include "gossip/swim.h"

enum message_type { /* of datagrams; in the header */
    MESSAGE_PING = 1,
    MESSAGE_ACK = 2,
    MESSAGE_PING_REQ = 3,
    MESSAGE_GOSSIP = 4,       /* a tail alone */
    MESSAGE_OFFER = 5,        /* a notary offers a slot to a host */
    MESSAGE_OFFER_ANSWER = 6,
    MESSAGE_CANCEL = 7,       /* reserved: an offer taken back; acknowledged by an answer */
    MESSAGE_GRANT = 8         /* reserved: placement.md, rule 4 */
};

struct message_probe { /* PING, ACK, PING_REQ */
    uint32_t seq;
    node_id subject; /* PING: to whom (checked); PING_REQ: whom to ping; ACK: 0 */
    uint64_t root;   /* PING, ACK: replica_root of the sender */
};

enum offer_kind { OFFER_FILL = 0, OFFER_MOVE = 1 };
struct message_offer {
    struct unit_id id;   /* epoch: the one to claim */
    struct version spec; /* what is to run: the host needs this spec, or a later one */
    node_id previous;    /* who owned it; 0: nobody. For a move: who hands it over */
    enum offer_kind kind;
    uint32_t surrogate;  /* 1: by a minority's side (rule 8) */
};

enum offer_verdict {
    OFFER_ACCEPTED = 1,    /* the claim is on the host's disk */
    OFFER_REFUSED = 2,     /* skip this host until its room_seq changes */
    OFFER_STALE = 3,       /* the host knows a claim at this epoch or above: `epoch` says */
    OFFER_WAIT = 4         /* it lacks the spec, or starts up: send again */
};
struct message_offer_answer {
    struct unit_id id; /* of the offer */
    enum offer_verdict verdict;
    uint64_t room_seq;
    uint64_t epoch; /* STALE: the highest it knows */
    char reason[REASON_SIZE]; /* REFUSED */
};

/* Each encodes the fields; the tail follows. Decoders leave the cursor at the tail. */
void message_probe_encode(const struct message_probe *m, struct pack *k);
enum err message_probe_decode(struct cursor *c, struct message_probe *out) MUST_USE;
void message_offer_encode(const struct message_offer *m, struct pack *k);
enum err message_offer_decode(struct cursor *c, struct message_offer *out) MUST_USE;
void message_offer_answer_encode(const struct message_offer_answer *m, struct pack *k);
enum err message_offer_answer_decode(struct cursor *c, struct message_offer_answer *out) MUST_USE;

/* The tail, item by item. ERR_NOT_FOUND at the end (cursor used up). */
enum tail_kind { TAIL_ACCUSATION = 0, TAIL_RECORD = 1, TAIL_ANNOUNCEMENT = 2 };
struct tail_item {
    enum tail_kind kind;
    struct accusation accusation;
    struct slice record;
    struct announcement announcement;
};
enum err tail_next(struct cursor *c, struct tail_item *out) MUST_USE;

/* Streams. */
enum call_type {
    CALL_HELLO = 1,  /* [1, record, boot of the receiver as known, digests]: join, and state exchange */
    CALL_SYNC = 2,   /* [2, digests]: answered by [[records], [accusations], more, digests] */
    CALL_PUSH = 3,   /* [3, [records]]: answered by []; of a node that leaves, when they are on disk */
    CALL_PULL = 4,   /* [4, [keys]]: answered as SYNC */
    CALL_KEEP = 5,   /* [5, [records], image …]: answered when they and the images' chunks are on disk */
    CALL_ORDER = 6   /* [6, order]: a command for a unit's owner: move, restart */
};
enum { CALL_BYTES_MAX = 512 * 1024, CALL_RECORDS_MAX = 4096 };

struct call { /* any call, decoded; slices borrowed */
    enum call_type type;
    struct slice record;  /* HELLO: the caller's node record */
    uint64_t your_boot;   /* HELLO: the receiver's boot as the caller knows it; 0: unknown */
    struct slice digests; /* HELLO, SYNC: as replica_digests gives them */
    struct cursor list;   /* PUSH, KEEP: list_count bins, each a record; PULL: each a packed key [kind, bin] */
    uint32_t list_count;
    struct hash images[TARGET_COUNT]; /* KEEP */
    uint32_t image_count;
    struct unit_id unit;  /* ORDER: move this unit (epoch: as known to who asks) */
    node_id to;           /* ORDER: thither; 0: anywhere else */
};
enum err call_decode(const void *p, size_t len, struct call *out) MUST_USE;

/* Encoders write what call_decode and answer_decode read. */
void call_hello_encode(struct pack *k, struct slice record, uint64_t your_boot, struct slice digests);
void call_sync_encode(struct pack *k, struct slice digests);
void call_push_encode(struct pack *k, const struct slice *records, uint32_t count);
void call_pull_encode(struct pack *k, const struct record_key *keys, uint32_t count);
void call_keep_encode(struct pack *k, const struct slice *records, uint32_t count,
                      const struct hash *images, uint32_t image_count);
void call_order_encode(struct pack *k, const struct unit_id *unit, node_id to);
/* One key of a PULL's list, or one record of a list. */
enum err call_key_next(struct cursor *list, struct record_key *out) MUST_USE;

struct answer { /* to any call: [err, text, min_boot, more, digests bin, [record bins], [accusations]] */
    enum err err;
    char text[REASON_SIZE];
    uint64_t min_boot;  /* HELLO: a boot of the caller's that is known here and above its own; 0: none */
    uint32_t more;      /* the list was cut; ask again */
    struct slice digests; /* HELLO, SYNC: the answerer's, so that the caller can push what it lacks; may be empty */
    struct cursor records;
    uint32_t record_count;
    struct cursor accusations;
    uint32_t accusation_count;
};
struct answer_parts {
    enum err err;
    const char *text;
    uint64_t min_boot;
    uint32_t more;
    struct slice digests; /* empty: none */
    const struct slice *records;
    uint32_t record_count;
    const struct accusation *const *accusations;
    uint32_t accusation_count;
};
void answer_encode(struct pack *k, const struct answer_parts *a);
enum err answer_decode(const void *p, size_t len, struct answer *out) MUST_USE;

#endif
