/* again.c -- how the interpreter lays str and bytes out: looked at, not believed. */
#include "again.h"

struct pys_again pys_again = {.state = PYS_AGAIN_NEVER};

#ifdef Py_GIL_DISABLED
int pys_again_learn(void) { return 0; }
#else
static_assert(sizeof(PyObject) == 16 && sizeof(Py_hash_t) == 8,
              "the head is what again.h says");
static_assert(sizeof(struct pys_again_head) == 48, "the text of a str up to 3.11");

/* The first interpreter that was not looked at.  From 3.14 on a tuple remembers its hash: kept pairs
 * (sorted_slice.c) must not be filled there, whatever is found out about str and bytes. */
#define BEYOND 0x030E0000

/* Is the object laid out as the head says, with its text at `at`? */
static int is_known(PyObject *obj, const char *text, size_t at, size_t want)
{
    const struct pys_again_head *head = (const struct pys_again_head *)obj;
    Py_hash_t hash;
    if (at != want || head->length != (Py_ssize_t)strlen(text) || head->hash != -1 ||
        memcmp((const char *)obj + at, text, strlen(text) + 1) != 0)
        return 0;
    hash = PyObject_Hash(obj);
    return hash != -1 && head->hash == hash;
}

/* The state of a new str, and that interning shows in it. */
static void learn_state(PyObject **str)
{
    const struct pys_again_head *head = (const struct pys_again_head *)*str;
    uint32_t state = head->state & pys_again.mask;
    PyUnicode_InternInPlace(str);
    if (head == (const void *)*str && (head->state & pys_again.mask) != state)
        pys_again.state = state;
}

int pys_again_learn(void)
{
    static const char text[] = "pmemstore: how a str is laid out";
    PyObject *str = PyUnicode_FromStringAndSize(text, sizeof text - 1);
    PyObject *bytes = PyBytes_FromStringAndSize(text, sizeof text - 1);
    const char *at_str = str != NULL ? PyUnicode_AsUTF8AndSize(str, NULL) : NULL;
    const char *at_bytes = bytes != NULL ? PyBytes_AsString(bytes) : NULL;
    if (at_str != NULL && at_bytes != NULL && Py_Version < BEYOND) {
        size_t head = Py_Version < 0x030C0000 ? sizeof(struct pys_again_head)
                                              : offsetof(struct pys_again_head, wide);
        size_t to_str = (size_t)(at_str - (const char *)str);
        size_t to_bytes = (size_t)(at_bytes - (const char *)bytes);
        pys_again.mask = 0xff; /* interned, kind, compact, ascii, and one more */
        pys_again.str_text = (uint32_t)to_str;
        if (is_known(str, text, to_str, head))
            learn_state(&str);
        if (is_known(bytes, text, to_bytes, offsetof(struct pys_again_head, state)))
            pys_again.bytes_text = (uint32_t)to_bytes;
    }
    Py_XDECREF(str);
    Py_XDECREF(bytes);
    return PyErr_Occurred() ? -1 : 0;
}
#endif

/* Fill the object again that is there, or let it go. */
static int is_filled(const struct pms_val *value, struct pys_taken *out)
{
    if (out->obj == NULL)
        return 0;
    if (value->tag == PMS_TAG_STR
            ? pys_again_str(out->obj, value->data, value->len)
            : value->tag == PMS_TAG_BYTES && pys_again_bytes(out->obj, value->data, value->len))
        return 1;
    Py_CLEAR(out->obj);
    return 0;
}

int pys_take_key_anew(struct pms_pool *pool, const struct pms_val *key, struct pys_taken *out)
{
    return is_filled(key, out) ? PMS_OK : pys_take_key(pool, key, out);
}

int pys_take_anew(struct pms_pool *pool, const struct pms_val *value, struct pys_taken *out)
{
    return is_filled(value, out) ? PMS_OK : pys_take(pool, value, out);
}

PyObject *pys_ahead_give_other(struct pys_pool *owner, int kind, struct pys_ahead *ahead)
{
    struct pys_ahead one = *ahead; /* Python may come back: the place is empty by then */
    PyObject *result;
    memset(ahead, 0, sizeof *ahead);
    if (kind == PYS_ITEMS)
        result = pys_give_pair(owner, &one.key, &one.value);
    else
        result = pys_give(owner, kind == PYS_KEYS ? &one.key : &one.value);
    pys_ahead_drop(&one);
    return result;
}
