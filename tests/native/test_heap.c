/* test_heap.c -- the allocator in pools that are larger than what one look at them sees. */
#include "pool_fixture.h"

#define ROW 36000u
#define ROW_PAGES 9
#define ROWS 3000
#define SCAN_STEP 4096 /* pages that the scan looks at at once */

static uint64_t take(struct fixture *f, uint64_t len)
{
    uint64_t off = 0;
    CHECK_EQ(OP(f->pool, pms_alloc(&f->pool->heap, len, &off)), PMS_OK);
    return off;
}

static void drop(struct fixture *f, uint64_t off)
{
    CHECK_EQ(OP(f->pool, pms_free(&f->pool->heap, off)), PMS_OK);
}

/* So many units end what is in quarantine. */
static void pass_time(struct fixture *f)
{
    for (int i = 0; i < 8; i++)
        drop(f, take(f, 100));
}

/* A pool of rows of pages, opened again, of which the scan has seen some. */
static void make_half_seen(struct fixture *f, uint64_t *row, int rows, uint64_t len)
{
    fixture_make(f, ".");
    for (int i = 0; i < rows; i++)
        row[i] = take(f, len);
    take(f, 100);
    fixture_reopen(f);
    take(f, 100);
    CHECK(f->pool->heap.scan_page < f->pool->heap.scan_end - 3 * SCAN_STEP);
}

/* len bytes, which are in none of these rows. */
static void take_another(struct fixture *f, uint64_t len, const uint64_t *row, int rows,
                         uint64_t row_len)
{
    uint64_t got = take(f, len);
    for (int k = 0; k < rows; k++)
        CHECK(got + len <= row[k] || got >= row[k] + row_len);
}

/* Blocks of all sizes until the scan is at its end. */
static void nobody_gets(struct fixture *f, const uint64_t *row, int rows, uint64_t len)
{
    struct pms_heap *heap = &f->pool->heap;
    for (uint32_t c = 0; c < pms_class_count || heap->scan_page < heap->scan_end; c++)
        take_another(f, pms_classes[c % pms_class_count].size, row, rows, len);
    for (int i = 0; i < 200; i++)
        take_another(f, ROW, row, rows, len);
}

/* What is free on both sides of where the scan stands becomes one block: the scan reads no descriptor
 * from inside it. */
static void test_a_block_across_what_was_scanned(void)
{
    static const char *const tiers[] = {"volatile", "sync"};
    static uint64_t row[ROWS];
    for (int t = 0; t < 2; t++) {
        struct fixture f;
        CHECK_EQ(setenv("PMEMSTORE_FORCE_TIER", tiers[t], 1), 0);
        make_half_seen(&f, row, ROWS, ROW);
        const uint64_t scan_page = f.pool->heap.scan_page;
        for (int k = 0; k < ROWS; k++)
            if (row[k] / PMS_PAGE + ROW_PAGES == scan_page || row[k] / PMS_PAGE == scan_page)
                drop(&f, row[k]);
        pass_time(&f);
        CHECK_EQ(f.pool->heap.scan_page, scan_page);
        uint64_t got = take(&f, 2 * ROW);
        CHECK_EQ(got / PMS_PAGE + ROW_PAGES, scan_page);
        nobody_gets(&f, &got, 1, 2 * ROW);
        fixture_remove(&f);
    }
}

#define LONG_ROW (60 * (uint64_t)PMS_PAGE)
#define LONG_ROWS 450

static void begin_part(struct fixture *f, int part)
{
    uint32_t depth = 0;
    fixture_begin(f->pool);
    if (part)
        CHECK_EQ(pms_tx_begin_wait(f->pool, &depth, -1), PMS_OK);
}

static void undo_part(struct fixture *f, int part)
{
    CHECK_EQ(pms_tx_abort(f->pool, part ? 2 : 1), PMS_OK);
    if (part)
        fixture_commit(f->pool);
}

