/* map_ops.c -- pop and setdefault, of dicts and of sorted dicts. */
#include "slots_map.h"

/* What both are called with. */
struct call {
    const struct pys_map_ops *ops;
    PyObject *key, *fallback; /* fallback may be NULL */
};

static int read_call(const char *name, PyObject *const *args, Py_ssize_t nargs,
                     struct call *call)
{
    if (nargs < 1 || nargs > 2) {
        PyErr_Format(PyExc_TypeError, "%s expected 1 or 2 arguments, got %zd", name, nargs);
        return -1;
    }
    call->key = args[0];
    call->fallback = nargs == 2 ? args[1] : NULL;
    return 0;
}

static PyObject *pop_once(struct pys_proxy *self, struct pys_pop *pop, int *out)
{
    const struct call *call = pop->args;
    const struct pys_map_ops *ops = call->ops;
    struct pms_pool *pool = pys_core(self);
    struct pys_taken taken = {0};
    union pys_map_key key;
    struct pms_val val;
    int status = PMS_MISSING, there = ops->read(call->key, 0, &key);
    if (there < 0)
        return NULL;
    if (there) {
        status = pys_enter_write(pool, self->handle);
        if (status == PMS_OK) {
            status = ops->get(self, &key, &val);
            if (status == PMS_OK)
                status = pys_take(pool, &val, &taken);
            if (status == PMS_OK)
                status = pys_pop_sure(pop, &taken);
            if (status == PMS_OK)
                status = ops->remove(self, &key);
            *out = status = pys_leave_write(pool, status);
        }
        ops->done(&key);
    }
    if (status == PMS_OK)
        return pys_give(self->owner, &taken);
    if (status == PMS_MISSING && call->fallback != NULL)
        return pys_ref(call->fallback);
    if (status == PMS_MISSING)
        pys_raise_key(call->key);
    else
        pys_raise(self->owner, status);
    pys_taken_drop(&taken);
    return NULL;
}

PyObject *pys_map_pop(PyObject *self, const struct pys_map_ops *ops, PyObject *const *args,
                      Py_ssize_t nargs)
{
    struct call call = {ops, NULL, NULL};
    if (read_call("pop", args, nargs, &call) < 0)
        return NULL;
    return pys_pop((struct pys_proxy *)self, pop_once, &call);
}

/* ---- setdefault ---- */

/* 1: found; 0: not there; -1: raised.  out: new reference. */
static int look(struct pys_proxy *self, const struct call *call, PyObject **out)
{
    struct pms_pool *pool = pys_core(self);
    struct pys_taken taken = {0};
    union pys_map_key key;
    struct pms_val val;
    int status = call->ops->read(call->key, 0, &key);
    if (status <= 0)
        return status;
    status = pys_enter_read(pool, self->handle);
    if (status == PMS_OK) {
        status = call->ops->get(self, &key, &val);
        if (status == PMS_OK)
            status = pys_take(pool, &val, &taken);
        status = pys_leave_read(pool, status);
    }
    call->ops->done(&key);
    if (status == PMS_OK) {
        *out = pys_give(self->owner, &taken);
        return *out != NULL ? 1 : -1;
    }
    pys_taken_drop(&taken);
    return status == PMS_MISSING ? 0 : pys_raise(self->owner, status);
}

/* The default has to be built: look-up and store in one transaction. */
static PyObject *setdefault_built(struct pys_proxy *self, const struct call *call)
{
    struct pys_level level = {0};
    PyObject *result = NULL, *local = pys_value_local(call->fallback);
    int found, status;
    if (local == NULL)
        return NULL;
    status = pys_level_begin(self->owner, &level, pys_core(self)->timeout_ns);
    if (status != PMS_OK) {
        Py_DECREF(local);
        pys_raise(self->owner, status);
        return NULL;
    }
    found = look(self, call, &result);
    if (found == 0 && PyObject_SetItem((PyObject *)self, call->key, local) == 0)
        found = look(self, call, &result);
    Py_DECREF(local);
    if (found == 1 && pys_level_commit(self->owner, &level) == 0)
        return result;
    pys_level_abort(self->owner, &level);
    Py_XDECREF(result);
    return NULL;
}

/* Nobody has put it until now: store what was read of the default, unless another thread did. */
static PyObject *setdefault_simple(struct pys_proxy *self, const struct call *call,
                                   const struct pys_value *value)
{
    const struct pys_map_ops *ops = call->ops;
    struct pms_pool *pool = pys_core(self);
    struct pys_taken taken = {0};
    union pys_map_key key;
    struct pms_val val;
    PyObject *result = NULL;
    int status, found = 0;
    if (ops->read(call->key, 1, &key) < 0)
        return NULL;
    status = pys_enter_write(pool, self->handle);
    if (status == PMS_OK) {
        status = ops->get(self, &key, &val);
        found = status == PMS_OK;
        if (found)
            status = pys_take(pool, &val, &taken);
        else if (status == PMS_MISSING && (status = pys_value_check(value)) == PMS_OK)
            status = ops->put(self, &key, &value->val);
        status = pys_leave_write(pool, status);
    }
    ops->done(&key);
    if (status == PMS_OK)
        result = found ? pys_give(self->owner, &taken) : pys_ref(call->fallback);
    else
        ops->raise(self, status, call->key);
    pys_taken_drop(&taken);
    return result;
}

PyObject *pys_map_setdefault(PyObject *obj, const struct pys_map_ops *ops,
                             PyObject *const *args, Py_ssize_t nargs)
{
    struct pys_proxy *self = (struct pys_proxy *)obj;
    struct call call = {ops, NULL, NULL};
    PyObject *result = NULL;
    struct pys_value value;
    int built;
    if (read_call("setdefault", args, nargs, &call) < 0)
        return NULL;
    if (call.fallback == NULL)
        call.fallback = Py_None;
    if (look(self, &call, &result) != 0)
        return result;
    built = pys_value_read(self->owner, call.fallback, &value);
    if (built > 0)
        return setdefault_built(self, &call);
    if (built < 0) {
        pys_locate(self, call.key);
        return NULL;
    }
    result = setdefault_simple(self, &call, &value);
    pys_value_done(&value);
    return result;
}
