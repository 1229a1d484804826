/* hostile_pools.c -- the sound pools that are then damaged. */
#include "hostile.h"
#include "record.h"

#include <fcntl.h>

#include <sys/random.h>

#include "_native/array.h"
#include "_native/vec_deque.h"

#define KINDS_BYTES (2ull << 20)
#define KILLED_BYTES (1ull << 20)
#define KINDS_LOG 16384u
#define KILLED_LOG 8192u

static uint64_t random_state = 1;

void hostile_randomize(uint64_t seed) { random_state = seed * 2 + 1; }

/* In place of the C library's, for the whole program. */
ssize_t getrandom(void *out, size_t len, unsigned flags)
{
    (void)flags;
    for (size_t i = 0; i < len; i++)
        ((uint8_t *)out)[i] = (uint8_t)(fixture_random(&random_state) >> 32);
    return (ssize_t)len;
}

static void make_pool(struct fixture *f, const char *parent, uint64_t size, uint64_t log_bytes)
{
    struct pms_options options = {
        .flag = 'n', .size = size, .log_bytes = log_bytes, .limit = size + (1ull << 20)};
    memset(f, 0, sizeof *f);
    hostile_randomize(size + log_bytes);
    snprintf(f->dir, sizeof f->dir, "%s/pmemstore_test.XXXXXX", parent);
    CHECK(mkdtemp(f->dir) != NULL);
    snprintf(f->path, sizeof f->path, "%s/pool", f->dir);
    CHECK_EQ(pms_pool_open(f->path, &options, &f->pool), PMS_OK);
    fixture_reopen(f); /* the anchor is that of an open, not of a creation */
}

static void read_file(const struct fixture *f, struct hostile_image *out)
{
    struct stat st;
    int fd = open(f->path, O_RDONLY | O_CLOEXEC);
    CHECK(fd >= 0);
    CHECK_EQ(fstat(fd, &st), 0);
    out->size = (uint64_t)st.st_size;
    out->bytes = malloc(out->size);
    CHECK(out->bytes != NULL);
    CHECK_EQ(pread(fd, out->bytes, out->size, 0), (ssize_t)out->size);
    CHECK_EQ(close(fd), 0);
}

/* ---- one of everything ---- */

static char filler[100000];

static struct pms_val bytes_of(uint32_t tag, uint64_t len)
{
    return (struct pms_val){.tag = tag, .data = filler, .len = len};
}

static void put(struct fixture *f, uint64_t dict, struct pms_key key, struct pms_val value)
{
    CHECK_EQ(OP(f->pool, pms_dict_set(f->pool, dict, &key, &value)), PMS_OK);
}

static void append(struct fixture *f, uint64_t list, struct pms_val value)
{
    CHECK_EQ(OP(f->pool, pms_list_append(f->pool, list, &value)), PMS_OK);
}

static struct pms_key int_key(uint64_t number)
{
    return (struct pms_key){.tag = PMS_TAG_INT, .stored_tag = PMS_TAG_INT, .num = number};
}

static uint64_t bits_of(double number)
{
    uint64_t bits;
    memcpy(&bits, &number, 8);
    return bits;
}

static void fill_kinds(struct fixture *f, uint64_t dict, uint64_t small)
{
    const struct pms_key key[] = {
        {.tag = PMS_TAG_NONE, .stored_tag = PMS_TAG_NONE},
        {.tag = PMS_TAG_INT, .stored_tag = PMS_TAG_TRUE, .num = 1},
        {.tag = PMS_TAG_INT, .stored_tag = PMS_TAG_FALSE},
        {.tag = PMS_TAG_INT, .stored_tag = PMS_TAG_FLOAT, .num = 2, .stored_num = bits_of(2)},
        {.tag = PMS_TAG_FLOAT, .stored_tag = PMS_TAG_FLOAT, .num = bits_of(0.5)},
        {.tag = PMS_TAG_STR, .stored_tag = PMS_TAG_STR, .data = filler, .len = 1025},
        {.tag = PMS_TAG_BYTES, .stored_tag = PMS_TAG_BYTES, .data = "b\0c", .len = 3},
        {.tag = PMS_TAG_PACKED,
         .stored_tag = PMS_TAG_PACKED,
         .data = filler,
         .len = 21,
         .stored = filler,
         .stored_len = 33},
    };
    const struct pms_val value[] = {
        {.tag = PMS_TAG_NONE},
        {.tag = PMS_TAG_TRUE},
        {.tag = PMS_TAG_FALSE},
        {.tag = PMS_TAG_FLOAT, .num = bits_of(0.25)},
        bytes_of(PMS_TAG_STR, 5),
        bytes_of(PMS_TAG_BIGINT, 30),
        bytes_of(PMS_TAG_BYTES, 2000),
        bytes_of(PMS_TAG_PACKED, 40000),
        bytes_of(PMS_TAG_STR, 9000), /* a block of a large span */
        {.tag = PMS_TAG_STR, .data = "lone \xed\xb2\x80 surrogate", .len = 18},
    };
    for (size_t i = 0; i < sizeof key / sizeof key[0]; i++)
        put(f, dict, key[i], value[i]);
    for (size_t i = 0; i < sizeof value / sizeof value[0]; i++)
        append(f, small, value[i]);
}

