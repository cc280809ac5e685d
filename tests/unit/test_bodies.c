/* What the records say: fields, bounds, growth, and who wins a slot. */
#define _GNU_SOURCE /* memmem */
#include "tests/support/records.h"

#include "store/base/rng.h"
#include "store/model/args.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static uint8_t buffer[2 * RECORD_BODY_MAX];
static struct pack k;

static struct slice packed(void)
{
    return (struct slice){.p = buffer, .len = k.len};
}

static int start(void **state)
{
    (void)state;
    pack_init(&k, buffer, sizeof buffer);
    return 0;
}

/* The same value, a version later: n more elements behind the last. */
static struct slice grown(uint8_t out[static sizeof buffer], uint32_t fields, uint32_t n)
{
    struct pack g;
    size_t head = fields < 16 ? 1 : 3;
    pack_init(&g, out, sizeof buffer);
    pack_array(&g, fields + n);
    pack_raw(&g, buffer + head, k.len - head);
    for (uint32_t i = 0; i < n; i++) {
        pack_array(&g, 1);
        pack_str(&g, "later");
    }
    assert_int_equal(pack_end(&g), ERR_OK);
    return (struct slice){.p = out, .len = g.len};
}

/* ---- node ---------------------------------------------------------------------------------------- */

static enum err node_round(const struct node_body *n, struct node_body *out)
{
    start(NULL);
    assert_int_equal(node_body_encode(n, &k), ERR_OK);
    return node_body_decode(packed(), out);
}

static void a_node_is_read_as_it_was_written(void **state)
{
    (void)state;
    const struct node_body n = sample_node();
    struct node_body out;
    assert_int_equal(node_round(&n, &out), ERR_OK);
    assert_memory_equal(out.x25519, n.x25519, sizeof n.x25519);
    assert_true(out.boot == n.boot && out.incarnation == n.incarnation);
    assert_string_equal(out.name, "host-a");
    assert_int_equal(out.address_count, 2);
    assert_true(address_equal(&out.addresses[1], &n.addresses[1]));
    assert_int_equal(out.capacity_mib, 65536);
    assert_int_equal(out.used_mib, 300);
    assert_int_equal(out.room_seq, 9);
    assert_int_equal(out.targets, 6);
    assert_int_equal(out.target_abi[TARGET_SPT], 2);
    assert_int_equal(out.flags, NODE_DRAINING);
    assert_true(out.away_until_ms == n.away_until_ms);
    assert_int_equal(out.placement_version, 1);
    assert_int_equal(out.cpus, 8);
    assert_string_equal(out.arch, "x86_64");
    assert_int_equal(out.labels.count, 2);
    assert_string_equal(out.labels.v[1].value, "a");
}

static void a_node_needs_a_name_and_a_boot_number(void **state)
{
    (void)state;
    struct node_body n = sample_node(), out;
    n.boot = 0;
    assert_int_equal(node_round(&n, &out), ERR_INVALID);
    n = sample_node();
    strcpy(n.name, "Not A Name");
    assert_int_equal(node_round(&n, &out), ERR_INVALID);
}

static void labels_are_sorted_and_unique(void **state)
{
    (void)state;
    struct node_body n = sample_node(), out;
    strcpy(n.labels.v[0].key, "zone");
    assert_int_equal(node_round(&n, &out), ERR_INVALID); /* twice */
    strcpy(n.labels.v[0].key, "zz");
    assert_int_equal(node_round(&n, &out), ERR_INVALID); /* out of order */
    strcpy(n.labels.v[0].key, "");
    assert_int_equal(node_round(&n, &out), ERR_INVALID);
}

static void on_error_nothing_is_given_out(void **state)
{
    (void)state;
    struct node_body n = sample_node(), out;
    n.boot = 0;
    memset(&out, 0x77, sizeof out);
    assert_int_not_equal(node_round(&n, &out), ERR_OK);
    assert_int_equal(out.name[0], 0x77);
}

