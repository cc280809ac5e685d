#include "store/model/args.h"
#include "store/model/bodies.h"

#include <stdio.h>
#include <string.h>

/* Behind the first fields come those of apps with devices; who has a later one has those before it, too. */
enum {
    SPEC_FIELDS = 11,
    SPEC_NETS = 1,
    SPEC_WORDS = 2,
    SPEC_BLOCKS = 3,
    IMAGE_FIELDS = 3,
    NET_FIELDS = 2,
    WORDS_FIELDS = 1,
    WORDS_ACCESS = 1, /* more, of whoever opens something */
    VOLUMES_FIELDS = 2,
    BLOCK_FIELDS = 4
};

/* Strings come from people: what a peer's decoder would refuse is refused here, by the same reader. */
static enum err args_encode(const char *const *strings, uint32_t count, struct pack *k)
{
    struct cursor c;
    size_t from = k->len;
    pack_array(k, count);
    for (uint32_t i = 0; i < count; i++)
        pack_str(k, strings[i]);
    if (k->err)
        return k->err;
    cursor_init(&c, k->p + from, k->len - from);
    (void)cursor_array(&c, ARGS_MAX);
    for (uint32_t i = 0; i < count; i++)
        (void)cursor_str(&c, ARGS_BYTES_MAX);
    return cursor_end(&c);
}

static void nets_encode(const struct spec_body *s, struct pack *k)
{
    pack_array(k, s->net_count);
    for (uint32_t i = 0; i < s->net_count; i++) {
        pack_array(k, NET_FIELDS);
        pack_str(k, s->nets[i].device);
        pack_str(k, s->nets[i].network);
    }
}

void blocks_encode(const struct block_ref *blocks, uint32_t count, struct pack *k)
{
    pack_array(k, count);
    for (uint32_t i = 0; i < count; i++) {
        pack_array(k, BLOCK_FIELDS);
        pack_str(k, blocks[i].device);
        pack_uint(k, blocks[i].size_mib);
        pack_uint(k, blocks[i].sector_bytes);
        pack_uint(k, blocks[i].sparse);
    }
}

static uint32_t spec_more(const struct spec_body *s)
{
    return s->block_count                           ? SPEC_BLOCKS
           : s->mirage || !access_empty(&s->access) ? SPEC_WORDS
           : s->net_count                           ? SPEC_NETS
                                                    : 0;
}

enum err spec_body_encode(const struct spec_body *s, const char *const *args_strings,
                          uint32_t args_count, struct pack *k)
{
    const uint32_t more = spec_more(s);
    size_t args_bytes = 0, from = k->len;
    for (uint32_t i = 0; i < args_count; i++) {
        const struct slice arg = {.p = (const uint8_t *)args_strings[i], .len = strlen(args_strings[i])};
        args_bytes += arg_len_most(arg) + 1;
    }
    if (args_count > ARGS_MAX || args_bytes > ARGS_BYTES_MAX)
        return ERR_TOO_LARGE;
    pack_array(k, SPEC_FIELDS + more);
    pack_str(k, s->name);
    pack_uint(k, s->revision);
    version_encode(s->parent, k);
    pack_array(k, s->image_count);
    for (uint32_t i = 0; i < s->image_count; i++) {
        pack_array(k, IMAGE_FIELDS);
        pack_uint(k, s->images[i].target);
        pack_bin(k, s->images[i].image.b, sizeof s->images[i].image.b);
        pack_uint(k, s->images[i].size_bytes);
    }
    pack_uint(k, s->memory_mib);
    pack_uint(k, s->restart);
    pack_bin(k, s->exit_codes, s->exit_code_count);
    labels_encode(&s->require, k);
    pack_str(k, s->affinity);
    pack_uint(k, s->policy);
    enum err err = args_encode(args_strings, args_count, k);
    if (more >= SPEC_NETS)
        nets_encode(s, k);
    if (more >= SPEC_WORDS) {
        pack_array(k, WORDS_FIELDS + WORDS_ACCESS);
        pack_uint(k, s->mirage);
        access_encode(&s->access, k);
    }
    if (more >= SPEC_BLOCKS) {
        pack_array(k, VOLUMES_FIELDS);
        pack_uint(k, s->volume_lost);
        blocks_encode(s->blocks, s->block_count, k);
    }
    if (!err)
        err = k->err;
    if (!err && k->len - from > RECORD_BODY_MAX)
        err = ERR_TOO_LARGE;
    return err;
}

static void images_decode(struct cursor *c, struct spec_body *out)
{
    out->image_count = cursor_array(c, TARGET_COUNT);
    for (uint32_t i = 0; i < out->image_count && !c->err; i++) {
        struct image_ref *ref = &out->images[i];
        if (cursor_array(c, IMAGE_FIELDS) != IMAGE_FIELDS)
            cursor_fail(c, ERR_INVALID);
        ref->target = (enum target)cursor_uint(c, TARGET_COUNT - 1);
        cursor_fixed(c, ref->image.b, sizeof ref->image.b);
        ref->size_bytes = cursor_uint(c, UINT64_MAX);
    }
}

