/* placement/: the same answer everywhere, shares by weight, and no more moves than there must be.
 */
#include "placement/placement.h"

#include "store/base/rng.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { NODES = 9, KEYS = 20000 };

static void logarithms_are_exact_at_powers_and_close_between(void **state)
{
    (void)state;
    for (unsigned bits = 0; bits < 64; bits++)
        assert_int_equal(placement_neg_log2(UINT64_C(1) << bits), (uint64_t)(64 - bits) << 32);
    assert_int_equal(placement_neg_log2(0), placement_neg_log2(1));
    struct rng r;
    rng_init(&r, 1);
    for (int i = 0; i < 1000; i++) {
        uint64_t u = rng_u64(&r) >> rng_below(&r, 60);
        double exact = 64 - log2((double)(u ? u : 1));
        double ours = (double)placement_neg_log2(u) / 4294967296.0;
        assert_true(fabs(exact - ours) < 1e-8);
    }
}

/* These may never change while PLACEMENT_VERSION is 1: nodes of different builds must agree. */
static void scores_are_the_bits_that_they_were(void **state)
{
    (void)state;
    static const struct uid app = {{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}};
    assert_int_equal(PLACEMENT_VERSION, 1);
    assert_int_equal(placement_key("web"), UINT64_C(0xc850f03f92a375f3));
    assert_int_equal(placement_score(placement_key("web"), 42, 1024), UINT64_C(0x0000040ebebf8000));
    assert_int_equal(placement_score(placement_key("web"), 42, 0), UINT64_MAX);
    assert_int_equal(placement_notary_score(&app, 42), UINT64_C(0x4b944583a3b522ab));
    assert_int_equal(placement_neg_log2(UINT64_C(0x123456789abcdef0)),
                     UINT64_C(0x00000003d053f6d3));
}

static void make(struct candidate v[static NODES], size_t *n, uint32_t without)
{
    *n = 0;
    for (uint32_t i = 0; i < NODES; i++)
        if (i != without)
            v[(*n)++] = (struct candidate){.node = 1000 + i, .capacity_mib = 1024u << (i % 3)};
}

static node_id first(uint64_t key, uint32_t without)
{
    struct candidate v[NODES];
    size_t n;
    make(v, &n, without);
    placement_rank(key, v, n);
    return v[0].node;
}

static void shares_are_as_the_weights(void **state)
{
    (void)state;
    uint32_t hits[3] = {0};
    for (uint64_t k = 0; k < KEYS; k++)
        hits[(first(mix64(k), NODES) - 1000) % 3]++;
    for (uint32_t c = 0; c < 3; c++) {
        double want = KEYS * (double)(1u << c) / 7;
        assert_true(fabs(hits[c] - want) < 0.04 * KEYS);
    }
}

/* A ranking of all is the ranking of some with the others put in: so a death moves its own, and a
 * join takes for itself. */
static void who_goes_moves_only_what_it_had(void **state)
{
    (void)state;
    for (uint64_t k = 0; k < 2000; k++) {
        uint64_t key = mix64(k);
        node_id all = first(key, NODES);
        for (uint32_t gone = 0; gone < NODES; gone++)
            if (all != 1000 + gone)
                assert_int_equal(first(key, gone), all);
    }
}

static void a_ranking_does_not_depend_on_the_order_given(void **state)
{
    (void)state;
    struct candidate a[NODES], b[NODES];
    size_t n;
    for (uint64_t k = 0; k < 200; k++) {
        make(a, &n, NODES);
        for (size_t i = 0; i < n; i++)
            b[i] = a[n - 1 - i];
        placement_rank(k, a, n);
        placement_rank(k, b, n);
        for (size_t i = 0; i < n; i++)
            assert_int_equal(a[i].node, b[i].node);
        for (size_t i = 1; i < n; i++)
            assert_true(a[i - 1].score <= a[i].score);
    }
    struct candidate none[2] = {{.node = 7}, {.node = 5}}; /* weight 0: equal scores, so by id */
    placement_rank(1, none, 2);
    assert_int_equal(none[0].node, 5);
}

