/* watch.h -- is the file still what it was when its pages were prepared?
 *
 * What other tasks do to the file (truncate, punch, clone, sync ...) is not seen through the
 * mapping.  So its size, times, blocks and extents are remembered after every act of our own,
 * and compared:
 *
 *   look, short  one statx; the extents too if a time has moved, or is too young to tell
 *   look, full   the extents in any case
 *
 * Why times say something (direct media): stores to prepared pages do not move them; a store
 * that takes a write fault does, and a page that somebody synced, cloned or punched takes one
 * again.  On files our own writes move them, so there times are not asked for, and extents are
 * looked at in full looks alone.
 *
 * tmpfs does not tell its extents: a hole is seen by the number of blocks, until an access
 * fills it again.
 *
 * When to look (pms_watch_due): a clone does not move the times of the file that was cloned,
 * only the store does that breaks the sharing, and that fault allocates and copies: a unit that
 * took longer than PMS_WATCH_SLOW_NS may have had one.  Besides, every PMS_WATCH_PERIOD_NS.
 *
 * Asking for the time takes 20 to 40 ns, as long as a tenth of a small unit.  So units that follow
 * each other closely are timed from the end of the one before: one question in place of two, and
 * never less time than the unit took.  tmpfs cannot clone, so no unit need be timed there: a look
 * with the first unit of each tick of the kernel, which costs next to nothing to ask for.
 */
#ifndef PMS_WATCH_H
#define PMS_WATCH_H

#include <sys/stat.h>
#include <time.h>

#include "map.h"

/* Bits. */
enum pms_watch_found {
    PMS_WATCH_GONE = 1,         /* the file cannot be examined any more */
    PMS_WATCH_SHORTER = 2,      /* truncated */
    PMS_WATCH_GAPS = 4,         /* holes or unwritten extents, where there were none */
    PMS_WATCH_MOVED = 8,        /* other blocks: collapsed, inserted, exchanged, or refilled */
    PMS_WATCH_SHARED = 16,      /* a clone shares blocks */
    PMS_WATCH_TOUCHED = 32,     /* ctime has moved: chmod, a link, or as the next one */
    PMS_WATCH_FAULTED = 1024,   /* mtime has moved: write faults of ours, or a write */
    PMS_WATCH_LONGER = 64,      /* somebody has appended */
    PMS_WATCH_UNNAMED = 128,    /* it has no name any more */
    PMS_WATCH_RENAMED = 256,    /* another file, or none, has its name (set by the pool) */
    PMS_WATCH_IMMUTABLE = 512,  /* immutable or append-only, and we did not do it */
    PMS_WATCH_UNGUARDED = 2048, /* a flag that was there was taken off */
    PMS_WATCH_OPENED = 4096     /* the lease was broken: it was opened (set by the pool) */
};
/* Contents are lost, or may be. */
#define PMS_WATCH_LOST (PMS_WATCH_GONE | PMS_WATCH_SHORTER | PMS_WATCH_GAPS | PMS_WATCH_MOVED)

#define PMS_WATCH_SLOW_NS 5000
#define PMS_WATCH_PERIOD_NS 1000000

enum pms_watch_mode {
    PMS_WATCH_AUTO = 0,
    PMS_WATCH_ALWAYS = 1, /* with each unit */
    PMS_WATCH_OFF = 2     /* when the caller asks, alone */
};

struct pms_watch {
    const struct pms_map *map;
    int64_t slow_ns, period_ns; /* by mode */
    int64_t began_ns;           /* the unit, or the one before it ended, if close_by */
    int64_t ended_ns;           /* the last unit that was asked about */
    int64_t looked_ns, looked_tick;
    bool close_by; /* the last two ended within slow_ns of each other */
    bool by_tick;  /* nothing can be cloned: the time since the last look is all that counts */
    bool by_times; /* direct: stores to prepared pages do not move times */
    bool by_extents; /* the file system keeps blocks where they are, and tells */
    bool by_place;   /* ... and puts nothing we write elsewhere: no clone can make it */
    bool by_blocks;  /* st_blocks counts all that is allocated */
    bool young;      /* the times may be of this very tick: a second change would not show */
    uint32_t flags;  /* FS_IMMUTABLE_FL, FS_APPEND_FL when remembered */
    struct stat last;
    uint64_t digest;
    uint64_t where;    /* offset of what was found, if it has one */
    uint32_t ever;     /* enum pms_watch_found, since open */
    uint64_t looks;    /* since open */
    uint64_t repaired; /* times that a clone was undone */
};

/* The map is open.  Remembers nothing yet. */
void pms_watch_init(struct pms_watch *watch, const struct pms_map *map,
                    enum pms_watch_mode mode);
/* What the file is now is our own doing, and right. */
int pms_watch_remember(struct pms_watch *watch);
/* Compare; returns what was found.  Harmless changes are remembered and found once; what is
 * LOST or SHARED is found again until pms_watch_remember. */
uint32_t pms_watch_look(struct pms_watch *watch, bool full);
/* A sentence for the worst of what was found. */
const char *pms_watch_text(uint32_t found);

static inline int64_t pms_watch_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* Steps of 1 to 10 ms. */
static inline int64_t pms_watch_tick(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* A unit begins. */
static inline void pms_watch_begin(struct pms_watch *watch)
{
    if (watch->slow_ns > 0 && !watch->close_by && !watch->by_tick)
        watch->began_ns = pms_watch_now();
}

/* A unit is durable: must there be a look before anybody is told? */
static inline bool pms_watch_due(struct pms_watch *watch)
{
    if (watch->slow_ns <= 0)
        return watch->slow_ns < 0;
    if (watch->by_tick)
        return pms_watch_tick() != watch->looked_tick;
    int64_t now = pms_watch_now(), took = now - watch->began_ns;
    watch->close_by = now - watch->ended_ns <= watch->slow_ns;
    watch->began_ns = watch->ended_ns = now;
    return took > watch->slow_ns || now - watch->looked_ns > watch->period_ns;
}

#endif
