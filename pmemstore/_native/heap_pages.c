/* heap_pages.c -- taking pages, spans, the lazy scan of descriptors, statistics.  heap.h is the manual.
 *
 *   file pages:  | scanned: page_avail says what is free | not scanned yet | never used |
 *                heap_start                         scan_page       scan_end   dram_top   size
 */
#include "heap.h"

#include <stdlib.h>

#define SCAN_STEP 4096u /* descriptors looked at before unused space is preferred */
#define DROP_STEP 64    /* empty spans that become pages at once */

/* Pages of a region's own table. */
static uint64_t table_pages(const struct pms_region_pm *region)
{
    return (region->cap_pages * PMS_DESC_BYTES + PMS_PAGE - 1) / PMS_PAGE;
}

/* First page behind `page` (or itself) that is not a descriptor table. */
static uint64_t skip_table(const struct pms_heap *heap, uint64_t page)
{
    for (uint32_t i = 0; i < heap->super->nregions; i++) {
        const struct pms_region_pm *r = &heap->super->regions[i];
        uint64_t first = r->start / PMS_PAGE, tables = table_pages(r);
        if (page >= first && page < first + tables)
            return first + tables;
    }
    return page;
}

/* ---- spans in DRAM ---- */

/* Spans begin at multiples of PMS_SPAN_PAGES. */
struct pms_span *pms_span_find(const struct pms_heap *heap, uint64_t page)
{
    uint64_t i = page / PMS_SPAN_PAGES;
    return i < heap->span_room ? heap->span[i] : NULL;
}

static int span_room(struct pms_heap *heap, uint64_t page)
{
    uint64_t have = heap->span_room, want = heap->super->size / PMS_PAGE / PMS_SPAN_PAGES;
    if (page / PMS_SPAN_PAGES < have)
        return PMS_OK;
    want = want < 2 * have ? 2 * have : want;
    struct pms_span **span = calloc(want, sizeof(struct pms_span *));
    if (!span)
        return PMS_FAIL_NOMEM("look at free blocks", want * sizeof *span);
    if (have)
        memcpy(span, heap->span, have * sizeof *span);
    free(heap->span);
    heap->span = span;
    heap->span_room = want;
    return PMS_OK;
}

void pms_span_link(struct pms_heap *heap, struct pms_span *span)
{
    span->prev = NULL;
    span->next = heap->partial[span->cls];
    if (span->next)
        span->next->prev = span;
    heap->partial[span->cls] = span;
}

void pms_span_emptied(struct pms_heap *heap, struct pms_span *span)
{
    span->prev_empty = NULL;
    span->next_empty = heap->empty;
    if (span->next_empty)
        span->next_empty->prev_empty = span;
    heap->empty = span;
    heap->empty_spans++;
}

void pms_span_used(struct pms_heap *heap, struct pms_span *span)
{
    if (span->prev_empty)
        span->prev_empty->next_empty = span->next_empty;
    else
        heap->empty = span->next_empty;
    if (span->next_empty)
        span->next_empty->prev_empty = span->prev_empty;
    heap->empty_spans--;
}

void pms_span_unlink(struct pms_heap *heap, struct pms_span *span)
{
    if (span->prev)
        span->prev->next = span->next;
    else
        heap->partial[span->cls] = span->next;
    if (span->next)
        span->next->prev = span->prev;
    span->prev = span->next = NULL;
}

/* The bits of a word of a span's bitmap that stand for a block. */
static uint64_t blocks_of_word(uint32_t cls, uint32_t word)
{
    uint32_t left = pms_classes[cls].blocks - word * 64;
    return left >= 64 ? ~0ull : (1ull << left) - 1;
}

struct pms_span *pms_span_load(struct pms_heap *heap, uint64_t page, uint32_t cls)
{
    struct pms_span *span = pms_span_find(heap, page);
    if (span)
        return span;
    pms_heap_put_gathered(heap);
    if (span_room(heap, page) != PMS_OK)
        return NULL;
    span = calloc(1, sizeof *span);
    if (!span)
        return NULL;
    span->page = page;
    span->cls = cls;
    uint32_t blocks = pms_classes[cls].blocks;
    uint64_t bitmap = span->bitmap = pms_desc_off(heap, page) + PMS_DESC_BYTES;
    for (uint32_t w = 0; w * 64 < blocks; w++) {
        span->avail[w] = ~pms_rd(heap->ws, bitmap + w * 8) & blocks_of_word(cls, w);
        span->navail += (uint32_t)__builtin_popcountll(span->avail[w]);
    }
    heap->span[page / PMS_SPAN_PAGES] = span;
    if (span->navail)
        pms_span_link(heap, span);
    if (span->navail == blocks)
        pms_span_emptied(heap, span);
    return span;
}

