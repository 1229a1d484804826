/* sorted_type.c -- SortedDictBase: the operations of the persistent sorted dict, one call of the
 * core each; those that the sorted set has too are shared. */
#include "slots_map.h"

/* ---- both: reading ---- */

Py_ssize_t pys_sorted_length(PyObject *obj)
{
    struct pys_proxy *self = (struct pys_proxy *)obj;
    struct pms_pool *pool = pys_core(self);
    uint64_t count = 0;
    int status = pys_enter_read(pool, self->handle);
    if (status == PMS_OK) {
        count = pms_sorted_len(pool, self->handle->off);
        status = pys_leave_read(pool, PMS_OK);
    }
    return status == PMS_OK ? (Py_ssize_t)count : pys_raise(self->owner, status);
}

/* The place of a key; index may be NULL.  1: there; 0: not there; -1: raised. */
static int find(struct pys_proxy *self, PyObject *key, uint64_t *index)
{
    struct pms_pool *pool = pys_core(self);
    struct pys_order order;
    int status = pys_order_read(key, PYS_LOOK, &order);
    if (status <= 0)
        return status;
    status = pys_enter_read(pool, self->handle);
    if (status == PMS_OK) {
        status = pms_sorted_index(pool, self->handle->off, &order.key, index);
        status = pys_leave_read(pool, status);
    }
    pys_order_done(&order);
    if (status == PMS_OK || status == PMS_MISSING)
        return status == PMS_OK;
    return pys_raise(self->owner, status);
}

int pys_sorted_contains(PyObject *self, PyObject *key)
{
    return find((struct pys_proxy *)self, key, NULL);
}

PyObject *pys_sorted_place(PyObject *self, PyObject *key)
{
    uint64_t index = 0;
    int found = find((struct pys_proxy *)self, key, &index);
    return found < 0 ? NULL : PyLong_FromLongLong(found ? (long long)index : -1);
}

static int has_args(const char *name, Py_ssize_t want, Py_ssize_t have)
{
    if (PMS_LIKELY(have == want))
        return 1;
    PyErr_Format(PyExc_TypeError, "%s() takes %zd arguments (%zd given)", name, want, have);
    return 0;
}

PyObject *pys_sorted_bound(PyObject *obj, PyObject *const *args, Py_ssize_t nargs)
{
    struct pys_proxy *self = (struct pys_proxy *)obj;
    struct pms_pool *pool = pys_core(self);
    struct pys_order order;
    uint64_t index = 0;
    int status, after;
    if (!has_args("_bound", 2, nargs) || (after = PyObject_IsTrue(args[1])) < 0 ||
        pys_order_read(args[0], PYS_BOUND, &order) < 0)
        return NULL;
    status = pys_enter_read(pool, self->handle);
    if (status == PMS_OK) {
        status = pms_sorted_bound(pool, self->handle->off, &order.key, after, &index);
        status = pys_leave_read(pool, status);
    }
    pys_order_done(&order);
    if (status == PMS_OK)
        return PyLong_FromUnsignedLongLong(index);
    pys_order_raise(self, status, args[0]);
    return NULL;
}

/* Pool entered: the entry at a Python index. */
static int entry_at(struct pys_proxy *self, Py_ssize_t index, uint64_t *place, uint64_t *entry)
{
    uint64_t count = pms_sorted_len(pys_core(self), self->handle->off);
    int status;
    if (index < 0)
        index += (Py_ssize_t)count;
    if (index < 0 || (uint64_t)index >= count)
        return PYS_NO_ITEM;
    *place = (uint64_t)index;
    status = pms_sorted_at(pys_core(self), self->handle->off, *place, entry);
    return status == PMS_MISSING ? PYS_NO_ITEM : status;
}

