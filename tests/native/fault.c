/* fault.c -- planted faults: the test of the test.  world.h declares them.
 *
 * A fault is a kind of event that the model of the medium does not hear of: as if the core did
 * not flush, fence, write or sync there.  One of the protocol's is missing: recovery of files
 * writes the anchor again, which matters only where a sector can tear (here they cannot).
 */
#include "world.h"

enum {
    NOFLUSH_U,
    NOFLUSH_UX,
    NOFLUSH_C,
    NOFLUSH_R,
    NOFENCE_U,
    NOFENCE_UX,
    NOFENCE_C,
    NOFENCE_R,
    NOFLUSH_SPILL,
    NOFLUSH_FRESH,
    NOFLUSH_DATA,
    NOFLUSH_RDATA,
    NOFLUSH_ABORT,
    NOFLUSH_ANCHOR,
    NOFENCE_ANCHOR,
    NOFENCE_DATA,
    NOFLUSH_SUPER,
    NOFENCE_SUPER,
    GROWNOSYNC,
    REC_NOLOGFLUSH,
    REC_NOANCHORFLUSH,
    REC_NOFENCE1,
    REC_NOFLUSH,
    REC_NOFENCE,
    REC_NOFENCE2,
    FILE_NOSYNC,
    FILE_NODATASYNC,
    FILE_CKPTNOWRITE,
    FILE_CKPTNOSYNC,
    FILE_NOANCHORSYNC,
    FILE_REC_NOLOGREWRITE,
    FILE_REC_NOSYNC,
    FILE_REC_SKIPEQUAL,
    FILE_REC_NOSYNC2
};

const struct fault world_faults[] = {
    [NOFLUSH_U] = {"noflush_U", 0, 1, 0},
    [NOFLUSH_UX] = {"noflush_UX", 0, 19, 0},
    [NOFLUSH_C] = {"noflush_C", 0, 3, 0},
    [NOFLUSH_R] = {"noflush_R", 0, 2, 0},
    [NOFENCE_U] = {"nofence_U", 0, 1, 0},
    [NOFENCE_UX] = {"nofence_UX", 0, 19, 0},
    [NOFENCE_C] = {"nofence_C", 0, 3, 0},
    [NOFENCE_R] = {"nofence_R", 0, 2, 0},
    [NOFLUSH_SPILL] = {"noflush_spill", 0, 19, 0},
    [NOFLUSH_FRESH] = {"noflush_fresh", 0, 4, 0},
    [NOFLUSH_DATA] = {"noflush_data", 0, 4, 0},
    [NOFLUSH_RDATA] = {"noflush_Rdata", 0, 6, 0},
    [NOFLUSH_ABORT] = {"noflush_abort", 0, 7, 0},
    [NOFLUSH_ANCHOR] = {"noflush_anchor", 0, 14, 0},
    [NOFENCE_ANCHOR] = {"nofence_anchor", 0, 16, 0},
    [NOFENCE_DATA] = {"nofence_data", 0, 4, 0},
    [NOFLUSH_SUPER] = {"noflush_super", 0, 0, 0},
    [NOFENCE_SUPER] = {"nofence_super", 0, 0, 0},
    [GROWNOSYNC] = {"grownosync", 0, 0, 0},
    [REC_NOLOGFLUSH] = {"rec_nologflush", 0, 18, 0},
    [REC_NOANCHORFLUSH] = {"rec_noanchorflush", 0, 18, 0},
    [REC_NOFENCE1] = {"rec_nofence1", 0, 18, 0},
    [REC_NOFLUSH] = {"rec_noflush", 0, 18, 0},
    [REC_NOFENCE] = {"rec_nofence", 0, 18, 0},
    [REC_NOFENCE2] = {"rec_nofence2", 0, 16, 1},
    [FILE_NOSYNC] = {"nosync", 1, 0, 0},
    [FILE_NODATASYNC] = {"nodatasync", 1, 0, 0},
    [FILE_CKPTNOWRITE] = {"ckptnowrite", 1, 0, 0},
    [FILE_CKPTNOSYNC] = {"ckptnosync", 1, 0, 0},
    [FILE_NOANCHORSYNC] = {"noanchorsync", 1, 0, 0},
    [FILE_REC_NOLOGREWRITE] = {"rec_nologrewrite", 1, 0, 0},
    [FILE_REC_NOSYNC] = {"rec_nosync", 1, 0, 0},
    [FILE_REC_SKIPEQUAL] = {"rec_skipequal", 1, 0, 0},
    [FILE_REC_NOSYNC2] = {"rec_nosync2", 1, 0, 0},
};
const int world_fault_count = sizeof world_faults / sizeof world_faults[0];

enum where { IN_SUPER, IN_ANCHOR, IN_LOG, IN_DATA };

static enum where where_is(const struct world *w, uint64_t off)
{
    if (off < PMS_ANCHOR_OFF)
        return IN_SUPER;
    if (off < PMS_ROOT_OFF)
        return IN_ANCHOR;
    return off >= PMS_LOG_OFF && off < PMS_LOG_OFF + w->setup->log_bytes ? IN_LOG : IN_DATA;
}

static int is_fresh(const struct world *w, const struct pms_event *event)
{
    const struct pms_wset *ws = &w->pool->ws;
    for (size_t i = 0; i < ws->fresh_count; i++)
        if (ws->fresh[i].off == event->off && ws->fresh[i].len == event->len)
            return 1;
    return 0;
}

