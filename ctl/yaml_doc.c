#define _GNU_SOURCE
#include "ctl/yaml_doc.h"

#include "ctl/text.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

struct yaml_doc {
    char *name;
    uint8_t *bytes;
    size_t len;
    struct yaml_node *root;
    uint32_t count;
    struct yaml_node nodes[YAML_NODES_MAX]; /* keys and values are the heap's */
};

enum err yaml_fail(const struct yaml_doc *d, uint32_t line, struct yaml_error *error, enum err err,
                   const char *format, ...)
{
    char text[YAML_ERROR_SIZE], place[256];
    va_list ap;
    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    if (line)
        snprintf(place, sizeof place, "%.200s:%u", d->name, line);
    else
        snprintf(place, sizeof place, "%.200s", d->name);
    char whole[sizeof text + sizeof place + 2];
    snprintf(whole, sizeof whole, "%s: %s", place, text);
    text_clean(error->text, sizeof error->text, whole);
    return err;
}

/* ---- The tree ------------------------------------------------------------------------------ */

struct build {
    struct yaml_doc *doc;
    struct yaml_error *error;
    yaml_parser_t parser;
    struct level {
        struct yaml_node *node, *last;
        char *key; /* read, its value is to come */
        uint32_t key_line;
    } levels[YAML_DEPTH_MAX];
    uint32_t depth;
    bool document, done;
};

static enum err fail_at(struct build *b, const yaml_mark_t *mark, const char *text)
{
    return yaml_fail(b->doc, (uint32_t)mark->line + 1, b->error, ERR_INVALID, "%s", text);
}

/* libyaml's own words, with the place that it complains of. */
static enum err fail_parser(struct build *b)
{
    const yaml_parser_t *p = &b->parser;
    if (p->error == YAML_MEMORY_ERROR)
        return yaml_fail(b->doc, 0, b->error, ERR_NOMEM, "out of memory");
    if (p->error == YAML_READER_ERROR)
        return yaml_fail(b->doc, 0, b->error, ERR_INVALID, "is no text in UTF-8: %s (byte %zu)",
                         p->problem ? p->problem : "", p->problem_offset);
    return yaml_fail(b->doc, (uint32_t)p->problem_mark.line + 1, b->error, ERR_INVALID,
                     "is no YAML: %s", p->problem ? p->problem : "");
}

static char *scalar_copy(struct build *b, const yaml_event_t *ev, enum err *err)
{
    size_t len = ev->data.scalar.length;
    const char *value = (const char *)ev->data.scalar.value;
    if (strlen(value) != len) {
        *err = fail_at(b, &ev->start_mark, "a NUL is in the text");
        return NULL;
    }
    char *copy = strdup(value);
    if (!copy)
        *err = yaml_fail(b->doc, 0, b->error, ERR_NOMEM, "out of memory");
    return copy;
}

/* Hang a node where it belongs. */
static enum err node_add(struct build *b, const yaml_event_t *ev, enum yaml_kind kind,
                         struct yaml_node **out)
{
    struct yaml_doc *d = b->doc;
    if (d->count == YAML_NODES_MAX)
        return fail_at(b, &ev->start_mark,
                       "there is more in it than such a file may have (1024 values)");
    struct yaml_node *n = &d->nodes[d->count++];
    *n = (struct yaml_node){.kind = kind, .line = (uint32_t)ev->start_mark.line + 1};
    if (b->depth == 0) {
        d->root = n;
    } else {
        struct level *l = &b->levels[b->depth - 1];
        if (l->node->kind == YAML_TREE_MAPPING) {
            n->key = l->key;
            n->line = l->key_line;
            l->key = NULL;
        }
        if (l->last)
            l->last->next = n;
        else
            l->node->child = n;
        l->last = n;
    }
    *out = n;
    return ERR_OK;
}

static bool key_is_due(const struct build *b)
{
    return b->depth > 0 && b->levels[b->depth - 1].node->kind == YAML_TREE_MAPPING &&
           !b->levels[b->depth - 1].key;
}

