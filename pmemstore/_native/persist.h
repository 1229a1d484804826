/* persist.h -- the one door to the medium.
 *
 * Everything that reaches the file goes through a struct pms_medium: stores, cache-line
 * write-back and fences on a mapping; writes, syncs, allocation and truncation on a
 * descriptor.  It is chosen at open for the medium and the CPU.  No other code of this
 * library stores into a pool, flushes, fences, or calls msync, pwrite, fdatasync, fallocate or
 * ftruncate; tests/test_tidy.py looks for them, a recorder (below) sees every one, and a build
 * with PMS_DEBUG_DOOR keeps a pool's shared mapping read-only outside pms_store.
 *
 * Words: flush = start the write-back of lines; fence = order it; persist = both; sync = a
 * system call that waits for the device.
 */
#ifndef PMS_PERSIST_H
#define PMS_PERSIST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/uio.h>

#include "status.h"

enum pms_tier {
    PMS_TIER_NONE = 0,
    PMS_TIER_EADR = 1,      /* DAX, caches are in the power-fail domain: fences only */
    PMS_TIER_FLUSH = 2,     /* DAX, MAP_SYNC granted: line flushes and fences */
    PMS_TIER_DAX_FSYNC = 3, /* DAX without MAP_SYNC: one sync per commit */
    PMS_TIER_SYNC = 4,      /* any other file: one synchronous write per commit */
    PMS_TIER_VOLATILE = 5   /* tmpfs, ramfs: as FLUSH, but power loss loses it */
};

enum pms_flush_kind {
    PMS_FLUSH_AUTO = 0,
    PMS_FLUSH_NONE = 1, /* eADR */
    PMS_FLUSH_CLFLUSH = 2,
    PMS_FLUSH_CLFLUSHOPT = 3,
    PMS_FLUSH_CLWB = 4,
    PMS_FLUSH_DC_CVAP = 5, /* ARM64 */
    PMS_FLUSH_DC_CVAC = 6  /* ARM64 without FEAT_DPB: to the point of coherency */
};

/* One event for a recorder, after it happened (stores: before).  off: in the file. */
enum pms_event_kind {
    PMS_EV_STORE = 1,    /* data = the new bytes, cached store */
    PMS_EV_NT_STORE = 2, /* data = the new bytes, non-temporal: no flush needed, fence is */
    PMS_EV_FLUSH = 3,
    PMS_EV_FENCE = 4,
    PMS_EV_WRITE = 5,      /* pwrite, not synchronous; data = the bytes */
    PMS_EV_WRITE_SYNC = 6, /* pwritev2(RWF_DSYNC): durable on return; data = the bytes */
    PMS_EV_SYNC = 7, /* fdatasync or fsync or msync of [off, off+len), len 0: whole file */
    PMS_EV_ALLOCATE = 8,
    PMS_EV_TRUNCATE = 9
};
struct pms_event {
    uint32_t kind;
    uint32_t zero;
    uint64_t off;
    uint64_t len;
    const void *data;
};
/* Returns 0 to go on; an errno value to make a WRITE, WRITE_SYNC, SYNC, ALLOCATE or TRUNCATE
 * fail with it instead of being executed (the event is then delivered BEFORE execution for
 * those kinds; a recorder that returns 0 sees the call executed right afterwards). */
typedef int (*pms_recorder_fn)(void *context, const struct pms_event *event);

struct pms_counters { /* since the medium was opened; read without lock for statistics */
    uint64_t fences;
    uint64_t flushed_lines;
    uint64_t syncs; /* WRITE_SYNC and SYNC together */
    uint64_t written_bytes;
};

