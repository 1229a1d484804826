/* fuzz_pool.c -- libFuzzer's target: a sound pool, some words of it forged, meets everything.
 *
 * hostile.h tells what an input means, and the rules that it is judged by.
 * fuzz_mutate.c makes inputs from knowledge of the format.  CONTRIBUTING.md tells how a finding is
 * run again.
 */
#include "fuzz_pool.h"

struct fuzz_base fuzz_base[HOSTILE_BASES];

static struct hostile_stage stage[HOSTILE_BASES];

/* What AddressSanitizer keeps of freed memory counts for rule R6. */
const char *__asan_default_options(void);
const char *__asan_default_options(void) { return "quarantine_size_mb=8:detect_leaks=1"; }

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    struct hostile_image image[HOSTILE_BASES];
    (void)argc;
    (void)argv;
    hostile_make_bases(image);
    for (uint32_t i = 0; i < HOSTILE_BASES; i++) {
        fuzz_base[i].image = image[i];
        fuzz_learn(&fuzz_base[i]);
        hostile_stage_make(&stage[i], NULL, &fuzz_base[i].image);
    }
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < HOSTILE_HEAD)
        return -1;
    hostile_play(stage, data, size);
    return 0;
}
