/* threads.c -- several threads commit to one file at once: group commit, crashed anywhere.
 *
 * Units get tickets in the order in which they end; the pool tells up to which ticket they are
 * durable (PMS_EV_DURABLE) before anybody who waits is woken.  So an image may contain the units up
 * to any ticket that is not below the last one told, and no others.  What that looks like is known
 * when the threads have ended and the tickets can be sorted; until then the hashes of what the
 * images contained are kept.
 *
 * On direct media a unit holds the pool's lock until it is durable: nothing here that one thread
 * would not show.
 */
#include <pthread.h>

#include "_native/hash.h"
#include "check.h"
#include "steps.h"

#define THREADS 4
#define UNITS 60 /* of a thread */
#define STEPS 4  /* of a unit */

struct unit {
    uint64_t ticket;
    uint32_t steps;
    struct action step[STEPS];
};

struct seen { /* an image */
    uint64_t contents, durable;
};

static struct {
    pthread_mutex_t lock; /* of what the recorder touches */
    struct world *w;
    struct seen *seen;
    size_t count, room;
    uint64_t durable; /* ticket */
    int syncs_left;   /* until one fails; 0: none */
    _Atomic int failed;
    pthread_mutex_t units_lock;
    struct unit *unit;
    size_t units;
} group = {.lock = PTHREAD_MUTEX_INITIALIZER, .units_lock = PTHREAD_MUTEX_INITIALIZER};

/* ---- the recorder ---- */

static void keep_seen(uint64_t contents)
{
    for (size_t i = group.count; i-- > 0 && group.seen[i].durable == group.durable;)
        if (group.seen[i].contents == contents)
            return;
    if (group.count == group.room) {
        group.room = group.room ? group.room * 2 : 256;
        group.seen = realloc(group.seen, group.room * sizeof *group.seen);
        CHECK(group.seen != NULL);
    }
    group.seen[group.count++] = (struct seen){contents, group.durable};
}

static void look(void)
{
    struct world *w = group.w, *child = world_number(1);
    struct pms_detail detail = *pms_detail();
    CHECK_EQ(pms_plan_begin(&w->plan, &w->machine, w->most, dice_roll(&w->dice)), PMS_OK);
    tally.points++;
    tally.exhaustive += (uint64_t)(w->plan.product <= w->most);
    tally.whole += (uint64_t)(w->plan.product > w->most && w->plan.whole <= w->most);
    while (!world_found && pms_plan_next(&w->plan)) {
        CHECK_EQ(pms_machine_image(&w->machine, w->plan.state), PMS_OK);
        uint64_t opened = tally.opened, contents = probe_image(w, child);
        tally.images++;
        tally.distinct += tally.opened - opened;
        if (contents)
            keep_seen(contents);
        else
            wrong(w, "an image of several threads cannot be opened, or is not sound", NULL, 0);
    }
    *pms_detail() = detail;
}

static int record(void *context, const struct pms_event *event)
{
    struct world *w = context;
    pthread_mutex_lock(&group.lock);
    int syncs = event->kind == PMS_EV_SYNC || event->kind == PMS_EV_WRITE_SYNC;
    int fail = syncs && group.syncs_left && --group.syncs_left == 0;
    group.failed |= fail;
    if (event->kind == PMS_EV_DURABLE && event->off > group.durable)
        group.durable = event->off;
    if (!world_found && event->kind > PMS_EV_FENCE) {
        CHECK_EQ(pms_machine_take(&w->machine, event, fail), PMS_OK);
        if (pms_machine_is_point(&w->machine, event))
            look();
        CHECK_EQ(pms_machine_settle(&w->machine, event, fail), PMS_OK);
    }
    pthread_mutex_unlock(&group.lock);
    return fail ? 5 /* EIO */ : 0;
}

/* ---- the threads ---- */

static void ended(const struct unit *unit)
{
    pthread_mutex_lock(&group.units_lock);
    group.unit[group.units++] = *unit;
    pthread_mutex_unlock(&group.units_lock);
}

static int enter(struct pms_pool *pool)
{
    int status;
    while ((status = pms_enter_write_wait(pool, NULL, -1)) == PMS_E_INTR)
        continue;
    return status;
}

/* One operation, in a transaction or by itself.  PMS_MISSING: nothing to delete. */
static int step(struct pms_pool *pool, const struct model *root, const struct action *action,
                uint64_t *ticket)
{
    uint64_t made;
    PMS_TRY(enter(pool));
    int status = action_pool(pool, root, action, &made);
    return pms_leave_write(pool, status, ticket);
}

/* Each unit changes something, or it would get no ticket of its own: values are new ones, and no key
 * is set and deleted in one transaction. */
static void draw(uint64_t *dice, uint32_t n, struct action *out)
{
    uint32_t what = dice_below(dice, 100);
    *out = (struct action){.kind = what > 85 ? ACT_DEL : ACT_SET,
                           .key = dice_below(dice, 24 / STEPS) * STEPS + n,
                           .value = {.tag = PMS_TAG_BYTES, .num = dice_roll(dice)}};
    out->value.len = what < 3 ? 70000 : 8 + dice_below(dice, what < 10 ? 3000 : 200);
}

