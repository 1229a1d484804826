/* leaf.c -- Python objects to leaves of records that are no cells, and back. */
#include "records.h"

static const char *const kind_name[PMS_FIELD_BYTES + 1] = {
    "",       "a value", "bool",   "int8",    "int16",   "int32",       "int64",      "uint8",
    "uint16", "uint32",  "uint64", "float32", "float64", "a fixed str", "fixed bytes"};

static PyObject *leaf_name(const struct pys_layout *layout, uint32_t leaf)
{
    return PyTuple_GetItem(layout->names, leaf);
}

static int wrong_type(const struct pys_layout *layout, uint32_t leaf, PyObject *obj)
{
    const struct pms_field_pm *f = &layout->shape->field[leaf];
    PyObject *type = (PyObject *)Py_TYPE(obj);
    PyErr_Format(PyExc_TypeError, "%U.%U: %R is a value of %R; the field takes %s%s",
                 layout->name, leaf_name(layout, leaf), obj, type, kind_name[f->kind],
                 f->bit ? " or None" : "");
    return -1;
}

static int out_of_range(const struct pys_layout *layout, uint32_t leaf, PyObject *obj)
{
    const struct pms_field_pm *f = &layout->shape->field[leaf];
    int bits = (int)(8 * f->size);
    if (f->kind >= PMS_FIELD_UINT8 && f->kind <= PMS_FIELD_UINT64)
        PyErr_Format(PyExc_OverflowError, "%U.%U: %R does not fit %s (0 to %llu)", layout->name,
                     leaf_name(layout, leaf), obj, kind_name[f->kind],
                     (unsigned long long)(UINT64_MAX >> (64 - bits)));
    else if (f->kind == PMS_FIELD_FLOAT32)
        PyErr_Format(PyExc_OverflowError, "%U.%U: %R does not fit float32 (about 3.4e38)",
                     layout->name, leaf_name(layout, leaf), obj);
    else
        PyErr_Format(PyExc_OverflowError, "%U.%U: %R does not fit %s (%lld to %lld)",
                     layout->name, leaf_name(layout, leaf), obj, kind_name[f->kind],
                     (long long)(INT64_MIN >> (64 - bits)),
                     (long long)(INT64_MAX >> (64 - bits)));
    return -1;
}

static int read_int(const struct pys_layout *layout, uint32_t leaf, PyObject *obj,
                    struct pms_val *val)
{
    const struct pms_field_pm *f = &layout->shape->field[leaf];
    uint8_t bytes[8];
    PyObject *number;
    int overflow = 0;
    if (!PyIndex_Check(obj))
        return wrong_type(layout, leaf, obj);
    number = PyNumber_Index(obj);
    if (number == NULL)
        return -1;
    val->tag = PMS_TAG_INT;
    val->num = (uint64_t)PyLong_AsLongLongAndOverflow(number, &overflow);
    if (f->kind >= PMS_FIELD_UINT8) {
        int negative = overflow < 0 || (!overflow && (int64_t)val->num < 0);
        if (overflow > 0) {
            val->num = PyLong_AsUnsignedLongLong(number);
            overflow = PyErr_Occurred() != NULL;
            if (overflow)
                PyErr_Clear();
        }
        overflow |= negative;
    }
    Py_DECREF(number);
    if (overflow || pms_number_bytes(f->kind, f->size, val, bytes) != PMS_OK)
        return out_of_range(layout, leaf, obj);
    return 0;
}

static int read_float(const struct pys_layout *layout, uint32_t leaf, PyObject *obj,
                      struct pms_val *val)
{
    double number;
    if (!PyFloat_Check(obj) && !PyLong_Check(obj))
        return wrong_type(layout, leaf, obj);
    number = PyFloat_AsDouble(obj);
    if (number == -1.0 && PyErr_Occurred())
        return -1;
    if (layout->shape->field[leaf].kind == PMS_FIELD_FLOAT32) {
        float single = (float)number;
        if (single - single != 0 && number - number == 0) /* infinite, and was not */
            return out_of_range(layout, leaf, obj);
    }
    val->tag = PMS_TAG_FLOAT;
    memcpy(&val->num, &number, sizeof number);
    return 0;
}

