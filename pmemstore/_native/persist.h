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
 *
 * Names are part of the medium too: a file that was made, linked or renamed is there after a
 * crash when its directory was synced (persist_name.c).
 */
#ifndef PMS_PERSIST_H
#define PMS_PERSIST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/uio.h>

#include "layout.h"
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
    PMS_EV_TRUNCATE = 9,
    PMS_EV_CREATE = 10, /* an empty file under a temporary name; data = the name, as below */
    PMS_EV_LINK = 11,   /* the file gets its name, which was free; data = the name */
    PMS_EV_RENAME = 12, /* the file gets its name, and replaces what had it; data = the name */
    PMS_EV_UNLINK = 13, /* data = the name */
    PMS_EV_SYNC_DIR = 14,
    /* Nothing happens to the medium: */
    PMS_EV_DURABLE = 15, /* the units of work so far are durable, and whoever waits for them is
                            told; off = a number of the unit */
    PMS_EV_MARK = 16     /* a remark of the program under test (trace.h) */
};
struct pms_site { /* who called the door; lives for ever */
    const char *function;
    const char *file;
    uint32_t line;
    uint32_t zero;
};
#define PMS_SITE                                                                               \
    __extension__({                                                                            \
        static const struct pms_site pms_site_here = {__func__, __FILE__, __LINE__, 0};        \
        &pms_site_here;                                                                        \
    })

struct pms_event {
    uint32_t kind;
    uint32_t zero;
    uint64_t off;
    uint64_t len;
    const void *data;
    const struct pms_site *site;
};
/* Returns 0 to go on; an errno value to make a WRITE, WRITE_SYNC, SYNC, ALLOCATE or TRUNCATE
 * fail with it instead of being executed (the event is then delivered BEFORE execution for
 * those kinds; a recorder that returns 0 sees the call executed right afterwards).  The same
 * holds for names. */
typedef int (*pms_recorder_fn)(void *context, const struct pms_event *event);

struct pms_counters { /* since the medium was opened; read without lock for statistics */
    uint64_t fences;
    uint64_t flushed_lines; /* written past the caches, too */
    /* Of a group's leader too, who has no lock: nothing of these is lost. */
    _Atomic uint64_t syncs; /* WRITE_SYNC and SYNC together */
    _Atomic uint64_t written_bytes;
};

struct pms_medium {
    uint8_t *base; /* the mapping: address of offset 0 */
    int fd;
    enum pms_tier tier;
    enum pms_flush_kind flush_kind;
    bool direct;   /* stores through base reach the medium by flush + fence */
    bool guarded;  /* PMS_DEBUG_DOOR: base is PROT_READ, pms_store opens the pages it needs */
    bool no_dsync; /* pwritev2(RWF_DSYNC) was refused once: pwrite + fdatasync from then on */
    /* Synchronous writes too.  The kernel tells an error once: of two at a time one may be told the
     * other's.  Not those of a range (the public mapping's alone) and of the directory, which is
     * another file. */
    _Atomic uint32_t syncs_begun;
    void (*flush_fn)(const void *addr, size_t len); /* every line that touches the range */
    void (*fence_fn)(void);
    void (*nt_copy_fn)(void *dst, const void *src, size_t len); /* 8-byte multiples, dst
                                  8-aligned; NULL where the CPU has no such store */
    size_t nt_lines_min; /* so many bytes in whole lines are better copied by it than flushed */
    pms_recorder_fn recorder; /* NULL: none */
    void *recorder_context;
    struct pms_counters counters;
};

/* Choose flush, fence and nt-copy for this CPU.  kind AUTO takes the best that CPUID (or
 * HWCAP) offers; a kind that this CPU lacks is PMS_E_INVAL.  Environment PMEMSTORE_FLUSH
 * (clwb, clflushopt, clflush, none) overrides AUTO.  With a kind that was named what is short is
 * flushed, line by line; AUTO writes its whole lines past the caches where the CPU is faster so, and
 * "nt" on each that can.  Long copies (1 KiB) go past them with any kind. */
int pms_medium_init(struct pms_medium *m, int fd, enum pms_flush_kind kind);
const char *pms_flush_name(enum pms_flush_kind kind);
const char *pms_tier_name(enum pms_tier tier); /* "eadr", "flush", "dax-fsync", ... */

