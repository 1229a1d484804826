/* sorted_slice.c -- ranges of a sorted dict or set: lists, from one look.
 *
 * Who reads one range after the other lets the last list go, or is about to, when he asks for the
 * next.  So the pool keeps a reference to each item of the last short lists; where that is the
 * only one, its str and bytes are filled again (again.h), and it is given once more.  The hash of a
 * pair is not taken back: up to 3.13 a tuple has none, and from 3.14 on nothing is filled.
 *
 *   half[0]   item item item ..   one place for each place of a list
 *   half[1]   item item item ..   for those of the next list, while the last one is still held
 *
 *   K1  a kept item is a key that is a str, a value that is bytes, or a pair of both, of at most
 *       PYS_AGAIN_MAX bytes each: to drop the last reference to it runs no Python
 *   K2  key and value of a place are its item, or what its pair holds
 *   K3  an item that has been filled has one reference more at once: who takes another list
 *       before this one is made leaves it alone
 */
#include <stdlib.h>

#include "slots_sorted.h"

#define KEPT_MAX 128u  /* longer lists are made of new objects */
#define PASSED_MAX 16u /* and so are others, one of so many apart, while both halves are held */
#define AHEAD 24u      /* entries are asked for so many places before they are read */

struct kept {
    PyObject *item; /* or NULL */
    PyObject *key, *value;
    int kind;
};
struct pys_kept {
    struct kept half[2][KEPT_MAX];
    unsigned passed; /* lists, while both were in use */
};

void pys_kept_drop(struct pys_kept *kept)
{
    for (unsigned i = 0; kept != NULL && i < KEPT_MAX; i++) {
        Py_XDECREF(kept->half[0][i].item);
        Py_XDECREF(kept->half[1][i].item);
    }
    free(kept);
}

static inline int is_free(const struct kept *place)
{
    return place->item != NULL && Py_REFCNT(place->item) == 1;
}

/* Has somebody the item, or a part of it? */
static int is_held(const struct kept *place)
{
    if (place->item == NULL || place->kind != PYS_ITEMS)
        return place->item != NULL && !is_free(place);
    return !is_free(place) || Py_REFCNT(place->key) > 1 || Py_REFCNT(place->value) > 1;
}

/* The half that is not in use.  NULL: both are, so it seems that lists are held for long: now and
 * then it is tried with another one. */
static struct kept *kept_half(struct pys_pool *owner, uint64_t count)
{
    struct pys_kept *kept = owner->kept;
    if (pys_again.bytes_text == 0)
        return NULL;
    if (kept == NULL)
        kept = owner->kept = calloc(1, sizeof *kept); /* NULL: then nothing is kept */
    if (kept == NULL)
        return NULL;
    for (int i = 0; i < 2; i++)
        if (PMS_LIKELY(!is_held(kept->half[i]) || !is_held(&kept->half[i][count / 2])))
            return kept->half[i];
    return ++kept->passed % PASSED_MAX == 0 ? kept->half[1] : NULL;
}

static void keep(struct kept *place, const struct kept *given)
{
    PyObject *old = place->item;
    *place = *given;
    Py_INCREF(place->item);
    Py_XDECREF(old);
}

/* What a slice asks for: the places first, first + step ..., count of them. */
struct places {
    Py_ssize_t first, stop, step, count;
    uint64_t done;              /* of how many something was taken */
    struct pys_ahead *taken;    /* or NULL */
    struct kept *half;          /* of a short list; else NULL */
    PyObject *filled[KEPT_MAX]; /* if so: items; NULL: it is in taken */
};

/* Room for all, if there is none yet. */
static int make_room(struct places *places)
{
    uint64_t count = (uint64_t)places->count;
    if (places->taken == NULL)
        places->taken = calloc(count, sizeof *places->taken);
    if (places->taken == NULL)
        return PMS_FAIL(PMS_E_NOMEM, "copying a sorted dict", 0, count * sizeof *places->taken,
                        0);
    return PMS_OK;
}

/* Pool entered: the item of the place, filled with the entry; NULL: it was not. */
static inline PyObject *fill(struct pms_pool *pool, int kind, uint64_t entry,
                             struct kept *place)
{
    const int keys = kind != PYS_VALUES, values = kind != PYS_KEYS;
    struct pms_sorted_plain plain;
    if (PMS_UNLIKELY(!is_free(place) || place->kind != kind ||
                     !pms_sorted_is_plain(pool, entry, keys, values, &plain)))
        return NULL;
    if (PMS_LIKELY((!keys || pys_again_str(place->key, plain.key, plain.key_len)) &&
                   (!values || pys_again_bytes(place->value, plain.value, plain.value_len))))
        return pys_ref(place->item);
    Py_CLEAR(place->item); /* its key may be the entry's, and its value not */
    return NULL;
}

/* Where the entries [start, start + count) are; the first of them are asked for. */
static int find_entries(struct pys_proxy *self, uint64_t start, uint64_t count, uint64_t *entry)
{
    struct pms_pool *pool = pys_core(self);
    struct pms_sorted_run run;
    for (uint64_t found = 0, asked = 0; found < count; found += run.count) {
        PMS_TRY(pms_sorted_run(pool, self->handle->off, start + found, count - found, &run));
        memcpy(&entry[found], run.entry, run.count * sizeof entry[0]);
        for (; asked < AHEAD && asked < found + run.count; asked++)
            pms_sorted_prefetch(pool, entry[asked]);
    }
    return PMS_OK;
}

