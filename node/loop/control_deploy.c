/* What changes something: commands, images taken from a client, and a deploy's own look at the
 * images it names. What meshctl checked already is checked again here: nobody has to come by
 * meshctl. */
#define _GNU_SOURCE
#include "node/loop/control_internal.h"

#include "store/model/args.h"
#include "store/model/devices.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

/* ---- Commands of the engine ---------------------------------------------------------------- */

struct order {
    struct conn *c;
    uint64_t id;
};

static void order_cancel(struct conn *c, void *task)
{
    struct order *o = task;
    if (o->id)
        node_forget(c->control->node, o->id);
    free(o);
}

static const struct conn_task order_ops = {.cancel = order_cancel};
static const struct conn_task ending_ops = {
    .cancel = order_cancel, .closing_err = ERR_OK, .closing_text = "the node has ended"};

static void on_reply(void *ctx, const struct effect_reply *reply)
{
    struct order *o = ctx;
    struct conn *c = o->c;
    struct control_message m =
        control_end(reply->err, "%s", reply->text ? reply->text : err_text(reply->err));
    m.end.app = reply->app;
    m.end.revision = reply->revision;
    free(o);
    conn_end_message(c, &m);
}

static struct order *order_begin(struct conn *c, const struct conn_task *ops)
{
    struct order *o = calloc(1, sizeof *o);
    if (o) {
        o->c = c;
        conn_begin(c, ops, o);
    } else {
        conn_end(c, ERR_NOMEM, "the node is out of memory");
    }
    return o;
}

static void order(struct conn *c, const struct command *command)
{
    bool ends = command->kind == COMMAND_LEAVE || command->kind == COMMAND_NODE_STOP;
    struct order *o = order_begin(c, ends ? &ending_ops : &order_ops);
    if (o)
        o->id =
            node_command(c->control->node, command, on_reply, o); /* never calls back from inside */
}

void control_command(struct conn *c, const struct control_command *o)
{
    struct engine *e = node_engine(c->control->node);
    struct command command = {
        .kind = o->kind,
        .app = o->app,
        .replicas = o->replicas,
        .slot = o->slot,
        .image = o->image,
        .ack = o->ack,
        .timeout_ms = o->timeout_ms,
    };
    if (o->kind == COMMAND_NODE_STOP && !o->guests) { /* answered when the socket is closed */
        if (order_begin(c, &ending_ops))
            node_stop(c->control->node);
        return;
    }
    if ((o->kind == COMMAND_MOVE || o->kind == COMMAND_VOLUME_MOVE) && o->node[0]) {
        enum err err = engine_find_node(e, o->node, &command.node);
        if (err) {
            conn_end(
                c, err,
                err == ERR_CONFLICT
                    ? "several live nodes go by %s; give an id, as `meshctl members` shows them"
                    : "no live node is called %s; `meshctl members` lists them",
                o->node);
            return;
        }
    }
    order(c, &command);
}

/* ---- Deploy -------------------------------------------------------------------------------- */

struct deploy {
    struct control_deploy ask; /* its spec points into spec_bytes */
    struct spec_body spec;
    const char **args; /* into args_text */
    char *args_text;
    struct images *images;
    enum err err; /* what the look at the images found */
    char text[700];
    struct network_names networks;
    uint8_t spec_bytes[];
};

static void deploy_free(struct deploy *d)
{
    free(d->args);
    free(d->args_text);
    free(d);
}

static void deploy_cancel(struct conn *c, void *task)
{
    (void)c;
    deploy_free(task);
}

static const struct conn_task deploy_ops = {.cancel = deploy_cancel};

