/* pool_guard.c -- keeping other tasks away from the file, where the caller asks for it.
 *
 *   flags  append-only (chattr +a): nobody opens the file for writing any more, truncates, punches,
 *          renames or unlinks it, also not through a descriptor from before.  Stores and writes of
 *          this pool go on: the kernel asks for the flag when a file is opened, mapped, cut or
 *          unshared, not when it is written.  On ext4 with DAX immutable (chattr +i), which keeps
 *          old descriptors from writing too; elsewhere a store to an immutable file is a SIGBUS.
 *   lease  a write lease: whoever opens the file waits until the next look has let it in.
 *
 * A flag outlives the process and the power.  So the superblock says beforehand that it is ours,
 * and on which inode (a copy has another one):
 *
 * A clone of an xfs file with DAX takes its DAX flag along when our flag is lifted (see below); the
 * mark remembers it, and it is set again when the blocks are the file's own.
 *
 *   mark durable | flag set | ... | flag taken off | fsync | mark gone, durable
 *
 * Whoever finds a mark at open takes the flag off, and syncs that, before the mark goes.  A flag
 * without a mark is somebody else's, and stays.  What the flag forbids us too (growth, unsharing,
 * asking for MAP_SYNC) is done with the flag off.
 *
 * The lease tells nobody: its owner is nobody, so that no signal comes, and each look asks whether
 * it is still whole.  In the moment before that the signal is one that is ignored unless the
 * program handles it.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "map_internal.h"
#include "pool.h"

/* ---- flags ---- */

int pms_guard_read(int fd, uint32_t *flags)
{
    int got = 0;
    *flags = 0;
    if (ioctl(fd, FS_IOC_GETFLAGS, &got) != 0)
        return PMS_FAIL_OS("reading the file's flags (FS_IOC_GETFLAGS)", 0, 0, errno);
    *flags = (uint32_t)got & (PMS_GUARD_FLAGS | FS_DAX_FL);
    return PMS_OK;
}

int pms_guard_change(int fd, uint32_t set, uint32_t clear)
{
    int flags = 0;
    if (ioctl(fd, FS_IOC_GETFLAGS, &flags) != 0)
        return PMS_FAIL_OS("reading the file's flags (FS_IOC_GETFLAGS)", 0, 0, errno);
    flags = (int)(((uint32_t)flags & ~clear) | set);
    if (ioctl(fd, FS_IOC_SETFLAGS, &flags) == 0)
        return PMS_OK;
    /* xfs: while a file that was cloned has the DAX flag, none of its flags can be changed. */
    int without = flags & ~(int)FS_DAX_FL;
    if (errno != EINVAL || without == flags || ioctl(fd, FS_IOC_SETFLAGS, &without) != 0)
        return PMS_FAIL_OS("changing the file's flags (FS_IOC_SETFLAGS)", set, clear, errno);
    return PMS_OK;
}

static uint32_t choose(const struct pms_map *map)
{
    bool dax = map->medium.tier == PMS_TIER_EADR || map->medium.tier == PMS_TIER_FLUSH;
    return dax && !(map->flags & PMS_MAP_FORCED_) && !strcmp(map->fs, "ext4") ? FS_IMMUTABLE_FL
                                                                              : FS_APPEND_FL;
}

/* ext4 writes all back when a file becomes immutable, so that pages take write faults again.
 * A kernel that refuses those faults is met here, and not by a store. */
static int flag_on(struct pms_pool *pool)
{
    struct pms_guard *guard = &pool->guard;
    PMS_TRY(pms_guard_change(pool->map.medium.fd, guard->flag, 0));
    guard->lifted = 0;
    if (guard->flag != FS_IMMUTABLE_FL || pms_map_populate(&pool->map, 0, PMS_PAGE) == PMS_OK ||
        pms_detail()->sys_errno == EINVAL)
        return PMS_OK;
    int err = pms_detail()->sys_errno;
    PMS_TRY(pms_guard_lift(pool));
    return PMS_FAIL_OS("storing into an immutable file", 0, PMS_PAGE, err);
}

/* flag 0: none. */
static int write_mark(struct pms_pool *pool, uint32_t flag)
{
    struct stat st;
    if (fstat(pool->map.medium.fd, &st) != 0)
        return PMS_FAIL_OS("fstat", 0, 0, errno);
    pool->super.guard_flags = flag ? flag | pool->guard.dax : 0;
    pool->super.guard_inode = flag ? st.st_ino : 0;
    pool->super.gen++;
    int status = pms_super_write(pool);
    return status == PMS_OK ? PMS_OK : pms_pool_poison(pool, status);
}

/* The status of a refusal, with the numbers of the step that failed. */
static int refused(const char *what)
{
    const struct pms_detail *d = pms_detail();
    return pms_fail(PMS_E_DURABILITY, d->file, d->line, what, 0, 0, 0, d->sys_errno);
}

static const char *flag_refused(void)
{
    return pms_detail()->sys_errno == EPERM
               ? "protect: setting the flag takes the capability CAP_LINUX_IMMUTABLE"
               : "protect: the file system refuses the flag";
}

static int protect_by_flags(struct pms_pool *pool)
{
    struct pms_guard *guard = &pool->guard;
    uint32_t there;
    if (pms_guard_read(pool->map.medium.fd, &there) != PMS_OK)
        return refused("protect: the file system has no flags for its files");
    if (there & PMS_GUARD_FLAGS)
        return PMS_FAIL(PMS_E_DURABILITY,
                        "protect: the file is append-only or immutable already, and not by a "
                        "pool's doing",
                        0, 0, 0);
    guard->flag = choose(&pool->map);
    guard->lifted = 1;
    guard->dax = there & FS_DAX_FL;
    PMS_TRY(write_mark(pool, guard->flag));
    if (flag_on(pool) == PMS_OK)
        return PMS_OK;
    int status = refused(flag_refused());
    struct pms_detail detail = *pms_detail();
    guard->flag = 0;
    PMS_TRY(write_mark(pool, 0));
    *pms_detail() = detail;
    return status;
}

