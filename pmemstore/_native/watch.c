/* watch.c -- compares a file with what it was.  watch.h is the manual. */
#include "watch.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>

#include "map_internal.h"

/* The kernel may stamp two changes within a tick (10 ms at most) with the same time. */
#define WATCH_TICK_NS 20000000

void pms_watch_init(struct pms_watch *watch, const struct pms_map *map,
                    enum pms_watch_mode mode)
{
    const struct pms_medium *m = &map->medium;
    const char *fs = map->fs;
    bool memory = !strcmp(fs, "tmpfs") || !strcmp(fs, "ramfs");
    bool steady = !strcmp(fs, "ext4") || !strcmp(fs, "xfs");
    memset(watch, 0, sizeof *watch);
    watch->map = map;
    watch->by_times = m->direct && (memory || steady);
    watch->by_extents = steady;
    /* On files our writes to cloned blocks go elsewhere, and that is fine. */
    watch->by_place = m->direct || !strcmp(fs, "ext4");
    watch->by_blocks = steady || !strcmp(fs, "tmpfs");
    watch->by_tick = memory;
    /* Files have their looks with the sync; 0: none is due by time. */
    if (m->direct && mode != PMS_WATCH_OFF)
        watch->slow_ns = mode == PMS_WATCH_ALWAYS ? -1 : PMS_WATCH_SLOW_NS;
    watch->period_ns = PMS_WATCH_PERIOD_NS;
}

/* Files: without the times, which we do not need.  Whoever asks for them makes the next write stamp
 * the inode anew (Linux 6.13 and later), and a sync that writes the inode too takes a third longer. */
static int watch_ask(const struct pms_watch *watch, struct stat *st)
{
    const unsigned need = STATX_SIZE | STATX_BLOCKS | STATX_NLINK | STATX_INO;
    int fd = watch->map->medium.fd;
    struct statx stx;
    if (watch->by_times || statx(fd, "", AT_EMPTY_PATH, need, &stx) != 0 ||
        (stx.stx_mask & need) != need)
        return fstat(fd, st);
    *st = (struct stat){.st_dev = makedev(stx.stx_dev_major, stx.stx_dev_minor),
                        .st_ino = stx.stx_ino,
                        .st_nlink = stx.stx_nlink,
                        .st_size = (off_t)stx.stx_size,
                        .st_blocks = (blkcnt_t)stx.stx_blocks};
    return 0;
}

static void watch_looked(struct pms_watch *watch)
{
    watch->looked_ns = pms_watch_now();
    watch->looked_tick = pms_watch_tick();
}

static int64_t watch_ns(const struct timespec *t)
{
    return (int64_t)t->tv_sec * 1000000000 + t->tv_nsec;
}

static bool watch_is_young(const struct pms_watch *watch, const struct stat *st)
{
    struct timespec now;
    if (!watch->by_times)
        return false;
    clock_gettime(CLOCK_REALTIME_COARSE, &now);
    int64_t changed = watch_ns(&st->st_ctim), modified = watch_ns(&st->st_mtim);
    return watch_ns(&now) - (changed > modified ? changed : modified) < WATCH_TICK_NS;
}

static uint32_t watch_flags(int fd)
{
    int flags = 0;
    if (ioctl(fd, FS_IOC_GETFLAGS, &flags) != 0)
        return 0;
    return (uint32_t)flags & (FS_IMMUTABLE_FL | FS_APPEND_FL);
}

static bool watch_has_gaps(const struct pms_watch *watch, const struct stat *st)
{
    return watch->by_blocks && (uint64_t)st->st_blocks * 512 < watch->map->size;
}

