#define _GNU_SOURCE
#include "node/runtime/runtime.h"

#include "node/runtime/fault.h"
#include "node/runtime/runtime_internal.h"
#include "store/disk.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

uint64_t boottime_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_BOOTTIME, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

struct runtime_config runtime_config_default(void)
{
    return (struct runtime_config){.stop_grace_ms = 3000, .priv_fd = -1};
}

/* ---- runs ------------------------------------------------------------------------------------------- */

static bool same(const struct unit_id *a, const struct unit_id *b)
{
    return a->epoch == b->epoch && a->slot == b->slot && uid_equal(&a->app, &b->app);
}

struct run *run_find(const struct runtime *rt, const struct unit_id *id)
{
    for (struct run *r = rt->runs; r != NULL; r = r->next)
        if (same(&r->id, id))
            return r;
    return NULL;
}

struct run *run_new(struct runtime *rt, const struct unit_id *id)
{
    struct run *r = calloc(1, sizeof *r);
    if (r == NULL)
        return NULL;
    r->rt = rt;
    r->id = *id;
    r->trial = is_trial(id);
    r->next = rt->runs;
    rt->runs = r;
    return r;
}

static void run_drop(struct run *r)
{
    shim_unlink(r);
    watches_lose(r);
    free(r);
}

void run_free(struct run *r)
{
    struct run **at = &r->rt->runs;
    while (*at != NULL && *at != r)
        at = &(*at)->next;
    CHECK(*at == r);
    *at = r->next;
    run_drop(r);
}

static void over(struct run *r)
{
    r->phase = PHASE_OVER;
    r->adopt_until_ms = r->stop_limit_ms = 0;
    r->tell_ended = true;
    shim_unlink(r);
    file_unwatch(r);
    watches_due(r);
    tell_later(r->rt);
}

void run_over(struct run *r)
{
    shim_end(r);
    over(r);
}

void run_failed(struct run *r, enum end_cause cause, const char *text)
{
    r->end = (struct unit_end){.cause = r->stop_wanted ? END_STOPPED : cause, .status = -1, .text = r->text};
    (void)snprintf(r->text, sizeof r->text, "%s", text);
    over(r);
}

static void stop_send(struct run *r)
{
    shim_say(r, SHIM_STOP, r->rt->cfg.stop_grace_ms);
    r->stop_limit_ms = boottime_ms() + r->rt->cfg.stop_grace_ms + HANG_MS;
    tick_want(r->rt);
}

void run_up(struct run *r)
{
    r->phase = PHASE_UP;
    r->adopt_until_ms = 0;
    if (r->status.target != TARGET_NONE)
        r->target = (enum target)r->status.target;
    r->tell_started = true;
    tell_later(r->rt);
    if (r->deadline_wanted)
        shim_say(r, SHIM_DEADLINE, r->deadline_ms);
    if (r->stop_wanted)
        stop_send(r);
}

/* ---- telling ---------------------------------------------------------------------------------------- */

static void forget(struct run *r)
{
    struct runtime *rt = r->rt;
    struct priv_request remove = {.verb = PRIV_REMOVE, .unit = r->id};
    if (!r->stray)
        helper_call(rt, &remove);
    run_free(r);
}

static void tell_run(struct run *r)
{
    struct runtime *rt = r->rt;
    if (r->tell_started) {
        r->tell_started = false;
        if (r->trial)
            probe_started(r);
        else
            rt->cb.on_started(rt->ctx, &r->id, r->status.pid, r->target);
        fault_point("meshd.started-told");
        return;
    }
    r->tell_ended = false;
    if (r->trial) {
        probe_ended(r);
        forget(r);
        return;
    }
    const struct unit_id id = r->id; /* the callee may forget it */
    bool stray = r->stray;
    fault_point("meshd.ended");
    rt->cb.on_ended(rt->ctx, &id, &r->end);
    fault_point("meshd.ended-told");
    if (stray && (r = run_find(rt, &id)) != NULL && r->stray)
        run_free(r);
}

/* One thing that is to be told; false: nothing. From the start each time, as callees change the lists. */
static bool tell_one(struct runtime *rt)
{
    if (rt->tell_priv_lost) {
        rt->tell_priv_lost = false;
        if (rt->cb.on_priv_lost != NULL)
            rt->cb.on_priv_lost(rt->ctx);
        return true;
    }
    if (rt->tell_host && nets_known(rt)) {
        rt->tell_host = false;
        probe_tell(rt);
        return true;
    }
    for (struct run *r = rt->runs; r != NULL; r = r->next)
        if (r->tell_started || r->tell_ended) {
            tell_run(r);
            return true;
        }
    for (struct console_watch *w = rt->watches; w != NULL; w = w->next)
        if (w->due) {
            w->due = false;
            w->on_more(w->ctx);
            return true;
        }
    return false;
}

