/* array.c -- the persistent array.  array.h is the manual.
 *
 *   A1  count == product of the shape; dimensions behind ndim are 0
 *   A2  item * (product of the dimensions that are not 0) <= size of the pool: so no number that is
 *       computed from a header overflows, and nobody makes much of an empty array either
 *   A3  block == 0 <=> capacity == 0; else the capacity is all of the block behind its first line,
 *       a multiple of 8
 *   A4  count * item <= capacity; bytes behind the elements are undefined
 *   A5  type is a STR that is not empty and no longer than PMS_ARRAY_TYPE_MAX
 *
 * Each operation checks A1 to A4 before it uses a number of the header (pms_array_load); that the
 * block is one is checked when it is freed.
 */
#include "array.h"

#include <string.h>

#define AT(off, field) ((off) + offsetof(struct pms_array_pm, field))
#define CHUNK 65536u /* bytes that are looked at together */
#define EMPTY_TYPE "|u1"
#define EMPTY_TYPE_LEN 3u
#define EMPTY_TYPE_HEAD PMS_CELL_WORD0(PMS_TAG_STR, PMS_CELL_SHORT, EMPTY_TYPE_LEN)
#define DOUBLE_MAX (1ull << 20) /* capacity up to which it doubles */

static_assert(offsetof(struct pms_array_pm, ndim) == offsetof(struct pms_array_pm, item) + 4,
              "one word");

/* ---- the header ---- */

/* Product of the shape (*count), of what is not 0 (*solid), and of what is behind the first axis
 * (*inner).  No more than `most`, or 0. */
static int multiply(const uint64_t *shape, uint32_t ndim, uint64_t most, uint64_t *count,
                    uint64_t *inner)
{
    uint64_t solid = 1;
    *count = *inner = ndim ? 1 : 0;
    for (uint32_t i = 0; i < ndim; i++) {
        if (shape[i] && shape[i] > most / solid)
            return 0;
        solid *= shape[i] ? shape[i] : 1;
        *count *= shape[i];
        if (i)
            *inner *= shape[i];
    }
    if (!ndim)
        *count = 1;
    return solid <= most;
}

int pms_array_load(const struct pms_pool *pool, uint64_t off, struct pms_array *out)
{
    if (!pms_off_ok(&pool->heap, off, sizeof(struct pms_array_pm)))
        return PMS_FAIL(PMS_E_CORRUPT, "offset of an array", off, 0, 0);
    uint64_t magic = pms_get(pool, off);
    if (magic != (PMS_OBJECT_MAGIC | PMS_TAG_ARRAY))
        return PMS_FAIL(PMS_E_CORRUPT, "magic of an array", off,
                        PMS_OBJECT_MAGIC | PMS_TAG_ARRAY, magic);
    uint64_t word = pms_get(pool, AT(off, item)), inner;
    out->off = off;
    out->item = (uint32_t)word;
    out->ndim = (uint32_t)(word >> 32);
    if (out->item == 0 || out->ndim > PMS_ARRAY_DIMS)
        return PMS_FAIL(PMS_E_CORRUPT, "item and axes of an array", off, PMS_ARRAY_DIMS, word);
    for (uint32_t i = 0; i < out->ndim; i++)
        out->shape[i] = pms_get(pool, AT(off, shape) + 8 * (uint64_t)i);
    uint64_t most = pool->super.size / out->item, count = pms_get(pool, AT(off, count));
    if (!multiply(out->shape, out->ndim, most, &out->count, &inner) || out->count != count)
        return PMS_FAIL(PMS_E_CORRUPT, "shape of an array", off, most, count);
    out->row = inner * out->item;
    out->bytes = out->count * out->item;
    out->block = pms_get(pool, AT(off, block));
    out->capacity = pms_get(pool, AT(off, capacity));
    out->start = 0;
    if (out->block) {
        if ((out->block & 15u) || !pms_off_ok(&pool->heap, out->block, PMS_LINE))
            return PMS_FAIL(PMS_E_CORRUPT, "place of an array", off, 0, out->block);
        out->start = pms_array_start(out->block);
    }
    if (out->block ? (out->capacity & 7u) || !out->capacity ||
                         !pms_off_ok(&pool->heap, out->start, out->capacity)
                   : out->capacity != 0)
        return PMS_FAIL(PMS_E_CORRUPT, "capacity of an array", off, out->block, out->capacity);
    if (out->bytes > out->capacity)
        return PMS_FAIL(PMS_E_CORRUPT, "elements of an array", off, out->capacity, out->bytes);
    return PMS_OK;
}

