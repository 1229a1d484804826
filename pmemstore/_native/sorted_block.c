/* sorted_block.c -- blocks of the sorted dict as a whole, and what their keys have in common.
 *
 * Keys that stand side by side often begin alike ("key-000000012345"), and then the first eight
 * bytes tell nothing.  So a block says with how many bytes, up to PMS_SORTED_COMMON, all its
 * images begin, and has them; a prefix is the eight bytes behind.
 *
 *   lower    a key comes that shares less: prefixes are put together from the common bytes that
 *            are none any more and what they were; no entry is read
 *   renew    from the images of all entries; as far as the first and the last one share
 *   sharpen  renew where prefixes are equal, when a block is split, shared or made
 *
 * That keys go never makes the common bytes wrong, only fewer than they could be.
 */
#include "sorted_tree.h"

static uint64_t head_word(const struct pms_sorted_block *block)
{
    const struct pms_sorted_head *head = &block->head;
    return (block->level ? PMS_SORTED_NODE_MAGIC : PMS_SORTED_LEAF_MAGIC) << 32 |
           head->common << 16 | (block->level ? 0 : head->room << 8) | head->used;
}

/* ---- to and from the medium ---- */

static int read_kids(struct pms_pool *pool, struct pms_sorted_block *out)
{
    size_t bytes = out->head.used * sizeof out->item[0];
    const void *from = pms_rd_bytes(&pool->ws, pms_sorted_kid(out->off, 0), bytes);
    if (!from)
        return PMS_FAIL_NOMEM("read a sorted dict", bytes);
    memcpy(out->item, from, bytes);
    return PMS_OK;
}

static int read_refs(struct pms_pool *pool, struct pms_sorted_block *out)
{
    struct pms_sorted_ref_pm ref;
    uint32_t used = out->head.used, slot = 0;
    size_t bytes = used * sizeof ref;
    const char *from = pms_rd_bytes(&pool->ws, pms_sorted_ref(out->off, 0), bytes);
    if (!from)
        return PMS_FAIL_NOMEM("read a sorted dict", bytes);
    for (uint32_t i = 0; i < used; i++) {
        PMS_TRY(pms_sorted_slot(pool, out->off, used, i, &slot));
        memcpy(&ref, from + slot * sizeof ref, sizeof ref);
        out->item[i] = (struct pms_branch){ref.entry, 1, ref.entry, ref.prefix};
    }
    return PMS_OK;
}

static void read_common(const struct pms_pool *pool, uint64_t off,
                        uint8_t bytes[PMS_SORTED_COMMON])
{
    for (uint32_t i = 0; i < PMS_SORTED_COMMON; i += 8) {
        uint64_t word = pms_get(pool, PMS_SORTED_BYTES(off) + i);
        memcpy(bytes + i, &word, 8);
    }
}

int pms_sorted_read(struct pms_pool *pool, uint32_t level, uint64_t off,
                    struct pms_sorted_block *out)
{
    out->off = off;
    out->level = level;
    PMS_TRY((level ? pms_sorted_node : pms_sorted_leaf)(pool, off, &out->head));
    read_common(pool, off, out->bytes);
    return level ? read_kids(pool, out) : read_refs(pool, out);
}

/* As it lies on the medium; returns its bytes. */
static size_t pack(const struct pms_sorted_block *block, void *out)
{
    const struct pms_branch *item = block->item;
    uint32_t used = block->head.used;
    if (block->level) {
        struct pms_sorted_node_pm *node = out;
        node->head = head_word(block);
        memcpy(node->bytes, block->bytes, sizeof node->bytes);
        memcpy(node->kids, item, used * sizeof *item);
        return sizeof *node;
    }
    struct pms_sorted_leaf_pm *leaf = out;
    leaf->head = head_word(block);
    memcpy(leaf->bytes, block->bytes, sizeof leaf->bytes);
    for (uint32_t i = 0; i < used; i++) {
        leaf->order[i] = (uint8_t)i;
        leaf->refs[i] = (struct pms_sorted_ref_pm){item[i].off, item[i].prefix};
    }
    return pms_sorted_ref(0, block->head.room);
}

union image {
    struct pms_sorted_leaf_pm leaf;
    struct pms_sorted_node_pm node;
};

