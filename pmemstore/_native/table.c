/* table.c -- the persistent dict: look-up.  See table.h for the picture.
 *
 * Invariants (what is in a bucket: table_bucket.c; which there are: table_grow.c; order:
 * table_walk.c; what changes a dict: table_edit.c):
 *   D1  count == entries in the order list == links to entries in all buckets
 *   D2  first.prev == 0, last.next == 0, and next and prev of neighbours agree; each step of
 *       an iteration (table_walk.c) checks it, so that no walk goes in circles
 *   D3  the tag of a link has the bits of its entry's hash from pms_tag_from(level) on, with
 *       the level of its bucket: at least 8 of them are not in the bucket's number
 *   D4  buckets == 1 or 2 * buckets <= count; count <= PMS_DICT_LOAD * (buckets + 1)
 *   D5  an entry's block holds, from its start: struct pms_entry_pm, the key padded to 8, the
 *       value's cell, and its bytes from the cell's word on if it is INNER
 *
 * Lines are followed no further than the dict's count may have filled them.
 */
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "table_impl.h"

/* ---- keys ---- */

uint64_t pms_key_hash(const struct pms_pool *pool, const struct pms_key *key)
{
    struct pms_key room;
    return pms_image_key_hash(pool, pms_key_normal(key, &room));
}

int pms_entry_far_key(struct pms_pool *pool, uint64_t entry, struct pms_far_key *out)
{
    out->off = pms_get(pool, PMS_ENTRY_KEY(entry));
    if (!pms_off_ok(&pool->heap, out->off, sizeof(struct pms_far_key_pm)))
        return PMS_FAIL(PMS_E_CORRUPT, "place of a long key", entry, 0, out->off);
    uint64_t word0 = pms_get(pool, out->off), word1 = pms_get(pool, out->off + 8);
    out->tag = (uint32_t)word0;
    out->image = word0 >> 32;
    out->stored = word1 & UINT32_MAX;
    if (out->tag != PMS_TAG_STR && out->tag != PMS_TAG_BYTES && out->tag != PMS_TAG_PACKED)
        return PMS_FAIL(PMS_E_CORRUPT, "tag of a long key", entry, PMS_TAG_STR, out->tag);
    uint64_t len = sizeof(struct pms_far_key_pm) + PMS_PAD8(out->image) + out->stored;
    if (!pms_off_ok(&pool->heap, out->off, len))
        return PMS_FAIL(PMS_E_CORRUPT, "length of a long key", entry, len, out->off);
    return PMS_OK;
}

/* May a key with this tag have this length?  The value stands behind it. */
static inline int length_fits(uint32_t tag, uint64_t len)
{
    if (tag == PMS_TAG_STR || tag == PMS_TAG_BYTES)
        return len <= PMS_KEY_INNER_MAX;
    return len == (tag <= PMS_TAG_TRUE ? 0 : 8);
}

int pms_entry_image(struct pms_pool *pool, uint64_t entry, struct pms_key *out)
{
    struct pms_far_key far;
    uint32_t extra = PMS_LINK_EXTRA(pms_get(pool, PMS_ENTRY_NEXT(entry)));
    uint64_t len = extra >> 8, at = PMS_ENTRY_KEY(entry);
    memset(out, 0, sizeof *out);
    out->tag = PMS_TAG_INT;
    if (!length_fits(extra & 0xffu, len))
        return PMS_FAIL(PMS_E_CORRUPT, "length of a dict entry's key", entry, 0, extra);
    switch (extra & 0xffu) {
    case PMS_TAG_NONE:
        out->tag = PMS_TAG_NONE;
        return PMS_OK;
    case PMS_TAG_FALSE:
        return PMS_OK;
    case PMS_TAG_TRUE:
        out->num = 1;
        return PMS_OK;
    case PMS_TAG_INT:
        out->num = pms_get(pool, at);
        return PMS_OK;
    case PMS_TAG_FLOAT:
        pms_key_image_float(pms_get(pool, at), &out->tag, &out->num);
        return PMS_OK;
    case PMS_TAG_STR:
    case PMS_TAG_BYTES:
        out->tag = extra & 0xffu;
        out->len = len;
        if (!pms_off_ok(&pool->heap, at, len))
            break;
        return pms_key_view(pool, at, len, &out->data);
    case PMS_KEY_FAR:
        PMS_TRY(pms_entry_far_key(pool, entry, &far));
        out->tag = far.tag;
        out->len = far.image;
        out->data = pms_view_block(pool, far.off + sizeof(struct pms_far_key_pm));
        return PMS_OK;
    default:
        break;
    }
    return PMS_FAIL(PMS_E_CORRUPT, "key of a dict entry", entry, 0, extra);
}