/* ---- through the mapping ----
 * Each function NAME_at takes who calls; the macro NAME below fills it in. */
void pms_store_slow(struct pms_medium *m, uint64_t off, const void *src, size_t len, bool nt,
                    const struct pms_site *site);

/* Store bytes at off through the mapping.  Not durable before flush + fence. */
static inline void pms_store_at(struct pms_medium *m, uint64_t off, const void *src, size_t len,
                                const struct pms_site *site)
{
#ifndef PMS_DEBUG_DOOR
    if (PMS_LIKELY(!m->recorder)) {
        memcpy(m->base + off, src, len);
        return;
    }
#endif
    pms_store_slow(m, off, src, len, false, site);
}

static inline void pms_store_u64_at(struct pms_medium *m, uint64_t off, uint64_t word,
                                    const struct pms_site *site)
{
    pms_store_at(m, off, &word, 8, site);
}

/* The same, past the caches where that pays (large and 8-aligned, or whole lines on some CPUs); needs
 * no flush, but a fence. */
void pms_store_nt_at(struct pms_medium *m, uint64_t off, const void *src, size_t len,
                     const struct pms_site *site);
/* Only a hint: so many bytes will be stored there, and their lines are fetched meanwhile: a write-back
 * waits until a store has its line.  It may reach beyond the file. */
static inline void pms_store_ahead(const struct pms_medium *m, uint64_t off, size_t len)
{
    for (size_t at = 0; at < len; at += 64)
        __builtin_prefetch(m->base + off + at, 1);
}

/* The same for pms_store_nt: nothing, where that goes past the caches. */
static inline void pms_store_nt_ahead(const struct pms_medium *m, uint64_t off, size_t len)
{
    if (m->direct && len < m->nt_lines_min)
        pms_store_ahead(m, off, len);
}

/* On a medium that is not direct both do nothing and count nothing; on eADR a flush does
 * nothing and counts nothing. */
void pms_flush_slow(struct pms_medium *m, uint64_t off, size_t len,
                    const struct pms_site *site);
static inline void pms_count_lines(struct pms_medium *m, uint64_t off, size_t len)
{
    m->counters.flushed_lines += (off + len - 1) / PMS_LINE - off / PMS_LINE + 1;
}
static inline void pms_flush_at(struct pms_medium *m, uint64_t off, size_t len,
                                const struct pms_site *site)
{
    if (PMS_UNLIKELY(m->recorder != NULL)) {
        pms_flush_slow(m, off, len, site);
        return;
    }
    if (!m->direct || !len || m->flush_kind == PMS_FLUSH_NONE)
        return;
    m->flush_fn(m->base + off, len);
    pms_count_lines(m, off, len);
}
void pms_fence_at(struct pms_medium *m, const struct pms_site *site);

/* Nothing happens; a recorder learns that the units of work up to number are durable. */
void pms_tell_durable_slow(struct pms_medium *m, uint64_t number, const struct pms_site *site);
static inline void pms_tell_durable_at(struct pms_medium *m, uint64_t number,
                                       const struct pms_site *site)
{
    if (PMS_UNLIKELY(m->recorder != NULL))
        pms_tell_durable_slow(m, number, site);
}

/* ---- through the descriptor: each returns PMS_OK or PMS_E_OS with sys_errno ---- */
/* EINTR and short writes are continued; any other failure is returned, never retried (a sync
 * not even after EINTR: the kernel may have forgotten an earlier write error by then).  site NULL: a
 * write that the recorder has been told of by another event. */
int pms_write_at(struct pms_medium *m, uint64_t off, const void *src, size_t len,
                 const struct pms_site *site);
/* Durable on return: pwritev2(RWF_DSYNC), or pwrite + fdatasync where that is missing. */
int pms_write_sync_at(struct pms_medium *m, uint64_t off, const void *src, size_t len,
                      const struct pms_site *site);
int pms_sync_at(struct pms_medium *m, const struct pms_site *site);     /* fdatasync */
int pms_sync_all_at(struct pms_medium *m, const struct pms_site *site); /* fsync */
int pms_sync_range_at(struct pms_medium *m, uint64_t off, size_t len,
                      const struct pms_site *site); /* msync */
