/* check_dict.c -- the check of a dict or set: buckets and order hold the same entries.
 *
 * First the buckets: each entry that a link leads to is marked "chained", its key's block is taken
 * as used, if it has one, and its key is hashed again: so no block is hashed for two entries.  Then
 * the order: each entry is taken as used, must be chained (the mark goes away), and its value is
 * looked at.  So an entry that is in one of the two alone, or in one of them twice, is found
 * without a set of entries.
 *
 *   C14  there are as many buckets as the entries ask for (D4), and blocks, nodes and segments are
 *        those that the shape asks for (G2, G3); a bucket's links have no gaps, and its lines are as
 *        many as these need, each a block (B1..B3)
 *   C15  every entry is in the bucket of its hash; the link to it has the hash's tag (D3, G1)
 *   C16  the order is linked both ways from first to last (D2)
 *   C17  count == entries in the order == entries in the buckets (D1)
 *   C18  keys: a known tag, a length that fits it, zero padding, UTF-8; far keys in a block of
 *        their own
 *   C34  all values of a set are NONE
 */
#include <inttypes.h>

#include "check_state.h"
#include "table_impl.h"

struct dict {
    uint64_t off;
    struct pms_dict_shape shape;
    uint64_t chained; /* entries found in buckets */
    int is_set;
};

/* ---- keys ---- */

static void bad_key(struct pms_check *c, uint64_t entry, const char *what)
{
    pms_check_problem(c, "the key of the dict entry at offset %" PRIu64 " %s: %#" PRIx32, entry,
                      what, PMS_LINK_EXTRA(pms_get(c->pool, PMS_ENTRY_NEXT(entry))));
}

/* Bytes [off, off+len) of a key, padded with zeroes to 8; text: UTF-8 too. */
static int key_bytes(struct pms_check *c, uint64_t entry, uint64_t off, uint64_t len, int text)
{
    if (len % 8 && pms_get(c->pool, off + len / 8 * 8) >> len % 8 * 8) {
        bad_key(c, entry, "is not padded with zeroes");
        return 0;
    }
    if (!text || len == 0)
        return 1;
    const uint8_t *bytes = pms_view(c->pool, off, len);
    if (!bytes) {
        c->nomem = 1;
        return 0;
    }
    if (!pms_check_utf8(bytes, len))
        bad_key(c, entry, "is a str, but not UTF-8");
    return 1;
}

static int far_key(struct pms_check *c, uint64_t entry)
{
    uint64_t at = PMS_ENTRY_KEY(entry), off = pms_get(c->pool, at);
    if (!pms_check_use(c, off, sizeof(struct pms_far_key_pm), "a long key", at))
        return 0;
    c->out->blobs++;
    uint64_t word0 = pms_get(c->pool, off), word1 = pms_get(c->pool, off + 8);
    uint64_t image = word0 >> 32, stored = word1 & UINT32_MAX, tag = word0 & UINT32_MAX;
    uint64_t bytes = sizeof(struct pms_far_key_pm) + PMS_PAD8(image) + stored;
    if ((tag != PMS_TAG_STR && tag != PMS_TAG_BYTES && tag != PMS_TAG_PACKED) || word1 >> 32 ||
        (tag != PMS_TAG_PACKED && (stored || image <= PMS_KEY_INNER_MAX))) {
        bad_key(c, entry, "is out of line, with a wrong head");
        return 0;
    }
    return pms_check_block(c, off, bytes, "a long key of its length", at) &&
           key_bytes(c, entry, off + sizeof(struct pms_far_key_pm), image, tag == PMS_TAG_STR);
}

/* Is the cell behind a key of this length still in the entry's block? */
static int cell_fits(uint64_t entry, uint32_t len, uint64_t capacity)
{
    uint64_t cell = PMS_ENTRY_KEY(entry) + PMS_PAD8(len);
    return cell + sizeof(struct pms_cell_pm) <= entry + capacity;
}

