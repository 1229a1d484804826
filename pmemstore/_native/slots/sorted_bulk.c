/* sorted_bulk.c -- update(): many keys as one unit of work, as bulk.c does it for dicts. */
#include "slots_sorted.h"

#define BATCH 16

struct waiting {
    PyObject *item; /* the key, or the pair */
    struct pys_order key;
    struct pys_value value;
    PyObject *local; /* what value was read from, if not the item */
};

struct bulk {
    struct pys_proxy *self;
    int pairs;
    int in_level;
    struct pys_level level;
    unsigned count;
    struct waiting waiting[BATCH];
};

static PyObject *key_of(const struct bulk *bulk, PyObject *item)
{
    return bulk->pairs ? PyTuple_GetItem(item, 0) : item;
}

static void forget(struct bulk *bulk)
{
    unsigned count = bulk->count;
    bulk->count = 0;
    for (unsigned i = 0; i < count; i++) {
        struct waiting *waiting = &bulk->waiting[i];
        pys_order_done(&waiting->key);
        pys_value_done(&waiting->value);
        Py_CLEAR(waiting->local);
        Py_CLEAR(waiting->item);
    }
}

static int open_level(struct bulk *bulk)
{
    struct pys_proxy *self = bulk->self;
    int status;
    if (bulk->in_level)
        return 0;
    status = pys_level_begin(self->owner, &bulk->level, pys_core(self)->timeout_ns);
    if (status != PMS_OK)
        return pys_raise(self->owner, status);
    bulk->in_level = 1;
    return 0;
}

/* Store what waits. */
static int apply(struct bulk *bulk)
{
    struct pys_proxy *self = bulk->self;
    struct pms_pool *pool = pys_core(self);
    PyObject *key = NULL;
    int status;
    if (bulk->count == 0)
        return 0;
    status = pys_enter_write(pool, self->handle);
    if (status == PMS_OK) {
        for (unsigned i = 0; status == PMS_OK && i < bulk->count; i++) {
            struct waiting *waiting = &bulk->waiting[i];
            status = pys_value_check(&waiting->value);
            if (status == PMS_OK)
                status = pys_sorted_put(self, &waiting->key.key, &waiting->value.val);
            key = key_of(bulk, waiting->item);
        }
        status = pys_leave_write(pool, status);
    }
    if (status != PMS_OK)
        pys_order_raise(self, status, key);
    forget(bulk);
    return status == PMS_OK ? 0 : -1;
}

static int read_value(struct bulk *bulk, PyObject *value, struct waiting *waiting)
{
    int built = pys_value_read(bulk->self->owner, value, &waiting->value);
    if (built != 1)
        return built;
    waiting->local = pys_value_local(value);
    if (waiting->local == NULL || open_level(bulk) < 0)
        return -1;
    return pys_value_build(bulk->self->owner, waiting->local, &waiting->value);
}

static int add(struct bulk *bulk, PyObject *item)
{
    struct waiting *waiting;
    if (bulk->count == BATCH && (open_level(bulk) < 0 || apply(bulk) < 0))
        return -1;
    waiting = &bulk->waiting[bulk->count];
    memset(waiting, 0, sizeof *waiting);
    if (bulk->pairs && (!PyTuple_Check(item) || PyTuple_Size(item) != 2)) {
        PyErr_SetString(PyExc_TypeError, "_update_pairs() takes a list of pairs");
        return -1;
    }
    if (pys_order_read(key_of(bulk, item), PYS_PUT, &waiting->key) < 0)
        return -1;
    waiting->item = pys_ref(item);
    bulk->count++; /* forget() knows it now */
    if (bulk->pairs) {
        int built = read_value(bulk, PyTuple_GetItem(item, 1), waiting);
        if (built < 0)
            pys_locate(bulk->self, PyTuple_GetItem(item, 0));
        return built;
    }
    return pys_value_read(bulk->self->owner, Py_None, &waiting->value);
}

int pys_sorted_bulk(struct pys_proxy *self, PyObject *items, int pairs)
{
    struct bulk *bulk;
    int done = 0;
    if (!PyList_CheckExact(items)) {
        PyErr_SetString(PyExc_TypeError, "many keys are put from a list");
        return -1;
    }
    bulk = PyMem_Calloc(1, sizeof *bulk);
    if (bulk == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    bulk->self = self;
    bulk->pairs = pairs;
    for (Py_ssize_t i = 0; done == 0 && i < PyList_Size(items); i++)
        done = add(bulk, PyList_GetItem(items, i));
    if (done == 0)
        done = apply(bulk);
    forget(bulk);
    if (bulk->in_level && done == 0)
        done = pys_level_finish(self->owner, &bulk->level);
    else if (bulk->in_level)
        pys_level_abort(self->owner, &bulk->level);
    PyMem_Free(bulk);
    return done;
}