int pms_array_type(struct pms_pool *pool, uint64_t off, struct pms_val *out)
{
    PMS_TRY(pms_cell_read(pool, AT(off, type), out));
    if (out->tag != PMS_TAG_STR || out->len == 0 || out->len > PMS_ARRAY_TYPE_MAX)
        return PMS_FAIL(PMS_E_CORRUPT, "type of an array", off, out->tag, out->len);
    return PMS_OK;
}

int pms_array_create(struct pms_pool *pool, uint32_t tag, uint64_t *off)
{
    struct pms_array_pm empty = {
        .obj = {.magic_kind = PMS_OBJECT_MAGIC | tag},
        .item = 1,
        .ndim = 1,
        .type = {.head = PMS_TAG_STR | PMS_CELL_SHORT << 8, .len = EMPTY_TYPE_LEN}};
    memcpy(&empty.type.word, EMPTY_TYPE, EMPTY_TYPE_LEN);
    PMS_TRY(pms_alloc(&pool->heap, sizeof empty, off));
    pms_init_bytes(&pool->ws, *off, &empty, sizeof empty);
    return PMS_OK;
}

/* ---- blocks ---- */

/* A block for so many bytes of elements.  Whole pages begin at a line anyway. */
static int new_block(struct pms_pool *pool, uint64_t bytes, uint64_t *block, uint64_t *capacity)
{
    if (bytes > PMS_POOL_MAX)
        return PMS_FAIL(PMS_E_FULL, "allocate an array", 0, bytes, PMS_POOL_MAX);
    uint64_t ask = bytes > PMS_SMALL_MAX ? bytes : bytes + PMS_LINE - 16;
    PMS_TRY(pms_alloc(&pool->heap, ask, block));
    *capacity = pms_heap_capacity(ask) - (pms_array_start(*block) - *block);
    return PMS_OK;
}

static void put_block(struct pms_pool *pool, struct pms_array *a, uint64_t block,
                      uint64_t capacity)
{
    a->block = block;
    a->capacity = capacity;
    a->start = block ? pms_array_start(block) : 0;
    pms_put(pool, AT(a->off, block), block);
    pms_put(pool, AT(a->off, capacity), capacity);
}

/* To another block, for `want` bytes, or for `need` if there is no space for more.  The first
 * `keep` bytes are copied, those behind are undefined. */
static int move(struct pms_pool *pool, struct pms_array *a, uint64_t need, uint64_t want,
                uint64_t keep)
{
    uint64_t block, capacity, old = a->block;
    int status = new_block(pool, want, &block, &capacity);
    if (status == PMS_E_FULL && want > need)
        status = new_block(pool, need, &block, &capacity);
    PMS_TRY(status);
    uint64_t start = pms_array_start(block);
    for (uint64_t at = 0; at < keep; at += CHUNK) {
        uint64_t n = keep - at < CHUNK ? keep - at : CHUNK;
        const void *bytes = pms_view(pool, a->start + at, n);
        if (!bytes)
            return PMS_FAIL_NOMEM("move an array", n);
        pms_init_bytes(&pool->ws, start + at, bytes, n);
    }
    if (old)
        PMS_TRY(pms_free(&pool->heap, old));
    put_block(pool, a, block, capacity);
    return PMS_OK;
}

/* ---- elements through the write set ---- */

/* The word at off with n bytes from src at byte `at` of it; only if that changes it. */
static void merge(struct pms_pool *pool, uint64_t off, uint64_t at, const uint8_t *src,
                  size_t n)
{
    uint64_t now = pms_get(pool, off), word = now;
    memcpy((uint8_t *)&word + at, src, n);
    if (word != now)
        pms_put(pool, off, word);
}

static void store(struct pms_pool *pool, uint64_t off, const uint8_t *src, uint64_t len)
{
    uint64_t at = off & 7u, n = len < 8 - at ? len : 8 - at;
    if (at) {
        merge(pool, off - at, at, src, (size_t)n);
        off += n;
        src += n;
        len -= n;
    }
    for (; len >= 8; len -= 8, off += 8, src += 8)
        merge(pool, off, 0, src, 8);
    if (len)
        merge(pool, off, 0, src, (size_t)len);
}

