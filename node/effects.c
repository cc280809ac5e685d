#include "node/effects.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { LOG_FIELDS_MAX = 512, RESERVE_EFFECTS = 256, RESERVE_BYTES = 256 * 1024 };

void effects_init(struct effects *fx, struct effect *v, size_t size, void *buffer, size_t buffer_size)
{
    CHECK(size >= 2 * RESERVE_EFFECTS && buffer_size >= 2 * RESERVE_BYTES);
    *fx = (struct effects){.v = v, .size = size, .buffer = buffer, .buffer_size = buffer_size};
}

void effects_reset(struct effects *fx)
{
    fx->count = 0;
    fx->used = 0;
}

/* The reserve is what one piece of work may add without asking again. */
bool effects_room(const struct effects *fx, size_t bytes)
{
    return fx->count + RESERVE_EFFECTS <= fx->size &&
           fx->used + RESERVE_BYTES + bytes <= fx->buffer_size;
}

struct effect *effects_add(struct effects *fx, enum effect_kind kind)
{
    CHECK(fx->count < fx->size);
    struct effect *f = &fx->v[fx->count++];
    memset(f, 0, sizeof *f);
    f->kind = kind;
    return f;
}

void *effects_bytes(struct effects *fx, size_t len)
{
    CHECK(len <= fx->buffer_size - fx->used);
    void *p = fx->buffer + fx->used;
    fx->used += (len + 15) & ~(size_t)15;
    if (fx->used > fx->buffer_size)
        fx->used = fx->buffer_size;
    return p;
}

void effects_pack(struct effects *fx, struct pack *k, size_t size)
{
    CHECK(size <= fx->buffer_size - fx->used);
    pack_init(k, fx->buffer + fx->used, size);
}

struct slice effects_packed(struct effects *fx, const struct pack *k)
{
    CHECK(k->p == fx->buffer + fx->used);
    return (struct slice){.p = effects_bytes(fx, k->len), .len = k->len};
}

struct slice effects_copy(struct effects *fx, const void *p, size_t len)
{
    void *copy = effects_bytes(fx, len);
    if (len > 0)
        memcpy(copy, p, len);
    return (struct slice){.p = copy, .len = len};
}

void effects_log(struct effects *fx, enum log_level level, const char *event, const char *format, ...)
{
    if (!fx || !effects_room(fx, LOG_FIELDS_MAX))
        return; /* work goes before words; and loading from disk is silent */
    char text[LOG_FIELDS_MAX];
    va_list ap;
    va_start(ap, format);
    int n = vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    size_t len = n < 0 ? 0 : (size_t)n < sizeof text ? (size_t)n : sizeof text - 1;
    text[len] = '\0';
    struct effect *f = effects_add(fx, EFFECT_LOG);
    f->log = (struct effect_log){
        .level = level,
        .event = event,
        .fields = (const char *)effects_copy(fx, text, len + 1).p,
    };
}
