/* test_pool.c -- several threads in a pool on a file, and what gives its lock up meanwhile. */
#include <pthread.h>
#include <stdatomic.h>

#include "_native/vec.h"
#include "pool_fixture.h"

#define WRITERS 3
#define PAIRS 5000u

struct crew { /* writers that set both items of a pair in one unit, again and again */
    struct fixture f;
    uint64_t list;
    atomic_int stop;
    atomic_uint done;
};

static void crew_make(struct crew *c)
{
    fixture_make(&c->f, ".");
    CHECK_EQ(OP(c->f.pool, fixture_put_object(&c->f, PMS_TAG_LIST, "pairs", &c->list)), PMS_OK);
    fixture_begin(c->f.pool);
    for (uint32_t i = 0; i < 2 * PAIRS; i++) {
        struct pms_val zero = {.tag = PMS_TAG_INT};
        CHECK_EQ(OP(c->f.pool, pms_list_append(c->f.pool, c->list, &zero)), PMS_OK);
    }
    fixture_commit(c->f.pool);
}

static int set_pair(struct crew *c, uint64_t i, uint64_t number)
{
    struct pms_val value = {.tag = PMS_TAG_INT, .num = number};
    PMS_TRY(pms_list_set(c->f.pool, c->list, i, &value));
    return pms_list_set(c->f.pool, c->list, PAIRS + i, &value);
}

static void *writer(void *arg)
{
    struct crew *c = arg;
    uint64_t state = 0x9e3779b97f4a7c15u + atomic_fetch_add(&c->done, 1);
    while (!atomic_load(&c->stop)) {
        uint64_t ticket = 0;
        int status = pms_enter_write_wait(c->f.pool, NULL, -1);
        if (status == PMS_E_INTR)
            continue;
        if (status == PMS_E_CLOSED)
            break;
        CHECK_EQ(status, PMS_OK);
        status = set_pair(c, fixture_random(&state) % PAIRS, fixture_random(&state));
        status = pms_leave_write(c->f.pool, status, &ticket);
        if (ticket)
            status = pms_wait_durable(c->f.pool, ticket);
        CHECK_EQ(status, PMS_OK);
        atomic_fetch_add(&c->done, 1);
    }
    return NULL;
}

static void crew_start(struct crew *c, pthread_t thread[WRITERS])
{
    atomic_store(&c->stop, 0);
    atomic_store(&c->done, 0);
    for (int i = 0; i < WRITERS; i++)
        CHECK_EQ(pthread_create(&thread[i], NULL, writer, c), 0);
    while (atomic_load(&c->done) < 10 * WRITERS)
        usleep(1000);
}

static void crew_join(struct crew *c, const pthread_t thread[WRITERS])
{
    atomic_store(&c->stop, 1);
    for (int i = 0; i < WRITERS; i++)
        CHECK_EQ(pthread_join(thread[i], NULL), 0);
}

/* Frames take their time; pages must not be written while a unit has no frame yet. */
static int watch(void *context, const struct pms_event *event)
{
    const struct crew *c = context;
    if (event->kind == PMS_EV_WRITE_SYNC)
        usleep(200);
    if (event->kind == PMS_EV_WRITE && event->len >= PMS_PAGE) /* the synced word is shorter */
        CHECK_EQ(c->f.pool->tx.ticket_durable, c->f.pool->tx.ticket_issued);
    return 0;
}

/* A checkpoint beside other threads' commits once wrote pages of units whose frame was still to
 * come: killed between two pages, it left half of such a unit in the file. */
static void test_checkpoint_writes_no_unit_before_its_frame(void)
{
    struct crew c = {.list = 0};
    pthread_t thread[WRITERS];
    crew_make(&c);
    c.f.pool->map.medium.recorder_context = &c;
    c.f.pool->map.medium.recorder = watch;
    crew_start(&c, thread);
    for (int i = 0; i < 100;) {
        int status = pms_pool_checkpoint(c.f.pool);
        CHECK(status == PMS_OK || status == PMS_E_INTR);
        i += status == PMS_OK;
    }
    crew_join(&c, thread);
    fixture_sound(c.f.pool);
    fixture_remove(&c.f);
}

/* Threads that waited for their commit once looked at what close had freed. */
static void test_close_waits_for_commits_and_tells_those_who_come_later(void)
{
    for (int i = 0; i < 20; i++) {
        struct crew c = {.list = 0};
        pthread_t thread[WRITERS];
        crew_make(&c);
        c.f.pool->refs++; /* the threads' */
        crew_start(&c, thread);
        CHECK_EQ(pms_pool_close(c.f.pool), PMS_OK);
        CHECK_EQ(pms_pool_close(c.f.pool), PMS_OK);
        crew_join(&c, thread);
        pms_pool_drop(c.f.pool);
        pms_pool_drop(c.f.pool);
        CHECK_EQ(fixture_try_open(&c.f, 'w'), PMS_OK);
        fixture_sound(c.f.pool);
        fixture_remove(&c.f);
    }
}

/* Each time that a reader had waited for a frame, others had committed more: it was let in when they
 * paused, or not at all. */
static void test_readers_are_let_in_while_others_go_on_to_commit(void)
{
    enum { READS = 100 };
    struct crew c = {.list = 0};
    pthread_t thread[WRITERS];
    uint64_t waited_for = 0;
    crew_make(&c);
    c.f.pool->map.medium.recorder_context = &c;
    c.f.pool->map.medium.recorder = watch;
    crew_start(&c, thread);
    for (int i = 0; i < READS; i++) {
        pms_pool_lock(c.f.pool);
        uint64_t frames = c.f.pool->tx.frames;
        pms_pool_unlock(c.f.pool);
        int status;
        while ((status = pms_enter_read_wait(c.f.pool, NULL, -1)) == PMS_E_INTR)
            continue;
        CHECK_EQ(status, PMS_OK);
        CHECK_EQ(c.f.pool->tx.ticket_durable, c.f.pool->tx.ticket_issued);
        waited_for += c.f.pool->tx.frames - frames;
        CHECK_EQ(pms_leave_read(c.f.pool), PMS_OK);
        usleep(500); /* they begin again */
    }
    /* Three each at most, and some for the processor that a thread may not have. */
    CHECK(waited_for < 10 * READS);
    crew_join(&c, thread);
    fixture_remove(&c.f);
}

static int slow(void *context, const struct pms_event *event)
{
    (void)context;
    if (event->kind == PMS_EV_WRITE_SYNC)
        usleep(2000);
    return 0;
}

/* Those who come while a frame is written share the next one: mostly two frames for three commits,
 * and no more than four for five. */
static void test_threads_that_commit_at_once_share_frames(void)
{
    struct crew c = {.list = 0};
    pthread_t thread[WRITERS];
    crew_make(&c);
    c.f.pool->map.medium.recorder = slow;
    uint64_t frames = c.f.pool->tx.frames, commits = c.f.pool->tx.commits;
    crew_start(&c, thread);
    while (atomic_load(&c.done) < 100 * WRITERS)
        usleep(1000);
    crew_join(&c, thread);
    frames = c.f.pool->tx.frames - frames;
    commits = c.f.pool->tx.commits - commits;
    CHECK(frames * 5 <= commits * 4);
    fixture_remove(&c.f);
}

int main(void)
{
    CHECK_EQ(setenv("PMEMSTORE_FORCE_TIER", "sync", 1), 0);
    test_checkpoint_writes_no_unit_before_its_frame();
    test_close_waits_for_commits_and_tells_those_who_come_later();
    test_readers_are_let_in_while_others_go_on_to_commit();
    test_threads_that_commit_at_once_share_frames();
    return 0;
}
