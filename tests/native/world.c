/* world.c -- worlds: files, images, verdicts.  world.h is the manual. */
#include "world.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "_native/check.h"
#include "_native/collect.h"
#include "_native/hash.h"
#include "check.h"

struct tally tally;
int world_found, world_quiet, world_slice, world_trace;
static struct world worlds[WORLDS];
static char worlds_dir[64];

struct world *world_number(int level) { return &worlds[level]; }

const char *world_medium(const struct world *w)
{
    return w->files ? "file" : w->eadr ? "eadr" : w->setup->past ? "past" : "direct";
}

void wrong(const struct world *w, const char *what, const char *more, int64_t number)
{
    world_found = 1;
    if (world_quiet)
        return;
    const struct setup *s = worlds[0].setup;
    fprintf(stderr,
            "world %d (%s): %s%s%s (%" PRId64 ")\n  program: seed %" PRIu64 ", log %" PRIu64
            ", limit %" PRIu64 ", units %u, longest %u, %s\n",
            w->level, world_medium(w), what, more ? ": " : "", more ? more : "", number,
            s->seed, s->log_bytes, s->limit, s->units, s->longest,
            s->files  ? "files"
            : s->eadr ? "eadr"
            : s->past ? "direct, past the caches"
                      : "direct");
}

/* Salts and seeds of hashes: the same in each run of a program. */
static uint64_t random_state = 1;

ssize_t getrandom(void *out, size_t len, unsigned flags)
{
    (void)flags;
    for (size_t i = 0; i < len; i++)
        ((uint8_t *)out)[i] = (uint8_t)(dice_roll(&random_state) >> 40);
    return (ssize_t)len;
}

/* ---- states ---- */

struct state *state_new(const struct model *model)
{
    struct state *s = malloc(sizeof *s);
    CHECK(s != NULL);
    s->model = *model;
    s->text = (struct text){0};
    s->refs = 1;
    model_write(model, &s->text);
    s->hash = pms_hash(s->text.bytes, s->text.len, 1);
    return s;
}

void state_put(struct state *s)
{
    if (s && --s->refs == 0) {
        text_free(&s->text);
        free(s);
    }
}

static void allow_none(struct world *w)
{
    while (w->allowed_count > 0)
        state_put(w->allowed[--w->allowed_count]);
}

static void allow(struct world *w, struct state *s)
{
    CHECK(w->allowed_count < ALLOWED_MAX);
    s->refs++;
    w->allowed[w->allowed_count++] = s;
}

/* What an image of `from` may contain, w may. */
void allow_as(struct world *w, const struct world *from)
{
    allow_none(w);
    for (uint32_t i = 0; i < from->allowed_count; i++)
        allow(w, from->allowed[i]);
}

/* From now on only this one. */
void settle_on(struct world *w, struct state *s)
{
    s->refs++;
    allow_none(w);
    allow(w, s);
    state_put(w->now);
    w->now = s;
}

/* This one is durable; units that ended later may be. */
static void settle_from(struct world *w, const struct state *s)
{
    while (w->allowed_count > 1 && w->allowed[0] != s) {
        state_put(w->allowed[0]);
        memmove(w->allowed, w->allowed + 1, --w->allowed_count * sizeof w->allowed[0]);
    }
}

/* ---- files ---- */

/* Each CPU writes its frames in one of two ways; both are looked at on each that can. */
static const char *flush_names[2];

static void find_flushes(void)
{
    struct pms_medium m;
    CHECK_EQ(unsetenv("PMEMSTORE_FLUSH"), 0);
    CHECK_EQ(pms_medium_init(&m, -1, PMS_FLUSH_AUTO), PMS_OK);
    flush_names[0] = pms_flush_name(m.flush_kind);
    flush_names[1] = m.nt_copy_fn ? "nt" : flush_names[0];
}