/* ---- Growth: every kind -------------------------------------------------------------------------- */

/* Without nets it is shorter, as the first version wrote it. */
static struct slice spec_with_nets(void)
{
    static uint8_t bytes[RECORD_BODY_MAX];
    struct spec_body s = sample_spec();
    struct pack p;
    s.net_count = 2;
    s.nets[0] = (struct net_ref){"service", "public"};
    s.nets[1] = (struct net_ref){"Admin0", "lan"};
    s.mirage = 5;
    pack_init(&p, bytes, sizeof bytes);
    assert_int_equal(spec_body_encode(&s, sample_args, 2, &p), ERR_OK);
    return (struct slice){.p = bytes, .len = p.len};
}

/* With all that was added since. */
static struct slice spec_with_blocks(void)
{
    static uint8_t bytes[RECORD_BODY_MAX];
    struct spec_body s;
    struct pack p;
    assert_int_equal(spec_body_decode(spec_with_nets(), &s), ERR_OK);
    s.block_count = 2;
    s.blocks[0] = (struct block_ref){"storage", 64, 512, 0};
    s.blocks[1] = (struct block_ref){"log", 1024, 4096, 1};
    s.volume_lost = VOLUME_LOST_EMPTY;
    pack_init(&p, bytes, sizeof bytes);
    assert_int_equal(spec_body_encode(&s, sample_args, 2, &p), ERR_OK);
    return (struct slice){.p = bytes, .len = p.len};
}

static struct slice unit_with_volume(struct slice without)
{
    static uint8_t bytes[RECORD_BODY_MAX];
    struct unit_body u;
    struct pack p;
    assert_int_equal(unit_body_decode(without, &u), ERR_OK);
    assert_int_equal(u.volume, 0);
    u.volume = 300;
    u.volume_from = 7;
    pack_init(&p, bytes, sizeof bytes);
    assert_int_equal(unit_body_encode(&u, &p), ERR_OK);
    return (struct slice){.p = bytes, .len = p.len};
}

static void a_body_that_grew_is_read_without_what_is_new(void **state)
{
    (void)state;
    static const struct {
        enum record_kind kind;
        uint32_t fields;
    } kinds[] = {{RECORD_NODE, 18},   {RECORD_SPEC, 14},   {RECORD_REPLICAS, 1}, {RECORD_WANTED, 1},
                 {RECORD_DELETED, 2}, {RECORD_UNIT, 19}, {RECORD_HOLDER, 2}};
    static uint8_t record_bytes[RECORD_BYTES_MAX], out[sizeof buffer];
    for (unsigned i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        struct record r;
        struct pack p, again;
        pack_init(&p, record_bytes, sizeof record_bytes);
        sample_record(kinds[i].kind, &p);
        assert_int_equal(record_decode(record_bytes, p.len, &r), ERR_OK);
        const struct slice body = kinds[i].kind == RECORD_SPEC   ? spec_with_blocks()
                                  : kinds[i].kind == RECORD_UNIT ? unit_with_volume(r.body)
                                                                 : r.body;
        start(NULL);
        pack_raw(&k, body.p, body.len);
        for (uint32_t more = 1; more < 20; more += 9) {
            static uint8_t back[sizeof buffer];
            r.body = grown(out, kinds[i].fields, more);
            assert_int_equal(body_check(&r), ERR_OK);
            pack_init(&again, back, sizeof back);
            assert_int_equal(body_reencode(&r, &again), ERR_OK);
            assert_int_equal(again.len, body.len);
            assert_memory_equal(back, body.p, body.len);
        }
        r.body = (struct slice){.p = (const uint8_t *)"\x90", .len = 1}; /* and one that shrank is not */
        assert_int_equal(body_check(&r), ERR_INVALID);
    }
}

/* ---- spec ---------------------------------------------------------------------------------------- */

