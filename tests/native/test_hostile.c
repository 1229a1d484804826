/* test_hostile.c -- flipped bits and foreign ranges: never a signal, never a silent wrong answer.
 *
 *   test_hostile              a slice: every bit of what has a checksum, some bits of the rest
 *   test_hostile all          every bit of every structure, for reading and for writing
 *   test_hostile flip OFF BIT one bit of the pool with one of everything
 *   test_hostile input FILE   one input of the fuzzer
 *   test_hostile splices N S  N random splices from seed S on
 *
 * hostile.h has the rules that every damaged pool must keep.  Here, besides:
 *
 *   a superblock, an anchor, a frame   the same state as without the flip, or a refusal; if it is
 *                                      the log's last frame also the state before that frame
 *   the heap                           what the check calls sound has the same objects, entries,
 *                                      references and blocks: only a number or a text differs
 */
#include "hostile.h"

#include <glob.h>

#include "_native/log.h"

#define SECONDS_MAX 20 /* of one flip: more is a hang */
#define OPEN_FEW 20    /* items of a transaction that fits the log */
#define OPEN_MANY 400  /* of one whose undo entries overflow into the heap */

struct tally {
    uint64_t tried, refused, same, told, silent;
};

static struct tally tally;
static struct hostile_stage stage;
static struct hostile_result sound; /* of the base */
static uint64_t flips_between = 1;  /* a slice looks at one bit of so many */
static uint64_t turn;

static void tell(const char *what)
{
    printf("%-44s %8" PRIu64 " tried: %" PRIu64 " refused, %" PRIu64 " the same, %" PRIu64
           " told by the check, %" PRIu64 " other numbers or texts\n",
           what, tally.tried, tally.refused, tally.same, tally.told, tally.silent);
    fflush(stdout);
    tally = (struct tally){0};
}

static int skipped(void) { return turn++ % flips_between != 0; }

static void flip(uint64_t off, uint32_t bit)
{
    uint8_t byte = (uint8_t)(stage.base->bytes[off] ^ 1u << bit);
    hostile_put(&stage, off, &byte, 1);
    snprintf(hostile_story, sizeof hostile_story, "test_hostile flip %" PRIu64 " %u", off, bit);
    alarm(SECONDS_MAX);
    tally.tried++;
}

static void fail(uint64_t off, uint32_t bit, char flag, const char *why)
{
    fprintf(stderr, "bit %u of the byte at %" PRIu64 ", opened with %c: %s\n", bit, off, flag,
            why);
    exit(1);
}

/* ---- what has a checksum ---- */

/* allowed: states besides that of the base. */
static void flip_covered(uint64_t off, uint32_t bit, char flag, const uint64_t *allowed,
                         uint32_t n)
{
    struct hostile_result got;
    flip(off, bit);
    hostile_try(&stage, flag, 0, &got);
    hostile_mend(&stage);
    if (got.opened != PMS_OK) {
        tally.refused++;
        return;
    }
    if (got.walked != PMS_OK || got.problems)
        fail(off, bit, flag, "damaged");
    int known = got.state == sound.state;
    for (uint32_t i = 0; i < n; i++)
        known |= got.state == allowed[i];
    if (!known)
        fail(off, bit, flag, "a wrong answer");
    tally.same++;
}

static void flip_range(uint64_t off, uint64_t len, const uint64_t *allowed, uint32_t n)
{
    for (uint64_t at = off; at < off + len; at++)
        for (uint32_t bit = 0; bit < 8; bit++)
            if (!skipped()) {
                flip_covered(at, bit, 'r', allowed, n);
                flip_covered(at, bit, 'w', allowed, n);
            }
}

