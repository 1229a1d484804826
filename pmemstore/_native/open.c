/* open.c -- creating and opening pools.  open.h is the manual. */
#include "open.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "hash.h"
#include "mapping.h"
#include "recover.h"

/* ---- superblocks ---- */

static int geometry_ok(const struct pms_super_pm *s)
{
    if (s->log_off != PMS_LOG_OFF || s->log_bytes < PMS_LOG_MIN || s->log_bytes > PMS_LOG_MAX ||
        s->log_bytes % PMS_PAGE || s->heap_start % PMS_REGION_ALIGN ||
        s->heap_start < s->log_off + s->log_bytes || s->size % PMS_REGION_ALIGN ||
        s->size <= s->heap_start || s->limit < s->size || s->limit > PMS_POOL_MAX ||
        s->nregions == 0 || s->nregions > PMS_REGIONS_MAX || s->gen >> 62)
        return 0;
    uint64_t end = s->heap_start;
    for (uint32_t i = 0; i < s->nregions; i++) {
        const struct pms_region_pm *r = &s->regions[i];
        if (r->start != end || r->start >= s->size || r->cap_pages == 0 ||
            r->cap_pages % (PMS_REGION_ALIGN / PMS_PAGE) ||
            r->cap_pages > PMS_POOL_MAX / PMS_PAGE)
            return 0;
        uint64_t tables = r->cap_pages * PMS_DESC_BYTES;
        if (tables >= s->size - r->start)
            return 0;
        end += r->cap_pages * PMS_PAGE;
    }
    return end >= s->size;
}

/* Up to len bytes: fewer at the end of the file alone.  A read that a signal cut short must not
 * make a superblock look damaged: the other one may be older. */
static int read_at(int fd, void *to, size_t len, uint64_t off, size_t *got)
{
    for (*got = 0; *got < len;) {
        ssize_t n = pread(fd, (uint8_t *)to + *got, len - *got, (off_t)(off + *got));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return PMS_FAIL_OS("reading the file", off, len, errno);
        if (n == 0)
            break;
        *got += (size_t)n;
    }
    return PMS_OK;
}

/* The newest valid slot.  PMS_E_FORMAT: this is not a pool that we can read. */
static int super_read(int fd, struct pms_super_pm *out, int *damaged)
{
    int found = 0, ours = 0;
    *damaged = 0;
    for (int i = 0; i < 2; i++) {
        struct pms_super_pm s;
        size_t n;
        PMS_TRY(read_at(fd, &s, sizeof s, PMS_SUPER_OFF + (uint64_t)i * PMS_PAGE, &n));
        ours |= n == sizeof s && s.magic == PMS_MAGIC;
        if (n != sizeof s || s.magic != PMS_MAGIC ||
            s.csum != pms_hash(&s, offsetof(struct pms_super_pm, csum), PMS_MAGIC)) {
            *damaged = 1;
            continue;
        }
        if (found && s.gen != out->gen)
            *damaged = 1; /* a crash in growth: make them equal again */
        if (!found || s.gen > out->gen)
            *out = s;
        found = 1;
    }
    if (!found)
        return ours ? PMS_FAIL(PMS_E_CORRUPT, "both superblocks are damaged", 0, 0, 0)
                    : PMS_FAIL(PMS_E_FORMAT, "the file is not a pool", 0, 0, 0);
    if (out->version != PMS_FORMAT_VERSION || out->header_bytes != sizeof *out)
        return PMS_FAIL(PMS_E_FORMAT, "the pool has an unknown version", 0, PMS_FORMAT_VERSION,
                        out->version);
    if (out->incompat)
        return PMS_FAIL(PMS_E_FORMAT, "the pool uses unknown features", 0, 0, out->incompat);
    if (!geometry_ok(out))
        return PMS_FAIL(PMS_E_CORRUPT, "the superblock's geometry is impossible", 0, 0, 0);
    return PMS_OK;
}

static int file_size_ok(const struct stat *file, const struct pms_super_pm *super)
{
    if ((uint64_t)file->st_size < super->size)
        return PMS_FAIL(PMS_E_CORRUPT, "the file has been truncated", (uint64_t)file->st_size,
                        super->size, (uint64_t)file->st_size);
    return PMS_OK;
}

