/* Writing msgpack (msgpack-c) into a buffer of fixed size. The first overflow sticks; test pack_end()
 * once. What is written here, and only that, is what cursor.h reads. */
#ifndef UNIMESH_BASE_PACK_H
#define UNIMESH_BASE_PACK_H

#include "store/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pack {
    uint8_t *p;
    size_t len, size;
    enum err err; /* ERR_TOO_LARGE once something did not fit */
};

void pack_init(struct pack *k, void *buffer, size_t size);
void pack_uint(struct pack *k, uint64_t v);
void pack_int(struct pack *k, int64_t v);
void pack_bool(struct pack *k, bool v);
void pack_bin(struct pack *k, const void *p, size_t len);
void pack_str(struct pack *k, const char *s); /* NUL-ended; cursor_str refuses what is not text */
/* Words for people, of any origin: cleaned (text.h), and at most size - 1 bytes of them, size ≤ PACK_TEXT_SIZE. */
enum { PACK_TEXT_SIZE = 512 };
void pack_text(struct pack *k, const char *s, size_t size);
void pack_array(struct pack *k, uint32_t count);
void pack_raw(struct pack *k, const void *p, size_t len); /* bytes that are msgpack already */
enum err pack_end(const struct pack *k) MUST_USE;

#endif