/* Pool entered: a short list. */
static int take_short(struct pys_proxy *self, int kind, uint64_t start, struct places *places)
{
    struct pms_pool *pool = pys_core(self);
    uint64_t entry[KEPT_MAX], count = (uint64_t)places->count, bytes = 0;
    PMS_TRY(find_entries(self, start, count, entry));
    for (uint64_t i = 0; i < count; i++) {
        if (i + AHEAD < count)
            pms_sorted_prefetch(pool, entry[i + AHEAD]);
        places->filled[i] = fill(pool, kind, entry[i], &places->half[i]);
        places->done = i + 1;
        if (PMS_LIKELY(places->filled[i] != NULL))
            continue;
        PMS_TRY(make_room(places));
        PMS_TRY(pys_sorted_take_one(pool, kind, entry[i], &places->taken[i], &bytes));
    }
    return PMS_OK;
}

/* Pool entered: take them; those of a step of 1 or -1 in one go, in the order of the keys. */
static int take_places(struct pys_proxy *self, int kind, struct places *places)
{
    uint64_t first = (uint64_t)places->first, count = (uint64_t)places->count, one, bytes;
    uint64_t start = places->step > 0 ? first : first + 1 - count;
    int in_one = places->step == 1 || places->step == -1;
    if (in_one && count <= KEPT_MAX && (places->half = kept_half(self->owner, count)) != NULL)
        return take_short(self, kind, start, places);
    PMS_TRY(make_room(places));
    if (in_one)
        return pys_sorted_take(self, kind, start, count, places->taken, &places->done, &bytes);
    for (uint64_t i = 0; i < count; i++) {
        uint64_t at = first + i * (uint64_t)places->step;
        int status = pys_sorted_take(self, kind, at, 1, &places->taken[i], &one, &bytes);
        places->done += one;
        PMS_TRY(status);
    }
    return PMS_OK;
}

/* Python may run.  What can be filled again is kept. */
static PyObject *give_new(struct pys_pool *owner, int kind, struct kept *to,
                          struct pys_ahead *place)
{
    struct kept given = {NULL, place->key.obj, place->value.obj, kind};
    int keeps = to != NULL && place->atoms &&
                (kind == PYS_VALUES || PyUnicode_CheckExact(given.key)) &&
                (kind == PYS_KEYS || PyBytes_CheckExact(given.value));
    given.item = pys_ahead_give(owner, kind, place);
    if (keeps && given.item != NULL)
        keep(to, &given);
    return given.item;
}

static PyObject *give_place(struct pys_pool *owner, int kind, struct places *places, uint64_t i)
{
    PyObject *item;
    if (places->half == NULL)
        return give_new(owner, kind, NULL, &places->taken[i]);
    item = places->filled[i];
    if (PMS_UNLIKELY(item == NULL))
        return give_new(owner, kind, &places->half[i], &places->taken[i]);
    places->filled[i] = NULL;
    return item;
}

static PyObject *give_places(struct pys_pool *owner, int kind, struct places *places)
{
    PyObject *list = PyList_New(places->count);
    for (Py_ssize_t i = 0; list != NULL && i < places->count; i++) {
        Py_ssize_t from = places->step == -1 ? places->count - 1 - i : i;
        PyObject *item = give_place(owner, kind, places, (uint64_t)from);
        if (PMS_UNLIKELY(item == NULL))
            Py_CLEAR(list);
        else
            PyList_SetItem(list, i, item);
    }
    return list;
}

static void drop_places(struct places *places)
{
    for (uint64_t i = 0; i < places->done; i++) {
        if (places->half != NULL)
            Py_CLEAR(places->filled[i]);
        if (places->taken != NULL)
            pys_ahead_drop(&places->taken[i]);
    }
}

PyObject *pys_sorted_slice(struct pys_proxy *self, int kind, PyObject *slice)
{
    struct pms_pool *pool = pys_core(self);
    struct places places;
    PyObject *list = NULL;
    int status;
    memset(&places, 0, offsetof(struct places, filled));
    places.stop = PY_SSIZE_T_MAX;
    places.step = 1;
    if (slice != NULL &&
        PySlice_Unpack(slice, &places.first, &places.stop, &places.step) < 0) /* runs Python */
        return NULL;
    status = pys_enter_read(pool, self->handle);
    if (status == PMS_OK) {
        uint64_t length = pms_sorted_len(pool, self->handle->off), off = self->handle->off;
        uint64_t most = pool->super.size / PMS_SORTED_ENTRY_MIN;
        if (length > most)
            status = PMS_FAIL(PMS_E_CORRUPT, "count of a sorted dict", off, most, length);
        else
            places.count = PySlice_AdjustIndices((Py_ssize_t)length, &places.first,
                                                 &places.stop, places.step);
        if (places.count > 0)
            status = take_places(self, kind, &places);
        status = pys_leave_read(pool, status);
    }
    if (status == PMS_OK)
        list = give_places(self->owner, kind, &places);
    else
        pys_raise(self->owner, status);
    if (list == NULL)
        drop_places(&places);
    free(places.taken);
    return list;
}
