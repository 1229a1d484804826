/* test_faults.c -- every system call that the core makes fails: the N-th, for each N until there is
 * no N-th, by itself and from there on, with each errno that it may have.
 *
 * Whatever happens, each call of the core returns a named status with a reason; nothing dies,
 * hangs or leaks a descriptor or a mapping; a pool that stayed open goes on (or, after a failed
 * sync, reads); and three files open, are sound and have all that was acknowledged: the one that
 * was closed, a copy from the moment before (a kill), and after a failed sync what the medium
 * has (a power cut).
 *
 *   test_faults        spreads some N over the whole range, in seconds
 *   test_faults all    each N, in minutes
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "_native/mapping.h"
#include "inject.h"
#include "lives.h"
#include "pool_fixture.h"

#define NO_UNIT UNITS

struct scenario {
    const char *name;
    char flag;      /* the open under fire; 0: opened before */
    int from;       /* 0 no file, 1 a closed pool, 2 a killed one */
    int granted;    /* as on a DAX device, and then nowhere else */
    uint64_t limit; /* another one than the pool has: superblocks are written */
    enum unit unit[8];
    void (*instead)(struct life *life); /* of all that */
    int full;                           /* so is the file system */
    uint32_t protect;                   /* left out where files cannot have flags */
};

static struct life life;
static struct image closed, killed;
static const struct scenario *scenario;
static struct failure failure;
static uint64_t every; /* 0: some N alone */

/* ---- what was done, in numbers ---- */

enum kind { EIO_, ENOSPC_, EINTR_, ENOMEM_, OTHER_, SHORT_, CLEAN_, REVERTED_, LATE_, KINDS };
static const char *const kind_names[KINDS] = {"EIO",         "ENOSPC",         "EINTR",
                                              "ENOMEM",      "other",          "short",
                                              "EIO (clean)", "EIO (reverted)", "EIO (late)"};
static uint64_t points, points_of[KINDS], points_at[CALLS], ended[PMS_E_WAIT + 1], runs;

static enum kind kind_of(const struct failure *f)
{
    if (f->model != MODEL_NONE)
        return f->model == MODEL_CLEAN      ? CLEAN_
               : f->model == MODEL_REVERTED ? REVERTED_
                                            : LATE_;
    switch (f->err) {
    case EIO:
        return EIO_;
    case ENOSPC:
        return ENOSPC_;
    case EINTR:
        return EINTR_;
    case ENOMEM:
        return ENOMEM_;
    default:
        return f->err == INJECT_SHORT ? SHORT_ : OTHER_;
    }
}

static void count(void)
{
    points++;
    points_of[kind_of(&failure)]++;
    points_at[failure.call]++;
    ended[life.status]++;
}

static void report(void)
{
    static const char *const names[] = {
        "transparent", "MISSING", "CORRUPT", "FORMAT",   "FULL",     "BUSY",  "CLOSED",
        "DURABILITY",  "TX",      "STALE",   "MEDIA",    "OS",       "NOMEM", "TIMEOUT",
        "INTR",        "CHANGED", "FORKED",  "READONLY", "POISONED", "INVAL", "WAIT"};
    const char *between = "";
    printf("%" PRIu64 " injection points in %" PRIu64 " runs: ", points, runs);
    for (int k = 0; k < KINDS; k++)
        printf("%s%s %" PRIu64, k ? ", " : "", kind_names[k], points_of[k]);
    printf("; ended: ");
    for (int s = 0; s <= PMS_E_WAIT; s++)
        if (ended[s]) {
            printf("%s%s %" PRIu64, between, names[s], ended[s]);
            between = ", ";
        }
    printf("\n");
}

static void context(void)
{
    static const char *const models[] = {"", ", clean", ", reverted", ", late"};
    fprintf(stderr, "  %s, on %s: %s number %llu%s: %s%s\n", scenario ? scenario->name : "?",
            life.files ? "a file" : "a direct medium", inject_name(failure.call),
            (unsigned long long)failure.nth, failure.for_ever ? " and all later ones" : "",
            failure.err == INJECT_SHORT ? "short" : strerror(failure.err),
            models[failure.model]);
}

