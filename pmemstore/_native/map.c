/* map.c -- reserve address space, map the file into it, grow in place, unmap. */
#include "map_internal.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef MAP_SHARED_VALIDATE
#define MAP_SHARED_VALIDATE 0x03
#endif
#ifndef MAP_SYNC
#define MAP_SYNC 0x80000
#endif
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_READ 22
#define MADV_POPULATE_WRITE 23
#endif

/* Start of the mapping is aligned to this, so that DAX can use huge pages. */
#define PMS_MAP_ALIGN ((uint64_t)PMS_HUGE)

static uint8_t *reserve_bytes(uint64_t len)
{
    void *at = mmap(NULL, len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return at == MAP_FAILED ? NULL : at;
}

/* len bytes at a multiple of PMS_MAP_ALIGN; NULL: there are not so many.  Newer kernels place a
 * reservation so by themselves, and then it takes one call. */
static uint8_t *reserve_aligned(uint64_t len)
{
    uint8_t *at = reserve_bytes(len);
    if (!at || ((uintptr_t)at & (PMS_MAP_ALIGN - 1)) == 0)
        return at;
    munmap(at, len);
    at = reserve_bytes(len + PMS_MAP_ALIGN);
    if (!at)
        return NULL;
    uint64_t head = (uint64_t)-(uintptr_t)at & (PMS_MAP_ALIGN - 1);
    if (head)
        munmap(at, head);
    munmap(at + head + len, PMS_MAP_ALIGN - head);
    return at + head;
}

/* Reserve limit bytes of address space, or half of it, ..., at least size. */
static int map_reserve(struct pms_map *map, uint64_t size, uint64_t limit)
{
    uint64_t least = pms_page_up(size ? size : 1);
    uint64_t len = pms_page_up(limit);
    len = len < least ? least : len;
    for (;;) {
        uint8_t *at = reserve_aligned(len);
        if (at) {
            map->medium.base = at;
            map->limit = len;
            return PMS_OK;
        }
        if (len == least)
            return PMS_FAIL_OS("reserving address space", 0, len, errno);
        len = pms_page_up(len / 2);
        len = len < least ? least : len;
    }
}

/* Put [from, to) of the file under the reserved addresses. */
static int map_place(struct pms_map *map, uint64_t from, uint64_t to)
{
    if (from >= to)
        return PMS_OK;
    int prot = map->medium.guarded ? PROT_READ : PROT_READ | PROT_WRITE;
    int flags = MAP_FIXED;
    bool sync = map->medium.direct &&
                (map->medium.tier == PMS_TIER_EADR || map->medium.tier == PMS_TIER_FLUSH);
    if (!pms_map_is_shared(map))
        flags |= MAP_PRIVATE | MAP_NORESERVE;
    else if (sync && !(map->flags & PMS_MAP_FORCED_))
        flags |= MAP_SHARED_VALIDATE | MAP_SYNC;
    else
        flags |= MAP_SHARED;
    void *want = map->medium.base + from;
    if (mmap(want, to - from, prot, flags, map->medium.fd, (off_t)from) != MAP_FAILED)
        return PMS_OK;
    int err = errno;
    /* Whatever the failure left there: keep the addresses ours. */
    mmap(want, pms_page_up(to) - from, PROT_NONE,
         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
    return PMS_FAIL_OS("mapping the file", from, to - from, err);
}

int pms_map_open(struct pms_map *map, int fd, uint64_t size, uint64_t limit, uint32_t flags,
                 enum pms_flush_kind kind)
{
    enum pms_tier tier;
    bool forced;
    memset(map, 0, sizeof *map);
    PMS_TRY(pms_probe_file(map, fd, &tier, &forced));
    if (flags & PMS_MAP_RAW) /* its users ask, and from any thread */
        (void)pms_map_reason(map);
    if (tier == PMS_TIER_EADR && kind == PMS_FLUSH_AUTO)
        kind = PMS_FLUSH_NONE;
    PMS_TRY(pms_medium_init(&map->medium, fd, kind));
    map->medium.tier = tier;
    map->flags = flags | (forced ? PMS_MAP_FORCED_ : 0);
    bool own = flags & (PMS_MAP_READONLY | PMS_MAP_PRIVATE);
    map->medium.direct =
        !own && (tier == PMS_TIER_EADR || tier == PMS_TIER_FLUSH || tier == PMS_TIER_VOLATILE);
#ifdef PMS_DEBUG_DOOR
    map->medium.guarded = map->medium.direct && !(flags & PMS_MAP_RAW);
#endif
    PMS_TRY(map_reserve(map, size, limit));
    int status = map_place(map, 0, size);
    if (status == PMS_OK)
        status = pms_sigbus_enter(map);
    if (status != PMS_OK) {
        munmap(map->medium.base, map->limit);
        map->medium.base = NULL;
        map->limit = 0;
        return status;
    }
    map->size = size;
    return PMS_OK;
}

int pms_map_extend(struct pms_map *map, uint64_t new_size)
{
    if (new_size < map->size)
        return PMS_FAIL(PMS_E_INVAL, "a mapping does not shrink", 0, new_size, map->size);
    if (new_size > map->limit)
        return PMS_FAIL(PMS_E_FULL, "the reserved address space ends there", 0, new_size,
                        map->limit);
    PMS_TRY(pms_sigbus_install());
    PMS_TRY(map_place(map, pms_page_up(map->size), new_size));
    map->size = new_size;
    return PMS_OK;
}

/* The pages that a range touches, if it lies within the file. */
static int map_range(const struct pms_map *map, uint64_t off, uint64_t len, uint8_t **start,
                     size_t *bytes)
{
    if (off > map->size || len > map->size - off)
        return PMS_FAIL(PMS_E_INVAL, "range outside the mapping", off, len, map->size);
    *start = map->medium.base + pms_page_down(off);
    *bytes = (size_t)(pms_page_up(off + len) - pms_page_down(off));
    return PMS_OK;
}

int pms_map_populate(struct pms_map *map, uint64_t off, uint64_t len)
{
    uint8_t *start;
    size_t bytes;
    PMS_TRY(map_range(map, off, len, &start, &bytes));
    if (!len)
        return PMS_OK;
    int err = 0;
    if (map->medium.guarded)
        mprotect(start, bytes, PROT_READ | PROT_WRITE);
    while (madvise(start, bytes, MADV_POPULATE_WRITE) != 0 && (err = errno) == EINTR)
        err = 0;
    if (map->medium.guarded)
        mprotect(start, bytes, PROT_READ);
    if (err)
        return PMS_FAIL_OS("making pages writable ahead (madvise)", off, len, err);
    return PMS_OK;
}

bool pms_map_by_reads(const struct pms_map *map) { return !strcmp(map->fs, "tmpfs"); }

int pms_map_share(struct pms_map *map, uint64_t off, uint64_t len)
{
    uint8_t *start;
    size_t bytes;
    PMS_TRY(map_range(map, off, len, &start, &bytes));
    for (size_t at = 0; at < bytes; at += PMS_AROUND - ((uintptr_t)start + at) % PMS_AROUND)
        (void)*(const volatile uint8_t *)(start + at);
    return PMS_OK;
}

int pms_map_forget(struct pms_map *map, uint64_t off, uint64_t len)
{
    if (pms_map_is_shared(map))
        return PMS_FAIL(PMS_E_INVAL, "a shared mapping has no private copies", off, len, 0);
    if (off % PMS_PAGE || (len % PMS_PAGE && off + len != map->size))
        return PMS_FAIL(PMS_E_INVAL, "private copies are dropped in whole pages", off, len,
                        PMS_PAGE);
    uint8_t *start;
    size_t bytes;
    PMS_TRY(map_range(map, off, len, &start, &bytes));
    if (bytes && madvise(start, bytes, MADV_DONTNEED) != 0)
        return PMS_FAIL_OS("dropping private pages (MADV_DONTNEED)", off, len, errno);
    return PMS_OK;
}

void pms_map_keep(struct pms_map *map)
{
    map->medium.fd = -1; /* a fork() must not close what has that number by then */
    (void)mprotect(map->medium.base, pms_page_up(map->size), PROT_READ);
}

void pms_map_close(struct pms_map *map)
{
    if (!map->medium.base)
        return;
    pms_sigbus_leave(map);
    munmap(map->medium.base, map->limit);
    map->medium.base = NULL;
    map->size = 0;
    map->limit = 0;
}
