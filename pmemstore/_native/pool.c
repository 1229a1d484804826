/* pool.c -- operations and transactions of an open pool.  pool.h is the manual. */
#include "pool.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

/* Orphans torn down with each unit: entries, not objects. */
#define REAP_SINGLE 32u
#define REAP_TRANSACTION 256u

int pms_pool_poison(struct pms_pool *pool, int status)
{
    pool->poisoned = 1;
    if (status == PMS_E_MEDIA)
        return status;
    struct pms_detail *d = pms_detail();
    return pms_fail(PMS_E_MEDIA, d->file, d->line, d->what, d->off, d->want, d->have,
                    d->sys_errno);
}

int pms_pool_allowed(struct pms_pool *pool, const struct pms_handle *handle, int write)
{
    if (PMS_UNLIKELY(pool->closed))
        return PMS_FAIL(PMS_E_CLOSED, "use a closed pool", 0, 0, 0);
    if (PMS_UNLIKELY(handle && handle->state != PMS_HANDLE_LIVE))
        return PMS_FAIL(PMS_E_STALE, "use an object that was rolled back", handle->off, 0, 0);
    if (PMS_UNLIKELY(pms_map_error(&pool->map)))
        return PMS_FAIL(PMS_E_MEDIA, pms_pool_why(pool, "use a damaged mapping"),
                        atomic_load(&pool->map.media_error) - 1, 0, 0);
    if (!write)
        return PMS_OK;
    if (PMS_UNLIKELY(pool->read_only))
        return PMS_FAIL(PMS_E_READONLY, "change a pool opened with \"r\"", 0, 0, 0);
    if (PMS_UNLIKELY(pool->poisoned))
        return PMS_FAIL(PMS_E_POISONED, pms_pool_why(pool, "change a pool after a failed sync"),
                        0, 0, 0);
    if (PMS_UNLIKELY(pool->depth && pool->doomed))
        return PMS_FAIL(PMS_E_TX, "go on in a transaction that can only be rolled back", 0, 0,
                        0);
    return PMS_OK;
}

/* ---- rolling back ---- */

static void roll_back_to(struct pms_pool *pool, const struct pms_mark *mark)
{
    pool->ws.failed = 0;
    pms_wset_rollback(&pool->ws, mark->journal);
    pms_heap_undo(&pool->heap, mark->actions);
    if (pool->ws.failed) /* no memory for an old word or extent: only all of it can go back */
        pool->doomed = 1;
    pool->rolled_back(pool, mark->births);
    pool->rollbacks++;
    pool->writes++;
}

/* The whole unit is gone (already, if a commit failed). */
static void forget_unit(struct pms_pool *pool)
{
    pool->rolled_back(pool, 0);
    pool->rollbacks++;
    pool->writes++;
}

static void disown(struct pms_pool *pool)
{
    pool->depth = 0;
    pool->doomed = 0;
    atomic_store(&pool->owner, 0);
    pms_pool_wake(pool, PMS_WAITS_TO_ENTER);
}

void pms_pool_roll_back_all(struct pms_pool *pool)
{
    pms_unit_abort(&pool->tx);
    forget_unit(pool);
    disown(pool);
}

/* ---- single operations ---- */

/* Part of every unit, but not of its success: without space or memory for it the tear-down waits
 * for another unit. */
static int reap_some(struct pms_pool *pool, uint32_t budget)
{
    struct pms_mark mark = {pool->ws.journal_count, pool->heap.action_count, pool->birth_count};
    int journaling = pool->ws.journaling;
    pool->ws.journaling = 1;
    int status = pool->reap(pool, budget);
    pool->ws.journaling = journaling;
    if (status != PMS_E_FULL && status != PMS_E_NOMEM && !pool->ws.failed)
        return status;
    roll_back_to(pool, &mark);
    return pool->doomed ? PMS_FAIL(PMS_E_NOMEM, "tear down an object", 0, 0, 0) : PMS_OK;
}