static void hangs(int number)
{
    (void)number;
    context();
    static const char what[] = "  hangs\n";
    _exit(write(2, what, sizeof what - 1) > 0 ? 1 : 2);
}

/* ---- nothing is left ---- */

static int descriptors(void)
{
    int n = 0;
    DIR *dir = opendir("/proc/self/fd");
    CHECK(dir != NULL);
    while (readdir(dir))
        n++;
    closedir(dir);
    return n;
}

static int mappings(void)
{
    char line[512];
    int n = 0;
    FILE *file = fopen("/proc/self/maps", "re");
    CHECK(file != NULL);
    while (fgets(line, sizeof line, file))
        n += strstr(line, life.dir) != NULL;
    fclose(file);
    return n;
}

/* Files besides the pool: there may be one if it could not be unlinked. */
static void tidy_directory(int may)
{
    char path[400];
    struct dirent *entry;
    DIR *dir = opendir(life.dir);
    CHECK(dir != NULL);
    while ((entry = readdir(dir))) {
        if (entry->d_name[0] == '.' || !strcmp(entry->d_name, "pool"))
            continue;
        HOLDS(may);
        snprintf(path, sizeof path, "%s/%s", life.dir, entry->d_name);
        HOLDS(unlink(path) == 0);
    }
    closedir(dir);
}

/* ---- one attempt ---- */

static struct pms_options options_of(const struct scenario *s)
{
    struct pms_options options = {.flag = s->flag ? s->flag : 'w', .limit = s->limit};
    options.protect = s->protect;
    options.watch = PMS_WATCH_OFF; /* looks that time decides on would not be counted alike */
    if (s->flag == 'c' || s->flag == 'n') {
        options.size = 512u << 10;
        options.limit = POOL_LIMIT;
        options.log_bytes = POOL_LOG;
    }
    return options;
}

/* What a crash may leave, and what is expected of it. */
struct remains {
    struct image image;
    enum expected expected[UNITS];
};

static void remember(struct remains *r)
{
    memcpy(r->expected, life.expected, sizeof r->expected);
}

/* The pool is still open and nothing fails any more. */
static void go_on(struct remains *kill)
{
    int reads = scenario->flag == 'r', dead = life.dead, untold = medium_untold();
    int status;
    remember(kill); /* what may be either is known in memory alone */
    life_verify(&life);
    status = life_unit(&life, UNIT_LATER);
    int wanted = dead ? PMS_E_POISONED : untold ? PMS_E_MEDIA : PMS_OK;
    HOLDS(status == (reads ? PMS_E_READONLY : wanted));
    life_verify(&life);
    kill->expected[UNIT_LATER] = life.expected[UNIT_LATER];
    memcpy(life.expected, kill->expected, sizeof life.expected);
    image_take(&kill->image, life.path);
    HOLDS(life_close(&life) == PMS_OK);
}

static void check_remains(struct remains *r)
{
    if (!r->image.size)
        return;
    memcpy(life.expected, r->expected, sizeof life.expected);
    image_put(&r->image, life.path);
    life_again(&life, UNIT_AGAIN);
}

/* Once more, on what the process that met the failure has left in the page cache; then the power
 * fails. */
static void go_on_and_cut(struct remains *cut)
{
    struct pms_options options = {.flag = 'w'};
    HOLDS(life_open(&life, &options) == PMS_OK);
    life_verify(&life);
    HOLDS(life_unit(&life, UNIT_AGAIN) == PMS_OK);
    remember(cut);
    medium_copy(&cut->image);
    HOLDS(life_close(&life) == PMS_OK);
}

