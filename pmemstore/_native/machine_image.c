/* machine_image.c -- states of what is pending, images of them, and which ones to look at. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "hash.h"
#include "machine.h"

/* ---- states ----
 *
 * Those of a line count up: whole events of cached stores, and within the next event the subsets
 * of its words; times the subsets of its non-temporal words. */

struct line_states {
    uint64_t cached, whole;
    uint32_t nt, nt_free;
};

/* Words of the event that cached store k begins; *next: the first cached store behind it. */
static uint32_t event_words(const struct pms_pending *line, uint32_t k, uint32_t *next)
{
    uint32_t words = 0, i = k;
    for (; i < line->count; i++) {
        if (line->store[i].nt)
            continue;
        if (line->store[i].event != line->store[k].event)
            break;
        words++;
    }
    *next = i;
    return words;
}

static uint32_t first_cached(const struct pms_pending *line)
{
    uint32_t k = 0;
    while (k < line->count && line->store[k].nt)
        k++;
    return k;
}

static struct line_states line_states(const struct pms_pending *line)
{
    struct line_states s = {1, 1, 0, 0};
    for (uint32_t k = first_cached(line), next; k < line->count; k = next) {
        s.cached += (1ull << event_words(line, k, &next)) - 1;
        s.whole++;
    }
    for (uint32_t k = 0; k < line->count; k++)
        s.nt += line->store[k].nt;
    s.nt_free = s.nt < PMS_NT_FREE ? s.nt : PMS_NT_FREE;
    return s;
}

uint32_t pms_machine_items(const struct pms_machine *m)
{
    return m->line.count + m->sector.count + 2;
}

void pms_machine_item(const struct pms_machine *m, uint32_t i, struct pms_item *out)
{
    uint32_t lines = m->line.count, sectors = m->sector.count;
    *out = (struct pms_item){.event = m->events};
    if (i < lines) {
        struct line_states s = line_states(&m->line.item[i]);
        out->kind = PMS_ITEM_LINE;
        out->off = m->line.item[i].off;
        out->event = m->line.item[i].event;
        out->states = s.cached << s.nt_free;
        out->whole = s.whole << s.nt_free;
    } else if (i < lines + sectors) {
        out->kind = PMS_ITEM_SECTOR;
        out->off = m->sector.item[i - lines].off;
        out->event = m->sector.item[i - lines].event;
        out->states = out->whole = m->sector.item[i - lines].count + 1;
    } else {
        int size = i == lines + sectors;
        int two = size ? m->size != m->durable_size : m->named != m->named_durable;
        out->kind = size ? PMS_ITEM_SIZE : PMS_ITEM_NAME;
        out->off = size ? m->durable_size : 0;
        out->states = out->whole = 1 + (uint64_t)two;
    }
}

uint64_t pms_machine_whole(const struct pms_machine *m, uint32_t i, uint64_t k)
{
    if (i >= m->line.count)
        return k;
    const struct pms_pending *line = &m->line.item[i];
    struct line_states s = line_states(line);
    uint64_t events = k >> s.nt_free, state = 0;
    uint32_t at = first_cached(line);
    for (; events > 0; events--)
        state += (1ull << event_words(line, at, &at)) - 1;
    return state << s.nt_free | (k & ((1ull << s.nt_free) - 1));
}

/* ---- images ---- */

static int edit(struct pms_machine *m, uint64_t off)
{
    if (m->edits == m->edit_room) {
        uint32_t room = m->edit_room ? m->edit_room * 2 : 64;
        uint64_t *more = realloc(m->edit, room * sizeof *more);
        if (!more)
            return PMS_FAIL(PMS_E_NOMEM, "an image of the medium", 0, room * sizeof *more, 0);
        m->edit = more;
        m->edit_room = room;
    }
    m->edit[m->edits++] = off;
    return PMS_OK;
}

