/* again.h -- str and bytes that an iterator has given and nobody has kept are filled again.
 *
 *   object   refcount | type | length | hash | state .. | text .. | 0
 *                1                0      -1     as new
 *
 * As zip and dict.items() do with their tuple: an iterator keeps a reference to the last few
 * objects that it has given.  Why nobody can tell:
 *
 *   - If that is the only reference, the object would be gone with any other iterator, and its
 *     memory would be another object's.  So who looks at it without a reference of his own is
 *     wrong already, unless he is told when a str is freed: the table of interned str is, and a str
 *     says in its state that it is there.  Such a str is not filled again.
 *   - What a str remembers of its text: the hash, which is taken back; and up to Python 3.11 a
 *     wchar_t copy.  A str that has one is not filled again.
 *   - Nobody runs in between: it is done with the GIL in hand.  Free-threaded interpreters count
 *     references in another way: there, nothing is filled again.
 *
 * The length stays, so the memory does too.  Where those words lie is no promise of the interpreter,
 * so pys_again_learn looks when the module is loaded; if it finds anything else, or an interpreter
 * that is newer than those that were looked at, nothing is ever filled again.
 */
#ifndef PMS_SLOTS_AGAIN_H
#define PMS_SLOTS_AGAIN_H

#include "slots.h"

struct pys_again_head { /* of a str or bytes */
    PyObject ob_base;
    Py_ssize_t length;
    Py_hash_t hash;
    uint32_t state; /* from here on of a str alone */
    uint32_t padding;
    uint64_t wide; /* up to 3.11: the copy; then the text begins here */
};
struct pys_again {
    uint32_t str_text, bytes_text; /* where the text begins; of bytes 0: never fill one again */
    uint32_t state, mask; /* of a new str, and of which bits; no state has NEVER: no str */
};
#define PYS_AGAIN_NEVER 0x80000000u
extern struct pys_again pys_again;

/* How the interpreter lays str and bytes out.  -1: raised. */
int pys_again_learn(void);

/* Larger ones are not kept: memory is given back when the loop goes on. */
#define PYS_AGAIN_MAX 256u

/* Can it be filled again?  Such an object is kept when it has been given. */
static inline int pys_again_may(const PyObject *obj)
{
    return pys_again.bytes_text != 0 &&
           (Py_TYPE(obj) == &PyBytes_Type || Py_TYPE(obj) == &PyUnicode_Type) &&
           ((const struct pys_again_head *)obj)->length <= (Py_ssize_t)PYS_AGAIN_MAX;
}

/* 1: old has become this str.  0: it has not, and is good for nothing but to be dropped. */
static inline int pys_again_str(PyObject *old, const unsigned char *text, uint64_t len)
{
    struct pys_again_head *head = (struct pys_again_head *)old;
    unsigned char *to = (unsigned char *)old + pys_again.str_text;
    uint64_t bits = 0, word;
    if (Py_REFCNT(old) != 1 || Py_TYPE(old) != &PyUnicode_Type ||
        (uint64_t)head->length != len || (head->state & pys_again.mask) != pys_again.state ||
        (pys_again.str_text == sizeof *head && head->wide != 0))
        return 0;
    head->hash = -1;
    for (; len >= 8; len -= 8, text += 8, to += 8) {
        memcpy(&word, text, 8);
        memcpy(to, &word, 8);
        bits |= word;
    }
    for (; len > 0; len--)
        bits |= *to++ = *text++;
    return (bits & 0x8080808080808080ull) == 0;
}

/* The same of bytes. */
static inline int pys_again_bytes(PyObject *old, const void *data, uint64_t len)
{
    struct pys_again_head *head = (struct pys_again_head *)old;
    if (Py_REFCNT(old) != 1 || Py_TYPE(old) != &PyBytes_Type || (uint64_t)head->length != len ||
        pys_again.bytes_text == 0)
        return 0;
    head->hash = -1;
    memcpy((unsigned char *)old + pys_again.bytes_text, data, len);
    return 1;
}

/* ---- what iterators take ahead ---- */

/* Of an entry: a place for it.  Once it has been served, parts that are atoms and small are kept, to
 * be filled again when the place is needed. */
struct pys_ahead {
    struct pys_taken key, value; /* obj of a part that is neither there nor kept: NULL */
    int atoms;                   /* both parts are done, and no proxies; and small */
};
/* An iterator has made `made` places of so many bytes; it wants `count`. */
static inline void pys_places_make(void *places, size_t bytes, unsigned *made, unsigned count)
{
    if (PMS_UNLIKELY(count > *made)) {
        memset((char *)places + *made * bytes, 0, (count - *made) * bytes);
        *made = count;
    }
}

