/* vec_edit.c -- the persistent list: items come and go, blocks split and join.
 *
 *   full leaf, an append:    [63] -> [63][1]          full leaf, elsewhere:  [63] -> [32][32]
 *   leaf below 21:           with its neighbour <= 52 items: one leaf; else shared evenly
 *   empty leaf:              freed, and its kid leaves the node above
 *   root with one kid:       the kid becomes the root
 *
 * A change walks the path once from the leaf to the root (insert_item, settle), fixing the
 * counts of all levels and the shape of those that need it.  A new block is filled before
 * anything refers to it.  Blocks, invariants: vec.c, vec_tree.h.  A call that fails midway
 * leaves the tree half changed in the write set: its caller rolls the operation back.
 */
#include "vec_tree.h"

struct item { /* a cell (its two words) or a kid {off, count} */
    uint64_t word[2];
};
static_assert(sizeof(struct item) == 16, "cells and kids");
#define ITEMS_MAX PMS_LEAF_CELLS
static_assert(PMS_LEAF_CELLS == PMS_NODE_KIDS, "one shape");

static uint64_t leaf_word(uint32_t room, uint32_t used)
{
    return PMS_LEAF_MAGIC << 32 | (uint64_t)room << 16 | used;
}

static uint64_t head_word(uint32_t level, uint32_t used)
{
    return level ? PMS_NODE_MAGIC << 32 | used : leaf_word(PMS_LEAF_CELLS, used);
}

static int read_items(struct pms_pool *pool, uint64_t block, uint32_t first, uint32_t n,
                      struct item *out)
{
    if (n == 0)
        return PMS_OK;
    const void *bytes = pms_rd_bytes(&pool->ws, pms_vec_item(block, first), 16 * (size_t)n);
    if (!bytes)
        return PMS_FAIL_NOMEM("read a list", 16 * (uint64_t)n);
    memcpy(out, bytes, 16 * (size_t)n);
    return PMS_OK;
}

static void write_items(struct pms_pool *pool, uint64_t block, uint32_t first, uint32_t n,
                        const struct item *items)
{
    if (n)
        pms_wr_bytes(&pool->ws, pms_vec_item(block, first), items, 16 * (size_t)n);
}

/* A new block with these items. */
static int make_block(struct pms_pool *pool, uint64_t head, uint32_t room,
                      const struct item *items, uint32_t n, uint64_t *off)
{
    struct {
        uint64_t head, zero;
        struct item item[ITEMS_MAX];
    } image = {0};
    size_t bytes = 16 + 16 * (size_t)room;
    PMS_TRY(pms_alloc(&pool->heap, bytes, off));
    image.head = head;
    memcpy(image.item, items, 16 * (size_t)n);
    pms_init_bytes(&pool->ws, *off, &image, bytes);
    return PMS_OK;
}

/* Cells below n items of a block on this level. */
static uint64_t cells_of(uint32_t level, const struct item *items, uint32_t n)
{
    uint64_t sum = 0;
    if (level == 0)
        return n;
    for (uint32_t i = 0; i < n; i++)
        sum += items[i].word[1];
    return sum;
}

static void put_kid_count(struct pms_pool *pool, uint64_t node, uint32_t at, uint64_t cells)
{
    pms_put(pool, pms_vec_item(node, at) + 8, cells);
}

/* Is the block of this level the last of its level? */
static int on_right_edge(const struct pms_vec *vec, const struct pms_vec_path *path,
                         uint32_t level)
{
    for (uint32_t l = level + 1; l <= vec->height; l++)
        if (path->at[l] != path->used[l] - 1)
            return 0;
    return 1;
}

/* ---- coming ------------------------------------------------------------------------ */

/* From `level` up: one more cell below each item of the path. */
static void add_to_path(struct pms_pool *pool, const struct pms_vec *vec,
                        const struct pms_vec_path *path, uint32_t level)
{
    for (uint32_t l = level; l <= vec->height; l++) {
        uint64_t off = pms_vec_item(path->off[l], path->at[l]) + 8;
        pms_put(pool, off, pms_get(pool, off) + 1);
    }
    pms_put(pool, PMS_LIST_COUNT(vec->list), vec->count + 1);
}