/* ---- unsafe shutdowns ---- */

/* Memory modules count the power losses at which they could not save what had been flushed.  A
 * count that moved while the pool was open for writing means that commits may be gone; the pool
 * remembers the count, and whether it is in use.  A count that went backwards (another set of
 * modules under the same name, an overflow) is taken for one that moved. */
static int meet_shutdowns(struct pms_pool *pool, const struct stat *file,
                          const struct pms_options *opt, int *repair)
{
    struct pms_super_pm *s = &pool->super;
    uint64_t device = opt->shutdown_device, count = opt->shutdowns;
    if (opt->count)
        PMS_TRY(opt->count(opt->count_context, file->st_dev, &device, &count));
    if (device && device == s->shutdown_device) {
        pool->shutdowns_seen = 1;
        pool->shutdowns_before = s->shutdowns;
        if (s->in_use && count != s->shutdowns)
            pool->shutdowns_met = count > s->shutdowns ? count - s->shutdowns : 1;
    }
    if (pool->shutdowns_met && opt->refuse_shutdowns)
        return PMS_FAIL(PMS_E_DURABILITY, "an unsafe shutdown met the pool in use", 0,
                        s->shutdowns, count);
    if (pool->read_only || (!device && (!s->shutdown_device || s->in_use)) ||
        (device && device == s->shutdown_device && s->in_use && count == s->shutdowns))
        return PMS_OK;
    if (device) { /* else the old count stays: it may be readable again next time */
        s->shutdown_device = device;
        s->shutdowns = count;
        s->shutdowns_in_use += pool->shutdowns_met;
    }
    s->in_use = 1;
    s->gen++;
    *repair = 1;
    return PMS_OK;
}

/* ---- a flag that a crash left on the file ---- */

/* The file could be opened for writing, so the flag is off, or was another file's.  That it is off
 * may not be durable yet, and without the mark nobody would know it for ours again. */
static int meet_guard(struct pms_pool *pool, int *repair)
{
    struct pms_super_pm *s = &pool->super;
    if (pool->read_only || !s->guard_flags)
        return PMS_OK;
    PMS_TRY(pms_sync_all(&pool->map.medium));
    pool->guard.dax = (uint32_t)s->guard_flags & FS_DAX_FL;
    s->guard_flags = s->guard_inode = 0;
    s->gen++;
    *repair = 1;
    return PMS_OK;
}

/* ---- from a descriptor to a pool ---- */

static enum pms_mode mode_of(const struct pms_map *map)
{
    return map->medium.direct ? PMS_MODE_DIRECT : PMS_MODE_FILE;
}

/* Why the medium was too weak: outlives the mapping, as long as the thread's pms_detail. */
static _Thread_local char weak_reason[PMS_REASON_MAX];

static int map_pool(struct pms_pool *pool, int fd, const struct pms_options *opt, int *repair)
{
    uint64_t limit = opt->limit ? opt->limit : pool->super.limit;
    if (limit < pool->super.size)
        limit = pool->super.size;
    if (limit > PMS_POOL_MAX)
        return PMS_FAIL(PMS_E_INVAL, "the pool's limit is out of range", 0, PMS_POOL_MAX,
                        limit);
    pool->limit = limit;
    if (limit != pool->super.limit && !pool->read_only) { /* the pool remembers it */
        pool->super.limit = limit;
        pool->super.gen++;
        *repair = 1;
    }
    uint64_t reserve = limit > PMS_RESERVE_DEFAULT ? PMS_RESERVE_DEFAULT : limit;
    if (reserve < pool->super.size)
        reserve = pool->super.size;
    PMS_TRY(pms_map_open(&pool->map, fd, pool->super.size, reserve,
                         pool->read_only ? PMS_MAP_READONLY : 0,
                         (enum pms_flush_kind)opt->flush_kind));
    pool->map.medium.recorder = opt->recorder;
    pool->map.medium.recorder_context = opt->recorder_context;
    if (opt->require && (uint32_t)pool->map.medium.tier > opt->require) {
        memcpy(weak_reason, pms_map_reason(&pool->map), sizeof weak_reason);
        return PMS_FAIL(PMS_E_DURABILITY, weak_reason, 0, opt->require,
                        (uint64_t)pool->map.medium.tier);
    }
    return PMS_OK;
}