static int read_number(const struct pys_layout *layout, uint32_t leaf, PyObject *obj,
                       struct pms_val *val)
{
    uint32_t kind = layout->shape->field[leaf].kind;
    if (kind == PMS_FIELD_BOOL) {
        if (!PyBool_Check(obj))
            return wrong_type(layout, leaf, obj);
        val->tag = obj == Py_True ? PMS_TAG_TRUE : PMS_TAG_FALSE;
        return 0;
    }
    return kind >= PMS_FIELD_FLOAT32 ? read_float(layout, leaf, obj, val)
                                     : read_int(layout, leaf, obj, val);
}

static int read_array(const struct pys_layout *layout, uint32_t leaf, PyObject *obj,
                      struct pys_value *out)
{
    const struct pms_field_pm *f = &layout->shape->field[leaf];
    PyObject *items, *hold;
    char *bytes;
    int status = -1;
    if (PyUnicode_Check(obj) || PyBytes_Check(obj))
        return wrong_type(layout, leaf, obj);
    items = PySequence_Tuple(obj);
    if (items == NULL)
        return -1;
    hold = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)(f->count * f->size));
    if (PyTuple_Size(items) != (Py_ssize_t)f->count) {
        PyErr_Format(PyExc_ValueError, "%U.%U: %zd items; the array has %u", layout->name,
                     leaf_name(layout, leaf), PyTuple_Size(items), (unsigned)f->count);
    } else if (hold != NULL) {
        bytes = PyBytes_AsString(hold);
        status = 0;
        for (uint32_t i = 0; i < f->count && status == 0; i++) {
            struct pms_val val = {0};
            uint8_t word[8];
            status = read_number(layout, leaf, PyTuple_GetItem(items, i), &val);
            if (status == 0 && pms_number_bytes(f->kind, f->size, &val, word) == PMS_OK)
                memcpy(bytes + (size_t)i * f->size, word, f->size);
        }
    }
    Py_DECREF(items);
    if (status < 0) {
        Py_XDECREF(hold);
        return -1;
    }
    out->hold = hold;
    out->val.tag = PMS_TAG_BYTES;
    out->val.data = PyBytes_AsString(hold);
    out->val.len = (uint64_t)f->count * f->size;
    return 0;
}

static int read_fixed(const struct pys_layout *layout, uint32_t leaf, PyObject *obj,
                      struct pys_value *out)
{
    const struct pms_field_pm *f = &layout->shape->field[leaf];
    int text = f->kind == PMS_FIELD_STR;
    char *bytes;
    Py_ssize_t len;
    if (text ? !PyUnicode_Check(obj) : !PyBytes_Check(obj))
        return wrong_type(layout, leaf, obj);
    out->hold = text ? PyUnicode_AsEncodedString(obj, "utf-8", "surrogatepass") : pys_ref(obj);
    if (out->hold == NULL || PyBytes_AsStringAndSize(out->hold, &bytes, &len) < 0)
        return -1;
    if (len > (Py_ssize_t)f->size - 2) {
        PyErr_Format(PyExc_ValueError, "%U.%U: %zd bytes; the field has room for %u%s",
                     layout->name, leaf_name(layout, leaf), len, (unsigned)f->size - 2,
                     text ? " bytes of UTF-8" : "");
        return -1;
    }
    out->val.tag = text ? PMS_TAG_STR : PMS_TAG_BYTES;
    out->val.data = bytes;
    out->val.len = (uint64_t)len;
    return 0;
}

