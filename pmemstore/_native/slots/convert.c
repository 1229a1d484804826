/* convert.c -- Python objects to keys and values of the core, and back.
 *
 *   exact None bool int(64 bits) float str bytes   here
 *   proxies of the same pool                       here: a reference
 *   all else                                       the hooks of the Python side
 */
#include <math.h>

#include "slots.h"

#define NAN_BITS 0x7ff8000000000000ull
#define TWO_63 9223372036854775808.0

static uint64_t float_bits(double number)
{
    uint64_t bits;
    memcpy(&bits, &number, sizeof bits);
    return bits;
}

/* UTF-8 of a str: points into obj, or into *hold if there are lone surrogates. */
static int read_str(PyObject *obj, const void **data, uint64_t *len, PyObject **hold)
{
    Py_ssize_t size;
    const char *text = PyUnicode_AsUTF8AndSize(obj, &size);
    if (PMS_UNLIKELY(text == NULL)) {
        char *bytes;
        if (!PyErr_ExceptionMatches(PyExc_UnicodeEncodeError))
            return -1;
        PyErr_Clear();
        *hold = PyUnicode_AsEncodedString(obj, "utf-8", "surrogatepass");
        if (*hold == NULL || PyBytes_AsStringAndSize(*hold, &bytes, &size) < 0)
            return -1;
        text = bytes;
    }
    *data = text;
    *len = (uint64_t)size;
    return 0;
}

static int read_bytes(PyObject *obj, const void **data, uint64_t *len)
{
    char *bytes;
    Py_ssize_t size;
    if (PyBytes_AsStringAndSize(obj, &bytes, &size) < 0)
        return -1;
    *data = bytes;
    *len = (uint64_t)size;
    return 0;
}

/* ---- keys ---- */

static int key_float(double number, struct pms_key *key)
{
    if (number >= -TWO_63 && number < TWO_63 && number == floor(number)) {
        key->tag = PMS_TAG_INT;
        key->num = (uint64_t)(int64_t)number;
        key->stored_num = float_bits(number);
    } else {
        key->tag = PMS_TAG_FLOAT;
        key->num = isnan(number) ? NAN_BITS : float_bits(number);
        key->stored_num = key->num;
    }
    key->stored_tag = PMS_TAG_FLOAT;
    return 0;
}

/* 1: done; 0: not one of the types that need no hook; -1: raised. */
static int key_fast(PyObject *obj, struct pys_key *out)
{
    struct pms_key *key = &out->key;
    PyTypeObject *type = Py_TYPE(obj);
    if (PMS_LIKELY(type == &PyUnicode_Type)) {
        key->tag = key->stored_tag = PMS_TAG_STR;
        return read_str(obj, &key->data, &key->len, &out->hold[0]) < 0 ? -1 : 1;
    }
    if (type == &PyLong_Type) {
        int overflow;
        long long number = PyLong_AsLongLongAndOverflow(obj, &overflow);
        key->tag = key->stored_tag = PMS_TAG_INT;
        key->num = (uint64_t)number;
        return !overflow;
    }
    if (type == &PyBool_Type) {
        key->tag = PMS_TAG_INT;
        key->num = obj == Py_True;
        key->stored_tag = obj == Py_True ? PMS_TAG_TRUE : PMS_TAG_FALSE;
        return 1;
    }
    if (type == &PyBytes_Type) {
        key->tag = key->stored_tag = PMS_TAG_BYTES;
        return read_bytes(obj, &key->data, &key->len) < 0 ? -1 : 1;
    }
    if (obj == Py_None) {
        key->tag = key->stored_tag = PMS_TAG_NONE;
        return 1;
    }
    if (type == &PyFloat_Type) {
        double number = PyFloat_AsDouble(obj);
        if ((number >= TWO_63 || number < -TWO_63) && isfinite(number))
            return 0; /* integral, and equal to an int that is not a fast key */
        key_float(number, key);
        return 1;
    }
    return 0;
}