/* A block with space: the items from `at` on move up by one. */
static int squeeze_in(struct pms_pool *pool, uint64_t block, uint32_t used, uint32_t at,
                      const struct item *item)
{
    struct item moved[ITEMS_MAX + 1];
    moved[0] = *item;
    PMS_TRY(read_items(pool, block, at, used - at, moved + 1));
    write_items(pool, block, at, used - at + 1, moved);
    pms_put(pool, block, pms_get(pool, block) + 1);
    return PMS_OK;
}

/* A full block takes one more item at `at`: it keeps the first items, *right gets the rest.
 * Also says how many cells are below each of the two. */
static int split(struct pms_pool *pool, uint32_t level, uint64_t block, uint32_t at,
                 const struct item *item, int appending, struct item *right, uint64_t *left)
{
    struct item all[ITEMS_MAX + 1];
    uint32_t keep = appending ? ITEMS_MAX : (ITEMS_MAX + 1) / 2;
    uint32_t rest = ITEMS_MAX + 1 - keep;
    PMS_TRY(read_items(pool, block, 0, at, all));
    PMS_TRY(read_items(pool, block, at, ITEMS_MAX - at, all + at + 1));
    all[at] = *item;
    PMS_TRY(
        make_block(pool, head_word(level, rest), ITEMS_MAX, all + keep, rest, &right->word[0]));
    right->word[1] = cells_of(level, all + keep, rest);
    *left = cells_of(level, all, keep);
    if (at < keep)
        write_items(pool, block, at, keep - at, all + at);
    if (keep != ITEMS_MAX)
        pms_put(pool, block, head_word(level, keep));
    return PMS_OK;
}

/* The root was split: a new one above it. */
static int raise_root(struct pms_pool *pool, const struct pms_vec *vec, uint64_t left_cells,
                      const struct item *right)
{
    struct item kids[2] = {{{vec->root, left_cells}}, *right};
    uint64_t root;
    if (vec->height == PMS_LIST_HEIGHT_MAX)
        return PMS_FAIL(PMS_E_FULL, "a list is too long", vec->list, vec->count + 1,
                        vec->count);
    PMS_TRY(make_block(pool, head_word(1, 2), ITEMS_MAX, kids, 2, &root));
    pms_put(pool, PMS_LIST_ROOT(vec->list), root);
    pms_put(pool, PMS_LIST_HEIGHT(vec->list), vec->height + 1);
    pms_put(pool, PMS_LIST_COUNT(vec->list), vec->count + 1);
    return PMS_OK;
}

/* The root leaf is full and small: one of twice the size takes its place. */
static int widen_root(struct pms_pool *pool, const struct pms_vec *vec,
                      const struct pms_vec_path *path, const struct item *cell)
{
    struct item all[ITEMS_MAX];
    uint32_t n = path->used[0], at = path->at[0], room = 2 * path->room + 1;
    uint64_t root;
    PMS_TRY(read_items(pool, vec->root, 0, at, all));
    PMS_TRY(read_items(pool, vec->root, at, n - at, all + at + 1));
    all[at] = *cell;
    PMS_TRY(make_block(pool, leaf_word(room, n + 1), room, all, n + 1, &root));
    PMS_TRY(pms_free(&pool->heap, vec->root));
    pms_put(pool, PMS_LIST_ROOT(vec->list), root);
    pms_put(pool, PMS_LIST_COUNT(vec->list), vec->count + 1);
    return PMS_OK;
}

/* Put a cell at the path's place, which may be one behind the last cell of its leaf. */
static int insert_item(struct pms_pool *pool, const struct pms_vec *vec,
                       struct pms_vec_path *path, const struct item *cell)
{
    struct item item = *cell;
    uint32_t room = path->room;
    if (path->used[0] == room && room < PMS_LEAF_CELLS)
        return widen_root(pool, vec, path, cell);
    for (uint32_t level = 0;; level++) {
        uint64_t block = path->off[level], left;
        uint32_t used = path->used[level];
        uint32_t at = level ? path->at[level] + 1 : path->at[0];
        if (used < room) {
            PMS_TRY(squeeze_in(pool, block, used, at, &item));
            add_to_path(pool, vec, path, level + 1);
            return PMS_OK;
        }
        int appending = at == ITEMS_MAX && on_right_edge(vec, path, level);
        struct item right;
        PMS_TRY(split(pool, level, block, at, &item, appending, &right, &left));
        if (level == vec->height)
            return raise_root(pool, vec, left, &right);
        put_kid_count(pool, path->off[level + 1], path->at[level + 1], left);
        item = right;
        room = PMS_NODE_KIDS;
    }
}

