/* look.c -- which images of a moment to look at, and which of them go on.
 *
 * What is pending has two parts: `log` (superblocks, anchors, the log, size and name: what tells
 * recovery what to do) and `heap` (the rest).  If all images are too many, states of the log part
 * are chosen, and each is asked once whether it reads the pending heap at all: with none of it,
 * all of it, a random state of it, and with noise in place of every pending word.  If the pool
 * opens sound with the same contents each time, then only these are looked at, else states of the
 * heap part are chosen too.
 *
 * Why that is enough: recovery is a function of the bytes.  Suppose that it reads a pending word
 * of the heap and does not overwrite all of them.  What it stores depends on a hash over what it
 * reads, or the word is reachable afterwards.  In the second case noise is a broken object or
 * other contents.  In the first the hash rejects noise; if some mixture of old and new words
 * were accepted, it would be the one that was in memory when the frame was sealed, and that is
 * what is durable or what is seen: pending words of one line that were sealed in between would
 * need a frame that is durable and not the last one, whose hash nobody looks at.  The random
 * state is there because this is an argument and not a test.
 */
#include "world.h"

#include "check.h"

/* The file of w is in place, its machine knows it: open, judge, go on. */
static void go_on(struct world *w, struct world *from, const char *how)
{
    uint64_t size = w->machine.size;
    uint8_t *how_bytes = malloc(size);
    CHECK(how_bytes != NULL);
    memcpy(how_bytes, w->machine.seen, size);
    allow_as(w, from);
    w->looking = w->level + 1 < WORLDS;
    int status = world_open(w, 'w', 1);
    if (status != PMS_OK) {
        wrong(w, "open", pms_detail()->what, status);
        w->looking = 0;
        free(how_bytes);
        return;
    }
    struct state *found = judge(w, from);
    if (world_found)
        describe(from, how_bytes, size, how);
    free(how_bytes);
    if (found) {
        /* Two allowed states may read the same, and differ in where their objects are. */
        struct state *here = state_new(&found->model);
        CHECK_EQ(pms_enter_read_wait(w->pool, NULL, -1), PMS_OK);
        CHECK_EQ(model_locate(w->pool, &here->model), PMS_OK);
        (void)pms_leave_read(w->pool);
        settle_on(w, here);
        state_put(here);
        if (w->setup->grows)
            (void)world_grow(w);
        if (from->doing && found == from->now &&
            dice_below(&w->dice, 2)) { /* what was interrupted is tried again */
            (void)world_single(w, from->doing, 0);
        }
        if (w->setup->then)
            w->setup->then(w);
        for (uint32_t n = 1 + dice_below(&w->dice, 3); !w->setup->then && n > 0 && !world_found;
             n--)
            world_unit(w);
        world_drain(w);
        world_collect(w);
        world_compare(w);
    }
    world_drop(w);
    world_look(w);
    w->looking = 0;
}

/* As go_on, with one who only reads: what he has seen no power cut takes back. */
static void read_on(struct world *w, struct world *from)
{
    allow_as(w, from);
    w->looking = w->level + 1 < WORLDS;
    int status = world_open(w, 'r', 1);
    if (status != PMS_OK) {
        wrong(w, "open", pms_detail()->what, status);
        w->looking = 0;
        return;
    }
    struct state *found = judge(w, from);
    if (found)
        settle_on(w, found);
    world_look(w);
    world_drop(w);
    world_look(w);
    w->looking = 0;
}

static struct world *below(struct world *w)
{
    struct world *child = world_number(w->level + 1);
    child->setup = w->setup;
    child->dice = dice_roll(&w->dice);
    child->files = w->files;
    child->eadr = w->eadr;
    child->most = w->setup->below;
    child->meanwhile = NULL;
    child->syncs_left = 0;
    child->sync_failed = 0;
    if (w->setup->crossed && dice_below(&w->dice, w->setup->crossed) == 0) {
        child->files = !w->files;
        child->eadr = 0;
        tally.crossed++;
    }
    child->machine.eadr = child->eadr;
    world_log(child);
    return child;
}

/* The image in the machine of `from`. */
static void one_image(struct world *from)
{
    struct world *w = below(from);
    struct pms_machine *m = &from->machine;
    int leaf = w->level + 1 == WORLDS;
    if (leaf || !w->setup->nested || !m->image_named ||
        dice_below(&from->dice, w->setup->nested) != 0) {
        judge_image(from, w, dice_below(&from->dice, 16) == 0);
        return;
    }
    tally.images++;
    tally.nested++;
    file_put_image(w, from);
    CHECK_EQ(pms_machine_load(&w->machine, m->image, m->image_size), PMS_OK);
    go_on(w, from, "nested");
}

