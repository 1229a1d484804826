/* sorted_edit.c -- the persistent sorted dict: entries come and go, blocks split and join.
 *
 *   full leaf, a greatest key:  [58] -> [58][1]       full leaf, else:  [58] -> [29][30]
 *   leaf below 19:              with its neighbour <= 48 items: one leaf; else shared evenly
 *   nodes:                      the same, with 31 kids, 10 and 26
 *   empty leaf:                 freed, and its kid leaves the node above
 *   root with one kid:          the kid becomes the root
 *
 * A reference comes behind the last one of its leaf, and goes by the last one taking its place: in
 * both cases only the order moves.  What changes more of a block reads it into DRAM and writes
 * it anew (sorted_block.c).
 *
 * A change walks the path once from the leaf to the root (insert_ref, settle), fixing counts,
 * least entries and prefixes of all levels, and the shape of those that need it.  A new block
 * is filled before anything refers to it.  Blocks, invariants: sorted.c, sorted_tree.h.  A call
 * that fails midway leaves the tree half changed in the write set: its caller rolls the
 * operation back.
 */
#include "sorted_tree.h"

/* The kid `at` of a node becomes this one; its image matters only if its least entry changes. */
static int put_kid(struct pms_pool *pool, uint64_t node, uint32_t at,
                   const struct pms_branch *branch)
{
    uint64_t kid = pms_sorted_kid(node, at);
    struct pms_image image;
    uint32_t common;
    if (pms_get(pool, kid + PMS_KID_LEAST) != branch->least) {
        PMS_TRY(pms_sorted_image(pool, branch->least, &image));
        PMS_TRY(pms_sorted_agree(pool, 1, node, image.bytes, image.len, &common));
        pms_put(pool, kid + PMS_KID_LEAST, branch->least);
        pms_put(pool, kid + PMS_KID_PREFIX,
                pms_image_prefix_at(image.bytes, image.len, common));
    }
    pms_put(pool, kid, branch->off);
    pms_put(pool, kid + PMS_KID_COUNT, branch->count);
    return PMS_OK;
}

static void get_kid(const struct pms_pool *pool, uint64_t node, uint32_t at,
                    struct pms_branch *branch)
{
    uint64_t kid = pms_sorted_kid(node, at);
    branch->off = pms_get(pool, kid);
    branch->count = pms_get(pool, kid + PMS_KID_COUNT);
    branch->least = pms_get(pool, kid + PMS_KID_LEAST);
    branch->prefix = pms_get(pool, kid + PMS_KID_PREFIX);
}

/* Is the block of this level the last of its level? */
static int on_right_edge(const struct pms_sorted *sorted, const struct pms_sorted_path *path,
                         uint32_t level)
{
    for (uint32_t l = level + 1; l <= sorted->height; l++)
        if (path->at[l] != path->used[l] - 1)
            return 0;
    return 1;
}

static void put_count(struct pms_pool *pool, const struct pms_sorted *sorted, uint64_t count)
{
    pms_put(pool, PMS_SORTED_AT(sorted->off, count), count);
}

/* ---- entries ---- */

/* A cell to come: its bytes are INNER, and follow its head, or it is two words. */
struct draft {
    const struct pms_val *value;
    int inner;
    uint64_t cell[2];
    uint64_t bytes; /* in the entry */
};

static int draft_cell(struct pms_pool *pool, const struct pms_val *value, uint64_t most,
                      struct draft *out)
{
    out->value = value;
    out->inner = pms_val_is_inner(value, most);
    if (!out->inner) {
        out->bytes = sizeof out->cell;
        return pms_cell_make(pool, value, out->cell);
    }
    out->bytes = PMS_CELL_INNER_BYTES(value->len);
    out->cell[0] = PMS_CELL_WORD0(value->tag, PMS_CELL_INNER, value->len);
    return PMS_OK;
}

