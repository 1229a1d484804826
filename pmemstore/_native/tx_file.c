/* tx_file.c -- commit on files: one REDO frame by one synchronous write, for all units that wait.
 *
 *   unit ends (lock held)      words -> group, -> private pages      ticket = n
 *   wait_durable (no lock)     leader: [fdatasync] frame (synchronous), synced word ... others wait
 *   checkpoint (lock held, nothing waits)   dirty pages, fdatasync, anchor
 *
 *   F1  the file's heap is changed by checkpoints alone, and by contents of blocks that were
 *       free in every state that recovery could still reach
 *   F2  page_seen(page)  <=>  the log has (or the group will bring) words for the page since the
 *       last checkpoint.  Contents and payloads outside the log go to unseen pages only: the
 *       replay would overwrite them
 *   F3  a failed write or sync is never retried: the pool's state on the medium is unknown
 */
#include <stdlib.h>

#include "hash.h"
#include "tx.h"

/* Contents in a row of pages that the log has no words for, and at least so long, are written
 * in place and cost a sync of their own; shorter ones are cheaper in the frame. */
#define IN_PLACE_MIN 65536u

static uint64_t *group_words(const struct pms_group *group)
{
    return (uint64_t *)(void *)(group->buffer + sizeof(struct pms_frame_pm));
}

/* The frame's memory is had while the unit can still be rolled back: the leader needs none. */
static int group_reserve(struct pms_group *group, uint64_t words)
{
    if (group->buffer && pms_frame_bytes(group->count + words) <= group->room)
        return PMS_OK;
    size_t room = pms_frame_bytes((group->count + words) * 2);
    uint8_t *buffer = realloc(group->buffer, room);
    if (!buffer)
        return PMS_FAIL_NOMEM("make a log frame", room);
    group->buffer = buffer;
    group->room = room;
    return PMS_OK;
}

static uint64_t pending_words(const struct pms_tx *tx)
{
    return tx->group.count + (tx->leader ? tx->writing.count : 0);
}

int pms_tx_wants_flush(const struct pms_tx *tx)
{
    return tx->log->mode == PMS_MODE_FILE && pending_words(tx) * 8 > tx->log->bytes / 8;
}

int pms_tx_wants_checkpoint(const struct pms_tx *tx)
{
    if (tx->log->mode != PMS_MODE_FILE)
        return 0;
    uint64_t used = tx->log_used + pending_words(tx) * 8; /* log->head is the leader's */
    /* Borrowed pages come back at the checkpoint alone. */
    uint64_t borrowed = tx->borrowed_pages * PMS_PAGE;
    return used > tx->log->bytes / 2 || tx->pages_dirty > 16384 || borrowed > tx->log->bytes ||
           (borrowed && tx->heap->starved);
}

/* ---- contents of fresh blocks ---- */

struct piece { /* of a fresh extent */
    uint64_t off, len;
    int in_place;
};

/* The next piece of [off, end): a row of unseen pages worth writing in place, or what lies
 * before one. */
static struct piece next_piece(const struct pms_tx *tx, uint64_t off, uint64_t end)
{
    uint64_t start = off, at = off;
    while (at < end) {
        uint64_t page = at / PMS_PAGE, page_end = (page + 1) * PMS_PAGE;
        int seen = (int)(tx->page_seen[page / 64] >> (page & 63) & 1);
        if (seen || at % PMS_PAGE || page_end > end) { /* shared or logged: not in place */
            if (at - start >= IN_PLACE_MIN)
                return start > off ? (struct piece){off, start - off, 0}
                                   : (struct piece){start, at - start, 1};
            start = page_end;
        }
        at = page_end;
    }
    if (start < end && end - start >= IN_PLACE_MIN)
        return start > off ? (struct piece){off, start - off, 0}
                           : (struct piece){start, end - start, 1};
    return (struct piece){off, end - off, 0};
}

static uint64_t inline_words(uint64_t len)
{
    uint64_t words = len / 8;
    return words + (words + PMS_ENTRY_WORDS_MAX - 1) / PMS_ENTRY_WORDS_MAX;
}

static uint64_t *inline_fill(const struct pms_tx *tx, uint64_t off, uint64_t len, uint64_t *out)
{
    while (len) {
        uint64_t n = len / 8 > PMS_ENTRY_WORDS_MAX ? PMS_ENTRY_WORDS_MAX : len / 8;
        *out++ = PMS_ENTRY(off, PMS_ENTRY_BYTES, n);
        memcpy(out, tx->medium->base + off, n * 8);
        out += n;
        off += n * 8;
        len -= n * 8;
    }
    return out;
}

