/* mapping.h -- the mapping that users of the lowest layer hold (pmemstore.mapping).
 *
 * A struct pms_map with what a caller from outside needs: every range is checked, every call is
 * counted while it runs (so that close cannot unmap under another thread), and flush + fence
 * means the same on every medium.  Where stores do not reach the medium by themselves, flush
 * notes the range and fence syncs it.
 *
 * Like a pool, a mapping watches its file (watch.h): with a fence, when one is due, and with each
 * sync.  What another task took away is PMS_E_MEDIA from then on; a clone is undone before the
 * fence returns.  A store does not tell when it begins, so with PMS_WATCH_AUTO time alone decides.
 *
 * Statuses: PMS_E_INVAL range, PMS_E_CLOSED, PMS_E_FORKED, PMS_E_READONLY, PMS_E_MEDIA (a
 * SIGBUS, a truncation, or a failed sync; from then on every call says so).
 */
#ifndef PMS_MAPPING_H
#define PMS_MAPPING_H

#include "map.h"
#include "watch.h"

struct pms_mapping; /* allocated here, freed by pms_mapping_free */

struct pms_mapping_info {
    uint64_t base; /* address; 0 when closed */
    uint64_t size;
    int tier;       /* enum pms_tier */
    int flush_kind; /* enum pms_flush_kind */
    int direct;
    int readonly;
    const char *reason;   /* lives as long as the mapping */
    uint64_t media_error; /* 0, or 1 + offset of the first failure */
    struct pms_counters counters;
    uint64_t looks;   /* times that the file was compared with what it was */
    uint64_t repairs; /* clones that were undone */
};

/* Map [0, size) of fd for good; flags: 0 or PMS_MAP_READONLY; watch: enum
 * pms_watch_mode.  fd belongs to the mapping from then on; on failure it stays the caller's. */
int pms_mapping_open(struct pms_mapping **out, int fd, uint64_t size, uint32_t flags,
                     uint32_t watch);

/* Before any call of the functions below: recorder sees what they do (persist.h). */
void pms_mapping_record(struct pms_mapping *u, pms_recorder_fn recorder, void *context);

/* Unmap and close fd, once the calls of other threads have returned.  Twice is once. */
int pms_mapping_close(struct pms_mapping *u);
void pms_mapping_free(struct pms_mapping *u); /* closes if need be */

void pms_mapping_info(const struct pms_mapping *u, struct pms_mapping_info *info);

int pms_mapping_flush(struct pms_mapping *u, uint64_t off, uint64_t len);
int pms_mapping_fence(struct pms_mapping *u);
int pms_mapping_persist(struct pms_mapping *u, uint64_t off, uint64_t len);
int pms_mapping_prepare(struct pms_mapping *u, uint64_t off, uint64_t len,
                        struct pms_prepared *answer);
/* Has anything happened to the file that a flush could not see?  Looks at all of it. */
int pms_mapping_check(struct pms_mapping *u);

/* A new, empty file: ask for DAX or NOCOW, give it size bytes of written zeroes, fsync.  DAX
 * takes effect when the file is closed and opened again. */
int pms_mapping_fill(int fd, uint64_t size);
/* fsync of a directory, after a link or rename in it. */
int pms_mapping_sync_dir(int fd);

#endif
