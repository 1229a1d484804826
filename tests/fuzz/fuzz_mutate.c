/* fuzz_mutate.c -- inputs that lie where a pool has something, and say what a pool could say.
 *
 * A mutation adds, changes or removes a patch: one to some words at a place in use, which become
 * offsets of blocks, links, descriptors, counts near the present one, words from elsewhere in the
 * pool, or numbers at the edges.
 */
#include "fuzz_pool.h"

#include "_native/heap.h"
#include "_native/log.h"

#define PATCHES_MAX 24u
#define PATCH_BYTES 64u

struct patch {
    uint32_t place; /* offset / 8 */
    uint8_t n;
    uint8_t bytes[PATCH_BYTES];
};

struct input {
    uint8_t head[HOSTILE_HEAD];
    uint32_t patches;
    struct patch patch[PATCHES_MAX];
};

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);
size_t LLVMFuzzerCustomCrossOver(const uint8_t *a, size_t a_size, const uint8_t *b,
                                 size_t b_size, uint8_t *out, size_t out_max, unsigned seed);

/* ---- places ---- */

static uint64_t word_at(const struct fuzz_base *b, uint64_t off)
{
    uint64_t word;
    memcpy(&word, b->image.bytes + off, 8);
    return word;
}

static void learn_words(struct fuzz_base *b, uint64_t off, uint64_t len)
{
    for (uint64_t i = 0; i < len; i += 8)
        b->word[b->words++] = (uint32_t)((off + i) / 8);
}

static void learn_block(struct fuzz_base *b, uint64_t off, uint64_t len)
{
    b->block[b->blocks++] = off;
    learn_words(b, off, len < 256 ? len : 256);
}

static void learn_span(struct fuzz_base *b, uint64_t desc, uint64_t page,
                       const struct pms_class *cls)
{
    learn_words(b, desc + PMS_DESC_BYTES, 16);
    for (uint64_t i = 0; i < cls->blocks; i++)
        if (word_at(b, desc + PMS_DESC_BYTES + i / 64 * 8) >> i % 64 & 1)
            learn_block(b, page * PMS_PAGE + i * cls->size, cls->size);
}

/* Frames behind both anchors, and some of what lies behind them. */
static void learn_log(struct fuzz_base *b, const struct pms_super_pm *super)
{
    for (uint64_t i = 0; i < 2; i++) {
        uint64_t anchor = PMS_ANCHOR_OFF + i * PMS_PAGE;
        uint64_t pos = word_at(b, anchor + offsetof(struct pms_anchor_pm, pos));
        uint64_t seq = word_at(b, anchor + offsetof(struct pms_anchor_pm, seq));
        learn_words(b, PMS_SUPER_OFF + i * PMS_PAGE, 224);
        learn_words(b, anchor, sizeof(struct pms_anchor_pm));
        for (;; seq++) {
            const struct pms_frame_pm *frame =
                (const void *)(b->image.bytes + super->log_off + pos);
            uint64_t n = pos < super->log_bytes ? pms_frame_bytes(frame->words) : 0;
            if (n == 0 || frame->seq != seq || n > super->log_bytes - pos)
                break;
            learn_words(b, super->log_off + pos, n < 192 ? n : 192);
            pos += n;
        }
    }
}

void fuzz_learn(struct fuzz_base *b)
{
    const struct pms_super_pm *super = (const void *)b->image.bytes;
    uint64_t first = super->heap_start / PMS_PAGE, pages = 1;
    uint64_t top = word_at(b, PMS_ROOT_OFF + offsetof(struct pms_root_pm, top));
    b->word = malloc(b->image.size / 2);
    b->block = malloc(b->image.size);
    CHECK(b->word && b->block);
    learn_words(b, PMS_ROOT_OFF, 64);
    learn_log(b, super);
    b->fixed = b->words;
    for (uint64_t page = first; page < top; page += pages) {
        uint64_t desc = super->heap_start + (page - first) * PMS_DESC_BYTES;
        uint64_t head = word_at(b, desc);
        pages = PMS_DESC_KIND(head) == PMS_PAGE_FREE ? 1 : PMS_DESC_PAGES(head);
        learn_words(b, desc, PMS_DESC_BYTES);
        if (PMS_DESC_KIND(head) == PMS_PAGE_RUN)
            learn_block(b, page * PMS_PAGE, pages * PMS_PAGE);
        else if (PMS_DESC_KIND(head) != PMS_PAGE_FREE)
            learn_span(b, desc, page, &pms_classes[PMS_DESC_CLASS(head)]);
    }
}

