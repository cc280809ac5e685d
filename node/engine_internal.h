/* What the engine's files share. Each file owns a part of struct engine and says so there:
 *
 *   engine.c    the step, the deadline, creation, what others may read
 *   records.c   merging what comes, publishing what is ours, what waits for the disk
 *   peers.c     datagrams: keys, windows, SWIM's effects, gossip
 *   sync.c      calls: hello, anti-entropy, pulls, keeping copies for others
 *   self.c      our own node record: incarnation, room, away, leaving
 *   apps.c      apps and their slots as the records say, and the views
 *   planner.c   the notary: offers for empty slots, moves
 *   side.c      which side of a split we are on
 *   copies.c    copies of images and records
 *   admission.c the host: offers taken or refused
 *   units.c     the host: each unit's state machine
 *   restarts.c  the host: what follows an end that nobody asked for
 *   addresses.c the host: the addresses of our units' guests
 *   claims.c    the host: its own claims as the disk and the peers tell of them
 *   access.c    the host: whom they let in
 *   images.c    the host: images wanted, fetched, held
 *   volumes.c   where a slot's volume is, and who may run the slot
 *   carry.c     a volume is carried to another host
 *   commands.c  what operators ask
 */
#ifndef UNIMESH_NODE_ENGINE_INTERNAL_H
#define UNIMESH_NODE_ENGINE_INTERNAL_H

#define UNIMESH_UTHASH
#include "gossip/message.h"
#include "node/bugs.h"
#include "node/engine.h"
#include "placement/placement.h"
#include "store/model/args.h"

enum {
    NEVER_RETRY_MS = 1000,       /* between two tries of what failed for want of something */
    HELLO_RETRY_MS = 1000,       /* an address of --join, until somebody answered */
    HELLO_IDLE_MS = 30000,       /* … and afterwards, so that a healed partition is noticed */
    HELLO_PEER_MS = 5000,        /* at most one hello a peer in this time */
    CALL_TIMEOUT_MS = 5000,
    KEEP_TIMEOUT_MS = 60000,     /* images take their time; who went down doesn't say so */
    KEEP_HEDGE_MS = 5000,        /* … but after this another is asked, too */
    JOINS_MAX = 32,
    CALLS_MAX = 64,
    PULLS_MAX = 256,
    KEEPS_MAX = 64,
    COMMANDS_MAX = 256,
    KEEP_APPS_MAX = 4,           /* apps that one CALL_KEEP speaks of (ours speaks of one) */
    TRIED_MAX = 16,              /* nodes asked to keep one command's records */
    UNDO_MAX = 3,                /* registers that one command writes */
    REFUSALS_MAX = 16,
    SELF_PUBLISH_MS = 300,       /* memory in use is published at most so often */
    SELF_AGAIN_MS = 3600 * 1000, /* … and all of it at least so often */
    LONG_DEAD_MS = 24 * 3600 * 1000, /* who published nothing for so long isn't waited for */
    HOST_FAULT_MS = 60000,       /* a host that failed an app takes it again after this */
    COPIES_CHECK_MS = 1000,
    IMAGE_TRIES = 3,             /* a host that can't have an image passes its unit on */
    STRANGERS_MAX = 256,
    MOVE_TIMEOUT_MS = 30000,
    AWAY_LINGER_MS = 150         /* between telling that we are away and quitting */
};

#define RUN_SURROGATE     (UINT64_C(1) << 63)

/* ---- peers.c ------------------------------------------------------------------------------------ */

struct peer { /* what each look-up and each count reads stands together, first */
    node_id node;
    UT_hash_handle hh;
    const struct member *member; /* SWIM's; holds for swim_removals() == member_removals */
    uint64_t member_removals;
    uint32_t capacity_mib, used_mib, targets, flags; /* what placement asks of its record, kept at hand */
    uint64_t room_seq;
    uint64_t away_until_ms; /* wall */
    uint64_t record_boot, published_ms; /* of its node record */
    uint64_t boot;          /* the highest known, by record or by packet */
    bool stable;            /* of the last stable membership (placement.md, rule 8) */
    bool heard;             /* it has been alive in this life of ours */
    uint8_t side;           /* what of side.c's counts it is in */
    uint32_t alive_at;      /* its place in the engine's `alive`, and one; 0: it isn't */
    uint32_t claimed_mib;   /* what claims on it, and offers to it, take (apps.c: slot_account) */
    uint32_t app_units;     /* scratch of planner.c */
    uint8_t x25519[32];
    uint8_t send_key[SEAL_KEY_SIZE], recv_key[SEAL_KEY_SIZE];
    bool keyed;
    struct window window;
    uint64_t hello_next_ms; /* not before */
};

/* ---- records.c ---------------------------------------------------------------------------------- */

