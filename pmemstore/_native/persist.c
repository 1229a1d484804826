/* persist.c -- the one door to the medium: stores, flushes, fences, writes and syncs. */
#include "persist.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "layout.h"
#include "persist_cpu.h"

#ifndef RWF_DSYNC
#define RWF_DSYNC 0x00000002
#endif
#ifndef FALLOC_FL_UNSHARE_RANGE
#define FALLOC_FL_UNSHARE_RANGE 0x40
#endif

/* From this length on a non-temporal copy of any 8-aligned range is cheaper than memcpy + write-back
 * of the lines, on all CPUs that were measured.  Whole lines: m->nt_lines_min. */
#define PMS_NT_MIN 1024u

/* What pms_write_zeroes writes from: untouched .bss, so it costs no memory. */
#define PMS_ZEROES_BYTES (1u << 18)
static uint8_t persist_zeroes[PMS_ZEROES_BYTES];

/* Names as the environment spells them, in the order of enum pms_flush_kind. */
static const char *const persist_flush_names[] = {
    "auto", "none", "clflush", "clflushopt", "clwb", "dc-cvap", "dc-cvac",
};
#define PMS_FLUSH_KINDS (sizeof persist_flush_names / sizeof persist_flush_names[0])

static const char *const persist_tier_names[] = {
    "none", "eadr", "flush", "dax-fsync", "sync", "volatile",
};
#define PMS_TIERS (sizeof persist_tier_names / sizeof persist_tier_names[0])

const char *pms_flush_name(enum pms_flush_kind kind)
{
    return (unsigned)kind < PMS_FLUSH_KINDS ? persist_flush_names[kind] : "?";
}

const char *pms_tier_name(enum pms_tier tier)
{
    return (unsigned)tier < PMS_TIERS ? persist_tier_names[tier] : "?";
}

/* AUTO: what PMEMSTORE_FLUSH names, or the best of the CPU.  *nt_lines_min: as in struct pms_medium, or
 * 0 if the CPU is to choose. */
static int persist_choose(enum pms_flush_kind *kind, size_t *nt_lines_min)
{
    const char *name = getenv("PMEMSTORE_FLUSH");
    bool past = name && !strcmp(name, "nt");
    *nt_lines_min = past ? 1 : 0;
    if (past || !name || !*name || !strcmp(name, "auto")) {
        *kind = pms_cpu_best_flush();
        if (*kind == PMS_FLUSH_AUTO)
            return PMS_FAIL(PMS_E_INVAL, "this CPU has no cache-line flush", 0, 0, 0);
        return PMS_OK;
    }
    *nt_lines_min = SIZE_MAX;
    for (unsigned i = PMS_FLUSH_NONE; i < PMS_FLUSH_KINDS; i++) {
        if (!strcmp(name, persist_flush_names[i])) {
            *kind = (enum pms_flush_kind)i;
            return PMS_OK;
        }
    }
    return PMS_FAIL(PMS_E_INVAL, "environment variable PMEMSTORE_FLUSH names no flush", 0, 0,
                    0);
}

int pms_medium_init(struct pms_medium *m, int fd, enum pms_flush_kind kind)
{
    memset(m, 0, sizeof *m);
    m->fd = fd;
    size_t nt_lines_min = SIZE_MAX;
    if (kind == PMS_FLUSH_AUTO)
        PMS_TRY(persist_choose(&kind, &nt_lines_min));
    if (!pms_cpu_has_flush(kind))
        return PMS_FAIL(PMS_E_INVAL, "this CPU lacks the flush instruction asked for", 0, kind,
                        pms_cpu_best_flush());
    m->flush_kind = kind;
    pms_cpu_bind(m, kind);
    if (nt_lines_min == 1 && !m->nt_copy_fn)
        return PMS_FAIL(PMS_E_INVAL,
                        "PMEMSTORE_FLUSH is nt, but this CPU has no non-temporal stores", 0, 0,
                        0);
    if (nt_lines_min)
        m->nt_lines_min = nt_lines_min;
    return PMS_OK;
}

/* ---- recorder ----------------------------------------------------------------------- */

int pms_tell(struct pms_medium *m, uint32_t kind, uint64_t off, uint64_t len, const void *data,
             const struct pms_site *site)
{
    struct pms_event event = {.kind = kind, .off = off, .len = len, .data = data, .site = site};
    return m->recorder ? m->recorder(m->recorder_context, &event) : 0;
}

/* Deliver an event; what the recorder answers is 0 or the errno to fail with. */
static inline int persist_tell(struct pms_medium *m, uint32_t kind, uint64_t off, uint64_t len,
                               const void *data, const struct pms_site *site)
{
    if (PMS_LIKELY(!m->recorder))
        return 0;
    return pms_tell(m, kind, off, len, data, site);
}

