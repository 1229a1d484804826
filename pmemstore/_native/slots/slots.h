/* slots.h -- the hot operations as Python types: what the files of this folder share.
 *
 * A public operation enters the core once:
 *
 *     convert arguments | enter | core calls, pys_take | leave | (wait) | pys_give, raise
 *        Python runs    |       no Python here         |         Python runs
 *
 *   taken    what an operation took out of a pool: a finished Python object, or bytes that still
 *            have to be decoded, or a handle that still needs its proxy
 *   level    one begin of a transaction, with its hooks; levels of a pool form a stack
 *   owner    the Python object of the pool (a PoolBase), which every proxy keeps alive
 *
 * Between enter and leave nothing may run Python code: no object that the collector tracks is
 * made, no reference is dropped that could be the last one to a foreign object: one to a str,
 * bytes or number runs nothing.
 *
 * The lock of a pool and the GIL.  A thread that has to wait releases the GIL and comes back
 * with the pool entered, then takes the GIL: it holds the pool's lock while it waits for the
 * GIL.  So no thread that holds the GIL may block on a pool's lock.  pms_enter_* never blocks;
 * calls that do block are made with the GIL released, or while pys_waiting is 0 (a thread
 * becomes a waiter only with the GIL in hand).
 *
 * Limited API of Python 3.11 throughout, so one binary serves all later versions; the build
 * defines it, but for free-threaded interpreters, which have none.
 */
#ifndef PMS_SLOTS_H
#define PMS_SLOTS_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <structmember.h>

#include "array.h"
#include "check.h"
#include "table.h"
#include "vec_deque.h"

#define PYS_RAISED (-1)  /* a status: the Python exception is already set */
#define PYS_NO_ITEM (-2) /* a status: index out of range, dict or list empty */
#define PYS_UNSURE (-3)  /* a status, never raised: see pys_pop */
#define PYS_PINNED (-3)  /* a status: buffers of an array would move */
#define PYS_PENDING (-4) /* a status: the open transaction has changed an array */

#define PYS_LEVELS 8 /* depths whose roll-backs iterators tell apart; deeper ones count as 7 */

struct pys_level {
    uint32_t depth;  /* of the core's transaction; 0: not open */
    uint64_t number; /* of that transaction */
    struct pys_level *outer;
    PyObject *on_commit; /* lists of callables, or NULL */
    PyObject *on_abort;
};

struct pys_pool {
    PyObject ob_base;
    struct pms_pool *pool;  /* NULL: not attached, or detached */
    struct pms_pool *share; /* what the deallocation drops: waiting threads may look at it */
    PyObject *path;         /* str, for messages; or NULL */
    struct pys_level *level;
    uint64_t aborts[PYS_LEVELS]; /* [d]: roll-backs that may have undone work of depth d */
    struct pys_kept *kept;       /* what short lists were made of (sorted_slice.c); or NULL */
    struct pys_places *places;   /* of an iterator that has ended (sorted_iter.c); or NULL */
};

struct pys_proxy {
    PyObject ob_base;
    struct pms_handle *handle; /* never NULL, good after close too */
    struct pys_pool *owner;
    PyObject *weak;
};

struct pys_array {
    struct pys_proxy proxy;
    Py_ssize_t exports; /* buffers that others hold */
    /* The type of an array never changes, so what was learnt of it stays true. */
    int learnt;
    uint32_t item;
    char code;       /* of struct, if an element is a native number; else 0 */
    char format[24]; /* of a buffer; "": it has none */
};

/* ---- slots.c: the module ---- */
struct pys_state {
    PyObject *pack_key, *pack_value, *unpack, *build, *raise_status,
        *locate;           /* hooks, or NULL */
    PyObject *order_image; /* of keys of sorted containers; or NULL */
    /* Of records.  bind(schema): bind it to a class.  upgrade(record): give it the schema of its
     * class.  fresh(record): upgrade it, or all leaves where fallbacks are made anew. */
    PyObject *record_bind, *record_upgrade, *record_fresh;
    PyObject *note_caller; /* or NULL: called before an operation of a pool that is recorded */
    PyTypeObject *pool_type, *tx_type, *dict_iter_type, *list_iter_type;
    PyTypeObject *proxy_base;                         /* of the bases of all kinds */
    PyTypeObject *dict_base, *list_base, *array_base; /* of the proxies of a kind */
    PyTypeObject *set_base, *deque_base, *array_bytes_type;
    PyTypeObject *record_base, *schema_base, *layout_type, *field_type;
    PyTypeObject *sorted_iter_type, *sorted_dict_base, *sorted_set_base;
    PyTypeObject *proxy_type[PMS_TAG_OBJECTS]; /* what proxies are made of, or NULL */
};
extern struct pys_state pys;

