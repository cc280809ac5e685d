#include "gossip/swim.h"

#include "store/base/rng.h"
#include "tests/unit/swim_mesh.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- One member alone, with what it hears scripted -------------------------------------------------- */

enum { OTHERS_MAX = 12, BOOT = 1000 };

struct alone {
    struct fake_crypto self, others[OTHERS_MAX];
    uint32_t count;
    struct mem mem;
    struct swim *swim;
    struct swim_effects fx;
};

static struct swim_record record_of(const struct fake_crypto *f, uint64_t incarnation)
{
    return (struct swim_record){
        .node = f->crypto.node,
        .address = {.port = 7946},
        .boot = BOOT,
        .incarnation = incarnation,
        .presence = SWIM_PRESENT,
        .source = SWIM_NEWS,
    };
}

static void alone_init(struct alone *a, uint32_t others, const struct swim_config *cfg)
{
    struct rng root;
    memset(a, 0, sizeof *a);
    rng_init(&root, 3);
    mem_init(&a->mem, 0);
    fake_crypto_init(&a->self, 1, 1);
    assert_int_equal(swim_new(&a->swim, &a->mem, &a->self.crypto, cfg, &root), ERR_OK);
    swim_self(a->swim, BOOT);
    for (; a->count < others; a->count++) {
        fake_crypto_init(&a->others[a->count], 100 + a->count, 1);
        struct swim_record r = record_of(&a->others[a->count], BOOT);
        assert_int_equal(swim_member(a->swim, &r, 0, &a->fx), ERR_OK);
    }
}

static void alone_free(struct alone *a)
{
    swim_free(a->swim);
    assert_int_equal(a->mem.used_bytes, 0);
}

static node_id id_of(const struct alone *a, uint32_t i)
{
    return a->others[i].crypto.node;
}

static enum member_state state_of(const struct alone *a, uint32_t i)
{
    return swim_find(a->swim, id_of(a, i))->state;
}

static void say(struct alone *a, uint32_t accuser, enum accusation_kind kind, uint32_t subject,
                uint64_t incarnation, uint64_t now)
{
    struct accusation by = {.kind = kind,
                            .subject = id_of(a, subject),
                            .incarnation = incarnation,
                            .accuser = id_of(a, accuser)};
    swim_on_accusation(a->swim, &by, now, &a->fx);
}

static const struct swim_effect *effect_of(const struct swim_effects *fx, enum swim_effect_kind kind)
{
    for (size_t i = 0; i < fx->count; i++)
        if (fx->v[i].kind == kind)
            return &fx->v[i];
    return NULL;
}

/* Ticks until `until`; every ping is acknowledged at once unless it is to `silent`. Returns the time at which
 * `silent` was declared dead, or 0. */
static uint64_t run(struct alone *a, uint64_t from, uint64_t until, node_id silent)
{
    for (uint64_t now = from; now < until; now += 10) {
        if (now < swim_deadline_ms(a->swim))
            continue;
        struct swim_effects out = {0}, answers = {0};
        swim_tick(a->swim, now, &out);
        for (size_t i = 0; i < out.count; i++) {
            if (out.v[i].kind == SWIM_SEND_PING && out.v[i].to != silent)
                swim_on_ack(a->swim, out.v[i].to, out.v[i].seq, now, &answers);
            if (out.v[i].kind == SWIM_CHANGED && out.v[i].subject == silent &&
                out.v[i].state == MEMBER_DEAD)
                return now;
        }
    }
    return 0;
}

static void a_record_makes_a_member_and_a_repeated_one_changes_nothing(void **state)
{
    (void)state;
    const struct swim_config cfg = swim_config_default();
    struct alone a;
    alone_init(&a, 1, &cfg);
    const struct swim_effect *f = effect_of(&a.fx, SWIM_CHANGED);
    assert_non_null(f);
    assert_int_equal(f->from, f->state);
    uint64_t generation = swim_generation(a.swim);
    a.fx.count = 0;
    struct swim_record r = record_of(&a.others[0], BOOT);
    assert_int_equal(swim_member(a.swim, &r, 5, &a.fx), ERR_OK);
    assert_int_equal(a.fx.count, 0);
    assert_int_equal(swim_generation(a.swim), generation);
    assert_int_equal(swim_count(a.swim, MEMBER_ALIVE), 1);
    alone_free(&a);
}

static void every_member_is_probed_once_a_round(void **state)
{
    (void)state;
    const struct swim_config cfg = swim_config_default();
    struct alone a;
    alone_init(&a, 10, &cfg);
    uint32_t probed[OTHERS_MAX] = {0}, all = 0;
    for (uint64_t now = 0; all < 100; now += 10) {
        struct swim_effects out = {0}, answers = {0};
        if (now < swim_deadline_ms(a.swim))
            continue;
        swim_tick(a.swim, now, &out);
        for (size_t i = 0; i < out.count; i++) {
            if (out.v[i].kind != SWIM_SEND_PING)
                continue;
            swim_on_ack(a.swim, out.v[i].to, out.v[i].seq, now, &answers);
            for (uint32_t j = 0; j < a.count; j++)
                probed[j] += out.v[i].to == id_of(&a, j);
            all++;
        }
        if (all % 10 == 0)
            for (uint32_t j = 0; j < a.count; j++)
                assert_int_equal(probed[j], all / 10);
    }
    alone_free(&a);
}

