/* value.h -- values outside the medium, and cells on it.
 *
 * A struct pms_val is how a value crosses the core's border; a cell (layout.h) is how it lies
 * in a pool.  Reading gives pointers into the mapping (or the write set's scratch memory),
 * good until the pool is left or the next call of the core.
 */
#ifndef PMS_VALUE_H
#define PMS_VALUE_H

#include <string.h>

#include "pool.h"

struct pms_val {
    uint32_t tag; /* enum pms_tag */
    uint32_t zero;
    uint64_t num;     /* INT, FLOAT (bits), objects (offset) */
    const void *data; /* STR, BYTES, BIGINT, PACKED */
    uint64_t len;
};

/* A key.  Equal keys have equal images, whatever their types: True, 1 and 1.0 have the image
 * INT 1.  The stored form gives the key back as it was first put.
 *   image NONE; INT (num); FLOAT (num = bits, never an integral value that fits INT, never
 *   -0.0; every NaN is the same key); STR, BYTES (data, len); PACKED: compound (data, len =
 *   image bytes made by the binding)
 *   stored_tag TRUE, FALSE, INT, FLOAT for image INT; else as the image.  stored_num: the
 *   bits of a FLOAT whose image is INT.  stored, stored_len: for PACKED, if they differ from
 *   the image. */
struct pms_key {
    uint32_t tag;
    uint32_t stored_tag;
    uint64_t num;
    const void *data;
    uint64_t len;
    uint64_t stored_num;
    const void *stored;
    uint64_t stored_len;
};

/* Image of a float that is a key: INT if it is integral and fits, else FLOAT; one NaN. */
static inline void pms_key_image_float(uint64_t bits, uint32_t *tag, uint64_t *num)
{
    double value;
    memcpy(&value, &bits, 8);
    *tag = PMS_TAG_FLOAT;
    if (value >= -9223372036854775808.0 && value < 9223372036854775808.0 &&
        (double)(int64_t)value == value) {
        *tag = PMS_TAG_INT;
        *num = (uint64_t)(int64_t)value;
    } else {
        *num = value == value ? bits : 0x7ff8000000000000ull;
    }
}

/* Do values with this tag consist of bytes? */
static inline int pms_tag_is_bytes(uint32_t tag)
{
    return tag >= PMS_TAG_STR && tag <= PMS_TAG_PACKED;
}

/* Values longer than this have a block of their own also in new dict entries. */
#define PMS_VALUE_INNER_MAX 1024u

/* Are these bytes to lie in an entry, if it has room?  Up to 8 do in every cell. */
static inline int pms_val_is_inner(const struct pms_val *value, uint64_t most)
{
    return pms_tag_is_bytes(value->tag) && value->len > 8 && value->len <= most;
}

#define PMS_PAD8(len) (((uint64_t)(len) + 7u) & ~(uint64_t)7u)

/* pms_rd_bytes, faster when nothing is in the overlay. */
static inline const void *pms_view(struct pms_pool *pool, uint64_t off, uint64_t len)
{
    if (PMS_LIKELY(pool->ws.overlay.count == 0))
        return (const char *)pool->ws.medium->base + off;
    return pms_rd_bytes(&pool->ws, off, (size_t)len);
}

/* Bytes of a block that was written once, by pms_init_bytes, in the unit that allocated it
 * (values' own blocks, far keys): never in the overlay.  So the pointer outlives the scratch. */
static inline const void *pms_view_block(const struct pms_pool *pool, uint64_t off)
{
    return (const char *)pool->ws.medium->base + off;
}

/* A kind of object: kinds.c, above all of them, has the table. */
struct pms_kind {
    const char *name; /* for messages; NULL: no kind has this tag */
    uint64_t bytes;   /* of the object's struct */
    uint64_t item;    /* least bytes of an item, which the word behind the head counts */
    int (*create)(struct pms_pool *pool, uint32_t tag, uint64_t *off);
    /* Take away up to *budget items, and at last the object, by pms_object_end.  PMS_MISSING: the
     * budget is used up, and what is left is a sound object. */
    int (*teardown)(struct pms_pool *pool, uint64_t off, uint32_t *budget);
};
extern const struct pms_kind pms_kinds[PMS_TAG_OBJECTS]; /* by tag - PMS_TAG_OBJECT_MIN */

