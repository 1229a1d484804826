/* record.h -- typed records: fields at fixed places, and the schemas that say where.
 *
 *   root page --> dict of schemas: name --> newest schema
 *                                             ^
 *   record {bytes, schema, body} -------------+          any number of records to a schema
 *      |
 *      +--> body: presence bits | field | field | ...    behind the record, or its own block
 *
 * A struct pms_shape is a schema in DRAM, read once and checked: every field lies inside the
 * body, so that a get or a set has to check the body alone.  The caller makes sure that the
 * record has the shape's schema (pms_record_schema), and keeps a handle on the schema as long as
 * it keeps the shape.
 *
 * get: one read.  set: the words of one field; a new schema: the whole body, in a new block.
 */
#ifndef PMS_RECORD_H
#define PMS_RECORD_H

#include "table.h"

struct pms_shape {
    uint64_t bytes; /* of a body */
    uint64_t fingerprint;
    uint32_t count;
    uint32_t zero;
    struct pms_field_pm field[];
};

#define PMS_RECORD_BYTES(off) ((off) + offsetof(struct pms_record_pm, bytes))
#define PMS_RECORD_SCHEMA(off) ((off) + offsetof(struct pms_record_pm, schema))
#define PMS_RECORD_BODY(off) ((off) + offsetof(struct pms_record_pm, body))
#define PMS_RECORD_HOME(off) ((off) + sizeof(struct pms_record_pm))
#define PMS_SCHEMA_TEXT(off) ((off) + offsetof(struct pms_schema_pm, text))

/* ---- schemas ---- */

/* A shape whose fields the caller has filled in: PMS_E_INVAL if no schema can be like that. */
int pms_shape_check(const struct pms_shape *shape);
/* Field `i` of a schema whose head is at `schema`, checked against `bytes`. */
int pms_schema_field(struct pms_pool *pool, uint64_t schema, uint64_t bytes, uint64_t i,
                     struct pms_field_pm *out);
/* Numbers of a schema, checked. */
int pms_schema_head(struct pms_pool *pool, uint64_t schema, uint64_t *fields, uint64_t *bytes);
/* Bytes of an item of this kind and the alignment of a field; 0: no such kind.  STR, BYTES: 0
 * bytes, for they vary. */
uint32_t pms_field_align(uint32_t kind, uint32_t *size);
/* Bytes of a field, of all items if it is an array. */
static inline uint64_t pms_field_bytes(const struct pms_field_pm *f)
{
    return (uint64_t)f->size * (f->count ? f->count : 1);
}
/* The number in the low bytes of a word; the bytes of a number (PMS_E_INVAL: it is none of this
 * kind).  Values as for pms_record_get; *out is zero but for tag and num. */
int pms_number_read(uint32_t kind, uint64_t word, struct pms_val *out);
int pms_number_bytes(uint32_t kind, uint32_t size, const struct pms_val *v, uint8_t out[8]);
/* Read all of it: the caller frees *out. */
int pms_shape_read(struct pms_pool *pool, uint64_t schema, struct pms_shape **out);
/* A new schema, with no references. */
int pms_schema_create(struct pms_pool *pool, const struct pms_shape *shape,
                      const struct pms_val *text, uint64_t *off);
int pms_schema_teardown(struct pms_pool *pool, uint64_t off, uint32_t *budget);
/* The dict of schemas; *off is 0 if there is none and make is 0. */
int pms_schema_dict(struct pms_pool *pool, int make, uint64_t *off);
/* create() of kinds that need more than their tag. */
int pms_record_refuse(struct pms_pool *pool, uint32_t tag, uint64_t *off);

/* ---- records ---- */

/* A new record with no references; all fields zero, cells NONE. */
int pms_record_create(struct pms_pool *pool, uint64_t schema, const struct pms_shape *shape,
                      uint64_t *off);
static inline uint64_t pms_record_schema(const struct pms_pool *pool, uint64_t record)
{
    return pms_get(pool, PMS_RECORD_SCHEMA(record));
}
/* A field: NONE (absent), TRUE, FALSE, INT (num; UINT64: without a sign), FLOAT, STR, BYTES (also
 * of an array: its items as they lie), or what a cell holds. */
int pms_record_get(struct pms_pool *pool, uint64_t record, const struct pms_shape *shape,
                   uint32_t field, struct pms_val *out);
/* The same forms; PMS_E_INVAL if the value does not fit the field. */
int pms_record_set(struct pms_pool *pool, uint64_t record, const struct pms_shape *shape,
                   uint32_t field, const struct pms_val *value);
/* Give a record another schema.  from[i]: the old field that becomes field i, or < 0: value[i]
 * does. */
int pms_record_reshape(struct pms_pool *pool, uint64_t record, const struct pms_shape *old,
                       uint64_t schema, const struct pms_shape *shape, const int32_t *from,
                       const struct pms_val *value);
int pms_record_teardown(struct pms_pool *pool, uint64_t off, uint32_t *budget);

#endif