static void without_an_ack_others_are_asked_and_then_it_is_suspected(void **state)
{
    (void)state;
    const struct swim_config cfg = swim_config_default();
    struct alone a;
    alone_init(&a, 5, &cfg);
    struct swim_effects out = {0};
    swim_tick(a.swim, 0, &out);
    const struct swim_effect *ping = effect_of(&out, SWIM_SEND_PING);
    assert_non_null(ping);
    const node_id silent = ping->to;
    const uint32_t seq = ping->seq;
    assert_int_equal(swim_deadline_ms(a.swim), cfg.probe_timeout_ms);
    out.count = 0;
    swim_tick(a.swim, cfg.probe_timeout_ms, &out);
    uint32_t asked = 0;
    for (size_t i = 0; i < out.count; i++) {
        if (out.v[i].kind != SWIM_SEND_PING_REQ)
            continue;
        asked++;
        assert_int_equal(out.v[i].subject, silent);
        assert_int_equal(out.v[i].seq, seq);
        assert_int_not_equal(out.v[i].to, silent);
    }
    assert_int_equal(asked, cfg.indirect_probes);
    out.count = 0;
    swim_tick(a.swim, cfg.probe_interval_ms, &out);
    assert_int_equal(swim_find(a.swim, silent)->state, MEMBER_SUSPECT);
    assert_non_null(effect_of(&out, SWIM_GREET));
    const struct accusation *by = swim_accusation(a.swim, silent);
    assert_non_null(by);
    assert_int_equal(by->accuser, a.self.crypto.node);
    assert_true(mesh_verify(&a.others[0], &a.self, by));
    alone_free(&a);
}

static void an_ack_through_another_clears_the_probe(void **state)
{
    (void)state;
    const struct swim_config cfg = swim_config_default();
    struct alone a;
    alone_init(&a, 5, &cfg);
    struct swim_effects out = {0};
    swim_tick(a.swim, 0, &out);
    const struct swim_effect ping = *effect_of(&out, SWIM_SEND_PING);
    out.count = 0;
    swim_tick(a.swim, cfg.probe_timeout_ms, &out);
    node_id helper = effect_of(&out, SWIM_SEND_PING_REQ)->to;
    swim_on_ack(a.swim, helper, ping.seq, cfg.probe_timeout_ms + 50, &out);
    swim_tick(a.swim, cfg.probe_interval_ms, &out);
    assert_int_equal(swim_find(a.swim, ping.to)->state, MEMBER_ALIVE);
    alone_free(&a);
}

static void a_ping_is_answered_and_one_for_another_passed_on(void **state)
{
    (void)state;
    const struct swim_config cfg = swim_config_default();
    struct alone a;
    alone_init(&a, 3, &cfg);
    struct swim_effects out = {0};
    swim_on_ping(a.swim, id_of(&a, 0), 77, 10, &out);
    const struct swim_effect *ack = effect_of(&out, SWIM_SEND_ACK);
    assert_non_null(ack);
    assert_int_equal(ack->to, id_of(&a, 0));
    assert_int_equal(ack->seq, 77);
    out.count = 0;
    swim_on_ping_req(a.swim, id_of(&a, 0), id_of(&a, 1), 88, 20, &out);
    const struct swim_effect *ping = effect_of(&out, SWIM_SEND_PING);
    assert_non_null(ping);
    assert_int_equal(ping->to, id_of(&a, 1));
    uint32_t seq = ping->seq;
    out.count = 0;
    swim_on_ack(a.swim, id_of(&a, 1), seq, 40, &out);
    ack = effect_of(&out, SWIM_SEND_ACK);
    assert_non_null(ack);
    assert_int_equal(ack->to, id_of(&a, 0));
    assert_int_equal(ack->seq, 88);
    out.count = 0;
    swim_on_ack(a.swim, id_of(&a, 1), seq, 50, &out);
    assert_int_equal(out.count, 0); /* once */
    alone_free(&a);
}

static void suspect_is_refuted_by_higher_incarnation(void **state)
{
    (void)state;
    const struct swim_config cfg = swim_config_default();
    struct alone a;
    alone_init(&a, 5, &cfg);
    say(&a, 1, ACCUSE_SUSPECT, 0, BOOT, 10);
    assert_int_equal(state_of(&a, 0), MEMBER_SUSPECT);
    struct swim_record r = record_of(&a.others[0], BOOT);
    r.address.port = 7947; /* newer, but it refutes nothing */
    assert_int_equal(swim_member(a.swim, &r, 20, &a.fx), ERR_OK);
    assert_int_equal(state_of(&a, 0), MEMBER_SUSPECT);
    r.incarnation++;
    assert_int_equal(swim_member(a.swim, &r, 30, &a.fx), ERR_OK);
    assert_int_equal(state_of(&a, 0), MEMBER_ALIVE);
    assert_null(swim_accusation(a.swim, id_of(&a, 0)));
    say(&a, 2, ACCUSE_SUSPECT, 0, BOOT, 40); /* old news */
    assert_int_equal(state_of(&a, 0), MEMBER_ALIVE);
    alone_free(&a);
}

