/* heap.c -- blocks: size classes, allocation, free, quarantine, undo.  heap.h is the manual;
 * pages, spans and scanning are in heap_pages.c. */
#include "heap.h"

#include <stdlib.h>

/* {bytes, blocks, pages of a span}.  Above 128 bytes a request wastes at most 11.2 % of its
 * block; up to 1024 bytes eight classes per doubling, above that the sizes that divide a span
 * without a rest. */
const struct pms_class pms_classes[] = {
    {32, 1920, 16},  {48, 1365, 16},  {64, 1024, 16},  {80, 819, 16},   {96, 682, 16},
    {112, 585, 16},  {128, 512, 16},  {144, 455, 16},  {160, 409, 16},  {176, 372, 16},
    {192, 341, 16},  {208, 315, 16},  {224, 292, 16},  {240, 273, 16},  {256, 256, 16},
    {288, 227, 16},  {320, 204, 16},  {352, 186, 16},  {384, 170, 16},  {416, 157, 16},
    {448, 146, 16},  {480, 136, 16},  {512, 128, 16},  {576, 113, 16},  {640, 102, 16},
    {704, 93, 16},   {768, 85, 16},   {832, 78, 16},   {896, 73, 16},   {960, 68, 16},
    {1024, 64, 16},  {1040, 63, 16},  {1104, 59, 16},  {1232, 53, 16},  {1360, 48, 16},
    {1520, 43, 16},  {1712, 38, 16},  {1920, 34, 16},  {2112, 31, 16},  {2336, 28, 16},
    {2608, 25, 16},  {2848, 23, 16},  {3120, 21, 16},  {3440, 19, 16},  {3840, 17, 16},
    {4096, 16, 16},  {4368, 15, 16},  {4672, 14, 16},  {5040, 13, 16},  {5456, 12, 16},
    {5952, 11, 16},  {6544, 10, 16},  {7280, 9, 16},   {8192, 8, 16},   {8448, 31, 64},
    {9344, 28, 64},  {10432, 25, 64}, {11392, 23, 64}, {12480, 21, 64}, {13760, 19, 64},
    {15360, 17, 64}, {16384, 16, 64}, {17472, 15, 64}, {18688, 14, 64}, {20160, 13, 64},
    {21824, 12, 64}, {23808, 11, 64}, {26176, 10, 64}, {29120, 9, 64},  {32768, 8, 64},
};
const uint32_t pms_class_count = sizeof pms_classes / sizeof pms_classes[0];
static_assert(sizeof pms_classes / sizeof pms_classes[0] <= PMS_CLASSES, "arrays by class");