/* Into a new entry. */
static void init_cell(struct pms_pool *pool, uint64_t at, const struct draft *draft)
{
    pms_init_bytes(&pool->ws, at, draft->cell, draft->inner ? 8 : sizeof draft->cell);
    if (draft->inner)
        pms_init_bytes(&pool->ws, at + 8, draft->value->data, (size_t)draft->value->len);
}

static int make_entry(struct pms_pool *pool, const struct pms_order_key *key,
                      const struct pms_val *value, uint64_t *out)
{
    const struct pms_val *stored = &key->stored;
    int imaged = stored->tag == PMS_TAG_BIGINT || stored->tag == PMS_TAG_PACKED;
    struct draft first, second;
    uint64_t entry;
    if (stored->tag < PMS_TAG_FALSE || stored->tag > PMS_TAG_PACKED || key->len >= UINT32_MAX)
        return PMS_FAIL(PMS_E_INVAL, "key of a sorted dict", 0, key->len, stored->tag);
    PMS_TRY(draft_cell(pool, stored, PMS_KEY_INNER_MAX, &first));
    PMS_TRY(draft_cell(pool, value, PMS_VALUE_INNER_MAX, &second));
    uint64_t image_at = first.bytes,
             value_at = image_at + (imaged ? 8 + PMS_PAD8(key->len) : 0);
    PMS_TRY(pms_alloc(&pool->heap, value_at + second.bytes, &entry));
    init_cell(pool, entry, &first);
    if (imaged) {
        pms_init_bytes(&pool->ws, entry + image_at, &key->len, 8);
        pms_init_bytes(&pool->ws, entry + image_at + 8, key->image, (size_t)key->len);
    }
    init_cell(pool, entry + value_at, &second);
    *out = entry;
    return PMS_OK;
}

static int replace(struct pms_pool *pool, uint64_t entry, const struct pms_val *value)
{
    struct pms_sorted_parts parts;
    struct draft draft;
    uint64_t capacity;
    PMS_TRY(pms_sorted_parts(pool, entry, &parts));
    PMS_TRY(pms_block(&pool->heap, entry, &capacity));
    uint64_t used = parts.value + 8 - entry; /* up to the cell's word */
    if (used + 8 > capacity)
        return PMS_FAIL(PMS_E_CORRUPT, "length of a sorted dict's key", entry, capacity, used);
    uint64_t room = capacity - used;
    PMS_TRY(draft_cell(pool, value, room < PMS_VALUE_INNER_MAX ? room : PMS_VALUE_INNER_MAX,
                       &draft));
    PMS_TRY(pms_cell_drop(pool, parts.value));
    pms_put(pool, parts.value, draft.cell[0]);
    if (draft.inner)
        pms_wr_bytes(&pool->ws, parts.value + 8, value->data, (size_t)value->len);
    else
        pms_put(pool, parts.value + 8, draft.cell[1]);
    return PMS_OK;
}

static int drop_entry(struct pms_pool *pool, uint64_t entry)
{
    struct pms_sorted_parts parts;
    PMS_TRY(pms_sorted_parts(pool, entry, &parts));
    if (parts.far)
        PMS_TRY(pms_free(&pool->heap, parts.key));
    PMS_TRY(pms_cell_drop(pool, parts.value));
    return pms_free(&pool->heap, entry);
}

/* ---- coming ---- */

/* What comes: the reference to an entry, and the image of its key. */
struct coming {
    uint64_t entry;
    const struct pms_order_key *key;
};

/* From `level` up: one more entry below each item of the path.  Its place in the leaf is 0 only
 * if it is the least of all, and then each of these items is the first of its node. */
