/* check_sorted.c -- the check of a sorted dict or set: its tree is in order.
 *
 * Walks the tree depth first with one frame for each level, at most PMS_SORTED_HEIGHT_MAX + 1.
 *
 *   C19  height, root and order fit the count; values of a set are NONE
 *   C20  every block: magic, room, items in use, a capacity for its room; the order of a leaf
 *        names each of its references once
 *   C21  entries below each kid, and in the whole, are as many as the counts say; the first of
 *        them is the kid's least
 *   C22  blocks off the right edge are at least a third full; a root node has two kids
 *   C23  keys: of the kind that the header tells, with a true image, each greater than the one
 *        before; images begin with the common bytes of their block, prefixes are those behind
 */
#include <inttypes.h>

#include "check_state.h"
#include "sorted_tree.h"

struct frame { /* a node under way */
    uint64_t off;
    uint32_t used;
    uint32_t common;
    uint32_t at;
    uint64_t seen; /* entries found below so far */
    int right_edge;
};

struct walk {
    uint64_t sorted;
    uint32_t height;
    uint64_t order;
    int is_set;
    uint64_t last;                                 /* entry met last, or 0 */
    struct frame frame[PMS_SORTED_HEIGHT_MAX + 1]; /* by level; 0 is not used */
};

/* ---- entries ---- */

static void bad_entry(struct pms_check *c, const struct walk *w, uint64_t entry,
                      const char *what)
{
    pms_check_problem(
        c, "the entry at offset %" PRIu64 " of the sorted dict at offset %" PRIu64 " %s", entry,
        w->sorted, what);
}

/* Is a key with this tag and image one of the container's kind? */
static int fits_order(uint64_t order, uint32_t tag, const uint8_t *image, uint64_t len)
{
    static const uint8_t bytes[PMS_ORDER_UUID + 1] = {
        [PMS_ORDER_DATE] = 4, [PMS_ORDER_DATETIME] = 8,   [PMS_ORDER_INSTANT] = 8,
        [PMS_ORDER_TIME] = 8, [PMS_ORDER_TIMEDELTA] = 12, [PMS_ORDER_UUID] = 16};
    switch (tag) {
    case PMS_TAG_FALSE:
    case PMS_TAG_TRUE:
    case PMS_TAG_INT:
    case PMS_TAG_FLOAT:
        return order == PMS_ORDER_NUMBER;
    case PMS_TAG_STR:
        return order == PMS_ORDER_STR;
    case PMS_TAG_BYTES:
        return order == PMS_ORDER_BYTES;
    case PMS_TAG_BIGINT:
        return order == PMS_ORDER_NUMBER && pms_image_is_number(image, len);
    default:
        break;
    }
    if (order == PMS_ORDER_TUPLE)
        return pms_image_is_tuple(image, len);
    if (order == PMS_ORDER_NUMBER)
        return pms_image_is_number(image, len);
    return bytes[order] != 0 && bytes[order] == len;
}

static void check_order(struct pms_check *c, struct walk *w, uint64_t entry,
                        const uint8_t *image, uint64_t len)
{
    struct pms_image before;
    if (w->last && pms_sorted_image(c->pool, w->last, &before) == PMS_OK) {
        if (pms_image_compare(before.bytes, before.len, image, len) >= 0)
            bad_entry(c, w, entry, "has a key that is not greater than the one before it");
        else if (w->order == PMS_ORDER_TUPLE &&
                 pms_image_mixed(before.bytes, before.len, image, len))
            bad_entry(c, w, entry, "has a key that has no order with the one before it");
    }
    w->last = entry;
}

/* The bytes of the key and its image; returns 0 if there is no image to compare.  *value: the
 * place of the value's cell, or 0. */
static int check_key(struct pms_check *c, const struct walk *w, uint64_t entry,
                     uint64_t capacity, uint64_t *value)
{
    struct pms_sorted_parts parts;
    *value = 0;
    if (pms_sorted_parts(c->pool, entry, &parts) != PMS_OK ||
        parts.value + sizeof(struct pms_cell_pm) > entry + capacity) {
        bad_entry(c, w, entry, "has a key that cannot be read");
        return 0;
    }
    *value = parts.value;
    uint64_t problems = c->out->problems;
    pms_check_cell(c, entry, parts.value - entry - 8); /* the value is behind all bytes */
    return c->out->problems == problems; /* bytes that another entry has are not read again */
}

/* Does an image begin with the common bytes of a block, and is its prefix the one that lies at
 * prefix_at? */
static int fits_block(const struct pms_check *c, uint64_t block, uint32_t common,
                      uint64_t prefix_at, const struct pms_image *image)
{
    uint8_t bytes[PMS_SORTED_COMMON];
    for (uint32_t i = 0; i < PMS_SORTED_COMMON; i += 8) {
        uint64_t word = pms_get(c->pool, PMS_SORTED_BYTES(block) + i);
        memcpy(bytes + i, &word, 8);
    }
    return pms_image_shared(image->bytes, image->len, bytes, common) == common &&
           pms_image_prefix_at(image->bytes, image->len, common) == pms_get(c->pool, prefix_at);
}

