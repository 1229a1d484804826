/* array_type.c -- the base of Array: items of native numbers, and what Python builds the rest on.
 *
 * Here: len(a), a[i] and a[i] = x and append of arrays with one axis whose elements are native
 * numbers; buffers (array_buffer.c).  All other keys and types: the methods _getitem(key),
 * _setitem(key, value) and _append_item(value) of the Python class, over _look, _read, _write and
 * the like, each of which is one call of the core.
 *
 *   stamp   changes when the shape may have: what was computed from a shape is used with the stamp
 *           that came with it, and refused if another one holds by then
 *
 * While somebody holds a buffer of an array its shape stays: PYS_PINNED.
 */
#include <float.h>
#include <math.h>

#include "slots.h"

static struct pys_array *array_of(PyObject *obj) { return (struct pys_array *)obj; }

static uint64_t stamp_of(const struct pys_array *self)
{
    return self->proxy.handle->version + pys_core(&self->proxy)->rollbacks;
}

PyObject *pys_array_failed(struct pys_array *self, int status)
{
    if (status == PYS_NO_ITEM || status == PMS_MISSING)
        PyErr_SetString(PyExc_IndexError, "array index out of range");
    else if (status == PYS_PINNED)
        PyErr_SetString(PyExc_BufferError,
                        "cannot change the shape of an array while buffers of it exist: delete "
                        "the memoryviews and numpy views first");
    else if (status == PYS_PENDING)
        PyErr_SetString(
            PyExc_BufferError,
            "the open transaction has changed this array, and a buffer shows what is "
            "committed: commit first, or take a copy with tolist(), tobytes() or a "
            "slice");
    else
        pys_raise(self->proxy.owner, status);
    return NULL;
}

/* ---- the type ---- */

int pys_array_learn(struct pys_array *self)
{
    struct pms_pool *pool = pys_core(&self->proxy);
    struct pms_array array;
    struct pms_val type;
    if (PMS_LIKELY(self->learnt))
        return 0;
    int status = pys_enter_read(pool, self->proxy.handle);
    if (status == PMS_OK) {
        status = pms_array_load(pool, self->proxy.handle->off, &array);
        if (status == PMS_OK)
            status = pms_array_type(pool, self->proxy.handle->off, &type);
        if (status == PMS_OK) {
            self->item = array.item;
            pys_array_format(self, type.data, type.len);
        }
        status = pys_leave_read(pool, status);
    }
    if (status == PMS_OK) {
        self->learnt = 1;
        return 0;
    }
    pys_array_failed(self, status);
    return -1;
}

/* An element as an object; no Python code runs. */
static PyObject *decode(char code, const uint8_t *bytes)
{
    union {
        int8_t b;
        uint8_t B;
        int16_t h;
        uint16_t H;
        int32_t i;
        uint32_t I;
        int64_t q;
        uint64_t Q;
        float f;
        double d;
    } u;
    memcpy(&u, bytes, 8);
    switch (code) {
    case '?':
        return PyBool_FromLong(u.b);
    case 'b':
        return PyLong_FromLong(u.b);
    case 'B':
        return PyLong_FromLong(u.B);
    case 'h':
        return PyLong_FromLong(u.h);
    case 'H':
        return PyLong_FromLong(u.H);
    case 'i':
        return PyLong_FromLong(u.i);
    case 'I':
        return PyLong_FromUnsignedLong(u.I);
    case 'q':
        return PyLong_FromLongLong(u.q);
    case 'Q':
        return PyLong_FromUnsignedLongLong(u.Q);
    case 'f':
        return PyFloat_FromDouble((double)u.f);
    default:
        return PyFloat_FromDouble(u.d);
    }
}

static int encode_int(const struct pys_array *self, PyObject *value, uint8_t *out)
{
    PyObject *number = PyNumber_Index(value);
    uint32_t bits = 8 * self->item;
    int overflow = 0, is_signed = self->code >= 'a';
    if (number == NULL)
        return -1;
    long long small = PyLong_AsLongLongAndOverflow(number, &overflow);
    unsigned long long bytes = (unsigned long long)small;
    if (overflow > 0 && self->code == 'Q') {
        bytes = PyLong_AsUnsignedLongLong(number);
        overflow = bytes == (unsigned long long)-1 && PyErr_Occurred();
        if (overflow)
            PyErr_Clear();
    } else if (is_signed && bits < 64) {
        overflow = overflow || small < -(1ll << (bits - 1)) || small >= 1ll << (bits - 1);
    } else if (!is_signed) {
        overflow = overflow || small < 0 || (bits < 64 && small >= 1ll << bits);
    }
    if (overflow)
        PyErr_Format(PyExc_OverflowError, "%R does not fit an array of %s integers of %u bits",
                     number, is_signed ? "signed" : "unsigned", (unsigned)bits);
    Py_DECREF(number);
    memcpy(out, &bytes, 8);
    return overflow ? -1 : 0;
}

