#include "node/engine_internal.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

struct engine_config engine_config_default(void)
{
    return (struct engine_config){
        .capacity_mib = 512,
        .cpus = 1,
        .arch = "x86_64",
        .swim = swim_config_default(),
        .replica = replica_config_default(),
        .gossip_interval_ms = 100,
        .gossip_fanout = 3,
        .sync_interval_ms = 2000,
        .notary_delay_ms = 600,
        .boot_wait_ms = 10000,
        .stable_ms = 30000,
        .offer_retry_ms = 250,
        .guest_deadline_ms = 20000,
        .away_ms = 60000,
        .orphan_ms = 600000,
        .backoff_min_ms = 1000,
        .backoff_max_ms = 60000,
        .backoff_reset_ms = 60000,
        .copies = 3,
        .read_only_permille = 800,
    };
}

static enum err sign(void *ctx, const char *label, const void *p, size_t len,
                     uint8_t signature[static SIGNATURE_SIZE])
{
    const struct engine *e = ctx;
    return e->crypto->sign(e->crypto->ctx, label, p, len, signature);
}

enum err engine_new(struct engine **out, struct mem *mem, const struct crypto *crypto,
                    const struct engine_config *cfg, uint64_t seed, uint64_t mono_ms, uint64_t wall_ms)
{
    struct engine *e = mem_alloc(mem, sizeof *e);
    if (!e)
        return ERR_NOMEM;
    e->mem = mem;
    e->crypto = crypto;
    e->cfg = *cfg;
    e->now = e->started_ms = mono_ms;
    e->wall = wall_ms;
    e->membership_changed_ms = mono_ms;
    e->units_next_ms = e->plan_next_ms = e->faults_ms = UINT64_MAX;
    rng_init(&e->root, seed);
    rng_fork(&e->rng, &e->root, "engine");
    e->signer = (struct signer){.ctx = e, .node = crypto->node, .sign = sign};
    memcpy(e->signer.public_key, crypto->public_key, sizeof e->signer.public_key);
    enum err err = swim_new(&e->swim, mem, crypto, &cfg->swim, &e->root);
    if (!err)
        err = replica_new(&e->replica, mem, crypto, &cfg->replica);
    if (err) {
        engine_free(e);
        return err;
    }
    self_init(e);
    *out = e;
    return ERR_OK;
}

#define FREE_ALL(type, head)                                                                       \
    do {                                                                                           \
        type *each_ = (head);                                                                      \
        while (each_) {                                                                            \
            type *next_ = each_->hh.next;                                                          \
            HASH_DEL(head, each_);                                                                 \
            mem_free(mem, each_);                                                                  \
            each_ = next_;                                                                         \
        }                                                                                          \
    } while (0)

void engine_free(struct engine *e)
{
    if (!e)
        return;
    struct mem *mem = e->mem;
    for (struct app *a = e->apps; a; a = a->hh.next)
        mem_free(mem, a->slots);
    for (size_t i = 0; i < COMMANDS_MAX; i++)
        for (uint32_t j = 0; j < e->commands[i].undo_count; j++)
            mem_free(mem, e->commands[i].undo[j].bytes);
    FREE_ALL(struct app, e->apps);
    FREE_ALL(struct unit, e->units);
    FREE_ALL(struct image, e->images);
    FREE_ALL(struct peer, e->peers);
    mem_free(mem, e->unsynced);
    mem_free(mem, e->candidates);
    mem_free(mem, e->alive);
    mem_free(mem, e->passed);
    mem_free(mem, e->volumes);
    if (e->swim)
        swim_free(e->swim);
    if (e->replica)
        replica_free(e->replica);
    mem_free(mem, e);
}

void engine_load(struct engine *e, const void *bytes, size_t len)
{
    enum err err = records_merge(e, bytes, len, ORIGIN_DISK);
    (void)err; /* counted: the peers have it */
    e->disk_members = swim_count(e->swim, MEMBER_ALIVE) + swim_count(e->swim, MEMBER_SUSPECT);
}

/* ---- The step ------------------------------------------------------------------------------------ */

static void dispatch(struct engine *e, const struct event *ev)
{
    switch (ev->kind) {
    case EVENT_TICK:
        break;
    case EVENT_DATAGRAM:
        peers_on_datagram(e, ev);
        break;
    case EVENT_CALL:
        sync_on_call(e, ev);
        break;
    case EVENT_ANSWER:
        sync_on_answer(e, ev);
        break;
    case EVENT_WRITTEN:
        records_on_written(e, ev->seq, ev->err);
        break;
    case EVENT_UNIT_FOUND:
        units_on_found(e, ev);
        break;
    case EVENT_UNIT_STARTED:
        units_on_started(e, ev);
        break;
    case EVENT_UNIT_ENDED:
        units_on_ended(e, ev);
        break;
    case EVENT_VOLUME:
        volumes_on_event(e, ev);
        break;
    case EVENT_VOLUME_FETCHED:
        carry_on_event(e, ev);
        break;
    case EVENT_IMAGE:
        units_on_image(e, ev);
        break;
    case EVENT_HOST:
        self_on_host(e, ev->host);
        break;
    case EVENT_JOIN:
        sync_on_join(e, &ev->address);
        break;
    case EVENT_COMMAND:
        commands_on_command(e, ev->id, &ev->command);
        break;
    case EVENT_STOPPING:
        self_stop(e, STOP_AWAY, 0);
        break;
    }
}

