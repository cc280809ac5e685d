#include "ctl/control.h"

#include "ctl/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

_Static_assert(IMAGE_LIST_BYTES_MAX + 128 <= CONTROL_FRAME_MAX, "an image's list fits a frame");
_Static_assert(IMAGE_CHUNK + 128 <= CONTROL_FRAME_MAX, "a chunk fits a frame");
_Static_assert(RECORD_BODY_MAX + 1024 <= CONTROL_FRAME_MAX, "a spec fits a frame");

enum { COMMAND_KIND_END = COMMAND_VOLUME_MOVE + 1, ADDRESS_BYTES = 18 };

/* ---- Parts --------------------------------------------------------------------------------- */

/* Text of ours, or of a guest, a host, a peer's log: what a reader would refuse is replaced. */
static void pack_clean(struct pack *k, const char *s)
{
    char clean[CONTROL_TEXT_SIZE];
    text_clean(clean, sizeof clean, s);
    pack_str(k, clean);
}

static void pack_hash(struct pack *k, const struct hash *h)
{
    pack_bin(k, h->b, sizeof h->b);
}

static void pack_uid(struct pack *k, const struct uid *u)
{
    pack_bin(k, u->b, sizeof u->b);
}

static uint32_t u32_of(struct cursor *c)
{
    return (uint32_t)cursor_uint(c, UINT32_MAX);
}

static void addresses_encode(const struct control_member *m, struct pack *k)
{
    pack_array(k, m->address_count);
    for (uint32_t i = 0; i < m->address_count; i++) {
        uint8_t b[ADDRESS_BYTES];
        memcpy(b, m->addresses[i].ip, 16);
        b[16] = (uint8_t)(m->addresses[i].port >> 8);
        b[17] = (uint8_t)m->addresses[i].port;
        pack_bin(k, b, sizeof b);
    }
}

static void addresses_decode(struct cursor *c, struct control_member *m)
{
    m->address_count = cursor_array(c, ADDRESSES_MAX);
    for (uint32_t i = 0; i < m->address_count; i++) {
        uint8_t b[ADDRESS_BYTES];
        cursor_fixed(c, b, sizeof b);
        memcpy(m->addresses[i].ip, b, 16);
        m->addresses[i].port = (uint16_t)(b[16] << 8 | b[17]);
    }
}

/* ---- Requests ------------------------------------------------------------------------------ */

static void deploy_encode(const struct control_deploy *d, struct pack *k)
{
    pack_bin(k, d->spec.p, d->spec.len);
    pack_uint(k, d->replicas);
    pack_uint(k, d->ack);
    pack_uint(k, d->timeout_ms);
    pack_bool(k, d->dry_run);
}

static void deploy_decode(struct cursor *c, struct control_deploy *d)
{
    d->spec = cursor_bin(c, RECORD_BODY_MAX);
    d->replicas = u32_of(c);
    d->ack = u32_of(c);
    d->timeout_ms = u32_of(c);
    d->dry_run = cursor_bool(c);
}

static void command_encode(const struct control_command *o, struct pack *k)
{
    pack_uint(k, o->kind);
    pack_clean(k, o->app);
    pack_uint(k, o->replicas);
    pack_uint(k, o->slot);
    pack_clean(k, o->node);
    pack_hash(k, &o->image);
    pack_uint(k, o->ack);
    pack_uint(k, o->timeout_ms);
    pack_bool(k, o->guests);
}

static void command_decode(struct cursor *c, struct control_command *o)
{
    o->kind = (enum command_kind)cursor_uint(c, COMMAND_KIND_END - 1);
    if (o->kind < COMMAND_SCALE)
        cursor_fail(c, ERR_INVALID);
    cursor_text(c, o->app, sizeof o->app);
    o->replicas = u32_of(c);
    o->slot = (uint16_t)cursor_uint(c, UINT16_MAX);
    cursor_text(c, o->node, sizeof o->node);
    cursor_fixed(c, o->image.b, sizeof o->image.b);
    o->ack = u32_of(c);
    o->timeout_ms = u32_of(c);
    o->guests = cursor_bool(c);
}

static void logs_decode(struct cursor *c, struct control_logs *l)
{
    cursor_text(c, l->app, sizeof l->app);
    l->slot = (uint16_t)cursor_uint(c, UINT16_MAX);
    l->lines = u32_of(c);
    l->follow = cursor_bool(c);
}

