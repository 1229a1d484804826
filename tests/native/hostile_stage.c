/* hostile_stage.c -- damaging, mending and judging pools that may be anything.  hostile.h tells. */
#include "hostile.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "hash.h"

/* ---- the stage ---- */

void hostile_stage_make(struct hostile_stage *stage, const char *parent,
                        const struct hostile_image *base)
{
    memset(stage, 0, sizeof *stage);
    if (parent) {
        char name[96];
        snprintf(name, sizeof name, "%s/pmemstore_test.XXXXXX", parent);
        stage->fd = mkstemp(name);
        CHECK(stage->fd >= 0);
        CHECK_EQ(unlink(name), 0);
    } else {
        stage->fd = memfd_create("pool", MFD_CLOEXEC);
        CHECK(stage->fd >= 0);
    }
    snprintf(stage->path, sizeof stage->path, "/proc/self/fd/%d", stage->fd);
    hostile_stage_base(stage, base);
}

static void unmap(struct hostile_stage *stage)
{
    if (stage->map)
        CHECK_EQ(munmap(stage->map, stage->size), 0);
    free(stage->dirty);
    stage->map = stage->dirty = NULL;
}

void hostile_stage_base(struct hostile_stage *stage, const struct hostile_image *base)
{
    unmap(stage);
    stage->base = base;
    stage->size = base->size;
    CHECK_EQ(ftruncate(stage->fd, (off_t)base->size), 0);
    CHECK_EQ(pwrite(stage->fd, base->bytes, base->size, 0), (ssize_t)base->size);
    stage->map = mmap(NULL, base->size, PROT_READ | PROT_WRITE, MAP_SHARED, stage->fd, 0);
    CHECK(stage->map != MAP_FAILED);
    stage->dirty = calloc(base->size / PMS_PAGE + 1, 1);
    CHECK(stage->dirty != NULL);
}

void hostile_stage_remove(struct hostile_stage *stage)
{
    unmap(stage);
    CHECK_EQ(close(stage->fd), 0);
}

static void soil(struct hostile_stage *stage, uint64_t off, uint64_t len)
{
    for (uint64_t page = off / PMS_PAGE; page * PMS_PAGE < off + len; page++)
        if (page < stage->base->size / PMS_PAGE)
            stage->dirty[page] = 1;
}

void hostile_put(struct hostile_stage *stage, uint64_t off, const void *bytes, uint64_t len)
{
    if (off >= stage->base->size)
        return;
    if (len > stage->base->size - off)
        len = stage->base->size - off;
    memcpy(stage->map + off, bytes, len);
    soil(stage, off, len);
}

/* The pool tells what it stores: these pages are mended, and no others. */
static int record(void *context, const struct pms_event *event)
{
    struct hostile_stage *stage = context;
    switch (event->kind) {
    case PMS_EV_STORE:
    case PMS_EV_NT_STORE:
    case PMS_EV_WRITE:
    case PMS_EV_WRITE_SYNC:
        soil(stage, event->off, event->len);
        break;
    case PMS_EV_ALLOCATE:
    case PMS_EV_TRUNCATE:
        stage->resized = 1;
        break;
    default:
        break;
    }
    return 0;
}

void hostile_mend(struct hostile_stage *stage)
{
    if (stage->resized)
        CHECK_EQ(ftruncate(stage->fd, (off_t)stage->base->size), 0);
    stage->resized = 0;
    for (uint64_t page = 0; page < stage->base->size / PMS_PAGE; page++) {
        if (!stage->dirty[page])
            continue;
        memcpy(stage->map + page * PMS_PAGE, stage->base->bytes + page * PMS_PAGE, PMS_PAGE);
        stage->dirty[page] = 0;
    }
}

/* ---- seals ---- */

/* Hashes of the extents that a frame names, where there are such. */
static void seal_entries(const struct hostile_stage *stage, const struct pms_frame_pm *frame,
                         uint64_t *word)
{
    uint64_t i = frame->kind == PMS_FRAME_COMMIT ? 2 : 0;
    while (i < frame->words) {
        uint64_t off = PMS_ENTRY_OFF(word[i]);
        if (PMS_ENTRY_TAG(word[i]) == PMS_ENTRY_BYTES) {
            i += 1 + PMS_ENTRY_N(word[i]);
            continue;
        }
        if (frame->words - i < 3)
            break;
        if (off < stage->size && word[i + 1] <= stage->size - off)
            word[i + 2] = pms_hash(stage->map + off, word[i + 1], 3);
        i += 3;
    }
}

static void seal_frames(struct hostile_stage *stage, uint64_t log_bytes,
                        const struct pms_anchor_pm *anchor)
{
    uint64_t pos = anchor->pos, room = log_bytes - sizeof(struct pms_frame_pm);
    for (uint64_t seq = anchor->seq; pos % PMS_LINE == 0 && pos <= room; seq++) {
        struct pms_frame_pm *frame = (void *)(stage->map + PMS_LOG_OFF + pos);
        uint64_t n = pms_frame_bytes(frame->words);
        if (frame->seq != seq || n > log_bytes - pos)
            break;
        seal_entries(stage, frame, (uint64_t *)(void *)(frame + 1));
        frame->csum = 0;
        frame->csum = pms_hash(frame, n, anchor->salt);
        pos += n;
    }
}