static void a_spec_is_read_as_it_was_written(void **state)
{
    (void)state;
    const struct spec_body s = sample_spec();
    struct spec_body out;
    struct slice arg;
    assert_int_equal(spec_body_encode(&s, sample_args, 2, &k), ERR_OK);
    assert_int_equal(spec_body_decode(packed(), &out), ERR_OK);
    assert_string_equal(out.name, "web");
    assert_int_equal(out.revision, 2);
    assert_int_equal(version_compare(out.parent, s.parent), 0);
    assert_int_equal(out.image_count, 2);
    assert_int_equal(out.images[1].target, TARGET_VIRTIO);
    assert_true(hash_equal(&out.images[1].image, &s.images[1].image));
    assert_int_equal(out.images[1].size_bytes, 6000000);
    assert_int_equal(out.memory_mib, 32);
    assert_int_equal(out.restart, RESTART_ON_FAILURE);
    assert_int_equal(out.exit_code_count, 2);
    assert_int_equal(out.exit_codes[1], 255);
    assert_string_equal(out.require.v[0].key, "zone");
    assert_string_equal(out.affinity, "shop");
    assert_int_equal(out.policy, POLICY_AVAILABLE);
    assert_int_equal(out.args_count, 2);
    struct slice rest = out.args;
    for (int i = 0; i < 2; i++) {
        assert_true(spec_arg_next(&rest, &arg));
        assert_int_equal(arg.len, strlen(sample_args[i]));
        assert_memory_equal(arg.p, sample_args[i], arg.len);
    }
    assert_false(spec_arg_next(&rest, &arg));
}

/* Solo5 takes 8192 bytes; an argument counts with the blank or the NUL behind it. */
static void arguments_have_the_bound_of_a_guests_command_line(void **state)
{
    (void)state;
    static char text[ARGS_BYTES_MAX + 1];
    const struct spec_body s = sample_spec();
    const char *args[ARGS_MAX + 1];
    struct spec_body out;
    memset(text, 'a', sizeof text);
    text[ARGS_BYTES_MAX - 1] = '\0';
    args[0] = text;
    assert_int_equal(spec_body_encode(&s, args, 1, &k), ERR_OK);
    assert_int_equal(spec_body_decode(packed(), &out), ERR_OK);
    assert_true(k.len <= RECORD_BODY_MAX);
    text[ARGS_BYTES_MAX - 1] = 'a';
    text[ARGS_BYTES_MAX] = '\0';
    start(NULL);
    assert_int_equal(spec_body_encode(&s, args, 1, &k), ERR_TOO_LARGE);
    for (unsigned i = 0; i <= ARGS_MAX; i++)
        args[i] = "x";
    start(NULL);
    assert_int_equal(spec_body_encode(&s, args, ARGS_MAX + 1, &k), ERR_TOO_LARGE);
    start(NULL);
    assert_int_equal(spec_body_encode(&s, args, ARGS_MAX, &k), ERR_OK);
    assert_int_equal(spec_body_decode(packed(), &out), ERR_OK);
    pack_init(&k, buffer, 40);
    assert_int_equal(spec_body_encode(&s, args, 1, &k), ERR_TOO_LARGE);
}

static void nets_are_read_as_they_were_written_and_checked(void **state)
{
    (void)state;
    static const struct net_ref bad[] = {{"", "lan"}, {"ser vice", "lan"}, {"service", ""}, {"service", "La n"}};
    struct spec_body s, out;
    assert_int_equal(spec_body_decode(spec_with_nets(), &s), ERR_OK);
    assert_int_equal(s.net_count, 2);
    assert_string_equal(s.nets[0].device, "service");
    assert_string_equal(s.nets[0].network, "public");
    assert_string_equal(s.nets[1].device, "Admin0");
    assert_string_equal(s.nets[1].network, "lan");
    for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct spec_body wrong = s;
        wrong.nets[1] = bad[i];
        start(NULL);
        assert_int_equal(spec_body_encode(&wrong, sample_args, 2, &k), ERR_OK);
        assert_int_equal(spec_body_decode(packed(), &out), ERR_INVALID);
    }
    s.nets[1] = (struct net_ref){"service", "lan"}; /* there twice */
    start(NULL);
    assert_int_equal(spec_body_encode(&s, sample_args, 2, &k), ERR_OK);
    assert_int_equal(spec_body_decode(packed(), &out), ERR_INVALID);
}