/* What this open has to write it writes behind the rest of recovery: nothing can wait then. */
static enum pms_recover_when recover_when(const struct pms_pool *pool,
                                          const struct pms_options *opt, int repair)
{
    if (pool->read_only)
        return PMS_RECOVER_NEVER;
    return repair || opt->protect || pool->named ? PMS_RECOVER_NOW : PMS_RECOVER_LATER;
}

static int engine_start(struct pms_pool *pool, const struct pms_options *opt, int repair)
{
    struct pms_recovered recovered = {0};
    struct pms_log *log = &pool->log;
    enum pms_recover_when when = recover_when(pool, opt, repair);
    pool->ws.medium = log->medium = &pool->map.medium;
    log->off = pool->super.log_off;
    log->bytes = pool->super.log_bytes;
    PMS_TRY(pms_recover(&pool->map, log, &pool->super, mode_of(&pool->map), when, &recovered));
    pool->recovered_units = recovered.units;
    pool->untaken = recovered.rest;
    if (!pool->untaken && !pool->read_only)
        PMS_TRY(pms_pool_name_durable(pool));
    if (repair && !pool->read_only)
        PMS_TRY(pms_super_write(pool));
    PMS_TRY(pms_heap_init(&pool->heap, &pool->ws, &pool->super));
    PMS_TRY(pms_tx_init(&pool->tx, &pool->map, log, &pool->ws, &pool->heap));
    pool->tx.ahead = pool->map.medium.direct && pool->prepare != PMS_PREPARE_LAZY;
    if (!pool->read_only)
        pool->heap.grow = pms_pool_grow_pages;
    pool->heap.grow_context = pool;
    pms_object_init(pool);
    return pms_map_error(&pool->map)
               ? PMS_FAIL(PMS_E_MEDIA, "recover", atomic_load(&pool->map.media_error) - 1, 0, 0)
               : PMS_OK;
}

static void pool_free(struct pms_pool *pool)
{
    pms_object_free(pool);
    free(pool->savepoint);
    free(pool->birth);
    free(pool->path);
    free(pool);
}

void pms_pool_drop(struct pms_pool *pool)
{
    pms_pool_lock(pool);
    int last = --pool->refs == 0;
    pms_pool_unlock(pool);
    if (last)
        pool_free(pool);
}

/* The file behind fd becomes an open pool.  fd is the pool's on success alone.  made: just now, and
 * has no name yet. */
static int open_fd(int fd, const struct stat *file, const char *path,
                   const struct pms_options *opt, uint32_t made, struct pms_pool **out)
{
    struct pms_pool *pool = calloc(1, sizeof *pool);
    int repair = 0, mapped = 0;
    if (!pool || !(pool->path = strdup(path))) {
        free(pool);
        return PMS_FAIL(PMS_E_NOMEM, "open the pool", 0, sizeof *pool, 0);
    }
    pms_lock_init();
    pool->refs = 1;
    pool->fork_epoch = atomic_load(&pms_fork_epoch);
    pool->read_only = opt->flag == 'r';
    pool->named = made;
    pool->timeout_ns = opt->timeout_ns > 0 ? opt->timeout_ns : -1;
    pool->prepare = opt->prepare;
    pool->populate_next = UINT64_MAX;
    int status = super_read(fd, &pool->super, &repair);
    if (status == PMS_OK && pool->super.ro_compat && !pool->read_only)
        status = PMS_FAIL(PMS_E_FORMAT, "the pool uses features that allow reading alone", 0, 0,
                          pool->super.ro_compat);
    if (status == PMS_OK)
        status = file_size_ok(file, &pool->super);
    if (status == PMS_OK) {
        status = map_pool(pool, fd, opt, &repair);
        mapped = pool->map.medium.base != NULL;
    }
    if (status == PMS_OK)
        status = meet_shutdowns(pool, file, opt, &repair);
    if (status == PMS_OK)
        status = meet_guard(pool, &repair);
    if (status == PMS_OK)
        status = engine_start(pool, opt, repair);
    if (status == PMS_OK) {
        *out = pool;
        return PMS_OK;
    }
    struct pms_detail detail = *pms_detail(); /* tidying up must not change the numbers */
    pms_tx_free(&pool->tx);
    pms_heap_free(&pool->heap);
    pms_log_free(&pool->log);
    pms_wset_free(&pool->ws);
    pms_pool_untake(pool);
    if (mapped)
        pms_map_close(&pool->map);
    pool_free(pool);
    *pms_detail() = detail;
    return status;
}

