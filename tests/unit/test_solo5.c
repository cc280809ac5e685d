/* What an image says of itself. Beside images made here, those of a Solo5 build are read when UNIMESH_SOLO5_TESTS
 * names its tests' folder. */
#define _GNU_SOURCE
#include "tests/support/elf_image.h"
#include "tests/support/scratch.h"

#include "store/base/rng.h"
#include "store/model/devices.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static uint8_t file[ELF_IMAGE_MAX];
static size_t size;
static char text[200];

static struct solo5_image web(void)
{
    return (struct solo5_image){
        .target = TARGET_HVT,
        .abi_version = 2,
        .arch = "x86_64",
        .device_count = 2,
        .devices = {{.name = "service", .type = SOLO5_NET}, {.name = "storage", .type = SOLO5_BLOCK}}};
}

static int make(void **state)
{
    (void)state;
    const struct solo5_image like = web();
    size = elf_image(&like, file);
    return 0;
}

static enum err inspect(struct solo5_image *out)
{
    strcpy(text, "");
    return solo5_inspect(file, size, out, text, sizeof text);
}

/* Expect this error, and a sentence that holds these words. */
static void assert_says(enum err expected, const char *words)
{
    struct solo5_image out;
    assert_int_equal(inspect(&out), expected);
    if (!strstr(text, words))
        fail_msg("\"%s\" does not say \"%s\"", text, words);
}

static void put32(size_t at, uint32_t v)
{
    for (unsigned i = 0; i < 4; i++)
        file[at + i] = (uint8_t)(v >> (8 * i));
}

static size_t entry(unsigned i)
{
    return ELF_IMAGE_MFT_DATA + 8 + i * 104u;
}

/* ---- Well-formed ---------------------------------------------------------------------------------- */

static void target_and_devices_are_read(void **state)
{
    (void)state;
    struct solo5_image out;
    assert_int_equal(inspect(&out), ERR_OK);
    assert_int_equal(out.target, TARGET_HVT);
    assert_int_equal(out.abi_version, 2);
    assert_string_equal(out.arch, "x86_64");
    assert_int_equal(out.device_count, 2);
    assert_string_equal(out.devices[0].name, "service");
    assert_int_equal(out.devices[0].type, SOLO5_NET);
    assert_string_equal(out.devices[1].name, "storage");
    assert_int_equal(out.devices[1].type, SOLO5_BLOCK);
}

static void every_target_and_architecture_that_runs_is_known(void **state)
{
    (void)state;
    static const char *const archs[] = {"x86_64", "aarch64", "ppc64le"};
    static const uint32_t abi[TARGET_COUNT] = {0, 2, 2, 1};
    for (unsigned t = 1; t < TARGET_COUNT; t++)
        for (unsigned a = 0; a < 3; a++) {
            struct solo5_image like = web(), out;
            like.target = (enum target)t;
            like.abi_version = abi[t];
            snprintf(like.arch, sizeof like.arch, "%s", archs[a]);
            size = elf_image(&like, file);
            assert_int_equal(inspect(&out), ERR_OK);
            assert_int_equal(out.target, t);
            assert_string_equal(out.arch, archs[a]);
        }
}

static void sixty_three_devices_with_the_longest_names_are_read(void **state)
{
    (void)state;
    struct solo5_image like = web(), out;
    like.device_count = SOLO5_DEVICES_MAX;
    for (unsigned i = 0; i < SOLO5_DEVICES_MAX; i++) {
        like.devices[i].type = SOLO5_NET;
        memset(like.devices[i].name, 'n', SOLO5_NAME_SIZE - 1);
        like.devices[i].name[0] = (char)('0' + i / 10);
        like.devices[i].name[1] = (char)('0' + i % 10);
    }
    size = elf_image(&like, file);
    assert_int_equal(inspect(&out), ERR_OK);
    assert_int_equal(out.device_count, SOLO5_DEVICES_MAX);
    assert_string_equal(out.devices[62].name, like.devices[62].name);
    like.device_count = 0;
    size = elf_image(&like, file);
    assert_int_equal(inspect(&out), ERR_OK);
    assert_int_equal(out.device_count, 0);
}

