/* collect.h -- free what nobody needs: orphans, and objects that keep only each other alive.
 *
 * References are counted, so containers that refer to each other in a circle never become
 * orphans by themselves.  A collection checks the whole pool, takes every object that neither the
 * root nor a handle leads to for garbage, empties these objects, and reaps all orphans.
 *
 * Time: that of the check, with the lock held, and of the teardown.  DRAM: that of the check, and
 * 8 bytes for each object of the garbage.
 */
#ifndef PMS_COLLECT_H
#define PMS_COLLECT_H

#include "check.h"

/* Several units of work.  PMS_E_CORRUPT: the check finds other problems than unreachable objects;
 * nothing was changed.  PMS_E_TX inside a transaction.  PMS_E_WAIT: another thread collects; call
 * again.  PMS_E_INTR: run signal handlers, call again for the rest. */
int pms_pool_collect(struct pms_pool *pool, uint64_t *freed_bytes);

#endif
