/* test_record.c -- records in the core: each kind of field, other schemas, teardown, damage.
 *
 * On a tmpfs file and on a file in the working directory, where there are such.  The check runs
 * after every change.
 */
#include "pool_fixture.h"

#include "record.h"

#define FIELDS 16u

static struct fixture fx;
static uint64_t record, schema;
static struct pms_shape *shape; /* has room for FIELDS */

static uint64_t bits_of(double number)
{
    uint64_t bits;
    memcpy(&bits, &number, 8);
    return bits;
}

static void field(uint32_t kind, uint32_t bit, uint32_t count, uint32_t size)
{
    uint32_t natural = 0, align = pms_field_align(kind, &natural);
    struct pms_field_pm *f = &shape->field[shape->count++];
    f->off = (uint32_t)((shape->bytes + align - 1) / align * align);
    f->kind = (uint16_t)kind;
    f->bit = (uint16_t)bit;
    f->count = count;
    f->size = size ? size : natural;
    shape->bytes = f->off + f->size * (count ? count : 1);
}

static void make_shape(uint32_t presence)
{
    memset(shape, 0, sizeof *shape + FIELDS * sizeof shape->field[0]);
    shape->bytes = presence;
    shape->fingerprint = 5;
}

static void end_shape(void) { shape->bytes = PMS_PAD8(shape->bytes); }

static uint64_t new_schema(void)
{
    const struct pms_val text = {.tag = PMS_TAG_PACKED, .data = "a description", .len = 13};
    uint64_t off = 0;
    CHECK_EQ(OP(fx.pool, pms_schema_create(fx.pool, shape, &text, &off)), PMS_OK);
    return off;
}

static void put_record(const char *name)
{
    struct pms_key key = fixture_key(name);
    struct pms_val value = {.tag = PMS_TAG_RECORD};
    fixture_begin(fx.pool);
    schema = new_schema();
    CHECK_EQ(OP(fx.pool, pms_record_create(fx.pool, schema, shape, &value.num)), PMS_OK);
    CHECK_EQ(OP(fx.pool, pms_dict_set(fx.pool, fx.root, &key, &value)), PMS_OK);
    fixture_commit(fx.pool);
    record = value.num;
    fixture_sound(fx.pool);
}

static int set(uint32_t i, struct pms_val value)
{
    int status = OP(fx.pool, pms_record_set(fx.pool, record, shape, i, &value));
    fixture_sound(fx.pool);
    return status;
}

static struct pms_val get(uint32_t i)
{
    struct pms_val value;
    CHECK_EQ(pms_enter_read_wait(fx.pool, NULL, -1), PMS_OK);
    CHECK_EQ(pms_record_get(fx.pool, record, shape, i, &value), PMS_OK);
    pms_leave_read(fx.pool);
    return value;
}

static struct pms_val number(uint64_t num)
{
    return (struct pms_val){.tag = PMS_TAG_INT, .num = num};
}

/* ---- fields ---- */

static void all_kinds(void)
{
    make_shape(8);
    for (uint32_t kind = PMS_FIELD_CELL; kind <= PMS_FIELD_FLOAT64; kind++)
        field(kind, kind == PMS_FIELD_INT16 ? 1 : 0, 0, 0);
    field(PMS_FIELD_STR, 2, 0, 9);
    field(PMS_FIELD_BYTES, 0, 0, 3);
    field(PMS_FIELD_UINT16, 64, 5, 0);
    field(PMS_FIELD_BOOL, 0, 3, 0);
    end_shape();
}