void pms_span_forget(struct pms_heap *heap, uint64_t page)
{
    struct pms_span *span = pms_span_find(heap, page);
    if (!span) /* there was no memory for it when it was made */
        return;
    heap->span[page / PMS_SPAN_PAGES] = NULL;
    if (span->navail)
        pms_span_unlink(heap, span);
    if (span->navail == pms_classes[span->cls].blocks)
        pms_span_used(heap, span);
    free(span);
}

/* ---- scanning ---- */

/* Look at the descriptor of one head page.  *pages: how many pages it speaks for.  Free ones are available,
 * but for those that are blocked: the caller gives them, many at once. */
static int scan_one(struct pms_heap *heap, uint64_t page, uint64_t *pages, int *available)
{
    uint64_t head = pms_rd(heap->ws, pms_desc_off(heap, page));
    uint32_t cls = PMS_DESC_CLASS(head), kind = PMS_DESC_KIND(head);
    uint64_t room = heap->super->size / PMS_PAGE - page;
    *pages = 1;
    if (kind == PMS_PAGE_FREE) {
        if (head != 0)
            return PMS_FAIL(PMS_E_CORRUPT, "a free page has a descriptor", page * PMS_PAGE, 0,
                            head);
        *available = !(heap->page_blocked[page / 64] >> (page & 63) & 1);
        return PMS_OK;
    }
    *pages = PMS_DESC_PAGES(head);
    if (*pages == 0 || *pages > room)
        return PMS_FAIL(PMS_E_CORRUPT, "a page descriptor has a wrong length", page * PMS_PAGE,
                        room, *pages);
    if (kind == PMS_PAGE_RUN)
        return PMS_OK;
    if ((kind != PMS_PAGE_SPAN && kind != PMS_PAGE_BIGSPAN) || cls >= pms_class_count ||
        pms_classes[cls].pages != *pages || page % *pages ||
        (kind == PMS_PAGE_SPAN) != (*pages == PMS_SPAN_PAGES))
        return PMS_FAIL(PMS_E_CORRUPT, "a page descriptor has an unknown kind or class",
                        page * PMS_PAGE, pms_class_count, head);
    uint64_t bitmap = pms_desc_off(heap, page) + PMS_DESC_BYTES;
    for (uint32_t w = 0; w * 64 < pms_classes[cls].blocks; w++)
        if (~pms_rd(heap->ws, bitmap + w * 8) & blocks_of_word(cls, w))
            return pms_span_load(heap, page, cls)
                       ? PMS_OK
                       : PMS_FAIL_NOMEM("look at free blocks", sizeof(struct pms_span));
    return PMS_OK;
}

int pms_heap_scan(struct pms_heap *heap, uint64_t pages)
{
    uint64_t end =
        heap->scan_end - heap->scan_page > pages ? heap->scan_page + pages : heap->scan_end;
    uint64_t given = heap->scan_page, upto = given; /* available, and not given yet */
    int status = PMS_OK;
    while (heap->scan_page < end) {
        uint64_t page = skip_table(heap, heap->scan_page), n = 0;
        int available = 0;
        if (page == heap->scan_page)
            status = scan_one(heap, page, &n, &available);
        if (status != PMS_OK)
            break;
        page += n;
        if (!available && given < upto)
            pms_pages_give(heap, given, upto - given);
        given = available ? given : page;
        upto = page;
        heap->scan_page = page < heap->scan_end ? page : heap->scan_end;
    }
    if (given < upto)
        pms_pages_give(heap, given, upto - given);
    return status;
}

void pms_scan_behind(struct pms_heap *heap, uint64_t page, uint64_t n)
{
    if (page < heap->scan_page && page + n > heap->scan_page)
        heap->scan_page = page + n < heap->scan_end ? page + n : heap->scan_end;
}

/* ---- taking pages ---- */

void pms_pages_top(struct pms_heap *heap, uint64_t end)
{
    uint64_t at = PMS_ROOT_OFF + offsetof(struct pms_root_pm, top);
    if (end > pms_rd(heap->ws, at))
        pms_wr(heap->ws, at, end);
}

/* Unused pages behind dram_top become available, enough for n at a multiple of align, together with what
 * is available in front of it. */
static int expose(struct pms_heap *heap, uint64_t n, uint64_t align)
{
    uint64_t page = skip_table(heap, heap->dram_top), size = heap->super->size / PMS_PAGE;
    uint64_t before =
        page == heap->dram_top ? pms_pages_before(heap, page, n - 1, heap->borrowing) : 0;
    for (;; page = skip_table(heap, page), before = 0) {
        uint64_t start = (page - before + align - 1) & ~(align - 1), end = start + n;
        if (end > size)
            return PMS_MISSING;
        uint64_t next_table = size;
        for (uint32_t i = 0; i < heap->super->nregions; i++) {
            uint64_t first = heap->super->regions[i].start / PMS_PAGE;
            if (first > page && first < next_table)
                next_table = first;
        }
        uint64_t upto = end <= next_table ? end : next_table;
        pms_pages_give(heap, page, upto - page);
        heap->dram_top = upto;
        if (end <= next_table)
            return PMS_OK;
        page = next_table;
    }
}

