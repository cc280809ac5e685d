/* node/runtime/tender: command lines, and what an end means. The consoles below are what the tenders wrote. */
#define _GNU_SOURCE
#include "node/runtime/tender.h"

#include "store/base/pack.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* ---- command lines ---------------------------------------------------------------------------------------- */

static struct tender_guest guest(enum target target, const char *const *args, uint32_t count)
{
    static uint8_t packed[3 * ARGS_BYTES_MAX];
    struct pack k;
    pack_init(&k, packed, sizeof packed);
    for (uint32_t i = 0; i < count; i++)
        pack_str(&k, args[i]);
    assert_int_equal(pack_end(&k), ERR_OK);
    return (struct tender_guest){.target = target, .tender = "/bin/tender", .image = "image", .memory_mib = 32,
                                 .args_count = count, .args = {packed, k.len}};
}

static struct tender_command command;
static char why[200];

static void expect(const struct tender_guest *g, const char *words)
{
    char text[ARGS_BYTES_MAX * 2] = "";
    assert_int_equal(tender_command(g, &command, why, sizeof why), ERR_OK);
    for (size_t i = 0; i < command.argc; i++) {
        strcat(text, i == 0 ? "" : "|");
        strcat(text, command.argv[i]);
    }
    assert_null(command.argv[command.argc]);
    assert_string_equal(text, words);
}

static void solo5_tenders_get_a_word_an_argument(void **state)
{
    (void)state;
    static const char *const args[] = {"--hello=world", "-v"};
    struct tender_guest g = guest(TARGET_SPT, args, 2);
    expect(&g, "/bin/tender|--mem=32|--|image|--hello=world|-v");
    g = guest(TARGET_HVT, args, 0);
    expect(&g, "/bin/tender|--mem=32|--|image");
}

static void memory_is_what_the_tender_can_give(void **state)
{
    (void)state;
    struct tender_guest g = guest(TARGET_HVT, NULL, 0);
    g.memory_mib = 33; /* by pages of 2 MiB; never more than was reserved */
    expect(&g, "/bin/tender|--mem=32|--|image");
    g.memory_mib = 4097;
    assert_int_equal(tender_command(&g, &command, why, sizeof why), ERR_UNSUPPORTED);
    assert_string_equal(why, "a guest for hvt takes 2 to 4096 MiB of memory, not 4097");
    g.target = TARGET_SPT;
    g.memory_mib = 33;
    expect(&g, "/bin/tender|--mem=33|--|image");
    g.memory_mib = 1;
    assert_int_equal(tender_command(&g, &command, why, sizeof why), ERR_UNSUPPORTED);
    g.target = TARGET_VIRTIO;
    g.memory_mib = 1025; /* its page tables end there */
    assert_int_equal(tender_command(&g, &command, why, sizeof why), ERR_UNSUPPORTED);
    g.target = TARGET_NONE;
    g.memory_mib = 32;
    assert_int_equal(tender_command(&g, &command, why, sizeof why), ERR_INVALID);
}

#define QEMU                                                                                                           \
    "/bin/tender|-sandbox|on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny|" \
    "-nodefaults|-no-user-config|-display|none|-no-reboot|-cpu|max|-serial|stdio|-device|isa-debug-exit|" \
    "-machine|pc,acpi=off,usb=off,vmport=off,hpet=off|-accel|"

static void qemu_gets_one_line(void **state)
{
    (void)state;
    static const char *const args[] = {"--a,b=c", "-v"};
    struct tender_guest g = guest(TARGET_VIRTIO, args, 2);
    expect(&g, QEMU "tcg,thread=single,tb-size=16|-m|32|-kernel|image|-append|--a,b=c -v");
    g.accel = ACCEL_KVM;
    g.args_count = 0;
    expect(&g, QEMU "kvm|-m|32|-kernel|image");
}