/* 149 buckets: all blocks, a node and a segment; at 4 entries to each, some have a further line. */
static void fill_wide(struct fixture *f, uint64_t dict)
{
    fixture_begin(f->pool);
    for (uint64_t i = 0; i < 600; i++)
        put(f, dict, int_key(i), (struct pms_val){.tag = PMS_TAG_INT, .num = i});
    fixture_commit(f->pool);
}

/* A set of many elements, and a deque that is full. */
static void fill_set_and_deque(struct fixture *f, uint64_t set, uint64_t deque)
{
    const struct pms_key packed = {
        .tag = PMS_TAG_PACKED, .stored_tag = PMS_TAG_PACKED, .data = filler, .len = 18};
    const struct pms_val none = {.tag = PMS_TAG_NONE}, text = bytes_of(PMS_TAG_STR, 30);
    put(f, set, packed, none);
    put(f, set, fixture_key("element"), none);
    CHECK_EQ(OP(f->pool, pms_deque_set_bound(f->pool, deque, 71)), PMS_OK);
    fixture_begin(f->pool);
    for (uint64_t i = 0; i < 30; i++) /* 7 buckets, in blocks 0, 1 and 2 */
        put(f, set, int_key(i), none);
    for (uint64_t i = 0; i < 75; i++) /* a tree of height 1 */
        CHECK_EQ(OP(f->pool, pms_deque_push(f->pool, deque, i % 3 == 0, &text)), PMS_OK);
    fixture_commit(f->pool);
}

static uint64_t put_object(struct fixture *f, uint32_t tag, const char *name)
{
    uint64_t off = 0;
    CHECK_EQ(OP(f->pool, fixture_put_object(f, tag, name, &off)), PMS_OK);
    return off;
}

static void put_array(struct fixture *f, const char *name, const char *type, uint32_t item,
                      uint64_t rows, uint64_t columns)
{
    uint64_t off = put_object(f, PMS_TAG_ARRAY, name);
    struct pms_val text = {.tag = PMS_TAG_STR, .data = type, .len = strlen(type)};
    struct pms_array_shape shape = {
        .item = item, .ndim = columns ? 2 : 1, .shape = {rows, columns}};
    CHECK_EQ(OP(f->pool, pms_array_setup(f->pool, off, &text, &shape, filler)), PMS_OK);
}

/* ---- sorted dicts and sets ---- */

static void put_sorted(struct fixture *f, uint64_t sorted, uint32_t order, const void *image,
                       uint64_t len, struct pms_val stored, struct pms_val value)
{
    struct pms_order_key key = {.order = order, .image = image, .len = len, .stored = stored};
    key.prefix = pms_image_prefix(image, len);
    CHECK_EQ(OP(f->pool, pms_sorted_set(f->pool, sorted, &key, &value)), PMS_OK);
}

static void put_number(struct fixture *f, uint64_t sorted, int64_t number, struct pms_val value)
{
    uint8_t image[PMS_IMAGE_NUMBER_MAX];
    put_sorted(f, sorted, PMS_ORDER_NUMBER, image, pms_image_int(number, image),
               (struct pms_val){.tag = PMS_TAG_INT, .num = (uint64_t)number}, value);
}

