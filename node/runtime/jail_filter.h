/* Filters of system calls: what a process never needs is what it can't do when it is taken over. They name what asks of
 * the kernel more than to compute and to use what is open, and let the rest pass; the shim's own lists what it does
 * (shim_filter.h). */
#ifndef UNIMESH_NODE_RUNTIME_JAIL_FILTER_H
#define UNIMESH_NODE_RUNTIME_JAIL_FILTER_H

enum jail_process {
    JAIL_TENDER, /* no sockets */
    /* A Solo5 tender with nets looks at its tap in the host's network namespace: it may ask the kernel for links and
     * their MTU. What it opens for that can't be connected, bound to a port, or sent from. */
    JAIL_TENDER_TAPS,
    JAIL_MESHD, /* whom a mesh-priv serves: all sockets, no privileges to take, no program to start */
    /* mesh-priv, and a meshd that starts it, and all that comes of it: namespaces, mounts and users are its trade;
     * other processes, the kernel's code and the machine are not. */
    JAIL_PRIV
};

/* For this process and all that come of it, for ever. It must have set no new privileges. 0, or an errno. */
int jail_filter(enum jail_process process);

#endif
