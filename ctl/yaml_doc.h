/* YAML files of ours: app files and the daemon's. Read with bounds, checked against a libcyaml schema, and whatever
 * is wrong is said with its file and line:  web.yaml:7: memory: 6M is below …
 *
 * Two passes over the same bytes. The first, over libyaml's events, makes a small tree that knows lines: one document,
 * mappings, sequences and scalars; no anchors, aliases or tags; few nodes and little depth. Keys and kinds are
 * checked against the schema on that tree. So libcyaml, in the second, finds nothing to complain of, and only builds
 * the struct. Values are all taken as strings: what they mean is for the caller, who knows how to refuse them. */
#ifndef UNIMESH_CTL_YAML_DOC_H
#define UNIMESH_CTL_YAML_DOC_H

#include "store/base/err.h"

#include <cyaml/cyaml.h>
#include <stddef.h>
#include <stdint.h>

enum {
    YAML_BYTES_MAX = 64 * 1024,
    YAML_NODES_MAX = 1024,
    YAML_DEPTH_MAX = 4, /* a mapping in a mapping in … */
    YAML_ERROR_SIZE = 640
};

struct yaml_error {
    char text[YAML_ERROR_SIZE];
};

enum yaml_kind { YAML_TREE_SCALAR, YAML_TREE_SEQUENCE, YAML_TREE_MAPPING };

struct yaml_node {
    enum yaml_kind kind;
    uint32_t line;          /* from 1: where the key is, or the value of a sequence */
    const char *key;        /* in a mapping */
    const char *value;      /* of a scalar; text without NUL */
    struct yaml_node *child, *next;
};

struct yaml_doc;

/* `name`: the file's, for messages; copied. bytes are copied. ERR_TOO_LARGE, ERR_INVALID, ERR_NOMEM. */
enum err yaml_doc_parse(struct yaml_doc **out, const char *name, const void *bytes, size_t len,
                        struct yaml_error *error) MUST_USE;
/* The same of a file. ERR_NOT_FOUND, ERR_DENIED, ERR_IO too. */
enum err yaml_doc_read(struct yaml_doc **out, const char *path, struct yaml_error *error) MUST_USE;
void yaml_doc_free(struct yaml_doc *d);

const struct yaml_node *yaml_doc_root(const struct yaml_doc *d); /* a mapping */
const struct yaml_node *yaml_find(const struct yaml_node *mapping, const char *key); /* NULL: not there */

/* "NAME:LINE: …", or "NAME: …" where line is 0. Returns err. */
enum err yaml_fail(const struct yaml_doc *d, uint32_t line, struct yaml_error *error, enum err err, const char *format,
                   ...) __attribute__((format(printf, 5, 6)));

/* Check against the schema, then load. The schema: a mapping, by pointer, of fields that are strings, sequences of
 * strings or mappings, all by pointer, or ignored. `what`: of what the keys are, "an app file". On success *data is the
 * caller's, to give to yaml_unload with the same schema. */
enum err yaml_load(const struct yaml_doc *d, const cyaml_schema_value_t *schema, const char *what, void **data,
                   struct yaml_error *error) MUST_USE;
void yaml_unload(const cyaml_schema_value_t *schema, void *data);

#endif
