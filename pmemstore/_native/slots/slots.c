/* slots.c -- the module _slots: its types, and the hooks of the Python side.
 *
 * One interpreter only: the core knows one set of hooks.  A second interpreter of the process
 * is refused with ImportError.
 */
#include <sys/mman.h>

#include "../persist_cpu.h"
#include "again.h"
#include "slots_sorted.h"

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#endif

struct pys_state pys;
static int64_t interpreter = -1;

int pys_raise(struct pys_pool *owner, int status)
{
    PyObject *result, *path = owner != NULL && owner->path != NULL ? owner->path : Py_None;
    if (status == PYS_RAISED || status == PYS_UNSURE || PyErr_Occurred())
        return -1;
    if (pys.raise_status == NULL) {
        PyErr_Format(PyExc_RuntimeError, "pmemstore: status %d of the core", status);
        return -1;
    }
    result = PyObject_CallFunction(pys.raise_status, "iO", status, path);
    if (result != NULL) {
        Py_DECREF(result);
        PyErr_Format(PyExc_SystemError, "raise_status(%d) did not raise", status);
    }
    return -1;
}

void pys_locate(struct pys_proxy *self, PyObject *place)
{
    PyObject *kind, *error, *trace, *told;
    if (pys.locate == NULL || !PyErr_ExceptionMatches(PyExc_TypeError))
        return;
    PyErr_Fetch(&kind, &error, &trace);
    PyErr_NormalizeException(&kind, &error, &trace);
    told = PyObject_CallFunctionObjArgs(pys.locate, (PyObject *)self, error, place, NULL);
    if (told == NULL) {
        Py_XDECREF(kind);
        Py_XDECREF(error);
        Py_XDECREF(trace);
        return;
    }
    Py_XDECREF(error);
    PyErr_Restore(kind, told, trace); /* of the same class */
}

void pys_raise_key(PyObject *key)
{
    PyObject *args = PyTuple_Pack(1, key);
    if (args == NULL)
        return;
    PyErr_SetObject(PyExc_KeyError, args);
    Py_DECREF(args);
}

static PyObject *set_hooks(PyObject *module, PyObject *args)
{
    PyObject *hook[6];
    PyObject **slot[6] = {&pys.pack_key, &pys.pack_value,   &pys.unpack,
                          &pys.build,    &pys.raise_status, &pys.locate};
    (void)module;
    if (!PyArg_ParseTuple(args, "OOOOOO:set_hooks", &hook[0], &hook[1], &hook[2], &hook[3],
                          &hook[4], &hook[5]))
        return NULL;
    for (int i = 0; i < 6; i++) {
        PyObject *old = *slot[i];
        *slot[i] = pys_ref(hook[i]);
        Py_XDECREF(old);
    }
    Py_RETURN_NONE;
}

static PyObject *set_record_hooks(PyObject *module, PyObject *args)
{
    PyObject *hook[3];
    PyObject **slot[3] = {&pys.record_bind, &pys.record_upgrade, &pys.record_fresh};
    (void)module;
    if (!PyArg_ParseTuple(args, "OOO:set_record_hooks", &hook[0], &hook[1], &hook[2]))
        return NULL;
    for (int i = 0; i < 3; i++) {
        PyObject *old = *slot[i];
        *slot[i] = pys_ref(hook[i]);
        Py_XDECREF(old);
    }
    Py_RETURN_NONE;
}

static PyObject *set_note_caller(PyObject *module, PyObject *hook)
{
    PyObject *old = pys.note_caller;
    (void)module;
    pys.note_caller = pys_ref(hook);
    Py_XDECREF(old);
    Py_RETURN_NONE;
}

static PyObject *set_order_hook(PyObject *module, PyObject *hook)
{
    PyObject *old = pys.order_image;
    (void)module;
    pys.order_image = pys_ref(hook);
    Py_XDECREF(old);
    Py_RETURN_NONE;
}

static PyObject *set_type(PyObject *module, PyObject *args)
{
    unsigned int tag;
    PyObject *type, *old;
    (void)module;
    if (!PyArg_ParseTuple(args, "IO!:set_type", &tag, &PyType_Type, &type))
        return NULL;
    if (!pms_tag_is_object(tag)) {
        PyErr_Format(PyExc_ValueError, "set_type(): %u is no tag of an object", tag);
        return NULL;
    }
    if (!PyType_IsSubtype((PyTypeObject *)type, pys.proxy_base)) {
        PyErr_SetString(PyExc_TypeError, "set_type() takes a subclass of ProxyBase");
        return NULL;
    }
    old = (PyObject *)pys.proxy_type[tag - PMS_TAG_OBJECT_MIN];
    pys.proxy_type[tag - PMS_TAG_OBJECT_MIN] = (PyTypeObject *)pys_ref(type);
    Py_XDECREF(old);
    Py_RETURN_NONE;
}