int pms_entry_hash(struct pms_pool *pool, uint64_t entry, uint64_t *hash)
{
    struct pms_key key;
    PMS_TRY(pms_entry_image(pool, entry, &key));
    *hash = pms_image_key_hash(pool, &key);
    return PMS_OK;
}

/* Is it the key of the entry?  PMS_OK or PMS_MISSING.  The usual kinds go first.  *value: the
 * entry's cell. */
static inline int compare(struct pms_pool *pool, uint64_t entry, const struct pms_key *key,
                          uint64_t *value)
{
    struct pms_key image;
    uint32_t extra = PMS_LINK_EXTRA(pms_get(pool, PMS_ENTRY_NEXT(entry)));
    uint32_t tag = extra & 0xffu;
    uint64_t at = PMS_ENTRY_KEY(entry);
    int same;
    PMS_TRY(pms_entry_value_of(pool, entry, extra, value));
    if (extra == PMS_KEY_EXTRA(PMS_TAG_INT, 8)) {
        same = key->tag == PMS_TAG_INT && pms_get(pool, at) == key->num;
    } else if (tag == PMS_TAG_STR) {
        if (key->tag != PMS_TAG_STR || extra >> 8 != key->len)
            return PMS_MISSING;
        const void *bytes = pms_view(pool, at, key->len);
        if (!bytes)
            return PMS_FAIL(PMS_E_NOMEM, "reading a key", at, key->len, 0);
        same = key->len == 0 || memcmp(bytes, key->data, key->len) == 0;
    } else {
        PMS_TRY(pms_entry_image(pool, entry, &image));
        if (image.tag != key->tag)
            return PMS_MISSING;
        if (image.tag == PMS_TAG_INT || image.tag == PMS_TAG_FLOAT)
            same = image.num == key->num;
        else
            same = image.tag == PMS_TAG_NONE ||
                   (image.len == key->len &&
                    (image.len == 0 || memcmp(image.data, key->data, image.len) == 0));
    }
    return same ? PMS_OK : PMS_MISSING;
}

/* ---- look-up ---- */

/* What is behind the first line of an entry is asked for before that is read: key and value of
 * most entries are in three.  A wrong offset does no harm. */
static inline void ask_for(const struct pms_pool *pool, uint64_t entry)
{
    uintptr_t at = (uintptr_t)pool->ws.medium->base + entry;
    __builtin_prefetch((const void *)(at + PMS_LINE));
    __builtin_prefetch((const void *)(at + 2 * PMS_LINE));
}

/* Of a line: how many links it has, and which of them (bit i) carry the tag.  Without a branch: the CPU
 * goes on, with what does not need the line, while it waits for it. */
struct links {
    uint32_t count, tagged;
};

#ifdef __SSE2__
/* The upper or the lower halves of four words. */
#define HALVES(a, b, which)                                                                    \
    _mm_castps_si128(_mm_shuffle_ps(_mm_castsi128_ps(a), _mm_castsi128_ps(b), which))

/* Bit i: word i is 0; bit 8 + i: its extra, the upper 24 of its bits, is the tag. */
static inline uint32_t look_at_four(const uint64_t *link, __m128i tag)
{
    __m128i a = _mm_loadu_si128((const __m128i *)(const void *)link);
    __m128i b = _mm_loadu_si128((const __m128i *)(const void *)(link + 2));
    __m128i low = HALVES(a, b, 0x88), high = HALVES(a, b, 0xdd);
    __m128i zero = _mm_cmpeq_epi32(_mm_or_si128(low, high), _mm_setzero_si128());
    __m128i same = _mm_cmpeq_epi32(_mm_srli_epi32(high, 8), tag);
    return (uint32_t)_mm_movemask_ps(_mm_castsi128_ps(zero)) |
           (uint32_t)_mm_movemask_ps(_mm_castsi128_ps(same)) << 8;
}

