/* Between mesh-priv, the shim and mesh-jail, which are of one version.
 *
 *   mesh-shim TARGET DEADLINE_MS READY_FD JAIL [mesh-jail WORD… --] TENDER ARGUMENT…
 *
 * JAIL is UID:PASSED:OOM:PIDS:GID, decimal. UID: the guest's; 0: the shim stays what it is. PASSED: so many
 * descriptors, from JAIL_FD on, are the tender's (or mesh-jail's); the shim closes its own. OOM: a descriptor of the
 * control group's file that counts what the kernel killed in it for lack of memory, the shim's; 0: none. PIDS: 1: the
 * tender gets a pid namespace. GID: the group of the files that the shim makes, which may read them; 0: its own.
 *
 * mesh-jail writes a jail_failure to JAIL_FAILED_FD if it can't shut itself in or can't run the tender; the descriptor
 * closes when the tender runs. */
#ifndef UNIMESH_NODE_RUNTIME_JAIL_WORDS_H
#define UNIMESH_NODE_RUNTIME_JAIL_WORDS_H

enum { JAIL_FAILED_FD = 3, JAIL_FD = 4 };

enum { /* bits */
    JAIL_CAN_UIDS = 1,   /* a uid of its own */
    JAIL_CAN_ROOT = 2,   /* a mount namespace, with a root of its own in it */
    JAIL_CAN_NODES = 4,  /* device files of its own in there */
    JAIL_CAN_PIDS = 8,
    JAIL_CAN_NET = 16,
    JAIL_CAN_IPC = 32,   /* and host names */
    JAIL_CAN_FILTER = 64, /* of system calls */
    JAIL_CAN_LANDLOCK = 128,
    JAIL_CAN_ALL = 255
};

enum jail_use { JAIL_USE_FILE, JAIL_USE_KEEP, JAIL_USE_GROUP };

enum { JAIL_WHAT = 56 };
struct jail_failure {
    long error; /* negative, as the kernel says it */
    char what[JAIL_WHAT];
};

#endif
