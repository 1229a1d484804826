/* layout_type.c -- Layout: the leaves of a record class; Field: the descriptor of one field. */
#include <stdlib.h>

#include "records.h"

/* ---- Layout ---- */

/* (kind, off, bit, count, size) */
static int leaf_of(PyObject *item, struct pms_field_pm *out)
{
    unsigned int kind, off, bit, count, size;
    if (!PyTuple_Check(item)) {
        PyErr_SetString(PyExc_TypeError, "a leaf is a tuple (kind, off, bit, count, size)");
        return -1;
    }
    if (!PyArg_ParseTuple(item, "IIIII", &kind, &off, &bit, &count, &size))
        return -1;
    *out = (struct pms_field_pm){
        .off = off, .kind = (uint16_t)kind, .bit = (uint16_t)bit, .count = count, .size = size};
    return 0;
}

static PyObject *layout_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    PyObject *name, *names, *leaves;
    unsigned long long bytes;
    struct pys_layout *self;
    Py_ssize_t count;
    int status = 0;
    (void)kwargs;
    if (!PyArg_ParseTuple(args, "UO!O!K:Layout", &name, &PyTuple_Type, &names, &PyTuple_Type,
                          &leaves, &bytes))
        return NULL;
    count = PyTuple_Size(leaves);
    if (PyTuple_Size(names) != count || count > (Py_ssize_t)PMS_RECORD_FIELDS_MAX) {
        PyErr_Format(PyExc_ValueError, "%U: %zd fields; a record may have %u", name, count,
                     PMS_RECORD_FIELDS_MAX);
        return NULL;
    }
    self = (struct pys_layout *)PyType_GenericAlloc(type, 0);
    if (self == NULL)
        return NULL;
    self->name = pys_ref(name);
    self->names = pys_ref(names);
    self->shape = calloc(1, sizeof *self->shape + (size_t)count * sizeof(struct pms_field_pm));
    if (self->shape == NULL) {
        PyErr_NoMemory();
        status = -1;
    }
    for (Py_ssize_t i = 0; i < count && status == 0; i++) {
        if (!PyUnicode_Check(PyTuple_GetItem(names, i))) {
            PyErr_SetString(PyExc_TypeError, "Layout(): names are str");
            status = -1;
        }
    }
    for (Py_ssize_t i = 0; i < count && status == 0; i++)
        status = leaf_of(PyTuple_GetItem(leaves, i), &self->shape->field[i]);
    if (status == 0) {
        self->shape->bytes = bytes;
        self->shape->count = (uint32_t)count;
        status = pms_shape_check(self->shape);
    }
    if (status != 0) {
        if (!PyErr_Occurred())
            pys_raise(NULL, status);
        Py_DECREF(self);
        return NULL;
    }
    return (PyObject *)self;
}

static void layout_dealloc(PyObject *obj)
{
    struct pys_layout *self = (struct pys_layout *)obj;
    PyTypeObject *type = Py_TYPE(obj);
    Py_CLEAR(self->name);
    Py_CLEAR(self->names);
    free(self->shape);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(obj);
    Py_DECREF(type);
}

static PyObject *layout_bytes(PyObject *obj, void *closure)
{
    (void)closure;
    return PyLong_FromUnsignedLongLong(((struct pys_layout *)obj)->shape->bytes);
}

