/* test_ahead.c -- many keys at once: they are set as one by one; asking for their buckets ahead
 * changes nothing, and trusts nothing; and a key that is taken for new may be there. */
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

/* ---- keys that are taken for new ---- */

#define LONG_KEY 2000u
static char long_key[LONG_KEY];

/* A value of so many bytes (UINT64_MAX: a number) that tells which it is. */
static int put_text(uint64_t number, int is_long, uint64_t len, unsigned tells)
{
    static char bytes[8192];
    struct pms_val value = {.tag = PMS_TAG_INT, .num = tells};
    memset(long_key, 'k', sizeof long_key);
    memcpy(long_key, &number, sizeof number);
    struct pms_key key = {.tag = PMS_TAG_BYTES,
                          .stored_tag = PMS_TAG_BYTES,
                          .data = long_key,
                          .len = is_long ? LONG_KEY : sizeof number};
    if (len != UINT64_MAX) {
        memset(bytes, (int)tells, len);
        value = (struct pms_val){.tag = PMS_TAG_BYTES, .data = bytes, .len = len};
    }
    int status = OP(fx.pool, pms_dict_set(fx.pool, dict, &key, &value));
    struct pms_val got;
    if (status == PMS_OK) {
        CHECK_EQ(pms_enter_read_wait(fx.pool, NULL, -1), PMS_OK);
        CHECK_EQ(pms_dict_get(fx.pool, dict, &key, &got), PMS_OK);
        CHECK_EQ(got.tag, value.tag);
        CHECK_EQ(got.num, value.num);
        CHECK_EQ(got.len, value.len);
        CHECK(value.len == 0 || memcmp(got.data, bytes, value.len) == 0);
        pms_leave_read(fx.pool);
    }
    return status;
}

static uint64_t used_bytes(void)
{
    struct pms_heap_stats stats;
    CHECK_EQ(pms_pool_heap_stats(fx.pool, &stats), PMS_OK);
    return stats.used_bytes;
}

/* Keys from `from` on, until the next one is taken for new.  Yields the first that was not put. */
static uint64_t put_new_ones(uint64_t from, int is_long, uint64_t len)
{
    uint64_t number = from;
    for (; number < from + 8; number++)
        CHECK_EQ(put_text(number, is_long, len, 'a'), PMS_OK);
    CHECK_EQ(fx.pool->put_dict, dict);
    CHECK_EQ(fx.pool->put_new, 8);
    return number;
}

static void take_for_new(int is_long, uint64_t len)
{
    CHECK_EQ(OP(fx.pool, fixture_put_object(&fx, PMS_TAG_DICT, "new", &dict)), PMS_OK);
    CHECK_EQ(fx.pool->put_new, 1); /* of another dict */
    uint64_t next = put_new_ones(0, is_long, len), used = used_bytes();
    CHECK_EQ(put_text(3, is_long, len, 'b'), PMS_OK);
    CHECK_EQ(fx.pool->put_new, 0);
    CHECK_EQ(used_bytes(), used);
    fixture_sound(fx.pool);
    for (int keep = 0; keep < 2; keep++) {
        used = used_bytes();
        fixture_begin(fx.pool);
        next = put_new_ones(next, is_long, len);
        CHECK_EQ(put_text(next - 1, is_long, len, 'c'), PMS_OK); /* of this transaction */
        next = put_new_ones(next, is_long, len);
        CHECK_EQ(put_text(2, is_long, len, 'c'), PMS_OK);
        if (keep) {
            fixture_commit(fx.pool);
        } else {
            CHECK_EQ(pms_tx_abort(fx.pool, 1), PMS_OK);
            CHECK_EQ(used_bytes(), used);
        }
        fixture_sound(fx.pool);
    }
    fixture_drop_object(&fx, "new");
}

static void test_a_key_taken_for_new_may_be_there(void)
{
    static const uint64_t lengths[] = {UINT64_MAX, 0, 8, 9, 100, 1024, 1025, 5000};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++)
        for (int is_long = 0; is_long < 2; is_long++)
            take_for_new(is_long, lengths[i]);
}

#define SIZE 970u /* such a value has a block as large as an entry with it */

/* Where there is no room for another entry, what is there can be replaced; and where there is one block
 * more, a value that outgrows its entry gets it. */
static void test_a_full_pool_takes_a_key_that_is_there(void)
{
    uint64_t number = 3, limit = fx.pool->limit;
    int status;
    CHECK_EQ(OP(fx.pool, fixture_put_object(&fx, PMS_TAG_DICT, "full", &dict)), PMS_OK);
    for (uint64_t i = 0; i < 3; i++)
        CHECK_EQ(put_text(i, 0, 3, 'a'), PMS_OK);
    fx.pool->limit = fx.pool->super.size;
    CHECK_EQ(pms_heap_capacity(SIZE), pms_heap_capacity(SIZE + 32));
    while ((status = put_text(number, 0, SIZE, 'a')) == PMS_OK)
        number++;
    CHECK_EQ(status, PMS_E_FULL);
    CHECK_EQ(fx.pool->put_new, 8);
    for (uint64_t i = 0; i < 3; i++) {
        fx.pool->put_new = 8;
        CHECK_EQ(put_text(number - 9 + i, 0, SIZE, 'b'), PMS_OK);
        CHECK_EQ(fx.pool->put_new, 0);
        CHECK_EQ(put_text(number, 0, SIZE, 'a'), PMS_E_FULL);
        struct pms_key key = {.tag = PMS_TAG_BYTES, .stored_tag = PMS_TAG_BYTES};
        uint64_t gone = number - 1 - i;
        key.data = &gone;
        key.len = sizeof gone;
        CHECK_EQ(OP(fx.pool, pms_dict_del(fx.pool, dict, &key)), PMS_OK);
        CHECK_EQ(put_text(number - 9 + i, 0, SIZE, 'c'), PMS_OK); /* the block is available */
        fx.pool->put_new = 8;
        CHECK_EQ(put_text(i, 0, SIZE, 'b'), PMS_OK);
        CHECK_EQ(put_text(number, 0, SIZE, 'a'), PMS_E_FULL);
    }
    fixture_sound(fx.pool);
    fx.pool->limit = limit;
    fixture_drop_object(&fx, "full");
}

static void run_all(const char *parent)
{
    if (!fixture_usable(parent))
        return;
    fixture_make(&fx, parent);
    test_a_key_taken_for_new_may_be_there();
    test_a_full_pool_takes_a_key_that_is_there();
    CHECK_EQ(OP(fx.pool, fixture_put_object(&fx, PMS_TAG_DICT, "keys", &dict)), PMS_OK);
    test_dicts_of_every_shape_are_left_as_they_are();
    test_damaged_headers_and_nodes_lead_nowhere();
    memset(model, 0, sizeof model);
    test_many_keys_are_set_as_one_by_one();
    fixture_remove(&fx);
}

int main(void)
{
    run_all("/dev/shm");
    run_all(".");
    return 0;
}
