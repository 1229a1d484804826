/* vec.h -- the persistent list: a counted B+tree of cells.
 *
 *   header: count root height          node: {child, cells below} x <= 63
 *                  |                       |
 *                  +--> node --> node --> leaf: <= 63 cells
 *
 * get, set: O(log n).  append, insert, delete anywhere: O(log n), at most two blocks of a level
 * are rewritten.  Nodes and leaves other than the root are at least a third full, except on the
 * right edge, which appends leave full behind them (a leaf that is split at its end by an
 * append keeps all its cells).  A root leaf starts with room for 3 cells and doubles.  An empty
 * list has no root.  Cells and kids behind the used ones of a block are undefined.
 *
 * A block is split when it is full and joined with a neighbour when it is less than a third
 * full: between the two lie enough operations that going to and fro never splits and joins
 * each time.
 */
#ifndef PMS_VEC_H
#define PMS_VEC_H

#include "object.h"

#define PMS_LIST_HEIGHT_MAX 8u /* PMS_POOL_MAX has no room for the cells of a higher tree */
#define PMS_LEAF_CELLS_MIN 3u  /* room of the first root leaf */
#define PMS_LIST_FILL_MIN 21u  /* cells of a leaf, kids of a node, off the right edge */
#define PMS_LIST_JOIN_MAX 52u  /* two neighbours with so many items together become one */

/* An empty list; called by pms_object_create, which everybody else calls. */
int pms_list_create(struct pms_pool *pool, uint32_t tag, uint64_t *off); /* LIST, DEQUE */
uint64_t pms_list_len(const struct pms_pool *pool, uint64_t list);
/* PMS_MISSING: index >= length. */
int pms_list_get(struct pms_pool *pool, uint64_t list, uint64_t index, struct pms_val *out);
int pms_list_set(struct pms_pool *pool, uint64_t list, uint64_t index,
                 const struct pms_val *value);
/* index <= length. */
int pms_list_insert(struct pms_pool *pool, uint64_t list, uint64_t index,
                    const struct pms_val *value);
int pms_list_append(struct pms_pool *pool, uint64_t list, const struct pms_val *value);
int pms_list_del(struct pms_pool *pool, uint64_t list, uint64_t index);
/* Delete `count` items from index on: O(count + log n), O(1) for all of many. */
int pms_list_del_range(struct pms_pool *pool, uint64_t list, uint64_t index, uint64_t count);
/* Take an item out and put it back so that it has index `to`: O(log n), the cell as it is. */
int pms_list_move(struct pms_pool *pool, uint64_t list, uint64_t from, uint64_t to);
int pms_list_swap(struct pms_pool *pool, uint64_t list, uint64_t a, uint64_t b);
int pms_list_reverse(struct pms_pool *pool, uint64_t list);
int pms_list_clear(struct pms_pool *pool, uint64_t list); /* as pms_dict_clear */
/* Iterate: the offset of the cell of `index`, and how many cells from it on lie in its leaf.
 * Good until the handle's version changes. */
int pms_list_run(struct pms_pool *pool, uint64_t list, uint64_t index, uint64_t *cell_off,
                 uint64_t *cells);
/* Remove up to *budget items from the end; as pms_dict_teardown. */
int pms_list_teardown(struct pms_pool *pool, uint64_t list, uint32_t *budget);

#endif
