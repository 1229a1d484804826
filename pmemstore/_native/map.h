/* map.h -- a file in memory: which guarantee the kernel gives, and what happens if it breaks.
 *
 * The address range up to `limit` is reserved at open, so that growth never moves the mapping.
 * A SIGBUS under a mapping (the file was truncated, or the medium has an error) is caught: the
 * handler puts an anonymous zero page under the access, sets map->media_error and lets the
 * program go on; whoever entered the core looks at the flag before reporting success.  A
 * SIGBUS anywhere else goes to the handler that was there before.
 */
#ifndef PMS_MAP_H
#define PMS_MAP_H

#include <stdatomic.h>

#include "layout.h"
#include "persist.h"

enum pms_map_flags {
    PMS_MAP_READONLY = 1, /* descriptor is O_RDONLY; the mapping is private and writable, so
                             that a reader may recover into its own pages */
    PMS_MAP_PRIVATE = 2,  /* files: MAP_PRIVATE; what is stored stays in this process */
    PMS_MAP_RAW = 4,      /* shared also on files without DAX (the public Mapping, msync) */
    PMS_MAP_FORCED_ = 8   /* set by pms_map_open: the tier is forced, MAP_SYNC is not asked */
};

#define PMS_REASON_MAX 320

struct pms_map {
    struct pms_medium medium; /* .base, .tier, .direct are set by pms_map_open */
    uint64_t size;            /* mapped bytes of the file */
    uint64_t limit;           /* reserved bytes of address space */
    uint32_t flags;
    const char *fs; /* its file system: pms_probe_fs_name */
    int sync_errno; /* why MAP_SYNC was not granted; 0: it was, or was not asked for */
    char reason[PMS_REASON_MAX];  /* the tier's: pms_map_reason; "": nobody has asked yet */
    _Atomic uint64_t media_error; /* 0, or 1 + offset of the first SIGBUS */
    struct pms_map *_Atomic next; /* list of live mappings, for the handlers */
};

/* What the file behind fd can give, without mapping it for good: statfs, statx, a trial
 * mmap(MAP_SHARED_VALIDATE|MAP_SYNC) of one page, persistence_domain of its device.
 * PMEMSTORE_FORCE_TIER (eadr, flush, dax-fsync, sync, volatile) overrides; the reason says so.
 * size is the file's present size (0: the trial says what it can without a page). */
int pms_map_probe(int fd, uint64_t size, enum pms_tier *tier, char reason[PMS_REASON_MAX]);

/* Why the map has its tier, a sentence.  What costs more than the rest of opening, why a file has no
 * DAX, is looked for when it is asked first: by one thread at a time. */
const char *pms_map_reason(struct pms_map *map);

/* For a file that was just created and is still empty: ask for what makes stores count.  ext4
 * and xfs on a device with DAX: FS_XFLAG_DAX, which takes effect when the file has been closed
 * and is opened again; on xfs also to have its blocks in pieces of a huge page, if it is to have
 * so many bytes (size; 0: it is not empty).  btrfs: FS_NOCOW_FL.  Elsewhere, or if refused: nothing; the probe will
 * tell what came of it. */
void pms_map_ask_direct(int fd, uint64_t size);

/* Blocks of zeroes for [off, off + len) at the end of the file, such that a store to them needs
 * none: allocated and written.  On tmpfs what is allocated behind the end is both. */
int pms_map_lengthen(struct pms_medium *m, uint64_t off, uint64_t len);

/* m->fd is such a file: ask, give it size bytes of written zeroes, fsync. */
int pms_map_fill(struct pms_medium *m, uint64_t size);

/* Reserve limit bytes, map [0, size) of fd.  Shared if the tier is EADR, FLUSH or VOLATILE (with
 * MAP_SYNC for the first two), else private (or, with PMS_MAP_RAW, shared).  The map is entered
 * in the list of live mappings.  limit is rounded up to pages; if the address space does not
 * have it, half of it is tried, down to size.  On failure nothing is left behind. */
int pms_map_open(struct pms_map *map, int fd, uint64_t size, uint64_t limit, uint32_t flags,
                 enum pms_flush_kind kind);

/* The file now has new_size >= size bytes: map the rest, in place. */
int pms_map_extend(struct pms_map *map, uint64_t new_size);

