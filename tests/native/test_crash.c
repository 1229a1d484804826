/* test_crash.c -- no crash shows anything but the state before or after a unit of work.
 *
 *   test_crash                              the slice that runs with every build
 *   test_crash SECONDS [SEED]               random programs from SEED on; 0: one, as reported
 *   test_crash faults [NAME [PROGRAMS]]     planted faults: each must be found
 *   test_crash directed                     the suspects alone
 *   CRASH_TRACE=n                           print what the worlds below n do
 *
 * world.h tells how; machine.h has the model of the medium, contents.h that of the pool.
 */
#include "world.h"

#include <time.h>
#include <unistd.h>

#include "check.h"

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static struct setup random_setup(uint64_t seed)
{
    static const uint64_t logs[] = {4096, 8192, 16384}, limits[] = {512, 1536, 3072};
    static const struct profile profiles[] = {
        {0, 0, 0, 20}, {60, 0, 0, 60}, {100, 60, 0, 100}, {60, 60, 60, 40}, {400, 0, 0, 200}};
    uint64_t dice = seed * 0xd1342543de82ef95ull + 11;
    dice_roll(&dice);
    dice_roll(&dice);
    return (struct setup){.seed = seed,
                          .log_bytes = logs[dice_below(&dice, 3)],
                          .limit = limits[dice_below(&dice, 3)] << 10,
                          .profile = profiles[dice_below(&dice, 5)],
                          .units = 6 + dice_below(&dice, 12),
                          .longest = dice_below(&dice, 3) ? 16 : 80,
                          .most = 16,
                          .below = 10,
                          .nested = 60,
                          .killed = 25,
                          .stabbed = 600,
                          .crossed = 25,
                          .files = dice_below(&dice, 3) == 0,
                          .fault = -1};
}

static void report(double seconds)
{
    printf("%.1f s: %" PRIu64 " programs, %" PRIu64 " units, %" PRIu64 " images (%" PRIu64
           " read-only, %" PRIu64 " crossed, %" PRIu64 " went on), %" PRIu64 " kills, %" PRIu64
           " aborts, %" PRIu64 " full, %" PRIu64 " reopened\n",
           seconds, tally.programs, tally.units, tally.images, tally.readonly, tally.crossed,
           tally.nested, tally.killed, tally.aborts, tally.full, tally.reopened);
}

/* ---- directed: the suspects, one by one ---- */

static struct world *start(struct setup *setup, uint64_t log_bytes, uint64_t limit_kib,
                           int files)
{
    *setup = (struct setup){.seed = 7,
                            .log_bytes = log_bytes,
                            .limit = limit_kib << 10,
                            .profile = {60, 30, 0, 60},
                            .longest = 8,
                            .most = 10,
                            .below = 10,
                            .nested = 60,
                            .killed = 25,
                            .stabbed = 400,
                            .crossed = 25,
                            .files = files,
                            .fault = -1};
    world_create(setup);
    return world_number(0);
}

static void finish(struct world *w, const char *name)
{
    static uint64_t before;
    if (w)
        world_after(w);
    if (world_found)
        fprintf(stderr, "  in %s\n", name);
    printf("  %-56s %6" PRIu64 " images\n", name, tally.images - before);
    before = tally.images;
}

static struct action set(uint64_t key, uint32_t len)
{
    static uint64_t seed;
    return (struct action){.kind = ACT_SET,
                           .key = key,
                           .value = {PMS_TAG_BYTES, len, ++seed * 0x9e3779b97f4a7c15ull}};
}

static int has(struct world *w, uint64_t key)
{
    const struct model *m = pms_tx_depth(w->pool) ? w->draft : &w->now->model;
    for (uint32_t i = 0; i < m->object[0].count; i++)
        if (m->object[0].item[i].key == key)
            return 1;
    return 0;
}

static void put(struct world *w, uint64_t key, uint32_t len)
{
    struct action a = set(key, len);
    if (!world_found)
        (void)(pms_tx_depth(w->pool) ? world_step(w, &a, 0) : world_single(w, &a, 0));
}

static void put_many(struct world *w, uint64_t from, uint64_t to, uint32_t len)
{
    for (uint64_t key = from; key < to; key++)
        put(w, key, len);
}

static void del_many(struct world *w, uint64_t from, uint64_t to)
{
    for (uint64_t key = from; key < to && !world_found; key++) {
        struct action a = {.kind = ACT_DEL, .key = key};
        if (has(w, key))
            (void)(pms_tx_depth(w->pool) ? world_step(w, &a, 0) : world_single(w, &a, 0));
    }
}

/* A level of a transaction is rolled back; the draft of the model with it. */
struct level {
    struct model *before;
};
static struct level level_begin(struct world *w)
{
    struct level level = {malloc(sizeof *level.before)};
    CHECK(level.before != NULL && world_begin(w) == PMS_OK);
    *level.before = *w->draft;
    return level;
}
static void level_end(struct world *w, struct level level, int keep)
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