/* The bytes of a native number.  -1: raised. */
static int encode(const struct pys_array *self, PyObject *value, uint8_t out[8])
{
    if (self->code == '?') {
        int truth = PyObject_IsTrue(value);
        out[0] = truth == 1;
        return truth < 0 ? -1 : 0;
    }
    if (self->code != 'f' && self->code != 'd')
        return encode_int(self, value, out);
    double number = PyFloat_AsDouble(value);
    if (number == -1.0 && PyErr_Occurred())
        return -1;
    if (self->code == 'd') {
        memcpy(out, &number, sizeof number);
        return 0;
    }
    if (isfinite(number) && fabs(number) > (double)FLT_MAX) {
        PyErr_Format(PyExc_OverflowError, "%R does not fit an array of floats of 32 bits",
                     value);
        return -1;
    }
    float single = (float)number;
    memcpy(out, &single, sizeof single);
    return 0;
}

/* ---- items ---- */

static Py_ssize_t array_len(PyObject *obj)
{
    struct pys_array *self = array_of(obj);
    struct pms_pool *pool = pys_core(&self->proxy);
    struct pms_array array;
    int status = pys_enter_read(pool, self->proxy.handle);
    if (status == PMS_OK)
        status = pys_leave_read(pool, pms_array_load(pool, self->proxy.handle->off, &array));
    if (status != PMS_OK)
        pys_array_failed(self, status);
    else if (array.ndim == 0)
        PyErr_SetString(PyExc_TypeError, "len() of an array without axes");
    else
        return (Py_ssize_t)array.shape[0];
    return -1;
}

/* Pool entered: where item `index` of the one axis begins.  PYS_NO_ITEM: nowhere.  *axes: 0 if the
 * array has not one axis, then there is nothing to be found here. */
static int find(struct pys_array *self, Py_ssize_t index, uint64_t *at, int *axes)
{
    struct pms_array array;
    PMS_TRY(pms_array_load(pys_core(&self->proxy), self->proxy.handle->off, &array));
    *axes = array.ndim == 1;
    if (index < 0)
        index += (Py_ssize_t)array.count;
    if (!*axes || index < 0 || (uint64_t)index >= array.count)
        return PYS_NO_ITEM;
    *at = (uint64_t)index * array.item;
    return PMS_OK;
}

/* 1: the key is an index into an array of native numbers; 0: it is not; -1: raised. */
static int read_index(struct pys_array *self, PyObject *key, Py_ssize_t *index)
{
    if (!PyIndex_Check(key))
        return 0;
    if (pys_array_learn(self) < 0)
        return -1;
    if (self->code == 0)
        return 0;
    *index = PyNumber_AsSsize_t(key, PyExc_IndexError);
    if (*index != -1 || !PyErr_Occurred())
        return 1;
    if (PyLong_Check(key) || !PyErr_ExceptionMatches(PyExc_TypeError))
        return -1;
    PyErr_Clear(); /* numpy's arrays look like indices, and most are not */
    return 0;
}

/* A number.  What is none may be an item of many axes. */
static int is_number(PyObject *value) { return PyFloat_Check(value) || PyLong_Check(value); }

static PyObject *array_subscript(PyObject *obj, PyObject *key)
{
    struct pys_array *self = array_of(obj);
    struct pms_pool *pool = pys_core(&self->proxy);
    uint8_t bytes[8] = {0};
    Py_ssize_t index = 0;
    uint64_t at = 0;
    int one_axis = 1, kind = read_index(self, key, &index);
    if (kind < 0)
        return NULL;
    if (kind == 1) {
        int status = pys_enter_read(pool, self->proxy.handle);
        if (status == PMS_OK) {
            status = find(self, index, &at, &one_axis);
            if (status == PMS_OK)
                status = pms_array_read(pool, self->proxy.handle->off, at, self->item, bytes);
            status = pys_leave_read(pool, status);
        }
        if (PMS_LIKELY(status == PMS_OK))
            return decode(self->code, bytes);
        if (one_axis)
            return pys_array_failed(self, status);
    }
    return PyObject_CallMethod(obj, "_getitem", "(O)", key);
}

