/* App files: what is taken, and how each thing that is wrong is said. */
#define _GNU_SOURCE
#include "ctl/appfile.h"
#include "ctl/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static struct appfile a;
static struct yaml_error error;

static enum err parse(const char *text)
{
    memset(&error, 0, sizeof error);
    return appfile_parse(&a, "dir/web.yaml", text, strlen(text), &error);
}

static void takes(const char *text)
{
    if (parse(text))
        fail_msg("%s", error.text);
}

/* It is refused with these words, which begin with the place. */
static void refuses(const char *text, const char *says)
{
    enum err err = parse(text);
    appfile_release(&a);
    if (!err || strcmp(error.text, says) != 0)
        fail_msg("says:        %s\nshould say:  %s", error.text, says);
    assert_null(strchr(error.text, '\n'));
}

static void refuses_with(const char *text, const char *says)
{
    enum err err = parse(text);
    appfile_release(&a);
    if (!err || !strstr(error.text, says))
        fail_msg("says:        %s\nshould have: %s", error.text, says);
}

static void a_whole_file_is_read(void **state)
{
    (void)state;
    takes("# a comment\napp: web\nimage: {spt: dist/web.spt, virtio: /abs/web.virtio}\nreplicas: "
          "3\nmemory: 1G\n"
          "args: [--hello=world, 'two words', \"\"]\nrestart: {when: on-failure, codes: [1, 255]}\n"
          "require:\n  zone: attic\n  rack: \"7\"\nnets: {service: public, admin: lan}\n"
          "blocks: {storage: 64M, log: {size: 1G, sparse: true, sector: 4096}}\nvolume-lost: empty\naffinity: front\n"
          "ports: [80, icmp]\npublish: 8080:80/tcp\nallow: [front, 'network:lan', 10.0.0.0/8]\ndeny: 10.0.0.13\n");
    assert_string_equal(a.spec.name, "web");
    assert_int_equal(a.image_count, 2);
    assert_int_equal(a.images[0].target, TARGET_SPT);
    assert_string_equal(a.images[0].path, "dir/dist/web.spt");
    assert_string_equal(a.images[1].path, "/abs/web.virtio");
    assert_int_equal(a.replicas, 3);
    assert_int_equal(a.spec.memory_mib, 1024);
    assert_int_equal(a.args_count, 3);
    assert_string_equal(a.args[1], "two words");
    assert_string_equal(a.args[2], "");
    assert_int_equal(a.spec.restart, RESTART_ON_FAILURE);
    assert_int_equal(a.spec.exit_code_count, 2);
    assert_int_equal(a.spec.exit_codes[1], 255);
    assert_int_equal(a.spec.net_count, 2);
    assert_string_equal(a.spec.nets[1].device, "admin");
    assert_string_equal(a.spec.nets[1].network, "lan");
    assert_int_equal(a.spec.block_count, 2);
    assert_string_equal(a.spec.blocks[0].device, "storage");
    assert_int_equal(a.spec.blocks[0].size_mib, 64);
    assert_int_equal(a.spec.blocks[0].sector_bytes, 512);
    assert_int_equal(a.spec.blocks[0].sparse, 0);
    assert_int_equal(a.spec.blocks[1].size_mib, 1024);
    assert_int_equal(a.spec.blocks[1].sector_bytes, 4096);
    assert_int_equal(a.spec.blocks[1].sparse, 1);
    assert_int_equal(a.spec.volume_lost, VOLUME_LOST_EMPTY);
    assert_int_equal(a.spec.require.count, 2);
    assert_string_equal(a.spec.require.v[0].key, "rack");
    assert_string_equal(a.spec.require.v[1].value, "attic");
    assert_string_equal(a.spec.affinity, "front");
    appfile_release(&a);
}

static void what_is_left_out_has_its_default(void **state)
{
    (void)state;
    takes("app: web\nimage: web.virtio\n");
    assert_int_equal(a.replicas, REPLICAS_KEEP);
    assert_int_equal(a.spec.memory_mib, APPFILE_MEMORY_DEFAULT_MIB);
    assert_int_equal(a.spec.restart, RESTART_ALWAYS);
    assert_int_equal(a.images[0].target, TARGET_NONE);
    assert_int_equal(a.args_count, 0);
    appfile_release(&a);
    takes("{\"app\": \"json-works\", \"image\": \"web.virtio\", \"replicas\": 0}");
    assert_int_equal(a.replicas, 0);
    appfile_release(&a);
}

