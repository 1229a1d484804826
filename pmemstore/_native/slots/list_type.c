/* list_type.c -- ListBase: the operations of the persistent list, one call of the core each.
 *
 * Slices go to the Python side: _getslice(slice), _setslice(slice, values), _delslice(slice).
 */
#include <stdlib.h>

#include "again.h"

Py_ssize_t pys_list_length(PyObject *obj)
{
    struct pys_proxy *self = (struct pys_proxy *)obj;
    struct pms_pool *pool = pys_core(self);
    uint64_t count = 0;
    int status = pys_enter_read(pool, self->handle);
    if (status == PMS_OK) {
        count = pms_list_len(pool, self->handle->off);
        status = pys_leave_read(pool, PMS_OK);
    }
    return status == PMS_OK ? (Py_ssize_t)count : pys_raise(self->owner, status);
}

/* Pool entered: a Python index as one of the core. */
static int place(struct pys_proxy *self, Py_ssize_t index, uint64_t *out)
{
    uint64_t count = pms_list_len(pys_core(self), self->handle->off);
    if (index < 0)
        index += (Py_ssize_t)count;
    *out = (uint64_t)index;
    return index >= 0 && (uint64_t)index < count ? PMS_OK : PYS_NO_ITEM;
}

static PyObject *failed(struct pys_proxy *self, int status, const char *message)
{
    if (status == PYS_NO_ITEM || status == PMS_MISSING)
        PyErr_SetString(PyExc_IndexError, message);
    else
        pys_raise(self->owner, status);
    return NULL;
}

PyObject *pys_list_item(PyObject *obj, Py_ssize_t index, const char *message)
{
    struct pys_proxy *self = (struct pys_proxy *)obj;
    struct pms_pool *pool = pys_core(self);
    struct pys_taken taken = {0};
    struct pms_val val;
    uint64_t at;
    int status = pys_enter_read(pool, self->handle);
    if (status == PMS_OK) {
        status = place(self, index, &at);
        if (status == PMS_OK)
            status = pms_list_get(pool, self->handle->off, at, &val);
        if (status == PMS_OK)
            status = pys_take(pool, &val, &taken);
        status = pys_leave_read(pool, status);
    }
    if (status == PMS_OK)
        return pys_give(self->owner, &taken);
    failed(self, status, message);
    pys_taken_drop(&taken);
    return NULL;
}

static PyObject *list_item(PyObject *self, Py_ssize_t index)
{
    return pys_list_item(self, index, "list index out of range");
}

/* sq_item gets negative indices with the length added already: those are out of range. */
static PyObject *list_sq_item(PyObject *self, Py_ssize_t index)
{
    if (index >= 0)
        return list_item(self, index);
    PyErr_SetString(PyExc_IndexError, "list index out of range");
    return NULL;
}

/* 1: an index; 0: a slice; -1: raised. */
static int read_index(PyObject *key, Py_ssize_t *index)
{
    PyObject *name;
    if (PyIndex_Check(key)) {
        *index = PyNumber_AsSsize_t(key, PyExc_IndexError);
        return *index == -1 && PyErr_Occurred() ? -1 : 1;
    }
    if (PySlice_Check(key))
        return 0;
    name = PyType_GetName(Py_TYPE(key));
    if (name != NULL)
        PyErr_Format(PyExc_TypeError, "list indices must be integers or slices, not %U", name);
    Py_XDECREF(name);
    return -1;
}

static PyObject *list_subscript(PyObject *self, PyObject *key)
{
    Py_ssize_t index = 0;
    int kind = read_index(key, &index);
    if (PMS_LIKELY(kind == 1))
        return list_item(self, index);
    return kind < 0 ? NULL : PyObject_CallMethod(self, "_getslice", "O", key);
}

static int put_at(struct pys_proxy *self, void *target, const struct pms_val *value)
{
    uint64_t at;
    int status = place(self, *(Py_ssize_t *)target, &at);
    return status == PMS_OK ? pms_list_set(pys_core(self), self->handle->off, at, value)
                            : status;
}

static int delete_at(struct pys_proxy *self, Py_ssize_t index, const char *message)
{
    struct pms_pool *pool = pys_core(self);
    uint64_t at;
    int status = pys_enter_write(pool, self->handle);
    if (status == PMS_OK) {
        status = place(self, index, &at);
        if (status == PMS_OK)
            status = pms_list_del(pool, self->handle->off, at);
        if (status == PMS_OK)
            self->handle->version++;
        status = pys_leave_write(pool, status);
    }
    if (status == PMS_OK)
        return 0;
    failed(self, status, message);
    return -1;
}

