/* vec.c -- the persistent list: finding items, and what leaves the tree's shape alone.
 *
 * Everything that comes from the medium is checked on the way down: offsets lie in the heap,
 * magics fit the level, 1 <= used <= room, and a leaf has exactly as many cells as its parent
 * (or the header) says.  Counts of the other kids of a node are believed, and damage there
 * ends in PMS_E_CORRUPT or a wrong item, never in a wild access: each step goes down a level,
 * and there are at most PMS_LIST_HEIGHT_MAX.
 *
 * Where the kids of a node between the first and the last are full, which appending leaves behind,
 * a division tells the kid; else the counts are added up from the nearer end.
 *
 *   V1  header.count == sum of the cells of all leaves; root == 0 <=> count == 0
 *   V2  kid.count == number of cells below the kid, for each kid of each node
 *   V3  every block has at least one item; off the right edge at least PMS_LIST_FILL_MIN
 *   V4  a leaf that is not the root has room for PMS_LEAF_CELLS; a root node has two kids
 *   V5  items behind the used ones are undefined
 *   V6  bound == 0 in a list; in a deque 0, or count < bound
 */
#include "vec_tree.h"

static_assert(offsetof(struct pms_leaf_pm, cells) == 16, "pms_vec_item");
static_assert(offsetof(struct pms_node_pm, kids) == 16, "pms_vec_item");
static_assert(PMS_LEAF_CELLS == PMS_NODE_KIDS, "pms_vec_seek");

int pms_vec_load(const struct pms_pool *pool, uint64_t list, struct pms_vec *vec)
{
    if (!pms_off_ok(&pool->heap, list, sizeof(struct pms_list_pm)))
        return PMS_FAIL(PMS_E_CORRUPT, "offset of a list", list, 0, 0);
    uint64_t magic = pms_get(pool, list);
    if (magic != (PMS_OBJECT_MAGIC | PMS_TAG_LIST) &&
        magic != (PMS_OBJECT_MAGIC | PMS_TAG_DEQUE))
        return PMS_FAIL(PMS_E_CORRUPT, "magic of a list", list, PMS_OBJECT_MAGIC | PMS_TAG_LIST,
                        magic);
    uint64_t height = pms_get(pool, PMS_LIST_HEIGHT(list));
    vec->list = list;
    vec->count = pms_get(pool, PMS_LIST_COUNT(list));
    vec->root = pms_get(pool, PMS_LIST_ROOT(list));
    if (height > PMS_LIST_HEIGHT_MAX || (!vec->root && height))
        return PMS_FAIL(PMS_E_CORRUPT, "height of a list", list, PMS_LIST_HEIGHT_MAX, height);
    if ((vec->root == 0) != (vec->count == 0))
        return PMS_FAIL(PMS_E_CORRUPT, "a list's count does not fit its root", list, vec->root,
                        vec->count);
    vec->height = (uint32_t)height;
    return PMS_OK;
}

static inline int node_used(const struct pms_pool *pool, uint64_t off, uint32_t *used)
{
    if ((off & 15u) || !pms_off_ok(&pool->heap, off, sizeof(struct pms_node_pm)))
        return PMS_FAIL(PMS_E_CORRUPT, "offset of a list node", off, 0, 0);
    uint64_t head = pms_get(pool, off);
    uint64_t n = head ^ PMS_NODE_MAGIC << 32;
    if (n == 0 || n > PMS_NODE_KIDS)
        return PMS_FAIL(PMS_E_CORRUPT, "head of a list node", off, PMS_NODE_MAGIC << 32, head);
    *used = (uint32_t)n;
    return PMS_OK;
}

int pms_vec_node(const struct pms_pool *pool, uint64_t off, uint32_t *used)
{
    return node_used(pool, off, used);
}

static inline int leaf_head(const struct pms_pool *pool, uint64_t off, uint32_t *used,
                            uint32_t *room)
{
    if ((off & 15u) || !pms_off_ok(&pool->heap, off, PMS_LINE))
        return PMS_FAIL(PMS_E_CORRUPT, "offset of a list leaf", off, 0, 0);
    uint64_t head = pms_get(pool, off);
    uint32_t r = (uint32_t)head >> 16, n = (uint32_t)head & 0xffffu;
    if (head >> 32 != PMS_LEAF_MAGIC || r < PMS_LEAF_CELLS_MIN || r > PMS_LEAF_CELLS ||
        (r & (r + 1)) || n == 0 || n > r || !pms_off_ok(&pool->heap, off, 16 + 16 * r))
        return PMS_FAIL(PMS_E_CORRUPT, "head of a list leaf", off, PMS_LEAF_MAGIC << 32, head);
    *used = n;
    *room = r;
    return PMS_OK;
}

