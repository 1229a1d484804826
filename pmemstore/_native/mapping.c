/* mapping.c -- range checks, users and one meaning of flush + fence for pmemstore.mapping. */
#include "mapping.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "map_internal.h"

struct pms_mapping {
    struct pms_map map;
    _Atomic uint32_t users;  /* calls that are running */
    _Atomic uint32_t closed; /* no further call may start */
    pthread_mutex_t lock;    /* held while a noted range is synced */
    pthread_mutex_t looking; /* held for what is below; after lock, if both */
    struct pms_watch watch;
    uint32_t mode;          /* enum pms_watch_mode */
    _Atomic int64_t due_ns; /* the next fence after this looks */
    uint64_t noted_from;    /* flushed but not fenced; media that are not direct */
    uint64_t noted_end;
};

static int mapping_media_error(struct pms_mapping *u)
{
    uint64_t error = atomic_load(&u->map.media_error);
    uint32_t lost = u->watch.ever & PMS_WATCH_LOST;
    return pms_fail(PMS_E_MEDIA, __FILE__, __LINE__,
                    lost ? pms_watch_text(lost) : "the mapping has lost its file",
                    error ? error - 1 : 0, 0, 0, EIO);
}

static int mapping_begin(struct pms_mapping *u)
{
    atomic_fetch_add(&u->users, 1);
    if (PMS_LIKELY(!atomic_load(&u->closed) && u->map.medium.fd >= 0))
        return PMS_OK;
    bool closed = atomic_load(&u->closed);
    atomic_fetch_sub(&u->users, 1);
    return PMS_FAIL(closed ? PMS_E_CLOSED : PMS_E_FORKED, "mapping", 0, 0, 0);
}

/* Ends the call; a media error outweighs its success. */
static int mapping_end(struct pms_mapping *u, int status)
{
    if (PMS_UNLIKELY(pms_map_error(&u->map)) && status == PMS_OK)
        status = mapping_media_error(u);
    atomic_fetch_sub(&u->users, 1);
    return status;
}

static int mapping_range(const struct pms_mapping *u, uint64_t off, uint64_t len)
{
    if (PMS_UNLIKELY(off > u->map.size || len > u->map.size - off))
        return PMS_FAIL(PMS_E_INVAL, "range outside the mapping", off, len, u->map.size);
    if (PMS_UNLIKELY(u->map.flags & PMS_MAP_READONLY))
        return PMS_FAIL(PMS_E_READONLY, "mapping", off, len, 0);
    return PMS_OK;
}

/* ---- other tasks ---- */

/* Lock held: what the file is now is right. */
static int mapping_remember(struct pms_mapping *u)
{
    struct pms_watch before = u->watch;
    pms_watch_init(&u->watch, &u->map, (enum pms_watch_mode)u->mode);
    u->watch.ever = before.ever;
    u->watch.looks = before.looks;
    u->watch.repaired = before.repaired;
    return pms_watch_remember(&u->watch);
}

static void mapping_next_look(struct pms_mapping *u)
{
    const struct pms_watch *w = &u->watch;
    atomic_store_explicit(&u->due_ns,
                          w->slow_ns < 0    ? INT64_MIN
                          : w->slow_ns == 0 ? INT64_MAX
                                            : w->looked_ns + w->period_ns,
                          memory_order_relaxed);
}

/* Lock held.  Blocks of its own again, and what was stored since the clone is durable. */
static int mapping_undo_clone(struct pms_mapping *u)
{
    struct pms_prepared answer;
    PMS_TRY(pms_map_prepare(&u->map, 0, u->map.size, &answer));
    if (!answer.granted) {
        pms_map_blame(&u->map, 0);
        return pms_fail(PMS_E_MEDIA, __FILE__, __LINE__, pms_watch_text(PMS_WATCH_SHARED), 0, 0,
                        0, answer.sys_errno);
    }
    u->watch.repaired++;
    return mapping_remember(u);
}

/* Lock held.  PMS_E_MEDIA: contents may be gone. */
static int mapping_lost(struct pms_mapping *u, uint32_t found)
{
    if (PMS_LIKELY(!(found & PMS_WATCH_LOST)))
        return PMS_OK;
    pms_map_blame(&u->map, u->watch.where);
    return mapping_media_error(u);
}

