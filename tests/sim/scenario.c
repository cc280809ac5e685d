#include "tests/sim/scenario_internal.h"

#include <stdlib.h>
#include <string.h>

enum {
    CALM_MS = 6000, /* the mesh forms */
    DISK_FAULT_MS = 5000, /* at most */
    NETWORKED_HOSTS_MAX = 20
};

static struct host *host_by_chance(struct scenario *s)
{
    return &s->w->hosts[rng_below(s->rng, s->w->host_count)];
}

/* A host whose daemon runs; NULL: none found. */
static struct host *running_host(struct scenario *s)
{
    for (int i = 0; i < 20; i++) {
        struct host *h = host_by_chance(s);
        if (host_runs(s->w, h))
            return h;
    }
    return NULL;
}

/* ---- Networks --------------------------------------------------------------------------------------- */

bool scenario_has_networks(const struct scenario *s)
{
    return s->cfg->hosts <= NETWORKED_HOSTS_MAX;
}

static void make_network(struct scenario *s)
{
    char why[128];
    s->w->scarce = rng_below(&s->net_rng, 8) == 0;
    const char *words = s->w->scarce ? SIM_NETWORK_SCARCE : s->cfg->hosts <= 10 ? SIM_NETWORK_NARROW : SIM_NETWORK_WIDE;
    CHECK(networks_add(&s->networks, SIM_NETWORK, words, why, sizeof why) == ERR_OK);
}

/* Bridges go and come back. */
static void networks_change(struct scenario *s)
{
    struct host *h = &s->w->hosts[rng_below(&s->net_rng, s->w->host_count)];
    if (h->index % 3 != 1 && rng_below(&s->net_rng, 30) == 0)
        host_wire(s->w, h, !h->wired);
}

/* ---- Hosts ------------------------------------------------------------------------------------------ */

void scenario_host_make(struct scenario *s)
{
    static const char *const zones[] = {"attic", "cellar", "shed"};
    struct engine_config cfg = engine_config_default();
    snprintf(cfg.name, sizeof cfg.name, "host%u", s->w->host_count);
    cfg.capacity_mib = (uint32_t)(256u << rng_below(s->rng, 4));
    cfg.away_ms = 10000;
    cfg.orphan_ms = 60000;
    cfg.backoff_max_ms = 5000;
    cfg.lonely = s->w->host_count == 0;
    cfg.bugs = s->cfg->bugs;
    cfg.labels.count = 1;
    snprintf(cfg.labels.v[0].key, sizeof cfg.labels.v[0].key, "zone");
    snprintf(cfg.labels.v[0].value, sizeof cfg.labels.v[0].value, "%s", zones[s->w->host_count % 3]);
    cfg.networks = scenario_has_networks(s) ? &s->networks : NULL;
    struct host *h = world_add_host(s->w, &cfg);
    h->wired = scenario_has_networks(s) && h->index % 3 != 1;
    s->back_ms[h->index] = s->w->now + rng_below(s->rng, 2000);
}

void scenario_hosts_back(struct scenario *s)
{
    for (uint32_t i = 0; i < s->w->host_count; i++) {
        struct host *h = &s->w->hosts[i];
        if (!h->engine && !h->gone && s->back_ms[i] && s->w->now >= s->back_ms[i]) {
            s->back_ms[i] = 0;
            host_start(s->w, h);
        }
        if (!h->engine && !h->gone && !s->back_ms[i])
            s->back_ms[i] = s->w->now + 500 + rng_below(s->rng, 15000); /* its daemon ended by itself */
    }
}

/* ---- Commands --------------------------------------------------------------------------------------- */

/* Those that can keep what it is told: who is about to leave takes its disk along. */
static uint32_t alive(const struct host *h, uint64_t now)
{
    uint32_t n = 1;
    size_t i = 0;
    struct node_body body;
    for (const struct member *m; (m = swim_next(engine_members(h->engine), &i));)
        n += m->state == MEMBER_ALIVE && m->away_until_ms <= now &&
             (engine_node(h->engine, m->node, &body) || !(body.flags & NODE_DRAINING));
    return n;
}

