/* array_buffer.c -- buffers of an array: pointers into the mapping, for reading.
 *
 *   consumer --Py_buffer--> Array --handle--> object      not torn down, does not move (PYS_PINNED)
 *                              |
 *                              +--pms_pool_view--> mapping   stays, also when the pool is closed
 *
 * A buffer shows the medium: what is committed, and of a large transaction what has been stored
 * in place already.  It is refused (PYS_PENDING) while the open transaction has changed the array:
 * its words wait elsewhere, and its block may be one that a roll-back gives to others.
 *
 * Elements of types that have no format (structured ones, dates) are exported as bytes, by an
 * object of its own, so that nobody takes them for numbers.
 */
#include <stdio.h>

#include "slots.h"

#define LONG_CODE (sizeof(long) == 8 ? 'l' : 'q') /* numpy's int64, and that of array.array */
#define ULONG_CODE (sizeof(long) == 8 ? 'L' : 'Q')

/* The digits of a type's text, as a number. */
static uint32_t size_in(const char *text, uint64_t len)
{
    uint64_t n = 0;
    for (uint64_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9' || n > 1u << 30)
            return 0;
        n = n * 10 + (uint64_t)(text[i] - '0');
    }
    return (uint32_t)n;
}

/* Code of struct for a number; 'l' and 'L' have 64 bits here.  0: none. */
static char number_code(char kind, uint32_t size)
{
    static const char ints[] = "bhil", uints[] = "BHIL";
    uint32_t log = size == 1 ? 0 : size == 2 ? 1 : size == 4 ? 2 : 3;
    if (size != 1u << log)
        return kind == 'c' && size == 16 ? 'd' : 0;
    switch (kind) {
    case 'b':
        return size == 1 ? '?' : 0;
    case 'i':
        return ints[log];
    case 'u':
        return uints[log];
    case 'f':
        return log ? "?efd"[log] : 0;
    case 'c':
        return size == 8 ? 'f' : 0;
    default:
        return 0;
    }
}

void pys_array_format(struct pys_array *self, const char *type, uint64_t len)
{
    self->code = 0;
    memset(self->format, 0, sizeof self->format);
    if (len < 3 || len > 12 || (type[0] != '<' && type[0] != '>' && type[0] != '|'))
        return;
    uint32_t size = size_in(type + 2, len - 2);
    const char *order = type[0] == '>' ? ">" : "";
    char code = number_code(type[1], size);
    if (type[1] == 'S' && size == self->item) {
        snprintf(self->format, sizeof self->format, "%us", size);
    } else if (type[1] == 'U' && size <= UINT32_MAX / 4 && 4 * size == self->item) {
        snprintf(self->format, sizeof self->format, "%s%uw", order, size);
    } else if (code && size == self->item) {
        char shown = code == 'l' && !*order   ? LONG_CODE
                     : code == 'L' && !*order ? ULONG_CODE
                     : code == 'l'            ? 'q'
                     : code == 'L'            ? 'Q'
                                              : code;
        snprintf(self->format, sizeof self->format, "%s%s%c", order, type[1] == 'c' ? "Z" : "",
                 shown);
        if (!*order && type[1] != 'c' && code != 'e')
            self->code = code == 'l' ? 'q' : code == 'L' ? 'Q' : code;
    }
}

struct extent { /* what a buffer points to */
    Py_ssize_t shape[PMS_ARRAY_DIMS], strides[PMS_ARRAY_DIMS];
};

static void fill_extent(struct extent *extent, const struct pms_array *array)
{
    Py_ssize_t stride = (Py_ssize_t)array->item;
    for (uint32_t i = array->ndim; i-- > 0;) {
        extent->shape[i] = (Py_ssize_t)array->shape[i];
        extent->strides[i] = stride;
        stride *= array->shape[i] ? (Py_ssize_t)array->shape[i] : 1;
    }
}

/* Pin the array and its pool's mapping.  -1: raised. */
static int pin(struct pys_array *self, struct pms_array *array, void **data)
{
    struct pms_pool *pool = pys_core(&self->proxy);
    int status = pys_enter_read(pool, self->proxy.handle);
    if (status == PMS_OK) {
        status = pms_array_load(pool, self->proxy.handle->off, array);
        if (status == PMS_OK && pms_array_pending(pool, array))
            status = PYS_PENDING;
        if (status == PMS_OK)
            pms_pool_view(pool);
        int left = pms_leave_read(pool);
        if (status == PMS_OK && left != PMS_OK) {
            pys_unview(pool);
            status = left;
        }
    }
    if (status != PMS_OK) {
        pys_array_failed(self, status);
        return -1;
    }
    self->exports++;
    *data = pool->map.medium.base + (array->block ? array->start : 0);
    return 0;
}

