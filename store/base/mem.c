#include "store/base/mem.h"

#include "store/base/err.h"

#include <stdlib.h>
#include <string.h>

/* In front of every block, keeping it aligned for anything. */
union head {
    size_t size;
    max_align_t align;
};

void mem_init(struct mem *m, size_t limit_bytes)
{
    *m = (struct mem){.limit_bytes = limit_bytes};
}

/* May a block of `size` be had, which takes `more` bytes beside those in use? */
static int refused(struct mem *m, size_t size, size_t more)
{
    m->calls++;
    if (m->calls == m->fail_at || size > SIZE_MAX - sizeof(union head) ||
        (m->limit_bytes && (more > m->limit_bytes || m->used_bytes > m->limit_bytes - more))) {
        m->failed++;
        return 1;
    }
    return 0;
}

static void account(struct mem *m, size_t more)
{
    m->used_bytes += more;
    if (m->used_bytes > m->peak_bytes)
        m->peak_bytes = m->used_bytes;
}

void *mem_alloc(struct mem *m, size_t size)
{
    if (refused(m, size, size + sizeof(union head))) /* a sum that wraps is refused for its size */
        return NULL;
    union head *h = calloc(1, size + sizeof *h);
    if (!h) {
        m->failed++;
        return NULL;
    }
    h->size = size;
    account(m, size + sizeof *h);
    return h + 1;
}

void *mem_grow(struct mem *m, void *p, size_t size)
{
    if (!p)
        return mem_alloc(m, size);
    union head *h = (union head *)p - 1;
    size_t old = h->size;
    if (refused(m, size, size > old ? size - old : 0))
        return NULL;
    h = realloc(h, size + sizeof *h);
    if (!h) {
        m->failed++;
        return NULL;
    }
    h->size = size;
    m->used_bytes -= old;
    account(m, size);
    return h + 1;
}

void *mem_copy(struct mem *m, const void *p, size_t size)
{
    void *copy = mem_alloc(m, size);
    if (copy && size > 0)
        memcpy(copy, p, size);
    return copy;
}

void mem_free(struct mem *m, void *p)
{
    if (!p)
        return;
    union head *h = (union head *)p - 1;
    size_t size = h->size + sizeof *h;
    CHECK(size <= m->used_bytes);
    m->used_bytes -= size;
    free(h);
}