void scenario_command(struct scenario *s, struct host *h, struct command *c)
{
    struct open_command *o = &s->open[++s->clients % COMMANDS_OPEN_MAX];
    uint32_t live = alive(h, s->w->now), want = c->ack == ACK_DEFAULT ? 3 : c->ack;
    *o = (struct open_command){.client = s->clients, .kind = c->kind, .host = h->index,
                                .need = live < want ? live : want, .at_ms = s->w->now};
    struct event ev = {.kind = EVENT_COMMAND, .id = s->clients, .command = *c};
    s->w->total.commands++;
    host_step(s->w, h, &ev);
}

/* All else was handed over, or it would have said that instead. */
static bool only_volumes_stay(const struct effect_reply *r)
{
    return r->err == ERR_PARTIAL && strstr(r->text, "volumes stay") != NULL;
}

static void on_reply(struct world *w, uint64_t client, const struct effect_reply *r)
{
    struct scenario *s = w->scenario;
    struct open_command *o = &s->open[client % COMMANDS_OPEN_MAX];
    if (o->client != client)
        return;
    o->client = 0;
    s->reply.client = client;
    bool volumes = o->kind == COMMAND_LEAVE && only_volumes_stay(r);
    s->reply.err = volumes ? ERR_OK : r->err;
    s->reply.app = r->app;
    if (volumes && !w->hosts[o->host].volumes)
        world_fail(w, "host %u leaves, and says that volumes stay that it hasn't", o->host);
    if (r->err == ERR_PARTIAL && o->kind == COMMAND_LEAVE && !volumes)
        check_disk_lost(s->check, &w->hosts[o->host]); /* it said so */
    if (r->err) {
        w->total.refused_commands++;
        return;
    }
    w->total.acknowledged++;
    if (o->kind == COMMAND_DEPLOY)
        check_acknowledged(s->check, &w->hosts[o->host], &r->app, r->revision, o->need, o->at_ms);
    else if (o->kind == COMMAND_REMOVE)
        check_removed(s->check, &r->app);
}

struct app *scenario_app_make(struct scenario *s)
{
    static const uint32_t sizes[] = {16, 32, 32, 64, 64, 128, 4096};
    struct app *a = &s->apps[s->app_count++];
    struct spec_body *spec = &a->spec;
    snprintf(a->name, sizeof a->name, "app%u", s->app_count);
    memcpy(spec->name, a->name, sizeof spec->name);
    for (size_t i = 0; i < sizeof a->image.b; i++)
        a->image.b[i] = (uint8_t)rng_u64(s->rng);
    spec->image_count = 1;
    spec->images[0] = (struct image_ref){
        .target = rng_below(s->rng, 2) ? TARGET_SPT : TARGET_VIRTIO,
        .image = a->image,
        .size_bytes = 100000,
    };
    spec->memory_mib = sizes[rng_below(s->rng, s->app_count % 20 ? 6 : 7)];
    spec->restart = (enum restart_mode)rng_below(s->rng, 3);
    if (scenario_has_networks(s) && rng_below(&s->net_rng, 4) == 0) {
        spec->net_count = 1;
        spec->nets[0] = (struct net_ref){"service", SIM_NETWORK};
        if (s->app_count > 1 && rng_below(&s->net_rng, 2)) { /* it lets another in, which may have a net or not */
            struct peer_ref *p = &spec->access.peers[spec->access.peer_count++];
            p->kind = PEER_APP;
            snprintf(p->name, sizeof p->name, "app%u", 1 + (uint32_t)rng_below(&s->net_rng, s->app_count));
        }
    }
    if (scenario_has_networks(s) && rng_below(&s->volume_rng, 4) == 0) {
        spec->block_count = 1;
        spec->blocks[0] = (struct block_ref){"storage", 64, 512, 0};
        spec->volume_lost = rng_below(&s->volume_rng, 3) ? VOLUME_LOST_WAIT : VOLUME_LOST_EMPTY;
    }
    if (rng_below(s->rng, 5) == 0) {
        spec->require.count = 1;
        snprintf(spec->require.v[0].key, sizeof spec->require.v[0].key, "zone");
        snprintf(spec->require.v[0].value, sizeof spec->require.v[0].value, "attic");
    }
    return a;
}

