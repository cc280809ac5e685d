/* mesh-filter: see filter.h. It has the nftables library, so that nothing else has; every word is checked again, as it
 * is put into commands.
 *
 *   asked  "look", "add TAP MAC IP4 IP6", "remove TAP"    with the client's socket as descriptor 0
 *   answers ""; or what is wrong */
#define _GNU_SOURCE
#include "store/base/ip.h"

#include <nftables/libnftables.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Adding what is there is no error; the base chain's one rule is written anew, so that it is there once. A frame from a
 * tap of ours goes to that tap's chain, any other on its way. */
#define TABLE                                                                                       \
    "add table bridge unimesh\n"                                                                    \
    "add map bridge unimesh guests { type ifname : verdict; }\n"                                    \
    "add chain bridge unimesh from-guests { type filter hook prerouting priority -250; policy accept; }\n" \
    "flush chain bridge unimesh from-guests\n"                                                      \
    "add rule bridge unimesh from-guests iifname vmap @guests\n"

enum {
    COMMANDS_SIZE = 4096,
    REQUEST_SIZE = 256,
    WORDS_MAX = 8,
    WHY_SIZE = 160,
    TAP_BYTES = 15,
    MAC_BYTES = 17,
    HEX_SIZE = 36
};

static enum err run(const char *commands, char *why, size_t why_size)
{
    struct nft_ctx *nft = nft_ctx_new(NFT_CTX_DEFAULT);
    if (nft == NULL) {
        (void)snprintf(why, why_size, "nftables can't be used");
        return ERR_NOMEM;
    }
    (void)nft_ctx_buffer_error(nft);
    int failed = nft_run_cmd_from_buffer(nft, commands);
    if (failed) {
        const char *text = nft_ctx_get_error_buffer(nft);
        (void)snprintf(why, why_size, "nftables: %.*s", (int)strcspn(text, "\n"), text);
    }
    nft_ctx_free(nft);
    return failed ? ERR_UNSUPPORTED : ERR_OK;
}

/* What a guest is known by, in nft's words. */
struct guest {
    const char *tap, *mac;
    const char *ip4, *ip6; /* NULL: none */
    char link_local[40];   /* of its MAC (RFC 4291, appendix A) */
};

struct commands {
    char text[COMMANDS_SIZE];
    size_t used;
};

/* What doesn't fit makes them too long, which add() sees. */
static void say_list(struct commands *c, const char *format, va_list args)
{
    size_t left = c->used < sizeof c->text ? sizeof c->text - c->used : 0;
    c->used += (size_t)vsnprintf(left > 0 ? c->text + c->used : NULL, left, format, args);
}

__attribute__((format(printf, 2, 3))) static void say(struct commands *c, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    say_list(c, format, args);
    va_end(args);
}

__attribute__((format(printf, 3, 4))) static void rule(struct commands *c, const struct guest *g, const char *format,
                                                       ...)
{
    va_list args;
    say(c, "add rule bridge unimesh %s ", g->tap);
    va_start(args, format);
    say_list(c, format, args);
    va_end(args);
    say(c, "\n");
}

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
static void own_addresses(struct commands *c, const struct guest *g)
{
    if (g->ip4 == NULL && g->ip6 == NULL)
        return;
    if (g->ip4 != NULL) {
        rule(c, g, "arp saddr ip != { %s, 0.0.0.0 } drop", g->ip4);
        rule(c, g, "ether type ip ip saddr != %s drop", g->ip4);
    } else {
        rule(c, g, "ether type { ip, arp } drop");
    }
    const char *ip6 = g->ip6 != NULL ? g->ip6 : g->link_local;
    char hex[HEX_SIZE], link_hex[HEX_SIZE];
    rule(c, g, "ether type ip6 ip6 saddr != { ::, %s, %s } drop", g->link_local, ip6);
    /* Neighbour advertisements are IPv6's ARP; @th,64,128 is whom they speak of. */
    rule(c, g, "icmpv6 type nd-neighbor-advert @th,64,128 != { %s, %s } drop", hex_of(g->link_local, link_hex),
         hex_of(ip6, hex));
}

