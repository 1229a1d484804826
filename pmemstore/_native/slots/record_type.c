/* record_type.c -- RecordBase: instances of record classes, in memory, in a pool, or inline.
 *
 * Every read and write of fields is one look at the pool, or one unit of work, however many leaves
 * it has.  Whether the record still has the schema that we know is asked there too:
 *
 *   PYS_REBIND     it has another one: look which, and try again
 *   PYS_OUTDATED   it has an old one, and is to be changed: the hook rewrites it, try again
 *   Ellipsis       a fallback that is made anew each time: the hook makes it, see pys_records_hooks
 */
#include "records.h"

#define FEW 8
#define TRIES 16

struct item { /* a leaf on its way out */
    struct pys_taken taken;
    const struct pms_field_pm *field; /* NULL: a fallback */
};

struct pys_layout *pys_layout_of(PyObject *type)
{
    PyObject *layout = PyObject_GetAttrString(type, "_layout");
    if (layout != NULL && Py_TYPE(layout) != pys.layout_type) {
        PyErr_Format(PyExc_TypeError, "%R is no record class", type);
        Py_CLEAR(layout);
    }
    return (struct pys_layout *)layout;
}

static int rebind(struct pys_record *root)
{
    struct pys_schema *old, *schema = pys_schema_of(root->base.owner, root->base.handle);
    if (schema == NULL)
        return -1;
    if (schema->layout != root->layout) {
        PyErr_Format(PyExc_TypeError,
                     "record class %U has been declared anew since this record was looked at; "
                     "take it from its container again",
                     root->layout->name);
        Py_DECREF(schema);
        return -1;
    }
    old = root->schema;
    root->schema = schema;
    Py_XDECREF((PyObject *)old);
    return 0;
}

int pys_record_bound(const struct pys_record *record)
{
    return record->schema->layout == record->layout;
}

/* ---- reading ---- */

static PyObject *read_value(const struct pys_record *root, uint32_t leaf)
{
    PyObject *value = root->values[leaf];
    if (value != NULL)
        return pys_ref(value);
    PyErr_Format(PyExc_AttributeError, "%U.%U has no value yet", root->layout->name,
                 PyTuple_GetItem(root->layout->names, (Py_ssize_t)leaf));
    return NULL;
}

static PyObject *read_values(const struct pys_record *root, uint32_t first, uint32_t count)
{
    PyObject *leaves = PyTuple_New((Py_ssize_t)count);
    for (uint32_t i = 0; leaves != NULL && i < count; i++) {
        PyObject *value = read_value(root, first + i);
        if (value == NULL || PyTuple_SetItem(leaves, (Py_ssize_t)i, value) < 0)
            Py_CLEAR(leaves);
    }
    return leaves;
}

/* A status. */
static int take_items(struct pys_record *root, struct pys_schema *schema, uint32_t first,
                      uint32_t count, struct item *item)
{
    const struct pms_handle *handle = root->base.handle;
    struct pms_pool *pool = handle->pool;
    struct pms_val val;
    int status = pys_enter_read(pool, handle);
    if (status != PMS_OK)
        return status;
    if (!pys_schema_is(pool, schema, handle->off) || schema->layout != root->layout)
        status = PYS_REBIND;
    for (uint32_t i = 0; i < count && status == PMS_OK; i++) {
        int32_t from = schema->from != NULL ? schema->from[first + i] : (int32_t)(first + i);
        if (from < 0) {
            PyObject *value = PyTuple_GetItem(schema->fallback, (Py_ssize_t)(first + i));
            item[i].taken.obj = pys_ref(value);
            continue;
        }
        item[i].field = &schema->shape->field[from];
        status = pms_record_get(pool, handle->off, schema->shape, (uint32_t)from, &val);
        if (status == PMS_OK)
            status = pys_leaf_take(pool, item[i].field, &val, &item[i].taken);
    }
    return pys_leave_read(pool, status);
}

/* A leaf that was taken.  *fresh: what the hook gave, or NULL; to be dropped.  NULL without an
 * exception: made anew, try again. */
