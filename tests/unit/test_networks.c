/* Addresses and subnets as words, the networks of a host, and what a guest is told of them. */
#include "store/model/args.h"
#include "store/model/networks.h"
#include "store/model/solo5.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static char said[1024];

static struct ip ip_of(const char *text)
{
    struct ip ip;
    assert_int_equal(ip_parse(text, &ip), ERR_OK);
    return ip;
}

/* ---- ip ------------------------------------------------------------------------------------------ */

static void addresses_are_read_and_written(void **state)
{
    (void)state;
    static const char *const same[] = {"0.0.0.0", "255.255.255.255", "10.0.0.1", "::", "::1", "fe80::1", "2001:db8::",
                                       "2001:db8:0:1:1:1:1:1", "1:2:3:4:5:6:7:8", "2001:0:0:1::1"};
    char text[IP_TEXT];
    for (size_t i = 0; i < sizeof same / sizeof same[0]; i++) {
        const struct ip ip = ip_of(same[i]);
        ip_text(&ip, text);
        assert_string_equal(text, same[i]);
    }
    static const char *const wrong[] = {"", "1", "1.2.3", "1.2.3.4.5", "256.0.0.1", "01.2.3.4", "1.2.3.4 ", ":", ":::",
                                        "1::2::3", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "12345::", "1:2:3:4:5:6:7:",
                                        "::1.2.3.4", "g::", "1:2:3:4:5:6:7:8::", "fe80::1%eth0"};
    struct ip ip;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        if (ip_parse(wrong[i], &ip) != ERR_INVALID)
            fail_msg("\"%s\" was taken for an address", wrong[i]);
}

static void a_subnet_has_what_its_prefix_says(void **state)
{
    (void)state;
    struct subnet n;
    char text[SUBNET_TEXT];
    assert_int_equal(subnet_parse("10.1.2.128/25", &n), ERR_OK);
    subnet_text(&n, text);
    assert_string_equal(text, "10.1.2.128/25");
    const struct ip in = ip_of("10.1.2.200"), out = ip_of("10.1.2.127"), last = subnet_last(&n),
                    six = ip_of("::a01:2c8");
    assert_true(subnet_has(&n, &in) && subnet_has(&n, &last));
    assert_false(subnet_has(&n, &out) || subnet_has(&n, &six));
    ip_text(&last, text);
    assert_string_equal(text, "10.1.2.255");
    assert_int_equal(subnet_parse("fd00::/63", &n), ERR_OK);
    const struct ip end = subnet_last(&n);
    ip_text(&end, text);
    assert_string_equal(text, "fd00::1:ffff:ffff:ffff:ffff");
    static const char *const wrong[] = {"10.0.0.0",     "10.0.0.0/",  "10.0.0.0/33", "10.0.0.1/24",
                                        "10.0.0.0/024", "fd00::/129", "fd00::1/64",  "10.0.0.0/24 "};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        if (subnet_parse(wrong[i], &n) != ERR_INVALID)
            fail_msg("\"%s\" was taken for a subnet", wrong[i]);
}

static void addresses_are_counted(void **state)
{
    (void)state;
    const struct ip a = ip_of("10.0.0.250"), b = ip_add(&a, 10), c = ip_of("10.0.1.4");
    assert_true(ip_equal(&b, &c));
    assert_true(ip_distance(&a, &c) == 10 && ip_distance(&a, &a) == 0);
    const struct ip low = ip_of("fd00::"), high = ip_of("fd00::ffff:ffff:ffff:ffff"), far = ip_of("fd00:0:0:1::");
    assert_true(ip_distance(&low, &high) == UINT64_MAX && ip_distance(&low, &far) == UINT64_MAX);
    assert_true(ip_compare(&low, &high) < 0);
}

/* ---- networks ------------------------------------------------------------------------------------ */

static const char *refused(const char *words)
{
    static char why[256];
    struct networks n = {0};
    if (networks_add(&n, "public", words, why, sizeof why) == ERR_OK)
        fail_msg("\"%s\" was taken for a network", words);
    assert_int_equal(n.count, 0);
    return why;
}

