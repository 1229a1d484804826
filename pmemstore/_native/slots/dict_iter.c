/* dict_iter.c -- iterate over a dict or set in its order, as strictly as the builtin.
 *
 *   ahead[head..count)   entries taken but not yet served
 *
 * The dict's version tells of entries that came or went: RuntimeError.  A roll-back does not
 * move it, but undoes only work that came after the iterator's start, unless the start itself
 * was inside a transaction at that depth or deeper (owner->aborts).  A replaced value moves
 * nothing; so values taken ahead are served only while nobody has written to the pool.
 *
 * Entries are taken in one pass under the lock, as finished objects where that needs no Python: up
 * to AHEAD_MAX, fewer if they are large (pms_dict_walk).  Small ones that have been served keep
 * their place, and are filled again (again.h).
 */
#include <stdlib.h>

#include "again.h"

#define AHEAD_MAX 16

struct dict_iter {
    PyObject ob_base;
    struct pys_proxy *dict;      /* NULL: exhausted */
    const struct pms_pool *pool; /* that of dict */
    int kind, reverse;
    uint32_t level; /* index into owner->aborts */
    uint64_t aborts, version, writes;
    uint64_t length; /* when it began */
    uint64_t served; /* before ahead[0] */
    uint64_t entry;  /* that one; 0: none */
    unsigned head, count, batch, made;
    int ended; /* nothing behind ahead[count - 1] */
    struct pys_pairs pairs;
    uint64_t entries[AHEAD_MAX];
    struct pys_ahead ahead[AHEAD_MAX]; /* `made` of them are places */
};

/* What was served lies behind; the rest of ahead is somebody else's by now. */
static void pass_served(struct dict_iter *self)
{
    if (self->head > 0) {
        self->served += self->head;
        self->entry = self->entries[self->head - 1];
    }
    self->head = self->count = 0;
    self->ended = 0;
}

/* A proxy that goes may run Python, which may come back and take more. */
static void drop_ahead(struct dict_iter *self)
{
    struct pys_ahead dropped[AHEAD_MAX];
    while (self->head < self->count) {
        unsigned count = self->count - self->head;
        memcpy(dropped, &self->ahead[self->head], count * sizeof *dropped);
        memset(&self->ahead[self->head], 0, count * sizeof *dropped);
        pass_served(self);
        for (unsigned i = 0; i < count; i++)
            pys_ahead_drop(&dropped[i]);
    }
    pass_served(self);
}

/* The end: nothing is ahead, and nothing will be filled again. */
static void finish(struct dict_iter *self)
{
    for (unsigned i = 0; i < self->made; i++)
        pys_ahead_drop(&self->ahead[i]);
    Py_CLEAR(self->dict);
}

PyObject *pys_dict_iter(struct pys_proxy *dict, int kind, int reverse)
{
    struct pms_pool *pool = pys_core(dict);
    struct dict_iter *self;
    uint64_t length = 0, version = 0;
    uint32_t depth = 0;
    int status = pys_enter_read(pool, dict->handle);
    if (status == PMS_OK) {
        length = pms_dict_len(pool, dict->handle->off);
        version = dict->handle->version;
        status = pys_leave_read(pool, PMS_OK);
        depth = pms_tx_depth(pool);
    }
    if (status != PMS_OK) {
        pys_raise(dict->owner, status);
        return NULL;
    }
    self = PyObject_GC_New(struct dict_iter, pys.dict_iter_type);
    if (self == NULL)
        return NULL;
    memset((char *)self + sizeof(PyObject), 0,
           offsetof(struct dict_iter, ahead) - sizeof(PyObject));
    self->dict = (struct pys_proxy *)pys_ref(dict);
    self->pool = pool;
    self->kind = kind;
    self->reverse = reverse;
    self->length = length;
    self->version = version;
    self->level = depth < PYS_LEVELS ? depth : PYS_LEVELS - 1;
    self->aborts = dict->owner->aborts[self->level];
    self->batch = 4;
    PyObject_GC_Track((PyObject *)self);
    return (PyObject *)self;
}

static int unchanged(const struct dict_iter *self)
{
    const struct pms_handle *handle = self->dict->handle;
    return handle->version == self->version && handle->state == PMS_HANDLE_LIVE &&
           self->dict->owner->aborts[self->level] == self->aborts;
}

/* May what was taken ahead still be served?  Whatever could make it stale counts as a write. */
static int is_fresh(const struct dict_iter *self)
{
    const struct pms_pool *pool = pys_core(self->dict);
    if (PMS_LIKELY(pys_writes(pool) == self->writes))
        return pys_is_open(pool);
    return self->kind == PYS_KEYS && unchanged(self) && pys_is_open(pool);
}

