/* pool_lock.c -- the pool's lock, and lending it to the thread that always takes it.
 *
 *   word    0 free, 1 held, 2 held and awaited: a futex, taken and given back by atomic instructions
 *   loan    a thread that has taken the word LEND_AFTER times in a row need not any more: it takes
 *           the lock by a store to its `inside` and a look at `lent`, and gives it back by a store
 *   recall  whoever else has got the word clears `lent`, has every running thread pass a barrier,
 *           waits until the borrower's `inside` is 0, and has a barrier passed again
 *
 * Why.  An atomic instruction waits until all stores before it have left the CPU, and with them the
 * write-backs of a commit: measured, a single put of 620 ns waits 140 ns for that, in which the
 * interpreter could have gone on.  A fence alone keeps stores in order, which is all that
 * durability needs: nothing that tells others of a commit leaves the CPU before what was fenced.
 *
 *   L1  the lock is held by the word or by the latest loan, never by both: the word's holder has
 *       recalled that and has seen its `inside` 0, and nobody but the word's holder lends
 *   L2  the borrower stores `inside`, then loads `lent`; a recall stores `lent`, has a barrier run
 *       on the borrower's CPU, then loads `inside`: so one of the two sees the other's store
 *   L3  an `inside` is stored to by one thread alone, for as long as the pool lives.  A borrower that
 *       the scheduler stops between its first look at `lent` and its store does store, long after
 *       the recall: it then sees that nothing is lent to it, and takes nothing of the next borrower
 *   L4  what a holder has written back without a fence is ordered before the stores of the next
 *       holder, if that is another thread: by the atomic instruction that gives the word back, or by
 *       a second barrier, when the recall has seen `inside` 0.  (The first may have met the borrower
 *       in the middle of its unit.  Thread B's fence says nothing of thread A's write-backs, and
 *       a frame of B makes the unit before it count as settled: docs/design.md.)
 *
 * x86-64 alone: its stores become visible in their order, and its write-backs heed atomic
 * instructions.  Elsewhere, and without membarrier(2), nothing is lent.
 */
#include <linux/futex.h>
#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "pool.h"

#define LEND_AFTER 64u
#define LOOKS 200u /* at `inside`, before the thread sleeps between them */
#define SLEEP_NS 100000

_Thread_local char pms_thread_mark __attribute__((tls_model("initial-exec")));

/* 1 + the fork epoch in which the barrier was asked for; 0: there is none. */
static _Atomic uint32_t lock_barrier;

static long membarrier(int command) { return syscall(SYS_membarrier, command, 0, 0); }

static void sleep_ns(long ns)
{
    struct timespec time = {.tv_nsec = ns};
    nanosleep(&time, NULL);
}

void pms_lock_init(void)
{
    uint32_t epoch = 1 + atomic_load(&pms_fork_epoch);
    if (pms_thread_place() == 0 || atomic_load(&lock_barrier) == epoch)
        return;
    int there = membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) == 0;
    atomic_store(&lock_barrier, there ? epoch : 0);
}

/* L2, L4.  It has been there when it was registered.  If it is refused later, by a sandbox that was
 * set up since, time has to do: a store is visible long before, and a write-back done.  But nothing is
 * lent any more. */
static void pass_barrier(void)
{
    if (membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED) == 0)
        return;
    atomic_store(&lock_barrier, 0);
    sleep_ns(10 * 1000000);
}

void pms_pool_unlock_word(struct pms_pool *pool)
{
    if (PMS_UNLIKELY(atomic_exchange_explicit(&pool->lock, 0, memory_order_release) == 2))
        syscall(SYS_futex, (uint32_t *)(void *)&pool->lock, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 1,
                NULL, NULL, 0);
}

/* The word is ours: have the loan back.  0: its borrower is inside, and we do not wait. */
static int recall(struct pms_pool *pool, int wait)
{
    if (pool->latest == NULL)
        return 1;
    if (atomic_load_explicit(&pool->lent, memory_order_relaxed) != NULL) {
        atomic_store_explicit(&pool->lent, NULL, memory_order_relaxed);
        pass_barrier();
    }
    for (uint32_t i = 0; atomic_load_explicit(&pool->latest->inside, memory_order_acquire);
         i++) {
        if (!wait)
            return 0;
        if (i >= LOOKS)
            sleep_ns(SLEEP_NS);
    }
    pass_barrier(); /* L4 */
    pool->latest = NULL;
    return 1;
}

/* The loan of a thread, its own for ever; NULL: PMS_LOANS others have had one before it. */
static struct pms_loan *loan_of(struct pms_pool *pool, uintptr_t place)
{
    for (struct pms_loan *loan = pool->loans; loan < pool->loans + PMS_LOANS; loan++) {
        if (loan->place == 0)
            loan->place = place;
        if (loan->place == place)
            return loan;
    }
    return NULL;
}

/* The lock is ours, by the word. */
static void count_turn(struct pms_pool *pool)
{
    uintptr_t me = pms_thread_place();
    if (pool->last_holder != me) {
        pool->last_holder = me;
        pool->turns = 0;
    }
    if (++pool->turns < LEND_AFTER)
        return;
    pool->turns = 0;
    if (atomic_load(&lock_barrier) != 1 + pool->fork_epoch)
        return;
    pool->latest = loan_of(pool, me);
    atomic_store_explicit(&pool->lent, pool->latest, memory_order_release);
}

int pms_pool_lock_word_try(struct pms_pool *pool)
{
    uint32_t expected = 0;
    if (!atomic_compare_exchange_strong_explicit(&pool->lock, &expected, 1,
                                                 memory_order_acquire, memory_order_relaxed))
        return 0;
    if (PMS_UNLIKELY(!recall(pool, 0))) {
        pms_pool_unlock_word(pool); /* not pms_pool_unlock: `holding` is the borrower's */
        return 0;
    }
    count_turn(pool);
    return 1;
}

void pms_pool_lock(struct pms_pool *pool)
{
    if (PMS_LIKELY(pms_pool_lock_try(pool)))
        return;
    while (atomic_exchange_explicit(&pool->lock, 2, memory_order_acquire) != 0)
        syscall(SYS_futex, (uint32_t *)(void *)&pool->lock, FUTEX_WAIT | FUTEX_PRIVATE_FLAG, 2,
                NULL, NULL, 0);
    (void)recall(pool, 1);
    pool->turns = 0;
}
