/* test_object.c -- containers live as long as a cell or a handle needs them, and no longer.
 *
 * References, the list of orphans, reaping, handles: on a tmpfs file and on a file in the
 * working directory, where there are such.
 */
#include "pool_fixture.h"

static struct fixture fx;
static uint64_t dict;

static struct pms_key int_key(int64_t number)
{
    return (struct pms_key){
        .tag = PMS_TAG_INT, .stored_tag = PMS_TAG_INT, .num = (uint64_t)number};
}

static int put(uint64_t into, int64_t number, struct pms_val value)
{
    struct pms_key key = int_key(number);
    return OP(fx.pool, pms_dict_set(fx.pool, into, &key, &value));
}

static void do_set(uint32_t number)
{
    CHECK_EQ(put(dict, number, (struct pms_val){.tag = PMS_TAG_INT, .num = number}), PMS_OK);
}

static int do_del(int64_t number)
{
    struct pms_key key = int_key(number);
    return OP(fx.pool, pms_dict_del(fx.pool, dict, &key));
}

/* A new container in a dict, in an open transaction; returns its offset. */
static uint64_t put_new(uint64_t into, int64_t number, uint32_t tag)
{
    struct pms_val value = {.tag = tag};
    CHECK_EQ(OP(fx.pool, pms_object_create(fx.pool, tag, &value.num)), PMS_OK);
    CHECK_EQ(put(into, number, value), PMS_OK);
    return value.num;
}

static void new_dict(const char *name)
{
    CHECK_EQ(OP(fx.pool, fixture_put_object(&fx, PMS_TAG_DICT, name, &dict)), PMS_OK);
}

static uint64_t orphans(void)
{
    struct pms_check_result result;
    CHECK_EQ(fixture_problems(fx.pool, 0, &result), 0);
    CHECK_EQ(result.leaked_bytes, 0);
    return result.orphans;
}

static void collect(void)
{
    uint64_t freed = 0;
    CHECK_EQ(pms_pool_collect(fx.pool, &freed), PMS_OK);
}

static void drop_dict(const char *name)
{
    struct pms_key key = fixture_key(name);
    struct pms_check_result result;
    CHECK_EQ(OP(fx.pool, pms_dict_del(fx.pool, fx.root, &key)), PMS_OK);
    collect();
    CHECK_EQ(fixture_problems(fx.pool, 0, &result), 0);
    CHECK_EQ(result.orphans, 0);
    CHECK_EQ(result.objects, 1);
}

static uint64_t refs_of(uint64_t object)
{
    CHECK_EQ(pms_enter_read_wait(fx.pool, NULL, -1), PMS_OK);
    uint64_t refs = pms_get(fx.pool, object + offsetof(struct pms_object_pm, refs));
    pms_leave_read(fx.pool);
    return refs;
}

static struct pms_handle *handle_of(uint64_t object)
{
    CHECK_EQ(pms_enter_read_wait(fx.pool, NULL, -1), PMS_OK);
    struct pms_handle *handle = pms_handle_get(fx.pool, object, PMS_TAG_DICT);
    pms_leave_read(fx.pool);
    CHECK(handle != NULL);
    return handle;
}

/* ---- the tests ---- */

/* A dict in a dict in a dict: dropping the outermost frees all, without recursion. */
static void test_nested_dicts_are_torn_down(void)
{
    new_dict("nested");
    uint64_t outer = dict;
    fixture_begin(fx.pool);
    for (int i = 0; i < 3000; i++) {
        uint64_t inner = put_new(outer, i, i % 5 ? PMS_TAG_DICT : PMS_TAG_LIST);
        if (i % 5 == 1)
            outer = inner;
    }
    fixture_commit(fx.pool);
    fixture_sound(fx.pool);
    drop_dict("nested");
}

/* d[k] = d[k] keeps the container; a handle keeps what was deleted; it can come back. */
static void test_containers_live_as_long_as_they_are_referred_to(void)
{
    new_dict("alive");
    fixture_begin(fx.pool);
    struct pms_val inner = {.tag = PMS_TAG_DICT, .num = put_new(dict, 1, PMS_TAG_DICT)};
    fixture_commit(fx.pool);
    CHECK_EQ(put(dict, 1, inner), PMS_OK);
    CHECK_EQ(refs_of(inner.num), 1);
    struct pms_handle *handle = handle_of(inner.num);
    CHECK(handle_of(inner.num) == handle);
    pms_handle_put(handle);
    CHECK_EQ(do_del(1), PMS_OK);
    collect();
    CHECK_EQ(refs_of(inner.num), 0);
    CHECK_EQ(orphans(), 1);
    CHECK_EQ(put(dict, 1, inner), PMS_OK);
    CHECK_EQ(refs_of(inner.num), 1);
    CHECK_EQ(orphans(), 0);
    CHECK_EQ(do_del(1), PMS_OK);
    pms_handle_put(handle);
    for (uint32_t id = 0; id < 3; id++)
        do_set(id);
    CHECK_EQ(orphans(), 0); /* other units of work have torn it down */
    drop_dict("alive");
}