/* Fault the range in, writable (MADV_POPULATE_WRITE; a read-write touch where it is missing
 * is NOT done: PMS_E_OS with EINVAL says that the kernel is too old). */
int pms_map_populate(struct pms_map *map, uint64_t off, uint64_t len);

/* Are pages, once written, mapped writable by a read, so that no write fault follows?  On tmpfs, where
 * nothing is ever written back; ramfs asks to be told of each first store. */
bool pms_map_by_reads(const struct pms_map *map);

/* The same for such a file: a byte of each piece of PMS_AROUND is read.  In that one fault the kernel maps
 * all pages of the piece that have contents. */
#define PMS_AROUND                                                                             \
    (64ull << 10) /* fault_around_bytes; where it is less, stores take the other faults */
int pms_map_share(struct pms_map *map, uint64_t off, uint64_t len);

/* Private maps: drop the private copies of the pages; the next access reads the file. */
int pms_map_forget(struct pms_map *map, uint64_t off, uint64_t len);

/* The descriptor is about to be closed, but somebody still reads the mapping: let nobody store to
 * it any more.  It stays in the list of live mappings; pms_map_close ends it. */
void pms_map_keep(struct pms_map *map);

/* Unmap and leave the list.  Does not close fd. */
void pms_map_close(struct pms_map *map);

static inline int pms_map_error(struct pms_map *map)
{
    return atomic_load_explicit(&map->media_error, memory_order_relaxed) != 0;
}

/* Set media_error unless it is set: what lies there may not be what was stored. */
void pms_map_blame(struct pms_map *map, uint64_t off);

/* Fork guard: a number that changes in the child of every fork().  The child's copies of the
 * descriptors of all live maps are closed, and its copies of maps without PMS_MAP_RAW become empty
 * pages, so that locks stay with the parent and go with it. */
extern _Atomic uint32_t pms_fork_epoch;

/* ---- prepare-write: ask, and get an answer with its evidence ---- */
enum pms_extent_state { /* what FIEMAP says of the range: any of these bits */
                        PMS_EXTENT_UNKNOWN = 1, /* the file system does not answer */
                        PMS_EXTENT_HOLE = 2,
                        PMS_EXTENT_UNWRITTEN = 4,
                        PMS_EXTENT_SHARED =
                            8, /* reflinked: the next store is copied, and not durable by flush */
                        PMS_EXTENT_DELALLOC = 16 /* in the page cache alone */
};
/* ---- extents.c: where the file's blocks are ---- */
/* What FIEMAP says of [from, until): a state, and the place of its first byte on the device.
 * Anything but PMS_OK ends the walk. */
typedef int (*pms_extent_fn)(void *context, uint64_t from, uint64_t until, uint64_t physical,
                             uint32_t state);
int pms_extents_walk(int fd, uint64_t off, uint64_t end, pms_extent_fn see, void *context);

struct pms_extents {
    uint32_t state;     /* enum pms_extent_state, of any part of the range */
    uint64_t digest;    /* changes when blocks come, go or move, not when they become shared */
    uint64_t first_gap; /* offset of the first hole or unwritten extent */
};
void pms_extents_look(int fd, uint64_t off, uint64_t end, struct pms_extents *out);

struct pms_prepared {
    int granted; /* 1: a store + flush + fence (or + sync, by tier) in the range is durable */
    int tier;
    int allocated;       /* fallocate done, or the range had blocks */
    int unshared;        /* blocks were shared with a clone, and are not any more */
    int synced;          /* fsync done since the allocation */
    int populated;       /* writable in the page table now */
    int map_sync;        /* the kernel grants MAP_SYNC for the file, asked again just now */
    uint64_t huge_bytes; /* DAX: of the range, where a huge page can be mapped: file and device
                              agree on multiples of PMS_HUGE */
    uint64_t absent_pages; /* of the range, in the page table after populating; UINT64_MAX:
                              /proc/self/pagemap does not say */
    uint32_t before;       /* enum pms_extent_state */
    uint32_t after;
    int sys_errno; /* of the step that failed, or 0 */
    char reason[PMS_REASON_MAX];
};
/* Existing contents are kept.  Returns PMS_OK also when the answer is no. */
int pms_map_prepare(struct pms_map *map, uint64_t off, uint64_t len,
                    struct pms_prepared *answer);

#endif
