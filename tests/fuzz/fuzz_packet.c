/* libFuzzer: everything in gossip/ that reads bytes of others. The first byte chooses the reader.
 *
 * Bytes that nobody authenticated reach the header's decoder and packet_open alone, neither of which is given a
 * struct mem; the replica that the last reader merges into counts its allocations, and a record whose signature
 * does not verify must have made none. */
#include "gossip/message.h"

#include "tests/support/fake_crypto.h"

#include <stdlib.h>
#include <string.h>

static struct fake_crypto us, peer;
static struct mem mem;
static struct replica *replica;
static uint8_t key[SEAL_KEY_SIZE];

static void set_up(void)
{
    const struct replica_config cfg = replica_config_default();
    fake_crypto_init(&us, 1, 1);
    fake_crypto_init(&peer, 2, 1);
    mem_init(&mem, 64 * 1024 * 1024);
    CHECK(!replica_new(&replica, &mem, &us.crypto, &cfg));
    CHECK(!us.crypto.pair_key(us.crypto.ctx, us.crypto.key_id, peer.crypto.x25519, peer.crypto.node,
                              us.crypto.node, key));
}

static void tail(struct cursor *c)
{
    struct tail_item item;
    size_t left = c->left;
    enum err err;
    while (!(err = tail_next(c, &item))) {
        CHECK(c->left < left); /* every item takes bytes: the loop ends */
        left = c->left;
        if (item.kind == TAIL_ANNOUNCEMENT)
            (void)replica_wants(replica, &item.announcement);
    }
    CHECK(err != ERR_NOT_FOUND || c->left == 0);
}

static void datagram(const uint8_t *p, size_t len)
{
    struct packet_header h;
    uint8_t out[PACKET_PAYLOAD_MAX];
    size_t out_len;
    if (packet_header_decode(p, len, &h))
        return;
    struct window w = {.boot = h.boot, .top = h.counter / 2};
    (void)window_check(&w, h.boot, h.counter);
    if (!packet_open(&us.crypto, key, 1, p, len, out, &out_len))
        CHECK(out_len == len - PACKET_HEADER_SIZE - SEAL_TAG_SIZE);
}

/* The payload as it was sealed by a member: it opens, and comes out as it went in. */
static void sealed(const uint8_t *p, size_t len)
{
    const struct packet_header h = {.type = 1, .sender = peer.crypto.node, .boot = 1, .counter = len};
    uint8_t packet[PACKET_SIZE_MAX], out[PACKET_PAYLOAD_MAX];
    size_t packet_len, out_len;
    if (packet_seal(&peer.crypto, key, &h, us.crypto.node, 1, p, len, packet, &packet_len)) {
        CHECK(len > PACKET_PAYLOAD_MAX);
        return;
    }
    CHECK(!packet_open(&us.crypto, key, 1, packet, packet_len, out, &out_len));
    CHECK(out_len == len && memcmp(out, p, len) == 0);
}

static void message(const uint8_t *p, size_t len, unsigned type)
{
    struct message_probe probe;
    struct message_offer offer;
    struct message_offer_answer answer;
    struct cursor c;
    enum err err = ERR_OK;
    cursor_init(&c, p, len);
    if (type == MESSAGE_OFFER)
        err = message_offer_decode(&c, &offer);
    else if (type == MESSAGE_OFFER_ANSWER)
        err = message_offer_answer_decode(&c, &answer);
    else if (type != MESSAGE_GOSSIP)
        err = message_probe_decode(&c, &probe);
    if (!err)
        tail(&c);
}

static void list(struct cursor c, uint32_t count, enum call_type type)
{
    struct record_key k;
    for (uint32_t i = 0; i < count && !c.err; i++) {
        if (type == CALL_PULL)
            (void)call_key_next(&c, &k);
        else
            (void)cursor_bin(&c, RECORD_BYTES_MAX);
    }
}

static void calls(const uint8_t *p, size_t len)
{
    struct call call;
    struct answer answer;
    if (!call_decode(p, len, &call)) {
        CHECK(call.image_count <= TARGET_COUNT && call.list_count <= CALL_RECORDS_MAX);
        list(call.list, call.list_count, call.type);
    }
    if (!answer_decode(p, len, &answer)) {
        struct accusation a;
        list(answer.records, answer.record_count, CALL_PUSH);
        for (uint32_t i = 0; i < answer.accusation_count; i++)
            if (accusation_decode(&answer.accusations, &a))
                break;
    }
}

static void merge(const uint8_t *p, size_t len)
{
    struct merged m;
    uint64_t allocations = mem.calls;
    enum err err = replica_merge(replica, p, len, 1, REPLICA_SPREAD, &m);
    CHECK(err == ERR_OK || err == ERR_NOMEM || mem.calls == allocations);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!replica)
        set_up();
    if (size == 0)
        return 0;
    uint64_t allocations = mem.calls;
    const uint8_t *p = data + 1;
    size_t len = size - 1;
    switch (data[0] % 6) {
    case 0:
        datagram(p, len);
        break;
    case 1:
        sealed(p, len);
        break;
    case 2:
        calls(p, len);
        break;
    case 3:
        merge(p, len);
        return 0;
    default:
        message(p, len, data[0] / 6 % 8 + 1);
        break;
    }
    CHECK(mem.calls == allocations);
    return 0;
}
