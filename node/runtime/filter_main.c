/* mesh-filter: see filter.h. It has the nftables library, so that nothing else has; every word is checked again, as
 * it is put into commands.
 *
 *   asked  "look"                                    with the client's socket as descriptor 0
 *          "add TAP MAC IP4 IP6 WORD…"               ports as access.h has them; "limited"; "+SUBNET", "-SUBNET"
 *          "remove TAP"
 *   answers ""; or what is wrong
 *
 * Of a guest with the tap umX there are, in the table `bridge unimesh`: the chain umX, what it sends; the sets umX.4
 * and umX.6, whom it asked something, so that answers come in (a bridge's connection tracking is in few kernels); the
 * chain umX.in, what comes in; and umX.p, its open ports. In the table `ip unimesh`, if it publishes: umX.pre and
 * umX.out, by which the host's port leads to it; umX.mark, so that this passes umX.in; and umX.post, so that answers
 * come back. */
#define _GNU_SOURCE
#include "node/runtime/fault.h"
#include "store/model/access.h"

#include <net/if.h>
#include <nftables/libnftables.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* What each guest has needs no set without a name: for such a one the kernel looks through all sets that there are, and
 * nft reads them all before each request.
 *
 * Adding what is there is no error; a base chain's one rule is written anew, so that it is there once. A frame from a
 * tap of ours goes to that tap's chain, one to it, to its other one; any other on its way. */
#define TABLE                                                                                                          \
    "add table bridge unimesh\n"                                                                                       \
    "add map bridge unimesh guests { type ifname : verdict; }\n"                                                       \
    "add map bridge unimesh inward { type ifname : verdict; }\n"                                                       \
    "add set bridge unimesh needed4 { type icmp_type; }\n"                                                             \
    "add set bridge unimesh needed6 { type icmpv6_type; }\n"                                                           \
    "add element bridge unimesh needed4 { echo-reply, destination-unreachable, time-exceeded, parameter-problem }\n"   \
    "add element bridge unimesh needed6 { nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert, "                 \
    "mld-listener-query, packet-too-big, destination-unreachable, time-exceeded, parameter-problem, echo-reply }\n"    \
    "add chain bridge unimesh from-guests { type filter hook prerouting priority -250; policy accept; }\n"            \
    "flush chain bridge unimesh from-guests\n"                                                                         \
    "add rule bridge unimesh from-guests iifname vmap @guests\n"                                                       \
    "add chain bridge unimesh to-guests { type filter hook postrouting priority 250; policy accept; }\n"              \
    "flush chain bridge unimesh to-guests\n"                                                                           \
    "add rule bridge unimesh to-guests oifname vmap @inward\n"

#define PUBLISHED_MARK "0x756e696d" /* on what the host sends to a published port: it was looked at before */

enum {
    COMMANDS_SIZE = 64 * 1024,
    REQUEST_SIZE = 16 * 1024,
    WHY_SIZE = 160,
    TAP_BYTES = 15,
    MAC_BYTES = 17,
    HEX_SIZE = 36,
    KEPT_MAX = 2048
};

/* One for all that is asked: when a context is freed, its socket closes, and the kernel waits there until all
 * processors have let go of the rules that were replaced, 10 to 20 ms. It reads anew what others changed meanwhile.
 * After a failure, what is asked next gets a new one. */
static struct nft_ctx *nft;

static enum err run(const char *commands, char *why, size_t why_size)
{
    if (nft == NULL && (nft = nft_ctx_new(NFT_CTX_DEFAULT)) != NULL) {
        (void)nft_ctx_buffer_error(nft);
        (void)nft_ctx_buffer_output(nft);
    }
    if (nft == NULL) {
        (void)snprintf(why, why_size, "nftables can't be used");
        return ERR_NOMEM;
    }
    if (nft_run_cmd_from_buffer(nft, commands) == 0)
        return ERR_OK;
    const char *text = nft_ctx_get_error_buffer(nft);
    (void)snprintf(why, why_size, "nftables: %.*s", (int)strcspn(text, "\n"), text);
    nft_ctx_free(nft);
    nft = NULL;
    return ERR_UNSUPPORTED;
}