int pys_leaf_read(const struct pys_layout *layout, uint32_t leaf, PyObject *obj,
                  struct pys_value *out)
{
    const struct pms_field_pm *f = &layout->shape->field[leaf];
    memset(out, 0, sizeof *out);
    out->val.tag = PMS_TAG_NONE;
    if (obj == Py_None)
        return f->bit ? 0 : wrong_type(layout, leaf, obj);
    if (f->count)
        return read_array(layout, leaf, obj, out);
    if (f->kind < PMS_FIELD_STR)
        return read_number(layout, leaf, obj, &out->val);
    if (read_fixed(layout, leaf, obj, out) == 0)
        return 0;
    Py_CLEAR(out->hold);
    return -1;
}

/* ---- out ---- */

int pys_leaf_take(struct pms_pool *pool, const struct pms_field_pm *field,
                  const struct pms_val *value, struct pys_taken *out)
{
    if (field->kind != PMS_FIELD_UINT64 || value->tag != PMS_TAG_INT)
        return pys_take(pool, value, out);
    out->handle = NULL;
    out->tag = 0;
    out->obj = PyLong_FromUnsignedLongLong(value->num);
    return out->obj != NULL ? PMS_OK : PMS_E_NOMEM;
}

static PyObject *number_object(uint32_t kind, const struct pms_val *val)
{
    double number;
    if (val->tag == PMS_TAG_FLOAT) {
        memcpy(&number, &val->num, sizeof number);
        return PyFloat_FromDouble(number);
    }
    if (val->tag != PMS_TAG_INT)
        return pys_ref(val->tag == PMS_TAG_TRUE ? Py_True : Py_False);
    return kind == PMS_FIELD_UINT64 ? PyLong_FromUnsignedLongLong(val->num)
                                    : PyLong_FromLongLong((long long)(int64_t)val->num);
}

static PyObject *array_object(struct pys_pool *owner, const struct pms_field_pm *f,
                              PyObject *bytes)
{
    const char *data = PyBytes_AsString(bytes);
    PyObject *items = PyTuple_New((Py_ssize_t)f->count);
    for (uint32_t i = 0; items != NULL && i < f->count; i++) {
        struct pms_val val = {0};
        uint64_t word = 0;
        PyObject *item = NULL;
        memcpy(&word, data + (size_t)i * f->size, f->size);
        if (pms_number_read(f->kind, word, &val) != PMS_OK)
            pys_raise(owner, PMS_E_CORRUPT);
        else
            item = number_object(f->kind, &val);
        if (item == NULL || PyTuple_SetItem(items, (Py_ssize_t)i, item) < 0)
            Py_CLEAR(items);
    }
    return items;
}

PyObject *pys_leaf_give(struct pys_pool *owner, const struct pms_field_pm *field,
                        struct pys_taken *taken)
{
    PyObject *obj = pys_give(owner, taken), *items;
    if (obj == NULL || !field->count || obj == Py_None)
        return obj;
    items = array_object(owner, field, obj);
    Py_DECREF(obj);
    return items;
}

PyObject *pys_leaf_same(const struct pys_layout *layout, uint32_t leaf, PyObject *obj)
{
    const struct pms_field_pm *f = &layout->shape->field[leaf];
    struct pys_value value;
    struct pms_val rounded = {0};
    uint8_t bytes[8];
    uint64_t word;
    PyObject *same;
    if (pys_leaf_read(layout, leaf, obj, &value) < 0)
        return NULL;
    if (value.val.tag == PMS_TAG_NONE) {
        same = pys_ref(Py_None);
    } else if (f->count) {
        same = array_object(NULL, f, value.hold);
    } else if (f->kind >= PMS_FIELD_STR) {
        same = f->kind == PMS_FIELD_STR ? PyUnicode_FromObject(obj) : PyBytes_FromObject(obj);
    } else { /* through its bytes: a float32 is rounded */
        same = NULL;
        if (pms_number_bytes(f->kind, f->size, &value.val, bytes) == PMS_OK) {
            memcpy(&word, bytes, sizeof word);
            if (pms_number_read(f->kind, word, &rounded) == PMS_OK)
                same = number_object(f->kind, &rounded);
        }
    }
    pys_value_done(&value);
    return same;
}