static enum err add(const struct guest *g, char *why, size_t why_size)
{
    struct commands c = {.used = 0};
    say(&c, TABLE "add chain bridge unimesh %s\nflush chain bridge unimesh %s\n", g->tap, g->tap);
    rule(&c, g, "ether saddr != %s drop", g->mac);
    rule(&c, g, "arp saddr ether != %s drop", g->mac);
    own_addresses(&c, g);
    static const char *const rules[] = {
        "ether type arp accept",
        "ether type ip udp sport 67 drop",
        "ether type ip accept",
        "ether type ip6 udp sport 547 drop",
        "icmpv6 type { nd-router-advert, nd-redirect } drop",
        "ether type ip6 accept",
        "drop",
    };
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++)
        rule(&c, g, "%s", rules[i]);
    say(&c, "add element bridge unimesh guests { \"%s\" : jump %s }\n", g->tap, g->tap);
    if (c.used >= sizeof c.text) {
        (void)snprintf(why, why_size, "the rules of a guest are too long");
        return ERR_TOO_LARGE;
    }
    return run(c.text, why, why_size);
}

static enum err drop(const char *tap, char *why, size_t why_size)
{
    char commands[COMMANDS_SIZE];
    (void)snprintf(commands, sizeof commands,
                   TABLE "add chain bridge unimesh %s\nadd element bridge unimesh guests { \"%s\" : jump %s }\n"
                   "delete element bridge unimesh guests { \"%s\" }\nflush chain bridge unimesh %s\n"
                   "delete chain bridge unimesh %s\n", tap, tap, tap, tap, tap, tap);
    return run(commands, why, why_size);
}

static bool tap_valid(const char *s)
{
    return strlen(s) <= TAP_BYTES && strncmp(s, "um", 2) == 0 && s[strspn(s, "um0123456789abcdef")] == '\0';
}

static bool mac_valid(const char *s)
{
    for (int i = 0; i < MAC_BYTES; i++)
        if (s[i] == '\0' || (i % 3 == 2 ? s[i] != ':' : strchr("0123456789abcdef", s[i]) == NULL))
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

static enum err words_do(char *words[static WORDS_MAX], int count, char *why, size_t size)
{
    struct guest g = {.tap = words[1], .mac = words[2]};
    if (count == 1 && strcmp(words[0], "look") == 0)
        return run(TABLE, why, size);
    if (count == 2 && strcmp(words[0], "remove") == 0 && tap_valid(g.tap))
        return drop(g.tap, why, size);
    if (count == 5 && strcmp(words[0], "add") == 0 && tap_valid(g.tap) && mac_valid(g.mac) &&
        ip_read(words[3], true, &g.ip4) && ip_read(words[4], false, &g.ip6)) {
        link_local_of(g.mac, g.link_local);
        return add(&g, why, size);
    }
    (void)snprintf(why, size, "mesh-filter was asked for something malformed");
    return ERR_INVALID;
}

static void answer(char *request, char *why, size_t size)
{
    char *save, *words[WORDS_MAX] = {NULL};
    int count = 0;
    for (char *word = strtok_r(request, " ", &save); word != NULL && count < WORDS_MAX;
         word = strtok_r(NULL, " ", &save))
        words[count++] = word;
    if (count > 0 && words_do(words, count, why, size) == ERR_OK)
        why[0] = '\0';
}

int main(void)
{
    char request[REQUEST_SIZE + 1], why[WHY_SIZE];
    (void)close_range(STDERR_FILENO + 1, ~0u, 0);
    (void)!chdir("/");
    for (;;) {
        ssize_t n = recv(STDIN_FILENO, request, sizeof request - 1, 0);
        if (n <= 0)
            return n == 0 ? 0 : 2; /* its client is gone; or it was started by hand */
        request[n] = why[0] = '\0';
        answer(request, why, sizeof why);
        if (send(STDIN_FILENO, why, strlen(why) + 1, MSG_NOSIGNAL) < 0)
            return 1;
    }
}
