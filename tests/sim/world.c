#include "tests/sim/world_internal.h"

#include "store/base/bytes.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum {
    WALL_START_MS = 1700000000,
    CALL_REFUSED_MS = 5,
    COMMIT_MIN_MS = 1,
    SPIN_STEPS = 20000,
    REAL_CRYPTO_SEEDS = 50,
    REAL_CRYPTO_HOSTS = 20,
    EFFECT_SLOTS = EFFECTS_SIZE
};

struct pending_call {
    uint64_t id;       /* the world's: what the callee answers */
    uint64_t call;     /* the caller's */
    uint32_t caller, caller_life, callee;
    struct pending_call *next;
};

/* ---- Words --------------------------------------------------------------------------------------- */

void world_note(struct world *w, const char *format, ...)
{
    char *line = w->trace[w->trace_next++ % TRACE_LINES];
    int n = snprintf(line, TRACE_LINE, "%8llu.%03llu ", (unsigned long long)(w->now / 1000),
                     (unsigned long long)(w->now % 1000));
    va_list ap;
    va_start(ap, format);
    vsnprintf(line + n, (size_t)(TRACE_LINE - n), format, ap);
    va_end(ap);
    if (w->verbose)
        fprintf(stderr, "%s\n", line);
}

void world_fail(struct world *w, const char *format, ...)
{
    if (w->failed)
        return;
    w->failed = true;
    va_list ap;
    va_start(ap, format);
    vsnprintf(w->failure, sizeof w->failure, format, ap);
    va_end(ap);
    world_note(w, "FAILED: %s", w->failure);
}

static void trace(struct world *w, uint64_t v)
{
    w->trace_hash = mix64(w->trace_hash ^ v) + UINT64_C(0x9e3779b97f4a7c15);
}

/* ---- The heap of what is to come ------------------------------------------------------------------ */

struct heap_cell { /* with what decides the order, so that sifting touches no node */
    uint64_t at, order;
    struct event_node *node;
};

static bool before(const struct heap_cell *a, const struct heap_cell *b)
{
    return a->at != b->at ? a->at < b->at : a->order < b->order;
}

static void heap_push(struct world *w, struct event_node *n)
{
    if (w->heap_count == w->heap_size) {
        w->heap_size = w->heap_size ? 2 * w->heap_size : 1024;
        w->heap = realloc(w->heap, w->heap_size * sizeof *w->heap);
        CHECK(w->heap);
    }
    const struct heap_cell cell = {.at = n->at, .order = n->order, .node = n};
    size_t i = w->heap_count++;
    while (i > 0 && before(&cell, &w->heap[(i - 1) / 2])) {
        w->heap[i] = w->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    w->heap[i] = cell;
}

static struct event_node *heap_pop(struct world *w)
{
    struct event_node *top = w->heap[0].node;
    const struct heap_cell last = w->heap[--w->heap_count];
    size_t i = 0;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= w->heap_count)
            break;
        if (child + 1 < w->heap_count && before(&w->heap[child + 1], &w->heap[child]))
            child++;
        if (!before(&w->heap[child], &last))
            break;
        w->heap[i] = w->heap[child];
        i = child;
    }
    w->heap[i] = last;
    return top;
}

/* Nodes of up to a datagram are used again. */
static struct event_node *node_new(struct world *w, size_t len)
{
    struct event_node *n = w->spare;
    if (len > PACKET_SIZE_MAX) {
        n = malloc(sizeof *n + len);
    } else if (n) {
        w->spare = n->spare_next;
    } else {
        n = malloc(sizeof *n + PACKET_SIZE_MAX);
    }
    CHECK(n);
    memset(n, 0, sizeof *n);
    return n;
}

static void node_free(struct world *w, struct event_node *n)
{
    if (n->len > PACKET_SIZE_MAX) {
        free(n);
        return;
    }
    n->spare_next = w->spare;
    w->spare = n;
}

