/* table_edit.c -- the persistent dict: what changes it.
 *
 * The invariants are those of table.c and table_grow.c.  A new value is made before the old
 * one is dropped, so that d[k] = d[k] never loses a container.  An operation that fails in its
 * middle returns, and leaves it to pms_leave_write to undo what it did.
 */
#include "table_impl.h"

#define MERGES_MAX 4 /* a delete; 1 keeps D4 */

int pms_dict_create(struct pms_pool *pool, uint32_t tag, uint64_t *off)
{
    struct pms_dict_pm dict;
    memset(&dict, 0, sizeof dict);
    dict.obj.magic_kind = PMS_OBJECT_MAGIC | tag;
    PMS_TRY(pms_alloc(&pool->heap, sizeof dict, off));
    pms_init_bytes(&pool->ws, *off, &dict, sizeof dict);
    return PMS_OK;
}

/* Write a far key's block. */
static int make_far_key(struct pms_pool *pool, const struct pms_key *key, uint64_t *off)
{
    struct pms_far_key_pm head = {.tag = key->tag, .image = (uint32_t)key->len};
    uint64_t stored = key->tag == PMS_TAG_PACKED ? key->stored_len : 0;
    uint64_t at = sizeof head + PMS_PAD8(key->len);
    if (key->len > UINT32_MAX - 1 || stored > UINT32_MAX - 1)
        return PMS_FAIL(PMS_E_INVAL, "key too long", 0, key->len, UINT32_MAX - 1);
    head.stored = (uint32_t)stored;
    PMS_TRY(pms_alloc(&pool->heap, at + stored, off));
    pms_init_bytes(&pool->ws, *off, &head, sizeof head);
    pms_init_zero(&pool->ws, *off + at - 8, 8); /* the image's padding */
    pms_init_bytes(&pool->ws, *off + sizeof head, key->data, key->len);
    if (stored)
        pms_init_bytes(&pool->ws, *off + at, key->stored, stored);
    return PMS_OK;
}

struct draft { /* of a new entry: the bytes it starts with */
    struct pms_entry_pm head;
    uint8_t bytes[PMS_KEY_INNER_MAX + PMS_CELL_INNER_BYTES(PMS_VALUE_INNER_MAX)];
    uint32_t key_extra;
    uint64_t key_len;
};

/* Is the stored form of an INT image one that has this image? */
static int check_stored(const struct pms_key *key)
{
    uint32_t tag = PMS_TAG_INT;
    uint64_t num = key->num;
    if (key->stored_tag == PMS_TAG_FLOAT)
        pms_key_image_float(key->stored_num, &tag, &num);
    else if (key->stored_tag != PMS_TAG_INT)
        num = key->stored_tag == PMS_TAG_TRUE ? 1 : 0;
    if (tag != PMS_TAG_INT || num != key->num ||
        (key->stored_tag < PMS_TAG_FALSE || key->stored_tag > PMS_TAG_FLOAT))
        return PMS_FAIL(PMS_E_INVAL, "stored form of a key", 0, key->num, num);
    return PMS_OK;
}

static int draft_key(struct pms_pool *pool, const struct pms_key *key, struct draft *draft)
{
    uint32_t tag = key->tag;
    uint64_t len = 8, word = key->num;
    const void *from = &word;
    if (tag == PMS_TAG_INT && key->stored_tag) {
        tag = key->stored_tag;
        PMS_TRY(check_stored(key));
        if (tag == PMS_TAG_FLOAT)
            word = key->stored_num;
    }
    if (tag == PMS_TAG_NONE || tag == PMS_TAG_TRUE || tag == PMS_TAG_FALSE) {
        len = 0;
    } else if ((tag == PMS_TAG_STR || tag == PMS_TAG_BYTES) && key->len <= PMS_KEY_INNER_MAX) {
        len = key->len;
        from = key->data;
    } else if (tag == PMS_TAG_STR || tag == PMS_TAG_BYTES || tag == PMS_TAG_PACKED) {
        PMS_TRY(make_far_key(pool, key, &word));
        tag = PMS_KEY_FAR;
    } else if (tag != PMS_TAG_INT && tag != PMS_TAG_FLOAT) {
        return PMS_FAIL(PMS_E_INVAL, "key tag", 0, PMS_TAG_INT, tag);
    }
    draft->key_len = PMS_PAD8(len);
    if (len) {
        memset(draft->bytes + draft->key_len - 8, 0, 8);
        memcpy(draft->bytes, from, len);
    }
    draft->key_extra = PMS_KEY_EXTRA(tag, len);
    return PMS_OK;
}

