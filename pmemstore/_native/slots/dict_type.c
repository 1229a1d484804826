/* dict_type.c -- DictBase: the operations of the persistent dict, one call of the core each. */
#include "slots.h"

Py_ssize_t pys_dict_length(PyObject *obj)
{
    struct pys_proxy *self = (struct pys_proxy *)obj;
    struct pms_pool *pool = pys_core(self);
    uint64_t count = 0;
    int status = pys_enter_read(pool, self->handle);
    if (status == PMS_OK) {
        count = pms_dict_len(pool, self->handle->off);
        status = pys_leave_read(pool, PMS_OK);
    }
    return status == PMS_OK ? (Py_ssize_t)count : pys_raise(self->owner, status);
}

/* 1: found; 0: not there; -1: raised.  out: new reference. */
static int lookup(struct pys_proxy *self, PyObject *key, PyObject **out)
{
    struct pms_pool *pool = pys_core(self);
    struct pys_taken taken = {0};
    struct pys_key k;
    struct pms_val val;
    int status;
    if (pys_key_read(key, &k) < 0)
        return -1;
    status = pys_enter_read(pool, self->handle);
    if (PMS_LIKELY(status == PMS_OK)) {
        status = pms_dict_get(pool, self->handle->off, &k.key, &val);
        if (status == PMS_OK)
            status = pys_take(pool, &val, &taken);
        status = pys_leave_read(pool, status);
    }
    pys_key_done(&k);
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

static int dict_contains(PyObject *obj, PyObject *key)
{
    struct pys_proxy *self = (struct pys_proxy *)obj;
    struct pms_pool *pool = pys_core(self);
    struct pys_key k;
    int status;
    if (pys_key_read(key, &k) < 0)
        return -1;
    status = pys_enter_read(pool, self->handle);
    if (status == PMS_OK) {
        status = pms_dict_contains(pool, self->handle->off, &k.key);
        status = pys_leave_read(pool, status);
    }
    pys_key_done(&k);
    if (status == PMS_OK || status == PMS_MISSING)
        return status == PMS_OK;
    return pys_raise(self->owner, status);
}

/* ---- changes; a new or a lost entry moves the handle's version ---- */

int pys_dict_put(struct pys_proxy *self, void *key, const struct pms_val *value)
{
    struct pms_handle *handle = self->handle;
    struct pms_pool *pool = handle->pool;
    uint64_t count = pms_dict_len(pool, handle->off);
    int status = pms_dict_set(pool, handle->off, key, value);
    if (pms_dict_len(pool, handle->off) != count)
        handle->version++;
    return status;
}

int pys_dict_remove(struct pys_proxy *self, const struct pms_key *key)
{
    int status = pms_dict_del(pys_core(self), self->handle->off, key);
    if (status == PMS_OK)
        self->handle->version++;
    return status;
}

static int dict_delete(struct pys_proxy *self, PyObject *key)
{
    struct pms_pool *pool = pys_core(self);
    struct pys_key k;
    int status;
    if (pys_key_read(key, &k) < 0)
        return -1;
    status = pys_enter_write(pool, self->handle);
    if (status == PMS_OK) {
        status = pys_dict_remove(self, &k.key);
        status = pys_leave_write(pool, status);
    }
    pys_key_done(&k);
    if (status == PMS_OK)
        return 0;
    if (status != PMS_MISSING)
        return pys_raise(self->owner, status);
    pys_raise_key(key);
    return -1;
}

static int dict_ass_subscript(PyObject *obj, PyObject *key, PyObject *value)
{
    struct pys_proxy *self = (struct pys_proxy *)obj;
    struct pys_key k;
    int status;
    if (value == NULL)
        return dict_delete(self, key);
    if (pys_key_read(key, &k) < 0)
        return -1;
    status = pys_store(self, value, pys_dict_put, &k.key);
    if (PMS_UNLIKELY(status != PMS_OK)) {
        pys_raise(self->owner, status);
        pys_locate(self, key);
    }
    pys_key_done(&k);
    return status == PMS_OK ? 0 : -1;
}

static PyObject *pop_once(struct pys_proxy *self, struct pys_pop *pop, int *out)
{
    struct pms_pool *pool = pys_core(self);
    struct pys_taken taken = {0};
    PyObject *const *args = pop->args; /* the key; the default, or NULL */
    struct pys_key k;
    struct pms_val val;
    int status;
    if (pys_key_read(args[0], &k) < 0)
        return NULL;
    status = pys_enter_write(pool, self->handle);
    if (status == PMS_OK) {
        status = pms_dict_get(pool, self->handle->off, &k.key, &val);
        if (status == PMS_OK)
            status = pys_take(pool, &val, &taken);
        if (status == PMS_OK)
            status = pys_pop_sure(pop, &taken);
        if (status == PMS_OK)
            status = pys_dict_remove(self, &k.key);
        *out = status = pys_leave_write(pool, status);
    }
    pys_key_done(&k);
    if (status == PMS_OK)
        return pys_give(self->owner, &taken);
    if (status == PMS_MISSING && args[1] != NULL)
        return pys_ref(args[1]);
    if (status == PMS_MISSING)
        pys_raise_key(args[0]);
    else
        pys_raise(self->owner, status);
    pys_taken_drop(&taken);
    return NULL;
}

static PyObject *dict_pop(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    PyObject *both[2] = {NULL, NULL};
    if (nargs < 1 || nargs > 2) {
        PyErr_Format(PyExc_TypeError, "pop expected 1 or 2 arguments, got %zd", nargs);
        return NULL;
    }
    memcpy(both, args, (size_t)nargs * sizeof *both);
    return pys_pop((struct pys_proxy *)self, pop_once, both);
}

/* The default has to be built: look-up and store in one transaction. */
static PyObject *setdefault_built(struct pys_proxy *self, PyObject *key, PyObject *fallback)
{
    struct pys_level level = {0};
    PyObject *result = NULL, *local = pys_value_local(fallback);
    int found, status;
    if (local == NULL)
        return NULL;
    status = pys_level_begin(self->owner, &level, pys_core(self)->timeout_ns);
    if (status != PMS_OK) {
        Py_DECREF(local);
        pys_raise(self->owner, status);
        return NULL;
    }
    found = lookup(self, key, &result);
    if (found == 0 && dict_ass_subscript((PyObject *)self, key, local) == 0)
        found = lookup(self, key, &result);
    Py_DECREF(local);
    if (found == 1 && pys_level_commit(self->owner, &level) == 0)
        return result;
    pys_level_abort(self->owner, &level);
    Py_XDECREF(result);
    return NULL;
}

static PyObject *dict_setdefault(PyObject *obj, PyObject *const *args, Py_ssize_t nargs)
{
    struct pys_proxy *self = (struct pys_proxy *)obj;
    struct pms_pool *pool = pys_core(self);
    struct pys_taken taken = {0};
    PyObject *fallback = nargs == 2 ? args[1] : Py_None, *result = NULL;
    struct pys_value value;
    struct pys_key k;
    struct pms_val val;
    int status, found, built;
    if (nargs < 1 || nargs > 2) {
        PyErr_Format(PyExc_TypeError, "setdefault expected 1 or 2 arguments, got %zd", nargs);
        return NULL;
    }
    found = lookup(self, args[0], &result);
    if (found != 0)
        return result;
    built = pys_value_read(self->owner, fallback, &value);
    if (built > 0)
        return setdefault_built(self, args[0], fallback);
    if (built < 0) {
        pys_locate(self, args[0]);
        return NULL;
    }
    if (pys_key_read(args[0], &k) < 0) {
        pys_value_done(&value);
        return NULL;
    }
    found = 0;
    status = pys_enter_write(pool, self->handle);
    if (status == PMS_OK) { /* another thread may have put it meanwhile */
        status = pms_dict_get(pool, self->handle->off, &k.key, &val);
        found = status == PMS_OK;
        if (found)
            status = pys_take(pool, &val, &taken);
        else if (status == PMS_MISSING && (status = pys_value_check(&value)) == PMS_OK)
            status = pys_dict_put(self, &k.key, &value.val);
        status = pys_leave_write(pool, status);
    }
    if (status == PMS_OK)
        result = found ? pys_give(self->owner, &taken) : pys_ref(fallback);
    else
        pys_raise(self->owner, status);
    pys_taken_drop(&taken);
    pys_key_done(&k);
    pys_value_done(&value);
    return result;
}

static PyObject *popitem_once(struct pys_proxy *self, struct pys_pop *pop, int *out)
{
    struct pms_pool *pool = pys_core(self);
    struct pys_taken taken[2] = {{0}, {0}};
    PyObject *item[2] = {NULL, NULL}, *result = NULL;
    struct pms_val key, val;
    uint64_t dict = self->handle->off, entry = 0;
    const int *last = pop->args;
    int status = pys_enter_write(pool, self->handle);
    if (status == PMS_OK) {
        status = *last ? pms_dict_prev(pool, dict, &entry) : pms_dict_next(pool, dict, &entry);
        if (status == PMS_MISSING || (status == PMS_OK && entry == 0))
            status = PYS_NO_ITEM;
        if (status == PMS_OK)
            status = pms_dict_entry(pool, entry, &key, &val);
        if (status == PMS_OK && (status = pys_take(pool, &key, &taken[0])) == PMS_OK)
            status = pys_take(pool, &val, &taken[1]);
        for (int i = 0; status == PMS_OK && i < 2; i++)
            status = pys_pop_sure(pop, &taken[i]);
        if (status == PMS_OK && (status = pms_dict_del_entry(pool, dict, entry)) == PMS_OK)
            self->handle->version++;
        *out = status = pys_leave_write(pool, status);
    }
    if (status == PMS_OK) {
        item[0] = pys_give(self->owner, &taken[0]);
        item[1] = item[0] != NULL ? pys_give(self->owner, &taken[1]) : NULL;
        if (item[1] != NULL)
            result = PyTuple_Pack(2, item[0], item[1]);
    } else if (status == PYS_NO_ITEM) {
        PyErr_SetString(PyExc_KeyError, "popitem(): dictionary is empty");
    } else {
        pys_raise(self->owner, status);
    }
    for (int i = 0; i < 2; i++) {
        pys_taken_drop(&taken[i]);
        Py_XDECREF(item[i]);
    }
    return result;
}

static PyObject *dict_popitem(PyObject *self, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"last", NULL};
    int last = 1;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|$p:popitem", names, &last))
        return NULL;
    return pys_pop((struct pys_proxy *)self, popitem_once, &last);
}

