/* meshctl deploy: look at everything here first, upload what the node lacks, send the app, wait
 * until it runs. */
#define _GNU_SOURCE
#include "ctl/appfile.h"
#include "ctl/show.h"
#include "ctl/text.h"
#include "store/model/args.h"
#include "store/model/devices.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

enum { WAIT_MS = 60000, LOOK_MS = 200, BUSY_RETRY_MS = 300, BUSY_MAX_MS = 30000, SLOTS_SAID = 4 };

struct image_file {
    const char *path;
    uint8_t *bytes;
    size_t len;
    struct solo5_image says;
    struct hash name;
};

struct deploy {
    struct cli *cli;
    struct appfile app;
    struct image_file images[TARGET_COUNT];
    uint32_t image_count;
    struct yaml_error error;
    uint8_t spec[RECORD_BODY_MAX];
    size_t spec_len;
};

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void sleep_ms(long ms)
{
    struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    nanosleep(&t, NULL);
}

/* ---- A line that changes, on a terminal only ----------------------------------------------- */

static bool progress_shown;

__attribute__((format(printf, 1, 2))) static void progress(const char *format, ...)
{
    va_list ap;
    if (!isatty(STDERR_FILENO))
        return;
    fputs("\r\033[K", stderr);
    va_start(ap, format);
    vfprintf(stderr, format, ap);
    va_end(ap);
    fflush(stderr);
    progress_shown = true;
}

static void progress_end(void)
{
    if (progress_shown)
        fputs("\r\033[K", stderr);
    progress_shown = false;
}

/* ---- Images -------------------------------------------------------------------------------- */

