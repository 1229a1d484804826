/* test_mapping.c -- what the mapping of the lowest layer sends through the door, and what it does not
 * send there: files and directories that are synced before anybody has a mapping. */
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "_native/layout.h"
#include "_native/mapping.h"
#include "check.h"

#define SIZE (64u * PMS_PAGE)

static int fsyncs, fsync_fd; /* calls, and of which descriptor the last was */

int fsync(int fd)
{
    fsyncs++;
    fsync_fd = fd;
    return (int)syscall(SYS_fsync, fd);
}

struct seen { /* events by kind; off and len of the latest */
    uint32_t count[PMS_EV_DURABLE + 1];
    uint64_t off, len;
};

static int record(void *context, const struct pms_event *event)
{
    struct seen *seen = context;
    seen->count[event->kind]++;
    seen->off = event->off;
    seen->len = event->len;
    return 0;
}

static struct pms_mapping *map(const char *tier, struct seen *seen)
{
    char path[] = "./pmemstore_mapping.XXXXXX";
    struct pms_mapping *u = NULL;
    *seen = (struct seen){.off = 0};
    CHECK_EQ(setenv("PMEMSTORE_FORCE_TIER", tier, 1), 0);
    int fd = mkstemp(path);
    CHECK(fd >= 0);
    CHECK_EQ(unlink(path), 0);
    CHECK_EQ(pms_mapping_fill(fd, SIZE), PMS_OK);
    CHECK_EQ(pms_mapping_open(&u, fd, SIZE, 0, PMS_WATCH_ALWAYS), PMS_OK);
    pms_mapping_record(u, record, seen);
    return u;
}

/* On direct media a flush is a flush and a fence a fence, and persist is both. */
static void test_lines_are_flushed_and_fenced_when_they_are_asked_for(void)
{
    struct seen seen;
    struct pms_mapping *u = map("flush", &seen);
    CHECK_EQ(pms_mapping_flush(u, 128, 64), PMS_OK);
    CHECK_EQ(seen.count[PMS_EV_FLUSH], 1);
    CHECK(seen.off == 128 && seen.len == 64);
    CHECK_EQ(seen.count[PMS_EV_FENCE], 0);
    CHECK_EQ(pms_mapping_fence(u), PMS_OK);
    CHECK_EQ(seen.count[PMS_EV_FENCE], 1);
    CHECK_EQ(pms_mapping_persist(u, 4096, 100), PMS_OK);
    CHECK_EQ(seen.count[PMS_EV_FLUSH], 2);
    CHECK_EQ(seen.count[PMS_EV_FENCE], 2);
    CHECK_EQ(seen.count[PMS_EV_SYNC], 0);
    pms_mapping_free(u);
}

/* On files a flush notes the range, and the fence syncs it. */
static void test_ranges_are_synced_by_the_fence(void)
{
    struct seen seen;
    struct pms_mapping *u = map("sync", &seen);
    CHECK_EQ(pms_mapping_flush(u, 8192, 100), PMS_OK);
    CHECK_EQ(seen.count[PMS_EV_SYNC], 0);
    CHECK_EQ(pms_mapping_fence(u), PMS_OK);
    CHECK_EQ(seen.count[PMS_EV_SYNC], 1);
    CHECK(seen.off <= 8192 && seen.off + seen.len >= 8292);
    CHECK_EQ(pms_mapping_fence(u), PMS_OK); /* nothing to sync */
    CHECK_EQ(seen.count[PMS_EV_SYNC], 1);
    CHECK_EQ(pms_mapping_persist(u, 0, 8), PMS_OK);
    CHECK_EQ(seen.count[PMS_EV_SYNC], 2);
    pms_mapping_free(u);
}

static void test_a_new_file_and_its_directory_are_synced(void)
{
    struct seen seen;
    fsyncs = 0;
    struct pms_mapping *u = map("sync", &seen);
    CHECK_EQ(fsyncs, 1);
    pms_mapping_free(u);
    int fd = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CHECK(fd >= 0);
    CHECK_EQ(pms_mapping_sync_dir(fd), PMS_OK);
    CHECK_EQ(fsyncs, 2);
    CHECK_EQ(fsync_fd, fd);
    close(fd);
}

int main(void)
{
    test_lines_are_flushed_and_fenced_when_they_are_asked_for();
    test_ranges_are_synced_by_the_fence();
    test_a_new_file_and_its_directory_are_synced();
    return 0;
}
