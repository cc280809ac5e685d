/* What the records say: one struct a kind, its encoder and its decoder.
 *
 * Every body is a msgpack array that grows at its end: a decoder takes longer arrays than it knows and
 * skips the rest (cursor_array_from). Decoders are pure, bound everything and allocate nothing; texts
 * of variable number (arguments, labels) stay borrowed from the input. Encoders write into a pack. */
#ifndef UNIMESH_MODEL_BODIES_H
#define UNIMESH_MODEL_BODIES_H

#include "store/base/ip.h"
#include "store/model/access.h"
#include "store/model/record.h"
#include "store/model/target.h"

enum {
    ADDRESSES_MAX = 4,
    LABELS_MAX = 16,
    LABEL_SIZE = 64,       /* a key or a value, with its NUL */
    ARGS_MAX = 64,
    ARGS_BYTES_MAX = 8192, /* a guest's command line, as Solo5 bounds it */
    EXIT_CODES_MAX = 16,
    REASON_SIZE = 128,
    NETS_MAX = 8,      /* of an app's guest */
    NETWORKS_MAX = 16, /* of a host */
    BLOCKS_MAX = 8,    /* of an app's guest */
    BLOCK_SECTOR_MIN = 512,
    BLOCK_SECTOR_MAX = 4096,
    BLOCK_MIB_MAX = 1u << 24,
    DEVICE_SIZE = 68,  /* a device's name in a manifest, with its NUL */
    UNIT_ADDRESSES_MAX = 2 * NETS_MAX, /* one of each family a net */
    REPLICAS_MAX = 1000,
    MEMORY_MIB_MIN = 2, /* the smallest guest that any tender boots (spt) */
    MEMORY_MIB_MAX = 1u << 20
};

struct label {
    char key[LABEL_SIZE];
    char value[LABEL_SIZE];
};

struct labels {
    uint32_t count;
    struct label v[LABELS_MAX]; /* sorted by key, no key twice */
};

void labels_encode(const struct labels *l, struct pack *k);
void labels_decode(struct cursor *c, struct labels *out);
bool labels_sorted(const struct labels *l); /* ascending, no key empty or there twice */
void version_encode(struct version v, struct pack *k);
void version_decode(struct cursor *c, struct version *out);

/* ---- node --------------------------------------------------------------------------------------- */

enum node_flags {
    NODE_LEFT = 1,     /* left for good: its claims are orphans at once */
    NODE_DRAINING = 2, /* gets no new offers */
    NODE_READ_ONLY = 4, /* its store takes no writes: gets no new offers */
    NODE_SETTLED = 8    /* it has been with the majority, undisturbed, in this life (placement.md, rule 8) */
};

struct node_body {
    uint8_t x25519[32];
    uint64_t boot;        /* wall ms at most; grows with every start */
    uint64_t incarnation; /* grows to refute a suspicion; begins at boot */
    char name[NAME_SIZE];
    uint32_t address_count;
    struct address addresses[ADDRESSES_MAX];
    uint32_t capacity_mib; /* memory that guests may reserve */
    uint32_t used_mib;     /* reserved now */
    uint64_t room_seq;     /* grows when room appears (placement.md, rule 2) */
    uint32_t targets;      /* bit 1 << enum target */
    uint8_t target_abi[TARGET_COUNT];
    uint32_t flags;        /* enum node_flags */
    uint64_t away_until_ms; /* wall; 0: not away */
    uint32_t placement_version;
    uint32_t cpus;
    char arch[16];
    struct labels labels;
    uint64_t published_ms; /* wall; renewed hourly, so that long dead ones can be told from others */
    uint32_t network_count;
    char networks[NETWORKS_MAX][NAME_SIZE]; /* that guests can be wired to here: ascending */
};

enum err node_body_encode(const struct node_body *n, struct pack *k) MUST_USE;
enum err node_body_decode(struct slice body, struct node_body *out) MUST_USE;

/* ---- app: three registers and a tombstone ------------------------------------------------------- */

enum restart_mode { RESTART_ALWAYS = 0, RESTART_ON_FAILURE = 1, RESTART_NEVER = 2 };
enum wanted { WANTED_RUNNING = 0, WANTED_STOPPED = 1 };
enum policy { POLICY_AVAILABLE = 0, POLICY_QUORUM = 1 /* reserved */ };