static void logs_encode(const struct control_logs *l, struct pack *k)
{
    pack_clean(k, l->app);
    pack_uint(k, l->slot);
    pack_uint(k, l->lines);
    pack_bool(k, l->follow);
}

static void unit_id_encode(const struct unit_id *u, struct pack *k)
{
    pack_uid(k, &u->app);
    pack_uint(k, u->slot);
    pack_uint(k, u->epoch);
}

static void unit_id_decode(struct cursor *c, struct unit_id *u)
{
    cursor_fixed(c, u->app.b, sizeof u->app.b);
    u->slot = (uint16_t)cursor_uint(c, UINT16_MAX);
    u->epoch = cursor_uint(c, UINT64_MAX);
}

static void volume_ask_encode(const struct control_volume_ask *a, struct pack *k)
{
    pack_uint(k, a->op);
    pack_uint(k, a->node);
    unit_id_encode(&a->id, k);
    pack_clean(k, a->device);
    pack_bool(k, a->live);
}

static void volume_ask_decode(struct cursor *c, struct control_volume_ask *a)
{
    a->op = (enum control_volume_op)cursor_uint(c, CONTROL_VOLUME_WRITE);
    if (a->op < CONTROL_VOLUME_REMOVE)
        cursor_fail(c, ERR_INVALID);
    a->node = cursor_uint(c, UINT64_MAX);
    unit_id_decode(c, &a->id);
    cursor_text(c, a->device, sizeof a->device);
    a->live = cursor_bool(c);
}

/* ---- Answers ------------------------------------------------------------------------------- */

static void member_encode(const struct control_member *m, struct pack *k)
{
    pack_uint(k, m->node);
    pack_clean(k, m->name);
    pack_uint(k, m->state);
    pack_uint(k, m->flags);
    pack_uint(k, m->node_flags);
    addresses_encode(m, k);
    pack_uint(k, m->targets);
    pack_bin(k, m->target_abi, sizeof m->target_abi);
    pack_uint(k, m->capacity_mib);
    pack_uint(k, m->used_mib);
    pack_uint(k, m->boot);
    pack_uint(k, m->incarnation);
    pack_uint(k, m->away_until_ms);
    pack_uint(k, m->cpus);
    pack_clean(k, m->arch);
    labels_encode(&m->labels, k);
    pack_clean(k, m->version);
    pack_array(k, m->network_count);
    for (uint32_t i = 0; i < m->network_count; i++)
        pack_clean(k, m->networks[i]);
}

static void member_decode(struct cursor *c, struct control_member *m)
{
    m->node = cursor_uint(c, UINT64_MAX);
    cursor_text(c, m->name, sizeof m->name);
    m->state = (enum member_state)cursor_uint(c, MEMBER_STATE_COUNT - 1);
    m->flags = u32_of(c);
    m->node_flags = u32_of(c);
    addresses_decode(c, m);
    m->targets = u32_of(c);
    cursor_fixed(c, m->target_abi, sizeof m->target_abi);
    m->capacity_mib = u32_of(c);
    m->used_mib = u32_of(c);
    m->boot = cursor_uint(c, UINT64_MAX);
    m->incarnation = cursor_uint(c, UINT64_MAX);
    m->away_until_ms = cursor_uint(c, UINT64_MAX);
    m->cpus = u32_of(c);
    cursor_text(c, m->arch, sizeof m->arch);
    labels_decode(c, &m->labels);
    cursor_text(c, m->version, sizeof m->version);
    m->network_count = cursor_array(c, NETWORKS_MAX);
    for (uint32_t i = 0; i < m->network_count && !c->err; i++)
        cursor_text(c, m->networks[i], sizeof m->networks[i]);
}

static void app_encode(const struct control_app *a, struct pack *k)
{
    pack_uid(k, &a->uid);
    pack_clean(k, a->name);
    version_encode(a->version, k);
    pack_uint(k, a->revision);
    pack_uint(k, a->memory_mib);
    pack_uint(k, a->replicas);
    pack_uint(k, a->running);
    pack_uint(k, a->copies);
    pack_uint(k, a->conflicts);
    pack_uint(k, a->wanted);
    pack_bool(k, a->shadowed);
    pack_bin(k, a->spec.p, a->spec.len);
}