struct event_node *world_later(struct world *w, uint64_t in_ms, enum event_node_kind kind,
                                const struct host *h, const void *bytes, size_t len)
{
    struct event_node *n = node_new(w, len);
    n->at = w->now + in_ms;
    n->order = w->order++;
    n->kind = kind;
    n->host = h->index;
    n->life = h->life;
    n->len = len;
    if (len)
        memcpy(n->bytes, bytes, len);
    heap_push(w, n);
    return n;
}

/* ---- Hosts ---------------------------------------------------------------------------------------- */

struct world *world_new(uint64_t seed, uint32_t hosts_max)
{
    struct world *w = calloc(1, sizeof *w);
    CHECK(w && hosts_max <= HOSTS_MAX);
    w->seed = seed;
    w->hosts_max = hosts_max;
    struct rng root;
    rng_init(&root, seed);
    rng_fork(&w->rng, &root, "world");
    rng_fork(&w->net_rng, &root, "network");
    rng_fork(&w->guest_rng, &root, "guests");
    rng_fork(&w->volume_rng, &root, "volumes");
    w->hosts = calloc(hosts_max, sizeof *w->hosts);
    struct effect *v = calloc(EFFECT_SLOTS, sizeof *v);
    uint8_t *buffer = malloc(EFFECTS_BUFFER);
    CHECK(w->hosts && v && buffer);
    effects_init(&w->fx, v, EFFECT_SLOTS, buffer, EFFECTS_BUFFER);
    w->delay_min_ms = 1;
    w->delay_max_ms = 3;
    return w;
}

/* Keyed hashes stand in for crypto, but for one seed in REAL_CRYPTO_SEEDS of a small world, which has libsodium behind
 * it as the daemon has (in a large one its signatures take minutes). Keys come from the seed either way. */
static void crypto_begin(struct world *w, struct host *h)
{
    uint8_t seed[NODE_SEED_SIZE] = {0};
    struct mesh_keys keys = {.count = 1};
    h->use = &h->crypto.crypto;
    fake_crypto_init(&h->crypto, w->seed * 4096 + h->index + 1, w->seed);
    if (w->seed % REAL_CRYPTO_SEEDS != 0 || w->hosts_max > REAL_CRYPTO_HOSTS)
        return;
    bytes_put64(seed, w->seed);
    bytes_put64(seed + 8, h->index + 1);
    bytes_put64(keys.key[0], w->seed + 1);
    enum err err = node_crypto_new(&h->real, seed, &keys, "simulated");
    CHECK(!err);
    h->use = node_crypto_interface(h->real);
}

struct host *world_add_host(struct world *w, const struct engine_config *cfg)
{
    struct host *h = &w->hosts[w->host_count];
    h->index = w->host_count++;
    h->cfg = *cfg;
    crypto_begin(w, h);
    h->address = (struct address){.ip = {[10] = 0xff, [11] = 0xff, 10, 0, (uint8_t)(h->index >> 8), (uint8_t)h->index},
                                  .port = 7946};
    h->cfg.addresses[0] = h->address;
    h->cfg.address_count = 1;
    h->skew_ms = (int64_t)rng_below(&w->rng, 2001) - 1000;
    h->writes_end = &h->writes;
    h->commit_max_ms = COMMIT_MAX_MS;
    return h;
}

struct host *world_host_of(struct world *w, node_id node)
{
    for (uint32_t i = 0; i < w->host_count; i++)
        if (w->hosts[i].use->node == node)
            return &w->hosts[i];
    return NULL;
}

struct host *host_at(struct world *w, const struct address *a)
{
    uint32_t i = (uint32_t)a->ip[14] << 8 | a->ip[15];
    return i < w->host_count && address_equal(a, &w->hosts[i].address) ? &w->hosts[i] : NULL;
}

bool host_reaches(const struct host *from, const struct host *to)
{
    return from->powered && to->powered && from->side == to->side && !from->mute && !to->deaf;
}

