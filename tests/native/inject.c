/* inject.c -- the wrappers.  inject.h is the manual. */
#include "inject.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#ifndef MAP_SYNC
#define MAP_SYNC 0x80000
#endif
#ifndef MAP_SHARED_VALIDATE
#define MAP_SHARED_VALIDATE 0x03
#endif
#define EXT4_MAGIC 0xef53
#define TMPFS_MAGIC 0x01021994

struct injector injector;
static _Thread_local int armed;

static const struct {
    const char *name;
    int err[7];
} calls[CALLS] = {
    [CALL_OPEN] = {"open", {EIO, EMFILE, EINTR}},
    [CALL_CLOSE] = {"close", {EIO, EINTR}},
    [CALL_FSTAT] = {"fstat", {EIO, EOVERFLOW}},
    [CALL_STAT] = {"stat", {EIO, EACCES}},
    [CALL_STATX] = {"statx", {EIO, ENOSYS}},
    [CALL_FSTATFS] = {"fstatfs", {EIO, EINTR}},
    [CALL_PREAD] = {"pread", {EIO, EINTR, INJECT_SHORT}},
    [CALL_PWRITE] = {"pwrite", {EIO, ENOSPC, EDQUOT, EINTR, INJECT_SHORT}},
    [CALL_PWRITEV2] = {"pwritev2", {EIO, ENOSPC, EINTR, EOPNOTSUPP, INJECT_SHORT}},
    [CALL_FSYNC] = {"fsync", {EIO, ENOSPC, EINTR}},
    [CALL_FDATASYNC] = {"fdatasync", {EIO, ENOSPC, EINTR}},
    [CALL_MSYNC] = {"msync", {EIO, EINTR}},
    [CALL_FALLOCATE] = {"fallocate", {EIO, ENOSPC, EINTR, EOPNOTSUPP}},
    [CALL_FTRUNCATE] = {"ftruncate", {EIO, EINTR}},
    [CALL_FLOCK] = {"flock", {EINTR, ENOLCK}},
    [CALL_LINK] = {"link", {EIO, ENOSPC, EPERM}},
    [CALL_UNLINK] = {"unlink", {EIO}},
    [CALL_RENAME] = {"rename", {EIO, ENOSPC}},
    [CALL_FCHMOD] = {"fchmod", {EIO, EPERM}},
    [CALL_IOCTL] = {"ioctl", {EIO, EINTR, ENOTTY}},
    [CALL_FCNTL] = {"fcntl", {EAGAIN, EACCES, EINVAL}},
    [CALL_REALPATH] = {"realpath", {ENOENT, ENOMEM}},
    [CALL_FOPEN] = {"fopen", {EMFILE, ENOMEM}},
    [CALL_FGETS] = {"fgets", {EIO}},
    [CALL_MMAP] = {"mmap", {ENOMEM, EAGAIN}},
    [CALL_MUNMAP] = {"munmap", {ENOMEM}},
    [CALL_MADVISE] = {"madvise", {EINVAL, ENOMEM, EINTR}},
    [CALL_MALLOC] = {"malloc", {ENOMEM}},
    [CALL_CALLOC] = {"calloc", {ENOMEM}},
    [CALL_REALLOC] = {"realloc", {ENOMEM}},
    [CALL_STRDUP] = {"strdup", {ENOMEM}},
    [CALL_STRNDUP] = {"strndup", {ENOMEM}},
    [CALL_GETRANDOM] = {"getrandom", {ENOSYS, EINTR, INJECT_SHORT}},
    [CALL_SIGACTION] = {"sigaction", {EINVAL}},
    [CALL_ATFORK] = {"pthread_atfork", {ENOMEM}},
    [CALL_SYSCALL] = {"syscall", {EINTR, EPERM}},
};

const char *inject_name(enum call call) { return calls[call].name; }

const int *inject_errnos(enum call call) { return calls[call].err; }

int inject_is_sync(enum call call)
{
    return call == CALL_FSYNC || call == CALL_FDATASYNC || call == CALL_PWRITEV2;
}

