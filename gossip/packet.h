/* Datagrams: a 32-byte header in the clear, authenticated, and a sealed payload. docs/protocol.md draws it.
 *
 *    0  version   u8   1
 *    1  type      u8   enum message_type
 *    2  flags     u16  0; unknown flags are refused
 *    4  key id    4    which mesh key the pair's key was made from
 *    8  sender    u64  ┐
 *   16  boot      u64  │ the nonce: sender ‖ boot ‖ counter, never twice under one key
 *   24  counter   u64  ┘
 *   32  payload, sealed; the tag is its last 16 bytes
 *
 * Numbers are little endian. Authenticated beside the payload: the header, the receiver's id and the
 * receiver's boot, so that what was sent to another node, or to an earlier life of this one, does not
 * open. Inside one life a sliding window over counters, per sender and boot, drops replays; a sender's
 * lower boot is refused for ever. A packet to a boot that is not ours can't be told from garbage: its
 * sender finds our boot by a stream (engine: "hello"). */
#ifndef UNIMESH_GOSSIP_PACKET_H
#define UNIMESH_GOSSIP_PACKET_H

#include "gossip/crypto.h"

enum {
    PACKET_VERSION = 1,
    PACKET_HEADER_SIZE = 32,
    PACKET_SIZE_MAX = 1232, /* IPv6's least MTU less its and UDP's headers */
    PACKET_PAYLOAD_MAX = PACKET_SIZE_MAX - PACKET_HEADER_SIZE - SEAL_TAG_SIZE
};

struct packet_header {
    uint8_t type;
    uint8_t key_id[KEY_ID_SIZE];
    node_id sender;
    uint64_t boot;
    uint64_t counter;
};

/* The header alone, nothing trusted. ERR_TRUNCATED, ERR_TOO_LARGE, ERR_UNSUPPORTED (version, flags). */
enum err packet_header_decode(const void *packet, size_t len, struct packet_header *out) MUST_USE;

/* Seal payload (≤ PACKET_PAYLOAD_MAX) into out (PACKET_SIZE_MAX bytes); *out_len is what to send. */
enum err packet_seal(const struct crypto *c, const uint8_t key[static SEAL_KEY_SIZE],
                     const struct packet_header *h, node_id to, uint64_t to_boot, const void *payload,
                     size_t len, uint8_t out[static PACKET_SIZE_MAX], size_t *out_len) MUST_USE;

/* Open with the pair's key as one addressed to (c->node, our_boot). out has PACKET_PAYLOAD_MAX bytes. */
enum err packet_open(const struct crypto *c, const uint8_t key[static SEAL_KEY_SIZE],
                     uint64_t our_boot, const void *packet, size_t len,
                     uint8_t out[static PACKET_PAYLOAD_MAX], size_t *out_len) MUST_USE;

/* A sliding window over one sender's counters (RFC 4303 §3.4.3, 128 wide). Zeroed is empty. Ask
 * before opening, tell after: a forged counter must not move the window. */
struct window {
    uint64_t boot;
    uint64_t top;     /* the highest counter seen */
    uint64_t seen[2]; /* bit i: top - i was seen */
};
enum err window_check(const struct window *w, uint64_t boot, uint64_t counter) MUST_USE; /* ERR_REPLAYED */
void window_accept(struct window *w, uint64_t boot, uint64_t counter); /* a higher boot starts afresh */

#endif
