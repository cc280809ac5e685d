/* node/runtime/priv: real helpers, with a script in the tender's place; and the bytes on the way to them. */
#define _GNU_SOURCE
#include "node/runtime/priv.h"

#include "node/runtime/block.h"
#include "node/runtime/priv_protocol.h"
#include "node/runtime/proc.h"
#include "node/runtime/shim_protocol.h"
#include "node/runtime/unit_name.h"
#include "store/base/pack.h"
#include "tests/support/scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

static const struct networks no_networks;
static const struct jail_config no_jail = {.off = true}; /* scripts want a shell */
static struct {
    char dir[SCRATCH_PATH], run[SCRATCH_PATH], tender[SCRATCH_PATH], image[SCRATCH_PATH];
    char priv[SCRATCH_PATH], shim[SCRATCH_PATH], volumes[SCRATCH_PATH];
    int fd;
    uint64_t ids;
    int shims[512]; /* pidfds: a pid may be another's by the time it is killed */
    uint32_t shim_count;
} t;

static int set_up(void **state)
{
    char why[256];
    (void)state;
    memset(&t, 0, sizeof t);
    scratch_new(t.dir);
    (void)scratch_path(t.run, "%.90s/run", t.dir);
    (void)scratch_path(t.volumes, "%.90s/volumes", t.dir);
    scratch_write(scratch_path(t.tender, "%.90s/tender", t.dir), 0755, "#!/bin/sh\necho \"$@\"\nexec sleep 1000\n");
    scratch_write(scratch_path(t.image, "%.90s/an image", t.dir), 0644, "not looked at");
    (void)scratch_program(t.priv, "mesh-priv");
    (void)scratch_program(t.shim, "mesh-shim");
    assert_int_equal(
        priv_spawn(t.priv, t.run, t.shim, &no_networks, t.volumes, &no_jail, PRIV_WAIT_MS, &t.fd, why, sizeof why),
        ERR_OK);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    close(t.fd);
    for (uint32_t i = 0; i < t.shim_count; i++) {
        if (t.shims[i] >= 0)
            scratch_kill_fd(&t.shims[i]);
    }
    scratch_remove(t.dir);
    return 0;
}

static struct unit_id unit(uint64_t epoch)
{
    return (struct unit_id){.app = {.b = {7}}, .slot = 3, .epoch = epoch};
}

static struct priv_request request(enum priv_verb verb, uint64_t epoch)
{
    struct priv_request r = {.verb = verb, .id = ++t.ids, .unit = unit(epoch), .target = TARGET_SPT, .memory_mib = 8};
    strcpy(r.tender, t.tender);
    strcpy(r.image, t.image);
    return r;
}

static void send_request(const struct priv_request *r)
{
    uint8_t bytes[PRIV_MESSAGE_MAX];
    size_t len;
    assert_int_equal(priv_request_encode(r, bytes, sizeof bytes, &len), ERR_OK);
    assert_int_equal(send(t.fd, bytes, len, MSG_NOSIGNAL), len);
}

static struct priv_answer answer_take(void)
{
    uint8_t bytes[1024];
    struct priv_answer a;
    ssize_t n = recv(t.fd, bytes, sizeof bytes, 0);
    assert_true(n > 0);
    assert_int_equal(priv_answer_decode(bytes, (size_t)n, &a), ERR_OK);
    if (a.shim_pid != 0)
        t.shims[t.shim_count++] = scratch_pid_fd(a.shim_pid);
    return a;
}

static struct priv_answer call(const struct priv_request *r)
{
    send_request(r);
    struct priv_answer a = answer_take();
    assert_int_equal(a.id, r->id);
    return a;
}

static struct priv_answer start(uint64_t epoch)
{
    struct priv_request r = request(PRIV_START, epoch);
    struct priv_answer a = call(&r);
    assert_int_equal(a.err, ERR_OK);
    return a;
}

static const char *in_folder(char out[static SCRATCH_PATH], uint64_t epoch, const char *file)
{
    char name[UNIT_NAME_SIZE];
    const struct unit_id u = unit(epoch);
    unit_name(&u, name);
    return scratch_path(out, "%.90s/units/%s/%s", t.run, name, file);
}