static void under_fire(void)
{
    struct pms_options options = options_of(scenario);
    int status = PMS_OK;
    injector.full = scenario->full;
    inject_arm(&failure);
    if (scenario->flag)
        status = life_open(&life, &options);
    for (int i = 0; status == PMS_OK && life.pool && scenario->unit[i] != NO_UNIT; i++)
        (void)life_unit(&life, scenario->unit[i]);
    inject_disarm();
}

/* What must hold of the statuses alone. */
static void check_statuses(void)
{
    HOLDS(injector.retried_syncs == 0);
    if (scenario->full) /* growth is refused, whatever else fails */
        return;
    if (scenario->protect &&
        failure.call == CALL_IOCTL) /* a flag that cannot be lifted is told */
        return;
    if (injector.injected == 0 ||
        (failure.model == MODEL_NONE && inject_transparent(failure.call, failure.err)))
        HOLDS(life.status == PMS_OK);
}

static void attempt_pool(void)
{
    static struct remains kill, cut, later_cut; /* memory that is used again */
    int fd = -1, fds = descriptors();
    if (scenario->from)
        image_put(scenario->from == 1 ? &closed : &killed, life.path);
    else
        (void)unlink(life.path);
    if (scenario->from && scenario->flag == 'n') /* which the new one takes over */
        CHECK_EQ(chmod(life.path, 0600), 0);
    for (enum unit unit = 0; unit < UNITS; unit++)
        life.expected[unit] = BEFORE;
    if (scenario->from == 2)
        life.expected[UNIT_NUMBER] = life.expected[UNIT_LIST] = AFTER;
    if (!scenario->flag) {
        struct pms_options options = options_of(scenario);
        HOLDS(life_open(&life, &options) == PMS_OK);
    }
    if (life.files && scenario->from && scenario->flag != 'n') {
        fd = open(life.path, O_RDWR | O_CLOEXEC);
        CHECK(fd >= 0);
        medium_start(fd);
    }
    life.status = PMS_OK;
    life.dead = 0;
    life.bare = scenario->flag == 'n' || scenario->flag == 'c';
    kill.image.size = cut.image.size = later_cut.image.size = 0;
    under_fire();
    check_statuses();
    if (fd >= 0) {
        remember(&cut);
        medium_copy(&cut.image);
    }
    if (life.pool)
        go_on(&kill);
    inject_tidy();
    life.dead = 0;
    HOLDS(mappings() == 0);
    if (access(life.path, F_OK) == 0) {
        if (fd >= 0)
            go_on_and_cut(&later_cut);
        else
            life_again(&life, UNIT_AGAIN);
    } else {
        HOLDS(!scenario->from && life.status != PMS_OK);
    }
    medium_stop();
    if (fd >= 0)
        close(fd);
    HOLDS(descriptors() == fds);
    tidy_directory(failure.call == CALL_UNLINK);
    check_remains(&kill);
    check_remains(&cut);
    check_remains(&later_cut);
}

static void attempt(void)
{
    runs++;
    alarm(60);
    if (!scenario->instead) {
        attempt_pool();
        return;
    }
    int fds = descriptors();
    life.status = PMS_OK;
    life.dead = 0;
    scenario->instead(&life);
    check_statuses();
    inject_tidy();
    HOLDS(descriptors() == fds);
    HOLDS(mappings() == 0);
}

/* ---- the layer of mappings ---- */

#define MAP_BYTES 65536u