void scenario_deploy(struct scenario *s, struct app *a)
{
    static const char *const args[] = {"--hello=world", "--verbose"};
    struct host *h = running_host(s);
    if (!h)
        return;
    host_give_image(s->w, h, &a->image, a->spec.images[0].size_bytes);
    struct command c = {
        .kind = COMMAND_DEPLOY,
        .spec = &a->spec,
        .args = args,
        .args_count = 2,
        .replicas = a->deployed ? REPLICAS_KEEP : 1 + (uint32_t)rng_below(s->rng, 3),
    };
    a->deployed = true;
    if (h->engine)
        scenario_command(s, h, &c);
}

static void command_by_chance(struct scenario *s)
{
    struct host *h = running_host(s);
    struct app *a = s->app_count ? &s->apps[rng_below(s->rng, s->app_count)] : NULL;
    if (!h || !a)
        return;
    struct command c = {.app = a->name, .replicas = (uint32_t)rng_below(s->rng, 5)};
    switch (rng_below(s->rng, 12)) {
    case 0:
        c.kind = COMMAND_REMOVE;
        break;
    case 1:
        c.kind = COMMAND_STOP;
        break;
    case 2:
    case 3:
    case 4:
        c.kind = COMMAND_START;
        break;
    case 5:
    case 6:
    case 7:
        c.kind = a->spec.block_count > 0 ? COMMAND_VOLUME_MOVE : COMMAND_MOVE;
        c.slot = (uint16_t)rng_below(s->rng, 3);
        break;
    case 8:
    case 9:
        c.kind = COMMAND_SCALE;
        break;
    default:
        scenario_deploy(s, a);
        return;
    }
    scenario_command(s, h, &c);
}

/* ---- Fate ------------------------------------------------------------------------------------------- */

static void partition(struct scenario *s)
{
    uint32_t sides = 2 + (uint32_t)rng_below(s->rng, 2);
    for (uint32_t i = 0; i < s->w->host_count; i++)
        s->w->hosts[i].side = (uint32_t)rng_below(s->rng, sides);
    s->heal_ms = s->w->now + 2000 + rng_below(s->rng, 25000);
    s->w->total.partitions++;
    world_note(s->w, "partition into %u", sides);
}

void scenario_heal(struct scenario *s)
{
    for (uint32_t i = 0; i < s->w->host_count; i++)
        s->w->hosts[i].side = 0;
    s->heal_ms = 0;
    world_note(s->w, "healed");
}

void scenario_leave(struct scenario *s, struct host *h)
{
    struct command c = {.kind = COMMAND_LEAVE};
    s->left++;
    s->leave_ms[h->index] = s->w->now;
    s->w->total.leaves++;
    scenario_command(s, h, &c);
}

/* Its links, its disk or its store ail for a while. */
static void ail(struct scenario *s, struct host *h, uint64_t ms)
{
    s->well_ms[h->index] = s->w->now + ms;
    switch (rng_below(s->rng, 4)) {
    case 0:
        h->mute = true;
        s->w->total.half_links++;
        break;
    case 1:
        h->deaf = true;
        s->w->total.half_links++;
        break;
    case 2:
        h->commit_max_ms = 50 + (uint32_t)rng_below(s->rng, 1500);
        break;
    default:
        engine_store_fill(h->engine, 900);
        s->w->total.read_onlys++;
        break;
    }
}

static void well(struct scenario *s, struct host *h)
{
    s->well_ms[h->index] = 0;
    h->mute = h->deaf = false;
    h->commit_max_ms = COMMIT_MAX_MS;
    if (h->engine)
        engine_store_fill(h->engine, 100);
}

/* That version, or a later one. A later spec may know nothing of this one, which is acknowledged. */
static bool on_other_disks(const struct scenario *s, const struct host *h, const struct record_key *key)
{
    uint32_t copies = 0;
    struct record ours, r;
    if (!disk_find(h, key, &ours))
        return false;
    for (uint32_t i = 0; i < s->w->host_count; i++) {
        const struct host *o = &s->w->hosts[i];
        int order = o != h && !o->gone && disk_find(o, key, &r) ? version_compare(r.version, ours.version) : -1;
        copies += order == 0 || (order > 0 && key->kind != RECORD_SPEC);
    }
    return copies >= 2;
}

