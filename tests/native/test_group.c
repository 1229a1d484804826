/* test_group.c -- group commit: who leads, who is waited for, and who does not wait (pool_group.c).
 *
 * Mostly one thread, or two, and a struct pms_gather that the test fills in: what is waited for is
 * then waited for LONG, so a rule that is broken shows in what has been counted when that is over.
 */
#include <pthread.h>

#include "pool_fixture.h"

#define LONG_NS 20000000000

struct group {
    struct fixture f;
    uint64_t leader;   /* thread that wrote the last frame */
    uint64_t frames;   /* when the state was set */
    int fail;          /* the next frame does */
    unsigned write_us; /* what a frame takes */
    int grows;         /* beside the next frame, whose error its sync is told */
    unsigned words;    /* synced ones */
};

/* The leader has given up the lock: as another thread. */
static int grow_beside(struct group *t)
{
    CHECK_EQ(pms_pool_grow(t->f.pool, t->f.pool->super.size * 2), PMS_E_MEDIA);
    CHECK_EQ(t->grows, 0);
    return 0;
}

static int note(void *context, const struct pms_event *event)
{
    struct group *t = context;
    t->words += event->kind == PMS_EV_WRITE && event->len == 8;
    if (event->kind == PMS_EV_SYNC && t->grows) {
        t->grows = 0;
        return 5 /* EIO */;
    }
    if (event->kind != PMS_EV_WRITE_SYNC)
        return 0;
    if (t->grows)
        return grow_beside(t);
    t->leader = pms_thread_self();
    if (t->write_us)
        usleep(t->write_us);
    return t->fail ? 5 /* EIO */ : 0;
}

static void group_make(struct group *t)
{
    *t = (struct group){.fail = 0};
    fixture_make(&t->f, ".");
    CHECK_EQ(OP(t->f.pool, PMS_OK), PMS_OK);
    t->f.pool->map.medium.recorder_context = t;
    t->f.pool->map.medium.recorder = note;
}

/* A unit that has ended; nobody waits for it yet. */
static uint64_t unit(struct pms_pool *pool)
{
    uint64_t ticket = 0;
    int status;
    while ((status = pms_enter_write_wait(pool, NULL, -1)) == PMS_E_INTR)
        continue;
    CHECK_EQ(status, PMS_OK);
    pms_put(pool, PMS_ROOT_OFF + 2048, pms_get(pool, PMS_ROOT_OFF + 2048) + 1);
    CHECK_EQ(pms_leave_write(pool, PMS_OK, &ticket), PMS_OK);
    CHECK(ticket != 0);
    return ticket;
}

/* The last frame had so many units: their threads are waited for. */
static void await(struct group *t, uint64_t units, int64_t ns)
{
    struct pms_pool *pool = t->f.pool;
    pms_pool_lock(pool);
    pool->gather = (struct pms_gather){.units = units,
                                       .base = pool->tx.ticket_issued,
                                       .goal = pool->tx.ticket_issued + units,
                                       .since = pms_watch_now(),
                                       .write_ns = LONG_NS,
                                       .until = pms_watch_now() + ns};
    t->frames = pool->tx.frames;
    pms_pool_unlock(pool);
}

struct committer {
    struct group *t;
    pthread_t thread;
    uint64_t self;
    int status;
};

static void *commit_one(void *arg)
{
    struct committer *c = arg;
    c->self = pms_thread_self();
    c->status = pms_wait_durable(c->t->f.pool, unit(c->t->f.pool));
    pms_pool_drop(c->t->f.pool);
    return NULL;
}

/* A thread commits, and waits for others to do so. */
static void start_waiting(struct group *t, struct committer *c)
{
    struct pms_pool *pool = t->f.pool;
    uint64_t timed = 0;
    *c = (struct committer){.t = t};
    pool->refs++;
    CHECK_EQ(pthread_create(&c->thread, NULL, commit_one, c), 0);
    while (!timed) {
        usleep(100);
        pms_pool_lock(pool);
        timed = pool->gather.timed;
        pms_pool_unlock(pool);
    }
    CHECK_EQ(pool->tx.frames, t->frames);
}

