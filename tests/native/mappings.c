/* mappings.c -- mappings of pools are kept for the next image.
 *
 * Thousands of images a second are opened as the same file, and most of the time would go into
 * mapping it and taking its page faults again.  So the explorer is linked with --wrap=mmap and
 * --wrap=munmap: address space that a pool reserved, with a shared mapping of the file in it, stays
 * when the pool is closed, and whoever asks for exactly the same gets it.  Nothing else is changed:
 * private mappings, and those that grew or met a SIGBUS, are given back.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"

void *__real_mmap(void *at, size_t len, int prot, int flags, int fd, off_t off);
int __real_munmap(void *at, size_t len);
void *__wrap_mmap(void *at, size_t len, int prot, int flags, int fd, off_t off);
int __wrap_munmap(void *at, size_t len);

#define KEPT 6
#define ALIGN (2ull << 20) /* of map.c: what lies in front of the first multiple is not used */

static struct kept {
    uint8_t *at;
    size_t whole;
    int used;   /* by an open pool */
    int spoilt; /* cannot be given to another one */
    size_t mapped;
    int prot, flags;
    dev_t device;
    ino_t inode;
} kept[KEPT];
static pthread_mutex_t kept_lock = PTHREAD_MUTEX_INITIALIZER;

static struct kept *kept_at(const uint8_t *at)
{
    for (int i = 0; i < KEPT; i++)
        if (kept[i].used && at >= kept[i].at && at < kept[i].at + kept[i].whole)
            return &kept[i];
    return NULL;
}

static void give_back(struct kept *k)
{
    CHECK_EQ(__real_munmap(k->at, k->whole), 0);
    *k = (struct kept){0};
}

static void *reserve(size_t len, int flags)
{
    struct kept *room = NULL;
    for (int i = 0; i < KEPT; i++) {
        if (!kept[i].used && kept[i].whole == len) {
            kept[i].used = 1;
            return kept[i].at;
        }
        if (!kept[i].used && (!room || !kept[i].at))
            room = &kept[i];
    }
    void *at = __real_mmap(NULL, len, PROT_NONE, flags, -1, 0);
    if (!room || at == MAP_FAILED)
        return at;
    if (room->at)
        give_back(room);
    *room = (struct kept){.at = at, .whole = len, .used = 1};
    return at;
}

static void *place(struct kept *k, void *at, size_t len, int prot, int flags, int fd, off_t off)
{
    struct stat file;
    CHECK_EQ(fstat(fd, &file), 0);
    int first = off == 0 && !k->spoilt;
    if (first && k->mapped == len && k->prot == prot && k->flags == flags &&
        k->device == file.st_dev && k->inode == file.st_ino)
        return at;
    if (first && k->mapped) /* what was there is of no use to anybody */
        (void)__real_mmap(k->at, k->whole, PROT_NONE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
    /* A mapping keeps its open file, and so the lock on it: take another one. */
    int own = -1;
    char name[32];
    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    if (first && (flags & MAP_SHARED))
        CHECK((own = open(name, O_RDWR | O_CLOEXEC)) >= 0);
    void *got = __real_mmap(at, len, prot, flags, own >= 0 ? own : fd, off);
    if (own >= 0)
        close(own);
    k->spoilt |= !first || got == MAP_FAILED || !(flags & MAP_SHARED);
    k->mapped = len;
    k->prot = prot;
    k->flags = flags;
    k->device = file.st_dev;
    k->inode = file.st_ino;
    return got;
}

void *__wrap_mmap(void *at, size_t len, int prot, int flags, int fd, off_t off)
{
    void *got;
    pthread_mutex_lock(&kept_lock);
    struct kept *k = at ? kept_at(at) : NULL;
    if (!at && prot == PROT_NONE && fd < 0) {
        got = reserve(len, flags);
    } else if (k && fd >= 0) {
        got = place(k, at, len, prot, flags, fd, off);
    } else {
        if (k)
            k->spoilt = 1;
        got = __real_mmap(at, len, prot, flags, fd, off);
    }
    pthread_mutex_unlock(&kept_lock);
    return got;
}

int __wrap_munmap(void *at, size_t len)
{
    int status = 0;
    pthread_mutex_lock(&kept_lock);
    struct kept *k = kept_at(at);
    if (!k)
        status = __real_munmap(at, len);
    else if ((uint8_t *)at == k->at + (-(uintptr_t)k->at & (ALIGN - 1))) { /* closed */
        k->used = 0;
        if (k->spoilt)
            give_back(k);
    } /* else its ends, which stay */
    pthread_mutex_unlock(&kept_lock);
    return status;
}
