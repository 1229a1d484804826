/* sorted_edit.c -- the persistent sorted dict: entries come and go, blocks split and join.
 *
 *   full leaf, a greatest key:  [63] -> [63][1]       full leaf, else:  [63] -> [32][32]
 *   leaf below 21:              with its neighbour <= 52 items: one leaf; else shared evenly
 *   nodes:                      the same, with 31 kids, 10 and 26
 *   empty leaf:                 freed, and its kid leaves the node above
 *   root with one kid:          the kid becomes the root
 *
 * A change walks the path once from the leaf to the root (insert_ref, settle), fixing counts,
 * least entries and prefixes of all levels, and the shape of those that need it.  A new block
 * is filled before anything refers to it.  Blocks, invariants: sorted.c, sorted_tree.h.  A call
 * that fails midway leaves the tree half changed in the write set: its caller rolls the
 * operation back.
 */
#include "sorted_tree.h"

#define ITEMS_MAX PMS_SORTED_REFS
static_assert(PMS_SORTED_KIDS <= ITEMS_MAX, "one array for both");

static uint64_t head_word(uint32_t level, uint32_t room, uint32_t used)
{
    return level ? PMS_SORTED_NODE_MAGIC << 32 | used
                 : PMS_SORTED_LEAF_MAGIC << 32 | (uint64_t)room << 16 | used;
}

/* ---- items as branches ---- */

static int read_items(struct pms_pool *pool, uint32_t level, uint64_t block, uint32_t first,
                      uint32_t n, struct pms_branch *out)
{
    size_t bytes = (size_t)n * pms_sorted_width(level);
    if (n == 0)
        return PMS_OK;
    const void *from = pms_rd_bytes(&pool->ws, pms_sorted_item(level, block, first), bytes);
    if (!from)
        return PMS_FAIL_NOMEM("read a sorted dict", bytes);
    if (level) {
        memcpy(out, from, bytes);
        return PMS_OK;
    }
    for (uint32_t i = 0; i < n; i++) {
        struct pms_sorted_ref_pm ref;
        memcpy(&ref, (const char *)from + i * sizeof ref, sizeof ref);
        out[i] = (struct pms_branch){ref.entry, 1, ref.entry, ref.prefix};
    }
    return PMS_OK;
}

/* As they lie in a block; returns their bytes. */
static size_t pack_items(uint32_t level, const struct pms_branch *items, uint32_t n, void *out)
{
    if (level) {
        memcpy(out, items, n * sizeof *items);
        return n * sizeof *items;
    }
    struct pms_sorted_ref_pm *ref = out;
    for (uint32_t i = 0; i < n; i++)
        ref[i] = (struct pms_sorted_ref_pm){items[i].off, items[i].prefix};
    return n * sizeof *ref;
}

static void write_items(struct pms_pool *pool, uint32_t level, uint64_t block, uint32_t first,
                        uint32_t n, const struct pms_branch *items)
{
    struct pms_branch room[ITEMS_MAX + 1];
    if (n)
        pms_wr_bytes(&pool->ws, pms_sorted_item(level, block, first), room,
                     pack_items(level, items, n, room));
}

/* A new block with these items. */
static int make_block(struct pms_pool *pool, uint32_t level, uint32_t room,
                      const struct pms_branch *items, uint32_t n, uint64_t *off)
{
    union {
        struct pms_sorted_leaf_pm leaf;
        struct pms_sorted_node_pm node;
    } image;
    size_t bytes = level ? sizeof image.node : 16 + 16 * (size_t)room;
    memset(&image, 0, sizeof image);
    PMS_TRY(pms_alloc(&pool->heap, bytes, off));
    image.leaf.head = head_word(level, room, n);
    pack_items(level, items, n, level ? (void *)image.node.kids : (void *)image.leaf.refs);
    pms_init_bytes(&pool->ws, *off, &image, bytes);
    return PMS_OK;
}
static_assert(offsetof(struct pms_sorted_leaf_pm, head) == 0, "in both");
static_assert(offsetof(struct pms_sorted_node_pm, head) == 0, "in both");

