/* slots_map.h -- what dicts and sorted dicts do alike, told how each reads and keeps its keys. */
#ifndef PMS_SLOTS_MAP_H
#define PMS_SLOTS_MAP_H

#include "slots_sorted.h"

union pys_map_key {
    struct pys_key hashed;
    struct pys_order sorted;
};

struct pys_map_ops {
    /* 1: done; 0 (unless it is to be put): no container has such a key; -1: raised. */
    int (*read)(PyObject *obj, int put, union pys_map_key *out);
    void (*done)(union pys_map_key *key);
    /* Pool entered: statuses of the core, PMS_MISSING among them. */
    int (*get)(struct pys_proxy *self, const union pys_map_key *key, struct pms_val *out);
    int (*put)(struct pys_proxy *self, union pys_map_key *key, const struct pms_val *value);
    int (*remove)(struct pys_proxy *self, const union pys_map_key *key);
    /* Pool left: raise what a status of put says.  key is the caller's object. */
    int (*raise)(struct pys_proxy *self, int status, PyObject *key);
};

/* Arguments as of METH_FASTCALL: key[, default]. */
PyObject *pys_map_pop(PyObject *self, const struct pys_map_ops *ops, PyObject *const *args,
                      Py_ssize_t nargs);
PyObject *pys_map_setdefault(PyObject *self, const struct pys_map_ops *ops,
                             PyObject *const *args, Py_ssize_t nargs);

#endif
