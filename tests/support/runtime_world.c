#define _GNU_SOURCE
#include "tests/support/runtime_world.h"

#include "node/runtime/priv.h"
#include "node/runtime/unit_name.h"
#include "store/base/pack.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct unit_id world_unit(uint64_t epoch)
{
    return (struct unit_id){.app = {.b = {9, 8, 7}}, .slot = 1, .epoch = epoch};
}

struct world_run *world_run(struct world *w, const struct unit_id *id)
{
    for (unsigned i = 0; i < w->run_count; i++)
        if (memcmp(&w->runs[i].id.app, &id->app, sizeof id->app) == 0 && w->runs[i].id.slot == id->slot &&
            w->runs[i].id.epoch == id->epoch)
            return &w->runs[i];
    assert_true(w->run_count < WORLD_RUNS);
    w->runs[w->run_count] = (struct world_run){.id = *id, .pid_fd = -1};
    return &w->runs[w->run_count++];
}

static void set_pid(struct world_run *r, uint32_t pid)
{
    r->pid = pid;
    if (r->pid_fd < 0)
        r->pid_fd = scratch_pid_fd(pid);
}

static void on_found(void *ctx, const struct unit_id *unit, uint32_t pid, enum target target)
{
    struct world_run *r = world_run(ctx, unit);
    ((struct world *)ctx)->news++;
    r->found++;
    r->target = target;
    set_pid(r, pid);
}

static void on_started(void *ctx, const struct unit_id *unit, uint32_t pid, enum target target)
{
    struct world_run *r = world_run(ctx, unit);
    ((struct world *)ctx)->news++;
    r->started++;
    r->target = target;
    set_pid(r, pid);
}

static void on_ended(void *ctx, const struct unit_id *unit, const struct unit_end *end)
{
    struct world_run *r = world_run(ctx, unit);
    ((struct world *)ctx)->news++;
    r->ended++;
    r->end = *end;
    snprintf(r->text, sizeof r->text, "%s", end->text);
    r->end.text = r->text;
}

static void on_host(void *ctx, const struct host_facts *facts, const char *text)
{
    struct world *w = ctx;
    w->host_told++;
    w->news++;
    w->host = *facts;
    snprintf(w->host_text, sizeof w->host_text, "%s", text);
}

static void on_priv_lost(void *ctx)
{
    ((struct world *)ctx)->priv_lost++;
    ((struct world *)ctx)->news++;
}

static void on_gone(void *ctx)
{
    ((struct world *)ctx)->gone++;
}

static const char script[] = "#!/bin/sh\n"
                             "shift 3\n"
                             "for a; do case $a in\n"
                             "say=*) printf '%s\\n' \"${a#say=}\" ;;\n"
                             "exit=*) exit \"${a#exit=}\" ;;\n"
                             "signal=*) kill -\"${a#signal=}\" $$ ;;\n"
                             "sleep) exec sleep 1000 ;;\n"
                             "ignore) trap '' TERM ;;\n"
                             "fill) head -c 600000 /dev/zero | tr '\\0' x ;;\n"
                             "wait=*) read -r word <\"${a#wait=}\" ;;\n"
                             "esac; done\n";

void world_set_up(struct world *w)
{
    memset(w, 0, sizeof *w);
    scratch_new(w->dir);
    (void)scratch_path(w->run, "%.90s/run", w->dir);
    (void)scratch_path(w->cache, "%.90s/targets", w->dir);
    (void)scratch_path(w->volumes, "%.90s/volumes", w->dir);
    scratch_write(scratch_path(w->image, "%.90s/web.spt", w->dir), 0644, "not looked at");
    scratch_write(scratch_path(w->tender, "%.90s/tender", w->dir), 0755, script);
    (void)scratch_program(w->priv, "mesh-priv");
    (void)scratch_program(w->shim, "mesh-shim");
    assert_int_equal(uv_loop_init(&w->loop), 0);
    w->cfg = runtime_config_default();
    w->cfg.run_dir = w->run;
    w->cfg.shim_path = w->shim;
    w->cfg.priv_path = w->priv;
    w->cfg.cache_path = w->cache;
    w->cfg.volumes_dir = w->volumes;
    w->cfg.node = 77;
    w->cfg.jail.off = true; /* scripts in the tender's place want a shell, and files of the test's */
    for (int t = TARGET_NONE + 1; t < TARGET_COUNT; t++)
        w->cfg.tender[t] = w->tender;
}

