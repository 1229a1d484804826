/* test_bucket.c -- buckets of a dict: further lines, divided and joined, to another window of tags.
 *
 * Keys are numbers, and the value of each is the number.  The runs take place on a tmpfs file
 * (direct) and on a file in the working directory (redo log), where there are such.
 */
#include "pool_fixture.h"

static struct fixture fx;
static uint64_t dict;
static uint64_t seed;

static uint64_t draw(uint64_t below) { return fixture_random(&seed) % below; }

static struct pms_key int_key(uint64_t number)
{
    return (struct pms_key){.tag = PMS_TAG_INT, .stored_tag = PMS_TAG_INT, .num = number};
}

static int set_number(uint64_t number)
{
    struct pms_key key = int_key(number);
    struct pms_val value = {.tag = PMS_TAG_INT, .num = number};
    return OP(fx.pool, pms_dict_set(fx.pool, dict, &key, &value));
}

static int del_number(uint64_t number)
{
    struct pms_key key = int_key(number);
    return OP(fx.pool, pms_dict_del(fx.pool, dict, &key));
}

static void new_dict(const char *name)
{
    CHECK_EQ(OP(fx.pool, fixture_put_object(&fx, PMS_TAG_DICT, name, &dict)), PMS_OK);
}

static uint64_t buckets(void) { return fixture_buckets(fx.pool, dict); }

/* ---- a bucket of many lines ---- */

#define CROWD 61u
static uint64_t crowd[CROWD]; /* numbers whose keys all fall in one bucket of 2^12 */
static uint32_t crowd_there[CROWD];

static void find_crowd(void)
{
    uint64_t number = 0;
    for (uint32_t n = 0; n < CROWD; number++)
        if ((pms_number_hash(fx.pool, PMS_TAG_INT, number) & 0xfffu) == 5)
            crowd[n++] = number;
}

/* The bucket that the crowd is in. */
static void crowd_place(uint64_t *at)
{
    struct pms_dict_shape shape;
    struct pms_key key = int_key(crowd[0]);
    CHECK_EQ(pms_enter_read_wait(fx.pool, NULL, -1), PMS_OK);
    CHECK_EQ(pms_dict_shape(fx.pool, dict, &shape), PMS_OK);
    uint64_t b = pms_dict_bucket_of(&shape, pms_key_hash(fx.pool, &key)).number;
    CHECK_EQ(pms_dict_bucket_at(fx.pool, dict, &shape, b, at), PMS_OK);
    pms_leave_read(fx.pool);
}

static uint32_t crowd_lines(void)
{
    uint32_t lines = 1;
    uint64_t at = 0, link;
    crowd_place(&at);
    CHECK_EQ(pms_enter_read_wait(fx.pool, NULL, -1), PMS_OK);
    for (; PMS_LINK_IS_MORE(link = pms_get(fx.pool, PMS_LINE_MORE(at))); lines++)
        at = PMS_LINK_OFF(link);
    pms_leave_read(fx.pool);
    return lines;
}

static uint32_t lines_of(uint32_t links) /* B2 */
{
    return links <= PMS_BUCKET_LINKS ? 1 : 1 + (links - 2) / (PMS_BUCKET_LINKS - 1);
}

static void crowd_is_as_noted(uint32_t there)
{
    struct pms_val value;
    CHECK_EQ(pms_enter_read_wait(fx.pool, NULL, -1), PMS_OK);
    for (uint32_t i = 0; i < CROWD; i++) {
        struct pms_key key = int_key(crowd[i]);
        int status = pms_dict_get(fx.pool, dict, &key, &value);
        CHECK_EQ(status, crowd_there[i] ? PMS_OK : PMS_MISSING);
        CHECK(status != PMS_OK || value.num == crowd[i]);
    }
    pms_leave_read(fx.pool);
    CHECK_EQ(crowd_lines(), lines_of(there));
    fixture_sound(fx.pool);
}

/* 61 keys in one bucket fill nine lines, through all splits and merges; each comes and goes, and
 * a roll-back gives back every line. */
