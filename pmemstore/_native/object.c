/* object.c -- references, orphans, handles.
 *
 *   root page                 orphans: objects with refs == 0
 *   orphans ----> object <--prev/next--> object <--prev/next--> object
 *                                          ^
 *                 pool->reap_cursor -------+   (DRAM)
 *
 * Reaping goes round the list in laps.  An orphan that a handle pins is stepped over; any other
 * is taken out, torn down as far as the budget goes and, if something is left, put back.
 * What its cells referred to and nobody else does becomes an orphan itself: so a deep tree
 * needs no recursion.
 *
 *   reap_due  0  nothing to do: the list is empty, or a lap found only pinned orphans
 *             1  a lap is under way, or is to begin
 *             2  as 1, and something has come that the lap may not see: another one follows
 *
 * Invariants, besides those of object.h:
 *   B1  reap_cursor is 0 or in the list; whoever takes an orphan out moves the cursor on
 *   B2  next and prev of neighbours agree, checked at each step: so no walk goes in circles
 *   B3  a LIVE handle is in the table, a STALE one is not; each counts one of pool->refs
 *
 * After a roll-back the cursor starts anew.  A damaged list is reported once, by the
 * operation that found it, and then left alone until the pool is opened again.
 */
#include "object.h"

#include <stdlib.h>
#include <string.h>

#define REFS(off) ((off) + offsetof(struct pms_object_pm, refs))
#define NEXT(off) ((off) + offsetof(struct pms_object_pm, orphan_next))
#define PREV(off) ((off) + offsetof(struct pms_object_pm, orphan_prev))
#define HEAD (PMS_ROOT_OFF + offsetof(struct pms_root_pm, orphans))

#define SLOTS_MIN 64u

/* ---- objects ---- */

/* The number of items is the word behind the head, in every container. */
#define ITEM_COUNT sizeof(struct pms_object_pm)
static_assert(ITEM_COUNT == offsetof(struct pms_dict_pm, count), "count of a dict");
static_assert(ITEM_COUNT == offsetof(struct pms_list_pm, count), "count of a list");
static_assert(ITEM_COUNT == offsetof(struct pms_array_pm, count), "count of an array");
static_assert(ITEM_COUNT == offsetof(struct pms_sorted_pm, count), "count of a sorted dict");

int pms_object_check(struct pms_pool *pool, uint64_t off, uint32_t tag)
{
    if (!pms_off_ok(&pool->heap, off, pms_kind_of(tag)->bytes))
        return PMS_FAIL(PMS_E_CORRUPT, "place of an object", off, tag, 0);
    uint64_t word = pms_get(pool, off);
    if (word != (PMS_OBJECT_MAGIC | tag))
        return PMS_FAIL(PMS_E_CORRUPT, "kind of an object", off, PMS_OBJECT_MAGIC | tag, word);
    /* Callers allocate memory by it. */
    uint64_t count = pms_get(pool, off + ITEM_COUNT);
    uint64_t most = pool->super.size / pms_kind_of(tag)->item;
    if (count > most)
        return PMS_FAIL(PMS_E_CORRUPT, "number of items of an object", off, most, count);
    return PMS_OK;
}

/* As above, for any kind: gives its tag. */
static int object_tag(struct pms_pool *pool, uint64_t off, uint32_t *tag)
{
    *tag = PMS_TAG_DICT;
    if (pms_off_ok(&pool->heap, off, sizeof(struct pms_object_pm)))
        *tag = PMS_CELL_TAG(pms_get(pool, off));
    if (!pms_tag_is_object(*tag))
        *tag = PMS_TAG_DICT;
    return pms_object_check(pool, off, *tag);
}

int pms_object_reserve(struct pms_pool *pool)
{
    if (pool->birth_count == pool->birth_room) {
        size_t room = pool->birth_room ? pool->birth_room * 2 : 64;
        uint64_t *birth = realloc(pool->birth, room * sizeof *birth);
        if (!birth)
            return PMS_FAIL(PMS_E_NOMEM, "list of new objects", 0, room * sizeof *birth, 0);
        pool->birth = birth;
        pool->birth_room = room;
    }
    return PMS_OK;
}

int pms_object_born(struct pms_pool *pool, uint64_t off)
{
    if (pms_handle_find(pool, off)) /* its bits say free: its kind may be another one, too */
        return PMS_FAIL(PMS_E_CORRUPT, "a new object lies where somebody looks at another", off,
                        0, 0);
    pool->birth[pool->birth_count++] = off;
    return PMS_OK;
}

int pms_object_create(struct pms_pool *pool, uint32_t tag, uint64_t *off)
{
    PMS_TRY(pms_object_reserve(pool));
    if (!pms_tag_is_object(tag))
        return PMS_FAIL(PMS_E_INVAL, "object tag", 0, PMS_TAG_LIST, tag);
    PMS_TRY(pms_kind_of(tag)->create(pool, tag, off));
    return pms_object_born(pool, *off);
}

/* ---- the list of orphans ---- */

