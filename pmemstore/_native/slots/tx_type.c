/* tx_type.c -- TransactionBase: `with pool.transaction():` */
#include "slots.h"

struct pys_tx {
    PyObject ob_base;
    struct pys_pool *owner;
    int64_t timeout_ns; /* < 0: no limit */
    struct pys_level level;
};

#define TIMEOUT_MAX_S 9e9

static int tx_init(PyObject *obj, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"pool", "timeout", NULL};
    struct pys_tx *self = (struct pys_tx *)obj;
    PyObject *owner, *old, *timeout = Py_None;
    double seconds = -1;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O!|O:TransactionBase", names, pys.pool_type,
                                     &owner, &timeout))
        return -1;
    if (timeout != Py_None) {
        seconds = PyFloat_AsDouble(timeout);
        if (seconds == -1 && PyErr_Occurred())
            return -1;
        if (!(seconds >= 0)) {
            PyErr_SetString(PyExc_ValueError, "timeout must be None, or at least 0 seconds");
            return -1;
        }
    }
    if (self->level.depth != 0) {
        PyErr_SetString(PyExc_ValueError, "the transaction is open");
        return -1;
    }
    self->timeout_ns = seconds < 0 || seconds > TIMEOUT_MAX_S ? -1 : (int64_t)(seconds * 1e9);
    old = (PyObject *)self->owner;
    self->owner = (struct pys_pool *)pys_ref(owner);
    Py_XDECREF(old);
    return 0;
}

static PyObject *tx_enter(PyObject *obj, PyObject *unused)
{
    struct pys_tx *self = (struct pys_tx *)obj;
    int status;
    (void)unused;
    if (self->owner == NULL) {
        PyErr_SetString(PyExc_ValueError,
                        "the transaction has no pool: __init__ was not called");
        return NULL;
    }
    if (self->level.depth != 0)
        status = PMS_FAIL(PMS_E_TX, "entering a transaction object that is entered already", 0,
                          0, 0);
    else
        status = pys_level_begin(self->owner, &self->level, self->timeout_ns);
    if (status != PMS_OK) {
        pys_raise(self->owner, status);
        return NULL;
    }
    return pys_ref(obj);
}

static PyObject *tx_exit(PyObject *obj, PyObject *const *args, Py_ssize_t nargs)
{
    struct pys_tx *self = (struct pys_tx *)obj;
    if (nargs != 3) {
        PyErr_Format(PyExc_TypeError, "__exit__ expected 3 arguments, got %zd", nargs);
        return NULL;
    }
    if (self->owner == NULL) {
        PyErr_SetString(PyExc_ValueError, "the transaction was not entered");
        return NULL;
    }
    if (args[0] != Py_None)
        pys_level_abort(self->owner, &self->level);
    else if (pys_level_commit(self->owner, &self->level) < 0)
        return NULL;
    Py_RETURN_FALSE;
}

static int tx_traverse(PyObject *obj, visitproc visit, void *arg)
{
    struct pys_tx *self = (struct pys_tx *)obj;
    Py_VISIT(Py_TYPE(obj));
    Py_VISIT(self->owner);
    Py_VISIT(self->level.on_commit);
    Py_VISIT(self->level.on_abort);
    return 0;
}

/* The owner stays: an open level needs it until it is rolled back. */
static int tx_clear(PyObject *obj)
{
    struct pys_tx *self = (struct pys_tx *)obj;
    Py_CLEAR(self->level.on_commit);
    Py_CLEAR(self->level.on_abort);
    return 0;
}

/* Let go of while open: rolled back, if this is the thread that began it. */
static void tx_finalize(PyObject *obj)
{
    struct pys_tx *self = (struct pys_tx *)obj;
    if (self->owner != NULL)
        pys_level_abort(self->owner, &self->level);
}

static void tx_dealloc(PyObject *obj)
{
    struct pys_tx *self = (struct pys_tx *)obj;
    PyTypeObject *type = Py_TYPE(obj);
    PyObject_GC_UnTrack(obj);
    tx_finalize(obj);
    if (self->owner != NULL)
        pys_level_forget(self->owner, &self->level);
    tx_clear(obj);
    Py_CLEAR(self->owner);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(obj);
    Py_DECREF(type);
}

static PyObject *tx_timeout(PyObject *obj, void *closure)
{
    struct pys_tx *self = (struct pys_tx *)obj;
    (void)closure;
    if (self->timeout_ns < 0)
        Py_RETURN_NONE;
    return PyFloat_FromDouble((double)self->timeout_ns / 1e9);
}

static PyObject *tx_is_open(PyObject *obj, void *closure)
{
    struct pys_tx *self = (struct pys_tx *)obj;
    (void)closure;
    return PyBool_FromLong(self->owner != NULL && pys_level_is_open(self->owner, &self->level));
}

static PyGetSetDef tx_getset[] = {
    {"_is_open", tx_is_open, NULL, "Does this thread have it open?", NULL},
    {"_timeout", tx_timeout, NULL, "Seconds to wait for another thread; None: no limit.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMethodDef tx_methods[] = {
    {"__enter__", tx_enter, METH_NOARGS, "Begin, or open a savepoint."},
    {"__exit__", (PyCFunction)(void (*)(void))tx_exit, METH_FASTCALL,
     "Commit, or roll back if there is an exception."},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef tx_members[] = {
    {"_on_commit", T_OBJECT, offsetof(struct pys_tx, level.on_commit), 0, NULL},
    {"_on_abort", T_OBJECT, offsetof(struct pys_tx, level.on_abort), 0, NULL},
    {"_pool", T_OBJECT, offsetof(struct pys_tx, owner), READONLY, NULL},
    {"_depth", T_UINT, offsetof(struct pys_tx, level.depth), READONLY, "0: not entered."},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot tx_slots[] = {
    {Py_tp_new, PyType_GenericNew},
    {Py_tp_init, tx_init},
    {Py_tp_dealloc, tx_dealloc},
    {Py_tp_finalize, tx_finalize},
    {Py_tp_traverse, tx_traverse},
    {Py_tp_clear, tx_clear},
    {Py_tp_methods, tx_methods},
    {Py_tp_members, tx_members},
    {Py_tp_getset, tx_getset},
    {Py_tp_doc, "TransactionBase(pool, timeout=None)"},
    {0, NULL},
};

PyType_Spec pys_tx_spec = {
    .name = "pmemstore._native._slots.TransactionBase",
    .basicsize = sizeof(struct pys_tx),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = tx_slots,
};
