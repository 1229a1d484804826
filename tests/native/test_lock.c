/* test_lock.c -- the pool's lock: one holder at a time, also while it is lent and recalled. */
#include <linux/membarrier.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/syscall.h>

#include "pool_fixture.h"

#define THREADS 3
#define BURSTS 5000
#define BURST 150u /* turns in a row: enough to borrow the lock, and to use the loan */

struct ring { /* threads that take the lock in bursts */
    struct pms_pool *pool;
    uint64_t turns[2]; /* both counted inside the lock, and nowhere else */
    uint64_t lent;     /* turns by a loan */
    uint32_t holder;
    atomic_uint refused; /* tries that found it taken */
};

/* Only stores and loads of plain memory, so that two holders would lose a count. */
static void take_turn(struct ring *r, uint32_t me, int waiting)
{
    while (!waiting && !pms_pool_lock_try(r->pool)) {
        atomic_fetch_add(&r->refused, 1);
        waiting = atomic_load(&r->refused) % 4 == 0;
    }
    if (waiting)
        pms_pool_lock(r->pool);
    CHECK_EQ(r->holder, 0);
    r->holder = me;
    uint64_t turn = r->turns[0]++;
    CHECK_EQ(r->turns[1], turn);
    r->turns[1] = turn + 1;
    r->lent += r->pool->by_loan;
    CHECK_EQ(r->holder, me);
    r->holder = 0;
    pms_pool_unlock(r->pool);
}

static void *runner(void *argument)
{
    struct ring *r = argument;
    static atomic_uint numbers;
    uint32_t me = 1 + atomic_fetch_add(&numbers, 1);
    for (uint32_t i = 0; i < BURSTS; i++) {
        for (uint32_t k = 0; k < BURST; k++)
            take_turn(r, me, (i + k) % 7 == 0);
        if (i % 16 == me)
            usleep(100);
    }
    return NULL;
}

/* Without membarrier(2), and elsewhere than on x86-64, nothing is lent. */
static int can_lend(void)
{
    return pms_thread_place() != 0 &&
           syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) == 0;
}

static void test_the_lock_is_lent_to_a_thread_that_always_takes_it(void)
{
    struct fixture f;
    fixture_make(&f, ".");
    struct ring r = {.pool = f.pool};
    for (uint32_t i = 0; i < 1000; i++)
        take_turn(&r, 1, 0);
    CHECK_EQ(r.turns[0], 1000);
    CHECK(can_lend() ? r.lent >= 900 : r.lent == 0);
    fixture_remove(&f);
}

/* Inside, the borrower does not get it a second time. */
static void test_a_borrower_does_not_get_the_lock_twice(void)
{
    struct fixture f;
    fixture_make(&f, ".");
    struct ring r = {.pool = f.pool};
    for (uint32_t i = 0; i < 1000; i++)
        take_turn(&r, 1, 0);
    CHECK_EQ(pms_pool_lock_try(f.pool), 1);
    CHECK_EQ(pms_pool_lock_try(f.pool), 0);
    CHECK_EQ(pms_pool_lock_try(f.pool), 0);
    pms_pool_unlock(f.pool);
    CHECK_EQ(pms_pool_lock_try(f.pool), 1);
    pms_pool_unlock(f.pool);
    fixture_remove(&f);
}

static void test_threads_in_bursts_never_hold_the_lock_together(void)
{
    struct fixture f;
    pthread_t thread[THREADS];
    fixture_make(&f, ".");
    struct ring r = {.pool = f.pool};
    for (int i = 0; i < THREADS; i++)
        CHECK_EQ(pthread_create(&thread[i], NULL, runner, &r), 0);
    for (int i = 0; i < THREADS; i++)
        CHECK_EQ(pthread_join(thread[i], NULL), 0);
    CHECK_EQ(r.turns[0], THREADS * BURSTS * BURST);
    CHECK_EQ(r.turns[1], r.turns[0]);
    CHECK(can_lend() ? r.lent > 0 : r.lent == 0);
    fixture_sound(f.pool);
    fixture_remove(&f);
}

int main(void)
{
    test_the_lock_is_lent_to_a_thread_that_always_takes_it();
    test_a_borrower_does_not_get_the_lock_twice();
    test_threads_in_bursts_never_hold_the_lock_together();
    return 0;
}