/* Pool entered: what the kind asks for of an entry. */
static int take(struct pms_pool *pool, uint64_t entry, int kind, struct pys_taken taken[2])
{
    struct pms_val key, value;
    PMS_TRY(pms_sorted_entry(pool, entry, kind != PYS_VALUES ? &key : NULL,
                             kind != PYS_KEYS ? &value : NULL));
    if (kind != PYS_VALUES)
        PMS_TRY(pys_take(pool, &key, &taken[0]));
    return kind != PYS_KEYS ? pys_take(pool, &value, &taken[1]) : PMS_OK;
}

/* What was taken, or why it was not. */
static PyObject *given(struct pys_proxy *self, int status, int kind, struct pys_taken taken[2])
{
    PyObject *key = NULL, *value = NULL, *result = NULL;
    if (status == PYS_NO_ITEM)
        PyErr_SetString(PyExc_IndexError, "list index out of range");
    else if (status != PMS_OK)
        pys_raise(self->owner, status);
    else if (kind != PYS_ITEMS)
        result = pys_give(self->owner, &taken[kind == PYS_VALUES]);
    else if ((key = pys_give(self->owner, &taken[0])) != NULL &&
             (value = pys_give(self->owner, &taken[1])) != NULL)
        result = PyTuple_Pack(2, key, value);
    Py_XDECREF(key);
    Py_XDECREF(value);
    pys_taken_drop(&taken[0]);
    pys_taken_drop(&taken[1]);
    return result;
}

static int read_kind(long kind)
{
    if (kind >= PYS_KEYS && kind <= PYS_ITEMS)
        return 0;
    PyErr_SetString(PyExc_ValueError, "kind must be 0, 1 or 2");
    return -1;
}

static int kind_of(PyObject *obj)
{
    long kind = PyLong_AsLong(obj);
    if (kind == -1 && PyErr_Occurred())
        return -1;
    return read_kind(kind) < 0 ? -1 : (int)kind;
}

PyObject *pys_sorted_item(PyObject *obj, PyObject *args)
{
    struct pys_proxy *self = (struct pys_proxy *)obj;
    struct pms_pool *pool = pys_core(self);
    struct pys_taken taken[2] = {{0}, {0}};
    Py_ssize_t index;
    uint64_t place, entry;
    int status, kind;
    if (!PyArg_ParseTuple(args, "in:_at", &kind, &index) || read_kind(kind) < 0)
        return NULL;
    status = pys_enter_read(pool, self->handle);
    if (status == PMS_OK) {
        status = entry_at(self, index, &place, &entry);
        if (status == PMS_OK)
            status = take(pool, entry, kind, taken);
        status = pys_leave_read(pool, status);
    }
    return given(self, status, kind, taken);
}

/* ---- both: ranges ---- */

static PyObject *iterate(PyObject *self, int kind, int reverse)
{
    const struct pys_span all = {.stop = UINT64_MAX};
    return pys_sorted_iter((struct pys_proxy *)self, kind, reverse, &all);
}

PyObject *pys_sorted_iterate(PyObject *self) { return iterate(self, PYS_KEYS, 0); }

PyObject *pys_sorted_reversed(PyObject *self, PyObject *unused)
{
    (void)unused;
    return iterate(self, PYS_KEYS, 1);
}

PyObject *pys_sorted_irange(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    struct pys_order low, high;
    struct pys_span span = {.stop = UINT64_MAX};
    PyObject *minimum, *maximum, *result = NULL;
    int kind, with_min, with_max, reverse;
    if (!has_args("_irange", 6, nargs) || (kind = kind_of(args[0])) < 0 ||
        (with_min = PyObject_IsTrue(args[3])) < 0 ||
        (with_max = PyObject_IsTrue(args[4])) < 0 || (reverse = PyObject_IsTrue(args[5])) < 0)
        return NULL;
    minimum = args[1];
    maximum = args[2];
    span.low_open = !with_min;
    span.high_open = !with_max;
    if (minimum != Py_None) {
        if (pys_order_read(minimum, PYS_BOUND, &low) < 0)
            return NULL;
        span.low = &low;
    }
    if (maximum == Py_None || pys_order_read(maximum, PYS_BOUND, &high) == 1) {
        if (maximum != Py_None)
            span.high = &high;
        result = pys_sorted_iter((struct pys_proxy *)self, kind, reverse, &span);
    }
    if (span.low != NULL)
        pys_order_done(span.low);
    if (span.high != NULL)
        pys_order_done(span.high);
    return result;
}

