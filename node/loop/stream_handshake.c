/* The handshake at both ends: who is let in, and who we are told that they are. docs/streams.md
 * draws it. */
#define _GNU_SOURCE
#include "node/loop/stream_internal.h"

#include <sodium.h>
#include <string.h>

enum { PAYLOAD_3_SIZE = NODE_PROOF_SIZE + 1 }; /* proof, kind */

/* What the three messages weigh, without their length. */
static const size_t MESSAGE_SIZE[] = {NOISE_OVERHEAD_1, NOISE_OVERHEAD_2 + NODE_PROOF_SIZE,
                                      NOISE_OVERHEAD_3 + PAYLOAD_3_SIZE};

static void failed(struct channel *ch, enum err err)
{
    ch->s->n.handshakes_failed++;
    link_end(ch, err);
}

/* Not admitted: a frame of no bytes says so to who spoke our language. If it can't go out at once,
 * it needn't. */
static void refuse(struct channel *ch)
{
    static char frame[WIRE_LENGTH_SIZE];
    uv_buf_t buf = uv_buf_init(frame, sizeof frame);
    (void)uv_try_write((uv_stream_t *)&ch->tcp, &buf, 1);
    failed(ch, ERR_AUTH);
}

static enum err noise_begin(struct channel *ch, enum noise_role role)
{
    uint8_t psk[PSK_SIZE];
    const struct node_crypto *c = ch->s->crypto;
    enum err err = node_crypto_psk(c, ch->preamble + 4, psk);
    if (!err)
        noise_init(&ch->noise, role, node_crypto_x25519_secret(c), psk, ch->preamble,
                   sizeof ch->preamble);
    ch->has_noise = !err;
    sodium_memzero(psk, sizeof psk);
    return err;
}

/* The next message of ours, with what goes before it. */
static enum err write_next(struct channel *ch, const void *before, size_t before_len,
                           const void *payload, size_t payload_len)
{
    uint8_t frame[WIRE_LENGTH_SIZE + sizeof ch->small];
    size_t len;
    enum err err = noise_write(&ch->noise, payload, payload_len, frame + WIRE_LENGTH_SIZE,
                               sizeof frame - WIRE_LENGTH_SIZE, &len);
    if (err)
        return err;
    wire_put_u16(frame, len);
    return link_write(ch, before, before_len, frame, WIRE_LENGTH_SIZE + len);
}

static enum err take_proof(struct channel *ch, const uint8_t proof[static NODE_PROOF_SIZE])
{
    struct stream_peer *p = &ch->peer;
    memcpy(p->x25519, noise_remote_static(&ch->noise), sizeof p->x25519);
    memcpy(p->public_key, proof, sizeof p->public_key);
    return node_crypto_proof_check(ch->s->crypto, proof, p->x25519, &p->node);
}

void handshake_begin(struct channel *ch)
{
    wire_preamble(node_crypto_interface(ch->s->crypto)->key_id, ch->preamble);
    CHECK(noise_begin(ch, NOISE_INITIATOR) == ERR_OK);
    enum err err = write_next(ch, ch->preamble, sizeof ch->preamble, NULL, 0);
    if (err)
        failed(ch, err);
}

/* <- e, ee, s, es, their proof; -> s, se, ours, what for. Whoever isn't expected doesn't learn who
 * we are. */
static void as_initiator(struct channel *ch, const uint8_t *message, size_t len)
{
    uint8_t theirs[NODE_PROOF_SIZE], ours[PAYLOAD_3_SIZE];
    size_t got;
    enum err err = noise_read(&ch->noise, message, len, theirs, sizeof theirs, &got);
    if (!err)
        err = take_proof(ch, theirs);
    if (!err && ch->expected != 0 && ch->expected != ch->peer.node) {
        ch->s->n.wrong_peer++;
        err = ERR_AUTH;
    }
    if (!err) {
        memcpy(ours, node_crypto_proof(ch->s->crypto), NODE_PROOF_SIZE);
        ours[NODE_PROOF_SIZE] = (uint8_t)ch->kind;
        err = write_next(ch, "", 0, ours, sizeof ours);
    }
    if (err)
        failed(ch, err);
    else
        link_opened(ch);
}

static void as_responder(struct channel *ch, const uint8_t *message, size_t len)
{
    uint8_t payload[PAYLOAD_3_SIZE];
    size_t got;
    const bool first = !ch->has_noise;
    if (first && noise_begin(ch, NOISE_RESPONDER)) {
        ch->s->n.unknown_key++;
        refuse(ch);
        return;
    }
    enum err err = noise_read(&ch->noise, message, len, payload, sizeof payload, &got);
    if (first && err) {
        refuse(ch);
        return;
    }
    if (first) {
        err = write_next(ch, "", 0, node_crypto_proof(ch->s->crypto), NODE_PROOF_SIZE);
        if (err)
            failed(ch, err);
        return;
    }
    if (!err)
        err = take_proof(ch, payload);
    const uint8_t kind = err ? 0 : payload[NODE_PROOF_SIZE];
    if (kind != LINK_CALLS && kind != LINK_CHANNEL) {
        failed(ch, ERR_AUTH);
        return;
    }
    ch->kind = (enum link_kind)kind;
    link_opened(ch);
}

/* Which message comes next: 0, 1 or 2. */
static unsigned message_due(const struct channel *ch)
{
    return ch->direction == LINK_OUT ? 1 : ch->has_noise ? 2 : 0;
}

static bool take_preamble(struct channel *ch)
{
    if (!wire_preamble_fits(ch->in + ch->in_at, ch->in_len)) {
        failed(ch, ERR_AUTH);
        return false;
    }
    if (ch->in_len < WIRE_PREAMBLE_SIZE)
        return false;
    memcpy(ch->preamble, ch->in + ch->in_at, WIRE_PREAMBLE_SIZE);
    ch->in_at += WIRE_PREAMBLE_SIZE;
    ch->in_len -= WIRE_PREAMBLE_SIZE;
    ch->preamble_seen = true;
    return true;
}

bool handshake_feed(struct channel *ch)
{
    if (ch->direction == LINK_IN && !ch->preamble_seen && !take_preamble(ch))
        return false;
    if (ch->in_len < WIRE_LENGTH_SIZE)
        return false;
    const uint8_t *at = ch->in + ch->in_at;
    const size_t len = wire_u16(at);
    if (len != MESSAGE_SIZE[message_due(ch)]) {
        failed(ch, ERR_AUTH); /* of no bytes: we are not admitted */
        return false;
    }
    if (ch->in_len - WIRE_LENGTH_SIZE < len)
        return false;
    ch->in_at += WIRE_LENGTH_SIZE + len;
    ch->in_len -= WIRE_LENGTH_SIZE + len;
    if (ch->direction == LINK_OUT)
        as_initiator(ch, at + WIRE_LENGTH_SIZE, len);
    else
        as_responder(ch, at + WIRE_LENGTH_SIZE, len);
    return true;
}
