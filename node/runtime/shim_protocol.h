/* Between a shim and who watches it: the socket's messages, the exit record, the console ring. Shims outlive upgrades
 * of all else, so this only grows at its ends; the golden bytes are in tests/unit/test_shim_protocol.c. Little endian.
 *
 *   RUN/units/UID.SLOT.EPOCH/     made by mesh-priv: existing means started
 *       image     the tender's image (a link)      sock      SOCK_SEQPACKET, the shim listens
 *       console   the ring                         exit      the exit record, zeros until the end
 *       run       the status as of the start
 */
#ifndef UNIMESH_NODE_RUNTIME_SHIM_PROTOCOL_H
#define UNIMESH_NODE_RUNTIME_SHIM_PROTOCOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    SHIM_REQUEST_SIZE = 16, /* u8 version, u8 verb, 6 zero, u64 argument */
    SHIM_STATUS_SIZE = 64,  /* see shim_status_encode */
    SHIM_EXIT_SIZE = 128,
    SHIM_CONSOLE_HEADER = 64, /* magic 8, u32 version, u32 ring bytes, u64 written so far */
    SHIM_CONSOLE_RING = 256 * 1024,
    /* At most that is written to the ring before the header says so: a reader beside the writer trusts the ring's
     * size less this. */
    SHIM_CONSOLE_CHUNK = 16 * 1024,
    SHIM_TEXT_SIZE = 64,
    SHIM_BOOT_SIZE = 16
};

enum shim_verb {
    SHIM_ASK = 1,      /* status, please; every request is answered by one */
    SHIM_STOP = 2,     /* SIGTERM, and SIGKILL `argument` ms later */
    SHIM_DEADLINE = 3, /* stop by yourself at CLOCK_BOOTTIME `argument` ms; 0: never */
    SHIM_KILL = 4      /* SIGKILL at once */
};

struct shim_request {
    enum shim_verb verb;
    uint64_t argument;
};

struct shim_status {
    uint32_t target;      /* enum target */
    uint32_t pid;         /* the tender's */
    uint32_t shim_pid;
    uint64_t started_ms;  /* CLOCK_BOOTTIME */
    uint64_t deadline_ms; /* 0: none */
    uint64_t start_ticks; /* the tender's start as /proc/PID/stat has it (field 22); 0: not known */
    uint8_t boot[SHIM_BOOT_SIZE]; /* the kernel's boot id; zeros: not known */
};

enum shim_end {
    SHIM_END_NONE = 0,
    SHIM_END_EXITED = 1,
    SHIM_END_SIGNALED = 2,
    SHIM_END_NOT_STARTED = 3 /* `text` names what failed, `error` is its errno */
};
enum shim_intent { SHIM_INTENT_NONE = 0, SHIM_INTENT_STOP = 1, SHIM_INTENT_DEADLINE = 2 };

struct shim_exit {
    enum shim_end end;
    int32_t status;
    uint32_t signal, error; /* SIGNALED: ENOMEM: by the kernel, for it took more memory than its control group may */
    enum shim_intent intent; /* it was asked to stop, so what it ended with says little */
    uint32_t target;
    uint64_t ended_ms;       /* CLOCK_BOOTTIME */
    uint64_t console_end;    /* bytes written to the console in all */
    char text[SHIM_TEXT_SIZE];
};

struct shim_console {
    uint32_t ring_bytes;
    uint64_t written;
};

void shim_request_encode(const struct shim_request *r, uint8_t out[static SHIM_REQUEST_SIZE]);
/* false: not one of ours. Unknown verbs pass: who gets one answers with its status. */
bool shim_request_decode(const uint8_t *in, size_t len, struct shim_request *out);
void shim_status_encode(const struct shim_status *s, uint8_t out[static SHIM_STATUS_SIZE]);
/* false: not one of ours, cut short or damaged. */
bool shim_status_decode(const uint8_t *in, size_t len, struct shim_status *out);
void shim_exit_encode(const struct shim_exit *e, uint8_t out[static SHIM_EXIT_SIZE]);
/* false: not there yet (zeros), cut short or damaged. */
bool shim_exit_decode(const uint8_t *in, size_t len, struct shim_exit *out);
void shim_console_encode(const struct shim_console *c, uint8_t out[static SHIM_CONSOLE_HEADER]);
bool shim_console_decode(const uint8_t *in, size_t len, struct shim_console *out);

#endif