struct unsynced { /* a write under way; an own record spreads once it is on disk */
    uint64_t seq;     /* 0: it failed, and is due again */
    uint64_t clock;   /* of the version written: another may have taken its place meanwhile */
    bool own;
    struct record_key key;
};

/* ---- apps.c ------------------------------------------------------------------------------------- */

struct slot {
    /* The winner among real claims, and the best surrogate; owner 0: none. */
    struct slot_claim {
        node_id owner;
        struct peer *peer; /* the owner, if it is one; looked up once, as slot_holder asks often */
        uint64_t epoch;
        uint32_t surrogate;
        bool released;
        enum unit_state state;
        uint64_t boot;     /* of the owner, when it said so */
        uint64_t volume;   /* … and a volume of the slot that it has; 0: none */
        node_id volume_from;
        struct version spec;
    } real, surrogate;
    struct slot_volume {     /* the slot's: owner 0: none was made */
        node_id owner;
        uint64_t epoch;
        node_id from;        /* who had it before; 0: it was made there */
    } volume;
    bool dirty;              /* to be worked out again */
    uint64_t surrogates;     /* whose there are, as bits by a hash: who lives changes who holds it */
    uint64_t epoch_seen;     /* the highest epoch in any record */
    uint64_t epoch_max;      /* … or offered by us */
    uint64_t empty_since_ms; /* 0: filled */
    uint64_t retry_ms;       /* no offer before */
    uint64_t learn_epoch;    /* a host knows of a claim at this epoch, and its record is on its way … */
    uint64_t learn_ms;       /* … which is waited for until then */
    uint64_t nobody;         /* nobody could carry it at this room_generation; 0: not known */
    uint64_t turn_ms;        /* … and as that has changed, a later notary looks again then; 0: not waiting */
    node_id runner;          /* who runs it though the slot is empty was offered a claim … */
    uint64_t runner_generation; /* … at this room_generation */
    struct { /* our offer in flight, as notary or mover */
        node_id to;          /* 0: none */
        uint64_t epoch;
        enum offer_kind kind;
        bool surrogate;
        uint32_t tries;
        uint64_t next_ms;
        uint64_t client;     /* MOVE: whom to tell */
        uint64_t until_ms;   /* MOVE: then we give up */
        bool anywhere;       /* MOVE: no host was named */
    } offer;
    struct account {         /* what slot_account has put on whom: claim, surrogate, offer */
        uint32_t *claimed_mib;
        uint32_t mib;
    } accounts[3];
};

struct refusal {
    node_id node;
    uint64_t room_seq;
    char reason[REASON_SIZE];
};

struct app { /* what each look-up and each pass over all apps reads stands together, first */
    struct uid uid;
    UT_hash_handle hh;
    uint32_t index;       /* in e->passed */
    uint64_t fault_until_ms; /* this host failed it: not here before */
    uint64_t rank_generation;
    uint32_t rank;        /* ours among its notaries, as of alive_generation; NOTARIES: we aren't one */
    bool deleted, shadowed, has_spec;
    bool dirty;           /* its records changed: in e->apps_dirty */
    bool slots_dirty;     /* … so that a slot of it is to be worked out again, from all of them */
    bool registers_dirty; /* … and what it should be, too */
    bool plan;            /* … and look whether a slot is to be offered: in e->plan_apps */
    bool pending;         /* the planner waits for something: an answer, a time, room: in e->pending_apps */
    bool ours;            /* we have, or had, a claim on a slot of it */
    uint32_t replicas;
    uint32_t slot_count;
    struct slot *slots; /* slot_count of them, at least `replicas` */
    struct app *dirty_next, *plan_next, *pending_prev, *pending_next;
    char name[NAME_SIZE];
    struct version spec_version;
    uint32_t revision;
    uint32_t memory_mib;
    enum wanted wanted;
    bool blocks;          /* its guests have volumes */
    enum volume_lost volume_lost;
    uint64_t unknown_ms;  /* we have a unit of it, and since then neither spec nor tombstone; 0: no */
    uint32_t refusal_count, refusal_next;
    struct refusal refusals[REFUSALS_MAX];
};

/* ---- units.c ------------------------------------------------------------------------------------ */

enum run_state { RUN_NONE, RUN_STARTING, RUN_UP, RUN_STOPPING, RUN_ENDED /* until its end is on disk */ };

struct unit_key {
    struct uid app;
    uint16_t slot;
    uint8_t pad[6];
};