static void test_a_crowded_bucket_goes_on_in_further_lines(void)
{
    uint32_t there = 0;
    new_dict("crowd");
    find_crowd();
    memset(crowd_there, 0, sizeof crowd_there);
    for (uint32_t i = 0; i < CROWD; i++, there++) {
        CHECK_EQ(set_number(crowd[i]), PMS_OK);
        crowd_there[i] = 1;
        crowd_is_as_noted(there + 1);
    }
    CHECK_EQ(crowd_lines(), 9);
    fixture_reopen(&fx);
    crowd_is_as_noted(there);
    for (int round = 0; round < 2000; round++) {
        uint32_t i = (uint32_t)draw(CROWD), down = round % 500 >= 250, abort = draw(4) == 0;
        if (abort)
            fixture_begin(fx.pool);
        int gone = draw(10) < (down ? 8u : 2u);
        int status = gone ? del_number(crowd[i]) : set_number(crowd[i]);
        CHECK_EQ(status, gone && !crowd_there[i] ? PMS_MISSING : PMS_OK);
        if (abort) {
            CHECK_EQ(pms_tx_abort(fx.pool, 1), PMS_OK);
        } else {
            there += (uint32_t)!gone - crowd_there[i];
            crowd_there[i] = (uint32_t)!gone;
        }
        crowd_is_as_noted(there);
    }
    for (uint32_t i = 0; i < CROWD; i++) {
        CHECK_EQ(del_number(crowd[i]), crowd_there[i] ? PMS_OK : PMS_MISSING);
        there -= crowd_there[i];
        crowd_there[i] = 0;
        crowd_is_as_noted(there);
    }
    CHECK_EQ(buckets(), 1);
    fixture_drop_object(&fx, "crowd");
}

static int put_word(uint64_t off, uint64_t word)
{
    pms_put(fx.pool, off, word);
    return PMS_OK;
}

/* A bucket whose last line leads back to its first further one ends each operation that walks
 * through it, and the check tells of it. */
static void test_a_bucket_in_a_circle_is_damage(void)
{
    struct pms_check_result result;
    uint64_t at = 0, link, further = 0;
    new_dict("circle");
    for (uint32_t i = 0; i < 57; i++) /* eight lines, all full */
        CHECK_EQ(set_number(crowd[i]), PMS_OK);
    crowd_place(&at);
    for (; PMS_LINK_IS_MORE(link = pms_get(fx.pool, PMS_LINE_MORE(at)));
         at = PMS_LINK_OFF(link))
        further = further ? further : link;
    CHECK_EQ(OP(fx.pool, put_word(PMS_LINE_MORE(at), further)), PMS_OK);
    CHECK_EQ(del_number(crowd[CROWD - 1]), PMS_E_CORRUPT);
    CHECK_EQ(set_number(crowd[CROWD - 1]), PMS_E_CORRUPT);
    CHECK_EQ(del_number(crowd[0]), PMS_E_CORRUPT);
    CHECK(fixture_problems(fx.pool, 1, &result) > 0);
    CHECK_EQ(OP(fx.pool, put_word(PMS_LINE_MORE(at), link)), PMS_OK);
    fixture_sound(fx.pool);
    fixture_drop_object(&fx, "circle");
}

/* ---- levels ---- */

static void numbers_are_there(uint64_t from, uint64_t end, uint64_t most)
{
    for (uint64_t number = 0; number < most; number += 997) {
        struct pms_key key = int_key(number);
        CHECK_EQ(OP(fx.pool, pms_dict_contains(fx.pool, dict, &key)),
                 number >= from && number < end ? PMS_OK : PMS_MISSING);
    }
    fixture_sound(fx.pool);
}

/* Buckets of level 16 have tags of other bits than those of level 15, and the tree of segments
 * has one more level of nodes: there and back. */
static void test_tags_and_tree_change_at_level_16(void)
{
    const uint64_t turn = (uint64_t)PMS_DICT_LOAD << 15, more = 5000, most = turn + more;
    new_dict("level 16");
    fixture_begin(fx.pool);
    for (uint64_t number = 0; number < turn; number++)
        CHECK_EQ(set_number(number), PMS_OK);
    fixture_commit(fx.pool);
    numbers_are_there(0, turn, most);
    for (int round = 0; round < 2; round++) {
        CHECK(buckets() <= 1u << 15);
        fixture_begin(fx.pool);
        for (uint64_t number = turn; number < most; number++)
            CHECK_EQ(set_number(number), PMS_OK);
        CHECK(buckets() > (1u << 15) + 1000);
        if (round == 0) {
            CHECK_EQ(pms_tx_abort(fx.pool, 1), PMS_OK);
            numbers_are_there(0, turn, most);
        } else {
            fixture_commit(fx.pool);
        }
    }
    numbers_are_there(0, most, most);
    fixture_reopen(&fx);
    numbers_are_there(0, most, most);
    fixture_begin(fx.pool);
    uint64_t number = 0;
    for (; number < turn / 2 + more + 1000; number++)
        CHECK_EQ(del_number(number), PMS_OK);
    CHECK(buckets() < 1u << 15);
    fixture_commit(fx.pool);
    numbers_are_there(number, most, most);
    fixture_drop_object(&fx, "level 16");
}

