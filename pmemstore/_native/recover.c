/* recover.c -- recover.h is the manual; the numbers in comments are its steps. */
#include "recover.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

#include "hash.h"

/* Extents of a file's frames lie in pages of their own.  Of OVERFLOW frames that name the same
 * extents two or three are in the log; more than this times the pool is a forgery. */
#define BODIES_MAX 4
/* No pool lives to see so many anchors or frames; sums of them do not overflow. */
#define COUNT_MAX (1ull << 62)

struct frame {
    struct pms_frame_ref ref;
    uint64_t *body; /* OVERFLOW, and REDO with extents: the entries, put together */
    uint64_t body_words;
};

struct unit {
    size_t first, last; /* frames [first, last]; COMMIT is not among the entries */
    uint64_t end_seq;   /* seq of its last frame, COMMIT included */
    uint64_t txid;
    int redo, committed;
};

struct pms_recovery {
    struct pms_map *map;
    struct pms_medium *medium;
    const struct pms_super_pm *super;
    struct pms_anchor_pm anchor;
    uint32_t slot;
    int read_only;
    struct frame *frame;
    size_t frames, frame_room;
    struct unit *unit;
    size_t units, unit_room;
    uint64_t other_seq; /* the newest frame that is no REDO and has one behind it, or 0 */
    uint64_t bodies;    /* words of all frames' bodies */
    uint64_t *page;     /* files: bit per page that a frame names */
    uint64_t page_words;
    int applied; /* 5 has been done, in private pages */
    int done;    /* 4 to 6 have been, too */
};

/* ---- entries ---- */

struct entry {
    uint32_t tag;
    uint64_t off;
    uint64_t len;         /* bytes */
    uint64_t hash;        /* FRESH, EXTENT */
    const uint64_t *data; /* BYTES */
};

/* May a frame speak of [off, off+len)?  The root page, or the heap. */
static inline int range_ok(const struct pms_super_pm *super, uint64_t off, uint64_t len)
{
    if (off & 7u || len == 0 || off >= super->size || len > super->size - off)
        return 0;
    if (off >= super->heap_start)
        return 1;
    return off >= PMS_ROOT_OFF && off + len <= PMS_ROOT_OFF + PMS_PAGE;
}

/* The same of an entry that is not BYTES. */
static int entry_other(const struct pms_recovery *r, const uint64_t *words, uint64_t count,
                       uint64_t *at, struct entry *out)
{
    if (out->tag > PMS_ENTRY_EXTENT || count - *at < 3 || words[*at + 1] % 8 ||
        !range_ok(r->super, out->off, words[*at + 1]))
        return PMS_FAIL(PMS_E_CORRUPT, "a log entry is malformed", out->off, out->tag, count);
    out->len = words[*at + 1];
    out->hash = words[*at + 2];
    *at += 3;
    return PMS_OK;
}

/* The entry at words[*at]; moves on.  PMS_MISSING at the end.  In line: an open after a crash reads
 * each entry, on files twice. */
static inline __attribute__((always_inline)) int entry_next(const struct pms_recovery *r,
                                                            const uint64_t *words,
                                                            uint64_t count, uint64_t *at,
                                                            struct entry *out)
{
    if (*at >= count)
        return PMS_MISSING;
    uint64_t head = words[*at], n = PMS_ENTRY_N(head);
    out->tag = PMS_ENTRY_TAG(head);
    out->off = PMS_ENTRY_OFF(head);
    if (PMS_UNLIKELY(out->tag != PMS_ENTRY_BYTES))
        return entry_other(r, words, count, at, out);
    if (n == 0 || n > count - *at - 1 || !range_ok(r->super, out->off, n * 8))
        return PMS_FAIL(PMS_E_CORRUPT, "a log entry is malformed", out->off, n, count);
    out->len = n * 8;
    out->data = words + *at + 1;
    *at += 1 + n;
    return PMS_OK;
}

static const uint64_t *frame_entries(const struct frame *f, uint64_t *count)
{
    if (f->body) {
        *count = f->body_words;
        return f->body;
    }
    *count = f->ref.kind == PMS_FRAME_COMMIT ? f->ref.words - 2 : f->ref.words;
    return f->ref.payload + (f->ref.kind == PMS_FRAME_COMMIT ? 2 : 0);
}

