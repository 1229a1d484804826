/* tx.c -- units of work, what both media share.  tx.h is the manual. */
#include "tx.h"

#include <stdlib.h>

#include "hash.h"

static void settle(void *context) { pms_direct_settle(context); }

/* Two frames of this size always find room in the ring, wherever they start.  Direct media: an
 * UNDO frame does behind an OVERFLOW frame, and another OVERFLOW frame (at most a quarter of
 * this, see overflow()) behind it, although both large ones may have to skip the ring's end. */
static uint64_t frame_words(const struct pms_log *log)
{
    uint64_t share = log->mode == PMS_MODE_DIRECT ? 3 : 4;
    uint64_t bytes = (log->bytes - PMS_LINE) / share & ~(uint64_t)(PMS_LINE - 1);
    return (bytes - sizeof(struct pms_frame_pm)) / 8;
}

static void ready(void *context, uint64_t off, uint64_t len)
{
    pms_tx_ready(context, off, len);
}

int pms_tx_init(struct pms_tx *tx, struct pms_map *map, struct pms_log *log,
                struct pms_wset *ws, struct pms_heap *heap)
{
    *tx =
        (struct pms_tx){.medium = &map->medium, .log = log, .ws = ws, .heap = heap, .map = map};
    tx->waited_in = UINT64_MAX;
    /* A full overlay should still fit one frame. */
    tx->frame_words = frame_words(log);
    uint64_t lines = tx->frame_words / PMS_LINE_WORDS;
    tx->spill_lines = lines > 16384 ? 16384 : lines < 4 ? 4 : (uint32_t)lines;
    if (log->mode == PMS_MODE_DIRECT) {
        heap->settle = settle;
        heap->ready = ready;
        heap->ready_pages = PMS_PIECE_PAGES;
    }
    heap->settle_context = tx;
    return pms_tx_grown(tx);
}

int pms_tx_grown(struct pms_tx *tx)
{
    uint64_t words = tx->heap->super->size / PMS_PAGE / 64 + 1;
    if (words <= tx->page_words)
        return PMS_OK;
    if (words < 2 * tx->page_words) /* so that not each growth copies the map */
        words = 2 * tx->page_words;
    PMS_TRY(pms_bits_grow(&tx->page_seen, 1, tx->page_words, words));
    tx->page_words = words;
    return PMS_OK;
}

void pms_tx_free(struct pms_tx *tx)
{
    pms_linemap_free(&tx->logged);
    free(tx->range);
    free(tx->borrowed);
    free(tx->group.buffer);
    free(tx->writing.buffer);
    pms_bits_free(tx->page_seen, 1, tx->page_words);
    *tx = (struct pms_tx){0};
}

/* ---- the overlay, made ready ---- */

static int by_offset(const void *a, const void *b)
{
    const struct pms_fresh *x = a, *y = b;
    return x->off < y->off ? -1 : x->off > y->off;
}

void pms_tx_sort_fresh(struct pms_tx *tx)
{
    struct pms_wset *ws = tx->ws;
    if (ws->fresh_count < 2)
        return;
    qsort(ws->fresh, ws->fresh_count, sizeof *ws->fresh, by_offset);
    size_t n = 0;
    for (size_t i = 1; i < ws->fresh_count; i++) {
        if (ws->fresh[n].off + ws->fresh[n].len == ws->fresh[i].off)
            ws->fresh[n].len += ws->fresh[i].len;
        else
            ws->fresh[++n] = ws->fresh[i];
    }
    ws->fresh_count = n + 1;
}

/* Index of the first extent that ends behind off. */
static size_t fresh_behind(const struct pms_wset *ws, uint64_t off)
{
    size_t lo = 0, hi = ws->fresh_count;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (ws->fresh[mid].off + ws->fresh[mid].len > off)
            hi = mid;
        else
            lo = mid + 1;
    }
    return lo;
}

