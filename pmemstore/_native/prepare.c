/* prepare.c -- ask the file system for a range that is safe to store into, and believe only
 * what it shows afterwards.
 *
 *   unshare -> allocate -> (sync) -> zero-write holes and unwritten extents -> fsync -> populate
 *   -> ask again: MAP_SYNC, page table, FIEMAP
 *
 * Writing zeroes ahead is what keeps the first store cheap (an unwritten extent costs a journal
 * transaction at its first store, docs/design.md, "Write faults") and a full disk at bay.  On
 * DAX a page that was ever stored to is written, so zeroes meet no data; on other files the
 * sync in front makes the same true.  Nobody may store into holes of the range meanwhile.
 */
#include "map_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

/* So much at a time, so that no single system call takes long. */
#define PMS_PREPARE_PIECE (64ull << 20)

static uint32_t prepare_look(struct pms_map *map, uint64_t off, uint64_t end)
{
    struct pms_extents extents;
    pms_extents_look(map->medium.fd, off, end, &extents);
    return extents.state;
}

/* Zeroes over what is a hole or unwritten. */
static int prepare_zero(void *context, uint64_t from, uint64_t until, uint64_t physical,
                        uint32_t state)
{
    struct pms_map *map = context;
    (void)physical;
    return state & PMS_NOT_FILLED ? pms_write_zeroes(&map->medium, from, until - from) : PMS_OK;
}

/* pms_allocate in pieces. */
static int prepare_allocate(struct pms_map *map, uint64_t off, uint64_t end, bool unshare)
{
    for (uint64_t at = off; at < end; at += PMS_PREPARE_PIECE) {
        uint64_t len = end - at < PMS_PREPARE_PIECE ? end - at : PMS_PREPARE_PIECE;
        PMS_TRY(pms_allocate(&map->medium, at, len, unshare));
    }
    return PMS_OK;
}

/* Write the refusal; err (or 0) is put behind it by name. */
static int prepare_refuse(struct pms_prepared *answer, const char *why, int err)
{
    char buf[PMS_ERRNO_NAME_MAX];
    answer->granted = 0;
    answer->sys_errno = err;
    if (err)
        snprintf(answer->reason, sizeof answer->reason, "refused: %s (%s)", why,
                 pms_errno_name(err, buf));
    else
        snprintf(answer->reason, sizeof answer->reason, "refused: %s", why);
    return PMS_E_DURABILITY; /* for the steps below: stop; the caller sees PMS_OK */
}

/* A step failed with status; its errno is in pms_detail. */
static int prepare_failed(struct pms_prepared *answer, const char *why)
{
    return prepare_refuse(answer, why, pms_detail()->sys_errno);
}

/* What makes every other step pointless. */
static int prepare_check(struct pms_map *map, uint64_t end, struct pms_prepared *answer)
{
    struct stat st;
    int flags = 0;
    if (pms_map_error(map))
        return prepare_refuse(answer,
                              "the mapping has met a media error or a truncation; "
                              "open the file again",
                              0);
    if (map->flags & PMS_MAP_READONLY)
        return prepare_refuse(answer, "the file is open for reading alone", 0);
    if (map->flags & PMS_MAP_PRIVATE)
        return prepare_refuse(answer, "the mapping is private: stores do not reach the file",
                              0);
    if (fstat(map->medium.fd, &st) != 0)
        return prepare_refuse(answer, "the file cannot be examined", errno);
    if ((uint64_t)st.st_size < end) {
        pms_map_blame(map, (uint64_t)st.st_size);
        return prepare_refuse(answer, "the file has been truncated under the mapping", 0);
    }
    if (!strcmp(map->fs, "btrfs") &&
        (ioctl(map->medium.fd, FS_IOC_GETFLAGS, &flags) != 0 || !(flags & FS_NOCOW_FL)))
        return prepare_refuse(answer,
                              "btrfs writes each changed block to a new place, so none "
                              "can be reserved; create the file with FS_NOCOW_FL "
                              "(chattr +C on the empty file)",
                              0);
    return PMS_OK;
}

static int prepare_sync(struct pms_map *map, uint64_t off, struct pms_prepared *answer)
{
    if (pms_sync_all(&map->medium) == PMS_OK)
        return PMS_OK;
    int status = prepare_failed(answer, "fsync failed; whether earlier stores are durable is "
                                        "unknown");
    pms_map_blame(map, off);
    return status;
}

/* Blocks of its own, written, with durable metadata. */
static int prepare_blocks(struct pms_map *map, uint64_t off, uint64_t end,
                          struct pms_prepared *answer)
{
    struct pms_medium *m = &map->medium;
    answer->before = prepare_look(map, off, end);
    if (answer->before & PMS_EXTENT_SHARED) {
        /* A file system that cannot unshare may still do so when the pages are populated;
         * the look afterwards decides. */
        if (prepare_allocate(map, off, end, true) != PMS_OK &&
            pms_detail()->sys_errno != EOPNOTSUPP)
            return prepare_failed(answer, "blocks shared with a clone cannot be unshared");
    }
    bool mapped = answer->before == 0;
    if (prepare_allocate(map, off, end, false) == PMS_OK)
        mapped = true;
    else if (pms_detail()->sys_errno != EOPNOTSUPP)
        return prepare_failed(answer, "blocks cannot be allocated");
    if (answer->before & ~(uint32_t)PMS_EXTENT_SHARED) {
        bool dax = (m->tier == PMS_TIER_EADR || m->tier == PMS_TIER_FLUSH) &&
                   !(answer->before & PMS_EXTENT_DELALLOC); /* a tier that was forced */
        if (!dax) /* dirty pages over unwritten extents must not meet zeroes */
            PMS_TRY(prepare_sync(map, off, answer));
        if (pms_extents_walk(m->fd, off, end, prepare_zero, map) != PMS_OK)
            return prepare_failed(answer, "zeroes cannot be written ahead");
        mapped = mapped || !(answer->before & PMS_EXTENT_UNKNOWN);
    }
    answer->allocated = mapped;
    PMS_TRY(prepare_sync(map, off, answer));
    answer->synced = 1;
    return PMS_OK;
}