/* Raise the exception of a status; nothing if PYS_RAISED or an exception is set already.
 * Returns -1.  owner may be NULL. */
int pys_raise(struct pys_pool *owner, int status);
/* KeyError(key); a tuple stays one argument. */
/* An exception is set: if it refuses a value that was to be stored at a place of self, let it tell
 * the whole place.  NULL: the place is not known. */
void pys_locate(struct pys_proxy *self, PyObject *place);
void pys_raise_key(PyObject *key);

extern PyType_Spec pys_pool_spec, pys_proxy_spec, pys_dict_spec, pys_list_spec, pys_tx_spec;
extern PyType_Spec pys_set_spec, pys_deque_spec, pys_dict_iter_spec, pys_list_iter_spec;
extern PyType_Spec pys_record_spec, pys_schema_spec, pys_layout_spec, pys_field_spec;
extern PyType_Spec pys_array_spec, pys_array_bytes_spec;

/* ---- enter.c: entering, and waiting without the GIL ---- */
extern int pys_waiting; /* threads that are between releasing and taking the GIL in a wait */

/* Call a _wait form of the core without the GIL until it lets us in, or timeout_ns (< 0: no limit)
 * are over; signal handlers run in between.  A status. */
typedef int (*pys_wait_fn)(struct pms_pool *pool, void *argument, int64_t timeout_ns);
int pys_wait(pys_wait_fn wait, struct pms_pool *pool, void *argument, int64_t timeout_ns);
int pys_wait_read(struct pms_pool *pool, const struct pms_handle *handle);
int pys_wait_write(struct pms_pool *pool, const struct pms_handle *handle);
int pys_wait_durable(struct pms_pool *pool, uint64_t ticket);
void pys_handle_put(struct pms_handle *handle);
void pys_unview(struct pms_pool *pool);

static inline int pys_enter_read(struct pms_pool *pool, const struct pms_handle *handle)
{
    int status = pms_enter_read_inline(pool, handle);
    return PMS_UNLIKELY(status == PMS_E_WAIT) ? pys_wait_read(pool, handle) : status;
}

/* Leave; says too if the medium failed under what was read. */
static inline int pys_leave_read(struct pms_pool *pool, int status)
{
    int left = pms_leave_read_inline(pool);
    return PMS_UNLIKELY(left != PMS_OK) ? left : status;
}

/* Crash tests want to know which line of Python stores something. */
void pys_note_caller(void);
static inline void pys_recorded(const struct pms_pool *pool)
{
    if (PMS_UNLIKELY(pool->map.medium.recorder != NULL))
        pys_note_caller();
}

static inline int pys_enter_write(struct pms_pool *pool, const struct pms_handle *handle)
{
    pys_recorded(pool);
    int status = pms_enter_write(pool, handle);
    return PMS_UNLIKELY(status == PMS_E_WAIT) ? pys_wait_write(pool, handle) : status;
}

/* Leave; the unit is durable when this returns PMS_OK.  Any other status takes the operation
 * back. */
static inline int pys_leave_write(struct pms_pool *pool, int status)
{
    uint64_t ticket;
    status = pms_leave_write(pool, status, &ticket);
    if (PMS_UNLIKELY(ticket) && status == PMS_OK)
        status = pys_wait_durable(pool, ticket);
    return status;
}

/* ---- convert.c: Python objects <-> keys and values ---- */
struct pys_key {
    struct pms_key key;
    PyObject *hold[2]; /* what key.data and key.stored point into, if not the caller's object */
};
struct pys_value {
    struct pms_val val;
    struct pms_handle *ref; /* the value is this object of the same pool */
    PyObject *hold;         /* keeps val.data or ref alive, if the caller's object does not */
};
struct pys_taken {
    PyObject *obj;
    struct pms_handle *handle; /* one share; obj is NULL */
    uint32_t tag;              /* of the bytes in obj that are to be decoded; 0: obj is done */
};