/* Neighbours that do not agree: the list is damaged. */
static int bad_link(uint64_t off, uint64_t want, uint64_t have)
{
    return PMS_FAIL(PMS_E_CORRUPT, "list of orphans", off, want, have);
}

/* The orphan at off and its links are as they should be; gives the neighbours. */
static int orphan_links(struct pms_pool *pool, uint64_t off, uint64_t *prev, uint64_t *next)
{
    uint32_t tag;
    uint64_t back;
    PMS_TRY(object_tag(pool, off, &tag));
    *next = pms_get(pool, NEXT(off));
    *prev = pms_get(pool, PREV(off));
    if (*prev) {
        PMS_TRY(object_tag(pool, *prev, &tag));
        back = pms_get(pool, NEXT(*prev));
    } else {
        back = pms_get(pool, HEAD);
    }
    if (back != off)
        return bad_link(*prev, off, back);
    if (*next) {
        PMS_TRY(object_tag(pool, *next, &tag));
        back = pms_get(pool, PREV(*next));
        if (back != off)
            return bad_link(*next, off, back);
    }
    return PMS_OK;
}

static int orphan_unlink(struct pms_pool *pool, uint64_t off)
{
    uint64_t prev, next;
    PMS_TRY(orphan_links(pool, off, &prev, &next));
    pms_put(pool, prev ? NEXT(prev) : HEAD, next);
    if (next)
        pms_put(pool, PREV(next), prev);
    pms_put(pool, NEXT(off), 0);
    pms_put(pool, PREV(off), 0);
    if (pool->reap_cursor == off)
        pool->reap_cursor = next;
    return PMS_OK;
}

int pms_object_orphan(struct pms_pool *pool, uint64_t off)
{
    uint32_t tag;
    uint64_t next = pms_get(pool, HEAD);
    PMS_TRY(object_tag(pool, off, &tag));
    if (next) {
        PMS_TRY(object_tag(pool, next, &tag));
        if (pms_get(pool, PREV(next)) != 0)
            return bad_link(next, 0, pms_get(pool, PREV(next)));
        pms_put(pool, PREV(next), off);
    }
    pms_put(pool, NEXT(off), next);
    pms_put(pool, PREV(off), 0);
    pms_put(pool, HEAD, off);
    pool->reap_due = 2;
    return PMS_OK;
}

int pms_object_ref(struct pms_pool *pool, uint64_t off)
{
    uint32_t tag;
    PMS_TRY(object_tag(pool, off, &tag));
    uint64_t refs = pms_get(pool, REFS(off));
    if (refs == 0 && (pms_get(pool, PREV(off)) != 0 || pms_get(pool, HEAD) == off))
        PMS_TRY(orphan_unlink(pool, off));
    if (refs == UINT64_MAX)
        return PMS_FAIL(PMS_E_CORRUPT, "references of an object", off, 0, refs);
    pms_put(pool, REFS(off), refs + 1);
    return PMS_OK;
}

int pms_object_unref(struct pms_pool *pool, uint64_t off)
{
    uint32_t tag;
    PMS_TRY(object_tag(pool, off, &tag));
    uint64_t refs = pms_get(pool, REFS(off));
    if (refs == 0)
        return PMS_FAIL(PMS_E_CORRUPT, "references of an object", off, 1, 0);
    pms_put(pool, REFS(off), refs - 1);
    return refs == 1 ? pms_object_orphan(pool, off) : PMS_OK;
}

int pms_object_end(struct pms_pool *pool, uint64_t off)
{
    return pms_get(pool, REFS(off)) ? PMS_OK : pms_free(&pool->heap, off);
}

/* ---- reaping ---- */

static int reap_one(struct pms_pool *pool, uint64_t off, uint32_t *budget)
{
    uint32_t tag;
    PMS_TRY(object_tag(pool, off, &tag));
    uint64_t refs = pms_get(pool, REFS(off));
    if (refs != 0)
        return PMS_FAIL(PMS_E_CORRUPT, "references of an orphan", off, 0, refs);
    PMS_TRY(orphan_unlink(pool, off));
    int status = pms_kind_of(tag)->teardown(pool, off, budget);
    if (status != PMS_MISSING)
        return status;
    PMS_TRY(pms_object_orphan(pool, off));
    pool->reap_cursor = off;
    return PMS_OK;
}

static int reap(struct pms_pool *pool, uint32_t budget)
{
    uint64_t prev, next;
    while (budget > 0) {
        if (pool->reap_cursor == 0) {
            pool->reap_cursor = pms_get(pool, HEAD);
            pool->reap_due = pool->reap_cursor != 0;
            if (pool->reap_cursor == 0)
                return PMS_OK;
        }
        uint64_t off = pool->reap_cursor;
        budget--;
        if (pms_handle_find(pool, off)) {
            PMS_TRY(orphan_links(pool, off, &prev, &next));
            pool->reap_cursor = next;
        } else {
            PMS_TRY(reap_one(pool, off, &budget));
        }
        if (pool->reap_cursor == 0 && pool->reap_due == 1) {
            pool->reap_due = 0;
            return PMS_OK;
        }
    }
    return PMS_OK;
}

