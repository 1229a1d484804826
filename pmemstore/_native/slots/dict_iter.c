/* dict_iter.c -- iterate over a dict or set in its order, as strictly as the builtin.
 *
 *   ahead[head..count)   entries taken but not yet served
 *
 * The dict's version tells of entries that came or went: RuntimeError.  A roll-back does not
 * move it, but undoes only work that came after the iterator's start, unless the start itself
 * was inside a transaction at that depth or deeper (owner->aborts).  A replaced value moves
 * nothing; so values taken ahead are served only while nobody has written to the pool.
 */
#include <stdlib.h>

#include "slots.h"

#define AHEAD_MAX 16

struct ahead {
    uint64_t entry;
    struct pys_taken key, value;
};

struct dict_iter {
    PyObject ob_base;
    struct pys_proxy *dict; /* NULL: exhausted */
    int kind, reverse;
    uint32_t level; /* index into owner->aborts */
    uint64_t aborts, version, writes;
    uint64_t length; /* when it began */
    uint64_t served;
    uint64_t entry; /* served last; 0: none yet */
    unsigned head, count, batch;
    int ended; /* nothing behind ahead[count - 1] */
    struct ahead ahead[AHEAD_MAX];
};

static void drop_ahead(struct dict_iter *self)
{
    unsigned head = self->head, count = self->count;
    self->head = self->count = 0;
    self->ended = 0;
    for (; head < count; head++) {
        pys_taken_drop(&self->ahead[head].key);
        pys_taken_drop(&self->ahead[head].value);
    }
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
    self = (struct dict_iter *)PyType_GenericAlloc(pys.dict_iter_type, 0);
    if (self == NULL)
        return NULL;
    self->dict = (struct pys_proxy *)pys_ref(dict);
    self->kind = kind;
    self->reverse = reverse;
    self->length = length;
    self->version = version;
    self->level = depth < PYS_LEVELS ? depth : PYS_LEVELS - 1;
    self->aborts = dict->owner->aborts[self->level];
    self->batch = 4;
    return (PyObject *)self;
}

static int unchanged(const struct dict_iter *self)
{
    const struct pms_handle *handle = self->dict->handle;
    return handle->version == self->version && handle->state == PMS_HANDLE_LIVE &&
           self->dict->owner->aborts[self->level] == self->aborts;
}

/* May what was taken ahead still be served? */
static int is_fresh(const struct dict_iter *self)
{
    const struct pms_pool *pool = pys_core(self->dict);
    return unchanged(self) && !pool->closed &&
           (self->kind == PYS_KEYS || pys_writes(pool) == self->writes);
}

static int take_entry(struct dict_iter *self, uint64_t entry)
{
    struct pms_pool *pool = pys_core(self->dict);
    struct ahead *ahead = &self->ahead[self->count++];
    struct pms_val key, value;
    memset(ahead, 0, sizeof *ahead);
    ahead->entry = entry;
    PMS_TRY(pms_dict_entry(pool, entry, self->kind != PYS_VALUES ? &key : NULL,
                           self->kind != PYS_KEYS ? &value : NULL));
    if (self->kind != PYS_VALUES)
        PMS_TRY(pys_take(pool, &key, &ahead->key));
    return self->kind != PYS_KEYS ? pys_take(pool, &value, &ahead->value) : PMS_OK;
}

/* Take the next entries.  PMS_E_CHANGED: *length is what it is now. */
static int look_ahead(struct dict_iter *self, uint64_t *length)
{
    struct pms_handle *handle = self->dict->handle;
    struct pms_pool *pool = handle->pool;
    uint64_t entry = self->entry;
    int status = pys_enter_read(pool, handle);
    if (status != PMS_OK)
        return status;
    if (!unchanged(self)) {
        *length = pms_dict_len(pool, handle->off);
        status = PMS_E_CHANGED;
    }
    self->writes = pys_writes(pool);
    while (status == PMS_OK && self->count < self->batch && !self->ended) {
        status = self->reverse ? pms_dict_prev(pool, handle->off, &entry)
                               : pms_dict_next(pool, handle->off, &entry);
        if (status == PMS_MISSING || (status == PMS_OK && entry == 0)) {
            self->ended = 1;
            status = PMS_OK;
        } else if (status == PMS_OK) {
            status = take_entry(self, entry);
        }
    }
    return pys_leave_read(pool, status);
}

static PyObject *serve_item(struct pys_pool *owner, struct ahead *ahead)
{
    struct pys_taken taken = ahead->value; /* unpacking the key may come back here */
    PyObject *key, *value, *item;
    memset(&ahead->value, 0, sizeof ahead->value);
    key = pys_give(owner, &ahead->key);
    value = key != NULL ? pys_give(owner, &taken) : NULL;
    pys_taken_drop(&taken);
    item = value != NULL ? PyTuple_Pack(2, key, value) : NULL;
    Py_XDECREF(key);
    Py_XDECREF(value);
    return item;
}

