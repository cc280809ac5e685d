#include "gossip/replica.h"

#include "gossip/message.h"
#include "store/base/rng.h"
#include "tests/support/fake_crypto.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { AUTHORS = 4, WALL = 1700000000 };

struct bytes {
    uint8_t p[2048];
    size_t len;
};

static struct fake_crypto authors[AUTHORS];

static void authors_init(void)
{
    for (unsigned i = 0; i < AUTHORS; i++)
        fake_crypto_init(&authors[i], 50 + i, 1);
}

static uint64_t clock_at(uint64_t ms)
{
    return (WALL + ms) << 16;
}

static struct uid uid_of(uint8_t app)
{
    return (struct uid){.b = {app, 7}};
}

static void sign(struct bytes *out, unsigned author, const struct record_key *key, uint64_t clock,
                 const struct pack *body)
{
    struct signer s = fake_signer(&authors[author]);
    struct pack k;
    assert_int_equal(pack_end(body), ERR_OK);
    pack_init(&k, out->p, sizeof out->p);
    assert_int_equal(
        record_encode(&s, key, clock, (struct slice){.p = body->p, .len = body->len}, &k), ERR_OK);
    out->len = k.len;
}

static void replicas_record(struct bytes *out, uint8_t app, unsigned author, uint64_t clock, uint32_t n)
{
    uint8_t buffer[64];
    struct pack k;
    pack_init(&k, buffer, sizeof buffer);
    const struct uid uid = uid_of(app);
    const struct record_key key = record_key_app(RECORD_REPLICAS, &uid);
    const struct replicas_body body = {.replicas = n};
    assert_int_equal(replicas_body_encode(&body, &k), ERR_OK);
    sign(out, author, &key, clock, &k);
}

static void holder_record(struct bytes *out, unsigned author, uint8_t image, uint64_t clock)
{
    uint8_t buffer[64];
    struct pack k;
    pack_init(&k, buffer, sizeof buffer);
    const struct hash h = {.b = {image}};
    const struct record_key key = record_key_holder(&h, authors[author].crypto.node);
    const struct holder_body body = {.present = 1, .size_bytes = 4096 + clock};
    assert_int_equal(holder_body_encode(&body, &k), ERR_OK);
    sign(out, author, &key, clock, &k);
}

static void deleted_record(struct bytes *out, uint8_t app, unsigned author, uint64_t clock)
{
    uint8_t buffer[128];
    struct pack k;
    pack_init(&k, buffer, sizeof buffer);
    const struct uid uid = uid_of(app);
    const struct record_key key = record_key_app(RECORD_DELETED, &uid);
    const struct deleted_body body = {.name = "web", .wall_ms = WALL};
    assert_int_equal(deleted_body_encode(&body, &k), ERR_OK);
    sign(out, author, &key, clock, &k);
}

/* With `padding` bytes of argument, so that it can be made too large to travel whole. */
static void spec_record(struct bytes *out, uint8_t app, unsigned author, uint64_t clock, uint32_t revision,
                        struct version parent, size_t padding)
{
    uint8_t buffer[2048];
    char arg[1024];
    const char *args[] = {arg};
    struct pack k;
    pack_init(&k, buffer, sizeof buffer);
    const struct uid uid = uid_of(app);
    const struct record_key key = record_key_app(RECORD_SPEC, &uid);
    const struct spec_body body = {
        .name = "web",
        .revision = revision,
        .parent = parent,
        .image_count = 1,
        .images = {{.target = TARGET_HVT, .image = {.b = {1}}, .size_bytes = 1000}},
        .memory_mib = 32,
    };
    memset(arg, 'x', padding);
    arg[padding] = '\0';
    assert_int_equal(spec_body_encode(&body, args, 1, &k), ERR_OK);
    sign(out, author, &key, clock, &k);
}

static struct version version_of(unsigned author, uint64_t clock)
{
    return (struct version){.clock = clock, .author = authors[author].crypto.node};
}

struct fixture {
    struct fake_crypto crypto;
    struct mem mem;
    struct replica *r;
};

static void init_with(struct fixture *f, const struct replica_config *cfg)
{
    authors_init();
    fake_crypto_init(&f->crypto, 9, 1);
    mem_init(&f->mem, 0);
    assert_int_equal(replica_new(&f->r, &f->mem, &f->crypto.crypto, cfg), ERR_OK);
}

