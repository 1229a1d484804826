/* table_bucket.c -- what is in a bucket of a dict: links come, go, and are divided and joined.
 *
 *   a bucket of 18 links:  [a b c d e f g *]-->[h i j k l m n *]-->[o p q r . . . .]
 *                                          more                more
 *
 * Invariants:
 *   B1  a line's links are its first words, without a gap; the words behind them are 0
 *   B2  only the last word of a line leads to a further line (its extra is PMS_LINK_MORE), and
 *       then that has two links at least: so the number of links says how many lines there are
 *   B3  a further line is a block of its own, of one line
 *
 * Links are in no order.  A split needs no key: the bit of the hash that tells the halves apart
 * is in the tags.  Only from level 15 to 16 and from 31 to 32, where the tags begin to have
 * other bits, are keys hashed again; a merge has all bits of the new tag in the old one and in
 * the bucket's number.
 */
#include "table_impl.h"

/* ---- one link ---- */

int pms_bucket_append(struct pms_pool *pool, const struct pms_place *place, uint64_t link)
{
    uint64_t line[PMS_BUCKET_LINKS] = {0}, off;
    if (place->index < PMS_BUCKET_LINKS) {
        pms_put(pool, place->line + 8 * place->index, link);
        return PMS_OK;
    }
    PMS_TRY(pms_alloc(&pool->heap, sizeof line, &off));
    line[0] = pms_get(pool, PMS_LINE_MORE(place->line));
    line[1] = link;
    pms_init_bytes(&pool->ws, off, line, sizeof line);
    pms_put(pool, PMS_LINE_MORE(place->line), PMS_LINK(off, PMS_LINK_MORE));
    return PMS_OK;
}

/* The bucket's last link goes where the link was.  A further line that is left with one link
 * gives it to the line before, and goes. */
int pms_bucket_remove(struct pms_pool *pool, uint64_t dict, const struct pms_place *place)
{
    uint64_t line = place->line, before = place->before, steps = 0, room[PMS_BUCKET_LINKS];
    uint64_t hole = line + 8 * place->index;
    const uint64_t *link = pms_rd_line(&pool->ws, line, room);
    while (PMS_LINK_IS_MORE(link[PMS_BUCKET_LINKS - 1])) {
        before = line;
        PMS_TRY(pms_bucket_more(pool, dict, link[PMS_BUCKET_LINKS - 1], &line));
        if (++steps > pms_dict_bound(pool, dict))
            return PMS_FAIL(PMS_E_CORRUPT, "bucket of a dict", dict, steps, line);
        link = pms_rd_line(&pool->ws, line, room);
    }
    uint32_t n = PMS_BUCKET_LINKS;
    while (n > 0 && link[n - 1] == 0)
        n--;
    if (n == 0 || (before && n == 1))
        return PMS_FAIL(PMS_E_CORRUPT, "line of a dict's bucket", dict, line, n);
    uint64_t first = link[0], last = link[n - 1], last_at = line + 8 * (n - 1);
    if (!before || n > 2) {
        if (hole != last_at)
            pms_put(pool, hole, last);
        pms_put(pool, last_at, 0);
        return PMS_OK;
    }
    if (hole / PMS_LINE != line / PMS_LINE)
        pms_put(pool, hole, last);
    pms_put(pool, PMS_LINE_MORE(before), hole == line ? last : first);
    return pms_free(&pool->heap, line);
}

/* ---- all links ---- */

struct reader { /* of the links in a bucket */
    uint64_t link[PMS_BUCKET_LINKS];
    uint32_t index;
    uint64_t left; /* lines that may follow */
};

static void read_line(const struct pms_pool *pool, uint64_t off, uint64_t out[PMS_BUCKET_LINKS])
{
    uint64_t room[PMS_BUCKET_LINKS];
    memcpy(out, pms_rd_line(&pool->ws, off, room), sizeof room);
}

static void reader_open(struct reader *r, const struct pms_pool *pool, uint64_t dict,
                        uint64_t line)
{
    read_line(pool, line, r->link);
    r->index = 0;
    r->left = pms_dict_bound(pool, dict);
}

