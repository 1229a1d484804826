/* check_array.c -- the check of an array: its header fits its shape, and its block is its own.
 *
 *   C31  count, shape and item fit each other and the pool; dimensions that are not used and
 *        reserves are zero
 *   C32  there is a block exactly if there is a capacity, which is all of it behind its first line
 *        and holds the elements
 *   C33  the type is a STR of a possible length
 */
#include <inttypes.h>

#include "array.h"
#include "check_state.h"

void pms_check_array(struct pms_check *c, uint64_t array)
{
    struct pms_array a;
    uint64_t type = array + offsetof(struct pms_array_pm, type);
    uint64_t shape = array + offsetof(struct pms_array_pm, shape);
    uint64_t word = pms_get(c->pool, type);
    pms_check_zero(c, array + offsetof(struct pms_array_pm, zero), 16,
                   "the reserve of an array");
    pms_check_cell(c, type, 0);
    if (PMS_CELL_TAG(word) != PMS_TAG_STR || PMS_CELL_LEN(word) == 0 ||
        PMS_CELL_LEN(word) > PMS_ARRAY_TYPE_MAX)
        pms_check_problem(c,
                          "the type of the array at offset %" PRIu64
                          " is not a text: tag %" PRIu32 ", %" PRIu64 " bytes",
                          array, PMS_CELL_TAG(word), (uint64_t)PMS_CELL_LEN(word));
    if (pms_array_load(c->pool, array, &a) != PMS_OK) {
        const struct pms_detail *d = pms_detail();
        pms_check_problem(c,
                          "the array at offset %" PRIu64 " has a wrong header: %s, %" PRIu64
                          " and %" PRIu64,
                          array, d->what, d->want, d->have);
        return;
    }
    pms_check_zero(c, shape + 8 * (uint64_t)a.ndim, 8 * (uint64_t)(PMS_ARRAY_DIMS - a.ndim),
                   "a dimension that an array does not have");
    if (!a.block)
        return;
    uint64_t capacity = pms_check_use(c, a.block, PMS_LINE, "the block of an array",
                                      array + offsetof(struct pms_array_pm, block));
    if (capacity && capacity != a.start - a.block + a.capacity)
        pms_check_problem(c,
                          "the array at offset %" PRIu64 " has room for %" PRIu64
                          " bytes, but its block for %" PRIu64,
                          array, a.capacity, capacity - (a.start - a.block));
}
