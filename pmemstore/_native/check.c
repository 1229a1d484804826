/* check.c -- the exhaustive check of a pool: what lies before the heap, references, leaks.
 *
 *   superblocks, anchors, reserves, root page
 *   heap descriptors                       -> which blocks are allocated
 *   root dict, orphans                     -> the first objects
 *   each object, in the order of discovery -> its blocks, and more objects
 *   allocated blocks that nobody uses      -> unreachable objects, then leaked blocks
 *   references counted against references found
 *
 * The list of work is the table of objects itself, so depth of nesting costs no stack.  Every
 * loop takes a block that no earlier step has taken (pms_check_use) or moves on in a table of
 * fixed size: damaged links cannot make it endless.
 *
 *   C11  both superblock slots, and both anchor slots, are valid; the superblocks are equal (a
 *        reader of what a crash left: one of each is valid; the next writer repairs the other)
 *   C12  O1, O2 of object.h: refs == cells that refer; orphans == objects without references
 *   C13  allocated == reachable
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "check_state.h"
#include "hash.h"
#include "recover.h"

#define TEXT_MAX 512

void pms_check_problem(struct pms_check *c, const char *format, ...)
{
    char text[TEXT_MAX];
    va_list args;
    if (c->stopped || ++c->out->problems > PMS_CHECK_DETAILS || !c->report)
        return;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (c->report(c->context, text))
        c->stopped = 1;
}

int pms_check_zero(struct pms_check *c, uint64_t off, uint64_t len, const char *what)
{
    for (uint64_t at = off; at < off + len; at += 8) {
        uint64_t word = pms_get(c->pool, at);
        if (word) {
            pms_check_problem(c, "%s at offset %" PRIu64 " is %#" PRIx64 " instead of zero",
                              what, at, word);
            return 0;
        }
    }
    return 1;
}

/* ---- before the heap ---- */

static int read_bytes(struct pms_check *c, uint64_t off, size_t len, void *out)
{
    const void *bytes = pms_rd_bytes(&c->pool->ws, off, len);
    if (!bytes) {
        c->nomem = 1;
        return 0;
    }
    memcpy(out, bytes, len);
    return 1;
}

/* What is wrong with a superblock, or NULL. */
static const char *super_fault(const struct pms_super_pm *s)
{
    if (s->magic != PMS_MAGIC)
        return "has a wrong magic";
    if (s->csum != pms_hash(s, offsetof(struct pms_super_pm, csum), PMS_MAGIC))
        return "has a wrong checksum";
    if (s->version != PMS_FORMAT_VERSION || s->header_bytes != sizeof *s)
        return "has an unknown version";
    if (s->in_use > 1)
        return "has an impossible mark of use";
    for (size_t i = 0; i < sizeof s->zero1 / 8; i++)
        if (s->zero1[i])
            return "has a reserve that is not zero";
    if (s->log_off != PMS_LOG_OFF || s->log_bytes < PMS_LOG_MIN || s->log_bytes % PMS_LINE ||
        s->log_bytes > PMS_LOG_MAX || s->log_off + s->log_bytes > s->heap_start)
        return "has a log that lies elsewhere";
    if (s->size > s->limit || s->limit > PMS_POOL_MAX || s->size % PMS_PAGE)
        return "has an impossible size";
    if (s->nregions == 0 || s->nregions > PMS_REGIONS_MAX ||
        s->regions[0].start != s->heap_start)
        return "has an impossible number of regions";
    return NULL;
}

static const char *region_fault(const struct pms_super_pm *s, uint32_t i)
{
    const struct pms_region_pm *r = &s->regions[i];
    if (i >= s->nregions)
        return r->start || r->cap_pages ? "is not in use, but not zero" : NULL;
    if (r->start % PMS_REGION_ALIGN || r->cap_pages % (PMS_REGION_ALIGN / PMS_PAGE) ||
        r->cap_pages == 0)
        return "is not aligned";
    if (r->start >= s->size || r->cap_pages > PMS_POOL_MAX / PMS_PAGE)
        return "begins behind the pool's end";
    uint64_t end = r->start + r->cap_pages * PMS_PAGE;
    if (i + 1 < s->nregions ? end != s->regions[i + 1].start : end < s->size)
        return "does not end where the next one, or the pool, goes on";
    return NULL;
}