/* Blocks that a savepoint gave back have words in UNDO frames of the same transaction: handed out
 * again, a crash would undo over the new contents. */
static void blocks_given_back_wait_for_the_frames_that_name_them(int files)
{
    struct setup setup;
    struct world *w = start(&setup, 4096, 1536, files);
    for (int keep = 0; keep < 2; keep++) {
        struct level outer = level_begin(w);
        put_many(w, 0, 25, 300);
        struct level inner = level_begin(w);
        put_many(w, 25, 45, 300);
        del_many(w, 0, 10);
        put_many(w, 45, 60, 40);
        level_end(w, inner, 0);
        put_many(w, 60, 80, 300);
        level_end(w, outer, keep);
        put_many(w, 80, 86, 300);
    }
    finish(w, __func__);
}

static void overflow_extents_are_reused_and_merged(int files)
{
    struct setup setup;
    struct world *w = start(&setup, 4096, 1536, files);
    uint64_t extents = 0;
    w->most = 4;
    for (int keep = 0; keep < 3; keep++) {
        struct level level = level_begin(w);
        for (uint64_t round = 0; round < 3; round++)
            for (uint64_t key = 0; key < 140 && !world_found; key++) {
                put(w, key, 30 + 10 * (uint32_t)round);
                uint64_t now = w->pool->tx.borrowed_count;
                extents = now > extents ? now : extents;
            }
        level_end(w, level, keep);
        put_many(w, 0, 3, 20);
    }
    CHECK(world_found || files || extents > 1);
    finish(w, __func__);
}

/* The anchor still points at an OVERFLOW frame when its transaction has committed: its pages must
 * not become somebody's contents before the anchor has moved. */
static void pages_lent_to_the_log_stay_while_an_anchor_needs_them(int files)
{
    struct setup setup;
    struct world *w = start(&setup, 4096, 1536, files);
    for (uint64_t n = 30; n < 100 && !world_found; n += 6) {
        w->looking = 0;
        struct level level = level_begin(w);
        put_many(w, 0, n, 24 + (uint32_t)n);
        level_end(w, level, 1);
        w->looking = 1;
        put(w, 0, 20);
        put(w, 200, 33000);
        put(w, 1, 20);
        del_many(w, 200, 201);
    }
    finish(w, __func__);
}

static void a_full_pool_settles_in_the_middle_of_a_unit(int files)
{
    struct setup setup;
    struct world *w = start(&setup, 4096, 512, files);
    w->most = 6;
    uint64_t full = tally.full;
    for (uint32_t round = 0; round < 4; round++) {
        for (uint64_t key = 0; key < 60 && tally.full == full + round; key++)
            put(w, key, 6000);
        full = tally.full - round - 1;
        del_many(w, 0, 12);
        put_many(w, 0, 12, 5200 + 300 * round);
        struct level level = level_begin(w);
        del_many(w, 3, 9);
        put_many(w, 3, 9, 6400);
        level_end(w, level, (int)round % 2);
    }
    finish(w, __func__);
}

static void empty_spans_become_pages_and_come_back(int files)
{
    struct setup setup;
    struct world *w = start(&setup, 8192, 1024, files);
    w->most = 6;
    for (int keep = 0; keep < 2; keep++) {
        for (uint64_t key = 0; key < 14; key++) /* a span each */
            put(w, key, 100u + 200u * (uint32_t)key);
        del_many(w, 0, 14);
        put_many(w, 20, 24, 10);
        struct level outer = level_begin(w);
        put_many(w, 30, 34, 40000);
        struct level inner = level_begin(w);
        put_many(w, 34, 38, 60000);
        level_end(w, inner, 0);
        put_many(w, 40, 50, 500);
        level_end(w, outer, keep);
        for (uint64_t key = 0; key < 14; key++)
            put(w, key, 150u + 250u * (uint32_t)key);
        del_many(w, 0, 60);
    }
    finish(w, __func__);
}

static void growth_inside_a_transaction_that_is_rolled_back(int files)
{
    struct setup setup;
    struct world *w = start(&setup, 4096, 3072, files);
    for (int keep = 0; keep < 2; keep++) {
        uint64_t size = w->pool->super.size;
        struct level level = level_begin(w);
        for (uint64_t key = 0; key < 60 && w->pool->super.size == size && !world_found; key++)
            put(w, key, 20000);
        put_many(w, 60, 70, 200);
        CHECK(world_found || w->pool->super.size > size);
        level_end(w, level, keep);
        put_many(w, 0, 5, 20000);
        if (!world_found)
            world_reopen(w);
        put_many(w, 5, 9, 20000);
    }
    finish(w, __func__);
}

