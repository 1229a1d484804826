/* test_persist.c -- every flush, fence, write and sync is executed, counted and recorded. */
#include "_native/persist.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"

#define TEST_EVENTS_MAX 64
#define TEST_BYTES 65536u

struct test_log {
    struct pms_event events[TEST_EVENTS_MAX];
    size_t count;
    uint32_t fail_kind; /* answer fail_errno to events of this kind */
    int fail_errno;
    uint8_t seen; /* byte at offset 0 of the medium when the event was delivered */
    const uint8_t *watch;
};

static int test_record(void *context, const struct pms_event *event)
{
    struct test_log *log = context;
    CHECK(log->count < TEST_EVENTS_MAX);
    log->events[log->count++] = *event;
    log->seen = log->watch ? *log->watch : 0;
    return event->kind == log->fail_kind ? log->fail_errno : 0;
}

static int test_file(void)
{
    char name[] = "test_persist.XXXXXX";
    int fd = mkstemp(name);
    CHECK(fd >= 0);
    CHECK_EQ(unlink(name), 0);
    return fd;
}

static uint8_t *test_memory(void)
{
    void *at =
        mmap(NULL, TEST_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(at != MAP_FAILED);
    return at;
}

static struct pms_medium test_direct(enum pms_flush_kind kind)
{
    struct pms_medium m;
    CHECK_EQ(pms_medium_init(&m, -1, kind), PMS_OK);
    m.base = test_memory();
    m.direct = true;
    m.tier = PMS_TIER_VOLATILE;
    return m;
}

static void test_flush_counts_every_line_that_it_touches(void)
{
    struct pms_medium m = test_direct(PMS_FLUSH_AUTO);
    CHECK(m.flush_kind != PMS_FLUSH_AUTO);
    static const struct {
        uint64_t off;
        size_t len;
        uint64_t lines;
    } cases[] = {{0, 0, 0},  {0, 1, 1},  {0, 64, 1},  {0, 65, 2},      {63, 1, 1},
                 {63, 2, 2}, {1, 64, 2}, {64, 64, 1}, {100, 1000, 17}, {4095, 2, 2}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint64_t before = m.counters.flushed_lines;
        pms_flush(&m, cases[i].off, cases[i].len);
        CHECK_EQ(m.counters.flushed_lines - before, cases[i].lines);
    }
    pms_fence(&m);
    pms_fence(&m);
    CHECK_EQ(m.counters.fences, 2);
    CHECK_EQ(m.counters.syncs, 0);
}

static void test_every_flush_of_this_cpu_runs(void)
{
    int found = 0;
    for (int kind = PMS_FLUSH_NONE; kind <= PMS_FLUSH_DC_CVAC; kind++) {
        struct pms_medium m;
        int status = pms_medium_init(&m, -1, (enum pms_flush_kind)kind);
        CHECK(status == PMS_OK || status == PMS_E_INVAL);
        if (status != PMS_OK)
            continue;
        found++;
        m = test_direct((enum pms_flush_kind)kind);
        pms_store(&m, 100, "abc", 3);
        pms_flush(&m, 100, 3);
        pms_fence(&m);
        CHECK(!memcmp(m.base + 100, "abc", 3));
        CHECK_EQ(m.counters.flushed_lines, kind == PMS_FLUSH_NONE ? 0 : 1);
        CHECK_EQ(m.counters.fences, 1);
    }
    CHECK(found >= 2); /* none, and one that this CPU has */
}

static void test_environment_chooses_the_flush(void)
{
    struct pms_medium m;
    CHECK_EQ(setenv("PMEMSTORE_FLUSH", "none", 1), 0);
    CHECK_EQ(pms_medium_init(&m, -1, PMS_FLUSH_AUTO), PMS_OK);
    CHECK_EQ(m.flush_kind, PMS_FLUSH_NONE);
    CHECK_EQ(setenv("PMEMSTORE_FLUSH", "sideways", 1), 0);
    CHECK_EQ(pms_medium_init(&m, -1, PMS_FLUSH_AUTO), PMS_E_INVAL);
    CHECK_EQ(setenv("PMEMSTORE_FLUSH", "auto", 1), 0);
    CHECK_EQ(pms_medium_init(&m, -1, PMS_FLUSH_AUTO), PMS_OK);
    const char *best = pms_flush_name(m.flush_kind);
    CHECK_EQ(setenv("PMEMSTORE_FLUSH", best, 1), 0);
    CHECK_EQ(pms_medium_init(&m, -1, PMS_FLUSH_AUTO), PMS_OK);
    CHECK(!strcmp(pms_flush_name(m.flush_kind), best));
    CHECK_EQ(m.nt_lines_min, SIZE_MAX); /* named: each line is flushed */
    int past = m.nt_copy_fn != NULL;
    CHECK_EQ(setenv("PMEMSTORE_FLUSH", "nt", 1), 0);
    CHECK_EQ(pms_medium_init(&m, -1, PMS_FLUSH_AUTO), past ? PMS_OK : PMS_E_INVAL);
    CHECK(!past || (m.nt_lines_min == 1 && !strcmp(pms_flush_name(m.flush_kind), best)));
    CHECK_EQ(unsetenv("PMEMSTORE_FLUSH"), 0);
    CHECK(!strcmp(pms_flush_name(PMS_FLUSH_CLWB), "clwb"));
    CHECK(!strcmp(pms_tier_name(PMS_TIER_DAX_FSYNC), "dax-fsync"));
    CHECK(!strcmp(pms_tier_name(PMS_TIER_VOLATILE), "volatile"));
}

static void test_medium_that_is_not_direct_is_neither_flushed_nor_fenced(void)
{
    struct pms_medium m = test_direct(PMS_FLUSH_AUTO);
    m.direct = false;
    pms_store_nt(&m, 0, "12345678", 8);
    pms_flush(&m, 0, 4096);
    pms_fence(&m);
    CHECK_EQ(m.counters.flushed_lines, 0);
    CHECK_EQ(m.counters.fences, 0);
}

static void test_recorder_sees_stores_before_they_happen(void)
{
    struct pms_medium m = test_direct(PMS_FLUSH_AUTO);
    struct test_log log = {.watch = m.base};
    m.recorder = test_record;
    m.recorder_context = &log;
    pms_store(&m, 0, "x", 1);
    CHECK_EQ(log.count, 1);
    CHECK_EQ(log.events[0].kind, PMS_EV_STORE);
    CHECK_EQ(log.events[0].len, 1);
    CHECK_EQ(log.seen, 0);
    CHECK_EQ(m.base[0], 'x');
    pms_flush(&m, 0, 1);
    pms_fence(&m);
    CHECK_EQ(log.events[1].kind, PMS_EV_FLUSH);
    CHECK_EQ(log.events[1].off, 0);
    CHECK_EQ(log.events[2].kind, PMS_EV_FENCE);
    CHECK_EQ(log.count, 3);
    pms_store(&m, 8, "", 0);
    pms_flush(&m, 8, 0);
    CHECK_EQ(log.count, 3); /* nothing was done */
}

/* Non-temporal where that pays; else a store, and the flush that the promise asks for. */
static void test_nt_store_needs_no_flush_whatever_its_shape(void)
{
    static uint8_t data[8200];
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(i * 7 + 1);
    static const struct {
        uint64_t off;
        size_t len;
    } cases[] = {{0, 4096}, {8, 4096}, {24, 8192}, {1, 4096}, {8, 4095}, {64, 128}, {64, 64}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct pms_medium m = test_direct(PMS_FLUSH_AUTO);
        struct test_log log = {0};
        m.recorder = test_record;
        m.recorder_context = &log;
        pms_store_nt(&m, cases[i].off, data, cases[i].len);
        CHECK(!memcmp(m.base + cases[i].off, data, cases[i].len));
        CHECK_EQ(m.base[cases[i].off + cases[i].len], 0);
        uint64_t lines = (cases[i].off + cases[i].len - 1) / 64 - cases[i].off / 64 + 1;
        CHECK_EQ(m.counters.flushed_lines, lines);
        if (log.events[0].kind == PMS_EV_NT_STORE) {
            CHECK_EQ(log.count, 1);
        } else {
            CHECK_EQ(log.count, 2);
            CHECK_EQ(log.events[0].kind, PMS_EV_STORE);
            CHECK_EQ(log.events[1].kind, PMS_EV_FLUSH);
            CHECK_EQ(log.events[1].len, cases[i].len);
        }
    }
}

/* The same bytes, however they get there, and each line is counted once. */
static void test_whole_lines_go_past_the_caches_where_the_cpu_says_so(void)
{
    for (int past = 0; past < 2; past++) {
        struct pms_medium m = test_direct(PMS_FLUSH_AUTO);
        struct test_log log = {0};
        uint8_t line[128];
        memset(line, 7, sizeof line);
        m.nt_lines_min = past ? 1 : SIZE_MAX;
        past = past && m.nt_copy_fn;
        pms_store_nt(&m, 128, line, sizeof line);
        m.recorder = test_record;
        m.recorder_context = &log;
        pms_store_nt(&m, 256, line, sizeof line);
        pms_store_nt(&m, 384, line, 72);
        pms_fence(&m);
        CHECK_EQ(log.events[0].kind, past ? PMS_EV_NT_STORE : PMS_EV_STORE);
        CHECK_EQ(log.events[past ? 1 : 2].kind, PMS_EV_STORE); /* no whole lines */
        CHECK(!memcmp(m.base + 128, line, 128) && !memcmp(m.base + 256, line, 128));
        CHECK(m.base[127] == 0 && m.base[455] == 7 && m.base[456] == 0);
        CHECK_EQ(m.counters.flushed_lines, 6);
        if (!m.nt_copy_fn)
            break;
    }
}

static void test_writes_and_syncs_reach_the_file_and_are_counted(void)
{
    struct pms_medium m;
    char got[8] = {0};
    CHECK_EQ(pms_medium_init(&m, test_file(), PMS_FLUSH_AUTO), PMS_OK);
    CHECK_EQ(pms_write(&m, 10, "abc", 3), PMS_OK);
    CHECK_EQ(m.counters.syncs, 0);
    CHECK_EQ(pms_write_sync(&m, 13, "de", 2), PMS_OK);
    CHECK_EQ(m.counters.syncs, 1);
    m.no_dsync = true; /* as where RWF_DSYNC is missing: still one sync */
    CHECK_EQ(pms_write_sync(&m, 15, "f", 1), PMS_OK);
    CHECK_EQ(m.counters.syncs, 2);
    CHECK_EQ(pms_sync(&m), PMS_OK);
    CHECK_EQ(pms_sync_all(&m), PMS_OK);
    CHECK_EQ(m.counters.syncs, 4);
    CHECK_EQ(m.counters.written_bytes, 6);
    CHECK_EQ(pread(m.fd, got, 6, 10), 6);
    CHECK(!memcmp(got, "abcdef", 6));
    CHECK_EQ(pms_truncate(&m, 12), PMS_OK);
    struct stat st;
    CHECK_EQ(fstat(m.fd, &st), 0);
    CHECK_EQ(st.st_size, 12);
    close(m.fd);
}

static void test_allocated_range_has_blocks_and_zeroes(void)
{
    struct pms_medium m;
    struct test_log log = {0};
    struct stat st;
    CHECK_EQ(pms_medium_init(&m, test_file(), PMS_FLUSH_AUTO), PMS_OK);
    m.recorder = test_record;
    m.recorder_context = &log;
    uint64_t len = (3u << 20) + 5;
    CHECK_EQ(pms_allocate_zero(&m, 4096, len), PMS_OK);
    CHECK_EQ(fstat(m.fd, &st), 0);
    CHECK_EQ(st.st_size, 4096 + len);
    CHECK((uint64_t)st.st_blocks * 512 >= len);
    CHECK_EQ(m.counters.written_bytes, len);
    CHECK_EQ(m.counters.syncs, 0);
    CHECK_EQ(log.events[0].kind, PMS_EV_ALLOCATE);
    CHECK_EQ(log.events[0].len, len);
    uint64_t at = 4096;
    for (size_t i = 1; i < log.count; i++) {
        CHECK_EQ(log.events[i].kind, PMS_EV_WRITE);
        CHECK_EQ(log.events[i].off, at);
        CHECK(log.events[i].len <= 1u << 20);
        at += log.events[i].len;
    }
    CHECK_EQ(at, 4096 + len);
    close(m.fd);
}

/* The recorder's errno comes back, and the call is not executed, not counted, not retried. */
static void test_recorder_can_make_any_call_fail(void)
{
    struct pms_medium m;
    struct stat st;
    static const uint32_t kinds[] = {PMS_EV_WRITE, PMS_EV_WRITE_SYNC, PMS_EV_SYNC,
                                     PMS_EV_ALLOCATE, PMS_EV_TRUNCATE};
    CHECK_EQ(pms_medium_init(&m, test_file(), PMS_FLUSH_AUTO), PMS_OK);
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        struct test_log log = {.fail_kind = kinds[i], .fail_errno = EIO};
        m.recorder = test_record;
        m.recorder_context = &log;
        int status = kinds[i] == PMS_EV_WRITE        ? pms_write(&m, 0, "a", 1)
                     : kinds[i] == PMS_EV_WRITE_SYNC ? pms_write_sync(&m, 0, "a", 1)
                     : kinds[i] == PMS_EV_SYNC       ? pms_sync(&m)
                     : kinds[i] == PMS_EV_ALLOCATE   ? pms_allocate_zero(&m, 0, 4096)
                                                     : pms_truncate(&m, 77);
        CHECK_EQ(status, PMS_E_OS);
        CHECK_EQ(pms_detail()->sys_errno, EIO);
        CHECK_EQ(log.count, 1);
    }
    CHECK_EQ(fstat(m.fd, &st), 0);
    CHECK_EQ(st.st_size, 0);
    CHECK_EQ(m.counters.syncs, 0);
    CHECK_EQ(m.counters.written_bytes, 0);
    close(m.fd);
}

