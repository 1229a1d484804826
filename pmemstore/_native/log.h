/* log.h -- the ring of frames and its two anchors.  Knows frames, not what they mean.
 *
 *      pos 0                                                        log_bytes
 *      | free | dur ............ need ........ head | free | skipped |
 *               ^ the durable anchor points here       ^ a frame never straddles the end
 *
 * Positions are counted without end ("lpos", so head >= dur always); lpos % log_bytes is the
 * place in the ring.  Space from dur on is never overwritten.
 *
 *   L1  seq of frames: exactly +1 each, never reused under the same salt
 *   L2  head - dur <= log_bytes
 *   L3  at most one anchor is pending; dur moves only when it is durable
 */
#ifndef PMS_LOG_H
#define PMS_LOG_H

#include "layout.h"
#include "map.h"

struct pms_log {
    struct pms_medium *medium;
    uint64_t off, bytes; /* the ring in the file */
    enum pms_mode mode;
    uint64_t salt;
    uint64_t gen;      /* of the newest anchor written */
    uint32_t slot;     /* where the next anchor goes */
    uint64_t seq;      /* of the next frame */
    uint64_t head;     /* lpos of the next frame */
    uint64_t lap;      /* a multiple of bytes: where the newest lap begins, as far as known */
    uint64_t need_seq; /* first frame that recovery still needs */
    uint64_t need_pos; /* its lpos */
    uint64_t dur_seq;  /* what the durable anchor says */
    uint64_t dur_pos;
    int closing; /* no frame comes any more: the next anchor says so */
    int pending; /* DIRECT: an anchor is written but not fenced */
    uint64_t pending_seq, pending_pos;
    uint8_t *buffer; /* a frame under construction: header, payload */
    size_t buffer_room;
    uint64_t log_bytes_total; /* frames appended since open, bytes */
    uint64_t checkpoints;     /* anchors written since open, recovery's not counted */
};

static inline uint64_t pms_frame_bytes(uint64_t words)
{
    return (sizeof(struct pms_frame_pm) + words * 8 + PMS_LINE - 1) & ~(uint64_t)(PMS_LINE - 1);
}
/* Is there room for a frame with `words` of payload on this lap?  If not, pms_log_fits may still say
 * so. */
static inline int pms_log_fits_here(const struct pms_log *log, uint64_t words)
{
    uint64_t end = log->head + pms_frame_bytes(words);
    return end - log->lap <= log->bytes && end - log->dur_pos <= log->bytes;
}
/* Is there room for a frame with `words` of payload, and (reserve > 0) for one with `reserve`
 * words right behind it? */
int pms_log_fits(const struct pms_log *log, uint64_t words, uint64_t reserve);

/* Start a frame: payload memory for at most `words` words; NULL: no memory. */
uint64_t *pms_log_payload(struct pms_log *log, uint64_t words);
/* Seal the frame in the buffer and write it at head.  The caller has seen that it fits.
 * DIRECT: stored and flushed, not fenced.  FILE: one synchronous write. */
int pms_log_append(struct pms_log *log, enum pms_frame_kind kind, uint64_t words, uint64_t txid,
                   uint64_t *seq, uint64_t *lpos);
/* FILE: the frame that was appended last is durable, and no other sync can have been told an error of
 * its: write the synced word. */
void pms_log_say_synced(const struct pms_log *log);
/* DIRECT: after pms_fence: a pending anchor has become durable. */
void pms_log_settled(struct pms_log *log);
/* Write the other anchor {need, need_pos}.  DIRECT: flushed, pending until a fence (an older
 * pending one is fenced first).  FILE: synchronous; dur moves on return. */
int pms_log_checkpoint(struct pms_log *log);
/* After recovery's anchor, which is durable: the same into the other slot, so that both have the
 * present salt.  If one of them is damaged later, what the other one leads to is the present
 * log, and a hole in it is seen (pms_frame_later).  Costs no fence and no sync. */
int pms_log_twin(struct pms_log *log);

/* Reading, for recovery. */
struct pms_frame_ref {
    uint64_t seq, pos; /* pos in the ring */
    uint64_t bytes;
    uint32_t kind;
    uint32_t words;
    uint64_t txid, csum;
    const uint64_t *payload; /* in the mapping */
};
/* Newest valid anchor; *slot says which.  PMS_E_CORRUPT if there is none. */
int pms_anchor_read(const struct pms_medium *medium, struct pms_anchor_pm *out, uint32_t *slot);
/* The frame `seq` at ring position pos, or at 0.  PMS_MISSING: the chain ends here. */
int pms_frame_read(const struct pms_medium *medium, uint64_t log_off, uint64_t log_bytes,
                   uint64_t pos, uint64_t seq, uint64_t salt, struct pms_frame_ref *out);
/* FILE: does the synced word behind it say that the frame is durable?  It may be so without. */
int pms_frame_synced(const struct pms_medium *medium, uint64_t log_off, uint64_t log_bytes,
                     const struct pms_frame_ref *frame);
/* The chain has ended where frame seq should be: is there a later one behind it?  Then that
 * frame was durable once (each is fenced before the next), and is damaged. */
int pms_frame_later(const struct pms_medium *medium, uint64_t log_off, uint64_t log_bytes,
                    uint64_t pos, uint64_t seq, uint64_t salt);
/* Seal and write an anchor's bytes: used by creation and by recovery. */
void pms_anchor_seal(struct pms_anchor_pm *anchor);
void pms_log_free(struct pms_log *log);

#endif
