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
 * of its words; times the subsets of its non-temporal words.  For sectors see sector_states. */

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

static void count_states(struct pms_pending *line)
{
    line->states = line->whole = 1;
    for (uint32_t k = first_cached(line), next; k < line->count; k = next) {
        line->states += (1ull << event_words(line, k, &next)) - 1;
        line->whole++;
    }
}

static inline struct line_states line_states(struct pms_pending *line)
{
    if (line->states == 0)
        count_states(line);
    return (struct line_states){line->states, line->whole, line->nt,
                                line->nt < PMS_NT_FREE ? line->nt : PMS_NT_FREE};
}

/* Words that version v of a sector (1: the first) changes. */
static uint32_t version_words(const struct pms_machine *m, const struct pms_pending *sector,
                              uint32_t v)
{
    const uint8_t *old = v > 1 ? sector->version[v - 2] : m->durable + sector->off;
    uint32_t words = 0;
    for (uint32_t at = 0; at < PMS_SECTOR; at += 8)
        words += memcmp(old + at, sector->version[v - 1] + at, 8) != 0;
    return words;
}

/* How a version may be torn: 1 .. words - 1 of its words from the front, or as many from the back. */
static uint32_t tears(uint32_t words) { return words > 1 ? 2 * (words - 1) : 0; }

/* States of a sector count up: each version, behind all ways to tear it. */
static uint64_t sector_states(const struct pms_machine *m, struct pms_pending *sector)
{
    if (sector->states == 0) {
        sector->states = 1;
        for (uint32_t v = 1; v <= sector->count; v++)
            sector->states += tears(version_words(m, sector, v)) + 1;
    }
    return sector->states;
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
        out->states = sector_states(m, &m->sector.item[i - lines]);
        out->whole = m->sector.item[i - lines].count + 1;
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
    if (i >= m->line.count + m->sector.count)
        return k;
    if (i >= m->line.count) {
        const struct pms_pending *sector = &m->sector.item[i - m->line.count];
        uint64_t at = 0;
        for (uint32_t v = 1; v <= k; v++)
            at += tears(version_words(m, sector, v)) + 1;
        return at;
    }
    struct pms_pending *line = &m->line.item[i];
    struct line_states s = line_states(line);
    uint64_t events = k >> s.nt_free, state = 0;
    uint32_t at = first_cached(line);
    for (; events > 0; events--)
        state += (1ull << event_words(line, at, &at)) - 1;
    return state << s.nt_free | (k & ((1ull << s.nt_free) - 1));
}

/* ---- images ---- */

static uint64_t weight_of(const struct pms_machine *m, uint64_t off, uint64_t len)
{
    uint64_t sum = 0;
    for (uint64_t at = off; at < off + len; at += PMS_LINE)
        sum += pms_machine_weight(m->image + at, at) - pms_machine_weight(m->durable + at, at);
    return sum;
}

static void set_line(struct pms_machine *m, struct pms_pending *line, uint64_t state)
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
}

static void set_sector(struct pms_machine *m, const struct pms_pending *sector, uint64_t state)
{
    uint32_t v = 1, words = version_words(m, sector, v);
    while (state > tears(words) + 1 && v < sector->count) {
        state -= tears(words) + 1;
        words = version_words(m, sector, ++v);
    }
    const uint8_t *new = sector->version[v - 1];
    memcpy(m->image + sector->off, v > 1 ? sector->version[v - 2] : m->durable + sector->off,
           PMS_SECTOR);
    uint64_t from = 0, to = words; /* of the words that change, these do */
    if (state < words)
        to = state;
    else if (state <= tears(words))
        from = state - words + 1;
    for (uint64_t at = 0, k = 0; at < PMS_SECTOR; at += 8)
        if (memcmp(m->image + sector->off + at, new + at, 8) != 0) {
            if (k >= from && k < to)
                memcpy(m->image + sector->off + at, new + at, 8);
            k++;
        }
}

static uint64_t line_all(struct pms_pending *line)
{
    struct line_states s = line_states(line);
    return s.cached << s.nt_free;
}

static void set_noise(struct pms_machine *m, const struct pms_pending *item, int sector)
{
    for (uint64_t at = 0; at < (sector ? PMS_SECTOR : PMS_LINE); at += 8) {
        uint64_t off = item->off + at, noise = pms_hash_mix(off + PMS_HASH_P0, PMS_HASH_P1);
        int pending = 0;
        for (uint32_t k = 0; k < item->count && !pending; k++)
            pending = sector ? memcmp(item->version[k] + at, m->durable + off, 8) != 0
                             : item->store[k].index == at / 8;
        if (pending)
            memcpy(m->image + off, &noise, 8);
    }
}

