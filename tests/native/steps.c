/* steps.c -- steps.h is the manual. */
#include "steps.h"

#include "check.h"

struct world *start(struct setup *setup, uint64_t log_bytes, uint64_t limit_kib, int medium)
{
    *setup = (struct setup){.seed = 7,
                            .log_bytes = log_bytes,
                            .limit = limit_kib << 10,
                            .profile = {60, 30, 0, 60},
                            .longest = 8,
                            .most = medium == ON_EADR ? 4 : 10,
                            .below = medium == ON_EADR ? 3 : 10,
                            .thin = medium == ON_EADR ? 8 : 0,
                            .nested = 60,
                            .killed = 25,
                            .stabbed = 400,
                            .crossed = 25,
                            .files = medium == ON_FILES,
                            .eadr = medium == ON_EADR,
                            .past = medium == ON_PAST,
                            .fault = -1};
    if (medium == ON_EADR)
        setup->stabbed *= 8; /* every store is a point of its own */
    if (world_slice) {
        setup->thin *= 4;
        setup->nested *= 2;
        setup->killed *= 3;
        setup->stabbed *= 3;
    }
    world_create(setup);
    return world_number(0);
}

void finish(struct world *w, const char *name)
{
    static uint64_t before;
    const char *medium = w ? world_medium(w) : "";
    if (w)
        world_after(w);
    if (world_found)
        fprintf(stderr, "  in %s\n", name);
    printf("  %-56s %-6s %6" PRIu64 " images\n", name, medium, tally.images - before);
    before = tally.images;
}

struct action set(uint64_t key, uint32_t len)
{
    static uint64_t seed;
    return (struct action){.kind = ACT_SET,
                           .key = key,
                           .value = {PMS_TAG_BYTES, len, ++seed * 0x9e3779b97f4a7c15ull}};
}

int has(struct world *w, uint64_t key)
{
    const struct model *m = pms_tx_depth(w->pool) ? w->draft : &w->now->model;
    for (uint32_t i = 0; i < m->object[0].count; i++)
        if (m->object[0].item[i].key == key)
            return 1;
    return 0;
}

void put(struct world *w, uint64_t key, uint32_t len)
{
    struct action a = set(key, len);
    if (!world_found)
        (void)(pms_tx_depth(w->pool) ? world_step(w, &a, 0) : world_single(w, &a, 0));
}

void put_many(struct world *w, uint64_t from, uint64_t to, uint32_t len)
{
    for (uint64_t key = from; key < to; key++)
        put(w, key, len);
}

void del_many(struct world *w, uint64_t from, uint64_t to)
{
    for (uint64_t key = from; key < to && !world_found; key++) {
        struct action a = {.kind = ACT_DEL, .key = key};
        if (has(w, key))
            (void)(pms_tx_depth(w->pool) ? world_step(w, &a, 0) : world_single(w, &a, 0));
    }
}

struct level level_begin(struct world *w)
{
    struct level level = {malloc(sizeof *level.before)};
    CHECK(level.before != NULL && world_begin(w) == PMS_OK);
    *level.before = *w->draft;
    return level;
}
void level_end(struct world *w, struct level level, int keep)
{
    if (!world_found) {
        if (keep) {
            (void)world_commit(w);
        } else {
            uint32_t depth = pms_tx_depth(w->pool);
            (void)world_abort(w);
            if (depth > 1)
                *w->draft = *level.before;
        }
    }
    free(level.before);
}