static void words_that_equal_memory_are_durable_already(int files)
{
    struct setup setup;
    struct world *w = start(&setup, 4096, 512, files);
    for (uint32_t round = 0; round < 12; round++) {
        struct action same = set(1, 24);
        (void)world_single(w, &same, 0);
        struct level level = level_begin(w);
        put_many(w, 1, 2, 24);
        put_many(w, 10, 40, 20);
        (void)world_step(w, &same, 0);
        level_end(w, level, (int)round % 2);
        (void)world_single(w, &same, (int)round % 3 == 0);
        put_many(w, 2, 4, 24 + round);
    }
    finish(w, __func__);
}

/* Frames of all lengths against all places of the ring, with and without an anchor between. */
static void the_ring_wraps_at_every_place(int files)
{
    struct setup setup;
    struct world *w = start(&setup, 4096, 512, files);
    setup.nested = 30;
    put_many(w, 0, 5, 1020);
    for (uint32_t round = 0; round < 150 && !world_found; round++) {
        w->most = round % 4 ? 3 : 16;
        put(w, round % 5, 200 + round * 37 % 820);
        if (round % 3 == 0 && round < 75)
            (void)world_checkpoint(w);
        if (round % 7 == 0) {
            struct level level = level_begin(w);
            put_many(w, 10, 14 + round % 19, 40 + round % 50);
            level_end(w, level, round % 2 == 0);
        }
    }
    finish(w, __func__);
}

/* Two UNDO frames wait for one fence: the second may be there without the first, and must not be
 * taken for the successor of a first one that is written after the crash. */
static void an_operation_larger_than_a_frame(int files)
{
    struct setup setup;
    struct world *w = start(&setup, 4096, 1536, files);
    struct action list = {
        .kind = ACT_SET, .key = 1, .create = 1, .value = {PMS_TAG_LIST, 0, 1}};
    struct action reverse = {.kind = ACT_REVERSE, .object = 1};
    (void)world_single(w, &list, 0);
    struct level level = level_begin(w);
    w->looking = 0;
    for (uint32_t i = 0; i < MODEL_ITEMS && !world_found; i++) {
        struct action a = {
            .kind = ACT_INSERT, .object = 1, .index = i, .value = {PMS_TAG_INT, 0, i}};
        (void)world_step(w, &a, 0);
    }
    level_end(w, level, 1);
    w->looking = 1;
    w->most = 24;
    setup.nested = 6;
    setup.below = 6;
    for (uint32_t round = 0; round < 4 && !world_found; round++) {
        (void)world_single(w, &reverse, 0);
        put(w, 2 + round, 100 * round);
    }
    finish(w, __func__);
}

static void contents_in_place_and_groups(int files)
{
    struct setup setup;
    struct world *w = start(&setup, 16384, 3072, files);
    for (uint32_t round = 0; round < 6 && !world_found; round++) {
        put(w, 1, 70000 + 5000 * round);
        put(w, 2, 100);
        struct level level = level_begin(w);
        put_many(w, 3, 5, 90000);
        put_many(w, 10, 60, 60);
        level_end(w, level, round % 3 != 0);
        if (round % 2)
            (void)world_checkpoint(w);
        del_many(w, 1, 5);
        put_many(w, 60, 64, 3000);
    }
    finish(w, __func__);
}

/* Pages that the log has words for are freed and taken again, by contents in place and by payloads
 * outside the ring: what replay, or a crash inside it, would overwrite. */
static void pages_that_the_log_names_are_not_written_in_place(int files)
{
    struct setup setup;
    struct world *w = start(&setup, 262144, 3072, files);
    setup.nested = 6;
    w->most = 8;
    for (uint32_t round = 0; round < 4 && !world_found; round++) {
        struct level level = level_begin(w); /* one payload, so their pages lie in a row */
        put_many(w, 1, 4, 40000);
        level_end(w, level, 1);
        del_many(w, 1, 4);
        put(w, 9, 10);
        put(w, 4, 100000);
        put(w, 5, 40000);
        del_many(w, 4, 6);
        put(w, 9, 11);
    }
    finish(w, __func__);
}

/* What a unit that is not durable yet has freed is still what a crash goes back to. */
static void a_group_does_not_reuse_what_it_frees(int files)
{
    struct setup setup;
    struct world *w = start(&setup, 16384, 1536, files);
    for (uint32_t round = 0; round < 12 && !world_found; round++) {
        put(w, 1, 90000);
        world_drain(w);
        del_many(w, 1, 2);
        put(w, 2, 80000);
        del_many(w, 2, 3);
    }
    finish(w, __func__);
}

/* A session ends inside growth, by a kill or a failed sync, and the next one grows: at no moment may
 * both superblocks be torn. */
