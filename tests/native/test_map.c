/* test_map.c -- mappings stay where they are, survive truncation, and answer honestly.
 *
 * Each test runs in a process of its own on a file in the working directory; those that are
 * about stores run on a tmpfs file too, if /dev/shm is one.
 */
#include "_native/map.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

#define KIB 1024ull
#define MIB (1024 * KIB)

static bool test_on_tmpfs;

static int test_file(uint64_t size)
{
    char here[] = "test_map.XXXXXX";
    char shm[] = "/dev/shm/pmemstore_test_map.XXXXXX";
    char *name = test_on_tmpfs ? shm : here;
    int fd = mkstemp(name);
    CHECK(fd >= 0);
    CHECK_EQ(unlink(name), 0);
    CHECK_EQ(ftruncate(fd, (off_t)size), 0);
    return fd;
}

static struct pms_map *test_open(uint64_t size, uint64_t limit, uint32_t flags)
{
    static struct pms_map map;
    CHECK_EQ(pms_map_open(&map, test_file(size), size, limit, flags, PMS_FLUSH_AUTO), PMS_OK);
    return &map;
}

static uint8_t test_peek(const struct pms_map *map, uint64_t off)
{
    return *(volatile uint8_t *)(map->medium.base + off);
}

static void test_growth_never_moves_the_mapping(void)
{
    struct pms_map *map = test_open(64 * KIB, 64 * MIB, PMS_MAP_RAW);
    const uint8_t *base = map->medium.base;
    CHECK_EQ(map->limit, 64 * MIB);
    pms_store(&map->medium, 64 * KIB - 4, "last", 4);
    for (uint64_t size = 128 * KIB; size <= 64 * MIB; size *= 4) {
        CHECK_EQ(pms_truncate(&map->medium, size), PMS_OK);
        CHECK_EQ(pms_map_extend(map, size), PMS_OK);
        CHECK_EQ(map->size, size);
        pms_store(&map->medium, size - 1, "x", 1);
        CHECK(map->medium.base == base);
    }
    CHECK(!memcmp(base + 64 * KIB - 4, "last", 4));
    CHECK_EQ(pms_map_extend(map, 65 * MIB), PMS_E_FULL);
    CHECK_EQ(pms_map_extend(map, 4 * KIB), PMS_E_INVAL);
    pms_map_close(map);
}

static void test_size_need_not_be_whole_pages(void)
{
    struct pms_map *map = test_open(100, 3 * 4096, PMS_MAP_RAW);
    pms_store(&map->medium, 99, "x", 1);
    CHECK_EQ(pms_truncate(&map->medium, 5000), PMS_OK);
    CHECK_EQ(pms_map_extend(map, 5000), PMS_OK);
    pms_store(&map->medium, 4999, "y", 1);
    CHECK_EQ(test_peek(map, 99), 'x');
    char got[2] = {0};
    CHECK_EQ(pread(map->medium.fd, got, 1, 99), 1);
    CHECK_EQ(pread(map->medium.fd, got + 1, 1, 4999), 1);
    CHECK(!memcmp(got, "xy", 2));
    pms_map_close(map);
}

static void test_limit_shrinks_to_the_address_space_that_there_is(void)
{
    static struct pms_map map;
    int fd = test_file(MIB);
    CHECK_EQ(pms_map_open(&map, fd, MIB, 1ull << 55, 0, PMS_FLUSH_AUTO), PMS_OK);
    CHECK(map.limit >= MIB && map.limit < 1ull << 48);
    CHECK_EQ(map.size, MIB);
    pms_map_close(&map);
    CHECK(map.medium.base == NULL);
    pms_map_close(&map); /* harmless */
}