/* The hook gave (image, stored): image bytes, or a simple object with the same image. */
static int key_packed(PyObject *result, struct pys_key *out)
{
    struct pms_key *key = &out->key;
    PyObject *image, *stored;
    if (!PyTuple_Check(result) || PyTuple_Size(result) != 2) {
        PyErr_SetString(PyExc_TypeError, "pack_key() must return (image, stored)");
        return -1;
    }
    image = PyTuple_GetItem(result, 0);
    stored = PyTuple_GetItem(result, 1);
    if (!PyBytes_CheckExact(image)) {
        int fast;
        if (PyFloat_CheckExact(image))
            return key_float(PyFloat_AsDouble(image), key);
        fast = key_fast(image, out);
        if (fast == 0)
            PyErr_SetString(PyExc_TypeError, "pack_key(): the image must be bytes or a number");
        if (fast == 1 && out->hold[0] == NULL) /* a str's bytes lie in image itself */
            out->hold[0] = pys_ref(image);
        return fast == 1 ? 0 : -1;
    }
    out->hold[0] = pys_ref(image);
    key->tag = key->stored_tag = PMS_TAG_PACKED;
    if (read_bytes(image, &key->data, &key->len) < 0)
        return -1;
    if (stored == Py_None)
        return 0;
    out->hold[1] = pys_ref(stored);
    return read_bytes(stored, &key->stored, &key->stored_len);
}

int pys_key_read_other(PyObject *obj, struct pys_key *out)
{
    PyObject *result;
    int done;
    done = key_fast(obj, out);
    if (PMS_LIKELY(done == 1))
        return 0;
    if (done < 0)
        goto failed;
    memset(out, 0, sizeof *out);
    if (PyObject_Hash(obj) == -1) /* unhashable: the builtin's message */
        return -1;
    if (pys.pack_key == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "pmemstore: set_hooks() was not called");
        return -1;
    }
    result = PyObject_CallFunctionObjArgs(pys.pack_key, obj, NULL);
    if (result == NULL)
        return -1;
    done = key_packed(result, out);
    Py_DECREF(result);
    if (done == 0)
        return 0;
failed:
    Py_CLEAR(out->hold[0]);
    Py_CLEAR(out->hold[1]);
    return -1;
}

/* ---- values ---- */

/* A proxy of this very pool: 1. */
static int value_ref(struct pys_pool *owner, PyObject *obj, struct pys_value *out)
{
    struct pms_handle *handle;
    if (!pys_is_proxy(obj))
        return 0;
    handle = ((struct pys_proxy *)obj)->handle;
    if (owner->pool == NULL || handle->pool != owner->pool)
        return 0;
    out->ref = handle;
    out->val.tag = handle->tag;
    out->val.num = handle->off;
    return 1;
}

static int value_fast(PyObject *obj, struct pys_value *out)
{
    struct pms_val *val = &out->val;
    PyTypeObject *type = Py_TYPE(obj);
    if (type == &PyUnicode_Type) {
        val->tag = PMS_TAG_STR;
        return read_str(obj, &val->data, &val->len, &out->hold) < 0 ? -1 : 1;
    }
    if (type == &PyLong_Type) {
        int overflow;
        val->tag = PMS_TAG_INT;
        val->num = (uint64_t)PyLong_AsLongLongAndOverflow(obj, &overflow);
        return !overflow;
    }
    if (type == &PyBytes_Type) {
        val->tag = PMS_TAG_BYTES;
        return read_bytes(obj, &val->data, &val->len) < 0 ? -1 : 1;
    }
    if (type == &PyFloat_Type) {
        val->tag = PMS_TAG_FLOAT;
        val->num = float_bits(PyFloat_AsDouble(obj));
        return 1;
    }
    if (obj == Py_None || type == &PyBool_Type) {
        val->tag = obj == Py_None   ? PMS_TAG_NONE
                   : obj == Py_True ? PMS_TAG_TRUE
                                    : PMS_TAG_FALSE;
        return 1;
    }
    return 0;
}

/* Types that the build hook never makes a container of: no transaction for them. */
static int is_atom(PyObject *obj)
{
    return PyLong_Check(obj) || PyTuple_Check(obj) || PyUnicode_Check(obj) ||
           PyBytes_Check(obj) || PyFloat_Check(obj);
}

