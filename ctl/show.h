/* Tables and JSON, for the commands that show. */
#ifndef UNIMESH_CTL_SHOW_H
#define UNIMESH_CTL_SHOW_H

#include "ctl/cli.h"

#include <jansson.h>
#include <libsmartcols.h>

#ifndef UNIMESH_VERSION
#define UNIMESH_VERSION "0"
#endif

struct column {
    const char *name; /* NULL: the end */
    bool right;
    bool wide; /* with -o wide only */
};

struct table { /* of columns; cells are given in their order, those that aren't shown too */
    const struct column *columns;
    bool wide;
    struct libscols_table *table;
    struct libscols_line *line;
    size_t next, column;
};

struct libscols_table *table_new(const struct column *columns, bool wide);
struct libscols_line *table_line(struct table *t);
void table_cell(struct table *t, const char *text);
void table_color(struct table *t, const char *color); /* of the last cell; NULL: as it is */
void table_number(struct table *t, uint64_t v);
void table_print(struct table *t); /* and free */

void json_print(json_t *j); /* takes it */
void json_put(json_t *object, const char *key, json_t *value);
json_t *json_text(const char *text); /* null for "" */
json_t *json_u64(uint64_t v);
json_t *json_node_id(node_id id);
json_t *json_labels(const struct labels *l);

struct listing { /* of rows, as `list` in show.c asks for them */
    struct cli *cli;
    json_t *array;
    struct table table;
};

extern const struct column VOLUME_COLUMNS[];
void volume_row(void *ctx, const struct control_message *m); /* ctx: a listing */

extern const struct column UNIT_COLUMNS[];
void unit_line(struct table *t, const struct control_unit *u);
json_t *unit_json(const struct control_unit *u);

#endif