static void init(struct fixture *f)
{
    const struct replica_config cfg = replica_config_default();
    init_with(f, &cfg);
}

static void release(struct fixture *f)
{
    replica_free(f->r);
    assert_int_equal(f->mem.used_bytes, 0);
}

static enum err merge(struct fixture *f, const struct bytes *b, struct merged *out)
{
    return replica_merge(f->r, b->p, b->len, WALL, REPLICA_SPREAD, out);
}

static struct record_key key_of(const struct bytes *b)
{
    struct record r;
    assert_int_equal(record_decode(b->p, b->len, &r), ERR_OK);
    return r.key;
}

/* ---- Merging ----------------------------------------------------------------------------------------- */

static void the_higher_version_wins_whatever_comes_first(void **state)
{
    (void)state;
    struct fixture f;
    struct bytes old, new;
    struct merged m;
    init(&f);
    replicas_record(&old, 1, 0, clock_at(0), 1);
    replicas_record(&new, 1, 1, clock_at(1), 2);
    assert_int_equal(merge(&f, &old, &m), ERR_OK);
    assert_int_equal(m.how, MERGED_NEW);
    assert_int_equal(merge(&f, &old, &m), ERR_STALE);
    assert_int_equal(merge(&f, &new, &m), ERR_OK);
    assert_int_equal(m.how, MERGED_NEWER);
    assert_int_equal(merge(&f, &old, &m), ERR_STALE);
    struct record_key key = key_of(&new);
    const struct entry *e = replica_find(f.r, &key);
    assert_ptr_equal(e, m.entry ? m.entry : e);
    assert_int_equal(e->record.bytes.len, new.len);
    assert_memory_equal(e->record.bytes.p, new.p, new.len);
    assert_int_equal(replica_count(f.r), 1);
    release(&f);
}