/* Give the range blocks of its own and write zeroes into it (so that no later store or write
 * can meet a full disk), extending the file if need be.  Not synced. */
int pms_allocate_zero_at(struct pms_medium *m, uint64_t off, uint64_t len,
                         const struct pms_site *site);
/* The same for a file in memory, by writes alone: there they give a range its pages, of zeroes, and
 * the kernel has nothing left to do for a page but to map it.  One event, PMS_EV_ALLOCATE. */
int pms_allocate_written_at(struct pms_medium *m, uint64_t off, uint64_t len,
                            const struct pms_site *site);
int pms_truncate_at(struct pms_medium *m, uint64_t size, const struct pms_site *site);
/* The two steps of pms_allocate_zero for those who need one of them (pms_map_prepare).
 * pms_allocate: blocks for the holes of the range, contents kept; with unshare, blocks of its
 * own for what a reflink shares.  A file system without it gives PMS_E_OS, EOPNOTSUPP. */
int pms_allocate_at(struct pms_medium *m, uint64_t off, uint64_t len, bool unshare,
                    const struct pms_site *site);
int pms_write_zeroes_at(struct pms_medium *m, uint64_t off, uint64_t len,
                        const struct pms_site *site);

/* ---- names: persist_name.c; each returns PMS_OK or PMS_E_OS with sys_errno ---- */
/* Make an empty file that is not there yet: m->fd, for reading and writing. */
int pms_create_at(struct pms_medium *m, const char *name, const struct pms_site *site);
int pms_link_at(struct pms_medium *m, const char *from, const char *name,
                const struct pms_site *site);
int pms_rename_at(struct pms_medium *m, const char *from, const char *name,
                  const struct pms_site *site);
int pms_unlink_at(struct pms_medium *m, const char *name, const struct pms_site *site);
/* fsync of the directory that name is in. */
int pms_sync_dir_at(struct pms_medium *m, const char *name, const struct pms_site *site);

#define pms_store(m, off, src, len) pms_store_at(m, off, src, len, PMS_SITE)
#define pms_store_u64(m, off, word) pms_store_u64_at(m, off, word, PMS_SITE)
#define pms_store_nt(m, off, src, len) pms_store_nt_at(m, off, src, len, PMS_SITE)
#define pms_flush(m, off, len) pms_flush_at(m, off, len, PMS_SITE)
#define pms_fence(m) pms_fence_at(m, PMS_SITE)
#define pms_tell_durable(m, number) pms_tell_durable_at(m, number, PMS_SITE)
#define pms_write(m, off, src, len) pms_write_at(m, off, src, len, PMS_SITE)
#define pms_write_sync(m, off, src, len) pms_write_sync_at(m, off, src, len, PMS_SITE)
#define pms_sync(m) pms_sync_at(m, PMS_SITE)
#define pms_sync_all(m) pms_sync_all_at(m, PMS_SITE)
#define pms_sync_range(m, off, len) pms_sync_range_at(m, off, len, PMS_SITE)
#define pms_allocate_zero(m, off, len) pms_allocate_zero_at(m, off, len, PMS_SITE)
#define pms_allocate_written(m, off, len) pms_allocate_written_at(m, off, len, PMS_SITE)
#define pms_truncate(m, size) pms_truncate_at(m, size, PMS_SITE)
#define pms_allocate(m, off, len, unshare) pms_allocate_at(m, off, len, unshare, PMS_SITE)
#define pms_write_zeroes(m, off, len) pms_write_zeroes_at(m, off, len, PMS_SITE)
#define pms_create(m, name) pms_create_at(m, name, PMS_SITE)
#define pms_link(m, from, name) pms_link_at(m, from, name, PMS_SITE)
#define pms_rename(m, from, name) pms_rename_at(m, from, name, PMS_SITE)
#define pms_unlink(m, name) pms_unlink_at(m, name, PMS_SITE)
#define pms_sync_dir(m, name) pms_sync_dir_at(m, name, PMS_SITE)

/* For persist_name.c: deliver an event; what the recorder answers is 0 or an errno. */
int pms_tell(struct pms_medium *m, uint32_t kind, uint64_t off, uint64_t len, const void *data,
             const struct pms_site *site);

#endif