bool hosts_talk(const struct host *a, const struct host *b)
{
    return host_reaches(a, b) && host_reaches(b, a);
}

bool host_runs(const struct world *w, const struct host *h)
{
    return h->engine && h->paused_until_ms <= w->now;
}

static uint64_t wall(const struct world *w, const struct host *h)
{
    return (uint64_t)((int64_t)(w->now + (uint64_t)WALL_START_MS * 1000) + h->skew_ms);
}

static void count(struct world *w, const struct host *h)
{
    const struct engine_counters *c = engine_counters(h->engine);
    w->total.takeovers += c->takeovers;
    w->total.offers_refused += c->offers_refused;
    w->total.surrogates += c->surrogates;
    w->total.overtaken += c->overtaken;
    w->total.restarts += c->restarts;
    w->total.refutations += c->refutations;
    w->total.deaths += c->deaths_seen;
    w->total.handovers += c->handovers;
    w->total.merged += c->records_merged;
    w->total.syncs += c->syncs;
}

static void daemon_free(struct world *w, struct host *h)
{
    if (!h->engine)
        return;
    count(w, h);
    engine_free(h->engine);
    h->engine = NULL;
    if (h->mem.used_bytes != 0)
        world_fail(w, "host %u: an engine that ended holds %zu bytes", h->index, h->mem.used_bytes);
    h->life++;
    h->timer_ms = 0;
    h->paused_until_ms = 0;
}

static void writes_drop(struct world *w, struct host *h)
{
    while (h->writes) {
        struct write *x = h->writes;
        h->writes = x->next;
        free(x->bytes);
        free(x);
        w->total.lost_writes++;
    }
    h->writes_end = &h->writes;
    h->committing = false;
}

void host_kill_daemon(struct world *w, struct host *h)
{
    if (!h->engine)
        return;
    world_note(w, "host %u: kill -9 of its daemon", h->index);
    w->total.daemon_crashes++;
    daemon_free(w, h);
    writes_drop(w, h); /* the store thread dies with it */
}

static void guests_free(struct host *h)
{
    while (h->guests) {
        struct guest *g = h->guests;
        h->guests = g->next;
        free(g);
    }
}

void host_cut_power(struct world *w, struct host *h)
{
    if (!h->powered)
        return;
    world_note(w, "host %u: power cut", h->index);
    w->total.power_cuts++;
    daemon_free(w, h);
    writes_drop(w, h);
    guests_free(h);
    h->powered = false;
}

/* Before all else a daemon looks at what runs, and at what has ended. */
static void found(struct world *w, struct host *h)
{
    size_t count = 0;
    for (const struct guest *g = h->guests; g; g = g->next)
        count++;
    struct unit_id *runs = calloc(count + 1, sizeof *runs);
    CHECK(runs);
    count = 0;
    for (const struct guest *g = h->guests; g; g = g->next)
        runs[count++] = g->run;
    for (size_t i = 0; i < count; i++) {
        const struct guest *g = guest_find(h, &runs[i]);
        CHECK(g); /* only its own end is told, and only that is forgotten */
        struct event ev = {
            .kind = g->state == GUEST_ENDED ? EVENT_UNIT_ENDED : EVENT_UNIT_FOUND,
            .unit = g->run,
            .pid = g->pid,
            .target = g->target,
            .end = g->end,
        };
        ev.end.text = g->end_text;
        host_step(w, h, &ev);
    }
    free(runs);
}