int pys_value_pack(PyObject *obj, struct pys_value *out)
{
    PyObject *result, *tag, *data;
    int status = -1;
    if (pys.pack_value == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "pmemstore: set_hooks() was not called");
        return -1;
    }
    result = PyObject_CallFunctionObjArgs(pys.pack_value, obj, NULL);
    if (result == NULL)
        return -1;
    if (!PyTuple_Check(result) || PyTuple_Size(result) != 2) {
        PyErr_SetString(PyExc_TypeError, "pack_value() must return (tag, data)");
    } else {
        tag = PyTuple_GetItem(result, 0);
        data = PyTuple_GetItem(result, 1);
        memset(&out->val, 0, sizeof out->val);
        out->val.tag = (uint32_t)PyLong_AsUnsignedLong(tag);
        if (!PyErr_Occurred() && read_bytes(data, &out->val.data, &out->val.len) == 0) {
            if (out->val.tag == PMS_TAG_BIGINT || out->val.tag == PMS_TAG_PACKED) {
                out->hold = pys_ref(data);
                status = 0;
            } else {
                PyErr_SetString(PyExc_ValueError, "pack_value(): tag must be BIGINT or PACKED");
            }
        }
    }
    Py_DECREF(result);
    return status;
}

int pys_value_read(struct pys_pool *owner, PyObject *obj, struct pys_value *out)
{
    int done;
    memset(out, 0, sizeof *out);
    done = value_fast(obj, out);
    if (PMS_LIKELY(done == 1))
        return 0;
    if (done < 0) {
        Py_CLEAR(out->hold);
        return -1;
    }
    if (value_ref(owner, obj, out))
        return 0;
    return is_atom(obj) ? pys_value_pack(obj, out) : 1;
}

PyObject *pys_value_local(PyObject *obj)
{
    PyObject *memo, *copy;
    if (PMS_LIKELY(!pys_is_proxy(obj)))
        return pys_ref(obj);
    memo = PyDict_New();
    if (memo == NULL)
        return NULL;
    copy = PyObject_CallMethod(obj, "__deepcopy__", "O", memo);
    Py_DECREF(memo);
    return copy;
}

int pys_value_build(struct pys_pool *owner, PyObject *obj, struct pys_value *out)
{
    PyObject *built;
    memset(out, 0, sizeof *out);
    if (pys.build == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "pmemstore: set_hooks() was not called");
        return -1;
    }
    built = PyObject_CallFunctionObjArgs(pys.build, (PyObject *)owner, obj, NULL);
    if (built == NULL)
        return -1;
    if (built == Py_NotImplemented) {
        Py_DECREF(built);
        return pys_value_pack(obj, out);
    }
    if (owner->pool == NULL) { /* closed meanwhile, by another thread */
        Py_DECREF(built);
        return pys_raise(owner, PMS_FAIL(PMS_E_CLOSED, "storing a container", 0, 0, 0));
    }
    if (!value_ref(owner, built, out)) {
        PyErr_Format(PyExc_TypeError, "build() must return a proxy of the pool, not %R", built);
        Py_DECREF(built);
        return -1;
    }
    out->hold = built;
    return 0;
}

/* ---- out of the pool ---- */

