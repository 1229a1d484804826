/* table_walk.c -- the persistent dict: its order, and what an entry holds.
 *
 *   first --next--> entry --next--> entry --next--> 0          prev leads back
 *
 * Each step checks D2 of table.c: the neighbour must lead back to where we are.  So a walk over a
 * damaged order ends with PMS_E_CORRUPT, at the latest when it would come to an entry again.
 */
#include "table_impl.h"

/* The neighbour `to` of `from`, if its own word `back` leads here.  At the end, `from` must be
 * the entry that the header's word `end` names. */
static inline int step(struct pms_pool *pool, uint64_t from, uint64_t to, size_t back,
                       uint64_t end, uint64_t *entry)
{
    uint64_t have = to ? 0 : pms_get(pool, end);
    if (to) {
        PMS_TRY(pms_entry_ok(pool, to));
        have = PMS_LINK_OFF(pms_get(pool, to + back));
    }
    if (PMS_UNLIKELY(have != from))
        return PMS_FAIL(PMS_E_CORRUPT, "order of a dict", to, from, have);
    *entry = to;
    return PMS_OK;
}

/* The entry behind `from`, or before it; from lies in the heap, or is 0. */
static inline int forward(struct pms_pool *pool, uint64_t dict, uint64_t from, uint64_t *entry)
{
    uint64_t to = from ? PMS_LINK_OFF(pms_get(pool, PMS_ENTRY_NEXT(from)))
                       : pms_get(pool, PMS_DICT_AT(dict, first));
    return step(pool, from, to, offsetof(struct pms_entry_pm, prev), PMS_DICT_AT(dict, last),
                entry);
}

static inline int backward(struct pms_pool *pool, uint64_t dict, uint64_t from, uint64_t *entry)
{
    uint64_t to = from ? PMS_LINK_OFF(pms_get(pool, PMS_ENTRY_PREV(from)))
                       : pms_get(pool, PMS_DICT_AT(dict, last));
    return step(pool, from, to, offsetof(struct pms_entry_pm, next), PMS_DICT_AT(dict, first),
                entry);
}

int pms_dict_next(struct pms_pool *pool, uint64_t dict, uint64_t *entry)
{
    if (*entry)
        PMS_TRY(pms_entry_ok(pool, *entry));
    return forward(pool, dict, *entry, entry);
}

int pms_dict_prev(struct pms_pool *pool, uint64_t dict, uint64_t *entry)
{
    if (*entry)
        PMS_TRY(pms_entry_ok(pool, *entry));
    return backward(pool, dict, *entry, entry);
}

static int entry_key(struct pms_pool *pool, uint64_t entry, struct pms_val *out)
{
    struct pms_key image;
    struct pms_far_key far;
    uint32_t tag = PMS_LINK_EXTRA(pms_get(pool, PMS_ENTRY_NEXT(entry))) & 0xffu;
    memset(out, 0, sizeof *out);
    out->tag = tag;
    if (tag == PMS_TAG_INT || tag == PMS_TAG_FLOAT) {
        out->num = pms_get(pool, PMS_ENTRY_KEY(entry));
        return PMS_OK;
    }
    if (tag == PMS_KEY_FAR) {
        PMS_TRY(pms_entry_far_key(pool, entry, &far));
        out->tag = far.tag;
        out->len = far.stored ? far.stored : far.image;
        uint64_t at = far.off + sizeof(struct pms_far_key_pm);
        out->data = pms_view_block(pool, far.stored ? at + PMS_PAD8(far.image) : at);
        return PMS_OK;
    }
    PMS_TRY(pms_entry_image(pool, entry, &image));
    out->data = image.data;
    out->len = image.len;
    return PMS_OK;
}

/* Do the key's bytes and the value's both lie in the entry, with a part in the overlay?  Then
 * two views would share the scratch memory: take one view of both. */
static int entry_both(struct pms_pool *pool, uint64_t entry, uint64_t cell, struct pms_val *key,
                      struct pms_val *value)
{
    uint64_t from = PMS_ENTRY_KEY(entry), bytes = cell + 8 - from;
    const void *both;
    if (!pms_off_ok(&pool->heap, from, bytes + value->len))
        return PMS_FAIL(PMS_E_CORRUPT, "length of a dict entry", entry, bytes, value->len);
    PMS_TRY(pms_key_view(pool, from, bytes + value->len, &both));
    key->data = both;
    value->data = (const char *)both + bytes;
    return PMS_OK;
}

int pms_dict_entry(struct pms_pool *pool, uint64_t entry, struct pms_val *key,
                   struct pms_val *value)
{
    uint64_t cell;
    PMS_TRY(pms_entry_ok(pool, entry));
    PMS_TRY(pms_entry_value(pool, entry, &cell));
    if (key)
        PMS_TRY(entry_key(pool, entry, key));
    if (value)
        PMS_TRY(pms_cell_read(pool, cell, value));
    if (PMS_LIKELY(!key || !value || pool->ws.overlay.count == 0 ||
                   !pms_tag_is_bytes(key->tag) || !pms_tag_is_bytes(value->tag)))
        return PMS_OK;
    uint32_t tag = PMS_LINK_EXTRA(pms_get(pool, PMS_ENTRY_NEXT(entry))) & 0xffu;
    uint32_t flags = PMS_CELL_FLAGS(pms_get(pool, cell));
    if (tag == PMS_KEY_FAR || !(flags & (PMS_CELL_SHORT | PMS_CELL_INNER)))
        return PMS_OK;
    return entry_both(pool, entry, cell, key, value);
}