/* In line for each kind. */
static inline int take_walked(struct dict_iter *self, struct pms_pool *pool,
                              const struct pms_walked *walked, unsigned count, const int kind)
{
    pys_places_make(self->ahead, sizeof self->ahead[0], &self->made, count);
    for (unsigned i = 0; i < count; i++) {
        self->entries[i] = walked[i].entry;
        self->count = i + 1;
        PMS_TRY(pys_ahead_take(pool, kind, &walked[i].key, &walked[i].value, &self->ahead[i]));
    }
    return PMS_OK;
}

/* Take the next entries.  PMS_E_CHANGED: *length is what it is now.  The caller keeps dict: while
 * this thread waits to be let in, others may take entries, serve them and end the iteration. */
static int look_ahead(struct dict_iter *self, struct pys_proxy *dict, uint64_t *length)
{
    struct pms_handle *handle = dict->handle;
    struct pms_pool *pool = handle->pool;
    struct pms_walked walked[AHEAD_MAX];
    struct pms_walk walk = {.reverse = self->reverse,
                            .keys = self->kind != PYS_VALUES,
                            .values = self->kind != PYS_KEYS};
    int status = pys_enter_read(pool, handle);
    if (status != PMS_OK)
        return status;
    if (PMS_UNLIKELY(self->dict == NULL || self->head < self->count))
        return pys_leave_read(pool, PMS_OK);
    pass_served(self);
    walk.entry = self->entry;
    if (!unchanged(self)) {
        *length = pms_dict_len(pool, handle->off);
        status = PMS_E_CHANGED;
    }
    self->writes = pys_writes(pool);
    if (status == PMS_OK)
        status = pms_dict_walk(pool, handle->off, &walk, walked, self->batch);
    if (PMS_LIKELY(status == PMS_OK))
        status = self->kind == PYS_KEYS ? take_walked(self, pool, walked, walk.count, PYS_KEYS)
                 : self->kind == PYS_ITEMS
                     ? take_walked(self, pool, walked, walk.count, PYS_ITEMS)
                     : take_walked(self, pool, walked, walk.count, PYS_VALUES);
    self->ended = walk.ended;
    return pys_leave_read(pool, status);
}

/* Python may run: it may come back here, or drop the last other reference to the dict. */
static PyObject *serve_other(struct dict_iter *self, struct pys_ahead *ahead)
{
    struct pys_proxy *dict = (struct pys_proxy *)pys_ref(self->dict);
    PyObject *result = pys_ahead_give(dict->owner, self->kind, ahead);
    Py_DECREF(dict);
    return result;
}

static inline PyObject *serve(struct dict_iter *self)
{
    struct pys_ahead *ahead = &self->ahead[self->head++];
    return PMS_LIKELY(ahead->atoms) ? pys_ahead_serve(self->kind, &self->pairs, ahead)
                                    : serve_other(self, ahead);
}

static void raise_changed(const struct pys_proxy *dict, int size)
{
    if (dict->handle->tag == PMS_TAG_SET)
        PyErr_SetString(PyExc_RuntimeError, size ? "Set changed size during iteration"
                                                 : "Set elements changed during iteration");
    else
        PyErr_SetString(PyExc_RuntimeError, size ? "dictionary changed size during iteration"
                                                 : "dictionary keys changed during iteration");
}

/* Nothing is ahead, or it may be stale. */
static PyObject *next_other(struct dict_iter *self)
{
    struct pys_proxy *dict;
    PyObject *result = NULL;
    uint64_t length = 0;
    int status;
    if (self->head < self->count || self->ended) {
        if (is_fresh(self)) {
            if (self->head < self->count)
                return serve(self);
            finish(self);
            return NULL;
        }
        self->batch = 1;
    } else if (self->batch < AHEAD_MAX) {
        self->batch *= 2;
    }
    drop_ahead(self);
    if (self->dict == NULL) /* what was dropped came back and went to the end */
        return NULL;
    dict = (struct pys_proxy *)pys_ref(self->dict);
    status = look_ahead(self, dict, &length);
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
            raise_changed(dict, length != self->length);
        else
            pys_raise(dict->owner, status);
    }
    Py_DECREF(dict);
    return result;
}

static PyObject *dict_iter_next(PyObject *obj)
{
    struct dict_iter *self = (struct dict_iter *)obj;
    if (PMS_UNLIKELY(self->dict == NULL))
        return NULL;
    if (PMS_LIKELY(self->head < self->count && pys_writes(self->pool) == self->writes &&
                   pys_is_open(self->pool)))
        return serve(self);
    return next_other(self);
}

static PyObject *dict_iter_hint(PyObject *obj, PyObject *unused)
{
    struct dict_iter *self = (struct dict_iter *)obj;
    uint64_t left = 0, served = self->served + self->head;
    (void)unused;
    if (self->dict != NULL && unchanged(self) && served < self->length)
        left = self->length - served;
    return PyLong_FromUnsignedLongLong(left);
}

