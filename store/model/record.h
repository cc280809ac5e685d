/* A record: what the mesh agrees on, one signed value under one key (docs/records.md has the table).
 *
 * Merging is the same for every kind: the higher version wins. A version is (clock, author), and
 * where two signed bodies carry the same version (an author's fault) the higher hash; that is a total
 * order over copies, so merges commute, associate and repeat harmlessly. What differs by kind is who
 * may write:
 *
 *   kind       key                author             clock
 *   node       node               that node          counts from the boot number upward
 *   spec       app                anyone             hybrid logical
 *   replicas   app                anyone             hybrid logical
 *   wanted     app                anyone             hybrid logical
 *   deleted    app                anyone             hybrid logical; beats every other record of the app
 *   unit       app, slot, owner   the owner          counts upward
 *   holder     image, node        that node          counts upward
 *   history    app, clock, author the spec's author  a spec that lost to a concurrent one, as it was
 *   key, revocation               reserved
 *
 * On the wire and in the store a record is one msgpack array
 *   [kind, key, clock, author, author's public key, body, signature]
 * and the signature covers "unimesh record 1" ‖ the array's first six elements as packed. */
#ifndef UNIMESH_MODEL_RECORD_H
#define UNIMESH_MODEL_RECORD_H

#include "store/base/cursor.h"
#include "store/base/err.h"
#include "store/base/id.h"
#include "store/base/pack.h"

enum {
    RECORD_KEY_MAX = 40,         /* image ‖ node */
    RECORD_BODY_MAX = 12 * 1024, /* a spec with 8192 bytes of arguments and room to spare */
    RECORD_BYTES_MAX = RECORD_BODY_MAX + 512, /* a history record holds a whole spec record */
    PUBLIC_KEY_SIZE = 32,
    SIGNATURE_SIZE = 64
};

enum record_kind {
    RECORD_NODE = 1,
    RECORD_SPEC = 2,
    RECORD_REPLICAS = 3,
    RECORD_WANTED = 4,
    RECORD_DELETED = 5,
    RECORD_UNIT = 6,
    RECORD_HOLDER = 7,
    RECORD_KEY = 8,
    RECORD_REVOCATION = 9,
    RECORD_HISTORY = 10,
    RECORD_KIND_END
};

/* Fixed size and zero-filled, so that it hashes and compares as bytes. Integers in it are big endian,
 * so that byte order is key order. */
struct record_key {
    uint8_t kind; /* enum record_kind */
    uint8_t len;
    uint8_t b[RECORD_KEY_MAX];
};

struct version {
    uint64_t clock;
    node_id author;
};

/* A decoded record; slices and `bytes` are borrowed from the input. */
struct record {
    struct record_key key;
    struct version version;
    uint8_t author_key[PUBLIC_KEY_SIZE];
    uint8_t signature[SIGNATURE_SIZE];
    struct slice body;   /* one msgpack value, decoded by the kind's own decoder */
    struct slice bytes;  /* the whole record as it travels */
    struct slice signed_bytes; /* what the signature covers, without its label */
};

struct record_key record_key_node(node_id node);
struct record_key record_key_app(enum record_kind kind, const struct uid *app); /* spec … deleted */
struct record_key record_key_unit(const struct uid *app, uint16_t slot, node_id owner);
struct record_key record_key_holder(const struct hash *image, node_id node);
struct record_key record_key_history(const struct uid *app, struct version v);

bool record_key_equal(const struct record_key *a, const struct record_key *b);
int record_key_compare(const struct record_key *a, const struct record_key *b);
/* The parts of a key that was decoded (so its length fits its kind). */
struct uid record_key_uid(const struct record_key *k);    /* app kinds, unit, history */
uint16_t record_key_slot(const struct record_key *k);     /* unit */
node_id record_key_owner(const struct record_key *k);     /* node, unit, holder */
struct hash record_key_image(const struct record_key *k); /* holder */

int version_compare(struct version a, struct version b); /* <0, 0, >0: clock, then author */

/* Decode and check the form: known kind, key length of that kind, an author that may write it, a body that
 * is one msgpack value of at most RECORD_BODY_MAX. ERR_UNSUPPORTED for a kind this build doesn't know.
 * The signature is not checked. `bytes` must outlive *out. */
enum err record_decode(const void *bytes, size_t len, struct record *out) MUST_USE;

/* Sign and write a record: the shape of a call to the node's key. Fails only as the signer does. */
struct signer {
    void *ctx;
    node_id node;
    uint8_t public_key[PUBLIC_KEY_SIZE];
    enum err (*sign)(void *ctx, const char *label, const void *p, size_t len,
                     uint8_t signature[static SIGNATURE_SIZE]);
};
enum err record_encode(const struct signer *s, const struct record_key *key, uint64_t clock,
                       struct slice body, struct pack *out) MUST_USE;

/* A spec that lost, as history: anyone can make it, everyone can check it. The body is the spec record's bytes in a
 * bin; version, author's key and signature are the spec's, and signed_bytes of what is decoded are the spec's. */
enum err record_history_encode(const struct record *spec, struct pack *out) MUST_USE;

#define RECORD_LABEL "unimesh record 1"

#endif