static inline uint64_t cells_of(const struct pms_pool *pool, uint64_t node, uint32_t at)
{
    return pms_get(pool, pms_vec_item(node, at) + 8);
}

/* Scans from the nearer end. */
static int scan_kids(const struct pms_pool *pool, uint64_t node, uint32_t used, uint64_t total,
                     uint64_t *rest, uint32_t *at)
{
    if (*rest < total / 2) {
        for (uint32_t i = 0; i < used; i++) {
            uint64_t cells = cells_of(pool, node, i);
            if (*rest < cells) {
                *at = i;
                return PMS_OK;
            }
            *rest -= cells;
        }
    } else {
        uint64_t before = total;
        for (uint32_t i = used; i-- > 0;) {
            uint64_t cells = cells_of(pool, node, i);
            if (cells > before)
                break;
            before -= cells;
            if (*rest >= before) {
                *at = i;
                *rest -= before;
                return PMS_OK;
            }
        }
    }
    return PMS_FAIL(PMS_E_CORRUPT, "counts of a list node do not add up", node, total, *rest);
}

/* Which kid of a node with `total` cells below has cell *rest?  *rest becomes relative to it.  No
 * kid has more than `most` cells; so if those between the first and the last have as many as
 * they can, each of them is full, and a division tells.  That is what appending leaves behind. */
static inline int pick_kid(const struct pms_pool *pool, uint64_t node, uint32_t used,
                           uint64_t total, uint64_t most, uint64_t *rest, uint32_t *at)
{
    uint64_t first = cells_of(pool, node, 0), last = cells_of(pool, node, used - 1);
    if (*rest < first) {
        *at = 0;
        return PMS_OK;
    }
    if (PMS_UNLIKELY(used == 1 || first > total || last > total - first))
        return PMS_FAIL(PMS_E_CORRUPT, "counts of a list node do not add up", node, total,
                        *rest);
    if (*rest >= total - last) {
        *at = used - 1;
        *rest -= total - last;
        return PMS_OK;
    }
    if (PMS_UNLIKELY(total - first - last != (used - 2) * most))
        return scan_kids(pool, node, used, total, rest, at);
    uint64_t behind = *rest - first;
    uint64_t whole = most == PMS_LEAF_CELLS ? behind / PMS_LEAF_CELLS : behind / most;
    *at = 1 + (uint32_t)whole;
    *rest = behind - whole * most;
    return PMS_OK;
}

/* The end of a way: cell `rest` of a leaf that its parent, or the header, says to have `total`. */
static inline int seek_leaf(const struct pms_pool *pool, const struct pms_vec *vec,
                            uint64_t off, uint64_t total, uint64_t rest,
                            struct pms_vec_path *path)
{
    path->off[0] = off;
    path->at[0] = (uint32_t)rest;
    PMS_TRY(leaf_head(pool, off, &path->used[0], &path->room));
    if (path->used[0] != total || rest >= total)
        return PMS_FAIL(PMS_E_CORRUPT, "cells of a list leaf", off, total, path->used[0]);
    if (vec->height && path->room != PMS_LEAF_CELLS)
        return PMS_FAIL(PMS_E_CORRUPT, "room of a list leaf", off, PMS_LEAF_CELLS, path->room);
    return PMS_OK;
}

int pms_vec_seek(const struct pms_pool *pool, const struct pms_vec *vec, uint64_t index,
                 struct pms_vec_path *path)
{
    uint64_t off = vec->root, total = vec->count, rest = index, most = 1;
    for (uint32_t level = vec->height; level > 0; level--)
        most *= PMS_LEAF_CELLS; /* 63 ** 8 < 2 ** 48 */
    for (uint32_t level = vec->height; level > 0; level--, most /= PMS_LEAF_CELLS) {
        path->off[level] = off;
        PMS_TRY(node_used(pool, off, &path->used[level]));
        PMS_TRY(pick_kid(pool, off, path->used[level], total, most, &rest, &path->at[level]));
        uint64_t item = pms_vec_item(off, path->at[level]);
        off = pms_get(pool, item);
        total = pms_get(pool, item + 8);
    }
    return seek_leaf(pool, vec, off, total, rest, path);
}

/* The last kid of each node: nothing is to be counted for that.  Its count is what the kids before it
 * leave of the node's, so no more than that, and all of it where there is no other. */