/* Put item i of image into a state; its line or sector is as durable or in another state. */
static void set_item(struct pms_machine *m, uint32_t i, uint64_t state)
{
    int sector = i >= m->line.count;
    struct pms_pending *item = sector ? &m->sector.item[i - m->line.count] : &m->line.item[i];
    uint64_t len = sector ? PMS_SECTOR : PMS_LINE;
    int rest = pms_machine_is_rest(m, item->off);
    uint64_t old = item->weight;
    int seen = !sector && !m->overlap && state + 1 == line_all(item);
    if (!seen)
        pms_machine_restore(m, item->off, len);
    if (state == 0) {
        item->weight = 0;
    } else if (seen) {
        memcpy(m->image + item->off, m->seen + item->off, PMS_LINE);
        pms_machine_changed(m, item->off);
        if (item->weight_seen == 0)
            item->weight_seen = weight_of(m, item->off, len);
        item->weight = item->weight_seen;
    } else if (state == PMS_NOISE) { /* it is in no hurry to be found equal to another one */
        set_noise(m, item, sector);
        item->weight = pms_hash_mix(item->off + PMS_HASH_P0, item->event + PMS_HASH_P2);
    } else if (sector) {
        set_sector(m, item, state);
        item->weight = weight_of(m, item->off, len);
    } else {
        set_line(m, item, state);
        item->weight = weight_of(m, item->off, len);
    }
    m->image_hash += item->weight - old;
    m->image_rest += rest ? item->weight - old : 0;
    m->state[i] = state;
}

/* Is a line pending inside a sector that is pending too?  The sector goes on top. */
static int overlap(const struct pms_machine *m)
{
    for (uint32_t i = 0; m->sector.count > 0 && i < m->line.count; i++)
        if (m->sector.slot[m->line.item[i].off / PMS_SECTOR])
            return 1;
    return 0;
}

static int hidden(const struct pms_machine *m, uint32_t i, const uint64_t *state)
{
    uint32_t slot = i < m->line.count ? m->sector.slot[m->line.item[i].off / PMS_SECTOR] : 0;
    return slot && state[m->line.count + slot - 1];
}

/* The first image since something has happened: nothing of it is there yet. */
static int first_image(struct pms_machine *m, uint32_t items)
{
    if (items > m->state_room) {
        uint64_t *more = realloc(m->state, items * 2 * sizeof *more);
        if (!more)
            return PMS_FAIL(PMS_E_NOMEM, "an image of the medium", 0, items * 16, 0);
        m->state = more;
        m->state_room = items * 2;
    }
    memset(m->state, 0, items * sizeof *m->state);
    m->states = items;
    m->overlap = overlap(m);
    m->image_hash = m->durable_hash;
    m->image_rest = m->durable_rest;
    return PMS_OK;
}

static uint64_t size_hash(const struct pms_machine *m)
{
    return pms_hash_mix(m->image_size + PMS_HASH_P0, PMS_HASH_P1 + (m->image_named ? 1u : 0u));
}