/* ---- a unit ends ---- */

/* Payload of the unit: fresh contents, then the overlay, which has so many words. */
static uint64_t unit_words(const struct pms_tx *tx, uint64_t words)
{
    for (size_t i = 0; i < tx->ws->fresh_count; i++) {
        uint64_t off = tx->ws->fresh[i].off, end = off + tx->ws->fresh[i].len;
        while (off < end) {
            struct piece p = next_piece(tx, off, end);
            words += p.in_place ? 3 : inline_words(p.len);
            off += p.len;
        }
    }
    return words;
}

/* Fill the payload; pieces in place are written to the file (and synced before the frame). */
static int unit_fill(struct pms_tx *tx, uint64_t *out, int *data_sync)
{
    for (size_t i = 0; i < tx->ws->fresh_count; i++) {
        uint64_t off = tx->ws->fresh[i].off, end = off + tx->ws->fresh[i].len;
        while (off < end) {
            struct piece p = next_piece(tx, off, end);
            const uint8_t *src = tx->medium->base + p.off;
            if (p.in_place) {
                PMS_TRY(pms_tx_range_add(tx, p.off, p.len)); /* forgotten at the checkpoint */
                PMS_TRY(pms_write(tx->medium, p.off, src, p.len));
                tx->pages_dirty += p.len / PMS_PAGE;
                *out++ = PMS_ENTRY(p.off, PMS_ENTRY_FRESH, 0);
                *out++ = p.len;
                *out++ = pms_hash(src, p.len, 3);
                *data_sync = 1;
            } else {
                out = inline_fill(tx, p.off, p.len, out);
            }
            off += p.len;
        }
    }
    pms_tx_overlay_fill(tx, out);
    return PMS_OK;
}

/* From here on the pages of inline contents and of the overlay differ from the file. */
static void unit_apply(struct pms_tx *tx)
{
    const struct pms_linemap *overlay = &tx->ws->overlay;
    for (size_t i = 0; i < tx->ws->fresh_count; i++) {
        uint64_t off = tx->ws->fresh[i].off, end = off + tx->ws->fresh[i].len;
        while (off < end) {
            struct piece p = next_piece(tx, off, end);
            if (!p.in_place)
                pms_tx_see(tx, p.off, p.len);
            off += p.len;
        }
    }
    for (uint32_t n = 0; n < overlay->count; n++)
        if (overlay->line[n].mask)
            pms_tx_store(tx, &overlay->line[n]);
}

/* A payload that is too large for the ring goes to borrowed pages; the frame names them. */
static int payload_far(struct pms_tx *tx, uint64_t words)
{
    uint64_t *body = malloc(words * 8);
    if (!body)
        return PMS_FAIL_NOMEM("make a log frame", words * 8);
    int data_sync = 1;
    int status = unit_fill(tx, body, &data_sync);
    if (status == PMS_OK)
        status = pms_tx_borrow(tx, body, words * 8);
    free(body);
    PMS_TRY(status);
    const struct pms_borrowed *b = &tx->borrowed[tx->borrowed_count - 1];
    uint64_t *out = group_words(&tx->group) + tx->group.count;
    *out++ = PMS_ENTRY(b->off, PMS_ENTRY_EXTENT, 0);
    *out++ = b->bytes;
    *out++ = b->hash;
    tx->group.count += 3;
    tx->group.data_sync = 1;
    return PMS_OK;
}

int pms_file_commit(struct pms_tx *tx, uint64_t *ticket)
{
    struct pms_group *group = &tx->group;
    uint64_t words = pms_tx_place_fresh(tx);
    if (words == 0) { /* nothing reachable has changed */
        pms_wset_reset(tx->ws);
        pms_heap_abort(tx->heap, 0);
        pms_wset_reset(tx->ws);
        /* What this unit saw, or found done already, may still wait for its sync. */
        if (tx->ticket_durable != tx->ticket_issued)
            *ticket = tx->ticket_issued;
        return PMS_OK;
    }
    words = unit_words(tx, words);
    /* The group must stay within a frame: see pms_tx_wants_flush. */
    int far = words * 8 > tx->log->bytes / 8 - PMS_LINE;
    PMS_TRY(group_reserve(group, far ? 3 : words));
    if (far) {
        PMS_TRY(payload_far(tx, words));
    } else {
        PMS_TRY(unit_fill(tx, group_words(group) + group->count, &group->data_sync));
        group->count += words;
    }
    unit_apply(tx);
    pms_tx_borrow_end(tx, 1);
    group->ticket = *ticket = ++tx->ticket_issued;
    pms_heap_commit(tx->heap, *ticket);
    pms_wset_reset(tx->ws);
    tx->commits++;
    return PMS_OK;
}