/* ---- starts --------------------------------------------------------------------------------------- */

static void a_start_makes_a_folder_and_a_shim(void **state)
{
    (void)state;
    char path[SCRATCH_PATH];
    struct proc_stat tender, shim;
    struct priv_answer a = start(1);
    assert_true(proc_stat(a.pid, &tender));
    assert_int_equal(tender.parent, a.shim_pid);
    static const char *const files[] = {"image", "sock", "console", "exit", "run"};
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++)
        assert_true(scratch_exists(in_folder(path, 1, files[i])));
    assert_true(proc_stat(a.shim_pid, &shim));
}

static void what_was_started_is_not_started_again(void **state)
{
    (void)state;
    (void)start(1);
    struct priv_request again = request(PRIV_START, 1), other = request(PRIV_START, 2);
    assert_int_equal(call(&again).err, ERR_EXISTS);
    assert_int_equal(call(&other).err, ERR_OK);
}

static void it_ends_with_its_client_and_guests_stay(void **state)
{
    (void)state;
    struct proc_stat shim, tender;
    struct priv_answer a = start(1);
    assert_true(proc_stat(a.shim_pid, &shim));
    close(t.fd);
    t.fd = -1;
    scratch_wait_gone(shim.parent); /* mesh-priv */
    assert_true(proc_stat(a.pid, &tender));
    assert_int_equal(tender.parent, a.shim_pid);
}

static void many_starts_overlap_and_each_is_answered(void **state)
{
    (void)state;
    enum { STARTS = 2 * PRIV_STARTS_MAX + 10 };
    bool answered[STARTS + 1] = {false};
    for (uint64_t i = 1; i <= STARTS; i++) {
        struct priv_request r = request(PRIV_START, i);
        send_request(&r);
    }
    for (int i = 0; i < STARTS; i++) {
        struct priv_answer a = answer_take();
        assert_int_equal(a.err, ERR_OK);
        assert_in_range(a.id, 1, STARTS);
        assert_false(answered[a.id]);
        answered[a.id] = true;
    }
}

static void refused(struct priv_request *r, enum err err, const char *text)
{
    char path[SCRATCH_PATH];
    struct priv_answer a = call(r);
    assert_int_equal(a.err, err);
    assert_string_equal(a.text, text);
    assert_false(scratch_exists(in_folder(path, r->unit.epoch, "")));
}

static void every_argument_is_checked(void **state)
{
    (void)state;
    char path[SCRATCH_PATH];
    struct priv_request r = request(PRIV_START, 1);
    strcpy(r.tender, "/nowhere/solo5-spt");
    refused(&r, ERR_DENIED, "solo5-spt: No such file or directory");
    r = request(PRIV_START, 1);
    strcpy(r.tender, t.image);
    refused(&r, ERR_DENIED, "an image is not a program");
    r = request(PRIV_START, 1);
    scratch_write(scratch_path(path, "%.90s/open", t.dir), 0757, "#!/bin/sh\n");
    strcpy(r.tender, path);
    refused(&r, ERR_DENIED, "open belongs to another user, or anybody may write to it");
    r = request(PRIV_START, 1);
    strcat(r.image, "x");
    refused(&r, ERR_DENIED, "the image's file can't be read: No such file or directory");
    r = request(PRIV_START, 1);
    strcpy(r.image, t.dir);
    refused(&r, ERR_DENIED, "the image is not a file");
    r = request(PRIV_START, 1);
    r.memory_mib = 1;
    refused(&r, ERR_UNSUPPORTED, "a guest for spt takes 2 to 1048576 MiB of memory, not 1");
}

static void a_tender_that_can_not_run_is_named(void **state)
{
    (void)state;
    char path[SCRATCH_PATH];
    struct priv_request r = request(PRIV_START, 1);
    scratch_write(t.tender, 0755, "#!/nowhere/interpreter\n");
    struct priv_answer a = call(&r);
    assert_int_equal(a.err, ERR_NOT_FOUND);
    assert_string_equal(a.text, "tender: No such file or directory");
    assert_true(scratch_exists(in_folder(path, 1, "exit"))); /* for who comes later */
    struct priv_request gone = request(PRIV_REMOVE, 1);
    assert_int_equal(call(&gone).err, ERR_OK);
    assert_false(scratch_exists(in_folder(path, 1, "")));
}

