/* test_ahead.c -- many keys at once: they are set as one by one; and asking for their buckets ahead
 * changes nothing, and trusts nothing. */
#include "pool_fixture.h"

static struct fixture fx;
static uint64_t dict;
static uint64_t seed = 2463534242;

static struct pms_key key_of(uint64_t number)
{
    struct pms_key key = {.tag = PMS_TAG_INT, .stored_tag = PMS_TAG_INT, .num = number};
    if (number % 3 == 1) { /* a float that may be integral, and one that is not */
        double value = (double)number / 2;
        key.tag = key.stored_tag = PMS_TAG_FLOAT;
        memcpy(&key.num, &value, 8);
    } else if (number % 3 == 2) {
        key = (struct pms_key){
            .tag = PMS_TAG_STR, .stored_tag = PMS_TAG_STR, .data = "key", .len = number % 4};
    }
    return key;
}

static void put_up_to(uint64_t from, uint64_t to)
{
    for (uint64_t i = from; i < to; i++) {
        struct pms_key key = key_of(3 * i);
        struct pms_val value = {.tag = PMS_TAG_INT, .num = i};
        CHECK_EQ(OP(fx.pool, pms_dict_set(fx.pool, dict, &key, &value)), PMS_OK);
    }
}

static void ask_for_all(uint64_t keys)
{
    struct pms_counters before = fx.pool->map.medium.counters;
    fixture_enter(fx.pool);
    for (uint64_t i = 0; i < keys; i++) {
        struct pms_key key = key_of(i);
        pms_dict_ahead(fx.pool, dict, &key);
    }
    CHECK_EQ(fx.pool->ws.overlay.count, 0);
    CHECK_EQ(fixture_leave(fx.pool, PMS_OK), PMS_OK);
    CHECK_EQ(fx.pool->map.medium.counters.fences, before.fences);
    CHECK_EQ(fx.pool->map.medium.counters.flushed_lines, before.flushed_lines);
}

/* One bucket, blocks, and segments below a node. */
static void test_dicts_of_every_shape_are_left_as_they_are(void)
{
    static const uint64_t sizes[] = {0, 1, 8, 9, 30, 500, 600, 3000};
    for (size_t i = 1; i < sizeof sizes / sizeof sizes[0]; i++) {
        ask_for_all(100);
        put_up_to(sizes[i - 1], sizes[i]);
    }
    ask_for_all(10000);
    fixture_sound(fx.pool);
}

static uint64_t any_word(void)
{
    uint64_t word = fixture_random(&seed);
    switch (fixture_random(&seed) % 5) {
    case 0:
        return word;
    case 1:
        return word % 64;
    case 2:
        return UINT64_MAX - word % 4096;
    case 3:
        return fx.pool->super.size - 64 * (word % 4);
    default:
        return (word % fx.pool->super.size) & ~63ull;
    }
}

/* ASan and the end of the mapping tell of a look at what is not the pool's; a prefetch cannot. */
static void test_damaged_headers_and_nodes_lead_nowhere(void)
{
    struct pms_medium *m = &fx.pool->map.medium;
    for (int round = 0; round < 4000; round++) {
        uint64_t page, at, old;
        memcpy(&page, m->base + dict + offsetof(struct pms_dict_pm, line) + 56, 8);
        at = dict + 8 * (fixture_random(&seed) % (sizeof(struct pms_dict_pm) / 8));
        if (round % 3 == 0)
            at = page + 8 * (fixture_random(&seed) % 64);
        memcpy(&old, m->base + at, 8);
        pms_store_u64(m, at, any_word());
        fixture_enter(fx.pool);
        for (uint64_t i = 0; i < 30; i++) {
            struct pms_key key = key_of(fixture_random(&seed) % 9000);
            pms_dict_ahead(fx.pool, dict, &key);
        }
        pms_dict_ahead(fx.pool, any_word(), &(struct pms_key){.tag = PMS_TAG_NONE});
        CHECK_EQ(fixture_leave(fx.pool, PMS_OK), PMS_OK);
        pms_store_u64(m, at, old);
    }
    fixture_sound(fx.pool);
}

#define KEYS 3000u
static uint64_t model[KEYS], kept[KEYS]; /* 0: not there */

