/* log.c -- frames and anchors.  log.h is the manual. */
#include "log.h"

#include "hash.h"

#include <stdlib.h>

/* How far behind a frame whose header is damaged, too, the next one is looked for: most frames are
 * much smaller, and each page that is looked at costs every open after a crash. */
#define LATER_WITHIN (64u << 10)
/* Rings that are hashed in search of it: in a forged one each line may begin a frame as long as the
 * ring, and opening it would take minutes. */
#define LATER_HASHED 8u
/* Lines of the ring are in no cache when its head comes round: for so many bytes behind a frame they are
 * asked for, which is a frame of most units (on a Xeon a counter costs 9 % less, a put 4 %). */
#define FRAME_AHEAD 256u

/* lpos % bytes: near the head without a division. */
static inline uint64_t place_of(const struct pms_log *log, uint64_t lpos)
{
    uint64_t place = lpos - log->lap;
    return PMS_LIKELY(place < log->bytes) ? place : lpos % log->bytes;
}

/* Bytes to skip at lpos so that a frame of n bytes does not straddle the ring's end. */
static inline uint64_t skip_at(const struct pms_log *log, uint64_t lpos, uint64_t n)
{
    uint64_t place = place_of(log, lpos);
    return place + n > log->bytes ? log->bytes - place : 0;
}

int pms_log_fits(const struct pms_log *log, uint64_t words, uint64_t reserve)
{
    uint64_t n = pms_frame_bytes(words), m = reserve ? pms_frame_bytes(reserve) : 0;
    if (n > log->bytes || m > log->bytes)
        return 0;
    uint64_t at = log->head + skip_at(log, log->head, n);
    /* With nothing in the ring that is needed, skipping its end costs nothing. */
    uint64_t first = log->dur_seq == log->seq ? at : log->dur_pos;
    at += n;
    if (m)
        at += skip_at(log, at, m) + m;
    return at - first <= log->bytes;
}

uint64_t *pms_log_payload(struct pms_log *log, uint64_t words)
{
    uint64_t n = pms_frame_bytes(words);
    if (n > log->buffer_room) {
        size_t room = n < 4096 ? 4096 : n + n / 2;
        uint8_t *buffer = realloc(log->buffer, room);
        if (!buffer)
            return NULL;
        log->buffer = buffer;
        log->buffer_room = room;
    }
    return (uint64_t *)(void *)(log->buffer + sizeof(struct pms_frame_pm));
}

/* Where the next frame will begin.  If the write fails, who opens the pool after a kill syncs the frame
 * once more, and nothing is lost. */
void pms_log_say_synced(const struct pms_log *log)
{
    const struct pms_frame_pm *frame = (const struct pms_frame_pm *)(const void *)log->buffer;
    uint64_t place = log->head - log->lap;
    if (place < log->bytes && log->head + PMS_LINE - log->dur_pos <= log->bytes)
        (void)pms_write(log->medium, log->off + place, &frame->csum, sizeof frame->csum);
}

int pms_frame_synced(const struct pms_medium *medium, uint64_t log_off, uint64_t log_bytes,
                     const struct pms_frame_ref *frame)
{
    uint64_t word, place = frame->pos + frame->bytes;
    if (place >= log_bytes)
        return 0;
    memcpy(&word, medium->base + log_off + place, sizeof word);
    return word == frame->csum;
}

int pms_log_append(struct pms_log *log, enum pms_frame_kind kind, uint64_t words, uint64_t txid,
                   uint64_t *seq, uint64_t *lpos)
{
    uint64_t n = pms_frame_bytes(words), used = sizeof(struct pms_frame_pm) + words * 8;
    struct pms_frame_pm *frame = (struct pms_frame_pm *)(void *)log->buffer;
    *frame = (struct pms_frame_pm){
        .seq = log->seq, .kind = (uint8_t)kind, .words = (uint32_t)words, .txid = txid};
    for (uint64_t at = used; at < n; at += 8) /* up to the line's end */
        memset(log->buffer + at, 0, 8);
    frame->csum = pms_hash(log->buffer, n, log->salt);
    uint64_t skip = skip_at(log, log->head, n);
    uint64_t at = log->head + skip, place = place_of(log, at), off = log->off + place;
    log->lap = at - place;
    /* Whoever waits for this frame learns where it really lies, behind what was skipped. */
    if (log->dur_seq == log->seq)
        log->dur_pos = at;
    if (log->need_seq == log->seq)
        log->need_pos = at;
    if (log->pending && log->pending_seq == log->seq)
        log->pending_pos = at;
    if (log->mode == PMS_MODE_DIRECT) {
        pms_store_nt(log->medium, off, log->buffer, n); /* flushes by itself */
    } else {
        PMS_TRY(pms_write_sync(log->medium, off, log->buffer, n));
    }
    *seq = log->seq++;
    *lpos = at;
    log->head = at + n;
    pms_store_nt_ahead(log->medium, off + n, FRAME_AHEAD);
    log->log_bytes_total += n;
    return PMS_OK;
}

