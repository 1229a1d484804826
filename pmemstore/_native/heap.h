/* heap.h -- the transactional allocator.
 *
 *   region:  | table: 16 B per page | page | page | ... one SPAN = 16 pages of equal blocks ...
 *
 * What is allocated is told by the page descriptors and span bitmaps alone (layout.h), which
 * change through the write set like any other word: so an allocation needs no fence of its
 * own, and a crash leaks nothing.  What may be *handed out* is told by DRAM state: a bit per
 * page and, for spans that have been looked at, a bit per block ("avail").  avail is always a
 * subset of the free blocks: blocks freed by the open unit or still in quarantine are free
 * but not available (docs/design.md, "Quarantine").
 *
 *   H1  avail(block)  =>  its bitmap bit, as the unit reads it, is clear
 *   H2  a block freed by unit u becomes available only when u can no longer be undone: direct
 *       media, when a later frame was fenced; files, when u's frame is durable
 *   H3  undoing the allocation list from its end gives back the DRAM state of the mark, but for spans
 *       made since: these stay if a part of a unit is undone
 *   H4  while an operation gathers, its newest word of a bitmap may wait in DRAM: it is written
 *       before pms_block, pms_free or the load of a span reads a bitmap.  A scan may see the old
 *       word, of a span that is loaded: nothing is made of that.  Statistics never come in between
 *   H5  a span is in the list `empty` exactly if all its blocks are available
 *   H6  no row of available pages as long as the shortest of class c begins before run_from[c], and
 *       none for a span before span_from; run_from never falls from class to class
 *   H7  no row that was taken, or that a roll-back has brought back, has scan_page inside: the scan
 *       reads descriptors of first pages alone
 *   H8  of a row that was undone all pages are blocked, and it is in `held_rows` once
 *
 * DRAM state is built lazily, region by region: opening a pool costs nothing here.
 */
#ifndef PMS_HEAP_H
#define PMS_HEAP_H

#include "wset.h"

#define PMS_CLASSES 80 /* upper bound; pms_class_count says how many there are */
#define PMS_SMALL_MAX 32768u

struct pms_class {
    uint32_t size;   /* bytes of a block */
    uint32_t blocks; /* in a span */
    uint32_t pages;  /* of a span: PMS_SPAN_PAGES or PMS_BIGSPAN_PAGES */
};
extern const struct pms_class pms_classes[];
extern const uint32_t pms_class_count;

#define PMS_RUN_CLASSES 81u /* of rows of pages, by length: up to 4096, and longer ones */

struct pms_quarantined {
    uint64_t seq; /* direct media: frame that freed it; files: ticket of the unit */
    uint64_t off;
    uint64_t len; /* so many pages; or one of: */
};
#define PMS_ONE_BLOCK 0u
#define PMS_WHOLE_SPAN UINT64_MAX

struct pms_held { /* in no order */
    struct pms_quarantined *entry;
    size_t count, room;
};

#define PMS_SPAN_WORDS 30u /* (16 descriptors - the head) of 16 bytes are 1920 bits */

struct pms_span {  /* DRAM state of a span that has been looked at */
    uint64_t page; /* page number in the file */
    uint32_t cls;
    uint32_t navail;
    uint32_t ready;                 /* heap.ready_round when pages of it were made ready: */
    uint32_t ready_from, ready_len; /* those of so many blocks in a row */
    uint32_t first;                 /* no bit of avail is set before this word */
    uint64_t bitmap;                /* offset of its bitmap in the file */
    struct pms_span *prev, *next;   /* list of its class: spans with navail > 0 */
    struct pms_span *prev_empty, *next_empty; /* those of which every block is available */
    uint64_t avail[PMS_SPAN_WORDS];           /* bit i: block i may be handed out */
    uint64_t young[PMS_SPAN_WORDS];           /* bit i: allocated by the open unit */
};

