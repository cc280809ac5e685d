/* Volumes, wherever they are: each host is asked over a channel (volume_service.h), this one, too. */
#define _GNU_SOURCE
#include "node/loop/control_internal.h"

#include "node/loop/volume_service.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- What there is ------------------------------------------------------------------------------- */

struct asked { /* one host */
    struct lister *lister;
    node_id node;
    struct channel *channel; /* NULL: it has ended */
    bool told;               /* it said all that it has */
};

struct lister {
    struct conn *c;
    uint32_t count, open;
    struct asked *hosts;
};

static void lister_free(struct lister *l)
{
    free(l->hosts);
    free(l);
}

static void list_cancel(struct conn *c, void *task)
{
    struct lister *l = task;
    (void)c;
    for (uint32_t i = 0; i < l->count; i++)
        if (l->hosts[i].channel)
            channel_close(l->hosts[i].channel, CHANNEL_NOW);
    lister_free(l);
}

static const struct conn_task list_ops = {.cancel = list_cancel};

static void list_end(struct lister *l)
{
    struct conn *c = l->c;
    char silent[256] = "", name[NAME_SIZE];
    size_t at = 0;
    for (uint32_t i = 0; i < l->count; i++) {
        if (l->hosts[i].told || at >= sizeof silent)
            continue;
        control_node_name(node_engine(c->control->node), l->hosts[i].node, name);
        at += (size_t)snprintf(silent + at, sizeof silent - at, "%s%s", at ? ", " : "", name);
    }
    lister_free(l);
    if (at > 0)
        conn_end(c, ERR_PARTIAL, "what these have is not known, as they don't answer: %s", silent);
    else
        conn_end(c, ERR_OK, "ok");
}

static void row_send(struct conn *c, node_id node, const struct volume_say *s)
{
    struct engine *e = node_engine(c->control->node);
    struct control_message m = {.type = CONTROL_VOLUME};
    struct control_volume *v = &m.volume;
    v->node = node;
    control_node_name(e, node, v->node_name);
    v->id = s->id;
    v->size_bytes = s->device.size_bytes;
    v->disk_bytes = s->device.disk_bytes;
    v->held = s->held;
    v->use = engine_volume_use(e, &s->id, node);
    memcpy(v->app, s->app, sizeof v->app);
    memcpy(v->device, s->device.device, sizeof v->device);
    conn_send(c, &m);
}

static void on_row(void *ctx, struct channel *ch, const void *p, size_t len)
{
    struct asked *a = ctx;
    struct volume_say s;
    (void)ch;
    if (volume_say_decode(p, len, &s))
        return;
    if (s.word == VOLUME_ROW)
        row_send(a->lister->c, a->node, &s);
    a->told = a->told || (s.word == VOLUME_END && !s.err);
}

static void on_rows_over(void *ctx, struct channel *ch, enum err err)
{
    struct asked *a = ctx;
    struct lister *l = a->lister;
    (void)ch, (void)err;
    a->channel = NULL;
    if (--l->open == 0)
        list_end(l);
}

static void host_ask(struct lister *l, node_id node)
{
    static const struct channel_handler handler = {.on_message = on_row, .on_closed = on_rows_over};
    const struct volume_ask ask = {.op = VOLUME_LIST};
    struct asked *a = &l->hosts[l->count++];
    *a = (struct asked){.lister = l, .node = node};
    if (volume_ask_open(l->c->control->node, node, &ask, &handler, a, &a->channel))
        a->channel = NULL;
    else
        l->open++;
}

void control_volumes(struct conn *c)
{
    struct engine *e = node_engine(c->control->node);
    const struct swim *s = engine_members(e);
    struct lister *l = calloc(1, sizeof *l);
    size_t i = 0, hosts = 1;
    while (swim_next(s, &i))
        hosts++;
    if (l)
        l->hosts = calloc(hosts, sizeof *l->hosts);
    if (!l || !l->hosts) {
        free(l);
        conn_end(c, ERR_NOMEM, "the node is out of memory");
        return;
    }
    l->c = c;
    conn_begin(c, &list_ops, l);
    host_ask(l, engine_self(e));
    i = 0;
    for (const struct member *m; (m = swim_next(s, &i));)
        if (m->node != engine_self(e) && m->state != MEMBER_DEAD && m->state != MEMBER_LEFT)
            host_ask(l, m->node);
    if (l->open == 0)
        list_end(l);
}

