/* test_check.c -- the check finds damage in every structure, and nothing crashes on it.
 *
 * A pool with one of everything is made and closed.  Then, for each structure, a copy of the
 * file gets a few wrong bytes there: opening it fails with a status that names the reason, or
 * the check finds a problem.  Last, wrong bytes at random places meet all operations: any
 * status is fine, a crash is not.
 */
#include "_native/table_impl.h"
#include "_native/vec_deque.h"
#include "pool_fixture.h"

#include <fcntl.h>

#define TARGETS_MAX 512
#define ROUNDS 150

struct target {
    const char *name;
    uint64_t off;
    uint64_t flip; /* bits of the word */
};

static struct fixture fx;
static struct target target[TARGETS_MAX];
static uint32_t target_count;
static uint64_t dict, list, small, tiny, set, deque;
static uint8_t *image;
static uint64_t image_bytes;

static void aim(const char *name, uint64_t off, uint64_t flip)
{
    CHECK(target_count < TARGETS_MAX);
    target[target_count++] = (struct target){name, off, flip};
}

/* ---- a pool with one of everything ---- */

static int put(uint64_t into, const struct pms_key *key, const struct pms_val *value)
{
    return pms_dict_set(fx.pool, into, key, value);
}

static struct pms_val bytes_value(uint32_t tag, const void *data, uint64_t len)
{
    return (struct pms_val){.tag = tag, .data = data, .len = len};
}

static void fill_kinds(void)
{
    static char big[100000];
    memset(big, 'x', sizeof big);
    const double half = 0.5;
    uint64_t bits;
    memcpy(&bits, &half, 8);
    struct pms_key keys[] = {
        {.tag = PMS_TAG_NONE, .stored_tag = PMS_TAG_NONE},
        {.tag = PMS_TAG_INT, .stored_tag = PMS_TAG_TRUE, .num = 1},
        {.tag = PMS_TAG_INT, .stored_tag = PMS_TAG_FALSE, .num = 0},
        {.tag = PMS_TAG_FLOAT, .stored_tag = PMS_TAG_FLOAT, .num = bits},
        {.tag = PMS_TAG_STR, .stored_tag = PMS_TAG_STR, .data = big, .len = 1025},
        {.tag = PMS_TAG_BYTES, .stored_tag = PMS_TAG_BYTES, .data = big, .len = 40000},
        {.tag = PMS_TAG_BYTES, .stored_tag = PMS_TAG_BYTES, .data = "b\0c", .len = 3},
        {.tag = PMS_TAG_PACKED,
         .stored_tag = PMS_TAG_PACKED,
         .data = big,
         .len = 21,
         .stored = big,
         .stored_len = 33},
    };
    struct pms_val values[] = {
        {.tag = PMS_TAG_NONE},
        {.tag = PMS_TAG_TRUE},
        {.tag = PMS_TAG_FALSE},
        {.tag = PMS_TAG_FLOAT, .num = bits},
        bytes_value(PMS_TAG_STR, big, 5),
        bytes_value(PMS_TAG_STR, big, 500),
        bytes_value(PMS_TAG_BYTES, big, 20000), /* in a span of 64 pages */
        bytes_value(PMS_TAG_PACKED, big, sizeof big),
    };
    for (int i = 0; i < 8; i++)
        CHECK_EQ(OP(fx.pool, put(dict, &keys[i], &values[i])), PMS_OK);
    for (int i = 0; i < 8; i++)
        CHECK_EQ(OP(fx.pool, pms_list_append(fx.pool, small, &values[i])), PMS_OK);
    struct pms_val surrogate = bytes_value(PMS_TAG_STR, "lone \xed\xb2\x80 surrogate", 18);
    CHECK_EQ(OP(fx.pool, pms_list_append(fx.pool, small, &surrogate)), PMS_OK);
}