static PyObject *serve(struct dict_iter *self)
{
    struct ahead *ahead = &self->ahead[self->head++];
    struct pys_proxy *dict = (struct pys_proxy *)pys_ref(self->dict);
    PyObject *result;
    self->entry = ahead->entry;
    self->served++;
    if (self->kind == PYS_ITEMS)
        result = serve_item(dict->owner, ahead);
    else
        result = pys_give(dict->owner, self->kind == PYS_KEYS ? &ahead->key : &ahead->value);
    Py_DECREF(dict);
    return result;
}

static void raise_changed(const struct dict_iter *self, int size)
{
    if (self->dict->handle->tag == PMS_TAG_SET)
        PyErr_SetString(PyExc_RuntimeError, size ? "Set changed size during iteration"
                                                 : "Set elements changed during iteration");
    else
        PyErr_SetString(PyExc_RuntimeError, size ? "dictionary changed size during iteration"
                                                 : "dictionary keys changed during iteration");
}

static PyObject *dict_iter_next(PyObject *obj)
{
    struct dict_iter *self = (struct dict_iter *)obj;
    uint64_t length = 0;
    int status;
    if (self->dict == NULL)
        return NULL;
    if (self->head < self->count || self->ended) {
        if (PMS_LIKELY(is_fresh(self))) {
            if (self->head < self->count)
                return serve(self);
            Py_CLEAR(self->dict);
            return NULL;
        }
        self->batch = 1;
    } else if (self->batch < AHEAD_MAX) {
        self->batch *= 2;
    }
    drop_ahead(self);
    if (self->dict == NULL) /* what was dropped came back and went to the end */
        return NULL;
    status = look_ahead(self, &length);
    if (PMS_LIKELY(status == PMS_OK)) {
        if (self->count > 0)
            return serve(self);
        Py_CLEAR(self->dict);
        return NULL;
    }
    if (status == PMS_E_CHANGED)
        raise_changed(self, length != self->length);
    else
        pys_raise(self->dict->owner, status);
    drop_ahead(self);
    return NULL;
}

static PyObject *dict_iter_hint(PyObject *obj, PyObject *unused)
{
    struct dict_iter *self = (struct dict_iter *)obj;
    uint64_t left = 0;
    (void)unused;
    if (self->dict != NULL && unchanged(self) && self->served < self->length)
        left = self->length - self->served;
    return PyLong_FromUnsignedLongLong(left);
}

static int dict_iter_traverse(PyObject *obj, visitproc visit, void *arg)
{
    struct dict_iter *self = (struct dict_iter *)obj;
    Py_VISIT(Py_TYPE(obj));
    Py_VISIT(self->dict);
    for (unsigned i = self->head; i < self->count; i++) {
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
    Py_CLEAR(self->dict);
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

static int take_item(struct pms_pool *pool, struct items *items, uint64_t entry)
{
    struct pys_taken *taken = &items->taken[parts(items) * items->count++];
    struct pms_val key, value;
    memset(taken, 0, parts(items) * sizeof *taken);
    PMS_TRY(pms_dict_entry(pool, entry, items->kind != PYS_VALUES ? &key : NULL,
                           items->kind != PYS_KEYS ? &value : NULL));
    if (items->kind != PYS_VALUES)
        PMS_TRY(pys_take(pool, &key, taken++));
    return items->kind != PYS_KEYS ? pys_take(pool, &value, taken) : PMS_OK;
}

/* Pool entered. */
static int take_items(struct pms_pool *pool, uint64_t dict, struct items *items)
{
    uint64_t length = pms_dict_len(pool, dict), entry = 0;
    while (items->count < length) {
        int status = pms_dict_next(pool, dict, &entry);
        if (status == PMS_MISSING || (status == PMS_OK && entry == 0))
            return PMS_OK;
        PMS_TRY(status);
        if (items->count >= pool->super.size / sizeof(struct pms_entry_pm))
            return PMS_FAIL(PMS_E_CORRUPT, "copying a dict: its entries go in a circle", dict,
                            length, items->count);
        if (items->count == items->room) {
            uint64_t room = items->room != 0 ? 2 * items->room : 16;
            size_t bytes = room * parts(items) * sizeof *items->taken;
            struct pys_taken *more = realloc(items->taken, bytes);
            if (more == NULL)
                return PMS_FAIL(PMS_E_NOMEM, "copying a dict", dict, bytes, 0);
            items->taken = more;
            items->room = room;
        }
        PMS_TRY(take_item(pool, items, entry));
    }
    return PMS_OK;
}

static PyObject *give_pair(struct pys_pool *owner, struct pys_taken *taken)
{
    PyObject *key = pys_give(owner, &taken[0]);
    PyObject *value = key != NULL ? pys_give(owner, &taken[1]) : NULL;
    PyObject *item = value != NULL ? PyTuple_Pack(2, key, value) : NULL;
    Py_XDECREF(key);
    Py_XDECREF(value);
    return item;
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
        PyObject *item = kind == PYS_ITEMS ? give_pair(dict->owner, &items.taken[2 * i])
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
