/* pool_grow.c -- the geometry of a pool: superblocks, and growth in place.
 *
 *   file longer, zeroes written | fsync | mapped | superblock slot 1 as it is | durable |
 *   slot 0 | durable | slot 1 | durable
 *
 * Growth is not part of a unit of work: a roll-back leaves the pool larger, and a crash before
 * a superblock is durable leaves a file that is longer than it says, which is harmless.
 */
#include "hash.h"
#include "pool.h"

/* How much at once: a share of the size.  On files a step is a sync of the inode and its zeroes; on
 * DAX all pages take write faults again, too, so there steps are fewer; in memory nothing is synced. */
#define STEP_MIN (2ull << 20)
#define STEP_MAX (16ull << 20)
#define STEP_SHARE_FILE 32u
#define STEP_SHARE_DAX 8u
#define STEP_MEMORY (1ull << 20)

void pms_super_seal(struct pms_super_pm *super)
{
    super->csum = pms_hash(super, offsetof(struct pms_super_pm, csum), PMS_MAGIC);
}

static int slot_durable(struct pms_medium *m, uint64_t off, const void *bytes, size_t len)
{
    if (!m->direct)
        return pms_write_sync(m, off, bytes, len);
    if (bytes != (const void *)(m->base + off))
        pms_store(m, off, bytes, len);
    pms_flush(m, off, len);
    pms_fence(m);
    return PMS_OK;
}

/* Slot 1 first as it is: after a kill, or a write that failed, in an earlier session the medium
 * may have less than what was read there, and while slot 0 is overwritten it is all there is.  A
 * slot 1 that is damaged gets what slot 0 has: that was durable before slot 1 was touched. */
int pms_super_write(struct pms_pool *pool)
{
    struct pms_medium *m = &pool->map.medium;
    uint64_t second = PMS_SUPER_OFF + PMS_PAGE;
    const struct pms_super_pm *there = (const void *)(m->base + second);
    if (there->csum != pms_hash(there, offsetof(struct pms_super_pm, csum), PMS_MAGIC))
        there = (const void *)(m->base + PMS_SUPER_OFF);
    pms_super_seal(&pool->super);
    PMS_TRY(slot_durable(m, second, there, sizeof pool->super));
    PMS_TRY(slot_durable(m, PMS_SUPER_OFF, &pool->super, sizeof pool->super));
    return slot_durable(m, second, &pool->super, sizeof pool->super);
}

static uint64_t round_up(uint64_t n, uint64_t to) { return (n + to - 1) / to * to; }

static bool on_dax(const struct pms_pool *pool)
{
    return pool->map.medium.direct && pool->map.medium.tier != PMS_TIER_VOLATILE;
}

static uint64_t step_of(const struct pms_pool *pool)
{
    if (pool->map.medium.tier == PMS_TIER_VOLATILE)
        return STEP_MEMORY;
    uint64_t step = pool->super.size / (on_dax(pool) ? STEP_SHARE_DAX : STEP_SHARE_FILE);
    return step < STEP_MIN ? STEP_MIN : step > STEP_MAX ? STEP_MAX : step;
}

/* On DAX sizes of more than a huge page are multiples of it, where there is room for that. */
static uint64_t round_size(const struct pms_pool *pool, uint64_t size, uint64_t step)
{
    bool huge = on_dax(pool) && size > PMS_HUGE && step != 0;
    return round_up(size, huge ? PMS_HUGE : PMS_REGION_ALIGN);
}

/* What the file must be so that `pages` more can be had in a row: a longer last region, or a
 * new one behind it (then super gets it).  step 0: no more than that. */
static uint64_t new_size(const struct pms_pool *pool, struct pms_super_pm *super,
                         uint64_t pages, uint64_t step)
{
    const struct pms_region_pm *last = &super->regions[super->nregions - 1];
    uint64_t end = last->start + last->cap_pages * PMS_PAGE, need = pages * PMS_PAGE;
    if (super->size + need <= end) {
        uint64_t size = round_size(pool, super->size + (need > step ? need : step), step);
        return size < end ? size : end;
    }
    if (super->nregions == PMS_REGIONS_MAX)
        return UINT64_MAX;
    uint64_t cap = end - super->heap_start; /* as large as all before it */
    uint64_t least = need + need / 128 + STEP_MIN;
    cap = round_up(cap > least ? cap : least, PMS_REGION_ALIGN);
    uint64_t tables = round_up(cap / PMS_PAGE * PMS_DESC_BYTES, PMS_PAGE);
    super->regions[super->nregions++] = (struct pms_region_pm){end, cap / PMS_PAGE};
    uint64_t size = end + tables + (need > step ? need : step);
    size = round_size(pool, size, step);
    return size < end + cap ? size : end + cap;
}

