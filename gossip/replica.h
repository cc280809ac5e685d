/* The replicated records: what this node holds, how it spreads, how two nodes find what differs.
 *
 * Merging is by version (store/model/record.h), so replicas converge whatever order copies come in. Beyond
 * that: a record of a deleted app is dropped; a tombstone removes the app's other records; a spec that lost to
 * a concurrent one is kept as history.
 *
 * Dissemination: a record that changed is queued, goes out on packets least-sent first, λ·log n times: whole if
 * it is at most INLINE_MAX bytes, else announced by (key, version, hash) and pulled.
 *
 * Anti-entropy: records fall into BUCKETS by a hash of their key; a bucket's digest is the XOR of its records'
 * hashes, the root a sum of hashes of the digests. Roots ride on pings; two nodes whose roots differ compare
 * buckets over a stream and exchange what differs in them. Digests fold: with half as many buckets, the i-th and
 * the (n/2 + i)-th become one. So that little is sent beside what differs, a node sends about two digests a record.
 *
 * Pure; allocates from its budget only. A failed allocation leaves everything as it was (ERR_NOMEM). */
#ifndef UNIMESH_GOSSIP_REPLICA_H
#define UNIMESH_GOSSIP_REPLICA_H

#include "gossip/crypto.h"
#include "store/base/mem.h"
#include "store/base/rng.h"
#include "store/model/bodies.h"
#include "store/model/record.h"

enum {
    REPLICA_INLINE_MAX = 512,
    REPLICA_BUCKETS = 4096,
    REPLICA_BUCKETS_MIN = 64,
    REPLICA_DIGESTS_MAX = REPLICA_BUCKETS * 8
};

struct replica_config {
    uint32_t records_max;     /* 200000 */
    uint32_t retransmit_mult; /* 4 */
    uint64_t skew_max_ms;     /* 60000: a hybrid clock further ahead of ours is refused (ERR_CLOCK) */
};
struct replica_config replica_config_default(void);

/* One record held. `record` borrows `bytes`, which live as long as the entry's version. */
struct entry {
    struct record record;
    struct hash hash; /* of record.bytes */
    bool held;        /* REPLICA_HELD: ours, and not on our disk yet: nobody may hear of it */
};

struct replica;

enum err replica_new(struct replica **out, struct mem *mem, const struct crypto *crypto,
                     const struct replica_config *cfg) MUST_USE;
void replica_free(struct replica *r);

/* What a merge did. */
struct merged {
    const struct entry *entry;   /* the one now held; NULL for what was removed */
    enum { MERGED_NEW = 1, MERGED_NEWER = 2 } how;
    bool removed_app;            /* it was a tombstone: the app's other records were removed (see
                                    replica_removed_next) */
    bool conflict;               /* a concurrent spec lost; it is held as history now */
    struct record_key history;   /* conflict: under this key; held, if the spec was */
};

/* Merge a record that a peer sent or our disk held. Copies the bytes. Checks form, author's id, signature (once:
 * verified hashes are remembered), and a peer's clock (REPLICA_SPREAD). ERR_STALE: ours is as new or newer
 * (normal); ERR_AUTH, ERR_INVALID, ERR_CLOCK, ERR_FULL, ERR_NOMEM: refused. On error nothing changed. `spread`:
 * REPLICA_SPREAD queues it for dissemination, REPLICA_QUIET not (loaded from disk); REPLICA_HELD is QUIET, and marks
 * the entry as held (our own, until it is on disk: then replica_spread). */
enum replica_spread { REPLICA_QUIET = 0, REPLICA_SPREAD = 1, REPLICA_HELD = 2 };
enum err replica_merge(struct replica *r, const void *bytes, size_t len, uint64_t wall_ms,
                       enum replica_spread spread, struct merged *out) MUST_USE;

/* Queue for dissemination (again); no longer held back. */
void replica_spread(struct replica *r, const struct record_key *key);

const struct entry *replica_find(const struct replica *r, const struct record_key *key);
/* Visit every entry of a kind; or of one app, all kinds (units, registers, history). `visit` may not change r. */
typedef void replica_visit_fn(void *ctx, const struct entry *e);
void replica_each(const struct replica *r, enum record_kind kind, replica_visit_fn *visit, void *ctx);
void replica_each_of_app(const struct replica *r, const struct uid *app, replica_visit_fn *visit,
                         void *ctx);
/* Every holder record of one image. */
void replica_each_of_image(const struct replica *r, const struct hash *image, replica_visit_fn *visit,
                           void *ctx);
uint32_t replica_count(const struct replica *r);

/* Keys of records that merges removed (a deleted app's), to be deleted from disk: take them until false. */
bool replica_removed_next(struct replica *r, struct record_key *out);
/* Drop a record locally without a trace (collection). */
void replica_drop(struct replica *r, const struct record_key *key);

/* Dissemination. Items are msgpack values for a packet's tail:
 *   inline    [1, record as bin]
 *   announce  [2, kind, key bin, clock, author, hash bin]
 * Puts as many as fit into `room`, least sent first; returns how many. `members`: how many the mesh has. */
uint32_t replica_piggyback(struct replica *r, uint32_t members, struct pack *k, size_t room);
/* One entry as an inline item. False: it is larger than REPLICA_INLINE_MAX, or k has no room. */
bool replica_item_encode(const struct entry *e, struct pack *k);
bool replica_has_news(const struct replica *r);

/* Is an announced version newer than what we hold? Then pull it. */
struct announcement {
    struct record_key key;
    struct version version;
    struct hash hash;
};
enum err announcement_decode(struct cursor *c, struct announcement *out) MUST_USE; /* after the leading 2 */
bool replica_wants(const struct replica *r, const struct announcement *a);

/* Anti-entropy. Equal roots: equal records. */
uint64_t replica_root(const struct replica *r);
/* Ours, 8 bytes each, of as many buckets as suit the number of records; returns how many bytes. */
size_t replica_digests(const struct replica *r, uint8_t out[static REPLICA_DIGESTS_MAX]);
/* Can digests have this length? A power of two of buckets, REPLICA_BUCKETS_MIN to REPLICA_BUCKETS. */
bool replica_digests_size_ok(size_t len);
/* Visit our entries in the buckets where `theirs` differs from ours. CHECKs replica_digests_size_ok. */
void replica_each_differing(const struct replica *r, struct slice theirs, replica_visit_fn *visit, void *ctx);

/* Hybrid logical clock (Kulkarni et al. 2014): wall ms in the upper 48 bits, a counter below. */
uint64_t replica_clock_next(struct replica *r, uint64_t wall_ms); /* later than all seen and given */
uint64_t hlc_wall_ms(uint64_t clock);

#endif