/* Freed and scanned in part, then a roll-back brings it back: the scan does not go on inside it. */
static void test_a_block_that_comes_back_across_what_was_scanned(void)
{
    static const char *const tiers[] = {"volatile", "sync"};
    static uint64_t row[LONG_ROWS];
    for (int t = 0; t < 4; t++) {
        const int part = t / 2;
        struct fixture f;
        int first = -1, last = 0;
        uint64_t inside = 0;
        CHECK_EQ(setenv("PMEMSTORE_FORCE_TIER", tiers[t % 2], 1), 0);
        make_half_seen(&f, row, LONG_ROWS, LONG_ROW);
        const uint64_t scan_page = f.pool->heap.scan_page;
        for (int k = 10; k < 15; k++) /* for a span, so that no more than a step is scanned */
            drop(&f, row[k]);
        pass_time(&f);
        CHECK_EQ(f.pool->heap.scan_page, scan_page);
        begin_part(&f, part);
        for (int k = 0; k < LONG_ROWS; k++) {
            if (row[k] / PMS_PAGE < scan_page || row[k] / PMS_PAGE > scan_page + SCAN_STEP)
                continue;
            first = first < 0 ? k : first;
            last = k;
            drop(&f, row[k]);
        }
        take(&f, 3000); /* of a class that has no span: one step */
        CHECK_EQ(f.pool->heap.scan_page, scan_page + SCAN_STEP);
        for (int k = 0; k < LONG_ROWS; k++)
            if (row[k] / PMS_PAGE < f.pool->heap.scan_page)
                inside = (row[k] + LONG_ROW) / PMS_PAGE - f.pool->heap.scan_page;
        CHECK(inside > 2 * ROW_PAGES && inside < LONG_ROW / PMS_PAGE); /* not looked at */
        undo_part(&f, part);
        nobody_gets(&f, row + first, last + 1 - first, LONG_ROW);
        fixture_remove(&f);
    }
}

#define BLOCKS 20000
#define BLOCK 1500u

struct got {
    uint64_t off, len;
};

static int by_off(const void *a, const void *b)
{
    const struct got *x = a, *y = b;
    return x->off < y->off ? -1 : x->off > y->off;
}

/* The same of a span that the unit has made pages of. */
static void test_a_span_that_comes_back_across_what_was_scanned(void)
{
    static uint64_t block[BLOCKS];
    static struct got got[BLOCKS + ROWS];
    for (int part = 0; part < 2; part++) {
        struct fixture f;
        struct pms_heap *heap;
        CHECK_EQ(setenv("PMEMSTORE_FORCE_TIER", "volatile", 1), 0);
        fixture_make(&f, ".");
        take(&f, 100);
        for (int i = 0; i < 1000; i++)
            take(&f, ROW);
        for (int i = 0; i < BLOCKS; i++)
            block[i] = take(&f, BLOCK);
        take(&f, ROW);
        fixture_reopen(&f);
        heap = &f.pool->heap;
        /* It stands behind a row, and its next step does not end where a span does. */
        CHECK_EQ(OP(f.pool, pms_heap_scan(heap, 6000)), PMS_OK);
        const uint64_t scan_page = heap->scan_page, target = scan_page + SCAN_STEP;
        CHECK(target % PMS_SPAN_PAGES != 0 && target > block[0] / PMS_PAGE);
        /* Spans that were emptied last are dropped first. */
        for (int near = 0; near < 2; near++)
            for (int i = 0; i < BLOCKS; i++)
                if ((block[i] / PMS_PAGE - target + 256 < 512) == near)
                    drop(&f, block[i]);
        pass_time(&f);
        CHECK_EQ(heap->scan_page, scan_page);
        begin_part(&f, part);
        take(&f, 5 * ROW); /* spans become pages */
        take(&f, 3000);    /* one step */
        CHECK_EQ(heap->scan_page, target);
        CHECK(pms_span_find(heap, target & ~(uint64_t)(PMS_SPAN_PAGES - 1)) == NULL);
        undo_part(&f, part);
        for (int i = 0; i < BLOCKS + ROWS; i++) {
            got[i].len = i < BLOCKS ? BLOCK : ROW;
            got[i].off = take(&f, got[i].len);
        }
        qsort(got, BLOCKS + ROWS, sizeof *got, by_off);
        for (int i = 1; i < BLOCKS + ROWS; i++)
            CHECK(got[i - 1].off + got[i - 1].len <= got[i].off);
        fixture_remove(&f);
    }
}

/* Spans become pages for blocks that are undone: each is held as one, and has all its blocks again. */
static void test_spans_that_come_back_are_whole(void)
{
    static uint64_t block[BLOCKS];
    for (int part = 0; part < 2; part++) {
        struct fixture f;
        CHECK_EQ(setenv("PMEMSTORE_FORCE_TIER", "volatile", 1), 0);
        fixture_make(&f, ".");
        for (int i = 0; i < BLOCKS; i++)
            block[i] = take(&f, BLOCK);
        for (int i = 0; i < BLOCKS; i++)
            drop(&f, block[i]);
        pass_time(&f);
        struct pms_heap *heap = &f.pool->heap;
        const uint32_t empty = heap->empty_spans;
        const uint64_t size = f.pool->super.size;
        begin_part(&f, part);
        for (int i = 0; i < 300; i++)
            take(&f, ROW);
        const uint32_t dropped = empty - heap->empty_spans;
        CHECK(dropped > 100 && f.pool->super.size == size);
        if (part) {
            CHECK_EQ(pms_tx_abort(f.pool, 2), PMS_OK);
            CHECK(heap->held.count > 100 && heap->held.count <= dropped);
            CHECK_EQ(heap->empty_spans + heap->held.count, empty);
            fixture_commit(f.pool);
        } else {
            CHECK_EQ(pms_tx_abort(f.pool, 1), PMS_OK);
        }
        CHECK_EQ(heap->held.count + heap->held_rows.count, 0);
        pass_time(&f);
        CHECK_EQ(heap->empty_spans, empty);
        for (int i = 0; i < BLOCKS; i++)
            take(&f, BLOCK);
        CHECK_EQ(f.pool->super.size, size);
        fixture_remove(&f);
    }
}