static int commit_unit(struct pms_pool *pool, uint32_t budget, uint64_t *ticket)
{
    int status = PMS_OK;
    if (PMS_UNLIKELY(pool->poisoned)) /* by growth, inside this very unit */
        status = PMS_FAIL(PMS_E_POISONED, "commit after a failed sync", 0, 0, 0);
    else if (PMS_UNLIKELY(pool->ws.failed))
        status = PMS_FAIL(PMS_E_NOMEM, "remember what changes", 0, 0, 0);
    else if (PMS_UNLIKELY(pool->reap_due))
        status = reap_some(pool, budget);
    if (PMS_UNLIKELY(status != PMS_OK)) {
        pms_unit_abort(&pool->tx);
        return status;
    }
    status = pms_unit_commit(&pool->tx, ticket);
    if (PMS_LIKELY(status == PMS_OK) && PMS_UNLIKELY(pms_watch_due(&pool->watch)))
        return pms_pool_look(pool, 0);
    if (PMS_UNLIKELY(status == PMS_E_OS || status == PMS_E_MEDIA))
        return pms_pool_poison(pool, status);
    return status;
}

static int leave_single(struct pms_pool *pool, int status, uint64_t *ticket)
{
    if (PMS_LIKELY(status == PMS_OK)) {
        status = commit_unit(pool, REAP_SINGLE, ticket);
        if (PMS_LIKELY(status == PMS_OK)) {
            pool->birth_count = 0;
            return PMS_OK;
        }
        forget_unit(pool);
        return status;
    }
    /* failed: nothing was remembered, and the next unit must not be told so. */
    if (pool->ws.overlay.count || pool->heap.action_count || pool->ws.fresh_count ||
        pool->ws.failed) {
        pms_unit_abort(&pool->tx);
        forget_unit(pool);
    }
    return status;
}

static int leave_inside(struct pms_pool *pool, int status)
{
    if (status == PMS_OK && pool->ws.failed)
        status = PMS_FAIL(PMS_E_NOMEM, "remember what changes", 0, 0, 0);
    if (status == PMS_OK)
        status = pms_unit_breathe(&pool->tx);
    if (PMS_LIKELY(status == PMS_OK)) {
        if (pool->depth == 1) /* no savepoint could need it: a roll-back of all has the log */
            pool->ws.journal_count = 0;
        return PMS_OK;
    }
    if (status == PMS_E_OS && pms_map_error(&pool->map))
        status = PMS_E_MEDIA;
    if (pool->ws.journal_count > pool->op_mark.journal ||
        pool->heap.action_count > pool->op_mark.actions)
        roll_back_to(pool, &pool->op_mark);
    return status;
}

int pms_leave_write(struct pms_pool *pool, int status, uint64_t *ticket)
{
    *ticket = 0;
    if (PMS_UNLIKELY(
            pool->ws.failed)) /* a write was lost: what was read after it says nothing */
        status = PMS_FAIL_NOMEM("remember what changes", 0);
    if (PMS_UNLIKELY(status == PMS_E_CORRUPT) && pms_pool_look(pool, 1) != PMS_OK)
        status = PMS_E_MEDIA; /* not damage, but another task's doing */
    status = pool->depth ? leave_inside(pool, status) : leave_single(pool, status, ticket);
    pool->writes++;
    if (PMS_UNLIKELY(pms_map_error(&pool->map)))
        status = pms_pool_poison(pool, PMS_FAIL(PMS_E_MEDIA, pms_pool_why(pool, "write"),
                                                atomic_load(&pool->map.media_error) - 1, 0, 0));
    pms_pool_unlock(pool);
    return status;
}

/* ---- transactions ---- */

/* Lock, and see that this thread may end its transaction at this depth. */
static int lock_owner(struct pms_pool *pool, uint32_t depth, int innermost)
{
    if (pool->fork_epoch != atomic_load(&pms_fork_epoch))
        return PMS_FAIL(PMS_E_FORKED, "use a pool in a child of fork()", 0, 0, 0);
    pms_pool_lock(pool);
    int status = PMS_OK;
    if (pool->closed)
        status = PMS_FAIL(PMS_E_CLOSED, "end a transaction", 0, 0, 0);
    else if (pool->owner != pms_thread_self() || depth == 0 || depth > pool->depth)
        status = PMS_FAIL(PMS_E_TX, "end a transaction that is not open in this thread", 0,
                          depth, pool->depth);
    else if (innermost && depth != pool->depth)
        status =
            PMS_FAIL(PMS_E_TX, "end a transaction before one inside it", 0, depth, pool->depth);
    if (status != PMS_OK)
        pms_pool_unlock(pool);
    return status;
}

