/* What we know of the tenders: their command lines, and what it means when one ends. Pure; mesh-priv builds the command
 * line (so that nobody can hand it another), meshd reads the end.
 *
 * How guests end, as tried with Solo5 0.12.1 and Debian 12's QEMU; the tests have a row for each:
 *
 *                              hvt                   spt        QEMU with isa-debug-exit
 *   exit(n)                    n                     n          83, and n on the console
 *   abort, stack smash         255                   255        83
 *   exception, zero page       255                   SIGSEGV    83
 *   write to code, run data    1, "translation fault" SIGSEGV   83
 *   forbidden system call      -                     SIGSYS     -
 *   KVM is not up to it        1, "KVM: internal error" -       hangs or aborts
 *   bad image or manifest      1                     1          1 */
#ifndef UNIMESH_NODE_RUNTIME_TENDER_H
#define UNIMESH_NODE_RUNTIME_TENDER_H

#include "node/event.h"
#include "node/runtime/net.h"
#include "node/runtime/shim_protocol.h"
#include "store/base/cursor.h"
#include "store/base/err.h"
#include "store/model/args.h"
#include "store/model/bodies.h"
#include "store/model/target.h"

#include <stddef.h>
#include <stdint.h>

enum accel { ACCEL_EMULATION = 0, ACCEL_KVM = 1 }; /* virtio only. On a wire: append only */

enum {
    TENDER_ARGV_MAX = ARGS_MAX + ARG_MIRAGE_MAX + 32 + 4 * NETS_MAX + 4 * BLOCKS_MAX,
    TENDER_BLOCK_FILE = 16,
    TENDER_CONSOLE_TAIL = 4096, /* what tender_end wants of the console's end */
    TENDER_HVT_MIB_MAX = 4096,
    TENDER_VIRTIO_MIB_MAX = 1024 /* the bindings map no more */
};

struct tender_command {
    const char *argv[TENDER_ARGV_MAX + 1]; /* NULL-ended, into the text below and the caller's strings */
    size_t argc;
    char text[ARGS_BYTES_MAX + ARGS_MAX + ARG_MIRAGE_MAX + 256 + NETS_MAX * 256 + BLOCKS_MAX * 256];
};

struct tender_net {
    char device[DEVICE_SIZE], tap[LINK_SIZE], mac[MAC_TEXT];
    int fd; /* QEMU: the open tap, under the number that it has in there; 0: it opens it by name */
};

struct tender_block {
    char device[DEVICE_SIZE];
    uint32_t sector_bytes;
};

struct tender_guest {
    enum target target;
    enum accel accel;
    const char *tender; /* the program */
    const char *image;  /* as the tender sees it, in its folder: no spaces */
    uint32_t memory_mib; /* what the app says; the guest gets that, or what the tender rounds it down to */
    uint32_t args_count;
    struct slice args; /* read with spec_arg_next */
    uint32_t net_count;
    const struct tender_net *nets; /* in the manifest's order: a virtio guest knows them by nothing else */
    uint32_t block_count;
    const struct tender_block *blocks; /* likewise; the tender's folder has each as tender_block_file() */
};

/* Fill argv. The guest's command line is one string for all targets, its words parted by spaces; within a word what
 * MirageOS would split at is quoted with a backslash. On error `why` says what to change (it fails on every host):
 * ERR_TOO_LARGE: the command line; ERR_UNSUPPORTED: more memory than the target can have; ERR_INVALID. */
enum err tender_command(const struct tender_guest *g, struct tender_command *out, char *why, size_t why_size) MUST_USE;

/* What the i-th block device is called in the run's folder: "block0". */
void tender_block_file(uint32_t i, char out[static TENDER_BLOCK_FILE]);

/* The name of the program to look for on PATH; "" for TARGET_NONE. */
const char *tender_program(enum target t);

/* What an end means. console: the last bytes of the console, up to TENDER_CONSOLE_TAIL. text gets the words that
 * end->text points to; it may be cut. */
void tender_end(const struct shim_exit *e, const char *console, size_t len, struct unit_end *end, char *text,
                size_t text_size);

#endif