/* ---- inputs as patches ---- */

static void parse(const uint8_t *data, size_t size, struct input *in)
{
    memset(in, 0, sizeof *in);
    memcpy(in->head, data, size < HOSTILE_HEAD ? size : HOSTILE_HEAD);
    for (size_t at = HOSTILE_HEAD; at + 4 <= size && in->patches < PATCHES_MAX;) {
        struct patch *p = &in->patch[in->patches++];
        size_t n = data[at + 3] <= size - at - 4 ? data[at + 3] : size - at - 4;
        memcpy(&p->place, data + at, 3);
        p->n = (uint8_t)(n < PATCH_BYTES ? n : PATCH_BYTES);
        memcpy(p->bytes, data + at + 4, p->n);
        at += 4 + n;
    }
}

static size_t print(const struct input *in, uint8_t *out, size_t room)
{
    size_t size = HOSTILE_HEAD;
    if (room < HOSTILE_HEAD)
        return 0;
    memcpy(out, in->head, HOSTILE_HEAD);
    for (uint32_t i = 0; i < in->patches && size + 4 + in->patch[i].n <= room; i++) {
        memcpy(out + size, &in->patch[i].place, 3);
        out[size + 3] = in->patch[i].n;
        memcpy(out + size + 4, in->patch[i].bytes, in->patch[i].n);
        size += 4 + (size_t)in->patch[i].n;
    }
    return size;
}

/* ---- words ---- */

static uint64_t some_block(const struct fuzz_base *b, uint64_t random)
{
    static const int64_t beside[8] = {0, 0, 0, 0, 16, -16, 8, 64};
    if ((random >> 35) % 8 == 0) /* a block that lies over the descriptors */
        return 8ull * b->word[b->fixed] + (random >> 40) % 128 * PMS_DESC_BYTES;
    return b->block[random % b->blocks] + (uint64_t)beside[random >> 32 & 7];
}

static uint64_t edge(const struct fuzz_base *b, uint64_t random)
{
    const uint64_t size = b->image.size;
    const uint64_t edges[16] = {0,
                                1,
                                2,
                                ~0ull,
                                1ull << 63,
                                1ull << (random >> 40 & 63),
                                size,
                                size - 8,
                                size - 64,
                                size / PMS_PAGE,
                                PMS_ROOT_OFF,
                                PMS_LOG_OFF,
                                size - PMS_PAGE,
                                (random >> 40) * PMS_REGION_ALIGN,
                                UINT32_MAX,
                                random >> 32};
    return edges[random & 15];
}