/* What a process left was copied to another medium; or the same file is reached in another way from
 * now on (DAX: through a mapping, or by system calls), and what was not durable still is not. */
static void cross(struct world *w, const struct world *from)
{
    const struct pms_machine *m = &from->machine;
    int copied = m->size != m->durable_size || dice_below(&w->dice, 2);
    CHECK_EQ(pms_machine_load(&w->machine, copied ? m->seen : m->durable, m->size), PMS_OK);
    for (uint64_t off = 0; !copied && off < m->size; off += PMS_LINE) {
        struct pms_event event = {.kind = w->files ? PMS_EV_WRITE : PMS_EV_STORE,
                                  .off = off,
                                  .len = PMS_LINE,
                                  .data = m->seen + off};
        if (memcmp(m->seen + off, m->durable + off, PMS_LINE) == 0)
            continue;
        CHECK_EQ(pms_machine_take(&w->machine, &event, 0), PMS_OK);
        CHECK_EQ(pms_machine_settle(&w->machine, &event, 0), PMS_OK);
    }
}

/* The file and the machine of w are those of `from`, whose process was killed. */
static void leave(struct world *w, const struct world *from)
{
    if (w->files == from->files)
        CHECK_EQ(pms_machine_copy(&w->machine, &from->machine), PMS_OK);
    else
        cross(w, from);
    w->machine.eadr = w->eadr;
    file_put(w, from->machine.seen, from->machine.size);
}

void world_kill(struct world *from)
{
    if (from->level + 1 >= WORLDS || world_found || !from->machine.named)
        return;
    struct pms_detail detail = *pms_detail();
    struct world *w = below(from);
    tally.killed++;
    leave(w, from);
    go_on(w, from, "killed");
    /* Nobody can sync what a failed sync has left clean, but who writes it again. */
    if (!world_found && !from->sync_failed && tally.killed % 4 == 0) {
        w = below(from);
        leave(w, from);
        read_on(w, from);
    }
    *pms_detail() = detail;
}

/* ---- the choice ---- */

struct moment {
    struct world *w;
    uint64_t *fixed; /* for each item: its state, or PMS_FREE */
    uint64_t *state;
    uint8_t *heap; /* item is of the heap part */
    uint32_t items;
    uint64_t left;         /* images that may still be looked at */
    double of_heap;        /* images of the heap part alone */
    int exhaustive, whole; /* so far */
};

static int is_heap(const struct world *w, const struct pms_item *item)
{
    return item->kind < PMS_ITEM_SIZE && item->off >= PMS_ROOT_OFF &&
           (item->off < PMS_LOG_OFF || item->off >= PMS_LOG_OFF + w->setup->log_bytes);
}

static void look_at(struct moment *m, const uint64_t *state)
{
    if (m->left > 0)
        m->left--;
    CHECK_EQ(pms_machine_image(&m->w->machine, state), PMS_OK);
    one_image(m->w);
}

/* Look at the images of a plan. */
static void look_through(struct moment *m, const uint64_t *fixed, uint64_t most)
{
    struct world *w = m->w;
    CHECK_EQ(pms_plan_begin_some(&w->plan, &w->machine, fixed, most, dice_roll(&w->dice)),
             PMS_OK);
    m->exhaustive &= w->plan.product <= most;
    m->whole &= w->plan.whole <= most;
    while (!world_found && pms_plan_next(&w->plan))
        look_at(m, w->plan.state);
}

enum part { HEAP_NONE, HEAP_ALL, HEAP_ANY, HEAP_NOISE, HEAP_PARTS };

/* The present state of the log part, with one of the heap part. */
static void set_heap(struct moment *m, enum part part)
{
    struct pms_item item;
    uint64_t *dice = &m->w->dice;
    for (uint32_t i = 0; i < m->items; i++) {
        if (!m->heap[i])
            continue;
        m->state[i] = part == HEAP_NOISE ? PMS_NOISE : 0;
        if (part == HEAP_NONE || part == HEAP_NOISE)
            continue;
        pms_machine_item(&m->w->machine, i, &item);
        uint64_t roll = part == HEAP_ALL ? 1 : dice_roll(dice) >> 32 & 15;
        if (roll < 2) /* few are torn: that costs */
            m->state[i] = pms_dice_below(dice, item.states);
        if (part == HEAP_ALL || roll > 8)
            m->state[i] = item.states - 1;
    }
}

