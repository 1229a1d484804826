/* level.c -- levels of transactions, their hooks, and stores that need a transaction.
 *
 *   owner->level --> innermost --outer--> ... --outer--> outermost      depth falls by 1 each
 *
 * Only the thread that owns the core's transaction changes the stack.  A level leaves it by
 * commit or abort; one that the core has rolled back by itself (close, a dead thread) is swept
 * out when the next one begins.  Hooks of a level that commits into another move there.
 */
#include <stdlib.h>

#include "slots.h"

static int begin_step(struct pms_pool *pool, void *depth, int64_t timeout_ns)
{
    return pms_tx_begin_wait(pool, depth, timeout_ns);
}

/* The hooks of levels that have left the stack: pairs of on_commit and on_abort, innermost
 * first. */
struct hooks {
    size_t levels;
    PyObject **list;
    PyObject *few[2 * 8];
};

/* Take the levels from the innermost to `last` off the stack.  Runs no Python code: another
 * thread may begin a transaction as soon as it gets the GIL. */
static void unlink_levels(struct pys_pool *owner, struct pys_level *last, struct hooks *hooks)
{
    struct pys_level *level;
    size_t levels = 1;
    for (level = owner->level; level != last; level = level->outer)
        levels++;
    hooks->levels = 0;
    hooks->list = levels <= 8 ? hooks->few : malloc(2 * levels * sizeof(PyObject *));
    level = owner->level;
    owner->level = last->outer;
    while (levels-- > 0) {
        struct pys_level *outer = level->outer;
        level->depth = 0;
        level->outer = NULL;
        if (hooks->list != NULL) { /* else they stay where they are, and are never called */
            hooks->list[2 * hooks->levels] = level->on_commit;
            hooks->list[2 * hooks->levels++ + 1] = level->on_abort;
            level->on_commit = level->on_abort = NULL;
        }
        level = outer;
    }
}

static int is_open(const struct pys_pool *owner, const struct pys_level *level)
{
    const struct pys_level *each = owner->level;
    while (each != NULL && each != level)
        each = each->outer;
    return each != NULL;
}

/* Call all hooks of a list.  The first error is kept in *error, unless that is NULL; others go
 * to sys.unraisablehook. */
static void call_hooks(PyObject *list, PyObject *error[3])
{
    if (list == NULL || !PyList_Check(list))
        return;
    for (Py_ssize_t i = 0; i < PyList_Size(list); i++) {
        PyObject *hook = pys_ref(PyList_GetItem(list, i));
        PyObject *result = PyObject_CallFunctionObjArgs(hook, NULL);
        if (result != NULL)
            Py_DECREF(result);
        else if (error == NULL || error[0] != NULL)
            PyErr_WriteUnraisable(hook);
        else
            PyErr_Fetch(&error[0], &error[1], &error[2]);
        Py_DECREF(hook);
    }
}

enum outcome { COMMITTED, ABORTED, UNKNOWN };

/* Call the hooks that fit, and let go of all.  The exception that is set stays; without one, the
 * first error of an on_commit hook is raised. */
static void run_hooks(struct hooks *hooks, enum outcome outcome)
{
    PyObject *kept[3], *error[3] = {NULL, NULL, NULL};
    if (PMS_LIKELY(hooks->levels == 1 && hooks->list[0] == NULL && hooks->list[1] == NULL))
        return;
    PyErr_Fetch(&kept[0], &kept[1], &kept[2]);
    for (size_t i = 0; i < hooks->levels; i++) {
        if (outcome == COMMITTED)
            call_hooks(hooks->list[2 * i], kept[0] == NULL ? error : NULL);
        else if (outcome == ABORTED)
            call_hooks(hooks->list[2 * i + 1], NULL);
        Py_XDECREF(hooks->list[2 * i]);
        Py_XDECREF(hooks->list[2 * i + 1]);
    }
    if (hooks->list != hooks->few)
        free(hooks->list);
    if (kept[0] != NULL)
        PyErr_Restore(kept[0], kept[1], kept[2]);
    else
        PyErr_Restore(error[0], error[1], error[2]);
}

