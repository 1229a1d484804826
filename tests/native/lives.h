/* lives.h -- a pool that lives through failing system calls, and what it must contain afterwards.
 *
 * What a program does to the pool is a row of units of work.  Each has things of its own, so it
 * can be told of each whether the pool is as BEFORE it, or as AFTER it; anything else is torn.
 * What a unit has returned tells what must be there:
 *
 *     PMS_OK           AFTER
 *     PMS_E_MEDIA      EITHER: a sync has failed; the next open decides, for good
 *     anything else    BEFORE
 */
#ifndef PMS_TEST_LIVES_H
#define PMS_TEST_LIVES_H

#include "_native/check.h"
#include "_native/collect.h"
#include "_native/open.h"
#include "_native/table.h"
#include "_native/vec.h"

#define POOL_BYTES (1u << 20)
#define POOL_LIMIT (4u << 20)
#define POOL_LOG 4096u

enum expected { BEFORE, AFTER, EITHER };

enum unit {
    UNIT_NUMBER,   /* one key */
    UNIT_TEXT,     /* a text in the place of another one */
    UNIT_CONTENTS, /* 150 000 bytes: pages of their own, on files written in place */
    UNIT_DELETE,   /* a dict of 60 texts: an orphan */
    UNIT_LIST,     /* a transaction that makes a list */
    UNIT_LEVELS,   /* a transaction with savepoints */
    UNIT_ABORTED,  /* one that is rolled back */
    UNIT_BUMP,     /* 300 items changed: more than the log holds */
    UNIT_LARGE,    /* 700 000 bytes: the file grows */
    UNIT_GROW,     /* the file grows because it is told to */
    UNIT_CHECKPOINT,
    UNIT_COLLECT,
    UNIT_LOOK,  /* statistics, check */
    UNIT_CLOSE, /* nothing may follow */
    UNIT_LATER, /* when faults are off: must succeed */
    UNIT_AGAIN, /* the same, after the pool was opened again */
    UNITS
};

struct life {
    char dir[64], path[96];
    int files; /* tier sync; else a direct medium */
    struct pms_pool *pool;
    uint64_t root;
    enum expected expected[UNITS];
    int status; /* the first that was not PMS_OK */
    int dead;   /* a sync has failed: the pool reads */
    int bare;   /* the pool may be a new one, without what units start from */
};

/* Told when something is wrong, before the end: what was being injected. */
extern void (*life_context)(void);
#define HOLDS(condition)                                                                       \
    do {                                                                                       \
        if (!(condition))                                                                      \
            life_wrong(__FILE__, __LINE__, #condition);                                        \
    } while (0)
void life_wrong(const char *file, int line, const char *what);

/* Runs a call of the core, and sees that its status has a name and a reason. */
#define CALL(life, expression) (pms_detail()->what = NULL, life_status((life), (expression)))
int life_status(struct life *life, int status);

/* Opens the pool, and the root dict; remembers where that is. */
int life_open(struct life *life, const struct pms_options *options);
int life_close(struct life *life);
int life_unit(struct life *life, enum unit unit);

/* The pool is sound, nothing leaks, and each unit is as expected; what may be EITHER is from now
 * on what it was found to be. */
void life_verify(struct life *life);

/* The file, as bytes. */
struct image {
    uint8_t *bytes;
    uint64_t size, room; /* size 0: none */
};
void image_room(struct image *image, uint64_t size);
void image_take(struct image *image, const char *path);
void image_put(const struct image *image, const char *path);
void image_free(struct image *image);
/* Open the file, verify, do a unit, close. */
void life_again(struct life *life, enum unit unit);
/* A file with a pool to start from: closed, or (killed) with work for recovery. */
void life_first(struct life *life, struct image *closed, struct image *killed);

#endif