void pms_log_settled(struct pms_log *log)
{
    if (!log->pending)
        return;
    log->pending = 0;
    log->dur_seq = log->pending_seq;
    log->dur_pos = log->pending_pos;
}

/* ---- anchors ---- */

void pms_anchor_seal(struct pms_anchor_pm *anchor)
{
    anchor->csum = pms_hash(anchor, offsetof(struct pms_anchor_pm, csum), PMS_MAGIC);
}

/* The anchor {need, need_pos}, and where it goes. */
static uint64_t next_anchor(const struct pms_log *log, struct pms_anchor_pm *out)
{
    *out = (struct pms_anchor_pm){.gen = log->gen + 1,
                                  .seq = log->need_seq,
                                  .pos = log->need_pos % log->bytes,
                                  .salt = log->salt,
                                  .mode = (uint32_t)log->mode,
                                  .closed = log->closing && log->need_seq == log->seq};
    pms_anchor_seal(out);
    return PMS_ANCHOR_OFF + (uint64_t)log->slot * PMS_PAGE;
}

int pms_log_checkpoint(struct pms_log *log)
{
    if (log->pending) {
        pms_fence(log->medium);
        pms_log_settled(log);
    }
    struct pms_anchor_pm anchor;
    uint64_t off = next_anchor(log, &anchor);
    if (log->mode == PMS_MODE_DIRECT) {
        pms_store(log->medium, off, &anchor, sizeof anchor);
        pms_flush(log->medium, off, sizeof anchor);
        log->pending = 1;
        log->pending_seq = log->need_seq;
        log->pending_pos = log->need_pos;
    } else {
        PMS_TRY(pms_write_sync(log->medium, off, &anchor, sizeof anchor));
        log->dur_seq = log->need_seq;
        log->dur_pos = log->need_pos;
    }
    log->gen++;
    log->slot ^= 1;
    log->checkpoints++;
    return PMS_OK;
}

/* Both slots are durable before the next frame is: by its fence, or by the sync before the next
 * anchor; nothing depends on this one. */
int pms_log_twin(struct pms_log *log)
{
    if (log->mode == PMS_MODE_DIRECT)
        return pms_log_checkpoint(log);
    struct pms_anchor_pm anchor;
    uint64_t off = next_anchor(log, &anchor);
    PMS_TRY(pms_write(log->medium, off, &anchor, sizeof anchor));
    log->gen++;
    log->slot ^= 1;
    return PMS_OK;
}

int pms_anchor_read(const struct pms_medium *medium, struct pms_anchor_pm *out, uint32_t *slot)
{
    int found = 0;
    for (uint32_t i = 0; i < 2; i++) {
        struct pms_anchor_pm a;
        memcpy(&a, medium->base + PMS_ANCHOR_OFF + (uint64_t)i * PMS_PAGE, sizeof a);
        if (a.csum != pms_hash(&a, offsetof(struct pms_anchor_pm, csum), PMS_MAGIC))
            continue;
        if (a.mode != PMS_MODE_DIRECT && a.mode != PMS_MODE_FILE)
            continue;
        if (!found || a.gen > out->gen) {
            *out = a;
            *slot = i;
        }
        found = 1;
    }
    return found ? PMS_OK
                 : PMS_FAIL(PMS_E_CORRUPT, "neither anchor of the log is valid", PMS_ANCHOR_OFF,
                            1, 0);
}

/* ---- reading frames ---- */

/* Of n bytes, whole lines, as if the field csum were zero: its checksum was taken so. */
static uint64_t frame_sum(const uint8_t *at, uint64_t n, uint64_t salt)
{
    uint8_t first[PMS_LINE];
    memcpy(first, at, sizeof first);
    memset(first + offsetof(struct pms_frame_pm, csum), 0, 8);
    return pms_hash_lines(first, at + sizeof first, n, salt);
}