/* The way to a place before cell `index`, or behind the last one. */
static int seek_place(const struct pms_pool *pool, const struct pms_vec *vec, uint64_t index,
                      struct pms_vec_path *path)
{
    uint64_t append = index == vec->count;
    if (append)
        PMS_TRY(pms_vec_seek_last(pool, vec, path));
    else
        PMS_TRY(pms_vec_seek(pool, vec, index, path));
    path->at[0] += (uint32_t)append;
    return PMS_OK;
}

int pms_list_insert(struct pms_pool *pool, uint64_t list, uint64_t index,
                    const struct pms_val *value)
{
    struct pms_vec vec;
    struct pms_vec_path path;
    struct item cell;
    PMS_TRY(pms_vec_load(pool, list, &vec));
    if (index > vec.count)
        return PMS_MISSING;
    if (vec.root)
        PMS_TRY(seek_place(pool, &vec, index, &path));
    PMS_TRY(pms_cell_make(pool, value, cell.word));
    if (vec.root) {
        PMS_TRY(insert_item(pool, &vec, &path, &cell));
    } else {
        uint64_t leaf;
        PMS_TRY(make_block(pool, leaf_word(PMS_LEAF_CELLS_MIN, 1), PMS_LEAF_CELLS_MIN, &cell, 1,
                           &leaf));
        pms_put(pool, PMS_LIST_ROOT(list), leaf);
        pms_put(pool, PMS_LIST_COUNT(list), 1);
    }
    pms_object_changed(pool, list);
    return PMS_OK;
}

/* What an append mostly is: the last leaf has room for the cell. */
int pms_list_append(struct pms_pool *pool, uint64_t list, const struct pms_val *value)
{
    struct pms_vec vec;
    struct pms_vec_path path;
    struct item cell;
    PMS_TRY(pms_vec_load(pool, list, &vec));
    if (PMS_UNLIKELY(!vec.root))
        return pms_list_insert(pool, list, 0, value);
    PMS_TRY(pms_vec_seek_last(pool, &vec, &path));
    PMS_TRY(pms_cell_make(pool, value, cell.word));
    uint32_t used = path.used[0];
    path.at[0] = used;
    if (PMS_UNLIKELY(used == path.room)) {
        PMS_TRY(insert_item(pool, &vec, &path, &cell));
    } else {
        write_items(pool, path.off[0], used, 1, &cell);
        pms_put(pool, path.off[0], leaf_word(path.room, used + 1));
        add_to_path(pool, &vec, &path, 1);
    }
    pms_object_changed(pool, list);
    return PMS_OK;
}

/* ---- going ------------------------------------------------------------------------- */

/* Take n items out of a block; those behind them move down.  The head says how many are
 * left even if that is none: such a block is freed at once. */
static int take_out(struct pms_pool *pool, uint64_t block, uint32_t used, uint32_t at,
                    uint32_t n)
{
    struct item moved[ITEMS_MAX];
    if (n == used)
        return PMS_OK;
    PMS_TRY(read_items(pool, block, at + n, used - at - n, moved));
    write_items(pool, block, at, used - at - n, moved);
    pms_put(pool, block, pms_get(pool, block) - n);
    return PMS_OK;
}

/* Items in use of any kid, whose count of cells its parent tells: checked. */
static int kid_used(const struct pms_pool *pool, uint32_t level, uint64_t off, uint64_t cells,
                    uint32_t *used)
{
    if (level)
        return pms_vec_node(pool, off, used);
    if ((off & 15u) || !pms_off_ok(&pool->heap, off, sizeof(struct pms_leaf_pm)))
        return PMS_FAIL(PMS_E_CORRUPT, "offset of a list leaf", off, 0, 0);
    uint64_t head = pms_get(pool, off);
    if (cells == 0 || cells > PMS_LEAF_CELLS || head != head_word(0, (uint32_t)cells))
        return PMS_FAIL(PMS_E_CORRUPT, "head of a list leaf", off,
                        head_word(0, (uint32_t)cells), head);
    *used = (uint32_t)cells;
    return PMS_OK;
}

