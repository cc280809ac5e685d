/* Templates in a guest's arguments, filled in where and when it starts, and the arguments that MirageOS's network
 * stacks take:
 *
 *   {{slot}}  which of the replicas it is, from 0     {{node}}  the host's name     {{app}}  the app's
 *   {{ipv4.DEVICE}} {{ipv6.DEVICE}}                  the address that the net device has on its network
 *   {{ipv4-cidr.DEVICE}} {{ipv6-cidr.DEVICE}}        … with the length of its prefix: 10.0.0.7/24
 *   {{ipv4-gateway.DEVICE}} {{ipv6-gateway.DEVICE}}  the network's gateway
 *
 * Other words in double braces stay as they are here, as a later version may know them; whoever takes an app from a
 * person refuses them. Pure. */
#ifndef UNIMESH_MODEL_ARGS_H
#define UNIMESH_MODEL_ARGS_H

#include "store/base/cursor.h"
#include "store/base/err.h"
#include "store/base/pack.h"
#include "store/model/bodies.h"
#include "store/model/networks.h"

#include <stddef.h>
#include <stdint.h>

struct arg_net { /* zeros: there is none */
    const char *device;
    struct ip ip[IP_FAMILIES];
    struct ip gateway[IP_FAMILIES];
    uint8_t bits[IP_FAMILIES];
};

struct arg_values {
    uint16_t slot;
    const char *node, *app;
    uint32_t net_count;
    const struct arg_net *nets; /* in the spec's order */
};

/* Does it hold a template that we don't know, or one of a device that isn't among the spec's nets (NULL: they aren't
 * known yet)? ERR_INVALID: `text` says so, and begins with "args". */
enum err arg_check(const char *arg, const struct spec_body *spec, char *text, size_t size) MUST_USE;

/* How long it may become, whatever the values. */
size_t arg_len_most(struct slice arg);

/* Write it, filled in, as a string. ERR_NOT_FOUND: it wants what there is none of, `text` says what. */
enum err arg_expand(struct slice arg, const struct arg_values *v, struct pack *k, char *text, size_t size) MUST_USE;

/* Which of MirageOS's arguments a guest gets without being told. One that refuses them (status 64) is started again
 * with the next. */
enum arg_words {
    ARG_WORDS_ALL,      /* --name too, which MirageOS has since 4.10 */
    ARG_WORDS_NO_NAME,
    ARG_WORDS_ADDRESSES, /* without --ipv4-only, which a stack of one family hasn't */
    ARG_WORDS_NONE
};

/* Write them, as strings, for what the spec's `mirage` says that the guest knows, but those that its own arguments give
 * already. The only device, and the one that MirageOS calls "service", has no prefix, others have theirs: --ipv4,
 * --admin-ipv4. Adds to *count; at most ARG_MIRAGE_MAX, of
 * ARG_MIRAGE_BYTES in all. */
enum { ARG_MIRAGE_MAX = 1 + NETS_MAX * 5, ARG_MIRAGE_BYTES = ARG_MIRAGE_MAX * (DEVICE_SIZE + NAME_SIZE + 32) };
void arg_mirage(const struct spec_body *spec, const struct arg_values *v, enum arg_words words, struct pack *k,
                uint32_t *count);

#endif