static int add_to_path(struct pms_pool *pool, const struct pms_sorted *sorted,
                       const struct pms_sorted_path *path, uint32_t level,
                       const struct coming *coming)
{
    for (uint32_t l = level; l <= sorted->height; l++) {
        uint64_t kid = pms_sorted_kid(path->off[l], path->at[l]);
        pms_put(pool, kid + PMS_KID_COUNT, pms_get(pool, kid + PMS_KID_COUNT) + 1);
        if (path->at[0] == 0) {
            const struct pms_order_key *key = coming->key;
            uint32_t common;
            PMS_TRY(pms_sorted_agree(pool, 1, path->off[l], key->image, key->len, &common));
            pms_put(pool, kid + PMS_KID_LEAST, coming->entry);
            pms_put(pool, kid + PMS_KID_PREFIX,
                    pms_image_prefix_at(key->image, key->len, common));
        }
    }
    put_count(pool, sorted, sorted->count + 1);
    return PMS_OK;
}

/* The order of a leaf's references `from` on is read, changed in DRAM, and stored. */
struct order {
    uint8_t now[PMS_SORTED_ORDER];
    uint64_t was[PMS_SORTED_ORDER / 8];
};

static void read_order(const struct pms_pool *pool, uint64_t leaf, uint32_t from, uint32_t to,
                       struct order *order)
{
    for (uint32_t at = from & ~7u; at < to; at += 8) {
        order->was[at / 8] = pms_get(pool, pms_sorted_order(leaf, at));
        memcpy(order->now + at, &order->was[at / 8], 8);
    }
}

static void write_order(struct pms_pool *pool, uint64_t leaf, uint32_t from, uint32_t to,
                        const struct order *order)
{
    uint64_t word;
    for (uint32_t at = from & ~7u; at < to; at += 8) {
        memcpy(&word, order->now + at, 8);
        if (word != order->was[at / 8])
            pms_put(pool, pms_sorted_order(leaf, at), word);
    }
}

/* A leaf with space. */
static int add_ref(struct pms_pool *pool, const struct pms_sorted_path *path,
                   const struct coming *coming)
{
    const struct pms_order_key *key = coming->key;
    uint64_t leaf = path->off[0], ref = pms_sorted_ref(leaf, path->used[0]);
    uint32_t used = path->used[0], at = path->at[0], common;
    struct order order;
    PMS_TRY(pms_sorted_agree(pool, 0, leaf, key->image, key->len, &common));
    read_order(pool, leaf, at, used + 1, &order);
    memmove(order.now + at + 1, order.now + at, used - at);
    order.now[at] = (uint8_t)used;
    write_order(pool, leaf, at, used + 1, &order);
    pms_put(pool, ref, coming->entry);
    pms_put(pool, ref + 8, pms_image_prefix_at(key->image, key->len, common));
    pms_put(pool, leaf, pms_get(pool, leaf) + 1);
    return PMS_OK;
}

/* A node with space: the kids from `at` on move up by one. */
static int add_kid(struct pms_pool *pool, uint32_t level, uint64_t node, uint32_t at,
                   const struct pms_branch *kid)
{
    struct pms_sorted_block block;
    struct pms_image image;
    int lowered = 0;
    PMS_TRY(pms_sorted_read(pool, level, node, &block));
    PMS_TRY(pms_sorted_image(pool, kid->least, &image));
    pms_sorted_place(&block, at, kid, image.bytes, image.len, &lowered);
    pms_sorted_write(pool, &block, lowered ? 0 : at);
    return PMS_OK;
}

/* The items of a block from `keep` on become a block of their own, as yet without a place. */
static void divide(struct pms_sorted_block *block, uint32_t keep,
                   struct pms_sorted_block *right)
{
    right->off = 0;
    right->level = block->level;
    right->head = block->head;
    right->head.room = pms_sorted_room(block->level);
    right->head.used = block->head.used - keep;
    memcpy(right->bytes, block->bytes, sizeof right->bytes);
    memcpy(right->item, block->item + keep, right->head.used * sizeof right->item[0]);
    block->head.used = keep;
}

/* A full block takes one more item at `at`: it keeps the first items and becomes half[0],
 * half[1] is a new block with the rest. */