/* Numbers of all kinds, and values of all kinds. */
static void fill_numbers(struct fixture *f, uint64_t sorted)
{
    static const uint8_t large[] = {0xe0, 70, 0};                  /* 2^70 */
    static const uint8_t bytes[] = {0, 0, 0, 0, 0, 0, 0, 0, 0x40}; /* the same, stored */
    static const uint8_t eighth[] = {0xdf, 0xfd, 0};
    uint8_t image[PMS_IMAGE_NUMBER_MAX];
    uint32_t len = pms_image_int(1, image);
    put_sorted(f, sorted, PMS_ORDER_NUMBER, image, len, (struct pms_val){.tag = PMS_TAG_TRUE},
               (struct pms_val){.tag = PMS_TAG_SORTED_DICT, .num = sorted});
    len = pms_image_float(0.5, image);
    put_sorted(f, sorted, PMS_ORDER_NUMBER, image, len,
               (struct pms_val){.tag = PMS_TAG_FLOAT, .num = bits_of(0.5)},
               bytes_of(PMS_TAG_STR, 50));
    put_sorted(f, sorted, PMS_ORDER_NUMBER, large, 3,
               (struct pms_val){.tag = PMS_TAG_BIGINT, .data = bytes, .len = 9},
               bytes_of(PMS_TAG_BYTES, 3000));
    put_sorted(f, sorted, PMS_ORDER_NUMBER, eighth, 3, bytes_of(PMS_TAG_PACKED, 12),
               bytes_of(PMS_TAG_BIGINT, 20));
    for (int64_t i = 0; i < 90; i++) /* a root of height 1, and negative ones before all */
        put_number(f, sorted, (i + 2) * (i % 2 ? -1 : 1),
                   (struct pms_val){.tag = PMS_TAG_INT, .num = (uint64_t)i});
}

static void fill_sorted(struct fixture *f, uint64_t numbers, uint64_t tall, uint64_t texts,
                        uint64_t tuples)
{
    const struct pms_val none = {.tag = PMS_TAG_NONE};
    static const uint64_t len[] = {0, 3, 8, 9, 40, 1024, 1500};
    fill_numbers(f, numbers);
    for (int64_t i = 1080; i > 0; i--) /* downwards leaves are half full: of height 2 */
        put_number(f, tall, i, none);
    CHECK_EQ(pms_get(f->pool, tall + offsetof(struct pms_sorted_pm, height)), 2);
    for (size_t i = 0; i < sizeof len / sizeof len[0]; i++)
        put_sorted(f, texts, PMS_ORDER_STR, filler, len[i], bytes_of(PMS_TAG_STR, len[i]),
                   none);
    for (int64_t i = 0; i < 20; i++) {
        uint8_t image[2 + PMS_IMAGE_NUMBER_MAX] = {PMS_ORDER_NUMBER};
        uint64_t n = 1 + pms_image_int(i * 5, image + 1);
        image[n++] = 0;
        put_sorted(f, tuples, PMS_ORDER_TUPLE, image, n,
                   bytes_of(PMS_TAG_PACKED, 3 + 3 * (uint64_t)i), bytes_of(PMS_TAG_STR, 9));
    }
}

/* Objects that nobody refers to: handles keep them until the pool is closed. */
static void leave_orphans(struct fixture *f)
{
    const char *const name[3] = {"orphan", "second", "third"};
    struct pms_handle *handle[3];
    for (int i = 0; i < 3; i++) {
        uint32_t tag = i == 1 ? PMS_TAG_DICT : PMS_TAG_LIST;
        uint64_t off = put_object(f, tag, name[i]);
        struct pms_key key = fixture_key(name[i]);
        if (tag == PMS_TAG_LIST)
            append(f, off, bytes_of(PMS_TAG_BYTES, 50));
        CHECK_EQ(pms_enter_read_wait(f->pool, NULL, -1), PMS_OK);
        handle[i] = pms_handle_get(f->pool, off, tag);
        pms_leave_read(f->pool);
        CHECK(handle[i] != NULL);
        CHECK_EQ(OP(f->pool, pms_dict_del(f->pool, f->root, &key)), PMS_OK);
    }
    fixture_sound(f->pool);
    CHECK_EQ(pms_pool_checkpoint(f->pool), PMS_OK);
    CHECK_EQ(pms_pool_close(f->pool), PMS_OK);
    for (int i = 0; i < 3; i++)
        pms_handle_put(handle[i]);
    pms_pool_drop(f->pool);
    f->pool = NULL;
}

