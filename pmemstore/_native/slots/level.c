/* level.c -- levels of transactions, their hooks, and stores that need a transaction.
 *
 *   owner->level --> innermost --outer--> ... --outer--> outermost      depth falls by 1 each
 *
 * Only the thread that owns the core's transaction changes the stack.  A level leaves it by
 * commit or abort; one that the core has rolled back by itself (close, a dead thread) is swept
 * out when the next one begins.  Hooks of a level that commits into another move there.
 */
#include <time.h>

#include "slots.h"

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int begin_waiting(struct pms_pool *pool, uint32_t *depth, int64_t timeout_ns)
{
    int64_t end = timeout_ns < 0 ? -1 : now_ns() + timeout_ns;
    int64_t left = timeout_ns;
    for (;;) {
        int status;
        pys_waiting++;
        Py_BEGIN_ALLOW_THREADS status = pms_tx_begin_wait(pool, depth, left);
        Py_END_ALLOW_THREADS pys_waiting--;
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

/* What a hook attribute holds, taken out of it: a list, or NULL. */
static PyObject *take_list(PyObject **slot)
{
    PyObject *list = *slot;
    *slot = NULL;
    if (list != NULL && !PyList_Check(list))
        Py_CLEAR(list);
    return list;
}

/* Append the hooks of one list to another; takes over `more`.  -1: raised. */
static int join_lists(PyObject **list, PyObject *more)
{
    PyObject *both;
    if (more == NULL || *list == NULL) {
        *list = more == NULL ? *list : more;
        return 0;
    }
    both = PySequence_InPlaceConcat(*list, more);
    Py_DECREF(more);
    if (both == NULL)
        return -1;
    Py_DECREF(*list);
    *list = both;
    return 0;
}

/* Take the levels from the innermost to `last` off the stack; gives their on_abort hooks,
 * innermost first, or NULL if there are none. */
static PyObject *unlink_levels(struct pys_pool *owner, const struct pys_level *last)
{
    PyObject *hooks = NULL;
    struct pys_level *level;
    do {
        PyObject *dropped;
        level = owner->level;
        owner->level = level->outer;
        level->depth = 0;
        level->outer = NULL;
        dropped = take_list(&level->on_commit);
        if (join_lists(&hooks, take_list(&level->on_abort)) < 0)
            PyErr_WriteUnraisable(NULL);
        Py_XDECREF(dropped);
    } while (level != last && owner->level != NULL);
    return hooks;
}

static int is_open(const struct pys_pool *owner, const struct pys_level *level)
{
    const struct pys_level *each = owner->level;
    while (each != NULL && each != level)
        each = each->outer;
    return each != NULL;
}

/* Call all hooks of a list and let go of it.  Without `quiet` the first error is raised, once
 * all were called; other errors go to sys.unraisablehook.  -1: raised. */
static int run_hooks(PyObject *hooks, int quiet)
{
    PyObject *kind = NULL, *error = NULL, *trace = NULL;
    if (hooks == NULL)
        return 0;
    for (Py_ssize_t i = 0; PyList_Check(hooks) && i < PyList_Size(hooks); i++) {
        PyObject *hook = pys_ref(PyList_GetItem(hooks, i));
        PyObject *result = PyObject_CallFunctionObjArgs(hook, NULL);
        if (result != NULL)
            Py_DECREF(result);
        else if (quiet || kind != NULL)
            PyErr_WriteUnraisable(hook);
        else
            PyErr_Fetch(&kind, &error, &trace);
        Py_DECREF(hook);
    }
    Py_DECREF(hooks);
    if (kind == NULL)
        return 0;
    PyErr_Restore(kind, error, trace);
    return -1;
}

static void run_abort_hooks(PyObject *hooks)
{
    PyObject *kind, *error, *trace;
    if (hooks == NULL)
        return;
    PyErr_Fetch(&kind, &error, &trace);
    run_hooks(hooks, 1);
    PyErr_Restore(kind, error, trace);
}

static void count_abort(struct pys_pool *owner, uint32_t depth)
{
    for (uint32_t d = depth < PYS_LEVELS ? depth : PYS_LEVELS - 1; d < PYS_LEVELS; d++)
        owner->aborts[d]++;
}

int pys_level_begin(struct pys_pool *owner, struct pys_level *level, int64_t timeout_ns)
{
    struct pms_pool *pool = owner->pool;
    uint32_t depth = 0;
    int status;
    if (pool == NULL)
        return PMS_FAIL(PMS_E_CLOSED, "beginning a transaction", 0, 0, 0);
    status = pms_tx_begin(pool, &depth);
    if (PMS_UNLIKELY(status == PMS_E_WAIT))
        status = begin_waiting(pool, &depth, timeout_ns);
    if (status != PMS_OK)
        return status;
    while (PMS_UNLIKELY(owner->level != NULL && owner->level->depth >= depth)) {
        count_abort(owner, depth);
        run_abort_hooks(unlink_levels(owner, owner->level));
    }
    level->depth = depth;
    level->outer = owner->level;
    owner->level = level;
    return PMS_OK;
}

void pys_level_abort(struct pys_pool *owner, struct pys_level *level)
{
    struct pms_pool *pool = owner->pool;
    if (level->depth == 0 || !is_open(owner, level))
        return;
    if (pool != NULL && !pool->closed && pms_tx_depth(pool) == 0)
        return; /* another thread's */
    count_abort(owner, level->depth);
    if (pool != NULL)
        pms_tx_abort(pool, level->depth); /* fails if it is rolled back already */
    run_abort_hooks(unlink_levels(owner, level));
}

void pys_level_forget(struct pys_pool *owner, struct pys_level *level)
{
    if (level->depth != 0 && is_open(owner, level))
        Py_XDECREF(unlink_levels(owner, level));
}

static int committed(struct pys_pool *owner, struct pys_level *level)
{
    PyObject *commit = take_list(&level->on_commit), *abort = take_list(&level->on_abort);
    struct pys_level *outer = level->outer;
    level->depth = 0;
    level->outer = NULL;
    owner->level = outer;
    if (outer == NULL) {
        Py_XDECREF(abort);
        return run_hooks(commit, 0);
    }
    if (commit != NULL || abort != NULL) {
        PyObject *commits = take_list(&outer->on_commit), *aborts = take_list(&outer->on_abort);
        int failed = join_lists(&commits, commit) < 0;
        failed |= join_lists(&aborts, abort) < 0;
        outer->on_commit = commits;
        outer->on_abort = aborts;
        return failed ? -1 : 0;
    }
    return 0;
}

int pys_level_commit(struct pys_pool *owner, struct pys_level *level)
{
    struct pms_pool *pool = owner->pool;
    uint64_t ticket = 0;
    uint32_t depth, now;
    int status;
    if (level->depth == 0 || !is_open(owner, level))
        return pys_raise(owner, PMS_FAIL(PMS_E_TX,
                                         "leaving a transaction that is not open "
                                         "(it was rolled back already)",
                                         0, 0, 0));
    depth = level->depth;
    now = pool != NULL && !pool->closed ? pms_tx_depth(pool) : depth;
    if (now == 0)
        return pys_raise(owner, PMS_FAIL(PMS_E_TX,
                                         "leaving a transaction that another thread "
                                         "owns",
                                         0, 0, 0));
    if (owner->level != level || now != depth) {
        pys_level_abort(owner, level);
        return pys_raise(owner, PMS_FAIL(PMS_E_TX,
                                         "a transaction entered inside this one is "
                                         "still open; both were rolled back",
                                         0, depth, now));
    }
    status = pool == NULL ? PMS_FAIL(PMS_E_CLOSED, "committing a transaction", 0, 0, 0)
                          : pms_tx_commit(pool, depth, &ticket);
    if (status == PMS_OK && PMS_UNLIKELY(ticket))
        status = pys_wait_durable(pool, ticket);
    if (PMS_LIKELY(status == PMS_OK))
        return committed(owner, level);
    pys_raise(owner, status);
    count_abort(owner, depth);
    if (status == PMS_E_MEDIA || status == PMS_E_OS) /* nobody knows: no hook is right */
        pys_level_forget(owner, level);
    else
        run_abort_hooks(unlink_levels(owner, level));
    return -1;
}

/* ---- stores ---- */

static int store_value(struct pys_proxy *self, const struct pys_value *value,
                       pys_store_fn store, void *target)
{
    struct pms_pool *pool = pys_core(self);
    int status = pys_enter_write(pool, self->handle);
    if (status != PMS_OK)
        return status;
    status = pys_value_check(value);
    if (status == PMS_OK)
        status = store(self, target, &value->val);
    return pys_leave_write(pool, status);
}

/* Build the value and link it, as one unit of work. */
static int store_built(struct pys_proxy *self, PyObject *obj, pys_store_fn store, void *target)
{
    struct pys_level level = {0};
    struct pys_value value;
    int status = pys_level_begin(self->owner, &level, -1);
    if (status != PMS_OK)
        return status;
    if (pys_value_build(self->owner, obj, &value) < 0) {
        status = PYS_RAISED;
    } else {
        status = store_value(self, &value, store, target);
        if (status > PMS_MISSING)
            status = pys_raise(self->owner, status);
        pys_value_done(&value);
    }
    if (status == PMS_OK)
        return pys_level_commit(self->owner, &level) < 0 ? PYS_RAISED : PMS_OK;
    pys_level_abort(self->owner, &level);
    return status;
}

int pys_store(struct pys_proxy *self, PyObject *obj, pys_store_fn store, void *target)
{
    struct pys_value value;
    int status = pys_value_read(self->owner, obj, &value);
    if (status < 0)
        return PYS_RAISED;
    if (PMS_UNLIKELY(status == 1))
        return store_built(self, obj, store, target);
    status = store_value(self, &value, store, target);
    pys_value_done(&value);
    return status;
}
