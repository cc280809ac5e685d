/* Small texts: sizes as people write them, labels; store/base/text.h beside it. */
#ifndef UNIMESH_CTL_TEXT_H
#define UNIMESH_CTL_TEXT_H

#include "store/base/err.h"
#include "store/base/id.h"
#include "store/base/text.h"
#include "store/model/bodies.h"

#include <stddef.h>
#include <stdint.h>

/* "32M", "1G", "2T", "1024K" (K must make whole MiB), or MiB as a bare number. ERR_INVALID: it is no size;
 * ERR_TOO_LARGE. */
enum err size_parse_mib(const char *text, uint32_t *mib) MUST_USE;

/* Decimal digits and nothing else, ≤ max. ERR_INVALID, ERR_TOO_LARGE. */
enum err number_parse(const char *text, uint64_t max, uint64_t *out) MUST_USE;

/* Put key=value where the order wants it. ERR_INVALID: empty, or too long for LABEL_SIZE, or no text; ERR_EXISTS: the
 * key is there; ERR_FULL: LABELS_MAX. */
enum err labels_add(struct labels *l, const char *key, const char *value) MUST_USE;
/* One net more. ERR_FULL, ERR_INVALID: `text` says what is wrong, and begins with "nets". */
enum err nets_add(struct spec_body *s, const char *device, const char *network, char *text, size_t size) MUST_USE;
/* One block device more. The same, and `text` begins with "blocks". */
enum err blocks_add(struct spec_body *s, const struct block_ref *b, char *text, size_t size) MUST_USE;
/* "64M", "64M,sparse", "1G,sparse,sector=4096" into all but the device. ERR_INVALID, as blocks_add for that device. */
enum err block_parse(const char *device, const char *words, struct block_ref *b, char *text, size_t size) MUST_USE;
/* Its size or its sector alone, likewise. */
enum err block_size_parse(const char *device, const char *value, struct block_ref *b, char *text, size_t size) MUST_USE;
enum err block_sector_parse(const char *device, const char *value, struct block_ref *b, char *text,
                            size_t size) MUST_USE;
/* "wait", "empty". ERR_NOT_FOUND. */
enum err volume_lost_parse(const char *text, enum volume_lost *out) MUST_USE;
const char *volume_lost_text(enum volume_lost v);
/* What an err of labels_add, about this key, is in words. */
const char *labels_error(enum err err);

/* "64 KiB", "1.5 MiB" */
enum { SIZE_TEXT = 24 };
void size_text(uint64_t bytes, char out[static SIZE_TEXT]);

#endif
