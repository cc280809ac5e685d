/* meshctl volume …: what guests wrote, by name.
 *
 * A slot's volume is called APP/SLOT/DEVICE. What no slot has any more, as its app was removed or its slot has another
 * one, is told apart by its app's uid and its epoch: APP/SLOT/DEVICE@UID-EPOCH. */
#define _GNU_SOURCE
#include "ctl/show.h"
#include "ctl/text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { VOLUME_NAME_SIZE = NAME_SIZE + DEVICE_SIZE + 64, COPY_TIMEOUT_MS = 60000 };

static void volume_name(const struct control_volume *v, char out[static VOLUME_NAME_SIZE])
{
    char uid[UID_TEXT];
    uid_text(&v->id.app, uid);
    int n = snprintf(out, VOLUME_NAME_SIZE, "%s/%u/%s", v->app[0] ? v->app : "?", v->id.slot, v->device);
    if (v->use == VOLUME_USE_NONE || v->use == VOLUME_USE_OLD)
        snprintf(out + n, (size_t)(VOLUME_NAME_SIZE - n), "@%.8s-%llx", uid, (unsigned long long)v->id.epoch);
}

static const char *use_text(const struct control_volume *v)
{
    return v->held                            ? "in use"
           : v->use == VOLUME_USE_WANTED      ? "waits for its guest"
           : v->use == VOLUME_USE_KEPT        ? "kept"
           : v->use == VOLUME_USE_OLD         ? "old: its slot has another"
                                              : "its app was removed";
}

/* ---- ls ------------------------------------------------------------------------------------------ */

const struct column VOLUME_COLUMNS[] = {{"VOLUME", false, false}, {"NODE", false, false}, {"SIZE", true, false},
                                        {"ON DISK", true, false}, {"STATE", false, false}, {NULL, false, false}};

static json_t *volume_json(const struct control_volume *v)
{
    char name[VOLUME_NAME_SIZE], uid[UID_TEXT];
    json_t *o = json_object();
    volume_name(v, name);
    uid_text(&v->id.app, uid);
    json_put(o, "volume", json_string(name));
    json_put(o, "app", json_text(v->app));
    json_put(o, "uid", json_string(uid));
    json_put(o, "slot", json_u64(v->id.slot));
    json_put(o, "device", json_string(v->device));
    json_put(o, "epoch", json_u64(v->id.epoch));
    json_put(o, "node", json_text(v->node_name));
    json_put(o, "node_id", json_node_id(v->node));
    json_put(o, "size", json_u64(v->size_bytes));
    json_put(o, "disk", json_u64(v->disk_bytes));
    json_put(o, "in_use", json_boolean(v->held));
    json_put(o, "state", json_string(use_text(v)));
    return o;
}

void volume_row(void *ctx, const struct control_message *m)
{
    struct listing *l = ctx;
    char name[VOLUME_NAME_SIZE], size[SIZE_TEXT];
    if (m->type != CONTROL_VOLUME)
        return;
    volume_name(&m->volume, name);
    if (l->cli->output == OUTPUT_JSON) {
        json_array_append_new(l->array, volume_json(&m->volume));
        return;
    }
    if (l->cli->output == OUTPUT_NAME) {
        printf("%s\n", name);
        return;
    }
    table_line(&l->table);
    table_cell(&l->table, name);
    table_cell(&l->table, m->volume.node_name);
    size_text(m->volume.size_bytes, size);
    table_cell(&l->table, size);
    size_text(m->volume.disk_bytes, size);
    table_cell(&l->table, size);
    table_cell(&l->table, use_text(&m->volume));
}

/* ---- By name ------------------------------------------------------------------------------------- */

struct named {
    const char *name;
    uint32_t count;
    struct control_volume volume;
};

static void named_row(void *ctx, const struct control_message *m)
{
    struct named *n = ctx;
    char name[VOLUME_NAME_SIZE];
    if (m->type != CONTROL_VOLUME)
        return;
    volume_name(&m->volume, name);
    if (strcmp(name, n->name) != 0)
        return;
    n->volume = m->volume;
    n->count++;
}

static enum cli_status volume_find(struct cli *cli, const char *name, enum control_volume_op op,
                                   struct control_message *ask, uint64_t *size_bytes)
{
    const struct control_message m = {.type = CONTROL_VOLUMES};
    struct named n = {.name = name};
    struct control_end end;
    enum cli_status status = cli_ask(cli, &m, CLIENT_TIMEOUT_MS, named_row, &n, &end);
    if (status)
        return status;
    if (n.count == 0 && end.err)
        return cli_fail_end(&end);
    if (n.count == 0)
        return cli_fail(CLI_NOT_FOUND, "no volume is called %s; `meshctl volume ls` lists them", name);
    if (n.count > 1)
        return cli_fail(CLI_CONFLICT, "%u volumes are called %s", n.count, name);
    *ask = (struct control_message){.type = CONTROL_VOLUME_ASK};
    ask->volume_ask = (struct control_volume_ask){.op = op, .node = n.volume.node, .id = n.volume.id};
    memcpy(ask->volume_ask.device, n.volume.device, sizeof ask->volume_ask.device);
    *size_bytes = n.volume.size_bytes;
    return CLI_OK;
}

static enum cli_status volume_fail(const char *name, const struct control_end *end)
{
    return cli_fail(cli_status_of(end->err), "%s: %s", name, end->text);
}