static PyObject *give_item(struct pys_record *root, uint32_t leaf, struct item *item,
                           PyObject **fresh)
{
    PyObject *value = NULL;
    if (item->field != NULL)
        return pys_leaf_give(root->base.owner, item->field, &item->taken);
    if (item->taken.obj != Py_Ellipsis) {
        value = item->taken.obj;
        item->taken.obj = NULL;
        return value;
    }
    if (*fresh == NULL)
        *fresh = PyObject_CallFunctionObjArgs(pys.record_fresh, (PyObject *)root, NULL);
    if (*fresh != NULL && PyTuple_Check(*fresh) && PyTuple_Size(*fresh) > (Py_ssize_t)leaf)
        value = pys_ref(PyTuple_GetItem(*fresh, (Py_ssize_t)leaf));
    return value;
}

/* All that were taken, as a tuple; or the one of them. */
static PyObject *give_items(struct pys_record *root, uint32_t first, uint32_t count,
                            struct item *item, int as_tuple)
{
    PyObject *fresh = NULL, *leaves;
    if (!as_tuple) {
        leaves = give_item(root, first, item, &fresh);
        Py_XDECREF(fresh);
        return leaves;
    }
    leaves = PyTuple_New((Py_ssize_t)count);
    for (uint32_t i = 0; leaves != NULL && i < count; i++) {
        PyObject *value = give_item(root, first + i, &item[i], &fresh);
        if (value == NULL || PyTuple_SetItem(leaves, (Py_ssize_t)i, value) < 0)
            Py_CLEAR(leaves);
    }
    Py_XDECREF(fresh);
    return leaves;
}

static PyObject *read_leaves(struct pys_record *root, uint32_t first, uint32_t count,
                             int as_tuple)
{
    struct item few[FEW], *item = few;
    PyObject *leaves = NULL;
    int status = PYS_REBIND;
    if (root->values != NULL)
        return as_tuple ? read_values(root, first, count) : read_value(root, first);
    if (root->base.handle == NULL) {
        PyErr_SetString(PyExc_TypeError, "a record that was not made by its class");
        return NULL;
    }
    if (count > FEW && (item = PyMem_Calloc(count, sizeof *item)) == NULL)
        return PyErr_NoMemory();
    for (int i = 0; i < TRIES && leaves == NULL && !PyErr_Occurred(); i++) {
        struct pys_schema *schema = (struct pys_schema *)pys_ref(root->schema);
        memset(item, 0, count * sizeof *item);
        status = take_items(root, schema, first, count, item);
        if (PMS_LIKELY(status == PMS_OK))
            leaves = give_items(root, first, count, item, as_tuple);
        for (uint32_t k = 0; k < count; k++)
            pys_taken_drop(&item[k].taken);
        Py_DECREF(schema);
        if (status != PMS_OK && (status != PYS_REBIND || rebind(root) < 0))
            break;
    }
    if (leaves == NULL && (status == PYS_REBIND || status == PMS_OK)) {
        if (!PyErr_Occurred())
            PyErr_SetString(PyExc_RuntimeError, "a record changes its schema all the time");
    } else if (leaves == NULL) {
        pys_raise(root->base.owner, status);
    }
    if (item != few)
        PyMem_Free(item);
    return leaves;
}

PyObject *pys_record_read(struct pys_record *root, uint32_t first, uint32_t count)
{
    return read_leaves(root, first, count, 1);
}

PyObject *pys_record_read_one(struct pys_record *root, uint32_t leaf)
{
    return read_leaves(root, leaf, 1, 0);
}

/* ---- writing ---- */