int pys_list_put_item(PyObject *obj, Py_ssize_t index, PyObject *value, const char *message)
{
    struct pys_proxy *self = (struct pys_proxy *)obj;
    int status;
    if (value == NULL)
        return delete_at(self, index, message);
    status = pys_store(self, value, put_at, &index);
    if (status == PMS_OK)
        return 0;
    failed(self, status, message);
    if (PyErr_ExceptionMatches(PyExc_TypeError)) {
        PyObject *kind, *error, *trace, *place;
        PyErr_Fetch(&kind, &error, &trace);
        place = PyLong_FromSsize_t(index);
        PyErr_Restore(kind, error, trace);
        pys_locate(self, place);
        Py_XDECREF(place);
    }
    return -1;
}

static int list_ass_subscript(PyObject *obj, PyObject *key, PyObject *value)
{
    Py_ssize_t index = 0;
    int kind = read_index(key, &index);
    if (kind == 0) {
        PyObject *done = value == NULL
                             ? PyObject_CallMethod(obj, "_delslice", "O", key)
                             : PyObject_CallMethod(obj, "_setslice", "OO", key, value);
        Py_XDECREF(done);
        return done != NULL ? 0 : -1;
    }
    if (kind < 0)
        return -1;
    return pys_list_put_item(obj, index, value, "list assignment index out of range");
}

int pys_list_put(struct pys_proxy *self, void *unused, const struct pms_val *value)
{
    (void)unused;
    self->handle->version++;
    return pms_list_append(pys_core(self), self->handle->off, value);
}

static PyObject *list_append(PyObject *obj, PyObject *value)
{
    struct pys_proxy *self = (struct pys_proxy *)obj;
    int status = pys_store(self, value, pys_list_put, NULL);
    if (PMS_LIKELY(status == PMS_OK))
        Py_RETURN_NONE;
    pys_raise(self->owner, status);
    pys_locate(self, NULL);
    return NULL;
}

static int insert_at(struct pys_proxy *self, void *target, const struct pms_val *value)
{
    Py_ssize_t index = *(Py_ssize_t *)target;
    Py_ssize_t count = (Py_ssize_t)pms_list_len(pys_core(self), self->handle->off);
    if (index < 0)
        index = index + count < 0 ? 0 : index + count;
    if (index > count)
        index = count;
    self->handle->version++;
    return pms_list_insert(pys_core(self), self->handle->off, (uint64_t)index, value);
}

static PyObject *list_insert(PyObject *obj, PyObject *const *args, Py_ssize_t nargs)
{
    struct pys_proxy *self = (struct pys_proxy *)obj;
    Py_ssize_t index;
    int status;
    if (nargs != 2) {
        PyErr_Format(PyExc_TypeError, "insert expected 2 arguments, got %zd", nargs);
        return NULL;
    }
    index = PyNumber_AsSsize_t(args[0], PyExc_OverflowError);
    if (index == -1 && PyErr_Occurred())
        return NULL;
    status = pys_store(self, args[1], insert_at, &index);
    if (status == PMS_OK)
        Py_RETURN_NONE;
    pys_raise(self->owner, status);
    pys_locate(self, args[0]);
    return NULL;
}

struct list_pop {
    Py_ssize_t index;
    const char *empty, *range; /* messages */
};

static PyObject *pop_once(struct pys_proxy *self, struct pys_pop *pop, int *out)
{
    const struct list_pop *what = pop->args;
    struct pms_pool *pool = pys_core(self);
    struct pys_taken taken = {0};
    struct pms_val val;
    uint64_t at;
    int status, is_empty = 0;
    status = pys_enter_write(pool, self->handle);
    if (status == PMS_OK) {
        is_empty = pms_list_len(pool, self->handle->off) == 0;
        status = place(self, what->index, &at);
        if (status == PMS_OK)
            status = pms_list_get(pool, self->handle->off, at, &val);
        if (status == PMS_OK)
            status = pys_take(pool, &val, &taken);
        if (status == PMS_OK)
            status = pys_pop_sure(pop, &taken);
        if (status == PMS_OK)
            status = pms_list_del(pool, self->handle->off, at);
        if (status == PMS_OK)
            self->handle->version++;
        *out = status = pys_leave_write(pool, status);
    }
    if (status == PMS_OK)
        return pys_give(self->owner, &taken);
    failed(self, status, is_empty ? what->empty : what->range);
    pys_taken_drop(&taken);
    return NULL;
}