/* Put the extents of a frame, whose entries are well-formed, in place of the entries that name them.
 * PMS_MISSING: a body does not match its hash, so the frame was never finished and the chain ends
 * before it. */
static int load_body(struct pms_recovery *r, struct frame *f)
{
    uint64_t at = 0, words = 0;
    struct entry e;
    while (entry_next(r, f->ref.payload, f->ref.words, &at, &e) == PMS_OK) {
        words += e.tag == PMS_ENTRY_EXTENT ? e.len / 8 : e.tag == PMS_ENTRY_FRESH ? 3 : 0;
        words += e.tag == PMS_ENTRY_BYTES ? 1 + e.len / 8 : 0;
    }
    r->bodies += words;
    if (r->bodies > BODIES_MAX * (r->super->size / 8))
        return PMS_FAIL(PMS_E_CORRUPT, "log frames name more contents than there can be",
                        f->ref.pos, BODIES_MAX * r->super->size, r->bodies * 8);
    f->body = malloc(words * 8);
    if (!f->body)
        return PMS_FAIL_NOMEM("read a log frame", words * 8);
    f->body_words = words;
    uint64_t *out = f->body;
    for (at = 0; at < f->ref.words;) {
        uint64_t start = at;
        (void)entry_next(r, f->ref.payload, f->ref.words, &at, &e);
        if (e.tag == PMS_ENTRY_EXTENT) {
            memcpy(out, r->medium->base + e.off, e.len);
            if (pms_hash(out, e.len, 3) != e.hash)
                return PMS_MISSING;
            out += e.len / 8;
        } else {
            memcpy(out, f->ref.payload + start, (at - start) * 8);
            out += at - start;
        }
    }
    return PMS_OK;
}

/* Every entry of a frame must be well-formed before anything is changed.  extents: how many it has;
 * NULL: there may be none any more. */
static int check_entries(const struct pms_recovery *r, const struct frame *f, uint64_t *extents)
{
    uint64_t at = 0, count, fresh = 0;
    struct entry e;
    int status;
    if (f->ref.kind == PMS_FRAME_COMMIT && f->ref.words < 2)
        return PMS_FAIL(PMS_E_CORRUPT, "a COMMIT frame is too short", f->ref.pos, 2,
                        f->ref.words);
    const uint64_t *words = frame_entries(f, &count);
    while ((status = entry_next(r, words, count, &at, &e)) == PMS_OK) {
        int bytes = e.tag == PMS_ENTRY_BYTES;
        int undo = f->ref.kind == PMS_FRAME_UNDO || f->ref.kind == PMS_FRAME_OVERFLOW;
        if (e.tag == PMS_ENTRY_EXTENT && extents && f->ref.kind != PMS_FRAME_COMMIT) {
            ++*extents;
            continue;
        }
        if ((undo && !bytes) || (f->ref.kind == PMS_FRAME_COMMIT && bytes) ||
            (e.tag == PMS_ENTRY_EXTENT))
            return PMS_FAIL(PMS_E_CORRUPT, "a log frame has an entry of the wrong kind",
                            f->ref.pos, f->ref.kind, e.tag);
        fresh += bytes ? 0 : e.len; /* they are disjoint, and each is hashed */
        if (fresh > r->super->size)
            return PMS_FAIL(PMS_E_CORRUPT, "a log frame names more contents than there can be",
                            f->ref.pos, r->super->size, fresh);
    }
    return status == PMS_MISSING ? PMS_OK : status;
}

/* ---- 1. the chain ---- */

static int read_chain(struct pms_recovery *r, const struct pms_log *log)
{
    uint64_t pos = r->anchor.pos, seq = r->anchor.seq, most = log->bytes / PMS_LINE;
    while (r->frames < most) {
        if (r->frames == r->frame_room) {
            size_t room = r->frame_room ? r->frame_room * 2 : 64;
            struct frame *frame = realloc(r->frame, room * sizeof *frame);
            if (!frame)
                return PMS_FAIL_NOMEM("read the log", room * sizeof *frame);
            r->frame = frame;
            r->frame_room = room;
        }
        struct frame *f = &r->frame[r->frames];
        *f = (struct frame){0};
        int status =
            pms_frame_read(r->medium, log->off, log->bytes, pos, seq, r->anchor.salt, &f->ref);
        uint64_t extents = 0;
        if (status == PMS_OK)
            status = check_entries(r, f, &extents);
        if (status == PMS_OK && extents)
            status = load_body(r, f);
        if (status == PMS_MISSING) {
            free(f->body);
            break;
        }
        r->frames++;
        PMS_TRY(status);
        if (extents)
            PMS_TRY(check_entries(r, f, NULL));
        pos = f->ref.pos + f->ref.bytes;
        seq++;
    }
    if (pms_frame_later(r->medium, log->off, log->bytes, pos, seq, r->anchor.salt))
        return PMS_FAIL(PMS_E_CORRUPT, "a log frame with others behind it is damaged",
                        log->off + pos, seq, 0);
    return PMS_OK;
}