static void test_a_damaged_superblock_or_anchor_changes_nothing(const char *what)
{
    uint64_t between = flips_between;
    flip_range(PMS_SUPER_OFF, sizeof(struct pms_super_pm), NULL, 0);
    flip_range(PMS_SUPER_OFF + PMS_PAGE, sizeof(struct pms_super_pm), NULL, 0);
    flips_between = between < 100 ? 1 : 31; /* few bytes; slow on files */
    flip_range(PMS_ANCHOR_OFF, sizeof(struct pms_anchor_pm), NULL, 0);
    flip_range(PMS_ANCHOR_OFF + PMS_PAGE, sizeof(struct pms_anchor_pm), NULL, 0);
    flips_between = between;
    tell(what);
}

/* The chain behind the newest anchor; frame[i] is valid until the base changes. */
static uint32_t read_frames(struct pms_frame_ref *frame, uint32_t room)
{
    const struct pms_super_pm *super = (const void *)stage.base->bytes;
    struct pms_medium medium = {.base = stage.base->bytes};
    struct pms_anchor_pm anchor;
    uint32_t slot, n = 0;
    CHECK_EQ(pms_anchor_read(&medium, &anchor, &slot), PMS_OK);
    uint64_t pos = anchor.pos;
    while (n < room && pms_frame_read(&medium, super->log_off, super->log_bytes, pos,
                                      anchor.seq + n, anchor.salt, &frame[n]) == PMS_OK) {
        pos = frame[n].pos + frame[n].bytes;
        n++;
    }
    CHECK(n < room);
    return n;
}

/* A frame with a later one behind it was durable: without it the pool must not open, or be the
 * same.  The last one may be what a power cut left. */
static void test_a_damaged_frame_is_no_wrong_answer(const struct hostile_killed *killed,
                                                    uint64_t open_items)
{
    struct pms_frame_ref frame[64];
    uint32_t n = read_frames(frame, 64);
    CHECK(n >= killed->states - 1);
    for (uint32_t i = 0; i < n; i++) {
        if (i == n - 1 && open_items)
            break; /* its stores would be undone by this frame alone: nothing can be promised */
        flip_range(PMS_LOG_OFF + frame[i].pos, frame[i].bytes,
                   &killed->state[killed->states - 2], i == n - 1);
    }
    tell("frames of the log");
}

/* ---- forgeries: found by tests/fuzz, or thought of ---- */

#define SUPER(field) PMS_SUPER_OFF + offsetof(struct pms_super_pm, field)
#define ANCHOR(field) PMS_ANCHOR_OFF + offsetof(struct pms_anchor_pm, field)

/* Words that get these values in both slots, and new seals. */
static void test_forged_slots_are_refused(void)
{
    static const struct {
        const char *what;
        uint64_t off, word;
    } forgery[] = {
        {"a limit beyond the largest pool", SUPER(limit), ~0ull},
        {"more pages than there are offsets", SUPER(regions) + 8, 1ull << 52},
        {"a size beyond the file", SUPER(size), 1ull << 40},
        {"a log larger than the pool", SUPER(log_bytes), 1ull << 30},
        {"a heap that starts in the log", SUPER(heap_start), PMS_LOG_OFF},
        {"no superblock can follow", SUPER(gen), ~0ull},
        {"unknown features", SUPER(incompat), 1},
        {"no anchor can follow", ANCHOR(gen), ~0ull},
        {"no frame can follow", ANCHOR(seq), ~0ull - 3},
        {"frames outside the log", ANCHOR(pos), 1ull << 40},
        {"frames between lines", ANCHOR(pos), 8},
        {"an unknown protocol", ANCHOR(mode), 3},
    };
    struct hostile_result got;
    for (size_t i = 0; i < sizeof forgery / sizeof forgery[0]; i++) {
        snprintf(hostile_story, sizeof hostile_story, "forgery: %s", forgery[i].what);
        for (int flag = 0; flag < 2; flag++) {
            hostile_put(&stage, forgery[i].off, &forgery[i].word, 8);
            hostile_put(&stage, forgery[i].off + PMS_PAGE, &forgery[i].word, 8);
            hostile_seal(&stage);
            hostile_try(&stage, flag ? 'w' : 'r', 1, &got);
            hostile_mend(&stage);
            if (got.opened == PMS_OK) {
                fprintf(stderr, "%s: not refused\n", hostile_story);
                exit(1);
            }
            tally.tried++;
            tally.refused++;
        }
    }
    tell("forged superblocks and anchors");
}

