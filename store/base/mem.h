/* A core's memory: a budget given at init, counted, and able to fail on purpose.
 *
 * Cores allocate through this and nothing else, so what a peer can make us hold is bounded, and a
 * test can fail the n-th allocation for every n. Not for threads: one budget, one owner. */
#ifndef UNIMESH_BASE_MEM_H
#define UNIMESH_BASE_MEM_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct mem {
    size_t limit_bytes; /* 0: no limit */
    size_t used_bytes;  /* what is out now, bookkeeping included */
    size_t peak_bytes;
    uint64_t calls;      /* allocations asked for so far */
    uint64_t fail_at;    /* the call of this number (from 1) fails; 0: none. For tests */
    uint64_t failed;     /* allocations refused so far, for either reason */
};

void mem_init(struct mem *m, size_t limit_bytes);
void *mem_alloc(struct mem *m, size_t size);               /* zeroed; NULL when the budget is spent */
void *mem_grow(struct mem *m, void *p, size_t size);       /* realloc; new bytes are not zeroed */
void *mem_copy(struct mem *m, const void *p, size_t size); /* a copy of size bytes */
void mem_free(struct mem *m, void *p);                     /* NULL is fine */

/* For tables in memory alone: it decides no order. Our keys are ids and hashes, evenly spread already. */
static inline unsigned mem_hash(const void *key, size_t len)
{
    const unsigned char *p = key;
    uint64_t h = len;
    while (len > 0) {
        uint64_t word = 0;
        size_t n = len < sizeof word ? len : sizeof word;
        memcpy(&word, p, n);
        h = (h ^ word) * UINT64_C(0x9fb21c651e98df25);
        h ^= h >> 32;
        p += n;
        len -= n;
    }
    return (unsigned)h;
}

/* uthash, bound to a budget: define UNIMESH_UTHASH before including this header, and have a
 * `struct mem *mem` in scope wherever a HASH_ADD or HASH_DELETE stands. An addition that found no
 * memory leaves the element out (test its hh.tbl). */
#ifdef UNIMESH_UTHASH
#define HASH_NONFATAL_OOM               1
#define uthash_malloc(size)             mem_alloc(mem, size)
#define uthash_free(p, size)            mem_free(mem, p)
#define uthash_nonfatal_oom(element)    ((void)(element))
#define HASH_FUNCTION(key, len, hashv)  ((hashv) = mem_hash((key), (len)))
#include <uthash.h>
/* Chains of ten, uthash's own measure, are some five cold cache lines a look-up. */
#undef HASH_BKT_CAPACITY_THRESH
#define HASH_BKT_CAPACITY_THRESH 4U
#endif

#endif