/* The items of two neighbours, l and r of them in all[], go into the left one alone or are
 * shared evenly.  *cells: what is then below each. */
static int share(struct pms_pool *pool, uint32_t level, const uint64_t block[2], uint32_t l,
                 uint32_t r, const struct item *all, uint64_t cells[2])
{
    uint32_t total = l + r;
    uint32_t keep = total <= PMS_LIST_JOIN_MAX ? total : total / 2;
    cells[0] = cells_of(level, all, keep);
    cells[1] = cells_of(level, all + keep, total - keep);
    if (keep > l)
        write_items(pool, block[0], l, keep - l, all + l);
    pms_put(pool, block[0], head_word(level, keep));
    if (keep == total)
        return pms_free(&pool->heap, block[1]);
    write_items(pool, block[1], 0, total - keep, all + keep);
    pms_put(pool, block[1], head_word(level, total - keep));
    return PMS_OK;
}

/* The kid `at` of a node has too few items: help it with those of a neighbour.  *used: kids
 * of the node, before and after. */
static int help_kid(struct pms_pool *pool, uint32_t level, uint64_t node, uint32_t at,
                    uint32_t *used)
{
    struct item kid[2], all[2 * ITEMS_MAX];
    uint32_t n[2];
    uint32_t left = at + 1 < *used ? at : at - 1;
    if (*used < 2)
        return PMS_FAIL(PMS_E_CORRUPT, "a list node has a single kid", node, 2, *used);
    PMS_TRY(read_items(pool, node, left, 2, kid));
    for (int i = 0; i < 2; i++) {
        PMS_TRY(kid_used(pool, level, kid[i].word[0], kid[i].word[1], &n[i]));
        PMS_TRY(read_items(pool, kid[i].word[0], 0, n[i], all + (i ? n[0] : 0)));
    }
    uint64_t block[2] = {kid[0].word[0], kid[1].word[0]}, cells[2];
    if (block[0] == block[1])
        return PMS_FAIL(PMS_E_CORRUPT, "a list node has a kid twice", node, block[0], left);
    PMS_TRY(share(pool, level, block, n[0], n[1], all, cells));
    put_kid_count(pool, node, left, cells[0]);
    if (cells[1]) {
        put_kid_count(pool, node, left + 1, cells[1]);
        return PMS_OK;
    }
    PMS_TRY(take_out(pool, node, *used, left + 1, 1));
    *used -= 1;
    return PMS_OK;
}

/* A root that has one kid gives way to it; one without items is freed. */
static int lower_root(struct pms_pool *pool, struct pms_vec *vec, uint32_t used)
{
    uint32_t height = vec->height;
    if (used == 0) {
        PMS_TRY(pms_free(&pool->heap, vec->root));
        vec->root = 0;
        vec->height = 0;
    }
    while (vec->height > 0 && used == 1) {
        uint64_t kid = pms_get(pool, pms_vec_item(vec->root, 0));
        PMS_TRY(pms_free(&pool->heap, vec->root));
        vec->root = kid;
        vec->height--;
        if (vec->height)
            PMS_TRY(pms_vec_node(pool, kid, &used));
    }
    if (vec->height != height || used == 0) {
        pms_put(pool, PMS_LIST_ROOT(vec->list), vec->root);
        pms_put(pool, PMS_LIST_HEIGHT(vec->list), vec->height);
    }
    return PMS_OK;
}

/* `gone` cells have left the leaf of the path, which has `used` now: counts and shape of all
 * levels above. */
