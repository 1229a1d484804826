/* table_impl.h -- inside the dict: where a bucket is, what the key of an entry is.
 *
 * For table.c and the files of the dict beside it (table_*.c), and for those who must understand a
 * dict without trusting it (check_dict.c).  All of it only reads.
 */
#ifndef PMS_TABLE_IMPL_H
#define PMS_TABLE_IMPL_H

#include <string.h>

#include "hash.h"
#include "table.h"

#define PMS_DICT_AT(dict, field) ((dict) + offsetof(struct pms_dict_pm, field))
#define PMS_ENTRY_NEXT(entry) ((entry) + offsetof(struct pms_entry_pm, next))
#define PMS_ENTRY_PREV(entry) ((entry) + offsetof(struct pms_entry_pm, prev))
#define PMS_ENTRY_KEY(entry) ((entry) + sizeof(struct pms_entry_pm))

#define PMS_LINK_RETARGET(link, off) PMS_LINK(off, PMS_LINK_EXTRA(link))
#define PMS_LINK_IS_MORE(link) (PMS_LINK_EXTRA(link) == PMS_LINK_MORE)
#define PMS_KEY_EXTRA(tag, len) ((uint32_t)(tag) | (uint32_t)(len) << 8)
/* Word of the last link of the bucket line at off: the one that may lead to a further line. */
#define PMS_LINE_MORE(off) ((off) + 8u * (PMS_BUCKET_LINKS - 1))

/* A bucket is split when there are so many entries to each, and to one more. */
#define PMS_DICT_LOAD 4u

#define PMS_LEVEL_MAX 38u      /* no pool has room for 2^39 lines */
#define PMS_DICT_NODE_BITS 9u  /* of a segment's number, for each level of nodes */
#define PMS_DICT_HEIGHT_MAX 4u /* levels of nodes */
#define PMS_SEG_BYTES ((uint64_t)PMS_LINE * PMS_DICT_SEG_BUCKETS)
#define PMS_NODE_BYTES (8ull * PMS_DICT_NODE_WORDS)
static_assert(PMS_DICT_NODE_WORDS == 1u << PMS_DICT_NODE_BITS, "a digit names a word");
static_assert(PMS_DICT_SEG_BUCKETS == 64 && PMS_DICT_BLOCKS == 7, "block 6 is as a segment");

struct pms_dict_shape {
    uint32_t level;
    uint64_t split;
};

static inline int pms_dict_shape_of(uint64_t dict, uint64_t word, struct pms_dict_shape *out)
{
    out->level = (uint32_t)(word & 0xffu);
    out->split = word >> 8;
    if (PMS_UNLIKELY(out->level > PMS_LEVEL_MAX || out->split >> out->level ||
                     dict % PMS_LINE != 0))
        return PMS_FAIL(PMS_E_CORRUPT, "shape of a dict", dict, PMS_LEVEL_MAX, word);
    return PMS_OK;
}

static inline int pms_dict_shape(const struct pms_pool *pool, uint64_t dict,
                                 struct pms_dict_shape *out)
{
    return pms_dict_shape_of(dict, pms_get(pool, PMS_DICT_AT(dict, shape)), out);
}

/* The first line of the header, read at once. */
struct pms_dict_head {
    uint64_t count, first, last;
    struct pms_dict_shape shape;
};

static inline int pms_dict_head(const struct pms_pool *pool, uint64_t dict,
                                struct pms_dict_head *out)
{
    uint64_t room[8];
    if (PMS_UNLIKELY(dict % PMS_LINE != 0))
        return PMS_FAIL(PMS_E_CORRUPT, "place of a dict", dict, PMS_LINE, dict % PMS_LINE);
    const uint64_t *word = pms_rd_line(&pool->ws, dict, room);
    out->count = word[offsetof(struct pms_dict_pm, count) / 8];
    out->first = word[offsetof(struct pms_dict_pm, first) / 8];
    out->last = word[offsetof(struct pms_dict_pm, last) / 8];
    return pms_dict_shape_of(dict, word[offsetof(struct pms_dict_pm, shape) / 8], &out->shape);
}

static inline uint64_t pms_dict_buckets(const struct pms_dict_shape *shape)
{
    return (1ull << shape->level) + shape->split;
}

