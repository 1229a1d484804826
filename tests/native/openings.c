/* openings.c -- crashes while a pool is made, opened, given another limit, and made larger. */
#include <unistd.h>

#include "check.h"
#include "steps.h"

/* A pool comes into being under a name that is free (flag "c" or "n"), or replaces another one.  No
 * image has half a pool under the name; what a process that was killed left is not lost once the
 * next one has opened it. */
static void make(int medium, char flag, int over)
{
    struct setup setup;
    struct world *w = start(&setup, 4096, 1536, medium);
    uint8_t *old = NULL;
    uint64_t old_size = 0;
    put_many(w, 0, 8, 300);
    world_after(w);
    if (world_found)
        return;
    if (over) {
        old_size = w->machine.size;
        old = malloc(old_size);
        CHECK(old != NULL);
        memcpy(old, w->file, old_size);
    } else {
        CHECK_EQ(unlink(w->path), 0);
    }
    setup.thin = 0;
    setup.nested = world_slice ? 32 : 16;
    setup.killed = world_slice ? 20 : 8;
    setup.most = 32;
    /* With a count of unsafe shutdowns the next open has superblocks to write, so it takes the pool at
     * once, the name too; without, the first unit does. */
    setup.seed = flag == 'c' ? 3 : 1;
    world_reset(&setup);
    CHECK_EQ(pms_machine_load(&w->machine, (const uint8_t *)"", 0), PMS_OK);
    w->machine.named = w->machine.named_durable = 0;
    world_is_empty(w, 0);
    w->looking = 1;
    int status = world_open(w, flag, 1);
    if (status != PMS_OK) {
        wrong(w, "a pool is not made", pms_detail()->what, status);
    } else {
        if (!world_found && !w->machine.named_durable)
            wrong(w, "a new pool's name is not durable", NULL, 0);
        world_is_empty(w, world_root(w));
        w->most = 16;
        for (uint32_t n = 0; n < 4 && !world_found; n++)
            world_unit(w);
        world_after(w);
    }
    if (over && memcmp(old, w->file, old_size) != 0)
        wrong(w, "a pool is changed by the one that replaces it", NULL, 0);
    free(old);
}

static void a_pool_is_made(int medium)
{
    make(medium, 'c', 0);
    make(medium, 'n', 0);
    if (!world_found)
        make(medium, 'n', 1);
    finish(NULL, __func__);
}

/* Nothing waits in the log: what recovery writes then, and a session without a change. */
static void a_pool_at_rest_is_opened(int medium)
{
    struct setup setup;
    struct world *w = start(&setup, 4096, 1536, medium);
    setup.nested = world_slice ? 40 : 20;
    setup.thin = medium == ON_EADR ? 2 : 0;
    w->most = 32;
    put_many(w, 0, 5, 100);
    for (int n = 0; n < 5 && !world_found; n++) {
        world_drain(w);
        world_reopen(w);
        if (n % 2)
            put(w, 1, 50);
    }
    finish(w, __func__);
}

/* The superblocks are written again, by this session and by the one after a crash. */
static void a_pool_gets_another_limit(int medium)
{
    static const uint64_t limits[] = {1536, 3072, 2048, 3072, 1536};
    struct setup setup;
    struct world *w = start(&setup, 4096, 1536, medium);
    setup.nested = world_slice ? 40 : 16;
    setup.killed = world_slice ? 12 : 6;
    setup.stabbed = world_slice ? 60 : 20;
    setup.thin = medium == ON_EADR ? 4 : 0;
    w->most = 32;
    put_many(w, 0, 5, 100);
    for (size_t n = 0; n < sizeof limits / sizeof *limits && !world_found; n++) {
        world_drain(w);
        setup.limit = limits[n] << 10;
        world_reopen(w);
        put(w, n, 60);
    }
    finish(w, __func__);
}

/* Growth after growth, through several regions, with units between that use the new pages. */
static void a_pool_grows_and_grows(int medium)
{
    struct setup setup;
    struct world *w = start(&setup, 8192, 12288, medium);
    setup.nested = 40;
    setup.stabbed = medium == ON_EADR ? 40000 : 4000;
    setup.thin = medium == ON_EADR ? 10 : 0;
    w->most = 12;
    for (uint64_t n = 0; n < 7 && !world_found; n++) {
        int status = pms_pool_grow(w->pool, w->pool->super.size + (1u << 20));
        (void)world_expected(w, "grow", status);
        put_many(w, 3 * n, 3 * n + 3, 70000);
        if (n % 3 == 2 && !world_found) {
            world_drain(w);
            world_reopen(w);
        }
    }
    CHECK(world_found || w->pool->super.size > 7u << 20);
    finish(w, __func__);
}

void world_openings(void)
{
    static void (*const tests[])(int) = {
        a_pool_is_made,
        a_pool_at_rest_is_opened,
        a_pool_gets_another_limit,
        a_pool_grows_and_grows,
    };
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++)
        for (int medium = 0; medium < MEDIA && !world_found; medium++)
            tests[i](medium);
}
