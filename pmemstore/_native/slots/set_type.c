/* set_type.c -- SetBase: the operations of the persistent set, one call of the core each.
 *
 * A set is a dict whose values are NONE: what reads its length, iterates or empties it is that of
 * the dict.
 */
#include "slots.h"

/* An element as a key, for look-ups: a set, which is no key, stands for the frozenset of its
 * elements.  *frozen is what k may point into. */
static int read_element(PyObject *obj, struct pys_key *k, PyObject **frozen)
{
    int is_set = (PyAnySet_Check(obj) && !PyFrozenSet_Check(obj)) ||
                 PyObject_TypeCheck(obj, pys.set_base);
    *frozen = is_set ? PyFrozenSet_New(obj) : pys_ref(obj);
    if (*frozen == NULL)
        return -1;
    if (pys_key_read(*frozen, k) == 0)
        return 0;
    Py_CLEAR(*frozen);
    return -1;
}

static int set_contains(PyObject *obj, PyObject *element)
{
    struct pys_proxy *self = (struct pys_proxy *)obj;
    struct pms_pool *pool = pys_core(self);
    PyObject *frozen;
    struct pys_key k;
    int status;
    if (read_element(element, &k, &frozen) < 0)
        return -1;
    status = pys_enter_read(pool, self->handle);
    if (status == PMS_OK) {
        status = pms_dict_contains(pool, self->handle->off, &k.key);
        status = pys_leave_read(pool, status);
    }
    pys_key_done(&k);
    Py_DECREF(frozen);
    if (status == PMS_OK || status == PMS_MISSING)
        return status == PMS_OK;
    return pys_raise(self->owner, status);
}

static PyObject *set_add(PyObject *obj, PyObject *element)
{
    const struct pms_val none = {.tag = PMS_TAG_NONE};
    struct pys_proxy *self = (struct pys_proxy *)obj;
    struct pms_pool *pool = pys_core(self);
    struct pys_key k;
    int status;
    if (pys_key_read(element, &k) < 0)
        return NULL;
    status = pys_enter_write(pool, self->handle);
    if (status == PMS_OK) {
        status = pys_dict_put(self, &k.key, &none);
        status = pys_leave_write(pool, status);
    }
    pys_key_done(&k);
    if (status == PMS_OK)
        Py_RETURN_NONE;
    pys_raise(self->owner, status);
    return NULL;
}

/* 1: removed; 0: it was not there; -1: raised. */
static int take_away(PyObject *obj, PyObject *element)
{
    struct pys_proxy *self = (struct pys_proxy *)obj;
    struct pms_pool *pool = pys_core(self);
    PyObject *frozen;
    struct pys_key k;
    int status;
    if (read_element(element, &k, &frozen) < 0)
        return -1;
    status = pys_enter_write(pool, self->handle);
    if (status == PMS_OK) {
        status = pys_dict_remove(self, &k.key);
        status = pys_leave_write(pool, status);
    }
    pys_key_done(&k);
    Py_DECREF(frozen);
    if (status == PMS_OK || status == PMS_MISSING)
        return status == PMS_OK;
    return pys_raise(self->owner, status);
}

static PyObject *set_discard(PyObject *self, PyObject *element)
{
    return take_away(self, element) < 0 ? NULL : pys_ref(Py_None);
}

static PyObject *set_remove(PyObject *self, PyObject *element)
{
    int done = take_away(self, element);
    if (done == 0)
        pys_raise_key(element);
    return done == 1 ? pys_ref(Py_None) : NULL;
}

static PyObject *pop_once(struct pys_proxy *self, struct pys_pop *pop, int *out)
{
    struct pms_pool *pool = pys_core(self);
    struct pys_taken taken = {0};
    uint64_t set = self->handle->off, entry = 0;
    struct pms_val key;
    int status = pys_enter_write(pool, self->handle);
    if (status == PMS_OK) {
        status = pms_dict_prev(pool, set, &entry);
        if (status == PMS_MISSING || (status == PMS_OK && entry == 0))
            status = PYS_NO_ITEM;
        if (status == PMS_OK)
            status = pms_dict_entry(pool, entry, &key, NULL);
        if (status == PMS_OK)
            status = pys_take(pool, &key, &taken);
        if (status == PMS_OK)
            status = pys_pop_sure(pop, &taken);
        if (status == PMS_OK && (status = pms_dict_del_entry(pool, set, entry)) == PMS_OK)
            self->handle->version++;
        *out = status = pys_leave_write(pool, status);
    }
    if (status == PMS_OK)
        return pys_give(self->owner, &taken);
    if (status == PYS_NO_ITEM)
        PyErr_SetString(PyExc_KeyError, "pop from an empty set");
    else
        pys_raise(self->owner, status);
    pys_taken_drop(&taken);
    return NULL;
}

static PyObject *set_pop(PyObject *self, PyObject *unused)
{
    (void)unused;
    return pys_pop((struct pys_proxy *)self, pop_once, NULL);
}

static PyObject *set_update(PyObject *self, PyObject *elements)
{
    return pys_bulk(self, PYS_BULK_ADD, elements);
}

static PyObject *set_remove_all(PyObject *self, PyObject *elements)
{
    return pys_bulk(self, PYS_BULK_REMOVE, elements);
}

static PyObject *set_keys(PyObject *self, PyObject *unused)
{
    (void)unused;
    return pys_dict_list((struct pys_proxy *)self, PYS_KEYS);
}

static PyObject *set_iter(PyObject *self)
{
    return pys_dict_iter((struct pys_proxy *)self, PYS_KEYS, 0);
}

static PyMethodDef set_methods[] = {
    {"add", set_add, METH_O, "Put an element into the set, if it is not there."},
    {"discard", set_discard, METH_O, "Take an element out of the set, if it is there."},
    {"remove", set_remove, METH_O,
     "Take an element out of the set; KeyError: it is not there."},
    {"pop", set_pop, METH_NOARGS,
     "Take the youngest element out and return it; KeyError: the set is empty."},
    {"clear", pys_dict_empty, METH_NOARGS, "Remove all elements, as one unit of work."},
    {"_add_all", set_update, METH_O, "Put all elements in, as one unit of work."},
    {"_remove_all", set_remove_all, METH_O,
     "Take all elements out that are there, as one unit of work."},
    {"_keys", set_keys, METH_NOARGS, "A list of all elements, from one look at the set."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot set_slots[] = {
    {Py_tp_dealloc, pys_proxy_dealloc},
    {Py_tp_traverse, pys_proxy_traverse},
    {Py_tp_methods, set_methods},
    {Py_tp_hash, PyObject_HashNotImplemented},
    {Py_tp_iter, set_iter},
    {Py_sq_length, pys_dict_length},
    {Py_sq_contains, set_contains},
    {Py_tp_doc, "Base of Set: a persistent set of an open pool."},
    {0, NULL},
};

PyType_Spec pys_set_spec = {
    .name = "pmemstore._native._slots.SetBase",
    .basicsize = sizeof(struct pys_proxy),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC |
             Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = set_slots,
};
