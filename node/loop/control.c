#define _GNU_SOURCE
#include "node/loop/control_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static void conn_close(struct conn *c);
static void conn_flush(struct conn *c);
static void conn_next(struct conn *c);

static uint64_t now_ms(const struct control *ctl)
{
    return uv_now(node_loop(ctl->node));
}

/* ---- The end of a connection --------------------------------------------------------------- */

static void on_handle_closed(uv_handle_t *h);

static void gone_check(struct control *ctl)
{
    if (!ctl->closing || ctl->conn_count > 0)
        return;
    if (!uv_is_closing((uv_handle_t *)&ctl->timer))
        uv_close((uv_handle_t *)&ctl->timer, on_handle_closed);
    if (ctl->handles > 0)
        return;
    void (*on_gone)(void *) = ctl->on_gone;
    void *ctx = ctl->on_gone_ctx;
    free(ctl);
    if (on_gone)
        on_gone(ctx);
}

static void on_handle_closed(uv_handle_t *h)
{
    struct control *ctl = h->data;
    ctl->handles--;
    gone_check(ctl);
}

static void conn_cancel(struct conn *c)
{
    const struct conn_task *ops = c->ops;
    if (!ops || c->working)
        return;
    c->ops = NULL;
    ops->cancel(c, c->task);
}

static void conn_free(struct conn *c)
{
    struct control *ctl = c->control;
    ctl->out_bytes -= c->out_size + c->writing_len;
    free(c->out);
    free(c->writing_bytes);
    if (c->prev)
        c->prev->next = c->next;
    else
        ctl->conns = c->next;
    if (c->next)
        c->next->prev = c->prev;
    ctl->conn_count--;
    free(c);
    gone_check(ctl);
}

static void on_conn_closed(uv_handle_t *h)
{
    struct conn *c = h->data;
    c->pipe.data = NULL; /* the handle is gone; the rest waits for the worker */
    if (!c->working)
        conn_free(c);
}

static void conn_close(struct conn *c)
{
    if (c->state == CONN_CLOSED)
        return;
    c->state = CONN_CLOSED;
    conn_cancel(c); /* at once: nothing may call back into what is closed */
    uv_close((uv_handle_t *)&c->pipe, on_conn_closed);
}

/* ---- Writing ------------------------------------------------------------------------------- */

static void on_written(uv_write_t *req, int status)
{
    struct conn *c = req->data;
    c->writing = false;
    c->control->out_bytes -= c->writing_len;
    free(c->writing_bytes);
    c->writing_bytes = NULL;
    c->writing_len = 0;
    c->progress_ms = now_ms(c->control);
    if (c->state == CONN_CLOSED)
        return;
    if (status < 0) {
        conn_close(c);
        return;
    }
    if (c->out_len == 0 && c->state == CONN_OPEN && c->ops && !c->working && c->ops->on_drain)
        c->ops->on_drain(c, c->task);
    if (c->state != CONN_CLOSED)
        conn_flush(c);
}

static void conn_flush(struct conn *c)
{
    if (c->writing || c->state == CONN_CLOSED)
        return;
    if (c->out_len == 0) {
        if (c->state == CONN_ENDING)
            conn_close(c);
        return;
    }
    c->writing_bytes = c->out;
    c->writing_len = c->out_size;
    uv_buf_t buf = uv_buf_init((char *)c->out, (unsigned)c->out_len);
    c->out = NULL;
    c->out_len = c->out_size = 0;
    c->writing = true;
    c->write.data = c;
    c->progress_ms = now_ms(c->control);
    c->queue_before = SIZE_MAX;
    if (uv_write(&c->write, (uv_stream_t *)&c->pipe, &buf, 1, on_written) < 0) {
        c->writing = false;
        c->doomed = true;
    }
}

static bool out_grow(struct conn *c)
{
    size_t size = c->out_size ? c->out_size * 2 : 64 * 1024;
    if (size > CONTROL_OUT_MAX || c->control->out_bytes + (size - c->out_size) > CONTROL_OUT_TOTAL)
        return false;
    uint8_t *p = realloc(c->out, size);
    if (!p)
        return false;
    c->control->out_bytes += size - c->out_size;
    c->out = p;
    c->out_size = size;
    return true;
}

static void message_append(struct conn *c, const struct control_message *m)
{
    for (;;) {
        struct pack k;
        pack_init(&k, c->out, c->out_size);
        k.len = c->out_len;
        if (c->out && !control_encode(m, &k)) {
            c->out_len = k.len;
            return;
        }
        CHECK(c->out_size <= CONTROL_OUT_MAX);
        if (!out_grow(c)) { /* it reads too slowly, or asks for too much: it is never waited for */
            c->doomed = true;
            return;
        }
    }
}