static enum err on_scalar(struct build *b, const yaml_event_t *ev)
{
    enum err err = ERR_OK;
    char *text = scalar_copy(b, ev, &err);
    if (!text)
        return err;
    if (key_is_due(b)) {
        struct level *l = &b->levels[b->depth - 1];
        l->key = text;
        l->key_line = (uint32_t)ev->start_mark.line + 1;
        return ERR_OK;
    }
    struct yaml_node *n;
    err = node_add(b, ev, YAML_TREE_SCALAR, &n);
    if (err) {
        free(text);
        return err;
    }
    n->value = text;
    return ERR_OK;
}

static enum err on_start(struct build *b, const yaml_event_t *ev, enum yaml_kind kind)
{
    struct yaml_node *n;
    if (key_is_due(b))
        return fail_at(b, &ev->start_mark, "a key is to be a word");
    if (b->depth == YAML_DEPTH_MAX)
        return fail_at(b, &ev->start_mark, "it is nested deeper than such a file may be");
    enum err err = node_add(b, ev, kind, &n);
    if (!err)
        b->levels[b->depth++] = (struct level){.node = n};
    return err;
}

static bool tagged(const yaml_event_t *ev)
{
    switch (ev->type) {
    case YAML_SCALAR_EVENT:
        return ev->data.scalar.tag || ev->data.scalar.anchor;
    case YAML_SEQUENCE_START_EVENT:
        return ev->data.sequence_start.tag || ev->data.sequence_start.anchor;
    case YAML_MAPPING_START_EVENT:
        return ev->data.mapping_start.tag || ev->data.mapping_start.anchor;
    case YAML_NO_EVENT:
    case YAML_STREAM_START_EVENT:
    case YAML_STREAM_END_EVENT:
    case YAML_DOCUMENT_START_EVENT:
    case YAML_DOCUMENT_END_EVENT:
    case YAML_ALIAS_EVENT:
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        break;
    }
    return false;
}

static enum err on_event(struct build *b, const yaml_event_t *ev)
{
    if (tagged(ev))
        return fail_at(b, &ev->start_mark,
                       "anchors and tags are not taken here; write the value out");
    switch (ev->type) {
    case YAML_SCALAR_EVENT:
        return on_scalar(b, ev);
    case YAML_SEQUENCE_START_EVENT:
        return on_start(b, ev, YAML_TREE_SEQUENCE);
    case YAML_MAPPING_START_EVENT:
        return on_start(b, ev, YAML_TREE_MAPPING);
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        b->depth--;
        return ERR_OK;
    case YAML_ALIAS_EVENT:
        return fail_at(b, &ev->start_mark, "aliases are not taken here; write the value out");
    case YAML_DOCUMENT_START_EVENT:
        if (b->document)
            return fail_at(b, &ev->start_mark, "a second document begins here; one file has one");
        b->document = true;
        return ERR_OK;
    case YAML_STREAM_END_EVENT:
        b->done = true;
        return ERR_OK;
    case YAML_NO_EVENT:
    case YAML_STREAM_START_EVENT:
    case YAML_DOCUMENT_END_EVENT:
        break;
    }
    return ERR_OK;
}

static enum err tree_build(struct yaml_doc *d, struct yaml_error *error)
{
    struct build b = {.doc = d, .error = error};
    if (!yaml_parser_initialize(&b.parser))
        return yaml_fail(d, 0, error, ERR_NOMEM, "out of memory");
    yaml_parser_set_encoding(&b.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&b.parser, d->bytes, d->len);
    enum err err = ERR_OK;
    while (!err && !b.done) {
        yaml_event_t ev;
        if (!yaml_parser_parse(&b.parser, &ev)) {
            err = fail_parser(&b);
            break;
        }
        err = on_event(&b, &ev);
        yaml_event_delete(&ev);
    }
    for (uint32_t i = 0; i < YAML_DEPTH_MAX; i++)
        free(b.levels[i].key);
    yaml_parser_delete(&b.parser);
    if (!err && !d->root) { /* nothing, or only comments */
        d->root = &d->nodes[d->count++];
        d->root->kind = YAML_TREE_MAPPING;
    }
    if (!err && d->root->kind != YAML_TREE_MAPPING)
        err = yaml_fail(d, d->root->line, error, ERR_INVALID,
                        "nothing is in it that reads KEY: VALUE");
    return err;
}

