/* pool_group.c -- group commit: one frame for the units of all threads that wait, on files.
 *
 *   a unit ended      it has a ticket, and its words are in the group       tx_file.c
 *   who waits for it  leads, if nobody does: takes the group, writes, wakes; or sleeps on `turn`
 *   before that       it may wait, for those whom the last frame has let go: struct pms_gather
 *
 * Those threads are about to commit again.  If the next frame does not wait for them it carries what
 * has ended during the last one, and two halves of the threads take turns for ever.  Whether they
 * come in time is not guessed: each frame has it measured for the next one.
 *
 *   G1  a unit is acknowledged when its frame is durable, and by nothing else
 *   G2  nobody who has no unit to add waits for others to add theirs: readers, checkpoints, close
 *   G3  no more are waited for than came back in time after a frame before, and were too late at most
 *       once since; and two threads at least must be in it: so nobody waits for a thread alone, nor
 *       for threads that do not come back
 *   G4  a wait ends when they are back, with the last of them as the leader, or when its time is up,
 *       at which one of those who sleep for this very frame looks.  If half of them or more are
 *       lacking then, nobody waits at the next 2, 4, ... 64 frames
 */
#include <limits.h>

#include "pool.h"

/* Who sleeps on `turn`, by the number of the frame.  At most three frames have waiters: the one whose
 * threads are being woken, the one being written, and the next. */
#define WAITS_FOR_FRAME(number) (1u << ((number) & 3u))
static_assert(PMS_WAITS_TO_ENTER > WAITS_FOR_FRAME(3), "bits of their own");

#define MISSED_MOST 6u

/* Threads that need longer are better left to the frame after the next.  More than a frame takes: two
 * frames for two halves have two gaps between them, in which the next leader is woken. */
static int64_t wait_most(const struct pms_gather *g) { return g->write_ns + g->write_ns / 2; }

/* Lock held, frame `number` is durable: one who waits for the next is woken, to lead or to look at the
 * time, and all who wait for this one; the others would find nothing to do.  The lock is given up
 * meanwhile: it takes 20 to 30 us to wake eight threads, and the next leader need not wait for that. */
static void wake_frame(struct pms_pool *pool, uint64_t number)
{
    int next = pool->tx.ticket_issued != pool->tx.ticket_durable;
    atomic_fetch_add_explicit(&pool->turn, 1, memory_order_release);
    if (!pool->waiters)
        return;
    pms_pool_unlock(pool);
    if (next)
        pms_pool_wake_some(pool, 1, WAITS_FOR_FRAME(number + 1));
    pms_pool_wake_some(pool, INT_MAX, WAITS_FOR_FRAME(number));
    pms_pool_lock(pool);
}

/* ---- who is waited for ---- */

/* What a frame takes: at once less, if one took less; more by half at most, as one of them may be late. */
static void learn_write(struct pms_gather *g, int64_t took)
{
    if (g->write_ns == 0 || took < g->write_ns)
        g->write_ns = took;
    else
        g->write_ns = took < g->write_ns / 2 * 3 ? took : g->write_ns / 2 * 3 + 1;
}

/* Lock held, units have ended: do they come in time? */
static void note_back(struct pms_pool *pool)
{
    struct pms_gather *g = &pool->gather;
    uint64_t came = pool->tx.ticket_issued - g->base;
    if (g->came >= g->units || came == g->came)
        return;
    int64_t took = pms_watch_now() - g->since;
    if (took > wait_most(g))
        return;
    g->came = came < g->units ? came : g->units;
    g->came_ns = took;
}

/* G3, of the frame before.  Once is not enough to believe in fewer: the processor may have been taken
 * from a thread, and to come back from waiting for half of them takes some frames. */
static void learn_back(struct pms_gather *g)
{
    uint32_t late = g->came < g->units;
    if (late ? g->late : g->came >= g->proven) {
        g->proven = g->came;
        g->proven_ns = g->came_ns;
        g->late = late;
    } else if (late) {
        g->late = 1;
    }
}

/* Will `more` units come soon, where others wait for the frame already?  Of more threads the rest has
 * to come as well, since they come one by one.  How long that takes is told by the most that came: of a
 * few, what it takes to wake the first is a large part. */
