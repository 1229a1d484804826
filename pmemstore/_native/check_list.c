/* check_list.c -- the check of a list or deque: its tree holds what its counts say.
 *
 * Walks the tree depth first with one frame for each level, at most PMS_LIST_HEIGHT_MAX + 1.
 *
 *   C7   height and root fit the count; reserves are zero
 *   C8   every block: magic, room, items in use, a capacity for its room
 *   C9   cells below each kid, and in the whole list, are as many as the counts say
 *   C10  blocks off the right edge are at least a third full; a root node has two kids
 *   C35  a list has no bound; a deque has none, or fewer items than it
 */
#include <inttypes.h>

#include "check_state.h"
#include "vec_tree.h"

struct frame { /* a node under way */
    uint64_t off;
    uint32_t used;
    uint32_t at;
    uint64_t seen; /* cells found below so far */
    int right_edge;
};

struct walk {
    uint64_t list;
    uint32_t height;
    struct frame frame[PMS_LIST_HEIGHT_MAX + 1]; /* by level; 0 is not used */
};

static void check_fill(struct pms_check *c, const struct walk *w, uint32_t level, uint64_t off,
                       uint32_t used, int right_edge)
{
    uint32_t least = 1;
    if (level == w->height)
        least = level ? 2 : 1;
    else if (!right_edge)
        least = PMS_LIST_FILL_MIN;
    if (used < least)
        pms_check_problem(c,
                          "the block at offset %" PRIu64 " on level %" PRIu32
                          " of the list at offset %" PRIu64 " has %" PRIu32
                          " items, less than %" PRIu32,
                          off, level, w->list, used, least);
}

/* A leaf and its cells.  Returns how many there are. */
static uint64_t check_leaf(struct pms_check *c, const struct walk *w, uint64_t off,
                           uint64_t from, int right_edge)
{
    if (!pms_check_use(c, off, PMS_LINE, "a leaf of a list", from))
        return 0;
    uint64_t head = pms_get(c->pool, off);
    uint32_t room = (uint32_t)head >> 16, used = (uint32_t)head & 0xffffu;
    if (head >> 32 != PMS_LEAF_MAGIC || room < PMS_LEAF_CELLS_MIN || room > PMS_LEAF_CELLS ||
        (room & (room + 1)) || used > room || used == 0) {
        pms_check_problem(c,
                          "the leaf at offset %" PRIu64 " of the list at offset %" PRIu64
                          " has a wrong head: %#" PRIx64,
                          off, w->list, head);
        return 0;
    }
    if (w->height && room != PMS_LEAF_CELLS)
        pms_check_problem(c,
                          "the leaf at offset %" PRIu64 " of the list at offset %" PRIu64
                          " has room for %" PRIu32 " cells, but is not the root",
                          off, w->list, room);
    if (!pms_check_block(c, off, 16 + 16 * (uint64_t)room, "a leaf of its room", from))
        return 0;
    pms_check_zero(c, off + 8, 8, "the second word of a leaf");
    check_fill(c, w, 0, off, used, right_edge);
    for (uint32_t i = 0; i < used && !pms_check_over(c); i++)
        pms_check_cell(c, pms_vec_item(off, i), 0);
    return used;
}

/* Begin a node: fill its frame.  Returns 0 if there is nothing to walk. */
static int open_node(struct pms_check *c, struct walk *w, uint32_t level, uint64_t off,
                     uint64_t from, int right_edge)
{
    if (!pms_check_use(c, off, sizeof(struct pms_node_pm), "a node of a list", from))
        return 0;
    uint64_t head = pms_get(c->pool, off), used = head ^ PMS_NODE_MAGIC << 32;
    if (used == 0 || used > PMS_NODE_KIDS) {
        pms_check_problem(c,
                          "the node at offset %" PRIu64 " of the list at offset %" PRIu64
                          " has a wrong head: %#" PRIx64,
                          off, w->list, head);
        return 0;
    }
    pms_check_zero(c, off + 8, 8, "the second word of a node");
    check_fill(c, w, level, off, (uint32_t)used, right_edge);
    w->frame[level] =
        (struct frame){.off = off, .used = (uint32_t)used, .right_edge = right_edge};
    return 1;
}

/* The kid that the frame stands at has been walked: `cells` were found below it. */
static void close_kid(struct pms_check *c, const struct walk *w, struct frame *frame,
                      uint64_t cells)
{
    uint64_t count = pms_get(c->pool, pms_vec_item(frame->off, frame->at) + 8);
    if (count != cells)
        pms_check_problem(c,
                          "kid %" PRIu32 " of the node at offset %" PRIu64
                          " of the list at offset %" PRIu64 " has %" PRIu64
                          " cells below it, not %" PRIu64,
                          frame->at, frame->off, w->list, cells, count);
    frame->seen += cells;
    frame->at++;
}

/* All of a tree of height > 0.  Returns the number of its cells. */
static uint64_t walk_nodes(struct pms_check *c, struct walk *w, uint64_t root)
{
    uint32_t level = w->height;
    if (!open_node(c, w, level, root, PMS_LIST_ROOT(w->list), 1))
        return 0;
    for (;;) {
        struct frame *frame = &w->frame[level];
        if (frame->at == frame->used || pms_check_over(c)) {
            if (level == w->height)
                return frame->seen;
            level++;
            close_kid(c, w, &w->frame[level], frame->seen);
            continue;
        }
        uint64_t item = pms_vec_item(frame->off, frame->at), kid = pms_get(c->pool, item);
        int right_edge = frame->right_edge && frame->at == frame->used - 1;
        if (level == 1)
            close_kid(c, w, frame, check_leaf(c, w, kid, item, right_edge));
        else if (open_node(c, w, level - 1, kid, item, right_edge))
            level--;
        else
            close_kid(c, w, frame, 0);
    }
}

void pms_check_list(struct pms_check *c, uint64_t list)
{
    uint64_t count = pms_get(c->pool, PMS_LIST_COUNT(list));
    uint64_t root = pms_get(c->pool, PMS_LIST_ROOT(list));
    uint64_t height = pms_get(c->pool, PMS_LIST_HEIGHT(list)), cells = 0;
    struct walk w = {.list = list, .height = (uint32_t)height};
    uint64_t bound = pms_get(c->pool, PMS_LIST_BOUND(list));
    if (pms_get(c->pool, list) == (PMS_OBJECT_MAGIC | PMS_TAG_LIST))
        pms_check_zero(c, PMS_LIST_BOUND(list), 8, "the bound of a list");
    else if (bound && count >= bound)
        pms_check_problem(c,
                          "the deque at offset %" PRIu64 " has %" PRIu64
                          " items, but its bound is %" PRIu64,
                          list, count, bound);
    if (height > PMS_LIST_HEIGHT_MAX || (!root && height)) {
        pms_check_problem(c, "the list at offset %" PRIu64 " has a wrong height: %" PRIu64,
                          list, height);
        return;
    }
    if (root && height)
        cells = walk_nodes(c, &w, root);
    else if (root)
        cells = check_leaf(c, &w, root, PMS_LIST_ROOT(list), 1);
    if (cells != count && !pms_check_over(c))
        pms_check_problem(c,
                          "the list at offset %" PRIu64 " has %" PRIu64
                          " items, but its count is %" PRIu64,
                          list, cells, count);
}