/* The engine takes arguments as strings. */
static enum err args_read(struct deploy *d)
{
    struct slice rest = d->spec.args, arg;
    d->args = calloc(d->spec.args_count + 1, sizeof *d->args);
    d->args_text = malloc(d->spec.args.len + d->spec.args_count + 1);
    if (!d->args || !d->args_text)
        return ERR_NOMEM;
    char *at = d->args_text;
    for (uint32_t i = 0; i < d->spec.args_count && spec_arg_next(&rest, &arg); i++) {
        d->args[i] = at;
        if (arg.len)
            memcpy(at, arg.p, arg.len);
        at[arg.len] = '\0';
        at += arg.len + 1;
    }
    return ERR_OK;
}

__attribute__((format(printf, 3, 4))) static void wrong(struct deploy *d, enum err err,
                                                        const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    vsnprintf(d->text, sizeof d->text, format, ap);
    va_end(ap);
    d->err = err;
}

static void look_at_bytes(struct deploy *d, struct image_ref *ref, const void *bytes, size_t len)
{
    struct solo5_image image;
    struct utsname us;
    char text[600], name[HASH_TEXT];
    hash_text(&ref->image, name);
    enum err err = solo5_inspect(bytes, len, &image, text, sizeof text);
    if (err)
        wrong(d, err, "image %.16s: %s", name, text);
    else if (image.target != ref->target)
        wrong(d, ERR_INVALID, "image %.16s: it is built for %s, and is given for %s", name,
              target_name(image.target), target_name(ref->target));
    else if (uname(&us) == 0 && strcmp(us.machine, image.arch) != 0)
        wrong(d, ERR_UNSUPPORTED,
              "image %.16s: it is built for %s, and this mesh's hosts are %s; build it for %s",
              name, image.arch, us.machine, us.machine);
    else if ((err = devices_fit(&d->spec, &image, &d->networks, text, sizeof text)))
        wrong(d, err, "image %.16s: %s", name, text);
    else {
        ref->size_bytes = len;
        d->spec.mirage |= d->spec.net_count ? image.mirage : 0;
    }
}

static void look_at_image(struct deploy *d, struct image_ref *ref)
{
    char path[4096], name[HASH_TEXT];
    struct stat st;
    hash_text(&ref->image, name);
    int fd = images_path(d->images, &ref->image, path, sizeof path)
                 ? -1
                 : open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        wrong(d, ERR_NOT_FOUND, "image %.16s… is not at this node; upload it first", name);
        return;
    }
    void *p = MAP_FAILED;
    if (fstat(fd, &st) == 0 && st.st_size > 0 && st.st_size <= IMAGE_BYTES_MAX)
        p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    close(fd);
    if (p == MAP_FAILED) {
        wrong(d, ERR_IO, "image %.16s…: can't be read at this node: %s", name, strerror(errno));
        return;
    }
    look_at_bytes(d, ref, p, (size_t)st.st_size);
    munmap(p, (size_t)st.st_size);
}

static void deploy_look(void *task)
{
    struct deploy *d = task;
    for (uint32_t i = 0; i < d->spec.image_count && !d->err; i++)
        look_at_image(d, &d->spec.images[i]);
    if (!d->err && d->spec.net_count == 0 && !access_empty(&d->spec.access))
        wrong(d, ERR_INVALID, "ports, publish, allow or deny: its image has no net device, so nothing comes in to it");
    for (uint32_t i = 0; i < d->spec.args_count && !d->err; i++)
        d->err = arg_check(d->args[i], &d->spec, d->text, sizeof d->text); /* its nets are known now */
}

struct dry_run {
    const char *name;
    uint32_t revision, replicas;
};

static void dry_run_app(void *ctx, const struct app_view *v)
{
    struct dry_run *r = ctx;
    if (v->shadowed || strcmp(v->spec.name, r->name) != 0)
        return;
    r->revision = v->spec.revision;
    r->replicas = v->replicas;
}