PyObject *pys_sorted_islice(PyObject *self, PyObject *args)
{
    struct pys_span span = {0};
    Py_ssize_t start, stop;
    int kind, reverse;
    if (!PyArg_ParseTuple(args, "innp:_islice", &kind, &start, &stop, &reverse) ||
        read_kind(kind) < 0)
        return NULL;
    span.start = start < 0 ? 0 : (uint64_t)start;
    span.stop = stop < 0 ? 0 : (uint64_t)stop;
    return pys_sorted_iter((struct pys_proxy *)self, kind, reverse, &span);
}

PyObject *pys_sorted_get_slice(PyObject *obj, PyObject *const *args, Py_ssize_t nargs)
{
    int kind;
    if (!has_args("_slice", 2, nargs) || (kind = kind_of(args[0])) < 0)
        return NULL;
    if (PySlice_Check(args[1]))
        return pys_sorted_slice((struct pys_proxy *)obj, kind, args[1]);
    PyErr_SetString(PyExc_TypeError, "_slice() takes a kind and a slice");
    return NULL;
}

/* ---- both: removing ---- */

int pys_sorted_delete(struct pys_proxy *self, PyObject *key)
{
    struct pms_pool *pool = pys_core(self);
    struct pys_order order;
    int status = pys_order_read(key, PYS_LOOK, &order);
    if (status < 0)
        return PYS_RAISED;
    if (status == 0)
        return PMS_MISSING;
    status = pys_enter_write(pool, self->handle);
    if (status == PMS_OK) {
        status = pms_sorted_del(pool, self->handle->off, &order.key);
        status = pys_leave_write(pool, status);
    }
    pys_order_done(&order);
    return status;
}

struct pop_at {
    int kind;
    Py_ssize_t index;
};

static PyObject *pop_at_once(struct pys_proxy *self, struct pys_pop *pop, int *out)
{
    const struct pop_at *what = pop->args;
    struct pms_pool *pool = pys_core(self);
    struct pys_taken taken[2] = {{0}, {0}};
    uint64_t place, entry;
    int status = pys_enter_write(pool, self->handle);
    if (status == PMS_OK) {
        status = entry_at(self, what->index, &place, &entry);
        if (status == PMS_OK)
            status = take(pool, entry, what->kind, taken);
        for (int i = 0; status == PMS_OK && i < 2; i++)
            status = pys_pop_sure(pop, &taken[i]);
        if (status == PMS_OK)
            status = pms_sorted_del_range(pool, self->handle->off, place, 1);
        *out = status = pys_leave_write(pool, status);
    }
    return given(self, status, what->kind, taken);
}

PyObject *pys_sorted_pop_at(struct pys_proxy *self, int kind, Py_ssize_t index)
{
    struct pop_at what = {kind, index};
    return pys_pop(self, pop_at_once, &what);
}

PyObject *pys_sorted_pop(PyObject *self, PyObject *args)
{
    Py_ssize_t index;
    int kind;
    if (!PyArg_ParseTuple(args, "in:_pop_at", &kind, &index) || read_kind(kind) < 0)
        return NULL;
    return pys_sorted_pop_at((struct pys_proxy *)self, kind, index);
}