static void app_decode(struct cursor *c, struct control_app *a)
{
    cursor_fixed(c, a->uid.b, sizeof a->uid.b);
    cursor_text(c, a->name, sizeof a->name);
    version_decode(c, &a->version);
    a->revision = u32_of(c);
    a->memory_mib = u32_of(c);
    a->replicas = u32_of(c);
    a->running = u32_of(c);
    a->copies = u32_of(c);
    a->conflicts = u32_of(c);
    a->wanted = (enum wanted)cursor_uint(c, WANTED_STOPPED);
    a->shadowed = cursor_bool(c);
    a->spec = cursor_bin(c, RECORD_BODY_MAX);
}

static void unit_encode(const struct control_unit *u, struct pack *k)
{
    pack_uid(k, &u->app);
    pack_clean(k, u->app_name);
    pack_uint(k, u->slot);
    pack_uint(k, u->node);
    pack_clean(k, u->node_name);
    pack_bool(k, u->winner);
    pack_uint(k, u->state);
    pack_uint(k, u->epoch);
    pack_uint(k, u->surrogate);
    pack_uint(k, u->revision);
    pack_uint(k, u->target);
    pack_uint(k, u->restarts);
    pack_int(k, u->exit_status);
    pack_uint(k, u->exit_signal);
    pack_uint(k, u->since_ms);
    pack_uint(k, u->pid);
    pack_uint(k, u->memory_mib);
    pack_clean(k, u->reason);
    pack_array(k, 2 * u->address_count);
    for (uint32_t i = 0; i < u->address_count; i++) {
        pack_clean(k, u->addresses[i].network);
        pack_bin(k, u->addresses[i].ip.b, sizeof u->addresses[i].ip.b);
    }
}

static void unit_decode(struct cursor *c, struct control_unit *u)
{
    cursor_fixed(c, u->app.b, sizeof u->app.b);
    cursor_text(c, u->app_name, sizeof u->app_name);
    u->slot = (uint16_t)cursor_uint(c, UINT16_MAX);
    u->node = cursor_uint(c, UINT64_MAX);
    cursor_text(c, u->node_name, sizeof u->node_name);
    u->winner = cursor_bool(c);
    u->state = (enum unit_state)cursor_uint(c, UNIT_STATE_COUNT - 1);
    u->epoch = cursor_uint(c, UINT64_MAX);
    u->surrogate = u32_of(c);
    u->revision = u32_of(c);
    u->target = (enum target)cursor_uint(c, TARGET_COUNT - 1);
    u->restarts = u32_of(c);
    int64_t status = cursor_int(c);
    if (status < INT32_MIN || status > INT32_MAX)
        cursor_fail(c, ERR_INVALID);
    else
        u->exit_status = (int32_t)status;
    u->exit_signal = u32_of(c);
    u->since_ms = cursor_uint(c, UINT64_MAX);
    u->pid = u32_of(c);
    u->memory_mib = u32_of(c);
    cursor_text(c, u->reason, sizeof u->reason);
    u->address_count = cursor_array(c, 2 * UNIT_ADDRESSES_MAX) / 2;
    for (uint32_t i = 0; i < u->address_count && !c->err; i++) {
        cursor_text(c, u->addresses[i].network, sizeof u->addresses[i].network);
        cursor_fixed(c, u->addresses[i].ip.b, sizeof u->addresses[i].ip.b);
    }
}

static uint32_t users_listed(const struct control_image *i)
{
    return i->user_count < CONTROL_USERS_MAX ? i->user_count : CONTROL_USERS_MAX;
}

static void image_encode(const struct control_image *i, struct pack *k)
{
    pack_hash(k, &i->image);
    pack_uint(k, i->size_bytes);
    pack_uint(k, i->user_count);
    pack_array(k, users_listed(i));
    for (uint32_t n = 0; n < users_listed(i); n++)
        pack_clean(k, i->users[n]);
}

static void image_decode(struct cursor *c, struct control_image *i)
{
    cursor_fixed(c, i->image.b, sizeof i->image.b);
    i->size_bytes = cursor_uint(c, UINT64_MAX);
    i->user_count = u32_of(c);
    uint32_t n = cursor_array(c, CONTROL_USERS_MAX);
    if (n != users_listed(i))
        cursor_fail(c, ERR_INVALID);
    for (uint32_t at = 0; at < n; at++)
        cursor_text(c, i->users[at], sizeof i->users[at]);
}

static void volume_encode(const struct control_volume *v, struct pack *k)
{
    pack_uint(k, v->node);
    pack_clean(k, v->node_name);
    unit_id_encode(&v->id, k);
    pack_clean(k, v->app);
    pack_clean(k, v->device);
    pack_uint(k, v->size_bytes);
    pack_uint(k, v->disk_bytes);
    pack_bool(k, v->held);
    pack_uint(k, v->use);
}