struct image_ref {
    enum target target;
    struct hash image; /* the hash of its chunk list: see store/images.h */
    uint64_t size_bytes;
};

struct net_ref { /* the guest's device, and the network that it is wired to */
    char device[DEVICE_SIZE];
    char network[NAME_SIZE];
};

/* A block device of the guest's, and the volume behind it. A volume is made where the slot is placed first, and the
 * slot stays there. */
struct block_ref {
    char device[DEVICE_SIZE];
    uint32_t size_mib;
    uint32_t sector_bytes; /* a power of two, BLOCK_SECTOR_MIN..BLOCK_SECTOR_MAX */
    uint32_t sparse;       /* 1: takes room on the disk as it is written; 0: all of it from the start */
};

/* What becomes of a slot whose volume's host is dead, or has left. */
enum volume_lost { VOLUME_LOST_WAIT = 0, VOLUME_LOST_EMPTY = 1 /* it starts elsewhere, with an empty one */ };

struct spec_body {
    char name[NAME_SIZE];
    uint32_t revision;      /* the parent's + 1; 1 for the first */
    struct version parent;  /* the spec that this one was written over; zero for the first */
    uint32_t image_count;
    struct image_ref images[TARGET_COUNT]; /* at most one a target, ascending */
    uint32_t memory_mib;
    enum restart_mode restart;
    uint32_t exit_code_count; /* none: every failure (or every end) restarts, as `restart` says */
    uint8_t exit_codes[EXIT_CODES_MAX];
    struct labels require;
    char affinity[NAME_SIZE]; /* "": the app's name is hashed */
    enum policy policy;
    uint32_t args_count;
    struct slice args; /* the msgpack strs, one after the other; read with spec_arg_next */
    uint32_t net_count;
    struct net_ref nets[NETS_MAX]; /* in the manifest's order, by which a virtio guest finds them */
    uint32_t mirage; /* which of MirageOS's arguments for the network its images know: enum solo5_mirage. Of an app
                        with nets */
    uint32_t block_count;
    struct block_ref blocks[BLOCKS_MAX]; /* in the manifest's order, as the nets */
    enum volume_lost volume_lost;
    struct access access; /* what comes in on its nets */
};

/* Device names are Solo5's: letters and digits. Checks names and that no device is there twice; writes a sentence. */
enum err nets_check(const struct net_ref *nets, uint32_t count, char *text, size_t size) MUST_USE;
/* The same of block devices, with their sizes and sectors. */
enum err blocks_check(const struct block_ref *blocks, uint32_t count, char *text, size_t size) MUST_USE;
void blocks_encode(const struct block_ref *blocks, uint32_t count, struct pack *k);
/* Their form; what they say is for blocks_check. */
void blocks_decode(struct cursor *c, struct block_ref blocks[static BLOCKS_MAX], uint32_t *count);

/* args_strings: args_count NUL-ended strings; ->args and ->args_count are ignored.
 * ERR_TOO_LARGE: over ARGS_BYTES_MAX or RECORD_BODY_MAX. ERR_INVALID: an argument is not UTF-8, or holds a control
 * character. */
enum err spec_body_encode(const struct spec_body *s, const char *const *args_strings,
                          uint32_t args_count, struct pack *k) MUST_USE;
enum err spec_body_decode(struct slice body, struct spec_body *out) MUST_USE;
/* Iterate: start with *rest = spec->args; false at the end. The slice is not NUL-ended. */
bool spec_arg_next(struct slice *rest, struct slice *arg);

/* What a person may ask for, checked alike at the command line, the node and the decoder: name, memory
 * MEMORY_MIB_MIN..MEMORY_MIB_MAX, images, labels; arguments are checked where they are encoded and decoded. Writes
 * a sentence for people to text. */
enum err spec_check(const struct spec_body *s, char *text, size_t size) MUST_USE;

struct replicas_body {
    uint32_t replicas; /* 0..REPLICAS_MAX */
};
enum err replicas_body_encode(const struct replicas_body *r, struct pack *k) MUST_USE;
enum err replicas_body_decode(struct slice body, struct replicas_body *out) MUST_USE;

struct wanted_body {
    enum wanted wanted;
};
enum err wanted_body_encode(const struct wanted_body *w, struct pack *k) MUST_USE;
enum err wanted_body_decode(struct slice body, struct wanted_body *out) MUST_USE;