/* Its frame came, and was the only one; no time ran out. */
static void end_waiting(const struct group *t, const struct committer *c)
{
    CHECK_EQ(pthread_join(c->thread, NULL), 0);
    CHECK_EQ(c->status, PMS_OK);
    CHECK_EQ(t->f.pool->tx.frames, t->frames + 1);
    CHECK_EQ(t->f.pool->gather.missed, 0);
}

/* ---- whether it is waited ---- */

static void test_a_thread_alone_never_waits(void)
{
    struct group t;
    group_make(&t);
    uint64_t frames = t.f.pool->tx.frames;
    for (int i = 0; i < 300; i++) {
        CHECK_EQ(pms_wait_durable(t.f.pool, unit(t.f.pool)), PMS_OK);
        CHECK_EQ(t.f.pool->gather.until, 0);
    }
    CHECK_EQ(t.f.pool->tx.frames, frames + 300);
    fixture_remove(&t.f);
}

/* A frame of so many units, taking a millisecond as a rule; of the frame before it so many came back in
 * time, the last of them after this time: how many are waited for now? */
static uint64_t awaited(struct group *t, int count, uint64_t units, uint64_t came,
                        int64_t came_ns)
{
    struct pms_pool *pool = t->f.pool;
    struct pms_gather *g = &pool->gather;
    uint64_t ticket = 0;
    while (count--)
        ticket = unit(pool);
    g->units = units;
    g->came = came;
    g->came_ns = came_ns;
    g->since = 0;          /* who is not back yet does not come in time */
    g->write_ns = 1000000; /* this one takes more: 1.5 ms from now on */
    CHECK_EQ(pms_wait_durable(pool, ticket), PMS_OK);
    uint64_t answer = g->until ? g->goal - pool->tx.ticket_issued : 0;
    g->until = 0;
    return answer;
}

static void test_those_who_come_back_in_time_are_waited_for(void)
{
    struct group t;
    group_make(&t);
    t.write_us = 2000;
    CHECK_EQ(awaited(&t, 2, 2, 0, 0), 0);       /* nobody does */
    CHECK_EQ(awaited(&t, 2, 2, 2, 2300000), 0); /* more than a frame takes, and a half */
    CHECK_EQ(awaited(&t, 2, 2, 2, 2200000), 2); /* not more */
    CHECK_EQ(awaited(&t, 1, 2, 2, 1000), 0);    /* one alone */
    CHECK_EQ(awaited(&t, 3, 3, 3, 2200000), 3);
    CHECK_EQ(awaited(&t, 3, 2, 2, 1400000), 3); /* three come within 2.2 ms, */
    CHECK_EQ(awaited(&t, 4, 2, 2, 1400000), 3); /* at most three ever came back, */
    CHECK_EQ(awaited(&t, 4, 4, 4, 2300000), 0); /* and four not in time */
    CHECK_EQ(awaited(&t, 4, 1, 1, 1000), 0);    /* however fast one of them is, */
    CHECK_EQ(awaited(&t, 4, 4, 4, 1000), 4);
    CHECK_EQ(awaited(&t, 2, 1, 1, 2200000), 2); /* or slow */
    fixture_remove(&t.f);
}

static void test_who_is_late_twice_is_not_waited_for(void)
{
    struct group t;
    group_make(&t);
    t.write_us = 2000;
    CHECK_EQ(awaited(&t, 4, 4, 4, 1000), 4);
    CHECK_EQ(awaited(&t, 4, 4, 2, 1000), 4); /* two are late, */
    CHECK_EQ(awaited(&t, 4, 3, 3, 1000), 4); /* and there are frames without them; */
    CHECK_EQ(awaited(&t, 4, 4, 3, 1000), 3); /* again */
    CHECK_EQ(awaited(&t, 4, 3, 2, 1000), 2); /* and again: at once */
    CHECK_EQ(awaited(&t, 4, 4, 4, 1000), 4);
    CHECK_EQ(awaited(&t, 4, 4, 1, 1000), 4); /* which is forgotten */
    CHECK_EQ(awaited(&t, 4, 4, 4, 1000), 4);
    CHECK_EQ(awaited(&t, 4, 4, 1, 1000), 4);
    CHECK_EQ(awaited(&t, 4, 4, 1, 1000), 0); /* one alone, whoever came before */
    fixture_remove(&t.f);
}