PyObject *pys_dict_empty(PyObject *obj, PyObject *unused)
{
    struct pys_proxy *self = (struct pys_proxy *)obj;
    struct pms_pool *pool = pys_core(self);
    int status = pys_enter_write(pool, self->handle);
    (void)unused;
    if (status == PMS_OK) {
        if (pms_dict_len(pool, self->handle->off) != 0) {
            status = pms_dict_clear(pool, self->handle->off);
            self->handle->version++;
        }
        status = pys_leave_write(pool, status);
    }
    if (status == PMS_OK)
        Py_RETURN_NONE;
    pys_raise(self->owner, status);
    return NULL;
}

static PyObject *dict_update(PyObject *self, PyObject *pairs)
{
    return pys_bulk(self, PYS_BULK_PAIRS, pairs);
}

static PyObject *dict_iter(PyObject *self)
{
    return pys_dict_iter((struct pys_proxy *)self, PYS_KEYS, 0);
}

static PyObject *dict_reversed(PyObject *self, PyObject *unused)
{
    (void)unused;
    return pys_dict_iter((struct pys_proxy *)self, PYS_KEYS, 1);
}

static PyObject *dict_items(PyObject *self, PyObject *unused)
{
    (void)unused;
    return pys_dict_list((struct pys_proxy *)self, PYS_ITEMS);
}

