/* pool.h -- an open pool: the file, its lock, who may enter, and the units of work.
 *
 * How a public operation runs (object.h, table.h, vec.h hold the operations themselves):
 *
 *     status = pms_enter_write(pool, handle);          lock, checks, begin
 *     if (status == PMS_E_WAIT) { release the GIL; status = pms_enter_write_wait(...); }
 *     if (status == PMS_OK) {
 *         status = pms_dict_set(pool, handle->off, &key, &value);
 *         status = pms_leave_write(pool, status, &ticket);   commit or roll back, unlock
 *         if (ticket) { release the GIL; status = pms_wait_durable(pool, ticket); }
 *     }
 *
 * Outside a transaction the operation is a unit of its own (autocommit).  Inside one, a failed
 * operation is rolled back alone and the transaction goes on.  Between enter and leave the
 * caller must run no foreign code (no Python) and must not block.
 *
 * Concurrency: one lock per pool, held for single operations; one owner (a thread with an open
 * transaction).  Other threads wait in enter_* until the owner has finished, so they never
 * see uncommitted state; on files, readers also wait until what they would see is durable.
 */
#ifndef PMS_POOL_H
#define PMS_POOL_H

#include <sys/types.h>

#include "tx.h"
#include "watch.h"

/* Direct media: pages made writable ahead of the first store to them. */
enum pms_prepare_when {
    PMS_PREPARE_AUTO = 0, /* what a unit is about to store to, and the rest bit by bit */
    PMS_PREPARE_NOW = 1,  /* all at once */
    PMS_PREPARE_LAZY = 2  /* none: stores take their faults */
};

/* Keeping other tasks away from the file: pool_guard.c. */
enum pms_protect {
    PMS_PROTECT_NONE = 0,
    PMS_PROTECT_FLAGS = 1, /* append-only, or immutable where stores go on all the same */
    PMS_PROTECT_LEASE = 2, /* others wait while they open the file, and are noticed */
    PMS_PROTECT_AUTO = 3   /* flags, else a lease, else nothing */
};
enum pms_protection { /* what there is of it */
                      PMS_GUARD_NONE = 0,
                      PMS_GUARD_APPEND_ONLY = 1,
                      PMS_GUARD_IMMUTABLE = 2,
                      PMS_GUARD_LEASE = 3
};
enum pms_lease_state {
    PMS_LEASE_NONE = 0,
    PMS_LEASE_HELD = 1,
    PMS_LEASE_YIELDED =
        2 /* somebody has the file open: each unit looks, and asks for it again */
};
struct pms_guard {
    uint32_t flag;   /* FS_APPEND_FL or FS_IMMUTABLE_FL, ours; 0: none */
    uint32_t lifted; /* ... and off for the moment */
    uint32_t lease;  /* enum pms_lease_state */
    uint32_t dax;    /* FS_DAX_FL if the file had it; it may have to go with a clone */
    int64_t slow_ns; /* of the watch, while the lease is given away */
};
#define PMS_GUARD_FLAGS 0x30u /* FS_IMMUTABLE_FL | FS_APPEND_FL */

enum pms_handle_state {
    PMS_HANDLE_LIVE = 0,
    PMS_HANDLE_STALE = 1 /* the object was rolled back: the offset means nothing any more */
};

/* One per object that somebody outside the core looks at.  While a handle exists its object
 * is not torn down.  `proxy` belongs to the binding (one live proxy per object). */
struct pms_handle {
    uint64_t off;
    struct pms_pool *pool;
    uint32_t refs;
    uint32_t state;
    uint32_t tag; /* PMS_TAG_DICT, PMS_TAG_LIST */
    uint32_t zero;
    uint64_t version; /* +1 when entries come, go or move; not when a value is replaced */
    void *proxy;
    struct pms_handle *next; /* hash chain */
};

/* The lock of a pool, lent to a thread: pool_lock.c. */
struct pms_loan {
    _Atomic uint32_t
        inside;      /* its thread holds the lock, whose word is 0; no other thread stores */
    uintptr_t place; /* pms_thread_place() of its thread, for ever; 0: nobody's yet */
};
#define PMS_LOANS 8