/* Many orphans that handles pin do not keep those behind them from being torn down. */
static void test_pinned_orphans_do_not_block_the_others(void)
{
    enum { N = 500 };
    struct pms_handle *handle[N];
    new_dict("pinned");
    fixture_begin(fx.pool);
    for (int i = 0; i < 2 * N; i++) {
        uint64_t inner = put_new(dict, i, PMS_TAG_DICT);
        if (i >= N)
            handle[i - N] = handle_of(inner);
    }
    fixture_commit(fx.pool);
    CHECK_EQ(OP(fx.pool, pms_dict_clear(fx.pool, dict)), PMS_OK);
    collect();
    CHECK_EQ(orphans(), N);
    CHECK_EQ(fx.pool->reap_due, 0);
    for (int i = 0; i < N; i++)
        pms_handle_put(handle[i]);
    for (uint32_t id = 0; id < 1000; id++)
        do_set(id);
    CHECK_EQ(orphans(), 0);
    drop_dict("pinned");
}

/* What a crash, here a close, leaves of the orphans is torn down after the next open. */
static void test_orphans_are_torn_down_after_a_reopen(void)
{
    new_dict("reopen");
    fixture_begin(fx.pool);
    for (uint32_t id = 0; id < 5000; id++)
        do_set(id);
    fixture_commit(fx.pool);
    CHECK_EQ(OP(fx.pool, pms_dict_clear(fx.pool, dict)), PMS_OK);
    CHECK_EQ(orphans(), 1);
    fixture_reopen(&fx);
    CHECK_EQ(orphans(), 1);
    for (uint32_t id = 0; id < 5000; id++)
        do_set(id);
    CHECK_EQ(orphans(), 0);
    drop_dict("reopen");
}

/* Versions count what moves entries; roll-back makes handles of the unborn stale. */
static void test_handles_see_changes_and_roll_backs(void)
{
    new_dict("handles");
    struct pms_handle *handle = handle_of(dict);
    uint64_t version = handle->version;
    do_set(0);
    CHECK_EQ(handle->version, version + 1);
    do_set(0);
    CHECK_EQ(handle->version, version + 1);
    CHECK_EQ(do_del(0), PMS_OK);
    CHECK_EQ(handle->version, version + 2);
    do_set(0);
    CHECK_EQ(OP(fx.pool, pms_dict_clear(fx.pool, dict)), PMS_OK);
    CHECK_EQ(handle->version, version + 4);
    fixture_begin(fx.pool);
    struct pms_handle *unborn = handle_of(put_new(dict, 7, PMS_TAG_DICT));
    CHECK_EQ(pms_tx_abort(fx.pool, 1), PMS_OK);
    CHECK_EQ(unborn->state, PMS_HANDLE_STALE);
    CHECK_EQ(handle->state, PMS_HANDLE_LIVE);
    CHECK_EQ(pms_enter_write_wait(fx.pool, unborn, -1), PMS_E_STALE);
    pms_handle_put(unborn);
    pms_handle_put(handle);
    fixture_sound(fx.pool);
    drop_dict("handles");
}

/* A handle that outlives its pool is still valid memory. */
static void test_a_handle_may_outlive_the_pool(void)
{
    struct pms_handle *handle = handle_of(fx.root);
    CHECK_EQ(pms_pool_close(fx.pool), PMS_OK);
    pms_pool_drop(fx.pool);
    CHECK_EQ(handle->off, fx.root);
    pms_handle_put(handle);
    CHECK_EQ(fixture_try_open(&fx, 'w'), PMS_OK);
}

static void run_all(const char *parent)
{
    if (!fixture_usable(parent))
        return;
    fixture_make(&fx, parent);
    test_nested_dicts_are_torn_down();
    test_containers_live_as_long_as_they_are_referred_to();
    test_pinned_orphans_do_not_block_the_others();
    test_orphans_are_torn_down_after_a_reopen();
    test_handles_see_changes_and_roll_backs();
    test_a_handle_may_outlive_the_pool();
    fixture_remove(&fx);
}

int main(void)
{
    run_all("/dev/shm");
    run_all(".");
    return 0;
}
