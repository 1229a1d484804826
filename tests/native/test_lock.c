/* test_lock.c -- the pool's lock: one holder at a time, also while it is lent and recalled. */
#include <errno.h>
#include <linux/filter.h>
#include <linux/membarrier.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "inject.h"
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
    r->lent += r->pool->holding != NULL;
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

/* A thread takes the lock 1000 times in a row. */
static struct ring in_a_row(struct pms_pool *pool)
{
    struct ring r = {.pool = pool};
    for (uint32_t i = 0; i < 1000; i++)
        take_turn(&r, 1, 0);
    return r;
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
    struct ring r = in_a_row(f.pool);
    CHECK_EQ(r.turns[0], 1000);
    CHECK(can_lend() ? r.lent >= 900 : r.lent == 0);
    fixture_remove(&f);
}

/* Inside, the borrower does not get it a second time. */
static void test_a_borrower_does_not_get_the_lock_twice(void)
{
    struct fixture f;
    fixture_make(&f, ".");
    (void)in_a_row(f.pool);
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

/* ---- barriers ---- */

/* A borrower that stays inside until it is told to leave. */
struct guest {
    struct pms_pool *pool;
    pthread_t thread;
    atomic_int inside, leave;
    int lent;             /* it has the lock by a loan */
    int leave_at_barrier; /* the first barrier tells it to leave, and waits for that */
    uint32_t barriers, barriers_out; /* of them, when it had left */
};
static struct guest *guest;

static void let_leave(struct guest *g)
{
    atomic_store(&g->leave, 1);
    while (atomic_load(&g->inside))
        ;
}

long __real_syscall(long number, ...);
long __wrap_syscall(long number, ...)
{
    va_list args;
    long a[6];
    va_start(args, number);
    syscall_arguments(number, args, a);
    va_end(args);
    long result = __real_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
    if (guest && number == SYS_membarrier && a[0] == MEMBARRIER_CMD_PRIVATE_EXPEDITED) {
        guest->barriers++;
        guest->barriers_out += !atomic_load(&guest->inside);
        if (guest->leave_at_barrier)
            let_leave(guest);
    }
    return result;
}

static void *visit(void *argument)
{
    struct guest *g = argument;
    (void)in_a_row(g->pool);
    pms_pool_lock(g->pool);
    g->lent = g->pool->holding != NULL;
    atomic_store(&g->inside, 1);
    while (!atomic_load(&g->leave))
        ;
    pms_pool_unlock(g->pool);
    atomic_store(&g->inside, 0);
    return NULL;
}

static void invite(struct guest *g)
{
    CHECK_EQ(pthread_create(&g->thread, NULL, visit, g), 0);
    while (!atomic_load(&g->inside))
        ;
    CHECK_EQ(g->lent, 1);
    guest = g;
}

static void dismiss(struct guest *g)
{
    guest = NULL;
    pms_pool_unlock(g->pool);
    CHECK_EQ(pthread_join(g->thread, NULL), 0);
}

/* What a borrower has written back is ordered before the next holder's stores (L4) only by a barrier
 * that comes when it has left: the one that found it inside says nothing of what it did then. */
static void test_a_barrier_follows_what_a_borrower_did(void)
{
    struct fixture f;
    fixture_make(&f, ".");
    struct guest refusing = {.pool = f.pool};
    struct guest leaving = {.pool = f.pool, .leave_at_barrier = 1};
    invite(&refusing);
    CHECK_EQ(pms_pool_lock_try(f.pool), 0);
    CHECK_EQ(refusing.barriers, 1);
    CHECK_EQ(refusing.barriers_out, 0);
    let_leave(&refusing);
    CHECK_EQ(pms_pool_lock_try(f.pool), 1);
    CHECK_EQ(refusing.barriers_out, 1);
    dismiss(&refusing);
    invite(&leaving);
    pms_pool_lock(f.pool);
    CHECK_EQ(leaving.barriers, 2);
    CHECK_EQ(leaving.barriers_out, 1);
    dismiss(&leaving);
    fixture_remove(&f);
}

/* From now on the kernel refuses the barrier, to this thread and to those that it starts. */
static int refuse_barriers(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_membarrier, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog filter = {.len = sizeof code / sizeof code[0], .filter = code};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

static void *take_turns_of_its_own(void *argument)
{
    for (uint32_t i = 0; i < 1000; i++)
        take_turn(argument, 2, 1);
    return NULL;
}

/* A sandbox that is set up while the lock is lent: the loan is recalled, and was the last one. */
static void test_nothing_is_lent_once_the_barrier_is_refused(void)
{
    struct fixture f;
    pthread_t other;
    fixture_make(&f, ".");
    struct ring r = in_a_row(f.pool);
    uint64_t lent = r.lent;
    if (refuse_barriers()) { /* else the kernel has no such filters */
        CHECK_EQ(pthread_create(&other, NULL, take_turns_of_its_own, &r), 0);
        CHECK_EQ(pthread_join(other, NULL), 0);
        for (uint32_t i = 0; i < 1000; i++)
            take_turn(&r, 1, 0);
        CHECK_EQ(r.turns[0], 3000);
        CHECK_EQ(r.lent, lent);
    }
    fixture_sound(f.pool);
    fixture_remove(&f);
}

#if defined(__x86_64__)
/* A thread that executes one attempt an instruction at a time, and is stopped before one of them. */
struct stepper {
    struct pms_pool *pool;
    pthread_barrier_t round; /* begins an attempt, and ends it */
    pthread_t thread;
    int borrows; /* before the attempt */
    uint32_t stop_at, steps;
    atomic_int state; /* 0: on its way, 1: stopped, 2: its attempt is over */
    atomic_int go;
    int got;
};
static struct stepper *stepper;

static void step(int number)
{
    (void)number;
    if (++stepper->steps != stepper->stop_at)
        return;
    atomic_store(&stepper->state, 1);
    while (!atomic_load(&stepper->go))
        ;
}

static void take_turns(struct pms_pool *pool)
{
    for (uint32_t i = 0; i < 100; i++) {
        pms_pool_lock(pool);
        pms_pool_unlock(pool);
    }
}

static void *steps(void *argument)
{
    struct stepper *s = argument;
    while (pthread_barrier_wait(&s->round), s->stop_at != 0) {
        if (s->borrows)
            take_turns(s->pool);
        pthread_barrier_wait(&s->round);
        s->steps = 0;
        __asm__ volatile("pushfq\n\torq $0x100, (%%rsp)\n\tpopfq" ::: "memory", "cc");
        s->got = pms_pool_lock_try(s->pool);
        if (s->got)
            pms_pool_unlock(s->pool);
        __asm__ volatile("pushfq\n\tandq $~0x100, (%%rsp)\n\tpopfq" ::: "memory", "cc");
        atomic_store(&s->state, 2);
    }
    return NULL;
}

/* One attempt, stopped there; 0: it was over before. */
static int attempt(struct stepper *s, uint32_t stop_at, int borrows)
{
    s->stop_at = stop_at;
    s->borrows = borrows;
    atomic_store(&s->state, 0);
    atomic_store(&s->go, 0);
    pthread_barrier_wait(&s->round);
    pthread_barrier_wait(&s->round);
    while (atomic_load(&s->state) == 0)
        ;
    return atomic_load(&s->state) == 1;
}

static void let_go(struct stepper *s)
{
    atomic_store(&s->go, 1);
    while (atomic_load(&s->state) != 2)
        ;
}

/* Wherever a borrower is stopped: the next one has the lock, and keeps it, or does not get it. */
static void test_no_instruction_of_a_borrower_frees_the_lock_of_the_next(struct stepper *s)
{
    uint32_t held = 0, refused = 0;
    for (uint32_t at = 1; attempt(s, at, 1); at++) {
        uint32_t turns = 0;
        while (turns < 100 && pms_pool_lock_try(s->pool)) {
            if (++turns < 100)
                pms_pool_unlock(s->pool);
        }
        CHECK(turns == 0 || turns == 100);
        held += turns == 100;
        refused += turns == 0;
        let_go(s);
        if (turns == 0) {
            CHECK_EQ(s->got, 1);
            continue;
        }
        CHECK_EQ(attempt(s, UINT32_MAX, 0), 0);
        CHECK_EQ(s->got, 0);
        pms_pool_unlock(s->pool);
    }
    CHECK(held > 10);
    CHECK(!can_lend() || refused > 1);
}

/* Wherever one is stopped that finds the lock taken: it stays with its holder, and gets free. */
static void test_no_instruction_of_a_refused_thread_spoils_the_lock(struct stepper *s)
{
    for (int early = 0; early < 2; early++) {
        for (uint32_t at = 1;; at++) {
            take_turns(s->pool);
            pms_pool_lock(s->pool);
            int stopped = attempt(s, at, 0);
            if (early)
                pms_pool_unlock(s->pool);
            let_go(s);
            if (!early) {
                CHECK_EQ(s->got, 0);
                CHECK_EQ(pms_pool_lock_try(s->pool), 0);
                pms_pool_unlock(s->pool);
            }
            CHECK_EQ(pms_pool_lock_try(s->pool), 1);
            pms_pool_unlock(s->pool);
            if (!stopped)
                break;
        }
    }
}

static void test_each_instruction(void)
{
    struct fixture f;
    fixture_make(&f, ".");
    struct stepper s = {.pool = f.pool};
    stepper = &s;
    CHECK_EQ(sigaction(SIGTRAP, &(struct sigaction){.sa_handler = step}, NULL), 0);
    CHECK_EQ(pthread_barrier_init(&s.round, NULL, 2), 0);
    CHECK_EQ(pthread_create(&s.thread, NULL, steps, &s), 0);
    test_no_instruction_of_a_borrower_frees_the_lock_of_the_next(&s);
    test_no_instruction_of_a_refused_thread_spoils_the_lock(&s);
    s.stop_at = 0;
    pthread_barrier_wait(&s.round);
    CHECK_EQ(pthread_join(s.thread, NULL), 0);
    CHECK_EQ(pthread_barrier_destroy(&s.round), 0);
    fixture_remove(&f);
}
#else
static void test_each_instruction(void) {} /* nothing is lent */
#endif

int main(void)
{
    test_the_lock_is_lent_to_a_thread_that_always_takes_it();
    test_a_borrower_does_not_get_the_lock_twice();
    test_threads_in_bursts_never_hold_the_lock_together();
    if (can_lend())
        test_a_barrier_follows_what_a_borrower_did();
    test_each_instruction();
    test_nothing_is_lent_once_the_barrier_is_refused(); /* the last: refused it stays */
    return 0;
}
