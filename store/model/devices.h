/* What an image's manifest asks for against what its app gives. Pure. */
#ifndef UNIMESH_MODEL_DEVICES_H
#define UNIMESH_MODEL_DEVICES_H

#include "store/model/bodies.h"
#include "store/model/solo5.h"

/* The networks that the hosts of a mesh have between them. */
struct network_names {
    uint32_t count;
    char v[NETWORKS_MAX][NAME_SIZE];
};
void network_names_add(struct network_names *n, const char *name); /* one that is there already, or too many: nothing */

/* Has every device what it needs, and is nothing given that no device takes? A net device that is the only one, of an
 * app that names no nets, gets the only network of `known`; with `known` NULL that is left to whoever knows. A block
 * device is always to be told its size. For virtio nets and blocks are put in the manifest's order. Of an app's images
 * this is to be asked for each.
 * ERR_INVALID: `text` says what is missing and what to write. */
enum err devices_fit(struct spec_body *s, const struct solo5_image *image, const struct network_names *known,
                     char *text, size_t size) MUST_USE;

#endif
