/* status.c -- where the numbers of the latest failure on this thread are kept. */
#include "status.h"

static _Thread_local struct pms_detail detail;

struct pms_detail *pms_detail(void) { return &detail; }

int pms_fail(int status, const char *file, int line, const char *what, uint64_t off,
             uint64_t want, uint64_t have, int sys_errno)
{
    detail = (struct pms_detail){.sys_errno = sys_errno,
                                 .line = line,
                                 .what = what,
                                 .file = file,
                                 .off = off,
                                 .want = want,
                                 .have = have};
    return status;
}