/* ---- Not an image ---------------------------------------------------------------------------------- */

static void what_is_no_elf_file_is_refused(void **state)
{
    (void)state;
    struct solo5_image out;
    size = 0;
    assert_says(ERR_INVALID, "not an ELF");
    size = 3;
    assert_says(ERR_INVALID, "not an ELF");
    size = 63;
    assert_says(ERR_TRUNCATED, "cut short");
    make(NULL);
    memcpy(file, "#!/bin/sh", 9);
    assert_says(ERR_INVALID, "not an ELF");
    make(NULL);
    file[4] = 1;
    assert_says(ERR_UNSUPPORTED, "64-bit");
    make(NULL);
    file[16] = 1; /* an object file */
    assert_says(ERR_INVALID, "not an executable");
    make(NULL);
    file[18] = 8;
    assert_says(ERR_UNSUPPORTED, "processor");
    assert_int_equal(solo5_inspect(file, size, &out, text, 1), ERR_UNSUPPORTED); /* and text has its bound */
    assert_string_equal(text, "");
}

static void program_headers_have_their_form(void **state)
{
    (void)state;
    file[56] = 0;
    assert_says(ERR_INVALID, "program headers");
    file[56] = 200;
    assert_says(ERR_INVALID, "program headers");
    make(NULL);
    file[54] = 32;
    assert_says(ERR_INVALID, "program headers");
    make(NULL);
    memset(file + 32, 0xff, 8);
    assert_says(ERR_TRUNCATED, "beyond its end");
}

static void an_elf_without_the_notes_is_not_found(void **state)
{
    (void)state;
    put32(ELF_IMAGE_MFT_NOTE + 8, 1);
    assert_says(ERR_NOT_FOUND, "no Solo5 manifest note");
    make(NULL);
    memcpy(file + ELF_IMAGE_ABI_NOTE + 12, "Zolo5", 5);
    assert_says(ERR_NOT_FOUND, "no Solo5 ABI note");
}

static void a_file_cut_anywhere_is_refused(void **state)
{
    (void)state;
    size_t whole = size;
    for (size = 0; size < whole; size++) {
        struct solo5_image out;
        uint8_t *copy = malloc(size ? size : 1); /* so that a sanitizer sees a read beyond the cut */
        assert_non_null(copy);
        memcpy(copy, file, size);
        assert_int_not_equal(solo5_inspect(copy, size, &out, text, sizeof text), ERR_OK);
        free(copy);
    }
}

/* ---- The ABI note ---------------------------------------------------------------------------------- */

static void other_targets_and_versions_are_named(void **state)
{
    (void)state;
    static const char *const names[] = {"(unknown)", NULL, NULL, NULL, "muen", "genode", "xen", "(unknown)"};
    for (uint32_t t = 0; t < 8; t++) {
        if (!names[t])
            continue;
        put32(ELF_IMAGE_ABI_DATA, t);
        assert_says(ERR_UNSUPPORTED, names[t]);
    }
    make(NULL);
    put32(ELF_IMAGE_ABI_DATA + 4, 3);
    assert_says(ERR_UNSUPPORTED, "hvt version 3; version 2");
    make(NULL);
    put32(ELF_IMAGE_ABI_DATA + 8, 1);
    assert_says(ERR_INVALID, "ABI note");
    make(NULL);
    put32(ELF_IMAGE_ABI_NOTE + 4, 12);
    assert_says(ERR_INVALID, "ABI note");
    make(NULL);
    file[ELF_IMAGE_PHDRS + 56 + 32] -= 4; /* the segment ends inside the note */
    assert_says(ERR_INVALID, "a note in it is malformed");
}

/* ---- The manifest ---------------------------------------------------------------------------------- */

