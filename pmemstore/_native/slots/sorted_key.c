/* sorted_key.c -- Python objects as keys that have an order: their images.
 *
 *   exact str bytes int(64 bits) float bool, and tuples of them and of None   here
 *   all else                          the hook order_image(obj, lookup) -> kind and image, or None
 */
#include "slots_sorted.h"

#define DEPTH_MAX 200 /* of tuples in tuples, as in every value */

struct image {
    uint8_t *bytes;
    size_t len, room;
};

static int grow(struct image *image, size_t more)
{
    if (image->len + more > image->room) {
        size_t room = 2 * image->room + more + 64;
        uint8_t *bytes = PyMem_Realloc(image->bytes, room);
        if (bytes == NULL) {
            PyErr_NoMemory();
            return -1;
        }
        image->bytes = bytes;
        image->room = room;
    }
    return 0;
}

static int add(struct image *image, const void *bytes, size_t len)
{
    if (grow(image, len) < 0)
        return -1;
    memcpy(image->bytes + image->len, bytes, len);
    image->len += len;
    return 0;
}

static int add_byte(struct image *image, uint8_t byte) { return add(image, &byte, 1); }

/* A str or bytes inside a tuple: 00 FF for 00, and 00 01 at the end. */
static int add_text(struct image *image, const uint8_t *text, size_t len)
{
    if (grow(image, len + 2) < 0)
        return -1;
    for (size_t i = 0; i < len; i++) {
        const uint8_t escaped[2] = {0, 0xff};
        if (add(image, text[i] ? &text[i] : escaped, text[i] ? 1 : 2) < 0)
            return -1;
    }
    return add(image, "\0\1", 2);
}

/* ---- what needs no hook ---- */

/* The order of an exact number, str or bytes, with its image and stored form; 0: it is none;
 * -1: raised. */
static int read_simple(PyObject *obj, struct pys_order *out)
{
    struct pms_order_key *key = &out->key;
    struct pms_val *stored = &key->stored;
    PyTypeObject *type = Py_TYPE(obj);
    key->image = out->room;
    if (type == &PyLong_Type) {
        int overflow;
        long long number = PyLong_AsLongLongAndOverflow(obj, &overflow);
        stored->tag = PMS_TAG_INT;
        stored->num = (uint64_t)number;
        key->len = pms_image_int(number, out->room);
        return overflow ? 0 : PMS_ORDER_NUMBER;
    }
    if (type == &PyUnicode_Type || type == &PyBytes_Type) {
        if (pys_value_read(NULL, obj, &out->value) < 0)
            return -1;
        *stored = out->value.val;
        key->image = stored->data;
        key->len = stored->len;
        return type == &PyBytes_Type ? PMS_ORDER_BYTES : PMS_ORDER_STR;
    }
    if (type == &PyFloat_Type) {
        double number = PyFloat_AsDouble(obj);
        stored->tag = PMS_TAG_FLOAT;
        memcpy(&stored->num, &number, sizeof number);
        key->len = pms_image_float(number, out->room);
        return key->len ? PMS_ORDER_NUMBER : 0; /* a NaN */
    }
    if (type == &PyBool_Type) {
        stored->tag = obj == Py_True ? PMS_TAG_TRUE : PMS_TAG_FALSE;
        key->len = pms_image_int(obj == Py_True, out->room);
        return PMS_ORDER_NUMBER;
    }
    return 0;
}

/* ---- tuples, and what the hook knows ---- */

/* What the hook says.  1: *answer has bytes, kind and image; 2: *answer is a builtin that the key
 * equals; 0: it is not a key of anything; -1: raised. */