static void args_decode(struct cursor *c, struct spec_body *out)
{
    size_t bytes = 0;
    out->args_count = cursor_array(c, ARGS_MAX);
    out->args.p = c->p;
    for (uint32_t i = 0; i < out->args_count && !c->err; i++)
        bytes += arg_len_most(cursor_str(c, ARGS_BYTES_MAX)) + 1;
    if (bytes > ARGS_BYTES_MAX)
        cursor_fail(c, ERR_TOO_LARGE);
    out->args.len = c->err ? 0 : (size_t)(c->p - out->args.p);
}

static void nets_decode(struct cursor *c, struct spec_body *out)
{
    out->net_count = cursor_array(c, NETS_MAX);
    for (uint32_t i = 0; i < out->net_count && !c->err; i++) {
        if (cursor_array(c, NET_FIELDS) != NET_FIELDS)
            cursor_fail(c, ERR_INVALID);
        cursor_text(c, out->nets[i].device, sizeof out->nets[i].device);
        cursor_text(c, out->nets[i].network, sizeof out->nets[i].network);
    }
}

static void words_decode(struct cursor *c, struct spec_body *out)
{
    uint32_t more = cursor_array_from(c, WORDS_FIELDS);
    out->mirage = (uint32_t)cursor_uint(c, UINT32_MAX);
    if (more >= WORDS_ACCESS)
        access_decode(c, &out->access);
    cursor_skip_n(c, more >= WORDS_ACCESS ? more - WORDS_ACCESS : 0);
}

void blocks_decode(struct cursor *c, struct block_ref blocks[static BLOCKS_MAX], uint32_t *count)
{
    *count = cursor_array(c, BLOCKS_MAX);
    for (uint32_t i = 0; i < *count && !c->err; i++) {
        uint32_t more = cursor_array_from(c, BLOCK_FIELDS);
        cursor_text(c, blocks[i].device, sizeof blocks[i].device);
        blocks[i].size_mib = (uint32_t)cursor_uint(c, BLOCK_MIB_MAX);
        blocks[i].sector_bytes = (uint32_t)cursor_uint(c, BLOCK_SECTOR_MAX);
        blocks[i].sparse = (uint32_t)cursor_uint(c, 1);
        cursor_skip_n(c, more);
    }
}

static void volumes_decode(struct cursor *c, struct spec_body *out)
{
    uint32_t more = cursor_array_from(c, VOLUMES_FIELDS);
    out->volume_lost = (enum volume_lost)cursor_uint(c, VOLUME_LOST_EMPTY);
    blocks_decode(c, out->blocks, &out->block_count);
    cursor_skip_n(c, more);
}

enum err spec_body_decode(struct slice body, struct spec_body *out)
{
    struct cursor c;
    struct spec_body s = {0};
    cursor_init(&c, body.p, body.len);
    uint32_t more = cursor_array_from(&c, SPEC_FIELDS);
    cursor_text(&c, s.name, sizeof s.name);
    s.revision = (uint32_t)cursor_uint(&c, UINT32_MAX);
    version_decode(&c, &s.parent);
    images_decode(&c, &s);
    s.memory_mib = (uint32_t)cursor_uint(&c, UINT32_MAX);
    s.restart = (enum restart_mode)cursor_uint(&c, RESTART_NEVER);
    struct slice codes = cursor_bin(&c, EXIT_CODES_MAX);
    if (codes.len > 0)
        memcpy(s.exit_codes, codes.p, codes.len);
    s.exit_code_count = (uint32_t)codes.len;
    labels_decode(&c, &s.require);
    cursor_text(&c, s.affinity, sizeof s.affinity);
    s.policy = (enum policy)cursor_uint(&c, POLICY_QUORUM);
    args_decode(&c, &s);
    if (more >= SPEC_NETS)
        nets_decode(&c, &s);
    if (more >= SPEC_WORDS)
        words_decode(&c, &s);
    if (more >= SPEC_BLOCKS)
        volumes_decode(&c, &s);
    cursor_skip_n(&c, more > SPEC_BLOCKS ? more - SPEC_BLOCKS : 0);
    enum err err = cursor_end(&c);
    char text[REASON_SIZE];
    if (!err)
        err = spec_check(&s, text, sizeof text);
    if (!err)
        *out = s;
    return err;
}

bool spec_arg_next(struct slice *rest, struct slice *arg)
{
    struct cursor c;
    if (rest->len == 0)
        return false;
    cursor_init(&c, rest->p, rest->len);
    *arg = cursor_str(&c, ARGS_BYTES_MAX);
    if (c.err)
        return false;
    *rest = (struct slice){.p = c.p, .len = c.left};
    return true;
}

