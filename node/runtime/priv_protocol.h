/* What meshd and mesh-priv say to each other: one msgpack array a packet over SOCK_SEQPACKET. Requests carry an id of
 * meshd's choosing; every one is answered once, in any order, when it is done. Arrays grow at their end.
 *
 *   request  [version, verb, id, app, slot, epoch, … ]
 *     start    … target, accel, memory MiB, deadline boottime ms, tender, image, [argument…],
 *              [[device, network, [address…]]…] where there are nets or blocks,
 *              volume and [[device, sector bytes]…] where there are blocks or nets,
 *              what comes in (access.h) where there are nets
 *     access   … [[device, network, [address…]]…], what comes in
 *     remove, kill, networks  nothing more (of networks the unit says nothing)
 *   answer   [version, id, error, tender pid, shim pid, text, networks, jail]
 *
 * The decoder takes nothing for granted of a peer that may have been taken over; whether what it says may be done is
 * mesh-priv's to judge. */
#ifndef UNIMESH_NODE_RUNTIME_PRIV_PROTOCOL_H
#define UNIMESH_NODE_RUNTIME_PRIV_PROTOCOL_H

#include "node/runtime/jail.h"
#include "node/runtime/tender.h"
#include "store/base/cursor.h"
#include "store/base/err.h"
#include "store/base/id.h"
#include "store/model/access.h"
#include "store/model/args.h"
#include "store/model/networks.h"

#include <stdint.h>

enum {
    PRIV_PATH_SIZE = 4096,
    PRIV_TEXT_SIZE = 1024, /* of networks a line each */
    PRIV_ANSWER_MAX = PRIV_TEXT_SIZE + JAIL_TEXT + 64,
    PRIV_ARGS_MAX = ARGS_MAX + ARG_MIRAGE_MAX,
    PRIV_MESSAGE_MAX = 2 * PRIV_PATH_SIZE + ARGS_BYTES_MAX + 8 * ARGS_MAX + ARG_MIRAGE_BYTES +
                       NETS_MAX * (DEVICE_SIZE + NAME_SIZE + IP_FAMILIES * 20 + 8) +
                       BLOCKS_MAX * (DEVICE_SIZE + 16) + PORTS_MAX * 16 + SOURCES_MAX * (SUBNET_TEXT + 4) + 256,
    PRIV_STARTS_MAX = 64 /* starts under way at once; further requests wait in the socket */
};

enum priv_verb {
    PRIV_START = 1,  /* EXISTS: there is such a run already, whatever became of it */
    PRIV_REMOVE = 2, /* drop the folder of a run that has ended; BUSY: it is alive */
    PRIV_KILL = 3,   /* kill the shim, which takes the guest along: for one that no longer answers */
    PRIV_NETWORKS = 4, /* which of the networks can guests be wired to, and what do their jails lack? What belongs to no
                          run goes on the way */
    PRIV_ACCESS = 5  /* of a run with nets: what comes in to it from now on. NOT_FOUND: it has none */
};

struct priv_request {
    enum priv_verb verb;
    uint64_t id;
    struct unit_id unit;
    enum target target;
    enum accel accel;
    uint32_t memory_mib;
    uint64_t deadline_ms;
    char tender[PRIV_PATH_SIZE], image[PRIV_PATH_SIZE];
    uint32_t args_count;
    struct slice args; /* as in spec_body: borrowed */
    uint32_t net_count;
    struct guest_net nets[NETS_MAX];
    struct guest_access access;
    uint64_t volume; /* of the unit's own slot: no other can be named */
    uint32_t block_count;
    struct tender_block blocks[BLOCKS_MAX];
};

struct priv_answer {
    uint64_t id;
    enum err err;
    uint32_t pid, shim_pid;
    char text[PRIV_TEXT_SIZE]; /* NETWORKS: why some can't be used, a line each */
    uint32_t networks; /* NETWORKS: bit 1 << i for the i-th of those that mesh-priv was started with */
    char jail[JAIL_TEXT]; /* NETWORKS: what guests' jails lack here, a line each */
};

/* ERR_TOO_LARGE. */
enum err priv_request_encode(const struct priv_request *r, uint8_t *out, size_t size, size_t *len) MUST_USE;
enum err priv_request_decode(const uint8_t *in, size_t len, struct priv_request *out) MUST_USE;
enum err priv_answer_encode(const struct priv_answer *a, uint8_t *out, size_t size, size_t *len) MUST_USE;
enum err priv_answer_decode(const uint8_t *in, size_t len, struct priv_answer *out) MUST_USE;

#endif