/* Lists that refer to each other and to themselves: cycles from the root are no leak. */
static void fill_objects(void)
{
    struct pms_val value = {.tag = PMS_TAG_LIST, .num = small};
    CHECK_EQ(OP(fx.pool, pms_list_append(fx.pool, small, &value)), PMS_OK);
    CHECK_EQ(OP(fx.pool, pms_list_append(fx.pool, tiny, &value)), PMS_OK);
    value = (struct pms_val){.tag = PMS_TAG_DICT, .num = fx.root};
    CHECK_EQ(OP(fx.pool, pms_list_append(fx.pool, tiny, &value)), PMS_OK);
}

/* A set of three kinds of elements, and a deque that is full. */
static int fill_set_and_deque(void)
{
    const struct pms_val none = {.tag = PMS_TAG_NONE}, item = {.tag = PMS_TAG_INT, .num = 5};
    struct pms_key elements[] = {fixture_key("element"),
                                 fixture_key("another"),
                                 {.tag = PMS_TAG_INT, .stored_tag = PMS_TAG_INT, .num = 7}};
    PMS_TRY(fixture_put_object(&fx, PMS_TAG_SET, "set", &set));
    for (int i = 0; i < 3; i++)
        PMS_TRY(put(set, &elements[i], &none));
    PMS_TRY(fixture_put_object(&fx, PMS_TAG_DEQUE, "deque", &deque));
    PMS_TRY(pms_deque_set_bound(fx.pool, deque, 5));
    for (int i = 0; i < 6; i++)
        PMS_TRY(pms_deque_push(fx.pool, deque, PMS_DEQUE_RIGHT, &item));
    return PMS_OK;
}

static void fill(void)
{
    CHECK_EQ(OP(fx.pool, fixture_put_object(&fx, PMS_TAG_DICT, "dict", &dict)), PMS_OK);
    CHECK_EQ(OP(fx.pool, fixture_put_object(&fx, PMS_TAG_LIST, "list", &list)), PMS_OK);
    CHECK_EQ(OP(fx.pool, fixture_put_object(&fx, PMS_TAG_LIST, "small", &small)), PMS_OK);
    CHECK_EQ(OP(fx.pool, fixture_put_object(&fx, PMS_TAG_LIST, "tiny", &tiny)), PMS_OK);
    fill_kinds();
    fill_objects();
    CHECK_EQ(OP(fx.pool, fill_set_and_deque()), PMS_OK);
    fixture_begin(fx.pool);
    for (uint64_t i = 100; i < 9500; i++) {
        struct pms_key key = {.tag = PMS_TAG_INT, .stored_tag = PMS_TAG_INT, .num = i};
        struct pms_val value = {.tag = PMS_TAG_INT, .num = i};
        CHECK_EQ(OP(fx.pool, put(dict, &key, &value)), PMS_OK);
        CHECK_EQ(OP(fx.pool, pms_list_append(fx.pool, list, &value)), PMS_OK);
    }
    fixture_commit(fx.pool);
}

/* Two orphans, kept by handles until the pool is closed. */
static void leave_orphans(uint64_t orphan[2])
{
    const char *name[2] = {"first", "second"};
    struct pms_handle *handle[2];
    for (int i = 0; i < 2; i++) {
        struct pms_key key = fixture_key(name[i]);
        CHECK_EQ(OP(fx.pool, fixture_put_object(&fx, PMS_TAG_LIST, name[i], &orphan[i])),
                 PMS_OK);
        CHECK_EQ(pms_enter_read_wait(fx.pool, NULL, -1), PMS_OK);
        handle[i] = pms_handle_get(fx.pool, orphan[i], PMS_TAG_LIST);
        pms_leave_read(fx.pool);
        CHECK(handle[i] != NULL);
        CHECK_EQ(OP(fx.pool, pms_dict_del(fx.pool, fx.root, &key)), PMS_OK);
    }
    fixture_sound(fx.pool);
    CHECK_EQ(pms_pool_checkpoint(fx.pool), PMS_OK);
    CHECK_EQ(pms_pool_close(fx.pool), PMS_OK);
    for (int i = 0; i < 2; i++)
        pms_handle_put(handle[i]);
    pms_pool_drop(fx.pool);
    fx.pool = NULL;
}

/* ---- where to damage it ---- */

#define FIELD(type, off, field) ((off) + offsetof(struct type, field))

static uint64_t word(uint64_t off) { return pms_get(fx.pool, off); }