int pms_tx_commit(struct pms_pool *pool, uint32_t depth, uint64_t *ticket)
{
    *ticket = 0;
    PMS_TRY(lock_owner(pool, depth, 1));
    int status = PMS_OK;
    if (depth > 1) {
        pool->depth--;
    } else if (pool->doomed) {
        pms_pool_roll_back_all(pool);
        status =
            PMS_FAIL(PMS_E_NOMEM, "commit a transaction that had to be rolled back", 0, 0, 0);
    } else {
        status = commit_unit(pool, REAP_TRANSACTION, ticket);
        if (status != PMS_OK)
            forget_unit(pool);
        else
            pool->birth_count = 0;
        disown(pool);
    }
    pool->writes++;
    pms_pool_unlock(pool);
    return status;
}

int pms_tx_abort(struct pms_pool *pool, uint32_t depth)
{
    PMS_TRY(lock_owner(pool, depth, 0));
    if (depth == 1) {
        pms_pool_roll_back_all(pool);
    } else {
        roll_back_to(pool, &pool->savepoint[depth - 1]);
        pool->depth = depth - 1;
    }
    pms_pool_unlock(pool);
    return PMS_OK;
}

void pms_tx_abandon(struct pms_pool *pool, uint32_t depth, uint64_t number)
{
    if (pool->fork_epoch != atomic_load(&pms_fork_epoch))
        return;
    pms_pool_lock(pool);
    if (!pool->closed && pool->owner != 0 && pool->tx_number == number &&
        depth <= pool->depth) {
        if (depth == 1)
            pms_pool_roll_back_all(pool);
        else
            pool->doomed = 1;
    }
    pms_pool_unlock(pool);
}

uint32_t pms_tx_depth(struct pms_pool *pool)
{
    return atomic_load(&pool->owner) == pms_thread_self() ? pool->depth : 0;
}

/* ---- checkpoint, close ---- */

int pms_pool_checkpoint(struct pms_pool *pool)
{
    PMS_TRY(pms_enter_write_wait(pool, NULL, -1));
    int status = pool->depth
                     ? PMS_FAIL(PMS_E_TX, "checkpoint inside a transaction", 0, 0, pool->depth)
                     : pms_pool_drain_all(pool);
    if (status == PMS_OK)
        status = pms_pool_cut(pool);
    pms_pool_unlock(pool);
    return status;
}

/* Power losses do no harm any more, and the file is everybody's again.  *guard: that it cannot be
 * is told by close, but is no failure of the medium. */
static int end_of_use(struct pms_pool *pool, int *guard)
{
    uint64_t gen = pool->super.gen;
    *guard = pms_guard_end(pool);
    if (*guard == PMS_E_MEDIA)
        return *guard;
    if (pool->super.in_use) {
        pool->super.in_use = 0;
        pool->super.gen++;
    }
    return pool->super.gen == gen ? PMS_OK : pms_super_write(pool);
}

