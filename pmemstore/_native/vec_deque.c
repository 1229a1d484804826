/* vec_deque.c -- the persistent deque: what adds and turns.  See vec_deque.h.
 *
 * Invariant V6 of vec.c: bound == 0 or count < bound.  It is looked at before it is relied on,
 * so an operation drops one item at most, whatever a damaged bound says.
 */
#include "vec_deque.h"
#include "vec_tree.h"

uint64_t pms_deque_bound(const struct pms_pool *pool, uint64_t deque)
{
    return pms_get(pool, PMS_LIST_BOUND(deque));
}

/* Count and bound, checked. */
static int load(const struct pms_pool *pool, uint64_t deque, uint64_t *count, uint64_t *bound)
{
    struct pms_vec vec;
    PMS_TRY(pms_vec_load(pool, deque, &vec));
    *count = vec.count;
    *bound = pms_deque_bound(pool, deque);
    if (*bound && *count >= *bound)
        return PMS_FAIL(PMS_E_CORRUPT, "number of items of a bounded deque", deque, *bound - 1,
                        *count);
    return PMS_OK;
}

int pms_deque_set_bound(struct pms_pool *pool, uint64_t deque, uint64_t bound)
{
    uint64_t count = pms_list_len(pool, deque);
    if (count)
        return PMS_FAIL(PMS_E_INVAL, "bound of a deque that is not empty", deque, 0, count);
    pms_put(pool, PMS_LIST_BOUND(deque), bound);
    return PMS_OK;
}

int pms_deque_push(struct pms_pool *pool, uint64_t deque, enum pms_deque_end end,
                   const struct pms_val *value)
{
    uint64_t count, bound;
    PMS_TRY(load(pool, deque, &count, &bound));
    if (bound == 1)
        return PMS_OK; /* it holds nothing */
    PMS_TRY(pms_list_insert(pool, deque, end == PMS_DEQUE_LEFT ? 0 : count, value));
    if (!bound || count + 1 < bound)
        return PMS_OK;
    return pms_list_del(pool, deque, end == PMS_DEQUE_LEFT ? count : 0);
}

int pms_deque_insert(struct pms_pool *pool, uint64_t deque, uint64_t index,
                     const struct pms_val *value)
{
    uint64_t count, bound;
    PMS_TRY(load(pool, deque, &count, &bound));
    if (bound && count + 1 >= bound)
        return PMS_MISSING;
    return pms_list_insert(pool, deque, index, value);
}

int pms_deque_rotate(struct pms_pool *pool, uint64_t deque, uint64_t steps)
{
    uint64_t count, bound;
    PMS_TRY(load(pool, deque, &count, &bound));
    if (count < 2)
        return PMS_OK;
    steps %= count;
    uint64_t from = count - 1, to = 0;
    if (steps > count / 2) { /* the shorter way round */
        steps = count - steps;
        from = 0;
        to = count - 1;
    }
    while (steps--)
        PMS_TRY(pms_list_move(pool, deque, from, to));
    return PMS_OK;
}