/* What is free at the end of what was ever used, and what lies behind it, are one row. */
static void test_the_last_row_grows(void)
{
    struct fixture f;
    CHECK_EQ(setenv("PMEMSTORE_FORCE_TIER", "volatile", 1), 0);
    fixture_make(&f, ".");
    take(&f, 100);
    for (uint64_t len = 10 * ROW, at = 0; len < 140 * ROW; len += 3 * ROW) { /* of one region */
        uint64_t got = take(&f, len);
        uint64_t end = (got + len + PMS_PAGE - 1) / PMS_PAGE;
        CHECK(at == 0 || (got == at && f.pool->heap.dram_top == end));
        at = got;
        drop(&f, got);
        pass_time(&f);
    }
    fixture_remove(&f);
}

/* A part of a transaction that is undone, again and again: it needs its blocks, and no span each time. */
static void test_parts_that_are_undone_share_spans(void)
{
    struct fixture f;
    char name[32];
    CHECK_EQ(setenv("PMEMSTORE_FORCE_TIER", "volatile", 1), 0);
    fixture_make(&f, ".");
    struct pms_val value = {.tag = PMS_TAG_BYTES, .data = (const uint8_t *)"four", .len = 4};
    fixture_begin(f.pool);
    const uint64_t size = f.pool->super.size;
    for (int i = 0; i < 5000; i++) {
        uint32_t depth = 0;
        uint64_t ticket = 0;
        CHECK_EQ(pms_tx_begin_wait(f.pool, &depth, -1), PMS_OK);
        CHECK_EQ(depth, 2);
        snprintf(name, sizeof name, "name %d", i);
        struct pms_key key = fixture_key(name);
        CHECK_EQ(OP(f.pool, pms_dict_set(f.pool, f.root, &key, &value)), PMS_OK);
        if (i % 1000 == 999)
            CHECK_EQ(pms_tx_commit(f.pool, 2, &ticket), PMS_OK);
        else
            CHECK_EQ(pms_tx_abort(f.pool, 2), PMS_OK);
    }
    CHECK(f.pool->super.size <= size + (1u << 20));
    fixture_commit(f.pool);
    fixture_sound(f.pool);
    fixture_reopen(&f);
    fixture_sound(f.pool);
    fixture_remove(&f);
}

/* All is emptied, and who needs pages of another kind turns a few spans into pages, not all of them. */
static void test_emptied_spans_become_pages_a_few_at_a_time(void)
{
    static uint64_t block[20000];
    struct fixture f;
    CHECK_EQ(setenv("PMEMSTORE_FORCE_TIER", "volatile", 1), 0);
    fixture_make(&f, ".");
    for (int i = 0; i < 20000; i++)
        block[i] = take(&f, 1500);
    for (int i = 0; i < 20000; i++)
        drop(&f, block[i]);
    pass_time(&f);
    uint32_t empty = f.pool->heap.empty_spans;
    const uint64_t size = f.pool->super.size;
    CHECK(empty > 400);
    do
        take(&f, 3000);
    while (f.pool->heap.empty_spans >= empty);
    CHECK(f.pool->heap.empty_spans >= empty - 64);
    for (uint32_t i = 0; i < 20 * (empty - 8); i++)
        take(&f, 3000); /* nearly all of it: 21 to a span */
    CHECK_EQ(f.pool->super.size, size);
    fixture_remove(&f);
}

int main(void)
{
    test_a_block_across_what_was_scanned();
    test_a_block_that_comes_back_across_what_was_scanned();
    test_a_span_that_comes_back_across_what_was_scanned();
    test_spans_that_come_back_are_whole();
    test_the_last_row_grows();
    test_parts_that_are_undone_share_spans();
    test_emptied_spans_become_pages_a_few_at_a_time();
    return 0;
}