static void keys_are_checked(void **state)
{
    (void)state;
    refuses("app: web\nimage: x\n\nreplica: 3\n",
            "dir/web.yaml:4: replica: is no key of an app file; did you mean replicas?");
    refuses("app: web\nimage: x\nvolumes: 3\n",
            "dir/web.yaml:3: volumes: is no key of an app file; there are app, image, replicas, "
            "memory, args, restart, "
            "require, nets, blocks, volume-lost, ports, publish, allow, deny, affinity");
    refuses("app: web\nimage: x\nimage: y\n",
            "dir/web.yaml:3: image: is there twice; line 2 has it already");
    refuses("image: x\n", "dir/web.yaml: app: is missing");
    refuses("", "dir/web.yaml: app: is missing");
    refuses("app: web\nimage: {hvtt: x}\n",
            "dir/web.yaml:2: image.hvtt: is no key of an app file; did you mean hvt?");
    refuses("app: web\nimage: x\nrestart: {codes: [1]}\n",
            "dir/web.yaml:3: restart.when: is missing");
    refuses_with("app: web\nimage: x\n? [a]\n: b\n", "dir/web.yaml:3: ");
}

static void values_are_checked(void **state)
{
    (void)state;
    refuses("app: Web\nimage: x\n", "dir/web.yaml:1: app: \"Web\" is no name; take 1 to 63 of a-z, "
                                    "0-9, - and ., beginning and ending with a "
                                    "letter or digit");
    refuses("app:\nimage: x\n", "dir/web.yaml:1: app: has no value");
    refuses("app: [web]\nimage: x\n",
            "dir/web.yaml:1: app: is a list, and should be one value; write app: VALUE");
    refuses("app: web\nimage: x\nargs: --one\n",
            "dir/web.yaml:3: args: is one value, and should be a list; write args: [VALUE, …]");
    refuses("app: web\nimage: x\nargs:\n - a\n - [b]\n",
            "dir/web.yaml:5: args: its values are to be words or numbers");
    refuses("app: web\nimage: {}\n", "dir/web.yaml:2: image: none is given; write a file's path, "
                                     "or {hvt: PATH, spt: PATH, virtio: PATH}");
    refuses("app: web\nimage: x\nreplicas: 10000\n",
            "dir/web.yaml:3: replicas: 10000 is more than the 1000 that an app may have");
    refuses("app: web\nimage: x\nreplicas: -1\n",
            "dir/web.yaml:3: replicas: \"-1\" is no number; write 0 to 1000");
    refuses("app: web\nimage: x\nreplicas: 3x\n",
            "dir/web.yaml:3: replicas: \"3x\" is no number; write 0 to 1000");
    refuses("app: web\nimage: x\nmemory: 0\n", "dir/web.yaml:3: memory: 0 is below the 2M that the "
                                               "smallest guest needs; write memory: 32M");
    refuses("app: web\nimage: x\nmemory: 1M\n", "dir/web.yaml:3: memory: 1M is below the 2M that "
                                                "the smallest guest needs; write memory: 32M");
    refuses("app: web\nimage: x\nmemory: 6X\n",
            "dir/web.yaml:3: memory: \"6X\" is no size in whole MiB; write 32M or 1G");
    refuses("app: web\nimage: x\nmemory: 2T\n",
            "dir/web.yaml:3: memory: 2T is more than the 1048576M that an app may have");
    refuses("app: web\nimage: x\nmemory: 99999999999999999999999T\n",
            "dir/web.yaml:3: memory: 99999999999999999999999T is more than the 1048576M that an "
            "app may have");
    refuses("app: web\nimage: x\nrestart: sometimes\n",
            "dir/web.yaml:3: restart: \"sometimes\" is none of always, on-failure and never");
    refuses("app: web\nimage: x\nrestart: {when: always, codes: [256]}\n",
            "dir/web.yaml:3: restart.codes: \"256\" is no exit code; write 0 to 255");
    refuses_with("app: web\nimage: x\nrestart: {when: never, codes: [1]}\n",
                 "restart.when is never");
    refuses("app: web\nimage: x\nrequire: attic\n",
            "dir/web.yaml:3: require: is no mapping; write require: {LABEL: VALUE}");
    refuses("app: web\nimage: x\nrequire: {zone: [a]}\n",
            "dir/web.yaml:3: require.zone: is to be one value");
    refuses_with("app: web\nimage: x\nrequire: {zone: a, zone: b}\n",
                 "require.zone: is there twice");
    refuses("app: web\nimage: x\nnets: public\n",
            "dir/web.yaml:3: nets: is no mapping; write nets: {DEVICE: NETWORK}");
    refuses("app: web\nimage: x\nnets:\n  service: [lan]\n",
            "dir/web.yaml:4: nets.service: is to be one network's name");
    refuses_with("app: web\nimage: x\nnets: {ser_vice: lan}\n", ":3: nets: \"ser_vice\" is no device's name");
    refuses("app: web\nimage: x\nblocks: 64M\n",
            "dir/web.yaml:3: blocks: is no mapping; write blocks: {DEVICE: SIZE}");
    refuses("app: web\nimage: x\nblocks:\n  storage: huge\n",
            "dir/web.yaml:4: blocks.storage: \"huge\" is no size in whole MiB; write 64M or 1G");
    refuses_with("app: web\nimage: x\nblocks: {storage: {size: 64M, sectors: 512}}\n",
                 ":3: blocks.storage.sectors: is no key of a block device");
    refuses_with("app: web\nimage: x\nblocks: {storage: {sparse: true}}\n", ":3: blocks.storage.size: is missing");
    refuses_with("app: web\nimage: x\nblocks: {storage: {size: 1M, sparse: maybe}}\n", "is neither true nor false");
    refuses_with("app: web\nimage: x\nblocks: {storage: {size: 1M, sector: 1000}}\n", "1000 is no sector's size");
    refuses_with("app: web\nimage: x\nblocks: {storage: 17T}\n", "17T is more than the 16T that a volume may have");
    refuses_with("app: web\nimage: x\nblocks: {storage: [64M]}\n", "blocks.storage: is to be a size");
    refuses_with("app: web\nimage: x\nblocks: {\"stor age\": 64M}\n", "is no device's name");
    refuses("app: web\nimage: x\nports: {tcp: 80}\n", "dir/web.yaml:3: ports: is to be a list");
    refuses("app: web\nimage: x\nports:\n- 80/tcp\n- 99999\n",
            "dir/web.yaml:5: ports: \"99999\" is no port; write 80/tcp, 8000-8010/tcp, 53/udp or icmp");
    refuses("app: web\nimage: x\nports: [80, 70-90/tcp]\n", "dir/web.yaml:3: ports: \"70-90/tcp\" is there twice");
    refuses("app: web\nimage: x\nallow: 10.0.0.1/8\n",
            "dir/web.yaml:3: allow: \"10.0.0.1/8\" is neither an app, network:NAME nor a subnet such as 10.0.0.0/24");
    refuses_with("app: web\nimage: x\nvolume-lost: empty\n", ":3: volume-lost: there is no volume");
    refuses_with("app: web\nimage: x\nblocks: {storage: 1M}\nvolume-lost: copy\n", "is neither wait nor empty");
    refuses_with("app: web\nimage: x\nnets: {service: La n}\n", ":3: nets: \"La n\" is no network's name");
    refuses_with("app: web\nimage: x\naffinity: A B\n", "affinity: \"A B\" is no name");
    refuses("app: web\nimage: x\nargs: [\"a\\tb\"]\n",
            "dir/web.yaml:3: args: \"a?b\" holds a control character");
}

