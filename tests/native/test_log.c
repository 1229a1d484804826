/* test_log.c -- where frames lie in the ring, and how they are found again. */
#include "_native/log.h"

#include "check.h"

#define RING 4096u
#define SALT 7u

static _Alignas(4096) uint8_t ring[RING];

static void append(struct pms_log *log, uint64_t words)
{
    uint64_t seq, lpos, *payload = pms_log_payload(log, words);
    CHECK(payload != NULL);
    for (uint64_t i = 0; i < words; i++)
        payload[i] = i;
    CHECK_EQ(pms_log_append(log, PMS_FRAME_REDO, words, 0, &seq, &lpos), PMS_OK);
}

/* Nothing in the ring is needed, and the next frame does not fit behind the anchor's place: it lies
 * at 0, and ends where a later frame begins, at that very place.  The chain begins at 0. */
static void test_a_later_frame_at_the_anchors_place_is_not_the_first(void)
{
    struct pms_medium medium;
    struct pms_frame_ref frame;
    const uint64_t place = 2112; /* and the bytes of a frame of 260 words */
    CHECK_EQ(pms_medium_init(&medium, -1, PMS_FLUSH_AUTO), PMS_OK);
    medium.base = ring;
    medium.direct = true;
    struct pms_log log = {.medium = &medium,
                          .bytes = RING,
                          .mode = PMS_MODE_DIRECT,
                          .salt = SALT,
                          .seq = 5,
                          .head = place,
                          .need_seq = 5,
                          .need_pos = place,
                          .dur_seq = 5,
                          .dur_pos = place};
    CHECK_EQ(pms_frame_bytes(260), place);
    CHECK(pms_log_fits(&log, 260, 0));
    append(&log, 260);
    CHECK_EQ(log.head % RING, place);
    append(&log, 4);
    CHECK_EQ(pms_frame_read(&medium, 0, RING, place, 5, SALT, &frame), PMS_OK);
    CHECK_EQ(frame.seq, 5);
    CHECK_EQ(frame.pos, 0);
    CHECK_EQ(pms_frame_read(&medium, 0, RING, place, 6, SALT, &frame), PMS_OK);
    CHECK_EQ(frame.pos, place);
    CHECK_EQ(pms_frame_read(&medium, 0, RING, place, 7, SALT, &frame), PMS_MISSING);
    pms_log_free(&log);
}

int main(void)
{
    test_a_later_frame_at_the_anchors_place_is_not_the_first();
    return 0;
}
