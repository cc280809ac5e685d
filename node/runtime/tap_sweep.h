/* Taps that a killed mesh-priv has left. */
#ifndef UNIMESH_NODE_RUNTIME_TAP_SWEEP_H
#define UNIMESH_NODE_RUNTIME_TAP_SWEEP_H

#include "store/base/err.h"

/* Hands to `remove` the name of each tap that begins with the prefix and whose run has no folder in units_fd. One that
 * can't be removed now is found by the next look; as are all, where the folder can't be read. */
void taps_sweep(int units_fd, const char *prefix, enum err (*remove)(const char *tap));

#endif