PyObject *pys_sorted_del_range(PyObject *obj, PyObject *args)
{
    struct pys_proxy *self = (struct pys_proxy *)obj;
    struct pms_pool *pool = pys_core(self);
    Py_ssize_t start, count;
    int status;
    if (!PyArg_ParseTuple(args, "nn:_del_range", &start, &count))
        return NULL;
    status = pys_enter_write(pool, self->handle);
    if (status == PMS_OK) {
        status = start < 0 || count < 0
                     ? PMS_MISSING
                     : pms_sorted_del_range(pool, self->handle->off, (uint64_t)start,
                                            (uint64_t)count);
        status = pys_leave_write(pool, status == PMS_MISSING ? PYS_NO_ITEM : status);
    }
    if (status == PMS_OK)
        Py_RETURN_NONE;
    if (status == PYS_NO_ITEM)
        PyErr_SetString(PyExc_IndexError, "list index out of range");
    else
        pys_raise(self->owner, status);
    return NULL;
}

PyObject *pys_sorted_clear(PyObject *obj, PyObject *unused)
{
    struct pys_proxy *self = (struct pys_proxy *)obj;
    struct pms_pool *pool = pys_core(self);
    int status = pys_enter_write(pool, self->handle);
    (void)unused;
    if (status == PMS_OK) {
        status = pms_sorted_clear(pool, self->handle->off);
        status = pys_leave_write(pool, status);
    }
    if (status == PMS_OK)
        Py_RETURN_NONE;
    pys_raise(self->owner, status);
    return NULL;
}

/* ---- both: putting ---- */

int pys_sorted_put(struct pys_proxy *self, void *key, const struct pms_val *value)
{
    return pms_sorted_set(pys_core(self), self->handle->off, key, value);
}

/* ---- the dict alone ---- */

/* 1: found; 0: not there; -1: raised.  out: new reference. */
static int lookup(struct pys_proxy *self, PyObject *key, PyObject **out)
{
    struct pms_pool *pool = pys_core(self);
    struct pys_taken taken = {0};
    struct pys_order order;
    struct pms_val val;
    int status = pys_order_read(key, PYS_LOOK, &order);
    if (status <= 0)
        return status;
    status = pys_enter_read(pool, self->handle);
    if (PMS_LIKELY(status == PMS_OK)) {
        status = pms_sorted_get(pool, self->handle->off, &order.key, &val);
        if (status == PMS_OK)
            status = pys_take(pool, &val, &taken);
        status = pys_leave_read(pool, status);
    }
    pys_order_done(&order);
    if (PMS_LIKELY(status == PMS_OK)) {
        *out = pys_give(self->owner, &taken);
        return *out != NULL ? 1 : -1;
    }
    if (status == PMS_MISSING)
        return 0;
    pys_raise(self->owner, status);
    pys_taken_drop(&taken);
    return -1;
}

static PyObject *dict_subscript(PyObject *self, PyObject *key)
{
    PyObject *value = NULL;
    if (lookup((struct pys_proxy *)self, key, &value) == 0)
        pys_raise_key(key);
    return value;
}

static PyObject *dict_get(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    PyObject *value = NULL;
    if (nargs < 1 || nargs > 2) {
        PyErr_Format(PyExc_TypeError, "get expected 1 or 2 arguments, got %zd", nargs);
        return NULL;
    }
    if (lookup((struct pys_proxy *)self, args[0], &value) == 0)
        value = pys_ref(nargs == 2 ? args[1] : Py_None);
    return value;
}

static int dict_ass_subscript(PyObject *obj, PyObject *key, PyObject *value)
{
    struct pys_proxy *self = (struct pys_proxy *)obj;
    struct pys_order order;
    int status;
    if (value == NULL) {
        status = pys_sorted_delete(self, key);
        if (status == PMS_MISSING)
            pys_raise_key(key);
        else if (status != PMS_OK)
            pys_raise(self->owner, status);
        return status == PMS_OK ? 0 : -1;
    }
    if (pys_order_read(key, PYS_PUT, &order) < 0)
        return -1;
    status = pys_store(self, value, pys_sorted_put, &order.key);
    if (PMS_UNLIKELY(status != PMS_OK)) {
        pys_order_raise(self, status, key);
        pys_locate(self, key);
    }
    pys_order_done(&order);
    return status == PMS_OK ? 0 : -1;
}

