/* bulk.c -- update() and extend(): many items as one unit of work.
 *
 *   iterate and convert, up to BATCH items | enter, store them, leave | ...
 *
 * A transaction is opened when the first batch is full or a value has to be built.  A few simple
 * items are one operation of the core and need none.
 */
#include "slots.h"

#define BATCH 32

struct bulk {
    struct pys_proxy *self;
    int pairs;
    int in_level;
    struct pys_level level;
    unsigned count;
    PyObject *hold[BATCH][2]; /* the key and the value themselves */
    struct pys_key key[BATCH];
    struct pys_value value[BATCH];
};

static void forget(struct bulk *bulk)
{
    unsigned count = bulk->count;
    bulk->count = 0;
    for (unsigned i = 0; i < count; i++) {
        if (bulk->pairs)
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
        for (unsigned i = 0; status == PMS_OK && i < bulk->count; i++) {
            const struct pys_value *value = &bulk->value[i];
            status = pys_value_check(value);
            if (status == PMS_OK)
                status = bulk->pairs ? pys_dict_put(self, &bulk->key[i].key, &value->val)
                                     : pys_list_put(self, NULL, &value->val);
        }
        status = pys_leave_write(pool, status);
    }
    if (status != PMS_OK)
        pys_raise(self->owner, status);
    forget(bulk);
    return status == PMS_OK ? 0 : -1;
}

/* Takes over both references; key is NULL in a list. */
static int add(struct bulk *bulk, PyObject *key, PyObject *value)
{
    unsigned i = bulk->count;
    int built = -1;
    if (i == BATCH) {
        if (open_level(bulk) < 0 || apply(bulk) < 0)
            goto failed;
        i = 0;
    }
    if (bulk->pairs && pys_key_read(key, &bulk->key[i]) < 0)
        goto failed;
    built = pys_value_read(bulk->self->owner, value, &bulk->value[i]);
    if (built == 1) {
        PyObject *local = pys_value_local(value);
        if (local == NULL)
            goto unread;
        Py_DECREF(value);
        value = local;
        built = open_level(bulk) < 0
                    ? -1
                    : pys_value_build(bulk->self->owner, value, &bulk->value[i]);
    }
    if (built < 0)
        goto unread;
    bulk->hold[i][0] = key;
    bulk->hold[i][1] = value;
    bulk->count = i + 1;
    return 0;
unread:
    if (bulk->pairs)
        pys_key_done(&bulk->key[i]);
failed:
    Py_XDECREF(key);
    Py_DECREF(value);
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
        if (bulk->pairs) {
            done = add_pair(bulk, item, i);
            Py_DECREF(item);
        } else {
            done = add(bulk, NULL, item);
        }
        if (done < 0)
            return -1;
    }
    return PyErr_Occurred() ? -1 : apply(bulk);
}

/* Takes over iterator, which may be NULL (raised). */
static int run(struct pys_proxy *self, int pairs, PyObject *iterator)
{
    struct bulk *bulk;
    int done;
    if (iterator == NULL)
        return -1;
    bulk = PyMem_Calloc(1, sizeof *bulk);
    if (bulk == NULL) {
        Py_DECREF(iterator);
        PyErr_NoMemory();
        return -1;
    }
    bulk->self = self;
    bulk->pairs = pairs;
    done = add_all(bulk, iterator);
    forget(bulk);
    if (bulk->in_level && done == 0)
        done = pys_level_commit(self->owner, &bulk->level);
    else if (bulk->in_level)
        pys_level_abort(self->owner, &bulk->level);
    PyMem_Free(bulk);
    Py_DECREF(iterator);
    return done;
}

int pys_bulk_pairs(struct pys_proxy *dict, PyObject *pairs)
{
    PyObject *items, *iterator;
    if (PyObject_TypeCheck(pairs, pys.dict_base))
        return run(dict, 1, pys_dict_iter((struct pys_proxy *)pairs, PYS_ITEMS, 0));
    if (!PyDict_Check(pairs))
        return run(dict, 1, PyObject_GetIter(pairs));
    items = PyObject_CallMethod(pairs, "items", NULL);
    iterator = items != NULL ? PyObject_GetIter(items) : NULL;
    Py_XDECREF(items);
    return run(dict, 1, iterator);
}

int pys_bulk_items(struct pys_proxy *list, PyObject *items)
{
    PyObject *copy, *iterator;
    if (!PyObject_TypeCheck(items, pys.list_base))
        return run(list, 0, PyObject_GetIter(items));
    /* a list that grows by its own items would never end */
    copy = pys_list_range((struct pys_proxy *)items, 0, UINT64_MAX, PYS_ANY_LENGTH);
    iterator = copy != NULL ? PyObject_GetIter(copy) : NULL;
    Py_XDECREF(copy);
    return run(list, 0, iterator);
}