struct unit { /* our own claim on a slot, and what runs here for it */
    struct unit_key key;
    UT_hash_handle hh;
    enum run_state run;
    uint32_t reserved_mib;
    uint64_t claim_seq;         /* the write of the claim: nothing starts before it is on disk */
    uint64_t end_seq;           /* RUN_ENDED: the write of the end */
    node_id answer_to;          /* an offer to accept when claim_seq is on disk; 0: none */
    uint64_t deadline_next_ms;  /* renew the guest's deadline then */
    bool deadline_set;
    bool waits;                 /* to start, for the claim to be on disk */
    bool found;                 /* adopted, or known not to run (after the boot wait) */
    uint32_t failures;          /* in a row: the backoff's exponent */
    uint64_t run_started_ms;
    uint64_t backoff_until_ms;
    uint32_t host_seen;         /* host_changes when it was seen to have its networks here */
    bool access_names;          /* it lets in, or out, other apps by name … */
    uint64_t access_hash;       /* … who then had these addresses; 0: not looked at yet */
    bool readdress;             /* another has an address of its, and keeps it: it takes a new one */
    enum arg_words words;       /* which of MirageOS's arguments it has not refused */
    uint64_t volume_asked;      /* the volume that we asked to be made or looked at; 0: none */
    bool volume_made;           /* … to be made */
    bool volume_here;           /* it is there: the next start may be */
    node_id carry_from;         /* its volume is to be carried here from there; 0: it isn't */
    uint64_t carry_volume;      /* … and is this one here */
    bool inherited;             /* the claim is an earlier life's, and nothing was started for it in this one */
    struct unit_body body;      /* as last published */
    node_id offer_from;         /* who offered it, and so may have the image */
    struct message_offer offer;
};

/* ---- carry.c ------------------------------------------------------------------------------------ */

enum { CARRIES_MAX = 8 };
enum carry_state { CARRY_NONE, CARRY_COPYING, CARRY_COPIED, CARRY_FAILED };

struct carry { /* a volume that we copy before we claim its slot */
    struct unit_id volume; /* what it is to be here: the offer's */
    enum carry_state state;
    uint64_t asked_ms; /* when the offer came last */
    char reason[REASON_SIZE];
};

/* A run that no claim of ours names: stopped, once we have synced. How much memory it takes nobody knows, so that
 * nothing starts, and nothing is admitted, before it is gone. */
struct stranger {
    struct unit_id unit;
    bool stopping;
    enum target target;
    uint32_t pid;
};

struct image {
    struct hash hash;
    UT_hash_handle hh;
    struct image *missing_prev, *missing_next; /* in e->images_missing */
    uint64_t size_bytes;
    bool have, fetching, wanted;
    node_id hint; /* who should have it, though no record says so yet */
    uint32_t tries;
    uint64_t next_ms; /* not before: after a failure */
    char reason[REASON_SIZE];
};

/* ---- sync.c ------------------------------------------------------------------------------------- */

enum call_purpose { PURPOSE_HELLO, PURPOSE_SYNC, PURPOSE_PUSH, PURPOSE_PULL, PURPOSE_KEEP_COMMAND,
                    PURPOSE_KEEP_COPY };

struct out_call {
    uint64_t id; /* 0: free */
    enum call_purpose purpose;
    node_id node;
    struct address address;
    uint64_t command; /* KEEP_COMMAND: the pending command's client */
    struct uid app;   /* KEEP_COPY */
    uint64_t at_ms;   /* when it was made */
    bool again;       /* PUSH: there was more; exchange once more */
    bool all;         /* PUSH: of ours nothing was left out … */
    uint64_t changes; /* … as it was at this app_changes */
};

struct join {
    struct address address;
    uint64_t next_ms;
};

struct pull {
    node_id from;
    struct record_key key;
};

struct keep { /* a peer's CALL_KEEP that we owe an answer, or the CALL_PUSH of one that leaves */
    uint64_t conn; /* 0: free */
    uint64_t seq;  /* all that was merged before is written by then, or due again */
    bool push;     /* any write that fails fails it */
    uint32_t app_count;
    struct uid apps[KEEP_APPS_MAX]; /* whose records were given */
    node_id from;
    struct address from_address;
    uint32_t image_count;
    struct hash images[TARGET_COUNT];
    uint64_t until_ms;
};

void unit_enter(struct engine *e, struct unit *u, enum unit_state state, const char *reason);
void unit_fault(struct engine *e, const struct unit *u); /* this host failed it: not here for a while */

/* ---- restarts.c ---------------------------------------------------------------------------------- */

void unit_ended_by_itself(struct engine *e, struct unit *u, const struct unit_end *end);

/* ---- addresses.c --------------------------------------------------------------------------------- */

/* Give each net of the spec its addresses: those that the unit has, or its slot had, where nobody else has them; or new
 * ones. `changed`: they are to be recorded before it starts. ERR_FULL: none is free, `why` says of which network. */
enum err addresses_settle(struct engine *e, struct unit *u, const struct spec_body *spec, bool *changed, char *why,
                          size_t size) MUST_USE;
