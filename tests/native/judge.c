/* judge.c -- an image becomes a file, is opened, and a verdict is passed.  world.h declares it.
 *
 * Nothing is judged twice.  An image whose bytes, size and way of being opened were seen before in
 * this program is not opened again; a state after recovery that was seen before (all pages that
 * are neither log nor anchors) is not checked and walked again.  What is remembered is the hash of
 * the contents, and that is compared with what is allowed now.  Hashes have 64 bits: of a million
 * images, two are taken for one with a probability of 3e-8.
 *
 * A file is put in place by its pages that can differ: those in which the image has changed since
 * the last one, and those that the pool changed which had it open.
 */
#include "world.h"

#include <sys/stat.h>
#include <unistd.h>

#include "_native/check.h"
#include "_native/collect.h"
#include "_native/hash.h"
#include "check.h"

/* ---- what is known ---- */

struct known { /* key -> hash of contents; neither is 0 */
    uint64_t (*slot)[2];
    size_t count, room;
};
static struct known images, contents;

static uint64_t *known_slot(const struct known *k, uint64_t key)
{
    size_t i = (size_t)(key * 0x9e3779b97f4a7c15ull >> 20) & (k->room - 1);
    while (k->slot[i][0] && k->slot[i][0] != key)
        i = (i + 1) & (k->room - 1);
    return k->slot[i];
}

static uint64_t known_get(const struct known *k, uint64_t key)
{
    return k->room ? known_slot(k, key)[1] : 0;
}

static void known_put(struct known *k, uint64_t key, uint64_t value)
{
    if (k->count * 2 >= k->room) {
        struct known larger = {.room = k->room ? k->room * 2 : 4096};
        larger.slot = calloc(larger.room, sizeof *larger.slot);
        CHECK(larger.slot != NULL);
        for (size_t i = 0; i < k->room; i++)
            if (k->slot[i][0])
                memcpy(known_slot(&larger, k->slot[i][0]), k->slot[i], sizeof *k->slot);
        larger.count = k->count;
        free(k->slot);
        *k = larger;
    }
    uint64_t *slot = known_slot(k, key);
    k->count += slot[0] == 0;
    slot[0] = key;
    slot[1] = value;
}

void judge_forget(void)
{
    struct known *all[] = {&images, &contents};
    for (int i = 0; i < 2; i++) {
        if (all[i]->count)
            memset(all[i]->slot, 0, all[i]->room * sizeof *all[i]->slot);
        all[i]->count = 0;
    }
}

void judge_free(void)
{
    free(images.slot);
    free(contents.slot);
    images = contents = (struct known){0};
}

/* ---- files ---- */

static void mark(uint64_t *bits, uint64_t off, uint64_t end)
{
    end = end < MACHINE_BYTES ? end : MACHINE_BYTES;
    for (uint64_t page = off / PMS_PAGE; page * PMS_PAGE < end; page++)
        bits[page / 64] |= 1ull << (page & 63);
}

/* Lines that recovery changes, each once. */
static void add_lines(struct world *w, uint64_t off, uint64_t end)
{
    end = end < MACHINE_BYTES ? end : MACHINE_BYTES;
    for (uint64_t at = off & ~(uint64_t)(PMS_LINE - 1); at < end; at += PMS_LINE) {
        uint64_t n = at / PMS_LINE, bit = 1ull << (n & 63);
        if ((w->line_bit[n / 64] & bit) || !pms_machine_is_rest(&w->machine, at))
            continue;
        w->line_bit[n / 64] |= bit;
        if (w->lines == w->line_room) {
            w->line_room = w->line_room ? w->line_room * 2 : 256;
            w->line = realloc(w->line, w->line_room * sizeof *w->line);
            CHECK(w->line != NULL);
        }
        w->line[w->lines++] = at;
    }
}

static void forget_lines(struct world *w)
{
    for (; w->lines > 0; w->lines--) {
        uint64_t n = w->line[w->lines - 1] / PMS_LINE;
        w->line_bit[n / 64] &= ~(1ull << (n & 63));
    }
}

void file_changes(struct world *w, const struct pms_event *event)
{
    if (event->kind > PMS_EV_WRITE_SYNC || event->kind == PMS_EV_FLUSH ||
        event->kind == PMS_EV_FENCE)
        return; /* file_size finds what the rest does */
    mark(w->differs, event->off, event->off + event->len);
    if (w->counting)
        add_lines(w, event->off, event->off + event->len);
}