/* So few entries to a bucket that a delete joins two. */
static inline int pms_dict_is_roomy(uint64_t buckets, uint64_t count)
{
    return buckets > 1 && count < 2 * buckets;
}

/* ---- buckets and tags ---- */

struct pms_bucket {
    uint64_t number;
    uint32_t level; /* so many bits of the hash are the number */
};

static inline struct pms_bucket pms_dict_bucket_of(const struct pms_dict_shape *shape,
                                                   uint64_t hash)
{
    uint64_t mask = (1ull << shape->level) - 1, b = hash & mask;
    if (b >= shape->split)
        return (struct pms_bucket){b, shape->level};
    return (struct pms_bucket){hash & (mask << 1 | 1), shape->level + 1};
}

/* The first bit of the hash that the tags in a bucket of this level have. */
static inline uint32_t pms_tag_from(uint32_t level) { return level & ~15u; }

static inline uint32_t pms_dict_tag(uint64_t hash, uint32_t level)
{
    return (uint32_t)(hash >> pms_tag_from(level)) & (PMS_LINK_MORE - 1);
}

/* ---- where a bucket is ---- */

/* May a block of lines, or a node, lie at off? */
static inline int pms_lines_ok(const struct pms_pool *pool, uint64_t off, uint64_t bytes)
{
    return off % PMS_LINE == 0 && pms_off_ok(&pool->heap, off, bytes);
}

/* The block of bucket b < 2^PMS_DICT_BLOCKS: which, its first bucket, its bytes. */
static inline uint32_t pms_block_of(uint64_t b)
{
    return 63u - (uint32_t)__builtin_clzll(b | 1);
}
static inline uint64_t pms_block_first(uint32_t k) { return (1ull << k) & ~1ull; }
static inline uint64_t pms_block_bytes(uint32_t k) { return (uint64_t)PMS_LINE << (k ? k : 1); }

/* Levels of nodes above the segments; 0: there are no segments. */
static inline uint32_t pms_dict_height(const struct pms_dict_shape *shape)
{
    uint32_t bits = shape->level + (shape->split != 0); /* of the last bucket's number */
    return bits <= PMS_DICT_BLOCKS ? 0 : (bits + 2) / PMS_DICT_NODE_BITS;
}
/* The word in a node of level h (1: it leads to segments) for segment s. */
static inline uint64_t pms_node_word(uint64_t s, uint32_t h)
{
    return 8 * (s >> PMS_DICT_NODE_BITS * (h - 1) & (PMS_DICT_NODE_WORDS - 1));
}

/* Place of a bucket, b < buckets of the shape, which has more than one.  This and what calls it is
 * inlined by force: the calls were 34 of a get's 584 instructions. */
__attribute__((always_inline)) static inline int
pms_dict_far_bucket(const struct pms_pool *pool, uint64_t dict,
                    const struct pms_dict_shape *shape, uint64_t b, uint64_t *at)
{
    if (b >> PMS_DICT_BLOCKS == 0) {
        uint32_t k = pms_block_of(b);
        uint64_t block = pms_get(pool, PMS_DICT_AT(dict, line) + 8 * k);
        if (PMS_UNLIKELY(!pms_lines_ok(pool, block, pms_block_bytes(k))))
            return PMS_FAIL(PMS_E_CORRUPT, "buckets of a dict", dict, b, block);
        *at = block + PMS_LINE * (b - pms_block_first(k));
        return PMS_OK;
    }
    uint64_t s = b / PMS_DICT_SEG_BUCKETS, from = PMS_DICT_AT(dict, line) + 8 * PMS_DICT_BLOCKS;
    uint64_t page = pms_get(pool, from);
    for (uint32_t h = pms_dict_height(shape); h > 0; h--) {
        if (PMS_UNLIKELY(!pms_lines_ok(pool, page, PMS_NODE_BYTES)))
            return PMS_FAIL(PMS_E_CORRUPT, "tree of a dict's buckets", dict, from, page);
        from = page + pms_node_word(s, h);
        page = pms_get(pool, from);
    }
    if (PMS_UNLIKELY(!pms_lines_ok(pool, page, PMS_SEG_BYTES)))
        return PMS_FAIL(PMS_E_CORRUPT, "segment of a dict", dict, from, page);
    *at = page + PMS_LINE * (b % PMS_DICT_SEG_BUCKETS);
    return PMS_OK;
}