static void aim_at_page_zero(void)
{
    for (uint64_t i = 0; i < 2; i++) {
        uint64_t super = PMS_SUPER_OFF + i * PMS_PAGE, anchor = PMS_ANCHOR_OFF + i * PMS_PAGE;
        aim("behind the superblock", super + PMS_PAGE - 8, 1);
        aim("behind the anchor", anchor + 64, 1ull << 63);
    }
    aim("root", FIELD(pms_root_pm, PMS_ROOT_OFF, root), 1ull << 20);
    aim("root, not aligned", FIELD(pms_root_pm, PMS_ROOT_OFF, root), 8);
    aim("root, far outside", FIELD(pms_root_pm, PMS_ROOT_OFF, root), 1ull << 60);
    aim("orphans", FIELD(pms_root_pm, PMS_ROOT_OFF, orphans), 64);
    aim("top, too high", FIELD(pms_root_pm, PMS_ROOT_OFF, top), 1ull << 40);
    aim("top, too low", FIELD(pms_root_pm, PMS_ROOT_OFF, top),
        word(FIELD(pms_root_pm, PMS_ROOT_OFF, top)));
    aim("root page reserve", FIELD(pms_root_pm, PMS_ROOT_OFF, zero), 2);
    aim("behind the root", PMS_ROOT_OFF + 2048, 2);
    aim("reserve before the log", PMS_LOG_OFF - 8, 4);
}

static uint64_t head_of_kind(uint32_t kind)
{
    uint64_t table = fx.pool->super.regions[0].start;
    uint64_t top = word(FIELD(pms_root_pm, PMS_ROOT_OFF, top)) - table / PMS_PAGE;
    uint64_t pages = 1;
    for (uint64_t i = 0; i < top; i += pages) {
        uint64_t head = word(table + i * PMS_DESC_BYTES);
        pages = PMS_DESC_KIND(head) == PMS_PAGE_FREE ? 1 : PMS_DESC_PAGES(head);
        if (PMS_DESC_KIND(head) == kind)
            return table + i * PMS_DESC_BYTES;
    }
    CHECK(!"a page of each kind");
    return 0;
}

static void aim_at_heap(void)
{
    uint64_t table = fx.pool->super.regions[0].start;
    aim("descriptor of the table", table, 1);
    aim("descriptor of a page never used",
        table + PMS_DESC_BYTES *
                    (word(FIELD(pms_root_pm, PMS_ROOT_OFF, top)) + 3 - table / PMS_PAGE),
        3);
    for (uint32_t kind = PMS_PAGE_SPAN; kind <= PMS_PAGE_RUN; kind++) {
        uint64_t head = head_of_kind(kind);
        aim("descriptor kind", head, 0x40);
        aim("descriptor kind", head, 3);
        aim("descriptor class", head, 0xff00);
        aim("descriptor class", head, 0x0100);
        aim("descriptor pages", head, 0xfff0000);
        aim("descriptor second word", head + 8, 1);
        aim("first word behind a head", head + 16, 1);
    }
    uint64_t run = head_of_kind(PMS_PAGE_RUN);
    aim("descriptor inside a run", run + PMS_DESC_BYTES, PMS_PAGE_RUN | 1 << 16);
    aim("a run is gone", run, word(run));
    aim("bits behind the last block", head_of_kind(PMS_PAGE_BIGSPAN) + 64 * 16 - 8, 1ull << 63);
}

static void aim_at_object(uint64_t off)
{
    aim("object magic", off, 1ull << 16);
    aim("object tag", off, 1);
    aim("object reserve", off, 1ull << 40);
    aim("object refs", FIELD(pms_object_pm, off, refs), 1);
    aim("object refs, negative", FIELD(pms_object_pm, off, refs), 1ull << 63);
    aim("object orphan link", FIELD(pms_object_pm, off, orphan_next), 64);
    aim("object orphan link", FIELD(pms_object_pm, off, orphan_prev), 64);
}

