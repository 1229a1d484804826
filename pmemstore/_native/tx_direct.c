/* tx_direct.c -- commit on direct media: one REDO frame, or UNDO frames and a COMMIT.
 *
 * The protocol is docs/design.md, "Commit on direct media"; the order of the calls below is
 * what keeps data alive, so each fence says what it separates.
 *
 *   D1  UNDO entries of a word are durable before the word is stored in place
 *   D2  REDO is durable before its words are stored in place; they are written back before the fence
 *       of frame PMS_REDO_LAG behind it, and of the first one that is no REDO: tx_lag.h
 *   D3  COMMIT is fenced before commit returns; all ranges ever logged and all fresh blocks
 *       are written back before that fence, and hashed in the frame (or fenced before it)
 *   D4  need_seq is the first frame of the oldest unit that is not settled
 *   D5  a frame is fenced before the next one is appended: recovery counts frames to know that
 *       an earlier unit's stores are durable
 */
#include <stdlib.h>

#include "hash.h"
#include "tx.h"

/* More content than this is fenced before its frame instead of being hashed: new blocks before REDO,
 * where hashing more would take longer than the fence, and all that a COMMIT vouches for. */
#define HASHED_FRESH 4096u
#define HASHED_MAX (1u << 20)

/* A fence that makes frames durable: a pending anchor too; earlier units are settled, but for the
 * newest REDOs. */
static void fence_frames(struct pms_tx *tx)
{
    struct pms_log *log = tx->log;
    pms_fence(tx->medium);
    pms_log_settled(log);
    if (tx->txid && log->need_seq < tx->txid) {
        log->need_seq = tx->txid;
        log->need_pos = tx->txid_pos;
    }
    pms_heap_release(tx->heap, log->seq > PMS_REDO_LAG ? log->seq - PMS_REDO_LAG : 0);
    if (tx->borrowed_count)
        pms_tx_give_back(tx);
}

static int checkpoint_fenced(struct pms_tx *tx)
{
    PMS_TRY(pms_log_checkpoint(tx->log));
    fence_frames(tx);
    return PMS_OK;
}

/* All that units before this one stored is written back: one fence makes it durable, and an anchor
 * behind their frames keeps recovery from touching them.  What they freed can be handed out, and the
 * ring is empty.  Only while this unit has no frame. */
void pms_direct_settle(struct pms_tx *tx)
{
    struct pms_log *log = tx->log;
    if (tx->txid)
        return;
    pms_lag_end(&tx->lag, tx->medium);
    fence_frames(tx);
    log->need_seq = log->seq;
    log->need_pos = log->head;
    if (checkpoint_fenced(tx) == PMS_OK)
        pms_heap_release(tx->heap, UINT64_MAX);
}

static int overflow(struct pms_tx *tx);

/* Room for a frame of so many words, and for one of `reserve` words behind it, by all means. */
static int make_room(struct pms_tx *tx, uint64_t words, uint64_t reserve)
{
    struct pms_log *log = tx->log;
    if (PMS_UNLIKELY(log->head + pms_frame_bytes(words) > tx->ring_due))
        pms_tx_ready_ring(tx, pms_frame_bytes(words));
    if ((!reserve && pms_log_fits_here(log, words)) || pms_log_fits(log, words, reserve))
        return PMS_OK;
    PMS_TRY(checkpoint_fenced(tx));
    if (log->need_seq > log->dur_seq && !pms_log_fits(log, words, reserve))
        PMS_TRY(checkpoint_fenced(tx)); /* that fence has moved need */
    if (pms_log_fits(log, words, reserve))
        return PMS_OK;
    if (!tx->txid)
        pms_direct_settle(tx);
    else if (tx->range_count > tx->range_moved)
        PMS_TRY(overflow(tx));
    if (pms_log_fits(log, words, reserve))
        return PMS_OK;
    return PMS_FAIL(PMS_E_FULL, "append to the log", log->off, pms_frame_bytes(words),
                    log->bytes);
}

