/* The control protocol: what meshctl asks a node, and what it is answered, over RUN/ctl.sock (a unix stream).
 *
 * A frame is a length (u32, big endian, at most CONTROL_FRAME_MAX) and so many bytes: one msgpack array
 *     [version, type, field…]
 * Arrays grow at their end; a reader skips what it doesn't know. The version changes only with what can't be said
 * so; whoever gets another one says so (ERR_UNSUPPORTED) and closes. Numbers below are append-only.
 *
 * A connection carries one request after the other. Each is answered by rows, if it asks for some, and then by one END:
 *
 *     HELLO   → ABOUT END              APPS    → APP… END             LOGS    → OUTPUT… END
 *     MEMBERS → MEMBER… END            UNITS   → UNIT… END            EVENTS  → EVENT… END
 *     IMAGES  → IMAGE… END             INSPECT → APP UNIT… END        DEPLOY, COMMAND → END
 *     COUNTERS → COUNTER… END          VOLUMES → VOLUME… END
 *     VOLUME_ASK → END, where it removes; OUTPUT… END, where it reads (offset and bytes; what is left out is zeros);
 *                 where it writes, WANT, and again after each VOLUME_DATA, of which the last one is empty; then END
 *     IMAGE_PUT → END, where the node has it; else WANT, then the client sends a CHUNK for each index that is wanted,
 *                 in order, and gets the END when the image is on disk (or at the first chunk that is refused)
 *
 * Rows say what the node knows now, not one moment of it all. A follower is ended by closing the connection.
 *
 * Decoders are pure, allocate nothing, bound everything, and borrow slices from the input; encoders turn bytes that are
 * no text into '?' where a field is text. */
#ifndef UNIMESH_CTL_CONTROL_H
#define UNIMESH_CTL_CONTROL_H

#include "gossip/swim.h"
#include "node/effects.h"
#include "node/event.h"
#include "store/base/cursor.h"
#include "store/images.h"
#include "store/model/bodies.h"

enum {
    CONTROL_VERSION = 1,
    CONTROL_HEAD = 4,                /* the length before a frame */
    CONTROL_FRAME_MAX = 192 * 1024,  /* what follows it: the longest is an image's list */
    CONTROL_TEXT_SIZE = 640,
    CONTROL_VERSION_SIZE = 64,
    CONTROL_EVENT_SIZE = 48,
    CONTROL_FIELDS_SIZE = 400,
    CONTROL_USERS_MAX = 8,           /* apps named by an image's row */
    CONTROL_OUTPUT_MAX = IMAGE_CHUNK /* console bytes in one frame */
};
#define CONTROL_ALL_LINES UINT32_MAX
#define CONTROL_SOCKET_DEFAULT "/run/unimesh/ctl.sock"

enum control_type {
    CONTROL_HELLO = 1,
    CONTROL_MEMBERS = 2,
    CONTROL_APPS = 3,
    CONTROL_UNITS = 4,
    CONTROL_INSPECT = 5,
    CONTROL_DEPLOY = 6,
    CONTROL_COMMAND = 7,
    CONTROL_IMAGE_PUT = 8,
    CONTROL_CHUNK = 9,
    CONTROL_IMAGES = 10,
    CONTROL_LOGS = 11,
    CONTROL_EVENTS = 12,
    CONTROL_COUNTERS = 13,
    CONTROL_VOLUMES = 14,
    CONTROL_VOLUME_ASK = 15,
    CONTROL_VOLUME_DATA = 16,
    CONTROL_TOP = 17,

    CONTROL_ABOUT = 64,
    CONTROL_MEMBER = 65,
    CONTROL_APP = 66,
    CONTROL_UNIT = 67,
    CONTROL_IMAGE = 68,
    CONTROL_WANT = 69,
    CONTROL_OUTPUT = 70,
    CONTROL_EVENT = 71,
    CONTROL_END = 72,
    CONTROL_COUNTER = 73,
    CONTROL_VOLUME = 74,
    CONTROL_USAGE = 75
};

struct control_about {
    char version[CONTROL_VERSION_SIZE];
    node_id node;
    char name[NAME_SIZE];
};

struct control_deploy {
    struct slice spec; /* as spec_body_encode wrote it */
    uint32_t replicas; /* REPLICAS_KEEP: as it is */
    uint32_t ack;
    uint32_t timeout_ms;
    bool dry_run;      /* check, and say what would be done */
};

struct control_command {
    enum command_kind kind; /* not COMMAND_DEPLOY */
    char app[NAME_SIZE];
    uint32_t replicas;
    uint16_t slot;
    char node[NAME_SIZE]; /* a name, or digits of an id; "": anywhere else */
    struct hash image;
    uint32_t ack;
    uint32_t timeout_ms;
    bool guests; /* NODE_STOP: end its guests, too */
};

struct control_image_put {
    struct hash image;
    struct slice list;
};

struct control_chunk {
    uint32_t index;
    struct slice bytes;
};

struct control_logs {
    char app[NAME_SIZE];
    uint16_t slot;
    uint32_t lines; /* the last so many; CONTROL_ALL_LINES */
    bool follow;
};

struct control_events {
    uint32_t count; /* the last so many */
    bool follow;
};

enum control_member_flags {
    CONTROL_SELF = 1,    /* the node that answers */
    CONTROL_CONFLICT = 2 /* another live node has this name */
};