PyObject *pys_list_pop(PyObject *self, Py_ssize_t index, const char *empty, const char *range)
{
    struct list_pop what = {index, empty, range};
    return pys_pop((struct pys_proxy *)self, pop_once, &what);
}

static PyObject *list_pop(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    Py_ssize_t index = -1;
    if (nargs > 1) {
        PyErr_Format(PyExc_TypeError, "pop expected at most 1 argument, got %zd", nargs);
        return NULL;
    }
    if (nargs == 1) {
        index = PyNumber_AsSsize_t(args[0], PyExc_IndexError);
        if (index == -1 && PyErr_Occurred())
            return NULL;
    }
    return pys_list_pop(self, index, "pop from empty list", "pop index out of range");
}

static PyObject *list_extend(PyObject *self, PyObject *items)
{
    return pys_bulk(self, PYS_BULK_APPEND, items);
}

/* ---- runs of items ---- */

int pys_list_take(struct pys_proxy *self, uint64_t start, uint64_t count,
                  struct pys_taken *taken, uint64_t *bytes)
{
    struct pms_pool *pool = pys_core(self);
    uint64_t cell, cells, done = 0;
    struct pms_val val;
    while (done < count) {
        PMS_TRY(pms_list_run(pool, self->handle->off, start + done, &cell, &cells));
        for (; cells > 0 && done < count; cells--, done++, cell += sizeof(struct pms_cell_pm)) {
            PMS_TRY(pms_cell_read(pool, cell, &val));
            *bytes += val.len;
            PMS_TRY(pys_take_again(pool, &val, &taken[done]));
        }
    }
    return PMS_OK;
}

/* As many of the items as there are; one look at the list, so no other thread's change is seen
 * in part. */
PyObject *pys_list_range(struct pys_proxy *self, uint64_t start, uint64_t count,
                         uint64_t length)
{
    struct pms_pool *pool = pys_core(self);
    struct pys_taken *taken = NULL;
    PyObject *list = NULL;
    uint64_t have = 0, bytes = 0;
    int status = pys_enter_read(pool, self->handle);
    if (status == PMS_OK) {
        have = pms_list_len(pool, self->handle->off);
        if (length != PYS_ANY_LENGTH && length != have) {
            status = pys_leave_read(pool, PMS_OK);
            if (status == PMS_OK)
                Py_RETURN_NONE;
            pys_raise(self->owner, status);
            return NULL;
        }
        have = start < have ? have - start : 0;
        have = count < have ? count : have;
        taken = calloc(have != 0 ? (size_t)have : 1, sizeof *taken);
        status = taken != NULL
                     ? pys_list_take(self, start, have, taken, &bytes)
                     : PMS_FAIL(PMS_E_NOMEM, "copying a list", 0, have * sizeof *taken, 0);
        status = pys_leave_read(pool, status);
    }
    if (status == PMS_OK)
        list = PyList_New((Py_ssize_t)have);
    else
        pys_raise(self->owner, status);
    for (uint64_t i = 0; list != NULL && i < have; i++) {
        PyObject *item = pys_give(self->owner, &taken[i]);
        if (item == NULL)
            Py_CLEAR(list);
        else
            PyList_SetItem(list, (Py_ssize_t)i, item);
    }
    for (uint64_t i = 0; list == NULL && taken != NULL && i < have; i++)
        pys_taken_drop(&taken[i]);
    free(taken);
    return list;
}

static PyObject *list_get_range(PyObject *self, PyObject *args)
{
    Py_ssize_t start, count, length = -1;
    if (!PyArg_ParseTuple(args, "nn|n:_get_range", &start, &count, &length))
        return NULL;
    if (start < 0 || count < 0) {
        PyErr_SetString(PyExc_ValueError, "_get_range(): start and count must not be negative");
        return NULL;
    }
    return pys_list_range((struct pys_proxy *)self, (uint64_t)start, (uint64_t)count,
                          length < 0 ? PYS_ANY_LENGTH : (uint64_t)length);
}