static int write_values(struct pys_record *root, uint32_t first, uint32_t count,
                        PyObject *const *objects)
{
    PyObject *few[FEW], **same = few, *old;
    uint32_t done = 0;
    if (count > FEW && (same = PyMem_Calloc(count, sizeof *same)) == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    for (; done < count; done++) {
        uint32_t leaf = first + done;
        same[done] = root->layout->shape->field[leaf].kind == PMS_FIELD_CELL
                         ? pys_ref(objects[done])
                         : pys_leaf_same(root->layout, leaf, objects[done]);
        if (same[done] == NULL)
            break;
    }
    for (uint32_t i = 0; i < done; i++) {
        old = same[i];
        if (done == count) {
            old = root->values[first + i];
            root->values[first + i] = same[i];
        }
        Py_XDECREF(old);
    }
    if (same != few)
        PyMem_Free(same);
    return done == count ? 0 : -1;
}

/* What a write needs: converted leaves, and the transaction in which some were built. */
struct write {
    struct pys_record *root;
    uint32_t count;
    int in_level;
    struct pys_level level;
    struct pys_value *value;
    PyObject **local; /* of those that have to be built */
    struct pys_value few[FEW];
    PyObject *few_local[FEW];
};

static int write_begin(struct write *w, struct pys_record *root, uint32_t count)
{
    memset(w, 0, sizeof *w);
    w->root = root;
    w->count = count;
    w->value = w->few;
    w->local = w->few_local;
    if (count > FEW) {
        w->value = PyMem_Calloc(count, sizeof *w->value);
        w->local = PyMem_Calloc(count, sizeof *w->local);
        if (w->value == NULL || w->local == NULL) {
            PyErr_NoMemory();
            return -1;
        }
    }
    return 0;
}

static void write_end(struct write *w)
{
    for (uint32_t i = 0; i < w->count && w->value != NULL && w->local != NULL; i++) {
        pys_value_done(&w->value[i]);
        Py_CLEAR(w->local[i]);
    }
    if (w->value != w->few)
        PyMem_Free(w->value);
    if (w->local != w->few_local)
        PyMem_Free(w->local);
}

/* A refusal is raised: let it tell the field. */
static void locate_leaf(struct pys_record *root, uint32_t leaf)
{
    PyObject *kind, *error, *trace, *place;
    PyErr_Fetch(&kind, &error, &trace);
    place = PyLong_FromUnsignedLong(leaf);
    PyErr_Restore(kind, error, trace);
    if (place != NULL)
        pys_locate(&root->base, place);
    Py_XDECREF(place);
}

/* Convert; objects that are Ellipsis are left out.  -1: raised. */
static int write_convert(struct write *w, uint32_t first, PyObject *const *objects, int moved)
{
    struct pys_pool *owner = w->root->base.owner;
    const struct pys_layout *layout = w->root->layout;
    int build = 0, status = 0;
    for (uint32_t i = 0; i < w->count && status == 0; i++) {
        if (moved && objects[i] == Py_Ellipsis)
            continue;
        if (layout->shape->field[first + i].kind != PMS_FIELD_CELL) {
            status = pys_leaf_read(layout, first + i, objects[i], &w->value[i]);
            continue;
        }
        status = pys_value_read(owner, objects[i], &w->value[i]);
        if (status == 1) {
            w->local[i] = pys_value_local(objects[i]);
            status = w->local[i] == NULL ? -1 : 0;
            build = 1;
        } else if (status < 0) {
            locate_leaf(w->root, first + i);
        }
    }
    if (status < 0 || !build)
        return status;
    status = pys_level_begin(owner, &w->level, pys_core(&w->root->base)->timeout_ns);
    if (status != PMS_OK)
        return pys_raise(owner, status);
    w->in_level = 1;
    for (uint32_t i = 0; i < w->count && status == 0; i++)
        if (w->local[i] != NULL &&
            (status = pys_value_build(owner, w->local[i], &w->value[i])) < 0)
            locate_leaf(w->root, first + i);
    return status;
}

/* End the transaction, if one was begun.  Takes and returns a status. */
static int write_settle(struct write *w, int status)
{
    struct pys_pool *owner = w->root->base.owner;
    if (!w->in_level)
        return status;
    if (status == PMS_OK)
        return pys_level_finish(owner, &w->level) < 0 ? PYS_RAISED : PMS_OK;
    if (status > PMS_OK)
        status = pys_raise(owner, status);
    pys_level_abort(owner, &w->level);
    return status;
}

/* A status. */
static int write_once(struct pys_record *root, uint32_t first, uint32_t count,
                      PyObject *const *objects)
{
    const struct pms_handle *handle = root->base.handle;
    struct pms_pool *pool = handle->pool;
    struct pys_schema *schema = (struct pys_schema *)pys_ref(root->schema);
    struct write w;
    int status = PYS_RAISED;
    if (write_begin(&w, root, count) == 0 && write_convert(&w, first, objects, 0) == 0)
        status = pys_enter_write(pool, handle);
    if (status == PMS_OK) {
        if (!pys_schema_is(pool, schema, handle->off) || schema->layout != root->layout)
            status = PYS_REBIND;
        else if (schema->from != NULL)
            status = PYS_OUTDATED;
        for (uint32_t i = 0; i < count && status == PMS_OK; i++) {
            status = pys_value_check(&w.value[i]);
            if (status == PMS_OK)
                status = pms_record_set(pool, handle->off, schema->shape, first + i,
                                        &w.value[i].val);
        }
        status = pys_leave_write(pool, status);
    }
    status = write_settle(&w, status);
    write_end(&w);
    Py_DECREF(schema);
    return status;
}

int pys_record_write(struct pys_record *root, uint32_t first, uint32_t count,
                     PyObject *const *objects)
{
    int status = PYS_REBIND;
    if (root->values != NULL)
        return write_values(root, first, count, objects);
    if (root->base.handle == NULL) {
        PyErr_SetString(PyExc_TypeError, "a record that was not made by its class");
        return -1;
    }
    for (int i = 0; i < TRIES; i++) {
        PyObject *result;
        status = write_once(root, first, count, objects);
        if (status == PMS_OK)
            return 0;
        if (status == PYS_REBIND) {
            if (rebind(root) < 0)
                return -1;
        } else if (status == PYS_OUTDATED) {
            result = PyObject_CallFunctionObjArgs(pys.record_upgrade, (PyObject *)root, NULL);
            if (result == NULL)
                return -1;
            Py_DECREF(result);
        } else {
            return pys_raise(root->base.owner, status);
        }
    }
    PyErr_SetString(PyExc_RuntimeError, "a record changes its schema all the time");
    return -1;
}

/* ---- another schema ---- */

/* _reshape(schema, leaves): all leaves of the new schema; Ellipsis: as it is now.  False: the
 * record has another schema than we knew, and nothing was done. */
static PyObject *record_reshape(PyObject *obj, PyObject *args)
{
    struct pys_record *root = (struct pys_record *)obj;
    PyObject *target, *leaves, **objects = NULL;
    struct pys_schema *new, *old = root->schema;
    struct pms_pool *pool;
    struct write w;
    int status = PYS_RAISED;
    if (!PyArg_ParseTuple(args, "O!O!:_reshape", pys.schema_base, &target, &PyTuple_Type,
                          &leaves))
        return NULL;
    new = (struct pys_schema *)target;
    if (root->base.handle == NULL || old == NULL || old->from == NULL || new->from != NULL ||
        new->layout != root->layout || old->layout != root->layout ||
        PyTuple_Size(leaves) != (Py_ssize_t)new->shape->count) {
        PyErr_SetString(PyExc_ValueError, "_reshape(): not from an old schema to its new one");
        return NULL;
    }
    pool = pys_core(&root->base);
    pys_ref(old);
    objects = PyMem_Calloc(new->shape->count + 1, sizeof *objects);
    for (uint32_t i = 0; objects != NULL && i < new->shape->count; i++)
        objects[i] = PyTuple_GetItem(leaves, (Py_ssize_t)i);
    if (objects != NULL && write_begin(&w, root, new->shape->count) == 0) {
        struct pms_val *value = PyMem_Calloc(w.count + 1, sizeof *value);
        if (value != NULL && write_convert(&w, 0, objects, 1) == 0)
            status = pys_enter_write(pool, root->base.handle);
        if (status == PMS_OK) {
            if (!pys_schema_is(pool, old, root->base.handle->off))
                status = PYS_REBIND;
            else if (new->base.handle->state != PMS_HANDLE_LIVE)
                status = PMS_FAIL(PMS_E_STALE, "a schema", 0, 0, 0);
            for (uint32_t i = 0; i < w.count && status == PMS_OK; i++) {
                value[i] = w.value[i].val;
                status = pys_value_check(&w.value[i]);
            }
            if (status == PMS_OK)
                status =
                    pms_record_reshape(pool, root->base.handle->off, old->shape,
                                       new->base.handle->off, new->shape, old->from, value);
            status = pys_leave_write(pool, status);
        }
        status = write_settle(&w, status);
        PyMem_Free(value);
        write_end(&w);
    }
    PyMem_Free(objects);
    Py_DECREF(old);
    if (status == PMS_OK || status == PYS_REBIND)
        return PyBool_FromLong(status == PMS_OK);
    if (!PyErr_Occurred() && status == PYS_RAISED)
        return PyErr_NoMemory();
    pys_raise(root->base.owner, status);
    return NULL;
}

/* ---- the type ---- */

PyObject *pys_record_view(struct pys_record *root, PyObject *type, uint32_t first)
{
    struct pys_layout *layout = pys_layout_of(type);
    struct pys_record *view;
    if (layout == NULL)
        return NULL;
    view = (struct pys_record *)PyType_GenericAlloc((PyTypeObject *)type, 0);
    if (view == NULL) {
        Py_DECREF(layout);
        return NULL;
    }
    view->layout = layout;
    view->parent = (struct pys_record *)pys_ref(root);
    view->first = first;
    return (PyObject *)view;
}

PyObject *pys_record_proxy(struct pys_pool *owner, struct pms_handle *handle)
{
    struct pys_schema *schema = pys_schema_of(owner, handle);
    struct pys_record *record = NULL;
    PyObject *obj;
    if (schema != NULL)
        record = (struct pys_record *)PyType_GenericAlloc((PyTypeObject *)schema->type, 0);
    if (record == NULL) {
        Py_XDECREF((PyObject *)schema);
        pys_handle_put(handle);
        return NULL;
    }
    record->base.handle = handle;
    record->base.owner = (struct pys_pool *)pys_ref(owner);
    record->layout = (struct pys_layout *)pys_ref(schema->layout);
    record->schema = schema;
    obj = handle->proxy; /* Python code has run since the caller looked */
    if (obj == NULL || Py_REFCNT(obj) <= 0 ||
        ((struct pys_record *)obj)->layout != record->layout) {
        handle->proxy = record;
        return (PyObject *)record;
    }
    pys_ref(obj);
    Py_DECREF(record); /* puts the share too */
    return obj;
}

static PyObject *record_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    struct pys_layout *layout = pys_layout_of((PyObject *)type);
    struct pys_record *self;
    (void)args;
    (void)kwargs;
    if (layout == NULL)
        return NULL;
    self = (struct pys_record *)PyType_GenericAlloc(type, 0);
    if (self != NULL)
        self->values = PyMem_Calloc(layout->shape->count + 1, sizeof *self->values);
    if (self == NULL || self->values == NULL) {
        Py_DECREF(layout);
        Py_XDECREF((PyObject *)self);
        return PyErr_NoMemory();
    }
    self->layout = layout;
    return (PyObject *)self;
}