int pms_machine_image(struct pms_machine *m, const uint64_t *state)
{
    uint32_t items = m->line.count + m->sector.count;
    if (m->states == 0)
        PMS_TRY(first_image(m, items + 2));
    else
        m->image_hash -= size_hash(m);
    if (m->overlap) { /* start again */
        for (uint32_t i = 0; i < items; i++)
            if (m->state[i])
                set_item(m, i, 0);
        for (uint32_t i = 0; i < items; i++)
            if (state[i] && !hidden(m, i, state))
                set_item(m, i, state[i]);
    } else {
        for (uint32_t i = 0; i < items; i++)
            if (state[i] != m->state[i])
                set_item(m, i, state[i]);
    }
    m->image_size = state[items] ? m->size : m->durable_size;
    m->image_named = state[items + 1] ? m->named : m->named_durable;
    m->image_hash += size_hash(m);
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
    /* New pages are written, also with zeroes: on tmpfs the kernel may drop those that were only read,
     * and whoever watches the file takes that for a hole. */
    for (uint64_t at = 0; at < size; at += PMS_PAGE) {
        size_t len = size - at < PMS_PAGE ? (size_t)(size - at) : PMS_PAGE;
        if (at + len > (uint64_t)st.st_size || memcmp(f->map + at, bytes + at, len) != 0)
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

static int plan_room(struct pms_plan *plan, uint32_t items)
{
    if (items <= plan->room)
        return PMS_OK;
    uint64_t *state = realloc(plan->state, items * sizeof *state);
    if (state)
        plan->state = state;
    uint64_t *order = realloc(plan->order, items * sizeof *order);
    if (order)
        plan->order = order;
    if (!state || !order)
        return PMS_FAIL(PMS_E_NOMEM, "a plan of images", 0, items * sizeof *state, 0);
    plan->room = items;
    return PMS_OK;
}

int pms_plan_begin_some(struct pms_plan *plan, const struct pms_machine *m,
                        const uint64_t *fixed, uint64_t most, uint64_t dice)
{
    uint32_t items = pms_machine_items(m);
    PMS_TRY(plan_room(plan, items));
    plan->machine = m;
    plan->items = 0;
    plan->dice = dice | 1;
    plan->most = most;
    plan->number = 0;
    plan->product = plan->whole = 1;
    for (uint32_t i = 0; i < items; i++) {
        struct pms_item item;
        pms_machine_item(m, i, &item);
        plan->state[i] = fixed && fixed[i] != PMS_FREE ? fixed[i] : 0;
        if (item.states == 1 || (fixed && fixed[i] != PMS_FREE))
            continue;
        plan->product = times(plan->product, item.states);
        plan->whole = times(plan->whole, item.whole);
        uint64_t j = pms_dice_below(&plan->dice, plan->items + 1);
        plan->order[plan->items] = plan->order[j];
        plan->order[j] = i;
        plan->items++;
    }
    return PMS_OK;
}

int pms_plan_begin(struct pms_plan *plan, const struct pms_machine *m, uint64_t most,
                   uint64_t dice)
{
    return pms_plan_begin_some(plan, m, NULL, most, dice);
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
    for (uint32_t n = 0; n < plan->items; n++) {
        struct pms_item item;
        uint32_t i = (uint32_t)plan->order[n];
        pms_machine_item(plan->machine, i, &item);
        uint64_t last = item.states - 1;
        int named = i == a || (how == PAIR && i == b);
        uint64_t *state = &plan->state[i];
        if (how == ALL || how == NONE)
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

/* Another random image, like the one before but for some items. */
#define FEW 256u
static void reroll(struct pms_plan *plan)
{
    uint64_t bias = pms_dice_below(&plan->dice, 4);
    for (uint32_t n = 0; n < FEW / 4; n++) {
        struct pms_item item;
        uint32_t i = (uint32_t)plan->order[pms_dice_below(&plan->dice, plan->items)];
        pms_machine_item(plan->machine, i, &item);
        plan->state[i] = pms_dice_below(&plan->dice, 4) < bias ? 0 : any_state(plan, i, &item);
    }
}

static void numbered(struct pms_plan *plan, uint64_t n, int whole)
{
    for (uint32_t k = 0; k < plan->items; k++) {
        struct pms_item item;
        uint32_t i = (uint32_t)plan->order[k];
        pms_machine_item(plan->machine, i, &item);
        uint64_t states = whole ? item.whole : item.states;
        plan->state[i] = whole ? pms_machine_whole(plan->machine, i, n % states) : n % states;
        n /= states;
    }
}

/* All, each missing, pairs missing; none, each alone; random.  In this order, so that an image
 * differs from the one before in few items.  Each: a different part of them at each point. */
static void sample(struct pms_plan *plan, uint64_t n)
{
    uint64_t part = plan->most > 2 ? (plan->most - 2) / 4 : 0;
    uint64_t single = part < plan->items ? part : plan->items;
    uint64_t other = plan->order[pms_dice_below(&plan->dice, plan->items)];
    uint64_t none = plan->most > 1 ? 1 + single + part : 0;
    if (n == none)
        choose(plan, NONE, 0, 0);
    else if (n == 0)
        choose(plan, ALL, 0, 0);
    else if (n <= single)
        choose(plan, MISSING, plan->order[n - 1], 0);
    else if (n < none)
        choose(plan, PAIR, plan->order[n % plan->items], other);
    else if (n <= none + single)
        choose(plan, ALONE, plan->order[n - none - 1], 0);
    else if (plan->items > FEW && n > none + single + 1)
        reroll(plan);
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
