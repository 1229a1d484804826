/* dict_type.c -- DictBase: the operations of the persistent dict, one call of the core each. */
#include "slots_map.h"

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

int pys_dict_put_many(struct pys_proxy *self, const struct pms_pair *pair, unsigned count)
{
    struct pms_handle *handle = self->handle;
    struct pms_pool *pool = handle->pool;
    uint64_t had = pms_dict_len(pool, handle->off);
    int status = pms_dict_set_many(pool, handle->off, pair, count);
    if (pms_dict_len(pool, handle->off) != had)
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

/* ---- what sorted dicts do alike ---- */

static int map_read(PyObject *obj, int put, union pys_map_key *out)
{
    (void)put;
    return pys_key_read(obj, &out->hashed) < 0 ? -1 : 1;
}

static void map_done(union pys_map_key *key) { pys_key_done(&key->hashed); }

static int map_get(struct pys_proxy *self, const union pys_map_key *key, struct pms_val *out)
{
    return pms_dict_get(pys_core(self), self->handle->off, &key->hashed.key, out);
}

static int map_put(struct pys_proxy *self, union pys_map_key *key, const struct pms_val *value)
{
    return pys_dict_put(self, &key->hashed.key, value);
}

static int map_remove(struct pys_proxy *self, const union pys_map_key *key)
{
    return pys_dict_remove(self, &key->hashed.key);
}

static int map_raise(struct pys_proxy *self, int status, PyObject *key)
{
    (void)key;
    return pys_raise(self->owner, status);
}

static const struct pys_map_ops map_ops = {map_read, map_done,   map_get,
                                           map_put,  map_remove, map_raise};

static PyObject *dict_pop(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    return pys_map_pop(self, &map_ops, args, nargs);
}

static PyObject *dict_setdefault(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    return pys_map_setdefault(self, &map_ops, args, nargs);
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
    {"_update_pairs", dict_update, METH_O,
     "Store all pairs, or the items of a dict, as one unit of work."},
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