static void the_command_line_is_made_here(void **state)
{
    (void)state;
    uint8_t packed[256];
    char path[SCRATCH_PATH], line[512] = "";
    struct pack k;
    pack_init(&k, packed, sizeof packed);
    pack_str(&k, "--hello=two words");
    pack_str(&k, "-v");
    struct priv_request r = request(PRIV_START, 1);
    r.args_count = 2;
    r.args = (struct slice){packed, k.len};
    scratch_write(t.tender, 0755, "#!/bin/sh\nfor a; do echo \"<$a>\"; done >args\n");
    struct priv_answer a = call(&r);
    assert_int_equal(a.err, ERR_OK);
    scratch_wait_gone(a.shim_pid);
    int fd = open(in_folder(path, 1, "args"), O_RDONLY);
    assert_true(read(fd, line, sizeof line - 1) > 0);
    close(fd);
    (void)unlink(path);
    assert_string_equal(line, "<--mem=8>\n<-->\n<image>\n<--hello=two\\ words>\n<-v>\n");
}

/* Those that nobody told us about. */
static void kill_all_shims(void)
{
    for (uint64_t i = 1; i < 20; i++) {
        struct priv_request r = request(PRIV_KILL, i);
        while (call(&r).err != ERR_OK) /* it may not listen yet */
            r.id = ++t.ids;
    }
}

/* ---- the other verbs ------------------------------------------------------------------------------ */

static void only_what_has_ended_is_removed(void **state)
{
    (void)state;
    char path[SCRATCH_PATH];
    struct priv_answer a = start(1);
    struct priv_request r = request(PRIV_REMOVE, 1);
    assert_int_equal(call(&r).err, ERR_BUSY);
    assert_true(scratch_exists(in_folder(path, 1, "image")));
    kill((pid_t)a.pid, SIGKILL);
    scratch_wait_gone(a.shim_pid);
    r.id = ++t.ids;
    assert_int_equal(call(&r).err, ERR_OK);
    assert_false(scratch_exists(in_folder(path, 1, "")));
    r.id = ++t.ids;
    assert_int_equal(call(&r).err, ERR_OK); /* once more does no harm */
    (void)start(1);
    assert_int_equal(t.shim_count, 2);
}

static void a_shim_that_hangs_can_be_killed(void **state)
{
    (void)state;
    struct priv_answer a = start(1);
    struct priv_request r = request(PRIV_KILL, 1), none = request(PRIV_KILL, 2);
    kill((pid_t)a.shim_pid, SIGSTOP);
    assert_int_equal(call(&r).err, ERR_OK);
    scratch_wait_gone(a.pid);
    scratch_wait_gone(a.shim_pid);
    assert_int_equal(call(&none).err, ERR_NOT_FOUND);
}

static void garbage_is_answered_and_no_more(void **state)
{
    (void)state;
    static uint8_t big[PRIV_MESSAGE_MAX + 1];
    struct priv_request r = request((enum priv_verb)99, 1);
    assert_int_equal(send(t.fd, "\xdd\x10\0\0", 5, MSG_NOSIGNAL), 5);
    assert_int_equal(answer_take().err, ERR_INVALID);
    assert_int_equal(send(t.fd, big, sizeof big, MSG_NOSIGNAL), sizeof big);
    assert_int_equal(answer_take().err, ERR_INVALID);
    assert_int_equal(call(&r).err, ERR_UNSUPPORTED);
    (void)start(1);
}

