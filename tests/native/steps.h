/* steps.h -- steps that scenarios are made of.  Each does nothing once something is wrong. */
#ifndef PMS_TEST_STEPS_H
#define PMS_TEST_STEPS_H

#include "world.h"

/* ON_PAST: direct, with frames that go past the caches. */
enum { ON_DIRECT, ON_PAST, ON_FILES, ON_EADR, MEDIA };

/* A new pool; what is not said here may be changed in *setup afterwards. */
struct world *start(struct setup *setup, uint64_t log_bytes, uint64_t limit_kib, int medium);
/* w == NULL: the worlds are closed already. */
void finish(struct world *w, const char *name);

struct action set(uint64_t key, uint32_t len); /* in the root, to bytes never seen before */
int has(struct world *w, uint64_t key);
void put(struct world *w, uint64_t key, uint32_t len);
void put_many(struct world *w, uint64_t from, uint64_t to, uint32_t len);
void del_many(struct world *w, uint64_t from, uint64_t to);

/* A level of a transaction.  When it is rolled back, the draft of the model is too. */
struct level {
    struct model *before;
};
struct level level_begin(struct world *w);
void level_end(struct world *w, struct level level, int keep);

#endif