static int split(struct pms_pool *pool, uint32_t level, uint64_t off, uint32_t at,
                 const struct pms_branch *item, struct pms_branch half[2])
{
    struct pms_sorted_block block, right;
    struct pms_image image;
    uint32_t keep = (pms_sorted_room(level) + 1) / 2;
    int rewritten = 0, renewed = 0;
    PMS_TRY(pms_sorted_read(pool, level, off, &block));
    PMS_TRY(pms_sorted_image(pool, item->least, &image));
    pms_sorted_place(&block, at, item, image.bytes, image.len, &rewritten);
    divide(&block, keep, &right);
    PMS_TRY(pms_sorted_sharpen(pool, &block, &rewritten));
    PMS_TRY(pms_sorted_sharpen(pool, &right, &renewed));
    pms_sorted_write(pool, &block, rewritten ? 0 : at);
    PMS_TRY(pms_sorted_make(pool, &right));
    half[0] = pms_sorted_branch(&block);
    half[1] = pms_sorted_branch(&right);
    return PMS_OK;
}

/* A full block at the right edge stays as it is; the greatest key begins a new one. */
static int split_off(struct pms_pool *pool, uint32_t level, uint64_t off,
                     const struct pms_branch *item, struct pms_branch half[2])
{
    struct pms_sorted_block block, right;
    PMS_TRY(pms_sorted_read(pool, level, off, &block));
    half[0] = pms_sorted_branch(&block);
    divide(&block, block.head.used, &right);
    right.item[0] = *item;
    right.head.used = 1;
    PMS_TRY(pms_sorted_renew(pool, &right));
    PMS_TRY(pms_sorted_make(pool, &right));
    half[1] = pms_sorted_branch(&right);
    return PMS_OK;
}

/* The root was split: a new one above it. */
static int raise_root(struct pms_pool *pool, const struct pms_sorted *sorted,
                      const struct pms_branch kids[2])
{
    struct pms_sorted_block root = {.level = 1, .head = {2, PMS_SORTED_KIDS, 0}};
    if (sorted->height == PMS_SORTED_HEIGHT_MAX)
        return PMS_FAIL(PMS_E_FULL, "a sorted dict is too long", sorted->off, sorted->count + 1,
                        sorted->count);
    memcpy(root.item, kids, 2 * sizeof *kids);
    PMS_TRY(pms_sorted_renew(pool, &root));
    PMS_TRY(pms_sorted_make(pool, &root));
    pms_put(pool, PMS_SORTED_AT(sorted->off, root), root.off);
    pms_put(pool, PMS_SORTED_AT(sorted->off, height), sorted->height + 1);
    put_count(pool, sorted, sorted->count + 1);
    return PMS_OK;
}

/* The root leaf is full and small: one of twice the size takes its place. */
static int widen_root(struct pms_pool *pool, const struct pms_sorted *sorted,
                      const struct pms_sorted_path *path, const struct coming *coming)
{
    const struct pms_branch item = {coming->entry, 1, coming->entry, 0};
    struct pms_sorted_block root;
    int rewritten = 0;
    PMS_TRY(pms_sorted_read(pool, 0, sorted->root, &root));
    root.head.room = pms_sorted_wider(path->room);
    pms_sorted_place(&root, path->at[0], &item, coming->key->image, coming->key->len,
                     &rewritten);
    PMS_TRY(pms_sorted_sharpen(pool, &root, &rewritten));
    PMS_TRY(pms_sorted_make(pool, &root));
    PMS_TRY(pms_free(&pool->heap, sorted->root));
    pms_put(pool, PMS_SORTED_AT(sorted->off, root), root.off);
    put_count(pool, sorted, sorted->count + 1);
    return PMS_OK;
}

