#include "gossip/crypto.h"

node_id crypto_node_id(const struct crypto *c, const uint8_t public_key[static PUBLIC_KEY_SIZE])
{
    struct hash h;
    c->hash(public_key, PUBLIC_KEY_SIZE, &h);
    node_id id = 0;
    for (unsigned i = 0; i < 8; i++)
        id |= (node_id)h.b[i] << (8 * i);
    return id;
}
