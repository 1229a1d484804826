/* When a look at the file is due: pms_watch_begin and pms_watch_due, without a file. */
#include "check.h"
#include "watch.h"

#define SECOND 1000000000ll

/* Units that follow each other closely are timed from the end of the one before, all others from
 * their own beginning; whatever one did may have taken counts for it. */
static void test_close_units(void)
{
    struct pms_watch watch = {.slow_ns = 1000 * SECOND, .period_ns = INT64_MAX / 2};
    pms_watch_begin(&watch);
    int64_t began = watch.began_ns;
    CHECK(began > 0);
    watch.ended_ns = began - 2000 * SECOND; /* the one before is long over */
    CHECK(!pms_watch_due(&watch) && !watch.close_by);
    watch.began_ns = 0;
    pms_watch_begin(&watch); /* so this one is timed by itself */
    CHECK(watch.began_ns >= began);
    CHECK(!pms_watch_due(&watch) && watch.close_by);
    int64_t ended = watch.ended_ns;
    pms_watch_begin(&watch);
    CHECK(watch.began_ns == ended); /* and this one from the end of that */
    CHECK(!pms_watch_due(&watch) && watch.close_by);
    watch.began_ns = watch.ended_ns -= 2000 * SECOND; /* then nothing for a while */
    pms_watch_begin(&watch);
    CHECK(pms_watch_due(&watch) && !watch.close_by); /* it may have been the unit */
    pms_watch_begin(&watch);
    CHECK(!pms_watch_due(&watch));
}

static void test_slow_unit(void)
{
    struct pms_watch watch = {.slow_ns = 1000 * SECOND, .period_ns = INT64_MAX / 2};
    pms_watch_begin(&watch);
    watch.began_ns -= 2000 * SECOND;
    CHECK(pms_watch_due(&watch));
    pms_watch_begin(&watch);
    CHECK(!pms_watch_due(&watch));
    watch.looked_ns = -SECOND; /* a quick one, and the last look is long ago */
    watch.period_ns = 0;
    CHECK(pms_watch_due(&watch));
}

/* Where nothing can be cloned: once a tick. */
static void test_ticks(void)
{
    struct pms_watch watch = {.slow_ns = 1, .by_tick = true};
    int64_t tick;
    bool due;
    pms_watch_begin(&watch);
    CHECK(watch.began_ns == 0); /* nobody asks how long it takes */
    CHECK(pms_watch_due(&watch));
    do {
        watch.looked_tick = tick = pms_watch_tick();
        due = pms_watch_due(&watch);
    } while (pms_watch_tick() != tick);
    CHECK(!due);
    watch.looked_tick--;
    CHECK(pms_watch_due(&watch));
}

static void test_modes(void)
{
    struct pms_watch watch = {.slow_ns = 0};
    CHECK(!pms_watch_due(&watch));
    watch.by_tick = true;
    CHECK(!pms_watch_due(&watch));
    watch.slow_ns = -1;
    CHECK(pms_watch_due(&watch));
}

int main(void)
{
    test_close_units();
    test_slow_unit();
    test_ticks();
    test_modes();
    return 0;
}