static int dict_iter_traverse(PyObject *obj, visitproc visit, void *arg)
{
    struct dict_iter *self = (struct dict_iter *)obj;
    Py_VISIT(Py_TYPE(obj));
    Py_VISIT(self->dict);
    Py_VISIT(self->pairs.pair[0]);
    Py_VISIT(self->pairs.pair[1]);
    for (unsigned i = 0; i < self->made; i++) {
        Py_VISIT(self->ahead[i].key.obj);
        Py_VISIT(self->ahead[i].value.obj);
    }
    return 0;
}

static void dict_iter_dealloc(PyObject *obj)
{
    struct dict_iter *self = (struct dict_iter *)obj;
    PyTypeObject *type = Py_TYPE(obj);
    PyObject_GC_UnTrack(obj);
    drop_ahead(self);
    finish(self);
    Py_CLEAR(self->pairs.pair[0]);
    Py_CLEAR(self->pairs.pair[1]);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(obj);
    Py_DECREF(type);
}

/* ---- all items at once: no other thread's change is seen in part ---- */

struct items {
    int kind;
    uint64_t count, room;
    struct pys_taken *taken; /* keys, or values, or pairs of both */
};

static uint64_t parts(const struct items *items) { return items->kind == PYS_ITEMS ? 2 : 1; }

static int items_reserve(struct items *items, uint64_t dict)
{
    uint64_t room = items->room != 0 ? 2 * items->room : AHEAD_MAX;
    size_t bytes = room * parts(items) * sizeof *items->taken;
    struct pys_taken *more;
    if (items->room - items->count >= AHEAD_MAX)
        return PMS_OK;
    more = realloc(items->taken, bytes);
    if (more == NULL)
        return PMS_FAIL(PMS_E_NOMEM, "copying a dict", dict, bytes, 0);
    items->taken = more;
    items->room = room;
    return PMS_OK;
}

static int take_item(struct pms_pool *pool, const struct pms_walk *walk,
                     const struct pms_walked *walked, struct items *items)
{
    struct pys_taken *taken = &items->taken[parts(items) * items->count++];
    memset(taken, 0, parts(items) * sizeof *taken);
    if (walk->keys)
        PMS_TRY(pys_take_key(pool, &walked->key, taken++));
    return walk->values ? pys_take(pool, &walked->value, taken) : PMS_OK;
}

/* Pool entered. */
static int take_items(struct pms_pool *pool, uint64_t dict, struct items *items)
{
    uint64_t most = pool->super.size / PMS_ENTRY_MIN;
    struct pms_walked walked[AHEAD_MAX];
    struct pms_walk walk = {.keys = items->kind != PYS_VALUES,
                            .values = items->kind != PYS_KEYS};
    while (!walk.ended) {
        PMS_TRY(items_reserve(items, dict));
        PMS_TRY(pms_dict_walk(pool, dict, &walk, walked, AHEAD_MAX));
        for (unsigned i = 0; i < walk.count; i++)
            PMS_TRY(take_item(pool, &walk, &walked[i], items));
        if (items->count > most)
            return PMS_FAIL(PMS_E_CORRUPT, "copying a dict: its entries go in a circle", dict,
                            most, items->count);
    }
    return PMS_OK;
}

PyObject *pys_dict_list(struct pys_proxy *dict, int kind)
{
    struct pms_pool *pool = pys_core(dict);
    struct items items = {.kind = kind};
    PyObject *list = NULL;
    int status = pys_enter_read(pool, dict->handle);
    if (status == PMS_OK)
        status = pys_leave_read(pool, take_items(pool, dict->handle->off, &items));
    if (status == PMS_OK)
        list = PyList_New((Py_ssize_t)items.count);
    else
        pys_raise(dict->owner, status);
    for (uint64_t i = 0; list != NULL && i < items.count; i++) {
        PyObject *item = kind == PYS_ITEMS ? pys_give_pair(dict->owner, &items.taken[2 * i],
                                                           &items.taken[2 * i + 1])
                                           : pys_give(dict->owner, &items.taken[i]);
        if (item == NULL)
            Py_CLEAR(list);
        else
            PyList_SetItem(list, (Py_ssize_t)i, item);
    }
    for (uint64_t i = 0; list == NULL && i < parts(&items) * items.count; i++)
        pys_taken_drop(&items.taken[i]);
    free(items.taken);
    return list;
}

static PyMethodDef dict_iter_methods[] = {
    {"__length_hint__", dict_iter_hint, METH_NOARGS, "How many items are left, at a guess."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot dict_iter_slots[] = {
    {Py_tp_dealloc, dict_iter_dealloc}, {Py_tp_traverse, dict_iter_traverse},
    {Py_tp_methods, dict_iter_methods}, {Py_tp_iter, PyObject_SelfIter},
    {Py_tp_iternext, dict_iter_next},   {0, NULL},
};

PyType_Spec pys_dict_iter_spec = {
    .name = "pmemstore._native._slots.DictIterator",
    .basicsize = sizeof(struct dict_iter),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = dict_iter_slots,
};
