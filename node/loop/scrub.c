/* Every image on disk is read once after the start, by a worker, one after the other: a bit that
 * flipped while nobody looked is found before a guest needs it. A damaged image goes, and the
 * engine has it fetched again. */
#define _GNU_SOURCE
#include "node/loop/node_internal.h"

#include <stdlib.h>

struct scrub {
    struct node *node;
    struct hash *images;
    size_t count, next;
    enum err err; /* of the one that the worker has read */
    uv_work_t work;
};

static void scrub_go_on(struct scrub *s);

static void on_work(uv_work_t *w)
{
    struct scrub *s = w->data;
    s->err = images_verify(s->node->images, &s->images[s->next]);
}

static void on_worked(uv_work_t *w, int status)
{
    struct scrub *s = w->data;
    struct node *n = s->node;
    const struct hash *image = &s->images[s->next++];
    (void)status;
    if (n->quitting) {
        free(s->images);
        free(s);
        return;
    }
    if (s->err == ERR_CORRUPT) {
        char text[HASH_TEXT];
        hash_text(image, text);
        node_log(n, LOG_WARN, "image.damaged", "image=%.16s", text);
        enum err err = images_remove(n->images, image);
        struct event ev = {.kind = EVENT_IMAGE,
                           .image = *image,
                           .err = err ? err : ERR_CORRUPT,
                           .text = "the copy on this host's disk was damaged"};
        node_step(n, &ev);
    }
    scrub_go_on(s);
}

static void scrub_go_on(struct scrub *s)
{
    s->work.data = s;
    if (s->next < s->count && uv_queue_work(s->node->loop, &s->work, on_work, on_worked) == 0)
        return;
    free(s->images);
    free(s);
}

static void image_add(void *ctx, const struct hash *image, uint64_t size)
{
    struct scrub *s = ctx;
    (void)size;
    struct hash *images = realloc(s->images, (s->count + 1) * sizeof *images);
    if (!images)
        return; /* it is not looked at */
    s->images = images;
    s->images[s->count++] = *image;
}

void scrub_begin(struct node *n)
{
    struct scrub *s = calloc(1, sizeof *s);
    if (!s)
        return;
    s->node = n;
    images_each(n->images, image_add, s);
    scrub_go_on(s);
}
