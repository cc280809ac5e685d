#define _GNU_SOURCE
#include "node/runtime/priv_protocol.h"

#include "store/base/pack.h"

#include <string.h>

enum {
    PROTOCOL_VERSION = 1,
    REQUEST_FIELDS = 6,
    START_FIELDS = 7,
    START_NETS = 1, /* more, where there are nets or blocks */
    NET_FIELDS = 2,
    START_BLOCKS = 2, /* and these more, where there are blocks */
    BLOCK_FIELDS = 2,
    START_ACCESS = 1, /* and this more, where there are nets */
    ACCESS_FIELDS = 2,
    ANSWER_FIELDS = 6,
    ANSWER_NETWORKS = 1,
    ANSWER_JAIL = 1 /* more, where it lacks something */
};

static void net_encode(const struct guest_net *n, struct pack *k)
{
    uint32_t count = !ip_is_zero(&n->ip[IP4]) + !ip_is_zero(&n->ip[IP6]);
    pack_array(k, NET_FIELDS + 1);
    pack_str(k, n->ref.device);
    pack_str(k, n->ref.network);
    pack_array(k, count);
    for (int f = IP4; f < IP_FAMILIES; f++)
        if (!ip_is_zero(&n->ip[f]))
            pack_bin(k, n->ip[f].b, sizeof n->ip[f].b);
}

static void nets_encode(const struct priv_request *r, struct pack *k)
{
    pack_array(k, r->net_count);
    for (uint32_t i = 0; i < r->net_count; i++)
        net_encode(&r->nets[i], k);
}

static uint32_t start_fields(const struct priv_request *r)
{
    if (r->net_count > 0)
        return START_FIELDS + START_NETS + START_BLOCKS + START_ACCESS;
    return r->block_count > 0 ? START_FIELDS + START_NETS + START_BLOCKS : START_FIELDS;
}

static void start_encode(const struct priv_request *r, struct pack *k)
{
    pack_uint(k, (uint64_t)r->target);
    pack_uint(k, (uint64_t)r->accel);
    pack_uint(k, r->memory_mib);
    pack_uint(k, r->deadline_ms);
    pack_bin(k, r->tender, strlen(r->tender));
    pack_bin(k, r->image, strlen(r->image));
    pack_array(k, r->args_count);
    pack_raw(k, r->args.p, r->args.len);
    if (start_fields(r) == START_FIELDS)
        return;
    nets_encode(r, k);
    pack_uint(k, r->volume);
    pack_array(k, r->block_count);
    for (uint32_t i = 0; i < r->block_count; i++) {
        pack_array(k, BLOCK_FIELDS);
        pack_str(k, r->blocks[i].device);
        pack_uint(k, r->blocks[i].sector_bytes);
    }
    if (r->net_count > 0)
        guest_access_encode(&r->access, k);
}

enum err priv_request_encode(const struct priv_request *r, uint8_t *out, size_t size, size_t *len)
{
    struct pack k;
    uint32_t fields = REQUEST_FIELDS;
    if (r->verb == PRIV_START)
        fields += start_fields(r);
    else if (r->verb == PRIV_ACCESS)
        fields += ACCESS_FIELDS;
    pack_init(&k, out, size);
    pack_array(&k, fields);
    pack_uint(&k, PROTOCOL_VERSION);
    pack_uint(&k, (uint64_t)r->verb);
    pack_uint(&k, r->id);
    pack_bin(&k, r->unit.app.b, sizeof r->unit.app.b);
    pack_uint(&k, r->unit.slot);
    pack_uint(&k, r->unit.epoch);
    if (r->verb == PRIV_START)
        start_encode(r, &k);
    if (r->verb == PRIV_ACCESS) {
        nets_encode(r, &k);
        guest_access_encode(&r->access, &k);
    }
    *len = k.len;
    return pack_end(&k);
}

