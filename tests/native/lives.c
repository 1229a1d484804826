/* lives.c -- units of work and what is left of them.  lives.h is the manual. */
#include "lives.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"

#define ITEMS 300u
#define CONTENTS_BYTES 150000u
#define LARGE_BYTES 700000u
#define TEXT_BYTES 3000u

void (*life_context)(void);

void life_wrong(const char *file, int line, const char *what)
{
    fprintf(stderr, "%s:%d: failed: %s\n", file, line, what);
    const struct pms_detail *d = pms_detail();
    fprintf(stderr, "  the core's latest: %s (errno %d), %s:%d\n", d->what ? d->what : "-",
            d->sys_errno, d->file ? d->file : "-", d->line);
    if (life_context)
        life_context();
    exit(1);
}

int life_status(struct life *life, int status)
{
    if (status == PMS_OK || status == PMS_MISSING || status == PMS_E_INTR)
        return status;
    /* What these say is not true of any pool here. */
    HOLDS(status != PMS_E_CORRUPT && status != PMS_E_FORMAT && status != PMS_E_BUSY);
    HOLDS(status >= PMS_E_FULL && status < PMS_E_WAIT);
    HOLDS(pms_detail()->what != NULL);
    if (life->status == PMS_OK)
        life->status = status;
    life->dead |= status == PMS_E_MEDIA;
    return status;
}

/* ---- one call ---- */

int life_open(struct life *life, const struct pms_options *options)
{
    int status = CALL(life, pms_pool_open(life->path, options, &life->pool));
    if (status != PMS_OK) {
        HOLDS(life->pool == NULL);
        return status;
    }
    struct pms_handle *root = NULL;
    status = CALL(life, pms_pool_root(life->pool, &root));
    if (status == PMS_OK) {
        life->root = root->off;
        pms_handle_put(root);
    }
    return status;
}

int life_close(struct life *life)
{
    int status = CALL(life, pms_pool_close(life->pool));
    pms_pool_drop(life->pool);
    life->pool = NULL;
    return status;
}

static int enter(struct life *life)
{
    int status;
    do {
        status = CALL(life, pms_enter_write_wait(life->pool, NULL, -1));
    } while (status == PMS_E_INTR);
    return status;
}

static int durable(struct life *life, int status, uint64_t ticket)
{
    if (status == PMS_OK && ticket)
        status = CALL(life, pms_wait_durable(life->pool, ticket));
    return status;
}

/* An operation; `call` stands between enter and leave. */
#define OPERATION(life, status, call)                                                          \
    do {                                                                                       \
        uint64_t ticket_ = 0;                                                                  \
        (status) = enter(life);                                                                \
        if ((status) == PMS_OK) {                                                              \
            pms_detail()->what = NULL;                                                         \
            (status) = pms_leave_write((life)->pool, (call), &ticket_);                        \
            (status) = durable((life), life_status((life), (status)), ticket_);                \
        }                                                                                      \
    } while (0)

static struct pms_key key_of(const char *name)
{
    return (struct pms_key){
        .tag = PMS_TAG_STR, .stored_tag = PMS_TAG_STR, .data = name, .len = strlen(name)};
}

/* Bytes that tell where they are. */
static const void *pattern(uint32_t seed)
{
    static uint8_t bytes[LARGE_BYTES + 4096];
    if (!bytes[0])
        for (uint32_t i = 0; i < sizeof bytes; i++)
            bytes[i] = (uint8_t)(1 + i % 251 + i / 251 % 3);
    return bytes + seed * 7;
}

static struct pms_val number(uint64_t n)
{
    return (struct pms_val){.tag = PMS_TAG_INT, .num = n};
}

static struct pms_val text(uint32_t seed, uint64_t len)
{
    return (struct pms_val){.tag = PMS_TAG_BYTES, .data = pattern(seed), .len = len};
}