/* Bits of a number of 16 bits: gcc calls a function for it on CPUs that may lack POPCNT. */
static inline uint32_t count_bits(uint32_t x)
{
    x -= x >> 1 & 0x5555u;
    x = (x & 0x3333u) + (x >> 2 & 0x3333u);
    x = (x + (x >> 4)) & 0x0f0fu;
    return (x + (x >> 8)) & 0x1fu;
}

/* Words of a payload for those of a line: one more for each run.  A run that goes on in the next
 * line of the overlay is a run of its own. */
static inline uint32_t entry_words(uint32_t mask)
{
    uint32_t starts = mask & ~(mask << 1);
    return count_bits(mask | starts << 8);
}

/* Words of a line that has some in fresh extents, from extent f on: these go there. */
static void place_line(struct pms_tx *tx, struct pms_line_ov *line, size_t f)
{
    const struct pms_wset *ws = tx->ws;
    for (uint32_t left = line->mask; left; left &= left - 1) {
        uint32_t i = (uint32_t)__builtin_ctz(left);
        uint64_t off = line->off + 8u * i;
        while (f < ws->fresh_count && ws->fresh[f].off + ws->fresh[f].len <= off)
            f++;
        if (f < ws->fresh_count && ws->fresh[f].off <= off) {
            pms_store_u64(tx->medium, off, line->word[i]);
            line->mask &= ~(1u << i);
        }
    }
}

struct bounds { /* of all fresh extents, which are sorted */
    uint64_t first, end;
};

static inline struct bounds fresh_bounds(const struct pms_wset *ws)
{
    if (!ws->fresh_count)
        return (struct bounds){UINT64_MAX, 0};
    const struct pms_fresh *last = &ws->fresh[ws->fresh_count - 1];
    return (struct bounds){ws->fresh[0].off & ~63ull, last->off + last->len};
}

static inline void place_if_fresh(struct pms_tx *tx, struct pms_line_ov *line,
                                  const struct bounds *fresh)
{
    if (line->off < fresh->first || line->off >= fresh->end)
        return;
    size_t f = fresh_behind(tx->ws, line->off);
    if (tx->ws->fresh[f].off < line->off + PMS_LINE)
        place_line(tx, line, f);
}

uint64_t pms_tx_place_fresh(struct pms_tx *tx)
{
    struct pms_wset *ws = tx->ws;
    const uint8_t *base = tx->medium->base;
    uint64_t words = 0;
    pms_tx_sort_fresh(tx);
    struct bounds fresh = fresh_bounds(ws);
    for (uint32_t n = 0; n < ws->overlay.count; n++) {
        struct pms_line_ov *line = &ws->overlay.line[n];
        place_if_fresh(tx, line, &fresh);
        uint32_t mask = line->mask;
        for (uint32_t left = mask; left; left &= left - 1) {
            uint32_t i = (uint32_t)__builtin_ctz(left);
            uint64_t now;
            memcpy(&now, base + line->off + 8u * i, 8);
            if (now == line->word[i])
                mask &= ~(1u << i);
        }
        line->mask = mask;
        words += entry_words(mask);
    }
    return words;
}

/* The words of a line that the mapping does not have: an entry for each run. */
static inline uint64_t *take_line(const uint8_t *base, struct pms_line_ov *line, uint64_t *out)
{
    uint32_t mask = 0, next = 0; /* next: the word that would go on with the run */
    uint64_t *head = out;
    for (uint32_t left = line->mask; left; left &= left - 1) {
        uint32_t i = (uint32_t)__builtin_ctz(left);
        uint64_t off = line->off + 8u * i, now;
        memcpy(&now, base + off, 8);
        if (now == line->word[i])
            continue;
        if (i != next || mask == 0) {
            head = out++;
            *head = PMS_ENTRY(off, PMS_ENTRY_BYTES, 0);
        }
        *head += PMS_ENTRY(0, 0, 1);
        *out++ = line->word[i];
        mask |= 1u << i;
        next = i + 1;
    }
    line->mask = mask;
    return out;
}

