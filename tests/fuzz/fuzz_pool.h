/* fuzz_pool.h -- what the target and its mutator share. */
#ifndef PMS_FUZZ_POOL_H
#define PMS_FUZZ_POOL_H

#include "hostile.h"

/* A base, and the places of it that mean something. */
struct fuzz_base {
    struct hostile_image image;
    uint32_t *word; /* offset / 8 of words that are in use */
    uint32_t words;
    uint32_t fixed;  /* the first so many lie before the heap */
    uint64_t *block; /* offsets of allocated blocks */
    uint32_t blocks;
};
extern struct fuzz_base fuzz_base[HOSTILE_BASES];

/* image is set: find the rest. */
void fuzz_learn(struct fuzz_base *base);

#endif