enum cli_status cli_volume_remove(struct cli *cli, int argc, char **argv)
{
    (void)argc;
    struct control_message ask;
    struct control_end end;
    uint64_t size;
    enum cli_status status = volume_find(cli, argv[0], CONTROL_VOLUME_REMOVE, &ask, &size);
    if (!status)
        status = cli_ask(cli, &ask, CLIENT_TIMEOUT_MS, NULL, NULL, &end);
    if (status)
        return status;
    if (end.err)
        return volume_fail(argv[0], &end);
    printf("%s is removed\n", argv[0]);
    return CLI_OK;
}

/* ---- export -------------------------------------------------------------------------------------- */

struct copy {
    int fd;
    int error;
};

static void copy_row(void *ctx, const struct control_message *m)
{
    struct copy *c = ctx;
    const uint8_t *p = m->output.bytes.p;
    size_t len = m->type == CONTROL_OUTPUT ? m->output.bytes.len : 0;
    uint64_t at = m->output.offset;
    while (len > 0 && !c->error) {
        ssize_t n = pwrite(c->fd, p, len, (off_t)at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            c->error = n < 0 ? errno : EIO;
            return;
        }
        p += n;
        at += (uint64_t)n;
        len -= (size_t)n;
    }
}

static enum cli_status export_to(struct cli *cli, const char *name, const char *path, const struct control_message *ask,
                                 uint64_t size)
{
    struct control_end end;
    struct copy c = {.fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600)};
    if (c.fd < 0)
        return cli_fail(errno == EEXIST ? CLI_CONFLICT : CLI_FAILED, "%s: %s", path, strerror(errno));
    enum cli_status status = cli_ask(cli, ask, COPY_TIMEOUT_MS, copy_row, &c, &end);
    if (!status && end.err)
        status = volume_fail(name, &end);
    if (!status && (c.error || ftruncate(c.fd, (off_t)size) < 0 || fsync(c.fd) < 0))
        status = cli_fail(CLI_FAILED, "%s: %s", path, strerror(c.error ? c.error : errno));
    close(c.fd);
    if (status)
        unlink(path);
    else
        printf("%s is in %s\n", name, path);
    return status;
}

enum cli_status cli_volume_export(struct cli *cli, int argc, char **argv)
{
    (void)argc;
    struct control_message ask;
    uint64_t size = 0;
    enum cli_status status = volume_find(cli, argv[0], CONTROL_VOLUME_READ, &ask, &size);
    if (status)
        return status;
    ask.volume_ask.live = cli->live;
    if (cli->live)
        fprintf(stderr, "meshctl: what a guest writes meanwhile may be half in it: as after a power cut, or worse\n");
    return export_to(cli, argv[0], argv[1], &ask, size);
}

/* ---- import -------------------------------------------------------------------------------------- */

/* The next piece to send; none: all has been sent. */
static enum cli_status piece_read(int fd, const char *path, uint64_t *at, uint8_t *bytes, struct control_message *m)
{
    size_t len = 0;
    while (len < IMAGE_CHUNK) {
        ssize_t n = pread(fd, bytes + len, IMAGE_CHUNK - len, (off_t)(*at + len));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return cli_fail(CLI_FAILED, "%s: %s", path, strerror(errno));
        if (n == 0)
            break;
        len += (size_t)n;
    }
    *m = (struct control_message){.type = CONTROL_VOLUME_DATA};
    m->volume_data = (struct control_volume_data){.offset = *at, .bytes = {.p = bytes, .len = len}};
    *at += len;
    return CLI_OK;
}

static enum cli_status import_from(struct cli *cli, const char *name, const char *path, int fd,
                                   const struct control_message *ask)
{
    static uint8_t bytes[IMAGE_CHUNK];
    uint64_t at = 0;
    enum err err = client_send(cli->client, ask);
    enum cli_status status = CLI_OK;
    while (!err && !status) {
        struct control_message m;
        err = client_receive(cli->client, COPY_TIMEOUT_MS, &m);
        if (err)
            break;
        if (m.type == CONTROL_END && m.end.err)
            return volume_fail(name, &m.end);
        if (m.type == CONTROL_END) {
            printf("%s has what %s has\n", name, path);
            return CLI_OK;
        }
        if (m.type != CONTROL_WANT)
            continue;
        status = piece_read(fd, path, &at, bytes, &m);
        if (!status)
            err = client_send(cli->client, &m);
    }
    return status ? status : cli_fail_connection(err);
}

enum cli_status cli_volume_import(struct cli *cli, int argc, char **argv)
{
    (void)argc;
    struct control_message ask;
    struct stat st;
    uint64_t size = 0;
    int fd = open(argv[1], O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0) {
        enum cli_status failed = cli_fail(CLI_FAILED, "%s: %s", argv[1], strerror(errno));
        if (fd >= 0)
            close(fd);
        return failed;
    }
    enum cli_status status = volume_find(cli, argv[0], CONTROL_VOLUME_WRITE, &ask, &size);
    if (!status && (uint64_t)st.st_size != size)
        status = cli_fail(CLI_FAILED, "%s has %llu bytes, and the volume %s has %llu", argv[1],
                          (unsigned long long)st.st_size, argv[0], (unsigned long long)size);
    if (!status)
        status = import_from(cli, argv[0], argv[1], fd, &ask);
    close(fd);
    return status;
}
