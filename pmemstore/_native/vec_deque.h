/* vec_deque.h -- the persistent deque: a list (vec.h) that is worked on at its ends.
 *
 *   bound  0: no limit;  n + 1: never more than n items
 *
 * Everything that reads a list, and pms_list_set, del, del_range, reverse and clear, is good for a
 * deque too.  What adds an item is here: a full deque drops one at its other end, in the same
 * operation.  Cost: O(log n), at both ends alike; rotate by k: O(k log n).
 */
#ifndef PMS_VEC_DEQUE_H
#define PMS_VEC_DEQUE_H

#include "vec.h"

enum pms_deque_end { PMS_DEQUE_LEFT = 0, PMS_DEQUE_RIGHT = 1 };

uint64_t pms_deque_bound(const struct pms_pool *pool, uint64_t deque);
/* The deque must be empty (PMS_E_INVAL). */
int pms_deque_set_bound(struct pms_pool *pool, uint64_t deque, uint64_t bound);
int pms_deque_push(struct pms_pool *pool, uint64_t deque, enum pms_deque_end end,
                   const struct pms_val *value);
/* PMS_MISSING: the deque is full, or index > length. */
int pms_deque_insert(struct pms_pool *pool, uint64_t deque, uint64_t index,
                     const struct pms_val *value);
/* Item i gets index (i + steps) mod length. */
int pms_deque_rotate(struct pms_pool *pool, uint64_t deque, uint64_t steps);

#endif
