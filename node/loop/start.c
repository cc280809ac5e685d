/* How a node begins: what can fail for a reason that the operator can mend comes before the first
 * packet. */
#define _GNU_SOURCE
#include "node/loop/node_internal.h"

#include "node/loop/sockaddr.h"
#include "node/runtime/notify.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/timerfd.h>
#include <sys/utsname.h>
#include <unistd.h>

enum {
    UDP_BUFFER = 4 * 1024 * 1024,
    WHY = 512,
    PREDECESSOR_MS = 3000,
    LOOK_AGAIN_MS = 50,
    /* What --memory's default leaves to the host, or a quarter, if that is more. */
    HOST_RESERVE_MIN_MIB = 256
};

/* The address that others reach us at, where we listen on all: the first that is no loopback;
 * loopback otherwise. */
static struct address usable_address(const struct address *bound)
{
    struct address found = *bound, best = *bound;
    bool v4 = memcmp(bound->ip, "\0\0\0\0\0\0\0\0\0\0\xff\xff", 12) == 0, any = false;
    uv_interface_address_t *v;
    int count;
    if (uv_interface_addresses(&v, &count))
        return best;
    for (int pass = 0; pass < 2 && !any; pass++)
        for (int i = 0; i < count && !any; i++) {
            const struct sockaddr *sa = (const struct sockaddr *)&v[i].address;
            bool link_local =
                sa->sa_family == AF_INET6 && v[i].address.address6.sin6_addr.s6_addr[0] == 0xfe;
            bool fits = sa->sa_family == AF_INET || (!v4 && pass == 1);
            if (v[i].is_internal || link_local || !fits || sockaddr_to(sa, &found))
                continue;
            memcpy(best.ip, found.ip, sizeof best.ip);
            any = true;
        }
    uv_free_interface_addresses(v, count);
    if (!any && v4)
        memcpy(best.ip, "\0\0\0\0\0\0\0\0\0\0\xff\xff\x7f\0\0\1", sizeof best.ip);
    return best;
}

static bool unspecified(const struct address *a)
{
    static const uint8_t zero[16], v4[16] = {[10] = 0xff, [11] = 0xff};
    return memcmp(a->ip, zero, 16) == 0 || memcmp(a->ip, v4, 16) == 0;
}

static uint32_t default_memory_mib(void)
{
    uint64_t mib =
        (uint64_t)sysconf(_SC_PHYS_PAGES) / (1024 * 1024 / (uint64_t)sysconf(_SC_PAGESIZE));
    uint64_t reserve = mib / 4 > HOST_RESERVE_MIN_MIB ? mib / 4 : HOST_RESERVE_MIN_MIB;
    return mib > reserve ? (uint32_t)(mib - reserve) : (uint32_t)(mib / 2);
}

static void host_name(char out[static NAME_SIZE])
{
    char name[256] = "";
    if (gethostname(name, sizeof name - 1) < 0)
        name[0] = '\0';
    snprintf(out, NAME_SIZE, "%.*s", NAME_SIZE - 1, name);
    for (char *p = out; *p; p++)
        *p = (char)(*p >= 'A' && *p <= 'Z' ? *p + 32 : *p == '_' ? '-' : *p);
    if (!name_valid(out))
        snprintf(out, NAME_SIZE, "node");
}

/* The datagrams' socket beside the streams': the same port, whichever that is. */
static enum err udp_open(struct node *n, const struct address *a)
{
    struct sockaddr_storage at;
    sockaddr_from(a, &at);
    if (uv_udp_init(n->loop, &n->udp))
        return ERR_NOMEM;
    n->udp.data = n;
    int rc = uv_udp_bind(&n->udp, (struct sockaddr *)&at, 0);
    if (rc)
        return rc == UV_EADDRINUSE ? ERR_EXISTS : rc == UV_EACCES ? ERR_DENIED : ERR_IO;
    int size = UDP_BUFFER;
    uv_recv_buffer_size((uv_handle_t *)&n->udp, &size); /* as much as the system gives */
    return uv_udp_recv_start(&n->udp, events_datagram_alloc, events_on_datagram) ? ERR_IO : ERR_OK;
}

static enum err sockets_open(struct node *n, char *why, size_t size)
{
    char text[ADDRESS_TEXT];
    address_text(&n->options->bind, text);
    enum err err = streams_new(&n->streams, n->loop, n->crypto, &n->options->bind, NULL,
                               &events_of_streams, n);
    if (!err) {
        struct address bound = streams_address(n->streams);
        address_text(&bound, text);
        err = udp_open(n, &bound);
    }
    if (err)
        snprintf(why, size, "--bind %s: %s", text,
                 err == ERR_EXISTS        ? "the port is in use; stop what uses it, or bind another"
                 : err == ERR_UNREACHABLE ? "the address is not this host's"
                                          : err_text(err));
    return err;
}

/* A meshd that was killed a moment ago may still be dying: its lock goes first, its sockets a
 * little later. Nothing tells of either, so we look again for a while. */
