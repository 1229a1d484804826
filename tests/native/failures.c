/* failures.c -- a sync fails at the worst moment: what it has not written stays unwritten. */
#include "check.h"
#include "steps.h"

/* What a sync failed to write is not written by another one: of a checkpoint not the pages (n = 1), and
 * not the anchor (2), which the next session reads, and the one after that may find torn; of a unit not
 * its payload (4), and not its frame (5), which the next session acts on. */
static void a_sync_fails(void)
{
    for (uint64_t n = 1; n < 6 && !world_found; n++) {
        struct setup setup;
        struct world *w = start(&setup, 4096, 512, ON_FILES);
        setup.nested = 3;
        setup.killed = 1;
        setup.below = 40;
        put_many(w, 0, 6, 300);
        world_drain(w);
        w->syncs_left = n < 4 ? n : n - 3;
        if (n < 4 && !world_found) {
            (void)world_checkpoint(w);
        } else if (!world_found) {
            struct level level = level_begin(w);
            put_many(w, 0, 9, 310);
            level_end(w, level, 1);
            world_drain(w);
        }
        if (!w->sync_failed)
            w->syncs_left = 0;
        world_after(w);
    }
    finish(NULL, __func__);
}

static void growth_fails(struct world *w)
{
    w->syncs_left = 1;
    (void)world_grow(w);
}

/* An error is told once: the sync of a growth takes that of a leader's contents (a value in place, or
 * a payload outside the ring) with it, and the leader's own sync, right behind it, succeeds. */
static void another_sync_is_told_of_the_leaders_error(void)
{
    for (int far = 0; far < 2 && !world_found; far++) {
        struct setup setup;
        struct world *w = start(&setup, 65536, 3072, ON_FILES);
        setup.nested = 3;
        setup.crossed = 2;
        setup.below = 40;
        put_many(w, 0, 6, 300);
        world_drain(w);
        w->meanwhile = growth_fails;
        w->meanwhile_at = PMS_EV_SYNC;
        struct level level = level_begin(w);
        put_many(w, 0, far ? 40 : 1, far ? 400 : 70000);
        level_end(w, level, 1);
        world_drain(w);
        CHECK(world_found || w->sync_failed);
        world_after(w);
    }
    finish(NULL, __func__);
}

void world_failures(void)
{
    if (!world_found)
        a_sync_fails();
    if (!world_found)
        another_sync_is_told_of_the_leaders_error();
}
