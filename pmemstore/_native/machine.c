/* machine.c -- events change what is seen, pending and durable.  machine.h is the manual. */
#include "machine.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "hash.h"

/* ---- memory ---- */

/* Address space that costs memory where it is touched; zeroes. */
static void *space(uint64_t bytes)
{
    void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return at == MAP_FAILED ? NULL : at;
}

static int grow(void *array, uint32_t count, uint32_t *room, size_t size)
{
    void **old = array;
    if (count < *room)
        return PMS_OK;
    uint32_t more = *room ? *room * 2 : 8;
    void *bytes = realloc(*old, more * size);
    if (!bytes)
        return PMS_FAIL(PMS_E_NOMEM, "a model of the medium", 0, more * size, 0);
    memset((uint8_t *)bytes + *room * size, 0, (more - *room) * size);
    *old = bytes;
    *room = more;
    return PMS_OK;
}

uint64_t pms_machine_weight(const uint8_t *line, uint64_t off)
{
    static const uint8_t zeroes[PMS_LINE];
    return memcmp(line, zeroes, PMS_LINE) == 0 ? 0 : pms_hash(line, PMS_LINE, off + 1);
}

static uint64_t changed_bytes(uint64_t room) { return (room / PMS_PAGE / 64 + 1) * 8; }

int pms_machine_init(struct pms_machine *m, uint64_t room)
{
    room = (room + PMS_PAGE - 1) & ~(uint64_t)(PMS_PAGE - 1);
    *m = (struct pms_machine){.room = room};
    m->durable = space(room);
    m->seen = space(room);
    m->image = space(room);
    m->line.slot = space(room / PMS_LINE * sizeof(uint32_t));
    m->sector.slot = space(room / PMS_SECTOR * sizeof(uint32_t));
    m->changed = space(changed_bytes(room));
    if (m->durable && m->seen && m->image && m->line.slot && m->sector.slot && m->changed)
        return PMS_OK;
    pms_machine_free(m);
    return PMS_FAIL(PMS_E_NOMEM, "a model of the medium", 0, room * 3, 0);
}

static void pendings_free(struct pms_pendings *p)
{
    for (uint32_t i = 0; i < p->room; i++)
        free(p->item[i].any);
    free(p->item);
}

static void space_free(void *at, uint64_t bytes)
{
    if (at)
        munmap(at, bytes);
}

void pms_machine_free(struct pms_machine *m)
{
    pendings_free(&m->line);
    pendings_free(&m->sector);
    space_free(m->durable, m->room);
    space_free(m->seen, m->room);
    space_free(m->image, m->room);
    space_free(m->line.slot, m->room / PMS_LINE * sizeof(uint32_t));
    space_free(m->sector.slot, m->room / PMS_SECTOR * sizeof(uint32_t));
    space_free(m->changed, changed_bytes(m->room));
    free(m->state);
    *m = (struct pms_machine){0};
}

/* ---- what is pending ---- */

static void forget_pending(struct pms_pendings *p, uint64_t unit)
{
    for (uint32_t i = 0; i < p->count; i++)
        p->slot[p->item[i].off / unit] = 0;
    p->count = 0;
}

static struct pms_pending *pending_at(struct pms_pendings *p, uint64_t off, uint64_t unit)
{
    uint32_t *slot = &p->slot[off / unit];
    if (*slot == 0) {
        if (grow(&p->item, p->count, &p->room, sizeof *p->item) != PMS_OK)
            return NULL;
        struct pms_pending *item = &p->item[p->count++];
        item->off = off / unit * unit;
        item->count = item->flushed = item->dirty = item->nt = 0;
        item->weight = item->weight_seen = item->states = 0;
        *slot = p->count;
    }
    return &p->item[*slot - 1];
}

/* Keep item n while all are gone through in order; *kept so far. */
static void keep(struct pms_pendings *p, uint32_t n, uint32_t *kept, uint64_t unit)
{
    if (n != *kept) {
        struct pms_pending swap = p->item[*kept];
        p->item[*kept] = p->item[n];
        p->item[n] = swap;
        p->slot[p->item[*kept].off / unit] = *kept + 1;
    }
    ++*kept;
}

