/* sorted_iter.c -- ranges of a sorted dict or set: iterators.
 *
 *   next             index of the entry that is served next
 *   left             how many are to be served
 *   ahead[head..count)   entries taken but not yet served; in reverse from the end
 *
 * As strict as the iterator of a dict (dict_iter.c says how): RuntimeError once a key came or
 * went.  One entry into the core takes a run of up to AHEAD_MAX entries; once their values had more
 * than AHEAD_BYTES, one at a time.  Small ones that have been served keep their place, and are
 * filled again (again.h).  When an iterator ends, the pool gets its places for the next one, with
 * those of their objects that nobody else has: so short ranges fill objects again too.
 */
#include <stdlib.h>

#include "again.h"
#include "slots_sorted.h"

#define AHEAD_MAX 64
#define AHEAD_BYTES 65536u
#define RUNS 3        /* leaves whose entries are asked for before the first is read */
#define AHEAD_FIRST 8 /* then twice as many each time, so that a short look takes few */

struct pys_places {
    unsigned made; /* of them are places */
    struct pys_ahead ahead[AHEAD_MAX];
};

struct sorted_iter {
    PyObject ob_base;
    struct pys_proxy *sorted; /* NULL: exhausted */
    int kind, reverse;
    uint32_t level; /* index into owner->aborts */
    uint64_t aborts, version, writes;
    uint64_t length; /* of the whole, when it began */
    uint64_t next, left;
    unsigned head, count, batch;
    unsigned used; /* places */
    int large;     /* the last look took many bytes */
    struct pys_pairs pairs;
    struct pys_places *places; /* NULL: exhausted */
};

/* A proxy that goes may run Python, which may come back and take more. */
static void drop_ahead(struct sorted_iter *self)
{
    struct pys_ahead dropped[AHEAD_MAX];
    while (self->head < self->count) {
        unsigned count = self->count - self->head;
        memcpy(dropped, &self->places->ahead[self->head], count * sizeof *dropped);
        memset(&self->places->ahead[self->head], 0, count * sizeof *dropped);
        self->head = self->count = 0;
        for (unsigned i = 0; i < count; i++)
            pys_ahead_drop(&dropped[i]);
    }
    self->head = self->count = 0;
}

/* Can nobody tell if it stays, and is filled again? */
static int is_spare(const struct pys_taken *part)
{
    return part->obj == NULL || (Py_REFCNT(part->obj) == 1 && pys_again_may(part->obj));
}

void pys_places_drop(struct pys_places *places)
{
    for (unsigned i = 0; places != NULL && i < places->made; i++)
        pys_ahead_drop(&places->ahead[i]);
    free(places);
}

/* The end: nothing is ahead.  What is dropped may run Python, which may come back. */
static void finish(struct sorted_iter *self)
{
    struct pys_proxy *sorted = self->sorted;
    struct pys_places *places = self->places;
    unsigned used = self->used;
    self->sorted = NULL;
    self->places = NULL;
    self->head = self->count = self->used = 0;
    if (sorted == NULL)
        return;
    for (unsigned i = 0; i < used; i++) {
        struct pys_ahead *place = &places->ahead[i];
        if (!place->atoms || !is_spare(&place->key) || !is_spare(&place->value))
            pys_ahead_drop(place);
    }
    if (sorted->owner->places == NULL)
        sorted->owner->places = places;
    else
        pys_places_drop(places);
    Py_DECREF(sorted);
}

/* Pool entered: the range as indices [*start, *stop).  *blame: the key that was tried last. */
static int resolve(struct pys_proxy *self, const struct pys_span *span, uint64_t length,
                   uint64_t *start, uint64_t *stop, PyObject **blame)
{
    struct pms_pool *pool = pys_core(self);
    uint64_t off = self->handle->off;
    *start = span->start;
    *stop = span->stop < length ? span->stop : length;
    if (span->low != NULL) {
        *blame = span->low->obj;
        PMS_TRY(pms_sorted_bound(pool, off, &span->low->key, span->low_open, start));
    }
    if (span->high != NULL) {
        *blame = span->high->obj;
        PMS_TRY(pms_sorted_bound(pool, off, &span->high->key, !span->high_open, stop));
    }
    return PMS_OK;
}