static int set_line(struct pms_machine *m, const struct pms_pending *line, uint64_t state)
{
    struct line_states s = line_states(line);
    uint64_t nt_mask = state & ((1ull << s.nt_free) - 1), cached = state >> s.nt_free;
    uint32_t end = first_cached(line), torn = end,
             words; /* cached stores before end are there */
    uint64_t torn_mask = 0;
    while (cached > 0) {
        torn = end;
        words = event_words(line, torn, &end);
        torn_mask = cached >> words ? ((uint64_t)1 << words) - 1 : cached;
        cached -= torn_mask;
    }
    for (uint32_t k = 0, nt = 0; k < line->count; k++) {
        const struct pms_pending_store *store = &line->store[k];
        int there = k < torn;
        if (store->nt) {
            uint32_t fixed = s.nt - s.nt_free;
            there = nt < fixed ? 1 : (int)(nt_mask >> (nt - fixed) & 1);
            nt++;
        } else if (k >= torn && k < end) {
            there = (int)(torn_mask & 1);
            torn_mask >>= 1;
        }
        if (there)
            memcpy(m->image + line->off + 8 * store->index, &store->word, 8);
    }
    if (s.nt > s.nt_free)
        m->kept_nt += s.nt - s.nt_free;
    return edit(m, line->off);
}

static int set_sector(struct pms_machine *m, const struct pms_pending *sector, uint64_t state)
{
    memcpy(m->image + sector->off, sector->version[state - 1], PMS_SECTOR);
    for (uint64_t at = 0; at < PMS_SECTOR; at += PMS_LINE)
        PMS_TRY(edit(m, sector->off + at));
    return PMS_OK;
}

static uint64_t weight(const uint8_t *bytes, uint64_t off)
{
    static const uint8_t zeroes[PMS_LINE];
    return memcmp(bytes + off, zeroes, PMS_LINE) == 0
               ? 0
               : pms_hash(bytes + off, PMS_LINE, off + 1);
}

int pms_machine_image(struct pms_machine *m, const uint64_t *state)
{
    uint32_t lines = m->line.count, sectors = m->sector.count;
    for (; m->edits > 0; m->edits--) {
        uint64_t off = m->edit[m->edits - 1];
        memcpy(m->image + off, m->durable + off, PMS_LINE);
    }
    for (uint32_t i = 0; i < lines; i++)
        if (state[i])
            PMS_TRY(set_line(m, &m->line.item[i], state[i]));
    for (uint32_t i = 0; i < sectors; i++)
        if (state[lines + i])
            PMS_TRY(set_sector(m, &m->sector.item[i], state[lines + i]));
    m->image_size = state[lines + sectors] ? m->size : m->durable_size;
    m->image_named = state[lines + sectors + 1] ? m->named : m->named_durable;
    m->image_hash = m->durable_hash + pms_hash_mix(m->image_size + PMS_HASH_P0,
                                                   PMS_HASH_P1 + (m->image_named ? 1u : 0u));
    for (uint32_t i = 0; i < m->edits; i++) {
        uint64_t off = m->edit[i];
        m->image_hash += weight(m->image, off) - weight(m->durable, off);
    }
    return PMS_OK;
}

/* ---- as a file ---- */

int pms_image_open(struct pms_image_file *f, const char *path, uint64_t room)
{
    *f = (struct pms_image_file){.fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600)};
    if (f->fd < 0)
        return PMS_FAIL_OS("create a file for images", 0, room, errno);
    f->map = mmap(NULL, room, PROT_READ | PROT_WRITE, MAP_SHARED, f->fd, 0);
    if (f->map == MAP_FAILED) {
        int err = errno;
        close(f->fd);
        *f = (struct pms_image_file){.fd = -1};
        return PMS_FAIL_OS("map a file for images", 0, room, err);
    }
    f->room = room;
    return PMS_OK;
}

int pms_image_put(struct pms_image_file *f, const uint8_t *bytes, uint64_t size)
{
    struct stat st;
    if (size > f->room)
        return PMS_FAIL(PMS_E_INVAL, "an image larger than its file may be", 0, f->room, size);
    if (fstat(f->fd, &st) != 0 ||
        ((uint64_t)st.st_size != size && ftruncate(f->fd, (off_t)size) != 0))
        return PMS_FAIL_OS("resize a file for images", 0, size, errno);
    for (uint64_t at = 0; at < size; at += PMS_PAGE) {
        size_t len = size - at < PMS_PAGE ? (size_t)(size - at) : PMS_PAGE;
        if (memcmp(f->map + at, bytes + at, len) != 0)
            memcpy(f->map + at, bytes + at, len);
    }
    return PMS_OK;
}

void pms_image_close(struct pms_image_file *f)
{
    if (f->map)
        munmap(f->map, f->room);
    if (f->fd >= 0)
        close(f->fd);
    *f = (struct pms_image_file){.fd = -1};
}

/* ---- plans ---- */

static uint64_t times(uint64_t a, uint64_t b)
{
    return a > UINT64_MAX / b ? UINT64_MAX : a * b;
}

