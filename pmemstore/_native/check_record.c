/* check_record.c -- the check of records and schemas: is every byte of a body what it may be?
 *
 *   C41  a schema's fields have a known kind, a size that fits it, and follow each other inside
 *        the body; presence bits come first and are used once
 *   C42  a record has as many bytes as its schema says; its body lies behind it, or in a block of
 *        its own (R1)
 *   C43  every field holds a possible value; absent fields, unused presence bits, and bytes
 *        between fields are zero (R3)
 *
 * The walk of a body keeps the end of the field before: what lies between is a gap.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "check_state.h"
#include "record.h"

struct body {
    uint64_t record, off, bytes;
    uint64_t end;      /* of the last field, in the body */
    uint64_t presence; /* bytes of presence bits */
};

static void bad_field(struct pms_check *c, const struct body *b, uint64_t i, const char *what)
{
    pms_check_problem(c, "field %" PRIu64 " of the record at offset %" PRIu64 " %s", i,
                      b->record, what);
}

/* Bytes [from, to) of a body are zero. */
static int zero_bytes(struct pms_check *c, const struct body *b, uint64_t from, uint64_t to)
{
    for (uint64_t at = b->off + from; at < b->off + to; at++)
        if (pms_get(c->pool, at & ~7ull) >> (at & 7) * 8 & 0xff)
            return 0;
    return 1;
}

/* ---- schemas ---- */

void pms_check_schema(struct pms_check *c, uint64_t schema)
{
    struct pms_shape *shape = NULL;
    uint64_t fields = pms_get(c->pool, schema + offsetof(struct pms_schema_pm, fields));
    uint64_t need = sizeof(struct pms_schema_pm) + fields * sizeof(struct pms_field_pm);
    if (fields > PMS_RECORD_FIELDS_MAX ||
        !pms_check_block(c, schema, need, "a schema of its fields", schema)) {
        pms_check_problem(c,
                          "the schema at offset %" PRIu64 " has no room for %" PRIu64 " fields",
                          schema, fields);
        return;
    }
    int status = pms_shape_read(c->pool, schema, &shape);
    if (status == PMS_E_NOMEM) {
        c->nomem = 1;
        return;
    }
    if (status != PMS_OK) {
        pms_check_problem(c, "the schema at offset %" PRIu64 " has impossible fields: %s",
                          schema, pms_detail()->what);
        return;
    }
    for (uint32_t i = 0; i < shape->count; i++)
        for (uint32_t k = 0; k < i && shape->field[i].bit; k++)
            if (shape->field[k].bit == shape->field[i].bit)
                pms_check_problem(c,
                                  "fields %" PRIu32 " and %" PRIu32
                                  " of the schema at offset %" PRIu64 " share a presence bit",
                                  k, i, schema);
    free(shape);
    uint32_t tag = PMS_CELL_TAG(pms_get(c->pool, PMS_SCHEMA_TEXT(schema)));
    if (tag != PMS_TAG_PACKED)
        pms_check_problem(
            c, "the schema at offset %" PRIu64 " has a description with tag %" PRIu32, schema,
            tag);
    else
        pms_check_cell(c, PMS_SCHEMA_TEXT(schema), 0);
}

/* ---- records ---- */

static void check_bytes(struct pms_check *c, const struct body *b, uint64_t i,
                        const struct pms_field_pm *f)
{
    uint64_t word = pms_get(c->pool, (b->off + f->off) & ~7ull) >> ((b->off + f->off) & 7) * 8;
    uint64_t len = word & 0xffff, aligned = f->off & ~7ull;
    if (len > f->size - 2u) {
        bad_field(c, b, i, "is longer than its room");
        return;
    }
    if (!zero_bytes(c, b, f->off + 2 + len, f->off + f->size))
        bad_field(c, b, i, "is not padded with zeroes");
    if (f->kind != PMS_FIELD_STR || len == 0)
        return;
    const uint8_t *text =
        pms_view(c->pool, b->off + aligned, PMS_PAD8(f->off + f->size) - aligned);
    if (!text)
        c->nomem = 1;
    else if (!pms_check_utf8(text + (f->off - aligned) + 2, len))
        bad_field(c, b, i, "is a str, but not UTF-8");
}