int pms_pool_close(struct pms_pool *pool)
{
    if (pool->fork_epoch != atomic_load(&pms_fork_epoch)) {
        pool->closed = 1; /* the child: the parent's pool is not ours to touch */
        return PMS_OK;
    }
    pms_pool_lock(pool);
    pool->closing = 1;
    if (!pool->closed && pool->owner)
        pms_pool_roll_back_all(pool);
    int status = PMS_OK, guard = PMS_OK;
    if (!pool->closed && !pool->read_only && !pool->poisoned && !pms_map_error(&pool->map)) {
        status = pms_pool_drain_all(pool);
        if (status == PMS_OK) {
            /* Nobody gets in between this and closed.  An open that failed, perhaps with a
             * sync, writes no more than it must. */
            pool->log.closing = pool->watch.map != NULL;
            status = pms_pool_end_untaken(pool);
            if (status == PMS_OK)
                status = pool->untaken ? pms_pool_look(pool, 1) : pms_pool_cut(pool);
            if (status == PMS_OK)
                status = end_of_use(pool, &guard);
            if (status != PMS_OK) /* as everywhere: MEDIA is what a failed sync is called */
                status = pms_pool_poison(pool, status);
        }
    }
    while (!pool->closed && pool->tx.leader) { /* it uses the descriptor without the lock */
        pms_pool_unlock(pool);
        usleep(100);
        pms_pool_lock(pool);
    }
    if (pool->closed) { /* before, or by another thread while this one waited */
        pms_pool_unlock(pool);
        return PMS_OK;
    }
    if (pms_guard_lift(pool) != PMS_OK) /* also after a failure, which left the mark */
        guard = PMS_E_OS;
    struct pms_detail detail = *pms_detail();
    pool->closed = 1;
    int fd = pool->map.medium.fd;
    if (pool->views)
        pms_map_keep(&pool->map);
    else
        pms_map_close(&pool->map);
    if (fd >= 0) {
        if (pool->views) { /* a mapping that stays would keep them */
            (void)flock(fd, LOCK_UN);
            (void)fcntl(fd, F_SETLEASE, F_UNLCK);
        }
        close(fd);
    }
    uint64_t durable = pool->tx.ticket_durable;
    pms_tx_free(&pool->tx);
    pool->tx.ticket_durable = durable; /* threads that wait for a commit still look at it */
    pms_heap_free(&pool->heap);
    pms_log_free(&pool->log);
    pms_wset_free(&pool->ws);
    pms_pool_untake(pool);
    pms_pool_wake(pool, PMS_WAITS_ALL);
    pms_pool_unlock(pool);
    *pms_detail() = detail;
    return status == PMS_OK ? guard : status;
}

void pms_pool_unview(struct pms_pool *pool)
{
    if (pool->fork_epoch != atomic_load(&pms_fork_epoch))
        return;
    pms_pool_lock(pool);
    if (--pool->views == 0 && pool->closed)
        pms_map_close(&pool->map);
    pms_pool_unlock(pool);
}

/* ---- statistics ---- */

int pms_pool_stats(struct pms_pool *pool, struct pms_stats *out)
{
    struct pms_heap_stats heap;
    PMS_TRY(pms_enter_read_wait(pool, NULL, -1));
    int status = pms_heap_statistics(&pool->heap, &heap);
    const struct pms_counters *c = &pool->map.medium.counters;
    if (status == PMS_OK)
        *out = (struct pms_stats){.commits = pool->tx.commits,
                                  .aborts = pool->tx.aborts,
                                  .fences = c->fences,
                                  .flushed_lines = c->flushed_lines,
                                  .syncs = c->syncs,
                                  .log_bytes = pool->log.log_bytes_total,
                                  .checkpoints = pool->log.checkpoints,
                                  .write_faults = pool->tx.write_faults,
                                  .written_bytes = c->written_bytes,
                                  .looks = pool->watch.looks,
                                  .repairs = pool->watch.repaired,
                                  .used_bytes = heap.used_bytes,
                                  .free_bytes = heap.free_bytes,
                                  .size = pool->super.size,
                                  .limit = pool->limit,
                                  .handles = pool->handle_count,
                                  .recovered_units = pool->recovered_units};
    int left = pms_leave_read(pool);
    return status == PMS_OK ? left : status;
}

int pms_pool_heap_stats(struct pms_pool *pool, struct pms_heap_stats *out)
{
    PMS_TRY(pms_enter_read_wait(pool, NULL, -1));
    int status = pms_heap_statistics(&pool->heap, out);
    int left = pms_leave_read(pool);
    return status == PMS_OK ? left : status;
}

const char *pms_pool_reason(struct pms_pool *pool)
{
    pms_pool_lock(pool);
    const char *reason = pms_map_reason(&pool->map);
    pms_pool_unlock(pool);
    return reason;
}

uint32_t pms_pool_tier(struct pms_pool *pool) { return (uint32_t)pool->map.medium.tier; }