static void who_is_accused_refutes_above_what_was_said(void **state)
{
    (void)state;
    const struct swim_config cfg = swim_config_default();
    struct alone a;
    alone_init(&a, 2, &cfg);
    struct accusation by = {.kind = ACCUSE_SUSPECT,
                            .subject = a.self.crypto.node,
                            .incarnation = BOOT + 5,
                            .accuser = id_of(&a, 0)};
    a.fx.count = 0;
    swim_on_accusation(a.swim, &by, 10, &a.fx);
    const struct swim_effect *f = effect_of(&a.fx, SWIM_REFUTE);
    assert_non_null(f);
    assert_int_equal(f->incarnation, BOOT + 5);
    assert_true(swim_health(a.swim) > 0);
    swim_self(a.swim, BOOT + 6);
    a.fx.count = 0;
    swim_on_accusation(a.swim, &by, 20, &a.fx);
    assert_int_equal(a.fx.count, 0);
    alone_free(&a);
}

static void our_ill_health_does_not_outweigh_what_others_say(void **state)
{
    (void)state;
    const struct swim_config cfg = swim_config_default();
    struct alone a;
    alone_init(&a, 4, &cfg);
    struct accusation of_us = {.kind = ACCUSE_SUSPECT,
                               .subject = a.self.crypto.node,
                               .incarnation = BOOT,
                               .accuser = id_of(&a, 0)};
    for (int i = 0; i < 4; i++)
        swim_on_accusation(a.swim, &of_us, 10, &a.fx);
    assert_int_equal(swim_health(a.swim), 4);
    for (uint32_t accuser = 1; accuser < 4; accuser++)
        say(&a, accuser, ACCUSE_SUSPECT, 0, BOOT, 1000);
    say(&a, 1, ACCUSE_DEAD, 0, BOOT, 1010);
    uint64_t least = cfg.suspicion_mult * cfg.probe_interval_ms;
    uint64_t dead = run(&a, 1010, 60000, id_of(&a, 0));
    assert_in_range(dead, 1000 + least, 1000 + least + 10);
    alone_free(&a);
}

static void a_probe_does_not_accuse_who_has_spoken_since_it_began(void **state)
{
    (void)state;
    const struct swim_config cfg = swim_config_default();
    struct alone a;
    struct swim_effects out = {0};
    alone_init(&a, 1, &cfg);
    swim_tick(a.swim, 100, &out); /* a ping, into the old life */
    assert_non_null(effect_of(&out, SWIM_SEND_PING));
    struct swim_record r = record_of(&a.others[0], BOOT + 100);
    assert_int_equal(swim_member(a.swim, &r, 300, &out), ERR_OK);
    swim_tick(a.swim, swim_deadline_ms(a.swim), &out); /* the others are asked */
    swim_tick(a.swim, swim_deadline_ms(a.swim), &out); /* the round ends */
    assert_int_equal(state_of(&a, 0), MEMBER_ALIVE);
    alone_free(&a);
}

static void a_suspicion_is_checked_at_once_by_who_hears_it(void **state)
{
    (void)state;
    const struct swim_config cfg = swim_config_default();
    struct alone a;
    uint8_t bytes[1024];
    struct pack k;
    alone_init(&a, 4, &cfg);
    a.fx.count = 0;
    say(&a, 1, ACCUSE_SUSPECT, 0, BOOT, 50); /* before the first round */
    const struct swim_effect *ping = effect_of(&a.fx, SWIM_SEND_PING);
    assert_non_null(ping);
    assert_int_equal(ping->to, id_of(&a, 0));
    run(&a, 60, 60 + 2 * cfg.probe_timeout_ms, id_of(&a, 0));
    pack_init(&k, bytes, sizeof bytes);
    /* Those due for telling: theirs, and ours. */
    assert_int_equal(swim_piggyback(a.swim, id_of(&a, 2), &k, sizeof bytes), 2);
    alone_free(&a);
}

static void accusations_of_or_by_strangers_are_ignored(void **state)
{
    (void)state;
    const struct swim_config cfg = swim_config_default();
    struct alone a;
    alone_init(&a, 2, &cfg);
    a.fx.count = 0;
    struct accusation by = {
        .kind = ACCUSE_DEAD, .subject = id_of(&a, 0), .incarnation = BOOT, .accuser = 4711};
    swim_on_accusation(a.swim, &by, 10, &a.fx);
    by = (struct accusation){
        .kind = ACCUSE_DEAD, .subject = 4711, .incarnation = BOOT, .accuser = id_of(&a, 0)};
    swim_on_accusation(a.swim, &by, 10, &a.fx);
    assert_int_equal(a.fx.count, 0);
    assert_int_equal(state_of(&a, 0), MEMBER_ALIVE);
    alone_free(&a);
}

