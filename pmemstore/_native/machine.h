/* machine.h -- a model of a medium: what it may hold after a power cut.
 *
 *   events (persist.h) ----> machine: seen      what a reader of the file sees now
 *                                     durable   what is certainly on the medium
 *                                     pending   what may be: items with so many states each
 *                            plan:    which states to look at, if all are too many
 *                            image:   durable + a state for each item
 *
 * Items:
 *   line     64 bytes stored to through a mapping.  Of the stores since it last became durable
 *            the medium may have any prefix and, of the store after that prefix, any subset of its
 *            words of 8 bytes (the order in which one copy stores its words is not ours); of
 *            non-temporal words any subset.  Lines are independent of each other.  A flush marks
 *            what the next fence makes durable.
 *   sector   512 bytes written through a descriptor: any version since the sync that last covered
 *            it, or one that is torn: only its first or its last words have changed.  A sync that failed leaves it clean, so that a later sync does not help it.
 *   size     of the file: the newest, or that of the last sync
 *   name     the file has its name, or not yet: until its directory is synced
 *
 * State 0 of an item is what is durable, its last state what is seen.  With caches in the
 * power-fail domain (eadr) a store is durable when the next one begins.
 *
 * Images matter at points: just before a fence, a sync or the sync of a directory is carried out
 * (with eadr: before each store).  What could be lost between two points could be lost at the
 * second.
 *
 * Part of the library for pmemstore.testing; tests/native/ explores the core itself with it.
 */
#ifndef PMS_MACHINE_H
#define PMS_MACHINE_H

#include "layout.h"
#include "persist.h"

#define PMS_SECTOR 512u
#define PMS_NT_FREE                                                                            \
    12u /* non-temporal words of a line that are chosen freely; older ones stay */

struct pms_pending_store {
    uint64_t word;
    uint32_t event; /* words of one event may be torn from each other */
    uint8_t index;  /* of the word in its line */
    uint8_t nt;
    uint16_t zero;
};

struct pms_pending { /* a line or a sector */
    uint64_t off;
    uint32_t count, room; /* stores or versions */
    uint32_t flushed;     /* line: the next fence makes the first so many durable */
    uint32_t dirty;       /* sector: the next sync writes it; 0 after a failed sync */
    uint32_t event;       /* the last one that changed it */
    uint32_t nt;          /* line: its non-temporal words */
    uint64_t states;      /* line: as struct pms_item has it, without nt; 0: not counted yet */
    uint64_t whole;
    uint64_t weight;      /* of its present state in image_hash, less that of durable */
    uint64_t weight_seen; /* the same of what is seen; 0: not known */
    union {
        struct pms_pending_store *store;
        uint8_t (*version)[PMS_SECTOR];
        void *any;
    };
};

struct pms_pendings {
    struct pms_pending *item;
    uint32_t count, room;
    uint32_t *slot; /* by line or sector number: index + 1 */
};

struct pms_machine {
    uint8_t *durable, *seen;
    uint8_t *image; /* of the latest pms_machine_image */
    uint64_t room;  /* bytes; all arrays are address space alone until touched */
    uint64_t durable_size, size, image_size;
    /* Sums over the lines; `rest` leaves anchors and the log out, if it is said where that is. */
    uint64_t durable_hash, durable_rest, image_hash, image_rest;
    uint64_t log_off, log_end;
    int named_durable, named, image_named;
    int eadr;
    uint32_t events; /* taken so far */
    struct pms_pendings line, sector;
    /* The latest image: states of its items, if nothing has happened since. */
    uint64_t *state;
    uint32_t state_room;
    uint32_t states;   /* 0: image is durable */
    int overlap;       /* of a line and a sector */
    uint64_t *changed; /* a bit per page: image has changed since somebody cleared it */
    uint64_t kept_nt;  /* non-temporal words that were too many to be chosen freely */
};

/* room: bytes of the largest file.  PMS_OK or PMS_E_NOMEM. */
int pms_machine_init(struct pms_machine *m, uint64_t room);
void pms_machine_free(struct pms_machine *m);
/* All of it durable, nothing pending, the name too. */
int pms_machine_load(struct pms_machine *m, const uint8_t *bytes, uint64_t size);
/* As `from`, with what is pending there: a machine whose process was killed.  What it had flushed
 * counts for nothing: no fence of another process, on another core, waits for that. */
int pms_machine_copy(struct pms_machine *m, const struct pms_machine *from);