/* Of a dict that gets entries: they come one behind the other, and its header is written once. */
struct growth {
    struct pms_dict_head head;   /* as it is by now */
    uint64_t count, first, last; /* as the pool has them */
    uint64_t end_at; /* the word of the last entry that names its successor: none yet */
    uint64_t end;    /* what is in it */
};
#define END_UNKNOWN UINT64_MAX

static inline int growth_begin(const struct pms_pool *pool, uint64_t dict, struct growth *g)
{
    PMS_TRY(pms_dict_head(pool, dict, &g->head));
    g->count = g->head.count;
    g->first = g->head.first;
    g->last = g->head.last;
    g->end_at = END_UNKNOWN;
    return PMS_OK;
}

/* Not after a failure: then all of the operation is undone. */
static inline void growth_end(struct pms_pool *pool, uint64_t dict, const struct growth *g)
{
    if (g->head.count == g->count)
        return;
    if (g->first == 0)
        pms_put(pool, PMS_DICT_AT(dict, first), g->head.first);
    pms_put(pool, PMS_DICT_AT(dict, last), g->head.last);
    pms_put(pool, PMS_DICT_AT(dict, count), g->head.count);
    pms_object_changed(pool, dict);
}

/* Where the order ends that the pool has: nothing was added yet. */
static int order_end(struct pms_pool *pool, struct growth *g)
{
    uint64_t have = g->first;
    if (g->last) {
        PMS_TRY(pms_entry_ok(pool, g->last));
        g->end_at = PMS_ENTRY_NEXT(g->last);
        g->end = pms_get(pool, g->end_at);
        have = PMS_LINK_OFF(g->end);
    }
    if (have != 0)
        return PMS_FAIL(PMS_E_CORRUPT, "order of a dict", 0, g->last, have);
    return PMS_OK;
}

/* The new entry, with such a word for its successor, is the last. */
static void order_add(struct pms_pool *pool, struct growth *g, uint64_t entry, uint64_t next)
{
    const uint64_t link = PMS_LINK_RETARGET(g->end, entry);
    if (g->head.last == 0)
        g->head.first = entry;
    else if (g->head.last == g->last)
        pms_put(pool, g->end_at, link);
    else /* in a block of this operation, which nothing else has seen */
        pms_init_bytes(&pool->ws, g->end_at, &link, sizeof link);
    g->end_at = PMS_ENTRY_NEXT(entry);
    g->end = next;
    g->head.last = entry;
    g->head.count++;
}

/* One more entry is to come, at *place: divide a bucket if they are full. */
static int grow(struct pms_pool *pool, uint64_t dict, struct pms_dict_head *head, uint64_t hash,
                struct pms_place *place)
{
    if (head->count < PMS_DICT_LOAD * (pms_dict_buckets(&head->shape) + 1))
        return PMS_OK;
    uint64_t divided = head->shape.split;
    PMS_TRY(pms_dict_split(pool, dict, &head->shape));
    if (place->bucket.number != divided)
        return PMS_OK;
    int status = pms_dict_find_entry(pool, dict, &head->shape, 0, hash, place);
    return status == PMS_MISSING ? PMS_OK : status;
}

struct fresh {      /* an entry that nothing leads to yet */
    uint64_t entry; /* 0: not made */
    uint64_t next;  /* its word of that name */
};

/* To come behind the entry `last`.  ahead: only if that takes nothing that the operation may need if
 * the key is there. */
static int make_entry(struct pms_pool *pool, uint64_t last, const struct pms_key *key,
                      const struct pms_val *value, int ahead, struct fresh *fresh)
{
    struct draft draft;
    uint64_t cell[2], entry;
    uint64_t len = sizeof draft.head; /* up to the cell; then of all */
    PMS_TRY(draft_key(pool, key, &draft));
    len += draft.key_len;
    uint8_t *at = draft.bytes + draft.key_len;
    if (pms_val_is_inner(value, PMS_VALUE_INNER_MAX)) {
        cell[0] = PMS_CELL_WORD0(value->tag, PMS_CELL_INNER, value->len);
        len += PMS_CELL_INNER_BYTES(value->len);
        memcpy(at, cell, 8);
        memset(at + PMS_PAD8(value->len), 0, 8); /* the last word: its padding */
        memcpy(at + 8, value->data, value->len);
    } else {
        PMS_TRY(pms_cell_make(pool, value, cell));
        len += sizeof cell;
        memcpy(at, cell, sizeof cell);
    }
    uint64_t bytes = len < PMS_ENTRY_MIN ? PMS_ENTRY_MIN : len;
    if (ahead && !pms_heap_has_spare(&pool->heap, bytes))
        return PMS_OK;
    PMS_TRY(pms_alloc(&pool->heap, bytes, &entry));
    draft.head.next = PMS_LINK(0, draft.key_extra);
    draft.head.prev = PMS_LINK(last, 0);
    pms_init_bytes(&pool->ws, entry, &draft, len);
    *fresh = (struct fresh){entry, draft.head.next};
    return PMS_OK;
}