/* A frame that names the whole heap as often as it has room for it. */
static void test_frames_cannot_ask_for_more_than_the_pool(uint32_t tag)
{
    const struct pms_super_pm *super = (const void *)stage.base->bytes;
    struct pms_frame_ref ref[64];
    struct hostile_result got;
    static uint64_t word[PMS_PAGE];
    CHECK(read_frames(ref, 64) > 0);
    uint64_t entries = (super->log_bytes - ref[0].pos - sizeof(struct pms_frame_pm)) / 24;
    struct pms_frame_pm frame = {
        .seq = ref[0].seq, .kind = PMS_FRAME_REDO, .words = (uint32_t)entries * 3};
    for (uint64_t i = 0; i < entries; i++) {
        word[3 * i] = PMS_ENTRY(super->heap_start, tag, 0);
        word[3 * i + 1] = super->size - super->heap_start;
    }
    hostile_put(&stage, PMS_LOG_OFF + ref[0].pos, &frame, sizeof frame);
    hostile_put(&stage, PMS_LOG_OFF + ref[0].pos + sizeof frame, word, 24 * entries);
    hostile_seal(&stage);
    hostile_try(&stage, 'w', 0, &got);
    CHECK_EQ(got.opened, PMS_E_CORRUPT);
    CHECK(strstr(pms_detail()->what, "more contents than there can be") != NULL);
    hostile_mend(&stage);
}

/* ---- after a kill ---- */

static void test_killed(const char *parent, uint64_t open_items)
{
    struct hostile_killed killed;
    hostile_make_killed(parent, open_items, &killed);
    hostile_stage_base(&stage, &killed.image);
    hostile_try(&stage, 'r', 0, &sound);
    CHECK_EQ(sound.opened, PMS_OK);
    CHECK_EQ(sound.problems, 0);
    CHECK(sound.state == killed.state[killed.states - 1]);
    test_forged_slots_are_refused();
    test_frames_cannot_ask_for_more_than_the_pool(PMS_ENTRY_EXTENT);
    test_frames_cannot_ask_for_more_than_the_pool(PMS_ENTRY_FRESH);
    test_a_damaged_superblock_or_anchor_changes_nothing(
        "superblocks and anchors, after a kill");
    test_a_damaged_frame_is_no_wrong_answer(&killed, open_items);
    free(killed.image.bytes);
}

/* ---- the heap ---- */

static void judge_heap(uint64_t off, uint32_t bit, char flag, const struct hostile_result *got)
{
    if (got->opened != PMS_OK) {
        tally.refused++;
    } else if (got->problems) {
        tally.told++;
    } else if (got->state == sound.state) {
        tally.same++;
    } else {
        tally.silent++;
        const struct pms_check_result *a = &got->check, *b = &sound.check;
        if (got->shape != sound.shape || memcmp(a, b, sizeof *a) != 0)
            fail(off, bit, flag, "other links or counts, and the check is content");
    }
}

static void flip_heap(uint64_t off, uint32_t bit)
{
    struct hostile_result got;
    if (skipped())
        return;
    flip(off, bit);
    uint64_t seed = off * 8 + bit + 1;
    int both = flips_between == 1;
    if (both || turn / flips_between % 3 == 0) {
        hostile_try(&stage, 'r', 0, &got);
        judge_heap(off, bit, 'r', &got);
    }
    if (both || turn / flips_between % 3 != 0) {
        hostile_try(&stage, 'w', seed * 0x9e3779b97f4a7c15ull, &got);
        judge_heap(off, bit, 'w', &got);
    }
    hostile_mend(&stage);
}