static void a_network_without_a_range_is_all_of_its_subnet(void **state)
{
    (void)state;
    struct networks n = {0};
    char why[256], words[NETWORK_WORDS];
    assert_int_equal(
        networks_add(&n, "public", "br0,subnet=10.0.0.0/24,uplink=eth1,gateway=10.0.0.1,mtu=9000", why, sizeof why),
        ERR_OK);
    network_words(&n.v[0], words);
    assert_string_equal(words,
                        "br0,uplink=eth1,mtu=9000,subnet=10.0.0.0/24,range=10.0.0.1-10.0.0.254,gateway=10.0.0.1");
    const struct ip one = ip_of("10.0.0.1"), two = ip_of("10.0.0.2"), end = ip_of("10.0.0.255"), none = {{0}},
                    six = ip_of("fd00::1");
    assert_false(network_may_give(&n.v[0], &one)); /* the gateway's */
    assert_true(network_may_give(&n.v[0], &two));
    assert_false(network_may_give(&n.v[0], &end) || network_may_give(&n.v[0], &six));
    assert_true(network_may_give(&n.v[0], &none));
    struct networks again = {0}; /* as mesh-priv reads them */
    assert_int_equal(networks_add(&again, "public", words, why, sizeof why), ERR_OK);
    assert_memory_equal(&again, &n, sizeof n);
}

static void what_makes_no_network_is_said(void **state)
{
    (void)state;
    assert_string_equal(refused("br 0"),
                        "\"br 0\" is no bridge's name; `ip link show type bridge` lists what is there");
    assert_non_null(strstr(refused("br0,vlan=3"), "there are subnet=, gateway=, range=, uplink= and mtu="));
    assert_non_null(strstr(refused("br0,subnet"), "\"subnet\" is nothing that a network has"));
    assert_non_null(strstr(refused("br0,subnet=10.0.0.0/31"), "too small"));
    assert_non_null(strstr(refused("br0,subnet=0.0.0.0/7"), "too large"));
    assert_non_null(strstr(refused("br0,subnet=10.0.0.0/24,subnet=10.0.1.0/24"), "a second subnet"));
    assert_string_equal(refused("br0,gateway=10.0.0.1"), "there is a gateway or a range, and no subnet, of IPv4");
    assert_string_equal(refused("br0,subnet=10.0.0.0/24,gateway=10.0.1.1"),
                        "the gateway is not in the subnet 10.0.0.0/24");
    assert_string_equal(refused("br0,subnet=10.0.0.0/24,range=10.0.0.1-10.0.1.1"),
                        "the range is not in the subnet 10.0.0.0/24");
    assert_non_null(strstr(refused("br0,range=10.0.0.9-10.0.0.1"), "is no range"));
    assert_non_null(strstr(refused("br0,range=10.0.0.9-fd00::1"), "is no range"));
    assert_non_null(strstr(refused("br0,uplink=a/b"), "is no link's name"));
    assert_non_null(strstr(refused("br0,uplink=eth1,mtu=99"), "is no MTU; write mtu=1500, 576 to 65521"));
    assert_non_null(strstr(refused("br0,uplink=eth1,mtu=1500x"), "is no MTU"));
    assert_non_null(strstr(refused("br0,mtu=1500"), "name its uplink"));
    assert_non_null(strstr(refused("br0,"), "is nothing that a network has"));
}

/* ---- access -------------------------------------------------------------------------------------- */

static struct access access_of(const char *const *words)
{
    struct access a = {0};
    char why[256];
    for (; words[0]; words += 2)
        if (access_add(&a, words[0], words[1], why, sizeof why))
            fail_msg("%s", why);
    return a;
}

