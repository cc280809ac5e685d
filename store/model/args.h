/* Templates in a guest's arguments, filled in where and when it starts:
 *
 *   {{slot}}  which of the replicas it is, from 0     {{node}}  the host's name     {{app}}  the app's
 *
 * Other words in double braces stay as they are here, as a later version may know them; whoever takes an app from a
 * person refuses them. Pure. */
#ifndef UNIMESH_MODEL_ARGS_H
#define UNIMESH_MODEL_ARGS_H

#include "store/base/cursor.h"
#include "store/base/err.h"
#include "store/base/pack.h"

#include <stddef.h>
#include <stdint.h>

struct arg_values {
    uint16_t slot;
    const char *node, *app;
};

/* Does it hold a template that we don't know? ERR_INVALID: `text` says so, and begins with "args". */
enum err arg_check(const char *arg, char *text, size_t size) MUST_USE;

/* How long it may become, whatever the values. */
size_t arg_len_most(struct slice arg);

/* Write it, filled in, as a string. */
void arg_expand(struct slice arg, const struct arg_values *v, struct pack *k);

#endif