/* ---- 2. units ---- */

static int unit_add(struct pms_recovery *r, struct unit u)
{
    if (r->units == r->unit_room) {
        size_t room = r->unit_room ? r->unit_room * 2 : 64;
        struct unit *unit = realloc(r->unit, room * sizeof *unit);
        if (!unit)
            return PMS_FAIL_NOMEM("read the log", room * sizeof *unit);
        r->unit = unit;
        r->unit_room = room;
    }
    r->unit[r->units++] = u;
    return PMS_OK;
}

static int build_units(struct pms_recovery *r, size_t frames)
{
    r->units = 0;
    for (size_t i = 0; i + 1 < r->frames; i++)
        if (r->frame[i].ref.kind != PMS_FRAME_REDO)
            r->other_seq = r->frame[i].ref.seq;
    for (size_t i = 0; i < frames; i++) {
        const struct pms_frame_ref *f = &r->frame[i].ref;
        struct unit *last = r->units ? &r->unit[r->units - 1] : NULL;
        int same = last && !last->committed && last->txid == f->txid;
        if (f->kind == PMS_FRAME_REDO) {
            PMS_TRY(unit_add(r, (struct unit){i, i, f->seq, 0, 1, 1}));
        } else if (f->kind == PMS_FRAME_COMMIT) {
            if (same) {
                last->committed = 1;
                last->end_seq = f->seq;
            }
        } else if (same) {
            if (f->kind == PMS_FRAME_OVERFLOW) /* it has all that came before it */
                last->first = i;
            last->last = i;
            last->end_seq = f->seq;
        } else {
            PMS_TRY(unit_add(r, (struct unit){i, i, f->seq, f->txid, 0, 0}));
        }
    }
    return PMS_OK;
}

/* ---- 3. is the last frame true? ---- */

static int fresh_true(const struct pms_recovery *r, const struct frame *f)
{
    uint64_t at = 0, count;
    const uint64_t *words = frame_entries(f, &count);
    struct entry e;
    while (entry_next(r, words, count, &at, &e) == PMS_OK)
        if (e.tag == PMS_ENTRY_FRESH && pms_hash(r->medium->base + e.off, e.len, 3) != e.hash)
            return 0;
    return 1;
}

static int commit_true(const struct pms_recovery *r, size_t i)
{
    const struct pms_frame_ref *f = &r->frame[i].ref;
    if (f->payload[1] == 1) /* contents were fenced before the frame */
        return 1;
    uint64_t h = 0;
    for (size_t n = 0; n < r->units; n++) {
        const struct unit *u = &r->unit[n];
        if (u->redo || !u->committed || u->end_seq != f->seq)
            continue;
        for (size_t k = u->first; k <= u->last; k++) {
            uint64_t at = 0, count;
            const uint64_t *words = frame_entries(&r->frame[k], &count);
            struct entry e;
            while (entry_next(r, words, count, &at, &e) == PMS_OK)
                h = pms_hash(r->medium->base + e.off, e.len, h);
        }
        return h == f->payload[0] && fresh_true(r, &r->frame[i]);
    }
    return 1; /* no unit of its own in the chain: nothing that could be undone */
}

static int judge_last(struct pms_recovery *r)
{
    PMS_TRY(build_units(r, r->frames));
    if (r->frames == 0 || r->anchor.mode == PMS_MODE_FILE)
        return PMS_OK; /* files: contents are synced before the frame that names them */
    size_t last = r->frames - 1;
    const struct frame *f = &r->frame[last];
    int ok = f->ref.kind == PMS_FRAME_COMMIT ? commit_true(r, last)
             : f->ref.kind == PMS_FRAME_REDO ? fresh_true(r, f)
                                             : 1;
    return ok ? PMS_OK : build_units(r, last);
}

