/* list_find.c -- look for a value in a list or deque: in, index, count, remove.
 *
 *   take up to LOOK_MAX items in one look | compare them, which may run Python | ...
 *
 * As the builtins do, a search sees what a comparison changes behind its place: items that were
 * taken are compared only while nobody has written to the pool.  A deque whose items came, went
 * or moved since the search began is told from one that has not got the value.
 */
#include "slots.h"

#define LOOK_MIN 8
#define LOOK_MAX 256
#define LOOK_BYTES 65536u /* so much at once, and the next one is looked at alone */

#define SEARCH_CHANGED 1 /* besides 0, done, and -1, raised */

struct search {
    struct pys_proxy *self;
    uint64_t at, stop;
    uint64_t version, writes;
    uint64_t found; /* how many; the last one is item at - 1 */
    unsigned first, count, batch;
    struct pys_taken taken[LOOK_MAX];
};

static void drop_rest(struct search *search)
{
    for (; search->first < search->count; search->first++)
        pys_taken_drop(&search->taken[search->first]);
}

/* Take the next items.  None: the end. */
static int look(struct search *search)
{
    struct pys_proxy *self = search->self;
    struct pms_pool *pool = pys_core(self);
    uint64_t length, bytes = 0, count = search->batch;
    int status = pys_enter_read(pool, self->handle);
    search->first = search->count = 0;
    if (status != PMS_OK)
        return pys_raise(self->owner, status);
    length = pms_list_len(pool, self->handle->off);
    if (length > search->stop)
        length = search->stop;
    length = search->at < length ? length - search->at : 0;
    count = count < length ? count : length;
    search->writes = pys_writes(pool);
    search->count = (unsigned)count;
    memset(search->taken, 0, (size_t)count * sizeof search->taken[0]);
    status = pys_list_take(self, search->at, count, search->taken, &bytes);
    status = pys_leave_read(pool, status);
    if (bytes > LOOK_BYTES)
        search->batch = 1;
    else if (search->batch < LOOK_MAX)
        search->batch *= 2;
    if (status == PMS_OK)
        return 0;
    drop_rest(search);
    return pys_raise(self->owner, status);
}

/* Compare what was taken; stops at the first that is equal unless all are wanted. */
static int compare(struct search *search, PyObject *value, int all)
{
    struct pys_proxy *self = search->self;
    const struct pms_handle *handle = self->handle;
    while (search->first < search->count) {
        PyObject *item = pys_give(self->owner, &search->taken[search->first++]);
        int equal = item != NULL ? PyObject_RichCompareBool(item, value, Py_EQ) : -1;
        Py_XDECREF(item);
        if (equal < 0)
            return -1;
        if (handle->tag == PMS_TAG_DEQUE && handle->version != search->version)
            return SEARCH_CHANGED;
        search->at++;
        search->found += (uint64_t)equal;
        if (equal && !all)
            return 0;
        if (pys_writes(handle->pool) != search->writes) {
            drop_rest(search);
            search->batch = LOOK_MIN;
        }
    }
    return 0;
}

static int run(struct search *search, PyObject *value, int all)
{
    int done;
    do {
        done = look(search);
        if (done == 0 && search->count == 0)
            return 0;
        if (done == 0)
            done = compare(search, value, all);
        drop_rest(search);
    } while (done == 0 && (all || search->found == 0));
    return done;
}

static struct search *begin(PyObject *self, uint64_t start, uint64_t stop)
{
    struct search *search = PyMem_Calloc(1, sizeof *search);
    if (search == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    search->self = (struct pys_proxy *)self;
    search->at = start;
    search->stop = stop;
    search->batch = LOOK_MIN;
    search->version = search->self->handle->version;
    return search;
}

PyObject *pys_list_find(PyObject *self, PyObject *args)
{
    Py_ssize_t start, stop, result = -1;
    PyObject *value;
    struct search *search;
    int done;
    if (!PyArg_ParseTuple(args, "Onn:_find", &value, &start, &stop))
        return NULL;
    if (start < 0 || stop < 0) {
        PyErr_SetString(PyExc_ValueError, "_find(): start and stop must not be negative");
        return NULL;
    }
    search = begin(self, (uint64_t)start, (uint64_t)stop);
    if (search == NULL)
        return NULL;
    done = run(search, value, 0);
    if (done == SEARCH_CHANGED)
        result = -2;
    else if (search->found)
        result = (Py_ssize_t)search->at - 1;
    PyMem_Free(search);
    return done < 0 ? NULL : PyLong_FromSsize_t(result);
}

static int count_up(PyObject *self, PyObject *value, int all, uint64_t *found)
{
    struct search *search = begin(self, 0, UINT64_MAX);
    int done = -1;
    if (search != NULL) {
        done = run(search, value, all);
        *found = search->found;
        PyMem_Free(search);
    }
    if (done == SEARCH_CHANGED)
        PyErr_SetString(PyExc_RuntimeError, "deque mutated during iteration");
    return done == 0 ? 0 : -1;
}

PyObject *pys_list_count(PyObject *self, PyObject *value)
{
    uint64_t found;
    return count_up(self, value, 1, &found) < 0 ? NULL : PyLong_FromUnsignedLongLong(found);
}

int pys_list_contains(PyObject *self, PyObject *value)
{
    uint64_t found;
    return count_up(self, value, 0, &found) < 0 ? -1 : found != 0;
}