static void blocks_are_read_as_they_were_written_and_checked(void **state)
{
    (void)state;
    static const struct block_ref bad[] = {{"", 1, 512, 0},       {"sto rage", 1, 512, 0}, {"storage", 1, 512, 0},
                                           {"log", 0, 512, 0},    {"log", 1, 256, 0},      {"log", 1, 1000, 0},
                                           {"log", 1, 8192, 0}, {"log", BLOCK_MIB_MAX + 1, 512, 0}, {"log", 1, 512, 2}};
    /* after the arguments and the nets: [lost, [[device, MiB, sector, sparse]…]] */
    static const uint8_t golden[] = {0x92, 1,   0x92, 0x94, 0xa7, 's',  't',  'o', 'r', 'a',  'g', 'e', 64, 0xcd, 2,
                                     0,    0,   0x94, 0xa3, 'l',  'o',  'g',  0xcd, 4,  0,    0xcd, 16, 0,  1};
    struct spec_body s, out;
    const struct slice whole = spec_with_blocks();
    assert_memory_equal(whole.p + whole.len - sizeof golden, golden, sizeof golden);
    assert_int_equal(spec_body_decode(whole, &s), ERR_OK);
    assert_int_equal(s.net_count, 2);
    assert_int_equal(s.block_count, 2);
    assert_string_equal(s.blocks[0].device, "storage");
    assert_int_equal(s.blocks[0].size_mib, 64);
    assert_int_equal(s.blocks[1].sector_bytes, 4096);
    assert_int_equal(s.blocks[1].sparse, 1);
    assert_int_equal(s.volume_lost, VOLUME_LOST_EMPTY);
    for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct spec_body wrong = s;
        wrong.blocks[1] = bad[i];
        start(NULL);
        assert_int_equal(spec_body_encode(&wrong, sample_args, 2, &k), ERR_OK);
        assert_int_not_equal(spec_body_decode(packed(), &out), ERR_OK);
    }
    s.net_count = 0; /* its place stays */
    start(NULL);
    assert_int_equal(spec_body_encode(&s, sample_args, 2, &k), ERR_OK);
    assert_int_equal(spec_body_decode(packed(), &out), ERR_OK);
    assert_int_equal(out.net_count, 0);
    assert_int_equal(out.block_count, 2);
}

static void the_networks_of_a_node_are_ascending(void **state)
{
    (void)state;
    struct node_body n = sample_node(), out;
    n.network_count = 2;
    strcpy(n.networks[0], "lan");
    strcpy(n.networks[1], "public");
    assert_int_equal(node_round(&n, &out), ERR_OK);
    assert_int_equal(out.network_count, 2);
    assert_string_equal(out.networks[1], "public");
    strcpy(n.networks[1], "lan");
    assert_int_equal(node_round(&n, &out), ERR_INVALID);
}

static void arguments_may_not_outgrow_a_command_line(void **state)
{
    (void)state;
    static char arg[ARGS_BYTES_MAX];
    const char *args[] = {arg};
    const struct spec_body s = sample_spec();
    for (size_t i = 0; i + 9 < sizeof arg / 2; i += 8)
        memcpy(arg + i, "{{node}}", 9);
    start(NULL);
    assert_int_equal(spec_body_encode(&s, args, 1, &k), ERR_TOO_LARGE);
    arg[8 * (ARGS_BYTES_MAX / 64)] = '\0';
    start(NULL);
    assert_int_equal(spec_body_encode(&s, args, 1, &k), ERR_OK);
}