static void the_manifest_has_its_exact_size(void **state)
{
    (void)state;
    static const uint32_t entries[] = {0, 1, 2, 4, 64, 65, UINT32_MAX};
    for (unsigned i = 0; i < sizeof entries / sizeof *entries; i++) {
        put32(ELF_IMAGE_MFT_DATA + 4, entries[i]);
        assert_says(ERR_INVALID, "manifest");
    }
    make(NULL);
    put32(ELF_IMAGE_MFT_DATA, 2);
    assert_says(ERR_UNSUPPORTED, "version 2");
    static const uint32_t lens[] = {0, 4, 11, 4 + 8 + 3 * 104 - 1};
    for (unsigned i = 0; i < sizeof lens / sizeof *lens; i++) {
        make(NULL);
        put32(ELF_IMAGE_MFT_NOTE + 4, lens[i]);
        assert_says(ERR_INVALID, "manifest");
    }
    make(NULL);
    put32(ELF_IMAGE_MFT_NOTE + 4, UINT32_MAX);
    assert_says(ERR_INVALID, "note");
    put32(ELF_IMAGE_MFT_NOTE, UINT32_MAX);
    assert_says(ERR_INVALID, "note");
}

static void the_first_entry_is_reserved(void **state)
{
    (void)state;
    file[entry(0)] = 'x';
    assert_says(ERR_INVALID, "manifest");
    make(NULL);
    put32(entry(0) + 68, SOLO5_NET);
    assert_says(ERR_INVALID, "manifest");
}

static void a_device_has_a_name_a_kind_and_is_not_attached(void **state)
{
    (void)state;
    static const char *const names[] = {"", "ser-vice", "a b", "../x", "caf\xc3\xa9", "a:b"};
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++) {
        make(NULL);
        memset(file + entry(1), 0, SOLO5_NAME_SIZE);
        memcpy(file + entry(1), names[i], strlen(names[i]));
        assert_says(ERR_INVALID, "manifest");
    }
    make(NULL);
    memset(file + entry(1), 'a', SOLO5_NAME_SIZE); /* no NUL */
    assert_says(ERR_INVALID, "manifest");
    static const uint32_t types[] = {0, 3, 1u << 30, UINT32_MAX};
    for (unsigned i = 0; i < sizeof types / sizeof *types; i++) {
        make(NULL);
        put32(entry(2) + 68, types[i]);
        assert_says(ERR_INVALID, "manifest");
    }
    make(NULL);
    file[entry(2) + 96] = 1;
    assert_says(ERR_INVALID, "manifest");
    make(NULL);
    memcpy(file + entry(2), "service", 8);
    assert_says(ERR_INVALID, "the device service twice");
}

static void a_damaged_file_is_refused_or_read_within_bounds(void **state)
{
    (void)state;
    struct rng r;
    rng_init(&r, 51);
    for (int i = 0; i < 20000; i++) {
        struct solo5_image out, again;
        make(NULL);
        for (uint64_t n = 1 + rng_below(&r, 3); n > 0; n--)
            file[rng_below(&r, size)] = (uint8_t)rng_u64(&r);
        if (inspect(&out))
            continue;
        assert_true(out.device_count <= SOLO5_DEVICES_MAX);
        size = elf_image(&out, file); /* what was read, written, is read the same */
        assert_int_equal(inspect(&again), ERR_OK);
        assert_memory_equal(&again, &out, sizeof out);
    }
}

/* ---- Files: our own guests', and Solo5's ------------------------------------------------------------ */

static enum err inspect_file(const char *path, struct solo5_image *out)
{
    static uint8_t bytes[8 << 20];
    FILE *f = fopen(path, "rb");
    if (!f)
        fail_msg("%s: can't be opened", path);
    size_t len = fread(bytes, 1, sizeof bytes, f);
    fclose(f);
    return solo5_inspect(bytes, len, out, text, sizeof text);
}