static int array_ass_subscript(PyObject *obj, PyObject *key, PyObject *value)
{
    struct pys_array *self = array_of(obj);
    struct pms_pool *pool = pys_core(&self->proxy);
    uint8_t bytes[8] = {0};
    Py_ssize_t index = 0;
    uint64_t at = 0;
    int one_axis = 1, kind;
    if (value == NULL) {
        PyErr_SetString(PyExc_TypeError,
                        "elements of an array cannot be deleted; see Array.resize()");
        return -1;
    }
    kind = read_index(self, key, &index);
    if (kind < 0)
        return -1;
    if (kind == 1 && is_number(value)) {
        if (encode(self, value, bytes) < 0)
            return -1;
        int status = pys_enter_write(pool, self->proxy.handle);
        if (status == PMS_OK) {
            status = find(self, index, &at, &one_axis);
            if (status == PMS_OK)
                status = pms_array_write(pool, self->proxy.handle->off, at, bytes, self->item);
            status = pys_leave_write(pool, status);
        }
        if (PMS_LIKELY(status == PMS_OK))
            return 0;
        if (one_axis) {
            pys_array_failed(self, status);
            return -1;
        }
    }
    PyObject *done = PyObject_CallMethod(obj, "_setitem", "OO", key, value);
    Py_XDECREF(done);
    return done != NULL ? 0 : -1;
}

/* ---- growing ---- */

/* A change of the shape; of the contents alone if `same`.  A status. */
typedef int (*change_fn)(struct pms_pool *pool, uint64_t off, const void *what, uint64_t len);

static int change_shape(struct pys_array *self, const uint64_t *stamp, change_fn change,
                        const void *what, uint64_t len, int *stale)
{
    struct pms_pool *pool = pys_core(&self->proxy);
    int status = pys_enter_write(pool, self->proxy.handle);
    *stale = 0;
    if (status != PMS_OK)
        return status;
    if (self->exports != 0) {
        status = PYS_PINNED;
    } else if (stamp != NULL && *stamp != stamp_of(self)) {
        *stale = 1;
    } else {
        status = change(pool, self->proxy.handle->off, what, len);
    }
    return pys_leave_write(pool, status);
}

static PyObject *array_append(PyObject *obj, PyObject *value)
{
    struct pys_array *self = array_of(obj);
    struct pms_pool *pool = pys_core(&self->proxy);
    struct pms_array array;
    uint8_t bytes[8] = {0};
    int one_axis = 0, status;
    if (pys_array_learn(self) < 0)
        return NULL;
    if (self->code != 0 && is_number(value)) {
        if (encode(self, value, bytes) < 0)
            return NULL;
        status = pys_enter_write(pool, self->proxy.handle);
        if (status == PMS_OK) {
            status = pms_array_load(pool, self->proxy.handle->off, &array);
            one_axis = status != PMS_OK || array.ndim == 1;
            if (status == PMS_OK && self->exports != 0)
                status = PYS_PINNED;
            if (status == PMS_OK && one_axis)
                status = pms_array_append(pool, self->proxy.handle->off, bytes, self->item);
            status = pys_leave_write(pool, status);
        }
        if (status != PMS_OK)
            return pys_array_failed(self, status);
        if (PMS_LIKELY(one_axis))
            Py_RETURN_NONE;
    }
    return PyObject_CallMethod(obj, "_append_item", "(O)", value);
}

static PyObject *changed(struct pys_array *self, int status, int stale)
{
    if (status != PMS_OK)
        return pys_array_failed(self, status);
    return PyBool_FromLong(!stale);
}

static PyObject *array_append_bytes(PyObject *obj, PyObject *args)
{
    unsigned long long stamp;
    uint64_t wanted;
    Py_buffer data;
    int stale, status;
    if (!PyArg_ParseTuple(args, "Ky*:_append_bytes", &stamp, &data))
        return NULL;
    wanted = stamp;
    status = change_shape(array_of(obj), &wanted, pms_array_append, data.buf,
                          (uint64_t)data.len, &stale);
    PyBuffer_Release(&data);
    return changed(array_of(obj), status, stale);
}

static int reserve(struct pms_pool *pool, uint64_t off, const void *unused, uint64_t bytes)
{
    (void)unused;
    return pms_array_reserve(pool, off, bytes);
}

static PyObject *array_reserve(PyObject *obj, PyObject *args)
{
    unsigned long long bytes;
    int stale, status;
    if (!PyArg_ParseTuple(args, "K:_reserve", &bytes))
        return NULL;
    status = change_shape(array_of(obj), NULL, reserve, NULL, bytes, &stale);
    return changed(array_of(obj), status, stale);
}

