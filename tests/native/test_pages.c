/* test_pages.c -- direct media: pages are made writable before they are stored to, few at a time. */
#include <sys/mman.h>

#include "_native/table.h"
#include "pool_fixture.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

static struct {
    uint64_t calls, pages, pages_max; /* max: of one call */
} made;

static void count(uint64_t pages)
{
    made.calls++;
    made.pages += pages;
    made.pages_max = pages > made.pages_max ? pages : made.pages_max;
}

int __real_madvise(void *at, size_t len, int advice);
int __wrap_madvise(void *at, size_t len, int advice);
int __wrap_madvise(void *at, size_t len, int advice)
{
    if (advice == MADV_POPULATE_WRITE)
        count(len / PMS_PAGE);
    return __real_madvise(at, len, advice);
}

int __real_pms_map_share(struct pms_map *map, uint64_t off, uint64_t len);
int __wrap_pms_map_share(struct pms_map *map, uint64_t off, uint64_t len);
int __wrap_pms_map_share(struct pms_map *map, uint64_t off, uint64_t len)
{
    count(len / PMS_PAGE);
    return __real_pms_map_share(map, off, len);
}

static void set(struct fixture *f, uint32_t number, const void *bytes, size_t len)
{
    char name[16];
    snprintf(name, sizeof name, "key %u", number);
    struct pms_key key = fixture_key(name);
    struct pms_val value = {.tag = PMS_TAG_BYTES, .data = bytes, .len = len};
    CHECK_EQ(OP(f->pool, pms_dict_set(f->pool, f->root, &key, &value)), PMS_OK);
}

/* Elsewhere the kernel writes pages back when it likes, and they take faults again.  A look, which
 * makes a piece writable that nobody has needed, comes with time. */
static void make(struct fixture *f, const char *tier)
{
    CHECK_EQ(setenv("PMEMSTORE_FORCE_TIER", tier, 1), 0);
    fixture_make(f, fixture_usable("/dev/shm") ? "/dev/shm" : ".");
    f->pool->watch.slow_ns = 0;
    memset(&made, 0, sizeof made);
}

static const uint8_t contents[300000];

/* One operation after the other, also those that make the file longer: what an operation waits for is
 * a few pieces, whatever the table's size.  On tmpfs what makes the file longer maps all that it adds. */
static void test_pages_come_in_pieces(const char *tier, uint64_t piece)
{
    struct fixture f;
    make(&f, tier);
    int by_reads = pms_map_by_reads(&f.pool->map);
    uint64_t size = f.pool->super.size, most = 0, all, several = 0, added = 0, adds = 0;
    uint32_t puts = 0;
    for (; f.pool->super.size < size + (8u << 20); puts++) {
        uint64_t before = made.pages, had = f.pool->super.size;
        set(&f, puts, contents, 100);
        uint64_t pages = made.pages - before, more = (f.pool->super.size - had) / PMS_PAGE;
        if (by_reads && more) {
            CHECK(pages >= more);
            pages -= more;
            added += more;
            adds++;
        }
        most = pages > most ? pages : most;
        several += pages > piece;
    }
    CHECK_EQ(added, by_reads ? (f.pool->super.size - size) / PMS_PAGE : 0);
    CHECK(several * 1000 < puts);
    CHECK(most <= 12 * PMS_PIECE_PAGES);
    CHECK(made.pages - added >= (made.calls - adds) * piece);
    /* a row of pages: a table's directory */
    CHECK(made.pages - added < (made.calls - adds) * (piece + 1));
    CHECK_EQ(f.pool->tx.write_faults, 0);
    all = made.pages;
    for (uint32_t i = 0; i < 1000; i++)
        set(&f, i, contents, 101); /* pages that units have come to already */
    CHECK(made.pages - all <= 12 * piece);
    fixture_remove(&f);
}

/* Until the ring is ready: how many puts that do not make the file longer wait for two pieces. */
static uint64_t waits_for_two(void)
{
    struct fixture f;
    make(&f, "volatile");
    fixture_close(&f);
    struct pms_options options = {.flag = 'n', .size = 32u << 20, .log_bytes = 16u << 20};
    CHECK_EQ(pms_pool_open(f.path, &options, &f.pool), PMS_OK);
    struct pms_handle *root = NULL;
    CHECK_EQ(pms_pool_root(f.pool, &root), PMS_OK);
    f.root = root->off;
    pms_handle_put(root);
    f.pool->watch.slow_ns = 0;
    set(&f, 0, contents, 100); /* the first of all comes to many */
    uint64_t two = 0, waited = 0;
    for (uint32_t puts = 1; f.pool->tx.ring_ready != UINT64_MAX; puts++) {
        uint64_t before = made.pages, had = f.pool->super.size;
        set(&f, puts, contents, 100);
        waited += made.pages > before;
        two += f.pool->super.size == had && made.pages - before > PMS_PIECE_PAGES;
    }
    CHECK(waited > 400);
    CHECK_EQ(f.pool->tx.write_faults, 0);
    fixture_remove(&f);
    return two;
}

/* The log's head and new blocks come to new pages at the same put now and then: with one ring in one or
 * two puts.  So the ring's are ready a little ahead, by another put. */
static void test_few_puts_wait_for_pages_of_the_ring_and_of_the_heap(void)
{
    uint64_t two = 0;
    for (int i = 0; i < 8; i++)
        two += waits_for_two();
    CHECK(two <= 4); /* those for two pieces of the heap: in one ring of 20 */
}

/* Where a row of pages is needed, a call for each piece would be the dearer way. */
static void test_a_row_of_pages_is_one_call(void)
{
    struct fixture f;
    make(&f, "volatile");
    set(&f, 0, contents, 3);
    memset(&made, 0, sizeof made);
    set(&f, 1, contents, sizeof contents);
    CHECK(made.pages_max >= sizeof contents / PMS_PAGE);
    CHECK(made.pages_max <= sizeof contents / PMS_PAGE + 2 * PMS_PIECE_PAGES);
    CHECK(made.calls < 8);
    CHECK_EQ(f.pool->tx.write_faults, 0);
    fixture_remove(&f);
}

int main(void)
{
    test_pages_come_in_pieces("volatile", PMS_PIECE_PAGES);
    test_pages_come_in_pieces("flush", PMS_PIECE_PAGES);
    test_few_puts_wait_for_pages_of_the_ring_and_of_the_heap();
    test_a_row_of_pages_is_one_call();
    return 0;
}
