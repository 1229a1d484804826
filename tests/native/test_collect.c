/* test_collect.c -- a collection frees what only garbage leads to, and nothing else.
 *
 * Rings, meshes and chains of containers are cut off from the root.  On a tmpfs file and on a
 * file in the working directory, where there are such.
 */
#include "pool_fixture.h"

#include <pthread.h>
#include <stdlib.h>

#define REFS(off) ((off) + offsetof(struct pms_object_pm, refs))
#define NODES 300

static struct fixture fx;
static uint64_t node[NODES];

static uint64_t make(uint32_t tag)
{
    uint64_t off = 0;
    CHECK_EQ(pms_object_create(fx.pool, tag, &off), PMS_OK);
    return off;
}

static uint32_t tag_of(uint64_t off) { return PMS_CELL_TAG(pms_get(fx.pool, off)); }

static void put(uint64_t into, int64_t number, const struct pms_val *value)
{
    struct pms_key key = {
        .tag = PMS_TAG_INT, .stored_tag = PMS_TAG_INT, .num = (uint64_t)number};
    if (tag_of(into) == PMS_TAG_LIST)
        CHECK_EQ(pms_list_append(fx.pool, into, value), PMS_OK);
    else
        CHECK_EQ(pms_dict_set(fx.pool, into, &key, value), PMS_OK);
}

static void refer(uint64_t from, int64_t number, uint64_t to)
{
    struct pms_val value = {.tag = tag_of(to), .num = to};
    put(from, number, &value);
}

static int set_root(const char *name, uint64_t object)
{
    struct pms_key key = fixture_key(name);
    struct pms_val value = {.tag = tag_of(object), .num = object};
    return pms_dict_set(fx.pool, fx.root, &key, &value);
}

static int del_root(const char *name)
{
    struct pms_key key = fixture_key(name);
    return pms_dict_del(fx.pool, fx.root, &key);
}

static uint64_t refs_of(uint64_t object)
{
    CHECK_EQ(pms_enter_read_wait(fx.pool, NULL, -1), PMS_OK);
    uint64_t refs = pms_get(fx.pool, REFS(object));
    pms_leave_read(fx.pool);
    return refs;
}

static struct pms_handle *handle_of(uint64_t object)
{
    CHECK_EQ(pms_enter_read_wait(fx.pool, NULL, -1), PMS_OK);
    struct pms_handle *handle = pms_handle_get(fx.pool, object, tag_of(object));
    pms_leave_read(fx.pool);
    CHECK(handle != NULL);
    return handle;
}

static uint64_t collect(void)
{
    uint64_t freed = 0;
    CHECK_EQ(pms_pool_collect(fx.pool, &freed), PMS_OK);
    CHECK_EQ(fx.pool->collecting, 0);
    return freed;
}

/* Sound, with so many objects. */
static void expect(uint64_t objects)
{
    struct pms_check_result result;
    CHECK_EQ(fixture_problems(fx.pool, 0, &result), 0);
    CHECK_EQ(result.leaked_bytes, 0);
    CHECK_EQ(result.orphans, 0);
    CHECK_EQ(result.objects, objects);
}

/* One unit: n objects in a ring, of all kinds, each with a value that has a block of its own; the
 * root refers to the first as "ring". */
static int build_ring(uint32_t n)
{
    static char big[3000];
    static const uint32_t tags[4] = {PMS_TAG_DICT, PMS_TAG_LIST, PMS_TAG_DICT, PMS_TAG_LIST};
    struct pms_val value = {.tag = PMS_TAG_BYTES, .data = big, .len = sizeof big};
    for (uint32_t i = 0; i < n; i++)
        node[i] = make(tags[i % 4]);
    for (uint32_t i = 0; i < n; i++) {
        put(node[i], 0, &value);
        refer(node[i], 1, node[(i + 1) % n]);
    }
    return set_root("ring", node[0]);
}

/* ---- the tests ---- */