/* Pages of the range that the page table does not have. */
static uint64_t prepare_absent(const struct pms_map *map, uint64_t off, uint64_t end)
{
    uint64_t entry[512], absent = 0;
    uint64_t page = ((uint64_t)(uintptr_t)map->medium.base + off) / PMS_PAGE;
    uint64_t left = (end - off + PMS_PAGE - 1) / PMS_PAGE;
    int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return UINT64_MAX;
    while (left) {
        size_t n = left < 512 ? (size_t)left : 512;
        if (pread(fd, entry, n * 8, (off_t)(page * 8)) != (ssize_t)(n * 8)) {
            absent = UINT64_MAX;
            break;
        }
        for (size_t i = 0; i < n; i++)
            absent += !(entry[i] >> 63);
        page += n;
        left -= n;
    }
    close(fd);
    return absent;
}

/* On media where stores count: the write faults, taken now. */
static int prepare_pages(struct pms_map *map, uint64_t off, uint64_t end,
                         struct pms_prepared *answer)
{
    if (!map->medium.direct)
        return PMS_OK;
    for (uint64_t at = off; at < end; at += PMS_PREPARE_PIECE) {
        uint64_t len = end - at < PMS_PREPARE_PIECE ? end - at : PMS_PREPARE_PIECE;
        if (pms_map_populate(map, at, len) == PMS_OK)
            continue;
        if (pms_detail()->sys_errno == EINVAL)
            return PMS_OK;
        return prepare_failed(answer, "pages cannot be made writable");
    }
    answer->absent_pages = prepare_absent(map, off, end);
    answer->populated = answer->absent_pages == 0 || answer->absent_pages == UINT64_MAX;
    return PMS_OK;
}

static int prepare_huge(void *context, uint64_t from, uint64_t until, uint64_t physical,
                        uint32_t state)
{
    uint64_t *bytes = context, first = (from + PMS_HUGE - 1) / PMS_HUGE * PMS_HUGE;
    until -= until % PMS_HUGE;
    if (state == 0 && first < until && (physical - from) % PMS_HUGE == 0)
        *bytes += until - first;
    return PMS_OK;
}

static int prepare_verdict(struct pms_map *map, uint64_t off, uint64_t end,
                           struct pms_prepared *answer)
{
    enum pms_tier tier = map->medium.tier;
    answer->after = prepare_look(map, off, end);
    answer->unshared = answer->before & ~answer->after & PMS_EXTENT_SHARED ? 1 : 0;
    int err = pms_probe_map_sync(map->medium.fd);
    answer->map_sync = !err;
    if (tier == PMS_TIER_VOLATILE) {
        answer->granted = 1;
        snprintf(answer->reason, sizeof answer->reason, "granted, but volatile: %.*s",
                 PMS_REASON_MAX - 32, map->reason);
        return PMS_OK;
    }
    if (answer->after & PMS_EXTENT_UNKNOWN)
        return prepare_refuse(answer,
                              "the file system does not say where its blocks are "
                              "(FIEMAP)",
                              EOPNOTSUPP);
    if (answer->after & PMS_EXTENT_SHARED)
        return prepare_refuse(answer, "blocks are shared with a clone (reflink)", 0);
    if (answer->after & (PMS_NOT_FILLED | PMS_EXTENT_DELALLOC))
        return prepare_refuse(answer, "blocks are still missing or unwritten", 0);
    bool sync = tier == PMS_TIER_EADR || tier == PMS_TIER_FLUSH;
    if (sync && !err)
        (void)pms_extents_walk(map->medium.fd, off, end, prepare_huge, &answer->huge_bytes);
    if (sync && err && !(map->flags & PMS_MAP_FORCED_))
        return prepare_refuse(answer, "the kernel does not grant MAP_SYNC any more", err);
    answer->granted = 1;
    snprintf(answer->reason, sizeof answer->reason,
             "granted: blocks are allocated, written "
             "and unshared, metadata is durable; %s%s",
             map->medium.direct ? "store + flush + fence is durable"
                                : "store + sync is durable",
             map->medium.direct && !answer->populated
                 ? " (pages could not be made writable ahead: first stores take faults)"
                 : "");
    return PMS_OK;
}

int pms_map_prepare(struct pms_map *map, uint64_t off, uint64_t len,
                    struct pms_prepared *answer)
{
    memset(answer, 0, sizeof *answer);
    if (!len || off > map->size || len > map->size - off)
        return PMS_FAIL(PMS_E_INVAL, "range outside the mapping", off, len, map->size);
    answer->tier = (int)map->medium.tier;
    uint64_t start = pms_page_down(off);
    uint64_t end = pms_page_up(off + len);
    end = end < map->size ? end : map->size;
    PMS_TRY(pms_sigbus_install());
    int status = prepare_check(map, end, answer);
    if (status == PMS_OK)
        status = prepare_blocks(map, start, end, answer);
    if (status == PMS_OK)
        status = prepare_pages(map, start, end, answer);
    if (status == PMS_OK)
        prepare_verdict(map, start, end, answer);
    return PMS_OK;
}
