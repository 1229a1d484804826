/* test_table.c -- a persistent dict does what a dict does, and leaves a sound pool behind.
 *
 * A model sees the same operations: an array by key number, chained in insertion order.  A key
 * number stands for a key of some kind (int, float, str, bytes, long str, compound), a value
 * number for a value of some kind, so that entries with and without blocks of their own come,
 * grow, shrink and go.  The runs take place on a tmpfs file (direct) and on a file in the
 * working directory (redo log), where there are such.
 */
#include "pool_fixture.h"

#define KEYS 120000u
#define NIL UINT32_MAX

static struct fixture fx;
static uint64_t dict;
static uint64_t seed;

static struct item {
    uint64_t value; /* 0: not there */
    uint32_t next, prev;
} model[KEYS], saved[KEYS];
static uint32_t first, last, count;
static uint64_t next_value;

static uint64_t draw(uint64_t below) { return fixture_random(&seed) % below; }

/* ---- numbers into keys and values ---- */

static char key_bytes[4096], stored_bytes[64], value_bytes[4096];

/* ASCII text; the first 8 characters give the number. */
static void fill(char *out, size_t len, uint64_t number)
{
    for (size_t i = 0; i < len; i++)
        out[i] = (char)('a' + (i < 8 ? number >> 4 * i & 15u : (i * 7 + number) % 23));
}

static uint64_t float_bits(double value)
{
    uint64_t bits;
    memcpy(&bits, &value, 8);
    return bits;
}

static struct pms_key bytes_key(uint32_t tag, const void *data, size_t len)
{
    return (struct pms_key){.tag = tag, .stored_tag = tag, .data = data, .len = len};
}

static struct pms_key int_key(int64_t number)
{
    return (struct pms_key){
        .tag = PMS_TAG_INT, .stored_tag = PMS_TAG_INT, .num = (uint64_t)number};
}

static struct pms_key float_key(double value)
{
    return (struct pms_key){
        .tag = PMS_TAG_FLOAT, .stored_tag = PMS_TAG_FLOAT, .num = float_bits(value)};
}

static struct pms_key key_of(uint32_t id)
{
    struct pms_key key;
    switch (id % 8) {
    case 0:
    case 1:
        return int_key(id % 16 < 8 ? (int64_t)id : -(int64_t)id);
    case 2:
        return float_key(id + 0.5);
    case 3:
        fill(key_bytes, 8, id);
        return bytes_key(PMS_TAG_BYTES, key_bytes, 8);
    case 4:
        if (id % 64 == 4) {
            fill(key_bytes, 1025 + id % 2000, id);
            return bytes_key(PMS_TAG_STR, key_bytes, 1025 + id % 2000);
        }
        fill(key_bytes, 8 + id % 300, id);
        return bytes_key(PMS_TAG_STR, key_bytes, 8 + id % 300);
    case 5:
        fill(key_bytes, 9 + id % 20, id);
        fill(stored_bytes, 17, id);
        key = bytes_key(PMS_TAG_PACKED, key_bytes, 9 + id % 20);
        key.stored = stored_bytes;
        key.stored_len = id % 16 < 8 ? 0 : 17;
        return key;
    default:
        fill(key_bytes, 8 + id % 9, id);
        return bytes_key(PMS_TAG_STR, key_bytes, 8 + id % 9);
    }
}

static struct pms_val value_of(uint64_t number)
{
    static const uint32_t tag[] = {PMS_TAG_STR, PMS_TAG_BYTES, PMS_TAG_BIGINT, PMS_TAG_PACKED};
    struct pms_val value = {.tag = PMS_TAG_INT, .num = number};
    switch (number % 8) {
    case 0:
        value.tag = PMS_TAG_NONE + (uint32_t)(number / 8 % 3);
        value.num = 0;
        return value;
    case 1:
        value.tag = PMS_TAG_FLOAT;
        return value;
    case 2:
    case 3:
        return value;
    default:
        break;
    }
    value.tag = tag[number / 8 % 4];
    value.num = 0;
    value.len = number % 8 == 4   ? number / 32 % 9
                : number % 8 == 7 ? number / 32 % 2000
                                  : number / 32 % 80;
    value.data = value_bytes;
    fill(value_bytes, value.len, number);
    return value;
}

