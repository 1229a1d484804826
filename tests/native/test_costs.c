/* test_costs.c -- what is not written: work that is right to do and that nobody needs. */
#include <inttypes.h>

#include "_native/table.h"
#include "pool_fixture.h"

static void set(struct fixture *f, const char *name, const void *bytes, size_t len)
{
    struct pms_key key = fixture_key(name);
    struct pms_val value = {.tag = PMS_TAG_BYTES, .data = bytes, .len = len};
    CHECK_EQ(OP(f->pool, pms_dict_set(f->pool, f->root, &key, &value)), PMS_OK);
}

static void del(struct fixture *f, const char *name)
{
    struct pms_key key = fixture_key(name);
    CHECK_EQ(OP(f->pool, pms_dict_del(f->pool, f->root, &key)), PMS_OK);
}

static struct pms_counters counters(const struct fixture *f)
{
    return f->pool->map.medium.counters;
}

/* Bytes of the pool's mapping that are private copies of this process. */
static uint64_t private_bytes(const struct fixture *f)
{
    uint64_t start, end, kib, sum = 0;
    uint64_t base = (uint64_t)(uintptr_t)f->pool->map.medium.base;
    int ours = 0;
    char line[512];
    FILE *smaps = fopen("/proc/self/smaps", "r");
    CHECK(smaps != NULL);
    while (fgets(line, sizeof line, smaps)) {
        if (sscanf(line, "%" SCNx64 "-%" SCNx64 " ", &start, &end) == 2)
            ours = start >= base && end <= base + f->pool->super.size;
        else if (ours && sscanf(line, "Private_Dirty: %" SCNu64, &kib) == 1)
            sum += kib << 10;
    }
    (void)fclose(smaps);
    return sum;
}

static uint8_t contents[300000];

/* A block that a transaction makes and drops again is nobody's: not flushed, not hashed.  Its contents
 * went past the caches when it was filled. */
static void test_what_a_transaction_drops_again_is_not_written_back(void)
{
    static const size_t lengths[] = {30000, sizeof contents}; /* a block, a run of pages */
    CHECK_EQ(setenv("PMEMSTORE_FORCE_TIER", "volatile", 1), 0);
    for (int i = 0; i < 2; i++) {
        struct fixture f;
        fixture_make(&f, ".");
        set(&f, "before", contents, lengths[i]);
        uint64_t lines = counters(&f).flushed_lines;
        fixture_begin(f.pool);
        set(&f, "short", contents, lengths[i]);
        del(&f, "short");
        set(&f, "number", contents, 3);
        fixture_commit(f.pool);
        CHECK(counters(&f).flushed_lines - lines < lengths[i] / PMS_LINE + 64);
        fixture_remove(&f);
    }
}

static void test_what_is_there_already_is_not_stored(void)
{
    static const char *const tiers[] = {"volatile", "sync"};
    for (int i = 0; i < 2; i++) {
        struct fixture f;
        CHECK_EQ(setenv("PMEMSTORE_FORCE_TIER", tiers[i], 1), 0);
        fixture_make(&f, ".");
        set(&f, "key", contents, 3);
        struct pms_counters before = counters(&f);
        set(&f, "key", contents, 3);
        CHECK_EQ(counters(&f).fences, before.fences);
        CHECK_EQ(counters(&f).flushed_lines, before.flushed_lines);
        CHECK_EQ(counters(&f).syncs, before.syncs);
        CHECK_EQ(counters(&f).written_bytes, before.written_bytes);
        fixture_remove(&f);
    }
}

/* Lines written back by so many changes of one value, the frames in the log left out. */
static uint64_t lines_of_changes(struct fixture *f, unsigned n)
{
    const struct pms_log *log = &f->pool->log;
    uint64_t lines = counters(f).flushed_lines, bytes = log->log_bytes_total;
    for (unsigned i = 0; i < n; i++) {
        contents[0]++;
        set(f, "hot", contents, 3);
    }
    return counters(f).flushed_lines - lines - (log->log_bytes_total - bytes) / PMS_LINE;
}

/* A line that every unit changes is written back with every fourth, and before all is at rest. */
static void test_a_hot_line_is_written_back_once_for_some_units(void)
{
    struct fixture f;
    CHECK_EQ(setenv("PMEMSTORE_FORCE_TIER", "volatile", 1), 0);
    fixture_make(&f, ".");
    set(&f, "hot", contents, 3);
    CHECK_EQ(pms_pool_checkpoint(f.pool), PMS_OK);
    CHECK_EQ(lines_of_changes(&f, PMS_REDO_LAG), 0);
    CHECK_EQ(lines_of_changes(&f, 1), 1);
    CHECK_EQ(lines_of_changes(&f, 10 * PMS_REDO_LAG), 10);
    uint64_t lines = counters(&f).flushed_lines;
    CHECK_EQ(pms_pool_checkpoint(f.pool), PMS_OK);
    CHECK_EQ(counters(&f).flushed_lines - lines, 2); /* and the anchor */
    fixture_remove(&f);
}

/* What recovery would read stays short, however long the log is, and the anchor moves seldom. */
static void test_the_anchor_follows(void)
{
    struct fixture f;
    CHECK_EQ(setenv("PMEMSTORE_FORCE_TIER", "volatile", 1), 0);
    fixture_make(&f, ".");
    const struct pms_log *log = &f.pool->log;
    set(&f, "hot", contents, 3);
    CHECK(log->bytes > 16 * PMS_ANCHOR_EVERY);
    CHECK_EQ(pms_pool_checkpoint(f.pool), PMS_OK);
    uint64_t anchors = log->checkpoints, begin = log->head, frame = 0, most = 0;
    while (log->head - begin < 10 * PMS_ANCHOR_EVERY) {
        uint64_t before = log->head;
        contents[0]++;
        set(&f, "hot", contents, 3);
        frame = log->head - before;
        most = log->head - log->dur_pos > most ? log->head - log->dur_pos : most;
    }
    CHECK(most > PMS_ANCHOR_EVERY);
    CHECK(most <= PMS_ANCHOR_EVERY + 2 * frame); /* one more until the next fence */
    CHECK_EQ(log->checkpoints - anchors, 10);
    fixture_remove(&f);
}

/* A checkpoint writes the pages that have changed since the last one, and drops their copies. */
static void test_a_checkpoint_writes_what_has_changed_since_the_last(void)
{
    struct fixture f;
    CHECK_EQ(setenv("PMEMSTORE_FORCE_TIER", "sync", 1), 0);
    fixture_make(&f, ".");
    char name[16];
    fixture_begin(f.pool);
    for (int i = 0; i < 300; i++) {
        snprintf(name, sizeof name, "key %d", i);
        set(&f, name, contents, 1000);
    }
    fixture_commit(f.pool);
    CHECK_EQ(pms_pool_checkpoint(f.pool), PMS_OK);
    CHECK(private_bytes(&f) < 65536);
    uint64_t written = counters(&f).written_bytes;
    set(&f, "key 7", contents, 3);
    CHECK_EQ(pms_pool_checkpoint(f.pool), PMS_OK);
    CHECK(counters(&f).written_bytes - written < 65536);
    fixture_remove(&f);
}

int main(void)
{
    test_what_a_transaction_drops_again_is_not_written_back();
    test_what_is_there_already_is_not_stored();
    test_a_hot_line_is_written_back_once_for_some_units();
    test_the_anchor_follows();
    test_a_checkpoint_writes_what_has_changed_since_the_last();
    return 0;
}
