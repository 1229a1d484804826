/* pool_wait.c -- who is let in, waiting for the owner, and sleeping.
 *
 *   lock    held for single operations: pool_lock.c
 *   owner   the thread with the open transaction; others sleep on `turn`
 *   turn    counts up whenever something ended that somebody may wait for
 *
 * A transaction whose thread died is rolled back by the first thread that waits for it.
 */
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "pool.h"

static long futex(_Atomic uint32_t *word, int op, uint32_t value, const struct timespec *time,
                  uint32_t who)
{
    return syscall(SYS_futex, (uint32_t *)(void *)word, op | FUTEX_PRIVATE_FLAG, value, time,
                   NULL, who);
}

/* The kernel's number: it tells whether the thread still lives, and is not used again soon. */
uint64_t pms_thread_self(void)
{
    static _Thread_local uint64_t id;
    static _Thread_local uint32_t epoch;
    uint32_t now = atomic_load_explicit(&pms_fork_epoch, memory_order_relaxed);
    if (id == 0 || epoch != now) {
        id = (uint64_t)syscall(SYS_gettid);
        epoch = now;
    }
    return id;
}

void pms_pool_wake_some(struct pms_pool *pool, int most, uint32_t who)
{
    futex(&pool->turn, FUTEX_WAKE_BITSET, (uint32_t)most, NULL, who);
}

void pms_pool_wake(struct pms_pool *pool, uint32_t who)
{
    atomic_fetch_add_explicit(&pool->turn, 1, memory_order_release);
    if (pool->waiters)
        pms_pool_wake_some(pool, INT_MAX, who);
}

void pms_pool_sleep(struct pms_pool *pool, int64_t ns, uint32_t who)
{
    uint32_t turn = atomic_load(&pool->turn);
    int64_t end = pms_watch_now() + (ns > PMS_SLICE_NS ? PMS_SLICE_NS : ns);
    struct timespec time = {.tv_sec = end / 1000000000, .tv_nsec = end % 1000000000};
    pool->waiters++;
    pms_pool_unlock(pool);
    futex(&pool->turn, FUTEX_WAIT_BITSET, turn, &time, who);
    pms_pool_lock(pool);
    pool->waiters--;
}

static int owner_died(const struct pms_pool *pool)
{
    return syscall(SYS_tgkill, getpid(), (pid_t)pool->owner, 0) != 0 && errno == ESRCH;
}

/* ---- entering ---- */

/* Lock held: must this thread wait?  Reads wait for durability too: what they see must not
 * be lost by a crash right after. */
static int must_wait(const struct pms_pool *pool, int write)
{
    uint64_t owner = atomic_load_explicit(&pool->owner, memory_order_relaxed);
    if (PMS_UNLIKELY(owner != 0))
        return owner != pms_thread_self();
    if (write)
        return pool->untaken || pms_pool_wants_quiet(pool);
    return pool->tx.ticket_issued != pool->tx.ticket_durable && !pool->poisoned;
}

static int is_forked(const struct pms_pool *pool)
{
    return pool->fork_epoch != atomic_load_explicit(&pms_fork_epoch, memory_order_relaxed);
}

static int fail_forked(void)
{
    return PMS_FAIL(PMS_E_FORKED, "use a pool in a child of fork()", 0, 0, 0);
}

/* What pms_pool_allowed refuses for, all at once, and what nobody need wait for on direct media. */
static inline int plain_sailing(struct pms_pool *pool, const struct pms_handle *handle,
                                int write)
{
    uint32_t trouble = pool->closed | (handle ? handle->state : 0);
    if (write)
        trouble |= pool->read_only | pool->poisoned | (pool->untaken != NULL);
    return trouble == 0 && !pms_map_error(&pool->map) &&
           atomic_load_explicit(&pool->owner, memory_order_relaxed) == 0 &&
           pool->log.mode == PMS_MODE_DIRECT;
}

int pms_enter_locked(struct pms_pool *pool, const struct pms_handle *handle, int write)
{
    int status =
        PMS_UNLIKELY(is_forked(pool)) ? fail_forked() : pms_pool_allowed(pool, handle, write);
    if (PMS_LIKELY(status == PMS_OK) && must_wait(pool, write))
        status = PMS_E_WAIT;
    if (PMS_UNLIKELY(status != PMS_OK))
        pms_pool_unlock(pool);
    return status;
}

/* In the child of a fork() a thread that is not there may seem to hold the lock. */
static inline int enter(struct pms_pool *pool, const struct pms_handle *handle, int write)
{
    if (PMS_UNLIKELY(is_forked(pool)))
        return fail_forked();
    if (PMS_UNLIKELY(!pms_pool_lock_try(pool)))
        return PMS_E_WAIT;
    if (PMS_LIKELY(plain_sailing(pool, handle, write)))
        return PMS_OK;
    return pms_enter_locked(pool, handle, write);
}

