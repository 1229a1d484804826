/* vec_tree.h -- inside the persistent list: the tree as vec.c and vec_edit.c see it.
 *
 * Leaves and nodes have one shape: a head word, a zero word, then items of 16 bytes (cells, or
 * kids {offset, cells below}); the low 16 bits of the head are the number of items in use.
 * So one set of functions inserts, removes, splits and joins on every level.
 *
 *   level height    [ kid kid kid ]          path.off[l]   the block on level l
 *   ...                  |                   path.at[l]    which of its items
 *   level 0         [ cell cell cell ]       path.used[l]  how many it has
 */
#ifndef PMS_VEC_TREE_H
#define PMS_VEC_TREE_H

#include "vec.h"

struct pms_vec { /* the header, checked */
    uint64_t list;
    uint64_t count;
    uint64_t root;
    uint32_t height;
};

struct pms_vec_path {
    uint64_t off[PMS_LIST_HEIGHT_MAX + 1];
    uint32_t used[PMS_LIST_HEIGHT_MAX + 1];
    uint32_t at[PMS_LIST_HEIGHT_MAX + 1];
    uint32_t room; /* of the leaf */
};

/* Read and check the header. */
int pms_vec_load(const struct pms_pool *pool, uint64_t list, struct pms_vec *vec);
/* The way to cell `index` < count, every block on it checked. */
int pms_vec_seek(const struct pms_pool *pool, const struct pms_vec *vec, uint64_t index,
                 struct pms_vec_path *path);
/* The same to the last cell of a list that has one. */
int pms_vec_seek_last(const struct pms_pool *pool, const struct pms_vec *vec,
                      struct pms_vec_path *path);
/* Items in use of the node at off, 1 <= used <= PMS_NODE_KIDS. */
int pms_vec_node(const struct pms_pool *pool, uint64_t off, uint32_t *used);

static inline uint64_t pms_vec_item(uint64_t block, uint32_t at)
{
    return block + 16 + 16 * (uint64_t)at;
}

#define PMS_LIST_COUNT(list) ((list) + offsetof(struct pms_list_pm, count))
#define PMS_LIST_ROOT(list) ((list) + offsetof(struct pms_list_pm, root))
#define PMS_LIST_HEIGHT(list) ((list) + offsetof(struct pms_list_pm, height))
#define PMS_LIST_BOUND(list) ((list) + offsetof(struct pms_list_pm, bound))

#endif