/* Put a reference at the path's place, which may be one behind the last of its leaf. */
static int insert_ref(struct pms_pool *pool, const struct pms_sorted *sorted,
                      const struct pms_sorted_path *path, const struct coming *coming)
{
    struct pms_branch item = {coming->entry, 1, coming->entry, 0}, half[2];
    if (PMS_LIKELY(path->used[0] < path->room)) {
        PMS_TRY(add_ref(pool, path, coming));
        return add_to_path(pool, sorted, path, 1, coming);
    }
    if (path->room < PMS_SORTED_REFS)
        return widen_root(pool, sorted, path, coming);
    for (uint32_t level = 0;; level++) {
        uint64_t block = path->off[level];
        uint32_t used = path->used[level];
        uint32_t at = level ? path->at[level] + 1 : path->at[0];
        if (used < pms_sorted_room(level)) {
            PMS_TRY(add_kid(pool, level, block, at, &item));
            return add_to_path(pool, sorted, path, level + 1, coming);
        }
        if (at == used && on_right_edge(sorted, path, level))
            PMS_TRY(split_off(pool, level, block, &item, half));
        else
            PMS_TRY(split(pool, level, block, at, &item, half));
        if (level == sorted->height)
            return raise_root(pool, sorted, half);
        PMS_TRY(put_kid(pool, path->off[level + 1], path->at[level + 1], &half[0]));
        item = half[1];
    }
}

/* The first entry of all. */
static int begin(struct pms_pool *pool, const struct pms_sorted *sorted,
                 const struct coming *coming)
{
    struct pms_sorted_block leaf = {.head = {1, PMS_SORTED_ROOM_MIN, 0}};
    leaf.item[0] = (struct pms_branch){coming->entry, 1, coming->entry, 0};
    PMS_TRY(pms_sorted_renew(pool, &leaf));
    PMS_TRY(pms_sorted_make(pool, &leaf));
    pms_put(pool, PMS_SORTED_AT(sorted->off, root), leaf.off);
    pms_put(pool, PMS_SORTED_AT(sorted->off, order), coming->key->order);
    put_count(pool, sorted, 1);
    return PMS_OK;
}

int pms_sorted_set(struct pms_pool *pool, uint64_t off, const struct pms_order_key *key,
                   const struct pms_val *value)
{
    struct pms_sorted sorted;
    struct pms_sorted_path path;
    struct coming coming = {0, key};
    uint64_t entry;
    int found = 0;
    if (key->order == 0 || key->order > PMS_ORDER_UUID)
        return PMS_FAIL(PMS_E_INVAL, "a key without an order", off, PMS_ORDER_UUID, key->order);
    PMS_TRY(pms_sorted_load(pool, off, &sorted));
    if (sorted.count) {
        if (sorted.order != key->order)
            return PMS_MIXED;
        PMS_TRY(pms_sorted_find(pool, &sorted, key, &path, &found));
        if (found) {
            PMS_TRY(pms_sorted_here(pool, &path, &entry));
            return replace(pool, entry, value);
        }
        PMS_TRY(pms_sorted_fits(pool, &sorted, key, &path));
    }
    PMS_TRY(make_entry(pool, key, value, &coming.entry));
    if (sorted.count)
        PMS_TRY(insert_ref(pool, &sorted, &path, &coming));
    else
        PMS_TRY(begin(pool, &sorted, &coming));
    pms_object_changed(pool, off);
    return PMS_OK;
}

/* ---- going ---- */

/* Take one reference out of a leaf: the last one goes to its place. */
static int take_ref(struct pms_pool *pool, uint64_t leaf, uint32_t used, uint32_t at)
{
    struct order order;
    uint32_t last = used - 1, slot, i = 0;
    PMS_TRY(pms_sorted_slot(pool, leaf, used, at, &slot));
    read_order(pool, leaf, 0, used, &order);
    memmove(order.now + at, order.now + at + 1, last - at);
    if (slot != last) {
        while (i < last && order.now[i] != last)
            i++;
        if (i == last)
            return PMS_FAIL(PMS_E_CORRUPT, "order of a sorted dict's leaf", leaf, last, used);
        order.now[i] = (uint8_t)slot;
        for (uint64_t word = 0; word < 16; word += 8)
            pms_put(pool, pms_sorted_ref(leaf, slot) + word,
                    pms_get(pool, pms_sorted_ref(leaf, last) + word));
    }
    write_order(pool, leaf, 0, used, &order);
    pms_put(pool, leaf, pms_get(pool, leaf) - 1);
    return PMS_OK;
}

