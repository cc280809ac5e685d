/* mesh-filter: see filter.h. It has the nftables library, so that nothing else has; every word is checked again, as it
 * is put into commands.
 *
 *   asked  "look", "add TAP MAC", "remove TAP"        with the client's socket as descriptor 0
 *   answers ""; or what is wrong */
#define _GNU_SOURCE
#include "store/base/err.h"

#include <nftables/libnftables.h>
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

enum { COMMANDS_SIZE = 2048, REQUEST_SIZE = 128, WHY_SIZE = 160, TAP_BYTES = 15, MAC_BYTES = 17 };

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

static enum err add(const char *tap, const char *mac, char *why, size_t why_size)
{
    char commands[COMMANDS_SIZE];
    size_t at = (size_t)snprintf(commands, sizeof commands,
                                 TABLE "add chain bridge unimesh %s\nflush chain bridge unimesh %s\n", tap, tap);
    const struct {
        const char *rule, *mac, *then;
    } rules[] = {
        {"ether saddr !=", mac, "drop"},
        {"ether type arp arp saddr ether !=", mac, "drop"},
        {"ether type arp", "", "accept"},
        {"ether type ip udp sport 67", "", "drop"},
        {"ether type ip", "", "accept"},
        {"ether type ip6 udp sport 547", "", "drop"},
        {"ether type ip6 icmpv6 type { nd-router-advert, nd-redirect }", "", "drop"},
        {"ether type ip6", "", "accept"},
        {"", "", "drop"},
    };
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++)
        at += (size_t)snprintf(commands + at, sizeof commands - at, "add rule bridge unimesh %s %s %s %s\n", tap,
                               rules[i].rule, rules[i].mac, rules[i].then);
    (void)snprintf(commands + at, sizeof commands - at, "add element bridge unimesh guests { \"%s\" : jump %s }\n", tap,
                   tap);
    return run(commands, why, why_size);
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

static void answer(char *request, char *why, size_t size)
{
    char *save, *verb = strtok_r(request, " ", &save), *tap = strtok_r(NULL, " ", &save);
    char *mac = strtok_r(NULL, " ", &save);
    if (verb != NULL && strcmp(verb, "look") == 0 && tap == NULL)
        (void)!run(TABLE, why, size);
    else if (verb != NULL && strcmp(verb, "add") == 0 && tap != NULL && tap_valid(tap) && mac != NULL && mac_valid(mac))
        (void)!add(tap, mac, why, size);
    else if (verb != NULL && strcmp(verb, "remove") == 0 && tap != NULL && tap_valid(tap) && mac == NULL)
        (void)!drop(tap, why, size);
    else
        (void)snprintf(why, size, "mesh-filter was asked for something malformed");
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