static int record_traverse(PyObject *obj, visitproc visit, void *arg)
{
    struct pys_record *self = (struct pys_record *)obj;
    for (uint32_t i = 0; self->values != NULL && i < self->layout->shape->count; i++)
        Py_VISIT(self->values[i]);
    Py_VISIT(self->schema);
    Py_VISIT(self->parent);
    return pys_proxy_traverse(obj, visit, arg);
}

/* A volatile record lets go of its values; a proxy keeps what it has, see proxy.c. */
static int record_clear(PyObject *obj)
{
    struct pys_record *self = (struct pys_record *)obj;
    for (uint32_t i = 0; self->values != NULL && i < self->layout->shape->count; i++)
        Py_CLEAR(self->values[i]);
    return 0;
}

static void record_dealloc(PyObject *obj)
{
    struct pys_record *self = (struct pys_record *)obj;
    PyObject_GC_UnTrack(obj);
    if (self->layout != NULL)
        record_clear(obj);
    PyMem_Free(self->values);
    self->values = NULL;
    Py_CLEAR(self->schema);
    Py_CLEAR(self->parent);
    Py_CLEAR(self->layout);
    pys_proxy_dealloc(obj);
}

static PyObject *record_leaves(PyObject *obj, PyObject *unused)
{
    struct pys_record *self = (struct pys_record *)obj;
    (void)unused;
    return pys_record_read(pys_root_of(self), self->first, self->layout->shape->count);
}