static void test_rings_are_told_and_freed(void)
{
    struct pms_check_result result;
    for (uint32_t n = 1; n <= NODES; n += n < 4 ? 1 : 74) {
        CHECK_EQ(OP(fx.pool, build_ring(n)), PMS_OK);
        collect();
        expect(1 + n);
        CHECK_EQ(OP(fx.pool, del_root("ring")), PMS_OK);
        CHECK_EQ(fixture_problems(fx.pool, 1, &result), 1); /* one text for all of it */
        CHECK_EQ(result.objects, 1 + n);
        CHECK(result.leaked_bytes >= 3000ull * n);
        CHECK(collect() >= 3000ull * n);
        expect(1);
    }
}

/* What garbage refers to loses these references, and lives. */
static void test_live_objects_lose_the_references_of_garbage(void)
{
    fixture_enter(fx.pool);
    uint64_t live = make(PMS_TAG_LIST);
    CHECK_EQ(set_root("live", live), PMS_OK);
    CHECK_EQ(build_ring(5), PMS_OK);
    for (uint32_t i = 0; i < 5; i++)
        refer(node[i], 2 + i, live);
    refer(live, 0, live);
    CHECK_EQ(fixture_leave(fx.pool, PMS_OK), PMS_OK);
    CHECK_EQ(refs_of(live), 7);
    CHECK_EQ(OP(fx.pool, del_root("ring")), PMS_OK);
    collect();
    CHECK_EQ(refs_of(live), 2);
    expect(2);
    CHECK_EQ(OP(fx.pool, del_root("live")), PMS_OK);
    collect();
    expect(1);
}

/* Who looks at an object keeps it, and all that it leads to; nothing that leads to it. */
static void test_handles_keep_what_they_lead_to(void)
{
    fixture_enter(fx.pool);
    CHECK_EQ(build_ring(6), PMS_OK);
    uint64_t inner = make(PMS_TAG_DICT), leaf = make(PMS_TAG_LIST);
    refer(node[3], 7, inner);
    refer(inner, 0, leaf);
    CHECK_EQ(fixture_leave(fx.pool, PMS_OK), PMS_OK);
    struct pms_handle *whole = handle_of(node[2]), *part = handle_of(inner);
    CHECK_EQ(OP(fx.pool, del_root("ring")), PMS_OK);
    CHECK_EQ(collect(), 0);
    pms_handle_put(whole);
    CHECK(collect() >= 6 * 3000);
    CHECK_EQ(refs_of(inner), 0); /* an orphan that the handle pins */
    CHECK_EQ(refs_of(leaf), 1);
    struct pms_check_result result;
    CHECK_EQ(fixture_problems(fx.pool, 0, &result), 0);
    CHECK_EQ(result.objects, 3);
    CHECK_EQ(result.orphans, 1);
    CHECK_EQ(OP(fx.pool, set_root("back", inner)), PMS_OK); /* and may come back */
    pms_handle_put(part);
    collect();
    expect(3);
    CHECK_EQ(OP(fx.pool, del_root("back")), PMS_OK);
    collect();
    expect(1);
}

/* A ring behind an orphan that waits for its teardown goes in the same collection. */
static void test_what_only_orphans_lead_to_is_garbage(void)
{
    fixture_enter(fx.pool);
    uint64_t outer = make(PMS_TAG_LIST);
    CHECK_EQ(build_ring(4), PMS_OK);
    refer(outer, 0, node[1]);
    CHECK_EQ(set_root("outer", outer), PMS_OK);
    CHECK_EQ(del_root("ring"), PMS_OK);
    CHECK_EQ(fixture_leave(fx.pool, PMS_OK), PMS_OK);
    struct pms_handle *handle = handle_of(outer);
    CHECK_EQ(OP(fx.pool, del_root("outer")), PMS_OK);
    fixture_reopen(&fx); /* nobody looks at it any more, and nobody has reaped it */
    pms_handle_put(handle);
    collect();
    expect(1);
}