int pys_take_other(struct pms_pool *pool, const struct pms_val *value, struct pys_taken *out)
{
    double number;
    out->handle = NULL;
    out->tag = 0;
    switch (value->tag) {
    case PMS_TAG_NONE:
        out->obj = pys_ref(Py_None);
        break;
    case PMS_TAG_FALSE:
        out->obj = pys_ref(Py_False);
        break;
    case PMS_TAG_TRUE:
        out->obj = pys_ref(Py_True);
        break;
    case PMS_TAG_INT:
        out->obj = PyLong_FromLongLong((long long)(int64_t)value->num);
        break;
    case PMS_TAG_FLOAT:
        memcpy(&number, &value->num, sizeof number);
        out->obj = PyFloat_FromDouble(number);
        break;
    case PMS_TAG_STR: /* decoding ASCII cannot fail; an error object could run Python code */
        if (PMS_LIKELY(pys_is_ascii(value->data, value->len))) {
            out->obj = PyUnicode_FromStringAndSize(value->data, (Py_ssize_t)value->len);
            break;
        }
        out->tag = PMS_TAG_STR;
        out->obj = PyBytes_FromStringAndSize(value->data, (Py_ssize_t)value->len);
        break;
    case PMS_TAG_BIGINT:
    case PMS_TAG_PACKED:
        out->tag = value->tag;
        out->obj = PyBytes_FromStringAndSize(value->data, (Py_ssize_t)value->len);
        break;
    case PMS_TAG_BYTES:
        out->obj = PyBytes_FromStringAndSize(value->data, (Py_ssize_t)value->len);
        break;
    default:
        out->obj = NULL;
        if (!pms_tag_is_object(value->tag))
            return PMS_FAIL(PMS_E_CORRUPT, "reading a value of unknown kind", 0, 0, value->tag);
        out->handle = pms_handle_get(pool, value->num, value->tag);
        if (out->handle == NULL)
            return PMS_FAIL(PMS_E_NOMEM, "making a handle", value->num, 0, 0);
        out->obj = pys_proxy_live(out->handle);
        if (out->obj != NULL) {
            out->handle->refs--; /* the proxy has a share of its own */
            out->handle = NULL;
        }
        return PMS_OK;
    }
    return PMS_LIKELY(out->obj != NULL) ? PMS_OK : PMS_E_NOMEM;
}

PyObject *pys_give_other(struct pys_pool *owner, struct pys_taken *taken)
{
    PyObject *obj = taken->obj, *result = NULL;
    struct pms_handle *handle = taken->handle;
    uint32_t tag = taken->tag;
    taken->obj = NULL;
    taken->handle = NULL;
    taken->tag = 0;
    if (handle != NULL)
        return pys_proxy_of(owner, handle);
    if (tag == PMS_TAG_STR) {
        char *bytes;
        Py_ssize_t size;
        if (PyBytes_AsStringAndSize(obj, &bytes, &size) == 0)
            result = PyUnicode_DecodeUTF8(bytes, size, "surrogatepass");
        if (result == NULL && PyErr_ExceptionMatches(PyExc_UnicodeDecodeError)) {
            PyErr_Clear();
            pys_raise(owner, PMS_FAIL(PMS_E_CORRUPT, "the bytes of a str", 0, 0, 0));
        }
    } else if (pys.unpack == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "pmemstore: set_hooks() was not called");
    } else {
        result = PyObject_CallFunction(pys.unpack, "IO", tag, obj);
    }
    Py_DECREF(obj);
    return result;
}

void pys_taken_drop(struct pys_taken *taken)
{
    struct pms_handle *handle = taken->handle;
    taken->handle = NULL;
    taken->tag = 0;
    Py_CLEAR(taken->obj);
    if (handle != NULL)
        pys_handle_put(handle);
}

/* ---- pairs ---- */

/* Takes over both references; value NULL: raised already. */
static PyObject *pack(PyObject *key, PyObject *value)
{
    PyObject *pair = value != NULL ? PyTuple_Pack(2, key, value) : NULL;
    Py_XDECREF(key);
    Py_XDECREF(value);
    return pair;
}

PyObject *pys_give_pair(struct pys_pool *owner, struct pys_taken *key, struct pys_taken *value)
{
    PyObject *obj = pys_give(owner, key);
    return pack(obj, obj != NULL ? pys_give(owner, value) : NULL);
}

PyObject *pys_pair(struct pys_pairs *pairs, PyObject *key, PyObject *value)
{
    PyObject **place = &pairs->pair[pairs->turn ^= 1];
    if (PMS_LIKELY(*place != NULL && Py_REFCNT(*place) == 1)) {
        (void)PyTuple_SetItem(*place, 0, key); /* fails for a tuple of others alone */
        (void)PyTuple_SetItem(*place, 1, value);
        return pys_ref(*place);
    }
    PyObject *pair = pack(key, value);
    /* From 3.14 on a tuple remembers its hash, and only the interpreter can make it forget. */
    if (*place == NULL && pair != NULL && Py_Version < 0x030E0000)
        *place = pys_ref(pair);
    return pair;
}