static void a_peer_can_read_every_spec_that_is_written(void **state)
{
    (void)state;
    static const char *const bad[] = {"a\nb", "\x1b[2J", "caf\xe9", "\x7f"};
    const struct spec_body s = sample_spec();
    for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++) {
        const char *const args[] = {"--ok", bad[i]};
        start(NULL);
        assert_int_equal(spec_body_encode(&s, args, 2, &k), ERR_INVALID);
    }
}

static void a_spec_may_stand_behind_others_in_a_buffer(void **state)
{
    (void)state;
    static const uint8_t zeros[RECORD_BODY_MAX];
    const struct spec_body s = sample_spec();
    struct spec_body out;
    pack_raw(&k, zeros, sizeof zeros);
    assert_int_equal(spec_body_encode(&s, sample_args, 2, &k), ERR_OK);
    assert_int_equal(spec_body_decode((struct slice){buffer + sizeof zeros, k.len - sizeof zeros}, &out),
                     ERR_OK);
}

static void assert_refused(const struct spec_body *s, enum err expected, const char *says)
{
    char text[256] = "";
    struct spec_body out;
    assert_int_equal(spec_check(s, text, sizeof text), expected);
    if (!strstr(text, says))
        fail_msg("\"%s\" does not say \"%s\"", text, says);
    start(NULL);
    assert_int_equal(spec_body_encode(s, NULL, 0, &k), ERR_OK);
    assert_int_equal(spec_body_decode(packed(), &out), expected); /* a stranger's as a person's */
}

static void what_may_be_asked_for_is_checked_alike_everywhere(void **state)
{
    (void)state;
    char text[256];
    struct spec_body s = sample_spec();
    assert_int_equal(spec_check(&s, text, sizeof text), ERR_OK);
    strcpy(s.name, "Web");
    assert_refused(&s, ERR_INVALID, "\"Web\" is no name");
    s = sample_spec();
    s.memory_mib = 3;
    assert_refused(&s, ERR_INVALID, "memory: 3M is below the 4M that an hvt guest needs");
    s.memory_mib = MEMORY_MIB_MAX + 1;
    assert_refused(&s, ERR_INVALID, "is more than");
    s = sample_spec();
    s.image_count = 0;
    assert_refused(&s, ERR_INVALID, "image: none");
    s = sample_spec();
    s.images[1].target = TARGET_HVT;
    assert_refused(&s, ERR_INVALID, "at most one for each");
    s = sample_spec();
    s.images[0].target = TARGET_NONE;
    assert_refused(&s, ERR_INVALID, "at most one for each");
    s = sample_spec();
    s.images[0].image = (struct hash){0};
    assert_refused(&s, ERR_INVALID, "image");
    s = sample_spec();
    strcpy(s.affinity, "-");
    assert_refused(&s, ERR_INVALID, "affinity");
    s = sample_spec();
    s.require.v[0].key[0] = '\0';
    assert_refused(&s, ERR_INVALID, "require");
    s = sample_spec();
    s.policy = POLICY_QUORUM;
    assert_refused(&s, ERR_UNSUPPORTED, "policy");
}

static void two_mib_are_enough_for_spt_alone(void **state)
{
    (void)state;
    char text[256];
    struct spec_body s = sample_spec();
    s.image_count = 1;
    s.images[0].target = TARGET_SPT;
    s.memory_mib = MEMORY_MIB_MIN;
    assert_int_equal(spec_check(&s, text, sizeof text), ERR_OK);
    s.memory_mib = MEMORY_MIB_MIN - 1;
    assert_int_equal(spec_check(&s, text, sizeof text), ERR_INVALID);
}

/* ---- The small ones ------------------------------------------------------------------------------ */