static void same_as_model(void)
{
    uint64_t count = 0;
    fixture_enter(fx.pool);
    for (uint64_t i = 0; i < KEYS; i++) {
        struct pms_key key = {.tag = PMS_TAG_INT, .stored_tag = PMS_TAG_INT, .num = i};
        struct pms_val got = {.tag = PMS_TAG_NONE};
        int status = pms_dict_get(fx.pool, dict, &key, &got);
        CHECK_EQ(status, model[i] ? PMS_OK : PMS_MISSING);
        CHECK_EQ(status == PMS_OK ? got.num : 0, model[i]);
        count += model[i] != 0;
    }
    CHECK_EQ(pms_dict_len(fx.pool, dict), count);
    CHECK_EQ(fixture_leave(fx.pool, PMS_OK), PMS_OK);
    fixture_sound(fx.pool);
}

/* A batch of keys below `limit`, some of them there and some twice.  refused: its last key is none. */
static void set_many(uint64_t limit, uint64_t *number, int refused)
{
    struct pms_key key[PMS_DICT_MANY];
    struct pms_val value[PMS_DICT_MANY];
    struct pms_pair pair[PMS_DICT_MANY + 1];
    unsigned count = (unsigned)(fixture_random(&seed) % PMS_DICT_MANY) + 1;
    for (unsigned i = 0; i < count; i++) {
        uint64_t id = fixture_random(&seed) % limit;
        key[i] = (struct pms_key){.tag = PMS_TAG_INT, .stored_tag = PMS_TAG_INT, .num = id};
        value[i] = (struct pms_val){.tag = PMS_TAG_INT, .num = ++*number};
        pair[i] = (struct pms_pair){&key[i], &value[i]};
        if (!refused)
            model[id] = *number;
    }
    if (refused)
        key[count - 1].tag = 0xee;
    CHECK_EQ(OP(fx.pool, pms_dict_set_many(fx.pool, dict, pair, count)),
             refused ? PMS_E_INVAL : PMS_OK);
    CHECK_EQ(OP(fx.pool, pms_dict_set_many(fx.pool, dict, pair, PMS_DICT_MANY + 1)),
             PMS_E_INVAL);
}

static void test_many_keys_are_set_as_one_by_one(void)
{
    uint64_t number = 0;
    CHECK_EQ(OP(fx.pool, fixture_put_object(&fx, PMS_TAG_DICT, "many", &dict)), PMS_OK);
    for (uint64_t limit = 3; limit <= KEYS; limit = limit * 2 + 1) {
        for (int i = 0; i < 40; i++) {
            set_many(limit, &number, i % 4 == 3);
            if (i % 4)
                continue;
            struct pms_key key = {.tag = PMS_TAG_INT, .stored_tag = PMS_TAG_INT};
            key.num = fixture_random(&seed) % limit;
            int status = OP(fx.pool, pms_dict_del(fx.pool, dict, &key));
            CHECK_EQ(status, model[key.num] ? PMS_OK : PMS_MISSING);
            model[key.num] = 0;
        }
        same_as_model();
    }
    CHECK_EQ(OP(fx.pool, pms_dict_set_many(fx.pool, dict, NULL, 0)), PMS_OK);
    memcpy(kept, model, sizeof model);
    for (int end = 0; end < 2;
         end++) { /* undone as a part of a transaction, and with all of it */
        fixture_begin(fx.pool);
        for (int i = 0; i < 100; i++)
            set_many(KEYS, &number, i % 3 == 2);
        same_as_model();
        if (end)
            fixture_commit(fx.pool);
        else
            CHECK_EQ(pms_tx_abort(fx.pool, 1), PMS_OK);
        if (!end)
            memcpy(model, kept, sizeof model);
        same_as_model();
    }
    fixture_reopen(&fx);
    same_as_model();
}

int main(void)
{
    fixture_make(&fx, ".");
    CHECK_EQ(OP(fx.pool, fixture_put_object(&fx, PMS_TAG_DICT, "keys", &dict)), PMS_OK);
    test_dicts_of_every_shape_are_left_as_they_are();
    test_damaged_headers_and_nodes_lead_nowhere();
    test_many_keys_are_set_as_one_by_one();
    fixture_remove(&fx);
    return 0;
}