/* A state of the log part, and what was found with it. */
struct log_state {
    uint64_t contents;
    int read; /* the heap part makes a difference */
};

/* All states of the log part in `plan`, each with this part of the heap. */
static void look_with(struct moment *m, enum part part, struct log_state *found, uint64_t dice,
                      uint64_t most)
{
    struct world *w = m->w;
    struct pms_plan log = {0};
    CHECK_EQ(pms_plan_begin_some(&log, &w->machine, m->fixed, most, dice), PMS_OK);
    m->exhaustive &= log.product <= most;
    m->whole &= log.whole <= most;
    set_heap(m, part);
    for (struct log_state *f = found; !world_found && pms_plan_next(&log); f++) {
        for (uint32_t i = 0; i < m->items; i++)
            if (!m->heap[i])
                m->state[i] = log.state[i];
        if (f->read) /* it is known already, and will be looked at by a plan of its own */
            continue;
        CHECK_EQ(pms_machine_image(&w->machine, m->state), PMS_OK);
        if (part != HEAP_NOISE)
            look_at(m, m->state);
        if (world_found)
            break;
        struct world *child = below(w);
        child->files = w->files;
        uint64_t hash = probe_image(w, child);
        if (part == HEAP_NONE)
            f->contents = hash;
        f->read = hash == 0 || hash != f->contents;
    }
    pms_plan_free(&log);
}

/* All images are too many: states of the log part, and for each of them those of the heap part if
 * they matter.  The heap part changes in the outer loop: it may have thousands of lines. */
static void look_in_parts(struct moment *m)
{
    struct world *w = m->w;
    struct pms_plan log = {0};
    uint64_t part = w->most / 4 + 1, dice = dice_roll(&w->dice), n = 0;
    struct log_state *found = calloc(part, sizeof *found);
    CHECK(found != NULL);
    for (uint32_t i = 0; i < m->items; i++)
        m->fixed[i] = m->heap[i] ? 0 : PMS_FREE;
    for (enum part p = HEAP_NONE; p < HEAP_PARTS && !world_found; p++)
        look_with(m, p, found, dice, part);
    CHECK_EQ(pms_plan_begin_some(&log, &w->machine, m->fixed, part, dice), PMS_OK);
    for (; !world_found && pms_plan_next(&log); n++) {
        tally.probes++;
        tally.unread += (uint64_t)!found[n].read;
        tally.spared += found[n].read ? 0 : m->of_heap;
        if (!found[n].read)
            continue;
        for (uint32_t i = 0; i < m->items; i++)
            m->fixed[i] = m->heap[i] ? PMS_FREE : log.state[i];
        look_through(m, m->fixed, m->left < part ? m->left + 2 : part);
    }
    pms_plan_free(&log);
    free(found);
}

static void look_around(struct world *w)
{
    struct moment m = {.w = w, .items = pms_machine_items(&w->machine), .left = w->most};
    uint32_t heap_lines = 0;
    double product = 1;
    m.exhaustive = m.whole = 1;
    m.of_heap = 1;
    m.fixed = malloc(m.items * (2 * sizeof *m.fixed + 1));
    CHECK(m.fixed != NULL);
    m.state = m.fixed + m.items;
    m.heap = (uint8_t *)(m.state + m.items);
    for (uint32_t i = 0; i < m.items; i++) {
        struct pms_item item;
        pms_machine_item(&w->machine, i, &item);
        m.heap[i] = (uint8_t)is_heap(w, &item);
        heap_lines += m.heap[i];
        product *= (double)item.states;
        m.of_heap *= m.heap[i] ? (double)item.states : 1;
    }
    if (product <= (double)w->most || heap_lines == 0 || w->most < 8)
        look_through(&m, NULL, w->most);
    else
        look_in_parts(&m);
    tally.points++;
    tally.items += m.items - 2;
    tally.exhaustive += (uint64_t)m.exhaustive;
    tally.whole += (uint64_t)(m.whole && !m.exhaustive);
    tally.largest = product > tally.largest ? product : tally.largest;
    free(m.fixed);
}

void world_look(struct world *w)
{
    if (!w->looking || world_found)
        return;
    struct pms_detail detail = *pms_detail();
    w->looking = 0;
    if (!w->machine.named && !w->machine.named_durable) {
        tally.points++; /* no image has the pool */
        tally.exhaustive++;
    } else if (w->setup->thin == 0 || dice_below(&w->dice, w->setup->thin) == 0)
        look_around(w);
    if (w->setup->killed && dice_below(&w->dice, w->setup->killed) == 0)
        world_kill(w);
    w->looking = 1;
    *pms_detail() = detail;
}