__attribute__((always_inline)) static inline int
pms_dict_bucket_at(const struct pms_pool *pool, uint64_t dict,
                   const struct pms_dict_shape *shape, uint64_t b, uint64_t *at)
{
    if (shape->level | shape->split)
        return pms_dict_far_bucket(pool, dict, shape, b, at);
    *at = PMS_DICT_AT(dict, line);
    return PMS_OK;
}

/* Bytes of a key that lies in its entry; the caller has checked where. */
static inline int pms_key_view(struct pms_pool *pool, uint64_t off, uint64_t len,
                               const void **data)
{
    *data = "";
    if (len == 0)
        return PMS_OK;
    *data = pms_view(pool, off, len);
    return *data ? PMS_OK : PMS_FAIL(PMS_E_NOMEM, "reading a key", off, len, 0);
}

/* The line that a link leads to, which PMS_LINK_IS_MORE. */
static inline int pms_bucket_more(const struct pms_pool *pool, uint64_t dict, uint64_t link,
                                  uint64_t *line)
{
    *line = PMS_LINK_OFF(link);
    if (PMS_UNLIKELY(!pms_lines_ok(pool, *line, PMS_LINE)))
        return PMS_FAIL(PMS_E_CORRUPT, "bucket of a dict", dict, PMS_LINE, link);
    return PMS_OK;
}

/* No bucket has more lines: as the count has it, unless that is damaged too.  An operation on many
 * keys writes the count at its end. */
static inline uint64_t pms_dict_bound(const struct pms_pool *pool, uint64_t dict)
{
    uint64_t count = pms_get(pool, PMS_DICT_AT(dict, count)) + PMS_DICT_MANY;
    uint64_t most = pool->super.size / PMS_ENTRY_MIN;
    return (count < most ? count : most) / (PMS_BUCKET_LINKS - 1) + 1;
}

static inline int pms_entry_ok(const struct pms_pool *pool, uint64_t entry)
{
    if (PMS_UNLIKELY(!pms_off_ok(&pool->heap, entry, PMS_ENTRY_MIN)))
        return PMS_FAIL(PMS_E_CORRUPT, "place of a dict entry", entry, PMS_ENTRY_MIN, 0);
    return PMS_OK;
}

/* The cell with the value of an entry that pms_entry_ok has passed: behind its key, all of which
 * is in the pool then.  extra: that of its `next`. */
static inline int pms_entry_value_of(const struct pms_pool *pool, uint64_t entry,
                                     uint32_t extra, uint64_t *cell)
{
    uint64_t before = sizeof(struct pms_entry_pm) + PMS_PAD8(extra >> 8);
    *cell = entry + before;
    if (PMS_UNLIKELY(before > pool->super.size - entry - sizeof(struct pms_cell_pm)))
        return PMS_FAIL(PMS_E_CORRUPT, "length of a dict entry's key", entry, before, extra);
    return PMS_OK;
}

static inline int pms_entry_value(const struct pms_pool *pool, uint64_t entry, uint64_t *cell)
{
    uint32_t extra = PMS_LINK_EXTRA(pms_get(pool, PMS_ENTRY_NEXT(entry)));
    return pms_entry_value_of(pool, entry, extra, cell);
}

static inline uint64_t pms_image_hash(const struct pms_pool *pool, uint32_t tag,
                                      const void *data, uint64_t len)
{
    return pms_hash(data, (size_t)len, pool->super.hash_seed ^ tag);
}

/* A far key's block: where it is, and its checked head. */
struct pms_far_key {
    uint64_t off;
    uint32_t tag;
    uint64_t image;  /* bytes at off + 16 */
    uint64_t stored; /* bytes at off + 16 + PMS_PAD8(image) */
};
int pms_entry_far_key(struct pms_pool *pool, uint64_t entry, struct pms_far_key *out);
/* The image of an entry's key: tag, num, data, len (data: as pms_rd_bytes). */
int pms_entry_image(struct pms_pool *pool, uint64_t entry, struct pms_key *out);
int pms_entry_hash(struct pms_pool *pool, uint64_t entry, uint64_t *hash);

