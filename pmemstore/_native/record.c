/* record.c -- the fields of records.
 *
 * Invariants:
 *   R1  record.bytes == bytes of its schema; the body is right behind the record, or a block
 *       that this record alone refers to
 *   R2  a schema is never changed; a record counts one reference of it
 *   R3  an absent field, and every byte between fields, is zero
 *   R4  nothing reads the room behind a record whose body is elsewhere
 *
 * Native fields share words with their neighbours, so they are changed by read-modify-write of
 * words.  Nothing that is read is trusted: the place of the body is checked each time, and each
 * field of a schema when the schema is read.
 */
#include "record.h"

#include <stdlib.h>

static_assert(offsetof(struct pms_record_pm, bytes) == sizeof(struct pms_object_pm), "count");
static_assert(offsetof(struct pms_schema_pm, fields) == sizeof(struct pms_object_pm), "count");

#define BIT_WORD(body, f) ((body) + (uint64_t)((f)->bit - 1u) / 64 * 8)
#define BIT_MASK(f) (1ull << ((f)->bit - 1u) % 64)

/* ---- bytes inside words ---- */

/* Bytes [at, at+len); any at. */
static const uint8_t *view(struct pms_pool *pool, uint64_t at, uint64_t len)
{
    const uint8_t *words = pms_view(pool, at & ~7ull, PMS_PAD8(len + (at & 7)));
    return words ? words + (at & 7) : NULL;
}

/* Change bytes; src NULL: to zero. */
static void put_bytes(struct pms_pool *pool, uint64_t at, const uint8_t *src, uint64_t len)
{
    while (len) {
        uint64_t in = at & 7, n = 8 - in < len ? 8 - in : len, word = 0;
        if (n < 8)
            word = pms_get(pool, at & ~7ull);
        if (src)
            memcpy((uint8_t *)&word + in, src, n);
        else
            memset((uint8_t *)&word + in, 0, n);
        pms_put(pool, at & ~7ull, word);
        at += n;
        len -= n;
        src = src ? src + n : NULL;
    }
}

/* ---- schemas ---- */

uint32_t pms_field_align(uint32_t kind, uint32_t *size)
{
    static const uint8_t bytes[PMS_FIELD_BYTES + 1] = {0, 16, 1, 1, 2, 4, 8, 1,
                                                       2, 4,  8, 4, 8, 0, 0};
    if (kind < PMS_FIELD_CELL || kind > PMS_FIELD_BYTES)
        return 0;
    *size = bytes[kind];
    return kind == PMS_FIELD_CELL ? 8 : kind >= PMS_FIELD_STR ? 2 : bytes[kind];
}

/* Does the field make sense inside a body of so many bytes? */
static int field_ok(const struct pms_field_pm *f, uint64_t bytes)
{
    uint32_t size, align = pms_field_align(f->kind, &size);
    if (!align || f->off % align || f->count > PMS_RECORD_BYTES_MAX)
        return 0;
    if (size ? f->size != size : f->size < 3 || f->size > 2 + PMS_FIXED_MAX)
        return 0;
    if (f->count && (f->kind == PMS_FIELD_CELL || f->kind >= PMS_FIELD_STR))
        return 0;
    if (f->bit && (f->kind == PMS_FIELD_CELL || (uint64_t)(f->bit - 1) / 64 * 8 + 8 > bytes))
        return 0;
    return pms_field_bytes(f) <= bytes && f->off <= bytes - pms_field_bytes(f);
}

static int head_ok(uint64_t fields, uint64_t bytes)
{
    return fields <= PMS_RECORD_FIELDS_MAX && bytes <= PMS_RECORD_BYTES_MAX && bytes % 8 == 0;
}

