/* System calls that no tender needs: what asks of the kernel more than to compute and to use what is open. Pure but for the
 * last step. */
#ifndef UNIMESH_NODE_RUNTIME_JAIL_FILTER_H
#define UNIMESH_NODE_RUNTIME_JAIL_FILTER_H

enum jail_sockets {
    JAIL_SOCKETS_NONE,
    /* A Solo5 tender with nets looks at its tap in the host's network namespace: it may ask the kernel for links and their
     * MTU. What it opens for that can't be connected, bound to a port, or sent from. */
    JAIL_SOCKETS_LOOK
};

/* For this process and all that come of it, for ever. No new privileges must have been set. 0, or an errno. */
int jail_filter(enum jail_sockets sockets);

#endif
