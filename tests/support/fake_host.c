/* The fake node's channels to its peers, and its guests' consoles: stream.h and runtime.h as far as
 * logs.c uses them. */
#define _GNU_SOURCE
#include "tests/support/fake_node_internal.h"

#include "node/loop/logs.h"

#include <stdlib.h>
#include <string.h>

/* ---- Channels ------------------------------------------------------------------------------ */

/* Is the channel still one of the mesh's? It may have gone while something about it was queued. */
static bool known(const struct fake_mesh *m, const struct channel *ch)
{
    for (const struct channel *c = m->channels; c; c = c->next)
        if (c == ch)
            return true;
    return false;
}

void channel_free(struct fake_mesh *m, struct channel *ch)
{
    for (struct channel **at = &m->channels; *at; at = &(*at)->next) {
        if (*at != ch)
            continue;
        *at = ch->next;
        break;
    }
    if (ch->peer)
        ch->peer->peer = NULL;
    free(ch);
}

static struct channel *channel_new(struct node *n, const struct node *other)
{
    struct channel *ch = calloc(1, sizeof *ch);
    CHECK(ch);
    ch->node = n;
    ch->who.node = other->crypto.crypto.node;
    ch->who.address = other->address;
    ch->next = n->mesh->channels;
    n->mesh->channels = ch;
    return ch;
}

void closed_later(struct channel *ch, enum err err)
{
    if (ch->closed)
        return;
    ch->closed = true;
    struct later *l = later(ch->node, LATER_CLOSED, NULL, 0);
    l->channel = ch;
    l->err = err;
}

static void taken(struct channel *sender, size_t len)
{
    if (!sender)
        return;
    sender->queued -= len;
    if (sender->full && sender->queued <= FAKE_CHANNEL_QUEUE / 2) {
        sender->full = false;
        later(sender->node, LATER_DRAIN, NULL, 0)->channel = sender;
    }
}

void channel_event(struct fake_mesh *m, struct later *l)
{
    struct channel *ch = l->channel;
    if (!known(m, ch))
        return;
    if (ch->paused &&
        (l->kind == LATER_MESSAGE || l->kind == LATER_CLOSED)) { /* not seen while paused */
        struct later *again = later(l->node, l->kind, l->bytes, l->len);
        again->channel = ch;
        again->err = l->err;
        return;
    }
    if (l->kind == LATER_OPEN) {
        if (l->len > 0 && l->bytes[0] == SERVICE_LOGS)
            logs_serve(l->node, ch, &ch->who, l->bytes + 1, l->len - 1);
        if (known(m, ch) && !ch->open && ch->peer)
            closed_later(ch->peer, ERR_CLOSED);
        if (known(m, ch) && !ch->open)
            channel_free(m, ch);
    } else if (l->kind == LATER_MESSAGE) {
        taken(ch->peer, l->len);
        if (ch->handler.on_message)
            ch->handler.on_message(ch->ctx, ch, l->bytes, l->len);
    } else if (l->kind == LATER_DRAIN) {
        if (ch->handler.on_drain)
            ch->handler.on_drain(ch->ctx, ch);
    } else {
        if (ch->handler.on_closed)
            ch->handler.on_closed(ch->ctx, ch, l->err);
        channel_free(m, ch);
    }
}

enum err streams_open(struct streams *s, const struct address *to, node_id expected, const void *p,
                      size_t len, uint64_t timeout_ms, const struct channel_handler *h, void *ctx,
                      struct channel **out)
{
    (void)timeout_ms;
    struct node *n = s->node, *other = node_at(n->mesh, to);
    struct channel *ch = channel_new(n, other ? other : n);
    ch->handler = *h;
    ch->ctx = ctx;
    ch->open = true;
    *out = ch;
    if (!talk(n, other) || other->crypto.crypto.node != expected) {
        closed_later(ch, ERR_UNREACHABLE);
        return ERR_OK;
    }
    struct channel *theirs = channel_new(other, n);
    ch->peer = theirs;
    theirs->peer = ch;
    later(other, LATER_OPEN, p, len)->channel = theirs;
    return ERR_OK;
}

void channel_accept(struct channel *ch, const struct channel_handler *h, void *ctx)
{
    ch->handler = *h;
    ch->ctx = ctx;
    ch->open = true;
}

enum err channel_send(struct channel *ch, const void *p, size_t len)
{
    if (ch->queued > 0 && ch->queued + len > FAKE_CHANNEL_QUEUE) {
        ch->full = true;
        return ERR_FULL;
    }
    if (!ch->peer)
        return ERR_OK;
    ch->queued += len;
    later(ch->peer->node, LATER_MESSAGE, p, len)->channel = ch->peer;
    return ERR_OK;
}