int inject_transparent(enum call call, int err)
{
    switch (call) {
    case CALL_PREAD:
    case CALL_PWRITE:
    case CALL_PWRITEV2:
    case CALL_FALLOCATE:
        return err == EINTR || err == INJECT_SHORT || err == EOPNOTSUPP;
    case CALL_FSTATFS:
    case CALL_FTRUNCATE:
        return err == EINTR;
    case CALL_CLOSE:
    case CALL_IOCTL:
    case CALL_MUNMAP:
    case CALL_MADVISE:
    case CALL_REALPATH:
    case CALL_FOPEN:
    case CALL_FGETS:
    case CALL_SYSCALL:
    case CALL_STATX:
        return 1;
    default:
        return 0;
    }
}

void inject_arm(const struct failure *failure)
{
    injector.failure = *failure;
    memset(injector.count, 0, sizeof injector.count);
    injector.injected = injector.retried_syncs = 0;
    injector.sync_failed = 0;
    armed = 1;
}

void inject_disarm(void) { armed = 0; }

/* 0, or what this call is to fail with. */
static int fails(enum call call)
{
    if (!armed)
        return 0;
    const struct failure *f = &injector.failure;
    uint64_t number = ++injector.count[call];
    if (call != f->call || !f->nth || (f->for_ever ? number < f->nth : number != f->nth))
        return 0;
    injector.injected++;
    if (f->model != MODEL_LATE && f->err > 0)
        errno = f->err;
    return f->err;
}

/* ---- the file ---- */

int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    int mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(args, int) : 0;
    va_end(args);
    return fails(CALL_OPEN) ? -1 : __real_open(path, flags, mode);
}

int __real_close(int fd);
int __wrap_close(int fd)
{
    int err = fails(CALL_CLOSE), done = __real_close(fd);
    if (!err)
        return done;
    errno = err;
    return -1;
}

int __real_fstat(int fd, struct stat *st);
int __wrap_fstat(int fd, struct stat *st)
{
    return fails(CALL_FSTAT) ? -1 : __real_fstat(fd, st);
}

int __real_stat(const char *path, struct stat *st);
int __wrap_stat(const char *path, struct stat *st)
{
    return fails(CALL_STAT) ? -1 : __real_stat(path, st);
}

int __real_statx(int fd, const char *path, int flags, unsigned mask, struct statx *st);
int __wrap_statx(int fd, const char *path, int flags, unsigned mask, struct statx *st)
{
    return fails(CALL_STATX) ? -1 : __real_statx(fd, path, flags, mask, st);
}

int __real_fstatfs(int fd, struct statfs *fs);
int __wrap_fstatfs(int fd, struct statfs *fs)
{
    if (fails(CALL_FSTATFS) || __real_fstatfs(fd, fs) != 0)
        return -1;
    if (injector.disguised && fs->f_type == TMPFS_MAGIC)
        fs->f_type = EXT4_MAGIC;
    return 0;
}

ssize_t __real_pread(int fd, void *to, size_t len, off_t off);
ssize_t __wrap_pread(int fd, void *to, size_t len, off_t off)
{
    int err = fails(CALL_PREAD);
    if (err > 0)
        return -1;
    return __real_pread(fd, to, err == INJECT_SHORT ? (len + 1) / 2 : len, off);
}

ssize_t __real_pwrite(int fd, const void *from, size_t len, off_t off);
ssize_t __wrap_pwrite(int fd, const void *from, size_t len, off_t off)
{
    int err = fails(CALL_PWRITE);
    int late = err && injector.failure.model == MODEL_LATE;
    if (err > 0 && !late)
        return -1;
    struct stat st;
    if (armed && injector.full && fstat(fd, &st) == 0 && off + (off_t)len > st.st_size) {
        errno = ENOSPC;
        return -1;
    }
    ssize_t n = __real_pwrite(fd, from, err == INJECT_SHORT ? (len + 1) / 2 : len, off);
    if (n > 0 && medium_has(fd)) {
        medium_wrote((uint64_t)off, (uint64_t)n);
        if (late)
            medium_lost(MODEL_LATE);
    }
    return n;
}

/* A sync, which is to fail with err if that is positive.  0, or the errno, which is set. */
static int sync_ends(int err, int fd, uint64_t off, uint64_t len)
{
    if (armed && injector.sync_failed)
        injector.retried_syncs++;
    if (!armed && injector.slow)
        usleep(3000);
    if (err > 0) {
        injector.sync_failed = 1;
        if (medium_has(fd))
            medium_lost(injector.failure.model);
    } else if (medium_has(fd)) {
        medium_synced(off, len);
        if (medium_late()) {
            injector.sync_failed = 1;
            err = EIO;
        }
    }
    if (err <= 0)
        return 0;
    errno = err;
    return err;
}