static PyObject *record_put(PyObject *obj, PyObject *args)
{
    struct pys_record *self = (struct pys_record *)obj;
    unsigned int leaf;
    PyObject *value;
    if (!PyArg_ParseTuple(args, "IO:_put", &leaf, &value))
        return NULL;
    if (leaf >= self->layout->shape->count) {
        PyErr_SetString(PyExc_IndexError, "_put(): no such leaf");
        return NULL;
    }
    if (pys_record_write(pys_root_of(self), self->first + leaf, 1, &value) < 0)
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *record_fill(PyObject *obj, PyObject *leaves)
{
    struct pys_record *self = (struct pys_record *)obj;
    uint32_t count = self->layout->shape->count;
    PyObject **objects;
    int status;
    if (!PyTuple_Check(leaves) || PyTuple_Size(leaves) != (Py_ssize_t)count) {
        PyErr_SetString(PyExc_TypeError, "_fill() takes a tuple of all leaves");
        return NULL;
    }
    objects = PyMem_Calloc(count + 1, sizeof *objects);
    if (objects == NULL)
        return PyErr_NoMemory();
    for (uint32_t i = 0; i < count; i++)
        objects[i] = PyTuple_GetItem(leaves, (Py_ssize_t)i);
    status = pys_record_write(pys_root_of(self), self->first, count, objects);
    PyMem_Free(objects);
    if (status < 0)
        return NULL;
    Py_RETURN_NONE;
}

/* "volatile", "stored" or "inline". */
static PyObject *record_form(PyObject *obj, void *closure)
{
    struct pys_record *self = (struct pys_record *)obj;
    (void)closure;
    return PyUnicode_FromString(self->parent != NULL   ? "inline"
                                : self->values != NULL ? "volatile"
                                                       : "stored");
}

static PyObject *record_tag(PyObject *obj, void *closure)
{
    (void)obj;
    (void)closure;
    return PyLong_FromLong(PMS_TAG_RECORD);
}

static PyObject *record_schema(PyObject *obj, void *closure)
{
    struct pys_record *self = (struct pys_record *)obj;
    (void)closure;
    if (self->schema == NULL)
        Py_RETURN_NONE;
    if (rebind(self) < 0)
        return NULL;
    return pys_ref(self->schema);
}

static PyMethodDef record_methods[] = {
    {"_leaves", record_leaves, METH_NOARGS, "All leaves, from one look at the record."},
    {"_put", record_put, METH_VARARGS, "_put(leaf, value): store a leaf."},
    {"_fill", record_fill, METH_O, "_fill(leaves): store all leaves, as one unit of work."},
    {"_reshape", record_reshape, METH_VARARGS,
     "_reshape(schema, leaves): give the record a new schema; Ellipsis: as it is now."},
    {NULL, NULL, 0, NULL},
};
static PyGetSetDef record_getset[] = {
    {"_form", record_form, NULL, "volatile, stored or inline.", NULL},
    {"_tag", record_tag, NULL, "Tag of records, also of those that are in no pool.", NULL},
    {"_schema", record_schema, NULL, "The schema that the record has in its pool; or None.",
     NULL},
    {NULL, NULL, NULL, NULL, NULL},
};
static PyType_Slot record_slots[] = {
    {Py_tp_new, record_new},
    {Py_tp_dealloc, record_dealloc},
    {Py_tp_traverse, record_traverse},
    {Py_tp_clear, record_clear},
    {Py_tp_methods, record_methods},
    {Py_tp_getset, record_getset},
    {Py_tp_doc, "Base of all record classes."},
    {0, NULL},
};
PyType_Spec pys_record_spec = {
    .name = "pmemstore._native._slots.RecordBase",
    .basicsize = sizeof(struct pys_record),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = record_slots,
};