struct pms_medium {
    uint8_t *base; /* the mapping: address of offset 0 */
    int fd;
    enum pms_tier tier;
    enum pms_flush_kind flush_kind;
    bool direct;   /* stores through base reach the medium by flush + fence */
    bool guarded;  /* PMS_DEBUG_DOOR: base is PROT_READ, pms_store opens the pages it needs */
    bool no_dsync; /* pwritev2(RWF_DSYNC) was refused once: pwrite + fdatasync from then on */
    void (*flush_fn)(const void *addr, size_t len); /* every line that touches the range */
    void (*fence_fn)(void);
    void (*nt_copy_fn)(void *dst, const void *src, size_t len); /* 8-byte multiples, dst
                                  8-aligned; NULL where the CPU has no such store */
    pms_recorder_fn recorder;                                   /* NULL: none */
    void *recorder_context;
    struct pms_counters counters;
};

/* Choose flush, fence and nt-copy for this CPU.  kind AUTO takes the best that CPUID (or
 * HWCAP) offers; a kind that this CPU lacks is PMS_E_INVAL.  Environment PMEMSTORE_FLUSH
 * (clwb, clflushopt, clflush, none) overrides AUTO. */
int pms_medium_init(struct pms_medium *m, int fd, enum pms_flush_kind kind);
const char *pms_flush_name(enum pms_flush_kind kind);
const char *pms_tier_name(enum pms_tier tier); /* "eadr", "flush", "dax-fsync", ... */

/* ---- through the mapping ---- */
void pms_store_slow(struct pms_medium *m, uint64_t off, const void *src, size_t len, bool nt);

/* Store bytes at off through the mapping.  Not durable before flush + fence. */
static inline void pms_store(struct pms_medium *m, uint64_t off, const void *src, size_t len)
{
#ifndef PMS_DEBUG_DOOR
    if (PMS_LIKELY(!m->recorder)) {
        memcpy(m->base + off, src, len);
        return;
    }
#endif
    pms_store_slow(m, off, src, len, false);
}

static inline void pms_store_u64(struct pms_medium *m, uint64_t off, uint64_t word)
{
    pms_store(m, off, &word, 8);
}

/* The same, past the caches where that pays (large, 8-aligned); needs no flush, but a fence. */
void pms_store_nt(struct pms_medium *m, uint64_t off, const void *src, size_t len);

/* On a medium that is not direct both do nothing and count nothing; on eADR a flush does
 * nothing and counts nothing. */
void pms_flush(struct pms_medium *m, uint64_t off, size_t len);
void pms_fence(struct pms_medium *m);

/* ---- through the descriptor: each returns PMS_OK or PMS_E_OS with sys_errno ---- */
/* EINTR and short writes are continued; any other failure is returned, never retried (a sync
 * not even after EINTR: the kernel may have forgotten an earlier write error by then). */
int pms_write(struct pms_medium *m, uint64_t off, const void *src, size_t len);
/* Durable on return: pwritev2(RWF_DSYNC), or pwrite + fdatasync where that is missing. */
int pms_write_sync(struct pms_medium *m, uint64_t off, const void *src, size_t len);
int pms_sync(struct pms_medium *m);                                 /* fdatasync */
int pms_sync_all(struct pms_medium *m);                             /* fsync */
int pms_sync_range(struct pms_medium *m, uint64_t off, size_t len); /* msync */
/* Give the range blocks of its own and write zeroes into it (so that no later store or write
 * can meet a full disk), extending the file if need be.  Not synced. */
int pms_allocate_zero(struct pms_medium *m, uint64_t off, uint64_t len);
int pms_truncate(struct pms_medium *m, uint64_t size);
/* The two steps of pms_allocate_zero for those who need one of them (pms_map_prepare).
 * pms_allocate: blocks for the holes of the range, contents kept; with unshare, blocks of its
 * own for what a reflink shares.  A file system without it gives PMS_E_OS, EOPNOTSUPP. */
int pms_allocate(struct pms_medium *m, uint64_t off, uint64_t len, bool unshare);
int pms_write_zeroes(struct pms_medium *m, uint64_t off, uint64_t len);

#endif
