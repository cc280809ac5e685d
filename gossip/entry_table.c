#include "gossip/entry_table.h"

#include <string.h>

enum { SIZE_MIN = 64 };

/* For this table alone: it decides no order, so that it may differ from machine to machine. */
static uint64_t key_hash(const struct record_key *key)
{
    uint64_t words[(sizeof *key + 7) / 8] = {0}, h = 0;
    memcpy(words, key, sizeof *key);
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        h = (h ^ words[i]) * UINT64_C(0x9fb21c651e98df25);
        h ^= h >> 32;
    }
    return h;
}

/* Where the key is, or would be. There is always a free cell. */
static size_t cell_of(const struct entry_table *t, const struct record_key *key, uint64_t hash)
{
    size_t mask = t->size - 1, at = (size_t)hash & mask;
    while (t->cells[at].entry &&
           (t->cells[at].hash != hash || !record_key_equal(&t->cells[at].entry->record.key, key)))
        at = (at + 1) & mask;
    return at;
}

struct entry *entry_table_find(const struct entry_table *t, const struct record_key *key)
{
    return t->size ? t->cells[cell_of(t, key, key_hash(key))].entry : NULL;
}

bool entry_table_room(struct entry_table *t, struct mem *mem)
{
    if (4 * ((size_t)t->count + 1) <= 3 * t->size)
        return true;
    const struct entry_table old = *t;
    size_t size = old.size ? 2 * old.size : SIZE_MIN;
    struct entry_cell *cells = mem_alloc(mem, size * sizeof *cells);
    if (!cells)
        return false;
    t->cells = cells;
    t->size = size;
    for (size_t i = 0; i < old.size; i++)
        if (old.cells[i].entry)
            cells[cell_of(t, &old.cells[i].entry->record.key, old.cells[i].hash)] = old.cells[i];
    mem_free(mem, old.cells);
    return true;
}

void entry_table_put(struct entry_table *t, struct entry *e)
{
    uint64_t hash = key_hash(&e->record.key);
    t->cells[cell_of(t, &e->record.key, hash)] = (struct entry_cell){.hash = hash, .entry = e};
    t->count++;
}

/* Those that follow move up, unless they are where they belong (Knuth, TAOCP 3, 6.4, algorithm R). */
void entry_table_remove(struct entry_table *t, const struct record_key *key)
{
    size_t mask = t->size - 1, hole = cell_of(t, key, key_hash(key));
    for (size_t at = (hole + 1) & mask; t->cells[at].entry; at = (at + 1) & mask) {
        size_t home = (size_t)t->cells[at].hash & mask;
        if (((at - home) & mask) < ((at - hole) & mask))
            continue;
        t->cells[hole] = t->cells[at];
        hole = at;
    }
    t->cells[hole] = (struct entry_cell){0};
    t->count--;
}

void entry_table_release(struct entry_table *t, struct mem *mem)
{
    mem_free(mem, t->cells);
    *t = (struct entry_table){0};
}