static PyObject *list_del_range(PyObject *obj, PyObject *args)
{
    struct pys_proxy *self = (struct pys_proxy *)obj;
    struct pms_pool *pool = pys_core(self);
    Py_ssize_t start, count;
    uint64_t have;
    int status;
    if (!PyArg_ParseTuple(args, "nn:_del_range", &start, &count))
        return NULL;
    status = pys_enter_write(pool, self->handle);
    if (status == PMS_OK) {
        have = pms_list_len(pool, self->handle->off);
        if (start < 0 || count < 0 || (uint64_t)start > have ||
            (uint64_t)count > have - (uint64_t)start)
            status = PYS_NO_ITEM;
        else if (count > 0)
            status =
                pms_list_del_range(pool, self->handle->off, (uint64_t)start, (uint64_t)count);
        if (status == PMS_OK)
            self->handle->version++;
        status = pys_leave_write(pool, status);
    }
    if (status == PMS_OK)
        Py_RETURN_NONE;
    return failed(self, status, "list index out of range");
}

/* ---- the whole list ---- */

typedef int (*whole_fn)(struct pms_pool *pool, uint64_t list);

static PyObject *change_whole(struct pys_proxy *self, whole_fn change)
{
    struct pms_pool *pool = pys_core(self);
    int status = pys_enter_write(pool, self->handle);
    if (status == PMS_OK) {
        if (pms_list_len(pool, self->handle->off) != 0) {
            self->handle->version++;
            status = change(pool, self->handle->off);
        }
        status = pys_leave_write(pool, status);
    }
    if (status == PMS_OK)
        Py_RETURN_NONE;
    return failed(self, status, "list changed");
}

PyObject *pys_list_reverse(PyObject *self, PyObject *unused)
{
    (void)unused;
    return change_whole((struct pys_proxy *)self, pms_list_reverse);
}

PyObject *pys_list_empty(PyObject *self, PyObject *unused)
{
    (void)unused;
    return change_whole((struct pys_proxy *)self, pms_list_clear);
}

static PyObject *list_iter(PyObject *self)
{
    return pys_list_iter((struct pys_proxy *)self, 0);
}

static PyObject *list_reversed(PyObject *self, PyObject *unused)
{
    (void)unused;
    return pys_list_iter((struct pys_proxy *)self, 1);
}

#define FAST(function) ((PyCFunction)(void (*)(void))(function))

static PyMethodDef list_methods[] = {
    {"append", list_append, METH_O, "Add an item at the end."},
    {"insert", FAST(list_insert), METH_FASTCALL, "insert(index, item): add it before index."},
    {"pop", FAST(list_pop), METH_FASTCALL, "pop(index=-1): remove and return an item."},
    {"extend", list_extend, METH_O, "Add all items at the end, as one unit of work."},
    {"reverse", pys_list_reverse, METH_NOARGS, "Turn the order round, as one unit of work."},
    {"clear", pys_list_empty, METH_NOARGS, "Remove all items, as one unit of work."},
    {"_get_range", list_get_range, METH_VARARGS,
     "_get_range(start, count, length=-1): a list of what is there of these items; None if the "
     "list has not this length."},
    {"_del_range", list_del_range, METH_VARARGS, "_del_range(start, count): delete items."},
    {"_find", pys_list_find, METH_VARARGS,
     "_find(value, start, stop): the first index of a value; -1 if it is not there."},
    {"count", pys_list_count, METH_O, "Return how many items equal the value.  O(n)."},
    {"__reversed__", list_reversed, METH_NOARGS, "Iterate from the end."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot list_slots[] = {
    {Py_tp_dealloc, pys_proxy_dealloc},
    {Py_tp_traverse, pys_proxy_traverse},
    {Py_tp_methods, list_methods},
    {Py_tp_hash, PyObject_HashNotImplemented},
    {Py_tp_iter, list_iter},
    {Py_mp_length, pys_list_length},
    {Py_mp_subscript, list_subscript},
    {Py_mp_ass_subscript, list_ass_subscript},
    {Py_sq_length, pys_list_length},
    {Py_sq_item, list_sq_item},
    {Py_sq_contains, pys_list_contains},
    {Py_tp_doc, "Base of List: a persistent list of an open pool."},
    {0, NULL},
};

PyType_Spec pys_list_spec = {
    .name = "pmemstore._native._slots.ListBase",
    .basicsize = sizeof(struct pys_proxy),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC |
             Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = list_slots,
};