/* Is what the unit has stored in place durable?  A frame was fenced if another one is behind it. */
static int is_settled(const struct pms_recovery *r, const struct unit *u)
{
    uint64_t last_seq = r->anchor.seq + r->frames - 1;
    if (!u->redo)
        return u->end_seq + 2 <= last_seq;
    return u->end_seq + PMS_REDO_LAG + 1 <= last_seq || u->end_seq < r->other_seq;
}

/* ---- 4. make durable what is believed ---- */

static void name_pages(struct pms_recovery *r, uint64_t off, uint64_t len)
{
    for (uint64_t page = off / PMS_PAGE; page <= (off + len - 1) / PMS_PAGE; page++)
        r->page[page / 64] |= 1ull << (page & 63);
}

static void settle_named(struct pms_recovery *r, const struct frame *f)
{
    uint64_t at = 0, count;
    const uint64_t *words = frame_entries(f, &count);
    struct entry e;
    while (entry_next(r, words, count, &at, &e) == PMS_OK) {
        pms_flush(r->medium, e.off, e.len);
        name_pages(r, e.off, e.len);
    }
}

/* The extents that a frame's entries lie in: part of the log. */
static int settle_extents(struct pms_recovery *r, const struct frame *f, int write)
{
    uint64_t at = 0;
    struct entry e;
    if (!f->body)
        return PMS_OK;
    while (entry_next(r, f->ref.payload, f->ref.words, &at, &e) == PMS_OK) {
        if (e.tag != PMS_ENTRY_EXTENT)
            continue;
        pms_flush(r->medium, e.off, e.len);
        if (write)
            PMS_TRY(pms_write(r->medium, e.off, r->medium->base + e.off, e.len));
    }
    return PMS_OK;
}

/* The first frame that may not be durable, or whose ranges may not be.  On direct media each frame
 * was fenced before the next: the last one may be in the caches alone, and so may what one of the
 * last few names, or a unit that is not settled.  The others need no look, and their ranges lie all
 * over the heap.  Else a page may be in the page cache alone. */
static size_t first_unsettled(const struct pms_recovery *r)
{
    if (!r->medium->direct || r->anchor.mode != PMS_MODE_DIRECT || r->frames <= PMS_REDO_LAG)
        return 0;
    size_t first = r->frames - PMS_REDO_LAG - 1;
    for (size_t n = 0; n < r->units; n++)
        if (!is_settled(r, &r->unit[n]) && r->unit[n].first < first)
            first = r->unit[n].first;
    return first;
}

static int settle_log(struct pms_recovery *r, const struct pms_log *log)
{
    size_t unsettled = first_unsettled(r);
    struct pms_medium *m = r->medium;
    uint64_t anchor_off = PMS_ANCHOR_OFF + (uint64_t)r->slot * PMS_PAGE;
    int write = !m->direct;
    pms_flush(m, PMS_ANCHOR_OFF, PMS_LINE);
    pms_flush(m, PMS_ANCHOR_OFF + PMS_PAGE, PMS_LINE);
    for (size_t i = unsettled; i < r->frames; i++) {
        const struct frame *f = &r->frame[i];
        uint64_t off = log->off + f->ref.pos;
        pms_flush(m, off, f->ref.bytes);
        settle_named(r, f);
        if (write)
            PMS_TRY(pms_write(m, off, m->base + off, f->ref.bytes));
        PMS_TRY(settle_extents(r, f, write));
    }
    if (write) {
        PMS_TRY(pms_write(m, anchor_off, &r->anchor, sizeof r->anchor));
        return pms_sync(m);
    }
    pms_fence(m);
    return PMS_OK;
}

/* The same for a reader, who shows the last frame too, and cannot write: it may be in a cache alone
 * (a kill), or durable without a synced word (a power cut), and nothing tells which.  His private
 * pages are the file's until 5, so their lines can be flushed; a page cache can be synced by anybody. */
static int settle_shown(struct pms_recovery *r, const struct pms_log *log)
{
    struct pms_medium *m = r->medium;
    if (r->frames == 0)
        return PMS_OK;
    if (m->tier == PMS_TIER_DAX_FSYNC || m->tier == PMS_TIER_SYNC) {
        if (pms_frame_synced(m, log->off, log->bytes, &r->frame[r->frames - 1].ref))
            return PMS_OK;
        int status = pms_sync(m);
        /* A file system that knows no fsync has never written anything. */
        return status == PMS_E_OS && pms_detail()->sys_errno == EINVAL ? PMS_OK : status;
    }
    m->direct = true;
    int status = settle_log(r, log);
    m->direct = false;
    return status;
}

