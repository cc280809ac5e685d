#include "store/model/devices.h"

#include <stdio.h>
#include <string.h>

void network_names_add(struct network_names *n, const char *name)
{
    for (uint32_t i = 0; i < n->count; i++)
        if (strcmp(n->v[i], name) == 0)
            return;
    if (n->count < NETWORKS_MAX)
        snprintf(n->v[n->count++], NAME_SIZE, "%s", name);
}

static bool has_device(const struct solo5_image *image, uint32_t type, const char *name)
{
    for (uint32_t i = 0; i < image->device_count; i++)
        if (image->devices[i].type == type && strcmp(image->devices[i].name, name) == 0)
            return true;
    return false;
}

static struct net_ref *given(struct spec_body *s, const char *device)
{
    for (uint32_t i = 0; i < s->net_count; i++)
        if (strcmp(s->nets[i].device, device) == 0)
            return &s->nets[i];
    return NULL;
}

static struct block_ref *given_block(struct spec_body *s, const char *device)
{
    for (uint32_t i = 0; i < s->block_count; i++)
        if (strcmp(s->blocks[i].device, device) == 0)
            return &s->blocks[i];
    return NULL;
}

/* "service, admin"; "none" */
static void devices_text(const struct solo5_image *image, uint32_t type, char *out, size_t size)
{
    size_t at = 0;
    snprintf(out, size, "none");
    for (uint32_t i = 0; i < image->device_count && at < size; i++)
        if (image->devices[i].type == type)
            at += (size_t)snprintf(out + at, size - at, "%s%.40s", at ? ", " : "", image->devices[i].name);
}

static void known_text(const struct network_names *known, char *out, size_t size)
{
    size_t at = 0;
    bool none = known && known->count == 0;
    snprintf(out, size, "%s", none ? "; no host of this mesh has a network (meshd --network)" : "");
    for (uint32_t i = 0; known && i < known->count && at < size; i++)
        at += (size_t)snprintf(out + at, size - at, "%s%.63s", at ? ", " : "; there are: ", known->v[i]);
}

/* Nothing was said, and nothing need be. */
static void fill_in(struct spec_body *s, const struct solo5_image *image, const struct network_names *known)
{
    uint32_t nets = 0, at = 0;
    for (uint32_t i = 0; i < image->device_count; i++) {
        if (image->devices[i].type != SOLO5_NET)
            continue;
        nets++;
        at = i;
    }
    if (s->net_count > 0 || nets != 1 || !known || known->count != 1)
        return;
    snprintf(s->nets[0].device, sizeof s->nets[0].device, "%s", image->devices[at].name);
    snprintf(s->nets[0].network, sizeof s->nets[0].network, "%s", known->v[0]);
    s->net_count = 1;
}

/* A virtio guest knows its devices by their order alone. */
static void nets_order(struct spec_body *s, const struct solo5_image *image)
{
    uint32_t at = 0;
    for (uint32_t i = 0; i < image->device_count; i++) {
        struct net_ref *n = image->devices[i].type == SOLO5_NET ? given(s, image->devices[i].name) : NULL;
        if (!n)
            continue;
        const struct net_ref first = s->nets[at];
        s->nets[at++] = *n;
        *n = first;
    }
}

static void blocks_order(struct spec_body *s, const struct solo5_image *image)
{
    uint32_t at = 0;
    for (uint32_t i = 0; i < image->device_count; i++) {
        struct block_ref *b = image->devices[i].type == SOLO5_BLOCK ? given_block(s, image->devices[i].name) : NULL;
        if (!b)
            continue;
        const struct block_ref first = s->blocks[at];
        s->blocks[at++] = *b;
        *b = first;
    }
}

/* Has every device of the manifest what it needs? */
static enum err asked_for(struct spec_body *s, const struct solo5_image *image, const struct network_names *known,
                          bool untold, char *text, size_t size)
{
    char names[256];
    uint32_t nets = 0;
    for (uint32_t i = 0; i < image->device_count; i++) {
        const struct solo5_device *d = &image->devices[i];
        if (d->type == SOLO5_BLOCK && given_block(s, d->name))
            continue;
        if (d->type == SOLO5_BLOCK) {
            snprintf(text, size,
                     "its manifest asks for the block device \"%.67s\", and no volume is given for it; write blocks: "
                     "{%.67s: 64M}",
                     d->name, d->name);
            return ERR_INVALID;
        }
        if (given(s, d->name) || (untold && nets++ == 0))
            continue;
        known_text(known, names, sizeof names);
        snprintf(text, size,
                 "its manifest asks for the net device \"%.67s\", and no network is given for it; write nets: {%.67s: "
                 "NETWORK}%s",
                 d->name, d->name, names);
        return ERR_INVALID;
    }
    return ERR_OK;
}

/* Is nothing given that no device takes? */
static enum err not_asked_for(const struct spec_body *s, const struct solo5_image *image, char *text, size_t size)
{
    char names[256];
    for (uint32_t i = 0; i < s->net_count; i++) {
        if (has_device(image, SOLO5_NET, s->nets[i].device))
            continue;
        devices_text(image, SOLO5_NET, names, sizeof names);
        snprintf(text, size, "nets: its manifest has no net device \"%.67s\"; it has: %s", s->nets[i].device, names);
        return ERR_INVALID;
    }
    for (uint32_t i = 0; i < s->block_count; i++) {
        if (has_device(image, SOLO5_BLOCK, s->blocks[i].device))
            continue;
        devices_text(image, SOLO5_BLOCK, names, sizeof names);
        snprintf(text, size, "blocks: its manifest has no block device \"%.67s\"; it has: %s", s->blocks[i].device,
                 names);
        return ERR_INVALID;
    }
    return ERR_OK;
}

enum err devices_fit(struct spec_body *s, const struct solo5_image *image, const struct network_names *known,
                     char *text, size_t size)
{
    bool untold = s->net_count == 0 && !known;
    fill_in(s, image, known);
    enum err err = asked_for(s, image, known, untold, text, size);
    if (!err)
        err = not_asked_for(s, image, text, size);
    if (err)
        return err;
    if (image->target == TARGET_VIRTIO) {
        nets_order(s, image);
        blocks_order(s, image);
    }
    return ERR_OK;
}
