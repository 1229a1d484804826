/* test_vec.c -- a persistent list does what an array does, and leaves a sound pool behind.
 *
 * A model, an array of numbers, sees the same operations.  A number stands for a value: an
 * int, a short or long str, or bytes, so that values with blocks of their own come, go and
 * move too.  The runs take place on a tmpfs file (direct) and on a file in the working
 * directory (redo log), where there are such.
 */
#include "pool_fixture.h"

#define MODEL_MAX 300000u

static struct fixture fx;
static uint64_t list;
static uint64_t model[MODEL_MAX];
static uint64_t model_count;
static uint64_t seed;
static uint64_t next_id;

static uint64_t draw(uint64_t below) { return fixture_random(&seed) % below; }

static struct pms_val value_of(uint64_t id)
{
    static char text[96];
    struct pms_val value = {.tag = PMS_TAG_INT, .num = id};
    if (id % 8 < 5)
        return value;
    memset(text, 'a' + (char)(id % 23), sizeof text);
    memcpy(text, &id, 4);
    for (int i = 0; i < 4; i++)
        text[i] &= 0x7f;
    value.num = 0;
    value.tag = id % 8 == 5 ? PMS_TAG_BYTES : PMS_TAG_STR;
    value.data = text;
    value.len = id % 8 == 7 ? 9 + id % 80 : id % 9;
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

/* The list equals the model, by get, by runs, by its length. */
static void same_as_model(void)
{
    struct pms_val got;
    uint64_t at = 0;
    CHECK_EQ(pms_enter_read_wait(fx.pool, NULL, -1), PMS_OK);
    CHECK_EQ(pms_list_len(fx.pool, list), model_count);
    while (at < model_count) {
        uint64_t off, cells;
        CHECK_EQ(pms_list_run(fx.pool, list, at, &off, &cells), PMS_OK);
        CHECK(cells >= 1 && cells <= model_count - at);
        for (uint64_t i = 0; i < cells; i++, at++) {
            CHECK_EQ(pms_cell_read(fx.pool, off + 16 * i, &got), PMS_OK);
            same_value(&got, model[at]);
        }
    }
    for (int i = 0; i < 100 && model_count; i++) {
        at = draw(model_count);
        CHECK_EQ(pms_list_get(fx.pool, list, at, &got), PMS_OK);
        same_value(&got, model[at]);
    }
    CHECK_EQ(pms_list_get(fx.pool, list, model_count, &got), PMS_MISSING);
    pms_leave_read(fx.pool);
}

static void model_insert(uint64_t at, uint64_t id)
{
    CHECK(model_count < MODEL_MAX);
    memmove(model + at + 1, model + at, (model_count - at) * 8);
    model[at] = id;
    model_count++;
}

static void model_delete(uint64_t at, uint64_t n)
{
    memmove(model + at, model + at + n, (model_count - at - n) * 8);
    model_count -= n;
}

static void do_insert(uint64_t at)
{
    uint64_t id = next_id++;
    struct pms_val value = value_of(id);
    CHECK_EQ(OP(fx.pool, pms_list_insert(fx.pool, list, at, &value)), PMS_OK);
    model_insert(at, id);
}

static void do_append(void)
{
    uint64_t id = next_id++;
    struct pms_val value = value_of(id);
    CHECK_EQ(OP(fx.pool, pms_list_append(fx.pool, list, &value)), PMS_OK);
    model_insert(model_count, id);
}

static void do_delete(uint64_t at, uint64_t n)
{
    CHECK_EQ(OP(fx.pool, pms_list_del_range(fx.pool, list, at, n)), PMS_OK);
    model_delete(at, n);
}

static void do_pop(uint64_t at)
{
    CHECK_EQ(OP(fx.pool, pms_list_del(fx.pool, list, at)), PMS_OK);
    model_delete(at, 1);
}

static void do_set(uint64_t at)
{
    uint64_t id = next_id++;
    struct pms_val value = value_of(id);
    CHECK_EQ(OP(fx.pool, pms_list_set(fx.pool, list, at, &value)), PMS_OK);
    model[at] = id;
}

static void do_swap(uint64_t a, uint64_t b)
{
    CHECK_EQ(OP(fx.pool, pms_list_swap(fx.pool, list, a, b)), PMS_OK);
    uint64_t id = model[a];
    model[a] = model[b];
    model[b] = id;
}

static void do_reverse(void)
{
    CHECK_EQ(OP(fx.pool, pms_list_reverse(fx.pool, list)), PMS_OK);
    for (uint64_t i = 0; i < model_count / 2; i++) {
        uint64_t id = model[i];
        model[i] = model[model_count - 1 - i];
        model[model_count - 1 - i] = id;
    }
}

/* One operation at random; growing: more comes than goes. */
static void do_any(int growing)
{
    uint64_t n = model_count, kind = draw(100);
    uint64_t coming = growing ? 70 : 25;
    if (n == 0 || kind < coming / 2) {
        do_append();
    } else if (kind < coming) {
        do_insert(draw(n + 1));
    } else if (kind < 90) {
        do_pop(kind % 3 == 0 ? n - 1 : draw(n));
    } else if (kind < 95) {
        do_set(draw(n));
    } else if (kind < 97) {
        do_swap(draw(n), draw(n));
    } else if (kind < 99) {
        uint64_t at = draw(n), most = n - at < 200 ? n - at : 200;
        do_delete(at, draw(most + 1));
    } else if (n < 2000) {
        do_reverse();
    }
}

static void new_list(const char *name)
{
    CHECK_EQ(OP(fx.pool, fixture_put_object(&fx, PMS_TAG_LIST, name, &list)), PMS_OK);
    model_count = 0;
}

/* ---- the tests ---- */

static void test_small_lists_do_what_arrays_do(void)
{
    new_list("small");
    for (int i = 0; i < 600; i++) {
        do_any(i % 200 < 100);
        if (i % 20 == 0) {
            same_as_model();
            fixture_sound(fx.pool);
        }
    }
    fixture_reopen(&fx);
    same_as_model();
    fixture_drop_object(&fx, "small");
}

static void test_random_operations_keep_the_tree_sound(void)
{
    new_list("random");
    for (int round = 0; round < 40; round++) {
        fixture_begin(fx.pool);
        for (int i = 0; i < 1500; i++)
            do_any(round < 25);
        fixture_commit(fx.pool);
        same_as_model();
        fixture_sound(fx.pool);
        if (round % 10 == 9)
            fixture_reopen(&fx);
    }
    fixture_drop_object(&fx, "random");
}

static void test_a_long_list_is_built_and_taken_apart(void)
{
    new_list("long");
    for (int round = 0; round < 12; round++) {
        fixture_begin(fx.pool);
        for (int i = 0; i < 10000; i++)
            do_append();
        fixture_commit(fx.pool);
    }
    same_as_model();
    fixture_sound(fx.pool);
    fixture_reopen(&fx);
    same_as_model();
    do_reverse();
    same_as_model();
    fixture_begin(fx.pool);
    for (int i = 0; i < 3000; i++)
        do_insert(60000 + draw(100));
    for (int i = 0; i < 3000; i++)
        do_insert(0);
    fixture_commit(fx.pool);
    fixture_sound(fx.pool);
    do_delete(10, 40000);
    same_as_model();
    fixture_sound(fx.pool);
    do_delete(model_count - 30000, 30000);
    fixture_sound(fx.pool);
    fixture_begin(fx.pool);
    while (model_count > 20000)
        do_pop(0);
    while (model_count > 100)
        do_pop(model_count - 1);
    fixture_commit(fx.pool);
    same_as_model();
    fixture_sound(fx.pool);
    while (model_count)
        do_pop(draw(model_count));
    same_as_model();
    fixture_drop_object(&fx, "long");
}

/* Deleting at the front only: each leaf shrinks, is helped, and goes. */
static void test_a_queue_stays_small(void)
{
    struct pms_heap_stats stats;
    new_list("queue");
    for (int round = 0; round < 20; round++) {
        fixture_begin(fx.pool);
        for (int i = 0; i < 1000; i++)
            do_append();
        for (int i = 0; i < 1000; i++)
            do_pop(0);
        for (int i = 0; i < 10; i++)
            do_append();
        fixture_commit(fx.pool);
        fixture_sound(fx.pool);
    }
    same_as_model();
    CHECK_EQ(pms_pool_heap_stats(fx.pool, &stats), PMS_OK);
    CHECK(stats.used_bytes < 200 * 1000);
    fixture_drop_object(&fx, "queue");
}

static void test_clear_leaves_an_empty_list_and_no_leak(void)
{
    uint64_t freed = 0;
    new_list("clear");
    fixture_begin(fx.pool);
    for (int i = 0; i < 20000; i++)
        do_append();
    fixture_commit(fx.pool);
    CHECK_EQ(OP(fx.pool, pms_list_clear(fx.pool, list)), PMS_OK);
    model_count = 0;
    same_as_model();
    fixture_sound(fx.pool);
    do_append();
    fixture_reopen(&fx);
    same_as_model();
    fixture_sound(fx.pool);
    CHECK_EQ(pms_pool_collect(fx.pool, &freed), PMS_OK);
    same_as_model();
    fixture_sound(fx.pool);
    do_delete(0, model_count);
    same_as_model();
    fixture_drop_object(&fx, "clear");
}

/* An object must get its first reference in the operation that makes it. */
static int append_new_list(uint64_t outer, uint64_t *inner)
{
    PMS_TRY(pms_object_create(fx.pool, PMS_TAG_LIST, inner));
    struct pms_val value = {.tag = PMS_TAG_LIST, .num = *inner};
    return pms_list_append(fx.pool, outer, &value);
}

/* A list of lists of lists: dropping the outermost frees all, without recursion. */
static void test_nested_lists_are_torn_down(void)
{
    uint64_t inner = 0;
    new_list("nested");
    fixture_begin(fx.pool);
    for (int i = 0; i < 5000; i++) {
        CHECK_EQ(OP(fx.pool, append_new_list(list, &inner)), PMS_OK);
        if (i % 2)
            list = inner;
        model_count = 0;
        do_append();
    }
    fixture_commit(fx.pool);
    fixture_sound(fx.pool);
    fixture_drop_object(&fx, "nested");
}

static void test_an_aborted_transaction_changes_nothing(void)
{
    new_list("abort");
    fixture_begin(fx.pool);
    for (int i = 0; i < 5000; i++)
        do_append();
    fixture_commit(fx.pool);
    for (int round = 0; round < 10; round++) {
        static uint64_t kept[MODEL_MAX];
        uint64_t kept_count = model_count, kept_id = next_id;
        memcpy(kept, model, model_count * 8);
        fixture_begin(fx.pool);
        for (int i = 0; i < 500; i++)
            do_any(round % 2);
        CHECK_EQ(pms_tx_abort(fx.pool, 1), PMS_OK);
        memcpy(model, kept, kept_count * 8);
        model_count = kept_count;
        next_id = kept_id;
        same_as_model();
        fixture_sound(fx.pool);
        for (int i = 0; i < 20; i++)
            do_any(round % 2);
    }
    fixture_reopen(&fx);
    same_as_model();
    fixture_drop_object(&fx, "abort");
}

static void test_wrong_arguments_are_refused(void)
{
    struct pms_val value = value_of(0);
    new_list("wrong");
    CHECK_EQ(OP(fx.pool, pms_list_del(fx.pool, list, 0)), PMS_MISSING);
    CHECK_EQ(OP(fx.pool, pms_list_insert(fx.pool, list, 1, &value)), PMS_MISSING);
    CHECK_EQ(OP(fx.pool, pms_list_set(fx.pool, list, 0, &value)), PMS_MISSING);
    do_append();
    do_append();
    CHECK_EQ(OP(fx.pool, pms_list_del_range(fx.pool, list, 1, 2)), PMS_MISSING);
    CHECK_EQ(OP(fx.pool, pms_list_del_range(fx.pool, list, 2, UINT64_MAX)), PMS_MISSING);
    CHECK_EQ(OP(fx.pool, pms_list_swap(fx.pool, list, 0, 2)), PMS_MISSING);
    CHECK_EQ(OP(fx.pool, pms_list_swap(fx.pool, list, 1, 1)), PMS_OK);
    CHECK_EQ(OP(fx.pool, pms_list_append(fx.pool, fx.root, &value)), PMS_E_CORRUPT);
    same_as_model();
    fixture_sound(fx.pool);
    fixture_drop_object(&fx, "wrong");
}

static void run_all(const char *parent)
{
    if (!fixture_usable(parent))
        return;
    fixture_make(&fx, parent);
    seed = 88172645463325252ull;
    next_id = 1;
    test_small_lists_do_what_arrays_do();
    test_wrong_arguments_are_refused();
    test_random_operations_keep_the_tree_sound();
    test_a_long_list_is_built_and_taken_apart();
    test_a_queue_stays_small();
    test_clear_leaves_an_empty_list_and_no_leak();
    test_nested_lists_are_torn_down();
    test_an_aborted_transaction_changes_nothing();
    fixture_remove(&fx);
}

int main(void)
{
    run_all("/dev/shm");
    run_all(".");
    return 0;
}