uint64_t *pms_tx_overlay_take(struct pms_tx *tx, uint64_t *out)
{
    struct pms_linemap *overlay = &tx->ws->overlay;
    const uint8_t *base = tx->medium->base;
    struct bounds fresh = fresh_bounds(tx->ws);
    for (uint32_t n = 0; n < overlay->count; n++) {
        place_if_fresh(tx, &overlay->line[n], &fresh);
        out = take_line(base, &overlay->line[n], out);
    }
    return out;
}

uint64_t *pms_tx_overlay_fill(const struct pms_tx *tx, uint64_t *out)
{
    const struct pms_linemap *overlay = &tx->ws->overlay;
    for (uint32_t n = 0; n < overlay->count; n++) {
        const struct pms_line_ov *line = &overlay->line[n];
        for (uint32_t mask = line->mask, i = 0, len; mask; mask >>= len, i += len) {
            uint32_t gap = (uint32_t)__builtin_ctz(mask);
            mask >>= gap;
            i += gap;
            len = (uint32_t)__builtin_ctz(~mask);
            *out++ = PMS_ENTRY(line->off + 8u * i, PMS_ENTRY_BYTES, len);
            for (uint32_t k = 0; k < len; k++)
                *out++ = line->word[i + k];
        }
    }
    return out;
}

/* ---- pages ---- */

static int is_seen(const struct pms_tx *tx, uint64_t page)
{
    return (int)(tx->page_seen[page / 64] >> (page & 63) & 1);
}

/* The pieces from the one that a page is of to the one before `end`, or before the next page that is
 * writable already; how many pages from `page` on that are, or 0.  The file ends at a multiple of a
 * piece (PMS_REGION_ALIGN). */
static uint64_t pieces_ready(struct pms_tx *tx, uint64_t page, uint64_t end)
{
    const uint64_t piece = PMS_PIECE_PAGES;
    uint64_t first = page & ~(piece - 1), last = first + piece;
    while (last < end && !is_seen(tx, last))
        last += piece;
    uint64_t at = first * PMS_PAGE, len = (last - first) * PMS_PAGE;
    int status = pms_map_by_reads(tx->map) ? pms_map_share(tx->map, at, len)
                                           : pms_map_populate(tx->map, at, len);
    if (status != PMS_OK) {
        tx->ahead = 0; /* an old kernel: stores take their faults */
        return 0;
    }
    pms_tx_populated(tx, at, len);
    tx->made_writable = 1;
    tx->waited_in = tx->commits;
    return last - page;
}

static_assert(64 % PMS_PIECE_PAGES == 0, "the bits of a piece are in one word");
static_assert(PMS_REGION_ALIGN % PMS_PIECE_BYTES == 0, "the last piece is whole");
static_assert(PMS_PIECE_BYTES == PMS_AROUND, "a piece is mapped by one fault");

void pms_tx_ready(struct pms_tx *tx, uint64_t off, uint64_t len)
{
    uint64_t end = (off + len + PMS_PAGE - 1) / PMS_PAGE;
    for (uint64_t page = off / PMS_PAGE; page < end && tx->ahead;)
        page += is_seen(tx, page) ? 1 : pieces_ready(tx, page, end);
}

void pms_tx_ready_ring(struct pms_tx *tx, uint64_t bytes)
{
    const struct pms_log *log = tx->log;
    uint64_t at = tx->ring_ready, piece = PMS_PIECE_BYTES;
    uint64_t left = log->bytes - log->head % log->bytes; /* a frame may skip the ring's end */
    uint64_t end = log->head + (bytes > left ? left + bytes : bytes);
    if (end <= at && tx->waited_in == tx->commits)
        return;
    if (at < log->head)
        at = tx->ring_first = log->head;
    while (at < end + piece && tx->ahead) {
        uint64_t place = at % log->bytes, rest = log->bytes - place;
        uint64_t len = piece < rest ? piece : rest;
        pms_tx_ready(tx, log->off + place, len);
        at += len;
    }
    int all = !tx->ahead || at >= tx->ring_first + log->bytes;
    tx->ring_ready = all ? UINT64_MAX : at;
    tx->ring_due = all ? UINT64_MAX : at - piece;
}