/* A word for this place: now is what the base has there. */
static uint64_t new_word(const struct fuzz_base *b, uint64_t now, uint64_t *random)
{
    uint64_t r = fixture_random(random), s = fixture_random(random);
    switch (r % 12) {
    case 0:
        return now ^ 1ull << (s & 63);
    case 1:
        return now + (s & 15) - 8;
    case 2:
        return some_block(b, s);
    case 3: /* as a link, with the tag that is there */
        return PMS_LINK(some_block(b, s), PMS_LINK_EXTRA(now));
    case 4: /* a word of the same pool */
        return word_at(b, 8ull * b->word[s % b->words]);
    case 5:
        return PMS_DESC_HEAD(s & 3, s >> 8 & 127, (s >> 16 & 1) ? s >> 17 & 255 : 16);
    case 6:
        return edge(b, s);
    case 7: /* an entry of a frame */
        return PMS_ENTRY((s & 1) ? some_block(b, s) : 8ull * b->word[s % b->words], s >> 8 & 3,
                         s >> 16 & 31);
    case 8: /* a cell's first word: tag, flags, length */
        return (s & 31) | (s >> 8 & 3) << 8 | (s >> 16 & 255) << 32;
    case 9: /* the lower half alone */
        return (now & ~0xffffffffull) | (edge(b, s) & 0xffffffffull);
    case 10: /* the upper half alone */
        return (now & 0xffffffffull) | edge(b, s) << 32;
    default: /* one byte */
        return (now & ~(0xffull << (s & 7) * 8)) | (s >> 8 & 0xff) << (s & 7) * 8;
    }
}

/* Before the heap nearly as often as in it: that is where seals are. */
static uint32_t some_place(const struct fuzz_base *b, uint64_t *random)
{
    uint64_t r = fixture_random(random), s = fixture_random(random);
    return b->word[r % 3 == 0 ? s % b->fixed : s % b->words];
}

static void new_patch(const struct fuzz_base *b, struct patch *p, uint64_t *random)
{
    uint64_t words = 1 + (fixture_random(random) % 4 == 0 ? fixture_random(random) % 4 : 0);
    p->place = some_place(b, random);
    p->n = (uint8_t)(words * 8);
    uint64_t from = fixture_random(random) % 5 ? p->place : some_place(b, random);
    int copied = from != p->place;
    for (uint64_t i = 0; i < words; i++) {
        uint64_t off = 8 * (from + i) < b->image.size ? 8 * (from + i) : 0;
        uint64_t word = word_at(b, off);
        if (!copied)
            word = new_word(b, word, random);
        memcpy(p->bytes + 8 * i, &word, 8);
    }
}

static void mutate(struct input *in, uint64_t *random)
{
    const struct fuzz_base *b = &fuzz_base[in->head[0] % HOSTILE_BASES];
    uint64_t r = fixture_random(random), s = fixture_random(random);
    struct patch *p = in->patches ? &in->patch[s % in->patches] : NULL;
    if (!p || (r % 10 < 4 && in->patches < PATCHES_MAX)) {
        new_patch(b, &in->patch[in->patches++], random);
    } else if (r % 10 == 4) {
        *p = in->patch[--in->patches];
    } else if (r % 10 == 5) { /* other changes, other flags */
        in->head[1 + s % 3] = (uint8_t)(s >> 8);
        if (s >> 16 & 1)
            in->head[1] |= HOSTILE_SEAL;
    } else if (r % 10 == 6 && s % 16 == 0) {
        in->head[0] = (uint8_t)(s >> 8);
    } else if (r % 10 == 7) {
        (void)LLVMFuzzerMutate(p->bytes, p->n, p->n);
    } else {
        new_patch(b, p, random);
    }
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
    static struct input in;
    uint64_t random = (uint64_t)seed * 0x9e3779b97f4a7c15ull | 1;
    (void)fixture_random(&random);
    parse(data, size, &in);
    for (uint64_t n = 1 + fixture_random(&random) % 3; n > 0; n--)
        mutate(&in, &random);
    return print(&in, data, max_size);
}

/* Patches of both, those of the first first. */
size_t LLVMFuzzerCustomCrossOver(const uint8_t *a, size_t a_size, const uint8_t *b,
                                 size_t b_size, uint8_t *out, size_t out_max, unsigned seed)
{
    static struct input x, y;
    (void)seed;
    parse(a, a_size, &x);
    parse(b, b_size, &y);
    for (uint32_t i = 0; i < y.patches && x.patches < PATCHES_MAX; i++)
        x.patch[x.patches++] = y.patch[i];
    return print(&x, out, out_max);
}