void addresses_freed(struct engine *e); /* a claim was given up, or an app removed */
/* A claim, be it another's or ours: does it have an address of a unit of ours, and keep it? */
void addresses_on_unit(struct engine *e, const struct entry *entry);
void addresses_look(struct engine *e); /* … at all claims that were on disk, for what was adopted */
void addresses_of_nets(const struct engine *e, const struct unit *u, const struct spec_body *spec,
                       struct arg_net out[static NETS_MAX]);
const struct guest_net *addresses_for_start(struct engine *e, const struct unit *u, const struct spec_body *spec);

/* ---- access.c ------------------------------------------------------------------------------------ */

/* What comes in to the unit's guest, in the effects' buffer; NULL: it has no nets. */
const struct guest_access *access_for_start(struct engine *e, struct unit *u, const struct spec_body *spec);
/* Does another unit of this host publish a port that the spec publishes? `why` says which. */
bool access_published(const struct engine *e, const struct uid *app, uint16_t slot, const struct spec_body *spec,
                      char *why, size_t size);
void access_look(struct engine *e); /* an address of some unit, or an app's name, is new or gone */
void access_tick(struct engine *e);

/* ---- commands.c --------------------------------------------------------------------------------- */

struct undo { /* what a register held before a command */
    struct record_key key;
    struct version written; /* what the command put there */
    uint8_t *bytes; /* NULL: nothing */
    size_t len;
};

struct pending { /* a command that waits for disks, ours and others' */
    uint64_t client; /* 0: free */
    enum command_kind kind;
    struct uid app;
    uint64_t first_seq, seq; /* its writes */
    struct version spec;     /* DEPLOY: of the spec that it wrote; clock 0: none yet */
    bool durable;
    uint32_t copies, need, asked;
    uint64_t hedge_ms;       /* then those who haven't answered count for nothing */
    uint64_t until_ms, next_ms;
    uint32_t revision;
    uint32_t tried_count;
    node_id tried[TRIED_MAX];
    uint32_t undo_count;
    struct undo undo[UNDO_MAX];
    char text[256];
};

enum stop_how {
    STOP_AWAY,   /* guests run on, we come back */
    STOP_GUESTS, /* guests end too, we come back */
    STOP_LEAVE   /* guests are handed over, we don't come back */
};
enum stop_phase { STOP_NOT = 0, STOP_HANDING_OVER, STOP_ENDING_GUESTS, STOP_TOLD };

struct engine {
    struct mem *mem;
    const struct crypto *crypto;
    struct engine_config cfg;
    struct rng root, rng;
    struct signer signer;
    uint64_t now, wall, started_ms; /* of this step; of the first */
    struct effects *fx;             /* of this step */
    struct engine_counters count;

    struct swim *swim;
    struct replica *replica;

    struct peer *peers;
    node_id *alive;          /* the members that are, in no order */
    uint32_t alive_count, alive_size;
    uint64_t counter;        /* packets sent in this life */
    uint64_t gossip_next_ms; /* 0: nothing to tell */
    size_t gossip_at;        /* where in SWIM's list the next to be told is */

    uint64_t write_seq, durable_seq;
    struct unsynced *unsynced; /* a ring */
    size_t unsynced_head, unsynced_count, unsynced_size;
    uint64_t rewrite_ms;     /* a write failed: try ours again then; 0: no */
    bool write_failed;       /* … the last one did: no new units before one succeeds */

    struct out_call calls[CALLS_MAX];
    uint64_t call_id;
    struct join joins[JOINS_MAX];
    uint32_t join_count;
    struct pull pulls[PULLS_MAX];
    uint32_t pull_count;
    struct keep keeps[KEEPS_MAX];
    uint32_t keep_count;
    node_id sync_peer;       /* whose root differed last */
    uint64_t sync_next_ms;   /* no exchange before */
    uint64_t sync_due_ms;    /* an exchange with sync_peer is due then; 0: none */
    bool sync_busy;
    bool synced;             /* with a peer, since the start */
    bool ready;              /* may start and offer (placement.md, rule 3) */
    uint32_t disk_members;   /* known from disk at the start */
    uint64_t disk_hello_ms;

    struct node_body self;   /* as last published */
    uint64_t self_published_ms;
    uint64_t self_next_ms;   /* publish then */
    struct host_facts host;
    uint32_t host_changes;      /* how often they were others than before */
    bool host_known;         /* the trial boots have ended */
    uint64_t room_seq;
    enum stop_phase stopping;
    enum stop_how stop_how;
    uint64_t stop_client;
    uint64_t stop_began_ms, stop_until_ms;
    uint64_t app_changes;    /* grows with each record that is acknowledged as kept */
    node_id handed_to;       /* leaving: it has all of them on its disk; 0: none has … */
    uint64_t handed_changes; /* … as they were at this app_changes */
    bool left_handed, left_images; /* left: all records were handed over; some images were not */