/* A signature costs more than all else that is done with an accusation. */
static void only_what_is_new_is_worth_a_verification(void **state)
{
    (void)state;
    const struct swim_config cfg = swim_config_default();
    struct alone a;
    alone_init(&a, 8, &cfg);
    struct accusation by = {
        .kind = ACCUSE_SUSPECT, .subject = id_of(&a, 0), .incarnation = BOOT, .accuser = id_of(&a, 1)};
    assert_true(swim_wants_accusation(a.swim, &by, 10));
    swim_on_accusation(a.swim, &by, 10, &a.fx);
    assert_false(swim_wants_accusation(a.swim, &by, 11));
    by.kind = ACCUSE_DEAD; /* more than it said before */
    assert_true(swim_wants_accusation(a.swim, &by, 11));
    by.kind = ACCUSE_SUSPECT;
    for (uint32_t i = 2; i < 8; i++) {
        by.accuser = id_of(&a, i);
        swim_on_accusation(a.swim, &by, 11, &a.fx);
    }
    assert_false(swim_wants_accusation(a.swim, &by, 11)); /* enough have said so */
    by.incarnation = BOOT - 1;
    by.subject = id_of(&a, 3);
    assert_false(swim_wants_accusation(a.swim, &by, 11)); /* refuted before it was said */
    by.subject = 4711;
    assert_false(swim_wants_accusation(a.swim, &by, 11));
    by = (struct accusation){
        .kind = ACCUSE_SUSPECT, .subject = a.self.crypto.node, .incarnation = BOOT, .accuser = id_of(&a, 1)};
    assert_true(swim_wants_accusation(a.swim, &by, 11)); /* it is to be refuted */
    by.incarnation = BOOT - 1;
    assert_false(swim_wants_accusation(a.swim, &by, 11));
    alone_free(&a);
}

static void nobody_dies_of_another_s_word_at_once(void **state)
{
    (void)state;
    const struct swim_config cfg = swim_config_default();
    struct alone a;
    alone_init(&a, 5, &cfg);
    uint64_t generation = swim_generation(a.swim);
    say(&a, 1, ACCUSE_DEAD, 0, BOOT, 0);
    say(&a, 2, ACCUSE_DEAD, 0, BOOT, 10);
    assert_int_equal(state_of(&a, 0), MEMBER_SUSPECT);
    assert_int_equal(swim_generation(a.swim), generation);
    uint64_t died = run(&a, 0, 10000, id_of(&a, 0));
    uint64_t least = cfg.suspicion_mult * cfg.probe_interval_ms;
    assert_in_range(died, least, least + 100);
    assert_true(swim_generation(a.swim) > generation);
    alone_free(&a);
}

static uint64_t died_after(uint32_t confirmations)
{
    const struct swim_config cfg = swim_config_default();
    struct alone a;
    alone_init(&a, 5, &cfg);
    struct swim_effects out = {0};
    for (uint32_t i = 0; i <= confirmations; i++) {
        say(&a, 1 + i, ACCUSE_SUSPECT, 0, BOOT, 0);
        say(&a, 1 + i, ACCUSE_SUSPECT, 0, BOOT, 0); /* once more by the same says nothing */
    }
    /* Alone in its opinion: we ourselves reach the suspect. */
    uint64_t died = 0;
    for (uint64_t now = 0; !died && now < 20000; now += 10) {
        if (now < swim_deadline_ms(a.swim))
            continue;
        out.count = 0;
        swim_tick(a.swim, now, &out);
        for (size_t i = 0; i < out.count; i++)
            if (out.v[i].kind == SWIM_SEND_PING)
                swim_on_ack(a.swim, out.v[i].to, out.v[i].seq, now, &(struct swim_effects){0});
        died = state_of(&a, 0) == MEMBER_DEAD ? now : 0;
    }
    alone_free(&a);
    return died;
}

static void independent_confirmations_shorten_the_wait(void **state)
{
    (void)state;
    const struct swim_config cfg = swim_config_default();
    uint64_t least = cfg.suspicion_mult * cfg.probe_interval_ms, last = UINT64_MAX;
    for (uint32_t confirmations = 0; confirmations <= 3; confirmations++) {
        uint64_t died = died_after(confirmations);
        assert_true(died > 0 && died < last);
        last = died;
    }
    assert_in_range(died_after(0), cfg.suspicion_max_mult * least, cfg.suspicion_max_mult * least + 50);
    assert_in_range(last, least, least + 50);
}