/* The limits of each kind of number are kept, one more is refused, neighbours are left alone. */
static void numbers_have_limits(void)
{
    all_kinds();
    put_record("numbers");
    for (uint32_t kind = PMS_FIELD_INT8; kind <= PMS_FIELD_UINT64; kind++) {
        uint32_t i = kind - PMS_FIELD_CELL, width = 8 * shape->field[i].size;
        int is_signed = kind <= PMS_FIELD_INT64;
        uint64_t high = UINT64_MAX >> (64 - width + (uint32_t)is_signed);
        uint64_t low = is_signed ? ~high : 0;
        CHECK_EQ(set(i, number(high)), PMS_OK);
        CHECK_EQ(get(i).num, high);
        CHECK_EQ(set(i, number(low)), PMS_OK);
        CHECK_EQ(get(i).num, low);
        if (width < 64) {
            CHECK_EQ(set(i, number(high + 1)), PMS_E_INVAL);
            CHECK_EQ(set(i, number(low - 1)), PMS_E_INVAL);
        }
        CHECK_EQ(set(i, (struct pms_val){.tag = PMS_TAG_FLOAT}), PMS_E_INVAL);
        CHECK_EQ(get(i).num, low);
        CHECK_EQ(set(i, number(0)), PMS_OK);
    }
    for (uint32_t i = 0; i < shape->count; i++) { /* nothing else has moved */
        struct pms_val value = get(i);
        CHECK(value.num == 0);
    }
    fixture_drop_object(&fx, "numbers");
}

static void texts_arrays_and_presence(void)
{
    static const uint8_t five[10] = {1, 0, 2, 0, 3, 0, 4, 0, 255, 255};
    all_kinds();
    put_record("texts");
    CHECK_EQ(get(12).tag, PMS_TAG_NONE);
    CHECK_EQ(set(12, (struct pms_val){.tag = PMS_TAG_STR, .data = "1234567", .len = 7}),
             PMS_OK);
    CHECK_EQ(get(12).len, 7);
    CHECK_EQ(set(12, (struct pms_val){.tag = PMS_TAG_STR, .data = "ab", .len = 2}), PMS_OK);
    struct pms_val text = get(12);
    CHECK(text.tag == PMS_TAG_STR && text.len == 2 && memcmp(text.data, "ab", 2) == 0);
    CHECK_EQ(set(12, (struct pms_val){.tag = PMS_TAG_STR, .data = "12345678", .len = 8}),
             PMS_E_INVAL);
    CHECK_EQ(set(12, (struct pms_val){.tag = PMS_TAG_BYTES, .data = "a", .len = 1}),
             PMS_E_INVAL);
    CHECK_EQ(set(12, (struct pms_val){.tag = PMS_TAG_NONE}), PMS_OK);
    CHECK_EQ(get(12).tag, PMS_TAG_NONE);
    CHECK_EQ(set(13, (struct pms_val){.tag = PMS_TAG_NONE}), PMS_E_INVAL);
    CHECK_EQ(set(14, (struct pms_val){.tag = PMS_TAG_BYTES, .data = five, .len = 10}), PMS_OK);
    CHECK(memcmp(get(14).data, five, 10) == 0);
    CHECK_EQ(set(14, (struct pms_val){.tag = PMS_TAG_BYTES, .data = five, .len = 8}),
             PMS_E_INVAL);
    CHECK_EQ(set(1, (struct pms_val){.tag = PMS_TAG_TRUE}), PMS_OK);
    CHECK_EQ(get(1).tag, PMS_TAG_TRUE);
    CHECK_EQ(set(10, (struct pms_val){.tag = PMS_TAG_FLOAT, .num = bits_of(0.5)}), PMS_OK);
    CHECK_EQ(get(10).num, bits_of(0.5));
    CHECK_EQ(set(0, (struct pms_val){.tag = PMS_TAG_RECORD, .num = record}), PMS_OK);
    CHECK_EQ(get(0).num, record);
    CHECK_EQ(set(0, (struct pms_val){.tag = PMS_TAG_NONE}), PMS_OK);
    fixture_reopen(&fx);
    CHECK_EQ(get(1).tag, PMS_TAG_TRUE);
    CHECK_EQ(get(14).len, 10);
    fixture_drop_object(&fx, "texts");
}

/* ---- another schema ---- */