static int lengthen(struct pms_pool *pool, const struct pms_super_pm *wanted)
{
    uint64_t old = pool->super.size, size = wanted->size;
    struct pms_medium *m = &pool->map.medium;
    int status;
    if (size > pool->map.limit)
        return PMS_FAIL(PMS_E_FULL, "grow beyond the reserved address space", old, size,
                        pool->map.limit);
    if (pms_map_lengthen(m, old, size - old) != PMS_OK) {
        int err = pms_detail()->sys_errno;
        /* Never shorter than what a growth that failed later has mapped. */
        (void)pms_truncate(m, old > pool->map.size ? old : pool->map.size);
        return pms_fail(PMS_E_FULL, __FILE__, __LINE__, "grow the pool's file", old, size - old,
                        0, err);
    }
    /* A sync that fails here may have taken the error of somebody's contents with it. */
    status = pms_sync_all(m);
    if (status != PMS_OK)
        return pms_pool_poison(pool, status);
    PMS_TRY(pms_map_extend(&pool->map, size));
    /* Memory first: once a superblock has the new size, no later failure may cut the file. */
    struct pms_super_pm before = pool->super;
    pool->super = *wanted;
    status = pms_heap_grown(&pool->heap);
    if (status == PMS_OK)
        status = pms_tx_grown(&pool->tx);
    if (status != PMS_OK) {
        pool->super = before;
        return status;
    }
    pms_pool_populate(pool, old);     /* the fsync has shut all pages */
    if (pms_map_by_reads(&pool->map)) /* pages just written are mapped for less than later */
        pms_tx_ready(&pool->tx, old, size - old);
    pool->super.gen++;
    status = pms_super_write(pool);
    return status == PMS_OK ? PMS_OK : pms_pool_poison(pool, status);
}

static int grow_to(struct pms_pool *pool, const struct pms_super_pm *wanted)
{
    PMS_TRY(pms_pool_look(pool, 0)); /* a file that somebody cut is not made longer again */
    uint64_t old = pool->super.size;
    if (pms_guard_lift(pool) != PMS_OK)
        return pms_fail(PMS_E_FULL, __FILE__, __LINE__,
                        "grow a file whose protecting flag cannot be lifted", old,
                        wanted->size - old, 0, pms_detail()->sys_errno);
    int status = lengthen(pool, wanted);
    struct pms_detail detail = *pms_detail();
    pms_guard_back(pool, old);
    *pms_detail() = detail;
    int remembered = pms_pool_remember(pool);
    return status == PMS_OK ? remembered : status;
}

static int grow_by(struct pms_pool *pool, uint64_t pages, uint64_t step)
{
    uint64_t limit = pool->limit < pool->map.limit ? pool->limit : pool->map.limit;
    struct pms_super_pm wanted = pool->super;
    wanted.size = new_size(pool, &wanted, pages, step);
    return wanted.size > limit ? PMS_FAIL(PMS_E_FULL, "allocate", 0, pages * PMS_PAGE, limit)
                               : grow_to(pool, &wanted);
}

/* The heap needs a run of so many pages. */
int pms_pool_grow_pages(void *context, uint64_t pages)
{
    struct pms_pool *pool = context;
    if (pages > PMS_POOL_MAX / PMS_PAGE)
        return PMS_FAIL(PMS_E_FULL, "allocate", 0, pages * PMS_PAGE, pool->limit);
    int status = grow_by(pool, pages, step_of(pool));
    return status == PMS_E_FULL ? grow_by(pool, pages, 0)
                                : status; /* no more than needed, then */
}

int pms_pool_grow(struct pms_pool *pool, uint64_t size)
{
    PMS_TRY(pms_enter_write_wait(pool, NULL, -1));
    int status = PMS_OK;
    size = round_up(size, PMS_REGION_ALIGN);
    if (size > pool->limit)
        status = PMS_FAIL(PMS_E_FULL, "grow the pool beyond its limit", 0, size, pool->limit);
    while (status == PMS_OK && pool->super.size < size) {
        struct pms_super_pm wanted = pool->super;
        uint64_t most = size - pool->super.size;
        wanted.size = new_size(pool, &wanted, 1, most > STEP_MAX ? STEP_MAX : most);
        if (wanted.size > pool->limit) {
            wanted = pool->super;
            wanted.size = new_size(pool, &wanted, 1, 0);
        }
        status = wanted.size > pool->limit
                     ? PMS_FAIL(PMS_E_FULL, "grow the pool beyond its limit", 0, wanted.size,
                                pool->limit)
                     : grow_to(pool, &wanted);
    }
    pms_pool_unlock(pool);
    return status;
}
