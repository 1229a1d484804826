/* list_iter.c -- iterate over a list or deque by index, as the builtins do.
 *
 * A list: items that are appended meanwhile are seen; one that shrinks ends the iteration.  A
 * deque whose items came, went or moved: RuntimeError, told by its version and by roll-backs, as
 * in dict_iter.c.  What was taken ahead is served only while nobody has written to the pool.  One
 * entry into the core takes up to AHEAD_MAX items; once they had more than AHEAD_BYTES, one alone.
 * Small items that have been served keep their place, and are filled again (again.h).
 */
#include "again.h"

#define AHEAD_MAX 32
#define AHEAD_BYTES 65536u

struct list_iter {
    PyObject ob_base;
    struct pys_proxy *list; /* NULL: exhausted */
    int reverse;
    int64_t index; /* of the item to be served next */
    uint64_t writes;
    uint64_t length;          /* when it last looked */
    uint64_t version, aborts; /* when it began */
    uint32_t level;           /* index into owner->aborts */
    unsigned head, count, batch, made;
    int large;                         /* the last look took many bytes */
    struct pys_taken ahead[AHEAD_MAX]; /* `made` of them are places */
};

/* A proxy that goes may run Python, which may come back and take more. */
static void drop_ahead(struct list_iter *self)
{
    struct pys_taken dropped[AHEAD_MAX];
    while (self->head < self->count) {
        unsigned count = self->count - self->head;
        memcpy(dropped, &self->ahead[self->head], count * sizeof *dropped);
        memset(&self->ahead[self->head], 0, count * sizeof *dropped);
        self->head = self->count = 0;
        for (unsigned i = 0; i < count; i++)
            pys_taken_drop(&dropped[i]);
    }
    self->head = self->count = 0;
}

/* The end: nothing is ahead, and nothing will be filled again. */
static void finish(struct list_iter *self)
{
    for (unsigned i = 0; i < self->made; i++)
        pys_taken_drop(&self->ahead[i]);
    Py_CLEAR(self->list);
}

static int measure(struct pys_proxy *list, uint64_t *length)
{
    struct pms_pool *pool = pys_core(list);
    int status = pys_enter_read(pool, list->handle);
    if (status == PMS_OK) {
        *length = pms_list_len(pool, list->handle->off);
        status = pys_leave_read(pool, PMS_OK);
    }
    return status == PMS_OK ? 0 : pys_raise(list->owner, status);
}

PyObject *pys_list_iter(struct pys_proxy *list, int reverse)
{
    struct list_iter *self;
    uint64_t length, version;
    uint32_t depth;
    if (measure(list, &length) < 0)
        return NULL;
    version = list->handle->version;
    depth = pms_tx_depth(pys_core(list));
    self = PyObject_GC_New(struct list_iter, pys.list_iter_type);
    if (self == NULL)
        return NULL;
    memset((char *)self + sizeof(PyObject), 0,
           offsetof(struct list_iter, ahead) - sizeof(PyObject));
    self->list = (struct pys_proxy *)pys_ref(list);
    self->reverse = reverse;
    self->index = reverse ? (int64_t)length - 1 : 0;
    self->length = length;
    self->version = version;
    self->level = depth < PYS_LEVELS ? depth : PYS_LEVELS - 1;
    self->aborts = list->owner->aborts[self->level];
    self->batch = 4;
    PyObject_GC_Track((PyObject *)self);
    return (PyObject *)self;
}

static int is_fresh(const struct list_iter *self)
{
    const struct pms_handle *handle = self->list->handle;
    return pys_writes(handle->pool) == self->writes && pys_is_open(handle->pool) &&
           handle->state == PMS_HANDLE_LIVE;
}

/* Lists may change. */
static int unchanged(const struct list_iter *self)
{
    const struct pms_handle *handle = self->list->handle;
    return handle->tag != PMS_TAG_DEQUE ||
           (handle->version == self->version &&
            self->list->owner->aborts[self->level] == self->aborts);
}

/* Take the next items, in the order of the list; none: the end.  The caller keeps list: while this
 * thread waits to be let in, others may take items, serve them and end the iteration. */