/* The first bucket with (or without) a further line, from `at` on. */
static uint64_t bucket_with(uint64_t at, int more)
{
    while (word(at) == 0 || PMS_LINK_IS_MORE(word(PMS_LINE_MORE(at))) != more)
        at += PMS_LINE;
    return at;
}

static void aim_at_line(const char *name, uint64_t at)
{
    uint64_t end = at;
    while (word(end) && end < PMS_LINE_MORE(at))
        end += 8;
    aim(name, at, 1);
    aim(name, at, 1ull << 33);
    aim(name, at, 1ull << 41); /* its tag */
    aim(name, at, 1ull << 63);
    aim(name, at, word(at));                /* a gap */
    aim(name, at, word(at) ^ word(at + 8)); /* twice */
    if (end < PMS_LINE_MORE(at)) {
        aim(name, end, word(at));
        aim(name, end, 1ull << 63);
        aim(name, PMS_LINE_MORE(at), 1);
        aim(name, PMS_LINE_MORE(at), PMS_LINK(at, PMS_LINK_MORE));
    }
}

static void aim_at_dict(void)
{
    uint64_t line = FIELD(pms_dict_pm, dict, line),
             shape = word(FIELD(pms_dict_pm, dict, shape));
    uint64_t node = word(line + 8 * PMS_DICT_BLOCKS), segment = word(node + 16);
    CHECK_EQ(shape & 0xff, 11);
    aim("dict count", FIELD(pms_dict_pm, dict, count), 1);
    aim("dict first", FIELD(pms_dict_pm, dict, first), 16);
    aim("dict first is gone", FIELD(pms_dict_pm, dict, first),
        word(FIELD(pms_dict_pm, dict, first)));
    aim("dict last", FIELD(pms_dict_pm, dict, last), 1ull << 30);
    aim("dict level", FIELD(pms_dict_pm, dict, shape), 1);
    aim("dict level", FIELD(pms_dict_pm, dict, shape), 0x80);
    aim("dict split", FIELD(pms_dict_pm, dict, shape), 1 << 15);
    for (uint64_t at = line; at < line + PMS_LINE; at += 8) {
        aim("word of a block of buckets", at, 1ull << 12);
        aim("word of a block of buckets", at, 1);
        aim("word of a block of buckets", at, word(at));
    }
    aim("word of no segment", node, segment);
    aim("word of no segment", node + 8, 1);
    aim("word of a segment", node + 16, 1ull << 12);
    aim("word of a segment", node + 16, segment ^ word(node + 24));
    aim("word of a segment", node + 16, 32); /* the middle of a line */
    aim("word of a segment to come", node + PMS_NODE_BYTES - 8, 1ull << 20);
    aim_at_line("bucket in a block", bucket_with(word(line + 24), 0));
    aim_at_line("bucket in a segment", bucket_with(segment, 0));
    uint64_t more = bucket_with(segment, 1), further = PMS_LINK_OFF(word(PMS_LINE_MORE(more)));
    aim("word to a further line", PMS_LINE_MORE(more), 1);
    aim("word to a further line", PMS_LINE_MORE(more), 1ull << 41);
    aim("word to a further line", PMS_LINE_MORE(more), 1ull << 63);
    aim("word to a further line", PMS_LINE_MORE(more), word(PMS_LINE_MORE(more)));
    aim_at_line("further line", further);
    aim("further line of one link", further + 8, word(further + 8));
}

static uint64_t value_of(uint64_t entry)
{
    uint64_t cell;
    CHECK_EQ(pms_entry_value(fx.pool, entry, &cell), PMS_OK);
    return cell;
}

static void aim_at_entry(const char *name, uint64_t entry)
{
    aim(name, FIELD(pms_entry_pm, entry, next), 1);
    aim(name, FIELD(pms_entry_pm, entry, next), word(FIELD(pms_entry_pm, entry, next)));
    aim(name, FIELD(pms_entry_pm, entry, next), 1ull << 63);
    aim(name, FIELD(pms_entry_pm, entry, next), 1ull << 45);
    aim(name, FIELD(pms_entry_pm, entry, prev), 1);
    aim(name, FIELD(pms_entry_pm, entry, prev), 1ull << 50);
    aim(name, value_of(entry), 0x80);
    aim(name, value_of(entry), 0xf0000);
    if (PMS_CELL_FLAGS(word(value_of(entry))) == PMS_CELL_INNER)
        aim("length of inner bytes", value_of(entry), 1ull << 42);
}

