/* test_array.c -- a persistent array does what memory does, and leaves a sound pool behind.
 *
 * A model, bytes and a shape, sees the same operations; in transactions with roll-backs, too.  The
 * runs take place on a tmpfs file (direct) and on a file in the working directory (redo log),
 * where there are such.
 */
#include "pool_fixture.h"

#include "_native/array.h"

#define MODEL_MAX (1u << 20)

struct model {
    uint64_t len; /* bytes */
    uint32_t ndim;
    uint64_t shape[PMS_ARRAY_DIMS];
    uint8_t bytes[MODEL_MAX];
};

static struct fixture fx;
static uint64_t array;
static struct model model, before;
static uint64_t seed;
static uint32_t item;

static uint64_t draw(uint64_t below) { return below ? fixture_random(&seed) % below : 0; }

static uint64_t row(void)
{
    uint64_t bytes = model.ndim ? item : 0;
    for (uint32_t i = 1; i < model.ndim; i++)
        bytes *= model.shape[i];
    return bytes;
}

static void same_as_model(void)
{
    static uint8_t bytes[MODEL_MAX];
    struct pms_array a;
    CHECK_EQ(pms_enter_read_wait(fx.pool, NULL, -1), PMS_OK);
    CHECK_EQ(pms_array_load(fx.pool, array, &a), PMS_OK);
    CHECK_EQ(a.item, item);
    CHECK_EQ(a.ndim, model.ndim);
    CHECK(memcmp(a.shape, model.shape, 8 * model.ndim) == 0);
    CHECK_EQ(a.bytes, model.len);
    CHECK_EQ(a.start % PMS_LINE, 0);
    CHECK_EQ(pms_array_read(fx.pool, array, 0, model.len, bytes), PMS_OK);
    CHECK(memcmp(bytes, model.bytes, model.len) == 0);
    uint64_t at = draw(model.len), n = draw(model.len - at);
    CHECK_EQ(pms_array_read(fx.pool, array, at, n, bytes), PMS_OK);
    CHECK(memcmp(bytes, model.bytes + at, n) == 0);
    CHECK_EQ(pms_array_read(fx.pool, array, at, model.len - at + 1, bytes), PMS_MISSING);
    pms_leave_read(fx.pool);
}

static void fill(uint8_t *to, uint64_t len)
{
    for (uint64_t i = 0; i < len; i++)
        to[i] = (uint8_t)draw(4); /* so that some words stay as they are */
}

static void do_write(uint64_t most)
{
    uint64_t at = draw(model.len), n = draw(model.len - at + 1);
    n = n < most ? n : most;
    fill(model.bytes + at, n);
    CHECK_EQ(OP(fx.pool, pms_array_write(fx.pool, array, at, model.bytes + at, n)), PMS_OK);
}

static void do_append(uint64_t most)
{
    uint64_t rows = draw(most), n = rows * row();
    if (row() == 0 || model.len + n > MODEL_MAX)
        return;
    fill(model.bytes + model.len, n);
    CHECK_EQ(OP(fx.pool, pms_array_append(fx.pool, array, model.bytes + model.len, n)), PMS_OK);
    model.len += n;
    model.shape[0] += rows;
}

static void do_resize(uint64_t most)
{
    struct pms_array_shape to = {.item = item, .ndim = (uint32_t)draw(4)};
    uint64_t len = item;
    for (uint32_t i = 0; i < to.ndim; i++) {
        to.shape[i] = draw(i ? 6 : most);
        len *= to.shape[i];
    }
    if (len > MODEL_MAX)
        return;
    CHECK_EQ(OP(fx.pool, pms_array_resize(fx.pool, array, &to)), PMS_OK);
    if (len > model.len)
        memset(model.bytes + model.len, 0, len - model.len);
    model.len = len;
    model.ndim = to.ndim;
    memcpy(model.shape, to.shape, sizeof model.shape);
}

static void do_some(uint64_t most)
{
    switch (draw(8)) {
    case 0:
        do_resize(most);
        break;
    case 1:
    case 2:
        do_append(most);
        break;
    case 3:
        CHECK_EQ(OP(fx.pool, pms_array_reserve(fx.pool, array, draw(2 * model.len + 9))),
                 PMS_OK);
        break;
    default:
        do_write(40 * most);
    }
}

