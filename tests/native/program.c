/* program.c -- random programs for a world: units, transactions with levels inside them. */
#include "world.h"

#include "_native/collect.h"
#include "check.h"

static void random_step(struct world *w)
{
    struct action action;
    action_draw(w->draft, &w->dice, &w->setup->profile, &action);
    (void)world_step(w, &action, dice_below(&w->dice, 12) == 0);
}

/* A level of a transaction, with levels inside it. */
static void random_level(struct world *w, uint32_t steps)
{
    if (world_begin(w) != PMS_OK)
        return;
    uint32_t depth = pms_tx_depth(w->pool);
    struct model *before = NULL;
    if (depth > 1) {
        before = malloc(sizeof *before);
        CHECK(before != NULL);
        *before = *w->draft;
    }
    for (uint32_t n = 0; n < steps && !world_found; n++) {
        if (depth < 4 && dice_below(&w->dice, 12) == 0)
            random_level(w, 1 + dice_below(&w->dice, steps));
        else
            random_step(w);
        if (dice_below(&w->dice, 20) == 0)
            world_compare(w);
    }
    if (world_found) {
        free(before);
        return;
    }
    if (dice_below(&w->dice, 10) < (depth == 1 ? 7u : 5u)) {
        (void)world_commit(w);
    } else {
        (void)world_abort(w);
        if (before)
            *w->draft = *before;
    }
    free(before);
}

/* ---- handles ---- */

void world_unpin(struct world *w)
{
    for (int i = 0; i < PINS; i++) {
        if (w->pin[i])
            pms_handle_put(w->pin[i]);
        w->pin[i] = NULL;
    }
}

/* Look at an object from now on, or no more at another one. */
static void pin(struct world *w)
{
    uint32_t slot = dice_below(&w->dice, PINS), number = dice_below(&w->dice, MODEL_OBJECTS);
    const struct model_object *object = &w->now->model.object[number];
    if (w->pin[slot])
        pms_handle_put(w->pin[slot]);
    w->pin[slot] = NULL;
    if (object->tag == 0 || pms_enter_read_wait(w->pool, NULL, -1) != PMS_OK)
        return;
    w->pin[slot] = pms_handle_get(w->pool, object->off, object->tag);
    CHECK(w->pin[slot] != NULL);
    (void)pms_leave_read(w->pool);
}

/* ---- units ---- */

void world_unit(struct world *w)
{
    struct action action;
    uint32_t what = dice_below(&w->dice, 100);
    if (what < 55) {
        action_draw(&w->now->model, &w->dice, &w->setup->profile, &action);
        (void)world_single(w, &action, dice_below(&w->dice, 15) == 0);
    } else if (what < 90) {
        uint32_t longest = dice_below(&w->dice, 4) ? 4 : w->setup->longest;
        random_level(w, 1 + dice_below(&w->dice, longest));
    } else if (what < 94) {
        (void)world_checkpoint(w);
    } else if (what < 96) {
        uint64_t freed;
        int status = pms_pool_collect(w->pool, &freed);
        (void)world_expected(w, "collect", status);
    } else if (what < 97) {
        (void)world_grow(w);
    } else if (w->level == 0 && what < 99) {
        world_drain(w);
        world_reopen(w);
    }
    if (dice_below(&w->dice, 8) == 0 && !world_found && !w->sync_failed)
        pin(w);
    if (dice_below(&w->dice, 6) == 0)
        world_compare(w);
}

/* A sync has failed: nothing may be written any more. */
static void after_failed_sync(struct world *w)
{
    int status = w->pool ? pms_enter_write_wait(w->pool, NULL, -1) : PMS_E_POISONED;
    if (status != PMS_E_POISONED && status != PMS_E_MEDIA)
        wrong(w, "a pool writes after a failed sync", NULL, status);
    uint64_t ticket;
    if (status == PMS_OK) /* it has the lock */
        (void)pms_leave_write(w->pool, PMS_E_INVAL, &ticket);
    world_look(w);
    world_kill(w);
}

void world_after(struct world *w)
{
    if (!world_found && w->sync_failed)
        after_failed_sync(w);
    if (world_found) { /* an open transaction may be left: no tidy end */
        if (w->pool) {
            (void)pms_pool_close(w->pool);
            world_unpin(w);
            pms_pool_drop(w->pool);
        }
        w->pool = NULL;
        w->looking = 0;
        return;
    }
    world_drain(w);
    world_compare(w);
    world_close(w);
}

void world_program(const struct setup *setup)
{
    struct world *w = world_number(0);
    world_create(setup);
    for (uint32_t n = 0; n < setup->units && !world_found && !w->sync_failed; n++)
        world_unit(w);
    world_after(w);
}

/* ---- what a seed stands for ---- */

struct setup setup_random(uint64_t seed)
{
    static const uint64_t logs[] = {4096, 4096, 8192, 16384, 65536},
                          limits[] = {512, 1536, 3072};
    static const struct profile profiles[] = {
        {0, 0, 0, 20}, {60, 0, 0, 60}, {100, 60, 0, 100}, {60, 60, 60, 40}, {400, 0, 0, 200}};
    uint64_t dice = seed * 0xd1342543de82ef95ull + 11;
    dice_roll(&dice);
    dice_roll(&dice);
    int medium = (int)dice_below(&dice, 8); /* files 2, eadr 1, direct 5 of 8 */
    return (struct setup){.seed = seed,
                          .log_bytes = logs[dice_below(&dice, 5)],
                          .limit = limits[dice_below(&dice, 3)] << 10,
                          .profile = profiles[dice_below(&dice, 5)],
                          .units = 6 + dice_below(&dice, 12),
                          .longest = dice_below(&dice, 3) ? 16 : 80,
                          .most = medium == 2 ? 4 : 16,
                          .below = medium == 2 ? 3 : 10,
                          .nested = 60,
                          .killed = medium == 2 ? 100 : 25,
                          .stabbed = medium == 2 ? 12000 : 600,
                          .crossed = 25,
                          .thin = medium == 2 ? 8 : 0,
                          .files = medium < 2,
                          .eadr = medium == 2,
                          .past = (int)(seed % 2),
                          .fault = -1};
}

struct setup setup_recovery(uint64_t seed)
{
    struct setup setup = setup_random(seed);
    setup.log_bytes = 4096;
    setup.units = 8;
    setup.longest = 12;
    setup.most = 1;
    setup.below = 16;
    setup.nested = 2;
    setup.killed = 2;
    setup.stabbed = 12;
    setup.fail_sync = setup.files ? 1 + (int)(seed % 9) : 0;
    return setup;
}