/* The kernel of this machine is not asked to sync: the model is the medium. */
ssize_t __wrap_pwritev2(int fd, const struct iovec *iov, int count, off_t off, int flags)
{
    (void)count;
    (void)flags;
    int err = fails(CALL_PWRITEV2);
    if (err == EOPNOTSUPP || err == EINTR)
        return -1;
    size_t len = err == INJECT_SHORT ? (iov->iov_len + 1) / 2 : iov->iov_len;
    /* The pages are in the cache before the sync fails. */
    ssize_t n = __real_pwrite(fd, iov->iov_base, len, off);
    if (n <= 0)
        return n;
    if (medium_has(fd))
        medium_wrote((uint64_t)off, (uint64_t)n);
    return sync_ends(err, fd, (uint64_t)off, (uint64_t)n) ? -1 : n;
}

int __wrap_fsync(int fd) { return sync_ends(fails(CALL_FSYNC), fd, 0, 0) ? -1 : 0; }

int __wrap_fdatasync(int fd) { return sync_ends(fails(CALL_FDATASYNC), fd, 0, 0) ? -1 : 0; }

int __real_msync(void *at, size_t len, int flags);
int __wrap_msync(void *at, size_t len, int flags)
{
    if (!armed && injector.slow)
        usleep(3000);
    return fails(CALL_MSYNC) ? -1 : __real_msync(at, len, flags);
}

int __real_fallocate(int fd, int mode, off_t off, off_t len);
int __wrap_fallocate(int fd, int mode, off_t off, off_t len)
{
    if (fails(CALL_FALLOCATE))
        return -1;
    if (armed && injector.full) {
        errno = ENOSPC;
        return -1;
    }
    return __real_fallocate(fd, mode, off, len);
}

int __real_ftruncate(int fd, off_t size);
int __wrap_ftruncate(int fd, off_t size)
{
    if (fails(CALL_FTRUNCATE) || __real_ftruncate(fd, size) != 0)
        return -1;
    if (medium_has(fd))
        medium_resized((uint64_t)size);
    return 0;
}

int __real_flock(int fd, int operation);
int __wrap_flock(int fd, int operation)
{
    return fails(CALL_FLOCK) ? -1 : __real_flock(fd, operation);
}

int __real_link(const char *from, const char *to);
int __wrap_link(const char *from, const char *to)
{
    return fails(CALL_LINK) ? -1 : __real_link(from, to);
}

int __real_unlink(const char *path);
int __wrap_unlink(const char *path) { return fails(CALL_UNLINK) ? -1 : __real_unlink(path); }

int __real_rename(const char *from, const char *to);
int __wrap_rename(const char *from, const char *to)
{
    return fails(CALL_RENAME) ? -1 : __real_rename(from, to);
}

int __real_fchmod(int fd, mode_t mode);
int __wrap_fchmod(int fd, mode_t mode)
{
    return fails(CALL_FCHMOD) ? -1 : __real_fchmod(fd, mode);
}

int __real_ioctl(int fd, unsigned long request, ...);
int __wrap_ioctl(int fd, unsigned long request, ...)
{
    va_list args;
    va_start(args, request);
    void *argument = va_arg(args, void *);
    va_end(args);
    return fails(CALL_IOCTL) ? -1 : __real_ioctl(fd, request, argument);
}

int __real_fcntl(int fd, int command, ...);
int __wrap_fcntl(int fd, int command, ...)
{
    va_list args;
    va_start(args, command);
    long argument = va_arg(args, long);
    va_end(args);
    return fails(CALL_FCNTL) ? -1 : __real_fcntl(fd, command, argument);
}

/* With MAP_SYNC granted, sysfs tells of a device that has DAX and keeps its caches. */
char *__real_realpath(const char *path, char *resolved);
char *__wrap_realpath(const char *path, char *resolved)
{
    if (fails(CALL_REALPATH))
        return NULL;
    return injector.granting ? strcpy(resolved, "/a/device") : __real_realpath(path, resolved);
}

FILE *__real_fopen(const char *path, const char *mode);
FILE *__wrap_fopen(const char *path, const char *mode)
{
    static char one[] = "1\n", domain[] = "cpu_cache\n";
    if (fails(CALL_FOPEN))
        return NULL;
    if (!injector.granting)
        return __real_fopen(path, mode);
    char *text = strstr(path, "dax") ? one : domain;
    return fmemopen(text, strlen(text), "r");
}