/* Bits flip: what a checksum finds out when the daemon starts next is as good as not there. */
static void lose_records(struct scenario *s, struct host *h)
{
    struct value *v, *next;
    HASH_ITER (hh, h->disk, v, next) {
        const struct record_key key = v->key;
        if (rng_below(s->rng, 20) == 0 && on_other_disks(s, h, &key))
            host_lose_record(s->w, h, &key);
    }
}

/* Down, and back with less than it had; or never. */
static void lose(struct scenario *s, struct host *h)
{
    uint64_t what = rng_below(s->rng, 3);
    if (s->w->host_count < 4 || s->lost > s->w->host_count / 10)
        return;
    s->lost++;
    if (rng_below(s->rng, 2))
        host_kill_daemon(s->w, h);
    else
        host_cut_power(s->w, h);
    s->back_ms[h->index] = s->w->now + 500 + rng_below(s->rng, 20000);
    if (what == 0) {
        check_records_lost(s->check, h);
        lose_records(s, h);
    } else if (what == 1 || h->index < 2) {
        check_disk_lost(s->check, h);
        host_lose_records(s->w, h);
    } else {
        check_disk_lost(s->check, h);
        host_cut_power(s->w, h);
        h->gone = true;
        s->w->total.lost_hosts++;
    }
}

static void node_stop(struct scenario *s, struct host *h)
{
    struct command c = {.kind = COMMAND_NODE_STOP};
    s->w->total.node_stops++;
    scenario_command(s, h, &c);
}

static void disk_fails(struct scenario *s, struct host *h)
{
    h->disk_fails_until_ms = s->w->now + rng_below(s->rng, DISK_FAULT_MS);
    s->w->total.disk_faults++;
}

/* No world ends without a write that failed: one large one of a thousand drew no disk fault at all. */
static void disk_fails_at_last(struct scenario *s)
{
    struct host *h = s->w->total.failed_writes == 0 ? running_host(s) : NULL;
    if (h)
        disk_fails(s, h);
}

static void stroke(struct scenario *s)
{
    struct host *h = running_host(s);
    if (!h)
        return;
    uint64_t *back = &s->back_ms[h->index];
    switch (rng_below(s->rng, 32)) {
    case 0:
    case 1:
    case 2:
        host_kill_daemon(s->w, h);
        *back = s->w->now + 200 + rng_below(s->rng, rng_below(s->rng, 2) ? 1000 : 30000);
        break;
    case 3:
    case 4:
        host_cut_power(s->w, h);
        *back = s->w->now + 1000 + rng_below(s->rng, 40000);
        break;
    case 5:
        if (!s->heal_ms)
            partition(s);
        break;
    case 6:
        disk_fails(s, h);
        break;
    case 7: {
        struct event ev = {.kind = EVENT_STOPPING};
        s->w->total.aways++;
        host_step(s->w, h, &ev);
        break;
    }
    case 8:
        if (s->left < s->w->host_count / 10 && h->index >= 2)
            scenario_leave(s, h);
        break;
    case 9:
    case 10:
        s->w->loss_permille = (uint32_t)rng_below(s->rng, 150);
        s->w->delay_max_ms = 2 + (uint32_t)rng_below(s->rng, 30);
        break;
    case 11:
    case 12:
        h->paused_until_ms = s->w->now + 300 + rng_below(s->rng, rng_below(s->rng, 2) ? 3000 : 40000);
        if (h->paused_until_ms > s->peace_ms)
            h->paused_until_ms = s->peace_ms;
        s->w->total.pauses++;
        world_note(s->w, "host %u: stands still", h->index);
        break;
    case 13:
    case 14:
        ail(s, h, 500 + rng_below(s->rng, 15000));
        break;
    case 15:
        h->skew_ms = (int64_t)rng_below(s->rng, 40001) - 20000;
        s->w->total.clock_steps++;
        break;
    case 16:
        node_stop(s, h);
        break;
    case 17:
        lose(s, h);
        break;
    default:
        break; /* most of the time nothing happens */
    }
}

static bool known_left(const struct world *w, const struct host *h)
{
    for (uint32_t i = 0; i < w->host_count; i++) {
        const struct host *o = &w->hosts[i];
        const struct member *m = o->engine ? swim_find(engine_members(o->engine), h->use->node) : NULL;
        if (m && m->state == MEMBER_LEFT)
            return true;
    }
    return false;
}

