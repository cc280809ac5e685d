#define _GNU_SOURCE
#include "ctl/appfile.h"

#include "ctl/text.h"
#include "store/model/args.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char WHAT[] = "an app file";

/* ---- What libcyaml builds ------------------------------------------------------------------ */

struct raw_images {
    char *target[TARGET_COUNT]; /* by enum target */
};

struct raw_restart {
    char *when;
    char **codes;
    uint32_t codes_count;
};

struct raw {
    char *app;
    char *image; /* one of these two */
    struct raw_images *images;
    char *replicas;
    char *memory;
    char **args;
    uint32_t args_count;
    char *restart; /* one of these two */
    struct raw_restart *restart_map;
    char *affinity;
    char *volume_lost;
    char unused; /* of those whose keys are the user's, or that may be lists: read off the tree */
};

enum { OPTIONAL = CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL };

static const cyaml_schema_value_t text_schema = {
    CYAML_VALUE_STRING(CYAML_FLAG_POINTER, char, 0, CYAML_UNLIMITED)};

static const cyaml_schema_field_t images_fields[] = {
    CYAML_FIELD_STRING_PTR("hvt", OPTIONAL, struct raw_images, target[TARGET_HVT], 0,
                           CYAML_UNLIMITED),
    CYAML_FIELD_STRING_PTR("spt", OPTIONAL, struct raw_images, target[TARGET_SPT], 0,
                           CYAML_UNLIMITED),
    CYAML_FIELD_STRING_PTR("virtio", OPTIONAL, struct raw_images, target[TARGET_VIRTIO], 0,
                           CYAML_UNLIMITED),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t restart_fields[] = {
    CYAML_FIELD_STRING_PTR("when", CYAML_FLAG_POINTER, struct raw_restart, when, 0,
                           CYAML_UNLIMITED),
    CYAML_FIELD_SEQUENCE("codes", OPTIONAL, struct raw_restart, codes, &text_schema, 0,
                         EXIT_CODES_MAX),
    CYAML_FIELD_END,
};

enum { FIELD_IMAGE = 1, FIELD_RESTART = 5, FIELD_COUNT = 16 };

static const cyaml_schema_field_t plain_fields[FIELD_COUNT] = {
    CYAML_FIELD_STRING_PTR("app", CYAML_FLAG_POINTER, struct raw, app, 0, CYAML_UNLIMITED),
    CYAML_FIELD_STRING_PTR("image", CYAML_FLAG_POINTER, struct raw, image, 0, CYAML_UNLIMITED),
    CYAML_FIELD_STRING_PTR("replicas", OPTIONAL, struct raw, replicas, 0, CYAML_UNLIMITED),
    CYAML_FIELD_STRING_PTR("memory", OPTIONAL, struct raw, memory, 0, CYAML_UNLIMITED),
    CYAML_FIELD_SEQUENCE("args", OPTIONAL, struct raw, args, &text_schema, 0, ARGS_MAX),
    CYAML_FIELD_STRING_PTR("restart", OPTIONAL, struct raw, restart, 0, CYAML_UNLIMITED),
    CYAML_FIELD_IGNORE("require", CYAML_FLAG_OPTIONAL),
    CYAML_FIELD_IGNORE("nets", CYAML_FLAG_OPTIONAL),
    CYAML_FIELD_IGNORE("blocks", CYAML_FLAG_OPTIONAL),
    CYAML_FIELD_STRING_PTR("volume-lost", OPTIONAL, struct raw, volume_lost, 0, CYAML_UNLIMITED),
    CYAML_FIELD_IGNORE("ports", CYAML_FLAG_OPTIONAL),
    CYAML_FIELD_IGNORE("publish", CYAML_FLAG_OPTIONAL),
    CYAML_FIELD_IGNORE("allow", CYAML_FLAG_OPTIONAL),
    CYAML_FIELD_IGNORE("deny", CYAML_FLAG_OPTIONAL),
    CYAML_FIELD_STRING_PTR("affinity", OPTIONAL, struct raw, affinity, 0, CYAML_UNLIMITED),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t image_map_field =
    CYAML_FIELD_MAPPING_PTR("image", CYAML_FLAG_POINTER, struct raw, images, images_fields);
static const cyaml_schema_field_t restart_map_field =
    CYAML_FIELD_MAPPING_PTR("restart", OPTIONAL, struct raw, restart_map, restart_fields);

/* ---- Values -------------------------------------------------------------------------------- */

enum err restart_parse(const char *text, enum restart_mode *out)
{
    for (int m = RESTART_ALWAYS; m <= RESTART_NEVER; m++) {
        if (strcmp(text, restart_text((enum restart_mode)m)) == 0) {
            *out = (enum restart_mode)m;
            return ERR_OK;
        }
    }
    return ERR_NOT_FOUND;
}

const char *restart_text(enum restart_mode m)
{
    return m == RESTART_ALWAYS ? "always" : m == RESTART_ON_FAILURE ? "on-failure" : "never";
}

struct reading {
    struct appfile *a;
    const struct raw *raw;
    const char *folder; /* its length is in folder_len: up to and with the last '/' */
    size_t folder_len;
    struct yaml_error *error;
};

static uint32_t line_of(const struct reading *r, const char *key)
{
    const struct yaml_node *n = yaml_find(yaml_doc_root(r->a->doc), key);
    return n ? n->line : 0;
}

#define FAIL(r, line, ...) yaml_fail((r)->a->doc, line, (r)->error, ERR_INVALID, __VA_ARGS__)

static enum err app_read(struct reading *r)
{
    if (!name_valid(r->raw->app))
        return FAIL(r, line_of(r, "app"),
                    "app: \"%.70s\" is no name; take 1 to %d of a-z, 0-9, - and ., beginning and "
                    "ending with a letter or digit",
                    r->raw->app, NAME_MAX_LEN);
    snprintf(r->a->spec.name, NAME_SIZE, "%s", r->raw->app);
    return ERR_OK;
}

static enum err image_add(struct reading *r, enum target target, const char *path, uint32_t line)
{
    struct appfile_image *i = &r->a->images[r->a->image_count];
    i->target = target;
    size_t folder = path[0] == '/' ? 0 : r->folder_len;
    if (folder + strlen(path) >= sizeof i->path)
        return FAIL(r, line, "image: the path is too long");
    memcpy(i->path, r->folder, folder);
    snprintf(i->path + folder, sizeof i->path - folder, "%s", path);
    r->a->image_count++;
    return ERR_OK;
}

static enum err images_read(struct reading *r)
{
    uint32_t line = line_of(r, "image");
    if (r->raw->image)
        return image_add(r, TARGET_NONE, r->raw->image, line);
    for (int t = TARGET_NONE + 1; t < TARGET_COUNT; t++) {
        const char *path = r->raw->images->target[t];
        const struct yaml_node *n =
            yaml_find(yaml_find(yaml_doc_root(r->a->doc), "image"), target_name((enum target)t));
        enum err err = path ? image_add(r, (enum target)t, path, n ? n->line : line) : ERR_OK;
        if (err)
            return err;
    }
    if (r->a->image_count == 0)
        return FAIL(
            r, line,
            "image: none is given; write a file's path, or {hvt: PATH, spt: PATH, virtio: PATH}");
    return ERR_OK;
}

static enum err replicas_read(struct reading *r)
{
    uint64_t v;
    r->a->replicas = REPLICAS_KEEP;
    if (!r->raw->replicas)
        return ERR_OK;
    enum err err = number_parse(r->raw->replicas, REPLICAS_MAX, &v);
    if (err == ERR_TOO_LARGE)
        return FAIL(r, line_of(r, "replicas"),
                    "replicas: %.32s is more than the %d that an app may have", r->raw->replicas,
                    REPLICAS_MAX);
    if (err)
        return FAIL(r, line_of(r, "replicas"), "replicas: \"%.32s\" is no number; write 0 to %d",
                    r->raw->replicas, REPLICAS_MAX);
    r->a->replicas = (uint32_t)v;
    return ERR_OK;
}

static enum err memory_read(struct reading *r)
{
    uint32_t *mib = &r->a->spec.memory_mib, line = line_of(r, "memory");
    *mib = APPFILE_MEMORY_DEFAULT_MIB;
    if (!r->raw->memory)
        return ERR_OK;
    enum err err = size_parse_mib(r->raw->memory, mib);
    if (err == ERR_INVALID)
        return FAIL(r, line, "memory: \"%.32s\" is no size in whole MiB; write 32M or 1G",
                    r->raw->memory);
    if (err || *mib > MEMORY_MIB_MAX)
        return FAIL(r, line, "memory: %.32s is more than the %uM that an app may have",
                    r->raw->memory, MEMORY_MIB_MAX);
    if (*mib < MEMORY_MIB_MIN)
        return FAIL(
            r, line,
            "memory: %.32s is below the %dM that the smallest guest needs; write memory: 32M",
            r->raw->memory, MEMORY_MIB_MIN);
    return ERR_OK;
}

static enum err args_read(struct reading *r)
{
    size_t bytes = 0;
    const struct yaml_node *args = yaml_find(yaml_doc_root(r->a->doc), "args");
    const struct yaml_node *n = args ? args->child : NULL;
    for (uint32_t i = 0; i < r->raw->args_count; i++, n = n ? n->next : NULL) {
        char clean[ARGS_BYTES_MAX + 1];
        const char *arg = r->raw->args[i];
        uint32_t line = n ? n->line : 0;
        bytes += strlen(arg) + 1;
        if (bytes > ARGS_BYTES_MAX)
            return FAIL(r, line,
                        "args: are longer than the %d bytes that a guest's command line may have",
                        ARGS_BYTES_MAX);
        text_clean(clean, sizeof clean, arg);
        if (strcmp(clean, arg) != 0)
            return FAIL(r, line, "args: \"%.64s\" holds a control character", clean);
        char text[256];
        if (arg_check(arg, NULL, text, sizeof text))
            return FAIL(r, line, "%s", text);
        r->a->args[i] = strdup(arg);
        if (!r->a->args[i])
            return FAIL(r, 0, "out of memory");
        r->a->args_count++;
    }
    return ERR_OK;
}

static enum err restart_read(struct reading *r)
{
    struct spec_body *s = &r->a->spec;
    const struct raw_restart *map = r->raw->restart_map;
    const char *when = map ? map->when : r->raw->restart;
    uint32_t line = line_of(r, "restart");
    s->restart = RESTART_ALWAYS;
    if (when && restart_parse(when, &s->restart))
        return FAIL(r, line, "restart: \"%.32s\" is none of always, on-failure and never", when);
    for (uint32_t i = 0; map && i < map->codes_count; i++) {
        uint64_t v;
        if (number_parse(map->codes[i], UINT8_MAX, &v))
            return FAIL(r, line, "restart.codes: \"%.32s\" is no exit code; write 0 to 255",
                        map->codes[i]);
        s->exit_codes[s->exit_code_count++] = (uint8_t)v;
    }
    if (s->exit_code_count && s->restart == RESTART_NEVER)
        return FAIL(r, line,
                    "restart.codes: say when to restart, and restart.when is never; write "
                    "on-failure or always");
    return ERR_OK;
}

static enum err require_read(struct reading *r)
{
    const struct yaml_node *map = yaml_find(yaml_doc_root(r->a->doc), "require");
    if (map && map->kind != YAML_TREE_MAPPING)
        return FAIL(r, map->line, "require: is no mapping; write require: {LABEL: VALUE}");
    for (const struct yaml_node *n = map ? map->child : NULL; n; n = n->next) {
        if (n->kind != YAML_TREE_SCALAR)
            return FAIL(r, n->line, "require.%.64s: is to be one value", n->key);
        enum err err = labels_add(&r->a->spec.require, n->key, n->value);
        if (err)
            return FAIL(r, n->line, "require.%.64s: %s", n->key, labels_error(err));
    }
    return ERR_OK;
}

static enum err nets_read(struct reading *r)
{
    struct spec_body *s = &r->a->spec;
    const struct yaml_node *map = yaml_find(yaml_doc_root(r->a->doc), "nets");
    char text[256];
    if (map && map->kind != YAML_TREE_MAPPING)
        return FAIL(r, map->line, "nets: is no mapping; write nets: {DEVICE: NETWORK}");
    for (const struct yaml_node *n = map ? map->child : NULL; n; n = n->next) {
        if (n->kind != YAML_TREE_SCALAR)
            return FAIL(r, n->line, "nets.%.64s: is to be one network's name", n->key);
        if (nets_add(s, n->key, n->value, text, sizeof text))
            return FAIL(r, n->line, "%s", text);
    }
    return ERR_OK;
}

/* One value, or a list of them. */
static enum err access_key_read(struct reading *r, const char *key)
{
    struct access *a = &r->a->spec.access;
    const struct yaml_node *n = yaml_find(yaml_doc_root(r->a->doc), key);
    char text[256];
    if (n && n->kind == YAML_TREE_MAPPING)
        return FAIL(r, n->line, "%s: is to be a list", key);
    for (const struct yaml_node *v = n && n->kind == YAML_TREE_SEQUENCE ? n->child : n; v;
         v = v == n ? NULL : v->next) {
        if (v->kind != YAML_TREE_SCALAR)
            return FAIL(r, v->line, "%s: is to be a list of words", key);
        if (access_add(a, key, v->value, text, sizeof text))
            return FAIL(r, v->line, "%s", text);
    }
    return ERR_OK;
}

static enum err access_read(struct reading *r)
{
    static const char *const keys[] = {"ports", "publish", "allow", "deny"};
    char text[256];
    enum err err = ERR_OK;
    for (size_t i = 0; i < sizeof keys / sizeof *keys && !err; i++)
        err = access_key_read(r, keys[i]);
    if (!err && access_check(&r->a->spec.access, text, sizeof text)) {
        const char *key = strncmp(text, "publish", 7) == 0 ? "publish" : "ports";
        return FAIL(r, line_of(r, key), "%s", text);
    }
    return err;
}

static enum err block_sparse_parse(const char *device, const char *value, struct block_ref *b, char *text, size_t size)
{
    b->sparse = strcmp(value, "true") == 0;
    if (b->sparse || strcmp(value, "false") == 0)
        return ERR_OK;
    snprintf(text, size, "blocks.%.64s.sparse: \"%.32s\" is neither true nor false", device, value);
    return ERR_INVALID;
}

/* {size: 64M, sparse: true, sector: 4096} */
static enum err block_map_read(struct reading *r, const struct yaml_node *map, struct block_ref *b)
{
    char text[256] = "";
    for (const struct yaml_node *n = map->child; n; n = n->next) {
        enum err err = ERR_NOT_FOUND;
        if (n->kind == YAML_TREE_SCALAR && strcmp(n->key, "size") == 0)
            err = block_size_parse(map->key, n->value, b, text, sizeof text);
        else if (n->kind == YAML_TREE_SCALAR && strcmp(n->key, "sector") == 0)
            err = block_sector_parse(map->key, n->value, b, text, sizeof text);
        else if (n->kind == YAML_TREE_SCALAR && strcmp(n->key, "sparse") == 0)
            err = block_sparse_parse(map->key, n->value, b, text, sizeof text);
        if (err == ERR_NOT_FOUND)
            return FAIL(r, n->line, "blocks.%.64s.%.32s: is no key of a block device; there are size, sparse, sector",
                        map->key, n->key);
        if (err)
            return FAIL(r, n->line, "%s", text);
    }
    if (b->size_mib == 0)
        return FAIL(r, map->line, "blocks.%.64s.size: is missing; write 64M or 1G", map->key);
    return ERR_OK;
}

static enum err blocks_read(struct reading *r)
{
    const struct yaml_node *map = yaml_find(yaml_doc_root(r->a->doc), "blocks");
    char text[256];
    if (map && map->kind != YAML_TREE_MAPPING)
        return FAIL(r, map->line, "blocks: is no mapping; write blocks: {DEVICE: SIZE}");
    for (const struct yaml_node *n = map ? map->child : NULL; n; n = n->next) {
        struct block_ref b = {.sector_bytes = BLOCK_SECTOR_MIN};
        enum err err;
        if (n->kind == YAML_TREE_SEQUENCE)
            return FAIL(r, n->line, "blocks.%.64s: is to be a size, or {size: 64M, sparse: true, sector: 512}", n->key);
        if (block_parse(n->key, n->kind == YAML_TREE_SCALAR ? n->value : "1M", &b, text, sizeof text))
            return FAIL(r, n->line, "%s", text);
        if (n->kind == YAML_TREE_MAPPING) {
            b.size_mib = 0;
            err = block_map_read(r, n, &b);
            if (err)
                return err;
        }
        if (blocks_add(&r->a->spec, &b, text, sizeof text))
            return FAIL(r, n->line, "%s", text);
    }
    return ERR_OK;
}

static enum err volume_lost_read(struct reading *r)
{
    const char *v = r->raw->volume_lost;
    if (v && volume_lost_parse(v, &r->a->spec.volume_lost))
        return FAIL(r, line_of(r, "volume-lost"), "volume-lost: \"%.32s\" is neither wait nor empty", v);
    if (v && r->a->spec.block_count == 0)
        return FAIL(r, line_of(r, "volume-lost"), "volume-lost: there is no volume; write blocks: {DEVICE: SIZE}, too");
    return ERR_OK;
}

static enum err affinity_read(struct reading *r)
{
    const char *v = r->raw->affinity;
    if (!v)
        return ERR_OK;
    if (!name_valid(v))
        return FAIL(r, line_of(r, "affinity"),
                    "affinity: \"%.70s\" is no name; take what an app may be called", v);
    snprintf(r->a->spec.affinity, NAME_SIZE, "%s", v);
    return ERR_OK;
}

/* ---- The whole ----------------------------------------------------------------------------- */

static enum err document_read(struct appfile *a, const char *name, struct yaml_error *error)
{
    cyaml_schema_field_t fields[FIELD_COUNT];
    const struct yaml_node *root = yaml_doc_root(a->doc);
    const struct yaml_node *image = yaml_find(root, "image"), *restart = yaml_find(root, "restart");
    memcpy(fields, plain_fields, sizeof fields);
    if (image && image->kind == YAML_TREE_MAPPING)
        fields[FIELD_IMAGE] = image_map_field;
    if (restart && restart->kind == YAML_TREE_MAPPING)
        fields[FIELD_RESTART] = restart_map_field;
    const cyaml_schema_value_t schema = {
        CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct raw, fields)};
    void *raw;
    enum err err = yaml_load(a->doc, &schema, WHAT, &raw, error);
    if (err)
        return err;
    const char *slash = strrchr(name, '/');
    struct reading r = {.a = a,
                        .raw = raw,
                        .folder = name,
                        .folder_len = slash ? (size_t)(slash - name) + 1 : 0,
                        .error = error};
    static enum err (*const parts[])(struct reading *) = {app_read,     images_read,  replicas_read,
                                                          memory_read,  args_read,    restart_read,
                                                          require_read, nets_read,    blocks_read,
                                                          volume_lost_read, access_read, affinity_read};
    for (size_t i = 0; i < sizeof parts / sizeof *parts && !err; i++)
        err = parts[i](&r);
    yaml_unload(&schema, raw);
    return err;
}

enum err appfile_parse(struct appfile *a, const char *name, const void *bytes, size_t len,
                       struct yaml_error *error)
{
    memset(a, 0, sizeof *a);
    enum err err = yaml_doc_parse(&a->doc, name, bytes, len, error);
    return err ? err : document_read(a, name, error);
}

enum err appfile_read(struct appfile *a, const char *path, struct yaml_error *error)
{
    memset(a, 0, sizeof *a);
    enum err err = yaml_doc_read(&a->doc, path, error);
    return err ? err : document_read(a, path, error);
}

void appfile_release(struct appfile *a)
{
    for (uint32_t i = 0; i < a->args_count; i++)
        free(a->args[i]);
    a->args_count = 0;
    yaml_doc_free(a->doc);
    a->doc = NULL;
}

void appfile_place(const struct appfile *a, const char *text, struct yaml_error *error)
{
    char key[32] = "";
    size_t n = strcspn(text, ":");
    if (!a->doc) {
        text_clean(error->text, sizeof error->text, text);
        return;
    }
    if (n < sizeof key)
        memcpy(key, text, n);
    const struct yaml_node *at = yaml_find(yaml_doc_root(a->doc), key);
    yaml_fail(a->doc, at ? at->line : 0, error, ERR_INVALID, "%s", text);
}