/* The contract that K2 needs of each kind: what still has references is emptied, not freed. */
static void test_every_kind_can_be_emptied(void)
{
    uint32_t kinds = 0;
    for (uint32_t tag = PMS_TAG_OBJECT_MIN; tag < PMS_TAG_OBJECT_MIN + PMS_TAG_OBJECTS; tag++) {
        uint64_t object;
        uint32_t budget = 100;
        if (!pms_tag_is_object(tag) ||
            OP(fx.pool, fixture_put_object(&fx, tag, "kind", &object)) != PMS_OK)
            continue; /* one that needs more than its tag to be made */
        kinds++;
        CHECK_EQ(OP(fx.pool, pms_kind_of(tag)->teardown(fx.pool, object, &budget)), PMS_OK);
        expect(2);
        CHECK_EQ(OP(fx.pool, del_root("kind")), PMS_OK);
        collect();
        expect(1);
    }
    CHECK(kinds >= 4);
}

/* Each refers to all the others, and there is more than one unit can empty. */
static void test_meshes_are_collected_in_many_units(void)
{
    fixture_begin(fx.pool);
    CHECK_EQ(OP(fx.pool, build_ring(NODES)), PMS_OK);
    for (uint32_t i = 0; i < NODES; i++) {
        fixture_enter(fx.pool);
        for (uint32_t j = 0; j < NODES; j++)
            refer(node[i], 2 + j, node[j]);
        CHECK_EQ(fixture_leave(fx.pool, PMS_OK), PMS_OK);
    }
    fixture_commit(fx.pool);
    CHECK_EQ(OP(fx.pool, del_root("ring")), PMS_OK);
    uint64_t commits = fx.pool->tx.commits;
    collect();
    CHECK(fx.pool->tx.commits - commits >= NODES * NODES / 4096);
    expect(1);
}

/* No byte is left, and still the garbage can be freed. */
static void test_a_full_pool_can_be_collected(void)
{
    static char big[20000];
    struct pms_key key = fixture_key("fill");
    struct pms_val value = {.tag = PMS_TAG_BYTES, .data = big, .len = sizeof big};
    uint64_t fill, limit = fx.pool->limit;
    CHECK_EQ(OP(fx.pool, build_ring(NODES)), PMS_OK);
    CHECK_EQ(OP(fx.pool, del_root("ring")), PMS_OK);
    CHECK_EQ(OP(fx.pool, fixture_put_object(&fx, PMS_TAG_LIST, "fill", &fill)), PMS_OK);
    fx.pool->limit = fx.pool->super.size;
    for (; value.len > 8; value.len /= 2)
        while (OP(fx.pool, pms_list_append(fx.pool, fill, &value)) == PMS_OK)
            ;
    CHECK(collect() >= 3000 * NODES);
    CHECK_EQ(OP(fx.pool, pms_dict_del(fx.pool, fx.root, &key)), PMS_OK);
    collect();
    expect(1);
    fx.pool->limit = limit;
}

static void flip(uint64_t at, uint64_t bits)
{
    fixture_enter(fx.pool);
    pms_put(fx.pool, at, pms_get(fx.pool, at) ^ bits);
    CHECK_EQ(fixture_leave(fx.pool, PMS_OK), PMS_OK);
}