static int link_entry(struct pms_pool *pool, uint64_t dict, struct growth *g, uint64_t hash,
                      struct pms_place *place, const struct fresh *fresh)
{
    if (g->end_at == END_UNKNOWN)
        PMS_TRY(order_end(pool, g));
    PMS_TRY(grow(pool, dict, &g->head, hash, place));
    uint32_t tag = pms_dict_tag(hash, place->bucket.level);
    PMS_TRY(pms_bucket_append(pool, place, PMS_LINK(fresh->entry, tag)));
    order_add(pool, g, fresh->entry, fresh->next);
    return PMS_OK;
}

/* Do so many bytes of a value have room in the entry, from its cell's word on? */
static int has_room(struct pms_pool *pool, uint64_t entry, uint64_t cell, uint64_t len,
                    int *inner)
{
    uint64_t capacity, used = cell + 8 - entry;
    PMS_TRY(pms_block(&pool->heap, entry, &capacity));
    if (used + 8 > capacity)
        return PMS_FAIL(PMS_E_CORRUPT, "length of a dict entry's key", entry, capacity, used);
    *inner = len <= capacity - used;
    return PMS_OK;
}

/* at: the entry's cell. */
static int replace(struct pms_pool *pool, uint64_t entry, uint64_t at,
                   const struct pms_val *value)
{
    uint64_t cell[2];
    int inner = 0;
    if (pms_val_is_inner(value, UINT64_MAX))
        PMS_TRY(has_room(pool, entry, at, value->len, &inner));
    if (!inner)
        PMS_TRY(pms_cell_make(pool, value, cell));
    PMS_TRY(pms_cell_drop(pool, at));
    if (inner) {
        pms_put(pool, at, PMS_CELL_WORD0(value->tag, PMS_CELL_INNER, value->len));
        pms_wr_bytes(&pool->ws, at + 8, value->data, value->len);
        return PMS_OK;
    }
    pms_put(pool, at, cell[0]);
    pms_put(pool, at + 8, cell[1]);
    return PMS_OK;
}

/* ---- one key ---- */

#define NEW_SURE 8u /* after so many new keys in a row the next one is taken for new too */

/* Does its entry lead to no other block? */
static inline int is_one_block(const struct pms_key *key, const struct pms_val *value)
{
    if (key->tag == PMS_TAG_PACKED || key->len > PMS_KEY_INNER_MAX)
        return 0;
    return pms_tag_is_bytes(value->tag) ? value->len <= PMS_VALUE_INNER_MAX
                                        : !pms_tag_is_object(value->tag);
}

/* If the key is likely a new one, make its entry while the line of its bucket is on its way. */
static inline int make_ahead(struct pms_pool *pool, uint64_t dict, const struct growth *g,
                             const struct pms_key *key, const struct pms_val *value,
                             uint64_t line, struct fresh *fresh)
{
    if (pool->put_new < NEW_SURE || pool->put_dict != dict || !is_one_block(key, value))
        return PMS_OK;
    __builtin_prefetch(pool->ws.medium->base + line);
    return make_entry(pool, g->head.last, key, value, 1, fresh);
}

/* The key was there: what was made for it goes.  If the put fails after that, the caller's next one finds
 * no guess in its way. */
static int unmake(struct pms_pool *pool, const struct fresh *fresh)
{
    pool->put_new = 0;
    return pms_free(&pool->heap, fresh->entry); /* its only block: see is_one_block */
}

static inline void note_put(struct pms_pool *pool, uint64_t dict, int is_new)
{
    uint32_t before = pool->put_dict == dict ? pool->put_new : 0;
    pool->put_dict = dict;
    pool->put_new = is_new ? before + (before < NEW_SURE) : 0;
}