/* One whose daemon was killed as it left is back, and may go away for a while later: somebody who was cut off since
 * knows it as one that left, and still it comes back. */
void scenario_hosts_gone(struct scenario *s)
{
    for (uint32_t i = 0; i < s->w->host_count; i++) {
        struct host *h = &s->w->hosts[i];
        if (h->gone || !h->left || !known_left(s->w, h))
            continue;
        h->gone = true;
        check_left(s->check, h, s->leave_ms[i]);
    }
}

static void chaos(struct scenario *s)
{
    struct world *w = s->w;
    uint64_t end = s->peace_ms = w->now + s->cfg->chaos_ms;
    uint64_t deploys = (uint64_t)s->cfg->apps * TICK_MS;
    uint64_t owed = 0;
    w->loss_permille = 20;
    w->duplicate_permille = 20;
    w->corrupt_permille = 2;
    w->replay_permille = 5;
    w->guest_exits_permille = 100;
    w->guest_fails_permille = 50;
    w->fetch_fails_permille = 50;
    while (w->now < end && !w->failed) {
        world_run_until(w, w->now + TICK_MS);
        owed += deploys;
        for (; owed >= s->cfg->chaos_ms / 2 && s->app_count < s->cfg->apps; owed -= s->cfg->chaos_ms / 2)
            scenario_deploy(s, scenario_app_make(s));
        if (rng_below(s->rng, 3) == 0)
            command_by_chance(s);
        if (rng_below(s->rng, 100) < 20 + s->cfg->hosts * 2 / 3)
            stroke(s);
        if (scenario_has_networks(s))
            networks_change(s);
        if (w->now + 2 * DISK_FAULT_MS >= end)
            disk_fails_at_last(s);
        if (s->heal_ms && w->now >= s->heal_ms)
            scenario_heal(s);
        for (uint32_t i = 0; i < w->host_count; i++)
            if (s->well_ms[i] && w->now >= s->well_ms[i])
                well(s, &w->hosts[i]);
        scenario_hosts_gone(s);
        scenario_hosts_back(s);
    }
}

/* ---- Afterwards ------------------------------------------------------------------------------------- */

static void peace(struct scenario *s)
{
    struct world *w = s->w;
    scenario_heal(s);
    w->loss_permille = w->corrupt_permille = w->replay_permille = w->duplicate_permille = 0;
    w->guest_exits_permille = w->guest_fails_permille = w->fetch_fails_permille = 0;
    w->delay_max_ms = 3;
    scenario_hosts_gone(s);
    for (uint32_t i = 0; i < w->host_count; i++) {
        struct host *h = &w->hosts[i];
        h->disk_fails_until_ms = 0;
        well(s, h);
        host_wire(w, h, scenario_has_networks(s) && i % 3 != 1);
        s->back_ms[i] = 0;
        if (!h->engine && !h->gone)
            host_start(w, h);
    }
}

struct world *scenario_run(const struct scenario_config *cfg)
{
    struct world *w = world_new(cfg->seed, cfg->hosts + 8);
    struct scenario *s = calloc(1, sizeof *s);
    CHECK(s && cfg->apps <= APPS_MAX && cfg->hosts + 8 <= HOSTS_MAX);
    w->verbose = cfg->verbose;
    s->w = w;
    s->cfg = cfg;
    s->rng = &w->rng;
    rng_fork(&s->net_rng, &w->rng, "networks");
    rng_fork(&s->volume_rng, &w->rng, "volumes");
    make_network(s);
    s->check = check_new(w);
    w->scenario = s;
    w->on_reply = on_reply;
    for (uint32_t i = 0; i < cfg->hosts; i++)
        scenario_host_make(s);
    while (w->now < CALM_MS && !w->failed) {
        world_run_until(w, w->now + TICK_MS);
        scenario_hosts_back(s);
    }
    chaos(s);
    if (!w->failed)
        peace(s);
    quiet_questions(s);
    w->on_effect = NULL;
    w->on_step = NULL;
    w->on_reply = NULL;
    check_free(s->check);
    free(s);
    w->check = NULL;
    w->scenario = NULL;
    return w;
}
