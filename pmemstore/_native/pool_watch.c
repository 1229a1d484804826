/* pool_watch.c -- what a pool does about other tasks and its file; and its pages, made writable.
 *
 *   look:  lost    MediaError from now on: what is mapped may not be what was stored
 *          cloned  direct media: the whole file is prepared again (unshared, synced, populated)
 *                  before the unit that waits is acknowledged; else read-only
 *          faulted direct media: somebody has synced, so that pages take faults again; they
 *                  are populated again bit by bit, with the units that come
 *
 * A page that is populated is marked in tx.page_seen, so that tx.write_faults counts the others.
 */
#include "pool.h"

#include <errno.h>

/* How much of the map of pages one look may pass over, on its way to a piece to populate. */
#define POPULATE_WORDS 512u
/* All at once means: so much in one system call. */
#define POPULATE_CALL (64ull << 20)

/* ---- pages ---- */

static int populate(struct pms_pool *pool, uint64_t off, uint64_t end)
{
    for (uint64_t at = off; at < end; at += POPULATE_CALL) {
        uint64_t len = end - at < POPULATE_CALL ? end - at : POPULATE_CALL;
        PMS_TRY(pms_map_populate(&pool->map, at, len));
        pms_tx_populated(&pool->tx, at, len);
    }
    return PMS_OK;
}

/* One step: a piece that no unit has needed yet (counted, not timed: system calls are what tests make
 * fail, by their number); what fails is left to the faults. */
static void populate_on(struct pms_pool *pool)
{
    struct pms_tx *tx = &pool->tx;
    uint64_t size = pool->super.size; /* growth that failed half-way leaves more in the map */
    const uint64_t word = 64 * PMS_PAGE, piece = PMS_PIECE_BYTES;
    uint64_t at = pool->populate_next, passed = at + POPULATE_WORDS * word;
    while (at < size && at < passed && tx->page_seen[at / word] == UINT64_MAX)
        at += word - at % word;
    if (at < size && at < passed && tx->ahead) {
        pms_tx_ready(tx, at, piece);
        at += piece;
    }
    pool->populate_next = at;
    if (at < size && tx->ahead)
        return;
    pool->populate_next = UINT64_MAX;
    (void)pms_watch_remember(&pool->watch);
}

void pms_pool_populate(struct pms_pool *pool, uint64_t fresh)
{
    struct pms_tx *tx = &pool->tx;
    if (!pool->map.medium.direct)
        return;
    if (pool->map.medium.tier !=
        PMS_TIER_VOLATILE) /* memory has no sync that shuts its pages */
        fresh = 0;
    if (fresh == 0)
        pms_tx_unpopulated(tx);
    tx->ahead = pool->prepare != PMS_PREPARE_LAZY;
    if (!tx->ahead)
        return;
    if (pool->prepare == PMS_PREPARE_AUTO)
        pool->populate_next = pool->populate_next < fresh ? pool->populate_next : fresh;
    else if (populate(pool, fresh, pool->super.size) != PMS_OK)
        tx->ahead = 0; /* an old kernel: stores take their faults */
}

/* ---- looking ---- */

static int lost(struct pms_pool *pool, uint32_t found)
{
    if (!(found & PMS_WATCH_GONE)) /* that alone says nothing of what can be read */
        pms_map_blame(&pool->map, pool->watch.where);
    return pms_pool_poison(
        pool, PMS_FAIL(PMS_E_MEDIA, pms_watch_text(found), pool->watch.where, 0, 0));
}

/* Blocks of its own again, durable: also what was stored since the clone. */
static int undo_clone(struct pms_pool *pool)
{
    struct pms_prepared answer = {0};
    int status = pms_guard_lift(pool);
    if (status == PMS_OK)
        status = pms_map_prepare(&pool->map, 0, pool->map.size, &answer);
    if (answer.populated) {
        pms_tx_populated(&pool->tx, 0, pool->map.size);
        pool->populate_next = UINT64_MAX;
    }
    if (status == PMS_OK)
        pms_guard_back(pool, pool->map.size); /* which may shut the pages again */
    else
        answer.sys_errno = pms_detail()->sys_errno;
    if (!answer.granted) {
        int err = answer.sys_errno;
        return pms_pool_poison(pool, pms_fail(PMS_E_MEDIA, __FILE__, __LINE__,
                                              pms_watch_text(PMS_WATCH_SHARED), 0, 0, 0, err));
    }
    pool->watch.repaired++;
    return pms_watch_remember(&pool->watch);
}

int pms_pool_look(struct pms_pool *pool, int full)
{
    if (PMS_UNLIKELY(!pool->watch.map)) /* not settled yet */
        return PMS_OK;
    struct pms_tx *tx = &pool->tx;
    bool direct = pool->map.medium.direct, populating = pool->populate_next != UINT64_MAX;
    bool busy = tx->made_writable != 0, ours = populating || busy; /* that moves times too */
    tx->made_writable = 0;
    bool others = PMS_UNLIKELY(pool->guard.lease) && pms_guard_look(pool);
    uint32_t found = pms_watch_look(&pool->watch, full != 0 || others);
    if (PMS_UNLIKELY(others)) /* only now may they do something */
        pms_guard_looked(pool);
    if (PMS_UNLIKELY(found & PMS_WATCH_LOST))
        return lost(pool, found);
    if (PMS_UNLIKELY(found & PMS_WATCH_SHARED && direct))
        return undo_clone(pool);
    if (found & PMS_WATCH_FAULTED && !ours && pool->prepare != PMS_PREPARE_LAZY && direct) {
        tx->write_faults++; /* the one that told */
        pms_tx_unpopulated(tx);
        pool->populate_next = 0;
        populating = true;
    }
    if (populating && !busy) { /* else units have waited for pages already */
        populate_on(pool);
        tx->made_writable =
            0; /* the next look finds that populating is under way, or remembered */
    }
    return PMS_OK;
}