static void test_private_stores_stay_in_the_process_until_forgotten(void)
{
    struct pms_map *map = test_open(64 * KIB, MIB, PMS_MAP_PRIVATE);
    uint8_t byte = 9;
    CHECK(!map->medium.direct);
    pms_store(&map->medium, 5, "x", 1);
    CHECK_EQ(pread(map->medium.fd, &byte, 1, 5), 1);
    CHECK_EQ(byte, 0);
    CHECK_EQ(pms_write(&map->medium, 6, "y", 1), PMS_OK);
    CHECK_EQ(test_peek(map, 6), 0);
    CHECK_EQ(pms_map_forget(map, 0, 4096), PMS_OK);
    CHECK_EQ(test_peek(map, 5), 0);
    CHECK_EQ(test_peek(map, 6), 'y');
    CHECK_EQ(pms_map_forget(map, 1, 4096), PMS_E_INVAL);
    CHECK_EQ(pms_map_forget(map, 0, MIB), PMS_E_INVAL);
    pms_map_close(map);
}

static void test_readonly_descriptor_is_mapped_writable_but_private(void)
{
    static struct pms_map map;
    char name[] = "test_map.XXXXXX";
    int fd = mkstemp(name);
    CHECK_EQ(ftruncate(fd, 4096), 0);
    int ro = open(name, O_RDONLY | O_CLOEXEC);
    CHECK_EQ(unlink(name), 0);
    CHECK_EQ(pms_map_open(&map, ro, 4096, 4096, PMS_MAP_READONLY, PMS_FLUSH_AUTO), PMS_OK);
    pms_store(&map.medium, 0, "x", 1);
    uint8_t byte = 9;
    CHECK_EQ(pread(fd, &byte, 1, 0), 1);
    CHECK_EQ(byte, 0);
    struct pms_prepared answer;
    CHECK_EQ(pms_map_prepare(&map, 0, 4096, &answer), PMS_OK);
    CHECK_EQ(answer.granted, 0);
    pms_map_close(&map);
}

/* What killed every Python program that mapped a file which somebody truncated. */
static void test_truncated_file_is_a_flag_and_not_a_signal(void)
{
    struct pms_map *map = test_open(MIB, 4 * MIB, PMS_MAP_RAW);
    CHECK_EQ(pms_map_error(map), 0);
    CHECK_EQ(ftruncate(map->medium.fd, 4096), 0);
    CHECK_EQ(test_peek(map, 0), 0);
    CHECK_EQ(pms_map_error(map), 0);
    CHECK_EQ(test_peek(map, 300 * KIB + 7), 0);
    CHECK_EQ(pms_map_error(map), 1);
    CHECK_EQ(atomic_load(&map->media_error), 300 * KIB + 7 + 1);
    pms_store(&map->medium, 500 * KIB, "x", 1);
    CHECK_EQ(test_peek(map, 500 * KIB), 'x');
    CHECK_EQ(atomic_load(&map->media_error), 300 * KIB + 7 + 1); /* the first one */
    struct pms_prepared answer;
    CHECK_EQ(pms_map_prepare(map, 0, 4096, &answer), PMS_OK);
    CHECK_EQ(answer.granted, 0);
    pms_map_close(map);
}

static volatile sig_atomic_t test_foreign;

static void test_foreign_handler(int sig, siginfo_t *info, void *context)
{
    (void)sig, (void)info, (void)context;
    test_foreign++;
    _exit(42);
}

/* A SIGBUS of somebody else's mapping, behind ours. */
static void test_foreign_access(void)
{
    int fd = test_file(4096);
    volatile uint8_t *at = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
    CHECK(at != MAP_FAILED);
    CHECK_EQ(ftruncate(fd, 0), 0);
    CHECK_EQ(*at, 1); /* not reached */
}

static int test_child(void (*function)(void))
{
    int status = 0;
    fflush(NULL);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (!pid) {
        function();
        _exit(0);
    }
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    return status;
}

static void test_foreign_set(int flags, bool before)
{
    struct sigaction act = {.sa_sigaction = test_foreign_handler, .sa_flags = flags};
    if (before)
        CHECK_EQ(sigaction(SIGBUS, &act, NULL), 0);
    struct pms_map *map = test_open(MIB, MIB, PMS_MAP_RAW);
    if (!before) { /* replaced behind our back: the next open puts ours in front again */
        CHECK_EQ(sigaction(SIGBUS, &act, NULL), 0);
        static struct pms_map other;
        CHECK_EQ(pms_map_open(&other, test_file(4096), 4096, 4096, PMS_MAP_RAW, PMS_FLUSH_AUTO),
                 PMS_OK);
    }
    CHECK_EQ(ftruncate(map->medium.fd, 0), 0);
    CHECK_EQ(test_peek(map, 0), 0);
    CHECK_EQ(pms_map_error(map), 1);
    CHECK_EQ(test_foreign, 0);
    test_foreign_access();
}