/* Every bit of [off, off + all), then one of 61 up to off + len. */
static void flip_block(uint64_t off, uint64_t len, uint64_t all)
{
    for (uint64_t at = 0; at < len * 8; at += at / 8 < all ? 1 : 61)
        flip_heap(off + at / 8, (uint32_t)(at % 8));
}

static uint64_t word_at(uint64_t off)
{
    uint64_t word;
    memcpy(&word, stage.base->bytes + off, 8);
    return word;
}

/* Blocks of a span whose bit is set. */
static void flip_span(uint64_t desc, uint64_t page, const struct pms_class *cls)
{
    for (uint64_t i = 0; i < cls->blocks; i++)
        if (word_at(desc + PMS_DESC_BYTES + i / 64 * 8) >> i % 64 & 1)
            flip_block(page * PMS_PAGE + i * cls->size, cls->size, cls->size <= 512 ? 160 : 32);
}

static void test_damage_of_the_heap_is_told_or_is_a_number(void)
{
    const struct pms_super_pm *super = (const void *)stage.base->bytes;
    uint64_t first = super->heap_start / PMS_PAGE;
    uint64_t top = word_at(PMS_ROOT_OFF + offsetof(struct pms_root_pm, top)), pages = 1;
    flip_block(PMS_ROOT_OFF, PMS_PAGE, sizeof(struct pms_root_pm));
    tell("the root page");
    flip_block(super->heap_start, super->regions[0].cap_pages * PMS_DESC_BYTES,
               (top + 1 - first) * PMS_DESC_BYTES);
    tell("page descriptors and bitmaps");
    for (uint64_t page = first; page < top; page += pages) {
        uint64_t desc = super->heap_start + (page - first) * PMS_DESC_BYTES;
        uint64_t head = word_at(desc);
        pages = PMS_DESC_KIND(head) == PMS_PAGE_FREE ? 1 : PMS_DESC_PAGES(head);
        if (PMS_DESC_KIND(head) == PMS_PAGE_RUN)
            flip_block(page * PMS_PAGE, pages * PMS_PAGE, 16);
        else if (PMS_DESC_KIND(head) != PMS_PAGE_FREE)
            flip_span(desc, page, &pms_classes[PMS_DESC_CLASS(head)]);
    }
    tell("blocks: objects, entries, nodes, leaves, data");
}

/* ---- descriptors that change while the pool is open ---- */

/* A forged list or table may lie over the descriptors, and a change of it is a change of them.
 * A block of 1 KiB that was freed as number 1900 of 32 bytes was handed out behind the file: a span
 * that has been looked at keeps its class. */
static void test_a_span_that_changes_its_class_frees_what_it_gave(void)
{
    const struct pms_super_pm *super = (const void *)stage.base->bytes;
    const uint64_t ones = ~0ull, forged = PMS_DESC_HEAD(PMS_PAGE_SPAN, 0, PMS_SPAN_PAGES);
    struct pms_options options = {.flag = 'w'};
    struct pms_pool *pool;
    uint64_t off[4], again = 0;
    CHECK_EQ(pms_pool_open(stage.path, &options, &pool), PMS_OK);
    for (int i = 0; i < 4; i++)
        CHECK_EQ(OP(pool, pms_alloc(&pool->heap, 1000, &off[i])), PMS_OK);
    uint64_t page = off[3] / PMS_PAGE & ~(uint64_t)(PMS_SPAN_PAGES - 1);
    uint64_t desc = super->heap_start + (page - super->heap_start / PMS_PAGE) * PMS_DESC_BYTES;
    hostile_put(&stage, desc, &forged, 8);
    for (uint64_t at = desc + PMS_DESC_BYTES; at < desc + 16 * PMS_DESC_BYTES; at += 8)
        hostile_put(&stage, at, &ones, 8);
    CHECK_EQ(OP(pool, pms_free(&pool->heap, off[3])), PMS_OK);
    for (int i = 0; i < 12; i++) {
        int status = OP(pool, pms_alloc(&pool->heap, 1000, &again));
        CHECK(status == PMS_E_CORRUPT || (status == PMS_OK && again <= super->size - 1000));
    }
    (void)pms_pool_close(pool);
    pms_pool_drop(pool);
    hostile_stage_base(&stage, stage.base);
}