/* An absolute path. A bin, as a file's name need not be UTF-8. */
static void path(struct cursor *c, char out[static PRIV_PATH_SIZE])
{
    struct slice s = cursor_bin(c, PRIV_PATH_SIZE - 1);
    if (s.len == 0 || s.p[0] != '/' || memchr(s.p, '\0', s.len) != NULL) {
        cursor_fail(c, ERR_INVALID);
        return;
    }
    memcpy(out, s.p, s.len);
    out[s.len] = '\0';
}

static void start_decode(struct cursor *c, struct priv_request *out)
{
    out->target = (enum target)cursor_uint(c, TARGET_COUNT - 1);
    out->accel = (enum accel)cursor_uint(c, ACCEL_KVM);
    out->memory_mib = (uint32_t)cursor_uint(c, MEMORY_MIB_MAX);
    out->deadline_ms = cursor_uint(c, UINT64_MAX);
    path(c, out->tender);
    path(c, out->image);
    out->args_count = cursor_array(c, PRIV_ARGS_MAX);
    out->args.p = c->p;
    size_t before = c->left;
    for (uint32_t i = 0; i < out->args_count; i++)
        (void)cursor_str(c, ARGS_BYTES_MAX);
    out->args.len = before - c->left;
    if (out->target == TARGET_NONE || out->args.len > ARGS_BYTES_MAX + 3 * (size_t)ARGS_MAX + ARG_MIRAGE_BYTES)
        cursor_fail(c, ERR_INVALID);
}

/* Of each family one address at most. */
static void net_decode(struct cursor *c, struct guest_net *out)
{
    uint32_t more = cursor_array_from(c, NET_FIELDS);
    cursor_text(c, out->ref.device, sizeof out->ref.device);
    cursor_text(c, out->ref.network, sizeof out->ref.network);
    if (more == 0)
        return;
    uint32_t count = cursor_array(c, IP_FAMILIES);
    for (uint32_t i = 0; i < count && c->err == ERR_OK; i++) {
        struct ip ip;
        cursor_fixed(c, ip.b, sizeof ip.b);
        if (c->err == ERR_OK)
            out->ip[ip_is4(&ip) ? IP4 : IP6] = ip;
    }
    cursor_skip_n(c, more - 1);
}

static void nets_decode(struct cursor *c, struct priv_request *out)
{
    char text[REASON_SIZE];
    struct net_ref refs[NETS_MAX];
    out->net_count = cursor_array(c, NETS_MAX);
    for (uint32_t i = 0; i < out->net_count && c->err == ERR_OK; i++) {
        net_decode(c, &out->nets[i]);
        refs[i] = out->nets[i].ref;
    }
    if (c->err == ERR_OK && nets_check(refs, out->net_count, text, sizeof text))
        cursor_fail(c, ERR_INVALID);
}

static void blocks_decode_start(struct cursor *c, struct priv_request *out)
{
    struct block_ref blocks[BLOCKS_MAX] = {{{0}, 0, 0, 0}};
    char text[REASON_SIZE];
    out->volume = cursor_uint(c, UINT64_MAX);
    out->block_count = cursor_array(c, BLOCKS_MAX);
    for (uint32_t i = 0; i < out->block_count && c->err == ERR_OK; i++) {
        if (cursor_array(c, BLOCK_FIELDS) != BLOCK_FIELDS)
            cursor_fail(c, ERR_INVALID);
        cursor_text(c, out->blocks[i].device, sizeof out->blocks[i].device);
        out->blocks[i].sector_bytes = (uint32_t)cursor_uint(c, BLOCK_SECTOR_MAX);
        memcpy(blocks[i].device, out->blocks[i].device, sizeof blocks[i].device);
        blocks[i].size_mib = 1; /* the file says */
        blocks[i].sector_bytes = out->blocks[i].sector_bytes;
    }
    if (c->err == ERR_OK && blocks_check(blocks, out->block_count, text, sizeof text))
        cursor_fail(c, ERR_INVALID);
}

