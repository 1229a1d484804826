/* sorted_set_type.c -- SortedSetBase: the persistent sorted set, one call of the core each.
 *
 * Slices are deleted by the Python side: _delslice(slice).
 */
#include "slots_sorted.h"

static const struct pms_val none = {.tag = PMS_TAG_NONE};

static PyObject *set_add(PyObject *obj, PyObject *key)
{
    struct pys_proxy *self = (struct pys_proxy *)obj;
    struct pms_pool *pool = pys_core(self);
    struct pys_order order;
    int status;
    if (pys_order_read(key, PYS_PUT, &order) < 0)
        return NULL;
    status = pys_enter_write(pool, self->handle);
    if (status == PMS_OK) {
        status = pys_sorted_put(self, &order.key, &none);
        status = pys_leave_write(pool, status);
    }
    pys_order_done(&order);
    if (PMS_LIKELY(status == PMS_OK))
        Py_RETURN_NONE;
    pys_order_raise(self, status, key);
    return NULL;
}

static PyObject *set_discard(PyObject *obj, PyObject *key)
{
    struct pys_proxy *self = (struct pys_proxy *)obj;
    int status = pys_sorted_delete(self, key);
    if (status == PMS_OK || status == PMS_MISSING)
        Py_RETURN_NONE;
    pys_raise(self->owner, status);
    return NULL;
}

static PyObject *set_remove(PyObject *obj, PyObject *key)
{
    struct pys_proxy *self = (struct pys_proxy *)obj;
    int status = pys_sorted_delete(self, key);
    if (status == PMS_OK)
        Py_RETURN_NONE;
    if (status == PMS_MISSING)
        pys_raise_key(key);
    else
        pys_raise(self->owner, status);
    return NULL;
}

static PyObject *set_pop(PyObject *obj, PyObject *const *args, Py_ssize_t nargs)
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
    return pys_sorted_pop_at((struct pys_proxy *)obj, PYS_KEYS, index);
}

static PyObject *set_update(PyObject *self, PyObject *keys)
{
    if (pys_sorted_bulk((struct pys_proxy *)self, keys, 0) < 0)
        return NULL;
    Py_RETURN_NONE;
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

static PyObject *item_at(PyObject *self, Py_ssize_t index)
{
    PyObject *args = Py_BuildValue("(in)", (int)PYS_KEYS, index);
    PyObject *item = args != NULL ? pys_sorted_item(self, args) : NULL;
    Py_XDECREF(args);
    return item;
}

static PyObject *set_subscript(PyObject *self, PyObject *key)
{
    Py_ssize_t index = 0;
    int kind = read_index(key, &index);
    if (PMS_LIKELY(kind == 1))
        return item_at(self, index);
    return kind < 0 ? NULL : pys_sorted_slice((struct pys_proxy *)self, PYS_KEYS, key);
}

/* sq_item gets negative indices with the length added already: those are out of range. */
static PyObject *set_sq_item(PyObject *self, Py_ssize_t index)
{
    if (index >= 0)
        return item_at(self, index);
    PyErr_SetString(PyExc_IndexError, "list index out of range");
    return NULL;
}

static int set_ass_subscript(PyObject *self, PyObject *key, PyObject *value)
{
    PyObject *done;
    Py_ssize_t index = 0;
    int kind;
    if (value != NULL) {
        PyErr_SetString(PyExc_TypeError,
                        "'SortedSet' object does not support item assignment: "
                        "where an item stands is told by its order; use add()");
        return -1;
    }
    kind = read_index(key, &index);
    if (kind < 0)
        return -1;
    done = kind == 1 ? pys_sorted_pop_at((struct pys_proxy *)self, PYS_KEYS, index)
                     : PyObject_CallMethod(self, "_delslice", "O", key);
    Py_XDECREF(done);
    return done != NULL ? 0 : -1;
}

#define FAST(function) ((PyCFunction)(void (*)(void))(function))

static PyMethodDef set_methods[] = {
    PYS_SORTED_METHODS,
    {"add", set_add, METH_O, "Put an item; nothing happens if it is there."},
    {"discard", set_discard, METH_O, "Remove an item; nothing happens if it is not there."},
    {"remove", set_remove, METH_O, "Remove an item; KeyError if it is not there."},
    {"pop", FAST(set_pop), METH_FASTCALL, "pop(index=-1): remove and return an item."},
    {"_update_items", set_update, METH_O, "Put a list of items, as one unit of work."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot set_slots[] = {
    {Py_tp_dealloc, pys_proxy_dealloc},
    {Py_tp_traverse, pys_proxy_traverse},
    {Py_tp_methods, set_methods},
    {Py_tp_hash, PyObject_HashNotImplemented},
    {Py_tp_iter, pys_sorted_iterate},
    {Py_mp_length, pys_sorted_length},
    {Py_mp_subscript, set_subscript},
    {Py_mp_ass_subscript, set_ass_subscript},
    {Py_sq_length, pys_sorted_length},
    {Py_sq_item, set_sq_item},
    {Py_sq_contains, pys_sorted_contains},
    {Py_tp_doc, "Base of SortedSet: a persistent sorted set of an open pool."},
    {0, NULL},
};

PyType_Spec pys_sorted_set_spec = {
    .name = "pmemstore._native._slots.SortedSetBase",
    .basicsize = sizeof(struct pys_proxy),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC |
             Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = set_slots,
};