static void an_away_member_is_not_suspected_until_then(void **state)
{
    (void)state;
    const struct swim_config cfg = swim_config_default();
    struct alone a;
    alone_init(&a, 4, &cfg);
    struct swim_record r = record_of(&a.others[0], BOOT);
    r.away_until_ms = 20000;
    assert_int_equal(swim_member(a.swim, &r, 0, &a.fx), ERR_OK);
    say(&a, 1, ACCUSE_SUSPECT, 0, BOOT, 5);
    assert_int_equal(state_of(&a, 0), MEMBER_ALIVE);
    assert_int_equal(run(&a, 0, 20000, id_of(&a, 0)), 0);
    assert_int_equal(state_of(&a, 0), MEMBER_ALIVE);
    assert_in_range(run(&a, 20000, 60000, id_of(&a, 0)), 20000, 30000);
    alone_free(&a);
}

static void left_is_final_for_its_incarnation(void **state)
{
    (void)state;
    const struct swim_config cfg = swim_config_default();
    struct alone a;
    alone_init(&a, 3, &cfg);
    uint64_t generation = swim_generation(a.swim);
    struct swim_record r = record_of(&a.others[0], BOOT);
    r.presence = SWIM_LEFT;
    assert_int_equal(swim_member(a.swim, &r, 10, &a.fx), ERR_OK);
    assert_int_equal(state_of(&a, 0), MEMBER_LEFT);
    assert_true(swim_generation(a.swim) > generation);
    r.presence = SWIM_PRESENT;
    assert_int_equal(swim_member(a.swim, &r, 20, &a.fx), ERR_OK);
    swim_on_heard(a.swim, id_of(&a, 0), NULL, BOOT, 30, &a.fx);
    say(&a, 1, ACCUSE_DEAD, 0, BOOT, 40);
    assert_int_equal(state_of(&a, 0), MEMBER_LEFT);
    r.incarnation++;
    assert_int_equal(swim_member(a.swim, &r, 50, &a.fx), ERR_OK);
    assert_int_equal(state_of(&a, 0), MEMBER_ALIVE);
    alone_free(&a);
}

static void a_member_from_disk_is_suspect_until_heard(void **state)
{
    (void)state;
    const struct swim_config cfg = swim_config_default();
    struct alone a;
    alone_init(&a, 0, &cfg);
    for (uint32_t i = 0; i < 3; i++) {
        fake_crypto_init(&a.others[i], 100 + i, 1);
        struct swim_record r = record_of(&a.others[i], BOOT);
        r.source = SWIM_FROM_DISK;
        assert_int_equal(swim_member(a.swim, &r, 0, &a.fx), ERR_OK);
        assert_int_equal(state_of(&a, i), MEMBER_SUSPECT);
        assert_null(swim_accusation(a.swim, id_of(&a, i)));
    }
    swim_on_heard(a.swim, id_of(&a, 1), NULL, BOOT, 5, &a.fx);
    swim_on_heard(a.swim, id_of(&a, 2), NULL, BOOT, 5, &a.fx);
    assert_int_equal(state_of(&a, 1), MEMBER_ALIVE);
    assert_true(run(&a, 10, 30000, id_of(&a, 0)) > 0);
    assert_int_equal(state_of(&a, 1), MEMBER_ALIVE);
    alone_free(&a);
}

static void who_was_asleep_accuses_nobody_for_it(void **state)
{
    (void)state;
    const struct swim_config cfg = swim_config_default();
    struct alone a;
    alone_init(&a, 5, &cfg);
    struct swim_effects out = {0};
    say(&a, 1, ACCUSE_SUSPECT, 0, BOOT, 0);
    swim_tick(a.swim, 0, &out);
    swim_tick(a.swim, 100, &out);
    out.count = 0;
    swim_tick(a.swim, 60000, &out);
    assert_int_equal(swim_count(a.swim, MEMBER_DEAD), 0);
    assert_int_equal(swim_count(a.swim, MEMBER_SUSPECT), 1);
    assert_true(swim_health(a.swim) > 0);
    alone_free(&a);
}

static void the_accused_is_told_in_every_packet_to_it(void **state)
{
    (void)state;
    const struct swim_config cfg = swim_config_default();
    struct alone a;
    alone_init(&a, 8, &cfg);
    for (uint32_t i = 0; i < 4; i++)
        say(&a, 5, ACCUSE_SUSPECT, i, BOOT, 10);
    uint8_t buffer[ACCUSATION_BYTES_MAX];
    for (int i = 0; i < 20; i++) {
        struct pack k;
        struct cursor c;
        struct accusation by;
        pack_init(&k, buffer, sizeof buffer);
        assert_int_equal(swim_piggyback(a.swim, id_of(&a, 2), &k, sizeof buffer), 1);
        cursor_init(&c, buffer, k.len);
        assert_int_equal(accusation_decode(&c, &by), ERR_OK);
        assert_int_equal(by.subject, id_of(&a, 2));
    }
    alone_free(&a);
}

