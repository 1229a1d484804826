/* array.h -- the persistent array: elements of one size in one block, in C order.
 *
 *   header: count, shape, item, type
 *           block ----> | up to a line | elements ... | room for more, undefined |
 *                                      ^ start (a multiple of 64)
 *                                      |<------------ capacity -------------->|
 *
 * get, set of a range: O(its bytes).  Append: amortised O(bytes appended): a block that is full is
 * copied to one twice as large (above 1 MiB: half as large again).  Elements of a block that is
 * new in the unit are stored at once, without a log; all others through the write set, word by
 * word, and words that do not change are left out.
 *
 * What an element is only the binding knows: the core counts bytes, and keeps the type's text.
 */
#ifndef PMS_ARRAY_H
#define PMS_ARRAY_H

#include "object.h"

#define PMS_ARRAY_TYPE_MAX 65536u /* bytes of the type's text */

struct pms_array { /* the header, checked */
    uint64_t off;
    uint64_t count;
    uint64_t block;
    uint64_t start; /* offset of the first element; 0 if there is no block */
    uint64_t capacity;
    uint64_t bytes; /* of all elements */
    uint64_t row;   /* bytes of one item of the first axis; no axis: 0 */
    uint32_t item;
    uint32_t ndim;
    uint64_t shape[PMS_ARRAY_DIMS];
};

struct pms_array_shape { /* what is asked for */
    uint32_t item;
    uint32_t ndim;
    uint64_t shape[PMS_ARRAY_DIMS];
};

/* Where the elements of a block begin. */
static inline uint64_t pms_array_start(uint64_t block)
{
    return (block + PMS_LINE - 1) & ~(uint64_t)(PMS_LINE - 1);
}

/* No elements, one axis, type "|u1"; called by pms_object_create, which everybody else calls. */
int pms_array_create(struct pms_pool *pool, uint32_t tag, uint64_t *off);
/* Read and check the header. */
int pms_array_load(const struct pms_pool *pool, uint64_t off, struct pms_array *out);
/* The text of the type, which is a STR of at least one byte. */
int pms_array_type(struct pms_pool *pool, uint64_t off, struct pms_val *out);
/* Give a new array its type, shape and contents: all elements, or NULL for zeroes.  PMS_E_INVAL:
 * it is not new, or the shape cannot be. */
int pms_array_setup(struct pms_pool *pool, uint64_t off, const struct pms_val *type,
                    const struct pms_array_shape *shape, const void *data);
/* Bytes [at, at + len) of the elements, as the open unit sees them.  PMS_MISSING: not all there. */
int pms_array_read(struct pms_pool *pool, uint64_t off, uint64_t at, uint64_t len, void *out);
int pms_array_write(struct pms_pool *pool, uint64_t off, uint64_t at, const void *src,
                    uint64_t len);
/* Whole items of the first axis, behind the last one.  PMS_E_INVAL: no axis, items without bytes,
 * or a part of one. */
int pms_array_append(struct pms_pool *pool, uint64_t off, const void *src, uint64_t len);
/* Room for so many bytes of elements, without a further move. */
int pms_array_reserve(struct pms_pool *pool, uint64_t off, uint64_t bytes);
/* Another shape (of the same item): elements keep their place in C order, new ones are zero. */
int pms_array_resize(struct pms_pool *pool, uint64_t off, const struct pms_array_shape *shape);
/* Does the open unit see anything of the array that the mapping may not show, or may lose? */
int pms_array_pending(struct pms_pool *pool, const struct pms_array *array);
/* As pms_dict_teardown; one step. */
int pms_array_teardown(struct pms_pool *pool, uint64_t off, uint32_t *budget);

#endif
