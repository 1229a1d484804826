/* sorted.c -- the persistent sorted dict: finding entries, and reading them.
 *
 * Everything that comes from the medium is checked on the way down: offsets lie in the heap,
 * magics fit the level, 1 <= used <= room, a leaf has exactly as many references as its parent
 * (or the header) says, and its order names none but those.  Counts, least entries, common bytes
 * and prefixes are believed, and damage there ends in PMS_E_CORRUPT or a wrong entry, never in a
 * wild access: each step goes down a level, and there are at most PMS_SORTED_HEIGHT_MAX.
 *
 *   S1  header.count == sum of the references of all leaves; root == 0 <=> count == 0 <=>
 *       order == 0
 *   S2  kid.count == number of entries below the kid; kid.least is the first of them
 *   S3  the images of a leaf's entries, and those of a node's least entries, begin with the
 *       block's common bytes; a prefix is the eight bytes of the entry's image behind these
 *   S4  images ascend from the first leaf's first entry to the last leaf's last
 *   S5  every block has at least one item; off the right edge at least pms_sorted_fill
 *   S6  a leaf that is not the root has room for PMS_SORTED_REFS; a root node has two kids
 *   S7  an entry's key, and with it everything before the value's cell, is written once, when
 *       the entry's block is allocated: it is never in the overlay, and is read from the mapping
 *   S8  order[0..used) of a leaf names each of refs[0..used) once
 */
#include "sorted_tree.h"

static_assert(offsetof(struct pms_sorted_leaf_pm, bytes) == 8, "PMS_SORTED_BYTES");
static_assert(offsetof(struct pms_sorted_node_pm, bytes) == 8, "PMS_SORTED_BYTES");
static_assert(offsetof(struct pms_sorted_leaf_pm, order) == 32, "pms_sorted_order");
static_assert(offsetof(struct pms_sorted_leaf_pm, refs) == 96, "pms_sorted_ref");
static_assert(PMS_SORTED_REFS <= PMS_SORTED_ORDER, "each has its place in the order");
static_assert(offsetof(struct pms_sorted_node_pm, kids) == 32, "pms_sorted_kid");
static_assert(offsetof(struct pms_sorted_kid_pm, count) == PMS_KID_COUNT, "as it says");
static_assert(offsetof(struct pms_sorted_kid_pm, least) == PMS_KID_LEAST, "as it says");
static_assert(offsetof(struct pms_sorted_kid_pm, prefix) == PMS_KID_PREFIX, "as it says");

int pms_sorted_create(struct pms_pool *pool, uint32_t tag, uint64_t *off)
{
    const struct pms_sorted_pm empty = {.obj = {.magic_kind = PMS_OBJECT_MAGIC | tag}};
    PMS_TRY(pms_alloc(&pool->heap, sizeof empty, off));
    pms_init_bytes(&pool->ws, *off, &empty, sizeof empty);
    return PMS_OK;
}

uint64_t pms_sorted_len(const struct pms_pool *pool, uint64_t sorted)
{
    return pms_get(pool, PMS_SORTED_AT(sorted, count));
}

/* ---- the tree ---- */

int pms_sorted_load(const struct pms_pool *pool, uint64_t off, struct pms_sorted *out)
{
    if (!pms_off_ok(&pool->heap, off, sizeof(struct pms_sorted_pm)))
        return PMS_FAIL(PMS_E_CORRUPT, "offset of a sorted dict", off, 0, 0);
    uint64_t magic = pms_get(pool, off);
    if (magic != (PMS_OBJECT_MAGIC | PMS_TAG_SORTED_DICT) &&
        magic != (PMS_OBJECT_MAGIC | PMS_TAG_SORTED_SET))
        return PMS_FAIL(PMS_E_CORRUPT, "magic of a sorted dict", off,
                        PMS_OBJECT_MAGIC | PMS_TAG_SORTED_DICT, magic);
    uint64_t height = pms_get(pool, PMS_SORTED_AT(off, height));
    uint64_t order = pms_get(pool, PMS_SORTED_AT(off, order));
    out->off = off;
    out->count = pms_get(pool, PMS_SORTED_AT(off, count));
    out->root = pms_get(pool, PMS_SORTED_AT(off, root));
    if (height > PMS_SORTED_HEIGHT_MAX || (!out->root && height))
        return PMS_FAIL(PMS_E_CORRUPT, "height of a sorted dict", off, PMS_SORTED_HEIGHT_MAX,
                        height);
    if ((out->root == 0) != (out->count == 0))
        return PMS_FAIL(PMS_E_CORRUPT, "a sorted dict's count does not fit its root", off,
                        out->root, out->count);
    if (order > PMS_ORDER_UUID || (order == 0) != (out->count == 0))
        return PMS_FAIL(PMS_E_CORRUPT, "what the keys of a sorted dict are", off,
                        PMS_ORDER_UUID, order);
    out->height = (uint32_t)height;
    out->order = (uint32_t)order;
    return PMS_OK;
}

