/* heap_avail.c -- which pages are available, where to look for a row of them.  heap.h is the manual.
 *
 *   n pages in a row:  | looked at: no such row begins here        | not looked at yet       |
 *                      0                            run_from[class of n]            dram_top
 *
 * Classes are of rows: 1, 2, ... 15, 16 to 17, 18 to 19, ... pages, eight classes each time the length
 * doubles, and one of all that are longest.  A row is found again by whoever wants as many pages, and
 * not passed again by whoever wants more: pages that nobody wants do not make every search as long as
 * the file is.  Spans lie at multiples of their length, and have places of their own to start from.
 */
#include "heap.h"

static void bits_set(uint64_t *bits, uint64_t from, uint64_t n)
{
    for (uint64_t i = from; i < from + n;) {
        if ((i & 63) == 0 && from + n - i >= 64) {
            bits[i / 64] = ~0ull;
            i += 64;
        } else {
            bits[i / 64] |= 1ull << (i & 63);
            i++;
        }
    }
}

static void bits_clear(uint64_t *bits, uint64_t from, uint64_t n)
{
    for (uint64_t i = from; i < from + n;) {
        if ((i & 63) == 0 && from + n - i >= 64) {
            bits[i / 64] = 0;
            i += 64;
        } else {
            bits[i / 64] &= ~(1ull << (i & 63));
            i++;
        }
    }
}

void pms_pages_withdraw(struct pms_heap *heap, uint64_t page, uint64_t n)
{
    bits_clear(heap->page_avail, page, n);
}

void pms_pages_block(struct pms_heap *heap, uint64_t page, uint64_t n)
{
    bits_set(heap->page_blocked, page, n);
}

void pms_pages_unblock(struct pms_heap *heap, uint64_t page, uint64_t n)
{
    bits_clear(heap->page_blocked, page, n);
}

uint64_t pms_pages_blocked(const struct pms_heap *heap, uint64_t page, uint64_t n)
{
    uint64_t blocked = 0;
    for (uint64_t i = page; i < page + n; i++)
        blocked += heap->page_blocked[i / 64] >> (i & 63) & 1;
    return blocked;
}

void pms_pages_drop(struct pms_heap *heap, uint64_t page, uint64_t n)
{
    bits_set(heap->page_dropped, page, n);
}

void pms_pages_undrop(struct pms_heap *heap, uint64_t page, uint64_t n)
{
    bits_clear(heap->page_dropped, page, n);
}

/* 64 pages from a multiple of 64 on: those that may be taken. */
static inline uint64_t takable(const struct pms_heap *heap, uint64_t word, int borrowing)
{
    return heap->page_avail[word] & ~(borrowing ? heap->page_dropped[word] : 0);
}

/* ---- where to look ---- */

static uint32_t run_class(uint64_t n)
{
    if (n < 8)
        return (uint32_t)n;
    uint32_t log = 63u - (uint32_t)__builtin_clzll(n);
    uint32_t cls = (log - 2) * 8 + (uint32_t)(n >> (log - 3) & 7);
    return cls < PMS_RUN_CLASSES ? cls : PMS_RUN_CLASSES - 1;
}

/* Pages of the shortest row of a class. */
static uint64_t run_least(uint32_t cls)
{
    return cls < 8 ? cls : (uint64_t)(8 + cls % 8) << (cls / 8 - 1);
}

uint64_t pms_pages_before(const struct pms_heap *heap, uint64_t page, uint64_t most,
                          int borrowing)
{
    uint64_t have = 0;
    while (have < most && have < page) {
        uint64_t bit = page - have - 1, in_word = (bit & 63) + 1;
        uint64_t rest = ~(takable(heap, bit / 64, borrowing) << (64 - in_word));
        uint64_t ones = rest ? (uint64_t)__builtin_clzll(rest) : 64;
        if (ones < in_word)
            return have + ones;
        have += in_word;
    }
    return have;
}

/* The same from `page` on. */
static uint64_t row_from(const struct pms_heap *heap, uint64_t page, uint64_t most,
                         int borrowing)
{
    uint64_t have = 0;
    while (have < most && page + have < heap->dram_top) {
        uint64_t bit = page + have, in_word = 64 - (bit & 63);
        uint64_t rest = ~(takable(heap, bit / 64, borrowing) >> (bit & 63));
        uint64_t ones = rest ? (uint64_t)__builtin_ctzll(rest) : 64;
        if (ones < in_word)
            return have + ones;
        have += in_word;
    }
    return have;
}

/* H6: who wants a row that is no longer than the one with these pages looks there again. */
void pms_pages_give(struct pms_heap *heap, uint64_t page, uint64_t n)
{
    const uint64_t most = run_least(PMS_RUN_CLASSES - 1);
    bits_set(heap->page_avail, page, n);
    uint64_t first = page - pms_pages_before(heap, page, most, 0);
    uint64_t end = page + n + row_from(heap, page + n, most, 0);
    for (uint32_t c = run_class(end - first); c > 0 && heap->run_from[c] > first; c--)
        heap->run_from[c] = first;
    for (int i = 0; i < 2; i++) {
        const uint64_t align = i ? PMS_BIGSPAN_PAGES : PMS_SPAN_PAGES;
        uint64_t from = page < first + align ? first : page - align + 1;
        from = (from + align - 1) & ~(align - 1);
        if (from + align <= end && from < heap->span_from[i])
            heap->span_from[i] = from;
    }
}

static void run_passed(struct pms_heap *heap, uint32_t cls, uint64_t page)
{
    for (; cls < PMS_RUN_CLASSES && heap->run_from[cls] < page; cls++)
        heap->run_from[cls] = page;
}

static uint64_t find_run(struct pms_heap *heap, uint64_t n)
{
    uint32_t cls = run_class(n);
    uint64_t end = heap->dram_top, at = heap->run_from[cls], least = run_least(cls);
    int passing = !heap->borrowing; /* then rows that others may take look shorter */
    while (at < end) {
        uint64_t word = takable(heap, at / 64, heap->borrowing) >> (at & 63);
        if (word == 0) {
            at = (at | 63) + 1;
            continue;
        }
        at += (uint64_t)__builtin_ctzll(word);
        uint64_t have = row_from(heap, at, n, heap->borrowing);
        if (passing && have >= least) {
            run_passed(heap, cls, at);
            passing = 0;
        }
        if (have >= n)
            return at;
        at += have + 1;
    }
    if (passing)
        run_passed(heap, cls, end);
    return UINT64_MAX;
}

/* n: 16 or 64. */
static uint64_t find_span(struct pms_heap *heap, uint64_t n)
{
    uint64_t *from = &heap->span_from[n == PMS_BIGSPAN_PAGES];
    uint64_t end = heap->dram_top, all = ~0ull >> (64 - n), at = *from;
    while (at < end) {
        uint64_t word = takable(heap, at / 64, 0) >> (at & 63);
        if ((word & all) == all)
            break;
        at = word == 0 ? (at | 63) + 1 : at + n;
    }
    *from = at;
    return at < end ? at : UINT64_MAX;
}

void pms_pages_look_from(struct pms_heap *heap, uint64_t page)
{
    for (uint32_t i = 0; i < PMS_RUN_CLASSES; i++)
        heap->run_from[i] = page;
    for (int i = 0; i < 2; i++)
        heap->span_from[i] = page & ~(uint64_t)(PMS_BIGSPAN_PAGES - 1);
}

uint64_t pms_pages_find(struct pms_heap *heap, uint64_t n, uint64_t align)
{
    return align == 1 ? find_run(heap, n) : find_span(heap, n);
}
