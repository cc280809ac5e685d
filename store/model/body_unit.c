#include "store/model/bodies.h"

#include "store/base/rng.h"

#include <string.h>

enum {
    FIELDS = 17,
    VOLUME = 1,      /* more, where there is one */
    VOLUME_FROM = 1, /* and one more, where it was carried there */
    VERSION_FIELDS = 2,
    ADDRESS_FIELDS = 3
};

const char *unit_state_text(enum unit_state s)
{
    switch (s) {
#define X(name, number, text)                                                                      \
    case UNIT_##name:                                                                              \
        return text;
        UNIT_STATE_LIST(X)
#undef X
    case UNIT_STATE_COUNT:
        break;
    }
    return "unknown";
}

void version_encode(struct version v, struct pack *k)
{
    pack_array(k, VERSION_FIELDS);
    pack_uint(k, v.clock);
    pack_uint(k, v.author);
}

void version_decode(struct cursor *c, struct version *out)
{
    if (cursor_array(c, VERSION_FIELDS) != VERSION_FIELDS)
        cursor_fail(c, ERR_INVALID);
    out->clock = cursor_uint(c, UINT64_MAX);
    out->author = cursor_uint(c, UINT64_MAX);
}

void unit_body_copy(struct unit_body *to, const struct unit_body *from)
{
    memcpy(to, from, offsetof(struct unit_body, addresses) + from->address_count * sizeof from->addresses[0]);
}

/* Of IPv4 its four bytes. */
static void address_encode(const struct unit_address *a, struct pack *k)
{
    size_t from = ip_is4(&a->ip) ? IP4_AT : 0;
    pack_array(k, ADDRESS_FIELDS);
    pack_str(k, a->network);
    pack_bin(k, a->ip.b + from, sizeof a->ip.b - from);
    pack_uint(k, a->since_ms);
}

static void address_decode(struct cursor *c, struct unit_address *out)
{
    static const struct ip v4 = {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff}};
    uint32_t more = cursor_array_from(c, ADDRESS_FIELDS);
    cursor_text(c, out->network, sizeof out->network);
    struct slice ip = cursor_bin(c, sizeof out->ip.b);
    out->since_ms = cursor_uint(c, UINT64_MAX);
    cursor_skip_n(c, more);
    out->ip = v4;
    if (ip.len == sizeof out->ip.b)
        memcpy(out->ip.b, ip.p, ip.len);
    else if (ip.len == sizeof out->ip.b - IP4_AT)
        memcpy(out->ip.b + IP4_AT, ip.p, ip.len);
    else
        cursor_fail(c, ERR_INVALID);
}

enum err unit_body_encode(const struct unit_body *u, struct pack *k)
{
    uint32_t more = !u->volume ? 0 : u->volume_from ? VOLUME + VOLUME_FROM : VOLUME;
    pack_array(k, FIELDS + more);
    pack_uint(k, u->epoch);
    pack_uint(k, u->surrogate);
    pack_uint(k, u->released);
    version_encode(u->spec, k);
    pack_uint(k, u->revision);
    pack_uint(k, u->state);
    pack_uint(k, u->target);
    pack_uint(k, u->restarts);
    pack_int(k, u->exit_status);
    pack_uint(k, u->exit_signal);
    pack_uint(k, u->since_ms);
    pack_uint(k, u->pid);
    pack_uint(k, u->memory_mib);
    pack_uint(k, u->run);
    pack_text(k, u->reason, sizeof u->reason);
    pack_array(k, u->address_count);
    for (uint32_t i = 0; i < u->address_count; i++)
        address_encode(&u->addresses[i], k);
    pack_uint(k, u->boot);
    if (more >= VOLUME)
        pack_uint(k, u->volume);
    if (more > VOLUME)
        pack_uint(k, u->volume_from);
    return pack_end(k);
}

enum err unit_body_decode(struct slice body, struct unit_body *out)
{
    struct cursor c;
    struct unit_body u; /* large at its end */
    memset(&u, 0, offsetof(struct unit_body, addresses));
    cursor_init(&c, body.p, body.len);
    uint32_t more = cursor_array_from(&c, FIELDS);
    u.epoch = cursor_uint(&c, UINT64_MAX);
    u.surrogate = (uint32_t)cursor_uint(&c, UINT32_MAX);
    u.released = (uint32_t)cursor_uint(&c, 1);
    version_decode(&c, &u.spec);
    u.revision = (uint32_t)cursor_uint(&c, UINT32_MAX);
    u.state = (enum unit_state)cursor_uint(&c, UNIT_STATE_COUNT - 1);
    u.target = (enum target)cursor_uint(&c, TARGET_COUNT - 1);
    u.restarts = (uint32_t)cursor_uint(&c, UINT32_MAX);
    int64_t status = cursor_int(&c);
    u.exit_signal = (uint32_t)cursor_uint(&c, UINT32_MAX);
    u.since_ms = cursor_uint(&c, UINT64_MAX);
    u.pid = (uint32_t)cursor_uint(&c, UINT32_MAX);
    u.memory_mib = (uint32_t)cursor_uint(&c, UINT32_MAX);
    u.run = cursor_uint(&c, UINT64_MAX);
    cursor_text(&c, u.reason, sizeof u.reason);
    u.address_count = cursor_array(&c, UNIT_ADDRESSES_MAX);
    for (uint32_t i = 0; i < u.address_count && !c.err; i++)
        address_decode(&c, &u.addresses[i]);
    u.boot = cursor_uint(&c, UINT64_MAX);
    if (more >= VOLUME) {
        u.volume = cursor_uint(&c, UINT64_MAX);
        more -= VOLUME;
    }
    if (more >= VOLUME_FROM) {
        u.volume_from = cursor_uint(&c, UINT64_MAX);
        more -= VOLUME_FROM;
    }
    cursor_skip_n(&c, more);
    enum err err = cursor_end(&c);
    if (err)
        return err;
    if (status < INT32_MIN || status > INT32_MAX || u.state == UNIT_PENDING)
        return ERR_INVALID;
    u.exit_status = (int32_t)status;
    unit_body_copy(out, &u);
    return ERR_OK;
}

static uint64_t little_endian(const uint8_t b[static 8])
{
    uint64_t v = 0;
    for (unsigned i = 8; i > 0; i--)
        v = v << 8 | b[i - 1];
    return v;
}

/* The same on every architecture: all nodes must name the same winner. */
static uint64_t claim_hash(const struct claim *c)
{
    uint64_t h = mix64(little_endian(c->id.app.b) ^ UINT64_C(0x9e3779b97f4a7c15));
    h = mix64(h ^ little_endian(c->id.app.b + 8));
    h = mix64(h ^ c->id.slot);
    h = mix64(h ^ c->id.epoch);
    return mix64(h ^ c->owner);
}

static int order(uint64_t a, uint64_t b)
{
    return a < b ? -1 : a > b;
}

int claim_compare(const struct claim *a, const struct claim *b)
{
    if ((a->surrogate != 0) != (b->surrogate != 0))
        return a->surrogate ? -1 : 1;
    if (a->id.epoch != b->id.epoch)
        return order(a->id.epoch, b->id.epoch);
    int by_hash = order(claim_hash(a), claim_hash(b));
    if (by_hash)
        return by_hash;
    if (a->owner != b->owner)
        return order(a->owner, b->owner);
    return order(a->surrogate, b->surrogate);
}