/* ---- splices ---- */

static uint64_t random_length(uint64_t *seed)
{
    static const uint64_t unit[4] = {8, 64, 1024, PMS_PAGE};
    uint64_t bytes = unit[fixture_random(seed) % 4];
    return bytes * (1 + fixture_random(seed) % 3);
}

/* The next place that is not zero. */
static uint64_t in_use(const struct hostile_image *image, uint64_t at, uint64_t len,
                       uint64_t align)
{
    while (at + align < image->size - len && image->bytes[at] == 0)
        at += align;
    return at;
}

/* A range of `from` lies somewhere on the stage, perhaps at its own place. */
static void splice(uint64_t *seed, const struct hostile_image *from)
{
    uint64_t len = random_length(seed), align = len % PMS_LINE ? 8 : PMS_LINE;
    uint64_t src = fixture_random(seed) % (from->size - len) / align * align;
    uint64_t dst = fixture_random(seed) % (stage.base->size - len) / align * align;
    switch (fixture_random(seed) % 4) {
    case 0: /* among superblocks, anchors, root page, log */
        src = fixture_random(seed) % (PMS_LOG_OFF + 8192) / align * align;
        dst = fixture_random(seed) % (PMS_LOG_OFF + 8192) / align * align;
        break;
    case 1: /* what is in use, at its own place in the other pool */
        src = in_use(from, src, len, align);
        dst = src < stage.base->size - len ? src : dst;
        break;
    default:
        src = in_use(from, src, len, align);
        dst = in_use(stage.base, dst, len, align);
        break;
    }
    hostile_put(&stage, dst, from->bytes + src, len);
}

static void test_splices_keep_the_rules(const struct hostile_image *const image[],
                                        uint32_t images, uint64_t n, uint64_t seed)
{
    struct hostile_result got;
    for (uint64_t i = 0; i < n; i++) {
        uint64_t random = (seed + i) * 0x9e3779b97f4a7c15ull | 1, times;
        for (int k = 0; k < 4; k++)
            (void)fixture_random(&random);
        hostile_stage_base(&stage, image[fixture_random(&random) % images]);
        for (times = 1 + fixture_random(&random) % 3; times > 0; times--)
            splice(&random, image[fixture_random(&random) % images]);
        if (fixture_random(&random) % 2)
            hostile_seal(&stage);
        alarm(SECONDS_MAX);
        snprintf(hostile_story, sizeof hostile_story, "test_hostile splices 1 %" PRIu64,
                 seed + i);
        tally.tried++;
        hostile_try(&stage, fixture_random(&random) % 4 ? 'w' : 'r', random, &got);
        if (got.opened != PMS_OK)
            tally.refused++;
        else if (got.problems)
            tally.told++;
        else
            tally.same++;
        hostile_mend(&stage);
    }
    tell("splices");
}

/* ---- what the fuzzer has found ---- */

static void play_file(struct hostile_stage *stages, const char *path)
{
    uint8_t data[4096];
    FILE *file = fopen(path, "rb");
    CHECK(file != NULL);
    size_t size = fread(data, 1, sizeof data, file);
    CHECK(size >= HOSTILE_HEAD);
    CHECK_EQ(fclose(file), 0);
    snprintf(hostile_story, sizeof hostile_story, "test_hostile input %s", path);
    alarm(SECONDS_MAX);
    hostile_play(stages, data, size);
    tally.tried++;
}