    struct app *apps;
    struct passed {          /* what a pass over all apps asks first, in the order of their coming */
        struct app *app;
        uint64_t owners;     /* whose life decides who holds a slot, and maybe more: as bits by a hash */
        uint64_t surrogates; /* whose surrogates there are: likewise */
        bool open;           /* a slot is empty, or being placed: any change of members concerns it */
    } *passed;
    uint32_t passed_size;
    struct app *apps_dirty;  /* a list */
    struct app *plan_apps;   /* likewise */
    struct app *pending_apps;
    bool plan_all, plan_room;
    uint64_t plan_owners;    /* plan the apps of these owners, as bits by a hash, and those that are open */
    uint64_t alive_generation; /* grows when a member begins or ceases to be alive (a suspect isn't), or present */
    uint64_t room_generation; /* grows whenever somebody may have got room, or may be asked again */
    uint64_t plan_next_ms;
    uint64_t fill_from_ms;   /* no empty slot is offered before */
    struct candidate *candidates;
    size_t candidates_size;
    uint32_t self_claimed_mib; /* as a peer's claimed_mib */
    bool minority, undecided;
    struct side {            /* of the members: counts, and who comes first, of those that count */
        uint32_t count, live, alive, vanished, settled;
        struct peer *lowest;
        uint64_t removals;   /* SWIM's, as of the last recount */
        uint64_t recounted_ms;
    } side;
    uint64_t side_generation; /* SWIM's, as of the last look */
    uint64_t healing_ms;     /* we were with a minority: those whom we held dead have until then to come back */
    uint64_t side_next_ms;   /* undecided: look again then */
    bool stable_settled;     /* the stable set has been cut to who lives, since the last change */
    uint64_t membership_changed_ms;
    uint64_t copies_next_ms;

    struct unit *units;
    bool scanned;            /* what ran here before has been found */
    struct stranger strangers[STRANGERS_MAX];
    uint32_t stranger_count;
    bool units_dirty;
    bool addresses_short;  /* a unit was refused for want of one */
    bool access_look;      /* who lets in whom may have changed */
    uint64_t access_next_ms;
    bool addresses_looked; /* at all others' claims, since we are ready */
    uint64_t faults_ms;      /* the first app's fault_until_ms; UINT64_MAX: none has one; 0: to be looked for */
    uint64_t units_next_ms;
    uint32_t reserved_mib;
    struct unit_id *volumes; /* on this disk: app, slot, the epoch that each was made at */
    uint32_t volume_count, volume_size;
    struct carry carries[CARRIES_MAX];
    struct image *images;
    struct image *images_missing; /* wanted, and not here */

    struct pending commands[COMMANDS_MAX];
    uint32_t command_count;
    uint32_t store_permille;
};

static inline uint64_t min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static inline bool bug(const struct engine *e, enum bug b)
{
    return (e->cfg.bugs & (uint32_t)b) != 0;
}

static inline bool version_equal(struct version a, struct version b)
{
    return a.clock == b.clock && a.author == b.author;
}

/* Of the kinds that commands write, and are acknowledged when others keep it: an app's registers, its tombstone, and
 * specs of it that lost. */
static inline bool is_of_app(const struct record_key *k)
{
    return (k->kind >= RECORD_SPEC && k->kind <= RECORD_DELETED) || k->kind == RECORD_HISTORY;
}

/* ---- records.c ---------------------------------------------------------------------------------- */

enum origin { ORIGIN_DISK, ORIGIN_PEER };
/* Merge a record and let the rest of the engine know. Normal refusals (stale) come back as errors. */
enum err records_merge(struct engine *e, const void *bytes, size_t len, enum origin origin);
/* Sign body under key, merge, write; it spreads once on disk. *seq: the write's. For one-writer kinds the clock
 * is one above the copy held, else the hybrid clock. */
enum err records_publish(struct engine *e, const struct record_key *key, struct slice body,
                         uint64_t *seq) MUST_USE;
void records_on_written(struct engine *e, uint64_t seq, enum err err);
/* Are the app's spec, registers, tombstone and history, as held now, all on disk? Asked about what was merged, not
 * about a sequence: a record that came a second time is on disk only when the write of the first is. */
bool records_app_on_disk(const struct engine *e, const struct uid *app);
void records_tick(struct engine *e);
uint64_t records_deadline(const struct engine *e);

/* ---- peers.c ------------------------------------------------------------------------------------ */