/* Fields follow each other, and the presence bits come before all of them. */
static int order_ok(const struct pms_shape *shape)
{
    uint64_t end = 0;
    for (uint32_t i = 0; i < shape->count; i++)
        if (shape->field[i].bit && (uint64_t)(shape->field[i].bit - 1) / 64 * 8 + 8 > end)
            end = (uint64_t)(shape->field[i].bit - 1) / 64 * 8 + 8;
    for (uint32_t i = 0; i < shape->count; i++) {
        if (shape->field[i].off < end)
            return 0;
        end = shape->field[i].off + pms_field_bytes(&shape->field[i]);
    }
    return 1;
}

int pms_shape_check(const struct pms_shape *shape)
{
    if (!head_ok(shape->count, shape->bytes))
        return PMS_FAIL(PMS_E_INVAL, "size of a record", 0, PMS_RECORD_BYTES_MAX, shape->bytes);
    for (uint32_t i = 0; i < shape->count; i++)
        if (!field_ok(&shape->field[i], shape->bytes))
            return PMS_FAIL(PMS_E_INVAL, "field of a record", i, shape->bytes,
                            shape->field[i].off);
    if (!order_ok(shape))
        return PMS_FAIL(PMS_E_INVAL, "order of the fields of a record", 0, 0, 0);
    return PMS_OK;
}

int pms_schema_head(struct pms_pool *pool, uint64_t schema, uint64_t *fields, uint64_t *bytes)
{
    PMS_TRY(pms_object_check(pool, schema, PMS_TAG_SCHEMA));
    *fields = pms_get(pool, schema + offsetof(struct pms_schema_pm, fields));
    *bytes = pms_get(pool, schema + offsetof(struct pms_schema_pm, bytes));
    if (!head_ok(*fields, *bytes))
        return PMS_FAIL(PMS_E_CORRUPT, "size of a schema", schema, *fields, *bytes);
    if (!pms_off_ok(&pool->heap, schema,
                    sizeof(struct pms_schema_pm) + *fields * sizeof(struct pms_field_pm)))
        return PMS_FAIL(PMS_E_CORRUPT, "fields of a schema", schema, *fields, 0);
    return PMS_OK;
}

int pms_schema_field(struct pms_pool *pool, uint64_t schema, uint64_t bytes, uint64_t i,
                     struct pms_field_pm *out)
{
    uint64_t at = schema + sizeof(struct pms_schema_pm) + i * sizeof *out;
    uint64_t word[2] = {pms_get(pool, at), pms_get(pool, at + 8)};
    memcpy(out, word, sizeof *out);
    if (!field_ok(out, bytes))
        return PMS_FAIL(PMS_E_CORRUPT, "field of a schema", at, bytes, out->off);
    return PMS_OK;
}

int pms_shape_read(struct pms_pool *pool, uint64_t schema, struct pms_shape **out)
{
    uint64_t fields, bytes;
    int status = PMS_OK;
    PMS_TRY(pms_schema_head(pool, schema, &fields, &bytes));
    struct pms_shape *shape = calloc(1, sizeof *shape + fields * sizeof shape->field[0]);
    if (!shape)
        return PMS_FAIL_NOMEM("read a schema", fields * sizeof shape->field[0]);
    shape->bytes = bytes;
    shape->fingerprint = pms_get(pool, schema + offsetof(struct pms_schema_pm, fingerprint));
    shape->count = (uint32_t)fields;
    for (uint32_t i = 0; i < fields && status == PMS_OK; i++)
        status = pms_schema_field(pool, schema, bytes, i, &shape->field[i]);
    if (status == PMS_OK && !order_ok(shape))
        status = PMS_FAIL(PMS_E_CORRUPT, "order of the fields of a schema", schema, 0, 0);
    if (status == PMS_OK)
        *out = shape;
    else
        free(shape);
    return status;
}