static int ask_hook(PyObject *obj, enum pys_order_use use, PyObject **answer)
{
    PyObject *result;
    if (pys.order_image == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "pmemstore: set_order_hook() was not called");
        return -1;
    }
    *answer = NULL;
    result = PyObject_CallFunctionObjArgs(pys.order_image, obj,
                                          use == PYS_LOOK ? Py_True : Py_False, NULL);
    if (result == NULL)
        return -1;
    if (PyBytes_CheckExact(result) && PyBytes_Size(result) > 1) {
        *answer = result;
        return 1;
    }
    if (PyTuple_CheckExact(result) && PyTuple_Size(result) == 1) {
        *answer = pys_ref(PyTuple_GetItem(result, 0));
        Py_DECREF(result);
        return 2;
    }
    if (result != Py_None || use != PYS_LOOK)
        PyErr_SetString(PyExc_TypeError, "order_image() must return a kind and an image");
    Py_DECREF(result);
    return PyErr_Occurred() ? -1 : 0;
}

/* An exact number, str or bytes inside a tuple: 1; 0: it is none; -1: raised. */
static int add_simple(struct image *image, PyObject *item)
{
    struct pys_order simple;
    int order, done;
    memset(&simple, 0, sizeof simple);
    order = read_simple(item, &simple);
    if (order <= 0)
        return order;
    done = add_byte(image, (uint8_t)order);
    if (done == 0)
        done = order == PMS_ORDER_NUMBER
                   ? add(image, simple.key.image, (size_t)simple.key.len)
                   : add_text(image, simple.key.image, (size_t)simple.key.len);
    pys_value_done(&simple.value);
    return done < 0 ? -1 : 1;
}

static int add_hooked(struct image *image, PyObject *obj, enum pys_order_use use)
{
    PyObject *answer = NULL;
    char *data = NULL;
    Py_ssize_t len = 0;
    int done = ask_hook(obj, use, &answer);
    if (done == 2)
        done = add_simple(image, answer);
    else if (done == 1 && (PyBytes_AsStringAndSize(answer, &data, &len) < 0 ||
                           add(image, data, (size_t)len) < 0))
        done = -1;
    Py_XDECREF(answer);
    return done;
}

static int add_tuple(struct image *image, PyObject *tuple, enum pys_order_use use, int depth);

/* 1: done; 0: not a key of anything; -1: raised. */
static int add_item(struct image *image, PyObject *item, enum pys_order_use use, int depth)
{
    int done;
    if (item == Py_None)
        return add_byte(image, PMS_ORDER_NONE) < 0 ? -1 : 1;
    if (PyTuple_CheckExact(item))
        return add_tuple(image, item, use, depth + 1);
    done = add_simple(image, item);
    return done != 0 ? done : add_hooked(image, item, use);
}

static int add_items(struct image *image, PyObject *tuple, enum pys_order_use use, int depth)
{
    if (depth > DEPTH_MAX) {
        PyErr_Format(PyExc_ValueError, "a key may nest %d tuples", DEPTH_MAX);
        return -1;
    }
    for (Py_ssize_t i = 0; i < PyTuple_Size(tuple); i++) {
        int done = add_item(image, PyTuple_GetItem(tuple, i), use, depth);
        if (done != 1)
            return done;
    }
    return add_byte(image, 0) < 0 ? -1 : 1;
}

static int add_tuple(struct image *image, PyObject *tuple, enum pys_order_use use, int depth)
{
    return add_byte(image, PMS_ORDER_TUPLE) < 0 ? -1 : add_items(image, tuple, use, depth);
}

/* Order of a tuple, or of what the hook knows; 0: not a key of anything; -1: raised. */
static int read_complex(PyObject *obj, enum pys_order_use use, struct pys_order *out)
{
    struct pms_order_key *key = &out->key;
    char *data = NULL;
    Py_ssize_t len = 0;
    int done;
    if (PyObject_Hash(obj) == -1) /* unhashable: the builtin's message */
        return -1;
    if (PyTuple_CheckExact(obj)) {
        struct image image = {NULL, 0, 0};
        done = add_items(&image, obj, use, 1);
        out->built = image.bytes;
        key->image = image.bytes;
        key->len = image.len;
        return done == 1 ? PMS_ORDER_TUPLE : done;
    }
    done = ask_hook(obj, use, &out->hold);
    if (done == 2)
        return read_simple(out->hold, out);
    if (done != 1)
        return done;
    if (PyBytes_AsStringAndSize(out->hold, &data, &len) < 0)
        return -1;
    key->image = (const uint8_t *)data + 1;
    key->len = (uint64_t)len - 1;
    return (uint8_t)data[0];
}