void deliver(struct runtime *rt)
{
    if (rt->delivering)
        return;
    rt->delivering = true;
    while (!rt->closing && tell_one(rt))
        ;
    rt->delivering = false;
}

static void on_later(uv_timer_t *timer)
{
    deliver(timer->data);
}

void tell_later(struct runtime *rt)
{
    if (!rt->closing && !rt->delivering)
        (void)uv_timer_start(&rt->later, on_later, 0, 0);
}

void tell_soon(struct runtime *rt)
{
    if (!rt->closing && !rt->delivering && !uv_is_active((uv_handle_t *)&rt->later))
        (void)uv_timer_start(&rt->later, on_later, WATCH_PAUSE_MS, 0);
}

/* ---- time limits ------------------------------------------------------------------------------------ */

static void shim_kill(struct run *r)
{
    struct priv_request request = {.verb = PRIV_KILL, .unit = r->id};
    helper_call(r->rt, &request);
}

/* A run that is there, as far as we know, but whose shim does not listen yet. */
static void adopt_again(struct run *r, uint64_t now)
{
    if (r->link == NULL) {
        enum err err = shim_connect(r);
        if (!err) {
            if (r->phase == PHASE_UP)
                r->adopt_until_ms = 0;
            shim_watch(r);
            shim_say(r, SHIM_ASK, 0);
        } else if (now >= r->adopt_until_ms || err == ERR_CLOSED) {
            run_over(r);
        }
    } else if (now >= r->adopt_until_ms) { /* it listens and says nothing */
        shim_kill(r);
        r->adopt_until_ms = now + HANG_MS;
    }
}

static bool timed(const struct run *r)
{
    return r->adopt_until_ms != 0 || r->stop_limit_ms != 0;
}

static void on_tick(uv_timer_t *timer)
{
    struct runtime *rt = timer->data;
    uint64_t now = boottime_ms();
    bool wanted = false, polled = watches_polled(rt);
    for (struct run *r = rt->runs; r != NULL; r = r->next) {
        if (r->adopt_until_ms != 0)
            adopt_again(r, now);
        if (r->stop_limit_ms != 0 && now >= r->stop_limit_ms) {
            shim_kill(r);
            r->stop_limit_ms = now + HANG_MS;
        }
        if (polled)
            watches_due(r);
        wanted = wanted || timed(r);
    }
    helper_tick(rt);
    if (!wanted && !polled && !probe_busy(rt) && !helper_waits(rt) && (rt->helper != NULL || rt->priv_path[0] == '\0'))
        (void)uv_timer_stop(timer);
    deliver(rt);
}

void tick_want(struct runtime *rt)
{
    if (!rt->closing && rt->handles > 0 && !uv_is_active((uv_handle_t *)&rt->tick))
        (void)uv_timer_start(&rt->tick, on_tick, TICK_MS, TICK_MS);
}

/* ---- requests --------------------------------------------------------------------------------------- */

static bool copy_path(char *out, const char *path)
{
    size_t len = path == NULL ? 0 : strlen(path);
    if (len >= RUN_PATH)
        return false;
    memcpy(out, path == NULL ? "" : path, len + 1);
    return true;
}

void start_run(struct runtime *rt, const struct unit_id *unit, const struct tender_guest *guest,
               const struct effect_start *start, uint64_t deadline_ms, const char *image)
{
    static struct priv_request request; /* large, and of one call only */
    struct run *r = run_new(rt, unit);
    if (r == NULL)
        return; /* its starter waits for ever; so does all else here without memory */
    r->target = guest->target;
    request = (struct priv_request){.verb = PRIV_START, .unit = *unit, .target = guest->target, .accel = guest->accel,
                                    .memory_mib = guest->memory_mib, .deadline_ms = deadline_ms,
                                    .args_count = guest->args_count, .args = guest->args,
                                    .net_count = guest->net_count, .block_count = guest->block_count};
    for (uint32_t i = 0; i < guest->net_count; i++)
        request.nets[i] = start->nets[i];
    for (uint32_t i = 0; i < guest->block_count; i++)
        request.blocks[i] = guest->blocks[i];
    if (start != NULL)
        request.volume = start->volume;
    if (start != NULL && start->access != NULL)
        request.access = *start->access;
    if (guest->tender[0] == '\0') {
        char text[RUN_TEXT];
        (void)snprintf(text, sizeof text, "no tender for %s: %s is not on PATH", target_name(guest->target),
                       tender_program(guest->target));
        run_failed(r, END_HOST, text);
    } else if (!copy_path(request.tender, guest->tender) || !copy_path(request.image, image)) {
        run_failed(r, END_HOST, "the path of its tender or image is too long");
    } else {
        helper_call(rt, &request);
    }
}