int pms_schema_create(struct pms_pool *pool, const struct pms_shape *shape,
                      const struct pms_val *text, uint64_t *off)
{
    struct pms_schema_pm head = {.obj = {.magic_kind = PMS_OBJECT_MAGIC | PMS_TAG_SCHEMA}};
    uint64_t fields = shape->count * sizeof shape->field[0], cell[2];
    PMS_TRY(pms_shape_check(shape));
    PMS_TRY(pms_object_reserve(pool));
    PMS_TRY(pms_cell_make(pool, text, cell));
    PMS_TRY(pms_alloc(&pool->heap, sizeof head + fields, off));
    head.fields = shape->count;
    head.bytes = shape->bytes;
    head.fingerprint = shape->fingerprint;
    memcpy(&head.text, cell, sizeof head.text);
    pms_init_bytes(&pool->ws, *off, &head, sizeof head);
    pms_init_bytes(&pool->ws, *off + sizeof head, shape->field, fields);
    return pms_object_born(pool, *off);
}

int pms_schema_teardown(struct pms_pool *pool, uint64_t off, uint32_t *budget)
{
    (void)budget; /* one cell */
    if (pms_get(pool, off + offsetof(struct pms_object_pm, refs)))
        return PMS_OK; /* being emptied: it refers to nothing */
    PMS_TRY(pms_cell_drop(pool, PMS_SCHEMA_TEXT(off)));
    return pms_object_end(pool, off);
}

int pms_schema_dict(struct pms_pool *pool, int make, uint64_t *off)
{
    const uint64_t at = PMS_ROOT_OFF + offsetof(struct pms_root_pm, schemas);
    *off = pms_get(pool, at);
    if (*off)
        return pms_object_check(pool, *off, PMS_TAG_DICT);
    if (!make)
        return PMS_OK;
    PMS_TRY(pms_object_create(pool, PMS_TAG_DICT, off));
    PMS_TRY(pms_object_ref(pool, *off));
    pms_put(pool, at, *off);
    return PMS_OK;
}

int pms_record_refuse(struct pms_pool *pool, uint32_t tag, uint64_t *off)
{
    (void)pool;
    (void)off;
    return PMS_FAIL(PMS_E_INVAL, "an object of this kind needs a schema", 0, 0, tag);
}

/* ---- fields of a body ---- */

static int body_of(struct pms_pool *pool, uint64_t record, uint64_t bytes, uint64_t *body)
{
    *body = pms_get(pool, PMS_RECORD_BODY(record));
    if (PMS_UNLIKELY(!pms_off_ok(&pool->heap, *body, bytes)))
        return PMS_FAIL(PMS_E_CORRUPT, "place of a record's fields", record, bytes, *body);
    return PMS_OK;
}

int pms_number_read(uint32_t kind, uint64_t word, struct pms_val *out)
{
    float single;
    double value;
    out->tag = PMS_TAG_INT;
    switch (kind) {
    case PMS_FIELD_BOOL:
        if ((word & 0xff) > 1)
            return PMS_FAIL(PMS_E_CORRUPT, "a bool", 0, 1, word & 0xff);
        out->tag = word & 1 ? PMS_TAG_TRUE : PMS_TAG_FALSE;
        return PMS_OK;
    case PMS_FIELD_INT8:
        out->num = (uint64_t)(int64_t)(int8_t)word;
        return PMS_OK;
    case PMS_FIELD_INT16:
        out->num = (uint64_t)(int64_t)(int16_t)word;
        return PMS_OK;
    case PMS_FIELD_INT32:
        out->num = (uint64_t)(int64_t)(int32_t)word;
        return PMS_OK;
    case PMS_FIELD_UINT8:
        out->num = word & 0xff;
        return PMS_OK;
    case PMS_FIELD_UINT16:
        out->num = word & 0xffff;
        return PMS_OK;
    case PMS_FIELD_UINT32:
        out->num = word & UINT32_MAX;
        return PMS_OK;
    case PMS_FIELD_FLOAT32:
        memcpy(&single, &word, sizeof single);
        value = (double)single;
        out->tag = PMS_TAG_FLOAT;
        memcpy(&out->num, &value, sizeof value);
        return PMS_OK;
    default: /* 64 bits */
        out->tag = kind == PMS_FIELD_FLOAT64 ? PMS_TAG_FLOAT : PMS_TAG_INT;
        out->num = word;
        return PMS_OK;
    }
}