void host_start(struct world *w, struct host *h)
{
    if (h->engine || h->gone)
        return;
    h->powered = true;
    h->quit = h->left = false;
    h->paused_until_ms = 0;
    uint64_t at = wall(w, h);
    h->boot = h->boot + 1 > at ? h->boot + 1 : at;
    h->cfg.boot = h->boot;
    mem_init(&h->mem, 0);
    enum err err = engine_new(&h->engine, &h->mem, h->use, &h->cfg, rng_u64(&w->rng), w->now, at);
    CHECK(!err);
    world_note(w, "host %u: starts, boot %llu", h->index, (unsigned long long)h->boot);
    for (struct value *v = h->disk; v; v = v->hh.next)
        engine_load(h->engine, v->bytes, v->len);
    for (struct held *im = h->images; im; im = im->hh.next)
        engine_image(h->engine, &im->image, im->size_bytes);
    volumes_tell(h);
    found(w, h);
    world_later(w, 10 + rng_below(&w->guest_rng, 200), NODE_HOST, h, NULL, 0);
    for (uint32_t i = 0; i < 2 && i < w->host_count; i++) {
        struct event ev = {.kind = EVENT_JOIN, .address = w->hosts[i].address};
        if (i != h->index)
            host_step(w, h, &ev);
    }
    struct event ev = {.kind = EVENT_TICK};
    host_step(w, h, &ev);
}

/* ---- The network ---------------------------------------------------------------------------------- */

bool world_chance(struct rng *r, uint32_t permille)
{
    return permille > 0 && rng_below(r, 1000) < permille;
}

static uint64_t delay(struct world *w)
{
    return rng_between(&w->net_rng, w->delay_min_ms, w->delay_max_ms);
}

static void send_datagram(struct world *w, struct host *from, const struct effect *f)
{
    struct host *to = host_at(w, &f->address);
    w->total.datagrams++;
    if (f->bytes.len > PACKET_SIZE_MAX)
        world_fail(w, "host %u: a datagram of %zu bytes", from->index, f->bytes.len);
    if (!to || !host_reaches(from, to) || world_chance(&w->net_rng, w->loss_permille)) {
        w->total.lost++;
        return;
    }
    uint32_t copies = 1 + world_chance(&w->net_rng, w->duplicate_permille);
    w->total.duplicated += copies - 1;
    for (uint32_t i = 0; i < copies; i++) {
        struct event_node *n = world_later(w, delay(w), NODE_DATAGRAM, to, f->bytes.p, f->bytes.len);
        n->from = from->index;
    }
    if (world_chance(&w->net_rng, w->corrupt_permille)) {
        struct event_node *n = world_later(w, delay(w), NODE_DATAGRAM, to, f->bytes.p, f->bytes.len);
        n->from = from->index;
        n->bytes[rng_below(&w->net_rng, n->len)] ^= (uint8_t)(1u << rng_below(&w->net_rng, 8));
        w->total.corrupted++;
    }
    if (world_chance(&w->net_rng, w->replay_permille)) {
        struct event_node *n = world_later(w, 500 + rng_below(&w->net_rng, 20000), NODE_DATAGRAM, to,
                                           f->bytes.p, f->bytes.len);
        n->from = from->index;
        n->life = UINT32_MAX; /* to whatever life there is then */
        w->total.replayed++;
    }
}

static void send_call(struct world *w, struct host *from, const struct effect *f)
{
    struct host *to = host_at(w, &f->address);
    w->total.calls++;
    struct pending_call *c = calloc(1, sizeof *c);
    CHECK(c);
    *c = (struct pending_call){.id = ++w->call_ids,
                               .call = f->id,
                               .caller = from->index,
                               .caller_life = from->life,
                               .callee = to ? to->index : 0,
                               .next = w->calls};
    w->calls = c;
    struct event_node *n = world_later(w, f->timeout_ms, NODE_CALL_TIMEOUT, from, NULL, 0);
    n->id = c->id;
    if (!to || to == from || !hosts_talk(from, to))
        return;
    if (!to->engine || (f->peer && f->peer != to->use->node)) {
        n = world_later(w, CALL_REFUSED_MS, NODE_CALL_TIMEOUT, from, NULL, 0);
        n->id = c->id;
        return;
    }
    n = world_later(w, delay(w) + delay(w), NODE_CALL, to, f->bytes.p, f->bytes.len);
    n->id = c->id;
    n->from = from->index;
}