static void dry_run(struct conn *c, struct deploy *d)
{
    struct dry_run r = {.name = d->spec.name};
    engine_each_app(node_engine(c->control->node), dry_run_app, &r);
    uint32_t replicas = d->ask.replicas != REPLICAS_KEEP ? d->ask.replicas
                        : r.revision                     ? r.replicas
                                                         : 1;
    struct control_message m = control_end(
        ERR_OK, "would %s %s: revision %u, %u replica%s of %uM", r.revision ? "change" : "create",
        d->spec.name, r.revision + 1, replicas, replicas == 1 ? "" : "s", d->spec.memory_mib);
    m.end.revision = r.revision + 1;
    deploy_free(d);
    conn_end_message(c, &m);
}

static void deploy_looked(struct conn *c, void *task)
{
    struct deploy *d = task;
    if (d->err) {
        struct control_message m = control_end(d->err, "%s", d->text);
        deploy_free(d);
        conn_end_message(c, &m);
        return;
    }
    if (d->ask.dry_run) {
        dry_run(c, d);
        return;
    }
    const struct command command = {
        .kind = COMMAND_DEPLOY,
        .app = d->spec.name,
        .replicas = d->ask.replicas,
        .spec = &d->spec,
        .args = d->args,
        .args_count = d->spec.args_count,
        .ack = d->ask.ack,
        .timeout_ms = d->ask.timeout_ms,
    };
    c->ops = NULL; /* the next task has the connection */
    order(c, &command);
    deploy_free(d);
}

/* Of all members: which of them are up is not for whoever writes an app to know. */
static void networks_known(struct conn *c, struct network_names *out)
{
    struct engine *e = node_engine(c->control->node);
    const struct swim *s = engine_members(e);
    size_t i = 0;
    node_id node = engine_self(e);
    for (const struct member *m; node; node = (m = swim_next(s, &i)) ? m->node : 0) {
        struct node_body b;
        if (engine_node(e, node, &b) || b.flags & NODE_LEFT)
            continue;
        for (uint32_t j = 0; j < b.network_count; j++)
            network_names_add(out, b.networks[j]);
    }
}

static void deploy_begin(struct conn *c, struct deploy *d)
{
    enum err err = spec_body_decode(d->ask.spec, &d->spec);
    if (err) {
        deploy_free(d);
        conn_end(c, err, "the app that was sent is malformed: %s", err_text(err));
        return;
    }
    if (d->ask.replicas != REPLICAS_KEEP && d->ask.replicas > REPLICAS_MAX) {
        uint32_t replicas = d->ask.replicas;
        deploy_free(d);
        conn_end(c, ERR_INVALID, "replicas: %u is more than the %d that an app may have", replicas,
                 REPLICAS_MAX);
        return;
    }
    if (args_read(d)) {
        deploy_free(d);
        conn_end(c, ERR_NOMEM, "the node is out of memory");
        return;
    }
    for (uint32_t i = 0; i < d->spec.args_count; i++) {
        char text[256];
        if (!arg_check(d->args[i], NULL, text, sizeof text))
            continue;
        deploy_free(d);
        conn_end(c, ERR_INVALID, "%s", text);
        return;
    }
    d->images = node_images(c->control->node);
    networks_known(c, &d->networks);
    conn_begin(c, &deploy_ops, d);
    if (d->ask.dry_run) /* its images were not uploaded for that */
        dry_run(c, d);
    else
        conn_work(c, deploy_look, deploy_looked);
}

void control_deploy(struct conn *c, const struct control_deploy *ask)
{
    struct deploy *d = calloc(1, sizeof *d + ask->spec.len + 1);
    if (!d) {
        conn_end(c, ERR_NOMEM, "the node is out of memory");
        return;
    }
    d->ask = *ask;
    if (ask->spec.len)
        memcpy(d->spec_bytes, ask->spec.p, ask->spec.len);
    d->ask.spec.p = d->spec_bytes;
    deploy_begin(c, d);
}

/* ---- Images -------------------------------------------------------------------------------- */

/* Each step that may wait for the disk is a piece of work; the client's next chunk waits in the
 * socket meanwhile. */
struct upload {
    struct images *images;
    struct image_part *part;
    struct hash image;
    uint64_t size_bytes;
    uint32_t chunks, next;
    struct slice bytes; /* the list, or a chunk: in the connection's buffer while the work is on */
    enum err err;
};

