/* test_crash.c -- no crash shows anything but the state before or after a unit of work.
 *
 *   test_crash                              the slice that runs with every build
 *   test_crash SECONDS [SEED]               random programs from SEED on; 0: one, as reported
 *   test_crash recovery SECONDS [SEED]      the same, with crashes inside recovery
 *   test_crash faults [NAME [PROGRAMS]]     planted faults: each must be found
 *   test_crash directed                     the suspects alone
 *   test_crash openings                     pools that are made, opened, grown
 *   test_crash threads PROGRAMS             several threads and group commit
 *   CRASH_DIRECTORY=...                     where its pools are (default: /dev/shm)
 *   CRASH_TRACE=n                           print what the worlds below n do
 *   CRASH_MOST=n                            images at a point of a random program; default 16
 *
 * world.h tells how; machine.h has the model of the medium, contents.h that of the pool.
 */
#include "world.h"

#include <time.h>
#include <unistd.h>

#include "check.h"

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* A number of images that may be beyond all numbers. */
static const char *many(double n, char text[32])
{
    if (n > 1e300)
        snprintf(text, 32, "more than 1e300");
    else
        snprintf(text, 32, "%.3g", n);
    return text;
}

static void report(double seconds)
{
    char spared[32], largest[32];
    double points = tally.points ? (double)tally.points : 1;
    printf("%.1f s: %" PRIu64 " programs, %" PRIu64 " units, %" PRIu64 " images (%" PRIu64
           " read-only, %" PRIu64 " crossed, %" PRIu64 " went on), %" PRIu64 " kills, %" PRIu64
           " aborts, %" PRIu64 " full, %" PRIu64 " reopened\n",
           seconds, tally.programs, tally.units, tally.images, tally.readonly, tally.crossed,
           tally.nested, tally.killed, tally.aborts, tally.full, tally.reopened);
    printf("%" PRIu64 " of %" PRIu64
           " states of logs had pending lines that they do not read: %s images spared; %" PRIu64
           " states walked; at most %s images at a point, %.0f pending on average\n",
           tally.unread, tally.probes, many(tally.spared, spared), tally.recovered,
           many(tally.largest, largest), (double)tally.items / points);
    printf("images: %" PRIu64 " distinct, %" PRIu64
           " duplicates, %.0f/s (%.0f/s of CPU); points: %" PRIu64
           ", %.1f %% exhaustive, %.1f %% but for torn stores, the rest sampled; %s\n",
           tally.distinct, tally.images - tally.distinct, (double)tally.images / seconds,
           (double)tally.images * CLOCKS_PER_SEC / (double)(clock() + 1), tally.points,
           100 * (double)tally.exhaustive / points, 100 * (double)tally.whole / points,
           world_found ? "VIOLATION" : "no violation");
}

/* Is the planted fault found, by so many programs at most? */
static int find_fault(int fault, uint32_t programs)
{
    uint64_t images = tally.images;
    double start = now_s();
    tally.planted = 0;
    for (uint32_t n = 1; n <= programs; n++) {
        int recovery = strncmp(world_faults[fault].name, "rec_", 4) == 0;
        struct setup setup = recovery ? setup_recovery(n) : setup_random(n);
        setup.files = world_faults[fault].files;
        setup.eadr = 0; /* flushes are what is left out */
        setup.fail_sync = recovery && setup.files ? 1 + (int)(n % 9) : 0;
        setup.fault = fault;
        setup.crossed = 0;
        world_quiet = 1;
        world_program(&setup);
        world_quiet = 0;
        if (world_found) {
            world_found = 0;
            printf("  %-20s found by program %u, image %" PRIu64 ", %.1f s\n",
                   world_faults[fault].name, n, tally.images - images, now_s() - start);
            return 1;
        }
    }
    printf("  %-20s NOT FOUND by %" PRIu64 " images, %" PRIu64 " events left out\n",
           world_faults[fault].name, tally.images - images, tally.planted);
    return 0;
}

/* How many were not found. */
static int all_faults(const char *name, uint32_t programs)
{
    int missed = 0;
    for (int i = 0; i < world_fault_count; i++)
        if (name ? strcmp(name, world_faults[i].name) == 0 : !world_faults[i].slow)
            missed += !find_fault(i, programs);
    return missed;
}

static void recovery_programs(uint64_t seed, double seconds)
{
    double began = now_s();
    do {
        struct setup setup = setup_recovery(seed);
        world_program(&setup);
        seed++;
    } while (!world_found && now_s() - began < seconds);
}

static void random_programs(uint64_t seed, double seconds)
{
    double began = now_s();
    do {
        struct setup setup = setup_random(seed);
        if (getenv("CRASH_MOST"))
            setup.most = (uint32_t)strtoul(getenv("CRASH_MOST"), NULL, 10);
        setup.fail_sync = seed % 4 == 0 ? 1 + (int)(seed % 41) : 0;
        world_program(&setup);
        seed++;
    } while (!world_found && now_s() - began < seconds);
}

int main(int argc, char **argv)
{
    double began = now_s();
    int missed = 0;
    setvbuf(stdout, NULL, _IOLBF, 0);
    world_trace = getenv("CRASH_TRACE") ? atoi(getenv("CRASH_TRACE")) : 0;
    const char *directory = getenv("CRASH_DIRECTORY");
    if (!directory)
        directory = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    worlds_init(directory);
    if (argc > 1 && strcmp(argv[1], "faults") == 0) {
        missed =
            all_faults(argc > 2 ? argv[2] : NULL, argc > 3 ? (uint32_t)atoi(argv[3]) : 100);
    } else if (argc > 1 && strcmp(argv[1], "directed") == 0) {
        world_directed();
    } else if (argc > 1 && strcmp(argv[1], "openings") == 0) {
        world_openings();
    } else if (argc > 2 && strcmp(argv[1], "threads") == 0) {
        world_threads(strtoull(argv[2], NULL, 10));
    } else if (argc > 2 && strcmp(argv[1], "recovery") == 0) {
        recovery_programs(argc > 3 ? strtoull(argv[3], NULL, 10) : 1, atof(argv[2]));
    } else if (argc > 1) {
        random_programs(argc > 2 ? strtoull(argv[2], NULL, 10) : 1, atof(argv[1]));
    } else {
        world_slice = 1;
        world_directed();
        world_openings();
        world_threads(6);
        if (!world_found)
            missed = all_faults(NULL, 100);
        random_programs(1, 5);
    }
    report(now_s() - began);
    worlds_free();
    return world_found || missed;
}