/* One of two, torn or of another generation: open for writing mends it before anything else. */
static int superblock_left_by_crash(const struct pms_check *c, const struct pms_super_pm *s)
{
    const struct pms_super_pm *other = &c->pool->super;
    int torn = s->csum != pms_hash(s, offsetof(struct pms_super_pm, csum), PMS_MAGIC);
    return c->pool->read_only && memcmp(s, other, sizeof *s) != 0 &&
           (torn || s->gen != other->gen);
}

static void check_super(struct pms_check *c)
{
    struct pms_super_pm slot[2];
    int left_by_crash = 0;
    for (uint32_t i = 0; i < 2; i++) {
        uint64_t off = PMS_SUPER_OFF + i * PMS_PAGE;
        if (!read_bytes(c, off, sizeof slot[i], &slot[i]))
            return;
        const char *fault = super_fault(&slot[i]);
        if (superblock_left_by_crash(c, &slot[i]) && left_by_crash++ == 0)
            continue;
        if (fault)
            pms_check_problem(c, "the superblock at offset %" PRIu64 " %s", off, fault);
        for (uint32_t k = 0; k < PMS_REGIONS_MAX && !fault; k++) {
            const char *wrong = region_fault(&slot[i], k);
            if (wrong)
                pms_check_problem(c,
                                  "region %" PRIu32 " of the superblock at offset %" PRIu64
                                  ", %" PRIu64 " pages from offset %" PRIu64 " on, %s",
                                  k, off, slot[i].regions[k].cap_pages,
                                  slot[i].regions[k].start, wrong);
        }
        pms_check_zero(c, off + sizeof slot[i], PMS_PAGE - sizeof slot[i],
                       "the rest of a superblock's page");
    }
    if (!left_by_crash && memcmp(&slot[0], &slot[1], sizeof slot[0]) != 0)
        pms_check_problem(c,
                          "the superblocks differ: generation %" PRIu64 " and %" PRIu64
                          ", size %" PRIu64 " and %" PRIu64,
                          slot[0].gen, slot[1].gen, slot[0].size, slot[1].size);
}

static const char anchor_torn[] = "has a wrong checksum";

static const char *anchor_fault(const struct pms_anchor_pm *a, uint64_t log_bytes)
{
    if (a->csum != pms_hash(a, offsetof(struct pms_anchor_pm, csum), PMS_MAGIC))
        return anchor_torn;
    if (a->closed > 1)
        return "has an unknown state";
    if (a->zero1[0] || a->zero1[1])
        return "has a reserve that is not zero";
    if (a->mode != PMS_MODE_DIRECT && a->mode != PMS_MODE_FILE)
        return "has an unknown mode";
    if (a->pos % PMS_LINE || a->pos > log_bytes)
        return "has a position outside the log";
    return NULL;
}

static void check_anchors(struct pms_check *c)
{
    const struct pms_recovery *rest = c->pool->untaken;
    int written_again = !c->pool->read_only && (!rest || pms_recover_done(rest));
    int left_by_crash = 0;
    for (uint32_t i = 0; i < 2; i++) {
        struct pms_anchor_pm anchor;
        uint64_t off = PMS_ANCHOR_OFF + i * PMS_PAGE;
        if (!read_bytes(c, off, sizeof anchor, &anchor))
            return;
        const char *fault = anchor_fault(&anchor, c->pool->super.log_bytes);
        if (fault == anchor_torn && !written_again && left_by_crash++ == 0)
            continue;
        if (fault)
            pms_check_problem(c, "the anchor at offset %" PRIu64 " %s", off, fault);
        pms_check_zero(c, off + sizeof anchor, PMS_PAGE - sizeof anchor,
                       "the rest of an anchor's page");
    }
}