/* Takes the call out; false: it has ended already. */
static bool call_take(struct world *w, uint64_t id, struct pending_call *out)
{
    for (struct pending_call **at = &w->calls; *at; at = &(*at)->next) {
        if ((*at)->id != id)
            continue;
        struct pending_call *c = *at;
        *out = *c;
        *at = c->next;
        free(c);
        return true;
    }
    return false;
}

static void send_answer(struct world *w, struct host *from, const struct effect *f)
{
    struct event_node *n = world_later(w, delay(w), NODE_ANSWER, from, f->bytes.p, f->bytes.len);
    n->id = f->id;
    n->life = UINT32_MAX;
}

static const struct pending_call *call_find(const struct world *w, uint64_t id)
{
    const struct pending_call *p = w->calls;
    while (p && p->id != id)
        p = p->next;
    return p;
}

static void call_ended(struct world *w, const struct event_node *n)
{
    struct pending_call c;
    const struct pending_call *p = call_find(w, n->id);
    if (!p || (n->kind == NODE_ANSWER && !hosts_talk(&w->hosts[n->host], &w->hosts[p->caller])))
        return; /* lost on the way: the time limit brings the end */
    if (!call_take(w, n->id, &c))
        return;
    struct host *caller = &w->hosts[c.caller];
    if (!caller->engine || caller->life != c.caller_life)
        return;
    struct event ev = {.kind = EVENT_ANSWER, .id = c.call, .node = w->hosts[c.callee].use->node};
    if (n->kind == NODE_ANSWER)
        ev.bytes = (struct slice){.p = n->bytes, .len = n->len};
    else
        ev.err = ERR_UNREACHABLE;
    host_step(w, caller, &ev);
}

/* ---- The disk -------------------------------------------------------------------------------------- */

static void write_queue(struct world *w, struct host *h, const struct effect *f)
{
    struct write *x = calloc(1, sizeof *x);
    CHECK(x);
    x->seq = f->seq;
    x->key = f->key;
    if (f->kind == EFFECT_WRITE) {
        x->len = f->bytes.len;
        x->bytes = malloc(x->len + 1);
        CHECK(x->bytes);
        memcpy(x->bytes, f->bytes.p, x->len);
    }
    *h->writes_end = x;
    h->writes_end = &x->next;
    if (!h->committing) {
        h->committing = true;
        world_later(w, rng_between(&w->net_rng, COMMIT_MIN_MS, h->commit_max_ms), NODE_COMMIT, h, NULL, 0);
    }
}

static void value_free(struct host *h, struct value *v)
{
    HASH_DEL(h->disk, v);
    free(v->bytes);
    free(v);
}

static struct value *value_find(const struct host *h, const struct record_key *key)
{
    struct value *v;
    HASH_FIND(hh, h->disk, key, sizeof *key, v);
    return v;
}

static void value_set(struct host *h, struct write *x)
{
    struct value *v = value_find(h, &x->key);
    if (!x->bytes) {
        if (v)
            value_free(h, v);
        return;
    }
    if (!v) {
        v = calloc(1, sizeof *v);
        CHECK(v);
        v->key = x->key;
        HASH_ADD(hh, h->disk, key, sizeof v->key, v);
    }
    free(v->bytes);
    v->bytes = x->bytes;
    v->len = x->len;
    x->bytes = NULL;
}

static void commit(struct world *w, struct host *h)
{
    h->committing = false;
    bool fails = w->now < h->disk_fails_until_ms;
    uint64_t seq = 0;
    while (h->writes) {
        struct write *x = h->writes;
        h->writes = x->next;
        seq = x->seq;
        if (!fails)
            value_set(h, x);
        free(x->bytes);
        free(x);
        w->total.failed_writes += fails;
    }
    h->writes_end = &h->writes;
    struct event ev = {.kind = EVENT_WRITTEN, .seq = seq, .err = fails ? ERR_DISK_FULL : ERR_OK};
    host_step(w, h, &ev);
}

