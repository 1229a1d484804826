/* test_deque.c -- a persistent deque does what an array with two ends does, within its bound.
 *
 * A model, an array of numbers, sees the same operations; after them the pool is sound.  The runs
 * take place on a tmpfs file (direct) and on a file in the working directory (redo log), where
 * there are such.
 */
#include "_native/vec_deque.h"
#include "pool_fixture.h"

#define MODEL_MAX 4000u

static struct fixture fx;
static uint64_t deque;
static uint64_t model[MODEL_MAX];
static uint64_t count, most; /* of the model: items, and the limit of them (0: none) */
static uint64_t seed;
static uint64_t next_id;

static uint64_t draw(uint64_t below) { return below ? fixture_random(&seed) % below : 0; }

/* Every third one has a block of its own. */
static struct pms_val value_of(uint64_t id)
{
    static char text[40];
    struct pms_val value = {.tag = PMS_TAG_INT, .num = id};
    if (id % 3)
        return value;
    memset(text, 'd', sizeof text);
    memcpy(text, &id, 8);
    return (struct pms_val){.tag = PMS_TAG_BYTES, .data = text, .len = sizeof text};
}

static void same_as_model(void)
{
    struct pms_val got;
    CHECK_EQ(pms_enter_read_wait(fx.pool, NULL, -1), PMS_OK);
    CHECK_EQ(pms_list_len(fx.pool, deque), count);
    CHECK_EQ(pms_deque_bound(fx.pool, deque), most ? most + 1 : 0);
    for (uint64_t i = 0; i < count; i++) {
        uint64_t id = 0;
        CHECK_EQ(pms_list_get(fx.pool, deque, i, &got), PMS_OK);
        CHECK_EQ(got.tag, model[i] % 3 ? PMS_TAG_INT : PMS_TAG_BYTES);
        if (got.tag == PMS_TAG_BYTES)
            memcpy(&id, got.data, 8);
        else
            id = got.num;
        CHECK_EQ(id, model[i]);
    }
    pms_leave_read(fx.pool);
}

static void model_remove(uint64_t at)
{
    memmove(model + at, model + at + 1, (count - at - 1) * 8);
    count--;
}

static void model_insert(uint64_t at, uint64_t id)
{
    CHECK(count < MODEL_MAX);
    memmove(model + at + 1, model + at, (count - at) * 8);
    model[at] = id;
    count++;
}

static void do_push(enum pms_deque_end end)
{
    uint64_t id = next_id++;
    struct pms_val value = value_of(id);
    CHECK_EQ(OP(fx.pool, pms_deque_push(fx.pool, deque, end, &value)), PMS_OK);
    model_insert(end == PMS_DEQUE_LEFT ? 0 : count, id);
    if (most && count > most)
        model_remove(end == PMS_DEQUE_LEFT ? count - 1 : 0);
}

static void do_insert(uint64_t at)
{
    uint64_t id = next_id++;
    struct pms_val value = value_of(id);
    int full = most && count == most;
    CHECK_EQ(OP(fx.pool, pms_deque_insert(fx.pool, deque, at, &value)),
             full ? PMS_MISSING : PMS_OK);
    if (!full)
        model_insert(at, id);
}

static void do_move(uint64_t from, uint64_t to)
{
    uint64_t id = model[from];
    CHECK_EQ(OP(fx.pool, pms_list_move(fx.pool, deque, from, to)), PMS_OK);
    model_remove(from);
    model_insert(to, id);
}

static void do_rotate(uint64_t steps)
{
    static uint64_t turned[MODEL_MAX];
    CHECK_EQ(OP(fx.pool, pms_deque_rotate(fx.pool, deque, steps)), PMS_OK);
    for (uint64_t i = 0; i < count; i++)
        turned[(i + steps) % count] = model[i];
    memcpy(model, turned, count * 8);
}

static void do_delete(uint64_t at)
{
    CHECK_EQ(OP(fx.pool, pms_list_del(fx.pool, deque, at)), PMS_OK);
    model_remove(at);
}

static void do_any(void)
{
    switch (draw(10)) {
    case 0:
    case 1:
    case 2:
        do_push(PMS_DEQUE_LEFT);
        break;
    case 3:
    case 4:
        do_push(PMS_DEQUE_RIGHT);
        break;
    case 5:
        do_insert(draw(count + 1));
        break;
    case 6:
        do_rotate(draw(3) ? draw(9) : draw(2 * count + 3));
        break;
    case 7:
        if (count)
            do_move(draw(count), draw(count));
        break;
    default:
        if (count)
            do_delete(draw(2) ? 0 : draw(count));
        break;
    }
}

static void new_deque(uint64_t limit)
{
    CHECK_EQ(OP(fx.pool, fixture_put_object(&fx, PMS_TAG_DEQUE, "deque", &deque)), PMS_OK);
    if (limit)
        CHECK_EQ(OP(fx.pool, pms_deque_set_bound(fx.pool, deque, limit + 1)), PMS_OK);
    most = limit;
    count = 0;
}

/* ---- the tests ---- */

static void test_deques_do_what_arrays_do(void)
{
    static const uint64_t limits[4] = {0, 1, 5, 150};
    for (int i = 0; i < 4; i++) {
        new_deque(limits[i]);
        for (int n = 0; n < 1200; n++) {
            do_any();
            if (n % 60 == 0) {
                same_as_model();
                fixture_sound(fx.pool);
            }
        }
        fixture_reopen(&fx);
        same_as_model();
        fixture_drop_object(&fx, "deque");
    }
}

