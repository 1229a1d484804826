/* sorted_tree.h -- inside the sorted dict: the tree as sorted.c and sorted_edit.c see it.
 *
 * An item of a block is a branch, whatever its level: what is below it, how many entries these
 * are, and the least of them.  A leaf keeps two words of it, because the other two say nothing
 * new there: off == least, count == 1.
 *
 *   level height    [ kid kid kid ]          path.off[l]   the block on level l
 *   ...                  |                   path.at[l]    which of its items
 *   level 0         [ ref ref ref ]          path.used[l]  how many it has
 */
#ifndef PMS_SORTED_TREE_H
#define PMS_SORTED_TREE_H

#include "sorted.h"

#define PMS_SORTED_ROOM_MIN 3u /* of the first root leaf */

struct pms_branch {
    uint64_t off;
    uint64_t count;
    uint64_t least;
    uint64_t prefix;
};
static_assert(sizeof(struct pms_branch) == sizeof(struct pms_sorted_kid_pm),
              "as on the medium");

struct pms_sorted { /* the header, checked */
    uint64_t off;
    uint64_t count;
    uint64_t root;
    uint32_t height;
    uint32_t order;
};

struct pms_sorted_path {
    uint64_t off[PMS_SORTED_HEIGHT_MAX + 1];
    uint32_t used[PMS_SORTED_HEIGHT_MAX + 1];
    uint32_t at[PMS_SORTED_HEIGHT_MAX + 1];
    uint32_t room; /* of the leaf */
};

/* Where the parts of an entry are. */
struct pms_sorted_parts {
    uint32_t tag;              /* of the key */
    uint32_t far;              /* its bytes have a block of their own */
    uint64_t key, key_len;     /* its bytes, or the number */
    uint64_t image, image_len; /* if it has one; else 0 */
    uint64_t inner;            /* the value's bytes, if they are inner */
};

/* By level: bytes of an item, items of a full block, the least off the right edge, and how many
 * two neighbours may have together to become one. */
static inline uint32_t pms_sorted_width(uint32_t level) { return level ? 32 : 16; }
static inline uint32_t pms_sorted_room(uint32_t level)
{
    return level ? PMS_SORTED_KIDS : PMS_SORTED_REFS;
}
static inline uint32_t pms_sorted_fill(uint32_t level) { return level ? 10 : 21; }
static inline uint32_t pms_sorted_join(uint32_t level) { return level ? 26 : 52; }

static inline uint64_t pms_sorted_ref(uint64_t leaf, uint32_t at)
{
    return leaf + 16 + 16 * (uint64_t)at;
}
static inline uint64_t pms_sorted_kid(uint64_t node, uint32_t at)
{
    return node + 32 + 32 * (uint64_t)at;
}
static inline uint64_t pms_sorted_item(uint32_t level, uint64_t block, uint32_t at)
{
    return level ? pms_sorted_kid(block, at) : pms_sorted_ref(block, at);
}

#define PMS_SORTED_AT(sorted, field) ((sorted) + offsetof(struct pms_sorted_pm, field))
#define PMS_KID_COUNT 8
#define PMS_KID_LEAST 16
#define PMS_KID_PREFIX 24
#define PMS_SORTED_VALUE(entry) ((entry) + offsetof(struct pms_sorted_entry_pm, value))

/* Read and check the header. */
int pms_sorted_load(const struct pms_pool *pool, uint64_t off, struct pms_sorted *out);
/* Items in use of the node or of the leaf at off, and a leaf's room: checked. */
int pms_sorted_node(const struct pms_pool *pool, uint64_t off, uint32_t *used);
int pms_sorted_leaf(const struct pms_pool *pool, uint64_t off, uint32_t *used, uint32_t *room);
/* The way to entry `index` < count, every block on it checked. */
int pms_sorted_seek(const struct pms_pool *pool, const struct pms_sorted *sorted,
                    uint64_t index, struct pms_sorted_path *path);
/* The way to the first key that is not less, which may be one behind the last of its leaf; the
 * container is not empty.  *found: it is equal. */
int pms_sorted_find(struct pms_pool *pool, const struct pms_sorted *sorted,
                    const struct pms_order_key *key, struct pms_sorted_path *path, int *found);
/* Number of entries before the path's place. */
uint64_t pms_sorted_rank(const struct pms_pool *pool, const struct pms_sorted *sorted,
                         const struct pms_sorted_path *path);
/* PMS_MIXED if a key that is not there has no order among its neighbours. */
int pms_sorted_fits(struct pms_pool *pool, const struct pms_sorted *sorted,
                    const struct pms_order_key *key, const struct pms_sorted_path *path);

int pms_sorted_parts(struct pms_pool *pool, uint64_t entry, struct pms_sorted_parts *out);
/* The image of an entry's key: in the mapping, or in room (PMS_IMAGE_NUMBER_MAX bytes). */
int pms_sorted_image(struct pms_pool *pool, uint64_t entry, uint8_t *room,
                     const uint8_t **image, uint64_t *len);

#endif