int pms_vec_seek_last(const struct pms_pool *pool, const struct pms_vec *vec,
                      struct pms_vec_path *path)
{
    uint64_t off = vec->root, total = vec->count;
    for (uint32_t level = vec->height; level > 0; level--) {
        uint32_t used = 0;
        PMS_TRY(node_used(pool, off, &used));
        path->off[level] = off;
        path->used[level] = used;
        path->at[level] = used - 1;
        uint64_t cells = cells_of(pool, off, used - 1);
        if (PMS_UNLIKELY(cells == 0 || cells > total || (used == 1 && cells != total)))
            return PMS_FAIL(PMS_E_CORRUPT, "counts of a list node do not add up", off, total,
                            cells);
        off = pms_get(pool, pms_vec_item(off, used - 1));
        total = cells;
    }
    return seek_leaf(pool, vec, off, total, total - 1, path);
}

/* Header, then the way to a cell; PMS_MISSING behind the end. */
static int find(const struct pms_pool *pool, uint64_t list, uint64_t index,
                struct pms_vec_path *path)
{
    struct pms_vec vec;
    PMS_TRY(pms_vec_load(pool, list, &vec));
    if (index >= vec.count)
        return PMS_MISSING;
    return pms_vec_seek(pool, &vec, index, path);
}

int pms_list_create(struct pms_pool *pool, uint32_t tag, uint64_t *off)
{
    const struct pms_list_pm empty = {.obj = {.magic_kind = PMS_OBJECT_MAGIC | tag}};
    PMS_TRY(pms_alloc(&pool->heap, sizeof empty, off));
    pms_init_bytes(&pool->ws, *off, &empty, sizeof empty);
    return PMS_OK;
}

uint64_t pms_list_len(const struct pms_pool *pool, uint64_t list)
{
    return pms_get(pool, PMS_LIST_COUNT(list));
}

/* The way to a cell where nothing is in the overlay and all is as appending has left it: its
 * offset.  0: not so, or something is to be refused; find() tells what.  The checks are those of
 * pms_vec_load and pms_vec_seek. */
static inline uint64_t find_quick(const struct pms_pool *pool, uint64_t list, uint64_t index)
{
    const uint8_t *base = pool->ws.medium->base;
    struct pms_list_pm head;
    uint64_t most = 1, block[2];
    if (pool->ws.overlay.count != 0 || !pms_off_ok(&pool->heap, list, sizeof head))
        return 0;
    memcpy(&head, base + list, sizeof head);
    uint64_t off = head.root, total = head.count;
    if ((head.obj.magic_kind != (PMS_OBJECT_MAGIC | PMS_TAG_LIST) &&
         head.obj.magic_kind != (PMS_OBJECT_MAGIC | PMS_TAG_DEQUE)) ||
        head.obj.zero0 != 0 || head.height > PMS_LIST_HEIGHT_MAX || index >= total)
        return 0;
    for (uint64_t level = head.height; level > 0; level--)
        most *= PMS_LEAF_CELLS;
    for (; most > 1; most /= PMS_LEAF_CELLS) {
        if ((off & 15u) || !pms_off_ok(&pool->heap, off, sizeof(struct pms_node_pm)))
            return 0;
        const struct pms_kid_pm *kids =
            (const void *)(base + off + offsetof(struct pms_node_pm, kids));
        memcpy(block, base + off, sizeof block);
        uint64_t used = block[0] ^ PMS_NODE_MAGIC << 32, at = 0;
        if (used - 1 >= PMS_NODE_KIDS)
            return 0;
        uint64_t first = kids[0].count, last = kids[used - 1].count;
        if (index >= first) {
            if (used == 1 || first > total || last > total - first)
                return 0;
            if (index >= total - last) {
                at = used - 1;
                index -= total - last;
            } else if (total - first - last == (used - 2) * most) {
                at = most == PMS_LEAF_CELLS ? (index - first) / PMS_LEAF_CELLS
                                            : (index - first) / most;
                index -= first + at++ * most;
            } else {
                return 0;
            }
        }
        off = kids[at].off;
        total = kids[at].count;
    }
    if ((off & 15u) || !pms_off_ok(&pool->heap, off, PMS_LINE))
        return 0;
    memcpy(block, base + off, sizeof block);
    uint64_t used = block[0] & 0xffffu, room = block[0] >> 16 & 0xffffu;
    if (block[0] >> 32 != PMS_LEAF_MAGIC || used != total || index >= total || used > room ||
        (head.height
             ? room != PMS_LEAF_CELLS
             : room < PMS_LEAF_CELLS_MIN || room > PMS_LEAF_CELLS || (room & (room + 1))) ||
        !pms_off_ok(&pool->heap, off, 16 + 16 * room))
        return 0;
    return pms_vec_item(off, (uint32_t)index);
}