/* In the order of the module's names; those with a name are attributes of the module. */
static const struct {
    const char *name;
    PyTypeObject **slot;
    PyType_Spec *spec;
    int is_proxy; /* derived from proxy_base, which stands before it */
} types[] = {
    {"PoolBase", &pys.pool_type, &pys_pool_spec, 0},
    {"TransactionBase", &pys.tx_type, &pys_tx_spec, 0},
    {"ProxyBase", &pys.proxy_base, &pys_proxy_spec, 0},
    {"DictBase", &pys.dict_base, &pys_dict_spec, 1},
    {"ListBase", &pys.list_base, &pys_list_spec, 1},
    {"SetBase", &pys.set_base, &pys_set_spec, 1},
    {"DequeBase", &pys.deque_base, &pys_deque_spec, 1},
    {"ArrayBase", &pys.array_base, &pys_array_spec, 1},
    {"SortedDictBase", &pys.sorted_dict_base, &pys_sorted_dict_spec, 1},
    {"SortedSetBase", &pys.sorted_set_base, &pys_sorted_set_spec, 1},
    {NULL, &pys.sorted_iter_type, &pys_sorted_iter_spec, 0},
    {"RecordBase", &pys.record_base, &pys_record_spec, 1},
    {"SchemaBase", &pys.schema_base, &pys_schema_spec, 1},
    {"Layout", &pys.layout_type, &pys_layout_spec, 0},
    {"Field", &pys.field_type, &pys_field_spec, 0},
    {NULL, &pys.dict_iter_type, &pys_dict_iter_spec, 0},
    {NULL, &pys.list_iter_type, &pys_list_iter_spec, 0},
    {NULL, &pys.array_bytes_type, &pys_array_bytes_spec, 0},
};
#define TYPES (sizeof types / sizeof *types)

static int make_types(PyObject *module)
{
    for (size_t i = 0; i < TYPES; i++) {
        PyObject *bases = NULL;
        if (types[i].is_proxy && (bases = PyTuple_Pack(1, pys.proxy_base)) == NULL)
            return -1;
        *types[i].slot = (PyTypeObject *)PyType_FromModuleAndSpec(module, types[i].spec, bases);
        Py_XDECREF(bases);
        if (*types[i].slot == NULL)
            return -1;
    }
    return 0;
}

/* Set by the linker: our first byte, and the end of what is executed. */
extern const char __ehdr_start[] __attribute__((visibility("hidden")));
extern const char etext[] __attribute__((visibility("hidden")));

/* What takes its time once in a process is done now, so that the first open does not wait for it: the
 * CPU is asked what it can (which leaves a virtual machine), the kernel for its barrier, and our code is
 * mapped. */
static void warm_up(void)
{
    uintptr_t from = (uintptr_t)__ehdr_start & ~(uintptr_t)(PMS_PAGE - 1);
    (void)pms_cpu_best_flush();
    pms_lock_init();
    (void)madvise((void *)from, (uintptr_t)etext - from,
                  MADV_POPULATE_READ); /* older kernels: no */
}

static int exec_module(PyObject *module)
{
    int64_t id = PyInterpreterState_GetID(PyInterpreterState_Get());
    if (interpreter >= 0 && interpreter != id) {
        PyErr_SetString(PyExc_ImportError,
                        "pmemstore can be used in one interpreter of a process "
                        "only, and another one has loaded it");
        return -1;
    }
    interpreter = id;
    warm_up();
    if (*types[TYPES - 1].slot == NULL && (make_types(module) < 0 || pys_again_learn() < 0))
        return -1;
    for (size_t i = 0; i < TYPES; i++)
        if (types[i].name != NULL &&
            PyModule_AddObjectRef(module, types[i].name, (PyObject *)*types[i].slot) < 0)
            return -1;
    return 0;
}

static PyMethodDef module_methods[] = {
    {"set_hooks", set_hooks, METH_VARARGS,
     "set_hooks(pack_key, pack_value, unpack, build, raise_status, locate)"},
    {"set_record_hooks", set_record_hooks, METH_VARARGS,
     "set_record_hooks(bind, upgrade, fresh): see struct pys_state."},
    {"set_note_caller", set_note_caller, METH_O,
     "set_note_caller(f): f() is called before each write to a recorded pool."},
    {"set_order_hook", set_order_hook, METH_O,
     "set_order_hook(f): f(key, lookup) is the kind and image of a key of a sorted container."},
    {"set_type", set_type, METH_VARARGS,
     "set_type(tag, type): the class of the proxies of a kind of objects."},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, exec_module},
    {0, NULL},
};

static struct PyModuleDef module_def = {
    PyModuleDef_HEAD_INIT,
    "pmemstore._native._slots",
    "Types of the hot operations, over the C core.",
    0,
    module_methods,
    module_slots,
    NULL,
    NULL,
    NULL,
};

PyMODINIT_FUNC PyInit__slots(void);
PyMODINIT_FUNC PyInit__slots(void) { return PyModuleDef_Init(&module_def); }
