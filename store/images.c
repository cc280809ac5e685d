#define _GNU_SOURCE
#include "store/images.h"

#include "store/disk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { HEAD_BYTES = 24, SUM_BYTES = 32, FILE_NAME_SIZE = HASH_TEXT + 16 };

static const char MAGIC[] = "unimesh image 1\n"; /* 16 bytes without the NUL */

/* No state but the folder, so that several threads may use one. */
struct images {
    char *dir;
    int fd;
};

struct image_part {
    struct images *im;
    struct hash name;
    int fd;
    uint8_t *list;
    size_t list_len;
    uint64_t size;
    uint32_t chunks;
    uint32_t missing;
    uint8_t have[]; /* a byte a chunk */
};

/* ---- The list
 * ------------------------------------------------------------------------------------ */

static uint32_t chunks_of(uint64_t size)
{
    return (uint32_t)((size + IMAGE_CHUNK - 1) / IMAGE_CHUNK);
}

static size_t chunk_len(uint64_t size, uint32_t index)
{
    uint64_t left = size - (uint64_t)index * IMAGE_CHUNK;
    return left < IMAGE_CHUNK ? (size_t)left : IMAGE_CHUNK;
}

static void sum(const void *bytes, size_t len, uint8_t out[static SUM_BYTES])
{
    crypto_generichash(out, SUM_BYTES, bytes, len, NULL, 0);
}

static void head_write(uint8_t head[static HEAD_BYTES], uint64_t size)
{
    memcpy(head, MAGIC, 16);
    for (int i = 0; i < 8; i++)
        head[16 + i] = (uint8_t)(size >> (8 * i));
}

static enum err head_read(const uint8_t head[static HEAD_BYTES], uint64_t *size)
{
    if (memcmp(head, MAGIC, 16) != 0)
        return ERR_INVALID;
    uint64_t n = 0;
    for (int i = 0; i < 8; i++)
        n |= (uint64_t)head[16 + i] << (8 * i);
    if (n == 0)
        return ERR_INVALID;
    if (n > IMAGE_BYTES_MAX)
        return ERR_TOO_LARGE;
    *size = n;
    return ERR_OK;
}

enum err image_list_check(const void *list, size_t len, const struct hash *image,
                          uint64_t *size_bytes, uint32_t *chunks)
{
    if (len < HEAD_BYTES)
        return ERR_TRUNCATED;
    if (len > IMAGE_LIST_BYTES_MAX)
        return ERR_TOO_LARGE;
    struct hash name;
    sum(list, len, name.b);
    if (!hash_equal(&name, image))
        return ERR_CORRUPT;
    uint64_t size;
    enum err err = head_read(list, &size);
    if (err)
        return err;
    if (len != HEAD_BYTES + (size_t)chunks_of(size) * SUM_BYTES)
        return ERR_INVALID;
    *size_bytes = size;
    *chunks = chunks_of(size);
    return ERR_OK;
}

void image_name(const void *bytes, size_t len, struct hash *image)
{
    const uint8_t *p = bytes;
    uint8_t head[HEAD_BYTES], one[SUM_BYTES];
    crypto_generichash_state st;
    crypto_generichash_init(&st, NULL, 0, sizeof image->b);
    head_write(head, len);
    crypto_generichash_update(&st, head, sizeof head);
    for (size_t at = 0; at < len; at += IMAGE_CHUNK) {
        sum(p + at, len - at < IMAGE_CHUNK ? len - at : IMAGE_CHUNK, one);
        crypto_generichash_update(&st, one, sizeof one);
    }
    crypto_generichash_final(&st, image->b, sizeof image->b);
}

/* ---- The folder
 * ---------------------------------------------------------------------------------- */

static void file_name(const struct hash *image, const char *suffix, char out[static FILE_NAME_SIZE])
{
    char hex[HASH_TEXT];
    hash_text(image, hex);
    snprintf(out, FILE_NAME_SIZE, "%s%s", hex, suffix);
}

static enum err open_file(const struct images *im, const struct hash *image, const char *suffix,
                          int *fd)
{
    char name[FILE_NAME_SIZE];
    file_name(image, suffix, name);
    *fd = openat(im->fd, name, O_RDONLY | O_CLOEXEC);
    return *fd < 0 ? disk_err(errno) : ERR_OK;
}

static enum err unlink_file(const struct images *im, const struct hash *image, const char *suffix)
{
    char name[FILE_NAME_SIZE];
    file_name(image, suffix, name);
    return unlinkat(im->fd, name, 0) == 0 ? ERR_OK : disk_err(errno);
}