static int worth_waiting(const struct pms_gather *g, uint64_t more, uint64_t waiting)
{
    if (more == 0 || more + waiting < 2 || g->proven == 0)
        return 0;
    return g->proven_ns * (int64_t)(more + waiting) <= wait_most(g) * (int64_t)g->proven;
}

/* Lock held: a frame that began then is durable, and had so many units. */
static void plan(struct pms_pool *pool, int64_t began, uint64_t units)
{
    struct pms_gather *g = &pool->gather;
    int64_t now = pms_watch_now();
    learn_write(g, now - began);
    learn_back(g);
    uint64_t more = units < g->proven ? units : g->proven;
    g->until = 0;
    if (g->pass)
        g->pass--;
    else if (worth_waiting(g, more, pool->tx.ticket_issued - pool->tx.ticket_durable))
        g->until = now + wait_most(g);
    g->units = units;
    g->since = now;
    g->base = pool->tx.ticket_issued;
    g->goal = g->base + more;
    g->came = 0;
}

/* A wait's time is up. */
static void note_missed(struct pms_pool *pool)
{
    struct pms_gather *g = &pool->gather;
    if (g->goal - pool->tx.ticket_issued < pool->tx.ticket_issued - g->base)
        return; /* most have come */
    g->missed += g->missed < MISSED_MOST;
    g->pass = 1u << g->missed;
}

/* Lock held, nobody leads: wait for others, or not (0), and lead. */
static int waited(struct pms_pool *pool)
{
    struct pms_gather *g = &pool->gather;
    int64_t left = PMS_SLICE_NS;
    uint64_t number = pool->tx.frames + 1;
    int timed = g->timed != number;
    if (g->until == 0 || g->pressed)
        return 0;
    if (pool->tx.ticket_issued >= g->goal) {
        g->missed -= g->missed > 0;
        return 0;
    }
    if (timed) {
        left = g->until - pms_watch_now();
        if (left <= 0) {
            note_missed(pool);
            return 0;
        }
    }
    g->timed = number;
    pms_pool_sleep(pool, left, WAITS_FOR_FRAME(number));
    if (timed)
        g->timed = 0;
    return 1;
}

/* ---- the leader ---- */

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
    uint64_t before = pool->tx.ticket_durable;
    int64_t began = pms_watch_now();
    int status = pms_group_take(&pool->tx);
    if (status == PMS_OK && pool->tx.writing.data_sync)
        status = unlocked(pool, pms_group_sync); /* what the frame speaks of, before it */
    if (status == PMS_OK)
        status = unlocked(pool, pms_group_write);
    if (status == PMS_OK)
        status = pms_pool_look(pool, 0); /* before anybody is told */
    pms_group_done(&pool->tx, status);
    if (status == PMS_OK) {
        plan(pool, began, pool->tx.ticket_durable - before);
        wake_frame(pool, pool->tx.frames);
        return PMS_OK;
    }
    status = pms_pool_poison(pool, status);
    pms_pool_wake(pool, PMS_WAITS_ALL);
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
            pms_pool_sleep(pool, PMS_SLICE_NS, waits_for(tx, ticket));
        else if (!waited(pool))
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
    note_back(pool);
    int status = durable_until(pool, ticket);
    pms_pool_unlock(pool);
    return status;
}

/* ---- those who have nothing to add ---- */

int pms_pool_drain(struct pms_pool *pool)
{
    pool->gather.pressed++;
    int status = durable_until(pool, pool->tx.ticket_issued);
    pool->gather.pressed--;
    return status;
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
        pms_pool_wake(pool, PMS_WAITS_TO_ENTER);
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
        pms_pool_sleep(pool, PMS_SLICE_NS, PMS_WAITS_TO_ENTER);
        return PMS_OK;
    }
    PMS_TRY(pms_pool_drain(pool));
    /* Draining gave the lock up: somebody may have begun a transaction meanwhile, or closed. */
    if (!pool->closed && pool->owner == 0 &&
        pool->tx.ticket_durable == pool->tx.ticket_issued && pms_tx_wants_checkpoint(&pool->tx))
        return pms_pool_cut(pool);
    return PMS_OK;
}