static int add_store(struct pms_machine *m, uint64_t off, struct pms_pending_store s)
{
    struct pms_pending *line = pending_at(&m->line, off, PMS_LINE);
    if (!line)
        return PMS_E_NOMEM;
    PMS_TRY(grow(&line->store, line->count, &line->room, sizeof *line->store));
    line->store[line->count++] = s;
    line->event = s.event;
    line->nt += s.nt;
    line->states = line->weight_seen = 0;
    return PMS_OK;
}

static int add_version(struct pms_machine *m, uint64_t off, const uint8_t *bytes,
                       uint32_t dirty)
{
    struct pms_pending *sector = pending_at(&m->sector, off, PMS_SECTOR);
    if (!sector)
        return PMS_E_NOMEM;
    PMS_TRY(grow(&sector->version, sector->count, &sector->room, PMS_SECTOR));
    memcpy(sector->version[sector->count++], bytes, PMS_SECTOR);
    sector->states = 0;
    sector->dirty = dirty;
    sector->event = m->events;
    return PMS_OK;
}

/* ---- loading ---- */

/* image is durable again, as far as it is not changed below. */
static void drop_image(struct pms_machine *m)
{
    for (uint32_t i = 0; i < m->states; i++) {
        int sector = i >= m->line.count;
        if (m->state[i] == 0 || i >= m->line.count + m->sector.count)
            continue;
        struct pms_pending *item =
            sector ? &m->sector.item[i - m->line.count] : &m->line.item[i];
        item->weight = 0;
        pms_machine_restore(m, item->off, sector ? PMS_SECTOR : PMS_LINE);
    }
    m->states = 0;
}

void pms_machine_restore(struct pms_machine *m, uint64_t off, uint64_t len)
{
    memcpy(m->image + off, m->durable + off, len);
    pms_machine_changed(m, off);
}

static void put(uint8_t *to, const uint8_t *bytes, uint64_t size, uint64_t before)
{
    memcpy(to, bytes, size);
    if (before > size)
        memset(to + size, 0, before - size);
}

static void sum_durable(struct pms_machine *m)
{
    m->durable_hash = m->durable_rest = 0;
    for (uint64_t at = 0; at < m->durable_size; at += PMS_LINE) {
        uint64_t weight = pms_machine_weight(m->durable + at, at);
        m->durable_hash += weight;
        m->durable_rest += pms_machine_is_rest(m, at) ? weight : 0;
    }
}

static void all_changed(struct pms_machine *m, uint64_t size)
{
    memset(m->changed, 0xff, (size / PMS_PAGE / 64 + 1) * 8);
}

int pms_machine_load(struct pms_machine *m, const uint8_t *bytes, uint64_t size)
{
    uint64_t before = m->size > m->durable_size ? m->size : m->durable_size;
    if (size > m->room)
        return PMS_FAIL(PMS_E_INVAL, "the model of the medium is too small", 0, m->room, size);
    forget_pending(&m->line, PMS_LINE);
    forget_pending(&m->sector, PMS_SECTOR);
    put(m->seen, bytes, size, before);
    put(m->durable, bytes, size, before);
    put(m->image, bytes, size, before);
    m->size = m->durable_size = size;
    m->named = m->named_durable = 1;
    m->events = m->states = 0;
    all_changed(m, size > before ? size : before);
    sum_durable(m);
    return PMS_OK;
}

int pms_machine_copy(struct pms_machine *m, const struct pms_machine *from)
{
    uint64_t most = from->size > from->durable_size ? from->size : from->durable_size;
    PMS_TRY(pms_machine_load(m, from->seen, from->size));
    if (most > m->room)
        return PMS_FAIL(PMS_E_INVAL, "the model of the medium is too small", 0, m->room, most);
    memcpy(m->durable, from->durable, most);
    memcpy(m->image, from->durable, most);
    all_changed(m, most);
    m->durable_size = from->durable_size;
    m->durable_hash = from->durable_hash;
    m->durable_rest = from->durable_rest;
    m->log_off = from->log_off;
    m->log_end = from->log_end;
    m->named = from->named;
    m->named_durable = from->named_durable;
    m->eadr = from->eadr;
    m->events = from->events;
    for (uint32_t i = 0; i < from->line.count; i++) {
        const struct pms_pending *old = &from->line.item[i];
        for (uint32_t k = 0; k < old->count; k++)
            PMS_TRY(add_store(m, old->off, old->store[k]));
    }
    for (uint32_t i = 0; i < from->sector.count; i++) {
        const struct pms_pending *old = &from->sector.item[i];
        for (uint32_t k = 0; k < old->count; k++)
            PMS_TRY(add_version(m, old->off, old->version[k], old->dirty));
        m->sector.item[m->sector.slot[old->off / PMS_SECTOR] - 1].event = old->event;
    }
    return PMS_OK;
}