static void nets_are_named_to_solo5_and_in_order_for_qemu(void **state)
{
    (void)state;
    struct tender_net nets[] = {{"service", "um0000aaaaaaaaa", "02:00:00:00:00:01", 0},
                                {"admin", "um0000bbbbbbbbb", "02:00:00:00:00:02", 0}};
    struct tender_guest g = guest(TARGET_SPT, NULL, 0);
    g.net_count = 2;
    g.nets = nets;
    expect(&g, "/bin/tender|--mem=32|--net:service=um0000aaaaaaaaa|--net-mac:service=02:00:00:00:00:01|"
               "--net:admin=um0000bbbbbbbbb|--net-mac:admin=02:00:00:00:00:02|--|image");
    g.target = TARGET_VIRTIO;
    expect(&g, QEMU "tcg,thread=single,tb-size=16|-m|32|"
                    "-netdev|tap,id=net0,ifname=um0000aaaaaaaaa,script=no,downscript=no|"
                    "-device|virtio-net-pci,netdev=net0,mac=02:00:00:00:00:01,romfile=|"
                    "-netdev|tap,id=net1,ifname=um0000bbbbbbbbb,script=no,downscript=no|"
                    "-device|virtio-net-pci,netdev=net1,mac=02:00:00:00:00:02,romfile=|-kernel|image");
    g.net_count = 1;
    nets[0].fd = 6; /* it is open already */
    expect(&g, QEMU "tcg,thread=single,tb-size=16|-m|32|-netdev|tap,id=net0,fd=6|"
                    "-device|virtio-net-pci,netdev=net0,mac=02:00:00:00:00:01,romfile=|-kernel|image");
}

static void blocks_are_named_to_solo5_and_in_order_for_qemu(void **state)
{
    (void)state;
    static const struct tender_block blocks[] = {{"storage", 512}, {"log", 4096}};
    struct tender_guest g = guest(TARGET_HVT, NULL, 0);
    g.block_count = 2;
    g.blocks = blocks;
    expect(&g, "/bin/tender|--mem=32|--block:storage=block0|--block-sector-size:storage=512|"
               "--block:log=block1|--block-sector-size:log=4096|--|image");
    g.target = TARGET_VIRTIO;
    expect(&g, QEMU "tcg,thread=single,tb-size=16|-m|32|"
                    "-drive|file=block0,if=none,id=disk0,format=raw|"
                    "-device|virtio-blk-pci,drive=disk0,logical_block_size=512,physical_block_size=512|"
                    "-drive|file=block1,if=none,id=disk1,format=raw|"
                    "-device|virtio-blk-pci,drive=disk1,logical_block_size=4096,physical_block_size=4096|"
                    "-kernel|image");
}

static void the_address_of_a_net_is_its_units(void **state)
{
    (void)state;
    const struct uid app = {{1, 2, 3}}, other = {{1, 2, 4}};
    char a[MAC_TEXT], b[MAC_TEXT], tap[2][LINK_SIZE], prefix[2][TAP_PREFIX + 1];
    net_mac_text(&app, 1, "service", a);
    assert_int_equal(a[1] == '2' || a[1] == '6' || a[1] == 'a' || a[1] == 'e', 1); /* local, and one station's */
    net_mac_text(&app, 1, "service", b);
    assert_string_equal(a, b);
    net_mac_text(&app, 2, "service", b);
    assert_string_not_equal(a, b);
    net_mac_text(&app, 1, "admin", b);
    assert_string_not_equal(a, b);
    net_mac_text(&other, 1, "service", b);
    assert_string_not_equal(a, b);
    net_tap_prefix("/run/a/units", prefix[0]);
    net_tap_prefix("/run/b/units", prefix[1]);
    assert_string_not_equal(prefix[0], prefix[1]);
    net_tap_name(prefix[0], "run", 0, tap[0]);
    net_tap_name(prefix[0], "run", 1, tap[1]);
    assert_int_equal(strlen(tap[0]), LINK_SIZE - 1);
    assert_int_equal(strncmp(tap[0], prefix[0], TAP_PREFIX), 0);
    assert_string_not_equal(tap[0], tap[1]);
}

static void arguments_arrive_as_they_were_written(void **state)
{
    (void)state;
    static const char *const args[] = {"two words", "q\"uo'te", "back\\slash", "", "t\xc3\xa4st"};
    struct tender_guest g = guest(TARGET_SPT, args, 5);
    expect(&g, "/bin/tender|--mem=32|--|image|two\\ words|q\\\"uo\\'te|back\\\\slash|\"\"|t\xc3\xa4st");
    g.target = TARGET_VIRTIO;
    expect(&g, QEMU "tcg,thread=single,tb-size=16|-m|32|-kernel|image|-append|"
                    "two\\ words q\\\"uo\\'te back\\\\slash \"\" t\xc3\xa4st");
}

