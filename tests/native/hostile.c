/* hostile.c -- walking, changing and judging pools that may be anything.  hostile.h tells. */
#include "hostile.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "_native/vec_deque.h"
#include "hash.h"

#define HASHED_MAX (64ull << 20) /* bytes of values that one walk looks at */

char hostile_story[160];

#define RULE(condition, ...)                                                                   \
    do {                                                                                       \
        if (!(condition)) {                                                                    \
            fprintf(stderr, "%s:%d: rule broken: %s: ", __FILE__, __LINE__, #condition);       \
            fprintf(stderr, __VA_ARGS__);                                                      \
            fprintf(stderr, "\n  while: %s", hostile_story);                                   \
            const struct pms_detail *detail_ = pms_detail();                                   \
            fprintf(stderr, "\n  last refusal: %s at %s:%d, offset %" PRIu64 "\n",             \
                    detail_->what ? detail_->what : "none",                                    \
                    detail_->file ? detail_->file : "", (int)detail_->line, detail_->off);     \
            abort();                                                                           \
        }                                                                                      \
    } while (0)

/* ---- reading ---- */

struct walk {
    struct pms_pool *pool;
    struct hostile_look *look;
    uint64_t hashed;
    uint32_t slot[2 * HOSTILE_OBJECTS_MAX]; /* offset -> number in look->object, plus 1 */
};

static int step(struct walk *w)
{
    RULE(++w->look->steps < HOSTILE_STEPS_MAX, "the walk does not end");
    return PMS_OK;
}

static void mix(uint64_t *hash, uint64_t word) { *hash = pms_hash(&word, 8, *hash); }

/* Remember an object; its number. */
static uint32_t meet(struct walk *w, uint64_t off, uint32_t tag)
{
    struct hostile_look *look = w->look;
    uint32_t slots = 2 * HOSTILE_OBJECTS_MAX;
    uint32_t i = (uint32_t)((off >> 4) * 0x9e3779b97f4a7c15ull >> 40) % slots;
    for (; w->slot[i]; i = (i + 1) % slots)
        if (look->object[w->slot[i] - 1] == off)
            return w->slot[i] - 1;
    if (look->objects == HOSTILE_OBJECTS_MAX)
        return UINT32_MAX;
    look->object[look->objects] = off;
    look->tag[look->objects] = tag;
    w->slot[i] = ++look->objects;
    return look->objects - 1;
}

static void see_bytes(struct walk *w, const struct pms_val *v)
{
    uint64_t len = v->len;
    w->hashed += len;
    if (w->hashed > HASHED_MAX && len > 64)
        len = 64;
    mix(&w->look->state, len ? pms_hash(v->data, len, v->len) : 0);
    if (len < v->len) /* its last byte is readable too */
        mix(&w->look->state, ((const uint8_t *)v->data)[v->len - 1]);
}

static void see_value(struct walk *w, const struct pms_val *v)
{
    mix(&w->look->state, v->tag);
    if (pms_tag_is_bytes(v->tag)) {
        see_bytes(w, v);
    } else if (pms_tag_is_object(v->tag)) {
        uint32_t number = meet(w, v->num, v->tag);
        mix(&w->look->state, number);
        mix(&w->look->shape, number);
    } else {
        mix(&w->look->state, v->num);
    }
}

/* The key of an entry finds that entry's value. */
static int look_up(struct walk *w, uint64_t dict, const struct pms_val *k)
{
    struct pms_key key = {
        .tag = k->tag, .stored_tag = k->tag, .num = k->num, .data = k->data, .len = k->len};
    struct pms_val value;
    if (k->tag == PMS_TAG_PACKED) /* the image is the binding's */
        return PMS_OK;
    if (k->tag == PMS_TAG_TRUE || k->tag == PMS_TAG_FALSE) {
        key.tag = PMS_TAG_INT;
        key.num = k->tag == PMS_TAG_TRUE;
    }
    int status = pms_dict_get(w->pool, dict, &key, &value);
    return status == PMS_MISSING ? PMS_E_CORRUPT : status;
}

static int see_dict(struct walk *w, uint64_t dict)
{
    uint64_t entry = 0, back = 0, n = 0, m = 0;
    struct pms_val key, value;
    for (;;) {
        PMS_TRY(step(w));
        PMS_TRY(pms_dict_next(w->pool, dict, &entry));
        if (!entry)
            break;
        PMS_TRY(pms_dict_entry(w->pool, entry, &key, NULL));
        see_value(w, &key);
        mix(&w->look->shape, entry);
        PMS_TRY(look_up(w, dict, &key));
        PMS_TRY(pms_dict_entry(w->pool, entry, NULL, &value));
        see_value(w, &value);
        n++;
    }
    do {
        PMS_TRY(step(w));
        PMS_TRY(pms_dict_prev(w->pool, dict, &back));
        m++;
    } while (back);
    mix(&w->look->state, n);
    mix(&w->look->shape, n);
    return m == n + 1 && n == pms_dict_len(w->pool, dict) ? PMS_OK : PMS_E_CORRUPT;
}

static int see_list(struct walk *w, uint64_t list)
{
    uint64_t at = 0, cell, cells, len = pms_list_len(w->pool, list);
    struct pms_val value;
    int status;
    while ((status = pms_list_run(w->pool, list, at, &cell, &cells)) == PMS_OK) {
        for (uint64_t i = 0; i < cells; i++) {
            PMS_TRY(step(w));
            PMS_TRY(pms_cell_read(w->pool, cell + 16 * i, &value));
            see_value(w, &value);
        }
        PMS_TRY(pms_list_get(w->pool, list, at, &value));
        at += cells;
    }
    mix(&w->look->state, at);
    mix(&w->look->shape, at);
    if (status != PMS_MISSING)
        return status;
    return at == len ? PMS_OK : PMS_E_CORRUPT;
}

static int see_all(struct walk *w, uint64_t root)
{
    PMS_TRY(pms_object_check(w->pool, root, PMS_TAG_DICT));
    meet(w, root, PMS_TAG_DICT);
    for (uint32_t i = 0; i < w->look->objects; i++) {
        uint64_t off = w->look->object[i];
        mix(&w->look->shape, off ^ w->look->tag[i]);
        uint32_t tag = w->look->tag[i];
        if (tag == PMS_TAG_ARRAY)
            PMS_TRY(hostile_see_array(w->pool, off, &w->look->state, &w->look->shape));
        else
            PMS_TRY(tag == PMS_TAG_DICT || tag == PMS_TAG_SET ? see_dict(w, off)
                                                              : see_list(w, off));
    }
    return PMS_OK;
}

void hostile_walk(struct pms_pool *pool, struct hostile_look *look)
{
    static struct walk w; /* large */
    memset(&w, 0, sizeof w);
    memset(look, 0, sizeof *look);
    w.pool = pool;
    w.look = look;
    look->status = pms_enter_read_wait(pool, NULL, -1);
    if (look->status != PMS_OK)
        return;
    look->status =
        see_all(&w, pms_get(pool, PMS_ROOT_OFF + offsetof(struct pms_root_pm, root)));
    int left = pms_leave_read(pool);
    look->status = look->status == PMS_OK ? left : look->status;
}

/* ---- changing ---- */

struct use {
    struct pms_pool *pool;
    uint64_t seed;
    int sound;
    uint32_t handles;
    struct pms_handle *handle[12];
};

static uint64_t draw(struct use *u, uint64_t below)
{
    return below ? fixture_random(&u->seed) % below : 0;
}

static void judge(const struct use *u, int status, const char *what)
{
    RULE(!u->sound || status == PMS_OK || status == PMS_MISSING || status == PMS_E_FULL,
         "a sound pool refuses to %s: %d", what, status);
}

static int enter(struct use *u)
{
    int status = pms_enter_write_wait(u->pool, NULL, -1);
    judge(u, status, "be entered");
    return status;
}

static void leave(struct use *u, int status, const char *what)
{
    uint64_t ticket = 0;
    status = pms_leave_write(u->pool, status, &ticket);
    judge(u, status, what);
    if (ticket)
        judge(u, pms_wait_durable(u->pool, ticket), "be durable");
}

static void some_value(struct use *u, struct pms_val *v)
{
    static char text[40000];
    static const uint64_t len[8] = {0, 3, 9, 100, 700, 1500, 9000, 40000};
    memset(text, 'v', sizeof text);
    *v = (struct pms_val){.tag = PMS_TAG_INT, .num = fixture_random(&u->seed)};
    uint64_t kind = draw(u, 12);
    if (kind < 8) {
        v->tag = kind % 2 ? PMS_TAG_STR : PMS_TAG_BYTES;
        v->data = text;
        v->len = len[kind];
    } else if (kind == 8 && u->handles) {
        const struct pms_handle *h = u->handle[draw(u, u->handles)];
        v->tag = h->tag;
        v->num = h->off;
    } else if (kind == 9) {
        v->tag = PMS_TAG_NONE;
        v->num = 0;
    }
}

static struct pms_key some_key(struct use *u)
{
    static const char *const name[6] = {"kinds", "list", "small", "n", "key that is longer",
                                        ""};
    uint64_t i = draw(u, 12);
    if (i < 6)
        return fixture_key(name[i]);
    return (struct pms_key){.tag = PMS_TAG_INT, .stored_tag = PMS_TAG_INT, .num = i * 5};
}

/* Delete an entry near the start or the end of the order. */
static int delete_some_entry(struct use *u, uint64_t dict)
{
    uint64_t entry = 0, n = 1 + draw(u, 5), back = draw(u, 2);
    while (n--) {
        PMS_TRY(back ? pms_dict_prev(u->pool, dict, &entry)
                     : pms_dict_next(u->pool, dict, &entry));
        if (!entry)
            return PMS_MISSING;
    }
    return pms_dict_del_entry(u->pool, dict, entry);
}

static int change_dict(struct use *u, uint64_t dict, const struct pms_val *value)
{
    struct pms_key key = some_key(u);
    struct pms_val child = {.tag = draw(u, 2) ? PMS_TAG_DICT : PMS_TAG_LIST};
    switch (draw(u, 8)) {
    case 0:
        return pms_dict_del(u->pool, dict, &key);
    case 1:
    case 2:
        return delete_some_entry(u, dict);
    case 3:
        return draw(u, 4) ? PMS_OK : pms_dict_clear(u->pool, dict);
    case 4:
        PMS_TRY(pms_object_create(u->pool, child.tag, &child.num));
        return pms_dict_set(u->pool, dict, &key, &child);
    default:
        return pms_dict_set(u->pool, dict, &key, value);
    }
}

static int change_list(struct use *u, uint64_t list, const struct pms_val *value)
{
    uint64_t len = pms_list_len(u->pool, list), at = draw(u, len);
    switch (draw(u, 10)) {
    case 0:
        return pms_list_del(u->pool, list, at);
    case 1:
        return pms_list_set(u->pool, list, at, value);
    case 2:
        return pms_list_insert(u->pool, list, at, value);
    case 3:
        return pms_list_del_range(u->pool, list, at, draw(u, len < 200 ? len : 200));
    case 4:
        return pms_list_swap(u->pool, list, at, draw(u, len));
    case 5:
        return len < 500 || !draw(u, 16) ? pms_list_reverse(u->pool, list) : PMS_OK;
    case 6:
        return draw(u, 4) ? PMS_OK : pms_list_clear(u->pool, list);
    default:
        return pms_list_append(u->pool, list, value);
    }
}

/* What may be done to a deque; the rest is as with lists. */
static int change_deque(struct use *u, uint64_t deque, const struct pms_val *value)
{
    uint64_t len = pms_list_len(u->pool, deque);
    switch (draw(u, 8)) {
    case 0:
    case 1:
        return pms_deque_push(u->pool, deque, PMS_DEQUE_LEFT, value);
    case 2:
        return pms_deque_insert(u->pool, deque, draw(u, len), value);
    case 3:
        return pms_deque_rotate(u->pool, deque, draw(u, len < 100 ? len : 100));
    case 4:
        return pms_list_move(u->pool, deque, draw(u, len), draw(u, len));
    case 5:
        return pms_list_del(u->pool, deque, draw(u, len));
    default:
        return pms_deque_push(u->pool, deque, PMS_DEQUE_RIGHT, value);
    }
}

static int change_object(struct use *u, const struct pms_handle *h, const struct pms_val *value)
{
    const struct pms_val none = {.tag = PMS_TAG_NONE};
    struct pms_key key;
    switch (h->tag) {
    case PMS_TAG_DICT:
        return change_dict(u, h->off, value);
    case PMS_TAG_SET:
        key = some_key(u);
        return draw(u, 3) ? pms_dict_set(u->pool, h->off, &key, &none)
                          : delete_some_entry(u, h->off);
    case PMS_TAG_DEQUE:
        return change_deque(u, h->off, value);
    case PMS_TAG_ARRAY:
        return hostile_change_array(u->pool, h->off, &u->seed);
    default:
        return change_list(u, h->off, value);
    }
}

static void change_one(struct use *u)
{
    struct pms_val value;
    if (!u->handles)
        return;
    const struct pms_handle *h = u->handle[draw(u, u->handles)];
    some_value(u, &value);
    if (enter(u) != PMS_OK)
        return;
    int status = h->state == PMS_HANDLE_LIVE ? change_object(u, h, &value) : PMS_OK;
    leave(u, status, "be changed");
}

/* A transaction, with a savepoint that is rolled back in its middle. */
static void change_many(struct use *u)
{
    uint32_t depth = 0;
    uint64_t ticket = 0, n = 4 + draw(u, 12);
    int status = pms_tx_begin_wait(u->pool, &depth, -1);
    judge(u, status, "begin");
    if (status != PMS_OK)
        return;
    while (n--) {
        if (draw(u, 5)) {
            change_one(u);
        } else if (pms_tx_begin_wait(u->pool, &depth, -1) == PMS_OK) {
            change_one(u);
            judge(u, pms_tx_abort(u->pool, depth), "roll back to a savepoint");
        }
    }
    if (!pms_tx_depth(u->pool))
        return; /* a failed roll-back has ended it */
    if (draw(u, 3)) {
        judge(u, pms_tx_commit(u->pool, 1, &ticket), "commit");
        if (ticket)
            judge(u, pms_wait_durable(u->pool, ticket), "be durable");
    } else {
        judge(u, pms_tx_abort(u->pool, 1), "roll back");
    }
}

static void pin(struct use *u, const struct hostile_look *look)
{
    uint32_t want = sizeof u->handle / sizeof u->handle[0];
    if (pms_enter_read_wait(u->pool, NULL, -1) != PMS_OK)
        return;
    for (uint32_t i = 0; i < look->objects && u->handles < want; i++) {
        if (pms_object_check(u->pool, look->object[i], look->tag[i]) != PMS_OK)
            continue;
        struct pms_handle *h = pms_handle_get(u->pool, look->object[i], look->tag[i]);
        if (h)
            u->handle[u->handles++] = h;
    }
    (void)pms_leave_read(u->pool);
}

void hostile_use(struct pms_pool *pool, const struct hostile_look *look, uint64_t seed,
                 int sound)
{
    struct use u = {.pool = pool, .seed = seed | 1, .sound = sound};
    struct pms_heap_stats stats;
    uint64_t freed;
    pin(&u, look);
    for (uint64_t n = 3 + draw(&u, 12); n > 0; n--)
        change_one(&u);
    change_many(&u);
    if (draw(&u, 2))
        judge(&u, pms_pool_collect(pool, &freed), "collect");
    judge(&u, pms_pool_heap_stats(pool, &stats), "count its blocks");
    if (draw(&u, 3) == 0)
        judge(&u, pms_pool_checkpoint(pool), "make a checkpoint");
    for (uint64_t n = draw(&u, 6); n > 0; n--)
        change_one(&u);
    for (uint32_t i = 0; i < u.handles; i++)
        pms_handle_put(u.handle[i]);
}

/* ---- the stage ---- */

void hostile_stage_make(struct hostile_stage *stage, const char *parent,
                        const struct hostile_image *base)
{
    memset(stage, 0, sizeof *stage);
    if (parent) {
        char name[96];
        snprintf(name, sizeof name, "%s/pmemstore_test.XXXXXX", parent);
        stage->fd = mkstemp(name);
        CHECK(stage->fd >= 0);
        CHECK_EQ(unlink(name), 0);
    } else {
        stage->fd = memfd_create("pool", MFD_CLOEXEC);
        CHECK(stage->fd >= 0);
    }
    snprintf(stage->path, sizeof stage->path, "/proc/self/fd/%d", stage->fd);
    hostile_stage_base(stage, base);
}

static void unmap(struct hostile_stage *stage)
{
    if (stage->map)
        CHECK_EQ(munmap(stage->map, stage->size), 0);
    free(stage->dirty);
    stage->map = stage->dirty = NULL;
}

void hostile_stage_base(struct hostile_stage *stage, const struct hostile_image *base)
{
    unmap(stage);
    stage->base = base;
    stage->size = base->size;
    CHECK_EQ(ftruncate(stage->fd, (off_t)base->size), 0);
    CHECK_EQ(pwrite(stage->fd, base->bytes, base->size, 0), (ssize_t)base->size);
    stage->map = mmap(NULL, base->size, PROT_READ | PROT_WRITE, MAP_SHARED, stage->fd, 0);
    CHECK(stage->map != MAP_FAILED);
    stage->dirty = calloc(base->size / PMS_PAGE + 1, 1);
    CHECK(stage->dirty != NULL);
}

void hostile_stage_remove(struct hostile_stage *stage)
{
    unmap(stage);
    CHECK_EQ(close(stage->fd), 0);
}

static void soil(struct hostile_stage *stage, uint64_t off, uint64_t len)
{
    for (uint64_t page = off / PMS_PAGE; page * PMS_PAGE < off + len; page++)
        if (page < stage->base->size / PMS_PAGE)
            stage->dirty[page] = 1;
}

void hostile_put(struct hostile_stage *stage, uint64_t off, const void *bytes, uint64_t len)
{
    if (off >= stage->base->size)
        return;
    if (len > stage->base->size - off)
        len = stage->base->size - off;
    memcpy(stage->map + off, bytes, len);
    soil(stage, off, len);
}

/* The pool tells what it stores: these pages are mended, and no others. */
static int record(void *context, const struct pms_event *event)
{
    struct hostile_stage *stage = context;
    switch (event->kind) {
    case PMS_EV_STORE:
    case PMS_EV_NT_STORE:
    case PMS_EV_WRITE:
    case PMS_EV_WRITE_SYNC:
        soil(stage, event->off, event->len);
        break;
    case PMS_EV_ALLOCATE:
    case PMS_EV_TRUNCATE:
        stage->resized = 1;
        break;
    default:
        break;
    }
    return 0;
}

void hostile_mend(struct hostile_stage *stage)
{
    if (stage->resized)
        CHECK_EQ(ftruncate(stage->fd, (off_t)stage->base->size), 0);
    stage->resized = 0;
    for (uint64_t page = 0; page < stage->base->size / PMS_PAGE; page++) {
        if (!stage->dirty[page])
            continue;
        memcpy(stage->map + page * PMS_PAGE, stage->base->bytes + page * PMS_PAGE, PMS_PAGE);
        stage->dirty[page] = 0;
    }
}

/* ---- seals ---- */

/* Hashes of the extents that a frame names, where there are such. */
static void seal_entries(const struct hostile_stage *stage, const struct pms_frame_pm *frame,
                         uint64_t *word)
{
    uint64_t i = frame->kind == PMS_FRAME_COMMIT ? 2 : 0;
    while (i < frame->words) {
        uint64_t off = PMS_ENTRY_OFF(word[i]);
        if (PMS_ENTRY_TAG(word[i]) == PMS_ENTRY_BYTES) {
            i += 1 + PMS_ENTRY_N(word[i]);
            continue;
        }
        if (frame->words - i < 3)
            break;
        if (off < stage->size && word[i + 1] <= stage->size - off)
            word[i + 2] = pms_hash(stage->map + off, word[i + 1], 3);
        i += 3;
    }
}

static void seal_frames(struct hostile_stage *stage, uint64_t log_bytes,
                        const struct pms_anchor_pm *anchor)
{
    uint64_t pos = anchor->pos, room = log_bytes - sizeof(struct pms_frame_pm);
    for (uint64_t seq = anchor->seq; pos % PMS_LINE == 0 && pos <= room; seq++) {
        struct pms_frame_pm *frame = (void *)(stage->map + PMS_LOG_OFF + pos);
        uint64_t n = pms_frame_bytes(frame->words);
        if (frame->seq != seq || n > log_bytes - pos)
            break;
        seal_entries(stage, frame, (uint64_t *)(void *)(frame + 1));
        frame->csum = 0;
        frame->csum = pms_hash(frame, n, anchor->salt);
        pos += n;
    }
}

void hostile_seal(struct hostile_stage *stage)
{
    uint64_t log_bytes = ((const struct pms_super_pm *)(void *)stage->map)->log_bytes;
    for (uint64_t page = 0; page < 2 * PMS_PAGE; page += PMS_PAGE) {
        pms_super_seal((void *)(stage->map + PMS_SUPER_OFF + page));
        pms_anchor_seal((void *)(stage->map + PMS_ANCHOR_OFF + page));
    }
    soil(stage, 0, PMS_ROOT_OFF);
    if (log_bytes < PMS_LOG_MIN || log_bytes > stage->size - PMS_LOG_OFF)
        return;
    for (uint64_t page = 0; page < 2 * PMS_PAGE; page += PMS_PAGE)
        seal_frames(stage, log_bytes, (void *)(stage->map + PMS_ANCHOR_OFF + page));
    soil(stage, PMS_LOG_OFF, log_bytes);
}

/* ---- the rules ---- */

static int open_stage(struct hostile_stage *stage, char flag, struct pms_pool **pool)
{
    struct pms_options options = {.flag = flag, .recorder = record, .recorder_context = stage};
    *pool = NULL;
    int status = pms_pool_open(stage->path, &options, pool);
    RULE(status == PMS_OK || status == PMS_E_CORRUPT || status == PMS_E_FORMAT,
         "opening yields %d", status); /* R1 */
    return status;
}

struct told {
    uint64_t all;
    uint64_t cycles; /* objects that refer to each other, and that changes have cut off */
};

static int count_problem(void *context, const char *text)
{
    struct told *told = context;
    if (getenv("HOSTILE_TRACE"))
        fprintf(stderr, "  problem: %s\n", text);
    told->all++;
    told->cycles += strstr(text, "is unreachable") != NULL;
    return 0;
}

static struct told problems(struct pms_pool *pool, struct pms_check_result *result)
{
    struct told told = {0};
    if (pms_enter_read_wait(pool, NULL, -1) != PMS_OK) {
        told.all = 1;
        return told;
    }
    int status = pms_pool_check(pool, count_problem, &told, result);
    (void)pms_leave_read(pool);
    RULE(status == PMS_OK, "the check ends with %d", status);
    RULE((told.all != 0) == (result->problems != 0), "problems are counted and not told");
    return told;
}

static int is_sound(struct told told) { return told.all == told.cycles; }

static void close_pool(struct pms_pool *pool, int sound)
{
    int status = pms_pool_close(pool);
    RULE(!sound || status == PMS_OK, "a sound pool cannot be closed: %d", status);
    pms_pool_drop(pool);
}

static void within_memory(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    RULE((uint64_t)usage.ru_maxrss << 10 < HOSTILE_MEMORY_MAX, "%ld KiB are resident", /* R6 */
         usage.ru_maxrss);
}

/* R4: closed, opened again, alone for reading: the same. */
static void again(struct hostile_stage *stage, uint64_t state)
{
    static struct hostile_look look;
    struct pms_check_result result;
    struct pms_pool *pool;
    int status = open_stage(stage, 'r', &pool);
    RULE(status == PMS_OK, "a sound pool was closed and cannot be opened: %d", status);
    RULE(is_sound(problems(pool, &result)), "a sound pool was closed and is damaged");
    hostile_walk(pool, &look);
    RULE(look.status == PMS_OK && look.state == state, "what was closed is not what is opened");
    close_pool(pool, 1);
}

/* R7 */
static void refuses_to_collect(struct pms_pool *pool, struct told told)
{
    struct pms_check_result result;
    uint64_t freed, commits = pool->tx.commits;
    int status = pms_pool_collect(pool, &freed);
    RULE(status == PMS_E_CORRUPT, "collecting a damaged pool yields %d", status);
    RULE(pool->tx.commits == commits, "collecting a damaged pool has committed something");
    RULE(problems(pool, &result).all == told.all, "a collection has changed a damaged pool");
}

void hostile_try(struct hostile_stage *stage, char flag, uint64_t seed,
                 struct hostile_result *out)
{
    static struct hostile_look look;
    struct pms_check_result result;
    struct pms_pool *pool;
    memset(out, 0, sizeof *out);
    out->opened = open_stage(stage, flag, &pool);
    if (out->opened != PMS_OK)
        return;
    struct told told = problems(pool, &out->check);
    out->problems = told.all;
    hostile_walk(pool, &look);
    out->walked = look.status;
    out->state = look.state;
    out->shape = look.shape;
    RULE(look.status == PMS_OK || look.status == PMS_E_CORRUPT, "reading ends with %d",
         look.status); /* R2 */
    int sound = out->problems == 0;
    RULE(!sound || look.status == PMS_OK, "the check says sound, and reading %d", /* R3 */
         look.status);
    if (flag == 'w' && seed % 4 == 1 && !is_sound(told))
        refuses_to_collect(pool, told);
    if (flag == 'w' && seed) {
        hostile_use(pool, &look, seed, sound);
        struct told left = problems(pool, &result);
        RULE(!sound || is_sound(left), "changes have damaged a sound pool"); /* R4, R5 */
        hostile_walk(pool, &look);
    }
    close_pool(pool, sound);
    within_memory();
    if (sound && flag == 'w')
        again(stage, look.state);
}