/* What a guest is known by, in nft's words. */
struct guest {
    const char *tap, *mac;
    const char *ip4, *ip6; /* NULL: none */
    char link_local[40];   /* of its MAC (RFC 4291, appendix A) */
    struct access ports;
    struct guest_access sources;
};

static struct commands {
    char text[COMMANDS_SIZE];
    size_t used;
} commands;

/* What doesn't fit makes them too long, which is seen before they are run. */
static void say_list(const char *format, va_list args)
{
    struct commands *c = &commands;
    size_t left = c->used < sizeof c->text ? sizeof c->text - c->used : 0;
    c->used += (size_t)vsnprintf(left > 0 ? c->text + c->used : NULL, left, format, args);
}

__attribute__((format(printf, 1, 2))) static void say(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    say_list(format, args);
    va_end(args);
}

/* A rule more in the tap's chain of that ending. */
__attribute__((format(printf, 3, 4))) static void rule(const struct guest *g, const char *ending, const char *format,
                                                       ...)
{
    va_list args;
    say("add rule bridge unimesh %s%s ", g->tap, ending);
    va_start(args, format);
    say_list(format, args);
    va_end(args);
    say("\n");
}

static enum err run_all(char *why, size_t why_size)
{
    if (commands.used < sizeof commands.text)
        return run(commands.text, why, why_size);
    (void)snprintf(why, why_size, "the rules of a guest are too long");
    return ERR_TOO_LARGE;
}

/* ---- what it sends ------------------------------------------------------------------------------- */

/* A number, as nft wants it where it doesn't know what it compares. */
static const char *hex_of(const char *ip, char out[static HEX_SIZE])
{
    struct ip read = {{0}};
    (void)!ip_parse(ip, &read); /* it was read before */
    size_t at = (size_t)snprintf(out, HEX_SIZE, "0x");
    for (size_t i = 0; i < sizeof read.b; i++)
        at += (size_t)snprintf(out + at, HEX_SIZE - at, "%02x", read.b[i]);
    return out;
}

/* A guest that we gave an address has that and, of IPv6, the one that it makes for its link; in its first moments there
 * it has none. One that we gave none may have any. */
static void own_addresses(const struct guest *g)
{
    if (g->ip4 == NULL && g->ip6 == NULL)
        return;
    if (g->ip4 != NULL) {
        rule(g, "", "arp saddr ip != %s arp saddr ip != 0.0.0.0 drop", g->ip4);
        rule(g, "", "ether type ip ip saddr != %s drop", g->ip4);
    } else {
        rule(g, "", "ether type ip drop");
        rule(g, "", "ether type arp drop");
    }
    const char *ip6 = g->ip6 != NULL ? g->ip6 : g->link_local;
    char hex[HEX_SIZE], link_hex[HEX_SIZE];
    rule(g, "", "ether type ip6 ip6 saddr != :: ip6 saddr != %s ip6 saddr != %s drop", g->link_local, ip6);
    /* Neighbour advertisements are IPv6's ARP; @th,64,128 is whom they speak of. */
    rule(g, "", "icmpv6 type nd-neighbor-advert @th,64,128 != %s @th,64,128 != %s drop",
         hex_of(g->link_local, link_hex), hex_of(ip6, hex));
}

/* Whom it asks may answer: for three minutes, by TCP for two hours, from its last word on. */
static void asks(const struct guest *g)
{
    static const char *const key4 = "ip saddr . ip protocol . th sport . ip daddr . th dport";
    static const char *const key6 = "ip6 saddr . ip6 nexthdr . th sport . ip6 daddr . th dport";
    rule(g, "", "ip protocol tcp update @%s.4 { %s timeout 2h }", g->tap, key4);
    rule(g, "", "ip protocol udp update @%s.4 { %s }", g->tap, key4);
    rule(g, "", "ip6 nexthdr tcp update @%s.6 { %s timeout 2h }", g->tap, key6);
    rule(g, "", "ip6 nexthdr udp update @%s.6 { %s }", g->tap, key6);
}