static void file_size(struct world *w, uint64_t size)
{
    struct stat st;
    CHECK_EQ(fstat(w->fd, &st), 0);
    uint64_t now = (uint64_t)st.st_size, from = now < size ? now : size;
    w->file_bytes = size;
    if (now == size)
        return;
    CHECK_EQ(ftruncate(w->fd, (off_t)size), 0);
    mark(w->differs, from, MACHINE_BYTES);
}

static void put_page(struct world *w, uint64_t page, const uint8_t *bytes)
{
    uint64_t at = page * PMS_PAGE;
    if (memcmp(w->file + at, bytes + at, PMS_PAGE) == 0)
        return;
    memcpy(w->file + at, bytes + at, PMS_PAGE);
}

void file_put_image(struct world *w, struct world *from)
{
    struct pms_machine *m = &from->machine;
    file_size(w, m->image_size);
    for (uint64_t i = 0; i < MACHINE_PAGES / 64; i++) {
        uint64_t bits = w->differs[i] | m->changed[i];
        m->changed[i] = w->differs[i] = 0;
        for (; bits; bits &= bits - 1) {
            uint64_t page = i * 64 + (uint64_t)__builtin_ctzll(bits);
            if (page * PMS_PAGE < m->image_size)
                put_page(w, page, m->image);
            else
                w->differs[i] |= bits & -bits;
        }
    }
    forget_lines(w);
    w->counting = 1;
}

void file_put(struct world *w, const uint8_t *bytes, uint64_t size)
{
    file_size(w, size);
    for (uint64_t page = 0; page * PMS_PAGE < size; page++)
        put_page(w, page, bytes);
    memset(w->differs, 0xff, sizeof w->differs);
    w->counting = 0;
}

/* ---- what is in an open pool ---- */

/* Hash of all that is neither log nor anchors, after recovery from the image in from's machine. */
static uint64_t rest_hash(const struct world *w, const struct world *from)
{
    uint64_t hash = from->machine.image_rest;
    for (uint32_t i = 0; i < w->lines; i++) {
        uint64_t off = w->line[i];
        hash -= pms_machine_weight(from->machine.image + off, off);
        if (off < w->file_bytes)
            hash += pms_machine_weight(w->file + off, off);
    }
    return pms_hash_mix(hash + PMS_HASH_P0, w->file_bytes + PMS_HASH_P1) | 1;
}

static int anchor_valid(const struct world *w, uint64_t off)
{
    struct pms_anchor_pm anchor, sealed;
    memcpy(&anchor, w->pool->map.medium.base + off, sizeof anchor);
    sealed = anchor;
    pms_anchor_seal(&sealed);
    return memcmp(&anchor, &sealed, sizeof anchor) == 0;
}

/* What the check would tell, and its verdict is not asked for again. */
static int anchors_valid(const struct world *w)
{
    return anchor_valid(w, PMS_ANCHOR_OFF) && anchor_valid(w, PMS_ANCHOR_OFF + PMS_PAGE);
}

static int problem(void *context, const char *text)
{
    int first = !world_found;
    if (first)
        wrong(context, "problem", text, 0);
    else if (!world_quiet)
        fprintf(stderr, "  and: %s\n", text);
    return !first; /* two are enough */
}

static int no_problem(void *context, const char *text)
{
    (void)context;
    (void)text;
    return 1;
}

/* Check and walk.  Hash of the contents; 0: something is wrong. */
static uint64_t walk(struct world *w, struct text *text, int probe)
{
    struct pms_check_result result;
    int status = pms_enter_read_wait(w->pool, NULL, -1);
    if (status != PMS_OK) {
        if (!probe)
            wrong(w, "cannot be read", pms_detail()->what, status);
        return 0;
    }
    status = pms_pool_check(w->pool, probe ? no_problem : problem, w, &result);
    int sound = status == PMS_OK && !result.problems && !result.leaked_bytes;
    if (!sound && !probe)
        wrong(w, "check", pms_detail()->what, (int64_t)result.leaked_bytes);
    if (sound && (status = pool_write(w->pool, text)) != PMS_OK) {
        sound = 0;
        if (!probe)
            wrong(w, "cannot be walked", pms_detail()->what, status);
    }
    (void)pms_leave_read(w->pool);
    tally.recovered++;
    return sound ? pms_hash(text->bytes, text->len, 1) : 0;
}

static struct text judged;

/* What open has left to the first unit is done. */
static int take(struct world *w, int probe)
{
    pms_pool_lock(w->pool);
    int status = pms_pool_take(w->pool);
    pms_pool_unlock(w->pool);
    if (status != PMS_OK && !probe)
        wrong(w, "the pool cannot be taken", pms_detail()->what, status);
    return status == PMS_OK;
}