static void ports_and_peers_are_read_and_written(void **state)
{
    (void)state;
    static const char *const words[] = {"ports", "80", "ports", "8000-8010/tcp", "ports", "53/udp", "ports", "icmp",
                                        "publish", "8080:80/tcp", "allow", "front", "allow", "app:back",
                                        "allow", "network:lan", "deny", "10.0.0.0/8", "deny", "fd00::1", NULL};
    static const char *const ports[] = {"80/tcp", "8000-8010/tcp", "53/udp", "icmp", "8080:80/tcp"};
    static const char *const peers[] = {"front", "back", "network:lan", "10.0.0.0/8", "fd00::1/128"};
    const struct access a = access_of(words);
    char text[NAME_SIZE + 16], why[256];
    assert_int_equal(access_check(&a, why, sizeof why), ERR_OK);
    for (uint32_t i = 0; i < a.port_count; i++) {
        port_text(&a.ports[i], text);
        assert_string_equal(text, ports[i]);
    }
    for (uint32_t i = 0; i < a.peer_count; i++) {
        peer_text(&a.peers[i], text);
        assert_string_equal(text, peers[i]);
    }
    uint8_t bytes[1024];
    struct pack p;
    struct cursor c;
    struct access out = {0};
    pack_init(&p, bytes, sizeof bytes);
    access_encode(&a, &p);
    assert_int_equal(pack_end(&p), ERR_OK);
    cursor_init(&c, bytes, p.len);
    access_decode(&c, &out);
    assert_int_equal(cursor_end(&c), ERR_OK);
    assert_int_equal(out.port_count, a.port_count);
    assert_int_equal(out.peer_count, a.peer_count);
    for (uint32_t i = 0; i < out.peer_count; i++) {
        peer_text(&out.peers[i], text);
        assert_string_equal(text, peers[i]);
    }
    for (size_t i = 0; i < p.len; i++) { /* cut anywhere */
        cursor_init(&c, bytes, i);
        out = (struct access){0};
        access_decode(&c, &out);
        assert_int_not_equal(cursor_end(&c), ERR_OK);
    }
}

static void what_is_no_port_and_no_peer_is_said(void **state)
{
    (void)state;
    static const char *const wrong[] = {"ports",   "",         "ports",   "0",          "ports",   "65536",
                                        "ports",   "80/sctp",  "ports",   "90-80",      "ports",   "080",
                                        "ports",   "80-",      "ports",   "80tcp",      "publish", "80",
                                        "publish", "8080:",    "publish", "8080:80-90", "publish", ":80",
                                        "publish", "icmp",     "allow",   "",           "allow",   "Front",
                                        "allow",   "network:", "deny",    "10.0.0.1/8", "deny",    "ap:x",
                                        NULL};
    struct access a = {0};
    for (const char *const *w = wrong; w[0]; w += 2)
        if (access_add(&a, w[0], w[1], said, sizeof said) == ERR_OK)
            fail_msg("%s: \"%s\" was taken", w[0], w[1]);
    assert_int_equal(a.port_count + a.peer_count, 0);
    static const char *const twice[] = {"ports", "80-90", "ports", "85/tcp", NULL};
    a = access_of(twice);
    assert_int_equal(access_check(&a, said, sizeof said), ERR_INVALID);
    assert_string_equal(said, "ports: \"85/tcp\" is there twice");
    static const char *const published[] = {"publish", "8080:80", "publish", "8081:80", "ports",
                                            "80",      "ports",   "80/udp",  NULL};
    a = access_of(published);
    assert_int_equal(access_check(&a, said, sizeof said), ERR_OK);
}

static void sources_within_others_are_left_out(void **state)
{
    (void)state;
    static const char *const in[] = {"10.1.0.0/16", "10.1.2.3/32", "11.0.0.1/32",
                                     "10.0.0.0/8",  "fd00::1/128", "fd00::/64"};
    static const char *const out[] = {"11.0.0.1/32", "10.0.0.0/8", "fd00::/64"};
    struct guest_access g = {0};
    char text[SUBNET_TEXT];
    for (size_t i = 0; i < sizeof in / sizeof in[0]; i++) {
        struct subnet s;
        assert_int_equal(subnet_parse(in[i], &s), ERR_OK);
        assert_int_equal(guest_access_add(&g, PEER_ALLOW, &s), ERR_OK);
    }
    assert_int_equal(g.source_count, sizeof out / sizeof out[0]);
    for (uint32_t i = 0; i < g.source_count; i++) {
        subnet_text(&g.sources[i].subnet, text);
        assert_string_equal(text, out[i]);
    }
    struct subnet s = {.bits = 32};
    s.base = ip_of("12.0.0.0");
    enum err err = ERR_OK;
    for (uint32_t i = 0; i < SOURCES_MAX && !err; i++, s.base = ip_add(&s.base, 1))
        err = guest_access_add(&g, PEER_DENY, &s);
    assert_int_equal(err, ERR_FULL);
}