void host_lose_records(struct world *w, struct host *h)
{
    struct value *v, *next;
    CHECK(!h->engine);
    world_note(w, "host %u: its store is lost", h->index);
    HASH_ITER (hh, h->disk, v, next)
        value_free(h, v);
    w->total.lost_stores++;
}

void host_lose_record(struct world *w, struct host *h, const struct record_key *key)
{
    struct value *v = value_find(h, key);
    CHECK(!h->engine);
    if (v)
        value_free(h, v);
    w->total.lost_records += v != NULL;
}

bool disk_find(const struct host *h, const struct record_key *key, struct record *out)
{
    const struct value *v = value_find(h, key);
    return v && !record_decode(v->bytes, v->len, out);
}

bool host_has_image(const struct host *h, const struct hash *image)
{
    struct held *im;
    HASH_FIND(hh, h->images, image, sizeof *image, im);
    return im != NULL;
}

void host_give_image(struct world *w, struct host *h, const struct hash *image, uint64_t size)
{
    if (!host_has_image(h, image)) {
        struct held *im = calloc(1, sizeof *im);
        CHECK(im);
        im->image = *image;
        im->size_bytes = size;
        HASH_ADD(hh, h->images, image, sizeof im->image, im);
    }
    struct event ev = {.kind = EVENT_IMAGE, .image = *image, .size_bytes = size};
    host_step(w, h, &ev);
}

/* ---- Steps ----------------------------------------------------------------------------------------- */

static void effect_do(struct world *w, struct host *h, const struct effect *f)
{
    switch (f->kind) {
    case EFFECT_DATAGRAM:
        send_datagram(w, h, f);
        break;
    case EFFECT_CALL:
        send_call(w, h, f);
        break;
    case EFFECT_ANSWER:
        send_answer(w, h, f);
        break;
    case EFFECT_WRITE:
    case EFFECT_ERASE:
        write_queue(w, h, f);
        break;
    case EFFECT_UNIT_START:
        guest_start(w, h, f);
        break;
    case EFFECT_UNIT_STOP:
        guest_stop(w, h, &f->unit);
        break;
    case EFFECT_UNIT_DEADLINE:
        guest_deadline(w, h, f);
        break;
    case EFFECT_UNIT_ACCESS:
        guest_access(h, f);
        break;
    case EFFECT_UNIT_FORGET:
        guest_forget(w, h, &f->unit);
        break;
    case EFFECT_VOLUME_MAKE:
    case EFFECT_VOLUME_CHECK:
    case EFFECT_VOLUME_FETCH:
    case EFFECT_VOLUME_DROP:
        volume_effect(w, h, f);
        break;
    case EFFECT_IMAGE_FETCH:
        image_fetch(w, h, f);
        break;
    case EFFECT_IMAGE_DROP:
        image_drop(h, &f->image);
        break;
    case EFFECT_REPLY:
        if (w->on_reply)
            w->on_reply(w, f->id, &f->reply);
        break;
    case EFFECT_LOG:
        w->total.readdressed += strcmp(f->log.event, "unit.readdressed") == 0;
        if (f->log.level > LOG_DEBUG || w->verbose)
            world_note(w, "host %u: %s %s", h->index, f->log.event, f->log.fields);
        break;
    case EFFECT_REBOOT:
        if (h->boot <= f->min_boot)
            h->boot = f->min_boot + 1;
        world_later(w, 1, NODE_RESTART, h, NULL, 0);
        break;
    case EFFECT_QUIT:
        h->quit = true;
        break;
    }
}