static PyMemberDef layout_members[] = {
    {"name", T_OBJECT, offsetof(struct pys_layout, name), READONLY, "Name of the class."},
    {"names", T_OBJECT, offsetof(struct pys_layout, names), READONLY, "Names of the leaves."},
    {NULL, 0, 0, 0, NULL},
};
static PyGetSetDef layout_getset[] = {
    {"bytes", layout_bytes, NULL, "Bytes of a body.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};
static PyType_Slot layout_slots[] = {
    {Py_tp_new, layout_new},
    {Py_tp_dealloc, layout_dealloc},
    {Py_tp_members, layout_members},
    {Py_tp_getset, layout_getset},
    {Py_tp_doc, "Layout(name, names, leaves, bytes): the leaves of a record class."},
    {0, NULL},
};
PyType_Spec pys_layout_spec = {
    .name = "pmemstore._native._slots.Layout",
    .basicsize = sizeof(struct pys_layout),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = layout_slots,
};

/* ---- Field ---- */

static PyObject *or_null(PyObject *obj) { return obj == Py_None ? NULL : pys_ref(obj); }

static PyObject *field_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    PyObject *name, *layout, *encode, *decode, *inner;
    unsigned int first, count;
    struct pys_field *self;
    (void)kwargs;
    if (!PyArg_ParseTuple(args, "UO!IIOOO:Field", &name, pys.layout_type, &layout, &first,
                          &count, &encode, &decode, &inner))
        return NULL;
    if ((uint64_t)first + count > ((struct pys_layout *)layout)->shape->count) {
        PyErr_SetString(PyExc_ValueError, "Field(): leaves that the layout does not have");
        return NULL;
    }
    if (inner != Py_None) {
        struct pys_layout *inside = pys_layout_of(inner);
        uint32_t leaves = inside != NULL ? inside->shape->count : 0;
        if (inside == NULL)
            return NULL;
        Py_DECREF((PyObject *)inside);
        if (leaves != count) {
            PyErr_SetString(PyExc_ValueError, "Field(): not the leaves of the inner class");
            return NULL;
        }
    } else if (count == 0) {
        PyErr_SetString(PyExc_ValueError, "Field(): no leaves");
        return NULL;
    }
    self = (struct pys_field *)PyType_GenericAlloc(type, 0);
    if (self == NULL)
        return NULL;
    self->name = pys_ref(name);
    self->layout = (struct pys_layout *)pys_ref(layout);
    self->first = first;
    self->count = count;
    self->encode = or_null(encode);
    self->decode = or_null(decode);
    self->inner = or_null(inner);
    return (PyObject *)self;
}

static int field_traverse(PyObject *obj, visitproc visit, void *arg)
{
    struct pys_field *self = (struct pys_field *)obj;
    Py_VISIT(Py_TYPE(obj));
    Py_VISIT(self->encode);
    Py_VISIT(self->decode);
    Py_VISIT(self->inner);
    return 0;
}

static int field_clear(PyObject *obj)
{
    struct pys_field *self = (struct pys_field *)obj;
    Py_CLEAR(self->encode);
    Py_CLEAR(self->decode);
    Py_CLEAR(self->inner);
    return 0;
}

static void field_dealloc(PyObject *obj)
{
    struct pys_field *self = (struct pys_field *)obj;
    PyTypeObject *type = Py_TYPE(obj);
    PyObject_GC_UnTrack(obj);
    field_clear(obj);
    Py_CLEAR(self->name);
    Py_CLEAR(self->layout);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(obj);
    Py_DECREF(type);
}

static struct pys_record *record_of(struct pys_field *self, PyObject *obj)
{
    struct pys_record *record = (struct pys_record *)obj;
    if (PyObject_TypeCheck(obj, pys.record_base) && record->layout == self->layout)
        return record;
    PyErr_Format(PyExc_TypeError, "descriptor %R of %U cannot be used with %R", self->name,
                 self->layout->name, (PyObject *)Py_TYPE(obj));
    return NULL;
}

static PyObject *field_get(PyObject *obj, PyObject *instance, PyObject *owner)
{
    struct pys_field *self = (struct pys_field *)obj;
    struct pys_record *record, *root;
    PyObject *leaves, *value;
    (void)owner;
    if (instance == NULL)
        return pys_ref(obj);
    record = record_of(self, instance);
    if (record == NULL)
        return NULL;
    root = pys_root_of(record);
    if (self->inner != NULL)
        return pys_record_view(root, self->inner, record->first + self->first);
    if (self->decode == NULL)
        return pys_record_read_one(root, record->first + self->first);
    leaves = pys_record_read(root, record->first + self->first, self->count);
    if (leaves == NULL)
        return NULL;
    value = PyObject_CallFunctionObjArgs(self->decode, leaves, NULL);
    Py_DECREF(leaves);
    return value;
}

/* The leaves of a value, as a tuple. */
static PyObject *leaves_of(struct pys_field *self, PyObject *value)
{
    PyObject *leaves;
    if (self->inner != NULL) {
        struct pys_record *record = (struct pys_record *)value;
        if (!PyObject_TypeCheck(value, pys.record_base) ||
            (PyObject *)Py_TYPE(value) != self->inner) {
            PyErr_Format(PyExc_TypeError, "%U.%U: %R is a value of %R; the field takes %R",
                         self->layout->name, self->name, value, (PyObject *)Py_TYPE(value),
                         self->inner);
            return NULL;
        }
        return pys_record_read(pys_root_of(record), record->first, self->count);
    }
    if (self->encode == NULL)
        return PyTuple_Pack(1, value);
    leaves = PyObject_CallFunctionObjArgs(self->encode, value, NULL);
    if (leaves != NULL &&
        (!PyTuple_Check(leaves) || PyTuple_Size(leaves) != (Py_ssize_t)self->count)) {
        PyErr_SetString(PyExc_TypeError, "encode() must return a tuple of the leaves");
        Py_CLEAR(leaves);
    }
    return leaves;
}

static int field_set(PyObject *obj, PyObject *instance, PyObject *value)
{
    struct pys_field *self = (struct pys_field *)obj;
    struct pys_record *record = record_of(self, instance);
    PyObject *leaves, **objects;
    int status = -1;
    if (record == NULL)
        return -1;
    if (value == NULL) {
        PyErr_Format(PyExc_AttributeError, "%U.%U: a field cannot be deleted",
                     self->layout->name, self->name);
        return -1;
    }
    if (self->inner == NULL && self->encode == NULL)
        return pys_record_write(pys_root_of(record), record->first + self->first, 1, &value);
    leaves = leaves_of(self, value);
    if (leaves == NULL)
        return -1;
    objects = PyMem_Calloc(self->count, sizeof *objects);
    if (objects == NULL)
        PyErr_NoMemory();
    for (uint32_t i = 0; objects != NULL && i < self->count; i++)
        objects[i] = PyTuple_GetItem(leaves, (Py_ssize_t)i);
    if (objects != NULL)
        status = pys_record_write(pys_root_of(record), record->first + self->first, self->count,
                                  objects);
    PyMem_Free(objects);
    Py_DECREF(leaves);
    return status;
}

static PyObject *field_encode(PyObject *obj, PyObject *value)
{
    return leaves_of((struct pys_field *)obj, value);
}

static PyMethodDef field_methods[] = {
    {"leaves", field_encode, METH_O, "leaves(value): the leaves of a value, as a tuple."},
    {NULL, NULL, 0, NULL},
};
static PyMemberDef field_members[] = {
    {"name", T_OBJECT, offsetof(struct pys_field, name), READONLY, "Name of the field."},
    {"first", T_UINT, offsetof(struct pys_field, first), READONLY, "Its first leaf."},
    {"count", T_UINT, offsetof(struct pys_field, count), READONLY, "How many leaves it has."},
    {NULL, 0, 0, 0, NULL},
};
static PyType_Slot field_slots[] = {
    {Py_tp_new, field_new},
    {Py_tp_dealloc, field_dealloc},
    {Py_tp_traverse, field_traverse},
    {Py_tp_clear, field_clear},
    {Py_tp_methods, field_methods},
    {Py_tp_members, field_members},
    {Py_tp_descr_get, field_get},
    {Py_tp_descr_set, field_set},
    {Py_tp_doc,
     "Field(name, layout, first, count, encode, decode, inner): a field's descriptor."},
    {0, NULL},
};
PyType_Spec pys_field_spec = {
    .name = "pmemstore._native._slots.Field",
    .basicsize = sizeof(struct pys_field),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = field_slots,
};