struct peer *peer_find(const struct engine *e, node_id node);
/* A node record was merged. */
void peers_on_node_record(struct engine *e, const struct entry *entry, enum origin origin);
void peers_on_datagram(struct engine *e, const struct event *ev);
void peers_run_swim(struct engine *e, const struct swim_effects *out);
/* A signed accusation from anywhere: verified, then given to SWIM. */
enum err peers_accuse(struct engine *e, const struct accusation *a);
void peers_tick(struct engine *e);
uint64_t peers_deadline(const struct engine *e);
/* There is news: gossip soon. */
void peers_news(struct engine *e);
/* Send a message of its fields (already packed) and whatever news fits. */
void peers_send(struct engine *e, node_id to, enum message_type type, const struct pack *fields);
const struct member *peer_member(const struct engine *e, struct peer *p); /* NULL: SWIM forgot it */
bool peer_is_alive(const struct engine *e, struct peer *p); /* as peer_alive, without a look-up */
bool peer_alive(const struct engine *e, node_id node); /* alive, not away: can be asked for things; self is */
bool peer_live(const struct engine *e, node_id node);  /* not dead, not left: its claims hold; self is */
bool peer_is_live(const struct engine *e, struct peer *p); /* as peer_live, without a look-up */
uint32_t peers_live_count(const struct engine *e);     /* alive ones, with us */
uint32_t peers_known_count(const struct engine *e);    /* not left, with us */
bool peer_stays(const struct engine *e, node_id node); /* alive, and not about to leave */
uint32_t peers_staying_count(const struct engine *e);  /* of the alive ones, with us */
node_id peers_random_staying(struct engine *e); /* 0: none */
node_id peers_any_staying(const struct engine *e, const node_id *not, uint32_t not_count); /* 0: none */

/* ---- sync.c ------------------------------------------------------------------------------------- */

void sync_hello_peer(struct engine *e, node_id node);
void sync_on_root(struct engine *e, node_id from, uint64_t root);
void sync_want(struct engine *e, node_id from, const struct record_key *key);
void sync_on_call(struct engine *e, const struct event *ev);
void sync_on_answer(struct engine *e, const struct event *ev);
void sync_on_join(struct engine *e, const struct address *a);
/* Ask a node to keep an app's registers and images, and `lost`, a history record of it; NULL: none. False: no call
 * could be made. */
bool sync_keep(struct engine *e, node_id node, const struct uid *app, const struct entry *lost,
               enum call_purpose purpose, uint64_t command);
void sync_keeps_check(struct engine *e);
/* Leaving: a peer that stays has all that we know on its disk. */
bool sync_handed(const struct engine *e);
void sync_on_write_failed(struct engine *e, uint64_t from, uint64_t to);
void sync_tick(struct engine *e);
uint64_t sync_deadline(const struct engine *e);

/* ---- self.c ------------------------------------------------------------------------------------- */

void self_init(struct engine *e);
void self_changed(struct engine *e);    /* used memory: publish soon */
void self_changed_now(struct engine *e); /* what others wait for: publish in this step */
void self_room(struct engine *e);       /* room appeared: room_seq grows */
void self_refute(struct engine *e, uint64_t incarnation);
void self_on_own_record(struct engine *e, const struct entry *entry);
void self_read_only(struct engine *e); /* the store's fill, or the last write's fate, may have changed */
void self_on_host(struct engine *e, const struct host_facts *h);
void self_stop(struct engine *e, enum stop_how how, uint64_t client);
bool self_leaves(const struct engine *e); /* for good: nobody may count on our disk */
bool self_takes_units(const struct engine *e); /* not stopping, not leaving */
void self_tick(struct engine *e);
uint64_t self_deadline(const struct engine *e);

/* ---- apps.c ------------------------------------------------------------------------------------- */

struct app *app_find(const struct engine *e, const struct uid *uid);
struct app *app_by_name(const struct engine *e, const char *name); /* the one that owns the name */
void apps_on_record(struct engine *e, const struct record_key *key); /* a register */
void apps_on_unit(struct engine *e, const struct entry *entry);
uint64_t owner_bit(node_id owner); /* one of 64 */
void apps_on_liveness(struct engine *e, node_id member); /* it lives, or doesn't any more; 0: any may */
void apps_refresh(struct engine *e); /* those that are dirty */
enum err app_spec(const struct engine *e, const struct app *a, struct spec_body *out) MUST_USE;
/* The arguments of one of its units, filled in, in the effects' buffer. */
struct start_args {
    uint32_t count;
    struct slice packed;
};
/* ERR_NOT_FOUND: they want an address that there is none of, `why` says which. */
enum err app_args(struct engine *e, const struct app *a, const struct spec_body *spec, const struct unit *u,
                  struct start_args *out, char *why, size_t size) MUST_USE;
/* At rest: ended as it should, or failing everywhere, with the spec that is wanted now. It takes no memory, and nobody
 * starts it elsewhere, whatever becomes of its host. */