/* What a line adds to the sums: 0 if it is zeroes, so that the unused room need not be looked at. */
uint64_t pms_machine_weight(const uint8_t *line, uint64_t off);
static inline int pms_machine_is_rest(const struct pms_machine *m, uint64_t off)
{
    return (off < PMS_ANCHOR_OFF || off >= PMS_ROOT_OFF) &&
           (off < m->log_off || off >= m->log_end);
}
static inline void pms_machine_changed(struct pms_machine *m, uint64_t off)
{
    m->changed[off / PMS_PAGE / 64] |= 1ull << (off / PMS_PAGE & 63);
}
/* Inside: [off, off+len) of image as in durable again; within one page. */
void pms_machine_restore(struct pms_machine *m, uint64_t off, uint64_t len);

/* Is the moment before this event is carried out a point? */
int pms_machine_is_point(const struct pms_machine *m, const struct pms_event *event);
/* Take an event in, up to its point ... */
int pms_machine_take(struct pms_machine *m, const struct pms_event *event, int fail);
/* ... and carry it out.  fail: it fails with EIO.  Both: PMS_OK, PMS_E_NOMEM, or PMS_E_INVAL for
 * an event outside the machine's room. */
int pms_machine_settle(struct pms_machine *m, const struct pms_event *event, int fail);

/* ---- images: machine_image.c ---- */
enum pms_item_kind {
    PMS_ITEM_LINE = 0,
    PMS_ITEM_SECTOR = 1,
    PMS_ITEM_SIZE = 2,
    PMS_ITEM_NAME = 3
};
struct pms_item {
    uint32_t kind;
    uint32_t event; /* the last one that changed it */
    uint64_t off;
    uint64_t states; /* all of them */
    uint64_t whole;  /* those in which no store is torn */
};
uint32_t pms_machine_items(const struct pms_machine *m);
void pms_machine_item(const struct pms_machine *m, uint32_t i, struct pms_item *out);
/* The k-th (of item.whole) state in which no store is torn. */
uint64_t pms_machine_whole(const struct pms_machine *m, uint32_t i, uint64_t k);
/* No state of a line or sector that a crash can leave: what is pending there is noise. */
#define PMS_NOISE UINT64_MAX
/* Build m->image, image_size, image_named, image_hash from a state for each item. */
int pms_machine_image(struct pms_machine *m, const uint64_t *state);
/* The same, as a file: path is made, or changed where it differs.  PMS_OK or PMS_E_OS. */
struct pms_image_file {
    int fd;
    uint8_t *map;
    uint64_t room;
};
int pms_image_open(struct pms_image_file *f, const char *path, uint64_t room);
int pms_image_put(struct pms_image_file *f, const uint8_t *bytes, uint64_t size);
void pms_image_close(struct pms_image_file *f);

/* xorshift: the same numbers on each machine.  The state must not be 0. */
static inline uint64_t pms_dice(uint64_t *dice)
{
    *dice ^= *dice << 13;
    *dice ^= *dice >> 7;
    *dice ^= *dice << 17;
    return *dice;
}
static inline uint64_t pms_dice_below(uint64_t *dice, uint64_t n)
{
    return (pms_dice(dice) >> 11) % n;
}

/* Which images to look at: all, if they are no more than `most`; else all in which no store is
 * torn, if these are no more than that, and random ones; else none, all, each missing, each
 * alone, pairs missing, and random ones. */
struct pms_plan {
    const struct pms_machine *machine;
    uint64_t *state; /* of the present image: one for each item */
    uint64_t *order; /* the items that are free and have states, shuffled */
    uint32_t items, room;
    uint64_t dice;
    uint64_t most, number; /* of the next image */
    uint64_t product;      /* images in all; UINT64_MAX: more than that */
    uint64_t whole;        /* of these without a torn store */
};
int pms_plan_begin(struct pms_plan *plan, const struct pms_machine *m, uint64_t most,
                   uint64_t dice);
/* The same for some of the items.  fixed: for each item its state, or PMS_FREE. */
#define PMS_FREE UINT64_MAX
int pms_plan_begin_some(struct pms_plan *plan, const struct pms_machine *m,
                        const uint64_t *fixed, uint64_t most, uint64_t dice);
int pms_plan_next(struct pms_plan *plan); /* 0: no more */
void pms_plan_free(struct pms_plan *plan);

#endif