int pms_guard_lift(struct pms_pool *pool)
{
    struct pms_guard *guard = &pool->guard;
    if (!guard->flag || guard->lifted)
        return PMS_OK;
    PMS_TRY(pms_guard_change(pool->map.medium.fd, 0, guard->flag));
    guard->lifted = 1;
    return PMS_OK;
}

void pms_guard_dax_back(struct pms_pool *pool)
{
    if (pool->guard.dax)
        pms_map_ask_direct(pool->map.medium.fd, 0);
}

void pms_guard_back(struct pms_pool *pool, uint64_t fresh)
{
    struct pms_guard *guard = &pool->guard;
    pms_guard_dax_back(pool);
    if (!guard->flag)
        return;
    if (flag_on(pool) != PMS_OK) {
        pool->watch.ever |= PMS_WATCH_UNGUARDED;
        return;
    }
    if (guard->flag == FS_IMMUTABLE_FL)
        pms_pool_populate(pool, fresh);
}

int pms_guard_end(struct pms_pool *pool)
{
    struct pms_guard *guard = &pool->guard;
    if (!pool->super.guard_flags)
        return PMS_OK;
    PMS_TRY(pms_guard_lift(pool));
    guard->flag = 0;
    int status = pms_sync_all(&pool->map.medium);
    if (status != PMS_OK)
        return pms_pool_poison(pool, status);
    pool->super.guard_flags = pool->super.guard_inode = 0;
    pool->super.gen++;
    return PMS_OK;
}

/* ---- lease ---- */

static int lease_take(int fd)
{
    (void)fcntl(fd, F_SETSIG, SIGURG);
    if (fcntl(fd, F_SETLEASE, F_WRLCK) != 0)
        return PMS_FAIL_OS("taking a write lease (F_SETLEASE)", 0, 0, errno);
    (void)fcntl(fd, F_SETOWN, 0);
    return PMS_OK;
}

static int lease_on(int fd)
{
    if (lease_take(fd) == PMS_OK)
        return PMS_OK;
    int err = pms_detail()->sys_errno;
    return refused(err == EAGAIN   ? "protect: another task has the file open, so there is no "
                                     "lease"
                   : err == EACCES ? "protect: a lease takes the owner of the file, or the "
                                     "capability CAP_LEASE"
                                   : "protect: the file system has no leases");
}

static int protect_by_lease(struct pms_pool *pool)
{
    PMS_TRY(lease_on(pool->map.medium.fd));
    pool->guard.lease = PMS_LEASE_HELD;
    return PMS_OK;
}

int pms_guard_look(struct pms_pool *pool)
{
    struct pms_guard *guard = &pool->guard;
    int fd = pool->map.medium.fd;
    if (guard->lease == PMS_LEASE_HELD)
        return fcntl(fd, F_GETLEASE) != F_WRLCK;
    return guard->lease == PMS_LEASE_YIELDED && lease_take(fd) == PMS_OK;
}

void pms_guard_looked(struct pms_pool *pool)
{
    struct pms_guard *guard = &pool->guard;
    struct pms_watch *watch = &pool->watch;
    if (guard->lease == PMS_LEASE_YIELDED) {
        guard->lease = PMS_LEASE_HELD;
        watch->slow_ns = guard->slow_ns;
        return;
    }
    (void)fcntl(pool->map.medium.fd, F_SETLEASE, F_UNLCK);
    guard->lease = PMS_LEASE_YIELDED;
    guard->slow_ns = watch->slow_ns;
    if (watch->slow_ns > 0)
        watch->slow_ns = -1;
    watch->ever |= PMS_WATCH_OPENED;
}

/* ---- for open ---- */

int pms_guard_try(const char *name, uint32_t protect)
{
    if (protect != PMS_PROTECT_FLAGS && protect != PMS_PROTECT_LEASE)
        return PMS_OK;
    int fd = open(name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return PMS_FAIL_OS("create", 0, 0, errno);
    int status = PMS_OK;
    if (unlink(name) != 0) /* first: with a flag it could not go */
        status = PMS_FAIL_OS("unlink", 0, 0, errno);
    else if (protect == PMS_PROTECT_LEASE)
        status = lease_on(fd);
    else if (pms_guard_change(fd, FS_APPEND_FL, 0) != PMS_OK)
        status = refused(flag_refused());
    struct pms_detail detail = *pms_detail();
    close(fd);
    *pms_detail() = detail;
    return status;
}

int pms_pool_protect(struct pms_pool *pool, uint32_t protect)
{
    int status = PMS_OK;
    if (protect == PMS_PROTECT_FLAGS || protect == PMS_PROTECT_AUTO)
        status = protect_by_flags(pool);
    if (protect == PMS_PROTECT_LEASE ||
        (protect == PMS_PROTECT_AUTO && status == PMS_E_DURABILITY))
        status = protect_by_lease(pool);
    return protect == PMS_PROTECT_AUTO && status == PMS_E_DURABILITY ? PMS_OK : status;
}

uint32_t pms_pool_protection(struct pms_pool *pool)
{
    const struct pms_guard *guard = &pool->guard;
    if (guard->flag && !guard->lifted)
        return guard->flag == FS_IMMUTABLE_FL ? PMS_GUARD_IMMUTABLE : PMS_GUARD_APPEND_ONLY;
    return guard->lease ? PMS_GUARD_LEASE : PMS_GUARD_NONE;
}