static void forge_buckets(uint64_t want)
{
    struct pms_dict_shape shape;
    fixture_enter(fx.pool);
    CHECK_EQ(pms_dict_shape(fx.pool, dict, &shape), PMS_OK);
    int status = PMS_OK;
    while (status == PMS_OK && pms_dict_buckets(&shape) < want)
        status = pms_dict_split(fx.pool, dict, &shape);
    while (status == PMS_OK && pms_dict_buckets(&shape) > want) {
        status = pms_dict_merge(fx.pool, dict);
        CHECK_EQ(pms_dict_shape(fx.pool, dict, &shape), PMS_OK);
    }
    CHECK_EQ(fixture_leave(fx.pool, status), PMS_OK);
}

/* Buckets that only a forged dict has (D4), all else in order: so many that it could not be torn
 * down, and so few that each look-up would walk through all of it. */
static void test_too_many_and_too_few_buckets_are_told(void)
{
    struct pms_check_result result;
    new_dict("forged");
    CHECK_EQ(set_number(1), PMS_OK);
    forge_buckets(2);
    CHECK_EQ(fixture_problems(fx.pool, 1, &result), 1);
    forge_buckets(1);
    fixture_sound(fx.pool);
    for (uint64_t number = 2; number <= 60; number++)
        CHECK_EQ(set_number(number), PMS_OK);
    forge_buckets(30);
    fixture_sound(fx.pool);
    forge_buckets(31);
    CHECK_EQ(fixture_problems(fx.pool, 1, &result), 1);
    forge_buckets(14);
    fixture_sound(fx.pool);
    forge_buckets(13);
    CHECK_EQ(fixture_problems(fx.pool, 1, &result), 1);
    forge_buckets(1); /* in further lines of the header's bucket */
    CHECK_EQ(fixture_problems(fx.pool, 1, &result), 1);
    forge_buckets(15);
    fixture_sound(fx.pool);
    fixture_drop_object(&fx, "forged");
}

/* What the core relies on: blocks of lines begin at a line. */
static void test_size_classes_of_buckets_begin_at_lines(void)
{
    CHECK_EQ(pms_heap_capacity(sizeof(struct pms_dict_pm)) % PMS_LINE, 0);
    CHECK_EQ(pms_heap_capacity(PMS_LINE) % PMS_LINE, 0);
    CHECK_EQ(pms_heap_capacity(PMS_NODE_BYTES) % PMS_LINE, 0);
    for (uint32_t k = 0; k < PMS_DICT_BLOCKS; k++)
        CHECK_EQ(pms_heap_capacity(pms_block_bytes(k)) % PMS_LINE, 0);
}

static void test_class_of_a_request_is_the_smallest_that_holds_it(void)
{
    for (uint64_t len = 1, cls = 0; len <= PMS_SMALL_MAX; len++) {
        cls += pms_classes[cls].size < len;
        CHECK_EQ(pms_heap_capacity(len), pms_classes[cls].size);
    }
}

static void run_all(const char *parent)
{
    if (!fixture_usable(parent))
        return;
    fixture_make(&fx, parent);
    seed = 88172645463325252ull;
    test_size_classes_of_buckets_begin_at_lines();
    test_class_of_a_request_is_the_smallest_that_holds_it();
    test_a_crowded_bucket_goes_on_in_further_lines();
    test_a_bucket_in_a_circle_is_damage();
    test_tags_and_tree_change_at_level_16();
    test_too_many_and_too_few_buckets_are_told();
    fixture_remove(&fx);
}

int main(void)
{
    run_all("/dev/shm");
    run_all(".");
    return 0;
}
