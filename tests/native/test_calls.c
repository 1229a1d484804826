/* test_calls.c -- which system calls an open makes: a few, whatever the pool holds. */
#include <linux/magic.h>
#include <stdlib.h>
#include <sys/vfs.h>
#include <sys/wait.h>

#include "_native/table.h"
#include "inject.h"
#include "pool_fixture.h"

static struct fixture fx;

static void put(uint64_t number)
{
    char name[24];
    snprintf(name, sizeof name, "key %u", (unsigned)number);
    struct pms_key key = fixture_key(name);
    struct pms_val value = {.tag = PMS_TAG_STR, .data = name, .len = strlen(name)};
    CHECK_EQ(OP(fx.pool, pms_dict_set(fx.pool, fx.root, &key, &value)), PMS_OK);
}

/* Another process puts so many new ones, and dies. */
static void kill_after(uint64_t puts)
{
    static uint64_t first;
    fflush(NULL);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        CHECK_EQ(fixture_try_open(&fx, 'w'), PMS_OK);
        for (uint64_t i = 0; i < puts; i++)
            put(first + i);
        _exit(0);
    }
    first += puts;
    int status = 0;
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* Open, close; what the open asked the kernel for is compared. */
static void expect(const uint64_t count[CALLS], int found)
{
    static const struct failure none = {.nth = 0};
    inject_arm(&none);
    CHECK_EQ(fixture_try_open(&fx, 'w'), PMS_OK);
    inject_disarm();
    for (enum call call = 0; call < CALLS; call++)
        if (call < CALL_MALLOC || call > CALL_GETRANDOM) /* whose numbers the child has, too */
            if (injector.count[call] != count[call]) {
                fprintf(stderr, "%s: %u, not %u\n", inject_name(call),
                        (unsigned)injector.count[call], (unsigned)count[call]);
                abort();
            }
    CHECK_EQ(fx.pool->recovered_units != 0, found);
    fixture_close(&fx);
}

static void test_open(int files)
{
    uint64_t count[CALLS] = {[CALL_OPEN] = 1,  [CALL_STAT] = 1,  [CALL_FLOCK] = 1,
                             [CALL_PREAD] = 2, [CALL_IOCTL] = 2, [CALL_FSTATFS] = 1,
                             [CALL_MMAP] = 2,  [CALL_FSTAT] = 2, [CALL_SIGACTION] = 1};
    injector.disguised = files;
    fixture_make(&fx, "/dev/shm");
    fixture_close(&fx);
    if (files) {
        count[CALL_MMAP] += 1; /* is there MAP_SYNC? */
        count[CALL_STATX] += 2;
    } else {
        count[CALL_FSTAT] += 2;
    }
    expect(count, 0);
    kill_after(500);
    expect(count, 1);
    kill_after(1); /* it has taken the pool, and recovered nothing */
    expect(count, 1);
    CHECK_EQ(fixture_try_open(&fx, 'w'), PMS_OK);
    fixture_sound(fx.pool);
    fixture_remove(&fx);
}

int main(void)
{
    struct statfs fs;
    if (statfs("/dev/shm", &fs) != 0 || fs.f_type != TMPFS_MAGIC || !fixture_usable("/dev/shm"))
        return 0;
    test_open(0);
    test_open(1);
    return 0;
}
