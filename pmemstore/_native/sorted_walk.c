/* sorted_walk.c -- the persistent sorted dict: many entries at once.
 *
 * Entries lie anywhere, each a few cache misses away.  So the references of a leaf are read first
 * and all of their entries are asked for, then each is read: the misses overlap.
 *
 * Checks and invariants are those of sorted.c.
 */
#include "sorted_tree.h"

/* Nothing is in the overlay: all words are those of the mapping. */
static int run_of_leaf(const struct pms_pool *pool, const struct pms_sorted_path *path,
                       uint32_t count, uint64_t *entry)
{
    const uint8_t *leaf = (const uint8_t *)pool->ws.medium->base + path->off[0];
    const uint8_t *order = leaf + pms_sorted_order(0, 0) + path->at[0];
    for (uint32_t i = 0; i < count; i++) {
        uint32_t slot = order[i];
        if (PMS_UNLIKELY(slot >= path->used[0]))
            return PMS_FAIL(PMS_E_CORRUPT, "order of a sorted dict's leaf", path->off[0],
                            path->used[0], slot);
        memcpy(&entry[i], leaf + pms_sorted_ref(0, slot), 8);
    }
    return PMS_OK;
}

int pms_sorted_run(struct pms_pool *pool, uint64_t off, uint64_t index, uint64_t most,
                   struct pms_sorted_run *out)
{
    struct pms_sorted sorted;
    struct pms_sorted_path path;
    uint32_t slot;
    PMS_TRY(pms_sorted_load(pool, off, &sorted));
    if (index >= sorted.count)
        return PMS_MISSING;
    PMS_TRY(pms_sorted_seek(pool, &sorted, index, &path));
    uint32_t first = path.at[0], used = path.used[0], count = used - first;
    if (count > most)
        count = (uint32_t)most;
    out->count = count;
    if (PMS_LIKELY(pool->ws.overlay.count == 0))
        return run_of_leaf(pool, &path, count, out->entry);
    for (uint32_t i = 0; i < count; i++) {
        PMS_TRY(pms_sorted_slot(pool, path.off[0], used, first + i, &slot));
        out->entry[i] = pms_get(pool, pms_sorted_ref(path.off[0], slot));
    }
    return PMS_OK;
}

/* The key of an entry that lies in the heap: mostly a number, or bytes behind the cells. */
static inline int read_key(struct pms_pool *pool, uint64_t entry, struct pms_val *key)
{
    uint64_t word[2], inner = entry + sizeof(struct pms_sorted_entry_pm);
    memcpy(word, (const uint8_t *)pool->ws.medium->base + entry, sizeof word); /* S7 */
    uint32_t tag = PMS_CELL_TAG(word[0]);
    if ((tag == PMS_TAG_STR || tag == PMS_TAG_BYTES) &&
        (PMS_CELL_FLAGS(word[0]) & (PMS_CELL_SHORT | PMS_CELL_INNER)) == PMS_CELL_INNER &&
        word[1] == inner && pms_off_ok(&pool->heap, inner, PMS_CELL_LEN(word[0]))) {
        *key = (struct pms_val){
            .tag = tag, .data = pms_view_block(pool, inner), .len = PMS_CELL_LEN(word[0])};
        return PMS_OK;
    }
    return pms_sorted_entry(pool, entry, key, NULL);
}

int pms_sorted_walk(struct pms_pool *pool, const struct pms_sorted_run *run, uint32_t from,
                    int keys, int values, struct pms_sorted_item *out, uint32_t *count)
{
    uint32_t end = run->count;
    uint64_t bytes = 0;
    *count = 0;
    /* The words of a value may be in the overlay, and views of two share the scratch memory. */
    if (PMS_UNLIKELY(pool->ws.overlay.count != 0) && from < end)
        end = from + 1;
    for (uint32_t i = from; i < end && bytes <= PMS_SORTED_WALK_BYTES; i++, out++, ++*count) {
        uint64_t entry = run->entry[i];
        if (PMS_UNLIKELY(!pms_off_ok(&pool->heap, entry, sizeof(struct pms_sorted_entry_pm))))
            return PMS_FAIL(PMS_E_CORRUPT, "place of a sorted dict's entry", entry, 0, 0);
        if (keys)
            PMS_TRY(read_key(pool, entry, &out->key));
        if (values) {
            PMS_TRY(pms_cell_read(pool, PMS_SORTED_VALUE(entry), &out->value));
            bytes += out->value.len;
            if (pms_tag_is_bytes(out->value.tag)) {
                __builtin_prefetch(out->value.data);
                __builtin_prefetch((const uint8_t *)out->value.data + out->value.len);
            }
        }
    }
    return PMS_OK;
}