static struct yaml_doc *doc_new(const char *name)
{
    struct yaml_doc *d = calloc(1, sizeof *d);
    if (d)
        d->name = strdup(name);
    if (!d || !d->name) {
        free(d);
        return NULL;
    }
    return d;
}

static enum err too_large(const struct yaml_doc *d, unsigned long long bytes,
                          struct yaml_error *error)
{
    return yaml_fail(d, 0, error, ERR_TOO_LARGE,
                     "%llu bytes are more than the %d that such a file may have", bytes,
                     YAML_BYTES_MAX);
}

enum err yaml_doc_parse(struct yaml_doc **out, const char *name, const void *bytes, size_t len,
                        struct yaml_error *error)
{
    struct yaml_doc *d = doc_new(name);
    if (!d) {
        snprintf(error->text, sizeof error->text, "out of memory");
        return ERR_NOMEM;
    }
    enum err err;
    if (len > YAML_BYTES_MAX) {
        err = too_large(d, len, error);
    } else if (!(d->bytes = malloc(len + 1))) {
        err = yaml_fail(d, 0, error, ERR_NOMEM, "out of memory");
    } else {
        if (len)
            memcpy(d->bytes, bytes, len);
        d->len = len;
        err = tree_build(d, error);
    }
    if (err) {
        yaml_doc_free(d);
        return err;
    }
    *out = d;
    return ERR_OK;
}

static enum err read_whole(struct yaml_doc *d, FILE *f, uint8_t *buffer, size_t *len,
                           struct yaml_error *error)
{
    *len = fread(buffer, 1, YAML_BYTES_MAX + 1, f);
    if (ferror(f))
        return yaml_fail(d, 0, error, ERR_IO, "can't be read: %s", strerror(errno));
    if (*len <= YAML_BYTES_MAX)
        return ERR_OK;
    long end = fseek(f, 0, SEEK_END) == 0 ? ftell(f) : -1;
    return too_large(d, end > 0 ? (unsigned long long)end : *len, error);
}

enum err yaml_doc_read(struct yaml_doc **out, const char *path, struct yaml_error *error)
{
    struct yaml_doc *d = doc_new(path);
    uint8_t *buffer = malloc(YAML_BYTES_MAX + 1);
    FILE *f = NULL;
    enum err err = ERR_NOMEM;
    size_t len = 0;
    snprintf(error->text, sizeof error->text, "out of memory");
    if (!d || !buffer)
        goto out;
    errno = 0;
    f = fopen(path, "re");
    if (!f) {
        err = errno == ENOENT ? ERR_NOT_FOUND : errno == EACCES ? ERR_DENIED : ERR_IO;
        yaml_fail(d, 0, error, err, "can't be opened: %s", strerror(errno));
        goto out;
    }
    err = read_whole(d, f, buffer, &len, error);
    if (!err)
        err = yaml_doc_parse(out, path, buffer, len, error);
out:
    if (f)
        fclose(f);
    free(buffer);
    yaml_doc_free(d);
    return err;
}

void yaml_doc_free(struct yaml_doc *d)
{
    if (!d)
        return;
    for (uint32_t i = 0; i < d->count; i++) {
        free((char *)(uintptr_t)d->nodes[i].key);
        free((char *)(uintptr_t)d->nodes[i].value);
    }
    free(d->name);
    free(d->bytes);
    free(d);
}

const struct yaml_node *yaml_doc_root(const struct yaml_doc *d)
{
    return d->root;
}