/* Pool entered: take a part into a place that may have a kept object.  anew: it mostly has none. */
int pys_take_key_anew(struct pms_pool *pool, const struct pms_val *key, struct pys_taken *out);
int pys_take_anew(struct pms_pool *pool, const struct pms_val *value, struct pys_taken *out);
static inline int pys_take_key_again(struct pms_pool *pool, const struct pms_val *key,
                                     struct pys_taken *out)
{
    if (PMS_LIKELY(key->tag == PMS_TAG_STR && out->obj != NULL) &&
        pys_again_str(out->obj, key->data, key->len))
        return PMS_OK;
    return pys_take_key_anew(pool, key, out);
}
static inline int pys_take_again(struct pms_pool *pool, const struct pms_val *value,
                                 struct pys_taken *out)
{
    if (PMS_LIKELY(value->tag == PMS_TAG_BYTES && out->obj != NULL) &&
        pys_again_bytes(out->obj, value->data, value->len))
        return PMS_OK;
    return pys_take_anew(pool, value, out);
}

/* The same of a str of ASCII, and of bytes.  1; 0: it is another str; -1: no memory. */
static inline int pys_ahead_str(const unsigned char *text, uint64_t len, struct pys_taken *out)
{
    if (out->obj != NULL) {
        if (pys_again_str(out->obj, text, len))
            return 1;
        Py_CLEAR(out->obj);
    }
    if (PMS_UNLIKELY(!pys_is_ascii(text, len)))
        return 0;
    out->obj = PyUnicode_DecodeASCII((const char *)text, (Py_ssize_t)len, NULL);
    return PMS_LIKELY(out->obj != NULL) ? 1 : -1;
}
static inline int pys_ahead_bytes(const unsigned char *data, uint64_t len,
                                  struct pys_taken *out)
{
    if (out->obj != NULL) {
        if (pys_again_bytes(out->obj, data, len))
            return 1;
        Py_CLEAR(out->obj);
    }
    out->obj = PyBytes_FromStringAndSize((const char *)data, (Py_ssize_t)len);
    return PMS_LIKELY(out->obj != NULL) ? 1 : -1;
}

/* Pool entered: take what the kind asks for. */
static inline int pys_ahead_take(struct pms_pool *pool, int kind, const struct pms_val *key,
                                 const struct pms_val *value, struct pys_ahead *out)
{
    int atoms = 1;
    if (kind != PYS_VALUES) {
        PMS_TRY(pys_take_key_again(pool, key, &out->key));
        atoms = pys_is_done(&out->key) & (key->len <= PYS_AGAIN_MAX);
    }
    if (kind != PYS_KEYS) {
        PMS_TRY(pys_take_again(pool, value, &out->value));
        atoms &= pys_is_done(&out->value) & (value->tag < PMS_TAG_OBJECT_MIN) &
                 (value->len <= PYS_AGAIN_MAX);
    }
    out->atoms = atoms;
    return PMS_OK;
}

/* Pool left: the object, or the pair.  The place is empty then.  NULL: raised. */
PyObject *pys_ahead_give_other(struct pys_pool *owner, int kind, struct pys_ahead *ahead);
static inline PyObject *pys_ahead_give(struct pys_pool *owner, int kind,
                                       struct pys_ahead *ahead)
{
    PyObject *key = ahead->key.obj, *value = ahead->value.obj, *result;
    if (PMS_UNLIKELY(!ahead->atoms))
        return pys_ahead_give_other(owner, kind, ahead);
    ahead->key.obj = ahead->value.obj = NULL;
    if (kind != PYS_ITEMS)
        return kind == PYS_KEYS ? key : value;
    result = PyTuple_Pack(2, key, value);
    Py_DECREF(key);
    Py_DECREF(value);
    return result;
}
/* The same of atoms, which stay there to be filled again. */
static inline PyObject *pys_ahead_serve(int kind, struct pys_pairs *pairs,
                                        const struct pys_ahead *ahead)
{
    if (kind == PYS_ITEMS)
        return pys_pair(pairs, pys_ref(ahead->key.obj), pys_ref(ahead->value.obj));
    return pys_ref(kind == PYS_KEYS ? ahead->key.obj : ahead->value.obj);
}
/* Let both parts go.  A proxy may run Python. */
static inline void pys_ahead_drop(struct pys_ahead *ahead)
{
    pys_taken_drop(&ahead->key);
    pys_taken_drop(&ahead->value);
}

#endif
