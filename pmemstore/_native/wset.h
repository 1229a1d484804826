/* wset.h -- the write set: what the open unit of work wants to change, kept in DRAM.
 *
 * Every change to the pool goes through here.  Words that are not yet allowed on the medium
 * wait in the overlay, a hash table of cache lines; reads of the core look through it.
 *
 *        pms_rd(off) ----> overlay has the word? -- yes --> the new word
 *                                   | no
 *                                   v
 *                               the mapping
 *
 *        pms_wr(off, word) -> in the newest fresh extent? -- yes --> stored at once (nobody can
 *                                   | no                             reach it before commit)
 *                                   v
 *                               overlay, old word into the journal
 *
 * So one log frame and one fence serve all the words of an operation, and of as many
 * operations of a transaction as fit (docs/design.md, "One frame for many operations").
 *
 * Invariants:
 *   W1  a word of the mapping that is reachable is never stored to outside pms_tx_*
 *   W2  fresh extents are disjoint and allocated by this unit; no overlay word lies over one
 *       that was written before the extent was handed out (the heap never hands out what this
 *       unit has freed or given back)
 *   W3  undoing the journal from its end to a mark gives back the words read at the mark
 *
 * Failure: malloc failure sets ws->failed and the write is lost; the operation's end sees it
 * and rolls the operation back (PMS_E_NOMEM).  So the writers need not check each store.
 */
#ifndef PMS_WSET_H
#define PMS_WSET_H

#include "layout.h"
#include "map.h"

struct pms_line_ov { /* one line of the overlay */
    uint64_t off;    /* multiple of 64 */
    uint32_t mask;   /* bit i: word[i] is set */
    uint32_t zero;
    uint64_t word[8];
};

/* off -> line, insertion order kept in line[].  A slot is {life, 8 bits of the hash, index of the line}:
 * one of another life is empty, so clearing costs nothing.  Most look-ups are of a line that is not
 * there, which one bit of `seen` tells of nearly all.  After a unit that used few of the slots there are
 * half as many, and if they are too few, again more. */
#define PMS_LINES_FEW 8u
#define PMS_LINES_RECENT 16u
#define PMS_SEEN_BITS 14u
struct pms_linemap {
    struct pms_line_ov *line;
    uint64_t *slot; /* open addressing; empty as long as there are no more than few lines */
    uint64_t few[PMS_LINES_FEW]; /* offsets of the first ones, which are looked through then */
    uint32_t count, room;
    uint32_t full;  /* count at which there must be more lines, or more slots in use */
    uint32_t slots; /* in use */
    uint32_t slots_room;
    uint32_t life;     /* +1 with each clear; 24 bits */
    uint32_t last;     /* index of the line that was written last: most writes stay in it */
    uint64_t last_end; /* its offset + 1 */
    /* Where there are more than few lines: by its number the one that was written last, and of each
     * bit of a hash whether a line has it. */
    uint64_t recent_end[PMS_LINES_RECENT]; /* offset + 1 */
    uint32_t recent[PMS_LINES_RECENT];     /* index */
    uint64_t seen[(1u << PMS_SEEN_BITS) / 64];
};

struct pms_journal_entry {
    uint64_t off;
    uint64_t old;
};

struct pms_fresh {
    uint64_t off;
    uint64_t len;
};

struct pms_wset {
    struct pms_medium *medium;
    struct pms_linemap overlay; /* new words, not in the mapping yet */
    struct pms_journal_entry *journal;
    size_t journal_count, journal_room;
    struct pms_fresh *fresh; /* allocated by this unit and initialised in place */
    size_t fresh_count, fresh_room;
    int journaling; /* in a transaction: keep old words for savepoints and failed operations */
    int failed;     /* malloc failed since the last reset */
    uint8_t *scratch; /* of pms_rd_bytes */
    size_t scratch_room;
};

/* Bit maps in DRAM, so many, all made by one call and at one place: each from `have` to `want` words,
 * want >= have; the new ones are 0.  Those of a large pool cost nothing before they are used.  After a
 * failure they are as they were. */
int pms_bits_grow(uint64_t *bits[], unsigned maps, uint64_t have, uint64_t want);
/* first: of the maps. */
void pms_bits_free(uint64_t *first, unsigned maps, uint64_t words);

/* The line with this offset, or NULL. */
struct pms_line_ov *pms_linemap_find(const struct pms_linemap *map, uint64_t line_off);
/* Find or add; NULL: no memory. */
struct pms_line_ov *pms_linemap_get(struct pms_linemap *map, uint64_t line_off);
void pms_linemap_clear(struct pms_linemap *map);
void pms_linemap_free(struct pms_linemap *map);

uint64_t pms_rd_slow(const struct pms_wset *ws, uint64_t off);

/* Read the word at off (multiple of 8, inside the pool: the caller has checked). */
static inline uint64_t pms_rd(const struct pms_wset *ws, uint64_t off)
{
    if (PMS_LIKELY(ws->overlay.count == 0)) {
        uint64_t word;
        memcpy(&word, ws->medium->base + off, 8);
        return word;
    }
    return pms_rd_slow(ws, off);
}

/* The line at off (a multiple of 64, inside the pool) as this unit sees it: 8 words, in the
 * mapping, in the overlay, or put together in room.  Good until the next write. */
static inline const uint64_t *pms_rd_line(const struct pms_wset *ws, uint64_t off,
                                          uint64_t room[8])
{
    const uint64_t *medium = (const uint64_t *)(const void *)(ws->medium->base + off);
    if (PMS_LIKELY(ws->overlay.count == 0))
        return medium;
    const struct pms_line_ov *line = pms_linemap_find(&ws->overlay, off);
    if (!line)
        return medium;
    if (line->mask == 0xffu)
        return line->word;
    for (uint32_t i = 0; i < 8; i++)
        room[i] = line->mask >> i & 1u ? line->word[i] : medium[i];
    return room;
}

/* Bytes [off, off+len) as this unit sees them; off a multiple of 8.  Points into the mapping,
 * or to scratch memory that lives until the next call.  NULL: no memory. */
const void *pms_rd_bytes(struct pms_wset *ws, uint64_t off, size_t len);

/* Does the overlay have a word of the lines of [off, off+len)? */
int pms_wset_touches(const struct pms_wset *ws, uint64_t off, uint64_t len);

/* Change the word at off (multiple of 8). */
void pms_wr(struct pms_wset *ws, uint64_t off, uint64_t word);
/* Change bytes; off a multiple of 8; the last word is padded with zeroes. */
void pms_wr_bytes(struct pms_wset *ws, uint64_t off, const void *src, size_t len);

/* Fill (a part of) a block that this unit has allocated and nothing else has seen: stored
 * in place at once, not logged.  Any off and len inside the block. */
void pms_init_bytes(struct pms_wset *ws, uint64_t off, const void *src, size_t len);
void pms_init_zero(struct pms_wset *ws, uint64_t off, size_t len);

/* Used by the heap: a block is handed out, or its free is undone. */
void pms_fresh_add(struct pms_wset *ws, uint64_t off, uint64_t len);
void pms_fresh_remove(struct pms_wset *ws, uint64_t off,
                      uint64_t len); /* part of one, or none */
/* The fresh extent that holds off, or NULL. */
struct pms_fresh *pms_fresh_find(struct pms_wset *ws, uint64_t off);

/* Take back journal entries [mark, end), newest first, without journaling. */
void pms_wset_rollback(struct pms_wset *ws, size_t mark);
/* Forget everything (a unit ended). */
void pms_wset_reset(struct pms_wset *ws);
void pms_wset_free(struct pms_wset *ws);

#endif
