/* sorted_walk.c -- the persistent sorted dict: many entries at once.
 *
 * Entries lie anywhere, each a few cache misses away.  So who wants many reads the references of a
 * leaf, asks for all of their entries, and then reads them: the misses overlap.
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

/* More entries are wanted than the path's leaf has.  A wrong offset does no harm. */
static void fetch_next(const struct pms_pool *pool, const struct pms_sorted *sorted,
                       const struct pms_sorted_path *path)
{
    if (sorted->height == 0 || path->at[1] + 1 >= path->used[1])
        return;
    uintptr_t leaf = (uintptr_t)pool->ws.medium->base +
                     pms_get(pool, pms_sorted_kid(path->off[1], path->at[1] + 1));
    for (uint32_t at = 0; at < sizeof(struct pms_sorted_leaf_pm); at += PMS_LINE)
        __builtin_prefetch((const void *)(leaf + at));
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
    if (count < most)
        fetch_next(pool, &sorted, &path);
    if (PMS_LIKELY(pool->ws.overlay.count == 0))
        return run_of_leaf(pool, &path, count, out->entry);
    for (uint32_t i = 0; i < count; i++) {
        PMS_TRY(pms_sorted_slot(pool, path.off[0], used, first + i, &slot));
        out->entry[i] = pms_get(pool, pms_sorted_ref(path.off[0], slot));
    }
    return PMS_OK;
}
