/* Records to test with: one sample of every kind, a signer without keys, and decode-then-encode of any body. */
#ifndef UNIMESH_TESTS_SUPPORT_RECORDS_H
#define UNIMESH_TESTS_SUPPORT_RECORDS_H

#include "store/model/bodies.h"

enum { SAMPLE_AUTHOR = 0x0a0b0c0d, SAMPLE_CLOCK = 5000 };

struct node_body sample_node(void);
struct spec_body sample_spec(void);
extern const char *const sample_args[2];
struct unit_body sample_unit(void);
struct uid sample_uid(void);     /* 10 11 12 … 1f */
struct hash sample_image(void);  /* 40 41 42 … 5f */

/* Author SAMPLE_AUTHOR, public key of 0x33s; signs with the first byte of what it signs, 64 times. */
struct signer sample_signer(void);

/* The sample record of a kind, packed whole. spec, … holder, history; CHECKs that the kind has one. */
void sample_record(enum record_kind kind, struct pack *out);

/* Decode a body by its kind and encode what was understood. */
enum err body_reencode(const struct record *r, struct pack *out) MUST_USE;

#endif