static int frame_at(const struct pms_medium *medium, uint64_t log_off, uint64_t log_bytes,
                    uint64_t pos, uint64_t seq, uint64_t salt, struct pms_frame_ref *out)
{
    struct pms_frame_pm f;
    if (pos % PMS_LINE || pos > log_bytes - sizeof f)
        return PMS_MISSING;
    const uint8_t *at = medium->base + log_off + pos;
    memcpy(&f, at, sizeof f);
    if (f.seq != seq || f.kind < PMS_FRAME_UNDO || f.kind > PMS_FRAME_REDO)
        return PMS_MISSING;
    uint64_t n = pms_frame_bytes(f.words);
    if (n > log_bytes - pos)
        return PMS_MISSING;
    uint64_t csum = frame_sum(at, n, salt);
    if (csum != f.csum)
        return PMS_MISSING;
    *out = (struct pms_frame_ref){.seq = seq,
                                  .pos = pos,
                                  .bytes = n,
                                  .kind = f.kind,
                                  .words = f.words,
                                  .txid = f.txid,
                                  .csum = csum,
                                  .payload = (const uint64_t *)(const void *)(at + sizeof f)};
    return PMS_OK;
}

int pms_frame_read(const struct pms_medium *medium, uint64_t log_off, uint64_t log_bytes,
                   uint64_t pos, uint64_t seq, uint64_t salt, struct pms_frame_ref *out)
{
    int status = frame_at(medium, log_off, log_bytes, pos, seq, salt, out);
    if (status == PMS_MISSING && pos != 0)
        status = frame_at(medium, log_off, log_bytes, 0, seq, salt, out);
    return status;
}

/* Places [from, to) of the ring: does a frame with a number above seq lie there?  *left: bytes that
 * may still be hashed. */
static int later_between(const struct pms_medium *medium, uint64_t log_off, uint64_t log_bytes,
                         uint64_t from, uint64_t to, uint64_t seq, uint64_t salt,
                         uint64_t *left)
{
    struct pms_frame_ref frame;
    for (uint64_t pos = from; pos < to && pos < log_bytes; pos += PMS_LINE) {
        struct pms_frame_pm f;
        memcpy(&f, medium->base + log_off + pos, sizeof f);
        uint64_t n = pms_frame_bytes(f.words);
        if (f.seq <= seq || f.seq - seq > log_bytes / PMS_LINE || n > log_bytes - pos ||
            n > *left)
            continue;
        *left -= n;
        if (frame_at(medium, log_off, log_bytes, pos, f.seq, salt, &frame) == PMS_OK)
            return 1;
    }
    return 0;
}

/* Does it still tell its own length, and is the next frame where that ends? */
static int later_behind(const struct pms_medium *medium, uint64_t log_off, uint64_t log_bytes,
                        uint64_t pos, uint64_t seq, uint64_t salt)
{
    struct pms_frame_pm f;
    struct pms_frame_ref frame;
    if (pos > log_bytes - sizeof f)
        return 0;
    memcpy(&f, medium->base + log_off + pos, sizeof f);
    uint64_t n = pms_frame_bytes(f.words);
    return f.seq == seq && n <= log_bytes - pos &&
           pms_frame_read(medium, log_off, log_bytes, pos + n, seq + 1, salt, &frame) == PMS_OK;
}

int pms_frame_later(const struct pms_medium *medium, uint64_t log_off, uint64_t log_bytes,
                    uint64_t pos, uint64_t seq, uint64_t salt)
{
    uint64_t left = LATER_HASHED * log_bytes;
    if (later_between(medium, log_off, log_bytes, pos, pos + LATER_WITHIN, seq, salt, &left) ||
        later_behind(medium, log_off, log_bytes, pos, seq, salt) ||
        later_behind(medium, log_off, log_bytes, 0, seq, salt))
        return 1;
    /* The next lap, where the frame that is damaged and the one behind it may reach the end. */
    return pos + 2 * (uint64_t)LATER_WITHIN > log_bytes &&
           later_between(medium, log_off, log_bytes, 0, LATER_WITHIN, seq, salt, &left);
}

void pms_log_free(struct pms_log *log)
{
    free(log->buffer);
    log->buffer = NULL;
    log->buffer_room = 0;
}
