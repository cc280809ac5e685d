#include "placement/placement.h"

#include "store/base/bytes.h"
#include "store/base/rng.h"

enum { SCORE_SHIFT = 24 }; /* 64 · 2^32 · 2^24 is below 2^63 */

uint64_t placement_key(const char *affinity_or_name)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325); /* FNV-1a, then a good mix */
    for (const char *c = affinity_or_name; *c; c++)
        h = (h ^ (uint8_t)*c) * UINT64_C(0x100000001b3);
    return mix64(h);
}

uint64_t placement_score(uint64_t key, node_id node, uint32_t weight)
{
    if (weight == 0)
        return UINT64_MAX;
    uint64_t u = mix64(key ^ mix64(node + UINT64_C(0x9e3779b97f4a7c15)));
    return (placement_neg_log2(u) << SCORE_SHIFT) / weight;
}

uint64_t placement_notary_score(const struct uid *app, node_id node)
{
    uint64_t first = bytes_get64(app->b), second = bytes_get64(app->b + 8);
    return mix64(mix64(first ^ UINT64_C(0x6e6f74617279)) ^ mix64(second) ^ mix64(node));
}

static bool earlier(const struct candidate *a, const struct candidate *b)
{
    return a->score != b->score ? a->score < b->score : a->node < b->node;
}

static void sift_down(struct candidate *v, size_t at, size_t n)
{
    struct candidate x = v[at];
    for (size_t child; (child = 2 * at + 1) < n; at = child) {
        if (child + 1 < n && earlier(&v[child], &v[child + 1]))
            child++;
        if (!earlier(&x, &v[child]))
            break;
        v[at] = v[child];
    }
    v[at] = x;
}

/* Heapsort: no memory, and no order but that of (score, id). */
void placement_rank(uint64_t key, struct candidate *v, size_t n)
{
    for (size_t i = 0; i < n; i++)
        v[i].score = placement_score(key, v[i].node, v[i].capacity_mib);
    for (size_t i = n / 2; i > 0; i--)
        sift_down(v, i - 1, n);
    for (size_t end = n; end > 1; end--) {
        struct candidate x = v[0];
        v[0] = v[end - 1];
        v[end - 1] = x;
        sift_down(v, 0, end - 1);
    }
}

/* a's share in use is below b's: a.used / a.capacity < b.used / b.capacity. */
static bool less_used(const struct candidate *a, const struct candidate *b)
{
    return (uint64_t)a->used_mib * b->capacity_mib < (uint64_t)b->used_mib * a->capacity_mib;
}

size_t placement_choose(const struct candidate *ranked, size_t n)
{
    if (n == 0)
        return SIZE_MAX;
    size_t best = 0;
    for (size_t i = 1; i < n && i < PLACEMENT_FIRST_FIT; i++)
        if (less_used(&ranked[i], &ranked[best]))
            best = i;
    return best;
}
