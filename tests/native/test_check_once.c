/* test_check_once.c -- the check reads the bytes of a long key once, however many entries a forged
 * pool lets share them: or a key of a third of the pool in each of its entries would keep it busy
 * for days.
 *
 * A second entry is told that it is one, and nothing else about its key: all others of these keys
 * would be in the wrong bucket, or in the wrong order.
 */
#include "pool_fixture.h"

#include "_native/sorted_tree.h"
#include "_native/table_impl.h"

#define ENTRIES 40u
#define LENGTH 2000u

static struct fixture fx;
static uint64_t object;
static char text[LENGTH];

static void new_object(uint32_t tag)
{
    CHECK_EQ(OP(fx.pool, fixture_put_object(&fx, tag, "long keys", &object)), PMS_OK);
    memset(text, 'k', sizeof text);
}

/* The word at `at` is the offset of a long key: as in the first entry. */
static void share(uint32_t n, uint64_t at)
{
    static uint64_t first;
    if (n == 0)
        first = pms_get(fx.pool, at);
    CHECK(n == 0 || pms_get(fx.pool, at) != first);
    pms_put(fx.pool, at, first);
}

/* Second users and blocks without one are told; the first that is met may be told to be in the
 * wrong place, by two problems. */
static void only_users_are_told(void)
{
    struct pms_check_result result;
    uint64_t problems = fixture_problems(fx.pool, 1, &result);
    CHECK(problems >= 2 * (ENTRIES - 1) && problems <= 2 * ENTRIES);
    CHECK_EQ(result.blobs, 1);
    CHECK_EQ(pms_tx_abort(fx.pool, 1), PMS_OK);
    fixture_sound(fx.pool);
    fixture_drop_object(&fx, "long keys");
}

static void test_a_dict_hashes_a_long_key_once(void)
{
    struct pms_val value = {.tag = PMS_TAG_NONE};
    uint64_t entry = 0;
    new_object(PMS_TAG_DICT);
    for (uint32_t n = 0; n < ENTRIES; n++) {
        struct pms_key key = {.tag = PMS_TAG_STR, .data = text, .len = sizeof text};
        key.stored_tag = key.tag;
        text[0] = (char)('0' + n);
        CHECK_EQ(OP(fx.pool, pms_dict_set(fx.pool, object, &key, &value)), PMS_OK);
    }
    fixture_sound(fx.pool);
    fixture_begin(fx.pool);
    fixture_enter(fx.pool);
    for (uint32_t n = 0; n < ENTRIES; n++) {
        CHECK_EQ(pms_dict_next(fx.pool, object, &entry), PMS_OK);
        share(n, PMS_ENTRY_KEY(entry));
    }
    CHECK_EQ(fixture_leave(fx.pool, PMS_OK), PMS_OK);
    only_users_are_told();
}

static void test_a_sorted_dict_compares_a_long_key_once(void)
{
    struct pms_val value = {.tag = PMS_TAG_NONE};
    uint64_t entry;
    new_object(PMS_TAG_SORTED_DICT);
    for (uint32_t n = 0; n < ENTRIES; n++) {
        struct pms_order_key key = {.order = PMS_ORDER_STR, .len = sizeof text};
        key.image = (const uint8_t *)text;
        key.stored = (struct pms_val){.tag = PMS_TAG_STR, .data = text, .len = sizeof text};
        text[0] = (char)('0' + n);
        key.prefix = pms_image_prefix(key.image, key.len);
        CHECK_EQ(OP(fx.pool, pms_sorted_set(fx.pool, object, &key, &value)), PMS_OK);
    }
    fixture_sound(fx.pool);
    fixture_begin(fx.pool);
    fixture_enter(fx.pool);
    for (uint32_t n = 0; n < ENTRIES; n++) {
        struct pms_sorted sorted;
        struct pms_sorted_path path;
        CHECK_EQ(pms_sorted_load(fx.pool, object, &sorted), PMS_OK);
        CHECK_EQ(pms_sorted_seek(fx.pool, &sorted, n, &path), PMS_OK);
        CHECK_EQ(pms_sorted_here(fx.pool, &path, &entry), PMS_OK);
        share(n, entry + 8);
    }
    CHECK_EQ(fixture_leave(fx.pool, PMS_OK), PMS_OK);
    only_users_are_told();
}

static void run_all(const char *parent)
{
    if (!fixture_usable(parent))
        return;
    fixture_make(&fx, parent);
    test_a_dict_hashes_a_long_key_once();
    test_a_sorted_dict_compares_a_long_key_once();
    fixture_remove(&fx);
}

int main(void)
{
    run_all("/dev/shm");
    run_all(".");
    return 0;
}