/* -1: raised. */
static int read_shape(PyObject *tuple, struct pms_array_shape *out)
{
    Py_ssize_t ndim = PyTuple_Size(tuple);
    if (ndim < 0)
        return -1;
    if (ndim > (Py_ssize_t)PMS_ARRAY_DIMS) {
        PyErr_Format(PyExc_ValueError, "an array has at most %u axes, not %zd", PMS_ARRAY_DIMS,
                     ndim);
        return -1;
    }
    out->ndim = (uint32_t)ndim;
    for (Py_ssize_t i = 0; i < ndim; i++) {
        Py_ssize_t n = PyNumber_AsSsize_t(PyTuple_GetItem(tuple, i), PyExc_OverflowError);
        if (n == -1 && PyErr_Occurred())
            return -1;
        if (n < 0) {
            PyErr_SetString(PyExc_ValueError, "negative dimensions are not allowed");
            return -1;
        }
        out->shape[i] = (uint64_t)n;
    }
    return 0;
}

static int resize(struct pms_pool *pool, uint64_t off, const void *shape, uint64_t unused)
{
    (void)unused;
    return pms_array_resize(pool, off, shape);
}

static PyObject *array_resize(PyObject *obj, PyObject *args)
{
    struct pys_array *self = array_of(obj);
    struct pms_array_shape shape = {0};
    PyObject *tuple;
    int stale, status;
    if (!PyArg_ParseTuple(args, "O!:_resize", &PyTuple_Type, &tuple) ||
        read_shape(tuple, &shape) < 0 || pys_array_learn(self) < 0)
        return NULL;
    shape.item = self->item;
    status = change_shape(self, NULL, resize, &shape, 0, &stale);
    return changed(self, status, stale);
}

/* ---- whole ranges ---- */

static PyObject *array_setup(PyObject *obj, PyObject *args)
{
    struct pys_array *self = array_of(obj);
    struct pms_pool *pool = pys_core(&self->proxy);
    struct pms_array_shape shape = {0};
    struct pms_val type = {.tag = PMS_TAG_STR};
    const char *text;
    Py_ssize_t len;
    unsigned int item;
    PyObject *tuple;
    Py_buffer data = {0};
    uint64_t bytes;
    int status;
    if (!PyArg_ParseTuple(args, "s#IO!z*:_setup", &text, &len, &item, &PyTuple_Type, &tuple,
                          &data))
        return NULL;
    type.data = text;
    type.len = (uint64_t)len;
    shape.item = item;
    status = read_shape(tuple, &shape) < 0 ? PYS_RAISED : PMS_OK;
    bytes = item;
    for (uint32_t i = 0; i < shape.ndim && status == PMS_OK; i++)
        if (__builtin_mul_overflow(bytes, shape.shape[i], &bytes))
            bytes = UINT64_MAX;
    if (status == PMS_OK && data.buf != NULL && bytes != (uint64_t)data.len) {
        PyErr_Format(PyExc_ValueError, "contents of %zd bytes for an array of %llu", data.len,
                     (unsigned long long)bytes);
        status = PYS_RAISED;
    }
    if (status == PMS_OK) {
        status = pys_enter_write(pool, self->proxy.handle);
        if (status == PMS_OK)
            status = pys_leave_write(
                pool, pms_array_setup(pool, self->proxy.handle->off, &type, &shape, data.buf));
    }
    if (data.obj != NULL)
        PyBuffer_Release(&data);
    self->learnt = 0;
    if (status == PMS_OK)
        Py_RETURN_NONE;
    return pys_array_failed(self, status);
}

static PyObject *shape_tuple(const struct pms_array *array)
{
    PyObject *tuple = PyTuple_New((Py_ssize_t)array->ndim);
    for (uint32_t i = 0; tuple != NULL && i < array->ndim; i++) {
        PyObject *n = PyLong_FromUnsignedLongLong(array->shape[i]);
        if (n == NULL)
            Py_CLEAR(tuple);
        else
            PyTuple_SetItem(tuple, (Py_ssize_t)i, n);
    }
    return tuple;
}

static PyObject *array_look(PyObject *obj, PyObject *unused)
{
    struct pys_array *self = array_of(obj);
    struct pms_pool *pool = pys_core(&self->proxy);
    struct pms_array array;
    struct pms_val type;
    PyObject *text = NULL, *shape;
    uint64_t stamp = 0;
    int status = pys_enter_read(pool, self->proxy.handle);
    (void)unused;
    if (status == PMS_OK) {
        stamp = stamp_of(self);
        status = pms_array_load(pool, self->proxy.handle->off, &array);
        if (status == PMS_OK)
            status = pms_array_type(pool, self->proxy.handle->off, &type);
        if (status == PMS_OK)
            text = PyBytes_FromStringAndSize(type.data, (Py_ssize_t)type.len);
        status = pys_leave_read(pool, status);
    }
    if (status != PMS_OK || text == NULL) {
        Py_XDECREF(text);
        return pys_array_failed(self, status == PMS_OK ? PMS_E_NOMEM : status);
    }
    shape = shape_tuple(&array);
    if (shape == NULL) {
        Py_DECREF(text);
        return NULL;
    }
    return Py_BuildValue("KNNIK", (unsigned long long)stamp, shape, text, array.item,
                         (unsigned long long)array.capacity);
}