int pys_order_read(PyObject *obj, enum pys_order_use use, struct pys_order *out)
{
    int order;
    memset(out, 0, sizeof *out);
    out->obj = obj;
    order = read_simple(obj, out);
    if (order == 0) {
        memset(&out->key, 0, sizeof out->key);
        order = read_complex(obj, use, out);
        if (order == 0 && use != PYS_LOOK) { /* a builtin from the hook that has no order */
            PyErr_Format(PyExc_TypeError, "%R cannot be a key of a sorted container", obj);
            order = -1;
        }
        if (order > 0 && use == PYS_PUT && out->key.stored.tag == PMS_TAG_EMPTY) {
            if (pys_value_pack(obj, &out->value) < 0)
                order = -1;
            out->key.stored = out->value.val;
        }
    }
    if (order <= 0) {
        pys_order_done(out);
        return order;
    }
    out->key.order = (uint32_t)order;
    out->key.prefix = pms_image_prefix(out->key.image, out->key.len);
    return 1;
}

void pys_order_done(struct pys_order *order)
{
    pys_value_done(&order->value);
    Py_CLEAR(order->hold);
    PyMem_Free(order->built);
    order->built = NULL;
}

/* ---- keys without an order ---- */

static const char *order_name(uint32_t order, uint32_t tag)
{
    static const char *const names[PMS_ORDER_UUID + 1] = {
        [PMS_ORDER_STR] = "str",
        [PMS_ORDER_BYTES] = "bytes",
        [PMS_ORDER_TUPLE] = "tuple",
        [PMS_ORDER_DATE] = "date",
        [PMS_ORDER_DATETIME] = "naive datetime",
        [PMS_ORDER_INSTANT] = "aware datetime",
        [PMS_ORDER_TIME] = "time",
        [PMS_ORDER_TIMEDELTA] = "timedelta",
        [PMS_ORDER_UUID] = "UUID"};
    if (order <= PMS_ORDER_UUID && names[order] != NULL)
        return names[order];
    if (tag == PMS_TAG_FLOAT)
        return "float";
    return tag == PMS_TAG_TRUE || tag == PMS_TAG_FALSE ? "bool" : "int";
}

int pys_order_raise(struct pys_proxy *self, int status, PyObject *key)
{
    struct pms_pool *pool = pys_core(self);
    struct pys_order order;
    struct pms_val first = {0};
    uint64_t entry, kind = 0, off = self->handle->off;
    if (status != PMS_MIXED || PyErr_Occurred())
        return pys_raise(self->owner, status);
    if (pys_enter_read(pool, self->handle) == PMS_OK) {
        status = pms_sorted_at(pool, off, 0, &entry);
        if (status == PMS_OK)
            status = pms_sorted_entry(pool, entry, &first, NULL);
        kind = pms_get(pool, off + offsetof(struct pms_sorted_pm, order));
        if (pys_leave_read(pool, status) != PMS_OK)
            kind = 0;
    }
    if (key == NULL || pys_order_read(key, PYS_BOUND, &order) != 1) {
        PyErr_Clear();
        memset(&order, 0, sizeof order);
    }
    if (kind == PMS_ORDER_TUPLE && order.key.order == PMS_ORDER_TUPLE)
        PyErr_Format(PyExc_TypeError,
                     "'<' not supported between an item of the tuple %R and one of a tuple "
                     "that is there: where two tuples differ first, their items must have an "
                     "order",
                     key);
    else
        PyErr_Format(PyExc_TypeError,
                     "'<' not supported between instances of '%s' and '%s': all keys of one "
                     "sorted container must have an order",
                     order_name(order.key.order, order.key.stored.tag),
                     order_name((uint32_t)kind, first.tag));
    pys_order_done(&order);
    return -1;
}
