/* libFuzzer: records and messages of streams. The first byte chooses:
 *
 *   0  the bytes, as they come from the network: no record opens that was not sealed
 *   1  records of a member that says what it likes: [type, length (2), data] …, sealed, in pieces
 *   2  a message, laid out, sealed, opened and put together: it comes out as it went in
 */
#define _GNU_SOURCE
#include "node/loop/stream_internal.h"

#include <stdlib.h>
#include <string.h>

enum { MESSAGE_MAX = 3 * WIRE_DATA_MAX };

static struct noise sender, receiver; /* as after a handshake; each run works on copies */

static void set_up(void)
{
    static const uint8_t key_a[32] = {1}, key_b[32] = {2}, psk[32] = {3};
    struct noise *ends[] = {&sender, &receiver};
    uint8_t message[256];
    size_t len;
    noise_init(&sender, NOISE_INITIATOR, key_a, psk, "", 0);
    noise_init(&receiver, NOISE_RESPONDER, key_b, psk, "", 0);
    for (unsigned i = 0; i < 3; i++) {
        CHECK(!noise_write(ends[i % 2], "", 0, message, sizeof message, &len));
        CHECK(!noise_read(ends[1 - i % 2], message, len, message, sizeof message, &len));
    }
}

static void unsealed(const uint8_t *p, size_t len)
{
    struct noise n = receiver;
    struct wire_record r;
    size_t used;
    uint8_t *copy = malloc(len + 1);
    CHECK(copy);
    if (len > 0)
        memcpy(copy, p, len);
    (void)wire_preamble_fits(copy, len);
    enum err err = wire_open(&n, copy, len, &r, &used);
    CHECK(err);
    CHECK(err != ERR_TRUNCATED ||
          (len < WIRE_RECORD_MAX && (len == 0 || memcmp(copy, p, len) == 0)));
    free(copy);
}

/* One record from the input, sealed; 0 at its end. */
static size_t next_record(struct noise *n, const uint8_t **p, size_t *left, uint8_t *out)
{
    if (*left < 3)
        return 0;
    size_t given = *left - 3, len = (size_t)((*p)[1] | (*p)[2] << 8) % (WIRE_DATA_MAX + 2);
    memset(out, 0, len + WIRE_OVERHEAD);
    wire_put_u16(out, 1 + len + NOISE_TAG_SIZE);
    out[WIRE_LENGTH_SIZE] = (*p)[0] % 4;
    if (given > len)
        given = len;
    memcpy(out + WIRE_LENGTH_SIZE + 1, *p + 3, given);
    *p += 3 + given;
    *left -= 3 + given;
    CHECK(!wire_seal(n, out, len + WIRE_OVERHEAD));
    return len + WIRE_OVERHEAD;
}

static void member(const uint8_t *p, size_t left)
{
    static uint8_t bytes[WIRE_RECORD_MAX + 1];
    struct noise out = sender, in = receiver;
    struct wire_message m = {0};
    enum err err = ERR_OK;
    for (size_t len; !err && (len = next_record(&out, &p, &left, bytes)) > 0;) {
        struct wire_record r;
        size_t used = 0, message_len = 0;
        bool complete;
        const uint8_t *message = NULL;
        CHECK(wire_open(&in, bytes, len - 1, &r, &used) ==
              (len > WIRE_RECORD_MAX ? ERR_INVALID : ERR_TRUNCATED));
        err = wire_open(&in, bytes, len, &r, &used);
        if (err)
            break;
        CHECK(used == len && r.len == len - WIRE_OVERHEAD);
        err = wire_message_add(&m, &r, MESSAGE_MAX, &complete, &message, &message_len);
        CHECK(m.len <= MESSAGE_MAX && m.size <= MESSAGE_MAX);
        if (!err && complete) {
            CHECK(message_len <= MESSAGE_MAX && (message || message_len == 0));
            wire_message_done(&m);
        }
    }
    wire_message_release(&m);
}

static void round_trip(const uint8_t *p, size_t len)
{
    struct noise out = sender, in = receiver;
    struct wire_message m = {0};
    const size_t repeat = len > 0 ? 1 + p[0] % 40 : 1, total = len * repeat;
    uint8_t *message = malloc(total + 1), *bytes = malloc(wire_size(total));
    CHECK(message && bytes);
    for (size_t i = 0; i < repeat && len > 0; i++)
        memcpy(message + i * len, p, len);
    wire_lay(message, total, bytes);
    CHECK(!wire_seal(&out, bytes, wire_size(total)));
    bool complete = false;
    size_t at = 0;
    while (!complete) {
        struct wire_record r;
        size_t used, got_len;
        const uint8_t *got;
        CHECK(!wire_open(&in, bytes + at, wire_size(total) - at, &r, &used));
        at += used;
        CHECK(!wire_message_add(&m, &r, total, &complete, &got, &got_len));
        CHECK(!complete || (got_len == total && (total == 0 || memcmp(got, message, total) == 0)));
    }
    CHECK(at == wire_size(total));
    wire_message_release(&m);
    free(message);
    free(bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!noise_done(&receiver))
        set_up();
    if (size == 0)
        return 0;
    if (data[0] % 3 == 0)
        unsealed(data + 1, size - 1);
    else if (data[0] % 3 == 1)
        member(data + 1, size - 1);
    else
        round_trip(data + 1, size - 1);
    return 0;
}