static inline int pms_tag_is_object(uint32_t tag)
{
    return tag - PMS_TAG_OBJECT_MIN < PMS_TAG_OBJECTS &&
           pms_kinds[tag - PMS_TAG_OBJECT_MIN].name != NULL;
}
/* The tag must be one of an object. */
static inline const struct pms_kind *pms_kind_of(uint32_t tag)
{
    return &pms_kinds[tag - PMS_TAG_OBJECT_MIN];
}

/* Word 0 of a cell. */
#define PMS_CELL_WORD0(tag, flags, len)                                                        \
    ((uint64_t)(tag) | (uint64_t)(flags) << 8 | (uint64_t)(len) << 32)
#define PMS_CELL_TAG(w) ((uint32_t)((w) & 0xffu))
#define PMS_CELL_FLAGS(w) ((uint32_t)((w) >> 8 & 0xffu))
#define PMS_CELL_LEN(w) ((w) >> 32)

/* Where the bytes of a cell at off are. */
static inline uint64_t pms_cell_at(uint64_t off, uint32_t flags, uint64_t word)
{
    return flags & (PMS_CELL_SHORT | PMS_CELL_INNER) ? off + 8 : word;
}
/* Room for INNER bytes that a cell takes in its entry: its first word, and they. */
#define PMS_CELL_INNER_BYTES(len) (8 + PMS_PAD8(len))

/* What cells need of the objects that they refer to: object.h, which stands above this module,
 * tells. */
int pms_object_check(struct pms_pool *pool, uint64_t off, uint32_t tag);
int pms_object_ref(struct pms_pool *pool, uint64_t off);
int pms_object_unref(struct pms_pool *pool, uint64_t off);

/* Make the two words of a cell for value, allocating a block for its bytes if they are longer
 * than 8.  Objects: the offset must be one; its reference count goes up. */
int pms_cell_make(struct pms_pool *pool, const struct pms_val *value, uint64_t cell[2]);
/* Read a cell that lies at off, all of it in the heap.  other: any cell; whatever is to be refused
 * is refused there. */
int pms_cell_read_other(struct pms_pool *pool, uint64_t off, struct pms_val *out);
static inline int pms_cell_read(struct pms_pool *pool, uint64_t off, struct pms_val *out)
{
    const uint8_t *base = pool->ws.medium->base;
    uint64_t word[2];
    if (PMS_UNLIKELY(pool->ws.overlay.count != 0))
        return pms_cell_read_other(pool, off, out);
    memcpy(word, base + off, sizeof word);
    uint32_t tag = PMS_CELL_TAG(word[0]);
    if (PMS_LIKELY(pms_tag_is_bytes(tag))) {
        uint32_t flags = PMS_CELL_FLAGS(word[0]);
        uint64_t len = PMS_CELL_LEN(word[0]), at = pms_cell_at(off, flags, word[1]);
        if (PMS_LIKELY(pms_off_ok(&pool->heap, at, len) &&
                       (len <= 8 || !(flags & PMS_CELL_SHORT)))) {
            *out = (struct pms_val){.tag = tag, .data = base + at, .len = len};
            return PMS_OK;
        }
    } else if (PMS_LIKELY(tag - PMS_TAG_NONE <= PMS_TAG_FLOAT - PMS_TAG_NONE)) {
        *out = (struct pms_val){.tag = tag, .num = word[1]};
        return PMS_OK;
    }
    return pms_cell_read_other(pool, off, out);
}
/* The cell at off is going to be overwritten or freed: free its block, or drop its reference.
 * Does not change the cell itself. */
int pms_cell_drop(struct pms_pool *pool, uint64_t off);

#endif
