/* mutant.h -- how a mutant says that what it changes was reached.
 *
 * Included behind the last #include of the file that is mutated; mutant.c is linked in.  Only
 * this directory's run.py compiles it, with gcc's statement expressions.
 */
#ifndef PMS_MUTANT_H
#define PMS_MUTANT_H

enum mutant_mute {
    MUTE_NONE = 0,
    MUTE_FLUSH = 1,
    MUTE_FENCE = 2,
    MUTE_SYNC = 4,
    MUTE_WRITE = 8
};

extern unsigned long mutant_hits; /* how often the mutant made a difference, or may have */
extern int mutant_muted;          /* door calls that are left out now: enum mutant_mute */

/* A statement, or an operand of a comma, of the changed path. */
#define MUTANT_HIT() ((void)mutant_hits++)
/* In place of `was` comes `is`; counted where they differ. */
#define MUTANT(was, is)                                                                        \
    ({                                                                                         \
        __auto_type mutant_was = (was);                                                        \
        __auto_type mutant_is = (is);                                                          \
        mutant_hits += mutant_was != mutant_is;                                                \
        mutant_is;                                                                             \
    })
/* The call, while the door leaves these out; counted in the door. */
#define MUTED_VOID(what, call)                                                                 \
    ({                                                                                         \
        mutant_muted = (what);                                                                 \
        call;                                                                                  \
        mutant_muted = MUTE_NONE;                                                              \
    })
#define MUTED(what, call)                                                                      \
    ({                                                                                         \
        mutant_muted = (what);                                                                 \
        __auto_type mutant_result = (call);                                                    \
        mutant_muted = MUTE_NONE;                                                              \
        mutant_result;                                                                         \
    })

#endif
