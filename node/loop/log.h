/* The daemon's log: events with fields, on standard error and in a ring that meshctl reads.
 *
 *   2026-11-25T00:34:17.123Z info unit.started app=web slot=1 …        (logfmt)
 *   {"time":"…","level":"info","event":"unit.started","app":"web",…}   (--log-format json)
 *
 * At most LOG_BURST lines of one event a second; what is more is counted and told with the next
 * one. Keys have types of their own, which nothing here prints. */
#ifndef UNIMESH_NODE_LOOP_LOG_H
#define UNIMESH_NODE_LOOP_LOG_H

#include "node/effects.h"
#include "node/loop/node.h"

enum log_format { LOG_FORMAT_LOGFMT = 0, LOG_FORMAT_JSON = 1 };
enum { LOG_BURST = 50 };

struct log;

/* Lines below `least` are dropped; info and above are kept in the ring, too. ERR_NOMEM. */
enum err log_new(struct log **out, enum log_format format, enum log_level least) MUST_USE;
void log_free(struct log *l);

/* fields: logfmt, made by the caller (log_event formats them). */
void log_line(struct log *l, enum log_level level, const char *event, const char *fields);
void log_event(struct log *l, enum log_level level, const char *event, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

uint64_t log_last(const struct log *l);
const struct node_event *log_next(const struct log *l, uint64_t from);

#endif