static void registers_hold_what_they_may(void **state)
{
    (void)state;
    struct replicas_body r = {.replicas = REPLICAS_MAX};
    struct wanted_body w = {.wanted = WANTED_STOPPED};
    assert_int_equal(replicas_body_encode(&r, &k), ERR_OK);
    assert_int_equal(replicas_body_decode(packed(), &r), ERR_OK);
    assert_int_equal(r.replicas, REPLICAS_MAX);
    start(NULL);
    r.replicas = REPLICAS_MAX + 1;
    assert_int_equal(replicas_body_encode(&r, &k), ERR_OK);
    assert_int_equal(replicas_body_decode(packed(), &r), ERR_INVALID);
    start(NULL);
    assert_int_equal(wanted_body_encode(&w, &k), ERR_OK);
    w.wanted = WANTED_RUNNING;
    assert_int_equal(wanted_body_decode(packed(), &w), ERR_OK);
    assert_int_equal(w.wanted, WANTED_STOPPED);
    assert_int_equal(wanted_body_decode((struct slice){(const uint8_t *)"\x91\x02", 2}, &w), ERR_INVALID);
}

static void tombstones_and_holders_are_read_as_written(void **state)
{
    (void)state;
    struct deleted_body d = {.name = "web", .wall_ms = 123456789012}, d2;
    struct holder_body h = {.present = 1, .size_bytes = UINT64_MAX}, h2;
    assert_int_equal(deleted_body_encode(&d, &k), ERR_OK);
    assert_int_equal(deleted_body_decode(packed(), &d2), ERR_OK);
    assert_string_equal(d2.name, "web");
    assert_true(d2.wall_ms == d.wall_ms);
    start(NULL);
    assert_int_equal(holder_body_encode(&h, &k), ERR_OK);
    assert_int_equal(holder_body_decode(packed(), &h2), ERR_OK);
    assert_int_equal(h2.present, 1);
    assert_true(h2.size_bytes == UINT64_MAX);
}

/* ---- unit ---------------------------------------------------------------------------------------- */

static void a_unit_is_read_as_it_was_written(void **state)
{
    (void)state;
    struct unit_body u = sample_unit(), out;
    u.surrogate = 4;
    u.released = 1;
    u.exit_status = INT32_MIN;
    u.run = UINT64_C(1) << 63 | 4;
    assert_int_equal(unit_body_encode(&u, &k), ERR_OK);
    assert_int_equal(unit_body_decode(packed(), &out), ERR_OK);
    assert_true(out.epoch == 3 && out.surrogate == 4 && out.released == 1 && out.revision == 2);
    assert_int_equal(version_compare(out.spec, u.spec), 0);
    assert_int_equal(out.state, UNIT_BACKOFF);
    assert_int_equal(out.target, TARGET_HVT);
    assert_int_equal(out.restarts, 1);
    assert_int_equal(out.exit_status, INT32_MIN);
    assert_int_equal(out.exit_signal, 9);
    assert_true(out.since_ms == u.since_ms);
    assert_int_equal(out.pid, 4711);
    assert_int_equal(out.memory_mib, 34);
    assert_true(out.run == u.run && out.boot == u.boot);
    assert_string_equal(out.reason, u.reason);
    assert_int_equal(out.address_count, 0);
}