/* Files, group commit: whether the next leader waits for more units.  pool_group.c. */
struct pms_gather {
    uint64_t units;    /* in the last frame */
    int64_t since;     /* when it was durable, ns */
    uint64_t base;     /* the newest ticket then */
    uint64_t came;     /* so many units, at most `units`, have ended since, in time ... */
    int64_t came_ns;   /* ... and the last of them so long after it */
    uint64_t proven;   /* so many have come back in time before ... */
    int64_t proven_ns; /* ... and took so long */
    int64_t write_ns;  /* what a frame takes */
    uint64_t goal;     /* the next leader waits for this ticket, */
    int64_t until;     /* and until then; 0: it does not */
    uint64_t timed;    /* one of those who wait for this frame looks at the time; 0: of none */
    uint32_t late;     /* not all came in time, since `proven` did */
    uint32_t pressed;  /* threads that wait for a frame and have no unit to add */
    uint32_t missed;   /* waits that were in vain, less those that were not */
    uint32_t pass;     /* frames before which nobody waits any more */
};

struct pms_pool {
    /* hot: looked at by every operation */
    _Atomic uint32_t lock; /* the word: 0 free, 1 held, 2 held and awaited */
    struct pms_loan
        *holding; /* the holder's: the loan by which it has the lock; NULL: the word */
    _Atomic(struct pms_loan *) lent; /* whose thread may take it by that; NULL: nobody */
    struct pms_loan loans[PMS_LOANS];
    struct pms_loan *latest; /* loan; this and what follows: under the word */
    uintptr_t last_holder;
    uint32_t turns; /* of last_holder in a row */
    uint32_t fork_epoch;
    uint32_t closed;
    uint32_t closing;  /* transactions have been rolled back, and `closed` is on its way */
    uint32_t poisoned; /* a sync failed, or SIGBUS: no more writes */
    uint32_t read_only;
    struct pms_recovery *untaken; /* what is to be done before the first unit; NULL: nothing */
    uint32_t named;               /* the name is durable, or its maker's business */
    uint32_t depth;               /* of the owner's transaction; 0: none */
    _Atomic uint64_t owner; /* kernel's id of the thread with the open transaction, or 0 */
    uint64_t tx_number;     /* of that transaction: how many have begun */
    _Atomic uint32_t turn;  /* futex: changes when an owner leaves or a frame is durable */
    uint32_t waiters;
    uint32_t draining; /* threads in pms_pool_drain_all: no unit begins */
    struct pms_mark op_mark;

    struct pms_wset ws;
    struct pms_heap heap;
    struct pms_tx tx;
    struct pms_log log;
    struct pms_map map;
    struct pms_watch watch;
    struct pms_guard guard;
    uint32_t prepare;       /* enum pms_prepare_when */
    uint64_t populate_next; /* direct: pages from here on are still to be populated */
    struct pms_super_pm super;

    struct pms_mark *savepoint; /* where each depth began */
    size_t savepoint_room;
    uint64_t *birth; /* offsets of objects made in this unit */
    size_t birth_count, birth_room;
    struct pms_handle **handle_slot;
    uint32_t handle_count, handle_slots;
    uint64_t rollbacks;    /* +1 at each roll-back: iterators look */
    uint64_t writes;       /* +1 at each leave_write, roll-back and abort: iterators look */
    uint32_t reap_due;     /* orphans may be waiting; see object.c */
    uint32_t reap_stopped; /* the list of orphans is damaged: left alone */
    uint32_t collecting;   /* a collection has a list of garbage: see collect.c */
    uint64_t reap_cursor;  /* orphan to look at next; 0: the first */
    uint64_t put_dict;     /* the dict of the last put of one key (table_edit.c) */
    uint32_t put_new;      /* so many of these in a row were of new keys; no more than matter */
    /* set by object.c */
    int (*reap)(struct pms_pool *pool, uint32_t budget);
    void (*rolled_back)(struct pms_pool *pool, size_t birth_mark);
    uint32_t refs;      /* open pool 1 + handles; under the lock */
    uint32_t views;     /* pointers into the mapping that others hold; under the lock */
    uint32_t doomed;    /* the transaction could not be rolled back in part: only as a whole */
    int64_t timeout_ns; /* what the binding lets operations wait; < 0: no limit */
    uint64_t limit;     /* bytes that this session may grow the pool to */
    struct pms_gather gather;
    char *path;
    uint64_t recovered_units;  /* by the open that made this pool */
    uint64_t shutdowns_before; /* what the superblock remembered of the same modules, or 0 */
    uint32_t shutdowns_seen;   /* 1: it remembered the same modules */
    uint64_t shutdowns_met;    /* unsafe shutdowns since then, if the pool was in use */
};