/* Which fault would this flush be? */
static int flush_fault(const struct world *w, const struct pms_event *event)
{
    static const int of_kind[] = {-1, NOFLUSH_U, NOFLUSH_UX, NOFLUSH_C, NOFLUSH_R};
    switch (where_is(w, event->off)) {
    case IN_SUPER:
        return NOFLUSH_SUPER;
    case IN_ANCHOR:
        return world_opens(w) && w->fences == 0 ? REC_NOANCHORFLUSH : NOFLUSH_ANCHOR;
    case IN_LOG:
        return world_opens(w) ? REC_NOLOGFLUSH : of_kind[w->last_kind];
    default:
        if (world_opens(w))
            return w->fences == 0 ? REC_NOLOGFLUSH : REC_NOFLUSH;
        if (w->phase == PHASE_ABORT)
            return NOFLUSH_ABORT;
        if (is_fresh(w, event))
            return NOFLUSH_FRESH;
        return w->pool->tx.txid ? NOFLUSH_DATA : NOFLUSH_RDATA;
    }
}

static int fence_fault(struct world *w)
{
    static const int of_kind[] = {-1, NOFENCE_U, NOFENCE_UX, NOFENCE_C, NOFENCE_R};
    if (w->super_stored)
        return NOFENCE_SUPER;
    if (world_opens(w))
        return w->anchor_stored ? REC_NOFENCE2 : w->fences == 0 ? REC_NOFENCE1 : REC_NOFENCE;
    if (w->frame_kind)
        return of_kind[w->frame_kind];
    return w->anchor_stored ? NOFENCE_ANCHOR : NOFENCE_DATA;
}

static int store_fault(struct world *w, const struct pms_event *event)
{
    static const int of_kind[] = {-1, NOFLUSH_U, NOFLUSH_UX, NOFLUSH_C, NOFLUSH_R};
    enum where where = where_is(w, event->off);
    w->super_stored |= where == IN_SUPER;
    w->anchor_stored |= where == IN_ANCHOR;
    if (where == IN_LOG) {
        const struct pms_frame_pm *frame = event->data;
        w->frame_kind = w->last_kind = frame->kind;
    }
    if (event->kind == PMS_EV_STORE)
        return -1;
    return where == IN_LOG ? of_kind[w->last_kind] : where == IN_DATA ? NOFLUSH_SPILL : -1;
}

static int write_fault(const struct world *w, const struct pms_event *event)
{
    int opening = world_opens(w);
    switch (where_is(w, event->off)) {
    case IN_ANCHOR:
        return event->kind == PMS_EV_WRITE_SYNC ? FILE_NOANCHORSYNC : -1;
    case IN_LOG:
        return event->kind == PMS_EV_WRITE_SYNC ? FILE_NOSYNC : FILE_REC_NOLOGREWRITE;
    case IN_DATA:
        if (event->kind == PMS_EV_WRITE_SYNC)
            return -1;
        if (opening)
            return memcmp(w->machine.seen + event->off, event->data, event->len) == 0
                       ? FILE_REC_SKIPEQUAL
                       : -1;
        /* A checkpoint writes whole pages, and no transaction is open. */
        return !w->pool->tx.group.count && !w->super_stored && event->len % PMS_PAGE == 0
                   ? FILE_CKPTNOWRITE
                   : -1;
    default:
        return -1;
    }
}

static int sync_fault(const struct world *w)
{
    if (w->super_stored) /* growth: the file was made longer before */
        return GROWNOSYNC;
    if (world_opens(w))
        return w->fences == 0 ? FILE_REC_NOSYNC : FILE_REC_NOSYNC2;
    return w->pool->tx.leader ? FILE_NODATASYNC : FILE_CKPTNOSYNC;
}

static int fault_of(struct world *w, const struct pms_event *event)
{
    switch (event->kind) {
    case PMS_EV_STORE:
    case PMS_EV_NT_STORE:
        return store_fault(w, event);
    case PMS_EV_FLUSH:
        return flush_fault(w, event);
    case PMS_EV_FENCE:
        return fence_fault(w);
    case PMS_EV_WRITE:
    case PMS_EV_WRITE_SYNC:
        return write_fault(w, event);
    case PMS_EV_SYNC:
        return sync_fault(w);
    default:
        w->super_stored = event->kind == PMS_EV_ALLOCATE;
        return -1;
    }
}

int world_planted(struct world *w, const struct pms_event *event)
{
    int fault = fault_of(w, event);
    if (event->kind == PMS_EV_FENCE || event->kind == PMS_EV_SYNC) {
        w->frame_kind = 0;
        w->anchor_stored = w->super_stored = 0;
    }
    if (event->kind == PMS_EV_SYNC)
        w->fences++;
    if (fault != w->setup->fault)
        return 0;
    struct pms_event weaker = *event;
    if (event->kind == PMS_EV_NT_STORE)
        weaker.kind = PMS_EV_STORE; /* and no flush */
    else if (event->kind == PMS_EV_WRITE_SYNC)
        weaker.kind = PMS_EV_WRITE;
    else if (event->kind == PMS_EV_FENCE)
        w->fences++;
    if (weaker.kind != event->kind)
        world_event(w, &weaker, 0);
    tally.planted++;
    return 1;
}
