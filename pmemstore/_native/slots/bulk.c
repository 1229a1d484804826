/* bulk.c -- update(), extend() and their like: many items as one unit of work.
 *
 *   iterate and convert, up to BATCH items | enter, store them, leave | ...
 *
 * A transaction is opened when the first batch is full or a value has to be built.  A few simple
 * items are one operation of the core and need none.
 */
#include "slots.h"

#define BATCH PMS_DICT_MANY

struct bulk {
    struct pys_proxy *self;
    enum pys_bulk_act act;
    int in_level;
    struct pys_level level;
    unsigned count;
    PyObject *hold[BATCH][2]; /* the key and the value themselves */
    struct pys_key key[BATCH];
    struct pys_value value[BATCH];
};

static int has_key(const struct bulk *bulk) { return bulk->act <= PYS_BULK_REMOVE; }
static int has_value(const struct bulk *bulk)
{
    return bulk->act == PYS_BULK_PAIRS || bulk->act >= PYS_BULK_APPEND;
}

static void forget(struct bulk *bulk)
{
    unsigned count = bulk->count;
    bulk->count = 0;
    for (unsigned i = 0; i < count; i++) {
        if (has_key(bulk))
            pys_key_done(&bulk->key[i]);
        pys_value_done(&bulk->value[i]);
        Py_CLEAR(bulk->hold[i][0]);
        Py_CLEAR(bulk->hold[i][1]);
    }
}

static int open_level(struct bulk *bulk)
{
    int status;
    if (bulk->in_level)
        return 0;
    status = pys_level_begin(bulk->self->owner, &bulk->level, pys_core(bulk->self)->timeout_ns);
    if (status != PMS_OK)
        return pys_raise(bulk->self->owner, status);
    bulk->in_level = 1;
    return 0;
}

/* Pool entered for writing: keys with values, or keys alone. */
static int apply_keys(struct bulk *bulk)
{
    static const struct pms_val none = {.tag = PMS_TAG_NONE};
    struct pms_pair pair[BATCH];
    for (unsigned i = 0; i < bulk->count; i++) {
        if (has_value(bulk))
            PMS_TRY(pys_value_check(&bulk->value[i]));
        pair[i].key = &bulk->key[i].key;
        pair[i].value = has_value(bulk) ? &bulk->value[i].val : &none;
    }
    return pys_dict_put_many(bulk->self, pair, bulk->count);
}

static int apply_removals(struct bulk *bulk)
{
    int status = PMS_OK;
    for (unsigned i = 0; i < bulk->count; i++)
        pms_dict_ahead(pys_core(bulk->self), bulk->self->handle->off, &bulk->key[i].key);
    for (unsigned i = 0; i < bulk->count && (status == PMS_OK || status == PMS_MISSING); i++)
        status = pys_dict_remove(bulk->self, &bulk->key[i].key);
    return status == PMS_MISSING ? PMS_OK : status;
}

static int apply_items(struct bulk *bulk)
{
    enum pms_deque_end end = bulk->act == PYS_BULK_PUSH ? PMS_DEQUE_RIGHT : PMS_DEQUE_LEFT;
    for (unsigned i = 0; i < bulk->count; i++) {
        const struct pms_val *value = &bulk->value[i].val;
        PMS_TRY(pys_value_check(&bulk->value[i]));
        PMS_TRY(bulk->act == PYS_BULK_APPEND ? pys_list_put(bulk->self, NULL, value)
                                             : pys_deque_put(bulk->self, &end, value));
    }
    return PMS_OK;
}

/* Store what waits. */
static int apply(struct bulk *bulk)
{
    struct pys_proxy *self = bulk->self;
    struct pms_pool *pool = pys_core(self);
    int status;
    if (bulk->count == 0)
        return 0;
    status = pys_enter_write(pool, self->handle);
    if (status == PMS_OK) {
        status = !has_key(bulk)                 ? apply_items(bulk)
                 : bulk->act == PYS_BULK_REMOVE ? apply_removals(bulk)
                                                : apply_keys(bulk);
        status = pys_leave_write(pool, status);
    }
    if (status != PMS_OK)
        pys_raise(self->owner, status);
    forget(bulk);
    return status == PMS_OK ? 0 : -1;
}

/* Read the value at a free place; builds it if that is needed.  *value may become a copy. */
static int read_value(struct bulk *bulk, PyObject **value, struct pys_value *out)
{
    int built = pys_value_read(bulk->self->owner, *value, out);
    if (built == 1) {
        PyObject *local = pys_value_local(*value);
        if (local == NULL)
            return -1;
        Py_DECREF(*value);
        *value = local;
        built = open_level(bulk) < 0 ? -1 : pys_value_build(bulk->self->owner, local, out);
    }
    return built;
}