/* ---- opening an existing file ---- */

/* Is the locked file still under its name?  *file: what it was, and what it is now.  PMS_MISSING: the
 * name is another file's by now, or nobody's. */
static int same_file(const char *path, struct stat *file)
{
    struct stat now;
    if (stat(path, &now) != 0)
        return errno == ENOENT ? PMS_MISSING : PMS_FAIL_OS("stat", 0, 0, errno);
    int same = now.st_dev == file->st_dev && now.st_ino == file->st_ino;
    *file = now;
    return same ? PMS_OK : PMS_MISSING;
}

/* A device reads as if it were empty, and must not be replaced by "n". */
static int regular(int fd, struct stat *file)
{
    if (fstat(fd, file) != 0)
        return PMS_FAIL_OS("fstat", 0, 0, errno);
    return S_ISREG(file->st_mode) ? PMS_OK
                                  : PMS_FAIL(PMS_E_FORMAT, "not a regular file", 0, 0, 0);
}

static int lock_file(int fd, int read_only)
{
    if (flock(fd, (read_only ? LOCK_SH : LOCK_EX) | LOCK_NB) == 0)
        return PMS_OK;
    return errno == EWOULDBLOCK ? PMS_FAIL(PMS_E_BUSY, "lock the pool", 0, 0, 0)
                                : PMS_FAIL_OS("flock", 0, 0, errno);
}

/* Opening for writing gave EPERM.  PMS_MISSING: a flag of a pool that is not open any more was
 * taken off; try again. */
static int free_file(int fd, const char *path)
{
    struct pms_super_pm super;
    struct stat st;
    uint32_t there = 0;
    int damaged;
    PMS_TRY(regular(fd, &st));
    if (pms_guard_read(fd, &there) != PMS_OK || !(there & PMS_GUARD_FLAGS))
        return PMS_FAIL_OS("open", 0, 0, EPERM);
    PMS_TRY(lock_file(fd, 0)); /* a pool that is open is busy */
    PMS_TRY(same_file(path, &st));
    if (super_read(fd, &super, &damaged) != PMS_OK || super.guard_inode != st.st_ino ||
        !(super.guard_flags & there & PMS_GUARD_FLAGS))
        return PMS_FAIL_OS(
            "opening a file that is append-only or immutable, and not by a pool's "
            "doing (lsattr, chattr -ia)",
            0, 0, EPERM);
    int status = pms_guard_change(fd, 0, (uint32_t)super.guard_flags & PMS_GUARD_FLAGS);
    if (status == PMS_OK)
        return PMS_MISSING;
    return PMS_FAIL_OS("taking off the flag that protected the pool until a crash "
                       "(CAP_LINUX_IMMUTABLE, or chattr -ia)",
                       0, 0, pms_detail()->sys_errno);
}

/* The same, with the descriptor that reading takes. */
static int free_path(const char *path, int flags)
{
    int fd = open(path, O_RDONLY | flags);
    if (fd < 0)
        return errno == ENOENT ? PMS_MISSING : PMS_FAIL_OS("open", 0, 0, EPERM);
    int status = free_file(fd, path);
    struct pms_detail detail = *pms_detail();
    close(fd);
    *pms_detail() = detail;
    return status;
}

/* Open, lock and examine what is under this name now.  PMS_MISSING: nothing.  PMS_E_FORMAT: no
 * file. */