/* ---- 5. redo and undo ---- */

/* A word stands in one entry of a frame, and UNDO has it in one frame of a transaction: the
 * order of entries does not matter. */
static void store_frame(struct pms_recovery *r, const struct frame *f)
{
    uint64_t at = 0, count;
    const uint64_t *words = frame_entries(f, &count);
    struct entry e;
    while (entry_next(r, words, count, &at, &e) == PMS_OK) {
        if (e.tag != PMS_ENTRY_BYTES)
            continue;
        pms_store(r->medium, e.off, e.data, e.len);
        pms_flush(r->medium, e.off, e.len);
    }
}

static uint64_t apply_units(struct pms_recovery *r)
{
    uint64_t applied = 0;
    int everything = r->anchor.mode == PMS_MODE_FILE;
    for (size_t n = 0; n < r->units; n++) {
        const struct unit *u = &r->unit[n];
        if (!everything && is_settled(r, u))
            continue;
        if (u->redo) {
            store_frame(r, &r->frame[u->first]);
        } else if (!u->committed) {
            for (size_t k = u->last + 1; k-- > u->first;)
                store_frame(r, &r->frame[k]);
        } else {
            continue;
        }
        applied++;
    }
    return applied;
}

/* ---- 6. durable, and a new anchor ---- */

/* The next page that is named, from page on; page_words * 64: none. */
static uint64_t next_named(const struct pms_recovery *r, uint64_t page)
{
    while (page < r->page_words * 64) {
        uint64_t word = r->page[page / 64] >> (page & 63);
        if (word)
            return page + (uint64_t)__builtin_ctzll(word);
        page = (page | 63) + 1;
    }
    return page;
}

static int write_pages(struct pms_recovery *r)
{
    uint64_t end = r->page_words * 64, page;
    for (page = 0; (page = next_named(r, page)) < end; page++)
        PMS_TRY(
            pms_write(r->medium, page * PMS_PAGE, r->medium->base + page * PMS_PAGE, PMS_PAGE));
    PMS_TRY(pms_sync(r->medium));
    for (page = 0; (page = next_named(r, page)) < end; page++)
        (void)pms_map_forget(r->map, page * PMS_PAGE, PMS_PAGE); /* as after a checkpoint */
    return PMS_OK;
}

static int new_salt(uint64_t old, uint64_t *salt)
{
    do {
        if (getrandom(salt, sizeof *salt, 0) != (ssize_t)sizeof *salt)
            return PMS_FAIL_OS("drawing a random salt", 0, sizeof *salt, 5 /* EIO */);
    } while (*salt == old || *salt == 0);
    return PMS_OK;
}

/* The log goes on behind the chain; the other anchor comes next. */
static void go_on(const struct pms_recovery *r, struct pms_log *log, enum pms_mode mode)
{
    uint64_t end = r->anchor.pos;
    if (r->frames)
        end = r->frame[r->frames - 1].ref.pos + r->frame[r->frames - 1].ref.bytes;
    if (end >= log->bytes)
        end = 0;
    log->mode = mode;
    log->gen = r->anchor.gen;
    log->slot = r->slot ^ 1;
    log->seq = r->anchor.seq + r->frames;
    log->head = end;
    log->need_seq = log->dur_seq = log->seq;
    log->need_pos = log->dur_pos = end;
    log->salt = r->anchor.salt;
}

static int new_anchor(struct pms_recovery *r, struct pms_log *log)
{
    if (r->read_only)
        return PMS_OK;
    PMS_TRY(new_salt(r->anchor.salt, &log->salt));
    PMS_TRY(pms_log_checkpoint(log));
    if (log->pending) {
        pms_fence(r->medium);
        pms_log_settled(log);
    }
    PMS_TRY(pms_log_twin(log));
    log->checkpoints = 0;
    return PMS_OK;
}

/* ---- in two halves ---- */

