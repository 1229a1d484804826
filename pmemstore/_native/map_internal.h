/* map_internal.h -- what map.c, sigbus.c, probe.c, prepare.c and extents.c share, and nobody else. */
#ifndef PMS_MAP_INTERNAL_H
#define PMS_MAP_INTERNAL_H

#include "map.h"

/* States in which a store may still need blocks. */
#define PMS_NOT_FILLED (PMS_EXTENT_HOLE | PMS_EXTENT_UNWRITTEN)

/* Room for "unknown error 2147483647". */
#define PMS_ERRNO_NAME_MAX 32

/* "EOPNOTSUPP", or "error 123" written into buf. */
const char *pms_errno_name(int err, char buf[PMS_ERRNO_NAME_MAX]);

/* "ext4", "xfs", ...; "this file system" if it is not one that we know. */
const char *pms_probe_fs_name(int fd);

/* Errno of a one-page MAP_SYNC mapping of fd, 0 if it is granted. */
int pms_probe_map_sync(int fd);

/* pms_map_probe into map->fs, ->sync_errno, ->reason; and whether the tier was forced by the
 * environment.  Of tier SYNC there is no reason yet. */
int pms_probe_file(struct pms_map *map, int fd, enum pms_tier *tier, bool *forced);

/* True if stores through the mapping go to the file's own pages. */
static inline bool pms_map_is_shared(const struct pms_map *map)
{
    if (map->flags & (PMS_MAP_READONLY | PMS_MAP_PRIVATE))
        return false;
    return map->medium.direct || (map->flags & PMS_MAP_RAW);
}

/* Enter a map in the list of live mappings; leave it (returns when no handler of any thread
 * can still look at it). */
int pms_sigbus_enter(struct pms_map *map);
void pms_sigbus_leave(struct pms_map *map);

/* See that our SIGBUS handler is the one in force: others (faulthandler) may replace it. */
int pms_sigbus_install(void);

static inline uint64_t pms_page_down(uint64_t off) { return off & ~(uint64_t)(PMS_PAGE - 1); }

static inline uint64_t pms_page_up(uint64_t off)
{
    return (off + PMS_PAGE - 1) & ~(uint64_t)(PMS_PAGE - 1);
}

#endif