void runtime_start(struct runtime *rt, const struct unit_id *unit, const struct effect_start *start,
                   const char *image_path)
{
    struct run *r = run_find(rt, unit);
    struct tender_command command;
    struct tender_net nets[NETS_MAX];
    struct tender_block blocks[BLOCKS_MAX];
    char why[RUN_TEXT];
    if (r != NULL && !r->stray) { /* started once is started: say again how it is */
        r->tell_started = r->phase == PHASE_UP;
        r->tell_ended = r->phase == PHASE_OVER;
        tell_later(rt);
        return;
    }
    if (r != NULL)
        run_free(r);
    const unsigned target = (unsigned)start->target < TARGET_COUNT ? (unsigned)start->target : (unsigned)TARGET_NONE;
    const struct tender_guest guest = {
        .target = (enum target)target, .accel = target == TARGET_VIRTIO ? rt->accel : ACCEL_EMULATION,
        .tender = rt->tender[target], .image = "image", .memory_mib = start->memory_mib,
        .args_count = start->args_count, .args = start->args,
        .net_count = start->net_count < NETS_MAX ? start->net_count : NETS_MAX, .nets = nets,
        .block_count = start->block_count < BLOCKS_MAX ? start->block_count : BLOCKS_MAX, .blocks = blocks};
    for (uint32_t i = 0; i < guest.block_count; i++) {
        memcpy(blocks[i].device, start->blocks[i].device, sizeof blocks[i].device);
        blocks[i].sector_bytes = start->blocks[i].sector_bytes;
    }
    for (uint32_t i = 0; i < guest.net_count; i++) { /* mesh-priv names the taps; this only looks whether all fits */
        memcpy(nets[i].device, start->nets[i].ref.device, sizeof nets[i].device);
        memset(nets[i].tap, 'x', LINK_SIZE - 1);
        nets[i].tap[LINK_SIZE - 1] = '\0';
        nets[i].fd = 0;
        net_mac_text(&unit->app, unit->slot, start->nets[i].ref.device, nets[i].mac);
    }
    if (tender_command(&guest, &command, why, sizeof why) == ERR_OK) {
        start_run(rt, unit, &guest, start, start->boottime_ms, image_path);
    } else if ((r = run_new(rt, unit)) != NULL) { /* nobody could start that */
        run_failed(r, END_IMAGE, why);
        r->stray = true;
    }
}

void runtime_stop(struct runtime *rt, const struct unit_id *unit)
{
    struct run *r = run_find(rt, unit);
    if (r == NULL && (r = run_new(rt, unit)) != NULL) {
        r->stop_wanted = r->stray = true;
        run_failed(r, END_STOPPED, "");
        return;
    }
    if (r == NULL)
        return;
    r->stop_wanted = true;
    if (r->phase == PHASE_UP && r->stop_limit_ms == 0)
        stop_send(r);
    if (r->phase == PHASE_OVER) { /* told once more */
        r->tell_ended = true;
        tell_later(rt);
    }
}

void runtime_deadline(struct runtime *rt, const struct unit_id *unit, uint64_t boottime)
{
    struct run *r = run_find(rt, unit);
    if (r == NULL || r->phase == PHASE_OVER)
        return;
    r->deadline_wanted = true;
    r->deadline_ms = boottime;
    if (r->phase == PHASE_UP)
        shim_say(r, SHIM_DEADLINE, boottime);
}

void runtime_access(struct runtime *rt, const struct unit_id *unit, const struct effect_start *start)
{
    static struct priv_request request;
    request = (struct priv_request){.verb = PRIV_ACCESS, .unit = *unit, .access = *start->access,
                                    .net_count = start->net_count < NETS_MAX ? start->net_count : NETS_MAX};
    for (uint32_t i = 0; i < request.net_count; i++)
        request.nets[i] = start->nets[i];
    helper_call(rt, &request);
}

void runtime_forget(struct runtime *rt, const struct unit_id *unit)
{
    struct run *r = run_find(rt, unit);
    if (r != NULL && r->phase == PHASE_OVER)
        forget(r);
}

/* ---- life ------------------------------------------------------------------------------------------- */

void handle_opened(struct runtime *rt)
{
    rt->handles++;
}

static void release(struct runtime *rt)
{
    for (struct run *r = rt->runs, *next; r != NULL; r = next) {
        next = r->next;
        run_drop(r);
    }
    rt->runs = NULL;
    while (rt->watches != NULL) {
        struct console_watch *w = rt->watches;
        rt->watches = w->next;
        free(w);
    }
    calls_drop(rt);
    if (rt->units_fd >= 0)
        close(rt->units_fd);
    if (rt->owner_fd >= 0)
        close(rt->owner_fd); /* and the lock with it */
    rt->units_fd = rt->owner_fd = -1;
}

