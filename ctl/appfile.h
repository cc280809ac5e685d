/* App files: what `meshctl deploy FILE` reads. docs/appfile.md shows the whole of it.
 *
 *     app: web
 *     image: dist/web.virtio      # or one file a target: {spt: dist/web.spt, virtio: dist/web.virtio}
 *     replicas: 3                 # optional: as it is, or 1
 *     memory: 32M
 *     args: [--hello=world]
 *     restart: on-failure         # always (default), on-failure, never; or {when: on-failure, codes: [1, 2]}
 *     require: {zone: attic}
 *     nets: {service: public}     # the manifest's net devices, and the network of each
 *     blocks: {storage: 64M}      # its block devices; or {storage: {size: 64M, sparse: true, sector: 4096}}
 *     volume-lost: wait           # (default) or empty: what follows when the volume's host is dead
 *     ports: [80/tcp, icmp]       # what comes in on its nets; all else is closed
 *     publish: [8080:80/tcp]      # the host's port that leads to one of the guest's
 *     allow: [front, 10.0.0.0/8]  # who may come: apps, network:NAME, subnets (everybody)
 *     deny: [10.0.0.13]           # who may not
 *     affinity: front             # apps of one affinity go to the same hosts
 *
 * Image paths are relative to the file's folder. The images themselves are not looked at here. */
#ifndef UNIMESH_CTL_APPFILE_H
#define UNIMESH_CTL_APPFILE_H

#include "ctl/yaml_doc.h"
#include "node/event.h"
#include "store/model/bodies.h"

enum { APPFILE_PATH_SIZE = 4096, APPFILE_MEMORY_DEFAULT_MIB = 32 };

struct appfile_image {
    enum target target; /* NONE: as the image says */
    char path[APPFILE_PATH_SIZE];
};

struct appfile {
    struct spec_body spec; /* without images, revision, parent and args */
    uint32_t replicas;     /* REPLICAS_KEEP: not given */
    uint32_t image_count;
    struct appfile_image images[TARGET_COUNT];
    uint32_t args_count;
    char *args[ARGS_MAX];
    struct yaml_doc *doc;  /* NULL: not from a file */
};

/* Caller's memory; appfile_release afterwards, also on error. */
enum err appfile_parse(struct appfile *a, const char *name, const void *bytes, size_t len,
                       struct yaml_error *error) MUST_USE;
enum err appfile_read(struct appfile *a, const char *path, struct yaml_error *error) MUST_USE;
void appfile_release(struct appfile *a);

/* Where a sentence that begins with a key ("memory: 6M is below …", as spec_check writes) belongs: put the file and
 * line before it. */
void appfile_place(const struct appfile *a, const char *text, struct yaml_error *error);

/* "always", "on-failure", "never". ERR_NOT_FOUND. */
enum err restart_parse(const char *text, enum restart_mode *out) MUST_USE;
const char *restart_text(enum restart_mode m);

#endif