static int set_in(struct life *life, uint64_t dict, const char *name, struct pms_val value)
{
    struct pms_key key = key_of(name);
    int status;
    OPERATION(life, status, pms_dict_set(life->pool, dict, &key, &value));
    return status;
}

static int set(struct life *life, const char *name, struct pms_val value)
{
    return set_in(life, life->root, name, value);
}

/* In a transaction: what failed has been rolled back alone, and may be tried once more. */
static int set_twice(struct life *life, const char *name, struct pms_val value)
{
    int status = set(life, name, value);
    return status == PMS_OK ? status : set(life, name, value);
}

static int put_object(struct life *life, uint32_t tag, const char *name, uint64_t *off)
{
    struct pms_key key = key_of(name);
    int status = pms_object_create(life->pool, tag, off);
    struct pms_val value = {.tag = tag, .num = *off};
    return status == PMS_OK ? pms_dict_set(life->pool, life->root, &key, &value) : status;
}

static int begin(struct life *life, uint32_t depth)
{
    uint32_t got = 0;
    int status;
    do {
        status = CALL(life, pms_tx_begin_wait(life->pool, &got, -1));
    } while (status == PMS_E_INTR);
    HOLDS(status != PMS_OK || got == depth);
    return status;
}

/* The end of a transaction: committed if all went well. */
static int end(struct life *life, int status)
{
    uint64_t ticket = 0;
    if (status != PMS_OK) {
        HOLDS(CALL(life, pms_tx_abort(life->pool, 1)) == PMS_OK);
        return status == PMS_E_MEDIA ? PMS_E_POISONED : status; /* not of a commit */
    }
    status = CALL(life, pms_tx_commit(life->pool, 1, &ticket));
    status = durable(life, status, ticket);
    HOLDS(pms_tx_depth(life->pool) == 0);
    return status;
}

/* ---- reading ---- */

/* 1: the key has the value; 0: it is missing; -1: it has another one. */
static int has(struct life *life, const char *name, struct pms_val want)
{
    struct pms_key key = key_of(name);
    struct pms_val value;
    int status = pms_dict_get(life->pool, life->root, &key, &value);
    if (status == PMS_MISSING)
        return 0;
    if (status != PMS_OK || value.tag != want.tag)
        return -1;
    if (value.tag == PMS_TAG_BYTES)
        return value.len == want.len && !memcmp(value.data, want.data, want.len) ? 1 : -1;
    return value.num == want.num ? 1 : -1;
}

static uint64_t object_at(struct life *life, const char *name)
{
    struct pms_key key = key_of(name);
    struct pms_val value;
    int status = pms_dict_get(life->pool, life->root, &key, &value);
    return status == PMS_OK && pms_tag_is_object(value.tag) ? value.num : 0;
}

/* Does the list have `count` items, i + add each? */
static int list_is(struct life *life, uint64_t list, uint64_t count, uint64_t add)
{
    struct pms_val value;
    if (pms_list_len(life->pool, list) != count)
        return 0;
    for (uint64_t i = 0; i < count; i++)
        if (pms_list_get(life->pool, list, i, &value) != PMS_OK || value.tag != PMS_TAG_INT ||
            value.num != i + add)
            return 0;
    return 1;
}

/* ---- units, and how one sees whether they have been ---- */

static int run_text(struct life *life) { return set(life, "text", text(2, TEXT_BYTES)); }

static int run_delete(struct life *life)
{
    struct pms_key key = key_of("victim");
    int status;
    OPERATION(life, status, pms_dict_del(life->pool, life->root, &key));
    return status;
}

static int run_list(struct life *life)
{
    uint64_t list = 0;
    int status = begin(life, 1);
    if (status != PMS_OK)
        return status;
    OPERATION(life, status, put_object(life, PMS_TAG_LIST, "list", &list));
    for (uint64_t i = 0; status == PMS_OK && i < 70; i++) {
        struct pms_val value = number(i);
        OPERATION(life, status, pms_list_append(life->pool, list, &value));
        if (status != PMS_OK && i % 2) /* every other one gets a second chance */
            OPERATION(life, status, pms_list_append(life->pool, list, &value));
    }
    return end(life, status);
}

