/* check.h -- the exhaustive check of a pool: trusts nothing, changes nothing.
 *
 * Superblocks, anchors, reserves; the descriptor of every page, every span bitmap; every object
 * that can be reached from the root and from the list of orphans, each link, count and
 * reference; that each allocated block is used exactly once, and that nothing is allocated
 * that cannot be reached.  An object that only a cycle of unreachable objects refers to is
 * told as such, with what it leads to; pms_pool_collect (collect.h) frees these.  What the log holds is not looked at: recovery has done that.
 *
 * Time: O(pages + allocated blocks).  DRAM: 1/42 of the pool's size, and 32 bytes an object.
 */
#ifndef PMS_CHECK_H
#define PMS_CHECK_H

#include "sorted.h"
#include "table.h"
#include "vec.h"

/* Called for each of the first 1000 problems; text is one sentence with offsets and numbers.
 * Return non-zero to stop. */
typedef int (*pms_problem_fn)(void *context, const char *text);

struct pms_check_result {
    uint64_t problems;        /* all of them, told or not */
    uint64_t objects;         /* of all kinds */
    uint64_t entries;         /* of dicts, sets and sorted containers */
    uint64_t cells;           /* values of containers, fields of records */
    uint64_t blobs;           /* values and keys with a block of their own */
    uint64_t allocated_bytes; /* by capacity, as the next two */
    uint64_t reachable_bytes; /* from the root and the orphans */
    uint64_t leaked_bytes;    /* the rest */
    uint64_t orphans;         /* objects that wait to be torn down: no problem */
    uint64_t unreachable; /* objects that only such objects refer to: a collection frees them */
    uint64_t damage;      /* problems but those that tell of them */
};
/* The pool must be entered for reading.  Returns PMS_OK also when there are problems. */
int pms_pool_check(struct pms_pool *pool, pms_problem_fn report, void *context,
                   struct pms_check_result *out);

#endif