/* Steps 1 to 3: nothing is changed. */
static int read_all(struct pms_recovery *r, struct pms_log *log)
{
    PMS_TRY(pms_anchor_read(r->medium, &r->anchor, &r->slot));
    if (r->anchor.gen > COUNT_MAX || r->anchor.seq > COUNT_MAX)
        return PMS_FAIL(PMS_E_CORRUPT, "an anchor has counted further than it can",
                        PMS_ANCHOR_OFF, COUNT_MAX, r->anchor.gen);
    if (r->anchor.closed > 1)
        return PMS_FAIL(PMS_E_CORRUPT, "an anchor has an unknown state", PMS_ANCHOR_OFF, 1,
                        r->anchor.closed);
    if (r->anchor.pos > log->bytes || r->anchor.pos % PMS_LINE)
        return PMS_FAIL(PMS_E_CORRUPT, "the anchor points outside the log", PMS_ANCHOR_OFF,
                        log->bytes, r->anchor.pos);
    if (!r->anchor.closed)
        PMS_TRY(read_chain(r, log));
    PMS_TRY(judge_last(r));
    if (r->frames) {
        r->page_words = r->super->size / PMS_PAGE / 64 + 1;
        r->page = calloc(r->page_words, 8);
        if (!r->page)
            return PMS_FAIL_NOMEM("recover the pool", r->page_words * 8);
    }
    return PMS_OK;
}

/* Can the rest wait for the first unit?  With frames: if memory is our own, and all frames but the
 * last were durable before the next was written. */
static int can_wait(const struct pms_recovery *r)
{
    return r->frames == 0 || (!r->medium->direct && r->anchor.mode == PMS_MODE_FILE);
}

/* The last frame alone may be in the page cache alone, and what it tells is shown to readers. */
static int last_durable(struct pms_recovery *r, const struct pms_log *log)
{
    if (r->frames == 0)
        return PMS_OK;
    const struct pms_frame_ref *f = &r->frame[r->frames - 1].ref;
    if (pms_frame_synced(r->medium, log->off, log->bytes, f))
        return PMS_OK;
    uint64_t off = log->off + f->pos;
    return pms_write_sync(r->medium, off, r->medium->base + off, f->bytes);
}

static void apply(struct pms_recovery *r, struct pms_recovered *out)
{
    out->frames = r->frames;
    out->units = r->frames ? apply_units(r) : 0;
    r->applied = 1;
}

/* Steps 4 to 6. */
static int write_all(struct pms_recovery *r, struct pms_log *log, struct pms_recovered *out)
{
    PMS_TRY(r->read_only ? settle_shown(r, log) : settle_log(r, log));
    if (!r->applied)
        apply(r, out);
    if (r->frames && !r->read_only) {
        if (r->medium->direct)
            pms_fence(r->medium);
        else
            PMS_TRY(write_pages(r));
    }
    return new_anchor(r, log);
}

void pms_recover_drop(struct pms_recovery *r)
{
    if (!r)
        return;
    for (size_t i = 0; i < r->frames; i++)
        free(r->frame[i].body);
    free(r->frame);
    free(r->unit);
    free(r->page);
    free(r);
}

int pms_recover(struct pms_map *map, struct pms_log *log, const struct pms_super_pm *super,
                enum pms_mode mode, enum pms_recover_when when, struct pms_recovered *out)
{
    struct pms_recovery *r = calloc(1, sizeof *r);
    if (!r)
        return PMS_FAIL_NOMEM("recover the pool", sizeof *r);
    *r = (struct pms_recovery){.map = map,
                               .medium = &map->medium,
                               .super = super,
                               .read_only = when == PMS_RECOVER_NEVER};
    int status = read_all(r, log);
    if (status == PMS_OK) {
        go_on(r, log, mode);
        if (when != PMS_RECOVER_LATER || !can_wait(r)) {
            status = write_all(r, log, out);
            r->done = 1;
            if (status == PMS_OK && when == PMS_RECOVER_LATER) {
                out->rest = r;
                return PMS_OK;
            }
        } else if ((status = last_durable(r, log)) == PMS_OK) {
            apply(r, out);
            out->rest = r;
            return PMS_OK;
        }
    }
    pms_recover_drop(r);
    return status;
}

int pms_recover_rest(struct pms_recovery *r, struct pms_log *log)
{
    struct pms_recovered known = {0};
    return r->done ? PMS_OK : write_all(r, log, &known);
}

int pms_recover_done(const struct pms_recovery *r) { return r->done; }

int pms_recover_found(const struct pms_recovery *r) { return r->frames != 0; }