static int field_get(struct pms_pool *pool, uint64_t body, const struct pms_field_pm *f,
                     struct pms_val *out)
{
    uint64_t at = body + f->off, len = pms_field_bytes(f);
    if (f->kind == PMS_FIELD_CELL)
        return pms_cell_read(pool, at, out);
    memset(out, 0, sizeof *out);
    out->tag = PMS_TAG_NONE;
    if (f->bit && !(pms_get(pool, BIT_WORD(body, f)) & BIT_MASK(f)))
        return PMS_OK;
    if (!f->count && f->kind < PMS_FIELD_STR)
        return pms_number_read(f->kind, pms_get(pool, at & ~7ull) >> (at & 7) * 8, out);
    const uint8_t *bytes = view(pool, at, len);
    if (!bytes)
        return PMS_FAIL(PMS_E_NOMEM, "reading a field", at, len, 0);
    out->tag = f->kind == PMS_FIELD_STR ? PMS_TAG_STR : PMS_TAG_BYTES;
    if (!f->count) {
        len = (uint64_t)bytes[0] | (uint64_t)bytes[1] << 8;
        bytes += 2;
        if (len > f->size - 2)
            return PMS_FAIL(PMS_E_CORRUPT, "length of a field", at, f->size - 2, len);
    }
    out->data = bytes;
    out->len = len;
    return PMS_OK;
}

int pms_number_bytes(uint32_t kind, uint32_t size, const struct pms_val *v, uint8_t out[8])
{
    uint64_t num = v->num;
    int fits;
    if (kind == PMS_FIELD_BOOL) {
        fits = v->tag == PMS_TAG_TRUE || v->tag == PMS_TAG_FALSE;
        num = v->tag == PMS_TAG_TRUE;
    } else if (kind == PMS_FIELD_FLOAT32 || kind == PMS_FIELD_FLOAT64) {
        fits = v->tag == PMS_TAG_FLOAT;
        if (kind == PMS_FIELD_FLOAT32) {
            double value;
            float single;
            memcpy(&value, &num, sizeof value);
            single = (float)value;
            num = 0;
            memcpy(&num, &single, sizeof single);
        }
    } else {
        uint32_t shift = 64 - 8 * size;
        int64_t back = (int64_t)(num << shift) >> shift;
        fits = v->tag == PMS_TAG_INT &&
               (kind >= PMS_FIELD_UINT8 ? num << shift >> shift == num : (uint64_t)back == num);
    }
    memcpy(out, &num, 8);
    return fits ? PMS_OK : PMS_FAIL(PMS_E_INVAL, "value of a field", 0, kind, v->tag);
}

static int native_set(struct pms_pool *pool, uint64_t at, const struct pms_field_pm *f,
                      const struct pms_val *value)
{
    uint8_t bytes[8];
    uint64_t len = pms_field_bytes(f);
    if (!f->count && f->kind < PMS_FIELD_STR) {
        PMS_TRY(pms_number_bytes(f->kind, f->size, value, bytes));
        put_bytes(pool, at, bytes, f->size);
        return PMS_OK;
    }
    uint32_t tag = f->kind == PMS_FIELD_STR ? PMS_TAG_STR : PMS_TAG_BYTES;
    uint64_t most = f->count ? len : len - 2;
    if (value->tag != tag || value->len > most || (f->count && value->len != most))
        return PMS_FAIL(PMS_E_INVAL, "value of a field", 0, most, value->len);
    if (!f->count) {
        bytes[0] = (uint8_t)value->len;
        bytes[1] = (uint8_t)(value->len >> 8);
        put_bytes(pool, at, bytes, 2);
        at += 2;
    }
    put_bytes(pool, at, value->data, value->len);
    put_bytes(pool, at + value->len, NULL, most - value->len);
    return PMS_OK;
}