/* A datagram ends in a tag of all of it. */
static uint64_t bytes_hash(const struct effect *f)
{
    size_t skip = f->kind == EFFECT_DATAGRAM && f->bytes.len > SEAL_TAG_SIZE ? f->bytes.len - SEAL_TAG_SIZE : 0;
    return fake_hash64(f->bytes.len, f->bytes.p + skip, f->bytes.len - skip);
}

static bool says_left(const struct host *h)
{
    struct node_body n;
    return !engine_node(h->engine, h->use->node, &n) && (n.flags & NODE_LEFT);
}

void host_step(struct world *w, struct host *h, struct event *ev)
{
    if (!h->engine || w->failed)
        return;
    ev->mono_ms = w->now;
    ev->wall_ms = wall(w, h);
    effects_reset(&w->fx);
    engine_step(h->engine, ev, &w->fx);
    w->total.events++;
    trace(w, w->now << 16 ^ (uint64_t)h->index << 8 ^ (uint64_t)ev->kind);
    h->steps_now = h->steps_at_ms == w->now ? h->steps_now + 1 : 0;
    h->steps_at_ms = w->now;
    if (h->steps_now > SPIN_STEPS)
        world_fail(w, "host %u: its engine spins (event %d)", h->index, ev->kind);
    for (size_t i = 0; i < w->fx.count; i++) {
        const struct effect *f = &w->fx.v[i];
        trace(w, (uint64_t)f->kind << 32 ^ f->id ^ f->seq ^
                     (f->bytes.len ? bytes_hash(f) : 0));
        if (w->on_effect)
            w->on_effect(w, h, f);
        effect_do(w, h, f);
    }
    if (w->on_step)
        w->on_step(w, h);
    if (h->quit) {
        world_note(w, "host %u: its daemon ended", h->index);
        h->left = says_left(h);
        daemon_free(w, h);
        writes_drop(w, h);
        return;
    }
    uint64_t at = engine_deadline_ms(h->engine);
    if (at < w->now)
        at = w->now;
    if (at != UINT64_MAX && at != h->timer_ms) {
        h->timer_ms = at;
        world_later(w, at - w->now, NODE_TIMER, h, NULL, 0);
    }
}

/* Whose daemon hears of it? */
static struct host *hearer(struct world *w, const struct event_node *n)
{
    const struct pending_call *p =
        n->kind == NODE_ANSWER || n->kind == NODE_CALL_TIMEOUT ? call_find(w, n->id) : NULL;
    return &w->hosts[p ? p->caller : n->host];
}

/* A daemon that stands still hears of it afterwards; a guest's deadline is its shim's. True: so it is. */
static bool put_off(struct world *w, struct event_node *n)
{
    const struct host *h = hearer(w, n);
    if (h->paused_until_ms <= w->now || n->kind == NODE_GUEST_DEADLINE)
        return false;
    if (n->kind == NODE_TIMER && (n->at != h->timer_ms || n->life != h->life))
        return false; /* no longer wanted */
    if (n->kind == NODE_TIMER)
        w->hosts[n->host].timer_ms = h->paused_until_ms;
    n->at = h->paused_until_ms;
    heap_push(w, n);
    return true;
}

