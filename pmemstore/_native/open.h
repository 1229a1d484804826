/* open.h -- how a pool comes into being, and how a file becomes an open pool.
 *
 *   "c", "n", file missing:  temporary name, format, open it, root dict, fsync, link, fsync dir
 *   open:                    flock, superblocks, map, recover (what cannot wait), heap, objects
 *   first unit:              fsync dir, the rest of recovery (pool_take.c)
 *
 * A crash while creating leaves at most a file with a temporary name (path + ".new-" + random);
 * a pool under its own name is always complete.
 */
#ifndef PMS_OPEN_H
#define PMS_OPEN_H

#include "object.h"

struct pms_options {
    char flag;           /* r w c n, as in dbm */
    char nofollow;       /* 1: a path that is a symbolic link is refused (PMS_E_OS, ELOOP) */
    uint64_t size;       /* first size when created; 0: default */
    uint64_t limit;      /* growth limit; 0: as stored, or none */
    uint64_t log_bytes;  /* when created; 0: default */
    uint32_t require;    /* enum pms_tier: weakest that is acceptable; 0: any */
    uint32_t flush_kind; /* enum pms_flush_kind */
    uint32_t prepare;    /* enum pms_prepare_when */
    uint32_t watch;      /* enum pms_watch_mode */
    uint32_t protect;    /* enum pms_protect; not with flag r */
    int64_t timeout_ns;  /* how long an operation waits for another thread; 0: no limit */
    /* The memory modules below the file, by a name that is not 0, and how many unsafe shutdowns
     * they have counted.  0: they cannot be told. */
    uint64_t shutdown_device;
    uint64_t shutdowns;
    /* Tells the two instead, when the file is locked: of the device with this st_dev.  A status.
     * NULL: they are known. */
    int (*count)(void *context, uint64_t st_dev, uint64_t *device, uint64_t *shutdowns);
    void *count_context;
    uint32_t refuse_shutdowns; /* PMS_E_DURABILITY if one has met the pool in use */
    /* Crash tests: sees all that happens to the pool's medium (persist.h), the making of its file
     * and name included.  NULL: none. */
    pms_recorder_fn recorder;
    void *recorder_context;
};

#define PMS_SIZE_DEFAULT (16ull << 20)
#define PMS_LOG_DEFAULT (4ull << 20)
#define PMS_RESERVE_DEFAULT (1ull << 40) /* address space of a pool without a limit */

/* "c" and "n" make the file under a temporary name beside path: of a symbolic link, "n" replaces the
 * link, and not what it leads to. */
int pms_pool_open(const char *path, const struct pms_options *options, struct pms_pool **out);
/* pms_pool_drop (object.h): the last user lets go of the struct, after close. */

#endif