void conn_send(struct conn *c, const struct control_message *m)
{
    if (c->state == CONN_OPEN && !c->doomed) {
        message_append(c, m);
        conn_flush(c); /* while that is on its way, what follows gathers */
    }
}

bool conn_has_room(const struct conn *c)
{
    return c->state == CONN_OPEN && !c->doomed && c->out_len < CONTROL_OUT_SOFT &&
           c->writing_len < CONTROL_OUT_SOFT;
}

/* ---- Requests ------------------------------------------------------------------------------ */

void conn_begin(struct conn *c, const struct conn_task *ops, void *task)
{
    CHECK(!c->ops);
    c->ops = ops;
    c->task = task;
}

void conn_end_message(struct conn *c, const struct control_message *m)
{
    c->ops = NULL;
    c->task = NULL;
    conn_send(c, m);
    if (!c->handling)
        conn_next(c);
}

void conn_end(struct conn *c, enum err err, const char *format, ...)
{
    struct control_message m = {.type = CONTROL_END};
    va_list ap;
    m.end.err = err;
    va_start(ap, format);
    vsnprintf(m.end.text, sizeof m.end.text, format, ap);
    va_end(ap);
    conn_end_message(c, &m);
}

static void about(struct conn *c)
{
    struct control_message m = {.type = CONTROL_ABOUT};
    struct engine *e = node_engine(c->control->node);
    m.about.node = engine_self(e);
    snprintf(m.about.version, sizeof m.about.version, "%s", node_version());
    control_node_name(e, m.about.node, m.about.name);
    conn_send(c, &m);
    conn_end(c, ERR_OK, "ok");
}

static void request(struct conn *c, const struct control_message *m)
{
    switch (m->type) {
    case CONTROL_HELLO:
        about(c);
        return;
    case CONTROL_MEMBERS:
        control_members(c);
        return;
    case CONTROL_APPS:
        control_apps(c);
        return;
    case CONTROL_UNITS:
        control_units(c, m->app);
        return;
    case CONTROL_INSPECT:
        control_inspect(c, m->app);
        return;
    case CONTROL_DEPLOY:
        control_deploy(c, &m->deploy);
        return;
    case CONTROL_COMMAND:
        control_command(c, &m->command);
        return;
    case CONTROL_IMAGE_PUT:
        control_image_put(c, &m->image_put);
        return;
    case CONTROL_IMAGES:
        control_images(c);
        return;
    case CONTROL_COUNTERS:
        control_counters(c);
        return;
    case CONTROL_LOGS:
        control_logs(c, &m->logs);
        return;
    case CONTROL_EVENTS:
        control_events(c, &m->events);
        return;
    case CONTROL_VOLUMES:
        control_volumes(c);
        return;
    case CONTROL_TOP:
        control_top(c);
        return;
    case CONTROL_VOLUME_ASK:
        control_volume_ask(c, &m->volume_ask);
        return;
    case CONTROL_CHUNK:
    case CONTROL_VOLUME_DATA:
    case CONTROL_VOLUME:
    case CONTROL_ABOUT:
    case CONTROL_MEMBER:
    case CONTROL_APP:
    case CONTROL_UNIT:
    case CONTROL_IMAGE:
    case CONTROL_WANT:
    case CONTROL_OUTPUT:
    case CONTROL_EVENT:
    case CONTROL_END:
    case CONTROL_COUNTER:
    case CONTROL_USAGE:
        break;
    }
    conn_end(c, ERR_INVALID, "that is no request (message %d)", m->type);
}

/* Last words to who doesn't speak as we do. */
static void conn_reject(struct conn *c, enum err err)
{
    if (err == ERR_UNSUPPORTED)
        conn_end(c, err,
                 "this node (%s) speaks version %d of the control protocol; use its own meshctl",
                 node_version(), CONTROL_VERSION);
    else
        conn_end(c, err, "the request is no message of the control protocol: %s", err_text(err));
    if (c->state == CONN_OPEN)
        c->state = CONN_ENDING;
    conn_flush(c);
}

/* ---- Reading ------------------------------------------------------------------------------- */

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *buf)
{
    (void)suggested;
    struct conn *c = h->data;
    *buf = uv_buf_init((char *)c->in + c->in_len, (unsigned)(sizeof c->in - c->in_len));
}

static void on_read(uv_stream_t *s, ssize_t n, const uv_buf_t *buf)
{
    (void)buf;
    struct conn *c = s->data;
    if (n == UV_ENOBUFS) { /* our buffer is full */
        uv_read_stop(s);
        c->reading = false;
        return;
    }
    if (n < 0) { /* the client has gone */
        conn_close(c);
        return;
    }
    if (c->in_len == 0)
        c->progress_ms = now_ms(c->control);
    c->in_len += (size_t)n;
    conn_next(c);
}