static int field_set(struct pms_pool *pool, uint64_t body, const struct pms_field_pm *f,
                     const struct pms_val *value)
{
    uint64_t at = body + f->off, cell[2];
    if (f->kind == PMS_FIELD_CELL) {
        PMS_TRY(pms_cell_make(pool, value, cell));
        PMS_TRY(pms_cell_drop(pool, at));
        pms_put(pool, at, cell[0]);
        pms_put(pool, at + 8, cell[1]);
        return PMS_OK;
    }
    if (f->bit) {
        uint64_t word = pms_get(pool, BIT_WORD(body, f));
        int absent = value->tag == PMS_TAG_NONE;
        pms_put(pool, BIT_WORD(body, f), absent ? word & ~BIT_MASK(f) : word | BIT_MASK(f));
        if (absent) {
            put_bytes(pool, at, NULL, pms_field_bytes(f));
            return PMS_OK;
        }
    }
    return native_set(pool, at, f, value);
}

/* ---- records ---- */

/* Zeroes, cells NONE: a body that nobody has seen yet. */
static void body_init(struct pms_pool *pool, uint64_t body, const struct pms_shape *shape)
{
    const struct pms_cell_pm none = {.head = PMS_TAG_NONE};
    pms_init_zero(&pool->ws, body, shape->bytes);
    for (uint32_t i = 0; i < shape->count; i++)
        if (shape->field[i].kind == PMS_FIELD_CELL)
            pms_init_bytes(&pool->ws, body + shape->field[i].off, &none, sizeof none);
}

int pms_record_create(struct pms_pool *pool, uint64_t schema, const struct pms_shape *shape,
                      uint64_t *off)
{
    struct pms_record_pm head = {.obj = {.magic_kind = PMS_OBJECT_MAGIC | PMS_TAG_RECORD}};
    PMS_TRY(pms_object_reserve(pool));
    PMS_TRY(pms_alloc(&pool->heap, sizeof head + shape->bytes, off));
    head.bytes = shape->bytes;
    head.schema = schema;
    head.body = PMS_RECORD_HOME(*off);
    pms_init_bytes(&pool->ws, *off, &head, sizeof head);
    body_init(pool, head.body, shape);
    PMS_TRY(pms_object_check(pool, schema, PMS_TAG_SCHEMA));
    PMS_TRY(pms_object_ref(pool, schema));
    return pms_object_born(pool, *off);
}

int pms_record_get(struct pms_pool *pool, uint64_t record, const struct pms_shape *shape,
                   uint32_t field, struct pms_val *out)
{
    uint64_t body;
    PMS_TRY(body_of(pool, record, shape->bytes, &body));
    return field_get(pool, body, &shape->field[field], out);
}

int pms_record_set(struct pms_pool *pool, uint64_t record, const struct pms_shape *shape,
                   uint32_t field, const struct pms_val *value)
{
    uint64_t body;
    PMS_TRY(body_of(pool, record, shape->bytes, &body));
    return field_set(pool, body, &shape->field[field], value);
}