/* key is normal, and hash its hash.  single: not one of many, whose buckets were asked for. */
static inline int set(struct pms_pool *pool, uint64_t dict, struct growth *g,
                      const struct pms_key *key, const struct pms_val *value, uint64_t hash,
                      int single)
{
    struct pms_place place;
    struct fresh fresh = {0};
    PMS_TRY(pms_dict_place(pool, dict, &g->head.shape, hash, &place));
    if (single)
        PMS_TRY(make_ahead(pool, dict, g, key, value, place.line, &fresh));
    int status = pms_dict_find(pool, dict, key, hash, &place);
    if (status == PMS_OK) {
        if (PMS_UNLIKELY(fresh.entry))
            PMS_TRY(unmake(pool, &fresh));
        return replace(pool, place.entry, place.value, value);
    }
    if (status != PMS_MISSING)
        return status;
    if (!fresh.entry)
        PMS_TRY(make_entry(pool, g->head.last, key, value, 0, &fresh));
    return link_entry(pool, dict, g, hash, &place, &fresh);
}

int pms_dict_set(struct pms_pool *pool, uint64_t dict, const struct pms_key *key,
                 const struct pms_val *value)
{
    struct growth g;
    struct pms_key room;
    PMS_TRY(growth_begin(pool, dict, &g));
    key = pms_key_normal(key, &room);
    PMS_TRY(set(pool, dict, &g, key, value, pms_image_key_hash(pool, key), 1));
    note_put(pool, dict, g.head.count != g.count);
    growth_end(pool, dict, &g);
    return PMS_OK;
}

/* ---- many keys ---- */

int pms_dict_set_many(struct pms_pool *pool, uint64_t dict, const struct pms_pair *pair,
                      unsigned count)
{
    uint64_t hash[PMS_DICT_MANY];
    struct growth g;
    struct pms_key room;
    if (count > PMS_DICT_MANY)
        return PMS_FAIL(PMS_E_INVAL, "keys at once", dict, count, PMS_DICT_MANY);
    PMS_TRY(growth_begin(pool, dict, &g));
    for (unsigned i = 0; i < count; i++) {
        hash[i] = pms_image_key_hash(pool, pms_key_normal(pair[i].key, &room));
        pms_bucket_ahead(pool, dict, &g.head.shape,
                         pms_dict_bucket_of(&g.head.shape, hash[i]).number);
    }
    int status = PMS_OK;
    pms_heap_gather(&pool->heap);
    for (unsigned i = 0; i < count && status == PMS_OK; i++)
        status =
            set(pool, dict, &g, pms_key_normal(pair[i].key, &room), pair[i].value, hash[i], 0);
    pms_heap_gathered(&pool->heap); /* also after a failure, which may have changed nothing */
    PMS_TRY(status);
    growth_end(pool, dict, &g);
    return PMS_OK;
}

/* ---- removing ---- */

/* The neighbours of an entry in the order, and the first's link to it. */
struct neighbours {
    uint64_t prev, next; /* 0: none */
    uint64_t link;
};

static int find_neighbours(struct pms_pool *pool, uint64_t dict, uint64_t entry,
                           struct neighbours *out)
{
    *out = (struct neighbours){.prev = entry, .next = entry};
    PMS_TRY(pms_dict_next(pool, dict, &out->next));
    PMS_TRY(pms_dict_prev(pool, dict, &out->prev));
    if (out->prev)
        out->link = pms_get(pool, PMS_ENTRY_NEXT(out->prev));
    return PMS_OK;
}

static void put_neighbours(struct pms_pool *pool, uint64_t dict, const struct neighbours *of)
{
    if (of->prev)
        pms_put(pool, PMS_ENTRY_NEXT(of->prev), PMS_LINK_RETARGET(of->link, of->next));
    else
        pms_put(pool, PMS_DICT_AT(dict, first), of->next);
    if (of->next)
        pms_put(pool, PMS_ENTRY_PREV(of->next), PMS_LINK(of->prev, 0));
    else
        pms_put(pool, PMS_DICT_AT(dict, last), of->prev);
}

static int shrink(struct pms_pool *pool, uint64_t dict, struct pms_dict_shape *shape,
                  uint64_t count)
{
    for (int i = 0; i < MERGES_MAX; i++) {
        if (!pms_dict_is_roomy(pms_dict_buckets(shape), count))
            break;
        PMS_TRY(pms_dict_merge(pool, dict));
        PMS_TRY(pms_dict_shape(pool, dict, shape));
    }
    return PMS_OK;
}

/* What is to be read is read first, as far as it can be: a word costs little to read as long as
 * nothing has been written. */