static void frame_done(struct conn *c)
{
    if (c->in_used == 0)
        return;
    memmove(c->in, c->in + c->in_used, c->in_len - c->in_used);
    c->in_len -= c->in_used;
    c->in_used = 0;
    c->progress_ms = now_ms(c->control);
}

/* Handle the frames that are whole, as far as the task allows. */
static void conn_next(struct conn *c)
{
    c->handling = true;
    while (c->state == CONN_OPEN && !c->working && !c->doomed) {
        size_t len;
        struct control_message m;
        frame_done(c);
        if ((c->ops && !c->ops->on_message) || c->in_len < CONTROL_HEAD)
            break;
        enum err err = control_length(c->in, &len);
        if (!err && c->in_len - CONTROL_HEAD < len)
            break;
        if (!err)
            err = control_decode(c->in + CONTROL_HEAD, len, &m);
        if (err) {
            if (c->ops)
                conn_close(c);
            else
                conn_reject(c, err);
            break;
        }
        c->in_used = CONTROL_HEAD + len;
        if (c->ops)
            c->ops->on_message(c, c->task, &m);
        else
            request(c, &m);
    }
    c->handling = false;
    if (c->state == CONN_OPEN && !c->reading && c->in_len < sizeof c->in) {
        c->reading = true;
        if (uv_read_start((uv_stream_t *)&c->pipe, on_alloc, on_read) < 0)
            conn_close(c);
    }
}

/* ---- Work in a thread ---------------------------------------------------------------------- */

static void on_work(uv_work_t *w)
{
    struct conn *c = w->data;
    c->work_run(c->task);
}

static void on_work_done(uv_work_t *w, int status)
{
    (void)status;
    struct conn *c = w->data;
    c->working = false;
    if (c->state == CONN_OPEN) {
        c->work_done(c, c->task);
        conn_next(c);
        return;
    }
    conn_cancel(c);
    if (!c->pipe.data)
        conn_free(c);
}

void conn_work(struct conn *c, void (*run)(void *task), void (*done)(struct conn *c, void *task))
{
    CHECK(c->ops && !c->working);
    c->work_run = run;
    c->work_done = done;
    c->work.data = c;
    c->working = true;
    CHECK(uv_queue_work(node_loop(c->control->node), &c->work, on_work, on_work_done) == 0);
}

/* ---- The socket ---------------------------------------------------------------------------- */

static void on_connection(uv_stream_t *s, int status)
{
    struct control *ctl = s->data;
    if (status < 0)
        return;
    struct conn *c = calloc(1, sizeof *c);
    if (!c)
        return; /* it stays in the backlog */
    c->control = ctl;
    c->pipe.data = c;
    c->progress_ms = now_ms(ctl);
    CHECK(uv_pipe_init(node_loop(ctl->node), &c->pipe, 0) == 0);
    c->next = ctl->conns;
    if (c->next)
        c->next->prev = c;
    ctl->conns = c;
    ctl->conn_count++;
    if (uv_accept(s, (uv_stream_t *)&c->pipe) < 0) {
        conn_close(c);
        return;
    }
    if (ctl->conn_count > CONTROL_CONNECTIONS_MAX) {
        conn_end(c, ERR_BUSY, "%d commands are at this node's socket already; try again",
                 CONTROL_CONNECTIONS_MAX);
        if (c->state == CONN_OPEN)
            c->state = CONN_ENDING;
        conn_flush(c);
        return;
    }
    conn_next(c);
}

static bool stalled(struct conn *c, uint64_t now)
{
    if (c->writing) {
        size_t queued = uv_stream_get_write_queue_size((uv_stream_t *)&c->pipe);
        if (queued != c->queue_before) {
            c->queue_before = queued;
            c->progress_ms = now;
        }
        return now - c->progress_ms >= CONTROL_STALL_MS;
    }
    bool waits_for_client = !c->working && (!c->ops || c->ops->on_message);
    if (!waits_for_client)
        c->progress_ms = now;
    return now - c->progress_ms >= CONTROL_IDLE_MS;
}

static void on_tick(uv_timer_t *t)
{
    struct control *ctl = t->data;
    uint64_t now = now_ms(ctl);
    bool cut = ctl->closing && now - ctl->closing_ms >= CONTROL_LINGER_MS;
    for (struct conn *c = ctl->conns, *next; c; c = next) {
        next = c->next;
        if (cut || c->doomed || stalled(c, now))
            conn_close(c);
    }
}

