#define _GNU_SOURCE
#include "node/runtime/net.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

static void hash(uint8_t out[static 16], const char *what, const void *a, size_t a_len, const void *b, size_t b_len)
{
    crypto_generichash_state st;
    crypto_generichash_init(&st, NULL, 0, 16);
    crypto_generichash_update(&st, (const uint8_t *)what, strlen(what) + 1);
    crypto_generichash_update(&st, a, a_len);
    crypto_generichash_update(&st, b, b_len);
    crypto_generichash_final(&st, out, 16);
}

void net_mac_text(const struct uid *app, uint16_t slot, const char *device, char out[static MAC_TEXT])
{
    uint8_t unit[sizeof app->b + 2], h[16];
    memcpy(unit, app->b, sizeof app->b);
    unit[sizeof app->b] = (uint8_t)(slot >> 8);
    unit[sizeof app->b + 1] = (uint8_t)slot;
    hash(h, "unimesh mac 1", unit, sizeof unit, device, strlen(device));
    (void)snprintf(out, MAC_TEXT, "%02x:%02x:%02x:%02x:%02x:%02x", (h[0] & 0xfc) | 2u, h[1], h[2], h[3], h[4], h[5]);
}

void net_tap_prefix(const char *units_dir, char out[static TAP_PREFIX + 1])
{
    uint8_t h[16];
    hash(h, "unimesh taps of", units_dir, strlen(units_dir), "", 0);
    (void)snprintf(out, TAP_PREFIX + 1, "um%02x%02x", h[0], h[1]);
}

void net_tap_name(const char *prefix, const char *run, uint32_t i, char out[static LINK_SIZE])
{
    uint8_t h[16], at = (uint8_t)i;
    hash(h, "unimesh tap 1", run, strlen(run), &at, 1);
    (void)snprintf(out, LINK_SIZE, "%s%02x%02x%02x%02x%x", prefix, h[0], h[1], h[2], h[3], h[4] & 15u);
}
