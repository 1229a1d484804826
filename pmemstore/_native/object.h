/* object.h -- containers as objects: reference counts, handles, orphans.
 *
 *   cell --refs--> object <--handle-- proxy
 *
 * An object lives as long as a cell refers to it or a handle pins it.  When the last reference
 * goes (del, pop, replace) the object becomes an orphan: it is linked into the persistent list
 * that starts in the root page, in the same unit of work.  Orphans without a handle are torn
 * down bit by bit ("reap"): a bounded number of entries with each unit that commits, so
 * that deleting a dict of a million items stalls nobody; the rest is done by later units, after
 * a restart too.  An orphan that gets a reference again leaves the list.
 *
 *   O1  refs(object) == number of cells that refer to it (+1 for the root dict)
 *   O2  object is in the orphan list  <=>  refs == 0
 *   O3  a handle's object is never torn down
 */
#ifndef PMS_OBJECT_H
#define PMS_OBJECT_H

#include "value.h"

/* Allocate and initialise; refs 0, NOT in the orphan list: the same operation must link it
 * with a cell (pms_cell_make), or call pms_object_orphan. */
int pms_object_create(struct pms_pool *pool, uint32_t tag, uint64_t *off);
/* The same by hand, for kinds whose objects need more than a tag: make room for the note that an
 * object was made, before anything is allocated; then note it.  Each reserve is for one. */
int pms_object_reserve(struct pms_pool *pool);
int pms_object_born(struct pms_pool *pool, uint64_t off);
/* Is there an object with this tag, which must be one of an object, at off?  PMS_E_CORRUPT if
 * not. */
int pms_object_check(struct pms_pool *pool, uint64_t off, uint32_t tag);
int pms_object_ref(struct pms_pool *pool, uint64_t off);
int pms_object_unref(struct pms_pool *pool, uint64_t off); /* 0 left: becomes an orphan */
int pms_object_orphan(struct pms_pool *pool, uint64_t off);

/* Tear down up to budget entries of orphans without handles.  *left: some remain. */
int pms_object_reap(struct pms_pool *pool, uint32_t budget);
/* The last step of a kind's teardown, when nothing but the object's own block is left: frees that.
 * An object that still has references is being emptied (collect.h): it stays, and must be a
 * sound empty one of its kind. */
int pms_object_end(struct pms_pool *pool, uint64_t off);

/* Called once by pms_pool_open, and by the pms_pool_drop that frees the pool's struct; a handle
 * has its share of pool->refs and gives it back through pms_pool_drop (open.h tells). */
void pms_object_init(struct pms_pool *pool);
void pms_object_free(struct pms_pool *pool);
void pms_pool_drop(struct pms_pool *pool);

/* The pool must be entered.  Get: find or make; NULL: no memory. */
struct pms_handle *pms_handle_get(struct pms_pool *pool, uint64_t off, uint32_t tag);
/* Takes the lock itself (so: not between enter and leave); any thread, also after close.  In
 * the child of a fork() it does nothing: the lock may be held by a thread of the parent. */
void pms_handle_put(struct pms_handle *handle);
/* Used at roll-back: objects born after the mark are gone. */
void pms_handles_rolled_back(struct pms_pool *pool, size_t birth_mark);
/* Root dict's handle (enters by itself, waits).  PMS_E_INTR: run signal handlers, call again. */
int pms_pool_root(struct pms_pool *pool, struct pms_handle **out);

static inline uint32_t pms_handle_slot_of(const struct pms_pool *pool, uint64_t off)
{
    uint64_t hash = (off >> 4) * 0x9e3779b97f4a7c15ull;
    return (uint32_t)(hash >> 32) & (pool->handle_slots - 1);
}
/* The handle of the object at off, or NULL. */
static inline struct pms_handle *pms_handle_find(const struct pms_pool *pool, uint64_t off)
{
    if (pool->handle_count == 0)
        return NULL;
    struct pms_handle *handle = pool->handle_slot[pms_handle_slot_of(pool, off)];
    while (handle && handle->off != off)
        handle = handle->next;
    return handle;
}
/* Entries of the object came, went or moved: iterators over it must notice. */
static inline void pms_object_changed(const struct pms_pool *pool, uint64_t off)
{
    struct pms_handle *handle = pms_handle_find(pool, off);
    if (handle)
        handle->version++;
}

#endif