static void upload_free(struct conn *c, struct upload *u)
{
    image_part_abort(&u->part);
    c->control->upload_count--;
    free(u);
}

static void upload_cancel(struct conn *c, void *task)
{
    upload_free(c, task);
}

static void upload_fail(struct conn *c, struct upload *u)
{
    enum err err = u->err;
    uint32_t at = u->next;
    upload_free(c, u);
    if (err == ERR_BUSY)
        conn_end(c, err, "another is storing this image right now; try again");
    else if (err == ERR_DISK_FULL)
        conn_end(
            c, err,
            "the disk that this node keeps its images on is full; `meshctl image rm` makes room");
    else if (err == ERR_CORRUPT || err == ERR_INVALID)
        conn_end(c, err, "chunk %u is not what the image's list says", at);
    else
        conn_end(c, err, "the image can't be stored: %s", err_text(err));
}

static void upload_done(struct conn *c, struct upload *u)
{
    node_image_added(c->control->node, &u->image, u->size_bytes);
    upload_free(c, u);
    conn_end(c, ERR_OK, "stored");
}

static void begin_work(void *task)
{
    struct upload *u = task;
    u->err = image_part_begin(u->images, &u->image, u->bytes.p, u->bytes.len, &u->part);
}

static void begin_done(struct conn *c, void *task)
{
    struct upload *u = task;
    if (u->err == ERR_EXISTS) {
        upload_done(c, u);
        return;
    }
    if (u->err) {
        upload_fail(c, u);
        return;
    }
    const struct control_message m = {.type = CONTROL_WANT,
                                      .want = {.first = 0, .count = u->chunks}};
    conn_send(c, &m);
}

static void chunk_work(void *task)
{
    struct upload *u = task;
    u->err = image_part_put(u->part, u->next, u->bytes.p, u->bytes.len);
    if (!u->err && u->next + 1 == u->chunks)
        u->err = image_part_commit(&u->part);
}

static void chunk_done(struct conn *c, void *task)
{
    struct upload *u = task;
    if (u->err)
        upload_fail(c, u);
    else if (++u->next == u->chunks)
        upload_done(c, u);
}

static void upload_message(struct conn *c, void *task, const struct control_message *m)
{
    struct upload *u = task;
    if (m->type != CONTROL_CHUNK || m->chunk.index != u->next) {
        upload_free(c, u);
        conn_end(c, ERR_INVALID, "chunks are to come in their order");
        return;
    }
    u->bytes = m->chunk.bytes;
    conn_work(c, chunk_work, chunk_done);
}

static const struct conn_task upload_ops = {.on_message = upload_message, .cancel = upload_cancel};

void control_image_put(struct conn *c, const struct control_image_put *p)
{
    struct control *ctl = c->control;
    uint64_t size;
    uint32_t chunks;
    enum err err = image_list_check(p->list.p, p->list.len, &p->image, &size, &chunks);
    if (err) {
        conn_end(c, err, "the image's list is not right: %s", err_text(err));
        return;
    }
    if (engine_has_image(node_engine(ctl->node), &p->image)) {
        conn_end(c, ERR_OK, "this node has it already");
        return;
    }
    if (ctl->upload_count == CONTROL_UPLOADS_MAX) {
        conn_end(c, ERR_BUSY, "%d images are on their way to this node already; try again",
                 CONTROL_UPLOADS_MAX);
        return;
    }
    struct upload *u = calloc(1, sizeof *u);
    if (!u) {
        conn_end(c, ERR_NOMEM, "the node is out of memory");
        return;
    }
    ctl->upload_count++;
    *u = (struct upload){.images = node_images(ctl->node),
                         .image = p->image,
                         .size_bytes = size,
                         .chunks = chunks,
                         .bytes = p->list};
    conn_begin(c, &upload_ops, u);
    conn_work(c, begin_work, begin_done);
}