static void test_kernel_errors_come_back_with_their_errno(void)
{
    struct pms_medium m;
    int fd = open("/dev/full", O_RDWR | O_CLOEXEC);
    CHECK(fd >= 0);
    CHECK_EQ(pms_medium_init(&m, fd, PMS_FLUSH_AUTO), PMS_OK);
    CHECK_EQ(pms_write(&m, 0, "a", 1), PMS_E_OS);
    CHECK_EQ(pms_detail()->sys_errno, ENOSPC);
    CHECK_EQ(pms_write_sync(&m, 0, "a", 1), PMS_E_OS);
    close(fd);
    m.fd = -1;
    CHECK_EQ(pms_sync(&m), PMS_E_OS);
    CHECK_EQ(pms_detail()->sys_errno, EBADF);
    CHECK_EQ(m.counters.syncs, 0);
}

int main(void)
{
    test_flush_counts_every_line_that_it_touches();
    test_every_flush_of_this_cpu_runs();
    test_environment_chooses_the_flush();
    test_medium_that_is_not_direct_is_neither_flushed_nor_fenced();
    test_recorder_sees_stores_before_they_happen();
    test_nt_store_needs_no_flush_whatever_its_shape();
    test_whole_lines_go_past_the_caches_where_the_cpu_says_so();
    test_writes_and_syncs_reach_the_file_and_are_counted();
    test_allocated_range_has_blocks_and_zeroes();
    test_recorder_can_make_any_call_fail();
    test_kernel_errors_come_back_with_their_errno();
    return 0;
}