static void test_foreign_before(void) { test_foreign_set(SA_SIGINFO, true); }

static void test_foreign_after(void) { test_foreign_set(SA_SIGINFO | SA_ONSTACK, false); }

static void test_foreign_default(void)
{
    CHECK(signal(SIGBUS, SIG_DFL) != SIG_ERR);
    test_open(MIB, MIB, PMS_MAP_RAW);
    test_foreign_access();
}

static void test_sent_default(void)
{
    CHECK(signal(SIGBUS, SIG_DFL) != SIG_ERR);
    test_open(MIB, MIB, PMS_MAP_RAW);
    raise(SIGBUS);
}

static void test_sent_ignored(void)
{
    CHECK(signal(SIGBUS, SIG_IGN) != SIG_ERR);
    test_open(MIB, MIB, PMS_MAP_RAW);
    raise(SIGBUS);
}

static void test_foreign_faults_go_to_the_handler_before_ours(void)
{
    int status = test_child(test_foreign_before);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 42);
    status = test_child(test_foreign_after);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 42);
    status = test_child(test_foreign_default);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
    status = test_child(test_sent_default);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
    status = test_child(test_sent_ignored);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void test_fork_leaves_the_descriptor_to_the_parent(void)
{
    static struct pms_map a, b;
    int fd_a = test_file(4096), fd_b = test_file(4096), status = 0;
    CHECK_EQ(pms_map_open(&a, fd_a, 4096, 4096, PMS_MAP_RAW, PMS_FLUSH_AUTO), PMS_OK);
    CHECK_EQ(pms_map_open(&b, fd_b, 4096, 4096, PMS_MAP_RAW, PMS_FLUSH_AUTO), PMS_OK);
    pms_map_close(&b);
    uint32_t epoch = atomic_load(&pms_fork_epoch);
    pid_t pid = fork();
    if (!pid) {
        CHECK_EQ(atomic_load(&pms_fork_epoch), epoch + 1);
        CHECK_EQ(a.medium.fd, -1);
        CHECK_EQ(fcntl(fd_a, F_GETFD), -1);
        CHECK(fcntl(fd_b, F_GETFD) >= 0); /* its map was closed: not ours to close */
        CHECK_EQ(pms_write(&a.medium, 0, "x", 1), PMS_E_OS);
        pms_map_close(&a);
        _exit(0);
    }
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK_EQ(status, 0);
    CHECK_EQ(atomic_load(&pms_fork_epoch), epoch);
    CHECK_EQ(a.medium.fd, fd_a);
    CHECK_EQ(pms_write(&a.medium, 0, "x", 1), PMS_OK);
    pms_map_close(&a);
}

static _Atomic bool test_stop;

static void *test_open_and_close(void *unused)
{
    (void)unused;
    int fd = test_file(4096);
    while (!atomic_load(&test_stop)) {
        struct pms_map *map = malloc(sizeof *map);
        CHECK_EQ(pms_map_open(map, fd, 4096, MIB, PMS_MAP_RAW, PMS_FLUSH_AUTO), PMS_OK);
        pms_map_close(map);
        free(map); /* under a sanitizer: a handler that still looks would be caught */
    }
    close(fd);
    return NULL;
}

static void test_faults_and_closes_of_other_threads_do_not_meet(void)
{
    pthread_t thread;
    struct pms_map *map = test_open(2 * MIB, 2 * MIB, PMS_MAP_RAW);
    CHECK_EQ(pthread_create(&thread, NULL, test_open_and_close, NULL), 0);
    CHECK_EQ(ftruncate(map->medium.fd, 0), 0);
    for (uint64_t off = 0; off < map->size; off += 4096)
        CHECK_EQ(test_peek(map, off), 0);
    atomic_store(&test_stop, true);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK_EQ(atomic_load(&map->media_error), 1);
    pms_map_close(map);
}