/* -1: raised.  TypeError: unhashable.  The usual key is a str without lone surrogates: its bytes
 * lie in the object.  other: all kinds; out is zeroed. */
int pys_key_read_other(PyObject *obj, struct pys_key *out);
static inline int pys_key_read(PyObject *obj, struct pys_key *out)
{
    Py_ssize_t size;
    memset(out, 0, sizeof *out);
    if (PMS_LIKELY(PyUnicode_CheckExact(obj))) {
        out->key.data = PyUnicode_AsUTF8AndSize(obj, &size);
        if (PMS_LIKELY(out->key.data != NULL)) {
            out->key.tag = out->key.stored_tag = PMS_TAG_STR;
            out->key.len = (uint64_t)size;
            return 0;
        }
        PyErr_Clear(); /* tried again */
    }
    return pys_key_read_other(obj, out);
}
static inline void pys_key_done(struct pys_key *key)
{
    if (PMS_UNLIKELY(key->hold[0] != NULL)) {
        Py_CLEAR(key->hold[0]);
        Py_CLEAR(key->hold[1]);
    }
}

/* 0: done, 1: has to be built, in a transaction, by pys_value_build; -1: raised. */
int pys_value_read(struct pys_pool *owner, PyObject *obj, struct pys_value *out);
int pys_value_build(struct pys_pool *owner, PyObject *obj, struct pys_value *out);
/* By the hook pack_value: what becomes BIGINT or PACKED.  0, or -1: raised. */
int pys_value_pack(PyObject *obj, struct pys_value *out);
/* Before the transaction in which a value is built: a container of another pool as a plain one.
 * Reading it inside would hold one pool while waiting for the other.  New reference, or NULL. */
PyObject *pys_value_local(PyObject *obj);
static inline void pys_value_done(struct pys_value *value) { Py_CLEAR(value->hold); }
/* Pool entered: may the value be stored? */
static inline int pys_value_check(const struct pys_value *value)
{
    if (PMS_UNLIKELY(value->ref != NULL) && value->ref->state != PMS_HANDLE_LIVE)
        return PMS_FAIL(PMS_E_STALE, "storing a reference", value->ref->off, 0, 0);
    return PMS_OK;
}

/* Pool entered: make of a value what can be made now. */
int pys_take_other(struct pms_pool *pool, const struct pms_val *value, struct pys_taken *out);
static inline int pys_take(struct pms_pool *pool, const struct pms_val *value,
                           struct pys_taken *out)
{
    if (value->tag != PMS_TAG_BYTES)
        return pys_take_other(pool, value, out);
    out->handle = NULL;
    out->tag = 0;
    out->obj = PyBytes_FromStringAndSize(value->data, (Py_ssize_t)value->len);
    return PMS_LIKELY(out->obj != NULL) ? PMS_OK : PMS_E_NOMEM;
}
/* The same of a key: mostly a str of ASCII, of which decoding cannot fail.  (An error object could
 * run Python code.) */
static inline int pys_is_ascii(const unsigned char *text, uint64_t len)
{
    uint64_t bits = 0, word;
    for (; len >= 8; len -= 8, text += 8) {
        memcpy(&word, text, 8);
        bits |= word;
    }
    for (; len > 0; len--, text++)
        bits |= *text;
    return (bits & 0x8080808080808080ull) == 0;
}
static inline int pys_take_key(struct pms_pool *pool, const struct pms_val *key,
                               struct pys_taken *out)
{
    if (PMS_UNLIKELY(key->tag != PMS_TAG_STR || !pys_is_ascii(key->data, key->len)))
        return pys_take_other(pool, key, out);
    out->handle = NULL;
    out->tag = 0;
    out->obj = PyUnicode_DecodeASCII(key->data, (Py_ssize_t)key->len, NULL);
    return PMS_LIKELY(out->obj != NULL) ? PMS_OK : PMS_E_NOMEM;
}
/* Is it the object already?  Then it is one without parts: it refers to no other object, unless
 * it is a proxy. */
