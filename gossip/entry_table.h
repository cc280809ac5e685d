/* Entries by key: open addressing, linear probing, at most three quarters full. Holds pointers; the entries are the
 * caller's and must not move while they are in it. Private to gossip/. */
#ifndef UNIMESH_GOSSIP_ENTRY_TABLE_H
#define UNIMESH_GOSSIP_ENTRY_TABLE_H

#include "gossip/replica.h"

struct entry_table { /* zeroed is empty */
    struct entry_cell {
        uint64_t hash;
        struct entry *entry; /* NULL: free */
    } *cells;
    size_t size; /* a power of two, or 0 */
    uint32_t count;
};

struct entry *entry_table_find(const struct entry_table *t, const struct record_key *key); /* NULL: none */
/* Make room for one more. False: no memory, and nothing has changed. */
bool entry_table_room(struct entry_table *t, struct mem *mem);
/* The key must not be in it, and there must be room. */
void entry_table_put(struct entry_table *t, struct entry *e);
void entry_table_remove(struct entry_table *t, const struct record_key *key); /* it must be in it */
void entry_table_release(struct entry_table *t, struct mem *mem);

#endif