static void do_transaction(uint64_t most)
{
    static struct model inner;
    uint64_t n = 1 + draw(10), ticket;
    uint32_t depth;
    before = model;
    fixture_begin(fx.pool);
    while (n-- > 0) {
        if (draw(4)) {
            do_some(most);
            continue;
        }
        inner = model;
        CHECK_EQ(pms_tx_begin_wait(fx.pool, &depth, -1), PMS_OK);
        do_some(most);
        do_some(most);
        same_as_model();
        if (draw(2)) {
            CHECK_EQ(pms_tx_abort(fx.pool, depth), PMS_OK);
            model = inner;
        } else {
            CHECK_EQ(pms_tx_commit(fx.pool, depth, &ticket), PMS_OK);
        }
        same_as_model();
    }
    if (draw(3)) {
        fixture_commit(fx.pool);
    } else {
        CHECK_EQ(pms_tx_abort(fx.pool, 1), PMS_OK);
        model = before;
    }
}

static int set_up(uint32_t bytes, uint32_t ndim, const uint64_t *shape, const void *data)
{
    struct pms_val type = {.tag = PMS_TAG_STR, .data = "a type that is long", .len = 19};
    struct pms_array_shape to = {.item = bytes, .ndim = ndim};
    memcpy(to.shape, shape, 8 * ndim);
    PMS_TRY(fixture_put_object(&fx, PMS_TAG_ARRAY, "array", &array));
    return pms_array_setup(fx.pool, array, &type, &to, data);
}

static void make(uint32_t bytes, uint64_t count)
{
    item = bytes;
    model.ndim = 1;
    model.shape[0] = count;
    model.len = count * item;
    fill(model.bytes, model.len);
    CHECK_EQ(OP(fx.pool, set_up(bytes, 1, &count, model.bytes)), PMS_OK);
}

static void test_it_equals_memory_after_any_work(const char *parent, uint32_t bytes,
                                                 uint64_t most)
{
    seed = 11 + bytes;
    fixture_make(&fx, parent);
    make(bytes, 5);
    for (int i = 0; i < 150; i++) {
        if (draw(2))
            do_transaction(most);
        else
            do_some(most);
        same_as_model();
        fixture_sound(fx.pool);
        if (draw(20) == 0)
            fixture_reopen(&fx);
    }
    fixture_drop_object(&fx, "array");
    fixture_remove(&fx);
}

static void test_appends_seldom_copy(const char *parent)
{
    uint64_t number = 0, moves = 0, block = 0;
    struct pms_array a;
    fixture_make(&fx, parent);
    make(8, 0);
    for (; number < 20000; number++) {
        CHECK_EQ(OP(fx.pool, pms_array_append(fx.pool, array, &number, 8)), PMS_OK);
        CHECK_EQ(pms_array_load(fx.pool, array, &a), PMS_OK);
        moves += a.block != block;
        block = a.block;
    }
    CHECK(moves >= 5 && moves <= 16);
    CHECK(a.capacity <= 2 * a.bytes);
    fixture_remove(&fx);
}

static void test_shapes_that_cannot_be_are_refused(const char *parent)
{
    static const uint64_t shape[][3] = {{1ull << 40, 1ull << 40, 1},
                                        {UINT64_MAX, 2, 1},
                                        {0, 1ull << 63, 4},
                                        {1ull << 44, 0, 1}};
    struct pms_array_shape axes = {.item = 1, .ndim = PMS_ARRAY_DIMS + 1};
    struct pms_array_shape other = {.item = 4, .ndim = 1};
    struct pms_val type = {.tag = PMS_TAG_STR, .data = "<i2", .len = 3};
    fixture_make(&fx, parent);
    for (size_t i = 0; i < sizeof shape / sizeof shape[0]; i++)
        CHECK_EQ(OP(fx.pool, set_up(8, 3, shape[i], NULL)), PMS_E_INVAL);
    make(2, 10);
    CHECK_EQ(OP(fx.pool, pms_array_resize(fx.pool, array, &axes)), PMS_E_INVAL);
    CHECK_EQ(OP(fx.pool, pms_array_resize(fx.pool, array, &other)), PMS_E_INVAL);
    CHECK_EQ(OP(fx.pool, pms_array_setup(fx.pool, array, &type, &other, NULL)), PMS_E_INVAL);
    CHECK_EQ(OP(fx.pool, pms_array_append(fx.pool, array, "abc", 3)), PMS_E_INVAL);
    CHECK_EQ(OP(fx.pool, pms_array_write(fx.pool, array, 19, "ab", 2)), PMS_MISSING);
    same_as_model();
    fixture_sound(fx.pool);
    fixture_remove(&fx);
}

/* Each word of the header is replaced by each of some numbers: never a wild access, and what the
 * check calls sound can be read. */