void pms_tell_durable_slow(struct pms_medium *m, uint64_t number, const struct pms_site *site)
{
    (void)persist_tell(m, PMS_EV_DURABLE, number, 0, NULL, site);
}

/* ---- through the mapping -------------------------------------------------------------- */

/* Open or shut the pages of a guarded mapping.  One lock, so that a store of another thread
 * to the same page does not shut it meanwhile. */
static pthread_mutex_t persist_door = PTHREAD_MUTEX_INITIALIZER;

static void persist_door_set(struct pms_medium *m, uint64_t off, size_t len, int prot)
{
    uint64_t start = off & ~(uint64_t)(PMS_PAGE - 1);
    uint64_t end = (off + len + PMS_PAGE - 1) & ~(uint64_t)(PMS_PAGE - 1);
    if (mprotect(m->base + start, end - start, prot) != 0)
        abort(); /* debug builds only: cannot go on, and must not pass unseen */
}

void pms_store_slow(struct pms_medium *m, uint64_t off, const void *src, size_t len, bool nt,
                    const struct pms_site *site)
{
    if (!len)
        return;
    if (m->direct) /* else it stays in this process */
        persist_tell(m, nt ? PMS_EV_NT_STORE : PMS_EV_STORE, off, len, src, site);
    if (m->guarded) {
        pthread_mutex_lock(&persist_door);
        persist_door_set(m, off, len, PROT_READ | PROT_WRITE);
    }
    if (nt)
        m->nt_copy_fn(m->base + off, src, len);
    else
        memcpy(m->base + off, src, len);
    if (m->guarded) {
        persist_door_set(m, off, len, PROT_READ);
        pthread_mutex_unlock(&persist_door);
    }
}

void pms_store_nt_at(struct pms_medium *m, uint64_t off, const void *src, size_t len,
                     const struct pms_site *site)
{
    bool whole = len >= m->nt_lines_min && !((off | len) & (PMS_LINE - 1));
    bool nt = (whole || (len >= PMS_NT_MIN && !((off | len) & 7u))) && m->direct &&
              m->nt_copy_fn && len;
    if (!nt) {
        pms_store_at(m, off, src, len, site);
        pms_flush_at(m, off, len, site);
        return;
    }
    if (PMS_LIKELY(!m->recorder && !m->guarded))
        m->nt_copy_fn(m->base + off, src, len);
    else
        pms_store_slow(m, off, src, len, true, site);
    if (m->flush_kind != PMS_FLUSH_NONE)
        pms_count_lines(m, off, len);
}

void pms_flush_slow(struct pms_medium *m, uint64_t off, size_t len, const struct pms_site *site)
{
    if (!m->direct || !len || m->flush_kind == PMS_FLUSH_NONE)
        return;
    m->flush_fn(m->base + off, len);
    pms_count_lines(m, off, len);
    persist_tell(m, PMS_EV_FLUSH, off, len, NULL, site);
}

void pms_fence_at(struct pms_medium *m, const struct pms_site *site)
{
    if (!m->direct)
        return;
    m->fence_fn();
    m->counters.fences++;
    persist_tell(m, PMS_EV_FENCE, 0, 0, NULL, site);
}

/* ---- through the descriptor ------------------------------------------------------------ */

/* pwrite all of it; with *dsync set each piece is durable, and *dsync is cleared (nothing
 * written yet) if the kernel or the file system does not have RWF_DSYNC.  0 or an errno. */
static int persist_pwrite(int fd, uint64_t off, const uint8_t *src, size_t len, bool *dsync)
{
    while (len) {
        struct iovec iov = {.iov_base = (void *)(uintptr_t)src, .iov_len = len};
        ssize_t n = *dsync ? pwritev2(fd, &iov, 1, (off_t)off, RWF_DSYNC)
                           : pwrite(fd, src, len, (off_t)off);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && *dsync && (errno == EOPNOTSUPP || errno == ENOSYS)) {
            *dsync = false;
            continue;
        }
        if (n < 0)
            return errno;
        if (n == 0)
            return EIO;
        off += (size_t)n;
        src += n;
        len -= (size_t)n;
    }
    return 0;
}

int pms_write_at(struct pms_medium *m, uint64_t off, const void *src, size_t len,
                 const struct pms_site *site)
{
    int err = site ? persist_tell(m, PMS_EV_WRITE, off, len, src, site) : 0;
    bool dsync = false;
    if (!err)
        err = persist_pwrite(m->fd, off, src, len, &dsync);
    if (err)
        return PMS_FAIL_OS("writing to the file", off, len, err);
    m->counters.written_bytes += len;
    return PMS_OK;
}

