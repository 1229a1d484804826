/* writeback.c -- what of a file is in the page cache alone, and what a failed sync makes of it.
 * inject.h is the manual. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"
#include "inject.h"
#include "lives.h"

#define PAGE 4096u
#define MEDIUM_BYTES (8u << 20)

/* As the linker names what is not wrapped. */
int __real_fstat(int fd, struct stat *st);
ssize_t __real_pread(int fd, void *to, size_t len, off_t off);
ssize_t __real_pwrite(int fd, const void *from, size_t len, off_t off);

static struct {
    int fd; /* -1: no file */
    dev_t device;
    ino_t number;
    uint64_t size; /* durable */
    int late;
    uint8_t dirty[MEDIUM_BYTES / PAGE];
    uint8_t bytes[MEDIUM_BYTES]; /* durable */
} medium = {.fd = -1};

static uint64_t file_size(void)
{
    struct stat st;
    CHECK_EQ(__real_fstat(medium.fd, &st), 0);
    CHECK((uint64_t)st.st_size <= MEDIUM_BYTES);
    return (uint64_t)st.st_size;
}

void medium_start(int fd)
{
    struct stat st;
    CHECK_EQ(__real_fstat(fd, &st), 0);
    medium.fd = fd;
    medium.device = st.st_dev;
    medium.number = st.st_ino;
    medium.late = 0;
    medium.size = file_size();
    CHECK_EQ(__real_pread(fd, medium.bytes, medium.size, 0), (ssize_t)medium.size);
    memset(medium.bytes + medium.size, 0, MEDIUM_BYTES - medium.size);
    memset(medium.dirty, 0, sizeof medium.dirty);
}

void medium_stop(void) { medium.fd = -1; }

int medium_has(int fd)
{
    struct stat st;
    return medium.fd >= 0 && __real_fstat(fd, &st) == 0 && st.st_dev == medium.device &&
           st.st_ino == medium.number;
}

void medium_wrote(uint64_t off, uint64_t len)
{
    for (uint64_t page = off / PAGE; page <= (off + len - 1) / PAGE; page++)
        medium.dirty[page] = 1;
}

void medium_synced(uint64_t off, uint64_t len)
{
    uint64_t size = file_size(), end = len ? off + len : size;
    for (uint64_t page = off / PAGE; page * PAGE < end; page++) {
        if (medium.dirty[page])
            CHECK(__real_pread(medium.fd, medium.bytes + page * PAGE, PAGE,
                               (off_t)(page * PAGE)) > 0);
        medium.dirty[page] = 0;
    }
    medium.size = size;
}

void medium_lost(enum model model)
{
    if (model == MODEL_REVERTED) {
        for (uint64_t page = 0; page * PAGE < file_size(); page++)
            if (medium.dirty[page])
                CHECK_EQ(__real_pwrite(medium.fd, medium.bytes + page * PAGE, PAGE,
                                       (off_t)(page * PAGE)),
                         PAGE);
    }
    memset(medium.dirty, 0, sizeof medium.dirty);
    medium.late |= model == MODEL_LATE;
}

int medium_untold(void) { return medium.fd >= 0 && medium.late; }

int medium_late(void)
{
    int late = medium.late;
    medium.late = 0;
    return late;
}

void medium_resized(uint64_t size)
{
    CHECK(size <= MEDIUM_BYTES);
    for (uint64_t page = (size + PAGE - 1) / PAGE; page < MEDIUM_BYTES / PAGE; page++)
        medium.dirty[page] = 0;
}

void medium_copy(struct image *image)
{
    image_room(image, medium.size);
    memcpy(image->bytes, medium.bytes, medium.size);
}
