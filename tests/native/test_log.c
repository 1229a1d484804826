/* test_log.c -- where frames lie in the ring, and how they are found again. */
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

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

/* A log in `bytes` of memory whose next frame lies at place. */
static struct pms_log log_in(struct pms_medium *medium, uint8_t *base, uint64_t bytes,
                             uint64_t place)
{
    memset(base, 0, bytes);
    CHECK_EQ(pms_medium_init(medium, -1, PMS_FLUSH_AUTO), PMS_OK);
    medium->base = base;
    medium->direct = true;
    return (struct pms_log){.medium = medium,
                            .bytes = bytes,
                            .mode = PMS_MODE_DIRECT,
                            .salt = SALT,
                            .seq = 5,
                            .head = place,
                            .need_seq = 5,
                            .need_pos = place,
                            .dur_seq = 5,
                            .dur_pos = place};
}

/* Nothing in the ring is needed, and the next frame does not fit behind the anchor's place: it lies
 * at 0, and ends where a later frame begins, at that very place.  The chain begins at 0. */
static void test_a_later_frame_at_the_anchors_place_is_not_the_first(void)
{
    struct pms_medium medium;
    struct pms_frame_ref frame;
    const uint64_t place = 2112; /* and the bytes of a frame of 260 words */
    struct pms_log log = log_in(&medium, ring, RING, place);
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

#define WIDE (1u << 20)
static _Alignas(4096) uint8_t wide[WIDE];

/* A frame of so many bytes is written at place (or at 0, if it does not fit behind it), and another
 * one; then byte `at` of the first one is damaged.  Is the second one found? */
static int later_is_found(uint64_t place, uint64_t bytes, uint64_t at)
{
    struct pms_medium medium;
    struct pms_frame_ref frame;
    struct pms_log log = log_in(&medium, wide, WIDE, place);
    append(&log, (bytes - sizeof(struct pms_frame_pm)) / 8);
    uint64_t first = (log.head - bytes) % WIDE;
    append(&log, 4);
    CHECK(!pms_frame_later(&medium, 0, WIDE, log.head % WIDE, 7, SALT));
    wide[first + at] ^= 1;
    CHECK_EQ(pms_frame_read(&medium, 0, WIDE, place, 5, SALT, &frame), PMS_MISSING);
    int found = pms_frame_later(&medium, 0, WIDE, place, 5, SALT);
    CHECK(!pms_frame_later(&medium, 0, WIDE, place, 5, SALT + 1)); /* of another life */
    pms_log_free(&log);
    return found;
}

/* A damaged frame that still tells its length leads to the next one, however long it is; of one that
 * does not, the next one is looked for within 64 KiB. */
static void test_the_frame_behind_a_damaged_one_is_found(void)
{
    const uint64_t big = 640u << 10, last = WIDE - (64u << 10);
    CHECK(later_is_found(0, 256, 200));
    CHECK(later_is_found(0, 256, 0));
    CHECK(later_is_found(4096, 60u << 10, 0));
    CHECK(later_is_found(4096, big, 320u << 10));
    CHECK(later_is_found(4096, WIDE - 8192, 320u << 10)); /* the next one ends with the ring */
    CHECK(later_is_found(last, 64u << 10, 9000));         /* the next one is at 0 */
    CHECK(later_is_found(last, 64u << 10, 0));
    CHECK(later_is_found(last, big, 320u << 10)); /* both are behind the ring's end */
    CHECK(later_is_found(last, 4096, 0));
    CHECK(!later_is_found(4096, big, 0));
}

/* Each line near the place begins a frame that reaches the ring's end: not all of them are hashed. */
static void test_a_forged_ring_is_looked_through_in_good_time(void)
{
    const uint64_t bytes = 256u << 20;
    struct pms_medium medium;
    CHECK_EQ(pms_medium_init(&medium, -1, PMS_FLUSH_AUTO), PMS_OK);
    medium.base = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    CHECK(medium.base != MAP_FAILED);
    for (uint64_t pos = 0; pos < 256u << 10; pos += PMS_LINE) {
        struct pms_frame_pm f = {.seq = 6 + pos / PMS_LINE,
                                 .kind = PMS_FRAME_REDO,
                                 .words = (uint32_t)((bytes - pos - sizeof f) / 8)};
        memcpy(medium.base + pos, &f, sizeof f);
    }
    clock_t start = clock();
    CHECK(!pms_frame_later(&medium, 0, bytes, 0, 5, SALT));
    CHECK((clock() - start) / CLOCKS_PER_SEC < 3);
    CHECK_EQ(munmap(medium.base, bytes), 0);
}

/* ---- the synced word ---- */

/* Frames of 128 bytes from place on, in a file. */
static void with_frames(uint64_t place, int frames,
                        void (*look)(const struct pms_medium *, const struct pms_frame_ref *))
{
    struct pms_medium medium;
    struct pms_frame_ref frame[RING / 128];
    int fd = memfd_create("ring", MFD_CLOEXEC);
    CHECK(fd >= 0);
    CHECK_EQ(ftruncate(fd, RING), 0);
    uint8_t *base = mmap(NULL, RING, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(base != MAP_FAILED);
    struct pms_log log = log_in(&medium, base, RING, place);
    medium.direct = false;
    medium.fd = fd;
    log.mode = PMS_MODE_FILE;
    for (int i = 0; i < frames; i++) {
        append(&log, 12);
        pms_log_say_synced(&log);
    }
    for (int i = 0; i < frames; i++)
        CHECK_EQ(pms_frame_read(&medium, 0, RING, (place + 128 * (uint64_t)i) % RING,
                                5 + (uint64_t)i, SALT, &frame[i]),
                 PMS_OK);
    for (int i = 0; i < frames - 1; i++)
        CHECK(!pms_frame_synced(&medium, 0, RING, &frame[i]));
    look(&medium, &frame[frames - 1]);
    pms_log_free(&log);
    CHECK_EQ(munmap(base, RING), 0);
    CHECK_EQ(close(fd), 0);
}

static void is_synced(const struct pms_medium *medium, const struct pms_frame_ref *last)
{
    struct pms_frame_ref other = *last;
    CHECK(pms_frame_synced(medium, 0, RING, last));
    other.csum ^= 1u << 20;
    CHECK(!pms_frame_synced(medium, 0, RING, &other));
    medium->base[last->pos + last->bytes + 3] ^= 1; /* as in a crash, torn */
    CHECK(!pms_frame_synced(medium, 0, RING, last));
}

static void is_not_known_to_be_synced(const struct pms_medium *medium,
                                      const struct pms_frame_ref *last)
{
    CHECK(!pms_frame_synced(medium, 0, RING, last));
}

/* It stands where the next frame begins, and never where one begins that is still needed. */
static void test_the_newest_frame_of_a_file_is_said_to_be_synced(void)
{
    with_frames(0, 1, is_synced);
    with_frames(1024, 20, is_synced);
    with_frames(1024, 25, is_synced);                 /* one of them at 0 */
    with_frames(1024, 24, is_not_known_to_be_synced); /* it ends where the ring does */
    with_frames(1024, RING / 128, is_not_known_to_be_synced);
}

int main(void)
{
    test_the_newest_frame_of_a_file_is_said_to_be_synced();
    test_the_frame_behind_a_damaged_one_is_found();
    test_a_later_frame_at_the_anchors_place_is_not_the_first();
    test_a_forged_ring_is_looked_through_in_good_time();
    return 0;
}
