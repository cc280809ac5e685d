/* The connection to mesh-priv: requests are kept until they are answered, so that they can be put to the next
 * mesh-priv when one dies. Each verb may be asked twice: what is started is EXISTS, what is removed is gone. */
#define _GNU_SOURCE
#include "node/runtime/fault.h"
#include "node/runtime/priv.h"
#include "node/runtime/runtime_internal.h"
#include "node/runtime/trace.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    RESTART_WAIT_MS = 20, /* the loop stands still meanwhile; it is tried again soon */
    REMOVE_AGAIN_MS = 200,
    REMOVE_TRIES = 50
};

static void on_helper_ready(uv_poll_t *poll, int status, int events);

static void on_helper_closed(uv_handle_t *h)
{
    struct helper *p = h->data;
    struct runtime *rt = p->rt;
    close(p->fd);
    free(p);
    handle_closed(rt);
}

void helper_close(struct runtime *rt)
{
    struct helper *p = rt->helper;
    rt->helper = NULL;
    if (p != NULL)
        uv_close((uv_handle_t *)&p->poll, on_helper_closed);
}

void helper_open(struct runtime *rt, int fd)
{
    struct helper *p = calloc(1, sizeof *p);
    if (p == NULL || uv_poll_init(rt->loop, &p->poll, fd) != 0) {
        free(p);
        close(fd);
        return; /* as if it had ended: tried again */
    }
    p->rt = rt;
    p->fd = fd;
    p->poll.data = p;
    rt->helper = p;
    handle_opened(rt);
    (void)uv_poll_start(&p->poll, UV_READABLE, on_helper_ready);
}

static void call_free(struct runtime *rt, struct call *c)
{
    for (struct call **at = &rt->calls; *at != NULL; at = &(*at)->next)
        if (*at == c) {
            *at = c->next;
            free(c);
            return;
        }
}

void calls_drop(struct runtime *rt)
{
    while (rt->calls != NULL)
        call_free(rt, rt->calls);
}

/* Starts fail; the rest waits for the next mesh-priv. */
static void starts_fail(struct runtime *rt, const char *text)
{
    for (struct call *c = rt->calls, *next; c != NULL; c = next) {
        next = c->next;
        c->sent = false;
        if (c->verb != PRIV_START)
            continue;
        struct run *r = run_find(rt, &c->unit);
        if (r != NULL && r->phase == PHASE_ASKED)
            run_failed(r, END_HOST, text);
        call_free(rt, c);
    }
}

static void helper_restart(struct runtime *rt)
{
    char why[200] = "mesh-priv ended", text[RUN_TEXT];
    int fd;
    enum err err = rt->priv_path[0] == '\0'
                       ? ERR_NOT_FOUND
                       : priv_open(rt->priv_path, rt->run_dir, rt->shim_path, &rt->cfg.networks, rt->volumes_dir,
                                    &rt->cfg.jail, RESTART_WAIT_MS, &fd,
                                    why, sizeof why);
    if (!err)
        helper_open(rt, fd);
    if (rt->helper != NULL) {
        helper_flush(rt);
        return;
    }
    (void)snprintf(text, sizeof text, "mesh-priv, which starts guests, is gone: %.100s", why);
    starts_fail(rt, text);
    rt->priv_retry_ms = boottime_ms() + PRIV_RETRY_MS;
    tick_want(rt);
}

static void helper_lost(struct runtime *rt)
{
    helper_close(rt);
    for (struct call *c = rt->calls; c != NULL; c = c->next)
        c->sent = false;
    rt->tell_priv_lost = true;
    tell_later(rt);
    helper_restart(rt);
}

/* Its shim is dead, and its tender takes a moment more to let go of its taps. */
static bool remove_again(struct runtime *rt, struct call *c, const struct priv_answer *a)
{
    if (c->verb != PRIV_REMOVE || a->err != ERR_BUSY || ++c->tries > REMOVE_TRIES)
        return false;
    c->sent = false;
    c->not_before_ms = boottime_ms() + REMOVE_AGAIN_MS;
    tick_want(rt);
    return true;
}

/* What starts under the name of such a run has a folder of its own again. */
static void removes_drop(struct runtime *rt, const struct unit_id *unit)
{
    for (struct call *c = rt->calls, *next; c != NULL; c = next) {
        next = c->next;
        if (c->not_before_ms != 0 && !c->sent && uid_equal(&c->unit.app, &unit->app) && c->unit.slot == unit->slot &&
            c->unit.epoch == unit->epoch)
            call_free(rt, c);
    }
}