static void our_guests_ask_for_the_devices_that_they_use(void **state)
{
    (void)state;
    static const struct {
        const char *file;
        struct solo5_image says;
    } guests[] = {
        {"examples/hello/hello.hvt", {.target = TARGET_HVT, .abi_version = 2}},
        {"examples/hello/hello.spt", {.target = TARGET_SPT, .abi_version = 2}},
        {"examples/hello/hello.virtio", {.target = TARGET_VIRTIO, .abi_version = 1}},
        {"tests/guest/net.virtio",
         {.target = TARGET_VIRTIO,
          .abi_version = 1,
          .mirage = MIRAGE_IPV4,
          .device_count = 1,
          .devices = {{.name = "service", .type = SOLO5_NET}}}},
        {"tests/guest/net2.virtio",
         {.target = TARGET_VIRTIO,
          .abi_version = 1,
          .mirage = MIRAGE_IPV4,
          .device_count = 2,
          .devices = {{.name = "service", .type = SOLO5_NET}, {.name = "admin", .type = SOLO5_NET}}}},
        {"tests/guest/block.virtio",
         {.target = TARGET_VIRTIO,
          .abi_version = 1,
          .device_count = 1,
          .devices = {{.name = "storage", .type = SOLO5_BLOCK}}}},
    };
    for (unsigned i = 0; i < sizeof guests / sizeof *guests; i++) {
        struct solo5_image out, expected = guests[i].says;
        char path[SCRATCH_PATH];
        strcpy(expected.arch, "x86_64");
        if (inspect_file(scratch_program(path, guests[i].file), &out))
            fail_msg("%s: %s", guests[i].file, text);
        assert_memory_equal(&out, &expected, sizeof out);
    }
}

static enum err real(const char *dir, const char *name, const char *suffix, struct solo5_image *out)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s/%s.%s", dir, name, name, suffix);
    return inspect_file(path, out);
}

static void real_images_are_read(void **state)
{
    (void)state;
    const char *dir = getenv("UNIMESH_SOLO5_TESTS");
    if (!dir)
        skip();
    for (unsigned t = 1; t < TARGET_COUNT; t++) {
        struct solo5_image out;
        const char *suffix = target_name((enum target)t);
        assert_int_equal(real(dir, "test_hello", suffix, &out), ERR_OK);
        assert_int_equal(out.target, t);
        assert_int_equal(out.device_count, 0);
        assert_int_equal(real(dir, "test_net_2if", suffix, &out), ERR_OK);
        assert_int_equal(out.device_count, 2);
        assert_string_equal(out.devices[0].name, "service0");
        assert_int_equal(out.devices[0].type, SOLO5_NET);
        assert_int_equal(real(dir, "test_blk", suffix, &out), ERR_OK);
        assert_int_equal(out.devices[0].type, SOLO5_BLOCK);
        assert_int_equal(real(dir, "test_mft_maxdevices", suffix, &out), ERR_OK);
        assert_int_equal(out.device_count, SOLO5_DEVICES_MAX);
    }
}

/* ---- Devices, and what the app gives for them ------------------------------------------------------- */

static void devices_get_what_the_app_names(void **state)
{
    (void)state;
    static const struct solo5_image like = {.target = TARGET_VIRTIO,
                                            .device_count = 2,
                                            .devices = {{.name = "service", .type = SOLO5_NET},
                                                        {.name = "admin", .type = SOLO5_NET}}};
    static const struct net_ref admin = {"admin", "lan"}, service = {"service", "public"};
    struct network_names known = {0};
    struct solo5_image image = like;
    struct spec_body s = {.net_count = 2, .nets = {admin, service}};
    char said[512];
    assert_int_equal(devices_fit(&s, &image, &known, said, sizeof said), ERR_OK);
    assert_string_equal(s.nets[0].device, "service"); /* a virtio guest takes them by their order */
    assert_string_equal(s.nets[0].network, "public");
    assert_string_equal(s.nets[1].device, "admin");
    image.target = TARGET_SPT;
    s = (struct spec_body){.net_count = 2, .nets = {admin, service}};
    assert_int_equal(devices_fit(&s, &image, NULL, said, sizeof said), ERR_OK);
    assert_string_equal(s.nets[0].device, "admin"); /* to others they are named */
    s.net_count = 1;
    assert_int_equal(devices_fit(&s, &image, NULL, said, sizeof said), ERR_INVALID);
    assert_string_equal(said, "its manifest asks for the net device \"service\", and no network is given for it; "
                              "write nets: {service: NETWORK}");
    network_names_add(&known, "lan");
    network_names_add(&known, "public");
    network_names_add(&known, "lan");
    assert_int_equal(devices_fit(&s, &image, &known, said, sizeof said), ERR_INVALID);
    assert_non_null(strstr(said, "; there are: lan, public"));
    image.device_count = 1;
    s = (struct spec_body){.net_count = 2, .nets = {service, admin}};
    assert_int_equal(devices_fit(&s, &image, &known, said, sizeof said), ERR_INVALID);
    assert_string_equal(said, "nets: its manifest has no net device \"admin\"; it has: service");
}

