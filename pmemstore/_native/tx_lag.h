/* tx_lag.h -- direct media: lines that REDO units have stored in place and nobody has written back.
 *
 *      frame        e        e + 1     e + 2     e + 3     e + 4 (PMS_REDO_LAG)
 *      stores in    a b c    a d       a         b         ...
 *      remembered   a b c    d         -         -         a b c are written back before it goes out
 *
 * A line is remembered with the oldest unit that is not written back; what later ones store to it
 * goes out with it.  Recovery stores again what a unit has changed until that many frames are behind
 * it, so both have the same number.
 *
 * Invariants:
 *   G1  before frame s is fenced, every line that a REDO with a number up to s - PMS_REDO_LAG has
 *       changed was written back after its store; if s is no REDO, every line that any REDO has
 *   G2  `known` never has a line that is not in `line`
 */
#ifndef PMS_TX_LAG_H
#define PMS_TX_LAG_H

#include "map.h"

/* A unit that changes more lines writes them back at once. */
#define PMS_LAG_LINES 32u
#define PMS_LAG_KNOWN 128u

struct pms_lag {
    struct {
        uint32_t count;
        uint64_t pos;                 /* of its frame, as log positions go */
        uint64_t line[PMS_LAG_LINES]; /* offsets */
    } unit[PMS_REDO_LAG];             /* REDO with number n: at n % PMS_REDO_LAG */
    uint32_t row; /* REDO frames since the last of another kind; no more than fit */
    uint64_t known[PMS_LAG_KNOWN]; /* lines by a hash; of two the newer */
};

static inline uint64_t *pms_lag_known(struct pms_lag *lag, uint64_t line)
{
    return &lag->known[(line >> 6 ^ line >> 13) % PMS_LAG_KNOWN];
}

/* REDO number seq has changed a line. */
static inline void pms_lag_add(struct pms_lag *lag, uint64_t seq, uint64_t line)
{
    uint64_t *known = pms_lag_known(lag, line);
    if (*known == line)
        return;
    *known = line;
    lag->unit[seq % PMS_REDO_LAG].line[lag->unit[seq % PMS_REDO_LAG].count++] = line;
}

/* Frame seq comes next: what the unit PMS_REDO_LAG frames before it has changed is written back. */
void pms_lag_write_back(struct pms_lag *lag, struct pms_medium *medium, uint64_t seq);
/* The next frame is no REDO, or none comes: all of it. */
void pms_lag_end(struct pms_lag *lag, struct pms_medium *medium);

#endif