static void outward(const struct guest *g)
{
    static const char *const spoken[] = {"arp", "ip", "ip6"};
    static const char *const no_server[] = {
        "ether type ip udp sport 67 drop",
        "ether type ip6 udp sport 547 drop",
        "icmpv6 type nd-router-advert drop",
        "icmpv6 type nd-redirect drop",
    };
    rule(g, "", "ether saddr != %s drop", g->mac);
    rule(g, "", "arp saddr ether != %s drop", g->mac);
    own_addresses(g);
    for (size_t i = 0; i < sizeof no_server / sizeof no_server[0]; i++)
        rule(g, "", "%s", no_server[i]);
    asks(g);
    for (size_t i = 0; i < sizeof spoken / sizeof spoken[0]; i++)
        rule(g, "", "ether type %s accept", spoken[i]);
    rule(g, "", "drop");
}

/* ---- what comes in ------------------------------------------------------------------------------- */

/* "{ a, b }" of those of a wish and family; false: there is none. */
static bool say_sources(const struct guest *g, enum peer_wish wish, bool v4)
{
    char text[SUBNET_TEXT];
    bool any = false;
    for (uint32_t i = 0; i < g->sources.source_count; i++) {
        const struct source *s = &g->sources.sources[i];
        if (s->wish != wish || ip_is4(&s->subnet.base) != v4)
            continue;
        subnet_text(&s->subnet, text);
        say("%s%s", any ? ", " : "{ ", text);
        any = true;
    }
    if (any)
        say(" }");
    return any;
}

static bool any_source(const struct guest *g, enum peer_wish wish, bool v4)
{
    for (uint32_t i = 0; i < g->sources.source_count; i++)
        if (g->sources.sources[i].wish == wish && ip_is4(&g->sources.sources[i].subnet.base) == v4)
            return true;
    return false;
}

static void denied(const struct guest *g)
{
    for (int v4 = 0; v4 < 2; v4++) {
        if (!any_source(g, PEER_DENY, v4 != 0))
            continue;
        say("add rule bridge unimesh %s.in ether type %s %s saddr ", g->tap, v4 ? "ip" : "ip6", v4 ? "ip" : "ip6");
        (void)say_sources(g, PEER_DENY, v4 != 0);
        say(" drop\n");
    }
}

static void allowed(const struct guest *g)
{
    if (!g->sources.limited) {
        rule(g, ".in", "jump %s.p", g->tap);
        return;
    }
    for (int v4 = 0; v4 < 2; v4++) {
        if (!any_source(g, PEER_ALLOW, v4 != 0))
            continue;
        say("add rule bridge unimesh %s.in ether type %s %s saddr ", g->tap, v4 ? "ip" : "ip6", v4 ? "ip" : "ip6");
        (void)say_sources(g, PEER_ALLOW, v4 != 0);
        say(" jump %s.p\n", g->tap);
    }
}

static void open_ports(const struct guest *g)
{
    for (uint32_t i = 0; i < g->ports.port_count; i++) {
        const struct port_ref *p = &g->ports.ports[i];
        if (p->protocol == PORT_ICMP) {
            rule(g, ".p", "ether type ip icmp type echo-request accept");
            rule(g, ".p", "ether type ip6 icmpv6 type echo-request accept");
            continue;
        }
        rule(g, ".p", "%s dport %u-%u accept", p->protocol == PORT_TCP ? "tcp" : "udp", p->first, p->last);
    }
}

/* Answers, what IP itself needs, and then what is open. */
static void inward(const struct guest *g)
{
    static const char *const needed[] = {
        "icmp type @needed4 accept",
        "icmpv6 type @needed6 accept",
        "ip frag-off & 0x1fff != 0 accept", /* what follows a first fragment that came in */
    };
    rule(g, ".in", "ether type arp accept");
    if (g->ip4 != NULL)
        rule(g, ".in", "ether type ip ip daddr != %s drop", g->ip4);
    denied(g);
    for (size_t i = 0; i < sizeof needed / sizeof needed[0]; i++)
        rule(g, ".in", "%s", needed[i]);
    rule(g, ".in", "ip daddr . ip protocol . th dport . ip saddr . th sport @%s.4 accept", g->tap);
    rule(g, ".in", "ip6 daddr . ip6 nexthdr . th dport . ip6 saddr . th sport @%s.6 accept", g->tap);
    if (g->ip4 == NULL && g->ip6 == NULL) { /* it asks whom it can for its address */
        rule(g, ".in", "ether type ip udp sport 67 udp dport 68 accept");
        rule(g, ".in", "ether type ip6 udp sport 547 udp dport 546 accept");
    }
    rule(g, ".in", "meta mark " PUBLISHED_MARK " accept");
    allowed(g);
    rule(g, ".in", "drop");
}

