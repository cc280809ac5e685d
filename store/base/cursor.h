/* The one reader of untrusted bytes: msgpack, without allocation, without recursion on the stack.
 *
 * Every read compares before it computes, counts are bounded before anything loops over them (an
 * array can't claim more elements than bytes are left), depth is at most CURSOR_DEPTH_MAX. The first
 * failure sticks: later reads return zero values, so a decoder may read a whole struct and test
 * cursor_end() once. Strings and blobs are borrowed from the input.
 *
 * Writers use msgpack-c through pack.h; only the canonical (shortest) forms that it writes are
 * accepted, so one value has one encoding and a hash of bytes is a hash of the value. */
#ifndef UNIMESH_BASE_CURSOR_H
#define UNIMESH_BASE_CURSOR_H

#include "store/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CURSOR_DEPTH_MAX = 8 };

struct cursor {
    const uint8_t *p;
    size_t left;
    enum err err; /* the first failure; ERR_OK so far */
};

struct slice {
    const uint8_t *p;
    size_t len;
};

void cursor_init(struct cursor *c, const void *p, size_t len);

uint64_t cursor_uint(struct cursor *c, uint64_t max); /* an unsigned integer ≤ max */
int64_t cursor_int(struct cursor *c);
bool cursor_bool(struct cursor *c);
struct slice cursor_bin(struct cursor *c, size_t len_max);
struct slice cursor_str(struct cursor *c, size_t len_max); /* valid UTF-8, without NUL and control characters */
void cursor_fixed(struct cursor *c, void *out, size_t len); /* a bin of exactly len bytes, copied */
void cursor_text(struct cursor *c, char *out, size_t size); /* a str of < size bytes, copied, NUL-ended */
uint32_t cursor_array(struct cursor *c, uint32_t count_max); /* the number of elements that follow */
void cursor_skip(struct cursor *c);                         /* one value of any type, of bounded depth */

/* Array of at least `known` elements: returns how many more there are, which a reader of an older
 * version skips with cursor_skip_n at the end. This is how our formats grow. */
uint32_t cursor_array_from(struct cursor *c, uint32_t known);
void cursor_skip_n(struct cursor *c, uint32_t n);

void cursor_fail(struct cursor *c, enum err e);       /* for what only the decoder can judge */
enum err cursor_end(const struct cursor *c) MUST_USE; /* the first failure, or ERR_INVALID if bytes are left */

#endif