static void same_value(const struct pms_val *got, uint64_t number)
{
    struct pms_val want = value_of(number);
    CHECK_EQ(got->tag, want.tag);
    CHECK_EQ(got->num, want.num);
    CHECK_EQ(got->len, want.len);
    CHECK(want.len == 0 || memcmp(got->data, want.data, want.len) == 0);
}

static void same_key(const struct pms_val *got, uint32_t id)
{
    struct pms_key want = key_of(id);
    CHECK_EQ(got->tag, want.stored_tag);
    CHECK_EQ(got->num, want.num);
    const void *data = want.stored_len ? want.stored : want.data;
    uint64_t len = want.stored_len ? want.stored_len : want.len;
    CHECK_EQ(got->len, len);
    CHECK(len == 0 || memcmp(got->data, data, len) == 0);
}

/* ---- the model ---- */

static void model_set(uint32_t id, uint64_t number)
{
    if (!model[id].value) {
        model[id].next = NIL;
        model[id].prev = last;
        if (last == NIL)
            first = id;
        else
            model[last].next = id;
        last = id;
        count++;
    }
    model[id].value = number;
}

static void model_del(uint32_t id)
{
    struct item *item = &model[id];
    if (item->prev == NIL)
        first = item->next;
    else
        model[item->prev].next = item->next;
    if (item->next == NIL)
        last = item->prev;
    else
        model[item->next].prev = item->prev;
    item->value = 0;
    count--;
}

static void model_clear(void)
{
    memset(model, 0, sizeof model);
    first = last = NIL;
    count = 0;
}

static void do_set(uint32_t id)
{
    uint64_t number = next_value++;
    struct pms_key key = key_of(id);
    struct pms_val value = value_of(number);
    CHECK_EQ(OP(fx.pool, pms_dict_set(fx.pool, dict, &key, &value)), PMS_OK);
    model_set(id, number);
}

static void do_del(uint32_t id)
{
    struct pms_key key = key_of(id);
    int there = model[id].value != 0;
    CHECK_EQ(OP(fx.pool, pms_dict_del(fx.pool, dict, &key)), there ? PMS_OK : PMS_MISSING);
    if (there)
        model_del(id);
}

static void do_get(uint32_t id)
{
    struct pms_key key = key_of(id);
    struct pms_val value;
    CHECK_EQ(pms_enter_read_wait(fx.pool, NULL, -1), PMS_OK);
    int status = pms_dict_get(fx.pool, dict, &key, &value);
    CHECK_EQ(status, model[id].value ? PMS_OK : PMS_MISSING);
    if (status == PMS_OK)
        same_value(&value, model[id].value);
    CHECK_EQ(pms_dict_contains(fx.pool, dict, &key), status);
    pms_leave_read(fx.pool);
}

/* popitem: the first or the last entry, by its number. */
static void do_pop(int from_end)
{
    uint64_t entry = 0;
    CHECK_EQ(pms_enter_read_wait(fx.pool, NULL, -1), PMS_OK);
    CHECK_EQ(from_end ? pms_dict_prev(fx.pool, dict, &entry)
                      : pms_dict_next(fx.pool, dict, &entry),
             PMS_OK);
    pms_leave_read(fx.pool);
    CHECK_EQ(entry != 0, count != 0);
    if (!entry)
        return;
    CHECK_EQ(OP(fx.pool, pms_dict_del_entry(fx.pool, dict, entry)), PMS_OK);
    model_del(from_end ? last : first);
}

static void do_any(uint32_t keys, int growing)
{
    uint64_t kind = draw(100);
    uint32_t id = (uint32_t)draw(keys);
    if (kind < 10)
        do_get(id);
    else if (kind < (growing ? 75u : 40u))
        do_set(id);
    else if (kind < 95)
        do_del(id);
    else
        do_pop(kind % 2);
}

/* Many steps at once give what single steps give, also if they are cut short. */
static void same_by_walking(int reverse)
{
    struct pms_walked walked[8];
    struct pms_walk walk = {.reverse = reverse, .keys = 1, .values = 1};
    uint32_t id = reverse ? last : first;
    while (!walk.ended) {
        unsigned room = 1 + (unsigned)draw(8);
        CHECK_EQ(pms_dict_walk(fx.pool, dict, &walk, walked, room), PMS_OK);
        CHECK(walk.count <= room);
        for (unsigned i = 0; i < walk.count; i++) {
            CHECK(id != NIL);
            same_key(&walked[i].key, id);
            same_value(&walked[i].value, model[id].value);
            id = reverse ? model[id].prev : model[id].next;
        }
    }
    CHECK_EQ(id, NIL);
}