static void a_unit_has_its_addresses(void **state)
{
    (void)state;
    struct unit_body u = sample_unit(), out;
    u.address_count = 2;
    strcpy(u.addresses[0].network, "public");
    assert_int_equal(ip_parse("10.0.0.7", &u.addresses[0].ip), ERR_OK);
    u.addresses[0].since_ms = 1700000002000;
    strcpy(u.addresses[1].network, "public");
    assert_int_equal(ip_parse("fd00:1::7", &u.addresses[1].ip), ERR_OK);
    assert_int_equal(unit_body_encode(&u, &k), ERR_OK);
    static const uint8_t golden[] = {0x92, 0x93, 0xa6, 'p', 'u', 'b', 'l', 'i', 'c', 0xc4, 4, 10, 0, 0, 7,
                                     0xcf, 0, 0, 1, 0x8b, 0xcf, 0xe5, 0x6f, 0xd0, 0x93, 0xa6, 'p', 'u', 'b', 'l',
                                     'i', 'c', 0xc4, 16, 0xfd, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7, 0};
    assert_non_null(memmem(buffer, k.len, golden, sizeof golden));
    assert_int_equal(unit_body_decode(packed(), &out), ERR_OK);
    assert_int_equal(out.address_count, 2);
    assert_true(ip_equal(&out.addresses[0].ip, &u.addresses[0].ip) &&
                ip_equal(&out.addresses[1].ip, &u.addresses[1].ip));
    assert_string_equal(out.addresses[1].network, "public");
    assert_true(out.addresses[0].since_ms == u.addresses[0].since_ms);
    start(NULL);
    u.address_count = UNIT_ADDRESSES_MAX;
    for (uint32_t i = 0; i < UNIT_ADDRESSES_MAX; i++)
        memset(u.addresses[i].network, 'a', NAME_SIZE - 1);
    assert_int_equal(unit_body_encode(&u, &k), ERR_OK);
    assert_int_equal(unit_body_decode(packed(), &out), ERR_OK);
}

/* A path, a host's or a guest's words, cut at a limit: peers would refuse the whole record. */
static void a_reason_is_text_whatever_it_was_made_of(void **state)
{
    (void)state;
    struct unit_body u = sample_unit(), out;
    memcpy(u.reason, "a\nb \xff \xc3\xa4 cut \xe2\x80", sizeof "a\nb \xff \xc3\xa4 cut \xe2\x80");
    assert_int_equal(unit_body_encode(&u, &k), ERR_OK);
    assert_int_equal(unit_body_decode(packed(), &out), ERR_OK);
    assert_string_equal(out.reason, "a?b ? \xc3\xa4 cut ??");
}

static void a_pending_unit_is_never_in_a_record(void **state)
{
    (void)state;
    struct unit_body u = sample_unit(), out;
    u.state = UNIT_PENDING;
    assert_int_equal(unit_body_encode(&u, &k), ERR_OK);
    assert_int_equal(unit_body_decode(packed(), &out), ERR_INVALID);
}

static void every_state_has_a_text(void **state)
{
    (void)state;
    for (unsigned i = 0; i < UNIT_STATE_COUNT; i++)
        assert_string_not_equal(unit_state_text((enum unit_state)i), "unknown");
    assert_string_equal(unit_state_text(UNIT_STATE_COUNT), "unknown");
}

/* ---- Who wins a slot ------------------------------------------------------------------------------ */

static struct claim claim(uint64_t epoch, node_id owner, uint32_t surrogate)
{
    return (struct claim){.id = {.app = sample_uid(), .slot = 1, .epoch = epoch},
                          .owner = owner,
                          .surrogate = surrogate};
}

static void surrogates_come_last_then_the_epoch_decides(void **state)
{
    (void)state;
    struct claim low = claim(1, 5, 0), high = claim(2, 4, 0), surrogate = claim(100, 6, 1);
    assert_true(claim_compare(&low, &high) < 0);
    assert_true(claim_compare(&high, &low) > 0);
    assert_true(claim_compare(&surrogate, &low) < 0);
    assert_true(claim_compare(&low, &surrogate) > 0);
    assert_int_equal(claim_compare(&low, &low), 0);
}

static void at_one_epoch_no_owner_is_favoured(void **state)
{
    (void)state;
    unsigned first = 0;
    for (uint64_t epoch = 1; epoch <= 1000; epoch++) {
        struct claim a = claim(epoch, 1, 0), b = claim(epoch, 2, 0);
        assert_int_equal(claim_compare(&a, &b), -claim_compare(&b, &a));
        assert_int_not_equal(claim_compare(&a, &b), 0);
        first += claim_compare(&a, &b) > 0;
    }
    assert_in_range(first, 400, 600);
}

