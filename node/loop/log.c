#define _GNU_SOURCE
#include "node/loop/log.h"

#include "store/base/text.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { RATES = 64, FIELDS_MAX = 1024, SUPPRESSED = 24 /* " suppressed=N" */ };

struct rate {
    char event[48];
    uint64_t second;
    uint32_t count, suppressed;
};

struct log {
    enum log_format format;
    enum log_level least;
    struct node_event ring[NODE_EVENTS_KEPT];
    uint64_t last;
    struct rate rates[RATES];
};

enum err log_new(struct log **out, enum log_format format, enum log_level least)
{
    struct log *l = calloc(1, sizeof *l);
    if (!l)
        return ERR_NOMEM;
    l->format = format;
    l->least = least;
    *out = l;
    return ERR_OK;
}

void log_free(struct log *l)
{
    free(l);
}

static uint64_t wall_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* One place an event; two events that share one only share its bound. */
static struct rate *rate_of(struct log *l, const char *event)
{
    uint32_t h = 5381;
    for (const char *p = event; *p; p++)
        h = h * 33 + (unsigned char)*p;
    struct rate *r = &l->rates[h % RATES];
    if (strcmp(r->event, event) != 0) {
        memset(r, 0, sizeof *r);
        snprintf(r->event, sizeof r->event, "%s", event);
    }
    return r;
}

static bool let_through(struct log *l, const char *event, uint64_t now, uint32_t *suppressed)
{
    struct rate *r = rate_of(l, event);
    *suppressed = 0;
    if (r->second != now / 1000) {
        r->second = now / 1000;
        r->count = 0;
    }
    if (++r->count > LOG_BURST) {
        r->suppressed++;
        return false;
    }
    *suppressed = r->suppressed;
    r->suppressed = 0;
    return true;
}

static void ring_add(struct log *l, uint64_t now, enum log_level level, const char *event,
                     const char *fields)
{
    struct node_event *e = &l->ring[l->last++ % NODE_EVENTS_KEPT];
    e->seq = l->last;
    e->wall_ms = now;
    e->level = level;
    snprintf(e->event, sizeof e->event, "%s", event);
    text_clean(e->fields, sizeof e->fields, fields); /* cut between two characters */
}

static const char *level_text(enum log_level level)
{
    static const char *const text[] = {"debug", "info", "warn", "error"};
    return text[level];
}

/* Does a quote before p end a value: does the line end there, or another key= begin? */
static bool value_ends(const char *p)
{
    if (*p++ != ' ')
        return p[-1] == '\0';
    size_t key = strspn(p, "abcdefghijklmnopqrstuvwxyz_");
    return key > 0 && p[key] == '=';
}

/* key=value or key="value with spaces" from *at on; false at the end. */
static bool field_next(const char **at, char *key, size_t key_size, char *value, size_t value_size)
{
    const char *p = *at;
    while (*p == ' ')
        p++;
    const char *eq = strchr(p, '=');
    if (!eq)
        return false;
    snprintf(key, key_size, "%.*s", (int)(eq - p), p);
    p = eq + 1;
    const char *end;
    if (*p == '"') {
        end = ++p;
        while (*end && !(*end == '"' && value_ends(end + 1)))
            end++;
        *at = *end ? end + 1 : end;
    } else {
        end = strchrnul(p, ' ');
        *at = end;
    }
    snprintf(value, value_size, "%.*s", (int)(end - p), p);
    return true;
}

static void print_json(const char *time, enum log_level level, const char *event,
                       const char *fields)
{
    char key[64], value[FIELDS_MAX];
    json_t *o = json_pack("{ssssss}", "time", time, "level", level_text(level), "event", event);
    while (o && field_next(&fields, key, sizeof key, value, sizeof value))
        (void)json_object_set_new(o, key, json_stringn_nocheck(value, strlen(value)));
    char *text = o ? json_dumps(o, JSON_COMPACT | JSON_ENSURE_ASCII) : NULL;
    fprintf(stderr, "%s\n", text ? text : "{\"event\":\"log.failed\"}");
    free(text);
    json_decref(o);
}

void log_line(struct log *l, enum log_level level, const char *event, const char *given)
{
    char fields[FIELDS_MAX - SUPPRESSED]; /* a line, and JSON takes it, whatever a path or a guest brought in */
    uint64_t now = wall_ms();
    text_clean(fields, sizeof fields, given);
    uint32_t suppressed;
    if (level >= LOG_INFO)
        ring_add(l, now, level, event, fields);
    if (level < l->least || !let_through(l, event, now, &suppressed))
        return;
    char time[40], all[FIELDS_MAX];
    time_t seconds = (time_t)(now / 1000);
    struct tm tm;
    size_t n = strftime(time, sizeof time, "%Y-%m-%dT%H:%M:%S", gmtime_r(&seconds, &tm));
    snprintf(time + n, sizeof time - n, ".%03uZ", (unsigned)(now % 1000));
    if (suppressed)
        snprintf(all, sizeof all, "%s suppressed=%u", fields, suppressed);
    else
        snprintf(all, sizeof all, "%s", fields);
    if (l->format == LOG_FORMAT_JSON)
        print_json(time, level, event, all);
    else
        fprintf(stderr, "%s %s %s %s\n", time, level_text(level), event, all);
}

void log_event(struct log *l, enum log_level level, const char *event, const char *format, ...)
{
    char fields[FIELDS_MAX];
    va_list ap;
    va_start(ap, format);
    vsnprintf(fields, sizeof fields, format, ap);
    va_end(ap);
    log_line(l, level, event, fields);
}

uint64_t log_last(const struct log *l)
{
    return l->last;
}

const struct node_event *log_next(const struct log *l, uint64_t from)
{
    uint64_t first = l->last > NODE_EVENTS_KEPT ? l->last - NODE_EVENTS_KEPT + 1 : 1;
    if (from < first)
        from = first;
    return from > l->last ? NULL : &l->ring[(from - 1) % NODE_EVENTS_KEPT];
}
