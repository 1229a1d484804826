/* heap_avail.c -- which pages are available, where to look for a row of them.  heap.h is the manual.
 *
 *   n pages in a row:  | looked at: no such row begins here        | not looked at yet       |
 *                      0                            run_from[class of n]            dram_top
 *
 * Classes are of rows: 1, 2, ... 15, 16 to 17, 18 to 19, ... pages, eight classes each time the length
 * doubles, and one of all that are longest.  A row is found again by whoever wants as many pages, and
 * not passed again by whoever wants more: a page that nobody wants does not make every search as long
 * as the file is.  Spans lie at multiples of their length, and have places of their own to start from.
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

void pms_pages_give(struct pms_heap *heap, uint64_t page, uint64_t n)
{
    bits_set(heap->page_avail, page, n);
    if (page < heap->given_from)
        heap->given_from = page;
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

void pms_pages_drop(struct pms_heap *heap, uint64_t page, uint64_t n)
{
    bits_set(heap->page_dropped, page, n);
}

void pms_pages_undrop(struct pms_heap *heap, uint64_t page, uint64_t n)
{
    bits_clear(heap->page_dropped, page, n);
}

/* 64 pages from a multiple of 64 on: those that may be taken. */
static inline uint64_t takable(const struct pms_heap *heap, uint64_t word)
{
    return heap->page_avail[word] & ~(heap->borrowing ? heap->page_dropped[word] : 0);
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

/* Where a row of the class may begin that has this page, or a later one. */
static uint64_t begins(uint32_t cls, uint64_t page)
{
    uint64_t before = run_least(cls) - 1;
    return page > before ? page - before : 0;
}

/* H6 after pages were given; before, it held.  run_from never falls from class to class, and begins()
 * never rises: so the classes that have to go back are the last ones.  All go back to one place, for
 * where no row begins that is as short as theirs, or shorter, none of theirs does. */
static void look_back(struct pms_heap *heap)
{
    uint64_t page = heap->given_from;
    uint32_t cls = PMS_RUN_CLASSES;
    if (page == UINT64_MAX)
        return;
    heap->given_from = UINT64_MAX;
    while (cls > 1 && heap->run_from[cls - 1] > begins(cls - 1, page))
        cls--;
    uint64_t from = begins(cls, page);
    if (from < heap->run_from[cls - 1])
        from = heap->run_from[cls - 1];
    for (uint32_t i = cls; i < PMS_RUN_CLASSES; i++)
        heap->run_from[i] = from;
    for (int i = 0; i < 2; i++)
        if (heap->span_from[i] > page)
            heap->span_from[i] = page & ~(uint64_t)(PMS_BIGSPAN_PAGES - 1);
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
        uint64_t word = takable(heap, at / 64) >> (at & 63);
        if (word == 0) {
            at = (at | 63) + 1;
            continue;
        }
        at += (uint64_t)__builtin_ctzll(word);
        uint64_t have = 0;
        while (have < n && at + have < end) {
            uint64_t bit = at + have, rest = ~(takable(heap, bit / 64) >> (bit & 63));
            uint64_t in_word = 64 - (bit & 63);
            uint64_t ones = rest ? (uint64_t)__builtin_ctzll(rest) : 64;
            have += ones < in_word ? ones : in_word;
            if (ones < in_word)
                break;
        }
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
        uint64_t word = takable(heap, at / 64) >> (at & 63);
        if ((word & all) == all)
            break;
        at = word == 0 ? (at | 63) + 1 : at + n;
    }
    *from = at;
    return at < end ? at : UINT64_MAX;
}

void pms_pages_look_from(struct pms_heap *heap, uint64_t page)
{
    heap->given_from = UINT64_MAX;
    for (uint32_t i = 0; i < PMS_RUN_CLASSES; i++)
        heap->run_from[i] = page;
    for (int i = 0; i < 2; i++)
        heap->span_from[i] = page & ~(uint64_t)(PMS_BIGSPAN_PAGES - 1);
}

uint64_t pms_pages_find(struct pms_heap *heap, uint64_t n, uint64_t align)
{
    look_back(heap);
    return align == 1 ? find_run(heap, n) : find_span(heap, n);
}