static void use_mapping(struct life *l, int fd)
{
    struct pms_mapping *u = NULL;
    struct pms_mapping_info info;
    struct pms_prepared answer;
    int status = CALL(l, pms_mapping_fill(fd, MAP_BYTES));
    if (status == PMS_OK)
        status = CALL(l, pms_mapping_open(&u, fd, MAP_BYTES, 0, PMS_WATCH_OFF));
    if (status != PMS_OK) {
        close(fd);
        return;
    }
    pms_mapping_info(u, &info);
    memset((void *)(uintptr_t)info.base, 0x5a, MAP_BYTES);
    (void)CALL(l, pms_mapping_flush(u, 100, 5000));
    (void)CALL(l, pms_mapping_fence(u));
    int dead = l->dead; /* from then on every call says so */
    status = CALL(l, pms_mapping_persist(u, 0, MAP_BYTES));
    HOLDS(!dead || status == PMS_E_MEDIA);
    status = CALL(l, pms_mapping_prepare(u, 0, MAP_BYTES, &answer));
    if (status == PMS_OK) {
        HOLDS(answer.reason[0] != 0 && (!answer.granted || !l->dead));
        if (!answer.granted && strstr(answer.reason, "fsync failed"))
            l->dead = 1;
    }
    dead = l->dead;
    status = CALL(l, pms_mapping_check(u));
    HOLDS(!dead || status == PMS_E_MEDIA);
    for (uint32_t i = 0; i < MAP_BYTES; i++)
        HOLDS(((const uint8_t *)(uintptr_t)info.base)[i] == 0x5a);
    HOLDS(CALL(l, pms_mapping_close(u)) == PMS_OK);
    pms_mapping_free(u);
}

static void mapping(struct life *l)
{
    char path[128];
    snprintf(path, sizeof path, "%s/mapping", l->dir);
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    CHECK(fd >= 0);
    inject_arm(&failure);
    use_mapping(l, fd);
    inject_disarm();
    CHECK_EQ(unlink(path), 0);
}

/* A pool of its own: who opens a leased file waits. */
static void lease(struct life *l)
{
    char path[128];
    struct pms_pool *pool = NULL;
    struct pms_options options = {.flag = 'n',
                                  .size = 512u << 10,
                                  .log_bytes = POOL_LOG,
                                  .watch = PMS_WATCH_OFF,
                                  .protect = PMS_PROTECT_LEASE};
    snprintf(path, sizeof path, "%s/leased", l->dir);
    inject_arm(&failure);
    if (CALL(l, pms_pool_open(path, &options, &pool)) == PMS_OK) {
        (void)CALL(l, pms_pool_checkpoint(pool));
        (void)CALL(l, pms_pool_close(pool));
        pms_pool_drop(pool);
    }
    inject_disarm();
    tidy_directory(1);
}

/* ---- threads that wait for each other ---- */

static sem_t go, there;

static void *leave_a_transaction(void *arg)
{
    uint32_t depth;
    CHECK_EQ(pms_tx_begin_wait(arg, &depth, -1), PMS_OK);
    return NULL;
}

static void *hold_a_transaction(void *arg)
{
    uint32_t depth;
    uint64_t ticket;
    CHECK_EQ(pms_tx_begin_wait(arg, &depth, -1), PMS_OK);
    CHECK_EQ(sem_post(&there), 0);
    CHECK_EQ(sem_wait(&go), 0);
    CHECK_EQ(pms_tx_commit(arg, 1, &ticket), PMS_OK);
    return NULL;
}

static void *write_slowly(void *arg)
{
    struct pms_pool *pool = arg;
    uint64_t ticket = 0;
    CHECK_EQ(pms_enter_write_wait(pool, NULL, -1), PMS_OK);
    pms_put(pool, PMS_ROOT_OFF + 2048, pms_get(pool, PMS_ROOT_OFF + 2048) + 1);
    CHECK_EQ(pms_leave_write(pool, PMS_OK, &ticket), PMS_OK);
    CHECK_EQ(sem_post(&there), 0);
    if (ticket) {
        int status = pms_wait_durable(pool, ticket);
        CHECK(status == PMS_OK || status == PMS_E_MEDIA);
    }
    pms_pool_drop(pool);
    return NULL;
}

static void *persist_slowly(void *arg)
{
    CHECK_EQ(sem_post(&there), 0);
    (void)pms_mapping_persist(arg, 0, MAP_BYTES);
    return NULL;
}

