/* trace.c -- trace.h is the manual. */
#include "trace.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

struct pms_trace {
    pthread_mutex_t lock;
    struct pms_traced *item;
    uint64_t count, room;
    int lost;            /* events that there was no memory for */
    const uint8_t *view; /* NULL: none */
    uint8_t *view_copy;
    uint64_t view_size;
    int view_kind; /* enum pms_view_kind */
};

static _Thread_local uint32_t trace_where;

int pms_trace_new(struct pms_trace **out)
{
    *out = calloc(1, sizeof **out);
    if (!*out)
        return PMS_FAIL(PMS_E_NOMEM, "record a medium", 0, sizeof **out, 0);
    pthread_mutex_init(&(*out)->lock, NULL);
    return PMS_OK;
}

void pms_trace_free(struct pms_trace *trace)
{
    if (!trace)
        return;
    for (uint64_t i = 0; i < trace->count; i++)
        free((void *)(uintptr_t)trace->item[i].event.data);
    pthread_mutex_destroy(&trace->lock);
    free(trace->item);
    free(trace->view_copy);
    free(trace);
}

void pms_trace_where(uint32_t where) { trace_where = where; }

/* ---- recording; the lock is held ---- */

static struct pms_traced *new_event(struct pms_trace *trace)
{
    if (trace->count == trace->room) {
        uint64_t room = trace->room ? trace->room * 2 : 1024;
        struct pms_traced *item = realloc(trace->item, room * sizeof *item);
        if (!item)
            return NULL;
        trace->item = item;
        trace->room = room;
    }
    return &trace->item[trace->count];
}

/* Bytes that an event brings with it; names end with a NUL. */
static uint64_t data_bytes(const struct pms_event *event)
{
    if (!event->data)
        return 0;
    return event->kind >= PMS_EV_CREATE ? strlen(event->data) + 1 : event->len;
}

static void keep(struct pms_trace *trace, const struct pms_event *event)
{
    struct pms_traced *e = new_event(trace);
    uint64_t bytes = data_bytes(event);
    void *data = bytes ? malloc(bytes) : NULL;
    if (!e || (bytes && !data)) {
        free(data);
        trace->lost++;
        return;
    }
    if (bytes)
        memcpy(data, event->data, bytes);
    *e = (struct pms_traced){
        .event = *event, .where = trace_where, .thread = (uint32_t)syscall(SYS_gettid)};
    e->event.data = data;
    trace->count++;
}

static void keep_range(struct pms_trace *trace, uint64_t off, uint64_t len)
{
    struct pms_event event = {
        .kind = trace->view_kind == PMS_VIEW_FILE ? PMS_EV_WRITE : PMS_EV_STORE,
        .off = off,
        .len = len,
        .data = trace->view_copy + off,
        .site = PMS_SITE,
    };
    keep(trace, &event);
}

/* What user code has stored through a view since we last looked. */
static void keep_view(struct pms_trace *trace)
{
    uint64_t unit = trace->view_kind == PMS_VIEW_FILE ? PMS_SECTOR : PMS_LINE;
    uint64_t first = UINT64_MAX, end = 0;
    for (uint64_t at = 0; trace->view && at < trace->view_size; at += unit) {
        uint64_t len = trace->view_size - at < unit ? trace->view_size - at : unit;
        if (memcmp(trace->view + at, trace->view_copy + at, len) == 0)
            continue;
        memcpy(trace->view_copy + at, trace->view + at, len);
        if (trace->view_kind != PMS_VIEW_EADR)
            keep_range(trace, at, len);
        first = first < at ? first : at;
        end = at + len;
    }
    if (trace->view_kind == PMS_VIEW_EADR && end)
        keep_range(trace, first, end - first);
}

int pms_trace_record(void *context, const struct pms_event *event)
{
    struct pms_trace *trace = context;
    pthread_mutex_lock(&trace->lock);
    keep_view(trace);
    keep(trace, event);
    pthread_mutex_unlock(&trace->lock);
    return 0;
}

int pms_trace_mark(struct pms_trace *trace, uint64_t number)
{
    struct pms_event event = {.kind = PMS_EV_MARK, .off = number, .site = PMS_SITE};
    (void)pms_trace_record(trace, &event);
    return pms_trace_status(trace);
}

void pms_trace_look(struct pms_trace *trace)
{
    pthread_mutex_lock(&trace->lock);
    keep_view(trace);
    pthread_mutex_unlock(&trace->lock);
}

int pms_trace_view(struct pms_trace *trace, const void *base, uint64_t size, int kind)
{
    uint8_t *copy = base ? malloc(size) : NULL;
    if (base && !copy)
        return PMS_FAIL(PMS_E_NOMEM, "record a view", 0, size, 0);
    if (base)
        memcpy(copy, base, size);
    pthread_mutex_lock(&trace->lock);
    keep_view(trace);
    free(trace->view_copy);
    trace->view_copy = copy;
    trace->view_size = size;
    trace->view_kind = kind;
    trace->view = base;
    pthread_mutex_unlock(&trace->lock);
    return PMS_OK;
}

int pms_trace_status(const struct pms_trace *trace)
{
    return trace->lost ? PMS_FAIL(PMS_E_NOMEM, "record a medium", 0, 0, 0) : PMS_OK;
}

uint64_t pms_trace_count(const struct pms_trace *trace) { return trace->count; }

const struct pms_traced *pms_trace_at(const struct pms_trace *trace, uint64_t number)
{
    return number < trace->count ? &trace->item[number] : NULL;
}

/* ---- playing ---- */

int pms_play_next(struct pms_play *play, uint32_t stops, int *more)
{
    const struct pms_trace *trace = play->trace;
    struct pms_machine *m = play->machine;
    int stood = play->taken;
    for (; play->next < trace->count; play->next++, play->taken = stood = 0) {
        const struct pms_traced *e = &trace->item[play->next];
        if (!play->taken) {
            PMS_TRY(pms_machine_take(m, &e->event, 0));
            play->taken = 1;
        }
        if (!stood && (pms_machine_is_point(m, &e->event) || stops >> e->event.kind & 1)) {
            *more = 1;
            return PMS_OK;
        }
        PMS_TRY(pms_machine_settle(m, &e->event, 0));
    }
    *more = 0;
    return PMS_OK;
}