static void check_root_page(struct pms_check *c)
{
    const struct pms_super_pm *super = &c->pool->super;
    uint64_t top = pms_get(c->pool, PMS_ROOT_OFF + offsetof(struct pms_root_pm, top));
    uint64_t zero = offsetof(struct pms_root_pm, zero);
    if (top < super->heap_start / PMS_PAGE || top > super->size / PMS_PAGE)
        pms_check_problem(c,
                          "the root page says that pages below %" PRIu64
                          " have been used; the heap is [%" PRIu64 ", %" PRIu64 ")",
                          top, super->heap_start / PMS_PAGE, super->size / PMS_PAGE);
    pms_check_zero(c, PMS_ROOT_OFF + zero, PMS_PAGE - zero, "the reserve of the root page");
    pms_check_zero(c, PMS_RESERVED_OFF, PMS_LOG_OFF - PMS_RESERVED_OFF,
                   "the reserve before the log");
}

/* ---- the table of objects ---- */

static uint32_t slot_of(const struct pms_check *c, uint64_t off)
{
    return (uint32_t)((off >> 4) * 0x9e3779b97f4a7c15ull >> 32) & (c->slots - 1);
}

static uint32_t *find_slot(const struct pms_check *c, uint64_t off)
{
    uint32_t i = slot_of(c, off);
    while (c->slot[i] && c->object[c->slot[i] - 1].off != off)
        i = (i + 1) & (c->slots - 1);
    return &c->slot[i];
}

struct pms_check_object *pms_check_find(struct pms_check *c, uint64_t off)
{
    uint32_t *slot = c->slots ? find_slot(c, off) : NULL;
    return slot && *slot ? &c->object[*slot - 1] : NULL;
}

static int table_grow(struct pms_check *c)
{
    uint32_t room = c->object_room ? 2 * c->object_room : 64, slots = 2 * room;
    struct pms_check_object *object = realloc(c->object, room * sizeof *object);
    if (object)
        c->object = object;
    uint32_t *slot = object && room < UINT32_MAX / 4 ? calloc(slots, sizeof *slot) : NULL;
    if (!slot) {
        c->nomem = 1;
        return 0;
    }
    free(c->slot);
    c->slot = slot;
    c->slots = slots;
    c->object_room = room;
    for (uint32_t i = 0; i < c->object_count; i++)
        *find_slot(c, c->object[i].off) = i + 1;
    return 1;
}

static struct pms_check_object *table_add(struct pms_check *c, uint64_t off, uint32_t tag)
{
    if (c->object_count == c->object_room && !table_grow(c))
        return NULL;
    struct pms_check_object *object = &c->object[c->object_count++];
    *object = (struct pms_check_object){.off = off, .tag = tag};
    *find_slot(c, off) = c->object_count;
    return object;
}

/* The tag of the object at off if its header may be one, else 0. */
static uint32_t header_tag(const struct pms_check *c, uint64_t off)
{
    uint64_t tag = pms_get(c->pool, off) ^ PMS_OBJECT_MAGIC;
    return tag <= UINT32_MAX && pms_tag_is_object((uint32_t)tag) ? (uint32_t)tag : 0;
}

struct pms_check_object *pms_check_meet(struct pms_check *c, uint64_t off, uint32_t tag,
                                        uint64_t from)
{
    struct pms_check_object *object = pms_check_find(c, off);
    if (!object) {
        if (!pms_check_use(c, off, pms_kind_of(tag)->bytes, "an object", from))
            return NULL;
        uint64_t magic = pms_get(c->pool, off);
        if (magic != (PMS_OBJECT_MAGIC | tag))
            pms_check_problem(c,
                              "the object at offset %" PRIu64 ", found at offset %" PRIu64
                              ", has the magic %#" PRIx64 " instead of %#" PRIx64,
                              off, from, magic, (uint64_t)(PMS_OBJECT_MAGIC | tag));
        object = table_add(c, off, magic == (PMS_OBJECT_MAGIC | tag) ? tag : 0);
        if (object && object->tag)
            c->out->objects++;
    } else if (object->tag && object->tag != tag) {
        pms_check_problem(c,
                          "the cell at offset %" PRIu64 " has tag %" PRIu32
                          ", but the object at offset %" PRIu64 " has tag %" PRIu32,
                          from, tag, off, object->tag);
    }
    return object;
}