/* Take n items out of a block; those behind them move down.  A block that has none left is
 * freed at once, so its head need not say so. */
static int take_out(struct pms_pool *pool, uint32_t level, uint64_t off, uint32_t used,
                    uint32_t at, uint32_t n)
{
    struct pms_sorted_block block;
    if (n == used)
        return PMS_OK;
    if (n == 1 && level == 0)
        return take_ref(pool, off, used, at);
    PMS_TRY(pms_sorted_read(pool, level, off, &block));
    memmove(block.item + at, block.item + at + n, (used - at - n) * sizeof block.item[0]);
    block.head.used -= n;
    pms_sorted_write(pool, &block, at);
    return PMS_OK;
}

/* A kid as a block; a leaf has as many items as its parent tells. */
static int read_kid(struct pms_pool *pool, uint32_t level, const struct pms_branch *kid,
                    struct pms_sorted_block *out)
{
    PMS_TRY(pms_sorted_read(pool, level, kid->off, out));
    if (level == 0 && (out->head.used != kid->count || out->head.room != PMS_SORTED_REFS))
        return PMS_FAIL(PMS_E_CORRUPT, "entries of a sorted dict's leaf", kid->off, kid->count,
                        out->head.used);
    return PMS_OK;
}

/* Of all items of two neighbours the left one gets the first `keep`, the right one the rest. */
static void pour(struct pms_sorted_block *left, struct pms_sorted_block *right, uint32_t keep)
{
    uint32_t n = left->head.used, m = right->head.used, moved;
    size_t bytes = sizeof left->item[0];
    if (keep > n) {
        moved = keep - n;
        memcpy(left->item + n, right->item, moved * bytes);
        memmove(right->item, right->item + moved, (m - moved) * bytes);
    } else {
        moved = n - keep;
        memmove(right->item + moved, right->item, m * bytes);
        memcpy(right->item, left->item + keep, moved * bytes);
    }
    left->head.used = keep;
    right->head.used = n + m - keep;
}

/* The items of two neighbours go into the left one alone, or are shared evenly; then they
 * begin with the same common bytes, or are sharpened. */
static int share(struct pms_pool *pool, struct pms_sorted_block *left,
                 struct pms_sorted_block *right)
{
    uint32_t level = left->level, total = left->head.used + right->head.used;
    uint32_t keep = total <= pms_sorted_join(level) ? total : total / 2;
    uint32_t common =
        pms_image_shared(left->bytes, left->head.common, right->bytes, right->head.common);
    int renewed = 0;
    pms_sorted_lower(left, common);
    pms_sorted_lower(right, common);
    pour(left, right, keep);
    PMS_TRY(pms_sorted_sharpen(pool, left, &renewed));
    pms_sorted_write(pool, left, 0);
    if (keep == total)
        return pms_free(&pool->heap, right->off);
    PMS_TRY(pms_sorted_sharpen(pool, right, &renewed));
    pms_sorted_write(pool, right, 0);
    return PMS_OK;
}

/* The kid `at` of a node has too few items: help it with those of a neighbour.  *used: kids
 * of the node, before and after. */
static int help_kid(struct pms_pool *pool, uint32_t level, uint64_t node, uint32_t at,
                    uint32_t *used)
{
    struct pms_sorted_block block[2];
    struct pms_branch kid[2], now;
    uint32_t left = at + 1 < *used ? at : at - 1;
    if (*used < 2)
        return PMS_FAIL(PMS_E_CORRUPT, "a sorted dict's node has a single kid", node, 2, *used);
    for (uint32_t i = 0; i < 2; i++)
        get_kid(pool, node, left + i, &kid[i]);
    if (kid[0].off == kid[1].off)
        return PMS_FAIL(PMS_E_CORRUPT, "a sorted dict's node has a kid twice", node, kid[0].off,
                        left);
    for (uint32_t i = 0; i < 2; i++)
        PMS_TRY(read_kid(pool, level, &kid[i], &block[i]));
    PMS_TRY(share(pool, &block[0], &block[1]));
    now = pms_sorted_branch(&block[0]);
    PMS_TRY(put_kid(pool, node, left, &now));
    if (block[1].head.used) {
        now = pms_sorted_branch(&block[1]);
        return put_kid(pool, node, left + 1, &now);
    }
    PMS_TRY(take_out(pool, 1, node, *used, left + 1, 1));
    *used -= 1;
    return PMS_OK;
}

