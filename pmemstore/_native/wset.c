/* wset.c -- the write set.  wset.h is the manual. */
#include "wset.h"

#include <stdlib.h>
#include <sys/mman.h>

/* Contents of a block from this length on go past the caches. */
#define NT_MIN 4096u

/* Maps of so many words and more are pages of zeroes from the kernel. */
#define BITS_MAPPED 2048u

static uint64_t *bits_make(uint64_t words)
{
    if (words < BITS_MAPPED)
        return calloc(words, 8);
    uint64_t *at =
        mmap(NULL, words * 8, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return at == MAP_FAILED ? NULL : at;
}

void pms_bits_free(uint64_t *first, unsigned maps, uint64_t words)
{
    if (maps * words < BITS_MAPPED)
        free(first);
    else
        munmap(first, maps * words * 8);
}

int pms_bits_grow(uint64_t *bits[], unsigned maps, uint64_t have, uint64_t want)
{
    uint64_t *first = bits[0], *grown = bits_make(maps * want);
    if (!grown)
        return PMS_FAIL_NOMEM("maps of pages", maps * want * 8);
    for (unsigned i = 0; i < maps; i++, grown += want) {
        if (have)
            memcpy(grown, bits[i], have * 8);
        bits[i] = grown;
    }
    pms_bits_free(first, maps, have);
    return PMS_OK;
}

/* ---- line map: open addressing over a dense array ---- */

#define LIFE_MAX 0xffffffu
#define SLOTS_MIN 64u
#define SLOTS_KEPT                                                                             \
    4096u /* 32 KiB: for transactions of a thousand items, with singles in between */
/* A unit of more lines fetches all of the slots at once, and not one by one. */
#define SLOTS_WANTED 48u

static inline uint32_t line_hash(uint64_t line_off)
{
    return (uint32_t)(line_off * 0x9e3779b97f4a7c15ull >> 32);
}

static inline uint32_t seen_bit(uint32_t hash) { return hash >> (32 - PMS_SEEN_BITS); }

/* The upper half of the slot of a line with this hash. */
static inline uint32_t slot_head(const struct pms_linemap *map, uint32_t hash)
{
    return map->life << 8 | hash >> 24;
}

/* Into the first empty slot: the line with this offset, which has none, is the one with that index. */
static inline void slot_fill(struct pms_linemap *map, uint64_t line_off, uint32_t index)
{
    uint32_t hash = line_hash(line_off), bit = seen_bit(hash);
    uint32_t mask = map->slots - 1, i = hash & mask;
    map->seen[bit / 64] |= 1ull << bit % 64;
    while (map->slot[i] >> 40 == map->life)
        i = (i + 1) & mask;
    map->slot[i] = (uint64_t)slot_head(map, hash) << 32 | index;
}

static inline uint32_t recent_of(uint64_t line_off)
{
    return (uint32_t)(line_off / PMS_LINE) % PMS_LINES_RECENT;
}

/* Among more than few. */
static inline struct pms_line_ov *probe(const struct pms_linemap *map, uint64_t line_off)
{
    uint32_t recent = recent_of(line_off), hash = line_hash(line_off), bit = seen_bit(hash);
    if (map->recent_end[recent] == line_off + 1)
        return &map->line[map->recent[recent]];
    if (!(map->seen[bit / 64] >> bit % 64 & 1))
        return NULL;
    uint32_t mask = map->slots - 1, i = hash & mask, wanted = slot_head(map, hash);
    uint64_t slot;
    while ((slot = map->slot[i]) >> 40 == map->life) {
        struct pms_line_ov *line = &map->line[(uint32_t)slot];
        if (slot >> 32 == wanted && PMS_LIKELY(line->off == line_off))
            return line;
        i = (i + 1) & mask;
    }
    return NULL;
}

/* Most units are a single operation, which changes few lines: they are looked through. */
static inline struct pms_line_ov *find(const struct pms_linemap *map, uint64_t line_off)
{
    if (map->last_end == line_off + 1)
        return &map->line[map->last];
    if (map->count > PMS_LINES_FEW)
        return probe(map, line_off);
    for (uint32_t n = 0; n < map->count; n++)
        if (map->few[n] == line_off)
            return &map->line[n];
    return NULL;
}

struct pms_line_ov *pms_linemap_find(const struct pms_linemap *map, uint64_t line_off)
{
    return find(map, line_off);
}

/* All slots are of another life. */
static void slots_forget(struct pms_linemap *map)
{
    if (++map->life > LIFE_MAX) {
        memset(map->slot, 0, map->slots_room * sizeof *map->slot);
        map->life = 1;
    }
}

/* So many slots are in use from now on, all of them empty; half of them may be filled. */
static void slots_set(struct pms_linemap *map, uint32_t slots)
{
    slots_forget(map);
    map->slots = slots;
    map->full = map->room < slots / 2 ? map->room : slots / 2;
}

static void fill_slots(struct pms_linemap *map)
{
    for (uint32_t n = 0; n < map->count; n++)
        slot_fill(map, map->line[n].off, n);
}

static int linemap_grow(struct pms_linemap *map)
{
    uint32_t slots = map->slots;
    if (map->count == map->room) {
        uint32_t room = map->room ? map->room * 2 : SLOTS_MIN / 2;
        struct pms_line_ov *line = realloc(map->line, room * sizeof *line);
        if (!line)
            return PMS_E_NOMEM;
        map->line = line;
        map->room = room;
    }
    if (map->count >= slots / 2)
        slots = slots ? slots * 2 : SLOTS_MIN;
    if (slots > map->slots_room) {
        uint64_t *slot = calloc(slots, sizeof *slot);
        if (!slot)
            return PMS_E_NOMEM;
        free(map->slot);
        map->slot = slot;
        map->slots_room = slots;
        map->life = 0;
    }
    slots_set(map, slots);
    if (map->count > PMS_LINES_FEW)
        fill_slots(map);
    return PMS_OK;
}

/* The line with this index: one that is there, or one more. */
static inline struct pms_line_ov *take_line(struct pms_linemap *map, uint64_t line_off,
                                            uint32_t index)
{
    struct pms_line_ov *line = &map->line[index];
    if (index == map->count) {
        map->count++;
        line->off = line_off;
        line->mask = 0;
    }
    map->last_end = line_off + 1;
    map->last = index;
    return line;
}

/* For one more line.  The few have no slots before there are more. */
static int make_room(struct pms_linemap *map)
{
    if (map->count >= map->full && linemap_grow(map) != PMS_OK)
        return PMS_E_NOMEM;
    if (map->count == PMS_LINES_FEW)
        fill_slots(map);
    if (map->count == SLOTS_WANTED)
        for (uint32_t i = 0; i < map->slots; i += PMS_LINE / sizeof *map->slot)
            __builtin_prefetch(&map->slot[i], 1);
    return PMS_OK;
}

/* Where there are PMS_LINES_FEW or more, or there is no room. */
static struct pms_line_ov *get_of_many(struct pms_linemap *map, uint64_t line_off)
{
    const struct pms_line_ov *line = find(map, line_off);
    uint32_t recent = recent_of(line_off), n = map->count;
    if (line) {
        n = (uint32_t)(line - map->line);
    } else if (make_room(map) != PMS_OK) {
        return NULL;
    } else if (n < PMS_LINES_FEW) {
        map->few[n] = line_off;
        return take_line(map, line_off, n);
    } else {
        slot_fill(map, line_off, n);
    }
    map->recent_end[recent] = line_off + 1;
    map->recent[recent] = n;
    return take_line(map, line_off, n);
}

static inline struct pms_line_ov *get(struct pms_linemap *map, uint64_t line_off)
{
    uint32_t n = map->count, i = 0;
    if (map->last_end == line_off + 1)
        return &map->line[map->last];
    if (PMS_UNLIKELY(n >= PMS_LINES_FEW || n >= map->full))
        return get_of_many(map, line_off);
    while (i < n && map->few[i] != line_off)
        i++;
    if (i == n)
        map->few[n] = line_off;
    return take_line(map, line_off, i);
}

struct pms_line_ov *pms_linemap_get(struct pms_linemap *map, uint64_t line_off)
{
    return get(map, line_off);
}

/* A map that one large unit blew up is given back; and few slots in use stay in the caches. */
void pms_linemap_clear(struct pms_linemap *map)
{
    uint32_t slots = map->slots;
    if (map->room > 65536) {
        pms_linemap_free(map);
        return;
    }
    if (map->count >= PMS_LINES_FEW) {
        memset(map->seen, 0, sizeof map->seen);
        memset(map->recent_end, 0, sizeof map->recent_end);
    }
    if (map->count > PMS_LINES_FEW || slots > SLOTS_KEPT)
        slots_set(map, slots > SLOTS_KEPT && map->count < slots / 8 ? slots / 2 : slots);
    map->count = 0;
    map->last_end = 0;
}

void pms_linemap_free(struct pms_linemap *map)
{
    free(map->line);
    free(map->slot);
    *map = (struct pms_linemap){0};
}

/* ---- fresh extents ---- */

/* The newest extent first: an operation works on what it has just allocated. */
struct pms_fresh *pms_fresh_find(struct pms_wset *ws, uint64_t off)
{
    for (size_t i = ws->fresh_count; i-- > 0;)
        if (off - ws->fresh[i].off < ws->fresh[i].len)
            return &ws->fresh[i];
    return NULL;
}

static int fresh_append(struct pms_wset *ws, uint64_t off, uint64_t len)
{
    if (ws->fresh_count == ws->fresh_room) {
        size_t room = ws->fresh_room ? ws->fresh_room * 2 : 16;
        struct pms_fresh *fresh = realloc(ws->fresh, room * sizeof *fresh);
        if (!fresh) {
            ws->failed = 1;
            return PMS_E_NOMEM;
        }
        ws->fresh = fresh;
        ws->fresh_room = room;
    }
    ws->fresh[ws->fresh_count++] = (struct pms_fresh){off, len};
    return PMS_OK;
}

void pms_fresh_add(struct pms_wset *ws, uint64_t off, uint64_t len)
{
    if (ws->fresh_count) {
        struct pms_fresh *last = &ws->fresh[ws->fresh_count - 1];
        if (last->off + last->len == off) {
            last->len += len;
            return;
        }
    }
    (void)fresh_append(ws, off, len);
}

void pms_fresh_remove(struct pms_wset *ws, uint64_t off, uint64_t len)
{
    struct pms_fresh *f = pms_fresh_find(ws, off);
    if (!f)
        return;
    uint64_t end = off + len, f_end = f->off + f->len;
    if (f->off == off) {
        f->off = end;
        f->len = f_end - end;
        if (f->len == 0) {
            size_t i = (size_t)(f - ws->fresh);
            memmove(f, f + 1, (ws->fresh_count - i - 1) * sizeof *f);
            ws->fresh_count--;
        }
        return;
    }
    f->len = off - f->off;
    if (end < f_end)
        (void)fresh_append(ws, end, f_end - end);
}

/* ---- reading ---- */

uint64_t pms_rd_slow(const struct pms_wset *ws, uint64_t off)
{
    uint64_t word;
    uint32_t i = (uint32_t)(off >> 3) & 7u;
    const struct pms_line_ov *line = find(&ws->overlay, off & ~63ull);
    if (line && line->mask >> i & 1u)
        return line->word[i];
    memcpy(&word, ws->medium->base + off, 8);
    return word;
}

static int scratch_reserve(struct pms_wset *ws, size_t len)
{
    if (len <= ws->scratch_room)
        return PMS_OK;
    size_t room = len < 4096 ? 4096 : len * 2;
    uint8_t *scratch = realloc(ws->scratch, room);
    if (!scratch)
        return PMS_E_NOMEM;
    ws->scratch = scratch;
    ws->scratch_room = room;
    return PMS_OK;
}

int pms_wset_touches(const struct pms_wset *ws, uint64_t off, uint64_t len)
{
    if (ws->overlay.count == 0 || len == 0)
        return 0;
    uint64_t first = off & ~63ull, last = (off + len - 1) & ~63ull;
    if ((last - first) / 64 < ws->overlay.count) {
        for (uint64_t at = first; at <= last; at += 64)
            if (pms_linemap_find(&ws->overlay, at))
                return 1;
        return 0;
    }
    for (uint32_t n = 0; n < ws->overlay.count; n++)
        if (ws->overlay.line[n].off >= first && ws->overlay.line[n].off <= last)
            return 1;
    return 0;
}

const void *pms_rd_bytes(struct pms_wset *ws, uint64_t off, size_t len)
{
    const uint8_t *direct = ws->medium->base + off;
    if (PMS_LIKELY(ws->overlay.count == 0) || len == 0 || !pms_wset_touches(ws, off, len))
        return direct;
    size_t padded = (len + 7) & ~(size_t)7;
    if (scratch_reserve(ws, padded) != PMS_OK)
        return NULL;
    memcpy(ws->scratch, direct, len);
    for (uint64_t at = off; at < off + len; at += 8) {
        const struct pms_line_ov *line = pms_linemap_find(&ws->overlay, at & ~63ull);
        uint32_t i = (uint32_t)(at >> 3) & 7u;
        if (line && line->mask >> i & 1u)
            memcpy(ws->scratch + (at - off), &line->word[i], 8);
    }
    return ws->scratch;
}

/* ---- writing ---- */

/* Room for as many more entries as a line has words. */
static inline int journal_reserve(struct pms_wset *ws)
{
    if (PMS_LIKELY(ws->journal_count + 8 <= ws->journal_room))
        return PMS_OK;
    size_t room = ws->journal_room ? ws->journal_room * 2 : 256;
    struct pms_journal_entry *j = realloc(ws->journal, room * sizeof *j);
    if (!j)
        return PMS_E_NOMEM;
    ws->journal = j;
    ws->journal_room = room;
    return PMS_OK;
}

static inline int in_newest_fresh(const struct pms_wset *ws, uint64_t off)
{
    if (ws->fresh_count == 0)
        return 0;
    const struct pms_fresh *f = &ws->fresh[ws->fresh_count - 1];
    return off - f->off < f->len;
}

/* The line that the word at off goes to; NULL: it is stored in place.  A line that an older word of
 * this unit waits in must not be bypassed.  0: no memory, the write is lost. */
static inline int line_for(struct pms_wset *ws, uint64_t off, struct pms_line_ov **line)
{
    struct pms_linemap *map = &ws->overlay;
    uint64_t line_off = off & ~63ull;
    if (in_newest_fresh(ws, off)) {
        *line = pms_linemap_find(map, line_off);
        return 1;
    }
    *line = PMS_LIKELY(map->last_end == line_off + 1) ? &map->line[map->last]
                                                      : pms_linemap_get(map, line_off);
    return *line != NULL;
}

/* 0: no memory. */
static inline int keep_old(struct pms_wset *ws, const struct pms_line_ov *line, uint64_t off)
{
    if (journal_reserve(ws) != PMS_OK)
        return 0;
    struct pms_journal_entry *entry = &ws->journal[ws->journal_count++];
    uint32_t i = (uint32_t)(off >> 3) & 7u;
    entry->off = off;
    if (line && line->mask >> i & 1u)
        entry->old = line->word[i];
    else
        memcpy(&entry->old, ws->medium->base + off, 8);
    return 1;
}

/* One look-up serves the old word and the new one.  journaling: keep the old word. */
static inline void write_word(struct pms_wset *ws, uint64_t off, uint64_t word, int journaling)
{
    struct pms_line_ov *line;
    if (!line_for(ws, off, &line) || (journaling && !keep_old(ws, line, off))) {
        ws->failed = 1;
        return;
    }
    if (!line) {
        pms_store_u64(ws->medium, off, word);
        return;
    }
    uint32_t i = (uint32_t)(off >> 3) & 7u;
    line->word[i] = word;
    line->mask |= 1u << i;
}

void pms_wr(struct pms_wset *ws, uint64_t off, uint64_t word)
{
    write_word(ws, off, word, ws->journaling);
}

/* n words of one line, with one look-up. */
static inline void write_run(struct pms_wset *ws, uint64_t off, const uint8_t *src, uint32_t n,
                             int journaling)
{
    const uint8_t *now = ws->medium->base + off;
    uint32_t first = (uint32_t)(off >> 3) & 7u;
    struct pms_line_ov *line = pms_linemap_get(&ws->overlay, off & ~63ull);
    if (!line || (journaling && journal_reserve(ws) != PMS_OK)) {
        ws->failed = 1;
        return;
    }
    for (uint32_t i = 0; journaling && i < n; i++) {
        struct pms_journal_entry *entry = &ws->journal[ws->journal_count++];
        entry->off = off + 8u * i;
        const void *old = now + 8u * i;
        if (line->mask >> (first + i) & 1u)
            old = &line->word[first + i];
        memcpy(&entry->old, old, 8);
    }
    memcpy(&line->word[first], src, 8u * n);
    line->mask |= ((1u << n) - 1u) << first;
}

/* Does the newest fresh extent reach into [off, off+len)? */
static inline int meets_newest_fresh(const struct pms_wset *ws, uint64_t off, uint64_t len)
{
    if (ws->fresh_count == 0)
        return 0;
    const struct pms_fresh *f = &ws->fresh[ws->fresh_count - 1];
    return f->off < off + len && off < f->off + f->len;
}

void pms_wr_bytes(struct pms_wset *ws, uint64_t off, const void *src, size_t len)
{
    const uint8_t *p = src;
    uint64_t word;
    int journaling = ws->journaling, single = meets_newest_fresh(ws, off, len);
    while (len >= 8) {
        uint32_t n = single ? 1 : 8 - ((uint32_t)(off >> 3) & 7u);
        if (n > len / 8)
            n = (uint32_t)(len / 8);
        if (n == 1) {
            memcpy(&word, p, 8);
            write_word(ws, off, word, journaling);
        } else {
            write_run(ws, off, p, n, journaling);
        }
        len -= 8u * n, p += 8u * n, off += 8u * n;
    }
    if (len) {
        word = 0;
        memcpy(&word, p, len);
        write_word(ws, off, word, journaling);
    }
}

/* No word of the overlay lies over a block that was just handed out: this unit has never had it.
 * What it freed is in quarantine, and what a roll-back gave back is held until its end. */
void pms_init_bytes(struct pms_wset *ws, uint64_t off, const void *src, size_t len)
{
    size_t wide = len > NT_MIN && !(off & 7u) ? len & ~(size_t)7 : 0;
    if (wide) /* not needed again before commit, which does not hash so much */
        pms_store_nt(ws->medium, off, src, wide);
    pms_store(ws->medium, off + wide, (const uint8_t *)src + wide, len - wide);
}

void pms_init_zero(struct pms_wset *ws, uint64_t off, size_t len)
{
    static const uint8_t zeroes[1024];
    while (len) {
        size_t n = len < sizeof zeroes ? len : sizeof zeroes;
        pms_store(ws->medium, off, zeroes, n);
        off += n;
        len -= n;
    }
}

/* ---- the end of a unit ---- */

void pms_wset_rollback(struct pms_wset *ws, size_t mark)
{
    while (ws->journal_count > mark) {
        struct pms_journal_entry *e = &ws->journal[--ws->journal_count];
        write_word(ws, e->off, e->old, 0);
    }
}

void pms_wset_reset(struct pms_wset *ws)
{
    pms_linemap_clear(&ws->overlay);
    ws->journal_count = 0;
    ws->fresh_count = 0;
    ws->journaling = 0;
    ws->failed = 0;
    if (ws->journal_room > 1u << 20) {
        free(ws->journal);
        ws->journal = NULL;
        ws->journal_room = 0;
    }
}

void pms_wset_free(struct pms_wset *ws)
{
    pms_linemap_free(&ws->overlay);
    free(ws->journal);
    free(ws->fresh);
    free(ws->scratch);
    *ws = (struct pms_wset){0};
}
