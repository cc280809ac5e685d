/* Whom meshd is: started as root, it gives root up as soon as mesh-priv runs. */
#ifndef UNIMESH_NODE_LOOP_USER_H
#define UNIMESH_NODE_LOOP_USER_H

#include "node/loop/options.h"

#include <stdint.h>

#define USER_DEFAULT "unimesh"

struct user { /* zeros: we stay who we are */
    uint32_t uid, gid;
};

/* The named one; "": unimesh, where there is one. We aren't root, or it is root's own name: nobody. ERR_NOT_FOUND;
 * `why`. */
enum err user_find(const char *name, struct user *out, char *why, size_t why_size) MUST_USE;

/* While we may: the state folder becomes the user's, with all in it, if it is root's still; and the key file, which
 * stays root's, is opened for what it will read (o->key_file). ERR_IO, ERR_DENIED: `why`. A key file that can't be read
 * says so later. */
enum err user_prepare(struct options *o, const struct user *u, char *why, size_t why_size) MUST_USE;

/* For ever: no capability, no new privileges. */
enum err user_become(const struct user *u, char *why, size_t why_size) MUST_USE;

#endif
