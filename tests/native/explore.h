/* explore.h -- a model of a medium: what it may hold after a power cut.
 *
 *   events (persist.h) ----> machine: seen      what a reader of the file sees now
 *                                     durable   what is certainly on the medium
 *                                     pending   what may be, a line or sector each
 *
 * Mapping: of the stores to a 64-byte line since it last became durable the medium may have any
 * prefix, in words of 8 bytes; lines are independent; of non-temporal words it may have any subset.
 * A flush marks the stores that the next fence makes durable.  Descriptor: a sector of 512 bytes
 * may have any of its versions since the sync that last covered it; a sync that failed leaves the
 * sectors clean, so that a later sync does not help them.  The length of the file: the newest, or
 * that of the last sync.
 *
 * Just before a fence or a sync the machine calls `before`: the moment to look at images.
 */
#ifndef PMS_TEST_EXPLORE_H
#define PMS_TEST_EXPLORE_H

#include "persist.h"

#define MACHINE_BYTES (4u << 20) /* pools are no larger than this */
#define MACHINE_LINE 64u
#define MACHINE_SECTOR 512u

struct pending_store {
    uint64_t word;
    uint32_t index; /* of the word in its line */
    uint32_t nt;
};

struct pending_line {
    uint64_t off;
    uint32_t count, room;
    uint32_t flushed; /* the next fence makes the first so many durable */
    struct pending_store *store;
};

struct pending_sector {
    uint64_t off;
    uint32_t count, room;
    int dirty; /* the next sync will write it: false once a sync has failed */
    uint8_t (*version)[MACHINE_SECTOR];
};

struct machine {
    uint8_t *durable, *seen;
    uint8_t *image; /* equals durable outside machine_each */
    uint64_t durable_size, size;
    struct pending_line *line;
    uint32_t lines, line_room;
    uint32_t *line_slot; /* by line number: index + 1 */
    struct pending_sector *sector;
    uint32_t sectors, sector_room;
    uint32_t *sector_slot;
    void (*before)(void *context); /* NULL: nobody looks */
    void *context;
    uint64_t *edit; /* lines of image that differ from durable */
    uint32_t edits, edit_room;
};

void machine_init(struct machine *m);
void machine_free(struct machine *m);
/* All of it durable, nothing pending. */
void machine_load(struct machine *m, const uint8_t *bytes, uint64_t size);
/* As `from`, with what is pending there: a machine whose process was killed. */
void machine_copy(struct machine *m, const struct machine *from);
/* Take an event in.  fail: a write or sync that is going to fail. */
void machine_event(struct machine *m, const struct pms_event *event, int fail);

/* xorshift: the same numbers on each machine. */
uint64_t dice_roll(uint64_t *state);
static inline uint32_t dice_below(uint64_t *state, uint32_t n)
{
    return (uint32_t)(dice_roll(state) >> 11) % n;
}

/* Images that a power cut may leave now: all of them while there are no more than `most`, else
 * none, all, each missing, each alone, and random ones.  fn returns non-zero to stop. */
typedef int (*image_fn)(void *context, const uint8_t *bytes, uint64_t size);
void machine_each(struct machine *m, uint64_t *dice, uint32_t most, image_fn fn, void *context);

#endif