static enum cli_status image_read(struct image_file *f)
{
    struct stat st;
    errno = 0;
    int fd = open(f->path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0) {
        enum cli_status status = errno == ENOENT   ? CLI_NOT_FOUND
                                 : errno == EACCES ? CLI_DENIED
                                                   : CLI_FAILED;
        cli_fail(status, "%s: can't be opened: %s", f->path, strerror(errno));
        if (fd >= 0)
            close(fd);
        return status;
    }
    const char *wrong = !S_ISREG(st.st_mode) ? "is no file"
                        : st.st_size == 0    ? "is empty"
                        : st.st_size > IMAGE_BYTES_MAX
                            ? "is larger than the 256 MiB that an image may have"
                            : NULL;
    f->bytes = wrong ? NULL : malloc((size_t)st.st_size);
    while (f->bytes && f->len < (size_t)st.st_size) {
        ssize_t n = read(fd, f->bytes + f->len, (size_t)st.st_size - f->len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        f->len += (size_t)n;
    }
    close(fd);
    if (wrong)
        return cli_fail(CLI_FAILED, "%s: %s", f->path, wrong);
    if (!f->bytes || f->len != (size_t)st.st_size)
        return cli_fail(CLI_FAILED, "%s: can't be read whole: %s", f->path,
                        f->bytes ? strerror(errno) : "out of memory");
    return CLI_OK;
}

/* What the node looks at again. */
static enum cli_status image_inspect(struct image_file *f, enum target given_for, struct spec_body *spec)
{
    char text[512];
    struct utsname us;
    if (solo5_inspect(f->bytes, f->len, &f->says, text, sizeof text))
        return cli_fail(CLI_FAILED, "%s: %s", f->path, text);
    if (given_for && f->says.target != given_for)
        return cli_fail(CLI_FAILED, "%s: it is built for %s, and is given for %s", f->path,
                        target_name(f->says.target), target_name(given_for));
    if (uname(&us) == 0 && strcmp(us.machine, f->says.arch) != 0)
        return cli_fail(CLI_FAILED, "%s: it is built for %s, and this host is %s; build it for %s",
                        f->path, f->says.arch, us.machine, us.machine);
    if (devices_fit(spec, &f->says, NULL, text, sizeof text))
        return cli_fail(CLI_FAILED, "%s: %s", f->path, text);
    image_name(f->bytes, f->len, &f->name);
    return CLI_OK;
}

static enum cli_status image_refer(struct deploy *d, const struct image_file *f)
{
    struct spec_body *s = &d->app.spec;
    uint32_t at = 0;
    while (at < s->image_count && s->images[at].target < f->says.target)
        at++;
    if (at < s->image_count && s->images[at].target == f->says.target)
        return cli_fail(CLI_FAILED, "%s: another image is for %s already", f->path,
                        target_name(f->says.target));
    memmove(&s->images[at + 1], &s->images[at], (s->image_count - at) * sizeof s->images[0]);
    s->images[at] =
        (struct image_ref){.target = f->says.target, .image = f->name, .size_bytes = f->len};
    s->image_count++;
    return CLI_OK;
}

static enum cli_status images_look(struct deploy *d)
{
    for (uint32_t i = 0; i < d->app.image_count; i++) {
        struct image_file *f = &d->images[d->image_count++];
        f->path = d->app.images[i].path;
        enum cli_status status = image_read(f);
        if (!status)
            status = image_inspect(f, d->app.images[i].target, &d->app.spec);
        if (!status)
            status = image_refer(d, f);
        if (status)
            return status;
    }
    return CLI_OK;
}

/* ---- Uploading ----------------------------------------------------------------------------- */

static enum cli_status send_list(struct deploy *d, const struct image_file *f)
{
    struct control_message m = {.type = CONTROL_IMAGE_PUT};
    size_t len = image_list_len(f->len);
    uint8_t *list = malloc(len);
    if (!list || image_list_make(f->bytes, f->len, list, &m.image_put.image)) {
        free(list);
        return cli_fail(CLI_FAILED, "out of memory");
    }
    m.image_put.list = (struct slice){.p = list, .len = len};
    enum err err = client_send(d->cli->client, &m);
    free(list);
    return err ? cli_fail_connection(err) : CLI_OK;
}

/* The END may come early: a chunk was refused. */
static enum cli_status send_chunks(struct deploy *d, const struct image_file *f,
                                   const struct control_want *want)
{
    int64_t begun = now_ms();
    for (uint32_t i = want->first; i < want->first + want->count; i++) {
        size_t at = (size_t)i * IMAGE_CHUNK;
        if (at >= f->len)
            return cli_fail(CLI_FAILED, "the node asks for more of %s than there is", f->path);
        struct control_message m = {.type = CONTROL_CHUNK, .chunk = {.index = i}};
        m.chunk.bytes = (struct slice){
            .p = f->bytes + at, .len = f->len - at < IMAGE_CHUNK ? f->len - at : IMAGE_CHUNK};
        enum err err = client_send(d->cli->client, &m);
        if (err == ERR_CLOSED)
            break;
        if (err)
            return cli_fail_connection(err);
        if (now_ms() - begun > 1000)
            progress("%s: %" PRIu64 "%% is at the node", f->path, (uint64_t)at * 100 / f->len);
    }
    return CLI_OK;
}

/* *end: what the node said at the end. */
static enum cli_status upload_once(struct deploy *d, const struct image_file *f,
                                   struct control_end *end)
{
    enum cli_status status = send_list(d, f);
    while (!status) {
        struct control_message m;
        enum err err = client_receive(d->cli->client, CLIENT_TIMEOUT_MS, &m);
        if (err)
            return cli_fail_connection(err);
        if (m.type == CONTROL_END) {
            *end = m.end;
            return CLI_OK;
        }
        if (m.type == CONTROL_WANT)
            status = send_chunks(d, f, &m.want);
    }
    return status;
}

static enum cli_status upload(struct deploy *d, const struct image_file *f)
{
    struct control_end end = {.err = ERR_OK};
    int64_t until = now_ms() + BUSY_MAX_MS;
    for (;;) {
        enum cli_status status = cli_connect(d->cli);
        if (!status)
            status = upload_once(d, f, &end);
        progress_end();
        if (status)
            return status;
        if (end.err != ERR_BUSY || now_ms() >= until)
            break;
        sleep_ms(BUSY_RETRY_MS);
    }
    if (end.err)
        return cli_fail(cli_status_of(end.err), "%s: %s", f->path, end.text);
    return CLI_OK;
}

/* ---- The spec ------------------------------------------------------------------------------ */

static enum cli_status args_override(struct deploy *d)
{
    struct appfile *a = &d->app;
    if (d->cli->args_count == 0)
        return CLI_OK;
    for (uint32_t i = 0; i < a->args_count; i++)
        free(a->args[i]);
    a->args_count = 0;
    for (uint32_t i = 0; i < d->cli->args_count; i++) {
        char text[256];
        if (arg_check(d->cli->args[i], NULL, text, sizeof text))
            return cli_fail(CLI_FAILED, "%s", text);
        a->args[i] = strdup(d->cli->args[i]);
        if (!a->args[i])
            return cli_fail(CLI_FAILED, "out of memory");
        a->args_count++;
    }
    return CLI_OK;
}

/* The command line goes over the file. */
static enum cli_status override(struct deploy *d)
{
    const struct cli *cli = d->cli;
    struct spec_body *s = &d->app.spec;
    if (cli->name)
        snprintf(s->name, sizeof s->name, "%s", cli->name);
    if (cli->memory_given)
        s->memory_mib = cli->memory_mib;
    if (cli->replicas != REPLICAS_KEEP)
        d->app.replicas = cli->replicas;
    if (cli->restart) {
        CHECK(!restart_parse(cli->restart, &s->restart));
        s->exit_code_count = 0;
    }
    if (cli->affinity)
        snprintf(s->affinity, sizeof s->affinity, "%s", cli->affinity);
    if (cli->require.count)
        s->require = cli->require;
    if (cli->nets.net_count) {
        s->net_count = cli->nets.net_count;
        memcpy(s->nets, cli->nets.nets, sizeof s->nets);
    }
    if (cli->nets.block_count) {
        s->block_count = cli->nets.block_count;
        memcpy(s->blocks, cli->nets.blocks, sizeof s->blocks);
    }
    if (cli->nets.access.port_count) {
        s->access.port_count = cli->nets.access.port_count;
        memcpy(s->access.ports, cli->nets.access.ports, sizeof s->access.ports);
    }
    if (cli->nets.access.peer_count) {
        s->access.peer_count = cli->nets.access.peer_count;
        memcpy(s->access.peers, cli->nets.access.peers, sizeof s->access.peers);
    }
    if (cli->volume_lost)
        CHECK(!volume_lost_parse(cli->volume_lost, &s->volume_lost));
    return args_override(d);
}

static bool is_app_file(const struct deploy *d, const char *path)
{
    const char *dot = strrchr(path, '.');
    if (dot && (strcmp(dot, ".yaml") == 0 || strcmp(dot, ".yml") == 0))
        return true;
    uint8_t magic[4] = {0};
    FILE *f = fopen(path, "re");
    size_t n = f ? fread(magic, 1, sizeof magic, f) : 0;
    if (f)
        fclose(f);
    bool elf = n == sizeof magic && memcmp(magic, "\177ELF", sizeof magic) == 0;
    return f && !elf && !d->cli->name;
}

static enum cli_status app_load(struct deploy *d, const char *path)
{
    struct appfile *a = &d->app;
    if (is_app_file(d, path)) {
        enum err err = appfile_read(a, path, &d->error);
        if (err)
            return cli_fail(err == ERR_NOT_FOUND || err == ERR_DENIED ? cli_status_of(err)
                                                                      : CLI_FAILED,
                            "%s", d->error.text);
        return override(d);
    }
    if (!d->cli->name)
        return cli_fail(CLI_USAGE, "%s: an image wants a name for its app: --name NAME", path);
    if (strlen(path) >= sizeof a->images[0].path)
        return cli_fail(CLI_USAGE, "the image's path is too long");
    a->replicas = REPLICAS_KEEP;
    a->spec.memory_mib = APPFILE_MEMORY_DEFAULT_MIB;
    a->image_count = 1;
    snprintf(a->images[0].path, sizeof a->images[0].path, "%s", path);
    return override(d);
}

static enum cli_status spec_make(struct deploy *d)
{
    char text[256];
    struct spec_body *s = &d->app.spec;
    struct pack k;
    s->revision = 1; /* the node counts */
    enum err err = spec_check(s, text, sizeof text);
    if (err) {
        appfile_place(&d->app, text, &d->error);
        return cli_fail(CLI_FAILED, "%s", d->error.text);
    }
    pack_init(&k, d->spec, sizeof d->spec);
    err = spec_body_encode(s, (const char *const *)d->app.args, d->app.args_count, &k);
    if (err) {
        appfile_place(
            &d->app,
            err == ERR_INVALID
                ? "args: one of them holds a control character"
                : "args: are longer than the 8192 bytes that a guest's command line may have",
            &d->error);
        return cli_fail(CLI_FAILED, "%s", d->error.text);
    }
    d->spec_len = k.len;
    return CLI_OK;
}

/* ---- Waiting ------------------------------------------------------------------------------- */

struct waiting {
    uint32_t revision;
    uint32_t slots, ready, failed, said;
    char text[512]; /* of those that aren't ready */
};

static void waiting_row(void *ctx, const struct control_message *m)
{
    struct waiting *w = ctx;
    const struct control_unit *u = &m->unit;
    if (m->type != CONTROL_UNIT || (u->node && !u->winner))
        return;
    bool current = u->revision >= w->revision; /* or what somebody deployed over it */
    w->slots++;
    if (current && (u->state == UNIT_RUNNING || u->state == UNIT_DONE)) {
        w->ready++;
        return;
    }
    w->failed += current && u->state == UNIT_FAILED;
    size_t at = strlen(w->text);
    if (w->said++ < SLOTS_SAID)
        snprintf(w->text + at, sizeof w->text - at, "%s%s/%u is %s%s%s%s%s", at ? "; " : "",
                 u->app_name, u->slot, unit_state_text(u->state), u->node ? " on " : "",
                 u->node_name, u->reason[0] ? ": " : "", u->reason);
    else if (w->said == SLOTS_SAID + 1)
        snprintf(w->text + at, sizeof w->text - at, "; …");
}

static enum cli_status wait_for_it(struct deploy *d, uint32_t revision)
{
    struct control_message m = {.type = CONTROL_UNITS};
    int64_t begun = now_ms();
    int64_t limit = d->cli->timeout_ms ? d->cli->timeout_ms : WAIT_MS;
    snprintf(m.app, sizeof m.app, "%s", d->app.spec.name);
    for (;;) {
        struct waiting w = {.revision = revision};
        struct control_end end;
        enum cli_status status = cli_ask(d->cli, &m, CLIENT_TIMEOUT_MS, waiting_row, &w, &end);
        if (status || end.err) {
            progress_end();
            return status ? status : cli_fail_end(&end);
        }
        if (w.ready == w.slots || w.failed || now_ms() - begun >= limit) {
            progress_end();
            if (w.ready == w.slots)
                return CLI_OK;
            return cli_fail(w.failed ? CLI_FAILED : CLI_TIMEOUT, "%s%s: %u of %u run: %s",
                            w.failed ? "" : "gave up waiting for ", d->app.spec.name, w.ready,
                            w.slots, w.text);
        }
        if (now_ms() - begun > 1000)
            progress("%s: %u of %u run; %s", d->app.spec.name, w.ready, w.slots, w.text);
        sleep_ms(LOOK_MS);
    }
}

/* ---- The whole ----------------------------------------------------------------------------- */

static void print_result(struct deploy *d, const struct control_end *end)
{
    char uid[UID_TEXT];
    if (d->cli->output == OUTPUT_NAME) {
        printf("%s\n", d->app.spec.name);
    } else if (d->cli->output == OUTPUT_JSON) {
        json_t *o = json_object();
        uid_text(&end->app, uid);
        json_put(o, "app", json_string(d->app.spec.name));
        json_put(o, "uid", d->cli->dry_run ? json_null() : json_string(uid));
        json_put(o, "revision", json_u64(end->revision));
        json_put(o, "text", json_string(end->text));
        json_print(o);
    } else {
        printf("%s\n", end->text);
    }
    fflush(stdout);
}

static enum cli_status deploy_send(struct deploy *d)
{
    struct control_message m = {.type = CONTROL_DEPLOY,
                                .deploy = {.spec = {.p = d->spec, .len = d->spec_len},
                                           .replicas = d->app.replicas,
                                           .ack = d->cli->ack,
                                           .timeout_ms = d->cli->timeout_ms,
                                           .dry_run = d->cli->dry_run}};
    struct control_end end;
    int wait = d->cli->timeout_ms ? (int)d->cli->timeout_ms + 1000 : CLIENT_TIMEOUT_MS;
    enum cli_status status = cli_ask(d->cli, &m, wait, NULL, NULL, &end);
    if (status)
        return status;
    if (end.err == ERR_PARTIAL)
        status = cli_fail_end(&end); /* it is there, on fewer disks than asked for */
    else if (end.err)
        return cli_fail_end(&end);
    else
        print_result(d, &end);
    if (!d->cli->wait || d->cli->dry_run)
        return status;
    enum cli_status waited = wait_for_it(d, end.revision);
    return status ? status : waited;
}

static enum cli_status deploy_run(struct deploy *d, const char *path)
{
    enum cli_status status = app_load(d, path);
    if (!status)
        status = images_look(d);
    if (!status)
        status = spec_make(d);
    for (uint32_t i = 0; i < d->image_count && !status && !d->cli->dry_run; i++)
        status = upload(d, &d->images[i]);
    return status ? status : deploy_send(d);
}

enum cli_status cli_deploy(struct cli *cli, int argc, char **argv)
{
    (void)argc;
    struct deploy *d = calloc(1, sizeof *d);
    if (!d)
        return cli_fail(CLI_FAILED, "out of memory");
    d->cli = cli;
    enum cli_status status = deploy_run(d, argv[0]);
    for (uint32_t i = 0; i < d->image_count; i++)
        free(d->images[i].bytes);
    appfile_release(&d->app);
    free(d);
    return status;
}