bool helper_waits(const struct runtime *rt)
{
    const struct call *c = rt->calls;
    while (c != NULL && (c->sent || c->not_before_ms == 0))
        c = c->next;
    return c != NULL;
}

void helper_tick(struct runtime *rt)
{
    if (rt->helper != NULL && helper_waits(rt))
        helper_flush(rt);
    if (rt->helper != NULL || rt->priv_path[0] == '\0' || boottime_ms() < rt->priv_retry_ms)
        return;
    helper_restart(rt);
    if (rt->helper != NULL && rt->probe.step == TRIAL_DONE)
        runtime_probe(rt); /* trial boots that failed for want of it; the others are remembered */
}

void helper_flush(struct runtime *rt)
{
    for (struct call *c = rt->calls; c != NULL && rt->helper != NULL; c = c->next) {
        if (c->sent || c->not_before_ms > boottime_ms())
            continue;
        ssize_t n = send(rt->helper->fd, c->bytes, c->len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) {
            (void)uv_poll_start(&rt->helper->poll, UV_READABLE | UV_WRITABLE, on_helper_ready);
            return;
        }
        if (n < 0)
            return; /* it is gone: the loop sees that by itself */
        c->sent = true;
    }
}

void helper_call(struct runtime *rt, struct priv_request *request)
{
    size_t size = request->verb == PRIV_START || request->verb == PRIV_ACCESS ? PRIV_MESSAGE_MAX : 128;
    struct call *c = malloc(sizeof *c + size), **end = &rt->calls;
    struct run *r = run_find(rt, &request->unit);
    request->id = ++rt->call_ids;
    if (request->verb == PRIV_START)
        removes_drop(rt, &request->unit);
    if (c == NULL || priv_request_encode(request, c->bytes, size, &c->len)) {
        free(c);
        if (request->verb == PRIV_START && r != NULL)
            run_failed(r, END_HOST, "no memory to start it");
        return;
    }
    c->next = NULL;
    c->id = request->id;
    c->verb = request->verb;
    c->unit = request->unit;
    c->sent = false;
    c->not_before_ms = 0;
    c->tries = 0;
    while (*end != NULL)
        end = &(*end)->next;
    *end = c;
    if (rt->helper == NULL && request->verb == PRIV_START)
        starts_fail(rt, "mesh-priv, which starts guests, is gone");
    else
        helper_flush(rt);
}

static void on_start_answer(struct run *r, const struct priv_answer *a)
{
    if (r->phase != PHASE_ASKED)
        return;
    if (!r->trial)
        fault_point("meshd.start-answered");
    if (a->err != ERR_OK && a->err != ERR_EXISTS) {
        run_failed(r, END_HOST, a->text);
        return;
    }
    trace_mark("answered");
    r->status.pid = a->pid;
    r->status.shim_pid = a->shim_pid;
    enum err err = shim_connect(r);
    if (!err) {
        shim_watch(r);
        shim_say(r, SHIM_ASK, 0); /* its answer brings the start time; EXISTS: who it is at all */
        if (a->err == ERR_OK)
            run_up(r);
    } else if (err == ERR_CLOSED) {
        r->tell_started = a->err == ERR_OK; /* a short life */
        run_over(r);
    } else {
        r->adopt_until_ms = boottime_ms() + ADOPT_MS;
        tick_want(r->rt);
    }
}

static void on_answer(struct runtime *rt, const struct priv_answer *a)
{
    struct call *c = rt->calls;
    while (c != NULL && c->id != a->id)
        c = c->next;
    if (c == NULL)
        return;
    struct run *r = run_find(rt, &c->unit);
    enum priv_verb verb = c->verb;
    if (remove_again(rt, c, a))
        return;
    call_free(rt, c);
    if (verb == PRIV_START && r != NULL)
        on_start_answer(r, a);
    else if (verb == PRIV_NETWORKS)
        nets_answer(rt, a);
}

static void on_helper_ready(uv_poll_t *poll, int status, int events)
{
    struct helper *p = poll->data;
    struct runtime *rt = p->rt;
    uint8_t bytes[PRIV_ANSWER_MAX];
    struct priv_answer a;
    if (rt->helper != p)
        return;
    if ((events & UV_WRITABLE) != 0) {
        (void)uv_poll_start(poll, UV_READABLE, on_helper_ready);
        helper_flush(rt);
    }
    while (rt->helper == p) {
        ssize_t n = recv(p->fd, bytes, sizeof bytes, MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK) && status >= 0)
            break;
        if (n <= 0)
            helper_lost(rt);
        else if (priv_answer_decode(bytes, (size_t)n, &a) == ERR_OK)
            on_answer(rt, &a);
    }
    deliver(rt);
}
