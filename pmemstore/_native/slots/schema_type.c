/* schema_type.c -- SchemaBase: the proxy of a schema, and what binds it to a record class.
 *
 * The proxy holds a handle, so the schema is not torn down, and its offset means the same, as long
 * as the proxy lives and the handle is LIVE.  It is never changed: it is read once.
 */
#include <stdlib.h>

#include "records.h"

struct pys_schema *pys_schema_of(struct pys_pool *owner, struct pms_handle *record)
{
    struct pms_pool *pool = record->pool;
    struct pys_taken taken = {0};
    struct pys_schema *schema;
    PyObject *result;
    int status = pys_enter_read(pool, record);
    if (status == PMS_OK) {
        struct pms_val val = {.tag = PMS_TAG_SCHEMA,
                              .num = pms_record_schema(pool, record->off)};
        status = pms_object_check(pool, val.num, PMS_TAG_SCHEMA);
        if (status == PMS_OK)
            status = pys_take(pool, &val, &taken);
        status = pys_leave_read(pool, status);
    }
    if (status != PMS_OK) {
        pys_raise(owner, status);
        pys_taken_drop(&taken);
        return NULL;
    }
    schema = (struct pys_schema *)pys_give(owner, &taken);
    if (schema == NULL || schema->layout != NULL)
        return schema;
    result = PyObject_CallFunctionObjArgs(pys.record_bind, (PyObject *)schema, NULL);
    Py_XDECREF(result);
    if (result != NULL && schema->layout == NULL)
        PyErr_SetString(PyExc_SystemError, "the hook did not bind a schema");
    if (PyErr_Occurred())
        Py_CLEAR(schema);
    return schema;
}

/* ---- reading ---- */

static PyObject *leaves_tuple(const struct pms_shape *shape)
{
    PyObject *leaves = PyTuple_New((Py_ssize_t)shape->count);
    for (uint32_t i = 0; leaves != NULL && i < shape->count; i++) {
        const struct pms_field_pm *f = &shape->field[i];
        PyObject *leaf = Py_BuildValue("(IIIII)", (unsigned)f->kind, (unsigned)f->off,
                                       (unsigned)f->bit, (unsigned)f->count, (unsigned)f->size);
        if (leaf == NULL || PyTuple_SetItem(leaves, (Py_ssize_t)i, leaf) < 0)
            Py_CLEAR(leaves);
    }
    return leaves;
}

/* _load() -> (bytes, fingerprint, leaves, packed, text): packed bytes, or the object itself */
static PyObject *schema_load(PyObject *obj, PyObject *unused)
{
    struct pys_schema *self = (struct pys_schema *)obj;
    struct pms_pool *pool = pys_core(&self->base);
    struct pys_taken taken = {0};
    struct pms_shape *shape = NULL;
    struct pms_val val;
    PyObject *text, *leaves;
    int status = pys_enter_read(pool, self->base.handle), packed;
    (void)unused;
    if (status == PMS_OK) {
        status = pms_shape_read(pool, self->base.handle->off, &shape);
        if (status == PMS_OK)
            status = pms_cell_read(pool, PMS_SCHEMA_TEXT(self->base.handle->off), &val);
        if (status == PMS_OK)
            status = pys_take(pool, &val, &taken);
        status = pys_leave_read(pool, status);
    }
    if (status != PMS_OK) {
        free(shape);
        pys_raise(self->base.owner, status);
        pys_taken_drop(&taken);
        return NULL;
    }
    if (self->shape == NULL)
        self->shape = shape;
    else
        free(shape);
    packed = taken.handle == NULL && taken.tag == PMS_TAG_PACKED;
    text = packed ? taken.obj : pys_give(self->base.owner, &taken);
    leaves = text != NULL ? leaves_tuple(self->shape) : NULL;
    if (leaves == NULL) {
        Py_XDECREF(text);
        return NULL;
    }
    return Py_BuildValue("(KKNNN)", (unsigned long long)self->shape->bytes,
                         (unsigned long long)self->shape->fingerprint, leaves,
                         PyBool_FromLong(packed), text);
}

static int same_shape(const struct pms_shape *a, const struct pms_shape *b)
{
    return a->count == b->count && a->bytes == b->bytes &&
           memcmp(a->field, b->field, a->count * sizeof a->field[0]) == 0;
}

/* ---- binding ---- */

static void unbind(struct pys_schema *self)
{
    PyObject *type = self->type, *fallback = self->fallback;
    struct pys_layout *layout = self->layout;
    free(self->from);
    self->from = NULL;
    self->type = self->fallback = NULL;
    self->layout = NULL;
    Py_XDECREF(type);
    Py_XDECREF(fallback);
    Py_XDECREF((PyObject *)layout);
}