/* ---- roots ---- */

/* The root dict, and the dict of schemas. */
static void meet_roots(struct pms_check *c)
{
    uint64_t at = PMS_ROOT_OFF + offsetof(struct pms_root_pm, root);
    struct pms_check_object *root = pms_check_meet(c, pms_get(c->pool, at), PMS_TAG_DICT, at);
    if (root)
        root->found++;
    at = PMS_ROOT_OFF + offsetof(struct pms_root_pm, schemas);
    if (pms_get(c->pool, at) == 0)
        return;
    root = pms_check_meet(c, pms_get(c->pool, at), PMS_TAG_DICT, at);
    if (root)
        root->found++;
}

static void meet_orphans(struct pms_check *c)
{
    uint64_t from = PMS_ROOT_OFF + offsetof(struct pms_root_pm, orphans);
    uint64_t off = pms_get(c->pool, from), before = 0;
    while (off && !pms_check_over(c)) {
        struct pms_check_object *object = pms_check_find(c, off);
        if (object && (object->orphan || object == c->object)) {
            pms_check_problem(c,
                              "the object at offset %" PRIu64 " is in the list of orphans, but "
                              "%s",
                              off, object->orphan ? "a second time" : "is the root");
            return;
        }
        if (!object &&
            !pms_check_block(c, off, sizeof(struct pms_object_pm), "an orphan", from))
            return;
        uint32_t tag = header_tag(c, off);
        if (!object)
            object = pms_check_meet(c, off, tag ? tag : PMS_TAG_LIST, from);
        if (!object)
            return;
        object->orphan = 1;
        c->out->orphans++;
        uint64_t prev = pms_get(c->pool, off + offsetof(struct pms_object_pm, orphan_prev));
        if (prev != before)
            pms_check_problem(c,
                              "the orphan at offset %" PRIu64 " has the predecessor %" PRIu64
                              ", not %" PRIu64,
                              off, prev, before);
        if (!object->tag)
            return;
        before = off;
        from = off + offsetof(struct pms_object_pm, orphan_next);
        off = pms_get(c->pool, from);
    }
}

/* What somebody looks at, for a collection. */
static void meet_handles(struct pms_check *c)
{
    const struct pms_pool *pool = c->pool;
    for (uint32_t slot = 0; slot < pool->handle_slots; slot++)
        for (const struct pms_handle *handle = pool->handle_slot[slot];
             handle && !pms_check_over(c); handle = handle->next)
            pms_check_meet(c, handle->off, handle->tag, 0);
}

static void (*const walk_kind[PMS_TAG_OBJECTS])(struct pms_check *c, uint64_t off) = {
    [PMS_TAG_DICT - PMS_TAG_OBJECT_MIN] = pms_check_dict,
    [PMS_TAG_LIST - PMS_TAG_OBJECT_MIN] = pms_check_list,
    [PMS_TAG_SET - PMS_TAG_OBJECT_MIN] = pms_check_dict,
    [PMS_TAG_DEQUE - PMS_TAG_OBJECT_MIN] = pms_check_list,
    [PMS_TAG_ARRAY - PMS_TAG_OBJECT_MIN] = pms_check_array,
    [PMS_TAG_SORTED_DICT - PMS_TAG_OBJECT_MIN] = pms_check_sorted,
    [PMS_TAG_SORTED_SET - PMS_TAG_OBJECT_MIN] = pms_check_sorted,
    [PMS_TAG_RECORD - PMS_TAG_OBJECT_MIN] = pms_check_record,
    [PMS_TAG_SCHEMA - PMS_TAG_OBJECT_MIN] = pms_check_schema,
};

/* Objects from number `first` on, and what they lead to. */
static void walk_objects(struct pms_check *c, uint32_t first)
{
    for (uint32_t i = first; i < c->object_count && !pms_check_over(c); i++) {
        uint64_t off = c->object[i].off;
        if (c->object[i].tag)
            walk_kind[c->object[i].tag - PMS_TAG_OBJECT_MIN](c, off);
    }
}

/* ---- leaks ---- */