/* ---- What may be asked for ------------------------------------------------------------------------ */

/* What a target's smallest guest needs (facts of Solo5 0.12: 2 MiB on spt, 4 on hvt; a PC needs its first MiB). */
static uint32_t memory_least(enum target t)
{
    return t == TARGET_SPT ? MEMORY_MIB_MIN : 4;
}

static enum err images_check(const struct spec_body *s, char *text, size_t size)
{
    if (s->image_count == 0) {
        snprintf(text, size, "image: none is given; name a file, or one a target");
        return ERR_INVALID;
    }
    for (uint32_t i = 0; i < s->image_count; i++) {
        enum target t = s->images[i].target;
        if (t == TARGET_NONE || t >= TARGET_COUNT || (i > 0 && t <= s->images[i - 1].target) ||
            hash_is_zero(&s->images[i].image) || s->images[i].size_bytes == 0) {
            snprintf(text, size, "image: at most one for each of hvt, spt and virtio");
            return ERR_INVALID;
        }
        if (s->memory_mib < memory_least(t)) {
            snprintf(text, size, "memory: %uM is below the %uM that %s guest needs; write memory: %uM or more",
                     s->memory_mib, memory_least(t),
                     t == TARGET_SPT   ? "an spt"
                     : t == TARGET_HVT ? "an hvt"
                                       : "a virtio",
                     memory_least(t));
            return ERR_INVALID;
        }
    }
    return ERR_OK;
}

static bool device_valid(const char *name)
{
    size_t n = 0;
    for (; name[n]; n++)
        if (!((name[n] >= 'a' && name[n] <= 'z') || (name[n] >= 'A' && name[n] <= 'Z') ||
              (name[n] >= '0' && name[n] <= '9')))
            return false;
    return n > 0 && n < DEVICE_SIZE;
}

enum err nets_check(const struct net_ref *nets, uint32_t count, char *text, size_t size)
{
    for (uint32_t i = 0; i < count; i++) {
        if (!device_valid(nets[i].device)) {
            snprintf(text, size, "nets: \"%.40s\" is no device's name; those of a manifest are letters and digits",
                     nets[i].device);
            return ERR_INVALID;
        }
        if (!name_valid(nets[i].network)) {
            snprintf(text, size, "nets: \"%.40s\" is no network's name", nets[i].network);
            return ERR_INVALID;
        }
        for (uint32_t j = 0; j < i; j++) {
            if (strcmp(nets[i].device, nets[j].device) != 0)
                continue;
            snprintf(text, size, "nets: the device %.40s is there twice", nets[i].device);
            return ERR_INVALID;
        }
    }
    return ERR_OK;
}

static enum err block_check(const struct block_ref *b, char *text, size_t size)
{
    if (!device_valid(b->device)) {
        snprintf(text, size, "blocks: \"%.40s\" is no device's name; those of a manifest are letters and digits",
                 b->device);
        return ERR_INVALID;
    }
    if (b->size_mib == 0 || b->size_mib > BLOCK_MIB_MAX) {
        snprintf(text, size, "blocks.%.40s: %uM is no size that a volume may have; write 1M to 16T", b->device,
                 b->size_mib);
        return ERR_INVALID;
    }
    uint32_t sector = b->sector_bytes;
    if (sector < BLOCK_SECTOR_MIN || sector > BLOCK_SECTOR_MAX || (sector & (sector - 1)) != 0) {
        snprintf(text, size, "blocks.%.40s: %u is no sector's size; write 512, 1024, 2048 or 4096", b->device, sector);
        return ERR_INVALID;
    }
    return ERR_OK;
}

enum err blocks_check(const struct block_ref *blocks, uint32_t count, char *text, size_t size)
{
    for (uint32_t i = 0; i < count; i++) {
        enum err err = block_check(&blocks[i], text, size);
        if (err)
            return err;
        for (uint32_t j = 0; j < i; j++) {
            if (strcmp(blocks[i].device, blocks[j].device) != 0)
                continue;
            snprintf(text, size, "blocks: the device %.40s is there twice", blocks[i].device);
            return ERR_INVALID;
        }
    }
    return ERR_OK;
}

