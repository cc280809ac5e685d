#include "placement/placement.h"

#include <stdio.h>
#include <string.h>

/* What a tender takes beside its guest's memory, in MiB: measured on Debian 12 and rounded up (QEMU with an
 * emulated processor keeps its translations; the Solo5 tenders are small). */
static const uint32_t tender_mib[TARGET_COUNT] = {
    [TARGET_HVT] = 4, [TARGET_SPT] = 2, [TARGET_VIRTIO] = 32};

/* For its nets solo5-hvt maps so much more. */
enum { HVT_NET_MIB = 2 };

uint32_t placement_reserve_mib(const struct spec_body *spec, enum target target)
{
    uint32_t nets = target == TARGET_HVT ? HVT_NET_MIB * spec->net_count : 0;
    return spec->memory_mib + nets + ((unsigned)target < TARGET_COUNT ? tender_mib[target] : 0);
}

static const char *label_value(const struct labels *l, const char *key)
{
    for (uint32_t i = 0; i < l->count; i++)
        if (strcmp(l->v[i].key, key) == 0)
            return l->v[i].value;
    return NULL;
}

/* Each of these fits in REASON_SIZE with its longest parts cut. */
static enum err labels_fit(const struct spec_body *spec, const struct node_body *node, char *why,
                           size_t why_size)
{
    for (uint32_t i = 0; i < spec->require.count; i++) {
        const struct label *want = &spec->require.v[i];
        const char *has = label_value(&node->labels, want->key);
        if (has && strcmp(has, want->value) == 0)
            continue;
        snprintf(why, why_size, "it requires the label %.40s=%.40s", want->key, want->value);
        return ERR_NOT_FOUND;
    }
    return ERR_OK;
}

static enum err networks_fit(const struct spec_body *spec, const struct node_body *node, char *why, size_t why_size)
{
    for (uint32_t i = 0; i < spec->net_count; i++) {
        uint32_t j = 0;
        while (j < node->network_count && strcmp(node->networks[j], spec->nets[i].network) != 0)
            j++;
        if (j < node->network_count)
            continue;
        snprintf(why, why_size, "its device %.20s needs the network %.40s", spec->nets[i].device,
                 spec->nets[i].network);
        return ERR_NOT_FOUND;
    }
    return ERR_OK;
}

enum err placement_fits(const struct spec_body *spec, const struct node_body *node,
                        enum target *target, char *why, size_t why_size)
{
    static const enum target preferred[] = {TARGET_SPT, TARGET_HVT, TARGET_VIRTIO};
    enum err err = labels_fit(spec, node, why, why_size);
    if (!err)
        err = networks_fit(spec, node, why, why_size);
    if (err)
        return err;
    char has[32] = "";
    for (size_t i = 0; i < sizeof preferred / sizeof preferred[0]; i++) {
        for (uint32_t j = 0; j < spec->image_count; j++) {
            if (spec->images[j].target != preferred[i])
                continue;
            if (node->targets & 1u << preferred[i]) {
                *target = preferred[i];
                return ERR_OK;
            }
            size_t len = strlen(has);
            snprintf(has + len, sizeof has - len, "%s%s", len ? ", " : "", target_name(preferred[i]));
        }
    }
    snprintf(why, why_size, "it has an image for %s, which no host here can run", has);
    return ERR_UNSUPPORTED;
}
