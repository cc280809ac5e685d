/* A node's crypto over libsodium: the five operations of gossip/crypto.h, and what streams need.
 *
 * Keys. The seed (32 bytes, STATE/node.key) makes the Ed25519 node key and, by a keyed hash with a label
 * of its own, the X25519 key. The mesh keys (a file) admit; up to four are known, the first is primary: what we send
 * begins with it, what comes may use any. The mesh label keeps meshes apart that share a key by mistake: it
 * is hashed into every key derived from a mesh key, and into its id. Secrets lie in locked, guarded memory
 * (sodium_malloc) and are wiped. */
#ifndef UNIMESH_NODE_CRYPTO_NODE_CRYPTO_H
#define UNIMESH_NODE_CRYPTO_NODE_CRYPTO_H

#include "gossip/crypto.h"
#include "store/base/err.h"

#include <stddef.h>
#include <stdint.h>

#define MESH_LABEL_DEFAULT "unimesh"

enum {
    NODE_SEED_SIZE = 32,
    MESH_KEY_SIZE = 32,
    MESH_KEYS_MAX = 4,
    MESH_KEY_TEXT = 65, /* 64 hex digits and the NUL */
    MESH_LABEL_MAX = 64,
    PSK_SIZE = 32
};

struct mesh_keys {
    uint32_t count; /* 1 … MESH_KEYS_MAX */
    uint8_t key[MESH_KEYS_MAX][MESH_KEY_SIZE]; /* the first is primary */
};

/* Read a key file: a key a line, 64 hex digits or base64 of 32 bytes; blank lines and those that start with
 * '#' are skipped. On failure, or if the file can be read by others (which is no failure), `why` says what is
 * wrong and what to do; else it is "". ERR_NOT_FOUND, ERR_INVALID, ERR_FULL (more than four), ERR_IO.
 * mesh_keys_wipe what was read. */
enum err mesh_keys_read(const char *path, struct mesh_keys *out, char *why, size_t why_size) MUST_USE;
enum err mesh_keys_parse(const char *text, size_t len, struct mesh_keys *out, char *why,
                         size_t why_size) MUST_USE;
void mesh_keys_wipe(struct mesh_keys *k);
/* A new one, as a line of such a file without its end. */
void mesh_key_generate(char out[static MESH_KEY_TEXT]);

struct node_crypto;

/* label NULL: MESH_LABEL_DEFAULT. Copies everything. ERR_INVALID: no keys, or a label that is empty or longer
 * than MESH_LABEL_MAX; ERR_NOMEM. */
enum err node_crypto_new(struct node_crypto **out, const uint8_t seed[static NODE_SEED_SIZE],
                         const struct mesh_keys *keys, const char *label) MUST_USE;
void node_crypto_free(struct node_crypto *c); /* NULL is fine */

/* What the cores take; lives as long as c. */
const struct crypto *node_crypto_interface(const struct node_crypto *c);

/* ---- For streams ---------------------------------------------------------------------------------- */

/* The Noise psk of a mesh key. ERR_NOT_FOUND: no mesh key of that id. */
enum err node_crypto_psk(const struct node_crypto *c, const uint8_t key_id[static KEY_ID_SIZE],
                         uint8_t psk[static PSK_SIZE]) MUST_USE;
const uint8_t *node_crypto_x25519_secret(const struct node_crypto *c); /* 32 bytes; lives as long as c */

/* What a node shows inside a handshake: its node key, and that key's signature over its X25519 key. */
enum { NODE_PROOF_SIZE = PUBLIC_KEY_SIZE + SIGNATURE_SIZE };
#define NODE_PROOF_LABEL "unimesh stream key 1"
const uint8_t *node_crypto_proof(const struct node_crypto *c); /* NODE_PROOF_SIZE bytes */
/* Check a peer's against the X25519 key that the handshake proved. ERR_AUTH. */
enum err node_crypto_proof_check(const struct node_crypto *c, const uint8_t proof[static NODE_PROOF_SIZE],
                                 const uint8_t x25519[static 32], node_id *node) MUST_USE;

#endif