static void what_keeps_it_from_beginning_is_told(void **state)
{
    (void)state;
    char why[256] = "", path[SCRATCH_PATH], expected[SCRATCH_PATH * 2];
    int fd;
    assert_int_equal(
        priv_spawn("/nowhere/mesh-priv", t.run, t.shim, &no_networks, "", &no_jail, 500, &fd, why, sizeof why),
        ERR_NOT_FOUND);
    assert_string_equal(why, "/nowhere/mesh-priv can't be run: No such file or directory");
    assert_int_equal(
        priv_spawn(t.priv, t.run, "/nowhere/mesh-shim", &no_networks, "", &no_jail, 500, &fd, why, sizeof why),
        ERR_NOT_FOUND);
    assert_string_equal(why, "/nowhere/mesh-shim can't be run: No such file or directory");
    (void)scratch_path(path, "%.90s/run", t.image);
    assert_int_equal(priv_spawn(t.priv, path, t.shim, &no_networks, "", &no_jail, 500, &fd, why, sizeof why), ERR_IO);
    snprintf(expected, sizeof expected, "the run folder %s can't be made: Not a directory", path);
    assert_string_equal(why, expected);
}

static void one_mesh_priv_a_run_folder(void **state)
{
    (void)state;
    char why[256] = "", expected[SCRATCH_PATH * 2];
    int fd;
    assert_int_equal(priv_spawn(t.priv, t.run, t.shim, &no_networks, "", &no_jail, 500, &fd, why, sizeof why),
                     ERR_BUSY);
    snprintf(expected, sizeof expected, "another node uses the run folder %s: give this one its own (--run)", t.run);
    assert_string_equal(why, expected);
    struct priv_answer a = start(1);
    struct priv_request r = request(PRIV_START, 2);
    struct pollfd answered = {.fd = t.fd, .events = POLLIN};
    send_request(&r);
    assert_int_equal(poll(&answered, 1, -1), 1); /* which nobody will read */
    for (uint64_t i = 3; i < 20; i++) { /* left to do when its meshd is gone */
        r = request(PRIV_START, i);
        send_request(&r);
    }
    close(t.fd);
    assert_int_equal(
        priv_spawn(t.priv, t.run, t.shim, &no_networks, t.volumes, &no_jail, PRIV_WAIT_MS, &t.fd, why, sizeof why),
        ERR_OK);
    for (uint64_t i = 1; i < 20; i++) { /* all of it was done before the next one began */
        char path[SCRATCH_PATH];
        assert_true(scratch_exists(in_folder(path, i, "image")));
    }
    kill_all_shims();
    assert_int_not_equal(a.pid, 0);
}

/* ---- the bytes ------------------------------------------------------------------------------------ */

static size_t a_start_encoded(uint8_t *out, size_t size)
{
    static uint8_t packed[64];
    struct pack k;
    pack_init(&k, packed, sizeof packed);
    pack_str(&k, "--x");
    struct priv_request r = {.verb = PRIV_START, .id = 300, .unit = {{{1, 2}}, 5, 6}, .target = TARGET_VIRTIO,
                             .accel = ACCEL_KVM, .memory_mib = 32, .deadline_ms = 70000, .tender = "/q", .image = "/i",
                             .args_count = 1, .args = {packed, k.len}};
    size_t len;
    assert_int_equal(priv_request_encode(&r, out, size, &len), ERR_OK);
    return len;
}

static void nets_of_a_start_are_read_as_written(void **state)
{
    (void)state;
    struct priv_request r = {.verb = PRIV_START, .id = 3, .target = TARGET_SPT, .memory_mib = 8, .tender = "/q",
                             .image = "/i", .net_count = 1, .nets = {{.ref = {"service", "public"}}}}, out;
    uint8_t bytes[512];
    size_t len;
    assert_int_equal(priv_request_encode(&r, bytes, sizeof bytes, &len), ERR_OK);
    assert_int_equal(priv_request_decode(bytes, len, &out), ERR_OK);
    assert_int_equal(out.net_count, 1);
    assert_string_equal(out.nets[0].ref.device, "service");
    assert_string_equal(out.nets[0].ref.network, "public");
    assert_true(ip_is_zero(&out.nets[0].ip[IP4]) && ip_is_zero(&out.nets[0].ip[IP6]));
    assert_int_equal(ip_parse("10.0.0.7", &r.nets[0].ip[IP4]), ERR_OK);
    assert_int_equal(ip_parse("fd00::7", &r.nets[0].ip[IP6]), ERR_OK);
    assert_int_equal(priv_request_encode(&r, bytes, sizeof bytes, &len), ERR_OK);
    assert_int_equal(priv_request_decode(bytes, len, &out), ERR_OK);
    assert_memory_equal(out.nets[0].ip, r.nets[0].ip, sizeof r.nets[0].ip);
    strcpy(r.nets[0].ref.device, "a/b");
    assert_int_equal(priv_request_encode(&r, bytes, sizeof bytes, &len), ERR_OK);
    assert_int_equal(priv_request_decode(bytes, len, &out), ERR_INVALID);
}

