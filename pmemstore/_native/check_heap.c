/* check_heap.c -- the check of the heap: every page has one descriptor that makes sense.
 *
 * Walks each region from its table's end to the end of the file.  What a head descriptor says
 * is believed only when all of it is possible (kind, class, length, alignment, room); else the
 * page counts as free and the problem is told.  Blocks of spans and runs are thus disjoint,
 * and "starts at an allocated block" is enough to know that two users never overlap.
 *
 *   C1  pages of tables, free pages, inner pages of runs: descriptors are zero
 *   C2  nothing is allocated at or behind root.top, nor behind the end of the file
 *   C3  a span's bitmap is zero behind its last block
 */
#include <inttypes.h>
#include <stdlib.h>

#include "check_state.h"

static uint64_t page_index(const struct pms_check *c, uint64_t page)
{
    return page - c->heap_start / PMS_PAGE;
}

static void take_block(struct pms_check *c, uint64_t off, uint64_t capacity)
{
    pms_check_bit_set(c->allocated, pms_check_index(c, off));
    c->out->allocated_bytes += capacity;
}

/* Descriptors of pages [from, to) are zero: one problem for each page, where not. */
static void zero_descriptors(struct pms_check *c, const struct pms_region_pm *region,
                             uint64_t from, uint64_t to, const char *what)
{
    for (uint64_t page = from; page < to && !pms_check_over(c); page++) {
        uint64_t desc = region->start + (page - region->start / PMS_PAGE) * PMS_DESC_BYTES;
        uint64_t a = pms_get(c->pool, desc), b = pms_get(c->pool, desc + 8);
        if (a | b)
            pms_check_problem(c,
                              "the descriptor at offset %" PRIu64 " of page %" PRIu64
                              ", %s, is %#" PRIx64 " %#" PRIx64 " instead of zero",
                              desc, page, what, a, b);
    }
}

/* A head that is not zero: is all of it possible?  limit: page that it must not reach. */
static const char *head_fault(uint64_t head, uint64_t page, uint64_t limit)
{
    uint32_t kind = PMS_DESC_KIND(head), cls = PMS_DESC_CLASS(head);
    uint64_t pages = PMS_DESC_PAGES(head);
    if (kind == PMS_PAGE_FREE || kind > PMS_PAGE_RUN)
        return "has an unknown kind";
    if (pages == 0 || pages > limit - page)
        return "has a wrong length";
    if (kind == PMS_PAGE_RUN)
        return cls ? "is a run with a size class" : NULL;
    if (cls >= pms_class_count)
        return "has an unknown size class";
    if (pages != pms_classes[cls].pages ||
        pages != (kind == PMS_PAGE_SPAN ? PMS_SPAN_PAGES : PMS_BIGSPAN_PAGES))
        return "has a length that does not fit its size class";
    return page % pages ? "is a span that is not aligned" : NULL;
}

static void check_span(struct pms_check *c, uint64_t desc, uint64_t page, uint32_t cls)
{
    const struct pms_class *class = &pms_classes[cls];
    uint64_t words = (class->pages - 1) * PMS_DESC_BYTES / 8;
    for (uint64_t i = 0; i < class->pages; i++)
        c->page_kind[page_index(c, page + i)] = (uint8_t)(cls + 1);
    for (uint64_t w = 0; w < words; w++) {
        uint64_t bits = pms_get(c->pool, desc + PMS_DESC_BYTES + 8 * w);
        uint64_t valid = 0, first = w * 64;
        if (first < class->blocks)
            valid = class->blocks - first >= 64 ? ~0ull : (1ull << (class->blocks - first)) - 1;
        if (bits & ~valid)
            pms_check_problem(c,
                              "the span at page %" PRIu64 " has bitmap bits %#" PRIx64
                              " behind its last block, %" PRIu32,
                              page, bits & ~valid, class->blocks - 1);
        for (bits &= valid; bits; bits &= bits - 1) {
            uint64_t block = first + (uint64_t)__builtin_ctzll(bits);
            take_block(c, page * PMS_PAGE + block * class->size, class->size);
        }
    }
}

/* One head, used or free.  Returns the pages that it speaks for. */
static uint64_t check_head(struct pms_check *c, const struct pms_region_pm *region,
                           uint64_t page, uint64_t limit)
{
    uint64_t desc = region->start + (page - region->start / PMS_PAGE) * PMS_DESC_BYTES;
    uint64_t head = pms_get(c->pool, desc), second = pms_get(c->pool, desc + 8);
    uint64_t pages = PMS_DESC_PAGES(head);
    if (second)
        pms_check_problem(c,
                          "the second word of the descriptor of page %" PRIu64 " is %#" PRIx64
                          " instead of zero",
                          page, second);
    if (head == 0)
        return 1;
    const char *fault = head_fault(head, page, limit);
    if (fault) {
        pms_check_problem(c, "the descriptor %#" PRIx64 " of page %" PRIu64 " %s", head, page,
                          fault);
        return 1;
    }
    if (PMS_DESC_KIND(head) == PMS_PAGE_RUN) {
        c->page_kind[page_index(c, page)] = PMS_CHECK_RUN;
        take_block(c, page * PMS_PAGE, pages * PMS_PAGE);
        zero_descriptors(c, region, page + 1, page + pages, "inside a run");
    } else {
        check_span(c, desc, page, PMS_DESC_CLASS(head));
    }
    return pages;
}