static int settle(struct pms_pool *pool, struct pms_vec *vec, const struct pms_vec_path *path,
                  uint32_t used, uint32_t gone)
{
    for (uint32_t level = 0; level < vec->height; level++) {
        uint64_t node = path->off[level + 1];
        uint32_t at = path->at[level + 1], kids = path->used[level + 1];
        if (used == 0) {
            PMS_TRY(pms_free(&pool->heap, path->off[level]));
            PMS_TRY(take_out(pool, node, kids, at, 1));
            kids--;
        } else {
            uint64_t cells = pms_get(pool, pms_vec_item(node, at) + 8);
            put_kid_count(pool, node, at, cells - gone);
            if (used < PMS_LIST_FILL_MIN && !on_right_edge(vec, path, level))
                PMS_TRY(help_kid(pool, level, node, at, &kids));
        }
        used = kids;
    }
    PMS_TRY(lower_root(pool, vec, used));
    vec->count -= gone;
    pms_put(pool, PMS_LIST_COUNT(vec->list), vec->count);
    if ((vec->root == 0) != (vec->count == 0))
        return PMS_FAIL(PMS_E_CORRUPT, "a list's count does not fit its cells", vec->list, 0,
                        vec->count);
    return pool->ws.failed ? PMS_FAIL_NOMEM("remember what changes", 0) : PMS_OK;
}

/* Drop and remove n cells of the path's leaf, from the path's place on. */
static int cut(struct pms_pool *pool, struct pms_vec *vec, const struct pms_vec_path *path,
               uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        PMS_TRY(pms_cell_drop(pool, pms_vec_item(path->off[0], path->at[0] + i)));
    PMS_TRY(take_out(pool, path->off[0], path->used[0], path->at[0], n));
    return settle(pool, vec, path, path->used[0] - n, n);
}

int pms_list_del_range(struct pms_pool *pool, uint64_t list, uint64_t index, uint64_t count)
{
    struct pms_vec vec;
    struct pms_vec_path path;
    PMS_TRY(pms_vec_load(pool, list, &vec));
    if (index > vec.count || count > vec.count - index)
        return PMS_MISSING;
    if (count == 0)
        return PMS_OK;
    if (count == vec.count && vec.height > 0)
        return pms_list_clear(pool, list);
    while (count) {
        PMS_TRY(pms_vec_seek(pool, &vec, index, &path));
        uint32_t n = path.used[0] - path.at[0];
        if (n > count)
            n = (uint32_t)count;
        PMS_TRY(cut(pool, &vec, &path, n));
        count -= n;
    }
    pms_object_changed(pool, list);
    return PMS_OK;
}

int pms_list_del(struct pms_pool *pool, uint64_t list, uint64_t index)
{
    if (index >= pms_list_len(pool, list))
        return PMS_MISSING;
    return pms_list_del_range(pool, list, index, 1);
}

int pms_list_move(struct pms_pool *pool, uint64_t list, uint64_t from, uint64_t to)
{
    struct pms_vec vec;
    struct pms_vec_path path;
    struct item cell;
    PMS_TRY(pms_vec_load(pool, list, &vec));
    if (from >= vec.count || to >= vec.count)
        return PMS_MISSING;
    if (from == to)
        return PMS_OK;
    PMS_TRY(pms_vec_seek(pool, &vec, from, &path));
    PMS_TRY(read_items(pool, path.off[0], path.at[0], 1, &cell));
    PMS_TRY(take_out(pool, path.off[0], path.used[0], path.at[0], 1));
    PMS_TRY(settle(pool, &vec, &path, path.used[0] - 1, 1));
    PMS_TRY(seek_place(pool, &vec, to, &path));
    PMS_TRY(insert_item(pool, &vec, &path, &cell));
    pms_object_changed(pool, list);
    return PMS_OK;
}

int pms_list_teardown(struct pms_pool *pool, uint64_t list, uint32_t *budget)
{
    struct pms_vec vec;
    struct pms_vec_path path;
    PMS_TRY(pms_vec_load(pool, list, &vec));
    while (vec.root) {
        if (*budget == 0)
            return PMS_MISSING;
        PMS_TRY(pms_vec_seek(pool, &vec, vec.count - 1, &path));
        uint32_t n = path.used[0] < *budget ? path.used[0] : *budget;
        path.at[0] = path.used[0] - n;
        PMS_TRY(cut(pool, &vec, &path, n));
        *budget -= n;
    }
    return pms_object_end(pool, list);
}
