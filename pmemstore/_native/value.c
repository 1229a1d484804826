/* value.c -- values into cells and back.
 *
 *   word 0: tag | flags << 8 | length << 32        word 1: number, bytes or offset
 *                                                  (INNER: the first of the bytes)
 *
 * Invariants:
 *   V1  a cell with bytes is SHORT exactly if they are no more than 8
 *   V2  INNER bytes begin in word 1 and end inside the block of the entry that holds the cell;
 *       who makes such a cell has looked for the room
 *   V3  bytes that are neither SHORT nor INNER are a heap block that this cell alone refers to;
 *       it is written once, when it is allocated, and freed with the cell
 *   V4  a cell with an object counts one reference of it
 *
 * Nothing that is read here is trusted: each offset is checked against the heap's bounds, an
 * object's kind against the tag.
 */
#include "value.h"

#include <string.h>

#define LEN_MAX 0xfffffffeull

static int make_bytes(struct pms_pool *pool, const struct pms_val *value, uint64_t cell[2])
{
    uint64_t off;
    if (value->len > LEN_MAX)
        return PMS_FAIL(PMS_E_INVAL, "value too long", 0, value->len, LEN_MAX);
    if (value->len <= 8) {
        cell[0] = PMS_CELL_WORD0(value->tag, PMS_CELL_SHORT, value->len);
        cell[1] = 0;
        if (value->len)
            memcpy(&cell[1], value->data, value->len);
        return PMS_OK;
    }
    PMS_TRY(pms_alloc(&pool->heap, value->len, &off));
    pms_init_bytes(&pool->ws, off, value->data, value->len);
    cell[0] = PMS_CELL_WORD0(value->tag, 0, value->len);
    cell[1] = off;
    return PMS_OK;
}

int pms_cell_make(struct pms_pool *pool, const struct pms_val *value, uint64_t cell[2])
{
    cell[0] = value->tag;
    cell[1] = 0;
    switch (value->tag) {
    case PMS_TAG_NONE:
    case PMS_TAG_FALSE:
    case PMS_TAG_TRUE:
        return PMS_OK;
    case PMS_TAG_INT:
    case PMS_TAG_FLOAT:
        cell[1] = value->num;
        return PMS_OK;
    case PMS_TAG_STR:
    case PMS_TAG_BYTES:
    case PMS_TAG_BIGINT:
    case PMS_TAG_PACKED:
        return make_bytes(pool, value, cell);
    default:
        if (!pms_tag_is_object(value->tag))
            return PMS_FAIL(PMS_E_INVAL, "value tag", 0, PMS_TAG_LIST, value->tag);
        PMS_TRY(pms_object_check(pool, value->num, value->tag));
        cell[1] = value->num;
        return pms_object_ref(pool, value->num);
    }
}

static int read_bytes(struct pms_pool *pool, uint64_t off, uint64_t word0, struct pms_val *out)
{
    uint32_t flags = PMS_CELL_FLAGS(word0);
    uint64_t at = pms_cell_at(off, flags, pms_get(pool, off + 8));
    out->num = 0;
    out->len = PMS_CELL_LEN(word0);
    out->data = "";
    if (flags & PMS_CELL_SHORT && out->len > 8)
        return PMS_FAIL(PMS_E_CORRUPT, "length of a short value", off, 8, out->len);
    if (!pms_off_ok(&pool->heap, at, out->len))
        return PMS_FAIL(PMS_E_CORRUPT, "place of a value", off, out->len, at);
    if (out->len == 0)
        return PMS_OK;
    out->data = flags & (PMS_CELL_SHORT | PMS_CELL_INNER) ? pms_view(pool, at, out->len)
                                                          : pms_view_block(pool, at);
    return out->data ? PMS_OK : PMS_FAIL(PMS_E_NOMEM, "reading a value", at, out->len, 0);
}

int pms_cell_read_other(struct pms_pool *pool, uint64_t off, struct pms_val *out)
{
    uint64_t word0 = pms_get(pool, off);
    out->tag = PMS_CELL_TAG(word0);
    out->zero = 0;
    switch (out->tag) {
    case PMS_TAG_INT:
    case PMS_TAG_FLOAT:
    case PMS_TAG_NONE:
    case PMS_TAG_FALSE:
    case PMS_TAG_TRUE:
        break;
    case PMS_TAG_STR:
    case PMS_TAG_BYTES:
    case PMS_TAG_BIGINT:
    case PMS_TAG_PACKED:
        return read_bytes(pool, off, word0, out);
    default:
        if (!pms_tag_is_object(out->tag))
            return PMS_FAIL(PMS_E_CORRUPT, "tag of a value", off, PMS_TAG_LIST, out->tag);
        PMS_TRY(pms_object_check(pool, pms_get(pool, off + 8), out->tag));
        break;
    }
    out->num = pms_get(pool, off + 8);
    out->data = NULL;
    out->len = 0;
    return PMS_OK;
}

int pms_cell_drop(struct pms_pool *pool, uint64_t off)
{
    uint64_t word0 = pms_get(pool, off);
    uint32_t tag = PMS_CELL_TAG(word0);
    if (pms_tag_is_bytes(tag)) {
        if (PMS_CELL_FLAGS(word0) & (PMS_CELL_SHORT | PMS_CELL_INNER))
            return PMS_OK;
        return pms_free(&pool->heap, pms_get(pool, off + 8));
    }
    if (pms_tag_is_object(tag)) {
        uint64_t object = pms_get(pool, off + 8);
        PMS_TRY(pms_object_check(pool, object, tag));
        return pms_object_unref(pool, object);
    }
    if (tag < PMS_TAG_NONE || tag > PMS_TAG_FLOAT)
        return PMS_FAIL(PMS_E_CORRUPT, "tag of a value", off, PMS_TAG_LIST, tag);
    return PMS_OK;
}