static void aim_at_entries(void)
{
    uint64_t entry = 0;
    for (int i = 0; i < 20; i++) {
        CHECK_EQ(pms_dict_next(fx.pool, dict, &entry), PMS_OK);
        if (i < 8 || i == 15)
            aim_at_entry("entry", entry);
        if (i == 3 || i == 15)
            aim("number key", PMS_ENTRY_KEY(entry), 1);
        if (i == 6)
            aim("padding of a key", PMS_ENTRY_KEY(entry), 1ull << 63);
        if (i == 4 || i == 5 || i == 7) {
            uint64_t far = word(PMS_ENTRY_KEY(entry));
            aim("long key, place", PMS_ENTRY_KEY(entry), 1ull << 40);
            aim("long key, tag", far, 64);
            aim("long key, length", far, 1ull << 50);
            aim("long key, stored length", far + 8, 1ull << 31);
            aim("long key, reserve", far + 8, 1ull << 32);
            aim("long key, byte", far + 16, 1);
        }
    }
}

static void aim_at_lists(void)
{
    uint64_t node = word(FIELD(pms_list_pm, list, root)), kid = word(node + 16);
    uint64_t leaf = word(kid + 16), cells, off;
    CHECK_EQ(word(FIELD(pms_list_pm, list, height)), 2);
    aim("list count", FIELD(pms_list_pm, list, count), 2);
    aim("list root", FIELD(pms_list_pm, list, root), 1024);
    aim("list root is gone", FIELD(pms_list_pm, list, root), node);
    aim("list height", FIELD(pms_list_pm, list, height), 1);
    aim("list height", FIELD(pms_list_pm, list, height), 1ull << 32);
    aim("list bound", FIELD(pms_list_pm, list, bound), 1);
    aim("node magic", node, 1ull << 40);
    aim("node kids", node, 1);
    aim("node kids", kid, 0x40);
    aim("node reserve", kid + 8, 1);
    aim("node kid", node + 16, 1ull << 12);
    aim("node kid is its parent", kid + 16, leaf ^ kid);
    aim("node kid twice", kid + 16, leaf ^ word(kid + 32));
    aim("node count", node + 24, 1);
    aim("node count", kid + 24, 1ull << 60);
    aim("leaf magic", leaf, 1ull << 33);
    aim("leaf room", leaf, 1ull << 16);
    aim("leaf cells", leaf, 2);
    aim("leaf reserve", leaf + 8, 1);
    aim("cell tag", leaf + 16, 0x10);
    aim("cell length of a number", leaf + 16, 1ull << 32);
    for (uint64_t i = 0; i < 10; i++) {
        CHECK_EQ(pms_list_run(fx.pool, small, i, &off, &cells), PMS_OK);
        aim("small cell tag", off, 0xc0);
        aim("small cell reserve", off, 0xff0000);
        if (i < 3)
            aim("word of a cell without one", off + 8, 1);
        if (i == 4)
            aim("padding of a short cell", off + 8, 1ull << 63);
        if (i == 5 || i == 8)
            aim("byte of a str", word(off + 8), 0x80);
        if (i >= 5)
            aim("place of a value", off + 8, 1ull << 20);
        if (i == 9)
            aim("tag of an object", off, 1);
    }
}

static void aim_at_set_and_deque(void)
{
    uint64_t entry = 0;
    CHECK_EQ(pms_list_len(fx.pool, deque), 4);
    aim("bound of a deque", FIELD(pms_list_pm, deque, bound), 5 ^ 4);
    aim("bound of a deque", FIELD(pms_list_pm, deque, bound), 5 ^ 1);
    aim("deque count", FIELD(pms_list_pm, deque, count), 8);
    aim("set count", FIELD(pms_dict_pm, set, count), 2);
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(pms_dict_next(fx.pool, set, &entry), PMS_OK);
        aim_at_entry("element", entry);
        aim("value of an element", value_of(entry), PMS_TAG_NONE ^ PMS_TAG_TRUE);
        aim("value of an element", value_of(entry), PMS_TAG_NONE ^ PMS_TAG_INT);
    }
}