static uint64_t open_extents(const struct pms_tx *tx)
{
    uint64_t n = 0;
    for (size_t i = 0; i < tx->borrowed_count; i++)
        n += tx->borrowed[i].seq == PMS_BORROWED_OPEN;
    return n;
}

/* An OVERFLOW frame must always fit behind an UNDO frame. */
static uint64_t overflow_reserve(const struct pms_tx *tx) { return 3 * (open_extents(tx) + 1); }

/* ---- undo ---- */

/* The old words of a logged range, from DRAM: memory may have the new ones by now.  A range lies
 * in one line. */
static void old_words(const struct pms_tx *tx, const struct pms_range *r, uint64_t *out)
{
    const struct pms_line_ov *line = pms_linemap_find(&tx->logged, r->off & ~63ull);
    memcpy(out, &line->word[r->off >> 3 & 7u], r->len);
}

/* All undo entries that are not in borrowed pages yet go there; one OVERFLOW frame names all
 * of the pages, and takes the place of every earlier frame of this transaction. */
static int overflow(struct pms_tx *tx)
{
    struct pms_log *log = tx->log;
    uint64_t words = 0, seq, pos;
    if (3 * open_extents(tx) > tx->frame_words / 4) {
        /* Too many to name: all entries move to one new extent.  The old ones belong to the
         * frame that still names them. */
        pms_tx_borrow_end(tx, tx->overflow_seq);
        tx->range_moved = 0;
    }
    for (size_t i = tx->range_moved; i < tx->range_count; i++)
        words += 1 + tx->range[i].len / 8;
    uint64_t *body = malloc(words * 8), *at = body;
    if (!body)
        return PMS_FAIL_NOMEM("make a log frame", words * 8);
    for (size_t i = tx->range_moved; i < tx->range_count; i++) {
        const struct pms_range *r = &tx->range[i];
        *at++ = PMS_ENTRY(r->off, PMS_ENTRY_BYTES, r->len / 8);
        old_words(tx, r, at);
        at += r->len / 8;
    }
    /* Whatever can fail comes first: an extent that no frame names would be named by the next
     * one, and recovery would hash its ranges twice. */
    uint64_t n = open_extents(tx) + 1;
    uint64_t *payload = pms_log_payload(log, n * 3);
    int status = !payload ? PMS_FAIL_NOMEM("make a log frame", n * 24)
                 : !pms_log_fits(log, n * 3, 0)
                     ? PMS_FAIL(PMS_E_FULL, "append to the log", log->off,
                                pms_frame_bytes(n * 3), log->bytes)
                     : pms_tx_borrow(tx, body, words * 8);
    free(body);
    PMS_TRY(status);
    for (size_t i = 0; i < tx->borrowed_count; i++) {
        const struct pms_borrowed *b = &tx->borrowed[i];
        if (b->seq != PMS_BORROWED_OPEN)
            continue;
        *payload++ = PMS_ENTRY(b->off, PMS_ENTRY_EXTENT, 0);
        *payload++ = b->bytes;
        *payload++ = b->hash;
    }
    PMS_TRY(pms_log_append(log, PMS_FRAME_OVERFLOW, n * 3, tx->txid, &seq, &pos));
    fence_frames(tx); /* body and frame, before earlier frames are given up */
    tx->range_moved = tx->range_count;
    tx->overflow_seq = seq;
    log->need_seq = seq;
    log->need_pos = pos;
    return checkpoint_fenced(tx);
}

