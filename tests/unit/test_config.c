/* The daemon's configuration, from a file and from options. */
#include "node/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct config c;
static struct yaml_error error;

static enum err parse(const char *text)
{
    memset(&c, 0, sizeof c);
    return config_parse(&c, "meshd.yaml", text, strlen(text), &error);
}

static void refuses(const char *text, const char *says)
{
    if (!parse(text) || strcmp(error.text, says) != 0)
        fail_msg("says:        %s\nshould say:  %s", error.text, says);
}

static void a_whole_file_is_read(void **state)
{
    (void)state;
    char text[ADDRESS_TEXT];
    if (parse("name: attic\nbind: 0.0.0.0:7946\nadvertise: '[2001:db8::1]'\n"
              "join: [front.example:7946, 10.0.0.1:7946, \"[fe80::1]:1\"]\ndiscover: true\nmemory: "
              "4G\n"
              "labels: {zone: attic, disk: ssd}\nkey-file: /etc/unimesh/mesh.key\nstate: "
              "/var/lib/unimesh\n"
              "run: /run/unimesh\nmesh: home\nlog-format: json\ntenders: {spt: /opt/solo5-spt}\n"
              "networks:\n  public: br0\n  lan: {bridge: br1, subnet: [10.1.0.0/24, 'fd00:1::/64'], gateway: "
              "10.1.0.1,\n"
              "        range: 10.1.0.100-10.1.0.199}\n"))
        fail_msg("%s", error.text);
    assert_string_equal(c.name, "attic");
    assert_true(c.bind_given);
    assert_int_equal(c.bind.port, 7946);
    assert_true(c.advertise_given);
    address_text(&c.advertise, text);
    assert_string_equal(text, "[2001:db8::1]:7946");
    assert_int_equal(c.join_count, 3);
    assert_string_equal(c.join[0].host, "front.example");
    assert_true(c.discover);
    assert_int_equal(c.memory_mib, 4096);
    assert_int_equal(c.labels.count, 2);
    assert_string_equal(c.labels.v[0].key, "disk");
    assert_string_equal(c.key_file, "/etc/unimesh/mesh.key");
    assert_string_equal(c.state, "/var/lib/unimesh");
    assert_string_equal(c.run, "/run/unimesh");
    assert_string_equal(c.mesh, "home");
    assert_int_equal(c.log_format, CONFIG_LOG_JSON);
    assert_string_equal(c.tender[TARGET_SPT], "/opt/solo5-spt");
    assert_string_equal(c.tender[TARGET_HVT], "");
    assert_int_equal(c.networks.count, 2);
    assert_string_equal(c.networks.v[0].name, "lan");
    assert_string_equal(networks_find(&c.networks, "public")->bridge, "br0");
    char words[NETWORK_WORDS];
    network_words(&c.networks.v[0], words);
    assert_string_equal(words, "br1,subnet=10.1.0.0/24,range=10.1.0.100-10.1.0.199,gateway=10.1.0.1,"
                               "subnet=fd00:1::/64,range=fd00:1::1-fd00:1::ffff:ffff:ffff:ffff");
    assert_null(networks_find(&c.networks, "attic"));
}

static void an_empty_file_says_nothing(void **state)
{
    (void)state;
    assert_int_equal(parse(""), ERR_OK);
    assert_int_equal(parse("# join: [a:1]\n"), ERR_OK);
    assert_int_equal(c.join_count, 0);
    assert_false(c.memory_given);
}

static void one_peer_needs_no_list(void **state)
{
    (void)state;
    assert_int_equal(parse("join: front.example:7946\nadvertise: 10.0.0.1:1\n"), ERR_OK);
    assert_int_equal(c.join_count, 1);
    assert_true(c.advertise_given);
}