static void others_are_told_a_bounded_number_of_times_least_told_first(void **state)
{
    (void)state;
    const struct swim_config cfg = swim_config_default();
    struct alone a;
    alone_init(&a, 8, &cfg);
    for (uint32_t i = 0; i < 4; i++)
        say(&a, 5, ACCUSE_SUSPECT, i, BOOT, 10);
    uint8_t buffer[ACCUSATION_BYTES_MAX];
    uint32_t told[4] = {0}, all = 0;
    for (;;) {
        struct pack k;
        struct cursor c;
        struct accusation by;
        pack_init(&k, buffer, sizeof buffer);
        if (swim_piggyback(a.swim, id_of(&a, 7), &k, sizeof buffer) == 0)
            break;
        assert_in_range(k.len, 1, ACCUSATION_BYTES_MAX);
        cursor_init(&c, buffer, k.len);
        assert_int_equal(accusation_decode(&c, &by), ERR_OK);
        for (uint32_t i = 0; i < 4; i++)
            told[i] += by.subject == id_of(&a, i);
        all++;
        if (all % 4 == 0)
            for (uint32_t i = 0; i < 4; i++)
                assert_int_equal(told[i], all / 4);
    }
    assert_int_equal(all, 4 * cfg.retransmit_mult);
    alone_free(&a);
}

static void the_gone_are_asked_now_and_then_and_forgotten_at_last(void **state)
{
    (void)state;
    struct swim_config cfg = swim_config_default();
    struct alone a;
    cfg.dead_forget_ms = 60000;
    alone_init(&a, 4, &cfg);
    struct swim_record r = record_of(&a.others[1], BOOT);
    r.presence = SWIM_LEFT;
    assert_int_equal(swim_member(a.swim, &r, 0, &a.fx), ERR_OK);
    uint64_t died = run(&a, 0, 20000, id_of(&a, 0));
    assert_true(died > 0);
    uint32_t pings = 0, greets = 0;
    for (uint64_t now = died; now < died + 90000; now += 10) {
        struct swim_effects out = {0}, answers = {0};
        if (now < swim_deadline_ms(a.swim))
            continue;
        swim_tick(a.swim, now, &out);
        for (size_t i = 0; i < out.count; i++) {
            bool dead = out.v[i].to == id_of(&a, 0);
            pings += dead && out.v[i].kind == SWIM_SEND_PING;
            greets += dead && out.v[i].kind == SWIM_GREET;
            if (!dead && out.v[i].kind == SWIM_SEND_PING)
                swim_on_ack(a.swim, out.v[i].to, out.v[i].seq, now, &answers);
        }
    }
    assert_in_range(pings, 5, 20);
    assert_in_range(greets, 5, 20);
    assert_null(swim_find(a.swim, id_of(&a, 0)));
    assert_null(swim_find(a.swim, id_of(&a, 1)));
    assert_int_equal(swim_count(a.swim, MEMBER_ALIVE), 2);
    alone_free(&a);
}

static void a_dead_member_that_speaks_is_told_so(void **state)
{
    (void)state;
    const struct swim_config cfg = swim_config_default();
    struct alone a;
    alone_init(&a, 4, &cfg);
    uint64_t died = run(&a, 0, 20000, id_of(&a, 0));
    a.fx.count = 0;
    swim_on_heard(a.swim, id_of(&a, 0), NULL, BOOT, died + 1000, &a.fx);
    const struct swim_effect *ping = effect_of(&a.fx, SWIM_SEND_PING);
    assert_non_null(ping);
    assert_int_equal(ping->to, id_of(&a, 0));
    assert_int_equal(state_of(&a, 0), MEMBER_DEAD); /* until it refutes */
    alone_free(&a);
}

static void too_many_members_are_refused(void **state)
{
    (void)state;
    struct swim_config cfg = swim_config_default();
    struct alone a;
    cfg.members_max = 3;
    alone_init(&a, 3, &cfg);
    struct fake_crypto one_more;
    fake_crypto_init(&one_more, 999, 1);
    struct swim_record r = record_of(&one_more, BOOT);
    assert_int_equal(swim_member(a.swim, &r, 0, &a.fx), ERR_FULL);
    assert_null(swim_find(a.swim, one_more.crypto.node));
    swim_remove(a.swim, id_of(&a, 1), &a.fx);
    assert_int_equal(swim_member(a.swim, &r, 0, &a.fx), ERR_OK);
    size_t i = 0, n = 0;
    while (swim_next(a.swim, &i))
        n++;
    assert_int_equal(n, 3);
    alone_free(&a);
}