/* What a block with these items is in the node above. */
static struct pms_branch branch_of(uint64_t block, const struct pms_branch *items, uint32_t n)
{
    struct pms_branch branch = {block, 0, items[0].least, items[0].prefix};
    for (uint32_t i = 0; i < n; i++)
        branch.count += items[i].count;
    return branch;
}

static void put_kid(struct pms_pool *pool, uint64_t node, uint32_t at,
                    const struct pms_branch *branch)
{
    write_items(pool, 1, node, at, 1, branch);
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

/* The cell of a key's bytes, which are far, or, if longer than 8, at `inner`. */
static int key_cell(struct pms_pool *pool, const struct pms_val *key, uint64_t inner,
                    uint64_t cell[2])
{
    if (!inner)
        return pms_cell_make(pool, key, cell);
    cell[0] = PMS_CELL_WORD0(key->tag, PMS_CELL_INNER, key->len);
    cell[1] = inner;
    return PMS_OK;
}

static int is_inner(const struct pms_val *value, uint64_t most)
{
    return pms_tag_is_bytes(value->tag) && value->len > 8 && value->len <= most;
}

static int make_entry(struct pms_pool *pool, const struct pms_order_key *key,
                      const struct pms_val *value, uint64_t *out)
{
    const struct pms_val *stored = &key->stored;
    int imaged = stored->tag == PMS_TAG_BIGINT || stored->tag == PMS_TAG_PACKED;
    int key_inner = is_inner(stored, PMS_KEY_INNER_MAX);
    int value_inner = is_inner(value, PMS_VALUE_INNER_MAX);
    uint64_t cell[4], entry, at = sizeof(struct pms_sorted_entry_pm);
    uint64_t key_at = at + (imaged ? 8 + PMS_PAD8(key->len) : 0);
    uint64_t value_at = key_at + (key_inner ? PMS_PAD8(stored->len) : 0);
    if (stored->tag < PMS_TAG_FALSE || stored->tag > PMS_TAG_PACKED || key->len >= UINT32_MAX)
        return PMS_FAIL(PMS_E_INVAL, "key of a sorted dict", 0, key->len, stored->tag);
    PMS_TRY(
        pms_alloc(&pool->heap, value_at + (value_inner ? PMS_PAD8(value->len) : 0), &entry));
    PMS_TRY(key_cell(pool, stored, key_inner ? entry + key_at : 0, cell));
    PMS_TRY(key_cell(pool, value, value_inner ? entry + value_at : 0, cell + 2));
    if (imaged) {
        pms_init_bytes(&pool->ws, entry + at, &key->len, 8);
        pms_init_bytes(&pool->ws, entry + at + 8, key->image, (size_t)key->len);
    }
    if (key_inner)
        pms_init_bytes(&pool->ws, entry + key_at, stored->data, (size_t)stored->len);
    if (value_inner)
        pms_init_bytes(&pool->ws, entry + value_at, value->data, (size_t)value->len);
    pms_init_bytes(&pool->ws, entry, cell, sizeof cell);
    *out = entry;
    return PMS_OK;
}

static int replace(struct pms_pool *pool, uint64_t entry, const struct pms_val *value)
{
    struct pms_sorted_parts parts;
    uint64_t cell[2], capacity, cell_at = PMS_SORTED_VALUE(entry);
    PMS_TRY(pms_sorted_parts(pool, entry, &parts));
    PMS_TRY(pms_block(&pool->heap, entry, &capacity));
    int inner =
        is_inner(value, PMS_VALUE_INNER_MAX) && parts.inner + value->len <= entry + capacity;
    PMS_TRY(key_cell(pool, value, inner ? parts.inner : 0, cell));
    PMS_TRY(pms_cell_drop(pool, cell_at));
    if (inner)
        pms_wr_bytes(&pool->ws, parts.inner, value->data, (size_t)value->len);
    pms_put(pool, cell_at, cell[0]);
    pms_put(pool, cell_at + 8, cell[1]);
    return PMS_OK;
}

static int drop_entry(struct pms_pool *pool, uint64_t entry)
{
    struct pms_sorted_parts parts;
    PMS_TRY(pms_sorted_parts(pool, entry, &parts));
    if (parts.far)
        PMS_TRY(pms_free(&pool->heap, parts.key));
    PMS_TRY(pms_cell_drop(pool, PMS_SORTED_VALUE(entry)));
    return pms_free(&pool->heap, entry);
}

/* ---- coming ---- */

/* From `level` up: one more entry below each item of the path.  Its place in the leaf is 0 only
 * if it is the least of all, and then each of these items is the first of its node. */
static void add_to_path(struct pms_pool *pool, const struct pms_sorted *sorted,
                        const struct pms_sorted_path *path, uint32_t level,
                        const struct pms_branch *ref)
{
    for (uint32_t l = level; l <= sorted->height; l++) {
        uint64_t kid = pms_sorted_kid(path->off[l], path->at[l]);
        pms_put(pool, kid + PMS_KID_COUNT, pms_get(pool, kid + PMS_KID_COUNT) + 1);
        if (path->at[0] == 0) {
            pms_put(pool, kid + PMS_KID_LEAST, ref->least);
            pms_put(pool, kid + PMS_KID_PREFIX, ref->prefix);
        }
    }
    put_count(pool, sorted, sorted->count + 1);
}

/* A block with space: the items from `at` on move up by one. */
static int squeeze_in(struct pms_pool *pool, uint32_t level, uint64_t block, uint32_t used,
                      uint32_t at, const struct pms_branch *item)
{
    struct pms_branch moved[ITEMS_MAX + 1];
    moved[0] = *item;
    PMS_TRY(read_items(pool, level, block, at, used - at, moved + 1));
    write_items(pool, level, block, at, used - at + 1, moved);
    pms_put(pool, block, pms_get(pool, block) + 1);
    return PMS_OK;
}

/* A full block takes one more item at `at`: it keeps the first items and becomes *left, *right
 * gets the rest. */
static int split(struct pms_pool *pool, uint32_t level, uint64_t block, uint32_t at,
                 const struct pms_branch *item, int appending, struct pms_branch *left,
                 struct pms_branch *right)
{
    struct pms_branch all[ITEMS_MAX + 1];
    uint32_t room = pms_sorted_room(level), keep = appending ? room : (room + 1) / 2;
    uint32_t rest = room + 1 - keep;
    uint64_t off;
    PMS_TRY(read_items(pool, level, block, 0, at, all));
    PMS_TRY(read_items(pool, level, block, at, room - at, all + at + 1));
    all[at] = *item;
    PMS_TRY(make_block(pool, level, room, all + keep, rest, &off));
    *right = branch_of(off, all + keep, rest);
    *left = branch_of(block, all, keep);
    if (at < keep)
        write_items(pool, level, block, at, keep - at, all + at);
    if (keep != room)
        pms_put(pool, block, head_word(level, room, keep));
    return PMS_OK;
}

/* The root was split: a new one above it. */
static int raise_root(struct pms_pool *pool, const struct pms_sorted *sorted,
                      const struct pms_branch kids[2])
{
    uint64_t root;
    if (sorted->height == PMS_SORTED_HEIGHT_MAX)
        return PMS_FAIL(PMS_E_FULL, "a sorted dict is too long", sorted->off, sorted->count + 1,
                        sorted->count);
    PMS_TRY(make_block(pool, 1, PMS_SORTED_KIDS, kids, 2, &root));
    pms_put(pool, PMS_SORTED_AT(sorted->off, root), root);
    pms_put(pool, PMS_SORTED_AT(sorted->off, height), sorted->height + 1);
    put_count(pool, sorted, sorted->count + 1);
    return PMS_OK;
}

/* The root leaf is full and small: one of twice the size takes its place. */
static int widen_root(struct pms_pool *pool, const struct pms_sorted *sorted,
                      const struct pms_sorted_path *path, const struct pms_branch *ref)
{
    struct pms_branch all[ITEMS_MAX];
    uint32_t n = path->used[0], at = path->at[0], room = 2 * path->room + 1;
    uint64_t root;
    PMS_TRY(read_items(pool, 0, sorted->root, 0, at, all));
    PMS_TRY(read_items(pool, 0, sorted->root, at, n - at, all + at + 1));
    all[at] = *ref;
    PMS_TRY(make_block(pool, 0, room, all, n + 1, &root));
    PMS_TRY(pms_free(&pool->heap, sorted->root));
    pms_put(pool, PMS_SORTED_AT(sorted->off, root), root);
    put_count(pool, sorted, sorted->count + 1);
    return PMS_OK;
}

/* Put a reference at the path's place, which may be one behind the last of its leaf. */
static int insert_ref(struct pms_pool *pool, const struct pms_sorted *sorted,
                      const struct pms_sorted_path *path, const struct pms_branch *ref)
{
    struct pms_branch item = *ref, half[2];
    if (path->used[0] == path->room && path->room < PMS_SORTED_REFS)
        return widen_root(pool, sorted, path, ref);
    for (uint32_t level = 0;; level++) {
        uint64_t block = path->off[level];
        uint32_t used = path->used[level];
        uint32_t room = level ? PMS_SORTED_KIDS : path->room;
        uint32_t at = level ? path->at[level] + 1 : path->at[0];
        if (used < room) {
            PMS_TRY(squeeze_in(pool, level, block, used, at, &item));
            add_to_path(pool, sorted, path, level + 1, ref);
            return PMS_OK;
        }
        int appending = at == room && on_right_edge(sorted, path, level);
        PMS_TRY(split(pool, level, block, at, &item, appending, &half[0], &half[1]));
        if (level == sorted->height)
            return raise_root(pool, sorted, half);
        put_kid(pool, path->off[level + 1], path->at[level + 1], &half[0]);
        item = half[1];
    }
}

int pms_sorted_set(struct pms_pool *pool, uint64_t off, const struct pms_order_key *key,
                   const struct pms_val *value)
{
    struct pms_sorted sorted;
    struct pms_sorted_path path;
    struct pms_branch ref = {.count = 1, .prefix = key->prefix};
    int found = 0;
    if (key->order == 0 || key->order > PMS_ORDER_UUID)
        return PMS_FAIL(PMS_E_INVAL, "a key without an order", off, PMS_ORDER_UUID, key->order);
    PMS_TRY(pms_sorted_load(pool, off, &sorted));
    if (sorted.count) {
        if (sorted.order != key->order)
            return PMS_MIXED;
        PMS_TRY(pms_sorted_find(pool, &sorted, key, &path, &found));
        if (found)
            return replace(pool, pms_get(pool, pms_sorted_ref(path.off[0], path.at[0])), value);
        PMS_TRY(pms_sorted_fits(pool, &sorted, key, &path));
    }
    PMS_TRY(make_entry(pool, key, value, &ref.off));
    ref.least = ref.off;
    if (sorted.count) {
        PMS_TRY(insert_ref(pool, &sorted, &path, &ref));
    } else {
        uint64_t leaf;
        PMS_TRY(make_block(pool, 0, PMS_SORTED_ROOM_MIN, &ref, 1, &leaf));
        pms_put(pool, PMS_SORTED_AT(off, root), leaf);
        pms_put(pool, PMS_SORTED_AT(off, order), key->order);
        put_count(pool, &sorted, 1);
    }
    pms_object_changed(pool, off);
    return PMS_OK;
}

/* ---- going ---- */

/* Take n items out of a block; those behind them move down.  A block that has none left is
 * freed at once, so its head need not say so. */
static int take_out(struct pms_pool *pool, uint32_t level, uint64_t block, uint32_t used,
                    uint32_t at, uint32_t n)
{
    struct pms_branch moved[ITEMS_MAX];
    if (n == used)
        return PMS_OK;
    PMS_TRY(read_items(pool, level, block, at + n, used - at - n, moved));
    write_items(pool, level, block, at, used - at - n, moved);
    pms_put(pool, block, pms_get(pool, block) - n);
    return PMS_OK;
}

/* Items of a kid; of a leaf as many as its parent tells. */
static int read_kid(struct pms_pool *pool, uint32_t level, const struct pms_branch *kid,
                    struct pms_branch *items, uint32_t *used)
{
    uint32_t room = 0;
    if (level)
        PMS_TRY(pms_sorted_node(pool, kid->off, used));
    else
        PMS_TRY(pms_sorted_leaf(pool, kid->off, used, &room));
    if (!level && (*used != kid->count || room != PMS_SORTED_REFS))
        return PMS_FAIL(PMS_E_CORRUPT, "entries of a sorted dict's leaf", kid->off, kid->count,
                        *used);
    return read_items(pool, level, kid->off, 0, *used, items);
}

/* The items of two neighbours, n[0] and n[1] of them in all[], go into the left one alone or are
 * shared evenly.  *kept: how many are in the left one then. */
static int share(struct pms_pool *pool, uint32_t level, const struct pms_branch kid[2],
                 const uint32_t n[2], const struct pms_branch *all, uint32_t *kept)
{
    uint32_t total = n[0] + n[1], room = pms_sorted_room(level);
    uint32_t keep = total <= pms_sorted_join(level) ? total : total / 2;
    if (keep > n[0])
        write_items(pool, level, kid[0].off, n[0], keep - n[0], all + n[0]);
    pms_put(pool, kid[0].off, head_word(level, room, keep));
    *kept = keep;
    if (keep == total)
        return pms_free(&pool->heap, kid[1].off);
    write_items(pool, level, kid[1].off, 0, total - keep, all + keep);
    pms_put(pool, kid[1].off, head_word(level, room, total - keep));
    return PMS_OK;
}

/* The kid `at` of a node has too few items: help it with those of a neighbour.  *used: kids
 * of the node, before and after. */
static int help_kid(struct pms_pool *pool, uint32_t level, uint64_t node, uint32_t at,
                    uint32_t *used)
{
    struct pms_branch kid[2], all[2 * ITEMS_MAX], now;
    uint32_t n[2], keep;
    uint32_t left = at + 1 < *used ? at : at - 1;
    if (*used < 2)
        return PMS_FAIL(PMS_E_CORRUPT, "a sorted dict's node has a single kid", node, 2, *used);
    PMS_TRY(read_items(pool, 1, node, left, 2, kid));
    if (kid[0].off == kid[1].off)
        return PMS_FAIL(PMS_E_CORRUPT, "a sorted dict's node has a kid twice", node, kid[0].off,
                        left);
    PMS_TRY(read_kid(pool, level, &kid[0], all, &n[0]));
    PMS_TRY(read_kid(pool, level, &kid[1], all + n[0], &n[1]));
    PMS_TRY(share(pool, level, kid, n, all, &keep));
    now = branch_of(kid[0].off, all, keep);
    put_kid(pool, node, left, &now);
    if (keep < n[0] + n[1]) {
        now = branch_of(kid[1].off, all + keep, n[0] + n[1] - keep);
        put_kid(pool, node, left + 1, &now);
        return PMS_OK;
    }
    PMS_TRY(take_out(pool, 1, node, *used, left + 1, 1));
    *used -= 1;
    return PMS_OK;
}

/* A root that has one kid gives way to it; one without items is freed. */
static int lower_root(struct pms_pool *pool, struct pms_sorted *sorted, uint32_t used)
{
    uint32_t height = sorted->height;
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
        if (sorted->height)
            PMS_TRY(pms_sorted_node(pool, kid, &used));
    }
    if (sorted->height != height || used == 0) {
        pms_put(pool, PMS_SORTED_AT(sorted->off, root), sorted->root);
        pms_put(pool, PMS_SORTED_AT(sorted->off, height), sorted->height);
    }
    return PMS_OK;
}

/* The kid `at` of a node has lost `gone` entries, perhaps its first one too. */
static int refresh_kid(struct pms_pool *pool, uint32_t level, uint64_t node, uint32_t at,
                       uint32_t gone)
{
    struct pms_branch kid, first;
    PMS_TRY(read_items(pool, 1, node, at, 1, &kid));
    PMS_TRY(read_items(pool, level, kid.off, 0, 1, &first));
    kid.count -= gone;
    kid.least = first.least;
    kid.prefix = first.prefix;
    put_kid(pool, node, at, &kid);
    return PMS_OK;
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
            PMS_TRY(refresh_kid(pool, level, node, at, gone));
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
    for (uint32_t i = 0; i < n; i++)
        PMS_TRY(drop_entry(pool, pms_get(pool, pms_sorted_ref(path->off[0], path->at[0] + i))));
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