static void a_network_that_it_was_not_told_of_is_refused(void **state)
{
    (void)state;
    struct priv_request r = request(PRIV_START, 1);
    r.net_count = 1;
    r.nets[0] = (struct guest_net){.ref = {"service", "public"}};
    struct priv_answer a = call(&r);
    assert_int_equal(a.err, ERR_NOT_FOUND);
    assert_string_equal(a.text, "this host has no network public");
    r = request(PRIV_NETWORKS, 1);
    a = call(&r);
    assert_int_equal(a.err, ERR_OK);
    assert_int_equal(a.networks, 0);
}

static void a_change_of_access_has_these_bytes(void **state)
{
    (void)state;
    static const uint8_t golden[] = {0x91, 0x93, 0xa7, 's', 'e', 'r', 'v', 'i', 'c', 'e', 0xa3, 'l', 'a', 'n', 0x90,
                                     0x93, 0x91, 0x94, 6, 80, 80, 0xcd, 0x1f, 0x90, 1, 0x91, 0x92, 1,
                                     0xaa, '1', '0', '.', '0', '.', '0', '.', '0', '/', '8'};
    struct priv_request r = {.verb = PRIV_ACCESS, .id = 3, .net_count = 1, .nets = {{.ref = {"service", "lan"}}}}, out;
    uint8_t bytes[512];
    size_t len;
    struct subnet ten;
    assert_int_equal(subnet_parse("10.0.0.0/8", &ten), ERR_OK);
    r.access.port_count = 1;
    r.access.ports[0] = (struct port_ref){PORT_TCP, 80, 80, 8080};
    r.access.limited = 1;
    assert_int_equal(guest_access_add(&r.access, PEER_DENY, &ten), ERR_OK);
    assert_int_equal(priv_request_encode(&r, bytes, sizeof bytes, &len), ERR_OK);
    assert_memory_equal(bytes + len - sizeof golden, golden, sizeof golden);
    assert_int_equal(priv_request_decode(bytes, len, &out), ERR_OK);
    uint8_t again[512];
    size_t again_len;
    assert_int_equal(priv_request_encode(&out, again, sizeof again, &again_len), ERR_OK);
    assert_int_equal(again_len, len);
    assert_memory_equal(again, bytes, len);
    bytes[len - sizeof golden + 18] = 7; /* no protocol of ours */
    assert_int_equal(priv_request_decode(bytes, len, &out), ERR_INVALID);
}

static void a_change_of_access_without_a_run_is_refused(void **state)
{
    (void)state;
    struct priv_request r = request(PRIV_ACCESS, 1);
    r.net_count = 1;
    r.nets[0] = (struct guest_net){.ref = {"service", "public"}};
    struct priv_answer a = call(&r);
    assert_int_equal(a.err, ERR_NOT_FOUND);
}