static enum err identity_open_soon(struct node *n, const struct identity_config *cfg, char *why,
                                   size_t size)
{
    enum err err = identity_open(&n->identity, cfg, why, size);
    for (int ms = 0; err == ERR_BUSY && ms < PREDECESSOR_MS; ms += LOOK_AGAIN_MS) {
        uv_sleep(LOOK_AGAIN_MS);
        err = identity_open(&n->identity, cfg, why, size);
        if (!err)
            uv_sleep(LOOK_AGAIN_MS);
    }
    return err;
}

static enum err keys_open(struct node *n, char *why, size_t size)
{
    const struct options *o = n->options;
    struct mesh_keys keys;
    enum err err = mesh_keys_read(o->key_file, &keys, why, size);
    if (err)
        return err;
    if (why[0])
        node_log(n, LOG_WARN, "key.file", "what=\"%s\"", why);
    const struct identity_config cfg = {.dir = o->state_dir,
                                        .mode = o->new_identity ? IDENTITY_NEW : IDENTITY_KEEP,
                                        .wall_ms = clock_wall_ms()};
    err = identity_open_soon(n, &cfg, why, size);
    if (!err && n->min_boot)
        err = identity_boot_at_least(n->identity, n->min_boot + 1);
    if (!err) {
        err = node_crypto_new(&n->crypto, identity_seed(n->identity), &keys,
                              o->mesh_label[0] ? o->mesh_label : NULL);
        if (err)
            snprintf(why, size, "the mesh key or label is unusable: %s", err_text(err));
    }
    mesh_keys_wipe(&keys);
    return err;
}

static enum err engine_open(struct node *n, char *why, size_t size)
{
    const struct options *o = n->options;
    struct engine_config cfg = engine_config_default();
    struct address bound = streams_address(n->streams), us = o->advertised ? o->advertise : bound;
    uint64_t seed;
    struct utsname uts;
    if (o->advertised && us.port == 0)
        us.port = bound.port;
    if (unspecified(&us))
        us = usable_address(&bound);
    if (o->name[0])
        memcpy(cfg.name, o->name, sizeof cfg.name);
    else
        host_name(cfg.name);
    cfg.boot = identity_boot(n->identity);
    cfg.addresses[0] = us;
    cfg.address_count = 1;
    cfg.capacity_mib = o->memory_mib ? o->memory_mib : default_memory_mib();
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    cfg.cpus = cpus > 0 ? (uint32_t)cpus : 1;
    if (uname(&uts) == 0)
        snprintf(cfg.arch, sizeof cfg.arch, "%.15s", uts.machine);
    cfg.labels = o->labels;
    cfg.networks = &o->networks;
    cfg.lonely = o->join_count == 0 && !o->discover;
    struct effect *v = calloc(EFFECTS_SIZE, sizeof *v);
    uint8_t *buffer = malloc(EFFECTS_BUFFER);
    enum err err =
        v && buffer && getrandom(&seed, sizeof seed, 0) == sizeof seed ? ERR_OK : ERR_NOMEM;
    n->fx.v = v;
    n->fx.buffer = buffer;
    if (!err) {
        effects_init(&n->fx, v, EFFECTS_SIZE, buffer, EFFECTS_BUFFER);
        mem_init(&n->mem, 0);
        err = engine_new(&n->engine, &n->mem, node_crypto_interface(n->crypto), &cfg, seed,
                         clock_boottime_ms(), clock_wall_ms());
    }
    if (err)
        snprintf(why, size, "the engine: %s", err_text(err));
    char id[NODE_ID_TEXT], at[ADDRESS_TEXT];
    node_id_text(node_crypto_interface(n->crypto)->node, id);
    address_text(&us, at);
    node_log(n, LOG_INFO, "node.starting", "name=%s id=%s address=%s memory=%uM version=%s",
             cfg.name, id, at, cfg.capacity_mib, node_version());
    return err;
}

static void image_found(void *ctx, const struct hash *image, uint64_t size)
{
    struct node *n = ctx;
    engine_image(n->engine, image, size);
}

static enum err images_begin(struct node *n, char *why, size_t size)
{
    char dir[OPTION_PATH_SIZE + 8];
    snprintf(dir, sizeof dir, "%s/images", n->options->state_dir);
    enum err err = images_open(&n->images, dir);
    if (err)
        snprintf(why, size, "%.300s: %s", dir, err_text(err));
    else
        images_each(n->images, image_found, n);
    return err;
}

/* Without mesh-priv nothing can be started, but what runs is adopted, watched and stopped all the
 * same, and mesh-priv is looked for again: a broken upgrade, or a helper that hangs, costs no guest.
 * Where another node has the run folder, the runtime says so. */