static void the_least_used_of_the_first_four_is_taken(void **state)
{
    (void)state;
    struct candidate v[6] = {
        {.capacity_mib = 1000, .used_mib = 500}, {.capacity_mib = 2000, .used_mib = 900},
        {.capacity_mib = 500, .used_mib = 300},  {.capacity_mib = 4000, .used_mib = 1800},
        {.capacity_mib = 1000, .used_mib = 0},   {.capacity_mib = 1000, .used_mib = 0}};
    assert_int_equal(placement_choose(v, 0), SIZE_MAX);
    assert_int_equal(placement_choose(v, 1), 0);
    assert_int_equal(placement_choose(v, 6),
                     1); /* 45 %, as the fourth is: the earlier; the fifth is too far */
    v[0] = (struct candidate){.capacity_mib = UINT32_MAX, .used_mib = UINT32_MAX - 1};
    v[1] = (struct candidate){.capacity_mib = UINT32_MAX - 1, .used_mib = UINT32_MAX - 2};
    assert_int_equal(placement_choose(v, 2), 1); /* exactly, though their shares differ by 2^-64 */
}

static void what_an_app_asks_of_a_host_is_checked_and_named(void **state)
{
    (void)state;
    struct spec_body spec = {.memory_mib = 16,
                             .image_count = 2,
                             .images = {{.target = TARGET_HVT}, {.target = TARGET_VIRTIO}},
                             .require = {.count = 1, .v = {{"zone", "attic"}}}};
    struct node_body node = {.targets = 1u << TARGET_VIRTIO | 1u << TARGET_SPT};
    enum target t = TARGET_NONE;
    char why[REASON_SIZE];
    assert_int_equal(placement_fits(&spec, &node, &t, why, sizeof why), ERR_NOT_FOUND);
    assert_non_null(strstr(why, "zone=attic"));
    node.labels = (struct labels){.count = 1, .v = {{"zone", "cellar"}}};
    assert_int_equal(placement_fits(&spec, &node, &t, why, sizeof why), ERR_NOT_FOUND);
    node.labels = spec.require;
    assert_int_equal(placement_fits(&spec, &node, &t, why, sizeof why), ERR_OK);
    assert_int_equal(t, TARGET_VIRTIO); /* it has no image for spt */
    node.targets |= 1u << TARGET_HVT;
    assert_int_equal(placement_fits(&spec, &node, &t, why, sizeof why), ERR_OK);
    assert_int_equal(t, TARGET_HVT);
    node.targets = 1u << TARGET_SPT;
    assert_int_equal(placement_fits(&spec, &node, &t, why, sizeof why), ERR_UNSUPPORTED);
    assert_non_null(strstr(why, "hvt, virtio"));
    node.targets = 1u << TARGET_VIRTIO;
    spec.net_count = 1;
    spec.nets[0] = (struct net_ref){"service", "public"};
    assert_int_equal(placement_fits(&spec, &node, &t, why, sizeof why), ERR_NOT_FOUND);
    assert_string_equal(why, "its device service needs the network public");
    node.network_count = 1;
    strcpy(node.networks[0], "public");
    assert_int_equal(placement_fits(&spec, &node, &t, why, sizeof why), ERR_OK);
    assert_int_equal(placement_reserve_mib(&spec, TARGET_HVT), 16 + 4 + 2);
    assert_true(placement_reserve_mib(&spec, TARGET_VIRTIO) >
                placement_reserve_mib(&spec, TARGET_SPT));
    assert_true(placement_reserve_mib(&spec, TARGET_SPT) > spec.memory_mib);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logarithms_are_exact_at_powers_and_close_between),
        cmocka_unit_test(scores_are_the_bits_that_they_were),
        cmocka_unit_test(shares_are_as_the_weights),
        cmocka_unit_test(who_goes_moves_only_what_it_had),
        cmocka_unit_test(a_ranking_does_not_depend_on_the_order_given),
        cmocka_unit_test(the_least_used_of_the_first_four_is_taken),
        cmocka_unit_test(what_an_app_asks_of_a_host_is_checked_and_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