static void blocks_of_a_start_have_these_bytes(void **state)
{
    (void)state;
    static const uint8_t golden[] = {0x91, 0x93, 0xa7, 's', 'e', 'r', 'v', 'i', 'c', 'e', 0xa3, 'l', 'a', 'n', 0x90, 9,
                                     0x92, 0x92, 0xa7, 's', 't', 'o', 'r', 'a', 'g', 'e', 0xcd, 2,   0,
                                     0x92, 0xa3, 'l',  'o', 'g', 0xcd, 16, 0, 0x93, 0x90, 0, 0x90};
    struct priv_request r = {.verb = PRIV_START, .id = 3, .target = TARGET_SPT, .memory_mib = 8, .tender = "/q",
                             .image = "/i", .net_count = 1, .nets = {{.ref = {"service", "lan"}}}, .volume = 9,
                             .block_count = 2,
                             .blocks = {{"storage", 512}, {"log", 4096}}}, out;
    uint8_t bytes[512];
    size_t len;
    assert_int_equal(priv_request_encode(&r, bytes, sizeof bytes, &len), ERR_OK);
    assert_memory_equal(bytes + len - sizeof golden, golden, sizeof golden);
    assert_int_equal(priv_request_decode(bytes, len, &out), ERR_OK);
    assert_int_equal(out.volume, 9);
    assert_int_equal(out.block_count, 2);
    assert_string_equal(out.blocks[1].device, "log");
    assert_int_equal(out.blocks[1].sector_bytes, 4096);
    static const struct tender_block bad[] = {{"../log", 512}, {"", 512}, {"log", 0}, {"log", 1000}, {"storage", 512}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        r.blocks[1] = bad[i];
        assert_int_equal(priv_request_encode(&r, bytes, sizeof bytes, &len), ERR_OK);
        assert_int_equal(priv_request_decode(bytes, len, &out), ERR_INVALID);
    }
}

/* The file of the unit's volume 9. */
static void volume_make(const char *device, off_t size)
{
    char name[VOLUME_NAME_SIZE], path[SCRATCH_PATH];
    const struct unit_id u = unit(1);
    volume_name(&u.app, u.slot, 9, name);
    assert_true(mkdir(t.volumes, 0755) == 0 || errno == EEXIST);
    assert_true(mkdir(scratch_path(path, "%.90s/%s", t.volumes, name), 0755) == 0 || errno == EEXIST);
    scratch_write(scratch_path(path, "%.90s/%s/%s", t.volumes, name, device), 0644, "");
    assert_int_equal(truncate(path, size), 0);
}

static struct priv_answer start_with_volume(uint64_t epoch)
{
    struct priv_request r = request(PRIV_START, epoch);
    r.volume = 9;
    r.block_count = 1;
    r.blocks[0] = (struct tender_block){"storage", 512};
    return call(&r);
}

static void a_volume_is_one_guests_alone(void **state)
{
    (void)state;
    char path[SCRATCH_PATH], why[256];
    struct priv_answer a = start_with_volume(1);
    assert_int_equal(a.err, ERR_NOT_FOUND);
    assert_string_equal(a.text, "its volume storage is not to be had on this host: No such file or directory");
    volume_make("storage", 1000);
    a = start_with_volume(1);
    assert_int_equal(a.err, ERR_INVALID);
    volume_make("storage", 1024);
    a = start_with_volume(1);
    assert_int_equal(a.err, ERR_OK);
    assert_int_equal(access(in_folder(path, 1, "block0"), R_OK | W_OK), 0);
    a = start_with_volume(2);
    assert_int_equal(a.err, ERR_BUSY);
    assert_string_equal(a.text, "its volume storage can't be had: another guest has it still");
    assert_int_equal(access(in_folder(path, 2, "."), F_OK), -1);
    close(t.fd); /* the guest has it, whatever becomes of its helper */
    assert_int_equal(
        priv_spawn(t.priv, t.run, t.shim, &no_networks, t.volumes, &no_jail, PRIV_WAIT_MS, &t.fd, why, sizeof why),
        ERR_OK);
    a = start_with_volume(2);
    assert_int_equal(a.err, ERR_BUSY);
    a = start_with_volume(1); /* as a meshd asks that wasn't told how it went */
    assert_int_equal(a.err, ERR_EXISTS);
    scratch_kill_fd(&t.shims[0]); /* and its tender goes along */
    for (int i = 0; i < 500 && (a = start_with_volume(2)).err == ERR_BUSY; i++)
        (void)poll(NULL, 0, 10);
    assert_int_equal(a.err, ERR_OK);
    struct priv_request r = request(PRIV_REMOVE, 1);
    a = call(&r);
    assert_int_equal(a.err, ERR_OK);
    assert_int_equal(access(in_folder(path, 1, "."), F_OK), -1);
    assert_int_equal(access(in_folder(path, 2, "block0"), R_OK), 0); /* the volume itself stays */
}