/* A pool is closed while its leader writes, after a sync of somebody else has failed. */
static void close_beside_the_leader(struct life *l)
{
    pthread_t thread;
    l->pool->refs++;
    injector.slow = 1;
    CHECK_EQ(pthread_create(&thread, NULL, write_slowly, l->pool), 0);
    CHECK_EQ(sem_wait(&there), 0);
    while (l->files && !*(volatile int *)&l->pool->tx.leader &&
           *(volatile uint64_t *)&l->pool->tx.ticket_durable == 0)
        sched_yield();
    l->pool->poisoned = 1;
    inject_arm(&failure);
    HOLDS(life_close(l) == PMS_OK);
    inject_disarm();
    CHECK_EQ(pthread_join(thread, NULL), 0);
    injector.slow = 0;
}

static void close_beside_a_sync(struct life *l)
{
    struct pms_mapping *u = NULL;
    pthread_t thread;
    char path[128];
    snprintf(path, sizeof path, "%s/mapping", l->dir);
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    CHECK(fd >= 0);
    HOLDS(pms_mapping_fill(fd, MAP_BYTES) == PMS_OK);
    HOLDS(pms_mapping_open(&u, fd, MAP_BYTES, 0, PMS_WATCH_OFF) == PMS_OK);
    injector.slow = 1;
    CHECK_EQ(pthread_create(&thread, NULL, persist_slowly, u), 0);
    CHECK_EQ(sem_wait(&there), 0);
    HOLDS(usleep(1000) == 0); /* until it is inside */
    inject_arm(&failure);
    HOLDS(CALL(l, pms_mapping_close(u)) == PMS_OK);
    inject_disarm();
    CHECK_EQ(pthread_join(thread, NULL), 0);
    pms_mapping_free(u);
    injector.slow = 0;
    CHECK_EQ(unlink(path), 0);
}