/* All nodes must name the same winner, of whatever make and build: the order is part of the protocol. */
static void the_order_at_one_epoch_is_fixed(void **state)
{
    (void)state;
    static const node_id ascending[] = {4, 1, 3, 5, 7, 8, 6, 2};
    for (unsigned i = 0; i + 1 < sizeof ascending / sizeof *ascending; i++) {
        struct claim a = claim(7, ascending[i], 0), b = claim(7, ascending[i + 1], 0);
        assert_true(claim_compare(&a, &b) < 0);
    }
}

static struct claim any_claim(struct rng *r)
{
    return claim(rng_below(r, 3), 1 + rng_below(r, 4), (uint32_t)rng_below(r, 3));
}

static void the_order_of_claims_is_total(void **state)
{
    (void)state;
    struct rng r;
    rng_init(&r, 41);
    for (int i = 0; i < 20000; i++) {
        struct claim a = any_claim(&r), b = any_claim(&r), c = any_claim(&r);
        int ab = claim_compare(&a, &b), bc = claim_compare(&b, &c), ac = claim_compare(&a, &c);
        assert_int_equal(ab, -claim_compare(&b, &a));
        if (ab <= 0 && bc <= 0)
            assert_true(ac <= 0);
        bool same = a.id.epoch == b.id.epoch && a.owner == b.owner && a.surrogate == b.surrogate;
        assert_int_equal(ab == 0, same);
    }
}

/* ---- Any ----------------------------------------------------------------------------------------- */

static void a_damaged_body_is_refused_or_read_within_bounds(void **state)
{
    (void)state;
    struct rng rng;
    rng_init(&rng, 42);
    for (int i = 0; i < 20000; i++) {
        static uint8_t bytes[RECORD_BYTES_MAX], out[2 * RECORD_BODY_MAX];
        struct record r;
        struct pack p, o;
        pack_init(&p, bytes, sizeof bytes);
        sample_record((enum record_kind)(1 + rng_below(&rng, RECORD_HOLDER)), &p);
        assert_int_equal(record_decode(bytes, p.len, &r), ERR_OK);
        bytes[(size_t)(r.body.p - bytes) + rng_below(&rng, r.body.len)] = (uint8_t)rng_u64(&rng);
        pack_init(&o, out, sizeof out);
        enum err err = body_reencode(&r, &o);
        assert_int_equal(err == ERR_OK, body_check(&r) == ERR_OK);
    }
}

#define T(name) cmocka_unit_test_setup(name, start)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_node_is_read_as_it_was_written),
        T(a_node_needs_a_name_and_a_boot_number),
        T(labels_are_sorted_and_unique),
        T(on_error_nothing_is_given_out),
        T(a_body_that_grew_is_read_without_what_is_new),
        T(a_spec_is_read_as_it_was_written),
        T(arguments_have_the_bound_of_a_guests_command_line),
        T(arguments_may_not_outgrow_a_command_line),
        T(nets_are_read_as_they_were_written_and_checked),
        T(blocks_are_read_as_they_were_written_and_checked),
        T(the_networks_of_a_node_are_ascending),
        T(a_peer_can_read_every_spec_that_is_written),
        T(a_spec_may_stand_behind_others_in_a_buffer),
        T(what_may_be_asked_for_is_checked_alike_everywhere),
        T(two_mib_are_enough_for_spt_alone),
        T(registers_hold_what_they_may),
        T(tombstones_and_holders_are_read_as_written),
        T(a_unit_is_read_as_it_was_written),
        T(a_unit_has_its_addresses),
        T(a_reason_is_text_whatever_it_was_made_of),
        T(a_pending_unit_is_never_in_a_record),
        T(every_state_has_a_text),
        T(surrogates_come_last_then_the_epoch_decides),
        T(at_one_epoch_no_owner_is_favoured),
        T(the_order_at_one_epoch_is_fixed),
        T(the_order_of_claims_is_total),
        T(a_damaged_body_is_refused_or_read_within_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
