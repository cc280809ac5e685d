#include "tests/support/records.h"

#include <string.h>

const char *const sample_args[2] = {"--ipv4=10.0.0.2/24", "--gr\xc3\xbc\xc3\x9f""e"};

struct uid sample_uid(void)
{
    struct uid u;
    for (unsigned i = 0; i < sizeof u.b; i++)
        u.b[i] = (uint8_t)(0x10 + i);
    return u;
}

struct hash sample_image(void)
{
    struct hash h;
    for (unsigned i = 0; i < sizeof h.b; i++)
        h.b[i] = (uint8_t)(0x40 + i);
    return h;
}

struct node_body sample_node(void)
{
    struct node_body n = {
        .boot = 1700000000000,
        .incarnation = 1700000000001,
        .name = "host-a",
        .address_count = 2,
        .addresses = {{.ip = {[10] = 0xff, [11] = 0xff, [12] = 192, [13] = 0, [14] = 2, [15] = 1},
                       .port = 7700},
                      {.ip = {0x20, 0x01, 0x0d, 0xb8, [15] = 1}, .port = 7701}},
        .capacity_mib = 65536,
        .used_mib = 300,
        .room_seq = 9,
        .targets = 1u << TARGET_HVT | 1u << TARGET_SPT,
        .target_abi = {0, 2, 2, 0},
        .flags = NODE_DRAINING,
        .away_until_ms = 1700000060000,
        .placement_version = 1,
        .cpus = 8,
        .arch = "x86_64",
        .labels = {.count = 2, .v = {{"disk", "ssd"}, {"zone", "a"}}},
        .published_ms = 1700000000002,
    };
    memset(n.x25519, 0x25, sizeof n.x25519);
    return n;
}

struct spec_body sample_spec(void)
{
    struct spec_body s = {
        .name = "web",
        .revision = 2,
        .parent = {.clock = 4000, .author = 7},
        .image_count = 2,
        .images = {{.target = TARGET_HVT, .image = sample_image(), .size_bytes = 5000000},
                   {.target = TARGET_VIRTIO, .image = sample_image(), .size_bytes = 6000000}},
        .memory_mib = 32,
        .restart = RESTART_ON_FAILURE,
        .exit_code_count = 2,
        .exit_codes = {1, 255},
        .require = {.count = 1, .v = {{"zone", "a"}}},
        .affinity = "shop",
    };
    return s;
}

struct unit_body sample_unit(void)
{
    return (struct unit_body){
        .epoch = 3,
        .spec = {.clock = 5000, .author = SAMPLE_AUTHOR},
        .revision = 2,
        .state = UNIT_BACKOFF,
        .target = TARGET_HVT,
        .restarts = 1,
        .exit_status = -1,
        .exit_signal = 9,
        .since_ms = 1700000001000,
        .pid = 4711,
        .memory_mib = 34,
        .run = 3,
        .boot = 1700000000001,
        .reason = "killed by signal 9",
    };
}

static enum err sign(void *ctx, const char *label, const void *p, size_t len,
                     uint8_t signature[static SIGNATURE_SIZE])
{
    (void)ctx;
    CHECK(strcmp(label, RECORD_LABEL) == 0 && len > 0);
    memset(signature, *(const uint8_t *)p, SIGNATURE_SIZE);
    return ERR_OK;
}

struct signer sample_signer(void)
{
    struct signer s = {.node = SAMPLE_AUTHOR, .sign = sign};
    memset(s.public_key, 0x33, sizeof s.public_key);
    return s;
}

static struct record_key sample_key(enum record_kind kind)
{
    const struct uid uid = sample_uid();
    const struct hash image = sample_image();
    if (kind == RECORD_NODE)
        return record_key_node(SAMPLE_AUTHOR);
    if (kind == RECORD_UNIT)
        return record_key_unit(&uid, 258, SAMPLE_AUTHOR);
    if (kind == RECORD_HOLDER)
        return record_key_holder(&image, SAMPLE_AUTHOR);
    return record_key_app(kind, &uid);
}

