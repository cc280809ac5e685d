#include "tests/unit/control_samples.h"

#include <stdio.h>
#include <string.h>

#define TEXT(field, text) snprintf(field, sizeof(field), "%s", text)

static const uint8_t BYTES[] = {1, 2, 3, 0, 255};
static const struct slice SLICE = {.p = BYTES, .len = sizeof BYTES};

static void fill(uint8_t *out, size_t len, uint8_t from)
{
    for (size_t i = 0; i < len; i++)
        out[i] = (uint8_t)(from + i);
}

static void member(struct control_member *m)
{
    m->node = UINT64_C(0x0123456789abcdef);
    TEXT(m->name, "ant");
    m->state = MEMBER_SUSPECT;
    m->flags = CONTROL_SELF | CONTROL_CONFLICT;
    m->node_flags = NODE_DRAINING;
    m->address_count = 2;
    m->addresses[0] = (struct address){.ip = {[10] = 0xff, [11] = 0xff, 10, 0, 0, 1}, .port = 7946};
    fill(m->addresses[1].ip, 16, 0x20);
    m->addresses[1].port = 65535;
    m->targets = 1u << TARGET_VIRTIO | 1u << TARGET_SPT;
    fill(m->target_abi, sizeof m->target_abi, 1);
    m->capacity_mib = 4096;
    m->used_mib = 48;
    m->boot = 1700000000000;
    m->incarnation = m->boot + 2;
    m->away_until_ms = m->boot + 60000;
    m->cpus = 2;
    TEXT(m->arch, "x86_64");
    m->labels.count = 1;
    TEXT(m->labels.v[0].key, "zone");
    TEXT(m->labels.v[0].value, "attic");
    TEXT(m->version, "0.1.0");
}

static void app(struct control_app *a)
{
    fill(a->uid.b, sizeof a->uid.b, 0x10);
    TEXT(a->name, "web");
    a->version = (struct version){.clock = 5000, .author = 7};
    a->revision = 3;
    a->memory_mib = 32;
    a->replicas = 3;
    a->running = 2;
    a->copies = 3;
    a->conflicts = 1;
    a->wanted = WANTED_STOPPED;
    a->shadowed = true;
    a->spec = SLICE;
}

static void unit(struct control_unit *u)
{
    fill(u->app.b, sizeof u->app.b, 0x10);
    TEXT(u->app_name, "web");
    u->slot = 2;
    u->node = 7;
    TEXT(u->node_name, "ant");
    u->winner = true;
    u->state = UNIT_BACKOFF;
    u->epoch = 9;
    u->surrogate = 1;
    u->revision = 3;
    u->target = TARGET_VIRTIO;
    u->restarts = 4;
    u->exit_status = -1;
    u->exit_signal = 11;
    u->since_ms = 1700000000000;
    u->pid = 4711;
    u->memory_mib = 48;
    TEXT(u->reason, "exit 1; again in 2 s");
}

static struct control_message request(int i)
{
    struct control_message m = {.type = (enum control_type)(CONTROL_HELLO + i)};
    switch ((int)m.type) {
    case CONTROL_UNITS:
    case CONTROL_INSPECT:
        TEXT(m.app, "web");
        break;
    case CONTROL_DEPLOY:
        m.deploy = (struct control_deploy){.spec = SLICE,
                                           .replicas = REPLICAS_KEEP,
                                           .ack = 2,
                                           .timeout_ms = 15000,
                                           .dry_run = true};
        break;
    case CONTROL_COMMAND:
        m.command = (struct control_command){.kind = COMMAND_MOVE,
                                             .replicas = 3,
                                             .slot = 2,
                                             .ack = 1,
                                             .timeout_ms = 9000,
                                             .guests = true};
        TEXT(m.command.app, "web");
        TEXT(m.command.node, "bee");
        fill(m.command.image.b, sizeof m.command.image.b, 0x40);
        break;
    case CONTROL_IMAGE_PUT:
        fill(m.image_put.image.b, sizeof m.image_put.image.b, 0x40);
        m.image_put.list = SLICE;
        break;
    case CONTROL_CHUNK:
        m.chunk = (struct control_chunk){.index = 300, .bytes = SLICE};
        break;
    case CONTROL_LOGS:
        m.logs = (struct control_logs){.slot = 1, .lines = CONTROL_ALL_LINES, .follow = true};
        TEXT(m.logs.app, "web");
        break;
    case CONTROL_EVENTS:
        m.events = (struct control_events){.count = 20, .follow = true};
        break;
    case CONTROL_VOLUME_ASK:
        m.volume_ask = (struct control_volume_ask){
            .op = CONTROL_VOLUME_READ, .node = 7, .id = {.slot = 1, .epoch = 9}, .live = true};
        fill(m.volume_ask.id.app.b, sizeof m.volume_ask.id.app.b, 0x10);
        TEXT(m.volume_ask.device, "storage");
        break;
    case CONTROL_VOLUME_DATA:
        m.volume_data = (struct control_volume_data){.offset = 65536, .bytes = SLICE};
        break;
    default:
        break;
    }
    return m;
}