struct deleted_body {
    char name[NAME_SIZE];
    uint64_t wall_ms;
};
enum err deleted_body_encode(const struct deleted_body *d, struct pack *k) MUST_USE;
enum err deleted_body_decode(struct slice body, struct deleted_body *out) MUST_USE;

/* ---- unit: one owner's claim on a slot ---------------------------------------------------------- */

#define UNIT_STATE_LIST(X)                                                                         \
    X(PENDING, 0, "pending")   /* nobody carries it; never in a record, only in what we show */     \
    X(FETCHING, 1, "fetching") /* claimed, the image is on its way */                               \
    X(STARTING, 2, "starting")                                                                     \
    X(RUNNING, 3, "running")                                                                       \
    X(STOPPING, 4, "stopping")                                                                     \
    X(STOPPED, 5, "stopped") /* by wish, or given up: see `released` */                             \
    X(BACKOFF, 6, "backoff") /* ended, starts again here after a while */                           \
    X(FAILED, 7, "failed")   /* the image's fault, or out of restarts: not started anywhere */      \
    X(DONE, 8, "done")       /* ended as it should, restart says no */

enum unit_state {
#define X(name, number, text) UNIT_##name = number,
    UNIT_STATE_LIST(X)
#undef X
    UNIT_STATE_COUNT
};
const char *unit_state_text(enum unit_state s);

struct unit_address { /* that a guest has on a network. It stays the slot's, whoever owns that */
    char network[NAME_SIZE];
    struct ip ip;
    uint64_t since_ms; /* wall, when it was chosen: of two that have the same, the later one takes another */
};

struct unit_body {
    uint64_t epoch;
    uint32_t surrogate; /* 0: a claim. Else made on a minority's side, never above a claim: its own
                           number, which grows with each that this owner makes for the slot; epoch is then
                           the highest that the owner knew, unraised */
    uint32_t released;  /* 1: the owner gave the slot up; it is empty at this epoch */
    struct version spec; /* what it runs */
    uint32_t revision;
    enum unit_state state;
    enum target target;
    uint32_t restarts;
    int32_t exit_status; /* of the last end; -1: none yet */
    uint32_t exit_signal;
    uint64_t since_ms; /* wall, when the state was entered */
    uint32_t pid;      /* of the tender, on its host; 0: none runs */
    uint32_t memory_mib; /* what the host reserves for it, while it runs */
    uint64_t run;      /* the name of what was started last: the epoch then, or 1 << 63 | surrogate. A
                          claim may outgrow it: what runs well is not started again for a new epoch */
    uint64_t boot;     /* the owner's when it said so: what another life of it says of running is stale */
    uint64_t volume;   /* the slot's volume is on the owner's disk, and was made at this epoch; 0: none is. It stays
                          when the claim goes. Of several the highest counts: see volumes.c */
    node_id volume_from; /* the host that it was carried here from, which drops its own; 0: it was made here */
    char reason[REASON_SIZE];
    uint32_t address_count;
    struct unit_address
        addresses[UNIT_ADDRESSES_MAX]; /* in the order of the spec's nets. Last: only so many are copied */
};

/* As it is, with as many addresses as it has. */
void unit_body_copy(struct unit_body *to, const struct unit_body *from);
enum err unit_body_encode(const struct unit_body *u, struct pack *k) MUST_USE;
enum err unit_body_decode(struct slice body, struct unit_body *out) MUST_USE;

/* Which of two claims on a slot wins: surrogates last, then the higher epoch, then a hash of
 * (app, slot, epoch, owner). Never by state or version: what changes must not decide.
 * <0: a loses; >0: a wins; 0: the same claim. */
struct claim {
    struct unit_id id; /* app, slot, epoch */
    node_id owner;
    uint32_t surrogate;
};
int claim_compare(const struct claim *a, const struct claim *b);

/* ---- holder ------------------------------------------------------------------------------------- */

struct holder_body {
    uint32_t present; /* 0: dropped it */
    uint64_t size_bytes;
};
enum err holder_body_encode(const struct holder_body *h, struct pack *k) MUST_USE;
enum err holder_body_decode(struct slice body, struct holder_body *out) MUST_USE;

/* Decode whatever the kind says, for its form only (what merging demands of a stranger's record). */
enum err body_check(const struct record *r) MUST_USE;

#endif