static void test_tier_says_why(void)
{
    enum pms_tier tier;
    char reason[PMS_REASON_MAX];
    int fd = test_file(0);
    CHECK_EQ(pms_map_probe(fd, 0, &tier, reason), PMS_OK);
    CHECK(tier != PMS_TIER_NONE);
    CHECK(strlen(reason) > 20);
    CHECK_EQ(tier == PMS_TIER_VOLATILE, test_on_tmpfs);
    if (tier == PMS_TIER_SYNC)
        CHECK(strstr(reason, "MAP_SYNC") && strstr(reason, "(E"));
    CHECK_EQ(setenv("PMEMSTORE_FORCE_TIER", "flush", 1), 0);
    CHECK_EQ(pms_map_probe(fd, 0, &tier, reason), PMS_OK);
    CHECK_EQ(tier, PMS_TIER_FLUSH);
    CHECK(strstr(reason, "forced by PMEMSTORE_FORCE_TIER=flush"));
    struct pms_map *map = test_open(4096, 4096, 0);
    CHECK(map->medium.direct);
    pms_map_close(map);
    CHECK_EQ(setenv("PMEMSTORE_FORCE_TIER", "best", 1), 0);
    CHECK_EQ(pms_map_probe(fd, 0, &tier, reason), PMS_E_INVAL);
    CHECK_EQ(unsetenv("PMEMSTORE_FORCE_TIER"), 0);
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    CHECK_EQ(pms_map_probe(null, 0, &tier, reason), PMS_E_INVAL);
}

static bool test_fiemap_answers(const struct pms_prepared *answer)
{
    return !(answer->before & PMS_EXTENT_UNKNOWN);
}

/* Unwritten extents under dirty pages were the trap: zeroes over them would lose the data. */
static void test_prepare_keeps_contents_and_fills_holes(void)
{
    struct pms_map *map = test_open(4 * MIB, 4 * MIB, PMS_MAP_RAW);
    struct pms_prepared answer;
    CHECK_EQ(posix_fallocate(map->medium.fd, 0, MIB), 0);
    pms_store(&map->medium, 5000, "in an unwritten extent", 22);
    pms_store(&map->medium, 2 * MIB + 5000, "in a hole", 9);
    CHECK_EQ(pms_map_prepare(map, 100, 3 * MIB, &answer), PMS_OK);
    CHECK(!memcmp(map->medium.base + 5000, "in an unwritten extent", 22));
    CHECK(!memcmp(map->medium.base + 2 * MIB + 5000, "in a hole", 9));
    CHECK_EQ(answer.tier, map->medium.tier);
    CHECK_EQ(answer.synced, 1);
    if (test_on_tmpfs) {
        CHECK_EQ(answer.granted, 1);
        CHECK_EQ(answer.populated, 1);
        CHECK(strstr(answer.reason, "volatile"));
    } else if (test_fiemap_answers(&answer)) {
        CHECK(answer.before & (PMS_EXTENT_HOLE | PMS_EXTENT_UNWRITTEN));
        CHECK_EQ(answer.after, 0);
        CHECK_EQ(answer.granted, 1);
        uint64_t written = map->medium.counters.written_bytes;
        CHECK(written <= 3 * MIB + 4096);
        CHECK_EQ(pms_map_prepare(map, 0, 3 * MIB, &answer), PMS_OK);
        CHECK_EQ(answer.before, 0);
        CHECK_EQ(answer.granted, 1);
        CHECK_EQ(map->medium.counters.written_bytes, written); /* there was nothing to fill */
    } else {
        CHECK_EQ(answer.granted, 0);
        CHECK(strstr(answer.reason, "FIEMAP"));
    }
    CHECK_EQ(pms_map_prepare(map, 0, 0, &answer), PMS_E_INVAL);
    CHECK_EQ(pms_map_prepare(map, 4 * MIB, 1, &answer), PMS_E_INVAL);
    CHECK_EQ(pms_map_prepare(map, 1, ~0ull, &answer), PMS_E_INVAL);
    pms_map_close(map);
}

