/* table_grow.c -- the dict's buckets come and go one by one.
 *
 *   level 3, split 2:    buckets 0 .. 7   8   9        the next split divides bucket 2
 *                                         ^   ^        into 2 and 10: what is in 2 is divided
 *                                 of 0 ---+   +--- of 1    by bit 3 of the hash
 *
 * Invariants:
 *   G1  a bucket holds exactly the links to entries whose hash leads to it under the present shape
 *   G2  with more than one bucket: block k exists exactly if a bucket in [2^k, 2^(k+1)) exists
 *       (block 0: buckets 0 and 1); segments and nodes exactly those up to that of the last
 *       bucket, and the tree is no higher than it must be
 *   G3  words of blocks, nodes and segments that do not exist are 0
 *
 * Blocks, segments and nodes are at most a page, filled with zeroes when they come: so no insert
 * costs more than a constant number of lines.  The line of a bucket that a merge has given up
 * may be stale until the split comes back to it, and writes all of it.
 */
#include "table_impl.h"

#define TOP(dict) (PMS_DICT_AT(dict, line) + 8 * PMS_DICT_BLOCKS) /* word of the highest node */

static void put_shape(struct pms_pool *pool, uint64_t dict, const struct pms_dict_shape *shape)
{
    pms_put(pool, PMS_DICT_AT(dict, shape), shape->level | shape->split << 8);
}

static int new_block(struct pms_pool *pool, uint64_t bytes, uint64_t *off)
{
    PMS_TRY(pms_alloc(&pool->heap, bytes, off));
    pms_init_zero(&pool->ws, *off, bytes);
    return PMS_OK;
}

/* Is segment s the first below its word in a node of level h? */
static inline int is_first(uint64_t s, uint32_t h)
{
    return (s & ((1ull << PMS_DICT_NODE_BITS * (h - 1)) - 1)) == 0;
}

static int node_ok(const struct pms_pool *pool, uint64_t dict, uint64_t node, uint64_t from)
{
    if (!pms_lines_ok(pool, node, PMS_NODE_BYTES))
        return PMS_FAIL(PMS_E_CORRUPT, "tree of a dict's buckets", dict, from, node);
    return PMS_OK;
}

/* A segment for bucket b, its first, and nodes that lead to it.  old, now: height of the tree
 * without it, and with it. */
static int add_segment(struct pms_pool *pool, uint64_t dict, uint64_t b, uint32_t old,
                       uint32_t now)
{
    uint64_t s = b / PMS_DICT_SEG_BUCKETS, at = TOP(dict), node = pms_get(pool, at), under;
    if (now > old) {
        under = node;
        PMS_TRY(new_block(pool, PMS_NODE_BYTES, &node));
        if (old)
            pms_put(pool, node, under);
        pms_put(pool, at, node);
    }
    for (uint32_t h = now; h > 0; h--) {
        PMS_TRY(node_ok(pool, dict, node, at));
        at = node + pms_node_word(s, h);
        if (h == 1 || is_first(s, h)) {
            PMS_TRY(new_block(pool, h == 1 ? PMS_SEG_BYTES : PMS_NODE_BYTES, &node));
            pms_put(pool, at, node);
        } else {
            node = pms_get(pool, at);
        }
    }
    return PMS_OK;
}

/* Bucket b, the last, goes with its segment, of which it was the first, and with nodes that led
 * to nothing else. */
static int drop_segment(struct pms_pool *pool, uint64_t dict, uint64_t b, uint32_t old,
                        uint32_t now)
{
    uint64_t s = b / PMS_DICT_SEG_BUCKETS, node[PMS_DICT_HEIGHT_MAX + 1], at = TOP(dict);
    node[old] = pms_get(pool, at);
    for (uint32_t h = old; h > 0; h--) {
        PMS_TRY(node_ok(pool, dict, node[h], at));
        at = node[h] + pms_node_word(s, h);
        node[h - 1] = pms_get(pool, at);
    }
    for (uint32_t h = 1; h <= old; h++) {
        PMS_TRY(pms_free(&pool->heap, node[h - 1]));
        pms_put(pool, node[h] + pms_node_word(s, h), 0);
        if (h == old || !is_first(s, h + 1))
            break;
    }
    if (now == old)
        return PMS_OK;
    pms_put(pool, TOP(dict), now ? pms_get(pool, node[old]) : 0);
    return pms_free(&pool->heap, node[old]);
}