/* ---- arguments ----------------------------------------------------------------------------------- */

static struct spec_body spec;
static struct arg_net nets[2];

static int make(void **state)
{
    (void)state;
    spec = (struct spec_body){.net_count = 1, .nets = {{"service", "public"}, {"admin", "lan"}},
                              .mirage = MIRAGE_IPV4 | MIRAGE_IPV6 | MIRAGE_ONLY};
    nets[0] = (struct arg_net){
        .device = "service", .ip = {ip_of("10.0.0.7")}, .gateway = {ip_of("10.0.0.1")}, .bits = {24}};
    nets[1] = (struct arg_net){.device = "admin", .ip = {{{0}}, ip_of("fd00::7")}, .bits = {0, 64}};
    return 0;
}

static struct arg_values values(uint32_t count)
{
    return (struct arg_values){.slot = 12, .node = "attic", .app = "web", .net_count = count, .nets = nets};
}

static const char *expanded(const char *arg)
{
    static char text[256];
    static uint8_t bytes[512];
    const struct arg_values v = values(2);
    struct pack p;
    struct slice rest, out;
    pack_init(&p, bytes, sizeof bytes);
    if (arg_expand((struct slice){(const uint8_t *)arg, strlen(arg)}, &v, &p, text, sizeof text))
        return text;
    assert_int_equal(pack_end(&p), ERR_OK);
    rest = (struct slice){bytes, p.len};
    assert_true(spec_arg_next(&rest, &out));
    snprintf(text, sizeof text, "%.*s", (int)out.len, (const char *)out.p);
    return text;
}

static void arguments_are_filled_in(void **state)
{
    (void)state;
    assert_string_equal(expanded("--ipv4=10.0.0.{{slot}}/24"), "--ipv4=10.0.0.12/24");
    assert_string_equal(expanded("{{app}}-{{ slot }}@{{node}}"), "web-12@attic");
    assert_string_equal(expanded("{{later}}{{slot}}{{ more"), "{{later}}12{{ more");
    assert_string_equal(expanded("{slot} }} {{"), "{slot} }} {{");
    assert_string_equal(expanded("{{{slot}}}"), "{{{slot}}}"); /* the word is "{slot" */
    assert_string_equal(expanded(""), "");
    assert_string_equal(expanded("{{ipv4.service}},{{ipv4-cidr.service}},{{ ipv4-gateway.service }}"),
                        "10.0.0.7,10.0.0.7/24,10.0.0.1");
    assert_string_equal(expanded("{{ipv6.admin}} {{ipv6-cidr.admin}}"), "fd00::7 fd00::7/64");
    assert_string_equal(expanded("{{ipv6-gateway.admin}}"), "args: there is no {{ipv6-gateway.admin}} on its host");
    assert_string_equal(expanded("{{ipv4.admin}}"), "args: there is no {{ipv4.admin}} on its host");
}

static void an_unknown_template_is_refused(void **state)
{
    (void)state;
    assert_int_equal(arg_check("a {{slot}} {{ app }}{{node}} {{", NULL, said, sizeof said), ERR_OK);
    assert_int_equal(arg_check("{{ipv4.service}}", &spec, said, sizeof said), ERR_OK);
    assert_int_equal(arg_check("{{ipv4.other}}", NULL, said, sizeof said), ERR_OK); /* the node will say */
    assert_int_equal(arg_check("--x={{slots}}", NULL, said, sizeof said), ERR_INVALID);
    assert_non_null(
        strstr(said, "args: {{slots}} is nothing that can be filled in; there are {{slot}}, {{node}}, {{app}}"));
    assert_int_equal(arg_check("{{ipv4}}", NULL, said, sizeof said), ERR_INVALID);
    assert_int_equal(arg_check("{{slot.service}}", NULL, said, sizeof said), ERR_INVALID);
    assert_int_equal(arg_check("{{ipv4.}}", NULL, said, sizeof said), ERR_INVALID);
    assert_int_equal(arg_check("{{ipv4.admin}}", &spec, said, sizeof said), ERR_INVALID); /* it has one net */
    assert_string_equal(said, "args: {{ipv4.admin}}: the app gives no network to a device of that name");
}