int pms_list_get(struct pms_pool *pool, uint64_t list, uint64_t index, struct pms_val *out)
{
    struct pms_vec_path path;
    uint64_t cell = find_quick(pool, list, index);
    if (PMS_LIKELY(cell != 0))
        return pms_cell_read(pool, cell, out);
    int status = find(pool, list, index, &path);
    if (PMS_UNLIKELY(status != PMS_OK))
        return status;
    return pms_cell_read(pool, pms_vec_item(path.off[0], path.at[0]), out);
}

int pms_list_run(struct pms_pool *pool, uint64_t list, uint64_t index, uint64_t *cell_off,
                 uint64_t *cells)
{
    struct pms_vec_path path;
    PMS_TRY(find(pool, list, index, &path));
    *cell_off = pms_vec_item(path.off[0], path.at[0]);
    *cells = path.used[0] - path.at[0];
    return PMS_OK;
}

int pms_list_set(struct pms_pool *pool, uint64_t list, uint64_t index,
                 const struct pms_val *value)
{
    struct pms_vec_path path;
    uint64_t cell[2];
    PMS_TRY(find(pool, list, index, &path));
    uint64_t off = pms_vec_item(path.off[0], path.at[0]);
    PMS_TRY(pms_cell_make(pool, value, cell));
    PMS_TRY(pms_cell_drop(pool, off));
    pms_put(pool, off, cell[0]);
    pms_put(pool, off + 8, cell[1]);
    return PMS_OK;
}

/* Exchange two cells as they are: what they refer to stays where it is. */
static void swap_cells(struct pms_pool *pool, uint64_t a, uint64_t b)
{
    for (uint64_t i = 0; i < 16; i += 8) {
        uint64_t word = pms_get(pool, a + i);
        pms_put(pool, a + i, pms_get(pool, b + i));
        pms_put(pool, b + i, word);
    }
}

int pms_list_swap(struct pms_pool *pool, uint64_t list, uint64_t a, uint64_t b)
{
    struct pms_vec_path path_a, path_b;
    PMS_TRY(find(pool, list, a, &path_a));
    PMS_TRY(find(pool, list, b, &path_b));
    if (a == b)
        return PMS_OK;
    swap_cells(pool, pms_vec_item(path_a.off[0], path_a.at[0]),
               pms_vec_item(path_b.off[0], path_b.at[0]));
    pms_object_changed(pool, list);
    return PMS_OK;
}

int pms_list_reverse(struct pms_pool *pool, uint64_t list)
{
    struct pms_vec vec;
    PMS_TRY(pms_vec_load(pool, list, &vec));
    uint64_t lo = 0, hi = vec.count;
    while (hi - lo > 1) {
        struct pms_vec_path front, back;
        PMS_TRY(pms_vec_seek(pool, &vec, lo, &front));
        PMS_TRY(pms_vec_seek(pool, &vec, hi - 1, &back));
        uint64_t n = (hi - lo) / 2; /* pairs that lie in these two leaves */
        if (n > front.used[0] - front.at[0])
            n = front.used[0] - front.at[0];
        if (n > back.at[0] + 1)
            n = back.at[0] + 1;
        for (uint32_t i = 0; i < (uint32_t)n; i++)
            swap_cells(pool, pms_vec_item(front.off[0], front.at[0] + i),
                       pms_vec_item(back.off[0], back.at[0] - i));
        lo += n;
        hi -= n;
        if (pool->ws.failed)
            return PMS_FAIL_NOMEM("remember what changes", 0);
    }
    pms_object_changed(pool, list);
    return PMS_OK;
}

int pms_list_clear(struct pms_pool *pool, uint64_t list)
{
    struct pms_vec vec;
    uint64_t heir;
    PMS_TRY(pms_vec_load(pool, list, &vec));
    if (!vec.root)
        return PMS_OK;
    PMS_TRY(pms_object_create(pool, PMS_TAG_LIST, &heir));
    pms_put(pool, PMS_LIST_COUNT(heir), vec.count);
    pms_put(pool, PMS_LIST_ROOT(heir), vec.root);
    pms_put(pool, PMS_LIST_HEIGHT(heir), vec.height);
    PMS_TRY(pms_object_orphan(pool, heir));
    pms_put(pool, PMS_LIST_COUNT(list), 0);
    pms_put(pool, PMS_LIST_ROOT(list), 0);
    pms_put(pool, PMS_LIST_HEIGHT(list), 0);
    pms_object_changed(pool, list);
    return PMS_OK;
}