/* ---- what dicts do alike ---- */

static int map_read(PyObject *obj, int put, union pys_map_key *out)
{
    return pys_order_read(obj, put ? PYS_PUT : PYS_LOOK, &out->sorted);
}

static void map_done(union pys_map_key *key) { pys_order_done(&key->sorted); }

static int map_get(struct pys_proxy *self, const union pys_map_key *key, struct pms_val *out)
{
    return pms_sorted_get(pys_core(self), self->handle->off, &key->sorted.key, out);
}

static int map_put(struct pys_proxy *self, union pys_map_key *key, const struct pms_val *value)
{
    return pys_sorted_put(self, &key->sorted.key, value);
}

static int map_remove(struct pys_proxy *self, const union pys_map_key *key)
{
    return pms_sorted_del(pys_core(self), self->handle->off, &key->sorted.key);
}

static const struct pys_map_ops map_ops = {map_read, map_done,   map_get,
                                           map_put,  map_remove, pys_order_raise};

static PyObject *dict_pop(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    return pys_map_pop(self, &map_ops, args, nargs);
}

static PyObject *dict_setdefault(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    return pys_map_setdefault(self, &map_ops, args, nargs);
}

static PyObject *dict_update(PyObject *self, PyObject *pairs)
{
    if (pys_sorted_bulk((struct pys_proxy *)self, pairs, 1) < 0)
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *dict_items(PyObject *self, PyObject *unused)
{
    (void)unused;
    return pys_sorted_slice((struct pys_proxy *)self, PYS_ITEMS, NULL);
}

static PyObject *dict_iter_kind(PyObject *self, PyObject *args)
{
    int kind, reverse = 0;
    if (!PyArg_ParseTuple(args, "i|p:_iter", &kind, &reverse) || read_kind(kind) < 0)
        return NULL;
    return iterate(self, kind, reverse);
}

#define FAST(function) ((PyCFunction)(void (*)(void))(function))

static PyMethodDef dict_methods[] = {
    PYS_SORTED_METHODS,
    {"get", FAST(dict_get), METH_FASTCALL, "get(key, default=None): the value, or default."},
    {"pop", FAST(dict_pop), METH_FASTCALL,
     "pop(key[, default]): remove the key and return its value; default if it is not there."},
    {"setdefault", FAST(dict_setdefault), METH_FASTCALL,
     "setdefault(key, default=None): the value; default is stored first if there is none."},
    {"_update_pairs", dict_update, METH_O, "Store a list of pairs, as one unit of work."},
    {"_iter", dict_iter_kind, METH_VARARGS,
     "_iter(kind, reverse=False): iterate over keys (0), values (1) or items (2)."},
    {"_items", dict_items, METH_NOARGS, "A list of all (key, value), from one look."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot dict_slots[] = {
    {Py_tp_dealloc, pys_proxy_dealloc},
    {Py_tp_traverse, pys_proxy_traverse},
    {Py_tp_methods, dict_methods},
    {Py_tp_hash, PyObject_HashNotImplemented},
    {Py_tp_iter, pys_sorted_iterate},
    {Py_mp_length, pys_sorted_length},
    {Py_mp_subscript, dict_subscript},
    {Py_mp_ass_subscript, dict_ass_subscript},
    {Py_sq_contains, pys_sorted_contains},
    {Py_tp_doc, "Base of SortedDict: a persistent sorted dict of an open pool."},
    {0, NULL},
};

PyType_Spec pys_sorted_dict_spec = {
    .name = "pmemstore._native._slots.SortedDictBase",
    .basicsize = sizeof(struct pys_proxy),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC |
             Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = dict_slots,
};
