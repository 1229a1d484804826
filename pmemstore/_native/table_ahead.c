/* table_ahead.c -- the persistent dict: keys that are about to be stored.
 *
 * A bucket of a large dict is in no cache, and a put waits for its line.  Where many keys are known,
 * as update() knows them, the lines are asked for first, all at once.
 *
 * Only a hint: it reads the mapping, past what the open unit has changed, and where a word of it is
 * not what it should be it asks for nothing.  Whoever stores the key sees what is wrong.
 */
#include "table_impl.h"

static inline uint64_t word_at(const struct pms_pool *pool, uint64_t off)
{
    uint64_t word;
    memcpy(&word, pool->ws.medium->base + off, sizeof word);
    return word;
}

/* Place of the block or segment that bucket b is in, and the bucket's number there; 0: unknown. */
static uint64_t place_of(const struct pms_pool *pool, uint64_t dict,
                         const struct pms_dict_shape *shape, uint64_t *b)
{
    if (*b >> PMS_DICT_BLOCKS == 0) {
        uint32_t k = pms_block_of(*b);
        uint64_t block = word_at(pool, PMS_DICT_AT(dict, line) + 8 * k);
        *b -= pms_block_first(k);
        return pms_lines_ok(pool, block, pms_block_bytes(k)) ? block : 0;
    }
    uint64_t s = *b / PMS_DICT_SEG_BUCKETS;
    uint64_t page = word_at(pool, PMS_DICT_AT(dict, line) + 8 * PMS_DICT_BLOCKS);
    for (uint32_t h = pms_dict_height(shape); h > 0; h--) {
        if (!pms_lines_ok(pool, page, PMS_NODE_BYTES))
            return 0;
        page = word_at(pool, page + pms_node_word(s, h));
    }
    *b %= PMS_DICT_SEG_BUCKETS;
    return pms_lines_ok(pool, page, PMS_SEG_BYTES) ? page : 0;
}

void pms_bucket_ahead(const struct pms_pool *pool, uint64_t dict,
                      const struct pms_dict_shape *shape, uint64_t b)
{
    uint64_t lines = pms_dict_buckets(shape) > 1 ? place_of(pool, dict, shape, &b) : 0;
    if (lines)
        __builtin_prefetch(pool->ws.medium->base + lines + PMS_LINE * b);
}

/* A bucket was divided, its halves lie at `to`: what the next splits read.  Their buckets are mostly the
 * lines behind these.  If tags get other bits, so are the entries: those of the next bucket, whose
 * line was asked for one split ago. */
void pms_split_ahead(const struct pms_pool *pool, uint32_t level, const uint64_t to[2])
{
    const uint8_t *base = pool->ws.medium->base;
    uint64_t next = to[0] + PMS_LINE;
    for (int i = 0; i < 2; i++)
        __builtin_prefetch(base + to[i] + 2 * PMS_LINE, 1);
    if (pms_tag_from(level) == pms_tag_from(level + 1) || next % PMS_SEG_BYTES == 0)
        return;
    for (uint32_t i = 0; i < PMS_BUCKET_LINKS; i++)
        __builtin_prefetch(base + PMS_LINK_OFF(word_at(pool, next + 8 * i)));
}

void pms_dict_ahead(const struct pms_pool *pool, uint64_t dict, const struct pms_key *key)
{
    struct pms_key room;
    if (!pms_off_ok(&pool->heap, dict, sizeof(struct pms_dict_pm)))
        return;
    uint64_t word = word_at(pool, PMS_DICT_AT(dict, shape));
    struct pms_dict_shape shape = {.level = (uint32_t)(word & 0xffu), .split = word >> 8};
    if (shape.level > PMS_LEVEL_MAX || shape.split >> shape.level)
        return;
    uint64_t hash = pms_image_key_hash(pool, pms_key_normal(key, &room));
    pms_bucket_ahead(pool, dict, &shape, pms_dict_bucket_of(&shape, hash).number);
}