static PyObject *dict_keys(PyObject *self, PyObject *unused)
{
    (void)unused;
    return pys_dict_list((struct pys_proxy *)self, PYS_KEYS);
}

static PyObject *dict_values(PyObject *self, PyObject *unused)
{
    (void)unused;
    return pys_dict_list((struct pys_proxy *)self, PYS_VALUES);
}

static PyObject *dict_iter_kind(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    long kind;
    int reverse;
    if (nargs < 1 || nargs > 2) {
        PyErr_Format(PyExc_TypeError, "_iter expected 1 or 2 arguments, got %zd", nargs);
        return NULL;
    }
    kind = PyLong_AsLong(args[0]);
    reverse = nargs == 2 ? PyObject_IsTrue(args[1]) : 0;
    if (reverse < 0 || (kind == -1 && PyErr_Occurred()))
        return NULL;
    if (kind < PYS_KEYS || kind > PYS_ITEMS) {
        PyErr_SetString(PyExc_ValueError, "_iter(): kind must be 0, 1 or 2");
        return NULL;
    }
    return pys_dict_iter((struct pys_proxy *)self, (int)kind, reverse);
}

#define FAST(function) ((PyCFunction)(void (*)(void))(function))

static PyMethodDef dict_methods[] = {
    {"get", FAST(dict_get), METH_FASTCALL, "get(key, default=None): the value, or default."},
    {"pop", FAST(dict_pop), METH_FASTCALL,
     "pop(key[, default]): remove the key and return its value; default if it is not there."},
    {"setdefault", FAST(dict_setdefault), METH_FASTCALL,
     "setdefault(key, default=None): the value; default is stored first if there is none."},
    {"popitem", FAST(dict_popitem), METH_VARARGS | METH_KEYWORDS,
     "popitem(*, last=True): remove and return the youngest (key, value), or the oldest."},
    {"clear", pys_dict_empty, METH_NOARGS, "Remove all items, as one unit of work."},
    {"_update_pairs", dict_update, METH_O, "Store all pairs, as one unit of work."},
    {"_iter", FAST(dict_iter_kind), METH_FASTCALL,
     "_iter(kind, reverse=False): iterate over keys (0), values (1) or items (2)."},
    {"_items", dict_items, METH_NOARGS,
     "A list of all (key, value), from one look at the dict."},
    {"_keys", dict_keys, METH_NOARGS, "A list of all keys, from one look at the dict."},
    {"_values", dict_values, METH_NOARGS, "A list of all values, from one look at the dict."},
    {"__reversed__", dict_reversed, METH_NOARGS, "Iterate over the keys, youngest first."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot dict_slots[] = {
    {Py_tp_dealloc, pys_proxy_dealloc},
    {Py_tp_traverse, pys_proxy_traverse},
    {Py_tp_methods, dict_methods},
    {Py_tp_hash, PyObject_HashNotImplemented},
    {Py_tp_iter, dict_iter},
    {Py_mp_length, pys_dict_length},
    {Py_mp_subscript, dict_subscript},
    {Py_mp_ass_subscript, dict_ass_subscript},
    {Py_sq_contains, dict_contains},
    {Py_tp_doc, "Base of Dict: a persistent dict of an open pool."},
    {0, NULL},
};

PyType_Spec pys_dict_spec = {
    .name = "pmemstore._native._slots.DictBase",
    .basicsize = sizeof(struct pys_proxy),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC |
             Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = dict_slots,
};
