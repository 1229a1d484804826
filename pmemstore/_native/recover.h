/* recover.h -- from whatever a crash left to the last committed state.
 *
 *   1. the newest valid anchor; the chain of valid frames behind it
 *   2. units: REDO alone; UNDO ... COMMIT of one transaction
 *   3. only the last frame is in doubt: a COMMIT or REDO whose contents do not match its hashes
 *      did not happen
 *   4. what was read and believed is made durable (after a kill it may be in caches alone)
 *   5. direct log: the unsettled units, at most two, in log order: REDO again, or UNDO;
 *      file log: every frame, in order
 *   6. made durable; then the other anchor with a new salt, made durable; the first one likewise
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

struct pms_recovered {
    uint64_t frames; /* in the chain */
    uint64_t units;  /* replayed or undone */
};

/* map: open, log: medium, off and bytes are set.  read_only: the mapping is private and nothing
 * is written to the file.  On PMS_OK the log is ready for frames of `mode`. */
int pms_recover(struct pms_map *map, struct pms_log *log, const struct pms_super_pm *super,
                enum pms_mode mode, int read_only, struct pms_recovered *out);

#endif
