/* test_sorted.c -- a sorted dict does what a sorted array does, and leaves a sound pool behind.
 *
 * A model, a sorted array of numbers, sees the same operations.  A number stands for a key: by
 * the run, an int, a float, a str that shares its beginning with many others, or bytes that are
 * too long for an entry; and for a value, so that values with blocks of their own come and go.
 * The runs take place on a tmpfs file (direct) and on a file in the working directory (redo
 * log), where there are such.
 */
#include "pool_fixture.h"

#include "_native/sorted_tree.h"

#define MODEL_MAX 60000u

enum keys { INTS, FLOATS, TEXTS, LONG_BYTES, IMAGED, KEY_KINDS };

static struct fixture fx;
static uint64_t sorted;
static uint32_t keys; /* enum keys */
static int64_t model[MODEL_MAX];
static uint64_t value_id[MODEL_MAX];
static uint64_t model_count;
static uint64_t seed;
static uint64_t next_id;

static uint64_t draw(uint64_t below) { return fixture_random(&seed) % below; }

/* A str or bytes: the order of its last eight bytes is that of the numbers. */
static void text_key(struct pms_order_key *key, char *text, uint64_t len, uint64_t number)
{
    memset(text, 'a', len);
    for (int i = 0; i < 8; i++)
        text[len - 1 - (uint64_t)i] = (char)('0' + (number >> 4 * i & 15));
    key->image = (const uint8_t *)text;
    key->len = len;
    key->stored.data = text;
    key->stored.len = len;
}

static struct pms_order_key key_of(int64_t number)
{
    static uint8_t image[64];
    static char text[1200];
    struct pms_order_key key = {.order = PMS_ORDER_NUMBER, .image = image};
    double real = (double)number / 4;
    switch (keys) {
    case INTS:
        key.stored = (struct pms_val){.tag = PMS_TAG_INT, .num = (uint64_t)(number - 20000)};
        key.len = pms_image_int(number - 20000, image);
        break;
    case FLOATS:
        key.stored.tag = PMS_TAG_FLOAT;
        memcpy(&key.stored.num, &real, 8);
        key.len = pms_image_float(real, image);
        break;
    case TEXTS:
        key.order = PMS_ORDER_STR;
        key.stored.tag = PMS_TAG_STR;
        text_key(&key, text, 15, (uint64_t)number);
        break;
    case LONG_BYTES:
        key.order = PMS_ORDER_BYTES;
        key.stored.tag = PMS_TAG_BYTES;
        text_key(&key, text, 1100, (uint64_t)number);
        break;
    default: /* a tuple of one int */
        key.order = PMS_ORDER_TUPLE;
        image[0] = PMS_ORDER_NUMBER;
        key.len = 1 + pms_image_int(number, image + 1);
        image[key.len++] = 0;
        key.stored = (struct pms_val){.tag = PMS_TAG_PACKED, .data = text};
        key.stored.len = 1 + (uint64_t)number % 30;
        memset(text, 'p', sizeof text);
        break;
    }
    key.prefix = pms_image_prefix(key.image, key.len);
    return key;
}

static struct pms_val value_of(uint64_t id)
{
    static char text[3000];
    struct pms_val value = {.tag = PMS_TAG_INT, .num = id};
    if (id % 8 < 4)
        return value;
    memset(text, 'a' + (char)(id % 23), sizeof text);
    value.num = 0;
    value.tag = id % 8 == 5 ? PMS_TAG_BYTES : PMS_TAG_STR;
    value.data = text;
    value.len = id % 8 == 7 ? 9 + id % 80 : id % 8 == 6 ? 1000 + id % 500 : id % 9;
    return value;
}

static void same_value(const struct pms_val *got, uint64_t id)
{
    struct pms_val want = value_of(id);
    CHECK_EQ(got->tag, want.tag);
    CHECK_EQ(got->len, want.len);
    if (want.tag == PMS_TAG_INT)
        CHECK_EQ(got->num, want.num);
    else if (want.len)
        CHECK(memcmp(got->data, want.data, want.len) == 0);
}