static void what_is_wrong_is_said_with_its_line(void **state)
{
    (void)state;
    refuses("name: attic\njoined: x\n",
            "meshd.yaml:2: joined: is no key of the daemon's configuration; did you mean join?");
    refuses("bind: front:7946\n", "meshd.yaml:1: bind: \"front:7946\" is no ADDRESS:PORT; "
                                  "write 192.0.2.1:7946 or [2001:db8::1]:7946");
    refuses("join:\n - a:1\n - b:x\n", "meshd.yaml:3: join: \"b:x\" is no HOST:PORT; write "
                                       "front.example:7946 or [2001:db8::1]:7946");
    refuses("log-level: loud\n",
            "meshd.yaml:1: log-level: \"loud\" is none of debug, info, warn and error");
    refuses("discover: maybe\n", "meshd.yaml:1: discover: \"maybe\" is neither true nor false");
    refuses("memory: lots\n",
            "meshd.yaml:1: memory: \"lots\" is no size in whole MiB; write 512M or 8G");
    refuses("volumes: 0\n", "meshd.yaml:1: volumes: \"0\" is no size in whole MiB; write 10G");
    assert_int_equal(parse("volumes: 10G\n"), ERR_OK);
    assert_int_equal(c.volumes_mib, 10240);
    refuses("log-format: xml\n", "meshd.yaml:1: log-format: \"xml\" is neither logfmt nor json");
    refuses("labels: [a]\n", "meshd.yaml:1: labels: is no mapping; write labels: {LABEL: VALUE}");
    refuses("networks: br0\n", "meshd.yaml:1: networks: is no mapping; write networks: {NETWORK: BRIDGE}");
    refuses("networks:\n  public: {bridge: br0, vlan: 3}\n",
            "meshd.yaml:2: networks: vlan: there is no such key; a network has bridge, subnet, gateway, range, "
            "uplink and mtu");
    refuses("networks: {public: {bridge: br0, subnet: 10.0.0.1/24}}\n",
            "meshd.yaml:1: networks.public: \"10.0.0.1/24\" is no subnet; write subnet=10.0.0.0/24, with zeros "
            "behind the "
            "prefix");
    refuses("networks: {public: {bridge: br0, gateway: {a: b}}}\n",
            "meshd.yaml:1: networks: gateway: is to be one value, or a list of them");
    refuses("networks: {public: {}}\n", "meshd.yaml:1: networks.public: write networks: {public: {bridge: BRIDGE}}");
    refuses("networks: {public: a/b}\n", "meshd.yaml:1: networks.public: \"a/b\" is no bridge's name; "
                                         "`ip link show type bridge` lists what is there");
    refuses("tenders: {xen: /x}\n", "meshd.yaml:1: tenders.xen: is no key of the daemon's "
                                    "configuration; there are hvt, spt, virtio");
    refuses("name: A\n", "meshd.yaml:1: name: \"A\" is no name; take 1 to 63 of a-z, 0-9, - and ., "
                         "beginning and ending "
                         "with a letter or digit");
    refuses("state: ''\n", "meshd.yaml:1: state: has no value");
}

static void options_are_said_by_the_same_names(void **state)
{
    (void)state;
    char why[256];
    memset(&c, 0, sizeof c);
    assert_int_equal(config_set(&c, "join", "a.example:1", why, sizeof why), ERR_OK);
    assert_int_equal(config_set(&c, "join", "[::1]:2", why, sizeof why), ERR_OK);
    assert_int_equal(c.join_count, 2);
    assert_int_equal(config_set(&c, "label", "zone=attic", why, sizeof why), ERR_OK);
    assert_int_equal(config_set(&c, "labels.disk", "ssd", why, sizeof why), ERR_OK);
    assert_int_equal(c.labels.count, 2);
    assert_int_equal(config_set(&c, "tender", "hvt=/opt/hvt", why, sizeof why), ERR_OK);
    assert_string_equal(c.tender[TARGET_HVT], "/opt/hvt");
    assert_int_equal(config_set(&c, "tender", "xen=/x", why, sizeof why), ERR_INVALID);
    assert_string_equal(why, "tender: \"xen\" is no target; there are hvt, spt and virtio");
    assert_int_equal(config_set(&c, "network", "public=br0", why, sizeof why), ERR_OK);
    assert_int_equal(config_set(&c, "network", "public=br7", why, sizeof why), ERR_OK);
    assert_int_equal(c.networks.count, 1);
    assert_string_equal(c.networks.v[0].bridge, "br7"); /* the last word holds */
    assert_int_equal(config_set(&c, "network", "public", why, sizeof why), ERR_INVALID);
    assert_int_equal(config_set(&c, "label", "zone", why, sizeof why), ERR_INVALID);
    assert_int_equal(config_set(&c, "memory", "99999999999G", why, sizeof why), ERR_TOO_LARGE);
    assert_int_equal(config_set(&c, "nonsense", "x", why, sizeof why), ERR_NOT_FOUND);
    for (int i = 2; i < CONFIG_JOIN_MAX; i++)
        assert_int_equal(config_set(&c, "join", "a.example:1", why, sizeof why), ERR_OK);
    assert_int_equal(config_set(&c, "join", "a.example:1", why, sizeof why), ERR_FULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_whole_file_is_read),
        cmocka_unit_test(an_empty_file_says_nothing),
        cmocka_unit_test(one_peer_needs_no_list),
        cmocka_unit_test(what_is_wrong_is_said_with_its_line),
        cmocka_unit_test(options_are_said_by_the_same_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