/* ---- through the mapping ---- */

static void set_durable(struct pms_machine *m, uint64_t off, const uint8_t *bytes, size_t len)
{
    uint64_t from = off & ~(uint64_t)(PMS_LINE - 1);
    for (uint64_t at = from; at < off + len; at += PMS_LINE, bytes += PMS_LINE) {
        uint8_t *line = m->durable + at;
        if (memcmp(line, bytes, PMS_LINE) == 0)
            continue;
        uint64_t more = pms_machine_weight(bytes, at) - pms_machine_weight(line, at);
        memcpy(line, bytes, PMS_LINE);
        m->durable_hash += more;
        m->durable_rest += pms_machine_is_rest(m, at) ? more : 0;
    }
}

static int take_store(struct pms_machine *m, const struct pms_event *event, int nt)
{
    const uint8_t *data = event->data;
    uint64_t end = event->off + event->len;
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
        PMS_TRY(add_store(m, off,
                          (struct pms_pending_store){word, m->events, (uint8_t)(off / 8 % 8),
                                                     (uint8_t)nt, 0}));
    }
    return PMS_OK;
}

static void take_flush(struct pms_machine *m, uint64_t off, uint64_t len)
{
    for (uint64_t at = off & ~63ull; at < off + len && at < m->room; at += PMS_LINE) {
        uint32_t slot = m->line.slot[at / PMS_LINE];
        if (slot)
            m->line.item[slot - 1].flushed = m->line.item[slot - 1].count;
    }
}

/* A cached store that a later non-temporal one has overtaken in its word: never seen again. */
static int overtaken(const struct pms_pending *line, uint32_t k)
{
    for (uint32_t i = k + 1; i < line->count; i++)
        if (line->store[i].nt && line->store[i].index == line->store[k].index)
            return 1;
    return 0;
}

/* What a fence leaves of a line pending: how many stores. */
static uint32_t fence_line(struct pms_machine *m, struct pms_pending *line, int all)
{
    uint8_t now[PMS_LINE];
    uint32_t kept = 0;
    memcpy(now, m->durable + line->off, PMS_LINE);
    for (uint32_t k = 0; k < line->count; k++) {
        struct pms_pending_store s = line->store[k];
        if (s.nt || all || k < line->flushed)
            memcpy(now + 8 * s.index, &s.word, 8);
        else if (!overtaken(line, k))
            line->store[kept++] = s;
    }
    set_durable(m, line->off, now, PMS_LINE);
    pms_machine_restore(m, line->off, PMS_LINE);
    line->count = kept;
    line->flushed = line->nt = 0;
    line->states = line->weight_seen = 0;
    return kept;
}

/* all: as if every line had been flushed. */
static void fence(struct pms_machine *m, int all)
{
    uint32_t kept = 0;
    for (uint32_t n = 0; n < m->line.count; n++) {
        struct pms_pending *line = &m->line.item[n];
        int untouched = !all && line->flushed == 0 && line->nt == 0;
        if (untouched || fence_line(m, line, all) > 0)
            keep(&m->line, n, &kept, PMS_LINE);
        else
            m->line.slot[line->off / PMS_LINE] = 0;
    }
    m->line.count = kept;
}

/* ---- through the descriptor ---- */

static int take_write(struct pms_machine *m, const struct pms_event *event)
{
    uint64_t end = event->off + event->len;
    if (end > m->size)
        m->size = end;
    memcpy(m->seen + event->off, event->data, event->len);
    for (uint64_t at = event->off & ~511ull; at < end; at += PMS_SECTOR)
        PMS_TRY(add_version(m, at, m->seen + at, 1));
    return PMS_OK;
}