/* Spans whose blocks are all available become free pages: a few, so that nobody who wants one pays for
 * all that others have emptied. */
static int drop_empty_spans(struct pms_heap *heap)
{
    for (int n = 0; heap->empty && n < DROP_STEP; n++) {
        struct pms_span *span = heap->empty;
        uint64_t page = span->page, pages = pms_classes[span->cls].pages;
        PMS_TRY(pms_action_add(heap, PMS_ACT_SPAN_DROP, span->cls, page, pages));
        pms_wr(heap->ws, pms_desc_off(heap, page), 0);
        pms_span_forget(heap, page);
        pms_pages_give(heap, page, pages);
        pms_pages_drop(heap, page, pages);
    }
    return PMS_OK;
}

static void count_pages(struct pms_heap *heap, struct pms_heap_stats *out)
{
    uint64_t size = heap->super->size / PMS_PAGE, run = 0, longest = 0;
    for (uint64_t page = heap->super->heap_start / PMS_PAGE; page < size; page++) {
        int free_page = page >= heap->dram_top && skip_table(heap, page) == page;
        if (page < heap->dram_top)
            free_page = heap->page_avail[page / 64] >> (page & 63) & 1;
        run = free_page ? run + 1 : 0;
        longest = run > longest ? run : longest;
        out->free_pages_bytes += free_page ? PMS_PAGE : 0;
        if (page < heap->dram_top && heap->page_blocked[page / 64] >> (page & 63) & 1)
            out->quarantine_bytes += PMS_PAGE;
    }
    out->largest_free = longest * PMS_PAGE;
}

/* Bytes of the longest row of pages that could be handed out now. */
static uint64_t largest_free(struct pms_heap *heap)
{
    struct pms_heap_stats stats = {0};
    count_pages(heap, &stats);
    return stats.largest_free;
}

int pms_pages_take(struct pms_heap *heap, uint64_t n, uint64_t align, uint64_t *page)
{
    int grown = 0, settled = 0, status;
    for (;;) {
        uint64_t found = pms_pages_find(heap, n, align);
        if (found != UINT64_MAX) {
            pms_pages_withdraw(heap, found, n);
            pms_scan_behind(heap, found, n);
            *page = found;
            return PMS_OK;
        }
        uint32_t empty = heap->borrowing ? 0 : heap->empty_spans;
        if (empty > 8 || (grown && empty)) {
            PMS_TRY(drop_empty_spans(heap));
            continue;
        }
        if (heap->scan_page < heap->scan_end) {
            PMS_TRY(pms_heap_scan(heap, SCAN_STEP));
            if (pms_pages_find(heap, n, align) != UINT64_MAX)
                continue;
        }
        status = expose(heap, n, align);
        if (status == PMS_OK)
            continue;
        if (heap->scan_page < heap->scan_end)
            continue;
        if (empty) {
            PMS_TRY(drop_empty_spans(heap));
            continue;
        }
        if (!settled && heap->quar_count && heap->settle) {
            settled = 1;
            heap->settle(heap->settle_context);
            continue;
        }
        heap->starved = 1;
        if (grown || !heap->grow)
            return PMS_FAIL(PMS_E_FULL, "allocate", 0, n * PMS_PAGE, largest_free(heap));
        status = heap->grow(heap->grow_context, n + align);
        if (status == PMS_E_FULL)
            return pms_fail(PMS_E_FULL, __FILE__, __LINE__, "allocate", 0, n * PMS_PAGE,
                            largest_free(heap), pms_detail()->sys_errno);
        PMS_TRY(status);
        heap->starved = 0;
        grown = 1;
    }
}

void pms_span_describe(struct pms_heap *heap, uint64_t page, uint32_t cls)
{
    uint64_t pages = pms_classes[cls].pages;
    uint32_t kind = pages == PMS_SPAN_PAGES ? PMS_PAGE_SPAN : PMS_PAGE_BIGSPAN;
    pms_pages_top(heap, page + pages);
    pms_wr(heap->ws, pms_desc_off(heap, page), PMS_DESC_HEAD(kind, cls, pages));
}

