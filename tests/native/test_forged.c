/* test_forged.c -- superblocks and anchors with right checksums that no crash can have left. */
#include "pool_fixture.h"

#include <fcntl.h>

static struct fixture fx;

static void move_bytes(int write, uint64_t off, void *bytes, size_t len)
{
    int fd = open(fx.path, O_RDWR);
    ssize_t n = write ? pwrite(fd, bytes, len, (off_t)off) : pread(fd, bytes, len, (off_t)off);
    CHECK_EQ(n, (ssize_t)len);
    CHECK_EQ(close(fd), 0);
}

static uint64_t problems(char flag)
{
    struct pms_check_result result;
    CHECK_EQ(fixture_try_open(&fx, flag), PMS_OK);
    CHECK(flag == 'r' || fx.pool->untaken != NULL);
    uint64_t n = fixture_problems(fx.pool, 1, &result);
    fixture_close(&fx);
    return n;
}

/* The check tells of a forged structure, readers and before the first unit; not of the sound one. */
static void forged_is_told(uint64_t at, void *forged, void *sound, size_t len)
{
    for (int is_sound = 0; is_sound < 2; is_sound++) {
        move_bytes(1, at, is_sound ? sound : forged, len);
        CHECK_EQ(problems('r'), !is_sound);
        CHECK_EQ(problems('w'), !is_sound);
    }
}

static void test_superblocks_of_one_generation_that_differ_are_told(void)
{
    for (uint64_t at = PMS_SUPER_OFF; at <= PMS_SUPER_OFF + PMS_PAGE; at += PMS_PAGE) {
        struct pms_super_pm sound, forged;
        move_bytes(0, at, &sound, sizeof sound);
        forged = sound;
        forged.created_ns++;
        pms_super_seal(&forged);
        forged_is_told(at, &forged, &sound, sizeof sound);
    }
}

/* The same of an anchor: it is not what a torn write leaves. */
static void test_an_anchor_with_a_reserve_is_told(void)
{
    struct pms_anchor_pm sound, forged;
    move_bytes(0, PMS_ANCHOR_OFF, &sound, sizeof sound);
    forged = sound;
    forged.zero1[1] = 1;
    pms_anchor_seal(&forged);
    forged_is_told(PMS_ANCHOR_OFF, &forged, &sound, sizeof sound);
}

/* Of a pool that was closed no frame is read, but the next ones would go there, between lines, and
 * no recovery would see them. */
static void test_an_anchor_that_points_between_lines_is_refused(void)
{
    static const uint64_t wrong[] = {8, 1ull << 40};
    struct pms_anchor_pm sound, forged;
    move_bytes(0, PMS_ANCHOR_OFF, &sound, sizeof sound);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        forged = sound;
        forged.gen += 100;
        forged.closed = 1;
        forged.pos += wrong[i];
        pms_anchor_seal(&forged);
        move_bytes(1, PMS_ANCHOR_OFF, &forged, sizeof forged);
        CHECK_EQ(fixture_try_open(&fx, 'r'), PMS_E_CORRUPT);
        CHECK_EQ(fixture_try_open(&fx, 'w'), PMS_E_CORRUPT);
    }
    move_bytes(1, PMS_ANCHOR_OFF, &sound, sizeof sound);
    CHECK_EQ(problems('w'), 0);
}

static void run_all(const char *parent)
{
    if (!fixture_usable(parent))
        return;
    fixture_make(&fx, parent);
    fixture_close(&fx);
    test_superblocks_of_one_generation_that_differ_are_told();
    test_an_anchor_with_a_reserve_is_told();
    test_an_anchor_that_points_between_lines_is_refused();
    CHECK_EQ(fixture_try_open(&fx, 'w'), PMS_OK);
    fixture_remove(&fx);
}

int main(void)
{
    run_all("/dev/shm");
    run_all(".");
    return 0;
}