static void growth_after_an_unfinished_growth(int files)
{
    for (int n = 0; n < 10 && !world_found; n++) {
        struct setup setup;
        struct world *w = start(&setup, 4096, 3072, files);
        setup.nested = 20;
        setup.grows = 1;
        setup.stabbed = 20;
        w->most = 6;
        w->syncs_left = files ? (uint64_t)n + 1 : 0;
        for (int i = 0; i < 2 && !w->sync_failed && !world_found; i++)
            (void)world_grow(w);
        world_after(w);
    }
    finish(NULL, __func__);
}

static void a_pool_goes_to_the_other_medium(int files)
{
    struct setup setup;
    struct world *w = start(&setup, 4096, 1536, files);
    setup.crossed = 2;
    setup.nested = 15;
    setup.killed = 6;
    for (uint32_t n = 0; n < 12 && !world_found; n++)
        world_unit(w);
    finish(w, __func__);
}

static void directed(void)
{
    static void (*const tests[])(int) = {
        blocks_given_back_wait_for_the_frames_that_name_them,
        overflow_extents_are_reused_and_merged,
        pages_lent_to_the_log_stay_while_an_anchor_needs_them,
        a_full_pool_settles_in_the_middle_of_a_unit,
        empty_spans_become_pages_and_come_back,
        growth_inside_a_transaction_that_is_rolled_back,
        words_that_equal_memory_are_durable_already,
        the_ring_wraps_at_every_place,
        an_operation_larger_than_a_frame,
        growth_after_an_unfinished_growth,
        contents_in_place_and_groups,
        pages_that_the_log_names_are_not_written_in_place,
        a_group_does_not_reuse_what_it_frees,
        a_pool_goes_to_the_other_medium,
    };
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++)
        for (int files = 0; files < 2 && !world_found; files++)
            tests[i](files);
}

/* Is the planted fault found, by so many programs at most? */
static int find_fault(int fault, uint32_t programs)
{
    uint64_t images = tally.images;
    double start = now_s();
    tally.planted = 0;
    for (uint32_t n = 1; n <= programs; n++) {
        struct setup setup = random_setup(n);
        setup.files = world_faults[fault].files;
        setup.fault = fault;
        setup.crossed = 0;
        if (strncmp(world_faults[fault].name, "rec_", 4) == 0) { /* crashes inside recovery */
            setup.log_bytes = 4096;
            setup.units = 8;
            setup.longest = 12;
            setup.most = 1;
            setup.below = 16;
            setup.nested = 2;
            setup.killed = 2;
            setup.stabbed = 12;
            setup.fail_sync = setup.files ? 1 + (int)(n % 9) : 0;
        }
        world_quiet = 1;
        world_program(&setup);
        world_quiet = 0;
        if (world_found) {
            world_found = 0;
            printf("  %-20s found by program %u, image %" PRIu64 ", %.1f s\n",
                   world_faults[fault].name, n, tally.images - images, now_s() - start);
            return 1;
        }
    }
    printf("  %-20s NOT FOUND by %" PRIu64 " images, %" PRIu64 " events left out\n",
           world_faults[fault].name, tally.images - images, tally.planted);
    return 0;
}

/* How many were not found. */
static int all_faults(const char *name, uint32_t programs)
{
    int missed = 0;
    for (int i = 0; i < world_fault_count; i++)
        if (name ? strcmp(name, world_faults[i].name) == 0 : !world_faults[i].slow)
            missed += !find_fault(i, programs);
    return missed;
}

static void random_programs(uint64_t seed, double seconds)
{
    double began = now_s();
    do {
        struct setup setup = random_setup(seed);
        setup.fail_sync = seed % 4 == 0 ? 1 + (int)(seed % 41) : 0;
        world_program(&setup);
        seed++;
    } while (!world_found && now_s() - began < seconds);
}

int main(int argc, char **argv)
{
    double began = now_s();
    int missed = 0;
    setvbuf(stdout, NULL, _IOLBF, 0);
    world_trace = getenv("CRASH_TRACE") ? atoi(getenv("CRASH_TRACE")) : 0;
    worlds_init(access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    if (argc > 1 && strcmp(argv[1], "faults") == 0) {
        missed =
            all_faults(argc > 2 ? argv[2] : NULL, argc > 3 ? (uint32_t)atoi(argv[3]) : 100);
    } else if (argc > 1 && strcmp(argv[1], "directed") == 0) {
        directed();
    } else if (argc > 1) {
        random_programs(argc > 2 ? strtoull(argv[2], NULL, 10) : 1, atof(argv[1]));
    } else {
        directed();
        if (!world_found)
            missed = all_faults(NULL, 30);
        random_programs(1, 8);
    }
    report(now_s() - began);
    worlds_free();
    return world_found || missed;
}