/* Does somebody answer at the path? A socket that nobody listens at is left over, and goes. */
static enum err path_free(const struct sockaddr_un *sa)
{
    struct stat st;
    if (lstat(sa->sun_path, &st) < 0)
        return errno == ENOENT ? ERR_OK : errno == EACCES ? ERR_DENIED : ERR_IO;
    if (!S_ISSOCK(st.st_mode))
        return ERR_EXISTS;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return ERR_IO;
    int r = connect(fd, (const struct sockaddr *)sa, sizeof *sa);
    int e = errno;
    close(fd);
    if (r == 0 || e == EAGAIN)
        return ERR_BUSY;
    if (e == EACCES)
        return ERR_DENIED;
    return e == ECONNREFUSED && unlink(sa->sun_path) == 0 ? ERR_OK : ERR_IO;
}

/* Bound, then given its mode, then listening: nobody gets in between. */
static enum err listen_at(const struct sockaddr_un *sa, int *out)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return ERR_IO;
    enum err err = ERR_OK;
    if (bind(fd, (const struct sockaddr *)sa, sizeof *sa) < 0)
        err = errno == EACCES || errno == EPERM ? ERR_DENIED
              : errno == EADDRINUSE             ? ERR_BUSY
                                                : ERR_IO;
    else if (chmod(sa->sun_path, 0660) < 0)
        err = ERR_IO;
    if (err) {
        int e = errno;
        close(fd);
        errno = e;
        return err;
    }
    *out = fd;
    return ERR_OK;
}

enum err control_new(struct control **out, struct node *n, const char *path, char *why,
                     size_t why_size)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof sa.sun_path) {
        snprintf(
            why, why_size,
            "%s: is longer than the %zu bytes that a socket's path may have; give a shorter --run",
            path, sizeof sa.sun_path - 1);
        return ERR_TOO_LARGE;
    }
    snprintf(sa.sun_path, sizeof sa.sun_path, "%s", path);
    int fd = -1;
    errno = 0;
    enum err err = path_free(&sa);
    if (!err)
        err = listen_at(&sa, &fd);
    if (err) {
        snprintf(why, why_size,
                 err == ERR_BUSY
                     ? "%s: another node answers there; give this one a --run of its own%s"
                 : err == ERR_EXISTS
                     ? "%s: is there, and is no socket; remove it, or give another --run%s"
                     : "%s: %s",
                 path, err == ERR_BUSY || err == ERR_EXISTS ? "" : strerror(errno));
        return err == ERR_EXISTS ? ERR_IO : err;
    }
    struct control *ctl = calloc(1, sizeof *ctl);
    if (!ctl) {
        close(fd);
        unlink(path);
        snprintf(why, why_size, "out of memory");
        return ERR_NOMEM;
    }
    ctl->node = n;
    memcpy(ctl->path, sa.sun_path, sizeof ctl->path);
    ctl->listener.data = ctl->timer.data = ctl;
    CHECK(uv_pipe_init(node_loop(n), &ctl->listener, 0) == 0);
    CHECK(uv_timer_init(node_loop(n), &ctl->timer) == 0);
    ctl->handles = 2;
    CHECK(uv_pipe_open(&ctl->listener, fd) == 0);
    int r = uv_listen((uv_stream_t *)&ctl->listener, 64, on_connection);
    if (r < 0) {
        snprintf(why, why_size, "%s: %s", path, uv_strerror(r));
        control_close(&ctl, NULL, NULL);
        return ERR_IO;
    }
    uv_timer_start(&ctl->timer, on_tick, CONTROL_TICK_MS, CONTROL_TICK_MS);
    *out = ctl;
    return ERR_OK;
}

/* The node ends: say so to who waits. */
static void conn_farewell(struct conn *c)
{
    if (c->state != CONN_OPEN)
        return;
    if (c->ops) {
        const struct conn_task *ops = c->ops;
        struct control_message m = control_end(
            ops->closing_text ? ops->closing_err : ERR_CLOSED, "%s",
            ops->closing_text ? ops->closing_text : "the node ended before it was done");
        conn_cancel(c);
        message_append(c, &m);
    }
    c->state = CONN_ENDING;
    conn_flush(c);
}

void control_close(struct control **pctl, void (*on_gone)(void *ctx), void *ctx)
{
    struct control *ctl = *pctl;
    *pctl = NULL;
    ctl->closing = true;
    ctl->closing_ms = now_ms(ctl);
    ctl->on_gone = on_gone;
    ctl->on_gone_ctx = ctx;
    unlink(ctl->path);
    uv_close((uv_handle_t *)&ctl->listener, on_handle_closed);
    for (struct conn *c = ctl->conns, *next; c; c = next) {
        next = c->next;
        conn_farewell(c);
    }
    gone_check(ctl);
}