size_t channel_queued(const struct channel *ch)
{
    return ch->queued;
}

void channel_pause(struct channel *ch)
{
    ch->paused = true;
}

void channel_resume(struct channel *ch)
{
    ch->paused = false;
}

const struct stream_peer *channel_peer(const struct channel *ch)
{
    return &ch->who;
}

void channel_close(struct channel *ch, enum channel_end how)
{
    if (ch->peer)
        closed_later(ch->peer, how == CHANNEL_FLUSH ? ERR_CLOSED : ERR_IO);
    channel_free(ch->node->mesh, ch);
}

uint32_t fake_mesh_channels(const struct fake_mesh *m)
{
    uint32_t n = 0;
    for (const struct channel *c = m->channels; c; c = c->next)
        n++;
    return n;
}

/* ---- Consoles ------------------------------------------------------------------------------ */

enum err runtime_console_read(struct runtime *rt, const struct unit_id *unit, uint64_t offset,
                              void *out, size_t size, size_t *got, uint64_t *skipped,
                              uint64_t *next, int *ended)
{
    const struct fake_run *r = run_of(rt->node, unit);
    if (!r)
        return ERR_NOT_FOUND;
    uint64_t first = r->written > FAKE_CONSOLE_RING ? r->written - FAKE_CONSOLE_RING : 0;
    uint64_t from = offset < first ? first : offset < r->written ? offset : r->written;
    *skipped = from > offset ? from - offset : 0;
    *got = r->written - from < size ? (size_t)(r->written - from) : size;
    for (size_t i = 0; i < *got; i++)
        ((uint8_t *)out)[i] = r->ring[(from + i) % FAKE_CONSOLE_RING];
    *next = from + *got;
    *ended = !r->alive;
    return ERR_OK;
}

enum err runtime_console_tail(struct runtime *rt, const struct unit_id *unit, uint32_t lines,
                              uint64_t *offset)
{
    const struct fake_run *r = run_of(rt->node, unit);
    if (!r)
        return ERR_NOT_FOUND;
    uint64_t first = r->written > FAKE_CONSOLE_RING ? r->written - FAKE_CONSOLE_RING : 0;
    uint64_t at = r->written;
    for (uint32_t n = 0; at > first; at--)
        if (at < r->written && r->ring[(at - 1) % FAKE_CONSOLE_RING] == '\n' && ++n == lines)
            break;
    *offset = at;
    return ERR_OK;
}

enum err runtime_console_watch(struct runtime *rt, const struct unit_id *unit,
                               void (*on_more)(void *ctx), void *ctx, struct console_watch **out)
{
    struct node *n = rt->node;
    struct fake_run *r = run_of(n, unit);
    if (!r)
        return ERR_NOT_FOUND;
    struct console_watch *w = calloc(1, sizeof *w);
    CHECK(w);
    *w = (struct console_watch){.next = n->watches, .run = r, .on_more = on_more, .ctx = ctx};
    n->watches = w;
    *out = w;
    return ERR_OK;
}

bool unlink_watch(struct node *n, struct console_watch *w)
{
    for (struct console_watch **at = &n->watches; *at; at = &(*at)->next) {
        if (*at != w)
            continue;
        *at = w->next;
        free(w);
        return true;
    }
    return false;
}

void runtime_console_unwatch(struct console_watch **w)
{
    for (uint32_t i = 0; i < the_mesh->count; i++)
        if (unlink_watch(the_mesh->nodes[i], *w))
            break;
    *w = NULL;
}

struct fake_run *fake_run_find(struct fake_mesh *m, const char *app, uint16_t slot,
                               struct node **at)
{
    for (uint32_t i = 0; i < m->count; i++)
        for (struct fake_run *r = m->nodes[i]->runs; r; r = r->next)
            if (r->alive && strcmp(r->app, app) == 0 && r->unit.slot == slot && !m->nodes[i]->cut) {
                if (at)
                    *at = m->nodes[i];
                return r;
            }
    return NULL;
}

uint32_t fake_mesh_alive(const struct fake_mesh *m)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < m->count; i++)
        for (const struct fake_run *r = m->nodes[i]->runs; r; r = r->next)
            n += r->alive;
    return n;
}

uint32_t fake_run_pid(const struct fake_run *r)
{
    return r->pid;
}

void fake_run_print(struct fake_run *r, const void *p, size_t len)
{
    const uint8_t *b = p;
    for (size_t i = 0; i < len; i++)
        r->ring[r->written++ % FAKE_CONSOLE_RING] = b[i];
    later(r->node, LATER_CONSOLE, NULL, 0);
}

void fake_run_end(struct fake_run *r, enum end_cause cause, int32_t status)
{
    run_ended(r->node, &r->unit, cause, status);
}