static inline uint64_t pms_number_hash(const struct pms_pool *pool, uint32_t tag, uint64_t num)
{
    return pms_image_hash(pool, tag, &num, 8);
}

/* The hash of a key that pms_key_normal has passed. */
static inline uint64_t pms_image_key_hash(const struct pms_pool *pool,
                                          const struct pms_key *key)
{
    if (key->tag == PMS_TAG_INT || key->tag == PMS_TAG_FLOAT)
        return pms_number_hash(pool, key->tag, key->num);
    if (key->tag == PMS_TAG_NONE)
        return pms_image_hash(pool, PMS_TAG_NONE, "", 0);
    return pms_image_hash(pool, key->tag, key->data, key->len);
}

/* The key with its true image: a float as the caller has it may be integral, or any NaN. */
static inline const struct pms_key *pms_key_normal(const struct pms_key *key,
                                                   struct pms_key *room)
{
    if (PMS_LIKELY(key->tag != PMS_TAG_FLOAT))
        return key;
    *room = *key;
    pms_key_image_float(key->num, &room->tag, &room->num);
    if (room->tag == PMS_TAG_INT) {
        room->stored_tag = PMS_TAG_FLOAT;
        room->stored_num = key->num;
    }
    return room;
}

/* Where in its bucket a link is, or (PMS_MISSING) would be appended. */
struct pms_place {
    uint64_t line;
    uint64_t before; /* the line that leads to it; 0: it is the bucket's first */
    uint32_t index;  /* PMS_BUCKET_LINKS: the line is full, and is the bucket's last */
    uint64_t entry;
    uint64_t value; /* its cell, if it was looked for by its key */
    struct pms_bucket bucket;
};
/* The bucket for keys with this hash, and its first line. */
__attribute__((always_inline)) static inline int
pms_dict_place(const struct pms_pool *pool, uint64_t dict, const struct pms_dict_shape *shape,
               uint64_t hash, struct pms_place *place)
{
    place->bucket = pms_dict_bucket_of(shape, hash);
    return pms_dict_bucket_at(pool, dict, shape, place->bucket.number, &place->line);
}
/* From where pms_dict_place has led.  hash is that of the key, and the key is normal.  PMS_MISSING:
 * the place behind the bucket's last link. */
int pms_dict_find(struct pms_pool *pool, uint64_t dict, const struct pms_key *key,
                  uint64_t hash, struct pms_place *place);
/* The link to an entry with this hash.  entry 0: PMS_MISSING, as pms_dict_find. */
int pms_dict_find_entry(struct pms_pool *pool, uint64_t dict,
                        const struct pms_dict_shape *shape, uint64_t entry, uint64_t hash,
                        struct pms_place *place);

/* table_bucket.c: append a link; take one away. */
int pms_bucket_append(struct pms_pool *pool, const struct pms_place *place, uint64_t link);
int pms_bucket_remove(struct pms_pool *pool, uint64_t dict, const struct pms_place *place);
/* ... divide bucket `from` by the bit behind its level: into lines at to[0] and to[1]. */
int pms_bucket_divide(struct pms_pool *pool, uint64_t dict, uint64_t from, uint32_t level,
                      const uint64_t to[2]);
/* ... join what is at from[0] and from[1], of this level and numbers, into a line at `to`. */
int pms_bucket_join(struct pms_pool *pool, uint64_t dict, const uint64_t from[2],
                    const uint64_t number[2], uint32_t level, uint64_t to);

/* table_ahead.c: ask for the line of a bucket of this shape.  Says nothing. */
void pms_split_ahead(const struct pms_pool *pool, uint32_t level, const uint64_t to[2]);
void pms_bucket_ahead(const struct pms_pool *pool, uint64_t dict,
                      const struct pms_dict_shape *shape, uint64_t b);

/* table_grow.c: one more bucket, and *shape is the new one; one bucket less. */
int pms_dict_split(struct pms_pool *pool, uint64_t dict, struct pms_dict_shape *shape);
int pms_dict_merge(struct pms_pool *pool, uint64_t dict);

#endif