static int mapping_look_locked(struct pms_mapping *u, bool full)
{
    uint32_t found = pms_watch_look(&u->watch, full);
    PMS_TRY(mapping_lost(u, found));
    bool ours = u->map.medium.direct && !(u->map.flags & PMS_MAP_READONLY);
    return PMS_UNLIKELY(found & PMS_WATCH_SHARED && ours) ? mapping_undo_clone(u) : PMS_OK;
}

static int mapping_look(struct pms_mapping *u, bool full)
{
    pthread_mutex_lock(&u->looking);
    int status = mapping_look_locked(u, full);
    mapping_next_look(u);
    pthread_mutex_unlock(&u->looking);
    return status;
}

/* After a fence on direct media: before anybody is told. */
static int mapping_fenced(struct pms_mapping *u)
{
    int64_t due = atomic_load_explicit(&u->due_ns, memory_order_relaxed);
    if (due == INT64_MAX || (due != INT64_MIN && pms_watch_now() < due))
        return PMS_OK;
    return mapping_look(u, false);
}

/* After a failed sync nobody knows what is durable: it is remembered, never tried again. */
static int mapping_sync(struct pms_mapping *u, uint64_t off, uint64_t len)
{
    if (pms_map_error(&u->map))
        return mapping_media_error(u);
    if (pms_sync_range(&u->map.medium, off, (size_t)len) == PMS_OK)
        return mapping_look(u, false);
    int err = pms_detail()->sys_errno;
    pms_map_blame(&u->map, off);
    return pms_fail(PMS_E_MEDIA, __FILE__, __LINE__, "msync failed", off, len, 0, err);
}

/* Read a byte of each page: what a truncation took away is noticed here also where the flush
 * does not touch memory (eADR, emulators). */
static void mapping_touch(const struct pms_mapping *u, uint64_t off, uint64_t len)
{
    const volatile uint8_t *base = u->map.medium.base;
    for (uint64_t at = off; at < off + len; at = pms_page_down(at) + PMS_PAGE)
        (void)base[at];
}

static void mapping_note(struct pms_mapping *u, uint64_t off, uint64_t len)
{
    if (!len)
        return;
    pthread_mutex_lock(&u->lock);
    bool first = u->noted_from == u->noted_end;
    if (first || off < u->noted_from)
        u->noted_from = off;
    if (first || off + len > u->noted_end)
        u->noted_end = off + len;
    pthread_mutex_unlock(&u->lock);
}

/* The lock is held during the sync: another thread's fence must not return before the range
 * that it flushed, and that this fence took, is durable. */
static int mapping_settle(struct pms_mapping *u)
{
    int status = PMS_OK;
    pthread_mutex_lock(&u->lock);
    if (u->noted_from != u->noted_end)
        status = mapping_sync(u, u->noted_from, u->noted_end - u->noted_from);
    u->noted_from = u->noted_end = 0;
    pthread_mutex_unlock(&u->lock);
    return status;
}

int pms_mapping_open(struct pms_mapping **out, int fd, uint64_t size, uint32_t flags,
                     uint32_t watch)
{
    struct pms_mapping *u = calloc(1, sizeof *u);
    if (!u)
        return PMS_FAIL(PMS_E_NOMEM, "mapping", 0, sizeof *u, 0);
    pthread_mutex_init(&u->lock, NULL);
    pthread_mutex_init(&u->looking, NULL);
    u->mode = watch;
    int status = pms_map_open(&u->map, fd, size, size, flags | PMS_MAP_RAW, PMS_FLUSH_AUTO);
    if (status == PMS_OK && (status = mapping_remember(u)) != PMS_OK)
        pms_map_close(&u->map);
    mapping_next_look(u);
    if (status != PMS_OK) {
        pthread_mutex_destroy(&u->looking);
        pthread_mutex_destroy(&u->lock);
        free(u);
        return status;
    }
    *out = u;
    return PMS_OK;
}

void pms_mapping_record(struct pms_mapping *u, pms_recorder_fn recorder, void *context)
{
    u->map.medium.recorder_context = context;
    u->map.medium.recorder = recorder;
}