static void volume_decode(struct cursor *c, struct control_volume *v)
{
    v->node = cursor_uint(c, UINT64_MAX);
    cursor_text(c, v->node_name, sizeof v->node_name);
    unit_id_decode(c, &v->id);
    cursor_text(c, v->app, sizeof v->app);
    cursor_text(c, v->device, sizeof v->device);
    v->size_bytes = cursor_uint(c, UINT64_MAX);
    v->disk_bytes = cursor_uint(c, UINT64_MAX);
    v->held = cursor_bool(c);
    v->use = (enum volume_use)cursor_uint(c, VOLUME_USE_WANTED);
}

static void usage_encode(const struct control_usage *u, struct pack *k)
{
    pack_clean(k, u->app);
    pack_uint(k, u->slot);
    pack_uint(k, u->pid);
    pack_uint(k, u->memory_mib);
    pack_uint(k, u->at_ms);
    pack_uint(k, u->cpu_ms);
    pack_uint(k, u->rss_kib);
    pack_uint(k, u->in_bytes);
    pack_uint(k, u->in_packets);
    pack_uint(k, u->out_bytes);
    pack_uint(k, u->out_packets);
}

static void usage_decode(struct cursor *c, struct control_usage *u)
{
    cursor_text(c, u->app, sizeof u->app);
    u->slot = (uint16_t)cursor_uint(c, UINT16_MAX);
    u->pid = u32_of(c);
    u->memory_mib = u32_of(c);
    u->at_ms = cursor_uint(c, UINT64_MAX);
    u->cpu_ms = cursor_uint(c, UINT64_MAX);
    u->rss_kib = cursor_uint(c, UINT64_MAX);
    u->in_bytes = cursor_uint(c, UINT64_MAX);
    u->in_packets = cursor_uint(c, UINT64_MAX);
    u->out_bytes = cursor_uint(c, UINT64_MAX);
    u->out_packets = cursor_uint(c, UINT64_MAX);
}

static void output_encode(const struct control_output *o, struct pack *k)
{
    pack_uid(k, &o->run.app);
    pack_uint(k, o->run.slot);
    pack_uint(k, o->run.epoch);
    pack_uint(k, o->node);
    pack_uint(k, o->offset);
    pack_uint(k, o->skipped);
    pack_bin(k, o->bytes.p, o->bytes.len);
}

static void output_decode(struct cursor *c, struct control_output *o)
{
    cursor_fixed(c, o->run.app.b, sizeof o->run.app.b);
    o->run.slot = (uint16_t)cursor_uint(c, UINT16_MAX);
    o->run.epoch = cursor_uint(c, UINT64_MAX);
    o->node = cursor_uint(c, UINT64_MAX);
    o->offset = cursor_uint(c, UINT64_MAX);
    o->skipped = cursor_uint(c, UINT64_MAX);
    o->bytes = cursor_bin(c, CONTROL_OUTPUT_MAX);
}

static void event_encode(const struct control_event *e, struct pack *k)
{
    pack_uint(k, e->seq);
    pack_uint(k, e->wall_ms);
    pack_uint(k, e->level);
    pack_clean(k, e->event);
    pack_clean(k, e->fields);
}

static void event_decode(struct cursor *c, struct control_event *e)
{
    e->seq = cursor_uint(c, UINT64_MAX);
    e->wall_ms = cursor_uint(c, UINT64_MAX);
    e->level = (enum log_level)cursor_uint(c, LOG_ERROR);
    cursor_text(c, e->event, sizeof e->event);
    cursor_text(c, e->fields, sizeof e->fields);
}

static void end_encode(const struct control_end *e, struct pack *k)
{
    pack_uint(k, e->err);
    pack_clean(k, e->text);
    pack_uid(k, &e->app);
    pack_uint(k, e->revision);
}

static void end_decode(struct cursor *c, struct control_end *e)
{
    e->err = (enum err)cursor_uint(c, UINT16_MAX);
    cursor_text(c, e->text, sizeof e->text);
    cursor_fixed(c, e->app.b, sizeof e->app.b);
    e->revision = u32_of(c);
}

/* ---- Messages ------------------------------------------------------------------------------ */