static int run_levels(struct life *life)
{
    uint64_t ticket;
    int status = begin(life, 1);
    if (status != PMS_OK)
        return status;
    status = set_twice(life, "outer", text(3, 2000));
    if (status == PMS_OK && (status = begin(life, 2)) == PMS_OK) {
        (void)set(life, "inner", text(4, 2000));
        (void)set(life, "text", number(0));
        HOLDS(CALL(life, pms_tx_abort(life->pool, 2)) == PMS_OK);
        status = set_twice(life, "middle", text(5, 2000));
    }
    if (status == PMS_OK && (status = begin(life, 2)) == PMS_OK) {
        status = set_twice(life, "kept", text(6, 40000));
        if (status == PMS_OK)
            status = CALL(life, pms_tx_commit(life->pool, 2, &ticket));
    }
    return end(life, status);
}

static int run_aborted(struct life *life)
{
    char name[24];
    uint64_t bump = object_at(life, "bump");
    int status = begin(life, 1), one;
    if (status != PMS_OK)
        return status;
    for (uint64_t i = 0; i < ITEMS; i++) {
        struct pms_val value = number(7);
        OPERATION(life, one, pms_list_set(life->pool, bump, i, &value));
        snprintf(name, sizeof name, "gone %u", (unsigned)i % 40);
        if (one == PMS_OK && i % 3 == 0)
            (void)set(life, name, text((uint32_t)i % 9, i * 5));
    }
    (void)one;
    HOLDS(CALL(life, pms_tx_abort(life->pool, 1)) == PMS_OK);
    return PMS_E_TX; /* must be as before */
}

static int run_bump(struct life *life)
{
    uint64_t bump = object_at(life, "bump");
    int status = begin(life, 1);
    if (status != PMS_OK)
        return status;
    for (uint64_t i = 0; status == PMS_OK && i < ITEMS; i++) {
        struct pms_val value = number(i + 1);
        OPERATION(life, status, pms_list_set(life->pool, bump, i, &value));
        if (status != PMS_OK && i % 2)
            OPERATION(life, status, pms_list_set(life->pool, bump, i, &value));
    }
    return end(life, status);
}

static int run_look(struct life *life)
{
    struct pms_stats stats;
    struct pms_heap_stats heap;
    struct pms_check_result result = {0};
    struct pms_handle *root = NULL;
    (void)CALL(life, pms_pool_stats(life->pool, &stats));
    (void)CALL(life, pms_pool_heap_stats(life->pool, &heap));
    if (CALL(life, pms_pool_root(life->pool, &root)) == PMS_OK)
        pms_handle_put(root);
    int status = CALL(life, pms_enter_read_wait(life->pool, NULL, -1));
    if (status == PMS_OK) {
        status = CALL(life, pms_pool_check(life->pool, NULL, NULL, &result));
        HOLDS(status != PMS_OK || result.problems == 0);
        (void)CALL(life, pms_leave_read(life->pool));
    }
    return status;
}

static int run(struct life *life, enum unit unit)
{
    uint64_t freed;
    int status;
    switch (unit) {
    case UNIT_NUMBER:
        return set(life, "number", number(42));
    case UNIT_TEXT:
        return run_text(life);
    case UNIT_CONTENTS:
        return set(life, "contents", text(1, CONTENTS_BYTES));
    case UNIT_DELETE:
        return run_delete(life);
    case UNIT_LIST:
        return run_list(life);
    case UNIT_LEVELS:
        return run_levels(life);
    case UNIT_ABORTED:
        return run_aborted(life);
    case UNIT_BUMP:
        return run_bump(life);
    case UNIT_LARGE:
        return set(life, "large", text(2, LARGE_BYTES));
    case UNIT_GROW:
        return CALL(life, pms_pool_grow(life->pool, life->pool->super.size + (1u << 20)));
    case UNIT_CHECKPOINT:
        return CALL(life, pms_pool_checkpoint(life->pool));
    case UNIT_COLLECT:
        do {
            status = CALL(life, pms_pool_collect(life->pool, &freed));
        } while (status == PMS_E_INTR);
        return status;
    case UNIT_LOOK:
        return run_look(life);
    case UNIT_CLOSE:
        return life_close(life);
    case UNIT_LATER:
        return set(life, "later", number(43));
    default:
        return set(life, "again", text(4, 5000));
    }
}