int pms_span_get(struct pms_heap *heap, uint32_t cls)
{
    if (heap->scan_page < heap->scan_end) {
        PMS_TRY(pms_heap_scan(heap, SCAN_STEP));
        if (heap->partial[cls])
            return PMS_OK;
    }
    uint64_t pages = pms_classes[cls].pages, page;
    int status = pms_pages_take(heap, pages, pages, &page);
    if (status != PMS_OK)
        return heap->partial[cls] ? PMS_OK : status; /* settling may have freed a block */
    if (pms_span_find(heap, page)) /* a run that was freed was longer than it could be */
        return PMS_FAIL(PMS_E_CORRUPT, "free pages have a span", page * PMS_PAGE, 0, cls);
    /* The bitmap lies where a free page's descriptors are all zero, or where a dropped span
     * left a bitmap of zeroes: nothing to clear. */
    status = pms_action_add(heap, PMS_ACT_SPAN_NEW, cls, page, pages);
    if (status != PMS_OK) {
        pms_pages_give(heap, page, pages);
        return status;
    }
    pms_span_describe(heap, page, cls);
    struct pms_span *span = pms_span_load(heap, page, cls);
    if (!span)
        return PMS_FAIL_NOMEM("look at free blocks", sizeof *span);
    return span->cls == cls && span->navail == pms_classes[cls].blocks
               ? PMS_OK
               : PMS_FAIL(PMS_E_CORRUPT, "free pages have a bitmap", page * PMS_PAGE,
                          pms_classes[cls].blocks, span->navail);
}

/* ---- log overflow ---- */

int pms_heap_borrow(struct pms_heap *heap, uint64_t pages, uint64_t *off)
{
    uint64_t page;
    heap->borrowing = 1;
    int status = pms_pages_take(heap, pages, 1, &page);
    heap->borrowing = 0;
    if (status == PMS_OK) {
        *off = page * PMS_PAGE;
        pms_pages_block(heap, page, pages); /* no descriptor says so, if they are scanned */
    }
    return status;
}

void pms_heap_return(struct pms_heap *heap, uint64_t off, uint64_t pages)
{
    pms_pages_unblock(heap, off / PMS_PAGE, pages);
    pms_pages_give(heap, off / PMS_PAGE, pages);
}

/* ---- statistics ---- */

static void count_span(struct pms_heap *heap, uint64_t page, uint32_t cls,
                       struct pms_heap_stats *out)
{
    uint64_t bitmap = pms_desc_off(heap, page) + PMS_DESC_BYTES, used = 0;
    uint32_t blocks = pms_classes[cls].blocks, size = pms_classes[cls].size;
    for (uint32_t w = 0; w * 64 < blocks; w++)
        used += (uint64_t)__builtin_popcountll(pms_rd(heap->ws, bitmap + w * 8));
    out->cls[cls].spans++;
    out->cls[cls].used_blocks += used;
    out->cls[cls].free_blocks += blocks - used;
    out->used_bytes += used * size;
    out->span_free_bytes += (blocks - used) * size;
}

int pms_heap_statistics(struct pms_heap *heap, struct pms_heap_stats *out)
{
    memset(out, 0, sizeof *out);
    PMS_TRY(pms_heap_scan(heap, UINT64_MAX));
    uint64_t size = heap->super->size;
    uint64_t end = pms_rd(heap->ws, PMS_ROOT_OFF + offsetof(struct pms_root_pm, top));
    out->heap_bytes = size - heap->super->heap_start;
    for (uint32_t i = 0; i < heap->super->nregions; i++)
        out->table_bytes += table_pages(&heap->super->regions[i]) * PMS_PAGE;
    for (uint32_t c = 0; c < pms_class_count; c++)
        out->cls[c].size = pms_classes[c].size;
    uint64_t page = heap->super->heap_start / PMS_PAGE;
    while (page < end) {
        uint64_t next = skip_table(heap, page), n = 1;
        if (next == page) {
            uint64_t head = pms_rd(heap->ws, pms_desc_off(heap, page));
            uint32_t kind = PMS_DESC_KIND(head);
            n = kind == PMS_PAGE_FREE ? 1 : PMS_DESC_PAGES(head);
            if (n == 0 || n > size / PMS_PAGE - page ||
                (kind != PMS_PAGE_RUN && PMS_DESC_CLASS(head) >= pms_class_count))
                return PMS_FAIL(PMS_E_CORRUPT, "a page descriptor has a wrong length",
                                page * PMS_PAGE, size / PMS_PAGE - page, n);
            if (kind == PMS_PAGE_RUN) {
                out->runs++;
                out->run_bytes += n * PMS_PAGE;
                out->used_bytes += n * PMS_PAGE;
            } else if (kind != PMS_PAGE_FREE) {
                count_span(heap, page, PMS_DESC_CLASS(head), out);
            }
        }
        page = next == page ? page + n : next;
    }
    count_pages(heap, out);
    out->free_bytes = out->free_pages_bytes + out->span_free_bytes;
    return PMS_OK;
}