enum pms_action_kind {
    PMS_ACT_ALLOC = 1, /* a block */
    PMS_ACT_FREE = 2,
    PMS_ACT_RUN_ALLOC = 3,
    PMS_ACT_RUN_FREE = 4,
    PMS_ACT_SPAN_NEW = 5,
    PMS_ACT_SPAN_DROP = 6
};
struct pms_action { /* what this unit did to the DRAM state, in order */
    uint32_t kind;
    uint32_t cls;
    uint64_t off;
    uint64_t len;
};

struct pms_heap {
    struct pms_wset *ws;
    const struct pms_super_pm *super;           /* the pool's DRAM copy: geometry */
    int (*grow)(void *context, uint64_t pages); /* make a run of so many pages possible */
    void *grow_context;
    /* About to fail for lack of space: make what is in quarantine available, if possible. */
    void (*settle)(void *context);
    void *settle_context; /* of ready too */
    /* Direct media: pages of which a first block is about to be handed out, so that nothing is
     * stored to pages that take write faults.  NULL: nobody cares. */
    void (*ready)(void *context, uint64_t off, uint64_t len);
    uint32_t ready_pages; /* of a piece: all of it is made ready */
    uint32_t ready_round; /* grows when pages have to be made ready again */

    uint64_t *page_avail;   /* bit per page of the file: known free and available */
    uint64_t *page_blocked; /* bit per page: free, but in quarantine, freed by the open unit, or
                               lent to the log */
    uint64_t *page_dropped; /* bit per page: of a span that the open unit dropped and an undo
                               would bring back: not for the log */
    uint64_t page_words;
    uint64_t scan_page; /* pages before it have been looked at ... */
    uint64_t scan_end;  /* ... up to here: root.top at open */
    uint64_t dram_top;  /* pages from here on are unused and not yet in page_avail */
    uint64_t run_from[PMS_RUN_CLASSES]; /* where to look for pages: heap_avail.c */
    uint64_t span_from[2];              /* for spans, and for large ones */
    struct pms_span **span; /* by page / PMS_SPAN_PAGES: its DRAM state, if it has one */
    uint64_t span_room;
    uint32_t empty_spans;                  /* so many: */
    struct pms_span *empty;                /* spans of which every block is available */
    struct pms_span *partial[PMS_CLASSES]; /* spans with navail > 0 */

    struct pms_action *action;
    size_t action_count, action_room;
    struct pms_quarantined *quar; /* a queue, seq never falls */
    size_t quar_first, quar_count, quar_room;
    /* What undoing gave back in the open unit.  Frames of the unit may have words for it, so it
     * is not available before the unit's end, and then goes through the quarantine. */
    struct pms_held held;      /* blocks and spans */
    struct pms_held held_rows; /* pages */
    int gathering;        /* an operation that allocates many blocks: see pms_heap_gather */
    uint64_t gathered_at; /* the word of a bitmap that was not written yet, or 0 */
    uint64_t gathered;    /* what is in it */
    int starved;          /* pages were asked for in vain */
    int borrowing;        /* pages are taken for the log: nothing may be written meanwhile */
};

struct pms_class_stats {
    uint32_t size;
    uint32_t zero;
    uint64_t spans;
    uint64_t used_blocks;
    uint64_t free_blocks;
};
struct pms_heap_stats {
    uint64_t heap_bytes;   /* all pages of all regions, tables included */
    uint64_t used_bytes;   /* allocated blocks and runs, by capacity */
    uint64_t free_bytes;   /* what allocations may still take, before growing */
    uint64_t table_bytes;  /* descriptors */
    uint64_t largest_free; /* longest run of free pages, bytes */
    uint64_t free_pages_bytes;
    uint64_t span_free_bytes; /* free blocks inside spans, the price of size classes */
    uint64_t runs, run_bytes;
    uint64_t quarantine_bytes;
    struct pms_class_stats cls[PMS_CLASSES];
};