/* placement.md, rule 3: what runs is adopted at once; the rest waits until we have synced with a peer, or for
 * so long that there seems to be none. */
static void become_ready(struct engine *e)
{
    bool alone = e->cfg.lonely && e->disk_members == 0;
    if (e->ready || !e->scanned ||
        !(e->synced || alone || e->now >= e->started_ms + e->cfg.boot_wait_ms))
        return;
    e->ready = true;
    if (e->synced && e->disk_members > 0)
        planner_returned(e);
    effects_log(e->fx, LOG_INFO, "mesh.ready", "synced=%d members=%u", e->synced,
                peers_known_count(e));
    planner_all(e);
    units_dirty(e);
}

void engine_step(struct engine *e, const struct event *ev, struct effects *out)
{
    e->fx = out;
    e->now = ev->mono_ms > e->now ? ev->mono_ms : e->now;
    e->wall = ev->wall_ms;
    bool scanning = ev->kind == EVENT_UNIT_FOUND || ev->kind == EVENT_UNIT_ENDED;
    if (!scanning && !e->scanned) {
        units_scanned(e);
        images_announce(e);
    }
    dispatch(e, ev);
    if (e->scanned) {
        become_ready(e);
        peers_tick(e);
        sync_tick(e);
        records_tick(e);
        commands_tick(e);
        apps_refresh(e);
        planner_tick(e);
        units_tick(e);
        self_tick(e);
    }
    e->fx = NULL;
}

uint64_t engine_deadline_ms(const struct engine *e)
{
    uint64_t at = e->ready ? UINT64_MAX : e->started_ms + e->cfg.boot_wait_ms;
    at = min_u64(at, peers_deadline(e));
    at = min_u64(at, sync_deadline(e));
    at = min_u64(at, records_deadline(e));
    at = min_u64(at, commands_deadline(e));
    at = min_u64(at, planner_deadline(e));
    at = min_u64(at, units_deadline(e));
    return min_u64(at, self_deadline(e));
}

/* The write that failed, and the writes that fill the map, both make a node take no more units. */
void engine_store_fill(struct engine *e, uint32_t permille)
{
    e->store_permille = permille;
    self_read_only(e);
}

/* ---- What can be read ---------------------------------------------------------------------------- */

node_id engine_self(const struct engine *e)
{
    return e->crypto->node;
}

const struct swim *engine_members(const struct engine *e)
{
    return e->swim;
}

const struct replica *engine_records(const struct engine *e)
{
    return e->replica;
}

const struct mem *engine_mem(const struct engine *e)
{
    return e->mem;
}

const struct engine_counters *engine_counters(const struct engine *e)
{
    return &e->count;
}

bool engine_synced(const struct engine *e)
{
    return e->synced;
}

uint32_t engine_reserved_mib(const struct engine *e)
{
    return e->reserved_mib;
}

enum err engine_node(const struct engine *e, node_id node, struct node_body *out)
{
    if (node == e->crypto->node) {
        *out = e->self;
        out->used_mib = e->reserved_mib;
        out->room_seq = e->room_seq;
        return ERR_OK;
    }
    const struct record_key key = record_key_node(node);
    const struct entry *entry = replica_find(e->replica, &key);
    return entry ? node_body_decode(entry->record.body, out) : ERR_NOT_FOUND;
}

bool engine_name_conflict(const struct engine *e, node_id node)
{
    struct node_body ours, other;
    if (engine_node(e, node, &ours))
        return false;
    if (node != e->crypto->node && strcmp(e->self.name, ours.name) == 0)
        return true;
    for (const struct peer *p = e->peers; p; p = p->hh.next)
        if (p->node != node && peer_live(e, p->node) && !engine_node(e, p->node, &other) &&
            strcmp(other.name, ours.name) == 0)
            return true;
    return false;
}

enum { HEX_PREFIX_MIN = 4 };

static bool node_matches(const struct engine *e, node_id node, const char *name)
{
    struct node_body n;
    char id[NODE_ID_TEXT];
    node_id_text(node, id);
    size_t len = strlen(name);
    if (len >= HEX_PREFIX_MIN && len < NODE_ID_TEXT && strncmp(id, name, len) == 0)
        return true;
    return !engine_node(e, node, &n) && strcmp(n.name, name) == 0;
}

enum err engine_find_node(const struct engine *e, const char *name, node_id *out)
{
    uint32_t found = 0;
    if (node_matches(e, e->crypto->node, name)) {
        *out = e->crypto->node;
        found++;
    }
    for (const struct peer *p = e->peers; p; p = p->hh.next) {
        if (!peer_live(e, p->node) || !node_matches(e, p->node, name))
            continue;
        *out = p->node;
        found++;
    }
    return found == 0 ? ERR_NOT_FOUND : found == 1 ? ERR_OK : ERR_CONFLICT;
}

void engine_each_run(const struct engine *e, void (*visit)(void *ctx, const struct run_view *v), void *ctx)
{
    for (const struct unit *u = e->units; u; u = u->hh.next) {
        if (u->run == RUN_NONE || u->run == RUN_ENDED)
            continue;
        const struct run_view v = {
            .id = {.app = u->key.app, .slot = u->key.slot, .epoch = u->body.run},
            .owner = e->crypto->node,
            .pid = u->body.pid,
            .reserved_mib = u->reserved_mib,
        };
        visit(ctx, &v);
    }
}