enum err priv_request_decode(const uint8_t *in, size_t len, struct priv_request *out)
{
    struct cursor c;
    cursor_init(&c, in, len);
    memset(out, 0, sizeof *out);
    uint32_t more = cursor_array_from(&c, REQUEST_FIELDS);
    (void)cursor_uint(&c, UINT32_MAX); /* a newer version only adds fields */
    out->verb = (enum priv_verb)cursor_uint(&c, UINT32_MAX);
    out->id = cursor_uint(&c, UINT64_MAX);
    cursor_fixed(&c, out->unit.app.b, sizeof out->unit.app.b);
    out->unit.slot = (uint16_t)cursor_uint(&c, UINT16_MAX);
    out->unit.epoch = cursor_uint(&c, UINT64_MAX);
    if (c.err == ERR_OK && out->verb == PRIV_START) {
        if (more < START_FIELDS)
            cursor_fail(&c, ERR_TRUNCATED);
        else
            more -= START_FIELDS;
        start_decode(&c, out);
        if (c.err == ERR_OK && more >= START_NETS) {
            nets_decode(&c, out);
            more -= START_NETS;
        }
        if (c.err == ERR_OK && more >= START_BLOCKS) {
            blocks_decode_start(&c, out);
            more -= START_BLOCKS;
        }
        if (c.err == ERR_OK && more >= START_ACCESS) {
            guest_access_decode(&c, &out->access);
            more -= START_ACCESS;
        }
    }
    if (c.err == ERR_OK && out->verb == PRIV_ACCESS) {
        nets_decode(&c, out);
        guest_access_decode(&c, &out->access);
        more -= more < ACCESS_FIELDS ? more : (uint32_t)ACCESS_FIELDS;
    }
    cursor_skip_n(&c, more);
    return cursor_end(&c);
}

enum err priv_answer_encode(const struct priv_answer *a, uint8_t *out, size_t size, size_t *len)
{
    struct pack k;
    pack_init(&k, out, size);
    size_t jail = strnlen(a->jail, JAIL_TEXT - 1);
    pack_array(&k, ANSWER_FIELDS + ANSWER_NETWORKS + (jail > 0 ? (uint32_t)ANSWER_JAIL : 0));
    pack_uint(&k, PROTOCOL_VERSION);
    pack_uint(&k, a->id);
    pack_uint(&k, (uint64_t)a->err);
    pack_uint(&k, a->pid);
    pack_uint(&k, a->shim_pid);
    pack_bin(&k, a->text, strnlen(a->text, PRIV_TEXT_SIZE - 1));
    pack_uint(&k, a->networks);
    if (jail > 0)
        pack_bin(&k, a->jail, jail);
    *len = k.len;
    return pack_end(&k);
}

enum err priv_answer_decode(const uint8_t *in, size_t len, struct priv_answer *out)
{
    struct cursor c;
    cursor_init(&c, in, len);
    memset(out, 0, sizeof *out);
    uint32_t more = cursor_array_from(&c, ANSWER_FIELDS);
    (void)cursor_uint(&c, UINT32_MAX);
    out->id = cursor_uint(&c, UINT64_MAX);
    out->err = (enum err)cursor_uint(&c, UINT32_MAX);
    out->pid = (uint32_t)cursor_uint(&c, INT32_MAX);
    out->shim_pid = (uint32_t)cursor_uint(&c, INT32_MAX);
    struct slice text = cursor_bin(&c, PRIV_TEXT_SIZE - 1);
    if (text.len > 0)
        memcpy(out->text, text.p, text.len);
    if (more >= ANSWER_NETWORKS) {
        out->networks = (uint32_t)cursor_uint(&c, UINT32_MAX);
        more -= ANSWER_NETWORKS;
    }
    if (c.err == ERR_OK && more >= ANSWER_JAIL) {
        text = cursor_bin(&c, JAIL_TEXT - 1);
        if (text.len > 0)
            memcpy(out->jail, text.p, text.len);
        more -= ANSWER_JAIL;
    }
    cursor_skip_n(&c, more);
    return cursor_end(&c);
}