static void test_work_that_is_rolled_back_leaves_nothing(void)
{
    static uint64_t kept[MODEL_MAX];
    new_deque(200);
    for (int round = 0; round < 12; round++) {
        uint64_t had;
        for (int i = 0; i < 30; i++)
            do_any();
        had = count;
        memcpy(kept, model, sizeof kept);
        fixture_begin(fx.pool);
        for (int i = 0; i < 200; i++)
            do_any();
        CHECK_EQ(pms_tx_abort(fx.pool, 1), PMS_OK);
        memcpy(model, kept, sizeof kept);
        count = had;
        same_as_model();
        fixture_sound(fx.pool);
    }
    fixture_drop_object(&fx, "deque");
}

/* Each leaf that fills up at the left is split; turning takes from one end what goes to the other. */
static void test_a_long_deque_grows_at_the_left_and_turns(void)
{
    new_deque(0);
    fixture_begin(fx.pool);
    for (int i = 0; i < 3000; i++)
        do_push(PMS_DEQUE_LEFT);
    fixture_commit(fx.pool);
    fixture_sound(fx.pool);
    do_rotate(1499);
    do_rotate(2900);
    same_as_model();
    fixture_sound(fx.pool);
    do_rotate(3000);
    do_rotate(0);
    same_as_model();
    fixture_drop_object(&fx, "deque");
}

static void test_what_makes_no_sense_is_refused(void)
{
    struct pms_val value = value_of(1);
    new_deque(0);
    CHECK_EQ(OP(fx.pool, pms_deque_rotate(fx.pool, deque, 5)), PMS_OK); /* empty */
    CHECK_EQ(OP(fx.pool, pms_list_move(fx.pool, deque, 0, 0)), PMS_MISSING);
    CHECK_EQ(OP(fx.pool, pms_deque_insert(fx.pool, deque, 1, &value)), PMS_MISSING);
    do_push(PMS_DEQUE_RIGHT);
    do_push(PMS_DEQUE_RIGHT);
    CHECK_EQ(OP(fx.pool, pms_list_move(fx.pool, deque, 0, 2)), PMS_MISSING);
    CHECK_EQ(OP(fx.pool, pms_deque_set_bound(fx.pool, deque, 9)), PMS_E_INVAL);
    CHECK_EQ(OP(fx.pool, pms_deque_push(fx.pool, fx.root, PMS_DEQUE_LEFT, &value)),
             PMS_E_CORRUPT);
    same_as_model();
    fixture_drop_object(&fx, "deque");
}

/* A bound of 1 is a limit of no items: everything is dropped at once. */
static void test_a_deque_may_hold_nothing(void)
{
    struct pms_val value = value_of(3);
    CHECK_EQ(OP(fx.pool, fixture_put_object(&fx, PMS_TAG_DEQUE, "deque", &deque)), PMS_OK);
    CHECK_EQ(OP(fx.pool, pms_deque_set_bound(fx.pool, deque, 1)), PMS_OK);
    CHECK_EQ(OP(fx.pool, pms_deque_push(fx.pool, deque, PMS_DEQUE_LEFT, &value)), PMS_OK);
    CHECK_EQ(OP(fx.pool, pms_deque_push(fx.pool, deque, PMS_DEQUE_RIGHT, &value)), PMS_OK);
    CHECK_EQ(OP(fx.pool, pms_deque_insert(fx.pool, deque, 0, &value)), PMS_MISSING);
    CHECK_EQ(pms_list_len(fx.pool, deque), 0);
    fixture_sound(fx.pool);
    fixture_drop_object(&fx, "deque");
}

/* A bound that damage has made too small stops whoever adds, before anything is changed. */
static void test_a_damaged_bound_is_told(void)
{
    struct pms_val value = value_of(1);
    new_deque(0);
    for (int i = 0; i < 3; i++)
        do_push(PMS_DEQUE_RIGHT);
    for (uint64_t bound = 1; bound <= 3; bound++) {
        fixture_begin(fx.pool);
        fixture_enter(fx.pool);
        pms_put(fx.pool, deque + offsetof(struct pms_list_pm, bound), bound);
        CHECK_EQ(fixture_leave(fx.pool, PMS_OK), PMS_OK);
        CHECK_EQ(OP(fx.pool, pms_deque_push(fx.pool, deque, PMS_DEQUE_LEFT, &value)),
                 PMS_E_CORRUPT);
        CHECK_EQ(OP(fx.pool, pms_deque_insert(fx.pool, deque, 0, &value)), PMS_E_CORRUPT);
        CHECK_EQ(OP(fx.pool, pms_deque_rotate(fx.pool, deque, 1)), PMS_E_CORRUPT);
        CHECK_EQ(pms_tx_abort(fx.pool, 1), PMS_OK);
    }
    same_as_model();
    fixture_sound(fx.pool);
    fixture_drop_object(&fx, "deque");
}

static void run_all(const char *parent)
{
    if (!fixture_usable(parent))
        return;
    fixture_make(&fx, parent);
    seed = 88172645463325252ull;
    next_id = 1;
    test_deques_do_what_arrays_do();
    test_work_that_is_rolled_back_leaves_nothing();
    test_a_long_deque_grows_at_the_left_and_turns();
    test_what_makes_no_sense_is_refused();
    test_a_deque_may_hold_nothing();
    test_a_damaged_bound_is_told();
    fixture_remove(&fx);
}

int main(void)
{
    run_all("/dev/shm");
    run_all(".");
    return 0;
}
