/* Who this host is: its node key, its boot number, and that it is alone with them.
 *
 *   STATE/node.key    32 bytes, the seed; made on the first start
 *   STATE/boot        the last boot number taken
 *   STATE/boot.spare  room for the next, should the disk be full
 *   STATE/machine     a hash of /etc/machine-id, so that a copied disk is noticed
 *   STATE/lock        locked (flock) while the identity is open
 *
 * Caveat: a snapshot of a running virtual machine that is resumed twice has the same boot number twice; that is
 * unsupported. */
#ifndef UNIMESH_NODE_CRYPTO_IDENTITY_H
#define UNIMESH_NODE_CRYPTO_IDENTITY_H

#include "node/crypto/node_crypto.h"
#include "store/base/err.h"

#include <stddef.h>
#include <stdint.h>

struct identity;

enum identity_mode {
    IDENTITY_KEEP = 0, /* refuse on another machine */
    IDENTITY_NEW = 1   /* --new-identity: if the state is another machine's, put its key aside and be someone new */
};

struct identity_config {
    const char *dir;             /* STATE; made (0700) if missing */
    /* NULL: /etc/machine-id. An absent or empty file is no machine id: nothing is compared */
    const char *machine_id_path;
    enum identity_mode mode;
    uint64_t wall_ms;
};

/* Lock STATE, read or make the key, compare the machine, and take a boot number = max(stored + 1, wall_ms), on disk
 * before this returns. On failure `why` says what is wrong and what to do.
 * ERR_BUSY: another process has it; ERR_CONFLICT: the state was made on another machine; ERR_CORRUPT: a file that is
 * damaged; ERR_DENIED; ERR_DISK_FULL; ERR_IO; ERR_NOMEM. */
enum err identity_open(struct identity **out, const struct identity_config *cfg, char *why,
                       size_t why_size) MUST_USE;
void identity_close(struct identity **id); /* unlocks; wipes */

const uint8_t *identity_seed(const struct identity *id); /* NODE_SEED_SIZE bytes */
uint64_t identity_boot(const struct identity *id);
enum identity_origin { IDENTITY_FOUND, IDENTITY_MADE } identity_origin(const struct identity *id);

/* Take a boot number that is higher than ours and at least min; on disk before it returns. On error the old
 * one stays. ERR_INVALID: min is out of reason (2^63 and above); else as identity_open. */
enum err identity_boot_at_least(struct identity *id, uint64_t min) MUST_USE;

#endif
