/* directed.c -- the suspects, one by one: what random programs meet too rarely, in the smallest log
 * that can show it.  Each takes the kind of medium. */
#include "steps.h"

#include "check.h"

/* Blocks that a savepoint gave back have words in UNDO frames of the same transaction: handed out
 * again, a crash would undo over the new contents. */
static void blocks_given_back_wait_for_the_frames_that_name_them(int medium)
{
    struct setup setup;
    struct world *w = start(&setup, 4096, 1536, medium);
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

static void overflow_extents_are_reused_and_merged(int medium)
{
    struct setup setup;
    struct world *w = start(&setup, 4096, 1536, medium);
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
    CHECK(world_found || medium == ON_FILES || extents > 1);
    finish(w, __func__);
}

/* In a dict of its own: the root has not enough keys for more lines than all extents name. */
static void put_in(struct world *w, uint32_t object, uint64_t key)
{
    struct action a = set(key, 20);
    a.object = object;
    if (!world_found)
        (void)world_step(w, &a, 0);
}

/* So many extents in one transaction that they are put together.  Until the frame that names the new
 * one is durable, an anchor leads to one that names the old ones. */
static void many_extents_become_one(int medium)
{
    struct setup setup;
    struct world *w = start(&setup, 4096, 1536, medium);
    uint64_t extents = 0;
    w->looking = 0;
    w->most = 4;
    for (uint32_t object = 1; object < 12; object++) {
        struct action dict = {
            .kind = ACT_SET, .key = object, .create = 1, .value = {PMS_TAG_DICT, 0, object}};
        (void)world_single(w, &dict, 0);
        struct level level = level_begin(w);
        for (uint64_t key = 0; key < 140; key++)
            put_in(w, object, key);
        level_end(w, level, 1);
    }
    for (int keep = 0; keep < 2 && !world_found; keep++) {
        struct level level = level_begin(w);
        for (uint64_t n = 0; n < 1540 && !world_found; n++) {
            w->looking = extents > 10 && medium == ON_DIRECT;
            put_in(w, 1 + (uint32_t)n % 11, n / 11);
            extents = w->pool->tx.borrowed_count;
        }
        level_end(w, level, keep);
    }
    finish(w, __func__);
}

/* The anchor still points at an OVERFLOW frame when its transaction has committed: its pages must
 * not become somebody's contents before the anchor has moved. */
static void pages_lent_to_the_log_stay_while_an_anchor_needs_them(int medium)
{
    struct setup setup;
    struct world *w = start(&setup, 4096, 1536, medium);
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

static void a_full_pool_settles_in_the_middle_of_a_unit(int medium)
{
    struct setup setup;
    struct world *w = start(&setup, 4096, 512, medium);
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

static void empty_spans_become_pages_and_come_back(int medium)
{
    struct setup setup;
    struct world *w = start(&setup, 8192, 1024, medium);
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

static void growth_inside_a_transaction_that_is_rolled_back(int medium)
{
    struct setup setup;
    struct world *w = start(&setup, 4096, 5120, medium);
    for (int keep = 0; keep < 2; keep++) {
        uint64_t size = w->pool->super.size;
        struct level level = level_begin(w);
        for (uint64_t key = 0; key < 150 && w->pool->super.size == size && !world_found; key++)
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

static void words_that_equal_memory_are_durable_already(int medium)
{
    struct setup setup;
    struct world *w = start(&setup, 4096, 512, medium);
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
static void the_ring_wraps_at_every_place(int medium)
{
    struct setup setup;
    struct world *w = start(&setup, 4096, 512, medium);
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
static void an_operation_larger_than_a_frame(int medium)
{
    struct setup setup;
    struct world *w = start(&setup, 4096, 1536, medium);
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

static void contents_in_place_and_groups(int medium)
{
    struct setup setup;
    struct world *w = start(&setup, 16384, 3072, medium);
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
static void pages_that_the_log_names_are_not_written_in_place(int medium)
{
    struct setup setup;
    struct world *w = start(&setup, 262144, 3072, medium);
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
static void a_group_does_not_reuse_what_it_frees(int medium)
{
    struct setup setup;
    struct world *w = start(&setup, 16384, 1536, medium);
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
static void growth_after_an_unfinished_growth(int medium)
{
    for (int n = 0; n < 10 && !world_found; n++) {
        struct setup setup;
        struct world *w = start(&setup, 4096, 3072, medium);
        setup.nested = 20;
        setup.grows = 1;
        setup.stabbed = 20;
        w->most = 6;
        w->syncs_left = medium == ON_FILES ? (uint64_t)n + 1 : 0;
        for (int i = 0; i < 2 && !w->sync_failed && !world_found; i++)
            (void)world_grow(w);
        world_after(w);
    }
    finish(NULL, __func__);
}

static void a_pool_goes_to_the_other_medium(int medium)
{
    struct setup setup;
    struct world *w = start(&setup, 4096, 1536, medium);
    setup.crossed = 2;
    setup.nested = 15;
    setup.killed = 6;
    for (uint32_t n = 0; n < 12 && !world_found; n++)
        world_unit(w);
    finish(w, __func__);
}

/* ---- what a mutant of the core has shown to be missing (tests/mutants) ---- */

static void put_int(struct world *w, uint64_t key, uint64_t number)
{
    struct action a = {.kind = ACT_SET, .key = key, .value = {PMS_TAG_INT, 0, number}};
    if (!world_found)
        (void)(pms_tx_depth(w->pool) ? world_step(w, &a, 0) : world_single(w, &a, 0));
}

/* More than is hashed (4 KiB, 1 MiB): fenced before the frame.  In the larger log that frame is a REDO,
 * in the smaller one a COMMIT. */
static void more_contents_than_are_hashed(int medium)
{
    for (uint64_t log = 4096; log <= 16384 && !world_found; log *= 4) {
        struct setup setup;
        struct world *w = start(&setup, log, 3072, medium);
        w->most = 16;
        for (int keep = 0; keep < 2; keep++) {
            struct level level = level_begin(w);
            put_many(w, 0, 6, 190000);
            level_end(w, level, keep);
            put(w, 10, 20);
        }
        world_after(w);
    }
    finish(NULL, __func__);
}

/* The frames of a transaction that was rolled back lie right before another one's, and none behind
 * them: a COMMIT names its own. */
static void a_commit_behind_a_rolled_back_transaction(int medium)
{
    struct setup setup;
    struct world *w = start(&setup, 16384, 1536, medium);
    put_many(w, 0, 80, 20);
    for (int round = 0; round < 4 && !world_found; round++) {
        for (int keep = 0; keep < 2; keep++) {
            struct level level = level_begin(w);
            put_many(w, keep ? 0 : 20, keep ? 60 : 80, 20 + (uint32_t)round);
            level_end(w, level, keep);
        }
        put(w, 100, 10);
    }
    finish(w, __func__);
}

/* The same with one UNDO frame before the COMMIT, and other words in none: with two frames behind it
 * the roll-back is settled, and to undo it again would store over what the COMMIT vouches for. */
static void a_short_commit_behind_a_rolled_back_transaction(int medium)
{
    struct setup setup;
    struct world *w = start(&setup, 4096, 1536, medium);
    put_many(w, 0, 30, 20);
    for (int round = 0; round < 4 && !world_found; round++) {
        uint64_t end = 0;
        for (int keep = 0; keep < 2; keep++) {
            struct level level = level_begin(w);
            for (end = 0; end < 30 && (end < 6 || !w->pool->tx.txid) && !world_found; end++)
                put(w, end, 20);
            put_many(w, 0, end, 20);
            level_end(w, level, keep);
        }
    }
    finish(w, __func__);
}

/* A unit stores in a block that it frees itself.  Four frames later somebody else gets the block, and
 * whoever stores the unit once more then stores over what is there. */
static void a_freed_block_is_handed_out_as_soon_as_it_may_be(int medium)
{
    for (uint64_t between = PMS_REDO_LAG - 1; between < PMS_REDO_LAG + 3; between++) {
        struct setup setup;
        struct world *w = start(&setup, 4096, 1536, medium);
        put_many(w, 0, 6, 60);
        for (uint64_t round = 0; round < 6 && !world_found; round++) {
            struct level level = level_begin(w);
            put(w, round, 60);
            del_many(w, round, round + 1);
            level_end(w, level, 1);
            for (uint64_t n = 0; n < between; n++)
                put(w, (round + 1) % 6, 60);
            put(w, round, 60);
        }
        world_after(w);
    }
    finish(NULL, __func__);
}

static void many_numbers(struct world *w, uint64_t first)
{
    struct level level = level_begin(w);
    put_int(w, 0, first);
    for (uint64_t i = 1; i < (w->files ? 100 : 5); i++)
        put_int(w, 3 * i, 7);
    level_end(w, level, 1);
}

static void the_other_number(struct world *w) { many_numbers(w, 2); }

/* A frame is cut off behind its first line (sector).  The next life writes nearly the same one to the
 * same place, and this time the first line is what is lost: what lies there then is the former
 * life's frame, whole, and only the salt tells that nobody ever committed it. */
static void half_a_frame_of_a_former_life(int medium)
{
    for (uint64_t seed = 1; seed < 4 && !world_found; seed++) {
        struct setup setup;
        struct world *w = start(&setup, 4096, 512, medium);
        for (uint64_t i = 0; i < 100; i++)
            put_int(w, 3 * i, 0);
        (void)world_checkpoint(w);
        setup.nested = 1;
        setup.killed = setup.stabbed = setup.crossed = 0;
        setup.below = 60;
        setup.then = the_other_number;
        w->most = 40;
        w->dice += seed;
        many_numbers(w, 1);
        w->looking = 0;
        world_after(w);
    }
    finish(NULL, __func__);
}

static void first_is_deleted(struct world *w) { del_many(w, 1, 2); }

/* A unit ends while the frame of the one before it is being written: it is not durable when that one
 * is, and what it has freed is still what a crash goes back to. */
static void a_unit_ends_while_a_frame_is_written(int medium)
{
    struct setup setup;
    struct world *w = start(&setup, 16384, 1536, medium);
    for (uint32_t round = 0; medium == ON_FILES && round < 8 && !world_found; round++) {
        put(w, 1, 90000);
        world_drain(w);
        w->meanwhile = first_is_deleted;
        put(w, 2, 10);
        world_drain(w);
        put(w, 1, 90000);
        world_drain(w);
        w->meanwhile = first_is_deleted;
        put(w, 2, 11);
        put(w, 3, 80000);
        world_drain(w);
        del_many(w, 3, 4);
    }
    finish(w, __func__);
}

/* A block of any length through the door of the heap, filled word by word. */
static void words_in_a_block(struct world *w, uint64_t len, uint64_t words)
{
    uint64_t off, other, ticket;
    if (world_found || world_expected(w, "enter", pms_enter_write_wait(w->pool, NULL, -1)))
        return;
    int status = pms_alloc(&w->pool->heap, len, &off);
    if (status == PMS_OK)
        status = pms_alloc(&w->pool->heap, len, &other);
    for (uint64_t i = 0; i < words && status == PMS_OK; i++) {
        pms_put(w->pool, off + i % (len / 8) * 8, i + 1);
        pms_put(w->pool, other + i % (len / 8) * 8, i + 1);
    }
    (void)world_expected(w, "words in a block", pms_leave_write(w->pool, status, &ticket));
}

/* A savepoint gives back blocks, pages and spans whose words wait in the overlay or have been
 * logged: whoever had them in the same unit would find these words in them, and so would a crash. */
static void words_in_blocks_that_a_savepoint_gave_back(int medium)
{
    static const uint32_t lengths[] = {40000, 20000, 1000, 80};
    for (int i = 0; i < 4 && !world_found; i++) {
        struct setup setup;
        struct world *w = start(&setup, 4096, 1536, medium);
        put_many(w, 0, 3, 20);
        for (int keep = 0; keep < 2; keep++) {
            struct level outer = level_begin(w);
            put_many(w, 20, 21, 20);
            struct level inner = level_begin(w);
            words_in_a_block(w, lengths[i], 9);
            level_end(w, inner, 0);
            put_many(w, 3, 5, lengths[i] - 30);
            inner = level_begin(w);
            words_in_a_block(w, lengths[i], 200);
            put_many(w, 10, 12, 50);
            level_end(w, inner, 0);
            put_many(w, 5, 7, lengths[i]);
            level_end(w, outer, keep);
            put_many(w, 7, 9, lengths[i]);
            put_many(w, 0, 1, 21);
        }
        del_many(w, 0, 40);
        world_after(w);
    }
    finish(NULL, __func__);
}

/* The pool becomes as large as it may be, and every row of free pages is filled with a value; the
 * keys from `key` on. */
static void fill_all_pages(struct world *w, uint64_t key)
{
    struct pms_heap_stats stats = {.largest_free = 1};
    uint64_t full = tally.full;
    (void)world_expected(w, "grow", pms_pool_grow(w->pool, w->setup->limit));
    while (!world_found && stats.largest_free && tally.full == full) {
        CHECK_EQ(pms_enter_read_wait(w->pool, NULL, -1), PMS_OK);
        CHECK_EQ(pms_heap_statistics(&w->pool->heap, &stats), PMS_OK);
        (void)pms_leave_read(w->pool);
        if (stats.largest_free)
            put(w, key++, (uint32_t)stats.largest_free);
    }
}

/* The only pages left are those of spans that the open transaction has dropped.  Rolled back, they are
 * spans again, and the next unit's block comes to lie where the log's extent would have been, which a
 * crash still reads.  Which span that is depends on the allocator, so each has its turn. */
static void the_log_wants_the_pages_of_dropped_spans(int medium)
{
    struct setup setup;
    struct world *w = start(&setup, 4096, 1536, medium);
    setup.stabbed = 0;
    w->looking = 0;
    put_many(w, 100, 200, 60);
    for (uint64_t key = 0; key < 6; key++) /* a span each */
        put(w, key, 100u + 200u * (uint32_t)key);
    fill_all_pages(w, 50);
    for (uint64_t first = 0; first < 6 && !world_found; first++) {
        for (uint64_t key = 0; key < 6; key++)
            put(w, key, 100u + 200u * (uint32_t)key);
        del_many(w, 0, 6);
        if (!world_found)
            (void)world_checkpoint(w);
        struct level level = level_begin(w);
        put(w, 20, 65000);         /* drops them, and takes the first */
        put_many(w, 100, 200, 60); /* more than the log has room for */
        level_end(w, level, 0);
        w->looking = 1;
        put(w, first, 100u + 200u * (uint32_t)first);
        put(w, 100, 30);
        w->looking = 0;
    }
    finish(w, __func__);
}

/* Contents of at least 64 KiB take pages that frames have words for, freed before: written in place,
 * the replay of these frames would run over them. */
static void contents_take_pages_that_frames_have_words_for(int medium)
{
    struct setup setup;
    struct world *w = start(&setup, 1u << 20, 4096, medium);
    w->most = 6;
    for (uint32_t round = 0; round < 3 && !world_found; round++) {
        put_many(w, 1, 7, 33000);
        del_many(w, 1, 7);
        world_drain(w);
        put(w, 9, 10 + round);
        world_drain(w);
        put_many(w, 10, 13, 66000);
        world_drain(w);
        put(w, 9, 20 + round);
        if (!world_found)
            (void)world_checkpoint(w);
        del_many(w, 10, 13);
    }
    finish(w, __func__);
}

/* The same for a payload that is too large for the ring: the pages it is lent were a value's. */
static void payloads_take_pages_that_frames_have_words_for(int medium)
{
    struct setup setup;
    struct world *w = start(&setup, 262144, 3072, medium);
    setup.nested = 6;
    w->most = 8;
    for (uint32_t round = 0; round < 3 && !world_found; round++) {
        put(w, 1, 40000);
        world_drain(w);
        del_many(w, 1, 2);
        world_drain(w);
        put(w, 9, 10 + round);
        world_drain(w);
        struct level level = level_begin(w);
        put_many(w, 20, 65, 1000);
        level_end(w, level, 1);
        world_drain(w);
        put(w, 9, 20 + round);
        world_drain(w);
        if (!world_found)
            (void)world_checkpoint(w);
        del_many(w, 20, 65);
    }
    finish(w, __func__);
}

/* The entry of a key that was taken for new is made and given back in one unit. */
static void keys_that_were_taken_for_new(int medium)
{
    struct setup setup;
    struct world *w = start(&setup, 4096, 1536, medium);
    w->most = 6;
    uint32_t taken = 0;
    for (uint64_t keep = 0; keep < 3; keep++) {
        uint64_t next = 40 * keep;
        for (uint32_t len = 20; len <= 300; len += 140, next += 10) {
            struct level level = level_begin(w);
            put_many(w, next, next + 9, len);
            taken += w->pool->put_new == 8;
            put(w, next, len); /* of this unit */
            level_end(w, level, keep > 0);
            put_many(w, next, next + 9, len);
            taken += w->pool->put_new == 8; /* after a roll-back they are new once more */
            put(w, next + 4, len);
            put(w, next + 9, len);
        }
        del_many(w, 40 * keep, 40 * keep + 25);
    }
    CHECK(world_found || taken == 12);
    finish(w, __func__);
}

void world_directed(void)
{
    static void (*const tests[])(int) = {
        blocks_given_back_wait_for_the_frames_that_name_them,
        overflow_extents_are_reused_and_merged,
        many_extents_become_one,
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
        more_contents_than_are_hashed,
        a_commit_behind_a_rolled_back_transaction,
        a_short_commit_behind_a_rolled_back_transaction,
        a_freed_block_is_handed_out_as_soon_as_it_may_be,
        half_a_frame_of_a_former_life,
        a_unit_ends_while_a_frame_is_written,
        words_in_blocks_that_a_savepoint_gave_back,
        the_log_wants_the_pages_of_dropped_spans,
        contents_take_pages_that_frames_have_words_for,
        payloads_take_pages_that_frames_have_words_for,
        keys_that_were_taken_for_new,
    };
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++)
        for (int medium = 0; medium < MEDIA && !world_found; medium++)
            tests[i](medium);
    world_failures();
}
