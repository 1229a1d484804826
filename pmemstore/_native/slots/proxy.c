/* proxy.c -- what the proxies of all kinds have in common: one live proxy per object.
 *
 *   handle->proxy   borrowed pointer to the live proxy, or NULL
 *
 * A proxy whose last reference is gone must not come back: pys_proxy_live passes over it, and
 * a new proxy may take its place before it is deallocated.  It passes over a record too whose class
 * was declared anew: whoever still holds that one is refused, the others get one of the new class.
 */
#include "records.h"

/* A record in memory has the type, but no handle. */
int pys_is_proxy(PyObject *obj)
{
    return PyObject_TypeCheck(obj, pys.proxy_base) && ((struct pys_proxy *)obj)->handle != NULL;
}

PyObject *pys_proxy_live(struct pms_handle *handle)
{
    PyObject *proxy = handle->proxy;
    if (proxy == NULL || Py_REFCNT(proxy) <= 0)
        return NULL;
    if (handle->tag == PMS_TAG_RECORD && !pys_record_bound((struct pys_record *)proxy))
        return NULL;
    return pys_ref(proxy);
}

PyObject *pys_proxy_of(struct pys_pool *owner, struct pms_handle *handle)
{
    PyObject *obj = pys_proxy_live(handle);
    if (obj == NULL && handle->tag == PMS_TAG_RECORD)
        return pys_record_proxy(owner, handle);
    if (obj == NULL) {
        PyTypeObject *type = pys.proxy_type[handle->tag - PMS_TAG_OBJECT_MIN];
        struct pys_proxy *proxy = NULL;
        if (type == NULL)
            PyErr_Format(PyExc_RuntimeError, "pmemstore: no type was set for a %s",
                         pms_kind_of(handle->tag)->name);
        else
            proxy = (struct pys_proxy *)PyType_GenericAlloc(type, 0);
        if (proxy == NULL) {
            pys_handle_put(handle);
            return NULL;
        }
        proxy->handle = handle;
        proxy->owner = (struct pys_pool *)pys_ref(owner);
        obj = pys_proxy_live(handle); /* the allocation may have run the collector */
        if (obj == NULL) {
            handle->proxy = proxy;
            return (PyObject *)proxy;
        }
        Py_DECREF(proxy); /* puts the share too */
        return obj;
    }
    pys_handle_put(handle);
    return obj;
}

int pys_proxy_traverse(PyObject *obj, visitproc visit, void *arg)
{
    struct pys_proxy *self = (struct pys_proxy *)obj;
    Py_VISIT(Py_TYPE(obj));
    Py_VISIT(self->owner);
    return 0;
}

/* No tp_clear: every cycle through a proxy runs through the attributes of its pool or of a
 * subclass, and those are cleared.  So a proxy has its owner as long as it lives. */
void pys_proxy_dealloc(PyObject *obj)
{
    struct pys_proxy *self = (struct pys_proxy *)obj;
    PyTypeObject *type = Py_TYPE(obj);
    struct pms_handle *handle = self->handle;
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    PyObject_GC_UnTrack(obj);
    if (handle != NULL && handle->proxy == obj)
        handle->proxy = NULL;
    if (self->weak != NULL)
        PyObject_ClearWeakRefs(obj);
    if (handle != NULL)
        pys_handle_put(handle);
    Py_CLEAR(self->owner);
    release(obj);
    Py_DECREF(type);
}

static PyObject *get_pool(PyObject *self, void *closure)
{
    struct pys_pool *owner = ((struct pys_proxy *)self)->owner;
    (void)closure;
    return pys_ref(owner != NULL ? (PyObject *)owner : Py_None);
}

static PyObject *get_off(PyObject *self, void *closure)
{
    const struct pms_handle *handle = ((struct pys_proxy *)self)->handle;
    (void)closure;
    return PyLong_FromUnsignedLongLong(handle != NULL ? handle->off : 0);
}

static PyObject *get_tag(PyObject *self, void *closure)
{
    const struct pms_handle *handle = ((struct pys_proxy *)self)->handle;
    (void)closure;
    return PyLong_FromUnsignedLong(handle != NULL ? handle->tag : 0);
}

static PyMemberDef proxy_members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(struct pys_proxy, weak), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyGetSetDef proxy_getset[] = {
    {"_pool", get_pool, NULL, "The pool object that this proxy keeps alive.", NULL},
    {"_offset", get_off, NULL, "Offset of the object in the file.", NULL},
    {"_tag", get_tag, NULL, "Tag of the object's kind.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot proxy_slots[] = {
    {Py_tp_dealloc, pys_proxy_dealloc},
    {Py_tp_traverse, pys_proxy_traverse},
    {Py_tp_members, proxy_members},
    {Py_tp_getset, proxy_getset},
    {Py_tp_doc, "Base of all proxies: an object of an open pool."},
    {0, NULL},
};

PyType_Spec pys_proxy_spec = {
    .name = "pmemstore._native._slots.ProxyBase",
    .basicsize = sizeof(struct pys_proxy),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC |
             Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = proxy_slots,
};