/* One field of an old body into a new one. */
static int move_field(struct pms_pool *pool, uint64_t from, const struct pms_field_pm *old,
                      uint64_t to, const struct pms_field_pm *f)
{
    uint8_t big[9] = {0};
    struct pms_val val;
    if (old->kind == PMS_FIELD_CELL && f->kind == PMS_FIELD_CELL) {
        pms_put(pool, to + f->off, pms_get(pool, from + old->off));
        pms_put(pool, to + f->off + 8, pms_get(pool, from + old->off + 8));
        pms_put(pool, from + old->off, PMS_TAG_NONE); /* moved: not dropped with the old body */
        pms_put(pool, from + old->off + 8, 0);
        return PMS_OK;
    }
    PMS_TRY(field_get(pool, from, old, &val));
    if (f->kind == PMS_FIELD_CELL && old->kind == PMS_FIELD_UINT64 && val.num >> 63) {
        memcpy(big, &val.num, 8); /* no INT can hold it */
        val = (struct pms_val){.tag = PMS_TAG_BIGINT, .data = big, .len = sizeof big};
    }
    if (val.len == 0 || f->kind != PMS_FIELD_CELL)
        return field_set(pool, to, f, &val);
    uint8_t *copy = malloc(val.len); /* an allocation may change what val.data points into */
    if (!copy)
        return PMS_FAIL_NOMEM("move a field", val.len);
    memcpy(copy, val.data, val.len);
    val.data = copy;
    int status = field_set(pool, to, f, &val);
    free(copy);
    return status;
}

int pms_record_reshape(struct pms_pool *pool, uint64_t record, const struct pms_shape *old,
                       uint64_t schema, const struct pms_shape *shape, const int32_t *from,
                       const struct pms_val *value)
{
    uint64_t body, fresh, before = pms_record_schema(pool, record);
    PMS_TRY(body_of(pool, record, old->bytes, &body));
    PMS_TRY(pms_object_check(pool, schema, PMS_TAG_SCHEMA));
    PMS_TRY(pms_alloc(&pool->heap, shape->bytes ? shape->bytes : 8, &fresh));
    body_init(pool, fresh, shape);
    for (uint32_t i = 0; i < shape->count; i++) {
        const struct pms_field_pm *f = &shape->field[i];
        if (from[i] >= 0 && (uint32_t)from[i] < old->count)
            PMS_TRY(move_field(pool, body, &old->field[from[i]], fresh, f));
        else
            PMS_TRY(field_set(pool, fresh, f, &value[i]));
    }
    for (uint32_t i = 0; i < old->count; i++)
        if (old->field[i].kind == PMS_FIELD_CELL)
            PMS_TRY(pms_cell_drop(pool, body + old->field[i].off));
    if (body != PMS_RECORD_HOME(record))
        PMS_TRY(pms_free(&pool->heap, body));
    PMS_TRY(pms_object_ref(pool, schema));
    PMS_TRY(pms_object_unref(pool, before));
    pms_put(pool, PMS_RECORD_BYTES(record), shape->bytes);
    pms_put(pool, PMS_RECORD_SCHEMA(record), schema);
    pms_put(pool, PMS_RECORD_BODY(record), fresh);
    return PMS_OK;
}

int pms_record_teardown(struct pms_pool *pool, uint64_t off, uint32_t *budget)
{
    uint64_t fields, bytes, body, schema = pms_record_schema(pool, off);
    PMS_TRY(pms_schema_head(pool, schema, &fields, &bytes));
    PMS_TRY(body_of(pool, off, bytes, &body));
    for (uint64_t i = 0; i < fields; i++) {
        struct pms_field_pm f;
        PMS_TRY(pms_schema_field(pool, schema, bytes, i, &f));
        uint64_t at = body + f.off;
        if (f.kind != PMS_FIELD_CELL || pms_get(pool, at) == PMS_TAG_NONE)
            continue;
        if (*budget == 0)
            return PMS_MISSING;
        --*budget;
        PMS_TRY(pms_cell_drop(pool, at));
        pms_put(pool, at, PMS_TAG_NONE);
        pms_put(pool, at + 8, 0);
    }
    if (pms_get(pool, off + offsetof(struct pms_object_pm, refs)))
        return PMS_OK; /* being emptied: a schema leads to no record */
    if (body != PMS_RECORD_HOME(off))
        PMS_TRY(pms_free(&pool->heap, body));
    PMS_TRY(pms_object_unref(pool, schema));
    return pms_object_end(pool, off);
}