static int test_fail(void *context, const struct pms_event *event)
{
    const struct pms_event *match = context;
    return event->kind == match->kind ? (int)match->len : 0;
}

static void test_prepare_refuses_with_the_errno_of_the_step_that_failed(void)
{
    struct pms_prepared answer;
    struct pms_event full = {.kind = PMS_EV_ALLOCATE, .len = ENOSPC};
    struct pms_map *map = test_open(MIB, MIB, PMS_MAP_RAW);
    map->medium.recorder = test_fail;
    map->medium.recorder_context = &full;
    CHECK_EQ(pms_map_prepare(map, 0, MIB, &answer), PMS_OK);
    CHECK_EQ(answer.granted, 0);
    CHECK_EQ(answer.sys_errno, ENOSPC);
    CHECK(strstr(answer.reason, "ENOSPC"));
    CHECK_EQ(pms_map_error(map), 0);
    struct pms_event sick = {.kind = PMS_EV_SYNC, .len = EIO};
    map->medium.recorder_context = &sick;
    CHECK_EQ(pms_map_prepare(map, 0, MIB, &answer), PMS_OK);
    CHECK_EQ(answer.granted, 0);
    CHECK_EQ(answer.sys_errno, EIO);
    CHECK_EQ(answer.synced, 0);
    CHECK_EQ(pms_map_error(map), 1); /* a failed sync is never tried again */
    map->medium.recorder = NULL;
    CHECK_EQ(pms_map_prepare(map, 0, MIB, &answer), PMS_OK);
    CHECK_EQ(answer.granted, 0);
    pms_map_close(map);
}

static void test_prepare_sees_that_the_file_was_truncated(void)
{
    struct pms_prepared answer;
    struct pms_map *map = test_open(MIB, MIB, PMS_MAP_RAW);
    CHECK_EQ(ftruncate(map->medium.fd, 4096), 0);
    CHECK_EQ(pms_map_prepare(map, 0, MIB, &answer), PMS_OK);
    CHECK_EQ(answer.granted, 0);
    CHECK(strstr(answer.reason, "truncated"));
    CHECK_EQ(pms_map_error(map), 1);
    pms_map_close(map);
}

static void test_populate_on_a_shared_mapping(void)
{
    struct pms_map *map = test_open(MIB, MIB, PMS_MAP_RAW);
    int status = pms_map_populate(map, 5, 100 * KIB);
    CHECK(status == PMS_OK || pms_detail()->sys_errno == EINVAL);
    CHECK_EQ(pms_map_populate(map, MIB, 1), PMS_E_INVAL);
    CHECK_EQ(pms_map_forget(map, 0, 4096), PMS_E_INVAL);
    pms_map_close(map);
}

/* Stores to 1024 pages that were read in take so many faults. */
static uint64_t faults_of_shared_pages(struct pms_map *map)
{
    struct pms_medium *m = &map->medium;
    struct rusage before, after;
    CHECK_EQ(pms_allocate_written(m, 0, 4 * MIB + 4096), PMS_OK);
    CHECK_EQ(pms_map_extend(map, 4 * MIB), PMS_OK);
    CHECK_EQ(pms_map_share(map, 5, 4 * MIB - 5), PMS_OK);
    CHECK_EQ(pms_map_share(map, 4 * MIB, 1), PMS_E_INVAL);
    CHECK_EQ(getrusage(RUSAGE_SELF, &before), 0);
    for (uint64_t off = 0; off < 4 * MIB; off += 4096) {
        CHECK_EQ(test_peek(map, off + 7), 0);
        pms_store(m, off, "x", 1);
    }
    CHECK_EQ(getrusage(RUSAGE_SELF, &after), 0);
    return (uint64_t)(after.ru_minflt - before.ru_minflt);
}

/* On tmpfs a page that was read in takes no fault when it is stored to. */
static void test_shared_pages_take_no_write_faults(void)
{
    struct pms_map *map = test_open(0, 8 * MIB, PMS_MAP_RAW);
    uint64_t faults = faults_of_shared_pages(map);
    CHECK_EQ(pms_map_by_reads(map), test_on_tmpfs);
    if (test_on_tmpfs)
        CHECK(faults < 512); /* a sanitizer's own memory has some */
    pms_map_close(map);
}