/* *link is 0 at the end. */
static inline int reader_next(struct reader *r, const struct pms_pool *pool, uint64_t dict,
                              uint64_t *link)
{
    uint64_t line;
    *link = r->index < PMS_BUCKET_LINKS ? r->link[r->index++] : 0;
    if (PMS_LIKELY(PMS_LINK_EXTRA(*link) < PMS_LINK_MORE))
        return PMS_OK;
    if (r->index < PMS_BUCKET_LINKS) /* B2 */
        return PMS_FAIL(PMS_E_CORRUPT, "link in a dict's bucket", dict, r->index, *link);
    PMS_TRY(pms_bucket_more(pool, dict, *link, &line));
    if (r->left-- == 0)
        return PMS_FAIL(PMS_E_CORRUPT, "bucket of a dict", dict, 0, line);
    read_line(pool, line, r->link);
    r->index = 1;
    *link = r->link[0];
    return PMS_OK;
}

/* Fills a bucket.  If it takes the place of a bucket that is being read, its links come from
 * there, and it does not overtake the reader: its lines are used again, one by one. */
struct writer {
    uint64_t link[PMS_BUCKET_LINKS]; /* of the line at off: not yet written */
    uint64_t off;
    uint32_t count;
    int again; /* the line at off belongs to the bucket being read */
};

/* The line at off has these words: write them from the first that changes to the last. */
static inline void put_line(struct pms_pool *pool, uint64_t off, const uint64_t *have,
                            const uint64_t *want)
{
    uint32_t first = 0, end = PMS_BUCKET_LINKS;
    while (first < end && have[first] == want[first])
        first++;
    while (first < end && have[end - 1] == want[end - 1])
        end--;
    if (first < end)
        pms_wr_bytes(&pool->ws, off + 8 * first, want + first, 8 * (end - first));
}

/* *more: the further line that the old contents led to, or 0. */
static void writer_put(struct writer *w, struct pms_pool *pool, uint64_t *more)
{
    uint64_t have[PMS_BUCKET_LINKS];
    read_line(pool, w->off, have);
    uint64_t last = have[PMS_BUCKET_LINKS - 1];
    for (uint32_t i = w->count; i < PMS_BUCKET_LINKS; i++)
        w->link[i] = 0;
    put_line(pool, w->off, have, w->link);
    *more = w->again && PMS_LINK_IS_MORE(last) ? PMS_LINK_OFF(last) : 0;
}

static inline int writer_next(struct writer *w, struct pms_pool *pool, uint64_t link)
{
    const uint32_t end = PMS_BUCKET_LINKS - 1;
    if (w->count <= end) {
        w->link[w->count++] = link;
        return PMS_OK;
    }
    uint64_t last = pms_get(pool, PMS_LINE_MORE(w->off)), first = w->link[end], off;
    int again = w->again && PMS_LINK_IS_MORE(last);
    if (again)
        off = PMS_LINK_OFF(last); /* the reader has been there */
    else
        PMS_TRY(pms_alloc(&pool->heap, PMS_LINE, &off));
    w->link[end] = PMS_LINK(off, PMS_LINK_MORE);
    writer_put(w, pool, &last);
    *w = (struct writer){.link = {first, link}, .off = off, .count = 2, .again = again};
    return PMS_OK;
}

/* Free a bucket's further lines from `line` on; 0: none. */
static int free_lines(struct pms_pool *pool, uint64_t dict, uint64_t line)
{
    while (line) {
        uint64_t more = pms_get(pool, PMS_LINE_MORE(line)), next = 0;
        if (PMS_LINK_IS_MORE(more))
            PMS_TRY(pms_bucket_more(pool, dict, more, &next));
        PMS_TRY(pms_free(&pool->heap, line)); /* a second time it fails: no circles */
        line = next;
    }
    return PMS_OK;
}