static void a_command_line_has_its_limit(void **state)
{
    (void)state;
    static char longest[ARGS_BYTES_MAX + 1];
    const char *args[ARGS_MAX] = {longest};
    for (int t = TARGET_HVT; t <= TARGET_VIRTIO; t++) {
        memset(longest, 'a', ARGS_BYTES_MAX - 2);
        longest[ARGS_BYTES_MAX - 2] = '\0'; /* with the NUL, one less than there is room for */
        struct tender_guest g = guest((enum target)t, args, 1);
        assert_int_equal(tender_command(&g, &command, why, sizeof why), ERR_OK);
        memset(longest, ' ', 4096); /* quoted, it is longer */
        g = guest((enum target)t, args, 1);
        assert_int_equal(tender_command(&g, &command, why, sizeof why), ERR_TOO_LARGE);
        assert_string_equal(why, "the arguments are too long: a guest's command line has 8191 bytes");
    }
    for (int i = 0; i < ARGS_MAX; i++)
        args[i] = "x";
    struct tender_guest many = guest(TARGET_SPT, args, ARGS_MAX);
    assert_int_equal(tender_command(&many, &command, why, sizeof why), ERR_OK);
    many.args_count++; /* one that isn't there */
    assert_int_equal(tender_command(&many, &command, why, sizeof why), ERR_INVALID);
}

/* ---- ends --------------------------------------------------------------------------------------------------- */

#define TRAP                                                                                                           \
    "Solo5: trap: type=#PF ec=0x2 rip=0x104022 rsp=0xffffe0 rflags=0x10006\nSolo5: trap: cr2=0x8\n"                    \
    "Solo5: ABORT: cpu_x86_64.c:182: Fatal trap\n"
#define SMASH "Solo5: ABORT: Stack corruption detected"
#define BYE(n) "Solo5: solo5_exit(" #n ") called\n"

#define H TARGET_HVT
#define S TARGET_SPT
#define V TARGET_VIRTIO

