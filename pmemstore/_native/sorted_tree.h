/* sorted_tree.h -- inside the sorted dict: the tree, for sorted.c and the sorted_*.c beside it.
 *
 * An item of a block is a branch, whatever its level: what is below it, how many entries these
 * are, and the least of them.  A leaf keeps two words of it, because the other two say nothing
 * new there: off == least, count == 1.
 *
 *   level height    [ kid kid kid ]          path.off[l]   the block on level l
 *   ...                  |                   path.at[l]    which of its items
 *   level 0         [ ref ref ref ]          path.used[l]  how many it has
 *
 * The items of a node lie in order.  The references of a leaf lie as they came, and its order
 * says which of them is the first, the second ...: so a new one moves bytes, not references.
 *
 *   leaf   common "key-00"   order 2 0 1   refs {.., "7"} {.., "9"} {.., "3"}
 */
#ifndef PMS_SORTED_TREE_H
#define PMS_SORTED_TREE_H

#include "sorted.h"

#define PMS_SORTED_ROOM_MIN 2u /* of the first root leaf */

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

struct pms_sorted_head { /* of a block, checked */
    uint32_t used;
    uint32_t room;
    uint32_t common; /* bytes that its images begin with */
};

struct pms_sorted_path {
    uint64_t off[PMS_SORTED_HEIGHT_MAX + 1];
    uint32_t used[PMS_SORTED_HEIGHT_MAX + 1];
    uint32_t at[PMS_SORTED_HEIGHT_MAX + 1];
    uint32_t room; /* of the leaf */
};

/* A block in DRAM: its items in order.  There is a place more than a block may have. */
struct pms_sorted_block {
    uint64_t off;
    uint32_t level;
    struct pms_sorted_head head;
    uint8_t bytes[PMS_SORTED_COMMON];
    struct pms_branch item[PMS_SORTED_REFS + 1];
};

/* Where the parts of an entry are. */
struct pms_sorted_parts {
    uint32_t tag;              /* of the key */
    uint32_t far;              /* its bytes have a block of their own */
    uint64_t key, key_len;     /* its bytes, or the number */
    uint64_t image, image_len; /* if it has one; else 0 */
    uint64_t value;            /* the value's cell */
};

struct pms_image {
    const uint8_t *bytes;
    uint64_t len;
    uint8_t room[PMS_IMAGE_NUMBER_MAX]; /* bytes may point here: not to be copied */
};

/* By level: items of a full block, the least off the right edge, and how many two neighbours may
 * have together to become one. */
static inline uint32_t pms_sorted_room(uint32_t level)
{
    return level ? PMS_SORTED_KIDS : PMS_SORTED_REFS;
}
static inline uint32_t pms_sorted_fill(uint32_t level) { return level ? 10 : 19; }
static inline uint32_t pms_sorted_join(uint32_t level) { return level ? 26 : 48; }
/* Of a root leaf that is full: that of the leaf that takes its place. */
static inline uint32_t pms_sorted_wider(uint32_t room) { return 2 * room + 6; }

static inline uint64_t pms_sorted_order(uint64_t leaf, uint32_t at)
{
    return leaf + 32 + (at & ~7u); /* of the word that holds it */
}
static inline uint64_t pms_sorted_ref(uint64_t leaf, uint32_t slot)
{
    return leaf + 96 + 16 * (uint64_t)slot;
}
static inline uint64_t pms_sorted_kid(uint64_t node, uint32_t at)
{
    return node + 32 + 32 * (uint64_t)at;
}

#define PMS_SORTED_AT(sorted, field) ((sorted) + offsetof(struct pms_sorted_pm, field))
#define PMS_SORTED_BYTES(block) ((block) + 8) /* the common ones */
#define PMS_KID_COUNT 8
#define PMS_KID_LEAST 16
#define PMS_KID_PREFIX 24

/* ---- sorted.c ---- */
/* Read and check the header. */
int pms_sorted_load(const struct pms_pool *pool, uint64_t off, struct pms_sorted *out);
/* The head of the node, or of the leaf, at off: checked. */
int pms_sorted_node(const struct pms_pool *pool, uint64_t off, struct pms_sorted_head *out);
int pms_sorted_leaf(const struct pms_pool *pool, uint64_t off, struct pms_sorted_head *out);
/* Which reference of a leaf that has `used` is the one at a place. */
int pms_sorted_slot(const struct pms_pool *pool, uint64_t leaf, uint32_t used, uint32_t at,
                    uint32_t *slot);
/* The entry at the path's place. */
int pms_sorted_here(const struct pms_pool *pool, const struct pms_sorted_path *path,
                    uint64_t *entry);
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
/* The image of an entry's key: in the mapping, or in out->room. */
int pms_sorted_image(struct pms_pool *pool, uint64_t entry, struct pms_image *out);

/* ---- sorted_block.c: blocks as a whole, and what their keys have in common ---- */
int pms_sorted_read(struct pms_pool *pool, uint32_t level, uint64_t off,
                    struct pms_sorted_block *out);
/* Store the head, the common bytes, and the items from `first` on; of a leaf all of them. */
void pms_sorted_write(struct pms_pool *pool, const struct pms_sorted_block *block,
                      uint32_t first);
/* Store it in a new place: off is set. */
int pms_sorted_make(struct pms_pool *pool, struct pms_sorted_block *block);
/* What it is in the node above; prefix is left out. */
struct pms_branch pms_sorted_branch(const struct pms_sorted_block *block);
/* Let the images begin with no more than the first `common` bytes. */
void pms_sorted_lower(struct pms_sorted_block *block, uint32_t common);
/* Common bytes and all prefixes anew, from the entries' images. */
int pms_sorted_renew(struct pms_pool *pool, struct pms_sorted_block *block);
/* The same if there are equal prefixes, and if it helps.  *renewed is set then. */
int pms_sorted_sharpen(struct pms_pool *pool, struct pms_sorted_block *block, int *renewed);
/* Put an item, which has the image, at a place of a block in DRAM that has at most its room of
 * items.  *lowered is set if the others' prefixes have changed. */
void pms_sorted_place(struct pms_sorted_block *block, uint32_t at,
                      const struct pms_branch *item, const uint8_t *image, uint64_t len,
                      int *lowered);
/* An image comes into the stored block: its common bytes become so few that they are the image's
 * too.  *common: how many. */
int pms_sorted_agree(struct pms_pool *pool, uint32_t level, uint64_t off, const uint8_t *image,
                     uint64_t len, uint32_t *common);

#endif