static void test_who_comes_back_is_counted(void)
{
    struct group t;
    group_make(&t);
    await(&t, 3, 0);
    struct pms_gather *g = &t.f.pool->gather;
    g->until = 0;
    (void)unit(t.f.pool);
    (void)unit(t.f.pool);
    CHECK_EQ(pms_wait_durable(t.f.pool, 0), PMS_OK); /* no frame: what has ended is counted */
    CHECK_EQ(g->came, 2);
    CHECK(g->came_ns > 0);
    int64_t then = g->came_ns;
    CHECK_EQ(pms_wait_durable(t.f.pool, 0), PMS_OK);
    CHECK_EQ(g->came_ns, then); /* nobody has come since */
    g->since = 0;
    (void)unit(t.f.pool);
    CHECK_EQ(pms_wait_durable(t.f.pool, 0), PMS_OK);
    CHECK_EQ(g->came, 2); /* the third is late */
    g->since = pms_watch_now();
    (void)unit(t.f.pool);
    CHECK_EQ(pms_wait_durable(t.f.pool, 0), PMS_OK);
    CHECK_EQ(g->came, 3); /* of four, more than there were in the frame */
    fixture_remove(&t.f);
}

/* After each wait in vain nobody waits at twice as many frames as after the one before, and a wait that
 * was not in vain takes that back. */
static void test_who_waits_in_vain_waits_seldom(void)
{
    struct group t;
    group_make(&t);
    t.write_us = 2000;
    for (uint32_t missed = 1; missed <= 7; missed++) {
        uint32_t most = missed < 6 ? missed : 6;
        t.f.pool->gather.until = 1; /* long ago */
        t.f.pool->gather.goal = UINT64_MAX;
        CHECK_EQ(awaited(&t, 2, 2, 0, 0), 0);
        CHECK_EQ(t.f.pool->gather.missed, most);
        CHECK_EQ(t.f.pool->gather.pass, (1u << most) - 1); /* the next one is planned already */
    }
    CHECK_EQ(awaited(&t, 1, 1, 0, 0),
             0); /* at which nobody would wait anyway: one of them too */
    for (uint32_t i = 0; i < 62; i++)
        CHECK_EQ(awaited(&t, 2, 2, 2, 1000), 0);
    CHECK_EQ(t.f.pool->gather.pass, 0);
    CHECK_EQ(awaited(&t, 2, 2, 2, 1000), 2);
    CHECK_EQ(t.f.pool->gather.missed, 6);
    t.f.pool->gather.until = pms_watch_now() + LONG_NS;
    t.f.pool->gather.goal = t.f.pool->tx.ticket_issued + 1;
    CHECK_EQ(pms_wait_durable(t.f.pool, unit(t.f.pool)), PMS_OK);
    CHECK_EQ(t.f.pool->gather.missed, 5);
    fixture_remove(&t.f);
}

/* ---- what ends a wait ---- */

static void test_the_last_to_come_leads(void)
{
    struct group t;
    struct committer c;
    group_make(&t);
    await(&t, 2, LONG_NS);
    start_waiting(&t, &c);
    CHECK_EQ(pms_wait_durable(t.f.pool, unit(t.f.pool)), PMS_OK);
    CHECK_EQ(t.leader, pms_thread_self());
    end_waiting(&t, &c);
    CHECK_EQ(t.f.pool->gather.units, 2);
    fixture_remove(&t.f);
}

