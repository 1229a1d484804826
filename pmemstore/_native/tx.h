/* tx.h -- units of work: one operation alone (autocommit), or a transaction of many.
 *
 * Direct media (docs/design.md, "Commit on direct media"):
 *
 *   unit fits one REDO frame:   fresh blocks flushed | REDO | FENCE | stores in place, flushed
 *   larger: each time the overlay is full ("spill"):
 *                               UNDO of the words not yet logged | FENCE | stores in place
 *           at commit:          last spill | flush all ranges and fresh | COMMIT | FENCE
 *
 * Files: at commit the overlay goes into the pending REDO payload and is applied to the private
 * mapping; one leader writes one frame for all waiting threads (group commit).
 *
 *   T1  nothing reaches the mapping outside fresh blocks before its UNDO or REDO is durable
 *   T2  files: between units, private pages == committed image + units waiting for their sync
 *   T3  every range ever logged by UNDO, and every fresh extent, is flushed before COMMIT's
 *       fence and is covered by its hash
 */
#ifndef PMS_TX_H
#define PMS_TX_H

#include "heap.h"
#include "log.h"
#include "tx_lag.h"

/* Direct media: the anchor follows when so many bytes of the log are in use, or half of it.  It costs a
 * line, and what is in use is what an open after a kill reads, hashes and flushes. */
#define PMS_ANCHOR_EVERY (16u << 10)

struct pms_range {
    uint64_t off;
    uint64_t len;
};

struct pms_mark { /* where an operation or a savepoint began */
    size_t journal, actions, births;
};

struct pms_group {   /* files: units that finished and wait for their frame */
    uint8_t *buffer; /* of the frame to be: its payload begins behind the head */
    size_t room;     /* bytes */
    size_t count;    /* words of the payload */
    uint64_t ticket; /* of the newest unit in it */
    int data_sync;   /* contents were written outside the log: sync them before the frame */
};

#define PMS_BORROWED_OPEN UINT64_MAX
struct pms_borrowed { /* pages that hold part of the log */
    uint64_t off, pages;
    uint64_t bytes, hash;
    uint64_t seq; /* last frame that names them; _OPEN: the open unit still does */
};

struct pms_tx {
    struct pms_medium *medium;
    struct pms_log *log;
    struct pms_wset *ws;
    struct pms_heap *heap;
    struct pms_map *map;

    /* direct: what this transaction has logged */
    uint64_t txid; /* seq of its first UNDO frame; 0: none yet */
    uint64_t txid_pos;
    struct pms_linemap logged; /* old words of all ranges, by line */
    struct pms_range *range;   /* in the order of the log: what COMMIT's hash covers;
                                  files: contents written in place since the checkpoint */
    size_t range_count, range_room;
    size_t range_moved; /* ranges whose old words are in borrowed pages already */

    struct pms_lag lag; /* direct: what REDO units have changed and is not written back yet */

    /* direct: undo entries that did not fit the ring; files: payloads that did not.  Given
     * back when the durable anchor has passed their frame. */
    struct pms_borrowed *borrowed;
    size_t borrowed_count, borrowed_room;
    uint64_t borrowed_pages; /* in all of them */
    uint64_t overflow_seq;   /* direct: the open transaction's last OVERFLOW frame, or 0 */

    /* files */
    struct pms_group group;   /* filling */
    struct pms_group writing; /* with the leader */
    uint64_t ticket_issued;   /* units finished in memory */
    uint64_t ticket_durable;  /* units whose frame is synced */
    int leader;               /* a thread is writing a frame */
    uint64_t frames;          /* taken by leaders */
    uint32_t syncs_begun;     /* of the medium, when the leader took its group */
    uint64_t log_used;        /* bytes of the ring in use when the last frame was done */

    uint64_t *page_seen; /* direct: bit per page: writable in the page table, as far as known.
                            files: changed since the last checkpoint, and so in the log */
    uint64_t page_words, pages_dirty;
    int ahead; /* direct: pages are made writable before they are stored to, a piece at a time */
    int any_seen;        /* direct: page_seen is not all zero */
    int made_writable;   /* some were since it was last cleared: that moves the file's times */
    uint64_t ring_ready; /* direct: so far the ring's pages are writable, as log positions go */
    uint64_t ring_due;   /* a frame that ends behind this has the next piece made writable */
    uint64_t ring_first; /* where that began: after one turn all of it is */
    uint64_t waited_in;  /* `commits` while the last unit that waited for pages was open */

    uint64_t commits, aborts, write_faults; /* since open */
    uint32_t spill_lines;                   /* overlay size that triggers a spill */
    uint64_t frame_words;                   /* largest payload of one frame */
};