/* ---- what the host publishes ----------------------------------------------------------------------- */

static const char *const published_chains[][2] = {
    {".pre", "type nat hook prerouting priority -100"},
    {".out", "type nat hook output priority -100"},
    {".mark", "type filter hook postrouting priority 90"},
    {".post", "type nat hook postrouting priority 100"},
};
enum { PUBLISHED_CHAINS = sizeof published_chains / sizeof published_chains[0] };

static void publish_one(const struct guest *g, const struct port_ref *p)
{
    const char *protocol = p->protocol == PORT_TCP ? "tcp" : "udp";
    say("add rule ip unimesh %s.pre fib daddr type local %s dport %u dnat to %s:%u\n", g->tap, protocol, p->published,
        g->ip4, p->first);
    say("add rule ip unimesh %s.out fib daddr type local ip daddr != 127.0.0.0/8 %s dport %u dnat to %s:%u\n", g->tap,
        protocol, p->published, g->ip4, p->first);
    for (int i = 0; i < 2; i++)
        say("add rule ip unimesh %s%s ip daddr %s %s dport %u ct status dnat ct original proto-dst %u %s\n", g->tap,
            i ? ".post" : ".mark", g->ip4, protocol, p->first, p->published,
            i ? "masquerade" : "meta mark set " PUBLISHED_MARK);
}

/* Who may come is asked here, as the guest sees the host's address only. */
static void published_sources(const struct guest *g)
{
    if (any_source(g, PEER_DENY, true)) {
        say("add rule ip unimesh %s.pre ip saddr ", g->tap);
        (void)say_sources(g, PEER_DENY, true);
        say(" return\n");
    }
    if (!g->sources.limited)
        return;
    say("add rule ip unimesh %s.pre ", g->tap);
    if (any_source(g, PEER_ALLOW, true)) {
        say("ip saddr != ");
        (void)say_sources(g, PEER_ALLOW, true);
        say(" ");
    }
    say("return\n");
}

static bool publishes(const struct guest *g)
{
    bool any = false;
    for (uint32_t i = 0; i < g->ports.port_count; i++)
        any |= g->ports.ports[i].published != 0;
    return any && g->ip4 != NULL;
}

static void publish(const struct guest *g)
{
    say("add table ip unimesh\n");
    for (size_t i = 0; i < PUBLISHED_CHAINS; i++)
        say("add chain ip unimesh %s%s { %s; policy accept; }\nflush chain ip unimesh %s%s\n", g->tap,
            published_chains[i][0], published_chains[i][1], g->tap, published_chains[i][0]);
    published_sources(g);
    for (uint32_t i = 0; i < g->ports.port_count; i++)
        if (g->ports.ports[i].published != 0)
            publish_one(g, &g->ports.ports[i]);
}

static void unpublish(const char *tap)
{
    say("add table ip unimesh\n");
    for (size_t i = 0; i < PUBLISHED_CHAINS; i++)
        say("add chain ip unimesh %s%s\nflush chain ip unimesh %s%s\ndelete chain ip unimesh %s%s\n", tap,
            published_chains[i][0], tap, published_chains[i][0], tap, published_chains[i][0]);
}

/* ---- the verbs ----------------------------------------------------------------------------------- */

static const char *const chains[] = {"", ".in", ".p"};
enum { CHAINS = sizeof chains / sizeof chains[0] };

static void chains_add(const char *tap)
{
    for (size_t i = 0; i < CHAINS; i++)
        say("add chain bridge unimesh %s%s\nflush chain bridge unimesh %s%s\n", tap, chains[i], tap, chains[i]);
    for (int v4 = 0; v4 < 2; v4++)
        say("add set bridge unimesh %s.%c { type ipv%c_addr . inet_proto . inet_service . ipv%c_addr . inet_service; "
            "size "
            "8192; flags dynamic,timeout; timeout 3m; }\n",
            tap, v4 ? '4' : '6', v4 ? '4' : '6', v4 ? '4' : '6');
}