/* The entry that the reference at `ref` of a leaf leads to. */
static void check_entry(struct pms_check *c, struct walk *w, uint64_t leaf, uint32_t common,
                        uint64_t ref)
{
    uint64_t entry = pms_get(c->pool, ref), value;
    struct pms_image image;
    uint64_t capacity =
        pms_check_use(c, entry, PMS_SORTED_ENTRY_MIN, "an entry of a sorted dict", ref);
    if (!capacity)
        return;
    c->out->entries++;
    if (check_key(c, w, entry, capacity, &value)) {
        uint32_t tag = PMS_CELL_TAG(pms_get(c->pool, entry));
        if (pms_sorted_image(c->pool, entry, &image) != PMS_OK ||
            !fits_order(w->order, tag, image.bytes, image.len)) {
            bad_entry(c, w, entry, "has a key that is not of the kind of the others");
        } else {
            if (!fits_block(c, leaf, common, ref + 8, &image))
                bad_entry(c, w, entry, "has another prefix in its leaf than in its key");
            check_order(c, w, entry, image.bytes, image.len);
        }
    }
    if (!value)
        return;
    if (w->is_set && pms_get(c->pool, value) != PMS_TAG_NONE)
        bad_entry(c, w, entry, "has a value, but is one of a set");
    pms_check_cell(c, value, entry + capacity - value - 8);
}

/* ---- blocks ---- */

static void check_fill(struct pms_check *c, const struct walk *w, uint32_t level, uint64_t off,
                       uint32_t used, int right_edge)
{
    uint32_t least = 1;
    if (level == w->height)
        least = level ? 2 : 1;
    else if (!right_edge)
        least = pms_sorted_fill(level);
    if (used < least)
        pms_check_problem(c,
                          "the block at offset %" PRIu64 " on level %" PRIu32
                          " of the sorted dict at offset %" PRIu64 " has %" PRIu32
                          " items, less than %" PRIu32,
                          off, level, w->sorted, used, least);
}

/* A leaf and its entries.  Returns how many there are. */
static uint64_t check_leaf(struct pms_check *c, struct walk *w, uint64_t off, uint64_t from,
                           int right_edge)
{
    struct pms_sorted_head head;
    uint64_t seen = 0;
    uint32_t slot;
    if (!pms_check_use(c, off, pms_sorted_ref(0, PMS_SORTED_ROOM_MIN),
                       "a leaf of a sorted dict", from))
        return 0;
    if (pms_sorted_leaf(c->pool, off, &head) != PMS_OK) {
        pms_check_problem(c,
                          "the leaf at offset %" PRIu64 " of the sorted dict at offset %" PRIu64
                          " has a wrong head: %#" PRIx64,
                          off, w->sorted, pms_get(c->pool, off));
        return 0;
    }
    if (w->height && head.room != PMS_SORTED_REFS)
        pms_check_problem(c,
                          "the leaf at offset %" PRIu64 " of the sorted dict at offset %" PRIu64
                          " has room for %" PRIu32 " entries, but is not the root",
                          off, w->sorted, head.room);
    if (!pms_check_block(c, off, pms_sorted_ref(0, head.room), "a leaf of its room", from))
        return 0;
    check_fill(c, w, 0, off, head.used, right_edge);
    for (uint32_t i = 0; i < head.used && !pms_check_over(c); i++) {
        if (pms_sorted_slot(c->pool, off, head.used, i, &slot) != PMS_OK || seen >> slot & 1u) {
            pms_check_problem(c,
                              "the leaf at offset %" PRIu64
                              " of the sorted dict at offset %" PRIu64
                              " has an order that does not name each reference once",
                              off, w->sorted);
            return i;
        }
        seen |= 1ull << slot;
        check_entry(c, w, off, head.common, pms_sorted_ref(off, slot));
    }
    return head.used;
}

/* Begin a node: fill its frame.  Returns 0 if there is nothing to walk. */
static int open_node(struct pms_check *c, struct walk *w, uint32_t level, uint64_t off,
                     uint64_t from, int right_edge)
{
    struct pms_sorted_head head;
    if (!pms_check_use(c, off, sizeof(struct pms_sorted_node_pm), "a node of a sorted dict",
                       from))
        return 0;
    if (pms_sorted_node(c->pool, off, &head) != PMS_OK) {
        pms_check_problem(c,
                          "the node at offset %" PRIu64 " of the sorted dict at offset %" PRIu64
                          " has a wrong head: %#" PRIx64,
                          off, w->sorted, pms_get(c->pool, off));
        return 0;
    }
    check_fill(c, w, level, off, head.used, right_edge);
    w->frame[level] = (struct frame){
        .off = off, .used = head.used, .common = head.common, .right_edge = right_edge};
    return 1;
}

