/* Every way a call can fail, once: the enum and its texts come from the same list.
 *
 * A function that can fail returns enum err and is marked MUST_USE. ERR_OK is 0, so `if (err)` reads
 * well. Errors describe input and the world; our own mistakes are CHECK()s, which stay on in release.
 * Numbers are on the wire (an answer to a forwarded command carries one): append only. */
#ifndef UNIMESH_BASE_ERR_H
#define UNIMESH_BASE_ERR_H

#define ERR_LIST(X)                                                                                \
    X(OK, 0, "ok")                                                                                 \
    X(NOMEM, 1, "out of memory budget")                                                            \
    X(FULL, 2, "a bounded table is full")                                                          \
    X(INVALID, 3, "malformed")                                                                     \
    X(TRUNCATED, 4, "cut short")                                                                   \
    X(TOO_LARGE, 5, "too large")                                                                   \
    X(STALE, 6, "ours is newer")                                                                   \
    X(NOT_FOUND, 7, "not found")                                                                   \
    X(EXISTS, 8, "exists already")                                                                 \
    X(CONFLICT, 9, "in conflict with another")                                                     \
    X(DENIED, 10, "not permitted")                                                                 \
    X(AUTH, 11, "authentication failed")                                                           \
    X(REPLAYED, 12, "replayed")                                                                    \
    X(CLOCK, 13, "clock too far away")                                                             \
    X(UNSUPPORTED, 14, "not supported")                                                            \
    X(TIMEOUT, 15, "timed out")                                                                    \
    X(UNREACHABLE, 16, "unreachable")                                                              \
    X(IO, 17, "input/output error")                                                                \
    X(DISK_FULL, 18, "disk full")                                                                  \
    X(MAP_FULL, 19, "store full")                                                                  \
    X(CORRUPT, 20, "checksum mismatch")                                                            \
    X(BUSY, 21, "busy")                                                                            \
    X(CLOSED, 22, "closed")                                                                        \
    X(NOT_READY, 23, "not ready")                                                                  \
    X(NO_ROOM, 24, "no room")                                                                      \
    X(PARTIAL, 25, "done in part")

enum err {
#define X(name, number, text) ERR_##name = number,
    ERR_LIST(X)
#undef X
};

#define MUST_USE __attribute__((warn_unused_result))

const char *err_text(enum err e); /* "ok", …; "unknown error" for a number of a newer peer */
const char *err_name(enum err e); /* "OK", … */

/* For our bugs. Prints file, line and expression and aborts; on in every build. */
#define CHECK(cond) ((cond) ? (void)0 : check_failed(#cond, __FILE__, __LINE__))
_Noreturn void check_failed(const char *expression, const char *file, int line);

#endif