static void aim_everywhere(void)
{
    CHECK_EQ(pms_enter_read_wait(fx.pool, NULL, -1), PMS_OK);
    target_count = 0;
    aim_at_page_zero();
    aim_at_heap();
    aim_at_object(fx.root);
    aim_at_object(dict);
    aim_at_object(list);
    aim_at_object(set);
    aim_at_object(deque);
    aim_at_set_and_deque();
    aim_at_dict();
    aim_at_entries();
    aim_at_lists();
    pms_leave_read(fx.pool);
}

/* ---- the tests ---- */

static void read_image(void)
{
    struct stat st;
    int fd = open(fx.path, O_RDONLY);
    CHECK(fd >= 0);
    CHECK_EQ(fstat(fd, &st), 0);
    image_bytes = (uint64_t)st.st_size;
    image = malloc(image_bytes);
    CHECK(image != NULL);
    CHECK_EQ(read(fd, image, image_bytes), (ssize_t)image_bytes);
    CHECK_EQ(close(fd), 0);
}

/* The file as it was, with n words xored. */
static void write_image(const struct target *damage, uint32_t n)
{
    int fd = open(fx.path, O_WRONLY);
    CHECK(fd >= 0);
    CHECK_EQ(pwrite(fd, image, image_bytes, 0), (ssize_t)image_bytes);
    for (uint32_t i = 0; i < n; i++) {
        uint64_t w;
        memcpy(&w, image + damage[i].off, 8);
        w ^= damage[i].flip;
        CHECK_EQ(pwrite(fd, &w, 8, (off_t)damage[i].off), 8);
    }
    CHECK_EQ(ftruncate(fd, (off_t)image_bytes), 0);
    CHECK_EQ(close(fd), 0);
}

static int named(int status) { return status == PMS_E_CORRUPT || status == PMS_E_FORMAT; }

static void drop_pool(void)
{
    if (!fx.pool)
        return;
    (void)pms_pool_close(fx.pool); /* a damaged pool may refuse, with a status */
    pms_pool_drop(fx.pool);
    fx.pool = NULL;
}

static void test_an_undamaged_pool_has_no_problem(void)
{
    struct pms_check_result result;
    write_image(NULL, 0);
    CHECK_EQ(fixture_try_open(&fx, 'r'), PMS_OK);
    CHECK_EQ(fixture_problems(fx.pool, 0, &result), 0);
    CHECK_EQ(result.orphans, 2);
    CHECK_EQ(result.objects, 9);
    CHECK_EQ(result.entries, 6 + 8 + 9400 + 3);
    CHECK_EQ(result.cells, 6 + 8 + 9400 + 9400 + 10 + 2 + 3 + 4);
    CHECK_EQ(result.leaked_bytes, 0);
    drop_pool();
}

static void test_damage_in_every_structure_is_found(void)
{
    struct pms_check_result result;
    for (uint32_t i = 0; i < target_count; i++) {
        write_image(&target[i], 1);
        int status = fixture_try_open(&fx, 'r');
        if (status == PMS_OK) {
            if (fixture_problems(fx.pool, 1, &result) == 0) {
                fprintf(stderr, "not found: %s at %" PRIu64 " ^ %#" PRIx64 "\n", target[i].name,
                        target[i].off, target[i].flip);
                CHECK(!"damage is found");
            }
        } else {
            CHECK(named(status));
        }
        drop_pool();
    }
}

/* One slot of a pair may be what a crash left: the other one serves, and a writer mends it.
 * Without a good one there is no pool. */