int pms_mapping_close(struct pms_mapping *u)
{
    const struct timespec while_ns = {.tv_nsec = 20000};
    if (atomic_exchange(&u->closed, 1))
        return PMS_OK;
    int fd = u->map.medium.fd; /* -1: in the child of a fork, where no call of ours runs */
    while (fd >= 0 && atomic_load(&u->users))
        nanosleep(&while_ns, NULL);
    pms_map_close(&u->map); /* first: it leaves the list of those whose fd fork closes */
    u->map.medium.fd = -1;
    if (fd >= 0)
        close(fd);
    return PMS_OK;
}

void pms_mapping_free(struct pms_mapping *u)
{
    pms_mapping_close(u);
    pthread_mutex_destroy(&u->looking);
    pthread_mutex_destroy(&u->lock);
    free(u);
}

void pms_mapping_info(const struct pms_mapping *u, struct pms_mapping_info *info)
{
    const struct pms_medium *m = &u->map.medium;
    *info = (struct pms_mapping_info){
        .base = (uint64_t)(uintptr_t)m->base,
        .size = u->map.size,
        .tier = (int)m->tier,
        .flush_kind = (int)m->flush_kind,
        .direct = m->direct,
        .readonly = (u->map.flags & PMS_MAP_READONLY) != 0,
        .reason = u->map.reason,
        .media_error = atomic_load(&u->map.media_error),
        .counters = m->counters,
        .looks = u->watch.looks,
        .repairs = u->watch.repaired,
    };
}

int pms_mapping_flush(struct pms_mapping *u, uint64_t off, uint64_t len)
{
    PMS_TRY(mapping_begin(u));
    int status = mapping_range(u, off, len);
    if (status == PMS_OK && u->map.medium.direct) {
        mapping_touch(u, off, len);
        pms_flush(&u->map.medium, off, (size_t)len);
    } else if (status == PMS_OK) {
        mapping_note(u, off, len);
    }
    return mapping_end(u, status);
}

int pms_mapping_fence(struct pms_mapping *u)
{
    int status = PMS_OK;
    PMS_TRY(mapping_begin(u));
    if (u->map.medium.direct) {
        pms_fence(&u->map.medium);
        status = mapping_fenced(u);
    } else {
        status = mapping_settle(u);
    }
    return mapping_end(u, status);
}

int pms_mapping_persist(struct pms_mapping *u, uint64_t off, uint64_t len)
{
    PMS_TRY(mapping_begin(u));
    int status = mapping_range(u, off, len);
    if (status == PMS_OK && u->map.medium.direct) {
        mapping_touch(u, off, len);
        pms_flush(&u->map.medium, off, (size_t)len);
        pms_fence(&u->map.medium);
        status = mapping_fenced(u);
    } else if (status == PMS_OK) {
        mapping_note(u, off, len);
        status = mapping_settle(u);
    }
    return mapping_end(u, status);
}

int pms_mapping_prepare(struct pms_mapping *u, uint64_t off, uint64_t len,
                        struct pms_prepared *answer)
{
    PMS_TRY(mapping_begin(u));
    pthread_mutex_lock(&u->looking);
    /* First: holes that somebody made must not be filled with zeroes unseen. */
    int status =
        pms_map_error(&u->map) ? PMS_OK : mapping_lost(u, pms_watch_look(&u->watch, true));
    if (status == PMS_OK) {
        status = pms_map_prepare(&u->map, off, len, answer);
        if (status == PMS_OK && !pms_map_error(&u->map))
            status = mapping_remember(u);
    } else { /* the answer tells it in words */
        status = PMS_OK;
        *answer = (struct pms_prepared){.tier = (int)u->map.medium.tier};
        snprintf(answer->reason, sizeof answer->reason, "refused: %s",
                 pms_watch_text(u->watch.ever & PMS_WATCH_LOST));
    }
    mapping_next_look(u);
    pthread_mutex_unlock(&u->looking);
    atomic_fetch_sub(&u->users, 1);
    return status;
}

int pms_mapping_check(struct pms_mapping *u)
{
    PMS_TRY(mapping_begin(u));
    return mapping_end(u, mapping_look(u, true));
}

int pms_mapping_fill(int fd, uint64_t size)
{
    struct pms_medium m;
    PMS_TRY(pms_medium_init(&m, fd, PMS_FLUSH_NONE));
    return pms_map_fill(&m, size);
}

int pms_mapping_sync_dir(int fd)
{
    struct pms_medium m;
    PMS_TRY(pms_medium_init(&m, fd, PMS_FLUSH_NONE));
    return pms_sync_all(&m);
}
