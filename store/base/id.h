/* The names of things: nodes, apps, images, addresses. */
#ifndef UNIMESH_BASE_ID_H
#define UNIMESH_BASE_ID_H

#include "store/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    NAME_MAX_LEN = 63,    /* node and app names: [a-z0-9]([a-z0-9.-]*[a-z0-9])? */
    NAME_SIZE = NAME_MAX_LEN + 1,
    NODE_ID_TEXT = 17,    /* 16 hex digits and the NUL */
    UID_TEXT = 33,
    HASH_TEXT = 65,
    ADDRESS_TEXT = 56     /* "[v6]:port" and the NUL */
};

/* A node: the first 8 bytes, little endian, of BLAKE2b-256 of its Ed25519 public key. Eight, because
 * nonce = sender ‖ boot ‖ counter fills XChaCha20's 24 bytes exactly; a second key with the same id
 * costs 2^64 hashes, and the first key seen under an id is the only one accepted. 0 is nobody. */
typedef uint64_t node_id;

struct uid { /* an app: random */
    uint8_t b[16];
};

struct hash { /* BLAKE2b-256 */
    uint8_t b[32];
};

struct address { /* IPv6, or IPv4 mapped into it (::ffff:a.b.c.d); host byte order port */
    uint8_t ip[16];
    uint16_t port;
};

/* One running replica, at one claim. */
struct unit_id {
    struct uid app;
    uint16_t slot;
    uint64_t epoch;
};

bool uid_equal(const struct uid *a, const struct uid *b);
bool hash_equal(const struct hash *a, const struct hash *b);
bool hash_is_zero(const struct hash *h);
bool address_equal(const struct address *a, const struct address *b);

void node_id_text(node_id id, char out[static NODE_ID_TEXT]);
void uid_text(const struct uid *u, char out[static UID_TEXT]);
void hash_text(const struct hash *h, char out[static HASH_TEXT]);
void address_text(const struct address *a, char out[static ADDRESS_TEXT]);

enum err node_id_parse(const char *s, node_id *out) MUST_USE; /* exactly 16 hex digits */
enum err uid_parse(const char *s, struct uid *out) MUST_USE;
enum err hash_parse(const char *s, struct hash *out) MUST_USE;
enum err address_parse(const char *s, struct address *out) MUST_USE; /* "1.2.3.4:5", "[::1]:5"; no names */

bool name_valid(const char *s); /* as NAME_MAX_LEN says */

#endif