static const struct row {
    enum target target;
    int exit;   /* status, or … */
    int signal; /* … this */
    const char *console;
    enum end_cause cause;
    int status;
    const char *text;
} rows[] = {
    /* exit(n) */
    {H, 0, 0, "beat 1\n" BYE(0), END_EXIT, 0, "exit status 0"},
    {S, 0, 0, BYE(0), END_EXIT, 0, "exit status 0"},
    {V, 83, 0, BYE(0), END_EXIT, 0, "exit status 0"},
    {H, 7, 0, BYE(7), END_EXIT, 7, "exit status 7"},
    {S, 7, 0, BYE(7), END_EXIT, 7, "exit status 7"},
    {V, 83, 0, "beat 1\r\n" BYE(7), END_EXIT, 7, "exit status 7"},
    {V, 83, 0, BYE(3) "more\n" BYE(83), END_EXIT, 83, "exit status 83"},
    {V, 83, 0, BYE(-1), END_EXIT, 255, "exit status 255"},
    {H, 1, 0, BYE(1), END_EXIT, 1, "exit status 1"},
    {S, 1, 0, "FAILURE\n" BYE(1), END_EXIT, 1, "exit status 1"},
    {V, 83, 0, "\nFAILURE\n" BYE(1), END_EXIT, 1, "exit status 1"},
    {H, 255, 0, BYE(255), END_EXIT, 255, "exit status 255"}, /* MirageOS: an uncaught exception */
    {V, 83, 0, BYE(255), END_EXIT, 255, "exit status 255"},
    {S, 0, 0, "", END_EXIT, 0, "exit status 0"}, /* --solo5:quiet */
    {H, 9, 0, "quiet\n", END_EXIT, 9, "exit status 9"},
    {V, 83, 0, "quiet\n", END_EXIT, -1, "the guest ended; how is not known, as it keeps Solo5's messages quiet"},
    /* the image's: its arguments are not taken */
    {H, 63, 0, BYE(63), END_IMAGE, 63, "exit status 63: the guest does not take its arguments"},
    {S, 64, 0, BYE(64), END_IMAGE, 64, "exit status 64: the guest does not take its arguments"},
    {V, 83, 0, BYE(64), END_IMAGE, 64, "exit status 64: the guest does not take its arguments"},
    /* abort */
    {H, 255, 0, "Solo5: solo5_abort() called\n", END_CRASH, 255, "the guest aborted"},
    {S, 255, 0, "Solo5: solo5_abort() called\n", END_CRASH, 255, "the guest aborted"},
    {V, 83, 0, "Solo5: solo5_abort() called\n", END_CRASH, 255, "the guest aborted"},
    {V, 83, 0, BYE(3) "Solo5: solo5_abort() called\n", END_CRASH, 255, "the guest aborted"},
    /* stack smash */
    {H, 255, 0, SMASH "\n", END_CRASH, 255, "the guest aborted: Stack corruption detected"},
    {S, 255, 0, SMASH "\n", END_CRASH, 255, "the guest aborted: Stack corruption detected"},
    {V, 83, 0, SMASH "\n", END_CRASH, 255, "the guest aborted: Stack corruption detected"},
    /* exception, zero page */
    {H, 255, 0, TRAP, END_CRASH, 255, "the guest aborted: cpu_x86_64.c:182: Fatal trap"},
    {S, 0, SIGSEGV, "**** Solo5 standalone test_exception ****\n\n", END_CRASH, -1, "killed by signal 11 (SIGSEGV)"},
    {V, 83, 0, TRAP, END_CRASH, 255, "the guest aborted: cpu_x86_64.c:182: Fatal trap"},
    /* write to code */
    {H, 1, 0, "solo5-hvt: KVM: host/guest translation fault: rip=0x10403a\n", END_CRASH, 1,
     "solo5-hvt: KVM: host/guest translation fault: rip=0x10403a"},
    {H, 1, 0, "solo5-hvt: KVM: unhandled exit: exit_reason=0x6, rip=0x10403a\n", END_CRASH, 1,
     "solo5-hvt: KVM: unhandled exit: exit_reason=0x6, rip=0x10403a"},
    {H, 1, 0, "solo5-hvt: Invalid guest port access: port=0x7\n", END_CRASH, 1,
     "solo5-hvt: Invalid guest port access: port=0x7"},
    {S, 0, SIGSYS, "", END_CRASH, -1, "killed by signal 31 (SIGSYS)"}, /* a forbidden system call */
    {V, 0, 0, "", END_CRASH, -1, "the guest reset its machine"},       /* a triple fault */
    {V, 5, 0, "", END_CRASH, -1, "QEMU ended with status 5"},          /* another value at the debug port */
    {V, 0, SIGSEGV, "", END_CRASH, -1, "killed by signal 11 (SIGSEGV)"},
    /* the image's: too little memory, wrong target, cut, devices */
    {H, 255, 0, "Solo5: Bindings version v0.12.1\nSolo5: ABORT: mem.c:54: Not enough memory\n", END_IMAGE, 255,
     "the guest aborted: mem.c:54: Not enough memory"},
    {S, 1, 0, "solo5-spt: image: invalid executable: e_entry does not fall within the memory allocation range\n",
     END_IMAGE, 1, "solo5-spt: image: invalid executable: e_entry does not fall within the memory allocation range"},
    {H, 1, 0, "solo5-hvt: image: Executable is not for the solo5-hvt target\n", END_IMAGE, 1,
     "solo5-hvt: image: Executable is not for the solo5-hvt target"},
    {H, 1, 0, "solo5-hvt: image: Executable requests unsupported ABI version 9\n", END_IMAGE, 1,
     "solo5-hvt: image: Executable requests unsupported ABI version 9"},
    {H, 1, 0, "solo5-hvt: image: INV_EXE: phdr[8] note does not fall within valid size\n", END_IMAGE, 1,
     "solo5-hvt: image: INV_EXE: phdr[8] note does not fall within valid size"},
    {S, 1, 0, "solo5-spt: image: phdr[4] bytes read mismatches note size (0 != 20)\n", END_IMAGE, 1,
     "solo5-spt: image: phdr[4] bytes read mismatches note size (0 != 20)"},
    {S, 1, 0,
     "solo5-spt: Device 'storage' of type BLOCK_BASIC declared but not attached.\n"
     "solo5-spt: All declared devices must be attached. See --help for syntax.\n",
     END_IMAGE, 1, "solo5-spt: All declared devices must be attached. See --help for syntax."},
    {V, 83, 0,
     "Solo5: Device 'storage' of type BLOCK_BASIC not attached."
     "Solo5: All declared devices must be attached. Aborting.\n"
     "Solo5: solo5_abort() called\n",
     END_IMAGE, 255, "the guest aborted: all devices of its manifest must be attached"},
    {V, 1, 0, "qemu-system-x86_64: Error loading uncompressed kernel without PVH ELF Note\n", END_IMAGE, -1,
     "qemu-system-x86_64: Error loading uncompressed kernel without PVH ELF Note"},
    {V, 1, 0, "qemu: invalid kernel header\n", END_IMAGE, -1, "qemu: invalid kernel header"},
    {V, 1, 0, "qemu-system-x86_64: fread() failed\n", END_IMAGE, -1, "qemu-system-x86_64: fread() failed"},
    /* the host's */
    {H, 1, 0, "solo5-hvt: KVM: internal error exit: suberror=0x1\n", END_HOST, 1,
     "solo5-hvt: KVM: internal error exit: suberror=0x1: this host's KVM does not run it"},
    {H, 1, 0, "solo5-hvt: Could not open: /dev/kvm: No such file or directory\n", END_HOST, 1,
     "solo5-hvt: Could not open: /dev/kvm: No such file or directory"},
    {S, 1, 0, "solo5-spt: Error allocating guest memory: Cannot allocate memory\n", END_HOST, 1,
     "solo5-spt: Error allocating guest memory: Cannot allocate memory"},
    {S, 1, 0, "solo5-spt: image: Could not open: No such file or directory\n", END_HOST, 1,
     "solo5-spt: image: Could not open: No such file or directory"},
    {S, 1, 0, "solo5-spt: Something of a later version\n", END_HOST, 1, "solo5-spt: Something of a later version"},
    {V, 1, 0, "qemu-system-x86_64: cannot set up guest memory 'pc.ram': Cannot allocate memory\n", END_HOST, -1,
     "qemu-system-x86_64: cannot set up guest memory 'pc.ram': Cannot allocate memory"},
    {V, 1, 0, "qemu: could not open kernel file 'image': No such file or directory\n", END_HOST, -1,
     "qemu: could not open kernel file 'image': No such file or directory"},
    {V, 0, SIGABRT, "qemu-system-x86_64: ../target/i386/kvm/kvm.c:3134: kvm_buf_set_msrs: Assertion failed.\n",
     END_HOST, -1, "killed by signal 6 (SIGABRT): this host's KVM does not run it"},
    {H, 0, SIGKILL, "", END_HOST, -1, "its tender was killed (SIGKILL), perhaps for lack of memory"},
    {S, 0, SIGKILL, "", END_HOST, -1, "its tender was killed (SIGKILL), perhaps for lack of memory"},
    {V, 0, SIGKILL, "beat 1\nKVM internal error. Suberror: 1\nRAX=0\n", END_HOST, -1,
     "KVM internal error: this host's KVM does not run it"},
    /* somebody else's SIGTERM */
    {H, 1, 0, "solo5-hvt: Exiting on signal 15\n", END_HOST, 1, "solo5-hvt: Exiting on signal 15"},
    {S, 0, SIGTERM, "", END_HOST, -1, "its tender was ended from outside (SIGTERM)"},
    {V, 0, 0, "qemu-system-x86_64: terminating on signal 15 from pid 1 (init)\n", END_HOST, -1,
     "qemu-system-x86_64: terminating on signal 15 from pid 1 (init)"},
    /* a guest that writes what a tender would, but not on a line of its own */
    {S, 9, 0, "I say solo5-spt: Executable \n", END_EXIT, 9, "exit status 9"},
    {S, 1, 0, "solo5-spt: \x1b[2Jred\n", END_HOST, 1, "solo5-spt: ?[2Jred"},
};