/* ---- life: see also open.h ---- */
/* Roll back an open transaction, checkpoint, unlock, unmap.  Handles stay valid memory.  While
 * others hold views the mapping stays, for reading alone, and goes with the last of them. */
int pms_pool_close(struct pms_pool *pool);
/* A pointer into the mapping is handed out: the pool is entered.  And it is given back: by any
 * thread, also after close, not between enter and leave; somebody's handle keeps the pool's struct.
 * In the child of a fork() nothing happens. */
static inline void pms_pool_view(struct pms_pool *pool) { pool->views++; }
void pms_pool_unview(struct pms_pool *pool);
int pms_pool_grow(struct pms_pool *pool, uint64_t size); /* to at least size bytes */
int pms_pool_checkpoint(struct pms_pool *pool);

/* The lock itself, for a few instructions: pool_lock.c is the manual.  Waits without limit. */
void pms_pool_lock(struct pms_pool *pool);
int pms_pool_lock_word_try(struct pms_pool *pool); /* the rest of the trying */
void pms_pool_unlock_word(struct pms_pool *pool);  /* and of the unlocking */
void pms_lock_init(void); /* before the first lock of a pool that is being opened */

/* Not 0, and no two threads that live have the same; 0: nothing is lent. */
extern _Thread_local char pms_thread_mark __attribute__((tls_model("initial-exec")));
static inline uintptr_t pms_thread_place(void)
{
#if defined(__x86_64__)
    return (uintptr_t)&pms_thread_mark;
#else
    return 0;
#endif
}
static inline int pms_pool_lock_lent(struct pms_pool *pool)
{
    struct pms_loan *loan = atomic_load_explicit(&pool->lent, memory_order_acquire);
    if (loan == NULL || loan->place != pms_thread_place() ||
        atomic_load_explicit(&loan->inside, memory_order_relaxed) != 0)
        return 0;
    atomic_store_explicit(&loan->inside, 1, memory_order_relaxed);
    atomic_signal_fence(memory_order_seq_cst);
    if (PMS_UNLIKELY(atomic_load_explicit(&pool->lent, memory_order_acquire) != loan)) {
        atomic_store_explicit(&loan->inside, 0, memory_order_release);
        return 0;
    }
    pool->holding = loan;
    return 1;
}
static inline int pms_pool_lock_try(struct pms_pool *pool)
{
    return PMS_LIKELY(pms_pool_lock_lent(pool)) || pms_pool_lock_word_try(pool);
}
/* Looks at nothing of the pool any more once another thread may have the lock, and free it. */
static inline void pms_pool_unlock(struct pms_pool *pool)
{
    struct pms_loan *loan = pool->holding;
    if (PMS_LIKELY(loan != NULL)) {
        pool->holding = NULL;
        atomic_store_explicit(&loan->inside, 0, memory_order_release);
        return;
    }
    pms_pool_unlock_word(pool);
}

/* ---- entering ---- */
int pms_enter_read(struct pms_pool *pool, const struct pms_handle *handle);
int pms_enter_read_wait(struct pms_pool *pool, const struct pms_handle *handle,
                        int64_t timeout_ns);
/* PMS_E_MEDIA if a SIGBUS under the mapping may have falsified what was read. */
int pms_leave_read(struct pms_pool *pool);
/* The two of them for the binding, in line where nothing stands in the way.  locked: the lock is
 * held, and is given up unless the status is PMS_OK.  failed: the lock was given up. */