/* A root that has one kid gives way to it; one without items is freed. */
static int lower_root(struct pms_pool *pool, struct pms_sorted *sorted, uint32_t used)
{
    uint32_t height = sorted->height;
    struct pms_sorted_head head;
    if (used == 0) {
        PMS_TRY(pms_free(&pool->heap, sorted->root));
        sorted->root = 0;
        sorted->height = 0;
        pms_put(pool, PMS_SORTED_AT(sorted->off, order), 0);
    }
    while (sorted->height > 0 && used == 1) {
        uint64_t kid = pms_get(pool, pms_sorted_kid(sorted->root, 0));
        PMS_TRY(pms_free(&pool->heap, sorted->root));
        sorted->root = kid;
        sorted->height--;
        if (sorted->height) {
            PMS_TRY(pms_sorted_node(pool, kid, &head));
            used = head.used;
        }
    }
    if (sorted->height != height || used == 0) {
        pms_put(pool, PMS_SORTED_AT(sorted->off, root), sorted->root);
        pms_put(pool, PMS_SORTED_AT(sorted->off, height), sorted->height);
    }
    return PMS_OK;
}

/* The kid `at` of a node has lost `gone` entries, perhaps its first one too. */
static int refresh_kid(struct pms_pool *pool, uint32_t level, uint64_t node, uint32_t at,
                       uint32_t used, uint32_t gone)
{
    struct pms_branch kid, first;
    uint32_t slot;
    get_kid(pool, node, at, &kid);
    if (level) {
        get_kid(pool, kid.off, 0, &first);
    } else {
        PMS_TRY(pms_sorted_slot(pool, kid.off, used, 0, &slot));
        first.least = pms_get(pool, pms_sorted_ref(kid.off, slot));
    }
    kid.count -= gone;
    kid.least = first.least;
    return put_kid(pool, node, at, &kid);
}

/* `gone` references have left the leaf of the path, which has `used` now: all levels above. */
static int settle(struct pms_pool *pool, struct pms_sorted *sorted,
                  const struct pms_sorted_path *path, uint32_t used, uint32_t gone)
{
    for (uint32_t level = 0; level < sorted->height; level++) {
        uint64_t node = path->off[level + 1];
        uint32_t at = path->at[level + 1], kids = path->used[level + 1];
        if (used == 0) {
            PMS_TRY(pms_free(&pool->heap, path->off[level]));
            PMS_TRY(take_out(pool, 1, node, kids, at, 1));
            kids--;
        } else {
            PMS_TRY(refresh_kid(pool, level, node, at, used, gone));
            if (used < pms_sorted_fill(level) && !on_right_edge(sorted, path, level))
                PMS_TRY(help_kid(pool, level, node, at, &kids));
        }
        used = kids;
    }
    PMS_TRY(lower_root(pool, sorted, used));
    sorted->count -= gone;
    put_count(pool, sorted, sorted->count);
    if ((sorted->root == 0) != (sorted->count == 0))
        return PMS_FAIL(PMS_E_CORRUPT, "a sorted dict's count does not fit its entries",
                        sorted->off, 0, sorted->count);
    return pool->ws.failed ? PMS_FAIL_NOMEM("remember what changes", 0) : PMS_OK;
}

