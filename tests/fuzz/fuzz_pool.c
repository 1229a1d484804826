/* fuzz_pool.c -- libFuzzer's target: a sound pool, some words of it forged, meets everything.
 *
 * An input says what is forged, relative to a base that is built in (hostile_pools.c):
 *
 *   byte 0      which base
 *   byte 1      FUZZ_SEAL: new seals on superblocks, anchors, frames; FUZZ_READ: flag 'r'
 *   bytes 2..3  chooses the changes that follow
 *   then, until the end:  3 bytes offset / 8, 1 byte n, n bytes
 *
 * fuzz_mutate.c makes such inputs from knowledge of the format.  The rules that decide are
 * those of tests/native/hostile.h; CONTRIBUTING.md tells how a finding is run again.
 */
#include "fuzz_pool.h"

struct fuzz_base fuzz_base[FUZZ_BASES];

static struct hostile_stage stage[FUZZ_BASES];

/* What AddressSanitizer keeps of freed memory counts for rule R6. */
const char *__asan_default_options(void);
const char *__asan_default_options(void) { return "quarantine_size_mb=8:detect_leaks=1"; }

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    const char *shm = fixture_usable("/dev/shm") ? "/dev/shm" : ".";
    static const uint64_t open_items[FUZZ_BASES] = {0, 0, 20, 400, 0};
    (void)argc;
    (void)argv;
    for (uint32_t i = 0; i < FUZZ_BASES; i++) {
        struct hostile_killed killed;
        if (i == 0) {
            hostile_make_kinds(shm, &fuzz_base[i].image);
        } else { /* the last one has the frames of a file */
            hostile_make_killed(i == FUZZ_BASES - 1 ? "." : shm, open_items[i], &killed);
            fuzz_base[i].image = killed.image;
        }
        fuzz_learn(&fuzz_base[i]);
        hostile_stage_make(&stage[i], &fuzz_base[i].image);
    }
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct hostile_result result;
    if (size < FUZZ_HEAD)
        return -1;
    struct hostile_stage *s = &stage[data[0] % FUZZ_BASES];
    uint64_t seed = 1 + ((uint64_t)data[2] | (uint64_t)data[3] << 8) * 0x9e3779b97f4a7c15ull;
    for (size_t at = FUZZ_HEAD; at + 4 <= size;) {
        uint64_t off = 0;
        memcpy(&off, data + at, 3);
        size_t n = data[at + 3] <= size - at - 4 ? data[at + 3] : size - at - 4;
        hostile_put(s, off * 8, data + at + 4, n);
        at += 4 + n;
    }
    if (data[1] & FUZZ_SEAL)
        hostile_seal(s);
    hostile_randomize(7);
    hostile_try(s, data[1] & FUZZ_READ ? 'r' : 'w', seed, &result);
    hostile_mend(s);
    return 0;
}