static void a_forged_or_damaged_record_changes_nothing(void **state)
{
    (void)state;
    struct fixture f;
    struct bytes good, bad;
    struct merged m;
    init(&f);
    holder_record(&good, 0, 3, 5);
    uint64_t root = replica_root(f.r);
    for (size_t bit = 0; bit < 8 * good.len; bit++) {
        bad = good;
        bad.p[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        assert_int_not_equal(merge(&f, &bad, &m), ERR_OK);
    }
    for (size_t len = 0; len < good.len; len++) {
        bad = good;
        bad.len = len;
        assert_int_not_equal(merge(&f, &bad, &m), ERR_OK);
    }
    assert_int_equal(replica_count(f.r), 0);
    assert_int_equal(replica_root(f.r), root);
    assert_int_equal(merge(&f, &good, &m), ERR_OK);
    release(&f);
}

static void nobody_writes_in_another_s_name(void **state)
{
    (void)state;
    struct fixture f;
    struct bytes b;
    struct merged m;
    init(&f);
    /* author 1's key and signature under author 0's id */
    struct signer s = fake_signer(&authors[1]);
    s.node = authors[0].crypto.node;
    const struct uid uid = uid_of(1);
    const struct record_key key = record_key_app(RECORD_REPLICAS, &uid);
    uint8_t body[16];
    struct pack k;
    pack_init(&k, body, sizeof body);
    const struct replicas_body replicas = {.replicas = 1};
    assert_int_equal(replicas_body_encode(&replicas, &k), ERR_OK);
    struct slice slice = {.p = body, .len = k.len};
    pack_init(&k, b.p, sizeof b.p);
    assert_int_equal(record_encode(&s, &key, clock_at(0), slice, &k), ERR_OK);
    b.len = k.len;
    assert_int_equal(merge(&f, &b, &m), ERR_AUTH);
    assert_int_equal(replica_count(f.r), 0);
    release(&f);
}

static void a_clock_far_ahead_is_refused_from_a_peer_and_kept_from_disk(void **state)
{
    (void)state;
    struct fixture f;
    struct bytes b;
    struct merged m;
    init(&f);
    const struct replica_config cfg = replica_config_default();
    replicas_record(&b, 1, 0, clock_at(cfg.skew_max_ms + 1), 1);
    assert_int_equal(merge(&f, &b, &m), ERR_CLOCK);
    assert_int_equal(replica_merge(f.r, b.p, b.len, WALL, REPLICA_QUIET, &m), ERR_OK);
    replicas_record(&b, 2, 0, clock_at(cfg.skew_max_ms), 1);
    assert_int_equal(merge(&f, &b, &m), ERR_OK);
    release(&f);
}

static void the_hybrid_clock_is_later_than_all_seen_and_given(void **state)
{
    (void)state;
    struct fixture f;
    struct bytes b;
    struct merged m;
    init(&f);
    replicas_record(&b, 1, 0, clock_at(500), 1);
    assert_int_equal(merge(&f, &b, &m), ERR_OK);
    uint64_t last = clock_at(500);
    for (int i = 0; i < 10; i++) {
        uint64_t next = replica_clock_next(f.r, WALL);
        assert_true(next > last);
        last = next;
    }
    assert_int_equal(hlc_wall_ms(last), WALL + 500);
    assert_int_equal(replica_clock_next(f.r, WALL + 9000), clock_at(9000));
    release(&f);
}

static void a_tombstone_removes_the_app_for_good(void **state)
{
    (void)state;
    struct fixture f;
    struct bytes spec, replicas, other, gone, late;
    struct merged m;
    struct record_key key;
    init(&f);
    spec_record(&spec, 1, 0, clock_at(0), 1, (struct version){0}, 10);
    replicas_record(&replicas, 1, 0, clock_at(0), 1);
    replicas_record(&other, 2, 0, clock_at(0), 1);
    deleted_record(&gone, 1, 1, clock_at(5));
    replicas_record(&late, 1, 0, clock_at(10), 3);
    assert_int_equal(merge(&f, &spec, &m), ERR_OK);
    assert_int_equal(merge(&f, &replicas, &m), ERR_OK);
    assert_int_equal(merge(&f, &other, &m), ERR_OK);
    assert_int_equal(merge(&f, &gone, &m), ERR_OK);
    assert_true(m.removed_app);
    assert_non_null(m.entry);
    assert_int_equal(replica_count(f.r), 2);
    bool saw_spec = false, saw_replicas = false;
    struct record_key spec_key = key_of(&spec), replicas_key = key_of(&replicas);
    while (replica_removed_next(f.r, &key)) {
        saw_spec |= record_key_equal(&key, &spec_key);
        saw_replicas |= record_key_equal(&key, &replicas_key);
    }
    assert_true(saw_spec && saw_replicas);
    assert_int_equal(merge(&f, &late, &m), ERR_STALE);
    struct announcement a = {.key = replicas_key, .version = version_of(0, clock_at(99))};
    assert_false(replica_wants(f.r, &a));
    release(&f);
}

static void a_full_replica_refuses_all_but_tombstones(void **state)
{
    (void)state;
    struct fixture f;
    struct bytes b;
    struct merged m;
    struct replica_config cfg = replica_config_default();
    cfg.records_max = 3;
    init_with(&f, &cfg);
    for (uint8_t app = 1; app <= 3; app++) {
        replicas_record(&b, app, 0, clock_at(0), 1);
        assert_int_equal(merge(&f, &b, &m), ERR_OK);
    }
    replicas_record(&b, 4, 0, clock_at(0), 1);
    assert_int_equal(merge(&f, &b, &m), ERR_FULL);
    replicas_record(&b, 3, 0, clock_at(1), 2); /* a newer version takes no room */
    assert_int_equal(merge(&f, &b, &m), ERR_OK);
    deleted_record(&b, 4, 0, clock_at(1)); /* of an app that we don't hold: frees nothing */
    assert_int_equal(merge(&f, &b, &m), ERR_FULL);
    deleted_record(&b, 3, 0, clock_at(1));
    assert_int_equal(merge(&f, &b, &m), ERR_OK);
    assert_int_equal(replica_count(f.r), 3);
    release(&f);
}

static void a_spec_that_lost_to_a_concurrent_one_is_history(void **state)
{
    (void)state;
    for (int order = 0; order < 2; order++) {
        struct fixture f;
        struct bytes first, a, b;
        struct merged m;
        init(&f);
        spec_record(&first, 1, 0, clock_at(0), 1, (struct version){0}, 10);
        const struct version parent = version_of(0, clock_at(0));
        spec_record(&a, 1, 1, clock_at(10), 2, parent, 10);
        spec_record(&b, 1, 2, clock_at(11), 2, parent, 10);
        assert_int_equal(merge(&f, &first, &m), ERR_OK);
        assert_int_equal(merge(&f, order ? &a : &b, &m), ERR_OK);
        assert_false(m.conflict);
        assert_int_equal(merge(&f, order ? &b : &a, &m), ERR_OK);
        assert_true(m.conflict);
        const struct uid uid = uid_of(1);
        const struct record_key lost = record_key_history(&uid, version_of(1, clock_at(10)));
        assert_true(record_key_equal(&m.history, &lost));
        const struct entry *e = replica_find(f.r, &lost);
        assert_non_null(e);
        const struct record_key key = key_of(&b);
        assert_int_equal(replica_find(f.r, &key)->record.version.clock, clock_at(11));
        /* Anybody takes the history from us, and checks it. */
        struct fixture other;
        init(&other);
        struct bytes copy = {.len = e->record.bytes.len};
        memcpy(copy.p, e->record.bytes.p, copy.len);
        assert_int_equal(merge(&other, &copy, &m), ERR_OK);
        copy.p[copy.len - 70] ^= 1;
        assert_int_not_equal(merge(&other, &copy, &m), ERR_OK);
        release(&other);
        release(&f);
    }
}

/* Nobody hears of a spec of ours before it is on our disk, nor of its history. */
static void a_spec_that_lost_before_it_was_on_disk_is_held_as_history(void **state)
{
    (void)state;
    struct fixture f;
    struct bytes ours, theirs;
    struct merged m;
    init(&f);
    spec_record(&ours, 1, 0, clock_at(10), 1, (struct version){0}, 10);
    spec_record(&theirs, 1, 1, clock_at(11), 1, (struct version){0}, 10);
    assert_int_equal(replica_merge(f.r, ours.p, ours.len, WALL, REPLICA_HELD, &m), ERR_OK);
    assert_int_equal(merge(&f, &theirs, &m), ERR_OK);
    assert_true(m.conflict);
    assert_false(m.entry->held);
    assert_true(replica_find(f.r, &m.history)->held);
    struct pack k;
    uint8_t packet[1232];
    pack_init(&k, packet, sizeof packet);
    assert_int_equal(replica_piggyback(f.r, 3, &k, sizeof packet), 1); /* theirs */
    replica_spread(f.r, &m.history);
    assert_false(replica_find(f.r, &m.history)->held);
    pack_init(&k, packet, sizeof packet);
    assert_int_equal(replica_piggyback(f.r, 3, &k, sizeof packet), 2);
    release(&f);
}

/* As a command does whose write failed. */
static void what_was_stale_beside_a_record_that_is_dropped_is_new_again(void **state)
{
    (void)state;
    struct fixture f;
    struct bytes ours, theirs;
    struct merged m;
    init(&f);
    replicas_record(&ours, 1, 0, clock_at(10), 1);
    replicas_record(&theirs, 1, 1, clock_at(9), 2);
    assert_int_equal(replica_merge(f.r, ours.p, ours.len, WALL, REPLICA_HELD, &m), ERR_OK);
    assert_int_equal(merge(&f, &theirs, &m), ERR_STALE);
    const struct record_key key = key_of(&ours);
    replica_drop(f.r, &key);
    assert_int_equal(merge(&f, &theirs, &m), ERR_OK);
    release(&f);
}

static void a_successor_makes_no_history(void **state)
{
    (void)state;
    struct fixture f;
    struct bytes s[3];
    struct merged m;
    init(&f);
    spec_record(&s[0], 1, 0, clock_at(0), 1, (struct version){0}, 10);
    spec_record(&s[1], 1, 1, clock_at(1), 2, version_of(0, clock_at(0)), 10);
    spec_record(&s[2], 1, 0, clock_at(2), 3, version_of(1, clock_at(1)), 10);
    assert_int_equal(merge(&f, &s[0], &m), ERR_OK);
    assert_int_equal(merge(&f, &s[2], &m), ERR_OK); /* one was missed on the way */
    assert_false(m.conflict);
    assert_int_equal(merge(&f, &s[1], &m), ERR_STALE);
    assert_int_equal(replica_count(f.r), 1);
    release(&f);
}

static void a_signature_is_checked_once(void **state)
{
    (void)state;
    struct fixture f;
    struct bytes b;
    struct merged m;
    init(&f);
    replicas_record(&b, 1, 0, clock_at(0), 1);
    assert_int_equal(merge(&f, &b, &m), ERR_OK);
    struct record_key key = key_of(&b);
    replica_drop(f.r, &key);
    uint64_t verifies = f.crypto.verifies;
    assert_int_equal(merge(&f, &b, &m), ERR_OK);
    assert_int_equal(f.crypto.verifies, verifies);
    release(&f);
}

/* ---- Properties -------------------------------------------------------------------------------------- */

enum { SET = 40 };

static void random_record(struct bytes *out, struct rng *rng)
{
    unsigned author = (unsigned)rng_below(rng, AUTHORS);
    uint8_t app = (uint8_t)(1 + rng_below(rng, 3));
    uint64_t clock = clock_at(1 + rng_below(rng, 6));
    switch (rng_below(rng, 10)) {
    case 0:
        deleted_record(out, (uint8_t)(2 + rng_below(rng, 2)), author, clock);
        break;
    case 1:
    case 2:
    case 3: /* all written over the same one: whatever wins, the others are concurrent to it */
        spec_record(out, app, author, clock, 2, version_of(0, clock_at(0)), rng_below(rng, 3));
        break;
    case 4:
    case 5:
        holder_record(out, author, app, 1 + rng_below(rng, 5));
        break;
    default: /* the same version with different contents is an author's fault that must converge too */
        replicas_record(out, app, author, clock, (uint32_t)rng_below(rng, 5));
        break;
    }
}

static void merge_all(struct fixture *f, const struct bytes *set, const size_t *order, size_t n)
{
    struct merged m;
    struct record_key key;
    for (size_t i = 0; i < n; i++) {
        enum err err = merge(f, &set[order[i]], &m);
        assert_true(err == ERR_OK || err == ERR_STALE);
    }
    while (replica_removed_next(f->r, &key))
        ;
}

static void shuffle(struct rng *rng, size_t *order, size_t n)
{
    for (size_t i = n; i > 1; i--) {
        size_t j = rng_below(rng, i), x = order[i - 1];
        order[i - 1] = order[j];
        order[j] = x;
    }
}

struct copy {
    struct fixture *to;
    uint32_t taken;
};

static void copy_visit(void *ctx, const struct entry *e)
{
    struct copy *c = ctx;
    struct merged m;
    c->taken += replica_merge(c->to->r, e->record.bytes.p, e->record.bytes.len, WALL, REPLICA_QUIET,
                              &m) == ERR_OK;
}

/* What the other lacks, by digests: one way. */
static uint32_t exchange(struct fixture *from, struct fixture *to)
{
    uint8_t digests[REPLICA_DIGESTS_MAX];
    struct copy c = {.to = to};
    const struct slice theirs = {.p = digests, .len = replica_digests(to->r, digests)};
    replica_each_differing(from->r, theirs, copy_visit, &c);
    return c.taken;
}

static void registers_only(void *ctx, const struct entry *e)
{
    uint64_t *sum = ctx;
    if (e->record.key.kind != RECORD_HISTORY)
        *sum += fake_hash64(1, e->record.bytes.p, e->record.bytes.len);
}

static uint64_t registers(const struct fixture *f)
{
    uint64_t sum = 0;
    for (unsigned kind = 1; kind < RECORD_KIND_END; kind++)
        replica_each(f->r, (enum record_kind)kind, registers_only, &sum);
    return sum;
}

static void merges_commute_associate_and_repeat_harmlessly(void **state)
{
    (void)state;
    static struct bytes set[SET];
    for (uint64_t seed = 1; seed <= 40; seed++) {
        struct rng rng;
        struct fixture a, b, c;
        size_t order[SET];
        rng_init(&rng, seed);
        init(&a);
        init(&b);
        init(&c);
        for (size_t i = 0; i < SET; i++) {
            random_record(&set[i], &rng);
            order[i] = i;
        }
        merge_all(&a, set, order, SET);
        shuffle(&rng, order, SET);
        merge_all(&b, set, order, SET);
        assert_int_equal(registers(&a), registers(&b));
        shuffle(&rng, order, SET);
        merge_all(&b, set, order, SET); /* all of it again */
        assert_int_equal(registers(&a), registers(&b));
        /* A part of it, and the rest by way of another who has all. */
        merge_all(&c, set, order, SET / 2);
        while (exchange(&a, &c) + exchange(&c, &a) > 0)
            ;
        assert_int_equal(replica_root(a.r), replica_root(c.r));
        while (exchange(&a, &b) + exchange(&b, &a) > 0)
            ;
        assert_int_equal(replica_root(a.r), replica_root(b.r));
        release(&a);
        release(&b);
        release(&c);
    }
}

static void equal_roots_mean_equal_records(void **state)
{
    (void)state;
    struct fixture a, b;
    struct bytes x, y;
    struct merged m;
    init(&a);
    init(&b);
    replicas_record(&x, 1, 0, clock_at(0), 1);
    replicas_record(&y, 2, 0, clock_at(0), 1);
    assert_int_equal(replica_root(a.r), replica_root(b.r));
    assert_int_equal(merge(&a, &x, &m), ERR_OK);
    assert_int_not_equal(replica_root(a.r), replica_root(b.r));
    assert_int_equal(merge(&a, &y, &m), ERR_OK);
    assert_int_equal(merge(&b, &y, &m), ERR_OK);
    assert_int_equal(exchange(&a, &b), 1); /* only the bucket that differs */
    assert_int_equal(replica_root(a.r), replica_root(b.r));
    struct record_key key = key_of(&x);
    replica_drop(a.r, &key);
    assert_int_not_equal(replica_root(a.r), replica_root(b.r));
    release(&a);
    release(&b);
}

static void no_failed_allocation_leaves_half_a_merge(void **state)
{
    (void)state;
    struct bytes set[6];
    authors_init();
    spec_record(&set[0], 1, 0, clock_at(0), 1, (struct version){0}, 10);
    spec_record(&set[1], 1, 1, clock_at(2), 2, version_of(0, clock_at(0)), 10);
    spec_record(&set[2], 1, 2, clock_at(3), 2, version_of(0, clock_at(0)), 10);
    replicas_record(&set[3], 2, 0, clock_at(0), 1);
    holder_record(&set[4], 1, 3, 5);
    deleted_record(&set[5], 1, 0, clock_at(4));
    bool failed = true;
    for (uint64_t n = 1; failed; n++) {
        struct fixture f;
        const struct replica_config cfg = replica_config_default();
        struct record_key key;
        fake_crypto_init(&f.crypto, 9, 1);
        mem_init(&f.mem, 0);
        f.mem.fail_at = n;
        if (replica_new(&f.r, &f.mem, &f.crypto.crypto, &cfg)) {
            assert_int_equal(f.mem.used_bytes, 0);
            continue;
        }
        for (size_t i = 0; i < sizeof set / sizeof set[0]; i++) {
            struct merged m;
            uint64_t root = replica_root(f.r);
            uint32_t count = replica_count(f.r);
            size_t used = f.mem.used_bytes;
            enum err err = merge(&f, &set[i], &m);
            if (err) {
                assert_int_equal(err, ERR_NOMEM);
                assert_int_equal(replica_root(f.r), root);
                assert_int_equal(replica_count(f.r), count);
                assert_int_equal(f.mem.used_bytes, used);
                assert_int_equal(merge(&f, &set[i], &m), ERR_OK); /* and the next try succeeds */
            }
        }
        while (replica_removed_next(f.r, &key))
            ;
        assert_int_equal(replica_count(f.r), 3);
        failed = f.mem.failed > 0;
        release(&f);
    }
}

/* ---- Dissemination ----------------------------------------------------------------------------------- */

static uint32_t count_tail(const uint8_t *p, size_t len, uint32_t kinds[3], const struct record_key *key)
{
    struct cursor c;
    struct tail_item item;
    uint32_t seen = 0;
    enum err err;
    cursor_init(&c, p, len);
    while (!(err = tail_next(&c, &item))) {
        struct record rec;
        kinds[item.kind]++;
        if (item.kind == TAIL_RECORD && !record_decode(item.record.p, item.record.len, &rec))
            seen += record_key_equal(&rec.key, key);
        if (item.kind == TAIL_ANNOUNCEMENT)
            seen += record_key_equal(&item.announcement.key, key);
    }
    assert_int_equal(err, ERR_NOT_FOUND);
    return seen;
}

static void small_records_travel_whole_and_large_ones_are_announced(void **state)
{
    (void)state;
    struct fixture f;
    struct bytes small, large;
    struct merged m;
    uint8_t buffer[PACKET_PAYLOAD_MAX];
    uint32_t kinds[3] = {0};
    struct pack k;
    init(&f);
    replicas_record(&small, 1, 0, clock_at(0), 1);
    spec_record(&large, 1, 0, clock_at(0), 1, (struct version){0}, 900);
    assert_true(small.len <= REPLICA_INLINE_MAX && large.len > REPLICA_INLINE_MAX);
    assert_int_equal(merge(&f, &small, &m), ERR_OK);
    assert_int_equal(merge(&f, &large, &m), ERR_OK);
    pack_init(&k, buffer, sizeof buffer);
    assert_int_equal(replica_piggyback(f.r, 5, &k, sizeof buffer), 2);
    struct record_key key = key_of(&large);
    assert_int_equal(count_tail(buffer, k.len, kinds, &key), 1);
    assert_int_equal(kinds[TAIL_RECORD], 1);
    assert_int_equal(kinds[TAIL_ANNOUNCEMENT], 1);
    release(&f);
}

static void an_announcement_is_wanted_only_if_newer(void **state)
{
    (void)state;
    struct fixture f, other;
    struct bytes old, new;
    struct merged m;
    uint8_t buffer[PACKET_PAYLOAD_MAX];
    struct pack k;
    struct cursor c;
    struct tail_item item;
    init(&f);
    init(&other);
    spec_record(&old, 1, 0, clock_at(0), 1, (struct version){0}, 900);
    spec_record(&new, 1, 0, clock_at(1), 2, version_of(0, clock_at(0)), 900);
    assert_int_equal(merge(&f, &new, &m), ERR_OK);
    pack_init(&k, buffer, sizeof buffer);
    assert_int_equal(replica_piggyback(f.r, 5, &k, sizeof buffer), 1);
    cursor_init(&c, buffer, k.len);
    assert_int_equal(tail_next(&c, &item), ERR_OK);
    assert_true(replica_wants(other.r, &item.announcement));
    assert_int_equal(merge(&other, &old, &m), ERR_OK);
    assert_true(replica_wants(other.r, &item.announcement));
    assert_int_equal(merge(&other, &new, &m), ERR_OK);
    assert_false(replica_wants(other.r, &item.announcement));
    item.announcement.key.kind = RECORD_KIND_END; /* of a newer build */
    assert_false(replica_wants(other.r, &item.announcement));
    release(&f);
    release(&other);
}

static void news_are_told_least_told_first_and_a_bounded_number_of_times(void **state)
{
    (void)state;
    enum { RECORDS = 6 };
    struct fixture f;
    struct bytes b[RECORDS];
    struct merged m;
    uint32_t told[RECORDS] = {0}, all = 0;
    uint8_t buffer[PACKET_PAYLOAD_MAX];
    init(&f);
    const struct replica_config cfg = replica_config_default();
    size_t room = 0;
    for (unsigned i = 0; i < RECORDS; i++) {
        replicas_record(&b[i], (uint8_t)(i + 1), 0, clock_at(i), 1);
        assert_int_equal(merge(&f, &b[i], &m), ERR_OK);
        room = b[i].len + 8 > room ? b[i].len + 8 : room;
    }
    while (replica_has_news(f.r)) {
        struct pack k;
        pack_init(&k, buffer, sizeof buffer);
        assert_int_equal(replica_piggyback(f.r, 5, &k, room), 1); /* one fits */
        assert_true(k.len <= room);
        for (unsigned i = 0; i < RECORDS; i++) {
            uint32_t kinds[3] = {0};
            struct record_key key = key_of(&b[i]);
            told[i] += count_tail(buffer, k.len, kinds, &key);
        }
        all++;
        if (all % RECORDS == 0)
            for (unsigned i = 0; i < RECORDS; i++)
                assert_int_equal(told[i], all / RECORDS);
    }
    assert_int_equal(all, RECORDS * cfg.retransmit_mult);
    struct record_key key = key_of(&b[0]);
    replica_spread(f.r, &key);
    assert_true(replica_has_news(f.r));
    release(&f);
}

static void a_packet_tells_nothing_twice(void **state)
{
    (void)state;
    struct fixture f;
    struct bytes b;
    struct merged m;
    uint8_t buffer[PACKET_PAYLOAD_MAX];
    struct pack k;
    init(&f);
    replicas_record(&b, 1, 0, clock_at(0), 1);
    assert_int_equal(merge(&f, &b, &m), ERR_OK);
    pack_init(&k, buffer, sizeof buffer);
    assert_int_equal(replica_piggyback(f.r, 1000, &k, sizeof buffer), 1);
    release(&f);
}

static void what_is_quiet_spreads_only_when_told_to(void **state)
{
    (void)state;
    struct fixture f;
    struct bytes b;
    struct merged m;
    init(&f);
    replicas_record(&b, 1, 0, clock_at(0), 1);
    assert_int_equal(replica_merge(f.r, b.p, b.len, WALL, REPLICA_QUIET, &m), ERR_OK);
    assert_false(replica_has_news(f.r));
    struct record_key key = key_of(&b);
    replica_spread(f.r, &key);
    assert_true(replica_has_news(f.r));
    /* A newer own version takes the place of what was being told, and waits for its disk. */
    replicas_record(&b, 1, 0, clock_at(1), 2);
    assert_int_equal(replica_merge(f.r, b.p, b.len, WALL, REPLICA_QUIET, &m), ERR_OK);
    assert_false(replica_has_news(f.r));
    release(&f);
}

static void count_visit(void *ctx, const struct entry *e)
{
    (void)e;
    ++*(uint32_t *)ctx;
}

static void records_are_found_by_kind_and_by_app(void **state)
{
    (void)state;
    struct fixture f;
    struct bytes b;
    struct merged m;
    uint32_t n = 0;
    init(&f);
    spec_record(&b, 1, 0, clock_at(0), 1, (struct version){0}, 10);
    assert_int_equal(merge(&f, &b, &m), ERR_OK);
    for (uint8_t app = 1; app <= 3; app++) {
        replicas_record(&b, app, 0, clock_at(0), 1);
        assert_int_equal(merge(&f, &b, &m), ERR_OK);
    }
    holder_record(&b, 0, 1, 1);
    assert_int_equal(merge(&f, &b, &m), ERR_OK);
    replica_each(f.r, RECORD_REPLICAS, count_visit, &n);
    assert_int_equal(n, 3);
    n = 0;
    const struct uid uid = uid_of(1), none = uid_of(77);
    replica_each_of_app(f.r, &uid, count_visit, &n);
    assert_int_equal(n, 2);
    replica_each_of_app(f.r, &none, count_visit, &n);
    assert_int_equal(n, 2);
    assert_int_equal(replica_count(f.r), 5);
    release(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_higher_version_wins_whatever_comes_first),
        cmocka_unit_test(a_forged_or_damaged_record_changes_nothing),
        cmocka_unit_test(nobody_writes_in_another_s_name),
        cmocka_unit_test(a_clock_far_ahead_is_refused_from_a_peer_and_kept_from_disk),
        cmocka_unit_test(the_hybrid_clock_is_later_than_all_seen_and_given),
        cmocka_unit_test(a_tombstone_removes_the_app_for_good),
        cmocka_unit_test(a_full_replica_refuses_all_but_tombstones),
        cmocka_unit_test(a_spec_that_lost_to_a_concurrent_one_is_history),
        cmocka_unit_test(a_spec_that_lost_before_it_was_on_disk_is_held_as_history),
        cmocka_unit_test(what_was_stale_beside_a_record_that_is_dropped_is_new_again),
        cmocka_unit_test(a_successor_makes_no_history),
        cmocka_unit_test(a_signature_is_checked_once),
        cmocka_unit_test(merges_commute_associate_and_repeat_harmlessly),
        cmocka_unit_test(equal_roots_mean_equal_records),
        cmocka_unit_test(no_failed_allocation_leaves_half_a_merge),
        cmocka_unit_test(small_records_travel_whole_and_large_ones_are_announced),
        cmocka_unit_test(an_announcement_is_wanted_only_if_newer),
        cmocka_unit_test(news_are_told_least_told_first_and_a_bounded_number_of_times),
        cmocka_unit_test(a_packet_tells_nothing_twice),
        cmocka_unit_test(what_is_quiet_spreads_only_when_told_to),
        cmocka_unit_test(records_are_found_by_kind_and_by_app),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