/* 0: the thread must stop. */
static int one_unit(struct pms_pool *pool, const struct model *root, uint64_t *dice,
                    struct unit *unit)
{
    uint32_t depth = 0, many = dice_below(dice, 4) == 0;
    uint64_t ignored = 0;
    int status = PMS_OK;
    *unit = (struct unit){0};
    while (many && (status = pms_tx_begin_wait(pool, &depth, -1)) == PMS_E_INTR)
        continue;
    uint32_t steps = many ? 1 + dice_below(dice, STEPS) : 1;
    for (uint32_t i = 0; i < steps && status == PMS_OK; i++) {
        struct action *action = &unit->step[unit->steps];
        draw(dice, i, action);
        status = step(pool, root, action, many ? &ignored : &unit->ticket);
        if (status == PMS_OK)
            unit->steps++;
        if (status == PMS_MISSING || status == PMS_E_FULL)
            status = PMS_OK;
    }
    if (many && status == PMS_OK)
        status = pms_tx_commit(pool, depth, &unit->ticket);
    if (status == PMS_E_FULL) {
        unit->steps = 0;
        status = PMS_OK;
    }
    if (status == PMS_OK && unit->steps)
        ended(unit);
    if (status != PMS_OK && !group.failed)
        wrong(group.w, "a unit of several threads", pms_detail()->what, status);
    return status == PMS_OK;
}

static void *run(void *seed)
{
    struct pms_pool *pool = group.w->pool;
    uint64_t dice = (uint64_t)(uintptr_t)seed;
    struct unit unit;
    for (int i = 0; i < UNITS && !world_found; i++) {
        if (!one_unit(pool, &group.w->now->model, &dice, &unit))
            break;
        if (unit.ticket && dice_below(&dice, 4))
            (void)pms_wait_durable(pool, unit.ticket);
        if (dice_below(&dice, 40) == 0)
            (void)pms_pool_checkpoint(pool);
        if (dice_below(&dice, 60) == 0)
            (void)pms_pool_grow(pool, pool->super.size + 1);
    }
    return NULL;
}

/* ---- afterwards ---- */

static int by_ticket(const void *a, const void *b)
{
    uint64_t x = ((const struct unit *)a)->ticket, y = ((const struct unit *)b)->ticket;
    return (x > y) - (x < y);
}

/* Was every image what the units up to some ticket leave, and not less than was told? */
static void judge_seen(void)
{
    static struct model model;
    struct text text = {0};
    uint64_t *hash = calloc(group.units + 1, sizeof *hash);
    CHECK(hash != NULL);
    qsort(group.unit, group.units, sizeof *group.unit, by_ticket);
    for (size_t n = 0; n < group.units && !world_found; n++)
        if (group.unit[n].ticket == (n ? group.unit[n - 1].ticket : 0))
            wrong(group.w, "a unit has no ticket of its own", NULL, (int64_t)n);
    model_start(&model, 0);
    for (size_t n = 0;; n++) {
        model_write(&model, &text);
        hash[n] = pms_hash(text.bytes, text.len, 1);
        if (n == group.units)
            break;
        for (uint32_t i = 0; i < group.unit[n].steps; i++)
            action_model(&model, &group.unit[n].step[i]);
    }
    for (size_t i = 0; i < group.count && !world_found; i++) {
        size_t n = 0;
        while (n < group.units && group.unit[n].ticket <= group.seen[i].durable)
            n++;
        size_t from = n;
        while (n <= group.units && hash[n] != group.seen[i].contents)
            n++;
        if (n > group.units)
            wrong(group.w, "an image has other units than those up to a ticket", NULL,
                  (int64_t)from);
    }
    tally.units += group.units;
    text_free(&text);
    free(hash);
}

static void groups(uint64_t seed, int threads, int fail_sync)
{
    pthread_t thread[THREADS];
    static const uint64_t logs[] = {4096, 16384, 65536, 262144};
    struct setup setup;
    struct world *w = start(&setup, logs[seed % 4], 3072, ON_FILES);
    w->looking = 0;
    w->most = 6;
    world_number(1)->setup = &setup;
    world_number(1)->files = 1;
    world_number(1)->eadr = 0;
    world_log(world_number(1));
    group.w = w;
    group.count = group.units = 0;
    group.durable = 0;
    group.syncs_left = fail_sync;
    group.failed = 0;
    group.unit = calloc(THREADS * UNITS, sizeof *group.unit);
    CHECK(group.unit != NULL);
    w->pool->map.medium.recorder = record;
    for (int i = 0; i < threads; i++)
        CHECK_EQ(pthread_create(&thread[i], NULL, run,
                                (void *)(uintptr_t)(seed * 1000003 + (uint64_t)i * 7919 + 1)),
                 0);
    for (int i = 0; i < threads; i++)
        CHECK_EQ(pthread_join(thread[i], NULL), 0);
    (void)pms_pool_close(w->pool);
    pms_pool_drop(w->pool);
    w->pool = NULL;
    if (!world_found)
        look();
    judge_seen();
    free(group.unit);
    group.unit = NULL;
}

void world_threads(uint64_t programs)
{
    for (uint64_t seed = 0; seed < programs && !world_found; seed++)
        groups(seed, 2 + (int)(seed % (THREADS - 1)), seed % 3 == 2 ? 3 + (int)seed * 5 : 0);
    finish(NULL, __func__);
    free(group.seen);
    group.seen = NULL;
    group.room = 0;
}