/* Append a list of hooks to what an attribute holds; takes over `more`.  -1: raised. */
static int join_lists(PyObject **slot, PyObject *more)
{
    PyObject *old = *slot, *both;
    if (more == NULL || !PyList_Check(more)) {
        Py_XDECREF(more);
        return 0;
    }
    if (old == NULL || !PyList_Check(old)) {
        *slot = more;
        Py_XDECREF(old);
        return 0;
    }
    both = PySequence_InPlaceConcat(old, more); /* a list is extended in place */
    Py_DECREF(more);
    Py_XDECREF(both);
    return both != NULL ? 0 : -1;
}

static void count_abort(struct pys_pool *owner, uint32_t depth)
{
    for (uint32_t d = depth < PYS_LEVELS ? depth : PYS_LEVELS - 1; d < PYS_LEVELS; d++)
        owner->aborts[d]++;
}

int pys_level_begin(struct pys_pool *owner, struct pys_level *level, int64_t timeout_ns)
{
    struct pms_pool *pool = owner->pool;
    struct hooks stale;
    uint32_t depth = 0;
    int status;
    if (pool == NULL)
        return PMS_FAIL(PMS_E_CLOSED, "beginning a transaction", 0, 0, 0);
    stale.levels = 0;
    status = pms_tx_begin(pool, &depth);
    if (PMS_UNLIKELY(status == PMS_E_WAIT))
        status = pys_wait(begin_step, pool, &depth, timeout_ns);
    if (status != PMS_OK)
        return status;
    if (PMS_UNLIKELY(owner->level != NULL && owner->level->depth >= depth)) {
        struct pys_level *first = owner->level;
        while (first->outer != NULL && first->outer->depth >= depth)
            first = first->outer;
        count_abort(owner, depth);
        unlink_levels(owner, first, &stale);
    }
    level->depth = depth;
    level->number = pool->tx_number;
    level->outer = owner->level;
    owner->level = level;
    if (PMS_UNLIKELY(stale.levels != 0))
        run_hooks(&stale, ABORTED);
    return PMS_OK;
}

/* A waiter may hold the pool's lock and want the GIL: not while we hold it. */
static void abandon(struct pms_pool *pool, uint32_t depth, uint64_t number)
{
    PyThreadState *saved = PyEval_SaveThread();
    pms_tx_abandon(pool, depth, number);
    PyEval_RestoreThread(saved);
}

void pys_level_abort(struct pys_pool *owner, struct pys_level *level)
{
    struct pms_pool *pool = owner->pool;
    struct hooks hooks;
    if (level->depth == 0 || !is_open(owner, level))
        return;
    if (pool != NULL && !pool->closed) {
        if (pms_tx_depth(pool) == 0) /* another thread's, which cannot reach it any more */
            abandon(pool, level->depth, level->number);
        else
            pms_tx_abort(pool, level->depth);
        if (!is_open(owner, level)) /* swept out while the GIL was away */
            return;
    }
    count_abort(owner, level->depth);
    unlink_levels(owner, level, &hooks);
    run_hooks(&hooks, ABORTED);
}

void pys_level_forget(struct pys_pool *owner, struct pys_level *level)
{
    struct hooks hooks;
    if (level->depth == 0 || !is_open(owner, level))
        return;
    unlink_levels(owner, level, &hooks);
    run_hooks(&hooks, UNKNOWN);
}