/* Drop and remove n entries of the path's leaf, from the path's place on. */
static int cut(struct pms_pool *pool, struct pms_sorted *sorted,
               const struct pms_sorted_path *path, uint32_t n)
{
    struct pms_sorted_path at = {.off = {path->off[0]}, .used = {path->used[0]}};
    uint64_t entry;
    for (uint32_t i = 0; i < n; i++) {
        at.at[0] = path->at[0] + i;
        PMS_TRY(pms_sorted_here(pool, &at, &entry));
        PMS_TRY(drop_entry(pool, entry));
    }
    PMS_TRY(take_out(pool, 0, path->off[0], path->used[0], path->at[0], n));
    return settle(pool, sorted, path, path->used[0] - n, n);
}

int pms_sorted_del(struct pms_pool *pool, uint64_t off, const struct pms_order_key *key)
{
    struct pms_sorted sorted;
    struct pms_sorted_path path;
    int found;
    PMS_TRY(pms_sorted_load(pool, off, &sorted));
    if (sorted.order != key->order) /* nor is anything in an empty one */
        return PMS_MISSING;
    PMS_TRY(pms_sorted_find(pool, &sorted, key, &path, &found));
    if (!found)
        return PMS_MISSING;
    PMS_TRY(cut(pool, &sorted, &path, 1));
    pms_object_changed(pool, off);
    return PMS_OK;
}

int pms_sorted_del_range(struct pms_pool *pool, uint64_t off, uint64_t index, uint64_t count)
{
    struct pms_sorted sorted;
    struct pms_sorted_path path;
    PMS_TRY(pms_sorted_load(pool, off, &sorted));
    if (index > sorted.count || count > sorted.count - index)
        return PMS_MISSING;
    if (count == 0)
        return PMS_OK;
    if (count == sorted.count && sorted.height > 0)
        return pms_sorted_clear(pool, off);
    while (count) {
        PMS_TRY(pms_sorted_seek(pool, &sorted, index, &path));
        uint32_t n = path.used[0] - path.at[0];
        if (n > count)
            n = (uint32_t)count;
        PMS_TRY(cut(pool, &sorted, &path, n));
        count -= n;
    }
    pms_object_changed(pool, off);
    return PMS_OK;
}

int pms_sorted_clear(struct pms_pool *pool, uint64_t off)
{
    struct pms_sorted sorted;
    uint64_t heir;
    PMS_TRY(pms_sorted_load(pool, off, &sorted));
    if (!sorted.root)
        return PMS_OK;
    PMS_TRY(pms_object_create(pool, PMS_CELL_TAG(pms_get(pool, off)), &heir));
    pms_put(pool, PMS_SORTED_AT(heir, count), sorted.count);
    pms_put(pool, PMS_SORTED_AT(heir, root), sorted.root);
    pms_put(pool, PMS_SORTED_AT(heir, height), sorted.height);
    pms_put(pool, PMS_SORTED_AT(heir, order), sorted.order);
    PMS_TRY(pms_object_orphan(pool, heir));
    pms_put(pool, PMS_SORTED_AT(off, count), 0);
    pms_put(pool, PMS_SORTED_AT(off, root), 0);
    pms_put(pool, PMS_SORTED_AT(off, height), 0);
    pms_put(pool, PMS_SORTED_AT(off, order), 0);
    pms_object_changed(pool, off);
    return PMS_OK;
}

int pms_sorted_teardown(struct pms_pool *pool, uint64_t off, uint32_t *budget)
{
    struct pms_sorted sorted;
    struct pms_sorted_path path;
    PMS_TRY(pms_sorted_load(pool, off, &sorted));
    while (sorted.root) {
        if (*budget == 0)
            return PMS_MISSING;
        PMS_TRY(pms_sorted_seek(pool, &sorted, sorted.count - 1, &path));
        uint32_t n = path.used[0] < *budget ? path.used[0] : *budget;
        path.at[0] = path.used[0] - n;
        PMS_TRY(cut(pool, &sorted, &path, n));
        *budget -= n;
    }
    return pms_object_end(pool, off);
}