static enum err add(const struct guest *g, char *why, size_t why_size)
{
    commands.used = 0;
    say(TABLE);
    chains_add(g->tap);
    outward(g);
    inward(g);
    open_ports(g);
    say("add element bridge unimesh guests { \"%s\" : jump %s }\n", g->tap, g->tap);
    say("add element bridge unimesh inward { \"%s\" : jump %s.in }\n", g->tap, g->tap);
    if (publishes(g)) /* a run that doesn't never did: another revision is another run */
        publish(g);
    fault_point("filter.add-asked");
    enum err err = run_all(why, why_size);
    fault_point("filter.added");
    return err;
}

static enum err drop(const char *tap, char *why, size_t why_size)
{
    commands.used = 0;
    say(TABLE);
    chains_add(tap);
    say("add element bridge unimesh guests { \"%s\" : jump %s }\ndelete element bridge unimesh guests { \"%s\" }\n",
        tap, tap, tap);
    say("add element bridge unimesh inward { \"%s\" : jump %s.in }\ndelete element bridge unimesh inward { \"%s\" }\n",
        tap, tap, tap);
    for (size_t i = 0; i < CHAINS; i++)
        say("delete chain bridge unimesh %s%s\n", tap, chains[i]);
    say("delete set bridge unimesh %s.4\ndelete set bridge unimesh %s.6\n", tap, tap);
    unpublish(tap);
    fault_point("filter.remove-asked");
    enum err err = run_all(why, why_size);
    fault_point("filter.removed");
    return err;
}

static enum err look(char *why, size_t why_size)
{
    commands.used = 0;
    say(TABLE);
    return run_all(why, why_size);
}

/* ---- what is asked ------------------------------------------------------------------------------- */

static bool tap_valid(const char *s)
{
    return s != NULL && strlen(s) <= TAP_BYTES && strncmp(s, "um", 2) == 0 &&
           s[strspn(s, "um0123456789abcdef")] == '\0';
}

static bool mac_valid(const char *s)
{
    for (int i = 0; i < MAC_BYTES; i++)
        if (s == NULL || s[i] == '\0' || (i % 3 == 2 ? s[i] != ':' : strchr("0123456789abcdef", s[i]) == NULL))
            return false;
    return s[MAC_BYTES] == '\0';
}

/* "-": none. */
static bool ip_read(const char *word, bool v4, const char **out)
{
    struct ip ip;
    *out = NULL;
    if (word != NULL && strcmp(word, "-") == 0)
        return true;
    *out = word;
    return word != NULL && ip_parse(word, &ip) == ERR_OK && ip_is4(&ip) == v4;
}

/* From "02:00:00:aa:bb:cc". */
static void link_local_of(const char *mac, char out[static 40])
{
    unsigned b[6] = {0};
    (void)sscanf(mac, "%2x:%2x:%2x:%2x:%2x:%2x", &b[0], &b[1], &b[2], &b[3], &b[4], &b[5]);
    (void)snprintf(out, 40, "fe80::%02x%02x:%02xff:fe%02x:%02x%02x", b[0] ^ 2u, b[1], b[2], b[3], b[4], b[5]);
}

static enum err access_word(struct guest *g, const char *word, char *why, size_t size)
{
    struct subnet s;
    if (strcmp(word, "limited") == 0)
        g->sources.limited = 1;
    else if ((*word == '+' || *word == '-') && subnet_parse(word + 1, &s) == ERR_OK)
        return guest_access_add(&g->sources, *word == '+' ? PEER_ALLOW : PEER_DENY, &s);
    else if (strchr(word, ':') != NULL)
        return access_add_published(&g->ports, word, why, size);
    else
        return access_add_port(&g->ports, word, why, size);
    return ERR_OK;
}

static enum err guest_read(char **rest, char *why, size_t size)
{
    static struct guest g;
    memset(&g, 0, sizeof g);
    g.tap = strtok_r(NULL, " ", rest);
    g.mac = strtok_r(NULL, " ", rest);
    enum err err = tap_valid(g.tap) && mac_valid(g.mac) ? ERR_OK : ERR_INVALID;
    if (!err &&
        (!ip_read(strtok_r(NULL, " ", rest), true, &g.ip4) || !ip_read(strtok_r(NULL, " ", rest), false, &g.ip6)))
        err = ERR_INVALID;
    for (const char *word; !err && (word = strtok_r(NULL, " ", rest)) != NULL;)
        err = access_word(&g, word, why, size);
    if (err)
        return err;
    link_local_of(g.mac, g.link_local);
    return add(&g, why, size);
}