static void unpin(struct pys_array *self)
{
    self->exports--;
    pys_unview(pys_core(&self->proxy));
}

/* exporter: what the consumer keeps alive.  plain: bytes, one axis. */
static int export_buffer(struct pys_array *self, PyObject *exporter, Py_buffer *view, int flags,
                         int plain)
{
    struct pms_array array;
    struct extent *extent;
    void *data;
    view->obj = NULL;
    if ((flags & PyBUF_WRITABLE) == PyBUF_WRITABLE) {
        PyErr_SetString(PyExc_BufferError,
                        "buffers of a persistent array are read-only: assign to slices, or use "
                        "Array.write()");
        return -1;
    }
    if (pys_array_learn(self) < 0)
        return -1;
    if (!plain && (flags & PyBUF_FORMAT) == PyBUF_FORMAT && self->format[0] == 0) {
        PyErr_SetString(PyExc_BufferError,
                        "the elements of this array have no format that a buffer can tell: use "
                        "numpy.asarray(), or tobytes()");
        return -1;
    }
    extent = PyMem_Calloc(1, sizeof *extent);
    if (extent == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    if (pin(self, &array, &data) < 0) {
        PyMem_Free(extent);
        return -1;
    }
    fill_extent(extent, &array);
    if (plain)
        extent->shape[0] = (Py_ssize_t)array.bytes;
    if (plain)
        extent->strides[0] = 1;
    view->buf = data;
    view->len = (Py_ssize_t)array.bytes;
    view->itemsize = plain ? 1 : (Py_ssize_t)array.item;
    view->readonly = 1;
    view->ndim = plain ? 1 : (int)array.ndim;
    view->format = (flags & PyBUF_FORMAT) != PyBUF_FORMAT ? NULL : plain ? "B" : self->format;
    view->shape = (flags & PyBUF_ND) == PyBUF_ND ? extent->shape : NULL;
    view->strides = (flags & PyBUF_STRIDES) == PyBUF_STRIDES ? extent->strides : NULL;
    view->suboffsets = NULL;
    view->internal = extent;
    view->obj = pys_ref(exporter);
    return 0;
}

int pys_array_getbuffer(PyObject *obj, Py_buffer *view, int flags)
{
    return export_buffer((struct pys_array *)obj, obj, view, flags, 0);
}

void pys_array_releasebuffer(PyObject *obj, Py_buffer *view)
{
    PyMem_Free(view->internal);
    view->internal = NULL;
    unpin((struct pys_array *)obj);
}

/* ---- as bytes ---- */

struct array_bytes {
    PyObject ob_base;
    PyObject *array;
};

PyObject *pys_array_bytes(PyObject *obj, PyObject *unused)
{
    struct array_bytes *self =
        (struct array_bytes *)PyType_GenericAlloc(pys.array_bytes_type, 0);
    (void)unused;
    if (self != NULL)
        self->array = pys_ref(obj);
    return (PyObject *)self;
}

static void bytes_dealloc(PyObject *obj)
{
    PyTypeObject *type = Py_TYPE(obj);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    Py_CLEAR(((struct array_bytes *)obj)->array);
    release(obj);
    Py_DECREF(type);
}

static int bytes_getbuffer(PyObject *obj, Py_buffer *view, int flags)
{
    struct pys_array *array = (struct pys_array *)((struct array_bytes *)obj)->array;
    return export_buffer(array, obj, view, flags, 1);
}

static void bytes_releasebuffer(PyObject *obj, Py_buffer *view)
{
    pys_array_releasebuffer(((struct array_bytes *)obj)->array, view);
}

static PyType_Slot bytes_slots[] = {
    {Py_tp_dealloc, bytes_dealloc},
    {Py_bf_getbuffer, bytes_getbuffer},
    {Py_bf_releasebuffer, bytes_releasebuffer},
    {Py_tp_doc, "The elements of an Array, as bytes."},
    {0, NULL},
};

PyType_Spec pys_array_bytes_spec = {
    .name = "pmemstore._native._slots.ArrayBytes",
    .basicsize = sizeof(struct array_bytes),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = bytes_slots,
};