static void store_zeroes(struct pms_pool *pool, uint64_t off, uint64_t len)
{
    static const uint8_t zeroes[1024];
    while (len) {
        uint64_t n = len < sizeof zeroes ? len : sizeof zeroes;
        store(pool, off, zeroes, n);
        off += n;
        len -= n;
    }
}

static int written(const struct pms_pool *pool)
{
    return pool->ws.failed ? PMS_FAIL_NOMEM("remember what changes", 0) : PMS_OK;
}

int pms_array_read(struct pms_pool *pool, uint64_t off, uint64_t at, uint64_t len, void *out)
{
    struct pms_array a;
    PMS_TRY(pms_array_load(pool, off, &a));
    if (at > a.bytes || len > a.bytes - at)
        return PMS_MISSING;
    uint8_t *to = out;
    uint64_t skip = at & 7u;
    for (at -= skip; len; skip = 0) {
        uint64_t n = len + skip < CHUNK ? len : CHUNK - skip;
        const uint8_t *bytes = pms_view(pool, a.start + at, skip + n);
        if (!bytes)
            return PMS_FAIL_NOMEM("read an array", skip + n);
        memcpy(to, bytes + skip, n);
        to += n;
        at += skip + n;
        len -= n;
    }
    return PMS_OK;
}

int pms_array_write(struct pms_pool *pool, uint64_t off, uint64_t at, const void *src,
                    uint64_t len)
{
    struct pms_array a;
    PMS_TRY(pms_array_load(pool, off, &a));
    if (at > a.bytes || len > a.bytes - at)
        return PMS_MISSING;
    if (len)
        store(pool, a.start + at, src, len);
    return written(pool);
}

int pms_array_append(struct pms_pool *pool, uint64_t off, const void *src, uint64_t len)
{
    struct pms_array a;
    PMS_TRY(pms_array_load(pool, off, &a));
    if (a.row == 0 || len % a.row)
        return PMS_FAIL(PMS_E_INVAL, "append a part of an item", off, a.row, len);
    if (len > a.capacity - a.bytes) {
        if (len > PMS_POOL_MAX)
            return PMS_FAIL(PMS_E_FULL, "append to an array", off, len, PMS_POOL_MAX);
        uint64_t need = a.bytes + len;
        uint64_t want = a.capacity + (a.capacity < DOUBLE_MAX ? a.capacity : a.capacity / 2);
        PMS_TRY(move(pool, &a, need, want > need ? want : need, a.bytes));
        pms_init_bytes(&pool->ws, a.start + a.bytes, src, len);
    } else if (len) {
        store(pool, a.start + a.bytes, src, len);
    }
    pms_put(pool, AT(off, count), a.count + len / a.item);
    pms_put(pool, AT(off, shape), a.shape[0] + len / a.row);
    pms_object_changed(pool, off);
    return written(pool);
}

int pms_array_reserve(struct pms_pool *pool, uint64_t off, uint64_t bytes)
{
    struct pms_array a;
    PMS_TRY(pms_array_load(pool, off, &a));
    return bytes > a.capacity ? move(pool, &a, bytes, bytes, a.bytes) : PMS_OK;
}

/* ---- shapes ---- */

static int bad_shape(uint64_t off, uint64_t most, uint64_t count)
{
    return PMS_FAIL(PMS_E_INVAL, "shape of an array", off, most, count);
}

/* Number of elements of a shape that is asked for.  PMS_E_INVAL if no pool can have it. */
static int count_of(uint64_t off, const struct pms_array_shape *shape, uint64_t *count)
{
    uint64_t most = shape->item ? PMS_POOL_MAX / shape->item : 0, inner;
    if (most == 0 || shape->ndim > PMS_ARRAY_DIMS ||
        !multiply(shape->shape, shape->ndim, most, count, &inner))
        return bad_shape(off, most, shape->ndim);
    return PMS_OK;
}

/* A2, with the pool as large as it is now. */
static int put_shape(struct pms_pool *pool, uint64_t off, const struct pms_array_shape *shape,
                     uint64_t count)
{
    uint64_t most = pool->super.size / shape->item, inner;
    if (!multiply(shape->shape, shape->ndim, most, &count, &inner))
        return bad_shape(off, most, count);
    for (uint32_t i = 0; i < PMS_ARRAY_DIMS; i++)
        pms_put(pool, AT(off, shape) + 8 * (uint64_t)i, i < shape->ndim ? shape->shape[i] : 0);
    pms_put(pool, AT(off, item), shape->item | (uint64_t)shape->ndim << 32);
    pms_put(pool, AT(off, count), count);
    pms_object_changed(pool, off);
    return written(pool);
}