/* ---- the group ---- */

int pms_group_take(struct pms_tx *tx)
{
    struct pms_group empty = tx->writing;
    tx->writing = tx->group;
    empty.count = 0;
    empty.data_sync = 0;
    tx->group = empty;
    tx->leader = 1;
    tx->frames++;
    tx->syncs_begun = tx->medium->syncs_begun; /* all have ended: the lock is held */
    return pms_log_fits(tx->log, tx->writing.count, 0)
               ? PMS_OK
               : PMS_FAIL(PMS_E_FULL, "append to the log", tx->log->off, tx->writing.count * 8,
                          tx->log->bytes);
}

int pms_group_sync(struct pms_tx *tx) { return pms_sync(tx->medium); }

int pms_group_write(struct pms_tx *tx)
{
    struct pms_group *group = &tx->writing;
    uint64_t seq, pos;
    struct pms_log *log = tx->log;
    uint8_t *buffer = log->buffer;
    size_t room = log->buffer_room;
    log->buffer = group->buffer;
    log->buffer_room = group->room;
    group->buffer = buffer;
    group->room = room;
    int status = pms_log_append(tx->log, PMS_FRAME_REDO, group->count, 0, &seq, &pos);
    /* Nobody else has synced meanwhile: no error of ours was told to another. */
    if (status == PMS_OK &&
        tx->medium->syncs_begun - tx->syncs_begun == 1u + (group->data_sync != 0))
        pms_log_say_synced(log);
    return status;
}

void pms_group_done(struct pms_tx *tx, int status)
{
    tx->leader = 0;
    if (status != PMS_OK)
        return;
    tx->log_used = tx->log->head - tx->log->dur_pos;
    tx->ticket_durable = tx->writing.ticket;
    pms_tell_durable(tx->medium, tx->ticket_durable);
    pms_heap_release(tx->heap, tx->ticket_durable + 1);
}

/* ---- checkpoint ---- */

/* The next row of dirty pages from *page on; 0: no more. */
static uint64_t dirty_run(const struct pms_tx *tx, uint64_t *page)
{
    uint64_t at = *page, end = tx->page_words * 64, n = 0;
    while (at < end && !(tx->page_seen[at / 64] >> (at & 63) & 1))
        at = tx->page_seen[at / 64] >> (at & 63) ? at + 1 : (at | 63) + 1;
    *page = at;
    while (at + n < end && n < 256 && tx->page_seen[(at + n) / 64] >> ((at + n) & 63) & 1)
        n++;
    return n;
}

int pms_file_checkpoint(struct pms_tx *tx)
{
    struct pms_log *log = tx->log;
    uint64_t n;
    if (tx->pages_dirty == 0 && log->dur_seq == log->seq)
        return PMS_OK; /* also at close: to say that nothing follows would cost two syncs */
    for (uint64_t page = 0; (n = dirty_run(tx, &page)) != 0; page += n)
        PMS_TRY(pms_write(tx->medium, page * PMS_PAGE, tx->medium->base + page * PMS_PAGE,
                          n * PMS_PAGE));
    PMS_TRY(pms_sync(tx->medium)); /* pages, before the anchor gives up their frames */
    log->need_seq = log->seq;
    log->need_pos = log->head;
    PMS_TRY(pms_log_checkpoint(log));
    /* Private copies have what the file has by now.  Where the kernel keeps them (mlockall), they
     * cost memory and nothing else. */
    for (uint64_t page = 0; (n = dirty_run(tx, &page)) != 0; page += n)
        (void)pms_map_forget(tx->map, page * PMS_PAGE, n * PMS_PAGE);
    while (tx->range_count > 0) { /* the file has these: no need for private copies */
        const struct pms_range *r = &tx->range[--tx->range_count];
        (void)pms_map_forget(tx->map, r->off, r->len);
    }
    memset(tx->page_seen, 0, tx->page_words * 8);
    tx->pages_dirty = 0;
    tx->log_used = 0;
    pms_tx_give_back(tx);
    tx->heap->starved = 0;
    return PMS_OK;
}
