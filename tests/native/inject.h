/* inject.h -- every system call of the core can be made to fail, and a medium can lose what was
 * not synced.
 *
 * The linker sends the core's calls to the functions of inject.c (--wrap; system_calls.txt has the
 * list).  Outside inject_arm ... inject_disarm, and in other threads, they do what they always did.
 * The N-th call of one kind fails, once or from there on, by itself: nothing is executed then, but for close (the
 * descriptor is gone in any case) and for a write that is short (half of it is written).
 *
 * The model of the medium (writeback.c) knows pages: what was written since the last sync is in
 * the page cache alone.  A sync that fails loses it, in three ways:
 *
 *   MODEL_CLEAN      the pages stay in the cache and count as clean: no later sync writes them
 *   MODEL_REVERTED   the pages are again what the medium has
 *   MODEL_LATE       the N-th write loses all that waits, as a write-back in the background does;
 *                    the next sync writes what came after, and then reports it
 */
#ifndef PMS_TEST_INJECT_H
#define PMS_TEST_INJECT_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>

#define INJECT_SHORT (-1) /* in place of an errno: half of the bytes */

enum call {
    CALL_OPEN,
    CALL_CLOSE,
    CALL_FSTAT,
    CALL_STAT,
    CALL_STATX,
    CALL_FSTATFS,
    CALL_PREAD,
    CALL_PWRITE,
    CALL_PWRITEV2,
    CALL_FSYNC,
    CALL_FDATASYNC,
    CALL_MSYNC,
    CALL_FALLOCATE,
    CALL_FTRUNCATE,
    CALL_FLOCK,
    CALL_LINK,
    CALL_UNLINK,
    CALL_RENAME,
    CALL_FCHMOD,
    CALL_IOCTL,
    CALL_FCNTL,
    CALL_REALPATH,
    CALL_FOPEN,
    CALL_FGETS,
    CALL_MMAP,
    CALL_MUNMAP,
    CALL_MADVISE,
    CALL_MALLOC,
    CALL_CALLOC,
    CALL_REALLOC,
    CALL_STRDUP,
    CALL_STRNDUP,
    CALL_GETRANDOM,
    CALL_SIGACTION,
    CALL_ATFORK,
    CALL_SYSCALL,
    CALLS
};

enum model { MODEL_NONE, MODEL_CLEAN, MODEL_REVERTED, MODEL_LATE };

struct failure { /* what is going to happen */
    enum call call;
    int err; /* errno, or INJECT_SHORT */
    uint64_t nth;
    int for_ever;
    enum model model;
};

struct injector {
    int slow;      /* a sync of another thread than the armed one takes some milliseconds */
    int full;      /* the file system: nothing can be allocated */
    int disguised; /* tmpfs says that it is ext4 ... */
    int granting;  /* ... and grants MAP_SYNC, as on a DAX device */
    struct failure failure;
    uint64_t count[CALLS]; /* since it was armed, the failed ones too */
    uint64_t injected;
    int sync_failed;        /* a sync has been told to fail ... */
    uint64_t retried_syncs; /* ... and so many came after it, all the same */
};
extern struct injector injector;

const char *inject_name(enum call call);
/* Errnos (and INJECT_SHORT) that make sense for the call, 0 at the end. */
const int *inject_errnos(enum call call);
/* Must the caller not notice? */
int inject_transparent(enum call call, int err);
int inject_is_sync(enum call call);

void inject_arm(const struct failure *failure);
void inject_disarm(void);
/* What munmap was told to leave is unmapped. */
void inject_tidy(void);

/* ---- the model of the medium: writeback.c ---- */

/* The file at fd, and all of it durable, from now on; fd stays the caller's. */
void medium_start(int fd);
void medium_stop(void);
void medium_wrote(uint64_t off, uint64_t len); /* a write has been done, page cache alone */
/* A sync that succeeds, of a range or (len 0) of all. */
void medium_synced(uint64_t off, uint64_t len);
void medium_lost(enum model model); /* a sync fails */
void medium_resized(uint64_t size);
int medium_has(int fd);  /* is this the file? */
int medium_untold(void); /* has something been lost that no sync has told yet? */
int medium_late(void);   /* the same, and from now on it has been told */
/* What the medium has now. */
struct image;
void medium_copy(struct image *image);

/* What the core hands to syscall(): what is behind it is somebody else's stack. */
static inline void syscall_arguments(long number, va_list args, long a[6])
{
    int given = number == SYS_futex ? 6 : number == SYS_gettid ? 0 : 3;
    for (int i = 0; i < 6; i++)
        a[i] = i < given ? va_arg(args, long) : 0;
}

#endif