int pms_enter_locked(struct pms_pool *pool, const struct pms_handle *handle, int write);
int pms_leave_failed(const struct pms_pool *pool);
static inline int pms_enter_read_inline(struct pms_pool *pool, const struct pms_handle *handle)
{
    if (PMS_UNLIKELY(!pms_pool_lock_try(pool)))
        return pms_enter_read(pool, handle);
    if (PMS_LIKELY(pool->fork_epoch ==
                       atomic_load_explicit(&pms_fork_epoch, memory_order_relaxed) &&
                   !pool->closed && !(handle && handle->state != PMS_HANDLE_LIVE) &&
                   !pms_map_error(&pool->map) &&
                   atomic_load_explicit(&pool->owner, memory_order_relaxed) == 0 &&
                   pool->tx.ticket_issued == pool->tx.ticket_durable))
        return PMS_OK;
    return pms_enter_locked(pool, handle, 0);
}
static inline int pms_leave_read_inline(struct pms_pool *pool)
{
    atomic_signal_fence(memory_order_seq_cst); /* the handler ran in the middle of a read */
    int failed = pms_map_error(&pool->map);
    pms_pool_unlock(pool);
    return PMS_UNLIKELY(failed) ? pms_leave_failed(pool) : PMS_OK;
}
/* handle may be NULL (operations on the pool itself).  timeout_ns < 0: no limit.  The _wait
 * forms return PMS_E_INTR every 50 ms so that the caller can run signal handlers: subtract
 * and call again. */
int pms_enter_write(struct pms_pool *pool, const struct pms_handle *handle);
int pms_enter_write_wait(struct pms_pool *pool, const struct pms_handle *handle,
                         int64_t timeout_ns);
int pms_leave_write(struct pms_pool *pool, int status, uint64_t *ticket);
int pms_wait_durable(struct pms_pool *pool, uint64_t ticket);

/* ---- transactions ---- */
/* Begin, or open a savepoint if this thread owns the transaction.  *depth: 1 = outermost. */
int pms_tx_begin(struct pms_pool *pool, uint32_t *depth);
int pms_tx_begin_wait(struct pms_pool *pool, uint32_t *depth, int64_t timeout_ns);
/* depth must be the innermost one (PMS_E_TX otherwise).  Depth > 1: the savepoint is merged
 * into the outer level.  A failed commit has rolled back (unless PMS_E_MEDIA: unknown). */
int pms_tx_commit(struct pms_pool *pool, uint32_t depth, uint64_t *ticket);
/* Roll back to where depth began (levels inside it too). */
int pms_tx_abort(struct pms_pool *pool, uint32_t depth);
/* Whoever could end level `depth` of transaction `number` is gone, and the caller is another
 * thread than its owner: depth 1 is rolled back at once, for a deeper level the owner can only
 * roll back the whole.  Nothing if that transaction has ended: another may be open by now. */
void pms_tx_abandon(struct pms_pool *pool, uint32_t depth, uint64_t number);
/* 0, or the depth if the calling thread owns a transaction. */
uint32_t pms_tx_depth(struct pms_pool *pool);

/* Why the pool is of no use any more: what a look has found, or what the caller knows. */
static inline const char *pms_pool_why(const struct pms_pool *pool, const char *what)
{
    uint32_t lost = pool->watch.ever & PMS_WATCH_LOST;
    return lost ? pms_watch_text(lost) : what;
}

/* ---- inside: pool.c, pool_wait.c, pool_group.c, pool_grow.c ---- */
int pms_pool_wants_quiet(const struct pms_pool *pool); /* files: flush or checkpoint first */
/* With the lock held: write what waits, as the leader or by waiting for it.  Gives the lock
 * up and takes it again. */
int pms_pool_drain(struct pms_pool *pool);
/* The same until nothing waits at all; no unit begins meanwhile.  PMS_E_CLOSED: another thread
 * has closed the pool. */
int pms_pool_drain_all(struct pms_pool *pool);
int pms_pool_quiet(struct pms_pool *pool); /* drain, then checkpoint if one is due */
int pms_pool_allowed(struct pms_pool *pool, const struct pms_handle *handle, int write);
void pms_pool_roll_back_all(struct pms_pool *pool);
/* Who sleeps on `turn`, in bits; the lower ones are pool_group.c's. */
#define PMS_WAITS_TO_ENTER 16u
#define PMS_WAITS_ALL UINT32_MAX
#define PMS_SLICE_NS 50000000 /* a waiter comes back this often, for signal handlers */
/* Lock held: sleep until `turn` changes or ns have passed; lock held again. */
void pms_pool_sleep(struct pms_pool *pool, int64_t ns, uint32_t who);
void pms_pool_wake(struct pms_pool *pool, uint32_t who); /* `turn` changes */
/* `turn` has changed, and somebody sleeps; without the lock. */
void pms_pool_wake_some(struct pms_pool *pool, int most, uint32_t who);
int pms_pool_poison(struct pms_pool *pool, int status);
uint64_t pms_thread_self(void);
int pms_pool_grow_pages(void *pool, uint64_t pages); /* the heap's callback */
void pms_super_seal(struct pms_super_pm *super);
/* ---- pool_watch.c ---- */
/* A pool that was just opened, or made: blocks and pages prepared, and watched from now on. */
int pms_pool_settle(struct pms_pool *pool, uint32_t watch_mode, uint32_t protect);
/* With the lock held: has another task done something to the file?  Undoes a clone.
 * PMS_E_MEDIA: contents may be lost; the pool is poisoned. */
