/* pool_type.c -- PoolBase: the Python object that stands for an open pool.
 *
 * It has the opener's share of the struct pms_pool and lets go of it when it is deallocated, not
 * when it is detached: a thread that waits in the core may still look at the struct.
 */
#include <errno.h>

#include "open.h"
#include "records.h"
#include "slots_sorted.h"

static struct pms_pool *pool_of(struct pys_pool *self)
{
    if (self->pool == NULL)
        pys_raise(self, PMS_FAIL(PMS_E_CLOSED, "using a pool", 0, 0, 0));
    return self->pool;
}

struct opening {
    PyObject *self, *count;
    PyThreadState *saved;
};

/* count(st_dev) is None, or what the pool keeps as _counted: (device, shutdowns). */
static int ask_count(void *context, uint64_t st_dev, uint64_t *device, uint64_t *shutdowns)
{
    struct opening *opening = context;
    unsigned long long name = 0, number = 0;
    PyEval_RestoreThread(opening->saved);
    PyObject *found = PyObject_CallFunction(opening->count, "K", (unsigned long long)st_dev);
    int failed = found == NULL;
    if (!failed && found != Py_None)
        failed = !PyArg_ParseTuple(found, "KK:_counted", &name, &number) ||
                 PyObject_SetAttrString(opening->self, "_counted", found) < 0;
    Py_XDECREF(found);
    opening->saved = PyEval_SaveThread();
    *device = name;
    *shutdowns = number;
    return failed ? PMS_FAIL_OS("counting unsafe shutdowns", 0, 0, EIO) : PMS_OK;
}

static PyObject *pool_open(PyObject *obj, PyObject *args)
{
    struct pys_pool *self = (struct pys_pool *)obj;
    struct opening opening = {.self = obj};
    struct pms_pool *opened = NULL;
    struct pms_options options;
    PyObject *path;
    const char *name;
    unsigned long long address;
    int status;
    if (!PyArg_ParseTuple(args, "yKUO:_open", &name, &address, &path, &opening.count))
        return NULL;
    if (self->share != NULL) {
        PyErr_SetString(PyExc_ValueError, "a pool is attached already");
        return NULL;
    }
    options = *(const struct pms_options *)(uintptr_t)address;
    options.nofollow = 1;
    options.count = ask_count;
    options.count_context = &opening;
    opening.saved = PyEval_SaveThread();
    status = pms_pool_open(name, &options, &opened);
    PyEval_RestoreThread(opening.saved);
    if (PyErr_Occurred())
        return NULL; /* the hook's */
    if (status == PMS_OK) {
        self->share = self->pool = opened;
        self->path = pys_ref(path);
    }
    return PyLong_FromLong(status);
}

static PyObject *pool_detach(PyObject *obj, PyObject *unused)
{
    (void)unused;
    ((struct pys_pool *)obj)->pool = NULL;
    Py_RETURN_NONE;
}

static PyObject *pool_address(PyObject *obj, void *closure)
{
    (void)closure;
    return PyLong_FromUnsignedLongLong((uintptr_t)((struct pys_pool *)obj)->pool);
}

/* Pool entered: the handle of an object that must be there. */
static int handle_at(struct pms_pool *pool, uint64_t off, uint32_t tag, struct pms_handle **out)
{
    if (!pms_tag_is_object(tag))
        return PMS_FAIL(PMS_E_INVAL, "object tag", off, PMS_TAG_LIST, tag);
    PMS_TRY(pms_object_check(pool, off, tag));
    *out = pms_handle_get(pool, off, tag);
    return *out != NULL ? PMS_OK : PMS_FAIL(PMS_E_NOMEM, "making a handle", off, 0, 0);
}

/* Takes over the handle's share, if there is one. */
static PyObject *proxy_or_raise(struct pys_pool *self, struct pms_handle *handle, int status)
{
    if (status == PMS_OK)
        return pys_proxy_of(self, handle);
    pys_raise(self, status);
    if (handle != NULL)
        pys_handle_put(handle);
    return NULL;
}

static PyObject *pool_proxy(PyObject *obj, PyObject *args)
{
    struct pys_pool *self = (struct pys_pool *)obj;
    struct pms_handle *handle = NULL;
    struct pms_pool *pool;
    unsigned long long off;
    unsigned int tag;
    int status;
    if (!PyArg_ParseTuple(args, "KI:_proxy", &off, &tag) || (pool = pool_of(self)) == NULL)
        return NULL;
    status = pys_enter_read(pool, NULL);
    if (status == PMS_OK) {
        status = handle_at(pool, off, tag, &handle);
        status = pys_leave_read(pool, status);
    }
    return proxy_or_raise(self, handle, status);
}