static void check_region(struct pms_check *c, const struct pms_region_pm *region, uint64_t top)
{
    uint64_t first = region->start / PMS_PAGE, end = first + region->cap_pages;
    uint64_t tables = (region->cap_pages * PMS_DESC_BYTES + PMS_PAGE - 1) / PMS_PAGE;
    uint64_t size = c->heap_end / PMS_PAGE, limit = end < size ? end : size;
    if (first + tables > limit) {
        pms_check_problem(c,
                          "the table of the region at offset %" PRIu64 " has %" PRIu64
                          " pages, more than the pool",
                          region->start, tables);
        return;
    }
    zero_descriptors(c, region, first, first + tables, "which holds descriptors");
    uint64_t page = first + tables;
    uint64_t used_end = top < limit ? top : limit;
    while (page < used_end && !pms_check_over(c))
        page += check_head(c, region, page, used_end);
    if (page < limit)
        zero_descriptors(c, region, page, limit, "which was never used");
    zero_descriptors(c, region, limit, end, "which the file does not have");
}

int pms_check_heap(struct pms_check *c)
{
    const struct pms_super_pm *super = &c->pool->super;
    uint64_t top = pms_get(c->pool, PMS_ROOT_OFF + offsetof(struct pms_root_pm, top));
    c->heap_start = super->heap_start;
    c->heap_end = super->size;
    uint64_t words = (c->heap_end - c->heap_start) / 16 / 64 + 1;
    c->allocated = calloc(words, 8);
    c->used = calloc(words, 8);
    c->chained = calloc(words, 8);
    c->page_kind = calloc((c->heap_end - c->heap_start) / PMS_PAGE + 1, 1);
    if (!c->allocated || !c->used || !c->chained || !c->page_kind)
        return PMS_FAIL_NOMEM("check the pool", words * 24);
    for (uint32_t i = 0; i < super->nregions && !pms_check_over(c); i++)
        check_region(c, &super->regions[i], top);
    return PMS_OK;
}

/* Capacity of the block whose allocated bit is set at off. */
static uint64_t capacity_at(const struct pms_check *c, uint64_t off)
{
    uint64_t page = off / PMS_PAGE;
    uint32_t kind = c->page_kind[page_index(c, page)];
    if (kind != PMS_CHECK_RUN)
        return pms_classes[kind - 1].size;
    return PMS_DESC_PAGES(pms_get(c->pool, pms_desc_off(&c->pool->heap, page))) * PMS_PAGE;
}

uint64_t pms_check_block(struct pms_check *c, uint64_t off, uint64_t need, const char *what,
                         uint64_t from)
{
    if (off % 16 || off < c->heap_start || off >= c->heap_end) {
        pms_check_problem(c,
                          "offset %" PRIu64 " of %s, found at offset %" PRIu64
                          ", is outside the heap or not aligned",
                          off, what, from);
        return 0;
    }
    if (!pms_check_bit(c->allocated, pms_check_index(c, off))) {
        pms_check_problem(c,
                          "no allocated block starts at offset %" PRIu64
                          ", where offset %" PRIu64 " says that %s is",
                          off, from, what);
        return 0;
    }
    uint64_t capacity = capacity_at(c, off);
    if (capacity < need) {
        pms_check_problem(c,
                          "the block at offset %" PRIu64 " has %" PRIu64 " bytes; %s, found at "
                          "offset %" PRIu64 ", needs %" PRIu64,
                          off, capacity, what, from, need);
        return 0;
    }
    return capacity;
}

uint64_t pms_check_use(struct pms_check *c, uint64_t off, uint64_t need, const char *what,
                       uint64_t from)
{
    uint64_t capacity = pms_check_block(c, off, need, what, from);
    if (!capacity)
        return 0;
    if (pms_check_bit(c->used, pms_check_index(c, off))) {
        pms_check_problem(c,
                          "the block at offset %" PRIu64 " has two users; the second is %s, "
                          "found at offset %" PRIu64,
                          off, what, from);
        return 0;
    }
    pms_check_bit_set(c->used, pms_check_index(c, off));
    c->out->reachable_bytes += capacity;
    return capacity;
}

uint64_t pms_check_unused(struct pms_check *c, uint64_t off, uint64_t *capacity)
{
    uint64_t i = pms_check_index(c, off), end = pms_check_index(c, c->heap_end);
    while (i < end) {
        uint64_t bits = c->allocated[i / 64] & ~c->used[i / 64];
        bits = bits >> i % 64 << i % 64;
        if (bits) {
            uint64_t found =
                c->heap_start + 16 * (i / 64 * 64 + (uint64_t)__builtin_ctzll(bits));
            *capacity = capacity_at(c, found);
            return found;
        }
        i = (i / 64 + 1) * 64;
    }
    return 0;
}