/* One UNDO frame with the ranges [first, range_count), durable. */
static int append_undo(struct pms_tx *tx, size_t first)
{
    struct pms_log *log = tx->log;
    uint64_t words = 0, seq, pos;
    for (size_t i = first; i < tx->range_count; i++)
        words += 1 + tx->range[i].len / 8;
    size_t count = tx->range_count;
    tx->range_count = first; /* an overflow on the way must not move what has no frame yet */
    int status = make_room(tx, words, overflow_reserve(tx));
    tx->range_count = count;
    PMS_TRY(status);
    uint64_t *at = pms_log_payload(log, words);
    if (!at)
        return PMS_FAIL_NOMEM("make a log frame", words * 8);
    for (size_t i = first; i < count; i++) {
        const struct pms_range *r = &tx->range[i];
        *at++ = PMS_ENTRY(r->off, PMS_ENTRY_BYTES, r->len / 8);
        old_words(tx, r, at);
        at += r->len / 8;
    }
    uint64_t txid = tx->txid ? tx->txid : log->seq;
    if (!tx->txid)
        pms_lag_end(&tx->lag, tx->medium);
    PMS_TRY(pms_log_append(log, PMS_FRAME_UNDO, words, txid, &seq, &pos));
    if (!tx->txid) {
        tx->txid = seq;
        tx->txid_pos = pos;
    }
    fence_frames(tx); /* D1; and D5, before another frame of the same spill */
    return PMS_OK;
}

/* Words of the overlay that no frame of this transaction has: remember them as old words from
 * memory, and as ranges.  A failure in between leaves ranges without a frame: the caller
 * takes them back. */
static int log_line(struct pms_tx *tx, const struct pms_line_ov *line)
{
    const struct pms_line_ov *have = pms_linemap_find(&tx->logged, line->off);
    uint32_t mask = line->mask & ~(have ? have->mask : 0u);
    if (!mask)
        return PMS_OK;
    struct pms_line_ov *old = pms_linemap_get(&tx->logged, line->off);
    if (!old)
        return PMS_FAIL_NOMEM("remember what changes", 0);
    for (uint32_t i = 0; mask >> i; i++) {
        uint32_t len = 0;
        while (i + len < 8 && mask >> (i + len) & 1u)
            len++;
        if (!len)
            continue;
        PMS_TRY(pms_tx_range_add(tx, line->off + 8u * i, 8u * len));
        memcpy(&old->word[i], tx->medium->base + line->off + 8u * i, 8u * len);
        old->mask |= ((1u << len) - 1u) << i;
        i += len - 1;
    }
    return PMS_OK;
}

/* Ranges from `first` on never got a frame: they must not count as logged. */
static void unlog(struct pms_tx *tx, size_t first)
{
    while (tx->range_count > first) {
        const struct pms_range *r = &tx->range[--tx->range_count];
        struct pms_line_ov *line = pms_linemap_find(&tx->logged, r->off & ~63ull);
        line->mask &= ~(((1u << r->len / 8) - 1u) << (r->off >> 3 & 7u));
    }
}

int pms_direct_spill(struct pms_tx *tx)
{
    struct pms_linemap *overlay = &tx->ws->overlay;
    (void)pms_tx_place_fresh(tx);
    uint64_t words = 0;
    size_t first = tx->range_count;
    for (uint32_t n = 0; n < overlay->count; n++) {
        int status = PMS_OK;
        if (words + PMS_LINE_WORDS > tx->frame_words) {
            status = append_undo(tx, first);
            if (status == PMS_OK) {
                first = tx->range_count;
                words = 0;
            }
        }
        size_t before = tx->range_count;
        if (status == PMS_OK)
            status = log_line(tx, &overlay->line[n]);
        if (status != PMS_OK) {
            unlog(tx, first);
            return status;
        }
        for (size_t i = before; i < tx->range_count; i++)
            words += 1 + tx->range[i].len / 8;
    }
    if (tx->range_count > first) {
        int status = append_undo(tx, first);
        if (status != PMS_OK) {
            unlog(tx, first);
            return status;
        }
    }
    /* D1: every word below has a durable entry, from here or from an earlier spill. */
    for (uint32_t n = 0; n < overlay->count; n++)
        if (overlay->line[n].mask)
            pms_tx_store(tx, &overlay->line[n]);
    pms_linemap_clear(overlay);
    return PMS_OK;
}