enum err spec_check(const struct spec_body *s, char *text, size_t size)
{
    if (!name_valid(s->name)) {
        snprintf(text, size,
                 "app: \"%.70s\" is no name; 1 to %d of a-z, 0-9, - and ., beginning and ending with a "
                 "letter or digit",
                 s->name, NAME_MAX_LEN);
        return ERR_INVALID;
    }
    if (s->memory_mib > MEMORY_MIB_MAX) {
        snprintf(text, size, "memory: %uM is more than the %uM that an app may have", s->memory_mib,
                 MEMORY_MIB_MAX);
        return ERR_INVALID;
    }
    enum err err = images_check(s, text, size);
    if (err)
        return err;
    if (s->affinity[0] && !name_valid(s->affinity)) {
        snprintf(text, size, "affinity: \"%.70s\" is no name", s->affinity);
        return ERR_INVALID;
    }
    if (s->exit_code_count > EXIT_CODES_MAX || s->require.count > LABELS_MAX ||
        !labels_sorted(&s->require)) {
        snprintf(text, size, "require: a label's key is empty or there twice");
        return ERR_INVALID;
    }
    if (s->policy != POLICY_AVAILABLE) {
        snprintf(text, size, "policy: only \"available\" is supported by this version");
        return ERR_UNSUPPORTED;
    }
    err = nets_check(s->nets, s->net_count, text, size);
    if (!err)
        err = access_check(&s->access, text, size);
    return err ? err : blocks_check(s->blocks, s->block_count, text, size);
}

/* ---- The small registers -------------------------------------------------------------------------- */

static enum err one_encode(uint64_t v, struct pack *k)
{
    pack_array(k, 1);
    pack_uint(k, v);
    return pack_end(k);
}

static enum err one_decode(struct slice body, uint64_t max, uint64_t *out)
{
    struct cursor c;
    cursor_init(&c, body.p, body.len);
    uint32_t more = cursor_array_from(&c, 1);
    *out = cursor_uint(&c, max);
    cursor_skip_n(&c, more);
    return cursor_end(&c);
}

enum err replicas_body_encode(const struct replicas_body *r, struct pack *k)
{
    return one_encode(r->replicas, k);
}

enum err replicas_body_decode(struct slice body, struct replicas_body *out)
{
    uint64_t v;
    enum err err = one_decode(body, REPLICAS_MAX, &v);
    if (!err)
        out->replicas = (uint32_t)v;
    return err;
}

enum err wanted_body_encode(const struct wanted_body *w, struct pack *k)
{
    return one_encode(w->wanted, k);
}

enum err wanted_body_decode(struct slice body, struct wanted_body *out)
{
    uint64_t v;
    enum err err = one_decode(body, WANTED_STOPPED, &v);
    if (!err)
        out->wanted = (enum wanted)v;
    return err;
}

enum err deleted_body_encode(const struct deleted_body *d, struct pack *k)
{
    pack_array(k, 2);
    pack_str(k, d->name);
    pack_uint(k, d->wall_ms);
    return pack_end(k);
}

enum err deleted_body_decode(struct slice body, struct deleted_body *out)
{
    struct cursor c;
    struct deleted_body d = {0};
    cursor_init(&c, body.p, body.len);
    uint32_t more = cursor_array_from(&c, 2);
    cursor_text(&c, d.name, sizeof d.name);
    d.wall_ms = cursor_uint(&c, UINT64_MAX);
    cursor_skip_n(&c, more);
    enum err err = cursor_end(&c);
    if (!err)
        *out = d;
    return err;
}

/* ---- Any ------------------------------------------------------------------------------------------ */

/* record_decode saw that it holds a spec record; this is about what that spec says. */
static enum err history_check(struct slice body, struct record *spec, struct spec_body *out)
{
    struct cursor c;
    cursor_init(&c, body.p, body.len);
    struct slice inner = cursor_bin(&c, RECORD_BYTES_MAX);
    enum err err = cursor_end(&c);
    if (!err)
        err = record_decode(inner.p, inner.len, spec);
    if (!err)
        err = spec_body_decode(spec->body, out);
    return err;
}

enum err body_check(const struct record *r)
{
    union {
        struct node_body node;
        struct spec_body spec;
        struct replicas_body replicas;
        struct wanted_body wanted;
        struct deleted_body deleted;
        struct unit_body unit;
        struct holder_body holder;
    } u;
    struct record spec;
    switch ((enum record_kind)r->key.kind) {
    case RECORD_NODE:
        return node_body_decode(r->body, &u.node);
    case RECORD_SPEC:
        return spec_body_decode(r->body, &u.spec);
    case RECORD_REPLICAS:
        return replicas_body_decode(r->body, &u.replicas);
    case RECORD_WANTED:
        return wanted_body_decode(r->body, &u.wanted);
    case RECORD_DELETED:
        return deleted_body_decode(r->body, &u.deleted);
    case RECORD_UNIT:
        return unit_body_decode(r->body, &u.unit);
    case RECORD_HOLDER:
        return holder_body_decode(r->body, &u.holder);
    case RECORD_HISTORY:
        return history_check(r->body, &spec, &u.spec);
    case RECORD_KEY:
    case RECORD_REVOCATION:
    case RECORD_KIND_END:
        break;
    }
    return ERR_UNSUPPORTED;
}