static PyObject *array_read(PyObject *obj, PyObject *args)
{
    struct pys_array *self = array_of(obj);
    struct pms_pool *pool = pys_core(&self->proxy);
    unsigned long long stamp, at;
    Py_ssize_t len;
    int stale = 0, status;
    PyObject *bytes;
    if (!PyArg_ParseTuple(args, "KKn:_read", &stamp, &at, &len))
        return NULL;
    bytes = PyByteArray_FromStringAndSize(NULL, len);
    if (bytes == NULL)
        return NULL;
    status = pys_enter_read(pool, self->proxy.handle);
    if (status == PMS_OK) {
        stale = stamp != stamp_of(self);
        if (!stale)
            status = pms_array_read(pool, self->proxy.handle->off, at, (uint64_t)len,
                                    PyByteArray_AsString(bytes));
        status = pys_leave_read(pool, status);
    }
    if (status == PMS_OK && !stale)
        return bytes;
    Py_DECREF(bytes);
    if (status != PMS_OK)
        return pys_array_failed(self, status);
    Py_RETURN_NONE;
}

static PyObject *array_write(PyObject *obj, PyObject *args)
{
    struct pys_array *self = array_of(obj);
    struct pms_pool *pool = pys_core(&self->proxy);
    unsigned long long stamp, at;
    Py_buffer data;
    int stale = 0, status;
    if (!PyArg_ParseTuple(args, "KKy*:_write", &stamp, &at, &data))
        return NULL;
    status = pys_enter_write(pool, self->proxy.handle);
    if (status == PMS_OK) {
        stale = stamp != stamp_of(self);
        if (!stale)
            status = pms_array_write(pool, self->proxy.handle->off, at, data.buf,
                                     (uint64_t)data.len);
        status = pys_leave_write(pool, status);
    }
    PyBuffer_Release(&data);
    return changed(self, status, stale);
}

static PyObject *get_stamp(PyObject *obj, void *closure)
{
    (void)closure;
    return PyLong_FromUnsignedLongLong(stamp_of(array_of(obj)));
}

static PyMethodDef array_methods[] = {
    {"append", array_append, METH_O, "Add an item behind the last one of the first axis."},
    {"_append_bytes", array_append_bytes, METH_VARARGS,
     "_append_bytes(stamp, data): whole items of the first axis; False: another stamp."},
    {"_reserve", array_reserve, METH_VARARGS, "_reserve(bytes): room for so many in all."},
    {"_resize", array_resize, METH_VARARGS, "_resize(shape)"},
    {"_setup", array_setup, METH_VARARGS,
     "_setup(type, item, shape, data): of a new array; None as data: zeroes."},
    {"_look", array_look, METH_NOARGS, "_look() -> (stamp, shape, type, item, capacity)"},
    {"_read", array_read, METH_VARARGS,
     "_read(stamp, at, length): a bytearray; None: another stamp."},
    {"_write", array_write, METH_VARARGS,
     "_write(stamp, at, data): elements are replaced; False: another stamp."},
    {"_bytes", pys_array_bytes, METH_NOARGS, "_bytes(): exports all elements as bytes."},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef array_getset[] = {
    {"_stamp", get_stamp, NULL, "Changes when the shape may have changed.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot array_slots[] = {
    {Py_tp_dealloc, pys_proxy_dealloc},
    {Py_tp_traverse, pys_proxy_traverse},
    {Py_tp_methods, array_methods},
    {Py_tp_getset, array_getset},
    {Py_tp_hash, PyObject_HashNotImplemented},
    {Py_mp_length, array_len},
    {Py_mp_subscript, array_subscript},
    {Py_mp_ass_subscript, array_ass_subscript},
    {Py_bf_getbuffer, pys_array_getbuffer},
    {Py_bf_releasebuffer, pys_array_releasebuffer},
    {Py_tp_doc, "Base of Array: a persistent array of an open pool."},
    {0, NULL},
};

PyType_Spec pys_array_spec = {
    .name = "pmemstore._native._slots.ArrayBase",
    .basicsize = sizeof(struct pys_array),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC |
             Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = array_slots,
};