struct control_member {
    node_id node;
    char name[NAME_SIZE];
    enum member_state state;
    uint32_t flags;      /* enum control_member_flags */
    uint32_t node_flags; /* enum node_flags */
    uint32_t address_count;
    struct address addresses[ADDRESSES_MAX];
    uint32_t targets;
    uint8_t target_abi[TARGET_COUNT];
    uint32_t capacity_mib, used_mib;
    uint64_t boot, incarnation;
    uint64_t away_until_ms; /* wall; 0: not away */
    uint32_t cpus;
    char arch[16];
    struct labels labels;
    char version[CONTROL_VERSION_SIZE]; /* "": not known */
    uint32_t network_count;
    char networks[NETWORKS_MAX][NAME_SIZE];
};

struct control_app {
    struct uid uid;
    char name[NAME_SIZE];
    struct version version;
    uint32_t revision;
    uint32_t memory_mib;
    uint32_t replicas, running, copies, conflicts;
    enum wanted wanted;
    bool shadowed;
    struct slice spec; /* INSPECT: the spec's body; else empty */
};

struct control_unit {
    struct uid app;
    char app_name[NAME_SIZE];
    uint16_t slot;
    node_id node; /* 0: nobody */
    char node_name[NAME_SIZE];
    bool winner;
    enum unit_state state;
    uint64_t epoch;
    uint32_t surrogate;
    uint32_t revision;
    enum target target;
    uint32_t restarts;
    int32_t exit_status;
    uint32_t exit_signal;
    uint64_t since_ms;
    uint32_t pid;
    uint32_t memory_mib;
    char reason[REASON_SIZE];
    uint32_t address_count;
    struct control_address { /* of its guest, on a network */
        char network[NAME_SIZE];
        struct ip ip;
    } addresses[UNIT_ADDRESSES_MAX];
};

struct control_image {
    struct hash image;
    uint64_t size_bytes;
    uint32_t user_count; /* apps of the mesh that name it; users has the first few */
    char users[CONTROL_USERS_MAX][NAME_SIZE];
};

struct control_counter {
    char name[CONTROL_EVENT_SIZE]; /* "packets_garbage": append-only */
    uint64_t value;                /* since the node began */
};

enum control_volume_op { CONTROL_VOLUME_REMOVE = 2, CONTROL_VOLUME_READ = 3, CONTROL_VOLUME_WRITE = 4 };

struct control_volume_ask {
    enum control_volume_op op;
    node_id node;      /* on whose disk it is */
    struct unit_id id; /* app, slot, the epoch that it was made at */
    char device[DEVICE_SIZE];
    bool live;         /* READ: though a guest has it */
};

struct control_volume_data {
    uint64_t offset;
    struct slice bytes; /* at most IMAGE_CHUNK; none: the end */
};

struct control_volume { /* one of its devices */
    node_id node;
    char node_name[NAME_SIZE];
    struct unit_id id;
    char app[NAME_SIZE]; /* as it was called when the volume was made; "": not known */
    char device[DEVICE_SIZE];
    uint64_t size_bytes, disk_bytes;
    bool held; /* a guest has it, or somebody who copies it */
    enum volume_use use;
};

struct control_usage { /* what a guest of the node that is asked takes of it */
    char app[NAME_SIZE];
    uint16_t slot;
    uint32_t pid, memory_mib; /* what is reserved for it */
    uint64_t at_ms;           /* boottime, when it was looked at */
    uint64_t cpu_ms, rss_kib; /* of its tender */
    uint64_t in_bytes, in_packets, out_bytes, out_packets; /* of all its nets, as it sees them */
};

struct control_want {
    uint32_t first, count;
};

struct control_output {
    struct unit_id run;
    node_id node;
    uint64_t offset;
    uint64_t skipped;
    struct slice bytes;
};

struct control_event {
    uint64_t seq;
    uint64_t wall_ms;
    enum log_level level;
    char event[CONTROL_EVENT_SIZE];
    char fields[CONTROL_FIELDS_SIZE];
};

struct control_end {
    enum err err;
    char text[CONTROL_TEXT_SIZE]; /* for people: what was done, or what is wrong and what to do */
    struct uid app;               /* DEPLOY, COMMAND; zeros: none */
    uint32_t revision;
};

struct control_message {
    enum control_type type;
    union {
        char app[NAME_SIZE]; /* UNITS ("": of all), INSPECT */
        struct control_deploy deploy;
        struct control_command command;
        struct control_image_put image_put;
        struct control_chunk chunk;
        struct control_logs logs;
        struct control_events events;
        struct control_about about;
        struct control_member member;
        struct control_app app_row;
        struct control_unit unit;
        struct control_image image;
        struct control_counter counter;
        struct control_want want;
        struct control_volume_ask volume_ask;
        struct control_volume_data volume_data;
        struct control_volume volume;
        struct control_usage usage;
        struct control_output output;
        struct control_event event;
        struct control_end end;
    };
};

/* Append the frame, its length included. ERR_TOO_LARGE: it doesn't fit the pack, or is longer than CONTROL_FRAME_MAX;
 * the pack is then as before. */
enum err control_encode(const struct control_message *m, struct pack *k) MUST_USE;

/* One frame without its length. ERR_UNSUPPORTED: another version; ERR_INVALID and the cursor's errors otherwise. */
enum err control_decode(const void *p, size_t len, struct control_message *out) MUST_USE;

/* How long a frame is, by its first CONTROL_HEAD bytes. ERR_TOO_LARGE: over CONTROL_FRAME_MAX, or nothing at all. */
enum err control_length(const uint8_t head[static CONTROL_HEAD], size_t *len) MUST_USE;

/* A sentence for END, cut to fit. */
struct control_message control_end(enum err err, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