int pms_sorted_node(const struct pms_pool *pool, uint64_t off, struct pms_sorted_head *out)
{
    if ((off & 15u) || !pms_off_ok(&pool->heap, off, sizeof(struct pms_sorted_node_pm)))
        return PMS_FAIL(PMS_E_CORRUPT, "offset of a sorted dict's node", off, 0, 0);
    uint64_t head = pms_get(pool, off);
    out->used = (uint32_t)head & 0xffffu;
    out->common = (uint32_t)head >> 16;
    out->room = PMS_SORTED_KIDS;
    if (head >> 32 != PMS_SORTED_NODE_MAGIC || out->used == 0 || out->used > PMS_SORTED_KIDS ||
        out->common > PMS_SORTED_COMMON)
        return PMS_FAIL(PMS_E_CORRUPT, "head of a sorted dict's node", off,
                        PMS_SORTED_NODE_MAGIC << 32, head);
    return PMS_OK;
}

int pms_sorted_leaf(const struct pms_pool *pool, uint64_t off, struct pms_sorted_head *out)
{
    if ((off & 15u) || !pms_off_ok(&pool->heap, off, pms_sorted_ref(0, PMS_SORTED_ROOM_MIN)))
        return PMS_FAIL(PMS_E_CORRUPT, "offset of a sorted dict's leaf", off, 0, 0);
    uint64_t head = pms_get(pool, off);
    uint32_t room = (uint32_t)head >> 8 & 0xffu;
    out->used = (uint32_t)head & 0xffu;
    out->room = room;
    out->common = (uint32_t)head >> 16;
    if (head >> 32 != PMS_SORTED_LEAF_MAGIC || room < PMS_SORTED_ROOM_MIN ||
        room > PMS_SORTED_REFS || ((room + 6) & (room + 5)) || out->used == 0 ||
        out->used > room || out->common > PMS_SORTED_COMMON ||
        !pms_off_ok(&pool->heap, off, pms_sorted_ref(0, room)))
        return PMS_FAIL(PMS_E_CORRUPT, "head of a sorted dict's leaf", off,
                        PMS_SORTED_LEAF_MAGIC << 32, head);
    return PMS_OK;
}

int pms_sorted_slot(const struct pms_pool *pool, uint64_t leaf, uint32_t used, uint32_t at,
                    uint32_t *slot)
{
    uint64_t word = pms_get(pool, pms_sorted_order(leaf, at));
    *slot = (uint32_t)(word >> 8 * (at & 7u)) & 0xffu;
    if (PMS_LIKELY(*slot < used))
        return PMS_OK;
    return PMS_FAIL(PMS_E_CORRUPT, "order of a sorted dict's leaf", leaf, used, *slot);
}

int pms_sorted_here(const struct pms_pool *pool, const struct pms_sorted_path *path,
                    uint64_t *entry)
{
    uint32_t slot;
    PMS_TRY(pms_sorted_slot(pool, path->off[0], path->used[0], path->at[0], &slot));
    *entry = pms_get(pool, pms_sorted_ref(path->off[0], slot));
    return PMS_OK;
}

/* The path's leaf, which has `total` references. */
static int arrive(const struct pms_pool *pool, const struct pms_sorted *sorted, uint64_t off,
                  uint64_t total, struct pms_sorted_path *path, struct pms_sorted_head *head)
{
    path->off[0] = off;
    PMS_TRY(pms_sorted_leaf(pool, off, head));
    path->used[0] = head->used;
    path->room = head->room;
    if (head->used != total)
        return PMS_FAIL(PMS_E_CORRUPT, "entries of a sorted dict's leaf", off, total,
                        head->used);
    if (sorted->height && head->room != PMS_SORTED_REFS)
        return PMS_FAIL(PMS_E_CORRUPT, "room of a sorted dict's leaf", off, PMS_SORTED_REFS,
                        head->room);
    return PMS_OK;
}