enum err world_open(struct world *w)
{
    static const struct runtime_callbacks cb = {on_found, on_started, on_ended, on_host, on_priv_lost};
    assert_int_equal(priv_spawn(w->priv, w->run, w->shim, &w->cfg.networks, w->volumes, &w->cfg.jail, PRIV_WAIT_MS,
                                &w->cfg.priv_fd, w->why, sizeof w->why),
                     ERR_OK);
    return runtime_new(&w->rt, &w->loop, &w->cfg, &cb, w, w->why, sizeof w->why);
}

void world_close(struct world *w)
{
    unsigned gone = w->gone;
    if (w->rt == NULL)
        return;
    runtime_close(&w->rt, on_gone);
    assert_null(w->rt);
    assert_int_equal(uv_run(&w->loop, UV_RUN_DEFAULT), 0); /* no handle is left */
    assert_int_equal(w->gone, gone + 1);
}

void world_tear_down(struct world *w)
{
    world_close(w);
    for (unsigned i = 0; i < w->run_count; i++)
        if (w->runs[i].pid_fd >= 0)
            scratch_kill_fd(&w->runs[i].pid_fd);
    assert_int_equal(uv_loop_close(&w->loop), 0);
    scratch_remove(w->dir);
}

static void on_timeout(uv_timer_t *t)
{
    fail_msg("nothing happened for %d ms", (int)SCRATCH_WAIT_MS);
    (void)t;
}

void world_step(struct world *w)
{
    static uv_timer_t limit;
    unsigned before = w->news;
    (void)uv_run(&w->loop, UV_RUN_NOWAIT);
    if (w->news != before)
        return;
    assert_int_equal(uv_timer_init(&w->loop, &limit), 0);
    (void)uv_timer_start(&limit, on_timeout, SCRATCH_WAIT_MS, 0);
    (void)uv_run(&w->loop, UV_RUN_ONCE);
    uv_close((uv_handle_t *)&limit, NULL);
    (void)uv_run(&w->loop, UV_RUN_NOWAIT);
}

struct world_run *world_start(struct world *w, uint64_t epoch, enum target target, const char *image, ...)
{
    static uint8_t packed[ARGS_BYTES_MAX];
    const struct unit_id id = world_unit(epoch);
    struct effect_start start = {.target = target, .memory_mib = 8, .app = "web"};
    struct pack k;
    const char *arg;
    va_list args;
    pack_init(&k, packed, sizeof packed);
    va_start(args, image);
    while ((arg = va_arg(args, const char *)) != NULL) {
        pack_str(&k, arg);
        start.args_count++;
    }
    va_end(args);
    start.args = (struct slice){packed, k.len};
    runtime_start(w->rt, &id, &start, image);
    return world_run(w, &id);
}

void world_started(struct world *w, struct world_run *r)
{
    while (r->started == 0) {
        if (r->ended > 0)
            fail_msg("it did not start: %s", r->text);
        world_step(w);
    }
}

void world_ended(struct world *w, struct world_run *r)
{
    while (r->ended == 0)
        world_step(w);
}

const char *world_console(struct world *w, const struct world_run *r)
{
    static char text[300 * 1024];
    size_t len = 0, got;
    uint64_t skipped, at = 0;
    int ended;
    do {
        assert_int_equal(runtime_console_read(w->rt, &r->id, at, text + len, sizeof text - 1 - len, &got, &skipped, &at,
                                              &ended),
                         ERR_OK);
        len += got;
    } while (got > 0);
    text[len] = '\0';
    return text;
}

static void on_more(void *ctx)
{
    ((struct world *)ctx)->news++;
}

void world_console_has(struct world *w, struct world_run *r, const char *text)
{
    struct console_watch *watch;
    assert_int_equal(runtime_console_watch(w->rt, &r->id, on_more, w, &watch), ERR_OK);
    while (strstr(world_console(w, r), text) == NULL)
        world_step(w);
    runtime_console_unwatch(&watch);
}