static void same_key(const struct pms_val *got, int64_t number)
{
    struct pms_order_key want = key_of(number);
    CHECK_EQ(got->tag, want.stored.tag);
    CHECK_EQ(got->len, want.stored.len);
    if (pms_tag_is_bytes(got->tag))
        CHECK(memcmp(got->data, want.stored.data, got->len) == 0);
    else
        CHECK_EQ(got->num, want.stored.num);
}

/* Index of the first number that is not less. */
static uint64_t model_bound(int64_t number)
{
    uint64_t lo = 0, hi = model_count;
    while (lo < hi) {
        uint64_t mid = (lo + hi) / 2;
        if (model[mid] < number)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static int model_has(int64_t number)
{
    uint64_t at = model_bound(number);
    return at < model_count && model[at] == number;
}

/* The sorted dict equals the model, by runs, by look-ups, by its length. */
static void same_as_model(void)
{
    struct pms_val key, value;
    struct pms_sorted_run run;
    uint64_t at = 0, index;
    CHECK_EQ(pms_enter_read_wait(fx.pool, NULL, -1), PMS_OK);
    CHECK_EQ(pms_sorted_len(fx.pool, sorted), model_count);
    while (at < model_count) {
        uint64_t most = 1 + draw(2 * PMS_SORTED_REFS);
        CHECK_EQ(pms_sorted_run(fx.pool, sorted, at, most, &run), PMS_OK);
        CHECK(run.count >= 1 && run.count <= model_count - at && run.count <= most);
        for (uint32_t i = 0; i < run.count; i++, at++) {
            CHECK_EQ(pms_sorted_entry(fx.pool, run.entry[i], &key, &value), PMS_OK);
            same_key(&key, model[at]);
            same_value(&value, value_id[at]);
        }
    }
    CHECK_EQ(pms_sorted_run(fx.pool, sorted, at, 1, &run), PMS_MISSING);
    for (int i = 0; i < 100 && model_count; i++) {
        int64_t number = (int64_t)draw((uint64_t)model[model_count - 1] + 2);
        struct pms_order_key k = key_of(number);
        at = model_bound(number);
        int there = model_has(number);
        CHECK_EQ(pms_sorted_get(fx.pool, sorted, &k, &value), there ? PMS_OK : PMS_MISSING);
        if (there)
            same_value(&value, value_id[at]);
        CHECK_EQ(pms_sorted_bound(fx.pool, sorted, &k, 0, &index), PMS_OK);
        CHECK_EQ(index, at);
        CHECK_EQ(pms_sorted_bound(fx.pool, sorted, &k, 1, &index), PMS_OK);
        CHECK_EQ(index, at + (uint64_t)there);
        CHECK_EQ(pms_sorted_index(fx.pool, sorted, &k, &index), there ? PMS_OK : PMS_MISSING);
    }
    pms_leave_read(fx.pool);
}

static void do_set(int64_t number)
{
    uint64_t id = next_id++, at = model_bound(number);
    struct pms_order_key key = key_of(number);
    struct pms_val value = value_of(id);
    CHECK_EQ(OP(fx.pool, pms_sorted_set(fx.pool, sorted, &key, &value)), PMS_OK);
    if (!model_has(number)) {
        CHECK(model_count < MODEL_MAX);
        memmove(model + at + 1, model + at, (model_count - at) * 8);
        memmove(value_id + at + 1, value_id + at, (model_count - at) * 8);
        model[at] = number;
        model_count++;
    }
    value_id[at] = id;
}

static void model_delete(uint64_t at, uint64_t n)
{
    memmove(model + at, model + at + n, (model_count - at - n) * 8);
    memmove(value_id + at, value_id + at + n, (model_count - at - n) * 8);
    model_count -= n;
}

static void do_delete(int64_t number)
{
    struct pms_order_key key = key_of(number);
    int there = model_has(number);
    CHECK_EQ(OP(fx.pool, pms_sorted_del(fx.pool, sorted, &key)), there ? PMS_OK : PMS_MISSING);
    if (there)
        model_delete(model_bound(number), 1);
}

static void do_delete_range(uint64_t at, uint64_t n)
{
    CHECK_EQ(OP(fx.pool, pms_sorted_del_range(fx.pool, sorted, at, n)), PMS_OK);
    model_delete(at, n);
}

static void new_sorted(const char *name)
{
    uint32_t tag = PMS_TAG_SORTED_DICT;
    CHECK_EQ(OP(fx.pool, fixture_put_object(&fx, tag, name, &sorted)), PMS_OK);
    model_count = 0;
}

/* One operation at random; growing: more comes than goes. */
static void do_any(uint64_t numbers, int growing)
{
    uint64_t kind = draw(100), n = model_count;
    if (n == 0 || kind < (growing ? 70u : 25u))
        do_set((int64_t)draw(numbers));
    else if (kind < 80)
        do_delete((int64_t)draw(numbers));
    else if (kind < 92)
        do_delete(model[draw(n)]);
    else if (kind < 95)
        do_set(model[draw(n)]);
    else if (kind < 97)
        do_delete(model[0]);
    else if (kind < 98)
        do_delete(model[n - 1]);
    else {
        uint64_t at = draw(n), most = n - at < 150 ? n - at : 150;
        do_delete_range(at, draw(most + 1));
    }
}

/* ---- the tests ---- */

static void test_small_ones_do_what_arrays_do(void)
{
    for (keys = 0; keys < KEY_KINDS; keys++) {
        new_sorted("small");
        for (int i = 0; i < 300; i++) {
            do_any(60, i % 150 < 75);
            if (i % 20 == 0) {
                same_as_model();
                fixture_sound(fx.pool);
            }
        }
        fixture_reopen(&fx);
        same_as_model();
        fixture_drop_object(&fx, "small");
    }
}

static void test_random_operations_keep_the_tree_sound(void)
{
    for (keys = 0; keys < KEY_KINDS; keys++) {
        uint64_t numbers = keys == LONG_BYTES ? 900 : 9000;
        new_sorted("random");
        for (int round = 0; round < 16; round++) {
            fixture_begin(fx.pool);
            for (int i = 0; i < (keys == LONG_BYTES ? 150 : 1500); i++)
                do_any(numbers, round < 10);
            fixture_commit(fx.pool);
            same_as_model();
            fixture_sound(fx.pool);
            if (round % 10 == 9)
                fixture_reopen(&fx);
        }
        fixture_drop_object(&fx, "random");
    }
    keys = INTS;
}

static void test_a_long_one_is_built_and_taken_apart(void)
{
    struct pms_check_result result;
    new_sorted("long");
    fixture_begin(fx.pool);
    for (int64_t i = 0; i < 30000; i++)
        do_set(i);
    fixture_commit(fx.pool);
    same_as_model();
    fixture_sound(fx.pool);
    CHECK_EQ(fixture_problems(fx.pool, 0, &result), 0);
    fixture_reopen(&fx);
    same_as_model();
    do_delete_range(10, 12000);
    same_as_model();
    fixture_sound(fx.pool);
    do_delete_range(model_count - 9000, 9000);
    fixture_sound(fx.pool);
    fixture_begin(fx.pool);
    while (model_count > 5000)
        do_delete(model[0]);
    while (model_count > 100)
        do_delete(model[model_count - 1]);
    fixture_commit(fx.pool);
    same_as_model();
    fixture_sound(fx.pool);
    while (model_count)
        do_delete(model[draw(model_count)]);
    same_as_model();
    fixture_begin(fx.pool); /* downwards: each new key is the least */
    for (int64_t i = 9000; i > 0; i--)
        do_set(i);
    fixture_commit(fx.pool);
    same_as_model();
    fixture_sound(fx.pool);
    fixture_drop_object(&fx, "long");
}

static uint64_t word_of(uint64_t off)
{
    CHECK_EQ(pms_enter_read_wait(fx.pool, NULL, -1), PMS_OK);
    uint64_t word = pms_get(fx.pool, off);
    pms_leave_read(fx.pool);
    return word;
}

static void test_an_ascending_load_leaves_full_blocks(void)
{
    new_sorted("full");
    fixture_begin(fx.pool);
    for (int64_t i = 0; i < PMS_SORTED_REFS * 31; i++)
        do_set(i);
    fixture_commit(fx.pool);
    uint64_t root = word_of(PMS_SORTED_AT(sorted, root));
    CHECK_EQ(word_of(PMS_SORTED_AT(sorted, height)), 1);
    CHECK_EQ(word_of(root) & 0xffff, 31);
    for (uint32_t i = 0; i < 31; i++)
        CHECK_EQ(word_of(pms_sorted_kid(root, i) + PMS_KID_COUNT), PMS_SORTED_REFS);
    fixture_drop_object(&fx, "full");
}

/* The keys share at least eleven bytes: with them in common, no two of a leaf have one prefix. */
static void prefixes_tell_all_apart(void)
{
    struct pms_sorted head;
    struct pms_sorted_path path;
    struct pms_sorted_block leaf;
    CHECK_EQ(pms_sorted_load(fx.pool, sorted, &head), PMS_OK);
    for (uint64_t at = 0; at < model_count; at += leaf.head.used) {
        CHECK_EQ(pms_sorted_seek(fx.pool, &head, at, &path), PMS_OK);
        CHECK_EQ(pms_sorted_read(fx.pool, 0, path.off[0], &leaf), PMS_OK);
        CHECK(leaf.head.common >= 11);
        for (uint32_t i = 1; i < leaf.head.used; i++)
            CHECK(leaf.item[i - 1].prefix < leaf.item[i].prefix);
    }
}

static void test_keys_that_begin_alike_are_told_apart_in_the_leaf(void)
{
    static const char *const strangers[] = {"", "aaaaaaa", "aaaaaaa0001", "aaaaaab", "zz"};
    struct pms_val none = {.tag = PMS_TAG_NONE}, got;
    keys = TEXTS;
    new_sorted("alike");
    fixture_begin(fx.pool);
    for (int64_t i = 0; i < 5003; i++)
        do_set(i * 7919 % 5003);
    prefixes_tell_all_apart();
    fixture_commit(fx.pool);
    for (uint32_t i = 0; i < sizeof strangers / sizeof strangers[0]; i++) {
        struct pms_order_key key = key_of(0);
        key.len = key.stored.len = strlen(strangers[i]);
        key.image = key.stored.data = strangers[i];
        key.prefix = pms_image_prefix(key.image, key.len);
        CHECK_EQ(OP(fx.pool, pms_sorted_set(fx.pool, sorted, &key, &none)), PMS_OK);
        fixture_sound(fx.pool);
        CHECK_EQ(OP(fx.pool, pms_sorted_get(fx.pool, sorted, &key, &got)), PMS_OK);
        CHECK_EQ(OP(fx.pool, pms_sorted_del(fx.pool, sorted, &key)), PMS_OK);
        fixture_sound(fx.pool);
        same_as_model();
    }
    fixture_drop_object(&fx, "alike");
    keys = INTS;
}

static void test_clear_leaves_an_empty_one_and_no_leak(void)
{
    uint64_t freed = 0;
    new_sorted("clear");
    fixture_begin(fx.pool);
    for (int64_t i = 0; i < 9000; i++)
        do_set(i * 7919 % 9001);
    fixture_commit(fx.pool);
    CHECK_EQ(OP(fx.pool, pms_sorted_clear(fx.pool, sorted)), PMS_OK);
    model_count = 0;
    same_as_model();
    fixture_sound(fx.pool);
    do_set(5);
    fixture_reopen(&fx);
    same_as_model();
    fixture_sound(fx.pool);
    CHECK_EQ(pms_pool_collect(fx.pool, &freed), PMS_OK);
    same_as_model();
    fixture_sound(fx.pool);
    do_delete_range(0, model_count);
    CHECK_EQ(OP(fx.pool, pms_sorted_clear(fx.pool, sorted)), PMS_OK);
    fixture_drop_object(&fx, "clear");
}

/* A new object must get its first reference in the operation that makes it. */
static int put_inner(uint64_t outer, int64_t number, uint64_t *inner)
{
    struct pms_order_key key = key_of(number);
    PMS_TRY(pms_object_create(fx.pool, PMS_TAG_SORTED_SET, inner));
    struct pms_val value = {.tag = PMS_TAG_SORTED_SET, .num = *inner};
    return pms_sorted_set(fx.pool, outer, &key, &value);
}

static void test_nested_ones_are_torn_down(void)
{
    struct pms_val none = {.tag = PMS_TAG_NONE};
    uint64_t inner = 0;
    new_sorted("nested");
    fixture_begin(fx.pool);
    for (int64_t i = 0; i < 800; i++) {
        CHECK_EQ(OP(fx.pool, put_inner(sorted, i, &inner)), PMS_OK);
        for (int64_t j = 0; j < 5; j++) {
            struct pms_order_key key = key_of(j);
            CHECK_EQ(OP(fx.pool, pms_sorted_set(fx.pool, inner, &key, &none)), PMS_OK);
        }
    }
    fixture_commit(fx.pool);
    fixture_sound(fx.pool);
    fixture_drop_object(&fx, "nested");
}

static void test_an_aborted_transaction_changes_nothing(void)
{
    static int64_t kept[MODEL_MAX];
    static uint64_t kept_value[MODEL_MAX];
    new_sorted("abort");
    fixture_begin(fx.pool);
    for (int i = 0; i < 3000; i++)
        do_set((int64_t)draw(9000));
    fixture_commit(fx.pool);
    for (int round = 0; round < 8; round++) {
        uint64_t kept_count = model_count;
        memcpy(kept, model, model_count * 8);
        memcpy(kept_value, value_id, model_count * 8);
        fixture_begin(fx.pool);
        for (int i = 0; i < 400; i++)
            do_any(9000, round % 2);
        CHECK_EQ(pms_tx_abort(fx.pool, 1), PMS_OK);
        memcpy(model, kept, kept_count * 8);
        memcpy(value_id, kept_value, kept_count * 8);
        model_count = kept_count;
        same_as_model();
        fixture_sound(fx.pool);
        for (int i = 0; i < 20; i++)
            do_any(9000, round % 2);
    }
    fixture_reopen(&fx);
    same_as_model();
    fixture_drop_object(&fx, "abort");
}

/* {kind, text} as a tuple's image; the text has no zero byte. */
static struct pms_order_key tuple_key(const char *first, uint8_t order, int number)
{
    static uint8_t image[2][64];
    static int which;
    uint8_t *at = image[which ^= 1], *start = at;
    *at++ = PMS_ORDER_STR;
    memcpy(at, first, strlen(first));
    at += strlen(first);
    *at++ = 0;
    *at++ = 1;
    if (order) {
        *at++ = order;
        at += order == PMS_ORDER_NUMBER ? pms_image_int(number, at) : 0;
    }
    *at++ = 0;
    struct pms_order_key key = {.order = PMS_ORDER_TUPLE, .image = start};
    key.len = (uint64_t)(at - start);
    key.prefix = pms_image_prefix(start, key.len);
    key.stored = (struct pms_val){.tag = PMS_TAG_PACKED, .data = start, .len = key.len};
    CHECK(pms_image_is_tuple(start, key.len));
    return key;
}

static void test_keys_without_an_order_are_refused(void)
{
    struct pms_val none = {.tag = PMS_TAG_NONE};
    uint64_t index;
    new_sorted("mixed");
    keys = INTS;
    struct pms_order_key key = key_of(1);
    CHECK_EQ(OP(fx.pool, pms_sorted_set(fx.pool, sorted, &key, &none)), PMS_OK);
    keys = TEXTS;
    struct pms_order_key other = key_of(1);
    CHECK_EQ(OP(fx.pool, pms_sorted_set(fx.pool, sorted, &other, &none)), PMS_MIXED);
    CHECK_EQ(OP(fx.pool, pms_sorted_del(fx.pool, sorted, &other)), PMS_MISSING);
    CHECK_EQ(OP(fx.pool, pms_sorted_bound(fx.pool, sorted, &other, 0, &index)), PMS_MIXED);
    keys = INTS;
    CHECK_EQ(OP(fx.pool, pms_sorted_del(fx.pool, sorted, &key)), PMS_OK);
    /* Any kind, once it is empty. */
    struct pms_order_key pair = tuple_key("a", PMS_ORDER_NUMBER, 5);
    CHECK_EQ(OP(fx.pool, pms_sorted_set(fx.pool, sorted, &pair, &none)), PMS_OK);
    for (uint8_t order = PMS_ORDER_NONE; order < PMS_ORDER_NUMBER; order++) {
        struct pms_order_key mixed = tuple_key("a", order, 0);
        CHECK_EQ(OP(fx.pool, pms_sorted_set(fx.pool, sorted, &mixed, &none)), PMS_MIXED);
        CHECK_EQ(OP(fx.pool, pms_sorted_bound(fx.pool, sorted, &mixed, 0, &index)), PMS_MIXED);
        CHECK_EQ(OP(fx.pool, pms_sorted_del(fx.pool, sorted, &mixed)), PMS_MISSING);
    }
    struct pms_order_key shorter = tuple_key("a", 0, 0), elsewhere = tuple_key("b", 1, 0);
    CHECK_EQ(OP(fx.pool, pms_sorted_set(fx.pool, sorted, &shorter, &none)), PMS_OK);
    CHECK_EQ(OP(fx.pool, pms_sorted_set(fx.pool, sorted, &elsewhere, &none)), PMS_OK);
    fixture_sound(fx.pool);
    fixture_drop_object(&fx, "mixed");
}

static void test_wrong_arguments_are_refused(void)
{
    uint64_t entry;
    new_sorted("wrong");
    struct pms_order_key key = key_of(0);
    struct pms_val value = value_of(0);
    CHECK_EQ(OP(fx.pool, pms_sorted_del(fx.pool, sorted, &key)), PMS_MISSING);
    CHECK_EQ(OP(fx.pool, pms_sorted_at(fx.pool, sorted, 0, &entry)), PMS_MISSING);
    do_set(1);
    do_set(2);
    CHECK_EQ(OP(fx.pool, pms_sorted_del_range(fx.pool, sorted, 1, 2)), PMS_MISSING);
    CHECK_EQ(OP(fx.pool, pms_sorted_del_range(fx.pool, sorted, 2, UINT64_MAX)), PMS_MISSING);
    CHECK_EQ(OP(fx.pool, pms_sorted_del_range(fx.pool, sorted, 2, 0)), PMS_OK);
    CHECK_EQ(OP(fx.pool, pms_sorted_set(fx.pool, fx.root, &key, &value)), PMS_E_CORRUPT);
    key.stored.tag = PMS_TAG_NONE;
    CHECK_EQ(OP(fx.pool, pms_sorted_set(fx.pool, sorted, &key, &value)), PMS_E_INVAL);
    key.order = 0;
    CHECK_EQ(OP(fx.pool, pms_sorted_set(fx.pool, sorted, &key, &value)), PMS_E_INVAL);
    same_as_model();
    fixture_sound(fx.pool);
    fixture_drop_object(&fx, "wrong");
}

/* ---- the check ---- */

static int put_word(uint64_t off, uint64_t word)
{
    pms_put(fx.pool, off, word);
    return PMS_OK;
}

/* A word with these bits turned round is a problem for the check. */
static void forge(const char *what, uint64_t off, uint64_t bits)
{
    struct pms_check_result result;
    uint64_t word = word_of(off);
    CHECK_EQ(OP(fx.pool, put_word(off, word ^ bits)), PMS_OK);
    if (fixture_problems(fx.pool, 1, &result) == 0) {
        fprintf(stderr, "%s: the check has found nothing\n", what);
        abort();
    }
    CHECK_EQ(OP(fx.pool, put_word(off, word)), PMS_OK);
    fixture_sound(fx.pool);
}

static struct pms_sorted_parts parts_of(uint64_t entry)
{
    struct pms_sorted_parts parts;
    CHECK_EQ(OP(fx.pool, pms_sorted_parts(fx.pool, entry, &parts)), PMS_OK);
    return parts;
}

static void forge_tree(void)
{
    uint64_t node = word_of(PMS_SORTED_AT(sorted, root));
    uint64_t kid = pms_sorted_kid(node, 1), leaf = word_of(kid), ref = pms_sorted_ref(leaf, 5);
    uint64_t entry = word_of(ref), other = word_of(ref + 16);
    CHECK_EQ(word_of(PMS_SORTED_AT(sorted, height)), 1);
    forge("count", PMS_SORTED_AT(sorted, count), 1);
    forge("root", PMS_SORTED_AT(sorted, root), 1024);
    forge("height", PMS_SORTED_AT(sorted, height), 3);
    forge("height", PMS_SORTED_AT(sorted, height), 1ull << 40);
    forge("another kind of keys", PMS_SORTED_AT(sorted, order), 1);
    forge("no kind of keys", PMS_SORTED_AT(sorted, order), PMS_ORDER_NUMBER);
    forge("node magic", node, 1ull << 40);
    forge("node kids", node, 1);
    forge("common bytes of a node", node, 1ull << 16);
    forge("too many common bytes", node, 25ull << 16);
    forge("kid", kid, 1024);
    forge("kid twice", kid, leaf ^ word_of(pms_sorted_kid(node, 0)));
    forge("kid count", kid + PMS_KID_COUNT, 1);
    forge("kid least", kid + PMS_KID_LEAST, entry ^ word_of(kid + PMS_KID_LEAST));
    forge("kid prefix", kid + PMS_KID_PREFIX, 1);
    forge("leaf magic", leaf, 1ull << 33);
    forge("leaf room", leaf, 32ull << 8);
    forge("common bytes of a leaf", leaf, 1ull << 16);
    forge("other common bytes", PMS_SORTED_BYTES(leaf), 1);
    forge("order twice", pms_sorted_order(leaf, 0), 1);
    forge("order of what is not there", pms_sorted_order(leaf, 0), 0xc0);
    forge("leaf references", leaf, 2);
    forge("reference", ref, 32);
    forge("reference twice", ref, entry ^ other);
    forge("prefix", ref + 8, 1ull << 63);
    forge("key out of order", entry + 8, 1ull << 40);
    forge("key of another kind", entry, PMS_TAG_INT ^ PMS_TAG_STR);
    forge("key of no kind", entry, PMS_TAG_INT ^ PMS_TAG_DICT);
    forge("cell of a key", entry, 1ull << 20);
    forge("value of no kind", parts_of(entry).value, 0x80);
}

static void test_the_check_finds_what_was_forged(void)
{
    struct pms_val none = {.tag = PMS_TAG_NONE};
    uint64_t entry;
    new_sorted("forged");
    keys = INTS;
    for (int64_t i = 0; i < 200; i++)
        do_set(i * 3);
    forge_tree();
    fixture_drop_object(&fx, "forged");
    new_sorted("forged");
    keys = IMAGED;
    for (int64_t i = 0; i < 3; i++)
        do_set(10 * i + 9);
    CHECK_EQ(OP(fx.pool, pms_sorted_at(fx.pool, sorted, 1, &entry)), PMS_OK);
    uint64_t at = parts_of(entry).image;
    forge("length of an image", at - 8, 1);
    forge("length of an image", at - 8, 1ull << 20);
    forge("kind of an item", at, 1ull << 7);
    forge("end of a tuple", at, 0xffull << 32);
    forge("length of a key", entry, 1ull << 42);
    forge("flags of a key", entry, (PMS_CELL_SHORT ^ PMS_CELL_INNER) << 8);
    fixture_drop_object(&fx, "forged");
    CHECK_EQ(OP(fx.pool, fixture_put_object(&fx, PMS_TAG_SORTED_SET, "forged", &sorted)),
             PMS_OK);
    keys = TEXTS;
    struct pms_order_key key = key_of(5);
    CHECK_EQ(OP(fx.pool, pms_sorted_set(fx.pool, sorted, &key, &none)), PMS_OK);
    CHECK_EQ(OP(fx.pool, pms_sorted_at(fx.pool, sorted, 0, &entry)), PMS_OK);
    forge("a set with a value", parts_of(entry).value, PMS_TAG_NONE ^ PMS_TAG_TRUE);
    forge("a str that is none", parts_of(entry).key, 0x80);
    fixture_drop_object(&fx, "forged");
    keys = INTS;
}

static void run_all(const char *parent)
{
    if (!fixture_usable(parent))
        return;
    fixture_make(&fx, parent);
    seed = 88172645463325252ull;
    next_id = 1;
    test_small_ones_do_what_arrays_do();
    test_wrong_arguments_are_refused();
    test_keys_without_an_order_are_refused();
    test_random_operations_keep_the_tree_sound();
    test_a_long_one_is_built_and_taken_apart();
    test_an_ascending_load_leaves_full_blocks();
    test_keys_that_begin_alike_are_told_apart_in_the_leaf();
    test_clear_leaves_an_empty_one_and_no_leak();
    test_nested_ones_are_torn_down();
    test_an_aborted_transaction_changes_nothing();
    test_the_check_finds_what_was_forged();
    fixture_remove(&fx);
}

int main(void)
{
    run_all("/dev/shm");
    run_all(".");
    return 0;
}