/* path NULL: all that tests/fuzz has. */
static void test_inputs_of_the_fuzzer_keep_the_rules(const char *path)
{
    static struct hostile_image image[HOSTILE_BASES];
    static struct hostile_stage stages[HOSTILE_BASES];
    glob_t found;
    hostile_make_bases(image);
    for (uint32_t i = 0; i < HOSTILE_BASES; i++)
        hostile_stage_make(&stages[i], NULL, &image[i]);
    CHECK_EQ(glob(path ? path : HOSTILE_INPUTS "/*", 0, NULL, &found), 0);
    for (size_t i = 0; i < found.gl_pathc; i++)
        play_file(stages, found.gl_pathv[i]);
    globfree(&found);
    for (uint32_t i = 0; i < HOSTILE_BASES; i++) {
        hostile_stage_remove(&stages[i]);
        free(image[i].bytes);
    }
    tell("inputs of the fuzzer");
}

/* ---- all of it ---- */

static void run_splices(const char *parent, uint64_t n, uint64_t seed)
{
    struct hostile_image kinds;
    struct hostile_killed killed[3];
    const struct hostile_image *image[4] = {&kinds};
    hostile_make_kinds(parent, &kinds);
    for (int i = 0; i < 3; i++) {
        hostile_make_killed(i < 2 ? parent : ".", i == 1 ? OPEN_MANY : 0, &killed[i]);
        image[1 + i] = &killed[i].image;
    }
    hostile_stage_base(&stage, &kinds);
    test_splices_keep_the_rules(image, 4, n, seed);
    free(kinds.bytes);
    for (int i = 0; i < 3; i++)
        free(killed[i].image.bytes);
}

static void run_heap(const char *parent, uint64_t off, uint32_t bit)
{
    struct hostile_image kinds;
    hostile_make_kinds(parent, &kinds);
    hostile_stage_base(&stage, &kinds);
    hostile_try(&stage, 'r', 0, &sound);
    CHECK_EQ(sound.problems, 0);
    CHECK_EQ(sound.check.orphans, 3);
    if (off)
        flip_heap(off, bit);
    else
        test_damage_of_the_heap_is_told_or_is_a_number();
    test_a_span_that_changes_its_class_frees_what_it_gave();
    free(kinds.bytes);
}

int main(int argc, char **argv)
{
    const char *shm = fixture_usable("/dev/shm") ? "/dev/shm" : ".";
    struct hostile_image empty = {calloc(1, PMS_PAGE), PMS_PAGE};
    hostile_stage_make(&stage, NULL, &empty);
    if (argc > 3 && !strcmp(argv[1], "flip")) {
        run_heap(shm, strtoull(argv[2], NULL, 0), (uint32_t)strtoul(argv[3], NULL, 0));
    } else if (argc > 2 && !strcmp(argv[1], "input")) {
        test_inputs_of_the_fuzzer_keep_the_rules(argv[2]);
    } else if (argc > 3) {
        run_splices(shm, strtoull(argv[2], NULL, 0), strtoull(argv[3], NULL, 0));
    } else {
        int slice = argc < 2;
        test_inputs_of_the_fuzzer_keep_the_rules(NULL);
        flips_between = slice ? 7 : 1;
        test_killed(shm, 0);
        test_killed(shm, OPEN_FEW);
        test_killed(shm, OPEN_MANY);
        test_killed(".", 0); /* frames of a file, read on direct media too */
        flips_between = slice ? 19 : 1;
        run_heap(shm, 0, 0);
        run_splices(shm, slice ? 2000 : 100000, 1);
        hostile_stage_base(&stage, &empty);
        hostile_stage_remove(&stage);
        hostile_stage_make(&stage, ".", &empty); /* on a file: some, for each takes its syncs */
        flips_between = slice ? 997 : 29;
        test_killed(".", 0);
        run_splices(".", slice ? 60 : 5000, 1000000);
    }
    hostile_stage_base(&stage, &empty);
    hostile_stage_remove(&stage);
    free(empty.bytes);
    return 0;
}
