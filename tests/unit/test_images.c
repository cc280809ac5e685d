/* store/images: names, filling by chunks, what a broken chunk or an interrupted filling leaves. */
#define _GNU_SOURCE
#include "store/images.h"

#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { BYTES = 2 * IMAGE_CHUNK + 100, CHUNKS = 3 };

static char dir[64];
static uint8_t bytes[BYTES];
static uint8_t list[IMAGE_LIST_BYTES_MAX];
static uint8_t chunk[IMAGE_CHUNK];

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *f)
{
    (void)st;
    (void)type;
    (void)f;
    return remove(path);
}

static int set_up(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "%s", "/tmp/test_images.XXXXXX");
    for (size_t i = 0; i < BYTES; i++)
        bytes[i] = (uint8_t)(i * 31 + i / 997);
    return mkdtemp(dir) ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    return nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static struct images *open_images(void)
{
    char path[96];
    struct images *im;
    snprintf(path, sizeof path, "%s/images", dir);
    assert_int_equal(images_open(&im, path), ERR_OK);
    return im;
}

/* A second folder, to be a peer that has the image; its list is in `list`. */
static size_t list_of(struct hash *image)
{
    char path[96];
    struct images *peer;
    size_t len;
    snprintf(path, sizeof path, "%s/peer", dir);
    assert_int_equal(images_open(&peer, path), ERR_OK);
    assert_int_equal(images_add(peer, bytes, BYTES, image), ERR_OK);
    assert_int_equal(images_read_list(peer, image, list, sizeof list, &len), ERR_OK);
    images_close(peer);
    return len;
}

static void file_of(const struct hash *image, const char *suffix, char out[static 192])
{
    char hex[HASH_TEXT];
    hash_text(image, hex);
    snprintf(out, 192, "%s/images/%s%s", dir, hex, suffix);
}

static void flip(const char *path, off_t at)
{
    uint8_t b;
    int fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &b, 1, at), 1);
    b ^= 4;
    assert_int_equal(pwrite(fd, &b, 1, at), 1);
    close(fd);
}

struct seen {
    int count;
    struct hash image;
    uint64_t size;
};

static void see(void *ctx, const struct hash *image, uint64_t size)
{
    struct seen *s = ctx;
    s->count++;
    s->image = *image;
    s->size = size;
}

static void an_added_image_is_named_listed_and_read_back(void **state)
{
    (void)state;
    struct images *im = open_images();
    struct hash image, name;
    assert_int_equal(images_add(im, bytes, BYTES, &image), ERR_OK);
    image_name(bytes, BYTES, &name);
    assert_true(hash_equal(&image, &name));
    assert_true(images_has(im, &image));
    assert_int_equal(images_verify(im, &image), ERR_OK);
    assert_int_equal(images_add(im, bytes, BYTES, &image), ERR_OK); /* again */
    struct seen s = {0};
    images_each(im, see, &s);
    assert_int_equal(s.count, 1);
    assert_true(hash_equal(&s.image, &image));
    assert_int_equal(s.size, BYTES);
    size_t len;
    assert_int_equal(images_read_chunk(im, &image, 2, chunk, &len), ERR_OK);
    assert_int_equal(len, 100);
    assert_memory_equal(chunk, bytes + 2 * IMAGE_CHUNK, 100);
    assert_int_equal(images_read_chunk(im, &image, 3, chunk, &len), ERR_NOT_FOUND);
    char path[192], small[20];
    file_of(&image, ".image", path);
    char got[192];
    assert_int_equal(images_path(im, &image, got, sizeof got), ERR_OK);
    assert_string_equal(got, path);
    assert_int_equal(access(got, R_OK), 0);
    assert_int_equal(images_path(im, &image, small, sizeof small), ERR_TOO_LARGE);
    images_close(im);
}

static void an_image_of_whole_chunks_has_no_empty_last_one(void **state)
{
    (void)state;
    struct images *im = open_images();
    struct hash image;
    size_t len;
    uint64_t size;
    uint32_t chunks;
    assert_int_equal(images_add(im, bytes, 2 * IMAGE_CHUNK, &image), ERR_OK);
    assert_int_equal(images_read_list(im, &image, list, sizeof list, &len), ERR_OK);
    assert_int_equal(image_list_check(list, len, &image, &size, &chunks), ERR_OK);
    assert_int_equal(size, 2 * IMAGE_CHUNK);
    assert_int_equal(chunks, 2);
    assert_int_equal(images_verify(im, &image), ERR_OK);
    images_close(im);
}

static void empty_and_too_large_images_are_refused(void **state)
{
    (void)state;
    struct images *im = open_images();
    struct hash image;
    assert_int_equal(images_add(im, bytes, 0, &image), ERR_INVALID);
    assert_int_equal(images_add(im, bytes, (size_t)IMAGE_BYTES_MAX + 1, &image), ERR_TOO_LARGE);
    images_close(im);
}

static void a_list_that_is_not_the_names_is_refused(void **state)
{
    (void)state;
    struct hash image;
    uint64_t size;
    uint32_t chunks;
    size_t len = list_of(&image);
    assert_int_equal(image_list_check(list, len, &image, &size, &chunks), ERR_OK);
    assert_int_equal(chunks, CHUNKS);
    assert_int_equal(image_list_check(list, len - 1, &image, &size, &chunks), ERR_CORRUPT);
    assert_int_equal(image_list_check(list, 23, &image, &size, &chunks), ERR_TRUNCATED);
    list[40] ^= 1;
    assert_int_equal(image_list_check(list, len, &image, &size, &chunks), ERR_CORRUPT);
}

