/* forget.c -- for LD_PRELOAD: a libc that leaves out one kind of sync, and says that it did it.
 *
 * FORGET=dsync   synchronous writes are ordinary ones
 * FORGET=fsync   fsync and fdatasync do nothing
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

static int forgets(const char *what)
{
    const char *name = getenv("FORGET");
    return name && !strcmp(name, what);
}

ssize_t pwritev2(int fd, const struct iovec *iov, int count, off_t off, int flags)
{
    ssize_t (*real)(int, const struct iovec *, int, off_t, int) = dlsym(RTLD_NEXT, "pwritev2");
    return real(fd, iov, count, off, forgets("dsync") ? flags & ~RWF_DSYNC : flags);
}

/* The name that a program with 64-bit offsets calls. */
ssize_t pwritev64v2(int fd, const struct iovec *iov, int count, off_t off, int flags)
{
    return pwritev2(fd, iov, count, off, flags);
}

int fdatasync(int fd)
{
    int (*real)(int) = dlsym(RTLD_NEXT, "fdatasync");
    return forgets("fsync") ? 0 : real(fd);
}

int fsync(int fd)
{
    int (*real)(int) = dlsym(RTLD_NEXT, "fsync");
    return forgets("fsync") ? 0 : real(fd);
}