const struct yaml_node *yaml_find(const struct yaml_node *mapping, const char *key)
{
    for (const struct yaml_node *n = mapping ? mapping->child : NULL; n; n = n->next)
        if (n->key && strcmp(n->key, key) == 0)
            return n;
    return NULL;
}

/* ---- Against a schema ---------------------------------------------------------------------- */

struct check {
    const struct yaml_doc *doc;
    struct yaml_error *error;
    const char *what;
};

/* Letters that differ, by place and by shift: enough to find a slip of the finger. */
static size_t distance(const char *a, const char *b)
{
    size_t la = strlen(a), lb = strlen(b), head = 0, tail = 0;
    while (a[head] && a[head] == b[head])
        head++;
    while (tail < la - head && tail < lb - head && a[la - 1 - tail] == b[lb - 1 - tail])
        tail++;
    size_t ra = la - head - tail, rb = lb - head - tail;
    return ra > rb ? ra : rb;
}

static enum err unknown_key(const struct check *k, const struct yaml_node *n,
                            const cyaml_schema_field_t *fields, const char *prefix)
{
    const char *near = NULL;
    size_t least = 3; /* further away is another word */
    char known[256] = "";
    for (const cyaml_schema_field_t *f = fields; f->key; f++) {
        size_t at = strlen(known), d = distance(n->key, f->key);
        snprintf(known + at, sizeof known - at, "%s%s", at ? ", " : "", f->key);
        if (d < least) {
            least = d;
            near = f->key;
        }
    }
    if (near)
        return yaml_fail(k->doc, n->line, k->error, ERR_INVALID,
                         "%s%.64s: is no key of %s; did you mean %s?", prefix, n->key, k->what,
                         near);
    return yaml_fail(k->doc, n->line, k->error, ERR_INVALID,
                     "%s%.64s: is no key of %s; there are %s", prefix, n->key, k->what, known);
}

static const char *kind_text(enum yaml_kind kind)
{
    return kind == YAML_TREE_SCALAR     ? "one value"
           : kind == YAML_TREE_SEQUENCE ? "a list"
                                        : "a mapping";
}

static enum err wrong_kind(const struct check *k, const struct yaml_node *n, const char *prefix,
                           enum yaml_kind want)
{
    static const char *const write[] = {"%s: VALUE", "%s: [VALUE, …]", "%s: {KEY: VALUE, …}"};
    char example[128];
    const char *format = write[want];
    snprintf(example, sizeof example, "%.64s%s", n->key, format + 2);
    return yaml_fail(k->doc, n->line, k->error, ERR_INVALID,
                     "%s%.64s: is %s, and should be %s; write %s", prefix, n->key,
                     kind_text(n->kind), kind_text(want), example);
}

static enum err check_sequence(const struct check *k, const struct yaml_node *n,
                               const cyaml_schema_value_t *v, const char *prefix)
{
    uint32_t count = 0;
    for (const struct yaml_node *item = n->child; item; item = item->next) {
        if (item->kind != YAML_TREE_SCALAR)
            return yaml_fail(k->doc, item->line, k->error, ERR_INVALID,
                             "%s%.64s: its values are to be words or numbers", prefix, n->key);
        if (++count > v->sequence.max)
            return yaml_fail(k->doc, item->line, k->error, ERR_INVALID,
                             "%s%.64s: has more than the %u values that it may", prefix, n->key,
                             v->sequence.max);
    }
    return ERR_OK;
}

static enum err check_mapping(const struct check *k, const struct yaml_node *map,
                              const cyaml_schema_field_t *fields, const char *prefix);

