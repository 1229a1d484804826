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
#define MACHINE_BYTES (32u << 20) /* pools are no larger than this */
#define MACHINE_PAGES (MACHINE_BYTES / PMS_PAGE)
#define ALLOWED_MAX 6u
#define PINS 4

struct state {
    struct model model;
    struct text text;
    uint64_t hash; /* of text */
    uint32_t refs;
};

enum phase { PHASE_OPEN, PHASE_RUN, PHASE_ABORT, PHASE_CHECKPOINT };

struct world;

struct setup {
    uint64_t seed;
    uint64_t log_bytes, limit;
    struct profile profile;
    uint32_t units;   /* of the program of world 0 */
    uint32_t longest; /* transaction, operations */
    uint32_t most;    /* images at a fence */
    uint32_t below;   /* the same in worlds 1 and 2 */
    uint32_t thin;    /* one point in so many is looked at; 0: each */
    uint32_t nested;  /* one image in so many goes on */
    uint32_t killed;  /* at one fence in so many the process is killed instead */
    uint32_t stabbed; /* the same, at one store or flush in so many */
    uint32_t crossed; /* one image in so many is opened on the other kind of medium; 0: none */
    int files;        /* PMEMSTORE_FORCE_TIER=sync */
    int eadr;         /* PMEMSTORE_FORCE_TIER=eadr: every store is a point */
    int past;         /* direct: whole lines go past the caches, as AMD's CPUs like it */
    int fault;        /* planted in the model of the medium: an index of world_faults */
    int grows;        /* a world that goes on grows its pool first */
    int fail_sync;    /* the n-th sync from the start fails with EIO; 0: none */
    void (*then)(struct world *w); /* what a world that goes on does; NULL: some units */
};

struct world {
    int level;
    int files, eadr;
    int read_only; /* as it is opened now */
    int fd;
    char path[128];
    uint8_t *file; /* the whole of it, MACHINE_BYTES of address space */
    /* judge.c */
    uint64_t differs[MACHINE_PAGES / 64]; /* pages: the file may differ from the last image */
    uint64_t *line;                       /* outside the log, changed since it was opened */
    uint64_t *line_bit;
    uint32_t lines, line_room;
    int counting; /* lines are taken in */
    uint64_t file_bytes;
    struct pms_machine machine;
    struct pms_plan plan;
    struct pms_pool *pool;
    const struct setup *setup;
    uint64_t dice;
    struct state *allowed[ALLOWED_MAX];
    uint32_t allowed_count;
    struct state *now;            /* what the pool contains */
    struct model *draft;          /* of the open transaction */
    struct pms_handle *pin[PINS]; /* objects that somebody looks at: not torn down */
    const struct action *doing;   /* the single operation under way */
    int looking;                  /* images are looked at */
    uint32_t most;
    uint32_t meanwhile_at; /* PMS_EV_WRITE_SYNC: a leader's frame; _SYNC: its contents */
    void (*meanwhile)(struct world *w); /* once, in the next such event; or NULL */
    enum phase phase;
    uint64_t syncs_left; /* until one fails; 0: none will */
    int sync_failed;
    /* for planted faults: what was seen since the last fence */
    uint32_t frame_kind, last_kind;
    int anchor_stored, super_stored;
    uint32_t fences; /* in this phase */
};

struct tally {
    uint64_t images, distinct; /* all; those that were not judged before */
    uint64_t opened;           /* noise too */
    uint64_t recovered;        /* states after recovery that were checked and walked */
    uint64_t nameless;         /* images in which the pool is not there yet */
    uint64_t nested, killed, crossed, readonly, units, full, aborts, reopened, programs;
    uint64_t points, exhaustive, whole; /* of these; the rest is a sample */
    uint64_t items;                     /* lines and sectors that were pending at points */
    uint64_t probes, unread;            /* look.c: groups of lines asked about, found unread */
    double spared;                      /* images that need not be looked at for that */
    double largest;                     /* most images that were possible at a point */
    uint64_t planted;                   /* events kept from the model */
};
extern struct tally tally;
extern int world_found; /* something was wrong: stop */
extern int world_slice; /* what runs with every build: less of it all */
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
/* The pool is being opened, or what its open has left is still to be written, by somebody else if it is
 * one who only reads: its name may not be durable. */
int world_opens(const struct world *w);

/* ---- judge.c ---- */
/* Forget all verdicts: another program begins. */
void judge_forget(void);
void judge_free(void);
/* The pool's event changes its file (and, for private mappings, its memory). */
void file_changes(struct world *w, const struct pms_event *event);
/* Make the file what it should be: the image of from's machine; or bytes. */
void file_put_image(struct world *w, struct world *from);
void file_put(struct world *w, const uint8_t *bytes, uint64_t size);
/* The open pool is sound and contains an allowed state of `from`: that one; else NULL, and it is
 * told. */
struct state *judge(struct world *w, const struct world *from);
/* What is special about an image of `from` that was wrong. */
void describe(const struct world *from, const uint8_t *bytes, uint64_t size, const char *how);
void first_difference(const struct world *w, const char *what, const struct text *have,
                      const struct text *want);
const char *world_medium(const struct world *w);
/* The same for the image in from's machine, which is opened in the world below. */
void judge_image(struct world *from, struct world *w, int read_only);
/* Hash of the contents that this image has when it is opened, whatever they are; 0: there is
 * something wrong with it. */
uint64_t probe_image(struct world *from, struct world *w);

/* ---- world.c ---- */
int world_open(struct world *w, char flag, int recorded);
void world_drop(struct world *w);            /* close its pool */
void world_reset(const struct setup *setup); /* world 0, and no pool yet */
void world_is_empty(struct world *w, uint64_t root);
uint64_t world_root(const struct world *w); /* of the open pool */
void world_log(struct world *w);            /* its machine is told where the log is */
struct state *state_new(const struct model *model);
void state_put(struct state *s);
void settle_on(struct world *w, struct state *s);
void allow_as(struct world *w, const struct world *from);

/* An event, with images at its point. */
void world_event(struct world *w, const struct pms_event *event, int fail);
/* look.c: images of the present moment, and a kill. */
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
void world_unpin(struct world *w);
/* Nobody looks at anything any more: no orphan is left. */
void world_collect(struct world *w);
void world_after(struct world *w); /* the end of a program */
void world_program(const struct setup *setup);
/* What a seed stands for: a program of any kind; a short one in the smallest log, of whose images
 * most go on, for crashes inside recovery. */
struct setup setup_random(uint64_t seed);
struct setup setup_recovery(uint64_t seed);
/* Pools that are made, opened, grown: openings.c. */
void world_openings(void);
/* Programs of several threads: threads.c. */
void world_threads(uint64_t programs);
/* Scenarios for suspects that random programs meet too rarely.  In directed.c. */
void world_directed(void);
/* Of which these are those on files with a sync that fails. */
void world_failures(void);

#endif