/* The dict equals the model, in its order, forward and backward, and by look-up. */
static void same_as_model(void)
{
    struct pms_val key, value;
    uint64_t entry = 0;
    CHECK_EQ(pms_enter_read_wait(fx.pool, NULL, -1), PMS_OK);
    CHECK_EQ(pms_dict_len(fx.pool, dict), count);
    CHECK_EQ(pms_dict_next(fx.pool, dict, &entry), PMS_OK);
    for (uint32_t id = first; id != NIL; id = model[id].next) {
        CHECK(entry != 0);
        CHECK_EQ(pms_dict_entry(fx.pool, entry, &key, &value), PMS_OK);
        same_key(&key, id);
        same_value(&value, model[id].value);
        CHECK_EQ(pms_dict_next(fx.pool, dict, &entry), PMS_OK);
    }
    CHECK_EQ(entry, 0);
    CHECK_EQ(pms_dict_prev(fx.pool, dict, &entry), PMS_OK);
    for (uint32_t id = last; id != NIL; id = model[id].prev) {
        CHECK_EQ(pms_dict_entry(fx.pool, entry, &key, NULL), PMS_OK);
        same_key(&key, id);
        CHECK_EQ(pms_dict_prev(fx.pool, dict, &entry), PMS_OK);
    }
    CHECK_EQ(entry, 0);
    same_by_walking(0);
    same_by_walking(1);
    pms_leave_read(fx.pool);
    for (int i = 0; i < 100; i++)
        do_get((uint32_t)draw(KEYS));
}

static uint64_t buckets(void) { return fixture_buckets(fx.pool, dict); }

static void new_dict(const char *name)
{
    CHECK_EQ(OP(fx.pool, fixture_put_object(&fx, PMS_TAG_DICT, name, &dict)), PMS_OK);
    model_clear();
}

/* ---- the tests ---- */

static void test_small_dicts_do_what_dicts_do(void)
{
    new_dict("small");
    for (int i = 0; i < 1000; i++) {
        do_any(40, i % 200 < 100);
        if (i % 20 == 0) {
            same_as_model();
            fixture_sound(fx.pool);
        }
    }
    fixture_reopen(&fx);
    same_as_model();
    fixture_drop_object(&fx, "small");
}

static void test_random_operations_keep_the_dict_sound(void)
{
    new_dict("random");
    for (int round = 0; round < 30; round++) {
        fixture_begin(fx.pool);
        for (int i = 0; i < 2000; i++)
            do_any(6000, round % 15 < 8);
        if (round % 3 == 0)
            same_as_model(); /* inside the transaction, through the overlay */
        fixture_commit(fx.pool);
        same_as_model();
        fixture_sound(fx.pool);
        if (round % 10 == 9)
            fixture_reopen(&fx);
    }
    fixture_drop_object(&fx, "random");
}

static void test_a_large_dict_grows_and_gives_its_tables_back(void)
{
    struct pms_heap_stats before, after;
    new_dict("large");
    CHECK_EQ(pms_pool_heap_stats(fx.pool, &before), PMS_OK);
    for (uint32_t id = 0; id < 100000;) {
        fixture_begin(fx.pool);
        for (uint32_t end = id + 20000; id < end; id++)
            do_set(id);
        fixture_commit(fx.pool);
        CHECK(PMS_DICT_LOAD * (buckets() + 1) >= count);
    }
    same_as_model();
    fixture_sound(fx.pool);
    fixture_reopen(&fx);
    same_as_model();
    for (int i = 0; i < 2000; i++)
        do_any(KEYS, i % 2);
    same_as_model();
    while (count) {
        fixture_begin(fx.pool);
        for (int i = 0; count && i < 20000; i++)
            if (i % 2)
                do_pop(i % 4 == 1);
            else
                do_del((uint32_t)draw(KEYS));
        fixture_commit(fx.pool);
        CHECK(buckets() == 1 || 2 * buckets() <= count);
        fixture_sound(fx.pool);
    }
    same_as_model();
    CHECK_EQ(buckets(), 1);
    CHECK_EQ(pms_pool_heap_stats(fx.pool, &after), PMS_OK);
    CHECK_EQ(after.used_bytes, before.used_bytes);
    fixture_drop_object(&fx, "large");
}