/* Is there a key that can be hashed? */
static int check_key(struct pms_check *c, uint64_t entry, uint64_t capacity)
{
    uint32_t extra = PMS_LINK_EXTRA(pms_get(c->pool, PMS_ENTRY_NEXT(entry)));
    uint32_t tag = extra & 0xffu, len = extra >> 8, want = 8;
    if (tag == PMS_TAG_NONE || tag == PMS_TAG_FALSE || tag == PMS_TAG_TRUE)
        want = 0;
    else if (tag == PMS_TAG_STR || tag == PMS_TAG_BYTES)
        want = len <= PMS_KEY_INNER_MAX ? len : 0;
    else if (tag != PMS_TAG_INT && tag != PMS_TAG_FLOAT && tag != PMS_KEY_FAR)
        want = len + 1;
    if (len != want || !cell_fits(entry, len, capacity)) {
        bad_key(c, entry, "has a wrong tag or length");
        return 0;
    }
    if (tag == PMS_KEY_FAR)
        return far_key(c, entry);
    return key_bytes(c, entry, PMS_ENTRY_KEY(entry), len, tag == PMS_TAG_STR);
}

/* ---- buckets ---- */

static void check_hash(struct pms_check *c, const struct dict *dict, uint64_t entry,
                       uint64_t bucket, uint32_t tag)
{
    uint64_t hash;
    if (pms_entry_hash(c->pool, entry, &hash) != PMS_OK) {
        bad_key(c, entry, "cannot be hashed");
        return;
    }
    struct pms_bucket want = pms_dict_bucket_of(&dict->shape, hash);
    if (want.number != bucket)
        pms_check_problem(c,
                          "the entry at offset %" PRIu64 " of the dict at offset %" PRIu64
                          " is in bucket %" PRIu64 ", but its key belongs into %" PRIu64,
                          entry, dict->off, bucket, want.number);
    if (pms_dict_tag(hash, want.level) != tag)
        pms_check_problem(c,
                          "the link to the entry at offset %" PRIu64
                          " of the dict at offset %" PRIu64 " has tag %#" PRIx32
                          ", not %#" PRIx32,
                          entry, dict->off, tag, pms_dict_tag(hash, want.level));
}

/* The link at `at` to an entry. */
static void check_link(struct pms_check *c, struct dict *dict, uint64_t bucket, uint64_t at)
{
    uint64_t link = pms_get(c->pool, at), entry = PMS_LINK_OFF(link);
    uint64_t capacity = pms_check_block(c, entry, PMS_ENTRY_MIN, "an entry of a dict", at);
    if (!capacity)
        return;
    if (pms_check_bit(c->chained, pms_check_index(c, entry))) {
        pms_check_problem(c,
                          "the entry at offset %" PRIu64 " has a second link, at "
                          "offset %" PRIu64 " in a bucket of the dict at offset %" PRIu64,
                          entry, at, dict->off);
        return;
    }
    pms_check_bit_set(c->chained, pms_check_index(c, entry));
    dict->chained++;
    if (check_key(c, entry, capacity))
        check_hash(c, dict, entry, bucket, PMS_LINK_EXTRA(link));
}

/* The word at `from` leads to a block of lines, used from here on.  Returns 0 if not, told. */
static int take_lines(struct pms_check *c, uint64_t off, uint64_t bytes, const char *what,
                      uint64_t from)
{
    if (!pms_check_use(c, off, bytes, what, from))
        return 0;
    if (off % PMS_LINE == 0)
        return 1;
    pms_check_problem(c, "%s at offset %" PRIu64 " begins in the middle of a line", what, off);
    return 0;
}

/* The bucket whose first line is at off.  Returns 0 if it cannot be walked. */
static int check_bucket(struct pms_check *c, struct dict *dict, uint64_t bucket, uint64_t off)
{
    for (int further = 0; !pms_check_over(c); further = 1) {
        uint64_t at = off, end = off + PMS_LINE, link = 0;
        for (; at < end && (link = pms_get(c->pool, at)) != 0; at += 8)
            if (at != PMS_LINE_MORE(off) || !PMS_LINK_IS_MORE(link))
                check_link(c, dict, bucket, at);
        if (further && at < off + 16)
            pms_check_problem(c,
                              "the further line at offset %" PRIu64 " of bucket %" PRIu64
                              " of the dict at offset %" PRIu64 " has less than two links",
                              off, bucket, dict->off);
        if (at < end)
            pms_check_zero(c, at, end - at, "what is behind the links of a bucket");
        if (!PMS_LINK_IS_MORE(link))
            return 1;
        at = PMS_LINE_MORE(off);
        off = PMS_LINK_OFF(link);
        if (!take_lines(c, off, PMS_LINE, "a further line of a dict's bucket", at))
            return 0;
    }
    return 1;
}

