#define _GNU_SOURCE
#include "node/runtime/shim_protocol.h"

#include <string.h>

enum { PROTOCOL_VERSION = 1 };
static const char exit_magic[8] = "UMEXIT1", console_magic[8] = "UMCONS1";

static void put(uint8_t *p, uint64_t v, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        p[i] = (uint8_t)(v >> (8 * i));
}

static uint64_t get(const uint8_t *p, size_t bytes)
{
    uint64_t v = 0;
    for (size_t i = 0; i < bytes; i++)
        v |= (uint64_t)p[i] << (8 * i);
    return v;
}

/* FNV-1a: against cut and flipped bits, not against a forger. */
static uint64_t checksum(const uint8_t *p, size_t len)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < len; i++)
        h = (h ^ p[i]) * UINT64_C(0x100000001b3);
    return h;
}

void shim_request_encode(const struct shim_request *r, uint8_t out[static SHIM_REQUEST_SIZE])
{
    memset(out, 0, SHIM_REQUEST_SIZE);
    out[0] = PROTOCOL_VERSION;
    out[1] = (uint8_t)r->verb;
    put(out + 8, r->argument, 8);
}

bool shim_request_decode(const uint8_t *in, size_t len, struct shim_request *out)
{
    if (len < SHIM_REQUEST_SIZE || in[0] < PROTOCOL_VERSION)
        return false;
    out->verb = (enum shim_verb)in[1];
    out->argument = get(in + 8, 8);
    return true;
}

void shim_status_encode(const struct shim_status *s, uint8_t out[static SHIM_STATUS_SIZE])
{
    memset(out, 0, SHIM_STATUS_SIZE);
    out[0] = PROTOCOL_VERSION;
    put(out + 4, s->target, 4);
    put(out + 8, s->pid, 4);
    put(out + 12, s->shim_pid, 4);
    put(out + 16, s->started_ms, 8);
    put(out + 24, s->deadline_ms, 8);
    put(out + 32, s->start_ticks, 8);
    memcpy(out + 40, s->boot, SHIM_BOOT_SIZE);
    put(out + 56, checksum(out, 56), 8);
}

bool shim_status_decode(const uint8_t *in, size_t len, struct shim_status *out)
{
    if (len < SHIM_STATUS_SIZE || in[0] < PROTOCOL_VERSION || get(in + 56, 8) != checksum(in, 56))
        return false;
    memset(out, 0, sizeof *out);
    out->target = (uint32_t)get(in + 4, 4);
    out->pid = (uint32_t)get(in + 8, 4);
    out->shim_pid = (uint32_t)get(in + 12, 4);
    out->started_ms = get(in + 16, 8);
    out->deadline_ms = get(in + 24, 8);
    out->start_ticks = get(in + 32, 8);
    memcpy(out->boot, in + 40, SHIM_BOOT_SIZE);
    return true;
}

void shim_exit_encode(const struct shim_exit *e, uint8_t out[static SHIM_EXIT_SIZE])
{
    memset(out, 0, SHIM_EXIT_SIZE);
    memcpy(out, exit_magic, 8);
    put(out + 8, PROTOCOL_VERSION, 2);
    out[10] = (uint8_t)e->end;
    out[11] = (uint8_t)e->intent;
    put(out + 12, (uint32_t)e->status, 4);
    put(out + 16, e->signal, 4);
    put(out + 20, e->error, 4);
    put(out + 24, e->target, 4);
    put(out + 32, e->ended_ms, 8);
    put(out + 40, e->console_end, 8);
    memcpy(out + 48, e->text, strnlen(e->text, SHIM_TEXT_SIZE - 1));
    put(out + 120, checksum(out, 120), 8);
}

bool shim_exit_decode(const uint8_t *in, size_t len, struct shim_exit *out)
{
    if (len < SHIM_EXIT_SIZE || memcmp(in, exit_magic, 8) != 0 || get(in + 120, 8) != checksum(in, 120))
        return false;
    memset(out, 0, sizeof *out);
    out->end = (enum shim_end)in[10];
    out->intent = (enum shim_intent)in[11];
    out->status = (int32_t)(uint32_t)get(in + 12, 4);
    out->signal = (uint32_t)get(in + 16, 4);
    out->error = (uint32_t)get(in + 20, 4);
    out->target = (uint32_t)get(in + 24, 4);
    out->ended_ms = get(in + 32, 8);
    out->console_end = get(in + 40, 8);
    memcpy(out->text, in + 48, SHIM_TEXT_SIZE - 1);
    return true;
}

void shim_console_encode(const struct shim_console *c, uint8_t out[static SHIM_CONSOLE_HEADER])
{
    memset(out, 0, SHIM_CONSOLE_HEADER);
    memcpy(out, console_magic, 8);
    put(out + 8, PROTOCOL_VERSION, 4);
    put(out + 12, c->ring_bytes, 4);
    put(out + 16, c->written, 8);
}

bool shim_console_decode(const uint8_t *in, size_t len, struct shim_console *out)
{
    if (len < SHIM_CONSOLE_HEADER || memcmp(in, console_magic, 8) != 0)
        return false;
    out->ring_bytes = (uint32_t)get(in + 12, 4);
    out->written = get(in + 16, 8);
    return out->ring_bytes > 0;
}
