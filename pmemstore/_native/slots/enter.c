/* enter.c -- waiting for a pool without the GIL, with signal handlers run in between. */
#include <time.h>

#include "slots.h"

int pys_waiting;

typedef int (*wait_fn)(struct pms_pool *pool, const struct pms_handle *handle,
                       int64_t timeout_ns);

int64_t pys_now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int wait_with(wait_fn wait, struct pms_pool *pool, const struct pms_handle *handle)
{
    int64_t left = pool->timeout_ns, end = left < 0 ? -1 : pys_now_ns() + left;
    for (;;) {
        PyThreadState *saved;
        int status;
        pys_waiting++;
        saved = PyEval_SaveThread();
        status = wait(pool, handle, left);
        PyEval_RestoreThread(saved);
        pys_waiting--;
        if (status != PMS_E_INTR && status != PMS_E_WAIT)
            return status;
        if (PyErr_CheckSignals() < 0)
            return PYS_RAISED;
        if (end >= 0) {
            left = end - pys_now_ns();
            left = left < 0 ? 0 : left;
        }
    }
}

int pys_wait_read(struct pms_pool *pool, const struct pms_handle *handle)
{
    return wait_with(pms_enter_read_wait, pool, handle);
}

int pys_wait_write(struct pms_pool *pool, const struct pms_handle *handle)
{
    return wait_with(pms_enter_write_wait, pool, handle);
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