char *__real_fgets(char *to, int len, FILE *file);
char *__wrap_fgets(char *to, int len, FILE *file)
{
    return fails(CALL_FGETS) ? NULL : __real_fgets(to, len, file);
}

/* ---- memory ---- */

void *__real_mmap(void *at, size_t len, int prot, int flags, int fd, off_t off);
void *__wrap_mmap(void *at, size_t len, int prot, int flags, int fd, off_t off)
{
    if (fails(CALL_MMAP))
        return MAP_FAILED;
    if (injector.granting && (flags & MAP_SYNC))
        flags = (flags & ~(MAP_SYNC | MAP_SHARED_VALIDATE)) | MAP_SHARED;
    return __real_mmap(at, len, prot, flags, fd, off);
}

int __real_munmap(void *at, size_t len);
static struct {
    void *at;
    size_t len;
} kept[64];
static size_t kept_count;

int __wrap_munmap(void *at, size_t len)
{
    if (!fails(CALL_MUNMAP))
        return __real_munmap(at, len);
    if (kept_count < sizeof kept / sizeof kept[0]) {
        kept[kept_count].at = at;
        kept[kept_count++].len = len;
    }
    return -1;
}

void inject_tidy(void)
{
    while (kept_count) {
        kept_count--;
        __real_munmap(kept[kept_count].at, kept[kept_count].len);
    }
}

int __real_madvise(void *at, size_t len, int advice);
int __wrap_madvise(void *at, size_t len, int advice)
{
    return fails(CALL_MADVISE) ? -1 : __real_madvise(at, len, advice);
}

void *__real_malloc(size_t len);
void *__wrap_malloc(size_t len) { return fails(CALL_MALLOC) ? NULL : __real_malloc(len); }

void *__real_calloc(size_t n, size_t len);
void *__wrap_calloc(size_t n, size_t len)
{
    return fails(CALL_CALLOC) ? NULL : __real_calloc(n, len);
}

void *__real_realloc(void *old, size_t len);
void *__wrap_realloc(void *old, size_t len)
{
    return fails(CALL_REALLOC) ? NULL : __real_realloc(old, len);
}

char *__real_strdup(const char *text);
char *__wrap_strdup(const char *text)
{
    return fails(CALL_STRDUP) ? NULL : __real_strdup(text);
}

char *__real_strndup(const char *text, size_t len);
char *__wrap_strndup(const char *text, size_t len)
{
    return fails(CALL_STRNDUP) ? NULL : __real_strndup(text, len);
}

/* ---- the rest ---- */

/* The same numbers in each run, so that the N-th call of one run is that of another. */
ssize_t __wrap_getrandom(void *to, size_t len, unsigned flags)
{
    static uint64_t state = 0x9e3779b97f4a7c15u;
    uint8_t *bytes = to;
    (void)flags;
    int err = fails(CALL_GETRANDOM);
    if (err > 0)
        return -1;
    len = err == INJECT_SHORT ? len / 2 : len;
    for (size_t i = 0; i < len; i++) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes[i] = (uint8_t)(state >> 24);
    }
    return (ssize_t)len;
}

int __real_sigaction(int number, const struct sigaction *action, struct sigaction *old);
int __wrap_sigaction(int number, const struct sigaction *action, struct sigaction *old)
{
    return fails(CALL_SIGACTION) ? -1 : __real_sigaction(number, action, old);
}

int __real_pthread_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void));
int __wrap_pthread_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void))
{
    return fails(CALL_ATFORK) ? ENOMEM : __real_pthread_atfork(prepare, parent, child);
}

/* gettid cannot fail, and nor can waking whoever sleeps. */
long __real_syscall(long number, ...);
long __wrap_syscall(long number, ...)
{
    va_list args;
    long a[6];
    va_start(args, number);
    syscall_arguments(number, args, a);
    va_end(args);
    int command = (int)a[1] & FUTEX_CMD_MASK;
    int wakes = number == SYS_futex && (command == FUTEX_WAKE || command == FUTEX_WAKE_BITSET);
    if (number != SYS_gettid && !wakes && fails(CALL_SYSCALL))
        return -1;
    return __real_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}