/* A file system in namespaces of our own, where the system lets us have them. */
static int ramfs_file(void)
{
    char dir[] = "ramfs.XXXXXX", name[64], ids[32];
    snprintf(ids, sizeof ids, "0 %u 1", (unsigned)geteuid());
    if (test_on_tmpfs || unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0)
        return -1;
    int fd = open("/proc/self/uid_map", O_WRONLY | O_CLOEXEC);
    int mapped = fd >= 0 && write(fd, ids, strlen(ids)) > 0;
    if (fd >= 0)
        close(fd);
    CHECK(mkdtemp(dir) != NULL);
    fd = -1;
    if (mapped && mount("none", dir, "ramfs", 0, NULL) == 0) {
        snprintf(name, sizeof name, "%s/file", dir);
        fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        CHECK_EQ(umount2(dir, MNT_DETACH), 0);
    }
    CHECK_EQ(rmdir(dir), 0);
    return fd;
}

/* ramfs is memory too, but there they do: a read is not enough. */
static void test_shared_pages_of_ramfs_take_write_faults(void)
{
    static struct pms_map map;
    int fd = ramfs_file();
    if (fd < 0)
        return;
    CHECK_EQ(pms_map_open(&map, fd, 0, 8 * MIB, PMS_MAP_RAW, PMS_FLUSH_AUTO), PMS_OK);
    CHECK_EQ(map.medium.tier, PMS_TIER_VOLATILE);
    CHECK(faults_of_shared_pages(&map) >= 1024);
    CHECK(!pms_map_by_reads(&map));
    pms_map_close(&map);
}

/* What it reads may be gone: the same flag as for every other access. */
static void test_shared_pages_of_a_truncated_file_are_a_flag(void)
{
    struct pms_map *map = test_open(MIB, MIB, PMS_MAP_RAW);
    CHECK_EQ(pms_truncate(&map->medium, 128 * KIB), PMS_OK);
    CHECK_EQ(pms_map_share(map, 0, 128 * KIB), PMS_OK);
    CHECK_EQ(pms_map_error(map), 0);
    CHECK_EQ(pms_map_share(map, 64 * KIB, 128 * KIB), PMS_OK);
    CHECK_EQ(pms_map_error(map), 1);
    pms_map_close(map);
}

static void (*const tests[])(void) = {
    test_growth_never_moves_the_mapping,
    test_size_need_not_be_whole_pages,
    test_limit_shrinks_to_the_address_space_that_there_is,
    test_private_stores_stay_in_the_process_until_forgotten,
    test_readonly_descriptor_is_mapped_writable_but_private,
    test_truncated_file_is_a_flag_and_not_a_signal,
    test_foreign_faults_go_to_the_handler_before_ours,
    test_fork_leaves_the_descriptor_to_the_parent,
    test_faults_and_closes_of_other_threads_do_not_meet,
    test_tier_says_why,
    test_prepare_keeps_contents_and_fills_holes,
    test_prepare_refuses_with_the_errno_of_the_step_that_failed,
    test_prepare_sees_that_the_file_was_truncated,
    test_populate_on_a_shared_mapping,
    test_shared_pages_take_no_write_faults,
    test_shared_pages_of_ramfs_take_write_faults,
    test_shared_pages_of_a_truncated_file_are_a_flag,
};

int main(void)
{
    int dir = open("/dev/shm", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int fd = dir >= 0 ? openat(dir, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600) : -1;
    enum pms_tier tier = PMS_TIER_NONE;
    char reason[PMS_REASON_MAX];
    if (fd >= 0)
        CHECK_EQ(pms_map_probe(fd, 0, &tier, reason), PMS_OK);
    for (size_t i = 0; i < sizeof tests / sizeof tests[0]; i++) {
        test_on_tmpfs = false;
        CHECK_EQ(test_child(tests[i]), 0);
        test_on_tmpfs = true;
        if (tier == PMS_TIER_VOLATILE)
            CHECK_EQ(test_child(tests[i]), 0);
    }
    return 0;
}
