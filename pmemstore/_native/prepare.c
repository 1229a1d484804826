/* prepare.c -- ask the file system for a range that is safe to store into, and believe only
 * what it shows afterwards.
 *
 *   allocate -> (sync) -> zero-write holes and unwritten extents -> fsync -> populate -> FIEMAP
 *
 * Writing zeroes ahead is what keeps the first store cheap (an unwritten extent costs a journal
 * transaction at its first store, docs/design.md, "Write faults") and a full disk at bay.  On
 * DAX a page that was ever stored to is written, so zeroes meet no data; on other files the
 * sync in front makes the same true.  Nobody may store into holes of the range meanwhile.
 */
#include "map_internal.h"

#include <errno.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#define PMS_FIEMAP_BATCH 64u
#define PMS_NOT_WRITTEN (PMS_EXTENT_HOLE | PMS_EXTENT_UNWRITTEN | PMS_EXTENT_DELALLOC)

/* One walk over the extents of [off, off+len).  zero: write zeroes over what is a hole or
 * unwritten. */
struct prepare_walk {
    struct pms_map *map;
    uint64_t at; /* up to here the range is seen */
    uint64_t end;
    bool zero;
    uint32_t seen; /* enum pms_extent_state */
};

static int prepare_see(struct prepare_walk *walk, uint64_t until, uint32_t state)
{
    until = until < walk->end ? until : walk->end;
    if (until <= walk->at)
        return PMS_OK;
    uint64_t from = walk->at;
    walk->at = until;
    walk->seen |= state;
    if (walk->zero && (state & (PMS_EXTENT_HOLE | PMS_EXTENT_UNWRITTEN)))
        return pms_write_zeroes(&walk->map->medium, from, until - from);
    return PMS_OK;
}

static uint32_t prepare_state(uint32_t flags)
{
    uint32_t state = 0;
    if (flags & FIEMAP_EXTENT_UNWRITTEN)
        state |= PMS_EXTENT_UNWRITTEN;
    if (flags & FIEMAP_EXTENT_SHARED)
        state |= PMS_EXTENT_SHARED;
    if (flags & FIEMAP_EXTENT_DELALLOC)
        state |= PMS_EXTENT_DELALLOC;
    else if (flags & FIEMAP_EXTENT_UNKNOWN)
        state |= PMS_EXTENT_UNKNOWN;
    return state;
}

/* Returns PMS_OK with seen = UNKNOWN if the file system does not answer. */
static int prepare_walk_extents(struct prepare_walk *walk)
{
    union {
        struct fiemap head;
        uint8_t room[sizeof(struct fiemap) + PMS_FIEMAP_BATCH * sizeof(struct fiemap_extent)];
    } buf;
    walk->seen = 0;
    while (walk->at < walk->end) {
        memset(&buf.head, 0, sizeof buf.head);
        buf.head.fm_start = walk->at;
        buf.head.fm_length = walk->end - walk->at;
        buf.head.fm_extent_count = PMS_FIEMAP_BATCH;
        if (ioctl(walk->map->medium.fd, FS_IOC_FIEMAP, &buf.head) != 0) {
            if (errno == EINTR)
                continue;
            walk->seen |= PMS_EXTENT_UNKNOWN;
            return PMS_OK;
        }
        uint32_t n = buf.head.fm_mapped_extents;
        for (uint32_t i = 0; i < n; i++) {
            const struct fiemap_extent *e = &buf.head.fm_extents[i];
            PMS_TRY(prepare_see(walk, e->fe_logical, PMS_EXTENT_HOLE));
            PMS_TRY(
                prepare_see(walk, e->fe_logical + e->fe_length, prepare_state(e->fe_flags)));
        }
        if (n < PMS_FIEMAP_BATCH)
            PMS_TRY(prepare_see(walk, walk->end, PMS_EXTENT_HOLE));
    }
    return PMS_OK;
}

static uint32_t prepare_look(struct pms_map *map, uint64_t off, uint64_t end)
{
    struct prepare_walk walk = {.map = map, .at = off, .end = end};
    return prepare_walk_extents(&walk) == PMS_OK ? walk.seen : PMS_EXTENT_UNKNOWN;
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
    if (!pms_map_is_shared(map))
        return prepare_refuse(answer, "the mapping is private: stores do not reach the file",
                              0);
    if (fstat(map->medium.fd, &st) != 0)
        return prepare_refuse(answer, "the file cannot be examined", errno);
    if ((uint64_t)st.st_size < end) {
        pms_map_blame(map, (uint64_t)st.st_size);
        return prepare_refuse(answer, "the file has been truncated under the mapping", 0);
    }
    if (!strcmp(pms_probe_fs_name(map->medium.fd), "btrfs") &&
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
        if (pms_allocate(m, off, end - off, true) != PMS_OK &&
            pms_detail()->sys_errno != EOPNOTSUPP)
            return prepare_failed(answer, "blocks shared with a clone cannot be unshared");
    }
    bool mapped = answer->before == 0;
    if (pms_allocate(m, off, end - off, false) == PMS_OK)
        mapped = true;
    else if (pms_detail()->sys_errno != EOPNOTSUPP)
        return prepare_failed(answer, "blocks cannot be allocated");
    if (answer->before & ~(uint32_t)PMS_EXTENT_SHARED) {
        bool dax = m->tier == PMS_TIER_EADR || m->tier == PMS_TIER_FLUSH;
        if (!dax) /* dirty pages over unwritten extents must not meet zeroes */
            PMS_TRY(prepare_sync(map, off, answer));
        struct prepare_walk walk = {.map = map, .at = off, .end = end, .zero = true};
        if (prepare_walk_extents(&walk) != PMS_OK)
            return prepare_failed(answer, "zeroes cannot be written ahead");
        mapped = mapped || !(walk.seen & PMS_EXTENT_UNKNOWN);
    }
    answer->allocated = mapped;
    PMS_TRY(prepare_sync(map, off, answer));
    answer->synced = 1;
    return PMS_OK;
}

/* On media where stores count: the write faults, taken now. */
static int prepare_pages(struct pms_map *map, uint64_t off, uint64_t end,
                         struct pms_prepared *answer)
{
    if (!map->medium.direct)
        return PMS_OK;
    int status = pms_map_populate(map, off, end - off);
    answer->populated = status == PMS_OK;
    if (status == PMS_OK || pms_detail()->sys_errno == EINVAL)
        return PMS_OK;
    return prepare_failed(answer, "pages cannot be made writable");
}

static int prepare_verdict(struct pms_map *map, uint64_t off, uint64_t end,
                           struct pms_prepared *answer)
{
    enum pms_tier tier = map->medium.tier;
    answer->after = prepare_look(map, off, end);
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
    if (answer->after & PMS_NOT_WRITTEN)
        return prepare_refuse(answer, "blocks are still missing or unwritten", 0);
    answer->granted = 1;
    snprintf(answer->reason, sizeof answer->reason,
             "granted: blocks are allocated, written "
             "and unshared, metadata is durable; %s%s",
             map->medium.direct ? "store + flush + fence is durable"
                                : "store + sync is durable",
             map->medium.direct && !answer->populated
                 ? " (the kernel is too old to populate: the first stores take faults)"
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
