/* enter.c -- waiting for a pool without the GIL, with signal handlers run in between. */
#include <time.h>

#include "slots.h"

int pys_waiting;

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

int pys_wait(pys_wait_fn wait, struct pms_pool *pool, void *argument, int64_t timeout_ns)
{
    int64_t left = timeout_ns, end = left < 0 ? -1 : now_ns() + left;
    for (;;) {
        PyThreadState *saved;
        int status;
        pys_waiting++;
        saved = PyEval_SaveThread();
        status = wait(pool, argument, left);
        PyEval_RestoreThread(saved);
        pys_waiting--;
        if (status != PMS_E_INTR && status != PMS_E_WAIT)
            return status;
        if (PyErr_CheckSignals() < 0)
            return PYS_RAISED;
        if (end >= 0) {
            left = end - now_ns();
            left = left < 0 ? 0 : left;
        }
    }
}

static int read_step(struct pms_pool *pool, void *handle, int64_t timeout_ns)
{
    return pms_enter_read_wait(pool, handle, timeout_ns);
}

int pys_wait_read(struct pms_pool *pool, const struct pms_handle *handle)
{
    return pys_wait(read_step, pool, (void *)(uintptr_t)handle, pool->timeout_ns);
}

static int write_step(struct pms_pool *pool, void *handle, int64_t timeout_ns)
{
    return pms_enter_write_wait(pool, handle, timeout_ns);
}

int pys_wait_write(struct pms_pool *pool, const struct pms_handle *handle)
{
    return pys_wait(write_step, pool, (void *)(uintptr_t)handle, pool->timeout_ns);
}

void pys_note_caller(void)
{
    PyObject *type, *value, *trace, *result;
    if (pys.note_caller == NULL)
        return;
    PyErr_Fetch(&type, &value, &trace); /* roll-backs run while an exception is on its way */
    result = PyObject_CallNoArgs(pys.note_caller);
    if (result == NULL)
        PyErr_WriteUnraisable(pys.note_caller);
    Py_XDECREF(result);
    PyErr_Restore(type, value, trace);
}

/* Not interruptible: the unit is committed in memory, only its sync is awaited. */
int pys_wait_durable(struct pms_pool *pool, uint64_t ticket)
{
    PyThreadState *saved = PyEval_SaveThread();
    int status = pms_wait_durable(pool, ticket);
    PyEval_RestoreThread(saved);
    return status;
}

void pys_handle_put(struct pms_handle *handle)
{
    PyThreadState *saved;
    if (PMS_LIKELY(pys_waiting == 0)) {
        pms_handle_put(handle);
        return;
    }
    saved = PyEval_SaveThread();
    pms_handle_put(handle);
    PyEval_RestoreThread(saved);
}

void pys_unview(struct pms_pool *pool)
{
    PyThreadState *saved;
    if (PMS_LIKELY(pys_waiting == 0)) {
        pms_pool_unview(pool);
        return;
    }
    saved = PyEval_SaveThread();
    pms_pool_unview(pool);
    PyEval_RestoreThread(saved);
}