/* The hash of the contents of the open pool, 0: something is wrong. */
static uint64_t inside(struct world *w, const struct world *from, int probe)
{
    int counting = w->counting;
    uint64_t untaken = 0;
    if (w->pool->untaken && !w->looking) { /* else the first unit takes it */
        w->counting = 0;
        if (tally.opened % 8 == 0 && (untaken = walk(w, &judged, probe)) == 0)
            return 0;
        w->counting = counting;
        if (!take(w, probe))
            return 0;
    }
    w->counting = 0;
    /* recovered in private pages, or no image was put there */
    if (w->read_only || w->pool->untaken || !counting)
        return walk(w, &judged, probe);
    if (!anchors_valid(w)) {
        if (!probe)
            wrong(w, "an anchor is not valid after recovery", NULL, 0);
        return 0;
    }
    uint64_t key = rest_hash(w, from), hash = known_get(&contents, key);
    if (hash == 0 && (hash = walk(w, &judged, probe)) != 0)
        known_put(&contents, key, hash);
    if (untaken && untaken != hash && !probe)
        wrong(w, "what is read changes when the pool is taken", NULL, 0);
    return untaken && untaken != hash ? 0 : hash;
}

static struct state *allowed_state(const struct world *from, uint64_t hash)
{
    for (uint32_t i = from->allowed_count; i-- > 0;)
        if (from->allowed[i]->hash == hash)
            return from->allowed[i];
    return NULL;
}

struct state *judge(struct world *w, const struct world *from)
{
    uint64_t hash = inside(w, from, 0);
    struct state *found = hash ? allowed_state(from, hash) : NULL;
    if (found || world_found)
        return found;
    (void)walk(w, &judged, 0);
    first_difference(w, "the contents are of no allowed state", &judged,
                     &from->allowed[0]->text);
    return NULL;
}

/* ---- images ---- */

/* What is special about an image that was wrong. */
void describe(const struct world *from, const uint8_t *bytes, uint64_t size, const char *how)
{
    if (world_quiet)
        return;
    fprintf(stderr,
            "  image of world %d (%s): %u states allowed, %" PRIu64 " bytes (file %" PRIu64
            "), %s; lines that lack stores:",
            from->level, world_medium(from), from->allowed_count, size, from->machine.size,
            how);
    for (uint64_t at = 0; at < from->machine.size; at += PMS_LINE)
        if (memcmp(bytes + at, from->machine.seen + at, PMS_LINE) != 0)
            fprintf(stderr, " %" PRIu64, at);
    fprintf(stderr, "\n");
}

/* Is there no such file?  While it is made or opened that may be; afterwards it was lost. */
static int nameless(const struct world *from)
{
    if (from->machine.image_named)
        return 0;
    if (!world_opens(from))
        wrong(from, "the pool's name is lost", NULL, 0);
    tally.nameless++;
    return 1;
}

static uint64_t image_key(const struct world *from, const struct world *w, int read_only)
{
    uint64_t how = (uint64_t)read_only | (uint64_t)w->files << 1 | (uint64_t)w->eadr << 2;
    return pms_hash_mix(from->machine.image_hash + PMS_HASH_P2, how + PMS_HASH_P3) | 1;
}

void judge_image(struct world *from, struct world *w, int read_only)
{
    uint64_t key = image_key(from, w, read_only);
    uint64_t hash = known_get(&images, key);
    tally.images++;
    if (nameless(from))
        return;
    tally.readonly += (uint64_t)read_only;
    if (hash && allowed_state(from, hash))
        return;
    tally.distinct++;
    tally.opened++;
    file_put_image(w, from);
    const char *how = read_only ? "read-only" : "for writing";
    int status = world_open(w, read_only ? 'r' : 'w', 0);
    if (status != PMS_OK) {
        wrong(w, "open", pms_detail()->what, status);
        describe(from, from->machine.image, from->machine.image_size, how);
        return;
    }
    struct state *found = judge(w, from);
    if (found)
        known_put(&images, key, found->hash);
    else
        describe(from, from->machine.image, from->machine.image_size, how);
    world_drop(w);
}

uint64_t probe_image(struct world *from, struct world *w)
{
    if (!from->machine.image_named)
        return 1;
    uint64_t key = image_key(from, w, 0);
    uint64_t hash = known_get(&images, key);
    if (hash)
        return hash;
    tally.opened++;
    file_put_image(w, from);
    if (world_open(w, 'w', 0) != PMS_OK)
        return 0;
    hash = inside(w, from, 1);
    if (hash)
        known_put(&images, key, hash);
    world_drop(w);
    return hash;
}