static void see_page(struct pms_tx *tx, uint64_t page)
{
    uint64_t bit = 1ull << (page & 63);
    if (PMS_LIKELY(tx->page_seen[page / 64] & bit))
        return;
    if (tx->ahead && pieces_ready(tx, page, page + 1))
        return;
    tx->page_seen[page / 64] |= bit;
    tx->any_seen = 1;
    tx->pages_dirty++;
    tx->write_faults++;
}

void pms_tx_see(struct pms_tx *tx, uint64_t off, uint64_t len)
{
    if (len == 0)
        return;
    for (uint64_t page = off / PMS_PAGE; page <= (off + len - 1) / PMS_PAGE; page++)
        see_page(tx, page);
}

void pms_tx_populated(struct pms_tx *tx, uint64_t off, uint64_t len)
{
    uint64_t page = off / PMS_PAGE, end = (off + len + PMS_PAGE - 1) / PMS_PAGE;
    end = end < tx->page_words * 64 ? end : tx->page_words * 64;
    tx->any_seen = 1;
    for (; page < end && page % 64; page++)
        tx->page_seen[page / 64] |= 1ull << (page & 63);
    for (; page + 64 <= end; page += 64)
        tx->page_seen[page / 64] = UINT64_MAX;
    for (; page < end; page++)
        tx->page_seen[page / 64] |= 1ull << (page & 63);
}

void pms_tx_unpopulated(struct pms_tx *tx)
{
    if (tx->any_seen) /* else it was just opened, and a large map of zeroes need not be touched */
        memset(tx->page_seen, 0, tx->page_words * 8);
    tx->any_seen = 0;
    tx->ring_ready = tx->ring_due = 0;
    tx->heap->ready_round++;
}

void pms_tx_store(struct pms_tx *tx, const struct pms_line_ov *line)
{
    see_page(tx, line->off / PMS_PAGE);
    for (uint32_t left = line->mask; left; left &= left - 1) {
        uint32_t i = (uint32_t)__builtin_ctz(left);
        pms_store_u64(tx->medium, line->off + 8u * i, line->word[i]);
    }
}

int pms_tx_range_add(struct pms_tx *tx, uint64_t off, uint64_t len)
{
    if (tx->range_count == tx->range_room) {
        size_t room = tx->range_room ? tx->range_room * 2 : 256;
        struct pms_range *range = realloc(tx->range, room * sizeof *range);
        if (!range)
            return PMS_FAIL_NOMEM("remember what changes", room * sizeof *range);
        tx->range = range;
        tx->range_room = room;
    }
    tx->range[tx->range_count++] = (struct pms_range){off, len};
    return PMS_OK;
}

/* ---- borrowed pages ---- */

static int any_seen(const struct pms_tx *tx, uint64_t page, uint64_t n)
{
    for (uint64_t i = page; i < page + n; i++)
        if (tx->page_seen[i / 64] >> (i & 63) & 1)
            return 1;
    return 0;
}

/* Files: pages that the log has words for would be overwritten by its replay. */
static int borrow_pages(struct pms_tx *tx, uint64_t pages, uint64_t *off)
{
    uint64_t refused[64];
    int refused_count = 0, status;
    for (;;) {
        status = pms_heap_borrow(tx->heap, pages, off);
        if (status != PMS_OK || tx->log->mode == PMS_MODE_DIRECT)
            break;
        if (!any_seen(tx, *off / PMS_PAGE, pages))
            break;
        if (refused_count == 64) {
            pms_heap_return(tx->heap, *off, pages);
            status =
                PMS_FAIL(PMS_E_FULL, "find unlogged pages for the log", 0, pages * PMS_PAGE, 0);
            break;
        }
        refused[refused_count++] = *off;
    }
    while (refused_count > 0)
        pms_heap_return(tx->heap, refused[--refused_count], pages);
    return status;
}