int pms_heap_init(struct pms_heap *heap, struct pms_wset *ws, const struct pms_super_pm *super);
void pms_heap_free(struct pms_heap *heap);

/* Capacity that a request of len bytes gets. */
uint64_t pms_heap_capacity(uint64_t len);

/* Allocate at least len bytes, 16-byte aligned (whole pages above PMS_SMALL_MAX).  The block is
 * fresh: fill it with pms_init_*.  All of it counts as contents, what was not filled too: so
 * the bytes of an allocated block are the same in memory and on the medium, and a word that is
 * written with the value it has needs no log.  PMS_E_FULL: nothing was changed. */
int pms_alloc(struct pms_heap *heap, uint64_t len, uint64_t *off);

/* Will the next allocation of so many bytes be one of two blocks that a span in use has left?  Then it
 * takes nothing that another size could need; and freed in the same unit, which makes it available to
 * nobody before that has ended, it leaves one of its size. */
int pms_heap_has_spare(const struct pms_heap *heap, uint64_t len);

/* An operation allocates many blocks: a word of a bitmap is written once for all of its bits that come
 * one after the other.  The operation ends with pms_heap_gathered, whatever became of it: one that
 * has failed before it changed anything is not rolled back. */
static inline void pms_heap_gather(struct pms_heap *heap) { heap->gathering = 1; }
static inline void pms_heap_put_gathered(struct pms_heap *heap)
{
    if (PMS_LIKELY(heap->gathered_at == 0))
        return;
    pms_wr(heap->ws, heap->gathered_at, heap->gathered);
    heap->gathered_at = 0;
}
static inline void pms_heap_gathered(struct pms_heap *heap)
{
    pms_heap_put_gathered(heap);
    heap->gathering = 0;
}

/* Free a block.  A wild offset or a double free is PMS_E_CORRUPT and changes nothing. */
int pms_free(struct pms_heap *heap, uint64_t off);

/* Is off the start of an allocated block?  Gives its capacity.  PMS_E_CORRUPT if not. */
int pms_block(struct pms_heap *heap, uint64_t off, uint64_t *capacity);

/* Pages for a log overflow: taken from the DRAM state only; nothing is written that says so,
 * a crash gives them back by itself. */
int pms_heap_borrow(struct pms_heap *heap, uint64_t pages, uint64_t *off);
void pms_heap_return(struct pms_heap *heap, uint64_t off, uint64_t pages);

/* DRAM bookkeeping of units.  A part of one is undone, after its words, back to action_count == mark:
 * spans that it made stay, as if they had been there before it. */
void pms_heap_undo(struct pms_heap *heap, size_t mark);
void pms_heap_committed(struct pms_heap *heap, uint64_t seq);
static inline void pms_heap_commit(struct pms_heap *heap, uint64_t seq)
{ /* frees go to quarantine */
    if (heap->action_count || heap->held.count || heap->held_rows.count)
        pms_heap_committed(heap, seq);
}
/* Undo all.  seq: what quarantine waits for, or 0: this unit has left nothing in the log. */
void pms_heap_abort(struct pms_heap *heap, uint64_t seq);
void pms_heap_released(struct pms_heap *heap, uint64_t seq);
static inline void pms_heap_release(struct pms_heap *heap, uint64_t seq)
{ /* of entries older than seq */
    if (heap->quar_count)
        pms_heap_released(heap, seq);
}
/* The file has grown: more pages. */
int pms_heap_grown(struct pms_heap *heap);

int pms_heap_statistics(struct pms_heap *heap, struct pms_heap_stats *out);

/* The one check of every offset that comes from the medium. */
static inline int pms_off_ok(const struct pms_heap *heap, uint64_t off, uint64_t len)
{
    uint64_t lo = heap->super->heap_start, size = heap->super->size;
    return (off & 7u) == 0 && off >= lo && off < size && len <= size - off;
}

/* ---- shared by heap.c (blocks), heap_pages.c (spans, scanning), heap_avail.c (pages) ---- */

