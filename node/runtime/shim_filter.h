/* The few system calls that a shim makes once its tender runs, and that its namespace's first process makes. Whatever
 * else is asked of them is answered with EPERM: a shim that can't do a thing should not take its guest along. */
#ifndef UNIMESH_NODE_RUNTIME_SHIM_FILTER_H
#define UNIMESH_NODE_RUNTIME_SHIM_FILTER_H

#include <stdint.h>

/* 0, or a negative errno, as the kernel says it; a kernel without filters says -EINVAL. `tender`: the one process that
 * may be signalled. */
long shim_filter(uint32_t tender);
long shim_filter_first(void);

#endif