/* The lines behind the one at off: off itself is no block of its own, or has another owner. */
static int free_more(struct pms_pool *pool, uint64_t dict, uint64_t off)
{
    uint64_t more = pms_get(pool, PMS_LINE_MORE(off)), line = 0;
    if (PMS_LINK_IS_MORE(more))
        PMS_TRY(pms_bucket_more(pool, dict, more, &line));
    return free_lines(pool, dict, line);
}

/* ---- divide and join ---- */

/* Most buckets: one line, at to[0], and the bit of the hash is in the tags.  0: it is another one, and
 * nothing was written. */
static inline int divide_line(struct pms_pool *pool, uint32_t bit, const uint64_t to[2])
{
    uint64_t room[PMS_BUCKET_LINKS], old[PMS_BUCKET_LINKS];
    uint64_t half[2][PMS_BUCKET_LINKS] = {{0}, {0}};
    uint32_t count[2] = {0, 0};
    memcpy(old, pms_rd_line(&pool->ws, to[0], room), sizeof old);
    for (uint32_t i = 0; i < PMS_BUCKET_LINKS && old[i]; i++) {
        uint32_t extra = PMS_LINK_EXTRA(old[i]), side = extra >> bit & 1u;
        if (PMS_UNLIKELY(extra >= PMS_LINK_MORE))
            return 0;
        half[side][count[side]++] = old[i];
    }
    put_line(pool, to[1], pms_rd_line(&pool->ws, to[1], room), half[1]);
    put_line(pool, to[0], old, half[0]);
    return 1;
}

int pms_bucket_divide(struct pms_pool *pool, uint64_t dict, uint64_t from, uint32_t level,
                      const uint64_t to[2])
{
    struct writer w[2] = {{.off = to[0], .again = to[0] == from}, {.off = to[1]}};
    struct reader r;
    uint64_t link, rest;
    int other_bits = pms_tag_from(level) != pms_tag_from(level + 1);
    if (to[0] == from && !other_bits && divide_line(pool, level - pms_tag_from(level), to))
        return PMS_OK;
    reader_open(&r, pool, dict, from);
    for (;;) {
        PMS_TRY(reader_next(&r, pool, dict, &link));
        if (link == 0)
            break;
        uint32_t side = PMS_LINK_EXTRA(link) >> (level - pms_tag_from(level)) & 1u;
        if (other_bits) {
            uint64_t hash, entry = PMS_LINK_OFF(link);
            PMS_TRY(pms_entry_ok(pool, entry));
            PMS_TRY(pms_entry_hash(pool, entry, &hash));
            link = PMS_LINK(entry, pms_dict_tag(hash, level + 1));
        }
        PMS_TRY(writer_next(&w[side], pool, link));
    }
    if (to[0] != from)
        PMS_TRY(free_more(pool, dict, from));
    writer_put(&w[1], pool, &rest);
    writer_put(&w[0], pool, &rest);
    return free_lines(pool, dict, rest);
}

int pms_bucket_join(struct pms_pool *pool, uint64_t dict, const uint64_t from[2],
                    const uint64_t number[2], uint32_t level, uint64_t to)
{
    struct writer w = {.off = to, .again = to == from[0]};
    struct reader r;
    uint64_t link, rest;
    uint32_t bits = pms_tag_from(level - 1);
    int other_bits = bits != pms_tag_from(level);
    for (int side = 0; side < 2; side++) {
        reader_open(&r, pool, dict, from[side]);
        for (;;) {
            PMS_TRY(reader_next(&r, pool, dict, &link));
            if (link == 0)
                break;
            if (other_bits) { /* 16 bits of the number go below those of the tag */
                uint32_t tag =
                    PMS_LINK_EXTRA(link) << 16 | (uint32_t)(number[side] >> bits & 0xffffu);
                link = PMS_LINK(PMS_LINK_OFF(link), tag & (PMS_LINK_MORE - 1));
            }
            PMS_TRY(writer_next(&w, pool, link));
        }
        if (from[side] != to)
            PMS_TRY(free_more(pool, dict, from[side]));
    }
    writer_put(&w, pool, &rest);
    return free_lines(pool, dict, rest);
}
