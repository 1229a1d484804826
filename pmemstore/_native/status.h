/* status.h -- the result of every call of the core, and the numbers an error message needs.
 *
 * Bottom of the C core, with layout.h.  A call returns PMS_OK or one of these; nothing is
 * stored in errno and there is no "last error" that decides anything.  The *numbers* of the
 * latest refusal on this thread (which offset, how many bytes) are kept aside by PMS_FAIL so
 * that the binding can name them in the exception; no code in the core ever reads them.
 */
#ifndef PMS_STATUS_H
#define PMS_STATUS_H

#include <stdint.h>

enum pms_status {
    PMS_OK = 0,
    PMS_MISSING = 1,      /* no such key, index out of range, end of iteration: not an error */
    PMS_E_CORRUPT = 2,    /* bytes on the medium that this library cannot have written */
    PMS_E_FORMAT = 3,     /* not a pool, or a version or feature that is unknown here */
    PMS_E_FULL = 4,       /* no space, also not by growing; the operation is rolled back */
    PMS_E_BUSY = 5,       /* another process (or this one) holds the pool */
    PMS_E_CLOSED = 6,     /* the pool is closed, or was inherited by fork */
    PMS_E_DURABILITY = 7, /* the caller demanded a tier that the medium cannot give */
    PMS_E_TX = 8,         /* wrong transaction state: read-only pool, not the owner, ... */
    PMS_E_STALE = 9,      /* the object behind the handle is gone (rolled back) */
    PMS_E_MEDIA = 10,     /* SIGBUS under the mapping, or a failed sync: outcome unknown */
    PMS_E_OS = 11,        /* a system call failed; sys_errno says which way */
    PMS_E_NOMEM = 12,     /* malloc failed; the operation is rolled back */
    PMS_E_TIMEOUT = 13,   /* another thread kept the write lock for too long */
    PMS_E_INTR = 14,      /* a signal arrived while waiting: run handlers, call again */
    PMS_E_CHANGED = 15,   /* the container changed during iteration */
    PMS_E_FORKED = 16,    /* the pool was inherited by fork(); only the parent may use it */
    PMS_E_READONLY = 17,  /* opened with "r" */
    PMS_E_POISONED = 18,  /* an earlier MEDIA error made the pool read-only */
    PMS_E_INVAL = 19,     /* an argument is out of range (a bug of the caller) */
    PMS_E_WAIT = 20 /* would block: release what you hold (the GIL), call the _wait form */
};

/* Numbers for the message of the latest failure on this thread. */
struct pms_detail {
    int32_t sys_errno; /* of the failed system call, or 0 */
    int32_t line;      /* source line that refused */
    const char *what;  /* static text: what was being done */
    const char *file;  /* source file that refused */
    uint64_t off;      /* offset in the pool, or 0 */
    uint64_t want;     /* bytes asked for, or expected value */
    uint64_t have;     /* bytes available, or value found */
};

struct pms_detail *pms_detail(void);
int pms_fail(int status, const char *file, int line, const char *what, uint64_t off,
             uint64_t want, uint64_t have, int sys_errno);

#define PMS_FAIL(st, what, off, want, have)                                                    \
    pms_fail((st), __FILE__, __LINE__, (what), (uint64_t)(off), (uint64_t)(want),              \
             (uint64_t)(have), 0)
#define PMS_FAIL_NOMEM(what, want) PMS_FAIL(PMS_E_NOMEM, (what), 0, (want), 0)
#define PMS_FAIL_OS(what, off, want, err)                                                      \
    pms_fail(PMS_E_OS, __FILE__, __LINE__, (what), (uint64_t)(off), (uint64_t)(want), 0, (err))

/* Run a call; on anything but PMS_OK hand its status on. */
#define PMS_TRY(call)                                                                          \
    do {                                                                                       \
        int pms_try_ = (call);                                                                 \
        if (pms_try_ != PMS_OK)                                                                \
            return pms_try_;                                                                   \
    } while (0)

#define PMS_LIKELY(x) __builtin_expect(!!(x), 1)
#define PMS_UNLIKELY(x) __builtin_expect(!!(x), 0)

#endif