int pms_pool_look(struct pms_pool *pool, int full);
/* Pages from fresh on have come, or (fresh 0, or where a sync shuts pages) all of them take write
 * faults again: make them writable, when the caller of open wants it. */
void pms_pool_populate(struct pms_pool *pool, uint64_t fresh);
/* Look, then checkpoint; a failure poisons the pool. */
int pms_pool_cut(struct pms_pool *pool);
/* What was done to the file since the last look was our own doing. */
int pms_pool_remember(struct pms_pool *pool);
/* The public ones.  len 0: up to the end. */
int pms_pool_prepare(struct pms_pool *pool, uint64_t off, uint64_t len,
                     struct pms_prepared *answer);
struct pms_watched {
    uint32_t found; /* enum pms_watch_found, since open */
    uint32_t zero;
    uint64_t looks, repaired;
};
/* full: look first; PMS_E_MEDIA if contents may be lost (out is filled all the same). */
int pms_pool_watched(struct pms_pool *pool, int full, struct pms_watched *out);

/* ---- pool_guard.c ---- */
/* PMS_E_DURABILITY: there is no such protection; what and sys_errno say why. */
int pms_pool_protect(struct pms_pool *pool, uint32_t protect);
/* The same question, asked of an empty file that is made under this name and is gone again. */
int pms_guard_try(const char *name, uint32_t protect);
/* The flag off for an act of our own, and on again; pages from fresh on are populated then. */
int pms_guard_lift(struct pms_pool *pool);
void pms_guard_back(struct pms_pool *pool, uint64_t fresh);
/* Set the DAX flag again if it may have been lost. */
void pms_guard_dax_back(struct pms_pool *pool);
/* The flag off for good, and the mark out of pool->super, which the caller writes. */
int pms_guard_end(struct pms_pool *pool);
/* 1: somebody may have opened the file, or has closed it again.  Then the caller looks at all of
 * it, and says that it has. */
int pms_guard_look(struct pms_pool *pool);
void pms_guard_looked(struct pms_pool *pool);
/* Those of PMS_GUARD_FLAGS, and FS_DAX_FL; PMS_E_OS where there are no flags, or they are not ours to change. */
int pms_guard_read(int fd, uint32_t *flags);
int pms_guard_change(int fd, uint32_t set, uint32_t clear);
uint32_t pms_pool_protection(struct pms_pool *pool); /* enum pms_protection */

/* ---- pool_take.c ---- */
/* With the lock held, before anything is written: do what open has left.  A failure poisons. */
int pms_pool_take(struct pms_pool *pool);
int pms_pool_name_durable(struct pms_pool *pool); /* a part of it */
/* At close: frames that were found do not wait for the next open. */
int pms_pool_end_untaken(struct pms_pool *pool);
void pms_pool_untake(struct pms_pool *pool); /* forget it */

int pms_super_write(struct pms_pool *pool); /* both slots, one after the other */

/* ---- what is going on ---- */
struct pms_stats {
    uint64_t commits, aborts, fences, flushed_lines, syncs, log_bytes, checkpoints;
    uint64_t write_faults, written_bytes;
    uint64_t looks, repairs;
    uint64_t used_bytes, free_bytes;
    uint64_t size, limit, handles, recovered_units;
};
int pms_pool_stats(struct pms_pool *pool, struct pms_stats *out);
int pms_pool_heap_stats(struct pms_pool *pool, struct pms_heap_stats *out);
const char *pms_pool_reason(struct pms_pool *pool);
uint32_t pms_pool_tier(struct pms_pool *pool);

/* Short names for the containers. */
static inline uint64_t pms_get(const struct pms_pool *p, uint64_t off)
{
    return pms_rd(&p->ws, off);
}
static inline void pms_put(struct pms_pool *p, uint64_t off, uint64_t word)
{
    pms_wr(&p->ws, off, word);
}

#endif
