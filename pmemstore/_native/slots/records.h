/* records.h -- records as Python objects: what leaf.c, layout_type.c, record_type.c and
 * schema_type.c share.
 *
 *   layout   how a class lays its fields out: a list of leaves, each one field of the core
 *   field    descriptor of a class attribute: leaves [first, first + count)
 *   schema   proxy of a schema in a pool, bound to a class: where that class finds its leaves
 *   record   an instance, in one of three forms:
 *              volatile   values != NULL: an object in memory, a Python object for each leaf
 *              stored     base.handle != NULL: the one live proxy of a record of a pool
 *              view       parent != NULL: a record that lies inline in one of the other two
 *
 * A volatile record and a view have no handle: they are no proxies, and are copied when they are
 * stored somewhere.
 */
#ifndef PMS_SLOTS_RECORDS_H
#define PMS_SLOTS_RECORDS_H

#include "record.h"
#include "slots.h"

#define PYS_REBIND (-3)   /* a status: the record has another schema than the one we know */
#define PYS_OUTDATED (-4) /* a status: the record is to be rewritten before it is changed */

struct pys_layout {
    PyObject ob_base;
    PyObject *name;  /* str, of the class */
    PyObject *names; /* tuple of str, of the leaves */
    struct pms_shape *shape;
};

struct pys_field {
    PyObject ob_base;
    PyObject *name; /* str */
    struct pys_layout *layout;
    uint32_t first, count;
    PyObject *encode, *decode; /* value <-> tuple of leaves; NULL: the one leaf is the value */
    PyObject *inner;           /* class of a record that lies inline, or NULL */
};

struct pys_schema {
    struct pys_proxy base;
    struct pms_shape *shape;   /* as stored; NULL: not read yet */
    PyObject *type;            /* class of its records; NULL: not bound yet */
    struct pys_layout *layout; /* of that class */
    int32_t *from;             /* stored leaf of each leaf, < 0: fallback; NULL: all the same */
    PyObject *fallback;        /* tuple; Ellipsis: made anew each time, by the hook */
};

struct pys_record {
    struct pys_proxy base;
    struct pys_layout *layout;
    struct pys_schema *schema; /* stored: as last seen */
    PyObject **values;         /* volatile: one for each leaf, or NULL */
    struct pys_record *parent; /* view */
    uint32_t first;            /* view: its first leaf in the parent */
};

/* ---- leaf.c ---- */
/* A value for a leaf that is no cell; -1: raised, with the leaf's name. */
int pys_leaf_read(const struct pys_layout *layout, uint32_t leaf, PyObject *obj,
                  struct pys_value *out);
/* What a leaf that is no cell gives back for a value: as if it had been stored. */
PyObject *pys_leaf_same(const struct pys_layout *layout, uint32_t leaf, PyObject *obj);
/* Pool entered. */
int pys_leaf_take(struct pms_pool *pool, const struct pms_field_pm *field,
                  const struct pms_val *value, struct pys_taken *out);
/* Pool left; as pys_give. */
PyObject *pys_leaf_give(struct pys_pool *owner, const struct pms_field_pm *field,
                        struct pys_taken *taken);

/* ---- record_type.c ---- */
/* The layout of a record class (new reference).  NULL: raised. */
struct pys_layout *pys_layout_of(PyObject *type);
static inline struct pys_record *pys_root_of(struct pys_record *record)
{
    return record->parent != NULL ? record->parent : record;
}
/* A tuple of leaves [first, first + count) of a root.  NULL: raised. */
PyObject *pys_record_read(struct pys_record *root, uint32_t first, uint32_t count);
PyObject *pys_record_read_one(struct pys_record *root, uint32_t leaf); /* not in a tuple */
/* Store objects as leaves, as one unit of work.  -1: raised. */
int pys_record_write(struct pys_record *root, uint32_t first, uint32_t count,
                     PyObject *const *objects);
/* The record that lies inline at a leaf of root. */
PyObject *pys_record_view(struct pys_record *root, PyObject *type, uint32_t first);
/* Whether a stored record's class is still that of its schema; if not, it was declared anew. */
int pys_record_bound(const struct pys_record *record);
/* The proxy for a record's handle, whose share it takes over. */
PyObject *pys_record_proxy(struct pys_pool *owner, struct pms_handle *handle);

/* ---- schema_type.c ---- */
/* The bound schema of the record behind a handle (new reference).  NULL: raised. */
struct pys_schema *pys_schema_of(struct pys_pool *owner, struct pms_handle *record);
static inline int pys_schema_is(const struct pms_pool *pool, const struct pys_schema *schema,
                                uint64_t record)
{
    const struct pms_handle *handle = schema->base.handle;
    return handle->state == PMS_HANDLE_LIVE && pms_record_schema(pool, record) == handle->off;
}
/* Methods of PoolBase. */
PyObject *pys_pool_new_schema(PyObject *pool, PyObject *args);
PyObject *pys_pool_new_record(PyObject *pool, PyObject *schema);
PyObject *pys_pool_schemas(PyObject *pool, PyObject *make);
PyObject *pys_pool_written(PyObject *pool, PyObject *names);

#endif