static enum err check_value(const struct check *k, const struct yaml_node *n,
                            const cyaml_schema_field_t *f, const char *prefix)
{
    enum yaml_kind want = f->value.type == CYAML_SEQUENCE  ? YAML_TREE_SEQUENCE
                          : f->value.type == CYAML_MAPPING ? YAML_TREE_MAPPING
                                                           : YAML_TREE_SCALAR;
    char inner[96];
    if (f->value.type == CYAML_IGNORE)
        return ERR_OK;
    if (n->kind != want)
        return wrong_kind(k, n, prefix, want);
    if (want == YAML_TREE_SEQUENCE)
        return check_sequence(k, n, &f->value, prefix);
    if (want == YAML_TREE_MAPPING) {
        snprintf(inner, sizeof inner, "%.40s%.40s.", prefix, f->key);
        return check_mapping(k, n, f->value.mapping.fields, inner);
    }
    if (n->value[0] == '\0')
        return yaml_fail(k->doc, n->line, k->error, ERR_INVALID, "%s%s: has no value", prefix,
                         f->key);
    return ERR_OK;
}

static enum err check_mapping(const struct check *k, const struct yaml_node *map,
                              const cyaml_schema_field_t *fields, const char *prefix)
{
    for (const struct yaml_node *n = map->child; n; n = n->next) {
        const cyaml_schema_field_t *f = fields;
        while (f->key && strcmp(f->key, n->key) != 0)
            f++;
        if (!f->key)
            return unknown_key(k, n, fields, prefix);
        if (yaml_find(map, n->key) != n)
            return yaml_fail(k->doc, n->line, k->error, ERR_INVALID,
                             "%s%s: is there twice; line %u has it already", prefix, n->key,
                             yaml_find(map, n->key)->line);
        enum err err = check_value(k, n, f, prefix);
        if (err)
            return err;
    }
    for (const cyaml_schema_field_t *f = fields; f->key; f++)
        if (!(f->value.flags & CYAML_FLAG_OPTIONAL) && !yaml_find(map, f->key))
            return yaml_fail(k->doc, prefix[0] ? map->line : 0, k->error, ERR_INVALID,
                             "%s%s: is missing", prefix, f->key);
    return ERR_OK;
}

/* libcyaml's complaint, should it have one of its own. */
static void on_log(cyaml_log_t level, void *ctx, const char *format, va_list ap)
{
    struct yaml_error *e = ctx;
    if (level < CYAML_LOG_ERROR || e->text[0])
        return;
    vsnprintf(e->text, sizeof e->text, format, ap);
    e->text[strcspn(e->text, "\n")] = '\0';
}

static cyaml_config_t cyaml_of(struct yaml_error *said)
{
    return (cyaml_config_t){.log_fn = on_log,
                            .log_ctx = said,
                            .mem_fn = cyaml_mem,
                            .log_level = CYAML_LOG_ERROR,
                            .flags = CYAML_CFG_NO_ALIAS};
}

enum err yaml_load(const struct yaml_doc *d, const cyaml_schema_value_t *schema, const char *what,
                   void **data, struct yaml_error *error)
{
    const struct check k = {.doc = d, .error = error, .what = what};
    enum err err = check_mapping(&k, d->root, schema->mapping.fields, "");
    if (err)
        return err;
    struct yaml_error said = {""};
    const cyaml_config_t cfg = cyaml_of(&said);
    *data = NULL;
    cyaml_err_t ce = cyaml_load_data(d->bytes, d->len, &cfg, schema, data, NULL);
    if (ce == CYAML_OK && !*data) { /* an empty document: nothing was said */
        *data = calloc(1, schema->data_size);
        ce = *data ? CYAML_OK : CYAML_ERR_OOM;
    }
    if (ce == CYAML_OK)
        return ERR_OK;
    return yaml_fail(d, 0, error, ce == CYAML_ERR_OOM ? ERR_NOMEM : ERR_INVALID, "%s: %s",
                     cyaml_strerror(ce), said.text);
}

void yaml_unload(const cyaml_schema_value_t *schema, void *data)
{
    struct yaml_error said = {""};
    const cyaml_config_t cfg = cyaml_of(&said);
    (void)cyaml_free(&cfg, schema, data, 0);
}
