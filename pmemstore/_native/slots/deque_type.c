/* deque_type.c -- DequeBase: the operations of the persistent deque, one call of the core each.
 *
 * A deque is a list with two ends and a bound: what reads it, and what takes items out, is that of
 * the list.
 */
#include "slots.h"

#define OUT_OF_RANGE "deque index out of range"
#define EMPTY "pop from an empty deque"

/* ---- items ---- */

static int read_index(PyObject *key, Py_ssize_t *index)
{
    PyObject *name;
    if (PyIndex_Check(key)) {
        *index = PyNumber_AsSsize_t(key, PyExc_IndexError);
        return *index == -1 && PyErr_Occurred() ? -1 : 0;
    }
    name = PyType_GetName(Py_TYPE(key));
    if (name != NULL)
        PyErr_Format(PyExc_TypeError, "sequence index must be integer, not '%U'", name);
    Py_XDECREF(name);
    return -1;
}

static PyObject *deque_subscript(PyObject *self, PyObject *key)
{
    Py_ssize_t index = 0;
    return read_index(key, &index) < 0 ? NULL : pys_list_item(self, index, OUT_OF_RANGE);
}

/* Gets negative indices with the length added already: those are out of range. */
static PyObject *deque_item(PyObject *self, Py_ssize_t index)
{
    if (index >= 0)
        return pys_list_item(self, index, OUT_OF_RANGE);
    PyErr_SetString(PyExc_IndexError, OUT_OF_RANGE);
    return NULL;
}

static int deque_ass_subscript(PyObject *self, PyObject *key, PyObject *value)
{
    Py_ssize_t index = 0;
    if (read_index(key, &index) < 0)
        return -1;
    return pys_list_put_item(self, index, value, OUT_OF_RANGE);
}

/* ---- ends ---- */

int pys_deque_put(struct pys_proxy *self, void *end, const struct pms_val *value)
{
    return pms_deque_push(pys_core(self), self->handle->off, *(enum pms_deque_end *)end, value);
}

static PyObject *push(PyObject *obj, PyObject *value, enum pms_deque_end end)
{
    struct pys_proxy *self = (struct pys_proxy *)obj;
    int status = pys_store(self, value, pys_deque_put, &end);
    if (PMS_LIKELY(status == PMS_OK))
        Py_RETURN_NONE;
    pys_raise(self->owner, status);
    pys_locate(self, NULL);
    return NULL;
}

static PyObject *deque_append(PyObject *self, PyObject *value)
{
    return push(self, value, PMS_DEQUE_RIGHT);
}

static PyObject *deque_append_left(PyObject *self, PyObject *value)
{
    return push(self, value, PMS_DEQUE_LEFT);
}

static PyObject *deque_pop(PyObject *self, PyObject *unused)
{
    (void)unused;
    return pys_list_pop(self, -1, EMPTY, EMPTY);
}

static PyObject *deque_pop_left(PyObject *self, PyObject *unused)
{
    (void)unused;
    return pys_list_pop(self, 0, EMPTY, EMPTY);
}

static PyObject *deque_extend(PyObject *self, PyObject *items)
{
    return pys_bulk(self, PYS_BULK_PUSH, items);
}

static PyObject *deque_extend_left(PyObject *self, PyObject *items)
{
    return pys_bulk(self, PYS_BULK_PUSH_LEFT, items);
}

/* ---- anywhere ---- */

static int insert_at(struct pys_proxy *self, void *target, const struct pms_val *value)
{
    Py_ssize_t index = *(Py_ssize_t *)target;
    Py_ssize_t count = (Py_ssize_t)pms_list_len(pys_core(self), self->handle->off);
    if (index < 0)
        index = index + count < 0 ? 0 : index + count;
    if (index > count)
        index = count;
    return pms_deque_insert(pys_core(self), self->handle->off, (uint64_t)index, value);
}

static PyObject *deque_insert(PyObject *obj, PyObject *const *args, Py_ssize_t nargs)
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
    if (status == PMS_MISSING)
        PyErr_SetString(PyExc_IndexError, "deque already at its maximum size");
    else
        pys_raise(self->owner, status);
    pys_locate(self, args[0]);
    return NULL;
}

static PyObject *deque_rotate(PyObject *obj, PyObject *const *args, Py_ssize_t nargs)
{
    struct pys_proxy *self = (struct pys_proxy *)obj;
    struct pms_pool *pool = pys_core(self);
    Py_ssize_t steps = 1;
    int status;
    if (nargs > 1) {
        PyErr_Format(PyExc_TypeError, "rotate expected at most 1 argument, got %zd", nargs);
        return NULL;
    }
    if (nargs == 1) {
        steps = PyNumber_AsSsize_t(args[0], PyExc_OverflowError);
        if (steps == -1 && PyErr_Occurred())
            return NULL;
    }
    status = pys_enter_write(pool, self->handle);
    if (status == PMS_OK) {
        int64_t count = (int64_t)pms_list_len(pool, self->handle->off);
        int64_t right = count > 0 ? steps % count : 0;
        right = right < 0 ? right + count : right;
        status = pms_deque_rotate(pool, self->handle->off, (uint64_t)right);
        status = pys_leave_write(pool, status);
    }
    if (status == PMS_OK)
        Py_RETURN_NONE;
    pys_raise(self->owner, status);
    return NULL;
}