static int delete(struct pms_pool *pool, uint64_t dict, struct pms_dict_shape *shape,
                  const struct pms_place *place)
{
    uint64_t entry = place->entry;
    struct pms_far_key far = {.off = 0};
    struct neighbours neighbours;
    uint64_t count = pms_get(pool, PMS_DICT_AT(dict, count)), cell;
    if (count == 0)
        return PMS_FAIL(PMS_E_CORRUPT, "length of a dict", dict, 1, 0);
    PMS_TRY(find_neighbours(pool, dict, entry, &neighbours));
    PMS_TRY(pms_entry_value(pool, entry, &cell));
    if ((PMS_LINK_EXTRA(pms_get(pool, PMS_ENTRY_NEXT(entry))) & 0xffu) == PMS_KEY_FAR)
        PMS_TRY(pms_entry_far_key(pool, entry, &far));
    PMS_TRY(pms_cell_drop(pool, cell));
    PMS_TRY(pms_free(&pool->heap, entry));
    if (far.off)
        PMS_TRY(pms_free(&pool->heap, far.off));
    PMS_TRY(pms_bucket_remove(pool, dict, place));
    put_neighbours(pool, dict, &neighbours);
    pms_put(pool, PMS_DICT_AT(dict, count), count - 1);
    pms_object_changed(pool, dict);
    return shrink(pool, dict, shape, count - 1);
}

int pms_dict_del(struct pms_pool *pool, uint64_t dict, const struct pms_key *key)
{
    struct pms_dict_shape shape;
    struct pms_place place;
    struct pms_key room;
    PMS_TRY(pms_dict_shape(pool, dict, &shape));
    key = pms_key_normal(key, &room);
    uint64_t hash = pms_image_key_hash(pool, key);
    PMS_TRY(pms_dict_place(pool, dict, &shape, hash, &place));
    PMS_TRY(pms_dict_find(pool, dict, key, hash, &place));
    return delete(pool, dict, &shape, &place);
}

int pms_dict_del_entry(struct pms_pool *pool, uint64_t dict, uint64_t entry)
{
    struct pms_dict_shape shape;
    struct pms_place place;
    uint64_t hash;
    PMS_TRY(pms_dict_shape(pool, dict, &shape));
    PMS_TRY(pms_entry_ok(pool, entry));
    PMS_TRY(pms_entry_hash(pool, entry, &hash));
    int status = pms_dict_find_entry(pool, dict, &shape, entry, hash, &place);
    if (status == PMS_MISSING)
        return PMS_FAIL(PMS_E_CORRUPT, "entry in no bucket of its dict", dict, entry,
                        place.bucket.number);
    PMS_TRY(status);
    return delete(pool, dict, &shape, &place);
}

int pms_dict_clear(struct pms_pool *pool, uint64_t dict)
{
    uint64_t copy, word[sizeof(struct pms_dict_pm) / 8];
    const size_t from = offsetof(struct pms_dict_pm, count) / 8;
    if (pms_get(pool, PMS_DICT_AT(dict, count)) == 0)
        return PMS_OK;
    memset(word, 0, sizeof word);
    word[0] = pms_get(pool, dict); /* its magic */
    for (size_t i = from; i < sizeof word / 8; i++)
        word[i] = pms_get(pool, dict + 8 * i);
    PMS_TRY(pms_alloc(&pool->heap, sizeof word, &copy));
    pms_init_bytes(&pool->ws, copy, word, sizeof word);
    for (size_t i = from; i < sizeof word / 8; i++)
        if (word[i])
            pms_put(pool, dict + 8 * i, 0);
    pms_object_changed(pool, dict);
    return pms_object_orphan(pool, copy);
}

/* Deleting keeps every invariant, so a dict that is half torn down is a sound one. */
int pms_dict_teardown(struct pms_pool *pool, uint64_t dict, uint32_t *budget)
{
    struct pms_dict_shape shape;
    while (pms_get(pool, PMS_DICT_AT(dict, count)) != 0) {
        uint64_t entry = 0;
        if (*budget == 0)
            return PMS_MISSING;
        --*budget;
        PMS_TRY(pms_dict_next(pool, dict, &entry));
        if (entry == 0)
            return PMS_FAIL(PMS_E_CORRUPT, "first entry of a dict", dict, 1, 0);
        PMS_TRY(pms_dict_del_entry(pool, dict, entry));
    }
    PMS_TRY(pms_dict_shape(pool, dict, &shape));
    if (pms_dict_buckets(&shape) != 1)
        return PMS_FAIL(PMS_E_CORRUPT, "shape of an empty dict", dict, 1,
                        pms_dict_buckets(&shape));
    return pms_object_end(pool, dict);
}