int life_unit(struct life *life, enum unit unit)
{
    int status = run(life, unit);
    life->expected[unit] = status == PMS_OK ? AFTER : status == PMS_E_MEDIA ? EITHER : BEFORE;
    return status;
}

/* 0 as before the unit, 1 as after it, -1 neither; 2: it leaves no trace. */
static int seen(struct life *life, enum unit unit)
{
    uint64_t list;
    int outer, kept, middle;
    switch (unit) {
    case UNIT_NUMBER:
        return has(life, "number", number(42));
    case UNIT_TEXT:
        if (has(life, "text", text(1, TEXT_BYTES)) == 1)
            return 0;
        return has(life, "text", text(2, TEXT_BYTES)) == 1 ? 1 : -1;
    case UNIT_CONTENTS:
        return has(life, "contents", text(1, CONTENTS_BYTES));
    case UNIT_DELETE:
        list = object_at(life, "victim");
        return !list ? 1 : pms_dict_len(life->pool, list) == 60 ? 0 : -1;
    case UNIT_LIST:
        list = object_at(life, "list");
        return !list ? 0 : list_is(life, list, 70, 0) ? 1 : -1;
    case UNIT_LEVELS:
        outer = has(life, "outer", text(3, 2000));
        middle = has(life, "middle", text(5, 2000));
        kept = has(life, "kept", text(6, 40000));
        return outer == middle && middle == kept && has(life, "inner", number(0)) == 0 ? outer
                                                                                       : -1;
    case UNIT_ABORTED:
        return has(life, "gone 0", number(0));
    case UNIT_BUMP:
        list = object_at(life, "bump");
        if (!list)
            return -1;
        return list_is(life, list, ITEMS, 0) ? 0 : list_is(life, list, ITEMS, 1) ? 1 : -1;
    case UNIT_LARGE:
        return has(life, "large", text(2, LARGE_BYTES));
    case UNIT_LATER:
        return has(life, "later", number(43));
    case UNIT_AGAIN:
        return has(life, "again", text(4, 5000));
    default:
        return 2;
    }
}

static int needs_furniture(enum unit unit)
{
    return unit == UNIT_TEXT || unit == UNIT_DELETE || unit == UNIT_BUMP;
}

static uint64_t known_problems;

/* After a sync that failed in growth one superblock is ahead, until the next open. */
static int problem(void *context, const char *what)
{
    const struct life *life = context;
    if (life->dead && strstr(what, "superblocks differ")) {
        known_problems++;
        return 0;
    }
    fprintf(stderr, "  problem: %s\n", what);
    return 0;
}

void life_verify(struct life *life)
{
    struct pms_check_result result;
    HOLDS(pms_enter_read_wait(life->pool, NULL, -1) == PMS_OK);
    known_problems = 0;
    HOLDS(pms_pool_check(life->pool, problem, life, &result) == PMS_OK);
    HOLDS(result.problems == known_problems);
    HOLDS(result.leaked_bytes == 0 && result.allocated_bytes == result.reachable_bytes);
    int bare = life->bare && !object_at(life, "bump");
    for (enum unit unit = 0; unit < UNITS; unit++) {
        int now = bare && needs_furniture(unit) ? 2 : seen(life, unit);
        if (now != 2 && (now < 0 || (life->expected[unit] != EITHER &&
                                     now != (life->expected[unit] == AFTER)))) {
            fprintf(stderr, "  unit %d: expected %d, seen %d\n", (int)unit,
                    (int)life->expected[unit], now);
            HOLDS(!"a unit is there, whole, if it was acknowledged, and else not");
        }
        if (now == 0 || now == 1)
            life->expected[unit] = now ? AFTER : BEFORE;
    }
    HOLDS(pms_leave_read(life->pool) == PMS_OK);
}