static void check_field(struct pms_check *c, struct body *b, uint64_t i,
                        const struct pms_field_pm *f)
{
    if (!zero_bytes(c, b, b->end, f->off))
        bad_field(c, b, i, "has bytes before it that are not zero");
    b->end = f->off + pms_field_bytes(f);
    if (f->kind == PMS_FIELD_CELL) {
        pms_check_cell(c, b->off + f->off, 0);
        return;
    }
    if (f->bit) {
        uint64_t word = pms_get(c->pool, b->off + (uint64_t)(f->bit - 1u) / 64 * 8);
        if (!(word >> (f->bit - 1u) % 64 & 1)) {
            if (!zero_bytes(c, b, f->off, b->end))
                bad_field(c, b, i, "is absent, but not zero");
            return;
        }
    }
    if (f->kind >= PMS_FIELD_STR)
        check_bytes(c, b, i, f);
    for (uint64_t at = f->off; f->kind == PMS_FIELD_BOOL && at < b->end; at++)
        if ((pms_get(c->pool, (b->off + at) & ~7ull) >> ((b->off + at) & 7) * 8 & 0xff) > 1)
            bad_field(c, b, i, "is a bool, but neither 0 nor 1");
}

/* Presence bits that no field has are zero. */
static void check_presence(struct pms_check *c, struct body *b, const struct pms_shape *shape)
{
    for (uint32_t i = 0; i < shape->count; i++) {
        uint64_t end = (shape->field[i].bit + 63u) / 64 * 8;
        if (shape->field[i].bit && end > b->presence)
            b->presence = end;
    }
    for (uint64_t word = 0; word < b->presence / 8; word++) {
        uint64_t used = 0;
        for (uint32_t i = 0; i < shape->count; i++)
            if (shape->field[i].bit && (shape->field[i].bit - 1u) / 64 == word)
                used |= 1ull << (shape->field[i].bit - 1u) % 64;
        if (pms_get(c->pool, b->off + 8 * word) & ~used)
            pms_check_problem(
                c, "the record at offset %" PRIu64 " has presence bits of no field: %#" PRIx64,
                b->record, pms_get(c->pool, b->off + 8 * word));
    }
    b->end = b->presence;
}

static void check_body(struct pms_check *c, struct body *b, uint64_t schema)
{
    struct pms_shape *shape = NULL;
    int status = pms_shape_read(c->pool, schema, &shape);
    if (status != PMS_OK) { /* told with the schema */
        c->nomem |= status == PMS_E_NOMEM;
        return;
    }
    if (shape->bytes != b->bytes)
        pms_check_problem(c,
                          "the record at offset %" PRIu64 " has %" PRIu64
                          " bytes of fields, its schema at offset %" PRIu64 " %" PRIu64,
                          b->record, b->bytes, schema, shape->bytes);
    else
        check_presence(c, b, shape);
    for (uint32_t i = 0; i < shape->count && shape->bytes == b->bytes && !pms_check_over(c);
         i++)
        check_field(c, b, i, &shape->field[i]);
    if (shape->bytes == b->bytes && !zero_bytes(c, b, b->end, b->bytes))
        bad_field(c, b, shape->count, "would begin in bytes that are not zero");
    free(shape);
}

void pms_check_record(struct pms_check *c, uint64_t record)
{
    uint64_t schema = pms_record_schema(c->pool, record);
    struct body b = {.record = record,
                     .off = pms_get(c->pool, PMS_RECORD_BODY(record)),
                     .bytes = pms_get(c->pool, PMS_RECORD_BYTES(record))};
    struct pms_check_object *met =
        pms_check_meet(c, schema, PMS_TAG_SCHEMA, PMS_RECORD_SCHEMA(record));
    if (met)
        met->found++;
    if (b.bytes > PMS_RECORD_BYTES_MAX) {
        pms_check_problem(c, "the record at offset %" PRIu64 " has %" PRIu64 " bytes of fields",
                          record, b.bytes);
        return;
    }
    if (b.off == PMS_RECORD_HOME(record)) {
        if (!pms_check_block(c, record, sizeof(struct pms_record_pm) + b.bytes,
                             "a record with its fields", PMS_RECORD_BODY(record)))
            return;
    } else if (!pms_check_use(c, b.off, b.bytes ? b.bytes : 8, "the fields of a record",
                              PMS_RECORD_BODY(record))) {
        return;
    }
    if (met && met->tag == PMS_TAG_SCHEMA)
        check_body(c, &b, schema);
}
