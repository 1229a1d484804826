/* pool_fixture.h -- a pool for a test: made in a directory, worked on, checked, reopened.
 *
 * Operations are written as  OP(pool, pms_list_append(pool, list, &value));  which enters the
 * pool, runs the call, leaves it and waits until it is durable.
 */
#ifndef PMS_TEST_POOL_FIXTURE_H
#define PMS_TEST_POOL_FIXTURE_H

#include "_native/check.h"
#include "_native/collect.h"
#include "_native/open.h"
#include "_native/table_impl.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"

struct fixture {
    char dir[64];
    char path[96];
    struct pms_pool *pool;
    uint64_t root; /* offset of the root dict */
};

/* Runs `call` as one operation and yields its status. */
#define OP(pool, call) (fixture_enter(pool), fixture_leave((pool), (call)))

static inline void fixture_enter(struct pms_pool *pool)
{
    CHECK_EQ(pms_enter_write_wait(pool, NULL, -1), PMS_OK);
}

static inline int fixture_leave(struct pms_pool *pool, int status)
{
    uint64_t ticket = 0;
    status = pms_leave_write(pool, status, &ticket);
    if (ticket)
        CHECK_EQ(pms_wait_durable(pool, ticket), PMS_OK);
    return status;
}

static inline void fixture_begin(struct pms_pool *pool)
{
    uint32_t depth = 0;
    CHECK_EQ(pms_tx_begin_wait(pool, &depth, -1), PMS_OK);
    CHECK_EQ(depth, 1);
}

static inline void fixture_commit(struct pms_pool *pool)
{
    uint64_t ticket = 0;
    CHECK_EQ(pms_tx_commit(pool, 1, &ticket), PMS_OK);
    if (ticket)
        CHECK_EQ(pms_wait_durable(pool, ticket), PMS_OK);
}

static inline int fixture_problem(void *context, const char *text)
{
    int *quiet = context;
    if (!*quiet)
        fprintf(stderr, "  problem: %s\n", text);
    return 0;
}

/* Runs the exhaustive check; prints what it finds unless quiet. */
static inline uint64_t fixture_problems(struct pms_pool *pool, int quiet,
                                        struct pms_check_result *out)
{
    CHECK_EQ(pms_enter_read_wait(pool, NULL, -1), PMS_OK);
    CHECK_EQ(pms_pool_check(pool, fixture_problem, &quiet, out), PMS_OK);
    pms_leave_read(pool);
    return out->problems;
}

static inline void fixture_sound(struct pms_pool *pool)
{
    struct pms_check_result result;
    CHECK_EQ(fixture_problems(pool, 0, &result), 0);
    CHECK_EQ(result.leaked_bytes, 0);
    CHECK_EQ(result.allocated_bytes, result.reachable_bytes);
}

static inline int fixture_try_open(struct fixture *f, char flag)
{
    struct pms_options options = {.flag = flag, .size = 4u << 20};
    f->pool = NULL;
    int status = pms_pool_open(f->path, &options, &f->pool);
    if (status != PMS_OK)
        return status;
    struct pms_handle *root = NULL;
    status = pms_pool_root(f->pool, &root);
    if (status == PMS_OK) {
        f->root = root->off;
        pms_handle_put(root);
    }
    return status;
}

static inline void fixture_close(struct fixture *f)
{
    CHECK_EQ(pms_pool_close(f->pool), PMS_OK);
    pms_pool_drop(f->pool);
    f->pool = NULL;
}

static inline void fixture_reopen(struct fixture *f)
{
    fixture_close(f);
    CHECK_EQ(fixture_try_open(f, 'w'), PMS_OK);
}

/* Is there such a directory here?  A test runs on those that there are. */
static inline int fixture_usable(const char *parent)
{
    return access(parent, W_OK | X_OK) == 0;
}

static inline void fixture_make(struct fixture *f, const char *parent)
{
    snprintf(f->dir, sizeof f->dir, "%s/pmemstore_test.XXXXXX", parent);
    CHECK(mkdtemp(f->dir) != NULL);
    snprintf(f->path, sizeof f->path, "%s/pool", f->dir);
    CHECK_EQ(fixture_try_open(f, 'n'), PMS_OK);
}

static inline void fixture_remove(struct fixture *f)
{
    if (f->pool)
        fixture_close(f);
    CHECK_EQ(unlink(f->path), 0);
    CHECK_EQ(rmdir(f->dir), 0);
}

static inline struct pms_key fixture_key(const char *name)
{
    return (struct pms_key){
        .tag = PMS_TAG_STR, .stored_tag = PMS_TAG_STR, .data = name, .len = strlen(name)};
}

/* A new object in the root dict under a name. */
static inline int fixture_put_object(struct fixture *f, uint32_t tag, const char *name,
                                     uint64_t *off)
{
    struct pms_key key = fixture_key(name);
    PMS_TRY(pms_object_create(f->pool, tag, off));
    struct pms_val value = {.tag = tag, .num = *off};
    return pms_dict_set(f->pool, f->root, &key, &value);
}

/* xorshift: the same numbers on each machine. */
static inline uint64_t fixture_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* The only object in the root dict goes, and everything that it had. */
static inline void fixture_drop_object(struct fixture *f, const char *name)
{
    struct pms_key key = fixture_key(name);
    struct pms_check_result result;
    uint64_t freed = 0;
    CHECK_EQ(OP(f->pool, pms_dict_del(f->pool, f->root, &key)), PMS_OK);
    CHECK_EQ(pms_pool_collect(f->pool, &freed), PMS_OK);
    CHECK_EQ(fixture_problems(f->pool, 0, &result), 0);
    CHECK_EQ(result.orphans, 0);
    CHECK_EQ(result.objects, 1);
}

static inline uint64_t fixture_buckets(struct pms_pool *pool, uint64_t dict)
{
    struct pms_dict_shape shape;
    CHECK_EQ(pms_enter_read_wait(pool, NULL, -1), PMS_OK);
    CHECK_EQ(pms_dict_shape(pool, dict, &shape), PMS_OK);
    pms_leave_read(pool);
    return pms_dict_buckets(&shape);
}

#endif