static void runtime_begin(struct node *n)
{
    static const char *const probes[TARGET_COUNT] = {NULL, "hello.hvt", "hello.spt",
                                                     "hello.virtio"};
    const struct options *o = n->options;
    char priv[OPTION_PATH_SIZE + 32], shim[OPTION_PATH_SIZE + 32], cache[OPTION_PATH_SIZE + 32],
        volumes[OPTION_PATH_SIZE + 32],
        probe[TARGET_COUNT][OPTION_PATH_SIZE + 64], why[WHY] = "";
    struct runtime_config cfg = runtime_config_default();
    snprintf(priv, sizeof priv, "%s/mesh-priv", o->programs);
    snprintf(shim, sizeof shim, "%s/mesh-shim", o->programs);
    snprintf(cache, sizeof cache, "%s/targets", o->state_dir);
    cfg.run_dir = o->run_dir;
    cfg.priv_path = priv;
    cfg.shim_path = shim;
    cfg.cache_path = cache;
    cfg.node = engine_self(n->engine);
    cfg.priv_fd = n->priv_fd;
    cfg.networks = o->networks;
    snprintf(volumes, sizeof volumes, "%s/volumes", o->state_dir);
    cfg.volumes_dir = volumes;
    cfg.jail = o->jail;
    for (int t = 1; t < TARGET_COUNT; t++) {
        if (o->tender[t][0])
            cfg.tender[t] = o->tender[t];
        snprintf(probe[t], sizeof probe[t], "%s/examples/hello/%s", o->programs, probes[t]);
        if (access(probe[t], R_OK) < 0)
            snprintf(probe[t], sizeof probe[t], "%s/%s", PKGDATADIR, probes[t]);
        if (access(probe[t], R_OK) == 0)
            cfg.probe_image[t] = probe[t];
    }
    struct runtime *rt = NULL;
    if (geteuid() == 0)
        node_log(n, LOG_WARN, "node.root",
                 "what=\"meshd has root's privileges: make a user unimesh, or say --user, and it gives them up\"");
    if (n->priv_err)
        node_log(n, LOG_ERROR, "priv.missing", "what=\"no guest can be started: %s\"", n->priv_why);
    n->priv_fd = -1; /* the runtime's now */
    enum err err = runtime_new(&rt, n->loop, &cfg, &events_of_runtime, n, why, sizeof why);
    n->runtime = rt;
    if (err) {
        node_log(n, LOG_ERROR, "host.runs-nothing", "what=\"%s\"", why);
        static const struct host_facts nothing;
        struct event ev = {.kind = EVENT_HOST, .host = &nothing};
        node_step(n, &ev);
        return;
    }
    for (size_t i = 0; i < n->found_count; i++) {
        n->found[i].event.end.text = n->found[i].text;
        node_step(n, &n->found[i].event);
    }
    free(n->found);
    n->found = NULL;
}

static void on_watchdog(uv_timer_t *t)
{
    (void)t;
    notify("WATCHDOG=1");
}

/* A loop that stands still says nothing, and systemd starts us again; guests run on. */
static void watchdog_begin(struct node *n)
{
    uint64_t every_ms = notify_watchdog_ms();
    if (every_ms == 0 || uv_timer_init(n->loop, &n->watchdog))
        return;
    (void)uv_timer_start(&n->watchdog, on_watchdog, every_ms, every_ms);
    uv_unref((uv_handle_t *)&n->watchdog);
}

static enum err loop_begin(struct node *n, char *why, size_t size)
{
    snprintf(why, size, "the event loop could not be set up");
    n->timer_fd = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);
    if (n->timer_fd < 0 || uv_poll_init(n->loop, &n->timer, n->timer_fd) ||
        uv_idle_init(n->loop, &n->later) || uv_signal_init(n->loop, &n->sigterm) ||
        uv_signal_init(n->loop, &n->sigint))
        return ERR_IO;
    n->timer.data = n->later.data = n->sigterm.data = n->sigint.data = n;
    if (uv_poll_start(&n->timer, UV_READABLE, events_on_timer) ||
        uv_signal_start(&n->sigterm, events_on_signal, SIGTERM) ||
        uv_signal_start(&n->sigint, events_on_signal, SIGINT))
        return ERR_IO;
    watchdog_begin(n);
    why[0] = '\0';
    return ERR_OK;
}

static enum err control_begin(struct node *n, char *why, size_t size)
{
    char path[OPTION_PATH_SIZE + 16];
    if (n->options->socket[0])
        snprintf(path, sizeof path, "%s", n->options->socket);
    else
        snprintf(path, sizeof path, "%s/ctl.sock", n->options->run_dir);
    return control_new(&n->control, n, path, why, size);
}

/* What can fail for a reason that the operator can mend comes before the first packet. */
enum err node_begin(struct node *n, char *why, size_t size)
{
    enum err err = loop_begin(n, why, size);
    if (!err)
        err = keys_open(n, why, size);
    if (!err)
        err = sockets_open(n, why, size);
    if (!err)
        err = engine_open(n, why, size);
    if (!err)
        err = writer_open(n, why, size);
    if (!err)
        err = images_begin(n, why, size);
    if (!err)
        err = volumes_begin(n, why, size);
    if (!err)
        err = control_begin(n, why, size);
    if (err)
        return err;
    runtime_begin(n);
    err = resolver_new(&n->resolver, n);
    if (!err && n->options->discover && discover_new(&n->discover, n, why, size))
        node_log(n, LOG_WARN, "discover.off", "what=\"%s\"", why);
    return err;
}