/* ---- files ---- */

void image_room(struct image *image, uint64_t size)
{
    if (size > image->room) {
        free(image->bytes);
        image->bytes = malloc(size);
        CHECK(image->bytes != NULL);
        image->room = size;
    }
    image->size = size;
}

void image_take(struct image *image, const char *path)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    CHECK(fd >= 0 && fstat(fd, &st) == 0);
    image_room(image, (uint64_t)st.st_size);
    CHECK_EQ(pread(fd, image->bytes, image->size, 0), (ssize_t)image->size);
    close(fd);
}

void image_put(const struct image *image, const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    CHECK(fd >= 0);
    CHECK_EQ(ftruncate(fd, (off_t)image->size), 0);
    CHECK_EQ(pwrite(fd, image->bytes, image->size, 0), (ssize_t)image->size);
    close(fd);
}

void image_free(struct image *image)
{
    free(image->bytes);
    *image = (struct image){0};
}

void life_again(struct life *life, enum unit unit)
{
    struct pms_options options = {.flag = 'w'};
    HOLDS(life_open(life, &options) == PMS_OK);
    life_verify(life);
    HOLDS(life_unit(life, unit) == PMS_OK);
    life_verify(life);
    HOLDS(life_close(life) == PMS_OK);
}

static void furnish(struct life *life)
{
    uint64_t off;
    int status;
    char name[24];
    OPERATION(life, status, put_object(life, PMS_TAG_LIST, "bump", &off));
    HOLDS(status == PMS_OK && begin(life, 1) == PMS_OK);
    for (uint64_t i = 0; i < ITEMS; i++) {
        struct pms_val value = number(i);
        OPERATION(life, status, pms_list_append(life->pool, off, &value));
        HOLDS(status == PMS_OK);
    }
    OPERATION(life, status, put_object(life, PMS_TAG_DICT, "victim", &off));
    for (int i = 0; i < 60; i++) {
        snprintf(name, sizeof name, "text %d", i);
        HOLDS(set_in(life, off, name, text((uint32_t)i, 400)) == PMS_OK);
    }
    HOLDS(set(life, "text", text(1, TEXT_BYTES)) == PMS_OK);
    HOLDS(end(life, status) == PMS_OK);
}

void life_first(struct life *life, struct image *closed, struct image *killed)
{
    struct pms_options options = {
        .flag = 'n', .size = POOL_BYTES, .limit = POOL_LIMIT, .log_bytes = POOL_LOG};
    uint64_t bump;
    int status;
    HOLDS(life_open(life, &options) == PMS_OK);
    furnish(life);
    HOLDS(life_close(life) == PMS_OK);
    image_take(closed, life->path);
    options.flag = 'w';
    HOLDS(life_open(life, &options) == PMS_OK);
    HOLDS(life_unit(life, UNIT_NUMBER) == PMS_OK);
    HOLDS(life_unit(life, UNIT_LIST) == PMS_OK);
    bump = object_at(life, "bump");
    HOLDS(begin(life, 1) == PMS_OK);
    for (uint64_t i = 0; i < ITEMS; i++) {
        struct pms_val value = number(99);
        OPERATION(life, status, pms_list_set(life->pool, bump, i, &value));
        HOLDS(status == PMS_OK);
    }
    image_take(killed, life->path);
    HOLDS(CALL(life, pms_tx_abort(life->pool, 1)) == PMS_OK);
    HOLDS(life_close(life) == PMS_OK);
}
