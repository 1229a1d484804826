/* slots.c -- the module _slots: its types, and the hooks of the Python side.
 *
 * One interpreter only: the core knows one set of hooks.  A second interpreter of the process
 * is refused with ImportError.
 */
#include "slots.h"

struct pys_state pys;
static int64_t interpreter = -1;

int pys_raise(struct pys_pool *owner, int status)
{
    PyObject *result, *path = owner != NULL && owner->path != NULL ? owner->path : Py_None;
    if (status == PYS_RAISED || PyErr_Occurred())
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
    PyObject *hook[5];
    PyObject **slot[5] = {&pys.pack_key, &pys.pack_value, &pys.unpack, &pys.build,
                          &pys.raise_status};
    (void)module;
    if (!PyArg_ParseTuple(args, "OOOOO:set_hooks", &hook[0], &hook[1], &hook[2], &hook[3],
                          &hook[4]))
        return NULL;
    for (int i = 0; i < 5; i++) {
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

static int set_type(PyTypeObject **slot, PyObject *type, PyTypeObject *base)
{
    PyObject *old = (PyObject *)*slot;
    if (!PyType_Check(type) || !PyType_IsSubtype((PyTypeObject *)type, base)) {
        PyErr_SetString(PyExc_TypeError,
                        "set_types() takes subclasses of DictBase and ListBase");
        return -1;
    }
    *slot = (PyTypeObject *)pys_ref(type);
    Py_XDECREF(old);
    return 0;
}

static PyObject *set_types(PyObject *module, PyObject *args)
{
    PyObject *dict_type, *list_type;
    (void)module;
    if (!PyArg_ParseTuple(args, "OO:set_types", &dict_type, &list_type) ||
        set_type(&pys.dict_type, dict_type, pys.proxy_dict_base) < 0 ||
        set_type(&pys.list_type, list_type, pys.proxy_list_base) < 0)
        return NULL;
    Py_RETURN_NONE;
}

static int make_types(PyObject *module)
{
    struct {
        PyTypeObject **slot;
        PyType_Spec *spec;
    } all[] = {
        {&pys.pool_type, &pys_pool_spec},           {&pys.proxy_dict_base, &pys_dict_spec},
        {&pys.proxy_list_base, &pys_list_spec},     {&pys.tx_type, &pys_tx_spec},
        {&pys.dict_iter_type, &pys_dict_iter_spec}, {&pys.list_iter_type, &pys_list_iter_spec},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        *all[i].slot = (PyTypeObject *)PyType_FromModuleAndSpec(module, all[i].spec, NULL);
        if (*all[i].slot == NULL)
            return -1;
    }
    pys.dict_type = (PyTypeObject *)pys_ref(pys.proxy_dict_base);
    pys.list_type = (PyTypeObject *)pys_ref(pys.proxy_list_base);
    return 0;
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
    if (pys.list_type == NULL && make_types(module) < 0)
        return -1;
    if (PyModule_AddObjectRef(module, "PoolBase", (PyObject *)pys.pool_type) < 0 ||
        PyModule_AddObjectRef(module, "DictBase", (PyObject *)pys.proxy_dict_base) < 0 ||
        PyModule_AddObjectRef(module, "ListBase", (PyObject *)pys.proxy_list_base) < 0 ||
        PyModule_AddObjectRef(module, "TransactionBase", (PyObject *)pys.tx_type) < 0)
        return -1;
    return 0;
}

static PyMethodDef module_methods[] = {
    {"set_hooks", set_hooks, METH_VARARGS,
     "set_hooks(pack_key, pack_value, unpack, build, raise_status)"},
    {"set_note_caller", set_note_caller, METH_O,
     "set_note_caller(f): f() is called before each write to a recorded pool."},
    {"set_types", set_types, METH_VARARGS, "set_types(Dict, List): the classes of proxies."},
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
