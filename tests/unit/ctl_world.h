/* For tests of the control socket: two nodes (tests/support/fake_node.h) in one loop, ant with a
 * socket and bee without, and meshctl, which is run as a program. */
#ifndef UNIMESH_TESTS_UNIT_CTL_WORLD_H
#define UNIMESH_TESTS_UNIT_CTL_WORLD_H

#include "ctl/control.h"
#include "node/loop/control.h"
#include "tests/support/elf_image.h"
#include "tests/support/fake_node.h"

#include <jansson.h>
#include <limits.h>

enum { OUT_MAX = 4 * 1024 * 1024, IMAGE_TEST_MAX = ELF_IMAGE_MAX + 3 * IMAGE_CHUNK };

struct world {
    uv_loop_t loop;
    char dir[64], socket[96];
    struct fake_mesh *mesh;
    struct node *a, *b;
    struct control *control; /* of a */
    char meshctl[PATH_MAX];
};
extern struct world w;

int set_up(void **state);
int tear_down(void **state);
void close_control(struct control **c); /* and run the loop until it is gone */

void path_in(char *out, size_t size, const char *name); /* of the world's folder */
void file_write(const char *name, const void *p, size_t len, char *path, size_t size);
/* An image of the virtio target; `extra` bytes after what it says make it another. */
size_t image_bytes(uint8_t *out, size_t extra, uint8_t fill);
const char *image_file(const char *name, size_t extra, uint8_t fill); /* good until the next call */

/* Run the loop until so(ctx) says so; the test fails if it takes too long. */
void until(bool (*so)(void *ctx), void *ctx);
bool two_alive(void *ctx);

/* ---- meshctl ------------------------------------------------------------------------------- */

struct run {
    uv_process_t process;
    uv_pipe_t out_pipe, err_pipe;
    bool ended;
    int64_t status;
    unsigned pipes;
    size_t out_len, err_len;
    char *out, *err;
};

/* Run meshctl to its end. The arguments end with NULL. Returns the run, whose texts are good until
 * the next one. */
struct run *meshctl(const char *first, ...);
/* Only start it; run_is_over says when it has ended; run_free afterwards. */
void start_meshctl(struct run *r, const char *first, ...);
bool run_is_over(void *ctx);
void run_free(struct run *r);

json_t *json_of(const struct run *r);
const char *text_of(const json_t *object, const char *key);
void succeeds(const struct run *r);
/* It fails with this status, and says this on one line of stderr, and nothing on stdout. */
void fails(const struct run *r, int status, const char *says);
/* An app of replicas × 16M, and wait until it runs. */
void deploy(const char *name, const char *replicas);

#endif
