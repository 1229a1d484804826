/* test_avail.c -- rows of available pages: the first one is found, and short ones are passed once. */
#include "_native/heap.h"
#include "check.h"

#define PAGES 3000u

struct world {
    struct pms_super_pm super;
    struct pms_wset ws;
    struct pms_heap heap;
};

/* A heap of which pages alone are looked at. */
static void make(struct world *w, uint64_t pages)
{
    memset(w, 0, sizeof *w);
    w->super.size = pages * PMS_PAGE;
    w->heap.ws = &w->ws;
    w->heap.super = &w->super;
    w->heap.dram_top = pages;
    pms_pages_look_from(&w->heap, 0);
    CHECK_EQ(pms_heap_grown(&w->heap), PMS_OK);
}

static uint32_t dice_state = 1;
static uint32_t dice(uint32_t n)
{
    dice_state = dice_state * 1664525u + 1013904223u;
    return (uint32_t)((uint64_t)dice_state * n >> 32);
}

/* The first row as whoever knows nothing finds it. */
static uint64_t first_row(const uint8_t *taken, const uint8_t *dropped, uint64_t n,
                          uint64_t align, int borrowing)
{
    for (uint64_t at = 0; at + n <= PAGES; at += align) {
        uint64_t have = 0;
        while (have < n && !taken[at + have] && !(borrowing && dropped[at + have]))
            have++;
        if (have == n)
            return at;
    }
    return UINT64_MAX;
}

static void set_all(uint8_t *pages, uint64_t at, uint64_t n, uint8_t to)
{
    memset(pages + at, to, n);
}

/* Rows of all lengths come and go; from time to time nearly all are free, or nearly none. */
static void test_the_first_row_is_found(void)
{
    static const uint64_t longest[] = {4, 12, 40, 300};
    static uint8_t taken[PAGES], dropped[PAGES];
    static struct world w;
    make(&w, PAGES);
    set_all(taken, 0, PAGES, 1);
    uint64_t found = 0, missed = 0;
    for (int round = 0; round < 60000; round++) {
        uint64_t most = longest[round / 5000 % 4];
        int full = round / 1000 % 2; /* take more than is given, then less */
        if (dice(10) < (full ? 7u : 3u)) {
            uint64_t kind = dice(4), n = kind == 0   ? 16
                                         : kind == 1 ? 64
                                                     : 1 + dice((uint32_t)most);
            uint64_t align = kind < 2 ? n : 1;
            w.heap.borrowing = align == 1 && dice(4) == 0;
            uint64_t want = first_row(taken, dropped, n, align, w.heap.borrowing);
            uint64_t at = pms_pages_find(&w.heap, n, align);
            w.heap.borrowing = 0;
            CHECK_EQ(at, want);
            missed += at == UINT64_MAX;
            if (at == UINT64_MAX)
                continue;
            found++;
            pms_pages_withdraw(&w.heap, at, n);
            set_all(taken, at, n, 1);
        } else { /* give a row back that is taken */
            uint64_t at = dice(PAGES), n = 0, wanted = 1 + dice((uint32_t)most);
            while (n < wanted && at + n < PAGES && taken[at + n])
                n++;
            pms_pages_give(&w.heap, at, n);
            set_all(taken, at, n, 0);
            set_all(dropped, at, n, dice(5) == 0);
            if (n && dropped[at])
                pms_pages_drop(&w.heap, at, n);
            else
                pms_pages_undrop(&w.heap, at, n);
        }
    }
    CHECK(found > 10000 && missed > 100);
    pms_heap_free(&w.heap);
}

/* Pages that nobody wants lie at the beginning of a large file: they are passed once. */
static void test_no_search_is_as_long_as_the_file(void)
{
    static struct world w;
    const uint64_t pages = 1u << 20, lone = 100;
    make(&w, pages);
    for (uint64_t i = 0; i < 200; i++)
        pms_pages_give(&w.heap, lone + 16 * i, 8);
    uint64_t at = pages / 2;
    pms_pages_give(&w.heap, at, 16);
    CHECK_EQ(pms_pages_find(&w.heap, 16, 16), at);
    CHECK_EQ(w.heap.span_from[0], at);
    CHECK_EQ(pms_pages_find(&w.heap, 10, 1), at);
    for (uint32_t i = 10; i < PMS_RUN_CLASSES; i++)
        CHECK_EQ(w.heap.run_from[i], at);
    CHECK_EQ(pms_pages_find(&w.heap, 8, 1), lone);
    /* What becomes free behind, or is too short, sends nobody back. */
    pms_pages_withdraw(&w.heap, at, 16);
    pms_pages_give(&w.heap, at + 64, 16);
    CHECK_EQ(pms_pages_find(&w.heap, 16, 16), at + 64);
    CHECK_EQ(pms_pages_find(&w.heap, 10, 1), at + 64);
    CHECK_EQ(w.heap.run_from[10], at + 64);
    pms_pages_give(&w.heap, lone + 10000, 9);
    CHECK_EQ(w.heap.run_from[10], at + 64);
    CHECK_EQ(w.heap.span_from[0], at + 64);
    /* What becomes free before is found. */
    pms_pages_give(&w.heap, lone + 8, 8);
    CHECK_EQ(pms_pages_find(&w.heap, 10, 1), lone);
    CHECK_EQ(pms_pages_find(&w.heap, 16, 1), lone);
    pms_heap_free(&w.heap);
}

int main(void)
{
    test_the_first_row_is_found();
    test_no_search_is_as_long_as_the_file();
    return 0;
}