/* Buckets first, first + 1, ...: n lines in a block that the word at `at` leads to.  Returns 0 if
 * they cannot all be walked. */
static int check_buckets(struct pms_check *c, struct dict *dict, uint64_t first, uint64_t n,
                         uint64_t bytes, uint64_t at)
{
    uint64_t block = pms_get(c->pool, at);
    int whole = 1;
    if (!take_lines(c, block, bytes, "a dict's buckets", at))
        return 0;
    for (uint64_t i = 0; i < n && !pms_check_over(c); i++)
        if (!check_bucket(c, dict, first + i, block + PMS_LINE * i))
            whole = 0;
    return whole;
}

/* The tree of a dict that has segments: to the last segment, step by step from the first, with
 * the nodes on the way to it in node[]; a node is taken when its first segment comes. */
static int check_tree(struct pms_check *c, struct dict *dict, uint64_t top)
{
    uint64_t node[PMS_DICT_HEIGHT_MAX + 1] = {0}, buckets = pms_dict_buckets(&dict->shape);
    uint64_t last = (buckets - 1) / PMS_DICT_SEG_BUCKETS, at, n;
    uint32_t height = pms_dict_height(&dict->shape), h;
    int whole = 1;
    for (uint64_t s = 0; s <= last && !pms_check_over(c); s++) {
        for (at = top, h = height; h > 0; at = node[h] + pms_node_word(s, h), h--) {
            if ((s & ((1ull << PMS_DICT_NODE_BITS * h) - 1)) != 0)
                continue; /* taken before */
            node[h] = pms_get(c->pool, at);
            if (!take_lines(c, node[h], PMS_NODE_BYTES, "a node of a dict's buckets", at))
                return 0;
        }
        if (s < 2) { /* these buckets are in the blocks */
            pms_check_zero(c, at, 8, "the word of a segment that a dict does not have");
            continue;
        }
        n = buckets - s * PMS_DICT_SEG_BUCKETS;
        n = n < PMS_DICT_SEG_BUCKETS ? n : PMS_DICT_SEG_BUCKETS;
        if (!check_buckets(c, dict, s * PMS_DICT_SEG_BUCKETS, n, PMS_SEG_BYTES, at))
            whole = 0;
    }
    for (h = 1; h <= height && !pms_check_over(c); h++) {
        at = node[h] + pms_node_word(last, h) + 8;
        pms_check_zero(c, at, node[h] + PMS_NODE_BYTES - at,
                       "what is behind the last word of a node of a dict's buckets");
    }
    return whole;
}

/* With too many buckets a dict could not be torn down; with too few, each look-up would walk
 * through many entries. */
static void check_load(struct pms_check *c, const struct dict *dict, uint64_t count)
{
    uint64_t buckets = pms_dict_buckets(&dict->shape);
    if (!pms_dict_is_roomy(buckets, count) && count <= PMS_DICT_LOAD * (buckets + 1))
        return;
    pms_check_problem(
        c, "the dict at offset %" PRIu64 " has %" PRIu64 " buckets for %" PRIu64 " entries",
        dict->off, buckets, count);
}

/* All buckets.  Returns 0 if some cannot be walked. */
static int check_table(struct pms_check *c, struct dict *dict)
{
    uint64_t line = PMS_DICT_AT(dict->off, line), buckets = pms_dict_buckets(&dict->shape);
    uint64_t top = line + 8 * PMS_DICT_BLOCKS;
    int whole = 1;
    if (buckets == 1)
        return check_bucket(c, dict, 0, line);
    for (uint32_t k = 0; k < PMS_DICT_BLOCKS && !pms_check_over(c); k++) {
        uint64_t first = pms_block_first(k), most = (2ull << k) - first;
        uint64_t n = buckets <= first ? 0 : buckets - first < most ? buckets - first : most;
        if (n == 0)
            pms_check_zero(c, line + 8 * k, 8, "the word of a block that a dict does not have");
        else if (!check_buckets(c, dict, first, n, pms_block_bytes(k), line + 8 * k))
            whole = 0;
    }
    if (pms_dict_height(&dict->shape) == 0)
        pms_check_zero(c, top, 8, "the tree of a dict without segments");
    else if (!check_tree(c, dict, top))
        whole = 0;
    return whole;
}