/* A unit of its own, whose wait for others ends with its time. */
static void commit_alone(struct group *t)
{
    struct committer c = {.t = t};
    t->f.pool->refs++;
    commit_one(&c);
    CHECK_EQ(c.status, PMS_OK);
    CHECK_EQ(t->f.pool->tx.frames, t->frames + 1);
}

static void test_time_runs_out(void)
{
    struct group t;
    group_make(&t);
    await(&t, 3, 2000000);
    commit_alone(&t);
    CHECK_EQ(t.f.pool->gather.missed, 1);
    CHECK_EQ(t.f.pool->gather.pass, 1);
    CHECK_EQ(t.f.pool->gather.timed, 0);
    fixture_remove(&t.f);
}

static void test_a_wait_for_which_most_have_come_is_not_in_vain(void)
{
    struct group t;
    group_make(&t);
    await(&t, 3, 2000000);
    (void)unit(t.f.pool);
    commit_alone(&t);
    CHECK_EQ(t.f.pool->gather.missed, 0);
    CHECK_EQ(t.f.pool->gather.pass, 0);
    fixture_remove(&t.f);
}

/* Who looked at the time for the last frame has been woken, but has not run yet: it does not look any
 * more, and may not come back. */
static void test_the_time_of_each_frame_is_looked_at(void)
{
    struct group t;
    group_make(&t);
    await(&t, 3, 2000000);
    t.f.pool->gather.timed = t.frames;
    commit_alone(&t);
    CHECK_EQ(t.f.pool->gather.missed, 1);
    fixture_remove(&t.f);
}

static void test_readers_and_checkpoints_do_not_wait_for_others_units(void)
{
    struct group t;
    struct committer c;
    group_make(&t);
    await(&t, 2, LONG_NS);
    start_waiting(&t, &c);
    CHECK_EQ(pms_enter_read_wait(t.f.pool, NULL, -1), PMS_OK);
    CHECK_EQ(t.f.pool->tx.ticket_durable, t.f.pool->tx.ticket_issued);
    CHECK_EQ(pms_leave_read(t.f.pool), PMS_OK);
    end_waiting(&t, &c);
    await(&t, 2, LONG_NS);
    start_waiting(&t, &c);
    CHECK_EQ(pms_pool_checkpoint(t.f.pool), PMS_OK);
    end_waiting(&t, &c);
    CHECK_EQ(t.f.pool->gather.pressed, 0);
    fixture_remove(&t.f);
}

/* A reader that sleeps while a frame is written has the next one written at once, whoever leads. */
static void *read_one(void *arg)
{
    struct group *t = arg;
    CHECK_EQ(pms_enter_read_wait(t->f.pool, NULL, -1), PMS_OK);
    CHECK_EQ(pms_leave_read(t->f.pool), PMS_OK);
    return NULL;
}

static void test_a_committer_does_not_wait_while_a_reader_does(void)
{
    struct group t;
    pthread_t reader;
    group_make(&t);
    await(&t, 2, LONG_NS);
    uint64_t ticket = unit(t.f.pool);
    t.f.pool->tx.leader = 1; /* a frame is being written */
    CHECK_EQ(pthread_create(&reader, NULL, read_one, &t), 0);
    for (uint32_t pressed = 0; !pressed;) {
        usleep(100);
        pms_pool_lock(t.f.pool);
        pressed = t.f.pool->gather.pressed;
        pms_pool_unlock(t.f.pool);
    }
    pms_pool_lock(t.f.pool);
    t.f.pool->tx.leader = 0;
    pms_pool_unlock(t.f.pool);
    CHECK_EQ(pms_wait_durable(t.f.pool, ticket), PMS_OK);
    CHECK_EQ(pthread_join(reader, NULL), 0);
    CHECK_EQ(t.f.pool->gather.missed, 0);
    CHECK_EQ(t.f.pool->tx.frames, t.frames + 1);
    fixture_remove(&t.f);
}