static inline int pys_is_done(const struct pys_taken *taken)
{
    return taken->handle == NULL && taken->tag == 0;
}
/* Pool left: the object (new reference).  NULL: raised.  Empties taken. */
PyObject *pys_give_other(struct pys_pool *owner, struct pys_taken *taken);
static inline PyObject *pys_give(struct pys_pool *owner, struct pys_taken *taken)
{
    PyObject *obj = taken->obj;
    if (PMS_UNLIKELY(!pys_is_done(taken)))
        return pys_give_other(owner, taken);
    taken->obj = NULL;
    return obj;
}
void pys_taken_drop(struct pys_taken *taken);
/* (key, value) of both; NULL: raised, and value may be left. */
PyObject *pys_give_pair(struct pys_pool *owner, struct pys_taken *key, struct pys_taken *value);

/* The pairs that an iterator gave last, to be filled once more when nobody else has kept them, as
 * the builtin does.  Two, in turn: one of them is in the hands of `for pair in ...`.  All of them
 * hold atoms (no containers, no proxies): no code runs when they are dropped, and a pair that the
 * collector does not track any more need not be tracked again. */
struct pys_pairs {
    PyObject *pair[2];
    unsigned turn;
};
/* Takes over the references of two atoms.  NULL: raised. */
PyObject *pys_pair(struct pys_pairs *pairs, PyObject *key, PyObject *value);

/* ---- proxy.c ---- */
/* The one live proxy of an object; takes over one share of handle.  NULL: raised. */
PyObject *pys_proxy_of(struct pys_pool *owner, struct pms_handle *handle);
/* Pool entered: the handle's live proxy (new reference), or NULL. */
PyObject *pys_proxy_live(struct pms_handle *handle);
int pys_is_proxy(PyObject *obj);
int pys_proxy_traverse(PyObject *self, visitproc visit, void *arg);
void pys_proxy_dealloc(PyObject *self);

/* ---- level.c: transactions, and operations that need one ---- */
/* A status. */
int pys_level_begin(struct pys_pool *owner, struct pys_level *level, int64_t timeout_ns);
/* -1: raised, and rolled back (the outcome is unknown after MediaError). */
int pys_level_commit(struct pys_pool *owner, struct pys_level *level);
/* The same for a level in memory that goes away: where commit cannot leave it (the pool is being
 * closed by another thread) it is taken off the stack all the same. */
int pys_level_finish(struct pys_pool *owner, struct pys_level *level);
/* Does the calling thread have it open? */
int pys_level_is_open(const struct pys_pool *owner, const struct pys_level *level);
/* Roll back this level and those inside it.  Keeps the exception that is set. */
void pys_level_abort(struct pys_pool *owner, struct pys_level *level);
/* Take it off the stack; the core's transaction is left as it is. */
void pys_level_forget(struct pys_pool *owner, struct pys_level *level);

/* A pop: what it removes may be bytes that only Python can make an object of, and that may fail. */
struct pys_pop {
    void *args;
    int in_level; /* so that a failure rolls the removal back */
};
/* Take and remove, once: status PYS_UNSURE, and NULL, if it takes a level to do that. */
typedef PyObject *(*pys_pop_fn)(struct pys_proxy *self, struct pys_pop *pop, int *status);
PyObject *pys_pop(struct pys_proxy *self, pys_pop_fn once, void *args);
static inline int pys_pop_sure(const struct pys_pop *pop, const struct pys_taken *taken)
{
    return taken->tag == PMS_TAG_PACKED && !pop->in_level ? PYS_UNSURE : PMS_OK;
}

/* Pool entered for writing: store value, wherever target says. */
typedef int (*pys_store_fn)(struct pys_proxy *self, void *target, const struct pms_val *value);
/* Convert obj and store it, as one unit of work.  A status. */
int pys_store(struct pys_proxy *self, PyObject *obj, pys_store_fn store, void *target);

/* ---- bulk.c: many items as one unit ---- */
enum pys_bulk_act {
    PYS_BULK_PAIRS,    /* a dict: put (key, value) */
    PYS_BULK_ADD,      /* a set */
    PYS_BULK_REMOVE,   /* a set: what is not there is passed over */
    PYS_BULK_APPEND,   /* a list */
    PYS_BULK_PUSH,     /* a deque, at its right end */
    PYS_BULK_PUSH_LEFT /* and at its left one */
};
/* None, or NULL: raised, nothing was stored. */
PyObject *pys_bulk(PyObject *self, enum pys_bulk_act act, PyObject *items);