static void chunks_in_any_order_make_the_image(void **state)
{
    (void)state;
    struct images *im = open_images();
    struct image_part *p;
    struct hash image;
    uint32_t first = 99;
    size_t len = list_of(&image);
    assert_int_equal(image_part_begin(im, &image, list, len, &p), ERR_OK);
    assert_int_equal(image_part_missing(p, &first), CHUNKS);
    assert_int_equal(first, 0);
    assert_int_equal(image_part_put(p, 2, bytes + 2 * IMAGE_CHUNK, 100), ERR_OK);
    assert_int_equal(image_part_put(p, 0, bytes, IMAGE_CHUNK), ERR_OK);
    assert_int_equal(image_part_put(p, 0, bytes, IMAGE_CHUNK), ERR_OK);
    assert_int_equal(image_part_missing(p, &first), 1);
    assert_int_equal(first, 1);
    assert_int_equal(image_part_commit(&p), ERR_NOT_READY);
    assert_false(images_has(im, &image));
    assert_int_equal(image_part_put(p, 1, bytes + IMAGE_CHUNK, IMAGE_CHUNK), ERR_OK);
    assert_int_equal(image_part_commit(&p), ERR_OK);
    assert_null(p);
    assert_int_equal(images_verify(im, &image), ERR_OK);
    assert_int_equal(image_part_begin(im, &image, list, len, &p), ERR_EXISTS);
    images_close(im);
}

static void a_chunk_that_is_not_the_lists_is_refused(void **state)
{
    (void)state;
    struct images *im = open_images();
    struct image_part *p;
    struct hash image;
    size_t len = list_of(&image);
    assert_int_equal(image_part_begin(im, &image, list, len, &p), ERR_OK);
    assert_int_equal(image_part_put(p, 1, bytes, IMAGE_CHUNK), ERR_CORRUPT);
    assert_int_equal(image_part_put(p, 0, bytes, IMAGE_CHUNK - 1), ERR_CORRUPT);
    assert_int_equal(image_part_put(p, 3, bytes, IMAGE_CHUNK), ERR_INVALID);
    assert_int_equal(image_part_missing(p, NULL), CHUNKS);
    image_part_abort(&p);
    assert_null(p);
    char path[192];
    file_of(&image, ".part", path);
    assert_int_not_equal(access(path, F_OK), 0);
    images_close(im);
}

static void one_image_is_filled_once_at_a_time(void **state)
{
    (void)state;
    struct images *im = open_images();
    struct image_part *p, *q;
    struct hash image;
    size_t len = list_of(&image);
    assert_int_equal(image_part_begin(im, &image, list, len, &p), ERR_OK);
    assert_int_equal(image_part_begin(im, &image, list, len, &q), ERR_BUSY);
    image_part_abort(&p);
    assert_int_equal(image_part_begin(im, &image, list, len, &q), ERR_OK);
    image_part_abort(&q);
    images_close(im);
}

static void opening_removes_what_an_interrupted_filling_left(void **state)
{
    (void)state;
    struct images *im = open_images();
    struct hash image = {{7}};
    char part[192], lone[192];
    file_of(&image, ".part", part);
    file_of(&image, ".list", lone);
    int fd = open(part, O_CREAT | O_WRONLY, 0644);
    int fd2 = open(lone, O_CREAT | O_WRONLY, 0644);
    assert_true(fd >= 0 && fd2 >= 0);
    close(fd);
    close(fd2);
    assert_false(images_has(im, &image));
    images_close(im);
    images_close(open_images());
    assert_int_not_equal(access(part, F_OK), 0);
    assert_int_not_equal(access(lone, F_OK), 0);
}

static void a_flipped_bit_is_found_and_the_image_can_be_had_again(void **state)
{
    (void)state;
    struct images *im = open_images();
    struct hash image;
    char path[192];
    assert_int_equal(images_add(im, bytes, BYTES, &image), ERR_OK);
    file_of(&image, ".image", path);
    flip(path, IMAGE_CHUNK + 5);
    assert_int_equal(images_verify(im, &image), ERR_CORRUPT);
    assert_int_equal(images_remove(im, &image), ERR_OK);
    assert_false(images_has(im, &image));
    assert_int_equal(images_remove(im, &image), ERR_NOT_FOUND);
    assert_int_equal(images_verify(im, &image), ERR_NOT_FOUND);
    assert_int_equal(images_add(im, bytes, BYTES, &image), ERR_OK);
    assert_int_equal(images_verify(im, &image), ERR_OK);
    file_of(&image, ".list", path);
    flip(path, 30);
    assert_int_equal(images_verify(im, &image), ERR_CORRUPT);
    images_close(im);
}

static void an_image_cut_short_is_not_had(void **state)
{
    (void)state;
    struct images *im = open_images();
    struct hash image;
    char path[192];
    assert_int_equal(images_add(im, bytes, BYTES, &image), ERR_OK);
    file_of(&image, ".image", path);
    assert_int_equal(truncate(path, BYTES - 1), 0);
    assert_false(images_has(im, &image));
    assert_int_equal(images_add(im, bytes, BYTES, &image), ERR_OK); /* replaced */
    assert_int_equal(images_verify(im, &image), ERR_OK);
    images_close(im);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_added_image_is_named_listed_and_read_back),
        TEST(an_image_of_whole_chunks_has_no_empty_last_one),
        TEST(empty_and_too_large_images_are_refused),
        TEST(a_list_that_is_not_the_names_is_refused),
        TEST(chunks_in_any_order_make_the_image),
        TEST(a_chunk_that_is_not_the_lists_is_refused),
        TEST(one_image_is_filled_once_at_a_time),
        TEST(opening_removes_what_an_interrupted_filling_left),
        TEST(a_flipped_bit_is_found_and_the_image_can_be_had_again),
        TEST(an_image_cut_short_is_not_had),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