/* Which kid of a node with `total` entries below has entry *rest?  *rest becomes relative to
 * it.  Scans from the nearer end. */
static int pick_kid(const struct pms_pool *pool, uint64_t node, uint32_t used, uint64_t total,
                    uint64_t *rest, uint32_t *at)
{
    if (*rest < total / 2) {
        for (uint32_t i = 0; i < used; i++) {
            uint64_t below = pms_get(pool, pms_sorted_kid(node, i) + PMS_KID_COUNT);
            if (*rest < below) {
                *at = i;
                return PMS_OK;
            }
            *rest -= below;
        }
    } else {
        uint64_t before = total;
        for (uint32_t i = used; i-- > 0;) {
            uint64_t below = pms_get(pool, pms_sorted_kid(node, i) + PMS_KID_COUNT);
            if (below > before)
                break;
            before -= below;
            if (*rest >= before) {
                *at = i;
                *rest -= before;
                return PMS_OK;
            }
        }
    }
    return PMS_FAIL(PMS_E_CORRUPT, "counts of a sorted dict's node do not add up", node, total,
                    *rest);
}

int pms_sorted_seek(const struct pms_pool *pool, const struct pms_sorted *sorted,
                    uint64_t index, struct pms_sorted_path *path)
{
    uint64_t off = sorted->root, total = sorted->count, rest = index;
    struct pms_sorted_head head;
    for (uint32_t level = sorted->height; level > 0; level--) {
        path->off[level] = off;
        PMS_TRY(pms_sorted_node(pool, off, &head));
        path->used[level] = head.used;
        PMS_TRY(pick_kid(pool, off, path->used[level], total, &rest, &path->at[level]));
        uint64_t kid = pms_sorted_kid(off, path->at[level]);
        off = pms_get(pool, kid);
        total = pms_get(pool, kid + PMS_KID_COUNT);
    }
    PMS_TRY(arrive(pool, sorted, off, total, path, &head));
    if (rest >= total)
        return PMS_FAIL(PMS_E_CORRUPT, "entries of a sorted dict's leaf", off, total, rest);
    path->at[0] = (uint32_t)rest;
    return PMS_OK;
}

uint64_t pms_sorted_rank(const struct pms_pool *pool, const struct pms_sorted *sorted,
                         const struct pms_sorted_path *path)
{
    uint64_t rank = path->at[0];
    for (uint32_t level = sorted->height; level > 0; level--)
        for (uint32_t i = 0; i < path->at[level]; i++)
            rank += pms_get(pool, pms_sorted_kid(path->off[level], i) + PMS_KID_COUNT);
    return rank;
}

/* ---- entries ---- */

static int bad_entry(uint64_t entry, uint64_t want, uint64_t have)
{
    return PMS_FAIL(PMS_E_CORRUPT, "entry of a sorted dict", entry, want, have);
}

/* Where the key's bytes are, and what is behind them. */
static inline int key_bytes(struct pms_pool *pool, uint64_t entry, uint64_t word0,
                            struct pms_sorted_parts *out)
{
    uint32_t flags = PMS_CELL_FLAGS(word0);
    out->key_len = PMS_CELL_LEN(word0);
    if (flags & PMS_CELL_SHORT)
        return out->key_len <= 8 ? PMS_OK : bad_entry(entry, 8, out->key_len);
    out->key = pms_cell_at(entry, flags, pms_get(pool, entry + 8));
    if (!pms_off_ok(&pool->heap, out->key, out->key_len))
        return bad_entry(entry, out->key_len, out->key);
    if (!(flags & PMS_CELL_INNER))
        out->far = 1;
    else if (out->key_len > 8)
        out->value = out->key + PMS_PAD8(out->key_len);
    return PMS_OK;
}