/* ---- the whole deque ---- */

static PyObject *deque_iter(PyObject *self)
{
    return pys_list_iter((struct pys_proxy *)self, 0);
}

static PyObject *deque_reversed(PyObject *self, PyObject *unused)
{
    (void)unused;
    return pys_list_iter((struct pys_proxy *)self, 1);
}

static PyObject *deque_items(PyObject *self, PyObject *unused)
{
    (void)unused;
    return pys_list_range((struct pys_proxy *)self, 0, UINT64_MAX, PYS_ANY_LENGTH);
}

static PyObject *get_maxlen(PyObject *obj, void *closure)
{
    struct pys_proxy *self = (struct pys_proxy *)obj;
    struct pms_pool *pool = pys_core(self);
    uint64_t bound = 0;
    int status = pys_enter_read(pool, self->handle);
    (void)closure;
    if (status == PMS_OK) {
        bound = pms_deque_bound(pool, self->handle->off);
        status = pys_leave_read(pool, PMS_OK);
    }
    if (status == PMS_OK)
        return bound != 0 ? PyLong_FromUnsignedLongLong(bound - 1) : pys_ref(Py_None);
    pys_raise(self->owner, status);
    return NULL;
}

static PyObject *set_maxlen(PyObject *obj, PyObject *arg)
{
    struct pys_proxy *self = (struct pys_proxy *)obj;
    struct pms_pool *pool = pys_core(self);
    Py_ssize_t most = PyLong_AsSsize_t(arg);
    int status;
    if (most < 0) {
        if (!PyErr_Occurred())
            PyErr_SetString(PyExc_ValueError, "maxlen must be non-negative");
        return NULL;
    }
    status = pys_enter_write(pool, self->handle);
    if (status == PMS_OK) {
        status = pms_deque_set_bound(pool, self->handle->off, (uint64_t)most + 1);
        status = pys_leave_write(pool, status);
    }
    if (status == PMS_OK)
        Py_RETURN_NONE;
    pys_raise(self->owner, status);
    return NULL;
}

#define FAST(function) ((PyCFunction)(void (*)(void))(function))

static PyMethodDef deque_methods[] = {
    {"append", deque_append, METH_O, "Add an item at the right end."},
    {"appendleft", deque_append_left, METH_O, "Add an item at the left end."},
    {"pop", deque_pop, METH_NOARGS, "Remove and return the item at the right end."},
    {"popleft", deque_pop_left, METH_NOARGS, "Remove and return the item at the left end."},
    {"extend", deque_extend, METH_O, "Add all items at the right end, as one unit of work."},
    {"extendleft", deque_extend_left, METH_O,
     "Add all items at the left end, one before the other, as one unit of work."},
    {"insert", FAST(deque_insert), METH_FASTCALL, "insert(index, item): add it before index."},
    {"rotate", FAST(deque_rotate), METH_FASTCALL,
     "rotate(n=1): move n items from the right end to the left one; n < 0: the other way."},
    {"reverse", pys_list_reverse, METH_NOARGS, "Turn the order round, as one unit of work."},
    {"clear", pys_list_empty, METH_NOARGS, "Remove all items, as one unit of work."},
    {"count", pys_list_count, METH_O, "Return how many items equal the value.  O(n)."},
    {"_find", pys_list_find, METH_VARARGS,
     "_find(value, start, stop): the first index of a value; -1: it is not there, -2: the "
     "deque "
     "was changed by a comparison."},
    {"_items", deque_items, METH_NOARGS, "A list of all items, from one look at the deque."},
    {"_set_maxlen", set_maxlen, METH_O, "_set_maxlen(n): bound a new, empty deque."},
    {"__reversed__", deque_reversed, METH_NOARGS, "Iterate from the right end."},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef deque_getset[] = {
    {"maxlen", get_maxlen, NULL, "The most items that the deque may have; None: no limit.",
     NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot deque_slots[] = {
    {Py_tp_dealloc, pys_proxy_dealloc},
    {Py_tp_traverse, pys_proxy_traverse},
    {Py_tp_methods, deque_methods},
    {Py_tp_getset, deque_getset},
    {Py_tp_hash, PyObject_HashNotImplemented},
    {Py_tp_iter, deque_iter},
    {Py_mp_length, pys_list_length},
    {Py_mp_subscript, deque_subscript},
    {Py_mp_ass_subscript, deque_ass_subscript},
    {Py_sq_length, pys_list_length},
    {Py_sq_item, deque_item},
    {Py_sq_contains, pys_list_contains},
    {Py_tp_doc, "Base of Deque: a persistent deque of an open pool."},
    {0, NULL},
};

PyType_Spec pys_deque_spec = {
    .name = "pmemstore._native._slots.DequeBase",
    .basicsize = sizeof(struct pys_proxy),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC |
             Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = deque_slots,
};