int pms_tx_borrow(struct pms_tx *tx, const void *body, uint64_t bytes)
{
    if (tx->borrowed_count == tx->borrowed_room) {
        size_t room = tx->borrowed_room ? tx->borrowed_room * 2 : 8;
        struct pms_borrowed *b = realloc(tx->borrowed, room * sizeof *b);
        if (!b)
            return PMS_FAIL_NOMEM("remember what the log borrows", room * sizeof *b);
        tx->borrowed = b;
        tx->borrowed_room = room;
    }
    uint64_t pages = (bytes + PMS_PAGE - 1) / PMS_PAGE, off;
    PMS_TRY(borrow_pages(tx, pages, &off));
    tx->borrowed_pages += pages;
    tx->borrowed[tx->borrowed_count++] =
        (struct pms_borrowed){off, pages, bytes, pms_hash(body, bytes, 3), PMS_BORROWED_OPEN};
    if (tx->log->mode == PMS_MODE_DIRECT) {
        pms_tx_ready(tx, off, bytes);
        pms_store_nt(tx->medium, off, body, bytes); /* flushes by itself */
        return PMS_OK;
    }
    return pms_write(tx->medium, off, body, bytes);
}

void pms_tx_borrow_end(struct pms_tx *tx, uint64_t seq)
{
    for (size_t i = 0; i < tx->borrowed_count; i++)
        if (tx->borrowed[i].seq == PMS_BORROWED_OPEN)
            tx->borrowed[i].seq = seq;
    if (seq == 0)
        pms_tx_give_back(tx);
}

void pms_tx_give_back(struct pms_tx *tx)
{
    size_t kept = 0;
    for (size_t i = 0; i < tx->borrowed_count; i++) {
        struct pms_borrowed *b = &tx->borrowed[i];
        if (b->seq < tx->log->dur_seq) {
            pms_heap_return(tx->heap, b->off, b->pages);
            tx->borrowed_pages -= b->pages;
        } else {
            tx->borrowed[kept++] = *b;
        }
    }
    tx->borrowed_count = kept;
}

/* ---- units ---- */

void pms_unit_begin(struct pms_tx *tx, int transaction)
{
    tx->ws->journaling = transaction;
    tx->txid = 0;
}

int pms_unit_breathe(struct pms_tx *tx)
{
    if (tx->log->mode == PMS_MODE_FILE || tx->ws->overlay.count < tx->spill_lines)
        return PMS_OK;
    return pms_direct_spill(tx);
}

int pms_unit_commit(struct pms_tx *tx, uint64_t *ticket)
{
    *ticket = 0;
    int status =
        tx->log->mode == PMS_MODE_DIRECT ? pms_direct_commit(tx) : pms_file_commit(tx, ticket);
    if (status != PMS_OK) { /* no frame has it yet, and none will */
        struct pms_detail detail = *pms_detail();
        pms_unit_abort(tx);
        *pms_detail() = detail;
        return status;
    }
    if (pms_map_error(tx->map))
        return PMS_FAIL(PMS_E_MEDIA, "commit", atomic_load(&tx->map->media_error) - 1, 0, 0);
    if (tx->log->mode == PMS_MODE_DIRECT)
        pms_tell_durable(tx->medium, tx->commits);
    return PMS_OK;
}

void pms_unit_abort(struct pms_tx *tx)
{
    if (tx->ws->overlay.count || tx->heap->action_count || tx->txid)
        tx->aborts++;
    uint64_t logged = tx->txid ? tx->log->seq : 0;
    if (tx->txid)
        pms_direct_abort(tx);
    pms_wset_reset(tx->ws); /* first: undoing reads bitmaps as they were */
    pms_heap_abort(tx->heap, logged);
    pms_wset_reset(tx->ws); /* what undoing called fresh is not */
}

int pms_tx_checkpoint(struct pms_tx *tx)
{
    return tx->log->mode == PMS_MODE_DIRECT ? pms_direct_checkpoint(tx)
                                            : pms_file_checkpoint(tx);
}