/* How many fields a type has, beside version and type. 0xff: there is no such type. */
static uint32_t fields_of(uint64_t type)
{
    static const uint8_t requests[] = {0xff, 0, 0, 0, 1, 1, 5, 9, 2, 2, 0, 4, 2, 0, 0, 7, 2, 0};
    static const uint8_t answers[] = {3, 17, 12, 19, 4, 2, 7, 5, 4, 2, 11, 11};
    if (type < sizeof requests)
        return requests[type];
    if (type >= CONTROL_ABOUT && type - CONTROL_ABOUT < sizeof answers)
        return answers[type - CONTROL_ABOUT];
    return 0xff;
}

static void fields_encode(const struct control_message *m, struct pack *k)
{
    switch (m->type) {
    case CONTROL_HELLO:
    case CONTROL_MEMBERS:
    case CONTROL_APPS:
    case CONTROL_IMAGES:
    case CONTROL_COUNTERS:
    case CONTROL_VOLUMES:
    case CONTROL_TOP:
        break;
    case CONTROL_UNITS:
    case CONTROL_INSPECT:
        pack_clean(k, m->app);
        break;
    case CONTROL_DEPLOY:
        deploy_encode(&m->deploy, k);
        break;
    case CONTROL_COMMAND:
        command_encode(&m->command, k);
        break;
    case CONTROL_IMAGE_PUT:
        pack_hash(k, &m->image_put.image);
        pack_bin(k, m->image_put.list.p, m->image_put.list.len);
        break;
    case CONTROL_CHUNK:
        pack_uint(k, m->chunk.index);
        pack_bin(k, m->chunk.bytes.p, m->chunk.bytes.len);
        break;
    case CONTROL_LOGS:
        logs_encode(&m->logs, k);
        break;
    case CONTROL_EVENTS:
        pack_uint(k, m->events.count);
        pack_bool(k, m->events.follow);
        break;
    case CONTROL_ABOUT:
        pack_clean(k, m->about.version);
        pack_uint(k, m->about.node);
        pack_clean(k, m->about.name);
        break;
    case CONTROL_MEMBER:
        member_encode(&m->member, k);
        break;
    case CONTROL_APP:
        app_encode(&m->app_row, k);
        break;
    case CONTROL_UNIT:
        unit_encode(&m->unit, k);
        break;
    case CONTROL_IMAGE:
        image_encode(&m->image, k);
        break;
    case CONTROL_WANT:
        pack_uint(k, m->want.first);
        pack_uint(k, m->want.count);
        break;
    case CONTROL_OUTPUT:
        output_encode(&m->output, k);
        break;
    case CONTROL_EVENT:
        event_encode(&m->event, k);
        break;
    case CONTROL_END:
        end_encode(&m->end, k);
        break;
    case CONTROL_COUNTER:
        pack_clean(k, m->counter.name);
        pack_uint(k, m->counter.value);
        break;
    case CONTROL_VOLUME_ASK:
        volume_ask_encode(&m->volume_ask, k);
        break;
    case CONTROL_VOLUME_DATA:
        pack_uint(k, m->volume_data.offset);
        pack_bin(k, m->volume_data.bytes.p, m->volume_data.bytes.len);
        break;
    case CONTROL_VOLUME:
        volume_encode(&m->volume, k);
        break;
    case CONTROL_USAGE:
        usage_encode(&m->usage, k);
        break;
    }
}

enum err control_encode(const struct control_message *m, struct pack *k)
{
    CHECK(fields_of(m->type) != 0xff);
    if (k->err)
        return k->err;
    size_t before = k->len;
    static const uint8_t none[CONTROL_HEAD];
    pack_raw(k, none, sizeof none);
    pack_array(k, 2 + fields_of(m->type));
    pack_uint(k, CONTROL_VERSION);
    pack_uint(k, m->type);
    fields_encode(m, k);
    size_t len = k->len - before - CONTROL_HEAD;
    if (k->err || len > CONTROL_FRAME_MAX) {
        k->err = ERR_OK;
        k->len = before;
        return ERR_TOO_LARGE;
    }
    for (unsigned i = 0; i < CONTROL_HEAD; i++)
        k->p[before + i] = (uint8_t)(len >> (8 * (CONTROL_HEAD - 1 - i)));
    return ERR_OK;
}