/* The sectors of [off, off+len) reach the medium, or (fail) are given up by the kernel. */
static void settle_sync(struct pms_machine *m, uint64_t off, uint64_t len, int fail)
{
    uint32_t kept = 0;
    for (uint32_t n = 0; n < m->sector.count; n++) {
        struct pms_pending *sector = &m->sector.item[n];
        int covered = sector->off + PMS_SECTOR > off && sector->off < off + len;
        int done = covered && !fail && sector->dirty;
        if (covered)
            sector->dirty = 0;
        if (!done) {
            keep(&m->sector, n, &kept, PMS_SECTOR);
            continue;
        }
        m->sector.slot[sector->off / PMS_SECTOR] = 0;
        set_durable(m, sector->off, sector->version[sector->count - 1], PMS_SECTOR);
        pms_machine_restore(m, sector->off, PMS_SECTOR);
    }
    m->sector.count = kept;
}

/* A longer file reads as zeroes there; so do both halves of the model. */
static void set_size(struct pms_machine *m, uint64_t size)
{
    if (size < m->size)
        memset(m->seen + size, 0, m->size - size);
    m->size = size;
}

/* ---- events ---- */

static int is_store(uint32_t kind) { return kind == PMS_EV_STORE || kind == PMS_EV_NT_STORE; }

int pms_machine_is_point(const struct pms_machine *m, const struct pms_event *event)
{
    if (m->eadr && is_store(event->kind))
        return m->line.count > 0;
    return event->kind == PMS_EV_FENCE || event->kind == PMS_EV_WRITE_SYNC ||
           event->kind == PMS_EV_SYNC || event->kind == PMS_EV_SYNC_DIR;
}

static int fits(const struct pms_machine *m, const struct pms_event *event)
{
    return event->off <= m->room && event->len <= m->room - event->off;
}

int pms_machine_take(struct pms_machine *m, const struct pms_event *event, int fail)
{
    if (event->kind <= PMS_EV_TRUNCATE && !fits(m, event))
        return PMS_FAIL(PMS_E_INVAL, "an event beyond the model of the medium", event->off,
                        m->room, event->off + event->len);
    m->events++;
    drop_image(m);
    switch (event->kind) {
    case PMS_EV_STORE:
    case PMS_EV_NT_STORE:
        return m->eadr ? PMS_OK : take_store(m, event, event->kind == PMS_EV_NT_STORE);
    case PMS_EV_FLUSH:
        take_flush(m, event->off, event->len);
        return PMS_OK;
    case PMS_EV_WRITE:
        return fail ? PMS_OK : take_write(m, event);
    case PMS_EV_WRITE_SYNC:
        return take_write(m, event);
    case PMS_EV_ALLOCATE:
        if (!fail && event->off + event->len > m->size)
            set_size(m, event->off + event->len);
        return PMS_OK;
    case PMS_EV_TRUNCATE:
        if (!fail)
            set_size(m, event->off);
        return PMS_OK;
    case PMS_EV_CREATE:
        m->size = m->durable_size = 0;
        m->named = m->named_durable = 0;
        return PMS_OK;
    case PMS_EV_LINK:
    case PMS_EV_RENAME:
        m->named |= !fail;
        return PMS_OK;
    default:
        return PMS_OK;
    }
}

int pms_machine_settle(struct pms_machine *m, const struct pms_event *event, int fail)
{
    drop_image(m);
    switch (event->kind) {
    case PMS_EV_STORE:
    case PMS_EV_NT_STORE:
        if (!m->eadr)
            return PMS_OK;
        fence(m, 1);
        return take_store(m, event, 0);
    case PMS_EV_FENCE:
        fence(m, m->eadr);
        return PMS_OK;
    case PMS_EV_WRITE_SYNC:
        settle_sync(m, event->off, event->len, fail);
        if (!fail && event->off + event->len > m->durable_size)
            m->durable_size = event->off + event->len;
        return PMS_OK;
    case PMS_EV_SYNC:
        settle_sync(m, event->off, event->len ? event->len : UINT64_MAX - event->off, fail);
        if (!fail)
            m->durable_size = m->size;
        return PMS_OK;
    case PMS_EV_SYNC_DIR:
        if (!fail)
            m->named_durable = m->named;
        return PMS_OK;
    default:
        return PMS_OK;
    }
}
