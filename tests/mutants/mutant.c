/* mutant.c -- the counter of hits, and the door with calls left out (the linker's --wrap puts it in
 * front of the real one for every file but persist.c).  mutant.h is the manual. */
#include "mutant.h"

#include <stdio.h>

#include "persist.h"

unsigned long mutant_hits;
int mutant_muted;

static __attribute__((destructor)) void mutant_report(void)
{
    fprintf(stderr, "mutant: %lu hits\n", mutant_hits);
}

/* Left out?  Then it counts, if it would have done anything. */
static int mute(int what, int effective)
{
    if (!(mutant_muted & what))
        return 0;
    mutant_hits += (unsigned long)(effective != 0);
    return 1;
}

/* A call that is not left out.  Its recorder may run other pools meanwhile: these are whole. */
#define WHOLE(call)                                                                            \
    ({                                                                                         \
        int muted = mutant_muted;                                                              \
        mutant_muted = MUTE_NONE;                                                              \
        __auto_type result = (call);                                                           \
        mutant_muted = muted;                                                                  \
        result;                                                                                \
    })
#define SITE const struct pms_site *site
#define DOOR(type, name, ...)                                                                  \
    type __real_##name(__VA_ARGS__);                                                           \
    type __wrap_##name(__VA_ARGS__);                                                           \
    type __wrap_##name(__VA_ARGS__)

DOOR(void, pms_store_slow, struct pms_medium *m, uint64_t off, const void *src, size_t len,
     bool nt, SITE)
{
    (void)WHOLE((__real_pms_store_slow(m, off, src, len, nt, site), 0));
}

DOOR(void, pms_flush_slow, struct pms_medium *m, uint64_t off, size_t len, SITE)
{
    if (!mute(MUTE_FLUSH, m->direct && len))
        (void)WHOLE((__real_pms_flush_slow(m, off, len, site), 0));
}

DOOR(void, pms_store_nt_at, struct pms_medium *m, uint64_t off, const void *src, size_t len,
     SITE)
{
    if (mute(MUTE_FLUSH, m->direct && len))
        (void)WHOLE((pms_store_at(m, off, src, len, site), 0));
    else
        (void)WHOLE((__real_pms_store_nt_at(m, off, src, len, site), 0));
}

DOOR(void, pms_fence_at, struct pms_medium *m, SITE)
{
    if (!mute(MUTE_FENCE, m->direct))
        (void)WHOLE((__real_pms_fence_at(m, site), 0));
}

DOOR(int, pms_write_at, struct pms_medium *m, uint64_t off, const void *src, size_t len, SITE)
{
    return mute(MUTE_WRITE, len != 0) ? PMS_OK
                                      : WHOLE(__real_pms_write_at(m, off, src, len, site));
}

DOOR(int, pms_write_sync_at, struct pms_medium *m, uint64_t off, const void *src, size_t len,
     SITE)
{
    if (mute(MUTE_SYNC, 1))
        return WHOLE(__real_pms_write_at(m, off, src, len, site));
    return WHOLE(__real_pms_write_sync_at(m, off, src, len, site));
}

DOOR(int, pms_sync_at, struct pms_medium *m, SITE)
{
    return mute(MUTE_SYNC, 1) ? PMS_OK : WHOLE(__real_pms_sync_at(m, site));
}

DOOR(int, pms_sync_all_at, struct pms_medium *m, SITE)
{
    return mute(MUTE_SYNC, 1) ? PMS_OK : WHOLE(__real_pms_sync_all_at(m, site));
}

DOOR(int, pms_sync_range_at, struct pms_medium *m, uint64_t off, size_t len, SITE)
{
    return mute(MUTE_SYNC, 1) ? PMS_OK : WHOLE(__real_pms_sync_range_at(m, off, len, site));
}

DOOR(int, pms_sync_dir_at, struct pms_medium *m, const char *name, SITE)
{
    return mute(MUTE_SYNC, 1) ? PMS_OK : WHOLE(__real_pms_sync_dir_at(m, name, site));
}
