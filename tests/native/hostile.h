/* hostile.h -- a damaged or forged pool meets every operation, and rules judge what it did.
 *
 * For test_hostile.c and for the fuzzer in tests/fuzz/.  A base is the image of a sound pool; a
 * stage is a file on tmpfs that holds the base, some bytes of it changed.  hostile_try() opens
 * that file, reads all of it, checks it, changes it, closes it and opens it again:
 *
 *   R1  opening yields a pool, PMS_E_CORRUPT or PMS_E_FORMAT
 *   R2  reading ends after a bounded number of steps, with PMS_OK or PMS_E_CORRUPT
 *   R3  what the check calls sound can be read to its end
 *   R4  what the check calls sound can be changed, is sound afterwards, and is the same after
 *       it was closed and opened
 *   R5  changes of a pool that is not sound yield a status, and no signal
 *   R6  memory stays below HOSTILE_MEMORY_MAX; time is the caller's (an alarm)
 *   R7  a collection of a pool that is not sound is PMS_E_CORRUPT, and changes nothing: what looks
 *       like garbage there may be somebody's data
 *
 * A rule that does not hold prints what happened and calls abort().
 */
#ifndef PMS_TEST_HOSTILE_H
#define PMS_TEST_HOSTILE_H

#include "pool_fixture.h"

#define HOSTILE_MEMORY_MAX (768ull << 20) /* resident, with what a sanitizer adds */
#define HOSTILE_OBJECTS_MAX 4096u
#define HOSTILE_STEPS_MAX (1u << 20)

struct hostile_image {
    uint8_t *bytes;
    uint64_t size;
};

/* What a walk has seen. */
struct hostile_look {
    int status;
    uint64_t state; /* hash of every key and value, in order */
    uint64_t shape; /* hash of what a flip in a number or a text does not change */
    uint64_t steps;
    uint64_t object[HOSTILE_OBJECTS_MAX]; /* offsets, the root dict first */
    uint32_t tag[HOSTILE_OBJECTS_MAX];
    uint32_t objects;
};

struct hostile_result {
    int opened;        /* status of pms_pool_open */
    uint64_t problems; /* told by the check, right after opening */
    struct pms_check_result check;
    int walked;
    uint64_t state, shape;
};

/* A file with the base's bytes, which is damaged and mended many times. */
struct hostile_stage {
    char path[32]; /* of the descriptor: the file has no other name */
    const struct hostile_image *base;
    uint8_t *map;   /* the whole file */
    uint8_t *dirty; /* by page: differs from the base */
    uint64_t size;  /* of the file and of the base */
    int fd;
    int resized;
};

/* What is tried just now: printed when a rule is broken. */
extern char hostile_story[160];
#define RULE(condition, ...)                                                                   \
    do {                                                                                       \
        if (!(condition)) {                                                                    \
            fprintf(stderr, "%s:%d: rule broken: %s: ", __FILE__, __LINE__, #condition);       \
            fprintf(stderr, __VA_ARGS__);                                                      \
            fprintf(stderr, "\n  while: %s", hostile_story);                                   \
            const struct pms_detail *detail_ = pms_detail();                                   \
            fprintf(stderr, "\n  last refusal: %s at %s:%d, offset %" PRIu64 "\n",             \
                    detail_->what ? detail_->what : "none",                                    \
                    detail_->file ? detail_->file : "", (int)detail_->line, detail_->off);     \
            abort();                                                                           \
        }                                                                                      \
    } while (0)

/* Reads all that can be reached from the root; pool: not entered. */
void hostile_walk(struct pms_pool *pool, struct hostile_look *look);
/* Some dozen changes, chosen by the seed.  sound: every one must succeed or say MISSING or FULL. */
void hostile_use(struct pms_pool *pool, const struct hostile_look *look, uint64_t seed,
                 int sound);

/* parent NULL: in memory, a direct medium. */
void hostile_stage_make(struct hostile_stage *stage, const char *parent,
                        const struct hostile_image *base);
void hostile_stage_base(struct hostile_stage *stage, const struct hostile_image *base);
void hostile_stage_remove(struct hostile_stage *stage);
/* Change bytes of the file; hostile_mend() takes all of it back. */
void hostile_put(struct hostile_stage *stage, uint64_t off, const void *bytes, uint64_t len);
void hostile_mend(struct hostile_stage *stage);
/* Seal both superblocks and both anchors, and behind the anchors the frames, with the hashes of
 * what they name, whatever they say now. */
void hostile_seal(struct hostile_stage *stage);
/* Opens what is on the stage ('r' or 'w'), and applies the rules.  seed 0: nothing is changed. */
void hostile_try(struct hostile_stage *stage, char flag, uint64_t seed,
                 struct hostile_result *out);

/* ---- hostile_array.c: arrays ---- */

/* Pool entered: reads all of it, into hashes of what is there and of where it lies. */
int hostile_see_array(struct pms_pool *pool, uint64_t array, uint64_t *state, uint64_t *shape);
/* Pool entered for writing: one change, drawn. */
int hostile_change_array(struct pms_pool *pool, uint64_t array, uint64_t *seed);

/* ---- hostile_record.c: records and schemas ---- */

/* Pool entered: hands every value on.  Then, entered for writing: one change, drawn. */
typedef void (*hostile_see_fn)(void *context, const struct pms_val *value);
int hostile_see_record(struct pms_pool *pool, uint64_t record, hostile_see_fn see,
                       void *context);
int hostile_see_schema(struct pms_pool *pool, uint64_t schema, hostile_see_fn see,
                       void *context);
int hostile_change_record(struct pms_pool *pool, uint64_t record, const struct pms_val *any,
                          uint64_t *seed);

/* ---- hostile_pools.c: the bases ---- */

/* The same base has the same bytes in each run: "random" numbers, which pools draw for seeds
 * and salts, start here. */
void hostile_randomize(uint64_t seed);

/* One of everything: each kind of key and value, nested containers, lists of three heights,
 * orphans, blobs, runs, both kinds of spans.  Closed. */
void hostile_make_kinds(const char *parent, struct hostile_image *out);

#define HOSTILE_STATES_MAX 16u
/* A pool whose process died: the log has frames.  state[i]: after the first i frames that end a
 * unit; an open transaction is not among them. */
struct hostile_killed {
    struct hostile_image image;
    uint64_t state[HOSTILE_STATES_MAX];
    uint32_t states;
};
/* open_items: the last frames are those of a transaction with so many items that nobody ended. */
void hostile_make_killed(const char *parent, uint64_t open_items, struct hostile_killed *out);

/* ---- inputs of the fuzzer ---- */

/* Such an input says what is forged, relative to a base:
 *
 *   byte 0      which base
 *   byte 1      HOSTILE_SEAL: new seals on what has a checksum; HOSTILE_READ: flag 'r'
 *   bytes 2..3  choose the changes that follow
 *   then, until the end:  3 bytes offset / 8, 1 byte n, n bytes */
#define HOSTILE_BASES 5u
#define HOSTILE_HEAD 4u
#define HOSTILE_SEAL 1u
#define HOSTILE_READ 2u

void hostile_make_bases(struct hostile_image out[HOSTILE_BASES]);
/* stage[i] has base i. */
void hostile_play(struct hostile_stage *stage, const uint8_t *data, size_t size);

#endif
