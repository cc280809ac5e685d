/* docs/streams.md draws these bytes. */
#define _GNU_SOURCE
#include "node/loop/stream_internal.h"

#include <stdlib.h>
#include <string.h>

static const uint8_t MAGIC[4] = {'U', 'M', 'S', 1};

enum { MESSAGE_SIZE_KEPT = 64 * 1024 }; /* larger buffers go after use */

void wire_preamble(const uint8_t key_id[static KEY_ID_SIZE], uint8_t out[static WIRE_PREAMBLE_SIZE])
{
    memcpy(out, MAGIC, sizeof MAGIC);
    memcpy(out + sizeof MAGIC, key_id, KEY_ID_SIZE);
}

bool wire_preamble_fits(const uint8_t *p, size_t len)
{
    return memcmp(p, MAGIC, len < sizeof MAGIC ? len : sizeof MAGIC) == 0;
}

uint16_t wire_u16(const uint8_t *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}

void wire_put_u16(uint8_t *p, size_t v)
{
    p[0] = (uint8_t)v;
    p[1] = (uint8_t)(v >> 8);
}

/* ---- Out ------------------------------------------------------------------------------------- */

size_t wire_size(size_t len)
{
    const size_t records = len <= WIRE_DATA_MAX ? 1 : (len - 1) / WIRE_DATA_MAX + 1;
    return len + records * WIRE_OVERHEAD;
}

static uint8_t *lay_record(uint8_t *out, enum wire_type type, const uint8_t *p, size_t len)
{
    wire_put_u16(out, 1 + len + NOISE_TAG_SIZE);
    out[WIRE_LENGTH_SIZE] = (uint8_t)type;
    if (len > 0)
        memcpy(out + WIRE_LENGTH_SIZE + 1, p, len);
    memset(out + WIRE_LENGTH_SIZE + 1 + len, 0, NOISE_TAG_SIZE);
    return out + len + WIRE_OVERHEAD;
}

void wire_lay(const void *p, size_t len, uint8_t *out)
{
    const uint8_t *at = p;
    for (; len > WIRE_DATA_MAX; at += WIRE_DATA_MAX, len -= WIRE_DATA_MAX)
        out = lay_record(out, WIRE_MORE, at, WIRE_DATA_MAX);
    lay_record(out, WIRE_FINAL, at, len);
}

void wire_lay_end(uint8_t out[static WIRE_END_SIZE])
{
    lay_record(out, WIRE_END, NULL, 0);
}

enum err wire_seal(struct noise *n, uint8_t *bytes, size_t len)
{
    enum err err = ERR_OK;
    while (len > 0 && !err) {
        CHECK(len >= WIRE_OVERHEAD);
        const size_t sealed = wire_u16(bytes);
        CHECK(sealed > NOISE_TAG_SIZE && sealed <= len - WIRE_LENGTH_SIZE);
        uint8_t *record = bytes + WIRE_LENGTH_SIZE;
        err = noise_seal(n, record, sealed - NOISE_TAG_SIZE, record);
        bytes += WIRE_LENGTH_SIZE + sealed;
        len -= WIRE_LENGTH_SIZE + sealed;
    }
    return err;
}

/* ---- In -------------------------------------------------------------------------------------- */

/* One form for a message: all records but the last are full, an end is empty. */
static bool well_formed(const struct wire_record *r)
{
    switch (r->type) {
    case WIRE_MORE:
        return r->len == WIRE_DATA_MAX;
    case WIRE_FINAL:
        return true;
    case WIRE_END:
        return r->len == 0;
    }
    return false; /* a type of a later version */
}

enum err wire_open(struct noise *n, uint8_t *bytes, size_t len, struct wire_record *out,
                   size_t *used)
{
    if (len < WIRE_LENGTH_SIZE)
        return ERR_TRUNCATED;
    const size_t sealed = wire_u16(bytes);
    if (sealed < 1 + NOISE_TAG_SIZE || sealed > WIRE_RECORD_MAX - WIRE_LENGTH_SIZE)
        return ERR_INVALID;
    if (sealed > len - WIRE_LENGTH_SIZE)
        return ERR_TRUNCATED;
    uint8_t *record = bytes + WIRE_LENGTH_SIZE;
    enum err err = noise_open(n, record, sealed, record);
    if (err)
        return err;
    out->type = (enum wire_type)record[0];
    out->p = record + 1;
    out->len = sealed - 1 - NOISE_TAG_SIZE;
    *used = WIRE_LENGTH_SIZE + sealed;
    return well_formed(out) ? ERR_OK : ERR_INVALID;
}

static enum err reserve(struct wire_message *m, size_t len, size_t max)
{
    if (len <= m->size)
        return ERR_OK;
    size_t size = m->size > 0 ? m->size : (size_t)2 * WIRE_DATA_MAX;
    while (size < len)
        size = size > max / 2 ? max : 2 * size;
    uint8_t *p = realloc(m->p, size);
    if (!p)
        return ERR_NOMEM;
    m->p = p;
    m->size = size;
    return ERR_OK;
}

enum err wire_message_add(struct wire_message *m, const struct wire_record *r, size_t max,
                          bool *complete, const uint8_t **p, size_t *len)
{
    *complete = false;
    if (r->type == WIRE_END)
        return m->begun ? ERR_INVALID : ERR_OK;
    if (!m->begun)
        m->len = 0;
    if (r->len > max || m->len > max - r->len)
        return ERR_TOO_LARGE;
    if (r->type == WIRE_FINAL && !m->begun) {
        *complete = true;
        *p = r->p;
        *len = r->len;
        return ERR_OK;
    }
    enum err err = reserve(m, m->len + r->len, max);
    if (err)
        return err;
    if (r->len > 0)
        memcpy(m->p + m->len, r->p, r->len);
    m->len += r->len;
    m->begun = r->type == WIRE_MORE;
    *complete = !m->begun;
    *p = m->p;
    *len = m->len;
    return ERR_OK;
}

void wire_message_done(struct wire_message *m)
{
    if (m->size > MESSAGE_SIZE_KEPT)
        wire_message_release(m);
}

void wire_message_release(struct wire_message *m)
{
    free(m->p);
    memset(m, 0, sizeof *m);
}
