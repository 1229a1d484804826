/* table_grow.c -- the dict's buckets come and go one by one.
 *
 *   level 3, split 2:    buckets 0 .. 7   8   9        the next insert may split bucket 2
 *                                         ^   ^        into 2 and 10: what is in 2 is divided
 *                                 of 0 ---+   +--- of 1    by bit 3 of the hash
 *
 * Invariants:
 *   G1  a bucket holds exactly the entries whose hash leads to it under the present shape
 *   G2  level k has a block exactly if a bucket in [2^k, 2^(k+1)) exists; of a level with
 *       segments, the segments up to that of the last bucket exist
 *   G3  directory words of levels without a block are 0; the directory itself goes with level 3
 *
 * A bucket block is filled with zeroes once, when the split reaches it: at most 32 KiB for every
 * 4096 inserts, and (in a dict of more than 2^30 buckets) a block of offsets in each level.  The
 * word of a bucket that a merge has given up may be stale until the split comes back to it.
 */
#include "table_impl.h"

static int put_shape(struct pms_pool *pool, uint64_t dict, uint32_t level, uint64_t split)
{
    pms_put(pool, PMS_DICT_AT(dict, shape), level | split << 8);
    return PMS_OK;
}

static int make_directory(struct pms_pool *pool, uint64_t dict, uint64_t *dir)
{
    PMS_TRY(pms_alloc(&pool->heap, 8ull * PMS_DICT_DIR_WORDS, dir));
    pms_init_zero(&pool->ws, *dir, 8ull * PMS_DICT_DIR_WORDS);
    pms_put(pool, PMS_DICT_AT(dict, dir), *dir);
    return PMS_OK;
}

/* Allocate what bucket b, the first beyond the present ones, needs. */
static int make_room(struct pms_pool *pool, uint64_t dict, uint32_t k, uint64_t index)
{
    uint64_t dir = pms_get(pool, PMS_DICT_AT(dict, dir)), block, segment;
    if (index % PMS_DICT_SEG_BUCKETS)
        return PMS_OK;
    if (dir == 0)
        PMS_TRY(make_directory(pool, dict, &dir));
    if (!pms_off_ok(&pool->heap, dir, 8ull * PMS_DICT_DIR_WORDS))
        return PMS_FAIL(PMS_E_CORRUPT, "directory of a dict", dict, k, dir);
    uint64_t word = dir + 8 * (k - PMS_LEVEL_MIN);
    if (index == 0) {
        PMS_TRY(pms_alloc(&pool->heap, pms_level_bytes(k), &block));
        pms_init_zero(&pool->ws, block, pms_level_bytes(k));
        pms_put(pool, word, block);
    }
    if (1ull << k <= PMS_DICT_SEG_BUCKETS)
        return PMS_OK;
    block = pms_get(pool, word);
    if (!pms_off_ok(&pool->heap, block, pms_level_bytes(k)))
        return PMS_FAIL(PMS_E_CORRUPT, "buckets of a dict", dict, k, block);
    PMS_TRY(pms_alloc(&pool->heap, PMS_SEG_BYTES, &segment));
    pms_init_zero(&pool->ws, segment, PMS_SEG_BYTES);
    pms_put(pool, block + 8 * (index / PMS_DICT_SEG_BUCKETS), segment);
    return PMS_OK;
}

/* Divide the chain at at[0]: entries with the bit go to the chain at at[1], whose word means
 * nothing yet. */
static int divide(struct pms_pool *pool, uint64_t dict, uint64_t bit, const uint64_t at[2])
{
    uint64_t tail[2] = {at[0], at[1]};
    uint64_t link = pms_get(pool, at[0]), hash;
    uint64_t left = pms_dict_bound(pool, dict);
    int stale = 1; /* the word at tail[1] means nothing */
    for (uint64_t entry; (entry = PMS_LINK_OFF(link)) != 0; left--) {
        PMS_TRY(pms_entry_ok(pool, entry));
        if (left == 0)
            return PMS_FAIL(PMS_E_CORRUPT, "chain of a dict", dict, 0, entry);
        PMS_TRY(pms_entry_hash(pool, entry, &hash));
        int side = (hash & bit) != 0;
        if ((side && stale) || pms_get(pool, tail[side]) != link)
            pms_put(pool, tail[side], link);
        stale = stale && !side;
        tail[side] = PMS_ENTRY_CHAIN(entry);
        link = pms_get(pool, tail[side]);
    }
    for (int side = 0; side < 2; side++)
        if ((side && stale) || pms_get(pool, tail[side]) != 0)
            pms_put(pool, tail[side], 0);
    return PMS_OK;
}