/* Whatever else is wrong, nothing is freed: live data may look like garbage. */
static void test_damage_is_refused(void)
{
    struct pms_check_result before, after;
    struct pms_val none = {.tag = PMS_TAG_NONE};
    uint64_t freed = 1, live;
    CHECK_EQ(OP(fx.pool, fixture_put_object(&fx, PMS_TAG_LIST, "live", &live)), PMS_OK);
    CHECK_EQ(OP(fx.pool, pms_list_append(fx.pool, live, &none)), PMS_OK);
    CHECK_EQ(OP(fx.pool, build_ring(7)), PMS_OK);
    CHECK_EQ(OP(fx.pool, del_root("ring")), PMS_OK);
    const uint64_t place[] = {
        REFS(live),        REFS(node[0]),   node[0] + offsetof(struct pms_dict_pm, count),
        live + 32,         fx.root + 56,    PMS_ROOT_OFF + offsetof(struct pms_root_pm, root),
        PMS_RESERVED_OFF,  REFS(fx.root),   node[1],
        PMS_ROOT_OFF + 24, node[2] + 8 * 9, live + 16,
    };
    for (size_t i = 0; i < sizeof place / sizeof place[0]; i++) {
        flip(place[i], 16);
        fixture_problems(fx.pool, 1, &before);
        uint64_t commits = fx.pool->tx.commits;
        CHECK_EQ(pms_pool_collect(fx.pool, &freed), PMS_E_CORRUPT);
        CHECK_EQ(fx.pool->tx.commits, commits);
        CHECK_EQ(fx.pool->collecting, 0);
        fixture_problems(fx.pool, 1, &after);
        CHECK_EQ(memcmp(&before, &after, sizeof before), 0);
        flip(place[i], 16);
    }
    collect();
    expect(2);
    CHECK_EQ(OP(fx.pool, del_root("live")), PMS_OK);
    collect();
    expect(1);
}

static void test_not_in_a_transaction(void)
{
    uint64_t freed;
    fixture_begin(fx.pool);
    CHECK_EQ(pms_pool_collect(fx.pool, &freed), PMS_E_TX);
    CHECK_EQ(pms_tx_abort(fx.pool, 1), PMS_OK);
}

/* ---- threads ---- */

#define ROUNDS 60

static void *collector(void *unused)
{
    uint64_t freed;
    for (int i = 0; i < ROUNDS; i++) {
        int status = pms_pool_collect(fx.pool, &freed);
        CHECK(status == PMS_OK || status == PMS_E_INTR || status == PMS_E_WAIT);
        usleep(500);
    }
    return unused;
}

static void *writer(void *name)
{
    for (int i = 0; i < ROUNDS; i++) {
        uint64_t ring[20];
        struct pms_key key = fixture_key(name);
        int status;
        do
            status = pms_enter_write_wait(fx.pool, NULL, -1);
        while (status == PMS_E_INTR);
        CHECK_EQ(status, PMS_OK);
        for (int k = 0; k < 20; k++)
            ring[k] = make(k % 2 ? PMS_TAG_LIST : PMS_TAG_DICT);
        for (int k = 0; k < 20; k++)
            refer(ring[k], k, ring[(k + 1) % 20]);
        CHECK_EQ(fixture_leave(fx.pool, set_root(name, ring[3])), PMS_OK);
        do
            status = pms_enter_write_wait(fx.pool, NULL, -1);
        while (status == PMS_E_INTR);
        CHECK_EQ(fixture_leave(fx.pool, pms_dict_del(fx.pool, fx.root, &key)), PMS_OK);
    }
    return NULL;
}

/* Two collect, two make garbage, and commits of all of them would like to reap. */
static void test_threads(void)
{
    pthread_t thread[4];
    CHECK_EQ(pthread_create(&thread[0], NULL, collector, NULL), 0);
    CHECK_EQ(pthread_create(&thread[1], NULL, collector, NULL), 0);
    CHECK_EQ(pthread_create(&thread[2], NULL, writer, "one"), 0);
    CHECK_EQ(pthread_create(&thread[3], NULL, writer, "two"), 0);
    for (int i = 0; i < 4; i++)
        CHECK_EQ(pthread_join(thread[i], NULL), 0);
    collect();
    expect(1);
}

static void run_all(const char *parent)
{
    if (!fixture_usable(parent))
        return;
    fixture_make(&fx, parent);
    test_rings_are_told_and_freed();
    test_live_objects_lose_the_references_of_garbage();
    test_handles_keep_what_they_lead_to();
    test_what_only_orphans_lead_to_is_garbage();
    test_every_kind_can_be_emptied();
    test_meshes_are_collected_in_many_units();
    test_a_full_pool_can_be_collected();
    test_damage_is_refused();
    test_not_in_a_transaction();
    test_threads();
    fixture_remove(&fx);
}

int main(void)
{
    run_all("/dev/shm");
    run_all(".");
    return 0;
}
