/* hostile_record.c -- records and schemas of pools that may be anything.  hostile.h tells. */
#include "hostile.h"
#include "record.h"

int hostile_see_record(struct pms_pool *pool, uint64_t record, hostile_see_fn see,
                       void *context)
{
    struct pms_shape *shape = NULL;
    struct pms_val value = {.tag = PMS_TAG_SCHEMA, .num = pms_record_schema(pool, record)};
    PMS_TRY(pms_shape_read(pool, value.num, &shape));
    int status = PMS_OK;
    see(context, &value);
    for (uint32_t i = 0; i < shape->count && status == PMS_OK; i++) {
        status = pms_record_get(pool, record, shape, i, &value);
        if (status == PMS_OK)
            see(context, &value);
    }
    free(shape);
    return status;
}

int hostile_see_schema(struct pms_pool *pool, uint64_t schema, hostile_see_fn see,
                       void *context)
{
    struct pms_val text, number = {.tag = PMS_TAG_INT};
    uint64_t bytes;
    PMS_TRY(pms_schema_head(pool, schema, &number.num, &bytes));
    see(context, &number);
    PMS_TRY(pms_cell_read(pool, PMS_SCHEMA_TEXT(schema), &text));
    see(context, &text);
    return PMS_OK;
}

static uint64_t draw(uint64_t *seed, uint64_t below) { return fixture_random(seed) % below; }

/* A value that fits the field; texts and arrays are zeroes. */
static struct pms_val fitting(const struct pms_field_pm *f, const struct pms_val *any,
                              uint64_t *seed)
{
    static const char zeroes[PMS_RECORD_BYTES_MAX];
    struct pms_val value = {.tag = PMS_TAG_INT, .num = draw(seed, 128)};
    if (f->kind == PMS_FIELD_CELL)
        return *any;
    if (f->bit && draw(seed, 3) == 0)
        return (struct pms_val){.tag = PMS_TAG_NONE};
    if (f->count || f->kind >= PMS_FIELD_STR) {
        value.tag = f->kind == PMS_FIELD_STR ? PMS_TAG_STR : PMS_TAG_BYTES;
        value.data = zeroes;
        value.len = f->count ? (uint64_t)f->count * f->size : draw(seed, f->size - 1);
    } else if (f->kind == PMS_FIELD_BOOL) {
        value.tag = draw(seed, 2) ? PMS_TAG_TRUE : PMS_TAG_FALSE;
    } else if (f->kind >= PMS_FIELD_FLOAT32) {
        value.tag = PMS_TAG_FLOAT;
        value.num = 0x3fd0000000000000ull; /* 0.25 */
    }
    return value;
}

static int change(struct pms_pool *pool, uint64_t record, const struct pms_shape *shape,
                  const struct pms_val *any, uint64_t *seed)
{
    static int32_t same[PMS_RECORD_FIELDS_MAX];
    if (shape->count == 0)
        return PMS_OK;
    uint32_t i = (uint32_t)draw(seed, shape->count);
    struct pms_val value = fitting(&shape->field[i], any, seed);
    if (draw(seed, 4))
        return pms_record_set(pool, record, shape, i, &value);
    for (uint32_t k = 0; k < shape->count; k++)
        same[k] = (int32_t)k;
    return pms_record_reshape(pool, record, shape, pms_record_schema(pool, record), shape, same,
                              NULL);
}

int hostile_change_record(struct pms_pool *pool, uint64_t record, const struct pms_val *any,
                          uint64_t *seed)
{
    struct pms_shape *shape = NULL;
    PMS_TRY(pms_shape_read(pool, pms_record_schema(pool, record), &shape));
    int status = change(pool, record, shape, any, seed);
    free(shape);
    return status;
}