/* ---- One of them --------------------------------------------------------------------------------- */

struct asker {
    struct conn *c;
    struct control_volume_ask ask;
    struct channel *channel;
    bool paused;
};

static void ask_cancel(struct conn *c, void *task)
{
    struct asker *a = task;
    (void)c;
    channel_close(a->channel, CHANNEL_NOW);
    free(a);
}

static void ask_end(struct asker *a, enum err err, const char *text)
{
    struct conn *c = a->c;
    if (a->channel)
        channel_close(a->channel, CHANNEL_NOW);
    free(a);
    conn_end(c, err, "%s", text);
}

/* Of a writer: its next piece, as it was asked for. */
static void ask_message(struct conn *c, void *task, const struct control_message *m)
{
    struct asker *a = task;
    struct volume_say s = {.word = VOLUME_END};
    (void)c;
    if (m->type != CONTROL_VOLUME_DATA || a->ask.op != CONTROL_VOLUME_WRITE) {
        ask_end(a, ERR_INVALID, "that is no piece of a volume");
        return;
    }
    if (m->volume_data.bytes.len > 0)
        s = (struct volume_say){
            .word = VOLUME_DATA, .offset = m->volume_data.offset, .bytes = m->volume_data.bytes};
    enum err err = volume_say_send(a->channel, &s);
    if (err)
        ask_end(a, err, "the host takes no more of it");
}

static void ask_drain(struct conn *c, void *task)
{
    struct asker *a = task;
    if (!a->paused || !conn_has_room(c))
        return;
    a->paused = false;
    channel_resume(a->channel);
}

static const struct conn_task write_ops = {.on_message = ask_message, .cancel = ask_cancel};
static const struct conn_task ask_ops = {.on_drain = ask_drain, .cancel = ask_cancel};

static void on_said(void *ctx, struct channel *ch, const void *p, size_t len)
{
    struct asker *a = ctx;
    struct volume_say s;
    struct control_message m = {.type = CONTROL_WANT, .want = {.count = 1}};
    if (volume_say_decode(p, len, &s)) {
        ask_end(a, ERR_INVALID, "the host's answer can't be read");
    } else if (s.word == VOLUME_END) {
        ask_end(a, s.err, s.err ? s.text : a->ask.op == CONTROL_VOLUME_REMOVE ? "removed" : "ok");
    } else if (s.word == VOLUME_MORE) {
        conn_send(a->c, &m);
    } else if (s.word == VOLUME_DATA) {
        m.type = CONTROL_OUTPUT;
        m.output = (struct control_output){
            .run = a->ask.id, .node = a->ask.node, .offset = s.offset, .bytes = s.bytes};
        conn_send(a->c, &m);
        a->paused = !conn_has_room(a->c);
        if (a->paused)
            channel_pause(ch);
    }
}

static void on_said_over(void *ctx, struct channel *ch, enum err err)
{
    struct asker *a = ctx;
    (void)ch;
    a->channel = NULL;
    ask_end(a, err == ERR_CLOSED ? ERR_UNREACHABLE : err, "its host broke off");
}

void control_volume_ask(struct conn *c, const struct control_volume_ask *ask)
{
    static const struct channel_handler handler = {.on_message = on_said, .on_closed = on_said_over};
    struct volume_ask to = {.op = (enum volume_op)ask->op, .id = ask->id, .live = ask->live};
    struct asker *a = calloc(1, sizeof *a);
    memcpy(to.device, ask->device, sizeof to.device);
    if (!a || volume_ask_open(c->control->node, ask->node, &to, &handler, a, &a->channel)) {
        free(a);
        conn_end(c, ERR_UNREACHABLE, "its host can't be asked");
        return;
    }
    a->c = c;
    a->ask = *ask;
    conn_begin(c, ask->op == CONTROL_VOLUME_WRITE ? &write_ops : &ask_ops, a);
}