static void expect_number(struct pms_key key, uint64_t number)
{
    struct pms_val value;
    CHECK_EQ(pms_enter_read_wait(fx.pool, NULL, -1), PMS_OK);
    CHECK_EQ(pms_dict_get(fx.pool, dict, &key, &value), PMS_OK);
    CHECK_EQ(value.num, number);
    pms_leave_read(fx.pool);
}

static int set_number(struct pms_key key, uint64_t number)
{
    struct pms_val value = {.tag = PMS_TAG_INT, .num = number};
    return OP(fx.pool, pms_dict_set(fx.pool, dict, &key, &value));
}

static struct pms_key bool_key(int yes)
{
    struct pms_key key = int_key(yes);
    key.stored_tag = yes ? PMS_TAG_TRUE : PMS_TAG_FALSE;
    return key;
}

/* 1 == 1.0 == True and 0 == -0.0 == False as keys; the first one put stays. */
static void test_equal_numbers_are_one_key(void)
{
    static const double two63 = 9223372036854775808.0;
    struct pms_val key;
    uint64_t entry = 0;
    new_dict("numbers");
    CHECK_EQ(set_number(bool_key(1), 10), PMS_OK);
    CHECK_EQ(set_number(float_key(-0.0), 20), PMS_OK);
    CHECK_EQ(set_number(float_key(0.0 / 0.0), 30), PMS_OK);
    CHECK_EQ(set_number(float_key(two63), 40), PMS_OK);
    CHECK_EQ(set_number(float_key(-two63), 50), PMS_OK);
    CHECK_EQ(set_number(float_key(1.5), 60), PMS_OK);
    CHECK_EQ(set_number((struct pms_key){.tag = PMS_TAG_NONE}, 70), PMS_OK);
    CHECK_EQ(set_number(bytes_key(PMS_TAG_STR, "", 0), 80), PMS_OK);
    CHECK_EQ(set_number(bytes_key(PMS_TAG_BYTES, "", 0), 90), PMS_OK);
    expect_number(int_key(1), 10);
    expect_number(float_key(1.0), 10);
    expect_number(int_key(0), 20);
    expect_number(bool_key(0), 20);
    expect_number(float_key(-(0.0 / 0.0)), 30);
    expect_number(float_key(two63), 40);
    expect_number(int_key(INT64_MIN), 50);
    expect_number((struct pms_key){.tag = PMS_TAG_NONE, .stored_tag = PMS_TAG_NONE}, 70);
    expect_number(bytes_key(PMS_TAG_STR, NULL, 0), 80);
    expect_number(bytes_key(PMS_TAG_BYTES, NULL, 0), 90);
    CHECK_EQ(set_number(int_key(1), 11), PMS_OK);
    CHECK_EQ(set_number(int_key(0), 21), PMS_OK);
    expect_number(bool_key(1), 11);
    CHECK_EQ(pms_enter_read_wait(fx.pool, NULL, -1), PMS_OK);
    CHECK_EQ(pms_dict_len(fx.pool, dict), 9);
    CHECK_EQ(pms_dict_next(fx.pool, dict, &entry), PMS_OK);
    CHECK_EQ(pms_dict_entry(fx.pool, entry, &key, NULL), PMS_OK);
    CHECK_EQ(key.tag, PMS_TAG_TRUE);
    CHECK_EQ(pms_dict_next(fx.pool, dict, &entry), PMS_OK);
    CHECK_EQ(pms_dict_entry(fx.pool, entry, &key, NULL), PMS_OK);
    CHECK_EQ(key.tag, PMS_TAG_FLOAT);
    CHECK_EQ(key.num, float_bits(-0.0));
    pms_leave_read(fx.pool);
    struct pms_key bad = int_key(2);
    bad.stored_tag = PMS_TAG_TRUE;
    CHECK_EQ(set_number(bad, 1), PMS_E_INVAL);
    fixture_sound(fx.pool);
    fixture_drop_object(&fx, "numbers");
}