static void another_schema_keeps_what_it_names(void)
{
    static char filler[500];
    struct pms_shape *old = NULL;
    const int32_t from[4] = {2, 0, 1, -1};
    const struct pms_val value[4] = {[3] = {.tag = PMS_TAG_STR, .data = filler, .len = 300}};
    memset(filler, 'y', sizeof filler);
    make_shape(0);
    field(PMS_FIELD_UINT64, 0, 0, 0);
    field(PMS_FIELD_CELL, 0, 0, 0);
    field(PMS_FIELD_INT8, 0, 0, 0);
    field(PMS_FIELD_CELL, 0, 0, 0); /* is not kept */
    end_shape();
    put_record("other");
    CHECK_EQ(set(0, number(UINT64_MAX)), PMS_OK);
    CHECK_EQ(set(1, (struct pms_val){.tag = PMS_TAG_STR, .data = filler, .len = 400}), PMS_OK);
    CHECK_EQ(set(2, number((uint64_t)-5)), PMS_OK);
    CHECK_EQ(set(3, (struct pms_val){.tag = PMS_TAG_STR, .data = filler, .len = 500}), PMS_OK);
    CHECK_EQ(pms_enter_read_wait(fx.pool, NULL, -1), PMS_OK);
    CHECK_EQ(pms_shape_read(fx.pool, schema, &old), PMS_OK);
    pms_leave_read(fx.pool);
    make_shape(0);
    field(PMS_FIELD_INT64, 0, 0, 0);
    field(PMS_FIELD_CELL, 0, 0, 0); /* the number has no sign: a BIGINT */
    field(PMS_FIELD_CELL, 0, 0, 0);
    field(PMS_FIELD_CELL, 0, 0, 0); /* new */
    end_shape();
    for (int again = 0; again < 2; again++) { /* undone, then done */
        fixture_begin(fx.pool);
        uint64_t next = new_schema();
        CHECK_EQ(
            OP(fx.pool, pms_record_reshape(fx.pool, record, old, next, shape, from, value)),
            PMS_OK);
        if (!again)
            CHECK_EQ(pms_tx_abort(fx.pool, 1), PMS_OK);
        else
            fixture_commit(fx.pool);
        fixture_sound(fx.pool);
        CHECK_EQ(pms_record_schema(fx.pool, record), again ? next : schema);
    }
    CHECK_EQ((int64_t)get(0).num, -5);
    CHECK_EQ(get(1).tag, PMS_TAG_BIGINT);
    CHECK_EQ(get(2).len, 400);
    CHECK_EQ(get(3).len, 300);
    free(old);
    fixture_drop_object(&fx, "other");
}

/* ---- teardown in small steps ---- */

static void teardown_goes_in_steps(void)
{
    make_shape(0);
    for (uint32_t i = 0; i < FIELDS; i++)
        field(PMS_FIELD_CELL, 0, 0, 0);
    end_shape();
    put_record("steps");
    struct pms_val text = {.tag = PMS_TAG_STR, .data = "longer than a word", .len = 18};
    for (uint32_t i = 0; i < FIELDS; i++)
        CHECK_EQ(set(i, text), PMS_OK);
    struct pms_key key = fixture_key("steps");
    CHECK_EQ(OP(fx.pool, pms_dict_del(fx.pool, fx.root, &key)), PMS_OK);
    for (uint32_t left = 1, steps = 0; left; steps++) {
        struct pms_check_result result;
        CHECK(steps < 20);
        CHECK_EQ(OP(fx.pool, pms_object_reap(fx.pool, 5)), PMS_OK);
        CHECK_EQ(fixture_problems(fx.pool, 0, &result), 0);
        CHECK_EQ(result.leaked_bytes, 0);
        left = result.orphans != 0;
    }
    fixture_sound(fx.pool);
}

/* ---- what is refused ---- */