static void flush_ranges(struct pms_tx *tx)
{
    for (uint32_t n = 0; n < tx->logged.count; n++)
        pms_flush(tx->medium, tx->logged.line[n].off, PMS_LINE);
}

static void forget_undo(struct pms_tx *tx)
{
    pms_tx_borrow_end(tx, tx->overflow_seq);
    pms_linemap_clear(&tx->logged);
    tx->range_count = tx->range_moved = 0;
    tx->txid = tx->overflow_seq = 0;
}

void pms_direct_abort(struct pms_tx *tx)
{
    for (uint32_t n = 0; n < tx->logged.count; n++) {
        const struct pms_line_ov *line = &tx->logged.line[n];
        for (uint32_t i = 0; i < 8; i++)
            if (line->mask >> i & 1u)
                pms_store_u64(tx->medium, line->off + 8u * i, line->word[i]);
    }
    flush_ranges(tx); /* durable by the next frame's fence; until then recovery undoes again */
    forget_undo(tx);
}

/* ---- commit ---- */

static uint64_t fresh_bytes(const struct pms_tx *tx)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < tx->ws->fresh_count; i++)
        bytes += tx->ws->fresh[i].len;
    return bytes;
}

static void flush_fresh(struct pms_tx *tx)
{
    for (size_t i = 0; i < tx->ws->fresh_count; i++) {
        const struct pms_fresh *f = &tx->ws->fresh[i];
        pms_tx_see(tx, f->off, f->len);
        pms_flush(tx->medium, f->off, f->len);
    }
}

static uint64_t *fill_fresh(const struct pms_tx *tx, uint64_t *out)
{
    for (size_t i = 0; i < tx->ws->fresh_count; i++) {
        const struct pms_fresh *f = &tx->ws->fresh[i];
        *out++ = PMS_ENTRY(f->off, PMS_ENTRY_FRESH, 0);
        *out++ = f->len;
        *out++ = pms_hash(tx->medium->base + f->off, f->len, 3);
    }
    return out;
}

static void unit_done(struct pms_tx *tx, uint64_t seq)
{
    struct pms_log *log = tx->log;
    uint64_t used = log->head - log->dur_pos;
    pms_heap_commit(tx->heap, seq);
    pms_wset_reset(tx->ws);
    tx->commits++;
    if (!log->pending && (used > PMS_ANCHOR_EVERY || used > log->bytes / 2) &&
        log->need_seq > log->dur_seq)
        (void)pms_log_checkpoint(log); /* durable with the next frame's fence, for free */
}

/* Nothing reachable has changed. */
static int commit_nothing(struct pms_tx *tx)
{
    pms_wset_reset(tx->ws);
    pms_heap_abort(tx->heap, 0);
    pms_wset_reset(tx->ws);
    return PMS_OK;
}

/* D4: of the REDO frames in a row, the newest PMS_REDO_LAG are not settled. */
static void need_redo(struct pms_tx *tx, uint64_t seq, uint64_t pos)
{
    struct pms_lag *lag = &tx->lag;
    lag->row += lag->row < PMS_REDO_LAG;
    lag->unit[seq % PMS_REDO_LAG].pos = pos;
    tx->log->need_seq = seq + 1 - lag->row;
    tx->log->need_pos = lag->unit[tx->log->need_seq % PMS_REDO_LAG].pos;
}

/* The whole unit in one frame, {fresh extents, bytes}.  PMS_MISSING: too large, take the other
 * way. */