static enum err sample_body(enum record_kind kind, struct pack *k)
{
    const struct node_body node = sample_node();
    const struct spec_body spec = sample_spec();
    const struct unit_body unit = sample_unit();
    switch ((int)kind) {
    case RECORD_NODE:
        return node_body_encode(&node, k);
    case RECORD_SPEC:
        return spec_body_encode(&spec, sample_args, 2, k);
    case RECORD_REPLICAS:
        return replicas_body_encode(&(struct replicas_body){.replicas = 3}, k);
    case RECORD_WANTED:
        return wanted_body_encode(&(struct wanted_body){.wanted = WANTED_STOPPED}, k);
    case RECORD_DELETED:
        return deleted_body_encode(&(struct deleted_body){.name = "web", .wall_ms = 1700000002000}, k);
    case RECORD_UNIT:
        return unit_body_encode(&unit, k);
    case RECORD_HOLDER:
        return holder_body_encode(&(struct holder_body){.present = 1, .size_bytes = 5000000}, k);
    default:
        return ERR_UNSUPPORTED;
    }
}

void sample_record(enum record_kind kind, struct pack *out)
{
    uint8_t buffer[RECORD_BODY_MAX];
    struct pack k;
    pack_init(&k, buffer, sizeof buffer);
    if (kind == RECORD_HISTORY) {
        struct record spec;
        sample_record(RECORD_SPEC, &k);
        CHECK(record_decode(k.p, k.len, &spec) == ERR_OK);
        CHECK(record_history_encode(&spec, out) == ERR_OK);
        return;
    }
    const struct signer signer = sample_signer();
    const struct record_key key = sample_key(kind);
    CHECK(sample_body(kind, &k) == ERR_OK);
    CHECK(record_encode(&signer, &key, SAMPLE_CLOCK, (struct slice){.p = k.p, .len = k.len}, out) ==
          ERR_OK);
}

/* ---- Decode, then encode ------------------------------------------------------------------------- */

/* Arguments come out as slices and go in as strings. */
static enum err spec_reencode(struct slice body, struct pack *out)
{
    static char strings[ARGS_BYTES_MAX];
    const char *args[ARGS_MAX];
    struct spec_body s;
    struct slice arg;
    enum err err = spec_body_decode(body, &s);
    if (err)
        return err;
    uint32_t count = 0;
    size_t used = 0;
    for (struct slice rest = s.args; spec_arg_next(&rest, &arg); count++) {
        CHECK(count < ARGS_MAX && arg.len < sizeof strings - used);
        if (arg.len > 0)
            memcpy(strings + used, arg.p, arg.len);
        args[count] = strings + used;
        used += arg.len;
        strings[used++] = '\0';
    }
    CHECK(count == s.args_count);
    return spec_body_encode(&s, args, count, out);
}

enum err body_reencode(const struct record *r, struct pack *out)
{
    union {
        struct node_body node;
        struct replicas_body replicas;
        struct wanted_body wanted;
        struct deleted_body deleted;
        struct unit_body unit;
        struct holder_body holder;
    } u;
    enum err err;
    switch ((int)r->key.kind) {
    case RECORD_NODE:
        err = node_body_decode(r->body, &u.node);
        return err ? err : node_body_encode(&u.node, out);
    case RECORD_SPEC:
        return spec_reencode(r->body, out);
    case RECORD_REPLICAS:
        err = replicas_body_decode(r->body, &u.replicas);
        return err ? err : replicas_body_encode(&u.replicas, out);
    case RECORD_WANTED:
        err = wanted_body_decode(r->body, &u.wanted);
        return err ? err : wanted_body_encode(&u.wanted, out);
    case RECORD_DELETED:
        err = deleted_body_decode(r->body, &u.deleted);
        return err ? err : deleted_body_encode(&u.deleted, out);
    case RECORD_UNIT:
        err = unit_body_decode(r->body, &u.unit);
        return err ? err : unit_body_encode(&u.unit, out);
    case RECORD_HOLDER:
        err = holder_body_decode(r->body, &u.holder);
        return err ? err : holder_body_encode(&u.holder, out);
    default:
        return ERR_UNSUPPORTED;
    }
}