/* Lock held: one step towards being let in. */
static int step_in(struct pms_pool *pool, int write, int64_t left)
{
    if (pool->owner != 0 && pool->owner != pms_thread_self()) {
        if (owner_died(pool))
            pms_pool_roll_back_all(pool);
        else
            pms_pool_sleep(pool, left, PMS_WAITS_TO_ENTER);
        return PMS_OK;
    }
    if (write)
        return pool->untaken ? pms_pool_take(pool) : pms_pool_quiet(pool);
    PMS_TRY(pms_pool_drain(pool));
    /* Others have committed more meanwhile, and would again: a read might never be let in. */
    return must_wait(pool, 0) && pool->owner == 0 ? pms_pool_drain_all(pool) : PMS_OK;
}

static int enter_wait(struct pms_pool *pool, const struct pms_handle *handle, int write,
                      int64_t timeout_ns)
{
    int64_t start = pms_watch_now(),
            slice = timeout_ns < 0 || timeout_ns > PMS_SLICE_NS ? PMS_SLICE_NS : timeout_ns;
    if (is_forked(pool))
        return fail_forked();
    pms_pool_lock(pool);
    for (;;) {
        int status = pms_pool_allowed(pool, handle, write);
        if (status == PMS_OK && !must_wait(pool, write))
            return PMS_OK;
        int64_t spent = pms_watch_now() - start;
        if (status == PMS_OK && spent >= slice)
            status = timeout_ns >= 0 && spent >= timeout_ns
                         ? PMS_FAIL(PMS_E_TIMEOUT, "wait for another thread's transaction", 0,
                                    timeout_ns, spent)
                         : PMS_E_INTR;
        if (status == PMS_OK)
            status = step_in(pool, write, slice - spent);
        if (status != PMS_OK) {
            pms_pool_unlock(pool);
            return status;
        }
    }
}

int pms_enter_read(struct pms_pool *pool, const struct pms_handle *handle)
{
    return enter(pool, handle, 0);
}

int pms_enter_read_wait(struct pms_pool *pool, const struct pms_handle *handle,
                        int64_t timeout_ns)
{
    return enter_wait(pool, handle, 0, timeout_ns);
}

int pms_leave_failed(const struct pms_pool *pool)
{
    uint64_t error = atomic_load_explicit(&pool->map.media_error, memory_order_relaxed);
    return PMS_FAIL(PMS_E_MEDIA, pms_pool_why(pool, "read"), error - 1, 0, 0);
}

int pms_leave_read(struct pms_pool *pool) { return pms_leave_read_inline(pool); }

/* Lock held: the operation begins. */
static inline int begin_operation(struct pms_pool *pool)
{
    if (pool->depth == 0) {
        pool->birth_count = 0;
        pool->doomed = 0;
        pms_unit_begin(&pool->tx, 0);
        pms_watch_begin(&pool->watch);
    }
    pool->op_mark =
        (struct pms_mark){pool->ws.journal_count, pool->heap.action_count, pool->birth_count};
    return PMS_OK;
}

int pms_enter_write(struct pms_pool *pool, const struct pms_handle *handle)
{
    PMS_TRY(enter(pool, handle, 1));
    return begin_operation(pool);
}

int pms_enter_write_wait(struct pms_pool *pool, const struct pms_handle *handle,
                         int64_t timeout_ns)
{
    PMS_TRY(enter_wait(pool, handle, 1, timeout_ns));
    return begin_operation(pool);
}

/* ---- a transaction begins ---- */

static int own(struct pms_pool *pool, uint32_t *depth)
{
    if (pool->depth == 0) {
        pool->birth_count = 0;
        pool->doomed = 0;
        pms_unit_begin(&pool->tx, 1);
        pms_watch_begin(&pool->watch);
        pool->tx_number++;
        atomic_store(&pool->owner, pms_thread_self());
    }
    pool->savepoint[pool->depth] =
        (struct pms_mark){pool->ws.journal_count, pool->heap.action_count, pool->birth_count};
    *depth = ++pool->depth;
    pms_pool_unlock(pool);
    return PMS_OK;
}

static int reserve_savepoint(struct pms_pool *pool)
{
    if (pool->depth < pool->savepoint_room)
        return PMS_OK;
    size_t room = pool->savepoint_room ? pool->savepoint_room * 2 : 16;
    struct pms_mark *s = realloc(pool->savepoint, room * sizeof *s);
    if (!s)
        return PMS_FAIL(PMS_E_NOMEM, "begin a transaction", 0, room * sizeof *s, 0);
    pool->savepoint = s;
    pool->savepoint_room = room;
    return PMS_OK;
}

static int begin(struct pms_pool *pool, uint32_t *depth)
{
    int status = reserve_savepoint(pool);
    if (status == PMS_OK)
        return own(pool, depth);
    pms_pool_unlock(pool);
    return status;
}

int pms_tx_begin(struct pms_pool *pool, uint32_t *depth)
{
    PMS_TRY(enter(pool, NULL, 1));
    return begin(pool, depth);
}

int pms_tx_begin_wait(struct pms_pool *pool, uint32_t *depth, int64_t timeout_ns)
{
    PMS_TRY(enter_wait(pool, NULL, 1, timeout_ns));
    return begin(pool, depth);
}