int pms_plan_begin(struct pms_plan *plan, const struct pms_machine *m, uint64_t most,
                   uint64_t dice)
{
    uint32_t items = pms_machine_items(m);
    if (items > plan->room) {
        uint64_t *state = realloc(plan->state, items * sizeof *state);
        if (state)
            plan->state = state;
        uint64_t *order = realloc(plan->order, items * sizeof *order);
        if (order)
            plan->order = order;
        if (!state || !order)
            return PMS_FAIL(PMS_E_NOMEM, "a plan of images", 0, items * sizeof *state, 0);
        plan->room = items;
    }
    plan->machine = m;
    plan->items = items;
    plan->dice = dice | 1;
    plan->most = most;
    plan->number = 0;
    plan->product = plan->whole = 1;
    for (uint32_t i = 0; i < items; i++) {
        struct pms_item item;
        pms_machine_item(m, i, &item);
        plan->product = times(plan->product, item.states);
        plan->whole = times(plan->whole, item.whole);
        uint64_t j = pms_dice_below(&plan->dice, i + 1);
        plan->order[i] = plan->order[j];
        plan->order[j] = i;
    }
    return PMS_OK;
}

static uint64_t any_state(struct pms_plan *plan, uint32_t i, const struct pms_item *item)
{
    if (pms_dice_below(&plan->dice, 2))
        return pms_machine_whole(plan->machine, i, pms_dice_below(&plan->dice, item->whole));
    return pms_dice_below(&plan->dice, item->states);
}

enum how { ALL, NONE, MISSING, ALONE, PAIR, RANDOM };

static void choose(struct pms_plan *plan, enum how how, uint64_t a, uint64_t b)
{
    uint64_t bias =
        pms_dice_below(&plan->dice, 4); /* how often a random item stays as it was */
    for (uint32_t i = 0; i < plan->items; i++) {
        struct pms_item item;
        pms_machine_item(plan->machine, i, &item);
        uint64_t last = item.states - 1;
        int named = i == a || (how == PAIR && i == b);
        uint64_t *state = &plan->state[i];
        if (item.states == 1)
            *state = 0;
        else if (how == ALL || how == NONE)
            *state = how == ALL ? last : 0;
        else if (how == MISSING || how == PAIR)
            *state = !named                           ? last
                     : pms_dice_below(&plan->dice, 2) ? 0
                                                      : any_state(plan, i, &item);
        else if (how == ALONE)
            *state = named ? last : 0;
        else
            *state = pms_dice_below(&plan->dice, 4) < bias ? 0 : any_state(plan, i, &item);
    }
}

static void numbered(struct pms_plan *plan, uint64_t n, int whole)
{
    for (uint32_t i = 0; i < plan->items; i++) {
        struct pms_item item;
        pms_machine_item(plan->machine, i, &item);
        uint64_t states = whole ? item.whole : item.states;
        plan->state[i] = whole ? pms_machine_whole(plan->machine, i, n % states) : n % states;
        n /= states;
    }
}

/* None, all, then in turns: an item missing, one alone, two missing, random. */
static void sample(struct pms_plan *plan, uint64_t n)
{
    uint64_t item = plan->order[n / 4 % plan->items];
    uint64_t other = plan->order[pms_dice_below(&plan->dice, plan->items)];
    int once = n / 4 < plan->items; /* each of them was missing, and alone, afterwards */
    if (n < 2)
        choose(plan, n ? ALL : NONE, 0, 0);
    else if (n % 4 == 2 && once)
        choose(plan, MISSING, item, 0);
    else if (n % 4 == 3 && once)
        choose(plan, ALONE, item, 0);
    else if (n % 4 == 0)
        choose(plan, PAIR, item, other);
    else
        choose(plan, RANDOM, 0, 0);
}

int pms_plan_next(struct pms_plan *plan)
{
    uint64_t n = plan->number++;
    if (n >= plan->most || (plan->product <= plan->most && n >= plan->product))
        return 0;
    if (plan->product <= plan->most)
        numbered(plan, n, 0);
    else if (n < plan->whole && plan->whole <= plan->most)
        numbered(plan, n, 1);
    else if (plan->whole <= plan->most)
        choose(plan, RANDOM, 0, 0);
    else
        sample(plan, n);
    return 1;
}

void pms_plan_free(struct pms_plan *plan)
{
    free(plan->state);
    free(plan->order);
    *plan = (struct pms_plan){0};
}