/* Two records of one class: one as it was made, one that has got another schema since. */
static void make_records(struct fixture *f, uint64_t list)
{
    static const struct pms_field_pm field[7] = {
        {.off = 8, .kind = PMS_FIELD_CELL, .size = 16},
        {.off = 24, .kind = PMS_FIELD_INT32, .bit = 1, .size = 4},
        {.off = 28, .kind = PMS_FIELD_BOOL, .size = 1},
        {.off = 30, .kind = PMS_FIELD_STR, .size = 12},
        {.off = 44, .kind = PMS_FIELD_FLOAT32, .count = 3, .size = 4},
        {.off = 56, .kind = PMS_FIELD_CELL, .size = 16},
        {.off = 72, .kind = PMS_FIELD_BYTES, .bit = 2, .size = 40}};
    const int32_t from[7] = {5, 1, 2, 3, 4, 0, -1};
    const struct pms_val value[7] = {[6] = {.tag = PMS_TAG_BYTES, .data = filler, .len = 38}};
    struct pms_val schema[2] = {{.tag = PMS_TAG_SCHEMA}, {.tag = PMS_TAG_SCHEMA}};
    struct pms_val record = {.tag = PMS_TAG_RECORD}, text = bytes_of(PMS_TAG_PACKED, 40);
    uint64_t dict = 0;
    struct pms_key name = fixture_key("Record");
    struct pms_shape *shape = calloc(1, sizeof *shape + sizeof field);
    CHECK(shape != NULL);
    *shape = (struct pms_shape){.bytes = 112, .count = 7, .fingerprint = 7};
    memcpy(shape->field, field, sizeof field);
    CHECK_EQ(OP(f->pool, pms_schema_dict(f->pool, 1, &dict)), PMS_OK);
    fixture_begin(f->pool);
    for (int i = 0; i < 2; i++) {
        CHECK_EQ(OP(f->pool, pms_schema_create(f->pool, shape, &text, &schema[i].num)), PMS_OK);
        CHECK_EQ(OP(f->pool, pms_record_create(f->pool, schema[0].num, shape, &record.num)),
                 PMS_OK);
        append(f, list, record);
        struct pms_val stored[3] = {bytes_of(PMS_TAG_STR, 100),
                                    {.tag = PMS_TAG_INT, .num = 5},
                                    {.tag = PMS_TAG_RECORD, .num = record.num}};
        CHECK_EQ(OP(f->pool, pms_record_set(f->pool, record.num, shape, 0, &stored[0])),
                 PMS_OK);
        CHECK_EQ(OP(f->pool, pms_record_set(f->pool, record.num, shape, 1, &stored[1])),
                 PMS_OK);
        CHECK_EQ(OP(f->pool, pms_record_set(f->pool, record.num, shape, 5, &stored[2])),
                 PMS_OK);
    }
    put(f, dict, name, schema[1]);
    CHECK_EQ(OP(f->pool, pms_record_reshape(f->pool, record.num, shape, schema[1].num, shape,
                                            from, value)),
             PMS_OK);
    fixture_commit(f->pool);
    free(shape);
}

void hostile_make_kinds(const char *parent, struct hostile_image *out)
{
    struct fixture f;
    memset(filler, 'x', sizeof filler);
    make_pool(&f, parent, KINDS_BYTES, KINDS_LOG);
    uint64_t dict = put_object(&f, PMS_TAG_DICT, "kinds");
    uint64_t list = put_object(&f, PMS_TAG_LIST, "list");
    uint64_t small = put_object(&f, PMS_TAG_LIST, "small");
    uint64_t tiny = put_object(&f, PMS_TAG_LIST, "tiny");
    uint64_t middle = put_object(&f, PMS_TAG_LIST, "middle");
    uint64_t set = put_object(&f, PMS_TAG_SET, "set");
    uint64_t deque = put_object(&f, PMS_TAG_DEQUE, "deque");
    fill_kinds(&f, dict, small);
    fill_set_and_deque(&f, set, deque);
    fixture_begin(f.pool);
    for (uint64_t i = 100; i < 140; i++) /* blocks 0 to 3 of buckets */
        put(&f, dict, int_key(i), (struct pms_val){.tag = PMS_TAG_INT, .num = i});
    for (uint64_t i = 0; i < 63 * 63 + 70; i++) /* a tree of height 2 */
        append(&f, list, (struct pms_val){.tag = PMS_TAG_INT, .num = i});
    for (uint64_t i = 0; i < 150; i++) /* of height 1 */
        append(&f, middle, (struct pms_val){.tag = PMS_TAG_INT, .num = i});
    uint64_t numbers = put_object(&f, PMS_TAG_SORTED_DICT, "sorted numbers");
    uint64_t tall = put_object(&f, PMS_TAG_SORTED_SET, "tall");
    uint64_t texts = put_object(&f, PMS_TAG_SORTED_SET, "texts");
    fill_sorted(&f, numbers, tall, texts, put_object(&f, PMS_TAG_SORTED_DICT, "tuples"));
    fixture_commit(f.pool);
    make_records(&f, tiny);
    append(&f, small, (struct pms_val){.tag = PMS_TAG_LIST, .num = small});
    append(&f, tiny, (struct pms_val){.tag = PMS_TAG_LIST, .num = small});
    append(&f, tiny, (struct pms_val){.tag = PMS_TAG_DICT, .num = f.root});
    put_array(&f, "array", "<f8", 8, 100, 0);
    put_array(&f, "records", "[[\"a\", \"<i2\"], [\"b\", \"|S3\"]]", 5, 9, 3);
    put_array(&f, "none", "<M8[ns]", 8, 0, 0);
    put_array(&f, "many", "|u1", 1, 40000, 0);
    fill_wide(&f, put_object(&f, PMS_TAG_DICT, "wide"));
    leave_orphans(&f);
    read_file(&f, out);
    fixture_remove(&f);
}