static struct control_message answer(int i)
{
    struct control_message m = {.type = (enum control_type)(CONTROL_ABOUT + i)};
    switch ((int)m.type) {
    case CONTROL_ABOUT:
        m.about.node = 7;
        TEXT(m.about.version, "0.1.0");
        TEXT(m.about.name, "ant");
        break;
    case CONTROL_MEMBER:
        member(&m.member);
        break;
    case CONTROL_APP:
        app(&m.app_row);
        break;
    case CONTROL_UNIT:
        unit(&m.unit);
        break;
    case CONTROL_IMAGE:
        fill(m.image.image.b, sizeof m.image.image.b, 0x40);
        m.image.size_bytes = 123456;
        m.image.user_count = CONTROL_USERS_MAX + 3;
        for (int n = 0; n < CONTROL_USERS_MAX; n++)
            snprintf(m.image.users[n], NAME_SIZE, "app-%d", n);
        break;
    case CONTROL_WANT:
        m.want = (struct control_want){.first = 1, .count = 2};
        break;
    case CONTROL_OUTPUT:
        m.output = (struct control_output){.run = {.slot = 1, .epoch = 9},
                                           .node = 7,
                                           .offset = 4096,
                                           .skipped = 12,
                                           .bytes = SLICE};
        fill(m.output.run.app.b, sizeof m.output.run.app.b, 0x10);
        break;
    case CONTROL_EVENT:
        m.event = (struct control_event){.seq = 1, .wall_ms = 1700000000000, .level = LOG_WARN};
        TEXT(m.event.event, "unit.ended");
        TEXT(m.event.fields, "app=web slot=1");
        break;
    case CONTROL_VOLUME:
        m.volume = (struct control_volume){.node = 7,
                                           .id = {.slot = 1, .epoch = 9},
                                           .size_bytes = 1 << 20,
                                           .disk_bytes = 4096,
                                           .held = true,
                                           .use = VOLUME_USE_WANTED};
        fill(m.volume.id.app.b, sizeof m.volume.id.app.b, 0x10);
        TEXT(m.volume.node_name, "ant");
        TEXT(m.volume.app, "web");
        TEXT(m.volume.device, "storage");
        break;
    case CONTROL_USAGE:
        m.usage = (struct control_usage){.slot = 1, .pid = 4711, .memory_mib = 32, .at_ms = 9000, .cpu_ms = 1200,
                                         .rss_kib = 7000, .in_bytes = 100, .in_packets = 2, .out_bytes = 300,
                                         .out_packets = 4};
        TEXT(m.usage.app, "web");
        break;
    case CONTROL_COUNTER:
        TEXT(m.counter.name, "packets_in");
        m.counter.value = 99;
        break;
    default:
        m = control_end(ERR_PARTIAL, "web deployed, but %d of %d nodes keep it", 1, 3);
        fill(m.end.app.b, sizeof m.end.app.b, 0x10);
        m.end.revision = 3;
        break;
    }
    return m;
}

struct control_message control_sample(int i)
{
    return i < CONTROL_TOP ? request(i) : answer(i - CONTROL_TOP);
}