static void no_failed_allocation_breaks_anything(void **state)
{
    (void)state;
    const struct swim_config cfg = swim_config_default();
    bool failed = true;
    for (uint64_t n = 1; failed; n++) {
        struct alone a = {0};
        struct rng root;
        rng_init(&root, 3);
        mem_init(&a.mem, 0);
        a.mem.fail_at = n;
        fake_crypto_init(&a.self, 1, 1);
        if (swim_new(&a.swim, &a.mem, &a.self.crypto, &cfg, &root)) {
            assert_int_equal(a.mem.used_bytes, 0);
            continue;
        }
        for (uint32_t i = 0; i < OTHERS_MAX; i++) {
            fake_crypto_init(&a.others[i], 100 + i, 1);
            struct swim_record r = record_of(&a.others[i], BOOT);
            r.source = i < 6 ? SWIM_NEWS : SWIM_FROM_DISK;
            enum err err = swim_member(a.swim, &r, 0, &a.fx);
            assert_true(err == ERR_OK || err == ERR_NOMEM);
            assert_int_equal(swim_find(a.swim, id_of(&a, i)) != NULL, err == ERR_OK);
            a.fx.count = 0;
        }
        struct swim_effects fx = {0};
        struct accusation by = {.kind = ACCUSE_SUSPECT,
                                .subject = id_of(&a, 0),
                                .incarnation = BOOT,
                                .accuser = id_of(&a, 1)};
        swim_on_accusation(a.swim, &by, 1, &fx);
        const struct member *m = swim_find(a.swim, id_of(&a, 0));
        if (m && m->state == MEMBER_SUSPECT)
            assert_non_null(swim_accusation(a.swim, m->node));
        (void)run(&a, 10, 40000, id_of(&a, 0));
        uint32_t states = 0;
        for (unsigned s = 0; s < MEMBER_STATE_COUNT; s++)
            states += swim_count(a.swim, (enum member_state)s);
        size_t i = 0;
        while ((m = swim_next(a.swim, &i)))
            states--;
        assert_int_equal(states, 0);
        m = swim_find(a.swim, id_of(&a, 0));
        assert_true(!m || m->state == MEMBER_DEAD); /* late, perhaps; but not never */
        failed = a.mem.failed > 0;
        alone_free(&a);
    }
}

/* ---- Whole meshes ------------------------------------------------------------------------------------ */

static int ascending(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* From the kill until the last survivor has noticed. */
static uint64_t detection_ms(uint64_t seed, uint32_t nodes, uint32_t loss_permille)
{
    struct mesh *m = mesh_new(seed, nodes, loss_permille);
    struct rng rng;
    rng_init(&rng, seed);
    mesh_run(m, 3000 + rng_below(&rng, 2000));
    assert_int_equal(mesh_deaths(m), 0);
    mesh_kill(m, 0);
    uint64_t from = mesh_now(m);
    while (mesh_seen_in(m, 0, MEMBER_DEAD) < nodes - 1 && mesh_now(m) < from + 60000)
        mesh_run(m, 10);
    uint64_t took = mesh_now(m) - from;
    assert_int_equal(mesh_deaths(m), nodes - 1); /* of nobody else */
    mesh_free(m);
    return took;
}

static void a_killed_host_of_five_is_noticed_within_five_seconds(void **state)
{
    (void)state;
    enum { SEEDS = 60 };
    uint64_t took[SEEDS];
    for (uint64_t seed = 0; seed < SEEDS; seed++)
        took[seed] = detection_ms(seed + 1, 5, 0);
    qsort(took, SEEDS, sizeof *took, ascending);
    print_message("p50 %llu ms, most %llu ms\n", (unsigned long long)took[SEEDS / 2],
                  (unsigned long long)took[SEEDS - 1]);
    assert_in_range(took[SEEDS / 2], 1500, 3500);
    assert_in_range(took[SEEDS - 1], 1500, 5000);
}

static void small_meshes_notice_as_well(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        assert_in_range(detection_ms(seed, 2, 0), 1500, 5000);
        assert_in_range(detection_ms(seed, 3, 0), 1500, 6000);
    }
}

static void every_survivor_learns_of_a_death_in_spite_of_loss(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 4; seed++)
        assert_in_range(detection_ms(seed, 20, 50), 1500, 10000);
}

static void loss_kills_nobody(void **state)
{
    (void)state;
    static const uint32_t loss[] = {10, 20, 50};
    for (uint64_t seed = 1; seed <= 3; seed++) {
        for (size_t i = 0; i < sizeof loss / sizeof loss[0]; i++) {
            for (uint32_t nodes = 2; nodes <= 8; nodes += 3) {
                struct mesh *m = mesh_new(seed, nodes, loss[i]);
                mesh_run(m, 120000);
                assert_int_equal(mesh_deaths(m), 0);
                mesh_free(m);
            }
        }
    }
}

static void a_false_accusation_ends_in_a_higher_incarnation(void **state)
{
    (void)state;
    struct mesh *m = mesh_new(1, 6, 10);
    mesh_run(m, 2000);
    uint64_t before = mesh_incarnation(m, 3);
    mesh_accuse(m, 1, ACCUSE_SUSPECT, 3);
    mesh_run(m, 3000);
    assert_true(mesh_incarnation(m, 3) > before);
    assert_int_equal(mesh_seen_in(m, 3, MEMBER_ALIVE), 5);
    assert_int_equal(mesh_deaths(m), 0);
    mesh_free(m);
}

static void a_healed_partition_kills_nobody_more(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 10; seed++) {
        struct mesh *m = mesh_new(seed, 6, 10);
        mesh_run(m, 3000);
        mesh_cut(m, 0x7); /* 0, 1, 2 | 3, 4, 5 */
        mesh_run(m, 20000);
        assert_int_equal(mesh_deaths(m), 18);
        mesh_cut(m, 0);
        mesh_run(m, 15000);
        assert_int_equal(mesh_deaths(m), 18);
        for (uint32_t i = 0; i < 6; i++)
            assert_int_equal(mesh_seen_in(m, i, MEMBER_ALIVE), 5);
        mesh_free(m);
    }
}