static int lock_path(const char *path, const struct pms_options *opt, int *fd,
                     struct stat *file)
{
    int read_only = opt->flag == 'r';
    /* O_NONBLOCK, O_NOCTTY: do not wait for a pipe's other end, do not adopt a terminal. */
    int flags = O_CLOEXEC | O_NONBLOCK | O_NOCTTY | (opt->nofollow ? O_NOFOLLOW : 0);
    for (int tries = 0; tries < 16; tries++) {
        *fd = open(path, (read_only ? O_RDONLY : O_RDWR) | flags);
        if (*fd < 0 && errno == EPERM && !read_only) {
            int freed = free_path(path, flags);
            if (freed != PMS_MISSING)
                return freed;
            continue;
        }
        if (*fd < 0 && errno == EWOULDBLOCK) /* somebody has a lease on it */
            return PMS_FAIL(PMS_E_BUSY, "open the pool", 0, 0, 0);
        if (*fd < 0)
            return errno == ENOENT ? PMS_MISSING : PMS_FAIL_OS("open", 0, 0, errno);
        int status = regular(*fd, file);
        if (status == PMS_OK)
            status = lock_file(*fd, read_only);
        if (status == PMS_OK)
            status = same_file(path, file);
        if (status == PMS_OK)
            return PMS_OK;
        close(*fd);
        if (status != PMS_MISSING) /* replaced between open and lock */
            return status;
    }
    return PMS_FAIL(PMS_E_BUSY, "lock the pool", 0, 0, 0);
}

/* Undo an open whose later steps have failed. */
static int give_up(int status, struct pms_pool **out)
{
    struct pms_detail detail = *pms_detail();
    (void)pms_pool_close(*out);
    pms_pool_drop(*out);
    *out = NULL;
    *pms_detail() = detail;
    return status;
}

static int settle(const struct pms_options *opt, struct pms_pool **out)
{
    int status = pms_pool_settle(*out, opt->watch, opt->protect);
    return status == PMS_OK ? PMS_OK : give_up(status, out);
}

static int open_existing(const char *path, const struct pms_options *opt, struct pms_pool **out)
{
    int fd;
    struct stat file;
    PMS_TRY(lock_path(path, opt, &fd, &file));
    int status = open_fd(fd, &file, path, opt, 0, out);
    if (status != PMS_OK) {
        close(fd);
        return status;
    }
    return settle(opt, out);
}

/* ---- creating ---- */

static uint64_t round_up(uint64_t n, uint64_t to) { return (n + to - 1) / to * to; }

