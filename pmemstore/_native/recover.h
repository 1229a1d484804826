/* recover.h -- from whatever a crash left to the last committed state.
 *
 *   1. the newest valid anchor; the chain of valid frames behind it
 *   2. units: REDO alone; UNDO ... COMMIT of one transaction
 *   3. only the last frame is in doubt: a COMMIT or REDO whose contents do not match its hashes
 *      did not happen
 *   4. what was read and believed is made durable (after a kill it may be in caches alone)
 *   5. direct log: the unsettled units, at most five, in log order: REDO again, or UNDO;
 *      file log: every frame, in order
 *   6. made durable; then the other anchor with a new salt, made durable; the first one likewise
 *
 * Who opens a pool need not change it: 4 and 6 wait for the first unit, and so does what 5 makes
 * durable, if 1 finds no frame, or on files.  All that is shown until then is durable: of frames the
 * last alone can be in the page cache alone, so that one is written again at once, unless the synced
 * word behind it says that its sync has returned.  Direct media with frames have no private pages
 * to act in, and do all at once, but for the pool's name.
 *
 * A reader (PMS_RECOVER_NEVER) does 1 to 3 and 5, the last in private pages, and writes nothing; but
 * what he shows is durable too, acknowledged or not: he flushes as in 4, or syncs the file.
 *
 * A chain that ends before a valid later frame has been damaged: PMS_E_CORRUPT.
 *
 * It may crash anywhere in between and start again: until 6 nothing that it reads is changed,
 * and what it writes it would write again.  The log may stem from the other kind of medium (a
 * pool that was copied): how to read it stands in the anchor, how to make things durable is the
 * present medium's.
 */
#ifndef PMS_RECOVER_H
#define PMS_RECOVER_H

#include "log.h"

struct pms_recovery; /* what was read, and is still to be written */

struct pms_recovered {
    uint64_t frames; /* in the chain */
    uint64_t units;  /* replayed or undone */
    /* Set if `when` is PMS_RECOVER_LATER: nothing may be written before pms_recover_rest. */
    struct pms_recovery *rest;
};

enum pms_recover_when {
    PMS_RECOVER_NOW,
    PMS_RECOVER_LATER, /* what can wait, waits */
    PMS_RECOVER_NEVER, /* the mapping is private and nothing is written to the file */
};

/* map: open, log: medium, off and bytes are set; these and super stay where they are until the rest
 * is done or dropped.  On PMS_OK the log is ready for frames of `mode`, or will be after the rest. */
int pms_recover(struct pms_map *map, struct pms_log *log, const struct pms_super_pm *super,
                enum pms_mode mode, enum pms_recover_when when, struct pms_recovered *out);
/* Write what has waited.  A failure is one of the medium: it is not tried again. */
int pms_recover_rest(struct pms_recovery *recovery, struct pms_log *log);
/* Is nothing left to be written? */
int pms_recover_done(const struct pms_recovery *recovery);
/* Were there frames? */
int pms_recover_found(const struct pms_recovery *recovery);
void pms_recover_drop(struct pms_recovery *recovery); /* NULL: nothing */

#endif
