/* pool_wait.c -- who is let in, waiting for the owner, and waiting for a sync.
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

#define SLICE_NS 50000000 /* a waiter comes back this often, for signal handlers */

/* Who sleeps on `turn`: threads that wait for a frame, by its number, and all others.  At most three
 * frames have waiters: the one whose threads are being woken, the one being written, and the next. */
#define WAITS_FOR_FRAME(number) (1u << ((number) & 3u))
#define WAITS_FOR_OTHERS 16u

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

void pms_pool_wake(struct pms_pool *pool)
{
    atomic_fetch_add_explicit(&pool->turn, 1, memory_order_release);
    if (pool->waiters)
        futex(&pool->turn, FUTEX_WAKE, INT_MAX, NULL, 0);
}

/* Lock held, frame `number` is durable: one who waits for the next is woken, to lead, and all who
 * wait for this one; the others would find nothing to do.  The lock is given up meanwhile: it takes
 * 20 to 30 us to wake eight threads, and the next leader need not wait for that. */
static void wake_frame(struct pms_pool *pool, uint64_t number)
{
    atomic_fetch_add_explicit(&pool->turn, 1, memory_order_release);
    if (!pool->waiters)
        return;
    pms_pool_unlock(pool);
    futex(&pool->turn, FUTEX_WAKE_BITSET, 1, NULL, WAITS_FOR_FRAME(number + 1));
    futex(&pool->turn, FUTEX_WAKE_BITSET, INT_MAX, NULL, WAITS_FOR_FRAME(number));
    pms_pool_lock(pool);
}

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* Lock held: sleep until `turn` changes or ns have passed; lock held again. */
static void sleep_turn(struct pms_pool *pool, int64_t ns, uint32_t who)
{
    uint32_t turn = atomic_load(&pool->turn);
    int64_t end = now_ns() + (ns > SLICE_NS ? SLICE_NS : ns);
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

/* ---- group commit ---- */

/* A step of the leader.  The kernel tells an error once: another sync, that of growth, may have been
 * told ours, and ours then says that all is well. */
static int unlocked(struct pms_pool *pool, int (*step)(struct pms_tx *tx))
{
    pms_pool_unlock(pool);
    int status = step(&pool->tx);
    pms_pool_lock(pool);
    return status == PMS_OK && pool->poisoned
               ? PMS_FAIL(PMS_E_MEDIA, "commit while a sync failed", 0, 0, 0)
               : status;
}

static int lead(struct pms_pool *pool)
{
    int status = pms_group_take(&pool->tx);
    if (status == PMS_OK && pool->tx.writing.data_sync)
        status = unlocked(pool, pms_group_sync); /* what the frame speaks of, before it */
    if (status == PMS_OK)
        status = unlocked(pool, pms_group_write);
    if (status == PMS_OK)
        status = pms_pool_look(pool, 0); /* before anybody is told */
    pms_group_done(&pool->tx, status);
    if (status == PMS_OK) {
        wake_frame(pool, pool->tx.frames);
        return PMS_OK;
    }
    status = pms_pool_poison(pool, status);
    pms_pool_wake(pool);
    return status;
}

/* Lock held, a leader writes: the frame with this ticket's unit. */
static uint32_t waits_for(const struct pms_tx *tx, uint64_t ticket)
{
    return WAITS_FOR_FRAME(tx->frames + (ticket > tx->writing.ticket));
}

static int durable_until(struct pms_pool *pool, uint64_t ticket)
{
    struct pms_tx *tx = &pool->tx;
    while (tx->ticket_durable < ticket) {
        if (pool->poisoned || pool->closed)
            return PMS_FAIL(PMS_E_MEDIA, "wait for a commit's sync", 0, ticket,
                            tx->ticket_durable);
        if (tx->leader)
            sleep_turn(pool, SLICE_NS, waits_for(tx, ticket));
        else
            PMS_TRY(lead(pool));
    }
    return PMS_OK;
}

/* With the lock, although a look at ticket_durable would do: it lets the threads that a frame wakes
 * come one by one, where otherwise all of them would run into the interpreter's lock at once, which
 * costs more (measured: 20 us of CPU time a commit in place of 15, with 16 threads). */
int pms_wait_durable(struct pms_pool *pool, uint64_t ticket)
{
    pms_pool_lock(pool);
    int status = durable_until(pool, ticket);
    pms_pool_unlock(pool);
    return status;
}

int pms_pool_drain(struct pms_pool *pool)
{
    return durable_until(pool, pool->tx.ticket_issued);
}

/* Draining gives the lock up, and units that end meanwhile are not durable when it returns: so no
 * new ones begin until the last is. */
int pms_pool_drain_all(struct pms_pool *pool)
{
    int status = PMS_OK;
    pool->draining++;
    while (status == PMS_OK && !pool->closed &&
           pool->tx.ticket_durable != pool->tx.ticket_issued)
        status = pms_pool_drain(pool);
    if (--pool->draining == 0)
        pms_pool_wake(pool);
    return status == PMS_OK && pool->closed
               ? PMS_FAIL(PMS_E_CLOSED, "use a closed pool", 0, 0, 0)
               : status;
}

int pms_pool_wants_quiet(const struct pms_pool *pool)
{
    return pool->log.mode == PMS_MODE_FILE && !pool->read_only && !pool->poisoned &&
           (pool->draining || pms_tx_wants_flush(&pool->tx) ||
            pms_tx_wants_checkpoint(&pool->tx));
}

int pms_pool_quiet(struct pms_pool *pool)
{
    if (pool->draining) {
        sleep_turn(pool, SLICE_NS, WAITS_FOR_OTHERS);
        return PMS_OK;
    }
    PMS_TRY(pms_pool_drain(pool));
    /* Draining gave the lock up: somebody may have begun a transaction meanwhile, or closed. */
    if (!pool->closed && pool->owner == 0 &&
        pool->tx.ticket_durable == pool->tx.ticket_issued && pms_tx_wants_checkpoint(&pool->tx))
        return pms_pool_cut(pool);
    return PMS_OK;
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
            sleep_turn(pool, left, WAITS_FOR_OTHERS);
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
    int64_t start = now_ns(),
            slice = timeout_ns < 0 || timeout_ns > SLICE_NS ? SLICE_NS : timeout_ns;
    if (is_forked(pool))
        return fail_forked();
    pms_pool_lock(pool);
    for (;;) {
        int status = pms_pool_allowed(pool, handle, write);
        if (status == PMS_OK && !must_wait(pool, write))
            return PMS_OK;
        int64_t spent = now_ns() - start;
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