static int commit_redo(struct pms_tx *tx)
{
    struct pms_log *log = tx->log;
    struct pms_linemap *overlay = &tx->ws->overlay;
    uint64_t most = tx->frame_words, room = (uint64_t)PMS_LINE_WORDS * overlay->count, seq, pos;
    pms_tx_sort_fresh(tx);
    uint64_t fresh_words = 3 * tx->ws->fresh_count;
    int fence_first = fresh_words > most || fresh_bytes(tx) > HASHED_FRESH;
    if (fence_first)
        fresh_words = 0;
    if (room > most && (room = pms_tx_place_fresh(tx)) > most)
        return PMS_MISSING;
    uint64_t *payload = pms_log_payload(log, fresh_words + room);
    if (!payload)
        return PMS_FAIL_NOMEM("make a log frame", (fresh_words + room) * 8);
    uint64_t *bytes = payload + fresh_words;
    uint64_t words = (uint64_t)(pms_tx_overlay_take(tx, bytes) - bytes);
    if (words == 0)
        return commit_nothing(tx);
    if (words > most)
        return PMS_MISSING;
    if (words + fresh_words > most) {
        fence_first = 1;
        memmove(payload, bytes, words * 8);
    } else {
        words += fresh_words;
    }
    PMS_TRY(make_room(tx, words, 0)); /* without UNDO frames, so it needs no frame's memory */
    if (!fence_first)
        fill_fresh(tx, payload);
    flush_fresh(tx);
    if (fence_first)
        fence_frames(tx); /* fresh contents, before the frame that makes them reachable */
    pms_lag_write_back(&tx->lag, tx->medium, log->seq);
    PMS_TRY(pms_log_append(log, PMS_FRAME_REDO, words, 0, &seq, &pos));
    fence_frames(tx); /* D2: the frame (and hashed fresh contents), before the stores below */
    need_redo(tx, seq, pos);
    int at_once = overlay->count > PMS_LAG_LINES;
    for (uint32_t n = 0; n < overlay->count; n++) {
        const struct pms_line_ov *line = &overlay->line[n];
        if (!line->mask)
            continue;
        pms_tx_store(tx, line);
        if (at_once)
            pms_flush(tx->medium, line->off, PMS_LINE);
        else
            pms_lag_add(&tx->lag, seq, line->off);
    }
    unit_done(tx, seq);
    return PMS_OK;
}

static uint64_t content_hash(const struct pms_tx *tx)
{
    uint64_t h = 0;
    for (size_t i = 0; i < tx->range_count; i++)
        h = pms_hash(tx->medium->base + tx->range[i].off, tx->range[i].len, h);
    return h;
}

static int commit_undo(struct pms_tx *tx)
{
    struct pms_log *log = tx->log;
    uint64_t seq, pos, content = fresh_bytes(tx) + tx->range_count * 16;
    PMS_TRY(pms_direct_spill(tx));
    uint64_t words = 2 + 3 * tx->ws->fresh_count;
    int fence_first = words > tx->frame_words || content > HASHED_MAX;
    if (fence_first)
        words = 2;
    PMS_TRY(make_room(tx, words, 0));
    uint64_t *payload = pms_log_payload(log, words);
    if (!payload)
        return PMS_FAIL_NOMEM("make a log frame", words * 8);
    flush_ranges(tx);
    flush_fresh(tx);
    if (fence_first)
        fence_frames(tx); /* D3: all contents, before the frame that vouches for them */
    payload[0] = fence_first ? 0 : content_hash(tx);
    payload[1] = (uint64_t)fence_first;
    if (!fence_first)
        fill_fresh(tx, payload + 2);
    PMS_TRY(pms_log_append(log, PMS_FRAME_COMMIT, words, tx->txid, &seq, &pos));
    fence_frames(tx); /* D3: COMMIT and contents, before commit returns */
    log->need_seq = log->seq;
    log->need_pos = log->head;
    forget_undo(tx);
    unit_done(tx, seq);
    return PMS_OK;
}

int pms_direct_commit(struct pms_tx *tx)
{
    if (!tx->txid) {
        int status = commit_redo(tx);
        if (status != PMS_MISSING)
            return status;
        PMS_TRY(pms_direct_spill(tx));
    }
    return commit_undo(tx);
}

int pms_direct_checkpoint(struct pms_tx *tx)
{
    if (tx->log->need_seq != tx->log->seq || tx->log->dur_seq != tx->log->seq ||
        tx->log->closing)
        pms_direct_settle(tx);
    return PMS_OK;
}