/* Takes over both references; either may be NULL. */
static int add(struct bulk *bulk, PyObject *key, PyObject *value)
{
    unsigned i = bulk->count;
    if (i == BATCH) {
        if (open_level(bulk) < 0 || apply(bulk) < 0)
            goto failed;
        i = 0;
    }
    if (key != NULL && pys_key_read(key, &bulk->key[i]) < 0)
        goto failed;
    if (value != NULL && read_value(bulk, &value, &bulk->value[i]) < 0) {
        pys_locate(bulk->self, key);
        if (key != NULL)
            pys_key_done(&bulk->key[i]);
        goto failed;
    }
    bulk->hold[i][0] = key;
    bulk->hold[i][1] = value;
    bulk->count = i + 1;
    return 0;
failed:
    Py_XDECREF(key);
    Py_XDECREF(value);
    return -1;
}

static int add_pair(struct bulk *bulk, PyObject *pair, Py_ssize_t number)
{
    PyObject *two = PyTuple_CheckExact(pair) ? pys_ref(pair) : PySequence_Tuple(pair);
    PyObject *key, *value;
    if (two == NULL) {
        if (PyErr_ExceptionMatches(PyExc_TypeError))
            PyErr_Format(PyExc_TypeError,
                         "cannot convert dictionary update sequence element #%zd to a sequence",
                         number);
        return -1;
    }
    if (PyTuple_Size(two) != 2) {
        PyErr_Format(PyExc_ValueError,
                     "dictionary update sequence element #%zd has length %zd; 2 is required",
                     number, PyTuple_Size(two));
        Py_DECREF(two);
        return -1;
    }
    key = pys_ref(PyTuple_GetItem(two, 0));
    value = pys_ref(PyTuple_GetItem(two, 1));
    Py_DECREF(two);
    return add(bulk, key, value);
}

static int add_all(struct bulk *bulk, PyObject *iterator)
{
    PyObject *item;
    for (Py_ssize_t i = 0; (item = PyIter_Next(iterator)) != NULL; i++) {
        int done;
        if (bulk->act == PYS_BULK_PAIRS) {
            done = add_pair(bulk, item, i);
            Py_DECREF(item);
        } else {
            done = has_key(bulk) ? add(bulk, item, NULL) : add(bulk, NULL, item);
        }
        if (done < 0)
            return -1;
    }
    return PyErr_Occurred() ? -1 : apply(bulk);
}

/* The same for the items of a dict: no pair is made of each.  What is called meanwhile may change it:
 * that is told as the iterator over its items tells it. */
static int add_dict(struct bulk *bulk, PyObject *dict)
{
    PyObject *key, *value;
    Py_ssize_t at = 0, size = PyDict_Size(dict);
    while (PyDict_Next(dict, &at, &key, &value)) {
        if (add(bulk, pys_ref(key), pys_ref(value)) < 0)
            return -1;
        if (PyDict_Size(dict) != size) {
            PyErr_SetString(PyExc_RuntimeError, "dictionary changed size during iteration");
            return -1;
        }
    }
    return apply(bulk);
}

/* What to iterate over.  A proxy as it is now, from one look: it may be the one that changes, and
 * reading another pool inside a transaction of this one would wait for it while holding this. */
static PyObject *iterate(enum pys_bulk_act act, PyObject *items)
{
    PyObject *list, *iterator;
    int table =
        PyObject_TypeCheck(items, pys.dict_base) || PyObject_TypeCheck(items, pys.set_base);
    if (table)
        list = pys_dict_list((struct pys_proxy *)items,
                             act == PYS_BULK_PAIRS ? PYS_ITEMS : PYS_KEYS);
    else if (PyObject_TypeCheck(items, pys.list_base) ||
             PyObject_TypeCheck(items, pys.deque_base))
        list = pys_list_range((struct pys_proxy *)items, 0, UINT64_MAX, PYS_ANY_LENGTH);
    else if (act == PYS_BULK_PAIRS && PyDict_Check(items))
        list = PyObject_CallMethod(items, "items", NULL);
    else if (pys_is_proxy(items))
        list = PySequence_List(items);
    else
        return PyObject_GetIter(items);
    iterator = list != NULL ? PyObject_GetIter(list) : NULL;
    Py_XDECREF(list);
    return iterator;
}

PyObject *pys_bulk(PyObject *self, enum pys_bulk_act act, PyObject *items)
{
    int plain = act == PYS_BULK_PAIRS && PyDict_CheckExact(items), done;
    PyObject *source = plain ? pys_ref(items) : iterate(act, items);
    struct bulk *bulk;
    if (source == NULL)
        return NULL;
    bulk = PyMem_Calloc(1, sizeof *bulk);
    if (bulk == NULL) {
        Py_DECREF(source);
        return PyErr_NoMemory();
    }
    bulk->self = (struct pys_proxy *)self;
    bulk->act = act;
    done = plain ? add_dict(bulk, source) : add_all(bulk, source);
    forget(bulk);
    if (bulk->in_level && done == 0)
        done = pys_level_finish(bulk->self->owner, &bulk->level);
    else if (bulk->in_level)
        pys_level_abort(bulk->self->owner, &bulk->level);
    PyMem_Free(bulk);
    Py_DECREF(source);
    return done == 0 ? pys_ref(Py_None) : NULL;
}