static uint32_t class_for(uint64_t len)
{
    uint32_t lo = 0, hi = pms_class_count - 1;
    while (lo < hi) {
        uint32_t mid = (lo + hi) / 2;
        if (pms_classes[mid].size < len)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

/* class_for() of up to 1 KiB, in steps of 16 bytes. */
static const uint8_t small_class[65] = {
    0,  0,  0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15, 15, 16, 16, 17,
    17, 18, 18, 19, 19, 20, 20, 21, 21, 22, 22, 23, 23, 23, 23, 24, 24, 24, 24, 25, 25, 25,
    25, 26, 26, 26, 26, 27, 27, 27, 27, 28, 28, 28, 28, 29, 29, 29, 29, 30, 30, 30, 30,
};

static inline uint32_t class_of(uint64_t len)
{
    return len <= 1024 ? small_class[(len + 15) / 16] : class_for(len);
}

uint64_t pms_heap_capacity(uint64_t len)
{
    if (len > PMS_SMALL_MAX)
        return (len + PMS_PAGE - 1) & ~(uint64_t)(PMS_PAGE - 1);
    return pms_classes[class_of(len)].size;
}

int pms_heap_init(struct pms_heap *heap, struct pms_wset *ws, const struct pms_super_pm *super)
{
    *heap = (struct pms_heap){.ws = ws, .super = super, .ready_round = 1};
    uint64_t top = pms_rd(ws, PMS_ROOT_OFF + offsetof(struct pms_root_pm, top));
    if (top < super->heap_start / PMS_PAGE || top > super->size / PMS_PAGE)
        return PMS_FAIL(PMS_E_CORRUPT, "the heap's high-water mark is outside the pool",
                        PMS_ROOT_OFF, super->size / PMS_PAGE, top);
    heap->scan_page = super->heap_start / PMS_PAGE;
    heap->scan_end = top;
    heap->dram_top = top;
    pms_pages_look_from(heap, heap->scan_page);
    return pms_heap_grown(heap);
}

#define PAGE_MAPS 3u /* page_avail, the first, page_blocked and page_dropped */

int pms_heap_grown(struct pms_heap *heap)
{
    uint64_t words = heap->super->size / PMS_PAGE / 64 + 1;
    if (words <= heap->page_words)
        return PMS_OK;
    if (words < 2 * heap->page_words) /* so that not each growth copies the maps */
        words = 2 * heap->page_words;
    uint64_t *bits[PAGE_MAPS] = {heap->page_avail, heap->page_blocked, heap->page_dropped};
    PMS_TRY(pms_bits_grow(bits, PAGE_MAPS, heap->page_words, words));
    heap->page_avail = bits[0];
    heap->page_blocked = bits[1];
    heap->page_dropped = bits[2];
    heap->page_words = words;
    return PMS_OK;
}

void pms_heap_free(struct pms_heap *heap)
{
    for (uint64_t i = 0; i < heap->span_room; i++)
        free(heap->span[i]);
    free(heap->span);
    pms_bits_free(heap->page_avail, PAGE_MAPS, heap->page_words);
    free(heap->action);
    free(heap->quar);
    free(heap->held.entry);
    free(heap->held_rows.entry);
    *heap = (struct pms_heap){0};
}

int pms_action_reserve(struct pms_heap *heap)
{
    size_t room = heap->action_room ? heap->action_room * 2 : 64;
    struct pms_action *action = realloc(heap->action, room * sizeof *action);
    if (!action)
        return PMS_FAIL_NOMEM("remember what is allocated", room * sizeof *action);
    heap->action = action;
    heap->action_room = room;
    return PMS_OK;
}

/* ---- bits of a span ---- */

static inline uint64_t bitmap_off(const struct pms_heap *heap, uint64_t page)
{
    return pms_desc_off(heap, page) + PMS_DESC_BYTES;
}

static inline int bit_get(const uint64_t *bits, uint32_t i)
{
    return bits[i / 64] >> i % 64 & 1;
}
static inline void bit_set(uint64_t *bits, uint32_t i) { bits[i / 64] |= 1ull << i % 64; }
static inline void bit_clear(uint64_t *bits, uint32_t i) { bits[i / 64] &= ~(1ull << i % 64); }

static void span_offer(struct pms_heap *heap, struct pms_span *span, uint32_t block)
{
    if (bit_get(span->avail, block))
        return;
    bit_set(span->avail, block);
    if (block / 64 < span->first)
        span->first = block / 64;
    if (span->navail++ == 0)
        pms_span_link(heap, span);
    if (span->navail == pms_classes[span->cls].blocks)
        pms_span_emptied(heap, span);
}

static void span_withdraw(struct pms_heap *heap, struct pms_span *span, uint32_t block)
{
    if (!bit_get(span->avail, block))
        return;
    if (span->navail == pms_classes[span->cls].blocks)
        pms_span_used(heap, span);
    bit_clear(span->avail, block);
    if (--span->navail == 0)
        pms_span_unlink(heap, span);
}

/* The first available block of a span that has one. */
static uint32_t span_first(struct pms_span *span)
{
    while (!span->avail[span->first])
        span->first++;
    return span->first * 64 + (uint32_t)__builtin_ctzll(span->avail[span->first]);
}

/* ---- where a block lies ---- */

struct place {
    uint32_t kind; /* PMS_PAGE_SPAN, BIGSPAN, RUN */
    uint32_t cls;
    uint32_t block;
    uint64_t page;         /* head */
    uint64_t capacity;     /* bytes */
    struct pms_span *span; /* its DRAM state; NULL: a run, or nobody has looked at it yet */
};

static int inside_span(uint64_t off, uint64_t head_page, uint32_t cls, struct place *out)
{
    uint64_t inside = off - head_page * PMS_PAGE;
    uint32_t size = pms_classes[cls].size, kind = PMS_PAGE_SPAN;
    if (inside % size || inside / size >= pms_classes[cls].blocks)
        return PMS_FAIL(PMS_E_CORRUPT, "an offset points into the middle of a block", off, size,
                        inside % size);
    if (pms_classes[cls].pages != PMS_SPAN_PAGES)
        kind = PMS_PAGE_BIGSPAN;
    *out = (struct place){kind, cls, (uint32_t)(inside / size), head_page, size, NULL};
    return PMS_OK;
}

/* The DRAM state of the span that a page is of, if it has been looked at: then its descriptor has
 * been checked, and changes with it alone. */
static inline struct pms_span *span_of(const struct pms_heap *heap, uint64_t page)
{
    uint64_t i = page / PMS_SPAN_PAGES,
             big = i & ~(uint64_t)(PMS_BIGSPAN_PAGES / PMS_SPAN_PAGES - 1);
    if (PMS_UNLIKELY(i >= heap->span_room))
        return NULL;
    struct pms_span *span = heap->span[i];
    if (PMS_LIKELY(span != NULL))
        return span;
    span = heap->span[big];
    return span && pms_classes[span->cls].pages == PMS_BIGSPAN_PAGES ? span : NULL;
}

static int locate_cold(const struct pms_heap *heap, uint64_t off, struct place *out);

static inline int locate(const struct pms_heap *heap, uint64_t off, struct place *out)
{
    struct pms_span *span = span_of(heap, off / PMS_PAGE);
    if (PMS_UNLIKELY(span == NULL))
        return locate_cold(heap, off, out);
    PMS_TRY(inside_span(off, span->page, span->cls, out));
    out->span = span;
    return PMS_OK;
}

/* A span's head is found by alignment; docs/format.md, "Heap", says why that is never
 * ambiguous. */
static int locate_cold(const struct pms_heap *heap, uint64_t off, struct place *out)
{
    static const uint64_t mask[2] = {PMS_BIGSPAN_PAGES - 1, PMS_SPAN_PAGES - 1};
    uint64_t page = off / PMS_PAGE;
    if (!pms_off_ok(heap, off, 16) || (off & 15u))
        return PMS_FAIL(PMS_E_CORRUPT, "an offset points outside the heap", off,
                        heap->super->size, off);
    for (int i = 0; i < 2; i++) {
        uint64_t head_page = page & ~mask[i];
        uint64_t desc = pms_desc_off(heap, head_page);
        uint64_t head = desc ? pms_rd(heap->ws, desc) : 0;
        uint32_t kind = i ? PMS_PAGE_SPAN : PMS_PAGE_BIGSPAN;
        if (PMS_DESC_KIND(head) != kind)
            continue;
        uint32_t cls = PMS_DESC_CLASS(head);
        if (cls >= pms_class_count || pms_classes[cls].pages != mask[i] + 1)
            return PMS_FAIL(PMS_E_CORRUPT, "a span has an unknown size class",
                            head_page * PMS_PAGE, pms_class_count, cls);
        return inside_span(off, head_page, cls, out);
    }
    uint64_t desc = pms_desc_off(heap, page);
    uint64_t head = desc ? pms_rd(heap->ws, desc) : 0;
    if (PMS_DESC_KIND(head) != PMS_PAGE_RUN || off % PMS_PAGE)
        return PMS_FAIL(PMS_E_CORRUPT, "an offset points to no allocated block", off,
                        PMS_PAGE_RUN, PMS_DESC_KIND(head));
    uint64_t pages = PMS_DESC_PAGES(head);
    if (pages == 0 || pages > heap->super->size / PMS_PAGE - page)
        return PMS_FAIL(PMS_E_CORRUPT, "a run of pages is longer than the pool", off,
                        heap->super->size / PMS_PAGE, pages);
    *out = (struct place){PMS_PAGE_RUN, 0, 0, page, pages * PMS_PAGE, NULL};
    return PMS_OK;
}

int pms_block(struct pms_heap *heap, uint64_t off, uint64_t *capacity)
{
    struct place at;
    pms_heap_put_gathered(heap);
    PMS_TRY(locate(heap, off, &at));
    if (at.kind != PMS_PAGE_RUN) {
        uint64_t bitmap = at.span ? at.span->bitmap : bitmap_off(heap, at.page);
        uint64_t word = pms_rd(heap->ws, bitmap + at.block / 64 * 8);
        if (!(word >> at.block % 64 & 1))
            return PMS_FAIL(PMS_E_CORRUPT, "an offset points to a free block", off, at.capacity,
                            0);
    }
    *capacity = at.capacity;
    return PMS_OK;
}

/* ---- allocate ---- */

/* The pieces of a span that a block lies in.  Blocks are handed out from the first one on, so the next
 * ones come to the same pieces, which is what `ready_from` and `ready_len` say. */
static void span_ready(struct pms_heap *heap, struct pms_span *span, uint32_t block)
{
    uint32_t size = pms_classes[span->cls].size, piece = heap->ready_pages * PMS_PAGE;
    uint32_t from = block * size / piece * piece,
             to = (block * size + size - 1) / piece * piece + piece;
    span->ready = heap->ready_round;
    span->ready_from = (from + size - 1) / size;
    span->ready_len = to / size - span->ready_from;
    heap->ready(heap->settle_context, span->page * PMS_PAGE + from, to - from);
}

static inline bool span_is_ready(const struct pms_heap *heap, const struct pms_span *span,
                                 uint32_t block)
{
    return (span->ready == heap->ready_round && block - span->ready_from < span->ready_len) ||
           !heap->ready;
}

static int alloc_run(struct pms_heap *heap, uint64_t len, uint64_t *off)
{
    uint64_t pages = (len + PMS_PAGE - 1) / PMS_PAGE, page;
    PMS_TRY(pms_pages_take(heap, pages, 1, &page));
    int status = pms_action_add(heap, PMS_ACT_RUN_ALLOC, 0, page, pages);
    if (status != PMS_OK) {
        pms_pages_give(heap, page, pages);
        return status;
    }
    pms_pages_top(heap, page + pages);
    pms_wr(heap->ws, pms_desc_off(heap, page), PMS_DESC_HEAD(PMS_PAGE_RUN, 0, pages));
    *off = page * PMS_PAGE;
    pms_fresh_add(heap->ws, *off, pages * PMS_PAGE);
    if (heap->ready)
        heap->ready(heap->settle_context, *off, pages * PMS_PAGE);
    return PMS_OK;
}

static inline void gather(struct pms_heap *heap, uint64_t at, uint64_t word)
{
    if (at != heap->gathered_at)
        pms_heap_put_gathered(heap);
    heap->gathered_at = at;
    heap->gathered = word;
}

/* The block behind the one that is handed out is mostly the next one, and in no cache: so much of it is
 * asked for (on a Xeon a put costs 3 % less). */
#define BLOCK_AHEAD 256u

int pms_alloc(struct pms_heap *heap, uint64_t len, uint64_t *off)
{
    if (len > PMS_SMALL_MAX)
        return len > PMS_POOL_MAX ? PMS_FAIL(PMS_E_FULL, "allocate", 0, len, heap->super->limit)
                                  : alloc_run(heap, len, off);
    uint32_t cls = class_of(len);
    if (PMS_UNLIKELY(!heap->partial[cls]))
        PMS_TRY(pms_span_get(heap, cls));
    struct pms_span *span = heap->partial[cls];
    uint32_t block = span_first(span), size = pms_classes[cls].size;
    uint64_t at = span->bitmap + block / 64 * 8, bit = 1ull << block % 64;
    uint64_t word = at == heap->gathered_at ? heap->gathered : pms_rd(heap->ws, at);
    if (word & bit)
        return PMS_FAIL(PMS_E_CORRUPT, "a block is allocated that was seen free",
                        span->page * PMS_PAGE + (uint64_t)block * size, 0, word);
    *off = span->page * PMS_PAGE + (uint64_t)block * size;
    if (PMS_UNLIKELY(!span_is_ready(heap, span, block)))
        span_ready(heap, span, block);
    PMS_TRY(pms_action_add(heap, PMS_ACT_ALLOC, cls, *off, block));
    span_withdraw(heap, span, block);
    bit_set(span->young, block);
    if (heap->gathering)
        gather(heap, at, word | bit);
    else
        pms_wr(heap->ws, at, word | bit);
    pms_fresh_add(heap->ws, *off, size);
    pms_store_ahead(heap->ws->medium, *off + size, size < BLOCK_AHEAD ? size : BLOCK_AHEAD);
    return PMS_OK;
}

int pms_heap_has_spare(const struct pms_heap *heap, uint64_t len)
{
    if (len > PMS_SMALL_MAX)
        return 0;
    uint32_t cls = class_of(len);
    const struct pms_span *span = heap->partial[cls];
    return span && span->navail >= 2 && span->navail < pms_classes[cls].blocks;
}

/* ---- free ---- */

static int free_run(struct pms_heap *heap, uint64_t off, const struct place *at)
{
    uint64_t pages = at->capacity / PMS_PAGE;
    uint32_t fresh = pms_fresh_find(heap->ws, off) != NULL;
    PMS_TRY(pms_action_add(heap, PMS_ACT_RUN_FREE, fresh, at->page, pages));
    pms_pages_block(heap, at->page, pages);
    pms_wr(heap->ws, pms_desc_off(heap, at->page), 0);
    pms_fresh_remove(heap->ws, off, at->capacity);
    return PMS_OK;
}

int pms_free(struct pms_heap *heap, uint64_t off)
{
    struct place at;
    pms_heap_put_gathered(heap);
    PMS_TRY(locate(heap, off, &at));
    if (at.kind == PMS_PAGE_RUN) {
        PMS_TRY(free_run(heap, off, &at));
    } else {
        /* The DRAM state must be read before the bit changes: see H1, H2. */
        struct pms_span *span = at.span ? at.span : pms_span_load(heap, at.page, at.cls);
        if (PMS_UNLIKELY(!span))
            return PMS_FAIL_NOMEM("look at free blocks", sizeof *span);
        uint64_t word_off = span->bitmap + at.block / 64 * 8;
        uint64_t word = pms_rd(heap->ws, word_off), bit = 1ull << at.block % 64;
        if (!(word & bit))
            return PMS_FAIL(PMS_E_CORRUPT, "a block is freed twice", off, at.capacity, 0);
        PMS_TRY(pms_action_add(heap, PMS_ACT_FREE, at.cls, off, at.block));
        pms_wr(heap->ws, word_off, word & ~bit);
        if (bit_get(span->young, at.block))
            pms_fresh_remove(heap->ws, off, at.capacity);
    }
    return PMS_OK;
}

/* ---- units ---- */

static uint64_t span_page_of(uint64_t off, uint32_t cls)
{
    return off / PMS_PAGE & ~(uint64_t)(pms_classes[cls].pages - 1);
}

/* Never handed out again until the pool is reopened, if there is no memory for it. */
static void hold(struct pms_held *held, uint64_t off, uint64_t len)
{
    if (held->count == held->room) {
        size_t room = held->room ? held->room * 2 : 64;
        struct pms_quarantined *entry = realloc(held->entry, room * sizeof *entry);
        if (!entry)
            return;
        held->entry = entry;
        held->room = room;
    }
    held->entry[held->count++] = (struct pms_quarantined){0, off, len};
}

static void hold_row(struct pms_heap *heap, uint64_t page, uint64_t n)
{
    pms_pages_block(heap, page, n);
    hold(&heap->held_rows, page * PMS_PAGE, n);
}

/* Take pages [page, page + n) out of what is held; the rest of a row stays.  Were there any?  What was
 * undone last lay there, so it is looked for from the end. */
static int unhold_pages(struct pms_heap *heap, uint64_t page, uint64_t n)
{
    struct pms_held *rows = &heap->held_rows;
    uint64_t left = pms_pages_blocked(heap, page, n);
    int found = left != 0;
    for (size_t i = rows->count; left && i-- > 0;) {
        uint64_t first = rows->entry[i].off / PMS_PAGE, end = first + rows->entry[i].len;
        if (end <= page || first >= page + n)
            continue;
        rows->entry[i] = rows->entry[--rows->count];
        pms_pages_unblock(heap, first, end - first);
        if (first < page)
            hold_row(heap, first, page - first);
        if (end > page + n)
            hold_row(heap, page + n, end - page - n);
        left = pms_pages_blocked(heap, page, n);
    }
    pms_pages_unblock(heap, page, n); /* rows that there was no memory for */
    return found;
}

/* The span is back.  If something made of its pages was undone just now, these are held: now it is. */
static void undo_span_drop(struct pms_heap *heap, const struct pms_action *a)
{
    int held = unhold_pages(heap, a->off, a->len);
    pms_pages_withdraw(heap, a->off, a->len);
    pms_pages_undrop(heap, a->off, a->len);
    pms_scan_behind(heap, a->off, a->len);
    /* NULL: there is no memory for it; the unit's end tries again. */
    struct pms_span *span = pms_span_load(heap, a->off, a->cls);
    for (uint32_t b = 0; held && span && b < pms_classes[a->cls].blocks; b++)
        span_withdraw(heap, span, b);
    if (held || !span)
        hold(&heap->held, a->off * PMS_PAGE, PMS_WHOLE_SPAN);
}

static void undo_action(struct pms_heap *heap, const struct pms_action *a)
{
    struct pms_span *span; /* NULL: there was no memory to load it again */
    switch (a->kind) {
    case PMS_ACT_ALLOC:
        span = pms_span_find(heap, span_page_of(a->off, a->cls));
        if (span)
            bit_clear(span->young, (uint32_t)a->len);
        hold(&heap->held, a->off, PMS_ONE_BLOCK);
        pms_fresh_remove(heap->ws, a->off, pms_classes[a->cls].size);
        break;
    case PMS_ACT_FREE:
        span = pms_span_find(heap, span_page_of(a->off, a->cls));
        if (span && bit_get(span->young, (uint32_t)a->len))
            pms_fresh_add(heap->ws, a->off, pms_classes[a->cls].size);
        break;
    case PMS_ACT_RUN_ALLOC:
        hold_row(heap, a->off, a->len);
        pms_fresh_remove(heap->ws, a->off * PMS_PAGE, a->len * PMS_PAGE);
        break;
    case PMS_ACT_RUN_FREE:
        pms_pages_unblock(heap, a->off, a->len);
        pms_scan_behind(heap, a->off, a->len);
        if (a->cls)
            pms_fresh_add(heap->ws, a->off * PMS_PAGE, a->len * PMS_PAGE);
        break;
    case PMS_ACT_SPAN_NEW:
        pms_span_forget(heap, a->off);
        hold_row(heap, a->off, a->len);
        break;
    default: /* PMS_ACT_SPAN_DROP */
        undo_span_drop(heap, a);
        break;
    }
}

/* Is the span to stay that a part of a unit has made, which is undone? */
static int stays(const struct pms_heap *heap, const struct pms_action *a)
{
    return a->kind == PMS_ACT_SPAN_NEW && pms_span_find(heap, a->off);
}

/* Newest first.  A span that stays has its blocks held one by one.  Its pages would be all of them, and
 * whoever comes next makes another span: a loop that tries something in a transaction and undoes it
 * would need 64 KiB each time. */
static void undo_actions(struct pms_heap *heap, size_t mark, int keep)
{
    size_t count = heap->action_count;
    for (size_t i = count; i-- > mark;)
        if (!keep || !stays(heap, &heap->action[i]))
            undo_action(heap, &heap->action[i]);
    heap->action_count = mark;
    for (size_t i = mark; keep && i < count; i++) {
        const struct pms_action a = heap->action[i];
        if (!stays(heap, &a))
            continue;
        pms_span_describe(heap, a.off, a.cls);
        heap->action[heap->action_count++] = a;
    }
}

void pms_heap_undo(struct pms_heap *heap, size_t mark)
{
    int keep = 1;
    for (size_t i = mark; i < heap->action_count; i++)
        if (heap->action[i].kind ==
            PMS_ACT_SPAN_DROP) /* a new span may lie where it comes back */
            keep = 0;
    undo_actions(heap, mark, keep);
}

static void quarantine(struct pms_heap *heap, uint64_t seq, uint64_t off, uint64_t len)
{
    if (heap->quar_first + heap->quar_count == heap->quar_room) {
        if (heap->quar_first > heap->quar_room / 2) {
            memmove(heap->quar, heap->quar + heap->quar_first,
                    heap->quar_count * sizeof *heap->quar);
            heap->quar_first = 0;
        } else {
            size_t room = heap->quar_room ? heap->quar_room * 2 : 64;
            struct pms_quarantined *quar = realloc(heap->quar, room * sizeof *quar);
            if (!quar)
                return; /* never handed out again until the pool is reopened */
            heap->quar = quar;
            heap->quar_room = room;
        }
    }
    heap->quar[heap->quar_first + heap->quar_count++] = (struct pms_quarantined){seq, off, len};
}

/* len: as in struct pms_quarantined. */
static void make_available(struct pms_heap *heap, uint64_t off, uint64_t len)
{
    struct place at;
    if (len != PMS_ONE_BLOCK && len != PMS_WHOLE_SPAN) {
        pms_pages_unblock(heap, off / PMS_PAGE, len);
        pms_pages_give(heap, off / PMS_PAGE, len);
        return;
    }
    /* If there is no span, that was undone too, and comes as pages. */
    if (locate(heap, off, &at) != PMS_OK || at.kind == PMS_PAGE_RUN)
        return;
    /* Nobody had a block of a whole span: loaded anew it has them all. */
    if (len == PMS_WHOLE_SPAN) {
        pms_span_forget(heap, at.page);
        at.span = NULL;
    }
    struct pms_span *span = at.span ? at.span : pms_span_load(heap, at.page, at.cls);
    if (span && len == PMS_ONE_BLOCK)
        span_offer(heap, span, at.block);
}

static inline void end_held(struct pms_heap *heap, struct pms_held *held, uint64_t seq)
{
    for (size_t i = 0; i < held->count; i++) {
        if (seq)
            quarantine(heap, seq, held->entry[i].off, held->entry[i].len);
        else
            make_available(heap, held->entry[i].off, held->entry[i].len);
    }
    held->count = 0;
}

static void end_all_held(struct pms_heap *heap, uint64_t seq)
{
    end_held(heap, &heap->held, seq);
    end_held(heap, &heap->held_rows, seq);
}

void pms_heap_committed(struct pms_heap *heap, uint64_t seq)
{
    for (size_t i = 0; i < heap->action_count; i++) {
        const struct pms_action *a = &heap->action[i];
        struct pms_span *span;
        if (a->kind == PMS_ACT_ALLOC) {
            span = pms_span_find(heap, span_page_of(a->off, a->cls));
            if (span) /* a span may have been made and dropped by the same unit */
                bit_clear(span->young, (uint32_t)a->len);
        } else if (a->kind == PMS_ACT_FREE) {
            quarantine(heap, seq, a->off, PMS_ONE_BLOCK);
        } else if (a->kind == PMS_ACT_RUN_FREE) {
            quarantine(heap, seq, a->off * PMS_PAGE, a->len);
        } else if (a->kind == PMS_ACT_SPAN_DROP) {
            pms_pages_undrop(heap, a->off, a->len);
        }
    }
    heap->action_count = 0;
    end_all_held(heap, seq);
}

void pms_heap_abort(struct pms_heap *heap, uint64_t seq)
{
    undo_actions(heap, 0, 0);
    end_all_held(heap, seq);
}

void pms_heap_released(struct pms_heap *heap, uint64_t seq)
{
    while (heap->quar_count && heap->quar[heap->quar_first].seq < seq) {
        struct pms_quarantined q = heap->quar[heap->quar_first++];
        heap->quar_count--;
        make_available(heap, q.off, q.len);
    }
    if (heap->quar_count == 0)
        heap->quar_first = 0;
}