/* Offset of a page's descriptor; 0 if the page is in no region. */
static inline uint64_t pms_desc_off(const struct pms_heap *heap, uint64_t page)
{
    const struct pms_super_pm *super = heap->super;
    for (uint32_t i = super->nregions; i-- > 0;) {
        const struct pms_region_pm *region = &super->regions[i];
        uint64_t first = region->start / PMS_PAGE;
        if (page >= first)
            return page - first < region->cap_pages
                       ? region->start + (page - first) * PMS_DESC_BYTES
                       : 0;
    }
    return 0;
}
struct pms_span *pms_span_find(const struct pms_heap *heap, uint64_t page);
/* DRAM state of the span at page, read from its bitmap; NULL: no memory. */
struct pms_span *pms_span_load(struct pms_heap *heap, uint64_t page, uint32_t cls);
void pms_span_link(struct pms_heap *heap, struct pms_span *span); /* into partial[] */
void pms_span_unlink(struct pms_heap *heap, struct pms_span *span);
/* Write the descriptor of a new span, and what is used of the heap. */
void pms_span_describe(struct pms_heap *heap, uint64_t page, uint32_t cls);
void pms_span_emptied(struct pms_heap *heap, struct pms_span *span); /* into empty */
void pms_span_used(struct pms_heap *heap, struct pms_span *span);    /* out of it */
/* A span of the class with an available block: partial[cls] is set on PMS_OK. */
int pms_span_get(struct pms_heap *heap, uint32_t cls);
/* Take n pages; nothing is written.  align: n, which is that of a span, or 1.  PMS_E_FULL. */
int pms_pages_take(struct pms_heap *heap, uint64_t n, uint64_t align, uint64_t *page);
void pms_pages_give(struct pms_heap *heap, uint64_t page, uint64_t n);
void pms_pages_withdraw(struct pms_heap *heap, uint64_t page, uint64_t n);
void pms_pages_block(struct pms_heap *heap, uint64_t page, uint64_t n);
void pms_pages_unblock(struct pms_heap *heap, uint64_t page, uint64_t n);
void pms_pages_drop(struct pms_heap *heap, uint64_t page, uint64_t n);
void pms_pages_undrop(struct pms_heap *heap, uint64_t page, uint64_t n);
/* The first n available pages in a row, as pms_pages_take wants them; UINT64_MAX: none. */
uint64_t pms_pages_find(struct pms_heap *heap, uint64_t n, uint64_t align);
void pms_pages_look_from(struct pms_heap *heap,
                         uint64_t page);                    /* H6: none before is available */
void pms_span_forget(struct pms_heap *heap, uint64_t page); /* free the DRAM state */
void pms_pages_top(struct pms_heap *heap, uint64_t end);    /* advance root.top to end */
int pms_heap_scan(struct pms_heap *heap, uint64_t pages);   /* look at so many more pages */
/* H7: these pages are one row from now on, and the scan does not go on inside it. */
void pms_scan_behind(struct pms_heap *heap, uint64_t page, uint64_t n);
/* How many pages in a row are available before this one, or so many; to whoever borrows, dropped ones
 * are not there. */
uint64_t pms_pages_before(const struct pms_heap *heap, uint64_t page, uint64_t most,
                          int borrowing);
/* How many of n pages are blocked. */
uint64_t pms_pages_blocked(const struct pms_heap *heap, uint64_t page, uint64_t n);
int pms_action_reserve(struct pms_heap *heap); /* room for one more */
static inline int pms_action_add(struct pms_heap *heap, uint32_t kind, uint32_t cls,
                                 uint64_t off, uint64_t len)
{
    if (PMS_UNLIKELY(heap->action_count == heap->action_room))
        PMS_TRY(pms_action_reserve(heap));
    heap->action[heap->action_count++] = (struct pms_action){kind, cls, off, len};
    return PMS_OK;
}

#endif
