/* slots_sorted.h -- what the files of the sorted dict and sorted set share.
 *
 *   sorted_key.c    Python objects -> images (struct pys_order)
 *   sorted_iter.c   ranges of entries: iterators
 *   sorted_slice.c  ranges of entries: lists
 *   sorted_bulk.c   many keys as one unit of work
 *   sorted_type.c   SortedDictBase, and what it shares with the set
 *   sorted_set_type.c   SortedSetBase
 */
#ifndef PMS_SLOTS_SORTED_H
#define PMS_SLOTS_SORTED_H

#include "again.h"
#include "sorted.h"

/* ---- sorted_key.c ---- */
enum pys_order_use {
    PYS_PUT,   /* it becomes a key */
    PYS_BOUND, /* it must have an order, but need not be kept */
    PYS_LOOK   /* without an order it is not there */
};
struct pys_order {
    struct pms_order_key key;
    PyObject *obj;          /* the key itself: the caller's reference */
    PyObject *hold;         /* what key.image points into, if not the caller's object or room */
    struct pys_value value; /* holds the stored form */
    uint8_t *built;         /* or the image, made here */
    uint8_t room[PMS_IMAGE_NUMBER_MAX];
};
/* 1: done; 0 (PYS_LOOK alone): no container has such a key; -1: raised. */
int pys_order_read(PyObject *obj, enum pys_order_use use, struct pys_order *out);
void pys_order_done(struct pys_order *order);
/* As pys_raise; PMS_MIXED becomes TypeError.  key may be NULL. */
int pys_order_raise(struct pys_proxy *self, int status, PyObject *key);

/* ---- sorted_iter.c ---- */
/* A range of entries: between two keys (or NULL), or [start, stop). */
struct pys_span {
    struct pys_order *low, *high;
    int low_open, high_open; /* the key itself is not in it */
    uint64_t start, stop;    /* if both keys are NULL */
};
/* kind: enum pys_iter_kind. */
PyObject *pys_sorted_iter(struct pys_proxy *self, int kind, int reverse,
                          const struct pys_span *span);
/* Let go of an iterator's places; may be NULL. */
void pys_places_drop(struct pys_places *places);
/* Pool entered: entries [start, start + count), which must be there.  *taken: of how many of them
 * something was taken, also after a failure.  *bytes: of their values. */
int pys_sorted_take(struct pys_proxy *self, int kind, uint64_t start, uint64_t count,
                    struct pys_ahead *out, uint64_t *taken, uint64_t *bytes);
/* Pool entered: the same of an entry.  *bytes grows by those of its value. */
int pys_sorted_take_one(struct pms_pool *pool, int kind, uint64_t entry, struct pys_ahead *out,
                        uint64_t *bytes);

/* ---- sorted_slice.c ---- */
/* Let go of what was kept of short lists; may be NULL. */
void pys_kept_drop(struct pys_kept *kept);
/* A list of what stands at the indices of a slice (NULL: all), from one look. */
PyObject *pys_sorted_slice(struct pys_proxy *self, int kind, PyObject *slice);

/* ---- sorted_bulk.c ---- */
/* items: a list of keys, or, with pairs, of pairs.  All or none.  -1: raised. */
int pys_sorted_bulk(struct pys_proxy *self, PyObject *items, int pairs);

/* ---- sorted_type.c: for both types ---- */
/* Pool entered for writing: target is a struct pms_order_key. */
int pys_sorted_put(struct pys_proxy *self, void *key, const struct pms_val *value);
int pys_sorted_delete(struct pys_proxy *self, PyObject *key);
PyObject *pys_sorted_pop_at(struct pys_proxy *self, int kind, Py_ssize_t index);

Py_ssize_t pys_sorted_length(PyObject *self);
int pys_sorted_contains(PyObject *self, PyObject *key);
PyObject *pys_sorted_iterate(PyObject *self);
/* Methods of both types. */
#define PYS_SORTED_METHODS                                                                     \
    {"clear", pys_sorted_clear, METH_NOARGS, "Remove everything, as one unit of work."},       \
        {"_bound", (PyCFunction)(void (*)(void))pys_sorted_bound, METH_FASTCALL,               \
         "_bound(key, after): how many keys are less; after: or equal."},                      \
        {"_place", pys_sorted_place, METH_O, "_place(key): its index; -1: not there."},        \
        {"_at", pys_sorted_item, METH_VARARGS, "_at(kind, index): what is at an index."},      \
        {"_pop_at", pys_sorted_pop, METH_VARARGS,                                              \
         "_pop_at(kind, index): remove and return what is at an index."},                      \
        {"_irange", (PyCFunction)(void (*)(void))pys_sorted_irange, METH_FASTCALL,             \
         "_irange(kind, minimum, maximum, with_min, with_max, reverse): an iterator."},        \
        {"_islice", pys_sorted_islice, METH_VARARGS,                                           \
         "_islice(kind, start, stop, reverse): an iterator."},                                 \
        {"_slice", (PyCFunction)(void (*)(void))pys_sorted_get_slice, METH_FASTCALL,           \
         "_slice(kind, slice): a list of what stands there, from one look."},                  \
        {"_del_range", pys_sorted_del_range, METH_VARARGS,                                     \
         "_del_range(start, count): delete."},                                                 \
        {"__reversed__", pys_sorted_reversed, METH_NOARGS, "Iterate from the greatest key."}

PyObject *pys_sorted_clear(PyObject *self, PyObject *unused);
PyObject *pys_sorted_bound(PyObject *self, PyObject *const *args, Py_ssize_t nargs);
PyObject *pys_sorted_place(PyObject *self, PyObject *key);
PyObject *pys_sorted_item(PyObject *self, PyObject *args);
PyObject *pys_sorted_pop(PyObject *self, PyObject *args);
PyObject *pys_sorted_irange(PyObject *self, PyObject *const *args, Py_ssize_t nargs);
PyObject *pys_sorted_islice(PyObject *self, PyObject *args);
PyObject *pys_sorted_get_slice(PyObject *self, PyObject *const *args, Py_ssize_t nargs);
PyObject *pys_sorted_del_range(PyObject *self, PyObject *args);
PyObject *pys_sorted_reversed(PyObject *self, PyObject *unused);

extern PyType_Spec pys_sorted_dict_spec, pys_sorted_set_spec, pys_sorted_iter_spec;

#endif
