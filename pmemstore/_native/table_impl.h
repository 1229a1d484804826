/* table_impl.h -- inside the dict: where a bucket is, what the key of an entry is.
 *
 * For table.c, table_edit.c and table_grow.c, and for those who must understand a dict without trusting it
 * (check.c).  All of it only reads.
 */
#ifndef PMS_TABLE_IMPL_H
#define PMS_TABLE_IMPL_H

#include <string.h>

#include "hash.h"
#include "table.h"

#define PMS_DICT_AT(dict, field) ((dict) + offsetof(struct pms_dict_pm, field))
#define PMS_ENTRY_CHAIN(entry) ((entry) + offsetof(struct pms_entry_pm, chain))
#define PMS_ENTRY_NEXT(entry) ((entry) + offsetof(struct pms_entry_pm, next))
#define PMS_ENTRY_PREV(entry) ((entry) + offsetof(struct pms_entry_pm, prev))
#define PMS_ENTRY_VALUE(entry) ((entry) + offsetof(struct pms_entry_pm, value))
#define PMS_ENTRY_KEY(entry) ((entry) + sizeof(struct pms_entry_pm))

/* The smallest entry's block, and with it the first word of the key, if there is a key. */
#define PMS_ENTRY_MIN (sizeof(struct pms_entry_pm) + 8)

#define PMS_HASH_TAG(hash) ((uint32_t)((hash) >> 40))
#define PMS_LINK_RETARGET(link, off) PMS_LINK(off, PMS_LINK_EXTRA(link))
#define PMS_KEY_EXTRA(tag, len) ((uint32_t)(tag) | (uint32_t)(len) << 8)

#define PMS_LEVEL_MIN 3u
#define PMS_LEVEL_MAX (PMS_LEVEL_MIN + PMS_DICT_DIR_WORDS - 1)
#define PMS_SEG_BYTES (8ull * PMS_DICT_SEG_BUCKETS)

struct pms_dict_shape {
    uint32_t level;
    uint64_t split;
};

static inline int pms_dict_shape(const struct pms_pool *pool, uint64_t dict,
                                 struct pms_dict_shape *out)
{
    uint64_t word = pms_get(pool, PMS_DICT_AT(dict, shape));
    out->level = (uint32_t)(word & 0xffu);
    out->split = word >> 8;
    if (PMS_UNLIKELY(out->level - PMS_LEVEL_MIN >= PMS_LEVEL_MAX - PMS_LEVEL_MIN ||
                     out->split >> out->level))
        return PMS_FAIL(PMS_E_CORRUPT, "shape of a dict", dict, PMS_LEVEL_MIN, word);
    return PMS_OK;
}

static inline uint64_t pms_dict_buckets(const struct pms_dict_shape *shape)
{
    return (1ull << shape->level) + shape->split;
}

static inline uint64_t pms_dict_bucket_of(const struct pms_dict_shape *shape, uint64_t hash)
{
    uint64_t mask = (1ull << shape->level) - 1;
    uint64_t bucket = hash & mask;
    return bucket < shape->split ? hash & (mask << 1 | 1) : bucket;
}

/* Bytes of the block that the directory word of level k leads to. */
static inline uint64_t pms_level_bytes(uint32_t k)
{
    uint64_t buckets = 1ull << k;
    return buckets <= PMS_DICT_SEG_BUCKETS ? buckets * 8 : buckets / PMS_DICT_SEG_BUCKETS * 8;
}

/* Address of the word of a bucket that the split has reached, b >= 8. */
static inline int pms_dict_far_bucket(const struct pms_pool *pool, uint64_t dict, uint64_t b,
                                      uint64_t *at)
{
    uint32_t k = 63u - (uint32_t)__builtin_clzll(b);
    uint64_t index = b - (1ull << k);
    uint64_t dir = pms_get(pool, PMS_DICT_AT(dict, dir));
    if (PMS_UNLIKELY(!pms_off_ok(&pool->heap, dir, 8ull * PMS_DICT_DIR_WORDS)))
        return PMS_FAIL(PMS_E_CORRUPT, "directory of a dict", dict, b, dir);
    uint64_t block = pms_get(pool, dir + 8 * (k - PMS_LEVEL_MIN));
    if (PMS_UNLIKELY(!pms_off_ok(&pool->heap, block, pms_level_bytes(k))))
        return PMS_FAIL(PMS_E_CORRUPT, "buckets of a dict", dict, b, block);
    if (k > 12) {
        block = pms_get(pool, block + 8 * (index / PMS_DICT_SEG_BUCKETS));
        index %= PMS_DICT_SEG_BUCKETS;
        if (PMS_UNLIKELY(!pms_off_ok(&pool->heap, block, PMS_SEG_BYTES)))
            return PMS_FAIL(PMS_E_CORRUPT, "segment of a dict", dict, b, block);
    }
    *at = block + 8 * index;
    return PMS_OK;
}
static_assert(PMS_DICT_SEG_BUCKETS == 1u << 12, "levels from 13 on have segments");

static inline int pms_dict_bucket_at(const struct pms_pool *pool, uint64_t dict, uint64_t b,
                                     uint64_t *at)
{
    if (b >= 8)
        return pms_dict_far_bucket(pool, dict, b, at);
    *at = PMS_DICT_AT(dict, inner) + 8 * b;
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

/* No chain has more entries: the count, unless that is damaged too. */
static inline uint64_t pms_dict_bound(const struct pms_pool *pool, uint64_t dict)
{
    uint64_t count = pms_get(pool, PMS_DICT_AT(dict, count));
    uint64_t most = pool->super.size / PMS_ENTRY_MIN;
    return count < most ? count : most;
}

static inline int pms_entry_ok(const struct pms_pool *pool, uint64_t entry)
{
    if (PMS_UNLIKELY(!pms_off_ok(&pool->heap, entry, PMS_ENTRY_MIN)))
        return PMS_FAIL(PMS_E_CORRUPT, "place of a dict entry", entry, PMS_ENTRY_MIN, 0);
    return PMS_OK;
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

struct pms_place {
    uint64_t link_at; /* word with the link to the entry */
    uint64_t entry;
};
/* hash is that of the key, and the key is normal.  PMS_MISSING: link_at is the bucket's word. */
int pms_dict_find(struct pms_pool *pool, uint64_t dict, const struct pms_key *key,
                  uint64_t hash, struct pms_place *place);

/* table_grow.c: one more bucket; one bucket less. */
int pms_dict_split(struct pms_pool *pool, uint64_t dict);
int pms_dict_merge(struct pms_pool *pool, uint64_t dict);

#endif