bool slot_at_rest(const struct app *a, const struct slot_claim *c);
/* Count the slot's memory where its claim is, and where it is offered: after either has changed. */
void slot_account(struct engine *e, const struct app *a, struct slot *s);
/* The claim that holds the slot as this side of the mesh sees it; NULL: empty. */
const struct slot_claim *slot_holder(const struct engine *e, const struct app *a, uint32_t slot);
bool app_uses_image(const struct engine *e, const struct app *a, const struct hash *image);

/* ---- planner.c ---------------------------------------------------------------------------------- */

void planner_all(struct engine *e); /* plan everything at the end of this step */
void planner_member(struct engine *e, node_id member); /* … what depends on whether this one lives */
void planner_returned(struct engine *e); /* after a restart we know the records of one peer */
void planner_room(struct engine *e); /* … what waits for room, or for anything */
void planner_alive(struct engine *e); /* other members are alive now: who the notaries are has changed */
void planner_app(struct engine *e, struct app *a); /* … one app */
void planner_tick(struct engine *e);
uint64_t planner_deadline(const struct engine *e);
void planner_on_answer(struct engine *e, node_id from, const struct message_offer_answer *a);
enum err planner_move(struct engine *e, struct app *a, uint16_t slot, node_id to, uint64_t client,
                      char *text, size_t size) MUST_USE;
/* The same of one that has a volume, which goes along. */
enum err planner_carry(struct engine *e, struct app *a, uint16_t slot, node_id to, uint64_t client,
                       char *text, size_t size) MUST_USE;
/* A claim of ours is on disk: the app's notaries hear of it at once, before one of them offers the slot elsewhere. */
void planner_tell_notaries(struct engine *e, const struct app *a, uint32_t slot);
/* Why nobody carries the slot, for people. */
void planner_reason(struct engine *e, struct app *a, uint32_t slot, char *text, size_t size);
/* Our place among the app's notaries (rule 3); NOTARIES: we aren't one. */
uint32_t planner_rank(const struct engine *e, struct app *a);

/* ---- side.c -------------------------------------------------------------------------------------- */

bool side_minority(const struct engine *e);
/* With those who don't answer, though nobody called them dead yet, the majority would be lost: nothing new is begun
 * until it is clear. */
bool side_undecided(const struct engine *e);
void side_peer(struct engine *e, struct peer *p);    /* something of its record, or its boot number, is new */
void side_changed(struct engine *e, const struct swim_effect *f); /* … its state in SWIM */
void side_tick(struct engine *e);
uint64_t side_deadline(const struct engine *e);

/* ---- copies.c ------------------------------------------------------------------------------------ */

void copies_soon(struct engine *e); /* some may be missing */
void copies_tick(struct engine *e);
/* Live nodes that hold all the app's images. */
uint32_t copies_count(const struct engine *e, const struct app *a);
/* Another node that stays, and answers, holds all the app's images. */
bool copies_elsewhere(const struct engine *e, const struct app *a);
/* The best node to keep the app that isn't in `not`, and doesn't hold its images yet; 0: none. */
node_id copies_keeper(struct engine *e, const struct app *a, const node_id *not, uint32_t not_count);

/* ---- claims.c ----------------------------------------------------------------------------------- */

void claims_on_own_record(struct engine *e, const struct entry *entry, enum origin origin);
/* Before a peer's copy of a claim of ours is merged: what we gave up in this life has no unit any more. Should an
 * earlier life's record, of a claim below it, be about to take the place of its own, it gets one again. */
void claims_recall(struct engine *e, const struct record *theirs);
/* A peer's copy of a claim of ours is newer than what we remembered. True: we had something better to say than to take
 * it over, and have written that. */
bool claims_overrule(struct engine *e, const struct entry *entry);

/* ---- units.c ------------------------------------------------------------------------------------ */

struct unit *unit_find(const struct engine *e, const struct uid *app, uint16_t slot);
struct unit *unit_add(struct engine *e, const struct uid *app, uint16_t slot); /* NULL: no memory */
void unit_reserve(struct engine *e, struct unit *u, uint32_t mib);
enum err unit_publish(struct engine *e, struct unit *u, uint64_t *seq) MUST_USE;
uint64_t unit_run_name(const struct unit_body *b); /* what a run started by this claim is called */
void unit_adopt(struct engine *e, struct unit *u, uint32_t pid); /* it runs already */
void unit_not_running(struct engine *e, struct unit *u); /* whatever its record says */
void units_scanned(struct engine *e);
void admission_answer(struct engine *e, node_id to, const struct message_offer *o,
                      enum offer_verdict verdict, const char *reason);