static enum err rename_file(const struct images *im, const struct hash *image, const char *from,
                            const char *to)
{
    char a[FILE_NAME_SIZE], b[FILE_NAME_SIZE];
    file_name(image, from, a);
    file_name(image, to, b);
    return renameat(im->fd, a, im->fd, b) == 0 ? ERR_OK : disk_err(errno);
}

/* The size that the list tells; both files are there and the image is as long. ERR_CORRUPT: it
 * isn't. */
static enum err look(const struct images *im, const struct hash *image, uint64_t *size)
{
    int fd;
    enum err err = open_file(im, image, ".list", &fd);
    if (err)
        return err;
    uint8_t head[HEAD_BYTES];
    size_t got;
    err = disk_read_at(fd, head, sizeof head, 0, &got);
    close(fd);
    if (err)
        return err;
    if (got != sizeof head || head_read(head, size) != ERR_OK)
        return ERR_CORRUPT;
    char name[FILE_NAME_SIZE];
    file_name(image, ".image", name);
    struct stat st;
    if (fstatat(im->fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return disk_err(errno);
    return (uint64_t)st.st_size == *size ? ERR_OK : ERR_CORRUPT;
}

/* Whether a file's name is HEX ‖ suffix; which image. */
static bool name_parse(const char *name, const char *suffix, struct hash *image)
{
    char hex[HASH_TEXT];
    if (strlen(name) != HASH_TEXT - 1 + strlen(suffix) || strcmp(name + HASH_TEXT - 1, suffix) != 0)
        return false;
    memcpy(hex, name, HASH_TEXT - 1);
    hex[HASH_TEXT - 1] = 0;
    return hash_parse(hex, image) == ERR_OK;
}

static DIR *list_dir(const struct images *im)
{
    int fd = openat(im->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return NULL;
    DIR *d = fdopendir(fd);
    if (!d)
        close(fd);
    return d;
}

/* What an interrupted commit or filling left: parts, and one of list and image without the other.
 */
static bool is_stale(const struct images *im, const char *name)
{
    struct hash image;
    char other[FILE_NAME_SIZE];
    if (name_parse(name, ".part", &image) || name_parse(name, ".list.part", &image))
        return true;
    if (name_parse(name, ".list", &image))
        file_name(&image, ".image", other);
    else if (name_parse(name, ".image", &image))
        file_name(&image, ".list", other);
    else
        return false;
    return faccessat(im->fd, other, F_OK, 0) < 0 && errno == ENOENT;
}

enum err images_open(struct images **out, const char *dir)
{
    if (sodium_init() < 0)
        return ERR_UNSUPPORTED;
    struct images *im = calloc(1, sizeof *im);
    if (!im)
        return ERR_NOMEM;
    enum err err = ERR_NOMEM;
    im->fd = -1;
    im->dir = strdup(dir);
    if (!im->dir)
        goto undo_im;
    err = disk_open_dir(dir, &im->fd);
    if (err)
        goto undo_im;
    DIR *d = list_dir(im);
    if (!d) {
        err = disk_err(errno);
        goto undo_im;
    }
    for (const struct dirent *e; (e = readdir(d));)
        if (is_stale(im, e->d_name))
            unlinkat(im->fd, e->d_name, 0);
    closedir(d);
    *out = im;
    return ERR_OK;
undo_im:
    images_close(im);
    return err;
}

void images_close(struct images *im)
{
    if (!im)
        return;
    if (im->fd >= 0)
        close(im->fd);
    free(im->dir);
    free(im);
}

bool images_has(const struct images *im, const struct hash *image)
{
    uint64_t size;
    return look(im, image, &size) == ERR_OK;
}

void images_each(const struct images *im,
                 void (*visit)(void *ctx, const struct hash *image, uint64_t size), void *ctx)
{
    DIR *d = list_dir(im);
    if (!d)
        return;
    for (const struct dirent *e; (e = readdir(d));) {
        struct hash image;
        uint64_t size;
        if (name_parse(e->d_name, ".image", &image) && look(im, &image, &size) == ERR_OK)
            visit(ctx, &image, size);
    }
    closedir(d);
}

enum err images_path(const struct images *im, const struct hash *image, char *out, size_t size)
{
    char name[FILE_NAME_SIZE];
    file_name(image, ".image", name);
    int n = snprintf(out, size, "%s/%s", im->dir, name);
    return n >= 0 && (size_t)n < size ? ERR_OK : ERR_TOO_LARGE;
}

/* The list goes first: without it the image isn't there any more, whatever happens next. */
enum err images_remove(struct images *im, const struct hash *image)
{
    enum err a = unlink_file(im, image, ".list");
    enum err b = unlink_file(im, image, ".image");
    if (a && a != ERR_NOT_FOUND)
        return a;
    if (b && b != ERR_NOT_FOUND)
        return b;
    return a && b ? ERR_NOT_FOUND : disk_sync_dir(im->fd);
}

/* ---- Reading
 * ------------------------------------------------------------------------------------- */

enum err images_read_list(const struct images *im, const struct hash *image, void *out, size_t size,
                          size_t *len)
{
    uint64_t bytes;
    enum err err = look(im, image, &bytes);
    if (err)
        return err;
    size_t want = HEAD_BYTES + (size_t)chunks_of(bytes) * SUM_BYTES;
    if (want > size)
        return ERR_TOO_LARGE;
    int fd;
    err = open_file(im, image, ".list", &fd);
    if (err)
        return err;
    err = disk_read_at(fd, out, want, 0, len);
    close(fd);
    return err ? err : *len == want ? ERR_OK : ERR_CORRUPT;
}

enum err images_read_chunk(const struct images *im, const struct hash *image, uint32_t index,
                           void *out, size_t *len)
{
    uint64_t size;
    enum err err = look(im, image, &size);
    if (err)
        return err;
    if (index >= chunks_of(size))
        return ERR_NOT_FOUND;
    int fd;
    err = open_file(im, image, ".image", &fd);
    if (err)
        return err;
    err = disk_read_at(fd, out, chunk_len(size, index), (uint64_t)index * IMAGE_CHUNK, len);
    close(fd);
    return err ? err : *len == chunk_len(size, index) ? ERR_OK : ERR_CORRUPT;
}

static enum err verify_chunks(int fd, const uint8_t *list, uint64_t size, uint8_t *buf)
{
    for (uint32_t i = 0; i < chunks_of(size); i++) {
        uint8_t is[SUM_BYTES];
        size_t got, want = chunk_len(size, i);
        enum err err = disk_read_at(fd, buf, want, (uint64_t)i * IMAGE_CHUNK, &got);
        if (err)
            return err;
        sum(buf, got, is);
        if (got != want || memcmp(is, list + HEAD_BYTES + (size_t)i * SUM_BYTES, SUM_BYTES) != 0)
            return ERR_CORRUPT;
    }
    return ERR_OK;
}

enum err images_verify(const struct images *im, const struct hash *image)
{
    uint8_t *buf = malloc(IMAGE_LIST_BYTES_MAX + IMAGE_CHUNK);
    if (!buf)
        return ERR_NOMEM;
    size_t len;
    uint64_t size;
    uint32_t chunks;
    int fd;
    enum err err = images_read_list(im, image, buf, IMAGE_LIST_BYTES_MAX, &len);
    if (err)
        goto undo_buf;
    if (image_list_check(buf, len, image, &size, &chunks)) {
        err = ERR_CORRUPT;
        goto undo_buf;
    }
    err = open_file(im, image, ".image", &fd);
    if (err)
        goto undo_buf;
    err = verify_chunks(fd, buf, size, buf + IMAGE_LIST_BYTES_MAX);
    close(fd);
undo_buf:
    free(buf);
    return err;
}

/* ---- Filling
 * ------------------------------------------------------------------------------------- */

enum err image_part_begin(struct images *im, const struct hash *image, const void *list, size_t len,
                          struct image_part **out)
{
    uint64_t size;
    uint32_t chunks;
    enum err err = image_list_check(list, len, image, &size, &chunks);
    if (err)
        return err;
    if (images_has(im, image))
        return ERR_EXISTS;
    struct image_part *p = calloc(1, sizeof *p + chunks);
    uint8_t *copy = malloc(len);
    if (!p || !copy) {
        free(p);
        free(copy);
        return ERR_NOMEM;
    }
    memcpy(copy, list, len);
    *p = (struct image_part){.im = im,
                             .name = *image,
                             .list = copy,
                             .list_len = len,
                             .size = size,
                             .chunks = chunks,
                             .missing = chunks};
    char name[FILE_NAME_SIZE];
    file_name(image, ".part", name);
    p->fd = openat(im->fd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (p->fd >= 0)
        (void)fchmod(p->fd, 0644); /* whatever our umask: guests' users read it */
    if (p->fd < 0) {
        err = errno == EEXIST ? ERR_BUSY : disk_err(errno); /* another fills it */
        free(copy);
        free(p);
        return err;
    }
    err = disk_preallocate(p->fd, size);
    if (err) {
        image_part_abort(&p);
        return err;
    }
    *out = p;
    return ERR_OK;
}

enum err image_part_put(struct image_part *p, uint32_t index, const void *chunk, size_t len)
{
    if (index >= p->chunks)
        return ERR_INVALID;
    uint8_t is[SUM_BYTES];
    if (len != chunk_len(p->size, index))
        return ERR_CORRUPT;
    sum(chunk, len, is);
    if (memcmp(is, p->list + HEAD_BYTES + (size_t)index * SUM_BYTES, SUM_BYTES) != 0)
        return ERR_CORRUPT;
    if (p->have[index])
        return ERR_OK;
    enum err err = disk_write_at(p->fd, chunk, len, (uint64_t)index * IMAGE_CHUNK);
    if (err)
        return err;
    p->have[index] = 1;
    p->missing--;
    return ERR_OK;
}

uint32_t image_part_missing(const struct image_part *p, uint32_t *first)
{
    for (uint32_t i = 0; first && p->missing && i < p->chunks; i++) {
        if (!p->have[i]) {
            *first = i;
            break;
        }
    }
    return p->missing;
}

static void part_free(struct image_part **pp)
{
    struct image_part *p = *pp;
    close(p->fd);
    free(p->list);
    free(p);
    *pp = NULL;
}

static enum err write_list(const struct image_part *p)
{
    char name[FILE_NAME_SIZE];
    file_name(&p->name, ".list.part", name);
    int fd = openat(p->im->fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0)
        return disk_err(errno);
    enum err err = disk_write_at(fd, p->list, p->list_len, 0);
    if (!err && fsync(fd) < 0)
        err = disk_err(errno);
    close(fd);
    return err;
}

enum err image_part_commit(struct image_part **pp)
{
    struct image_part *p = *pp;
    if (p->missing)
        return ERR_NOT_READY; /* the part stays: the one error that doesn't end it */
    enum err err = fsync(p->fd) < 0 ? disk_err(errno) : ERR_OK;
    if (!err)
        err = write_list(p);
    if (!err)
        err = rename_file(p->im, &p->name, ".list.part", ".list");
    if (!err)
        err = rename_file(p->im, &p->name, ".part", ".image");
    if (!err)
        err = disk_sync_dir(p->im->fd);
    if (err) {
        image_part_abort(pp);
        return err;
    }
    part_free(pp);
    return ERR_OK;
}

void image_part_abort(struct image_part **pp)
{
    struct image_part *p = *pp;
    if (!p)
        return;
    unlink_file(p->im, &p->name, ".part");
    unlink_file(p->im, &p->name, ".list.part");
    part_free(pp);
}

size_t image_list_len(uint64_t size_bytes)
{
    return HEAD_BYTES + (size_t)chunks_of(size_bytes) * SUM_BYTES;
}

enum err image_list_make(const void *bytes, size_t len, void *list, struct hash *image)
{
    if (len == 0)
        return ERR_INVALID;
    if (len > IMAGE_BYTES_MAX)
        return ERR_TOO_LARGE;
    const uint8_t *p = bytes;
    uint8_t *out = list;
    head_write(out, len);
    for (uint32_t i = 0; i < chunks_of(len); i++)
        sum(p + (size_t)i * IMAGE_CHUNK, chunk_len(len, i), out + HEAD_BYTES + (size_t)i * SUM_BYTES);
    sum(out, image_list_len(len), image->b);
    return ERR_OK;
}

enum err images_add(struct images *im, const void *bytes, size_t len, struct hash *image)
{
    if (len == 0)
        return ERR_INVALID;
    if (len > IMAGE_BYTES_MAX)
        return ERR_TOO_LARGE;
    const uint8_t *p = bytes;
    uint32_t chunks = chunks_of(len);
    size_t list_len = image_list_len(len);
    uint8_t *list = malloc(list_len);
    if (!list)
        return ERR_NOMEM;
    CHECK(!image_list_make(bytes, len, list, image));
    struct image_part *part = NULL;
    enum err err = image_part_begin(im, image, list, list_len, &part);
    free(list);
    if (err)
        return err == ERR_EXISTS ? ERR_OK : err;
    CHECK(part);
    for (uint32_t i = 0; i < chunks && !err; i++)
        err = image_part_put(part, i, p + (size_t)i * IMAGE_CHUNK, chunk_len(len, i));
    if (!err)
        err = image_part_commit(&part);
    if (err)
        image_part_abort(&part);
    return err;
}