static void event_do(struct world *w, struct event_node *n)
{
    struct host *h = &w->hosts[n->host];
    struct event ev = {0};
    bool of_daemon = n->kind == NODE_TIMER || n->kind == NODE_DATAGRAM || n->kind == NODE_CALL ||
                     n->kind == NODE_COMMIT || n->kind == NODE_IMAGE || n->kind == NODE_HOST ||
                     n->kind == NODE_RESTART || n->kind == NODE_VOLUME || n->kind == NODE_VOLUME_FETCHED;
    if (of_daemon && n->life != UINT32_MAX && n->life != h->life)
        return;
    switch (n->kind) {
    case NODE_TIMER:
        if (n->at != h->timer_ms)
            return;
        h->timer_ms = 0;
        ev.kind = EVENT_TICK;
        host_step(w, h, &ev);
        break;
    case NODE_DATAGRAM:
        if (!host_reaches(&w->hosts[n->from], h))
            return;
        ev.kind = EVENT_DATAGRAM;
        ev.address = w->hosts[n->from].address;
        ev.bytes = (struct slice){.p = n->bytes, .len = n->len};
        host_step(w, h, &ev);
        break;
    case NODE_CALL:
        if (!hosts_talk(&w->hosts[n->from], h))
            return;
        ev.kind = EVENT_CALL;
        ev.id = n->id;
        ev.node = w->hosts[n->from].use->node;
        ev.bytes = (struct slice){.p = n->bytes, .len = n->len};
        host_step(w, h, &ev);
        break;
    case NODE_ANSWER:
    case NODE_CALL_TIMEOUT:
        call_ended(w, n);
        break;
    case NODE_COMMIT:
        commit(w, h);
        break;
    case NODE_GUEST_STARTED:
        guest_started(w, h, &n->unit);
        break;
    case NODE_GUEST_ENDED:
        if (w->guest_exits_permille == 0 && n->id != END_HOST)
            break; /* peace has come meanwhile */
        guest_end(w, h, &n->unit, (enum end_cause)n->id,
                  n->id == END_EXIT ? (int32_t)rng_below(&w->guest_rng, 4) : -1);
        break;
    case NODE_GUEST_KILLED:
        guest_killed(w, h, &n->unit);
        break;
    case NODE_GUEST_DEADLINE: {
        struct guest *g = guest_find(h, &n->unit);
        if (g && g->deadline_ms == n->id)
            guest_end(w, h, &n->unit, END_STOPPED, -1);
        break;
    }
    case NODE_IMAGE: {
        bool ok = !n->err && hosts_talk(h, &w->hosts[n->from]);
        ev.kind = EVENT_IMAGE;
        ev.image = n->image;
        if (ok) {
            host_give_image(w, h, &n->image, n->id);
        } else {
            ev.err = n->err ? n->err : ERR_UNREACHABLE;
            host_step(w, h, &ev);
        }
        break;
    }
    case NODE_HOST:
        host_tell(w, h);
        break;
    case NODE_VOLUME:
    case NODE_VOLUME_FETCHED:
        volume_event(w, h, n);
        break;
    case NODE_RESTART:
        daemon_free(w, h);
        writes_drop(w, h);
        host_start(w, h);
        break;
    }
}

void world_run_until(struct world *w, uint64_t ms)
{
    while (w->heap_count > 0 && w->heap[0].at <= ms && !w->failed) {
        struct event_node *n = heap_pop(w);
        w->now = n->at;
        if (w->heap_count > 0)
            __builtin_prefetch(w->heap[0].node);
        if (put_off(w, n))
            continue;
        event_do(w, n);
        node_free(w, n);
    }
    if (!w->failed)
        w->now = ms;
}

void world_free(struct world *w)
{
    for (uint32_t i = 0; i < w->host_count; i++) {
        struct host *h = &w->hosts[i];
        daemon_free(w, h);
        writes_drop(w, h);
        guests_free(h);
        volumes_free(h);
        node_crypto_free(h->real);
        struct value *v, *v_next;
        HASH_ITER (hh, h->disk, v, v_next)
            value_free(h, v);
        struct held *im, *im_next;
        HASH_ITER (hh, h->images, im, im_next) {
            HASH_DEL(h->images, im);
            free(im);
        }
    }
    for (size_t i = 0; i < w->heap_count; i++)
        free(w->heap[i].node);
    while (w->spare) {
        struct event_node *n = w->spare;
        w->spare = n->spare_next;
        free(n);
    }
    while (w->calls) {
        struct pending_call *c = w->calls;
        w->calls = c->next;
        free(c);
    }
    volumes_forget(w);
    free(w->heap);
    free(w->hosts);
    free(w->fx.v);
    free(w->fx.buffer);
    free(w);
}