static inline struct links look_at(const uint64_t link[PMS_BUCKET_LINKS], uint32_t tag)
{
    __m128i wanted = _mm_set1_epi32((int)tag);
    uint32_t seen = look_at_four(link, wanted) | look_at_four(link + 4, wanted) << 4;
    return (struct links){(uint32_t)__builtin_ctz((seen & 0xffu) | 0x100u),
                          seen >> 8 & ~seen & 0xffu};
}
#else
static inline struct links look_at(const uint64_t link[PMS_BUCKET_LINKS], uint32_t tag)
{
    uint32_t zero = 1u << PMS_BUCKET_LINKS, same = 0;
    for (uint32_t i = 0; i < PMS_BUCKET_LINKS; i++) {
        zero |= (uint32_t)(link[i] == 0) << i;
        same |= (uint32_t)(PMS_LINK_EXTRA(link[i]) == tag) << i;
    }
    return (struct links){(uint32_t)__builtin_ctz(zero), same & ~zero};
}
#endif

/* Of the line at place->line: the word of its link to the entry with the key (or, without a key,
 * to the entry `entry`).  PMS_MISSING: index is behind its last link. */
__attribute__((always_inline)) static inline int
find_in_line(struct pms_pool *pool, const uint64_t *link, const struct pms_key *key,
             uint64_t entry, uint32_t tag, struct pms_place *place)
{
    struct links links = look_at(link, tag);
    for (; links.tagged; links.tagged &= links.tagged - 1) {
        place->index = (uint32_t)__builtin_ctz(links.tagged);
        place->entry = PMS_LINK_OFF(link[place->index]);
        if (!key) {
            if (place->entry == entry)
                return PMS_OK;
            continue;
        }
        ask_for(pool, place->entry);
        PMS_TRY(pms_entry_ok(pool, place->entry));
        int status = compare(pool, place->entry, key, &place->value);
        if (PMS_LIKELY(status != PMS_MISSING))
            return status;
    }
    place->index = links.count;
    return PMS_MISSING;
}

static inline int find(struct pms_pool *pool, uint64_t dict, const struct pms_key *key,
                       uint64_t entry, uint64_t hash, struct pms_place *place)
{
    uint64_t steps = 0, room[PMS_BUCKET_LINKS];
    place->before = 0;
    uint32_t tag = pms_dict_tag(hash, place->bucket.level);
    for (;;) {
        const uint64_t *link = pms_rd_line(&pool->ws, place->line, room);
        int status = find_in_line(pool, link, key, entry, tag, place);
        if (PMS_LIKELY(status != PMS_MISSING))
            return status;
        uint64_t more = link[PMS_BUCKET_LINKS - 1];
        if (PMS_LIKELY(place->index < PMS_BUCKET_LINKS || !PMS_LINK_IS_MORE(more)))
            return PMS_MISSING;
        place->before = place->line;
        PMS_TRY(pms_bucket_more(pool, dict, more, &place->line));
        if (PMS_UNLIKELY(++steps > pms_dict_bound(pool, dict)))
            return PMS_FAIL(PMS_E_CORRUPT, "bucket of a dict", dict, steps, more);
    }
}

int pms_dict_find(struct pms_pool *pool, uint64_t dict, const struct pms_key *key,
                  uint64_t hash, struct pms_place *place)
{
    return find(pool, dict, key, 0, hash, place);
}

int pms_dict_find_entry(struct pms_pool *pool, uint64_t dict,
                        const struct pms_dict_shape *shape, uint64_t entry, uint64_t hash,
                        struct pms_place *place)
{
    PMS_TRY(pms_dict_place(pool, dict, shape, hash, place));
    return find(pool, dict, NULL, entry, hash, place);
}

static inline int look_up(struct pms_pool *pool, uint64_t dict, const struct pms_key *key,
                          struct pms_place *place)
{
    struct pms_dict_shape shape;
    struct pms_key room;
    PMS_TRY(pms_dict_shape(pool, dict, &shape));
    key = pms_key_normal(key, &room);
    uint64_t hash = pms_image_key_hash(pool, key);
    PMS_TRY(pms_dict_place(pool, dict, &shape, hash, place));
    return find(pool, dict, key, 0, hash, place);
}

int pms_dict_get(struct pms_pool *pool, uint64_t dict, const struct pms_key *key,
                 struct pms_val *out)
{
    struct pms_place place;
    PMS_TRY(look_up(pool, dict, key, &place));
    return pms_cell_read(pool, place.value, out);
}

int pms_dict_contains(struct pms_pool *pool, uint64_t dict, const struct pms_key *key)
{
    struct pms_place place;
    return look_up(pool, dict, key, &place);
}

uint64_t pms_dict_len(const struct pms_pool *pool, uint64_t dict)
{
    return pms_get(pool, PMS_DICT_AT(dict, count));
}