static void one_device_and_one_network_need_no_words(void **state)
{
    (void)state;
    struct solo5_image image = {
        .target = TARGET_SPT, .device_count = 1, .devices = {{.name = "service", .type = SOLO5_NET}}};
    struct network_names known = {0};
    struct spec_body s = {0};
    char said[512];
    assert_int_equal(devices_fit(&s, &image, NULL, said, sizeof said), ERR_OK); /* the node will say */
    assert_int_equal(s.net_count, 0);
    assert_int_equal(devices_fit(&s, &image, &known, said, sizeof said), ERR_INVALID);
    assert_non_null(strstr(said, "no host of this mesh has a network"));
    network_names_add(&known, "lan");
    assert_int_equal(devices_fit(&s, &image, &known, said, sizeof said), ERR_OK);
    assert_int_equal(s.net_count, 1);
    assert_string_equal(s.nets[0].network, "lan");
    s.net_count = 0;
    network_names_add(&known, "public");
    assert_int_equal(devices_fit(&s, &image, &known, said, sizeof said), ERR_INVALID);
}

static void block_devices_are_told_their_size(void **state)
{
    (void)state;
    struct solo5_image image = {.target = TARGET_VIRTIO,
                                .device_count = 3,
                                .devices = {{.name = "storage", .type = SOLO5_BLOCK},
                                            {.name = "service", .type = SOLO5_NET},
                                            {.name = "log", .type = SOLO5_BLOCK}}};
    static const struct block_ref log = {"log", 1, 512, 0}, storage = {"storage", 64, 512, 0},
                                  more = {"more", 1, 512, 0};
    struct network_names known = {.count = 1, .v = {"lan"}};
    struct spec_body s = {.block_count = 2, .blocks = {log, storage}};
    char said[512];
    assert_int_equal(devices_fit(&s, &image, &known, said, sizeof said), ERR_OK);
    assert_string_equal(s.blocks[0].device, "storage"); /* in the manifest's order */
    assert_string_equal(s.blocks[1].device, "log");
    s.block_count = 1;
    assert_int_equal(devices_fit(&s, &image, &known, said, sizeof said), ERR_INVALID);
    assert_string_equal(said, "its manifest asks for the block device \"log\", and no volume is given for it; "
                              "write blocks: {log: 64M}");
    s.block_count = 3;
    s.blocks[2] = more;
    assert_int_equal(devices_fit(&s, &image, &known, said, sizeof said), ERR_INVALID);
    assert_string_equal(said, "blocks: its manifest has no block device \"more\"; it has: storage, log");
    s.blocks[2] = (struct block_ref){"service", 1, 512, 0}; /* that is a net device */
    assert_int_equal(devices_fit(&s, &image, &known, said, sizeof said), ERR_INVALID);
}

#define T(name) cmocka_unit_test_setup(name, make)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(target_and_devices_are_read),
        T(block_devices_are_told_their_size),
        T(every_target_and_architecture_that_runs_is_known),
        T(sixty_three_devices_with_the_longest_names_are_read),
        T(devices_get_what_the_app_names),
        T(one_device_and_one_network_need_no_words),
        T(what_is_no_elf_file_is_refused),
        T(program_headers_have_their_form),
        T(an_elf_without_the_notes_is_not_found),
        T(a_file_cut_anywhere_is_refused),
        T(other_targets_and_versions_are_named),
        T(the_manifest_has_its_exact_size),
        T(the_first_entry_is_reserved),
        T(a_device_has_a_name_a_kind_and_is_not_attached),
        T(a_damaged_file_is_refused_or_read_within_bounds),
        T(our_guests_ask_for_the_devices_that_they_use),
        T(real_images_are_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