static void test_close_does_not_wait_for_others_units(void)
{
    struct group t;
    struct committer c;
    group_make(&t);
    await(&t, 2, LONG_NS);
    start_waiting(&t, &c);
    t.f.pool->refs++;
    CHECK_EQ(pms_pool_close(t.f.pool), PMS_OK);
    CHECK_EQ(pthread_join(c.thread, NULL), 0);
    CHECK_EQ(c.status, PMS_OK);
    CHECK_EQ(t.f.pool->gather.missed, 0);
    pms_pool_drop(t.f.pool);
    fixture_remove(&t.f);
}

static void test_a_failed_frame_tells_all_who_wait(void)
{
    struct group t;
    struct committer c;
    group_make(&t);
    await(&t, 2, LONG_NS);
    start_waiting(&t, &c);
    t.fail = 1;
    CHECK_EQ(pms_wait_durable(t.f.pool, unit(t.f.pool)), PMS_E_MEDIA);
    CHECK_EQ(pthread_join(c.thread, NULL), 0);
    CHECK_EQ(c.status, PMS_E_MEDIA);
    CHECK(t.f.pool->poisoned);
    CHECK_EQ(t.f.pool->tx.frames, t.frames + 1);
    fixture_remove(&t.f);
}

/* The kernel tells an error once: of a frame whose error growth was told, nothing may say that it is
 * durable.  The word that does was once written by who saw the write return, and an open after a kill
 * showed what a power cut then took back. */
static void test_a_frame_beside_which_a_sync_failed_is_not_said_to_be_durable(void)
{
    struct group t;
    group_make(&t);
    CHECK_EQ(pms_wait_durable(t.f.pool, unit(t.f.pool)), PMS_OK);
    CHECK_EQ(t.words, 1);
    t.grows = 1;
    CHECK_EQ(pms_wait_durable(t.f.pool, unit(t.f.pool)), PMS_E_MEDIA);
    CHECK_EQ(t.grows, 0);
    CHECK(t.f.pool->poisoned);
    CHECK_EQ(t.words, 1);
    fixture_remove(&t.f);
}

/* ---- threads as they are ---- */

enum { THREADS = 3, COMMITS = 20 };

static void *commit_many(void *arg)
{
    struct group *t = arg;
    for (int i = 0; i < COMMITS; i++)
        CHECK_EQ(pms_wait_durable(t->f.pool, unit(t->f.pool)), PMS_OK);
    return NULL;
}

/* Two halves of them once took turns: two frames for three commits, and so 40 for these 60. */
static void test_threads_that_go_on_to_commit_share_each_frame(void)
{
    struct group t;
    pthread_t thread[THREADS];
    group_make(&t);
    t.write_us = 30000;
    t.f.pool->gather.write_ns = 0;
    uint64_t frames = t.f.pool->tx.frames;
    for (int i = 0; i < THREADS; i++)
        CHECK_EQ(pthread_create(&thread[i], NULL, commit_many, &t), 0);
    for (int i = 0; i < THREADS; i++)
        CHECK_EQ(pthread_join(thread[i], NULL), 0);
    CHECK(t.f.pool->tx.frames - frames >= COMMITS);
    CHECK(t.f.pool->tx.frames - frames <= COMMITS + 10);
    fixture_remove(&t.f);
}

int main(void)
{
    CHECK_EQ(setenv("PMEMSTORE_FORCE_TIER", "sync", 1), 0);
    test_a_thread_alone_never_waits();
    test_those_who_come_back_in_time_are_waited_for();
    test_who_is_late_twice_is_not_waited_for();
    test_who_comes_back_is_counted();
    test_who_waits_in_vain_waits_seldom();
    test_the_last_to_come_leads();
    test_time_runs_out();
    test_a_wait_for_which_most_have_come_is_not_in_vain();
    test_the_time_of_each_frame_is_looked_at();
    test_readers_and_checkpoints_do_not_wait_for_others_units();
    test_a_committer_does_not_wait_while_a_reader_does();
    test_close_does_not_wait_for_others_units();
    test_a_failed_frame_tells_all_who_wait();
    test_a_frame_beside_which_a_sync_failed_is_not_said_to_be_durable();
    test_threads_that_go_on_to_commit_share_each_frame();
    return 0;
}
