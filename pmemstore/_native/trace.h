/* trace.h -- what happened to a medium, kept, and played to a model of it (machine.h).
 *
 *   trace = pms_trace_new();  options.recorder = pms_trace_record;  options.recorder_context = trace
 *   ... the program under test runs ...
 *   play over (trace, machine): runs to the next point; there machine has what a power cut may leave
 *
 * Each event keeps its bytes, the C function that caused it and a number that the program under
 * test has set for its thread (pmemstore.testing: a line of Python).
 *
 * Stores through a view of a raw mapping do not pass the door.  For these the trace has a copy of
 * the mapping, and looks for differences at each flush, fence, sync and remark, and when it is
 * told to: what changed since the look before is in no order.  It becomes one store for each line
 * (files: one write for each sector); with caches in the power-fail domain one for all, since the
 * model takes separate stores there for ordered.
 *
 * Thread safety: recording may happen on several threads at once.
 */
#ifndef PMS_TRACE_H
#define PMS_TRACE_H

#include "machine.h"

struct pms_traced {
    struct pms_event event;
    uint32_t where;
    uint32_t thread; /* kernel's id */
};

struct pms_trace;

int pms_trace_new(struct pms_trace **out);
void pms_trace_free(struct pms_trace *trace);
/* A pms_recorder_fn. */
int pms_trace_record(void *trace, const struct pms_event *event);
/* For this thread, until the next call. */
void pms_trace_where(uint32_t where);
/* A remark of the program under test: an event of kind PMS_EV_MARK. */
int pms_trace_mark(struct pms_trace *trace, uint64_t number);
/* Stores through a view: base is compared from now on; NULL: once more, and no longer. */
enum pms_view_kind { PMS_VIEW_FILE = 0, PMS_VIEW_LINES = 1, PMS_VIEW_EADR = 2 };
int pms_trace_view(struct pms_trace *trace, const void *base, uint64_t size, int kind);
/* See now what was stored through a view. */
void pms_trace_look(struct pms_trace *trace);
/* PMS_OK, or PMS_E_NOMEM if events are missing. */
int pms_trace_status(const struct pms_trace *trace);
uint64_t pms_trace_count(const struct pms_trace *trace);
/* Valid until the next event is recorded. */
const struct pms_traced *pms_trace_at(const struct pms_trace *trace, uint64_t number);

struct pms_play {
    const struct pms_trace *trace;
    struct pms_machine *machine;
    uint64_t next; /* event at whose point we are */
    int taken;     /* it was taken, but not carried out */
};
/* Carry out what we stand before; go on to the next point, or the next event of one of the kinds
 * in `stops` (a bit 1 << kind each; these have not happened yet either).  *more = 0: played. */
int pms_play_next(struct pms_play *play, uint32_t stops, int *more);

#endif