static void what_is_no_yaml_of_ours_is_refused(void **state)
{
    (void)state;
    refuses("app: web: x\n",
            "dir/web.yaml:1: is no YAML: mapping values are not allowed in this context");
    refuses("app: web\nimage: [x\n",
            "dir/web.yaml:3: is no YAML: did not find expected ',' or ']'");
    refuses("app: &a web\nimage: x\n",
            "dir/web.yaml:1: anchors and tags are not taken here; write the value out");
    refuses("app: web\nimage: *a\n",
            "dir/web.yaml:2: aliases are not taken here; write the value out");
    refuses("app: !!str web\nimage: x\n",
            "dir/web.yaml:1: anchors and tags are not taken here; write the value out");
    refuses("- web\n", "dir/web.yaml:1: nothing is in it that reads KEY: VALUE");
    refuses("app: web\nimage: x\n---\napp: y\n",
            "dir/web.yaml:3: a second document begins here; one file has one");
    refuses("app: web\nimage: {virtio: {a: {b: {c: d}}}}\n",
            "dir/web.yaml:2: it is nested deeper than such a file may be");
    refuses("app: \"w\\0b\"\nimage: x\n", "dir/web.yaml:1: a NUL is in the text");
    refuses_with("app: \xff\n", "is no text in UTF-8");
}

