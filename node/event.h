/* What happens to the engine. Pointers are borrowed for the step. */
#ifndef UNIMESH_NODE_EVENT_H
#define UNIMESH_NODE_EVENT_H

#include "store/base/err.h"
#include "store/base/id.h"
#include "store/model/bodies.h"
#include "store/model/record.h"
#include "store/model/target.h"

enum event_kind {
    EVENT_TICK = 1,     /* the deadline has come (or any time) */
    EVENT_DATAGRAM,     /* `bytes` came from `address` */
    EVENT_CALL,         /* the peer `node` (proven by the stream) says `bytes`; answer as `id` */
    EVENT_ANSWER,       /* to our call `id`: err, or `bytes` from the peer `node` (proven) */
    EVENT_WRITTEN,      /* writes up to `seq` are on disk; or, with err, those since the last are not */
    EVENT_UNIT_FOUND,   /* at the start, before all else: the run `unit` is alive here (pid, target) */
    EVENT_UNIT_STARTED, /* the run `unit` has a tender: pid */
    EVENT_UNIT_ENDED,   /* it ended: `end`. Also in answer to a stop */
    EVENT_IMAGE,        /* `image` is on disk and verified; or, with err and text, it could not be had, or was lost */
    EVENT_HOST,         /* what this host can run: `host` */
    EVENT_JOIN,         /* a peer may be at `address` (--join, resolved; or discovered) */
    EVENT_COMMAND,      /* the client `id` asks for `command` */
    EVENT_STOPPING,     /* we are asked to end, guests staying: say that we are away, then EFFECT_QUIT */
    EVENT_VOLUME,       /* the volume `unit` (app, slot, the epoch that it was made at) is on disk, as it was asked
                           for; or, with err and text, it could not be made, or isn't there */
    EVENT_VOLUME_FETCHED /* the pass `id` of fetching the volume `unit` has ended: err, text */
};

/* Whose fault an end is decides what follows. */
enum end_cause {
    END_EXIT = 0,   /* the guest ended by itself, with `status` */
    END_CRASH = 1,  /* the guest was ended: abort, exception, signal */
    END_STOPPED = 2, /* we stopped it (or its deadline did) */
    END_IMAGE = 3,  /* fails everywhere: 63, 64, a manifest that does not match, not loadable */
    END_HOST = 4    /* fails here: no tender, no bridge, disk full, out of memory, shim killed */
};

struct unit_end {
    enum end_cause cause;
    int32_t status;   /* exit status; -1: none */
    uint32_t signal;  /* 0: none */
    const char *text; /* for people; may be "" */
};

/* What a volume on a node's disk is to the mesh, as this node's records tell. */
enum volume_use {
    VOLUME_USE_NONE,   /* its app was removed, or isn't known */
    VOLUME_USE_OLD,    /* its slot has another one */
    VOLUME_USE_KEPT,   /* its slot's, which isn't wanted now */
    VOLUME_USE_WANTED  /* its slot's, which is to run */
};

struct host_facts {
    uint32_t targets;               /* bit 1 << enum target */
    uint8_t target_abi[TARGET_COUNT];
    uint32_t networks_known; /* 0: that there are none says nothing of what runs */
    uint32_t network_count;
    char networks[NETWORKS_MAX][NAME_SIZE]; /* that guests can be wired to here, ascending */
};

enum command_kind {
    COMMAND_DEPLOY = 1,
    COMMAND_SCALE,   /* app, replicas */
    COMMAND_STOP,    /* app */
    COMMAND_START,   /* app */
    COMMAND_REMOVE,  /* app */
    COMMAND_MOVE,    /* app, slot, node (0: anywhere else) */
    COMMAND_LEAVE,   /* hand over, tell the others, EFFECT_QUIT */
    COMMAND_NODE_STOP, /* end the guests too, then as EVENT_STOPPING */
    COMMAND_IMAGE_REMOVE, /* image: dropped everywhere? no: here; refused while an app uses it */
    COMMAND_VOLUME_MOVE /* app, slot, node (0: anywhere else): the unit, and its volume with it */
};

enum { ACK_DEFAULT = 0 /* min(3, live) */, REPLICAS_KEEP = UINT32_MAX };

struct command {
    enum command_kind kind;
    const char *app;             /* name */
    uint32_t replicas;           /* SCALE; DEPLOY (REPLICAS_KEEP: as it is, 1 for a new app) */
    uint16_t slot;
    node_id node;
    struct hash image;
    /* DEPLOY: name, images (on this node's disk already), memory, restart, require, affinity, policy;
     * revision and parent are the engine's to fill. */
    const struct spec_body *spec;
    const char *const *args;
    uint32_t args_count;
    uint32_t ack;                /* copies to wait for; ACK_DEFAULT */
    uint32_t timeout_ms;         /* 0: 15 s */
};

struct event {
    enum event_kind kind;
    uint64_t mono_ms; /* CLOCK_BOOTTIME */
    uint64_t wall_ms;
    uint64_t id;
    enum err err;
    const char *text;
    struct address address;
    struct slice bytes;
    node_id node;
    uint64_t seq;
    struct unit_id unit;
    uint32_t pid;
    enum target target;
    struct unit_end end;
    struct hash image;
    uint64_t size_bytes; /* EVENT_IMAGE */
    const struct host_facts *host; /* EVENT_HOST */
    struct command command;
};

#endif
