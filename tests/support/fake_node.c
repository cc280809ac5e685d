#define _GNU_SOURCE
#include "tests/support/fake_node_internal.h"

#include "node/runtime/usage.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct fake_mesh *the_mesh;

static void step(struct node *n, struct event *ev);

static uint64_t clock_ms(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void on_turn(uv_timer_t *t);

static void arm(struct fake_mesh *m)
{
    uint64_t now = clock_ms(CLOCK_BOOTTIME), at = now + 1000;
    for (uint32_t i = 0; i < m->count; i++) {
        uint64_t d = engine_deadline_ms(m->nodes[i]->engine);
        at = d < at ? d : at;
    }
    if (!m->closing)
        uv_timer_start(&m->timer, on_turn, !m->queue && at > now ? at - now : 1, 0);
}

struct later *later(struct node *n, enum later_kind kind, const void *p, size_t len)
{
    struct later *l = calloc(1, sizeof *l + len + 1);
    CHECK(l);
    l->kind = kind;
    l->node = n;
    l->len = len;
    if (len)
        memcpy(l->bytes, p, len);
    *n->mesh->queue_end = l;
    n->mesh->queue_end = &l->next;
    arm(n->mesh);
    return l;
}

struct node *node_at(const struct fake_mesh *m, const struct address *a)
{
    for (uint32_t i = 0; i < m->count; i++)
        if (address_equal(&m->nodes[i]->address, a))
            return m->nodes[i];
    return NULL;
}

bool talk(const struct node *a, const struct node *b)
{
    return a && b && a != b && !a->cut && !b->cut;
}

/* ---- Effects ------------------------------------------------------------------------------- */

void fake_event(struct node *n, enum log_level level, const char *event, const char *fields)
{
    struct node_event *e = &n->events[n->events_last++ % NODE_EVENTS_KEPT];
    *e = (struct node_event){
        .seq = n->events_last, .wall_ms = clock_ms(CLOCK_REALTIME), .level = level};
    snprintf(e->event, sizeof e->event, "%s", event);
    snprintf(e->fields, sizeof e->fields, "%s", fields);
    later(n, LATER_LISTENERS, NULL, 0);
}

static void unit_start(struct node *n, const struct effect *f)
{
    struct fake_run *r = calloc(1, sizeof *r);
    CHECK(r);
    r->node = n;
    r->unit = f->unit;
    r->pid = ++n->mesh->pids;
    r->alive = true;
    snprintf(r->app, sizeof r->app, "%s", f->start.app);
    r->next = n->runs;
    n->runs = r;
    later(n, LATER_STARTED, NULL, 0)->unit = f->unit;
}

struct fake_run *run_of(const struct node *n, const struct unit_id *u)
{
    for (struct fake_run *r = n->runs; r; r = r->next)
        if (uid_equal(&r->unit.app, &u->app) && r->unit.slot == u->slot &&
            r->unit.epoch == u->epoch)
            return r;
    return NULL;
}

void run_ended(struct node *n, const struct unit_id *u, enum end_cause cause, int32_t status)
{
    struct fake_run *r = run_of(n, u);
    if (r)
        r->alive = false;
    struct later *l = later(n, LATER_ENDED, NULL, 0);
    l->unit = *u;
    l->end = (struct unit_end){.cause = cause, .status = status, .text = "ended"};
    later(n, LATER_CONSOLE, NULL, 0);
}

static void unit_forget(struct node *n, const struct unit_id *u)
{
    for (struct fake_run **at = &n->runs; *at; at = &(*at)->next) {
        struct fake_run *r = *at;
        if (r != run_of(n, u))
            continue;
        for (struct console_watch *w = n->watches; w; w = w->next)
            w->run = w->run == r ? NULL : w->run;
        *at = r->next;
        free(r);
        later(n, LATER_CONSOLE, NULL, 0);
        return;
    }
}

static void execute(struct node *n, const struct effect *f)
{
    struct node *to;
    struct later *l;
    switch (f->kind) {
    case EFFECT_DATAGRAM:
        if (talk(n, to = node_at(n->mesh, &f->address)))
            later(to, LATER_DATAGRAM, f->bytes.p, f->bytes.len)->from = n;
        break;
    case EFFECT_CALL:
        to = node_at(n->mesh, &f->address);
        l = later(talk(n, to) ? to : n, talk(n, to) ? LATER_CALL : LATER_ANSWER, f->bytes.p,
                  f->bytes.len);
        l->id = f->id;
        l->from = n;
        l->err = ERR_UNREACHABLE;
        break;
    case EFFECT_ANSWER: /* the id is the caller's, with its place in the mesh above */
        to = n->mesh->nodes[f->id >> 56];
        l = later(to, LATER_ANSWER, f->bytes.p, f->bytes.len);
        l->id = f->id & (UINT64_MAX >> 8);
        l->from = n;
        break;
    case EFFECT_WRITE:
    case EFFECT_ERASE:
        later(n, LATER_WRITTEN, NULL, 0)->id = f->seq;
        break;
    case EFFECT_UNIT_START:
        unit_start(n, f);
        break;
    case EFFECT_UNIT_STOP:
        run_ended(n, &f->unit, END_STOPPED, -1);
        break;
    case EFFECT_UNIT_FORGET:
        consoles_keep(&n->consoles, &n->runtime, &f->unit);
        unit_forget(n, &f->unit);
        break;
    case EFFECT_VOLUME_MAKE: /* this host has no disk for guests */
    case EFFECT_VOLUME_CHECK:
    case EFFECT_VOLUME_FETCH:
    case EFFECT_VOLUME_DROP:
        break;
    case EFFECT_IMAGE_FETCH:
        l = later(n, LATER_FETCH, NULL, 0);
        l->image = f->image;
        l->from = node_at(n->mesh, &f->address);
        break;
    case EFFECT_IMAGE_DROP:
        CHECK(images_remove(n->images, &f->image) != ERR_IO);
        break;
    case EFFECT_REPLY:
        l = later(n, LATER_REPLY, f->reply.text ? f->reply.text : "",
                  f->reply.text ? strlen(f->reply.text) : 0);
        l->id = f->id;
        l->reply = f->reply;
        break;
    case EFFECT_LOG:
        if (f->log.level >= LOG_INFO)
            fake_event(n, f->log.level, f->log.event, f->log.fields);
        break;
    case EFFECT_QUIT:
        n->stopped = true;
        break;
    case EFFECT_REBOOT:
    case EFFECT_UNIT_DEADLINE:
    case EFFECT_UNIT_ACCESS:
        break;
    }
}

static void step(struct node *n, struct event *ev)
{
    ev->mono_ms = clock_ms(CLOCK_BOOTTIME);
    ev->wall_ms = clock_ms(CLOCK_REALTIME);
    effects_reset(&n->fx);
    engine_step(n->engine, ev, &n->fx);
    for (size_t i = 0; i < n->fx.count; i++)
        execute(n, &n->fx.v[i]);
}

/* ---- Turns --------------------------------------------------------------------------------- */

static void fetch(struct node *n, const struct later *l)
{
    static uint8_t list[IMAGE_LIST_BYTES_MAX], chunk[IMAGE_CHUNK];
    struct event ev = {
        .kind = EVENT_IMAGE, .image = l->image, .err = ERR_UNREACHABLE, .text = "cut"};
    struct image_part *part = NULL;
    size_t list_len, len;
    uint32_t at;
    if (talk(n, l->from)) {
        ev.err = images_read_list(l->from->images, &l->image, list, sizeof list, &list_len);
        if (!ev.err)
            ev.err = image_part_begin(n->images, &l->image, list, list_len, &part);
        while (!ev.err && image_part_missing(part, &at)) {
            ev.err = images_read_chunk(l->from->images, &l->image, at, chunk, &len);
            if (!ev.err)
                ev.err = image_part_put(part, at, chunk, len);
        }
        uint32_t chunks;
        if (!ev.err)
            CHECK(!image_list_check(list, list_len, &l->image, &ev.size_bytes, &chunks));
        if (!ev.err)
            ev.err = image_part_commit(&part);
        image_part_abort(&part);
        ev.err = ev.err == ERR_EXISTS ? ERR_OK : ev.err;
    }
    step(n, &ev);
}

static void reply(struct node *n, struct later *l)
{
    for (struct waiting **at = &n->commands; *at; at = &(*at)->next) {
        struct waiting *w = *at;
        if (w->id != l->id)
            continue;
        *at = w->next;
        l->reply.text = (const char *)l->bytes;
        w->on_reply(w->ctx, &l->reply);
        free(w);
        return;
    }
}

static void tell_watches(struct node *n)
{
    for (struct console_watch *w = n->watches, *next; w; w = next) {
        next = w->next;
        w->on_more(w->ctx);
    }
}

static void carry_out(struct fake_mesh *m, struct later *l)
{
    struct node *n = l->node;
    struct event ev = {
        .unit = l->unit, .id = l->id, .end = l->end, .bytes = {.p = l->bytes, .len = l->len}};
    switch (l->kind) {
    case LATER_DATAGRAM:
        ev.kind = EVENT_DATAGRAM;
        ev.address = l->from->address;
        break;
    case LATER_CALL:
        ev.kind = EVENT_CALL;
        ev.node = l->from->crypto.crypto.node;
        ev.address = l->from->address;
        for (uint32_t i = 0; i < m->count; i++)
            if (m->nodes[i] == l->from)
                ev.id |= (uint64_t)i << 56;
        break;
    case LATER_ANSWER:
        ev.kind = EVENT_ANSWER;
        ev.err = l->from == n ? l->err : ERR_OK;
        ev.node = l->from->crypto.crypto.node;
        ev.address = l->from->address;
        break;
    case LATER_WRITTEN:
        ev.kind = EVENT_WRITTEN;
        ev.seq = l->id;
        break;
    case LATER_STARTED:
        ev.kind = EVENT_UNIT_STARTED;
        ev.target = TARGET_VIRTIO;
        if (!run_of(n, &l->unit))
            return;
        ev.pid = run_of(n, &l->unit)->pid;
        break;
    case LATER_ENDED:
        ev.kind = EVENT_UNIT_ENDED;
        break;
    case LATER_FETCH:
        fetch(n, l);
        return;
    case LATER_REPLY:
        reply(n, l);
        return;
    case LATER_LISTENERS:
        for (struct node_listener *i = n->listeners, *next; i; i = next) {
            next = i->next;
            i->on_event(i->ctx);
        }
        return;
    case LATER_CONSOLE:
        tell_watches(n);
        return;
    case LATER_OPEN:
    case LATER_MESSAGE:
    case LATER_DRAIN:
    case LATER_CLOSED:
        channel_event(m, l);
        return;
    }
    step(n, &ev);
}

static void on_turn(uv_timer_t *t)
{
    struct fake_mesh *m = t->data;
    uint64_t now = clock_ms(CLOCK_BOOTTIME);
    for (uint32_t i = 0; i < m->count; i++) {
        struct event ev = {.kind = EVENT_TICK};
        if (engine_deadline_ms(m->nodes[i]->engine) <= now)
            step(m->nodes[i], &ev);
    }
    struct later *queue = m->queue; /* what comes meanwhile has the next turn */
    m->queue = NULL;
    m->queue_end = &m->queue;
    while (queue && !m->closing) {
        struct later *l = queue;
        queue = l->next;
        l->next = NULL;
        carry_out(m, l);
        free(l);
    }
    arm(m);
}

/* ---- node.h -------------------------------------------------------------------------------- */

uv_loop_t *node_loop(struct node *n)
{
    return n->mesh->loop;
}

struct engine *node_engine(struct node *n)
{
    return n->engine;
}

struct images *node_images(struct node *n)
{
    return n->images;
}

struct consoles *node_consoles(struct node *n)
{
    return &n->consoles;
}

struct runtime *node_runtime(struct node *n)
{
    return &n->runtime;
}

struct streams *node_streams(struct node *n)
{
    return &n->streams;
}

void node_units_dir(const struct node *n, char *out, size_t size)
{
    (void)n;
    snprintf(out, size, "/nowhere");
}

/* A guest that works half of the time since it began. */
bool usage_read(const char *units_dir, const struct unit_id *run, uint32_t pid, struct usage *out)
{
    (void)units_dir, (void)run;
    *out = (struct usage){
        .cpu_ms = clock_ms(CLOCK_BOOTTIME) / 2, .rss_kib = 5 * 1024, .in_bytes = 3 * 1024 * 1024, .in_packets = 7};
    return pid != 0;
}

const char *node_version(void)
{
    return "0.1.0-test";
}

uint64_t node_command(struct node *n, const struct command *c, node_reply_fn *on_reply, void *ctx)
{
    struct waiting *w = calloc(1, sizeof *w);
    CHECK(w);
    *w = (struct waiting){.next = n->commands, .id = ++n->ids, .on_reply = on_reply, .ctx = ctx};
    n->commands = w;
    struct event ev = {.kind = EVENT_COMMAND, .id = w->id, .command = *c};
    uint64_t id = w->id;
    step(n, &ev);
    return id;
}

void node_forget(struct node *n, uint64_t id)
{
    for (struct waiting **at = &n->commands; *at; at = &(*at)->next) {
        if ((*at)->id != id)
            continue;
        struct waiting *w = *at;
        *at = w->next;
        free(w);
        return;
    }
}

uint32_t fake_node_commands(const struct node *n)
{
    uint32_t count = 0;
    for (const struct waiting *w = n->commands; w; w = w->next)
        count++;
    return count;
}

void node_stop(struct node *n)
{
    n->stopped = true;
}

bool fake_node_stopped(const struct node *n)
{
    return n->stopped;
}

void fake_node_cut(struct node *n)
{
    n->cut = true;
    for (struct channel *c = n->mesh->channels; c; c = c->next)
        if (c->node == n || (c->peer && c->peer->node == n))
            closed_later(c, ERR_IO);
}

void node_image_added(struct node *n, const struct hash *image, uint64_t size_bytes)
{
    struct event ev = {.kind = EVENT_IMAGE, .image = *image, .size_bytes = size_bytes};
    step(n, &ev);
}

void node_each_counter(struct node *n, void (*visit)(void *ctx, const char *name, uint64_t value),
                       void *ctx)
{
    const struct engine_counters *e = engine_counters(n->engine);
#define X(name) visit(ctx, #name, e->name);
    COUNTER_LIST(X)
#undef X
}

uint64_t node_events_last(const struct node *n)
{
    return n->events_last;
}

const struct node_event *node_events_next(const struct node *n, uint64_t from)
{
    uint64_t first = n->events_last > NODE_EVENTS_KEPT ? n->events_last - NODE_EVENTS_KEPT + 1 : 1;
    from = from < first ? first : from;
    return from <= n->events_last ? &n->events[(from - 1) % NODE_EVENTS_KEPT] : NULL;
}

void node_listen(struct node *n, struct node_listener *l)
{
    l->next = n->listeners;
    n->listeners = l;
}

void node_unlisten(struct node *n, struct node_listener *l)
{
    for (struct node_listener **at = &n->listeners; *at; at = &(*at)->next) {
        if (*at != l)
            continue;
        *at = l->next;
        return;
    }
}

/* ---- The mesh ------------------------------------------------------------------------------ */

struct fake_mesh *fake_mesh_new(uv_loop_t *loop)
{
    struct fake_mesh *m = calloc(1, sizeof *m);
    CHECK(m);
    m->loop = loop;
    m->queue_end = &m->queue;
    CHECK(uv_timer_init(loop, &m->timer) == 0);
    m->timer.data = m;
    the_mesh = m;
    return m;
}

struct node *fake_node_add(struct fake_mesh *m, const char *name, const char *dir,
                           uint32_t memory_mib)
{
    struct node *n = calloc(1, sizeof *n);
    struct effect *v = calloc(EFFECTS_SIZE, sizeof *v);
    uint8_t *buffer = malloc(EFFECTS_BUFFER);
    CHECK(n && v && buffer && m->count < FAKE_NODES_MAX);
    n->mesh = m;
    n->runtime.node = n->streams.node = n;
    effects_init(&n->fx, v, EFFECTS_SIZE, buffer, EFFECTS_BUFFER);
    fake_crypto_init(&n->crypto, m->count + 1, 1);
    mem_init(&n->mem, 0);
    CHECK(!images_open(&n->images, dir));
    n->address = (struct address){
        .ip = {[10] = 0xff, [11] = 0xff, 127, 0, 0, (uint8_t)(m->count + 1)}, .port = 7946};
    n->cfg = engine_config_default();
    snprintf(n->cfg.name, sizeof n->cfg.name, "%s", name);
    n->cfg.boot = clock_ms(CLOCK_REALTIME);
    n->cfg.address_count = 1;
    n->cfg.addresses[0] = n->address;
    n->cfg.capacity_mib = memory_mib;
    n->cfg.lonely = m->count == 0;
    n->cfg.boot_wait_ms = 500;
    n->cfg.backoff_min_ms = 100;
    n->cfg.sync_interval_ms = 100;
    CHECK(!engine_new(&n->engine, &n->mem, &n->crypto.crypto, &n->cfg, m->count + 1,
                      clock_ms(CLOCK_BOOTTIME), clock_ms(CLOCK_REALTIME)));
    m->nodes[m->count++] = n;
    static const struct host_facts facts = {.targets = 1u << TARGET_VIRTIO, .target_abi = {[TARGET_VIRTIO] = 1}};
    struct event host = {.kind = EVENT_HOST, .host = &facts};
    step(n, &host);
    struct event join = {.kind = EVENT_JOIN, .address = m->nodes[0]->address};
    if (m->count > 1)
        step(n, &join);
    arm(m);
    return n;
}

static void node_free(struct node *n)
{
    while (n->runs) {
        struct fake_run *r = n->runs;
        n->runs = r->next;
        free(r);
    }
    while (n->watches)
        unlink_watch(n, n->watches);
    while (n->commands)
        node_forget(n, n->commands->id);
    engine_free(n->engine);
    images_close(n->images);
    consoles_release(&n->consoles);
    free(n->fx.v);
    free(n->fx.buffer);
    free(n);
}

static void on_timer_closed(uv_handle_t *h)
{
    free(h->data);
}

void fake_mesh_free(struct fake_mesh *m)
{
    m->closing = true;
    while (m->channels) { /* as streams_close does */
        struct channel *ch = m->channels;
        if (ch->open && ch->handler.on_closed)
            ch->handler.on_closed(ch->ctx, ch, ERR_CLOSED);
        channel_free(m, ch);
    }
    while (m->queue) {
        struct later *l = m->queue;
        m->queue = l->next;
        free(l);
    }
    for (uint32_t i = 0; i < m->count; i++)
        node_free(m->nodes[i]);
    m->count = 0;
    uv_close((uv_handle_t *)&m->timer, on_timer_closed);
}