int pms_watch_remember(struct pms_watch *watch)
{
    int fd = watch->map->medium.fd;
    struct pms_extents extents;
    if (watch_ask(watch, &watch->last) != 0)
        return PMS_FAIL_OS("fstat", 0, 0, errno);
    if (watch->by_extents) {
        pms_extents_look(fd, 0, watch->map->size, &extents);
        watch->digest = extents.digest;
        /* Sparse as it came (a copy): nothing that somebody has done since. */
        if (extents.state & (PMS_NOT_FILLED | PMS_EXTENT_UNKNOWN | PMS_EXTENT_DELALLOC))
            watch->by_extents = false;
    }
    if (watch_has_gaps(watch, &watch->last))
        watch->by_blocks = false;
    watch->young = watch_is_young(watch, &watch->last);
    watch->flags = watch_flags(fd);
    watch_looked(watch);
    return PMS_OK;
}

static uint32_t watch_extents(struct pms_watch *watch)
{
    struct pms_extents extents;
    uint32_t found = 0;
    pms_extents_look(watch->map->medium.fd, 0, watch->map->size, &extents);
    if (extents.state & PMS_EXTENT_UNKNOWN)
        return 0; /* it did answer once: out of memory; the next look asks again */
    if (extents.state & PMS_NOT_FILLED) {
        found |= PMS_WATCH_GAPS;
        watch->where = extents.first_gap;
    }
    if (extents.state & PMS_EXTENT_SHARED)
        found |= PMS_WATCH_SHARED;
    else if (watch->by_place && extents.digest != watch->digest)
        found |= PMS_WATCH_MOVED;
    return found;
}

static uint32_t watch_stat(struct pms_watch *watch, const struct stat *st)
{
    const struct stat *last = &watch->last;
    uint32_t found = 0;
    if ((uint64_t)st->st_size < watch->map->size) {
        found |= PMS_WATCH_SHORTER;
        watch->where = (uint64_t)st->st_size;
    } else if (watch_has_gaps(watch, st)) {
        found |= PMS_WATCH_GAPS;
    }
    if (st->st_size > last->st_size)
        found |= PMS_WATCH_LONGER;
    if (st->st_nlink == 0 && last->st_nlink != 0)
        found |= PMS_WATCH_UNNAMED;
    if (watch->by_times && watch_ns(&st->st_ctim) != watch_ns(&last->st_ctim))
        found |= PMS_WATCH_TOUCHED;
    if (watch->by_times && watch_ns(&st->st_mtim) != watch_ns(&last->st_mtim))
        found |= PMS_WATCH_TOUCHED | PMS_WATCH_FAULTED;
    return found;
}

uint32_t pms_watch_look(struct pms_watch *watch, bool full)
{
    int fd = watch->map->medium.fd;
    struct stat st;
    uint32_t found;
    watch->looks++;
    watch->where = 0;
    if (watch_ask(watch, &st) != 0) {
        found = PMS_WATCH_GONE;
    } else {
        found = watch_stat(watch, &st);
        bool unsure = watch->young || (watch->by_times && found & PMS_WATCH_TOUCHED);
        if (watch->by_extents && (full || unsure) && !(found & PMS_WATCH_LOST))
            found |= watch_extents(watch);
        if (found & PMS_WATCH_TOUCHED || full) {
            uint32_t flags = watch_flags(fd);
            if (flags & ~watch->flags)
                found |= PMS_WATCH_IMMUTABLE;
            if (watch->flags & ~flags)
                found |= PMS_WATCH_UNGUARDED;
            watch->flags = flags;
        }
    }
    watch->ever |= found;
    if (!(found & (PMS_WATCH_LOST | PMS_WATCH_SHARED))) {
        watch->last = st;
        watch->young = watch_is_young(watch, &st);
    }
    watch_looked(watch);
    return found;
}

const char *pms_watch_text(uint32_t found)
{
    if (found & PMS_WATCH_GONE)
        return "the file cannot be examined any more";
    if (found & PMS_WATCH_SHORTER)
        return "another task has truncated the file";
    if (found & PMS_WATCH_GAPS)
        return "another task has punched a hole into the file, or zeroed a range of it";
    if (found & PMS_WATCH_MOVED)
        return "another task has exchanged blocks of the file (punch, collapse, insert, "
               "defrag)";
    if (found & PMS_WATCH_SHARED)
        return "another task has cloned the file, and its blocks cannot be unshared";
    return "";
}