/* ---- dict_type.c, for sets too ---- */
Py_ssize_t pys_dict_length(PyObject *self);
PyObject *pys_dict_empty(PyObject *self, PyObject *unused);
/* Pool entered for writing. */
int pys_dict_put(struct pys_proxy *self, void *key, const struct pms_val *value);
int pys_dict_put_many(struct pys_proxy *self, const struct pms_pair *pair, unsigned count);
int pys_dict_remove(struct pys_proxy *self, const struct pms_key *key); /* or PMS_MISSING */

/* ---- list_type.c, for deques too ---- */
Py_ssize_t pys_list_length(PyObject *self);
/* An index out of range is IndexError(message).  value NULL: delete. */
PyObject *pys_list_item(PyObject *self, Py_ssize_t index, const char *message);
int pys_list_put_item(PyObject *self, Py_ssize_t index, PyObject *value, const char *message);
PyObject *pys_list_pop(PyObject *self, Py_ssize_t index, const char *empty, const char *range);
PyObject *pys_list_reverse(PyObject *self, PyObject *unused);
PyObject *pys_list_empty(PyObject *self, PyObject *unused);
/* Pool entered for writing. */
int pys_list_put(struct pys_proxy *self, void *unused, const struct pms_val *value);
int pys_deque_put(struct pys_proxy *self, void *end, const struct pms_val *value);
/* Pool entered: take items [start, start + count), which must be there; taken is zeroed, or has
 * objects that may be filled again (again.h).  *bytes grows by those of the items. */
int pys_list_take(struct pys_proxy *self, uint64_t start, uint64_t count,
                  struct pys_taken *taken, uint64_t *bytes);
/* A list of those of the items that are there; None if the list is not `length` long, unless
 * that is PYS_ANY_LENGTH. */
#define PYS_ANY_LENGTH UINT64_MAX
PyObject *pys_list_range(struct pys_proxy *self, uint64_t start, uint64_t count,
                         uint64_t length);

/* ---- list_find.c: for lists and deques ---- */
PyObject *pys_list_find(PyObject *self, PyObject *args);
PyObject *pys_list_count(PyObject *self, PyObject *value);
int pys_list_contains(PyObject *self, PyObject *value);

/* ---- array_type.c, array_buffer.c ---- */
/* See that the type has been learnt.  -1: raised. */
int pys_array_learn(struct pys_array *self);
/* Code and format of a type's text. */
void pys_array_format(struct pys_array *self, const char *type, uint64_t len);
/* Raise what a status of an array says.  NULL. */
PyObject *pys_array_failed(struct pys_array *self, int status);
int pys_array_getbuffer(PyObject *self, Py_buffer *view, int flags);
void pys_array_releasebuffer(PyObject *self, Py_buffer *view);
/* An object that exports all elements as plain bytes, whatever their type. */
PyObject *pys_array_bytes(PyObject *self, PyObject *unused);

/* ---- dict_iter.c, list_iter.c ---- */
enum pys_iter_kind { PYS_KEYS = 0, PYS_VALUES = 1, PYS_ITEMS = 2 };
PyObject *pys_dict_iter(struct pys_proxy *dict, int kind, int reverse);
PyObject *pys_list_iter(struct pys_proxy *list, int reverse);
/* A list of all keys, values, or (key, value), from one look at the dict or set. */
PyObject *pys_dict_list(struct pys_proxy *dict, int kind);

/* Both look ahead: what they have taken is served while nothing was written to the pool. */
static inline uint64_t pys_writes(const struct pms_pool *pool)
{
    return __atomic_load_n(&pool->writes, __ATOMIC_RELAXED);
}

/* May it be served here and now?  Not in the child of a fork. */
static inline int pys_is_open(const struct pms_pool *pool)
{
    return !pool->closed &&
           pool->fork_epoch == atomic_load_explicit(&pms_fork_epoch, memory_order_relaxed);
}

static inline struct pms_pool *pys_core(const struct pys_proxy *self)
{
    return self->handle->pool;
}
static inline PyObject *pys_ref(void *obj)
{
    Py_INCREF((PyObject *)obj);
    return (PyObject *)obj;
}

#endif