PyObject *pys_sorted_iter(struct pys_proxy *sorted, int kind, int reverse,
                          const struct pys_span *span)
{
    struct pms_pool *pool = pys_core(sorted);
    struct sorted_iter *self;
    PyObject *blame = NULL;
    uint64_t length = 0, version = 0, start = 0, stop = 0;
    uint32_t depth = 0;
    int status = pys_enter_read(pool, sorted->handle);
    if (status == PMS_OK) {
        length = pms_sorted_len(pool, sorted->handle->off);
        version = sorted->handle->version;
        status = pys_leave_read(pool, resolve(sorted, span, length, &start, &stop, &blame));
        depth = pms_tx_depth(pool);
    }
    if (status != PMS_OK) {
        pys_order_raise(sorted, status, blame);
        return NULL;
    }
    self = PyObject_GC_New(struct sorted_iter, pys.sorted_iter_type);
    if (self == NULL)
        return NULL;
    memset((char *)self + sizeof(PyObject), 0, sizeof *self - sizeof(PyObject));
    self->places = sorted->owner->places;
    sorted->owner->places = NULL;
    if (self->places == NULL && (self->places = malloc(sizeof *self->places)) != NULL)
        self->places->made = 0;
    if (self->places == NULL) {
        Py_DECREF(self);
        return PyErr_NoMemory();
    }
    self->sorted = (struct pys_proxy *)pys_ref(sorted);
    self->kind = kind;
    self->reverse = reverse;
    self->length = length;
    self->version = version;
    self->left = start < stop ? stop - start : 0;
    self->next = reverse ? stop - 1 : start;
    self->level = depth < PYS_LEVELS ? depth : PYS_LEVELS - 1;
    self->aborts = sorted->owner->aborts[self->level];
    self->batch = AHEAD_FIRST / 2;
    PyObject_GC_Track((PyObject *)self);
    return (PyObject *)self;
}

static int unchanged(const struct sorted_iter *self)
{
    const struct pms_handle *handle = self->sorted->handle;
    return handle->version == self->version && handle->state == PMS_HANDLE_LIVE &&
           self->sorted->owner->aborts[self->level] == self->aborts;
}

/* May what was taken ahead still be served?  Whatever could make it stale counts as a write. */
static int is_fresh(const struct sorted_iter *self)
{
    const struct pms_pool *pool = pys_core(self->sorted);
    if (PMS_LIKELY(pys_writes(pool) == self->writes))
        return pys_is_open(pool);
    return self->kind == PYS_KEYS && unchanged(self) && pys_is_open(pool);
}

/* ---- taking ---- */

__attribute__((always_inline)) static inline int take_entry(struct pms_pool *pool, int kind,
                                                            uint64_t entry,
                                                            struct pys_ahead *out,
                                                            uint64_t *bytes)
{
    const int keys = kind != PYS_VALUES, values = kind != PYS_KEYS;
    struct pms_sorted_plain plain;
    struct pms_val key, value;
    if (PMS_LIKELY(pms_sorted_is_plain(pool, entry, keys, values, &plain))) {
        int done = keys ? pys_ahead_str(plain.key, plain.key_len, &out->key) : 1;
        if (values && PMS_LIKELY(done > 0)) {
            *bytes += plain.value_len;
            done = pys_ahead_bytes(plain.value, plain.value_len, &out->value);
        }
        out->atoms = (!keys || plain.key_len <= PYS_AGAIN_MAX) &
                     (!values || plain.value_len <= PYS_AGAIN_MAX);
        if (PMS_LIKELY(done != 0))
            return PMS_LIKELY(done > 0) ? PMS_OK : PMS_E_NOMEM;
    }
    PMS_TRY(pms_sorted_entry(pool, entry, keys ? &key : NULL, values ? &value : NULL));
    *bytes += values ? value.len : 0;
    return pys_ahead_take(pool, kind, &key, &value, out);
}

int pys_sorted_take_one(struct pms_pool *pool, int kind, uint64_t entry, struct pys_ahead *out,
                        uint64_t *bytes)
{
    return take_entry(pool, kind, entry, out, bytes);
}

int pys_sorted_take(struct pys_proxy *self, int kind, uint64_t start, uint64_t count,
                    struct pys_ahead *out, uint64_t *taken, uint64_t *bytes)
{
    struct pms_pool *pool = pys_core(self);
    struct pms_sorted_run run[RUNS];
    for (*taken = *bytes = 0; *taken < count;) {
        uint64_t found = *taken;
        unsigned runs = 0;
        while (runs < RUNS && found < count) {
            PMS_TRY(pms_sorted_run(pool, self->handle->off, start + found, count - found,
                                   &run[runs]));
            for (uint32_t i = 0; i < run[runs].count; i++)
                pms_sorted_prefetch(pool, run[runs].entry[i]);
            found += run[runs++].count;
        }
        for (unsigned n = 0; n < runs; n++)
            for (uint32_t i = 0; i < run[n].count; i++)
                PMS_TRY(take_entry(pool, kind, run[n].entry[i], &out[(*taken)++], bytes));
    }
    return PMS_OK;
}

/* Take the next entries.  PMS_E_CHANGED: *length is what it is now.  The caller keeps sorted: while
 * this thread waits to be let in, others may take entries, serve them and end the iteration. */
static int look_ahead(struct sorted_iter *self, struct pys_proxy *sorted, uint64_t *length)
{
    struct pms_handle *handle = sorted->handle;
    struct pms_pool *pool = handle->pool;
    uint64_t count, taken, bytes = 0;
    int status = pys_enter_read(pool, handle);
    if (status != PMS_OK)
        return status;
    if (PMS_UNLIKELY(self->sorted == NULL || self->head < self->count))
        return pys_leave_read(pool, PMS_OK);
    self->head = self->count = 0;
    count = self->left < self->batch ? self->left : self->batch;
    self->writes = pys_writes(pool);
    if (!unchanged(self)) {
        *length = pms_sorted_len(pool, handle->off);
        status = PMS_E_CHANGED;
    } else if (count) {
        struct pys_places *places = self->places;
        pys_places_make(places->ahead, sizeof places->ahead[0], &places->made, (unsigned)count);
        if (self->used < count)
            self->used = (unsigned)count;
        status = pys_sorted_take(sorted, self->kind,
                                 self->reverse ? self->next + 1 - count : self->next, count,
                                 places->ahead, &taken, &bytes);
        self->count = (unsigned)taken;
        self->large = bytes > AHEAD_BYTES;
    }
    return pys_leave_read(pool, status);
}