static void test_clear_is_quick_and_leaks_nothing(void)
{
    uint64_t freed = 0;
    new_dict("clear");
    fixture_begin(fx.pool);
    for (uint32_t id = 0; id < 20000; id++)
        do_set(id);
    fixture_commit(fx.pool);
    CHECK_EQ(OP(fx.pool, pms_dict_clear(fx.pool, dict)), PMS_OK);
    model_clear();
    same_as_model();
    CHECK_EQ(buckets(), 1);
    fixture_sound(fx.pool);
    for (uint32_t id = 0; id < 100; id++)
        do_set(id);
    fixture_sound(fx.pool); /* the old entries are half torn down */
    fixture_reopen(&fx);
    same_as_model();
    CHECK_EQ(pms_pool_collect(fx.pool, &freed), PMS_OK);
    same_as_model();
    fixture_sound(fx.pool);
    fixture_drop_object(&fx, "clear");
}

static void test_an_aborted_transaction_changes_nothing(void)
{
    new_dict("abort");
    fixture_begin(fx.pool);
    for (uint32_t id = 0; id < 3000; id++)
        do_set(id);
    fixture_commit(fx.pool);
    for (int round = 0; round < 10; round++) {
        uint32_t kept[3] = {first, last, count};
        memcpy(saved, model, sizeof model);
        fixture_begin(fx.pool);
        for (int i = 0; i < 500; i++)
            do_any(4000, round % 2);
        if (round % 4 == 0)
            CHECK_EQ(OP(fx.pool, pms_dict_clear(fx.pool, dict)), PMS_OK);
        CHECK_EQ(pms_tx_abort(fx.pool, 1), PMS_OK);
        memcpy(model, saved, sizeof model);
        first = kept[0];
        last = kept[1];
        count = kept[2];
        same_as_model();
        fixture_sound(fx.pool);
        for (int i = 0; i < 20; i++)
            do_any(4000, round % 2);
    }
    fixture_reopen(&fx);
    same_as_model();
    fixture_drop_object(&fx, "abort");
}

/* Break a word inside a transaction, see the refusal, roll back. */
static void expect_refusal(uint64_t off, uint64_t word)
{
    struct pms_val key, value;
    uint64_t entry = 0, n = 0;
    int status = PMS_OK, refused = 0;
    fixture_begin(fx.pool);
    fixture_enter(fx.pool);
    pms_put(fx.pool, off, word);
    for (uint32_t id = 0; id < 40 && status != PMS_E_CORRUPT; id++) {
        struct pms_key wanted = key_of(id);
        status = pms_dict_get(fx.pool, dict, &wanted, &value);
    }
    refused = status == PMS_E_CORRUPT;
    for (n = 0, status = PMS_OK; status == PMS_OK && n < 100; n++) {
        status = pms_dict_next(fx.pool, dict, &entry);
        if (status == PMS_OK && entry)
            status = pms_dict_entry(fx.pool, entry, &key, &value);
        if (!entry)
            break;
    }
    CHECK(n < 100);
    refused = refused || status == PMS_E_CORRUPT;
    CHECK(refused);
    CHECK_EQ(fixture_leave(fx.pool, PMS_OK), PMS_OK);
    CHECK_EQ(pms_tx_abort(fx.pool, 1), PMS_OK);
}

static void test_damaged_words_are_refused(void)
{
    static const uint64_t wild[] = {8, 1ull << 40, UINT64_MAX, 4096, 0x7fff0000};
    uint64_t entry = 0, cell;
    new_dict("damaged");
    for (uint32_t id = 0; id < 40; id++)
        do_set(id);
    CHECK_EQ(pms_enter_read_wait(fx.pool, NULL, -1), PMS_OK);
    for (int i = 0; i < 20; i++)
        CHECK_EQ(pms_dict_next(fx.pool, dict, &entry), PMS_OK);
    uint64_t next = pms_get(fx.pool, PMS_ENTRY_NEXT(entry));
    CHECK_EQ(pms_entry_value(fx.pool, entry, &cell), PMS_OK);
    pms_leave_read(fx.pool);
    for (size_t i = 0; i < sizeof wild / sizeof *wild; i++) {
        expect_refusal(PMS_DICT_AT(dict, first), wild[i]);
        expect_refusal(PMS_DICT_AT(dict, line), wild[i]);
        expect_refusal(PMS_ENTRY_NEXT(entry), wild[i]);
        expect_refusal(PMS_ENTRY_PREV(entry), wild[i]);
        expect_refusal(cell, wild[i] & ~31ull);
    }
    expect_refusal(PMS_DICT_AT(dict, shape), 7); /* 128 buckets: block 6 is not there */
    expect_refusal(PMS_DICT_AT(dict, shape), PMS_LEVEL_MAX + 1);
    expect_refusal(PMS_DICT_AT(dict, shape), 3 | 9 << 8);
    expect_refusal(PMS_ENTRY_NEXT(entry), PMS_LINK_RETARGET(next, entry));
    expect_refusal(PMS_ENTRY_NEXT(entry), PMS_LINK_RETARGET(next, 0) | 200ull << 40);
    same_as_model();
    fixture_sound(fx.pool);
    fixture_drop_object(&fx, "damaged");
}

