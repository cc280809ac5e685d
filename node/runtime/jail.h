/* What holds a guest, should it take over its tender: a uid of its own, a root with nothing in it but the tender, the
 * image and its devices, namespaces, a control group, a filter of system calls. mesh-priv plans it here; the shim takes
 * the uid; and mesh-jail (jail_main.c), which the shim starts in the tender's place, shuts itself in and becomes the
 * tender.
 *
 * Whatever is put into the jail is a descriptor that mesh-priv opened and looked at, so that nobody can put another
 * file in its place afterwards: jail_file_add().
 *
 * Needs root. Without it guests run as whoever runs mesh-priv, without a jail, and jail_look() says so. */
#ifndef UNIMESH_NODE_RUNTIME_JAIL_H
#define UNIMESH_NODE_RUNTIME_JAIL_H

#include "node/jail_config.h"
#include "node/runtime/jail_words.h"
#include "node/runtime/tender.h"
#include "store/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { JAIL_TEXT = 512, JAIL_FILES = 40, JAIL_NAME = 256, JAIL_WORDS = 96, JAIL_WORD_BYTES = 4096 };

/* What of it this host lets us have. */
struct jail_facts {
    unsigned can;         /* JAIL_CAN_…; 0: no jail */
    char text[JAIL_TEXT]; /* what is missing, a line each, for people; "" if nothing is */
};

/* Try it: `program` is mesh-jail, `root` an empty folder. Some milliseconds. ERR_NOT_FOUND, ERR_IO: mesh-jail can't be
 * run, and no guest should be started without it; `why`. */
enum err jail_look(const struct jail_config *cfg, const char *program, const char *root, struct jail_facts *out,
                   char *why, size_t why_size) MUST_USE;

enum jail_access { JAIL_READ, JAIL_RUN, JAIL_WRITE };

struct jail { /* of one start */
    unsigned can;
    uint32_t uid;  /* 0: none of its own */
    bool host_net; /* it opens its taps by itself, where they are */
    uint32_t count;
    struct {
        int fd;
        enum jail_use use;
        enum jail_access access;
        char name[JAIL_NAME];
    } files[JAIL_FILES];
    size_t words;
    const char *word[JAIL_WORDS + 1];
    char text[JAIL_WORD_BYTES];
    size_t used;
};

/* uid: of jail_uid_find; 0 where facts->can is 0. */
void jail_init(struct jail *j, const struct jail_facts *facts, uint32_t uid);
/* Close what it holds. */
void jail_release(struct jail *j);

/* Put a file into the jail. Takes fd (O_PATH will do for JAIL_READ), also on error. `path` gets what the tender is to
 * call it: /NAME in its root; where there is none, a name for the descriptor that it inherits. The guest's uid has to
 * have the right to it: JAIL_WRITE gives the file to that uid, and keeps the descriptor open in the tender, so that a
 * lock on it lasts as long. ERR_FULL; ERR_IO. */
enum err jail_file_add(struct jail *j, int fd, const char *name, enum jail_access access, char *path,
                       size_t size) MUST_USE;
/* A place for a descriptor that stays open in the tender, under the number that comes back; and for a control group to
 * go into (the file that it writes "0" to). The descriptor comes later, by jail_fill, which takes it: what is made for
 * a guest is made when all words are known to be right. ERR_FULL. */
enum err jail_keep(struct jail *j, int *number) MUST_USE;
enum err jail_group(struct jail *j, int *number) MUST_USE;
void jail_fill(struct jail *j, int number, int fd);

/* What stands before the tender's own words on the shim's command line: mesh-jail and what it is told; nothing where
 * there is no jail. The tender's file is put into the jail under its own name: QEMU looks for its firmware from there.
 */
struct jail_tender {
    enum target target;
    bool kvm, taps;      /* which devices it opens by itself */
    const char *program; /* absolute */
};
enum err jail_plan(struct jail *j, const struct jail_tender *t, const char *jail_program, const char *root, char *why,
                   size_t why_size) MUST_USE;

/* In the process that becomes the shim: from JAIL_FD on, in order, what was added; whoever is at those numbers goes. 0,
 * or an errno. */
int jail_pass(const struct jail *j, int *oom_fd);

#endif