/* The least entry of a kid is the first item of its block, and has the kid's prefix. */
static void check_least(struct pms_check *c, const struct walk *w, uint32_t level,
                        const struct frame *frame)
{
    uint64_t kid = pms_sorted_kid(frame->off, frame->at), block = pms_get(c->pool, kid), first;
    struct pms_sorted_head head;
    struct pms_image image;
    uint32_t slot;
    if (level > 1)
        first = pms_get(c->pool, pms_sorted_kid(block, 0) + PMS_KID_LEAST);
    else if (pms_sorted_leaf(c->pool, block, &head) == PMS_OK &&
             pms_sorted_slot(c->pool, block, head.used, 0, &slot) == PMS_OK)
        first = pms_get(c->pool, pms_sorted_ref(block, slot));
    else
        return;
    if (pms_get(c->pool, kid + PMS_KID_LEAST) != first)
        pms_check_problem(c,
                          "the kid at offset %" PRIu64 " of the sorted dict at offset %" PRIu64
                          " has another least entry than its block: %#" PRIx64
                          " instead of %#" PRIx64,
                          kid, w->sorted, pms_get(c->pool, kid + PMS_KID_LEAST), first);
    else if (pms_sorted_image(c->pool, first, &image) != PMS_OK ||
             !fits_block(c, frame->off, frame->common, kid + PMS_KID_PREFIX, &image))
        pms_check_problem(c,
                          "the kid at offset %" PRIu64 " of the sorted dict at offset %" PRIu64
                          " has another least prefix than its block: %#" PRIx64,
                          kid, w->sorted, pms_get(c->pool, kid + PMS_KID_PREFIX));
}

/* The kid that the frame of `level` stands at has been walked: `entries` were found below. */
static void close_kid(struct pms_check *c, const struct walk *w, uint32_t level,
                      struct frame *frame, uint64_t entries)
{
    uint64_t kid = pms_sorted_kid(frame->off, frame->at);
    uint64_t count = pms_get(c->pool, kid + PMS_KID_COUNT);
    if (count != entries)
        pms_check_problem(c,
                          "kid %" PRIu32 " of the node at offset %" PRIu64
                          " of the sorted dict at offset %" PRIu64 " has %" PRIu64
                          " entries below it, not %" PRIu64,
                          frame->at, frame->off, w->sorted, entries, count);
    if (entries)
        check_least(c, w, level, frame);
    frame->seen += entries;
    frame->at++;
}

/* All of a tree of height > 0.  Returns the number of its entries. */
static uint64_t walk_nodes(struct pms_check *c, struct walk *w, uint64_t root)
{
    uint32_t level = w->height;
    if (!open_node(c, w, level, root, PMS_SORTED_AT(w->sorted, root), 1))
        return 0;
    for (;;) {
        struct frame *frame = &w->frame[level];
        if (frame->at == frame->used || pms_check_over(c)) {
            if (level == w->height)
                return frame->seen;
            level++;
            close_kid(c, w, level, &w->frame[level], frame->seen);
            continue;
        }
        uint64_t kid = pms_sorted_kid(frame->off, frame->at), block = pms_get(c->pool, kid);
        int right_edge = frame->right_edge && frame->at == frame->used - 1;
        if (level == 1)
            close_kid(c, w, level, frame, check_leaf(c, w, block, kid, right_edge));
        else if (open_node(c, w, level - 1, block, kid, right_edge))
            level--;
        else
            close_kid(c, w, level, frame, 0);
    }
}

void pms_check_sorted(struct pms_check *c, uint64_t off)
{
    struct pms_sorted sorted;
    uint64_t entries = 0;
    if (pms_sorted_load(c->pool, off, &sorted) != PMS_OK) {
        pms_check_problem(c,
                          "the sorted dict at offset %" PRIu64
                          " has a wrong header: count %" PRIu64 ", root %" PRIu64
                          ", height %" PRIu64 ", order %" PRIu64,
                          off, pms_get(c->pool, PMS_SORTED_AT(off, count)),
                          pms_get(c->pool, PMS_SORTED_AT(off, root)),
                          pms_get(c->pool, PMS_SORTED_AT(off, height)),
                          pms_get(c->pool, PMS_SORTED_AT(off, order)));
        return;
    }
    struct walk w = {.sorted = off, .height = sorted.height, .order = sorted.order};
    w.is_set = pms_get(c->pool, off) == (PMS_OBJECT_MAGIC | PMS_TAG_SORTED_SET);
    if (sorted.root && sorted.height)
        entries = walk_nodes(c, &w, sorted.root);
    else if (sorted.root)
        entries = check_leaf(c, &w, sorted.root, PMS_SORTED_AT(off, root), 1);
    if (entries != sorted.count && !pms_check_over(c))
        pms_check_problem(c,
                          "the sorted dict at offset %" PRIu64 " has %" PRIu64
                          " entries, but its count is %" PRIu64,
                          off, entries, sorted.count);
}