static struct unit_end end_of(const struct shim_exit *e, const char *console, char *text, size_t size)
{
    struct unit_end end;
    tender_end(e, console, strlen(console), &end, text, size);
    return end;
}

static void every_row_of_the_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct row *r = &rows[i];
        const struct shim_exit e = {.end = r->signal ? SHIM_END_SIGNALED : SHIM_END_EXITED, .status = r->exit,
                                    .signal = (uint32_t)r->signal, .target = r->target};
        char text[160];
        struct unit_end end = end_of(&e, r->console, text, sizeof text);
        if (end.cause != r->cause || end.status != r->status || strcmp(end.text, r->text) != 0)
            fail_msg("row %zu (%s): cause %d, status %d, \"%s\"", i, r->text, (int)end.cause, (int)end.status,
                     end.text);
        assert_int_equal(end.signal, r->signal);
        assert_ptr_equal(end.text, text);
    }
}

static void a_lack_of_memory_is_told(void **state)
{
    (void)state;
    char text[160];
    const struct shim_exit e = {.end = SHIM_END_SIGNALED, .signal = SIGKILL, .error = ENOMEM, .target = TARGET_SPT};
    struct unit_end end = end_of(&e, "", text, sizeof text);
    assert_int_equal(end.cause, END_HOST);
    assert_string_equal(end.text, "its tender was killed: it took more memory than was reserved for it");
}