static int look_ahead(struct list_iter *self, struct pys_proxy *list)
{
    struct pms_handle *handle = list->handle;
    struct pms_pool *pool = handle->pool;
    uint64_t index, start, count, bytes = 0;
    int status = pys_enter_read(pool, handle);
    if (status != PMS_OK)
        return status;
    if (PMS_UNLIKELY(self->list == NULL || self->head < self->count))
        return pys_leave_read(pool, PMS_OK);
    if (!unchanged(self))
        return pys_leave_read(pool, PMS_E_CHANGED);
    self->head = 0;
    start = index = (uint64_t)self->index;
    count = self->batch;
    self->writes = pys_writes(pool);
    self->length = pms_list_len(pool, handle->off);
    if (self->index < 0 || index >= self->length) {
        count = 0;
    } else if (self->reverse) {
        count = index + 1 < count ? index + 1 : count;
        start = index + 1 - count;
    } else if (self->length - index < count) {
        count = self->length - index;
    }
    pys_places_make(self->ahead, sizeof self->ahead[0], &self->made, (unsigned)count);
    self->count = (unsigned)count;
    status = pys_list_take(list, start, count, self->ahead, &bytes);
    self->large = bytes > AHEAD_BYTES;
    return pys_leave_read(pool, status);
}

/* Python may run: it may come back here, or drop the last other reference to the list. */
static PyObject *serve_other(struct list_iter *self, struct pys_taken *place)
{
    struct pys_proxy *list = (struct pys_proxy *)pys_ref(self->list);
    struct pys_taken taken = *place;
    PyObject *item;
    memset(place, 0, sizeof *place);
    item = pys_give(list->owner, &taken);
    Py_DECREF(list);
    return item;
}

static PyObject *serve(struct list_iter *self)
{
    struct pys_taken *place =
        self->reverse ? &self->ahead[--self->count] : &self->ahead[self->head++];
    PyObject *item = place->obj;
    self->index += self->reverse ? -1 : 1;
    if (PMS_UNLIKELY(!pys_is_done(place)))
        return serve_other(self, place);
    if (pys_again_may(item))
        return pys_ref(item);
    place->obj = NULL;
    return item;
}

static PyObject *list_iter_next(PyObject *obj)
{
    struct list_iter *self = (struct list_iter *)obj;
    struct pys_proxy *list;
    PyObject *item = NULL;
    int status;
    if (self->list == NULL)
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
    if (self->list == NULL) /* what was dropped came back and went to the end */
        return NULL;
    list = (struct pys_proxy *)pys_ref(self->list);
    status = look_ahead(self, list);
    if (PMS_LIKELY(status == PMS_OK)) {
        if (self->head < self->count)
            item = serve(self);
        else
            finish(self);
    } else {
        /* Before it is raised, which runs Python: it may come back for the next, and the last place
         * was not filled. */
        struct pms_detail detail = *pms_detail();
        drop_ahead(self);
        *pms_detail() = detail;
        if (status == PMS_E_CHANGED)
            PyErr_SetString(PyExc_RuntimeError, "deque mutated during iteration");
        else
            pys_raise(list->owner, status);
    }
    Py_DECREF(list);
    return item;
}

static PyObject *list_iter_hint(PyObject *obj, PyObject *unused)
{
    struct list_iter *self = (struct list_iter *)obj;
    struct pys_proxy *list = self->list;
    uint64_t length = 0, index;
    int status;
    (void)unused;
    if (list == NULL || self->index < 0)
        return PyLong_FromLong(0);
    Py_INCREF(list);
    status = measure(list, &length);
    Py_DECREF(list);
    if (status < 0)
        return NULL;
    index = (uint64_t)self->index;
    if (self->list == NULL || index >= length)
        return PyLong_FromLong(0);
    return PyLong_FromUnsignedLongLong(self->reverse ? index + 1 : length - index);
}

static int list_iter_traverse(PyObject *obj, visitproc visit, void *arg)
{
    struct list_iter *self = (struct list_iter *)obj;
    Py_VISIT(Py_TYPE(obj));
    Py_VISIT(self->list);
    for (unsigned i = 0; i < self->made; i++)
        Py_VISIT(self->ahead[i].obj);
    return 0;
}

static void list_iter_dealloc(PyObject *obj)
{
    struct list_iter *self = (struct list_iter *)obj;
    PyTypeObject *type = Py_TYPE(obj);
    PyObject_GC_UnTrack(obj);
    drop_ahead(self);
    finish(self);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(obj);
    Py_DECREF(type);
}

static PyMethodDef list_iter_methods[] = {
    {"__length_hint__", list_iter_hint, METH_NOARGS, "How many items are left, at a guess."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot list_iter_slots[] = {
    {Py_tp_dealloc, list_iter_dealloc}, {Py_tp_traverse, list_iter_traverse},
    {Py_tp_methods, list_iter_methods}, {Py_tp_iter, PyObject_SelfIter},
    {Py_tp_iternext, list_iter_next},   {0, NULL},
};

PyType_Spec pys_list_iter_spec = {
    .name = "pmemstore._native._slots.ListIterator",
    .basicsize = sizeof(struct list_iter),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = list_iter_slots,
};