/* ---- serving ---- */

/* Python may run: it may come back here, or drop the last other reference to the container. */
static PyObject *serve_other(struct sorted_iter *self, struct pys_ahead *ahead)
{
    struct pys_proxy *sorted = (struct pys_proxy *)pys_ref(self->sorted);
    PyObject *result = pys_ahead_give(sorted->owner, self->kind, ahead);
    Py_DECREF(sorted);
    return result;
}

static inline PyObject *serve(struct sorted_iter *self)
{
    struct pys_ahead *ahead = self->reverse ? &self->places->ahead[--self->count]
                                            : &self->places->ahead[self->head++];
    self->next = self->reverse ? self->next - 1 : self->next + 1;
    self->left--;
    return PMS_LIKELY(ahead->atoms) ? pys_ahead_serve(self->kind, &self->pairs, ahead)
                                    : serve_other(self, ahead);
}

static void raise_changed(const struct pys_proxy *sorted, int size)
{
    PyErr_Format(PyExc_RuntimeError,
                 size ? "%s changed size during iteration" : "%s keys changed during iteration",
                 sorted->handle->tag == PMS_TAG_SORTED_SET ? "SortedSet" : "SortedDict");
}

static PyObject *sorted_iter_next(PyObject *obj)
{
    struct sorted_iter *self = (struct sorted_iter *)obj;
    struct pys_proxy *sorted;
    PyObject *result = NULL;
    uint64_t length = 0;
    int status;
    if (self->sorted == NULL)
        return NULL;
    if (self->head < self->count) {
        if (PMS_LIKELY(is_fresh(self)))
            return serve(self);
        self->batch = 1;
    } else if (self->large) {
        self->batch = 1;
    } else if (self->batch < AHEAD_MAX) {
        self->batch *= 2;
    }
    drop_ahead(self);
    if (self->sorted == NULL) /* what was dropped came back and went to the end */
        return NULL;
    sorted = (struct pys_proxy *)pys_ref(self->sorted);
    status = look_ahead(self, sorted, &length);
    if (PMS_LIKELY(status == PMS_OK)) {
        if (self->head < self->count)
            result = serve(self);
        else
            finish(self);
    } else {
        /* Before it is raised, which runs Python: it may come back for the next, and the last place
         * was not filled. */
        struct pms_detail detail = *pms_detail();
        drop_ahead(self);
        *pms_detail() = detail;
        if (status == PMS_E_CHANGED)
            raise_changed(sorted, length != self->length);
        else
            pys_raise(sorted->owner, status);
    }
    Py_DECREF(sorted);
    return result;
}

static PyObject *sorted_iter_hint(PyObject *obj, PyObject *unused)
{
    struct sorted_iter *self = (struct sorted_iter *)obj;
    (void)unused;
    return PyLong_FromUnsignedLongLong(self->sorted != NULL && unchanged(self) ? self->left
                                                                               : 0);
}

static int sorted_iter_traverse(PyObject *obj, visitproc visit, void *arg)
{
    struct sorted_iter *self = (struct sorted_iter *)obj;
    Py_VISIT(Py_TYPE(obj));
    Py_VISIT(self->sorted);
    Py_VISIT(self->pairs.pair[0]);
    Py_VISIT(self->pairs.pair[1]);
    for (unsigned i = 0; i < self->used; i++) {
        Py_VISIT(self->places->ahead[i].key.obj);
        Py_VISIT(self->places->ahead[i].value.obj);
    }
    return 0;
}

static void sorted_iter_dealloc(PyObject *obj)
{
    struct sorted_iter *self = (struct sorted_iter *)obj;
    PyTypeObject *type = Py_TYPE(obj);
    PyObject_GC_UnTrack(obj);
    Py_CLEAR(self->pairs.pair[0]);
    Py_CLEAR(self->pairs.pair[1]);
    finish(self);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(obj);
    Py_DECREF(type);
}

static PyMethodDef sorted_iter_methods[] = {
    {"__length_hint__", sorted_iter_hint, METH_NOARGS, "How many items are left, at a guess."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot sorted_iter_slots[] = {
    {Py_tp_dealloc, sorted_iter_dealloc}, {Py_tp_traverse, sorted_iter_traverse},
    {Py_tp_methods, sorted_iter_methods}, {Py_tp_iter, PyObject_SelfIter},
    {Py_tp_iternext, sorted_iter_next},   {0, NULL},
};

PyType_Spec pys_sorted_iter_spec = {
    .name = "pmemstore._native._slots.SortedIterator",
    .basicsize = sizeof(struct sorted_iter),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = sorted_iter_slots,
};