static void test_a_damaged_slot_is_mended_and_two_are_refused(void)
{
    struct pms_check_result result;
    const struct target part[] = {
        {"superblock magic", PMS_SUPER_OFF, 1},
        {"superblock uuid", FIELD(pms_super_pm, PMS_SUPER_OFF, uuid), 0x80},
        {"superblock region", FIELD(pms_super_pm, PMS_SUPER_OFF, regions) + 8, 64},
        {"superblock checksum", FIELD(pms_super_pm, PMS_SUPER_OFF, csum), 1},
        {"anchor seq", FIELD(pms_anchor_pm, PMS_ANCHOR_OFF, seq), 1},
        {"anchor reserve", FIELD(pms_anchor_pm, PMS_ANCHOR_OFF, zero1), 1},
    };
    for (uint32_t i = 0; i < 2 * sizeof part / sizeof part[0]; i++) {
        struct target both[2] = {part[i / 2], part[i / 2]};
        both[1].off += PMS_PAGE;
        write_image(&both[i % 2], 1);
        CHECK_EQ(fixture_try_open(&fx, 'r'), PMS_OK);
        CHECK_EQ(fixture_problems(fx.pool, 0, &result), 0);
        drop_pool();
        CHECK_EQ(fixture_try_open(&fx, 'w'), PMS_OK);
        CHECK_EQ(fixture_problems(fx.pool, 0, &result), 0);
        drop_pool();
        write_image(both, 2);
        CHECK(named(fixture_try_open(&fx, i % 2 ? 'r' : 'w')));
        drop_pool();
    }
}

static void use_dict(uint64_t off, uint64_t n)
{
    struct pms_val key, value = {.tag = PMS_TAG_INT, .num = n};
    uint64_t entry = 0;
    for (int i = 0; i < 200; i++) {
        if (pms_dict_next(fx.pool, off, &entry) != PMS_OK || !entry)
            break;
        (void)pms_dict_entry(fx.pool, entry, &key, &value);
    }
    value = (struct pms_val){.tag = PMS_TAG_INT, .num = n};
    for (uint64_t i = 0; i < 20; i++) {
        struct pms_key k = {.tag = PMS_TAG_INT, .stored_tag = PMS_TAG_INT, .num = n * 7 + i};
        (void)OP(fx.pool, put(off, &k, &value));
        k.num += 100;
        (void)OP(fx.pool, pms_dict_del(fx.pool, off, &k));
    }
}

static void use_list(uint64_t off, uint64_t n)
{
    struct pms_val value = {.tag = PMS_TAG_INT, .num = n};
    uint64_t len = pms_list_len(fx.pool, off), place = len ? n % len : 0;
    (void)pms_list_get(fx.pool, off, place, &value);
    value = (struct pms_val){.tag = PMS_TAG_INT, .num = n};
    (void)OP(fx.pool, pms_list_append(fx.pool, off, &value));
    (void)OP(fx.pool, pms_list_insert(fx.pool, off, place, &value));
    (void)OP(fx.pool, pms_list_set(fx.pool, off, place, &value));
    (void)OP(fx.pool, pms_list_del(fx.pool, off, place));
    (void)OP(fx.pool, pms_list_swap(fx.pool, off, 0, place));
    (void)OP(fx.pool, pms_list_del_range(fx.pool, off, place / 2, 70));
    (void)OP(fx.pool, pms_list_reverse(fx.pool, off));
    (void)OP(fx.pool, pms_list_clear(fx.pool, off));
}

static void use_damaged_pool(uint64_t n)
{
    struct pms_check_result result;
    uint64_t freed = 0;
    (void)fixture_problems(fx.pool, 1, &result);
    if (n % 4)
        use_dict(dict, n);
    use_dict(fx.root, n);
    use_list(n % 2 ? list : small, n);
    if (n % 3)
        (void)OP(fx.pool, pms_dict_clear(fx.pool, dict));
    (void)pms_pool_collect(fx.pool, &freed);
    (void)fixture_problems(fx.pool, 1, &result);
}

/* Places where something is: the words that are not zero, behind the superblocks. */
static uint64_t some_place(uint64_t *seed)
{
    uint64_t off, w;
    do {
        off = PMS_ROOT_OFF + fixture_random(seed) % (image_bytes - PMS_ROOT_OFF) / 8 * 8;
        memcpy(&w, image + off, 8);
    } while (w == 0 || (off >= PMS_LOG_OFF && off < PMS_REGION_ALIGN));
    return off;
}