/* Why a level cannot be left: a status; PMS_OK if it can. */
static int leave_check(struct pys_pool *owner, struct pys_level *level)
{
    const struct pms_pool *pool = owner->pool;
    uint32_t depth = level->depth, now = depth;
    if (depth == 0 || !is_open(owner, level))
        return PMS_FAIL(PMS_E_TX,
                        "leaving a transaction that is not open: it was never entered, "
                        "or is rolled back already",
                        0, 0, 0);
    if (pool == NULL)
        return PMS_OK;
    if (!pool->closed)
        now = pms_tx_depth(owner->pool);
    if (now == 0 && pool->closing) /* which has rolled it back */
        return PMS_FAIL(PMS_E_CLOSED, "leaving a transaction", 0, 0, 0);
    if (now == 0)
        return PMS_FAIL(PMS_E_TX, "leaving a transaction that another thread owns", 0, 0, 0);
    if (owner->level == level && now == depth)
        return PMS_OK;
    pys_level_abort(owner, level);
    return PMS_FAIL(PMS_E_TX,
                    "leaving a transaction with one entered inside it still open; both "
                    "were rolled back",
                    0, 0, 0);
}

int pys_level_is_open(const struct pys_pool *owner, const struct pys_level *level)
{
    struct pms_pool *pool = owner->pool;
    return level->depth != 0 && is_open(owner, level) && pool != NULL && !pool->closed &&
           pms_tx_depth(pool) >= level->depth;
}

int pys_level_commit(struct pys_pool *owner, struct pys_level *level)
{
    struct pms_pool *pool = owner->pool;
    struct hooks hooks;
    uint64_t ticket = 0;
    uint32_t depth = level->depth;
    int status = leave_check(owner, level);
    if (status != PMS_OK)
        return pys_raise(owner, status);
    if (pool != NULL)
        pys_recorded(pool);
    status = pool == NULL || pool->closed
                 ? PMS_FAIL(PMS_E_CLOSED, "committing a transaction", 0, 0, 0)
                 : pms_tx_commit(pool, depth, &ticket);
    unlink_levels(owner, level, &hooks);
    if (status != PMS_OK)
        count_abort(owner, depth);
    else if (PMS_UNLIKELY(ticket))
        status = pys_wait_durable(pool, ticket);
    if (status != PMS_OK) {
        pys_raise(owner, status);
        run_hooks(&hooks, status == PMS_E_MEDIA || status == PMS_E_OS ? UNKNOWN : ABORTED);
        return -1;
    }
    if (owner->level != NULL && depth > 1) { /* merged into the outer level */
        int joined = join_lists(&owner->level->on_commit, hooks.list[0]);
        return join_lists(&owner->level->on_abort, hooks.list[1]) < 0 ? -1 : joined;
    }
    run_hooks(&hooks, COMMITTED);
    return PyErr_Occurred() ? -1 : 0;
}

int pys_level_finish(struct pys_pool *owner, struct pys_level *level)
{
    int done = pys_level_commit(owner, level);
    if (done < 0)
        pys_level_abort(owner, level);
    return done;
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
    PyObject *local = pys_value_local(obj);
    int status = PYS_RAISED, built;
    if (local != NULL)
        status = pys_level_begin(self->owner, &level, pys_core(self)->timeout_ns);
    if (status != PMS_OK) {
        Py_XDECREF(local);
        return status;
    }
    built = pys_value_build(self->owner, local, &value);
    Py_DECREF(local);
    if (built < 0) {
        status = PYS_RAISED;
    } else {
        status = store_value(self, &value, store, target);
        if (status > PMS_MISSING)
            status = pys_raise(self->owner, status);
        pys_value_done(&value);
    }
    if (status == PMS_OK)
        return pys_level_finish(self->owner, &level) < 0 ? PYS_RAISED : PMS_OK;
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

PyObject *pys_pop(struct pys_proxy *self, pys_pop_fn once, void *args)
{
    struct pys_pop pop = {.args = args};
    struct pys_level level = {0};
    int status = PMS_OK;
    PyObject *result = once(self, &pop, &status);
    if (PMS_LIKELY(status != PYS_UNSURE))
        return result;
    status = pys_level_begin(self->owner, &level, pys_core(self)->timeout_ns);
    if (status != PMS_OK) {
        pys_raise(self->owner, status);
        return NULL;
    }
    pop.in_level = 1;
    result = once(self, &pop, &status);
    if (result != NULL && pys_level_commit(self->owner, &level) == 0)
        return result;
    pys_level_abort(self->owner, &level);
    Py_XDECREF(result);
    return NULL;
}
