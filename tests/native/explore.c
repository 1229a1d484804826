/* explore.c -- explore.h is the manual. */
#include "explore.h"

#include "check.h"

#define LINES (MACHINE_BYTES / MACHINE_LINE)
#define SECTORS (MACHINE_BYTES / MACHINE_SECTOR)
#define NT_MAX 12u /* non-temporal words of a line between two fences */

uint64_t dice_roll(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* ---- memory ---- */

static void *grown(void *old, uint32_t count, uint32_t *room, size_t size)
{
    if (count < *room)
        return old;
    *room = *room ? *room * 2 : 16;
    old = realloc(old, *room * size);
    CHECK(old != NULL);
    return old;
}

void machine_init(struct machine *m)
{
    *m = (struct machine){.durable = calloc(1, MACHINE_BYTES),
                          .seen = calloc(1, MACHINE_BYTES),
                          .image = calloc(1, MACHINE_BYTES),
                          .line_slot = calloc(LINES, sizeof(uint32_t)),
                          .sector_slot = calloc(SECTORS, sizeof(uint32_t))};
    CHECK(m->durable && m->seen && m->image && m->line_slot && m->sector_slot);
}

static void forget_pending(struct machine *m)
{
    for (uint32_t i = 0; i < m->lines; i++)
        m->line_slot[m->line[i].off / MACHINE_LINE] = 0;
    for (uint32_t i = 0; i < m->sectors; i++)
        m->sector_slot[m->sector[i].off / MACHINE_SECTOR] = 0;
    m->lines = m->sectors = 0;
}

void machine_free(struct machine *m)
{
    for (uint32_t i = 0; i < m->line_room; i++)
        free(m->line[i].store);
    for (uint32_t i = 0; i < m->sector_room; i++)
        free(m->sector[i].version);
    free(m->line);
    free(m->sector);
    free(m->durable);
    free(m->seen);
    free(m->image);
    free(m->line_slot);
    free(m->sector_slot);
    free(m->edit);
}

static void put(uint8_t *to, const uint8_t *bytes, uint64_t size, uint64_t before)
{
    memcpy(to, bytes, size);
    if (before > size)
        memset(to + size, 0, before - size);
}

void machine_load(struct machine *m, const uint8_t *bytes, uint64_t size)
{
    uint64_t before = m->size > m->durable_size ? m->size : m->durable_size;
    forget_pending(m);
    put(m->seen, bytes, size, before);
    put(m->durable, bytes, size, before);
    put(m->image, bytes, size, before);
    m->size = m->durable_size = size;
}

static struct pending_line *line_at(struct machine *m, uint64_t off)
{
    uint32_t *slot = &m->line_slot[off / MACHINE_LINE];
    if (*slot == 0) {
        uint32_t room = m->line_room;
        m->line = grown(m->line, m->lines, &m->line_room, sizeof *m->line);
        memset(m->line + room, 0, (m->line_room - room) * sizeof *m->line);
        struct pending_line *line = &m->line[m->lines++];
        line->off = off / MACHINE_LINE * MACHINE_LINE;
        line->count = line->flushed = 0;
        *slot = m->lines;
    }
    return &m->line[*slot - 1];
}

static struct pending_sector *sector_at(struct machine *m, uint64_t off)
{
    uint32_t *slot = &m->sector_slot[off / MACHINE_SECTOR];
    if (*slot == 0) {
        uint32_t room = m->sector_room;
        m->sector = grown(m->sector, m->sectors, &m->sector_room, sizeof *m->sector);
        memset(m->sector + room, 0, (m->sector_room - room) * sizeof *m->sector);
        struct pending_sector *sector = &m->sector[m->sectors++];
        sector->off = off / MACHINE_SECTOR * MACHINE_SECTOR;
        sector->count = 0;
        *slot = m->sectors;
    }
    return &m->sector[*slot - 1];
}

static void line_add(struct pending_line *line, struct pending_store s)
{
    line->store = grown(line->store, line->count, &line->room, sizeof *line->store);
    line->store[line->count++] = s;
}

static uint8_t *sector_add(struct pending_sector *sector)
{
    sector->version =
        grown(sector->version, sector->count, &sector->room, sizeof *sector->version);
    return sector->version[sector->count++];
}

void machine_copy(struct machine *m, const struct machine *from)
{
    machine_load(m, from->seen, from->size);
    uint64_t most = from->size > from->durable_size ? from->size : from->durable_size;
    memcpy(m->durable, from->durable, most);
    memcpy(m->image, from->durable, most);
    m->durable_size = from->durable_size;
    for (uint32_t i = 0; i < from->lines; i++) {
        const struct pending_line *old = &from->line[i];
        struct pending_line *line = line_at(m, old->off);
        for (uint32_t k = 0; k < old->count; k++)
            line_add(line, old->store[k]);
        line->flushed = old->flushed;
    }
    for (uint32_t i = 0; i < from->sectors; i++) {
        const struct pending_sector *old = &from->sector[i];
        struct pending_sector *sector = sector_at(m, old->off);
        for (uint32_t k = 0; k < old->count; k++)
            memcpy(sector_add(sector), old->version[k], MACHINE_SECTOR);
        sector->dirty = old->dirty;
    }
}

/* ---- events ---- */

static void take_store(struct machine *m, const struct pms_event *event, int nt)
{
    const uint8_t *data = event->data;
    uint64_t end = event->off + event->len;
    CHECK(end <= MACHINE_BYTES);
    for (uint64_t off = event->off & ~7ull; off < end; off += 8) {
        uint64_t old, word;
        memcpy(&old, m->seen + off, 8);
        word = old;
        for (uint64_t i = 0; i < 8; i++)
            if (off + i >= event->off && off + i < end)
                ((uint8_t *)&word)[i] = data[off + i - event->off];
        if (word == old && !nt)
            continue; /* the line looks the same before and after */
        memcpy(m->seen + off, &word, 8);
        line_add(line_at(m, off),
                 (struct pending_store){word, (uint32_t)(off / 8 % 8), (uint32_t)nt});
    }
}

static void take_flush(struct machine *m, uint64_t off, uint64_t len)
{
    for (uint64_t at = off & ~63ull; at < off + len; at += MACHINE_LINE) {
        uint32_t slot = m->line_slot[at / MACHINE_LINE];
        if (slot)
            m->line[slot - 1].flushed = m->line[slot - 1].count;
    }
}

static void set_durable(struct machine *m, uint64_t off, const void *bytes, size_t len)
{
    memcpy(m->durable + off, bytes, len);
    memcpy(m->image + off, bytes, len);
}

/* A cached store that a later non-temporal one has overtaken in its word: never seen again. */
static int overtaken(const struct pending_line *line, uint32_t k)
{
    for (uint32_t i = k + 1; i < line->count; i++)
        if (line->store[i].nt && line->store[i].index == line->store[k].index)
            return 1;
    return 0;
}

static void take_fence(struct machine *m)
{
    uint32_t kept_lines = 0;
    for (uint32_t n = 0; n < m->lines; n++) {
        struct pending_line *line = &m->line[n];
        uint32_t kept = 0;
        for (uint32_t k = 0; k < line->count; k++) {
            const struct pending_store *s = &line->store[k];
            if (s->nt || k < line->flushed)
                set_durable(m, line->off + 8 * s->index, &s->word, 8);
            else if (!overtaken(line, k))
                line->store[kept++] = *s;
        }
        line->count = kept;
        line->flushed = 0;
        m->line_slot[line->off / MACHINE_LINE] = 0;
        if (kept) {
            struct pending_line swap = m->line[kept_lines];
            m->line[kept_lines] = *line;
            *line = swap;
            m->line_slot[m->line[kept_lines].off / MACHINE_LINE] = kept_lines + 1;
            kept_lines++;
        }
    }
    m->lines = kept_lines;
}

static void take_write(struct machine *m, const struct pms_event *event)
{
    const uint8_t *data = event->data;
    uint64_t end = event->off + event->len;
    CHECK(end <= MACHINE_BYTES);
    if (end > m->size)
        m->size = end;
    for (uint64_t i = 0; i < event->len; i++)
        m->seen[event->off + i] = data[i];
    for (uint64_t at = event->off & ~511ull; at < end; at += MACHINE_SECTOR) {
        struct pending_sector *sector = sector_at(m, at);
        memcpy(sector_add(sector), m->seen + at, MACHINE_SECTOR);
        sector->dirty = 1;
    }
}

/* The sectors of [off, off+len) reach the medium, or (fail) are given up by the kernel. */
static void take_sync(struct machine *m, uint64_t off, uint64_t len, int fail)
{
    uint32_t kept = 0;
    for (uint32_t n = 0; n < m->sectors; n++) {
        struct pending_sector *sector = &m->sector[n];
        int covered = sector->off + MACHINE_SECTOR > off && sector->off < off + len;
        int done = covered && !fail && sector->dirty;
        if (covered)
            sector->dirty = 0;
        m->sector_slot[sector->off / MACHINE_SECTOR] = 0;
        if (done) {
            set_durable(m, sector->off, sector->version[sector->count - 1], MACHINE_SECTOR);
            continue;
        }
        struct pending_sector swap = m->sector[kept];
        m->sector[kept] = *sector;
        *sector = swap;
        m->sector_slot[m->sector[kept].off / MACHINE_SECTOR] = kept + 1;
        kept++;
    }
    m->sectors = kept;
}

static void look(struct machine *m)
{
    if (m->before)
        m->before(m->context);
}

void machine_event(struct machine *m, const struct pms_event *event, int fail)
{
    switch (event->kind) {
    case PMS_EV_STORE:
        take_store(m, event, 0);
        break;
    case PMS_EV_NT_STORE:
        take_store(m, event, 1);
        break;
    case PMS_EV_FLUSH:
        take_flush(m, event->off, event->len);
        break;
    case PMS_EV_FENCE:
        look(m);
        take_fence(m);
        break;
    case PMS_EV_WRITE:
        if (!fail)
            take_write(m, event);
        break;
    case PMS_EV_WRITE_SYNC:
        take_write(m, event);
        look(m);
        take_sync(m, event->off, event->len, fail);
        break;
    case PMS_EV_SYNC:
        look(m);
        take_sync(m, event->off, event->len ? event->len : UINT64_MAX - event->off, fail);
        if (!fail)
            m->durable_size = m->size;
        break;
    case PMS_EV_ALLOCATE:
        if (!fail && event->off + event->len > m->size)
            m->size = event->off + event->len;
        break;
    default: /* PMS_EV_TRUNCATE */
        if (!fail)
            m->size = event->off;
        break;
    }
}

/* ---- images ---- */

static uint32_t nt_count(const struct pending_line *line)
{
    uint32_t n = 0;
    for (uint32_t k = 0; k < line->count; k++)
        n += line->store[k].nt;
    CHECK(n <= NT_MAX);
    return n;
}

/* Item i (lines, then sectors) has so many states; 0 is the durable one, the last the newest. */
static uint32_t states_of(const struct machine *m, uint32_t i)
{
    if (i >= m->lines)
        return m->sector[i - m->lines].count + 1;
    uint32_t nt = nt_count(&m->line[i]);
    return (m->line[i].count - nt + 1) << nt;
}

static void edit(struct machine *m, uint64_t off)
{
    m->edit = grown(m->edit, m->edits, &m->edit_room, sizeof *m->edit);
    m->edit[m->edits++] = off;
}

static void set_state(struct machine *m, uint32_t i, uint32_t state)
{
    if (state == 0)
        return;
    if (i >= m->lines) {
        const struct pending_sector *sector = &m->sector[i - m->lines];
        memcpy(m->image + sector->off, sector->version[state - 1], MACHINE_SECTOR);
        for (uint64_t at = 0; at < MACHINE_SECTOR; at += MACHINE_LINE)
            edit(m, sector->off + at);
        return;
    }
    const struct pending_line *line = &m->line[i];
    uint32_t nt = nt_count(line), mask = state & ((1u << nt) - 1), prefix = state >> nt;
    edit(m, line->off);
    for (uint32_t k = 0, seen_nt = 0, cached = 0; k < line->count; k++) {
        const struct pending_store *s = &line->store[k];
        int there = s->nt ? (int)(mask >> seen_nt & 1) : cached < prefix;
        seen_nt += s->nt;
        cached += !s->nt;
        if (there)
            memcpy(m->image + line->off + 8 * s->index, &s->word, 8);
    }
}

static void undo_edits(struct machine *m)
{
    for (; m->edits > 0; m->edits--) {
        uint64_t off = m->edit[m->edits - 1];
        memcpy(m->image + off, m->durable + off, MACHINE_LINE);
    }
}

struct pick { /* how one image is chosen */
    enum { PICK_ALL, PICK_MISSING, PICK_ONLY, PICK_RANDOM, PICK_NUMBER } how;
    uint32_t item;
    uint64_t number;
};

static int one_image(struct machine *m, struct pick pick, uint64_t *dice, image_fn fn,
                     void *context)
{
    uint32_t items = m->lines + m->sectors;
    uint32_t bias = dice_below(dice, 4); /* how often a random item stays as it was */
    for (uint32_t i = 0; i < items; i++) {
        uint32_t states = states_of(m, i), state = states - 1;
        if (pick.how == PICK_MISSING && i == pick.item)
            state = dice_below(dice, states);
        else if (pick.how == PICK_ONLY && i != pick.item)
            state = 0;
        else if (pick.how == PICK_RANDOM)
            state = dice_below(dice, 4) < bias ? 0 : dice_below(dice, states);
        else if (pick.how == PICK_NUMBER) {
            state = (uint32_t)(pick.number % states);
            pick.number /= states;
        }
        set_state(m, i, state);
    }
    uint64_t size = m->size;
    if (m->durable_size != m->size && dice_below(dice, 2))
        size = m->durable_size;
    int stop = fn(context, m->image, size);
    undo_edits(m);
    return stop;
}

void machine_each(struct machine *m, uint64_t *dice, uint32_t most, image_fn fn, void *context)
{
    uint32_t items = m->lines + m->sectors;
    uint64_t product = 1;
    for (uint32_t i = 0; i < items && product <= most; i++)
        product *= states_of(m, i);
    if (product <= most) {
        for (uint64_t n = 0; n < product; n++)
            if (one_image(m, (struct pick){PICK_NUMBER, 0, n}, dice, fn, context))
                return;
        return;
    }
    for (uint32_t n = 0; n < most; n++) {
        struct pick pick = {PICK_RANDOM, dice_below(dice, items), 0};
        if (n == 0)
            pick = (struct pick){PICK_NUMBER, 0, 0};
        else if (n == 1)
            pick.how = PICK_ALL;
        else if (n % 3 == 0)
            pick.how = PICK_MISSING;
        else if (n % 3 == 1)
            pick.how = PICK_ONLY;
        if (one_image(m, pick, dice, fn, context))
            return;
    }
}
