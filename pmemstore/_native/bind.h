/* bind.h -- operations of the binding that must not run Python between enter and leave.
 *
 * The core forbids foreign code between entering and leaving a pool (pool.h).  Whatever the
 * Python side needs there, beyond the calls of the core themselves, is here in one call each.
 * All of them wait at most timeout_ns (< 0: no limit) in slices: PMS_E_INTR means "run the
 * signal handlers, subtract, call again".
 */
#ifndef PMS_BIND_H
#define PMS_BIND_H

#include "check.h"

/* Enter for reading, check everything, leave.  The problems' texts go into text, one a line,
 * as many as fit in room bytes; always ends with a zero byte. */
int pms_bind_check(struct pms_pool *pool, int64_t timeout_ns, char *text, size_t room,
                   struct pms_check_result *out);

/* Put the items of a list into another order: item i becomes what item order[i] was.  order
 * must be a permutation of 0 .. count - 1 (PMS_E_INVAL), and count the length of the list
 * (PMS_E_CHANGED).  One unit of work; changes order. */
int pms_bind_permute(struct pms_pool *pool, uint64_t list, int64_t timeout_ns, uint64_t *order,
                     uint64_t count);

#endif