static enum err add_asked(char *request, char *why, size_t size)
{
    char *rest = NULL;
    (void)strtok_r(request, " ", &rest); /* "add" */
    return guest_read(&rest, why, size);
}

/* ---- what was asked before ------------------------------------------------------------------------- */

/* Who flushes all rules of a host takes ours along. So what was asked is remembered while this runs, and made again
 * when somebody looks. */
static struct kept {
    char tap[TAP_BYTES + 1];
    char *request;
} kept[KEPT_MAX];
static size_t kept_count;

static void forget(size_t i)
{
    free(kept[i].request);
    kept[i] = kept[--kept_count];
}

static void forget_tap(const char *tap)
{
    for (size_t i = 0; i < kept_count; i++)
        if (strcmp(kept[i].tap, tap) == 0) {
            forget(i);
            return;
        }
}

/* Takes the request. What doesn't fit isn't made again. */
static void keep(const char *tap, char *request)
{
    forget_tap(tap);
    if (request == NULL || kept_count == KEPT_MAX) {
        free(request);
        return;
    }
    struct kept *k = &kept[kept_count++];
    (void)snprintf(k->tap, sizeof k->tap, "%s", tap);
    k->request = request;
}

static bool listed(const char *list, const char *tap)
{
    char element[TAP_BYTES + 8];
    (void)snprintf(element, sizeof element, "\"%s\" :", tap);
    return strstr(list, element) != NULL;
}

static void make_again(const struct kept *k)
{
    char why[WHY_SIZE], *request = strdup(k->request); /* it is cut into words */
    if (request != NULL)
        (void)!add_asked(request, why, sizeof why);
    free(request);
}

/* A tap that went by itself takes its filter along. */
static void mend(void)
{
    char why[WHY_SIZE];
    if (kept_count == 0 || run("list map bridge unimesh guests\n", why, sizeof why))
        return;
    char *list = strdup(nft_ctx_get_output_buffer(nft));
    for (size_t i = 0; list != NULL && i < kept_count;) {
        if (if_nametoindex(kept[i].tap) == 0) {
            (void)!drop(kept[i].tap, why, sizeof why);
            forget(i);
            continue;
        }
        if (!listed(list, kept[i].tap))
            make_again(&kept[i]);
        i++;
    }
    free(list);
}

static void answer(char *request, char *why, size_t size)
{
    char *again = strdup(request), *rest = NULL, *verb = strtok_r(request, " ", &rest);
    const char *tap = strtok_r(NULL, " ", &rest);
    enum err err = ERR_INVALID;
    (void)snprintf(why, size, "mesh-filter was asked for something malformed");
    if (verb != NULL && again != NULL && strcmp(verb, "look") == 0) {
        err = look(why, size);
        if (!err)
            mend();
    } else if (verb != NULL && strcmp(verb, "remove") == 0 && tap_valid(tap)) {
        forget_tap(tap);
        err = drop(tap, why, size);
    } else if (verb != NULL && again != NULL && strcmp(verb, "add") == 0 && tap_valid(tap)) {
        char *asked = strdup(again);
        err = asked != NULL ? add_asked(asked, why, size) : ERR_NOMEM;
        free(asked);
        if (!err) {
            keep(tap, again);
            again = NULL;
        }
    }
    free(again);
    if (!err)
        why[0] = '\0';
}

int main(void)
{
    static char request[REQUEST_SIZE + 1];
    char why[WHY_SIZE];
    (void)close_range(STDERR_FILENO + 1, ~0u, 0);
    (void)!chdir("/");
    for (;;) {
        ssize_t n = recv(STDIN_FILENO, request, sizeof request - 1, 0);
        if (n <= 0)
            return n == 0 ? 0 : 2; /* its client is gone; or it was started by hand */
        request[n] = '\0';
        answer(request, why, sizeof why);
        if (send(STDIN_FILENO, why, strlen(why) + 1, MSG_NOSIGNAL) < 0)
            return 1;
    }
}