static int plan(const struct pms_options *opt, struct pms_super_pm *s)
{
    uint64_t size = opt->size ? opt->size : PMS_SIZE_DEFAULT;
    uint64_t log = opt->log_bytes               ? opt->log_bytes
                   : size / 4 < PMS_LOG_DEFAULT ? size / 4
                                                : PMS_LOG_DEFAULT;
    log = round_up(log, PMS_PAGE);
    if (log < PMS_LOG_MIN || log > PMS_LOG_MAX)
        return PMS_FAIL(PMS_E_INVAL, "the log's size is out of range", 0, PMS_LOG_MAX, log);
    uint64_t heap_start = round_up(PMS_LOG_OFF + log, PMS_REGION_ALIGN);
    uint64_t limit = opt->limit ? opt->limit : PMS_POOL_MAX;
    uint64_t huge = round_up(size, PMS_HUGE); /* of more than one: all of it can be mapped so */
    size = size > PMS_HUGE && huge <= limit ? huge : round_up(size, PMS_REGION_ALIGN);
    if (size < heap_start + PMS_REGION_ALIGN)
        size = heap_start + PMS_REGION_ALIGN;
    if (size > PMS_POOL_MAX || limit > PMS_POOL_MAX || limit < size)
        return PMS_FAIL(PMS_E_INVAL, "the pool's size or limit is out of range", 0, limit,
                        size);
    uint64_t cap = size - heap_start;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    *s = (struct pms_super_pm){.magic = PMS_MAGIC,
                               .version = PMS_FORMAT_VERSION,
                               .header_bytes = sizeof *s,
                               .gen = 1,
                               .created_ns =
                                   (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec,
                               .log_off = PMS_LOG_OFF,
                               .log_bytes = log,
                               .heap_start = heap_start,
                               .size = size,
                               .limit = limit,
                               .nregions = 1};
    s->regions[0] = (struct pms_region_pm){heap_start, 2 * cap / PMS_PAGE};
    return PMS_OK;
}

/* Both superblocks, both anchors and the root page into a file of zeroes. */
static int format(struct pms_medium *m, struct pms_super_pm *s)
{
    uint64_t salt[2];
    if (getrandom(s->uuid, 16, 0) != 16 || getrandom(&s->hash_seed, 8, 0) != 8 ||
        getrandom(salt, sizeof salt, 0) != (ssize_t)sizeof salt)
        return PMS_FAIL_OS("drawing random numbers", 0, 16, EIO);
    s->uuid[6] = (uint8_t)((s->uuid[6] & 0x0f) | 0x40); /* RFC 9562, version 4 */
    s->uuid[8] = (uint8_t)((s->uuid[8] & 0x3f) | 0x80);
    pms_super_seal(s);
    uint64_t tables = round_up(s->regions[0].cap_pages * PMS_DESC_BYTES, PMS_PAGE);
    struct pms_root_pm root = {.top = (s->heap_start + tables) / PMS_PAGE};
    PMS_TRY(pms_write(m, PMS_ROOT_OFF, &root, sizeof root));
    for (uint64_t i = 0; i < 2; i++) {
        struct pms_anchor_pm a = {
            .gen = i + 1, .seq = 1, .salt = salt[i], .mode = PMS_MODE_DIRECT};
        pms_anchor_seal(&a);
        PMS_TRY(pms_write(m, PMS_ANCHOR_OFF + i * PMS_PAGE, &a, sizeof a));
        PMS_TRY(pms_write(m, PMS_SUPER_OFF + i * PMS_PAGE, s, sizeof *s));
    }
    return pms_sync_all(m);
}

static int make_root(struct pms_pool *pool)
{
    uint64_t root = 0, ticket;
    PMS_TRY(pms_enter_write_wait(pool, NULL, -1));
    int status = pms_object_create(pool, PMS_TAG_DICT, &root);
    if (status == PMS_OK)
        status = pms_object_ref(pool, root);
    if (status == PMS_OK)
        pms_put(pool, PMS_ROOT_OFF + offsetof(struct pms_root_pm, root), root);
    status = pms_leave_write(pool, status, &ticket);
    if (status == PMS_OK && ticket)
        status = pms_wait_durable(pool, ticket);
    if (status == PMS_OK)
        status = pms_pool_checkpoint(pool);
    if (status == PMS_OK)
        status = pms_sync_all(&pool->map.medium);
    return status;
}

/* A locked file of zeroes under a temporary name.  Closed once so that a DAX flag takes effect. */
static int make_file(struct pms_medium *m, const char *temporary, uint64_t size)
{
    PMS_TRY(pms_create(m, temporary));
    int status = pms_map_fill(m, size);
    close(m->fd);
    m->fd = -1;
    if (status != PMS_OK)
        return status == PMS_E_OS && pms_detail()->sys_errno == ENOSPC
                   ? pms_fail(PMS_E_FULL, __FILE__, __LINE__, "create the pool's file", 0, size,
                              0, ENOSPC)
                   : status;
    m->fd = open(temporary, O_RDWR | O_CLOEXEC);
    if (m->fd < 0)
        return PMS_FAIL_OS("reopen", 0, size, errno);
    if (flock(m->fd, LOCK_EX | LOCK_NB) != 0)
        return PMS_FAIL_OS("flock", 0, 0, errno);
    return PMS_OK;
}

/* Is it a pool, whatever its state, or empty?  Nobody's other data is replaced. */
static int replaceable(int fd)
{
    uint64_t magic = 0;
    size_t n;
    PMS_TRY(read_at(fd, &magic, sizeof magic, 0, &n));
    return n == 0 || (n == sizeof magic && magic == PMS_MAGIC)
               ? PMS_OK
               : PMS_FAIL(PMS_E_FORMAT, "\"n\" replaces pools and empty files alone", 0, 0, 0);
}

/* Who may read the old one may read the new one, and nobody else. */
static int take_mode(int fd, int old)
{
    struct stat a, b;
    if (fstat(old, &a) != 0 || fstat(fd, &b) != 0)
        return PMS_FAIL_OS("fstat", 0, 0, errno);
    if (((a.st_mode ^ b.st_mode) & 0777) == 0 || fchmod(fd, a.st_mode & 0777) == 0)
        return PMS_OK;
    return PMS_FAIL_OS("fchmod", 0, 0, errno);
}

/* Give the finished pool its name.  PMS_MISSING: with "c", somebody else was first. */
static int publish(struct pms_medium *m, const char *temporary, const char *path,
                   const struct pms_options *opt)
{
    if (opt->flag == 'n') {
        int old;
        struct stat file;
        int status = lock_path(path, opt, &old, &file);
        if (status == PMS_MISSING) {
            PMS_TRY(pms_rename(m, temporary, path));
        } else {
            PMS_TRY(status);
            status = replaceable(old);
            if (status == PMS_OK)
                status = take_mode(m->fd, old);
            if (status == PMS_OK)
                status = pms_rename(m, temporary, path);
            close(old);
            PMS_TRY(status);
        }
    } else {
        int linked = pms_link(m, temporary, path);
        if (linked != PMS_OK)
            return pms_detail()->sys_errno == EEXIST ? PMS_MISSING : linked;
        (void)pms_unlink(m, temporary);
    }
    return pms_sync_dir(m, path);
}

static int create(const char *path, const struct pms_options *opt, struct pms_pool **out)
{
    struct pms_super_pm super;
    struct pms_medium m;
    uint64_t random;
    PMS_TRY(pms_medium_init(&m, -1, PMS_FLUSH_AUTO));
    m.recorder = opt->recorder;
    m.recorder_context = opt->recorder_context;
    char *temporary = malloc(strlen(path) + 32);
    if (!temporary)
        return PMS_FAIL(PMS_E_NOMEM, "create the pool", 0, 0, 0);
    if (getrandom(&random, sizeof random, 0) != (ssize_t)sizeof random)
        random = (uint64_t)getpid();
    snprintf(temporary, strlen(path) + 32, "%s.new-%016llx", path, (unsigned long long)random);
    int status = plan(opt, &super);
    if (status == PMS_OK)
        status = pms_guard_try(temporary, opt->protect);
    if (status == PMS_OK)
        status = make_file(&m, temporary, super.size);
    if (status == PMS_OK)
        status = format(&m, &super);
    struct stat file;
    if (status == PMS_OK && fstat(m.fd, &file) != 0)
        status = PMS_FAIL_OS("fstat", 0, 0, errno);
    if (status == PMS_OK)
        status = open_fd(m.fd, &file, path, opt, 1, out);
    if (status == PMS_OK) {
        m.fd = -1; /* the pool's */
        status = make_root(*out);
        if (status == PMS_OK)
            status = publish(&(*out)->map.medium, temporary, path, opt);
        if (status != PMS_OK)
            status = give_up(status, out);
    }
    if (status != PMS_OK) {
        if (m.fd >= 0)
            close(m.fd);
        (void)unlink(temporary);
    }
    free(temporary);
    return status == PMS_OK ? settle(opt, out) : status;
}

int pms_pool_open(const char *path, const struct pms_options *opt, struct pms_pool **out)
{
    *out = NULL;
    if (opt->flag == 'n')
        return create(path, opt, out);
    for (int tries = 0; tries < 16; tries++) {
        int status = open_existing(path, opt, out);
        if (status != PMS_MISSING)
            return status;
        if (opt->flag != 'c')
            return PMS_FAIL_OS("open", 0, 0, ENOENT);
        status = create(path, opt, out);
        if (status != PMS_MISSING)
            return status;
    }
    return PMS_FAIL(PMS_E_BUSY, "create the pool", 0, 0, 0);
}