int pms_write_sync_at(struct pms_medium *m, uint64_t off, const void *src, size_t len,
                      const struct pms_site *site)
{
    m->syncs_begun++;
    int err = persist_tell(m, PMS_EV_WRITE_SYNC, off, len, src, site);
    bool dsync = !m->no_dsync;
    if (!err)
        err = persist_pwrite(m->fd, off, src, len, &dsync);
    if (!err && !dsync) {
        m->no_dsync = true;
        err = fdatasync(m->fd) ? errno : 0;
    }
    if (err)
        return PMS_FAIL_OS("writing to the file synchronously", off, len, err);
    m->counters.written_bytes += len;
    m->counters.syncs++;
    return PMS_OK;
}

int pms_sync_at(struct pms_medium *m, const struct pms_site *site)
{
    m->syncs_begun++;
    int err = persist_tell(m, PMS_EV_SYNC, 0, 0, NULL, site);
    if (!err)
        err = fdatasync(m->fd) ? errno : 0;
    if (err)
        return PMS_FAIL_OS("fdatasync", 0, 0, err);
    m->counters.syncs++;
    return PMS_OK;
}

int pms_sync_all_at(struct pms_medium *m, const struct pms_site *site)
{
    m->syncs_begun++;
    int err = persist_tell(m, PMS_EV_SYNC, 0, 0, NULL, site);
    if (!err)
        err = fsync(m->fd) ? errno : 0;
    if (err)
        return PMS_FAIL_OS("fsync", 0, 0, err);
    m->counters.syncs++;
    return PMS_OK;
}

int pms_sync_range_at(struct pms_medium *m, uint64_t off, size_t len,
                      const struct pms_site *site)
{
    if (!len)
        return PMS_OK;
    uint64_t start = off & ~(uint64_t)(PMS_PAGE - 1);
    int err = persist_tell(m, PMS_EV_SYNC, off, len, NULL, site);
    if (!err)
        err = msync(m->base + start, (size_t)(off + len - start), MS_SYNC) ? errno : 0;
    if (err)
        return PMS_FAIL_OS("msync", off, len, err);
    m->counters.syncs++;
    return PMS_OK;
}

int pms_allocate_at(struct pms_medium *m, uint64_t off, uint64_t len, bool unshare,
                    const struct pms_site *site)
{
    int err = persist_tell(m, PMS_EV_ALLOCATE, off, len, NULL, site);
    while (!err) {
        int mode = unshare ? FALLOC_FL_UNSHARE_RANGE : 0;
        if (!fallocate(m->fd, mode, (off_t)off, (off_t)len))
            return PMS_OK;
        if (errno != EINTR)
            err = errno;
    }
    return PMS_FAIL_OS(unshare ? "unsharing blocks (fallocate)" : "allocating (fallocate)", off,
                       len, err == ENOSYS ? EOPNOTSUPP : err);
}

int pms_write_zeroes_at(struct pms_medium *m, uint64_t off, uint64_t len,
                        const struct pms_site *site)
{
    while (len) {
        size_t piece = len < PMS_ZEROES_BYTES ? (size_t)len : PMS_ZEROES_BYTES;
        PMS_TRY(pms_write_at(m, off, persist_zeroes, piece, site));
        off += piece;
        len -= piece;
    }
    return PMS_OK;
}

int pms_allocate_zero_at(struct pms_medium *m, uint64_t off, uint64_t len,
                         const struct pms_site *site)
{
    if (!len)
        return PMS_OK;
    int status = pms_allocate_at(m, off, len, false, site);
    if (status != PMS_OK && pms_detail()->sys_errno != EOPNOTSUPP)
        return status;
    return pms_write_zeroes_at(m, off, len, site);
}

int pms_allocate_written_at(struct pms_medium *m, uint64_t off, uint64_t len,
                            const struct pms_site *site)
{
    int err = persist_tell(m, PMS_EV_ALLOCATE, off, len, NULL, site);
    return err ? PMS_FAIL_OS("allocating (pwrite)", off, len, err)
               : pms_write_zeroes_at(m, off, len, NULL);
}

int pms_truncate_at(struct pms_medium *m, uint64_t size, const struct pms_site *site)
{
    int err = persist_tell(m, PMS_EV_TRUNCATE, size, 0, NULL, site);
    while (!err) {
        if (!ftruncate(m->fd, (off_t)size))
            return PMS_OK;
        if (errno != EINTR)
            err = errno;
    }
    return PMS_FAIL_OS("truncating the file", size, 0, err);
}