/* Inline: who needs a part of it pays for no more. */
static inline int parts_of(struct pms_pool *pool, uint64_t entry, struct pms_sorted_parts *out)
{
    *out = (struct pms_sorted_parts){.key = entry + 8};
    if (PMS_UNLIKELY(!pms_off_ok(&pool->heap, entry, PMS_SORTED_ENTRY_MIN)))
        return PMS_FAIL(PMS_E_CORRUPT, "place of a sorted dict's entry", entry, 0, 0);
    uint64_t word0 = pms_get(pool, entry);
    out->tag = PMS_CELL_TAG(word0);
    out->value = entry + sizeof(struct pms_sorted_entry_pm);
    switch (out->tag) {
    case PMS_TAG_FALSE:
    case PMS_TAG_TRUE:
    case PMS_TAG_INT:
    case PMS_TAG_FLOAT:
        return PMS_OK;
    case PMS_TAG_STR:
    case PMS_TAG_BYTES:
        PMS_TRY(key_bytes(pool, entry, word0, out));
        break;
    case PMS_TAG_BIGINT:
    case PMS_TAG_PACKED:
        PMS_TRY(key_bytes(pool, entry, word0, out));
        if (!pms_off_ok(&pool->heap, out->value, 8))
            return bad_entry(entry, 8, 0);
        out->image = out->value + 8;
        out->image_len = pms_get(pool, out->value);
        if (out->image_len > UINT32_MAX || !pms_off_ok(&pool->heap, out->image, out->image_len))
            return bad_entry(entry, UINT32_MAX, out->image_len);
        out->value = out->image + PMS_PAD8(out->image_len);
        break;
    default:
        return bad_entry(entry, PMS_TAG_INT, out->tag);
    }
    if (PMS_UNLIKELY(!pms_off_ok(&pool->heap, out->value, sizeof(struct pms_cell_pm))))
        return bad_entry(entry, sizeof(struct pms_cell_pm), out->value);
    return PMS_OK;
}

int pms_sorted_parts(struct pms_pool *pool, uint64_t entry, struct pms_sorted_parts *out)
{
    return parts_of(pool, entry, out);
}

int pms_sorted_image(struct pms_pool *pool, uint64_t entry, struct pms_image *out)
{
    struct pms_sorted_parts parts;
    double number;
    uint64_t word;
    PMS_TRY(parts_of(pool, entry, &parts));
    out->bytes = out->room;
    switch (parts.tag) {
    case PMS_TAG_FALSE:
    case PMS_TAG_TRUE:
        out->len = pms_image_int(parts.tag == PMS_TAG_TRUE, out->room);
        return PMS_OK;
    case PMS_TAG_INT:
        out->len = pms_image_int((int64_t)pms_get(pool, parts.key), out->room);
        return PMS_OK;
    case PMS_TAG_FLOAT:
        word = pms_get(pool, parts.key);
        memcpy(&number, &word, 8);
        out->len = pms_image_float(number, out->room);
        return out->len ? PMS_OK : PMS_FAIL(PMS_E_CORRUPT, "a NaN is a key", entry, 0, word);
    case PMS_TAG_STR:
    case PMS_TAG_BYTES:
        out->bytes = pms_view_block(pool, parts.key);
        out->len = parts.key_len;
        return PMS_OK;
    default:
        out->bytes = pms_view_block(pool, parts.image);
        out->len = parts.image_len;
        return PMS_OK;
    }
}

int pms_sorted_entry(struct pms_pool *pool, uint64_t entry, struct pms_val *key,
                     struct pms_val *value)
{
    struct pms_sorted_parts parts;
    PMS_TRY(parts_of(pool, entry, &parts));
    if (key) {
        int bytes = pms_tag_is_bytes(parts.tag);
        key->tag = parts.tag;
        key->zero = 0;
        key->num = bytes ? 0 : pms_get(pool, entry + 8);
        key->len = bytes ? parts.key_len : 0;
        key->data = !bytes ? NULL : key->len ? pms_view_block(pool, parts.key) : "";
    }
    return value ? pms_cell_read(pool, parts.value, value) : PMS_OK;
}

/* ---- order ---- */

/* How the key and that of the entry compare: *order < 0: the key is less. */
static int compare(struct pms_pool *pool, const struct pms_order_key *key, uint64_t entry,
                   int *order)
{
    struct pms_image image;
    if (PMS_UNLIKELY(!pms_off_ok(&pool->heap, entry, sizeof(struct pms_sorted_entry_pm))))
        return PMS_FAIL(PMS_E_CORRUPT, "place of a sorted dict's entry", entry, 0, 0);
    if (key->stored.tag == PMS_TAG_INT && pms_get(pool, entry) == PMS_TAG_INT) {
        int64_t have = (int64_t)pms_get(pool, entry + 8), want = (int64_t)key->stored.num;
        *order = (want > have) - (want < have);
        return PMS_OK;
    }
    PMS_TRY(pms_sorted_image(pool, entry, &image));
    *order = pms_image_compare(key->image, key->len, image.bytes, image.len);
    return PMS_OK;
}

