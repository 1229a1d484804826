/* world.h -- a pool under test, the model of its medium, and what it may contain after a crash.
 *
 *   world 0   runs a program; at each fence and sync, images of its medium become
 *   world 1   files that are opened, checked and compared; some of them go on with a program of
 *             their own, and images of that (so: crashes inside recovery, second crashes) become
 *   world 2   files that are opened, checked and compared
 *
 * `allowed` is what an image may contain: the last state whose commit has returned and, while a
 * commit is under way, the next one (files: all those of the group).
 */
#ifndef PMS_TEST_WORLD_H
#define PMS_TEST_WORLD_H

#include "contents.h"

#define WORLDS 3
#define MACHINE_BYTES (4u << 20) /* pools are no larger than this */
#define ALLOWED_MAX 6u

struct state {
    struct model model;
    struct text text;
    uint32_t refs;
};

enum phase { PHASE_OPEN, PHASE_RUN, PHASE_ABORT, PHASE_CHECKPOINT };

struct setup {
    uint64_t seed;
    uint64_t log_bytes, limit;
    struct profile profile;
    uint32_t units;   /* of the program of world 0 */
    uint32_t longest; /* transaction, operations */
    uint32_t most;    /* images at a fence */
    uint32_t below;   /* the same in worlds 1 and 2 */
    uint32_t nested;  /* one image in so many goes on */
    uint32_t killed;  /* at one fence in so many the process is killed instead */
    uint32_t stabbed; /* the same, at one store or flush in so many */
    uint32_t crossed; /* one image in so many is opened on the other kind of medium; 0: none */
    int files;        /* PMEMSTORE_FORCE_TIER=sync */
    int fault;        /* planted in the model of the medium: an index of world_faults */
    int grows;        /* a world that goes on grows its pool first */
    int fail_sync;    /* the n-th sync from the start fails with EIO; 0: none */
};

struct world {
    int level;
    int files;
    int fd;
    char path[128];
    uint8_t *file; /* the whole of it, MACHINE_BYTES of address space */
    uint64_t file_size;
    struct pms_machine machine;
    struct pms_plan plan;
    struct pms_pool *pool;
    const struct setup *setup;
    uint64_t dice;
    struct state *allowed[ALLOWED_MAX];
    uint32_t allowed_count;
    struct state *now;          /* what the pool contains */
    struct model *draft;        /* of the open transaction */
    const struct action *doing; /* the single operation under way */
    int looking;                /* images are looked at */
    uint32_t most;
    enum phase phase;
    uint64_t syncs_left; /* until one fails; 0: none will */
    int sync_failed;
    /* for planted faults: what was seen since the last fence */
    uint32_t frame_kind, last_kind;
    int anchor_stored, super_stored;
    uint32_t fences; /* in this phase */
};

struct tally {
    uint64_t images, nested, killed, crossed, readonly, units, full, aborts, reopened, programs;
    uint64_t planted; /* events kept from the model */
};
extern struct tally tally;
extern int world_found; /* something was wrong: stop */
extern int world_trace; /* print what world 0 does */
extern int world_quiet; /* do not print what is wrong: it was planted */

struct fault {
    const char *name; /* as in the protocol's model */
    int files;
    int rule; /* of the protocol; files: 0 */
    int slow; /* not in the slice of each build */
};
extern const struct fault world_faults[];
extern const int world_fault_count;
/* Does the model not hear of this event?  Then it has been taken care of.  In fault.c. */
int world_planted(struct world *w, const struct pms_event *event);

void worlds_init(const char *directory);
void worlds_free(void);
struct world *world_number(int level);

void wrong(const struct world *w, const char *what, const char *more, int64_t number);

/* World 0 gets a new pool; its events are recorded from now on. */
void world_create(const struct setup *setup);
void world_close(struct world *w);
void world_reopen(struct world *w);

/* An event, with images at its point. */
void world_event(struct world *w, const struct pms_event *event, int fail);
/* Images of the present moment, and a kill. */
void world_look(struct world *w);
void world_kill(struct world *w);

/* Steps of a program.  Each returns the core's status (PMS_OK, PMS_E_FULL, or PMS_E_MEDIA and
 * POISONED once a sync has failed); anything else is wrong. */
int world_single(struct world *w, const struct action *action, int fail);
int world_begin(struct world *w);
int world_step(struct world *w, const struct action *action, int fail);
int world_commit(struct world *w);
int world_abort(struct world *w);
int world_checkpoint(struct world *w);
int world_grow(struct world *w);
/* Is a status one of those?  Otherwise something is wrong. */
int world_expected(struct world *w, const char *what, int status);
void world_drain(struct world *w);
void world_compare(struct world *w); /* what the open pool shows, with the model */
void world_unit(struct world *w);    /* a random one */
void world_after(struct world *w);   /* the end of a program */
void world_program(const struct setup *setup);
/* What a seed stands for: a program of any kind; a short one in the smallest log, of whose images
 * most go on, for crashes inside recovery. */
struct setup setup_random(uint64_t seed);
struct setup setup_recovery(uint64_t seed);
/* Scenarios for suspects that random programs meet too rarely.  In directed.c. */
void world_directed(void);

#endif
