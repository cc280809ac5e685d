#include "store/model/bodies.h"

#include <string.h>

enum { FIELDS = 18, ADDRESS_FIELDS = 2 };

/* ---- Labels, shared with specs -------------------------------------------------------------------- */

void labels_encode(const struct labels *l, struct pack *k)
{
    pack_array(k, l->count);
    for (uint32_t i = 0; i < l->count; i++) {
        pack_array(k, 2);
        pack_str(k, l->v[i].key);
        pack_str(k, l->v[i].value);
    }
}

void labels_decode(struct cursor *c, struct labels *out)
{
    out->count = cursor_array(c, LABELS_MAX);
    for (uint32_t i = 0; i < out->count && !c->err; i++) {
        if (cursor_array(c, 2) != 2)
            cursor_fail(c, ERR_INVALID);
        cursor_text(c, out->v[i].key, sizeof out->v[i].key);
        cursor_text(c, out->v[i].value, sizeof out->v[i].value);
    }
    if (!c->err && !labels_sorted(out))
        cursor_fail(c, ERR_INVALID);
}

bool labels_sorted(const struct labels *l)
{
    for (uint32_t i = 0; i < l->count; i++)
        if (l->v[i].key[0] == '\0' || (i > 0 && strcmp(l->v[i - 1].key, l->v[i].key) >= 0))
            return false;
    return true;
}

/* ---- The node ------------------------------------------------------------------------------------- */

enum err node_body_encode(const struct node_body *n, struct pack *k)
{
    pack_array(k, FIELDS);
    pack_bin(k, n->x25519, sizeof n->x25519);
    pack_uint(k, n->boot);
    pack_uint(k, n->incarnation);
    pack_str(k, n->name);
    pack_array(k, n->address_count);
    for (uint32_t i = 0; i < n->address_count; i++) {
        pack_array(k, ADDRESS_FIELDS);
        pack_bin(k, n->addresses[i].ip, sizeof n->addresses[i].ip);
        pack_uint(k, n->addresses[i].port);
    }
    pack_uint(k, n->capacity_mib);
    pack_uint(k, n->used_mib);
    pack_uint(k, n->room_seq);
    pack_uint(k, n->targets);
    pack_bin(k, n->target_abi, sizeof n->target_abi);
    pack_uint(k, n->flags);
    pack_uint(k, n->away_until_ms);
    pack_uint(k, n->placement_version);
    pack_uint(k, n->cpus);
    pack_str(k, n->arch);
    labels_encode(&n->labels, k);
    pack_array(k, n->network_count);
    for (uint32_t i = 0; i < n->network_count; i++)
        pack_str(k, n->networks[i]);
    pack_uint(k, n->published_ms);
    return pack_end(k);
}

static void addresses_decode(struct cursor *c, struct node_body *out)
{
    out->address_count = cursor_array(c, ADDRESSES_MAX);
    for (uint32_t i = 0; i < out->address_count && !c->err; i++) {
        if (cursor_array(c, ADDRESS_FIELDS) != ADDRESS_FIELDS)
            cursor_fail(c, ERR_INVALID);
        cursor_fixed(c, out->addresses[i].ip, sizeof out->addresses[i].ip);
        out->addresses[i].port = (uint16_t)cursor_uint(c, UINT16_MAX);
    }
}

static void networks_decode(struct cursor *c, struct node_body *out)
{
    out->network_count = cursor_array(c, NETWORKS_MAX);
    for (uint32_t i = 0; i < out->network_count && !c->err; i++) {
        cursor_text(c, out->networks[i], sizeof out->networks[i]);
        bool ascends = i == 0 || strcmp(out->networks[i - 1], out->networks[i]) < 0;
        if (!c->err && (!name_valid(out->networks[i]) || !ascends))
            cursor_fail(c, ERR_INVALID);
    }
}

enum err node_body_decode(struct slice body, struct node_body *out)
{
    struct cursor c;
    struct node_body n = {0};
    cursor_init(&c, body.p, body.len);
    uint32_t more = cursor_array_from(&c, FIELDS);
    cursor_fixed(&c, n.x25519, sizeof n.x25519);
    n.boot = cursor_uint(&c, UINT64_MAX);
    n.incarnation = cursor_uint(&c, UINT64_MAX);
    cursor_text(&c, n.name, sizeof n.name);
    addresses_decode(&c, &n);
    n.capacity_mib = (uint32_t)cursor_uint(&c, UINT32_MAX);
    n.used_mib = (uint32_t)cursor_uint(&c, UINT32_MAX);
    n.room_seq = cursor_uint(&c, UINT64_MAX);
    n.targets = (uint32_t)cursor_uint(&c, UINT32_MAX);
    cursor_fixed(&c, n.target_abi, sizeof n.target_abi);
    n.flags = (uint32_t)cursor_uint(&c, UINT32_MAX);
    n.away_until_ms = cursor_uint(&c, UINT64_MAX);
    n.placement_version = (uint32_t)cursor_uint(&c, UINT32_MAX);
    n.cpus = (uint32_t)cursor_uint(&c, UINT32_MAX);
    cursor_text(&c, n.arch, sizeof n.arch);
    labels_decode(&c, &n.labels);
    networks_decode(&c, &n);
    n.published_ms = cursor_uint(&c, UINT64_MAX);
    cursor_skip_n(&c, more);
    enum err err = cursor_end(&c);
    if (err)
        return err;
    if (!name_valid(n.name) || n.boot == 0)
        return ERR_INVALID;
    *out = n;
    return ERR_OK;
}

enum err holder_body_encode(const struct holder_body *h, struct pack *k)
{
    pack_array(k, 2);
    pack_uint(k, h->present);
    pack_uint(k, h->size_bytes);
    return pack_end(k);
}

enum err holder_body_decode(struct slice body, struct holder_body *out)
{
    struct cursor c;
    struct holder_body h;
    cursor_init(&c, body.p, body.len);
    uint32_t more = cursor_array_from(&c, 2);
    h.present = (uint32_t)cursor_uint(&c, 1);
    h.size_bytes = cursor_uint(&c, UINT64_MAX);
    cursor_skip_n(&c, more);
    enum err err = cursor_end(&c);
    if (!err)
        *out = h;
    return err;
}