int pms_object_reap(struct pms_pool *pool, uint32_t budget)
{
    if (pool->collecting) /* K3 of collect.c */
        return PMS_OK;
    if (pool->reap_stopped) {
        pool->reap_due = 0;
        return PMS_OK;
    }
    int status = reap(pool, budget);
    if (status == PMS_E_CORRUPT && !pool->ws.failed) /* with it, a write of ours was lost */
        pool->reap_stopped = 1;
    return status;
}

/* ---- handles ---- */

void pms_object_init(struct pms_pool *pool)
{
    pool->reap = pms_object_reap;
    pool->rolled_back = pms_handles_rolled_back;
    pool->reap_cursor = 0;
    pool->reap_stopped = 0;
    pool->reap_due = 2;
}

void pms_object_free(struct pms_pool *pool)
{
    free(pool->handle_slot);
    free(pool->birth);
    pool->handle_slot = NULL;
    pool->handle_slots = pool->handle_count = 0;
    pool->birth = NULL;
    pool->birth_count = pool->birth_room = 0;
}

/* Twice the slots.  Without memory the chains get longer, unless there is no slot at all. */
static int handles_grow(struct pms_pool *pool)
{
    uint32_t old_slots = pool->handle_slots;
    uint32_t slots = old_slots ? old_slots * 2 : SLOTS_MIN;
    struct pms_handle **table = calloc(slots, sizeof *table);
    if (!table)
        return old_slots ? PMS_OK : PMS_FAIL_NOMEM("table of handles", slots * sizeof *table);
    struct pms_handle **old = pool->handle_slot;
    pool->handle_slot = table;
    pool->handle_slots = slots;
    for (uint32_t i = 0; i < old_slots; i++) {
        struct pms_handle *next;
        for (struct pms_handle *handle = old[i]; handle; handle = next) {
            uint32_t slot = pms_handle_slot_of(pool, handle->off);
            next = handle->next;
            handle->next = table[slot];
            table[slot] = handle;
        }
    }
    free(old);
    return PMS_OK;
}

static void handle_unlink(struct pms_pool *pool, struct pms_handle *handle)
{
    struct pms_handle **at = &pool->handle_slot[pms_handle_slot_of(pool, handle->off)];
    while (*at != handle)
        at = &(*at)->next;
    *at = handle->next;
    handle->next = NULL;
    pool->handle_count--;
}

struct pms_handle *pms_handle_get(struct pms_pool *pool, uint64_t off, uint32_t tag)
{
    struct pms_handle *handle = pms_handle_find(pool, off);
    if (handle) {
        handle->refs++;
        return handle;
    }
    if (pool->handle_count >= pool->handle_slots && handles_grow(pool) != PMS_OK)
        return NULL;
    handle = calloc(1, sizeof *handle);
    if (!handle)
        return NULL;
    uint32_t slot = pms_handle_slot_of(pool, off);
    handle->off = off;
    handle->pool = pool;
    handle->refs = 1;
    handle->state = PMS_HANDLE_LIVE;
    handle->tag = tag;
    handle->next = pool->handle_slot[slot];
    pool->handle_slot[slot] = handle;
    pool->handle_count++;
    pool->refs++;
    return handle;
}

void pms_handle_put(struct pms_handle *handle)
{
    struct pms_pool *pool = handle->pool;
    if (pool->fork_epoch != atomic_load(&pms_fork_epoch))
        return;
    pms_pool_lock(pool);
    int last = --handle->refs == 0;
    if (last && handle->state == PMS_HANDLE_LIVE) {
        handle_unlink(pool, handle);
        if (!pool->closed && pms_get(pool, REFS(handle->off)) == 0)
            pool->reap_due = 2;
    }
    pms_pool_unlock(pool);
    if (last) {
        free(handle);
        pms_pool_drop(pool);
    }
}

void pms_handles_rolled_back(struct pms_pool *pool, size_t birth_mark)
{
    for (size_t i = birth_mark; i < pool->birth_count; i++) {
        struct pms_handle *handle = pms_handle_find(pool, pool->birth[i]);
        if (handle) {
            handle_unlink(pool, handle);
            handle->state = PMS_HANDLE_STALE;
        }
    }
    if (pool->birth_count > birth_mark)
        pool->birth_count = birth_mark;
    pool->reap_cursor = 0;
    pool->reap_due = 2;
}

int pms_pool_root(struct pms_pool *pool, struct pms_handle **out)
{
    PMS_TRY(pms_enter_read_wait(pool, NULL, -1));
    uint64_t root = pms_get(pool, PMS_ROOT_OFF + offsetof(struct pms_root_pm, root));
    int status = pms_object_check(pool, root, PMS_TAG_DICT);
    if (status == PMS_OK) {
        *out = pms_handle_get(pool, root, PMS_TAG_DICT);
        if (!*out)
            status = PMS_FAIL(PMS_E_NOMEM, "handle", root, sizeof **out, 0);
    }
    int left = pms_leave_read(pool);
    if (status == PMS_OK && left != PMS_OK) {
        pms_handle_put(*out);
        status = left;
    }
    return status;
}