void handle_closed(struct runtime *rt)
{
    if (--rt->handles > 0 || !rt->closing)
        return;
    void (*on_gone)(void *ctx) = rt->on_gone;
    void *ctx = rt->ctx;
    free(rt);
    if (on_gone != NULL)
        on_gone(ctx);
}

static void on_timer_closed(uv_handle_t *h)
{
    handle_closed(h->data);
}

void runtime_close(struct runtime **out, void (*on_gone)(void *ctx))
{
    struct runtime *rt = *out;
    *out = NULL;
    if (rt == NULL)
        return;
    rt->closing = true;
    rt->on_gone = on_gone;
    helper_close(rt);
    nets_end(rt);
    release(rt);
    uv_close((uv_handle_t *)&rt->later, on_timer_closed);
    uv_close((uv_handle_t *)&rt->tick, on_timer_closed);
    uv_close((uv_handle_t *)&rt->look, on_timer_closed);
}

static enum err configure(struct runtime *rt, char *why, size_t why_size)
{
    const struct runtime_config *c = &rt->cfg;
    bool fits = copy_path(rt->run_dir, c->run_dir) && copy_path(rt->shim_path, c->shim_path) &&
                copy_path(rt->priv_path, c->priv_path) && copy_path(rt->cache_path, c->cache_path) &&
                copy_path(rt->volumes_dir, c->volumes_dir);
    for (int t = TARGET_NONE; fits && t < TARGET_COUNT; t++)
        fits = copy_path(rt->tender[t], c->tender[t]) && copy_path(rt->probe_image[t], c->probe_image[t]);
    if (!fits || strlen(rt->run_dir) > RUN_PATH - UNIT_NAME_SIZE - 32) {
        (void)snprintf(why, why_size, "a path is longer than %d bytes", (int)RUN_PATH - UNIT_NAME_SIZE - 32);
        return ERR_TOO_LARGE;
    }
    if (rt->run_dir[0] != '/') {
        (void)snprintf(why, why_size, "the run folder %s must be an absolute path", rt->run_dir);
        return ERR_INVALID;
    }
    if (mkdir(rt->run_dir, 0755) < 0 && errno != EEXIST) {
        (void)snprintf(why, why_size, "the run folder %s can't be made: %s", rt->run_dir, strerror(errno));
        return disk_err(errno);
    }
    return ERR_OK;
}

static struct run *untold(const struct runtime *rt)
{
    struct run *r = rt->runs;
    while (r != NULL && !r->untold)
        r = r->next;
    return r;
}

/* Runs that were here: those alive are told as found, the others with their end. */
static void tell_found(struct runtime *rt)
{
    for (struct run *r; (r = untold(rt)) != NULL;) {
        const struct unit_id id = r->id;
        bool up = r->phase == PHASE_UP;
        r->untold = false;
        if (up)
            shim_watch(r);
        if (r->trial && up) {
            shim_say(r, SHIM_KILL, 0);
        } else if (r->trial) {
            r->tell_ended = true; /* dropped when the loop turns */
            tell_later(rt);
        } else if (up) {
            rt->cb.on_found(rt->ctx, &id, r->status.pid, r->target);
        } else {
            rt->cb.on_ended(rt->ctx, &id, &r->end);
        }
    }
}

enum err runtime_new(struct runtime **out, uv_loop_t *loop, const struct runtime_config *cfg,
                     const struct runtime_callbacks *cb, void *ctx, char *why, size_t why_size)
{
    struct runtime *rt = calloc(1, sizeof *rt);
    enum err err = ERR_NOMEM;
    if (rt == NULL) {
        (void)snprintf(why, why_size, "out of memory");
        goto undo_priv;
    }
    rt->loop = loop;
    rt->cfg = *cfg;
    rt->cb = *cb;
    rt->ctx = ctx;
    rt->units_fd = rt->owner_fd = -1;
    (void)proc_boot_id(rt->boot);
    err = configure(rt, why, why_size);
    if (!err)
        err = scan(rt, why, why_size);
    if (err) {
        release(rt);
        free(rt);
        goto undo_priv;
    }
    tenders_find(rt);
    (void)uv_timer_init(loop, &rt->later);
    (void)uv_timer_init(loop, &rt->tick);
    (void)uv_timer_init(loop, &rt->look);
    rt->later.data = rt->tick.data = rt->look.data = rt;
    rt->handles = 3;
    if (cfg->priv_fd >= 0)
        helper_open(rt, cfg->priv_fd);
    helper_flush(rt);
    tick_want(rt);
    nets_begin(rt);
    *out = rt;
    tell_found(rt);
    return ERR_OK;
undo_priv:
    if (cfg->priv_fd >= 0)
        close(cfg->priv_fd);
    return err;
}