void worlds_init(const char *directory)
{
    snprintf(worlds_dir, sizeof worlds_dir, "%s/pmemstore_crash.XXXXXX", directory);
    CHECK(mkdtemp(worlds_dir) != NULL);
    find_flushes();
    for (int i = 0; i < WORLDS; i++) {
        struct world *w = &worlds[i];
        w->level = i;
        snprintf(w->path, sizeof w->path, "%s/pool%d", worlds_dir, i);
        w->fd = open(w->path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        CHECK(w->fd >= 0);
        CHECK_EQ(pms_machine_init(&w->machine, MACHINE_BYTES), PMS_OK);
        w->file = mmap(NULL, MACHINE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, w->fd, 0);
        CHECK(w->file != MAP_FAILED);
        w->draft = malloc(sizeof *w->draft);
        CHECK(w->draft != NULL);
        w->line_bit = calloc(MACHINE_BYTES / PMS_LINE / 64, sizeof *w->line_bit);
        CHECK(w->line_bit != NULL);
        memset(w->differs, 0xff, sizeof w->differs);
    }
}

void worlds_free(void)
{
    for (int i = 0; i < WORLDS; i++) {
        struct world *w = &worlds[i];
        allow_none(w);
        state_put(w->now);
        free(w->draft);
        free(w->line);
        free(w->line_bit);
        munmap(w->file, MACHINE_BYTES);
        close(w->fd);
        unlink(w->path);
        pms_machine_free(&w->machine);
        pms_plan_free(&w->plan);
    }
    judge_free();
    rmdir(worlds_dir);
}

void world_log(struct world *w)
{
    w->machine.log_off = PMS_LOG_OFF;
    w->machine.log_end = PMS_LOG_OFF + w->setup->log_bytes;
}

/* ---- recording ---- */

static void trace(const struct world *w, const struct pms_event *event)
{
    static const char *const names[] = {
        "?",          "store",  "nt store",       "flush",    "fence",  "write",
        "write sync", "sync",   "allocate",       "truncate", "create", "link",
        "rename",     "unlink", "sync directory", "durable",  "mark"};
    fprintf(stderr, "  [%d] %s %" PRIu64 " + %" PRIu64, w->level, names[event->kind],
            event->off, event->len);
    if (event->kind <= PMS_EV_NT_STORE && event->off >= PMS_LOG_OFF &&
        event->off < PMS_LOG_OFF + w->setup->log_bytes) {
        const struct pms_frame_pm *f = event->data;
        fprintf(stderr, "  seq %" PRIu64 " kind %u words %u tx %" PRIu64, f->seq, f->kind,
                f->words, f->txid);
    } else if (event->kind == PMS_EV_STORE && event->len == 8) {
        fprintf(stderr, "  %016" PRIx64, *(const uint64_t *)event->data);
    }
    fprintf(stderr, "\n");
}

void world_event(struct world *w, const struct pms_event *event, int fail)
{
    CHECK_EQ(pms_machine_take(&w->machine, event, fail), PMS_OK);
    if (pms_machine_is_point(&w->machine, event))
        world_look(w);
    CHECK_EQ(pms_machine_settle(&w->machine, event, fail), PMS_OK);
}

/* Anchors and superblocks are few, and a kill beside one is worth more than others. */
static int is_rare(const struct pms_event *event) { return event->off < PMS_ROOT_OFF; }

static int is_name(const struct pms_event *event)
{
    return event->kind >= PMS_EV_LINK && event->kind <= PMS_EV_SYNC_DIR;
}

static void set_tier(const struct world *w)
{
    setenv("PMEMSTORE_FLUSH", flush_names[w->setup->past], 1);
    setenv("PMEMSTORE_FORCE_TIER", w->files ? "sync" : w->eadr ? "eadr" : "volatile", 1);
}

static int record(void *context, const struct pms_event *event)
{
    struct world *w = context;
    int mapped = event->kind <= PMS_EV_FENCE;
    file_changes(w, event);
    if (world_found || (mapped && w->files))
        return 0;
    if (w->setup->fault >= 0 && world_planted(w, event))
        return 0;
    if (event->kind == PMS_EV_FENCE)
        w->fences++;
    /* Where a checkpoint is due, whoever enters waits for this very frame. */
    if (event->kind == w->meanwhile_at && w->meanwhile && w->pool->tx.leader &&
        !pms_pool_wants_quiet(w->pool)) {
        void (*meanwhile)(struct world *) = w->meanwhile;
        w->meanwhile = NULL;
        meanwhile(w);
    }
    int fail = 0;
    if ((event->kind == PMS_EV_SYNC || event->kind == PMS_EV_WRITE_SYNC) && w->syncs_left)
        fail = --w->syncs_left == 0;
    if (event->kind <= PMS_EV_FLUSH && w->level == 0 && w->looking && w->setup->stabbed &&
        dice_below(&w->dice, is_rare(event) ? 3 : w->setup->stabbed) == 0)
        world_kill(w);
    if (is_name(event) && w->level == 0 && w->looking)
        world_kill(w);
    if (w->level < world_trace)
        trace(w, event);
    world_event(w, event, fail);
    w->sync_failed |= fail;
    if (w->phase == PHASE_OPEN)
        set_tier(w); /* images were opened meanwhile */
    return fail ? EIO : 0;
}

/* For those who look at an image alone. */
static int record_changes(void *context, const struct pms_event *event)
{
    file_changes(context, event);
    return 0;
}

int world_opens(const struct world *w)
{
    return w->phase == PHASE_OPEN || w->read_only || (w->pool && w->pool->untaken);
}

int world_open(struct world *w, char flag, int recorded)
{
    struct pms_options options = {.flag = flag,
                                  .size = 1, /* the least */
                                  .limit = w->setup->limit,
                                  .log_bytes = w->setup->log_bytes,
                                  /* a third of them count unsafe shutdowns: two more changes of
                                   * the superblock in each session */
                                  .shutdown_device = w->setup->seed % 3 == 0,
                                  .shutdowns = (uint64_t)w->level,
                                  .recorder = recorded ? record : record_changes,
                                  .recorder_context = w};
    set_tier(w);
    w->phase = PHASE_OPEN;
    w->read_only = flag == 'r';
    w->fences = w->frame_kind = w->last_kind = 0;
    w->anchor_stored = w->super_stored = 0;
    int status = pms_pool_open(w->path, &options, &w->pool);
    w->phase = PHASE_RUN;
    return status;
}

void world_drop(struct world *w)
{
    int status = pms_pool_close(w->pool);
    if (status != PMS_OK && !w->sync_failed)
        wrong(w, "close", pms_detail()->what, status);
    world_unpin(w);
    pms_pool_drop(w->pool);
    w->pool = NULL;
}

/* ---- comparing ---- */

void first_difference(const struct world *w, const char *what, const struct text *a,
                      const struct text *b)
{
    size_t i = 0;
    while (i < a->len && i < b->len && a->bytes[i] == b->bytes[i])
        i++;
    if (!world_quiet)
        fprintf(stderr, "  %zu bytes, expected %zu, first difference at %zu\n", a->len, b->len,
                i);
    for (size_t k = i > 64 ? i - 64 : 0; !world_quiet && k < i + 64; k++)
        fprintf(stderr, "%s%02x/%02x", k % 16 ? " " : "\n  ", k < a->len ? a->bytes[k] : 0,
                k < b->len ? b->bytes[k] : 0);
    wrong(w, what, NULL, (int64_t)i);
}

static int problem(void *context, const char *text)
{
    wrong(context, "problem", text, 0);
    return 1;
}

void world_compare(struct world *w)
{
    static struct text have, want;
    if (world_found || w->sync_failed || !w->pool)
        return;
    if (pms_enter_read_wait(w->pool, NULL, -1) != PMS_OK)
        return;
    int status = pool_write(w->pool, &have);
    struct pms_check_result result = {0};
    if (status == PMS_OK && !pms_tx_depth(w->pool))
        status = pms_pool_check(w->pool, problem, w, &result);
    if (status != PMS_OK || result.leaked_bytes)
        wrong(w, "the live pool", pms_detail()->what, (int64_t)result.leaked_bytes);
    (void)pms_leave_read(w->pool);
    model_write(pms_tx_depth(w->pool) ? w->draft : &w->now->model, &want);
    if (have.len != want.len || memcmp(have.bytes, want.bytes, want.len) != 0)
        first_difference(w, "the open pool does not contain what it should", &have, &want);
}

void world_collect(struct world *w)
{
    struct pms_check_result result = {0};
    uint64_t freed;
    if (world_found || w->sync_failed)
        return;
    world_unpin(w);
    if (world_expected(w, "collect", pms_pool_collect(w->pool, &freed)) != PMS_OK)
        return;
    world_drain(w);
    if (pms_enter_read_wait(w->pool, NULL, -1) != PMS_OK)
        return;
    int status = pms_pool_check(w->pool, problem, w, &result);
    (void)pms_leave_read(w->pool);
    if (status != PMS_OK || result.orphans)
        wrong(w, "orphans are left", NULL, (int64_t)result.orphans);
}

/* ---- world 0 ---- */

void world_reset(const struct setup *setup)
{
    struct world *w = &worlds[0];
    for (int i = 0; i < WORLDS; i++) {
        worlds[i].setup = setup;
        worlds[i].looking = 0;
    }
    w->dice = setup->seed * 0x9e3779b97f4a7c15ull + 1;
    random_state = dice_roll(&w->dice);
    w->files = setup->files;
    w->eadr = w->machine.eadr = setup->eadr;
    judge_forget();
    w->most = setup->most;
    w->meanwhile = NULL;
    w->meanwhile_at = PMS_EV_WRITE_SYNC;
    w->sync_failed = 0;
    w->syncs_left = 0;
    world_log(w);
    tally.programs++;
}

/* The open pool is empty: so is its model. */
void world_is_empty(struct world *w, uint64_t root)
{
    static struct model model;
    model_start(&model, root);
    struct state *s = state_new(&model);
    settle_on(w, s);
    state_put(s);
}

uint64_t world_root(const struct world *w)
{
    return pms_get(w->pool, PMS_ROOT_OFF + offsetof(struct pms_root_pm, root));
}

void world_create(const struct setup *setup)
{
    struct world *w = &worlds[0];
    world_reset(setup);
    CHECK_EQ(world_open(w, 'n', 0), PMS_OK);
    world_is_empty(w, world_root(w));
    CHECK_EQ(pms_pool_close(w->pool), PMS_OK);
    pms_pool_drop(w->pool);
    struct stat st;
    close(w->fd); /* "n" has put a new file there */
    munmap(w->file, MACHINE_BYTES);
    w->fd = open(w->path, O_RDWR | O_CLOEXEC);
    CHECK(w->fd >= 0 && fstat(w->fd, &st) == 0 && (uint64_t)st.st_size <= MACHINE_BYTES);
    w->file = mmap(NULL, MACHINE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, w->fd, 0);
    CHECK(w->file != MAP_FAILED);
    CHECK_EQ(pms_machine_load(&w->machine, w->file, (uint64_t)st.st_size), PMS_OK);
    CHECK_EQ(world_open(w, 'w', 1), PMS_OK);
    w->looking = 1;
    w->syncs_left = (uint64_t)setup->fail_sync;
}

void world_close(struct world *w)
{
    if (w->pool)
        world_drop(w);
    world_look(w);
    w->looking = 0;
}

void world_reopen(struct world *w)
{
    world_drop(w);
    tally.reopened++;
    if (w->sync_failed)
        return;
    int status = world_open(w, 'w', 1);
    if (status != PMS_OK && !w->sync_failed)
        wrong(w, "reopen", pms_detail()->what, status);
}

/* ---- units ---- */

/* Is this a status that a program may meet? */
int world_expected(struct world *w, const char *what, int status)
{
    if (status == PMS_OK)
        return status;
    if (status == PMS_E_FULL) {
        tally.full++;
        return status;
    }
    if (w->sync_failed && (status == PMS_E_MEDIA || status == PMS_E_POISONED))
        return status;
    wrong(w, what, pms_detail()->what, status);
    return status;
}

/* The unit has committed: wait for its sync, or let the next ones join the group. */
static void committed(struct world *w, struct state *after, uint64_t ticket)
{
    after->refs++;
    state_put(w->now);
    w->now = after;
    tally.units++;
    if (ticket && w->allowed_count < ALLOWED_MAX - 1 &&
        (w->pool->tx.leader || dice_below(&w->dice, 4) == 0))
        return;
    if (ticket) {
        int status = pms_wait_durable(w->pool, ticket);
        if (world_expected(w, "wait for the sync", status) != PMS_OK)
            return;
    }
    if (w->now == after)
        settle_on(w, after);
    else
        settle_from(w, after);
    if (dice_below(&w->dice, 3) == 0)
        world_look(w);
}

void world_drain(struct world *w)
{
    while (w->files && !world_found && !w->sync_failed && w->allowed_count > 1) {
        const struct state *last = w->now;
        int status = pms_wait_durable(w->pool, w->pool->tx.ticket_issued);
        if (world_expected(w, "wait for the sync", status) == PMS_OK && w->now == last)
            settle_on(w, w->now); /* nothing ended meanwhile */
    }
}

/* The commit that was under way did not happen. */
static void disallow(struct world *w) { state_put(w->allowed[--w->allowed_count]); }

static int enter(struct world *w)
{
    int status = pms_enter_write_wait(w->pool, NULL, -1);
    if (w->files && status == PMS_OK && w->allowed_count > 1 &&
        w->pool->tx.ticket_durable == w->pool->tx.ticket_issued)
        settle_on(w, w->now); /* the group was written on the way in */
    return world_expected(w, "enter", status);
}

int world_single(struct world *w, const struct action *action, int fail)
{
    uint64_t made = 0, ticket = 0;
    if (w->level < world_trace)
        fprintf(stderr, "[%d] %s%s, object %u index %u/%u key %d value %u bytes %u\n", w->level,
                action_name(action), fail ? " (fails)" : "", action->object, action->index,
                action->count, (int)action->key, action->value.tag, action->value.len);
    PMS_TRY(enter(w));
    struct model *after = w->draft;
    *after = w->now->model;
    action_model(after, action);
    struct state *s = state_new(after);
    if (!fail)
        allow(w, s);
    w->doing = fail ? NULL : action;
    int status = action_pool(w->pool, &w->now->model, action, &made);
    if (made)
        s->model.object[action->value.num].off = made;
    if (status == PMS_OK && fail)
        status = PMS_E_INVAL;
    w->phase = fail ? PHASE_ABORT : PHASE_RUN;
    status = pms_leave_write(w->pool, status, &ticket);
    w->phase = PHASE_RUN;
    w->doing = NULL;
    if (fail && status == PMS_E_INVAL) {
        status = PMS_OK;
        tally.aborts++;
    } else if (world_expected(w, action_name(action), status) == PMS_OK) {
        committed(w, s, ticket);
    } else if (!fail && !w->sync_failed) {
        disallow(w);
    }
    state_put(s);
    return status;
}

int world_begin(struct world *w)
{
    uint32_t depth = 0;
    int status = pms_tx_begin_wait(w->pool, &depth, -1);
    if (w->files && status == PMS_OK && w->allowed_count > 1 &&
        w->pool->tx.ticket_durable == w->pool->tx.ticket_issued)
        settle_on(w, w->now);
    if (status == PMS_OK && depth == 1)
        *w->draft = w->now->model;
    return world_expected(w, "begin", status);
}

int world_step(struct world *w, const struct action *action, int fail)
{
    uint64_t made = 0, ticket = 0;
    if (w->level < world_trace)
        fprintf(stderr, "[%d] > %s%s, object %u index %u/%u key %d value %u bytes %u\n",
                w->level, action_name(action), fail ? " (fails)" : "", action->object,
                action->index, action->count, (int)action->key, action->value.tag,
                action->value.len);
    PMS_TRY(enter(w));
    int status = action_pool(w->pool, w->draft, action, &made);
    if (status == PMS_OK && fail)
        status = PMS_E_INVAL;
    status = pms_leave_write(w->pool, status, &ticket);
    if (fail && status == PMS_E_INVAL)
        return PMS_OK;
    if (world_expected(w, action_name(action), status) != PMS_OK)
        return status;
    action_model(w->draft, action);
    if (made)
        w->draft->object[action->value.num].off = made;
    return PMS_OK;
}

int world_commit(struct world *w)
{
    uint64_t ticket = 0;
    uint32_t depth = pms_tx_depth(w->pool);
    if (w->level < world_trace)
        fprintf(stderr, "[%d] commit %u\n", w->level, depth);
    struct state *s = NULL;
    if (depth == 1) {
        s = state_new(w->draft);
        allow(w, s);
    }
    int refuse = w->sync_failed;
    int status = world_expected(w, "commit", pms_tx_commit(w->pool, depth, &ticket));
    if (s && refuse && status == PMS_OK)
        wrong(w, "a transaction commits after a failed sync", NULL, 0);
    if (s && status == PMS_OK)
        committed(w, s, ticket);
    else if (s && !w->sync_failed)
        disallow(w);
    state_put(s);
    return status;
}

int world_abort(struct world *w)
{
    if (w->level < world_trace)
        fprintf(stderr, "[%d] abort %u\n", w->level, pms_tx_depth(w->pool));
    w->phase = PHASE_ABORT;
    int status = world_expected(w, "abort", pms_tx_abort(w->pool, pms_tx_depth(w->pool)));
    w->phase = PHASE_RUN;
    tally.aborts++;
    return status;
}

int world_checkpoint(struct world *w)
{
    w->phase = PHASE_CHECKPOINT;
    w->fences = 0;
    int status = world_expected(w, "checkpoint", pms_pool_checkpoint(w->pool));
    w->phase = PHASE_RUN;
    if (status == PMS_OK)
        settle_on(w, w->now);
    return status;
}

int world_grow(struct world *w)
{
    return world_expected(w, "grow", pms_pool_grow(w->pool, w->pool->super.size + 1));
}