static void a_start_has_these_bytes(void **state)
{
    (void)state;
    static const uint8_t golden[] = {
        0x9d, 1, 1, 0xcd, 1, 0x2c, 0xc4, 16, 1, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5, 6, 3, 1, 0x20,
        0xce, 0, 1, 0x11, 0x70, 0xc4, 2, '/', 'q', 0xc4, 2, '/', 'i', 0x91, 0xa3, '-', '-', 'x'};
    uint8_t bytes[256];
    struct priv_request out;
    size_t len = a_start_encoded(bytes, sizeof bytes);
    assert_int_equal(len, sizeof golden);
    assert_memory_equal(bytes, golden, sizeof golden);
    assert_int_equal(priv_request_decode(golden, sizeof golden, &out), ERR_OK);
    assert_int_equal(out.id, 300);
    assert_int_equal(out.unit.slot, 5);
    assert_int_equal(out.target, TARGET_VIRTIO);
    assert_int_equal(out.accel, ACCEL_KVM);
    assert_int_equal(out.deadline_ms, 70000);
    assert_string_equal(out.tender, "/q");
    assert_string_equal(out.image, "/i");
    struct slice rest = out.args, arg;
    assert_true(spec_arg_next(&rest, &arg));
    assert_int_equal(arg.len, 3);
    assert_memory_equal(arg.p, "--x", 3);
}

static void cut_or_flipped_bytes_do_no_harm(void **state)
{
    (void)state;
    uint8_t bytes[256];
    static struct priv_request out;
    size_t len = a_start_encoded(bytes, sizeof bytes);
    for (size_t i = 0; i < len; i++) {
        uint8_t *cut = malloc(i + 1); /* of its size, so that a sanitizer sees what is read beyond */
        assert_non_null(cut);
        memcpy(cut, bytes, i);
        assert_int_not_equal(priv_request_decode(cut, i, &out), ERR_OK);
        free(cut);
    }
    for (size_t bit = 0; bit < 8 * len; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        (void)!priv_request_decode(bytes, len, &out);
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    bytes[35] = 'q'; /* no absolute path */
    assert_int_not_equal(priv_request_decode(bytes, len, &out), ERR_OK);
}

static void an_answer_is_read_as_written(void **state)
{
    (void)state;
    uint8_t bytes[512];
    size_t len;
    const struct priv_answer a = {.id = UINT64_MAX, .err = ERR_DISK_FULL, .pid = 5, .shim_pid = 6, .text = "why"};
    struct priv_answer out;
    assert_int_equal(priv_answer_encode(&a, bytes, sizeof bytes, &len), ERR_OK);
    assert_int_equal(priv_answer_decode(bytes, len, &out), ERR_OK);
    assert_int_equal(out.id, a.id);
    assert_int_equal(out.err, a.err);
    assert_int_equal(out.pid, a.pid);
    assert_int_equal(out.shim_pid, a.shim_pid);
    assert_string_equal(out.text, "why");
    assert_int_not_equal(priv_answer_decode(bytes, len - 1, &out), ERR_OK);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_start_makes_a_folder_and_a_shim),
        TEST(what_was_started_is_not_started_again),
        TEST(it_ends_with_its_client_and_guests_stay),
        TEST(many_starts_overlap_and_each_is_answered),
        TEST(every_argument_is_checked),
        TEST(a_tender_that_can_not_run_is_named),
        TEST(the_command_line_is_made_here),
        TEST(only_what_has_ended_is_removed),
        TEST(a_shim_that_hangs_can_be_killed),
        TEST(garbage_is_answered_and_no_more),
        TEST(what_keeps_it_from_beginning_is_told),
        TEST(one_mesh_priv_a_run_folder),
        cmocka_unit_test(nets_of_a_start_are_read_as_written),
        cmocka_unit_test(blocks_of_a_start_have_these_bytes),
        TEST(a_network_that_it_was_not_told_of_is_refused),
        TEST(a_change_of_access_without_a_run_is_refused),
        cmocka_unit_test(a_change_of_access_has_these_bytes),
        TEST(a_volume_is_one_guests_alone),
        cmocka_unit_test(a_start_has_these_bytes),
        cmocka_unit_test(cut_or_flipped_bytes_do_no_harm),
        cmocka_unit_test(an_answer_is_read_as_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