void hostile_seal(struct hostile_stage *stage)
{
    uint64_t log_bytes = ((const struct pms_super_pm *)(void *)stage->map)->log_bytes;
    for (uint64_t page = 0; page < 2 * PMS_PAGE; page += PMS_PAGE) {
        pms_super_seal((void *)(stage->map + PMS_SUPER_OFF + page));
        pms_anchor_seal((void *)(stage->map + PMS_ANCHOR_OFF + page));
    }
    soil(stage, 0, PMS_ROOT_OFF);
    if (log_bytes < PMS_LOG_MIN || log_bytes > stage->size - PMS_LOG_OFF)
        return;
    for (uint64_t page = 0; page < 2 * PMS_PAGE; page += PMS_PAGE)
        seal_frames(stage, log_bytes, (void *)(stage->map + PMS_ANCHOR_OFF + page));
    soil(stage, PMS_LOG_OFF, log_bytes);
}

/* ---- the rules ---- */

static int open_stage(struct hostile_stage *stage, char flag, struct pms_pool **pool)
{
    struct pms_options options = {.flag = flag, .recorder = record, .recorder_context = stage};
    *pool = NULL;
    int status = pms_pool_open(stage->path, &options, pool);
    RULE(status == PMS_OK || status == PMS_E_CORRUPT || status == PMS_E_FORMAT,
         "opening yields %d", status); /* R1 */
    return status;
}

struct told {
    uint64_t all;
    uint64_t cycles; /* objects that refer to each other, and that changes have cut off */
};

static int count_problem(void *context, const char *text)
{
    struct told *told = context;
    if (getenv("HOSTILE_TRACE"))
        fprintf(stderr, "  problem: %s\n", text);
    told->all++;
    told->cycles += strstr(text, "is unreachable") != NULL;
    return 0;
}

static struct told problems(struct pms_pool *pool, struct pms_check_result *result)
{
    struct told told = {0};
    if (pms_enter_read_wait(pool, NULL, -1) != PMS_OK) {
        told.all = 1;
        return told;
    }
    int status = pms_pool_check(pool, count_problem, &told, result);
    (void)pms_leave_read(pool);
    RULE(status == PMS_OK, "the check ends with %d", status);
    RULE((told.all != 0) == (result->problems != 0), "problems are counted and not told");
    return told;
}

static int is_sound(struct told told) { return told.all == told.cycles; }

static void close_pool(struct pms_pool *pool, int sound)
{
    int status = pms_pool_close(pool);
    RULE(!sound || status == PMS_OK, "a sound pool cannot be closed: %d", status);
    pms_pool_drop(pool);
}

static void within_memory(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    RULE((uint64_t)usage.ru_maxrss << 10 < HOSTILE_MEMORY_MAX, "%ld KiB are resident", /* R6 */
         usage.ru_maxrss);
}

/* R4: closed, opened again, alone for reading: the same. */
static void again(struct hostile_stage *stage, uint64_t state)
{
    static struct hostile_look look;
    struct pms_check_result result;
    struct pms_pool *pool;
    int status = open_stage(stage, 'r', &pool);
    RULE(status == PMS_OK, "a sound pool was closed and cannot be opened: %d", status);
    RULE(is_sound(problems(pool, &result)), "a sound pool was closed and is damaged");
    hostile_walk(pool, &look);
    RULE(look.status == PMS_OK && look.state == state, "what was closed is not what is opened");
    close_pool(pool, 1);
}

/* R7.  What open has left to the first write is done before: it writes the anchors anew. */
static void refuses_to_collect(struct pms_pool *pool)
{
    struct pms_check_result result;
    uint64_t freed, commits = pool->tx.commits;
    RULE(pms_enter_write_wait(pool, NULL, -1) == PMS_OK, "nobody may write");
    pms_pool_unlock(pool);
    struct told told = problems(pool, &result);
    if (is_sound(told))
        return;
    int status = pms_pool_collect(pool, &freed);
    RULE(status == PMS_E_CORRUPT, "collecting a damaged pool yields %d", status);
    RULE(pool->tx.commits == commits, "collecting a damaged pool has committed something");
    RULE(problems(pool, &result).all == told.all, "a collection has changed a damaged pool");
}

void hostile_try(struct hostile_stage *stage, char flag, uint64_t seed,
                 struct hostile_result *out)
{
    static struct hostile_look look;
    struct pms_check_result result;
    struct pms_pool *pool;
    memset(out, 0, sizeof *out);
    out->opened = open_stage(stage, flag, &pool);
    if (out->opened != PMS_OK)
        return;
    struct told told = problems(pool, &out->check);
    out->problems = told.all;
    hostile_walk(pool, &look);
    out->walked = look.status;
    out->state = look.state;
    out->shape = look.shape;
    RULE(look.status == PMS_OK || look.status == PMS_E_CORRUPT, "reading ends with %d",
         look.status); /* R2 */
    int sound = out->problems == 0;
    RULE(!sound || look.status == PMS_OK, "the check says sound, and reading %d", /* R3 */
         look.status);
    if (flag == 'w' && seed % 4 == 1 && !is_sound(told))
        refuses_to_collect(pool);
    if (flag == 'w' && seed) {
        hostile_use(pool, &look, seed, sound);
        struct told left = problems(pool, &result);
        RULE(!sound || is_sound(left), "changes have damaged a sound pool"); /* R4, R5 */
        hostile_walk(pool, &look);
    }
    close_pool(pool, sound);
    within_memory();
    if (sound && flag == 'w')
        again(stage, look.state);
}
