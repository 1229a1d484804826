/* hostile.c -- walking and changing pools that may be anything.  hostile.h tells. */
#include "hostile.h"

#include "_native/sorted_tree.h"
#include "_native/vec_deque.h"
#include "hash.h"

#define HASHED_MAX (64ull << 20) /* bytes of values that one walk looks at */

char hostile_story[160];

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

/* All of it in long strides: as many entries as single steps find. */
static int walk_dict(struct walk *w, uint64_t dict, int reverse, uint64_t length)
{
    struct pms_walk walk = {.reverse = reverse, .keys = 1, .values = 1};
    struct pms_walked walked[5];
    uint64_t n = 0;
    while (!walk.ended) {
        PMS_TRY(step(w));
        PMS_TRY(pms_dict_walk(w->pool, dict, &walk, walked, 5));
        for (unsigned i = 0; i < walk.count; i++) {
            see_value(w, &walked[i].key);
            see_value(w, &walked[i].value);
        }
        n += walk.count;
    }
    return n == length ? PMS_OK : PMS_E_CORRUPT;
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
    for (int reverse = 0; reverse < 2; reverse++)
        PMS_TRY(walk_dict(w, dict, reverse, n));
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

/* The key of an entry as one to look for, with its image. */
static int order_key(struct walk *w, uint64_t sorted, uint64_t entry, struct pms_image *image,
                     struct pms_order_key *out)
{
    memset(out, 0, sizeof *out);
    out->order = (uint32_t)pms_get(w->pool, PMS_SORTED_AT(sorted, order));
    PMS_TRY(pms_sorted_image(w->pool, entry, image));
    out->image = image->bytes;
    out->len = image->len;
    PMS_TRY(pms_sorted_entry(w->pool, entry, &out->stored, NULL));
    out->prefix = pms_image_prefix(out->image, out->len);
    return PMS_OK;
}

/* A part that is plain is read in two ways. */
static int see_plain(struct walk *w, uint64_t entry)
{
    struct pms_sorted_plain plain;
    struct pms_val part;
    if (pms_sorted_is_plain(w->pool, entry, 1, 0, &plain)) {
        RULE(pms_sorted_entry(w->pool, entry, &part, NULL) == PMS_OK, "a plain key is refused");
        RULE(part.tag == PMS_TAG_STR && part.len == plain.key_len &&
                 (part.data == plain.key || part.len == 0),
             "a plain key is another one");
    }
    if (pms_sorted_is_plain(w->pool, entry, 0, 1, &plain)) {
        RULE(pms_sorted_entry(w->pool, entry, NULL, &part) == PMS_OK,
             "a plain value is refused");
        RULE(part.tag == PMS_TAG_BYTES && part.data == plain.value &&
                 part.len == plain.value_len,
             "a plain value is another one");
    }
    return PMS_OK;
}

/* The entry at `at`: its key is found there; of many entries, some are looked for. */
static int see_entry(struct walk *w, uint64_t sorted, uint64_t at, uint64_t entry)
{
    struct pms_image image;
    struct pms_order_key key;
    struct pms_val value;
    uint64_t index, after = 0;
    PMS_TRY(step(w));
    PMS_TRY(see_plain(w, entry));
    PMS_TRY(order_key(w, sorted, entry, &image, &key));
    see_value(w, &key.stored);
    mix(&w->look->shape, entry);
    if (at > 100 && at % 31) {
        PMS_TRY(pms_sorted_entry(w->pool, entry, NULL, &value));
        see_value(w, &value);
        return PMS_OK;
    }
    int status = pms_sorted_index(w->pool, sorted, &key, &index);
    if (status != PMS_OK)
        return status == PMS_MISSING ? PMS_E_CORRUPT : status;
    PMS_TRY(pms_sorted_get(w->pool, sorted, &key, &value));
    see_value(w, &value);
    PMS_TRY(pms_sorted_bound(w->pool, sorted, &key, 1, &after));
    return index == at && after == at + 1 ? PMS_OK : PMS_E_CORRUPT;
}

static int see_sorted(struct walk *w, uint64_t sorted)
{
    uint64_t at = 0, len = pms_sorted_len(w->pool, sorted);
    struct pms_sorted_run run;
    int status;
    while ((status = pms_sorted_run(w->pool, sorted, at, UINT64_MAX, &run)) == PMS_OK)
        for (uint32_t i = 0; i < run.count; i++, at++)
            PMS_TRY(see_entry(w, sorted, at, run.entry[i]));
    mix(&w->look->state, at);
    mix(&w->look->shape, at);
    if (status != PMS_MISSING)
        return status;
    return at == len ? PMS_OK : PMS_E_CORRUPT;
}

static void see(void *w, const struct pms_val *v)
{
    step(w);
    see_value(w, v);
}

static int see_object(struct walk *w, uint64_t off, uint32_t tag)
{
    switch (tag) {
    case PMS_TAG_DICT:
    case PMS_TAG_SET:
        return see_dict(w, off);
    case PMS_TAG_SORTED_DICT:
    case PMS_TAG_SORTED_SET:
        return see_sorted(w, off);
    case PMS_TAG_ARRAY:
        return hostile_see_array(w->pool, off, &w->look->state, &w->look->shape);
    case PMS_TAG_RECORD:
        return hostile_see_record(w->pool, off, see, w);
    case PMS_TAG_SCHEMA:
        return hostile_see_schema(w->pool, off, see, w);
    default:
        return see_list(w, off);
    }
}

static int see_all(struct walk *w, uint64_t root)
{
    uint64_t schemas = pms_get(w->pool, PMS_ROOT_OFF + offsetof(struct pms_root_pm, schemas));
    PMS_TRY(pms_object_check(w->pool, root, PMS_TAG_DICT));
    meet(w, root, PMS_TAG_DICT);
    if (schemas) {
        PMS_TRY(pms_object_check(w->pool, schemas, PMS_TAG_DICT));
        meet(w, schemas, PMS_TAG_DICT);
    }
    for (uint32_t i = 0; i < w->look->objects; i++) {
        uint64_t off = w->look->object[i];
        mix(&w->look->shape, off ^ w->look->tag[i]);
        PMS_TRY(see_object(w, off, w->look->tag[i]));
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

static int set_many(struct use *u, uint64_t dict, const struct pms_val *value)
{
    struct pms_key key[PMS_DICT_MANY];
    struct pms_pair pair[PMS_DICT_MANY];
    unsigned count = (unsigned)draw(u, PMS_DICT_MANY + 1);
    for (unsigned i = 0; i < count; i++) {
        key[i] = some_key(u);
        if (key[i].tag == PMS_TAG_INT)
            key[i].num = draw(u, 300);
        pair[i] = (struct pms_pair){&key[i], value};
    }
    return pms_dict_set_many(u->pool, dict, pair, count);
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
    case 5:
        return set_many(u, dict, value);
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

/* A key of some kind, mostly of the container's own. */
static struct pms_order_key some_order_key(struct use *u, uint64_t sorted)
{
    static uint8_t image[64];
    static const char *const text[4] = {"", "k", "key 17", "key that is longer"};
    uint64_t order = pms_get(u->pool, PMS_SORTED_AT(sorted, order)), i = draw(u, 150);
    struct pms_order_key key = {.order = PMS_ORDER_NUMBER, .image = image};
    if (draw(u, 8) == 0)
        order = draw(u, PMS_ORDER_UUID + 1);
    if (order == PMS_ORDER_STR || order == PMS_ORDER_BYTES) {
        key.order = (uint32_t)order;
        key.stored.tag = order == PMS_ORDER_STR ? PMS_TAG_STR : PMS_TAG_BYTES;
        key.stored.data = key.image = (const uint8_t *)text[i % 4];
        key.stored.len = key.len = strlen(text[i % 4]);
    } else if (order == PMS_ORDER_TUPLE) {
        key.order = PMS_ORDER_TUPLE;
        image[0] = i % 16 ? PMS_ORDER_NUMBER : PMS_ORDER_NONE;
        key.len = 1 + (i % 16 ? pms_image_int((int64_t)i, image + 1) : 0);
        image[key.len++] = 0;
        key.stored = (struct pms_val){.tag = PMS_TAG_PACKED, .data = image, .len = key.len};
    } else {
        key.stored = (struct pms_val){.tag = PMS_TAG_INT, .num = i};
        key.len = pms_image_int((int64_t)i, image);
    }
    key.prefix = pms_image_prefix(key.image, key.len);
    return key;
}

static int change_sorted(struct use *u, uint64_t sorted, const struct pms_val *value)
{
    struct pms_order_key key = some_order_key(u, sorted);
    uint64_t len = pms_sorted_len(u->pool, sorted), at = draw(u, len), entry;
    switch (draw(u, 10)) {
    case 0:
    case 1:
        return pms_sorted_del(u->pool, sorted, &key);
    case 2:
        return pms_sorted_del_range(u->pool, sorted, at, 1);
    case 3:
        return pms_sorted_del_range(u->pool, sorted, at, draw(u, len < 100 ? len : 100));
    case 4:
        return draw(u, 4) ? PMS_OK : pms_sorted_clear(u->pool, sorted);
    case 5:
        return pms_sorted_at(u->pool, sorted, at, &entry);
    default:
        return pms_sorted_set(u->pool, sorted, &key, value);
    }
}

static int change_object(struct use *u, const struct pms_handle *h, const struct pms_val *value)
{
    const struct pms_val none = {.tag = PMS_TAG_NONE};
    struct pms_key key;
    int status;
    switch (h->tag) {
    case PMS_TAG_DICT:
        return change_dict(u, h->off, value);
    case PMS_TAG_SET:
        key = some_key(u);
        return draw(u, 3) ? pms_dict_set(u->pool, h->off, &key, &none)
                          : delete_some_entry(u, h->off);
    case PMS_TAG_SORTED_DICT:
    case PMS_TAG_SORTED_SET:
        status = change_sorted(u, h->off, h->tag == PMS_TAG_SORTED_SET ? &none : value);
        return status == PMS_MIXED ? PMS_MISSING : status; /* both leave it as it is */
    case PMS_TAG_DEQUE:
        return change_deque(u, h->off, value);
    case PMS_TAG_ARRAY:
        return hostile_change_array(u->pool, h->off, &u->seed);
    case PMS_TAG_RECORD:
        return hostile_change_record(u->pool, h->off, value, &u->seed);
    case PMS_TAG_SCHEMA: /* never changed */
        return PMS_OK;
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