int pms_array_setup(struct pms_pool *pool, uint64_t off, const struct pms_val *type,
                    const struct pms_array_shape *shape, const void *data)
{
    struct pms_array a;
    uint64_t cell[2], count = 0;
    PMS_TRY(pms_array_load(pool, off, &a));
    if (a.block || a.count || type->tag != PMS_TAG_STR || type->len == 0 ||
        type->len > PMS_ARRAY_TYPE_MAX)
        return PMS_FAIL(PMS_E_INVAL, "set up an array", off, a.count, type->len);
    PMS_TRY(count_of(off, shape, &count));
    PMS_TRY(pms_cell_make(pool, type, cell));
    PMS_TRY(pms_cell_drop(pool, AT(off, type)));
    pms_put(pool, AT(off, type), cell[0]);
    pms_put(pool, AT(off, type) + 8, cell[1]);
    uint64_t bytes = count * shape->item;
    if (bytes) {
        PMS_TRY(move(pool, &a, bytes, bytes, 0));
        if (data)
            pms_init_bytes(&pool->ws, a.start, data, bytes);
        else
            pms_init_zero(&pool->ws, a.start, bytes);
    }
    return put_shape(pool, off, shape, count);
}

int pms_array_resize(struct pms_pool *pool, uint64_t off, const struct pms_array_shape *shape)
{
    struct pms_array a;
    uint64_t count = 0;
    PMS_TRY(pms_array_load(pool, off, &a));
    if (shape->item != a.item)
        return PMS_FAIL(PMS_E_INVAL, "item of an array", off, a.item, shape->item);
    PMS_TRY(count_of(off, shape, &count));
    uint64_t bytes = count * a.item, keep = bytes < a.bytes ? bytes : a.bytes;
    if (bytes == 0 && a.block) {
        PMS_TRY(pms_free(&pool->heap, a.block));
        put_block(pool, &a, 0, 0);
    } else {
        int larger = bytes > a.capacity, status = PMS_E_FULL;
        if (larger || bytes < a.capacity / 4)
            status = move(pool, &a, bytes, bytes, keep);
        if (status == PMS_OK)
            pms_init_zero(&pool->ws, a.start + keep, bytes - keep);
        else if (status == PMS_E_FULL && !larger) /* it stays: no space is needed to shrink */
            store_zeroes(pool, a.start + keep, bytes - keep);
        else
            return status;
    }
    return put_shape(pool, off, shape, count);
}

int pms_array_pending(struct pms_pool *pool, const struct pms_array *array)
{
    struct pms_wset *ws = &pool->ws;
    return pms_wset_touches(ws, array->off, sizeof(struct pms_array_pm)) ||
           pms_fresh_find(ws, array->off) != NULL ||
           (array->block && (pms_wset_touches(ws, array->start, array->bytes) ||
                             pms_fresh_find(ws, array->block) != NULL));
}

/* Leaves an empty array, for those that somebody still refers to (collect.c). */
int pms_array_teardown(struct pms_pool *pool, uint64_t off, uint32_t *budget)
{
    struct pms_array a;
    uint64_t bytes = 0;
    PMS_TRY(pms_array_load(pool, off, &a));
    if (a.block) {
        PMS_TRY(pms_free(&pool->heap, a.block));
        put_block(pool, &a, 0, 0);
    }
    PMS_TRY(pms_cell_drop(pool, AT(off, type)));
    memcpy(&bytes, EMPTY_TYPE, EMPTY_TYPE_LEN);
    pms_put(pool, AT(off, type), EMPTY_TYPE_HEAD);
    pms_put(pool, AT(off, type) + 8, bytes);
    pms_put(pool, AT(off, item), 1 | 1ull << 32);
    for (uint32_t i = 0; i < a.ndim; i++)
        pms_put(pool, AT(off, shape) + 8 * (uint64_t)i, 0);
    pms_put(pool, AT(off, count), 0);
    pms_object_changed(pool, off);
    if (*budget)
        --*budget;
    return pms_object_end(pool, off);
}
