/* check_cell.c -- the check of one cell: is this a value, and is its memory its own?
 *
 *   C4  the tag is known; flags, length and word fit it; two bytes of the head are zero
 *   C5  bytes up to 8 are SHORT and padded with zeroes; more of them are a block that nobody
 *       else uses, or INNER: they end in the block of the entry that holds the cell
 *   C6  STR is UTF-8, where lone surrogates are encoded like other code points
 */
#include <inttypes.h>

#include "check_state.h"

static int continuation(uint8_t byte) { return (byte & 0xc0) == 0x80; }

int pms_check_utf8(const uint8_t *text, uint64_t len)
{
    static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};
    uint64_t i = 0;
    while (i < len) {
        uint8_t b = text[i];
        if (b < 0x80) {
            i++;
            continue;
        }
        uint32_t n = b >= 0xf0 ? 4 : b >= 0xe0 ? 3 : 2;
        if (b < 0xc2 || b > 0xf4 || n > len - i)
            return 0;
        uint32_t code = b & (0xffu >> (n + 1));
        for (uint32_t k = 1; k < n; k++) {
            if (!continuation(text[i + k]))
                return 0;
            code = code << 6 | (text[i + k] & 0x3fu);
        }
        if (code < least[n] || code > 0x10ffff)
            return 0;
        i += n;
    }
    return 1;
}

static void check_text(struct pms_check *c, uint64_t cell, uint64_t off, uint64_t len)
{
    const uint8_t *text = pms_view(c->pool, off, len);
    if (!text)
        c->nomem = 1;
    else if (!pms_check_utf8(text, len))
        pms_check_problem(c,
                          "the cell at offset %" PRIu64 " is a str whose %" PRIu64
                          " bytes at offset %" PRIu64 " are not UTF-8",
                          cell, len, off);
}

static void check_short(struct pms_check *c, uint64_t off, uint64_t word0)
{
    uint64_t len = PMS_CELL_LEN(word0), word = pms_get(c->pool, off + 8);
    if (len > 8 || (len < 8 && word >> 8 * len)) {
        pms_check_problem(c,
                          "the cell at offset %" PRIu64 " has %" PRIu64
                          " short bytes that are not padded with zeroes: %#" PRIx64,
                          off, len, word);
        return;
    }
    if (PMS_CELL_TAG(word0) == PMS_TAG_STR && len)
        check_text(c, off, off + 8, len);
}

static void check_bytes(struct pms_check *c, uint64_t off, uint64_t inner)
{
    uint64_t word0 = pms_get(c->pool, off), word = pms_get(c->pool, off + 8);
    uint64_t len = PMS_CELL_LEN(word0);
    uint32_t flags = PMS_CELL_FLAGS(word0);
    if (flags == PMS_CELL_SHORT) {
        check_short(c, off, word0);
        return;
    }
    if (len <= 8 || len == UINT32_MAX) {
        pms_check_problem(c,
                          "the cell at offset %" PRIu64 " has %" PRIu64
                          " bytes out of line, which is not possible",
                          off, len);
        return;
    }
    if (flags == PMS_CELL_INNER) {
        word = off + 8;
        if (len > inner) {
            pms_check_problem(c,
                              "the cell at offset %" PRIu64 " has %" PRIu64
                              " inner bytes, but room for %" PRIu64,
                              off, len, inner);
            return;
        }
    } else {
        if (!pms_check_use(c, word, len, "the bytes of a value", off))
            return;
        c->out->blobs++;
    }
    if (PMS_CELL_TAG(word0) == PMS_TAG_STR)
        check_text(c, off, word, len);
}

void pms_check_cell(struct pms_check *c, uint64_t off, uint64_t inner)
{
    uint64_t word0 = pms_get(c->pool, off), word = pms_get(c->pool, off + 8);
    uint32_t tag = PMS_CELL_TAG(word0), flags = PMS_CELL_FLAGS(word0);
    c->out->cells++;
    int bytes = pms_tag_is_bytes(tag), object = pms_tag_is_object(tag);
    int number = tag == PMS_TAG_INT || tag == PMS_TAG_FLOAT;
    int plain = tag == PMS_TAG_NONE || tag == PMS_TAG_FALSE || tag == PMS_TAG_TRUE;
    if (!bytes && !object && !number && !plain) {
        pms_check_problem(c, "the cell at offset %" PRIu64 " has the unknown tag %" PRIu32, off,
                          tag);
        return;
    }
    if ((word0 >> 16 & 0xffff) || (!bytes && word0 != tag) || (plain && word) ||
        (bytes && flags != 0 && flags != PMS_CELL_SHORT && flags != PMS_CELL_INNER)) {
        pms_check_problem(c,
                          "the cell at offset %" PRIu64 ", %#" PRIx64 " %#" PRIx64
                          ", has bits that its tag %" PRIu32 " does not allow",
                          off, word0, word, tag);
        return;
    }
    if (bytes) {
        check_bytes(c, off, inner);
    } else if (object) {
        struct pms_check_object *met = pms_check_meet(c, word, tag, off);
        if (met)
            met->found++;
    }
}