/* ---- order ---- */

/* The value of an entry, if the length of its key, which check_key has looked at, leads to it. */
static void check_value(struct pms_check *c, const struct dict *dict, uint64_t entry,
                        uint64_t capacity)
{
    uint32_t len = PMS_LINK_EXTRA(pms_get(c->pool, PMS_ENTRY_NEXT(entry))) >> 8;
    uint64_t cell = PMS_ENTRY_KEY(entry) + PMS_PAD8(len);
    if (!cell_fits(entry, len, capacity))
        return;
    uint64_t word = pms_get(c->pool, cell);
    pms_check_cell(c, cell, entry + capacity - cell - 8);
    if (dict->is_set && word != PMS_CELL_WORD0(PMS_TAG_NONE, 0, 0))
        pms_check_problem(c,
                          "the entry at offset %" PRIu64 " of the set at offset %" PRIu64
                          " has a value: %#" PRIx64,
                          entry, dict->off, word);
}

/* Returns the number of entries in the order. */
static uint64_t check_order(struct pms_check *c, const struct dict *dict, int whole)
{
    uint64_t from = PMS_DICT_AT(dict->off, first), before = 0, n = 0;
    uint64_t entry = pms_get(c->pool, from);
    while (entry && !pms_check_over(c)) {
        uint64_t capacity = pms_check_use(c, entry, PMS_ENTRY_MIN, "an entry of a dict", from);
        if (!capacity)
            return n;
        uint64_t i = pms_check_index(c, entry), prev = pms_get(c->pool, PMS_ENTRY_PREV(entry));
        if (!pms_check_bit(c->chained, i)) {
            if (whole)
                pms_check_problem(c,
                                  "the entry at offset %" PRIu64
                                  " of the dict at offset %" PRIu64 " is in no bucket",
                                  entry, dict->off);
            (void)check_key(c, entry, capacity);
        }
        pms_check_bit_clear(c->chained, i);
        if (prev != PMS_LINK(before, 0))
            pms_check_problem(c,
                              "the entry at offset %" PRIu64 " of the dict at offset %" PRIu64
                              " has the predecessor %#" PRIx64 ", not the entry at %" PRIu64,
                              entry, dict->off, prev, before);
        check_value(c, dict, entry, capacity);
        n++;
        before = entry;
        from = PMS_ENTRY_NEXT(entry);
        entry = PMS_LINK_OFF(pms_get(c->pool, from));
    }
    uint64_t last = pms_get(c->pool, PMS_DICT_AT(dict->off, last));
    if (last != before && !pms_check_over(c))
        pms_check_problem(
            c, "the last entry of the dict at offset %" PRIu64 " is %" PRIu64 ", not %" PRIu64,
            dict->off, before, last);
    return n;
}

void pms_check_dict(struct pms_check *c, uint64_t off)
{
    struct dict dict = {.off = off};
    dict.is_set = pms_get(c->pool, off) == (PMS_OBJECT_MAGIC | PMS_TAG_SET);
    uint64_t count = pms_get(c->pool, PMS_DICT_AT(off, count));
    int whole = pms_dict_shape(c->pool, off, &dict.shape) == PMS_OK;
    if (whole)
        whole = check_table(c, &dict);
    else
        pms_check_problem(c, "the dict at offset %" PRIu64 " has a wrong shape: %#" PRIx64, off,
                          pms_get(c->pool, PMS_DICT_AT(off, shape)));
    uint64_t n = check_order(c, &dict, whole);
    c->out->entries += n;
    if (pms_check_over(c))
        return;
    if (count != n)
        pms_check_problem(c,
                          "the dict at offset %" PRIu64 " has %" PRIu64
                          " entries in its order, but its count is %" PRIu64,
                          off, n, count);
    else if (whole)
        check_load(c, &dict, count);
    if (whole && dict.chained != n)
        pms_check_problem(c,
                          "the dict at offset %" PRIu64 " has %" PRIu64
                          " entries in its buckets, but %" PRIu64 " in its order",
                          off, dict.chained, n);
}