void images_publish(struct engine *e, const struct image *im);
void images_announce(struct engine *e);
/* Why an image of the spec could not be had here, after some tries; NULL: none failed so. */
const char *images_failed(const struct engine *e, const struct spec_body *spec);
void images_drop(struct engine *e, struct image *im);
void images_tick(struct engine *e);
void units_on_offer(struct engine *e, node_id from, const struct message_offer *o);
void units_on_found(struct engine *e, const struct event *ev);
void units_on_started(struct engine *e, const struct event *ev);
void units_on_ended(struct engine *e, const struct event *ev);
void units_on_image(struct engine *e, const struct event *ev);
void units_on_durable(struct engine *e);
void units_on_write_failed(struct engine *e, uint64_t from, uint64_t to);
void units_dirty(struct engine *e);
void units_tick(struct engine *e);
uint64_t units_deadline(const struct engine *e);
/* Have the image here: true if it is; else its fetch is under way, from `hint` if nobody else has it. */
bool units_want_image(struct engine *e, const struct hash *image, uint64_t size, node_id hint);
struct image *image_find(const struct engine *e, const struct hash *h);
struct image *image_add(struct engine *e, const struct hash *h); /* NULL: no memory */
/* Have the app's images here, as a copy. */
void units_keep(struct engine *e, const struct app *a);
bool units_any(const struct engine *e); /* does anything run here? */
void unit_stop(struct engine *e, struct unit *u);
void unit_release(struct engine *e, struct unit *u, const char *reason);
/* The host's fault: somebody else may do better; we don't take it back for a while. */
void unit_pass_on(struct engine *e, struct unit *u, const char *reason);
/* It did not start, and is tried again here after a while. */
void unit_retry(struct engine *e, struct unit *u, const char *reason);

/* ---- volumes.c ----------------------------------------------------------------------------------- */

enum volume_place {
    VOLUME_ANYWHERE, /* there is none yet; or it is lost, and the app takes an empty one */
    VOLUME_HOME,     /* on that host alone */
    VOLUME_NOWHERE   /* its host may live, and can't be had; or this side is a minority */
};
/* Who may run a slot of an app that has blocks. *home: where its volume is; 0: nowhere yet. */
enum volume_place volumes_place(const struct engine *e, const struct app *a, uint32_t slot, node_id *home);
/* An owner's record tells of a volume of the slot; epoch 0: of none. */
void slot_volume_see(struct app *a, uint32_t slot, node_id owner, uint64_t epoch, node_id from);
/* Why a slot waits, if its volume is why. False: it isn't. */
bool volumes_reason(const struct engine *e, const struct app *a, uint32_t slot, char *text, size_t size);
/* The host: is an offer not to be taken, as the volume is elsewhere? */
bool volumes_refuse(const struct engine *e, const struct app *a, const struct message_offer *o, char *why, size_t size);
/* … is what runs here to end at once, and not when the winner is ready? (NULL: nobody has the slot) */
bool volumes_yield(const struct engine *e, const struct app *a, const struct unit *u, const struct slot_claim *winner);
/* … is the volume here, so that the unit may start? If not, it is being seen to; or the unit was given up. */
bool volumes_ready(struct engine *e, struct unit *u, const struct app *a, const struct spec_body *spec);
void volumes_on_event(struct engine *e, const struct event *ev);
/* Why this host failed to run the slot, if it said so: over what `why` holds. */
void volumes_fault(const struct engine *e, const struct app *a, uint16_t slot, char *why, size_t size);
/* What our own record of the slot says of a volume here. */
void volumes_recall(const struct engine *e, struct unit *u);
/* The volume is here and whole: our record says so, and the unit may start once that is on disk. */
void volume_have(struct engine *e, struct unit *u, uint64_t volume);

/* ---- carry.c ------------------------------------------------------------------------------------- */

/* The host that an offer has us carry a volume from; 0: none. */
node_id carry_source(const struct engine *e, const struct app *a, const struct message_offer *o);
/* True: answered; the volume isn't copied yet, or can't be. */
bool carry_first(struct engine *e, node_id from, const struct message_offer *o, const struct app *a,
                 const struct spec_body *spec, enum target target);
void carry_claimed(struct engine *e, struct unit *u, const struct app *a, const struct message_offer *o);
/* Nothing runs there any more: fetch the rest. */
void carry_last(struct engine *e, struct unit *u, const struct app *a);
void carry_on_event(struct engine *e, const struct event *ev);
void carry_tick(struct engine *e); /* drop what others carried away */

/* ---- commands.c --------------------------------------------------------------------------------- */

void commands_on_command(struct engine *e, uint64_t client, const struct command *c);
void commands_reply(struct engine *e, uint64_t client, enum err err, const struct uid *app,
                    uint32_t revision, const char *text);
void commands_on_kept(struct engine *e, uint64_t client, enum err err);
void commands_on_written(struct engine *e, uint64_t from, uint64_t to, enum err err);
void commands_tick(struct engine *e);
uint64_t commands_deadline(const struct engine *e);

#endif
