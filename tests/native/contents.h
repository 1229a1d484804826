/* contents.h -- what a pool should contain: a model of dicts and lists, random operations on both,
 * and one form of writing down what is there.
 *
 *   action_draw (model) ----> action ----> action_model (model)
 *                                    `---> action_pool  (pool, offsets from the model)
 *   model_write (model) == pool_write (pool)
 *
 * Objects are numbered; a cell refers to objects of higher numbers only, so there are no cycles.
 */
#ifndef PMS_TEST_CONTENTS_H
#define PMS_TEST_CONTENTS_H

#include "_native/machine.h"
#include "_native/open.h"
#include "_native/table.h"
#include "_native/vec.h"

/* The same numbers on each machine. */
static inline uint64_t dice_roll(uint64_t *dice) { return pms_dice(dice); }
static inline uint32_t dice_below(uint64_t *dice, uint32_t n)
{
    return (uint32_t)pms_dice_below(dice, n);
}

#define MODEL_OBJECTS 12u
#define MODEL_ITEMS 150u

struct model_value {
    uint32_t tag; /* any */
    uint32_t len;
    uint64_t
        num; /* INT, FLOAT: the number; bytes: their seed; DICT, LIST: number of the object */
};
struct model_item {
    uint64_t key; /* dicts: number of the key */
    struct model_value value;
};
struct model_object {
    uint32_t tag; /* 0: not there */
    uint32_t refs;
    uint32_t count;
    uint32_t zero;
    uint64_t off; /* in the pool */
    struct model_item item[MODEL_ITEMS];
};
struct model {
    struct model_object object[MODEL_OBJECTS]; /* 0 is the root dict */
};

struct text { /* a growing string of bytes */
    uint8_t *bytes;
    size_t len, room;
};
void text_free(struct text *text);

struct profile {    /* of random values: per mille that are longer than ... */
    uint32_t blob;  /* 1 KiB: a block of their own */
    uint32_t run;   /* 32 KiB: pages of their own */
    uint32_t large; /* 64 KiB */
    uint32_t keys;  /* how many different keys */
};

enum action_kind {
    ACT_SET,    /* dict[key] = value */
    ACT_DEL,    /* del dict[key] */
    ACT_POP,    /* dict.popitem() */
    ACT_INSERT, /* list.insert(index, value) */
    ACT_PUT,    /* list[index] = value */
    ACT_CUT,    /* del list[index:index+count] */
    ACT_CLEAR,
    ACT_SWAP,
    ACT_REVERSE
};
struct action {
    enum action_kind kind;
    uint32_t object; /* number */
    uint32_t index, count;
    uint64_t key;
    struct model_value value; /* DICT, LIST: made by the action if create, else linked */
    int create;
};

void model_start(struct model *model, uint64_t root);
void action_draw(const struct model *model, uint64_t *dice, const struct profile *profile,
                 struct action *out);
void action_model(struct model *model, const struct action *action);
/* Between enter and leave.  *made: offset of the object that the action created. */
int action_pool(struct pms_pool *pool, const struct model *model, const struct action *action,
                uint64_t *made);
const char *action_name(const struct action *action);

void model_write(const struct model *model, struct text *out);
/* The pool has what the model has: where are the objects?  The pool must be entered. */
int model_locate(struct pms_pool *pool, struct model *model);
/* The pool must be entered. */
int pool_write(struct pms_pool *pool, struct text *out);

#endif