/* ---- many entries ---- */

/* Words may be in the overlay: one entry, so that its views do not share the scratch memory. */
static int walk_one(struct pms_pool *pool, uint64_t dict, struct pms_walk *walk,
                    struct pms_walked *out)
{
    PMS_TRY(walk->reverse ? backward(pool, dict, walk->entry, &walk->entry)
                          : forward(pool, dict, walk->entry, &walk->entry));
    walk->ended = walk->entry == 0;
    if (walk->ended)
        return PMS_OK;
    walk->count = 1;
    out->entry = walk->entry;
    return pms_dict_entry(pool, walk->entry, walk->keys ? &out->key : NULL,
                          walk->values ? &out->value : NULL);
}

static inline uint64_t word(const uint8_t *at)
{
    uint64_t word;
    memcpy(&word, at, 8);
    return word;
}

/* Entries ahead that are asked for: what is served meanwhile takes longer than a line from memory. */
#define WALK_AHEAD 24u

/* Entries that came one behind the other mostly lie so, and a CPU that has seen that stops at the end
 * of each page (a key: 31 to 21 ns on a Xeon).  stride: from the entry before to this one. */
static inline void entry_ahead(const uint8_t *base, uint64_t size, uint64_t entry,
                               uint64_t stride)
{
    uint64_t ahead = entry + WALK_AHEAD * stride;
    if (ahead < size - PMS_LINE) {
        __builtin_prefetch(base + ahead);
        __builtin_prefetch(base + ahead + PMS_LINE);
    }
}

/* Nothing is in the overlay: all words are those of the mapping. */
static inline int walk_many(struct pms_pool *pool, uint64_t to, struct pms_walk *walk,
                            struct pms_walked *out, unsigned room)
{
    const uint8_t *base = pool->ws.medium->base;
    const uint64_t size = pool->super.size;
    const int reverse = walk->reverse, keys = walk->keys, values = walk->values;
    uint64_t from = walk->entry, bytes = 0, cell;
    unsigned n = 0;
    for (; to && n < room && bytes <= PMS_WALK_BYTES; out++, n++) {
        PMS_TRY(pms_entry_ok(pool, to));
        const uint8_t *entry = base + to;
        uint64_t next = word(entry + offsetof(struct pms_entry_pm, next));
        uint64_t prev = word(entry + offsetof(struct pms_entry_pm, prev));
        uint64_t back = PMS_LINK_OFF(reverse ? next : prev);
        if (PMS_UNLIKELY(back != from))
            return PMS_FAIL(PMS_E_CORRUPT, "order of a dict", to, from, back);
        entry_ahead(base, size, to, to - from);
        from = to;
        to = PMS_LINK_OFF(reverse ? prev : next);
        out->entry = from;
        if (keys) {
            uint64_t len = PMS_LINK_EXTRA(next) >> 8;
            if (PMS_LIKELY((PMS_LINK_EXTRA(next) & 0xffu) == PMS_TAG_STR &&
                           len <= size - PMS_ENTRY_KEY(from))) {
                out->key = (struct pms_val){.tag = PMS_TAG_STR,
                                            .data = entry + sizeof(struct pms_entry_pm),
                                            .len = len};
            } else {
                PMS_TRY(entry_key(pool, from, &out->key));
            }
        }
        if (values) {
            PMS_TRY(pms_entry_value(pool, from, &cell));
            PMS_TRY(pms_cell_read(pool, cell, &out->value));
            bytes += out->value.len;
            /* Asked for ahead: read only when all entries have been walked over. */
            if (pms_tag_is_bytes(out->value.tag)) {
                __builtin_prefetch(out->value.data);
                __builtin_prefetch((const uint8_t *)out->value.data + out->value.len);
            }
        }
    }
    walk->entry = from;
    walk->count = n;
    walk->ended = to == 0;
    return PMS_OK;
}

int pms_dict_walk(struct pms_pool *pool, uint64_t dict, struct pms_walk *walk,
                  struct pms_walked *out, unsigned room)
{
    const int reverse = walk->reverse;
    uint64_t from = walk->entry, to;
    walk->count = 0;
    if (PMS_UNLIKELY(pool->ws.overlay.count != 0))
        return walk_one(pool, dict, walk, out);
    if (from)
        to = PMS_LINK_OFF(pms_get(pool, reverse ? PMS_ENTRY_PREV(from) : PMS_ENTRY_NEXT(from)));
    else
        to = pms_get(pool, reverse ? PMS_DICT_AT(dict, last) : PMS_DICT_AT(dict, first));
    PMS_TRY(walk_many(pool, to, walk, out, room));
    /* At the end the header must name the entry that the walk has come to. */
    return !walk->ended
               ? PMS_OK
               : step(pool, walk->entry, 0, 0,
                      reverse ? PMS_DICT_AT(dict, first) : PMS_DICT_AT(dict, last), &to);
}