static void impossible_shapes_are_refused(void)
{
    static const struct pms_field_pm bad[] = {
        {.off = 0, .kind = 0, .size = 8},
        {.off = 0, .kind = PMS_FIELD_BYTES + 1, .size = 8},
        {.off = 4, .kind = PMS_FIELD_CELL, .size = 16},
        {.off = 0, .kind = PMS_FIELD_CELL, .size = 8},
        {.off = 0, .kind = PMS_FIELD_CELL, .size = 16, .bit = 1},
        {.off = 0, .kind = PMS_FIELD_CELL, .size = 16, .count = 2},
        {.off = 8, .kind = PMS_FIELD_INT64, .size = 8, .bit = 65},
        {.off = 0, .kind = PMS_FIELD_INT64, .size = 8, .bit = 1},
        {.off = 24, .kind = PMS_FIELD_CELL, .size = 16},
        {.off = 0, .kind = PMS_FIELD_INT64, .size = 8, .count = UINT32_MAX},
        {.off = UINT32_MAX - 7, .kind = PMS_FIELD_INT64, .size = 8},
        {.off = 0, .kind = PMS_FIELD_STR, .size = 2},
        {.off = 0, .kind = PMS_FIELD_STR, .size = UINT32_MAX},
        {.off = 0, .kind = PMS_FIELD_STR, .size = 9, .count = 2},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        make_shape(32);
        shape->count = 1;
        shape->field[0] = bad[i];
        CHECK_EQ(pms_shape_check(shape), PMS_E_INVAL);
    }
    make_shape(0);
    shape->bytes = PMS_RECORD_BYTES_MAX + 8;
    CHECK_EQ(pms_shape_check(shape), PMS_E_INVAL);
    shape->bytes = 12;
    CHECK_EQ(pms_shape_check(shape), PMS_E_INVAL);
    uint64_t off = 0;
    CHECK_EQ(OP(fx.pool, pms_object_create(fx.pool, PMS_TAG_RECORD, &off)), PMS_E_INVAL);
    CHECK_EQ(OP(fx.pool, pms_object_create(fx.pool, PMS_TAG_SCHEMA, &off)), PMS_E_INVAL);
}

/* ---- damage ---- */

static void poke(uint64_t off, uint64_t word, uint64_t *old)
{
    CHECK_EQ(pms_enter_write_wait(fx.pool, NULL, -1), PMS_OK);
    *old = pms_get(fx.pool, off);
    pms_put(fx.pool, off, word);
    uint64_t ticket;
    CHECK_EQ(pms_leave_write(fx.pool, PMS_OK, &ticket), PMS_OK);
}

/* A word of the record or its schema is something else: the check says so, and mends it back. */
static void damage(uint64_t off, uint64_t word)
{
    struct pms_check_result result;
    uint64_t old, unused;
    poke(off, word, &old);
    CHECK(fixture_problems(fx.pool, 1, &result) > 0);
    poke(off, old, &unused);
    fixture_sound(fx.pool);
}

static void the_check_finds_damage(void)
{
    all_kinds();
    put_record("damage");
    CHECK_EQ(set(9, number(7)), PMS_OK);
    uint64_t body = PMS_RECORD_HOME(record);
    uint64_t first = schema + sizeof(struct pms_schema_pm);
    damage(PMS_RECORD_BYTES(record), shape->bytes + 8);
    damage(PMS_RECORD_BYTES(record), shape->bytes - 8);
    damage(PMS_RECORD_SCHEMA(record), record);
    damage(PMS_RECORD_SCHEMA(record), 8);
    damage(PMS_RECORD_BODY(record), body + 8);
    damage(PMS_RECORD_BODY(record), UINT64_MAX - 7);
    damage(body, 1ull << 5);                                /* a presence bit of nobody */
    damage(body + 8, 99);                                   /* a cell of no kind */
    damage(body + (shape->field[1].off & ~7u), 2);          /* a bool that is 2 */
    damage(body + (shape->field[3].off & ~7u), 1ull << 16); /* absent, but not zero */
    damage(first, 3);
    damage(first + 8, 8);
    damage(first + sizeof(struct pms_field_pm), 8); /* overlaps the one before */
    damage(schema + offsetof(struct pms_schema_pm, fields), 1ull << 40);
    damage(schema + offsetof(struct pms_schema_pm, fields), 3);
    damage(schema + offsetof(struct pms_schema_pm, bytes), shape->bytes + 8);
    damage(PMS_SCHEMA_TEXT(schema), PMS_TAG_INT);
    fixture_drop_object(&fx, "damage");
}

int main(void)
{
    static const char *const parent[2] = {"/dev/shm", "."};
    shape = calloc(1, sizeof *shape + FIELDS * sizeof shape->field[0]);
    CHECK(shape != NULL);
    for (int i = 0; i < 2; i++) {
        if (!fixture_usable(parent[i]))
            continue;
        fixture_make(&fx, parent[i]);
        numbers_have_limits();
        texts_arrays_and_presence();
        another_schema_keeps_what_it_names();
        teardown_goes_in_steps();
        impossible_shapes_are_refused();
        the_check_finds_damage();
        fixture_remove(&fx);
    }
    free(shape);
    return 0;
}