int pms_dict_split(struct pms_pool *pool, uint64_t dict)
{
    struct pms_dict_shape shape;
    uint64_t at[2] = {0, 0};
    PMS_TRY(pms_dict_shape(pool, dict, &shape));
    uint64_t half = 1ull << shape.level;
    PMS_TRY(make_room(pool, dict, shape.level, shape.split));
    PMS_TRY(pms_dict_bucket_at(pool, dict, shape.split, &at[0]));
    PMS_TRY(pms_dict_bucket_at(pool, dict, half + shape.split, &at[1]));
    PMS_TRY(divide(pool, dict, half, at));
    if (shape.split + 1 == half)
        return put_shape(pool, dict, shape.level + 1, 0);
    return put_shape(pool, dict, shape.level, shape.split + 1);
}

/* Append the chain of the word `from` to that of the word `to`. */
static int join(struct pms_pool *pool, uint64_t dict, uint64_t from, uint64_t to)
{
    uint64_t moved = pms_get(pool, from), link;
    uint64_t left = pms_dict_bound(pool, dict);
    if (moved == 0)
        return PMS_OK;
    for (; (link = pms_get(pool, to)) != 0; to = PMS_ENTRY_CHAIN(PMS_LINK_OFF(link))) {
        PMS_TRY(pms_entry_ok(pool, PMS_LINK_OFF(link)));
        if (left-- == 0)
            return PMS_FAIL(PMS_E_CORRUPT, "chain of a dict", dict, 0, link);
    }
    pms_put(pool, to, moved);
    return PMS_OK;
}

/* Give back what the last bucket of its block leaves behind: index is its number in level k. */
static int free_room(struct pms_pool *pool, uint64_t dict, uint32_t k, uint64_t index)
{
    if (index % PMS_DICT_SEG_BUCKETS)
        return PMS_OK;
    uint64_t dir = pms_get(pool, PMS_DICT_AT(dict, dir));
    uint64_t word = dir + 8 * (k - PMS_LEVEL_MIN);
    uint64_t block = pms_get(pool, word); /* pms_dict_bucket_at has checked it */
    if (1ull << k > PMS_DICT_SEG_BUCKETS)
        PMS_TRY(
            pms_free(&pool->heap, pms_get(pool, block + 8 * (index / PMS_DICT_SEG_BUCKETS))));
    if (index)
        return PMS_OK;
    PMS_TRY(pms_free(&pool->heap, block));
    if (k > PMS_LEVEL_MIN) {
        pms_put(pool, word, 0);
        return PMS_OK;
    }
    pms_put(pool, PMS_DICT_AT(dict, dir), 0);
    return pms_free(&pool->heap, dir);
}

int pms_dict_merge(struct pms_pool *pool, uint64_t dict)
{
    struct pms_dict_shape shape;
    uint64_t from = 0, to = 0;
    PMS_TRY(pms_dict_shape(pool, dict, &shape));
    if (shape.split == 0) {
        if (shape.level == PMS_LEVEL_MIN)
            return PMS_OK;
        shape.level--;
        shape.split = 1ull << shape.level;
    }
    shape.split--;
    PMS_TRY(pms_dict_bucket_at(pool, dict, (1ull << shape.level) + shape.split, &from));
    PMS_TRY(pms_dict_bucket_at(pool, dict, shape.split, &to));
    PMS_TRY(join(pool, dict, from, to));
    PMS_TRY(free_room(pool, dict, shape.level, shape.split));
    return put_shape(pool, dict, shape.level, shape.split);
}
