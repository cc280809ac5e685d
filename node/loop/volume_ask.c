/* The words of volume_service.h, and how a node is asked. */
#define _GNU_SOURCE
#include "node/loop/volume_service.h"

#include "store/base/cursor.h"
#include "store/base/pack.h"

#include <string.h>

enum { OPEN_TIMEOUT_MS = 5000 };

enum err volume_say_send(struct channel *ch, const struct volume_say *s)
{
    static uint8_t message[VOLUME_CHUNK + 1024];
    static const uint32_t fields[] = {0, 9, 3, 3, 1, 3};
    struct pack k;
    pack_init(&k, message, sizeof message);
    pack_array(&k, fields[s->word]);
    pack_uint(&k, s->word);
    switch (s->word) {
    case VOLUME_ROW:
        pack_bin(&k, s->id.app.b, sizeof s->id.app.b);
        pack_uint(&k, s->id.slot);
        pack_uint(&k, s->id.epoch);
        pack_str(&k, s->app);
        pack_str(&k, s->device.device);
        pack_uint(&k, s->device.size_bytes);
        pack_uint(&k, s->device.disk_bytes);
        pack_bool(&k, s->held);
        break;
    case VOLUME_END:
        pack_uint(&k, s->err);
        pack_str(&k, s->text);
        break;
    case VOLUME_DATA:
    case VOLUME_HASHES:
        pack_uint(&k, s->offset);
        pack_bin(&k, s->bytes.p, s->bytes.len);
        break;
    case VOLUME_MORE:
        break;
    }
    CHECK(!pack_end(&k));
    return channel_send(ch, message, k.len);
}

static void row_decode(struct cursor *c, struct volume_say *out)
{
    cursor_fixed(c, out->id.app.b, sizeof out->id.app.b);
    out->id.slot = (uint16_t)cursor_uint(c, UINT16_MAX);
    out->id.epoch = cursor_uint(c, UINT64_MAX);
    cursor_text(c, out->app, sizeof out->app);
    cursor_text(c, out->device.device, sizeof out->device.device);
    out->device.size_bytes = cursor_uint(c, UINT64_MAX);
    out->device.disk_bytes = cursor_uint(c, UINT64_MAX);
    out->held = cursor_bool(c);
}

enum err volume_say_decode(const void *p, size_t len, struct volume_say *out)
{
    static const uint32_t fields[] = {0, 8, 2, 2, 0, 2};
    struct cursor c;
    cursor_init(&c, p, len);
    memset(out, 0, sizeof *out);
    uint32_t more = cursor_array_from(&c, 1);
    out->word = (enum volume_word)cursor_uint(&c, VOLUME_HASHES);
    if (!c.err && (out->word < VOLUME_ROW || more < fields[out->word]))
        cursor_fail(&c, ERR_INVALID);
    if (c.err)
        return c.err;
    switch (out->word) {
    case VOLUME_ROW:
        row_decode(&c, out);
        break;
    case VOLUME_END:
        out->err = (enum err)cursor_uint(&c, UINT16_MAX);
        cursor_text(&c, out->text, sizeof out->text);
        break;
    case VOLUME_DATA:
    case VOLUME_HASHES:
        out->offset = cursor_uint(&c, INT64_MAX);
        out->bytes = cursor_bin(&c, VOLUME_CHUNK);
        break;
    case VOLUME_MORE:
        break;
    }
    cursor_skip_n(&c, more - fields[out->word]);
    return cursor_end(&c);
}

enum err volume_ask_open(struct node *n, node_id to, const struct volume_ask *a, const struct channel_handler *h,
                         void *ctx, struct channel **out)
{
    const struct member *m = swim_find(engine_members(node_engine(n)), to);
    struct node_body b;
    struct address address;
    if (!engine_node(node_engine(n), to, &b) && b.address_count > 0)
        address = b.addresses[0];
    else if (m)
        address = m->address;
    else
        return ERR_UNREACHABLE;
    uint8_t message[256] = {SERVICE_VOLUME};
    struct pack k;
    pack_init(&k, message + 1, sizeof message - 1);
    pack_array(&k, VOLUME_ASK_FIELDS);
    pack_uint(&k, VOLUME_VERSION);
    pack_uint(&k, a->op);
    pack_bin(&k, a->id.app.b, sizeof a->id.app.b);
    pack_uint(&k, a->id.slot);
    pack_uint(&k, a->id.epoch);
    pack_str(&k, a->device);
    pack_bool(&k, a->live);
    CHECK(!pack_end(&k));
    return streams_open(node_streams(n), &address, to, message, 1 + k.len, OPEN_TIMEOUT_MS, h, ctx, out);
}