void pms_sorted_write(struct pms_pool *pool, const struct pms_sorted_block *block,
                      uint32_t first)
{
    union image image;
    uint32_t used = block->head.used;
    memset(&image, 0, offsetof(struct pms_sorted_leaf_pm, refs));
    (void)pack(block, &image);
    if (block->level) {
        pms_wr_bytes(&pool->ws, block->off, &image, offsetof(struct pms_sorted_node_pm, kids));
        if (first < used)
            pms_wr_bytes(&pool->ws, pms_sorted_kid(block->off, first), &image.node.kids[first],
                         (used - first) * sizeof image.node.kids[0]);
        return;
    }
    pms_wr_bytes(&pool->ws, block->off, &image,
                 offsetof(struct pms_sorted_leaf_pm, order) + PMS_PAD8(used));
    pms_wr_bytes(&pool->ws, pms_sorted_ref(block->off, 0), image.leaf.refs,
                 used * sizeof image.leaf.refs[0]);
}

int pms_sorted_make(struct pms_pool *pool, struct pms_sorted_block *block)
{
    union image image;
    memset(&image, 0, sizeof image);
    size_t bytes = pack(block, &image);
    PMS_TRY(pms_alloc(&pool->heap, bytes, &block->off));
    pms_init_bytes(&pool->ws, block->off, &image, bytes);
    return PMS_OK;
}

struct pms_branch pms_sorted_branch(const struct pms_sorted_block *block)
{
    struct pms_branch branch = {block->off, 0, block->item[0].least, 0};
    for (uint32_t i = 0; i < block->head.used; i++)
        branch.count += block->item[i].count;
    return branch;
}

/* ---- common bytes ---- */

void pms_sorted_lower(struct pms_sorted_block *block, uint32_t common)
{
    uint32_t fewer = block->head.common - common;
    uint64_t front = pms_image_prefix(block->bytes + common, fewer);
    if (fewer == 0)
        return;
    for (uint32_t i = 0; i < block->head.used; i++)
        block->item[i].prefix = front | (fewer < 8 ? block->item[i].prefix >> 8 * fewer : 0);
    block->head.common = common;
}

int pms_sorted_renew(struct pms_pool *pool, struct pms_sorted_block *block)
{
    struct pms_image first, image;
    uint32_t used = block->head.used;
    PMS_TRY(pms_sorted_image(pool, block->item[0].least, &first));
    PMS_TRY(pms_sorted_image(pool, block->item[used - 1].least, &image));
    uint64_t most = first.len < PMS_SORTED_COMMON ? first.len : PMS_SORTED_COMMON;
    uint32_t common = pms_image_shared(first.bytes, most, image.bytes, image.len);
    block->head.common = common;
    memset(block->bytes, 0, sizeof block->bytes);
    memcpy(block->bytes, first.bytes, common);
    for (uint32_t i = 0; i < used; i++) {
        PMS_TRY(pms_sorted_image(pool, block->item[i].least, &image));
        block->item[i].prefix = pms_image_prefix_at(image.bytes, image.len, common);
    }
    return PMS_OK;
}

int pms_sorted_sharpen(struct pms_pool *pool, struct pms_sorted_block *block, int *renewed)
{
    struct pms_image first, last;
    uint32_t used = block->head.used, i = 1;
    while (i < used && block->item[i - 1].prefix != block->item[i].prefix)
        i++;
    if (i >= used || block->head.common == PMS_SORTED_COMMON)
        return PMS_OK;
    PMS_TRY(pms_sorted_image(pool, block->item[0].least, &first));
    PMS_TRY(pms_sorted_image(pool, block->item[used - 1].least, &last));
    if (pms_image_shared(first.bytes, first.len, last.bytes, last.len) <= block->head.common)
        return PMS_OK;
    *renewed = 1;
    return pms_sorted_renew(pool, block);
}

void pms_sorted_place(struct pms_sorted_block *block, uint32_t at,
                      const struct pms_branch *item, const uint8_t *image, uint64_t len,
                      int *lowered)
{
    struct pms_branch *to = block->item + at;
    uint32_t common = pms_image_shared(image, len, block->bytes, block->head.common);
    if (common < block->head.common)
        *lowered = 1;
    pms_sorted_lower(block, common);
    memmove(to + 1, to, (block->head.used - at) * sizeof *to);
    *to = *item;
    to->prefix = pms_image_prefix_at(image, len, common);
    block->head.used++;
}

int pms_sorted_agree(struct pms_pool *pool, uint32_t level, uint64_t off, const uint8_t *image,
                     uint64_t len, uint32_t *common)
{
    struct pms_sorted_block block;
    uint8_t bytes[PMS_SORTED_COMMON];
    PMS_TRY((level ? pms_sorted_node : pms_sorted_leaf)(pool, off, &block.head));
    read_common(pool, off, bytes);
    *common = pms_image_shared(image, len, bytes, block.head.common);
    if (PMS_LIKELY(*common == block.head.common))
        return PMS_OK;
    PMS_TRY(pms_sorted_read(pool, level, off, &block));
    pms_sorted_lower(&block, *common);
    pms_sorted_write(pool, &block, 0);
    return PMS_OK;
}