static void fields_decode(struct cursor *c, struct control_message *m)
{
    switch (m->type) {
    case CONTROL_HELLO:
    case CONTROL_MEMBERS:
    case CONTROL_APPS:
    case CONTROL_IMAGES:
    case CONTROL_COUNTERS:
    case CONTROL_VOLUMES:
    case CONTROL_TOP:
        break;
    case CONTROL_UNITS:
    case CONTROL_INSPECT:
        cursor_text(c, m->app, sizeof m->app);
        break;
    case CONTROL_DEPLOY:
        deploy_decode(c, &m->deploy);
        break;
    case CONTROL_COMMAND:
        command_decode(c, &m->command);
        break;
    case CONTROL_IMAGE_PUT:
        cursor_fixed(c, m->image_put.image.b, sizeof m->image_put.image.b);
        m->image_put.list = cursor_bin(c, IMAGE_LIST_BYTES_MAX);
        break;
    case CONTROL_CHUNK:
        m->chunk.index = (uint32_t)cursor_uint(c, IMAGE_CHUNKS_MAX - 1);
        m->chunk.bytes = cursor_bin(c, IMAGE_CHUNK);
        break;
    case CONTROL_LOGS:
        logs_decode(c, &m->logs);
        break;
    case CONTROL_EVENTS:
        m->events.count = u32_of(c);
        m->events.follow = cursor_bool(c);
        break;
    case CONTROL_ABOUT:
        cursor_text(c, m->about.version, sizeof m->about.version);
        m->about.node = cursor_uint(c, UINT64_MAX);
        cursor_text(c, m->about.name, sizeof m->about.name);
        break;
    case CONTROL_MEMBER:
        member_decode(c, &m->member);
        break;
    case CONTROL_APP:
        app_decode(c, &m->app_row);
        break;
    case CONTROL_UNIT:
        unit_decode(c, &m->unit);
        break;
    case CONTROL_IMAGE:
        image_decode(c, &m->image);
        break;
    case CONTROL_WANT:
        m->want.first = (uint32_t)cursor_uint(c, IMAGE_CHUNKS_MAX);
        m->want.count = (uint32_t)cursor_uint(c, IMAGE_CHUNKS_MAX);
        break;
    case CONTROL_OUTPUT:
        output_decode(c, &m->output);
        break;
    case CONTROL_EVENT:
        event_decode(c, &m->event);
        break;
    case CONTROL_END:
        end_decode(c, &m->end);
        break;
    case CONTROL_COUNTER:
        cursor_text(c, m->counter.name, sizeof m->counter.name);
        m->counter.value = cursor_uint(c, UINT64_MAX);
        break;
    case CONTROL_VOLUME_ASK:
        volume_ask_decode(c, &m->volume_ask);
        break;
    case CONTROL_VOLUME_DATA:
        m->volume_data.offset = cursor_uint(c, INT64_MAX);
        m->volume_data.bytes = cursor_bin(c, IMAGE_CHUNK);
        break;
    case CONTROL_VOLUME:
        volume_decode(c, &m->volume);
        break;
    case CONTROL_USAGE:
        usage_decode(c, &m->usage);
        break;
    }
}

enum err control_decode(const void *p, size_t len, struct control_message *out)
{
    struct cursor c;
    cursor_init(&c, p, len);
    memset(out, 0, sizeof *out);
    uint32_t more = cursor_array_from(&c, 2);
    uint64_t version = cursor_uint(&c, UINT64_MAX);
    uint64_t type = cursor_uint(&c, UINT32_MAX);
    if (!c.err && version != CONTROL_VERSION)
        return ERR_UNSUPPORTED;
    uint32_t fields = fields_of(type);
    if (!c.err && fields == 0xff)
        return ERR_UNSUPPORTED;
    if (c.err || more < fields)
        return c.err ? c.err : ERR_INVALID;
    out->type = (enum control_type)type;
    fields_decode(&c, out);
    cursor_skip_n(&c, more - fields);
    return cursor_end(&c);
}

enum err control_length(const uint8_t head[static CONTROL_HEAD], size_t *len)
{
    size_t n = 0;
    for (unsigned i = 0; i < CONTROL_HEAD; i++)
        n = n << 8 | head[i];
    if (n == 0 || n > CONTROL_FRAME_MAX)
        return ERR_TOO_LARGE;
    *len = n;
    return ERR_OK;
}

struct control_message control_end(enum err err, const char *format, ...)
{
    struct control_message m = {.type = CONTROL_END};
    va_list ap;
    m.end.err = err;
    va_start(ap, format);
    vsnprintf(m.end.text, sizeof m.end.text, format, ap);
    va_end(ap);
    return m;
}