struct pms_pool;

/* log, heap and map are open.  Sets the heap's settle callback. */
int pms_tx_init(struct pms_tx *tx, struct pms_map *map, struct pms_log *log,
                struct pms_wset *ws, struct pms_heap *heap);
void pms_tx_free(struct pms_tx *tx);
int pms_tx_grown(struct pms_tx *tx); /* the file has more pages */
/* Direct: pages are made writable in pieces of so many, at a multiple of it: a span, and what the
 * kernel maps at once around a read. */
#define PMS_PIECE_PAGES 16u
#define PMS_PIECE_BYTES (PMS_PIECE_PAGES * PMS_PAGE)
/* The pages of a range are writable now; all pages may take a write fault again. */
void pms_tx_populated(struct pms_tx *tx, uint64_t off, uint64_t len);
void pms_tx_unpopulated(struct pms_tx *tx);
/* Make the pages of a range writable that are not yet, with those of the same pieces, if tx->ahead.
 * What cannot be is left to the write faults. */
void pms_tx_ready(struct pms_tx *tx, uint64_t off, uint64_t len);
/* The same for the ring, from its head on: a frame of so many bytes, and a piece ahead of it, which
 * is left to a later unit while there is room if this one has waited for pages. */
void pms_tx_ready_ring(struct pms_tx *tx, uint64_t bytes);

/* A unit opens.  transaction: keep a journal. */
void pms_unit_begin(struct pms_tx *tx, int transaction);
/* Between operations of a transaction: spill if the overlay is full. */
int pms_unit_breathe(struct pms_tx *tx);
/* Make the unit durable (direct) or hand it to the group (files: *ticket != 0).
 * On failure the unit is rolled back; PMS_E_MEDIA may also be a SIGBUS after the commit. */
int pms_unit_commit(struct pms_tx *tx, uint64_t *ticket);
void pms_unit_abort(struct pms_tx *tx);

/* Files: write one frame for the units that wait, behind a sync of what it speaks of if
 * writing.data_sync.  Called without the pool's lock by the leader between _take and _done, which
 * are called with it. */
int pms_group_take(struct pms_tx *tx);
int pms_group_sync(struct pms_tx *tx);
int pms_group_write(struct pms_tx *tx);
void pms_group_done(struct pms_tx *tx, int status);
/* No unit open and none waiting.  Files: committed pages to the file, sync, anchor.  Direct:
 * fence, anchor, fence.  Afterwards recovery has nothing to do. */
int pms_tx_checkpoint(struct pms_tx *tx);
/* Files: must the next unit wait for a checkpoint, or for the group? */
int pms_tx_wants_checkpoint(const struct pms_tx *tx);
int pms_tx_wants_flush(const struct pms_tx *tx);

/* ---- shared by tx.c, tx_direct.c and tx_file.c ---- */

/* Words of the overlay that lie in fresh blocks go there; words that change nothing are dropped.
 * Returns the payload words that the rest needs as BYTES entries.  Sorts the fresh extents. */
uint64_t pms_tx_place_fresh(struct pms_tx *tx);
void pms_tx_sort_fresh(struct pms_tx *tx);
/* Place and fill in one pass, the fresh extents sorted: returns the end of what it has filled, at
 * most PMS_LINE_WORDS for each line of the overlay. */
#define PMS_LINE_WORDS 12u
uint64_t *pms_tx_overlay_take(struct pms_tx *tx, uint64_t *out);
uint64_t *pms_tx_overlay_fill(const struct pms_tx *tx, uint64_t *out);
void pms_tx_store(struct pms_tx *tx, const struct pms_line_ov *line);
void pms_tx_see(struct pms_tx *tx, uint64_t off, uint64_t len);
int pms_tx_range_add(struct pms_tx *tx, uint64_t off, uint64_t len);
int pms_tx_borrow(struct pms_tx *tx, const void *body, uint64_t bytes);
/* The open unit's borrowed pages now belong to frame seq (0: to no frame, give back now). */
void pms_tx_borrow_end(struct pms_tx *tx, uint64_t seq);
void pms_tx_give_back(struct pms_tx *tx); /* those that the durable anchor has passed */

int pms_direct_commit(struct pms_tx *tx);
int pms_direct_spill(struct pms_tx *tx);
void pms_direct_abort(struct pms_tx *tx);
void pms_direct_settle(struct pms_tx *tx);
int pms_direct_checkpoint(struct pms_tx *tx);
int pms_file_commit(struct pms_tx *tx, uint64_t *ticket);
int pms_file_checkpoint(struct pms_tx *tx);

#endif