/* Where each leaf of the layout lies.  NULL: raised. */
static int32_t *read_from(const struct pys_schema *self, const struct pys_layout *layout,
                          PyObject *list)
{
    uint32_t count = layout->shape->count;
    int32_t *from = calloc(count + 1, sizeof *from);
    if (from == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    for (uint32_t i = 0; i < count; i++) {
        long place = PyLong_AsLong(PyTuple_GetItem(list, (Py_ssize_t)i));
        if (PyErr_Occurred() || place >= (long)self->shape->count) {
            if (!PyErr_Occurred())
                PyErr_SetString(PyExc_ValueError,
                                "_bind(): a leaf that the schema does not have");
            free(from);
            return NULL;
        }
        from[i] = place < 0 ? -1 : (int32_t)place;
    }
    return from;
}

/* _bind(type, from, fallback): records of this schema are instances of type.  from is None: the
 * layouts are equal. */
static PyObject *schema_bind(PyObject *obj, PyObject *args)
{
    struct pys_schema *self = (struct pys_schema *)obj;
    PyObject *type, *list, *fallback, *found;
    struct pys_layout *layout;
    const struct pms_shape *a, *b;
    int32_t *from = NULL;
    if (!PyArg_ParseTuple(args, "O!OO!:_bind", &PyType_Type, &type, &list, &PyTuple_Type,
                          &fallback))
        return NULL;
    found = PyObject_GetAttrString(type, "_layout");
    if (found == NULL)
        return NULL;
    layout = (struct pys_layout *)found;
    if (Py_TYPE(found) != pys.layout_type || self->shape == NULL ||
        !PyType_IsSubtype((PyTypeObject *)type, pys.record_base)) {
        PyErr_SetString(PyExc_TypeError,
                        "_bind(): no record class, or a schema that was not read");
        goto failed;
    }
    a = self->shape;
    b = layout->shape;
    if (list == Py_None) {
        if (!same_shape(a, b)) {
            PyErr_SetString(PyExc_ValueError, "_bind(): the layouts differ");
            goto failed;
        }
    } else if (!PyTuple_Check(list) || PyTuple_Size(list) != (Py_ssize_t)b->count ||
               PyTuple_Size(fallback) != (Py_ssize_t)b->count) {
        PyErr_SetString(PyExc_ValueError, "_bind(): one item for each leaf");
        goto failed;
    } else if ((from = read_from(self, layout, list)) == NULL) {
        goto failed;
    }
    unbind(self);
    self->from = from;
    self->type = pys_ref(type);
    self->fallback = pys_ref(fallback);
    self->layout = layout;
    Py_RETURN_NONE;
failed:
    Py_DECREF(found);
    return NULL;
}

static PyObject *schema_unbind(PyObject *obj, PyObject *unused)
{
    (void)unused;
    unbind((struct pys_schema *)obj);
    Py_RETURN_NONE;
}

/* ---- the type ---- */

static int schema_traverse(PyObject *obj, visitproc visit, void *arg)
{
    struct pys_schema *self = (struct pys_schema *)obj;
    Py_VISIT(self->type);
    Py_VISIT(self->fallback);
    return pys_proxy_traverse(obj, visit, arg);
}

static void schema_dealloc(PyObject *obj)
{
    struct pys_schema *self = (struct pys_schema *)obj;
    PyObject_GC_UnTrack(obj);
    unbind(self);
    free(self->shape);
    self->shape = NULL;
    pys_proxy_dealloc(obj);
}

static PyObject *schema_live(PyObject *obj, void *closure)
{
    struct pys_schema *self = (struct pys_schema *)obj;
    (void)closure;
    return PyBool_FromLong(self->base.handle->state == PMS_HANDLE_LIVE);
}

static PyObject *schema_outdated(PyObject *obj, void *closure)
{
    (void)closure;
    return PyBool_FromLong(((struct pys_schema *)obj)->from != NULL);
}

static PyMethodDef schema_methods[] = {
    {"_load", schema_load, METH_NOARGS, "Read it: (bytes, fingerprint, leaves, packed, text)."},
    {"_bind", schema_bind, METH_VARARGS,
     "_bind(type, from, fallback): the class of its records."},
    {"_unbind", schema_unbind, METH_NOARGS, "Forget the class."},
    {NULL, NULL, 0, NULL},
};
static PyGetSetDef schema_getset[] = {
    {"_live", schema_live, NULL, "False: it was rolled back.", NULL},
    {"_outdated", schema_outdated, NULL, "Whether the class has another layout.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};
static PyMemberDef schema_members[] = {
    {"_type", T_OBJECT, offsetof(struct pys_schema, type), READONLY,
     "Class of its records; None: not bound."},
    {"_fallback", T_OBJECT, offsetof(struct pys_schema, fallback), READONLY,
     "What the leaves are that it lacks; Ellipsis: made anew each time."},
    {NULL, 0, 0, 0, NULL},
};
static PyType_Slot schema_slots[] = {
    {Py_tp_dealloc, schema_dealloc},
    {Py_tp_traverse, schema_traverse},
    {Py_tp_methods, schema_methods},
    {Py_tp_members, schema_members},
    {Py_tp_getset, schema_getset},
    {Py_tp_doc, "Base of Schema: what the records of a class look like in a pool."},
    {0, NULL},
};
PyType_Spec pys_schema_spec = {
    .name = "pmemstore._native._slots.SchemaBase",
    .basicsize = sizeof(struct pys_schema),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC |
             Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = schema_slots,
};

/* ---- methods of PoolBase ---- */

/* Pool entered for writing: an object that was just made becomes an orphan with a handle. */
static int keep_new(struct pms_pool *pool, uint64_t off, uint32_t tag, struct pms_handle **out)
{
    PMS_TRY(pms_object_orphan(pool, off));
    *out = pms_handle_get(pool, off, tag);
    return *out != NULL ? PMS_OK : PMS_FAIL(PMS_E_NOMEM, "making a handle", off, 0, 0);
}

static PyObject *proxy_or_raise(struct pys_pool *owner, struct pms_handle *handle, int status)
{
    if (status == PMS_OK)
        return pys_proxy_of(owner, handle);
    pys_raise(owner, status);
    if (handle != NULL)
        pys_handle_put(handle);
    return NULL;
}

static struct pms_pool *open_pool(struct pys_pool *self)
{
    if (self->pool == NULL)
        pys_raise(self, PMS_FAIL(PMS_E_CLOSED, "using a pool", 0, 0, 0));
    return self->pool;
}

PyObject *pys_pool_new_schema(PyObject *obj, PyObject *args)
{
    struct pys_pool *self = (struct pys_pool *)obj;
    struct pms_handle *handle = NULL;
    struct pms_pool *pool;
    struct pms_val text = {.tag = PMS_TAG_PACKED};
    PyObject *layout;
    const char *data;
    Py_ssize_t len;
    unsigned long long fingerprint;
    uint64_t off = 0;
    int status;
    if (!PyArg_ParseTuple(args, "O!Ky#:_new_schema", pys.layout_type, &layout, &fingerprint,
                          &data, &len) ||
        (pool = open_pool(self)) == NULL)
        return NULL;
    text.data = data;
    text.len = (uint64_t)len;
    ((struct pys_layout *)layout)->shape->fingerprint = fingerprint;
    status = pys_enter_write(pool, NULL);
    if (status == PMS_OK) {
        status = pms_schema_create(pool, ((struct pys_layout *)layout)->shape, &text, &off);
        if (status == PMS_OK)
            status = keep_new(pool, off, PMS_TAG_SCHEMA, &handle);
        status = pys_leave_write(pool, status);
    }
    return proxy_or_raise(self, handle, status);
}

PyObject *pys_pool_new_record(PyObject *obj, PyObject *arg)
{
    struct pys_pool *self = (struct pys_pool *)obj;
    struct pys_schema *schema = (struct pys_schema *)arg;
    struct pms_handle *handle = NULL;
    struct pms_pool *pool = open_pool(self);
    uint64_t off = 0;
    int status;
    if (pool == NULL)
        return NULL;
    if (!PyObject_TypeCheck(arg, pys.schema_base) || schema->shape == NULL ||
        schema->base.handle->pool != pool) {
        PyErr_SetString(PyExc_TypeError, "_new_record() takes a schema of this pool");
        return NULL;
    }
    status = pys_enter_write(pool, schema->base.handle);
    if (status == PMS_OK) {
        status = pms_record_create(pool, schema->base.handle->off, schema->shape, &off);
        if (status == PMS_OK)
            status = keep_new(pool, off, PMS_TAG_RECORD, &handle);
        status = pys_leave_write(pool, status);
    }
    return proxy_or_raise(self, handle, status);
}

PyObject *pys_pool_schemas(PyObject *obj, PyObject *arg)
{
    struct pys_pool *self = (struct pys_pool *)obj;
    struct pms_handle *handle = NULL;
    struct pms_pool *pool = open_pool(self);
    uint64_t off = 0;
    int status, make = PyObject_IsTrue(arg);
    if (pool == NULL || make < 0)
        return NULL;
    status = make ? pys_enter_write(pool, NULL) : pys_enter_read(pool, NULL);
    if (status == PMS_OK) {
        status = pms_schema_dict(pool, make, &off);
        if (status == PMS_OK && off != 0 &&
            (handle = pms_handle_get(pool, off, PMS_TAG_DICT)) == NULL)
            status = PMS_FAIL(PMS_E_NOMEM, "making a handle", off, 0, 0);
        status = make ? pys_leave_write(pool, status) : pys_leave_read(pool, status);
    }
    if (status == PMS_OK && handle == NULL)
        Py_RETURN_NONE;
    return proxy_or_raise(self, handle, status);
}

/* Pool entered: of these ways to write a schema, (class, layout, fingerprint, text), the first that
 * gives what is stored, to the last byte: its class (borrowed).  Py_None: none. */
static PyObject *first_same(const struct pms_shape *shape, const struct pms_val *text,
                            PyObject *ways)
{
    for (Py_ssize_t i = 0; i < PyTuple_Size(ways); i++) {
        PyObject *way = PyTuple_GetItem(ways, i), *bytes = PyTuple_GetItem(way, 3);
        const struct pys_layout *layout = (struct pys_layout *)PyTuple_GetItem(way, 1);
        if (shape->fingerprint == PyLong_AsUnsignedLongLong(PyTuple_GetItem(way, 2)) &&
            text->tag == PMS_TAG_PACKED && text->len == (uint64_t)PyBytes_Size(bytes) &&
            memcmp(text->data, PyBytes_AsString(bytes), text->len) == 0 &&
            same_shape(shape, layout->shape))
            return PyTuple_GetItem(way, 0);
    }
    return Py_None;
}

/* Pool entered.  PMS_MISSING: there is no schema of this name. */
static int find_written(struct pms_pool *pool, const struct pms_key *name, PyObject *ways,
                        struct pys_taken *taken, struct pms_shape **shape, PyObject **cls)
{
    struct pms_val val, text;
    uint64_t dict = 0;
    PMS_TRY(pms_schema_dict(pool, 0, &dict));
    if (dict == 0)
        return PMS_MISSING;
    PMS_TRY(pms_dict_get(pool, dict, name, &val));
    if (val.tag != PMS_TAG_SCHEMA)
        return PMS_FAIL(PMS_E_CORRUPT, "the dict of schemas has a value that is none", dict,
                        PMS_TAG_SCHEMA, val.tag);
    PMS_TRY(pys_take(pool, &val, taken));
    PMS_TRY(pms_shape_read(pool, val.num, shape));
    PMS_TRY(pms_cell_read(pool, PMS_SCHEMA_TEXT(val.num), &text));
    *cls = first_same(*shape, &text, ways);
    return PMS_OK;
}

/* Append (name, schema, class or None) if there is a schema of this name.  -1: raised. */
static int add_written(struct pys_pool *self, PyObject *name, PyObject *ways, PyObject *list)
{
    struct pms_pool *pool = open_pool(self);
    struct pys_taken taken = {0};
    struct pms_shape *shape = NULL;
    struct pys_schema *schema;
    struct pys_key key;
    PyObject *cls = NULL, *found;
    if (pool == NULL || pys_key_read(name, &key) < 0)
        return -1;
    int status = pys_enter_read(pool, NULL), failed;
    if (status == PMS_OK) {
        status = find_written(pool, &key.key, ways, &taken, &shape, &cls);
        status = pys_leave_read(pool, status);
    }
    pys_key_done(&key);
    if (status == PMS_MISSING)
        return 0;
    if (status != PMS_OK) {
        free(shape);
        pys_raise(self, status);
        pys_taken_drop(&taken);
        return -1;
    }
    schema = (struct pys_schema *)pys_give(self, &taken);
    if (schema == NULL || cls == Py_None || schema->shape != NULL)
        free(shape);
    else
        schema->shape = shape;
    found = schema == NULL ? NULL : PyTuple_Pack(3, name, (PyObject *)schema, cls);
    failed = found == NULL || PyList_Append(list, found) < 0;
    Py_XDECREF(found);
    Py_XDECREF((PyObject *)schema);
    return failed ? -1 : 0;
}

PyObject *pys_pool_written(PyObject *obj, PyObject *names)
{
    /* Of their own: other threads may declare classes while this one waits for the pool. */
    PyObject *items = PyDict_Items(names), *list = items == NULL ? NULL : PyList_New(0);
    for (Py_ssize_t i = 0; list != NULL && i < PyList_Size(items); i++) {
        PyObject *item = PyList_GetItem(items, i);
        if (add_written((struct pys_pool *)obj, PyTuple_GetItem(item, 0),
                        PyTuple_GetItem(item, 1), list) < 0)
            Py_CLEAR(list);
    }
    Py_XDECREF(items);
    return list;
}