/* The front of a key's image as numbers, the first byte highest, padded with zeroes. */
struct front {
    uint64_t word[PMS_SORTED_COMMON / 8 + 1];
    uint64_t len; /* of the whole image */
};

static void read_front(const struct pms_order_key *key, struct front *out)
{
    uint64_t word[PMS_SORTED_COMMON / 8 + 1] = {0};
    memcpy(word, key->image, key->len < sizeof word ? (size_t)key->len : sizeof word);
    for (uint32_t i = 0; i <= PMS_SORTED_COMMON / 8; i++)
        out->word[i] = __builtin_bswap64(word[i]);
    out->len = key->len;
}

/* How the key compares with the common bytes of a block; 0: it begins with them, and then
 * *prefix is that of the key. */
static inline int compare_common(const struct pms_pool *pool, const struct front *front,
                                 uint64_t block, uint32_t common, uint64_t *prefix)
{
    uint32_t whole = common / 8, rest = 8 * (common % 8);
    for (uint32_t i = 0; 8 * i < common; i++) {
        uint64_t have = __builtin_bswap64(pms_get(pool, PMS_SORTED_BYTES(block) + 8 * i));
        uint64_t want = front->word[i];
        if (i == whole) {
            have >>= 64 - rest;
            want >>= 64 - rest;
        }
        if (PMS_UNLIKELY(have != want))
            return want < have ? -1 : 1;
    }
    if (PMS_UNLIKELY(front->len < common))
        return -1;
    *prefix = front->word[whole] << rest;
    if (rest)
        *prefix |= front->word[whole + 1] >> (64 - rest);
    return 0;
}

/* The last kid whose least entry is not greater than the key; the first one if all are. */
static int choose_kid(struct pms_pool *pool, const struct pms_order_key *key,
                      const struct front *front, uint64_t node,
                      const struct pms_sorted_head *head, uint32_t *at)
{
    uint64_t prefix = 0;
    int side = compare_common(pool, front, node, head->common, &prefix);
    uint32_t lo = side <= 0 ? 1 : head->used, hi = side < 0 ? 1 : head->used;
    while (lo < hi) {
        uint32_t mid = (lo + hi) / 2;
        uint64_t kid = pms_sorted_kid(node, mid), have = pms_get(pool, kid + PMS_KID_PREFIX);
        int less = prefix < have;
        if (PMS_UNLIKELY(prefix == have)) {
            PMS_TRY(compare(pool, key, pms_get(pool, kid + PMS_KID_LEAST), &less));
            less = less < 0;
        }
        if (less)
            hi = mid;
        else
            lo = mid + 1;
    }
    *at = lo - 1;
    return PMS_OK;
}

static int choose_ref(struct pms_pool *pool, const struct pms_order_key *key,
                      const struct front *front, const struct pms_sorted_head *head,
                      struct pms_sorted_path *path, int *found)
{
    uint64_t leaf = path->off[0], prefix = 0;
    int side = compare_common(pool, front, leaf, head->common, &prefix);
    uint32_t lo = side <= 0 ? 0 : head->used, hi = side < 0 ? 0 : head->used;
    *found = 0;
    while (lo < hi) {
        uint32_t mid = (lo + hi) / 2, slot;
        PMS_TRY(pms_sorted_slot(pool, leaf, head->used, mid, &slot));
        uint64_t ref = pms_sorted_ref(leaf, slot), have = pms_get(pool, ref + 8);
        int order = prefix < have ? -1 : 1;
        if (prefix == have) {
            pms_sorted_prefetch(pool, pms_get(pool, ref));
            PMS_TRY(compare(pool, key, pms_get(pool, ref), &order));
            if (order == 0) {
                *found = 1;
                lo = mid;
                break;
            }
        }
        if (order < 0)
            hi = mid;
        else
            lo = mid + 1;
    }
    path->at[0] = lo;
    return PMS_OK;
}

