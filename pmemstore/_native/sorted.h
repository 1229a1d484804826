/* sorted.h -- the persistent sorted dict and sorted set: a counted B+tree of entries.
 *
 *   header: count root height order        node: {kid, entries below, least, prefix} x <= 31
 *                  |                          |
 *                  +--> node --> node --> leaf: order, {entry, prefix} x <= 58
 *                                                  |
 *                                                  +--> entry: key, value, [image]
 *
 * Keys are compared by their images (struct pms_order_key), strings of bytes that memcmp puts
 * into Python's order; docs/format.md has their making.  All keys of one container are of one
 * kind (header.order), so the images need not tell it.  A block has the bytes that its images
 * begin with; a prefix is the eight bytes of an image behind these, as a big-endian number: only
 * where prefixes are equal is an entry read.
 *
 * get, set, delete, the place of a key, the key of a place: O(log n).  A put mostly changes one
 * reference and some bytes of a leaf; what else it changes are at most two blocks of a level.
 * Blocks off the right edge are at least a third full; an ascending load leaves them full.
 * Entries do not move.
 *
 * PMS_MIXED: the key has no order among those that are there.  Nothing was changed.
 */
#ifndef PMS_SORTED_H
#define PMS_SORTED_H

#include "object.h"
#include "sorted_image.h"

#define PMS_SORTED_HEIGHT_MAX                                                                  \
    12u                 /* PMS_POOL_MAX has no room for the entries of a higher tree */
#define PMS_MIXED (-16) /* a status */

/* A key.  stored gives it back as it was put: FALSE, TRUE, INT, FLOAT, STR, BYTES, BIGINT or
 * PACKED; look-ups need only its tag and number, and only if it is a number of 64 bits. */
struct pms_order_key {
    uint32_t order; /* enum pms_order */
    uint32_t zero;
    uint64_t prefix; /* pms_image_prefix(image, len) */
    const uint8_t *image;
    uint64_t len;
    struct pms_val stored;
};

/* Empty; called by pms_object_create, which everybody else calls. */
int pms_sorted_create(struct pms_pool *pool, uint32_t tag, uint64_t *off);
uint64_t pms_sorted_len(const struct pms_pool *pool, uint64_t sorted);
/* PMS_MISSING: the key is not there (also if it is of another kind). */
int pms_sorted_get(struct pms_pool *pool, uint64_t sorted, const struct pms_order_key *key,
                   struct pms_val *out);
/* The place of a key; index may be NULL. */
int pms_sorted_index(struct pms_pool *pool, uint64_t sorted, const struct pms_order_key *key,
                     uint64_t *index);
/* How many keys are less than this one; after: or equal to it. */
int pms_sorted_bound(struct pms_pool *pool, uint64_t sorted, const struct pms_order_key *key,
                     int after, uint64_t *index);
/* Insert, or replace the value in place (the first key stays). */
int pms_sorted_set(struct pms_pool *pool, uint64_t sorted, const struct pms_order_key *key,
                   const struct pms_val *value);
int pms_sorted_del(struct pms_pool *pool, uint64_t sorted, const struct pms_order_key *key);
/* The entry at a place; PMS_MISSING: index >= length. */
int pms_sorted_at(struct pms_pool *pool, uint64_t sorted, uint64_t index, uint64_t *entry);
/* Key and value of an entry; either may be NULL.  Readable until the next call. */
int pms_sorted_entry(struct pms_pool *pool, uint64_t entry, struct pms_val *key,
                     struct pms_val *value);
/* Iterate: the entries from index on, in order, as many as lie in its leaf, but not more than
 * `most`.  Their offsets are not checked.  PMS_MISSING: index >= length. */
struct pms_sorted_run {
    uint32_t count;
    uint64_t entry[PMS_SORTED_REFS];
};
int pms_sorted_run(struct pms_pool *pool, uint64_t sorted, uint64_t index, uint64_t most,
                   struct pms_sorted_run *out);
/* Does the entry lie in the heap and is it what most are: the key a str of more than 8 bytes in
 * the entry (or a number, if it is not wanted), the value more bytes than that, and nothing in
 * the overlay?  0: pms_sorted_entry reads it, or says what is wrong with it. */
struct pms_sorted_plain {
    const uint8_t *key, *value;
    uint64_t key_len, value_len;
};
__attribute__((always_inline)) static inline int
pms_sorted_is_plain(const struct pms_pool *pool, uint64_t entry, int keys, int values,
                    struct pms_sorted_plain *out)
{
    const uint8_t *base = pool->ws.medium->base;
    const uint32_t kind = 0xffu | PMS_CELL_SHORT << 8 | PMS_CELL_INNER << 8;
    uint64_t head, cell[2], at = entry + sizeof(struct pms_sorted_entry_pm);
    if (!pms_off_ok(&pool->heap, entry, PMS_SORTED_ENTRY_MIN) || pool->ws.overlay.count != 0)
        return 0;
    memcpy(&head, base + entry, sizeof head);
    if (PMS_LIKELY((head & kind) == (PMS_TAG_STR | PMS_CELL_INNER << 8))) {
        out->key = base + entry + 8;
        out->key_len = PMS_CELL_LEN(head);
        at = entry + 8 + PMS_PAD8(out->key_len);
        if (out->key_len <= 8 || !pms_off_ok(&pool->heap, at, sizeof cell))
            return 0;
    } else if (keys || head - PMS_TAG_FALSE > PMS_TAG_FLOAT - PMS_TAG_FALSE) {
        return 0;
    }
    if (values) {
        memcpy(cell, base + at, sizeof cell);
        uint32_t flags = PMS_CELL_FLAGS(cell[0]);
        uint64_t from = pms_cell_at(at, flags, cell[1]);
        out->value_len = PMS_CELL_LEN(cell[0]);
        if (PMS_CELL_TAG(cell[0]) != PMS_TAG_BYTES || (flags & PMS_CELL_SHORT) ||
            !pms_off_ok(&pool->heap, from, out->value_len))
            return 0;
        out->value = base + from;
    }
    return 1;
}
/* The entry will be read soon; a wrong offset does no harm. */
static inline void pms_sorted_prefetch(const struct pms_pool *pool, uint64_t entry)
{
    uintptr_t at = (uintptr_t)pool->ws.medium->base + entry;
    for (uint32_t line = 0; line < 3; line++)
        __builtin_prefetch((const void *)(at + line * PMS_LINE));
}
/* Delete `count` entries from index on: O(count + log n), O(1) for all of many. */
int pms_sorted_del_range(struct pms_pool *pool, uint64_t sorted, uint64_t index,
                         uint64_t count);
int pms_sorted_clear(struct pms_pool *pool, uint64_t sorted); /* as pms_dict_clear */
/* Remove up to *budget entries from the end; as pms_dict_teardown. */
int pms_sorted_teardown(struct pms_pool *pool, uint64_t sorted, uint32_t *budget);

#endif