/* The waiting is under fire; what is done is not. */
static void waits(struct life *l)
{
    struct pms_options options = {.flag = 'w'};
    pthread_t thread;
    image_put(&closed, l->path);
    HOLDS(life_open(l, &options) == PMS_OK);
    CHECK_EQ(pthread_create(&thread, NULL, leave_a_transaction, l->pool), 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    inject_arm(&failure);
    int status = pms_enter_write_wait(l->pool, NULL, 5000000);
    inject_disarm();
    HOLDS(status == PMS_OK || status == PMS_E_TIMEOUT); /* the kernel may take its time */
    while (status != PMS_OK)
        status = pms_enter_write_wait(l->pool, NULL, -1);
    uint64_t ticket;
    HOLDS(pms_leave_write(l->pool, PMS_OK, &ticket) == PMS_OK);
    CHECK_EQ(pthread_create(&thread, NULL, hold_a_transaction, l->pool), 0);
    CHECK_EQ(sem_wait(&there), 0);
    uint64_t injected = injector.injected;
    inject_arm(&failure);
    HOLDS(pms_enter_write_wait(l->pool, NULL, 2000000) == PMS_E_TIMEOUT);
    inject_disarm();
    CHECK_EQ(sem_post(&go), 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    injected += injector.injected;
    close_beside_the_leader(l);
    injected += injector.injected;
    close_beside_a_sync(l);
    injector.injected += injected;
}

/* ---- all of them ---- */

#define LIVES(...) .unit = {__VA_ARGS__, NO_UNIT}
#define NOTHING .unit = {NO_UNIT}

static const struct scenario scenarios[] = {
    {"create with c", 'c', 0, LIVES(UNIT_NUMBER, UNIT_CLOSE)},
    {"create with n", 'n', 0, LIVES(UNIT_NUMBER)},
    {"create with n over a pool", 'n', 1, NOTHING},
    {"open", 'w', 1, LIVES(UNIT_NUMBER, UNIT_CLOSE)},
    {"open with another limit", 'w', 1, .limit = POOL_LIMIT + (1u << 20), NOTHING},
    {"open after a kill", 'w', 2, LIVES(UNIT_TEXT)},
    {"read after a kill", 'r', 2, LIVES(UNIT_LOOK, UNIT_CLOSE)},
    {"single operations", 0, 1, LIVES(UNIT_NUMBER, UNIT_TEXT, UNIT_CONTENTS, UNIT_DELETE)},
    {"transactions", 0, 1, LIVES(UNIT_LIST, UNIT_LEVELS, UNIT_NUMBER)},
    {"a roll-back", 0, 1, LIVES(UNIT_ABORTED, UNIT_TEXT, UNIT_COLLECT)},
    {"more than the log holds", 0, 1, LIVES(UNIT_BUMP, UNIT_NUMBER)},
    {"growth", 0, 1, LIVES(UNIT_LARGE, UNIT_GROW, UNIT_NUMBER)},
    {"growth without space", 0, 1, LIVES(UNIT_LARGE, UNIT_GROW, UNIT_NUMBER), .full = 1},
    {"create protected", 'c', 0, LIVES(UNIT_NUMBER, UNIT_CLOSE), .protect = PMS_PROTECT_FLAGS},
    {"protected", 'w', 1, LIVES(UNIT_LARGE, UNIT_GROW, UNIT_NUMBER),
     .protect = PMS_PROTECT_FLAGS},
    {"protected after a kill", 'w', 2, LIVES(UNIT_TEXT, UNIT_CLOSE),
     .protect = PMS_PROTECT_FLAGS},
    {"upkeep", 0, 1,
     LIVES(UNIT_DELETE, UNIT_CHECKPOINT, UNIT_COLLECT, UNIT_LOOK, UNIT_CONTENTS,
           UNIT_CHECKPOINT, UNIT_CLOSE)},
    {"mapping", NOTHING, .instead = mapping},
    {"lease", NOTHING, .instead = lease},
    {"waiting", NOTHING, .instead = waits},
    {"create on DAX", 'c', 0, 1, LIVES(UNIT_NUMBER, UNIT_CLOSE)},
    {"open on DAX after a kill", 'w', 2, 1, LIVES(UNIT_TEXT)},
    {"mapping on DAX", .granted = 1, NOTHING, .instead = mapping},
};

/* Some N of `most`: the first ones, and then ever farther apart. */
static uint64_t next_nth(uint64_t n) { return every || n < 24 ? n + 1 : n + 1 + n / 8; }

static void sweep(enum call call, int err, int for_ever, enum model model, uint64_t most)
{
    for (uint64_t n = 1; n <= most; n = next_nth(n)) {
        failure = (struct failure){call, err, n, for_ever, model};
        attempt();
        HOLDS(injector.injected > 0 || scenario->instead == waits);
        if (injector.injected)
            count();
    }
}

static void sweep_call(enum call call, uint64_t most)
{
    for (const int *err = inject_errnos(call); *err; err++) {
        sweep(call, *err, 0, MODEL_NONE, most);
        /* A signal that comes each time is no failure: what is to be transparent goes on. */
        if (*err != EINTR || !inject_transparent(call, EINTR))
            sweep(call, *err, 1, MODEL_NONE, most);
    }
    if (life.files && scenario->from && scenario->flag != 'n' && !scenario->instead) {
        if (inject_is_sync(call)) {
            sweep(call, EIO, 0, MODEL_CLEAN, most);
            sweep(call, EIO, 0, MODEL_REVERTED, most);
        } else if (call == CALL_PWRITE) {
            sweep(call, EIO, 0, MODEL_LATE, most);
        }
    }
}

/* Flags take a privilege, and a file system that has them. */
static int flags_allowed(void)
{
    char path[128];
    snprintf(path, sizeof path, "%s/flags", life.dir);
    return pms_guard_try(path, PMS_PROTECT_FLAGS) == PMS_OK;
}

static void sweep_scenario(const struct scenario *s)
{
    if (s->protect && !flags_allowed())
        return;
    uint64_t counts[CALLS];
    int timed = s->instead == waits; /* how often they call is not the same each time */
    scenario = s;
    failure = (struct failure){.nth = 0};
    attempt(); /* nothing fails: how many calls are there? */
    memcpy(counts, injector.count, sizeof counts);
    for (enum call call = 0; call < CALLS; call++) {
        if (timed) {
            sweep_call(call, 1);
            continue;
        }
        if (!counts[call])
            continue;
        sweep_call(call, counts[call]);
        failure = (struct failure){call, *inject_errnos(call), counts[call] + 1, 0, MODEL_NONE};
        attempt(); /* the first N of which there is no call */
        HOLDS(injector.injected == 0);
    }
}

/* The first mapping of a process installs handlers: before any other. */
static void first_of_all(void)
{
    static const struct scenario first = {"the first mapping of the process", NOTHING,
                                          .instead = mapping};
    static const struct failure failures[] = {
        {CALL_ATFORK, ENOMEM, 1, 0, MODEL_NONE},
        {CALL_SIGACTION, EINVAL, 1, 0, MODEL_NONE},
        {CALL_MALLOC, ENOMEM, 1, 0, MODEL_NONE},
        {CALL_SIGACTION, EINVAL, 2, 0, MODEL_NONE},
    };
    scenario = &first;
    for (size_t i = 0; i < sizeof failures / sizeof failures[0]; i++) {
        failure = failures[i];
        attempt();
        HOLDS(injector.injected == 1 && life.status != PMS_OK);
        count();
    }
}

/* A commit on a file looks at it without asking for its times: that would stamp the inode anew, and
 * let the sync write it. */
static void look_asks_no_times(void)
{
    static const struct failure none = {.nth = 0};
    struct pms_options options = {.flag = 'w'};
    image_put(&closed, life.path);
    CHECK_EQ(life_open(&life, &options), PMS_OK);
    HOLDS(life_unit(&life, UNIT_TEXT) == PMS_OK); /* the first one takes the pool */
    inject_arm(&none);
    HOLDS(life_unit(&life, UNIT_NUMBER) == PMS_OK);
    inject_disarm();
    CHECK_EQ(injector.count[CALL_PWRITEV2], 1);
    CHECK_EQ(injector.count[CALL_STATX], 1);
    CHECK_EQ(injector.count[CALL_FSTAT], 0);
    CHECK_EQ(life_close(&life), PMS_OK);
}

static void medium(int files, int granted)
{
    life.files = files;
    injector.disguised = files || granted;
    injector.granting = granted;
    if (files || granted)
        CHECK_EQ(unsetenv("PMEMSTORE_FORCE_TIER"), 0);
    else
        CHECK_EQ(setenv("PMEMSTORE_FORCE_TIER", "volatile", 1), 0);
    life_first(&life, &closed, &killed);
    if (files)
        look_asks_no_times();
    for (size_t i = 0; i < sizeof scenarios / sizeof scenarios[0]; i++)
        if (scenarios[i].granted == granted)
            sweep_scenario(&scenarios[i]);
    image_free(&closed);
    image_free(&killed);
}

int main(int argc, char **argv)
{
    life_context = context;
    CHECK(signal(SIGALRM, hangs) != SIG_ERR);
    every = argc > 1 && !strcmp(argv[1], "all");
    snprintf(life.dir, sizeof life.dir, "%s/pmemstore_test.XXXXXX",
             fixture_usable("/dev/shm") ? "/dev/shm" : ".");
    CHECK(mkdtemp(life.dir) != NULL);
    snprintf(life.path, sizeof life.path, "%s/pool", life.dir);
    CHECK_EQ(sem_init(&go, 0, 0), 0);
    CHECK_EQ(sem_init(&there, 0, 0), 0);
    first_of_all();
    medium(1, 0);
    medium(0, 0);
    medium(0, 1);
    for (enum call call = 0; call < CALLS; call++)
        if (!points_at[call]) {
            fprintf(stderr, "%s never failed\n", inject_name(call));
            return 1;
        }
    (void)unlink(life.path);
    CHECK_EQ(rmdir(life.dir), 0);
    report();
    return 0;
}