static PyObject *pool_root(PyObject *obj, PyObject *unused)
{
    struct pys_pool *self = (struct pys_pool *)obj;
    struct pms_pool *pool = pool_of(self);
    struct pms_handle *handle = NULL;
    int status;
    (void)unused;
    if (pool == NULL)
        return NULL;
    do {
        PyThreadState *saved = PyEval_SaveThread();
        status = pms_pool_root(pool, &handle);
        PyEval_RestoreThread(saved);
        if (status == PMS_E_INTR && PyErr_CheckSignals() < 0)
            status = PYS_RAISED;
    } while (status == PMS_E_INTR || status == PMS_E_WAIT);
    if (status != PMS_OK) {
        pys_raise(self, status);
        return NULL;
    }
    return pys_proxy_of(self, handle);
}

/* A new, empty object: an orphan that its proxy keeps, until it is stored somewhere. */
static PyObject *pool_new(PyObject *obj, PyObject *arg)
{
    struct pys_pool *self = (struct pys_pool *)obj;
    struct pms_pool *pool = pool_of(self);
    struct pms_handle *handle = NULL;
    uint64_t off = 0;
    uint32_t tag = (uint32_t)PyLong_AsUnsignedLong(arg);
    int status;
    if (pool == NULL || PyErr_Occurred())
        return NULL;
    status = pys_enter_write(pool, NULL);
    if (status == PMS_OK) {
        status = pms_object_create(pool, tag, &off);
        if (status == PMS_OK)
            status = pms_object_orphan(pool, off);
        if (status == PMS_OK && (handle = pms_handle_get(pool, off, tag)) == NULL)
            status = PMS_FAIL(PMS_E_NOMEM, "making a handle", off, 0, 0);
        status = pys_leave_write(pool, status);
    }
    return proxy_or_raise(self, handle, status);
}

static PyObject *pool_inherited(PyObject *obj, void *closure)
{
    struct pys_pool *self = (struct pys_pool *)obj;
    (void)closure;
    return PyBool_FromLong(self->share != NULL && self->share->fork_epoch != pms_fork_epoch);
}

static PyObject *pool_depth(PyObject *obj, void *closure)
{
    struct pys_pool *self = (struct pys_pool *)obj;
    (void)closure;
    return PyLong_FromUnsignedLong(self->pool == NULL ? 0 : pms_tx_depth(self->pool));
}

static void pool_dealloc(PyObject *obj)
{
    struct pys_pool *self = (struct pys_pool *)obj;
    PyTypeObject *type = Py_TYPE(obj);
    struct pms_pool *pool = self->share;
    self->share = self->pool = NULL;
    if (pool != NULL && pool->fork_epoch == pms_fork_epoch) { /* a forked copy is left alone */
        PyThreadState *saved = PyEval_SaveThread();
        if (!pool->closed)
            pms_pool_close(pool);
        pms_pool_drop(pool);
        PyEval_RestoreThread(saved);
    }
    Py_CLEAR(self->path);
    pys_kept_drop(self->kept);
    pys_places_drop(self->places);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(obj);
    Py_DECREF(type);
}

static PyMethodDef pool_methods[] = {
    {"_open", pool_open, METH_VARARGS,
     "_open(name, address of options, path, count): pms_pool_open() of no link, and its "
     "status."},
    {"_detach", pool_detach, METH_NOARGS, "The pool is closed: let nothing use it any more."},
    {"_proxy", pool_proxy, METH_VARARGS, "_proxy(off, tag): the proxy of an object."},
    {"_root", pool_root, METH_NOARGS, "The proxy of the root dict."},
    {"_new", pool_new, METH_O, "_new(tag): the proxy of a new object that nothing refers to."},
    {"_new_schema", pys_pool_new_schema, METH_VARARGS,
     "_new_schema(layout, fingerprint, text): the proxy of a new schema."},
    {"_new_record", pys_pool_new_record, METH_O,
     "_new_record(schema): the proxy of a new record; numbers zero, cells None."},
    {"_schemas", pys_pool_schemas, METH_O,
     "_schemas(make): the dict of schemas; None if there is none, and make is false."},
    {"_written", pys_pool_written, METH_O,
     "_written({name: ((class, layout, fingerprint, text), ...)}): [(name, schema, class or "
     "None)], of each name that there is a schema of: the first class that writes just this."},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef pool_getset[] = {
    {"_address", pool_address, NULL, "Address of the struct pms_pool; 0: not attached.", NULL},
    {"_inherited", pool_inherited, NULL, "Whether fork() has copied it from the parent.", NULL},
    {"_depth", pool_depth, NULL, "Depth of this thread's open transaction; 0: none.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot pool_slots[] = {
    {Py_tp_dealloc, pool_dealloc},
    {Py_tp_methods, pool_methods},
    {Py_tp_getset, pool_getset},
    {Py_tp_doc, "Base of Pool: the open pool's place in the core."},
    {0, NULL},
};

PyType_Spec pys_pool_spec = {
    .name = "pmemstore._native._slots.PoolBase",
    .basicsize = sizeof(struct pys_pool),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .slots = pool_slots,
};
