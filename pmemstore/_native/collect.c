/* collect.c -- mark, empty, reap.
 *
 *   first unit   | check everything, from root and handles | G = the other objects | empty some |
 *   more units   | empty more of G |
 *   last units   | reap all orphans: by now all of G are |
 *
 *   K1  only objects of G refer to objects of G, from the first unit to the last
 *   K2  each unit keeps O1, O2 of object.h; an object of G that is empty refers to nothing
 *   K3  no object of G is freed before all are empty: pool->collecting stops the reaper
 *
 * Emptying needs no space: blocks are freed and words change.  It takes a reference of its own
 * while a unit works on an object, so that one that refers to itself does not become an orphan in
 * the middle of its teardown.
 *
 * A crash, or a failure, leaves some of G empty: sound objects, still unreachable.
 */
#include "collect.h"

#include <stdlib.h>
#include <unistd.h>

#include "check_state.h"

#define BUDGET 4096u
#define BUDGET_MIN 32u

struct garbage {
    uint64_t *off; /* no orphans among them when the list was made */
    uint64_t count;
    uint64_t next; /* those before it are empty */
};

static uint64_t refs_of(const struct pms_pool *pool, uint64_t off)
{
    return pms_get(pool, off + offsetof(struct pms_object_pm, refs));
}

/* ---- mark ---- */

static int list_garbage(const struct pms_check *c, struct garbage *g)
{
    uint64_t room = c->object_count - c->live;
    if (room == 0)
        return PMS_OK;
    g->off = malloc(room * sizeof *g->off);
    if (!g->off)
        return PMS_FAIL_NOMEM("list what is to be collected", room * sizeof *g->off);
    for (uint32_t i = c->live; i < c->object_count; i++)
        if (!c->object[i].orphan)
            g->off[g->count++] = c->object[i].off;
    return PMS_OK;
}

static int mark(struct pms_pool *pool, struct garbage *g)
{
    struct pms_check_result result;
    struct pms_check c = {.pool = pool, .out = &result, .collecting = 1};
    int status = pms_check_all(&c);
    if (status == PMS_OK && !c.nomem && result.damage)
        status =
            PMS_FAIL(PMS_E_CORRUPT, "collecting: check() finds problems", 0, 0, result.damage);
    if (status == PMS_OK && !c.nomem)
        status = list_garbage(&c, g);
    return pms_check_end(&c, status);
}

/* ---- empty ---- */

static int empty_one(struct pms_pool *pool, uint64_t off, uint32_t *budget)
{
    uint32_t tag = PMS_CELL_TAG(pms_get(pool, off));
    if (!pms_tag_is_object(tag))
        return PMS_FAIL(PMS_E_CORRUPT, "kind of an object", off, PMS_TAG_DICT, tag);
    PMS_TRY(pms_object_check(pool, off, tag));
    if (refs_of(pool, off) == 0)
        return PMS_OK; /* an orphan by now */
    PMS_TRY(pms_object_ref(pool, off));
    int status = pms_kind_of(tag)->teardown(pool, off, budget);
    if (status != PMS_OK && status != PMS_MISSING)
        return status;
    PMS_TRY(pms_object_unref(pool, off));
    return status;
}

static int empty(struct pms_pool *pool, struct garbage *g, uint32_t budget)
{
    while (g->next < g->count && budget > 0) {
        budget--;
        int status = empty_one(pool, g->off[g->next], &budget);
        if (status == PMS_MISSING)
            return PMS_OK;
        PMS_TRY(status);
        g->next++;
    }
    return PMS_OK;
}

/* ---- units of work ---- */

struct collection {
    struct garbage garbage;
    int64_t before, after; /* bytes in use */
    uint32_t budget;       /* of one unit */
    int marked;            /* garbage is known, and pool->collecting is ours */
    int reaping;           /* all of it is empty */
    int held_up;           /* another thread's collection is under way */
    int done;
};

static int measure(struct pms_pool *pool, int64_t *used)
{
    struct pms_heap_stats stats;
    PMS_TRY(pms_heap_statistics(&pool->heap, &stats));
    *used = (int64_t)stats.used_bytes;
    return PMS_OK;
}

/* What is done between entering and leaving. */
static int work(struct pms_pool *pool, struct collection *col)
{
    col->held_up = pool->collecting && !col->marked;
    if (col->held_up)
        return PMS_OK;
    if (col->reaping) {
        PMS_TRY(pms_object_reap(pool, col->budget));
        col->done = pool->reap_due == 0;
        return col->done ? measure(pool, &col->after) : PMS_OK;
    }
    if (!col->marked) {
        PMS_TRY(measure(pool, &col->before));
        PMS_TRY(mark(pool, &col->garbage));
        pool->collecting = 1;
        col->marked = 1;
    }
    return empty(pool, &col->garbage, col->budget);
}

static int unit(struct pms_pool *pool, struct collection *col)
{
    uint64_t ticket = 0, next = col->garbage.next;
    PMS_TRY(pms_enter_write_wait(pool, NULL, -1));
    int status = pms_leave_write(pool, work(pool, col), &ticket);
    if (status == PMS_OK && ticket)
        status = pms_wait_durable(pool, ticket);
    if (status != PMS_OK) { /* rolled back */
        col->garbage.next = next;
        col->done = 0;
    }
    return status;
}

/* The reaper may work again, and begins anew. */
static void unlist(struct pms_pool *pool, struct collection *col)
{
    if (!col->marked)
        return;
    pms_pool_lock(pool);
    pool->collecting = 0;
    pool->reap_due = 2;
    pms_pool_unlock(pool);
    free(col->garbage.off);
    col->garbage.off = NULL;
    col->marked = 0;
}

int pms_pool_collect(struct pms_pool *pool, uint64_t *freed_bytes)
{
    struct collection col = {.budget = BUDGET};
    int status = PMS_OK;
    if (pms_tx_depth(pool))
        return PMS_FAIL(PMS_E_TX, "collecting inside a transaction", 0, 0, 0);
    while (status == PMS_OK && !col.done) {
        status = unit(pool, &col);
        if (status == PMS_E_FULL && col.budget > BUDGET_MIN) {
            /* A large unit may need pages for the log, and there are none: less at a time. */
            col.budget = BUDGET_MIN;
            status = pms_pool_checkpoint(pool);
        } else if (status == PMS_OK && col.held_up) {
            if (!col.reaping)
                return PMS_E_WAIT;
            usleep(1000); /* that one will reap, or will let us */
        } else if (status == PMS_OK && col.garbage.next == col.garbage.count) {
            unlist(pool, &col);
            col.reaping = 1;
        }
    }
    unlist(pool, &col);
    *freed_bytes = col.before > col.after ? (uint64_t)(col.before - col.after) : 0;
    return status;
}