/* A word that damage might leave: anything, a small number, or a place that exists. */
static uint64_t any_word(const uint64_t *place, size_t places)
{
    switch (draw(5)) {
    case 0:
        return fixture_random(&seed);
    case 1:
        return draw(64);
    case 2:
        return place[draw(places)] + 8 * draw(8);
    case 3:
        return PMS_LINK(place[draw(places)], draw(1u << 24));
    default:
        return PMS_CELL_WORD0(draw(20), draw(4), draw(1u << draw(32)));
    }
}

/* One operation on a dict that may be damaged: whatever it says, it ends. */
static void try_any(void)
{
    struct pms_key key = key_of((uint32_t)draw(80));
    struct pms_val value = value_of(draw(1000)), got;
    uint64_t entry = 0;
    uint32_t budget = 30;
    switch (draw(7)) {
    case 0:
    case 1:
        (void)OP(fx.pool, pms_dict_set(fx.pool, dict, &key, &value));
        break;
    case 2:
    case 3:
        (void)OP(fx.pool, pms_dict_del(fx.pool, dict, &key));
        break;
    case 4:
        (void)OP(fx.pool, pms_dict_get(fx.pool, dict, &key, &got));
        break;
    case 5:
        fixture_enter(fx.pool);
        do {
            if (pms_dict_next(fx.pool, dict, &entry) != PMS_OK || !entry)
                break;
        } while (pms_dict_entry(fx.pool, entry, &got, &value) == PMS_OK);
        (void)fixture_leave(fx.pool, PMS_OK);
        break;
    default:
        (void)OP(fx.pool, pms_dict_teardown(fx.pool, dict, &budget) == PMS_OK
                              ? PMS_E_INVAL /* the dict has a reference: take it back */
                              : PMS_MISSING);
        break;
    }
}

static void test_random_damage_never_hangs_or_crashes(void)
{
    uint64_t place[80], entry = 0;
    size_t places = 0;
    new_dict("fuzzed");
    for (uint32_t id = 0; id < 70; id++)
        do_set(id);
    CHECK_EQ(pms_enter_read_wait(fx.pool, NULL, -1), PMS_OK);
    place[places++] = dict;
    place[places++] = dict + 64;
    for (uint64_t k = 0; k < 4; k++)
        place[places++] = pms_get(fx.pool, PMS_DICT_AT(dict, line) + 8 * k);
    while (pms_dict_next(fx.pool, dict, &entry) == PMS_OK && entry)
        place[places++] = entry;
    pms_leave_read(fx.pool);
    for (int round = 0; round < 3000; round++) {
        fixture_begin(fx.pool);
        fixture_enter(fx.pool);
        for (uint64_t n = draw(3) + 1; n > 0; n--)
            pms_put(fx.pool, place[draw(places)] + 8 * draw(8), any_word(place, places));
        CHECK_EQ(fixture_leave(fx.pool, PMS_OK), PMS_OK);
        for (int i = 0; i < 20; i++)
            try_any();
        CHECK_EQ(pms_tx_abort(fx.pool, 1), PMS_OK);
    }
    same_as_model();
    fixture_sound(fx.pool);
    fixture_drop_object(&fx, "fuzzed");
}

static void run_all(const char *parent)
{
    if (!fixture_usable(parent))
        return;
    fixture_make(&fx, parent);
    seed = 88172645463325252ull;
    next_value = 1;
    test_small_dicts_do_what_dicts_do();
    test_equal_numbers_are_one_key();
    test_random_operations_keep_the_dict_sound();
    test_a_large_dict_grows_and_gives_its_tables_back();
    test_clear_is_quick_and_leaks_nothing();
    test_an_aborted_transaction_changes_nothing();
    test_damaged_words_are_refused();
    test_random_damage_never_hangs_or_crashes();
    fixture_remove(&fx);
}

int main(void)
{
    run_all("/dev/shm");
    run_all(".");
    return 0;
}
