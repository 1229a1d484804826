/* extents.c -- what the file system says of the blocks under a file (FIEMAP).  map.h says more. */
#include "map_internal.h"

#include <errno.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <sys/ioctl.h>

#define PMS_FIEMAP_BATCH 64u

static uint32_t extent_state(uint32_t flags)
{
    uint32_t state = 0;
    if (flags & FIEMAP_EXTENT_UNWRITTEN)
        state |= PMS_EXTENT_UNWRITTEN;
    if (flags & FIEMAP_EXTENT_SHARED)
        state |= PMS_EXTENT_SHARED;
    if (flags & FIEMAP_EXTENT_DELALLOC)
        state |= PMS_EXTENT_DELALLOC;
    else if (flags & FIEMAP_EXTENT_UNKNOWN)
        state |= PMS_EXTENT_UNKNOWN;
    return state;
}

/* Hand on what lies between *at and until, but within the range that was asked for. */
static int extent_step(uint64_t *at, uint64_t until, uint64_t end, uint64_t physical,
                       uint32_t state, pms_extent_fn see, void *context)
{
    until = until < end ? until : end;
    if (until <= *at)
        return PMS_OK;
    uint64_t from = *at;
    *at = until;
    return see(context, from, until, physical, state);
}

int pms_extents_walk(int fd, uint64_t off, uint64_t end, pms_extent_fn see, void *context)
{
    union {
        struct fiemap head;
        uint8_t room[sizeof(struct fiemap) + PMS_FIEMAP_BATCH * sizeof(struct fiemap_extent)];
    } buf;
    uint64_t at = off;
    while (at < end) {
        memset(&buf.head, 0, sizeof buf.head);
        buf.head.fm_start = at;
        buf.head.fm_length = end - at;
        buf.head.fm_extent_count = PMS_FIEMAP_BATCH;
        if (ioctl(fd, FS_IOC_FIEMAP, &buf.head) != 0) {
            if (errno == EINTR)
                continue;
            return see(context, at, end, 0, PMS_EXTENT_UNKNOWN);
        }
        uint32_t n = buf.head.fm_mapped_extents;
        for (uint32_t i = 0; i < n; i++) {
            const struct fiemap_extent *e = &buf.head.fm_extents[i];
            PMS_TRY(extent_step(&at, e->fe_logical, end, 0, PMS_EXTENT_HOLE, see, context));
            PMS_TRY(extent_step(&at, e->fe_logical + e->fe_length, end,
                                e->fe_physical + (at - e->fe_logical),
                                extent_state(e->fe_flags), see, context));
        }
        if (n < PMS_FIEMAP_BATCH)
            PMS_TRY(extent_step(&at, end, end, 0, PMS_EXTENT_HOLE, see, context));
    }
    return PMS_OK;
}

/* ---- all of it, in three numbers ---- */

struct extents_sum {
    struct pms_extents *out;
    uint64_t from, until, physical; /* the run under way: neighbours in the file and outside */
};

static void sum_run(struct extents_sum *sum)
{
    uint64_t h = sum->out->digest;
    const uint64_t word[3] = {sum->from, sum->until, sum->physical};
    for (int i = 0; i < 3; i++) {
        h = (h ^ word[i]) * 0x9e3779b97f4a7c15ull;
        h ^= h >> 29;
    }
    sum->out->digest = h;
}

/* How the file system cuts a run into extents, and that they are shared, changes without that
 * the file's contents move: neither is in the digest. */
static int sum_see(void *context, uint64_t from, uint64_t until, uint64_t physical,
                   uint32_t state)
{
    struct extents_sum *sum = context;
    if (state & (PMS_EXTENT_HOLE | PMS_EXTENT_UNWRITTEN) && !(sum->out->state & PMS_NOT_FILLED))
        sum->out->first_gap = from;
    sum->out->state |= state;
    if (sum->until == from && sum->physical + (from - sum->from) == physical) {
        sum->until = until;
        return PMS_OK;
    }
    sum_run(sum);
    sum->from = from;
    sum->until = until;
    sum->physical = physical;
    return PMS_OK;
}

void pms_extents_look(int fd, uint64_t off, uint64_t end, struct pms_extents *out)
{
    struct extents_sum sum = {.out = out};
    memset(out, 0, sizeof *out);
    (void)pms_extents_walk(fd, off, end, sum_see, &sum);
    sum_run(&sum);
}
