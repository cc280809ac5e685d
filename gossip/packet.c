/* Every offset of the header is written down here once; docs/protocol.md draws the same numbers. */
#include "gossip/packet.h"

#include "store/base/bytes.h"

#include <string.h>

enum {
    AT_VERSION = 0,
    AT_TYPE = 1,
    AT_FLAGS = 2,
    AT_KEY_ID = 4,
    AT_SENDER = 8,
    AT_BOOT = 16,
    AT_COUNTER = 24,
    AD_SIZE = PACKET_HEADER_SIZE + 16 /* header ‖ receiver's id ‖ receiver's boot */
};

_Static_assert(AT_KEY_ID + KEY_ID_SIZE == AT_SENDER, "header layout");
_Static_assert(AT_SENDER + SEAL_NONCE_SIZE == PACKET_HEADER_SIZE, "the nonce is the header's end");
_Static_assert(PACKET_PAYLOAD_MAX == 1184, "what docs/protocol.md says");

enum err packet_header_decode(const void *packet, size_t len, struct packet_header *out)
{
    const uint8_t *p = packet;
    if (len < PACKET_HEADER_SIZE + SEAL_TAG_SIZE)
        return ERR_TRUNCATED;
    if (len > PACKET_SIZE_MAX)
        return ERR_TOO_LARGE;
    if (p[AT_VERSION] != PACKET_VERSION || p[AT_FLAGS] != 0 || p[AT_FLAGS + 1] != 0)
        return ERR_UNSUPPORTED;
    out->type = p[AT_TYPE];
    memcpy(out->key_id, p + AT_KEY_ID, KEY_ID_SIZE);
    out->sender = bytes_get64(p + AT_SENDER);
    out->boot = bytes_get64(p + AT_BOOT);
    out->counter = bytes_get64(p + AT_COUNTER);
    return ERR_OK;
}

static void ad_make(uint8_t ad[static AD_SIZE], const uint8_t *header, node_id to, uint64_t to_boot)
{
    memcpy(ad, header, PACKET_HEADER_SIZE);
    bytes_put64(ad + PACKET_HEADER_SIZE, to);
    bytes_put64(ad + PACKET_HEADER_SIZE + 8, to_boot);
}

enum err packet_seal(const struct crypto *c, const uint8_t key[static SEAL_KEY_SIZE],
                     const struct packet_header *h, node_id to, uint64_t to_boot, const void *payload,
                     size_t len, uint8_t out[static PACKET_SIZE_MAX], size_t *out_len)
{
    if (len > PACKET_PAYLOAD_MAX)
        return ERR_TOO_LARGE;
    memset(out, 0, PACKET_HEADER_SIZE);
    out[AT_VERSION] = PACKET_VERSION;
    out[AT_TYPE] = h->type;
    memcpy(out + AT_KEY_ID, h->key_id, KEY_ID_SIZE);
    bytes_put64(out + AT_SENDER, h->sender);
    bytes_put64(out + AT_BOOT, h->boot);
    bytes_put64(out + AT_COUNTER, h->counter);
    uint8_t ad[AD_SIZE];
    ad_make(ad, out, to, to_boot);
    c->seal(key, out + AT_SENDER, ad, sizeof ad, payload, len, out + PACKET_HEADER_SIZE);
    *out_len = PACKET_HEADER_SIZE + len + SEAL_TAG_SIZE;
    return ERR_OK;
}

enum err packet_open(const struct crypto *c, const uint8_t key[static SEAL_KEY_SIZE],
                     uint64_t our_boot, const void *packet, size_t len,
                     uint8_t out[static PACKET_PAYLOAD_MAX], size_t *out_len)
{
    struct packet_header h;
    enum err err = packet_header_decode(packet, len, &h);
    if (err)
        return err;
    const uint8_t *p = packet;
    uint8_t ad[AD_SIZE];
    ad_make(ad, p, c->node, our_boot);
    size_t sealed = len - PACKET_HEADER_SIZE;
    err = c->open(key, p + AT_SENDER, ad, sizeof ad, p + PACKET_HEADER_SIZE, sealed, out);
    if (err)
        return err;
    *out_len = sealed - SEAL_TAG_SIZE;
    return ERR_OK;
}