int pms_sorted_find(struct pms_pool *pool, const struct pms_sorted *sorted,
                    const struct pms_order_key *key, struct pms_sorted_path *path, int *found)
{
    uint64_t off = sorted->root, total = sorted->count;
    struct pms_sorted_head head;
    struct front front;
    read_front(key, &front);
    for (uint32_t level = sorted->height; level > 0; level--) {
        path->off[level] = off;
        PMS_TRY(pms_sorted_node(pool, off, &head));
        path->used[level] = head.used;
        PMS_TRY(choose_kid(pool, key, &front, off, &head, &path->at[level]));
        uint64_t kid = pms_sorted_kid(off, path->at[level]);
        off = pms_get(pool, kid);
        total = pms_get(pool, kid + PMS_KID_COUNT);
    }
    PMS_TRY(arrive(pool, sorted, off, total, path, &head));
    return choose_ref(pool, key, &front, &head, path, found);
}

static int fits_at(struct pms_pool *pool, const struct pms_sorted *sorted,
                   const struct pms_order_key *key, uint64_t index)
{
    struct pms_sorted_path path;
    struct pms_image image;
    uint64_t entry;
    PMS_TRY(pms_sorted_seek(pool, sorted, index, &path));
    PMS_TRY(pms_sorted_here(pool, &path, &entry));
    PMS_TRY(pms_sorted_image(pool, entry, &image));
    return pms_image_mixed(key->image, key->len, image.bytes, image.len) ? PMS_MIXED : PMS_OK;
}

int pms_sorted_fits(struct pms_pool *pool, const struct pms_sorted *sorted,
                    const struct pms_order_key *key, const struct pms_sorted_path *path)
{
    if (PMS_LIKELY(key->order != PMS_ORDER_TUPLE))
        return PMS_OK;
    uint64_t rank = pms_sorted_rank(pool, sorted, path);
    if (rank > 0)
        PMS_TRY(fits_at(pool, sorted, key, rank - 1));
    return rank < sorted->count ? fits_at(pool, sorted, key, rank) : PMS_OK;
}

/* ---- look-up ---- */

/* The header and the way to a key that is there; PMS_MISSING if it is not. */
static int look_up(struct pms_pool *pool, uint64_t off, const struct pms_order_key *key,
                   struct pms_sorted *sorted, struct pms_sorted_path *path)
{
    int found;
    PMS_TRY(pms_sorted_load(pool, off, sorted));
    if (sorted->order != key->order)
        return PMS_MISSING;
    PMS_TRY(pms_sorted_find(pool, sorted, key, path, &found));
    return found ? PMS_OK : PMS_MISSING;
}

int pms_sorted_get(struct pms_pool *pool, uint64_t off, const struct pms_order_key *key,
                   struct pms_val *out)
{
    struct pms_sorted sorted;
    struct pms_sorted_path path;
    struct pms_sorted_parts parts;
    int status = look_up(pool, off, key, &sorted, &path);
    uint64_t entry;
    if (PMS_UNLIKELY(status != PMS_OK))
        return status;
    PMS_TRY(pms_sorted_here(pool, &path, &entry));
    PMS_TRY(parts_of(pool, entry, &parts));
    return pms_cell_read(pool, parts.value, out);
}

int pms_sorted_index(struct pms_pool *pool, uint64_t off, const struct pms_order_key *key,
                     uint64_t *index)
{
    struct pms_sorted sorted;
    struct pms_sorted_path path;
    PMS_TRY(look_up(pool, off, key, &sorted, &path));
    if (index)
        *index = pms_sorted_rank(pool, &sorted, &path);
    return PMS_OK;
}

int pms_sorted_bound(struct pms_pool *pool, uint64_t off, const struct pms_order_key *key,
                     int after, uint64_t *index)
{
    struct pms_sorted sorted;
    struct pms_sorted_path path;
    int found;
    *index = 0;
    PMS_TRY(pms_sorted_load(pool, off, &sorted));
    if (sorted.count == 0)
        return PMS_OK;
    if (sorted.order != key->order)
        return PMS_MIXED;
    PMS_TRY(pms_sorted_find(pool, &sorted, key, &path, &found));
    if (!found)
        PMS_TRY(pms_sorted_fits(pool, &sorted, key, &path));
    *index = pms_sorted_rank(pool, &sorted, &path) + (uint64_t)(found && after);
    return PMS_OK;
}

int pms_sorted_at(struct pms_pool *pool, uint64_t sorted, uint64_t index, uint64_t *entry)
{
    struct pms_sorted_run run;
    PMS_TRY(pms_sorted_run(pool, sorted, index, 1, &run));
    *entry = run.entry[0];
    return PMS_OK;
}