static void test_damage_anywhere_crashes_nothing(void)
{
    uint64_t seed = 0x2545f4914f6cdd1dull;
    for (uint64_t i = 0; i < ROUNDS; i++) {
        struct target damage[4];
        uint32_t n = 1 + (uint32_t)(fixture_random(&seed) % 4);
        for (uint32_t k = 0; k < n; k++) {
            uint64_t bits = fixture_random(&seed);
            damage[k] = target[fixture_random(&seed) % target_count];
            if (i % 3)
                damage[k].off = some_place(&seed);
            damage[k].flip = bits % 3 ? 1ull << (bits >> 8) % 64 : bits;
        }
        write_image(damage, n);
        if (fixture_try_open(&fx, 'w') == PMS_OK)
            use_damaged_pool(i);
        drop_pool();
    }
}

/* ---- leaks and cycles, in a pool that is open ---- */

static int stop_at_once(void *context, const char *text)
{
    (void)text;
    ++*(int *)context;
    return 1;
}

static void test_a_cycle_without_root_is_told(void)
{
    struct pms_check_result result;
    struct pms_key key = fixture_key("cycle");
    uint64_t off;
    int calls = 0;
    CHECK_EQ(OP(fx.pool, fixture_put_object(&fx, PMS_TAG_LIST, "cycle", &off)), PMS_OK);
    struct pms_val self = {.tag = PMS_TAG_LIST, .num = off};
    CHECK_EQ(OP(fx.pool, pms_list_append(fx.pool, off, &self)), PMS_OK);
    fixture_sound(fx.pool);
    CHECK_EQ(OP(fx.pool, pms_dict_del(fx.pool, fx.root, &key)), PMS_OK);
    CHECK_EQ(fixture_problems(fx.pool, 1, &result), 1);
    CHECK_EQ(result.leaked_bytes, 64 + 64);
    CHECK_EQ(pms_enter_read_wait(fx.pool, NULL, -1), PMS_OK);
    CHECK_EQ(pms_pool_check(fx.pool, stop_at_once, &calls, NULL), PMS_OK);
    pms_leave_read(fx.pool);
    CHECK_EQ(calls, 1);
}

static void test_a_block_that_nobody_uses_is_a_leak(void)
{
    struct pms_check_result result;
    uint64_t off, before;
    before = fixture_problems(fx.pool, 1, &result);
    CHECK_EQ(OP(fx.pool, pms_alloc(&fx.pool->heap, 5000, &off)), PMS_OK);
    CHECK_EQ(fixture_problems(fx.pool, 1, &result), before + 1);
    CHECK(result.leaked_bytes >= 5000);
    CHECK_EQ(OP(fx.pool, pms_free(&fx.pool->heap, off)), PMS_OK);
    CHECK_EQ(fixture_problems(fx.pool, 1, &result), before);
}

static void run_all(const char *parent)
{
    uint64_t orphan[2];
    if (!fixture_usable(parent))
        return;
    fixture_make(&fx, parent);
    fill();
    fixture_sound(fx.pool);
    aim_everywhere();
    leave_orphans(orphan);
    aim("orphan link", FIELD(pms_object_pm, orphan[1], orphan_next), orphan[0]);
    aim("orphan link", FIELD(pms_object_pm, orphan[1], orphan_next), orphan[0] ^ orphan[1]);
    aim("orphan link", FIELD(pms_object_pm, orphan[0], orphan_prev), orphan[1]);
    aim("orphan refs", FIELD(pms_object_pm, orphan[0], refs), 1);
    read_image();
    test_an_undamaged_pool_has_no_problem();
    test_damage_in_every_structure_is_found();
    test_a_damaged_slot_is_mended_and_two_are_refused();
    test_damage_anywhere_crashes_nothing();
    write_image(NULL, 0);
    CHECK_EQ(fixture_try_open(&fx, 'w'), PMS_OK);
    test_a_cycle_without_root_is_told();
    test_a_block_that_nobody_uses_is_a_leak();
    free(image);
    fixture_remove(&fx);
}

int main(void)
{
    run_all("/dev/shm");
    run_all(".");
    return 0;
}