/* What is large is refused before it costs anything. */
static void large_files_are_refused(void **state)
{
    (void)state;
    size_t len = 10 * 1024 * 1024;
    char *big = malloc(len + 1);
    assert_non_null(big);
    memset(big, '#', len);
    big[len] = '\0';
    refuses(big, "dir/web.yaml: 10485760 bytes are more than the 65536 that such a file may have");
    big[YAML_BYTES_MAX] = '\0';
    refuses(big, "dir/web.yaml: app: is missing");
    memset(big, '[', YAML_BYTES_MAX);
    refuses_with(big, "nested deeper");
    size_t at = (size_t)sprintf(big, "app: web\nimage: x\nargs:\n");
    for (int i = 0; i < 3000; i++)
        at += (size_t)sprintf(big + at, " - a\n");
    refuses_with(big, "there is more in it than such a file may have");
    at = (size_t)sprintf(big, "app: web\nimage: x\nargs:\n");
    for (int i = 0; i < ARGS_MAX + 1; i++)
        at += (size_t)sprintf(big + at, " - a\n");
    refuses_with(big, "dir/web.yaml:68: args: has more than the 64 values that it may");
    at = (size_t)sprintf(big, "app: web\nimage: x\nargs:\n - ");
    memset(big + at, 'a', ARGS_BYTES_MAX);
    big[at + ARGS_BYTES_MAX] = '\0';
    refuses_with(big, "dir/web.yaml:4: args: are longer than the 8192 bytes");
    free(big);
}

static void a_file_that_cannot_be_read_is_named(void **state)
{
    (void)state;
    assert_int_equal(appfile_read(&a, "/nowhere/web.yaml", &error), ERR_NOT_FOUND);
    assert_string_equal(error.text,
                        "/nowhere/web.yaml: can't be opened: No such file or directory");
    assert_int_equal(appfile_read(&a, "/", &error), ERR_IO);
    appfile_release(&a);
}

static void what_is_found_out_later_has_its_line_too(void **state)
{
    (void)state;
    char text[256];
    takes("app: web\nimage: x\nmemory: 2M\n");
    a.spec.image_count = 1;
    a.spec.images[0] = (struct image_ref){.target = TARGET_VIRTIO, .image.b = {1}, .size_bytes = 1};
    assert_int_equal(spec_check(&a.spec, text, sizeof text), ERR_INVALID);
    appfile_place(&a, text, &error);
    assert_string_equal(
        error.text, "dir/web.yaml:3: memory: 2M is below the 4M that a virtio guest needs; write "
                    "memory: 4M or more");
    appfile_release(&a);
}

static void every_beginning_of_a_file_is_safe(void **state)
{
    (void)state;
    static const char whole[] =
        "app: web\nimage: {spt: a, virtio: \"b\"}\nargs: [x, 'y']\nrestart: {when: never}\n"
        "require: {zone: attic}\nreplicas: 3\n";
    for (size_t n = 0; n < sizeof whole; n++) {
        (void)!appfile_parse(&a, "web.yaml", whole, n, &error);
        appfile_release(&a);
    }
}

static void sizes_are_read_as_people_write_them(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint32_t mib;
        enum err err;
    } cases[] = {{"32M", 32, ERR_OK},
                 {"1G", 1024, ERR_OK},
                 {"2T", 2 << 20, ERR_OK},
                 {"64", 64, ERR_OK},
                 {"2048K", 2, ERR_OK},
                 {"32MiB", 32, ERR_OK},
                 {"32MB", 32, ERR_OK},
                 {"1g", 1024, ERR_OK},
                 {"0", 0, ERR_OK},
                 {"1K", 0, ERR_INVALID},
                 {"", 0, ERR_INVALID},
                 {"M", 0, ERR_INVALID},
                 {"-1M", 0, ERR_INVALID},
                 {"1.5G", 0, ERR_INVALID},
                 {"32Q", 0, ERR_INVALID},
                 {" 32M", 0, ERR_INVALID},
                 {"32M ", 0, ERR_INVALID},
                 {"4096T", 0, ERR_TOO_LARGE},
                 {"99999999999999999999999999", 0, ERR_TOO_LARGE}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint32_t mib = 0;
        enum err err = size_parse_mib(cases[i].text, &mib);
        if (err != cases[i].err || mib != cases[i].mib)
            fail_msg("\"%s\": %s, %u", cases[i].text, err_name(err), mib);
    }
    char text[SIZE_TEXT];
    size_text(1536 * 1024, text);
    assert_string_equal(text, "1.5 MiB");
    size_text(100, text);
    assert_string_equal(text, "100 B");
    size_text(UINT64_MAX, text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_whole_file_is_read),
        cmocka_unit_test(what_is_left_out_has_its_default),
        cmocka_unit_test(keys_are_checked),
        cmocka_unit_test(values_are_checked),
        cmocka_unit_test(what_is_no_yaml_of_ours_is_refused),
        cmocka_unit_test(large_files_are_refused),
        cmocka_unit_test(a_file_that_cannot_be_read_is_named),
        cmocka_unit_test(what_is_found_out_later_has_its_line_too),
        cmocka_unit_test(every_beginning_of_a_file_is_safe),
        cmocka_unit_test(sizes_are_read_as_people_write_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
