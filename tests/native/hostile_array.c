/* hostile_array.c -- arrays that may be anything: read and changed.  hostile.h tells. */
#include "hostile.h"

#include "_native/array.h"
#include "_native/hash.h"

#define READ_MAX (1u << 20) /* bytes of an array that are looked at */

int hostile_see_array(struct pms_pool *pool, uint64_t array, uint64_t *state, uint64_t *shape)
{
    static uint8_t bytes[READ_MAX];
    struct pms_array a;
    struct pms_val type;
    PMS_TRY(pms_array_load(pool, array, &a));
    uint64_t n = a.bytes < READ_MAX ? a.bytes : READ_MAX;
    PMS_TRY(pms_array_read(pool, array, 0, n, bytes));
    *state = pms_hash(bytes, n, *state);
    if (n < a.bytes) /* its last byte is readable too */
        PMS_TRY(pms_array_read(pool, array, a.bytes - 1, 1, bytes));
    *state = pms_hash(a.shape, 8 * (size_t)a.ndim, *state + a.item);
    PMS_TRY(pms_array_type(pool, array, &type));
    *state = pms_hash(type.data, type.len, *state);
    uint64_t place[3] = {a.block, a.capacity, a.count};
    *shape = pms_hash(place, sizeof place, *shape);
    return PMS_OK;
}

static uint64_t draw(uint64_t *seed, uint64_t below)
{
    return below ? fixture_random(seed) % below : 0;
}

static int append(struct pms_pool *pool, const struct pms_array *a, uint64_t *seed)
{
    static uint8_t row[4096];
    memset(row, (int)draw(seed, 256), sizeof row);
    if (a->row == 0 || a->row > sizeof row)
        return PMS_OK;
    return pms_array_append(pool, a->off, row, a->row * (1 + draw(seed, sizeof row / a->row)));
}

static int resize(struct pms_pool *pool, const struct pms_array *a, uint64_t *seed)
{
    struct pms_array_shape to = {.item = a->item, .ndim = 1 + (uint32_t)draw(seed, 3)};
    for (uint32_t i = 0; i < to.ndim; i++)
        to.shape[i] = draw(seed, 12);
    uint64_t room = pool->super.size / 8; /* whatever the item is: INVAL is for larger ones */
    if (a->item > room / (12 * 12 * 12))
        return PMS_OK;
    return pms_array_resize(pool, a->off, &to);
}

int hostile_change_array(struct pms_pool *pool, uint64_t array, uint64_t *seed)
{
    uint8_t some[300];
    struct pms_array a;
    PMS_TRY(pms_array_load(pool, array, &a));
    uint64_t at = draw(seed, a.bytes), len = a.bytes - at;
    switch (draw(seed, 4)) {
    case 0:
        return append(pool, &a, seed);
    case 1:
        return resize(pool, &a, seed);
    case 2:
        return pms_array_reserve(pool, array, draw(seed, 3 * a.bytes + 10));
    default:
        memset(some, (int)draw(seed, 256), sizeof some);
        return pms_array_write(pool, array, at, some, len < sizeof some ? len : sizeof some);
    }
}