/* What the last bucket of the shape `now` needs, which that of `old` lacks. */
static int make_room(struct pms_pool *pool, uint64_t dict, const struct pms_dict_shape *old,
                     const struct pms_dict_shape *now)
{
    uint64_t b = pms_dict_buckets(old), block;
    if (b >> PMS_DICT_BLOCKS) {
        if (b % PMS_DICT_SEG_BUCKETS)
            return PMS_OK;
        return add_segment(pool, dict, b, pms_dict_height(old), pms_dict_height(now));
    }
    uint32_t k = pms_block_of(b);
    if (b != pms_block_first(k))
        return PMS_OK;
    PMS_TRY(new_block(pool, pms_block_bytes(k), &block));
    pms_put(pool, PMS_DICT_AT(dict, line) + 8 * k, block);
    return PMS_OK;
}

/* Bucket b, the last of the shape `old`, is empty: give back what it leaves behind. */
static int free_room(struct pms_pool *pool, uint64_t dict, const struct pms_dict_shape *old,
                     const struct pms_dict_shape *now)
{
    uint64_t b = pms_dict_buckets(now), word;
    if (b >> PMS_DICT_BLOCKS) {
        if (b % PMS_DICT_SEG_BUCKETS)
            return PMS_OK;
        return drop_segment(pool, dict, b, pms_dict_height(old), pms_dict_height(now));
    }
    uint32_t k = pms_block_of(b);
    if (b != pms_block_first(k))
        return PMS_OK;
    word = PMS_DICT_AT(dict, line) + 8 * k;
    PMS_TRY(pms_free(&pool->heap, pms_get(pool, word)));
    pms_put(pool, word, 0);
    return PMS_OK;
}

/* From one bucket, the header's line, to two in a block, and the words of the line mean blocks. */
static int split_first(struct pms_pool *pool, uint64_t dict)
{
    uint64_t line = PMS_DICT_AT(dict, line), block;
    PMS_TRY(new_block(pool, pms_block_bytes(0), &block));
    const uint64_t to[2] = {block, block + PMS_LINE};
    PMS_TRY(pms_bucket_divide(pool, dict, line, 0, to));
    pms_put(pool, line, block);
    for (uint32_t i = 1; i < PMS_BUCKET_LINKS; i++)
        pms_put(pool, line + 8 * i, 0);
    return PMS_OK;
}

static int merge_first(struct pms_pool *pool, uint64_t dict)
{
    static const uint64_t number[2] = {0, 1};
    const struct pms_dict_shape two = {.level = 1};
    uint64_t from[2] = {0, 0};
    for (int i = 0; i < 2; i++)
        PMS_TRY(pms_dict_bucket_at(pool, dict, &two, number[i], &from[i]));
    PMS_TRY(pms_bucket_join(pool, dict, from, number, 1, PMS_DICT_AT(dict, line)));
    return pms_free(&pool->heap, from[0]);
}

int pms_dict_split(struct pms_pool *pool, uint64_t dict, struct pms_dict_shape *shape)
{
    struct pms_dict_shape old = *shape, now = old;
    uint64_t to[2] = {0, 0};
    if (++now.split >> now.level)
        now = (struct pms_dict_shape){.level = old.level + 1};
    if (now.level > PMS_LEVEL_MAX)
        return PMS_FAIL(PMS_E_CORRUPT, "shape of a dict", dict, PMS_LEVEL_MAX, now.level);
    if (old.level == 0) {
        PMS_TRY(split_first(pool, dict));
    } else {
        PMS_TRY(make_room(pool, dict, &old, &now));
        PMS_TRY(pms_dict_bucket_at(pool, dict, &now, old.split, &to[0]));
        PMS_TRY(pms_dict_bucket_at(pool, dict, &now, pms_dict_buckets(&old), &to[1]));
        PMS_TRY(pms_bucket_divide(pool, dict, to[0], old.level, to));
        pms_split_ahead(pool, now.level, to);
    }
    put_shape(pool, dict, &now);
    *shape = now;
    return PMS_OK;
}

int pms_dict_merge(struct pms_pool *pool, uint64_t dict)
{
    struct pms_dict_shape old, now;
    uint64_t from[2] = {0, 0};
    PMS_TRY(pms_dict_shape(pool, dict, &old));
    now = old;
    if (now.split == 0) {
        if (now.level == 0)
            return PMS_OK;
        now.level--;
        now.split = 1ull << now.level;
    }
    now.split--;
    if (now.level == 0) {
        PMS_TRY(merge_first(pool, dict));
    } else {
        const uint64_t number[2] = {now.split, pms_dict_buckets(&now)};
        for (int i = 0; i < 2; i++)
            PMS_TRY(pms_dict_bucket_at(pool, dict, &old, number[i], &from[i]));
        PMS_TRY(pms_bucket_join(pool, dict, from, number, now.level + 1, from[0]));
        PMS_TRY(free_room(pool, dict, &old, &now));
    }
    put_shape(pool, dict, &now);
    return PMS_OK;
}