/* An object that nothing refers to but what cannot be reached either, and all that it leads to. */
static void walk_garbage(struct pms_check *c, uint64_t off, uint32_t tag, uint64_t capacity)
{
    uint32_t first = c->object_count;
    uint64_t objects = c->out->objects, bytes = c->out->reachable_bytes;
    if (!pms_check_meet(c, off, tag, off))
        return;
    walk_objects(c, first);
    c->out->damage--; /* of the problem that follows */
    c->out->unreachable += c->out->objects - objects;
    pms_check_problem(c,
                      "the %s at offset %" PRIu64 ", %" PRIu64
                      " bytes, is unreachable; it leads to %" PRIu64 " more objects, %" PRIu64
                      " bytes in all, that are unreachable too",
                      pms_kind_of(tag)->name, off, capacity, c->out->objects - objects - 1,
                      c->out->reachable_bytes - bytes);
}

static void walk_unreachable(struct pms_check *c)
{
    uint64_t capacity;
    uint64_t off = pms_check_unused(c, c->heap_start, &capacity);
    for (; off && !pms_check_over(c); off = pms_check_unused(c, off + 16, &capacity)) {
        uint32_t tag = header_tag(c, off);
        if (tag && capacity >= pms_kind_of(tag)->bytes)
            walk_garbage(c, off, tag, capacity);
    }
}

static void tell_leaks(struct pms_check *c)
{
    uint64_t capacity;
    uint64_t off = pms_check_unused(c, c->heap_start, &capacity);
    for (; off && !pms_check_over(c); off = pms_check_unused(c, off + 16, &capacity))
        pms_check_problem(c,
                          "the block at offset %" PRIu64 ", %" PRIu64
                          " bytes, is allocated, but nothing refers to it",
                          off, capacity);
}

static void check_references(struct pms_check *c)
{
    for (uint32_t i = 0; i < c->object_count && !pms_check_over(c); i++) {
        const struct pms_check_object *object = &c->object[i];
        if (!object->tag)
            continue;
        uint64_t off = object->off;
        uint64_t refs = pms_get(c->pool, off + offsetof(struct pms_object_pm, refs));
        if (refs != object->found)
            pms_check_problem(c,
                              "the object at offset %" PRIu64 " counts %" PRIu64
                              " references, but %" PRIu64 " were found",
                              off, refs, object->found);
        if (object->orphan != (refs == 0))
            pms_check_problem(c,
                              "the object at offset %" PRIu64 " has %" PRIu64
                              " references and is %s the list of orphans",
                              off, refs, object->orphan ? "in" : "not in");
        if (!object->orphan)
            pms_check_zero(c, off + offsetof(struct pms_object_pm, orphan_next), 16,
                           "an orphan's link of an object that is none");
    }
}

int pms_check_all(struct pms_check *c)
{
    memset(c->out, 0, sizeof *c->out);
    check_super(c);
    check_anchors(c);
    check_root_page(c);
    PMS_TRY(pms_check_heap(c));
    if (pms_check_over(c))
        return PMS_OK;
    meet_roots(c);
    if (c->collecting) {
        meet_handles(c);
        walk_objects(c, 0);
        c->live = c->object_count;
    }
    meet_orphans(c);
    walk_objects(c, c->live);
    uint64_t reachable = c->out->reachable_bytes;
    walk_unreachable(c);
    tell_leaks(c);
    check_references(c);
    c->out->reachable_bytes = reachable;
    c->out->leaked_bytes = c->out->allocated_bytes - reachable;
    c->out->damage += c->out->problems;
    return PMS_OK;
}

int pms_check_end(struct pms_check *c, int status)
{
    free(c->allocated);
    free(c->used);
    free(c->chained);
    free(c->page_kind);
    free(c->object);
    free(c->slot);
    return c->nomem ? PMS_FAIL_NOMEM("check the pool", 0) : status;
}

int pms_pool_check(struct pms_pool *pool, pms_problem_fn report, void *context,
                   struct pms_check_result *out)
{
    struct pms_check_result unused;
    struct pms_check c = {
        .pool = pool, .report = report, .context = context, .out = out ? out : &unused};
    return pms_check_end(&c, pms_check_all(&c));
}