int pms_pool_cut(struct pms_pool *pool)
{
    PMS_TRY(pms_pool_look(pool, 1));
    int status = pms_tx_checkpoint(&pool->tx);
    if (status != PMS_OK) /* as everywhere: MEDIA is what a failed sync is called */
        return pms_pool_poison(pool, status);
    return PMS_OK;
}

int pms_pool_remember(struct pms_pool *pool)
{
    return pool->watch.map ? pms_watch_remember(&pool->watch) : PMS_OK;
}

/* ---- for callers ---- */

/* Blocks that are missing (a sparse copy), or shared with a clone, get their own. */
static int settle_blocks(struct pms_pool *pool)
{
    const struct pms_map *map = &pool->map;
    struct pms_prepared answer;
    struct pms_extents extents;
    struct stat st;
    if (fstat(map->medium.fd, &st) != 0)
        return PMS_FAIL_OS("fstat", 0, 0, errno);
    pms_extents_look(map->medium.fd, 0, map->size, &extents);
    bool fine = extents.state == 0 || (extents.state == PMS_EXTENT_UNKNOWN &&
                                       (uint64_t)st.st_blocks * 512 >= map->size);
    if (fine)
        return PMS_OK;
    PMS_TRY(pms_map_prepare(&pool->map, 0, map->size, &answer));
    if (answer.granted)
        return PMS_OK;
    int err = answer.sys_errno;
    if (err == ENOSPC || err == EDQUOT)
        return pms_fail(PMS_E_FULL, __FILE__, __LINE__, "prepare the pool's file", 0, map->size,
                        0, err);
    if (extents.state & PMS_EXTENT_SHARED && map->medium.tier <= PMS_TIER_FLUSH)
        return pms_fail(PMS_E_DURABILITY, __FILE__, __LINE__,
                        "blocks of the file are shared with a clone, and cannot be unshared", 0,
                        0, 0, err);
    return PMS_OK; /* a forced tier, on a file system that cannot do better */
}

int pms_pool_settle(struct pms_pool *pool, uint32_t watch_mode, uint32_t protect)
{
    if (pool->map.medium.direct)
        PMS_TRY(settle_blocks(pool));
    pms_guard_dax_back(pool);
    if (protect && !pool->read_only)
        PMS_TRY(pms_pool_protect(pool, protect));
    pms_pool_populate(pool, 0);
    pms_watch_init(&pool->watch, &pool->map, (enum pms_watch_mode)watch_mode);
    return pms_watch_remember(&pool->watch);
}

int pms_pool_prepare(struct pms_pool *pool, uint64_t off, uint64_t len,
                     struct pms_prepared *answer)
{
    PMS_TRY(pms_enter_write_wait(pool, NULL, -1));
    /* First: holes that somebody made must not be filled with zeroes unseen. */
    int status = pms_pool_look(pool, 1);
    if (status == PMS_OK && !len)
        len = off < pool->map.size ? pool->map.size - off : 0;
    if (status == PMS_OK)
        status = pms_guard_lift(pool);
    if (status == PMS_OK) {
        status = pms_map_prepare(&pool->map, off, len, answer);
        pms_guard_back(pool, pool->map.size);
        if (answer->populated && pool->guard.flag) /* whose return may have shut the pages */
            (void)populate(pool, off, off + len);
    }
    if (status == PMS_OK && pms_map_error(&pool->map))
        status =
            pms_pool_poison(pool, PMS_FAIL(PMS_E_MEDIA, "prepare the pool's file", 0, 0, 0));
    if (status == PMS_OK) {
        if (answer->populated)
            pms_tx_populated(&pool->tx, off, len);
        status = pms_watch_remember(&pool->watch);
    }
    pms_pool_unlock(pool);
    return status;
}

/* Is another file, or none, under the pool's name? */
static bool renamed(const struct pms_pool *pool)
{
    struct stat named;
    return stat(pool->path, &named) != 0 || named.st_dev != pool->watch.last.st_dev ||
           named.st_ino != pool->watch.last.st_ino;
}

int pms_pool_watched(struct pms_pool *pool, int full, struct pms_watched *out)
{
    PMS_TRY(pms_enter_read_wait(pool, NULL, -1));
    int status = full ? pms_pool_look(pool, 1) : PMS_OK;
    if (full && renamed(pool))
        pool->watch.ever |= PMS_WATCH_RENAMED;
    *out = (struct pms_watched){.found = pool->watch.ever,
                                .looks = pool->watch.looks,
                                .repaired = pool->watch.repaired};
    int left = pms_leave_read(pool);
    return status == PMS_OK ? left : status;
}