static void whoever_was_cut_off_takes_nobody_along(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 10; seed++) {
        struct mesh *m = mesh_new(seed, 5, 10);
        mesh_run(m, 3000);
        mesh_cut(m, 0x1);
        mesh_run(m, 20000);
        assert_int_equal(mesh_deaths(m), 8); /* it, for four; four, for it */
        mesh_cut(m, 0);
        mesh_run(m, 15000);
        assert_int_equal(mesh_deaths(m), 8);
        for (uint32_t i = 0; i < 5; i++)
            assert_int_equal(mesh_seen_in(m, i, MEMBER_ALIVE), 4);
        mesh_free(m);
    }
}

static void a_restarted_node_is_alive_again_with_its_higher_boot(void **state)
{
    (void)state;
    struct mesh *m = mesh_new(2, 5, 10);
    mesh_run(m, 3000);
    mesh_kill(m, 2);
    mesh_run(m, 10000);
    assert_int_equal(mesh_seen_in(m, 2, MEMBER_DEAD), 4);
    mesh_restart(m, 2);
    mesh_run(m, 15000);
    assert_int_equal(mesh_seen_in(m, 2, MEMBER_ALIVE), 4);
    for (uint32_t i = 0; i < 5; i++)
        assert_int_equal(mesh_seen_in(m, i, MEMBER_ALIVE), 4);
    assert_int_equal(mesh_deaths(m), 4);
    mesh_free(m);
}

static void who_is_away_comes_back_unnoticed(void **state)
{
    (void)state;
    struct mesh *m = mesh_new(3, 5, 10);
    mesh_run(m, 3000);
    mesh_away(m, 4, 30000);
    mesh_run(m, 500);
    mesh_kill(m, 4);
    mesh_run(m, 20000);
    assert_int_equal(mesh_seen_in(m, 4, MEMBER_ALIVE), 4);
    mesh_restart(m, 4);
    mesh_run(m, 15000);
    assert_int_equal(mesh_seen_in(m, 4, MEMBER_ALIVE), 4);
    assert_int_equal(mesh_deaths(m), 0);
    mesh_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_record_makes_a_member_and_a_repeated_one_changes_nothing),
        cmocka_unit_test(every_member_is_probed_once_a_round),
        cmocka_unit_test(without_an_ack_others_are_asked_and_then_it_is_suspected),
        cmocka_unit_test(an_ack_through_another_clears_the_probe),
        cmocka_unit_test(a_ping_is_answered_and_one_for_another_passed_on),
        cmocka_unit_test(suspect_is_refuted_by_higher_incarnation),
        cmocka_unit_test(who_is_accused_refutes_above_what_was_said),
        cmocka_unit_test(our_ill_health_does_not_outweigh_what_others_say),
        cmocka_unit_test(a_probe_does_not_accuse_who_has_spoken_since_it_began),
        cmocka_unit_test(a_suspicion_is_checked_at_once_by_who_hears_it),
        cmocka_unit_test(accusations_of_or_by_strangers_are_ignored),
        cmocka_unit_test(only_what_is_new_is_worth_a_verification),
        cmocka_unit_test(nobody_dies_of_another_s_word_at_once),
        cmocka_unit_test(independent_confirmations_shorten_the_wait),
        cmocka_unit_test(an_away_member_is_not_suspected_until_then),
        cmocka_unit_test(left_is_final_for_its_incarnation),
        cmocka_unit_test(a_member_from_disk_is_suspect_until_heard),
        cmocka_unit_test(who_was_asleep_accuses_nobody_for_it),
        cmocka_unit_test(the_accused_is_told_in_every_packet_to_it),
        cmocka_unit_test(others_are_told_a_bounded_number_of_times_least_told_first),
        cmocka_unit_test(the_gone_are_asked_now_and_then_and_forgotten_at_last),
        cmocka_unit_test(a_dead_member_that_speaks_is_told_so),
        cmocka_unit_test(too_many_members_are_refused),
        cmocka_unit_test(no_failed_allocation_breaks_anything),
        cmocka_unit_test(a_killed_host_of_five_is_noticed_within_five_seconds),
        cmocka_unit_test(small_meshes_notice_as_well),
        cmocka_unit_test(every_survivor_learns_of_a_death_in_spite_of_loss),
        cmocka_unit_test(loss_kills_nobody),
        cmocka_unit_test(a_false_accusation_ends_in_a_higher_incarnation),
        cmocka_unit_test(a_healed_partition_kills_nobody_more),
        cmocka_unit_test(whoever_was_cut_off_takes_nobody_along),
        cmocka_unit_test(a_restarted_node_is_alive_again_with_its_higher_boot),
        cmocka_unit_test(who_is_away_comes_back_unnoticed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