static void test_forged_headers_are_refused_or_harmless(const char *parent)
{
    static const uint64_t forged[] = {0,
                                      1,
                                      7,
                                      8,
                                      64,
                                      1u << 20,
                                      UINT64_MAX,
                                      1ull << 63,
                                      1ull << 32,
                                      33ull << 32,
                                      2ull << 32 | 8,
                                      4096};
    static uint8_t bytes[MODEL_MAX];
    uint64_t refused = 0, tried = 0;
    fixture_make(&fx, parent);
    make(8, 500);
    for (uint64_t at = 32; at < offsetof(struct pms_array_pm, shape[2]); at += 8) {
        for (size_t i = 0; i < sizeof forged / sizeof forged[0]; i++) {
            struct pms_check_result result;
            struct pms_array a;
            uint32_t budget = 100;
            fixture_begin(fx.pool);
            CHECK_EQ(pms_enter_write_wait(fx.pool, NULL, -1), PMS_OK);
            uint64_t ticket;
            pms_put(fx.pool, array + at, forged[i]);
            CHECK_EQ(pms_leave_write(fx.pool, PMS_OK, &ticket), PMS_OK);
            uint64_t problems = fixture_problems(fx.pool, 1, &result);
            CHECK_EQ(pms_enter_write_wait(fx.pool, NULL, -1), PMS_OK);
            int status = pms_array_load(fx.pool, array, &a);
            if (status == PMS_OK)
                status = pms_array_read(fx.pool, array, 0,
                                        a.bytes < MODEL_MAX ? a.bytes : MODEL_MAX, bytes);
            CHECK(status == PMS_OK || status == PMS_E_CORRUPT);
            CHECK(status == PMS_OK || problems);
            refused += status != PMS_OK;
            tried++;
            status = pms_array_append(fx.pool, array, bytes, 8);
            CHECK(status == PMS_OK || status == PMS_E_CORRUPT || status == PMS_E_INVAL);
            status = pms_array_teardown(fx.pool, array, &budget);
            CHECK(status == PMS_OK || status == PMS_E_CORRUPT);
            (void)pms_leave_write(fx.pool, PMS_E_INVAL, &ticket);
            CHECK_EQ(pms_tx_abort(fx.pool, 1), PMS_OK);
        }
    }
    printf("%d headers forged, %d refused\n", (int)tried, (int)refused);
    CHECK(refused > tried / 3);
    same_as_model();
    fixture_sound(fx.pool);
    fixture_remove(&fx);
}

/* A view of the mapping outlives the pool, and then reads what the file has. */
static void test_a_view_keeps_the_mapping(const char *parent)
{
    struct pms_handle *handle;
    struct pms_array a;
    fixture_make(&fx, parent);
    make(1, 100000);
    struct pms_pool *pool = fx.pool;
    CHECK_EQ(pms_enter_read_wait(pool, NULL, -1), PMS_OK);
    handle = pms_handle_get(pool, array, PMS_TAG_ARRAY);
    CHECK_EQ(pms_array_load(pool, array, &a), PMS_OK);
    CHECK_EQ(pms_array_pending(pool, &a), 0);
    const uint8_t *bytes = pool->map.medium.base + a.start;
    pms_pool_view(pool);
    pms_pool_view(pool);
    pms_leave_read(pool);
    fixture_begin(pool);
    CHECK_EQ(OP(pool, pms_array_write(pool, array, 77, "!!", 2)), PMS_OK);
    CHECK_EQ(pms_array_pending(pool, &a), 1);
    CHECK(memcmp(bytes, model.bytes, model.len) == 0);
    CHECK_EQ(pms_tx_abort(pool, 1), PMS_OK);
    CHECK_EQ(pms_pool_close(pool), PMS_OK);
    pms_pool_drop(pool);
    CHECK(memcmp(bytes, model.bytes, model.len) == 0);
    CHECK_EQ(fixture_try_open(&fx, 'w'), PMS_OK); /* the lock is free */
    pms_pool_unview(pool);
    CHECK(memcmp(bytes, model.bytes, model.len) == 0);
    pms_pool_unview(pool);
    CHECK(pool->map.medium.base == NULL);
    pms_handle_put(handle);
    same_as_model();
    fixture_remove(&fx);
}

static void run(const char *parent)
{
    if (!fixture_usable(parent))
        return;
    test_it_equals_memory_after_any_work(parent, 1, 700);
    test_it_equals_memory_after_any_work(parent, 8, 90);
    test_it_equals_memory_after_any_work(parent, 24, 2000);
    test_appends_seldom_copy(parent);
    test_shapes_that_cannot_be_are_refused(parent);
    test_forged_headers_are_refused_or_harmless(parent);
    test_a_view_keeps_the_mapping(parent);
}

int main(void)
{
    run("/dev/shm");
    run(".");
    return 0;
}