static const char *mirage(uint32_t count, enum arg_words words)
{
    static uint8_t bytes[ARG_MIRAGE_BYTES];
    const struct arg_values v = values(count);
    struct pack p;
    uint32_t n = 0;
    struct slice rest, arg;
    size_t at = 0;
    pack_init(&p, bytes, sizeof bytes);
    arg_mirage(&spec, &v, words, &p, &n);
    assert_int_equal(pack_end(&p), ERR_OK);
    rest = (struct slice){bytes, p.len};
    said[0] = '\0';
    for (uint32_t i = 0; i < n; i++) {
        assert_true(spec_arg_next(&rest, &arg));
        at += (size_t)snprintf(said + at, sizeof said - at, "%s%.*s", i ? " " : "", (int)arg.len, (const char *)arg.p);
    }
    assert_int_equal(rest.len, 0);
    return said;
}

static void a_mirage_guest_is_told_its_addresses(void **state)
{
    (void)state;
    assert_string_equal(mirage(1, ARG_WORDS_ALL),
                        "--name=web-12 --ipv4=10.0.0.7/24 --ipv4-gateway=10.0.0.1 --ipv4-only=true");
    assert_string_equal(mirage(1, ARG_WORDS_NO_NAME), "--ipv4=10.0.0.7/24 --ipv4-gateway=10.0.0.1 --ipv4-only=true");
    assert_string_equal(mirage(1, ARG_WORDS_ADDRESSES), "--ipv4=10.0.0.7/24 --ipv4-gateway=10.0.0.1");
    assert_string_equal(mirage(1, ARG_WORDS_NONE), "");
    assert_string_equal(mirage(2, ARG_WORDS_ALL),
                        "--name=web-12 --ipv4=10.0.0.7/24 --ipv4-gateway=10.0.0.1 --ipv4-only=true "
                        "--admin-ipv6=fd00::7/64 --admin-ipv6-only=true");
    nets[0].ip[IP6] = ip_of("fd00::8");
    nets[0].bits[IP6] = 64;
    assert_string_equal(mirage(1, ARG_WORDS_ALL),
                        "--name=web-12 --ipv4=10.0.0.7/24 --ipv4-gateway=10.0.0.1 --ipv6=fd00::8/64");
    nets[0].device = "front"; /* the only one has no prefix, whatever it is called */
    assert_non_null(strstr(mirage(1, ARG_WORDS_NO_NAME), "--ipv4=10.0.0.7/24"));
    spec.mirage = MIRAGE_IPV4;
    assert_string_equal(mirage(1, ARG_WORDS_NO_NAME), "--ipv4=10.0.0.7/24 --ipv4-gateway=10.0.0.1");
    spec.mirage = 0;
    assert_string_equal(mirage(1, ARG_WORDS_ALL), "");
}

static void its_own_arguments_go_first(void **state)
{
    (void)state;
    static uint8_t bytes[256];
    struct pack p;
    pack_init(&p, bytes, sizeof bytes);
    pack_str(&p, "--ipv4=10.0.0.99/24");
    pack_str(&p, "--name");
    pack_str(&p, "--ipv4-only-if=x");
    spec.args_count = 3;
    spec.args = (struct slice){bytes, p.len};
    assert_string_equal(mirage(1, ARG_WORDS_ALL), "--ipv4-gateway=10.0.0.1 --ipv4-only=true");
}

#define T(name) cmocka_unit_test_setup(name, make)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(addresses_are_read_and_written),
        T(a_subnet_has_what_its_prefix_says),
        T(addresses_are_counted),
        T(a_network_without_a_range_is_all_of_its_subnet),
        T(what_makes_no_network_is_said),
        T(ports_and_peers_are_read_and_written),
        T(what_is_no_port_and_no_peer_is_said),
        T(sources_within_others_are_left_out),
        T(arguments_are_filled_in),
        T(an_unknown_template_is_refused),
        T(a_mirage_guest_is_told_its_addresses),
        T(its_own_arguments_go_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
