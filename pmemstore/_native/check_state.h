/* check_state.h -- inside the check: what its parts share.
 *
 *   check.c          superblocks, anchors, root page, references, leaks; the order of it all
 *   check_heap.c     page descriptors -> which blocks are allocated; who uses them
 *   check_dict.c     a dict: its buckets, its order, its keys
 *   check_list.c     a list: its tree
 *   check_array.c    an array: its header and its block
 *   check_sorted.c   a sorted dict or set: its tree, its keys
 *   check_record.c   a record: its body; a schema
 *   check_cell.c     a cell
 *
 * Three bits of DRAM for each 16 bytes of heap, at the place of a block's first byte:
 *   allocated  the descriptors say that a block begins here
 *   used       something refers to it; whoever sets the bit walks the block, so no block is
 *              walked twice and damaged links cannot lead in circles
 *   chained    an entry that was found in a bucket and not yet in the order of its dict
 */
#ifndef PMS_CHECK_STATE_H
#define PMS_CHECK_STATE_H

#include "check.h"

#define PMS_CHECK_DETAILS 1000u /* problems that are told; the others are counted */

struct pms_check_object {
    uint64_t off;
    uint64_t found; /* cells that refer to it (and 1 for the root dict) */
    uint32_t tag;   /* 0: not an object after all, told already */
    uint32_t orphan;
};

struct pms_check {
    struct pms_pool *pool;
    pms_problem_fn report;
    void *context;
    struct pms_check_result *out;
    int stopped; /* the caller has heard enough */
    int nomem;

    int collecting; /* start from the root and the handles; then come the orphans */
    uint32_t live;  /* collecting: so many objects were found before the orphans */

    uint64_t heap_start, heap_end; /* bytes [start, end) that the bits speak of */
    uint64_t *allocated, *used, *chained;
    uint8_t *page_kind; /* by page from heap_start: 0, or class + 1, or PMS_CHECK_RUN */

    struct pms_check_object *object; /* in the order of discovery: also the list of work */
    uint32_t object_count, object_room;
    uint32_t *slot; /* hash: off -> index + 1 */
    uint32_t slots;
};
#define PMS_CHECK_RUN 255u

/* ---- check.c ---- */
/* All of the check, in a state with pool, report, context, out and collecting set; then the end,
 * which gives back its memory and returns the status, or PMS_E_NOMEM. */
int pms_check_all(struct pms_check *c);
int pms_check_end(struct pms_check *c, int status);
void pms_check_problem(struct pms_check *c, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static inline int pms_check_over(const struct pms_check *c) { return c->stopped || c->nomem; }
/* All words of [off, off+len) are zero; if not, one problem. */
int pms_check_zero(struct pms_check *c, uint64_t off, uint64_t len, const char *what);
struct pms_check_object *pms_check_find(struct pms_check *c, uint64_t off);
/* An object has been met.  Its header is looked at when it is new.  NULL: none, told. */
struct pms_check_object *pms_check_meet(struct pms_check *c, uint64_t off, uint32_t tag,
                                        uint64_t from);

/* ---- check_heap.c ---- */
int pms_check_heap(struct pms_check *c);
/* Does an allocated block of at least `need` bytes start at off?  Tells the problem if not:
 * `what` it should be, and `from` where that was read.  Returns its capacity, or 0. */
uint64_t pms_check_block(struct pms_check *c, uint64_t off, uint64_t need, const char *what,
                         uint64_t from);
/* The same, and it is used from now on; a block that is used already is a problem. */
uint64_t pms_check_use(struct pms_check *c, uint64_t off, uint64_t need, const char *what,
                       uint64_t from);
/* First allocated and unused block at or behind off; 0: none.  *capacity: its bytes. */
uint64_t pms_check_unused(struct pms_check *c, uint64_t off, uint64_t *capacity);

/* ---- check_dict.c ---- */
void pms_check_dict(struct pms_check *c, uint64_t dict);
/* ---- check_list.c ---- */
void pms_check_list(struct pms_check *c, uint64_t list);
/* ---- check_array.c ---- */
void pms_check_array(struct pms_check *c, uint64_t array);
/* ---- check_sorted.c ---- */
void pms_check_sorted(struct pms_check *c, uint64_t sorted);
/* ---- check_record.c ---- */
void pms_check_record(struct pms_check *c, uint64_t record);
void pms_check_schema(struct pms_check *c, uint64_t schema);
/* ---- check_cell.c ---- */
/* The cell at off.  inner: so many INNER bytes may begin in its word; 0 for lists. */
void pms_check_cell(struct pms_check *c, uint64_t off, uint64_t inner);
int pms_check_utf8(const uint8_t *text, uint64_t len);

/* Bits. */
static inline uint64_t pms_check_index(const struct pms_check *c, uint64_t off)
{
    return (off - c->heap_start) / 16;
}
static inline int pms_check_bit(const uint64_t *bits, uint64_t i)
{
    return (int)(bits[i / 64] >> i % 64 & 1);
}
static inline void pms_check_bit_set(uint64_t *bits, uint64_t i)
{
    bits[i / 64] |= 1ull << i % 64;
}
static inline void pms_check_bit_clear(uint64_t *bits, uint64_t i)
{
    bits[i / 64] &= ~(1ull << i % 64);
}

#endif