/* Whatever it ended with: hvt's 1 after SIGTERM, say, is no failure then. */
static void our_own_stop_is_told_from_a_failure(void **state)
{
    (void)state;
    char text[64];
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct shim_exit e = {.end = rows[i].signal ? SHIM_END_SIGNALED : SHIM_END_EXITED, .status = rows[i].exit,
                              .signal = (uint32_t)rows[i].signal, .target = rows[i].target,
                              .intent = SHIM_INTENT_STOP};
        struct unit_end end = end_of(&e, rows[i].console, text, sizeof text);
        assert_int_equal(end.cause, END_STOPPED);
        assert_string_equal(end.text, "");
        e.intent = SHIM_INTENT_DEADLINE;
        end = end_of(&e, rows[i].console, text, sizeof text);
        assert_int_equal(end.cause, END_STOPPED);
        assert_string_equal(end.text, "its deadline passed: nobody renewed it");
    }
}

static void what_never_started_is_the_hosts(void **state)
{
    (void)state;
    char text[160];
    const struct shim_exit e = {.end = SHIM_END_NOT_STARTED, .error = 28 /* ENOSPC */, .text = "console"};
    struct unit_end end = end_of(&e, "", text, sizeof text);
    assert_int_equal(end.cause, END_HOST);
    assert_string_equal(end.text, "console: No space left on device");
    const struct shim_exit odd = {.end = (enum shim_end)9};
    assert_int_equal(end_of(&odd, "", text, sizeof text).cause, END_HOST);
}

static void any_bytes_do_no_harm(void **state)
{
    (void)state;
    static const char *const pieces[] = {"solo5_exit(", "99999999999999999999", ")", "\n", "Solo5: ABORT: ",
                                         "qemu", "-"};
    char console[256], text[16];
    uint32_t seed = 1;
    for (int round = 0; round < 20000; round++) {
        size_t len = 0;
        for (int i = 0; i < 8; i++) {
            seed = seed * 1664525 + 1013904223;
            const char *piece = pieces[(seed >> 16) % (sizeof pieces / sizeof pieces[0])];
            memcpy(console + len, piece, strlen(piece));
            len += strlen(piece);
        }
        len -= (seed >> 8) % len; /* cut anywhere */
        for (int t = TARGET_NONE; t <= TARGET_COUNT; t++) {
            struct unit_end end;
            const struct shim_exit e = {.end = SHIM_END_EXITED, .status = t == V ? 83 : round % 3 ? 1 : 255,
                                        .target = (uint32_t)t};
            tender_end(&e, console, len, &end, text, sizeof text);
            assert_true(strlen(end.text) < sizeof text);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(solo5_tenders_get_a_word_an_argument),
        cmocka_unit_test(memory_is_what_the_tender_can_give),
        cmocka_unit_test(qemu_gets_one_line),
        cmocka_unit_test(nets_are_named_to_solo5_and_in_order_for_qemu),
        cmocka_unit_test(blocks_are_named_to_solo5_and_in_order_for_qemu),
        cmocka_unit_test(the_address_of_a_net_is_its_units),
        cmocka_unit_test(arguments_arrive_as_they_were_written),
        cmocka_unit_test(a_command_line_has_its_limit),
        cmocka_unit_test(every_row_of_the_table),
        cmocka_unit_test(a_lack_of_memory_is_told),
        cmocka_unit_test(our_own_stop_is_told_from_a_failure),
        cmocka_unit_test(what_never_started_is_the_hosts),
        cmocka_unit_test(any_bytes_do_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