/* ---- killed ---- */

static struct hostile_look seen;

static void note_state(struct fixture *f, struct hostile_killed *k)
{
    CHECK(k->states < HOSTILE_STATES_MAX);
    hostile_walk(f->pool, &seen);
    CHECK_EQ(seen.status, PMS_OK);
    k->state[k->states++] = seen.state;
}

static void many(struct fixture *f, uint64_t list, uint64_t n)
{
    for (uint64_t i = 0; i < n; i++)
        append(f, list, bytes_of(PMS_TAG_BYTES, i % 7 ? 8 : 40));
}

void hostile_make_killed(const char *parent, uint64_t open_items, struct hostile_killed *out)
{
    struct fixture f;
    memset(out, 0, sizeof *out);
    memset(filler, 'x', sizeof filler);
    make_pool(&f, parent, KILLED_BYTES, KILLED_LOG);
    uint64_t list = put_object(&f, PMS_TAG_LIST, "list");
    many(&f, list, 5);
    fixture_reopen(&f);
    note_state(&f, out);
    put(&f, f.root, int_key(1), (struct pms_val){.tag = PMS_TAG_INT, .num = 1});
    note_state(&f, out);
    put(&f, f.root, fixture_key("text"), bytes_of(PMS_TAG_STR, 30));
    note_state(&f, out);
    fixture_begin(f.pool); /* larger than the overlay may be: direct media write UNDO, COMMIT */
    many(&f, list, 20);
    fixture_commit(f.pool);
    note_state(&f, out);
    append(&f, list, (struct pms_val){.tag = PMS_TAG_INT, .num = 7});
    note_state(&f, out);
    put(&f, f.root, int_key(1), (struct pms_val){.tag = PMS_TAG_INT, .num = 2});
    note_state(&f, out);
    if (open_items) {
        fixture_begin(f.pool);
        many(&f, list, open_items);
    }
    read_file(&f, &out->image); /* as if the process had been killed here */
    if (open_items)
        CHECK_EQ(pms_tx_abort(f.pool, 1), PMS_OK);
    fixture_remove(&f);
}

/* ---- inputs ---- */

void hostile_make_bases(struct hostile_image out[HOSTILE_BASES])
{
    const char *shm = fixture_usable("/dev/shm") ? "/dev/shm" : ".";
    static const uint64_t open_items[HOSTILE_BASES] = {0, 0, 20, 400, 0};
    struct hostile_killed killed;
    hostile_make_kinds(shm, &out[0]);
    for (uint32_t i = 1; i < HOSTILE_BASES; i++) { /* the last one has the frames of a file */
        hostile_make_killed(i == HOSTILE_BASES - 1 ? "." : shm, open_items[i], &killed);
        out[i] = killed.image;
    }
}

void hostile_play(struct hostile_stage *stage, const uint8_t *data, size_t size)
{
    struct hostile_result result;
    struct hostile_stage *s = &stage[data[0] % HOSTILE_BASES];
    uint64_t seed = 1 + ((uint64_t)data[2] | (uint64_t)data[3] << 8) * 0x9e3779b97f4a7c15ull;
    for (size_t at = HOSTILE_HEAD; at + 4 <= size;) {
        uint64_t off = 0;
        memcpy(&off, data + at, 3);
        size_t n = data[at + 3] <= size - at - 4 ? data[at + 3] : size - at - 4;
        hostile_put(s, off * 8, data + at + 4, n);
        at += 4 + n;
    }
    if (data[1] & HOSTILE_SEAL)
        hostile_seal(s);
    hostile_randomize(7);
    hostile_try(s, data[1] & HOSTILE_READ ? 'r' : 'w', seed, &result);
    hostile_mend(s);
}
